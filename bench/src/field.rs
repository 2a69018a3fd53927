//! Tens of thousands of devices on one UDP socket: each has an address of its own in 127.16.0.0/12, by IP_PKTINFO. They register
//! by digest, repeat what is not answered as RFC 3261 wants, answer the platform's questions and send keepalives.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use md5::{Digest, Md5};

use crate::Res;
use crate::udp::{self, Inbox};

/// Messages in one system call.
const BATCH: usize = 64;
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const GIVE_UP: Duration = Duration::from_secs(32);
const SERVER: &str = "34020000002000000001";
const DOMAIN: &str = "3402000000";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Register,
    Keepalive,
}

#[derive(Clone)]
struct Pending {
    kind: Kind,
    first: Instant,
    interval: Duration,
    cseq: u32,
    challenge: Option<String>,
}

#[derive(Default)]
struct Device {
    pending: Option<Pending>,
    cseq: u32,
    registered: bool,
}

/// What happened since the last look.
#[derive(Default, Clone)]
pub struct Seen {
    /// Orders carried out.
    pub done: u64,
    pub sent: u64,
    pub repeated: u64,
    /// No final answer in 32 s.
    pub timed_out: u64,
    pub challenged: u64,
    /// 503 with Retry-After.
    pub put_off: u64,
    pub refused: u64,
    /// Questions of the platform answered.
    pub answered: u64,
    /// Milliseconds from the first sending to the final answer.
    pub delays: Vec<f64>,
    pub first_at: Option<Instant>,
    pub last_at: Option<Instant>,
    /// Carried out in each 100 ms since the start of the run.
    pub per_tenth: Vec<u32>,
}

impl Seen {
    pub fn seconds(&self) -> f64 {
        match (self.first_at, self.last_at) {
            (Some(a), Some(b)) => b.saturating_duration_since(a).as_secs_f64().max(1e-9),
            _ => f64::NAN,
        }
    }
}

/// How orders come up.
pub enum Pace<'a> {
    /// At most so many at once; each device once.
    Window(usize),
    /// At most so many at once, round and round.
    Round(usize),
    /// Each device once, at its own time after the start.
    At(&'a dyn Fn(usize) -> Duration),
    /// Each device once in so long, evenly.
    Every(Duration),
    /// Nothing new: only answers.
    Idle,
}

pub struct Field {
    socket: UdpSocket,
    port: u16,
    server: SocketAddrV4,
    password: String,
    devices: Vec<Device>,
    /// Repeats: when, which device, which CSeq.
    repeats: BinaryHeap<Reverse<(Instant, u32, u32)>>,
    /// Orders that wait for their time.
    waiting: BinaryHeap<Reverse<(Instant, u32)>>,
    out: Vec<(u32, String)>,
    inbox: Inbox,
    pub seen: Seen,
    seed: u64,
}

fn id(n: usize) -> String {
    format!("34020000001320{n:06}")
}

fn address(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 16, 0, 0)) + n + 1)
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|l| {
        let (k, v) = l.split_once(':')?;
        k.trim().eq_ignore_ascii_case(name).then(|| v.trim())
    })
}

pub fn md5_hex(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

impl Field {
    pub fn new(count: usize, server: SocketAddr, password: &str) -> Res<Field> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        udp::enlarge(&socket, 64 << 20);
        socket.set_nonblocking(true)?;
        let SocketAddr::V4(server) = server else { return Err("IPv4 only".into()) };
        Ok(Field {
            port: socket.local_addr()?.port(),
            socket,
            server,
            password: password.to_string(),
            devices: (0..count).map(|_| Device::default()).collect(),
            repeats: BinaryHeap::new(),
            waiting: BinaryHeap::new(),
            out: Vec::new(),
            inbox: Inbox::default(),
            seen: Seen::default(),
            seed: 0x2545_F491_4F6C_DD1D,
        })
    }

    pub fn server(&mut self, server: SocketAddr) {
        if let SocketAddr::V4(server) = server {
            self.server = server;
        }
    }

    pub fn registered(&self) -> usize {
        self.devices.iter().filter(|d| d.registered).count()
    }

    /// The devices believe that they are unknown again.
    pub fn forget(&mut self) {
        for d in &mut self.devices {
            d.registered = false;
            d.pending = None;
        }
        self.repeats.clear();
        self.waiting.clear();
    }

    /// 0 to 1.
    fn random(&mut self) -> f64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Works for at most `limit`; ends earlier when `done` says so (asked every 50 ms).
    pub fn run(&mut self, kind: Kind, pace: &Pace, limit: Duration, mut done: impl FnMut(&Field) -> bool) -> Seen {
        self.seen = Seen::default();
        let start = Instant::now();
        let (mut next, mut open) = (0usize, 0usize);
        let count = self.devices.len();
        self.waiting.clear();
        if let Pace::At(time) = pace {
            self.waiting.extend((0..count).map(|n| Reverse((start + time(n), n as u32))));
        }
        let mut look = start;
        loop {
            let now = Instant::now();
            if now >= look {
                look = now + Duration::from_millis(50);
                if done(self) || now.duration_since(start) >= limit {
                    break;
                }
                open = self.devices.iter().filter(|d| d.pending.is_some()).count();
            }
            match pace {
                Pace::Window(most) | Pace::Round(most) => {
                    let mut tries = 0;
                    while open < *most && tries < *most && (matches!(pace, Pace::Round(_)) || next < count) {
                        let n = next % count;
                        next += 1;
                        tries += 1;
                        if self.devices[n].pending.is_none() {
                            self.begin(n, kind, now);
                            open += 1;
                        }
                    }
                }
                Pace::Every(period) => {
                    let due = (now.duration_since(start).as_secs_f64() / period.as_secs_f64() * count as f64) as usize;
                    while next < due {
                        let n = next % count;
                        next += 1;
                        if self.devices[n].pending.is_none() {
                            self.begin(n, kind, now);
                        }
                    }
                }
                Pace::At(_) | Pace::Idle => {}
            }
            // Put off ones and those with a time of their own.
            while let Some(Reverse((at, n))) = self.waiting.peek().copied() {
                if at > now {
                    break;
                }
                self.waiting.pop();
                if self.devices[n as usize].pending.is_none() {
                    self.begin(n as usize, kind, now);
                }
            }
            self.repeat(now);
            self.flush();
            let before = self.seen.done;
            if self.take(start) == 0 {
                udp::readable(&self.socket, 1);
            }
            open = open.saturating_sub((self.seen.done - before) as usize);
        }
        std::mem::take(&mut self.seen)
    }

    fn begin(&mut self, n: usize, kind: Kind, now: Instant) {
        let device = &mut self.devices[n];
        device.cseq += 1;
        device.pending = Some(Pending { kind, first: now, interval: T1, cseq: device.cseq, challenge: None });
        self.seen.first_at.get_or_insert(now);
        self.send_pending(n, now);
    }

    fn send_pending(&mut self, n: usize, now: Instant) {
        let Some(p) = self.devices[n].pending.clone() else { return };
        let text = match p.kind {
            Kind::Register => self.register(n, &p),
            Kind::Keepalive => self.keepalive(n, &p),
        };
        self.repeats.push(Reverse((now + p.interval, n as u32, p.cseq)));
        self.seen.sent += 1;
        self.out.push((n as u32, text));
    }

    fn repeat(&mut self, now: Instant) {
        while let Some(Reverse((at, n, cseq))) = self.repeats.peek().copied() {
            if at > now {
                return;
            }
            self.repeats.pop();
            let device = &mut self.devices[n as usize];
            let Some(p) = device.pending.as_mut().filter(|p| p.cseq == cseq) else { continue };
            if now.duration_since(p.first) >= GIVE_UP {
                device.pending = None;
                self.seen.timed_out += 1;
                let later = now + Duration::from_secs_f64(5.0 + 5.0 * self.random());
                self.waiting.push(Reverse((later, n)));
                continue;
            }
            p.interval = (p.interval * 2).min(T2);
            self.seen.repeated += 1;
            self.send_pending(n as usize, now);
            if self.out.len() >= 256 {
                self.flush();
            }
        }
    }

    fn head(&self, method: &str, n: usize, cseq: u32, call: &str) -> String {
        let (id, at) = (id(n), address(n as u32));
        format!(
            "{method} sip:{SERVER}@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {at}:{};rport;branch=z9hG4bKb{n}x{cseq}\r\n\
             From: <sip:{id}@{DOMAIN}>;tag=f{n}\r\nTo: <sip:{}@{DOMAIN}>\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n\
             Max-Forwards: 70\r\nUser-Agent: bench\r\n",
            self.port,
            if method == "REGISTER" { &id } else { SERVER }
        )
    }

    fn register(&self, n: usize, p: &Pending) -> String {
        let mut out = self.head("REGISTER", n, p.cseq, &format!("r.{n}@bench"));
        let id = id(n);
        out.push_str(&format!("Contact: <sip:{id}@{}:{}>\r\nExpires: 3600\r\n", address(n as u32), self.port));
        if let Some(challenge) = &p.challenge {
            let part = |name: &str| {
                let rest = challenge.split_once(&format!("{name}=\""))?.1;
                rest.split('"').next().map(str::to_string)
            };
            let (realm, nonce) = (part("realm").unwrap_or_default(), part("nonce").unwrap_or_default());
            let uri = format!("sip:{SERVER}@{DOMAIN}");
            let first = md5_hex(&format!("{id}:{realm}:{}", self.password));
            let second = md5_hex(&format!("REGISTER:{uri}"));
            let response = md5_hex(&format!("{first}:{nonce}:00000001:0a4f113b:auth:{second}"));
            out.push_str(&format!(
                "Authorization: Digest username=\"{id}\",realm=\"{realm}\",nonce=\"{nonce}\",uri=\"{uri}\",response=\"{response}\",\
                 algorithm=MD5,qop=auth,nc=00000001,cnonce=\"0a4f113b\"\r\n"
            ));
        }
        out.push_str("Content-Length: 0\r\n\r\n");
        out
    }

    fn keepalive(&self, n: usize, p: &Pending) -> String {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"GB2312\"?>\r\n<Notify>\r\n<CmdType>Keepalive</CmdType>\r\n<SN>{}</SN>\r\n<DeviceID>{}</DeviceID>\r\n<Status>OK</Status>\r\n</Notify>\r\n",
            p.cseq,
            id(n)
        );
        self.with_body("MESSAGE", n, p.cseq, &format!("k.{n}.{}@bench", p.cseq), &body)
    }

    fn with_body(&self, method: &str, n: usize, cseq: u32, call: &str, body: &str) -> String {
        let head = self.head(method, n, cseq, call);
        format!("{head}Content-Type: Application/MANSCDP+xml\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    /// Takes what has come; the number of messages.
    fn take(&mut self, start: Instant) -> usize {
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut all = 0;
        for _ in 0..8 {
            let got = inbox.fill(&self.socket);
            all += got;
            let now = Instant::now();
            for n in 0..got {
                if let Some((bytes, _, _)) = inbox.get(n) {
                    let text = String::from_utf8_lossy(bytes);
                    if text.starts_with("SIP/2.0 ") {
                        self.answer(&text, now, start);
                    } else {
                        self.question(&text);
                    }
                }
            }
            if got < udp::BATCH {
                break;
            }
        }
        self.inbox = inbox;
        all
    }

    fn answer(&mut self, text: &str, now: Instant, start: Instant) {
        let code: u16 = text.get(8..11).and_then(|c| c.parse().ok()).unwrap_or(0);
        if code < 200 {
            return;
        }
        let Some(n) = header(text, "Call-ID").and_then(|c| c.split(['.', '@']).nth(1)).and_then(|n| n.parse().ok())
        else {
            return;
        };
        let n: usize = n;
        let cseq = header(text, "CSeq").and_then(|c| c.split(' ').next()).and_then(|c| c.parse::<u32>().ok());
        let Some(device) = self.devices.get_mut(n) else { return };
        let Some(p) = device.pending.as_mut().filter(|p| Some(p.cseq) == cseq) else { return };
        match code {
            401 if p.challenge.is_none() || text.contains("stale=true") => {
                self.seen.challenged += 1;
                p.challenge = header(text, "WWW-Authenticate").map(str::to_string);
                device.cseq += 1;
                p.cseq = device.cseq;
                p.interval = T1;
                self.send_pending(n, now);
            }
            200..=299 => {
                let delay = now.duration_since(p.first).as_secs_f64() * 1000.0;
                device.registered |= p.kind == Kind::Register;
                device.pending = None;
                self.seen.done += 1;
                self.seen.delays.push(delay);
                self.seen.last_at = Some(now);
                let tenth = (now.duration_since(start).as_millis() / 100) as usize;
                if self.seen.per_tenth.len() <= tenth {
                    self.seen.per_tenth.resize(tenth + 1, 0);
                }
                self.seen.per_tenth[tenth] += 1;
            }
            503 => {
                device.pending = None;
                self.seen.put_off += 1;
                let after: f64 = header(text, "Retry-After").and_then(|r| r.parse().ok()).unwrap_or(5.0);
                // As the 2022 edition wants it: a random time on top.
                let later = now + Duration::from_secs_f64(after + after * self.random());
                self.waiting.push(Reverse((later, n as u32)));
            }
            _ => {
                device.pending = None;
                self.seen.refused += 1;
            }
        }
    }

    /// DeviceInfo and Catalog.
    fn question(&mut self, text: &str) {
        let user = text.split_once("sip:").and_then(|(_, r)| r.split('@').next()).unwrap_or_default();
        let Some(n) = user.get(14..20).and_then(|t| t.parse::<usize>().ok()).filter(|n| *n < self.devices.len()) else {
            return;
        };
        let mut ok = String::from("SIP/2.0 200 OK\r\n");
        for line in text.lines().skip(1).take_while(|l| !l.is_empty()) {
            let name = line.split(':').next().unwrap_or_default();
            match name {
                "Via" | "From" | "Call-ID" | "CSeq" => ok.push_str(&format!("{line}\r\n")),
                "To" => ok.push_str(&format!("{line};tag=d{n}\r\n")),
                _ => {}
            }
        }
        ok.push_str("Content-Length: 0\r\n\r\n");
        self.out.push((n as u32, ok));
        let element = |name: &str| text.split_once(&format!("<{name}>")).and_then(|(_, r)| r.split('<').next());
        let (Some(kind), Some(sn)) = (element("CmdType"), element("SN")) else { return };
        let id = id(n);
        let inner = match kind {
            "Catalog" => format!(
                "<SumNum>1</SumNum>\r\n<DeviceList Num=\"1\">\r\n<Item>\r\n<DeviceID>{id}</DeviceID>\r\n<Name>Bench {n}</Name>\r\n<Manufacturer>bench</Manufacturer>\r\n<Model>bench</Model>\r\n<Owner>0</Owner>\r\n<CivilCode>340200</CivilCode>\r\n<Address>bench</Address>\r\n<Parental>0</Parental>\r\n<ParentID>{SERVER}</ParentID>\r\n<RegisterWay>1</RegisterWay>\r\n<Secrecy>0</Secrecy>\r\n<Status>ON</Status>\r\n</Item>\r\n</DeviceList>\r\n"
            ),
            "DeviceInfo" => format!(
                "<Result>OK</Result>\r\n<DeviceName>Bench {n}</DeviceName>\r\n<Manufacturer>bench</Manufacturer>\r\n<Model>bench</Model>\r\n<Firmware>1</Firmware>\r\n<Channel>1</Channel>\r\n"
            ),
            _ => return,
        };
        let body = format!(
            "<?xml version=\"1.0\"?>\r\n<Response>\r\n<CmdType>{kind}</CmdType>\r\n<SN>{sn}</SN>\r\n<DeviceID>{id}</DeviceID>\r\n{inner}</Response>\r\n"
        );
        self.devices[n].cseq += 1;
        let cseq = self.devices[n].cseq;
        let message = self.with_body("MESSAGE", n, cseq, &format!("q.{n}.{cseq}@bench"), &body);
        self.out.push((n as u32, message));
        self.seen.answered += 1;
    }

    /// Sends everything that waits, each from its device's own address.
    fn flush(&mut self) {
        let out = std::mem::take(&mut self.out);
        for chunk in out.chunks(BATCH) {
            // SAFETY: all-zero is a valid value of these plain C structures.
            let (mut name, mut vectors, mut heads, mut controls): (
                libc::sockaddr_in,
                [libc::iovec; BATCH],
                [libc::mmsghdr; BATCH],
                [[u64; 4]; BATCH],
            ) = unsafe { (zeroed(), zeroed(), zeroed(), zeroed()) };
            name.sin_family = libc::AF_INET as u16;
            name.sin_port = self.server.port().to_be();
            name.sin_addr.s_addr = u32::from(*self.server.ip()).to_be();
            for (n, (device, text)) in chunk.iter().enumerate() {
                vectors[n] = libc::iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: text.len() };
                let h = &mut heads[n].msg_hdr;
                h.msg_name = (&raw mut name).cast();
                h.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
                h.msg_iov = &raw mut vectors[n];
                h.msg_iovlen = 1;
                h.msg_control = controls[n].as_mut_ptr().cast();
                // SAFETY: CMSG_SPACE of an in_pktinfo is 32 bytes, the size of `controls[n]`.
                unsafe {
                    h.msg_controllen = libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as u32) as _;
                    let c = libc::CMSG_FIRSTHDR(h);
                    (*c).cmsg_level = libc::IPPROTO_IP;
                    (*c).cmsg_type = libc::IP_PKTINFO;
                    (*c).cmsg_len = libc::CMSG_LEN(size_of::<libc::in_pktinfo>() as u32) as _;
                    let mut info: libc::in_pktinfo = zeroed();
                    info.ipi_spec_dst.s_addr = u32::from(address(*device)).to_be();
                    std::ptr::write_unaligned(libc::CMSG_DATA(c).cast(), info);
                }
            }
            let mut at = 0;
            while at < chunk.len() {
                // SAFETY: pointers are to arrays and texts that outlive the call; `at` is within them.
                let n = unsafe {
                    libc::sendmmsg(self.socket.as_raw_fd(), heads[at..].as_mut_ptr(), (chunk.len() - at) as u32, 0)
                };
                if n <= 0 {
                    // Full: it is repeated by its timer.
                    break;
                }
                at += n as usize;
            }
        }
    }
}
