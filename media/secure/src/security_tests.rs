#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::channel::{Channel, Component, Input, Remote};
use crate::describe::undress;

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.5\r\ns=-\r\nc=IN IP4 10.0.0.5\r\nt=0 0\r\n";

fn plain() -> Sdp {
    Sdp::parse(format!("{HEAD}m=audio 30000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n").as_bytes()).unwrap()
}

fn read(sdp: &Sdp) -> (Sdp, Peer) {
    let mut sdp = Sdp::parse(sdp.to_string().as_bytes()).unwrap();
    let peer = undress(&mut sdp, true);
    (sdp, peer)
}

/// Offers and answers between two of ours, and what is on the wire then.
fn agree(kind: Kind) -> [Agreed; 2] {
    let (mut a, mut b) = (Security::new(kind), Security::new(Kind::Plain));
    let mut offer = plain();
    a.dress(&mut offer);
    let (stripped, peer) = read(&offer);
    assert!(stripped.media[0].proto.starts_with("RTP/AVP"));
    let of_b = b.offered(&peer).unwrap();
    let mut answer = plain();
    b.dress(&mut answer);
    println!("{offer}{answer}");
    let (_, peer) = read(&answer);
    let of_a = a.answered(&peer).unwrap();
    // The same again changes nothing.
    let mut again = plain();
    b.dress(&mut again);
    a.offered(&read(&again).1).unwrap();
    [of_a, of_b]
}

fn carry(a: &mut Channel, b: &mut Channel, now: Instant) -> Vec<u8> {
    over(Component::Rtp, a, b, vec![0x80, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1, 2, 3], now)
}

fn over(component: Component, a: &mut Channel, b: &mut Channel, mut wire: Vec<u8>, now: Instant) -> Vec<u8> {
    let at = "10.0.0.1:1000".parse().unwrap();
    a.protect(&mut wire, 0).unwrap();
    let mut scratch = Vec::new();
    match b.input(component, &wire, at, now, &mut scratch) {
        Input::Media(m) => m.to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_of_a_description_fit_both_ends() {
    let now = Instant::now();
    for kind in [Kind::Plain, Kind::Sdes] {
        let [a, b] = agree(kind);
        let (mut left, mut right) = (Channel::default(), Channel::default());
        left.agree(&a, Remote::default(), now);
        right.agree(&b, Remote::default(), now);
        assert_eq!(left.is_plain(), kind == Kind::Plain);
        assert_eq!(carry(&mut left, &mut right, now)[12..], [1, 2, 3]);
        carry(&mut right, &mut left, now);
    }
}

#[test]
fn a_handshake_gives_keys_to_both_ends_and_a_wrong_certificate_none() {
    let mut now = Instant::now();
    // Whom the wrong certificate is shown to: nobody, the one who answered, the one who offered; both roles of DTLS are among them.
    for (wrong, mux) in [(None, true), (None, false), (Some(1), true), (Some(0), true)] {
        let mut plans = agree(Kind::Dtls);
        let (mut left, mut right) = (Channel::default(), Channel::default());
        if let Some(Agreed::Dtls(plan)) = wrong.map(|w: usize| plans[w].clone()) {
            let other = Identity::generate().unwrap();
            let print = crate::describe::Fingerprint::parse(&format!("sha-256 {}", other.fingerprint())).unwrap();
            plans[wrong.unwrap()] = Agreed::Dtls(Arc::new(DtlsPlan {
                identity: plan.identity.clone(),
                fingerprints: vec![print],
                client: plan.client,
                ice: None,
            }));
        }
        let [a, b] = plans;
        let at = |host: u8, port| SocketAddr::from(([10, 0, 0, host], port));
        let remote = |host| Remote { rtp: Some(at(host, 1000)), rtcp: Some(at(host, 1001)), mux };
        let port = |component| if component == Component::Rtp { 1000 } else { 1001 };
        left.agree(&a, remote(2), now);
        right.agree(&b, remote(1), now);
        let mut scratch = Vec::new();
        // Before the keys nothing passes.
        assert!(left.protect(&mut vec![0x80; 20], 0).is_err());
        for _ in 0..200 {
            now += Duration::from_millis(20);
            left.tick(now);
            right.tick(now);
            while let Some((component, to, d)) = left.poll_transmit() {
                assert_eq!(to, at(2, port(component)));
                right.input(component, &d, at(1, port(component)), now, &mut scratch);
            }
            while let Some((component, to, d)) = right.poll_transmit() {
                assert_eq!(to, at(1, port(component)));
                left.input(component, &d, at(2, port(component)), now, &mut scratch);
            }
        }
        if let Some(wrong) = wrong {
            let deceived = [&left, &right][wrong];
            assert_eq!((deceived.failure(), deceived.ready()), (Some(crate::Failure::Fingerprint), false));
        } else {
            assert!(left.ready() && right.ready() && left.failure().is_none());
            assert_eq!(carry(&mut left, &mut right, now)[12..], [1, 2, 3]);
            carry(&mut right, &mut left, now);
            // Reports beside the sound have keys of their own: on the other port they are nothing.
            let report = vec![0x80, 201, 0, 1, 0, 0, 0, 7];
            assert_eq!(over(Component::Rtcp, &mut left, &mut right, report.clone(), now), report);
            let mut wire = report;
            left.protect(&mut wire, 0).unwrap();
            let elsewhere = right.input(Component::Rtp, &wire, at(1, 1000), now, &mut scratch);
            assert_eq!(matches!(elsewhere, Input::Media(_)), mux);
        }
    }
}

/// The answerer's first datagram comes before its answer does.
#[test]
fn a_handshake_that_begins_before_the_answer_is_not_lost() {
    let now = Instant::now();
    let [a, b] = agree(Kind::Dtls);
    let (server, client) = if matches!(&a, Agreed::Dtls(plan) if plan.client) { (b, a) } else { (a, b) };
    let (mut early, mut late) = (Channel::default(), Channel::default());
    let at = SocketAddr::from(([10, 0, 0, 1], 1000));
    let remote = Remote { rtp: Some(at), mux: true, ..Remote::default() };
    early.agree(&client, remote, now);
    early.tick(now);
    let (_, _, hello) = early.poll_transmit().unwrap();
    let mut scratch = Vec::new();
    let stranger = SocketAddr::from(([10, 0, 0, 9], 1000));
    assert_eq!(late.input(Component::Rtp, &hello, at, now, &mut scratch), Input::Bad);
    assert_eq!(late.input(Component::Rtp, &hello, stranger, now, &mut scratch), Input::Bad);
    late.agree(&server, remote, now);
    let (_, to, _) = late.poll_transmit().expect("the hello is answered at once");
    assert_eq!((to, late.failure()), (at, None));
}

/// What anybody may send to a port: no fault, no lost handshake.
#[test]
fn what_is_no_record_does_not_end_a_handshake() {
    let now = Instant::now();
    let [_, b] = agree(Kind::Dtls);
    let mut channel = Channel::default();
    channel.agree(&b, Remote { mux: true, ..Remote::default() }, now);
    let at = "10.0.0.1:1000".parse().unwrap();
    for length in 0..40 {
        for first in [20, 22, 23, 63] {
            let mut data = vec![first; length];
            channel.input(Component::Rtp, &data, at, now, &mut Vec::new());
            if let Some(version) = data.get_mut(1..3) {
                version.copy_from_slice(&[254, 253]);
                channel.input(Component::Rtp, &data, at, now, &mut Vec::new());
            }
        }
    }
    assert!(channel.failure().is_none());
}

#[test]
fn an_answer_that_leaves_the_protection_away_is_refused() {
    let mut a = Security::new(Kind::Sdes);
    let mut offer = plain();
    a.dress(&mut offer);
    assert_eq!(a.answered(&read(&plain()).1).unwrap_err(), Mismatch::Other);
    assert!(matches!(a.agreed(), Agreed::Nothing));
    let unknown = format!("{HEAD}m=audio 4000 RTP/SAVP 8\r\na=crypto:1 F8_128_HMAC_SHA1_80 inline:x\r\n");
    let mut sdp = Sdp::parse(unknown.as_bytes()).unwrap();
    let peer = undress(&mut sdp, true);
    assert_eq!((peer.keys.clone(), sdp.media[0].proto.as_str()), (PeerKeys::Unusable, "RTP/SAVP"));
    assert_eq!(a.offered(&peer).unwrap_err(), Mismatch::Unusable);
}

#[test]
fn of_two_sections_the_one_that_the_policy_wants_is_taken() {
    let key = "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    let text = format!("{HEAD}m=audio 4000 RTP/AVP 8\r\nm=audio 4002 RTP/SAVP 8\r\na={key}\r\n");
    for (secure, ports) in [(true, [0, 4002]), (false, [4000, 0])] {
        let mut sdp = Sdp::parse(text.as_bytes()).unwrap();
        let peer = undress(&mut sdp, secure);
        assert_eq!(sdp.media.iter().map(|m| m.port).collect::<Vec<_>>(), ports);
        assert_eq!(peer.is_plain(), !secure);
    }
}

#[test]
fn a_browser_is_not_on_hold_because_it_hides_its_address() {
    let print = ["AB"; 32].join(":");
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 8\r\nc=IN IP4 0.0.0.0\r\n\
         a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 {print}\r\na=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n\
         a=rtpmap:111 opus/48000/2\r\n"
    );
    let mut sdp = Sdp::parse(text.as_bytes()).unwrap();
    let peer = undress(&mut sdp, true);
    assert!(sdp.direction_of(&sdp.media[0]).receives());
    let mut s = Security::new(Kind::Plain);
    s.offered(&peer).unwrap();
    let mut answer = plain();
    s.dress(&mut answer);
    let text = answer.to_string();
    for part in [
        "a=ice-lite\r\na=group:BUNDLE 0\r\nm=audio 30000 UDP/TLS/RTP/SAVPF 8",
        "a=setup:passive",
        "a=mid:0",
        "a=rtcp-mux",
        "a=candidate:1 1 udp 2130706431 10.0.0.5 30000 typ host",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}
