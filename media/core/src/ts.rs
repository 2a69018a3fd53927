//! MPEG transport stream (ISO/IEC 13818-1 2.4) as some devices send it under the label of a program stream: incremental,
//! bounded, one programme. What comes out are PES packets for [`crate::ps::PsDemuxer`], so that codecs, access units, time and
//! all tolerance are one code.

use crate::error::be16;
use crate::nal::MAX_ACCESS_UNIT;

/// Bytes of a transport packet.
pub const PACKET: usize = 188;
/// Longest section taken (PAT, PMT).
const MAX_SECTION: usize = 1024;
/// Largest PES kept: an access unit and its header.
const MAX_PES: usize = MAX_ACCESS_UNIT + 512;
/// Packets without a map after which streams are guessed by their PES ids.
const PATIENCE: u64 = 400;
/// PES packets that wait to be taken.
const MAX_READY: usize = 64;

/// Counters of a [`TsDemuxer`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TsStats {
    pub packets: u64,
    /// Bytes skipped in search of the sync byte.
    pub skipped: u64,
    /// Breaks of the continuity counter.
    pub breaks: u64,
    /// Encrypted packets, which are dropped.
    pub scrambled: u64,
    pub maps: u64,
}

/// One PES packet with its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TsPes {
    pub video: bool,
    pub data: Vec<u8>,
}

#[derive(Debug, Default)]
struct Line {
    pid: u16,
    /// As in the map; 0 when guessed.
    stream_type: u8,
    counter: Option<u8>,
    data: Vec<u8>,
    open: bool,
}

#[derive(Debug, Default)]
struct Section {
    data: Vec<u8>,
    counter: Option<u8>,
}

/// The demuxer: push bytes, then poll until None.
#[derive(Debug, Default)]
pub struct TsDemuxer {
    buf: Vec<u8>,
    pat: Section,
    pmt: Section,
    pmt_pid: Option<u16>,
    mapped: bool,
    video: Option<Line>,
    audio: Option<Line>,
    ready: std::collections::VecDeque<TsPes>,
    changed: bool,
    stats: TsStats,
}

fn is_video(stream_type: u8) -> bool {
    matches!(stream_type, 0x01 | 0x02 | 0x10 | 0x1B | 0x24 | 0x80)
}

fn is_audio(stream_type: u8) -> bool {
    matches!(stream_type, 0x03 | 0x04 | 0x0F | 0x11 | 0x90..=0x9B)
}

impl TsDemuxer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn stats(&self) -> TsStats {
        self.stats
    }

    /// Stream types of picture and sound as the map tells them (0: none, or guessed); some once after each change.
    pub fn changed_map(&mut self) -> Option<[u8; 2]> {
        let of = |line: &Option<Line>| line.as_ref().map_or(0, |l| l.stream_type);
        std::mem::take(&mut self.changed).then(|| [of(&self.video), of(&self.audio)])
    }

    pub fn poll(&mut self) -> Option<TsPes> {
        self.ready.pop_front()
    }

    /// Packets are missing here: what was begun is dropped, the map stays.
    pub fn lost(&mut self) {
        self.buf.clear();
        for line in [&mut self.video, &mut self.audio].into_iter().flatten() {
            line.data.clear();
            line.open = false;
            line.counter = None;
        }
        self.pat = Section::default();
        self.pmt = Section::default();
    }

    /// End of the stream: gives out what was begun.
    pub fn flush(&mut self) {
        for (line, video) in [(&mut self.video, true), (&mut self.audio, false)] {
            if let Some(l) = line.as_mut().filter(|l| l.open && l.data.len() > 6) {
                l.open = false;
                self.ready.push_back(TsPes { video, data: std::mem::take(&mut l.data) });
            }
        }
    }

    /// Bytes of the stream, in any pieces.
    pub fn push(&mut self, data: &[u8]) {
        let mut rest = data;
        // What is left of the last piece is less than two packets.
        while !rest.is_empty() || self.buf.len() >= PACKET {
            let take = rest.len().min(2 * PACKET);
            self.buf.extend_from_slice(&rest[..take]);
            rest = &rest[take..];
            let mut at = 0;
            while self.buf.len() - at >= PACKET {
                let good = self.buf[at] == 0x47 && self.buf.get(at + PACKET).is_none_or(|b| *b == 0x47);
                if !good {
                    at += 1;
                    self.stats.skipped += 1;
                    continue;
                }
                let mut packet = [0; PACKET];
                packet.copy_from_slice(&self.buf[at..at + PACKET]);
                self.packet(&packet);
                at += PACKET;
            }
            self.buf.drain(..at);
        }
    }

    fn packet(&mut self, p: &[u8; PACKET]) {
        self.stats.packets += 1;
        if p[1] & 0x80 != 0 {
            self.stats.breaks += 1;
            return;
        }
        let start = p[1] & 0x40 != 0;
        let pid = u16::from_be_bytes([p[1] & 0x1F, p[2]]);
        if p[3] & 0xC0 != 0 {
            self.stats.scrambled += 1;
            return;
        }
        let (control, counter) = (p[3] >> 4 & 3, p[3] & 15);
        let (mut from, mut stuffed) = (4, false);
        if control & 2 != 0 {
            let length = usize::from(p[4]);
            from = 5 + length;
            let flags = if length > 0 { p[5] } else { 0 };
            let used = 1 + [(0x10, 6), (0x08, 6), (0x04, 1)]
                .iter()
                .map(|(f, n)| if flags & f != 0 { *n } else { 0 })
                .sum::<usize>();
            // Without private data or an extension, what is more than the fields is stuffing.
            stuffed = length == 0 || flags & 0x03 == 0 && length > used;
        }
        if control & 1 == 0 || from >= PACKET {
            return;
        }
        let body = &p[from..];
        if pid == 0 {
            if let Some(section) = collect(&mut self.pat, start, counter, body) {
                self.association(&section);
            }
        } else if self.pmt_pid == Some(pid) {
            if let Some(section) = collect(&mut self.pmt, start, counter, body) {
                self.map(&section);
            }
        } else if pid != 0x1FFF {
            self.elementary(pid, start, counter, stuffed, body);
        }
    }

    fn association(&mut self, s: &[u8]) {
        // table id, length, id, version, section numbers, then programmes of 4 bytes; the CRC is not believed either way.
        let end = s.len().saturating_sub(4);
        let first = s.get(8..end).unwrap_or_default().chunks_exact(4).find(|c| be16(c, 0) != Some(0));
        let pid = first.and_then(|c| be16(c, 2)).map(|p| p & 0x1FFF);
        if s.first() == Some(&0) && pid.is_some() && pid != self.pmt_pid {
            self.pmt_pid = pid;
            self.pmt = Section::default();
        }
    }

    fn map(&mut self, s: &[u8]) {
        if s.first() != Some(&2) || s.len() < 16 {
            return;
        }
        self.stats.maps += 1;
        let end = s.len() - 4;
        let mut at = 12 + usize::from(be16(s, 10).unwrap_or(0) & 0x0FFF);
        let (mut video, mut audio) = (None, None);
        while at + 5 <= end {
            let (kind, pid) = (s[at], be16(s, at + 1).unwrap_or(0) & 0x1FFF);
            if is_video(kind) {
                video = video.or(Some((kind, pid)));
            } else if is_audio(kind) {
                audio = audio.or(Some((kind, pid)));
            }
            at += 5 + usize::from(be16(s, at + 3).unwrap_or(0) & 0x0FFF);
        }
        let first = !std::mem::replace(&mut self.mapped, true);
        let moved = [set(&mut self.video, video), set(&mut self.audio, audio)];
        self.changed |= first || moved.contains(&true);
    }

    fn elementary(&mut self, pid: u16, start: bool, counter: u8, stuffed: bool, body: &[u8]) {
        if !self.mapped && start && self.stats.packets > PATIENCE && body.starts_with(&[0, 0, 1]) {
            // No map came: by the PES ids.
            match body.get(3) {
                Some(0xE0..=0xEF) if self.video.is_none() => self.changed |= set(&mut self.video, Some((0, pid))),
                Some(0xC0..=0xDF) if self.audio.is_none() => self.changed |= set(&mut self.audio, Some((0, pid))),
                _ => {}
            }
        }
        let of = |l: &Option<Line>| l.as_ref().is_some_and(|l| l.pid == pid);
        let (video, audio) = (of(&self.video), of(&self.audio));
        let slot = if video { &mut self.video } else { &mut self.audio };
        let Some(line) = slot.as_mut().filter(|_| video || audio) else { return };
        match line.counter.replace(counter) {
            // The same packet again.
            Some(last) if last == counter && !start => return,
            Some(last) if (last + 1) & 15 != counter => {
                self.stats.breaks += 1;
                line.open = false;
                line.data.clear();
            }
            _ => {}
        }
        let mut done: [Option<Vec<u8>>; 2] = [None, None];
        if start {
            if line.open && line.data.len() > 6 {
                done[0] = Some(std::mem::take(&mut line.data));
            }
            line.data.clear();
            line.open = body.starts_with(&[0, 0, 1]);
        }
        if line.open {
            if line.data.len() + body.len() > MAX_PES {
                line.open = false;
                line.data.clear();
            } else {
                line.data.extend_from_slice(body);
            }
        }
        // Whole by its length, or by the stuffing that fills its last packet.
        let told = be16(&line.data, 4).map_or(0, usize::from);
        let whole = if told > 0 { line.data.len() >= told + 6 } else { stuffed };
        if line.open && whole && line.data.len() > 6 {
            line.open = false;
            if told > 0 {
                line.data.truncate(told + 6);
            }
            done[1] = Some(std::mem::take(&mut line.data));
        }
        for data in done.into_iter().flatten() {
            if self.ready.len() < MAX_READY {
                self.ready.push_back(TsPes { video, data });
            }
        }
    }
}

/// True when the line is another than before.
fn set(line: &mut Option<Line>, to: Option<(u8, u16)>) -> bool {
    let now = line.as_ref().map(|l| (l.stream_type, l.pid));
    if now == to {
        return false;
    }
    *line = to.map(|(stream_type, pid)| Line { pid, stream_type, ..Line::default() });
    true
}

/// Puts a section together; gives it when it is whole.
fn collect(s: &mut Section, start: bool, counter: u8, body: &[u8]) -> Option<Vec<u8>> {
    let gap = s.counter.replace(counter).is_some_and(|last| (last + 1) & 15 != counter);
    let mut body = body;
    if start {
        let pointer = usize::from(*body.first()?);
        body = body.get(1 + pointer..)?;
        s.data.clear();
    } else if gap || s.data.is_empty() {
        s.data.clear();
        return None;
    }
    if s.data.len() + body.len() > MAX_SECTION + PACKET {
        s.data.clear();
        return None;
    }
    s.data.extend_from_slice(body);
    let length = 3 + usize::from(be16(&s.data, 1)? & 0x0FFF);
    if length > MAX_SECTION {
        s.data.clear();
        return None;
    }
    if s.data.len() < length {
        return None;
    }
    let mut whole = std::mem::take(&mut s.data);
    whole.truncate(length);
    Some(whole)
}
