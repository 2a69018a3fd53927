//! Meeting terminals with a picture, by a phone of our own making: what baresip does not do on demand (the rest is
//! `tests/interop/video-terminal.test.mjs`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use media_core::nal::put_nal;
use media_core::nal_rtp::NalDepacketizer;
use media_core::rtcp::Rtcp;
use media_core::rtp::{RtpHeader, RtpPacket};
use media_core::{Codec, Frame, MediaKind, TrackId, TrackInfo};
use media_hub::{Pulled, StreamId, SubscribeOptions};
use sip::{Call, CallEvent, Method, Request, Uri};
use skybridge_bridge_phone::Config;
use tokio::net::UdpSocket;

use crate::gateway::Gateway;
use crate::raw::{Raw, answer};

/// High, 1920x1080.
const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00,
    0x00, 0x03, 0x00, 0xc8, 0x3c, 0x60, 0xc6, 0x58,
];
const PPS: &[u8] = &[0x68, 0xCE, 0x3C, 0x80];
const HIGH: &str = "profile-level-id=640028;packetization-mode=1";

/// A member with a camera: 25 pictures a second, a key frame each second or when one is asked for.
struct Camera {
    task: tokio::task::JoinHandle<()>,
    asked: Arc<AtomicUsize>,
}

fn camera(gw: &Gateway, id: &str) -> Camera {
    let mut publisher = gw.ctx.hub.publish(&StreamId::new(id), "camera").unwrap();
    publisher.set_tracks(&[TrackInfo { width: 1920, height: 1080, ..TrackInfo::video(Codec::H264) }]);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let task = tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_millis(40));
        let (mut n, mut since) = (0i64, 0);
        loop {
            let key = tokio::select! {
                _ = every.tick() => since >= 50,
                () = publisher.key_frame_requested() => {
                    count.fetch_add(1, Ordering::Relaxed);
                    true
                }
            };
            since = if key { 0 } else { since + 1 };
            let mut body = BytesMut::new();
            if key {
                put_nal(&mut body, SPS);
                put_nal(&mut body, PPS);
            }
            let mut slice = vec![n as u8; if key { 5000 } else { 800 }];
            (slice[0], slice[1]) = if key { (0x65, 0x88) } else { (0x41, 0x9A) };
            put_nal(&mut body, &slice);
            publisher.write(Frame::new(TrackId::VIDEO, Codec::H264, n * 3600, key, Instant::now(), Bytes::from(body)));
            n += 1;
        }
    });
    Camera { task, asked }
}

/// The terminal's video side.
struct Terminal {
    rtp: UdpSocket,
    to: SocketAddr,
    sequence: u16,
    stamp: u32,
}

impl Terminal {
    async fn new() -> Terminal {
        // Even, with the next one for RTCP: as the description means it.
        let rtp = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        Terminal { rtp, to: ([127, 0, 0, 1], 9).into(), sequence: 5, stamp: 90_000 }
    }

    fn offer(&self, a: &Raw, fmtp: &str, direction: &str, more: &str) -> String {
        let port = self.rtp.local_addr().unwrap().port();
        let sound = a.offer("8 96", if direction == "inactive" { "sendonly" } else { "sendrecv" });
        format!(
            "{sound}m=video {port} RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\na=fmtp:97 {fmtp}\r\na=rtcp-mux\r\n{more}a={direction}\r\n\
             m=application 9 UDP/BFCP *\r\n"
        )
    }

    async fn packet(&mut self, payload: &[u8], marker: bool) {
        let header = RtpHeader { marker, payload_type: 97, sequence: self.sequence, timestamp: self.stamp, ssrc: 4711 };
        let mut out = Vec::new();
        header.write(&mut out, &[payload]);
        self.sequence = self.sequence.wrapping_add(1);
        self.rtp.send_to(&out, self.to).await.unwrap();
    }

    async fn picture(&mut self, key: bool) {
        self.stamp = self.stamp.wrapping_add(3600);
        if key {
            self.packet(SPS, false).await;
            self.packet(PPS, false).await;
        }
        self.packet(if key { &[0x65, 0x88, 1, 2] } else { &[0x41, 0x9A, 1, 2] }, true).await;
    }

    /// What comes within this time: RTP and RTCP.
    async fn receive(&self, time: Duration) -> (Vec<Vec<u8>>, Vec<Rtcp>) {
        let end = Instant::now() + time;
        let (mut rtp, mut rtcp) = (Vec::new(), Vec::new());
        let mut buffer = [0; 2000];
        while let Ok(Ok((n, _))) = tokio::time::timeout_at(end.into(), self.rtp.recv_from(&mut buffer)).await {
            if media_core::rtp::is_rtcp(&buffer[..n]) {
                rtcp.extend(Rtcp::parse_compound(&buffer[..n]).unwrap());
            } else {
                rtp.push(buffer[..n].to_vec());
            }
        }
        (rtp, rtcp)
    }
}

fn video_of(body: &[u8]) -> media_core::sdp::Media {
    let sdp = media_core::sdp::Sdp::parse(body).unwrap();
    assert_eq!(sdp.media.len(), 3, "sections stay in number and order");
    assert_eq!(sdp.media[2].port, 0, "the content share is refused");
    sdp.media[1].clone()
}

/// Pictures of RTP packets: (is a key frame).
fn pictures(packets: &[Vec<u8>]) -> Vec<bool> {
    let mut d = NalDepacketizer::new(Codec::H264);
    let mut out = Vec::new();
    for p in packets {
        let p = RtpPacket::parse(p).unwrap();
        assert_eq!(p.payload_type, 97);
        assert!(p.payload.len() <= 1180);
        let _ = d.push(p.payload, p.timestamp, p.marker, Instant::now());
        out.extend(std::iter::from_fn(|| d.poll()).map(|f| f.key));
    }
    out
}

async fn renegotiate(call: &Call, body: String) -> media_core::sdp::Media {
    let mut request = Request::new(Method::Invite, Uri::default());
    if !body.is_empty() {
        request.set_body("application/sdp", body);
    }
    let response = call.send(request).await.unwrap();
    assert_eq!(response.code, 200);
    video_of(&response.body)
}

/// The next INFO with a key-frame request within this time; it gets the code.
async fn asked_by_info(call: &mut Call, time: Duration, code: u16) -> bool {
    let end = Instant::now() + time;
    while let Ok(Some(event)) = tokio::time::timeout_at(end.into(), call.next()).await {
        if let CallEvent::Request { tx, request } = event {
            let wanted = request.method == Method::Info
                && request.content_type() == Some("application/media_control+xml")
                && String::from_utf8_lossy(&request.body).contains("picture_fast_update");
            call.respond(tx, request.respond(code));
            if wanted {
                return true;
            }
        }
    }
    false
}

/// A terminal without feedback lines: INFO both ways, hold and resume, the picture taken away and given back, frozen.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_with_picture_through_its_call() {
    let gw = Gateway::start(29_000, Config::default()).await;
    let a = Raw::start("8001", 29_010, gw.port).await;
    assert_eq!(a.register("secret1", 300).await.code, 200);
    let camera = camera(&gw, "browser:b");
    gw.rooms.look.send_replace(Some(StreamId::new("browser:b")));
    let mut t = Terminal::new().await;
    let mut call = a.invite("700", &t.offer(&a, HIGH, "sendrecv", ""), &[], None).await;
    let ours = video_of(&answer(&mut call).await.unwrap().body);
    assert_eq!(ours.fmtp(97), Some("profile-level-id=640028;packetization-mode=1"));
    assert!(ours.port > 0 && ours.port.is_multiple_of(2) && ours.line('b') == Some("AS:4000"));
    t.to = ([127, 0, 0, 1], ours.port).into();
    gw.rooms.wait("Picture(Waiting", 3).await;

    // It sees the camera from the first packet on: whole pictures, the first one a key frame.
    let (packets, _) = t.receive(Duration::from_secs(2)).await;
    let seen = pictures(&packets);
    println!("{} packets, {} pictures in 2 s", packets.len(), seen.len());
    assert!(seen.len() >= 30 && seen[0], "{seen:?}");

    // It is seen.
    t.picture(true).await;
    t.picture(false).await;
    gw.rooms.wait("Picture(Live", 3).await;
    let stream = StreamId::new(gw.rooms.stream());
    let mut viewer = gw.ctx.hub.subscribe(&stream, SubscribeOptions::default()).unwrap();
    let track =
        gw.ctx.hub.get(&stream).unwrap().tracks().iter().find(|t| t.kind() == MediaKind::Video).cloned().unwrap();
    assert_eq!((track.codec, track.width, track.height), (Codec::H264, 1920, 1080));
    let mut frames = async |time: u64| {
        let end = Instant::now() + Duration::from_millis(time);
        let mut keys = Vec::new();
        while let Ok(pulled) = tokio::time::timeout_at(end.into(), viewer.next()).await {
            if let Pulled::Item(item) = pulled
                && item.frame.kind() == MediaKind::Video
            {
                keys.push(item.frame.key);
            }
        }
        keys
    };
    assert_eq!(frames(200).await, [true, false]);

    // A loss: held back, asked for by INFO, once a second; with the key frame it goes on.
    t.sequence += 1;
    t.picture(false).await;
    assert!(asked_by_info(&mut call, Duration::from_secs(2), 200).await);
    assert!(!asked_by_info(&mut call, Duration::from_millis(700), 200).await, "at most one a second");
    t.picture(false).await;
    assert!(frames(150).await.is_empty(), "no picture that lacks another one");
    t.picture(true).await;
    assert_eq!(frames(150).await, [true]);

    // Damaged fragments do nothing but to be counted.
    let before = gw.counter("skybridge_phone_rtp_packets_bad_total", "");
    for bad in [&[28u8][..], &[28, 0x05], &[28, 0x45, 1], &[24, 0xFF, 0xFF, 1], &[29, 0x85, 0, 0], &[31, 0], &[0]] {
        t.stamp += 3600;
        t.packet(bad, true).await;
    }
    // One that refuses INFO is not asked again.
    assert!(asked_by_info(&mut call, Duration::from_secs(2), 415).await);
    assert!(gw.counter("skybridge_phone_rtp_packets_bad_total", "") >= before + 5.0);
    t.picture(false).await;
    assert!(!asked_by_info(&mut call, Duration::from_millis(1500), 200).await);
    t.picture(true).await;
    assert_eq!(frames(150).await, [true]);

    // It asks for a key frame itself: by INFO, and by PLI.
    t.receive(Duration::from_millis(100)).await;
    let asked = camera.asked.load(Ordering::Relaxed);
    let mut info = Request::new(Method::Info, Uri::default());
    let body = "<?xml version=\"1.0\"?><media_control><vc_primitive><to_encoder><picture_fast_update/></to_encoder></vc_primitive></media_control>";
    info.set_body("application/media_control+xml", body);
    assert_eq!(call.send(info).await.unwrap().code, 200);
    let seen = pictures(&t.receive(Duration::from_millis(700)).await.0);
    assert_eq!(camera.asked.load(Ordering::Relaxed), asked + 1);
    assert!(seen.contains(&true));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let pli = Rtcp::write_compound(&[
        Rtcp::ReceiverReport { ssrc: 4711, reports: vec![] },
        Rtcp::Pli { sender: 4711, media: 0 },
    ]);
    t.rtp.send_to(&pli, t.to).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(camera.asked.load(Ordering::Relaxed), asked + 2);

    // Nothing comes any more: frozen. Then hold: muted, and nothing is sent.
    gw.rooms.wait("Picture(Frozen", 5).await;
    let told = gw.rooms.reports().len();
    let ours = renegotiate(&call, t.offer(&a, HIGH, "inactive", "")).await;
    assert_eq!(ours.direction().unwrap(), media_core::sdp::Direction::Inactive);
    gw.rooms.wait_after(told, "Held(true)", 3).await;
    gw.rooms.wait_after(told, "Picture(Muted", 3).await;
    t.receive(Duration::from_millis(200)).await;
    assert!(t.receive(Duration::from_millis(600)).await.0.is_empty(), "nothing to a terminal on hold");
    assert!(!gw.ctx.hub.get(&stream).unwrap().tracks().iter().any(|t| t.kind() == MediaKind::Video));

    // Resume: a key frame first.
    let told = gw.rooms.reports().len();
    renegotiate(&call, t.offer(&a, HIGH, "sendrecv", "a=rtcp-fb:* nack pli\r\n")).await;
    let seen = pictures(&t.receive(Duration::from_secs(1)).await.0);
    assert!(seen.len() > 10 && seen[0], "{seen:?}");
    t.picture(true).await;
    gw.rooms.wait_after(told, "Picture(Live", 3).await;
    // Now feedback is agreed on: a loss is told by PLI, and reports come.
    t.sequence += 1;
    t.picture(false).await;
    let (_, rtcp) = t.receive(Duration::from_millis(1500)).await;
    assert!(rtcp.iter().any(|p| matches!(p, Rtcp::Pli { media: 4711, .. })), "{rtcp:?}");
    assert!(rtcp.iter().any(|p| matches!(p, Rtcp::SenderReport { .. })));

    // The picture is taken away, and the sound goes on; then given back.
    let told = gw.rooms.reports().len();
    let without = t.offer(&a, HIGH, "sendrecv", "");
    let port = format!("m=video {} ", t.rtp.local_addr().unwrap().port());
    let ours = renegotiate(&call, without.replace(&port, "m=video 0 ")).await;
    assert_eq!(ours.port, 0);
    gw.rooms.wait_after(told, "Picture(None", 3).await;
    a.hear(Duration::from_millis(50)).await;
    a.goes_on(16).await;
    assert!(t.receive(Duration::from_millis(300)).await.0.is_empty());
    let told = gw.rooms.reports().len();
    assert!(renegotiate(&call, without).await.port > 0);
    t.picture(true).await;
    gw.rooms.wait_after(told, "Picture(Live", 3).await;
    assert!(!pictures(&t.receive(Duration::from_millis(600)).await.0).is_empty());
    // A re-INVITE without an offer gets ours: number and order of the sections stay (RFC 3264 8).
    let ours = renegotiate(&call, String::new()).await;
    assert!(ours.port > 0 && ours.formats == ["102", "103", "105"], "{ours:?}");
    camera.task.abort();
    call.bye();
    gw.stop().await;
}

/// What is no H.264 that we speak is refused with a reason, and the sound goes on; a camera beyond the agreed level is told.
#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_are_refused() {
    let gw = Gateway::start(29_100, Config::default()).await;
    let a = Raw::start("8001", 29_110, gw.port).await;
    assert_eq!(a.register("secret1", 300).await.code, 200);
    let t = Terminal::new().await;
    for (from, to, why) in [
        ("packetization-mode=1", "packetization-mode=2", "interleaved"),
        ("H264/90000", "VP8/90000", "only VP8"),
        ("H264/90000", "H265/90000", "only H265"),
        ("a=rtcp-mux", "a=content:slides", "content stream"),
    ] {
        let told = gw.rooms.reports().len();
        let mut call = a.invite("700", &t.offer(&a, HIGH, "sendrecv", "").replace(from, to), &[], None).await;
        assert_eq!(video_of(&answer(&mut call).await.unwrap().body).port, 0, "{why}");
        let (_, report) = gw.rooms.wait_after(told, "video_refused", 3).await;
        assert!(report.contains(why), "{report}");
        a.goes_on(11).await;
        call.bye();
        gw.rooms.wait_after(told, "Left", 3).await;
    }
    // 1080p high to who takes 720p baseline, and no transcoder here: told in words, nothing sent.
    let camera = camera(&gw, "browser:b");
    gw.rooms.look.send_replace(Some(StreamId::new("browser:b")));
    let told = gw.rooms.reports().len();
    let offer = t.offer(&a, "profile-level-id=42e01f;packetization-mode=1", "sendrecv", "");
    let mut call = a.invite("700", &offer, &[], None).await;
    answer(&mut call).await.unwrap();
    let (_, report) = gw.rooms.wait_after(told, "picture_unfit", 5).await;
    assert!(report.contains("H.264 High, the terminal takes Baseline"), "{report}");
    assert!(t.receive(Duration::from_millis(500)).await.0.is_empty());
    camera.task.abort();
    call.bye();
    gw.stop().await;
    // Switched off: no picture at all, and no port for it.
    let gw = Gateway::start(29_100, Config { video_kbps: 0, ..Config::default() }).await;
    let mut call = a.invite("700", &t.offer(&a, HIGH, "sendrecv", ""), &[], Some("secret1")).await;
    assert_eq!(video_of(&answer(&mut call).await.unwrap().body).port, 0);
    call.bye();
    gw.stop().await;
}

/// The hall calls a phone that refuses the picture together with the call: it is called again with sound alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_refuses_the_whole_offer_is_called_with_sound() {
    let gw = Gateway::start(29_200, Config::default()).await;
    let mut a = Raw::start("8001", 29_210, gw.port).await;
    assert_eq!(a.register("secret1", 300).await.code, 200);
    let seat = gw.rooms.seat("700");
    gw.bridge.command(bridge_core::Command::Dial { to: "8001".into(), seat }).await.unwrap();
    let (call, request) = a.called().await;
    let offered = String::from_utf8_lossy(&request.body).into_owned();
    assert!(offered.contains("m=video") && offered.contains("a=fmtp:102 profile-level-id=640028"), "{offered}");
    call.reject_with(request.respond(488));
    let (call, request) = a.called().await;
    assert!(!String::from_utf8_lossy(&request.body).contains("m=video"));
    let body = a.offer("8 96", "sendrecv");
    call.accept("application/sdp", Bytes::from(body), sip::Headers::new());
    gw.rooms.wait("Connected", 3).await;
    a.goes_on(11).await;
    gw.stop().await;
}
