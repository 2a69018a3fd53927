//! RTP packets (RFC 3550): cutting a pack into packets, headers of speech, and sender reports.

/// Payload bytes of one packet at most.
pub const MAX_PAYLOAD: usize = 1400;

pub fn packet(payload_type: u8, marker: bool, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(12 + payload.len());
    out.push(0x80);
    out.push(payload_type & 0x7F | if marker { 0x80 } else { 0 });
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&timestamp.to_be_bytes());
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// What a receiver needs of a packet.
pub struct Parsed<'a> {
    pub payload_type: u8,
    pub timestamp: u32,
    pub payload: &'a [u8],
}

pub fn parse(bytes: &[u8]) -> Option<Parsed<'_>> {
    let head = bytes.get(..12)?;
    if head.first()? >> 6 != 2 {
        return None;
    }
    let mut at = 12 + usize::from(head.first()? & 15) * 4;
    if head.first()? & 0x10 != 0 {
        let extension = bytes.get(at..at + 4)?;
        at += 4 + usize::from(u16::from_be_bytes([*extension.get(2)?, *extension.get(3)?])) * 4;
    }
    let mut end = bytes.len();
    if head.first()? & 0x20 != 0 {
        end = end.checked_sub(usize::from(*bytes.last()?))?;
    }
    let timestamp = u32::from_be_bytes([*head.get(4)?, *head.get(5)?, *head.get(6)?, *head.get(7)?]);
    Some(Parsed { payload_type: head.get(1)? & 0x7F, timestamp, payload: bytes.get(at..end)? })
}

/// A sender report with a canonical name; `unix` is the wall clock in seconds since 1970.
pub fn sender_report(ssrc: u32, unix: f64, timestamp: u32, packets: u32, octets: u32, cname: &str) -> Vec<u8> {
    let ntp = unix + 2_208_988_800.0;
    let mut out = vec![0x80, 200, 0, 6];
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&(ntp as u64 as u32).to_be_bytes());
    out.extend_from_slice(&((ntp.fract() * 4_294_967_296.0) as u32).to_be_bytes());
    for word in [timestamp, packets, octets] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    let mut item = ssrc.to_be_bytes().to_vec();
    item.push(1);
    item.push(cname.len().min(255) as u8);
    item.extend(cname.bytes().take(255));
    item.push(0);
    item.resize(item.len().div_ceil(4) * 4, 0);
    out.extend_from_slice(&[0x81, 202]);
    out.extend_from_slice(&((item.len() / 4) as u16).to_be_bytes());
    out.extend(item);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_back() {
        let bytes = packet(96, true, 0x1234, 0x0102_0304, 200_000_137, b"ab");
        assert_eq!(hex::encode(&bytes), "80e01234010203040bebc2896162");
        let p = parse(&bytes).unwrap();
        assert_eq!((p.payload_type, p.timestamp, p.payload), (96, 0x0102_0304, b"ab".as_slice()));
        assert_eq!(sender_report(1, 0.5, 2, 3, 4, "cam").len() % 4, 0);
    }
}
