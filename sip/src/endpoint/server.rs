//! Server transactions (RFC 3261 section 17.2, RFC 6026 section 7.1) and the gate behind validation.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{CallId, Endpoint, Event, Timer, TxId};
use rand::Rng;

use crate::{
    dialog::DialogKey,
    flow::Flow,
    message::{Request, Response},
    method::Method,
    uri::Via,
};

/// What makes two requests the same one (section 17.2.3). Call-ID, CSeq and From tag are in it beside branch and
/// sent-by: RFC 2543 peers have no usable branch, and some devices use one branch for everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ServerKey {
    branch: String,
    sent_by: String,
    call_id: String,
    from_tag: String,
    cseq: u32,
    method: Method,
}

/// Transactions forgotten at once when the table is full, and how long each is kept in any case: an answer that was lost is asked
/// for again after 0.5 s and 1.5 s.
pub(super) const ROOM: usize = 64;
pub(super) const KEEP_ANSWERED: Duration = Duration::from_secs(4);

/// From this share of a table on, new requests from outside of calls get 503, until it has drained below the lower one:
/// without the gap it would answer yes and no in turn, and each yes would be repeated by those who heard no.
const HIGH_PERCENT: usize = 90;
const LOW_PERCENT: usize = 80;

/// One table with its cap.
#[derive(Debug, Default)]
struct Gauge {
    near_cap: bool,
}

impl Gauge {
    /// True while no more is taken.
    fn full(&mut self, used: usize, cap: usize) -> bool {
        // Rounded up: a cap of a few is used to the last one.
        let percent = |p: usize| cap.saturating_mul(p).div_ceil(100);
        self.near_cap = used >= percent(if self.near_cap { LOW_PERCENT } else { HIGH_PERCENT });
        self.near_cap
    }
}

/// What says that no more can be taken.
#[derive(Debug, Default)]
pub(super) struct Load {
    transactions: Gauge,
    calls: Gauge,
    pub pressed: bool,
}

/// What a merged request shares with the first one (section 8.2.2.2).
pub(super) type MergeKey = (String, String, u32, Method);

impl ServerKey {
    pub fn new(req: &Request, via: &Via) -> ServerKey {
        ServerKey {
            branch: via.branch().unwrap_or_default().to_owned(),
            sent_by: via.sent_by(),
            call_id: req.call_id().unwrap_or_default().to_owned(),
            from_tag: req.from().and_then(|f| f.tag().map(str::to_owned)).unwrap_or_default(),
            cseq: req.cseq().map_or(0, |c| c.0),
            method: if req.method == Method::Ack { Method::Invite } else { req.method.clone() },
        }
    }

    fn merge(&self) -> MergeKey {
        (self.call_id.clone(), self.from_tag.clone(), self.cseq, self.method.clone())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Trying or Proceeding: no final answer yet.
    Open,
    Completed,
    /// INVITE: the ACK to a 3xx-6xx came.
    Confirmed,
    /// INVITE with a 2xx (RFC 6026): the call repeats it.
    Accepted,
}

#[derive(Debug)]
pub(super) struct ServerTx {
    key: ServerKey,
    pub flow: Flow,
    /// For 100, 487 and 500.
    base: Response,
    tag: String,
    last: Option<Bytes>,
    code: u16,
    state: State,
    interval: Duration,
    pub call: Option<CallId>,
}

impl Endpoint {
    /// A request of a known transaction: answers again. False when it is new.
    pub(super) fn server_repeated(&mut self, now: Instant, flow: &Flow, key: &ServerKey, req: &Request) -> bool {
        let found = self.server_keys.get(key).copied();
        let ack = req.method == Method::Ack;
        let found = match found {
            // An ACK to a 3xx-6xx with a branch of its own: RFC 2543 peers and careless devices.
            None if ack => self.merged.get(&key.merge()).copied(),
            found => found,
        };
        let Some(id) = found else { return false };
        let Some(tx) = self.servers.get_mut(&id) else { return false };
        if ack {
            match tx.state {
                State::Completed => {
                    tx.state = State::Confirmed;
                    let wait = if tx.flow.transport.is_reliable() { Duration::ZERO } else { tx.flow.profile.t4 };
                    self.timers.cancel(Timer::ServerRepeat(id));
                    self.timers.set(Timer::ServerKill(id), now + wait);
                    return true;
                }
                State::Accepted => return false,
                State::Open | State::Confirmed => return true,
            }
        }
        self.stats.retransmits_in.inc();
        if matches!(tx.state, State::Open | State::Completed)
            && let Some(bytes) = tx.last.clone()
        {
            self.transmit(flow, bytes);
        }
        true
    }

    /// Opens a transaction.
    pub(super) fn server_open(
        &mut self,
        now: Instant,
        flow: &Flow,
        req: &Request,
        key: ServerKey,
        call: Option<CallId>,
    ) -> TxId {
        let id = TxId(self.id());
        let invite = req.method == Method::Invite;
        let tag = match call.and_then(|c| self.calls.get(&c)) {
            Some(call) => call.local_tag.clone(),
            None => self.token(6),
        };
        if invite {
            self.timers.set(Timer::Trying(id), now + Duration::from_millis(200));
        } else {
            self.timers.set(Timer::ServerKill(id), now + flow.profile.t1x64());
        }
        self.sources.opened(flow.peer.ip());
        self.server_keys.insert(key.clone(), id);
        self.merged.insert(key.merge(), id);
        let tx = ServerTx {
            key,
            flow: flow.clone(),
            base: req.respond(100),
            tag,
            last: None,
            code: 0,
            state: State::Open,
            interval: flow.profile.t1,
            call,
        };
        self.servers.insert(id, Box::new(tx));
        id
    }

    pub(super) fn server_drop(&mut self, id: TxId) {
        let Some(tx) = self.servers.remove(&id) else { return };
        // Those at the front that are gone already: the line is never much longer than the table.
        while self.answered.front().is_some_and(|(first, _)| !self.servers.contains_key(first)) {
            self.answered.pop_front();
        }
        self.sources.closed(tx.flow.peer.ip());
        self.server_keys.remove(&tx.key);
        let merge = tx.key.merge();
        if self.merged.get(&merge) == Some(&id) {
            self.merged.remove(&merge);
        }
        for t in [Timer::ServerRepeat(id), Timer::ServerKill(id), Timer::Trying(id)] {
            self.timers.cancel(t);
        }
    }

    pub(super) fn server_trying(&mut self, id: TxId) {
        let Some(tx) = self.servers.get(&id).filter(|tx| tx.state == State::Open && tx.last.is_none()) else { return };
        let mut resp = tx.base.clone();
        resp.code = 100;
        resp.reason = "Trying".into();
        self.server_send(id, resp, None);
    }

    pub(super) fn server_repeat(&mut self, now: Instant, id: TxId) {
        let Some(tx) = self.servers.get_mut(&id).filter(|tx| tx.state == State::Completed) else { return };
        tx.interval = (tx.interval * 2).min(tx.flow.profile.t2);
        let (at, flow, bytes) = (now + tx.interval, tx.flow.clone(), tx.last.clone());
        self.timers.set(Timer::ServerRepeat(id), at);
        if let Some(bytes) = bytes {
            self.transmit(&flow, bytes);
        }
    }

    /// A plain answer made from the request's own headers.
    pub(super) fn server_answer(&mut self, now: Instant, id: TxId, code: u16) {
        let Some(tx) = self.servers.get(&id) else { return };
        let mut resp = tx.base.clone();
        resp.code = code;
        resp.reason = crate::message::reason(code).to_owned();
        if matches!(code, 500 | 503) {
            resp.headers.set("Retry-After", "5");
        }
        self.server_send(id, resp, Some(now));
    }

    /// True while no final answer was sent.
    pub(super) fn server_is_open(&self, id: TxId) -> bool {
        self.servers.get(&id).is_some_and(|tx| tx.state == State::Open)
    }

    /// Sends an answer: adds the To tag and Server, moves the machine. Gives back the bytes; `None` when the
    /// transaction is over or has its final answer.
    pub(super) fn server_send(&mut self, id: TxId, mut resp: Response, now: Option<Instant>) -> Option<Bytes> {
        let tx = self.servers.get(&id).filter(|tx| tx.state == State::Open)?;
        if resp.code > 100
            && let Some(to) = resp.to().filter(|t| t.tag().is_none())
        {
            resp.headers.set("To", to.with_tag(&tx.tag).to_string());
        }
        self.sign(&mut resp);
        let bytes = resp.to_bytes();
        let tx = self.servers.get_mut(&id)?;
        tx.last = Some(bytes.clone());
        tx.code = resp.code;
        let (flow, invite) = (tx.flow.clone(), tx.key.method == Method::Invite);
        let (reliable, t) = (flow.transport.is_reliable(), flow.profile);
        if let (true, Some(now)) = (resp.code >= 200, now) {
            self.timers.cancel(Timer::Trying(id));
            match (invite, resp.is_success()) {
                (true, true) => {
                    tx.state = State::Accepted;
                    tx.last = None;
                    self.timers.set(Timer::ServerKill(id), now + t.t1x64());
                    // The 200 is repeated by the call, which this does not end.
                    self.answered.push_back((id, now));
                }
                (true, false) => {
                    tx.state = State::Completed;
                    if !reliable {
                        self.timers.set(Timer::ServerRepeat(id), now + t.t1);
                    }
                    self.timers.set(Timer::ServerKill(id), now + t.t1x64());
                }
                (false, _) => {
                    tx.state = State::Completed;
                    let wait = if reliable { Duration::ZERO } else { t.t1x64() };
                    self.timers.set(Timer::ServerKill(id), now + wait);
                    if !reliable {
                        self.answered.push_back((id, now));
                    }
                }
            }
        }
        self.stats.response(false, resp.code);
        self.transmit(&flow, bytes.clone());
        Some(bytes)
    }

    /// Answers a request that came by [`Event::Request`] (or in a call: as [`Endpoint::call_respond`]). The first
    /// final answer counts; later ones and those to transactions that are over are dropped.
    pub fn respond(&mut self, now: Instant, tx: TxId, resp: Response) {
        match self.servers.get(&tx).map(|t| t.call) {
            Some(Some(call)) => self.call_answer(now, call, tx, resp),
            Some(None) => drop(self.server_send(tx, resp, Some(now))),
            None => {}
        }
    }

    /// The flow on which a waiting request came.
    pub fn flow_of(&self, tx: TxId) -> Option<&Flow> {
        self.servers.get(&tx).map(|t| &t.flow)
    }

    /// CANCEL of a peer (section 9.2).
    pub(super) fn on_cancel(&mut self, now: Instant, flow: &Flow, req: Request, key: &ServerKey) {
        let invite = ServerKey { method: Method::Invite, ..key.clone() };
        let Some(id) = self.server_keys.get(&invite).copied() else {
            self.stateless(flow, &req, req.respond(481));
            return;
        };
        let tag = self.servers.get(&id).map(|tx| tx.tag.clone()).unwrap_or_default();
        let mut ok = req.respond(200);
        if let Some(to) = ok.to().filter(|t| t.tag().is_none()) {
            ok.headers.set("To", to.with_tag(&tag).to_string());
        }
        self.stateless(flow, &req, ok);
        if self.server_is_open(id) {
            self.server_answer(now, id, 487);
            if let Some(call) = self.servers.get(&id).and_then(|tx| tx.call) {
                self.uas_cancelled(now, call, id);
            }
        }
    }

    /// An ACK that no transaction took: it belongs to a 2xx.
    pub(super) fn on_ack(&mut self, now: Instant, flow: &Flow, req: Request) {
        match self.dialog_of(&req).and_then(|k| self.dialogs.get(&k).copied()) {
            Some(call) => self.call_ack(now, call, flow, req),
            None => self.stats.strays.inc(),
        }
    }

    /// The dialog a request names (our tag is in To).
    pub(super) fn dialog_of(&self, req: &Request) -> Option<DialogKey> {
        let to = req.to()?;
        Some(DialogKey {
            call_id: req.call_id()?.to_owned(),
            local: to.tag()?.to_owned(),
            remote: req.from()?.tag().unwrap_or("").to_owned(),
        })
    }

    /// A valid request with a new key.
    pub(super) fn on_new_request(&mut self, now: Instant, flow: &Flow, req: Request, key: ServerKey) {
        let dialog = self.dialog_of(&req);
        if let Some(call) = dialog.as_ref().and_then(|d| self.dialogs.get(d)).copied() {
            // Calls that stand may still end while the table is full.
            if self.servers.len() >= self.config.limits.max_server_transactions.saturating_mul(2) {
                self.refuse_overload(flow, &req);
            } else {
                self.in_dialog(now, flow, req, key, call);
            }
            return;
        }
        let dialog_only = matches!(
            req.method,
            Method::Invite | Method::Bye | Method::Info | Method::Update | Method::Prack | Method::Refer
        );
        if dialog.is_some() && dialog_only || matches!(req.method, Method::Bye | Method::Prack | Method::Update) {
            self.stateless(flow, &req, req.respond(481));
            return;
        }
        let merged = self.merged.get(&key.merge()).and_then(|id| self.servers.get(id));
        let is_merged = merged.is_some_and(|first| match req.method {
            Method::Invite => !matches!(first.code, 401 | 407),
            // Devices that use one CSeq for everything: only while the first is still open.
            _ => first.state == State::Open,
        });
        if dialog.is_none() && is_merged {
            self.stats.invalid.inc();
            self.stateless(flow, &req, req.respond(482));
            return;
        }
        let most = self.config.limits.max_server_transactions;
        let low = |cap: usize| cap.saturating_mul(LOW_PERCENT) / 100;
        let of_one = self.config.limits.transactions_per_source;
        if self.servers.len() >= low(most) || self.sources.open(flow.peer.ip()) >= low(of_one) {
            self.make_room(now);
        }
        let full = self.load.transactions.full(self.servers.len(), most);
        let no_calls = self.load.calls.full(self.calls_live(), self.config.limits.max_calls);
        if full
            || self.load.pressed
            || (req.method == Method::Invite && no_calls)
            || !self.sources.may_open(flow.peer.ip())
        {
            self.refuse_overload(flow, &req);
            return;
        }
        if req.method == Method::Invite {
            self.uas_invite(now, flow, req, key);
        } else {
            let tx = self.server_open(now, flow, &req, key, None);
            self.emit(Event::Request { tx, flow: flow.clone(), request: req });
        }
    }

    /// Forgets the transactions that were answered longest ago. They are kept for 32 s (timer J) to answer repeats alike, but
    /// repeats come within the first seconds: when very many devices come at once, or very many calls by one proxy, taking
    /// new ones matters more.
    fn make_room(&mut self, now: Instant) {
        for _ in 0..ROOM {
            let Some((id, answered)) = self.answered.pop_front() else { return };
            if now.saturating_duration_since(answered) < KEEP_ANSWERED {
                self.answered.push_front((id, answered));
                return;
            }
            self.server_drop(id);
        }
    }

    fn refuse_overload(&mut self, flow: &Flow, req: &Request) {
        self.stats.refused_overload.inc();
        // Not all at the same moment again.
        let after = self.rng.random_range(5..=20).to_string();
        self.stateless(flow, req, req.respond(503).with("Retry-After", after));
    }
}
