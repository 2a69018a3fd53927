//! Floods: new work is refused with 503 and Retry-After near a cap, what stands goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use common::{World, flow};
use sip::*;
use tokio::{net::UdpSocket, time::timeout};
use tokio_util::sync::CancellationToken;

fn stranger(n: u64) -> Flow {
    let peer = format!("203.0.{}.{}:5060", n / 250 % 250, n % 250 + 1);
    flow(1_000 + n, "10.0.0.2:5060", &peer, Transport::Udp, LinkProfile::LAN)
}

fn invite(n: u64) -> String {
    format!(
        "INVITE sip:b@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.1;branch=z9hG4bKf{n}\r\nFrom: <sip:f@x>;tag=f{n}\r\nTo: <sip:b@10.0.0.2>\r\nContact: <sip:f@203.0.113.1>\r\nCall-ID: f{n}\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Gives one flood message to side B; the code of its answer, 0 for none yet.
fn throw(w: &mut World, n: u64, message: &str) -> u16 {
    w.ep[1].recv(w.now, &stranger(n), message.as_bytes());
    let mut code = 0;
    while let Some(out) = w.ep[1].poll_transmit() {
        let text = String::from_utf8_lossy(&out.bytes).into_owned();
        if out.flow == stranger(n).id {
            code = text[8..11].parse().unwrap();
            if code == 503 {
                assert!(text.contains("\r\nRetry-After: "), "{text}");
            }
        }
    }
    code
}

fn world(transactions: usize, calls: usize) -> World {
    limited(Limits { max_server_transactions: transactions, max_calls: calls, ..Limits::default() })
}

fn limited(limits: Limits) -> World {
    World::with(7, Transport::Udp, LinkProfile::LAN, EndpointConfig { limits, ..EndpointConfig::default() })
}

/// A re-INVITE of A in the standing call, answered by B; then both ask again the other way round.
fn call_still_works(w: &mut World, a: CallId, b: CallId) {
    for (side, call) in [(0, a), (1, b)] {
        let now = w.now;
        let mut req = common::invite();
        req.set_body("application/sdp", "v=0 again");
        let asked = w.ep[side].call_request(now, call, req).unwrap();
        let other = 1 - side;
        let mut answered = false;
        w.run_while(Duration::from_secs(2), |w| {
            let seen = w.events[other].iter().find_map(|(_, e)| match e {
                Event::Call { event: CallEvent::Request { tx, request }, .. } => Some((*tx, request.clone())),
                _ => None,
            });
            if let (Some((tx, request)), false) = (seen, answered) {
                answered = true;
                let now = w.now;
                w.ep[other].call_respond(now, tx, request.respond(200));
            }
            true
        });
        let ok = w.events[side]
            .iter()
            .any(|(_, e)| matches!(e, Event::Response { id, result: Ok(r) } if *id == asked && r.code == 200));
        assert!(ok, "the re-INVITE of side {side} is answered");
        w.events = [Vec::new(), Vec::new()];
    }
}

#[test]
fn a_flood_of_invites_leaves_the_standing_call_alone() {
    let mut w = world(200, 100);
    let (a, b) = w.connected();
    let codes: Vec<u16> = (0..2_000).map(|n| throw(&mut w, n, &invite(n))).collect();
    let taken = codes.iter().filter(|c| **c == 0).count();
    let refused = codes.iter().filter(|c| **c == 503).count();
    assert_eq!((taken, refused), (89, 1_911), "calls are taken up to 90 of 100, one stands already");
    assert_eq!(w.ep[1].stats().refused_overload.get(), 1_911);
    w.events = [Vec::new(), Vec::new()];
    call_still_works(&mut w, a, b);
    let now = w.now;
    w.ep[0].bye(now, a);
    w.run_s(1);
    assert_eq!(w.sent(common::Side::B, "SIP/2.0 200"), 3, "INVITE, re-INVITE, BYE");
}

#[test]
fn it_takes_again_only_when_it_has_drained() {
    let mut w = world(100, 10_000);
    let message = |n: u64| invite(n).replace("INVITE", "MESSAGE");
    let mut open = Vec::new();
    for n in 0..90 {
        assert_eq!(throw(&mut w, n, &message(n)), 0);
        match w.ep[1].poll_event() {
            Some(Event::Request { tx, request, .. }) => open.push((tx, request)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(throw(&mut w, 90, &message(90)), 503);
    // Answers alone free nothing for 4 s: a lost one may be asked for again.
    for (tx, request) in open.drain(..9) {
        let now = w.now;
        w.ep[1].respond(now, tx, request.respond(200));
    }
    while w.ep[1].poll_transmit().is_some() {}
    assert_eq!(throw(&mut w, 91, &message(91)), 503);
    w.now += Duration::from_secs(5);
    assert_eq!(throw(&mut w, 92, &message(92)), 503, "81 are open: not below 80 yet");
    let (tx, request) = open.pop().unwrap();
    let (tx2, request2) = open.pop().unwrap();
    let now = w.now;
    w.ep[1].respond(now, tx, request.respond(200));
    w.ep[1].respond(now, tx2, request2.respond(200));
    while w.ep[1].poll_transmit().is_some() {}
    w.now += Duration::from_secs(5);
    for n in 93..104 {
        assert_eq!(throw(&mut w, n, &message(n)), 0, "{n}: drained, so it is filled up again to 90");
    }
    assert_eq!(throw(&mut w, 104, &message(104)), 503);
}

#[test]
fn a_full_queue_of_the_driver_refuses_new_work_only() {
    let mut w = world(1_000, 1_000);
    let (a, b) = w.connected();
    w.ep[1].set_pressed(true);
    assert_eq!(throw(&mut w, 1, &invite(1)), 503);
    assert_eq!(throw(&mut w, 2, &invite(2).replace("INVITE", "OPTIONS")), 503);
    call_still_works(&mut w, a, b);
    w.ep[1].set_pressed(false);
    assert_eq!(throw(&mut w, 3, &invite(3)), 0);
}

#[test]
fn a_flood_of_malformed_messages_costs_no_memory() {
    let mut w = world(200, 100);
    let (a, b) = w.connected();
    let before = w.ep[1].load();
    for n in 0..20_000u64 {
        let good = invite(n);
        let bad = match n % 8 {
            0 => good.replace("CSeq: 1 INVITE", "CSeq: 1 OPTIONS"),
            1 => good.replace("From: <sip:f@x>", "From: <sip:f"),
            2 => good.replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"),
            3 => good.replace("Via: SIP/2.0/UDP", "Via: SIP/2.0"),
            4 => good.replace("Content-Length: 0", "Content-Length: x"),
            5 => good.replace("\r\nCall-ID", "\r\nRequire: nothing\r\nCall-ID"),
            6 => good.get(..good.len() / 2).unwrap().to_owned(),
            _ => "INVITE\u{0}\u{1}\r\n\r\n".to_owned(),
        };
        let code = throw(&mut w, n, &bad);
        assert!([0, 400, 420, 505].contains(&code), "{code} to {bad}");
    }
    assert_eq!(w.ep[1].load(), before);
    assert!(w.ep[1].poll_event().is_none());
    call_still_works(&mut w, a, b);
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// On sockets: two floods from other addresses, one well formed and one not, while a call of two services is asked something
/// over and over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_lives_through_a_flood_on_sockets() {
    let limits = Limits { max_server_transactions: 500, max_calls: 200, ..Limits::default() };
    let config = ServiceConfig { udp: vec![local(0)], limits, ..ServiceConfig::default() };
    let (mut service, hall) = Service::bind(config).await.unwrap();
    let mut inbox = service.claim("test", |_, _| true);
    let stop = CancellationToken::new();
    tokio::spawn(service.run(stop.clone()));
    // Only the caller is answered; the flood's calls ring on.
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Some(incoming) = inbox.recv().await {
            match incoming {
                Incoming::Invite { mut call, request, .. } if request.from().unwrap().uri.user() == "a" => {
                    call.accept("application/sdp", "v=0", Headers::new());
                    tokio::spawn(async move {
                        while let Some(event) = call.next().await {
                            if let CallEvent::Request { tx, request } = event {
                                call.respond(tx, request.respond(200));
                            }
                        }
                    });
                }
                Incoming::Invite { call, .. } => held.push(call),
                Incoming::Request { .. } => {}
            }
        }
    });
    let (service, phone) =
        Service::bind(ServiceConfig { udp: vec![local(0)], ..ServiceConfig::default() }).await.unwrap();
    tokio::spawn(service.run(stop.clone()));
    let to = hall.listening().0[0];
    let mut call = phone.invite(Target::Address(Transport::Udp, to), common::invite()).await.unwrap();
    while !matches!(call.next().await, Some(CallEvent::Answered(_))) {}
    let mut floods = Vec::new();
    for (n, malformed) in [(2u8, false), (3, true)] {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, n], 0))).await.unwrap();
        floods.push(tokio::spawn(async move {
            let mut answers = 0u32;
            let mut buffer = [0; 2_000];
            for i in 0u64.. {
                let mut message = invite(u64::from(n) * 1_000_000 + i);
                if malformed {
                    message = message.replace("CSeq: 1 INVITE", "CSeq: 1 BYE");
                }
                let _ = socket.send_to(message.as_bytes(), to).await;
                while socket.try_recv(&mut buffer).is_ok() {
                    answers += u32::from(buffer.starts_with(if malformed { b"SIP/2.0 400" } else { b"SIP/2.0 503" }));
                }
                if i > 12_000 {
                    break;
                }
                if i % 16 == 0 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            answers
        }));
    }
    let mut slowest = Duration::ZERO;
    let mut asked = 0;
    while !floods.iter().all(|f| f.is_finished()) {
        let began = Instant::now();
        let mut again = Request::new(Method::Invite, Uri::default());
        again.set_body("application/sdp", "v=0");
        let answer = timeout(Duration::from_secs(5), call.send(again)).await.unwrap().unwrap();
        assert_eq!(answer.code, 200);
        slowest = slowest.max(began.elapsed());
        asked += 1;
        // Each stays in the table for 64*T1: a loop without a pause would be a flood of its own.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for flood in floods {
        let answers = flood.await.unwrap();
        assert!(answers > 1_000, "{answers} refusals");
    }
    assert!(asked > 20, "{asked} re-INVITEs");
    println!(
        "{asked} re-INVITEs answered during the floods, the slowest in {slowest:?}; {:?}",
        hall.stats().snapshot()
    );
    let byes = hall.stats().requests_in(&Method::Bye);
    call.bye();
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if hall.stats().requests_in(&Method::Bye) > byes {
            break;
        }
    }
    assert_eq!(hall.stats().requests_in(&Method::Bye), byes + 1);
    assert!(hall.stats().refused_overload.get() > 1_000);
    stop.cancel();
}

#[test]
fn an_answered_invite_makes_room_and_its_call_stands() {
    let mut w = world(10, 1_000);
    let (a, b) = w.connected();
    w.now += Duration::from_secs(5);
    let codes: Vec<u16> = (0..10).map(|n| throw(&mut w, n, &invite(n).replace("INVITE", "MESSAGE"))).collect();
    assert_eq!(codes, [0, 0, 0, 0, 0, 0, 0, 0, 0, 503], "nine: the place of the INVITE was given on");
    w.events = [Vec::new(), Vec::new()];
    call_still_works(&mut w, a, b);
    let now = w.now;
    w.ep[0].bye(now, a);
    w.run_s(1);
    assert_eq!(w.sent(common::Side::B, "SIP/2.0 200"), 3, "INVITE, re-INVITE, BYE");
}

#[test]
fn one_proxy_may_bring_many_requests_a_second_for_ever() {
    let limits = Limits { transactions_per_source: 100, messages_per_second: 1_000_000, ..Limits::default() };
    let mut w = limited(limits);
    // 15 a second are 60 in the 4 s for which each is kept in any case, and 480 in the 32 s of timer J.
    for n in 0..15 * 60_u64 {
        w.now += Duration::from_millis(66);
        w.ep[1].tick(w.now);
        assert_eq!(throw(&mut w, 0, &invite(n).replace("INVITE", "MESSAGE")), 0, "request {n}");
        while let Some(event) = w.ep[1].poll_event() {
            if let Event::Request { tx, request, .. } = event {
                let now = w.now;
                w.ep[1].respond(now, tx, request.respond(200));
            }
        }
        while w.ep[1].poll_transmit().is_some() {}
    }
}

#[test]
fn short_calls_come_for_ever_though_ended_ones_are_remembered() {
    let limits = Limits {
        max_calls: 20,
        max_client_transactions: 120,
        max_server_transactions: 120,
        transactions_per_source: 120,
        ..Limits::default()
    };
    let mut w = limited(limits);
    for n in 0..600 {
        let (a, _) = w.connected();
        let now = w.now;
        w.ep[0].bye(now, a);
        w.run(Duration::from_millis(100));
        w.events = [Vec::new(), Vec::new()];
        let (_, _, calls) = w.ep[1].load();
        assert!(calls <= 61, "call {n}: {calls} are known");
    }
    assert_eq!(w.ep.each_ref().map(|ep| ep.stats().refused_overload.get()), [0, 0]);
    w.run_s(200);
    w.assert_empty();
}
