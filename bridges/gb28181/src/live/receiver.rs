//! From packets to frames: source rule, order repair, program stream, and the judgement of what is missing. No I/O.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::gb::GbEncoding;
use media_core::jitter::{Ordered, Reorder};
use media_core::ps::{DropReason, PsAudio, PsDemuxer, PsEvent, PsVideo, Sniffed};
use media_core::rtp::{RtpPacket, is_rtcp};
use media_core::sdp::RtpMap;
use media_core::{Codec, Decoding, Frame, TrackId, TrackInfo};
use media_hub::{Fault, Outcome, Step};

use crate::config::Media;
use crate::faults;

use super::elementary::Elementary;
use super::need::Need;
use super::reports::{LossMeter, Reports, Tie, clock_ahead};
use super::side::{self, SideSound};
use super::source::{Rules, SourceRule, Verdict};

/// Packets held for order repair.
const WINDOW: usize = 256;
/// Packets kept until it is known what they are.
const MAX_UNKNOWN: usize = 128;
/// Without any picture for so long, the sound goes through alone.
const SOUND_ALONE: Duration = Duration::from_secs(3);
/// At most this many results wait.
const MAX_OUT: usize = 1024;

/// What the session must do.
#[derive(Debug)]
pub enum Out {
    Note(Step, Outcome, String),
    Tracks(Vec<TrackInfo>),
    Frame(Frame),
    /// The sender started anew: the time line is another.
    Epoch,
    /// Frames flow, and yet something is wrong with them; none: no more. Means nothing where the sender may be slow on purpose.
    Warn(Option<Fault>),
}

#[derive(Debug)]
struct Packet {
    /// Sound of a payload type of its own.
    side: Option<Codec>,
    payload: Bytes,
    timestamp: u32,
    marker: bool,
    received: Instant,
}

/// Time limits of a session.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub first_packet: u32,
    pub loss: u32,
    pub first_key: u32,
    pub reorder: Duration,
}

impl Limits {
    pub fn of(media: &Media) -> Limits {
        Limits {
            first_packet: media.first_packet,
            loss: media.loss,
            first_key: media.first_key,
            reorder: Duration::from_millis(u64::from(media.reorder_wait)),
        }
    }
}

/// The receiving side of one session.
pub struct Receiver {
    limits: Limits,
    port: u16,
    began: Instant,
    source: SourceRule,
    aside: Option<(u32, u16, Packet)>,
    reorder: Reorder<Packet>,
    /// The answer's payload types, and the one that carries the pictures once seen.
    formats: Vec<RtpMap>,
    main_type: Option<u8>,
    /// Sound beside the pictures; the reorder is for one with an SSRC of its own.
    side: Option<SideSound>,
    side_reorder: Reorder<Packet>,
    ties: [Option<Tie>; 2],
    reports: Reports,
    ours: u32,
    meter: Option<LossMeter>,
    /// The first packets, until it is known what they are: those of a bare stream hold its first key frame.
    unknown: Vec<Packet>,
    /// Stamp (90 kHz) and arrival of the last picture.
    shown: Option<(i64, Instant)>,
    ps: PsDemuxer,
    elementary: Option<Elementary>,
    out: VecDeque<Out>,
    video: Option<TrackInfo>,
    audio: Option<TrackInfo>,
    /// First and last packet taken, and last frame given.
    first: Option<Instant>,
    last: Option<Instant>,
    last_frame: Option<Instant>,
    key_seen: bool,
    /// A decoder stands still until the next key frame.
    needs_key: bool,
    demuxed: bool,
    sets_seen: bool,
    first_bytes: String,
    stranger_bytes: String,
    not_rtp: u64,
    taken: u64,
    lost: u64,
    key_asked: u32,
    fatal: Option<Fault>,
    need: Need,
    /// The SSRC before the last change, and how many packets had been refused for theirs by the last packet taken.
    ssrc_before: Option<u32>,
    refused_at: u64,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(12).map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

impl Receiver {
    /// `began`: when the device answered (or the connection stood).
    pub fn new(limits: Limits, rules: Rules, encoding: GbEncoding, port: u16, began: Instant) -> Receiver {
        let elementary = match encoding {
            GbEncoding::H264 => Some(Elementary::new(Codec::H264)),
            GbEncoding::H265 => Some(Elementary::new(Codec::H265)),
            _ => None,
        };
        Receiver {
            limits,
            port,
            began,
            source: SourceRule::new(rules),
            aside: None,
            reorder: Reorder::new(WINDOW, limits.reorder),
            formats: Vec::new(),
            main_type: None,
            side: None,
            side_reorder: Reorder::new(WINDOW, limits.reorder),
            ties: [None; 2],
            reports: Reports::default(),
            ours: rand::random(),
            meter: None,
            shown: None,
            unknown: Vec::new(),
            ps: PsDemuxer::new(),
            elementary,
            out: VecDeque::new(),
            video: None,
            audio: None,
            first: None,
            last: None,
            last_frame: None,
            key_seen: false,
            needs_key: false,
            demuxed: false,
            sets_seen: false,
            first_bytes: String::new(),
            stranger_bytes: String::new(),
            not_rtp: 0,
            taken: 0,
            lost: 0,
            key_asked: 0,
            fatal: None,
            need: Need::new(),
            ssrc_before: None,
            refused_at: 0,
        }
    }

    /// The payload types of the answer: what a number means that is no picture.
    pub fn with_formats(mut self, formats: &[RtpMap]) -> Receiver {
        self.formats = formats.iter().take(16).cloned().collect();
        self
    }

    /// Measures loss over so many seconds, for [`Receiver::loss_percent`].
    pub fn with_meter(mut self, window: u32) -> Receiver {
        self.meter = Some(LossMeter::new(window));
        self
    }

    /// Loss in percent once it was measured for the whole window.
    pub fn loss_percent(&mut self, now: Instant) -> Option<f64> {
        // Those that were lost are not among those taken.
        let (taken, lost) = (self.taken, self.lost);
        self.meter.as_mut()?.look(taken, lost, now)
    }

    /// The receiver report that is due, and where the device reports from if that is known.
    pub fn due_report(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.first?;
        self.reports.due(self.ours, now)
    }

    /// Where the followed media comes from.
    pub fn followed_source(&self) -> Option<SocketAddr> {
        self.source.followed().map(|(from, _)| from)
    }

    /// RTCP of the device: sender reports tie its clocks together.
    pub fn rtcp(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        if self.source.followed().is_none_or(|(followed, _)| followed.ip() != from.ip()) {
            return;
        }
        for tie in self.reports.rtcp(data, now) {
            let main = self.reorder.ssrc() == Some(tie.ssrc);
            let side = self.side_reorder.ssrc() == Some(tie.ssrc);
            if main && self.last_frame.is_some() {
                let ahead = clock_ahead(&tie, std::time::SystemTime::now());
                if self.ties[0].is_none() {
                    self.note(
                        Step::Live,
                        Outcome::Ok,
                        format!("by its sender reports the device's clock is {ahead} ms ahead of ours"),
                    );
                }
            }
            if main || side {
                self.ties[usize::from(!main)] = Some(tie);
                self.tie_together(now);
            }
        }
    }

    /// Picture and sound with sender reports of their own: equal wall times get equal stamps.
    fn tie_together(&mut self, now: Instant) {
        let ([Some(video), Some(sound)], Some(side)) = (self.ties, &mut self.side) else { return };
        let (Some((shown, at)), Some(heard)) = (self.shown, side.stamp_of(sound.rtp)) else { return };
        // RTP stamps are the low 32 bits of the PTS, unless the device does otherwise: then they are of no use here.
        let expected = shown + (now.saturating_duration_since(at).as_micros() as i64) * 9 / 100;
        let seen = expected + i64::from(video.rtp.wrapping_sub(expected as u32) as i32);
        if (seen - expected).abs() > 10 * 90_000 {
            return;
        }
        let should = seen + (sound.wall_ms - video.wall_ms) * 90;
        let shift = should - heard;
        // Below 20 ms nobody hears it; beyond 3 s one of the clocks is wrong.
        if (1_800..270_000).contains(&shift.abs()) {
            side.shift(shift);
        }
    }

    pub fn poll(&mut self) -> Option<Out> {
        self.out.pop_front()
    }

    /// Packets taken, lost, refused for SSRC, refused for address, no RTP, PS errors.
    pub fn counts(&self) -> [u64; 6] {
        let s = &self.source;
        [self.taken, self.lost, s.refused_ssrc, s.refused_source, self.not_rtp, self.ps.stats().errors]
    }

    /// Whether the device should be asked for a key frame, again and again until one comes.
    pub fn needs_key(&self) -> bool {
        self.needs_key
    }

    /// The session asked the device for a key frame.
    pub fn asked_key(&mut self) {
        self.key_asked += 1;
    }

    fn emit(&mut self, out: Out) {
        if self.out.len() < MAX_OUT {
            self.out.push_back(out);
        }
    }

    fn note(&mut self, step: Step, outcome: Outcome, text: String) {
        self.emit(Out::Note(step, outcome, text));
    }

    /// One datagram, or one packet of the connection.
    pub fn packet(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        if is_rtcp(data) {
            self.rtcp(now, from, data);
            return;
        }
        let rtp = match RtpPacket::parse(data) {
            Ok(rtp) => rtp,
            Err(_) => {
                self.not_rtp += 1;
                if self.stranger_bytes.is_empty() {
                    self.stranger_bytes = hex(data);
                    if self.first.is_none() {
                        self.note(
                            Step::FirstPacket,
                            Outcome::Failed,
                            format!("no RTP from {from}: {}", self.stranger_bytes),
                        );
                    }
                }
                return;
            }
        };
        let side = self.side_codec(rtp.payload_type, rtp.payload);
        let packet = Packet {
            side,
            payload: Bytes::copy_from_slice(rtp.payload),
            timestamp: rtp.timestamp,
            marker: rtp.marker,
            received: now,
        };
        let before = self.source.followed();
        match self.source.judge(from, rtp.ssrc, rtp.sequence, now) {
            Verdict::Take => {}
            Verdict::Follow => self.followed(now, from, rtp.ssrc, before.map(|b| b.0), &packet),
            Verdict::Learned => {
                self.followed(now, from, rtp.ssrc, before.map(|b| b.0), &packet);
                if let Some((ssrc, sequence, first)) = self.aside.take() {
                    self.take(now, ssrc, sequence, first);
                }
            }
            Verdict::Candidate => {
                self.aside = Some((rtp.ssrc, rtp.sequence, packet));
                return;
            }
            Verdict::Ssrc => {
                let text = format!("{:010} in place of {:010}: refused", rtp.ssrc, self.source.rules().ssrc);
                if self.source.refused_ssrc == 1 {
                    self.note(Step::Ssrc, Outcome::Failed, text);
                }
                return;
            }
            Verdict::Elsewhere => {
                if self.source.refused_source == 1 && self.first.is_none() {
                    self.note(Step::SourceAddress, Outcome::Failed, format!("{from} is not the device: refused"));
                }
                return;
            }
        }
        let rate = if side.is_some() { 8_000 } else { 90_000 };
        self.reports.packet(rtp.ssrc, rtp.sequence, rtp.timestamp, rate, self.began, now);
        if side.is_some() && self.reorder.ssrc() != Some(rtp.ssrc) {
            // An SSRC of its own has numbers of its own. Sound without any picture waits as it does inside a program stream.
            let waited = self.first.is_some_and(|f| now.saturating_duration_since(f) >= SOUND_ALONE);
            if self.reorder.ssrc().is_some() || waited {
                self.last = Some(now);
                self.side_reorder.push(rtp.ssrc, rtp.sequence, now, packet);
                self.drain(now);
            }
            return;
        }
        if self.taken > 0 && self.reorder.ssrc().is_some_and(|s| s != rtp.ssrc) {
            let before = self.reorder.ssrc().unwrap_or(0);
            if self.ssrc_before.replace(rtp.ssrc) != Some(rtp.ssrc) {
                let text = format!("ssrc_changed: {before:010} to {:010} during the session, followed", rtp.ssrc);
                self.note(Step::Ssrc, Outcome::Ok, text);
            }
        }
        self.take(now, rtp.ssrc, rtp.sequence, packet);
        self.drain(now);
    }

    /// The codec of sound that has a payload type of its own; none for what carries the pictures.
    fn side_codec(&mut self, payload_type: u8, payload: &[u8]) -> Option<Codec> {
        if self.main_type == Some(payload_type) {
            return None;
        }
        let codec = side::codec_of(payload_type, &self.formats).filter(|_| !payload.starts_with(&[0, 0, 1, 0xBA]));
        if codec.is_none() && self.main_type.is_none() {
            self.main_type = Some(payload_type);
        }
        codec
    }

    /// Sound of a payload type of its own.
    fn side_sound(&mut self, codec: Codec, p: &Packet) {
        if self.side.as_ref().is_none_or(|s| s.codec() != codec) {
            self.side = Some(SideSound::new(codec));
            self.silent_unless_decodable(codec);
        }
        let expected = match self.shown {
            Some((pts, at)) => pts + (p.received.saturating_duration_since(at).as_micros() as i64) * 9 / 100,
            None => (p.received.saturating_duration_since(self.began).as_micros() as i64) * 9 / 100,
        };
        let frames = match &mut self.side {
            Some(side) => side.push(&p.payload, p.timestamp, p.received, expected),
            None => Vec::new(),
        };
        for frame in frames {
            self.sound(frame);
        }
    }

    /// Sound that cannot be decoded is a track without frames: whoever shows the stream sees why it is silent.
    fn silent_unless_decodable(&mut self, codec: Codec) {
        if codec.decoding() == Decoding::Nowhere {
            self.note(Step::Demuxed, Outcome::Ok, format!("picture only: no decoder for its sound, {codec}"));
            self.demuxed = true;
            self.audio = Some(TrackInfo::audio(codec, 8000, 1));
            self.tracks();
        }
    }

    /// The first packet of the followed source.
    fn followed(&mut self, now: Instant, from: SocketAddr, ssrc: u32, before: Option<SocketAddr>, packet: &Packet) {
        if self.first.is_none() {
            self.first = Some(now);
            self.first_bytes = hex(&packet.payload);
            let after = now.saturating_duration_since(self.began).as_millis();
            self.note(
                Step::FirstPacket,
                Outcome::Ok,
                format!("from {from} after {after} ms, begins {}", self.first_bytes),
            );
        }
        let expected = self.source.rules().ssrc;
        let text = if ssrc == expected {
            format!("{ssrc:010} as agreed")
        } else {
            format!("learned {ssrc:010} in place of {expected:010}")
        };
        self.note(Step::Ssrc, Outcome::Ok, text);
        let text = match before {
            Some(old) => format!("moved from {old} to {from}"),
            None if self.source.known(from.ip()) => format!("{from}, the device's address"),
            None => format!("learned {from}, which is none of the device's addresses {:?}", self.source.rules().device),
        };
        self.note(Step::SourceAddress, Outcome::Ok, text);
    }

    fn take(&mut self, now: Instant, ssrc: u32, sequence: u16, packet: Packet) {
        self.taken += 1;
        self.last = Some(now);
        self.refused_at = self.source.refused_ssrc;
        self.need.packet(now, packet.payload.len(), packet.timestamp);
        // Doubles and late ones are counted by the order repair.
        self.reorder.push(ssrc, sequence, now, packet);
    }

    /// Gives up gaps that are too old. Call at [`Receiver::next_timeout`].
    pub fn tick(&mut self, now: Instant) {
        self.drain(now);
        if self.need.tick(now) {
            let fault = self.need.short().map(|s| faults::rate_under_need(s.got_kbit, s.need_kbit, s.lost_percent));
            self.emit(Out::Warn(fault));
        }
    }

    fn drain(&mut self, now: Instant) {
        while let Some(ordered) = self.reorder.poll(now) {
            match ordered {
                Ordered::Packet { item, .. } => self.payload(item),
                Ordered::Lost { count, .. } => {
                    self.lost += count;
                    self.need.lost(count);
                    match &mut self.elementary {
                        Some(e) => e.lost(),
                        None => self.ps.lost(),
                    }
                }
                Ordered::Reset => {
                    match &mut self.elementary {
                        Some(e) => e.lost(),
                        None => self.ps.reset(),
                    }
                    self.main_type = None;
                    self.unknown.clear();
                    self.shown = None;
                    self.emit(Out::Epoch);
                    self.needs_key = true;
                    self.need.reset();
                }
            }
            self.events();
        }
        while let Some(ordered) = self.side_reorder.poll(now) {
            if let Ordered::Packet { item, .. } = ordered
                && let Some(codec) = item.side
            {
                self.side_sound(codec, &item);
            }
        }
    }

    fn payload(&mut self, p: Packet) {
        if let Some(codec) = p.side {
            self.side_sound(codec, &p);
            return;
        }
        let Some(e) = &mut self.elementary else {
            self.ps.push(&p.payload, p.timestamp, p.marker, p.received);
            if self.demuxed || self.ps.stats().packs > 0 || self.unknown.len() >= MAX_UNKNOWN {
                self.unknown = Vec::new();
            } else {
                self.unknown.push(p);
            }
            return;
        };
        e.push(&p.payload, p.timestamp, p.marker, p.received);
        self.needs_key |= e.waits_for_key();
        while let Some(picture) = self.elementary.as_mut().and_then(Elementary::poll) {
            self.picture(picture);
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.ps.poll() {
            match event {
                PsEvent::Video(v) => self.picture(v),
                PsEvent::Audio(a) => self.sound(a),
                PsEvent::Psm(map) => {
                    let streams: Vec<String> =
                        map.streams.iter().map(|s| format!("{:02x}:{:02x}", s.stream_id, s.stream_type)).collect();
                    self.demuxed = true;
                    self.note(Step::Demuxed, Outcome::Ok, format!("program stream, map {}", streams.join(" ")));
                }
                PsEvent::Dropped { reason: DropReason::Unsupported(what), .. } => {
                    // Only pictures decide; an unknown sound leaves a silent picture.
                    if self.ps.stats().video_codec.is_none() && self.fatal.is_none() && !self.key_seen {
                        self.note(Step::Demuxed, Outcome::Failed, format!("unsupported: {what}"));
                        if matches!(what, "MPEG-4" | "SVAC" | "MPEG-2 video") {
                            self.fatal = Some(faults::codec_not_supported(what));
                        }
                    }
                }
                PsEvent::Dropped { reason: DropReason::Loss | DropReason::WaitingForKey, .. } => self.needs_key = true,
                PsEvent::Dropped { .. } => {}
                PsEvent::Silent(codec) => self.silent_unless_decodable(codec),
                PsEvent::Sniffed(Sniffed::Ts) => {
                    self.note(Step::Demuxed, Outcome::Ok, "MPEG-TS under the label of a program stream".into());
                    self.demuxed = true;
                }
                PsEvent::Sniffed(Sniffed::Es(codec)) => {
                    self.note(Step::Demuxed, Outcome::Ok, format!("no container: {codec} in RTP"));
                    self.elementary = Some(Elementary::new(codec));
                    self.demuxed = true;
                    for packet in std::mem::take(&mut self.unknown) {
                        self.payload(packet);
                    }
                    self.needs_key |= !self.key_seen;
                }
                PsEvent::Sniffed(Sniffed::Private) => {
                    self.note(
                        Step::Demuxed,
                        Outcome::Failed,
                        format!("no pack header in 64 KiB, begins {}", self.first_bytes),
                    );
                }
            }
        }
    }

    fn picture(&mut self, v: PsVideo) {
        if !self.demuxed {
            self.demuxed = true;
            let form = if self.elementary.is_some() { "elementary stream" } else { "program stream without map" };
            self.note(Step::Demuxed, Outcome::Ok, format!("{form}, {}", v.codec));
        }
        if !self.sets_seen && v.width > 0 {
            self.sets_seen = true;
            self.note(Step::ParameterSets, Outcome::Ok, format!("{} {}x{}", v.codec, v.width, v.height));
        }
        self.needs_key &= !v.key;
        if v.key && !self.key_seen {
            self.key_seen = true;
            let after = v.received.saturating_duration_since(self.began).as_millis();
            self.note(Step::FirstKeyFrame, Outcome::Ok, format!("{} bytes after {after} ms", v.payload.len()));
        }
        let track = TrackInfo { width: v.width, height: v.height, ..TrackInfo::video(v.codec) };
        if self.video.as_ref() != Some(&track) {
            self.video = Some(track);
            self.tracks();
        }
        self.last_frame = Some(v.received);
        self.need.picture(v.received, v.pts);
        if self.shown.replace((v.pts, v.received)).is_none()
            && let Some(side) = &mut self.side
        {
            // Placed without a picture to go by: now there is one.
            side.place_anew();
        }
        self.emit(Out::Frame(Frame::new(TrackId::VIDEO, v.codec, v.pts, v.key, v.received, v.payload)));
    }

    fn sound(&mut self, a: PsAudio) {
        // Sound alone would look like a stream that works: it waits for the first picture, unless there is none at all.
        let alone = self.first.is_some_and(|f| a.received.saturating_duration_since(f) >= SOUND_ALONE);
        if !(self.key_seen || alone && self.ps.stats().video_pes == 0) {
            return;
        }
        let track = TrackInfo { config: a.config, ..TrackInfo::audio(a.codec, a.clock_rate, a.channels) };
        if self.audio.as_ref() != Some(&track) {
            self.audio = Some(track);
            self.tracks();
        }
        let ticks = a.codec.samples(a.payload.len());
        self.last_frame = Some(a.received);
        self.emit(Out::Frame(
            Frame::new(TrackId::AUDIO, a.codec, a.pts, true, a.received, a.payload).with_duration(ticks),
        ));
    }

    fn tracks(&mut self) {
        let tracks = self.video.iter().chain(&self.audio).cloned().collect();
        self.emit(Out::Tracks(tracks));
    }

    /// When to call [`Receiver::tick`] and [`Receiver::judge`] at the latest.
    pub fn next_timeout(&self, now: Instant) -> Instant {
        let second = now + Duration::from_millis(500);
        let due = [self.reorder.next_timeout(), self.side_reorder.next_timeout(), self.reports.next_timeout()];
        due.into_iter().flatten().fold(second, Instant::min)
    }

    /// What is wrong by now, named by what was seen on the wire.
    pub fn judge(&self, now: Instant) -> Result<(), Fault> {
        if let Some(fault) = &self.fatal {
            return Err(fault.clone());
        }
        let over =
            |since: Instant, limit: u32| now.saturating_duration_since(since) >= Duration::from_secs(u64::from(limit));
        let Some(last) = self.last else {
            return if over(self.began, self.limits.first_packet) { Err(self.nothing_taken()) } else { Ok(()) };
        };
        if over(last, self.limits.loss) {
            let refused = self.source.refused_ssrc - self.refused_at;
            if let Some(now) = self.source.last_stranger.filter(|_| refused > 0) {
                return Err(faults::ssrc_changed(self.source.rules().ssrc, now, refused));
            }
            return Err(faults::media_lost(self.limits.loss, self.taken));
        }
        match (self.last_frame, self.first) {
            (None, Some(first)) if over(first, self.limits.first_key) => Err(self.nothing_read()),
            // Packets come, but nothing in them has been of use for long.
            (Some(frame), _) if over(frame, self.limits.loss.max(self.limits.first_key)) => Err(self.nothing_read()),
            _ => Ok(()),
        }
    }

    /// No packet was taken: for which of the reasons?
    fn nothing_taken(&self) -> Fault {
        let s = &self.source;
        let aside = u64::from(self.aside.is_some());
        if self.not_rtp > 0 && self.not_rtp >= s.refused_ssrc + s.refused_source {
            faults::not_rtp(self.not_rtp, &self.stranger_bytes)
        } else if let Some(from) = s.last_elsewhere.filter(|_| s.refused_source > s.refused_ssrc + aside) {
            let device: Vec<String> = s.rules().device.iter().map(ToString::to_string).collect();
            faults::media_from_elsewhere(&device.join(", "), &from.to_string(), s.refused_source)
        } else if let Some(seen) = s.last_stranger {
            faults::wrong_ssrc(s.rules().ssrc, seen, s.refused_ssrc + aside)
        } else {
            faults::no_media(self.limits.first_packet, self.port)
        }
    }

    /// Packets were taken, and no frame came of them: for which of the reasons?
    fn nothing_read(&self) -> Fault {
        let stats = self.ps.stats();
        // With so much lost no picture can be whole: what is missing is missing for that reason.
        if self.lost * 10 > self.taken {
            let seconds = self.first.zip(self.last).map_or(1.0, |(f, l)| (l - f).as_secs_f64()).max(1.0);
            let all = self.taken + self.lost;
            // Packets of the usual size: what was lost is not known.
            let kbit = |packets: u64| (packets as f64 * 1400.0 * 8.0 / 1000.0 / seconds) as u64;
            return faults::rate_under_need(kbit(self.taken), kbit(all), (self.lost * 100 / all.max(1)) as u32);
        }
        let (held, sets) = match &self.elementary {
            Some(e) => (e.held, e.has_parameter_sets()),
            None => (stats.held, stats.parameter_sets),
        };
        if held > 0 && !sets {
            faults::no_parameter_sets(held)
        } else if held > 0 {
            faults::no_key_frame(held, self.key_asked)
        } else if stats.frames > 0 {
            faults::no_key_frame(stats.dropped_frames, self.key_asked)
        } else {
            faults::ps_undecodable(self.taken, stats.errors, &self.first_bytes)
        }
    }

    /// The bytes of the connection were no RTP.
    pub fn framing_failed(&self, detail: &str) -> Fault {
        faults::bad_framing(&format!("{} RTP packets before, {detail}", self.taken))
    }
}

#[cfg(test)]
#[path = "receiver_tests.rs"]
mod tests;
