//! The send path of one viewer: pace, stamp, number, encrypt in place.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use media_core::{Codec, Frame, packetize};
use media_hub::Item;

use super::{AUDIO_AGE, Keys, Stamper, Viewer};
use crate::leg::LegEvent;
use crate::outbox::Outbox;

/// Bytes that may leave at once before pacing begins; a usual picture fits.
pub const BUCKET: f64 = 48_000.0;
/// A picture that waited less than this behind another keeps its proper stamp.
const WAITED: Duration = Duration::from_millis(20);
/// The first pictures all carry the playout delay, later ones only when they are key frames.
const PLAYOUT_DELAY_PICTURES: u64 = 50;

/// Numbering of one sent track.
pub struct Track {
    pub ssrc: u32,
    pub stamper: Stamper,
    /// Next sequence number with its roll-over counter above bit 16.
    pub seq: u64,
    pub packets: u32,
    pub octets: u32,
}

impl Track {
    pub fn new(ssrc: u32, rate: u32, now: Instant) -> Self {
        // Sequence numbers begin in the lower half, so that an early loss does not confuse the roll-over count.
        Track {
            ssrc,
            stamper: Stamper::new(rate, rand::random(), now),
            seq: u64::from(rand::random::<u16>() >> 1),
            packets: 0,
            octets: 0,
        }
    }
}

/// The picture under way.
pub struct Sending {
    frame: Arc<Frame>,
    next: usize,
    timestamp: u32,
    pt: u8,
    rtx: Option<u8>,
    playout_delay: bool,
}

/// RFC 8285 one-byte header extensions of one packet.
pub struct Extensions {
    bytes: [u8; 12],
    len: usize,
}

impl Extensions {
    pub fn new(abs_send_time: Option<u8>, playout_delay: Option<u8>) -> Self {
        let mut e = Extensions { bytes: [0; 12], len: 0 };
        if abs_send_time.is_none() && playout_delay.is_none() {
            return e;
        }
        e.bytes[..2].copy_from_slice(&[0xBE, 0xDE]);
        e.len = 4;
        if let Some(id) = abs_send_time {
            let t = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            // 6.18 fixed point seconds.
            let fixed =
                ((t.as_secs() & 0x3F) as u32) << 18 | ((u64::from(t.subsec_nanos()) << 18) / 1_000_000_000) as u32;
            let f = fixed.to_be_bytes();
            e.add(id, [f[1], f[2], f[3]]);
        }
        if let Some(id) = playout_delay {
            // Least and most delay 0: shown as soon as it is decoded.
            e.add(id, [0; 3]);
        }
        e.bytes[3] = ((e.len - 4) / 4) as u8;
        e
    }

    fn add(&mut self, id: u8, data: [u8; 3]) {
        if let Some(slot) = self.bytes.get_mut(self.len..self.len + 4) {
            slot[0] = (id << 4) | 2;
            slot[1..].copy_from_slice(&data);
            self.len += 4;
        }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

pub struct Header {
    pub marker: bool,
    pub pt: u8,
    pub seq: u64,
    pub timestamp: u32,
    pub ssrc: u32,
}

/// Writes, protects and commits one packet.
pub fn write_packet(
    out: &mut Outbox,
    keys: &Keys,
    to: std::net::SocketAddr,
    h: &Header,
    ext: &Extensions,
    parts: [&[u8]; 3],
) -> usize {
    let start = out.buf.len();
    let ext = ext.as_slice();
    out.buf.extend_from_slice(&[if ext.is_empty() { 0x80 } else { 0x90 }, (u8::from(h.marker) << 7) | h.pt]);
    out.buf.extend_from_slice(&(h.seq as u16).to_be_bytes());
    out.buf.extend_from_slice(&h.timestamp.to_be_bytes());
    out.buf.extend_from_slice(&h.ssrc.to_be_bytes());
    out.buf.extend_from_slice(ext);
    for part in parts {
        out.buf.extend_from_slice(part);
    }
    if keys.tx.protect_rtp(&mut out.buf, start, 12 + ext.len(), (h.seq >> 16) as u32).is_err() {
        out.buf.truncate(start);
        return 0;
    }
    let len = out.buf.len() - start;
    out.commit(to, start);
    len
}

impl Viewer {
    /// Sends what the pace allows of the queued pictures.
    pub fn pump(&mut self, now: Instant, out: &mut Outbox) {
        if !self.backlogged() {
            return;
        }
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.tokens = (self.tokens + passed * self.congestion.pace()).min(BUCKET);
        while self.tokens > 0.0 {
            if self.sending.is_none() && !self.next_picture(now) {
                break;
            }
            if !self.send_cuts(out) {
                break;
            }
        }
    }

    /// Takes the next picture from the queue and stamps it.
    fn next_picture(&mut self, now: Instant) -> bool {
        while let Some(q) = self.queue.pop_front() {
            self.queue_bytes = self.queue_bytes.saturating_sub(q.frame.payload.len());
            if q.frame.key && q.frame.codec == Codec::H264 {
                // Between key frames the payload type stays.
                self.profile_idc = sps_profile(&q.frame.payload).unwrap_or(self.profile_idc);
            }
            let Some((pt, rtx)) = self.video_pt(&q.frame) else { continue };
            let live = now.saturating_duration_since(q.frame.received) <= super::REPLAY_AGE;
            if self.replaying.is_some() && live && self.queue.is_empty() && !q.frame.key {
                self.end_replay();
            }
            let waited = self.replaying.is_some() && !live || q.behind && now.saturating_duration_since(q.at) > WAITED;
            let stamp = self.video.stamper.stamp(now, q.epoch, q.frame.pts, q.frame.received, waited);
            self.set_anchor(q.epoch, q.frame.pts, 90_000, q.frame.received);
            let playout_delay = q.frame.key || self.pictures < PLAYOUT_DELAY_PICTURES;
            self.pictures += 1;
            self.sending = Some(Sending { frame: q.frame, next: 0, timestamp: stamp as u32, pt, rtx, playout_delay });
            return true;
        }
        false
    }

    fn video_pt(&self, frame: &Frame) -> Option<(u8, Option<u8>)> {
        let (_, plan) = self.plan.video.as_ref()?;
        let format = match frame.codec {
            Codec::H264 => plan.h264_for(self.profile_idc)?,
            Codec::Vp8 => plan.vp8.as_ref()?,
            Codec::H265 => plan.h265.as_ref()?,
            _ => return None,
        };
        Some((format.pt, format.rtx))
    }

    /// Sends packets of the picture under way; false when the pace says stop.
    fn send_cuts(&mut self, out: &mut Outbox) -> bool {
        let (Some(mut s), Some(keys), Some(to), Some((_, plan))) =
            (self.sending.take(), &self.keys, self.remote, &self.plan.video)
        else {
            return false;
        };
        let frame = s.frame.clone();
        let cuts = frame.cuts(packetize);
        let ext = Extensions::new(plan.abs_send_time, plan.playout_delay.filter(|_| s.playout_delay));
        let mut bytes = 0;
        let first = s.next;
        while let Some(cut) = cuts.get(s.next) {
            if self.tokens <= 0.0 {
                break;
            }
            let marker = s.next + 1 == cuts.len();
            let h = Header { marker, pt: s.pt, seq: self.video.seq, timestamp: s.timestamp, ssrc: self.video.ssrc };
            let sent = write_packet(out, keys, to, &h, &ext, [cut.header_bytes(), cut.body(&frame.payload), &[]]);
            if let Some(rtx) = s.rtx {
                self.store.push(self.video.seq as u16, frame.clone(), s.next as u16, marker, s.timestamp, rtx);
            }
            self.tokens -= sent as f64;
            self.video.seq += 1;
            bytes += cut.len();
            s.next += 1;
        }
        let packets = s.next - first;
        self.video.packets = self.video.packets.wrapping_add(packets as u32);
        self.video.octets = self.video.octets.wrapping_add(bytes as u32);
        self.count(packets, bytes);
        if s.next < cuts.len() {
            self.sending = Some(s);
            return false;
        }
        if frame.key && self.shared.first_frame() {
            self.env.tell(LegEvent::FirstFrame { leg: self.shared.id });
        }
        true
    }

    fn count(&mut self, packets: usize, bytes: usize) {
        self.congestion.on_sent(bytes);
        self.shared.packets.fetch_add(packets as u64, Relaxed);
        self.shared.bytes.fetch_add(bytes as u64, Relaxed);
        self.env.counters.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Sound goes out at once: it is never queued and never replayed.
    pub(super) fn send_audio(&mut self, item: &Item, now: Instant, out: &mut Outbox) {
        let frame = &item.frame;
        if self.audio_track.is_some_and(|t| t != frame.track)
            || now.saturating_duration_since(frame.received) > AUDIO_AGE
        {
            return;
        }
        let Some(pt) = self.audio_pt(frame.codec) else { return };
        let rate = if frame.codec == Codec::Opus { 48_000 } else { 8000 };
        if self.audio.stamper.rate() != rate {
            self.audio.stamper.set_rate(rate, now);
        }
        let epoch = self.epoch_of(item);
        let stamp = self.audio.stamper.stamp(now, epoch, frame.pts, frame.received, false);
        self.set_anchor(epoch, frame.pts, rate, frame.received);
        let (Some(keys), Some(to)) = (&self.keys, self.remote) else { return };
        let ext = Extensions::new(None, None);
        let (mut packets, mut bytes) = (0, 0);
        for cut in frame.cuts(packetize) {
            // One G.711 sample is one byte.
            let within = if frame.codec == Codec::Opus { 0 } else { i64::from(cut.start) };
            let h = Header {
                marker: false,
                pt,
                seq: self.audio.seq,
                timestamp: (stamp + within) as u32,
                ssrc: self.audio.ssrc,
            };
            write_packet(out, keys, to, &h, &ext, [cut.header_bytes(), cut.body(&frame.payload), &[]]);
            self.audio.seq += 1;
            packets += 1;
            bytes += cut.len();
        }
        self.audio.packets = self.audio.packets.wrapping_add(packets as u32);
        self.audio.octets = self.audio.octets.wrapping_add(bytes as u32);
        self.count(packets, bytes);
    }

    /// Ties the stream's time line to ours once for each epoch; picture and sound share it.
    fn set_anchor(&mut self, epoch: u32, pts: i64, rate: u32, received: Instant) {
        if self.anchor.is_none_or(|(e, ..)| e != epoch) {
            let micros = (i128::from(pts) * 1_000_000 / i128::from(rate)) as i64;
            self.anchor = Some((epoch, received, micros));
        }
    }
}

/// `profile_idc` of the first SPS in a key frame in canonical form.
pub fn sps_profile(payload: &[u8]) -> Option<u8> {
    media_core::nal::nals(payload)
        .take(8)
        .find(|n| n.first().is_some_and(|h| h & 0x1F == 7))
        .and_then(|n| n.get(1).copied())
}
