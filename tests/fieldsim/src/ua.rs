//! The transactions a device needs: requests are repeated until answered (UDP), answered requests are remembered so
//! that a repeated one gets the same bytes again, and the 200 to an INVITE is repeated until the ACK.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::link::{Incoming, Link};
use crate::sip_text::Message;

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

pub enum Event {
    Request(Message, SocketAddr),
    Response {
        branch: String,
        message: Message,
    },
    /// No final answer within 64 T1.
    Timeout {
        branch: String,
    },
    /// No ACK for our 200 within 64 T1.
    NoAck {
        call_id: String,
    },
    Down(String),
    Tick,
}

struct Repeat {
    bytes: Vec<u8>,
    to: SocketAddr,
    next: Instant,
    gap: Duration,
    ends: Instant,
    /// An INVITE that got a provisional answer is repeated no more.
    quiet: bool,
}

impl Repeat {
    fn new(bytes: Vec<u8>, to: SocketAddr) -> Self {
        let now = Instant::now();
        Self { bytes, to, next: now + T1, gap: T1, ends: now + T1 * 64, quiet: false }
    }

    fn due(&self) -> Instant {
        if self.quiet { self.ends } else { self.next.min(self.ends) }
    }
}

pub struct Ua {
    pub link: Link,
    waiting: HashMap<String, Repeat>,
    answered: VecDeque<(String, Vec<u8>, Instant)>,
    unacked: HashMap<String, Repeat>,
}

/// A random token for tags, branches and Call-IDs.
pub fn token() -> String {
    format!("{:016x}", rand::random::<u64>())
}

fn key(request: &Message) -> String {
    format!("{}|{}|{}|{}", request.branch(), request.method(), request.call_id(), request.cseq().0)
}

impl Ua {
    pub fn new(link: Link) -> Self {
        Self { link, waiting: HashMap::new(), answered: VecDeque::new(), unacked: HashMap::new() }
    }

    /// A Via value with a fresh branch.
    pub fn via(&self) -> (String, String) {
        let branch = format!("z9hG4bK{}", token());
        let shown = if self.link.odd.private_contact { "0.0.0.0:5060".into() } else { self.link.local.to_string() };
        (format!("SIP/2.0/{} {shown};rport;branch={branch}", self.link.via_transport()), branch)
    }

    /// Sends a request to the server, repeating it until a final answer comes; returns its branch. The Via is put in front.
    pub async fn request(&mut self, mut message: Message) -> String {
        let (via, branch) = self.via();
        message.headers.insert(0, ("Via".into(), via));
        let bytes = message.to_bytes();
        let server = self.link.server;
        let _ = self.link.send(&bytes, server).await;
        let mut repeat = Repeat::new(bytes, server);
        repeat.quiet = self.link.is_tcp();
        self.waiting.insert(branch.clone(), repeat);
        branch
    }

    /// Sends an ACK: no transaction of its own. For a non-2xx answer pass the branch of the INVITE.
    pub async fn ack(&mut self, mut message: Message, branch: Option<&str>) -> Vec<u8> {
        let (mut via, _) = self.via();
        if let Some(branch) = branch {
            via = format!("SIP/2.0/{} {};rport;branch={branch}", self.link.via_transport(), self.link.local);
        }
        message.headers.insert(0, ("Via".into(), via));
        let bytes = message.to_bytes();
        let server = self.link.server;
        let _ = self.link.send(&bytes, server).await;
        bytes
    }

    /// Repeats bytes already sent (the ACK of a repeated 200).
    pub async fn again(&mut self, bytes: &[u8]) {
        let server = self.link.server;
        let _ = self.link.send(bytes, server).await;
    }

    /// Answers a request and remembers the answer.
    pub async fn reply(&mut self, request: &Message, from: SocketAddr, response: Message) {
        let bytes = response.to_bytes();
        let _ = self.link.send(&bytes, from).await;
        let (k, now) = (key(request), Instant::now());
        self.answered.retain(|(old, _, at)| *old != k && now.duration_since(*at) < T1 * 64);
        if self.answered.len() >= 512 {
            self.answered.pop_front();
        }
        self.answered.push_back((k, bytes.clone(), now));
        if request.method() == "INVITE" && (200..300).contains(&response.code()) {
            self.unacked.insert(request.call_id().to_string(), Repeat::new(bytes, from));
        }
    }

    pub fn acked(&mut self, call_id: &str) {
        self.unacked.remove(call_id);
    }

    /// The next thing that happens, at the latest `until`.
    pub async fn next(&mut self, until: Instant) -> Event {
        loop {
            let now = Instant::now();
            if let Some(event) = self.repeat_due(now).await {
                return event;
            }
            if now >= until {
                return Event::Tick;
            }
            let wake = self
                .waiting
                .values()
                .chain(self.unacked.values())
                .map(Repeat::due)
                .min()
                .map_or(until, |d| d.min(until));
            let incoming = tokio::select! {
                got = self.link.incoming.recv() => got,
                () = tokio::time::sleep_until(wake) => continue,
            };
            match incoming {
                None => return Event::Down("the link has closed".into()),
                Some(Incoming::Down(why)) => return Event::Down(why),
                Some(Incoming::Message(message, from)) => {
                    if let Some(event) = self.arrived(message, from).await {
                        return event;
                    }
                }
            }
        }
    }

    async fn arrived(&mut self, message: Message, from: SocketAddr) -> Option<Event> {
        if message.code() > 0 {
            let branch = message.branch().to_string();
            let invite = message.cseq().1 == "INVITE";
            if message.code() < 200 {
                if let Some(waiting) = self.waiting.get_mut(&branch) {
                    if invite {
                        waiting.quiet = true;
                        waiting.ends = Instant::now() + Duration::from_secs(180);
                    }
                    return Some(Event::Response { branch, message });
                }
                return None;
            }
            // A repeated 200 to an INVITE must reach the caller, which repeats its ACK.
            let known = self.waiting.remove(&branch).is_some();
            return (known || invite).then_some(Event::Response { branch, message });
        }
        if message.method() != "ACK" {
            let k = key(&message);
            if let Some(bytes) = self.answered.iter().find(|(old, _, _)| *old == k).map(|(_, b, _)| b.clone()) {
                let _ = self.link.send(&bytes, from).await;
                return None;
            }
        }
        Some(Event::Request(message, from))
    }

    async fn repeat_due(&mut self, now: Instant) -> Option<Event> {
        if let Some(branch) = self.waiting.iter().find(|(_, r)| now >= r.ends).map(|(b, _)| b.clone()) {
            self.waiting.remove(&branch);
            return Some(Event::Timeout { branch });
        }
        if let Some(call_id) = self.unacked.iter().find(|(_, r)| now >= r.ends).map(|(c, _)| c.clone()) {
            self.unacked.remove(&call_id);
            return Some(Event::NoAck { call_id });
        }
        for repeat in self.waiting.values_mut().chain(self.unacked.values_mut()) {
            if !repeat.quiet && now >= repeat.next {
                let _ = self.link.send(&repeat.bytes, repeat.to).await;
                repeat.gap = (repeat.gap * 2).min(T2);
                repeat.next = now + repeat.gap;
            }
        }
        None
    }
}
