//! A standing call with a group: one task that owns signalling, media, the channel's machine and the seat until the call ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{Fault, Key, Seat, SeatCommand, SeatReport, Text};
use media_core::Codec;
use media_hub::{Pulled, Start, SubscribeOptions, Subscriber};
use media_net::Batch;
use sip::{Call, CallEvent, EndReason, Method, Request, Response, SipError, TxId, Uri};
use tokio::task::JoinHandle;

use crate::bridge::{ALLOW, MOST_BODY, Shared};
use crate::carrier::{self, Input, Said, Who};
use crate::channel::{Act, Channel, Rules, Truth, Why};
use crate::config::{CarrierKind, Group};
use crate::faults::Reason;
use crate::gateway::Gateway;
use crate::leg::{Counts, Leg};

const TICK: Duration = Duration::from_millis(20);
const QUALITY_EVERY: Duration = Duration::from_secs(2);
/// INFO requests that may wait for the one before.
const MOST_INFOS: usize = 16;

/// Why a call ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Left(Text),
    Failed(Fault),
}

impl End {
    pub fn report(&self) -> SeatReport {
        match self {
            End::Failed(fault) => SeatReport::Failed(fault.clone()),
            End::Left(text) => SeatReport::Left(text.clone()),
        }
    }

    pub fn log(&self, shared: &Shared, gateway: &Gateway, group: &Group) {
        let outcome = match self {
            End::Left(_) => "ended",
            End::Failed(fault) => {
                tracing::info!(gateway = gateway.config.name, group = group.number, code = fault.code, fault = %fault.en,
                    "a radio group's call failed");
                fault.code
            }
        };
        shared.ended(gateway, outcome);
    }
}

pub(crate) struct Session {
    shared: Arc<Shared>,
    gateway: Arc<Gateway>,
    group: Group,
    call: Call,
    leg: Leg,
    seat: Seat,
    channel: Channel,
    listen: Option<Subscriber>,
    retry: Instant,
    /// Each with whether its answer is wanted.
    infos: VecDeque<(Request, bool)>,
    sending: Option<JoinHandle<Result<Response, SipError>>>,
    asked: bool,
    end: Option<End>,
    next_quality: Instant,
    counted: Counts,
    /// The hall's first word of a burst that is not on the radio yet.
    spoken: Option<Instant>,
    was_on_air: bool,
}

impl Session {
    pub fn new(shared: Arc<Shared>, gateway: Arc<Gateway>, group: Group, call: Call, leg: Leg, seat: Seat) -> Session {
        let c = &gateway.config;
        let ms = |n: u32| Duration::from_millis(u64::from(n));
        let rules = Rules {
            grant: c.patience(c.grant_timeout),
            key_up: ms(c.key_up),
            hang: ms(c.hang),
            talk_limit: Duration::from_secs(u64::from(c.talk_limit)),
            buffer: c.buffer,
            threshold: c.speech_dbov,
            permit_tone: c.permit_tone,
            deny_tone: c.deny_tone,
            priority: (group.priority > 0).then_some(group.priority),
            alaw: leg.codec() == Codec::G711A,
            hall: seat.name.clone(),
        };
        let own = gateway.uri(c.user()).to_string();
        let names = gateway.clone();
        let channel =
            Channel::new(carrier::open(c, &group, leg.ssrc, &own), rules, Box::new(move |id| names.name_of(id)));
        if let Some(m) = &shared.metrics {
            m.groups.inc();
        }
        let now = Instant::now();
        Session {
            shared,
            gateway,
            group,
            call,
            leg,
            seat,
            channel,
            listen: None,
            retry: now,
            infos: VecDeque::new(),
            sending: None,
            asked: false,
            end: None,
            next_quality: now + QUALITY_EVERY,
            counted: Counts::default(),
            spoken: None,
            was_on_air: false,
        }
    }

    /// Works until the call has ended and says why.
    pub async fn run(mut self) -> End {
        let connected = SeatReport::Connected { stream: self.leg.stream(), hears: self.leg.codec() };
        self.seat.report(connected).await;
        self.seat.report(SeatReport::Floor(self.channel.terms())).await;
        let end = self.serve().await;
        let end = self.end.take().unwrap_or(end);
        self.count();
        self.seat.report(end.report()).await;
        end
    }

    async fn serve(&mut self) -> End {
        let mut batch = Batch::new();
        let (mut control, mut floor) = (vec![0u8; 1500], vec![0u8; 1500]);
        let mut tick = tokio::time::Instant::now() + TICK;
        let shutdown = self.shared.ctx.shutdown.clone();
        let mut up = self.gateway.watch();
        loop {
            let due = [self.leg.next_timeout(), self.channel.next_timeout()];
            let wake = due.into_iter().flatten().min().map_or(tick, |at| tick.min(at.into()));
            let Session { call, leg, seat, listen, sending, end, .. } = &mut *self;
            tokio::select! {
                event = call.next() => {
                    if let Some(end) = self.on_event(event).await {
                        return end;
                    }
                }
                command = seat.command(), if end.is_none() => match command {
                    Some(SeatCommand::Floor(notice)) => self.channel.notice(&notice, Instant::now()),
                    Some(SeatCommand::Hear(stream)) => (seat.listen, *listen) = (stream, None),
                    Some(SeatCommand::HangUp) => {
                        self.hang_up(End::Left(Text::new("已被移出会议", "removed from the conference")));
                    }
                    None => self.hang_up(End::Left(Text::new("会议已结束", "the conference ended"))),
                },
                pulled = next_heard(listen.as_mut()) => self.hear(pulled),
                got = leg.receive(&mut batch) => {
                    match got {
                        Ok(_) => self.on_media(&batch),
                        Err(error) => {
                            tracing::debug!(%error, "receiving a radio's sound");
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    }
                }
                // What a gateway reports of our sound is not used.
                _ = leg.receive_rtcp(&mut control) => {}
                got = leg.receive_floor(&mut floor) => {
                    if let Ok((n, from)) = got {
                        let now = Instant::now();
                        for message in self.leg.floor_messages(floor.get(..n).unwrap_or_default(), from) {
                            self.channel.input(Input::Floor(&message), now);
                        }
                    }
                }
                result = answered(sending) => self.on_info_answer(&result),
                () = tokio::time::sleep_until(wake) => {
                    let now = Instant::now();
                    self.channel.tick(now);
                    self.drain(now);
                    if now >= tick.into_std() {
                        tick = (tick + TICK).max(tokio::time::Instant::from_std(now) - TICK);
                        self.on_tick(now).await;
                    }
                }
                changed = up.changed() => {
                    if changed.is_ok() && !*up.borrow_and_update() {
                        self.hang_up(End::Failed(Reason::GatewayDown.fault()));
                    }
                }
                () = shutdown.cancelled(), if end.is_none() => {
                    self.hang_up(End::Failed(Reason::RadioStopping.fault()));
                }
            }
            self.acts().await;
        }
    }

    /// Ends the call; the first reason counts.
    fn hang_up(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
            self.call.bye();
        }
    }

    fn hear(&mut self, pulled: Pulled) {
        if let Pulled::Item(item) = pulled
            && item.frame.codec == self.leg.codec()
        {
            let now = Instant::now();
            self.channel.speech(item.frame.payload.clone(), now);
        }
    }

    fn on_media(&mut self, batch: &Batch) {
        let now = Instant::now();
        for (data, from) in batch.iter() {
            if let Some(heard) = self.leg.on_rtp(data, from, now) {
                let input = Input::Rtp { extension: heard.extension, sound: heard.sound, loud: heard.loud };
                self.channel.input(input, now);
            }
        }
        // Of a carrier that keys by the sound itself: while we send, what comes is our echo.
        let own = matches!(self.gateway.config.carrier, CarrierKind::Rtp | CarrierKind::Vox | CarrierKind::Ed137);
        self.leg.set_deaf(own && self.channel.on_air());
        self.drain(now);
    }

    fn drain(&mut self, now: Instant) {
        while let Some(key) = self.leg.drain(now) {
            self.channel.input(Input::Digit(key), now);
        }
    }

    async fn on_tick(&mut self, now: Instant) {
        if !self.leg.dialling(now)
            && let Some(packet) = self.channel.packet(now)
        {
            let extension = self.channel.extension();
            self.leg.send(&packet, extension, now);
        }
        let on_air = self.channel.on_air();
        if on_air != std::mem::replace(&mut self.was_on_air, on_air)
            && on_air
            && let (Some(m), Some(since)) = (&self.shared.metrics, self.spoken.take())
        {
            m.delay.observe(now.saturating_duration_since(since).as_secs_f64());
        }
        self.leg.report(now);
        if self.listen.is_none() && now >= self.retry {
            self.retry = now + Duration::from_millis(100);
            let options = SubscribeOptions { start: Start::NextKey, ..SubscribeOptions::default() };
            self.listen = self.shared.ctx.hub.subscribe(&self.seat.listen, options).ok();
        }
        if now >= self.next_quality {
            self.next_quality = now + QUALITY_EVERY;
            self.count();
            let loss_percent = self.leg.loss_percent();
            self.seat.report(SeatReport::Quality { loss_percent, jitter_ms: 0.0 }).await;
        }
    }

    fn count(&mut self) {
        let now = self.leg.counts;
        let was = std::mem::replace(&mut self.counted, now);
        if let Some(m) = &self.shared.metrics {
            let name = self.gateway.config.name.as_str();
            let add = |direction: &str, n: u64| m.packets.with_label_values(&[name, direction]).inc_by(n);
            add("in", now.received - was.received);
            add("out", now.sent - was.sent);
            add("bad", now.bad - was.bad);
        }
    }

    /// Carries out what the channel's machine wants.
    async fn acts(&mut self) {
        while let Some(act) = self.channel.poll() {
            let now = Instant::now();
            match act {
                Act::Send(Said::Info { content_type, body, asks }) => {
                    let mut request = Request::new(Method::Info, Uri::default());
                    request.set_body(&content_type, body);
                    if self.infos.len() < MOST_INFOS {
                        self.infos.push_back((request, asks));
                    }
                    self.next_info();
                }
                Act::Send(Said::Digit(key)) => self.leg.dial(key, now),
                Act::Send(Said::Floor(message)) => self.leg.send_floor(&message),
                Act::Send(Said::KeepAlive) => {
                    let extension = self.channel.extension();
                    self.leg.send_keepalive(extension, now);
                }
                Act::Keyed => {
                    self.spoken = Some(now);
                    self.keyed("hall");
                }
                Act::Key(key) => {
                    if let Key::Pressed { by, emergency, .. } = &key {
                        self.keyed("radio");
                        self.leg.warn(None);
                        if *emergency {
                            let who = by.as_ref().map(|by| Who { id: by.number.clone(), name: by.name.clone() });
                            self.gateway.emergency(&self.shared, Some(&self.group), who.as_ref(), "");
                        }
                    }
                    self.seat.report(SeatReport::Key(key)).await;
                }
                Act::Truth(truth) => self.tell(&truth),
            }
        }
    }

    fn keyed(&self, side: &str) {
        if let Some(m) = &self.shared.metrics {
            m.keyings.with_label_values(&[self.gateway.config.name.as_str(), side]).inc();
        }
    }

    /// What was not heard is told to the operators, shown at the stream and counted.
    fn tell(&self, truth: &Truth) {
        let (reason, ms, by) = match truth {
            Truth::NotOnRadio { why: Why::RadioTalks, ms, by } => (Reason::RadioTalks, *ms, by.as_str()),
            Truth::NotOnRadio { ms, by, .. } => (Reason::ChannelRefused, *ms, by.as_str()),
            Truth::NotInHall { ms, by, .. } => (Reason::NotInHall, *ms, by.as_str()),
            Truth::NoGrant => (Reason::NoGrant, 0, ""),
            Truth::NoRelease => (Reason::NoRelease, 0, ""),
        };
        let seconds = f64::from(ms) / 1000.0;
        let fact = if by.is_empty() { format!("{seconds:.1} s") } else { format!("{by}, {seconds:.1} s") };
        let fault = if ms > 0 { reason.with(fact) } else { reason.fault() };
        if let Some(m) = &self.shared.metrics {
            let name = self.gateway.config.name.as_str();
            m.unheard.with_label_values(&[name, reason.code()]).inc_by(u64::from(ms));
        }
        let group = if self.group.name.is_empty() { &self.group.number } else { &self.group.name };
        let text = Text::new(format!("{group}：{}", fault.zh), format!("{group}: {}", fault.en));
        tracing::info!(gateway = self.gateway.config.name, group, code = fault.code, ms, "half duplex: not heard");
        self.shared.ctx.registry.note(&self.gateway.id, false, text);
        self.leg.warn(Some(fault));
    }

    /// One INFO at a time, so that they arrive in their order.
    fn next_info(&mut self) {
        if self.sending.is_none()
            && let Some((request, asks)) = self.infos.pop_front()
        {
            self.asked = asks;
            let handle = self.call.handle();
            self.sending = Some(tokio::spawn(async move { handle.send(request).await }));
        }
    }

    fn on_info_answer(&mut self, result: &Result<Response, SipError>) {
        self.sending = None;
        let taken = result.as_ref().is_ok_and(Response::is_success);
        if std::mem::take(&mut self.asked) {
            self.channel.input(Input::InfoAnswered(taken), Instant::now());
        }
        self.next_info();
    }

    /// Handles an event of the call; gives the end when it is the last one.
    async fn on_event(&mut self, event: Option<CallEvent>) -> Option<End> {
        match event {
            None => Some(End::Failed(Reason::GroupLost.fault())),
            Some(CallEvent::Ended(reason)) => Some(match reason {
                EndReason::Bye(_) => End::Left(Text::new("对讲网关挂断", "the radio gateway hung up")),
                EndReason::LocalBye | EndReason::Cancelled => End::Left(Text::new("通话已结束", "the call was ended")),
                EndReason::Timeout => End::Failed(Reason::GatewayDown.fault()),
                EndReason::Rejected(_) | EndReason::FlowClosed | EndReason::Error(_) => {
                    End::Failed(Reason::GroupLost.fault())
                }
            }),
            Some(CallEvent::Request { tx, request }) => {
                self.on_request(tx, &request).await;
                None
            }
            Some(CallEvent::Confirmed(_) | CallEvent::Progress(_) | CallEvent::Answered(_)) => None,
        }
    }

    async fn on_request(&mut self, tx: TxId, request: &Request) {
        let response = match request.method {
            Method::Info | Method::Message => {
                let body = request.body.get(..request.body.len().min(MOST_BODY)).unwrap_or_default();
                if request.method == Method::Info {
                    self.channel.input(Input::Info(body), Instant::now());
                }
                let text = String::from_utf8_lossy(body);
                let plain = request.method == Method::Message && request.is_type("text/plain");
                self.gateway.tell(&self.shared, Some(&self.group), None, plain, &text);
                request.respond(200)
            }
            Method::Invite | Method::Update if request.body.is_empty() => request.respond(200),
            Method::Invite | Method::Update => match self.leg.answer(&request.body) {
                Ok(body) => {
                    self.channel.encoded(self.leg.codec() == Codec::G711A);
                    let (stream, hears) = (self.leg.stream(), self.leg.codec());
                    self.seat.report(SeatReport::Connected { stream, hears }).await;
                    let mut response = request.respond(200);
                    response.set_body("application/sdp", body);
                    response
                }
                // The session stays as it was (RFC 3261 14.2).
                Err(_) => request.respond(488),
            },
            Method::Options => request.respond(200).with("Allow", ALLOW),
            _ => request.respond(405).with("Allow", ALLOW),
        };
        self.call.respond(tx, response);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(m) = &self.shared.metrics {
            m.groups.dec();
        }
    }
}

async fn next_heard(listen: Option<&mut Subscriber>) -> Pulled {
    match listen {
        Some(listen) => listen.next().await,
        None => std::future::pending().await,
    }
}

async fn answered(sending: &mut Option<JoinHandle<Result<Response, SipError>>>) -> Result<Response, SipError> {
    match sending {
        Some(task) => task.await.unwrap_or(Err(SipError::Stopped)),
        None => std::future::pending().await,
    }
}
