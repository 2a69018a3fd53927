//! What the endpoint answers by itself: validation, limits, strays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use sip::*;

fn f() -> Flow {
    common::flow(1, "10.1.1.5:5060", "203.0.113.9:41872", Transport::Udp, LinkProfile::LAN)
}

fn text(method: &str, more: &str) -> String {
    format!(
        "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK{method}{}\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n{more}\r\n",
        more.len()
    )
}

fn answer(ep: &mut Endpoint, data: &str) -> Option<String> {
    ep.recv(Instant::now(), &f(), data.as_bytes());
    ep.poll_transmit().map(|t| String::from_utf8(t.bytes.to_vec()).unwrap())
}

fn code(data: &str) -> u16 {
    let mut ep = Endpoint::new(EndpointConfig::default(), 1);
    answer(&mut ep, data).map_or(0, |a| a[8..11].parse().unwrap())
}

#[test]
fn refusals() {
    assert_eq!(code(&text("MESSAGE", "")), 0, "goes to the program");
    assert_eq!(code(&text("MESSAGE", "").replace("CSeq: 1 MESSAGE", "CSeq: 1 INFO")), 400);
    assert_eq!(code(&text("MESSAGE", "").replace("CSeq: 1", "CSeq: 4294967295")), 400);
    assert_eq!(code(&text("MESSAGE", "").replace("From: <sip:a@h>;tag=1\r\n", "")), 400);
    assert_eq!(code(&text("MESSAGE", "From: <sip:x@h>\r\n")), 400);
    assert_eq!(code(&text("MESSAGE", "").replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia")), 505);
    assert_eq!(code(&text("MESSAGE", "Require: foo, bar\r\n")), 420);
    assert_eq!(code(&text("INVITE", "Require: 100rel\r\n")), 0, "RFC 3262 is spoken");
    assert_eq!(code(&text("INVITE", "Require: 100rel, precondition\r\n")), 420);
    assert_eq!(code(&text("INVITE", "Max-Forwards: 0\r\n")), 483);
    assert_eq!(code(&text("REGISTER", "Max-Forwards: 0\r\n")), 0, "we are its end");
    assert_eq!(code(&text("INVITE", "Max-Forwards: 300\r\n")), 400);
    assert_eq!(code(&text("BYE", "")), 481);
    assert_eq!(code(&text("CANCEL", "")), 481);
    assert_eq!(code(&text("INVITE", "").replace("To: <sip:b@h>", "To: <sip:b@h>;tag=zz")), 481);
    assert_eq!(code(&text("ACK", "Require: foo\r\n")), 0, "an ACK is never answered");
    assert_eq!(code("hello\r\n\r\n"), 0);
    assert_eq!(code("\r\n\r\n"), 0);
}

#[test]
fn answers_carry_what_they_must() {
    let mut ep = Endpoint::new(EndpointConfig { user_agent: "Skybridge".into(), ..Default::default() }, 1);
    let bad = text("MESSAGE", "Require: foo\r\nRecord-Route: <sip:p;lr>\r\n");
    let a = answer(&mut ep, &bad).unwrap();
    for part in [
        "SIP/2.0 420 Bad Extension\r\n",
        ";received=203.0.113.9;rport=41872\r\n",
        "Unsupported: foo\r\n",
        "Call-ID: c\r\n",
        "Record-Route: <sip:p;lr>\r\n",
        "To: <sip:b@h>;tag=",
        "Server: Skybridge\r\n",
        "Content-Length: 0\r\n\r\n",
    ] {
        assert!(a.contains(part), "{part} in {a}");
    }
    assert_eq!(answer(&mut ep, &bad).unwrap(), a, "a repeat gets the same answer, tag too");
    assert_eq!(ep.load(), (0, 0, 0), "refusals cost no memory");
}

#[test]
fn merged_invite_is_482_but_a_second_branch_of_a_message_is_not() {
    let mut ep = Endpoint::new(EndpointConfig::default(), 1);
    let invite = text("INVITE", "");
    assert_eq!(answer(&mut ep, &invite), None);
    assert!(answer(&mut ep, &invite.replace("z9hG4bK", "z9hG4bKother")).unwrap().starts_with("SIP/2.0 482"));
    assert_eq!(ep.load().2, 1);
    let message = text("MESSAGE", "");
    assert_eq!(answer(&mut ep, &message), None);
    while let Some(e) = ep.poll_event() {
        if let Event::Request { tx, request, .. } = e {
            ep.respond(Instant::now(), tx, request.respond(200));
        }
    }
    while ep.poll_transmit().is_some() {}
    assert_eq!(answer(&mut ep, &message.replace("z9hG4bK", "z9hG4bKnext")), None, "a device with one CSeq for all");
}

#[test]
fn overload_is_503() {
    let limits = Limits { max_server_transactions: 3, max_calls: 1, ..Limits::default() };
    let mut ep = Endpoint::new(EndpointConfig { limits, ..Default::default() }, 1);
    assert_eq!(answer(&mut ep, &text("INVITE", "")), None);
    let other = text("INVITE", "").replace("Call-ID: c", "Call-ID: d");
    assert!(answer(&mut ep, &other).unwrap().contains("Retry-After"));
    for n in 0..5 {
        let a = answer(&mut ep, &text("MESSAGE", "").replace("Call-ID: c", &format!("Call-ID: m{n}")));
        assert_eq!(a.is_some(), n >= 2);
    }
    assert_eq!(ep.stats().refused_overload.get(), 4);
    let limits = Limits { transactions_per_source: 2, ..Limits::default() };
    let mut ep = Endpoint::new(EndpointConfig { limits, ..Default::default() }, 1);
    for n in 0..4 {
        let a = answer(&mut ep, &text("MESSAGE", "").replace("Call-ID: c", &format!("Call-ID: m{n}")));
        assert_eq!(a.is_some(), n >= 2);
    }
}

#[test]
fn a_flooding_source_is_dropped_and_comes_back() {
    let limits = Limits { messages_per_second: 10, ..Limits::default() };
    let mut ep = Endpoint::new(EndpointConfig { limits, ..Default::default() }, 1);
    let now = Instant::now();
    let bye = text("BYE", "");
    for _ in 0..100 {
        ep.recv(now, &f(), bye.as_bytes());
    }
    assert_eq!(ep.stats().dropped_rate.get(), 80);
    let other = common::flow(2, "10.1.1.5:5060", "203.0.113.10:5060", Transport::Udp, LinkProfile::LAN);
    ep.recv(now, &other, bye.as_bytes());
    assert_eq!(ep.stats().dropped_rate.get(), 80, "others are not hit");
    ep.recv(now + Duration::from_secs(1), &f(), bye.as_bytes());
    assert_eq!(ep.stats().responses_out(481), 22);
}

#[test]
fn strict_and_loose_routes() {
    for (rr, uri, route) in [
        ("<sip:p1;lr>,<sip:p2;lr>", "BYE sip:a@10.0.0.1 SIP/2.0", "Route: <sip:p1;lr>\r\nRoute: <sip:p2;lr>\r\n"),
        ("<sip:p1>,<sip:p2;lr>", "BYE sip:p1 SIP/2.0", "Route: <sip:p2;lr>\r\nRoute: <sip:a@10.0.0.1>\r\n"),
    ] {
        let mut ep = Endpoint::new(EndpointConfig::default(), 1);
        let invite = text("INVITE", &format!("Contact: <sip:a@10.0.0.1>\r\nRecord-Route: {rr}\r\n"));
        assert_eq!(answer(&mut ep, &invite), None);
        let Some(Event::Invite { call, .. }) = ep.poll_event() else { panic!() };
        let now = Instant::now();
        ep.accept(now, call, "application/sdp", "v=0".into(), &Headers::new());
        let ok = String::from_utf8(ep.poll_transmit().unwrap().bytes.to_vec()).unwrap();
        let tag = ok.split("tag=").nth(2).unwrap().split("\r\n").next().unwrap();
        let ack = text("ACK", "").replace("To: <sip:b@h>", &format!("To: <sip:b@h>;tag={tag}"));
        assert_eq!(answer(&mut ep, &ack), None);
        ep.bye(now, call);
        let t = ep.poll_transmit().unwrap();
        assert_eq!(t.flow, FlowId(1), "to the flow, not to the Contact");
        let bye = String::from_utf8(t.bytes.to_vec()).unwrap();
        assert!(bye.starts_with(uri) && bye.contains(route), "{bye}");
    }
}
