//! The waiting line of a duty desk: who waits, which agents are free, and who rings whom. A table without clock and I/O; the
//! callers' own tasks ask it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bridge_core::{AgentState, CallParty, QueueOrder, QueueRule, QueueView, QueueWaiting, Timestamp};

/// An agent who let it ring is not asked again for so long.
const UNANSWERED: Duration = Duration::from_secs(5);

/// A caller who waits.
#[derive(Debug, Clone)]
struct Waiter {
    call: String,
    caller: CallParty,
    since: Timestamp,
    /// Agents ring for him.
    served: bool,
}

/// What is known of an agent, over all queues.
#[derive(Debug, Clone, Copy)]
struct Agent {
    state: AgentState,
    /// Not asked before.
    free_from: Instant,
    idle_since: Instant,
}

#[derive(Default)]
struct Tables {
    lines: HashMap<String, VecDeque<Waiter>>,
    agents: HashMap<String, Agent>,
    /// Who was asked last in each queue.
    last: HashMap<String, String>,
}

/// All queues. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Queues(Arc<Mutex<Tables>>);

impl Queues {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place in the line; none when it is full.
    pub fn join(&self, rule: &QueueRule, call: &str, caller: CallParty) -> Option<Waits> {
        let mut tables = self.lock();
        let line = tables.lines.entry(rule.number.clone()).or_default();
        if line.len() >= rule.most_waiting as usize {
            return None;
        }
        line.push_back(Waiter { call: call.to_owned(), caller, since: Timestamp::now(), served: false });
        Some(Waits { queues: self.clone(), queue: rule.number.clone(), call: call.to_owned() })
    }

    /// The queue as it is now. `online`: whether a phone is registered, and whether it is in a call.
    pub fn view(&self, rule: QueueRule, now: Instant, online: impl Fn(&str) -> (bool, bool)) -> QueueView {
        let tables = self.lock();
        let line = tables.lines.get(&rule.number).into_iter().flatten();
        let waiting = line.map(|w| QueueWaiting { call: w.call.clone(), caller: w.caller.clone(), since: w.since });
        let waiting = waiting.collect();
        let state = |member: &bridge_core::QueueMember| match tables.agents.get(&member.phone) {
            _ if !member.signed_in => AgentState::SignedOut,
            Some(agent) if agent.state != AgentState::Idle => agent.state,
            _ if !online(&member.phone).0 => AgentState::Offline,
            _ if online(&member.phone).1 => AgentState::Busy,
            Some(agent) if now < agent.free_from => AgentState::WrapUp,
            _ => AgentState::Idle,
        };
        let agents = rule.members.iter().map(|m| (m.phone.clone(), state(m))).collect();
        QueueView { rule, waiting, agents }
    }
}

/// A caller's place in a line; dropping it leaves the line.
pub(crate) struct Waits {
    queues: Queues,
    queue: String,
    call: String,
}

impl Waits {
    /// His place, from 1.
    pub fn position(&self) -> usize {
        let tables = self.queues.lock();
        let line = tables.lines.get(&self.queue);
        line.and_then(|l| l.iter().position(|w| w.call == self.call)).map_or(1, |n| n + 1)
    }

    /// The agents who shall ring for this caller now; empty while others go first or nobody is free. `can` says whether a phone is
    /// registered and in no call.
    pub fn claim(&self, rule: &QueueRule, now: Instant, can: impl Fn(&str) -> bool) -> Vec<Claim> {
        let mut tables = self.queues.lock();
        let tables = &mut *tables;
        let Some(line) = tables.lines.get_mut(&self.queue) else { return Vec::new() };
        let Some(at) = line.iter().position(|w| w.call == self.call) else { return Vec::new() };
        if line.iter().take(at).any(|w| !w.served) {
            return Vec::new();
        }
        let free = |phone: &str| {
            let idle = tables.agents.get(phone).is_none_or(|a| a.state == AgentState::Idle && now >= a.free_from);
            idle && can(phone)
        };
        let members = || rule.members.iter().filter(|m| m.signed_in).map(|m| m.phone.as_str());
        let chosen: Vec<String> = match rule.order {
            QueueOrder::All => members().filter(|p| free(p)).map(str::to_owned).collect(),
            QueueOrder::Turn => {
                let last = tables.last.get(&self.queue);
                let after = members().position(|p| Some(p) == last.map(String::as_str)).map_or(0, |n| n + 1);
                let count = members().count();
                members().cycle().skip(after).take(count).find(|p| free(p)).map(str::to_owned).into_iter().collect()
            }
            QueueOrder::Idle => {
                let since = |phone: &&str| tables.agents.get(*phone).map(|a| a.idle_since);
                members().filter(|p| free(p)).min_by_key(since).map(str::to_owned).into_iter().collect()
            }
        };
        if let Some(first) = chosen.first() {
            tables.last.insert(self.queue.clone(), first.clone());
            if let Some(waiter) = line.get_mut(at) {
                waiter.served = true;
            }
        }
        for phone in &chosen {
            let idle_since = tables.agents.get(phone).map_or(now, |a| a.idle_since);
            let agent = Agent { state: AgentState::Ringing, free_from: now, idle_since };
            tables.agents.insert(phone.clone(), agent);
        }
        let wrap_up = Duration::from_secs(u64::from(rule.wrap_up_s));
        let claim = |phone| Claim { queues: self.queues.clone(), phone, wrap_up, talks: false };
        chosen.into_iter().map(claim).collect()
    }

    /// Nobody rings for him any more.
    pub fn unserved(&self) {
        let mut tables = self.queues.lock();
        let line = tables.lines.get_mut(&self.queue).into_iter().flatten();
        line.filter(|w| w.call == self.call).for_each(|w| w.served = false);
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut tables = self.queues.lock();
        if let Some(line) = tables.lines.get_mut(&self.queue) {
            line.retain(|w| w.call != self.call);
            if line.is_empty() {
                tables.lines.remove(&self.queue);
            }
        }
    }
}

/// An agent who rings for a caller or talks with him; dropped, he is free again after his time.
pub(crate) struct Claim {
    queues: Queues,
    pub phone: String,
    wrap_up: Duration,
    talks: bool,
}

impl Claim {
    /// He has answered.
    pub fn answered(&mut self) {
        self.talks = true;
        if let Some(agent) = self.queues.lock().agents.get_mut(&self.phone) {
            agent.state = AgentState::Busy;
        }
    }

    /// Another agent was quicker: no fault of his.
    pub fn lost(&mut self) {
        self.wrap_up = Duration::ZERO;
        self.talks = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let now = Instant::now();
        let wait = if self.talks { self.wrap_up } else { UNANSWERED };
        if let Some(agent) = self.queues.lock().agents.get_mut(&self.phone) {
            agent.state = AgentState::Idle;
            agent.free_from = now + wait;
            if !self.wrap_up.is_zero() {
                agent.idle_since = now + wait;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use bridge_core::QueueMember;

    use super::*;

    fn rule(order: QueueOrder) -> QueueRule {
        let member = |p: &str| QueueMember { phone: p.into(), signed_in: p != "4" };
        QueueRule {
            number: "500".into(),
            members: ["1", "2", "3", "4"].map(member).to_vec(),
            order,
            most_waiting: 3,
            wrap_up_s: 0,
            ..QueueRule::default()
        }
    }

    fn who(claims: &[Claim]) -> Vec<&str> {
        claims.iter().map(|c| c.phone.as_str()).collect()
    }

    #[test]
    fn the_first_goes_first_and_agents_are_asked_by_the_order() {
        let queues = Queues::default();
        let party = |n: &str| CallParty::new(n, n);
        let turn = rule(QueueOrder::Turn);
        let now = Instant::now();
        let [a, b, c] = ["a", "b", "c"].map(|n| queues.join(&turn, n, party(n)).unwrap());
        assert!(queues.join(&turn, "d", party("d")).is_none(), "the line is full");
        assert_eq!((a.position(), b.position(), c.position()), (1, 2, 3));
        let all = |_: &str| true;
        assert!(b.claim(&turn, now, all).is_empty(), "nobody overtakes");
        let first = a.claim(&turn, now, all);
        assert_eq!(who(&first), ["1"]);
        let second = b.claim(&turn, now, |p| p != "2");
        assert_eq!(who(&second), ["3"], "2 is on the phone");
        assert_eq!(who(&c.claim(&turn, now, all)), ["2"]);
        drop((first, a));
        assert_eq!(b.position(), 1);
        // 1 let it ring and has a pause; 4 is signed out.
        drop(second);
        b.unserved();
        assert!(b.claim(&turn, now, all).is_empty());
        let later = now + UNANSWERED + Duration::from_secs(1);
        assert_eq!(who(&b.claim(&turn, later, all)), ["3"], "the next after 2");
    }

    #[test]
    fn all_at_once_and_the_longest_idle() {
        let queues = Queues::default();
        let party = |n: &str| CallParty::new(n, n);
        let all = rule(QueueOrder::All);
        let now = Instant::now();
        let a = queues.join(&all, "a", party("a")).unwrap();
        let mut rung = a.claim(&all, now, |p| p != "3");
        assert_eq!(who(&rung), ["1", "2"]);
        let mut answered = rung.remove(1);
        answered.answered();
        rung.iter_mut().for_each(Claim::lost);
        drop((rung, a));
        let view = queues.view(all.clone(), Instant::now(), |p| (p != "3", false));
        use AgentState::{Busy, Idle, Offline, SignedOut};
        assert_eq!(view.agents.iter().map(|a| a.1).collect::<Vec<_>>(), [Idle, Busy, Offline, SignedOut]);
        assert!(view.waiting.is_empty());
        // Whoever has never talked is asked before the one who just did.
        drop(answered);
        let idle = QueueRule { order: QueueOrder::Idle, ..all };
        let b = queues.join(&idle, "b", party("b")).unwrap();
        let rung = b.claim(&idle, Instant::now(), |p| p != "3");
        assert_eq!(who(&rung), ["1"]);
    }
}
