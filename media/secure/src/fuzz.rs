//! Bodies of the fuzz targets in `tests/fuzz`: they must not panic and must keep the promises named in them.

use media_core::sdp::Sdp;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use crate::channel::Agreed;
use crate::describe::{Fingerprint, Peer, undress};
use crate::dtls::{Association, Identity};
use crate::sdes::Crypto;
use crate::security::{Kind, Security};

const KINDS: [Kind; 4] = [Kind::Plain, Kind::Sdes, Kind::Dtls, Kind::Browser];
const OFFER: &str =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";

/// What a description says of keys, fingerprints and ICE, taken as an offer and as the answer to each kind of offer of ours. What a key
/// line says is written as it was read; what we answer can be read, and protects as the far end does; an answer never makes a
/// protected call a plain one.
pub fn description(data: &[u8]) {
    for value in String::from_utf8_lossy(data).split(['\r', '\n']) {
        let value = value.strip_prefix("a=crypto:").unwrap_or(value);
        if let Some(line) = Crypto::parse(value) {
            let again = Crypto::parse(&line.write());
            assert!(again.is_some_and(|a| a.tag == line.tag && a.keys.material() == line.keys.material()));
        }
        let _ = Fingerprint::parse(value.strip_prefix("a=fingerprint:").unwrap_or(value));
    }
    let Ok(sdp) = Sdp::parse(data) else { return };
    for secure in [true, false] {
        let mut plain = sdp.clone();
        let mut peer = undress(&mut plain, secure);
        for kind in KINDS {
            offered(kind, &peer);
            answered(kind, &peer);
        }
        if peer.without_keys() {
            assert!(peer.is_plain());
        }
    }
}

fn offered(kind: Kind, peer: &Peer) {
    let mut security = Security::new(kind);
    let Ok(agreed) = security.offered(peer) else { return };
    assert_eq!(peer.is_plain(), matches!(agreed, Agreed::Plain), "protected as the offer was");
    let Ok(mut answer) = Sdp::parse(OFFER.as_bytes()) else { return };
    let first = answer.media.clone();
    answer.media.extend(first.into_iter().cycle().take(peer.at.min(32)));
    security.dress(&mut answer);
    let read = Sdp::parse(answer.to_string().as_bytes());
    assert!(read.is_ok(), "what we write can be read");
    // A second offer of the same in the same dialog.
    assert!(security.offered(peer).is_ok());
    if let Ok(mut read) = read
        && read.media.len() == 1
    {
        assert_eq!(undress(&mut read, true).is_plain(), peer.is_plain(), "the answer says what was agreed on");
    }
}

fn answered(kind: Kind, peer: &Peer) {
    let mut security = Security::new(kind);
    let Ok(mut offer) = Sdp::parse(OFFER.as_bytes()) else { return };
    security.dress(&mut offer);
    if let Ok(agreed) = security.answered(peer) {
        assert_eq!(kind == Kind::Plain, matches!(agreed, Agreed::Plain), "protected as our offer was");
    }
}

/// Both ends of a handshake, each datagram of which may be changed on its way: `data` is a list of changes of five bytes, the number
/// of the datagram, the place in it, what to do there and the byte. At last `data` itself comes, as one datagram. Keys come about
/// on both sides or, when something of it was changed, perhaps on none; never two times on one.
pub fn handshake(data: &[u8]) {
    static IDENTITY: LazyLock<Option<Arc<Identity>>> = LazyLock::new(|| Identity::generate().ok().map(Arc::new));
    let Some(identity) = IDENTITY.as_ref() else { return };
    let Some(print) = Fingerprint::parse(&format!("sha-256 {}", identity.fingerprint())) else { return };
    let mut now = Instant::now();
    let mut ends = [false, true].map(|client| Association::new(identity, vec![print.clone()], client, now));
    let mut keys = [0; 2];
    let mut count = 0u8;
    for _ in 0..12 {
        now += Duration::from_millis(400);
        for from in [1, 0] {
            if let Ok(Some(_)) = ends[from].tick(now) {
                keys[from] += 1;
            }
            while let Some(mut datagram) = ends[from].out.pop_front() {
                for change in data.chunks_exact(5).take(16).filter(|c| c[0] == count) {
                    altered(
                        &mut datagram,
                        usize::from(u16::from_be_bytes([change[1], change[2]])),
                        change[3],
                        change[4],
                    );
                }
                count = count.saturating_add(1);
                if let Ok(Some(_)) = ends[1 - from].receive(&datagram, now) {
                    keys[1 - from] += 1;
                }
            }
        }
    }
    for end in &mut ends {
        let _ = end.receive(data, now);
    }
    assert!(keys.iter().all(|k| *k <= 1), "keys are given once");
    assert!(!data.is_empty() || keys == [1, 1], "an undisturbed handshake gives keys to both ends");
}

fn altered(datagram: &mut Vec<u8>, place: usize, how: u8, byte: u8) {
    let place = place % datagram.len().max(1);
    match how % 4 {
        0 => datagram.truncate(place),
        1 => datagram.insert(place, byte),
        2 => drop(datagram.drain(place..(place + usize::from(byte)).min(datagram.len()))),
        _ => {
            if let Some(b) = datagram.get_mut(place) {
                *b = byte;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    /// A few of the inputs of the fuzz target on each run of the tests: changes spread over all datagrams of a handshake.
    #[test]
    fn changed_handshakes_end_in_order() {
        super::handshake(&[]);
        let mut seed = 0x2545_F491_4F6C_DD1Du64;
        let runs = std::env::var("RUNS").ok().and_then(|r| r.parse().ok()).unwrap_or(300);
        for _ in 0..runs {
            let mut data = Vec::new();
            for _ in 0..5 * (1 + seed % 3) {
                seed ^= seed >> 12;
                seed ^= seed << 25;
                seed ^= seed >> 27;
                data.push((seed >> 32) as u8);
            }
            // Most changes must hit a datagram that exists.
            data.chunks_mut(5).for_each(|c| c[0] %= 8);
            super::handshake(&data);
        }
    }
}
