//! Both phones of a call become members of a conference without hanging up: each gets a re-INVITE to a conference leg.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{CallDirection, CallEndedBy, CallParty, Fault, Seat, SeatReport, Text};
use sip::{CallEvent, Headers, Method, Request, Response, SipError, Uri};

use super::ring::early;
use super::standing::Side;
use crate::call::{Caller, End, Standing, open_leg_at, sdp_body};
use crate::faults::Reason;
use crate::leg::Leg;
use crate::phone::{Place, Shared};

/// Tries when the phone has an offer of its own under way.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(700);

/// Serves a phone that comes out of a call between phones as a member, to its end.
pub(crate) async fn serve(shared: Arc<Shared>, mut side: Side, mut seat: Seat, place: Place) {
    // Held until the member leaves.
    let entry = shared.log.begin(
        format!("{:016x}", rand::random::<u64>()),
        CallDirection::In,
        side.party.clone(),
        CallParty::new(&seat.number, &seat.name),
    );
    let leg = match move_leg(&shared, &mut side, &mut seat).await {
        Ok(leg) => leg,
        Err(end) => {
            let mut headers = Headers::new();
            if let End::Failed(fault) = &end {
                headers.push("Reason", format!("SIP;cause=480;text=\"{}\"", fault.code));
            }
            side.call.bye_with(headers);
            let (code, words) = end.words();
            entry.finish(CallEndedBy::Gateway, code, words);
            seat.report(end.report()).await;
            return shared.ended("in", code);
        }
    };
    let caller = Caller {
        id: format!("{}:{}", crate::NAME, side.party.number),
        name: side.party.name.clone(),
        number: side.party.number.clone(),
        trunk: place.trunk().map(str::to_owned),
    };
    let mut peer = Headers::new();
    if side.peer_updates {
        peer.push("Allow", "UPDATE");
    }
    seat.report(SeatReport::Person(side.party.clone())).await;
    let mut standing = Standing::new(shared.clone(), side.call, leg, caller, side.timer, &peer, entry);
    standing.known_as(side.who, side.dialog);
    standing.seat(seat).await;
    let end = standing.run().await;
    shared.ended("in", end.outcome());
}

/// Tells the phone where it talks from now on.
async fn move_leg(shared: &Arc<Shared>, side: &mut Side, seat: &mut Seat) -> Result<Leg, End> {
    let failed = |reason: Reason| End::Failed(reason.fault());
    let mut leg = open_leg_at(shared, side.local.address, &seat.member.0, &side.party.name).map_err(failed)?;
    leg.protect(side.security.clone());
    leg.continue_from(side.origin.clone(), side.sent.clone());
    let (offer, text) = leg.offer();
    for _ in 0..TRIES {
        let mut request = Request::new(Method::Invite, Uri::default());
        request.set_body("application/sdp", sdp_body(text.clone()));
        if let Some(timer) = &side.timer {
            timer.request(&mut request.headers);
        }
        let handle = side.call.handle();
        let mut sending = std::pin::pin!(async move { handle.send(request).await });
        let answer: Result<Response, SipError> = loop {
            tokio::select! {
                answer = &mut sending => break answer,
                event = side.call.next() => match event {
                    Some(CallEvent::Request { tx, request }) => {
                        let response = match request.method {
                            // Its offer crossed ours (RFC 3261 14.2).
                            Method::Invite => request.respond(491),
                            _ => early(&request),
                        };
                        side.call.respond(tx, response);
                    }
                    Some(CallEvent::Ended(_)) | None => {
                        return Err(End::Left(Text::new("对方挂机", "the phone hung up")));
                    }
                    Some(_) => {}
                },
                () = shared.ctx.shutdown.cancelled() => return Err(failed(Reason::ShuttingDown)),
            }
        };
        match answer {
            Ok(r) if r.is_success() => {
                if let Some(timer) = &mut side.timer {
                    timer.answered(&r.headers, Instant::now());
                }
                let agreed = leg.answered(&offer, &r.body).map_err(|e| End::Failed(e.fault()))?;
                drop(agreed);
                return Ok(leg);
            }
            Ok(r) if r.code != 491 => {
                let fault: Fault = crate::outbound::rejected(&r);
                return Err(End::Failed(fault));
            }
            Ok(_) | Err(SipError::Pending) => tokio::time::sleep(PAUSE).await,
            Err(SipError::Timeout) => return Err(failed(Reason::Unreachable)),
            Err(error) => return Err(End::Failed(Reason::CallFailed.with(error))),
        }
    }
    Err(failed(Reason::Busy))
}
