//! Program stream map (ISO/IEC 13818-1 2.5.4) with the stream types of GB/T 28181 (gb28181.md 17.1).

use crate::codec::Codec;
use crate::error::{ParseError, be16};

/// Most streams taken from one map.
const MAX_STREAMS: usize = 32;

/// One elementary stream of the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PsmStream {
    pub stream_type: u8,
    /// 0xE0 video, 0xC0 audio.
    pub stream_id: u8,
}

/// The map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Psm {
    pub version: u8,
    pub streams: Vec<PsmStream>,
}

/// What a stream type means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    Codec(Codec),
    /// Known, but nothing here decodes it.
    Unsupported(&'static str),
    Unknown,
}

/// Stream type to codec.
pub fn stream_kind(stream_type: u8) -> StreamKind {
    match stream_type {
        0x1B => StreamKind::Codec(Codec::H264),
        0x24 => StreamKind::Codec(Codec::H265),
        0x90 => StreamKind::Codec(Codec::G711A),
        0x91 => StreamKind::Codec(Codec::G711U),
        0x0F => StreamKind::Codec(Codec::Aac),
        0x10 => StreamKind::Unsupported("MPEG-4"),
        0x80 => StreamKind::Unsupported("SVAC"),
        0x92 => StreamKind::Codec(Codec::G7221),
        0x93 => StreamKind::Codec(Codec::G7231),
        0x99 => StreamKind::Codec(Codec::G729),
        0x9B => StreamKind::Codec(Codec::SvacAudio),
        0x01 | 0x02 => StreamKind::Unsupported("MPEG-2 video"),
        0x03 | 0x04 => StreamKind::Unsupported("MPEG audio"),
        0x11 => StreamKind::Unsupported("AAC LATM"),
        _ => StreamKind::Unknown,
    }
}

/// Codec to stream type; None where the standard has none.
pub fn stream_type(codec: Codec) -> Option<u8> {
    match codec {
        Codec::H264 => Some(0x1B),
        Codec::H265 => Some(0x24),
        Codec::G711A => Some(0x90),
        Codec::G711U => Some(0x91),
        Codec::Aac => Some(0x0F),
        Codec::G7221 => Some(0x92),
        Codec::G7231 => Some(0x93),
        Codec::G729 => Some(0x99),
        Codec::SvacAudio => Some(0x9B),
        Codec::Vp8 | Codec::Opus | Codec::G722 | Codec::Amr | Codec::AmrWb | Codec::ComfortNoise => None,
    }
}

/// CRC-32 of MPEG: polynomial 0x04C11DB7, start all ones, no final inversion.
pub fn crc32_mpeg(data: &[u8]) -> u32 {
    data.iter().fold(0xFFFF_FFFF, |mut crc, b| {
        crc ^= u32::from(*b) << 24;
        for _ in 0..8 {
            crc = if crc & 0x8000_0000 != 0 { (crc << 1) ^ 0x04C1_1DB7 } else { crc << 1 };
        }
        crc
    })
}

impl Psm {
    /// Reads what follows the length field. The CRC and the map length are not believed: many devices write them wrong.
    pub fn parse(body: &[u8]) -> Result<Psm, ParseError> {
        if body.len() < 6 {
            return Err(ParseError::new("program stream map too short", body.len()));
        }
        let info = usize::from(be16(body, 2).unwrap_or(0));
        let end = body.len().saturating_sub(4).max(6);
        let mut at = if 6 + info <= end { 6 + info } else { 6 };
        let mut streams = Vec::new();
        while at + 4 <= end && streams.len() < MAX_STREAMS {
            streams.push(PsmStream { stream_type: body[at], stream_id: body[at + 1] });
            at += 4 + usize::from(be16(body, at + 2).unwrap_or(0));
        }
        Ok(Psm { version: body[0] & 0x1F, streams })
    }

    /// The stream of an id.
    pub fn find(&self, stream_id: u8) -> Option<StreamKind> {
        self.streams.iter().find(|s| s.stream_id == stream_id).map(|s| stream_kind(s.stream_type))
    }

    /// Appends the whole map with start code, length and CRC.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let map = 4 * self.streams.len().min(MAX_STREAMS);
        out.extend_from_slice(&[0, 0, 1, 0xBC]);
        out.extend_from_slice(&((map + 10) as u16).to_be_bytes());
        out.extend_from_slice(&[0xE0 | (self.version & 0x1F), 0xFF, 0, 0]);
        out.extend_from_slice(&(map as u16).to_be_bytes());
        for s in self.streams.iter().take(MAX_STREAMS) {
            out.extend_from_slice(&[s.stream_type, s.stream_id, 0, 0]);
        }
        let crc = crc32_mpeg(&out[start..]);
        out.extend_from_slice(&crc.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn vector_17_2() {
        assert_eq!(crc32_mpeg(b"123456789"), 0x0376_E6E7);
        let map = Psm {
            version: 1,
            streams: vec![
                PsmStream { stream_type: 0x1B, stream_id: 0xE0 },
                PsmStream { stream_type: 0x90, stream_id: 0xC0 },
            ],
        };
        let mut out = Vec::new();
        map.write(&mut out);
        let want = [
            0, 0, 1, 0xBC, 0, 0x12, 0xE1, 0xFF, 0, 0, 0, 8, 0x1B, 0xE0, 0, 0, 0x90, 0xC0, 0, 0, 0xB9, 0x28, 0x7F, 0x16,
        ];
        assert_eq!(out, want);
        assert_eq!(crc32_mpeg(&out), 0);
        assert_eq!(Psm::parse(&out[6..]).unwrap(), map);
        out[11] = 200; // wrong map length
        out[23] ^= 1; // wrong CRC
        assert_eq!(Psm::parse(&out[6..]).unwrap(), map);
    }
}
