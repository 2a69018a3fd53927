//! A standing call: one task that owns signalling, media and seat until the call ends.

mod floor;
mod hand_over;
mod screen;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{
    CallDirection, CallEndedBy, CallEntry, CallParty, CallState, Fault, Link, Seat, SeatCommand, SeatReport, Text,
    Whose,
};
use bytes::Bytes;
use media_core::sdp::Sdp;
use media_core::{Codec, dtmf};
use media_hub::{Pulled, Start, SubscribeOptions, Subscriber};
use media_net::Batch;
use sip::{Call, CallEvent, EndReason, Headers, Method, Request, Response, SipError, TxId, Uri};
use tokio::task::JoinHandle;

use crate::b2b::seat::{Desk, confirmed};
use crate::faults::Reason;
use crate::leg::Leg;
use crate::phone::Shared;
use crate::pin::{Entered, PinEntry};
use crate::prompt::{self, Prompt};
use crate::route::Dialler;
use crate::session_timer::{Due, MIN_SE, SessionTimer};
use screen::Screen;

const TICK: Duration = Duration::from_millis(20);
const QUALITY_EVERY: Duration = Duration::from_secs(2);
/// How often the table of live calls is brought up to date.
const BOOKS_EVERY: Duration = Duration::from_secs(1);
/// How long the farewell tone may last before the call is ended anyway.
const FAREWELL: Duration = Duration::from_secs(2);

/// Who is at the other end.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// What wrong PINs are counted by.
    pub id: String,
    pub name: String,
    /// The account, for the books.
    pub number: String,
    /// The trunk by which he came, or was called.
    pub trunk: Option<String>,
}

/// Why a call ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Left(Text),
    Failed(Fault),
    /// The seat went to another phone.
    Given,
}

impl End {
    pub fn fault(reason: Reason) -> End {
        End::Failed(reason.fault())
    }

    pub fn outcome(&self) -> &'static str {
        match self {
            End::Left(_) => "ended",
            End::Failed(fault) => fault.code,
            End::Given => "transferred",
        }
    }

    /// The same for whoever holds the seat.
    pub fn report(&self) -> SeatReport {
        match self {
            End::Failed(fault) => SeatReport::Failed(fault.clone()),
            End::Left(_) | End::Given => SeatReport::Left(self.words().1),
        }
    }

    /// The same for the books.
    pub fn words(&self) -> (&'static str, Text) {
        match self {
            End::Left(text) => ("ended", text.clone()),
            End::Failed(fault) => (fault.code, Text::new(&fault.zh, &fault.en)),
            End::Given => ("transferred", Text::new("席位已转给另一话机", "another phone took the seat")),
        }
    }
}

enum Stage {
    /// Keys are collected.
    Pin {
        number: String,
        entry: PinEntry,
        tries: u32,
    },
    Seated {
        seat: Seat,
        listen: Option<Subscriber>,
        retry: Instant,
    },
    /// The farewell tone plays, then BYE.
    Leaving {
        until: Instant,
    },
    /// Another phone has the seat; this one hangs up, or we do.
    Given {
        until: Instant,
    },
}

/// The state of the task.
pub(crate) struct Standing {
    shared: Arc<Shared>,
    call: Call,
    leg: Leg,
    caller: Caller,
    stage: Stage,
    tones: VecDeque<Bytes>,
    /// Our offer that waits for an answer in an ACK.
    offered: Option<Sdp>,
    timer: Option<SessionTimer>,
    peer_updates: bool,
    refresh: Option<JoinHandle<Result<Response, SipError>>>,
    end: Option<End>,
    byed: bool,
    /// What the seat was told last.
    held: bool,
    /// In its conference one talks at a time.
    floored: bool,
    next_quality: Instant,
    next_books: Instant,
    /// The call's line in the books.
    entry: CallEntry,
    screen: Screen,
    /// On the switchboard: who may hand the seat on.
    desk: Option<Desk>,
}

impl Standing {
    pub fn new(
        shared: Arc<Shared>,
        call: Call,
        leg: Leg,
        caller: Caller,
        timer: Option<SessionTimer>,
        peer: &Headers,
        entry: CallEntry,
    ) -> Self {
        entry.answered();
        Standing {
            shared,
            call,
            leg,
            caller,
            stage: Stage::Leaving { until: Instant::now() },
            tones: VecDeque::new(),
            offered: None,
            timer,
            peer_updates: peer.tokens("Allow").any(|m| m.eq_ignore_ascii_case("UPDATE")),
            refresh: None,
            end: None,
            byed: false,
            floored: false,
            held: false,
            next_quality: Instant::now() + QUALITY_EVERY,
            next_books: Instant::now(),
            entry,
            screen: Screen::default(),
            desk: None,
        }
    }

    /// Our 200 carried an offer: the answer comes in the ACK.
    pub fn await_answer(&mut self, offer: Sdp) {
        self.offered = Some(offer);
    }

    /// The caller must enter the PIN of `number` first.
    pub fn ask_pin(&mut self, number: String) {
        self.stage = Stage::Pin { number, entry: self.entry(), tries: 0 };
        self.play(Prompt::EnterPin);
    }

    fn entry(&self) -> PinEntry {
        let seconds = |s: u32| Duration::from_secs(u64::from(s));
        let config = &self.shared.config;
        PinEntry::new(Instant::now(), seconds(config.pin_first_timeout), seconds(config.pin_digit_timeout))
    }

    fn play(&mut self, prompt: Prompt) {
        self.tones = prompt::packets(prompt, self.leg.codec(), self.leg.mode()).into();
    }

    /// Takes the seat: from now on the phone hears the conference.
    pub async fn seat(&mut self, seat: Seat) {
        seat.report(SeatReport::Connected { stream: self.leg.stream(), hears: self.leg.codec() }).await;
        self.held = self.leg.held();
        if self.held {
            seat.report(SeatReport::Held(true)).await;
        }
        self.stage = Stage::Seated { seat, listen: None, retry: Instant::now() };
    }

    /// Works until the call has ended and says why.
    pub async fn run(mut self) -> End {
        let mut batch = Batch::new();
        let mut control = vec![0u8; 1500];
        let mut tick = tokio::time::Instant::now() + TICK;
        let shutdown = self.shared.ctx.shutdown.clone();
        let ordered = self.entry.ordered();
        loop {
            let wake = self.leg.next_timeout().map_or(tick, |at| tick.min(at.into()));
            let Standing { call, leg, stage, refresh, end, screen, desk, .. } = &mut self;
            let (shown, intake) = screen.parts();
            let (seat, listen) = match stage {
                // A call that is being ended takes no more orders.
                Stage::Seated { seat, listen, .. } => (Some(seat).filter(|_| end.is_none()), listen.as_mut()),
                _ => (None, None),
            };
            tokio::select! {
                event = call.next() => {
                    confirmed(desk.as_mut(), event.as_ref());
                    if let Some(end) = self.on_event(event).await {
                        return self.finish(end).await;
                    }
                }
                command = next_command(seat) => match command {
                    Some(SeatCommand::Hear(stream)) => {
                        if let Stage::Seated { seat, listen, .. } = &mut self.stage {
                            (seat.listen, *listen) = (stream, None);
                        }
                    }
                    Some(SeatCommand::Floor(notice)) => self.on_floor(notice).await,
                    Some(SeatCommand::HangUp) => self.hang_up(End::Left(Text::new("已被移出会议", "removed from the conference"))),
                    None => self.hang_up(End::Left(Text::new("会议已结束", "the conference ended"))),
                },
                wanted = Desk::next(desk.as_mut().filter(|_| end.is_none())) => self.on_wanted(wanted).await,
                pulled = next_heard(listen) => self.hear(pulled),
                pulled = next_heard(shown) => self.show(pulled),
                got = leg.receive(&mut batch) => {
                    let now = Instant::now();
                    match got {
                        Ok(_) => batch.iter().for_each(|(data, from)| self.leg.on_rtp(data, from, now)),
                        Err(error) => {
                            tracing::debug!(%error, "receiving sound");
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    }
                    self.after_media(now).await;
                }
                got = leg.receive_rtcp(&mut control) => {
                    // An error here is an ICMP answer to an earlier report.
                    if let Ok((n, from)) = got {
                        self.leg.on_rtcp(control.get(..n).unwrap_or_default(), from, Instant::now());
                    }
                }
                got = leg.receive_picture(intake) => {
                    if let Err(error) = got {
                        tracing::debug!(%error, "receiving a picture");
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    let now = Instant::now();
                    self.leg.on_picture(&self.screen.intake, now);
                    self.after_media(now).await;
                }
                result = refreshed(refresh) => self.on_refresh(result),
                () = tokio::time::sleep_until(wake) => {
                    let now = Instant::now();
                    self.after_media(now).await;
                    if now >= tick.into_std() {
                        tick = (tick + TICK).max(tokio::time::Instant::from_std(now) - TICK);
                        self.on_tick(now).await;
                    }
                }
                () = ordered.cancelled(), if end.is_none() => {
                    self.hang_up(End::Left(Text::new("值班员强拆", "released by an operator")));
                }
                () = shutdown.cancelled(), if end.is_none() => {
                    self.hang_up(End::fault(Reason::ShuttingDown));
                }
            }
        }
    }

    async fn finish(mut self, end: End) -> End {
        let ordered = self.end.take();
        let ours = ordered.is_some();
        let end = ordered.unwrap_or(end);
        let legs = vec![self.account()];
        self.entry.update(|c| c.legs = legs);
        let (code, words) = end.words();
        let by = match &end {
            // Not an order of ours: the path to the phone broke.
            End::Failed(fault) if fault.whose == Whose::Peer || fault.whose == Whose::Device => CallEndedBy::Network,
            End::Left(_) if !ours => self.phone_end(),
            _ => CallEndedBy::Gateway,
        };
        self.entry.finish(by, code, words);
        if let Stage::Seated { seat, .. } = &self.stage {
            seat.report(end.report()).await;
        }
        end
    }

    /// The phone's leg for the books.
    fn account(&self) -> bridge_core::CallLeg {
        bridge_core::CallLeg { trunk: self.caller.trunk.clone(), ..self.leg.account(&self.caller.number) }
    }

    /// Which end of the call the phone is.
    fn phone_end(&self) -> CallEndedBy {
        let mut by = CallEndedBy::Caller;
        self.entry.update(|c| {
            if c.direction == CallDirection::Out {
                by = CallEndedBy::Callee;
            }
        });
        by
    }

    /// Ends the call; the first reason counts.
    fn hang_up(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
        }
        self.bye();
    }

    fn bye(&mut self) {
        if !std::mem::replace(&mut self.byed, true) {
            let mut headers = Headers::new();
            if let Some(End::Failed(fault)) = &self.end {
                // RFC 3326: the phone or its log can tell why; 480 stands for all that is not a SIP status of its own.
                headers.push("Reason", format!("SIP;cause=480;text=\"{}\"", fault.code));
            }
            self.call.bye_with(headers);
        }
    }

    /// Plays the tone of refusal, then ends the call.
    fn refuse(&mut self, fault: Fault) {
        self.end = Some(End::Failed(fault));
        self.play(Prompt::Refused);
        self.stage = Stage::Leaving { until: Instant::now() + FAREWELL };
    }

    fn hear(&mut self, pulled: Pulled) {
        // A tone of ours is not torn by voices.
        if let Pulled::Item(item) = pulled
            && item.frame.codec == self.leg.codec()
            && self.tones.is_empty()
        {
            self.leg.hear(&item.frame, Instant::now());
        }
    }

    async fn after_media(&mut self, now: Instant) {
        self.leg.drain(now);
        self.tell_mode().await;
        while let Some(key) = self.leg.key() {
            if matches!(self.stage, Stage::Seated { .. }) {
                self.on_talk_key(key).await;
            }
            let Stage::Pin { entry, .. } = &mut self.stage else { continue };
            // Who presses a key knows what to do.
            self.tones.clear();
            if let Some(entered) = entry.key(key, now) {
                self.on_pin(entered).await;
            }
        }
    }

    async fn on_tick(&mut self, now: Instant) {
        match self.tones.pop_front() {
            Some(packet) => self.leg.send(&packet, now),
            None => match &self.stage {
                Stage::Seated { .. } => self.leg.fill(now),
                _ => self.leg.send_silence(now),
            },
        }
        self.leg.report(now);
        self.on_screen(now).await;
        match &mut self.stage {
            Stage::Pin { entry, .. } => {
                if let Some(entered) = entry.tick(now) {
                    self.on_pin(entered).await;
                }
            }
            Stage::Seated { seat, listen, retry } => {
                if listen.is_none() && now >= *retry {
                    *retry = now + Duration::from_millis(100);
                    let options = SubscribeOptions { start: Start::NextKey, ..SubscribeOptions::default() };
                    *listen = self.shared.ctx.hub.subscribe(&seat.listen, options).ok();
                }
                if now >= self.next_quality {
                    self.next_quality = now + QUALITY_EVERY;
                    let (loss_percent, jitter_ms) = self.leg.quality();
                    seat.report(SeatReport::Quality { loss_percent, jitter_ms }).await;
                }
            }
            Stage::Leaving { until } => {
                if self.tones.is_empty() || now >= *until {
                    self.bye();
                }
            }
            Stage::Given { until } if now >= *until => self.bye(),
            Stage::Given { .. } => {}
        }
        let timeout = Duration::from_secs(u64::from(self.shared.config.media_timeout));
        // A loudspeaker may have nothing to say.
        let mute = matches!(&self.stage, Stage::Seated { seat, .. } if seat.announces);
        if now >= self.next_books {
            self.next_books = now + BOOKS_EVERY;
            let leg = self.account();
            let held = self.held;
            self.entry.update(|c| {
                c.legs = vec![leg];
                c.state = if held { CallState::Held } else { CallState::Talking };
            });
            if self.shared.accounts.withdrawn(self.call.id()) {
                self.hang_up(End::fault(Reason::SignedOut));
            }
        }
        if self.end.is_none()
            && let Some(failure) = self.leg.failure()
        {
            self.hang_up(End::Failed(Reason::MediaKeys.with(failure)));
        }
        if self.end.is_none() && !mute && self.leg.silent_for(now).is_some_and(|s| s >= timeout) {
            self.hang_up(End::fault(Reason::MediaTimeout));
        }
        self.check_timer(now);
    }

    fn check_timer(&mut self, now: Instant) {
        let Some(timer) = &mut self.timer else { return };
        match timer.due(now) {
            Due::Nothing => {}
            Due::Expired if self.end.is_none() => self.hang_up(End::fault(Reason::RefreshMissing)),
            Due::Expired => {}
            Due::Refresh => {
                let method = if self.peer_updates { Method::Update } else { Method::Invite };
                let mut request = Request::new(method, Uri::default());
                timer.request(&mut request.headers);
                if !self.peer_updates {
                    let text = self.leg.described();
                    request.set_body("application/sdp", text);
                }
                let handle = self.call.handle();
                self.refresh = Some(tokio::spawn(async move { handle.send(request).await }));
            }
        }
    }

    fn on_refresh(&mut self, result: Result<Response, SipError>) {
        self.refresh = None;
        match result {
            Ok(r) if r.is_success() => {
                if let Some(timer) = &mut self.timer {
                    timer.answered(&r.headers, Instant::now());
                }
            }
            // The call is gone at the far end (RFC 4028 10).
            Ok(r) if matches!(r.code, 408 | 481) => self.hang_up(End::fault(Reason::RefreshMissing)),
            Err(SipError::Timeout) => self.hang_up(End::fault(Reason::RefreshMissing)),
            Ok(_) | Err(_) => {
                if let Some(timer) = &mut self.timer {
                    timer.later(Instant::now());
                }
            }
        }
    }

    async fn on_pin(&mut self, entered: Entered) {
        let Stage::Pin { number, tries, .. } = &mut self.stage else { return };
        let Entered::Pin(pin) = entered else {
            return self.refuse(Reason::PinTimeout.fault());
        };
        *tries += 1;
        let (number, tries) = (number.clone(), *tries);
        let rooms = self.shared.ctx.rooms.clone();
        match rooms.enter(&number, Some(&pin), &self.caller.id, &self.caller.name, Link::Lan).await {
            Ok(seat) => {
                self.tones.clear();
                self.seat(seat).await;
            }
            Err(fault) if fault.code == Reason::WrongPin.code() => {
                if let Some(m) = &self.shared.metrics {
                    m.wrong_pins.inc();
                }
                tracing::info!(caller = self.caller.id, number, tries, "wrong PIN");
                if tries >= self.shared.config.pin_tries {
                    self.refuse(Reason::WrongPin.fault());
                } else {
                    let entry = self.entry();
                    if let Stage::Pin { entry: old, .. } = &mut self.stage {
                        *old = entry;
                    }
                    self.play(Prompt::Again);
                }
            }
            Err(fault) => self.refuse(fault),
        }
    }

    /// Handles an event of the call; gives the end when it is the last one.
    async fn on_event(&mut self, event: Option<CallEvent>) -> Option<End> {
        match event {
            None => return Some(End::fault(Reason::SignallingLost)),
            Some(CallEvent::Ended(reason)) => return Some(ended(&reason)),
            Some(CallEvent::Confirmed(ack)) => {
                if let Some(offer) = self.offered.take() {
                    match self.leg.answered(&offer, &ack.body) {
                        Ok(agreed) => self.agreed(agreed.held, agreed.codec_changed).await,
                        Err(refused) => self.hang_up(End::Failed(refused.fault())),
                    }
                }
            }
            Some(CallEvent::Request { tx, request }) => self.on_request(tx, &request).await,
            Some(CallEvent::Progress(_) | CallEvent::Answered(_)) => {}
        }
        None
    }

    async fn on_request(&mut self, tx: TxId, request: &Request) {
        let response = match &request.method {
            Method::Info => self.on_info(request),
            Method::Invite | Method::Update => self.on_offer(request).await,
            Method::Options => crate::phone::capabilities(request),
            Method::Refer => {
                let conference = match &self.stage {
                    Stage::Seated { seat, .. } => Some(CallParty::new(&seat.number, &seat.name)),
                    _ => None,
                };
                let refused = match &mut self.desk {
                    Some(desk) => desk.on_refer(&self.shared, &self.call.handle(), &tx, request, conference.as_ref()),
                    None => Some(request.respond(403)),
                };
                let Some(refused) = refused else { return };
                refused
            }
            Method::Message => {
                let Stage::Seated { seat, .. } = &self.stage else {
                    return self.call.respond(tx, request.respond(403));
                };
                let who = match self.caller.id.strip_prefix("phone:") {
                    Some(user) => Dialler::Account(user.to_owned()),
                    None => Dialler::Guest,
                };
                return crate::texts::in_call(&self.shared, self.call.handle(), tx, request, &who, &seat.number);
            }
            _ => request.respond(405).with("Allow", crate::phone::ALLOW),
        };
        self.call.respond(tx, response);
    }

    fn on_info(&mut self, request: &Request) -> Response {
        if request.body.is_empty() {
            return request.respond(200);
        }
        if let Some(response) = self.on_media_control(request) {
            return response;
        }
        match dtmf::parse_info(request.content_type().unwrap_or(""), &request.body) {
            Some((key, _)) => {
                self.leg.push_key(key);
                request.respond(200)
            }
            None => request
                .respond(415)
                .with("Accept", "application/dtmf-relay, application/dtmf, application/media_control+xml"),
        }
    }

    /// A re-INVITE or UPDATE: hold, resume, another address, a refresh.
    async fn on_offer(&mut self, request: &Request) -> Response {
        let now = Instant::now();
        let timer = match SessionTimer::of_request(request, now) {
            Ok(timer) => timer,
            Err(_) => return request.respond(422).with("Min-SE", MIN_SE.to_string()),
        };
        let mut response = request.respond(200);
        if !request.body.is_empty() {
            match self.leg.answer(&request.body) {
                Ok(agreed) => {
                    if let Some(body) = agreed.answer {
                        response.set_body("application/sdp", body);
                    }
                    self.agreed(agreed.held, agreed.codec_changed).await;
                }
                // The session stays as it was (RFC 3261 14.2).
                Err(refused) => {
                    let fault = refused.fault();
                    tracing::info!(caller = self.caller.id, code = fault.code, "an offer inside a call is refused");
                    let reason = format!("SIP;cause=488;text=\"{}\"", fault.code);
                    return request.respond(488).with("Warning", refused.warning()).with("Reason", reason);
                }
            }
        } else if request.method == Method::Invite {
            let (offer, text) = self.leg.offer();
            self.offered = Some(offer);
            response.set_body("application/sdp", text);
        }
        match (timer, &mut self.timer) {
            (Some(timer), own) => {
                timer.answer(&mut response.headers);
                *own = Some(timer);
            }
            (None, Some(own)) => own.refreshed(now),
            (None, None) => {}
        }
        response
    }

    /// Tells the conference in which mode the phone wants its mix, when that changed.
    async fn tell_mode(&mut self) {
        if let Stage::Seated { seat, .. } = &self.stage
            && let Some(mode) = self.leg.wanted_mode()
        {
            seat.report(SeatReport::Mode(mode)).await;
        }
    }

    async fn agreed(&mut self, held: bool, codec_changed: bool) {
        let (stream, hears) = (self.leg.stream(), self.leg.codec());
        if let Stage::Seated { seat, .. } = &mut self.stage {
            if codec_changed {
                seat.report(SeatReport::Connected { stream, hears }).await;
            }
            if std::mem::replace(&mut self.held, held) != held {
                seat.report(SeatReport::Held(held)).await;
            }
        }
        self.tell_mode().await;
    }
}

/// What the end of the signalling means.
fn ended(reason: &EndReason) -> End {
    match reason {
        EndReason::Bye(_) => End::Left(Text::new("对方挂机", "the phone hung up")),
        EndReason::Cancelled => End::Left(Text::new("对方取消呼叫", "the caller gave up")),
        EndReason::LocalBye => End::Left(Text::new("通话已结束", "the call was ended")),
        EndReason::Timeout => End::fault(Reason::Unreachable),
        EndReason::FlowClosed => End::fault(Reason::SignallingLost),
        EndReason::Rejected(r) => End::Failed(crate::outbound::rejected(r)),
        EndReason::Error(error) => End::Failed(Reason::CallFailed.with(error)),
    }
}

async fn next_command(seat: Option<&mut Seat>) -> Option<SeatCommand> {
    match seat {
        Some(seat) => seat.command().await,
        None => std::future::pending().await,
    }
}

async fn next_heard(listen: Option<&mut Subscriber>) -> Pulled {
    match listen {
        Some(listen) => listen.next().await,
        None => std::future::pending().await,
    }
}

async fn refreshed(refresh: &mut Option<JoinHandle<Result<Response, SipError>>>) -> Result<Response, SipError> {
    match refresh {
        Some(task) => task.await.unwrap_or(Err(SipError::Stopped)),
        None => std::future::pending().await,
    }
}

/// The media address that the peer of this flow shall use.
pub(crate) fn media_address(shared: &Shared, target: &sip::Target) -> std::net::IpAddr {
    let own = shared.ctx.sip.local_address(target).ip();
    if let Some(told) = shared.ctx.media_address.filter(|told| told.is_ipv4() == own.is_ipv4()) {
        return told;
    }
    let web = match target {
        sip::Target::Flow(id) => shared.ctx.sip.flow(*id).is_some_and(|f| f.transport.is_websocket()),
        sip::Target::Address(..) => false,
    };
    // A browser on this machine sends its media from the machine's outer address, which then is also the source of what we
    // send back; it drops what does not come from the address that it was told.
    if web && own.is_loopback() { outer_address().unwrap_or(own) } else { own }
}

/// The address by which this machine reaches others (no packet is sent: 192.0.2.0/24 is for documents, RFC 5737); none on a machine
/// without a network.
fn outer_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((std::net::Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|a| a.ip()).filter(|a| !a.is_loopback() && !a.is_unspecified())
}

/// Publishes the stream of a call and opens its ports.
pub(crate) fn open_leg(shared: &Shared, target: &sip::Target, call_id: &str, name: &str) -> Result<Leg, Reason> {
    open_leg_at(shared, media_address(shared, target), call_id, name)
}

/// As [`open_leg`], where our address towards the phone is known.
pub(crate) fn open_leg_at(
    shared: &Shared,
    address: std::net::IpAddr,
    call_id: &str,
    name: &str,
) -> Result<Leg, Reason> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hash = DefaultHasher::new();
    (call_id, rand::random::<u64>()).hash(&mut hash);
    let id = media_hub::StreamId::new(format!("{}:call/{:016x}", crate::NAME, hash.finish()));
    let pair = shared.ctx.ports.dual().map_err(|error| {
        tracing::warn!(%error, "no media port for a call");
        Reason::NoMediaPort
    })?;
    let publisher = shared.ctx.hub.publish(&id, name).map_err(|_| Reason::Limit)?;
    publisher.set_tracks(&[media_core::TrackInfo::audio(Codec::G711A, 8000, 1)]);
    let ports = shared.ctx.ports.clone();
    let kbps = shared.config.video_kbps;
    let mut leg = Leg::new((pair, ports), kbps, address, publisher, shared.metrics.clone());
    leg.listen_for_keys(shared.config.inband_dtmf);
    Ok(leg)
}

/// An SDP body.
pub(crate) fn sdp_body(text: String) -> Bytes {
    Bytes::from(text)
}
