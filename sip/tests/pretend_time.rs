//! Transactions and calls on pretend time over a lossy pipe.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::*;
use sip::*;

fn ms(list: &World, side: Side, start: &str) -> Vec<u128> {
    list.log.iter().filter(|(_, s, l)| *s == side && l.starts_with(start)).map(|(t, _, _)| t.as_millis()).collect()
}

fn respond_all(w: &mut World, code: u16) -> usize {
    let events = w.take(Side::B);
    let now = w.now;
    let mut n = 0;
    for e in events {
        if let Event::Request { tx, request, .. } = e {
            w.ep[1].respond(now, tx, request.respond(code));
            n += 1;
        }
    }
    n
}

#[test]
fn non_invite_is_repeated_and_times_out() {
    let mut w = World::new(1);
    w.lose = Box::new(|_, _| true);
    let (now, f) = (w.now, w.flow[0].clone());
    w.ep[0].request(now, &f, message(), None).unwrap();
    w.run_s(60);
    assert_eq!(ms(&w, Side::A, "MESSAGE"), [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
    let (at, e) = w.events[0].pop().unwrap();
    assert_eq!(at, Duration::from_secs(32));
    assert!(matches!(e, Event::Response { result: Err(SipError::Timeout), .. }));
    w.assert_empty();
}

#[test]
fn satellite_profile_waits_longer() {
    let mut w = World::with(1, Transport::Udp, LinkProfile::SATELLITE, EndpointConfig::default());
    w.lose = Box::new(|_, _| true);
    let (now, f) = (w.now, w.flow[0].clone());
    w.ep[0].request(now, &f, message(), None).unwrap();
    w.run_s(200);
    assert_eq!(ms(&w, Side::A, "MESSAGE")[..5], [0, 1500, 4500, 10500, 18500]);
    assert_eq!(w.events[0].pop().unwrap().0, Duration::from_secs(96));
}

#[test]
fn satellite_round_trip_needs_no_repeat() {
    for (profile, repeats) in [(LinkProfile::SATELLITE, 1), (LinkProfile::LAN, 2)] {
        let mut w = World::with(1, Transport::Udp, profile, EndpointConfig::default());
        w.delay = Duration::from_millis(300);
        let (now, f) = (w.now, w.flow[0].clone());
        w.ep[0].request(now, &f, message(), None).unwrap();
        w.run_while(Duration::from_secs(5), |w| {
            respond_all(w, 200);
            true
        });
        assert_eq!(w.sent(Side::A, "MESSAGE"), repeats);
        assert!(matches!(w.take(Side::A)[..], [Event::Response { result: Ok(_), .. }]));
    }
}

#[test]
fn lost_answer_is_repeated_from_the_transaction() {
    let mut w = World::new(2);
    let mut first = true;
    w.lose = Box::new(move |s, l| s == Side::B && l.starts_with("SIP/2.0 200") && std::mem::take(&mut first));
    let (now, f) = (w.now, w.flow[0].clone());
    w.ep[0].request(now, &f, message(), None).unwrap();
    let mut seen = 0;
    w.run_while(Duration::from_secs(50), |w| {
        seen += respond_all(w, 200);
        true
    });
    assert_eq!(seen, 1, "the program sees the request once");
    assert_eq!(w.sent(Side::B, "SIP/2.0 200"), 2);
    assert!(matches!(w.take(Side::A)[..], [Event::Response { result: Ok(_), .. }]));
    w.assert_empty();
}

#[test]
fn reliable_transport_does_not_repeat() {
    let mut w = World::with(3, Transport::Tcp, LinkProfile::LAN, EndpointConfig::default());
    w.lose = Box::new(|_, _| true);
    let (now, f) = (w.now, w.flow[0].clone());
    w.ep[0].request(now, &f, message(), None).unwrap();
    w.ep[0].invite(now, &f, invite(), None).unwrap();
    w.run_s(40);
    assert_eq!((w.sent(Side::A, "MESSAGE"), w.sent(Side::A, "INVITE")), (1, 1));
    w.run_s(200);
    w.assert_empty();
}

#[test]
fn unanswered_invite_is_repeated_then_times_out() {
    let mut w = World::new(4);
    w.lose = Box::new(|_, _| true);
    let (now, f) = (w.now, w.flow[0].clone());
    w.ep[0].invite(now, &f, invite(), None).unwrap();
    w.run_s(100);
    assert_eq!(ms(&w, Side::A, "INVITE"), [0, 500, 1500, 3500, 7500, 15500, 31500]);
    assert_eq!(calls(&w.take(Side::A)), ["ended timeout"]);
    w.assert_empty();
}

#[test]
fn call_and_bye() {
    let mut w = World::new(5);
    let (a, b) = w.call();
    w.run(Duration::from_millis(300));
    assert_eq!(w.sent(Side::B, "SIP/2.0 100"), 1, "100 after 200 ms");
    let now = w.now;
    w.ep[1].provisional(now, b, 180, None, &Headers::new());
    w.run_s(1);
    w.ep[1].accept(w.now, b, "application/sdp", Bytes::from_static(b"v=0"), &Headers::new());
    w.run_s(1);
    assert_eq!(calls(&w.take(Side::A)), ["progress 180", "answered"]);
    assert_eq!(calls(&w.take(Side::B)), ["confirmed"]);
    w.ep[0].bye(w.now, a);
    w.run_s(1);
    assert_eq!(calls(&w.take(Side::A)), ["ended local"]);
    assert_eq!(calls(&w.take(Side::B)), ["ended bye"]);
    assert_eq!((w.sent(Side::A, "INVITE"), w.sent(Side::A, "ACK"), w.sent(Side::A, "BYE")), (1, 1, 1));
    w.run_s(100);
    w.assert_empty();
}

#[test]
fn lost_200_and_lost_ack_are_repaired() {
    let mut w = World::new(6);
    let (mut oks, mut acks) = (0, 0);
    w.lose = Box::new(move |_, l| {
        if l.starts_with("SIP/2.0 200") && l.contains("INVITE") {
            oks += 1;
            return oks <= 2;
        }
        if l.starts_with("ACK") {
            acks += 1;
            return acks <= 2;
        }
        false
    });
    let (_, b) = w.call();
    w.ep[1].accept(w.now, b, "application/sdp", Bytes::from_static(b"v=0"), &Headers::new());
    w.run_s(20);
    assert_eq!(calls(&w.take(Side::A)), ["answered"]);
    assert_eq!(calls(&w.take(Side::B)), ["confirmed"]);
    let t = ms(&w, Side::B, "SIP/2.0 200");
    let gaps: Vec<u128> = t.windows(2).map(|p| p[1] - p[0]).collect();
    assert_eq!(gaps, [500, 1000, 2000, 4000]);
    assert_eq!(w.sent(Side::A, "ACK"), 3);
}

#[test]
fn no_ack_ends_with_bye_after_64_t1() {
    let mut w = World::new(7);
    w.lose = Box::new(|_, l| l.starts_with("ACK"));
    let (_, b) = w.call();
    w.ep[1].accept(w.now, b, "application/sdp", Bytes::from_static(b"v=0"), &Headers::new());
    let t0 = w.at();
    w.run_s(50);
    assert_eq!(calls(&w.take(Side::B)), ["ended timeout"]);
    assert_eq!(calls(&w.take(Side::A)), ["answered", "ended bye"]);
    let bye = w.log.iter().find(|l| l.2.starts_with("BYE")).unwrap();
    assert_eq!((bye.0 - t0, bye.1), (Duration::from_secs(32), Side::B));
    w.run_s(100);
    w.assert_empty();
}

#[test]
fn bye_of_the_callee_waits_for_the_ack() {
    let mut w = World::new(8);
    let mut first = true;
    w.lose = Box::new(move |_, l| l.starts_with("ACK") && std::mem::take(&mut first));
    let (_, b) = w.call();
    w.ep[1].accept(w.now, b, "application/sdp", Bytes::from_static(b"v=0"), &Headers::new());
    w.ep[1].bye(w.now, b);
    w.run_s(10);
    let order: Vec<&str> =
        w.log.iter().filter_map(|l| l.2.split(' ').next()).filter(|m| *m == "ACK" || *m == "BYE").collect();
    assert_eq!(order, ["ACK", "ACK", "BYE"]);
    w.run_s(100);
    w.assert_empty();
}

#[test]
fn cancel_waits_for_a_provisional_answer() {
    let mut w = World::new(9);
    let (a, _) = w.call();
    w.ep[0].cancel(w.now, a);
    w.run(Duration::from_millis(100));
    assert_eq!(w.sent(Side::A, "CANCEL"), 0);
    w.run_s(3);
    assert_eq!(w.sent(Side::A, "CANCEL"), 1);
    assert_eq!(w.sent(Side::B, "SIP/2.0 487"), 1);
    assert_eq!(calls(&w.take(Side::A)), ["ended cancelled"]);
    assert_eq!(calls(&w.take(Side::B)), ["ended cancelled"]);
    w.run_s(200);
    w.assert_empty();
}

#[test]
fn cancel_crossing_200_gives_ack_and_bye() {
    let mut w = World::new(10);
    let (a, b) = w.call();
    w.run(Duration::from_millis(300)); // 100 is there
    w.ep[1].accept(w.now, b, "application/sdp", Bytes::from_static(b"v=0"), &Headers::new());
    w.ep[0].cancel(w.now, a);
    w.run_s(2);
    assert_eq!(calls(&w.take(Side::A)), ["ended cancelled"]);
    assert_eq!(calls(&w.take(Side::B)), ["confirmed", "ended bye"]);
    assert_eq!((w.sent(Side::A, "ACK"), w.sent(Side::A, "BYE"), w.sent(Side::B, "SIP/2.0 487")), (1, 1, 0));
    w.run_s(200);
    w.assert_empty();
}

#[test]
fn rejection_is_repeated_until_its_ack() {
    let mut w = World::new(11);
    let mut n = 0;
    w.lose = Box::new(move |_, l| {
        n += usize::from(l.starts_with("ACK"));
        l.starts_with("ACK") && n <= 2
    });
    let (_, b) = w.call();
    w.ep[1].reject(w.now, b, 486, None);
    w.run_s(10);
    assert_eq!(calls(&w.take(Side::A)), ["ended rejected 486"]);
    assert_eq!((w.sent(Side::B, "SIP/2.0 486"), w.sent(Side::A, "ACK")), (3, 3));
    w.run_s(100);
    w.assert_empty();
}

fn reinvite() -> Request {
    let mut r = Request::new(Method::Invite, Uri::default());
    r.set_body("application/sdp", "v=0 again");
    r
}

fn answer_in_call(w: &mut World, side: usize, code: u16) -> usize {
    let now = w.now;
    let list: Vec<_> = w.events[side]
        .iter()
        .filter_map(|(_, e)| match e {
            Event::Call { event: CallEvent::Request { tx, request }, .. } => Some((*tx, request.respond(code))),
            _ => None,
        })
        .collect();
    w.events[side].retain(|(_, e)| !matches!(e, Event::Call { event: CallEvent::Request { .. }, .. }));
    for (tx, resp) in &list {
        w.ep[side].call_respond(now, *tx, resp.clone());
    }
    list.len()
}

#[test]
fn requests_inside_the_call_both_ways() {
    let mut w = World::new(12);
    let (a, b) = w.connected();
    for (side, call) in [(0usize, a), (1, b)] {
        for method in [Method::Info, Method::Message, Method::Update, Method::Invite] {
            let now = w.now;
            let mut req = reinvite();
            req.method = method;
            w.ep[side].call_request(now, call, req).unwrap();
            w.run_while(Duration::from_secs(3), |w| {
                answer_in_call(w, 1 - side, 200);
                true
            });
            let who = if side == 0 { Side::A } else { Side::B };
            assert!(w.take(who).iter().any(|e| matches!(e, Event::Response { result: Ok(r), .. } if r.code == 200)));
        }
    }
    assert_eq!(w.sent(Side::A, "ACK"), 2);
    assert_eq!(w.sent(Side::B, "ACK"), 1);
    w.ep[1].bye(w.now, b);
    w.run_s(200);
    w.assert_empty();
}

#[test]
fn glare_is_491_and_solved_by_waiting() {
    let mut w = World::new(13);
    let (a, b) = w.connected();
    w.ep[0].call_request(w.now, a, reinvite()).unwrap();
    w.ep[1].call_request(w.now, b, reinvite()).unwrap();
    assert_eq!(w.ep[0].call_request(w.now, a, reinvite()), Err(SipError::Pending));
    w.run_while(Duration::from_secs(20), |w| {
        answer_in_call(w, 0, 200);
        answer_in_call(w, 1, 200);
        true
    });
    assert_eq!((w.sent(Side::A, "SIP/2.0 491"), w.sent(Side::B, "SIP/2.0 491")), (1, 1));
    for side in [Side::A, Side::B] {
        let ok =
            w.take(side).iter().filter(|e| matches!(e, Event::Response { result: Ok(r), .. } if r.code == 200)).count();
        assert_eq!(ok, 1, "{side:?}");
    }
}

#[test]
fn second_reinvite_while_the_first_is_open_is_500() {
    let mut w = World::new(14);
    let (a, _) = w.connected();
    w.ep[0].call_request(w.now, a, reinvite()).unwrap();
    w.run_s(1);
    // A careless caller: the same request by hand with a higher CSeq.
    let mut text = String::new();
    let key = w.events[1].iter().find_map(|(_, e)| match e {
        Event::Call { event: CallEvent::Request { request, .. }, .. } => Some(request.clone()),
        _ => None,
    });
    let mut req = key.unwrap();
    req.headers.set("CSeq", "9999999 INVITE");
    req.headers.set("Via", "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKother");
    text.push_str(&String::from_utf8_lossy(&req.to_bytes()));
    let f = w.flow[1].clone();
    w.ep[1].recv(w.now, &f, text.as_bytes());
    let out = w.ep[1].poll_transmit().unwrap();
    let out = String::from_utf8_lossy(&out.bytes).into_owned();
    assert!(out.starts_with("SIP/2.0 500") && out.contains("Retry-After"));
    // ... and with a lower one: 500 as well.
    req.method = Method::Info;
    req.headers.set("CSeq", "1 INFO");
    w.ep[1].recv(w.now, &f, &req.to_bytes());
    assert!(w.ep[1].poll_transmit().unwrap().bytes.starts_with(b"SIP/2.0 500"));
}

#[test]
fn delayed_offer_holds_the_ack() {
    let mut w = World::new(15);
    let f = w.flow[0].clone();
    let mut req = invite();
    req.body = Bytes::new();
    req.headers.remove("Content-Type");
    let a = w.ep[0].invite(w.now, &f, req, None).unwrap();
    w.run_s(1);
    let b = w
        .take(Side::B)
        .into_iter()
        .find_map(|e| if let Event::Invite { call, .. } = e { Some(call) } else { None })
        .unwrap();
    w.ep[1].accept(w.now, b, "application/sdp", Bytes::from_static(b"v=0 offer"), &Headers::new());
    w.run_s(1);
    assert_eq!(w.sent(Side::A, "ACK"), 0);
    w.ep[0].ack_body(w.now, a, "application/sdp", Bytes::from_static(b"v=0 answer"));
    w.run_s(1);
    let confirmed = w.take(Side::B).into_iter().find_map(|e| match e {
        Event::Call { event: CallEvent::Confirmed(ack), .. } => Some(ack),
        _ => None,
    });
    assert_eq!(confirmed.unwrap().body, &b"v=0 answer"[..]);
}

#[test]
fn delayed_offer_without_answer_ends() {
    let mut w = World::new(16);
    let f = w.flow[0].clone();
    let mut req = invite();
    req.body = Bytes::new();
    w.ep[0].invite(w.now, &f, req, None).unwrap();
    w.run_s(1);
    let b = w
        .take(Side::B)
        .into_iter()
        .find_map(|e| if let Event::Invite { call, .. } = e { Some(call) } else { None })
        .unwrap();
    w.ep[1].accept(w.now, b, "application/sdp", Bytes::from_static(b"v=0 offer"), &Headers::new());
    w.run_s(300);
    assert!(calls(&w.take(Side::A)).last().unwrap().starts_with("ended"));
    assert!(calls(&w.take(Side::B)).last().unwrap().starts_with("ended"));
    w.assert_empty();
}

#[test]
fn extra_fork_gets_ack_and_bye() {
    let mut w = World::new(17);
    let (_, b) = w.call();
    let invite = w
        .take(Side::B)
        .into_iter()
        .find_map(|e| if let Event::Invite { request, .. } = e { Some(request) } else { None });
    let invite = invite.unwrap();
    w.ep[1].accept(w.now, b, "application/sdp", Bytes::from_static(b"v=0"), &Headers::new());
    w.run_s(1);
    let mut other = invite.respond(200);
    let to = other.to().unwrap().with_tag("otherfork");
    other.headers.set("To", to.to_string());
    other.headers.set("Contact", "<sip:c@10.0.0.3>");
    let f = w.flow[0].clone();
    for _ in 0..3 {
        w.ep[0].recv(w.now, &f, &other.to_bytes());
    }
    w.run_s(1);
    assert_eq!(w.sent(Side::A, "ACK sip:c@10.0.0.3"), 3);
    assert_eq!(w.sent(Side::A, "BYE sip:c@10.0.0.3"), 1);
    assert_eq!(calls(&w.take(Side::A)), ["answered"]);
}

#[test]
fn invite_with_credentials_answers_the_challenge() {
    let mut w = World::new(18);
    let server = DigestServer::new(DigestConfig::new("hall"));
    let f = w.flow[0].clone();
    w.ep[0].invite(w.now, &f, invite(), Some(DigestClient::new("a", "Gate#2026"))).unwrap();
    w.run_while(Duration::from_secs(10), |w| {
        let now = w.now;
        for e in w.take(Side::B) {
            if let Event::Invite { call, request, .. } = e {
                match server.verify(&request, |u| (u == "a").then(|| Secret::Password("Gate#2026".into()))) {
                    AuthResult::Ok => {
                        w.ep[1].accept(now, call, "application/sdp", Bytes::from_static(b"v=0"), &Headers::new())
                    }
                    _ => w.ep[1].reject_with(now, call, server.challenge(&request)),
                }
            }
        }
        true
    });
    assert_eq!(calls(&w.take(Side::A)), ["answered"]);
    assert_eq!((w.sent(Side::A, "INVITE"), w.sent(Side::A, "ACK"), w.sent(Side::B, "SIP/2.0 401")), (2, 2, 1));
}

#[test]
fn wrong_credentials_do_not_loop() {
    let mut w = World::new(19);
    let server = DigestServer::new(DigestConfig::new("hall"));
    let f = w.flow[0].clone();
    w.ep[0].request(w.now, &f, message(), Some(DigestClient::new("a", "wrong"))).unwrap();
    w.run_while(Duration::from_secs(10), |w| {
        let now = w.now;
        for e in w.take(Side::B) {
            if let Event::Request { tx, request, .. } = e {
                w.ep[1].respond(now, tx, server.challenge(&request));
            }
        }
        true
    });
    assert_eq!(w.sent(Side::A, "MESSAGE"), 2);
    assert!(matches!(&w.take(Side::A)[..], [Event::Response { result: Ok(r), .. }] if r.code == 401));
}

#[test]
fn closed_connection_ends_calls_and_requests() {
    let mut w = World::with(20, Transport::Tcp, LinkProfile::LAN, EndpointConfig::default());
    let (_, _) = w.connected();
    let f = w.flow[0].clone();
    w.ep[0].request(w.now, &f, message(), None).unwrap();
    w.ep[0].flow_closed(w.now, FlowId(1));
    w.run_s(1);
    let events = w.take(Side::A);
    assert_eq!(calls(&events), ["ended flow"]);
    assert!(events.iter().any(|e| matches!(e, Event::Response { result: Err(SipError::FlowClosed), .. })));
    w.run_s(100);
    assert_eq!(w.ep[0].load(), (0, 0, 0));
}

#[test]
fn call_survives_on_the_flow_it_used_before() {
    let mut w = World::with(21, Transport::Tcp, LinkProfile::LAN, EndpointConfig::default());
    let (a, b) = w.connected();
    let second = flow(7, "10.0.0.2:5060", "10.0.0.1:6060", Transport::Tcp, LinkProfile::LAN);
    w.ep[1].call_rebind(b, &second);
    w.ep[1].flow_closed(w.now, FlowId(7));
    assert_eq!(w.ep[1].call_flow(b).unwrap().id, FlowId(2));
    w.ep[0].bye(w.now, a);
    w.run_s(1);
    assert_eq!(calls(&w.take(Side::B)), ["ended bye"]);
}

#[test]
fn ring_timeout_ends_both_sides() {
    let mut w = World::with(
        22,
        Transport::Udp,
        LinkProfile::LAN,
        EndpointConfig { ring_timeout: Duration::from_secs(20), ..Default::default() },
    );
    let (_, b) = w.call();
    w.ep[1].provisional(w.now, b, 180, None, &Headers::new());
    w.run_s(300);
    assert_eq!(calls(&w.take(Side::A)).last().unwrap(), "ended timeout");
    assert!(calls(&w.take(Side::B)).last().unwrap().starts_with("ended"));
    w.assert_empty();
}

#[test]
fn early_update_and_bye_reach_the_program() {
    let mut w = World::new(23);
    let (a, b) = w.call();
    w.ep[1].provisional(w.now, b, 183, Some(("application/sdp", Bytes::from_static(b"v=0"))), &Headers::new());
    w.run_s(1);
    let mut update = reinvite();
    update.method = Method::Update;
    w.ep[0].call_request(w.now, a, update).unwrap();
    w.run_while(Duration::from_secs(2), |w| {
        answer_in_call(w, 1, 200);
        true
    });
    assert!(w.take(Side::A).iter().any(|e| matches!(e, Event::Response { result: Ok(r), .. } if r.code == 200)));
    w.ep[1].accept(w.now, b, "", Bytes::new(), &Headers::new());
    w.run_s(1);
    w.ep[0].bye(w.now, a);
    w.run_s(1);
    assert_eq!(calls(&w.take(Side::B)).last().unwrap(), "ended bye");
}

/// Many calls over a bad link: each side hears the end exactly once and as the last thing, and nothing is left over.
#[test]
fn lossy_soak_leaves_nothing_behind() {
    for seed in 0..150u64 {
        let mut w = World::new(seed);
        w.loss = 0.25;
        w.jitter_ms = 400;
        let f = w.flow[0].clone();
        let plan = seed % 6;
        let a = w.ep[0].invite(w.now, &f, invite(), None).unwrap();
        let mut acted = [false; 2];
        w.run_while(Duration::from_secs(60), |w| {
            let now = w.now;
            let b = w.events[1]
                .iter()
                .find_map(|(_, e)| if let Event::Invite { call, .. } = e { Some(*call) } else { None });
            answer_in_call(w, 0, 200);
            answer_in_call(w, 1, 200);
            if let Some(b) = b
                && !acted[0]
            {
                acted[0] = true;
                match plan {
                    0 => w.ep[1].reject(now, b, 486, None),
                    1 => w.ep[1].provisional(now, b, 180, None, &Headers::new()),
                    _ => w.ep[1].accept(now, b, "application/sdp", Bytes::from_static(b"v=0"), &Headers::new()),
                }
            }
            let at = w.at();
            if at > Duration::from_millis(300 + seed * 13) && !acted[1] {
                acted[1] = true;
                match plan {
                    1 | 2 => w.ep[0].cancel(now, a),
                    3 => {
                        let _ = w.ep[0].call_request(now, a, reinvite());
                        if let Some(b) = b {
                            let _ = w.ep[1].call_request(now, b, reinvite());
                        }
                    }
                    _ => {}
                }
            }
            true
        });
        let b =
            w.events[1].iter().find_map(|(_, e)| if let Event::Invite { call, .. } = e { Some(*call) } else { None });
        w.ep[0].bye(w.now, a);
        if let (5, Some(b)) = (plan, b) {
            w.ep[1].bye(w.now, b);
        }
        w.run_s(900);
        for (side, ev) in w.events.iter().enumerate() {
            let list: Vec<Event> = ev.iter().map(|(_, e)| e.clone()).collect();
            let words = calls(&list);
            let ends = words.iter().filter(|s| s.starts_with("ended")).count();
            let started = side == 0 || list.iter().any(|e| matches!(e, Event::Invite { .. }));
            assert!(ends == usize::from(started), "seed {seed} side {side}: {words:?}");
            if ends == 1 {
                assert!(words.last().unwrap().starts_with("ended"), "seed {seed} side {side}: {words:?}");
            }
        }
        assert_eq!(w.ep[0].load(), (0, 0, 0), "seed {seed}");
        assert_eq!(w.ep[1].load(), (0, 0, 0), "seed {seed}");
    }
}
