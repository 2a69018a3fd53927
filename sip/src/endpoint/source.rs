//! What each source IP may do.

use std::{collections::HashMap, net::IpAddr, time::Instant};

use crate::limits::Limits;

#[derive(Debug)]
struct Source {
    tokens: f64,
    last: Instant,
    transactions: usize,
}

#[derive(Debug)]
pub(super) struct Sources {
    map: HashMap<IpAddr, Source>,
    /// When stale sources were last looked for: a full table is not walked for each forged address.
    swept: Option<Instant>,
    rate: f64,
    max: usize,
    transactions: usize,
}

impl Sources {
    pub fn new(limits: &Limits) -> Sources {
        Sources {
            map: HashMap::new(),
            swept: None,
            rate: f64::from(limits.messages_per_second.max(1)),
            max: limits.max_sources.max(1),
            transactions: limits.transactions_per_source,
        }
    }

    /// A token bucket of one second's messages, twice as deep.
    pub fn allow(&mut self, now: Instant, ip: IpAddr) -> bool {
        if self.map.len() >= self.max && !self.map.contains_key(&ip) {
            if self.swept.is_some_and(|at| now.saturating_duration_since(at).as_millis() < 500) {
                return false;
            }
            self.swept = Some(now);
            self.map.retain(|_, s| s.transactions > 0 || now.saturating_duration_since(s.last).as_secs() < 2);
            if self.map.len() >= self.max {
                return false;
            }
        }
        let deep = self.rate * 2.0;
        let s = self.map.entry(ip).or_insert(Source { tokens: deep, last: now, transactions: 0 });
        let passed = now.saturating_duration_since(s.last).as_secs_f64();
        s.tokens = (s.tokens + passed * self.rate).min(deep);
        s.last = now.max(s.last);
        if s.tokens < 1.0 {
            return false;
        }
        s.tokens -= 1.0;
        true
    }

    pub fn may_open(&self, ip: IpAddr) -> bool {
        self.map.get(&ip).is_none_or(|s| s.transactions < self.transactions)
    }

    /// Transactions that it has open, or that were answered and are still known.
    pub fn open(&self, ip: IpAddr) -> usize {
        self.map.get(&ip).map_or(0, |s| s.transactions)
    }

    pub fn opened(&mut self, ip: IpAddr) {
        if let Some(s) = self.map.get_mut(&ip) {
            s.transactions += 1;
        }
    }

    pub fn closed(&mut self, ip: IpAddr) {
        if let Some(s) = self.map.get_mut(&ip) {
            s.transactions = s.transactions.saturating_sub(1);
        }
    }
}
