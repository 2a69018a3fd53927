//! What changes the phones of a standing call: a leg that is given to another call or comes from one, a phone in another one's
//! place, and both becoming members of a conference.

use std::time::Duration;

use bridge_core::{CallEndedBy, CallParty, Seat, Text};
use media_core::sdp::Direction;
use tokio::sync::oneshot;

use super::super::board::{Given, Newcomer, Yielded};
use super::super::relay::{End as MediaEnd, Play};
use super::super::ring::elsewhere;
use super::super::sdp::{self, Described, Local};
use super::super::{Over, insert, transfer, voice};
use super::{Standing, newcome};
use crate::route::Dialler;

/// How long the tone before an operator comes in takes.
const TONE: Duration = Duration::from_millis(850);

impl Standing<'_> {
    /// Attended transfer: the phone that the other call gave away talks with the one who stays.
    pub(super) async fn joined(&mut self, by: usize, yielded: Yielded) -> Option<Over> {
        let Yielded { mut side, place, party } = yielded;
        side.local.port = self.relay.port(by);
        let held = side.described.clone();
        self.relay.describe(by, MediaEnd::of(&held));
        let old = self.seat(by, side, place, party)?;
        if !old.gone {
            tokio::spawn(transfer::leave(old.call));
        }
        // First the new one learns whom it talks with, and where to send; then the one who stays, whom its asker held as a rule.
        let mut offer = self.sides.get(1 - by)?.described.for_another();
        offer.direction = Direction::SendRecv;
        self.then = Some(by);
        self.pass(1 - by, None, offer, false);
        None
    }

    /// Whether the two have a codec in common, or one that is turned.
    pub(super) fn understood(&self) -> bool {
        let [a, b] = &self.sides;
        sdp::answer(&a.described, &b.described, b.local, Direction::SendRecv).is_ok()
            && (!sdp::turned(&a.described, &b.described) || self.relay.decodes())
    }

    pub(super) fn may_yield(&self, side: usize, by: &Dialler, with: Option<&Described>) -> Result<(), u16> {
        let (Some(asker), Some(goes)) = (self.sides.get(side), self.sides.get(1 - side)) else { return Err(500) };
        if asker.who != *by {
            return Err(403);
        }
        if goes.gone {
            return Err(603);
        }
        let (one, other) = (with.map_or_else(sdp::own, Described::for_another), goes.described.for_another());
        sdp::answer(&one, &other, goes.local, Direction::SendRecv).map(|_| ()).map_err(|_| 488)
    }

    /// Gives the phone that talks with the one in `side` to another call, and ends.
    pub(super) fn give_away(self, side: usize, reply: oneshot::Sender<Result<Given, u16>>) -> Over {
        self.report();
        let mut parties = [CallParty::default(), CallParty::default()];
        self.entry.update(|c| parties = [c.caller.clone(), c.callee.clone()]);
        let Standing { sides: [a, b], places: [of_a, of_b], .. } = self;
        let [caller, callee] = parties;
        let (mut stays, goes) = match side {
            0 => (a, Yielded { side: b, place: of_b, party: callee }),
            _ => (b, Yielded { side: a, place: of_a, party: caller }),
        };
        // Whoever asked may be gone: then the phone is hung up with what comes back.
        let given = reply.send(Ok(Given::Phone(Box::new(goes)))).is_ok();
        stays.bye(None);
        let words = match given {
            true => Text::new("已转接", "transferred to the other call"),
            false => Text::new("转接未成，通话结束", "the transfer failed and the call ended"),
        };
        Over { by: CallEndedBy::Gateway, code: if given { "transferred" } else { "call_failed" }, words }
    }

    /// Attended transfer into a conference: the one who stays takes the seat of the one who asked.
    pub(super) fn sit_down(self, by: usize, seat: Seat) -> Over {
        self.report();
        let Standing { shared, sides: [a, b], places: [of_a, of_b], .. } = self;
        let (asker, stays, place) = if by == 0 { (a, b, of_b) } else { (b, a, of_a) };
        if !asker.gone {
            tokio::spawn(transfer::leave(asker.call));
        }
        shared.spawn(insert::serve(shared.clone(), stays, seat, place));
        Over { by: CallEndedBy::Gateway, code: "moved", words: Text::new("转入会议", "moved into a conference") }
    }

    /// INVITE with Replaces: the same account goes on at another phone.
    pub(super) async fn on_replace(&mut self, side: usize, newcomer: Newcomer) -> Option<Over> {
        let Newcomer { call, flow, request, who, offered, timer, place } = newcomer;
        let party = who.clone();
        let local = Local {
            address: crate::call::media_address(&self.shared, &sip::Target::Flow(flow.id)),
            port: self.relay.port(side),
            turns: self.shared.turning.transcode,
        };
        let other = self.sides.get(1 - side)?.described.clone();
        if sdp::turned(&offered, &other) && !self.relay.decodes() {
            call.reject_with(request.respond(488).with("Warning", sdp::NO_PLACE));
            return None;
        }
        let body = match sdp::answer(&offered, &other, local, Direction::SendRecv) {
            Ok(body) => body,
            Err(refusal) => {
                call.reject_with(request.respond(488).with("Warning", refusal.warning()));
                return None;
            }
        };
        let new = newcome(call, local, &request, (offered, timer), who, body);
        self.relay.describe(side, MediaEnd::of(&new.described));
        let mut old = self.seat(side, new, place, party)?;
        if !std::mem::replace(&mut old.byed, true) {
            old.call.bye_with(elsewhere());
        }
        self.tell(side);
        None
    }

    /// An operator comes into the call: both hear a tone, as long as it is not switched off.
    pub(super) async fn announce(&mut self, seats: Box<[Seat; 2]>) {
        let mut wait = Duration::ZERO;
        if self.shared.config.insert_tone {
            for side in 0..2 {
                let mu = self.sides.get(side).is_some_and(|s| s.described.prefers_mu());
                self.relay.play(side, Some(Play { first: voice::intrusion(), mu, ..Play::default() }));
            }
            wait = TONE;
        }
        self.inserting = Some((tokio::time::Instant::now() + wait, seats));
    }

    pub(super) fn into_conference(self) -> Over {
        self.report();
        let Standing { shared, sides: [a, b], places: [of_a, of_b], inserting, .. } = self;
        if let Some((_, seats)) = inserting {
            let [first, second] = *seats;
            for (side, seat, place) in [(a, first, of_a), (b, second, of_b)] {
                shared.spawn(insert::serve(shared.clone(), side, seat, place));
            }
        }
        let words = Text::new("转入会议", "moved into a conference");
        Over { by: CallEndedBy::Gateway, code: "moved", words }
    }
}
