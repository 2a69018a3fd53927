//! One playback: a stream that its owner steers, over one history session after another (GB/T 28181-2022 clause 9.8; reference
//! section 12.7).
//!
//! A device that refuses to seek or to pause inside a session is invited anew at the moment wanted: the stream and its viewers
//! stay. The session is released when it is over, the stream when its owner lets go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{ChannelId, PlaybackOrder, PlaybackPhase, PlaybackRequest, PlaybackState, Timestamp};
use media_core::gb::GbSession;
use media_core::rtp::RtpPacket;
use media_core::time::rescale;
use media_core::{MediaKind, TrackId};
use media_hub::{Fault, Outcome, Publisher, Step, StreamState};
use sip::{CallEvent, CallHandle, EndReason, Method, Request};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{Quirk, seconds};
use crate::faults;
use crate::live::receiver::{Out, Receiver};
use crate::live::wire::Got;
use crate::shared::{Shared, sip_fault};

use super::account;
use super::clock::Clock;
use super::dialog::{self, Dialog, End};
use super::landing::Landing;
use super::mansrtsp::{self, Order};

/// How often the position is told while it moves.
const TELL: Duration = Duration::from_millis(500);
/// Media that is still under way when the device says that there is no more.
const TAIL_QUIET: Duration = Duration::from_millis(600);
const TAIL_MOST: Duration = Duration::from_secs(5);
/// At the end of what was asked for, so much silence is the end: many devices send no 121.
const END_QUIET: Duration = Duration::from_secs(2);
const NEAR_END_MS: i64 = 1_500;
const TEARDOWN: Duration = Duration::from_millis(500);

/// What follows a session.
enum Next {
    Open(i64),
    /// Nothing runs; an order may begin anew.
    Wait,
    Stop,
}

/// An order that waits for the device's answer.
struct Pending {
    order: PlaybackOrder,
    done: Option<oneshot::Sender<Result<(), Fault>>>,
}

impl Pending {
    fn reply(self, result: Result<(), Fault>) {
        if let Some(done) = self.done {
            // Who asked may have gone.
            let _ = done.send(result);
        }
    }
}

/// What became of an INFO.
enum Said {
    Yes(mansrtsp::Answer),
    No(String),
    Silence(Fault),
}

pub(super) struct Player {
    pub shared: Arc<Shared>,
    pub channel: ChannelId,
    pub publisher: Publisher,
    pub orders: mpsc::Receiver<PlaybackRequest>,
    pub state: watch::Sender<PlaybackState>,
    pub stop: CancellationToken,
    /// The stretch that may be played, and where to begin.
    pub from: i64,
    pub to: i64,
    pub begin: i64,
    pub speed: f64,
    pub clock: Clock,
    pub audio_rate: u32,
}

/// What one session knows.
struct Session {
    dialog: Dialog,
    receiver: Receiver,
    landing: Option<Landing>,
    /// Moment of npt 0.
    base: i64,
    cseq: u32,
    pending: Option<Pending>,
    answers: (mpsc::Sender<Said>, mpsc::Receiver<Said>),
    paused: Option<Instant>,
    no_more: Option<Instant>,
    last_packet: Instant,
    last_stamp: Option<u32>,
    any: bool,
    packets: u64,
    next_look: Instant,
}

impl Player {
    pub async fn run(mut self) {
        let mut next = Next::Open(self.within(self.begin));
        loop {
            next = match next {
                Next::Open(at) => self.session(at).await,
                Next::Wait => self.wait().await,
                Next::Stop => break,
            };
        }
        let (hub, id) = (self.shared.ctx.hub.clone(), self.publisher.stream().id().clone());
        drop(self.publisher);
        hub.tidy(&id);
    }

    fn tell(&self, phase: PlaybackPhase, fault: Option<Fault>) {
        self.state.send_replace(PlaybackState {
            phase,
            position: Timestamp(self.clock.position_ms()),
            at: Timestamp::now(),
            speed: self.speed,
            fault,
        });
    }

    fn quirk(&self, quirk: Quirk) -> bool {
        self.shared.quirk(self.channel.device().name(), quirk)
    }

    fn version(&self) -> mansrtsp::Version {
        if self.quirk(Quirk::MansrtspVersion) { mansrtsp::Version::Mansrtsp } else { mansrtsp::Version::Rtsp }
    }

    fn phase(&self) -> PlaybackPhase {
        self.state.borrow().phase
    }

    /// Nothing runs: a resume or a seek begins anew.
    async fn wait(&mut self) -> Next {
        loop {
            let request = tokio::select! {
                () = self.stop.cancelled() => return Next::Stop,
                request = self.orders.recv() => match request {
                    Some(request) => request,
                    None => return Next::Stop,
                },
            };
            let at = self.clock.position_ms();
            // Who asked may have gone.
            let _ = request.done.send(Ok(()));
            match request.order {
                PlaybackOrder::Seek(at) => return Next::Open(self.within(at)),
                PlaybackOrder::Resume => {
                    let ended = self.phase() == PlaybackPhase::Ended;
                    return Next::Open(if ended && self.speed > 0.0 { self.from } else { self.within(at) });
                }
                PlaybackOrder::Speed(speed) => {
                    self.speed = speed;
                    self.tell(self.phase(), self.state.borrow().fault.clone());
                }
                PlaybackOrder::Pause => {}
            }
        }
    }

    fn within(&self, at: i64) -> i64 {
        at.clamp(self.from.min(self.to - 1000), self.to - 1000)
    }

    async fn session(&mut self, at: i64) -> Next {
        self.clock.land(at);
        self.tell(PlaybackPhase::Starting, None);
        self.publisher.set_state(StreamState::Starting);
        self.publisher.trace_restart("");
        let gauge = self.shared.metrics.history_sessions.clone();
        gauge.inc();
        let (next, outcome) = match self.one(at).await {
            Ok(next) => (next, "ended"),
            Err(End::Stopped) => (Next::Stop, "ended"),
            Err(End::NoMore) => {
                self.tell(PlaybackPhase::Ended, None);
                (Next::Wait, "ended")
            }
            Err(End::Fault(fault)) => {
                tracing::info!(channel = %self.channel, code = fault.code, fault = %fault.en, "playback ended");
                self.publisher.fail(fault.clone());
                let code = fault.code;
                self.tell(PlaybackPhase::Failed, Some(fault));
                (Next::Wait, code)
            }
        };
        gauge.dec();
        self.shared.metrics.history_total.with_label_values(&["playback", outcome]).inc();
        next
    }

    async fn one(&mut self, at: i64) -> Result<Next, End> {
        let limit = self.shared.config.history.max_sessions;
        if self.shared.metrics.history_sessions.get() > limit as i64 {
            return Err(faults::too_many_sessions(limit).into());
        }
        let start = at.div_euclid(1000);
        let end = self.to.div_euclid(1000) + i64::from(self.to.rem_euclid(1000) > 0);
        let order = GbSession::Playback { start: start.max(0) as u64, end: end.max(start + 1) as u64 };
        self.publisher.trace(Step::Invited, Outcome::Ok, format!("playback of {start} to {end}"));
        let dialog = dialog::open(&self.shared, &self.channel, &order, &self.stop).await.inspect_err(|end| {
            if let End::Fault(fault) = end {
                self.publisher.trace(Step::Answered, Outcome::Failed, fault.en.clone());
            }
        })?;
        self.publisher.trace(Step::Answered, Outcome::Ok, format!("200, y={}", dialog.agreed.ssrc));
        self.publisher.trace(Step::Connected, Outcome::Ok, format!("{:?}", dialog.agreed.transport));
        self.publisher.new_epoch();
        self.clock.land(start * 1000);
        self.clock.speed(1.0);
        let now = Instant::now();
        let mut session = Session {
            receiver: dialog.receiver(),
            dialog,
            landing: None,
            base: start * 1000,
            cseq: 0,
            pending: None,
            answers: mpsc::channel(2),
            paused: None,
            no_more: None,
            last_packet: now,
            last_stamp: None,
            any: false,
            packets: 0,
            next_look: now,
        };
        if (self.speed - 1.0).abs() > 0.01 {
            let speed = self.speed;
            self.speed = 1.0;
            self.send(&mut session, PlaybackOrder::Speed(speed), None);
        }
        let result = self.media(&mut session).await;
        account(&self.shared.metrics, &session.receiver);
        if let Some(pending) = session.pending.take() {
            let gone = faults::signalling_failed("会话已结束 / the session ended");
            pending.reply(if matches!(result, Ok(Next::Open(_))) { Ok(()) } else { Err(gone) });
        }
        if self.quirk(Quirk::Teardown) {
            let body = mansrtsp::write(Order::Teardown, session.cseq + 1, self.version());
            // Whatever it answers, the BYE follows.
            let _ = tokio::time::timeout(TEARDOWN, info(&session.dialog.call, body, 1)).await;
        }
        session.dialog.call.bye();
        result
    }

    async fn media(&mut self, s: &mut Session) -> Result<Next, End> {
        let mut left = self.shared.left.subscribe();
        let mut next_tell = Instant::now();
        loop {
            let now = Instant::now();
            let wake = s.receiver.next_timeout(now).min(now + Duration::from_millis(200));
            let free = s.pending.is_none();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(End::Stopped),
                event = s.dialog.call.next() => match event {
                    Some(CallEvent::Ended(why)) => return Err(self.call_ended(s, &why)),
                    Some(CallEvent::Request { tx, request }) => {
                        if dialog::in_call(&s.dialog.call, tx, &request) {
                            s.no_more.get_or_insert(now);
                        }
                    }
                    Some(_) => {}
                    None => return Err(dialog::gone().into()),
                },
                () = s.dialog.notices.ended() => { s.no_more.get_or_insert(now); }
                Ok(id) = left.recv() => if id == self.channel.device().name() {
                    return Err(faults::device_lost("已注销 / logged out").into());
                },
                Some(said) = s.answers.1.recv() => {
                    if let Some(next) = self.answered(s, said) {
                        return Ok(next);
                    }
                }
                request = self.orders.recv(), if free => match request {
                    Some(PlaybackRequest { order, done }) => {
                        if let Some(next) = self.order(s, order, Some(done)) {
                            return Ok(next);
                        }
                    }
                    None => return Err(End::Stopped),
                },
                got = s.dialog.wire.read() => {
                    if !matches!(got, Got::Report(..)) {
                        self.packets(s);
                    }
                    match got {
                        Got::Packets | Got::Report(..) => {}
                        Got::Closed(why) => return Err(self.closed(s, &why).await),
                        Got::NotRtp(why) => return Err(s.receiver.framing_failed(&why).into()),
                    }
                }
                () = tokio::time::sleep_until(tokio::time::Instant::from_std(wake)) => {}
            }
            let now = Instant::now();
            s.receiver.tick(now);
            self.give(s);
            if now >= s.next_look {
                s.next_look = now + Duration::from_millis(200);
                self.look(s, now)?;
            }
            if now >= next_tell && self.phase() == PlaybackPhase::Playing {
                next_tell = now + TELL;
                self.tell(PlaybackPhase::Playing, None);
            }
        }
    }

    fn packets(&mut self, s: &mut Session) {
        let now = Instant::now();
        let Session { dialog, receiver, landing, last_packet, last_stamp, packets, .. } = s;
        dialog.wire.each(|from, data| {
            let Ok(rtp) = RtpPacket::parse(data) else {
                receiver.packet(now, from, data);
                return;
            };
            *packets += 1;
            *last_packet = now;
            if landing.as_mut().is_some_and(|l| !l.take(now, rtp.sequence, rtp.timestamp)) {
                return;
            }
            *landing = None;
            *last_stamp = Some(rtp.timestamp);
            receiver.packet(now, from, data);
        });
    }

    fn give(&mut self, s: &mut Session) {
        while let Some(out) = s.receiver.poll() {
            match out {
                Out::Note(step, outcome, text) => self.publisher.trace(step, outcome, text),
                // Slow on purpose, paused or backwards: that time runs otherwise than the clock is no fault.
                Out::Warn(_) => {}
                Out::Tracks(tracks) => {
                    if let Some(audio) = tracks.iter().find(|t| t.id == TrackId::AUDIO) {
                        self.audio_rate = audio.clock_rate;
                    }
                    self.publisher.set_tracks(&tracks);
                }
                // The sender restarted within its session: where it goes on is where it stood.
                Out::Epoch => {
                    self.clock.resumed();
                    self.publisher.new_epoch();
                }
                Out::Frame(mut frame) if frame.kind() == MediaKind::Video => {
                    frame.pts = self.clock.picture(frame.pts, frame.received);
                    frame.duration = 0;
                    self.publisher.write(frame);
                    s.any = true;
                    match self.phase() {
                        PlaybackPhase::Starting => self.tell(PlaybackPhase::Playing, None),
                        // What was under way when the device stopped: the moment told is that of the last picture.
                        PlaybackPhase::Paused => self.tell(PlaybackPhase::Paused, None),
                        _ => {}
                    }
                }
                Out::Frame(mut frame) => {
                    let ticks = rescale(frame.pts, self.audio_rate, 90_000);
                    if let Some(at) = self.clock.sound(ticks) {
                        frame.pts = rescale(at, 90_000, self.audio_rate);
                        self.publisher.write(frame);
                    }
                }
            }
        }
    }

    /// What time alone tells.
    fn look(&mut self, s: &Session, now: Instant) -> Result<(), End> {
        let history = &self.shared.config.history;
        let quiet = now.saturating_duration_since(s.last_packet);
        if let Some(since) = s.no_more
            && (quiet >= TAIL_QUIET || now.saturating_duration_since(since) >= TAIL_MOST)
        {
            return Err(End::NoMore);
        }
        if let Some(since) = s.paused {
            if now.saturating_duration_since(since) >= seconds(history.max_pause) {
                return Err(faults::paused_too_long(history.max_pause).into());
            }
            return Ok(());
        }
        if !s.any {
            return s.receiver.judge(now).map_err(End::Fault);
        }
        if quiet >= END_QUIET && self.near_end(s) {
            return Err(End::NoMore);
        }
        if quiet >= seconds(history.loss) {
            return Err(faults::media_lost(history.loss, s.packets).into());
        }
        Ok(())
    }

    fn near_end(&self, s: &Session) -> bool {
        let at = self.clock.position_ms();
        if self.speed < 0.0 { at <= s.base + NEAR_END_MS } else { at >= self.to - NEAR_END_MS }
    }

    fn call_ended(&self, s: &Session, why: &EndReason) -> End {
        let over = s.no_more.is_some() || s.any && self.near_end(s);
        match why {
            EndReason::Bye(_) if over => End::NoMore,
            why => dialog::ended(why, 0, s.packets).into(),
        }
    }

    /// The media connection ended: by a 121 or a BYE, if one comes at once.
    async fn closed(&mut self, s: &mut Session, why: &str) -> End {
        self.give(s);
        let until = tokio::time::Instant::now() + Duration::from_millis(800);
        while s.no_more.is_none() {
            tokio::select! {
                event = s.dialog.call.next() => match event {
                    Some(CallEvent::Ended(why)) => return self.call_ended(s, &why),
                    Some(CallEvent::Request { tx, request }) => {
                        if dialog::in_call(&s.dialog.call, tx, &request) {
                            s.no_more = Some(Instant::now());
                        }
                    }
                    Some(_) => {}
                    None => break,
                },
                () = s.dialog.notices.ended() => s.no_more = Some(Instant::now()),
                () = tokio::time::sleep_until(until) => break,
            }
        }
        if s.no_more.is_some() || s.any && self.near_end(s) { End::NoMore } else { faults::tcp_closed(why).into() }
    }

    /// Takes an order of the owner.
    fn order(
        &mut self,
        s: &mut Session,
        order: PlaybackOrder,
        done: Option<oneshot::Sender<Result<(), Fault>>>,
    ) -> Option<Next> {
        let at_once = Pending { order, done };
        match order {
            PlaybackOrder::Pause if s.paused.is_some() => at_once.reply(Ok(())),
            PlaybackOrder::Resume if s.paused.is_none() => at_once.reply(Ok(())),
            // A PLAY with a new speed would end the pause: it waits for the resume.
            PlaybackOrder::Speed(speed) if s.paused.is_some() => {
                self.speed = speed;
                self.tell(PlaybackPhase::Paused, None);
                at_once.reply(Ok(()));
            }
            // In front of what the session was asked for.
            PlaybackOrder::Seek(at) if self.within(at) < s.base => {
                at_once.reply(Ok(()));
                return Some(Next::Open(self.within(at)));
            }
            order => self.send(s, order, at_once.done),
        }
        None
    }

    /// Sends an INFO; its answer comes to [`Player::answered`].
    fn send(&mut self, s: &mut Session, order: PlaybackOrder, done: Option<oneshot::Sender<Result<(), Fault>>>) {
        s.cseq += 1;
        let body = mansrtsp::write(
            match order {
                PlaybackOrder::Pause => Order::Pause,
                PlaybackOrder::Resume => Order::Resume,
                PlaybackOrder::Seek(at) => Order::Seek((self.within(at) - s.base) as f64 / 1000.0),
                PlaybackOrder::Speed(speed) => Order::Scale(speed),
            },
            s.cseq,
            self.version(),
        );
        s.pending = Some(Pending { order, done });
        let (call, tx, limit) = (s.dialog.call.handle(), s.answers.0.clone(), self.shared.config.history.order);
        self.shared.tasks.spawn(async move {
            // The session may have ended.
            let _ = tx.send(info(&call, body, limit).await).await;
        });
    }

    fn answered(&mut self, s: &mut Session, said: Said) -> Option<Next> {
        let pending = s.pending.take()?;
        let now = Instant::now();
        match (said, pending.order) {
            (Said::Yes(_), PlaybackOrder::Pause) => {
                s.paused = Some(now);
                self.tell(PlaybackPhase::Paused, None);
                pending.reply(Ok(()));
            }
            (Said::Yes(_), PlaybackOrder::Resume) => {
                self.go_on(s, now);
                pending.reply(Ok(()));
                let wanted = self.speed;
                if (wanted - self.clock.current_speed()).abs() > 0.01 {
                    self.send(s, PlaybackOrder::Speed(wanted), None);
                }
            }
            (Said::Yes(answer), PlaybackOrder::Seek(at)) => {
                account(&self.shared.metrics, &s.receiver);
                s.receiver = s.dialog.receiver();
                let step = self.clock.step();
                s.landing = Some(Landing::new(now, answer.sequence, answer.rtp_time, s.last_stamp, step));
                // Where the device says it goes on, if that is near what was asked for.
                let asked = self.within(at);
                let told = answer.range.map(|r| s.base + (r * 1000.0) as i64);
                let at = told.filter(|t| (t - asked).abs() <= 60_000).unwrap_or(asked);
                self.clock.land(at);
                self.publisher.new_epoch();
                s.paused = None;
                s.no_more = None;
                s.any = false;
                s.last_packet = now;
                self.tell(PlaybackPhase::Starting, None);
                pending.reply(Ok(()));
            }
            (Said::Yes(answer), PlaybackOrder::Speed(speed)) => {
                self.speed = answer.scale.unwrap_or(speed);
                self.clock.speed(self.speed);
                self.publisher.new_epoch();
                self.tell(self.phase(), None);
                pending.reply(Ok(()));
            }
            // Another session does what this one cannot.
            (Said::No(_), PlaybackOrder::Seek(at)) => {
                pending.reply(Ok(()));
                return Some(Next::Open(self.within(at)));
            }
            (Said::No(_), PlaybackOrder::Resume) => {
                pending.reply(Ok(()));
                return Some(Next::Open(self.within(self.clock.position_ms())));
            }
            (Said::No(_), PlaybackOrder::Pause) => {
                self.tell(PlaybackPhase::Paused, None);
                pending.reply(Ok(()));
                return Some(Next::Wait);
            }
            (Said::No(why), PlaybackOrder::Speed(speed)) => {
                self.tell(self.phase(), None);
                pending.reply(Err(faults::speed_refused(speed, &why)));
            }
            (Said::Silence(fault), _) => pending.reply(Err(fault)),
        }
        None
    }

    fn go_on(&mut self, s: &mut Session, now: Instant) {
        s.paused = None;
        s.last_packet = now;
        self.clock.resumed();
        self.publisher.new_epoch();
        self.tell(PlaybackPhase::Playing, None);
    }
}

/// Sends one INFO and reads its answer.
async fn info(call: &CallHandle, body: String, limit: u32) -> Said {
    let uri = sip::Uri::sip("", "invalid", None);
    let mut request = Request::new(Method::Info, uri);
    request.set_body(mansrtsp::CONTENT_TYPE, body.into_bytes());
    match tokio::time::timeout(seconds(limit), call.send(request)).await {
        Ok(Ok(response)) if response.is_success() => {
            let answer = mansrtsp::read(&response.body).unwrap_or(mansrtsp::Answer { code: 200, ..Default::default() });
            if answer.code < 300 { Said::Yes(answer) } else { Said::No(format!("RTSP {}", answer.code)) }
        }
        Ok(Ok(response)) => Said::No(format!("{} {}", response.code, response.reason)),
        Ok(Err(sip::SipError::Timeout)) | Err(_) => Said::Silence(faults::no_control_answer(limit)),
        Ok(Err(error)) => Said::Silence(sip_fault(&error)),
    }
}
