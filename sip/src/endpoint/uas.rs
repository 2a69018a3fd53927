//! Calls of peers (RFC 3261 section 13.3).

use std::time::Instant;

use bytes::Bytes;

use super::{
    ALLOW, CallEvent, CallId, EndReason, Endpoint, Event, Timer, TxId,
    call::{Call, Phase, Unacked, put_body, put_extra},
    server::ServerKey,
};
use crate::{
    dialog::Dialog,
    flow::Flow,
    headers::Headers,
    message::{Request, Response},
};

impl Endpoint {
    /// A new INVITE from the wire.
    pub(super) fn uas_invite(&mut self, now: Instant, flow: &Flow, req: Request, key: ServerKey) {
        let id = CallId(self.id());
        let tag = self.token(6);
        let user = if req.uri.user().is_empty() {
            req.to().map(|t| t.uri.user().to_owned())
        } else {
            Some(req.uri.user().to_owned())
        };
        let contact = format!("<{}>", self.local_contact(flow, &user.unwrap_or_default()));
        let Some(dialog) = Dialog::uas(&req, &tag, &contact) else {
            return self.stateless(flow, &req, req.respond(400));
        };
        let dialog_key = dialog.key.clone();
        let mut call = Call::new(flow, req.clone(), false, tag, contact);
        call.dialog = Some(dialog);
        self.calls.insert(id, Box::new(call));
        self.call_add_dialog(id, dialog_key);
        let tx = self.server_open(now, flow, &req, key, Some(id));
        if let Some(call) = self.calls.get_mut(&id) {
            call.server = Some(tx);
        }
        self.timers.set(Timer::CallRing(id), now + self.config.ring_timeout);
        self.emit(Event::Invite { call: id, flow: flow.clone(), request: req });
    }

    fn ringing(&self, id: CallId) -> Option<(&Call, TxId)> {
        let call = self.calls.get(&id).filter(|c| c.phase == Phase::Ringing)?;
        Some((call, call.server?))
    }

    /// Sends 180, 183 or another 1xx, with early media where there is a body. It is repeated each minute; reliably (RFC 3262)
    /// where the peer requires it, or supports it and there is a body: without a PRACK the call ends after 64*T1.
    pub fn provisional(&mut self, now: Instant, id: CallId, code: u16, body: Option<(&str, Bytes)>, extra: &Headers) {
        let Some((call, tx)) = self.ringing(id) else { return };
        let mut resp = call.invite.respond(code.clamp(101, 199));
        resp.headers.set("Contact", &call.contact);
        put_body(&mut resp, body);
        put_extra(&mut resp, extra);
        self.uas_progress(now, id, tx, resp);
    }

    pub(super) fn call_repeat_1xx(&mut self, now: Instant, id: CallId) {
        let Some((call, tx)) = self.ringing(id) else { return };
        if let Some(resp) = call.provisional.clone() {
            self.uas_progress(now, id, tx, resp);
        }
    }

    /// Answers 200. It is repeated until the ACK ([`CallEvent::Confirmed`]); after 64*T1 without one the call is
    /// ended with BYE. An empty `body` is left out. After a reliable provisional answer with a body it waits for the PRACK.
    pub fn accept(&mut self, now: Instant, id: CallId, content_type: &str, body: Bytes, extra: &Headers) {
        if self.ringing(id).is_some() && self.reliable_hold(id, (content_type, &body, extra)) {
            return;
        }
        let Some((call, tx)) = self.ringing(id) else { return };
        let mut resp = call.invite.respond(200);
        resp.headers.set("Contact", &call.contact);
        resp.headers.set("Allow", ALLOW);
        put_body(&mut resp, Some((content_type, body)));
        put_extra(&mut resp, extra);
        let cseq = call.invite.cseq().map_or(0, |c| c.0);
        let Some(bytes) = self.server_send(tx, resp, Some(now)) else { return };
        for t in [Timer::CallRing(id), Timer::CallProvisional(id)] {
            self.timers.cancel(t);
        }
        self.reliable_stop(id);
        if let Some(call) = self.calls.get_mut(&id) {
            call.phase = Phase::Live;
            call.provisional = None;
        }
        self.uas_await_ack(now, id, bytes, cseq);
    }

    pub(super) fn uas_await_ack(&mut self, now: Instant, id: CallId, bytes: Bytes, cseq: u32) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let t = call.flow.profile;
        call.unacked = Some(Unacked { bytes, cseq, interval: t.t1 });
        self.timers.set(Timer::CallRepeat(id), now + t.t1);
        self.timers.set(Timer::CallAck(id), now + t.t1x64());
    }

    pub(super) fn call_repeat_2xx(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let (flow, t2) = (call.flow.clone(), call.flow.profile.t2);
        let Some(ok) = call.unacked.as_mut() else { return };
        ok.interval = (ok.interval * 2).min(t2);
        let (at, bytes) = (now + ok.interval, ok.bytes.clone());
        self.timers.set(Timer::CallRepeat(id), at);
        self.stats.retransmits_out.inc();
        self.transmit(&flow, bytes);
    }

    /// 64*T1 without ACK to our 2xx, or without the body of our own ACK.
    pub(super) fn call_no_ack(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let ours = call.ack_held.is_some();
        call.unacked = None;
        self.timers.cancel(Timer::CallRepeat(id));
        self.call_send_bye(now, id);
        let why = if ours {
            EndReason::Error(crate::SipError::Invalid("no body was given for the ACK"))
        } else {
            EndReason::Timeout
        };
        self.call_end(now, id, why);
    }

    /// The ACK to a 2xx of ours.
    pub(super) fn call_ack(&mut self, now: Instant, id: CallId, flow: &Flow, req: Request) {
        let cseq = req.cseq().map_or(0, |c| c.0);
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.unacked.as_ref().is_none_or(|u| u.cseq != cseq) {
            return; // a repeat
        }
        call.unacked = None;
        if call.flow.id != flow.id {
            call.previous = Some(std::mem::replace(&mut call.flow, flow.clone()));
        }
        let (bye, phase) = (call.bye_wanted, call.phase);
        self.timers.cancel(Timer::CallRepeat(id));
        self.timers.cancel(Timer::CallAck(id));
        if bye {
            self.call_send_bye(now, id);
        }
        if phase == Phase::Live {
            self.emit(Event::Call { call: id, event: CallEvent::Confirmed(req) });
        }
    }

    /// Refuses the INVITE with a 3xx to 6xx; `reason` replaces the standard phrase.
    pub fn reject(&mut self, now: Instant, id: CallId, code: u16, reason: Option<&str>) {
        let Some((call, _)) = self.ringing(id) else { return };
        let mut resp = call.invite.respond(code.clamp(300, 699));
        if let Some(reason) = reason.filter(|r| !r.is_empty()) {
            resp.reason = reason.to_owned();
        }
        self.reject_with(now, id, resp);
    }

    /// As [`Endpoint::reject`] with a whole response (302 with Contact, 401 with a challenge, 503 with Retry-After).
    pub fn reject_with(&mut self, now: Instant, id: CallId, resp: Response) {
        let Some((_, tx)) = self.ringing(id) else { return };
        if resp.code < 300 {
            return;
        }
        self.server_send(tx, resp, Some(now));
        self.call_end(now, id, EndReason::LocalBye);
        self.call_drop(id);
    }

    /// The peer cancelled; 487 has been sent.
    pub(super) fn uas_cancelled(&mut self, now: Instant, id: CallId, tx: TxId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.server == Some(tx) {
            self.call_end(now, id, EndReason::Cancelled);
            self.call_drop(id);
        } else if call.offer_in == Some(tx) {
            call.offer_in = None; // a re-INVITE was cancelled: the call stays as it was
        }
    }

    pub(super) fn uas_timeout(&mut self, now: Instant, id: CallId) {
        if let Some((_, tx)) = self.ringing(id) {
            self.server_answer(now, tx, 480);
            self.call_end(now, id, EndReason::Timeout);
            self.call_drop(id);
        }
    }
}
