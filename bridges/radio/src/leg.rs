//! The media of a group's call: RTP and RTCP with the gateway (RFC 3550, 3551), telephone events (RFC 4733), the header extension of
//! ED-137, and MCPTT's port of floor messages.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use media_core::dtmf::{self, DtmfPacket, DtmfReceiver};
use media_core::jitter::{Ordered, Reorder};
use media_core::mcptt::Message;
use media_core::phone::{LocalMedia, NegotiatedMedia, PhoneCodec, phone_answer, phone_offer, phone_read_answer};
use media_core::rtcp::Rtcp;
use media_core::rtp::{RtpExtension, RtpHeader, RtpPacket, Stamp, TimestampExtender, is_rtcp};
use media_core::sdp::{Media, OriginVersion, Sdp, SdpError};
use media_core::{Codec, Frame, TrackId, TrackInfo};
use media_hub::Publisher;
use media_net::{Batch, Latch, RtpPair, SourceLatch};

use crate::config::{CarrierKind, GatewayConfig};
use crate::speech::level;

const CLOCK: u32 = 8000;
/// Of R2S packets (ED-137; customary).
const R2S: u8 = 123;
/// Packets that may wait for a missing one, and how long.
const REORDER: usize = 3;
const REORDER_WAIT: Duration = Duration::from_millis(25);
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// Of a digit of ours.
const DIGIT: Duration = Duration::from_millis(80);
/// Packets of digits that may wait.
const MOST_DIGITS: usize = 64;
/// Largest payload that is taken: 200 ms.
const MOST_PAYLOAD: usize = 1600;

struct Voice {
    payload_type: u8,
    timestamp: u32,
    payload: Bytes,
}

/// What a datagram was.
pub(crate) struct Heard<'a> {
    pub extension: Option<RtpExtension<'a>>,
    pub sound: bool,
    pub loud: bool,
}

/// Sent and received.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub received: u64,
    pub sent: u64,
    pub bad: u64,
}

pub(crate) struct Leg {
    pair: RtpPair,
    /// MCPTT's.
    floor: Option<RtpPair>,
    floor_peer: Option<SocketAddr>,
    carrier: CarrierKind,
    mcptt_lines: String,
    old_ed137: bool,
    threshold: f32,
    local: LocalMedia,
    origin: OriginVersion,
    media: Option<NegotiatedMedia>,
    latch: SourceLatch,
    publisher: Publisher,
    law: Codec,
    reorder: Reorder<Voice>,
    stamps: TimestampExtender,
    zero: Option<i64>,
    origin_at: Instant,
    /// What comes is not given to the hub: it is our own echo.
    deaf: bool,
    dtmf: DtmfReceiver,
    digits: VecDeque<DtmfPacket>,
    pub ssrc: u32,
    sequence: u16,
    timestamp: u32,
    sent_at: Option<Instant>,
    octets: u32,
    next_report: Instant,
    cname: String,
    pub counts: Counts,
    buffer: Vec<u8>,
}

fn codecs() -> [PhoneCodec; 2] {
    [Codec::G711A, Codec::G711U].map(PhoneCodec::usual)
}

impl Leg {
    pub fn new(
        gateway: &GatewayConfig,
        pair: RtpPair,
        floor: Option<RtpPair>,
        address: IpAddr,
        publisher: Publisher,
    ) -> Leg {
        let now = Instant::now();
        let c = &gateway.mcptt;
        Leg {
            local: LocalMedia::audio(address, pair.lease.port()),
            pair,
            floor,
            floor_peer: None,
            carrier: gateway.carrier,
            mcptt_lines: format!("mc_queueing;mc_priority={};mc_granted", c.priority),
            old_ed137: gateway.ed137.old,
            threshold: gateway.speech_dbov,
            origin: OriginVersion::new(u64::from(rand::random::<u32>() >> 1)),
            media: None,
            latch: SourceLatch::new(Some(Duration::from_secs(1))),
            publisher,
            law: Codec::G711A,
            reorder: Reorder::new(REORDER, REORDER_WAIT),
            stamps: TimestampExtender::new(CLOCK),
            zero: None,
            origin_at: now,
            deaf: false,
            dtmf: DtmfReceiver::new(CLOCK),
            digits: VecDeque::new(),
            ssrc: rand::random(),
            sequence: rand::random::<u16>() >> 1,
            timestamp: rand::random(),
            sent_at: None,
            octets: 0,
            next_report: now + Duration::from_secs(1),
            cname: format!("{:016x}@skybridge", rand::random::<u64>()),
            counts: Counts::default(),
            buffer: Vec::with_capacity(256),
        }
    }

    pub fn codec(&self) -> Codec {
        self.media.as_ref().map_or(Codec::G711A, |m| m.codec)
    }

    pub fn stream(&self) -> media_hub::StreamId {
        self.publisher.stream().id().clone()
    }

    pub fn warn(&self, fault: Option<bridge_core::Fault>) {
        self.publisher.warn(fault);
    }

    /// Adds to the audio section and behind it what the carrier needs.
    fn dress(&self, sdp: &mut Sdp, offer: bool) {
        if self.carrier == CarrierKind::Ed137
            && let Some(audio) = sdp.media.iter_mut().find(|m| m.kind == "audio" && m.port != 0)
        {
            audio.formats.push(R2S.to_string());
            audio.push('a', format!("rtpmap:{R2S} R2S/8000"));
            audio.push('a', "type:Radio").push('a', "txrxmode:TxRx").push('a', "rtphe:1");
            audio.push('a', "R2S-KeepAlivePeriod:200").push('a', "R2S-KeepAliveMultiplier:10");
            if !self.old_ed137 {
                audio.push('a', "ptt_rep:3");
            }
        }
        if let Some(floor) = &self.floor {
            let mut section = Media::new("application", floor.lease.port(), "udp", vec!["MCPTT".to_owned()]);
            section.push('a', format!("fmtp:MCPTT {}", self.mcptt_lines));
            if offer {
                sdp.media.push(section);
            } else if let Some(place) = sdp.media.iter_mut().find(|m| m.kind == "application") {
                *place = section;
            }
        }
    }

    fn text(&mut self, mut sdp: Sdp) -> String {
        self.origin.stamp(&mut sdp, "skybridge", self.local.address);
        sdp.to_string()
    }

    /// Our offer, and its text.
    pub fn offer(&mut self) -> (Sdp, String) {
        let mut sdp = phone_offer(&self.local, &codecs());
        self.dress(&mut sdp, true);
        let text = self.text(sdp.clone());
        (sdp, text)
    }

    /// Answers the gateway's offer.
    pub fn answer(&mut self, offer: &[u8]) -> Result<String, SdpError> {
        let offer = Sdp::parse(offer)?;
        let mut answer = phone_answer(&offer, &self.local, &codecs())?;
        self.dress(&mut answer.sdp, false);
        self.agree(&offer, answer.audio);
        Ok(self.text(answer.sdp))
    }

    /// Takes the answer to our offer.
    pub fn answered(&mut self, offer: &Sdp, answer: &[u8]) -> Result<(), SdpError> {
        let answer = Sdp::parse(answer)?;
        let (audio, _) = phone_read_answer(offer, &answer, &codecs())?;
        self.agree(&answer, audio);
        Ok(())
    }

    fn agree(&mut self, theirs: &Sdp, media: NegotiatedMedia) {
        self.floor_peer = theirs.first("application").filter(|m| m.port != 0).and_then(|m| {
            let address = theirs.address_of(m).filter(|a| !a.is_unspecified())?;
            Some(SocketAddr::new(address, m.port))
        });
        self.set_law(media.codec);
        self.latch.reopen();
        self.media = Some(media);
    }

    fn set_law(&mut self, law: Codec) {
        self.law = law;
        self.publisher.set_tracks(&[TrackInfo::audio(law, CLOCK, 1)]);
    }

    /// Whether MCPTT can be spoken with the far end.
    pub fn has_floor(&self) -> bool {
        self.floor_peer.is_some()
    }

    pub async fn receive(&self, batch: &mut Batch) -> io::Result<usize> {
        self.pair.rtp.recv(batch).await
    }

    pub async fn receive_rtcp(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.pair.rtcp.recv_from(buffer).await?.0)
    }

    pub async fn receive_floor(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match &self.floor {
            Some(floor) => {
                let (n, from) = floor.rtp.socket().recv_from(buffer).await?;
                Ok((n, media_net::unmapped(from)))
            }
            None => std::future::pending().await,
        }
    }

    /// Floor messages of a datagram; only the far end's host counts.
    pub fn floor_messages(&mut self, data: &[u8], from: SocketAddr) -> Vec<Message> {
        let known = self.floor_peer.is_some_and(|p| p.ip() == from.ip());
        match Message::parse_all(data) {
            Ok(messages) if known => {
                // Symmetric, as for the sound: it may sit behind a NAT.
                if !messages.is_empty() {
                    self.floor_peer = Some(from);
                }
                messages
            }
            _ => {
                self.counts.bad += 1;
                Vec::new()
            }
        }
    }

    pub fn send_floor(&mut self, message: &Message) {
        if let (Some(floor), Some(to)) = (&self.floor, self.floor_peer) {
            let mut packet = Vec::with_capacity(64);
            message.write(&mut packet);
            let _ = floor.rtp.socket().try_send_to(&packet, to);
        }
    }

    /// Whether the hub is not given what comes.
    pub fn set_deaf(&mut self, deaf: bool) {
        self.deaf = deaf;
    }

    /// One datagram of the RTP port; none: it is no RTP of this call.
    pub fn on_rtp<'a>(&mut self, data: &'a [u8], from: SocketAddr, now: Instant) -> Option<Heard<'a>> {
        if is_rtcp(data) {
            return None;
        }
        let media = self.media.as_ref()?;
        let events = media.telephone_event.map(|e| e.0);
        let known = |pt: u8| matches!(pt, 0 | 8 | R2S | 101) || pt == media.receive_payload_type || Some(pt) == events;
        let packet = RtpPacket::parse(data).ok().filter(|p| known(p.payload_type));
        let accepted = self.latch.check(from, packet.is_some(), now) != Latch::Reject;
        let Some(packet) = packet.filter(|_| accepted) else {
            self.counts.bad += 1;
            return None;
        };
        self.counts.received += 1;
        let law = self.law_of(packet.payload_type);
        let sound = law.is_some() && !packet.payload.is_empty() && packet.payload.len() <= MOST_PAYLOAD;
        let loud = sound && level(law == Some(Codec::G711A), packet.payload) >= self.threshold;
        if packet.payload_type != R2S && !packet.payload.is_empty() {
            let item = Voice {
                payload_type: packet.payload_type,
                timestamp: packet.timestamp,
                payload: Bytes::copy_from_slice(packet.payload),
            };
            self.reorder.push(packet.ssrc, packet.sequence, now, item);
        }
        Some(Heard { extension: packet.extension, sound, loud })
    }

    fn law_of(&self, payload_type: u8) -> Option<Codec> {
        match payload_type {
            0 => Some(Codec::G711U),
            8 => Some(Codec::G711A),
            pt => self.media.as_ref().filter(|m| m.receive_payload_type == pt).map(|m| m.codec),
        }
    }

    /// Gives out what is in order: sound to the hub, keys to the caller.
    pub fn drain(&mut self, now: Instant) -> Option<char> {
        while let Some(ordered) = self.reorder.poll(now) {
            match ordered {
                Ordered::Packet { item, .. } => self.take(item, now),
                Ordered::Lost { .. } => {}
                Ordered::Reset => {
                    self.publisher.new_epoch();
                    self.stamps.reset();
                    self.zero = None;
                }
            }
        }
        self.dtmf.tick(now);
        while let Some(key) = self.dtmf.poll() {
            if let dtmf::Key::Pressed(key) = key {
                return Some(key);
            }
        }
        None
    }

    fn take(&mut self, voice: Voice, now: Instant) {
        let Some(law) = self.law_of(voice.payload_type) else {
            return self.dtmf.push(&voice.payload, voice.timestamp, now);
        };
        if voice.payload.len() > MOST_PAYLOAD || self.deaf {
            return;
        }
        if law != self.law {
            // The other law than agreed: heard all the same.
            self.set_law(law);
        }
        let ticks = match self.stamps.extend(voice.timestamp) {
            Stamp::Continuous(ticks) => ticks,
            Stamp::Discontinuity { ticks, .. } => {
                self.publisher.new_epoch();
                ticks
            }
        };
        let since = now.saturating_duration_since(self.origin_at);
        let zero = *self.zero.get_or_insert_with(|| ticks - media_core::time::ticks(since, CLOCK));
        let duration = voice.payload.len() as u32;
        let frame = Frame::new(TrackId::AUDIO, law, ticks - zero, true, now, voice.payload);
        self.publisher.write(frame.with_duration(duration));
    }

    fn destination(&self) -> Option<SocketAddr> {
        let media = self.media.as_ref().filter(|m| m.direction.sends())?;
        self.latch.source().or(media.remote)
    }

    /// The clock of our stream at `now`: it goes on in pauses. Tells whether a talk spurt begins.
    fn advance(&mut self, now: Instant, step: u32) -> bool {
        match self.sent_at.replace(now) {
            None => true,
            Some(at) => {
                let since = now.saturating_duration_since(at);
                let pause = since > Duration::from_millis(100);
                let ticks = if pause { (since.as_millis() as u32).wrapping_mul(8) } else { step };
                self.timestamp = self.timestamp.wrapping_add(ticks);
                pause
            }
        }
    }

    fn put(&mut self, header: RtpHeader, extension: Option<(u16, [u8; 4])>, payload: &[u8]) {
        let Some(to) = self.destination() else { return };
        self.buffer.clear();
        let mut first = header.to_bytes();
        match extension {
            Some((profile, word)) => {
                first[0] |= 0x10;
                self.buffer.extend_from_slice(&first);
                self.buffer.extend_from_slice(&profile.to_be_bytes());
                self.buffer.extend_from_slice(&[0, 1]);
                self.buffer.extend_from_slice(&word);
            }
            None => self.buffer.extend_from_slice(&first),
        }
        self.buffer.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        // A full socket buffer or an ICMP error loses this packet, as the network might.
        if self.pair.rtp.socket().try_send_to(&self.buffer, to).is_ok() {
            self.counts.sent += 1;
            self.octets = self.octets.wrapping_add(payload.len() as u32);
        }
    }

    fn header(&self, marker: bool, payload_type: u8, timestamp: u32) -> RtpHeader {
        RtpHeader { marker, payload_type, sequence: self.sequence, timestamp, ssrc: self.ssrc }
    }

    /// Sends 20 ms of sound.
    pub fn send(&mut self, payload: &[u8], extension: Option<(u16, [u8; 4])>, now: Instant) {
        let marker = self.advance(now, payload.len() as u32);
        let payload_type = self.media.as_ref().map_or(8, |m| m.payload_type);
        self.put(self.header(marker, payload_type, self.timestamp), extension, payload);
    }

    /// Sends an R2S packet: bits without sound.
    pub fn send_keepalive(&mut self, extension: Option<(u16, [u8; 4])>, now: Instant) {
        self.advance(now, 0);
        self.put(self.header(false, R2S, self.timestamp), extension, &[]);
    }

    /// A digit is to be sent.
    pub fn dial(&mut self, key: char, now: Instant) {
        let Some((_, clock)) = self.media.as_ref().and_then(|m| m.telephone_event) else { return };
        self.advance(now, 160);
        if let Some(packets) = dtmf::send_sequence(key, self.timestamp, clock, DIGIT)
            && self.digits.len() + packets.len() <= MOST_DIGITS
        {
            self.digits.extend(packets);
        }
    }

    /// The next packet of a digit goes out; false when there is none. To be called every 20 ms.
    pub fn dialling(&mut self, now: Instant) -> bool {
        let Some(packet) = self.digits.pop_front() else { return false };
        if let Some((events, _)) = self.media.as_ref().and_then(|m| m.telephone_event) {
            self.put(self.header(packet.marker, events, packet.timestamp), None, &packet.payload);
            self.advance(now, 160);
        }
        true
    }

    /// Sends a report when it is time (RFC 3550 6.4).
    pub fn report(&mut self, now: Instant) {
        if now < self.next_report {
            return;
        }
        self.next_report = now + REPORT_EVERY;
        let Some(media) = &self.media else { return };
        let beside =
            |a: SocketAddr| SocketAddr::new(a.ip(), if media.rtcp_mux { a.port() } else { a.port().saturating_add(1) });
        let Some(to) = self.latch.source().map(beside).or(media.remote_rtcp) else { return };
        let first = match self.sent_at {
            Some(at) => {
                let since = now.saturating_duration_since(at).as_millis() as u32;
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Rtcp::SenderReport {
                    ssrc: self.ssrc,
                    ntp: media_core::time::ntp_from_unix(wall),
                    rtp: self.timestamp.wrapping_add(since.wrapping_mul(8)),
                    packets: self.counts.sent as u32,
                    octets: self.octets,
                    reports: Vec::new(),
                }
            }
            None => Rtcp::ReceiverReport { ssrc: self.ssrc, reports: Vec::new() },
        };
        let text = Rtcp::write_compound(&[first, Rtcp::Sdes { ssrc: self.ssrc, cname: self.cname.clone() }]);
        let socket = if media.rtcp_mux { self.pair.rtp.socket() } else { &self.pair.rtcp };
        let _ = socket.try_send_to(&text, to);
    }

    /// Packets lost in percent since the beginning.
    pub fn loss_percent(&self) -> f32 {
        let stats = self.reorder.stats();
        let all = stats.received + stats.lost;
        if all == 0 { 0.0 } else { stats.lost as f32 * 100.0 / all as f32 }
    }

    /// When `drain` has something to do again.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.reorder.next_timeout().into_iter().chain(self.dtmf.next_timeout()).min()
    }
}
