//! The service on real sockets of 127.0.0.1: UDP, TCP, and SIPp where it is installed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{net::SocketAddr, time::Duration};

use sip::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn hall(port: u16) -> (Sip, CancellationToken, tokio::task::JoinHandle<Result<(), SipError>>) {
    let config = ServiceConfig {
        udp: vec![local(port)],
        tcp: vec![local(port)],
        user_agent: "Skybridge".into(),
        ..Default::default()
    };
    let (mut service, sip) = Service::bind(config).await.unwrap();
    let mut inbox =
        service.claim("test", |req, _| matches!(req.method, Method::Invite | Method::Message | Method::Register));
    let stop = CancellationToken::new();
    let task = tokio::spawn(service.run(stop.clone()));
    let me = sip.clone();
    tokio::spawn(async move {
        while let Some(incoming) = inbox.recv().await {
            match incoming {
                Incoming::Request { tx, request, .. } => me.respond(tx, request.respond(200)),
                Incoming::Invite { mut call, flow, .. } => {
                    let sip = me.clone();
                    tokio::spawn(async move {
                        call.ring(180, None);
                        let host = sip.local_address(&Target::Flow(flow.id)).ip();
                        let sdp = format!(
                            "v=0\r\no=- 0 0 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n"
                        );
                        call.accept("application/sdp", sdp, Headers::new());
                        while let Some(event) = call.next().await {
                            if let CallEvent::Request { tx, request } = event {
                                call.respond(tx, request.respond(200));
                            }
                        }
                    });
                }
            }
        }
    });
    (sip, stop, task)
}

fn message(to: SocketAddr) -> Request {
    let mut req = Request::new(Method::Message, Uri::sip("x", &to.ip().to_string(), Some(to.port())));
    req.set_body("text/plain", "hello");
    req
}

#[tokio::test]
async fn messages_and_calls_between_two_services() {
    let (a, stop_a, task_a) = hall(0).await;
    let (b, stop_b, _) = hall(0).await;
    for transport in [Transport::Udp, Transport::Tcp] {
        let (udp, tcp, _) = b.listening();
        let peer = if transport == Transport::Udp { udp[0] } else { tcp[0] };
        let target = Target::Address(transport, peer);
        let resp = a.request(target, message(peer)).await.unwrap();
        assert_eq!(resp.code, 200);
        let mut req = Request::new(Method::Invite, Uri::sip("x", "127.0.0.1", Some(peer.port())));
        req.headers.set("From", "<sip:me@hall>");
        req.set_body("application/sdp", "v=0");
        let mut call = a.invite(target, req).await.unwrap();
        let answered = loop {
            match timeout(Duration::from_secs(5), call.next()).await.unwrap().unwrap() {
                CallEvent::Answered(r) => break r,
                CallEvent::Progress(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(String::from_utf8_lossy(&answered.body).contains("c=IN IP4 127.0.0.1"));
        let contact = answered.contact().unwrap().uri;
        assert_eq!((contact.host.as_str(), contact.port), ("127.0.0.1", Some(peer.port())));
        let mut info = Request::new(Method::Info, Uri::default());
        info.set_body("application/dtmf-relay", "Signal=1");
        assert_eq!(call.send(info).await.unwrap().code, 200);
        call.bye();
        assert!(matches!(call.next().await, Some(CallEvent::Ended(EndReason::LocalBye))));
        assert!(call.next().await.is_none());
        // A dropped handle hangs up.
        let mut req = Request::new(Method::Invite, Uri::sip("x", "127.0.0.1", Some(peer.port())));
        req.set_body("application/sdp", "v=0");
        let mut call = a.invite(target, req).await.unwrap();
        while !matches!(call.next().await, Some(CallEvent::Answered(_))) {}
        let byes = b.stats().requests_in(&Method::Bye);
        drop(call);
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if b.stats().requests_in(&Method::Bye) > byes {
                break;
            }
        }
        assert_eq!(b.stats().requests_in(&Method::Bye), byes + 1, "{transport}");
    }
    let gone = a.request(Target::Flow(FlowId(9999)), message(local(1))).await;
    assert_eq!(gone, Err(SipError::UnknownFlow));
    let refused = a.request(Target::Address(Transport::Tcp, local(1)), message(local(1))).await;
    assert_eq!(refused, Err(SipError::FlowClosed));
    stop_a.cancel();
    timeout(Duration::from_secs(2), task_a).await.unwrap().unwrap().unwrap();
    assert_eq!(a.request(Target::Flow(FlowId(1)), message(local(1))).await, Err(SipError::Stopped));
    stop_b.cancel();
}

#[tokio::test]
async fn unclaimed_methods_are_answered() {
    let (sip, stop, _) = hall(0).await;
    let peer = sip.listening().0[0];
    let (other, stop2, _) = hall(0).await;
    let target = Target::Address(Transport::Udp, peer);
    for (method, code) in [
        (Method::Options, 200),
        (Method::Subscribe, 404),
        (Method::Notify, 481),
        (Method::Publish, 405),
        (Method::Other("FOO".into()), 501),
    ] {
        let mut req = message(peer);
        req.method = method;
        assert_eq!(other.request(target, req).await.unwrap().code, code);
    }
    stop.cancel();
    stop2.cancel();
}

#[tokio::test]
async fn tcp_ping_split_and_garbage() {
    let (sip, stop, _) = hall(0).await;
    let tcp = sip.listening().1[0];
    let mut s = tokio::net::TcpStream::connect(tcp).await.unwrap();
    s.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0; 2];
    timeout(Duration::from_secs(2), s.read_exact(&mut pong)).await.unwrap().unwrap();
    assert_eq!(&pong, b"\r\n");
    let one = |n: u32| {
        format!(
            "MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP 10.9.9.9:5060;branch=z9hG4bK{n}\r\nFrom: <sip:c@d>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: t{n}\r\nCSeq: 1 MESSAGE\r\nContent-Length: 4\r\n\r\nbody"
        )
    };
    let both = one(1) + &one(2);
    for part in both.as_bytes().chunks(50) {
        s.write_all(part).await.unwrap();
        s.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut got = String::new();
    let mut buffer = [0; 4096];
    while got.matches("SIP/2.0 200").count() < 2 {
        let n = timeout(Duration::from_secs(2), s.read(&mut buffer)).await.unwrap().unwrap();
        assert!(n > 0);
        got.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    s.write_all(&[b'x'; 40_000]).await.unwrap();
    let end = timeout(Duration::from_secs(2), async {
        loop {
            match s.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    });
    assert!(end.await.is_ok(), "closed above the header cap");
    stop.cancel();
}

#[tokio::test]
async fn udp_answer_goes_to_the_source_address() {
    let (sip, stop, _) = hall(0).await;
    let peer = sip.listening().0[0];
    let s = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let text = "MESSAGE sip:a@b SIP/2.0\nVia: SIP/2.0/UDP 10.9.9.9:7;branch=1\nFrom: sip:c@d;tag=1\nTo: sip:a@b\nCall-ID: lf\nCSeq: 1 MESSAGE\n\n<x/>";
    s.send_to(text.as_bytes(), peer).await.unwrap();
    let mut buffer = [0; 2000];
    let (n, from) = timeout(Duration::from_secs(2), s.recv_from(&mut buffer)).await.unwrap().unwrap();
    let got = String::from_utf8_lossy(&buffer[..n]);
    assert_eq!(from, peer);
    assert!(got.starts_with("SIP/2.0 200") && got.contains("received=127.0.0.1"), "{got}");
    stop.cancel();
}

#[tokio::test]
async fn attached_pipe_is_a_flow() {
    let (sip, stop, _) = hall(0).await;
    let mut pipe = sip.attach(Transport::Ws, local(8443), local(5555)).await.unwrap();
    let text = "MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bKw\r\nFrom: <sip:c@d>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: ws\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(pipe.incoming.push(text.into()).await, Ok(None));
    let out = timeout(Duration::from_secs(2), pipe.outgoing.recv()).await.unwrap().unwrap();
    assert!(out.starts_with(b"SIP/2.0 200"));
    let contact = sip.local_contact(&Target::Flow(pipe.flow.id), "hall");
    assert_eq!(contact.to_string(), "sip:hall@127.0.0.1:8443;transport=ws");
    let id = pipe.flow.id;
    drop(pipe);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(sip.flow(id).is_none());
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_calls() {
    let found = tokio::process::Command::new("sipp").arg("-v").output().await;
    if found.is_err() {
        println!("skipped, no sipp");
        return;
    }
    let (sip, stop, task) = hall(0).await;
    let port = sip.listening().0[0].port();
    assert_eq!(port, sip.listening().0[0].port());
    let tcp = sip.listening().1[0].port();
    for (mode, port, own, calls) in [("u1", port, 26_061, 300), ("t1", tcp, 26_062, 300), ("tn", tcp, 26_063, 50)] {
        let run = tokio::process::Command::new("sipp")
            .args(["-sn", "uac", &format!("127.0.0.1:{port}"), "-i", "127.0.0.1", "-p", &own.to_string()])
            .args([
                "-r",
                "100",
                "-m",
                &calls.to_string(),
                "-d",
                "50",
                "-nostdin",
                "-t",
                mode,
                "-timeout",
                "40",
                "-max_socket",
                "200",
            ])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true)
            .output();
        let out = timeout(Duration::from_secs(60), run).await.unwrap().unwrap();
        assert!(out.status.success(), "{mode}: {:?} {}", out.status, String::from_utf8_lossy(&out.stderr));
    }
    let s = sip.stats();
    assert_eq!(s.responses_out(503), 0);
    assert!(s.requests_in(&Method::Bye) >= 650);
    println!("{:?}", s.snapshot());
    stop.cancel();
    timeout(Duration::from_secs(2), task).await.unwrap().unwrap().unwrap();
}

/// We call SIPp's answering scenario.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_sipp() {
    let started = tokio::process::Command::new("sipp")
        .args(["-sn", "uas", "-i", "127.0.0.1", "-p", "26064", "-nostdin", "-m", "20", "-timeout", "40"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let Ok(mut sipp) = started else {
        println!("skipped, no sipp");
        return;
    };
    let (sip, stop, _) = hall(0).await;
    for _ in 0..20 {
        let mut req = Request::new(Method::Invite, "sip:service@127.0.0.1:26064".parse().unwrap());
        req.set_body(
            "application/sdp",
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n",
        );
        let mut call = sip.invite(Target::Address(Transport::Udp, local(26_064)), req).await.unwrap();
        loop {
            match timeout(Duration::from_secs(10), call.next()).await.unwrap() {
                Some(CallEvent::Answered(_)) => break,
                Some(CallEvent::Progress(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        call.bye();
        while call.next().await.is_some() {}
    }
    let out = timeout(Duration::from_secs(20), sipp.wait()).await.unwrap().unwrap();
    assert!(out.success());
    stop.cancel();
}

#[tokio::test]
async fn messages_over_tls() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = ServiceConfig { tls: Some((vec![local(0)], std::sync::Arc::new(server))), ..Default::default() };
    let (mut service, b) = Service::bind(config).await.unwrap();
    let mut inbox = service.claim("test", |_, _| true);
    let stop = CancellationToken::new();
    tokio::spawn(service.run(stop.clone()));
    let me = b.clone();
    tokio::spawn(async move {
        while let Some(Incoming::Request { tx, flow, request }) = inbox.recv().await {
            assert_eq!(flow.transport, Transport::Tls);
            me.respond(tx, request.respond(200));
        }
    });
    let (mut service, a) = Service::bind(ServiceConfig { udp: vec![local(0)], ..Default::default() }).await.unwrap();
    let client = std::sync::Arc::new(client);
    service.tls_client(client.clone());
    tokio::spawn(service.run(stop.clone()));
    let peer = b.listening().2[0];
    // A tap sees what goes over TLS in the clear, and nothing once it is dropped.
    let seen: std::sync::Arc<std::sync::Mutex<Vec<(bool, String)>>> = std::sync::Arc::default();
    let table = seen.clone();
    let tap = b.tap(std::sync::Arc::new(move |m: &Tapped<'_>| {
        assert_eq!(m.transport, Transport::Tls);
        let first = String::from_utf8_lossy(m.data).lines().next().unwrap_or_default().to_owned();
        table.lock().unwrap().push((m.sent, first));
    }));
    let resp = a.request(Target::Address(Transport::Tls, peer), message(peer)).await.unwrap();
    assert_eq!(resp.code, 200);
    assert!(resp.top_via().unwrap().transport == "TLS");
    let told = seen.lock().unwrap().clone();
    assert!(
        told.len() == 2 && !told[0].0 && told[0].1.starts_with("MESSAGE") && told[1] == (true, "SIP/2.0 200 OK".into())
    );
    drop(tap);
    assert_eq!(a.request(Target::Address(Transport::Tls, peer), message(peer)).await.unwrap().code, 200);
    assert_eq!(seen.lock().unwrap().len(), 2);
    // One address leaves more handshakes unfinished than there is room for: the others are served all the same.
    let mut idle = Vec::new();
    for _ in 0..300 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        idle.push(socket.connect(peer).await.unwrap());
    }
    let (mut service, c) = Service::bind(ServiceConfig { udp: vec![local(0)], ..Default::default() }).await.unwrap();
    service.tls_client(client);
    tokio::spawn(service.run(stop.clone()));
    let resp = timeout(Duration::from_secs(5), c.request(Target::Address(Transport::Tls, peer), message(peer))).await;
    assert_eq!(resp.unwrap().unwrap().code, 200);
    drop(idle);
    stop.cancel();
}

/// A device behind NAT: registers with digest from one address, gets our MESSAGE and our INVITE on the same flow
/// although its Contact cannot be reached.
#[tokio::test]
async fn registered_device_is_reached_by_its_flow() {
    let (mut service, hall) = Service::bind(ServiceConfig { udp: vec![local(0)], ..Default::default() }).await.unwrap();
    let mut inbox = service.claim("gb28181", |req, _| req.method == Method::Register);
    let stop = CancellationToken::new();
    tokio::spawn(service.run(stop.clone()));
    let peer = hall.listening().0[0];
    let (device, stop_device, _) = crate::hall(0).await;
    let me = hall.clone();
    let registrar = tokio::spawn(async move {
        let digest = DigestServer::new(DigestConfig::new("3402000000"));
        let mut table = Location::new(LocationConfig { max_bindings: 1, ..Default::default() });
        while let Some(incoming) = inbox.recv().await {
            let Incoming::Request { tx, flow, request } = incoming else { continue };
            let now = std::time::Instant::now();
            let answer = match digest.verify(&request, |u| (u == "dev").then(|| Secret::Password("p".into()))) {
                AuthResult::Challenge { stale } => digest.challenge_with(&request, 401, stale),
                AuthResult::Denied => request.respond(403),
                AuthResult::Ok => match table.register(now, "dev", &request, &flow) {
                    Ok(done) => {
                        me.respond(tx, table.answer(now, &request, &done));
                        return flow;
                    }
                    Err(e) => e.response(&request),
                },
            };
            me.respond(tx, answer);
        }
        panic!("no registration")
    });
    let mut req = Request::new(Method::Register, Uri::sip("platform", "127.0.0.1", Some(peer.port())));
    req.headers.set("From", "<sip:dev@3402000000>");
    req.headers.set("To", "<sip:dev@3402000000>");
    req.headers.set("Contact", "<sip:dev@192.0.2.77:5060>");
    let resp =
        device.request_as(Target::Address(Transport::Udp, peer), req, DigestClient::new("dev", "p")).await.unwrap();
    assert_eq!((resp.code, resp.headers.get("Expires")), (200, Some("3600")));
    let flow = registrar.await.unwrap();
    let to_device = Target::Flow(flow.id);
    assert_eq!(hall.request(to_device, message(local(5060))).await.unwrap().code, 200);
    let mut invite = Request::new(Method::Invite, "sip:channel@192.0.2.77".parse().unwrap());
    invite.set_body("application/sdp", "v=0");
    let mut call = hall.invite(to_device, invite).await.unwrap();
    while !matches!(call.next().await, Some(CallEvent::Answered(_))) {}
    drop(call);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(device.stats().requests_in(&Method::Bye), 1);
    stop.cancel();
    stop_device.cancel();
}
