//! H.264 and H.265 in RTP without a container (RFC 6184, RFC 7798): single NAL units and fragments.

use crate::rtp::MAX_PAYLOAD;

/// NAL units of an Annex B picture.
fn nals(bytes: &[u8]) -> Vec<&[u8]> {
    let mut starts: Vec<usize> = Vec::new();
    let mut at = 0;
    while at + 3 <= bytes.len() {
        if bytes[at..].starts_with(&[0, 0, 1]) {
            starts.push(at + 3);
            at += 3;
        } else {
            at += 1;
        }
    }
    let end = |n: usize| starts.get(n + 1).map_or(bytes.len(), |s| s - 3);
    let cut = |n: usize, s: usize| {
        let mut nal = bytes.get(s..end(n)).unwrap_or_default();
        while let [head @ .., 0] = nal {
            nal = head;
        }
        nal
    };
    starts.iter().enumerate().map(|(n, s)| cut(n, *s)).filter(|n| n.len() > 2).collect()
}

/// RTP payloads of one picture.
pub fn payloads(h265: bool, picture: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for nal in nals(picture) {
        if nal.len() <= MAX_PAYLOAD {
            out.push(nal.to_vec());
            continue;
        }
        let skip = if h265 { 2 } else { 1 };
        let body = nal.get(skip..).unwrap_or_default();
        let count = body.len().div_ceil(MAX_PAYLOAD - 3);
        for (n, part) in body.chunks(MAX_PAYLOAD - 3).enumerate() {
            let ends = if n == 0 {
                0x80
            } else if n + 1 == count {
                0x40
            } else {
                0
            };
            let mut p = if h265 {
                vec![nal[0] & 0x81 | 49 << 1, nal[1], ends | nal[0] >> 1 & 0x3F]
            } else {
                vec![nal[0] & 0xE0 | 28, ends | nal[0] & 0x1F]
            };
            p.extend_from_slice(part);
            out.push(p);
        }
    }
    out
}
