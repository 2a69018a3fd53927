//! Legs against an independent far end: `str0m` as the browser, in this process, over loopback UDP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::rtp_payload::Depacketizer;
use media_core::{Codec, Frame, TrackId, TrackInfo};
use media_hub::{Hub, HubLimits, Publisher, Pulled, StreamId, SubscribeOptions};
use skybridge_media_webrtc::{CloseReason, Endpoint, EndpointConfig, LegEvent, LegState, ViewerOptions, WebRtcError};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc};

/// The far end.
struct Browser {
    rtc: Rtc,
    socket: UdpSocket,
    pending: Option<SdpPendingOffer>,
    packets: Vec<RtpPacket>,
    connected: bool,
    /// Every n-th media datagram towards the browser is lost; 0 loses none.
    lose_every: u32,
    count: u32,
    seen: u32,
}

impl Browser {
    fn new(lose_every: u32) -> Self {
        Self::with(lose_every, Rtc::builder())
    }

    fn with(lose_every: u32, config: str0m::RtcConfig) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut rtc = config.set_rtp_mode(true).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(socket.local_addr().unwrap(), "udp").unwrap());
        Browser { rtc, socket, pending: None, packets: Vec::new(), connected: false, lose_every, count: 0, seen: 0 }
    }

    fn offer(&mut self, media: &[(MediaKind, Direction)]) -> (String, Vec<Mid>) {
        let mut api = self.rtc.sdp_api();
        let mids = media.iter().map(|(kind, direction)| api.add_media(*kind, *direction, None, None, None)).collect();
        let (offer, pending) = api.apply().unwrap();
        self.pending = Some(pending);
        (offer.to_sdp_string(), mids)
    }

    fn answer(&mut self, sdp: &str) {
        let answer = SdpAnswer::from_sdp_string(sdp).unwrap();
        let pending = self.pending.take().unwrap();
        self.rtc.sdp_api().accept_answer(pending, answer).unwrap();
    }

    /// Runs for a while.
    async fn run(&mut self, time: Duration) {
        let end = Instant::now() + time;
        let mut buf = [0u8; 2048];
        while Instant::now() < end {
            loop {
                match self.rtc.poll_output() {
                    Ok(Output::Timeout(_)) | Err(_) => break,
                    Ok(Output::Transmit(t)) => {
                        let _ = self.socket.send_to(&t.contents, t.destination);
                    }
                    Ok(Output::Event(Event::Connected)) => self.connected = true,
                    Ok(Output::Event(Event::RtpPacket(p))) => self.packets.push(p),
                    Ok(Output::Event(_)) => {}
                }
            }
            let mut got = false;
            while let Ok((n, from)) = self.socket.recv_from(&mut buf) {
                got = true;
                let media = buf[0] >> 6 == 2 && !(192..224).contains(&buf[1]);
                self.seen += u32::from(media);
                if media && self.lose_every > 0 {
                    self.count += 1;
                    if self.count.is_multiple_of(self.lose_every) {
                        continue;
                    }
                }
                let local = self.socket.local_addr().unwrap();
                if let Ok(r) = Receive::new(Protocol::Udp, from, local, &buf[..n]) {
                    let _ = self.rtc.handle_input(Input::Receive(Instant::now(), r));
                }
                break;
            }
            let _ = self.rtc.handle_input(Input::Timeout(Instant::now()));
            if !got {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    fn payload_type_codec(&self, p: &RtpPacket) -> Option<Codec> {
        let params = self.rtc.codec_config().params().iter().find(|x| x.pt() == p.header.payload_type)?;
        match params.spec().codec {
            str0m::format::Codec::H264 => Some(Codec::H264),
            str0m::format::Codec::Vp8 => Some(Codec::Vp8),
            str0m::format::Codec::Opus => Some(Codec::Opus),
            _ => None,
        }
    }

    /// Whole pictures in sequence order, and the highest number of packets still missing.
    fn pictures(&self) -> (Vec<Bytes>, usize) {
        let mut video: Vec<&RtpPacket> = self
            .packets
            .iter()
            .filter(|p| matches!(self.payload_type_codec(p), Some(Codec::H264 | Codec::Vp8)) && !p.payload.is_empty())
            .collect();
        video.sort_by_key(|p| *p.seq_no);
        video.dedup_by_key(|p| *p.seq_no);
        let missing = video.windows(2).map(|w| (*w[1].seq_no - *w[0].seq_no - 1) as usize).sum();
        let mut out = Vec::new();
        let mut current: Option<(Codec, Depacketizer)> = None;
        for p in video {
            let codec = self.payload_type_codec(p).unwrap();
            if current.as_ref().is_none_or(|(c, _)| *c != codec) {
                current = Some((codec, Depacketizer::new(codec)));
            }
            let (_, d) = current.as_mut().unwrap();
            d.push(&p.payload, p.header.timestamp, p.header.marker, p.timestamp).unwrap();
            while let Some(f) = d.poll() {
                out.push(f.payload);
            }
        }
        (out, missing)
    }
}

fn hub() -> Hub {
    Hub::new(HubLimits::default())
}

async fn endpoint(hub: &Hub, test_loss: f32) -> Endpoint {
    let config = EndpointConfig {
        bind: vec!["127.0.0.1:0".parse().unwrap()],
        shards: 1,
        test_loss,
        ..EndpointConfig::default()
    };
    Endpoint::bind(config, hub.clone()).unwrap()
}

fn nal(kind: u8, n: u32, size: usize) -> Vec<u8> {
    let mut b = (size as u32).to_be_bytes().to_vec();
    b.push(kind);
    b.extend((1..size as u32).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(n) >> 13) as u8 | 1));
    b
}

/// A picture in canonical form; its numbers are in its bytes.
fn picture(n: u32, key: bool) -> Frame {
    let mut b = Vec::new();
    if key {
        // SPS and PPS of a 320x240 baseline stream.
        for set in [&[0x67u8, 0x42, 0xC0, 0x0D, 0xDA, 0x05, 0x07, 0xE4][..], &[0x68, 0xCE, 0x3C, 0x80]] {
            b.extend((set.len() as u32).to_be_bytes());
            b.extend(set);
        }
    }
    b.extend(nal(if key { 0x65 } else { 0x41 }, n, if key { 9000 } else { 3500 }));
    Frame::new(TrackId::VIDEO, Codec::H264, i64::from(n) * 3600, key, Instant::now(), Bytes::from(b))
}

fn camera(hub: &Hub, id: &str) -> Publisher {
    let p = hub.publish(&StreamId::new(id), id).unwrap();
    p.set_tracks(&[TrackInfo::video(Codec::H264), TrackInfo::audio(Codec::Opus, 48_000, 2)]);
    p
}

fn spawn_camera(
    publisher: Publisher,
    sent: std::sync::Arc<std::sync::Mutex<Vec<Bytes>>>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(40));
        for n in 0.. {
            tick.tick().await;
            let f = picture(n, n % 25 == 0);
            sent.lock().unwrap().push(f.payload.clone());
            publisher.write(f);
            publisher.write(Frame::new(
                TrackId::AUDIO,
                Codec::Opus,
                i64::from(n) * 1920,
                true,
                Instant::now(),
                Bytes::from(vec![0xFC, n as u8]),
            ));
        }
    })
}

const VIEW: [(MediaKind, Direction); 2] =
    [(MediaKind::Video, Direction::RecvOnly), (MediaKind::Audio, Direction::RecvOnly)];

async fn watch(lose_every: u32, seconds: u64) {
    let hub = hub();
    let endpoint = endpoint(&hub, 0.0).await;
    let sent = std::sync::Arc::default();
    let camera = spawn_camera(camera(&hub, "cam"), std::sync::Arc::clone(&sent));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut browser = Browser::new(lose_every);
    let (offer, _) = browser.offer(&VIEW);
    let (leg, answer) = endpoint.whep(&offer, &StreamId::new("cam"), ViewerOptions::default()).unwrap();
    assert_eq!(endpoint.leg(leg).unwrap().state, LegState::Connecting);
    browser.answer(&answer);
    browser.run(Duration::from_secs(seconds)).await;
    camera.abort();
    browser.run(Duration::from_millis(600)).await;
    assert!(browser.connected);
    let status = endpoint.leg(leg).unwrap();
    assert_eq!(status.state, LegState::Connected);
    assert!(status.dtls_profile.unwrap().contains("GCM"), "{:?}", status.dtls_profile);
    assert!(status.first_frame_at.is_some() && !status.reduced);
    let (pictures, missing) = browser.pictures();
    let sent = sent.lock().unwrap().clone();
    // From the key frame of the group on, every picture, byte for byte.
    let first = sent.iter().position(|s| *s == pictures[0]).expect("the first picture is one that was sent");
    assert_eq!(first % 25, 0, "begins at a key frame");
    if lose_every > 0 {
        assert!(status.rtx > 0, "{status:?}");
    }
    assert_eq!(missing, 0, "{status:?}");
    // The last packets may be lost without anything behind them that would show it.
    let tail = if lose_every > 0 { 2 } else { 0 };
    assert!(pictures.len() + tail >= sent.len() - first, "{} of {}", pictures.len(), sent.len() - first);
    for (got, was) in pictures.iter().zip(&sent[first..]) {
        assert_eq!(got, was);
    }
    let audio = browser.packets.iter().filter(|p| browser.payload_type_codec(p) == Some(Codec::Opus)).count();
    assert!(audio > 20 * seconds as usize / 2, "{audio}");
    // Time stamps rise with the pictures.
    let mut stamps: Vec<(u64, u32)> = browser
        .packets
        .iter()
        .filter(|p| browser.payload_type_codec(p) == Some(Codec::H264))
        .map(|p| (*p.seq_no, p.header.timestamp))
        .collect();
    stamps.sort_unstable();
    assert!(stamps.windows(2).all(|w| (w[1].1.wrapping_sub(w[0].1) as i32) >= 0));
    let mut events = endpoint.events();
    assert!(endpoint.close(leg));
    browser.run(Duration::from_millis(300)).await;
    assert!(matches!(events.try_recv().unwrap(), LegEvent::Closed { reason: CloseReason::Hall, .. }));
    assert_eq!(endpoint.leg(leg).unwrap().state, LegState::Closed);
    assert!(!browser.rtc.is_alive(), "close_notify was sent");
    assert_eq!(endpoint.stats().viewers, 0);
    assert!(!endpoint.close(leg));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_gets_every_picture() {
    watch(0, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_gets_every_picture_with_loss() {
    watch(20, 4).await;
}

/// A camera in H.265 for a viewer that offered H.264 and VP8: the trace says so, the stream itself is good; a picture that it can
/// decode takes it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_lacks_the_codec_is_told() {
    let hub = hub();
    let endpoint = endpoint(&hub, 0.0).await;
    let camera = hub.publish(&StreamId::new("cam"), "cam").unwrap();
    camera.set_tracks(&[TrackInfo::video(Codec::H265)]);
    let mut browser = Browser::with(0, Rtc::builder().enable_h265(false));
    let (offer, _) = browser.offer(&VIEW[..1]);
    let (_leg, answer) = endpoint.whep(&offer, &StreamId::new("cam"), ViewerOptions::default()).unwrap();
    browser.answer(&answer);
    for n in 0..50u32 {
        let mut frame = picture(n, n % 5 == 0);
        frame.codec = Codec::H265;
        camera.write(frame);
        browser.run(Duration::from_millis(40)).await;
    }
    let (trace, status) = (camera.stream().trace(), camera.stream().status());
    let fault = trace.fault.clone().expect("the trace names a fault");
    assert_eq!(fault.code, "viewer_lacks_codec", "{fault}");
    assert!(!fault.steps.0.is_empty() && fault.en.contains("H265"), "{fault}");
    assert!(!trace.reached(media_hub::Step::ViewerDecoded) && status.fault.is_none(), "the stream is good");
    camera.stream().note(media_hub::Step::ViewerDecoded, media_hub::Outcome::Ok, "another viewer");
    assert!(camera.stream().trace().fault.is_none());
}

/// From a camera in H.265, seen through the H.264 made of it, to one in H.264 whose sound is heard as Opus: the tracks are told once,
/// while the viewer still takes frames of the other stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_comes_back_from_a_transcoder_hears_its_stream() {
    let hub = hub();
    let endpoint = endpoint(&hub, 0.0).await;
    let own = hub.publish(&StreamId::new("cam"), "cam").unwrap();
    let made = hub.publish(&StreamId::new("h264:cam"), "made").unwrap();
    own.set_tracks(&[TrackInfo::video(Codec::H265), TrackInfo::audio(Codec::G711A, 8000, 1)]);
    made.set_tracks(&[TrackInfo::video(Codec::H264), TrackInfo::audio(Codec::G711A, 8000, 1)]);
    let mut browser = Browser::with(0, Rtc::builder().enable_h265(false).enable_pcma(true, false));
    let (offer, _) = browser.offer(&VIEW);
    let (_leg, answer) = endpoint.whep(&offer, &StreamId::new("cam"), ViewerOptions::default()).unwrap();
    browser.answer(&answer);
    for n in 0..50u32 {
        made.write(picture(n, n % 5 == 0));
        browser.run(Duration::from_millis(40)).await;
    }
    let count = |b: &Browser, codec| b.packets.iter().filter(|p| b.payload_type_codec(p) == Some(codec)).count();
    let through = count(&browser, Codec::H264);
    assert!(through > 0, "it sees the H.264 made of the camera");
    own.new_epoch();
    let opus = TrackInfo { id: TrackId::OPUS, ..TrackInfo::audio(Codec::Opus, 48_000, 1) };
    own.set_tracks(&[TrackInfo::video(Codec::H264), TrackInfo::audio(Codec::Aac, 8000, 1), opus]);
    for n in 0..20u32 {
        own.write(picture(n, n % 5 == 0));
        let sound = Bytes::from(vec![0xFC, n as u8]);
        own.write(Frame::new(TrackId::OPUS, Codec::Opus, i64::from(n) * 1920, true, Instant::now(), sound));
        browser.run(Duration::from_millis(40)).await;
    }
    assert!(count(&browser, Codec::H264) > through, "it sees its own stream");
    assert!(count(&browser, Codec::Opus) > 10, "it hears its own stream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_far_end_closes() {
    let hub = hub();
    let endpoint = endpoint(&hub, 0.0).await;
    let _camera = camera(&hub, "cam");
    let mut browser = Browser::new(0);
    let (offer, _) = browser.offer(&VIEW);
    let (leg, answer) = endpoint.whep(&offer, &StreamId::new("cam"), ViewerOptions { audio: false }).unwrap();
    browser.answer(&answer);
    browser.run(Duration::from_millis(800)).await;
    assert!(browser.connected);
    browser.rtc.close().unwrap();
    browser.run(Duration::from_millis(300)).await;
    let status = endpoint.leg(leg).unwrap();
    assert_eq!(status.closed, Some(CloseReason::Peer), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_certificate_gets_nothing() {
    let hub = hub();
    let endpoint = endpoint(&hub, 0.0).await;
    let _camera = camera(&hub, "cam");
    let mut browser = Browser::new(0);
    let (offer, _) = browser.offer(&VIEW);
    // Another fingerprint than the certificate's: one hexadecimal digit differs.
    let at = offer.find("a=fingerprint:sha-256 ").unwrap() + 22;
    let mut forged = offer.into_bytes();
    forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
    let forged = String::from_utf8(forged).unwrap();
    let (leg, answer) = endpoint.whep(&forged, &StreamId::new("cam"), ViewerOptions::default()).unwrap();
    browser.answer(&answer);
    browser.run(Duration::from_millis(900)).await;
    let status = endpoint.leg(leg).unwrap();
    assert_eq!((status.closed, status.packets), (Some(CloseReason::Fingerprint), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals() {
    let hub = hub();
    let endpoint = endpoint(&hub, 0.0).await;
    let mut browser = Browser::new(0);
    let (offer, _) = browser.offer(&VIEW);
    assert!(matches!(
        endpoint.whep(&offer, &StreamId::new("nothing"), ViewerOptions::default()),
        Err(WebRtcError::UnknownStream(_))
    ));
    assert!(matches!(
        endpoint.whep("junk", &StreamId::new("nothing"), ViewerOptions::default()),
        Err(WebRtcError::Offer(_))
    ));
    assert!(matches!(endpoint.whip("junk", &StreamId::new("x"), "x", None), Err(WebRtcError::Offer(_))));
    let _taken = camera(&hub, "taken");
    let mut sender = Browser::new(0);
    let (offer, _) = sender.offer(&[(MediaKind::Audio, Direction::SendRecv)]);
    assert!(matches!(endpoint.whip(&offer, &StreamId::new("taken"), "x", None), Err(WebRtcError::Taken(_))));
    assert_eq!(endpoint.stats().offers_refused, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_sends_and_hears() {
    two_way(0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_sends_and_hears_with_loss() {
    two_way(0.03).await;
}

async fn two_way(loss: f32) {
    let hub = hub();
    let endpoint = endpoint(&hub, loss).await;
    let mix = hub.publish(&StreamId::new("mix"), "mix").unwrap();
    mix.set_tracks(&[TrackInfo::audio(Codec::Opus, 48_000, 2)]);
    let mixer = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        for n in 0i64.. {
            tick.tick().await;
            mix.write(Frame::new(
                TrackId::AUDIO,
                Codec::Opus,
                n * 960,
                true,
                Instant::now(),
                Bytes::from(vec![0xFC, n as u8, 7]),
            ));
        }
    });
    let mut browser = Browser::new(0);
    let (offer, mids) =
        browser.offer(&[(MediaKind::Audio, Direction::SendRecv), (MediaKind::Video, Direction::SendRecv)]);
    let id = StreamId::new("browser:1");
    let (leg, answer) = endpoint.whip(&offer, &id, "Zhang", Some(StreamId::new("mix"))).unwrap();
    assert!(answer.contains("a=recvonly"), "video is answered receive-only");
    let mut sub = hub.subscribe(&id, SubscribeOptions::default()).unwrap();
    browser.answer(&answer);
    browser.run(Duration::from_millis(800)).await;
    assert!(browser.connected);
    let pt = |b: &Browser, mid: Mid, codec: str0m::format::Codec| {
        let pts = b.rtc.media(mid).unwrap().remote_pts().to_vec();
        b.rtc.codec_config().params().iter().find(|p| pts.contains(&p.pt()) && p.spec().codec == codec).unwrap().pt()
    };
    let h264 = pt(&browser, mids[1], str0m::format::Codec::H264);
    let opus = pt(&browser, mids[0], str0m::format::Codec::Opus);
    let (mut vseq, mut aseq) = (100u64, 200u64);
    let mut sent = Vec::new();
    for n in 0..60u32 {
        let frame = picture(n, n % 20 == 0);
        sent.push(frame.payload.clone());
        let cuts = media_core::packetize(&frame);
        for (i, cut) in cuts.iter().enumerate() {
            let mut payload = cut.header_bytes().to_vec();
            payload.extend_from_slice(cut.body(&frame.payload));
            let w = RtpWrite::new(h264, vseq.into(), n * 3600, Instant::now(), &payload[..])
                .marker(i + 1 == cuts.len())
                .nackable(true);
            browser.rtc.direct_api().stream_tx_by_mid(mids[1], None).unwrap().write_rtp(w);
            vseq += 1;
        }
        for k in 0..2u32 {
            let w = RtpWrite::new(opus, aseq.into(), (2 * n + k) * 960, Instant::now(), &[0xFC, n as u8][..]);
            browser.rtc.direct_api().stream_tx_by_mid(mids[0], None).unwrap().write_rtp(w);
            aseq += 1;
        }
        browser.run(Duration::from_millis(40)).await;
    }
    browser.run(Duration::from_millis(700)).await;
    let (mut pictures, mut sounds) = (Vec::new(), 0);
    while let Some(p) = sub.try_next() {
        match p {
            Pulled::Item(i) if i.frame.track == TrackId::VIDEO => pictures.push(i.frame.payload.clone()),
            Pulled::Item(_) => sounds += 1,
            _ => {}
        }
    }
    let floor = if loss > 0.0 { 50 } else { 59 };
    assert!(pictures.len() >= floor, "{} pictures", pictures.len());
    assert!(sounds >= 100, "{sounds} sounds");
    for p in &pictures {
        assert!(sent.contains(p), "a picture came through changed");
    }
    let heard = browser.packets.iter().filter(|p| p.payload.len() == 3 && p.payload[2] == 7).count();
    assert!(heard >= 90, "{heard} of the mix");
    let status = endpoint.leg(leg).unwrap();
    assert!(status.received_packets > 300 && status.plis >= 1, "{status:?}");
    endpoint.close(leg);
    browser.run(Duration::from_millis(300)).await;
    mixer.abort();
    assert_eq!(endpoint.leg(leg).unwrap().state, LegState::Closed);
    assert_eq!(endpoint.stats().two_way, 0);
    assert!(hub.publish(&id, "again").is_ok(), "the place is free again");
}
