//! The picture of a terminal: RTP in order, H.264 access units out, on the time line of the call's stream.
//!
//! A machine without clock and socket. After a loss pictures are held back until the next key frame, so that nobody sees a
//! smear; a terminal that sends none for [`HOLD`] is shown as it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::jitter::{Ordered, Reorder};
use media_core::nal_rtp::NalDepacketizer;
use media_core::rtp::{RtpPacket, Stamp, TimestampExtender};
use media_core::time::{MediaClock, rescale, ticks};
use media_core::{Codec, Frame, TrackId, TrackInfo};

pub(super) const CLOCK: u32 = 90_000;
/// Packets that may wait for a missing one, and how long.
const REORDER: usize = 256;
const REORDER_WAIT: Duration = Duration::from_millis(80);
/// How long pictures are held back for a key frame after a loss.
const HOLD: Duration = Duration::from_secs(3);
/// Pictures that wait to be taken at most.
const MAX_READY: usize = 64;
/// Silence after which a picture counts as frozen.
const FROZEN: Duration = Duration::from_secs(3);
/// The picture's time line is moved by at most this much per picture, in ticks: 2 ms.
const SLEW: i64 = 180;

struct Packet {
    timestamp: u32,
    marker: bool,
    payload: Bytes,
}

pub(super) struct Input {
    reorder: Reorder<Packet>,
    depacketizer: NalDepacketizer,
    stamps: TimestampExtender,
    /// Added to the extended stamps: the stream counts from the call's origin.
    base: Option<i64>,
    /// Extended stamp of the last picture.
    last: Option<i64>,
    /// The sender's wall clock, on the stream's time line.
    report: Option<MediaClock>,
    /// Ticks by which the time line is still to be moved towards the sound.
    slew: i64,
    /// Held back for a key frame, since when; no time: since the beginning.
    hold: Option<Option<Instant>>,
    wants_key: bool,
    heard: Option<Instant>,
    size: (u32, u32),
    ready: VecDeque<Frame>,
    pub bad: u64,
}

impl Input {
    pub fn new(sets: &[Bytes]) -> Input {
        let mut depacketizer = NalDepacketizer::new(Codec::H264).with_recovery_keys(true);
        for set in sets {
            depacketizer.parameter_set(set);
        }
        Input {
            reorder: Reorder::new(REORDER, REORDER_WAIT),
            depacketizer,
            stamps: TimestampExtender::new(CLOCK),
            base: None,
            last: None,
            report: None,
            slew: 0,
            hold: Some(None),
            wants_key: true,
            heard: None,
            size: (0, 0),
            ready: VecDeque::new(),
            bad: 0,
        }
    }

    /// Parameter sets of a new description.
    pub fn parameter_sets(&mut self, sets: &[Bytes]) {
        for set in sets {
            self.depacketizer.parameter_set(set);
        }
    }

    pub fn ssrc(&self) -> Option<u32> {
        self.reorder.ssrc()
    }

    /// When the last packet came.
    pub fn heard(&self) -> Option<Instant> {
        self.heard
    }

    /// Pictures came and stopped.
    pub fn frozen(&self, now: Instant) -> bool {
        self.heard.is_some_and(|t| now.saturating_duration_since(t) >= FROZEN)
    }

    /// Pictures may stop from now on without being called frozen (hold), and begin anew with a key frame.
    pub fn pause(&mut self) {
        self.heard = None;
        self.hold = Some(None);
        self.wants_key = true;
    }

    pub fn push(&mut self, packet: &RtpPacket<'_>, now: Instant) {
        self.heard = Some(now);
        let item = Packet {
            timestamp: packet.timestamp,
            marker: packet.marker,
            payload: Bytes::copy_from_slice(packet.payload),
        };
        self.reorder.push(packet.ssrc, packet.sequence, now, item);
    }

    /// Gives out what is in order; the pictures are taken with [`Input::frame`]. `origin` is the instant of pts 0.
    pub fn drain(&mut self, origin: Instant, now: Instant) {
        while let Some(ordered) = self.reorder.poll(now) {
            match ordered {
                Ordered::Packet { item, .. } => {
                    if self.depacketizer.push(&item.payload, item.timestamp, item.marker, now).is_err() {
                        self.bad += 1;
                        self.broken(now);
                    }
                }
                Ordered::Lost { .. } => {
                    self.depacketizer.lost();
                    self.broken(now);
                }
                Ordered::Reset => {
                    self.depacketizer.lost();
                    self.stamps.reset();
                    (self.base, self.last, self.report, self.slew) = (None, None, None, 0);
                    self.broken(now);
                }
            }
            while let Some(frame) = self.depacketizer.poll() {
                self.take(frame, origin, now);
            }
        }
    }

    fn broken(&mut self, now: Instant) {
        self.wants_key = true;
        self.hold.get_or_insert(Some(now));
    }

    fn take(&mut self, frame: media_core::rtp_payload::RtpFrame, origin: Instant, now: Instant) {
        let stamp = match self.stamps.extend(frame.timestamp) {
            Stamp::Continuous(stamp) => stamp,
            Stamp::Discontinuity { ticks, .. } => {
                (self.base, self.report, self.slew) = (None, None, 0);
                ticks
            }
        };
        self.last = Some(stamp);
        let arrival = ticks(frame.received.saturating_duration_since(origin), CLOCK);
        let base = self.base.get_or_insert(arrival - stamp);
        let step = self.slew.clamp(-SLEW, SLEW);
        *base += step;
        self.slew -= step;
        if frame.key {
            (self.hold, self.wants_key) = (None, false);
        } else if let Some(since) = self.hold {
            let late = since.is_some_and(|t| now.saturating_duration_since(t) >= HOLD);
            if !late {
                self.wants_key = true;
                return;
            }
            self.hold = None;
        }
        if let Some(info) = self.depacketizer.info() {
            self.size = (info.width, info.height);
        }
        if self.ready.len() < MAX_READY {
            let pts = stamp + *base;
            self.ready.push_back(Frame::new(
                TrackId::VIDEO,
                Codec::H264,
                pts,
                frame.key,
                frame.received,
                frame.payload,
            ));
        }
    }

    pub fn frame(&mut self) -> Option<Frame> {
        self.ready.pop_front()
    }

    /// The track, once its first key frame is there.
    pub fn track(&self) -> Option<TrackInfo> {
        let (width, height) = self.size;
        (width > 0).then(|| TrackInfo { width, height, ..TrackInfo::video(Codec::H264) })
    }

    /// A sender report (RFC 3550 6.4.1). `sound` is the same of the sound on its own time line of `rate`: equal wall clock
    /// shall have equal time in the stream (`docs/design/time.md`).
    pub fn sender_report(&mut self, ntp: u64, rtp: u32, sound: Option<MediaClock>) {
        let (Some(last), Some(base)) = (self.last, self.base) else { return };
        let stamp = last + i64::from(rtp.wrapping_sub(last as u32) as i32);
        self.report = Some(MediaClock::from_report(CLOCK, ntp, stamp + base));
        self.align(sound);
    }

    /// Moves the picture to the sound, when both are known and the difference is believable.
    pub fn align(&mut self, sound: Option<MediaClock>) {
        let (Some(own), Some(sound)) = (self.report, sound) else { return };
        let wanted = rescale(sound.pts_at(own.unix), sound.rate, CLOCK);
        let off = wanted - own.pts;
        let rate = i64::from(CLOCK);
        if (rate / 200..3 * rate).contains(&off.abs()) {
            self.slew = off;
            // What is corrected now is not corrected again by the same report.
            self.report = None;
        }
    }

    /// Whether a key frame is needed to go on.
    pub fn wants_key(&self) -> bool {
        self.wants_key
    }

    /// A viewer needs a key frame.
    pub fn want_key(&mut self) {
        self.wants_key = true;
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.reorder.next_timeout()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const SPS: &[u8] = &[
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04,
        0x00, 0x00, 0x03, 0x00, 0xc8, 0x3c, 0x60, 0xc6, 0x58,
    ];
    const PPS: &[u8] = &[0x68, 0xCE, 0x3C, 0x80];
    const KEY: &[u8] = &[0x65, 0x88, 1, 2];
    const DELTA: &[u8] = &[0x41, 0x9A, 1, 2];

    struct Bench {
        input: Input,
        origin: Instant,
        sequence: u16,
    }

    impl Bench {
        fn new(sets: &[&'static [u8]]) -> Bench {
            let sets: Vec<Bytes> = sets.iter().map(|s| Bytes::from_static(s)).collect();
            Bench { input: Input::new(&sets), origin: Instant::now(), sequence: 10 }
        }

        /// One packet at a time in ms, with a stamp in ms.
        fn packet(&mut self, payload: &[u8], stamp: u32, at: u64) -> Vec<(i64, bool)> {
            let packet = RtpPacket {
                marker: payload != SPS && payload != PPS,
                payload_type: 97,
                sequence: self.sequence,
                timestamp: stamp * 90,
                ssrc: 7,
                csrc: &[],
                extension: None,
                payload,
                padding: 0,
            };
            self.sequence += 1;
            let now = self.origin + Duration::from_millis(at);
            self.input.push(&packet, now);
            self.input.drain(self.origin, now);
            std::iter::from_fn(|| self.input.frame()).map(|f| (f.pts / 90, f.key)).collect()
        }
    }

    #[test]
    fn nothing_before_the_first_key_frame_and_time_counts_from_the_origin() {
        let mut b = Bench::new(&[]);
        assert!(b.packet(DELTA, 1000, 500).is_empty());
        assert!(b.packet(KEY, 1040, 540).is_empty(), "no parameter sets yet");
        assert!(b.input.track().is_none());
        b.packet(SPS, 1080, 580);
        b.packet(PPS, 1080, 580);
        assert_eq!(b.packet(KEY, 1080, 580), [(580, true)]);
        assert_eq!(b.packet(DELTA, 1120, 625), [(620, false)]);
        let track = b.input.track().unwrap();
        assert_eq!((track.width, track.height), (1920, 1080));
        assert!(!b.input.frozen(b.origin + Duration::from_millis(3600)));
        assert!(b.input.frozen(b.origin + Duration::from_millis(3700)));
    }

    #[test]
    fn parameter_sets_of_the_description_stand_in() {
        let mut b = Bench::new(&[SPS, PPS]);
        assert_eq!(b.packet(KEY, 0, 0), [(0, true)]);
    }

    #[test]
    fn after_a_loss_pictures_wait_for_a_key_frame_but_not_for_ever() {
        let mut b = Bench::new(&[SPS, PPS]);
        b.packet(KEY, 0, 0);
        assert!(!b.input.wants_key());
        b.sequence += 1;
        assert!(b.packet(DELTA, 40, 40).is_empty());
        assert!(b.packet(DELTA, 80, 200).is_empty(), "the loss is certain by now");
        assert!(b.input.wants_key());
        assert_eq!(b.packet(KEY, 240, 240), [(240, true)]);
        assert!(!b.input.wants_key());
        b.sequence += 1;
        assert!(b.packet(DELTA, 280, 280).is_empty());
        assert!(b.packet(DELTA, 320, 400).is_empty());
        assert!(b.packet(DELTA, 2000, 2000).is_empty());
        assert_eq!(b.packet(DELTA, 3600, 3600), [(3600, false)], "a terminal that gives none is shown as it is");
    }

    #[test]
    fn damaged_fragments_are_counted_and_survived() {
        let mut b = Bench::new(&[SPS, PPS]);
        b.packet(KEY, 0, 0);
        for bad in [&[28u8][..], &[28, 0x40, 1], &[24, 0, 9, 1], &[29, 0, 0, 0x85, 1], &[0], &[30, 1]] {
            let stamp = 40 * u32::from(b.sequence);
            b.packet(bad, stamp, 40);
        }
        assert!(b.input.bad >= 5 && b.input.wants_key(), "{}", b.input.bad);
        assert_eq!(b.packet(KEY, 4000, 4000).last().map(|f| f.1), Some(true));
    }

    #[test]
    fn the_picture_moves_to_the_sound() {
        let mut b = Bench::new(&[SPS, PPS]);
        b.packet(KEY, 0, 100);
        // The picture arrived 80 ms later than its sound: at wall clock 50 s the sound is at 20 ms, the picture at 100 ms.
        let ntp = media_core::time::ntp_from_unix(Duration::from_secs(50));
        let sound = MediaClock::from_report(8000, ntp, 160);
        b.input.sender_report(ntp, 0, Some(sound));
        let mut last = 0;
        for n in 1..60u32 {
            last = b.packet(DELTA, 40 * n, 100 + 40 * u64::from(n))[0].0 - i64::from(40 * n);
        }
        assert_eq!(last, 20);
        // A report that is off by an hour says nothing.
        b.input.sender_report(ntp, 0, Some(MediaClock::from_report(8000, ntp, 8000 * 3600)));
        assert_eq!(b.packet(DELTA, 2400, 2500)[0].0, 2420);
    }
}
