//! Watches over accounts: what the shared guard of the SIP endpoint and the patterns of [`crate::fraud`] come to: refusals and alarms.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bridge_core::{AlarmReport, DeviceId, Fault, Text, Timestamp};
use sip::{Ban, Offence};

use crate::NAME;
use crate::faults::Reason;
use crate::fraud::{Begins, CallKey, Fraud, FraudConfig, Pattern};
use crate::phone::Shared;

/// The patterns of all accounts.
pub(crate) struct Watch {
    fraud: Mutex<Fraud>,
}

/// A call that is watched until this is dropped.
pub(crate) struct Watched {
    shared: Arc<Shared>,
    account: String,
    key: CallKey,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let seen = self.shared.watch.fraud().over(Instant::now(), &self.account, self.key);
        if let Some(pattern) = seen {
            suspect(&self.shared, &self.account, pattern, "");
        }
    }
}

impl Watch {
    pub fn new(config: FraudConfig) -> Watch {
        Watch { fraud: Mutex::new(Fraud::new(config)) }
    }

    fn fraud(&self) -> MutexGuard<'_, Fraud> {
        self.fraud.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an account may begin this call now. `outside`: the number is none of this hall.
pub(crate) fn begin(
    shared: &Arc<Shared>,
    account: &str,
    number: &str,
    from: IpAddr,
    outside: bool,
) -> Result<Watched, Fault> {
    let now = Instant::now();
    let guard = shared.ctx.sip.guard();
    if outside && guard.refuses(now, from, account) == Some(Offence::Fraud) {
        return Err(Reason::AccountBlocked.fault());
    }
    let hour = Timestamp::now().local_hour();
    let begun = shared.watch.fraud().begin(now, &Begins { account, number, from, outside, hour });
    match begun {
        Ok((key, seen)) => {
            let watched = Watched { shared: shared.clone(), account: account.to_owned(), key };
            for pattern in seen {
                suspect(shared, account, pattern, number);
            }
            // The call that shows the pattern does not go out any more.
            match outside && guard.refuses(now, from, account) == Some(Offence::Fraud) {
                true => Err(Reason::AccountBlocked.fault()),
                false => Ok(watched),
            }
        }
        Err(too_many) => Err(Reason::CallRate.with(format_args!("{} s", too_many.0.as_secs() + 1))),
    }
}

fn suspect(shared: &Shared, account: &str, pattern: Pattern, number: &str) {
    let config = &shared.config.fraud;
    tracing::warn!(account, pattern = pattern.kind(), number, block = config.block, "calls look like fraud");
    let (zh, en) = pattern.words();
    let name = shared.ctx.credentials.display_name(bridge_core::AccountKind::Phone, account);
    let description = format!("{account} {} {number}", name.unwrap_or_default());
    alarm(shared, account, 2, pattern.kind(), Text::new(zh, en), description);
    if config.block {
        let long = Duration::from_secs(u64::from(config.block_seconds));
        shared.ctx.sip.guard().ban_account(Instant::now(), account, Offence::Fraud, long);
    }
}

pub(crate) fn alarm(shared: &Shared, who: &str, severity: u8, kind: &str, words: Text, description: String) {
    let taken = shared.ctx.reports.alarm(AlarmReport {
        device: DeviceId::new(NAME, who),
        channel: None,
        source: who.to_owned(),
        severity,
        kind: kind.to_owned(),
        words,
        description: description.trim().chars().take(1024).collect(),
        place: None,
        device_time: None,
        received: Timestamp::now(),
        wants_reset: false,
    });
    if !taken {
        tracing::error!(kind, who, "the hall cannot take an alarm: too many wait");
    }
}

/// Tells of new bans; to be called once a second.
pub(crate) fn tick(shared: &Shared) {
    let guard = shared.ctx.sip.guard();
    let now = Instant::now();
    guard.tick(now);
    for ban in guard.news() {
        let (who, kind, words) = words(&ban);
        let long = ban.until.saturating_duration_since(ban.since).as_secs();
        tracing::warn!(who, reason = ban.reason.as_str(), seconds = long, times = ban.times, "shut out");
        let description = format!("{who}; {}; {long} s; {}", ban.reason.as_str(), ban.times);
        alarm(shared, &who, if ban.reason == Offence::Fraud { 2 } else { 3 }, kind, words, description);
    }
    if let Some(m) = &shared.metrics {
        m.banned.set(guard.bans(now).len() as i64);
        let (bans, dropped) = guard.counts();
        m.bans.inc_by(bans.saturating_sub(m.bans.get()));
        m.shut_out.inc_by(dropped.saturating_sub(m.shut_out.get()));
    }
}

fn words(ban: &Ban) -> (String, &'static str, Text) {
    match (ban.address, &ban.account) {
        (Some(ip), None) => {
            let words = Text::new("SIP 扫描或攻击地址已封禁", "A scanner or attacker of the SIP ports is shut out");
            (ip.to_string(), "sip.scanner_banned", words)
        }
        (Some(ip), Some(account)) => {
            let words = Text::new(
                "多次密码错误，该地址对此账号已封禁",
                "Wrong passwords: this address is shut out of the account",
            );
            (format!("{account} ({ip})"), "sip.account_banned", words)
        }
        (None, account) => {
            let words = Text::new("账号外呼已封禁", "The account may not call outside for a time");
            (account.clone().unwrap_or_default(), "sip.account_blocked", words)
        }
    }
}
