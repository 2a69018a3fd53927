//! A WHEP viewer: `str0m` as the browser. It decrypts, reports, asks again and keeps its consent fresh, but decodes nothing.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

use crate::Res;
use crate::clip;
use crate::gateway::Client;
use crate::udp::{self, Inbox};

/// What a viewer has seen since it was made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    pub connected: bool,
    pub packets: u64,
    pub bytes: u64,
    pub resent: u64,
    /// Extended sequence number of the first and the highest packet.
    first: Option<u64>,
    highest: u64,
    unique: u64,
    pub doubles: u64,
    pub pictures: u64,
    /// Wall clock of the last picture's end, and the longest time between two of them since it was last asked.
    last_picture: u64,
    pub longest_gap: u64,
    /// Datagrams that this viewer's own socket had no room for: loss of the bench's making.
    pub overflow: u32,
}

impl Seen {
    pub fn expected(&self) -> u64 {
        self.first.map_or(0, |f| self.highest - f + 1)
    }

    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.unique)
    }
}

/// Arrival of one frame, wall clock in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub number: u32,
    pub first: u64,
    pub last: u64,
}

struct Open {
    timestamp: u32,
    number: Option<u32>,
    first: u64,
    last: u64,
}

pub struct Viewer {
    rtc: Rtc,
    socket: UdpSocket,
    local: std::net::SocketAddr,
    pub seen: Seen,
    ssrc: Option<u32>,
    due: Instant,
    /// Numbers of the last packets, to tell doubles.
    recent: VecDeque<u64>,
    /// Frames with their numbers are noted only by a viewer that measures delay.
    watch: bool,
    open: Option<Open>,
    pub arrivals: Vec<Arrival>,
}

impl Viewer {
    /// Posts the offer and takes the answer; the transport stands later.
    pub fn join(client: &mut Client, stream: &str, watch: bool) -> Res<Viewer> {
        let socket = udp::open()?;
        let local = socket.local_addr()?;
        let now = Instant::now();
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(now);
        rtc.add_local_candidate(Candidate::host(local, "udp")?);
        let mut api = rtc.sdp_api();
        api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        let (offer, pending) = api.apply().ok_or("nothing to offer")?;
        let answer = client.whep(stream, &offer.to_sdp_string())?;
        rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&answer)?)?;
        let recent = VecDeque::with_capacity(512);
        let seen = Seen::default();
        Ok(Viewer { rtc, socket, local, seen, ssrc: None, due: now, recent, watch, open: None, arrivals: Vec::new() })
    }

    /// The video SSRC is the one of the first payload that is not a retransmission: RTX comes later and is rare.
    fn header(&mut self, data: &[u8], at: u64) {
        let (Some(b1), Some(seq), Some(ssrc)) = (data.get(1), data.get(2..4), data.get(8..12)) else { return };
        let (seq, ssrc) =
            (u16::from_be_bytes([seq[0], seq[1]]), u32::from_be_bytes([ssrc[0], ssrc[1], ssrc[2], ssrc[3]]));
        let s = &mut self.seen;
        s.packets += 1;
        s.bytes += data.len() as u64;
        if *self.ssrc.get_or_insert(ssrc) != ssrc {
            s.resent += 1;
            return;
        }
        let extended = match s.first {
            None => u64::from(seq) + 65_536,
            Some(_) => {
                let ahead = seq.wrapping_sub(s.highest as u16) as i16;
                s.highest.saturating_add_signed(i64::from(ahead))
            }
        };
        if self.recent.contains(&extended) && extended <= s.highest {
            s.doubles += 1;
            return;
        }
        if self.recent.len() == 64 {
            self.recent.pop_front();
        }
        self.recent.push_back(extended);
        s.first = Some(s.first.unwrap_or(extended).min(extended));
        s.highest = s.highest.max(extended);
        s.unique += 1;
        if b1 & 0x80 != 0 {
            s.pictures += 1;
            if s.last_picture > 0 {
                s.longest_gap = s.longest_gap.max(at.saturating_sub(s.last_picture));
            }
            s.last_picture = at;
        }
    }

    fn note(&mut self, timestamp: u32, marker: bool, payload: &[u8], at: u64) {
        if self.open.as_ref().is_none_or(|o| o.timestamp != timestamp) {
            self.open = Some(Open { timestamp, number: None, first: at, last: at });
        }
        let Some(open) = &mut self.open else { return };
        open.last = open.last.max(at);
        open.number = open.number.or_else(|| clip::number_in(payload));
        if marker && let Some(number) = open.number {
            self.arrivals.push(Arrival { number, first: open.first, last: open.last });
        }
    }

    /// Sends what is to be sent and takes events, until the next timeout is known.
    fn drain(&mut self, at: u64) {
        // Bounded: a poll cycle ends with Timeout.
        for _ in 0..10_000 {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(t)) => {
                    self.due = t;
                    return;
                }
                Ok(Output::Transmit(t)) => {
                    let _ = self.socket.send_to(&t.contents, t.destination);
                }
                Ok(Output::Event(Event::Connected)) => self.seen.connected = true,
                Ok(Output::Event(Event::RtpPacket(p))) if self.watch => {
                    self.note(p.header.timestamp, p.header.marker, &p.payload, at);
                }
                Ok(Output::Event(_)) => {}
                Err(_) => {
                    self.due = Instant::now() + Duration::from_secs(1);
                    return;
                }
            }
        }
    }

    /// Timers and what has arrived.
    pub fn work(&mut self, inbox: &mut Inbox) {
        loop {
            let n = inbox.fill(&self.socket);
            for i in 0..n {
                let Some((data, from, at)) = inbox.get(i) else { continue };
                if data.first().is_some_and(|b| b >> 6 == 2) && data.get(1).is_some_and(|b| !(192..224).contains(b)) {
                    self.header(data, at);
                }
                if let Ok(r) = Receive::new(Protocol::Udp, from, self.local, data) {
                    let _ = self.rtc.handle_input(Input::Receive(Instant::now(), r));
                    self.drain(at);
                }
            }
            if inbox.overflow > 0 {
                self.seen.overflow = self.seen.overflow.max(inbox.overflow);
                inbox.overflow = 0;
            }
            if n < udp::BATCH {
                break;
            }
        }
        let now = Instant::now();
        if now >= self.due {
            let _ = self.rtc.handle_input(Input::Timeout(now));
            self.drain(udp::wall());
        }
    }

    /// Runs alone until `done` or the limit.
    pub fn run(&mut self, inbox: &mut Inbox, limit: Duration, done: impl Fn(&Viewer) -> bool) -> bool {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            self.work(inbox);
            if done(self) {
                return true;
            }
            let wait = self.due.saturating_duration_since(Instant::now()).as_millis().clamp(1, 20);
            udp::readable(&self.socket, wait as i32);
        }
        false
    }

    /// Says good-bye as a browser does.
    pub fn close(&mut self) {
        let _ = self.rtc.close();
        self.drain(udp::wall());
    }
}

/// Many viewers on one thread.
pub struct Crowd {
    shared: Arc<Mutex<Vec<Viewer>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    pub fn start(cpu: Option<usize>) -> Res<Crowd> {
        let shared: Arc<Mutex<Vec<Viewer>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (viewers, flag) = (shared.clone(), stop.clone());
        let thread = std::thread::Builder::new().name("viewers".into()).spawn(move || {
            udp::pin(cpu);
            let mut inbox = Inbox::default();
            let mut polls: Vec<libc::pollfd> = Vec::new();
            while !flag.load(Relaxed) {
                let mut due = Instant::now() + Duration::from_millis(10);
                {
                    let mut all = viewers.lock().unwrap_or_else(PoisonError::into_inner);
                    let fresh = polls.len() != all.len();
                    let now = Instant::now();
                    for (n, viewer) in all.iter_mut().enumerate() {
                        if fresh || now >= viewer.due || polls.get(n).is_some_and(|p| p.revents != 0) {
                            viewer.work(&mut inbox);
                        }
                        due = due.min(viewer.due);
                    }
                    if fresh {
                        polls = all
                            .iter()
                            .map(|v| libc::pollfd { fd: v.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 })
                            .collect();
                    }
                }
                let wait = due.saturating_duration_since(Instant::now()).as_millis().clamp(1, 10) as i32;
                // SAFETY: a valid array of pollfd of the given length; the sockets live as long as the crowd.
                unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, wait) };
            }
        })?;
        Ok(Crowd { shared, stop, thread: Some(thread) })
    }

    pub fn add(&self, viewer: Viewer) {
        self.with(|all| all.push(viewer));
    }

    pub fn with<T>(&self, work: impl FnOnce(&mut Vec<Viewer>) -> T) -> T {
        work(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What all have seen; the longest gap starts anew.
    pub fn seen(&self) -> Vec<Seen> {
        self.with(|all| {
            all.iter_mut()
                .map(|v| {
                    let seen = v.seen;
                    v.seen.longest_gap = 0;
                    seen
                })
                .collect()
        })
    }

    /// Waits until all stand and see pictures.
    pub fn ready(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if self.with(|all| all.iter().all(|v| v.seen.connected && v.seen.pictures > 0)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.with(|all| all.iter_mut().for_each(Viewer::close));
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
