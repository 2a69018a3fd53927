//! A GB/T 28181 camera of the bench's own: registers over UDP, answers Catalog and INVITE, sends the clip as PS in RTP.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Res;
use crate::clip::{Clip, FPS};
use crate::ps;
use crate::udp;

const SERVER_ID: &str = "34020000002000000001";
const DOMAIN: &str = "3402000000";
/// Frames whose times are kept: more than two hours.
const FRAMES: usize = 200_000;

/// When the last packet of each frame was sent: wall clock in nanoseconds.
pub struct Sent {
    at: Vec<AtomicU64>,
    pub frames: AtomicU32,
    pub packets: AtomicU64,
    pub bytes: AtomicU64,
    /// Longest time between two frames since it was last taken: a gap of the bench's own making.
    pub longest_gap: AtomicU64,
}

impl Sent {
    pub fn new() -> Arc<Sent> {
        Arc::new(Sent {
            at: (0..FRAMES).map(|_| AtomicU64::new(0)).collect(),
            frames: AtomicU32::new(0),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            longest_gap: AtomicU64::new(0),
        })
    }

    pub fn of(&self, frame: u32) -> Option<u64> {
        self.at.get(frame as usize).map(|t| t.load(Relaxed)).filter(|t| *t > 0)
    }
}

/// Pictures to one address in real time until told to stop.
#[derive(Clone)]
pub struct Feed {
    pub clip: Arc<Clip>,
    pub sent: Arc<Sent>,
    pub base: Instant,
    /// Shift against other feeds, so that they do not send at the same moment.
    pub phase: Duration,
    pub marker: bool,
    pub cpu: Option<usize>,
}

impl Feed {
    pub fn run(&self, socket: &UdpSocket, target: SocketAddr, ssrc: u32, stop: &AtomicBool) {
        udp::pin(self.cpu);
        let period = Duration::from_millis(1000 / FPS);
        let mut number = (self.base.elapsed().as_millis() as u64 * FPS / 1000 + 1) as u32;
        // A call begins with a key frame.
        while !(number as usize % self.clip.units.len()).is_multiple_of(self.clip.key_every) {
            number += 1;
        }
        let shift = number - (self.base.elapsed().as_millis() as u64 * FPS / 1000) as u32;
        let base = self.base - period * shift.saturating_sub(1);
        let mut sequence = 1000u16;
        let mut before = 0;
        while !stop.load(Relaxed) {
            let due = base + period * number + self.phase;
            let (key, video) = self.clip.frame(number);
            let pts = u64::from(number) * 90_000 / FPS;
            let packets = ps::packets(&ps::pack(pts, key, &video), pts, ssrc, &mut sequence, self.marker);
            let now = Instant::now();
            if due > now {
                std::thread::sleep(due - now);
            }
            let last = packets.len().saturating_sub(1);
            for (n, packet) in packets.iter().enumerate() {
                if n == last
                    && let Some(at) = self.sent.at.get(number as usize)
                {
                    at.store(udp::wall(), Relaxed);
                }
                let _ = socket.send_to(packet, target);
            }
            let now = udp::wall();
            if before > 0 {
                self.sent.longest_gap.fetch_max(now.saturating_sub(before), Relaxed);
            }
            before = now;
            self.sent.frames.fetch_add(1, Relaxed);
            self.sent.packets.fetch_add(packets.len() as u64, Relaxed);
            self.sent.bytes.fetch_add(packets.iter().map(|p| p.len() as u64).sum(), Relaxed);
            number += 1;
        }
    }
}

pub struct Camera {
    pub id: String,
    pub feed: Feed,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Camera {
    pub fn start(id: &str, server: SocketAddr, feed: Feed) -> Res<Camera> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut device = Device {
            id: id.to_string(),
            local: socket.local_addr()?,
            socket,
            server,
            feed: feed.clone(),
            count: 0,
            registered: false,
            call: None,
        };
        let flag = stop.clone();
        let thread = std::thread::Builder::new().name("camera".into()).spawn(move || device.run(&flag))?;
        Ok(Camera { id: id.to_string(), feed, stop, thread: Some(thread) })
    }

    pub fn stream(&self) -> String {
        format!("gb28181:{}/{}", self.id, self.id)
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Call {
    id: String,
    target: SocketAddr,
    ssrc: u32,
    media: Arc<UdpSocket>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Device {
    id: String,
    local: SocketAddr,
    socket: UdpSocket,
    server: SocketAddr,
    feed: Feed,
    count: u32,
    registered: bool,
    call: Option<Call>,
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().skip(1).take_while(|l| !l.is_empty()).find_map(|l| {
        let (key, value) = l.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split_once(&format!("<{name}>"))?.1.split_once(&format!("</{name}>")).map(|(v, _)| v)
}

impl Device {
    fn run(&mut self, stop: &AtomicBool) {
        let mut buf = vec![0u8; 16 * 1024];
        let mut next = Instant::now();
        while !stop.load(Relaxed) {
            if Instant::now() >= next {
                if self.registered {
                    let sn = self.count;
                    let id = self.id.clone();
                    self.message(&format!(
                        "<?xml version=\"1.0\"?>\r\n<Notify>\r\n<CmdType>Keepalive</CmdType>\r\n<SN>{sn}</SN>\r\n<DeviceID>{id}</DeviceID>\r\n<Status>OK</Status>\r\n</Notify>\r\n"
                    ));
                    next = Instant::now() + Duration::from_secs(10);
                } else {
                    self.register(3600);
                    next = Instant::now() + Duration::from_secs(1);
                }
            }
            let Ok((n, from)) = self.socket.recv_from(&mut buf) else { continue };
            if from == self.server {
                let text = String::from_utf8_lossy(&buf[..n]).into_owned();
                self.take(&text);
            }
        }
        self.call = None;
        if self.registered {
            self.register(0);
        }
    }

    fn send(&self, text: &str) {
        let _ = self.socket.send_to(text.as_bytes(), self.server);
    }

    fn request(&mut self, method: &str, uri: &str, to: &str, more: &str, body: &str) {
        self.count += 1;
        let (id, local, n) = (&self.id, self.local, self.count);
        self.send(&format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bKbench{id}{n}\r\nFrom: <sip:{id}@{DOMAIN}>;tag=b{n}\r\nTo: <sip:{to}>\r\nCall-ID: bench-{id}-{n}@{local}\r\nCSeq: {n} {method}\r\nMax-Forwards: 70\r\nUser-Agent: skybridge-bench\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    fn register(&mut self, expires: u32) {
        let more = format!("Contact: <sip:{}@{}>\r\nExpires: {expires}\r\n", self.id, self.local);
        let to = format!("{}@{DOMAIN}", self.id);
        self.request("REGISTER", &format!("sip:{SERVER_ID}@{DOMAIN}"), &to, &more, "");
    }

    fn message(&mut self, body: &str) {
        let more = "Content-Type: Application/MANSCDP+xml\r\n";
        let to = format!("{SERVER_ID}@{DOMAIN}");
        self.request("MESSAGE", &format!("sip:{to}"), &to, more, body);
    }

    fn respond(&self, request: &str, status: &str, more: &str, body: &str) {
        let mut out = format!("SIP/2.0 {status}\r\n");
        for line in request.lines().skip(1).take_while(|l| !l.is_empty()) {
            let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
            match name.as_str() {
                "via" | "from" | "call-id" | "cseq" => out.push_str(&format!("{line}\r\n")),
                "to" if line.contains("tag=") => out.push_str(&format!("{line}\r\n")),
                "to" => out.push_str(&format!("{line};tag=bench\r\n")),
                _ => {}
            }
        }
        self.send(&format!("{out}{more}Content-Length: {}\r\n\r\n{body}", body.len()));
    }

    fn take(&mut self, text: &str) {
        if let Some(status) = text.strip_prefix("SIP/2.0 ") {
            if header(text, "CSeq").is_some_and(|c| c.ends_with("REGISTER")) && status.starts_with("200") {
                self.registered = true;
            }
            return;
        }
        match text.split(' ').next().unwrap_or_default() {
            "MESSAGE" => {
                self.respond(text, "200 OK", "", "");
                self.answer_query(text);
            }
            "INVITE" => self.invite(text),
            "ACK" => self.ack(text),
            "BYE" | "CANCEL" => {
                self.respond(text, "200 OK", "", "");
                self.call = None;
            }
            _ => self.respond(text, "200 OK", "", ""),
        }
    }

    fn answer_query(&mut self, text: &str) {
        let (Some(kind), Some(sn)) = (element(text, "CmdType"), element(text, "SN")) else { return };
        let id = self.id.clone();
        let inner = match kind {
            "Catalog" => format!(
                "<SumNum>1</SumNum>\r\n<DeviceList Num=\"1\">\r\n<Item>\r\n<DeviceID>{id}</DeviceID>\r\n<Name>Bench</Name>\r\n<Manufacturer>bench</Manufacturer>\r\n<Model>bench</Model>\r\n<Owner>0</Owner>\r\n<CivilCode>340200</CivilCode>\r\n<Address>bench</Address>\r\n<Parental>0</Parental>\r\n<ParentID>{id}</ParentID>\r\n<RegisterWay>1</RegisterWay>\r\n<Secrecy>0</Secrecy>\r\n<Status>ON</Status>\r\n</Item>\r\n</DeviceList>\r\n"
            ),
            "DeviceInfo" => {
                "<Result>OK</Result>\r\n<DeviceName>Bench</DeviceName>\r\n<Manufacturer>bench</Manufacturer>\r\n<Model>bench</Model>\r\n<Firmware>1</Firmware>\r\n<Channel>1</Channel>\r\n".to_string()
            }
            _ => return,
        };
        self.message(&format!(
            "<?xml version=\"1.0\"?>\r\n<Response>\r\n<CmdType>{kind}</CmdType>\r\n<SN>{sn}</SN>\r\n<DeviceID>{id}</DeviceID>\r\n{inner}</Response>\r\n"
        ));
    }

    fn invite(&mut self, text: &str) {
        let line = |prefix: &str| text.lines().find_map(|l| l.strip_prefix(prefix)).unwrap_or_default().trim();
        let address = line("c=").split_whitespace().nth(2).unwrap_or_default();
        let media: Vec<&str> = line("m=").split_whitespace().collect();
        let port = media.get(1).copied().unwrap_or_default();
        let (Ok(target), Ok(ssrc)) = (format!("{address}:{port}").parse::<SocketAddr>(), line("y=").parse::<u32>())
        else {
            self.respond(text, "488 Not Acceptable Here", "", "");
            return;
        };
        let id = header(text, "Call-ID").unwrap_or_default().to_string();
        if self.call.as_ref().is_none_or(|c| c.id != id) {
            let Ok(media) = UdpSocket::bind("127.0.0.1:0") else { return };
            let stop = Arc::new(AtomicBool::new(false));
            self.call = Some(Call { id, target, ssrc, media: Arc::new(media), stop, thread: None });
        }
        let local = self.call.as_ref().and_then(|c| c.media.local_addr().ok()).map_or(0, |a| a.port());
        let more = format!("Contact: <sip:{}@{}>\r\nContent-Type: APPLICATION/SDP\r\n", self.id, self.local);
        let body = format!(
            "v=0\r\no={} 0 0 IN IP4 127.0.0.1\r\ns=Play\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video {local} RTP/AVP 96\r\na=sendonly\r\na=rtpmap:96 PS/90000\r\ny={ssrc:010}\r\nf=\r\n",
            self.id
        );
        self.respond(text, "200 OK", &more, &body);
    }

    fn ack(&mut self, text: &str) {
        let id = header(text, "Call-ID").unwrap_or_default();
        let Some(call) = self.call.as_mut().filter(|c| c.id == id && c.thread.is_none()) else { return };
        let (feed, media, stop) = (self.feed.clone(), call.media.clone(), call.stop.clone());
        let (target, ssrc) = (call.target, call.ssrc);
        let run = move || feed.run(&media, target, ssrc, &stop);
        call.thread = std::thread::Builder::new().name("feed".into()).spawn(run).ok();
    }
}
