//! Calls of ours (RFC 3261 section 13.2).

use std::time::{Duration, Instant};

use super::{
    ALLOW, CallEvent, CallId, EndReason, Endpoint, Event, Timer,
    call::{Call, MAX_FORKS, Phase},
    client::Owner,
    reliable,
};
use crate::{
    auth::DigestClient,
    dialog::Dialog,
    error::SipError,
    flow::Flow,
    message::{Request, Response},
    method::Method,
};

impl Endpoint {
    /// Calls a peer. Missing headers are filled in, Contact among them. `creds` answers one 401 or 407 (and serves
    /// the requests inside the call). Everything else comes as [`Event::Call`]. With `Supported: 100rel` the peer may make
    /// its provisional answers reliable; they get their PRACK here. An INVITE without a body must not offer that: the PRACK
    /// would have to bring the answer to the peer's offer.
    pub fn invite(
        &mut self,
        now: Instant,
        flow: &Flow,
        mut req: Request,
        creds: Option<DigestClient>,
    ) -> Result<CallId, SipError> {
        if req.method != Method::Invite {
            return Err(SipError::Invalid("a call begins with INVITE"));
        }
        if req.body.is_empty() && reliable::offered(&req) {
            return Err(SipError::Invalid("100rel needs an INVITE with an offer"));
        }
        if self.calls_live() >= self.config.limits.max_calls {
            return Err(SipError::Overloaded("calls"));
        }
        self.fill(flow, &mut req)?;
        let from = req.from().ok_or(SipError::Invalid("From"))?;
        let tag = from.tag().unwrap_or_default().to_owned();
        let contact = match req.headers.get("Contact") {
            Some(own) => own.to_owned(),
            None => format!("<{}>", self.local_contact(flow, from.uri.user())),
        };
        req.headers.set("Contact", &contact);
        req.headers.set_default("Allow", ALLOW);
        let id = CallId(self.id());
        let mut call = Call::new(flow, req.clone(), true, tag, contact);
        call.creds = creds.clone();
        self.calls.insert(id, Box::new(call));
        match self.client_start(now, flow, req, Owner::Invite(id), creds) {
            Ok(tx) => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.client = Some(tx);
                }
                self.timers.set(Timer::CallRing(id), now + self.config.ring_timeout);
                Ok(id)
            }
            Err(e) => {
                self.calls.remove(&id);
                Err(e)
            }
        }
    }

    /// Gives a call of ours up as [`EndReason::Timeout`] when not even a 100 comes within `patience`: the asker has another way.
    /// Who answers after that gets CANCEL, or ACK and BYE.
    pub fn first_answer_within(&mut self, now: Instant, id: CallId, patience: Duration) {
        if let Some(call) = self.calls.get_mut(&id).filter(|c| c.phase == Phase::Calling) {
            call.patience = Some(patience);
            self.timers.set(Timer::CallRing(id), now + patience);
        }
    }

    /// A challenged INVITE is about to go again; false when the call is being cancelled.
    pub(super) fn uac_retry(&mut self, id: CallId, request: &Request) -> bool {
        let Some(call) = self.calls.get_mut(&id).filter(|c| c.phase == Phase::Calling) else { return false };
        call.invite = request.clone();
        true
    }

    pub(super) fn uac_retried(&mut self, now: Instant, id: CallId, tx: u64) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.client = Some(tx);
            if let Some(patience) = call.patience {
                self.timers.set(Timer::CallRing(id), now + patience);
            }
        }
    }

    /// Gives up an INVITE of ours (section 9.1): CANCEL as soon as a 1xx is there. A 2xx that crosses it gets ACK and
    /// BYE. [`EndReason::Cancelled`] comes at once.
    pub fn cancel(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        match call.phase {
            Phase::Calling => {}
            Phase::Ringing | Phase::Live => return self.bye(now, id),
            Phase::Ending => return,
        }
        self.uac_send_cancel(now, id);
        self.call_end(now, id, EndReason::Cancelled);
    }

    /// CANCEL now, or when the first 1xx comes.
    fn uac_send_cancel(&mut self, now: Instant, id: CallId) {
        let Some((tx, extra)) = self.calls.get(&id).and_then(|c| Some((c.client?, c.bye_headers.clone()))) else {
            return;
        };
        let early = self.client_is_calling(tx);
        if let Some(call) = self.calls.get_mut(&id) {
            call.cancelling = early;
        }
        if !early {
            self.client_cancel(now, tx, &extra);
        }
    }

    pub(super) fn uac_provisional(&mut self, now: Instant, id: CallId, resp: Response) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.cancelling {
            if let Some(tx) = call.client {
                let extra = call.bye_headers.clone();
                self.client_cancel(now, tx, &extra);
                // From now on 64*T1 for the 487 (section 9.1).
                let wait = self.calls.get(&id).map(|c| c.flow.profile.t1x64()).unwrap_or_default();
                self.timers.set(Timer::CallGone(id), now + wait);
            }
            if let Some(call) = self.calls.get_mut(&id) {
                call.cancelling = false;
            }
            return;
        }
        if call.phase == Phase::Calling && call.patience.take().is_some() {
            self.timers.set(Timer::CallRing(id), now + self.config.ring_timeout);
        }
        if call.phase != Phase::Calling || resp.code == 100 {
            return;
        }
        let tagged = resp.to().is_some_and(|t| t.tag().is_some());
        if tagged && let Some(dialog) = Dialog::uac(&call.invite, &resp) {
            let room = call.early.len() < MAX_FORKS;
            match call.early.iter_mut().find(|d| d.key == dialog.key) {
                Some(known) => known.refresh(resp.contact()),
                None if room => {
                    let key = dialog.key.clone();
                    call.early.push(dialog);
                    self.call_add_dialog(id, key);
                }
                None => {}
            }
        }
        if self.uac_acknowledge(now, id, &resp) {
            self.emit(Event::Call { call: id, event: CallEvent::Progress(resp) });
        }
    }

    /// A final answer to the INVITE, or one more 2xx.
    pub(super) fn uac_final(&mut self, now: Instant, id: CallId, resp: Response) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !resp.is_success() {
            let cancelled = call.phase == Phase::Ending;
            self.call_end(now, id, EndReason::Rejected(resp));
            if cancelled || self.calls.get(&id).is_some_and(|c| c.dialog.is_none()) {
                self.call_drop(id);
            }
            return;
        }
        let tag = resp.to().and_then(|t| t.tag().map(str::to_owned)).unwrap_or_default();
        if call.dialog.as_ref().is_some_and(|d| d.key.remote == tag) {
            return self.call_ack_again(now, id, &resp);
        }
        if call.phase != Phase::Calling {
            return self.uac_refuse_2xx(now, id, &tag, &resp);
        }
        let Some(mut dialog) = Dialog::uac(&call.invite, &resp) else {
            return self.call_end(now, id, EndReason::Error(SipError::Invalid("2xx without To")));
        };
        // What happened in the early dialog counts on.
        if let Some(at) = call.early.iter().position(|d| d.key == dialog.key) {
            let early = call.early.swap_remove(at);
            dialog.local_seq = dialog.local_seq.max(early.local_seq);
            dialog.remote_seq = early.remote_seq;
        }
        let cseq = call.invite.cseq().map_or(0, |c| c.0);
        let key = dialog.key.clone();
        call.dialog = Some(dialog);
        call.phase = Phase::Live;
        call.ack_held = Some(cseq);
        let hold = call.invite.body.is_empty() && !resp.body.is_empty() && call.ack_body.is_none();
        let wait = call.flow.profile.t1x64();
        let others: Vec<_> = call.early.drain(..).map(|d| d.key).collect();
        for other in others {
            self.dialogs.remove(&other);
        }
        self.call_add_dialog(id, key);
        self.timers.cancel(Timer::CallRing(id));
        if hold {
            self.timers.set(Timer::CallAck(id), now + wait);
        } else {
            self.call_send_ack(id);
        }
        self.emit(Event::Call { call: id, event: CallEvent::Answered(resp) });
    }

    /// A 2xx nobody wants (after CANCEL, or of another fork): ACK, then BYE, once per tag (section 13.2.2.4).
    fn uac_refuse_2xx(&mut self, now: Instant, id: CallId, tag: &str, resp: &Response) {
        let Some(call) = self.calls.get(&id) else { return };
        let flow = call.flow.clone();
        if let Some((_, ack)) = call.forks.iter().find(|(t, _)| t == tag) {
            let ack = ack.clone();
            self.stats.retransmits_out.inc();
            self.transmit(&flow, ack);
            return;
        }
        if call.forks.len() >= MAX_FORKS {
            return;
        }
        let creds = call.creds.clone();
        let Some(mut dialog) = Dialog::uac(&call.invite, resp) else { return };
        let ack = dialog.ack(call.invite.cseq().map_or(0, |c| c.0));
        let ack = self.ack_bytes(&flow, ack);
        self.transmit(&flow, ack.clone());
        let bye = self.dressed(dialog.request(Method::Bye));
        let _ = self.client_start(now, &flow, bye, Owner::Nobody, creds);
        let wait = flow.profile.t1x64();
        if let Some(call) = self.calls.get_mut(&id) {
            call.forks.push((tag.to_owned(), ack));
            if call.phase == Phase::Ending {
                self.timers.set(Timer::CallGone(id), now + wait);
            }
        }
    }

    pub(super) fn uac_failed(&mut self, now: Instant, id: CallId, why: SipError) {
        let reason = match why {
            SipError::Timeout => EndReason::Timeout,
            SipError::FlowClosed => EndReason::FlowClosed,
            other => EndReason::Error(other),
        };
        self.call_end(now, id, reason);
        self.call_drop(id);
    }

    /// No final answer in `ring_timeout`, ours or theirs.
    pub(super) fn call_ring_timeout(&mut self, now: Instant, id: CallId) {
        match self.calls.get(&id).map(|c| c.phase) {
            Some(Phase::Calling) => {
                self.uac_send_cancel(now, id);
                self.call_end(now, id, EndReason::Timeout);
            }
            Some(Phase::Ringing) => self.uas_timeout(now, id),
            _ => {}
        }
    }
}
