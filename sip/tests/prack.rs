//! Reliable provisional answers (RFC 3262): the machine on pretend time, and SIPp as a caller that requires them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Side, World, calls, flow};
use sip::*;

const SDP: &str = "application/sdp";

fn early() -> Option<(&'static str, Bytes)> {
    Some((SDP, Bytes::from_static(b"v=0 early")))
}

/// A calls B with these headers; B has not answered.
fn ringing(w: &mut World, header: Option<(&str, &str)>) -> (CallId, CallId) {
    let mut req = common::invite();
    if let Some((name, value)) = header {
        req.headers.push(name, value);
    }
    let (now, f) = (w.now, w.flow[0].clone());
    let a = w.ep[0].invite(now, &f, req, None).unwrap();
    w.run(Duration::from_millis(100));
    let b = w.take(Side::B).into_iter().find_map(|e| match e {
        Event::Invite { call, .. } => Some(call),
        _ => None,
    });
    (a, b.unwrap())
}

fn ring(w: &mut World, b: CallId, code: u16, body: Option<(&str, Bytes)>) {
    let now = w.now;
    w.ep[1].provisional(now, b, code, body, &Headers::new());
}

fn accept(w: &mut World, b: CallId) {
    let now = w.now;
    w.ep[1].accept(now, b, SDP, Bytes::from_static(b"v=0 answer"), &Headers::new());
}

#[test]
fn early_media_is_acknowledged_and_the_call_goes_on() {
    for header in [("Supported", "timer, 100rel"), ("Require", "100REL")] {
        let mut w = World::new(11);
        let (a, b) = ringing(&mut w, Some(header));
        ring(&mut w, b, 183, early());
        w.run_s(5);
        assert_eq!((w.sent(Side::B, "SIP/2.0 183"), w.sent(Side::A, "PRACK sip:b@10.0.0.2")), (1, 1), "{:#?}", w.log);
        assert_eq!(w.sent(Side::B, "SIP/2.0 200"), 1, "of the PRACK");
        assert_eq!(calls(&w.take(Side::A)), ["progress 183"]);
        accept(&mut w, b);
        w.run_s(2);
        assert_eq!(calls(&w.take(Side::A)), ["answered"]);
        assert_eq!(calls(&w.take(Side::B)), ["confirmed"]);
        let now = w.now;
        w.ep[0].bye(now, a);
        w.run_s(200);
        assert_eq!(calls(&w.take(Side::B)), ["ended bye"], "the BYE's CSeq is above the PRACK's");
        w.assert_empty();
    }
}

#[test]
fn who_does_not_ask_for_it_does_not_get_it() {
    for (header, body, reliable) in [
        (None, early(), false),
        (Some(("Supported", "timer")), early(), false),
        (Some(("Supported", "100rel")), None, false),
        (Some(("Require", "100rel")), None, true),
    ] {
        let mut w = World::new(12);
        let (_, b) = ringing(&mut w, header);
        ring(&mut w, b, 180, body);
        w.run_s(3);
        assert_eq!(w.sent(Side::A, "PRACK"), usize::from(reliable), "{header:?}");
        assert_eq!(calls(&w.take(Side::A)), ["progress 180"]);
    }
}

#[test]
fn a_lost_answer_is_repeated_at_doubling_intervals_and_seen_once() {
    for (transport, profile, t1) in [
        (Transport::Udp, LinkProfile::LAN, 500),
        (Transport::Tcp, LinkProfile::LAN, 500),
        (Transport::Udp, LinkProfile::SATELLITE, 1_500),
    ] {
        let mut w = World::with(13, transport, profile, EndpointConfig::default());
        let (_, b) = ringing(&mut w, Some(("Supported", "100rel")));
        w.run(Duration::from_millis(300)); // a 100 keeps the INVITE itself quiet
        let mut left = 3;
        w.lose = Box::new(move |_, text| {
            let hit = text.starts_with("SIP/2.0 183") && left > 0;
            left -= usize::from(hit);
            hit
        });
        ring(&mut w, b, 183, early());
        let began = w.at();
        w.run_s(30);
        let times: Vec<u128> = w
            .log
            .iter()
            .filter(|(_, _, l)| l.starts_with("SIP/2.0 183"))
            .map(|(t, _, _)| (*t - began).as_millis() / t1)
            .collect();
        assert_eq!(times, [0, 1, 3, 7], "T1, 2*T1, 4*T1, over {transport} too");
        assert_eq!(w.sent(Side::A, "PRACK"), 1);
        assert_eq!(calls(&w.take(Side::A)), ["progress 183"]);
    }
}

#[test]
fn a_lost_prack_is_repeated_by_its_own_transaction() {
    let mut w = World::new(14);
    let (_, b) = ringing(&mut w, Some(("Supported", "100rel")));
    let mut left = 2;
    w.lose = Box::new(move |_, text| {
        let hit = text.starts_with("PRACK") && left > 0;
        left -= usize::from(hit);
        hit
    });
    ring(&mut w, b, 183, early());
    w.run_s(10);
    assert_eq!(w.sent(Side::A, "PRACK"), 3, "timer E; the repeated 183 makes no other PRACK");
    assert_eq!(calls(&w.take(Side::A)), ["progress 183"], "the repeats are not seen");
    accept(&mut w, b);
    w.run_s(1);
    assert_eq!(calls(&w.take(Side::A)), ["answered"]);
}

#[test]
fn without_a_prack_the_invite_is_refused() {
    let mut w = World::new(15);
    let (_, b) = ringing(&mut w, Some(("Supported", "100rel")));
    w.lose = Box::new(|_, text| text.starts_with("PRACK"));
    ring(&mut w, b, 183, early());
    w.run_s(33);
    assert_eq!(w.sent(Side::B, "SIP/2.0 504"), 1);
    assert_eq!(calls(&w.take(Side::A)), ["progress 183", "ended rejected 504"]);
    assert_eq!(calls(&w.take(Side::B)), ["ended timeout"]);
    let repeats = w.sent(Side::B, "SIP/2.0 183");
    assert_eq!(repeats, 7, "0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s");
    w.run_s(200);
    assert_eq!(w.sent(Side::B, "SIP/2.0 183"), repeats);
    w.assert_empty();
}

#[test]
fn a_2xx_waits_for_the_prack_of_an_answer_with_a_body_only() {
    for (body, waits) in [(early(), true), (None, false)] {
        let mut w = World::new(16);
        let (_, b) = ringing(&mut w, Some(("Require", "100rel")));
        w.lose = Box::new(|_, text| text.starts_with("PRACK"));
        ring(&mut w, b, 183, body);
        w.run(Duration::from_millis(100));
        accept(&mut w, b);
        w.run_s(2);
        assert_eq!(calls(&w.take(Side::A)).contains(&"answered".to_owned()), !waits);
        w.lose = Box::new(|_, _| false);
        w.run_s(5);
        assert_eq!(calls(&w.take(Side::A)).contains(&"answered".to_owned()), waits);
        assert_eq!(calls(&w.take(Side::B)), ["confirmed"]);
        let codes = w.sent(Side::B, "SIP/2.0 200");
        assert!(codes >= 2 && w.sent(Side::B, "SIP/2.0 481") == 0, "a PRACK behind the 2xx is answered 200 as well");
    }
}

#[test]
fn one_at_a_time_and_in_order() {
    let mut w = World::new(17);
    let (_, b) = ringing(&mut w, Some(("Require", "100rel")));
    ring(&mut w, b, 180, None);
    ring(&mut w, b, 182, None);
    ring(&mut w, b, 183, early());
    w.run(Duration::from_millis(5));
    assert_eq!(w.sent(Side::B, "SIP/2.0 18"), 1);
    w.run_s(2);
    assert_eq!(calls(&w.take(Side::A)), ["progress 180", "progress 183"], "of those that waited the latest counts");
    assert_eq!(w.sent(Side::A, "PRACK"), 2);
    // The repeat each minute is a reliable one of its own.
    w.run_s(61);
    assert_eq!(w.sent(Side::A, "PRACK"), 3);
    assert_eq!(w.sent(Side::B, "SIP/2.0 504"), 0);
}

#[test]
fn cancel_and_refusal_end_the_repeats() {
    for cancelled in [true, false] {
        let mut w = World::new(18);
        let (a, b) = ringing(&mut w, Some(("Require", "100rel")));
        w.lose = Box::new(|_, text| text.starts_with("PRACK"));
        ring(&mut w, b, 183, early());
        w.run(Duration::from_millis(100));
        let now = w.now;
        if cancelled {
            w.ep[0].cancel(now, a)
        } else {
            w.ep[1].reject(now, b, 486, None)
        }
        w.run_s(200);
        assert_eq!(w.sent(Side::B, "SIP/2.0 183"), 1);
        assert_eq!(w.sent(Side::B, if cancelled { "SIP/2.0 487" } else { "SIP/2.0 486" }), 1);
        w.assert_empty();
    }
}

/// A caller or callee by hand, for what a right one does not do.
struct Hand {
    ep: Endpoint,
    flow: Flow,
    now: Instant,
}

impl Hand {
    fn new() -> Hand {
        let flow = flow(1, "10.1.1.5:5060", "203.0.113.9:41872", Transport::Udp, LinkProfile::LAN);
        Hand { ep: Endpoint::new(EndpointConfig::default(), 5), flow, now: Instant::now() }
    }

    fn give(&mut self, text: &str) -> Vec<String> {
        self.ep.recv(self.now, &self.flow, text.as_bytes());
        std::iter::from_fn(|| self.ep.poll_transmit()).map(|t| String::from_utf8(t.bytes.to_vec()).unwrap()).collect()
    }
}

fn line<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

#[test]
fn a_prack_for_nothing_is_481_and_one_with_an_offer_goes_to_the_program() {
    let mut h = Hand::new();
    let head = |method: &str, n: u32, to: &str| {
        format!(
            "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bK{method}{n}\r\nFrom: <sip:a@h>;tag=1\r\nTo: {to}\r\nContact: <sip:a@203.0.113.9>\r\nCall-ID: c\r\nCSeq: {n} {method}\r\n"
        )
    };
    assert!(h.give(&(head("INVITE", 7, "<sip:b@h>") + "Require: 100rel\r\n\r\nv=0")).is_empty());
    let Some(Event::Invite { call, .. }) = h.ep.poll_event() else { panic!() };
    h.ep.provisional(h.now, call, 183, early(), &Headers::new());
    let sent = String::from_utf8(h.ep.poll_transmit().unwrap().bytes.to_vec()).unwrap();
    let rseq: u32 = line(&sent, "RSeq").parse().unwrap();
    assert!(rseq > 0 && rseq < 1 << 31 && line(&sent, "Require") == "100rel", "{sent}");
    let to = line(&sent, "To").to_owned();
    let wrong = [
        String::new(),
        format!("RAck: {} 7 INVITE\r\n", rseq + 1),
        format!("RAck: {rseq} 8 INVITE\r\n"),
        format!("RAck: {rseq} 7 OPTIONS\r\n"),
        format!("RAck: {rseq} 7\r\n"),
        format!("RAck: {rseq} 7 INVITE x\r\n"),
        "RAck: 99999999999999999999 7 INVITE\r\n".to_owned(),
    ];
    for (n, rack) in (8..).zip(&wrong) {
        let out = h.give(&(head("PRACK", n, &to) + rack + "\r\n"));
        assert!(out.len() == 1 && out[0].starts_with("SIP/2.0 481"), "{rack} {out:?}");
    }
    let right =
        head("PRACK", 20, &to) + &format!("RAck: {rseq} 7 INVITE\r\nContent-Type: application/sdp\r\n\r\nv=0 new");
    assert!(h.give(&right).is_empty());
    let Some(Event::Call { event: CallEvent::Request { tx, request }, .. }) = h.ep.poll_event() else { panic!() };
    h.ep.respond(h.now, tx, request.respond(200));
    assert!(h.ep.poll_transmit().unwrap().bytes.starts_with(b"SIP/2.0 200"));
    assert!(h.give(&right)[0].starts_with("SIP/2.0 200"), "its repeat");
    assert!(
        h.give(&(head("PRACK", 21, &to) + &format!("RAck: {rseq} 7 INVITE\r\n\r\n")))[0].starts_with("SIP/2.0 481")
    );
    assert!(
        h.give(&(head("PRACK", 22, "<sip:b@h>;tag=other") + "RAck: 1 7 INVITE\r\n\r\n"))[0].starts_with("SIP/2.0 481")
    );
}

#[test]
fn reliable_answers_out_of_order_are_not_seen() {
    let mut h = Hand::new();
    let mut req = common::invite();
    req.headers.push("Supported", "100rel");
    h.ep.invite(h.now, &h.flow, req, None).unwrap();
    let Ok(Message::Request(invite)) = Message::parse(&h.ep.poll_transmit().unwrap().bytes) else { panic!() };
    let answer = |tag: &str, rseq: &str| {
        let mut resp = invite.respond(183).with("Contact", "<sip:b@203.0.113.9>");
        resp.headers.set("To", invite.to().unwrap().with_tag(tag).to_string());
        resp.headers.push("Require", "100rel");
        resp.headers.push("RSeq", rseq);
        String::from_utf8(resp.to_bytes().to_vec()).unwrap()
    };
    let mut seen = |tag: &str, rseq: &str| {
        let out = h.give(&answer(tag, rseq));
        assert!(out.iter().all(|o| o.starts_with("PRACK ")));
        let events = std::iter::from_fn(|| h.ep.poll_event()).count();
        assert_eq!(out.len(), events, "an answer is seen when it is acknowledged");
        out.first().map(|o| (line(o, "RAck").to_owned(), line(o, "CSeq").to_owned()))
    };
    let cseq = invite.cseq().unwrap().0;
    let told = |rseq: u32, ahead: u32| Some((format!("{rseq} {cseq} INVITE"), format!("{} PRACK", cseq + ahead)));
    assert_eq!(seen("t", "10"), told(10, 1), "the first may be any");
    assert_eq!(seen("t", "10"), None, "a repeat");
    assert_eq!(seen("t", "12"), None, "a gap");
    assert_eq!(seen("t", "9"), None);
    assert_eq!(seen("t", "11"), told(11, 2));
    assert_eq!(seen("fork", "500"), told(500, 1), "each fork counts for itself");
    for n in 12..200 {
        seen("t", &n.to_string());
    }
    assert!(h.ep.load().0 <= 66, "a callee cannot make us send for ever: {:?}", h.ep.load());
}

#[test]
fn an_invite_without_an_offer_cannot_offer_it() {
    let mut h = Hand::new();
    let mut req = common::invite();
    req.body = Bytes::new();
    req.headers.push("Supported", "100rel");
    assert!(matches!(h.ep.invite(h.now, &h.flow, req, None), Err(SipError::Invalid(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_requires_reliable_answers() {
    if tokio::process::Command::new("sipp").arg("-v").output().await.is_err() {
        println!("skipped, no sipp");
        return;
    }
    let config = ServiceConfig { udp: vec!["127.0.0.1:0".parse().unwrap()], ..ServiceConfig::default() };
    let (mut service, sip) = Service::bind(config).await.unwrap();
    let mut inbox = service.claim("test", |_, _| true);
    let stop = tokio_util::sync::CancellationToken::new();
    tokio::spawn(service.run(stop.clone()));
    tokio::spawn(async move {
        while let Some(Incoming::Invite { mut call, .. }) = inbox.recv().await {
            tokio::spawn(async move {
                let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n";
                call.ring(183, Some((SDP, sdp.into())));
                call.accept(SDP, sdp, Headers::new());
                while call.next().await.is_some() {}
            });
        }
    });
    let port = sip.listening().0[0].port();
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sipp/prack_uac.xml");
    let run = tokio::process::Command::new("sipp")
        .args(["-sf", scenario, &format!("127.0.0.1:{port}"), "-i", "127.0.0.1", "-p", "26071"])
        .args(["-r", "100", "-m", "300", "-nostdin", "-timeout", "40"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .output();
    let out = tokio::time::timeout(Duration::from_secs(60), run).await.unwrap().unwrap();
    assert!(out.status.success(), "{:?} {}", out.status, String::from_utf8_lossy(&out.stderr));
    let s = sip.stats();
    assert_eq!((s.requests_in(&Method::Prack), s.responses_out(481), s.responses_out(504)), (300, 0, 0));
    stop.cancel();
}
