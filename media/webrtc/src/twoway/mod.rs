//! Two-way legs (WHIP, RFC 9725): a browser's camera and microphone into the hub, the mix back to it. On `str0m` in RTP mode,
//! one task for each session; a panic of the machine ends that session only.

mod listen;
mod publish;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::{Codec, MediaKind};
use media_hub::{Item, Publisher, StreamId};
use str0m::change::SdpOffer;
use str0m::media::{Direction, KeyframeRequestKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite, SeqNo, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::sync::mpsc;

use crate::demux::{Kind, MAX_ADDRESSES, Packet, Route};
use crate::env::Env;
use crate::error::WebRtcError;
use crate::leg::{CloseReason, LegEvent, LegKind, LegShared};
use crate::viewer::CONNECT_LIMIT;
use crate::viewer::transport::CONSENT;
use listen::Listen;
use publish::{Inbound, Incoming};

/// Datagrams that wait for one session at most.
pub const QUEUE: usize = 2048;
/// Our own key frame requests to one camera are at least this far apart.
const PLI_SPACING: Duration = Duration::from_millis(500);

/// What the hall tells a session.
pub enum Order {
    Close(CloseReason),
    Listen(StreamId),
}

/// What a session is made of before its task runs.
pub struct Session {
    rtc: Rtc,
    env: Arc<Env>,
    shared: Arc<LegShared>,
    inbound: Inbound,
    route: Route,
    ufrag: String,
    addresses: Vec<SocketAddr>,
    /// Where the mix goes: section and payload type.
    audio_out: Option<(Mid, Pt)>,
    camera: Option<Ssrc>,
    remote: Option<SocketAddr>,
    connected: bool,
    last_stun: Instant,
    key_asked: Option<Instant>,
    closing: Option<CloseReason>,
}

/// One thing that happened.
enum Happened {
    Datagram(Packet),
    Heard(listen::Heard),
    KeyWanted,
    Timeout,
    Close(CloseReason),
}

/// Video sections that also want to receive are answered receive-only: the picture of a conference comes by WHEP.
fn video_send_only(offer: &str) -> String {
    let mut video = false;
    let mut out = String::with_capacity(offer.len());
    for line in offer.lines() {
        if let Some(m) = line.strip_prefix("m=") {
            video = m.starts_with("video");
        }
        out.push_str(if video && line.trim_end() == "a=sendrecv" { "a=sendonly" } else { line.trim_end() });
        out.push_str("\r\n");
    }
    out
}

impl Session {
    /// Answers an offer. The text was checked by our own reader before.
    pub fn answer(
        offer: &str,
        env: Arc<Env>,
        shared: Arc<LegShared>,
        publisher: Publisher,
        candidates: &[SocketAddr],
        certificate: &dimpl::DtlsCertificate,
        packets: mpsc::Sender<Packet>,
    ) -> Result<(Self, String), WebRtcError> {
        let refused = |e: &dyn std::fmt::Display| WebRtcError::Offer(e.to_string());
        let now = Instant::now();
        let made = catch_unwind(AssertUnwindSafe(|| -> Result<(Rtc, String), WebRtcError> {
            let mut rtc = Rtc::builder()
                .set_rtp_mode(true)
                .set_ice_lite(true)
                .set_dtls_cert(certificate_of(certificate))
                .clear_codecs()
                .enable_opus(true, false)
                .enable_vp8(true)
                .enable_h264(true)
                .set_stats_interval(Some(Duration::from_secs(1)))
                .build(now);
            // Announced addresses go into the answer; the socket's own one is where packets are told to arrive.
            let locals = env.sockets.locals.iter();
            for addr in candidates.iter().chain(locals.filter(|l| !candidates.contains(l))) {
                if let Ok(c) = Candidate::host(*addr, "udp") {
                    rtc.add_local_candidate(c);
                }
            }
            let offer = SdpOffer::from_sdp_string(&video_send_only(offer)).map_err(|e| refused(&e))?;
            let answer = rtc.sdp_api().accept_offer(offer).map_err(|e| refused(&e))?;
            Ok((rtc, answer.to_sdp_string()))
        }));
        let (mut rtc, answer) = match made {
            Ok(made) => made?,
            Err(_) => {
                env.counters.panics.fetch_add(1, Relaxed);
                return Err(WebRtcError::Offer("the offer cannot be handled".to_owned()));
            }
        };
        let ufrag = rtc.direct_api().local_ice_credentials().ufrag;
        let route = Route::Session(shared.id, packets);
        let session = Session {
            rtc,
            env,
            shared,
            inbound: Inbound::new(publisher),
            route,
            ufrag,
            addresses: Vec::new(),
            audio_out: None,
            camera: None,
            remote: None,
            connected: false,
            last_stun: now,
            key_asked: None,
            closing: None,
        };
        Ok((session, answer))
    }

    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    pub fn route(&self) -> Route {
        self.route.clone()
    }

    /// The session's task: until the leg ends.
    pub async fn run(
        mut self,
        mut packets: mpsc::Receiver<Packet>,
        mut orders: mpsc::Receiver<Order>,
        listen: Option<StreamId>,
    ) {
        let mut listen = Listen::new(self.env.hub.clone(), listen, Instant::now());
        let mut due = self.guarded(Happened::Timeout);
        let reason = loop {
            if let Some(reason) = self.closing {
                break reason;
            }
            let wake = due.min(Instant::now() + Duration::from_millis(100));
            let connected = self.connected;
            let happened = tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Close(reason)) => Happened::Close(reason),
                    Some(Order::Listen(id)) => {
                        listen.set(id, Instant::now());
                        continue;
                    }
                    None => Happened::Close(CloseReason::Shutdown),
                },
                packet = packets.recv() => match packet {
                    Some(packet) => Happened::Datagram(packet),
                    None => Happened::Close(CloseReason::Shutdown),
                },
                item = listen.next(), if connected => match item.and_then(|i: Item| listen.packet(&i, Instant::now())) {
                    Some(heard) => Happened::Heard(heard),
                    None => continue,
                },
                () = self.inbound.publisher().key_frame_requested() => Happened::KeyWanted,
                () = tokio::time::sleep_until(wake.into()) => Happened::Timeout,
            };
            due = self.guarded(happened);
        };
        self.env.router.forget(self.shared.id, &self.ufrag, &self.addresses);
        self.env.leg_closed(&self.shared, LegKind::TwoWay, reason);
    }

    /// Every call into the machine: a panic ends this session and no other.
    fn guarded(&mut self, happened: Happened) -> Instant {
        match catch_unwind(AssertUnwindSafe(|| self.step(happened))) {
            Ok(due) => due,
            Err(_) => {
                self.env.counters.panics.fetch_add(1, Relaxed);
                tracing::error!(leg = %self.shared.id, "the WebRTC machine of this leg panicked");
                self.closing = Some(CloseReason::Internal);
                Instant::now()
            }
        }
    }

    fn step(&mut self, happened: Happened) -> Instant {
        let now = Instant::now();
        let fine = match happened {
            Happened::Datagram(p) => self.datagram(p),
            Happened::Heard(heard) => {
                self.say(heard, now);
                self.rtc.handle_input(Input::Timeout(now)).is_ok()
            }
            Happened::KeyWanted => {
                self.ask_key_frame(now);
                self.rtc.handle_input(Input::Timeout(now)).is_ok()
            }
            Happened::Timeout => {
                self.watch(now);
                self.rtc.handle_input(Input::Timeout(now)).is_ok()
            }
            Happened::Close(reason) => {
                self.closing = Some(reason);
                self.rtc.close().is_ok()
            }
        };
        if !fine {
            self.closing.get_or_insert(CloseReason::Dtls);
            return now;
        }
        self.drain(now)
    }

    fn datagram(&mut self, p: Packet) -> bool {
        let Ok(receive) = Receive::new(Protocol::Udp, p.source, p.local, &p.data) else { return true };
        let input = Input::Receive(p.at, receive);
        if p.kind == Kind::Stun {
            // Checks ufrag and integrity: only then the address is known to be this leg's.
            if !self.rtc.accepts(&input) {
                return true;
            }
            self.last_stun = p.at;
            self.learn(p.source);
        }
        // An error of one datagram ends the machine: str0m says so of its errors.
        self.rtc.handle_input(input).is_ok()
    }

    fn learn(&mut self, address: SocketAddr) {
        self.remote.get_or_insert(address);
        if self.addresses.contains(&address) {
            return;
        }
        if self.addresses.len() == MAX_ADDRESSES {
            let old = self.addresses.remove(0);
            self.env.router.forget(self.shared.id, "", &[old]);
        }
        self.addresses.push(address);
        self.env.router.learn(address, self.route.clone());
    }

    /// Limits of time.
    fn watch(&mut self, now: Instant) {
        self.inbound.tick(now);
        if !self.connected && now.saturating_duration_since(self.shared.created_at()) > CONNECT_LIMIT {
            self.closing.get_or_insert(CloseReason::NeverConnected);
        }
        if self.connected && now.saturating_duration_since(self.last_stun) > CONSENT {
            self.closing.get_or_insert(CloseReason::Consent);
        }
        self.shared.lost.store(self.inbound.lost, Relaxed);
        self.shared.jitter_ms.store(self.inbound.jitter_ms(), Relaxed);
    }

    fn drain(&mut self, now: Instant) -> Instant {
        // Bounded: a cycle ends with Timeout.
        for _ in 0..10_000 {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    if !self.rtc.is_alive() {
                        self.closing.get_or_insert(CloseReason::Peer);
                    }
                    if self.inbound.want_key {
                        self.inbound.want_key = false;
                        self.ask_key_frame(now);
                        let _ = self.rtc.handle_input(Input::Timeout(now));
                        continue;
                    }
                    return at;
                }
                Ok(Output::Transmit(t)) => {
                    // RTP counts as media for the loss of tests; its first byte is 128 to 191.
                    let media = t.contents.first().is_some_and(|b| b >> 6 == 2);
                    if media && self.env.loss > 0.0 && rand::random::<f32>() < self.env.loss {
                        self.env.counters.test_losses.fetch_add(1, Relaxed);
                    } else {
                        self.env.sockets.send(t.destination, &t.contents, &self.env.counters);
                    }
                }
                Ok(Output::Event(event)) => self.event(event, now),
                Err(error) => {
                    tracing::debug!(leg = %self.shared.id, %error, "two-way leg ends");
                    self.closing.get_or_insert(CloseReason::Dtls);
                    return now;
                }
            }
        }
        now
    }

    fn event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Connected => {
                self.connected = true;
                self.env.counters.legs_connected.fetch_add(1, Relaxed);
                if let Some(remote) = self.remote {
                    self.shared.connected(remote, None);
                    self.env.tell(LegEvent::Connected { leg: self.shared.id, remote });
                    self.inbound.publisher().trace(
                        media_hub::Step::Connected,
                        media_hub::Outcome::Ok,
                        remote.to_string(),
                    );
                }
            }
            Event::MediaAdded(m) if m.kind == str0m::media::MediaKind::Audio && self.audio_out.is_none() => {
                let sends = matches!(m.direction, Direction::SendRecv | Direction::SendOnly);
                let pts = self.rtc.media(m.mid).map(|media| media.remote_pts().to_vec()).unwrap_or_default();
                let opus = pts.into_iter().find(|pt| codec_of(&self.rtc, *pt) == Some(Codec::Opus));
                self.audio_out = opus.filter(|_| sends).map(|pt| (m.mid, pt));
            }
            Event::RtpPacket(p) => self.rtp(p, now),
            Event::Closed => {
                self.closing.get_or_insert(CloseReason::Peer);
            }
            Event::MediaIngressStats(s) => {
                if let Some(rtt) = s.rtt {
                    self.shared.rtt_ms.store(rtt.as_millis() as u64, Relaxed);
                }
            }
            Event::MediaEgressStats(s) => {
                self.shared.nacks.store(s.nacks, Relaxed);
                if let Some(rtt) = s.rtt {
                    self.shared.rtt_ms.store(rtt.as_millis() as u64, Relaxed);
                }
            }
            _ => {}
        }
    }

    fn rtp(&mut self, p: RtpPacket, now: Instant) {
        self.shared.received_packets.fetch_add(1, Relaxed);
        self.shared.received_bytes.fetch_add(p.payload.len() as u64, Relaxed);
        let Some(codec) = codec_of(&self.rtc, p.header.payload_type) else { return };
        if codec.kind() == MediaKind::Video && self.camera != Some(p.header.ssrc) {
            self.camera = Some(p.header.ssrc);
            self.key_asked = None;
            self.ask_key_frame(now);
        }
        let had_key = self.inbound.first_key;
        self.inbound.packet(Incoming {
            codec,
            ssrc: *p.header.ssrc,
            sequence: p.header.sequence_number,
            timestamp: p.header.timestamp,
            marker: p.header.marker,
            payload: Bytes::copy_from_slice(&p.payload),
            at: p.timestamp,
            report: p.last_sender_info.map(|s| (s.ntp_time, s.rtp_time.numer() as u32)),
        });
        if !had_key && self.inbound.first_key && self.shared.first_frame() {
            self.env.tell(LegEvent::FirstFrame { leg: self.shared.id });
        }
    }

    /// PLI to the camera.
    fn ask_key_frame(&mut self, now: Instant) {
        if self.key_asked.is_some_and(|at| now.saturating_duration_since(at) < PLI_SPACING) {
            return;
        }
        let Some(ssrc) = self.camera else { return };
        if let Some(stream) = self.rtc.direct_api().stream_rx(&ssrc) {
            self.key_asked = Some(now);
            stream.request_keyframe(KeyframeRequestKind::Pli);
            self.shared.plis.fetch_add(1, Relaxed);
        }
    }

    /// One frame of the mix to the browser.
    fn say(&mut self, heard: listen::Heard, now: Instant) {
        let Some((mid, pt)) = self.audio_out else { return };
        if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(mid, None) {
            self.shared.packets.fetch_add(1, Relaxed);
            self.shared.bytes.fetch_add(heard.payload.len() as u64, Relaxed);
            let seq: SeqNo = heard.sequence.into();
            stream.write_rtp(RtpWrite::new(pt, seq, heard.timestamp, now, &heard.payload[..]));
        }
    }
}

fn codec_of(rtc: &Rtc, pt: Pt) -> Option<Codec> {
    let params = rtc.codec_config().params().iter().find(|p| p.pt() == pt)?;
    match params.spec().codec {
        str0m::format::Codec::Opus => Some(Codec::Opus),
        str0m::format::Codec::Vp8 => Some(Codec::Vp8),
        str0m::format::Codec::H264 => Some(Codec::H264),
        _ => None,
    }
}

fn certificate_of(c: &dimpl::DtlsCertificate) -> str0m::config::DtlsCert {
    str0m::config::DtlsCert { certificate: c.certificate.clone(), private_key: c.private_key.clone() }
}
