//! Reliable provisional responses (RFC 3262), both ways: PRACK.
//!
//! Ours are reliable where the peer requires it, and where it supports it and there is a body: early media that is lost leaves
//! a caller in silence for as long as it rings. The peer's are acknowledged whenever he makes them reliable; to be offered it
//! in our INVITE is the caller's decision (`Supported: 100rel`).

use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::Rng;

use super::{CallEvent, CallId, EndReason, Endpoint, Event, Timer, TxId, client::Owner, server::ServerKey};
use crate::{
    dialog::DialogKey,
    flow::Flow,
    headers::Headers,
    message::{Request, Response},
    method::Method,
};

/// The option tag.
pub(crate) const TAG: &str = "100rel";

/// Reliable answers of one peer to one INVITE that are acknowledged; a real one sends a handful.
const MOST: u32 = 64;

/// A reliable answer of ours without its PRACK.
#[derive(Debug)]
struct Waiting {
    rseq: u32,
    bytes: Bytes,
    interval: Duration,
    has_body: bool,
}

/// What a call being answered holds of it.
#[derive(Debug, Default)]
pub(super) struct Reliable {
    /// The last RSeq, 0 before the first.
    rseq: u32,
    waiting: Option<Waiting>,
    /// The RSeq whose repeats a final answer ended: its PRACK may still come.
    ceased: Option<u32>,
    /// The latest provisional answer ordered while another waits (section 3: one at a time).
    next: Option<Response>,
    /// A 2xx that must wait, since the body before it is not known to have arrived (section 5).
    accept: Option<(String, Bytes, Headers)>,
}

fn has_tag<'a>(mut tokens: impl Iterator<Item = &'a str>) -> bool {
    tokens.any(|t| t.eq_ignore_ascii_case(TAG))
}

/// True when a caller says that he takes reliable answers.
pub(super) fn offered(invite: &Request) -> bool {
    has_tag(invite.headers.tokens("Supported")) || has_tag(invite.headers.tokens("Require"))
}

fn to_be_reliable(invite: &Request, resp: &Response) -> bool {
    has_tag(invite.headers.tokens("Require")) || (!resp.body.is_empty() && has_tag(invite.headers.tokens("Supported")))
}

impl Endpoint {
    /// Sends a provisional answer to the INVITE of a call, reliably where it must be.
    pub(super) fn uas_progress(&mut self, now: Instant, id: CallId, tx: TxId, mut resp: Response) {
        let first = self.rng.random_range(1..0x7fff_ffff);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let reliable = to_be_reliable(&call.invite, &resp);
        if reliable && call.reliable.waiting.is_some() {
            call.reliable.next = Some(resp);
            return;
        }
        call.provisional = Some(resp.clone());
        let mut rseq = 0;
        if reliable {
            rseq = if call.reliable.rseq == 0 { first } else { call.reliable.rseq.saturating_add(1) };
            call.reliable.rseq = rseq;
            resp.headers.push("Require", TAG);
            resp.headers.push("RSeq", rseq.to_string());
        }
        let has_body = !resp.body.is_empty();
        let Some(bytes) = self.server_send(tx, resp, Some(now)) else { return };
        self.timers.set(Timer::CallProvisional(id), now + Duration::from_secs(60));
        let Some(call) = self.calls.get_mut(&id).filter(|_| reliable) else { return };
        let t = call.flow.profile;
        call.reliable.waiting = Some(Waiting { rseq, bytes, interval: t.t1, has_body });
        self.timers.set(Timer::Reliable(id), now + t.t1);
        self.timers.set(Timer::ReliableEnd(id), now + t.t1x64());
    }

    /// No PRACK yet: the same bytes again, on any transport, after twice the time (section 3).
    pub(super) fn reliable_repeat(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let flow = call.flow.clone();
        let Some(waiting) = call.reliable.waiting.as_mut() else { return };
        waiting.interval *= 2;
        let (at, bytes) = (now + waiting.interval, waiting.bytes.clone());
        self.timers.set(Timer::Reliable(id), at);
        self.stats.retransmits_out.inc();
        self.transmit(&flow, bytes);
    }

    /// 64*T1 without PRACK: the INVITE is refused with a 5xx (section 3).
    pub(super) fn reliable_failed(&mut self, now: Instant, id: CallId) {
        let Some(tx) = self.calls.get(&id).and_then(|c| c.server) else { return };
        self.stats.timeouts.inc();
        self.server_answer(now, tx, 504);
        self.call_end(now, id, EndReason::Timeout);
        self.call_drop(id);
    }

    pub(super) fn reliable_stop(&mut self, id: CallId) {
        self.timers.cancel(Timer::Reliable(id));
        self.timers.cancel(Timer::ReliableEnd(id));
        if let Some(call) = self.calls.get_mut(&id) {
            call.reliable.next = None;
            call.reliable.ceased = call.reliable.waiting.take().map(|w| w.rseq);
        }
    }

    /// Keeps a 2xx back while a reliable answer with a body waits for its PRACK. True when it does.
    pub(super) fn reliable_hold(&mut self, id: CallId, accept: (&str, &Bytes, &Headers)) -> bool {
        let Some(call) = self.calls.get_mut(&id) else { return false };
        let hold = call.reliable.waiting.as_ref().is_some_and(|w| w.has_body);
        if hold {
            call.reliable.accept = Some((accept.0.to_owned(), accept.1.clone(), accept.2.clone()));
        }
        hold
    }

    /// PRACK of a caller. One with a body goes to the program, which answers its offer; others are answered here.
    pub(super) fn on_prack(&mut self, now: Instant, flow: &Flow, req: Request, key: ServerKey, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let cseq = call.invite.cseq().map_or(0, |c| c.0);
        let acknowledged = rack(&req).filter(|(_, number)| *number == cseq).map(|(rseq, _)| rseq);
        let waits = call.reliable.waiting.as_ref().map(|w| w.rseq);
        if acknowledged.is_none() || (acknowledged != waits && acknowledged != call.reliable.ceased) {
            return self.stateless(flow, &req, req.respond(481));
        }
        let (next, accept) = (call.reliable.next.take(), call.reliable.accept.take());
        let server = call.server;
        self.reliable_stop(id);
        if let Some(call) = self.calls.get_mut(&id) {
            call.reliable.ceased = None;
        }
        let tx = self.server_open(now, flow, &req, key, Some(id));
        if req.body.is_empty() {
            self.server_send(tx, req.respond(200), Some(now));
        } else {
            self.emit(Event::Call { call: id, event: CallEvent::Request { tx, request: req } });
        }
        match (accept, next, server) {
            (Some((content_type, body, extra)), _, _) => self.accept(now, id, &content_type, body, &extra),
            (None, Some(next), Some(server)) => self.uas_progress(now, id, server, next),
            _ => {}
        }
    }

    /// A provisional answer of a callee: acknowledged when it is reliable and the next one in order. False when it is a repeat
    /// or out of order, and so must not be seen (section 4).
    pub(super) fn uac_acknowledge(&mut self, now: Instant, id: CallId, resp: &Response) -> bool {
        let rseq = resp.headers.get("RSeq").and_then(|v| v.trim().parse::<u32>().ok());
        let Some(rseq) = rseq.filter(|n| *n > 0 && has_tag(resp.headers.tokens("Require"))) else { return true };
        let Some(call) = self.calls.get_mut(&id) else { return false };
        let (Some(tag), Some((cseq, _))) = (resp.to().and_then(|t| t.tag().map(str::to_owned)), resp.cseq()) else {
            return false;
        };
        let of = |key: &DialogKey| key.remote == tag;
        let Some(dialog) = call.early.iter_mut().find(|d| of(&d.key)) else { return false };
        let in_order = dialog.rseq.is_none_or(|(last, _)| last.checked_add(1) == Some(rseq));
        let count = dialog.rseq.map_or(0, |(_, count)| count);
        if !in_order || count >= MOST {
            return false;
        }
        dialog.rseq = Some((rseq, count + 1));
        let mut prack = dialog.request(Method::Prack);
        prack.headers.push("RAck", format!("{rseq} {cseq} INVITE"));
        let (flow, creds) = (call.flow.clone(), call.creds.clone());
        let prack = self.dressed(prack);
        let _ = self.client_start(now, &flow, prack, Owner::Nobody, creds);
        true
    }
}

/// `RAck`: RSeq and CSeq number of an INVITE.
fn rack(req: &Request) -> Option<(u32, u32)> {
    let mut parts = req.headers.get("RAck")?.split_ascii_whitespace();
    let (rseq, cseq, method) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none() && method == "INVITE";
    whole.then_some((rseq.parse().ok()?, cseq.parse().ok()?))
}
