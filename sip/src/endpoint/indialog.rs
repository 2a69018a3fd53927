//! Requests inside calls, both ways (RFC 3261 sections 12.2, 14, 15; RFC 3311 for UPDATE).

use std::time::{Duration, Instant};

use rand::Rng;

use super::{
    CallEvent, CallId, EndReason, Endpoint, Event, ReqId, Timer, TxId, call::Phase, client::Owner, server::ServerKey,
};
use crate::{
    error::SipError,
    flow::Flow,
    message::{Request, Response},
    method::Method,
};

/// A re-INVITE under way, kept for its 491.
#[derive(Debug)]
pub(super) struct Waiting {
    pub call: CallId,
    request: Request,
    again: bool,
}

fn is_offer(method: &Method) -> bool {
    matches!(method, Method::Invite | Method::Update)
}

impl Endpoint {
    /// A request of the peer in a known dialog.
    pub(super) fn in_dialog(&mut self, now: Instant, flow: &Flow, req: Request, key: ServerKey, id: CallId) {
        let dialog_key = self.dialog_of(&req);
        let number = req.cseq().map_or(0, |c| c.0);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let dialogs = call.dialog.iter_mut().chain(call.early.iter_mut());
        let in_order = match dialogs.into_iter().find(|d| Some(&d.key) == dialog_key.as_ref()) {
            Some(dialog) => {
                let good = dialog.accept_seq(number);
                if good && is_offer(&req.method) {
                    dialog.refresh(req.contact());
                }
                good
            }
            None => true,
        };
        // A BYE is taken in any order: the call must not outlive it.
        if !in_order && req.method != Method::Bye {
            return self.stateless(flow, &req, req.respond(500));
        }
        if call.flow.id != flow.id {
            call.previous = Some(std::mem::replace(&mut call.flow, flow.clone()));
        }
        let phase = call.phase;
        if req.method == Method::Bye {
            return self.on_bye(now, flow, req, key, id);
        }
        if phase == Phase::Ending {
            return self.stateless(flow, &req, req.respond(481));
        }
        if req.method == Method::Prack {
            return self.on_prack(now, flow, req, key, id);
        }
        if is_offer(&req.method) {
            let pending_in = call.offer_in.is_some() || (req.method == Method::Invite && phase == Phase::Ringing);
            let pending_out = call.offer_out.is_some() || (req.method == Method::Invite && phase == Phase::Calling);
            if pending_in {
                let wait = self.rng.random_range(0..=10).to_string();
                return self.stateless(flow, &req, req.respond(500).with("Retry-After", wait));
            }
            if pending_out {
                return self.stateless(flow, &req, req.respond(491));
            }
        }
        let offer = is_offer(&req.method);
        let tx = self.server_open(now, flow, &req, key, Some(id));
        if offer && let Some(call) = self.calls.get_mut(&id) {
            call.offer_in = Some(tx);
        }
        self.emit(Event::Call { call: id, event: CallEvent::Request { tx, request: req } });
    }

    fn on_bye(&mut self, now: Instant, flow: &Flow, req: Request, key: ServerKey, id: CallId) {
        let tx = self.server_open(now, flow, &req, key, Some(id));
        self.server_send(tx, req.respond(200), Some(now));
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.unacked = None;
        call.bye_wanted = false;
        let (phase, server, client, open) = (call.phase, call.server, call.client, call.offer_in.take());
        for t in [Timer::CallRepeat(id), Timer::CallAck(id)] {
            self.timers.cancel(t);
        }
        // Section 15.1.2: requests of the peer that wait in this dialog are answered 487.
        for tx in [server.filter(|_| phase == Phase::Ringing), open].into_iter().flatten() {
            if self.server_is_open(tx) {
                self.server_answer(now, tx, 487);
            }
        }
        if phase == Phase::Calling
            && let Some(tx) = client
        {
            self.client_cancel(now, tx, &crate::headers::Headers::new());
        }
        if self.calls.get(&id).is_some_and(|c| c.ack_held.is_some()) {
            self.call_send_ack(id);
        }
        self.call_end(now, id, EndReason::Bye(req));
    }

    /// Answers a [`CallEvent::Request`]. A 2xx to a re-INVITE is repeated until its ACK.
    pub fn call_respond(&mut self, now: Instant, tx: TxId, resp: Response) {
        self.respond(now, tx, resp);
    }

    /// An answer of the program to a request in a call.
    pub(super) fn call_answer(&mut self, now: Instant, id: CallId, tx: TxId, mut resp: Response) {
        let Some(call) = self.calls.get(&id) else {
            self.server_send(tx, resp, Some(now));
            return;
        };
        if call.server == Some(tx) {
            return; // the first INVITE has its own orders
        }
        let method = resp.cseq().map(|c| c.1);
        if resp.code > 100 && resp.code < 300 && method.as_ref().is_some_and(is_offer) {
            resp.headers.set_default("Contact", &call.contact);
        }
        let cseq = resp.cseq().map_or(0, |c| c.0);
        let (ok, last) = (resp.is_success(), resp.code >= 200);
        let Some(bytes) = self.server_send(tx, resp, Some(now)) else { return };
        if let Some(call) = self.calls.get_mut(&id).filter(|c| last && c.offer_in == Some(tx)) {
            call.offer_in = None;
        }
        if ok && method == Some(Method::Invite) {
            self.uas_await_ack(now, id, bytes, cseq);
        }
    }

    /// Sends a request inside a call: INFO, MESSAGE, UPDATE, NOTIFY, REFER, OPTIONS, re-INVITE. URI, tags, Call-ID,
    /// CSeq and routes are the dialog's; it goes to the call's flow. The ACK to a re-INVITE is sent by itself (it
    /// waits for [`Endpoint::ack_body`] when the re-INVITE had no body and its 2xx has one). A re-INVITE refused with
    /// 491 is sent once more after the waiting time of section 14.1. Ends with [`Event::Response`].
    pub fn call_request(&mut self, now: Instant, id: CallId, req: Request) -> Result<ReqId, SipError> {
        let call = self.calls.get(&id).ok_or(SipError::UnknownCall)?;
        match (&req.method, call.phase) {
            (_, Phase::Ending) => return Err(SipError::UnknownCall),
            (Method::Ack | Method::Cancel | Method::Bye, _) => return Err(SipError::Invalid("use bye() and cancel()")),
            (Method::Invite, Phase::Calling | Phase::Ringing) => return Err(SipError::Pending),
            _ => {}
        }
        let waits = || self.waiting.values().any(|w| w.call == id);
        if is_offer(&req.method) && (call.offer_out.is_some() || call.offer_in.is_some() || waits()) {
            return Err(SipError::Pending);
        }
        if req.method == Method::Invite && (call.unacked.is_some() || call.ack_held.is_some()) {
            return Err(SipError::Pending);
        }
        let rid = ReqId(self.id());
        self.call_request_start(now, id, rid, req, false)?;
        Ok(rid)
    }

    fn call_request_start(
        &mut self,
        now: Instant,
        id: CallId,
        rid: ReqId,
        mut req: Request,
        again: bool,
    ) -> Result<(), SipError> {
        let call = self.calls.get_mut(&id).ok_or(SipError::UnknownCall)?;
        let method = req.method.clone();
        let dialog = match call.dialog.as_mut() {
            Some(d) => d,
            None => call.early.last_mut().ok_or(SipError::Invalid("no dialog yet"))?,
        };
        dialog.complete(&mut req);
        let (flow, creds) = (call.flow.clone(), call.creds.clone());
        let req = self.dressed(req);
        if method == Method::Invite {
            self.waiting.insert(rid, Waiting { call: id, request: req.clone(), again });
        }
        if let Err(e) = self.client_start(now, &flow, req, Owner::InCall(id, rid), creds) {
            self.waiting.remove(&rid);
            return Err(e);
        }
        if let Some(call) = self.calls.get_mut(&id).filter(|_| is_offer(&method)) {
            call.offer_out = Some((rid, method));
        }
        Ok(())
    }

    /// The next CSeq of a call's dialog, for a request that is sent again with credentials.
    pub(super) fn call_next_seq(&mut self, id: CallId) -> Option<u32> {
        let dialog = self.calls.get_mut(&id)?.dialog.as_mut()?;
        dialog.local_seq = dialog.local_seq.saturating_add(1);
        Some(dialog.local_seq)
    }

    /// A request in a call has its final answer, or none.
    pub(super) fn call_request_ended(
        &mut self,
        now: Instant,
        id: CallId,
        rid: ReqId,
        method: &Method,
        result: Result<Response, SipError>,
    ) {
        let sent = self.waiting.remove(&rid);
        let Some(call) = self.calls.get_mut(&id) else {
            if *method != Method::Invite || sent.is_some() {
                self.emit(Event::Response { id: rid, result });
            }
            return;
        };
        if call.offer_out.as_ref().is_some_and(|(r, _)| *r == rid) {
            call.offer_out = None;
        }
        if let Ok(resp) = &result
            && resp.is_success()
            && is_offer(method)
        {
            if let Some(d) = call.dialog.as_mut() {
                d.refresh(resp.contact());
            }
            if *method == Method::Invite {
                let had_body = sent.as_ref().is_some_and(|w| !w.request.body.is_empty());
                call.ack_held = resp.cseq().map(|c| c.0);
                let hold = !had_body && !resp.body.is_empty() && call.ack_body.is_none() && call.phase == Phase::Live;
                let wait = call.flow.profile.t1x64();
                if hold {
                    self.timers.set(Timer::CallAck(id), now + wait);
                } else {
                    self.call_send_ack(id);
                }
            }
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.phase == Phase::Ending {
            // Told already as ended by call_end, unless it was no INVITE.
            if *method != Method::Invite || sent.is_some() {
                self.emit(Event::Response { id: rid, result });
            }
            return;
        }
        if let (Ok(resp), Some(first)) = (&result, sent)
            && resp.code == 491
            && !first.again
        {
            // The owner of the Call-ID waits 2.1 to 4 s, the other side 0 to 2 s, in steps of 10 ms.
            let steps = if call.caller { self.rng.random_range(210..=400) } else { self.rng.random_range(0..=200) };
            self.waiting.insert(rid, first);
            self.timers.set(Timer::Again(rid), now + Duration::from_millis(steps * 10));
            return;
        }
        let gone = match &result {
            Ok(resp) => matches!(resp.code, 408 | 481) && is_offer(method),
            Err(SipError::Timeout) => is_offer(method),
            Err(_) => false,
        };
        self.emit(Event::Response { id: rid, result });
        if gone {
            self.call_send_bye(now, id);
            self.call_end(now, id, EndReason::Timeout);
        }
    }

    /// The waiting time after a 491 is over.
    pub(super) fn call_request_again(&mut self, now: Instant, rid: ReqId) {
        let Some(id) = self.waiting.get(&rid).map(|w| w.call) else { return };
        let Some(call) = self.calls.get(&id) else { return };
        if call.offer_in.is_some() || call.offer_out.is_some() || call.unacked.is_some() {
            // The peer's own offer is under way: it goes first.
            return self.timers.set(Timer::Again(rid), now + Duration::from_millis(500));
        }
        let Some(Waiting { mut request, .. }) = self.waiting.remove(&rid) else { return };
        for name in ["Via", "Authorization", "Proxy-Authorization"] {
            request.headers.remove(name);
        }
        let started = self.call_request_start(now, id, rid, request, true);
        if let Err(e) = started {
            self.emit(Event::Response { id: rid, result: Err(e) });
        }
    }
}
