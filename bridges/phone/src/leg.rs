//! The media of one call: RTP and RTCP with a phone (RFC 3550, RFC 3551), telephone events (RFC 4733).
//!
//! The phone's voice goes into a stream of the hub, one frame a packet, in order; the sound for the phone is sent in packets
//! of 20 ms. The source address is learned from the first valid packet and after each new offer (symmetric RTP); later it
//! may move only within the same host and SSRC, after a second of silence.

mod sending;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use media_core::dtmf::{DtmfReceiver, Key};
use media_core::jitter::{Ordered, Reorder};
use media_core::phone::{LocalMedia, NegotiatedMedia, PhoneCodec, phone_answer, phone_offer, phone_read_answer};
use media_core::rtcp::Rtcp;
use media_core::rtp::{RtpPacket, Stamp, TimestampExtender, is_rtcp};
use media_core::sdp::{Media, OriginVersion, Sdp, SdpError};
use media_core::time::MediaClock;
use media_core::tones::Tone;
use media_core::{Codec, Frame, TrackId, TrackInfo};
use media_hub::Publisher;
use media_net::{Batch, Latch, PortPool, RtpPair, SourceLatch};
use media_secure::{Channel, Component, Input, Peer, Remote, undress};

use crate::config::InbandDtmf;
use crate::faults::Reason;
use crate::metrics::Metrics;
use crate::picture::{Intake, Picture};
use crate::reception::Reception;
use crate::security::{KeyError, Security};
use crate::sounds::{KeyEar, Rate, announced, codecs, offerable, offered, offered_sound};

/// The clock before a codec is agreed.
const CLOCK: u32 = 8000;
/// Comfort noise (RFC 3389) by its static number.
const COMFORT_NOISE: u8 = 13;
/// Packets that may wait for a missing one, and how long.
const REORDER: usize = 3;
const REORDER_WAIT: Duration = Duration::from_millis(25);
/// Silence after which the same host and SSRC may send from another port.
const MOVE_AFTER: Duration = Duration::from_secs(1);
const REPORT_EVERY: Duration = Duration::from_secs(5);

struct Voice {
    payload_type: u8,
    timestamp: u32,
    payload: Bytes,
}

/// What is sent to the phone.
struct Out {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// When the last packet was sent, and how many ticks it covered.
    last: Option<(Instant, u32)>,
    /// Ticks of the pause that were not sent since.
    unsent: u32,
    /// When the pause of the conference was described to the phone last; none while somebody speaks.
    described: Option<Instant>,
    /// The last frame of the conference was sound.
    speaking: bool,
    /// Packets of comfort noise that we made.
    noise: u64,
    packets: u32,
    octets: u32,
    /// Packets at the last report.
    reported: u32,
}

pub(crate) struct Leg {
    pair: RtpPair,
    local: LocalMedia,
    /// Each framing of AMR was offered.
    all_framings: bool,
    origin: OriginVersion,
    /// What was agreed; none before the answer to our offer.
    media: Option<NegotiatedMedia>,
    latch: SourceLatch,
    rtcp_source: Option<SocketAddr>,
    publisher: Publisher,
    voice_in: Codec,
    reorder: Reorder<Voice>,
    stamps: TimestampExtender,
    /// Added to time stamps, so that the stream counts from its origin; the picture counts from there too.
    zero: Option<i64>,
    origin_at: Instant,
    /// RTP stamp and stream time of the last packet, and the sender's clock by its last report.
    last_voice: Option<(u32, i64)>,
    sound: Option<MediaClock>,
    pub picture: Picture,
    /// What was said of the picture's track last.
    told_track: Option<TrackInfo>,
    /// The last description that was sent: its text, and its sections in their order.
    described: Option<(String, Sdp)>,
    reception: Reception,
    dtmf: DtmfReceiver,
    keys: VecDeque<char>,
    /// Keys in the sound itself.
    inband: InbandDtmf,
    ear: KeyEar,
    /// The clock of the agreed codec.
    clock: u32,
    /// The mode of AMR.
    rate: Rate,
    /// The last key that came as telephone event, and when.
    event: Option<(char, Instant)>,
    out: Out,
    next_report: Instant,
    heard: Instant,
    cname: String,
    buffer: Vec<u8>,
    /// What the dialog agreed on for the protection of the sound, and the protection itself.
    security: Security,
    channel: Channel,
    /// What was opened.
    plain: Vec<u8>,
    metrics: Option<Metrics>,
}

/// What changed by a new offer.
pub(crate) struct Agreed {
    /// The body to send, when we answered.
    pub answer: Option<String>,
    pub held: bool,
    /// The codec for the phone is another one than before.
    pub codec_changed: bool,
}

/// Why a description of the phone is not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    Sdp(SdpError),
    Keys(KeyError),
    /// It asks for T.38 in place of the sound.
    Fax,
}

impl From<SdpError> for Refused {
    fn from(error: SdpError) -> Self {
        Refused::Sdp(error)
    }
}

impl Refused {
    pub fn fault(&self) -> bridge_core::Fault {
        match self {
            Refused::Keys(error) => error.reason().fault(),
            Refused::Fax => Reason::FaxRefused.fault(),
            Refused::Sdp(error @ (SdpError::NoCodec(_) | SdpError::NoMedia(_))) => Reason::NoCodec.with(error),
            Refused::Sdp(error) => Reason::BadOffer.with(error),
        }
    }

    pub fn sip_code(&self) -> u16 {
        match self {
            Refused::Sdp(SdpError::NoCodec(_) | SdpError::NoMedia(_)) | Refused::Keys(_) | Refused::Fax => 488,
            Refused::Sdp(_) => Reason::BadOffer.sip_code(),
        }
    }

    /// The text of the Warning header (RFC 3261 20.43).
    pub fn warning(&self) -> &'static str {
        match self {
            Refused::Keys(error) => error.warning(),
            Refused::Fax => crate::b2b::NO_FAX,
            Refused::Sdp(SdpError::NoCodec(_)) => "305 skybridge \"no codec in common\"",
            Refused::Sdp(SdpError::NoMedia(_)) => "304 skybridge \"audio over RTP/AVP needed\"",
            Refused::Sdp(_) => "399 skybridge \"the media description cannot be read\"",
        }
    }
}

impl Leg {
    /// `ports` and `video_kbps` are for the picture of a terminal that has one.
    pub fn new(
        (pair, ports): (RtpPair, PortPool),
        video_kbps: u32,
        address: IpAddr,
        publisher: Publisher,
        metrics: Option<Metrics>,
    ) -> Leg {
        let now = Instant::now();
        let cname = format!("{:016x}@skybridge", rand::random::<u64>());
        let session: u32 = rand::random::<u32>() >> 1;
        Leg {
            local: LocalMedia::audio(address, pair.lease.port()),
            all_framings: false,
            pair,
            origin: OriginVersion::new(u64::from(session)),
            media: None,
            latch: SourceLatch::new(None),
            rtcp_source: None,
            publisher,
            voice_in: Codec::G711A,
            reorder: Reorder::new(REORDER, REORDER_WAIT),
            stamps: TimestampExtender::new(CLOCK),
            zero: None,
            origin_at: now,
            last_voice: None,
            sound: None,
            picture: Picture::new(ports, video_kbps, &cname, now),
            told_track: None,
            described: None,
            reception: Reception::default(),
            dtmf: DtmfReceiver::new(CLOCK),
            keys: VecDeque::new(),
            inband: InbandDtmf::Off,
            ear: KeyEar::default(),
            clock: CLOCK,
            rate: Rate::default(),
            event: None,
            out: Out {
                ssrc: rand::random(),
                sequence: rand::random::<u16>() >> 1,
                timestamp: rand::random(),
                last: None,
                unsent: 0,
                described: None,
                speaking: false,
                noise: 0,
                packets: 0,
                octets: 0,
                reported: 0,
            },
            next_report: now + Duration::from_secs(1),
            heard: now,
            cname,
            buffer: Vec::with_capacity(256),
            security: Security::default(),
            channel: Channel::default(),
            plain: Vec::new(),
            metrics,
        }
    }

    /// Whether keys are listened for in the sound.
    pub fn listen_for_keys(&mut self, inband: InbandDtmf) {
        self.inband = inband;
    }

    /// How the sound of this call shall be protected; to be called before its first offer or answer.
    pub fn protect(&mut self, mut security: Security) {
        if let Some((text, sdp)) = &mut self.described {
            // The ringing contact saw our description with its keys: a refresh says the same again.
            security.dress_sent(sdp, &mut self.origin);
            *text = sdp.to_string();
        }
        self.security = security;
    }

    fn stamped(&mut self, mut sdp: Sdp) -> String {
        self.security.dress(&mut sdp);
        self.origin.stamp(&mut sdp, "skybridge", self.local.address);
        let text = sdp.to_string();
        self.described = Some((text.clone(), sdp));
        text
    }

    /// States the picture's port from now on, or none.
    fn show_port(&mut self, port: Option<(u16, u32)>) {
        (self.local.video_port, self.local.video_kbps) = port.unzip();
    }

    /// Our descriptions go on in a session that somebody else began (RFC 3264 8): its `o=` line counts up and its sections keep
    /// their places.
    pub fn continue_from(&mut self, origin: OriginVersion, sent: Option<Sdp>) {
        self.origin = origin;
        self.described = sent.map(|sdp| (sdp.to_string(), sdp));
    }

    /// Our offer, and its text for the wire.
    ///
    /// The first one asks for a picture; later ones keep what stands, and the order of the sections (RFC 3264 8).
    pub fn offer(&mut self) -> (Sdp, String) {
        let wanted = self.described.is_none() || self.picture.agreed();
        let port = if wanted { self.picture.port() } else { None };
        self.show_port(port);
        let mut sdp = phone_offer(&self.local, &offered(self.codec()));
        if let Some((_, before)) = &self.described {
            let mut ours = std::mem::take(&mut sdp.media);
            for section in &before.media {
                let same = ours.iter().position(|m| m.kind == section.kind && section.port != 0);
                let refused = || Media::new(&section.kind, 0, &section.proto, section.formats.clone());
                sdp.media.push(same.map_or_else(refused, |at| ours.remove(at)));
            }
            sdp.media.append(&mut ours);
        }
        let text = self.stamped(sdp.clone());
        (sdp, text)
    }

    /// Our first offer for one that is only spoken to.
    pub fn offer_announcement(&mut self) -> (Sdp, String) {
        self.local.video_port = None;
        self.offer_of(&announced(self.codec()))
    }

    /// Our next offer for one who found no format in the last one: sound without a picture, then with each framing of AMR, which no
    /// longer fits into a datagram. None: there is nothing more to offer.
    pub fn offer_next(&mut self) -> Option<(Sdp, String)> {
        if self.local.video_port.take().is_some() {
            return Some(self.offer_of(&offered_sound(self.codec())));
        }
        let fresh = !std::mem::replace(&mut self.all_framings, true);
        fresh.then(|| self.offer_of(&codecs(self.codec())))
    }

    fn offer_of(&mut self, sounds: &[PhoneCodec]) -> (Sdp, String) {
        let sdp = phone_offer(&self.local, sounds);
        let text = self.stamped(sdp.clone());
        (sdp, text)
    }

    /// What was described last, for a refresh that changes nothing (RFC 4028 7.4).
    pub fn described(&mut self) -> String {
        match &self.described {
            Some((text, _)) => text.clone(),
            None => self.offer().1,
        }
    }

    /// Answers the phone's offer. An error leaves all as it was (488).
    pub fn answer(&mut self, offer: &[u8]) -> Result<Agreed, Refused> {
        let mut offer = Sdp::parse(offer)?;
        if offer.first("audio").is_none() && offer.first("image").is_some() {
            return Err(Refused::Fax);
        }
        let (mut peer, mut security) = (undress(&mut offer, true), self.security.clone());
        let keys = security.offered(&mut peer).map_err(Refused::Keys)?;
        let port = self.picture.port_for(&offer);
        self.show_port(port);
        let mut known = codecs(self.codec());
        known.push(PhoneCodec::usual(Codec::H264));
        let answer = phone_answer(&offer, &self.local, &known)?;
        self.security = security;
        let agreed = self.agree(answer.audio, &keys);
        self.picture.agree(answer.video, answer.video_refused, Instant::now());
        self.announce();
        Ok(Agreed { answer: Some(self.stamped(answer.sdp)), ..agreed })
    }

    /// Takes the phone's answer to our offer.
    pub fn answered(&mut self, offer: &Sdp, answer: &[u8]) -> Result<Agreed, Refused> {
        let mut answer = Sdp::parse(answer)?;
        let peer: Peer = undress(&mut answer, true);
        let mut security = self.security.clone();
        let keys = security.answered(&peer).map_err(Refused::Keys)?;
        let (audio, video) = phone_read_answer(offer, &answer, &offerable(self.codec()))?;
        self.security = security;
        let agreed = self.agree(audio, &keys);
        self.picture.agree(video, None, Instant::now());
        self.announce();
        Ok(agreed)
    }

    fn agree(&mut self, mut media: NegotiatedMedia, keys: &media_secure::Agreed) -> Agreed {
        let now = Instant::now();
        media.rtcp_mux &= matches!(keys, media_secure::Agreed::Plain) || self.security.mux();
        let remote = Remote { rtp: media.remote, rtcp: media.remote_rtcp, mux: media.rtcp_mux };
        self.channel.agree(keys, remote, now);
        self.transmit();
        let codec_changed = self.media.as_ref().is_some_and(|m| m.codec != media.codec);
        let held = media.held;
        let fresh = self.media.is_none() || codec_changed;
        self.clock = media.clock_rate;
        self.rate.agree(&media);
        let events = media.telephone_event.map_or(CLOCK, |e| e.1);
        self.media = Some(media);
        if fresh {
            self.dtmf = DtmfReceiver::new(events);
            self.retime(now);
            self.set_voice(self.codec());
        }
        self.latch.reopen();
        self.heard = now;
        Agreed { answer: None, held, codec_changed }
    }

    /// The clock of the sound is another one: its time begins anew.
    fn retime(&mut self, now: Instant) {
        if self.last_voice.is_some() {
            self.publisher.new_epoch();
        }
        self.stamps = TimestampExtender::new(self.clock);
        (self.zero, self.last_voice, self.sound) = (None, None, None);
        self.out.last = self.out.last.map(|_| (now, self.clock / 50));
    }

    fn set_voice(&mut self, codec: Codec) {
        self.voice_in = codec;
        self.announce();
    }

    /// Says what the stream holds: the picture while the terminal sends one, and the sound.
    fn announce(&mut self) {
        self.told_track = self.picture.track();
        let sound = TrackInfo::audio(self.voice_in, self.voice_in.clock(), 1);
        let tracks: Vec<TrackInfo> = self.told_track.iter().cloned().chain([sound]).collect();
        self.publisher.set_tracks(&tracks);
    }

    /// The codec for the phone.
    pub fn codec(&self) -> Codec {
        self.media.as_ref().map_or(Codec::G711A, |m| m.codec)
    }

    pub fn stream(&self) -> media_hub::StreamId {
        self.publisher.stream().id().clone()
    }

    pub fn held(&self) -> bool {
        self.media.as_ref().is_some_and(|m| m.held)
    }

    /// How long the phone has been silent; none when it need not send.
    pub fn silent_for(&self, now: Instant) -> Option<Duration> {
        let expects = self.media.as_ref().is_some_and(|m| m.direction.receives() && !m.held);
        expects.then(|| now.saturating_duration_since(self.heard))
    }

    pub fn key(&mut self) -> Option<char> {
        self.keys.pop_front()
    }

    /// A key that came by INFO.
    pub fn push_key(&mut self, key: char) {
        if self.keys.len() < 64 {
            self.keys.push_back(key);
        }
    }

    pub async fn receive(&self, batch: &mut Batch) -> io::Result<usize> {
        self.pair.rtp.recv(batch).await
    }

    pub async fn receive_picture(&self, intake: &mut Intake) -> io::Result<()> {
        self.picture.receive(intake).await
    }

    /// Takes what `receive_picture` got.
    pub fn on_picture(&mut self, intake: &Intake, now: Instant) {
        self.picture.take(intake, self.sound, now);
    }

    /// Whether a viewer of the stream asked for a key frame since the last call.
    pub async fn key_wanted(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.publisher.key_frame_requested() => true,
            () = std::future::ready(()) => false,
        }
    }

    pub async fn receive_rtcp(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (n, from) = self.pair.rtcp.recv_from(buffer).await?;
        Ok((n, media_net::unmapped(from)))
    }

    /// One datagram of the RTP port.
    pub fn on_rtp(&mut self, data: &[u8], from: SocketAddr, now: Instant) {
        if self.channel.is_plain() {
            return self.on_plain(data, from, now);
        }
        let mut plain = std::mem::take(&mut self.plain);
        match self.channel.input(Component::Rtp, data, from, now, &mut plain) {
            Input::Media(data) => {
                // It was proved by its tag: wherever it comes from, it is from this phone.
                self.latch.reopen();
                self.on_plain(data, from, now);
            }
            Input::Handled => {}
            Input::Bad => {
                if let Some(m) = &self.metrics {
                    m.bad_packets.inc();
                }
            }
        }
        self.plain = plain;
        self.transmit();
    }

    /// Sends what the protection itself has to say: STUN, DTLS.
    fn transmit(&mut self) {
        while let Some((component, to, datagram)) = self.channel.poll_transmit() {
            let socket = if component == Component::Rtp { self.pair.rtp.socket() } else { &self.pair.rtcp };
            let _ = socket.try_send_to(&datagram, to);
        }
    }

    /// Why the sound has no keys and will have none.
    pub fn failure(&self) -> Option<media_secure::Failure> {
        self.channel.failure()
    }

    fn on_plain(&mut self, data: &[u8], from: SocketAddr, now: Instant) {
        if is_rtcp(data) {
            return self.on_plain_rtcp(data, from, now);
        }
        let Some(media) = &self.media else { return };
        let (events, ours) = (media.telephone_event.map(|e| e.0), media.receive_telephone_event);
        // The other law is heard even if it was not agreed; only its clock must be the same.
        let law = self.clock == CLOCK;
        let voice = |pt: u8| pt == media.receive_payload_type || (law && (pt == 0 || pt == 8));
        let is_event = |pt: u8| Some(pt) == events || Some(pt) == ours;
        let packet = RtpPacket::parse(data)
            .ok()
            .filter(|p| voice(p.payload_type) || is_event(p.payload_type) || p.payload_type == COMFORT_NOISE);
        if let (Some(packet), Some(source)) = (&packet, self.latch.source())
            && source != from
            && source.ip() == from.ip()
            && self.reorder.ssrc() == Some(packet.ssrc)
            && now.saturating_duration_since(self.heard) >= MOVE_AFTER
        {
            // The same phone behind a NAT that moved its port.
            self.latch.reopen();
        }
        let accepted = self.latch.check(from, packet.is_some(), now) != Latch::Reject;
        let Some(packet) = packet.filter(|_| accepted) else {
            if let Some(m) = &self.metrics {
                m.bad_packets.inc();
            }
            return;
        };
        self.heard = now;
        if let Some(m) = &self.metrics {
            m.packets_in.inc();
        }
        let is_voice = voice(packet.payload_type);
        self.reception.packet(packet.ssrc, packet.sequence, packet.timestamp, self.clock, is_voice, now);
        let item = Voice {
            payload_type: packet.payload_type,
            timestamp: packet.timestamp,
            payload: Bytes::copy_from_slice(packet.payload),
        };
        self.reorder.push(packet.ssrc, packet.sequence, now, item);
    }

    /// One datagram of the RTCP port.
    pub fn on_rtcp(&mut self, data: &[u8], from: SocketAddr, now: Instant) {
        let mut plain = std::mem::take(&mut self.plain);
        if let Input::Media(data) = self.channel.input(Component::Rtcp, data, from, now, &mut plain) {
            self.on_plain_rtcp(data, from, now);
        }
        self.plain = plain;
        self.transmit();
    }

    fn on_plain_rtcp(&mut self, data: &[u8], from: SocketAddr, now: Instant) {
        // Only from the host that sends the sound, or that the SDP names.
        let known = self.latch.source().or(self.media.as_ref().and_then(|m| m.remote));
        if known.is_none_or(|k| k.ip() != from.ip()) {
            return;
        }
        let Ok(packets) = Rtcp::parse_compound(data) else { return };
        self.rtcp_source = Some(from);
        for packet in packets {
            if let Rtcp::SenderReport { ntp, rtp, .. } = packet {
                self.reception.sender_report(ntp, now);
                if let Some((stamp, pts)) = self.last_voice {
                    let pts = pts + i64::from(rtp.wrapping_sub(stamp) as i32);
                    let sound = MediaClock::from_report(self.clock, ntp, pts);
                    self.sound = Some(sound);
                    self.picture.align(sound);
                }
            }
        }
    }

    /// Gives out what is in order, to the hub and to `key`.
    pub fn drain(&mut self, now: Instant) {
        self.channel.tick(now);
        self.transmit();
        while let Some(ordered) = self.reorder.poll(now) {
            match ordered {
                Ordered::Packet { item, .. } => self.take(item, now),
                Ordered::Lost { .. } => {}
                Ordered::Reset => {
                    self.publisher.new_epoch();
                    self.stamps.reset();
                    (self.zero, self.last_voice, self.sound) = (None, None, None);
                }
            }
        }
        self.picture.drain(now);
        while let Some(frame) = self.picture.frame() {
            if self.picture.track() != self.told_track {
                self.announce();
            }
            self.publisher.write(frame);
        }
        self.picture.flush(now);
        let bad = self.picture.take_bad();
        if let Some(m) = self.metrics.as_ref().filter(|_| bad > 0) {
            m.bad_packets.inc_by(bad);
        }
        self.dtmf.tick(now);
        while let Some(key) = self.dtmf.poll() {
            if let Key::Pressed(key) = key {
                self.event = Some((key, now));
                self.push_key(key);
            }
        }
    }

    fn take(&mut self, voice: Voice, now: Instant) {
        let agreed = self.media.as_ref().map(|m| m.receive_payload_type);
        let codec = match voice.payload_type {
            pt if Some(pt) == agreed => self.codec(),
            COMFORT_NOISE => Codec::ComfortNoise,
            0 => Codec::G711U,
            8 => Codec::G711A,
            _ => return self.dtmf.push(&voice.payload, voice.timestamp, now),
        };
        if voice.payload.is_empty() || voice.payload.len() > 1600 {
            return;
        }
        let (payload, duration) = match codec {
            Codec::Amr | Codec::AmrWb => match self.rate.read(&voice.payload) {
                Some((stored, frames)) => (stored, self.clock / 50 * frames),
                None => {
                    if let Some(m) = &self.metrics {
                        m.bad_packets.inc();
                    }
                    return;
                }
            },
            Codec::Opus => (voice.payload.clone(), media_core::opus::duration(&voice.payload).unwrap_or(0)),
            _ => (voice.payload.clone(), codec.samples(voice.payload.len())),
        };
        if codec != self.voice_in && codec != Codec::ComfortNoise {
            // The phone uses the other law than agreed: hear it anyway.
            self.set_voice(codec);
        }
        if codec != Codec::ComfortNoise {
            self.listen(codec, &payload, now);
        }
        let ticks = match self.stamps.extend(voice.timestamp) {
            Stamp::Continuous(ticks) => ticks,
            Stamp::Discontinuity { ticks, .. } => {
                self.publisher.new_epoch();
                ticks
            }
        };
        let since = now.saturating_duration_since(self.origin_at);
        let zero = *self.zero.get_or_insert_with(|| ticks - media_core::time::ticks(since, self.clock));
        self.last_voice = Some((voice.timestamp, ticks - zero));
        let frame = Frame::new(TrackId::AUDIO, codec, ticks - zero, true, now, payload);
        self.publisher.write(frame.with_duration(duration));
    }

    /// Looks for keys in the sound, by the rule of the configuration.
    fn listen(&mut self, codec: Codec, payload: &[u8], now: Instant) {
        let events = self.media.as_ref().is_some_and(|m| m.telephone_event.is_some());
        let wanted = match self.inband {
            InbandDtmf::Off => false,
            InbandDtmf::Auto => !events,
            InbandDtmf::Always => true,
        };
        if !wanted {
            return;
        }
        // The same key as an event just now: some phones send both.
        let known = self.event.filter(|(_, at)| now.saturating_duration_since(*at) < Duration::from_secs(1));
        let keys = &mut self.keys;
        self.ear.push(codec, payload, |tone| {
            if let Tone::Began(key) = tone
                && known.is_none_or(|(k, _)| k != key)
                && keys.len() < 64
            {
                keys.push_back(key);
            }
        });
    }

    /// Sends a report when it is time (RFC 3550 6.4), and tells when something is due next.
    pub fn report(&mut self, now: Instant) {
        self.picture.report(now);
        if now < self.next_report {
            return;
        }
        self.next_report = now + REPORT_EVERY;
        let Some(media) = &self.media else { return };
        let source = self.latch.source();
        let beside =
            |a: SocketAddr| SocketAddr::new(a.ip(), if media.rtcp_mux { a.port() } else { a.port().saturating_add(1) });
        let beside = self.rtcp_source.or(source.map(beside)).or(media.remote_rtcp);
        let Some(to) = self.channel.destination().unwrap_or(beside) else { return };
        let mux = media.rtcp_mux;
        let reports: Vec<_> = self.reception.block(now).into_iter().collect();
        let sent = self.out.packets != self.out.reported;
        self.out.reported = self.out.packets;
        let first = match self.out.last {
            Some((at, _)) if sent => {
                let since = now.saturating_duration_since(at).as_millis() as u32;
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Rtcp::SenderReport {
                    ssrc: self.out.ssrc,
                    ntp: media_core::time::ntp_from_unix(wall),
                    rtp: self.out.timestamp.wrapping_add(since.wrapping_mul(self.clock / 1000)),
                    packets: self.out.packets,
                    octets: self.out.octets,
                    reports,
                }
            }
            _ => Rtcp::ReceiverReport { ssrc: self.out.ssrc, reports },
        };
        let mut text = Rtcp::write_compound(&[first, Rtcp::Sdes { ssrc: self.out.ssrc, cname: self.cname.clone() }]);
        if self.channel.protect(&mut text, 0).is_err() {
            return;
        }
        let socket = if mux { self.pair.rtp.socket() } else { &self.pair.rtcp };
        let _ = socket.try_send_to(&text, to);
    }

    /// Loss in percent and jitter in milliseconds since the last call.
    pub fn quality(&mut self) -> (f32, f32) {
        let (percent, lost, jitter) = self.reception.quality(self.clock);
        if let Some(m) = &self.metrics {
            m.lost.inc_by(lost);
        }
        (percent, jitter)
    }

    /// What was received of the phone, for the books.
    pub fn account(&self, number: &str) -> bridge_core::CallLeg {
        let (packets, lost) = self.reception.totals();
        let jitter_ms = self.reception.jitter_ms(self.clock);
        let codec = self.voice_in.name().to_owned();
        let expected = packets + lost;
        let loss = if expected == 0 { 0.0 } else { lost as f32 * 100.0 / expected as f32 };
        let mos = (packets > 0).then(|| crate::mos::estimate(&codec, loss, jitter_ms));
        let sent = u64::from(self.out.packets);
        bridge_core::CallLeg {
            number: number.to_owned(),
            trunk: None,
            codec,
            packets,
            lost,
            sent,
            jitter_ms,
            mos,
            turned: None,
            recorded: None,
        }
    }

    /// When `drain` has something to do again.
    pub fn next_timeout(&self) -> Option<Instant> {
        let others = [self.picture.next_timeout(), self.channel.next_timeout()];
        self.reorder.next_timeout().into_iter().chain(others.into_iter().flatten()).min()
    }
}
