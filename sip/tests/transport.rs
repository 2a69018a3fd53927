//! What belongs to the way of a message: WebSocket (RFC 7118), requests too large for UDP (RFC 3261 section 18.1.1) and link
//! profiles; on pretend time, and on sockets of 127.0.0.0/8.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::flow;
use sip::{
    stream::{Frame, FrameError, websocket_frame},
    *,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

// WebSocket

fn ws_request(method: &str, more: &str) -> String {
    format!(
        "{method} sip:8001@hall SIP/2.0\r\nVia: SIP/2.0/WSS x7.invalid;branch=z9hG4bK{method}\r\nFrom: <sip:c@hall>;tag=1\r\nTo: <sip:8001@hall>\r\nContact: <sip:q1@x7.invalid;transport=ws>\r\nCall-ID: {method}\r\nCSeq: 1 {method}\r\n{more}\r\n"
    )
}

#[test]
fn one_websocket_message_is_one_sip_message() {
    let limits = Limits { max_header: 2_000, max_body: 100, ..Limits::default() };
    let frame = |data: &str| websocket_frame(&Bytes::copy_from_slice(data.as_bytes()), &limits);
    for length in ["", "Content-Length: 4\r\n", "l: 4\r\n"] {
        let message = ws_request("MESSAGE", length) + "body";
        assert_eq!(frame(&message), Ok(Some(Frame::Message(message.clone().into()))), "{length:?}");
        assert_eq!(
            frame(&format!("\r\n\r\n{message}")),
            Ok(Some(Frame::Message(message.into()))),
            "line ends in front"
        );
    }
    assert_eq!(frame("\r\n\r\n"), Ok(Some(Frame::Ping)));
    assert_eq!(frame("\r\n"), Ok(None), "the answer to a ping");
    assert_eq!(frame(""), Ok(None));
    for wrong in ["Content-Length: 3\r\n", "Content-Length: 5\r\n", "Content-Length: 0\r\n"] {
        let message = ws_request("MESSAGE", wrong) + "body";
        assert_eq!(frame(&message), Err(FrameError::BadContentLength), "{wrong:?}");
    }
    let two = ws_request("MESSAGE", "Content-Length: 0\r\n").repeat(2);
    assert_eq!(websocket_frame(&two.into(), &Limits::default()), Err(FrameError::BadContentLength), "two in one");
    assert_eq!(frame(&(ws_request("MESSAGE", "") + &"b".repeat(101))), Err(FrameError::BodyTooLarge));
    assert_eq!(
        frame(&ws_request("MESSAGE", &format!("X: {}\r\n", "x".repeat(2_000)))),
        Err(FrameError::HeaderTooLarge)
    );
    assert_eq!(frame(&"x".repeat(2_001)), Err(FrameError::HeaderTooLarge));
    assert_eq!(frame(&"\r\n".repeat(5_000)), Ok(Some(Frame::Ping)));
    assert_eq!(frame(&("\r\n".repeat(1_001) + "x")), Err(FrameError::HeaderTooLarge));
}

#[test]
fn via_and_contact_of_websocket() {
    let mut ep = Endpoint::new(EndpointConfig::default(), 1);
    let now = Instant::now();
    for (transport, name) in [(Transport::Ws, "WS"), (Transport::Wss, "WSS")] {
        let f = flow(1, "10.1.1.5:8443", "203.0.113.9:50111", transport, LinkProfile::LAN);
        ep.invite(now, &f, common::invite(), None).unwrap();
        let out = text(&ep.poll_transmit().unwrap().bytes);
        assert!(out.contains(&format!("Via: SIP/2.0/{name} 10.1.1.5:8443;rport;branch=z9hG4bK")), "{out}");
        // RFC 7118 section 5.3: the URI parameter is `ws` for both.
        assert!(out.contains("Contact: <sip:a@10.1.1.5:8443;transport=ws>\r\n"), "{out}");
        ep.tick(now + Duration::from_secs(5));
        assert!(ep.poll_transmit().is_none(), "nothing is repeated on a reliable transport");
        // A message without Content-Length has the rest of the WebSocket message as its body.
        ep.recv(now, &f, (ws_request("MESSAGE", "") + "body").as_bytes());
        let Some(Event::Request { tx, request, .. }) = ep.poll_event() else { panic!() };
        assert_eq!(&request.body[..], b"body");
        ep.respond(now, tx, request.respond(200));
        let answer = text(&ep.poll_transmit().unwrap().bytes);
        assert!(
            answer.contains("Via: SIP/2.0/WSS x7.invalid;branch=z9hG4bKMESSAGE;received=203.0.113.9\r\n"),
            "{answer}"
        );
        ep.tick(now + Duration::from_secs(5));
    }
    let via: Via = "SIP/2.0/WSS x7.invalid;branch=z9hG4bK1".parse().unwrap();
    assert_eq!(via.sent_by(), "x7.invalid:443");
}

#[tokio::test]
async fn a_websocket_client_is_answered_and_called_on_its_own_connection() {
    let limits = Limits { connections_per_source: 2, connection_queue: 4, ..Limits::default() };
    let config = ServiceConfig { udp: vec![local(0)], limits, ..ServiceConfig::default() };
    let (mut service, sip) = Service::bind(config).await.unwrap();
    let mut inbox = service.claim("test", |_, _| true);
    let stop = CancellationToken::new();
    let task = tokio::spawn(service.run(stop.clone()));
    let peer: SocketAddr = "127.0.0.1:50111".parse().unwrap();
    let mut pipe = sip.attach(Transport::Wss, "0.0.0.0:8443".parse().unwrap(), peer).await.unwrap();
    assert_eq!(pipe.flow.local, local(8443), "our address towards the peer");
    assert_eq!(pipe.incoming.max_message(), 65_536);
    assert_eq!(pipe.incoming.push("\r\n\r\n".into()).await, Ok(Some("\r\n".into())), "a keepalive is answered");
    assert_eq!(pipe.incoming.push("\r\n".into()).await, Ok(None));
    assert_eq!(pipe.incoming.push(ws_request("REGISTER", "").into()).await, Ok(None));
    let Some(Incoming::Request { tx, flow, request }) = inbox.recv().await else { panic!() };
    assert_eq!((flow.id, flow.transport), (pipe.flow.id, Transport::Wss));
    sip.respond(tx, request.respond(200));
    assert!(pipe.outgoing.recv().await.unwrap().starts_with(b"SIP/2.0 200"));

    // A call to it: the INVITE, the ACK and the BYE come by the connection, whatever its Contact says.
    let mut call = sip.invite(Target::Flow(flow.id), common::invite()).await.unwrap();
    let invite = text(&pipe.outgoing.recv().await.unwrap());
    assert!(invite.starts_with("INVITE ") && invite.contains("Via: SIP/2.0/WSS 127.0.0.1:8443;"), "{invite}");
    let Ok(Message::Request(invite)) = Message::parse(invite.as_bytes()) else { panic!() };
    let mut ok = invite.respond(200).with("Contact", "<sip:q1@x7.invalid;transport=ws>");
    ok.headers.set("To", invite.to().unwrap().with_tag("t").to_string());
    assert_eq!(pipe.incoming.push(ok.to_bytes()).await, Ok(None));
    assert!(matches!(call.next().await, Some(CallEvent::Answered(_))));
    assert!(pipe.outgoing.recv().await.unwrap().starts_with(b"ACK sip:q1@x7.invalid;transport=ws SIP/2.0"));
    call.bye();
    assert!(pipe.outgoing.recv().await.unwrap().starts_with(b"BYE sip:q1@x7.invalid;transport=ws SIP/2.0"));

    // Limits: connections of one source, one message too large, a peer that reads nothing.
    let second = sip.attach(Transport::Wss, local(8443), peer).await.unwrap();
    let third = sip.attach(Transport::Ws, local(8443), "127.0.0.1:50113".parse().unwrap()).await;
    assert!(matches!(third, Err(SipError::Overloaded(_))));
    let before = sip.stats().parse_errors.get();
    assert!(second.incoming.push(vec![b'x'; 20_000].into()).await.is_err());
    assert_eq!(sip.stats().parse_errors.get(), before + 1);
    drop(second);
    for n in 0..6 {
        let request = ws_request("OPTIONS", "").replace("Call-ID: OPTIONS", &format!("Call-ID: o{n}"));
        let _ = pipe.incoming.push(request.into()).await;
        if let Ok(Some(Incoming::Request { tx, request, .. })) = timeout(Duration::from_secs(1), inbox.recv()).await {
            sip.respond(tx, request.respond(200));
        }
    }
    let mut waiting = 0;
    while let Ok(Some(_)) = timeout(Duration::from_secs(2), pipe.outgoing.recv()).await {
        waiting += 1;
    }
    assert_eq!(waiting, 4, "closed when its queue is full");
    assert!(sip.flow(flow.id).is_none());
    stop.cancel();
    timeout(Duration::from_secs(2), task).await.unwrap().unwrap().unwrap();
}

// Large requests

fn large(bytes: usize) -> Request {
    let mut req = common::message();
    req.set_body("text/plain", "x".repeat(bytes));
    req
}

fn switching() -> Endpoint {
    Endpoint::new(EndpointConfig { large_over_tcp: true, ..EndpointConfig::default() }, 1)
}

fn udp(profile: LinkProfile) -> Flow {
    flow(1, "10.0.0.1:5060", "10.0.0.2:5060", Transport::Udp, profile)
}

fn tcp() -> Flow {
    flow(2, "10.0.0.1:5060", "10.0.0.2:5060", Transport::Tcp, LinkProfile::LAN)
}

fn wants_tcp(ep: &mut Endpoint) -> Option<LargeId> {
    match ep.poll_event() {
        Some(Event::WantsTcp { id, flow }) => {
            assert_eq!(flow.id, FlowId(1));
            Some(id)
        }
        _ => None,
    }
}

#[test]
fn the_mtu_of_the_link_decides() {
    let now = Instant::now();
    for (profile, mtu) in [(LinkProfile::LAN, 1300), (LinkProfile::SATELLITE, 1200)] {
        let mut ep = switching();
        ep.request(now, &udp(profile), large(0), None).unwrap();
        let empty = ep.poll_transmit().unwrap().bytes.len();
        // CSeq and Content-Length have a digit more or less: some bytes off the edge on both sides.
        ep.request(now, &udp(profile), large(mtu - empty - 10), None).unwrap();
        assert!(wants_tcp(&mut ep).is_none(), "{mtu}");
        assert!(text(&ep.poll_transmit().unwrap().bytes).contains("Via: SIP/2.0/UDP"));
        ep.request(now, &udp(profile), large(mtu - empty + 10), None).unwrap();
        assert!(wants_tcp(&mut ep).is_some(), "{mtu}");
        assert!(ep.poll_transmit().is_none(), "nothing is sent before the flow is there");
    }
    let mut off = Endpoint::new(EndpointConfig::default(), 1);
    off.request(now, &udp(LinkProfile::LAN), large(3_000), None).unwrap();
    assert!(wants_tcp(&mut off).is_none() && off.poll_transmit().is_some(), "the setting is off");
}

#[test]
fn a_large_request_over_tcp_is_not_repeated_and_its_answer_counts() {
    let now = Instant::now();
    let mut ep = switching();
    let id = ep.request(now, &udp(LinkProfile::LAN), large(3_000), None).unwrap();
    let wants = wants_tcp(&mut ep).unwrap();
    ep.tcp_flow(now, wants, Some(&tcp()));
    let sent = ep.poll_transmit().unwrap();
    assert_eq!(sent.flow, FlowId(2));
    assert!(text(&sent.bytes).contains("Via: SIP/2.0/TCP 10.0.0.1:5060;"));
    assert!(ep.flows_in_use().contains(&FlowId(1)), "the way back is not forgotten");
    ep.tick(now + Duration::from_secs(20));
    assert!(ep.poll_transmit().is_none());
    let Ok(Message::Request(req)) = Message::parse(&sent.bytes) else { panic!() };
    ep.recv(now, &tcp(), &req.respond(200).to_bytes());
    assert!(matches!(ep.poll_event(), Some(Event::Response { id: got, result: Ok(r) }) if got == id && r.code == 200));
    ep.tcp_flow(now, wants, Some(&tcp()));
    assert!(ep.poll_transmit().is_none(), "told twice, sent once");
    assert_eq!(ep.load(), (0, 0, 0));
}

#[test]
fn tcp_refused_goes_back_to_udp_with_its_timers() {
    let start = Instant::now();
    for refused_later in [true, false] {
        let mut ep = switching();
        let id = ep.request(start, &udp(LinkProfile::LAN), large(3_000), None).unwrap();
        let wants = wants_tcp(&mut ep).unwrap();
        let now = start + Duration::from_secs(2);
        let mut first = None;
        if refused_later {
            ep.tcp_flow(start, wants, Some(&tcp()));
            first = ep.poll_transmit();
            ep.flow_refused(now, FlowId(2));
        } else {
            ep.tcp_flow(now, wants, None);
        }
        let sent = ep.poll_transmit().unwrap();
        assert_eq!(sent.flow, FlowId(1));
        let Ok(Message::Request(req)) = Message::parse(&sent.bytes) else { panic!() };
        assert_eq!(req.top_via().unwrap().transport, "UDP");
        if let Some(Ok(Message::Request(first))) = first.map(|f| Message::parse(&f.bytes)) {
            assert_ne!(first.top_via().unwrap().branch(), req.top_via().unwrap().branch(), "another transaction");
            assert_eq!((first.call_id(), first.cseq()), (req.call_id(), req.cseq()));
        }
        let mut times = Vec::new();
        while let Some(at) = ep.next_timeout() {
            ep.tick(at);
            while ep.poll_transmit().is_some() {
                times.push((at - now).as_millis());
            }
        }
        assert_eq!(times.get(..4), Some(&[500, 1_500, 3_500, 7_500][..]), "timer E");
        assert!(
            matches!(ep.poll_event(), Some(Event::Response { id: got, result: Err(SipError::Timeout) }) if got == id)
        );
        assert_eq!(ep.load(), (0, 0, 0));
    }
    // A connection that was open and then went is no refusal: the request may have arrived.
    let mut ep = switching();
    ep.request(start, &udp(LinkProfile::LAN), large(3_000), None).unwrap();
    let wants = wants_tcp(&mut ep).unwrap();
    ep.tcp_flow(start, wants, Some(&tcp()));
    while ep.poll_transmit().is_some() {}
    ep.flow_closed(start, FlowId(2));
    assert!(ep.poll_transmit().is_none());
    assert!(matches!(ep.poll_event(), Some(Event::Response { result: Err(SipError::FlowClosed), .. })));
}

#[test]
fn nobody_answers_for_tcp_and_the_request_still_ends() {
    let now = Instant::now();
    let mut ep = switching();
    let call = {
        let mut req = common::invite();
        req.set_body("application/sdp", "x".repeat(2_000));
        ep.invite(now, &udp(LinkProfile::LAN), req, None).unwrap()
    };
    let wants = wants_tcp(&mut ep).unwrap();
    ep.tick(now + Duration::from_secs(33));
    assert!(matches!(
        ep.poll_event(),
        Some(Event::Call { call: ended, event: CallEvent::Ended(EndReason::Timeout) }) if ended == call
    ));
    ep.tcp_flow(now + Duration::from_secs(34), wants, Some(&tcp()));
    assert!(ep.poll_transmit().is_none());
}

/// An INVITE that went over TCP is acknowledged (486) and cancelled there.
#[test]
fn ack_and_cancel_follow_a_large_invite() {
    let now = Instant::now();
    let mut ep = switching();
    for cancelled in [false, true] {
        let mut req = common::invite();
        req.set_body("application/sdp", "x".repeat(2_000));
        let call = ep.invite(now, &udp(LinkProfile::LAN), req, None).unwrap();
        let wants = wants_tcp(&mut ep).unwrap();
        ep.tcp_flow(now, wants, Some(&tcp()));
        let Ok(Message::Request(sent)) = Message::parse(&ep.poll_transmit().unwrap().bytes) else { panic!() };
        if cancelled {
            ep.recv(now, &tcp(), &sent.respond(180).to_bytes());
            ep.cancel(now, call);
        } else {
            ep.recv(now, &tcp(), &sent.respond(486).to_bytes());
        }
        let out = ep.poll_transmit().unwrap();
        assert_eq!(out.flow, FlowId(2));
        let Ok(Message::Request(out)) = Message::parse(&out.bytes) else { panic!() };
        assert_eq!(out.method, if cancelled { Method::Cancel } else { Method::Ack });
        assert_eq!(out.top_via().unwrap().branch(), sent.top_via().unwrap().branch());
        while ep.poll_event().is_some() {}
    }
}

/// The same on sockets: a raw peer with a UDP socket and a TCP listener of one port; then one without the listener.
#[tokio::test]
async fn large_requests_on_sockets() {
    let config = ServiceConfig { udp: vec![local(0)], tcp: vec![local(0)], large_over_tcp: true, ..Default::default() };
    let (service, sip) = Service::bind(config).await.unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(service.run(stop.clone()));

    let listener = TcpListener::bind(local(0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let datagrams = UdpSocket::bind(local(port)).await.unwrap();
    let target = Target::Address(Transport::Udp, local(port));
    let me = sip.clone();
    let asking = tokio::spawn(async move { me.request(target, large(3_000)).await });
    let (mut stream, _) = timeout(Duration::from_secs(2), listener.accept()).await.unwrap().unwrap();
    let mut got = Vec::new();
    while got.len() < 3_000 || !got.ends_with(b"xxx") {
        let n = timeout(Duration::from_secs(2), stream.read_buf(&mut got)).await.unwrap().unwrap();
        assert!(n > 0);
    }
    let Ok(Message::Request(req)) = Message::parse(&got) else { panic!() };
    assert_eq!((req.top_via().unwrap().transport.as_str(), req.body.len()), ("TCP", 3_000));
    stream.write_all(&req.respond(200).to_bytes()).await.unwrap();
    assert_eq!(asking.await.unwrap().unwrap().code, 200);
    let mut buffer = [0; 65_536];
    assert!(datagrams.try_recv(&mut buffer).is_err(), "nothing came by UDP");
    // Small ones stay on UDP, on the same address.
    let me = sip.clone();
    let asking = tokio::spawn(async move { me.request(target, large(10)).await });
    let (n, from) = timeout(Duration::from_secs(2), datagrams.recv_from(&mut buffer)).await.unwrap().unwrap();
    let Ok(Message::Request(req)) = Message::parse(&buffer[..n]) else { panic!() };
    datagrams.send_to(&req.respond(200).to_bytes(), from).await.unwrap();
    assert_eq!(asking.await.unwrap().unwrap().code, 200);

    // No listener: refused at once, so UDP; the second one does not even ask.
    let deaf = UdpSocket::bind(local(0)).await.unwrap();
    let target = Target::Address(Transport::Udp, deaf.local_addr().unwrap());
    for _ in 0..2 {
        let me = sip.clone();
        let asking = tokio::spawn(async move { me.request(target, large(3_000)).await });
        let (n, from) = timeout(Duration::from_secs(5), deaf.recv_from(&mut buffer)).await.unwrap().unwrap();
        let Ok(Message::Request(req)) = Message::parse(&buffer[..n]) else { panic!() };
        assert_eq!((req.top_via().unwrap().transport.as_str(), req.body.len()), ("UDP", 3_000));
        deaf.send_to(&req.respond(200).to_bytes(), from).await.unwrap();
        assert_eq!(asking.await.unwrap().unwrap().code, 200);
    }
    stop.cancel();
}

// Link profiles

#[test]
fn networks() {
    let of = |text: &str| text.parse::<Network>();
    for (network, inside, outside) in [
        ("10.8.0.0/16", "10.8.255.1", "10.9.0.1"),
        ("10.9.0.7", "10.9.0.7", "10.9.0.8"),
        ("0.0.0.0/0", "255.1.1.1", "::1"),
        ("2001:db8::/32", "2001:db8:9::1", "2001:db9::1"),
        ("::/0", "fe80::1", "10.0.0.1"),
        ("10.8.0.0/16", "::ffff:10.8.0.1", "::ffff:10.9.0.1"),
        ("192.0.2.128/25", "192.0.2.129", "192.0.2.127"),
    ] {
        let network = of(network).unwrap();
        assert!(network.contains(inside.parse().unwrap()), "{network:?} {inside}");
        assert!(!network.contains(outside.parse().unwrap()), "{network:?} {outside}");
    }
    for bad in ["", "x", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "2001:db8::/129", "10.0.0.0/8/8", "hall.example/8"]
    {
        assert_eq!(of(bad), Err(BadNetwork::Form), "{bad}");
    }
    assert_eq!(of("10.8.0.1/16"), Err(BadNetwork::HostBits));
}

/// First repeats of a request of ours that nobody answers, in ms after it.
async fn repeats(sip: &Sip, peer: &UdpSocket, first_ms: u64) -> Vec<u64> {
    let target = Target::Address(Transport::Udp, peer.local_addr().unwrap());
    let me = sip.clone();
    let asking = tokio::spawn(async move { me.request(target, common::message()).await });
    let mut buffer = [0; 2_000];
    let mut times = Vec::new();
    let mut began = None;
    while let Ok(Ok((_, _))) = timeout(Duration::from_millis(first_ms * 4), peer.recv_from(&mut buffer)).await {
        let began = *began.get_or_insert_with(Instant::now);
        times.push(began.elapsed().as_millis() as u64);
        if times.len() == 3 {
            break;
        }
    }
    asking.abort();
    times
}

#[tokio::test]
async fn a_flow_from_a_satellite_network_or_account_has_its_timers() {
    let slow = LinkProfile { t1: Duration::from_millis(800), ..LinkProfile::LAN };
    let quick = LinkProfile { t1: Duration::from_millis(200), ..LinkProfile::LAN };
    let (mut service, sip) =
        Service::bind(ServiceConfig { udp: vec![local(0)], ..ServiceConfig::default() }).await.unwrap();
    let networks: Vec<Network> = vec!["127.0.8.0/24".parse().unwrap()];
    service.profiles(move |_, peer| if networks.iter().any(|n| n.contains(peer.ip())) { slow } else { quick });
    service.account_profiles(move |user| (user == "8001").then_some(slow));
    let _inbox = service.claim("test", |_, _| true);
    let stop = CancellationToken::new();
    tokio::spawn(service.run(stop.clone()));
    let near = UdpSocket::bind("127.0.0.9:0").await.unwrap();
    let far = UdpSocket::bind("127.0.8.9:0").await.unwrap();
    let close =
        |times: &[u64], t1: u64| times.len() == 3 && times[1].abs_diff(t1) < t1 / 2 && times[2].abs_diff(3 * t1) < t1;
    let times = repeats(&sip, &near, 200).await;
    assert!(close(&times, 200), "{times:?}");
    let times = repeats(&sip, &far, 800).await;
    assert!(close(&times, 800), "{times:?}");
    // The near one registers as an account that is known to be far: from then on its flow is slow.
    let register = "REGISTER sip:hall SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.9;branch=z9hG4bKr\r\nFrom: <sip:8001@hall>;tag=1\r\nTo: <sip:8001@hall>\r\nCall-ID: r\r\nCSeq: 1 REGISTER\r\n\r\n";
    near.send_to(register.as_bytes(), sip.listening().0[0]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut buffer = [0; 2_000];
    while near.try_recv(&mut buffer).is_ok() {}
    let times = repeats(&sip, &near, 800).await;
    assert!(close(&times, 800), "{times:?}");
    stop.cancel();
}
