//! What a browser sends: RTP in order, whole frames, one time line for picture and sound, into the hub.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use media_core::jitter::{Ordered, Reorder};
use media_core::rtp::TimestampExtender;
use media_core::rtp_payload::{Depacketizer, RtpFrame};
use media_core::{Codec, Frame, MediaKind, TrackId, TrackInfo};
use media_hub::{Outcome, Publisher, Step};

/// A gap in the pictures is given up after this long: two NACK rounds over a slow link.
const VIDEO_WAIT: Duration = Duration::from_millis(400);
const AUDIO_WAIT: Duration = Duration::from_millis(60);
/// A correction below this is not worth a step in the time line.
const SYNC_TOLERANCE: i64 = 5;

/// One RTP packet of a browser.
pub struct Incoming {
    pub codec: Codec,
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: Bytes,
    pub at: Instant,
    /// Of the last sender report: sender's wall clock and the RTP time stamp at it.
    pub report: Option<(SystemTime, u32)>,
}

struct Piece {
    timestamp: u32,
    marker: bool,
    payload: Bytes,
    at: Instant,
}

/// One track on its way in.
struct Inflow {
    codec: Codec,
    rate: u32,
    reorder: Reorder<Piece>,
    depacketizer: Depacketizer,
    extender: TimestampExtender,
    /// pts minus extended RTP time.
    offset: Option<i64>,
    /// Sender's wall clock and RTP time of its last report.
    report: Option<(SystemTime, u32)>,
    last: i64,
    jitter: f64,
    last_transit: Option<f64>,
}

impl Inflow {
    fn new(codec: Codec) -> Self {
        let video = codec.kind() == MediaKind::Video;
        let rate = if video { 90_000 } else { 48_000 };
        Inflow {
            codec,
            rate,
            reorder: if video { Reorder::new(2048, VIDEO_WAIT) } else { Reorder::new(64, AUDIO_WAIT) },
            depacketizer: Depacketizer::new(codec),
            extender: TimestampExtender::new(rate),
            offset: None,
            report: None,
            last: i64::MIN,
            jitter: 0.0,
            last_transit: None,
        }
    }

    /// RFC 3550 6.4.1, in milliseconds.
    fn note_jitter(&mut self, at: Duration, timestamp: u32) {
        let transit = at.as_secs_f64() * 1000.0 - f64::from(timestamp) * 1000.0 / f64::from(self.rate);
        if let Some(last) = self.last_transit.replace(transit) {
            let d = (transit - last).abs();
            // A wrap of the time stamp is no jitter.
            if d < 5000.0 {
                self.jitter += (d - self.jitter) / 16.0;
            }
        }
    }

    /// Sender's wall clock at an RTP time stamp.
    fn wall_millis(&self, timestamp: u32) -> Option<i64> {
        let (wall, rtp) = self.report?;
        let wall = wall.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis() as i64;
        Some(wall + i64::from(timestamp.wrapping_sub(rtp) as i32) * 1000 / i64::from(self.rate))
    }
}

/// The stream that one browser publishes.
pub struct Inbound {
    publisher: Publisher,
    origin: Option<Instant>,
    video: Option<Inflow>,
    audio: Option<Inflow>,
    size: (u32, u32),
    /// What was last told as tracks.
    told: Vec<TrackInfo>,
    synced: bool,
    pub lost: u64,
    pub first_key: bool,
    /// Set when a picture was broken: a key frame is needed.
    pub want_key: bool,
}

impl Inbound {
    pub fn new(publisher: Publisher) -> Self {
        Inbound {
            publisher,
            origin: None,
            video: None,
            audio: None,
            size: (0, 0),
            told: Vec::new(),
            synced: false,
            lost: 0,
            first_key: false,
            want_key: false,
        }
    }

    pub fn publisher(&mut self) -> &mut Publisher {
        &mut self.publisher
    }

    pub fn jitter_ms(&self) -> u64 {
        self.audio.as_ref().map_or(0, |a| a.jitter as u64)
    }

    pub fn packet(&mut self, p: Incoming) {
        if self.origin.is_none() {
            self.origin = Some(p.at);
            self.publisher.trace(Step::FirstPacket, Outcome::Ok, format!("ssrc {} {}", p.ssrc, p.codec));
        }
        let since = self.origin.map_or(Duration::ZERO, |o| p.at.saturating_duration_since(o));
        let slot = if p.codec.kind() == MediaKind::Video { &mut self.video } else { &mut self.audio };
        if slot.as_ref().is_none_or(|f| f.codec != p.codec) {
            *slot = Some(Inflow::new(p.codec));
            self.synced = false;
        }
        let Some(flow) = slot else { return };
        if p.report.is_some() {
            flow.report = p.report;
        }
        if p.codec.kind() == MediaKind::Audio {
            flow.note_jitter(since, p.timestamp);
        }
        let piece = Piece { timestamp: p.timestamp, marker: p.marker, payload: p.payload, at: p.at };
        flow.reorder.push(p.ssrc, p.sequence, p.at, piece);
        self.drain(p.codec.kind(), p.at);
    }

    /// Gives up gaps that waited long enough.
    pub fn tick(&mut self, now: Instant) {
        self.drain(MediaKind::Video, now);
        self.drain(MediaKind::Audio, now);
    }

    fn drain(&mut self, kind: MediaKind, now: Instant) {
        let mut frames: Vec<RtpFrame> = Vec::new();
        let slot = if kind == MediaKind::Video { &mut self.video } else { &mut self.audio };
        let Some(flow) = slot else { return };
        while let Some(ordered) = flow.reorder.poll(now) {
            match ordered {
                Ordered::Packet { item, .. } => {
                    // Padding to probe the path carries nothing.
                    if !item.payload.is_empty()
                        && flow.depacketizer.push(&item.payload, item.timestamp, item.marker, item.at).is_err()
                    {
                        self.want_key |= kind == MediaKind::Video;
                    }
                }
                Ordered::Lost { count, .. } => {
                    self.lost += count;
                    flow.depacketizer.lost();
                    self.want_key |= kind == MediaKind::Video;
                }
                Ordered::Reset => {
                    flow.depacketizer = Depacketizer::new(flow.codec);
                    flow.extender.reset();
                    flow.offset = None;
                    flow.report = None;
                    self.synced = false;
                }
            }
            while let Some(frame) = flow.depacketizer.poll() {
                frames.push(frame);
            }
        }
        if kind == MediaKind::Video
            && let Some(size) = flow.depacketizer.dimensions()
        {
            self.size = size;
        }
        for frame in frames {
            self.frame(frame);
        }
    }

    fn frame(&mut self, frame: RtpFrame) {
        self.synchronise();
        let Some(origin) = self.origin else { return };
        let kind = frame.codec.kind();
        let slot = if kind == MediaKind::Video { &mut self.video } else { &mut self.audio };
        let Some(flow) = slot else { return };
        let ticks = flow.extender.extend(frame.timestamp).ticks();
        let arrived = (frame.received.saturating_duration_since(origin).as_micros() as i64)
            .saturating_mul(i64::from(flow.rate))
            / 1_000_000;
        let offset = *flow.offset.get_or_insert(arrived - ticks);
        // A corrected time line never goes back.
        let pts = (ticks + offset).max(flow.last.saturating_add(1));
        flow.last = pts;
        self.tell_tracks();
        if kind == MediaKind::Video && frame.key && !self.first_key {
            self.first_key = true;
            let (w, h) = self.size;
            self.publisher.trace(Step::FirstKeyFrame, Outcome::Ok, format!("{} {w}x{h}", frame.codec));
        }
        let track = if kind == MediaKind::Video { TrackId::VIDEO } else { TrackId::AUDIO };
        self.publisher.write(Frame::new(track, frame.codec, pts, frame.key, frame.received, frame.payload));
    }

    /// Once both tracks have a sender report, picture and sound are laid on the sender's own clock; until then by arrival.
    fn synchronise(&mut self) {
        if self.synced {
            return;
        }
        let (Some(v), Some(a)) = (&mut self.video, &mut self.audio) else { return };
        let (Some((_, v_rtp)), Some((_, a_rtp))) = (v.report, a.report) else { return };
        let (Some(v_off), Some(a_off)) = (v.offset, a.offset) else { return };
        let (Some(v_wall), Some(a_wall)) = (v.wall_millis(v_rtp), a.wall_millis(a_rtp)) else { return };
        // Where each report's instant lies on our time line, in milliseconds.
        let v_line = (v.extender.clone().extend(v_rtp).ticks() + v_off) * 1000 / i64::from(v.rate);
        let a_line = (a.extender.clone().extend(a_rtp).ticks() + a_off) * 1000 / i64::from(a.rate);
        let skew = (v_line - v_wall) - (a_line - a_wall);
        if skew.abs() > SYNC_TOLERANCE && skew.abs() < 3000 {
            // The picture moves, since a step in the sound is heard.
            v.offset = Some(v_off - skew * i64::from(v.rate) / 1000);
        }
        self.synced = true;
    }

    fn tell_tracks(&mut self) {
        let mut tracks = Vec::new();
        if let Some(v) = &self.video {
            let mut info = TrackInfo::video(v.codec);
            (info.width, info.height) = self.size;
            tracks.push(info);
        }
        if let Some(a) = &self.audio {
            tracks.push(TrackInfo::audio(a.codec, a.rate, 2));
        }
        if tracks != self.told {
            self.publisher.set_tracks(&tracks);
            self.told = tracks;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use media_hub::{Hub, HubLimits, Pulled, StreamId, SubscribeOptions};

    fn packet(codec: Codec, n: u64, timestamp: u32, at: Instant, report: Option<(SystemTime, u32)>) -> Incoming {
        // A VP8 key frame of one packet: descriptor with S, then a frame header.
        let payload = if codec == Codec::Vp8 {
            Bytes::from_static(&[0x10, 0x10, 0, 0, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0xE0, 0x01, 1, 2, 3])
        } else {
            Bytes::from_static(&[0xFC, 1, 2])
        };
        Incoming { codec, ssrc: 1, sequence: n as u16, timestamp, marker: true, payload, at, report }
    }

    #[tokio::test]
    async fn sender_reports_tie_picture_and_sound() {
        let hub = Hub::new(HubLimits::default());
        let id = StreamId::new("browser:x");
        let mut inbound = Inbound::new(hub.publish(&id, "x").unwrap());
        let mut sub = hub.subscribe(&id, SubscribeOptions::default()).unwrap();
        let t0 = Instant::now();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let (mut video, mut audio) = (Vec::new(), Vec::new());
        // The picture is captured at the same instants as the sound, but comes 80 ms later.
        for n in 0..100u64 {
            let report = |rtp| (n >= 50).then_some((wall, rtp));
            inbound.packet(packet(
                Codec::Opus,
                n,
                1000 + 1920 * n as u32,
                t0 + Duration::from_millis(40 * n),
                report(1000),
            ));
            inbound.packet(packet(
                Codec::Vp8,
                n,
                777 + 3600 * n as u32,
                t0 + Duration::from_millis(40 * n + 80),
                report(777),
            ));
            while let Some(p) = sub.try_next() {
                if let Pulled::Item(i) = p {
                    if i.frame.kind() == MediaKind::Video { video.push(i.frame.pts) } else { audio.push(i.frame.pts) }
                }
            }
        }
        assert!(video.windows(2).all(|w| w[1] > w[0]));
        let (v, a) = (*video.last().unwrap() as f64 / 90_000.0, *audio.last().unwrap() as f64 / 48_000.0);
        assert!((v - a).abs() < 0.006, "{v} {a}");
    }
}
