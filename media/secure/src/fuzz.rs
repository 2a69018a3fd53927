//! Bodies of the fuzz targets in `tests/fuzz`: they must not panic and must keep the promises named in them.

use media_core::sdp::Sdp;

use crate::channel::Agreed;
use crate::describe::{Fingerprint, Peer, undress};
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
