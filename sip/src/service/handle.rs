//! What the rest of the program holds: [`Sip`], [`Call`], [`Incoming`].

use std::{net::SocketAddr, ops::Deref, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{Shared, net::Input};
use crate::{
    auth::DigestClient,
    endpoint::{CallEvent, CallId, TxId, contact_uri},
    error::SipError,
    flow::{Flow, FlowId, Target, Transport},
    headers::Headers,
    limits::Limits,
    message::{Request, Response},
    stats::Stats,
    stream::{Frame, websocket_frame},
    uri::Uri,
};

type Reply<T> = oneshot::Sender<Result<T, SipError>>;

/// An order to the service's task.
pub(crate) enum Order {
    Request {
        target: Target,
        req: Box<Request>,
        creds: Option<DigestClient>,
        reply: Reply<Response>,
    },
    Respond {
        tx: TxId,
        resp: Box<Response>,
    },
    Invite {
        target: Target,
        req: Box<Request>,
        creds: Option<DigestClient>,
        /// How long to wait for a first answer.
        patience: Option<Duration>,
        /// A call that nobody takes any more hangs up when it is dropped.
        reply: Reply<Call>,
    },
    Ring {
        call: CallId,
        code: u16,
        body: Option<(String, Bytes)>,
        extra: Headers,
    },
    Accept {
        call: CallId,
        content_type: String,
        body: Bytes,
        extra: Headers,
    },
    Reject {
        call: CallId,
        code: u16,
        reason: String,
    },
    RejectWith {
        call: CallId,
        resp: Box<Response>,
    },
    Bye {
        call: CallId,
        headers: Headers,
    },
    Cancel {
        call: CallId,
    },
    AckBody {
        call: CallId,
        content_type: String,
        body: Bytes,
    },
    CallRequest {
        call: CallId,
        req: Box<Request>,
        reply: Reply<Response>,
    },
    Rebind {
        call: CallId,
        flow: FlowId,
    },
    Attach {
        flow: Flow,
        reply: Reply<Pipe>,
    },
}

/// A request or call of a peer, as claimed with [`super::Service::claim`].
#[derive(Debug)]
pub enum Incoming {
    /// Answer it with [`Sip::respond`] within 64*T1.
    Request { tx: TxId, flow: Flow, request: Request },
    /// A call; dropping `call` without an answer rejects it with 480.
    Invite { call: Call, flow: Flow, request: Request },
}

/// The handle to the SIP service: cheap to clone, good from every task. Orders go by a bounded queue (16,384) to the
/// one task that owns the endpoint; the functions that are not async never wait, and count into
/// [`Stats::commands_lost`] should that queue be full.
#[derive(Clone)]
pub struct Sip {
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Sip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sip")
    }
}

impl Sip {
    pub(crate) fn order(&self, order: Order) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.shared.orders.try_send(order) {
            self.shared.stats.commands_lost.inc();
            tracing::error!("the SIP service's queue is full: an order is lost");
        }
    }

    /// Shows every message that is sent or received from now on, until the tap is dropped. `look` runs on the task that owns all
    /// signalling: it must not wait. Messages over TLS are shown in the clear.
    pub fn tap(&self, look: Arc<dyn Fn(&super::Tapped<'_>) + Send + Sync>) -> super::Tap {
        self.shared.taps.add(look)
    }

    async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Order) -> Result<T, SipError> {
        let (reply, answer) = oneshot::channel();
        self.shared.orders.send(make(reply)).await.map_err(|_| SipError::Stopped)?;
        answer.await.map_err(|_| SipError::Stopped)?
    }

    /// Sends a request outside of any call and waits for its final response (any code) or the timeout of 64*T1.
    /// Via, Max-Forwards and Content-Length are set; From and its tag, To, Call-ID, CSeq filled in where missing.
    pub async fn request(&self, target: Target, req: Request) -> Result<Response, SipError> {
        self.ask(|reply| Order::Request { target, req: Box::new(req), creds: None, reply }).await
    }

    /// As [`Sip::request`], answering a 401 or 407 with these credentials once (once more when stale).
    pub async fn request_as(&self, target: Target, req: Request, creds: DigestClient) -> Result<Response, SipError> {
        self.ask(|reply| Order::Request { target, req: Box::new(req), creds: Some(creds), reply }).await
    }

    /// Answers a request of a peer. Only the first final answer counts.
    pub fn respond(&self, tx: TxId, resp: Response) {
        self.order(Order::Respond { tx, resp: Box::new(resp) });
    }

    /// Calls a peer. The handle comes at once, the rest as [`CallEvent`]s. From, To, Contact and the body are the
    /// caller's, missing headers are filled in.
    pub async fn invite(&self, target: Target, req: Request) -> Result<Call, SipError> {
        self.call_peer(target, req, None, None).await
    }

    /// As [`Sip::invite`], answering a 401 or 407 with these credentials, also inside the call.
    pub async fn invite_as(&self, target: Target, req: Request, creds: DigestClient) -> Result<Call, SipError> {
        self.call_peer(target, req, Some(creds), None).await
    }

    /// As [`Sip::invite`] or [`Sip::invite_as`]; ends as a timeout when not even a 100 comes within `patience`, for askers that
    /// have another way. Who answers after that gets CANCEL, or ACK and BYE.
    pub async fn invite_within(
        &self,
        target: Target,
        req: Request,
        creds: Option<DigestClient>,
        patience: Duration,
    ) -> Result<Call, SipError> {
        self.call_peer(target, req, creds, Some(patience)).await
    }

    async fn call_peer(
        &self,
        target: Target,
        req: Request,
        creds: Option<DigestClient>,
        patience: Option<Duration>,
    ) -> Result<Call, SipError> {
        self.ask(|reply| Order::Invite { target, req: Box::new(req), creds, patience, reply }).await
    }

    /// A flow by its id; `None` when its connection is gone.
    pub fn flow(&self, id: FlowId) -> Option<Flow> {
        self.shared.flows.get(&id).map(|f| f.clone())
    }

    /// Number of flows.
    pub fn flow_count(&self) -> usize {
        self.shared.flows.len()
    }

    /// The address of ours that this peer reaches us by (for Contact, and the host for SDP).
    pub fn local_address(&self, target: &Target) -> SocketAddr {
        self.local(target).1
    }

    fn local(&self, target: &Target) -> (Transport, SocketAddr) {
        let listening = &self.shared.listening;
        let (transport, own) = match target {
            Target::Flow(id) => match self.flow(*id) {
                Some(flow) => (flow.transport, flow.local),
                None => (Transport::Udp, listening.udp.first().copied().unwrap_or(([127, 0, 0, 1], 5060).into())),
            },
            Target::Address(transport, peer) => (*transport, listening.towards(*transport, *peer).0),
        };
        // What is told to peers of IPv4 is of no use to those of IPv6.
        let told = listening.advertised.filter(|told| told.is_ipv4() == own.is_ipv4());
        (transport, SocketAddr::new(told.unwrap_or(own.ip()), own.port()))
    }

    /// A Contact by which this peer reaches us: `sip:user@ip:port`, with `;transport=` for all but UDP.
    pub fn local_contact(&self, target: &Target, user: &str) -> Uri {
        let (transport, own) = self.local(target);
        contact_uri(own, transport, user)
    }

    /// The UDP, TCP and TLS addresses in use (with the real ports where 0 was asked for).
    pub fn listening(&self) -> (&[SocketAddr], &[SocketAddr], &[SocketAddr]) {
        let l = &self.shared.listening;
        (&l.udp, &l.tcp, &l.tls)
    }

    /// Who is shut out: bridges report offences to it.
    pub fn guard(&self) -> &Arc<crate::Guard> {
        &self.shared.guard
    }

    /// Says that this account was at this UDP address before a restart: what is sent there has the account's link profile from
    /// the beginning. At most 100,000.
    pub fn remember(&self, peer: SocketAddr, account: &str) {
        if self.shared.remembered.len() < 100_000 {
            self.shared.remembered.insert(peer, account.to_owned());
        }
    }

    /// Where the servers of a host are (RFC 3263), in the order in which they are to be tried: NAPTR and SRV where neither
    /// port nor address is given. An address needs no DNS. Answers are cached by their TTL. At most 16.
    pub async fn locate(
        &self,
        host: &str,
        port: Option<u16>,
        transport: Option<Transport>,
    ) -> Result<super::Located, SipError> {
        if let Some(located) = super::dns::literal(host, port, transport) {
            return Ok(located);
        }
        self.shared.dns()?.locate(host, port, transport, &[Transport::Udp, Transport::Tcp, Transport::Tls]).await
    }

    /// The name that the TLS certificate of the peer at this address must bear (RFC 5922 section 7); without one it must bear
    /// the address. Counts for connections of ours that are opened from now on. At most 1024 are kept.
    pub fn expect_tls_name(&self, peer: SocketAddr, name: &str) {
        let names = &self.shared.tls_names;
        if names.len() < MOST_TLS_NAMES || names.contains_key(&peer) {
            names.insert(peer, name.to_owned());
        }
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Adds a connection that is served elsewhere: a WebSocket under the console's port (RFC 7118). Each message of
    /// the peer goes into [`Pipe::incoming`], each of [`Pipe::outgoing`] goes to the peer; when that ends, the connection
    /// must be closed. `local` may have an unspecified IP: the one towards the peer is told then. Errors: `Overloaded`
    /// when this source or all together have as many connections as they may.
    pub async fn attach(
        &self,
        transport: Transport,
        mut local: SocketAddr,
        peer: SocketAddr,
    ) -> Result<Pipe, SipError> {
        if local.ip().is_unspecified() {
            local.set_ip(super::net::kernel_address(peer).unwrap_or(local.ip()));
        }
        if self.shared.guard.drops(std::time::Instant::now(), peer.ip()) {
            return Err(SipError::Overloaded("this address is shut out"));
        }
        let flow = Flow { id: self.shared.flow_id(), transport, local, peer, profile: Default::default() };
        self.ask(|reply| Order::Attach { flow, reply }).await
    }
}

/// Addresses whose names are remembered for TLS.
const MOST_TLS_NAMES: usize = 1024;

/// Bytes of the largest WebSocket message.
const MAX_WEBSOCKET: usize = 64 * 1024;

/// Both ends of a connection added with [`Sip::attach`]. Dropping it closes the flow.
#[derive(Debug)]
pub struct Pipe {
    pub flow: Flow,
    /// Whole messages for the peer.
    pub outgoing: mpsc::Receiver<Bytes>,
    pub incoming: PipeIn,
}

/// The way in of a [`Pipe`].
#[derive(Clone)]
pub struct PipeIn {
    pub(super) flow: FlowId,
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) shared: Arc<Shared>,
    pub(super) limits: Arc<Limits>,
}

impl std::fmt::Debug for PipeIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PipeIn").field(&self.flow).finish()
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Input")
    }
}

impl PipeIn {
    /// Gives one WebSocket message of the peer to the service; waits while it is busy. Gives back what is to be answered
    /// at once: a CRLF to a keepalive (RFC 5626 section 3.5.1). Errors mean that the connection must be closed: `Invalid`
    /// for what is above the limits or not one SIP message, `Stopped` when the service is.
    pub async fn push(&self, data: Bytes) -> Result<Option<Bytes>, SipError> {
        match websocket_frame(&data, &self.limits) {
            Ok(None) => Ok(None),
            Ok(Some(Frame::Ping)) => Ok(Some(Bytes::from_static(b"\r\n"))),
            Ok(Some(Frame::Message(data))) => {
                let sent = self.inputs.send(Input::Message { flow: self.flow, data }).await;
                sent.map(|()| None).map_err(|_| SipError::Stopped)
            }
            Err(why) => {
                self.shared.stats.parse_errors.inc();
                tracing::warn!(flow = self.flow.0, error = %why, "SIP over WebSocket closed");
                Err(SipError::Invalid("not one SIP message within the limits"))
            }
        }
    }

    /// The most bytes that a WebSocket message may have: as a datagram, 64 KiB. Whoever finds the page may open a connection,
    /// and what is not whole yet is held for each.
    pub fn max_message(&self) -> usize {
        self.limits.max_message().min(MAX_WEBSOCKET)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let inputs = self.incoming.inputs.clone();
        // A full queue must not leave the flow in the tables for good.
        if let Err(mpsc::error::TrySendError::Full(closed)) = inputs.try_send(Input::Closed { flow: self.flow.id })
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                let _ = inputs.send(closed).await;
            });
        }
    }
}

/// Orders to one call, from any task. Dropping it does nothing; the [`Call`] itself is what holds the call.
#[derive(Clone, Debug)]
pub struct CallHandle {
    id: CallId,
    sip: Sip,
}

impl CallHandle {
    /// The call's name.
    pub fn id(&self) -> CallId {
        self.id
    }

    /// Sends a provisional answer (101 to 199), with early media where there is a body.
    pub fn ring(&self, code: u16, body: Option<(&str, Bytes)>) {
        self.ring_with(code, body, Headers::new());
    }

    /// As [`CallHandle::ring`] with more headers.
    pub fn ring_with(&self, code: u16, body: Option<(&str, Bytes)>, extra: Headers) {
        let body = body.map(|(t, b)| (t.to_owned(), b));
        self.sip.order(Order::Ring { call: self.id, code, body, extra });
    }

    /// Answers 200 with this body (none when empty) and headers.
    pub fn accept(&self, content_type: &str, body: impl Into<Bytes>, extra: Headers) {
        self.sip.order(Order::Accept {
            call: self.id,
            content_type: content_type.to_owned(),
            body: body.into(),
            extra,
        });
    }

    /// Refuses with 300 to 699; an empty reason gives the standard phrase.
    pub fn reject(&self, code: u16, reason: &str) {
        self.sip.order(Order::Reject { call: self.id, code, reason: reason.to_owned() });
    }

    /// Refuses with a whole response (302 with Contact, 401 of [`crate::DigestServer::challenge`]).
    pub fn reject_with(&self, resp: Response) {
        self.sip.order(Order::RejectWith { call: self.id, resp: Box::new(resp) });
    }

    /// Hangs up in any state. [`CallEvent::Ended`] follows at once.
    pub fn bye(&self) {
        self.bye_with(Headers::new());
    }

    /// As [`Self::bye`], with further headers in the BYE or CANCEL, such as Reason (RFC 3326).
    pub fn bye_with(&self, headers: Headers) {
        self.sip.order(Order::Bye { call: self.id, headers });
    }

    /// Gives up a call that is not answered; hangs up one that is.
    pub fn cancel(&self) {
        self.sip.order(Order::Cancel { call: self.id });
    }

    /// The body of the next ACK. Needed (within 64*T1) when our INVITE had no body and the 2xx has one.
    pub fn ack_body(&self, content_type: &str, body: impl Into<Bytes>) {
        self.sip.order(Order::AckBody { call: self.id, content_type: content_type.to_owned(), body: body.into() });
    }

    /// Sends a request inside the call (INFO, MESSAGE, UPDATE, re-INVITE, ...) and waits for its final response. Only
    /// method, body and own headers of `req` count; its URI is replaced.
    pub async fn send(&self, req: Request) -> Result<Response, SipError> {
        self.sip.ask(|reply| Order::CallRequest { call: self.id, req: Box::new(req), reply }).await
    }

    /// Answers a [`CallEvent::Request`].
    pub fn respond(&self, tx: TxId, resp: Response) {
        self.sip.respond(tx, resp);
    }

    /// Moves the call to another flow of the same peer.
    pub fn rebind(&self, flow: FlowId) {
        self.sip.order(Order::Rebind { call: self.id, flow });
    }
}

/// One call, ours or a peer's. Orders are those of [`CallHandle`] (clone it with [`Call::handle`] for other tasks).
/// Dropping a live call hangs it up: CANCEL, 480 or BYE as its state wants.
#[derive(Debug)]
pub struct Call {
    handle: CallHandle,
    events: mpsc::Receiver<CallEvent>,
    ended: bool,
}

impl Call {
    pub(super) fn new(id: CallId, events: mpsc::Receiver<CallEvent>, sip: Sip) -> Call {
        Call { handle: CallHandle { id, sip }, events, ended: false }
    }

    /// The next event; `None` after [`CallEvent::Ended`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<CallEvent> {
        if self.ended {
            return None;
        }
        let event = self.events.recv().await;
        self.ended = matches!(event, None | Some(CallEvent::Ended(_)));
        event
    }

    /// A handle for another task.
    pub fn handle(&self) -> CallHandle {
        self.handle.clone()
    }
}

impl Deref for Call {
    type Target = CallHandle;

    fn deref(&self) -> &CallHandle {
        &self.handle
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.handle.bye();
        }
    }
}
