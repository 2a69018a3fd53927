//! Who is shut out for a time: scanners, guessers of passwords, senders of garbage. No I/O, no clock: the caller gives the time.
//!
//! An address that offends too often within a window is dropped before anything of it is read. The source of a datagram can be
//! forged, and many phones can stand behind one address: where anybody is registered, or a peer is trusted, only the account that
//! was tried is shut out there, never the address.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::flow::Network;

/// Addresses, and pairs of address and account, whose offences are remembered. Beyond it the longest silent go.
pub const MAX_SOURCES: usize = 16_384;
/// Bans at once; beyond it the one that ends first gives way.
pub const MAX_BANS: usize = 16_384;
/// News that wait to be taken; beyond it they are only counted.
const MAX_NEWS: usize = 256;
/// An account's longest name here, in bytes; what is longer is cut.
const MAX_ACCOUNT: usize = 64;

/// How strict a [`Guard`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardConfig {
    /// Off: nothing is counted and nobody shut out. Bans by hand ([`Guard::ban_account`]) work all the same.
    pub enabled: bool,
    /// Offences within the window that give a ban. Default 10.
    pub offences: u32,
    /// Default 300 s.
    pub window: Duration,
    /// The first ban; each further one of the same source is twice as long. Default 600 s.
    pub ban: Duration,
    /// Never longer. Default 86,400 s.
    pub max_ban: Duration,
    /// Never shut out. Default: this machine, where proxies of WebSockets are.
    pub allow: Vec<Network>,
    /// Words of a User-Agent, in lower case, that give a ban at once.
    pub agents: Vec<String>,
}

/// Programs that look for open gateways, by the User-Agent that they send unless told otherwise.
pub const SCANNERS: [&str; 11] = [
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sipcli",
    "sip-scan",
    "sundayddr",
    "vaxsipuseragent",
    "vaxipuseragent",
    "iwar",
    "pplsip",
    "gulp",
];

impl Default for GuardConfig {
    fn default() -> GuardConfig {
        GuardConfig {
            enabled: true,
            offences: 10,
            window: Duration::from_secs(300),
            ban: Duration::from_secs(600),
            max_ban: Duration::from_secs(86_400),
            allow: ["127.0.0.1", "::1"].iter().filter_map(|n| n.parse().ok()).collect(),
            agents: SCANNERS.iter().map(|s| (*s).to_owned()).collect(),
        }
    }
}

/// What a source did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offence {
    /// The digest was wrong.
    WrongPassword,
    /// It tried an account that does not exist.
    UnknownAccount,
    /// It called, unproven, a number that does not exist.
    UnknownNumber,
    /// It sent what is no SIP.
    Malformed,
    /// Its User-Agent is a known scanner's.
    Scanner,
    /// A pattern of calls that looks like fraud (bans of accounts only).
    Fraud,
}

impl Offence {
    /// The word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Offence::WrongPassword => "wrong_password",
            Offence::UnknownAccount => "unknown_account",
            Offence::UnknownNumber => "unknown_number",
            Offence::Malformed => "malformed",
            Offence::Scanner => "scanner",
            Offence::Fraud => "fraud",
        }
    }
}

/// Somebody who is shut out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// None: the account, wherever it comes from.
    pub address: Option<IpAddr>,
    /// None: the address as a whole.
    pub account: Option<String>,
    /// What it did last.
    pub reason: Offence,
    /// Bans of this source so far, with this one.
    pub times: u32,
    pub since: Instant,
    pub until: Instant,
    /// What was dropped or refused since.
    pub dropped: u64,
}

type Key = (Option<IpAddr>, Option<String>);

#[derive(Debug)]
struct Source {
    offences: u32,
    begin: Instant,
    last: Instant,
    /// Bans so far.
    times: u32,
    /// The unknown account that was asked for last: a phone that repeats itself is no scanner.
    asked: Option<String>,
}

#[derive(Default)]
struct Table {
    sources: HashMap<Key, Source>,
    bans: HashMap<Key, Ban>,
    news: Vec<Ban>,
    trusted: HashMap<String, HashSet<IpAddr>>,
    /// Addresses where somebody is registered, as last asked.
    homes: HashMap<IpAddr, (bool, Instant)>,
    /// The second in which was asked last, and how often.
    asked: Option<(Instant, u32)>,
}

type Home = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// The table of bans; shared by the sockets and the bridges.
pub struct Guard {
    config: GuardConfig,
    table: Mutex<Table>,
    home: RwLock<Option<Home>>,
    /// Whether any address, or any account, is shut out: nothing else is asked for each message.
    addresses: AtomicBool,
    accounts: AtomicBool,
    dropped: AtomicU64,
    banned: AtomicU64,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("config", &self.config).finish_non_exhaustive()
    }
}

/// An answer of [`Guard::home`] is good for so long.
const HOME_FOR: Duration = Duration::from_secs(10);
/// Questions a second: each may cost a walk through all devices. What is not asked now is asked at the next offence.
const QUESTIONS: u32 = 100;

impl Guard {
    /// An empty table.
    pub fn new(config: GuardConfig) -> Guard {
        Guard {
            config,
            table: Mutex::default(),
            home: RwLock::new(None),
            addresses: AtomicBool::new(false),
            accounts: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            banned: AtomicU64::new(0),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who knows whether anybody is registered at an address. Asked before a ban only.
    pub fn set_home(&self, home: impl Fn(IpAddr) -> bool + Send + Sync + 'static) {
        *self.home.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(home));
    }

    /// Addresses that are never shut out as a whole, such as those of trunks; replaces what this owner said before. At most
    /// 1,024 of each.
    pub fn trust(&self, owner: &str, addresses: impl IntoIterator<Item = IpAddr>) {
        let set = addresses.into_iter().map(|ip| ip.to_canonical()).take(1_024).collect();
        self.table().trusted.insert(owner.to_owned(), set);
    }

    /// Whether what comes from here is to be dropped unread. Counts it.
    pub fn drops(&self, now: Instant, ip: IpAddr) -> bool {
        if !self.addresses.load(Relaxed) {
            return false;
        }
        let mut table = self.table();
        let Some(ban) = table.bans.get_mut(&(Some(ip.to_canonical()), None)) else { return false };
        if ban.until <= now {
            return false;
        }
        ban.dropped += 1;
        self.dropped.fetch_add(1, Relaxed);
        true
    }

    /// Whether this account is shut out, at this address or everywhere. Counts it.
    pub fn refuses(&self, now: Instant, ip: IpAddr, account: &str) -> Option<Offence> {
        if !self.accounts.load(Relaxed) {
            return None;
        }
        let account = cut(account);
        let mut table = self.table();
        for key in [(Some(ip.to_canonical()), Some(account.clone())), (None, Some(account))] {
            if let Some(ban) = table.bans.get_mut(&key).filter(|b| b.until > now) {
                ban.dropped += 1;
                let reason = ban.reason;
                self.dropped.fetch_add(1, Relaxed);
                return Some(reason);
            }
        }
        None
    }

    /// Whether this User-Agent is a scanner's.
    pub fn is_scanner(&self, agent: &str) -> bool {
        if !self.config.enabled {
            return false;
        }
        let agent = agent.to_ascii_lowercase();
        self.config.agents.iter().any(|word| !word.is_empty() && agent.contains(word.as_str()))
    }

    /// Notes an offence; true when it led to a ban.
    pub fn offence(&self, now: Instant, ip: IpAddr, account: Option<&str>, what: Offence) -> bool {
        let ip = ip.to_canonical();
        if !self.config.enabled || self.config.allow.iter().any(|n| n.contains(ip)) {
            return false;
        }
        let account = account.map(cut);
        let whole: Key = (Some(ip), None);
        let due = {
            let mut table = self.table();
            let mut due = table.count(now, &whole, &self.config, what);
            if let Some(account) = &account {
                due |= table.count(now, &(Some(ip), Some(account.clone())), &self.config, what);
            }
            due
        };
        if !due {
            return false;
        }
        // Not under the lock: the answer may cost a walk through the devices.
        let Some(home) = self.is_home(now, ip) else { return false };
        let mut table = self.table();
        let key = match (home, account) {
            (false, _) => whole,
            (true, Some(account)) => (Some(ip), Some(account)),
            (true, None) => return false,
        };
        // Of a home the address may be over the limit while this account is not.
        let over = table.sources.get(&key).is_some_and(|s| s.offences >= self.config.offences);
        if home && !over || table.bans.get(&key).is_some_and(|b| b.until > now) {
            return false;
        }
        let source = table.sources.entry(key.clone()).or_insert_with(|| Source::new(now));
        source.times += 1;
        source.offences = 0;
        let times = source.times;
        let long = self.config.ban.saturating_mul(1 << (times - 1).min(16)).min(self.config.max_ban);
        self.put(&mut table, now, key, what, times, long);
        true
    }

    /// A REGISTER or call without credentials for an account that does not exist. Counts only when it is another one than the last:
    /// a phone that was set up wrong asks for the same again and again.
    pub fn asked_unknown(&self, now: Instant, ip: IpAddr, account: &str) -> bool {
        let account = cut(account);
        {
            let mut table = self.table();
            let same = match table.sources.get_mut(&(Some(ip.to_canonical()), None)) {
                Some(source) => source.asked.replace(account.clone()).as_ref() == Some(&account),
                None => false,
            };
            if same {
                return false;
            }
        }
        let banned = self.offence(now, ip, Some(&account), Offence::UnknownAccount);
        if let Some(source) = self.table().sources.get_mut(&(Some(ip.to_canonical()), None)) {
            source.asked = Some(account);
        }
        banned
    }

    /// The account proved itself here: its earlier mistakes are forgotten.
    pub fn proved(&self, ip: IpAddr, account: &str) {
        if !self.config.enabled {
            return;
        }
        let mut table = self.table();
        if !table.sources.is_empty() {
            table.sources.remove(&(Some(ip.to_canonical()), Some(cut(account))));
        }
    }

    /// Shuts an account out everywhere for so long.
    pub fn ban_account(&self, now: Instant, account: &str, reason: Offence, long: Duration) {
        let mut table = self.table();
        self.put(&mut table, now, (None, Some(cut(account))), reason, 1, long);
    }

    fn put(&self, table: &mut Table, now: Instant, key: Key, reason: Offence, times: u32, long: Duration) {
        if table.bans.len() >= MAX_BANS && !table.bans.contains_key(&key) {
            table.bans.retain(|_, b| b.until > now);
            let first = table.bans.iter().min_by_key(|(_, b)| b.until).map(|(k, _)| k.clone());
            if let Some(first) = first.filter(|_| table.bans.len() >= MAX_BANS) {
                table.bans.remove(&first);
            }
        }
        let (address, account) = key.clone();
        let ban = Ban { address, account, reason, times, since: now, until: now + long, dropped: 0 };
        if table.news.len() < MAX_NEWS {
            table.news.push(ban.clone());
        }
        table.bans.insert(key, ban);
        self.banned.fetch_add(1, Relaxed);
        self.flags(table);
    }

    fn flags(&self, table: &Table) {
        self.addresses.store(table.bans.keys().any(|(_, account)| account.is_none()), Relaxed);
        self.accounts.store(table.bans.keys().any(|(_, account)| account.is_some()), Relaxed);
    }

    fn is_home(&self, now: Instant, ip: IpAddr) -> Option<bool> {
        {
            let mut table = self.table();
            if table.trusted.values().any(|set| set.contains(&ip)) {
                return Some(true);
            }
            if let Some((home, at)) = table.homes.get(&ip)
                && now.saturating_duration_since(*at) < HOME_FOR
            {
                return Some(*home);
            }
            let second = |at: &Instant| now.saturating_duration_since(*at) < Duration::from_secs(1);
            let (began, count) = table.asked.filter(|(at, _)| second(at)).unwrap_or((now, 0));
            table.asked = Some((began, count + 1));
            if count >= QUESTIONS {
                return None;
            }
        }
        let ask = self.home.read().unwrap_or_else(PoisonError::into_inner).clone();
        let home = ask.is_some_and(|ask| ask(ip));
        let mut table = self.table();
        if table.homes.len() >= MAX_SOURCES {
            table.homes.clear();
        }
        table.homes.insert(ip, (home, now));
        Some(home)
    }

    /// Takes out what has ended; to be called now and then.
    pub fn tick(&self, now: Instant) {
        let mut table = self.table();
        if table.bans.is_empty() && table.sources.is_empty() {
            return;
        }
        table.bans.retain(|_, b| b.until > now);
        let (window, memory) = (self.config.window, self.config.max_ban);
        // Who was shut out before is remembered for longer: the next ban is twice as long.
        table.sources.retain(|_, s| {
            now.saturating_duration_since(s.last) < if s.times > 0 { window.max(memory) } else { window }
        });
        table.homes.retain(|_, (_, at)| now.saturating_duration_since(*at) < HOME_FOR);
        self.flags(&table);
    }

    /// Who is shut out now, the newest first.
    pub fn bans(&self, now: Instant) -> Vec<Ban> {
        let mut all: Vec<Ban> = self.table().bans.values().filter(|b| b.until > now).cloned().collect();
        all.sort_by(|a, b| (b.since, &a.address, &a.account).cmp(&(a.since, &b.address, &b.account)));
        all
    }

    /// Ends a ban, and forgets what led to it; false when there was none.
    pub fn lift(&self, address: Option<IpAddr>, account: Option<&str>) -> bool {
        let key = (address.map(|ip| ip.to_canonical()), account.map(cut));
        let mut table = self.table();
        let there = table.bans.remove(&key).is_some();
        table.sources.remove(&key);
        self.flags(&table);
        there
    }

    /// The bans since this was asked last, for the list of alarms.
    pub fn news(&self) -> Vec<Ban> {
        std::mem::take(&mut self.table().news)
    }

    /// Bans and dropped messages since the start.
    pub fn counts(&self) -> (u64, u64) {
        (self.banned.load(Relaxed), self.dropped.load(Relaxed))
    }
}

fn cut(account: &str) -> String {
    match account.char_indices().find(|(at, c)| at + c.len_utf8() > MAX_ACCOUNT) {
        Some((at, _)) => account.get(..at).unwrap_or_default().to_owned(),
        None => account.to_owned(),
    }
}

impl Source {
    fn new(now: Instant) -> Source {
        Source { offences: 0, begin: now, last: now, times: 0, asked: None }
    }
}

impl Table {
    /// Counts an offence; true when a ban is due.
    fn count(&mut self, now: Instant, key: &Key, config: &GuardConfig, what: Offence) -> bool {
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(key) {
            forget_silent(&mut self.sources, now, config.window);
        }
        let source = self.sources.entry(key.clone()).or_insert_with(|| Source::new(now));
        if now.saturating_duration_since(source.begin) >= config.window {
            (source.begin, source.offences) = (now, 0);
        }
        source.last = now;
        source.offences = if what == Offence::Scanner { config.offences } else { source.offences.saturating_add(1) };
        source.offences >= config.offences
    }
}

/// Makes room: what is over its window, else the longer silent half.
fn forget_silent<K: Hash + Eq>(sources: &mut HashMap<K, Source>, now: Instant, window: Duration) {
    sources.retain(|_, s| now.saturating_duration_since(s.last) < window);
    if sources.len() >= MAX_SOURCES {
        let mut times: Vec<Instant> = sources.values().map(|s| s.last).collect();
        times.sort_unstable();
        let middle = times.get(times.len() / 2).copied().unwrap_or(now);
        sources.retain(|_, s| s.last > middle);
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
