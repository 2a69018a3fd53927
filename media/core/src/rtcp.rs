//! RTCP (RFC 3550 section 6, RFC 4585, RFC 5104, draft-alvestrand-rmcat-remb): compound packets in and out, bounded.

use crate::error::{ParseError, be16, be32};

/// Most packets taken from one compound datagram.
pub const MAX_PACKETS: usize = 32;
/// Most NACK, FIR or REMB entries taken from one packet.
const MAX_ENTRIES: usize = 256;
/// Longest CNAME or BYE reason.
const MAX_TEXT: usize = 255;

/// One report block of a sender or receiver report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportBlock {
    pub ssrc: u32,
    /// Loss since the last report in 1/256.
    pub fraction_lost: u8,
    /// Total lost, 24 bits signed.
    pub total_lost: i32,
    /// Highest sequence number, extended to 32 bits.
    pub highest_sequence: u32,
    /// Interarrival jitter in ticks.
    pub jitter: u32,
    /// Middle 32 bits of the last sender report's NTP time, 0 if none.
    pub last_sr: u32,
    /// Delay since it, in 1/65536 s.
    pub delay_since_sr: u32,
}

/// One RTCP packet of a compound.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rtcp {
    SenderReport {
        ssrc: u32,
        ntp: u64,
        rtp: u32,
        packets: u32,
        octets: u32,
        reports: Vec<ReportBlock>,
    },
    ReceiverReport {
        ssrc: u32,
        reports: Vec<ReportBlock>,
    },
    /// Source description; only the CNAME of the first chunk is kept.
    Sdes {
        ssrc: u32,
        cname: String,
    },
    Bye {
        ssrcs: Vec<u32>,
        reason: String,
    },
    /// Generic NACK: pairs of first lost sequence (PID) and bit mask of the 16 after it (BLP).
    Nack {
        sender: u32,
        media: u32,
        entries: Vec<NackEntry>,
    },
    Pli {
        sender: u32,
        media: u32,
    },
    /// Full intra request: (target, sequence).
    Fir {
        sender: u32,
        entries: Vec<(u32, u8)>,
    },
    /// Receiver estimated maximum bit rate, bit/s.
    Remb {
        sender: u32,
        bitrate: u64,
        ssrcs: Vec<u32>,
    },
    /// Anything else, skipped by length.
    Other {
        packet_type: u8,
        count: u8,
    },
}

/// PID and BLP of a generic NACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NackEntry {
    pub pid: u16,
    pub blp: u16,
}

impl NackEntry {
    /// The lost sequence numbers.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        std::iter::once(self.pid)
            .chain((0..16u16).filter(move |i| self.blp & (1 << i) != 0).map(move |i| self.pid.wrapping_add(i + 1)))
    }

    /// Packs ascending lost sequence numbers, at most 256 entries.
    pub fn pack(lost: impl IntoIterator<Item = u16>) -> Vec<NackEntry> {
        let mut out: Vec<NackEntry> = Vec::new();
        for seq in lost {
            if let Some(e) = out.last_mut() {
                let d = seq.wrapping_sub(e.pid);
                if d == 0 {
                    continue;
                }
                if d <= 16 {
                    e.blp |= 1 << (d - 1);
                    continue;
                }
            }
            if out.len() == MAX_ENTRIES {
                break;
            }
            out.push(NackEntry { pid: seq, blp: 0 });
        }
        out
    }
}

impl Rtcp {
    /// Reads a compound (or reduced-size) datagram. What comes before a broken packet is lost with it: the datagram is one unit.
    pub fn parse_compound(b: &[u8]) -> Result<Vec<Rtcp>, ParseError> {
        let mut out = Vec::new();
        let mut at = 0;
        while at < b.len() {
            if out.len() == MAX_PACKETS {
                return Err(ParseError::new("too many RTCP packets in one datagram", at));
            }
            let head = b.get(at..at + 4).ok_or(ParseError::new("RTCP header cut short", at))?;
            if head[0] >> 6 != 2 {
                return Err(ParseError::new("RTCP version is not 2", at));
            }
            let len = 4 * (usize::from(u16::from_be_bytes([head[2], head[3]])) + 1);
            let whole = b.get(at..at + len).ok_or(ParseError::new("RTCP packet longer than the datagram", at + 2))?;
            let mut body = &whole[4..];
            if head[0] & 0x20 != 0 {
                let pad = usize::from(*body.last().ok_or(ParseError::new("RTCP padding in an empty packet", at))?);
                if pad == 0 || pad > body.len() {
                    return Err(ParseError::new("RTCP padding larger than the packet or zero", at + len - 1));
                }
                body = &body[..body.len() - pad];
            }
            let (count, pt) = (head[0] & 0x1F, head[1]);
            let one = Self::parse_body(pt, count, body).ok_or(ParseError::new("RTCP packet cut short", at + 4))?;
            out.push(one);
            at += len;
        }
        Ok(out)
    }

    fn parse_body(pt: u8, count: u8, b: &[u8]) -> Option<Rtcp> {
        Some(match (pt, count) {
            (200, n) => Rtcp::SenderReport {
                ssrc: be32(b, 0)?,
                ntp: (u64::from(be32(b, 4)?) << 32) | u64::from(be32(b, 8)?),
                rtp: be32(b, 12)?,
                packets: be32(b, 16)?,
                octets: be32(b, 20)?,
                reports: blocks(b.get(24..)?, n)?,
            },
            (201, n) => Rtcp::ReceiverReport { ssrc: be32(b, 0)?, reports: blocks(b.get(4..)?, n)? },
            (202, 0) => Rtcp::Other { packet_type: 202, count: 0 },
            (202, _) => Rtcp::Sdes { ssrc: be32(b, 0)?, cname: cname(b.get(4..)?)? },
            (203, n) => {
                let n = usize::from(n);
                let ssrcs = (0..n).map(|i| be32(b, 4 * i)).collect::<Option<Vec<_>>>()?;
                let reason = match b.get(4 * n) {
                    Some(&l) => {
                        String::from_utf8_lossy(b.get(4 * n + 1..4 * n + 1 + usize::from(l)).unwrap_or_default())
                            .into_owned()
                    }
                    None => String::new(),
                };
                Rtcp::Bye { ssrcs, reason }
            }
            (205, 1) => {
                let entries = b.get(8..)?.chunks_exact(4).take(MAX_ENTRIES);
                Rtcp::Nack {
                    sender: be32(b, 0)?,
                    media: be32(b, 4)?,
                    entries: entries.filter_map(|e| Some(NackEntry { pid: be16(e, 0)?, blp: be16(e, 2)? })).collect(),
                }
            }
            (206, 1) => Rtcp::Pli { sender: be32(b, 0)?, media: be32(b, 4)? },
            (206, 4) => {
                let entries =
                    b.get(8..)?.chunks_exact(8).take(MAX_ENTRIES).filter_map(|e| Some((be32(e, 0)?, e[4]))).collect();
                Rtcp::Fir { sender: be32(b, 0)?, entries }
            }
            (206, 15) if b.get(8..12) == Some(b"REMB") => {
                let n = usize::from(*b.get(12)?);
                let word = be32(b, 12)? & 0x00FF_FFFF;
                let bitrate = u64::from(word & 0x3_FFFF) << (word >> 18).min(45);
                let ssrcs = (0..n).map(|i| be32(b, 16 + 4 * i)).collect::<Option<Vec<_>>>()?;
                Rtcp::Remb { sender: be32(b, 0)?, bitrate, ssrcs }
            }
            (packet_type, count) => Rtcp::Other { packet_type, count },
        })
    }

    /// Appends this packet. Lists are cut at 31 (reports, BYE) or 255/256 entries; `Other` writes nothing.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let (pt, count) = match self {
            Rtcp::SenderReport { reports, .. } => (200, reports.len().min(31)),
            Rtcp::ReceiverReport { reports, .. } => (201, reports.len().min(31)),
            Rtcp::Sdes { .. } => (202, 1),
            Rtcp::Bye { ssrcs, .. } => (203, ssrcs.len().min(31)),
            Rtcp::Nack { .. } => (205, 1),
            Rtcp::Pli { .. } => (206, 1),
            Rtcp::Fir { .. } => (206, 4),
            Rtcp::Remb { .. } => (206, 15),
            Rtcp::Other { .. } => return,
        };
        out.extend_from_slice(&[0x80 | count as u8, pt, 0, 0]);
        let put = |out: &mut Vec<u8>, v: u32| out.extend_from_slice(&v.to_be_bytes());
        match self {
            Rtcp::SenderReport { ssrc, ntp, rtp, packets, octets, reports } => {
                put(out, *ssrc);
                out.extend_from_slice(&ntp.to_be_bytes());
                for v in [rtp, packets, octets] {
                    put(out, *v);
                }
                write_blocks(out, reports);
            }
            Rtcp::ReceiverReport { ssrc, reports } => {
                put(out, *ssrc);
                write_blocks(out, reports);
            }
            Rtcp::Sdes { ssrc, cname } => {
                put(out, *ssrc);
                let text = clip(cname);
                out.extend_from_slice(&[1, text.len() as u8]);
                out.extend_from_slice(text);
                out.push(0);
            }
            Rtcp::Bye { ssrcs, reason } => {
                ssrcs.iter().take(31).for_each(|s| put(out, *s));
                if !reason.is_empty() {
                    let text = clip(reason);
                    out.push(text.len() as u8);
                    out.extend_from_slice(text);
                }
            }
            Rtcp::Nack { sender, media, entries } => {
                put(out, *sender);
                put(out, *media);
                for e in entries.iter().take(MAX_ENTRIES) {
                    put(out, (u32::from(e.pid) << 16) | u32::from(e.blp));
                }
            }
            Rtcp::Pli { sender, media } => {
                put(out, *sender);
                put(out, *media);
            }
            Rtcp::Fir { sender, entries } => {
                put(out, *sender);
                put(out, 0);
                for (ssrc, seq) in entries.iter().take(MAX_ENTRIES) {
                    put(out, *ssrc);
                    put(out, u32::from(*seq) << 24);
                }
            }
            Rtcp::Remb { sender, bitrate, ssrcs } => {
                put(out, *sender);
                put(out, 0);
                out.extend_from_slice(b"REMB");
                let exp = (64 - bitrate.leading_zeros()).saturating_sub(18);
                let mantissa = (bitrate >> exp) as u32;
                let n = ssrcs.len().min(255);
                put(out, ((n as u32) << 24) | (exp << 18) | mantissa);
                ssrcs.iter().take(n).for_each(|s| put(out, *s));
            }
            Rtcp::Other { .. } => {}
        }
        while !(out.len() - start).is_multiple_of(4) {
            out.push(0);
        }
        let words = ((out.len() - start) / 4 - 1) as u16;
        out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
    }

    /// A compound datagram of these packets.
    pub fn write_compound(packets: &[Rtcp]) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        packets.iter().take(MAX_PACKETS).for_each(|p| p.write(&mut out));
        out
    }
}

fn clip(s: &str) -> &[u8] {
    &s.as_bytes()[..s.len().min(MAX_TEXT)]
}

fn blocks(b: &[u8], n: u8) -> Option<Vec<ReportBlock>> {
    (0..usize::from(n))
        .map(|i| {
            let r = b.get(24 * i..24 * i + 24)?;
            let lost = be32(r, 4)? & 0x00FF_FFFF;
            Some(ReportBlock {
                ssrc: be32(r, 0)?,
                fraction_lost: r[4],
                total_lost: ((lost << 8) as i32) >> 8,
                highest_sequence: be32(r, 8)?,
                jitter: be32(r, 12)?,
                last_sr: be32(r, 16)?,
                delay_since_sr: be32(r, 20)?,
            })
        })
        .collect()
}

fn write_blocks(out: &mut Vec<u8>, reports: &[ReportBlock]) {
    for r in reports.iter().take(31) {
        let lost = (r.total_lost.clamp(-0x80_0000, 0x7F_FFFF) as u32) & 0x00FF_FFFF;
        for v in [
            r.ssrc,
            (u32::from(r.fraction_lost) << 24) | lost,
            r.highest_sequence,
            r.jitter,
            r.last_sr,
            r.delay_since_sr,
        ] {
            out.extend_from_slice(&v.to_be_bytes());
        }
    }
}

/// The CNAME item of one chunk; empty when it has none, None when an item runs over the end.
fn cname(mut items: &[u8]) -> Option<String> {
    loop {
        match items {
            [] | [0, ..] => return Some(String::new()),
            [kind, len, rest @ ..] => {
                let text = rest.get(..usize::from(*len))?;
                if *kind == 1 {
                    return Some(String::from_utf8_lossy(text).into_owned());
                }
                items = &rest[usize::from(*len)..];
            }
            [_] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn every_kind_round_trips() {
        let block = ReportBlock {
            ssrc: 9,
            fraction_lost: 3,
            total_lost: -5,
            highest_sequence: 70_000,
            jitter: 12,
            last_sr: 1,
            delay_since_sr: 2,
        };
        let all = vec![
            Rtcp::SenderReport {
                ssrc: 1,
                ntp: 0x1234_5678_9ABC_DEF0,
                rtp: 90_000,
                packets: 4,
                octets: 500,
                reports: vec![block],
            },
            Rtcp::ReceiverReport { ssrc: 2, reports: vec![block, block] },
            Rtcp::Sdes { ssrc: 1, cname: "hall@skybridge".into() },
            Rtcp::Nack { sender: 1, media: 2, entries: NackEntry::pack([65_530, 65_531, 4, 30]) },
            Rtcp::Pli { sender: 1, media: 2 },
            Rtcp::Fir { sender: 1, entries: vec![(7, 3)] },
            Rtcp::Remb { sender: 1, bitrate: 2_500_000 >> 4 << 4, ssrcs: vec![5, 6] },
            Rtcp::Bye { ssrcs: vec![1], reason: "end of shift".into() },
        ];
        let bytes = Rtcp::write_compound(&all);
        let back = Rtcp::parse_compound(&bytes).unwrap();
        assert_eq!(back, all);
        for cut in 0..bytes.len() {
            let _ = Rtcp::parse_compound(&bytes[..cut]);
        }
        let Rtcp::Nack { entries, .. } = &all[3] else { panic!() };
        let lost: Vec<u16> = entries.iter().flat_map(|e| e.iter()).collect();
        assert_eq!(lost, vec![65_530, 65_531, 4, 30]);
    }

    #[test]
    fn errors_say_where() {
        let e = Rtcp::parse_compound(&[0x80, 200, 0, 9, 0]).unwrap_err();
        assert_eq!(e.to_string(), "RTCP packet longer than the datagram at byte 2");
        assert!(Rtcp::parse_compound(&[0x81, 201, 0, 1, 0, 0, 0, 1]).is_err());
    }
}
