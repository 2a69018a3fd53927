//! MPEG program stream as GB/T 28181 devices send it: an incremental, bounded demuxer that forgives what the field does
//! (gb28181.md 17.4). RTP payloads go in, whole access units come out.

use std::collections::VecDeque;
use std::time::Instant;

use crate::codec::{Codec, Decoding};
use crate::nal::{MAX_ACCESS_UNIT, annexb_nals, find_start_code};
use crate::ps_clock::PsClock;
use crate::ps_end::PictureEnd;
use crate::ps_pes::{find_system_code, pes_header, repack};
use crate::ps_track::{AudioTrack, VideoTrack};
use crate::psm::{Psm, PsmStream, StreamKind};
use crate::ts::TsDemuxer;

pub use crate::ps_types::{DropReason, PsAudio, PsEvent, PsProblem, PsStats, PsVideo, Sniffed, StreamForm, sniff};

/// Events waiting to be polled; more are dropped and counted.
const MAX_EVENTS: usize = 512;
/// Payload changes remembered per buffered byte range.
const MAX_MARKS: usize = 8192;
/// Markers believed after this many in a row were right.
const TRUST: u32 = 3;

#[derive(Debug, Clone, Copy)]
struct Mark {
    offset: u64,
    timestamp: u32,
    received: Instant,
}

/// Bytes of one picture (or several with one stamp), as Annex B.
#[derive(Debug, Default)]
struct Group {
    data: Vec<u8>,
    pts: Option<u64>,
    timestamp: u32,
    received: Option<Instant>,
    /// A pack header came since the last video PES.
    new_pack: bool,
    at: u64,
    /// Media time, once given.
    stamp: Option<i64>,
}

/// What one look at the buffer found.
enum Step {
    /// Go on at this distance.
    Take(usize),
    /// Wait for more bytes.
    More,
}

/// The demuxer. Push payloads in sequence order, call `lost` where packets are missing, poll until None after each push.
#[derive(Debug)]
pub struct PsDemuxer {
    buf: Vec<u8>,
    pos: usize,
    base: u64,
    scan: usize,
    marks: VecDeque<Mark>,
    synced: bool,
    /// The element before the present position was video: stray bytes belong to it.
    after_video: bool,
    at_marker: bool,
    last_marker: Option<bool>,
    trust: u32,
    marker_bad: bool,
    /// The group ended by marker (true) or by what was learned of packet ends: (pts, timestamp, which).
    ended_by: Option<(Option<u64>, u32, bool)>,
    end: PictureEnd,
    /// Bytes of the last video PES.
    last_pes: usize,
    ts: Option<Box<TsDemuxer>>,
    silent_told: Option<Codec>,
    group: Group,
    video: VideoTrack,
    video_id: Option<(u8, Instant)>,
    audio: AudioTrack,
    audio_id: Option<(u8, Instant)>,
    psm: Option<Psm>,
    clock: PsClock,
    foreign: Option<Sniffed>,
    es_seen: u32,
    hold: bool,
    waiting: bool,
    unsupported_told: [bool; 2],
    events: VecDeque<PsEvent>,
    stats: PsStats,
}

impl Default for PsDemuxer {
    fn default() -> Self {
        Self::new()
    }
}

impl PsDemuxer {
    pub fn new() -> Self {
        PsDemuxer {
            buf: Vec::new(),
            pos: 0,
            base: 0,
            scan: 0,
            marks: VecDeque::new(),
            synced: false,
            after_video: false,
            at_marker: false,
            last_marker: None,
            trust: 0,
            marker_bad: false,
            ended_by: None,
            end: PictureEnd::default(),
            last_pes: 0,
            ts: None,
            silent_told: None,
            group: Group::default(),
            video: VideoTrack::default(),
            video_id: None,
            audio: AudioTrack::default(),
            audio_id: None,
            psm: None,
            clock: PsClock::default(),
            foreign: None,
            es_seen: 0,
            hold: true,
            waiting: false,
            unsupported_told: [false; 2],
            events: VecDeque::new(),
            stats: PsStats::default(),
        }
    }

    /// Whether pictures before the first key frame are held back (default true).
    pub fn hold_until_key(mut self, hold: bool) -> Self {
        self.hold = hold;
        self
    }

    /// The audio codec of SDP, used when no stream map tells one.
    pub fn with_audio_hint(mut self, codec: Codec) -> Self {
        self.audio.hint = Some(codec);
        self
    }

    /// Also takes I pictures without IDR as key frames; see [`crate::nal::AuAssembler::with_recovery_keys`].
    pub fn with_recovery_keys(mut self, on: bool) -> Self {
        self.video.recovery_keys = on;
        self
    }

    pub fn stats(&self) -> PsStats {
        PsStats {
            rebases: self.clock.rebases,
            parameter_sets: self.video.has_parameter_sets(),
            video_codec: self.video.codec(),
            audio_codec: self.audio.codec(),
            ..self.stats
        }
    }

    /// Starts anew but keeps codecs, parameter sets, the clock and the counters (sender restarted).
    pub fn reset(&mut self) {
        self.drop_group(None);
        self.skip_all();
        self.synced = false;
        self.foreign = None;
        self.last_marker = None;
        self.trust = 0;
        self.marker_bad = false;
        self.end.reset();
        self.ts = None;
        self.es_seen = 0;
        self.audio.carry.clear();
    }

    /// RTP packets are missing here: goes on at the next pack header.
    pub fn lost(&mut self) {
        self.stats.losses += 1;
        self.drop_group(Some(DropReason::Loss));
        self.skip_all();
        self.synced = false;
        self.last_marker = None;
        self.end.lost();
        if let Some(ts) = &mut self.ts {
            ts.lost();
        }
        self.audio.carry.clear();
    }

    pub fn poll(&mut self) -> Option<PsEvent> {
        self.events.pop_front()
    }

    /// One RTP payload.
    pub fn push(&mut self, payload: &[u8], rtp_timestamp: u32, marker: bool, received: Instant) {
        self.stats.packets += 1;
        self.stats.bytes += payload.len() as u64;
        if payload.is_empty() {
            return;
        }
        if self.stats.packs == 0 && self.foreign.is_none() {
            self.sniff(payload);
        }
        if self.ts.is_some() {
            self.transport(payload, rtp_timestamp, received);
            return;
        }
        // A marker is right when a pack or an audio PES begins right behind it.
        if self.last_marker == Some(true) {
            match payload {
                [0, 0, 1, 0xBA | 0xC0..=0xDF, ..] => self.trust += 1,
                _ => self.trust = 0,
            }
        }
        self.last_marker = Some(marker);
        self.end.next(payload, self.group.pts.or(self.ended_by.and_then(|e| e.0)));
        let by_marker = marker && self.trust >= TRUST && !self.marker_bad;
        self.feed(payload, rtp_timestamp, received, by_marker);
        let whole = self.synced && self.pos == self.buf.len() && !self.group.data.is_empty();
        if whole && by_marker {
            self.ended_by = Some((self.group.pts, self.group.timestamp, true));
            self.finish_group();
        } else if whole && self.end.ended(self.last_pes) {
            self.ended_by = Some((self.group.pts, self.group.timestamp, false));
            self.finish_group();
        }
    }

    /// Bytes of the program stream; `ends`: a picture ends with them.
    fn feed(&mut self, bytes: &[u8], rtp_timestamp: u32, received: Instant, ends: bool) {
        if self.pos > 0 {
            self.buf.drain(..self.pos);
            self.base += self.pos as u64;
            self.scan = self.scan.saturating_sub(self.pos);
            self.pos = 0;
            while self.marks.len() > 1 && self.marks[1].offset <= self.base {
                self.marks.pop_front();
            }
        }
        if self.marks.len() < MAX_MARKS {
            self.marks.push_back(Mark {
                offset: self.base + self.buf.len() as u64,
                timestamp: rtp_timestamp,
                received,
            });
        }
        self.buf.extend_from_slice(bytes);
        self.at_marker = ends;
        self.run();
        self.at_marker = false;
    }

    /// A transport stream: its PES packets are read as those of a program stream.
    fn transport(&mut self, payload: &[u8], rtp_timestamp: u32, received: Instant) {
        let Some(mut ts) = self.ts.take() else { return };
        ts.push(payload);
        let mut bytes = Vec::new();
        if let Some([video, audio]) = ts.changed_map() {
            let line = |stream_type, stream_id| (stream_type != 0).then_some(PsmStream { stream_type, stream_id });
            let streams: Vec<PsmStream> = line(video, 0xE0).into_iter().chain(line(audio, 0xC0)).collect();
            if !streams.is_empty() {
                bytes.extend_from_slice(&[0, 0, 1, 0xBA]);
                Psm { version: 1, streams }.write(&mut bytes);
                self.feed(&bytes, rtp_timestamp, received, false);
            }
        }
        while let Some(pes) = ts.poll() {
            bytes.clear();
            bytes.extend_from_slice(&[0, 0, 1, 0xBA]);
            repack(&pes.data, if pes.video { 0xE0 } else { 0xC0 }, &mut bytes);
            let ends = pes.video && !self.marker_bad;
            self.feed(&bytes, rtp_timestamp, received, ends);
            if ends && !self.group.data.is_empty() {
                self.ended_by = Some((self.group.pts, self.group.timestamp, true));
                self.finish_group();
            }
        }
        self.ts = Some(ts);
    }

    /// End of the stream: gives out what is whole.
    pub fn flush(&mut self) {
        if let Some(ts) = &mut self.ts {
            ts.flush();
            let (stamp, at) = self.marks.back().map_or((0, None), |m| (m.timestamp, Some(m.received)));
            if let Some(at) = at {
                self.transport(&[], stamp, at);
            }
        }
        self.at_marker = true;
        self.run();
        self.at_marker = false;
        self.finish_group();
        self.skip_all();
    }

    fn event(&mut self, e: PsEvent) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(e);
        } else {
            self.stats.events_dropped += 1;
        }
    }

    fn here(&self) -> u64 {
        self.base + self.pos as u64
    }

    fn error(&mut self, what: &'static str) {
        self.stats.errors += 1;
        self.stats.last_error = Some(PsProblem { what, at: self.here() });
    }

    fn skip_all(&mut self) {
        self.base += self.buf.len() as u64;
        self.buf.clear();
        self.marks.clear();
        self.pos = 0;
        self.scan = 0;
        self.after_video = false;
    }

    fn sniff(&mut self, payload: &[u8]) {
        match sniff(payload) {
            Some(StreamForm::Ts) => {
                self.foreign = Some(Sniffed::Ts);
                self.ts = Some(Box::default());
            }
            Some(StreamForm::Es(codec)) => {
                self.es_seen += 1;
                if self.es_seen >= 3 {
                    self.foreign = Some(Sniffed::Es(codec));
                }
            }
            Some(StreamForm::Ps) => return,
            None => {}
        }
        if self.foreign.is_none() && self.stats.bytes > 65_536 {
            self.foreign = Some(Sniffed::Private);
        }
        if let Some(s) = self.foreign {
            self.event(PsEvent::Sniffed(s));
        }
    }

    fn mark_at(&self, offset: u64) -> Option<Mark> {
        let i = self.marks.partition_point(|m| m.offset <= offset);
        self.marks.get(i.saturating_sub(1)).copied()
    }

    fn run(&mut self) {
        loop {
            if !self.synced {
                let from = self.pos;
                let mut at = from;
                loop {
                    match find_start_code(&self.buf, at) {
                        Some(i) if self.buf.get(i + 3) == Some(&0xBA) => {
                            self.synced = true;
                            self.pos = i;
                            break;
                        }
                        Some(i) if i + 3 < self.buf.len() => at = i + 3,
                        _ => {
                            self.pos = self.buf.len().saturating_sub(3).max(from);
                            return;
                        }
                    }
                }
            }
            if self.pos >= self.buf.len() {
                return;
            }
            match self.element() {
                Step::Take(n) => {
                    self.pos += n;
                    self.scan = self.pos;
                }
                Step::More => return,
            }
        }
    }

    /// Handles what stands at `pos`.
    fn element(&mut self) -> Step {
        let b = &self.buf[self.pos..];
        if b.len() < 4 {
            return Step::More;
        }
        if b[..3] != [0, 0, 1] || b[3] < 0xB9 {
            return self.stray();
        }
        match b[3] {
            0xBA => {
                if b.len() < 7 {
                    return Step::More;
                }
                let len = if b[4..7] == [0, 0, 1] {
                    4 // bare start code (Hikvision)
                } else if b[4] >> 6 == 1 {
                    match b.get(13) {
                        Some(stuffing) => 14 + usize::from(stuffing & 7),
                        None => return Step::More,
                    }
                } else if b[4] >> 4 == 2 {
                    12
                } else {
                    self.error("pack header with unknown marker bits");
                    4
                };
                if self.buf.len() - self.pos < len {
                    return Step::More;
                }
                self.stats.packs += 1;
                self.group.new_pack = true;
                self.after_video = false;
                Step::Take(len)
            }
            0xB9 => Step::Take(4),
            id => {
                let Some(len) = b.get(4..6).map(|l| usize::from(u16::from_be_bytes([l[0], l[1]]))) else {
                    return Step::More;
                };
                let video = (0xE0..=0xEF).contains(&id);
                if len == 0 {
                    return if video { self.unbounded(id) } else { Step::Take(6) };
                }
                let end = 6 + len;
                if b.len() < end {
                    return Step::More;
                }
                match id {
                    0xBB => Step::Take(end),
                    0xBC => {
                        self.map(end);
                        Step::Take(end)
                    }
                    0xC0..=0xEF => {
                        // A length too large swallows the next pack.
                        let cut = if video { find_system_code(&b[..end], 9, 0xBA).unwrap_or(end) } else { end };
                        if cut != end {
                            self.error("PES longer than its data: a pack header stands inside");
                        }
                        self.pes(id, cut);
                        Step::Take(cut)
                    }
                    _ => {
                        self.stats.private_pes += 1;
                        self.after_video = false;
                        Step::Take(end)
                    }
                }
            }
        }
    }

    /// Video PES of length 0: up to the next start code of the system layer.
    fn unbounded(&mut self, id: u8) -> Step {
        let from = self.scan.max(self.pos + 6);
        let end = match find_system_code(&self.buf, from, 0xB9) {
            Some(i) => i,
            None if self.at_marker => self.buf.len(),
            None => {
                self.scan = self.buf.len().saturating_sub(3).max(from);
                if self.buf.len() - self.pos > MAX_ACCESS_UNIT {
                    self.error("PES of length 0 over the limit");
                    self.drop_group(Some(DropReason::TooLarge));
                    self.synced = false;
                    return Step::Take(self.buf.len() - self.pos);
                }
                return Step::More;
            }
        };
        let len = end - self.pos;
        self.pes(id, len);
        Step::Take(len)
    }

    /// Bytes where a start code should be: zeros, the rest of a PES with too small a length, or rubbish.
    fn stray(&mut self) -> Step {
        let b = &self.buf[self.pos..];
        let zeros = b.iter().take_while(|x| **x == 0).count();
        if zeros > 2 && b.get(zeros) == Some(&1) || zeros == b.len() {
            let n = zeros.saturating_sub(2);
            return if n == 0 { Step::More } else { Step::Take(n) };
        }
        let from = self.scan.max(self.pos);
        let end = if self.at_marker { Some(self.buf.len()) } else { None };
        let Some(next) = find_system_code(&self.buf, from, 0xB9).or(end) else {
            self.scan = self.buf.len().saturating_sub(3).max(from);
            if self.buf.len() - self.pos > 512 * 1024 {
                self.error("no start code within 512 KiB");
                self.drop_group(Some(DropReason::Malformed));
                self.synced = false;
                return Step::Take(self.buf.len() - self.pos - 3);
            }
            return Step::More;
        };
        let len = next - self.pos;
        if self.after_video {
            self.error("PES shorter than its data");
            let range = self.pos..next;
            if self.group.data.len() + len <= MAX_ACCESS_UNIT {
                self.group.data.extend_from_slice(&self.buf[range]);
            }
        } else {
            self.error("bytes between PES packets");
        }
        Step::Take(len)
    }

    fn map(&mut self, end: usize) {
        self.stats.psm += 1;
        match Psm::parse(&self.buf[self.pos + 6..self.pos + end]) {
            Ok(psm) => {
                if self.psm.as_ref() != Some(&psm) && !psm.streams.is_empty() {
                    self.psm = Some(psm.clone());
                    self.unsupported_told = [false; 2];
                    self.event(PsEvent::Psm(psm));
                }
            }
            Err(e) => self.error(e.what),
        }
        self.after_video = false;
    }

    /// One PES of picture or sound, `len` bytes from `pos`.
    fn pes(&mut self, id: u8, len: usize) {
        let at = self.here();
        let (Some(first), Some(last)) = (self.mark_at(at), self.mark_at(at + len as u64 - 1)) else { return };
        let Some((pts, start)) = pes_header(&self.buf[self.pos..self.pos + len]) else {
            self.error("PES header longer than its packet");
            return;
        };
        let range = self.pos + start..self.pos + len;
        let video = id >= 0xE0;
        let slot = if video { &mut self.video_id } else { &mut self.audio_id };
        match slot {
            Some((have, seen)) if *have != id && last.received.saturating_duration_since(*seen).as_secs() < 5 => {
                self.stats.other_pes += 1;
                return;
            }
            _ => *slot = Some((id, last.received)),
        }
        if range.is_empty() {
            return;
        }
        if let Some(StreamKind::Unsupported(name)) = self.psm.as_ref().and_then(|p| p.find(id)) {
            let told = &mut self.unsupported_told[usize::from(!video)];
            if !std::mem::replace(told, true) {
                self.event(PsEvent::Dropped { reason: DropReason::Unsupported(name), at });
            }
            return;
        }
        if video {
            self.stats.video_pes += 1;
            self.after_video = true;
            self.last_pes = len;
            self.video_payload(pts, range, first.timestamp, last.received, at);
        } else {
            self.stats.audio_pes += 1;
            self.after_video = false;
            self.audio_payload(id, pts, range, first.timestamp, last.received);
        }
    }

    fn video_payload(
        &mut self,
        mut pts: Option<u64>,
        mut range: std::ops::Range<usize>,
        timestamp: u32,
        received: Instant,
        at: u64,
    ) {
        let mut straddling = Vec::new();
        let data = &self.buf[range.clone()];
        let starts_picture = || self.video.starts_picture(data);
        if self.group.data.is_empty() {
            // A marker that cut a picture in two must not be believed again.
            if let Some((p, t, marker)) = self.ended_by
                && (pts.is_none() || pts == p)
                && t == timestamp
                && self.video.codec().is_some()
                && !starts_picture()
            {
                if marker {
                    self.marker_bad = true;
                } else {
                    self.end.was_wrong();
                }
            }
            self.ended_by = None;
        } else {
            let g = &self.group;
            let other = match (pts, g.pts) {
                (Some(a), Some(b)) if a != b => true,
                (Some(_), Some(_)) => g.new_pack && self.video.has_slice(&g.data) && starts_picture(),
                (Some(_), None) => self.video.has_slice(&g.data) && (g.new_pack || starts_picture()),
                (None, _) if g.new_pack && g.timestamp != timestamp => data.starts_with(&[0, 0]),
                (None, _) => g.new_pack && self.video.has_slice(&g.data) && starts_picture(),
            };
            if other {
                // A stamp belongs to the first picture that begins in its PES: what stands before it ends the last one.
                if self.video.codec().is_none() {
                    let so_far = std::mem::take(&mut self.group.data);
                    self.settle_video(&so_far);
                    self.group.data = so_far;
                }
                let (data, tail) = (&self.buf[range.clone()], self.group.data.len().saturating_sub(3));
                match self.video.picture_start(&self.group.data[tail..], data) {
                    Some(0) => self.finish_group(),
                    Some(n) if n > 0 => {
                        let split = range.start + n as usize;
                        let rest = &self.buf[range.start..split];
                        self.group.data.extend_from_slice(rest);
                        self.group.received = Some(received);
                        range.start = split;
                        self.finish_group();
                    }
                    Some(n) => {
                        // The start code itself is cut in two.
                        let keep = self.group.data.len() - n.unsigned_abs();
                        straddling = self.group.data.split_off(keep);
                        self.finish_group();
                    }
                    None => pts = None,
                }
            }
        }
        let g = &mut self.group;
        if g.data.len() + range.len() > MAX_ACCESS_UNIT {
            self.error("picture over the limit of 8 MiB");
            self.drop_group(Some(DropReason::TooLarge));
            self.synced = false;
            return;
        }
        if g.data.is_empty() {
            g.pts = None;
            g.timestamp = timestamp;
            g.at = at;
            g.stamp = None;
        }
        g.pts = g.pts.or(pts);
        g.received = Some(received);
        g.new_pack = false;
        g.data.extend_from_slice(&straddling);
        g.data.extend_from_slice(&self.buf[range]);
    }

    fn settle_video(&mut self, data: &[u8]) {
        let declared = match (self.video_id, &self.psm) {
            (Some((id, _)), Some(p)) => match p.find(id) {
                Some(StreamKind::Codec(c)) => Some(c),
                _ => None,
            },
            _ => None,
        };
        if self.video.settle(declared, data) {
            self.stats.psm_wrong += 1;
        }
    }

    /// Cuts the collected bytes into access units and gives them out.
    fn finish_group(&mut self) {
        let Some(received) = self.group.received.take() else { return };
        let mut data = std::mem::take(&mut self.group.data);
        if data.is_empty() {
            return;
        }
        self.settle_video(&data);
        let (mut units, mut failed) = (Vec::new(), None);
        if let Some(asm) = self.video.assembler() {
            for nal in annexb_nals(&data) {
                match asm.push(nal) {
                    Ok(au) => units.extend(au),
                    Err(e) => failed = Some(e.what),
                }
            }
            units.extend(asm.finish());
        } else {
            failed = Some("video codec not recognised");
        }
        if let Some(what) = failed {
            self.stats.dropped_frames += 1;
            self.error(what);
        }
        let info = self.video.info();
        for au in units {
            let pts = self.group_stamp(received);
            self.group.stamp = None;
            if au.key {
                self.stats.key_frames += 1;
                self.waiting = false;
                self.hold = false;
            } else if self.hold {
                self.stats.held += 1;
                if !std::mem::replace(&mut self.waiting, true) {
                    self.event(PsEvent::Dropped { reason: DropReason::WaitingForKey, at: self.group.at });
                }
                continue;
            }
            self.stats.frames += 1;
            let codec = self.video.codec().unwrap_or(Codec::H264);
            self.event(PsEvent::Video(PsVideo {
                codec,
                payload: au.payload,
                pts,
                key: au.key,
                received,
                width: info.width,
                height: info.height,
            }));
        }
        data.clear();
        // Keep the room for the next picture, unless this one was huge.
        if data.capacity() <= 1 << 20 {
            self.group.data = data;
        }
    }

    /// Media time of the picture being collected.
    fn group_stamp(&mut self, received: Instant) -> i64 {
        let g = &self.group;
        let pts = g.stamp.unwrap_or_else(|| self.clock.stamp(true, g.pts, g.timestamp, received, None));
        self.group.stamp = Some(pts);
        pts
    }

    fn drop_group(&mut self, reason: Option<DropReason>) {
        if !self.group.data.is_empty() {
            self.stats.dropped_frames += 1;
        }
        self.group.data.clear();
        self.group.received = None;
        if let Some(asm) = self.video.assembler() {
            asm.discard();
        }
        if let Some(reason) = reason {
            let at = self.here();
            self.event(PsEvent::Dropped { reason, at });
        }
    }

    fn audio_payload(
        &mut self,
        id: u8,
        pts: Option<u64>,
        range: std::ops::Range<usize>,
        timestamp: u32,
        received: Instant,
    ) {
        let declared = match self.psm.as_ref().and_then(|p| p.find(id)) {
            Some(StreamKind::Codec(c)) => Some(c),
            _ => None,
        };
        if self.audio.settle(declared, &self.buf[range.clone()]) {
            self.stats.psm_wrong += 1;
        }
        if let Some(codec) = self.audio.codec().filter(|c| c.decoding() == Decoding::Nowhere) {
            if self.silent_told.replace(codec) != Some(codec) {
                self.event(PsEvent::Silent(codec));
            }
            return;
        }
        // The picture before it in the pack is older: it sets the base.
        if !self.group.data.is_empty() {
            let _ = self.group_stamp(received);
        }
        let data = &self.buf[range];
        let step = self.audio.last_duration;
        let pts = self.clock.stamp(false, pts, timestamp, received, Some(step));
        let (frames, problem) = self.audio.frames(data, pts, received);
        if let Some(what) = problem {
            self.error(what);
        }
        for f in frames {
            self.stats.audio_frames += 1;
            self.event(PsEvent::Audio(f));
        }
    }
}
