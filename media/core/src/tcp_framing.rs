//! RTP and RTCP over TCP: RFC 4571 lengths, the `$` form of RTSP told apart, and recovery when a device miscounts
//! (gb28181.md section 13).

use crate::error::{be16, be32};
use crate::rtp::is_rtcp;

/// Most bytes held. One packet is at most 65535 bytes.
pub const MAX_BUFFER: usize = 256 * 1024;
/// Packets above this are seldom: their SSRC must be the known one.
const LARGE: usize = 2048;
/// After this many recoveries that found nothing the connection is useless.
const MAX_FAILURES: u32 = 4;

/// Counters of a [`Deframer`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FramingStats {
    pub packets: u64,
    pub bytes: u64,
    /// Times the length or what followed it made no sense.
    pub errors: u64,
    /// Bytes thrown away while looking for the next packet.
    pub skipped: u64,
    /// Length fields of zero.
    pub empty: u64,
    /// Position in the connection of the last error.
    pub last_error_at: u64,
}

/// One packet out of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framed<'a> {
    /// The channel of the `$` form.
    pub channel: Option<u8>,
    pub rtcp: bool,
    pub data: &'a [u8],
}

/// Takes bytes of a TCP connection, gives packets. Call [`Deframer::next_packet`] until None after each push.
#[derive(Debug, Default)]
pub struct Deframer {
    buf: Vec<u8>,
    pos: usize,
    /// Bytes before `buf[0]`.
    base: u64,
    ssrc: Option<u32>,
    hunting: bool,
    failures: u32,
    stats: FramingStats,
}

impl Deframer {
    pub fn new() -> Self {
        Self::default()
    }

    /// The SSRC agreed in signalling, for recovery; else that of the first packet is used.
    pub fn expect_ssrc(&mut self, ssrc: u32) {
        self.ssrc = Some(ssrc);
    }

    pub fn stats(&self) -> FramingStats {
        self.stats
    }

    /// Recovery failed several times: close the connection and invite again.
    pub fn hopeless(&self) -> bool {
        self.failures >= MAX_FAILURES
    }

    /// Adds bytes. Above 256 KiB of undigested bytes the oldest are thrown away, which counts as an error.
    pub fn push(&mut self, data: &[u8]) {
        if self.pos > 0 {
            self.buf.drain(..self.pos);
            self.base += self.pos as u64;
            self.pos = 0;
        }
        self.stats.bytes += data.len() as u64;
        let data = if data.len() > MAX_BUFFER { &data[data.len() - MAX_BUFFER..] } else { data };
        self.buf.extend_from_slice(data);
        if self.buf.len() > MAX_BUFFER {
            let drop = self.buf.len() - MAX_BUFFER;
            self.fault();
            self.skip(drop);
        }
    }

    fn skip(&mut self, n: usize) {
        self.pos += n;
        self.stats.skipped += n as u64;
    }

    fn fault(&mut self) {
        self.stats.errors += 1;
        self.stats.last_error_at = self.base + self.pos as u64;
        self.hunting = true;
    }

    /// The next whole packet.
    pub fn next_packet(&mut self) -> Option<Framed<'_>> {
        let (channel, start, end) = loop {
            if self.hunting && !self.hunt() {
                return None;
            }
            let b = self.buf.get(self.pos..)?;
            if b.len() < 2 {
                return None;
            }
            let len = usize::from(u16::from_be_bytes([b[0], b[1]]));
            if len == 0 {
                self.stats.empty += 1;
                self.pos += 2;
                continue;
            }
            // 0x24 is both `$` and the high byte of lengths 9216 to 9471: look where the RTP version bits are.
            if b.len() < 6 {
                return None;
            }
            let plain = b[2] >> 6 == 2 && len >= 8;
            if !plain && b[0] == b'$' && b[1] < 16 && b[4] >> 6 == 2 {
                let inner = usize::from(u16::from_be_bytes([b[2], b[3]]));
                if inner >= 8 {
                    if b.len() < 4 + inner {
                        return None;
                    }
                    break (Some(b[1]), self.pos + 4, self.pos + 4 + inner);
                }
            }
            // A stray byte before a length makes a huge one: a stranger's SSRC in so large a packet is no packet.
            if plain && len > LARGE && b.len() < 14 {
                return None;
            }
            let stranger =
                plain && len > LARGE && self.ssrc.is_some_and(|s| be32(b, 10) != Some(s)) && !is_rtcp(&b[2..]);
            if !plain || stranger {
                self.fault();
                // Not this place again.
                self.skip(usize::from(stranger));
                continue;
            }
            if b.len() < 2 + len {
                return None;
            }
            break (None, self.pos + 2, self.pos + 2 + len);
        };
        self.pos = end;
        self.stats.packets += 1;
        self.failures = 0;
        let data = self.buf.get(start..end)?;
        let rtcp = is_rtcp(data);
        if self.ssrc.is_none() && !rtcp {
            self.ssrc = be32(data, 8);
        }
        Some(Framed { channel, rtcp, data })
    }

    /// Looks for a packet start: the known SSRC twice at the distance of a length field, or two packets of one SSRC with
    /// following numbers, or a PS pack header right behind an RTP header. True when `pos` stands on one.
    fn hunt(&mut self) -> bool {
        let b = &self.buf[self.pos..];
        let header = |at: usize| -> Option<(usize, u16, u32)> {
            let len = usize::from(be16(b, at)?);
            (len >= 12 && *b.get(at + 2)? >> 6 == 2).then_some(())?;
            Some((len, be16(b, at + 4)?, be32(b, at + 10)?))
        };
        for at in 0..b.len().saturating_sub(14) {
            let Some((len, seq, ssrc)) = header(at) else { continue };
            let known = self.ssrc == Some(ssrc);
            let twin = header(at + 2 + len).is_some_and(|(_, q, s)| s == ssrc && (known || q == seq.wrapping_add(1)));
            let pack = b[at + 2] & 0x3F == 0 && b.get(at + 14..at + 18) == Some(&[0, 0, 1, 0xBA]);
            if twin || pack {
                self.skip(at);
                self.hunting = false;
                return true;
            }
        }
        // Keep what may still prove to be a start.
        if b.len() > MAX_BUFFER / 2 {
            let drop = b.len() - 70_000;
            self.failures += 1;
            self.skip(drop);
        }
        false
    }
}

/// The two bytes before a packet (RFC 4571). `len` above 65535 is cut.
pub fn frame_header(len: usize) -> [u8; 2] {
    (len.min(0xFFFF) as u16).to_be_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::rtp::RtpHeader;

    fn packet(seq: u16, len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let h = RtpHeader { marker: false, payload_type: 96, sequence: seq, timestamp: 1, ssrc: 200_000_137 };
        h.write(&mut out, &[&vec![seq as u8; len]]);
        out
    }

    fn framed(seq: u16, len: usize) -> Vec<u8> {
        let p = packet(seq, len);
        let mut out = frame_header(p.len()).to_vec();
        out.extend(p);
        out
    }

    fn drain(d: &mut Deframer) -> Vec<u16> {
        let mut out = Vec::new();
        while let Some(f) = d.next_packet() {
            out.push(be16(f.data, 2).unwrap());
        }
        out
    }

    #[test]
    fn byte_by_byte_and_all_at_once() {
        let all: Vec<u8> = (0..20).flat_map(|i| framed(i, 100 * usize::from(i))).collect();
        let mut d = Deframer::new();
        let mut got = Vec::new();
        for b in &all {
            d.push(&[*b]);
            got.extend(drain(&mut d));
        }
        assert_eq!(got, (0..20).collect::<Vec<_>>());
        let mut d = Deframer::new();
        d.push(&all);
        assert_eq!(drain(&mut d).len(), 20);
        assert_eq!(d.stats().errors, 0);
    }

    #[test]
    fn dollar_form_and_a_length_that_looks_like_it() {
        let mut d = Deframer::new();
        let p = packet(1, 50);
        let mut b = vec![b'$', 0];
        b.extend(frame_header(p.len()));
        b.extend(&p);
        b.extend(framed(2, 0x2405 - 12));
        b.extend([0, 0]);
        b.extend(framed(3, 10));
        d.push(&b);
        assert_eq!(d.next_packet().unwrap().channel, Some(0));
        assert_eq!(drain(&mut d), vec![2, 3]);
        assert_eq!((d.stats().empty, d.stats().errors), (1, 0));
    }

    #[test]
    fn recovers_from_preamble_and_stray_bytes() {
        let mut d = Deframer::new();
        let mut b = vec![1, 0, 1];
        b.extend([7; 253]);
        for i in 0..5 {
            b.extend(framed(i, 300));
        }
        b.push(0x55);
        for i in 5..10 {
            b.extend(framed(i, 300));
        }
        d.push(&b);
        let got = drain(&mut d);
        assert!(got.len() >= 9 && got.contains(&0) && got.contains(&9), "{got:?}");
        assert_eq!(d.stats().errors, 2);
        assert!(!d.hopeless());
    }

    #[test]
    fn a_stray_byte_swallows_nothing() {
        // Low length bytes from 0x80 to 0xBF look like the begin of RTP when they slip by one.
        let mut d = Deframer::new();
        let mut b = Vec::new();
        for i in 0..100 {
            if i % 10 == 5 {
                b.push(0x55);
            }
            b.extend(framed(i, 0x190 - 12));
        }
        d.push(&b);
        let got = drain(&mut d);
        assert!(got.len() >= 98, "{}", got.len());
        // The sender's SSRC changes: found again all the same.
        let mut d = Deframer::new();
        d.expect_ssrc(5);
        d.push(&b[b.len() - 20 * 402..]);
        assert!(drain(&mut d).len() >= 15);
    }

    #[test]
    fn garbage_is_bounded_and_hopeless() {
        let mut d = Deframer::new();
        for _ in 0..100 {
            d.push(&[0x11; 10_000]);
            while d.next_packet().is_some() {}
            assert!(d.buf.len() <= MAX_BUFFER);
        }
        assert!(d.hopeless());
    }
}
