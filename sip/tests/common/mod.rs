//! Two endpoints on pretend time, joined by a seeded lossy pipe.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sip::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    A,
    B,
}

type Filter = Box<dyn FnMut(Side, &str) -> bool>;

pub struct World {
    pub start: Instant,
    pub now: Instant,
    pub ep: [Endpoint; 2],
    pub flow: [Flow; 2],
    wire: Vec<(Instant, u64, usize, Bytes)>,
    seq: u64,
    pub delay: Duration,
    pub jitter_ms: u64,
    pub loss: f64,
    rng: StdRng,
    /// (sender, text) -> true to lose it.
    pub lose: Filter,
    pub events: [Vec<(Duration, Event)>; 2],
    /// (time, sender, first line)
    pub log: Vec<(Duration, Side, String)>,
}

pub fn flow(id: u64, local: &str, peer: &str, transport: Transport, profile: LinkProfile) -> Flow {
    Flow { id: FlowId(id), transport, local: local.parse().unwrap(), peer: peer.parse().unwrap(), profile }
}

impl World {
    pub fn new(seed: u64) -> World {
        World::with(seed, Transport::Udp, LinkProfile::LAN, EndpointConfig::default())
    }

    pub fn with(seed: u64, transport: Transport, profile: LinkProfile, config: EndpointConfig) -> World {
        let start = Instant::now();
        World {
            start,
            now: start,
            ep: [Endpoint::new(config.clone(), seed), Endpoint::new(config, seed + 1)],
            flow: [
                flow(1, "10.0.0.1:5060", "10.0.0.2:5060", transport, profile),
                flow(2, "10.0.0.2:5060", "10.0.0.1:5060", transport, profile),
            ],
            wire: Vec::new(),
            seq: 0,
            delay: Duration::from_millis(10),
            jitter_ms: 0,
            loss: 0.0,
            rng: StdRng::seed_from_u64(seed),
            lose: Box::new(|_, _| false),
            events: [Vec::new(), Vec::new()],
            log: Vec::new(),
        }
    }

    pub fn at(&self) -> Duration {
        self.now - self.start
    }

    fn drain(&mut self) {
        for side in 0..2 {
            while let Some(t) = self.ep[side].poll_transmit() {
                let text = String::from_utf8_lossy(&t.bytes).into_owned();
                let who = if side == 0 { Side::A } else { Side::B };
                self.log.push((self.at(), who, text.lines().next().unwrap_or("").to_owned()));
                let lost = (self.lose)(who, &text) || (self.loss > 0.0 && self.rng.random_bool(self.loss));
                if !lost {
                    let jitter = Duration::from_millis(if self.jitter_ms > 0 {
                        self.rng.random_range(0..self.jitter_ms)
                    } else {
                        0
                    });
                    self.seq += 1;
                    self.wire.push((self.now + self.delay + jitter, self.seq, 1 - side, t.bytes));
                }
            }
            while let Some(e) = self.ep[side].poll_event() {
                let at = self.at();
                self.events[side].push((at, e));
            }
        }
    }

    /// Runs until `until` or until `stop` says so after a step.
    pub fn run_while(&mut self, span: Duration, mut go_on: impl FnMut(&mut World) -> bool) {
        let end = self.now + span;
        loop {
            self.drain();
            if !go_on(self) {
                return;
            }
            self.drain();
            let arrival = self.wire.iter().map(|w| (w.0, w.1)).min();
            let timer = self.ep.iter().filter_map(Endpoint::next_timeout).min();
            let next = [arrival.map(|a| a.0), timer].into_iter().flatten().min();
            match next {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => {
                    self.now = end;
                    return;
                }
            }
            if let Some(a) = arrival.filter(|a| a.0 <= self.now) {
                let i = self.wire.iter().position(|w| (w.0, w.1) == a).unwrap();
                let (_, _, to, bytes) = self.wire.swap_remove(i);
                let flow = self.flow[to].clone();
                self.ep[to].recv(self.now, &flow, &bytes);
            } else {
                for ep in &mut self.ep {
                    ep.tick(self.now);
                }
            }
        }
    }

    pub fn run(&mut self, span: Duration) {
        self.run_while(span, |_| true);
    }

    pub fn run_s(&mut self, seconds: u64) {
        self.run(Duration::from_secs(seconds));
    }

    /// How often a first line starting so was sent by that side.
    pub fn sent(&self, side: Side, start: &str) -> usize {
        self.log.iter().filter(|(_, s, l)| *s == side && l.starts_with(start)).count()
    }

    pub fn take(&mut self, side: Side) -> Vec<Event> {
        std::mem::take(&mut self.events[side as usize]).into_iter().map(|(_, e)| e).collect()
    }

    /// Everything of both endpoints is gone.
    pub fn assert_empty(&self) {
        for ep in &self.ep {
            assert_eq!(ep.load(), (0, 0, 0), "{:#?}", self.log);
            assert_eq!(ep.next_timeout(), None);
        }
    }

    /// A calls B; gives back both call ids. B has not answered.
    pub fn call(&mut self) -> (CallId, CallId) {
        let (now, f) = (self.now, self.flow[0].clone());
        let a = self.ep[0].invite(now, &f, invite(), None).unwrap();
        let mut b = None;
        self.run_while(Duration::from_secs(40), |w| {
            b = w.events[1].iter().find_map(|(_, e)| match e {
                Event::Invite { call, .. } => Some(*call),
                _ => None,
            });
            b.is_none()
        });
        (a, b.expect("the INVITE arrives"))
    }

    /// A calls B, B accepts, all is confirmed.
    pub fn connected(&mut self) -> (CallId, CallId) {
        let (a, b) = self.call();
        let now = self.now;
        self.ep[1].accept(now, b, "application/sdp", Bytes::from_static(b"v=0 answer"), &Headers::new());
        self.run_s(2);
        assert!(calls(&self.take(Side::A)).iter().any(|e| e == "answered"));
        assert!(calls(&self.take(Side::B)).iter().any(|e| e == "confirmed"));
        (a, b)
    }
}

pub fn invite() -> Request {
    let mut req = Request::new(Method::Invite, "sip:b@10.0.0.2".parse().unwrap());
    req.headers.set("From", "<sip:a@10.0.0.1>");
    req.set_body("application/sdp", "v=0 offer");
    req
}

pub fn message() -> Request {
    let mut req = Request::new(Method::Message, "sip:b@10.0.0.2".parse().unwrap());
    req.set_body("Application/MANSCDP+xml", "<Notify/>");
    req
}

/// Call events in short words.
pub fn calls(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .filter_map(|e| match e {
            Event::Call { event, .. } => Some(match event {
                CallEvent::Progress(r) => format!("progress {}", r.code),
                CallEvent::Answered(_) => "answered".into(),
                CallEvent::Confirmed(_) => "confirmed".into(),
                CallEvent::Request { request, .. } => format!("request {}", request.method),
                CallEvent::Ended(why) => match why {
                    EndReason::Rejected(r) => format!("ended rejected {}", r.code),
                    EndReason::Bye(_) => "ended bye".into(),
                    EndReason::Timeout => "ended timeout".into(),
                    EndReason::Cancelled => "ended cancelled".into(),
                    EndReason::LocalBye => "ended local".into(),
                    EndReason::FlowClosed => "ended flow".into(),
                    EndReason::Error(e) => format!("ended {e}"),
                },
            }),
            _ => None,
        })
        .collect()
}
