//! One of the two asks that the other one talks with somebody else (RFC 3515, 5589), and how that goes.

use bridge_core::CallParty;
use sip::{Request, Response, TxId};

use super::super::board::{Given, Yielded};
use super::super::relay::End as MediaEnd;
use super::super::ring::Ringing;
use super::super::transfer::{self, Going, Gone, Transfer};
use super::super::{Over, hung_up};
use super::{Side, Standing};
use crate::phone::Place;

impl Standing<'_> {
    /// Transfer: the other phone is to talk with somebody else.
    pub(super) fn on_refer(&mut self, side: usize, tx: &TxId, request: &Request) -> Option<Response> {
        let (Some(asker), Some(rest)) = (self.sides.get(side), self.sides.get(1 - side)) else {
            return Some(request.respond(500));
        };
        let target = match transfer::target(&self.shared, &asker.who, request) {
            Ok(target) => target,
            Err(code) => return Some(request.respond(code)),
        };
        if self.transfer.is_some() || self.passing.is_some() {
            return Some(request.respond(500).with("Retry-After", "2"));
        }
        let handle = asker.call.handle();
        let (by, with) = (&asker.party.number, &rest.party.number);
        let started = match target {
            transfer::Target::Somebody(to) => {
                tracing::info!(by, rest = with, to = to.party().number, "a call is transferred");
                let port = self.relay.port(side);
                Transfer::start(&self.shared, side, (&rest.party, &rest.described), to, port, by)
                    .map(|t| Going::Blind(Box::new(t)))
            }
            transfer::Target::Dialog(dialog) => {
                tracing::info!(by, rest = with, "two calls are to be joined");
                Going::attended(&self.shared, side, &asker.who, &dialog, Some(&rest.described))
                    .map_err(transfer::line_of)
            }
        };
        let said = started.as_ref().err().copied();
        asker.call.respond(*tx, request.respond(202));
        self.transfer = started.ok();
        // The first NOTIFY comes at once, whatever is known (RFC 3515 2.4.4).
        tokio::spawn(transfer::notify(&handle, said.unwrap_or("100 Trying"), said.is_some()));
        None
    }

    pub(super) async fn on_transfer(&mut self, event: Gone) -> Option<Over> {
        let going = self.transfer.take()?;
        let by = going.by();
        let asker = self.sides.get(by)?.call.handle();
        let event = match event {
            Gone::Joined(Ok(Given::Phone(yielded))) => return self.joined(by, *yielded).await,
            Gone::Joined(Ok(Given::Seat(seat))) => {
                self.seat = Some((by, seat));
                return None;
            }
            Gone::Joined(Err(code)) => return self.not_transferred(by, transfer::line_of(code)),
            Gone::Rang(event) => event,
        };
        let Going::Blind(mut transfer) = going else { return None };
        match event {
            Some(Ringing::Progress { .. }) => {
                if !std::mem::replace(&mut transfer.rang, true) {
                    tokio::spawn(transfer::notify(&asker, "180 Ringing", false));
                }
                self.transfer = Some(Going::Blind(transfer));
            }
            Some(Ringing::Updated(u)) => {
                u.handle.respond(u.tx, u.request.respond(491));
                self.transfer = Some(Going::Blind(transfer));
            }
            Some(Ringing::Failed(refused)) => return self.not_transferred(by, transfer::line(refused.fault.code)),
            None => return self.not_transferred(by, "480 Temporarily Unavailable"),
            Some(answered @ Ringing::Answered { .. }) => {
                let Some(Yielded { side, place, party }) = transfer.taken(answered) else {
                    return self.not_transferred(by, "488 Not Acceptable Here");
                };
                self.relay.describe(by, MediaEnd::of(&side.described));
                let old = self.seat(by, side, place, party)?;
                if !old.gone {
                    tokio::spawn(transfer::leave(old.call));
                }
                // The one who stays was on hold as a rule, and must learn what the new one understands.
                self.tell(by);
            }
        }
        None
    }

    /// Puts another phone into a side; gives the one that was there. Its place is free: it may call again.
    pub(super) fn seat(&mut self, side: usize, new: Side, place: Place, party: CallParty) -> Option<Side> {
        self.line.left(side);
        let old = std::mem::replace(self.sides.get_mut(side)?, new);
        *self.places.get_mut(side)? = place;
        self.untold = self.untold.filter(|(of, _)| *of != side);
        self.entry.update(|c| if side == 0 { c.caller = party } else { c.callee = party });
        self.list(side);
        Some(old)
    }

    /// Nobody took the call: the old one goes on, unless the one who asked has left.
    pub(super) fn not_transferred(&self, by: usize, line: &str) -> Option<Over> {
        let asker = self.sides.get(by)?;
        if asker.gone {
            return Some(hung_up(by));
        }
        tokio::spawn(transfer::notify(&asker.call.handle(), line, true));
        None
    }
}
