//! Sound in an RTP payload type of its own beside the program stream: PT 8 next to PT 96 (reference section 17.4). No I/O.

use std::time::Instant;

use bytes::Bytes;
use media_core::aac::{self, AacConfig};
use media_core::gb::GbEncoding;
use media_core::ps::PsAudio;
use media_core::sdp::RtpMap;
use media_core::time::rescale;
use media_core::{Codec, Decoding};

/// Apart from the picture by more than this, in 90 kHz: on another base, and placed by arrival.
const APART: i64 = 3 * 90_000;
/// Frames taken from one packet.
const MAX_FRAMES: usize = 64;

/// The codec of a payload type: by the answer's rtpmap, else by the numbers of the standard (reference section 17.1). None:
/// no sound.
pub fn codec_of(payload_type: u8, formats: &[RtpMap]) -> Option<Codec> {
    if let Some(map) = formats.iter().find(|f| f.payload_type == payload_type) {
        return match GbEncoding::of(map) {
            GbEncoding::Pcma => Some(Codec::G711A),
            GbEncoding::Pcmu => Some(Codec::G711U),
            GbEncoding::Aac => Some(Codec::Aac),
            GbEncoding::Other => match map.encoding.to_ascii_uppercase().as_str() {
                "G729" => Some(Codec::G729),
                "G723" | "G7231" => Some(Codec::G7231),
                "G722" | "G7221" => Some(Codec::G7221),
                "SVACA" => Some(Codec::SvacAudio),
                _ => None,
            },
            _ => None,
        };
    }
    Some(match payload_type {
        0 => Codec::G711U,
        8 => Codec::G711A,
        4 => Codec::G7231,
        9 => Codec::G7221,
        18 => Codec::G729,
        20 => Codec::SvacAudio,
        102 => Codec::Aac,
        _ => return None,
    })
}

/// From payloads of one sound payload type to frames on the picture's time line.
#[derive(Debug)]
pub struct SideSound {
    codec: Codec,
    /// RTP ticks a second.
    rate: u32,
    config: AacConfig,
    /// RTP stamp and time line (90 kHz) of the last frame.
    last: Option<(u32, i64)>,
    /// 90 kHz stamp minus RTP time.
    offset: i64,
    ticks: i64,
    /// Correction by sender reports of both, in 90 kHz.
    tie: i64,
}

impl SideSound {
    pub fn new(codec: Codec) -> SideSound {
        // `AAC/8000/1` with config 1588 is what the standard writes.
        let config = AacConfig { object_type: 2, sample_rate: 8000, channels: 1 };
        SideSound { codec, rate: 8000, config, last: None, offset: 0, ticks: 0, tie: 0 }
    }

    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The next frame is placed by arrival, as the first one was.
    pub fn place_anew(&mut self) {
        self.last = None;
    }

    /// The sender's own clock says that this sound belongs `by` later (90 kHz) than where arrival puts it.
    pub fn shift(&mut self, by: i64) {
        self.tie += by;
        self.offset += by;
    }

    /// 90 kHz stamp that an RTP stamp near the last one has here; none before the first frame.
    pub fn stamp_of(&self, rtp: u32) -> Option<i64> {
        let (last, _) = self.last?;
        let ticks = self.ticks + i64::from(rtp.wrapping_sub(last) as i32);
        Some(rescale(ticks, self.rate, 90_000) + self.offset)
    }

    /// Where the time line stands: `expected` is the picture's stamp at this moment, in 90 kHz.
    fn place(&mut self, rtp: u32, expected: i64) -> i64 {
        let step = self.last.map_or(0, |(last, _)| i64::from(rtp.wrapping_sub(last) as i32));
        self.ticks += step;
        let raw = rescale(self.ticks, self.rate, 90_000);
        let fresh = self.last.is_none();
        if fresh || (raw + self.offset - expected).abs() > APART {
            self.offset = expected - raw + if fresh { self.tie } else { 0 };
        }
        let stamp = raw + self.offset;
        self.last = Some((rtp, stamp));
        stamp
    }

    /// The frames of one packet.
    pub fn push(&mut self, payload: &[u8], rtp: u32, received: Instant, expected: i64) -> Vec<PsAudio> {
        if payload.is_empty() || self.codec.decoding() == Decoding::Nowhere {
            return Vec::new();
        }
        let stamp = self.place(rtp, expected);
        if self.codec == Codec::Aac {
            return self.aac(payload, stamp, received);
        }
        let frame = PsAudio {
            codec: self.codec,
            clock_rate: 8000,
            channels: 1,
            config: Bytes::new(),
            payload: Bytes::copy_from_slice(payload),
            pts: rescale(stamp, 90_000, 8000),
            received,
        };
        vec![frame]
    }

    /// ADTS frames, or access units behind AU headers (RFC 3640, AAC-hbr).
    fn aac(&mut self, payload: &[u8], stamp: i64, received: Instant) -> Vec<PsAudio> {
        let mut units: Vec<&[u8]> = Vec::new();
        if aac::looks_like_adts(payload) {
            let mut rest = payload;
            while let (Ok(Some(frame)), true) = (aac::adts_frame(rest), units.len() < MAX_FRAMES) {
                self.config = frame.config;
                units.push(frame.data);
                rest = rest.get(frame.total_len..).unwrap_or_default();
            }
        } else if let Some(bits) = payload.get(..2).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]]))) {
            let headers = payload.get(2..2 + bits.div_ceil(8)).unwrap_or_default();
            let mut rest = payload.get(2 + bits.div_ceil(8)..).unwrap_or_default();
            for header in headers.chunks_exact(2).take(MAX_FRAMES) {
                let size = usize::from(u16::from_be_bytes([header[0], header[1]]) >> 3);
                let Some((unit, next)) = rest.split_at_checked(size) else { break };
                units.push(unit);
                rest = next;
            }
        }
        let config = self.config;
        let first = rescale(stamp, 90_000, config.sample_rate);
        let made = units.into_iter().filter(|u| !u.is_empty()).enumerate().map(|(n, unit)| PsAudio {
            codec: Codec::Aac,
            clock_rate: config.sample_rate,
            channels: config.channels.max(1),
            config: config.to_bytes(),
            payload: Bytes::copy_from_slice(unit),
            pts: first + n as i64 * i64::from(aac::SAMPLES_PER_UNIT),
            received,
        });
        made.collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn codecs_by_name_before_numbers() {
        let map = |pt, name: &str| RtpMap { payload_type: pt, encoding: name.into(), clock_rate: 8000, channels: 1 };
        assert_eq!(codec_of(8, &[]), Some(Codec::G711A));
        assert_eq!(codec_of(97, &[map(97, "PCMU")]), Some(Codec::G711U));
        assert_eq!(codec_of(96, &[map(96, "PS")]), None);
        assert_eq!(codec_of(18, &[]), Some(Codec::G729));
        assert_eq!(codec_of(96, &[]), None);
    }

    #[test]
    fn another_base_is_placed_by_arrival_once_and_then_followed() {
        let mut s = SideSound::new(Codec::G711A);
        let now = Instant::now();
        let first = s.push(&[0xD5; 320], 4_000_000_000, now, 900_000).remove(0);
        assert_eq!(first.pts, 80_000);
        // The picture's stamps jitter: the sound keeps its own spacing.
        let second = s.push(&[0xD5; 320], 4_000_000_320, now, 904_500).remove(0);
        assert_eq!(second.pts, 80_320);
        // Over the wrap.
        let later =
            s.push(&[0xD5; 320], 4_000_000_000u32.wrapping_add(300_000_000), now, 900_000 + 3_375_000_000).remove(0);
        assert_eq!(later.pts, 80_000 + 300_000_000);
        // A jump of the sender's clock is no jump here.
        let jumped = s.push(&[0xD5; 320], 7, now, 900_000 + 3_375_003_600).remove(0);
        assert_eq!(jumped.pts, (900_000 + 3_375_003_600) * 8000 / 90_000);
    }

    #[test]
    fn units_behind_au_headers() {
        let mut s = SideSound::new(Codec::Aac);
        let packet = [0, 32, 0, 3 << 3, 0, 2 << 3, 1, 2, 3, 4, 5];
        let got = s.push(&packet, 0, Instant::now(), 0);
        assert_eq!(got.iter().map(|f| f.payload.to_vec()).collect::<Vec<_>>(), [vec![1, 2, 3], vec![4, 5]]);
        assert_eq!((got[1].pts, got[0].config.to_vec()), (1024, vec![0x15, 0x88]));
        assert!(s.push(&[0xFF], 0, Instant::now(), 0).is_empty());
    }
}
