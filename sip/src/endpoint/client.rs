//! Client transactions (RFC 3261 section 17.1, RFC 6026 section 7.2).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::server::{KEEP_ANSWERED, ROOM};
use super::{CallId, Endpoint, Event, LargeId, ReqId, Timer};
use crate::{
    auth::DigestClient,
    error::SipError,
    flow::{Flow, FlowId, Transport},
    message::{Request, Response},
    method::Method,
    uri::Via,
};

/// Who hears about the end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The program.
    Request(ReqId),
    /// The first INVITE of a call.
    Invite(CallId),
    /// A request inside a call.
    InCall(CallId, ReqId),
    /// Nobody (CANCEL, BYE).
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Calling or Trying: nothing heard.
    Calling,
    Proceeding,
    Completed,
    /// INVITE with a 2xx (RFC 6026).
    Accepted,
}

#[derive(Debug)]
pub(super) struct ClientTx {
    key: (String, Method),
    pub flow: Flow,
    pub request: Request,
    bytes: Bytes,
    ack: Option<Bytes>,
    state: State,
    interval: Duration,
    owner: Owner,
    creds: Option<DigestClient>,
    /// Challenges answered so far.
    tries: u8,
    way: Way,
}

impl ClientTx {
    /// The flows it uses or may go back to.
    pub fn flows(&self) -> impl Iterator<Item = FlowId> {
        let back = match &self.way {
            Way::Tcp(udp) => Some(udp.id),
            _ => None,
        };
        std::iter::once(self.flow.id).chain(back)
    }
}

/// Whether a request left its UDP flow for its size.
#[derive(Debug)]
enum Way {
    Usual,
    /// [`Event::WantsTcp`] was told; nothing is sent yet.
    Asked,
    /// On a TCP flow; this is the UDP one.
    Tcp(Box<Flow>),
}

impl Endpoint {
    /// Gives the request a Via and sends it. A CANCEL keeps the branch it brings.
    pub(super) fn client_start(
        &mut self,
        now: Instant,
        flow: &Flow,
        mut request: Request,
        owner: Owner,
        creds: Option<DigestClient>,
    ) -> Result<u64, SipError> {
        if self.clients.len() >= self.config.limits.max_client_transactions / 5 * 4 {
            self.clients_make_room(now);
        }
        if self.clients.len() >= self.config.limits.max_client_transactions && owner != Owner::Nobody {
            return Err(SipError::Overloaded("client transactions"));
        }
        let branch = match (&request.method, request.top_via()) {
            (Method::Cancel, Some(via)) => via.branch().unwrap_or_default().to_owned(),
            _ => self.put_via(flow, &mut request),
        };
        let id = self.id();
        let key = (branch, request.method.clone());
        let bytes = request.to_bytes();
        self.stats.request(false, &request.method);
        let t = flow.profile;
        // A CANCEL follows its INVITE.
        let large = self.config.large_over_tcp
            && flow.transport == Transport::Udp
            && bytes.len() > t.mtu
            && request.method != Method::Cancel;
        if large {
            self.emit(Event::WantsTcp { id: LargeId(id), flow: flow.clone() });
        } else {
            self.transmit(flow, bytes.clone());
            if !flow.transport.is_reliable() {
                self.timers.set(Timer::ClientRepeat(id), now + t.t1);
            }
        }
        self.timers.set(Timer::ClientGiveUp(id), now + t.t1x64());
        self.client_keys.insert(key.clone(), id);
        let tx = ClientTx {
            key,
            flow: flow.clone(),
            request,
            bytes,
            ack: None,
            state: State::Calling,
            interval: t.t1,
            owner,
            creds,
            tries: 0,
            way: if large { Way::Asked } else { Way::Usual },
        };
        self.clients.insert(id, Box::new(tx));
        Ok(id)
    }

    /// The answer to [`Event::WantsTcp`]: the flow to use (its connection may still be opening), or `None` when there is
    /// none; then the request goes over UDP after all. Should the connection fail to open, [`Endpoint::flow_refused`]
    /// brings it back to UDP as well.
    pub fn tcp_flow(&mut self, now: Instant, id: LargeId, tcp: Option<&Flow>) {
        let Some(tx) = self.clients.get_mut(&id.0).filter(|tx| matches!(tx.way, Way::Asked)) else { return };
        let udp = tx.flow.clone();
        match tcp {
            Some(tcp) => {
                tx.way = Way::Tcp(Box::new(udp));
                self.client_move(now, id.0, tcp);
            }
            None => {
                tx.way = Way::Usual;
                self.client_move(now, id.0, &udp);
            }
        }
    }

    /// Sends a request by another flow, as a transaction of its own for the peer: the Via names the transport.
    fn client_move(&mut self, now: Instant, id: u64, flow: &Flow) {
        let Some(mut request) = self.clients.get(&id).map(|tx| tx.request.clone()) else { return };
        let branch = self.put_via(flow, &mut request);
        let Some(tx) = self.clients.get_mut(&id) else { return };
        self.client_keys.remove(&tx.key);
        tx.key.0 = branch;
        self.client_keys.insert(tx.key.clone(), id);
        tx.flow = flow.clone();
        tx.bytes = request.to_bytes();
        tx.request = request;
        tx.interval = flow.profile.t1;
        let bytes = tx.bytes.clone();
        if flow.transport.is_reliable() {
            self.timers.cancel(Timer::ClientRepeat(id));
        } else {
            self.timers.set(Timer::ClientRepeat(id), now + flow.profile.t1);
        }
        self.timers.set(Timer::ClientGiveUp(id), now + flow.profile.t1x64());
        self.transmit(flow, bytes);
    }

    pub(super) fn clients_fall_back(&mut self, now: Instant, tcp: FlowId) {
        let mut hit: Vec<(u64, Flow)> = self
            .clients
            .iter_mut()
            .filter(|(_, tx)| tx.flow.id == tcp && tx.state == State::Calling)
            .filter_map(|(id, tx)| match std::mem::replace(&mut tx.way, Way::Usual) {
                Way::Tcp(udp) => Some((*id, *udp)),
                _ => None,
            })
            .collect();
        hit.sort_unstable_by_key(|(id, _)| *id);
        for (id, udp) in hit {
            self.client_move(now, id, &udp);
        }
    }

    /// Puts our one Via on a request and gives back its branch.
    pub(super) fn put_via(&mut self, flow: &Flow, request: &mut Request) -> String {
        let own = self.own_address(flow);
        let branch = format!("z9hG4bK{}", self.token(10));
        let via = Via {
            transport: flow.transport.as_str().to_owned(),
            host: own.ip().to_string(),
            port: Some(own.port()).filter(|p| *p != 0),
            params: vec![("rport".into(), None), ("branch".into(), Some(branch.clone()))],
        };
        request.headers.remove("Via");
        request.headers.push_front("Via", via.to_string());
        branch
    }

    pub(super) fn client_repeat(&mut self, now: Instant, id: u64) {
        let Some(tx) = self.clients.get_mut(&id) else { return };
        let t2 = tx.flow.profile.t2;
        match tx.state {
            State::Calling if tx.request.method == Method::Invite => tx.interval *= 2,
            State::Calling => tx.interval = (tx.interval * 2).min(t2),
            State::Proceeding if tx.request.method != Method::Invite => tx.interval = t2,
            _ => return,
        }
        let (at, flow, bytes) = (now + tx.interval, tx.flow.clone(), tx.bytes.clone());
        self.timers.set(Timer::ClientRepeat(id), at);
        self.stats.retransmits_out.inc();
        self.transmit(&flow, bytes);
    }

    /// Forgets INVITEs that were answered longest ago: what is repeated comes within the first seconds.
    fn clients_make_room(&mut self, now: Instant) {
        for _ in 0..ROOM {
            match self.settled.front().copied() {
                Some((id, answered)) if now.saturating_duration_since(answered) >= KEEP_ANSWERED => {
                    self.client_drop(id)
                }
                _ => return,
            }
        }
    }

    pub(super) fn client_drop(&mut self, id: u64) {
        if let Some(tx) = self.clients.remove(&id) {
            while self.settled.front().is_some_and(|(first, _)| !self.clients.contains_key(first)) {
                self.settled.pop_front();
            }
            self.client_keys.remove(&tx.key);
            for t in [Timer::ClientRepeat(id), Timer::ClientGiveUp(id), Timer::ClientKill(id)] {
                self.timers.cancel(t);
            }
        }
    }

    /// Timer B or F, or the flow failed.
    pub(super) fn client_failed(&mut self, now: Instant, id: u64, why: SipError) {
        let Some(tx) = self.clients.get(&id) else { return };
        let (owner, method) = (tx.owner, tx.request.method.clone());
        if why == SipError::Timeout {
            self.stats.timeouts.inc();
        }
        self.client_drop(id);
        self.client_ended(now, owner, &method, Err(why));
    }

    pub(super) fn clients_failed(&mut self, now: Instant, flow: FlowId, why: &SipError) {
        let waiting = |tx: &ClientTx| match why {
            SipError::FlowClosed => matches!(tx.state, State::Calling | State::Proceeding),
            _ => tx.state == State::Calling,
        };
        let mut hit: Vec<u64> =
            self.clients.iter().filter(|(_, tx)| tx.flow.id == flow && waiting(tx)).map(|(id, _)| *id).collect();
        hit.sort_unstable();
        for id in hit {
            self.client_failed(now, id, why.clone());
        }
    }

    fn client_ended(&mut self, now: Instant, owner: Owner, method: &Method, result: Result<Response, SipError>) {
        match owner {
            Owner::Request(id) => self.emit(Event::Response { id, result }),
            Owner::Invite(call) => match result {
                Ok(resp) => self.uac_final(now, call, resp),
                Err(why) => self.uac_failed(now, call, why),
            },
            Owner::InCall(call, id) => self.call_request_ended(now, call, id, method, result),
            Owner::Nobody => {}
        }
    }

    /// A response from the wire.
    pub(super) fn on_response(&mut self, now: Instant, flow: &Flow, resp: Response) {
        let found = match (resp.top_via(), resp.cseq()) {
            (Some(via), Some((_, method))) => {
                via.branch().and_then(|b| self.client_keys.get(&(b.to_owned(), method))).copied()
            }
            _ => None,
        };
        let Some(id) = found else {
            self.stats.strays.inc();
            return;
        };
        let Some(tx) = self.clients.get_mut(&id) else { return };
        if tx.request.call_id() != resp.call_id() {
            self.stats.invalid.inc();
            return;
        }
        let (t, reliable) = (tx.flow.profile, tx.flow.transport.is_reliable());
        let (state, owner, method) = (tx.state, tx.owner, tx.request.method.clone());
        if method != Method::Invite {
            if !matches!(state, State::Calling | State::Proceeding) {
                return;
            }
            if resp.is_provisional() {
                tx.state = State::Proceeding;
                return;
            }
            tx.state = State::Completed;
            self.timers.cancel(Timer::ClientRepeat(id));
            self.timers.cancel(Timer::ClientGiveUp(id));
            if self.client_authenticate(now, id, &resp) {
                return;
            }
            if reliable {
                self.client_drop(id);
            } else {
                self.timers.set(Timer::ClientKill(id), now + t.t4);
            }
            self.client_ended(now, owner, &method, Ok(resp));
            return;
        }
        match (state, resp.code) {
            (State::Calling | State::Proceeding, 100..=199) => {
                tx.state = State::Proceeding;
                self.timers.cancel(Timer::ClientRepeat(id));
                self.timers.cancel(Timer::ClientGiveUp(id));
                if let Owner::Invite(call) = owner {
                    self.uac_provisional(now, call, resp);
                } else {
                    // A re-INVITE in Proceeding has no timer of its own: 64*T1 more.
                    self.timers.set(Timer::ClientGiveUp(id), now + t.t1x64());
                }
            }
            (State::Calling | State::Proceeding, 200..=299) => {
                tx.state = State::Accepted;
                self.timers.cancel(Timer::ClientRepeat(id));
                self.timers.cancel(Timer::ClientGiveUp(id));
                self.timers.set(Timer::ClientKill(id), now + t.t1x64());
                self.settled.push_back((id, now));
                self.client_ended(now, owner, &method, Ok(resp));
            }
            (State::Accepted, 200..=299) => match owner {
                Owner::Invite(call) => self.uac_final(now, call, resp),
                Owner::InCall(call, _) => self.call_ack_again(now, call, &resp),
                _ => {}
            },
            (State::Calling | State::Proceeding, 300..) => {
                tx.state = State::Completed;
                let ack = ack_for(&tx.request, &resp).to_bytes();
                tx.ack = Some(ack.clone());
                let own_flow = tx.flow.clone();
                self.timers.cancel(Timer::ClientRepeat(id));
                self.timers.cancel(Timer::ClientGiveUp(id));
                self.stats.request(false, &Method::Ack);
                self.transmit(&own_flow, ack);
                if self.client_authenticate(now, id, &resp) {
                    return;
                }
                let wait = if reliable { Duration::ZERO } else { t.t1x64().max(Duration::from_secs(32)) };
                self.timers.set(Timer::ClientKill(id), now + wait);
                self.client_ended(now, owner, &method, Ok(resp));
            }
            (State::Completed, 300..) => {
                if let Some(ack) = tx.ack.clone() {
                    self.stats.retransmits_out.inc();
                    self.transmit(flow, ack);
                }
            }
            _ => {}
        }
    }

    /// Answers a 401 or 407 once, as a new transaction with the next CSeq and the same owner.
    fn client_authenticate(&mut self, now: Instant, id: u64, resp: &Response) -> bool {
        if !matches!(resp.code, 401 | 407) {
            return false;
        }
        let Some(tx) = self.clients.get_mut(&id) else { return false };
        let stale = resp
            .headers
            .get_all("WWW-Authenticate")
            .chain(resp.headers.get_all("Proxy-Authenticate"))
            .any(|v| v.to_ascii_lowercase().replace(['"', ' '], "").contains("stale=true"));
        let tries = tx.tries + 1;
        if tries > 2 || (tries == 2 && !stale) {
            return false;
        }
        let Some(mut creds) = tx.creds.take() else { return false };
        let (mut request, flow, owner) = (tx.request.clone(), tx.flow.clone(), tx.owner);
        let cnonce = self.token(8);
        if creds.answer_with(&mut request, resp, &cnonce).is_err() {
            return false;
        }
        let Some((cseq, method)) = request.cseq() else { return false };
        let next = match owner {
            Owner::InCall(call, _) => self.call_next_seq(call),
            _ => None,
        };
        request.headers.set("CSeq", format!("{} {method}", next.unwrap_or(cseq.saturating_add(1))));
        if let Owner::Invite(call) = owner
            && !self.uac_retry(call, &request)
        {
            return false;
        }
        let Ok(new) = self.client_start(now, &flow, request, owner, Some(creds)) else { return false };
        if let Some(tx) = self.clients.get_mut(&new) {
            tx.tries = tries;
        }
        self.client_kill_soon(now, id);
        if let Owner::Invite(call) = owner {
            self.uac_retried(now, call, new);
        }
        true
    }

    fn client_kill_soon(&mut self, now: Instant, id: u64) {
        let Some(tx) = self.clients.get(&id) else { return };
        let t = tx.flow.profile;
        let wait = match (tx.flow.transport.is_reliable(), &tx.request.method) {
            (true, _) => Duration::ZERO,
            (false, Method::Invite) => t.t1x64().max(Duration::from_secs(32)),
            (false, _) => t.t4,
        };
        self.timers.set(Timer::ClientKill(id), now + wait);
    }

    /// The CANCEL of a pending INVITE (section 9.1).
    pub(super) fn client_cancel(&mut self, now: Instant, id: u64, extra: &crate::headers::Headers) {
        let Some(tx) = self.clients.get(&id).filter(|tx| tx.state == State::Proceeding) else { return };
        let mut cancel = Request::new(Method::Cancel, tx.request.uri.clone());
        copy_for_hop(&tx.request, &mut cancel);
        if let Some(to) = tx.request.headers.get("To") {
            cancel.headers.push("To", to);
        }
        for (name, value) in extra.iter() {
            cancel.headers.push(name, value);
        }
        let flow = tx.flow.clone();
        let _ = self.client_start(now, &flow, cancel, Owner::Nobody, None);
    }

    /// True while no 1xx came.
    pub(super) fn client_is_calling(&self, id: u64) -> bool {
        self.clients.get(&id).is_some_and(|tx| tx.state == State::Calling)
    }

    pub(super) fn client_is_pending(&self, id: u64) -> bool {
        self.clients.get(&id).is_some_and(|tx| matches!(tx.state, State::Calling | State::Proceeding))
    }
}

/// Via (the top one), From, Call-ID, CSeq number, Route, Max-Forwards: what ACK and CANCEL share with their INVITE.
fn copy_for_hop(invite: &Request, out: &mut Request) {
    for name in ["Via", "Route", "From", "Call-ID"] {
        for value in invite.headers.get_all(name) {
            out.headers.push(name, value);
        }
    }
    let number = invite.cseq().map_or(1, |c| c.0);
    out.headers.push("CSeq", format!("{number} {}", out.method));
    out.headers.push("Max-Forwards", "70");
}

/// The ACK to a 3xx-6xx (section 17.1.1.3).
fn ack_for(invite: &Request, resp: &Response) -> Request {
    let mut ack = Request::new(Method::Ack, invite.uri.clone());
    copy_for_hop(invite, &mut ack);
    if let Some(to) = resp.headers.get("To") {
        ack.headers.push("To", to);
    }
    ack
}
