//! Very many pictures: N streams of 2 Mbit/s into the gateway's frames, over UDP and over TCP.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clip::{Clip, FPS};
use crate::gateway::{Extra, Gateway, encode};
use crate::process;
use crate::ps;
use crate::stats::Table;
use crate::udp::{self, Inbox};
use crate::{Options, Places, Res};

const NVR: &str = "34020000001180000001";
const SERVER: &str = "34020000002000000001";
const DOMAIN: &str = "3402000000";
/// Payload and header of an RTP packet as `ps::packets` makes them; the last of a picture may be smaller.
const SEGMENT: u16 = 1412;

fn channel(n: usize) -> String {
    format!("34020000001310{n:06}")
}

/// Each picture of the clip as RTP packets laid end to end, with zeros where a stream's own numbers go.
struct Template {
    pictures: Vec<(Vec<u8>, Vec<usize>)>,
}

impl Template {
    fn new(clip: &Clip) -> Template {
        let pictures = (0..clip.units.len() as u32).map(|n| {
            let (key, unit) = clip.frame(n);
            let mut sequence = 0;
            let packets = ps::packets(&ps::pack(u64::from(n) * 3600, key, &unit), 0, 0, &mut sequence, true);
            let sizes = packets.iter().map(Vec::len).collect();
            (packets.concat(), sizes)
        });
        Template { pictures: pictures.collect() }
    }
}

enum Way {
    Udp(SocketAddr),
    Tcp { stream: TcpStream, backlog: Vec<u8> },
}

struct Sending {
    way: Way,
    ssrc: u32,
    sequence: u16,
    next: Instant,
    picture: u64,
}

/// What the sender has done.
#[derive(Default)]
struct Sent {
    pictures: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    /// Bytes that a connection did not take at once, the most at any time.
    backlog: AtomicU64,
    /// Microseconds by which the sender itself was late, at most.
    late: AtomicU64,
}

type Streams = Arc<Mutex<Vec<Sending>>>;

/// Sends all streams at their pace until told to stop.
fn feed(streams: &Streams, template: &Template, sent: &Sent, stop: &AtomicBool, cpu: Option<usize>) {
    udp::pin(cpu);
    let Ok(socket) = UdpSocket::bind("127.0.0.1:0") else { return };
    let frame = Duration::from_micros(1_000_000 / FPS);
    let (mut buffer, mut messages): (Vec<u8>, Vec<udp::Message>) = (Vec::new(), Vec::new());
    while !stop.load(Relaxed) {
        let now = Instant::now();
        buffer.clear();
        messages.clear();
        {
            let mut all = streams.lock().unwrap_or_else(PoisonError::into_inner);
            for s in all.iter_mut() {
                if let Way::Tcp { stream, backlog } = &mut s.way
                    && !backlog.is_empty()
                {
                    push(stream, backlog);
                    sent.backlog.fetch_max(backlog.len() as u64, Relaxed);
                }
                if s.next > now {
                    continue;
                }
                sent.late.fetch_max(now.duration_since(s.next).as_micros() as u64, Relaxed);
                s.next += frame;
                let (bytes, sizes) = &template.pictures[(s.picture % template.pictures.len() as u64) as usize];
                let stamp = (s.picture * 3600) as u32;
                s.picture += 1;
                let (start, mut from) = (buffer.len(), 0);
                for size in sizes {
                    if matches!(s.way, Way::Tcp { .. }) {
                        buffer.extend_from_slice(&(*size as u16).to_be_bytes());
                    }
                    let at = buffer.len();
                    buffer.extend_from_slice(&bytes[from..from + size]);
                    from += size;
                    buffer[at + 2..at + 4].copy_from_slice(&s.sequence.to_be_bytes());
                    buffer[at + 4..at + 8].copy_from_slice(&stamp.to_be_bytes());
                    buffer[at + 8..at + 12].copy_from_slice(&s.ssrc.to_be_bytes());
                    s.sequence = s.sequence.wrapping_add(1);
                }
                sent.pictures.fetch_add(1, Relaxed);
                sent.packets.fetch_add(sizes.len() as u64, Relaxed);
                sent.bytes.fetch_add(bytes.len() as u64, Relaxed);
                match &mut s.way {
                    Way::Udp(to) => {
                        // At most 40 segments in one message.
                        let step = usize::from(SEGMENT) * 40;
                        let mut at = start;
                        while at < buffer.len() {
                            let len = step.min(buffer.len() - at);
                            messages.push(udp::Message { to: *to, start: at, len, segment: SEGMENT });
                            at += len;
                        }
                    }
                    Way::Tcp { stream, backlog } => {
                        backlog.extend_from_slice(&buffer[start..]);
                        buffer.truncate(start);
                        push(stream, backlog);
                        sent.backlog.fetch_max(backlog.len() as u64, Relaxed);
                    }
                }
            }
        }
        if !messages.is_empty() {
            udp::send_segmented(&socket, &buffer, &messages);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn push(stream: &mut TcpStream, backlog: &mut Vec<u8>) {
    let mut done = 0;
    while done < backlog.len() {
        match stream.write(&backlog[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    backlog.drain(..done);
}

/// A recorder with many channels, which are sent when the gateway invites them.
struct Recorder {
    socket: UdpSocket,
    server: SocketAddr,
    channels: usize,
    streams: Streams,
    /// Media connections to be made: TCP.
    tcp: bool,
    registered: bool,
    count: u32,
    waiting: Vec<(String, SocketAddr, u32)>,
    ended: Arc<AtomicU64>,
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().take_while(|l| !l.is_empty()).find_map(|l| {
        let (k, v) = l.split_once(':')?;
        k.trim().eq_ignore_ascii_case(name).then(|| v.trim())
    })
}

impl Recorder {
    fn send(&self, text: &str) {
        let _ = self.socket.send_to(text.as_bytes(), self.server);
    }

    fn request(&mut self, method: &str, more: &str, body: &str) {
        self.count += 1;
        let (n, local) = (self.count, self.socket.local_addr().map_or_else(|_| String::new(), |a| a.to_string()));
        let to = if method == "REGISTER" { NVR } else { SERVER };
        self.send(&format!(
            "{method} sip:{SERVER}@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bKn{n}\r\nFrom: <sip:{NVR}@{DOMAIN}>;tag=n{n}\r\n\
             To: <sip:{to}@{DOMAIN}>\r\nCall-ID: n{n}@bench\r\nCSeq: {n} {method}\r\nContact: <sip:{NVR}@{local}>\r\nMax-Forwards: 70\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    fn message(&mut self, body: &str) {
        self.request("MESSAGE", "Content-Type: Application/MANSCDP+xml\r\n", body);
    }

    fn run(mut self, stop: &AtomicBool) {
        let (mut keepalive, mut buf) = (Instant::now(), vec![0u8; 65_536]);
        while !stop.load(Relaxed) {
            if Instant::now() >= keepalive {
                keepalive = Instant::now() + Duration::from_secs(if self.registered { 20 } else { 1 });
                if self.registered {
                    self.message(&format!("<?xml version=\"1.0\"?>\r\n<Notify><CmdType>Keepalive</CmdType><SN>1</SN><DeviceID>{NVR}</DeviceID><Status>OK</Status></Notify>\r\n"));
                } else {
                    self.request("REGISTER", "Expires: 3600\r\n", "");
                }
            }
            let Ok((n, _)) = self.socket.recv_from(&mut buf) else { continue };
            let text = String::from_utf8_lossy(&buf[..n]).into_owned();
            self.take(&text);
        }
    }

    fn respond(&self, request: &str, more: &str, body: &str) {
        let mut out = String::from("SIP/2.0 200 OK\r\n");
        for line in request.lines().skip(1).take_while(|l| !l.is_empty()) {
            match line.split(':').next().unwrap_or_default() {
                "Via" | "From" | "Call-ID" | "CSeq" => out.push_str(&format!("{line}\r\n")),
                "To" if line.contains("tag=") => out.push_str(&format!("{line}\r\n")),
                "To" => out.push_str(&format!("{line};tag=nvr\r\n")),
                _ => {}
            }
        }
        self.send(&format!("{out}{more}Content-Length: {}\r\n\r\n{body}", body.len()));
    }

    fn take(&mut self, text: &str) {
        if let Some(status) = text.strip_prefix("SIP/2.0 ") {
            self.registered |=
                status.starts_with("200") && header(text, "CSeq").is_some_and(|c| c.ends_with("REGISTER"));
            return;
        }
        let call = header(text, "Call-ID").unwrap_or_default().to_string();
        match text.split(' ').next().unwrap_or_default() {
            "MESSAGE" => {
                self.respond(text, "", "");
                self.question(text);
            }
            "INVITE" => {
                let line =
                    |p: &str| text.lines().find_map(|l| l.strip_prefix(p)).unwrap_or_default().trim().to_string();
                let port = line("m=").split(' ').nth(1).and_then(|p| p.parse::<u16>().ok()).unwrap_or(0);
                let ssrc: u32 = line("y=").parse().unwrap_or(0);
                let to = SocketAddr::from(([127, 0, 0, 1], port));
                let protocol = if self.tcp { "TCP/RTP/AVP" } else { "RTP/AVP" };
                let more = if self.tcp { "a=setup:active\r\na=connection:new\r\n" } else { "" };
                let body = format!(
                    "v=0\r\no={NVR} 0 0 IN IP4 127.0.0.1\r\ns=Play\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 15060 {protocol} 96\r\na=sendonly\r\na=rtpmap:96 PS/90000\r\n{more}y={ssrc:010}\r\n"
                );
                if !self.waiting.iter().any(|w| w.0 == call) {
                    self.waiting.push((call, to, ssrc));
                }
                self.respond(
                    text,
                    &format!("Contact: <sip:{NVR}@127.0.0.1>\r\nContent-Type: application/sdp\r\n"),
                    &body,
                );
            }
            "ACK" => {
                let Some(at) = self.waiting.iter().position(|w| w.0 == call) else { return };
                let (_, to, ssrc) = self.waiting.swap_remove(at);
                self.start(to, ssrc);
            }
            "BYE" => {
                self.ended.fetch_add(1, Relaxed);
                self.respond(text, "", "");
            }
            _ => self.respond(text, "", ""),
        }
    }

    fn start(&self, to: SocketAddr, ssrc: u32) {
        let way = if self.tcp {
            let Ok(stream) = TcpStream::connect_timeout(&to, Duration::from_secs(2)) else { return };
            let _ = (stream.set_nonblocking(true), stream.set_nodelay(true));
            Way::Tcp { stream, backlog: Vec::new() }
        } else {
            Way::Udp(to)
        };
        let mut all = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        // Spread over the time of one picture, each from the key frame on.
        let phase = Duration::from_micros(all.len() as u64 * 7919 % (1_000_000 / FPS));
        all.push(Sending { way, ssrc, sequence: 0, next: Instant::now() + phase, picture: 0 });
    }

    fn question(&mut self, text: &str) {
        let element = |name: &str| {
            text.split_once(&format!("<{name}>")).and_then(|(_, r)| r.split('<').next()).map(str::to_string)
        };
        let (Some(kind), Some(sn)) = (element("CmdType"), element("SN")) else { return };
        let wrap = |inner: &str| {
            format!(
                "<?xml version=\"1.0\"?>\r\n<Response>\r\n<CmdType>{kind}</CmdType>\r\n<SN>{sn}</SN>\r\n<DeviceID>{NVR}</DeviceID>\r\n{inner}</Response>\r\n"
            )
        };
        match kind.as_str() {
            "Catalog" => {
                let total = self.channels;
                for first in (0..total).step_by(20) {
                    let items: Vec<String> = (first..(first + 20).min(total))
                        .map(|n| format!("<Item><DeviceID>{}</DeviceID><Name>Stream {n}</Name><ParentID>{NVR}</ParentID><Parental>0</Parental><Status>ON</Status></Item>\r\n", channel(n)))
                        .collect();
                    let body = wrap(&format!(
                        "<SumNum>{total}</SumNum>\r\n<DeviceList Num=\"{}\">\r\n{}</DeviceList>\r\n",
                        items.len(),
                        items.concat()
                    ));
                    self.message(&body);
                    std::thread::sleep(Duration::from_millis(3));
                }
            }
            "DeviceInfo" => {
                let body = wrap(
                    "<Result>OK</Result>\r\n<DeviceName>Bench recorder</DeviceName>\r\n<Manufacturer>bench</Manufacturer>\r\n<Model>bench</Model>\r\n<Firmware>1</Firmware>\r\n",
                );
                self.message(&body);
            }
            _ => {}
        }
    }
}

/// The least that takes the same packets: one thread, epoll, `recvmmsg` or `read`. CPU seconds per packet.
fn bare(template: &Arc<Template>, count: usize, tcp: bool, seconds: u64, places: Places) -> Res<(f64, u64, u64)> {
    let streams: Streams = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let (cpu, packets) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut sockets = Vec::new();
    let mut ways = Vec::new();
    let mut connections = Vec::new();
    if tcp {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        for _ in 0..count {
            let out = TcpStream::connect(listener.local_addr()?)?;
            let (mine, _) = listener.accept()?;
            out.set_nonblocking(true)?;
            mine.set_nonblocking(true)?;
            connections.push(mine);
            ways.push(Way::Tcp { stream: out, backlog: Vec::new() });
        }
    } else {
        for _ in 0..count {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            udp::enlarge(&socket, 2 << 20);
            socket.set_nonblocking(true)?;
            ways.push(Way::Udp(socket.local_addr()?));
            sockets.push(socket);
        }
    }
    let ports: Vec<u16> = sockets.iter().filter_map(|s| s.local_addr().ok()).map(|a| a.port()).collect();
    let (flag, used, taken) = (stop.clone(), cpu.clone(), packets.clone());
    let reader = std::thread::Builder::new().name("bare".into()).spawn(move || {
        udp::pin(places.gateway);
        // SAFETY: plain epoll calls on descriptors that live as long as this thread.
        let poll = unsafe { libc::epoll_create1(0) };
        let all = sockets.iter().map(AsRawFd::as_raw_fd).chain(connections.iter().map(AsRawFd::as_raw_fd));
        for (n, fd) in all.enumerate() {
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: n as u64 };
            // SAFETY: as above; the event outlives the call.
            unsafe { libc::epoll_ctl(poll, libc::EPOLL_CTL_ADD, fd, &mut event) };
        }
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        let (mut inbox, mut buf, mut sum) = (Inbox::default(), vec![0u8; 65_536], 0u64);
        while !flag.load(Relaxed) {
            // SAFETY: room for 256 events.
            let got = unsafe { libc::epoll_wait(poll, events.as_mut_ptr(), 256, 50) };
            for event in events.iter().take(usize::try_from(got).unwrap_or(0)) {
                let n = event.u64 as usize;
                if tcp {
                    // Packets are counted by their lengths in front; here only bytes.
                    while let Ok(read) = connections[n].read(&mut buf) {
                        sum += read as u64;
                        if read < buf.len() {
                            break;
                        }
                    }
                } else {
                    sum += inbox.fill(&sockets[n]) as u64;
                }
            }
            taken.store(sum, Relaxed);
            used.store(udp::thread_cpu(), Relaxed);
        }
        // SAFETY: ours, closed once.
        unsafe { libc::close(poll) };
    })?;
    {
        let mut all = streams.lock().unwrap_or_else(PoisonError::into_inner);
        for (n, way) in ways.into_iter().enumerate() {
            let phase = Duration::from_micros(n as u64 * 7919 % (1_000_000 / FPS));
            all.push(Sending { way, ssrc: n as u32, sequence: 0, next: Instant::now() + phase, picture: 0 });
        }
    }
    let sent = Arc::new(Sent::default());
    let (s, t, w, f) = (streams, template.clone(), sent.clone(), stop.clone());
    let sender = std::thread::Builder::new().name("feed".into()).spawn(move || feed(&s, &t, &w, &f, places.bench))?;
    std::thread::sleep(Duration::from_secs(1));
    let (cpu0, sent0) = (cpu.load(Relaxed), sent.packets.load(Relaxed));
    std::thread::sleep(Duration::from_secs(seconds));
    let (cpu1, sent1) = (cpu.load(Relaxed), sent.packets.load(Relaxed));
    let drops: u64 = ports.iter().map(|p| udp::dropped(*p..=*p)).sum();
    stop.store(true, Relaxed);
    let _ = (sender.join(), reader.join());
    Ok(((cpu1 - cpu0) as f64 / 1e9, sent1 - sent0, drops))
}

pub fn streams(options: &Options, places: Places, clip: &Arc<Clip>) -> Res<Value> {
    let count = if options.quick { options.streams.min(50) } else { options.streams };
    let seconds = if options.quick { 5 } else { 30 };
    let template = Arc::new(Template::new(clip));
    let mut found = Vec::new();
    for tcp in [false, true] {
        found.push(one(options, places, &template, count, seconds, tcp)?);
    }
    let mut table = Table::new(&[
        "Media",
        "Streams",
        "Mbit/s",
        "Packets/s",
        "CPU % of a core",
        "Streams per core",
        "CPU us per packet",
        "Limit",
        "Ratio",
        "Live",
        "Least fps",
        "Packets sent",
        "Taken",
        "Lost",
        "By the kernel",
        "RSS MiB",
    ]);
    for f in &found {
        let n = |k: &str| f[k].as_f64().unwrap_or(f64::NAN);
        table.row(vec![
            f["media"].as_str().unwrap_or_default().into(),
            count.to_string(),
            format!("{:.0}", n("mbit")),
            format!("{:.0}", n("packets_per_s")),
            format!("{:.1}", n("cpu") * 100.0),
            format!("{:.0}", count as f64 / n("cpu")),
            format!("{:.2}", n("us_per_packet")),
            format!("{:.2}", n("limit_us_per_packet")),
            format!("{:.1}", n("us_per_packet") / n("limit_us_per_packet")),
            format!("{:.0}", n("live_least")),
            format!("{:.1}", n("fps_least")),
            format!("{:.0}", n("sent")),
            format!("{:.0}", n("taken")),
            format!("{:.0}", n("lost")),
            format!("{:.0}", n("kernel_drops")),
            format!("{:.0}", n("rss") / 1_048_576.0),
        ]);
    }
    table.print(&format!("7. {count} streams into frames on one core ({seconds} s; limit: one thread, epoll and recvmmsg or read, nothing done with the bytes)"));
    Ok(json!({"streams": count, "seconds": seconds, "found": found}))
}

fn one(
    options: &Options,
    places: Places,
    template: &Arc<Template>,
    count: usize,
    seconds: u64,
    tcp: bool,
) -> Res<Value> {
    let (bare_cpu, bare_packets, bare_drops) = bare(template, count, tcp, seconds.min(10), places)?;
    let extra = Extra {
        sections: format!("transport = \"{}\"\n[hall]\nmax_members = 2000\n", if tcp { "tcp" } else { "udp" }),
        ports: (count * 2 + 40) as u16,
        ..Extra::default()
    };
    let gateway = Gateway::start_with(&options.gateway, &options.out, places.gateway, extra)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    udp::enlarge(&socket, 16 << 20);
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let streams: Streams = Arc::default();
    let (stop, quiet, ended) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let recorder = Recorder {
        socket,
        server: gateway.sip,
        channels: count,
        streams: streams.clone(),
        tcp,
        registered: false,
        count: 0,
        waiting: Vec::new(),
        ended: ended.clone(),
    };
    let flag = stop.clone();
    let signalling = std::thread::Builder::new().name("recorder".into()).spawn(move || recorder.run(&flag))?;
    let sent = Arc::new(Sent::default());
    let (s, t, w, f) = (streams.clone(), template.clone(), sent.clone(), quiet.clone());
    let sender = std::thread::Builder::new().name("feed".into()).spawn(move || feed(&s, &t, &w, &f, places.bench))?;
    let result = measure(&gateway, count, seconds, tcp, &streams, &sent, &quiet);
    quiet.store(true, Relaxed);
    stop.store(true, Relaxed);
    let _ = (sender.join(), signalling.join());
    let mut value = result?;
    value["limit_us_per_packet"] = json!(bare_cpu * 1e6 / bare_packets as f64);
    value["limit_packets"] = json!(bare_packets);
    value["limit_kernel_drops"] = json!(bare_drops);
    value["byes"] = json!(ended.load(Relaxed));
    Ok(value)
}

fn measure(
    gateway: &Gateway,
    count: usize,
    seconds: u64,
    tcp: bool,
    streams: &Streams,
    sent: &Sent,
    quiet: &AtomicBool,
) -> Res<Value> {
    let device = format!("gb28181:{NVR}");
    let end = Instant::now() + Duration::from_secs(40);
    loop {
        let got = gateway.call("GET", &format!("/api/v1/devices/{}", encode(&device)), None);
        if got.is_ok_and(|v| v["channels"].as_array().is_some_and(|c| c.len() >= count)) {
            break;
        }
        if Instant::now() > end {
            return Err("the recorder's channels did not come".into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    // All of them members of a conference: each is wanted, none is looked at.
    let conferences = gateway.call("GET", "/api/v1/conferences", None)?;
    let conference = conferences["items"][0]["id"].as_str().unwrap_or_default().to_string();
    let mut client = gateway.client();
    for n in 0..count {
        let body = json!({"channel": format!("{device}/{}", channel(n))}).to_string();
        let answer = client.send(
            "POST",
            &format!("/api/v1/conferences/{}/members", encode(&conference)),
            "application/json",
            body.as_bytes(),
        )?;
        if answer.status != 201 {
            return Err(format!("member {n}: {} {}", answer.status, answer.body).into());
        }
    }
    let look = || -> Res<(usize, f64)> {
        let got = gateway.call("GET", "/api/v1/streams", None)?;
        let all: Vec<&Value> = got["items"]
            .as_array()
            .map(|a| a.iter().filter(|s| s["id"].as_str().is_some_and(|i| i.starts_with("gb28181:"))).collect())
            .unwrap_or_default();
        let live = all.iter().filter(|s| s["state"] == "live").count();
        let least = all.iter().filter_map(|s| s["frame_rate"].as_f64()).fold(f64::MAX, f64::min);
        Ok((live, least))
    };
    let end = Instant::now() + Duration::from_secs(60);
    while look()?.0 < count {
        if Instant::now() > end {
            return Err(format!("only {} of {count} streams are live", look()?.0).into());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    std::thread::sleep(Duration::from_secs(4));
    let pid = gateway.pid();
    sent.late.store(0, Relaxed);
    sent.backlog.store(0, Relaxed);
    let (packets, bytes, at) = (sent.packets.load(Relaxed), sent.bytes.load(Relaxed), Instant::now());
    let cpu = process::cpu_exact(pid);
    let (mut live_least, mut fps_least) = (usize::MAX, f64::MAX);
    // Looked at three times only: the API's own work is not the media's.
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(seconds * 333));
        let (live, least) = look()?;
        (live_least, fps_least) = (live_least.min(live), fps_least.min(least));
    }
    let wall = at.elapsed().as_secs_f64();
    let cpu = process::cpu_exact(pid) - cpu;
    let (packets, bytes) = (sent.packets.load(Relaxed) - packets, sent.bytes.load(Relaxed) - bytes);
    let threads = process::cpu_by_thread(pid);
    let (rss, waited) = (process::resident(pid), process::cpu_waited(pid));
    let drops = udp::dropped(gateway.rtp.clone());
    let late = sent.late.load(Relaxed);
    let backlog = sent.backlog.load(Relaxed);
    // Quiet first, so that what is under way arrives; then all sessions end, and tell what they took.
    streams.lock().unwrap_or_else(PoisonError::into_inner).retain_mut(|s| {
        s.next += Duration::from_secs(3600);
        true
    });
    std::thread::sleep(Duration::from_secs(1));
    let total = sent.packets.load(Relaxed);
    gateway.call("DELETE", &format!("/api/v1/conferences/{}", encode(&conference)), None)?;
    let end = Instant::now() + Duration::from_secs(20);
    while gateway.metric("skybridge_gb28181_sessions_live", "") > 0.0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(300));
    }
    quiet.store(true, Relaxed);
    let taken = gateway.metric("skybridge_gb28181_rtp_packets_total", "");
    let lost = gateway.metric("skybridge_gb28181_rtp_packets_lost_total", "");
    Ok(
        json!({"media": if tcp { "TCP" } else { "UDP" }, "mbit": bytes as f64 * 8.0 / wall / 1e6, "packets_per_s": packets as f64 / wall,
        "cpu": cpu / wall, "us_per_packet": cpu * 1e6 / packets as f64, "live_least": live_least, "fps_least": fps_least,
        "sent": total, "taken": taken, "lost": lost, "kernel_drops": drops, "rss": rss, "waited_s": waited, "sender_late_us": late, "tcp_backlog": backlog,
        "threads": threads.iter().map(|(n, c)| json!({"name": n, "cpu_s": c})).collect::<Vec<_>>()}),
    )
}
