//! A member's seat goes to another phone, without a moment in which the conference is without the member.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{BoxFuture, CallDirection, CallParty, PictureState, Seat, SeatReport};
use sip::{Headers, Target};

use super::{Caller, End, Stage, Standing, open_leg, sdp_body};
use crate::b2b::ring::elsewhere;
use crate::b2b::seat::{Wanted, tell};
use crate::b2b::{ComingPhone, GivenPhone, SeatOrPhone, sit};
use crate::phone::Shared;
use crate::route::Dialler;
use crate::security::Security;

/// How long the one who handed its seat on may take to hang up once it was told of the success.
const FAREWELL: Duration = Duration::from_secs(3);

impl Standing {
    /// Who this is, so that it and its other phones may hand the seat on. `dialog`: as far as it is known already.
    pub fn known_as(&mut self, who: Dialler, dialog: Option<crate::b2b::DialogName>) {
        self.desk = crate::b2b::seat::Desk::open(&self.shared, self.entry.id(), who);
        if let Some(desk) = &mut self.desk {
            desk.list(dialog);
        }
    }

    fn take_seat(&mut self) -> Option<Seat> {
        match std::mem::replace(&mut self.stage, Stage::Given { until: Instant::now() + FAREWELL }) {
            Stage::Seated { seat, .. } if self.end.is_none() => Some(seat),
            other => {
                self.stage = other;
                None
            }
        }
    }

    pub(super) async fn on_wanted(&mut self, wanted: Wanted) {
        match wanted {
            Wanted::Nobody(line) => tell(&self.call.handle(), line),
            Wanted::Phone(phone) => self.give_to(*phone).await,
            Wanted::Newcomer(newcomer) => self.give_to_newcomer(*newcomer).await,
            Wanted::Seat(reply) => {
                let Some(seat) = self.take_seat() else { return drop(reply.send(Err(603))) };
                match reply.send(Ok(SeatOrPhone::Seat(Box::new(seat)))) {
                    Ok(()) => self.hang_up(End::Given),
                    // Who asked is gone: the seat stays where it is.
                    Err(Ok(SeatOrPhone::Seat(seat))) => {
                        self.stage = Stage::Seated { seat: *seat, listen: None, retry: Instant::now() };
                    }
                    Err(_) => {}
                }
            }
        }
    }

    /// The phone that the member asked for takes the seat; the member is told, and hangs up.
    async fn give_to(&mut self, phone: GivenPhone) {
        let call = self.call.handle();
        let Some(seat) = self.take_seat() else { return tell(&call, "603 Decline") };
        // A phone that comes is asked for sound alone: its call was one.
        seat.report(SeatReport::Picture(PictureState::None, None)).await;
        self.shared.spawn(sit_down(self.shared.clone(), phone, seat));
        self.end = Some(End::Given);
        tell(&call, "200 OK");
    }

    /// INVITE with Replaces: another phone of the account goes on in the conference.
    async fn give_to_newcomer(&mut self, newcomer: ComingPhone) {
        if self.end.is_some() || !matches!(self.stage, Stage::Seated { .. }) {
            return newcomer.call.reject(603, "");
        }
        let target = Target::Flow(newcomer.flow.id);
        let call_id = newcomer.request.call_id().unwrap_or("");
        let mut leg = match open_leg(&self.shared, &target, call_id, &newcomer.who.name) {
            Ok(leg) => leg,
            Err(reason) => return newcomer.call.reject(reason.sip_code(), ""),
        };
        leg.protect(Security::incoming(&self.shared, &target));
        let body = match leg.answer(&newcomer.request.body) {
            Ok(agreed) => agreed.answer.unwrap_or_default(),
            Err(refused) => {
                let response = newcomer.request.respond(refused.sip_code()).with("Warning", refused.warning());
                return newcomer.call.reject_with(response);
            }
        };
        let Some(seat) = self.take_seat() else { return newcomer.call.reject(603, "") };
        seat.report(SeatReport::Picture(PictureState::None, None)).await;
        seat.report(SeatReport::Person(newcomer.who.clone())).await;
        let mut extra = Headers::new();
        if let Some(timer) = &newcomer.timer {
            timer.answer(&mut extra);
        }
        newcomer.call.accept("application/sdp", sdp_body(body), extra);
        self.shared.spawn(stand(self.shared.clone(), newcomer, leg, seat));
        self.end = Some(End::Given);
        if !std::mem::replace(&mut self.byed, true) {
            self.call.bye_with(elsewhere());
        }
    }
}

/// The newcomer's call in the conference, to its end. Boxed: it may hand the seat on in its turn.
fn stand(shared: Arc<Shared>, newcomer: ComingPhone, leg: crate::leg::Leg, seat: Seat) -> BoxFuture<'static, ()> {
    Box::pin(stand_to_end(shared, newcomer, leg, seat))
}

/// As [`stand`], for a phone that comes out of a call between phones.
fn sit_down(shared: Arc<Shared>, phone: GivenPhone, seat: Seat) -> BoxFuture<'static, ()> {
    let GivenPhone { side, place, .. } = phone;
    Box::pin(sit(shared, side, seat, place))
}

async fn stand_to_end(shared: Arc<Shared>, newcomer: ComingPhone, leg: crate::leg::Leg, seat: Seat) {
    // The place is held until the member leaves.
    let ComingPhone { call, request, who, timer, place: _place, .. } = newcomer;
    let number = CallParty::new(&seat.number, &seat.name);
    let entry = shared.log.begin(format!("{:016x}", rand::random::<u64>()), CallDirection::In, who.clone(), number);
    let caller = Caller {
        id: format!("{}:{}", crate::NAME, who.number),
        name: who.name,
        number: who.number.clone(),
        trunk: None,
    };
    let mut standing = Standing::new(shared.clone(), call, leg, caller, timer, &request.headers, entry);
    standing.known_as(Dialler::Account(who.number), None);
    standing.seat(seat).await;
    let end = standing.run().await;
    shared.ended("in", end.outcome());
}
