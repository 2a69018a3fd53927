//! Headers of PES packets and the start codes of the system layer (ISO/IEC 13818-1 2.4.3.6 and 2.5).

use crate::nal::find_start_code;

/// Next `00 00 01 xx` with xx >= `least` (0xBA: exactly that) at or after `from`.
pub(crate) fn find_system_code(b: &[u8], from: usize, least: u8) -> Option<usize> {
    let mut at = from;
    while let Some(i) = find_start_code(b, at) {
        match b.get(i + 3)? {
            0xBA => return Some(i),
            x if least != 0xBA && *x >= least => return Some(i),
            _ => at = i + 3,
        }
    }
    None
}

/// The PTS of a PES packet, if its header is whole.
pub(crate) fn pes_stamp(b: &[u8]) -> Option<u64> {
    pes_header(b).and_then(|h| h.0)
}

/// A PES packet of any length as PES packets of `id` whose length fields hold.
pub(crate) fn repack(pes: &[u8], id: u8, out: &mut Vec<u8>) {
    /// Payload of one piece; libmpeg keeps below this too.
    const PIECE: usize = 0xFF00;
    let Some((_, start)) = pes_header(pes) else { return };
    let (head, payload) = pes.split_at(start.min(pes.len()));
    for (n, piece) in payload.chunks(PIECE).enumerate() {
        let head: &[u8] = if n == 0 { head.get(6..).unwrap_or_default() } else { &[0x80, 0, 0] };
        out.extend_from_slice(&[0, 0, 1, id]);
        out.extend_from_slice(&((head.len() + piece.len()) as u16).to_be_bytes());
        out.extend_from_slice(head);
        out.extend_from_slice(piece);
    }
}

/// PTS and start of the payload in a PES packet; MPEG-2 and MPEG-1 headers.
pub(crate) fn pes_header(b: &[u8]) -> Option<(Option<u64>, usize)> {
    let stamp = |p: &[u8]| -> Option<u64> {
        let p = p.get(..5)?;
        let high = u64::from((p[0] >> 1) & 7) << 30;
        let mid = u64::from(u16::from_be_bytes([p[1], p[2]]) >> 1) << 15;
        Some(high | mid | u64::from(u16::from_be_bytes([p[3], p[4]]) >> 1))
    };
    let h = *b.get(6)?;
    if h >> 6 == 2 {
        let len = usize::from(*b.get(8)?);
        let start = 9 + len;
        if start > b.len() {
            return None;
        }
        let pts = if b[7] & 0x80 != 0 && len >= 5 { stamp(&b[9..]) } else { None };
        return Some((pts, start));
    }
    // MPEG-1
    let mut at = 6;
    while at < 6 + 16 && *b.get(at)? == 0xFF {
        at += 1;
    }
    if *b.get(at)? >> 6 == 1 {
        at += 2;
    }
    match *b.get(at)? >> 4 {
        2 => Some((stamp(&b[at..]), (at + 5).min(b.len()))),
        3 => Some((stamp(&b[at..]), (at + 10).min(b.len()))),
        _ if *b.get(at)? == 0x0F => Some((None, at + 1)),
        _ => Some((None, 6)),
    }
}
