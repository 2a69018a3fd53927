//! Calls: what caller and callee share.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{CallId, Endpoint, Event, ReqId, Timer, TxId, client::Owner, reliable::Reliable};
use crate::{
    auth::DigestClient,
    dialog::{Dialog, DialogKey},
    error::SipError,
    flow::{Flow, FlowId},
    headers::Headers,
    message::{Request, Response},
    method::Method,
};

/// What happens in a call, in order. [`CallEvent::Ended`] is the last one, always.
#[derive(Clone, Debug)]
pub enum CallEvent {
    /// Our INVITE got a 101 to 199; 183 with SDP is early media.
    Progress(Response),
    /// Our INVITE got its 2xx. The ACK has been sent, except when the INVITE had no body and the 2xx has one: then it
    /// waits for `ack_body` (at most 64*T1).
    Answered(Response),
    /// The peer's ACK to our 2xx came (also after a re-INVITE); its body is the answer to a delayed offer.
    Confirmed(Request),
    /// A request in the call: INFO, MESSAGE, re-INVITE, UPDATE, NOTIFY, REFER, ... Answer it by `tx`.
    Request { tx: TxId, request: Request },
    /// The call is over; its handle is good for nothing more.
    Ended(EndReason),
}

/// Why a call ended.
#[derive(Clone, Debug)]
pub enum EndReason {
    /// The peer refused our INVITE (3xx to 6xx).
    Rejected(Response),
    /// The peer hung up.
    Bye(Request),
    /// No answer to our INVITE, no ACK to our 2xx, no final answer of ours within the ring time, or the peer did not
    /// answer a re-INVITE.
    Timeout,
    /// CANCEL, from either side.
    Cancelled,
    /// We hung up or rejected.
    LocalBye,
    /// The connection went and no other way to the peer is known.
    FlowClosed,
    /// Anything else.
    Error(SipError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Our INVITE waits.
    Calling,
    /// Their INVITE waits.
    Ringing,
    /// A 2xx was sent or got; media may flow.
    Live,
    /// Told to the program as ended; the endpoint finishes alone.
    Ending,
}

/// A 2xx of ours that is repeated until its ACK.
#[derive(Debug)]
pub(super) struct Unacked {
    pub bytes: Bytes,
    pub cseq: u32,
    pub interval: Duration,
}

#[derive(Debug)]
pub(super) struct Call {
    pub flow: Flow,
    /// The flow before the last change.
    pub previous: Option<Flow>,
    pub phase: Phase,
    pub caller: bool,
    pub local_tag: String,
    pub invite: Request,
    pub client: Option<u64>,
    pub server: Option<TxId>,
    pub dialog: Option<Dialog>,
    pub early: Vec<Dialog>,
    pub cancelling: bool,
    pub creds: Option<DigestClient>,
    pub unacked: Option<Unacked>,
    pub bye_wanted: bool,
    /// Further headers of our BYE or CANCEL, such as Reason (RFC 3326).
    pub bye_headers: Headers,
    pub provisional: Option<Response>,
    /// ACKs sent, by CSeq, for repeated 2xx; the last two.
    pub acks: Vec<(u32, Bytes)>,
    /// ACKs to other forks, by tag.
    pub forks: Vec<(String, Bytes)>,
    /// A 2xx whose ACK waits for its body.
    pub ack_held: Option<u32>,
    pub ack_body: Option<(String, Bytes)>,
    /// Our re-INVITE or UPDATE under way.
    pub offer_out: Option<(ReqId, Method)>,
    /// Their re-INVITE or UPDATE without final answer.
    pub offer_in: Option<TxId>,
    pub contact: String,
    pub reliable: Reliable,
    /// How long to wait for a first answer, until there is one.
    pub patience: Option<Duration>,
}

/// Forks and early dialogs of one INVITE that are followed.
pub(super) const MAX_FORKS: usize = 8;

/// Ended calls that are still known, for each that may stand.
const ENDED_PER_LIVE: usize = 3;

impl Call {
    pub fn new(flow: &Flow, invite: Request, caller: bool, local_tag: String, contact: String) -> Call {
        Call {
            flow: flow.clone(),
            previous: None,
            phase: if caller { Phase::Calling } else { Phase::Ringing },
            caller,
            local_tag,
            invite,
            client: None,
            server: None,
            dialog: None,
            early: Vec::new(),
            cancelling: false,
            creds: None,
            unacked: None,
            bye_wanted: false,
            bye_headers: Headers::new(),
            provisional: None,
            acks: Vec::new(),
            forks: Vec::new(),
            ack_held: None,
            ack_body: None,
            offer_out: None,
            offer_in: None,
            contact,
            reliable: Reliable::default(),
            patience: None,
        }
    }
}

impl Endpoint {
    /// The INVITE of a call.
    pub fn call_invite(&self, call: CallId) -> Option<&Request> {
        self.calls.get(&call).map(|c| &c.invite)
    }

    /// The flow of a call.
    pub fn call_flow(&self, call: CallId) -> Option<&Flow> {
        self.calls.get(&call).map(|c| &c.flow)
    }

    /// Tells the end once and leaves the rest to the timers.
    pub(super) fn call_end(&mut self, now: Instant, id: CallId, why: EndReason) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.phase == Phase::Ending {
            return;
        }
        call.phase = Phase::Ending;
        self.ending += 1;
        self.ended.push_back(id);
        let wait = call.flow.profile.t1x64() * 2;
        for t in [Timer::CallRing(id), Timer::CallProvisional(id)] {
            self.timers.cancel(t);
        }
        self.reliable_stop(id);
        self.timers.set(Timer::CallGone(id), now + wait);
        let mut waiting: Vec<ReqId> = self.waiting.iter().filter(|(_, w)| w.call == id).map(|(r, _)| *r).collect();
        waiting.sort_unstable();
        for r in waiting {
            self.waiting.remove(&r);
            self.timers.cancel(Timer::Again(r));
            self.emit(Event::Response { id: r, result: Err(SipError::UnknownCall) });
        }
        self.emit(Event::Call { call: id, event: CallEvent::Ended(why) });
        // They are known for 64 s, for what is repeated; when very many calls end, the oldest make room.
        while self.ending > self.config.limits.max_calls.saturating_mul(ENDED_PER_LIVE) {
            let Some(oldest) = self.ended.pop_front() else { break };
            self.call_drop(oldest);
        }
    }

    /// Calls that have not ended.
    pub(super) fn calls_live(&self) -> usize {
        self.calls.len().saturating_sub(self.ending)
    }

    /// Takes a call out of all tables.
    pub(super) fn call_drop(&mut self, id: CallId) {
        let Some(call) = self.calls.remove(&id) else { return };
        if call.phase == Phase::Ending {
            self.ending -= 1;
        }
        while self.ended.front().is_some_and(|first| !self.calls.contains_key(first)) {
            self.ended.pop_front();
        }
        for d in call.dialog.iter().chain(&call.early) {
            if self.dialogs.get(&d.key) == Some(&id) {
                self.dialogs.remove(&d.key);
            }
        }
        for t in [
            Timer::CallRepeat(id),
            Timer::CallAck(id),
            Timer::CallRing(id),
            Timer::CallProvisional(id),
            Timer::Reliable(id),
            Timer::ReliableEnd(id),
            Timer::CallGone(id),
        ] {
            self.timers.cancel(t);
        }
        if let Some(tx) = call.client
            && self.client_is_pending(tx)
        {
            self.client_drop(tx);
        }
        if let Some(tx) = call.server
            && self.server_is_open(tx)
        {
            self.server_drop(tx);
        }
    }

    pub(super) fn call_add_dialog(&mut self, id: CallId, key: DialogKey) {
        self.dialogs.insert(key, id);
    }

    /// As [`Self::bye`], with further headers in the BYE or CANCEL, such as Reason (RFC 3326).
    pub fn bye_with(&mut self, now: Instant, id: CallId, headers: Headers) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.bye_headers = headers;
        }
        self.bye(now, id);
    }

    /// Hangs up, whatever the state: CANCEL, reject, or BYE. [`CallEvent::Ended`] comes at once; the protocol is
    /// finished behind it.
    pub fn bye(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        match call.phase {
            Phase::Calling => self.cancel(now, id),
            Phase::Ringing => self.reject(now, id, 480, None),
            Phase::Live => {
                self.call_send_bye(now, id);
                self.call_end(now, id, EndReason::LocalBye);
            }
            Phase::Ending => {}
        }
    }

    /// Sends the BYE, or notes that it is due: a callee must wait for the ACK (section 15).
    pub(super) fn call_send_bye(&mut self, now: Instant, id: CallId) {
        if self.calls.get(&id).is_some_and(|c| c.ack_held.is_some()) {
            self.call_send_ack(id);
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.unacked.is_some() {
            call.bye_wanted = true;
            return;
        }
        call.bye_wanted = false;
        let (flow, creds) = (call.flow.clone(), call.creds.clone());
        let extra = std::mem::take(&mut call.bye_headers);
        let Some(mut bye) = call.dialog.as_mut().map(|d| d.request(Method::Bye)) else { return };
        for (name, value) in extra.iter() {
            bye.headers.push(name, value);
        }
        let bye = self.dressed(bye);
        let _ = self.client_start(now, &flow, bye, Owner::Nobody, creds);
    }

    /// Headers that every in-dialog request of ours has.
    pub(super) fn dressed(&self, mut req: Request) -> Request {
        req.headers.set_default("Max-Forwards", "70");
        if !self.config.user_agent.is_empty() {
            req.headers.set_default("User-Agent", &self.config.user_agent);
        }
        req
    }

    /// Sets the body of the next ACK, before or after [`CallEvent::Answered`]; a held ACK goes out now.
    pub fn ack_body(&mut self, _now: Instant, id: CallId, content_type: &str, body: Bytes) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.ack_body = Some((content_type.to_owned(), body));
        if call.ack_held.is_some() {
            self.call_send_ack(id);
        }
    }

    /// Sends the ACK that is held.
    pub(super) fn call_send_ack(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let (Some(cseq), Some(dialog)) = (call.ack_held.take(), call.dialog.as_ref()) else { return };
        let mut ack = dialog.ack(cseq);
        if let Some((content_type, body)) = call.ack_body.take() {
            ack.set_body(&content_type, body);
        }
        for name in ["Authorization", "Proxy-Authorization"] {
            if let Some(value) = call.invite.headers.get(name) {
                ack.headers.set(name, value); // section 22.1: the ACK carries the INVITE's credentials
            }
        }
        let flow = call.flow.clone();
        self.timers.cancel(Timer::CallAck(id));
        let bytes = self.ack_bytes(&flow, ack);
        if let Some(call) = self.calls.get_mut(&id) {
            call.acks.push((cseq, bytes.clone()));
            if call.acks.len() > 2 {
                call.acks.remove(0);
            }
        }
        self.transmit(&flow, bytes);
    }

    pub(super) fn ack_bytes(&mut self, flow: &Flow, ack: Request) -> Bytes {
        let mut ack = self.dressed(ack);
        self.put_via(flow, &mut ack);
        self.stats.request(false, &Method::Ack);
        ack.to_bytes()
    }

    /// A repeated 2xx in the call: the same ACK again.
    pub(super) fn call_ack_again(&mut self, _now: Instant, id: CallId, resp: &Response) {
        let Some(call) = self.calls.get(&id) else { return };
        let cseq = resp.cseq().map_or(0, |c| c.0);
        if let Some((_, bytes)) = call.acks.iter().find(|(n, _)| *n == cseq) {
            let (flow, bytes) = (call.flow.clone(), bytes.clone());
            self.stats.retransmits_out.inc();
            self.transmit(&flow, bytes);
        }
    }

    pub(super) fn calls_flow_closed(&mut self, now: Instant, flow: FlowId) {
        let mut hit: Vec<CallId> = Vec::new();
        for (id, call) in &mut self.calls {
            if call.previous.as_ref().is_some_and(|p| p.id == flow) {
                call.previous = None;
            }
            if call.flow.id == flow {
                match call.previous.take() {
                    Some(other) => call.flow = other,
                    None => hit.push(*id),
                }
            }
        }
        hit.sort_unstable();
        for id in hit {
            self.call_end(now, id, EndReason::FlowClosed);
            self.call_drop(id);
        }
    }

    /// Flows that calls and open transactions need.
    pub fn flows_in_use(&self) -> std::collections::HashSet<FlowId> {
        let calls =
            self.calls.values().flat_map(|c| std::iter::once(c.flow.id).chain(c.previous.as_ref().map(|p| p.id)));
        let transactions =
            self.clients.values().flat_map(|tx| tx.flows()).chain(self.servers.values().map(|t| t.flow.id));
        calls.chain(transactions).collect()
    }

    /// Moves a call to another flow of the same peer, e.g. when a device behind NAT came back on a new connection.
    pub fn call_rebind(&mut self, id: CallId, flow: &Flow) {
        if let Some(call) = self.calls.get_mut(&id).filter(|c| c.flow.id != flow.id) {
            call.previous = Some(std::mem::replace(&mut call.flow, flow.clone()));
        }
    }

    /// Ends all calls: for the service's stop.
    pub fn shutdown(&mut self, now: Instant) {
        let mut all: Vec<CallId> = self.calls.keys().copied().collect();
        all.sort_unstable();
        for id in all {
            self.bye(now, id);
        }
    }
}

/// Content type and body of an answer.
pub(super) fn put_body(resp: &mut Response, body: Option<(&str, Bytes)>) {
    if let Some((content_type, body)) = body.filter(|(_, b)| !b.is_empty()) {
        resp.set_body(content_type, body);
    }
}

/// Headers of the program on top of ours.
pub(super) fn put_extra(resp: &mut Response, extra: &Headers) {
    for (name, value) in extra.iter() {
        if !["Via", "From", "To", "Call-ID", "CSeq", "Record-Route", "Content-Length"]
            .iter()
            .any(|n| n.eq_ignore_ascii_case(name))
        {
            resp.headers.push(name, value);
        }
    }
}
