//! The task that owns the endpoint: routes inputs in, transmits out, events to the claims and calls.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    net::UdpSocket,
    sync::{mpsc, oneshot},
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::{
    AccountProfile, Claim,
    handle::{Call, Incoming, Order, Pipe, PipeIn, Sip},
    net::{self, Hub, Input},
};
use crate::{
    endpoint::{ALLOW, CallEvent, CallId, Endpoint, Event, ReqId, TxId},
    error::SipError,
    flow::{Flow, FlowId, Target, Transport},
    guard::Offence,
    message::{Request, Response},
    method::Method,
    prepass,
};

enum Way {
    Udp { socket: usize, peer: SocketAddr, seen: Instant },
    Stream { out: mpsc::Sender<Bytes>, stop: CancellationToken },
}

/// Addresses remembered for taking no TCP, and for how long.
const MAX_NO_TCP: usize = 4_096;
const NO_TCP_FOR: Duration = Duration::from_secs(600);

/// Events a call may have waiting; the last quarter is kept for its end and its answers.
const CALL_QUEUE: usize = 64;

pub(super) struct Core {
    endpoint: Endpoint,
    udp: Vec<Arc<UdpSocket>>,
    claims: Vec<Claim>,
    hub: Hub,
    tls: Option<TlsConnector>,
    ways: HashMap<FlowId, Way>,
    udp_flows: HashMap<(usize, SocketAddr), FlowId>,
    connections: HashMap<(Transport, SocketAddr), FlowId>,
    per_source: HashMap<IpAddr, usize>,
    /// Addresses that took no TCP connection for a large request, and when.
    no_tcp: HashMap<SocketAddr, Instant>,
    account_profile: AccountProfile,
    pressed: bool,
    requests: HashMap<ReqId, oneshot::Sender<Result<Response, SipError>>>,
    calls: HashMap<CallId, mpsc::Sender<CallEvent>>,
}

impl Core {
    pub fn new(
        endpoint: Endpoint,
        udp: Vec<Arc<UdpSocket>>,
        claims: Vec<Claim>,
        hub: Hub,
        tls: Option<Arc<rustls::ClientConfig>>,
        account_profile: AccountProfile,
    ) -> Core {
        Core {
            endpoint,
            udp,
            claims,
            hub,
            tls: tls.map(Into::into),
            ways: HashMap::new(),
            udp_flows: HashMap::new(),
            connections: HashMap::new(),
            per_source: HashMap::new(),
            no_tcp: HashMap::new(),
            account_profile,
            pressed: false,
            requests: HashMap::new(),
            calls: HashMap::new(),
        }
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.endpoint.next_timeout()
    }

    pub fn tick(&mut self) {
        self.endpoint.tick(now());
        self.flush();
        let (clients, servers, calls) = self.endpoint.load();
        let [a, b, c, d] = &self.hub.shared.stats.tables;
        a.set(clients);
        b.set(servers);
        c.set(calls);
        d.set(self.ways.len());
    }

    pub fn shutdown(&mut self) {
        self.endpoint.shutdown(now());
        self.flush();
    }

    pub fn is_quiet(&self) -> bool {
        self.endpoint.load().2 == 0
    }

    pub fn input(&mut self, input: Input) {
        self.look_at_queue();
        match input {
            Input::Datagram { socket, peer, data } => {
                // No flow for keepalives and for what cannot be SIP.
                let start = prepass::leading_line_ends(&data);
                if !data.get(start).is_some_and(u8::is_ascii_alphabetic) {
                    if let Some(answer) = crate::stun::answer(&data, peer) {
                        if let Some(socket) = self.udp.get(socket) {
                            // Lost like any datagram when the buffer is full.
                            let _ = socket2::SockRef::from(socket.as_ref()).send_to(&answer, &peer.into());
                        }
                        return;
                    }
                    // Up to four bytes that are no SIP are some phones' way to keep a NAT open.
                    if data.len().saturating_sub(start) > 4 {
                        self.hub.shared.stats.parse_errors.inc();
                        self.hub.shared.guard.offence(now(), peer.ip(), None, Offence::Malformed);
                    }
                    return;
                }
                if let Some(flow) = self.udp_flow(socket, peer) {
                    if self.hub.shared.taps.any() {
                        self.hub.shared.taps.see(false, &flow, &data);
                    }
                    self.receive(&flow, data);
                }
            }
            Input::Opened { flow, out, stop } => {
                if self.room_for(flow.peer.ip()) {
                    self.add_stream(flow, out, stop);
                } else {
                    self.hub.shared.stats.dropped_flows.inc();
                    stop.cancel();
                }
            }
            Input::Message { flow, data } => {
                if let Some(flow) = self.hub.shared.flows.get(&flow).map(|f| f.clone()) {
                    if self.hub.shared.taps.any() {
                        self.hub.shared.taps.see(false, &flow, &data);
                    }
                    if self.hub.shared.guard.drops(now(), flow.peer.ip()) {
                        self.closed(flow.id);
                    } else {
                        self.receive(&flow, data);
                    }
                }
            }
            Input::Closed { flow } => self.closed(flow),
            Input::Refused { flow } => {
                if let Some(peer) = self.hub.shared.flows.get(&flow).map(|f| f.peer) {
                    self.note_no_tcp(peer);
                }
                self.endpoint.flow_refused(now(), flow);
                self.closed(flow);
            }
        }
        self.flush();
    }

    fn receive(&mut self, flow: &Flow, data: Bytes) {
        if !self.endpoint.recv_bytes(now(), flow, data) {
            self.hub.shared.guard.offence(now(), flow.peer.ip(), None, Offence::Malformed);
        }
    }

    /// A program that looks for open gateways and says its name: refused, and its address is shut out.
    fn scans(&self, flow: &Flow, request: &Request) -> bool {
        let guard = &self.hub.shared.guard;
        let found = request.headers.get("User-Agent").is_some_and(|agent| guard.is_scanner(agent));
        if found {
            guard.offence(now(), flow.peer.ip(), None, Offence::Scanner);
        }
        found
    }

    /// From nine tenths of the queue of sockets on, until it has drained to three quarters, new requests are refused: what
    /// belongs to calls waits behind them in the same queue.
    fn look_at_queue(&mut self) {
        let (free, most) = (self.hub.inputs.capacity(), self.hub.inputs.max_capacity());
        let pressed = free < if self.pressed { most / 4 } else { most / 10 };
        if pressed != self.pressed {
            self.pressed = pressed;
            self.endpoint.set_pressed(pressed);
        }
    }

    fn note_no_tcp(&mut self, peer: SocketAddr) {
        if self.no_tcp.len() >= MAX_NO_TCP {
            let t = now();
            self.no_tcp.retain(|_, at| t.saturating_duration_since(*at) < NO_TCP_FOR);
        }
        if self.no_tcp.len() < MAX_NO_TCP {
            self.no_tcp.insert(peer, now());
        }
    }

    /// The TCP flow for a request that is too large for UDP; `None` where that was refused lately.
    fn tcp_instead(&mut self, udp: &Flow) -> Option<Flow> {
        let refused = self.no_tcp.get(&udp.peer).is_some_and(|at| now().saturating_duration_since(*at) < NO_TCP_FOR);
        if refused {
            return None;
        }
        // Short: a firewall that swallows the SYN must not cost the call.
        self.stream_to(Transport::Tcp, udp.peer, udp.profile.t1 * 4).ok()
    }

    fn room_for(&mut self, ip: IpAddr) -> bool {
        let limits = self.hub.limits.clone();
        if self.ways.len() >= limits.max_flows {
            self.forget_idle();
        }
        self.ways.len() < limits.max_flows
            && self.per_source.get(&ip).copied().unwrap_or(0) < limits.connections_per_source
    }

    fn add_stream(&mut self, flow: Flow, out: mpsc::Sender<Bytes>, stop: CancellationToken) {
        *self.per_source.entry(flow.peer.ip()).or_default() += 1;
        self.connections.insert((flow.transport, flow.peer), flow.id);
        self.ways.insert(flow.id, Way::Stream { out, stop });
        self.hub.shared.flows.insert(flow.id, flow);
    }

    fn closed(&mut self, id: FlowId) {
        let Some(way) = self.ways.remove(&id) else { return };
        if let Way::Stream { stop, .. } = way {
            stop.cancel();
        }
        if let Some((_, flow)) = self.hub.shared.flows.remove(&id) {
            if self.connections.get(&(flow.transport, flow.peer)) == Some(&id) {
                self.connections.remove(&(flow.transport, flow.peer));
            }
            if let Some(n) = self.per_source.get_mut(&flow.peer.ip()) {
                *n -= 1;
                if *n == 0 {
                    self.per_source.remove(&flow.peer.ip());
                }
            }
        }
        self.endpoint.flow_closed(now(), id);
    }

    fn udp_flow(&mut self, socket: usize, peer: SocketAddr) -> Option<Flow> {
        if let Some(id) = self.udp_flows.get(&(socket, peer)) {
            if let Some(Way::Udp { seen, .. }) = self.ways.get_mut(id) {
                *seen = now();
            }
            return self.hub.shared.flows.get(id).map(|f| f.clone());
        }
        if self.ways.len() >= self.hub.limits.max_flows {
            self.forget_idle();
            if self.ways.len() >= self.hub.limits.max_flows {
                self.hub.shared.stats.dropped_flows.inc();
                return None;
            }
        }
        let bound = self.hub.shared.listening.udp.get(socket).copied()?;
        let ip = if bound.ip().is_unspecified() { net::kernel_address(peer).unwrap_or(bound.ip()) } else { bound.ip() };
        let flow = Flow {
            id: self.hub.shared.flow_id(),
            transport: Transport::Udp,
            local: SocketAddr::new(ip, bound.port()),
            peer,
            profile: self.udp_profile(peer),
        };
        self.udp_flows.insert((socket, peer), flow.id);
        self.ways.insert(flow.id, Way::Udp { socket, peer, seen: now() });
        self.hub.shared.flows.insert(flow.id, flow.clone());
        Some(flow)
    }

    fn udp_profile(&self, peer: SocketAddr) -> crate::flow::LinkProfile {
        let account = self.hub.shared.remembered.get(&peer);
        let known = account.and_then(|account| (self.account_profile)(account.value()));
        known.unwrap_or_else(|| (self.hub.profiles)(Transport::Udp, peer))
    }

    /// Forgets the longest idle twentieth of the UDP flows that nothing needs.
    fn forget_idle(&mut self) {
        let used = self.endpoint.flows_in_use();
        let mut idle: Vec<(Instant, FlowId, usize, SocketAddr)> = self
            .ways
            .iter()
            .filter_map(|(id, way)| match way {
                Way::Udp { socket, peer, seen } if !used.contains(id) => Some((*seen, *id, *socket, *peer)),
                _ => None,
            })
            .collect();
        idle.sort_unstable_by_key(|i| (i.0, i.1));
        for (_, id, socket, peer) in idle.into_iter().take(self.hub.limits.max_flows / 20 + 1) {
            self.ways.remove(&id);
            self.udp_flows.remove(&(socket, peer));
            self.hub.shared.flows.remove(&id);
        }
    }

    fn resolve(&mut self, target: Target) -> Result<Flow, SipError> {
        match target {
            Target::Flow(id) => self.hub.shared.flows.get(&id).map(|f| f.clone()).ok_or(SipError::UnknownFlow),
            Target::Address(Transport::Udp, peer) => {
                let (_, socket) = self.hub.shared.listening.towards(Transport::Udp, peer);
                let socket = socket.ok_or(SipError::NoListener(Transport::Udp))?;
                self.udp_flow(socket, peer).ok_or(SipError::Overloaded("flows"))
            }
            Target::Address(transport, peer) => self.stream_to(transport, peer, net::CONNECT),
        }
    }

    /// The connection to that address, or a new one that is being opened.
    fn stream_to(&mut self, transport: Transport, peer: SocketAddr, limit: Duration) -> Result<Flow, SipError> {
        if let Some(id) = self.connections.get(&(transport, peer))
            && let Some(flow) = self.hub.shared.flows.get(id)
        {
            return Ok(flow.clone());
        }
        let tls = match transport {
            Transport::Tcp => None,
            Transport::Tls => Some(self.tls.clone().ok_or(SipError::NoListener(transport))?),
            _ => return Err(SipError::NoListener(transport)), // only the peer opens a WebSocket
        };
        if !self.room_for(peer.ip()) {
            return Err(SipError::Overloaded("flows"));
        }
        let (local, _) = self.hub.shared.listening.towards(transport, peer);
        let id = self.hub.shared.flow_id();
        let flow = Flow { id, transport, local, peer, profile: (self.hub.profiles)(transport, peer) };
        let (out, rx) = mpsc::channel(self.hub.limits.connection_queue.max(1));
        let stop = self.hub.stop.child_token();
        self.add_stream(flow.clone(), out, stop.clone());
        tokio::spawn(net::connect(self.hub.clone(), flow.clone(), limit, tls, rx, stop));
        Ok(flow)
    }

    pub fn order(&mut self, order: Order) {
        let t = now();
        match order {
            Order::Request { target, req, creds, reply } => {
                let started = self.resolve(target).and_then(|flow| self.endpoint.request(t, &flow, *req, creds));
                match started {
                    Ok(id) => drop(self.requests.insert(id, reply)),
                    Err(e) => drop(reply.send(Err(e))),
                }
            }
            Order::Respond { tx, resp } => self.endpoint.respond(t, tx, *resp),
            Order::Invite { target, req, creds, patience, reply } => {
                let started = self.resolve(target).and_then(|flow| self.endpoint.invite(t, &flow, *req, creds));
                match started {
                    Ok(id) => {
                        if let Some(patience) = patience {
                            self.endpoint.first_answer_within(t, id, patience);
                        }
                        let (tx, rx) = mpsc::channel(CALL_QUEUE);
                        self.calls.insert(id, tx);
                        drop(reply.send(Ok(Call::new(id, rx, Sip { shared: self.hub.shared.clone() }))));
                    }
                    Err(e) => drop(reply.send(Err(e))),
                }
            }
            Order::Ring { call, code, body, extra } => {
                self.endpoint.provisional(t, call, code, body.as_ref().map(|(t, b)| (t.as_str(), b.clone())), &extra);
            }
            Order::Accept { call, content_type, body, extra } => {
                self.endpoint.accept(t, call, &content_type, body, &extra)
            }
            Order::Reject { call, code, reason } => self.endpoint.reject(t, call, code, Some(&reason)),
            Order::RejectWith { call, resp } => self.endpoint.reject_with(t, call, *resp),
            Order::Bye { call, headers } => self.endpoint.bye_with(t, call, headers),
            Order::Cancel { call } => self.endpoint.cancel(t, call),
            Order::AckBody { call, content_type, body } => self.endpoint.ack_body(t, call, &content_type, body),
            Order::CallRequest { call, req, reply } => match self.endpoint.call_request(t, call, *req) {
                Ok(id) => drop(self.requests.insert(id, reply)),
                Err(e) => drop(reply.send(Err(e))),
            },
            Order::Rebind { call, flow } => {
                if let Some(flow) = self.hub.shared.flows.get(&flow).map(|f| f.clone()) {
                    self.endpoint.call_rebind(call, &flow);
                }
            }
            Order::Attach { mut flow, reply } => {
                if !self.room_for(flow.peer.ip()) {
                    return drop(reply.send(Err(SipError::Overloaded("flows"))));
                }
                flow.profile = (self.hub.profiles)(flow.transport, flow.peer);
                let (out, outgoing) = mpsc::channel(self.hub.limits.connection_queue.max(1));
                self.add_stream(flow.clone(), out, self.hub.stop.child_token());
                let incoming = PipeIn {
                    flow: flow.id,
                    inputs: self.hub.inputs.clone(),
                    shared: self.hub.shared.clone(),
                    limits: self.hub.limits.clone(),
                };
                drop(reply.send(Ok(Pipe { flow, outgoing, incoming })));
            }
        }
        self.flush();
    }

    /// Everything the endpoint has to say, until it is silent.
    fn flush(&mut self) {
        loop {
            let mut silent = true;
            while let Some(t) = self.endpoint.poll_transmit() {
                silent = false;
                self.send(t.flow, t.bytes);
            }
            while let Some(event) = self.endpoint.poll_event() {
                silent = false;
                self.event(event);
            }
            if silent {
                return;
            }
        }
    }

    fn send(&mut self, id: FlowId, bytes: Bytes) {
        if self.hub.shared.taps.any()
            && let Some(flow) = self.hub.shared.flows.get(&id).map(|f| f.clone())
        {
            self.hub.shared.taps.see(true, &flow, &bytes);
        }
        let failed = match self.ways.get(&id) {
            Some(Way::Udp { socket, peer, .. }) => {
                // Past tokio: it calls a socket unwritable until its first poll, and the first datagram would be lost.
                let sent =
                    self.udp.get(*socket).map(|s| socket2::SockRef::from(s.as_ref()).send_to(&bytes, &(*peer).into()));
                match sent {
                    Some(Err(e)) if e.kind() == std::io::ErrorKind::WouldBlock => {
                        self.hub.shared.stats.send_errors.inc(); // the buffer is full: as if lost on the way
                        None
                    }
                    Some(Err(e)) => Some(e.to_string()),
                    _ => None,
                }
            }
            Some(Way::Stream { out, .. }) => {
                if out.try_send(bytes).is_err() {
                    self.hub.shared.stats.dropped_flows.inc();
                    self.closed(id);
                }
                None
            }
            None => {
                self.hub.shared.stats.send_errors.inc();
                None
            }
        };
        if let Some(why) = failed {
            self.endpoint.send_failed(now(), id, &why);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Response { id, result } => {
                if let Some(reply) = self.requests.remove(&id) {
                    let _ = reply.send(result);
                }
            }
            Event::WantsTcp { id, flow } => {
                let tcp = self.tcp_instead(&flow);
                self.endpoint.tcp_flow(now(), id, tcp.as_ref());
            }
            Event::Request { tx, flow, request } if self.scans(&flow, &request) => {
                self.endpoint.respond(now(), tx, request.respond(403));
            }
            Event::Invite { call, flow, request } if self.scans(&flow, &request) => {
                self.endpoint.reject(now(), call, 403, None);
            }
            Event::Request { tx, mut flow, request } => {
                self.profile_of_account(&mut flow, &request);
                self.request(tx, flow, request);
            }
            Event::Invite { call, mut flow, request } => {
                self.profile_of_account(&mut flow, &request);
                let (events, rx) = mpsc::channel(CALL_QUEUE);
                let handle = Call::new(call, rx, Sip { shared: self.hub.shared.clone() });
                self.calls.insert(call, events);
                let claimed = self.claims.iter().find(|(_, f, _)| f(&request, &flow));
                let refused = match claimed {
                    // A refused handle is dropped and would say 480: the answer here comes first.
                    None => Some((404, handle)),
                    Some((name, _, queue)) => match queue.try_send(Incoming::Invite { call: handle, flow, request }) {
                        Ok(()) => None,
                        Err(e) => {
                            tracing::warn!(claim = %name, "a call is refused: the queue is full or gone");
                            match e.into_inner() {
                                Incoming::Invite { call, .. } => Some((503, call)),
                                Incoming::Request { .. } => None,
                            }
                        }
                    },
                };
                if let Some((code, handle)) = refused {
                    if code == 503 {
                        self.hub.shared.stats.refused_overload.inc();
                    }
                    match self.endpoint.call_invite(call).filter(|_| code == 503) {
                        Some(busy) => {
                            let busy = busy.respond(503).with("Retry-After", "5");
                            self.endpoint.reject_with(now(), call, busy);
                        }
                        None => self.endpoint.reject(now(), call, code, None),
                    }
                    drop(handle);
                }
            }
            Event::Call { call, event } => self.call_event(call, event),
        }
    }

    /// An account that is configured to be behind a slow link brings its profile along, wherever it comes from. Whoever
    /// merely names it slows down the timers of his own flow and nothing else.
    fn profile_of_account(&self, flow: &mut Flow, request: &Request) {
        let Some(profile) = request.from().and_then(|from| (self.account_profile)(from.uri.user())) else { return };
        if flow.profile != profile {
            flow.profile = profile;
            if let Some(mut known) = self.hub.shared.flows.get_mut(&flow.id) {
                known.profile = profile;
            }
        }
    }

    fn request(&mut self, tx: TxId, flow: Flow, request: Request) {
        let claimed = self.claims.iter().find(|(_, f, _)| f(&request, &flow));
        let answer = match claimed {
            Some((name, _, queue)) => match queue.try_send(Incoming::Request { tx, flow, request }) {
                Ok(()) => return,
                Err(e) => {
                    tracing::warn!(claim = %name, "a request is refused: the queue is full or gone");
                    self.hub.shared.stats.refused_overload.inc();
                    match e.into_inner() {
                        Incoming::Request { request, .. } => request.respond(503).with("Retry-After", "5"),
                        Incoming::Invite { .. } => return,
                    }
                }
            },
            None => unclaimed(&request),
        };
        self.endpoint.respond(now(), tx, answer);
    }

    fn call_event(&mut self, call: CallId, event: CallEvent) {
        let last = matches!(event, CallEvent::Ended(_));
        let Some(events) = self.calls.get(&call) else { return };
        let scarce = events.capacity() < CALL_QUEUE / 4;
        match event {
            CallEvent::Request { tx, request } if scarce => {
                self.hub.shared.stats.refused_overload.inc();
                self.endpoint.respond(now(), tx, request.respond(503).with("Retry-After", "2"));
            }
            CallEvent::Progress(_) if scarce => {}
            event => {
                if let Err(e) = events.try_send(event) {
                    // The handle is gone (its drop hangs up) or nobody listens any more: answer for it.
                    if let CallEvent::Request { tx, request } = e.into_inner() {
                        self.endpoint.respond(now(), tx, request.respond(481));
                    }
                }
            }
        }
        if last {
            self.calls.remove(&call);
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The answer to a request no bridge wants.
fn unclaimed(req: &Request) -> Response {
    match req.method {
        Method::Options => req.respond(200).with("Allow", ALLOW).with("Accept", "application/sdp"),
        Method::Register => req.respond(403),
        Method::Notify => req.respond(481),
        Method::Publish | Method::Refer | Method::Prack => req.respond(405).with("Allow", ALLOW),
        Method::Other(_) => req.respond(501).with("Allow", ALLOW),
        _ => req.respond(404),
    }
}
