//! The picture for a terminal: H.264 access units to RTP, at the pace of the agreed bandwidth.
//!
//! A machine without clock and socket. What does not fit through the link is left out up to the next key frame: the terminal
//! sees a still picture for a moment, and never a broken one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media_core::h264_sdp::{Format, Profile};
use media_core::nal::{VideoInfo, nals};
use media_core::rtp::{RTP_HEADER_LEN, RtpHeader};
use media_core::{Codec, Frame, h264, packetize};

/// The longest that pictures wait for the link; beyond it all is left out until the next key frame.
const MAX_WAIT: Duration = Duration::from_millis(1500);
/// A key frame that takes the link for longer is not sent.
const MAX_KEY: Duration = Duration::from_secs(4);
/// A key frame sends older pictures away that would make it wait for longer.
const OVERTAKE: Duration = Duration::from_millis(400);
/// A picture older than this comes out of the hub's memory: it is stamped when it is sent.
const BACKLOG: Duration = Duration::from_millis(200);
/// The pace is even over this time.
const BURST: f64 = 0.03;
/// Stamps this far from the clock are laid anew.
const DRIFT: i64 = 90 * 300;
/// Pictures that wait at most.
const MAX_QUEUE: usize = 256;

/// Why the picture at hand cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Its codec is not H.264.
    Codec(Codec),
    /// The terminal does not decode this profile.
    Profile(&'static str, Profile),
    /// Larger than the agreed level: width, height, the terminal's macroblocks.
    Size(u32, u32, u32),
    /// Its NAL units are too large for packetization mode 0.
    Fragments,
    /// One key frame would take the link for longer than 4 s.
    Link(u32),
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unfit::Codec(codec) => write!(f, "{codec}, the terminal takes H.264"),
            Unfit::Profile(has, takes) => write!(f, "H.264 {has}, the terminal takes {}", takes.name()),
            Unfit::Size(w, h, most) => write!(f, "{w}x{h}, the terminal takes {most} macroblocks"),
            Unfit::Fragments => f.write_str("slices too large for packetization mode 0"),
            Unfit::Link(kbps) => write!(f, "key frames too large for {kbps} kbit/s"),
        }
    }
}

struct Queued {
    frame: Arc<Frame>,
    backlog: bool,
    /// Set when its first packet leaves.
    stamp: Option<i64>,
    next_cut: usize,
}

/// What is sent. Without a [`Format`] all is swallowed.
pub(super) struct Output {
    pub ssrc: u32,
    sequence: u16,
    payload_type: u8,
    format: Option<Format>,
    kbps: u32,
    /// The RTP clock: its stamp at an instant.
    zero: Instant,
    zero_stamp: i64,
    tokens: f64,
    filled: Instant,
    queue: VecDeque<Queued>,
    bytes: usize,
    epoch: Option<u32>,
    /// Added to `pts` within an epoch.
    anchor: Option<i64>,
    last: Option<i64>,
    await_key: bool,
    wants_key: bool,
    key_asked: Option<Instant>,
    /// How long the last key frame took the link.
    key_time: Duration,
    unfit: Option<Unfit>,
    pub packets: u32,
    pub octets: u32,
    /// Times that pictures were left out because the link was full.
    pub overflows: u64,
}

impl Output {
    pub fn new(now: Instant) -> Output {
        Output {
            ssrc: rand::random(),
            sequence: rand::random::<u16>() >> 1,
            payload_type: 0,
            format: None,
            kbps: 0,
            zero: now,
            zero_stamp: i64::from(rand::random::<u32>()),
            tokens: 0.0,
            filled: now,
            queue: VecDeque::new(),
            bytes: 0,
            epoch: None,
            anchor: None,
            last: None,
            await_key: true,
            wants_key: true,
            key_asked: None,
            key_time: Duration::ZERO,
            unfit: None,
            packets: 0,
            octets: 0,
            overflows: 0,
        }
    }

    /// What may be sent from now on; none: nothing. The next picture is a key frame.
    pub fn agree(&mut self, format: Option<(Format, u8)>, kbps: u32) {
        let (format, payload_type) = format.map_or((None, 0), |(f, pt)| (Some(f), pt));
        if self.format == format && self.payload_type == payload_type && self.kbps == kbps {
            return;
        }
        self.format = format;
        self.payload_type = payload_type;
        self.kbps = kbps.max(32);
        self.unfit = None;
        self.restart();
    }

    /// Forgets what waits; goes on at a key frame. A picture half sent is given up: its rest would be of no use.
    fn restart(&mut self) {
        self.queue.clear();
        self.bytes = 0;
        self.await_key = true;
        self.wants_key = true;
    }

    pub fn unfit(&self) -> Option<&Unfit> {
        self.unfit.as_ref()
    }

    /// The RTP stamp of an instant.
    pub fn clock(&self, at: Instant) -> u32 {
        self.clock_wide(at) as u32
    }

    fn clock_wide(&self, at: Instant) -> i64 {
        let since = media_core::time::ticks(at.saturating_duration_since(self.zero), 90_000);
        let before = media_core::time::ticks(self.zero.saturating_duration_since(at), 90_000);
        self.zero_stamp + since - before
    }

    /// Time that so many bytes take the link.
    fn time(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 * 8.0 / (f64::from(self.kbps.max(1)) * 1000.0))
    }

    /// One picture, in decoding order.
    pub fn push(&mut self, frame: Arc<Frame>, epoch: u32, now: Instant) {
        let Some(format) = &self.format else {
            self.await_key = true;
            return;
        };
        if self.epoch != Some(epoch) {
            (self.epoch, self.anchor) = (Some(epoch), None);
        }
        if frame.key || frame.codec != Codec::H264 {
            let wrong = unfit(format, &frame)
                .or_else(|| (self.time(frame.payload.len()) > MAX_KEY).then_some(Unfit::Link(self.kbps)));
            if wrong.is_some() {
                self.drop_waiting();
                self.unfit = wrong;
                return;
            }
            self.unfit = None;
            if self.time(self.bytes) > OVERTAKE {
                self.drop_waiting();
            }
            self.key_time = self.time(frame.payload.len());
            (self.await_key, self.wants_key) = (false, false);
        } else if self.await_key {
            self.wants_key = true;
            return;
        } else if format.mode == 0 && frame.cuts(packetize).iter().any(|c| c.header_len > 0) {
            self.drop_waiting();
            self.unfit = Some(Unfit::Fragments);
            return;
        }
        // A key frame may wait for longer than those behind it: nothing goes without it.
        let room = if frame.key { MAX_KEY } else { MAX_WAIT.max(self.key_time + BACKLOG) };
        if self.time(self.bytes + frame.payload.len()) > room || self.queue.len() >= MAX_QUEUE {
            // What waits is whole up to here and is still sent; the next one after it is a key frame.
            (self.await_key, self.wants_key) = (true, true);
            self.overflows += 1;
            return;
        }
        self.bytes += frame.payload.len();
        let backlog = now.saturating_duration_since(frame.received) > BACKLOG;
        self.queue.push_back(Queued { frame, backlog, stamp: None, next_cut: 0 });
    }

    /// Leaves out what waits, up to the next key frame; a picture whose sending has begun is sent to its end.
    fn drop_waiting(&mut self) {
        let begun = usize::from(self.queue.front().is_some_and(|q| q.next_cut > 0));
        self.queue.truncate(begun);
        self.bytes = self.queue.iter().map(|q| q.frame.payload.len()).sum();
        self.await_key = true;
        self.wants_key = true;
    }

    /// The next packet that may leave now, written to `out`.
    pub fn poll(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        if self.queue.is_empty() {
            return false;
        }
        let rate = f64::from(self.kbps) * 125.0;
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * rate;
        self.filled = now;
        self.tokens = (self.tokens + gained).min((rate * BURST).max(1500.0));
        if self.tokens < 0.0 {
            return false;
        }
        let clock = self.clock_wide(now);
        let last_frame = self.last;
        let Some(head) = self.queue.front_mut() else { return false };
        let stamp = match head.stamp {
            Some(stamp) => stamp,
            None => {
                let proper = proper_stamp(head, &mut self.anchor, self.zero, self.zero_stamp, clock);
                // Never back; and not a few ticks apart either, which players take badly.
                let stamp = match last_frame {
                    Some(last) if proper <= last => clock.max(last + 900),
                    _ => proper,
                };
                head.stamp = Some(stamp);
                self.last = Some(stamp);
                stamp
            }
        };
        let cuts = head.frame.cuts(packetize);
        let Some(cut) = cuts.get(head.next_cut) else {
            self.done();
            return self.poll(now, out);
        };
        head.next_cut += 1;
        let marker = head.next_cut == cuts.len();
        let header = RtpHeader {
            marker,
            payload_type: self.payload_type,
            sequence: self.sequence,
            timestamp: stamp as u32,
            ssrc: self.ssrc,
        };
        out.clear();
        header.write(out, &[cut.header_bytes(), cut.body(&head.frame.payload)]);
        if marker {
            self.done();
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.tokens -= out.len() as f64;
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(out.len().saturating_sub(RTP_HEADER_LEN) as u32);
        true
    }

    fn done(&mut self) {
        if let Some(sent) = self.queue.pop_front() {
            self.bytes = self.bytes.saturating_sub(sent.frame.payload.len());
        }
    }

    /// When [`Output::poll`] has something again.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.queue.is_empty() {
            return None;
        }
        let wait = (-self.tokens).max(0.0) / (f64::from(self.kbps.max(1)) * 125.0);
        // Not less than a millisecond: timers are no finer.
        Some(self.filled + Duration::from_secs_f64(wait).max(Duration::from_millis(1)))
    }

    /// The terminal asks for a key frame, or lost the picture.
    pub fn key_asked(&mut self) {
        // One that is on its way is what it asks for.
        if !self.queue.iter().any(|q| q.frame.key) {
            self.wants_key = true;
        }
    }

    /// Whether the source shall be asked for a key frame now: at most once a second, and less often over a small link, where
    /// key frames would take all of it.
    pub fn take_key_request(&mut self, now: Instant) -> bool {
        let pause = Duration::from_secs(1).max(self.key_time * 3);
        let due = self.key_asked.is_none_or(|t| now.saturating_duration_since(t) >= pause);
        let ask = self.wants_key && self.format.is_some() && due;
        if ask {
            self.key_asked = Some(now);
            self.wants_key = self.await_key;
        }
        ask
    }
}

/// The stamp by the source's own spacing; of what comes out of the hub's memory the sending time.
fn proper_stamp(head: &Queued, anchor: &mut Option<i64>, zero: Instant, zero_stamp: i64, clock: i64) -> i64 {
    if head.backlog {
        return clock;
    }
    let since = media_core::time::ticks(head.frame.received.saturating_duration_since(zero), 90_000);
    let received = zero_stamp + since;
    let laid = received - head.frame.pts;
    let anchor = anchor.get_or_insert(laid);
    if (laid - *anchor).abs() > DRIFT {
        *anchor = laid;
    }
    // Follows the source's clock slowly.
    *anchor += (laid - *anchor) / 32;
    head.frame.pts + *anchor
}

/// Why this key frame cannot be sent in a format; none: it can.
fn unfit(format: &Format, frame: &Frame) -> Option<Unfit> {
    if frame.codec != Codec::H264 {
        return Some(Unfit::Codec(frame.codec));
    }
    let sps = nals(&frame.payload).find(|n| n.first().is_some_and(|h| h264::nal_type(*h) == h264::NAL_SPS));
    if let Some(info) = sps.and_then(|s| h264::parse_sps(s).ok())
        && !format.takes(&info)
    {
        return Some(misfit(format, &info));
    }
    let fragments = format.mode == 0 && frame.cuts(packetize).iter().any(|c| c.header_len > 0);
    fragments.then_some(Unfit::Fragments)
}

fn misfit(format: &Format, info: &VideoInfo) -> Unfit {
    let [idc, flags, _] = info.profile_level_id;
    let profile = Profile::of(idc, flags);
    if profile.is_none_or(|p| p > format.profile) {
        return Unfit::Profile(profile.map_or("of an unknown profile", Profile::name), format.profile);
    }
    Unfit::Size(info.width, info.height, format.max_fs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use bytes::{Bytes, BytesMut};
    use media_core::TrackId;
    use media_core::nal::put_nal;
    use media_core::nal_rtp::NalDepacketizer;
    use media_core::rtp::RtpPacket;

    use super::*;

    const SPS: &[u8] = &[
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04,
        0x00, 0x00, 0x03, 0x00, 0xc8, 0x3c, 0x60, 0xc6, 0x58,
    ];

    fn picture(key: bool, bytes: usize, pts: i64, received: Instant) -> Arc<Frame> {
        let mut body = BytesMut::new();
        if key {
            put_nal(&mut body, SPS);
            put_nal(&mut body, &[0x68, 0xCE, 0x3C, 0x80]);
        }
        let mut slice = vec![0xAA; bytes];
        (slice[0], slice[1]) = if key { (0x65, 0x88) } else { (0x41, 0x9A) };
        put_nal(&mut body, &slice);
        Arc::new(Frame::new(TrackId::VIDEO, Codec::H264, pts, key, received, Bytes::from(body)))
    }

    fn format(fmtp: &str) -> Option<(Format, u8)> {
        Some((Format::parse(Some(fmtp)).unwrap(), 97))
    }

    const HIGH: &str = "profile-level-id=640028;packetization-mode=1";

    /// All packets until a time, each with when it left in ms.
    fn run(o: &mut Output, from: Instant, until: u64) -> Vec<(u64, Vec<u8>)> {
        let mut out = Vec::new();
        let mut buffer = Vec::new();
        let mut now = from;
        while o.poll(now, &mut buffer) || o.next_timeout().is_some_and(|t| t <= from + Duration::from_millis(until)) {
            if buffer.is_empty() {
                now = o.next_timeout().unwrap().max(now);
                continue;
            }
            out.push(((now - from).as_millis() as u64, std::mem::take(&mut buffer)));
        }
        out
    }

    #[test]
    fn a_small_link_is_never_overrun_and_what_arrives_is_whole() {
        let t = Instant::now();
        let mut o = Output::new(t);
        o.agree(format(HIGH), 256);
        let mut sent: Vec<(u64, Vec<u8>)> = Vec::new();
        // 25 pictures a second of 4 kB are 800 kbit/s: more than three times too much. A key frame of 20 kB each 2 s.
        let mut asked = 0;
        for n in 0..500u64 {
            let at = t + Duration::from_millis(40 * n);
            o.push(picture(n % 50 == 0, if n % 50 == 0 { 20_000 } else { 4_000 }, 3600 * n as i64, at), 1, at);
            asked += u64::from(o.take_key_request(at));
            sent.extend(run(&mut o, at, 39).into_iter().map(|(ms, p)| (40 * n + ms, p)));
        }
        let bytes: usize = sent.iter().map(|p| p.1.len()).sum();
        let kbps = bytes as u64 * 8 / 20_000;
        assert!((150..=262).contains(&kbps), "{kbps} kbit/s");
        // No second has more than its share.
        for second in 0..20 {
            let in_it: usize = sent.iter().filter(|p| p.0 / 1000 == second).map(|p| p.1.len()).sum();
            assert!(in_it * 8 <= 256_000 + 30_000, "second {second}: {in_it} bytes");
        }
        assert!(o.overflows >= 5 && (5..=20).contains(&asked), "{} {asked}", o.overflows);
        // A foreign eye: each picture is whole, and behind a gap stands a key frame.
        let mut d = NalDepacketizer::new(Codec::H264);
        let (mut last, mut got, mut stamps) = (None::<u64>, 0, Vec::new());
        let mut sequence = None;
        for (_, p) in &sent {
            let p = RtpPacket::parse(p).unwrap();
            assert!(sequence.replace(p.sequence).is_none_or(|s: u16| s.wrapping_add(1) == p.sequence));
            d.push(p.payload, p.timestamp, p.marker, t).unwrap();
            while let Some(f) = d.poll() {
                got += 1;
                let number = (i64::from(f.timestamp) - (o.zero_stamp & 0xFFFF_FFFF)).rem_euclid(1 << 32) as u64 / 3600;
                assert!(f.key || last == Some(number.saturating_sub(1)), "{number} after {last:?}");
                stamps.push(f.timestamp);
                last = Some(number);
            }
        }
        assert!(got > 60 && d.dropped() == 0, "{got}");
        assert!(stamps.windows(2).all(|w| (w[1].wrapping_sub(w[0]) as i32) > 0));
    }

    #[test]
    fn the_format_of_the_terminal_is_kept() {
        let t = Instant::now();
        let mut o = Output::new(t);
        o.push(picture(true, 100, 0, t), 1, t);
        assert!(run(&mut o, t, 100).is_empty(), "nothing agreed");
        for (fmtp, why) in [
            ("profile-level-id=42e028;packetization-mode=1", "H.264 High, the terminal takes Baseline"),
            ("profile-level-id=64001f;packetization-mode=1", "1920x1080, the terminal takes 3600 macroblocks"),
            ("profile-level-id=640028", "slices too large for packetization mode 0"),
        ] {
            o.agree(format(fmtp), 2000);
            o.push(picture(true, 5000, 0, t), 1, t);
            o.push(picture(false, 50, 3600, t), 1, t);
            assert!(run(&mut o, t, 100).is_empty());
            assert_eq!(o.unfit().unwrap().to_string(), why);
        }
        o.push(picture(true, 1000, 7200, t), 1, t);
        o.push(picture(false, 1000, 10_800, t), 1, t);
        assert_eq!(o.unfit(), None);
        let sizes: Vec<usize> = run(&mut o, t, 100).iter().map(|p| p.1.len()).collect();
        assert_eq!(sizes, [12 + SPS.len(), 12 + 4, 1012, 1012], "parameter sets go before each key frame");
        o.agree(format(HIGH), 64);
        o.push(picture(true, 60_000, 0, t), 1, t);
        assert_eq!(o.unfit(), Some(&Unfit::Link(64)));
        let foreign = Frame::new(TrackId::VIDEO, Codec::H265, 0, true, t, Bytes::from_static(&[0; 8]));
        o.push(Arc::new(foreign), 1, t);
        assert_eq!(o.unfit(), Some(&Unfit::Codec(Codec::H265)));
    }

    #[test]
    fn key_frames_are_asked_for_in_measure() {
        let t = Instant::now();
        let at = |ms: u64| t + Duration::from_millis(ms);
        let mut o = Output::new(t);
        o.agree(format(HIGH), 2000);
        assert!(o.take_key_request(at(0)));
        assert!(!o.take_key_request(at(500)) && o.take_key_request(at(1000)), "until one came");
        o.push(picture(true, 10_000, 0, at(1100)), 1, at(1100));
        o.key_asked();
        assert!(!o.take_key_request(at(3000)), "one is on its way");
        run(&mut o, at(3000), 1000);
        o.key_asked();
        o.key_asked();
        assert!(o.take_key_request(at(5000)) && !o.take_key_request(at(9000)));
        // 50 kB take 1.6 s of 256 kbit/s: not more often than each 5 s.
        o.agree(format(HIGH), 256);
        o.push(picture(true, 50_000, 0, at(10_000)), 1, at(10_000));
        run(&mut o, at(10_000), 3000);
        o.key_asked();
        assert!(o.take_key_request(at(13_000)));
        o.key_asked();
        assert!(!o.take_key_request(at(17_000)) && o.take_key_request(at(18_000)));
    }

    #[test]
    fn another_source_goes_on_on_the_same_time_line() {
        let t = Instant::now();
        let at = |ms: u64| t + Duration::from_millis(ms);
        let mut o = Output::new(t);
        o.agree(format(HIGH), 20_000);
        let mut stamps = Vec::new();
        let mut send = |o: &mut Output, frame, epoch, ms| {
            o.push(frame, epoch, at(ms));
            let all = run(o, at(ms), 20);
            stamps.push(RtpPacket::parse(&all[0].1).unwrap().timestamp);
        };
        send(&mut o, picture(true, 100, 1_000_000, at(0)), 1, 0);
        send(&mut o, picture(false, 100, 1_003_600, at(43)), 1, 43);
        // A switch: the group in memory first, each stamped as it leaves, then live ones.
        send(&mut o, picture(true, 100, 50, at(0)), 2, 1000);
        send(&mut o, picture(false, 100, 3650, at(40)), 2, 1021);
        send(&mut o, picture(false, 100, 90_000, at(1040)), 2, 1042);
        send(&mut o, picture(false, 100, 93_600, at(1080)), 2, 1082);
        let from = o.clock(t);
        let ms: Vec<u32> = stamps.iter().map(|s| s.wrapping_sub(from) / 90).collect();
        assert_eq!((ms[0], ms[2], ms[3], ms[4], ms[5]), (0, 1000, 1021, 1040, 1080));
        assert!((40..=41).contains(&ms[1]), "{ms:?}");
    }
}
