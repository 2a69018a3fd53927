//! The hall calls a phone into a conference.

use std::sync::Arc;
use std::time::Duration;

use bridge_core::{
    CallDirection, CallEndedBy, CallEntry, CallLeg, CallParty, Fault, Seat, SeatCommand, SeatReport, Text,
};
use sip::{Call, Response, Target, Transport, Uri};

use crate::b2b::DialogName;
use crate::b2b::ring::{Fork, Ring, Ringing};
use crate::call::{Caller, End, Standing, open_leg};
use crate::faults::Reason;
use crate::leg::Leg;
use crate::phone::{Place, Shared};
use crate::reach::Reach;
use crate::route::{self, Destination, Dialler};
use crate::session_timer::SessionTimer;

/// Whom to call.
pub(crate) struct Callee {
    pub party: CallParty,
    /// The account, if it is one of ours.
    pub account: Option<String>,
    pub reaches: Vec<Reach>,
}

/// Reads `8001`, `phone:8001`, `phone:8001/0` or `sip:user@address:port`.
pub(crate) fn find(shared: &Shared, from: &Dialler, to: &str) -> Result<Callee, Fault> {
    if to.starts_with("sip:") {
        if !shared.config.allow_dial_uri {
            return Err(Reason::DialNotAllowed.fault());
        }
        let uri: Uri = to.parse().map_err(|_| Reason::UnknownNumber.with(to))?;
        let ip = uri.ip().ok_or_else(|| Reason::UnknownNumber.with("the host must be an IP address"))?;
        let transport = match uri.param("transport").map(str::to_ascii_lowercase).as_deref() {
            Some("tcp") => Transport::Tcp,
            Some("tls") => Transport::Tls,
            _ => Transport::Udp,
        };
        let port = uri.port.unwrap_or(if transport == Transport::Tls { 5061 } else { 5060 });
        let target = Target::Address(transport, (ip, port).into());
        let party = CallParty::new(uri.user(), uri.user());
        return Ok(Callee { party, account: None, reaches: vec![Reach::phone(target, uri)] });
    }
    let user = to.strip_prefix("phone:").unwrap_or(to);
    let user = user.split_once('/').map_or(user, |(user, _)| user).to_owned();
    let to = route::ringable(shared, from, &user).map_err(|reason| reason.with(&user))?;
    let reaches = to.reaches(shared);
    if reaches.is_empty() {
        return Err(to.absent());
    }
    let account = matches!(to, Destination::Account(_)).then(|| to.party().number);
    Ok(Callee { party: to.party(), account, reaches })
}

/// Calls until answered and serves the call to its end.
pub(crate) async fn serve(shared: Arc<Shared>, callee: Callee, mut seat: Seat, place: Place) {
    let mut place = place;
    let entry = shared.log.begin(
        format!("{:016x}", rand::random::<u64>()),
        CallDirection::Out,
        CallParty::new(&seat.number, &seat.name),
        callee.party.clone(),
    );
    let end = match dial(&shared, &callee, &mut seat, &mut place, entry).await {
        Ok(standing) => {
            let mut standing = *standing;
            standing.seat(seat).await;
            standing.run().await
        }
        Err(end) => {
            // The entry of a call that never stood was closed by `dial`.
            seat.report(end.report()).await;
            end
        }
    };
    if let End::Failed(fault) = &end {
        tracing::info!(phone = callee.party.number, code = fault.code, fault = %fault.en, "a call to a phone failed");
    }
    shared.ended("out", end.outcome());
}

async fn dial(
    shared: &Arc<Shared>,
    callee: &Callee,
    seat: &mut Seat,
    place: &mut Place,
    entry: CallEntry,
) -> Result<Box<Standing>, End> {
    match ring(shared, callee, seat, place, &entry).await {
        Ok((call, leg, response)) => {
            let timer = SessionTimer::of_response(&response.headers, std::time::Instant::now());
            let caller = Caller {
                id: format!("{}:{}", crate::NAME, callee.party.number),
                name: callee.party.name.clone(),
                number: callee.party.number.clone(),
                trunk: place.trunk().map(str::to_owned),
            };
            let mut standing = Standing::new(shared.clone(), call, leg, caller, timer, &response.headers, entry);
            if let Some(who) = &callee.account {
                standing.known_as(Dialler::Account(who.clone()), DialogName::of_response(&response));
            }
            Ok(Box::new(standing))
        }
        Err(end) => {
            let (code, words) = end.words();
            let by = if matches!(code, "busy" | "declined") { CallEndedBy::Callee } else { CallEndedBy::Gateway };
            entry.finish(by, if code == "ended" { "cancelled" } else { code }, words);
            Err(end)
        }
    }
}

/// Rings all contacts until one answers.
async fn ring(
    shared: &Arc<Shared>,
    callee: &Callee,
    seat: &mut Seat,
    place: &mut Place,
    entry: &CallEntry,
) -> Result<(Call, Leg, Response), End> {
    let Some(first) = callee.reaches.first() else { return Err(End::fault(Reason::NotRegistered)) };
    let mut leg = open_leg(shared, &first.target, &seat.member.0, &callee.party.name).map_err(End::fault)?;
    let (mut offer, mut text) = if seat.announces { leg.offer_announcement() } else { leg.offer() };
    let caller = CallParty::new(&seat.number, &seat.name);
    let ring = Ring {
        caller: &caller,
        callee: &callee.party,
        reaches: callee.reaches.clone(),
        hops: 70,
        referred_by: None,
        hidden: false,
        announces: seat.announces,
    };
    // Dropping it cancels what still rings.
    let mut fork = Fork::start(shared, &ring, &text);
    let deadline = tokio::time::sleep(Duration::from_secs(u64::from(shared.config.ring_timeout)));
    tokio::pin!(deadline);
    let ordered = entry.ordered();
    let mut rang = false;
    loop {
        let event = tokio::select! {
            event = fork.next() => event,
            command = seat.command() => {
                if matches!(command, Some(SeatCommand::Hear(_) | SeatCommand::Floor(_))) {
                    continue;
                }
                return Err(End::Left(match command {
                    Some(_) => Text::new("呼叫已取消", "the call was given up"),
                    None => Text::new("会议已结束", "the conference ended"),
                }));
            }
            () = &mut deadline => {
                return Err(End::fault(if rang { Reason::NoAnswer } else { Reason::Unreachable }));
            }
            () = ordered.cancelled() => {
                return Err(End::Left(Text::new("值班员强拆", "released by an operator")));
            }
            () = shared.ctx.shutdown.cancelled() => return Err(End::fault(Reason::ShuttingDown)),
        };
        match event {
            Ringing::Updated(u) => u.handle.respond(u.tx, u.request.respond(491)),
            Ringing::Progress { .. } => {
                if !std::mem::replace(&mut rang, true) {
                    entry.ringing();
                    seat.report(SeatReport::Ringing).await;
                }
            }
            Ringing::Failed(refused) => {
                // Some phones refuse a call with a picture in it altogether, instead of the picture alone; some know AMR in one framing.
                if refused.fault.code == Reason::NoCodec.code()
                    && let Some(next) = leg.offer_next()
                {
                    (offer, text) = next;
                    fork = Fork::start(shared, &ring, &text);
                    continue;
                }
                let tried = refused.trunk.map(|trunk| CallLeg::unheard(&callee.party.number, &trunk));
                entry.update(|c| c.legs.extend(tried));
                return Err(End::Failed(refused.fault));
            }
            Ringing::Answered { call, response, line, security, .. } => {
                place.hold(line);
                leg.protect(*security);
                if let Err(error) = leg.answered(&offer, &response.body) {
                    call.bye();
                    return Err(End::Failed(error.fault()));
                }
                return Ok((*call, leg, *response));
            }
        }
    }
}

/// What a final answer of 300 and above means.
pub(crate) fn rejected(response: &Response) -> Fault {
    let reason = match response.code {
        486 | 600 => Reason::Busy,
        603 | 607 | 403 => Reason::Declined,
        408 | 480 => Reason::NoAnswer,
        404 | 410 | 484 | 604 => Reason::UnknownNumber,
        415 | 488 | 606 => Reason::NoCodec,
        430 => Reason::NotRegistered,
        code => return Reason::CallFailed.with(format_args!("{code} {}", response.reason)),
    };
    reason.with(response.code)
}
