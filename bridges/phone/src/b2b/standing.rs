//! A call that stands between two phones: one task that carries what the one wants to the other.

mod hand_over;
mod keys;
mod refer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{CallEndedBy, CallEntry, CallLeg, CallParty, CallState, Seat};
use media_core::sdp::{Direction, OriginVersion, Sdp};
use sip::{Call, CallEvent, EndReason, Headers, Method, Request, Response, SipError, TxId, Uri};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use super::board::{Line, Order};
use super::relay::{End as MediaEnd, Relay};
use super::replaces::DialogName;
use super::sdp::{self, Described, Local};
use super::siprec::{Recording, Voice};
use super::transfer::{Going, Gone};
use super::{Over, ended};
use crate::call::sdp_body;
use crate::faults::Reason;
use crate::phone::{Place, Shared};
use crate::route::Dialler;
use crate::security::Security;
use crate::session_timer::{Due, MIN_SE, SessionTimer};

const TICK: Duration = Duration::from_secs(1);
/// Tries to tell a phone what the other one understands.
const MOST_TELLS: u8 = 5;
/// Keys by INFO that wait for the other phone's answer.
const MOST_INFOS: usize = 8;

/// A phone's leg.
pub(crate) struct Side {
    pub call: Call,
    /// Who it is, as shown.
    pub party: CallParty,
    /// By whose rules it may transfer the call.
    pub who: Dialler,
    pub local: Local,
    pub origin: OriginVersion,
    /// Our last description in this dialog.
    pub sent: Option<Sdp>,
    /// The phone's last description.
    pub described: Described,
    /// How its sound is protected.
    pub security: Security,
    pub timer: Option<SessionTimer>,
    pub peer_updates: bool,
    /// We made an offer in a 200; the ACK brings the answer.
    pub awaits_answer: bool,
    /// The dialog with it, once its tags are known.
    pub dialog: Option<DialogName>,
    /// Since when its sound is due as it is described now.
    since: Instant,
    /// It hung up, and a transfer of its own goes on without it.
    gone: bool,
    /// It takes no keys by INFO.
    deaf: bool,
    refresh: Option<JoinHandle<Result<Response, SipError>>>,
    byed: bool,
}

impl Side {
    pub fn new(call: Call, who: Dialler, local: Local, mut described: Described) -> Side {
        let security = described.security.take().map_or_else(Security::default, |s| *s);
        Side {
            call,
            party: CallParty::default(),
            who,
            local,
            origin: OriginVersion::new(u64::from(rand::random::<u32>() >> 1)),
            sent: None,
            described,
            security,
            timer: None,
            peer_updates: false,
            awaits_answer: false,
            dialog: None,
            since: Instant::now(),
            gone: false,
            deaf: false,
            refresh: None,
            byed: false,
        }
    }

    /// Puts our keys into a description of ours, numbers and keeps it.
    pub fn stamp(&mut self, mut sdp: Sdp) -> String {
        self.security.dress(&mut sdp);
        self.origin.stamp(&mut sdp, "skybridge", self.local.address);
        let text = sdp.to_string();
        self.sent = Some(sdp);
        self.since = Instant::now();
        text
    }

    /// Takes a description of the phone.
    pub fn describes(&mut self, mut described: Described) {
        if let Some(security) = described.security.take() {
            self.security = *security;
        }
        self.described = described;
        self.since = Instant::now();
    }

    /// The direction that we stated last.
    fn direction(&self) -> Direction {
        let sent = self.sent.as_ref();
        sent.and_then(|s| s.first("audio").map(|m| s.direction_of(m))).unwrap_or_default()
    }

    fn bye(&mut self, reason: Option<&str>) {
        if !std::mem::replace(&mut self.byed, true) {
            let mut headers = Headers::new();
            if let Some(reason) = reason {
                headers.push("Reason", format!("SIP;cause=480;text=\"{reason}\""));
            }
            self.call.bye_with(headers);
        }
    }
}

/// An offer that was carried to the other phone and waits for its answer.
struct Passing {
    /// Who made it.
    from: usize,
    /// Its request; none when it came as the answer to an offer of ours.
    request: Option<(TxId, Request)>,
    offer: Described,
    task: JoinHandle<Result<Response, SipError>>,
}

pub(super) struct Standing<'a> {
    shared: Arc<Shared>,
    sides: [Side; 2],
    relay: Relay,
    entry: &'a CallEntry,
    passing: Option<Passing>,
    transfer: Option<Going>,
    /// Whose description is to be told to the other phone after the offer under way.
    then: Option<usize>,
    /// The seats into which the phones go once they have heard the tone.
    inserting: Option<(tokio::time::Instant, Box<[Seat; 2]>)>,
    /// The one who asked gave its seat in a conference to the other one.
    seat: Option<(usize, Box<Seat>)>,
    line: Line,
    orders: mpsc::Receiver<Order>,
    /// Their places among the calls that may be at once.
    places: [Place; 2],
    /// Whose description could not be told to the other phone yet, and how often that was tried.
    untold: Option<(usize, u8)>,
    infos: Arc<Semaphore>,
    /// The copy for an outside recorder.
    recording: Option<Recording>,
    /// Keys that go by INFO: which phone they are for, and whether it took them.
    informing: JoinSet<(usize, char, Duration, bool)>,
}

/// Two phones that were joined.
pub(super) struct Pair {
    pub sides: [Side; 2],
    pub places: [Place; 2],
    pub relay: Relay,
    pub line: Line,
    pub orders: mpsc::Receiver<Order>,
}

impl<'a> Standing<'a> {
    pub fn new(shared: Arc<Shared>, pair: Pair, entry: &'a CallEntry) -> Self {
        let Pair { sides, places, relay, line, orders } = pair;
        let standing = Standing {
            shared,
            sides,
            relay,
            entry,
            passing: None,
            transfer: None,
            then: None,
            inserting: None,
            seat: None,
            line,
            orders,
            places,
            untold: None,
            infos: Arc::new(Semaphore::new(MOST_INFOS)),
            recording: None,
            informing: JoinSet::new(),
        };
        standing.line.ringing(Vec::new());
        (0..2).for_each(|side| standing.list(side));
        standing
    }

    /// The other phone learns how the one in `side` is described before anything else.
    pub fn tell_first(&mut self, side: usize) {
        self.tell(side);
    }

    /// Enters the dialog with a phone into the switchboard.
    fn list(&self, side: usize) {
        if let Some(s) = self.sides.get(side)
            && let Some(dialog) = &s.dialog
        {
            self.line.dialog(dialog.clone(), side, &s.who, false);
        }
    }

    /// Works until the call has ended and says how.
    pub async fn run(mut self) -> Over {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (shutdown, ordered) = (self.shared.ctx.shutdown.clone(), self.entry.ordered());
        loop {
            self.record();
            // Who wants to change the legs waits until no offer is under way.
            let free = self.passing.is_none() && self.transfer.is_none();
            let [a, b] = &mut self.sides;
            let over = tokio::select! {
                event = a.call.next(), if !a.gone => self.on_event(0, event).await,
                event = b.call.next(), if !b.gone => self.on_event(1, event).await,
                result = joined(&mut a.refresh) => self.on_refresh(0, result),
                result = joined(&mut b.refresh) => self.on_refresh(1, result),
                result = passed(&mut self.passing) => self.on_passed(result).await,
                (side, key, held) = self.relay.key() => {
                    self.inform(1 - side.min(1), key, held).await;
                    None
                }
                Some(done) = self.informing.join_next() => {
                    if let Ok((side, key, held, false)) = done {
                        self.not_informed(side, key, held).await;
                    }
                    None
                }
                event = rung(&mut self.transfer) => self.on_transfer(event).await,
                order = self.orders.recv(), if free => match order {
                    Some(Order::Yield { side, by, with, reply }) => match self.may_yield(side, &by, with.as_deref()) {
                        Ok(()) => return self.give_away(side, reply),
                        Err(code) => {
                            let _ = reply.send(Err(code));
                            None
                        }
                    },
                    Some(Order::Replace { side, newcomer }) => self.on_replace(side, *newcomer).await,
                    Some(Order::Insert(seats)) => {
                        self.announce(seats).await;
                        None
                    }
                    Some(Order::PickUp(newcomer)) => {
                        // Somebody was quicker.
                        newcomer.call.reject(603, "");
                        None
                    }
                    None => None,
                },
                () = announced(&self.inserting), if free => return self.into_conference(),
                _ = tick.tick() => self.on_tick(),
                () = ordered.cancelled() => Some(Over::ordered()),
                () = shutdown.cancelled() => {
                    Some(Over::fault(CallEndedBy::Gateway, &Reason::ShuttingDown.fault()))
                }
            };
            if let Some((by, seat)) = self.seat.take() {
                return self.sit_down(by, *seat);
            }
            if let Some(over) = over {
                self.report();
                let reason = Some(over.code).filter(|c| *c != "ended");
                self.sides.iter_mut().for_each(|s| s.bye(reason));
                return over;
            }
        }
    }

    /// Lets an outside recorder hear the call as it is now, if the settings want it.
    fn record(&mut self) {
        let rules = &self.shared.config.siprec;
        // Before the answer to our own offer nobody knows the formats.
        if !rules.is_on() || self.sides.iter().any(|s| s.awaits_answer) {
            return;
        }
        let [a, b] = &self.sides;
        if !rules.wants([&a.party, &b.party]) {
            self.recording = None;
            return;
        }
        // Each sends with the numbers that the other one stated.
        let voices = [(a, b), (b, a)].map(|(side, other)| {
            let sdp = sdp::offer(&other.described, side.local, None, Direction::SendOnly);
            Voice { party: side.party.clone(), formats: sdp.media.into_iter().next().unwrap_or_default() }
        });
        match &self.recording {
            Some(recording) => recording.show(voices),
            None => self.recording = Recording::start(&self.shared, self.entry.id(), self.relay.ear(), voices),
        }
    }

    async fn on_event(&mut self, side: usize, event: Option<CallEvent>) -> Option<Over> {
        match event {
            None => Some(Over::fault(CallEndedBy::Network, &Reason::SignallingLost.fault())),
            Some(CallEvent::Ended(reason)) => {
                let leaves = self.transfer.as_ref().is_some_and(|t| t.by() == side);
                if let Some(s) = self.sides.get_mut(side) {
                    s.byed = true;
                    // Many phones hang up as soon as their REFER is taken: the other phone waits for the new one.
                    if leaves && matches!(reason, EndReason::Bye(_)) {
                        s.gone = true;
                        return None;
                    }
                }
                Some(ended(side, &reason))
            }
            Some(CallEvent::Confirmed(ack)) => self.on_ack(side, &ack).await,
            Some(CallEvent::Request { tx, request }) => {
                self.on_request(side, tx, request).await;
                None
            }
            Some(CallEvent::Progress(_) | CallEvent::Answered(_)) => None,
        }
    }

    /// The answer to an offer in our 200.
    async fn on_ack(&mut self, side: usize, ack: &Request) -> Option<Over> {
        let s = self.sides.get_mut(side)?;
        if s.dialog.is_none() {
            s.dialog = DialogName::of_request(ack);
            self.list(side);
        }
        let s = self.sides.get_mut(side)?;
        if !std::mem::take(&mut s.awaits_answer) {
            return None;
        }
        let Ok(described) = Described::answered(&ack.body, &s.security) else {
            return Some(Over::fault(CallEndedBy::Gateway, &Reason::NoCodec.fault()));
        };
        self.relay.describe(side, MediaEnd::of(&described));
        let tell = !s.described.differs_in_place_only(&described) && s.described.direction != described.direction;
        s.describes(described);
        if tell {
            self.tell(side);
        }
        self.show_hold();
        None
    }

    async fn on_request(&mut self, side: usize, tx: TxId, request: Request) {
        let response = match &request.method {
            Method::Invite | Method::Update => match self.on_offer(side, tx, request).await {
                Some(response) => response,
                None => return,
            },
            Method::Info => match self.on_info(side, tx, &request).await {
                Some(response) => response,
                None => return,
            },
            Method::Refer => match self.on_refer(side, &tx, &request) {
                Some(response) => response,
                None => return,
            },
            Method::Options => crate::phone::capabilities(&request),
            Method::Message => match (self.sides.get(side), self.sides.get(1 - side)) {
                (Some(s), Some(other)) => {
                    let number = &other.party.number;
                    return crate::texts::in_call(&self.shared, s.call.handle(), tx, &request, &s.who, number);
                }
                _ => request.respond(481),
            },
            _ => request.respond(405).with("Allow", crate::phone::ALLOW),
        };
        if let Some(s) = self.sides.get(side) {
            s.call.respond(tx, response);
        }
    }

    /// A re-INVITE or UPDATE; none when the other phone is asked first.
    async fn on_offer(&mut self, side: usize, tx: TxId, request: Request) -> Option<Response> {
        let now = Instant::now();
        let timer = match SessionTimer::of_request(&request, now) {
            Ok(timer) => timer,
            Err(_) => return Some(request.respond(422).with("Min-SE", MIN_SE.to_string())),
        };
        let s = self.sides.get_mut(side)?;
        match (timer, &mut s.timer) {
            (Some(new), own) => *own = Some(new),
            (None, Some(own)) => own.refreshed(now),
            (None, None) => {}
        }
        if request.body.is_empty() {
            let mut response = self.ok(side, &request);
            if request.method == Method::Invite {
                // A delayed offer: what the two agreed on, as our offer.
                let [a, b] = &mut self.sides;
                let (s, other) = if side == 0 { (a, b) } else { (b, a) };
                let body = sdp::offer(&other.described, s.local, s.sent.as_ref(), s.direction());
                let text = s.stamp(body);
                s.awaits_answer = true;
                response.set_body("application/sdp", sdp_body(text));
            }
            return Some(response);
        }
        let offer = match Described::offered(&request.body, &self.sides.get(side)?.security) {
            Ok(offer) => offer,
            // The session stays as it was (RFC 3261 14.2).
            Err(refusal) => {
                let fault = refusal.reason().fault();
                tracing::info!(
                    phone = self.sides.get(side)?.party.number,
                    code = fault.code,
                    "an offer inside a call is refused"
                );
                let reason = format!("SIP;cause=488;text=\"{}\"", fault.code);
                return Some(request.respond(488).with("Warning", refusal.warning()).with("Reason", reason));
            }
        };
        if self.passing.is_some() {
            // An offer of the one phone is on its way to the other (RFC 3261 14.2): try again.
            return Some(request.respond(491));
        }
        let s = self.sides.get(side)?;
        if s.described.differs_in_place_only(&offer) {
            // A refresh, or the phone has moved: the other one need not know.
            let (direction, local) = (s.direction(), s.local);
            let other = self.sides.get(1 - side)?.described.clone();
            if sdp::turned(&offer, &other) && !self.relay.decodes() {
                return Some(request.respond(488).with("Warning", sdp::NO_PLACE));
            }
            return Some(match sdp::answer(&offer, &other, local, direction) {
                Ok(body) => self.agree(side, &request, offer, body).await,
                Err(refusal) => request.respond(488).with("Warning", refusal.warning()),
            });
        }
        let update = request.method == Method::Update;
        self.pass(side, Some((tx, request)), offer, update);
        None
    }

    fn ok(&self, side: usize, request: &Request) -> Response {
        let mut response = request.respond(200);
        if let Some(timer) = self.sides.get(side).and_then(|s| s.timer)
            && request.headers.get("Session-Expires").is_some()
        {
            timer.answer(&mut response.headers);
        }
        response
    }

    /// Takes a phone's offer over and answers it.
    async fn agree(&mut self, side: usize, request: &Request, offer: Described, body: Sdp) -> Response {
        let mut response = self.ok(side, request);
        self.relay.describe(side, MediaEnd::of(&offer));
        if let Some(s) = self.sides.get_mut(side) {
            s.describes(offer);
            response.set_body("application/sdp", sdp_body(s.stamp(body)));
        }
        response
    }

    /// Tells the other phone how this one is described now; if that cannot be now, at a later tick.
    fn tell(&mut self, side: usize) {
        let Some(s) = self.sides.get(side) else { return };
        if self.passing.is_some() {
            self.untold.get_or_insert((side, 0));
        } else {
            self.pass(side, None, s.described.clone(), false);
        }
    }

    /// Carries an offer to the other phone.
    fn pass(&mut self, from: usize, request: Option<(TxId, Request)>, offer: Described, update: bool) {
        let Some(to) = self.sides.get_mut(1 - from) else { return };
        let body = sdp::offer(&offer, to.local, to.sent.as_ref(), offer.direction);
        let text = to.stamp(body);
        let method = if update && to.peer_updates { Method::Update } else { Method::Invite };
        let mut out = Request::new(method, Uri::default());
        out.set_body("application/sdp", sdp_body(text));
        if let Some(timer) = &to.timer {
            timer.request(&mut out.headers);
        }
        let handle = to.call.handle();
        let task = tokio::spawn(async move { handle.send(out).await });
        self.passing = Some(Passing { from, request, offer, task });
    }

    /// The other phone answered an offer that was carried to it.
    async fn on_passed(&mut self, result: Result<Response, SipError>) -> Option<Over> {
        let Passing { from, request, offer, .. } = self.passing.take()?;
        let now = Instant::now();
        let answer = match result {
            Ok(r) if r.is_success() => {
                if let Some(timer) = self.sides.get_mut(1 - from).and_then(|to| to.timer.as_mut()) {
                    timer.answered(&r.headers, now);
                }
                let security = self.sides.get(1 - from).map(|to| to.security.clone()).unwrap_or_default();
                Described::answered(&r.body, &security).map_err(|_| 488)
            }
            Ok(r) if r.code == 491 => Err(491),
            // RFC 3261 14.1 and RFC 3311: the dialog is gone; the endpoint tells its end.
            Ok(r) if matches!(r.code, 408 | 481) => Err(500),
            Ok(_) => Err(488),
            Err(SipError::Pending) => Err(491),
            Err(_) => Err(500),
        };
        let answered = match answer {
            Ok(theirs) if sdp::turned(&offer, &theirs) && !self.relay.decodes() => Err(488),
            Ok(theirs) => {
                let local = self.sides.get(from)?.local;
                self.relay.describe(1 - from, MediaEnd::of(&theirs));
                let body = sdp::answer(&offer, &theirs, local, theirs.direction);
                let to = self.sides.get_mut(1 - from)?;
                to.describes(theirs);
                body.map_err(|_| 488)
            }
            Err(code) => Err(code),
        };
        if let Some((tx, request)) = request {
            let response = match answered {
                Ok(body) => self.agree(from, &request, offer, body).await,
                Err(code) => request.respond(code),
            };
            self.sides.get(from)?.call.respond(tx, response);
            self.untold = self.untold.filter(|(side, _)| *side != from);
        } else if matches!(answered, Err(491 | 500)) {
            let tries = self.untold.filter(|(side, _)| *side == from).map_or(0, |(_, n)| n);
            self.untold = Some((from, tries + 1)).filter(|(_, n)| *n < MOST_TELLS);
        } else {
            if answered.is_err() && self.then.is_none() && !self.understood() {
                // Brought together by a transfer, and the one who stays does not take the new one's codec.
                return Some(Over::fault(CallEndedBy::Gateway, &Reason::NoCodec.fault()));
            }
            self.untold = None;
        }
        if let Some(side) = self.then.take() {
            self.tell(side);
        }
        self.show_hold();
        None
    }

    fn show_hold(&self) {
        let held = self.sides.iter().any(|s| !s.described.direction.receives() || !s.described.direction.sends());
        self.entry.update(|c| c.state = if held { CallState::Held } else { CallState::Talking });
    }

    /// What is known of the sound, for the books.
    fn report(&self) {
        let heard = self.relay.heard();
        let legs = self.sides.iter().zip(heard).zip(&self.places).map(|((side, heard), place)| {
            let maps = &side.described.maps;
            let map = heard.payload_type.and_then(|n| maps.iter().find(|m| m.payload_type == n)).or(maps.first());
            let codec = map.map_or_else(String::new, |m| m.encoding.clone());
            let expected = heard.packets + heard.lost;
            let loss = if expected == 0 { 0.0 } else { heard.lost as f32 * 100.0 / expected as f32 };
            let mos = (heard.packets > 0).then(|| crate::mos::estimate(&codec, loss, heard.jitter_ms));
            CallLeg {
                number: side.party.number.clone(),
                trunk: place.trunk().map(str::to_owned),
                codec,
                packets: heard.packets,
                lost: heard.lost,
                sent: heard.sent,
                jitter_ms: heard.jitter_ms,
                mos,
                turned: heard.turned.map(str::to_owned),
                recorded: (self.recording.is_some() || heard.copied > 0).then_some(heard.copied),
            }
        });
        let legs = legs.collect();
        self.entry.update(|c| c.legs = legs);
    }

    fn on_tick(&mut self) -> Option<Over> {
        self.report();
        let now = Instant::now();
        let timeout = Duration::from_secs(u64::from(self.shared.config.media_timeout));
        let heard = self.relay.heard();
        for (side, heard) in self.sides.iter().zip(heard) {
            if let Some(failure) = heard.failure {
                return Some(Over::without_keys(&side.party.number, failure));
            }
            // Who is on hold, or holds, need not send.
            let sends = side.described.direction == Direction::SendRecv && side.direction() == Direction::SendRecv;
            let due = heard.at.max(side.since);
            if sends && !side.gone && now.saturating_duration_since(due) >= timeout {
                return Some(Over::fault(CallEndedBy::Network, &Reason::MediaTimeout.with(&side.party.number)));
            }
        }
        if let Some(side) = self.sides.iter().find(|s| self.shared.accounts.withdrawn(s.call.id())) {
            return Some(Over::fault(CallEndedBy::Gateway, &Reason::SignedOut.with(&side.party.number)));
        }
        if let Some((side, _)) = self.untold.filter(|_| self.passing.is_none()) {
            self.tell(side);
        }
        (0..2).find_map(|side| self.check_timer(side, now))
    }

    fn check_timer(&mut self, side: usize, now: Instant) -> Option<Over> {
        let busy = self.passing.is_some();
        let s = self.sides.get_mut(side).filter(|s| !s.gone)?;
        let timer = s.timer.as_mut()?;
        match timer.due(now) {
            Due::Nothing => None,
            Due::Expired => Some(Over::fault(CallEndedBy::Network, &Reason::RefreshMissing.with(&s.party.number))),
            Due::Refresh if busy => {
                timer.again();
                None
            }
            Due::Refresh => {
                let method = if s.peer_updates { Method::Update } else { Method::Invite };
                let mut request = Request::new(method, Uri::default());
                timer.request(&mut request.headers);
                // A re-INVITE needs an offer: what we said last, word for word.
                if let Some(sent) = s.sent.as_ref().filter(|_| !s.peer_updates) {
                    request.set_body("application/sdp", sdp_body(sent.to_string()));
                }
                let handle = s.call.handle();
                s.refresh = Some(tokio::spawn(async move { handle.send(request).await }));
                None
            }
        }
    }

    fn on_refresh(&mut self, side: usize, result: Result<Response, SipError>) -> Option<Over> {
        let s = self.sides.get_mut(side)?;
        s.refresh = None;
        let timer = s.timer.as_mut()?;
        match result {
            Ok(r) if r.is_success() => timer.answered(&r.headers, Instant::now()),
            // RFC 4028 10: the call is gone at the far end.
            Ok(r) if matches!(r.code, 408 | 481) => {
                return Some(Over::fault(CallEndedBy::Network, &Reason::RefreshMissing.with(&s.party.number)));
            }
            Err(SipError::Timeout) => {
                return Some(Over::fault(CallEndedBy::Network, &Reason::RefreshMissing.with(&s.party.number)));
            }
            // Another offer was under way: at the next tick.
            Ok(r) if r.code == 491 => timer.again(),
            Err(SipError::Pending) => timer.again(),
            Ok(_) | Err(_) => timer.later(Instant::now()),
        }
        None
    }
}

async fn joined(task: &mut Option<JoinHandle<Result<Response, SipError>>>) -> Result<Response, SipError> {
    match task {
        Some(task) => task.await.unwrap_or(Err(SipError::Stopped)),
        None => std::future::pending().await,
    }
}

/// Answers a phone that came into a call by itself.
pub(super) fn newcome(
    call: Call,
    local: Local,
    request: &Request,
    (offered, timer): (Described, Option<SessionTimer>),
    who: CallParty,
    body: Sdp,
) -> Side {
    let mut side = Side::new(call, Dialler::Account(who.number.clone()), local, offered);
    side.party = who;
    side.timer = timer.or(Some(SessionTimer::own(Instant::now())));
    side.peer_updates = super::allows_update(&request.headers);
    let text = side.stamp(body);
    let mut extra = Headers::new();
    if let Some(timer) = &timer {
        timer.answer(&mut extra);
    }
    side.call.accept("application/sdp", sdp_body(text), extra);
    side
}

async fn rung(transfer: &mut Option<Going>) -> Gone {
    match transfer {
        Some(transfer) => transfer.next().await,
        None => std::future::pending().await,
    }
}

async fn announced(inserting: &Option<(tokio::time::Instant, Box<[Seat; 2]>)>) {
    match inserting {
        Some((at, _)) => tokio::time::sleep_until(*at).await,
        None => std::future::pending().await,
    }
}

async fn passed(passing: &mut Option<Passing>) -> Result<Response, SipError> {
    match passing {
        Some(passing) => (&mut passing.task).await.unwrap_or(Err(SipError::Stopped)),
        None => std::future::pending().await,
    }
}
