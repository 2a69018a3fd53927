//! The floor of one half-duplex group: who may talk, who waits, who is stopped. One machine for all networks, after 3GPP TS 24.380
//! clause 6.3 (floor control server); adapters turn its notices into what their networks understand.
//!
//! A machine: inputs with the time in, [`Notice`]s out by [`Floor::poll`]. No socket, no clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// A participant of the group, as the hall numbers its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Talker(pub u32);

/// 0 to 255, higher goes first (TS 24.380 8.2.3.2).
pub type Priority = u8;

/// The values of TS 24.380 clause 11 and 24.483, by the names that they bear there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// T1: nothing was heard of the talker for so long: the floor is free. 6 s over a satellite.
    pub silence: Duration,
    /// T2: the longest talk.
    pub talk: Duration,
    /// T3: after a revoke the talker is heard for so long, to end the sentence.
    pub grace: Duration,
    /// T20: a grant that no sound follows is told again; T8 a revoke, T7 that the floor is free.
    pub repeat: Duration,
    /// C20, C8, C7: how often.
    pub repeats: u8,
    /// Whoever talked until T2 may ask again so long after it had to end: the others come in before.
    pub retry_after: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        let s = Duration::from_secs;
        Timers { silence: s(4), talk: s(30), grace: s(3), repeat: s(1), repeats: 3, retry_after: s(2) }
    }
}

/// The rules of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    pub timers: Timers,
    /// Most that may wait; beyond it a request is denied.
    pub queue: usize,
    /// From this priority on a request takes the floor from a talker of a lower one; below it waits. Emergency always takes it.
    pub pre_empts_from: Priority,
    /// What an emergency counts as.
    pub emergency: Priority,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { timers: Timers::default(), queue: 16, pre_empts_from: 200, emergency: 250 }
    }
}

/// What a participant may and what its network can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Terms {
    /// The highest that it may ask for.
    pub priority: Priority,
    /// It listens only: asking is denied.
    pub receive_only: bool,
    /// It understands a place in the queue; else it is denied at once, and asks again.
    pub queues: bool,
    /// Its network can be told to stop. A carrier on an open channel cannot: nobody takes the floor from it before it ends, and
    /// what it says while another one has the floor is cut.
    pub revocable: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Terms { priority: 50, receive_only: false, queues: true, revocable: true }
    }
}

/// A request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Wish {
    /// None: the highest that the terms allow.
    pub priority: Option<Priority>,
    pub emergency: bool,
}

/// Why a request was denied (TS 24.380 8.2.6.2, reject causes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// 1.
    AnotherTalks,
    /// 3.
    OnlyOne,
    /// 4.
    RetryAfter,
    /// 5.
    ReceiveOnly,
    /// 7.
    QueueFull,
    /// 255: not of this group.
    Unknown,
}

impl Denial {
    /// The number on the wire.
    pub fn cause(self) -> u16 {
        match self {
            Denial::AnotherTalks => 1,
            Denial::OnlyOne => 3,
            Denial::RetryAfter => 4,
            Denial::ReceiveOnly => 5,
            Denial::QueueFull => 7,
            Denial::Unknown => 255,
        }
    }
}

/// Why a talker was stopped (TS 24.380 8.2.10.2, revoke causes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stop {
    /// 2.
    TooLong,
    /// 3: it may not talk any more, by an operator's order or new terms.
    NoPermission,
    /// 4.
    PreEmpted,
}

impl Stop {
    /// The number on the wire.
    pub fn cause(self) -> u16 {
        match self {
            Stop::TooLong => 2,
            Stop::NoPermission => 3,
            Stop::PreEmpted => 4,
        }
    }
}

/// What one participant is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Talk, for so long at the most.
    Granted {
        left: Duration,
        priority: Priority,
    },
    Denied(Denial),
    /// It waits: its place, 1 is the next, and how many do.
    Queued {
        place: u16,
        of: u16,
    },
    /// Somebody talks. The number orders `Taken` and `Idle` where they overtake each other.
    Taken {
        by: Talker,
        priority: Priority,
        emergency: bool,
        may_ask: bool,
        number: u16,
    },
    Idle {
        number: u16,
    },
    /// Stop talking.
    Revoked(Stop),
    /// What it says is not heard: it talks without the floor.
    Cut,
}

/// Who has the floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    pub by: Talker,
    pub priority: Priority,
    pub emergency: bool,
    /// It was told to stop, and ends its sentence.
    pub stopped: Option<Stop>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    holding: Holding,
    /// T1.
    silent_at: Instant,
    /// T2, from the first sound on (TS 24.380 6.3.4.4.5); T3 after a revoke.
    until: Option<Instant>,
    repeat: Repeat,
}

/// What is told again until it took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Repeat {
    at: Option<Instant>,
    left: u8,
}

impl Repeat {
    fn start(timers: &Timers, now: Instant) -> Repeat {
        Repeat { at: (timers.repeats > 0).then(|| now + timers.repeat), left: timers.repeats }
    }

    const NONE: Repeat = Repeat { at: None, left: 0 };

    /// Whether it is time; the next one is set.
    fn due(&mut self, timers: &Timers, now: Instant) -> bool {
        if self.at.is_none_or(|at| at > now) {
            return false;
        }
        self.left = self.left.saturating_sub(1);
        self.at = (self.left > 0).then(|| now + timers.repeat);
        true
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    who: Talker,
    priority: Priority,
    emergency: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle(Repeat),
    Taken(Held),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Participant {
    terms: Terms,
    /// It talked too long, and may not ask before.
    banned_until: Option<Instant>,
    /// It was told that it is not heard, of this talk.
    told_cut: bool,
}

/// The floor of one group.
#[derive(Debug, Clone)]
pub struct Floor {
    rules: Rules,
    participants: BTreeMap<Talker, Participant>,
    state: State,
    /// Higher priorities first, of one priority who asked first.
    queue: Vec<Waiting>,
    number: u16,
    out: VecDeque<(Talker, Notice)>,
}

impl Floor {
    pub fn new(rules: Rules) -> Floor {
        Floor {
            rules,
            participants: BTreeMap::new(),
            state: State::Idle(Repeat::NONE),
            queue: Vec::new(),
            number: 0,
            out: VecDeque::new(),
        }
    }

    /// Who has the floor now.
    pub fn holding(&self) -> Option<Holding> {
        match &self.state {
            State::Taken(held) => Some(held.holding),
            State::Idle(_) => None,
        }
    }

    /// Who waits, the next one first.
    pub fn waiting(&self) -> impl Iterator<Item = Talker> {
        self.queue.iter().map(|w| w.who)
    }

    /// What is to be told next, and to whom.
    pub fn poll(&mut self) -> Option<(Talker, Notice)> {
        self.out.pop_front()
    }

    /// A newcomer, or new terms of one who is there. Who comes late is told at once who talks.
    pub fn join(&mut self, who: Talker, terms: Terms, now: Instant) {
        let old = self.participants.get(&who).copied();
        let fresh = Participant { terms, banned_until: None, told_cut: false };
        self.participants.insert(who, Participant { terms, ..old.unwrap_or(fresh) });
        if terms.receive_only {
            self.withdraw(who);
            if self.holding().is_some_and(|h| h.by == who && h.stopped.is_none()) {
                self.stop(Stop::NoPermission, now);
            }
        }
        if old.is_none() {
            match self.state {
                State::Taken(held) => self.say(who, self.taken(&held.holding, terms)),
                State::Idle(_) => self.say(who, Notice::Idle { number: self.number }),
            }
        }
    }

    /// It is not of the group any more.
    pub fn leave(&mut self, who: Talker, now: Instant) {
        self.participants.remove(&who);
        self.out.retain(|(to, _)| *to != who);
        self.withdraw(who);
        if self.holding().is_some_and(|h| h.by == who) {
            self.free(now);
        }
    }

    /// The key is pressed.
    pub fn request(&mut self, who: Talker, wish: Wish, now: Instant) {
        let Some(asks) = self.participants.get(&who).copied() else {
            return self.say(who, Notice::Denied(Denial::Unknown));
        };
        let priority = if wish.emergency {
            self.rules.emergency
        } else {
            wish.priority.unwrap_or(asks.terms.priority).min(asks.terms.priority)
        };
        let waiting = Waiting { who, priority, emergency: wish.emergency };
        if asks.terms.receive_only {
            return self.say(who, Notice::Denied(Denial::ReceiveOnly));
        }
        if self.participants.len() < 2 {
            return self.say(who, Notice::Denied(Denial::OnlyOne));
        }
        if asks.banned_until.is_some_and(|until| now < until) && !wish.emergency {
            return self.say(who, Notice::Denied(Denial::RetryAfter));
        }
        match self.state {
            State::Idle(_) => self.grant(waiting, now),
            // Its grant was lost.
            State::Taken(held) if held.holding.by == who && held.holding.stopped.is_none() => {
                self.say(who, self.granted(&held, now));
            }
            State::Taken(held) => self.ask_beside(waiting, asks.terms, &held, now),
        }
    }

    /// A request while somebody has the floor, perhaps the one who asks, who was told to stop.
    fn ask_beside(&mut self, new: Waiting, terms: Terms, held: &Held, now: Instant) {
        let holder = held.holding;
        let revocable = self.participants.get(&holder.by).is_some_and(|p| p.terms.revocable);
        let above = new.priority > holder.priority;
        let pre_empts = revocable && above && (new.emergency || new.priority >= self.rules.pre_empts_from);
        let known = self.queue.iter().position(|w| w.who == new.who);
        if known.is_none() && !terms.queues && !pre_empts {
            return self.say(new.who, Notice::Denied(Denial::AnotherTalks));
        }
        if known.is_none() && self.queue.len() >= self.rules.queue {
            // Who is more urgent than the last one has its place.
            match self.queue.last().copied() {
                Some(last) if last.priority < new.priority => {
                    self.queue.pop();
                    self.say(last.who, Notice::Denied(Denial::QueueFull));
                }
                _ => return self.say(new.who, Notice::Denied(Denial::QueueFull)),
            }
        }
        match known {
            // Asked again: the place is told again, or a better one if it is more urgent now.
            Some(at) if self.queue.get(at).is_some_and(|old| old.priority >= new.priority) => {}
            Some(at) => {
                self.queue.remove(at);
                self.enqueue(new);
            }
            None => self.enqueue(new),
        }
        self.tell_places();
        if pre_empts && holder.stopped.is_none() {
            self.stop(Stop::PreEmpted, now);
        }
    }

    fn enqueue(&mut self, new: Waiting) {
        let at = self.queue.iter().position(|w| w.priority < new.priority).unwrap_or(self.queue.len());
        self.queue.insert(at, new);
    }

    /// The key is let go: of the one who talks, or who waits.
    pub fn release(&mut self, who: Talker, now: Instant) {
        if let Some(p) = self.participants.get_mut(&who) {
            p.told_cut = false;
        }
        self.withdraw(who);
        if self.holding().is_some_and(|h| h.by == who) {
            self.free(now);
        }
    }

    /// Sound of a participant. Whether the others may hear it.
    pub fn speech(&mut self, who: Talker, now: Instant) -> bool {
        let timers = self.rules.timers;
        if let State::Taken(held) = &mut self.state
            && held.holding.by == who
        {
            held.silent_at = now + timers.silence;
            if held.holding.stopped.is_none() {
                held.repeat = Repeat::NONE;
                held.until.get_or_insert(now + timers.talk);
            }
            return true;
        }
        if let Some(p) = self.participants.get_mut(&who)
            && !std::mem::replace(&mut p.told_cut, true)
        {
            self.say(who, Notice::Cut);
        }
        false
    }

    /// Somebody who waits wants to know its place (TS 24.380 6.3.4.4.9).
    pub fn ask_place(&mut self, who: Talker) {
        let place = self.queue.iter().position(|w| w.who == who);
        let of = self.queue.len() as u16;
        match place {
            Some(at) => self.say(who, Notice::Queued { place: at as u16 + 1, of }),
            None => self.say(who, Notice::Queued { place: 0, of }),
        }
    }

    /// An operator takes the floor away from whoever has it.
    pub fn revoke(&mut self, now: Instant) {
        if self.holding().is_some_and(|h| h.stopped.is_none()) {
            self.stop(Stop::NoPermission, now);
        }
    }

    /// When [`Floor::tick`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle(repeat) => repeat.at,
            State::Taken(held) => [Some(held.silent_at), held.until, held.repeat.at].into_iter().flatten().min(),
        }
    }

    pub fn tick(&mut self, now: Instant) {
        let timers = self.rules.timers;
        match &mut self.state {
            State::Idle(repeat) => {
                if repeat.due(&timers, now) {
                    let number = self.number;
                    self.say_all(|_, _| Some(Notice::Idle { number }));
                }
            }
            State::Taken(held) => {
                let (by, stopped) = (held.holding.by, held.holding.stopped);
                if now >= held.silent_at {
                    return self.free(now);
                }
                match (held.until.is_some_and(|until| now >= until), stopped) {
                    (true, None) => self.stop(Stop::TooLong, now),
                    (true, Some(_)) => self.free(now),
                    (false, _) => {
                        if held.repeat.due(&timers, now) {
                            let held = *held;
                            let again = stopped.map_or_else(|| self.granted(&held, now), Notice::Revoked);
                            self.say(by, again);
                        }
                    }
                }
            }
        }
    }

    fn grant(&mut self, to: Waiting, now: Instant) {
        let timers = self.rules.timers;
        let holding = Holding { by: to.who, priority: to.priority, emergency: to.emergency, stopped: None };
        let repeat = Repeat::start(&timers, now);
        let held = Held { holding, silent_at: now + timers.silence, until: None, repeat };
        self.state = State::Taken(held);
        self.number = self.number.wrapping_add(1);
        if let Some(p) = self.participants.get_mut(&to.who) {
            p.told_cut = false;
        }
        self.say(to.who, self.granted(&held, now));
        let taken = |floor: &Floor, terms| floor.taken(&holding, terms);
        self.say_all(|floor, (who, p)| (who != to.who).then(|| taken(floor, p.terms)));
    }

    /// The talker is told to stop; T3 ends it if it does not.
    fn stop(&mut self, why: Stop, now: Instant) {
        let timers = self.rules.timers;
        let State::Taken(held) = &mut self.state else { return };
        let by = held.holding.by;
        held.holding.stopped = Some(why);
        held.until = Some(now + timers.grace);
        held.repeat = Repeat::start(&timers, now);
        self.say(by, Notice::Revoked(why));
        if why == Stop::TooLong
            && timers.retry_after > Duration::ZERO
            && let Some(p) = self.participants.get_mut(&by)
        {
            p.banned_until = Some(now + timers.grace + timers.retry_after);
        }
    }

    /// Nobody talks: the next one who waits, or all are told.
    fn free(&mut self, now: Instant) {
        self.state = State::Idle(Repeat::NONE);
        if !self.queue.is_empty() && self.participants.len() >= 2 {
            let next = self.queue.remove(0);
            self.grant(next, now);
            return self.tell_places();
        }
        for last in std::mem::take(&mut self.queue) {
            self.say(last.who, Notice::Denied(Denial::OnlyOne));
        }
        self.number = self.number.wrapping_add(1);
        self.state = State::Idle(Repeat::start(&self.rules.timers, now));
        let number = self.number;
        self.say_all(|_, _| Some(Notice::Idle { number }));
    }

    /// It waits no longer.
    fn withdraw(&mut self, who: Talker) {
        let before = self.queue.len();
        self.queue.retain(|w| w.who != who);
        if self.queue.len() != before {
            self.tell_places();
        }
    }

    fn granted(&self, held: &Held, now: Instant) -> Notice {
        let left = held.until.map_or(self.rules.timers.talk, |until| until.saturating_duration_since(now));
        Notice::Granted { left, priority: held.holding.priority }
    }

    fn taken(&self, holding: &Holding, terms: Terms) -> Notice {
        let Holding { by, priority, emergency, .. } = *holding;
        Notice::Taken { by, priority, emergency, may_ask: !terms.receive_only, number: self.number }
    }

    fn tell_places(&mut self) {
        let of = self.queue.len() as u16;
        for at in 0..self.queue.len() {
            if let Some(w) = self.queue.get(at) {
                self.out.push_back((w.who, Notice::Queued { place: at as u16 + 1, of }));
            }
        }
    }

    fn say(&mut self, to: Talker, notice: Notice) {
        self.out.push_back((to, notice));
    }

    fn say_all(&mut self, notice: impl Fn(&Floor, (Talker, &Participant)) -> Option<Notice>) {
        let told: Vec<_> =
            self.participants.iter().filter_map(|(who, p)| Some((*who, notice(self, (*who, p))?))).collect();
        self.out.extend(told);
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
