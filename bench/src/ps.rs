//! MPEG program stream over RTP as GB/T 28181 annex C wants it; as much as a camera without sound needs.

const PES_MAX: usize = 0xFF80;
const PAYLOAD: usize = 1400;

fn stamp(marker: u8, pts: u64, out: &mut Vec<u8>) {
    out.push(marker | ((pts >> 29) & 0x0E) as u8);
    out.push((pts >> 22) as u8);
    out.push((pts >> 14) as u8 | 1);
    out.push((pts >> 7) as u8);
    out.push((pts << 1) as u8 | 1);
}

/// One picture as a pack.
pub fn pack(pts: u64, key: bool, video: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(video.len() + 128);
    let s = pts & 0x1_FFFF_FFFF;
    out.extend_from_slice(&[0, 0, 1, 0xBA]);
    out.push(0x44 | ((s >> 27) & 0x38) as u8 | ((s >> 28) & 3) as u8);
    out.push((s >> 20) as u8);
    out.push(((s >> 12) & 0xF8) as u8 | 4 | ((s >> 13) & 3) as u8);
    out.push((s >> 5) as u8);
    out.push(((s << 3) & 0xF8) as u8 | 4);
    out.push(1);
    out.extend_from_slice(&[0x03, 0x0D, 0x43, 0xF8]);
    if key {
        out.extend_from_slice(&[0, 0, 1, 0xBB, 0, 9, 0x81, 0x86, 0xA1, 0x04, 0xE1, 0x7F, 0xE0, 0xE0, 0x80]);
        let at = out.len();
        out.extend_from_slice(&[0, 0, 1, 0xBC, 0, 14, 0xE1, 0xFF, 0, 0, 0, 4, 0x1B, 0xE0, 0, 0]);
        let crc = out[at..].iter().fold(0xFFFF_FFFFu32, |mut crc, b| {
            crc ^= u32::from(*b) << 24;
            for _ in 0..8 {
                crc = if crc & 0x8000_0000 != 0 { crc << 1 ^ 0x04C1_1DB7 } else { crc << 1 };
            }
            crc
        });
        out.extend_from_slice(&crc.to_be_bytes());
    }
    for (n, part) in video.chunks(PES_MAX).enumerate() {
        let stamps = if n == 0 { 5 } else { 0 };
        out.extend_from_slice(&[0, 0, 1, 0xE0]);
        out.extend_from_slice(&((part.len() + 3 + stamps) as u16).to_be_bytes());
        out.extend_from_slice(&[0x80, if n == 0 { 0x80 } else { 0 }, stamps as u8]);
        if n == 0 {
            stamp(0x21, s, &mut out);
        }
        out.extend_from_slice(part);
    }
    out
}

/// The pack as RTP packets; the marker, if wanted, on the last.
pub fn packets(pack: &[u8], pts: u64, ssrc: u32, sequence: &mut u16, marker: bool) -> Vec<Vec<u8>> {
    let count = pack.len().div_ceil(PAYLOAD);
    let mut out = Vec::with_capacity(count);
    for (n, part) in pack.chunks(PAYLOAD).enumerate() {
        let mut p = Vec::with_capacity(12 + part.len());
        p.push(0x80);
        p.push(96 | if marker && n + 1 == count { 0x80 } else { 0 });
        p.extend_from_slice(&sequence.to_be_bytes());
        p.extend_from_slice(&(pts as u32).to_be_bytes());
        p.extend_from_slice(&ssrc.to_be_bytes());
        p.extend_from_slice(part);
        *sequence = sequence.wrapping_add(1);
        out.push(p);
    }
    out
}
