//! Keeps the way to phones behind NAT open, and notices phones that are gone: OPTIONS (RFC 3261 11) to their contacts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip::{FlowId, Method, NameAddr, Request, Target, Uri};

use crate::phone::Shared;

/// Pings in a row without an answer after which a contact counts as gone.
const MISSES: u8 = 3;
/// How long an answer may take: four sendings on a LAN, three behind a satellite.
const ANSWER: Duration = Duration::from_secs(8);
/// Pings begun in one second.
const A_SECOND: usize = 500;

#[derive(Debug)]
struct State {
    next: Instant,
    asking: bool,
    missed: u8,
}

/// Who was asked when, and how often in vain. No clock of its own.
#[derive(Debug, Default)]
pub(crate) struct Pings(HashMap<FlowId, State>);

impl Pings {
    /// The flows to ask now, of all that are to be kept. Forgets the others.
    pub fn due(&mut self, now: Instant, all: &[FlowId], every: Duration) -> Vec<FlowId> {
        if self.0.len() > all.len() {
            let known: std::collections::HashSet<_> = all.iter().collect();
            self.0.retain(|id, _| known.contains(id));
        }
        let mut due = Vec::new();
        for id in all {
            let state = self.0.entry(*id).or_insert_with(|| State { next: now + every, asking: false, missed: 0 });
            if state.next <= now && !state.asking && due.len() < A_SECOND {
                (state.asking, state.next) = (true, now + every);
                due.push(*id);
            }
        }
        due
    }

    /// What came of a ping. `Some(reachable)` when that changed.
    pub fn answered(&mut self, id: FlowId, good: bool) -> Option<bool> {
        let state = self.0.get_mut(&id)?;
        let before = state.missed >= MISSES;
        state.asking = false;
        state.missed = if good { 0 } else { state.missed.saturating_add(1).min(MISSES) };
        let after = state.missed >= MISSES;
        (before != after).then_some(!after)
    }

    /// The phone said something of its own accord.
    pub fn heard(&mut self, id: FlowId) {
        if let Some(state) = self.0.get_mut(&id) {
            state.missed = 0;
        }
    }

    /// `None`: it is not asked.
    pub fn reachable(&self, id: FlowId) -> Option<bool> {
        self.0.get(&id).map(|s| s.missed < MISSES)
    }
}

/// Asks whoever is due; to be called once a second.
pub(crate) fn tick(shared: &Arc<Shared>) {
    for (user, flow, contact, path) in shared.accounts.pings_due() {
        let shared = shared.clone();
        tokio::spawn(async move {
            let asked = shared.ctx.sip.request(Target::Flow(flow), options(&shared, flow, contact, &path));
            let answered = tokio::time::timeout(ANSWER, asked).await;
            shared.accounts.pinged(&shared.ctx, &user, flow, matches!(answered, Ok(Ok(_))));
        });
    }
}

fn options(shared: &Shared, flow: FlowId, contact: Uri, path: &[String]) -> Request {
    let own = shared.ctx.sip.local_address(&Target::Flow(flow)).ip().to_string();
    let mut request = Request::new(Method::Options, contact);
    request.headers.set("From", NameAddr::new(Uri::sip("ping", &own, None)).to_string());
    for route in path {
        request.headers.push("Route", route);
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_vain_are_gone_and_one_word_brings_it_back() {
        let (mut pings, t) = (Pings::default(), Instant::now());
        let s = |n| t + Duration::from_secs(n);
        let (all, every) = ([FlowId(1), FlowId(2)], Duration::from_secs(30));
        assert!(pings.due(t, &all, every).is_empty());
        assert_eq!(pings.due(s(30), &all, every), all);
        assert!(pings.due(s(60), &all, every).is_empty(), "asked again before the answer");
        assert_eq!((pings.answered(FlowId(1), false), pings.answered(FlowId(2), true)), (None, None));
        assert_eq!(pings.due(s(60), &all, every), all);
        assert_eq!(pings.answered(FlowId(1), false), None);
        assert_eq!(pings.due(s(90), &all, every), [FlowId(1)]);
        assert_eq!(pings.answered(FlowId(1), false), Some(false));
        assert_eq!((pings.reachable(FlowId(1)), pings.reachable(FlowId(3))), (Some(false), None));
        assert_eq!(pings.due(s(120), &all[..1], every), [FlowId(1)]);
        assert_eq!(pings.answered(FlowId(1), true), Some(true));
        assert_eq!(pings.reachable(FlowId(2)), None, "forgotten with its flow");
    }
}
