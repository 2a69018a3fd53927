//! STUN Binding requests on the SIP port: how a phone keeps its way through NAT open over UDP and sees that it moved
//! (RFC 5626 section 4.4.2, RFC 8489). Nothing else of STUN is known here.

use std::net::{IpAddr, SocketAddr};

const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const BINDING: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const XOR_MAPPED_ADDRESS: [u8; 2] = [0x00, 0x20];

/// The answer to a Binding request from `peer`; `None` for everything else. A request longer than 548 bytes (what passes each
/// IPv4 network, RFC 8489 section 6.1) gets none.
pub fn answer(data: &[u8], peer: SocketAddr) -> Option<Vec<u8>> {
    let head = data.get(..HEADER)?;
    let length = usize::from(u16::from_be_bytes([*head.get(2)?, *head.get(3)?]));
    let known = head.starts_with(&BINDING) && head.get(4..8)? == COOKIE.as_slice();
    if !known || length % 4 != 0 || data.len() != HEADER + length || data.len() > 548 {
        return None;
    }
    let mask = head.get(4..HEADER)?;
    let (family, address): (u8, Vec<u8>) = match peer.ip().to_canonical() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let size = u16::try_from(4 + address.len()).ok()?;
    let mut out = Vec::with_capacity(HEADER + 8 + address.len());
    out.extend_from_slice(&BINDING_SUCCESS);
    out.extend_from_slice(&(size + 4).to_be_bytes());
    out.extend_from_slice(mask);
    out.extend_from_slice(&XOR_MAPPED_ADDRESS);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&[0, family]);
    out.extend_from_slice(&(peer.port() ^ 0x2112).to_be_bytes());
    out.extend(address.iter().zip(mask).map(|(a, m)| a ^ m));
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).unwrap()
    }

    #[test]
    fn the_vectors_of_rfc_5769() {
        // Their transaction and addresses (sections 2.2 and 2.3), without SOFTWARE, MESSAGE-INTEGRITY and FINGERPRINT.
        let request = unhex("0001 0000 2112a442 b7e7a701bc34d686fa87dfae");
        let four = answer(&request, "192.0.2.1:32853".parse().unwrap()).unwrap();
        assert_eq!(four, unhex("0101 000c 2112a442 b7e7a701bc34d686fa87dfae 0020 0008 0001 a147 e112a643"));
        let six = answer(&request, "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap()).unwrap();
        let wanted = "0101 0018 2112a442 b7e7a701bc34d686fa87dfae 0020 0014 0002 a147 0113a9faa5d3f179bc25f4b5bed2b9d9";
        assert_eq!(six, unhex(wanted));
    }

    #[test]
    fn all_else_gets_no_answer() {
        let peer = "192.0.2.1:1".parse().unwrap();
        let good = unhex("0001 0000 2112a442 b7e7a701bc34d686fa87dfae");
        for cut in 0..good.len() {
            assert!(answer(good.get(..cut).unwrap(), peer).is_none());
        }
        for (at, byte) in [(0, 1), (1, 3), (3, 4), (3, 1), (4, 0)] {
            let mut bad = good.clone();
            *bad.get_mut(at).unwrap() = byte;
            assert!(answer(&bad, peer).is_none(), "{at}");
        }
    }
}
