//! RTP packets (RFC 3550 section 5) and the widening of their short counters.

use crate::error::{ParseError, be16, be32};

/// Length of the fixed RTP header in bytes.
pub const RTP_HEADER_LEN: usize = 12;

/// A parsed RTP packet, borrowing the datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    /// Contributing sources, 4 bytes each, at most 15 of them.
    pub csrc: &'a [u8],
    pub extension: Option<RtpExtension<'a>>,
    /// Without padding.
    pub payload: &'a [u8],
    /// Padding bytes cut from the end.
    pub padding: u8,
}

/// The header extension (RFC 3550 5.3.1, RFC 8285 inside).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpExtension<'a> {
    /// 0xBEDE for one-byte, 0x100x for two-byte elements.
    pub profile: u16,
    pub data: &'a [u8],
}

impl<'a> RtpPacket<'a> {
    /// Reads one datagram. Everything is checked: version, CSRC list, extension and padding.
    pub fn parse(b: &'a [u8]) -> Result<Self, ParseError> {
        if b.len() < RTP_HEADER_LEN {
            return Err(ParseError::new("RTP packet shorter than its header", b.len()));
        }
        if b[0] >> 6 != 2 {
            return Err(ParseError::new("RTP version is not 2", 0));
        }
        let csrc_end = RTP_HEADER_LEN + 4 * usize::from(b[0] & 0x0F);
        let csrc = b.get(RTP_HEADER_LEN..csrc_end).ok_or(ParseError::new("RTP CSRC list cut short", b.len()))?;
        let mut start = csrc_end;
        let mut extension = None;
        if b[0] & 0x10 != 0 {
            let short = ParseError::new("RTP header extension cut short", start);
            let profile = be16(b, start).ok_or(short)?;
            let words = usize::from(be16(b, start + 2).ok_or(short)?);
            let data = b.get(start + 4..start + 4 + 4 * words).ok_or(short)?;
            start += 4 + data.len();
            extension = Some(RtpExtension { profile, data });
        }
        let mut end = b.len();
        let mut padding = 0;
        if b[0] & 0x20 != 0 {
            padding = b[end - 1];
            if padding == 0 || end - start < usize::from(padding) {
                return Err(ParseError::new("RTP padding larger than the payload or zero", end - 1));
            }
            end -= usize::from(padding);
        }
        let short = ParseError::new("RTP packet shorter than its header", 0);
        Ok(RtpPacket {
            marker: b[1] & 0x80 != 0,
            payload_type: b[1] & 0x7F,
            sequence: be16(b, 2).ok_or(short)?,
            timestamp: be32(b, 4).ok_or(short)?,
            ssrc: be32(b, 8).ok_or(short)?,
            csrc,
            extension,
            payload: b.get(start..end).ok_or(short)?,
            padding,
        })
    }
}

/// The fixed header of a packet to send: version 2, no padding, no extension, no CSRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpHeader {
    pub marker: bool,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
}

impl RtpHeader {
    /// The 12 bytes on the wire.
    pub fn to_bytes(&self) -> [u8; RTP_HEADER_LEN] {
        let mut h = [0; RTP_HEADER_LEN];
        h[0] = 0x80;
        h[1] = (u8::from(self.marker) << 7) | (self.payload_type & 0x7F);
        h[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        h[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        h[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        h
    }

    /// Appends header and payload parts to `out`.
    pub fn write(&self, out: &mut Vec<u8>, parts: &[&[u8]]) {
        out.extend_from_slice(&self.to_bytes());
        for p in parts {
            out.extend_from_slice(p);
        }
    }
}

/// Whether a datagram on a shared port is RTCP (RFC 5761 section 4: second byte 192 to 223).
pub fn is_rtcp(b: &[u8]) -> bool {
    b.len() >= 4 && b[0] >> 6 == 2 && (192..=223).contains(&b[1])
}

/// Widens 16-bit sequence numbers. The first packet gets `65536 + seq`, so that older ones that arrive late stay positive.
#[derive(Debug, Clone, Default)]
pub struct SeqExtender {
    highest: Option<u64>,
}

impl SeqExtender {
    pub fn new() -> Self {
        Self::default()
    }

    /// The 64-bit number of `seq`, nearest to the highest one seen.
    pub fn extend(&mut self, seq: u16) -> u64 {
        let Some(high) = self.highest else {
            let first = 65_536 + u64::from(seq);
            self.highest = Some(first);
            return first;
        };
        let delta = seq.wrapping_sub(high as u16) as i16;
        let wide = high.saturating_add_signed(i64::from(delta));
        if wide > high {
            self.highest = Some(wide);
        }
        wide
    }

    /// Highest number seen.
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }

    pub fn reset(&mut self) {
        self.highest = None;
    }
}

/// Result of [`TimestampExtender::extend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// The stamp follows the last one.
    Continuous(i64),
    /// It jumped by more than the limit: the caller decides on a new base.
    Discontinuity { ticks: i64, jump: i64 },
}

impl Stamp {
    pub fn ticks(self) -> i64 {
        match self {
            Stamp::Continuous(t) | Stamp::Discontinuity { ticks: t, .. } => t,
        }
    }
}

/// Widens 32-bit RTP timestamps; a step of more than 5 s either way is reported as a discontinuity.
#[derive(Debug, Clone)]
pub struct TimestampExtender {
    last: Option<i64>,
    limit: i64,
}

impl TimestampExtender {
    /// `clock_rate` in ticks per second.
    pub fn new(clock_rate: u32) -> Self {
        TimestampExtender { last: None, limit: 5 * i64::from(clock_rate.max(1)) }
    }

    pub fn extend(&mut self, timestamp: u32) -> Stamp {
        let Some(last) = self.last else {
            self.last = Some(i64::from(timestamp));
            return Stamp::Continuous(i64::from(timestamp));
        };
        let jump = i64::from(timestamp.wrapping_sub(last as u32) as i32);
        let ticks = last.wrapping_add(jump);
        self.last = Some(ticks);
        if jump.abs() > self.limit { Stamp::Discontinuity { ticks, jump } } else { Stamp::Continuous(ticks) }
    }

    pub fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn header_written_is_header_read() {
        let h =
            RtpHeader { marker: true, payload_type: 96, sequence: 65535, timestamp: 0xDEAD_BEEF, ssrc: 200_000_137 };
        let mut out = Vec::new();
        h.write(&mut out, &[b"ab", b"cd"]);
        let p = RtpPacket::parse(&out).unwrap();
        assert_eq!(
            (p.marker, p.payload_type, p.sequence, p.timestamp, p.ssrc),
            (true, 96, 65535, 0xDEAD_BEEF, 200_000_137)
        );
        assert_eq!(p.payload, b"abcd");
    }

    #[test]
    fn csrc_extension_and_padding() {
        let mut b = vec![0xB1, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 1, 1, 1, 0xBE, 0xDE, 0, 1, 9, 9, 9, 9];
        b.extend_from_slice(&[7, 7, 0, 2]);
        let p = RtpPacket::parse(&b).unwrap();
        assert_eq!((p.csrc.len(), p.payload, p.padding), (4, &[7u8, 7][..], 2));
        assert_eq!(p.extension.unwrap(), RtpExtension { profile: 0xBEDE, data: &[9, 9, 9, 9] });
        for cut in 0..b.len() {
            let _ = RtpPacket::parse(&b[..cut]);
        }
        let last = b.len() - 1;
        b[last] = 200;
        assert_eq!(RtpPacket::parse(&b).unwrap_err().at, last);
    }

    #[test]
    fn counters_wrap() {
        let mut s = SeqExtender::new();
        assert_eq!(s.extend(65534), 131_070);
        assert_eq!(s.extend(1), 131_073);
        assert_eq!(s.extend(65535), 131_071);
        assert_eq!(s.highest(), Some(131_073));
        let mut t = TimestampExtender::new(90_000);
        assert_eq!(t.extend(u32::MAX), Stamp::Continuous(4_294_967_295));
        assert_eq!(t.extend(3599), Stamp::Continuous(4_294_970_895));
        assert!(matches!(t.extend(3599 + 450_001), Stamp::Discontinuity { jump: 450_001, .. }));
    }
}
