//! Plays two looping H.264 files and a tone to browsers, and takes their cameras: the proof of the browser legs.
//!
//! `cargo run -p skybridge-media-webrtc --example play -- --dir DIR [--http 8090] [--udp 8189] [--loss 0.03]`
//! DIR holds cam1.h264, cam2.h264 (Annex B) and tone.ogg (Opus, 20 ms).
//!
//! Streams: cam1, cam2 (picture and Opus), cam3 (cam1 with A-law), program (switched), mix (the tone alone), browser:NAME.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::{Codec, Frame, TrackId, TrackInfo, h264};
use media_hub::{Hub, HubLimits, Program, StreamId};
use skybridge_media_webrtc::{Endpoint, EndpointConfig, LegId, ViewerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn arg(name: &str) -> Option<String> {
    let all: Vec<String> = std::env::args().collect();
    all.iter().position(|a| a == name).and_then(|i| all.get(i + 1).cloned())
}

/// Packets of an Ogg Opus file, headers left out.
fn ogg_packets(b: &[u8]) -> Vec<Bytes> {
    let (mut out, mut at, mut open) = (Vec::new(), 0, Vec::new());
    while b.len() > at + 27 && &b[at..at + 4] == b"OggS" {
        let n = usize::from(b[at + 26]);
        let lacing = &b[at + 27..at + 27 + n];
        let mut p = at + 27 + n;
        for l in lacing {
            open.extend_from_slice(&b[p..p + usize::from(*l)]);
            p += usize::from(*l);
            if *l < 255 {
                out.push(Bytes::from(std::mem::take(&mut open)));
            }
        }
        at = p;
    }
    out.drain(..2);
    out
}

fn a_law(s: i16) -> u8 {
    let (sign, m) = if s >= 0 { (0xD5, i32::from(s)) } else { (0x55, -i32::from(s) - 1) };
    let e = (1..8).rev().find(|e| m >= 256 << (e - 1)).unwrap_or(0);
    let mant = if e == 0 { m >> 4 } else { m >> (e + 3) } & 0xF;
    sign ^ ((e << 4) as u8 | mant as u8)
}

async fn camera(hub: Hub, id: &'static str, file: Vec<u8>, tone: Arc<Vec<Bytes>>, pcma: bool) {
    let publisher = hub.publish(&StreamId::new(id), id).unwrap();
    let units = h264::access_units(&file);
    println!("{id}: {} pictures, {} keys", units.len(), units.iter().filter(|u| u.key).count());
    let mut video = TrackInfo::video(Codec::H264);
    (video.width, video.height) = (640, 360);
    let audio = if pcma { TrackInfo::audio(Codec::G711A, 8000, 1) } else { TrackInfo::audio(Codec::Opus, 48_000, 2) };
    publisher.set_tracks(&[video, audio]);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let origin: i64 = if id == "cam2" { 77_000_000_000 } else { 1_000_000 };
    for n in 0i64.. {
        tick.tick().await;
        let now = Instant::now();
        if n % 2 == 0 {
            let unit = &units[(n / 2) as usize % units.len()];
            publisher.write(Frame::new(
                TrackId::VIDEO,
                Codec::H264,
                origin * 90 + n * 1800,
                unit.key,
                now,
                unit.payload.clone(),
            ));
        }
        let (codec, pts, payload) = if pcma {
            let wave = |i: i64| ((i as f64 * 440.0 * std::f64::consts::TAU / 8000.0).sin() * 8000.0) as i16;
            (Codec::G711A, origin * 8 + n * 160, Bytes::from_iter((n * 160..(n + 1) * 160).map(|i| a_law(wave(i)))))
        } else {
            (Codec::Opus, origin * 48 + n * 960, tone[n as usize % tone.len()].clone())
        };
        publisher.write(Frame::new(TrackId::AUDIO, codec, pts, true, now, payload));
    }
}

async fn mix(hub: Hub, tone: Arc<Vec<Bytes>>) {
    let publisher = hub.publish(&StreamId::new("mix"), "mix").unwrap();
    publisher.set_tracks(&[TrackInfo::audio(Codec::Opus, 48_000, 2)]);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    for n in 0i64.. {
        tick.tick().await;
        publisher.write(Frame::new(
            TrackId::AUDIO,
            Codec::Opus,
            n * 960,
            true,
            Instant::now(),
            tone[n as usize % tone.len()].clone(),
        ));
    }
}

struct App {
    hub: Hub,
    endpoint: Endpoint,
    program: Program,
}

fn handle(app: &App, method: &str, path: &str, body: &str) -> (u16, &'static str, String, Option<String>) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let text = |code: u16, s: String| (code, "text/plain", s, None);
    let answered = |r: Result<(LegId, String), skybridge_media_webrtc::WebRtcError>| match r {
        Ok((id, sdp)) => (201, "application/sdp", sdp, Some(format!("/legs/{id}"))),
        Err(e) => text(400, e.to_string()),
    };
    match (method, path) {
        ("GET", "/") => (200, "text/html", include_str!("play.html").to_owned(), None),
        ("POST", p) if p.starts_with("/whep/") => {
            answered(app.endpoint.whep(body, &StreamId::new(&p[6..]), ViewerOptions { audio: query != "audio=0" }))
        }
        ("POST", p) if p.starts_with("/whip/") => {
            let id = StreamId::new(format!("browser:{}", &p[6..]));
            answered(app.endpoint.whip(body, &id, &p[6..], Some(StreamId::new("mix"))))
        }
        ("POST", p) if p.starts_with("/switch/") => {
            app.program.switch(Some(StreamId::new(&p[8..])));
            text(200, String::new())
        }
        ("DELETE", p) if p.starts_with("/legs/") => {
            let ended = LegId::parse(&p[6..]).is_some_and(|id| app.endpoint.close(id));
            text(if ended { 200 } else { 404 }, String::new())
        }
        ("GET", p) if p.starts_with("/legs/") => {
            text(200, format!("{:#?}", LegId::parse(&p[6..]).and_then(|id| app.endpoint.leg(id))))
        }
        ("GET", "/stats") => text(200, format!("{:#?}", app.endpoint.stats())),
        ("GET", p) if p.starts_with("/stream/") => text(
            200,
            format!(
                "{:#?}\n{:#?}",
                app.hub.get(&StreamId::new(&p[8..])).map(|s| s.status()),
                app.hub.get(&StreamId::new(&p[8..])).and_then(|s| s.gop())
            ),
        ),
        _ => text(404, String::new()),
    }
}

async fn serve(app: Arc<App>, mut socket: TcpStream) -> std::io::Result<()> {
    let mut b = Vec::new();
    let (head, length) = loop {
        if socket.read_buf(&mut b).await? == 0 {
            return Ok(());
        }
        if let Some(end) = b.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&b[..end]).into_owned();
            let length =
                head.lines().filter_map(|l| l.split_once(':')).find(|(k, _)| k.eq_ignore_ascii_case("content-length"));
            let length = length.and_then(|(_, v)| v.trim().parse::<usize>().ok()).unwrap_or(0);
            break (head, length + end + 4);
        }
    };
    while b.len() < length.min(1 << 20) {
        socket.read_buf(&mut b).await?;
    }
    let start = head.len() + 4;
    let mut words = head.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (code, kind, body, location) = handle(&app, method, path, &String::from_utf8_lossy(&b[start..]));
    let location = location.map(|l| format!("Location: {l}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {code} x\r\nContent-Type: {kind}\r\n{location}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body.as_bytes()).await
}

#[tokio::main]
async fn main() {
    let dir = arg("--dir").unwrap_or_else(|| ".".into());
    let http: u16 = arg("--http").and_then(|p| p.parse().ok()).unwrap_or(8090);
    let udp: u16 = arg("--udp").and_then(|p| p.parse().ok()).unwrap_or(8189);
    let hub = Hub::new(HubLimits::default());
    let tone = Arc::new(ogg_packets(&std::fs::read(format!("{dir}/tone.ogg")).unwrap()));
    let file = |n: &str| std::fs::read(format!("{dir}/{n}.h264")).unwrap();
    tokio::spawn(camera(hub.clone(), "cam1", file("cam1"), tone.clone(), false));
    tokio::spawn(camera(hub.clone(), "cam2", file("cam2"), tone.clone(), false));
    tokio::spawn(camera(hub.clone(), "cam3", file("cam1"), tone.clone(), true));
    tokio::spawn(mix(hub.clone(), tone));
    let program = Program::start(&hub, StreamId::new("program"), "program").unwrap();
    program.switch(Some(StreamId::new("cam1")));
    let config = EndpointConfig {
        bind: vec![([0, 0, 0, 0], udp).into()],
        test_loss: arg("--loss").and_then(|p| p.parse().ok()).unwrap_or(0.0),
        ..EndpointConfig::default()
    };
    let endpoint = Endpoint::bind(config, hub.clone()).unwrap();
    println!("candidates {:?}", endpoint.candidates());
    let mut events = endpoint.events();
    let began = Instant::now();
    tokio::spawn(async move {
        while let Ok(e) = events.recv().await {
            println!("{:8.3} {e:?}", began.elapsed().as_secs_f32());
        }
    });
    let app = Arc::new(App { hub, endpoint, program });
    let listener = TcpListener::bind(("127.0.0.1", http)).await.unwrap();
    println!("http://127.0.0.1:{http}/");
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(app.clone(), socket));
    }
}
