//! Tickets by which telephones in browsers registered (see [`bridge_core::TICKET`]): connection and calls that hang on one end with
//! the sign-in behind it. Pure; asked once a second.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sip::{CallId, FlowId};

/// A call that nobody asked about for so long does not stand any more; none rings longer.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Calls of browsers that are remembered at once.
const MOST_CALLS: usize = 16_384;

#[derive(Debug)]
struct Carried {
    ticket: String,
    over: bool,
    asked: Instant,
}

#[derive(Debug, Default)]
pub(crate) struct Tickets {
    /// Connections that registered with a ticket, and which.
    flows: HashMap<FlowId, String>,
    /// Calls over such connections. They know the ticket themselves: the connection may close before it ends.
    calls: HashMap<CallId, Carried>,
}

impl Tickets {
    /// A connection registered with this ticket, or by the account's own secret.
    pub fn registered(&mut self, flow: FlowId, ticket: Option<String>) {
        match ticket {
            Some(ticket) => self.flows.insert(flow, ticket),
            None => self.flows.remove(&flow),
        };
    }

    /// A call over this connection begins.
    pub fn call(&mut self, now: Instant, call: CallId, flow: FlowId) {
        let Some(ticket) = self.flows.get(&flow).filter(|_| self.calls.len() < MOST_CALLS) else { return };
        self.calls.insert(call, Carried { ticket: ticket.clone(), over: false, asked: now });
    }

    /// Whether the sign-in behind a call is over. To be asked more often than [`FORGOTTEN`] while the call stands.
    pub fn withdrawn(&mut self, now: Instant, call: CallId) -> bool {
        self.calls.get_mut(&call).is_some_and(|c| {
            c.asked = now;
            c.over
        })
    }

    /// Gives the connections whose ticket is over, once. `open`: the connection stands.
    pub fn tick(&mut self, now: Instant, open: impl Fn(FlowId) -> bool, over: impl Fn(&str) -> bool) -> Vec<FlowId> {
        self.calls.retain(|_, c| now.saturating_duration_since(c.asked) < FORGOTTEN);
        self.calls.values_mut().for_each(|c| c.over |= over(&c.ticket));
        self.flows.retain(|flow, _| open(*flow));
        let out: Vec<FlowId> = self.flows.iter().filter(|(_, t)| over(t)).map(|(f, _)| *f).collect();
        out.iter().for_each(|flow| {
            self.flows.remove(flow);
        });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls of a sign-in that is over are withdrawn, also when its connection closed before; those of others and of desk phones,
    /// and a page that registered anew by the account's secret, are not.
    #[test]
    fn calls_end_with_their_ticket() {
        let (now, mut all) = (Instant::now(), Tickets::default());
        let [mine, others, desk] = [FlowId(1), FlowId(2), FlowId(3)];
        all.registered(mine, Some("8001~a".to_owned()));
        all.registered(others, Some("8002~b".to_owned()));
        for (call, flow) in [(1, mine), (2, others), (3, desk)] {
            all.call(now, CallId(call), flow);
        }
        let good = |_: &str| false;
        assert!(all.tick(now, |_| true, good).is_empty() && !all.withdrawn(now, CallId(1)));
        let signed_out = |ticket: &str| ticket == "8001~a";
        assert!(all.tick(now, |flow| flow != mine, signed_out).is_empty(), "a closed connection is told by nobody");
        assert_eq!([1, 2, 3].map(|c| all.withdrawn(now, CallId(c))), [true, false, false]);
        assert_eq!(all.tick(now, |_| true, |ticket| ticket == "8002~b"), [others]);
        assert!(all.tick(now, |_| true, |_| true).is_empty(), "once");
        assert!(all.withdrawn(now, CallId(2)) && !all.withdrawn(now, CallId(3)));
        all.registered(mine, Some("8001~c".to_owned()));
        all.registered(mine, None);
        all.call(now, CallId(4), mine);
        all.tick(now, |_| true, |_| true);
        assert!(!all.withdrawn(now, CallId(4)));
    }

    #[test]
    fn what_nobody_asks_about_is_forgotten() {
        let (now, mut all) = (Instant::now(), Tickets::default());
        all.registered(FlowId(1), Some("8001~a".to_owned()));
        for call in 0..MOST_CALLS as u64 + 5 {
            all.call(now, CallId(call), FlowId(1));
        }
        assert_eq!(all.calls.len(), MOST_CALLS);
        let later = now + FORGOTTEN / 2;
        assert!(!all.withdrawn(later, CallId(7)));
        all.tick(later + FORGOTTEN / 2, |_| true, |_| false);
        assert_eq!(all.calls.keys().copied().collect::<Vec<_>>(), [CallId(7)]);
    }
}
