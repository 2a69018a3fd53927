//! Counters for the hall's metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::method::Method;

/// One counter that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One value that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn set(&self, value: usize) {
        self.0.store(value as u64, Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What the SIP room counts since its start. Plain atomics: reading never waits. [`Stats::snapshot`] gives all of
/// them by name.
#[derive(Debug)]
pub struct Stats {
    requests_in: [Counter; 15],
    requests_out: [Counter; 15],
    responses_in: Vec<Counter>,
    responses_out: Vec<Counter>,
    /// Bytes that were no SIP message.
    pub parse_errors: Counter,
    /// Requests refused by validation (400, 416, 420, 482, 483, 505) and responses that could not be used.
    pub invalid: Counter,
    /// Requests of ours sent again.
    pub retransmits_out: Counter,
    /// Requests that came again.
    pub retransmits_in: Counter,
    /// Client transactions without an answer.
    pub timeouts: Counter,
    /// Messages dropped by the rate limit of their source.
    pub dropped_rate: Counter,
    /// Requests answered 503 by a full table or queue.
    pub refused_overload: Counter,
    /// Flows refused or closed by a limit.
    pub dropped_flows: Counter,
    /// Datagrams or stream messages that could not be written.
    pub send_errors: Counter,
    /// Responses and ACKs that belong to nothing.
    pub strays: Counter,
    /// What is in the tables now: client and server transactions, calls, flows.
    pub tables: [Gauge; 4],
    /// Orders of the program lost because the service's queue was full. Should stay 0.
    pub commands_lost: Counter,
}

/// One value of a [`Stats::snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// `requests`, `responses`, `parse_errors`, ...
    pub name: &'static str,
    /// `in` or `out` for messages, else "".
    pub direction: &'static str,
    /// Method or status code for messages, else "".
    pub label: String,
    pub value: u64,
}

fn codes() -> Vec<Counter> {
    (0..600).map(|_| Counter::default()).collect()
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            requests_in: Default::default(),
            requests_out: Default::default(),
            responses_in: codes(),
            responses_out: codes(),
            parse_errors: Counter::default(),
            invalid: Counter::default(),
            retransmits_out: Counter::default(),
            retransmits_in: Counter::default(),
            timeouts: Counter::default(),
            dropped_rate: Counter::default(),
            refused_overload: Counter::default(),
            dropped_flows: Counter::default(),
            send_errors: Counter::default(),
            strays: Counter::default(),
            tables: Default::default(),
            commands_lost: Counter::default(),
        }
    }
}

impl Stats {
    pub(crate) fn request(&self, inbound: bool, method: &Method) {
        let side = if inbound { &self.requests_in } else { &self.requests_out };
        if let Some(c) = side.get(method.index()) {
            c.inc();
        }
    }

    pub(crate) fn response(&self, inbound: bool, code: u16) {
        let side = if inbound { &self.responses_in } else { &self.responses_out };
        if let Some(c) = side.get(usize::from(code).wrapping_sub(100)) {
            c.inc();
        }
    }

    /// Requests of that method that came in (first ones and repeats).
    pub fn requests_in(&self, method: &Method) -> u64 {
        self.requests_in.get(method.index()).map_or(0, Counter::get)
    }

    /// Requests of that method that went out, without repeats.
    pub fn requests_out(&self, method: &Method) -> u64 {
        self.requests_out.get(method.index()).map_or(0, Counter::get)
    }

    /// Responses of that code that went out, without repeats.
    pub fn responses_out(&self, code: u16) -> u64 {
        self.responses_out.get(usize::from(code).wrapping_sub(100)).map_or(0, Counter::get)
    }

    /// Responses of that code that came in.
    pub fn responses_in(&self, code: u16) -> u64 {
        self.responses_in.get(usize::from(code).wrapping_sub(100)).map_or(0, Counter::get)
    }

    /// All counters; messages only where the value is not 0.
    pub fn snapshot(&self) -> Vec<Sample> {
        let mut out = Vec::new();
        for (direction, methods, codes) in
            [("in", &self.requests_in, &self.responses_in), ("out", &self.requests_out, &self.responses_out)]
        {
            for (i, c) in methods.iter().enumerate().filter(|(_, c)| c.get() > 0) {
                let label = Method::KNOWN.get(i).map_or("OTHER", Method::as_str).to_owned();
                out.push(Sample { name: "requests", direction, label, value: c.get() });
            }
            for (i, c) in codes.iter().enumerate().filter(|(_, c)| c.get() > 0) {
                out.push(Sample { name: "responses", direction, label: (i + 100).to_string(), value: c.get() });
            }
        }
        for (name, c) in [
            ("parse_errors", &self.parse_errors),
            ("invalid", &self.invalid),
            ("retransmits_out", &self.retransmits_out),
            ("retransmits_in", &self.retransmits_in),
            ("timeouts", &self.timeouts),
            ("dropped_rate", &self.dropped_rate),
            ("refused_overload", &self.refused_overload),
            ("dropped_flows", &self.dropped_flows),
            ("send_errors", &self.send_errors),
            ("strays", &self.strays),
            ("commands_lost", &self.commands_lost),
        ] {
            out.push(Sample { name, direction: "", label: String::new(), value: c.get() });
        }
        out
    }
}
