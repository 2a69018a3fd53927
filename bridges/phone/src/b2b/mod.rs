//! Phone to phone: a back-to-back user agent (RFC 3261 6). Each phone talks to us alone, in a dialog of its own; between the
//! two dialogs pass only numbers, names, filtered SDP and sound.
//!
//! - `ring`: all contacts of the callee at once. `standing`: the call between two phones. `transfer`: REFER. `sdp`, `relay`: their media. `turn`: codecs
//!   and keys that only one of the two knows.
//! - `board`: which dialog is whose call, and what rings. `replaces`, `pickup`: a phone takes a call of somebody else's.
//! - `seat`: a member's call in a conference, whose seat is handed on.
//! - `siprec`: the copy of a call for an outside recorder.
//! - `queue`: the waiting lines of duty desks. `waiting`: a caller in one. `voice`: what he hears.

mod board;
mod insert;
mod pickup;
mod queue;
mod relay;
mod replaces;
pub(crate) mod ring;
mod sdp;
pub(crate) mod seat;
mod siprec;
mod standing;
mod transfer;
mod turn;
mod voice;
mod waiting;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{CallDirection, CallEndedBy, CallEntry, CallLeg, CallParty, Fault, Text};
use media_core::sdp::{OriginVersion, Sdp};
use sip::{Call, CallEvent, EndReason, Flow, Headers, Method, Request, Response, Target};
use tokio::sync::mpsc;
use tokio::time::Instant as TokioInstant;

use self::board::{Line, Newcomer, Order};
use self::relay::{End as MediaEnd, Relay};
use self::ring::{Fork, Refused, Ring, Ringing, Updated};
use self::sdp::{Described, Local};
use self::standing::{Pair, Side, Standing, newcome};
use crate::call::{media_address, sdp_body};
use crate::faults::Reason;
use crate::phone::{Place, Shared};
use crate::route::{self, Destination, Dialler};
use crate::security::Security;
use crate::session_timer::{MIN_SE, SessionTimer};
use crate::trunk::identity::wants_privacy;

pub(crate) use board::{Board, Order as CallOrder};
pub(crate) use board::{Given as SeatOrPhone, Newcomer as ComingPhone, Yielded as GivenPhone};
pub(crate) use insert::serve as sit;
pub(crate) use pickup::wish;
pub(crate) use queue::Queues;
pub(crate) use replaces::{DialogName, Replaces};
pub(crate) use sdp::NO_FAX;
pub use siprec::SiprecConfig;
pub(crate) use siprec::Told as RecorderTold;
pub(crate) use turn::Turning;
pub use voice::Language;

/// Forwards that one call follows; more is a loop.
const MOST_HOPS: usize = 5;

/// How a call ended, for the books.
pub(crate) struct Over {
    pub by: CallEndedBy,
    pub code: &'static str,
    pub words: Text,
}

impl Over {
    fn fault(by: CallEndedBy, fault: &Fault) -> Over {
        Over { by, code: fault.code, words: Text::new(&fault.zh, &fault.en) }
    }

    fn without_keys(number: &str, failure: media_secure::Failure) -> Over {
        let fault = Reason::MediaKeys.with(format_args!("{number}: {failure}"));
        Over::fault(CallEndedBy::Gateway, &fault)
    }

    fn cancelled() -> Over {
        Over {
            by: CallEndedBy::Caller, code: "cancelled", words: Text::new("主叫取消呼叫", "the caller gave up")
        }
    }

    fn ordered() -> Over {
        Over {
            by: CallEndedBy::Gateway, code: "hung_up", words: Text::new("值班员强拆", "released by an operator")
        }
    }
}

fn hung_up(side: usize) -> Over {
    let (by, words) = match side {
        0 => (CallEndedBy::Caller, Text::new("主叫挂机", "the caller hung up")),
        _ => (CallEndedBy::Callee, Text::new("被叫挂机", "the phone called hung up")),
    };
    Over { by, code: "ended", words }
}

/// What the end of one leg means for the call.
fn ended(side: usize, reason: &EndReason) -> Over {
    match reason {
        EndReason::Bye(_) | EndReason::Cancelled => hung_up(side),
        EndReason::Timeout => Over::fault(CallEndedBy::Network, &Reason::Unreachable.fault()),
        EndReason::FlowClosed => Over::fault(CallEndedBy::Network, &Reason::SignallingLost.fault()),
        EndReason::Rejected(r) => Over::fault(CallEndedBy::Network, &crate::outbound::rejected(r)),
        EndReason::LocalBye => Over::fault(CallEndedBy::Gateway, &Reason::CallFailed.fault()),
        EndReason::Error(error) => Over::fault(CallEndedBy::Network, &Reason::CallFailed.with(error)),
    }
}

/// An INVITE of a phone for the number of another account.
pub(crate) struct Incoming {
    pub call: Call,
    pub flow: Flow,
    pub request: Request,
    /// Who proved himself, and how he is shown.
    pub who: Dialler,
    pub caller: CallParty,
    pub to: Destination,
}

/// Serves a call between two phones to its end.
pub(crate) async fn serve(shared: Arc<Shared>, incoming: Incoming, place: Place) {
    let id = format!("{:016x}", rand::random::<u64>());
    let entry = shared.log.begin(id, CallDirection::Between, incoming.caller.clone(), incoming.to.party());
    let (caller, number) = (incoming.caller.number.clone(), incoming.to.party().number);
    tracing::info!(caller, number, call_id = incoming.request.call_id().unwrap_or(""), "a phone calls a phone");
    let over = match &incoming.to {
        // Boxed: large, and most calls do not wait.
        Destination::Queue(_) => Box::pin(waiting::run(&shared, incoming, &entry, place)).await,
        _ => run(&shared, incoming, &entry, place).await,
    };
    if over.code != "ended" {
        tracing::info!(caller, number, code = over.code, why = %over.words.en, "a call between phones ended");
    }
    shared.ended("between", over.code);
    entry.finish(over.by, over.code, over.words);
}

/// The answer to the caller for a reason, and what else it says.
fn refuse(call: &Call, request: &Request, fault: &Fault, code: u16, warning: Option<&str>) {
    let mut response = request.respond(code);
    // RFC 3326: what the phone cannot know by the code alone.
    response.headers.push("Reason", format!("SIP;cause={code};text=\"{}\"", fault.code));
    if let Some(warning) = warning {
        response.headers.push("Warning", warning);
    }
    match code {
        422 => response.headers.push("Min-SE", MIN_SE.to_string()),
        503 => response.headers.push("Retry-After", "10"),
        _ => {}
    }
    call.reject_with(response);
}

/// The SIP code that a caller gets when the phone he dialled does not take the call.
fn code_for(fault: &Fault) -> u16 {
    match fault.code {
        "unknown_number" => 404,
        "busy" | "call_limit" => 486,
        "declined" => 603,
        "no_codec" | "transcode_limit" => 488,
        "no_media_port" | "shutting_down" | "trunk_down" | "trunk_full" => 503,
        "toll_denied" => 403,
        // Not registered, no answer, unreachable: it may be there later.
        _ => 480,
    }
}

async fn run(shared: &Arc<Shared>, incoming: Incoming, entry: &CallEntry, place: Place) -> Over {
    let Incoming { mut call, flow, request, who, caller, to } = incoming;
    let failed = |call: &Call, place: Place, fault: Fault, code: u16, warning: Option<&str>| {
        // Given back before the answer: the caller's next try may follow it at once.
        drop(place);
        refuse(call, &request, &fault, code, warning);
        Over::fault(CallEndedBy::Gateway, &fault)
    };
    let Ok(timer) = SessionTimer::of_request(&request, Instant::now()) else {
        return failed(&call, place, Reason::CallFailed.with("Session-Expires"), 422, None);
    };
    let target = Target::Flow(flow.id);
    let security = Security::incoming(shared, &target);
    let offered = match request.body.is_empty() {
        true => None,
        false => match Described::offered(&request.body, &security) {
            Ok(described) => Some(described),
            Err(refusal) => {
                let reason = refusal.reason();
                return failed(&call, place, reason.fault(), reason.sip_code(), Some(refusal.warning()));
            }
        },
    };
    let Some(relay) = Relay::open(shared) else {
        return failed(&call, place, Reason::NoMediaPort.fault(), 503, None);
    };
    if let Some(offered) = &offered {
        relay.expect(0, MediaEnd::of(offered));
    }
    let near = Local { address: media_address(shared, &target), port: relay.port(0), turns: shared.turning.transcode };
    let (line, mut orders) = shared.board.open(entry.id());
    let hops = request.headers.get("Max-Forwards").and_then(|v| v.trim().parse::<u32>().ok()).unwrap_or(70);
    let mut calling = Calling {
        shared,
        entry,
        caller: &caller,
        flow: &flow,
        request: &request,
        offered: offered.as_ref(),
        relay: &relay,
        near,
        hops: hops.saturating_sub(1).min(70),
        near_origin: OriginVersion::new(u64::from(rand::random::<u32>() >> 1)),
        near_security: offered.as_ref().and_then(|o| o.security.as_deref().cloned()).unwrap_or(security),
        early: None,
        updated: None,
        told: 0,
        line: &line,
        orders: &mut orders,
    };
    let found = calling.find(&mut call, to).await;
    let (near_origin, mut near_security) = (calling.near_origin, calling.near_security);
    // Its first description, or the newer one of an UPDATE.
    let updated = calling.updated.is_some();
    let newer = calling.updated;
    let offered = newer.or(offered);
    let answered = match found {
        Ok(answered) => answered,
        Err(Gone::Cancelled(over)) => return over,
        Err(Gone::Refused(fault)) => {
            // Said by the phone that was called, or by its absence.
            let by = if matches!(fault.code, "busy" | "declined") { CallEndedBy::Callee } else { CallEndedBy::Gateway };
            drop(place);
            let warning = (fault.code == Reason::TranscodeLimit.code()).then_some(sdp::NO_PLACE);
            refuse(&call, &request, &fault, code_for(&fault), warning);
            return Over::fault(by, &fault);
        }
        Err(Gone::Media(refusal)) => {
            return failed(&call, place, refusal.reason().fault(), 488, Some(refusal.warning()));
        }
    };
    let Answered { side: far_side, place: far_place } = answered;
    if offered.is_none() {
        near_security = Security::offering(shared, &target);
    }
    let callee = far_side.party.clone();
    let described = far_side.described.clone();
    if offered.as_ref().is_some_and(|o| sdp::turned(o, &described)) && !relay.decodes() {
        far_side.call.bye();
        return failed(&call, place, Reason::TranscodeLimit.fault(), 488, Some(sdp::NO_PLACE));
    }
    // With a delayed offer our 200 makes the offer, and the caller's ACK brings the answer.
    let (body, near_described) = match &offered {
        Some(offered) => match sdp::answer(offered, &described, near, offered.direction.answer(described.direction)) {
            Ok(body) => (body, offered.clone()),
            Err(refusal) => {
                far_side.call.bye();
                return failed(&call, place, Reason::NoCodec.fault(), 488, Some(refusal.warning()));
            }
        },
        None => (sdp::offer(&described, near, None, described.direction), sdp::own()),
    };
    relay.describe(1, MediaEnd::of(&described));
    let now = Instant::now();
    let mut near_side = Side::new(call, who, near, near_described);
    near_side.party.clone_from(&caller);
    near_side.security = near_security;
    near_side.origin = near_origin;
    // Also a call on hold whose phones have died must end.
    near_side.timer = timer.or(Some(SessionTimer::own(now)));
    near_side.peer_updates = allows_update(&request.headers);
    near_side.awaits_answer = offered.is_none();
    let text = near_side.stamp(body);
    let mut extra = Headers::new();
    if let Some(timer) = &timer {
        timer.answer(&mut extra);
    }
    if let Some(offered) = &offered {
        relay.describe(0, MediaEnd::of(offered));
    }
    near_side.call.accept("application/sdp", sdp_body(text), extra);
    entry.update(|c| c.callee = callee.clone());
    entry.answered();
    let pair = Pair { sides: [near_side, far_side], places: [place, far_place], relay, line, orders };
    let mut standing = Standing::new(shared.clone(), pair, entry);
    if updated {
        standing.tell_first(0);
    }
    standing.run().await
}

fn allows_update(headers: &Headers) -> bool {
    headers.tokens("Allow").any(|m| m.eq_ignore_ascii_case("UPDATE"))
}

struct Answered {
    side: Side,
    place: Place,
}

/// Sound before the answer.
struct Early {
    branch: usize,
    /// What the caller was told.
    text: String,
    /// What the phone described last.
    described: Described,
}

/// Why nobody answers.
enum Gone {
    /// The call of the caller is over already.
    Cancelled(Over),
    Refused(Fault),
    /// The phone answered with what the caller cannot use.
    Media(sdp::Refusal),
}

/// Looking for somebody who takes the call.
struct Calling<'a> {
    shared: &'a Arc<Shared>,
    entry: &'a CallEntry,
    caller: &'a CallParty,
    flow: &'a Flow,
    request: &'a Request,
    offered: Option<&'a Described>,
    relay: &'a Relay,
    near: Local,
    hops: u32,
    /// The `o=` of our side towards the caller, from the first description on.
    near_origin: OriginVersion,
    /// How the caller's sound is protected.
    near_security: Security,
    /// The contact whose early media the caller hears.
    early: Option<Early>,
    /// What the caller described by an UPDATE since.
    updated: Option<Described>,
    /// The provisional codes that the caller was told, as a set: 180 is bit 0.
    told: u8,
    line: &'a Line,
    orders: &'a mut mpsc::Receiver<Order>,
}

impl Calling<'_> {
    /// Rings the callee, and after it whoever its calls are forwarded to.
    async fn find(&mut self, call: &mut Call, mut to: Destination) -> Result<Answered, Gone> {
        let mut seen: Vec<String> = vec![to.party().number];
        loop {
            let callee = to.party();
            let forwards = self.shared.ctx.credentials.forwards(&callee.number);
            let (fault, next) = match self.ring(call, &to).await? {
                Ok(answered) => return Ok(answered),
                Err(refused) => {
                    let next = match refused.fault.code {
                        _ if refused.moved.is_some() => refused.moved,
                        "busy" | "call_limit" => forwards.busy,
                        "no_answer" => forwards.no_answer,
                        "not_registered" | "unreachable" | "signalling_lost" => forwards.offline,
                        _ => None,
                    };
                    (refused.fault, next)
                }
            };
            // Who forwards is the one who calls from here on: what he may not dial, nobody reaches through him.
            let forwarder = to.dialler();
            let next = next.and_then(|n| route::ringable(self.shared, &forwarder, &n).ok());
            let Some(destination) = next else { return Err(Gone::Refused(fault)) };
            let next = destination.party();
            if seen.len() > MOST_HOPS || seen.contains(&next.number) {
                tracing::info!(hops = ?seen, next = next.number, "a chain of forwards ends in itself or is too long");
                return Err(Gone::Refused(fault));
            }
            tracing::info!(from = callee.number, to = next.number, reason = fault.code, "a call is forwarded");
            seen.push(next.number.clone());
            call.ring(181, None);
            self.early = None;
            self.entry.update(|c| c.callee = next);
            to = destination;
        }
    }

    async fn ring(&mut self, call: &mut Call, to: &Destination) -> Result<Result<Answered, Refused>, Gone> {
        let callee = &to.party();
        let refused = |fault| Ok(Err(Refused { fault, everywhere: false, moved: None, trunk: None }));
        let mut reaches = to.reaches(self.shared);
        // A phone that dials its own number reaches the other phones of the account.
        reaches.retain(|r| r.target != Target::Flow(self.flow.id));
        let Some(first) = reaches.first() else {
            let own = callee.number == self.caller.number;
            return refused(if own { Reason::Busy.fault() } else { to.absent() });
        };
        let Some(mut place) = to.place(self.shared) else {
            return refused(Reason::Busy.fault());
        };
        let local = Local {
            address: media_address(self.shared, &first.target),
            port: self.relay.port(1),
            turns: self.shared.turning.offers(),
        };
        let mut origin = OriginVersion::new(u64::from(rand::random::<u32>() >> 1));
        let own;
        let from = match self.offered {
            Some(offered) => offered,
            None => {
                own = sdp::own();
                &own
            }
        };
        let hidden = self.caller.number == "anonymous" || wants_privacy(&self.request.headers);
        let mut sent = sdp::offer(from, local, None, from.direction);
        origin.stamp(&mut sent, "skybridge", local.address);
        let ring =
            Ring { caller: self.caller, callee, reaches, hops: self.hops, referred_by: None, hidden, announces: false };
        let mut fork = Fork::start(self.shared, &ring, &sent.to_string());
        let _rings = Rings::at(self.line, callee);
        let seconds = Duration::from_secs(u64::from(self.shared.config.ring_timeout));
        let deadline = TokioInstant::now() + seconds;
        let ordered = self.entry.ordered();
        loop {
            let event = tokio::select! {
                event = fork.next() => event,
                event = call.next() => match event {
                    Some(CallEvent::Request { tx, request }) => {
                        let response = self.before_answer(&request).await;
                        call.respond(tx, response);
                        continue;
                    }
                    Some(CallEvent::Ended(reason)) => return Err(Gone::Cancelled(caller_gone(&reason))),
                    None => return Err(Gone::Cancelled(Over::cancelled())),
                    Some(_) => continue,
                },
                () = tokio::time::sleep_until(deadline) => {
                    let rang = self.told != 0;
                    return refused(if rang { Reason::NoAnswer.fault() } else { Reason::Unreachable.fault() });
                }
                order = self.orders.recv() => {
                    if let Some(Order::PickUp(newcomer)) = order
                        && let Some(answered) = picked_up(self.shared, self.offered, self.relay.port(1), *newcomer)
                    {
                        fork.taken_elsewhere();
                        return Ok(Ok(answered));
                    }
                    continue;
                }
                () = ordered.cancelled() => {
                    refuse(call, self.request, &Reason::CallFailed.fault(), 480, None);
                    return Err(Gone::Cancelled(Over::ordered()));
                }
                () = self.shared.ctx.shutdown.cancelled() => return Err(Gone::Refused(Reason::ShuttingDown.fault())),
            };
            match event {
                Ringing::Progress { branch, code, response, security } => {
                    if let Some(name) = DialogName::of_response(&response) {
                        self.line.dialog(name, 1, &to.dialler(), true);
                    }
                    self.progress(call, branch, code, &response, &security).await;
                }
                Ringing::Updated(offer) => {
                    if let Some(body) = self.updated_early(*offer, local, &mut origin).await {
                        sent = body;
                    }
                }
                Ringing::Failed(mut why) => {
                    if why.fault.code == Reason::NoCodec.code() && self.shared.turning.transcode && !local.turns {
                        // It was offered the caller's codecs only.
                        why.fault = Reason::TranscodeLimit.fault();
                    }
                    // The books name the trunk of a call that it did not carry, too.
                    let tried = why.trunk.as_ref().map(|trunk| CallLeg::unheard(&callee.number, trunk));
                    self.entry.update(|c| c.legs.extend(tried));
                    return Ok(Err(why));
                }
                Ringing::Answered { branch, call, response, mut security, line, address } => {
                    place.hold(line);
                    let local = Local { address, ..local };
                    // Who has answered the offer reliably before need not say it again (RFC 3261 13.2.1).
                    let early = self.early.take_if(|e| e.branch == branch && response.body.is_empty());
                    let described = match early {
                        Some(early) => Ok(early.described),
                        None => Described::answered(&response.body, &security),
                    };
                    let described = match described {
                        Ok(described) => described,
                        Err(refusal) => {
                            call.bye();
                            return Err(Gone::Media(refusal));
                        }
                    };
                    let now = Instant::now();
                    security.dress_sent(&mut sent, &mut origin);
                    let mut side = Side::new(*call, to.dialler(), local, described);
                    side.party.clone_from(callee);
                    side.origin = origin;
                    side.sent = Some(sent);
                    side.timer = SessionTimer::of_response(&response.headers, now).or(Some(SessionTimer::own(now)));
                    side.peer_updates = allows_update(&response.headers);
                    side.dialog = DialogName::of_response(&response);
                    return Ok(Ok(Answered { side, place }));
                }
            }
        }
    }

    /// A request of the caller before anybody has answered.
    async fn before_answer(&mut self, request: &Request) -> Response {
        if request.method != Method::Update || request.body.is_empty() {
            return ring::early(request);
        }
        // RFC 3311 5.2: his first offer has its answer only once that was told reliably (RFC 3262 5).
        let supports = |name| self.request.headers.tokens(name).any(|t| t.eq_ignore_ascii_case("100rel"));
        let reliably = supports("Supported") || supports("Require");
        let Some(early) = self.early.as_ref().filter(|_| reliably) else {
            return request.respond(500).with("Retry-After", rand::random_range(0..=10).to_string());
        };
        let offer = match Described::offered(&request.body, &self.near_security) {
            Ok(offer) => offer,
            Err(refusal) => return request.respond(488).with("Warning", refusal.warning()),
        };
        let direction = offer.direction.answer(early.described.direction);
        let mut body = match sdp::answer(&offer, &early.described, self.near, direction) {
            Ok(body) => body,
            Err(refusal) => return request.respond(488).with("Warning", refusal.warning()),
        };
        if let Some(security) = offer.security.as_deref() {
            self.near_security = security.clone();
        }
        self.near_security.dress(&mut body);
        self.near_origin.stamp(&mut body, "skybridge", self.near.address);
        self.relay.describe(0, MediaEnd::of(&offer));
        self.updated = Some(offer);
        let mut response = request.respond(200);
        response.set_body("application/sdp", sdp_body(body.to_string()));
        response
    }

    /// An offer of a phone that has answered ours reliably, but not the call yet.
    async fn updated_early(&mut self, offer: Updated, local: Local, origin: &mut OriginVersion) -> Option<Sdp> {
        let Updated { branch, handle, tx, request, security } = offer;
        let heard = self.early.as_ref().is_some_and(|early| early.branch == branch);
        let Some(caller) = self.updated.as_ref().or(self.offered).filter(|_| heard) else {
            handle.respond(tx, request.respond(491));
            return None;
        };
        let read = Described::offered(&request.body, &security);
        let made =
            read.and_then(|new| Ok((sdp::answer(&new, caller, local, new.direction.answer(caller.direction))?, new)));
        let (mut body, new) = match made {
            Ok(made) => made,
            Err(refusal) => {
                handle.respond(tx, request.respond(488).with("Warning", refusal.warning()));
                return None;
            }
        };
        if let Some(security) = new.security.as_deref() {
            security.clone().dress(&mut body);
        }
        origin.stamp(&mut body, "skybridge", local.address);
        self.relay.describe(1, MediaEnd::of(&new));
        let mut response = request.respond(200);
        response.set_body("application/sdp", sdp_body(body.to_string()));
        handle.respond(tx, response);
        if let Some(early) = &mut self.early {
            early.described = new;
        }
        Some(body)
    }

    /// Tells the caller that it rings; sound before the answer (183, or 180 with SDP) comes from one contact only.
    async fn progress(&mut self, call: &Call, branch: usize, code: u16, response: &Response, security: &Security) {
        if code != 183 {
            self.entry.ringing();
        }
        if let Some(offered) = self.offered
            && !response.body.is_empty()
            && self.early.as_ref().is_none_or(|early| early.branch == branch)
            && let Ok(described) = Described::answered(&response.body, security)
            && let Ok(mut body) = sdp::answer(offered, &described, self.near, described.direction)
        {
            let text = match &self.early {
                Some(early) => early.text.clone(),
                None => {
                    // A copy: the 200 says the same again.
                    self.near_security.clone().dress(&mut body);
                    self.near_origin.stamp(&mut body, "skybridge", self.near.address);
                    body.to_string()
                }
            };
            self.relay.describe(1, MediaEnd::of(&described));
            self.early = Some(Early { branch, text: text.clone(), described });
            self.told |= 1;
            // It knows now where to send.
            self.relay.describe(0, MediaEnd::of(offered));
            return call.ring(code, Some(("application/sdp", sdp_body(text))));
        }
        let bit = match code {
            180 => 1,
            182 => 2,
            183 => 4,
            _ => return,
        };
        if self.told & bit == 0 {
            self.told |= bit;
            call.ring(code, None);
        }
    }
}

/// As long as it is there, the call may be picked up.
struct Rings<'a>(&'a Line);

impl<'a> Rings<'a> {
    fn at(line: &'a Line, callee: &CallParty) -> Rings<'a> {
        line.ringing(vec![callee.number.clone()]);
        Rings(line)
    }
}

impl Drop for Rings<'_> {
    fn drop(&mut self) {
        self.0.ringing(Vec::new());
    }
}

/// Somebody else answers the call that rings; none when it cannot be, and that one was told.
fn picked_up(shared: &Shared, near: Option<&Described>, port: u16, newcomer: Newcomer) -> Option<Answered> {
    let Newcomer { call, flow, request, who, offered, timer, place } = newcomer;
    let local = Local { address: media_address(shared, &Target::Flow(flow.id)), port, turns: shared.turning.transcode };
    let own;
    let near = match near {
        Some(near) => near,
        None => {
            own = sdp::own();
            &own
        }
    };
    match sdp::answer(&offered, near, local, near.direction) {
        Ok(body) => {
            tracing::info!(by = who.number, "a ringing call is picked up");
            let side = newcome(call, local, &request, (offered, timer), who, body);
            Some(Answered { side, place })
        }
        Err(refusal) => {
            refuse(&call, &request, &Reason::NoCodec.fault(), 488, Some(refusal.warning()));
            None
        }
    }
}

fn caller_gone(reason: &EndReason) -> Over {
    match reason {
        EndReason::Cancelled | EndReason::Bye(_) => Over::cancelled(),
        EndReason::FlowClosed => Over::fault(CallEndedBy::Network, &Reason::SignallingLost.fault()),
        _ => Over::fault(CallEndedBy::Network, &Reason::CallFailed.fault()),
    }
}
