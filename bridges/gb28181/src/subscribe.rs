//! Subscriptions to devices as a machine without I/O and clock (GB/T 28181-2022 clause 9.11, RFC 6665; reference section 10).
//!
//! One dialog for each device and subject. Refreshed at 80 % of what was granted; a lost dialog (481) is begun anew; a refusal is
//! kept until the device registers again. Orders leave at a pace, so that a whole field that comes back makes no storm.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};

/// What can be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    Catalog,
    Alarm,
    MobilePosition,
    /// 2022 only.
    PtzPosition,
}

impl Topic {
    pub const ALL: [Topic; 4] = [Topic::Catalog, Topic::Alarm, Topic::MobilePosition, Topic::PtzPosition];

    /// `CmdType` of its messages.
    pub fn command(self) -> &'static str {
        match self {
            Topic::Catalog => "Catalog",
            Topic::Alarm => "Alarm",
            Topic::MobilePosition => "MobilePosition",
            Topic::PtzPosition => "PTZPosition",
        }
    }

    /// The subject that a command belongs to, whatever the event is called.
    pub fn of(command: &str) -> Option<Topic> {
        let known = Topic::ALL.into_iter().find(|t| t.command().eq_ignore_ascii_case(command));
        // A public simulator's name for it.
        known.or_else(|| command.eq_ignore_ascii_case("PTZPreciseStatusQuery").then_some(Topic::PtzPosition))
    }
}

/// The names of one dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    pub call_id: String,
    pub local_tag: String,
    pub remote_tag: Option<String>,
    /// For `Event: NAME;id=NUMBER`.
    pub event_id: u32,
    pub cseq: u32,
}

/// A SUBSCRIBE to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub id: Arc<str>,
    pub topic: Topic,
    pub dialog: Dialog,
    /// Seconds; 0 cancels, and its answer need not be told.
    pub expires: u32,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 2xx; none: without `Expires`.
    Granted { remote_tag: Option<String>, expires: Option<u32> },
    /// 481: the device does not know the dialog.
    Gone,
    /// 423 with `Min-Expires`.
    TooShort(u32),
    /// A final refusal.
    Refused(u16),
    /// No answer, or one that may be better later.
    Failed,
}

impl Answer {
    /// Sorts a final response.
    pub fn of(code: u16, remote_tag: Option<String>, expires: Option<u32>, min_expires: Option<u32>) -> Answer {
        match (code, min_expires) {
            (200..=299, _) => Answer::Granted { remote_tag, expires },
            (481, _) => Answer::Gone,
            (423, Some(min)) => Answer::TooShort(min),
            (408 | 429 | 480 | 486 | 491 | 500..=599, _) => Answer::Failed,
            _ => Answer::Refused(code),
        }
    }
}

/// `Subscription-State`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubState {
    Active { expires: Option<u32> },
    Terminated { reason: String, retry_after: Option<u32> },
}

impl SubState {
    pub fn parse(header: &str) -> SubState {
        let mut parts = header.split(';').map(str::trim);
        let state = parts.next().unwrap_or("");
        let (mut expires, mut retry_after, mut reason) = (None, None, String::new());
        for part in parts.take(8) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "expires" => expires = value.trim().parse().ok(),
                "retry-after" => retry_after = value.trim().parse().ok(),
                "reason" => reason = value.trim().chars().take(40).collect::<String>().to_ascii_lowercase(),
                _ => {}
            }
        }
        match state.eq_ignore_ascii_case("terminated") {
            true => SubState::Terminated { reason, retry_after },
            false => SubState::Active { expires },
        }
    }
}

/// Where a NOTIFY belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    InDialog,
    /// Of a device that has a subscription, but in another dialog: an older one of ours, or the device's own invention.
    OutOfDialog,
    /// There is no subscription: ours were lost with a restart.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Is to be sent at `due`.
    Due,
    /// Waits for the answer; `due` is when it counts as failed.
    Asking,
    /// Stands; is refreshed at `due`.
    Active,
    /// Refused until the device registers again.
    Refused(u16),
}

#[derive(Debug)]
struct Sub {
    dialog: Dialog,
    stage: Stage,
    due: Instant,
    /// When what was granted ends.
    until: Option<Instant>,
    wish: u32,
    failures: u32,
}

/// How many SUBSCRIBEs may wait for their answers.
pub const IN_FLIGHT: usize = 64;
/// How many leave within one [`WINDOW`].
pub const PER_WINDOW: usize = 20;
/// The pace: 200 a second.
pub const WINDOW: Duration = Duration::from_millis(100);
/// An answer that has not come by then will not come: 64*T1 and a little.
const ANSWER: Duration = Duration::from_secs(35);
/// The questions after a registration go first.
const AFTER_REGISTRATION: Duration = Duration::from_secs(1);
/// Bounds of a granted time in seconds.
const GRANTED: (u32, u32) = (5, 86_400);
const RETRY: (u64, u64) = (5, 960);

type Key = (Arc<str>, Topic);

/// All subscriptions of this gateway: at most four for each device.
#[derive(Debug)]
pub struct Subscriptions {
    table: HashMap<Key, Sub>,
    heap: BinaryHeap<Reverse<(Instant, Key)>>,
    in_flight: usize,
    window: Option<(Instant, usize)>,
    random: rand::rngs::StdRng,
}

impl Subscriptions {
    pub fn new(seed: u64) -> Subscriptions {
        Subscriptions {
            table: HashMap::new(),
            heap: BinaryHeap::new(),
            in_flight: 0,
            window: None,
            random: rand::rngs::StdRng::seed_from_u64(seed),
        }
    }

    fn fresh(&mut self) -> Dialog {
        Dialog {
            call_id: format!("{:016x}{:08x}", self.random.random::<u64>(), self.random.random::<u32>()),
            local_tag: format!("{:08x}", self.random.random::<u32>()),
            remote_tag: None,
            event_id: self.random.random_range(1..1 << 30),
            cseq: 0,
        }
    }

    /// 5 s, doubled with each failure up to 16 min, with a random quarter on top.
    fn pause(&mut self, failures: u32) -> Duration {
        let seconds = RETRY.0.saturating_mul(1 << failures.min(10)).min(RETRY.1) as f64;
        Duration::from_secs_f64(seconds * self.random.random_range(1.0..1.25))
    }

    fn plan(&mut self, key: &Key, due: Instant) {
        if let Some(sub) = self.table.get_mut(key) {
            sub.due = due;
            self.heap.push(Reverse((due, key.clone())));
        }
    }

    /// Says what is wanted of a device: subject and seconds. New ones are begun, those no longer wanted cancelled. `again`: the
    /// device has just registered anew and may have forgotten us; then those that stand are refreshed at once, and refusals are
    /// tried again.
    pub fn want(&mut self, now: Instant, id: &str, topics: &[(Topic, u32)], again: bool) -> Vec<Order> {
        let id: Arc<str> = Arc::from(id);
        let mut orders = Vec::new();
        for topic in Topic::ALL {
            let key = (id.clone(), topic);
            let Some((_, wish)) = topics.iter().find(|(t, _)| *t == topic) else {
                orders.extend(self.cancel_one(&key));
                continue;
            };
            let soon = now + AFTER_REGISTRATION + Duration::from_millis(self.random.random_range(0..1000));
            let dialog = self.fresh();
            match self.table.get_mut(&key) {
                None => {
                    let sub = Sub { dialog, stage: Stage::Due, due: soon, until: None, wish: *wish, failures: 0 };
                    self.table.insert(key.clone(), sub);
                    self.plan(&key, soon);
                }
                Some(sub) if again && matches!(sub.stage, Stage::Refused(_)) => {
                    *sub = Sub { dialog, stage: Stage::Due, due: soon, until: None, wish: *wish, failures: 0 };
                    self.plan(&key, soon);
                }
                Some(sub) if again && matches!(sub.stage, Stage::Active | Stage::Due) => {
                    sub.failures = 0;
                    self.plan(&key, soon);
                }
                Some(_) => {}
            }
        }
        orders
    }

    fn cancel_one(&mut self, key: &Key) -> Option<Order> {
        let mut sub = self.table.remove(key)?;
        if sub.stage == Stage::Asking {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        // Without an answer there is no dialog that could be ended.
        sub.dialog.remote_tag.as_ref()?;
        sub.dialog.cseq += 1;
        Some(Order { id: key.0.clone(), topic: key.1, dialog: sub.dialog, expires: 0 })
    }

    /// Ends all of a device's subscriptions.
    pub fn cancel(&mut self, id: &str) -> Vec<Order> {
        let id: Arc<str> = Arc::from(id);
        Topic::ALL.into_iter().filter_map(|t| self.cancel_one(&(id.clone(), t))).collect()
    }

    /// Ends everything: the gateway goes.
    pub fn cancel_all(&mut self) -> Vec<Order> {
        let keys: Vec<Key> = self.table.keys().cloned().collect();
        keys.iter().filter_map(|k| self.cancel_one(k)).collect()
    }

    /// The device is off line or has logged out: nothing can be said to it. What stood is gone.
    pub fn forget(&mut self, id: &str) {
        self.cancel(id);
    }

    /// The answer to an order. Late ones, to orders that are no longer waited for, change nothing.
    pub fn answered(&mut self, now: Instant, id: &str, topic: Topic, call_id: &str, cseq: u32, answer: Answer) {
        let key: Key = (Arc::from(id), topic);
        let dialog = self.fresh();
        let Some(sub) = self.table.get_mut(&key) else { return };
        if sub.stage != Stage::Asking || sub.dialog.cseq != cseq || sub.dialog.call_id != call_id {
            return;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        sub.stage = Stage::Due;
        match answer {
            Answer::Granted { expires: Some(0), .. } => {
                sub.failures += 1;
                sub.dialog = dialog;
                sub.until = None;
                let failures = sub.failures;
                let due = now + self.pause(failures + 2);
                self.plan(&key, due);
            }
            Answer::Granted { remote_tag, expires } => {
                // A device may only shorten; a longer time is not relied upon.
                let seconds = expires.unwrap_or(sub.wish).min(sub.wish).clamp(GRANTED.0, GRANTED.1);
                sub.dialog.remote_tag = remote_tag.or(sub.dialog.remote_tag.take()).or(Some(String::new()));
                sub.stage = Stage::Active;
                sub.failures = 0;
                sub.until = Some(now + Duration::from_secs(u64::from(seconds)));
                self.plan(&key, now + Duration::from_millis(u64::from(seconds) * 800));
            }
            Answer::Gone => {
                let first = sub.failures == 0;
                sub.failures += 1;
                sub.dialog = dialog;
                sub.until = None;
                let failures = sub.failures;
                let due = if first { now } else { now + self.pause(failures) };
                self.plan(&key, due);
            }
            Answer::TooShort(min) if sub.failures < 3 && min > sub.wish && min <= GRANTED.1 => {
                sub.failures += 1;
                sub.wish = min;
                self.plan(&key, now);
            }
            Answer::TooShort(_) => sub.stage = Stage::Refused(423),
            Answer::Refused(code) => {
                sub.stage = Stage::Refused(code);
                sub.dialog.remote_tag = None;
                sub.until = None;
            }
            Answer::Failed => {
                sub.failures += 1;
                let failures = sub.failures;
                let pause = self.pause(failures);
                self.failed(&key, now + pause, dialog);
            }
        }
    }

    /// Tries again at `due`: in the same dialog as long as what was granted lasts, else in a new one.
    fn failed(&mut self, key: &Key, due: Instant, dialog: Dialog) {
        if let Some(sub) = self.table.get_mut(key) {
            if sub.until.is_some_and(|until| due < until) {
                sub.stage = Stage::Active;
            } else {
                sub.stage = Stage::Due;
                sub.dialog = dialog;
                sub.until = None;
            }
        }
        self.plan(key, due);
    }

    /// A NOTIFY came, with its `Subscription-State` where it had one. It is to be answered 200 and used in any case.
    pub fn notified(&mut self, now: Instant, id: &str, topic: Topic, call_id: &str, state: Option<SubState>) -> Heard {
        let key: Key = (Arc::from(id), topic);
        let dialog = self.fresh();
        let Some(sub) = self.table.get_mut(&key) else { return Heard::Unknown };
        if sub.dialog.call_id != call_id {
            return Heard::OutOfDialog;
        }
        match state {
            Some(SubState::Terminated { reason, retry_after }) if sub.stage != Stage::Asking => {
                sub.until = None;
                match reason.as_str() {
                    "rejected" | "noresource" | "invariant" => {
                        sub.stage = Stage::Refused(0);
                        sub.dialog.remote_tag = None;
                    }
                    _ => {
                        sub.stage = Stage::Due;
                        sub.dialog = dialog;
                        let failures = sub.failures;
                        sub.failures += 1;
                        let asked = retry_after.map(|s| Duration::from_secs(u64::from(s.min(3600))));
                        let least = match reason.as_str() {
                            "deactivated" | "timeout" => Duration::from_millis(200),
                            _ => Duration::from_secs(5),
                        };
                        let pause = if failures == 0 { least } else { self.pause(failures) };
                        self.plan(&key, now + pause.max(asked.unwrap_or_default()));
                    }
                }
            }
            Some(SubState::Active { expires: Some(seconds) }) if sub.stage == Stage::Active && seconds > 0 => {
                let seconds = seconds.clamp(GRANTED.0, GRANTED.1);
                let until = now + Duration::from_secs(u64::from(seconds));
                // Only what is clearly shorter counts: each NOTIFY tells the seconds that are left.
                if sub.until.is_some_and(|old| until + Duration::from_secs(10) < old) {
                    sub.until = Some(until);
                    let due = (now + Duration::from_millis(u64::from(seconds) * 800)).min(sub.due);
                    self.plan(&key, due);
                }
            }
            _ => {}
        }
        Heard::InDialog
    }

    /// When to call [`Subscriptions::tick`] at the latest; none while all that may wait for answers do.
    pub fn next(&self) -> Option<Instant> {
        let Reverse((due, _)) = self.heap.peek()?;
        match self.window {
            Some((began, sent)) if sent >= PER_WINDOW => Some((*due).max(began + WINDOW)),
            _ => Some(*due),
        }
    }

    /// The orders that are due.
    pub fn tick(&mut self, now: Instant) -> Vec<Order> {
        if self.window.is_none_or(|(began, _)| now.saturating_duration_since(began) >= WINDOW) {
            self.window = Some((now, 0));
        }
        let mut orders = Vec::new();
        let mut later = Vec::new();
        while let Some(Reverse((due, _))) = self.heap.peek() {
            if *due > now || self.window.is_some_and(|(_, sent)| sent >= PER_WINDOW) {
                break;
            }
            let Some(Reverse((due, key))) = self.heap.pop() else { break };
            let dialog = self.fresh();
            let full = self.in_flight >= IN_FLIGHT;
            let Some(sub) = self.table.get_mut(&key).filter(|s| s.due == due) else { continue };
            match sub.stage {
                Stage::Refused(_) => {}
                Stage::Asking => {
                    self.in_flight = self.in_flight.saturating_sub(1);
                    sub.failures += 1;
                    let failures = sub.failures;
                    let pause = self.pause(failures);
                    self.failed(&key, now + pause, dialog);
                }
                Stage::Due | Stage::Active if full => later.push(key),
                Stage::Due | Stage::Active => {
                    if sub.until.is_some_and(|until| until <= now) {
                        sub.dialog = dialog;
                        sub.until = None;
                    }
                    sub.dialog.cseq += 1;
                    sub.stage = Stage::Asking;
                    let order =
                        Order { id: key.0.clone(), topic: key.1, dialog: sub.dialog.clone(), expires: sub.wish };
                    orders.push(order);
                    self.in_flight += 1;
                    if let Some((_, sent)) = &mut self.window {
                        *sent += 1;
                    }
                    self.plan(&key, now + ANSWER);
                }
            }
        }
        for key in later {
            self.plan(&key, now + WINDOW);
        }
        // Entries that were overtaken are cleared out before they add up.
        if self.heap.len() > 2 * self.table.len() + 64 {
            let live = self.table.iter().filter(|(_, s)| !matches!(s.stage, Stage::Refused(_)));
            self.heap = live.map(|(k, s)| Reverse((s.due, k.clone()))).collect();
        }
        orders
    }

    /// How many stand, by subject.
    pub fn standing(&self, topic: Topic) -> usize {
        self.table.iter().filter(|((_, t), s)| *t == topic && s.until.is_some()).count()
    }

    /// Why a subject is not subscribed to: the code of the refusal, 0 when the device ended it for good.
    pub fn refusal(&self, id: &str, topic: Topic) -> Option<u16> {
        match self.table.get(&(Arc::from(id), topic))?.stage {
            Stage::Refused(code) => Some(code),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "subscribe_tests.rs"]
mod tests;
