//! The SIP machine: transactions, dialogs and calls of RFC 3261 and RFC 6026 without I/O and without a clock.
//!
//! Bytes and orders go in with a time, [`Transmit`]s and [`Event`]s come out, [`Endpoint::next_timeout`] says when to
//! call [`Endpoint::tick`]. Nothing here blocks, sleeps or allocates without a cap.

mod call;
mod client;
mod indialog;
mod reliable;
mod server;
mod source;
mod uac;
mod uas;

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};

pub use call::{CallEvent, EndReason};

use crate::{
    dialog::DialogKey,
    error::SipError,
    flow::{Flow, FlowId},
    limits::Limits,
    message::{Message, Request, Response},
    method::Method,
    parse, prepass,
    stats::Stats,
    timers::Timers,
    uri::{NameAddr, Uri},
    validate,
};

/// Names a server transaction: a request of a peer that waits for our answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TxId(pub u64);

/// Names a request of ours that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReqId(pub u64);

/// Names a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// What one endpoint is told once.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    pub limits: Limits,
    /// Written as User-Agent and Server; "" for none.
    pub user_agent: String,
    /// The IP in Via and Contact instead of the flow's local one (a NAT or a container in front of us).
    pub advertised: Option<IpAddr>,
    /// Option tags that a `Require` may name; others give 420. Default `timer` (RFC 4028), which the
    /// phone bridge keeps, and `100rel` (RFC 3262).
    pub supported: Vec<String>,
    /// How long an INVITE may stay without a final answer before it is cancelled (ours) or answered 480 (theirs).
    /// Default 180 s, timer C of RFC 3261.
    pub ring_timeout: Duration,
    /// Requests above the MTU of a UDP flow ask for TCP by [`Event::WantsTcp`] (RFC 3261 section 18.1.1). Default off:
    /// the driver must be able to open connections.
    pub large_over_tcp: bool,
}

impl Default for EndpointConfig {
    fn default() -> EndpointConfig {
        EndpointConfig {
            limits: Limits::default(),
            user_agent: String::new(),
            advertised: None,
            supported: ["timer", reliable::TAG, "path", "outbound"].map(str::to_owned).to_vec(),
            ring_timeout: Duration::from_secs(180),
            large_over_tcp: false,
        }
    }
}

/// Names a request of ours that is too large for its UDP flow and waits for a TCP one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LargeId(u64);

/// Bytes to be sent by a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    pub flow: FlowId,
    pub bytes: Bytes,
}

/// What the endpoint tells its owner.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request outside of any call. Answer with [`Endpoint::respond`].
    Request { tx: TxId, flow: Flow, request: Request },
    /// The end of a [`Endpoint::request`] or [`Endpoint::call_request`]: the final response, or why there is none.
    Response { id: ReqId, result: Result<Response, SipError> },
    /// A peer calls. 100 is sent by itself after 200 ms.
    Invite { call: CallId, flow: Flow, request: Request },
    /// Something in a call.
    Call { call: CallId, event: CallEvent },
    /// A request of ours is larger than the MTU of this UDP flow. Find or open a TCP flow to the same address and answer
    /// with [`Endpoint::tcp_flow`]; until then the request waits (at most 64*T1).
    WantsTcp { id: LargeId, flow: Flow },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Timer {
    /// A and E.
    ClientRepeat(u64),
    /// B and F.
    ClientGiveUp(u64),
    /// D, K and M.
    ClientKill(u64),
    /// G.
    ServerRepeat(TxId),
    /// H, I, J and L, and the end of unanswered ones.
    ServerKill(TxId),
    /// 100 after 200 ms.
    Trying(TxId),
    /// Repeats of a 2xx to INVITE (section 13.3.1.4).
    CallRepeat(CallId),
    /// 64*T1 without ACK, or without [`Endpoint::ack_body`].
    CallAck(CallId),
    /// No final answer.
    CallRing(CallId),
    /// Provisional repeats each minute (section 13.3.1.1).
    CallProvisional(CallId),
    /// Repeats of a reliable provisional answer, and its end (RFC 3262).
    Reliable(CallId),
    ReliableEnd(CallId),
    /// An ended call leaves the table.
    CallGone(CallId),
    /// A re-INVITE after 491.
    Again(ReqId),
}

/// The machine. One value per task; drive it as [`crate::Service`] does.
pub struct Endpoint {
    config: EndpointConfig,
    rng: StdRng,
    salt: u64,
    next_id: u64,
    timers: Timers<Timer>,
    // What is large is boxed: a table that grows moves all it holds.
    clients: HashMap<u64, Box<client::ClientTx>>,
    client_keys: HashMap<(String, Method), u64>,
    servers: HashMap<TxId, Box<server::ServerTx>>,
    server_keys: HashMap<server::ServerKey, TxId>,
    merged: HashMap<server::MergeKey, TxId>,
    /// Answered requests over UDP, in the order of their answers.
    answered: VecDeque<(TxId, Instant)>,
    /// Client transactions of INVITEs that were answered, in that order.
    settled: VecDeque<(u64, Instant)>,
    /// Calls that ended and are still known, in the order of their ends.
    ended: VecDeque<CallId>,
    /// How many of `calls` have ended.
    ending: usize,
    load: server::Load,
    sources: source::Sources,
    calls: HashMap<CallId, Box<call::Call>>,
    dialogs: HashMap<DialogKey, CallId>,
    waiting: HashMap<ReqId, indialog::Waiting>,
    out: VecDeque<Transmit>,
    events: VecDeque<Event>,
    stats: Arc<Stats>,
    /// What came last was no SIP message, or none that can be answered.
    malformed: bool,
}

impl Endpoint {
    /// An endpoint. `seed` feeds tags, branches and waiting times; take it from the system's generator.
    pub fn new(config: EndpointConfig, seed: u64) -> Endpoint {
        let mut rng = StdRng::seed_from_u64(seed);
        let salt = rng.random();
        Endpoint {
            sources: source::Sources::new(&config.limits),
            config,
            rng,
            salt,
            next_id: 0,
            timers: Timers::new(),
            clients: HashMap::new(),
            client_keys: HashMap::new(),
            servers: HashMap::new(),
            server_keys: HashMap::new(),
            merged: HashMap::new(),
            answered: VecDeque::new(),
            settled: VecDeque::new(),
            ended: VecDeque::new(),
            ending: 0,
            load: server::Load::default(),
            calls: HashMap::new(),
            dialogs: HashMap::new(),
            waiting: HashMap::new(),
            out: VecDeque::new(),
            events: VecDeque::new(),
            stats: Arc::default(),
            malformed: false,
        }
    }

    /// The counters, shared.
    pub fn stats(&self) -> Arc<Stats> {
        self.stats.clone()
    }

    /// Live (client transactions, server transactions, calls).
    pub fn load(&self) -> (usize, usize, usize) {
        (self.clients.len(), self.servers.len(), self.calls.len())
    }

    /// One datagram, or one whole message of a stream (framed by [`crate::stream::Framer`]).
    pub fn recv(&mut self, now: Instant, flow: &Flow, data: &[u8]) {
        self.recv_bytes(now, flow, Bytes::copy_from_slice(data));
    }

    /// As [`Endpoint::recv`] without a copy. False for what is no SIP message, or one that cannot be answered.
    pub fn recv_bytes(&mut self, now: Instant, flow: &Flow, data: Bytes) -> bool {
        if prepass::leading_line_ends(&data) == data.len() {
            return true; // keepalive
        }
        if !self.sources.allow(now, flow.peer.ip()) {
            self.stats.dropped_rate.inc();
            return true;
        }
        self.malformed = false;
        let prepared = prepass::prepare(&data, flow.transport.is_framed());
        match parse::parse(&prepared) {
            Err(_) => {
                self.stats.parse_errors.inc();
                self.malformed = true;
            }
            Ok(parsed) => match parsed.message {
                Message::Request(req) => {
                    self.stats.request(true, &req.method);
                    self.on_request(now, flow, req, &parsed.faults);
                }
                Message::Response(resp) => {
                    self.stats.response(true, resp.code);
                    if parsed.faults.contains(&parse::Fault::Version) {
                        self.stats.invalid.inc();
                    } else {
                        self.on_response(now, flow, resp);
                    }
                }
            },
        }
        !self.malformed
    }

    /// Lets time pass: fires every timer that is due.
    pub fn tick(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::ClientRepeat(id) => self.client_repeat(now, id),
                Timer::ClientGiveUp(id) => self.client_failed(now, id, SipError::Timeout),
                Timer::ClientKill(id) => self.client_drop(id),
                Timer::ServerRepeat(tx) => self.server_repeat(now, tx),
                Timer::ServerKill(tx) => self.server_drop(tx),
                Timer::Trying(tx) => self.server_trying(tx),
                Timer::CallRepeat(id) => self.call_repeat_2xx(now, id),
                Timer::CallAck(id) => self.call_no_ack(now, id),
                Timer::CallRing(id) => self.call_ring_timeout(now, id),
                Timer::CallProvisional(id) => self.call_repeat_1xx(now, id),
                Timer::Reliable(id) => self.reliable_repeat(now, id),
                Timer::ReliableEnd(id) => self.reliable_failed(now, id),
                Timer::CallGone(id) => self.call_drop(id),
                Timer::Again(id) => self.call_request_again(now, id),
            }
        }
    }

    /// When [`Endpoint::tick`] is due, `None` while nothing waits.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The next bytes to send. Call until `None` after every call that takes a time.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    /// The next event. Call until `None` after every call that takes a time.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A connection is gone: requests waiting on it fail, calls on it move to the flow they used before, or end.
    pub fn flow_closed(&mut self, now: Instant, id: FlowId) {
        self.clients_failed(now, id, &SipError::FlowClosed);
        self.calls_flow_closed(now, id);
    }

    /// A connection could not be opened: requests that went there only for their size go over UDP, others fail as by
    /// [`Endpoint::flow_closed`] (section 18.1.1).
    pub fn flow_refused(&mut self, now: Instant, id: FlowId) {
        self.clients_fall_back(now, id);
        self.flow_closed(now, id);
    }

    /// The driver's own queue is near its cap (true), or has drained again: new requests from outside of calls get 503
    /// meanwhile, those inside are served.
    pub fn set_pressed(&mut self, pressed: bool) {
        self.load.pressed = pressed;
    }

    /// The system refused to send on that flow: requests waiting for a first answer on it fail (section 18.4).
    pub fn send_failed(&mut self, now: Instant, id: FlowId, why: &str) {
        self.stats.send_errors.inc();
        self.clients_failed(now, id, &SipError::Io(why.to_owned()));
    }

    /// Sends a request outside of any call. Via, Max-Forwards, User-Agent and Content-Length are set; From, its tag,
    /// To, Call-ID and CSeq are filled in where missing. Ends with [`Event::Response`]; provisional answers are
    /// passed over. `creds` answers one 401 or 407. INVITE goes through [`Endpoint::invite`].
    pub fn request(
        &mut self,
        now: Instant,
        flow: &Flow,
        mut req: Request,
        creds: Option<crate::DigestClient>,
    ) -> Result<ReqId, SipError> {
        if matches!(req.method, Method::Invite | Method::Ack | Method::Cancel) {
            return Err(SipError::Invalid("INVITE, ACK and CANCEL are not sent as plain requests"));
        }
        self.fill(flow, &mut req)?;
        let id = ReqId(self.id());
        self.client_start(now, flow, req, client::Owner::Request(id), creds)?;
        Ok(id)
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Random lower-case hex of `n` bytes.
    fn token(&mut self, n: usize) -> String {
        let bytes: Vec<u8> = (0..n).map(|_| self.rng.random()).collect();
        hex::encode(bytes)
    }

    /// The address we write into Via and Contact for that flow.
    fn own_address(&self, flow: &Flow) -> SocketAddr {
        SocketAddr::new(self.config.advertised.unwrap_or(flow.local.ip()), flow.local.port())
    }

    /// A Contact by which peers on that flow reach us.
    pub fn local_contact(&self, flow: &Flow, user: &str) -> Uri {
        contact_uri(self.own_address(flow), flow.transport, user)
    }

    /// Fills From, To, Call-ID, CSeq, Max-Forwards and User-Agent where missing.
    fn fill(&mut self, flow: &Flow, req: &mut Request) -> Result<(), SipError> {
        let own = self.own_address(flow);
        let from = match req.headers.get("From") {
            Some(text) => text.parse::<NameAddr>()?,
            None => NameAddr::new(Uri::sip("", &own.ip().to_string(), None)),
        };
        if from.tag().is_none() {
            let tag = self.token(6);
            req.headers.set("From", from.with_tag(&tag).to_string());
        }
        match req.headers.get("To") {
            Some(text) => drop(text.parse::<NameAddr>()?),
            None => req.headers.push("To", NameAddr::new(req.uri.clone()).to_string()),
        }
        if req.call_id().is_none() {
            let id = self.token(12);
            req.headers.set("Call-ID", id);
        }
        match req.cseq() {
            Some((_, m)) if m == req.method => {}
            _ => {
                let n = self.rng.random_range(1..10_000);
                req.headers.set("CSeq", format!("{n} {}", req.method));
            }
        }
        req.headers.set_default("Max-Forwards", "70");
        if !self.config.user_agent.is_empty() {
            req.headers.set_default("User-Agent", &self.config.user_agent);
        }
        Ok(())
    }

    fn transmit(&mut self, flow: &Flow, bytes: Bytes) {
        self.out.push_back(Transmit { flow: flow.id, bytes });
    }

    fn emit(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// One request from the wire: gate, then transaction, then call or program.
    fn on_request(&mut self, now: Instant, flow: &Flow, mut req: Request, faults: &[parse::Fault]) {
        let Some(mut via) = req.top_via() else {
            self.stats.invalid.inc();
            self.malformed = true;
            return;
        };
        // RFC 3581, and received always: the answer goes to the source address in any case.
        via.set("received", Some(flow.peer.ip().to_string()));
        if via.param("rport").is_some() || flow.transport == crate::Transport::Udp {
            via.set("rport", Some(flow.peer.port().to_string()));
        }
        req.headers.replace_first("Via", &via.to_string());
        if !validate::answerable(&req) {
            self.stats.invalid.inc();
            self.malformed = true;
            if req.method != Method::Ack
                && ["From", "To", "Call-ID", "CSeq"].iter().any(|n| req.headers.get(n).is_some())
            {
                self.stateless(flow, &req, req.respond(400));
            }
            return;
        }
        let key = server::ServerKey::new(&req, &via);
        if self.server_repeated(now, flow, &key, &req) {
            return;
        }
        if let Err(refusal) = validate::check(&req, faults, &self.config.supported) {
            self.stats.invalid.inc();
            if req.method != Method::Ack {
                let answer = validate::answer(&req, refusal);
                self.stateless(flow, &req, answer);
            }
            return;
        }
        match req.method {
            Method::Ack => self.on_ack(now, flow, req),
            Method::Cancel => self.on_cancel(now, flow, req, &key),
            _ => self.on_new_request(now, flow, req, key),
        }
    }

    /// An answer without a transaction: costs no memory, and a repeat of the request gets the same one again.
    fn stateless(&mut self, flow: &Flow, req: &Request, mut resp: Response) {
        if let Some(to) = resp.to().filter(|t| t.tag().is_none()) {
            use std::hash::{DefaultHasher, Hash, Hasher};
            let mut hash = DefaultHasher::new();
            (self.salt, req.call_id(), req.headers.get("Via"), req.headers.get("CSeq")).hash(&mut hash);
            resp.headers.set("To", to.with_tag(&format!("{:016x}", hash.finish())).to_string());
        }
        self.sign(&mut resp);
        self.stats.response(false, resp.code);
        let bytes = resp.to_bytes();
        self.transmit(flow, bytes);
    }

    fn sign(&self, resp: &mut Response) {
        if !self.config.user_agent.is_empty() && resp.code > 100 {
            resp.headers.set_default("Server", &self.config.user_agent);
        }
    }
}

/// The methods named in Allow.
pub(crate) const ALLOW: &str =
    "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, MESSAGE, INFO, PRACK, SUBSCRIBE, NOTIFY, UPDATE, REFER";

/// `sip:user@address;transport=..`.
pub(crate) fn contact_uri(own: SocketAddr, transport: crate::Transport, user: &str) -> Uri {
    let port = Some(own.port()).filter(|p| *p != 0);
    let uri = Uri::sip(user, &own.ip().to_string(), port);
    match transport.uri_param() {
        Some(t) => uri.with_param("transport", Some(t)),
        None => uri,
    }
}
