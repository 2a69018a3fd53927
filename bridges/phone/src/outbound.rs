//! The hall calls a phone into a conference.

use std::sync::Arc;
use std::time::Duration;

use bridge_core::{
    AccountKind, CallDirection, CallEndedBy, CallEntry, CallParty, Fault, Seat, SeatCommand, SeatReport, Text,
};
use sip::{Call, CallEvent, EndReason, Method, NameAddr, Request, Response, Target, Transport, Uri};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::call::{Caller, End, Standing, open_leg, sdp_body};
use crate::faults::Reason;
use crate::leg::Leg;
use crate::phone::{Place, Shared};
use crate::session_timer::SessionTimer;

/// Contacts of one account that ring at once.
const MOST_BRANCHES: usize = 5;

/// Whom to call.
pub(crate) struct Callee {
    pub user: String,
    pub name: String,
    pub targets: Vec<(Target, Uri)>,
}

/// Reads `8001`, `phone:8001`, `phone:8001/0` or `sip:user@address:port`.
pub(crate) fn find(shared: &Shared, to: &str) -> Result<Callee, Fault> {
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
        let user = uri.user().to_owned();
        return Ok(Callee { name: user.clone(), user, targets: vec![(target, uri)] });
    }
    let user = to.strip_prefix("phone:").unwrap_or(to);
    let user = user.split_once('/').map_or(user, |(user, _)| user).to_owned();
    if shared.ctx.credentials.secret(AccountKind::Phone, &user).is_none() {
        return Err(Reason::UnknownNumber.with(&user));
    }
    let mut targets = shared.accounts.targets(&shared.ctx.sip, &user);
    targets.truncate(MOST_BRANCHES);
    if targets.is_empty() {
        return Err(Reason::NotRegistered.with(&user));
    }
    let name = shared.ctx.credentials.display_name(AccountKind::Phone, &user).unwrap_or_else(|| user.clone());
    Ok(Callee { user, name, targets })
}

/// What one ringing contact tells.
enum Branch {
    Ringing,
    Answered(Box<(Call, Response)>),
    Failed(Fault),
}

/// Calls until answered and serves the call to its end.
pub(crate) async fn serve(shared: Arc<Shared>, callee: Callee, mut seat: Seat, place: Place) {
    let _place = place;
    let entry = shared.log.begin(
        format!("{:016x}", rand::random::<u64>()),
        CallDirection::Out,
        CallParty::new(&seat.number, &seat.name),
        CallParty::new(&callee.user, &callee.name),
    );
    let end = match dial(&shared, &callee, &mut seat, entry).await {
        Ok(standing) => {
            let mut standing = *standing;
            standing.seat(seat).await;
            standing.run().await
        }
        Err(end) => {
            // The entry of a call that never stood was closed by `dial`.
            seat.report(match &end {
                End::Left(text) => SeatReport::Left(text.clone()),
                End::Failed(fault) => SeatReport::Failed(fault.clone()),
            })
            .await;
            end
        }
    };
    if let End::Failed(fault) = &end {
        tracing::info!(phone = callee.user, code = fault.code, fault = %fault.en, "a call to a phone failed");
    }
    shared.ended("out", end.outcome());
}

async fn dial(shared: &Arc<Shared>, callee: &Callee, seat: &mut Seat, entry: CallEntry) -> Result<Box<Standing>, End> {
    match ring(shared, callee, seat, &entry).await {
        Ok((call, leg, response)) => {
            let timer = SessionTimer::of_response(&response.headers, std::time::Instant::now());
            let caller = Caller {
                id: format!("{}:{}", crate::NAME, callee.user),
                name: callee.name.clone(),
                number: callee.user.clone(),
            };
            Ok(Box::new(Standing::new(shared.clone(), call, leg, caller, timer, &response.headers, entry)))
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
    entry: &CallEntry,
) -> Result<(Call, Leg, Response), End> {
    let Some((first, _)) = callee.targets.first() else { return Err(End::fault(Reason::NotRegistered)) };
    let mut leg = open_leg(shared, first, &seat.member.0, &callee.name).map_err(End::fault)?;
    let (offer, text) = leg.offer();
    let (tell, mut told) = mpsc::channel(16);
    let mut branches = JoinSet::new();
    for (target, contact) in &callee.targets {
        let request = invite(shared, seat, callee, target, contact, &text);
        branches.spawn(branch(shared.clone(), *target, request, tell.clone()));
    }
    drop(tell);
    let deadline = tokio::time::sleep(Duration::from_secs(u64::from(shared.config.ring_timeout)));
    tokio::pin!(deadline);
    let ordered = entry.ordered();
    let mut open = callee.targets.len();
    let mut rang = false;
    let mut worst: Option<Fault> = None;
    // Dropping the other branches cancels their calls.
    loop {
        let event = tokio::select! {
            event = told.recv() => event,
            command = seat.command() => {
                if matches!(command, Some(SeatCommand::Hear(_))) {
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
            Some(Branch::Ringing) if !rang => {
                rang = true;
                entry.ringing();
                seat.report(SeatReport::Ringing).await;
            }
            Some(Branch::Ringing) => {}
            Some(Branch::Failed(fault)) => {
                open -= 1;
                // What a person did says more than what the network did.
                let personal = |f: &Fault| f.code == Reason::Busy.code() || f.code == Reason::Declined.code();
                if worst.as_ref().is_none_or(|w| !personal(w)) {
                    worst = Some(fault);
                }
                if open == 0 {
                    return Err(worst.map_or_else(|| End::fault(Reason::CallFailed), End::Failed));
                }
            }
            Some(Branch::Answered(answered)) => {
                let (call, response) = *answered;
                if let Err(error) = leg.answered(&offer, &response.body) {
                    call.bye();
                    return Err(End::Failed(Reason::NoCodec.with(error)));
                }
                return Ok((call, leg, response));
            }
            None => return Err(worst.map_or_else(|| End::fault(Reason::CallFailed), End::Failed)),
        }
    }
}

fn invite(shared: &Shared, seat: &Seat, callee: &Callee, target: &Target, contact: &Uri, body: &str) -> Request {
    let host = shared.ctx.sip.local_address(target).ip().to_string();
    let mut request = Request::new(Method::Invite, contact.clone());
    let from =
        NameAddr { display: Some(seat.name.clone()), uri: Uri::sip(&seat.number, &host, None), ..NameAddr::default() };
    request.headers.set("From", from.to_string());
    request.headers.set("To", NameAddr::new(Uri::sip(&callee.user, &host, None)).to_string());
    request.headers.set("Supported", "timer");
    request.set_body("application/sdp", sdp_body(body.to_owned()));
    request
}

/// Rings one contact.
async fn branch(shared: Arc<Shared>, target: Target, request: Request, tell: mpsc::Sender<Branch>) {
    let mut call = match shared.ctx.sip.invite(target, request).await {
        Ok(call) => call,
        Err(error) => {
            let _ = tell.send(Branch::Failed(Reason::Unreachable.with(error))).await;
            return;
        }
    };
    loop {
        match call.next().await {
            Some(CallEvent::Progress(r)) if r.code > 100 => {
                let _ = tell.send(Branch::Ringing).await;
            }
            Some(CallEvent::Answered(response)) => {
                let _ = tell.send(Branch::Answered(Box::new((call, response)))).await;
                return;
            }
            Some(CallEvent::Request { tx, request }) => call.respond(tx, request.respond(481)),
            Some(CallEvent::Progress(_) | CallEvent::Confirmed(_)) => {}
            Some(CallEvent::Ended(reason)) => {
                let fault = match reason {
                    EndReason::Rejected(r) => rejected(&r),
                    EndReason::Timeout => Reason::Unreachable.fault(),
                    EndReason::FlowClosed => Reason::SignallingLost.fault(),
                    EndReason::Error(error) => Reason::CallFailed.with(error),
                    _ => Reason::CallFailed.fault(),
                };
                let _ = tell.send(Branch::Failed(fault)).await;
                return;
            }
            None => {
                let _ = tell.send(Branch::Failed(Reason::CallFailed.fault())).await;
                return;
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
