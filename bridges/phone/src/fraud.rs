//! Patterns of calls that look like a stolen account. No clock and no I/O: whoever uses it gives the time.
//!
//! Calls to outside are what costs money and what thieves want: the patterns look at those. The number of calls a minute is
//! bounded for all.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Accounts that are watched at once; beyond it those without calls for longest are forgotten.
const MOST_ACCOUNTS: usize = 20_000;
/// Entries kept of one account in each list, whatever the settings say.
const MOST_ENTRIES: usize = 1_000;
const MINUTE: Duration = Duration::from_secs(60);

/// The section `phone.fraud` of the configuration. 0 turns a pattern off.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FraudConfig {
    /// Calls that an account may begin within a minute; more are refused.
    pub calls_per_minute: u32,
    /// Different outside numbers within the window.
    pub numbers: u32,
    /// Seconds.
    pub window: u32,
    /// Outside calls within the window that were over within `short_seconds`, however they ended.
    pub short_calls: u32,
    pub short_seconds: u32,
    /// Outside numbers with one of these prefixes at night, from this hour to that one, local time.
    pub night_prefixes: Vec<String>,
    pub night_from: u32,
    pub night_to: u32,
    /// Outside calls at the same time from two addresses.
    pub two_addresses: bool,
    /// An account with such a pattern may call nobody outside for `block_seconds`.
    pub block: bool,
    pub block_seconds: u32,
}

impl Default for FraudConfig {
    fn default() -> Self {
        FraudConfig {
            calls_per_minute: 30,
            numbers: 20,
            window: 600,
            short_calls: 20,
            short_seconds: 8,
            night_prefixes: Vec::new(),
            night_from: 22,
            night_to: 6,
            two_addresses: true,
            block: false,
            block_seconds: 3600,
        }
    }
}

impl FraudConfig {
    /// All that is wrong, as (key, why).
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut out = Vec::new();
        let mut want = |good: bool, key: &'static str, why: &str| {
            if !good {
                out.push((key, why.to_owned()));
            }
        };
        let fits = |n: u32| (n as usize) < MOST_ENTRIES;
        want(fits(self.calls_per_minute), "fraud.calls_per_minute", "must be below 1000");
        want(fits(self.numbers), "fraud.numbers", "must be below 1000");
        want(fits(self.short_calls), "fraud.short_calls", "must be below 1000");
        want((60..=86_400).contains(&self.window), "fraud.window", "must be 60 to 86400");
        want(self.night_from < 24, "fraud.night_from", "is an hour, 0 to 23");
        want(self.night_to < 24, "fraud.night_to", "is an hour, 0 to 23");
        want(self.night_prefixes.len() <= 100, "fraud.night_prefixes", "at most 100");
        want(self.block_seconds > 0, "fraud.block_seconds", "must be above 0");
        out
    }
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Pattern {
    ManyNumbers,
    ShortCalls,
    Night,
    TwoAddresses,
}

impl Pattern {
    /// The kind of its alarm.
    pub fn kind(self) -> &'static str {
        match self {
            Pattern::ManyNumbers => "fraud.many_numbers",
            Pattern::ShortCalls => "fraud.short_calls",
            Pattern::Night => "fraud.night_call",
            Pattern::TwoAddresses => "fraud.two_addresses",
        }
    }

    /// zh and en.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Pattern::ManyNumbers => {
                ("短时间内呼叫大量不同外线号码", "Too many different outside numbers in a short time")
            }
            Pattern::ShortCalls => ("短时间内大量外线短呼叫", "Many short calls to outside"),
            Pattern::Night => ("夜间呼叫受监控号段", "A call at night to a watched prefix"),
            Pattern::TwoAddresses => {
                ("同一账号同时从两个地址呼叫外线", "One account calls outside from two addresses at once")
            }
        }
    }
}

/// A call that begins.
pub(crate) struct Begins<'a> {
    pub account: &'a str,
    pub number: &'a str,
    pub from: IpAddr,
    pub outside: bool,
    /// Of the local clock, 0 to 23.
    pub hour: u32,
}

/// Too many calls within a minute: the next is welcome after this time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany(pub Duration);

/// Names a running call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CallKey(u64);

#[derive(Default)]
struct Account {
    begun: VecDeque<Instant>,
    numbers: VecDeque<(Instant, String)>,
    short: VecDeque<Instant>,
    running: HashMap<CallKey, (Instant, IpAddr, bool)>,
    told: HashMap<Pattern, Instant>,
    last: Option<Instant>,
}

/// What is known of the calls of all accounts.
pub(crate) struct Fraud {
    config: FraudConfig,
    accounts: HashMap<String, Account>,
    next: u64,
}

impl Fraud {
    pub fn new(config: FraudConfig) -> Fraud {
        Fraud { config, accounts: HashMap::new(), next: 0 }
    }

    /// A call begins; what it looks like, and its key for [`Fraud::over`].
    pub fn begin(&mut self, now: Instant, call: &Begins<'_>) -> Result<(CallKey, Vec<Pattern>), TooMany> {
        if self.accounts.len() >= MOST_ACCOUNTS && !self.accounts.contains_key(call.account) {
            let old = now.checked_sub(Duration::from_secs(u64::from(self.config.window)));
            self.accounts.retain(|_, a| !a.running.is_empty() || a.last > old);
            if self.accounts.len() >= MOST_ACCOUNTS {
                self.accounts.retain(|_, a| !a.running.is_empty());
            }
        }
        let config = &self.config;
        let window = Duration::from_secs(u64::from(config.window));
        let account = self.accounts.entry(call.account.to_owned()).or_default();
        account.last = Some(now);
        while account.begun.front().is_some_and(|t| now.saturating_duration_since(*t) >= MINUTE) {
            account.begun.pop_front();
        }
        if config.calls_per_minute > 0 && account.begun.len() >= config.calls_per_minute as usize {
            let first = account.begun.front().copied().unwrap_or(now);
            return Err(TooMany(MINUTE.saturating_sub(now.saturating_duration_since(first))));
        }
        account.begun.push_back(now);
        account.begun.truncate(MOST_ENTRIES);
        let mut seen = Vec::new();
        if call.outside {
            while account.numbers.front().is_some_and(|(t, _)| now.saturating_duration_since(*t) >= window) {
                account.numbers.pop_front();
            }
            if !account.numbers.iter().any(|(_, n)| n == call.number) && account.numbers.len() < MOST_ENTRIES {
                account.numbers.push_back((now, call.number.to_owned()));
            }
            if config.numbers > 0 && account.numbers.len() > config.numbers as usize {
                seen.push(Pattern::ManyNumbers);
            }
            let watched = |p: &String| !p.is_empty() && call.number.starts_with(p.as_str());
            if is_night(config, call.hour) && config.night_prefixes.iter().any(watched) {
                seen.push(Pattern::Night);
            }
            let elsewhere = account.running.values().any(|(_, ip, outside)| *outside && *ip != call.from);
            if config.two_addresses && elsewhere {
                seen.push(Pattern::TwoAddresses);
            }
        }
        self.next += 1;
        let key = CallKey(self.next);
        account.running.insert(key, (now, call.from, call.outside));
        seen.retain(|p| account.tell(now, *p, window));
        Ok((key, seen))
    }

    /// The call is over.
    pub fn over(&mut self, now: Instant, name: &str, key: CallKey) -> Option<Pattern> {
        let account = self.accounts.get_mut(name)?;
        let (began, _, outside) = account.running.remove(&key)?;
        let config = &self.config;
        let window = Duration::from_secs(u64::from(config.window));
        let short = now.saturating_duration_since(began) < Duration::from_secs(u64::from(config.short_seconds));
        if !outside || !short || config.short_calls == 0 {
            return None;
        }
        while account.short.front().is_some_and(|t| now.saturating_duration_since(*t) >= window) {
            account.short.pop_front();
        }
        account.short.push_back(now);
        account.short.truncate(MOST_ENTRIES);
        let many = account.short.len() >= config.short_calls as usize;
        (many && account.tell(now, Pattern::ShortCalls, window)).then_some(Pattern::ShortCalls)
    }
}

impl Account {
    /// Whether this is news: once a window.
    fn tell(&mut self, now: Instant, pattern: Pattern, window: Duration) -> bool {
        let old = self.told.get(&pattern).is_none_or(|at| now.saturating_duration_since(*at) >= window);
        if old {
            self.told.insert(pattern, now);
        }
        old
    }
}

fn is_night(config: &FraudConfig, hour: u32) -> bool {
    let (from, to) = (config.night_from, config.night_to);
    if from <= to { (from..to).contains(&hour) } else { hour >= from || hour < to }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn call<'a>(number: &'a str, ip: u8, outside: bool, hour: u32) -> Begins<'a> {
        Begins { account: "8001", number, from: [10, 0, 0, ip].into(), outside, hour }
    }

    #[test]
    fn patterns_are_seen_once_a_window() {
        let config = FraudConfig {
            numbers: 3,
            short_calls: 4,
            night_prefixes: vec!["00".into()],
            calls_per_minute: 0,
            ..FraudConfig::default()
        };
        let mut fraud = Fraud::new(config);
        let t = Instant::now();
        let s = |n| t + Duration::from_secs(n);
        let mut all = Vec::new();
        for n in 0..8 {
            let number = format!("1390000{n}");
            let (key, seen) = fraud.begin(s(n * 10), &call(&number, 1, true, 12)).unwrap();
            all.extend(seen);
            all.extend(fraud.over(s(n * 10 + 3), "8001", key));
        }
        assert_eq!(all, [Pattern::ManyNumbers, Pattern::ShortCalls]);
        // Inside, or long, or the same number: nothing.
        let mut fraud = Fraud::new(FraudConfig { numbers: 3, short_calls: 4, ..FraudConfig::default() });
        for n in 0..8 {
            let inside = format!("80{n:02}");
            let (key, seen) = fraud.begin(s(n * 60), &call(&inside, 1, false, 12)).unwrap();
            assert!(seen.is_empty() && fraud.over(s(n * 60 + 1), "8001", key).is_none());
            let (key, seen) = fraud.begin(s(n * 60), &call("110", 1, true, 2)).unwrap();
            assert!(seen.is_empty() && fraud.over(s(n * 60 + 30), "8001", key).is_none());
        }
    }

    #[test]
    fn night_two_addresses_and_calls_a_minute() {
        let config = FraudConfig { night_prefixes: vec!["00".into()], calls_per_minute: 4, ..FraudConfig::default() };
        let mut fraud = Fraud::new(config);
        let t = Instant::now();
        let first = fraud.begin(t, &call("0088", 1, true, 23)).unwrap();
        assert_eq!(first.1, [Pattern::Night]);
        assert!(fraud.begin(t, &call("0088", 1, true, 6)).unwrap().1.is_empty(), "six is morning");
        assert_eq!(fraud.begin(t, &call("110", 2, true, 5)).unwrap().1, [Pattern::TwoAddresses]);
        assert!(fraud.begin(t, &call("8002", 3, false, 12)).unwrap().1.is_empty());
        let s = |n| t + Duration::from_secs(n);
        assert_eq!(fraud.begin(s(20), &call("8002", 3, false, 12)).unwrap_err(), TooMany(Duration::from_secs(40)));
        assert!(fraud.begin(s(60), &call("8002", 3, false, 12)).is_ok());
    }

    #[test]
    fn accounts_are_bounded() {
        let mut fraud = Fraud::new(FraudConfig::default());
        let t = Instant::now();
        for n in 0..MOST_ACCOUNTS + 10 {
            let name = n.to_string();
            let begins = Begins { account: &name, ..call("1", 1, true, 1) };
            let (key, _) = fraud.begin(t, &begins).unwrap();
            fraud.over(t, &name, key);
        }
        assert!(fraud.accounts.len() <= MOST_ACCOUNTS);
    }
}
