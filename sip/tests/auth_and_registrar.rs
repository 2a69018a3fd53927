//! Digest, the location table, stream framing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use sip::{
    auth::{Algorithm, response},
    stream::{Frame, FrameError, Framer},
    *,
};

const USER: &str = "34020000001320000001";
const URI: &str = "sip:34020000002000000001@3402000000";
const NONCE: &str = "9a3f5c1d7e8b4a60b2c4d6e8f0a1b3c5";

/// gb28181.md section 4.2.
#[test]
fn gb28181_vector() {
    let ha1 = Algorithm::Md5.ha1(USER, "3402000000", "Gate#2026");
    assert_eq!(ha1, "8423765a596ebee7663cf123b9dcdf63");
    assert_eq!(response(Algorithm::Md5, &ha1, "REGISTER", URI, NONCE, None), "5a4203a15b8cccbff50f8aad132b96e9");
    let qop = response(Algorithm::Md5, &ha1, "REGISTER", URI, NONCE, Some(("00000001", "0a4f113b")));
    assert_eq!(qop, "830a9a24183e9880bc33746bc7b73ab0");
}

/// RFC 7616 section 3.9.1, both algorithms.
#[test]
fn rfc_7616_vectors() {
    let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
    let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
    for (a, want) in [
        (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
        (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ] {
        let ha1 = a.ha1("Mufasa", "http-auth@example.org", "Circle of Life");
        assert_eq!(response(a, &ha1, "GET", "/dir/index.html", nonce, Some(("00000001", cnonce))), want);
    }
}

fn register(cseq: u32) -> Request {
    let mut r = Request::new(Method::Register, URI.parse().unwrap());
    r.headers.set("From", format!("<sip:{USER}@3402000000>;tag=d1"));
    r.headers.set("To", format!("<sip:{USER}@3402000000>"));
    r.headers.set("Call-ID", "reg-55aa");
    r.headers.set("CSeq", format!("{cseq} REGISTER"));
    r.headers.set("Contact", format!("<sip:{USER}@10.20.0.15:5060>"));
    r
}

fn secret(user: &str) -> Option<Secret> {
    (user == USER).then(|| Secret::Password("Gate#2026".into()))
}

#[test]
fn challenge_and_answer() {
    for qop in [true, false] {
        for algorithms in [vec![Algorithm::Md5], vec![Algorithm::Sha256], vec![Algorithm::Md5, Algorithm::Sha256]] {
            let server = DigestServer::new(DigestConfig { qop, algorithms, ..DigestConfig::new("3402000000") });
            let mut req = register(1);
            assert_eq!(server.verify(&req, secret), AuthResult::Challenge { stale: false });
            let challenge = server.challenge(&req);
            let mut client = DigestClient::new(USER, "Gate#2026");
            client.answer(&mut req, &challenge).unwrap();
            assert_eq!(server.verify(&req, secret), AuthResult::Ok);
            assert_eq!(server.verify(&req, secret), AuthResult::Challenge { stale: true }, "a replay");
            let mut bad = register(2);
            DigestClient::new(USER, "wrong").answer(&mut bad, &challenge).unwrap();
            assert_eq!(server.verify(&bad, secret), AuthResult::Denied);
            let mut nobody = register(3);
            DigestClient::new("x", "Gate#2026").answer(&mut nobody, &challenge).unwrap();
            assert_eq!(server.verify(&nobody, secret), AuthResult::Denied);
            // The nonce count rises: the same nonce serves again with qop.
            let mut more = register(4);
            client.answer(&mut more, &challenge).unwrap();
            let want = if qop { AuthResult::Ok } else { AuthResult::Challenge { stale: true } };
            assert_eq!(server.verify(&more, secret), want);
        }
    }
}

#[test]
fn nonce_expires_is_bound_and_survives_no_restart() {
    let start = Instant::now();
    let server = DigestServer::with_key(DigestConfig::new("3402000000"), [7; 32], start);
    let mut req = register(1);
    let challenge = server.challenge(&req);
    DigestClient::new(USER, "Gate#2026").answer(&mut req, &challenge).unwrap();
    let late = start + Duration::from_secs(400);
    assert_eq!(server.verify_at(late, &req, secret), AuthResult::Challenge { stale: true });
    let mut other = req.clone();
    other.headers.set("From", "<sip:somebody@3402000000>;tag=1");
    assert_eq!(server.verify(&other, secret), AuthResult::Challenge { stale: true }, "issued to another From");
    let restarted = DigestServer::with_key(DigestConfig::new("3402000000"), [8; 32], start);
    assert_eq!(restarted.verify(&req, secret), AuthResult::Challenge { stale: true });
    assert_eq!(server.verify(&req, secret), AuthResult::Ok);
    assert!(restarted.challenge_with(&req, 401, true).headers.get("WWW-Authenticate").unwrap().contains("stale=true"));
}

#[test]
fn ha1_secret_serves_its_algorithm_only() {
    let server = DigestServer::new(DigestConfig::new("3402000000"));
    let mut req = register(1);
    let challenge = server.challenge(&req);
    DigestClient::new(USER, "Gate#2026").answer(&mut req, &challenge).unwrap();
    let ha1 = |a| move |_: &str| Some(Secret::Ha1(a, "8423765a596ebee7663cf123b9dcdf63".into()));
    assert_eq!(server.verify(&req, ha1(Algorithm::Sha256)), AuthResult::Denied);
    assert_eq!(server.verify(&req, ha1(Algorithm::Md5)), AuthResult::Ok);
}

#[test]
fn secrets_are_not_printed() {
    let client = DigestClient::new("u", "Gate#2026");
    let text = format!("{client:?} {:?}", Secret::Password("Gate#2026".into()));
    assert!(!text.contains("Gate"));
    let req = register(1).with("Authorization", "Digest response=\"5a42\"");
    assert!(!format!("{req:?}").contains("5a42"));
}

#[test]
fn location_table() {
    let mut now = Instant::now();
    let mut table = Location::new(LocationConfig { max_bindings: 1, ..Default::default() });
    let f1 = common::flow(1, "10.0.0.1:5060", "203.0.113.9:41872", Transport::Udp, LinkProfile::LAN);
    let f2 = common::flow(2, "10.0.0.1:5060", "203.0.113.9:50000", Transport::Tcp, LinkProfile::LAN);
    let first = table.register(now, USER, &register(1).with("Expires", "3600"), &f1).unwrap();
    assert!(first.new && !first.gone && first.granted == Duration::from_secs(3600));
    let ok = table.answer(now, &register(1), &first);
    assert_eq!(ok.headers.get("Expires"), Some("3600"));
    assert!(ok.headers.get("Contact").unwrap().ends_with(">;expires=3600"));
    // A new port and Call-ID without logout.
    let moved = register(1).with("Call-ID", "other").with("Contact", "<sip:34020000001320000001@10.20.0.15:5099>");
    let second = table.register(now, USER, &moved, &f2).unwrap();
    assert!(!second.new && second.bindings.len() == 1);
    assert_eq!(table.lookup(now, USER)[0].flow, FlowId(2));
    assert!(table.touch(USER, &f1) && !table.touch(USER, &f1));
    let brief = table.register(now, USER, &register(2).with("Expires", "5"), &f1).unwrap_err();
    assert_eq!(brief.response(&register(2)).headers.get("Min-Expires"), Some("60"));
    // Expiry.
    assert_eq!(table.next_timeout(), Some(now + Duration::from_secs(3600)));
    now += Duration::from_secs(3601);
    assert_eq!(table.tick(now), [USER]);
    assert!(table.is_empty() && table.next_timeout().is_none());
    // Logout by `*` and by Expires 0.
    table.register(now, USER, &register(5), &f1).unwrap();
    let out = table.register(now, USER, &register(6).with("Contact", "*").with("Expires", "0"), &f1).unwrap();
    assert!(out.gone && table.is_empty());
    table.register(now, USER, &register(7), &f1).unwrap();
    assert!(table.register(now, USER, &register(8).with("Expires", "0"), &f1).unwrap().gone);
    assert!(table.register(now, USER, &register(9).with("Contact", "*"), &f1).is_err());
    // A closed connection.
    table.register(now, USER, &register(10), &f2).unwrap();
    assert_eq!(table.flow_closed(FlowId(2)), [USER]);
    // The cap.
    let mut small = Location::new(LocationConfig { max_aors: 1, ..Default::default() });
    small.register(now, "a", &register(1), &f1).unwrap();
    assert_eq!(small.register(now, "b", &register(1), &f1), Err(RegisterError::Full));
}

#[test]
fn stream_framing() {
    let limits = Limits { max_header: 200, max_body: 10, ..Limits::default() };
    let one = b"MESSAGE sip:a@b SIP/2.0\r\nl : 3\r\n\r\nabc".to_vec();
    let mut framer = Framer::new(&limits);
    let mut all = b"\r\n\r\n".to_vec();
    for _ in 0..3 {
        all.extend_from_slice(&one);
    }
    all.extend_from_slice(b"\r\n"); // a pong
    all.extend_from_slice(&one);
    let mut got = Vec::new();
    for b in all.chunks(7) {
        framer.push(b);
        while let Some(f) = framer.next_frame().unwrap() {
            got.push(f);
        }
    }
    assert_eq!(got.len(), 5);
    assert_eq!(got[0], Frame::Ping);
    assert!(got[1..].iter().all(|f| *f == Frame::Message(one.clone().into())));
    let fails = |data: &[u8]| {
        let mut framer = Framer::new(&limits);
        framer.push(data);
        framer.next_frame().unwrap_err()
    };
    assert_eq!(fails(b"A\r\nContent-Length: 11\r\n\r\n"), FrameError::BodyTooLarge);
    assert_eq!(fails(b"A\r\nContent-Length: -1\r\n\r\n"), FrameError::BadContentLength);
    assert_eq!(fails(b"A\r\nContent-Length: 99999999999999999999999\r\n\r\n"), FrameError::BadContentLength);
    assert_eq!(fails(b"A\r\nl: 1\r\nContent-Length: 2\r\n\r\n"), FrameError::BadContentLength);
    assert_eq!(fails(&[b'x'; 300]), FrameError::HeaderTooLarge);
}

/// RFC 5626 and 3327: flows of one device, devices behind one NAT, and what the answer says.
#[test]
fn instances_flows_and_paths() {
    let now = Instant::now();
    let flow = |n| common::flow(n, "10.0.0.1:5060", "203.0.113.9:41872", Transport::Udp, LinkProfile::LAN);
    let mut table = Location::new(LocationConfig::default());
    let contact = |uri: &str, more: &str| {
        register(1).with("Supported", "path, outbound").with("Contact", format!("<sip:8001@{uri}>{more}"))
    };
    let device = ";+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"";
    let of =
        |table: &Location| -> Vec<String> { table.lookup(now, "a").iter().map(|b| b.contact.to_string()).collect() };
    let one = contact("10.0.0.7:5060", &format!("{device};reg-id=1;q=0.5"));
    let first = table.register(now, "a", &one, &flow(1)).unwrap();
    let ok = table.answer(now, &one, &first);
    assert_eq!(ok.headers.get("Require"), Some("outbound"));
    let said = ok.headers.get("Contact").unwrap();
    assert!(
        said.contains("+sip.instance=\"<urn:uuid:") && said.contains(";reg-id=1") && said.contains(";q=0.500"),
        "{said}"
    );
    // A second flow stands beside it; the first flow from another port takes its own place.
    table.register(now, "a", &contact("10.0.0.7:5061", &format!("{device};reg-id=2")), &flow(2)).unwrap();
    table.register(now, "a", &contact("10.0.0.7:6060", &format!("{device};reg-id=1")), &flow(3)).unwrap();
    assert_eq!(of(&table), ["sip:8001@10.0.0.7:5061", "sip:8001@10.0.0.7:6060"]);
    // Another device with the same private contact is another binding; one without any instance is found by its URI.
    let other = device.replace("AABB", "1122");
    table.register(now, "a", &contact("10.0.0.7:6060", &other), &flow(4)).unwrap();
    table.register(now, "a", &contact("10.0.0.8:5060", ""), &flow(5)).unwrap();
    table.register(now, "a", &contact("10.0.0.8:5060", ""), &flow(6)).unwrap();
    assert_eq!(table.lookup(now, "a").len(), 4);
    // After a restart with a new port, without reg-id.
    table.register(now, "a", &contact("10.0.0.7:7070", &other), &flow(7)).unwrap();
    assert_eq!(table.lookup(now, "a").len(), 4);
    // Through a proxy: kept with its path, told in the answer; outbound only when the proxy keeps flows.
    let far = contact("10.0.0.9:5060", &format!("{};reg-id=1", device.replace("AABB", "3344")));
    let mut far = far.with("Via", "SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK1");
    far.headers.push("Via", "SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK2");
    let mut blind = far.clone();
    blind.headers.push("Path", "<sip:edge.example;lr>");
    assert_eq!(table.register(now, "a", &blind, &flow(8)).unwrap_err().response(&blind).code, 439);
    far.headers.push("Path", "<sip:x@edge.example;lr;ob>");
    far.headers.push("Path", "<sip:inner.example;lr>");
    let done = table.register(now, "a", &far, &flow(8)).unwrap();
    let ok = table.answer(now, &far, &done);
    assert_eq!(ok.headers.get_all("Path").count(), 2);
    let bound = done.bindings.last().unwrap();
    assert_eq!(bound.path, ["<sip:x@edge.example;lr;ob>", "<sip:inner.example;lr>"]);
    // Too long a path, and what is none.
    for path in ["x y", "<"] {
        assert!(table.register(now, "a", &contact("10.0.0.1", "").with("Path", path), &flow(9)).is_err(), "{path}");
    }
    let mut long = contact("10.0.0.1", "");
    (0..9).for_each(|_| long.headers.push("Path", "<sip:edge.example;lr>"));
    assert_eq!(table.register(now, "a", &long, &flow(9)), Err(RegisterError::Bad));
}
