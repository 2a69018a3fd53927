//! Writing a program stream for GB/T 28181 (gb28181.md 17.3): one picture is one pack.

use bytes::Bytes;

use crate::aac::AacConfig;
use crate::codec::Codec;
use crate::nal::to_annexb;
use crate::psm::{Psm, PsmStream, stream_type};

/// Largest PES payload written (below 0xFF80 for Hikvision's sake).
const MAX_PES_PAYLOAD: usize = 0xFF00;
/// Rate announced, in units of 50 bytes/s: 20 Mbit/s.
const MUX_RATE: u32 = 50_000;

/// Pack header without stuffing. `mux_rate` in units of 50 bytes/s.
pub fn pack_header(scr_base: u64, scr_ext: u16, mux_rate: u32) -> [u8; 14] {
    let s = scr_base & 0x1_FFFF_FFFF;
    let e = u64::from(scr_ext & 0x1FF);
    // 48 bits: 01 SCR[32..30] 1 SCR[29..15] 1 SCR[14..0] 1 EXT 1
    let v = (1u64 << 46)
        | ((s >> 30) << 43)
        | (1 << 42)
        | (((s >> 15) & 0x7FFF) << 27)
        | (1 << 26)
        | ((s & 0x7FFF) << 11)
        | (1 << 10)
        | (e << 1)
        | 1;
    let m = ((mux_rate & 0x3F_FFFF) << 2) | 3;
    let (v, m) = (v.to_be_bytes(), m.to_be_bytes());
    [0, 0, 1, 0xBA, v[2], v[3], v[4], v[5], v[6], v[7], m[1], m[2], m[3], 0xF8]
}

/// System header for 0xE0 (buffer 400 KiB) and 0xC0 (buffer 4 KiB), as far as present.
pub fn system_header(rate_bound: u32, video: bool, audio: bool, out: &mut Vec<u8>) {
    let len = 6 + 3 * (u16::from(video) + u16::from(audio));
    out.extend_from_slice(&[0, 0, 1, 0xBB]);
    out.extend_from_slice(&len.to_be_bytes());
    let r = 0x80_0001 | ((rate_bound & 0x3F_FFFF) << 1);
    out.extend_from_slice(&r.to_be_bytes()[1..]);
    out.extend_from_slice(&[u8::from(audio) << 2, 0xE0 | u8::from(video), 0x7F]);
    if video {
        out.extend_from_slice(&[0xE0, 0xE1, 0x90]);
    }
    if audio {
        out.extend_from_slice(&[0xC0, 0xC0, 0x20]);
    }
}

/// PES header with an optional PTS; `len` bytes of payload follow (at most 65527).
pub fn pes_header(stream_id: u8, pts: Option<i64>, len: usize, out: &mut Vec<u8>) {
    let stamp = if pts.is_some() { 5 } else { 0 };
    out.extend_from_slice(&[0, 0, 1, stream_id]);
    out.extend_from_slice(&((3 + stamp + len) as u16).to_be_bytes());
    out.extend_from_slice(&[0x80, if pts.is_some() { 0x80 } else { 0 }, stamp as u8]);
    if let Some(p) = pts {
        let p = (p as u64) & 0x1_FFFF_FFFF;
        let mid = (((p >> 15) & 0x7FFF) as u16) << 1 | 1;
        let low = ((p & 0x7FFF) as u16) << 1 | 1;
        out.push(0x20 | ((p >> 30) as u8) << 1 | 1);
        out.extend_from_slice(&mid.to_be_bytes());
        out.extend_from_slice(&low.to_be_bytes());
    }
}

/// Writes packs for one stream. RTP timestamp of a pack = low 32 bits of its PTS; cut the result into payloads of at most
/// 1400 bytes, marker on the last.
#[derive(Debug)]
pub struct PsMuxer {
    video: Option<Codec>,
    audio: Option<Codec>,
    aac: Option<AacConfig>,
    version: u8,
    /// System header and map go before the next picture or sound.
    announce: bool,
    scratch: Vec<u8>,
}

impl PsMuxer {
    /// Codecs without a stream type in GB/T 28181 (VP8, Opus) are taken as absent. `aac_config`: AudioSpecificConfig.
    pub fn new(video: Option<Codec>, audio: Option<Codec>, aac_config: &Bytes) -> Self {
        PsMuxer {
            video: video.filter(|c| stream_type(*c).is_some()),
            audio: audio.filter(|c| stream_type(*c).is_some()),
            aac: AacConfig::parse(aac_config).ok(),
            version: 1,
            announce: true,
            scratch: Vec::new(),
        }
    }

    /// Another set of codecs from the next pack on.
    pub fn change(&mut self, video: Option<Codec>, audio: Option<Codec>, aac_config: &Bytes) {
        let version = (self.version + 1) & 0x1F;
        *self = PsMuxer { version, ..Self::new(video, audio, aac_config) };
    }

    fn open(&mut self, scr: i64, full: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(&pack_header(scr as u64, 0, MUX_RATE));
        if full || self.announce {
            self.announce = false;
            system_header(MUX_RATE, self.video.is_some(), self.audio.is_some(), out);
            let mut psm = Psm { version: self.version, streams: Vec::new() };
            for (codec, stream_id) in [(self.video, 0xE0), (self.audio, 0xC0)] {
                if let Some(stream_type) = codec.and_then(stream_type) {
                    psm.streams.push(PsmStream { stream_type, stream_id });
                }
            }
            psm.write(out);
        }
    }

    /// One picture in canonical form. `pts` and `dts` in 90 kHz; `dts` = `pts` without B pictures.
    pub fn video(&mut self, payload: &[u8], pts: i64, dts: i64, key: bool, out: &mut Vec<u8>) {
        self.open(dts, key, out);
        let mut data = std::mem::take(&mut self.scratch);
        data.clear();
        to_annexb(payload, &mut data);
        for (i, part) in data.chunks(MAX_PES_PAYLOAD).enumerate() {
            pes_header(0xE0, (i == 0).then_some(pts), part.len(), out);
            out.extend_from_slice(part);
        }
        self.scratch = data;
    }

    /// Sound into the pack that is open at the end of `out` (right after a picture); `pts` in 90 kHz. AAC gets its ADTS header.
    pub fn audio(&mut self, payload: &[u8], pts: i64, out: &mut Vec<u8>) {
        let adts = match (self.audio, self.aac) {
            (Some(Codec::Aac), Some(c)) => c.adts_header(payload.len()),
            _ => None,
        };
        let head: &[u8] = adts.as_ref().map_or(&[], |h| h);
        for (i, part) in payload.chunks(MAX_PES_PAYLOAD - 7).enumerate() {
            let head = if i == 0 { head } else { &[] };
            pes_header(0xC0, (i == 0).then_some(pts), head.len() + part.len(), out);
            out.extend_from_slice(head);
            out.extend_from_slice(part);
        }
    }

    /// Sound in a pack of its own (no picture due).
    pub fn audio_pack(&mut self, payload: &[u8], pts: i64, out: &mut Vec<u8>) {
        self.open(pts, false, out);
        self.audio(payload, pts, out);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn vectors_17_2() {
        let want = [0, 0, 1, 0xBA, 0x44, 0, 0x16, 0xFC, 0x84, 1, 3, 0x0D, 0x43, 0xF8];
        assert_eq!(pack_header(90_000, 0, 50_000), want);
        let mut out = Vec::new();
        system_header(50_000, true, true, &mut out);
        let want = [0, 0, 1, 0xBB, 0, 0x0C, 0x81, 0x86, 0xA1, 4, 0xE1, 0x7F, 0xE0, 0xE1, 0x90, 0xC0, 0xC0, 0x20];
        assert_eq!(out, want);
        out.clear();
        pes_header(0xE0, Some(93_600), 5, &mut out);
        out.extend_from_slice(&[0, 0, 0, 1, 0x65]);
        let want = [0, 0, 1, 0xE0, 0, 0x0D, 0x80, 0x80, 5, 0x21, 0, 5, 0xDB, 0x41, 0, 0, 0, 1, 0x65];
        assert_eq!(out, want);
    }
}
