//! Calls of telephones: what runs now, and a record of each that ended (call detail record).
//!
//! A bridge keeps one [`CallLog`] and opens a [`CallEntry`] for each call; the hall reads the live table, hangs up by id and
//! takes the records away. Nothing here waits: a full queue of records is counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use media_hub::Text;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::device::Timestamp;

/// Records that may wait for the hall. Beyond it they are given up and counted.
const RECORDS: usize = 4096;

/// Between whom a call runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallDirection {
    /// A phone called a conference.
    In,
    /// The hall called a phone into a conference.
    Out,
    /// Phone to phone.
    Between,
}

impl CallDirection {
    pub fn as_str(self) -> &'static str {
        match self {
            CallDirection::In => "in",
            CallDirection::Out => "out",
            CallDirection::Between => "between",
        }
    }
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallState {
    Calling,
    Ringing,
    Talking,
    Held,
}

impl CallState {
    pub fn as_str(self) -> &'static str {
        match self {
            CallState::Calling => "calling",
            CallState::Ringing => "ringing",
            CallState::Talking => "talking",
            CallState::Held => "held",
        }
    }
}

/// Who ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallEndedBy {
    Caller,
    Callee,
    /// An operator, a rule of the gateway, or its stop.
    Gateway,
    /// Nobody meant it: a path broke.
    Network,
}

impl CallEndedBy {
    pub fn as_str(self) -> &'static str {
        match self {
            CallEndedBy::Caller => "caller",
            CallEndedBy::Callee => "callee",
            CallEndedBy::Gateway => "gateway",
            CallEndedBy::Network => "network",
        }
    }
}

/// One end of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallParty {
    /// The account, or the number of the conference.
    pub number: String,
    pub name: String,
}

impl CallParty {
    pub fn new(number: impl Into<String>, name: impl Into<String>) -> CallParty {
        CallParty { number: number.into(), name: name.into() }
    }
}

/// What was received of one phone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallLeg {
    /// The account, or the outside number.
    pub number: String,
    /// The trunk by which it was reached, or called.
    #[serde(default)]
    pub trunk: Option<String>,
    /// As the SDP names it: `PCMA`.
    pub codec: String,
    /// RTP packets received of this phone.
    pub packets: u64,
    /// Packets that did not come.
    pub lost: u64,
    /// RTP packets sent to this phone.
    pub sent: u64,
    /// RFC 3550 6.4.1, in milliseconds.
    pub jitter_ms: f32,
    /// An estimate, 1 to 4.5; none before anything was received.
    pub mos: Option<f32>,
    /// The codec that this phone's sound is turned into for the other one; none where it is not decoded.
    #[serde(default)]
    pub turned: Option<String>,
    /// RTP packets of this phone that were sent to an outside recorder; none where it was not to be recorded.
    #[serde(default)]
    pub recorded: Option<u64>,
}

impl CallLeg {
    /// Of somebody whom a trunk was to reach and did not.
    pub fn unheard(number: &str, trunk: &str) -> CallLeg {
        CallLeg {
            number: number.to_owned(),
            trunk: Some(trunk.to_owned()),
            codec: String::new(),
            packets: 0,
            lost: 0,
            sent: 0,
            jitter_ms: 0.0,
            mos: None,
            turned: None,
            recorded: None,
        }
    }
}

/// A call that runs.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveCall {
    pub id: String,
    pub direction: CallDirection,
    pub caller: CallParty,
    /// Who answers, or rings now: after a forward no longer the one that was dialled.
    pub callee: CallParty,
    pub dialled: String,
    pub state: CallState,
    pub began: Timestamp,
    pub rang: Option<Timestamp>,
    pub answered: Option<Timestamp>,
    /// The number of the queue in which the caller waited.
    pub queue: Option<String>,
    pub legs: Vec<CallLeg>,
}

/// A call that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct CallRecord {
    pub call: LiveCall,
    pub ended: Timestamp,
    pub by: CallEndedBy,
    /// A stable word: `ended`, or the code of a fault.
    pub code: String,
    pub words: Text,
}

struct Row {
    live: LiveCall,
    hang_up: CancellationToken,
}

struct Inner {
    live: Mutex<HashMap<String, Row>>,
    records: mpsc::Sender<CallRecord>,
    queue: Mutex<Option<mpsc::Receiver<CallRecord>>>,
    lost: AtomicU64,
    /// Rises when a call begins, ends or changes its state.
    changes: watch::Sender<u64>,
}

/// The calls of a bridge; clones share it.
#[derive(Clone)]
pub struct CallLog {
    inner: Arc<Inner>,
}

impl Default for CallLog {
    fn default() -> Self {
        let (records, queue) = mpsc::channel(RECORDS);
        let inner = Inner {
            live: Mutex::default(),
            records,
            queue: Mutex::new(Some(queue)),
            lost: AtomicU64::new(0),
            changes: watch::Sender::new(0),
        };
        CallLog { inner: Arc::new(inner) }
    }
}

impl CallLog {
    fn live_rows(&self) -> MutexGuard<'_, HashMap<String, Row>> {
        self.inner.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the entry of a call. `id` must be new.
    pub fn begin(&self, id: String, direction: CallDirection, caller: CallParty, callee: CallParty) -> CallEntry {
        let live = LiveCall {
            id: id.clone(),
            direction,
            caller,
            dialled: callee.number.clone(),
            callee,
            state: CallState::Calling,
            began: Timestamp::now(),
            rang: None,
            answered: None,
            queue: None,
            legs: Vec::new(),
        };
        let hang_up = CancellationToken::new();
        self.live_rows().insert(id.clone(), Row { live, hang_up: hang_up.clone() });
        self.changed();
        CallEntry { log: self.clone(), id, hang_up }
    }

    /// The calls that run, the oldest first. As many as the bridge allows at once.
    pub fn live(&self) -> Vec<LiveCall> {
        let mut all: Vec<LiveCall> = self.live_rows().values().map(|r| r.live.clone()).collect();
        all.sort_by(|a, b| (a.began, &a.id).cmp(&(b.began, &b.id)));
        all
    }

    /// Orders the end of a call; false when there is none of this id.
    pub fn hang_up(&self, id: &str) -> bool {
        self.live_rows().get(id).map(|r| r.hang_up.cancel()).is_some()
    }

    fn changed(&self) {
        self.inner.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Changes when a call begins, ends, or another state or party is shown of it; not with each count of packets.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// The queue of records, once: for the hall.
    pub fn take_records(&self) -> Option<mpsc::Receiver<CallRecord>> {
        self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Records that were given up because nobody took them.
    pub fn lost(&self) -> u64 {
        self.inner.lost.load(Ordering::Relaxed)
    }
}

/// A call's own line in the log. Dropping it without a word ends the call in the books as `call_failed`.
pub struct CallEntry {
    log: CallLog,
    id: String,
    hang_up: CancellationToken,
}

impl CallEntry {
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Changes what is shown of the call.
    pub fn update(&self, change: impl FnOnce(&mut LiveCall)) {
        let seen = |c: &LiveCall| (c.state, c.caller.clone(), c.callee.clone());
        let mut rows = self.log.live_rows();
        let Some(row) = rows.get_mut(&self.id) else { return };
        let before = seen(&row.live);
        change(&mut row.live);
        let differs = before != seen(&row.live);
        drop(rows);
        if differs {
            self.log.changed();
        }
    }

    /// It rings; only the first time counts.
    pub fn ringing(&self) {
        self.update(|c| {
            c.rang.get_or_insert(Timestamp::now());
            if c.state == CallState::Calling {
                c.state = CallState::Ringing;
            }
        });
    }

    pub fn answered(&self) {
        self.update(|c| {
            c.answered.get_or_insert(Timestamp::now());
            c.state = CallState::Talking;
        });
    }

    /// Done when somebody ordered the end.
    pub fn ordered(&self) -> CancellationToken {
        self.hang_up.clone()
    }

    /// Closes the entry.
    pub fn finish(&self, by: CallEndedBy, code: &str, words: Text) {
        let Some(row) = self.log.live_rows().remove(&self.id) else { return };
        self.log.changed();
        let record = CallRecord { call: row.live, ended: Timestamp::now(), by, code: code.to_owned(), words };
        if self.log.inner.records.try_send(record).is_err() {
            self.log.inner.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for CallEntry {
    fn drop(&mut self) {
        self.finish(CallEndedBy::Network, "call_failed", Text::new("呼叫失败", "The call failed"));
    }
}

/// Where an account's calls go when it cannot take them; numbers of other accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwards {
    pub busy: Option<String>,
    pub no_answer: Option<String>,
    pub offline: Option<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_call_is_seen_and_recorded() {
        let log = CallLog::default();
        let mut records = log.take_records().unwrap();
        assert!(log.take_records().is_none());
        let party = |n: &str| CallParty::new(n, n);
        let mut changes = log.changes();
        let entry = log.begin("1".into(), CallDirection::Between, party("8001"), party("8002"));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        entry.update(|c| c.legs.clear());
        assert!(!changes.has_changed().unwrap(), "counts of packets are told by nobody");
        let other = log.begin("2".into(), CallDirection::In, party("8003"), party("600"));
        entry.ringing();
        entry.answered();
        assert_eq!(log.live().iter().map(|c| c.state).collect::<Vec<_>>(), [CallState::Talking, CallState::Calling]);
        assert!(log.hang_up("1") && !log.hang_up("9") && entry.ordered().is_cancelled());
        entry.finish(CallEndedBy::Caller, "ended", Text::new("挂机", "hung up"));
        drop((entry, other));
        let (first, second) = (records.try_recv().unwrap(), records.try_recv().unwrap());
        assert!(first.call.answered.is_some() && first.by == CallEndedBy::Caller);
        assert_eq!((second.code.as_str(), second.call.answered), ("call_failed", None));
        assert!(log.live().is_empty() && records.try_recv().is_err());
    }
}
