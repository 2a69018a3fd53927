//! One session: INVITE, media, BYE. `run_once` works, the supervisor retries.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::capture::Proto;
use bridge_core::{ChannelId, Timestamp};
use media_core::gb::{GbTransport, Ssrc};
use media_hub::{Fault, Outcome, Publisher, Step, Text};
use sip::{Call, CallEvent, EndReason, Method, Request, Response, Target, TxId};
use tokio_util::sync::CancellationToken;

use crate::bridge::ask_key_frame;
use crate::config::seconds;
use crate::faults;
use crate::manscdp::Manscdp;
use crate::peer::{Peer, Stored};
use crate::shared::{Shared, device_id, sip_fault};

use super::offer::{self, Agreed, Place};
use super::receiver::{Limits, Out, Receiver};
use super::silence::Silence;
use super::source::Rules;
use super::sub;
use super::wire::{Got, Wire};
use crate::ready::Ready;

/// Least time between two orders for a key frame (reference section 17.4).
const KEY_EVERY: Duration = Duration::from_secs(2);

/// How often a waiting session looks whether its device is back.
const DEVICE_EVERY: Duration = Duration::from_millis(500);

/// One more live session for as long as it is held.
struct Live<'a>(&'a prometheus::IntGauge);

impl<'a> Live<'a> {
    fn begin(gauge: &'a prometheus::IntGauge) -> Live<'a> {
        gauge.inc();
        Live(gauge)
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Why a session ends.
enum End {
    /// Nobody wants it any more, or the gateway ends.
    Stopped,
    Fault(Fault),
    /// Too much is lost over UDP: percent.
    Lossy(f64),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> End {
        End::Fault(fault)
    }
}

/// Runs one session for as long as it lasts.
pub(super) async fn run_once(
    shared: Arc<Shared>,
    channel: ChannelId,
    sub: bool,
    mut publisher: Publisher,
    stop: CancellationToken,
) -> (Publisher, Result<(), Fault>) {
    let mut session = Session { shared: &shared, channel: &channel, sub, stop: &stop };
    let end = session.run(&mut publisher).await;
    let (outcome, result) = match end {
        Ok(()) | Err(End::Stopped | End::Lossy(_)) => ("ended", Ok(())),
        Err(End::Fault(fault)) => (fault.code, Err(fault)),
    };
    shared.metrics.sessions.with_label_values(&[outcome]).inc();
    (publisher, result)
}

struct Session<'a> {
    shared: &'a Arc<Shared>,
    channel: &'a ChannelId,
    /// The sub-stream is meant.
    sub: bool,
    stop: &'a CancellationToken,
}

impl Session<'_> {
    async fn run(&mut self, publisher: &mut Publisher) -> Result<(), End> {
        let device = self.channel.device();
        let limit = self.shared.config.media.max_sessions;
        publisher.trace_restart("");
        let (peer, target) = self.wait_for_device(publisher).await?;
        let live = Live::begin(&self.shared.metrics.sessions_live);
        if live.0.get() > limit as i64 {
            return Err(faults::too_many_sessions(limit).into());
        }
        let stream = peer.transport.is_reliable();
        let mut first = offer::transport(&self.shared.config, device.name(), peer.media_tcp, stream);
        let fixed = self.shared.config.device(device.name()).is_some_and(|d| d.transport.is_some());
        let [lossy, failed] = self.remembered();
        if first == GbTransport::Udp && lossy && !failed && !fixed {
            first = GbTransport::TcpPassive;
        }
        let watch_loss = first == GbTransport::Udp && !fixed && !failed;
        let refused = match self.attempt(publisher, &peer, &target, first, watch_loss).await {
            Err(End::Fault(fault)) if fault.code == "rejected_not_acceptable" => fault,
            Err(End::Lossy(percent)) => return self.over_tcp(publisher, &peer, &target, percent).await,
            end => return end,
        };
        if self.shared.config.device(device.name()).is_some_and(|d| d.transport.is_some()) {
            return Err(refused.into());
        }
        // The device cannot send this way: ask for the other, and remember if that works.
        let second = offer::other(first);
        tracing::info!(channel = %self.channel, offered = ?first, "media offer refused, trying {second:?}");
        match self.attempt(publisher, &peer, &target, second, false).await {
            Err(End::Fault(fault)) if fault.code == "rejected_not_acceptable" => Err(refused.into()),
            end => end,
        }
    }

    /// Whether it was moved to TCP for its losses, and whether it was found that it cannot.
    fn remembered(&self) -> [bool; 2] {
        let now = Timestamp::now().0;
        let stored = self.shared.ctx.registry.get(&device_id(self.channel.device().name())).map(|d| Stored::read(&d));
        let stored = stored.unwrap_or_default();
        [stored.lossy_until, stored.tcp_failed_until].map(|until| until.is_some_and(|u| u > now))
    }

    fn remember_loss(&self, can: bool) {
        let minutes = i64::from(self.shared.config.media.udp_retry);
        let until = Timestamp::now().0 + minutes * 60_000;
        self.shared.ctx.registry.change(&device_id(self.channel.device().name()), |d| {
            let mut stored = Stored::read(d);
            stored.lossy_until = can.then_some(until);
            stored.tcp_failed_until = (!can).then_some(until);
            d.private = stored.write();
        });
    }

    /// Over UDP too much is lost: the device is asked to send over TCP; one that cannot goes on as it was.
    async fn over_tcp(
        &mut self,
        publisher: &mut Publisher,
        peer: &Peer,
        target: &Target,
        percent: f64,
    ) -> Result<(), End> {
        tracing::info!(channel = %self.channel, percent, "too much is lost over UDP: asking for TCP");
        self.shared.metrics.moved_to_tcp.inc();
        self.remember_loss(true);
        match self.attempt(publisher, peer, target, GbTransport::TcpPassive, false).await {
            Err(End::Fault(fault)) if matches!(fault.code, "rejected_not_acceptable" | "tcp_not_connected") => {
                tracing::info!(channel = %self.channel, code = fault.code, "it cannot: UDP again");
                self.remember_loss(false);
                self.attempt(publisher, peer, target, GbTransport::Udp, false).await
            }
            end => end,
        }
    }

    /// The device, once it is on line: a viewer that waits sees pictures as soon as it comes back.
    async fn wait_for_device(&self, publisher: &Publisher) -> Result<(Peer, Target), End> {
        let device = self.channel.device();
        let mut told = false;
        loop {
            let fault = match self.shared.reach(device.name()) {
                Ok(found) => return Ok(found),
                Err(fault) => fault,
            };
            if !told {
                told = true;
                self.shared.metrics.sessions.with_label_values(&[fault.code]).inc();
                publisher.trace(Step::Invited, Outcome::Failed, fault.en.clone());
                publisher.fail(fault);
            }
            tokio::select! {
                () = self.stop.cancelled() => return Err(End::Stopped),
                () = tokio::time::sleep(DEVICE_EVERY) => {}
            }
        }
    }

    fn remember_way(&self, tcp: bool) {
        let device = self.channel.device();
        let Some(mut peer) = self.shared.peers.get_mut(device.name()) else { return };
        if peer.media_tcp == Some(tcp) {
            return;
        }
        peer.media_tcp = Some(tcp);
        drop(peer);
        self.shared.ctx.registry.change(&device_id(device.name()), |d| {
            let mut stored = Stored::read(d);
            stored.media_tcp = Some(tcp);
            d.private = stored.write();
        });
    }

    /// Where the device shall send to: its own setting, the section's, the hall's, else our address towards it.
    fn media_address(&self, target: &Target) -> IpAddr {
        let config = &self.shared.config;
        let own = config.device(self.channel.device().name()).and_then(|d| d.media_address);
        let set = own.or(config.media.address).or(self.shared.ctx.media_address);
        set.unwrap_or_else(|| self.shared.ctx.sip.local_address(target).ip())
    }

    async fn attempt(
        &mut self,
        publisher: &mut Publisher,
        peer: &Peer,
        target: &Target,
        way: GbTransport,
        watch_loss: bool,
    ) -> Result<(), End> {
        let shared = self.shared;
        let device = self.channel.device();
        let Some(lease) = shared.lease_ssrc() else {
            return Err(faults::too_many_sessions(10_000).into());
        };
        let ready = Ready::open(&shared.ctx.ports, way)?;
        let place = Place { address: self.media_address(target), port: ready.port(), line: self.stream_line(peer) };
        let invite = self.invite(peer, target, &place, way, lease.ssrc);
        publisher.trace_restart(invite.call_id().unwrap_or(""));
        publisher.set_state(media_hub::StreamState::Starting);
        publisher.trace(
            Step::Invited,
            Outcome::Ok,
            format!(
                "{} over {}, media {way:?} to {}:{}, SSRC {}",
                peer.source, peer.transport, place.address, place.port, lease.ssrc
            ),
        );
        let mut call = shared.ctx.sip.invite(*target, invite).await.map_err(|e| sip_fault(&e))?;
        let answer = self.answered(&mut call, publisher).await?;
        let agreed = offer::check(&answer, way, lease.ssrc).inspect_err(|fault| {
            publisher.trace(Step::Answered, Outcome::Failed, fault.en.clone());
        })?;
        publisher.trace(
            Step::Answered,
            Outcome::Ok,
            format!(
                "200, media at {}, y={}{}",
                agreed.address,
                agreed.ssrc,
                agreed.note.map(|n| format!(" ({n})")).unwrap_or_default()
            ),
        );
        let port = place.port;
        let wire = self.connected(&mut call, publisher, ready, peer, &agreed).await?;
        if !self.remembered()[0] {
            self.remember_way(way != GbTransport::Udp);
        }
        let config = &shared.config;
        let strict = config.device(device.name()).and_then(|d| d.strict_ssrc).unwrap_or(config.media.strict_ssrc);
        let rules = Rules {
            ssrc: agreed.ssrc.0,
            device: vec![peer.source.ip(), agreed.address.ip()],
            strict_ssrc: strict,
            strict_source: config.media.strict_source,
        };
        let mut receiver = Receiver::new(Limits::of(&config.media), rules, agreed.encoding, port, Instant::now())
            .with_formats(&agreed.formats);
        if watch_loss && config.media.udp_loss_percent > 0.0 {
            receiver = receiver.with_meter(config.media.udp_loss_window);
        }
        let ours = SocketAddr::new(shared.ctx.sip.local_address(target).ip(), port);
        let end = self.media(&mut call, publisher, wire, &mut receiver, ours).await;
        if let Err(End::Fault(fault)) = &end {
            self.last_step(publisher, fault);
        }
        self.account(&receiver);
        call.bye();
        end
    }

    fn account(&self, receiver: &Receiver) {
        let m = &self.shared.metrics;
        let [taken, lost, ssrc, elsewhere, not_rtp, ps] = receiver.counts();
        m.packets.inc_by(taken);
        m.packets_lost.inc_by(lost);
        m.ps_errors.inc_by(ps);
        for (reason, count) in [("ssrc", ssrc), ("source", elsewhere), ("not_rtp", not_rtp)] {
            m.packets_refused.with_label_values(&[reason]).inc_by(count);
        }
    }

    /// The `a=` line for the stream that is meant.
    fn stream_line(&self, peer: &Peer) -> Option<String> {
        let (shared, device) = (self.shared, self.channel.device());
        let profile = shared.profile(device.name());
        if self.sub {
            let single = peer.single_streams.contains(self.channel.name());
            sub::attribute(&shared.config, &profile, shared.edition(device.name(), peer), single)
        } else {
            sub::main_attribute(&profile)
        }
    }

    fn invite(&self, peer: &Peer, target: &Target, place: &Place, way: GbTransport, ssrc: Ssrc) -> Request {
        let shared = self.shared;
        let (device, name) = (self.channel.device(), self.channel.name());
        let mut invite = shared.request_to(Method::Invite, name, peer, target);
        let call_id = format!(
            "{:016x}{:08x}@{}",
            rand::random::<u64>(),
            rand::random::<u32>(),
            shared.ctx.sip.local_address(target).ip()
        );
        invite.headers.set("Call-ID", call_id);
        invite.headers.set("Subject", offer::subject(name, ssrc, &shared.config.server_id));
        let profile = shared.profile(device.name());
        let sdp = offer::sdp(&shared.config, &profile, device.name(), name, place, way, ssrc);
        invite.set_body("application/sdp", sdp.into_bytes());
        invite
    }

    /// Waits for the final answer.
    async fn answered(&self, call: &mut Call, publisher: &Publisher) -> Result<Response, End> {
        let limit = self.shared.config.media.answer;
        let until = tokio::time::Instant::now() + seconds(limit);
        let mut left = self.shared.left.subscribe();
        // Silence has two causes: a device that hears us and does not answer, and one that nothing of ours reaches any more.
        let device = self.channel.device();
        let silence = Silence::begin(self.shared, device.name(), seconds(limit) / 3);
        tokio::pin!(silence);
        let (mut silent, mut hears) = (true, None);
        let fault = loop {
            tokio::select! {
                () = self.stop.cancelled() => {
                    call.cancel();
                    return Err(End::Stopped);
                }
                () = tokio::time::sleep_until(until) => {
                    call.cancel();
                    break match hears {
                        Some(Err(fault)) if silent => fault,
                        _ => faults::no_answer(limit),
                    };
                }
                found = &mut silence, if silent && hears.is_none() => hears = Some(found),
                Ok(id) = left.recv() => if id == self.channel.device().name() {
                    call.cancel();
                    break faults::device_lost("已注销 / logged out");
                },
                event = call.next() => match event {
                    Some(CallEvent::Answered(response)) => {
                        self.shared.reached(self.channel.device().name());
                        return Ok(response);
                    }
                    Some(CallEvent::Request { tx, request }) => self.in_call(call, tx, &request),
                    Some(CallEvent::Progress(_) | CallEvent::Confirmed(_)) => {
                        silent = false;
                        self.shared.reached(self.channel.device().name());
                    }
                    Some(CallEvent::Ended(EndReason::Timeout)) if matches!(hears, Some(Err(_))) => {
                        break hears.take().and_then(Result::err).unwrap_or_else(|| faults::no_answer(limit));
                    }
                    Some(CallEvent::Ended(why)) => break ended(&why, limit, 0),
                    None => break faults::signalling_failed("呼叫已不存在 / the call is gone"),
                },
            }
        };
        publisher.trace(Step::Answered, Outcome::Failed, fault.en.clone());
        Err(fault.into())
    }

    /// Makes the media connection, while the call is watched.
    async fn connected(
        &self,
        call: &mut Call,
        publisher: &Publisher,
        ready: Ready,
        peer: &Peer,
        agreed: &Agreed,
    ) -> Result<Wire, End> {
        let limit = self.shared.config.media.tcp_connect;
        // Behind NAT the address in the answer is private: connect to where the signalling comes from.
        let named = agreed.address.ip();
        let host =
            if named.is_unspecified() || agreed.transport == GbTransport::TcpActive && !self.reachable(named, peer) {
                peer.source.ip()
            } else {
                named
            };
        let port = ready.port();
        let connect = Wire::connect(ready, SocketAddr::new(host, agreed.address.port()), agreed.ssrc.0, limit);
        tokio::pin!(connect);
        let fault = loop {
            tokio::select! {
                () = self.stop.cancelled() => {
                    call.bye();
                    return Err(End::Stopped);
                }
                wire = &mut connect => match wire {
                    Ok(wire) => {
                        let text = match &wire {
                            Wire::Udp { .. } => format!("UDP port {port} is open"),
                            Wire::Tcp { tcp, .. } => format!("TCP {:?} with {}", agreed.transport, tcp.peer),
                        };
                        publisher.trace(Step::Connected, Outcome::Ok, text);
                        return Ok(wire);
                    }
                    Err(fault) => break fault,
                },
                event = call.next() => match event {
                    Some(CallEvent::Ended(why)) => break ended(&why, 0, 0),
                    Some(CallEvent::Request { tx, request }) => self.in_call(call, tx, &request),
                    Some(_) => {}
                    None => break faults::signalling_failed("呼叫已不存在 / the call is gone"),
                },
            }
        };
        publisher.trace(Step::Connected, Outcome::Failed, fault.en.clone());
        call.bye();
        Err(fault.into())
    }

    /// Whether an address in an answer can be the device's: a private one that is not in the network we hear it from cannot.
    fn reachable(&self, named: IpAddr, peer: &Peer) -> bool {
        let private = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        };
        !private(named) || private(peer.source.ip())
    }

    /// The media loop.
    async fn media(
        &self,
        call: &mut Call,
        publisher: &mut Publisher,
        mut wire: Wire,
        receiver: &mut Receiver,
        ours: SocketAddr,
    ) -> Result<(), End> {
        publisher.new_epoch();
        let mut left = self.shared.left.subscribe();
        let mut key = KeyOrders { last: None, wanted: false };
        let mut next_judgement = Instant::now();
        // Packets taken, and bytes of the connection by then: bytes that go on without packets are broken framing.
        let (mut taken, mut bytes) = (0, 0);
        loop {
            let now = Instant::now();
            let mut wake = receiver.next_timeout(now);
            if let Some(at) = key.next() {
                wake = wake.min(at);
            }
            // In this order: what ends the session is said by its true name (a BYE goes before the logout that follows it), and a
            // stream that never pauses starves nobody. Time is looked at below in any case.
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(End::Stopped),
                event = call.next() => match event {
                    Some(CallEvent::Ended(why)) => return Err(ended(&why, 0, receiver.counts()[0]).into()),
                    Some(CallEvent::Request { tx, request }) => self.in_call(call, tx, &request),
                    Some(_) => {}
                    None => return Err(faults::signalling_failed("呼叫已不存在 / the call is gone").into()),
                },
                Ok(id) = left.recv() => if id == self.channel.device().name() {
                    return Err(faults::device_lost("已注销 / logged out").into());
                },
                () = publisher.key_frame_requested() => key.wanted = true,
                got = wire.read() => {
                    let now = Instant::now();
                    let capture = self.shared.ctx.captures.of(publisher.stream().id());
                    let proto = if wire.local().is_some() { Proto::Tcp } else { Proto::Udp };
                    let local = wire.local().unwrap_or(ours);
                    if !matches!(got, Got::Report(..)) {
                        wire.each(|from, data| {
                            if let Some(capture) = &capture {
                                capture.media(proto, false, local, from, data);
                            }
                            receiver.packet(now, from, data);
                        });
                    }
                    if receiver.counts()[0] != taken {
                        (taken, bytes) = (receiver.counts()[0], wire.framing().0);
                    }
                    match got {
                        Got::Packets => {}
                        Got::Report(len, from) => {
                            let report = wire.report(len);
                            if let Some(capture) = capture.as_ref().filter(|_| len > 0) {
                                let local = SocketAddr::new(local.ip(), local.port().saturating_add(1));
                                capture.media(proto, false, local, from, report);
                            }
                            receiver.rtcp(now, from, report);
                        }
                        Got::Closed(why) => {
                            // The BYE that belongs to it may be on its way.
                            return Err(self.closed(call, receiver, &why).await.into());
                        }
                        Got::NotRtp(why) => return Err(receiver.framing_failed(&why).into()),
                    }
                }
                () = tokio::time::sleep_until(tokio::time::Instant::from_std(wake)) => {}
            }
            let now = Instant::now();
            receiver.tick(now);
            if let (Some(report), Some(from)) = (receiver.due_report(now), receiver.followed_source())
                && self.shared.config.media.receiver_reports
            {
                wire.send_report(&report, from);
            }
            self.give(publisher, receiver);
            key.wanted |= receiver.needs_key();
            if key.due(now) {
                receiver.asked_key();
                let (shared, channel) = (self.shared.clone(), self.channel.clone());
                self.shared.tasks.spawn(async move {
                    if let Err(fault) = ask_key_frame(&shared, &channel).await {
                        tracing::debug!(channel = %channel, fault = %fault, "a key frame could not be asked for");
                    }
                });
            }
            if now >= next_judgement {
                next_judgement = now + Duration::from_millis(200);
                let limit = self.shared.config.media.udp_loss_percent;
                if let Some(percent) = receiver.loss_percent(now).filter(|p| *p >= limit) {
                    return Err(End::Lossy(percent));
                }
                if let Err(fault) = receiver.judge(now) {
                    let (came, errors) = wire.framing();
                    let silent = matches!(fault.code, "media_lost" | "no_media");
                    if silent && errors > 0 && came > bytes {
                        let what = format!("{} bytes without a packet in them", came - bytes);
                        return Err(receiver.framing_failed(&what).into());
                    }
                    return Err(fault.into());
                }
            }
        }
    }

    /// Marks the step that did not happen.
    fn last_step(&self, publisher: &Publisher, fault: &Fault) {
        let step = match fault.code {
            "no_media" | "not_rtp" => Step::FirstPacket,
            "wrong_ssrc" | "ssrc_changed" => Step::Ssrc,
            "media_from_elsewhere" => Step::SourceAddress,
            "ps_undecodable" | "codec_not_supported" => Step::Demuxed,
            "no_parameter_sets" => Step::ParameterSets,
            "no_key_frame" => Step::FirstKeyFrame,
            // What had begun and broke: the first step that it did not reach, else the last one.
            _ => {
                let trace = publisher.stream().trace();
                let open =
                    [Step::FirstPacket, Step::Demuxed, Step::FirstKeyFrame].into_iter().find(|s| !trace.reached(*s));
                open.unwrap_or(Step::Live)
            }
        };
        publisher.trace(step, Outcome::Failed, fault.en.clone());
    }

    fn give(&self, publisher: &Publisher, receiver: &mut Receiver) {
        while let Some(out) = receiver.poll() {
            match out {
                Out::Note(step, outcome, text) => publisher.trace(step, outcome, text),
                Out::Tracks(tracks) => publisher.set_tracks(&tracks),
                Out::Frame(frame) => publisher.write(frame),
                Out::Epoch => publisher.new_epoch(),
                Out::Warn(fault) => {
                    match &fault {
                        Some(fault) => publisher.trace(Step::Live, Outcome::Failed, fault.en.clone()),
                        None => publisher.trace(Step::Live, Outcome::Ok, "as much arrives as is needed"),
                    }
                    if let Some(fault) = &fault {
                        self.shared.metrics.sessions.with_label_values(&[fault.code]).inc();
                    }
                    publisher.warn(fault);
                }
            }
        }
    }

    /// The media connection ended: by a BYE, if one comes at once.
    async fn closed(&self, call: &mut Call, receiver: &Receiver, why: &str) -> Fault {
        let packets = receiver.counts()[0];
        let until = tokio::time::Instant::now() + Duration::from_millis(500);
        while let Ok(Some(event)) = tokio::time::timeout_at(until, call.next()).await {
            if let CallEvent::Ended(why @ EndReason::Bye(_)) = event {
                return ended(&why, 0, packets);
            }
        }
        faults::tcp_closed(why)
    }

    /// A request of the device inside the call: MediaStatus and the like.
    fn in_call(&self, call: &Call, tx: TxId, request: &Request) {
        if request.method == Method::Message
            && let Ok(message) = Manscdp::parse(&request.body)
        {
            tracing::info!(channel = %self.channel, command = %message.command, kind = message.tree.get("NotifyType"), "message in a session");
        }
        let code = match request.method {
            Method::Message | Method::Info | Method::Notify | Method::Options => 200,
            // A new offer in mid-session: what stands goes on.
            Method::Invite | Method::Update => 488,
            _ => 405,
        };
        call.respond(tx, request.respond(code));
    }
}

/// When a key frame was last asked for.
struct KeyOrders {
    last: Option<Instant>,
    wanted: bool,
}

impl KeyOrders {
    fn next(&self) -> Option<Instant> {
        let last = self.last.filter(|_| self.wanted)?;
        Some(last + KEY_EVERY)
    }

    fn due(&mut self, now: Instant) -> bool {
        let due = self.wanted && self.last.is_none_or(|l| now.saturating_duration_since(l) >= KEY_EVERY);
        if due {
            self.wanted = false;
            self.last = Some(now);
        }
        due
    }
}

/// The end of a call, as a fault.
fn ended(why: &EndReason, limit: u32, packets: u64) -> Fault {
    match why {
        EndReason::Rejected(response) => faults::rejected(response.code, &response.reason),
        EndReason::Bye(_) => faults::bye_from_device(packets),
        EndReason::Timeout => faults::no_answer(limit.max(1)),
        EndReason::FlowClosed => {
            let text = Text::new("信令连接断开", "its signalling connection broke");
            faults::device_lost(&format!("{} / {}", text.zh, text.en))
        }
        EndReason::Cancelled | EndReason::LocalBye => faults::signalling_failed("会话已取消 / cancelled"),
        EndReason::Error(error) => sip_fault(error),
    }
}
