//! A phone calls a conference.

use std::sync::Arc;
use std::time::Instant;

use bridge_core::{AccountKind, CallDirection, CallEndedBy, CallParty, Fault, Link, Text};
use sip::{Call, Flow, Headers, Request, Target};

use crate::accounts::Who;
use crate::b2b;
use crate::call::{Caller, End, Standing, open_leg, sdp_body};
use crate::faults::Reason;
use crate::phone::Shared;
use crate::route::{self, Destination, Dialler};
use crate::security::Security;
use crate::session_timer::{MIN_SE, SessionTimer};
use crate::trunk::identity::user_of;
use crate::watch;

/// Serves one INVITE until its call has ended.
pub(crate) async fn serve(shared: Arc<Shared>, call: Call, flow: Flow, request: Request) {
    // A phone by the path of its registration comes first; then whoever sends from where a trunk is, whatever he says.
    let phone = shared.accounts.registered(&request, &flow);
    shared.accounts.carries(call.id(), &Target::Flow(flow.id));
    let trunk = if phone { None } else { shared.trunks.recognise(flow.peer.ip(), &request) };
    let (who, caller, number) = match &trunk {
        Some(trunk) => {
            let party = trunk.caller(&request);
            let name = trunk.config.name.clone();
            let caller = Caller {
                id: format!("trunk:{name}/{}", party.number),
                name: party.name,
                number: party.number,
                trunk: Some(name.clone()),
            };
            (Dialler::Trunk(name), caller, trunk.leads_to(&request))
        }
        None => {
            let who = match shared.accounts.caller(&shared.ctx, &request, &flow) {
                Ok(who) => who,
                Err(response) => {
                    if response.code != 401 {
                        shared.ended("in", Reason::Unauthorized.code());
                    }
                    return call.reject_with(response);
                }
            };
            let caller = caller(&shared, &who, &request, &flow);
            let who = match who {
                Who::Account(user) => Dialler::Account(user),
                Who::Guest => Dialler::Guest,
            };
            (who, caller, Some(request.uri.user().to_owned()))
        }
    };
    let dialled = user_of(&request.uri);
    let place = match &trunk {
        Some(trunk) => trunk.line_in().ok_or(Reason::TrunkFull).and_then(|line| {
            let mut place = shared.place_on_trunk().ok_or(Reason::Limit)?;
            place.hold(Some(line));
            Ok(place)
        }),
        None => shared.place(&caller.id).ok_or(Reason::Limit),
    };
    let place = match place {
        Ok(place) => place,
        Err(reason) => {
            let fault = reason.fault();
            let (from, to) = (CallParty::new(&caller.number, &caller.name), CallParty::new(&dialled, ""));
            let entry = shared.log.begin(format!("{:016x}", rand::random::<u64>()), CallDirection::In, from, to);
            entry.finish(CallEndedBy::Gateway, fault.code, Text::new(&fault.zh, &fault.en));
            return reject(&shared, &call, &request, &fault, reason.sip_code());
        }
    };
    if let Dialler::Account(user) = &who
        && let Some(wish) = b2b::wish(&shared, &request)
    {
        let who = CallParty::new(user, &caller.name);
        return wish.carry_out(&shared, call, flow, request, who, place);
    }
    let routed = match &number {
        Some(number) => route::route(&shared, &who, number),
        None => Err(Reason::UnknownNumber),
    };
    let number = number.unwrap_or(dialled);
    let watched = match &who {
        Dialler::Account(user) => {
            let outside = routed.as_ref().map_or(!number.starts_with(['*', '#']), |to| !to.is_inside());
            watch::begin(&shared, user, &number, flow.peer.ip(), outside).map(Some)
        }
        _ => Ok(None),
    };
    if who == Dialler::Guest && routed.is_err() {
        let guard = shared.ctx.sip.guard();
        guard.offence(Instant::now(), flow.peer.ip(), None, sip::Offence::UnknownNumber);
    }
    // Dropped when the call is over.
    let _watched = match watched {
        Ok(watched) => watched,
        Err(fault) => {
            drop(place);
            let (from, to) = (CallParty::new(&caller.number, &caller.name), CallParty::new(&number, ""));
            let entry = shared.log.begin(format!("{:016x}", rand::random::<u64>()), CallDirection::In, from, to);
            entry.finish(CallEndedBy::Gateway, fault.code, Text::new(&fault.zh, &fault.en));
            let code = if fault.code == Reason::AccountBlocked.code() { 403 } else { 480 };
            return reject(&shared, &call, &request, &fault, code);
        }
    };
    shared.dtls_phones.offered(&shared, &flow, &request.body);
    let refusal = match routed {
        Ok(Destination::Conference(_)) => None,
        Ok(to) => {
            let caller = CallParty::new(&caller.number, &caller.name);
            return b2b::serve(shared, b2b::Incoming { call, flow, request, who, caller, to }, place).await;
        }
        Err(reason) => Some(reason),
    };
    let entry = shared.log.begin(
        format!("{:016x}", rand::random::<u64>()),
        CallDirection::In,
        CallParty::new(&caller.number, &caller.name),
        CallParty::new(&number, ""),
    );
    let admitted = match refusal {
        None => admit(&shared, &call, &flow, &request, &caller, &number).await,
        Some(reason) => Err((reason.fault(), reason.sip_code())),
    };
    match admitted {
        Ok((leg, timer, offer, seat)) => {
            tracing::info!(
                caller = caller.id,
                number,
                call_id = request.call_id().unwrap_or(""),
                "a phone calls a conference"
            );
            let mut standing = Standing::new(shared.clone(), call, leg, caller.clone(), timer, &request.headers, entry);
            standing.known_as(who, None);
            if let Some(offer) = offer {
                standing.await_answer(offer);
            }
            match seat {
                Some(seat) => standing.seat(seat).await,
                None => standing.ask_pin(number.clone()),
            }
            // Boxed: what is large and rare must not be carried by each call between phones.
            let end = Box::pin(standing.run()).await;
            if let End::Failed(fault) = &end {
                tracing::info!(caller = caller.id, number, code = fault.code, fault = %fault.en, "a phone's call failed");
            }
            shared.ended("in", end.outcome());
        }
        Err((fault, code)) => {
            // Given back before the answer: the caller's next try may follow it at once.
            drop(place);
            entry.finish(CallEndedBy::Gateway, fault.code, Text::new(&fault.zh, &fault.en));
            reject(&shared, &call, &request, &fault, code);
        }
    }
}

type Admitted = (crate::leg::Leg, Option<SessionTimer>, Option<media_core::sdp::Sdp>, Option<bridge_core::Seat>);

/// Checks number and media, takes the seat where no PIN is asked for, and answers.
async fn admit(
    shared: &Shared,
    call: &Call,
    flow: &Flow,
    request: &Request,
    caller: &Caller,
    number: &str,
) -> Result<Admitted, (Fault, u16)> {
    let refuse = |reason: Reason| (reason.fault(), reason.sip_code());
    let rooms = &shared.ctx.rooms;
    let target = Target::Flow(flow.id);
    let timer = SessionTimer::of_request(request, Instant::now())
        .map_err(|_| (Reason::CallFailed.with("Session-Expires"), 422))?;
    let mut leg = open_leg(shared, &target, request.call_id().unwrap_or(""), &caller.name).map_err(refuse)?;
    let (body, offer) = if request.body.is_empty() {
        leg.protect(Security::offering(shared, &target));
        let (offer, text) = leg.offer();
        (text, Some(offer))
    } else {
        leg.protect(Security::incoming(shared, &target));
        let agreed = leg.answer(&request.body).map_err(|refused| (refused.fault(), refused.sip_code()))?;
        (agreed.answer.unwrap_or_default(), None)
    };
    let seat = if rooms.wants_pin(number) {
        None
    } else {
        let entered = rooms.enter(number, None, &caller.id, &caller.name, Link::Lan).await;
        Some(entered.map_err(|fault| (fault, 403))?)
    };
    let mut extra = Headers::new();
    if let Some(timer) = &timer {
        timer.answer(&mut extra);
    }
    call.accept("application/sdp", sdp_body(body), extra);
    Ok((leg, timer, offer, seat))
}

fn caller(shared: &Shared, who: &Who, request: &Request, flow: &Flow) -> Caller {
    let from = request.from().unwrap_or_default();
    match who {
        Who::Account(user) => {
            let name = shared.ctx.credentials.display_name(AccountKind::Phone, user).unwrap_or_else(|| user.clone());
            Caller { id: format!("{}:{user}", crate::NAME), name, number: user.clone(), trunk: None }
        }
        Who::Guest => {
            let shown: String = from.display.unwrap_or_else(|| from.uri.user().to_owned());
            let shown: String = shown.chars().filter(|c| !c.is_control()).take(40).collect();
            let name = if shown.is_empty() { flow.peer.ip().to_string() } else { shown };
            // What a guest says of himself is not proven: the address is.
            Caller { id: format!("guest:{}", flow.peer.ip()), name, number: flow.peer.ip().to_string(), trunk: None }
        }
    }
}

fn reject(shared: &Shared, call: &Call, request: &Request, fault: &Fault, code: u16) {
    tracing::info!(code, reason = fault.code, detail = %fault.en, "a call of a phone is refused");
    shared.ended("in", fault.code);
    let mut response = request.respond(code);
    response.headers.push("Reason", format!("SIP;cause={code};text=\"{}\"", fault.code));
    match code {
        422 => response.headers.push("Min-SE", MIN_SE.to_string()),
        488 if fault.code == Reason::SrtpNeeded.code() => {
            response.headers.push("Warning", crate::security::KeyError::Needed.warning());
        }
        488 if fault.code == Reason::MediaKeys.code() => {
            response.headers.push("Warning", crate::security::KeyError::Unusable.warning());
        }
        488 => response.headers.push("Warning", "304 skybridge \"PCMA or PCMU over RTP/AVP needed\""),
        503 => response.headers.push("Retry-After", "10"),
        _ => {}
    }
    call.reject_with(response);
}
