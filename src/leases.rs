//! One camera, many operators: who holds it, until when, and who may take it over. A table without clock or I/O.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bridge_core::{ChannelId, Timestamp};
use serde::Serialize;

use crate::store::Role;

/// Cameras held at once; beyond it the ones whose time is over go first.
const MOST: usize = 4096;
/// A lease that goes on is told again after this, so that consoles see it last.
const TELL_AGAIN: Duration = Duration::from_secs(5);

/// Who wants a camera. Role goes before priority; equal ones wait for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub account: String,
    /// Names the sign-in, so that one account at two consoles is two holders.
    pub session: String,
    pub role: Role,
    pub priority: u8,
}

impl Claim {
    fn rank(&self) -> (Role, u8) {
        (self.role, self.priority)
    }
}

/// What a holder let run, that a successor or an end must stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Running {
    pub turn: bool,
    pub lens: bool,
}

#[derive(Debug)]
struct Lease {
    claim: Claim,
    since: Timestamp,
    until: Instant,
    told: Instant,
    running: Running,
}

/// A lease as consoles see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Holder {
    pub account: String,
    /// Names the sign-in, as `session` of `GET /session` does.
    pub session: String,
    #[schema(value_type = Role)]
    pub role: Role,
    pub priority: u8,
    #[schema(value_type = String)]
    pub since: Timestamp,
    /// Free for all after it, unless the holder goes on.
    #[schema(value_type = String)]
    pub until: Timestamp,
}

/// How a claim went.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was free.
    New,
    /// It was ours already; `tell`: consoles should hear that it goes on.
    Renewed { tell: bool },
    /// It was somebody's of lower rank; what he let run must be stopped.
    Over { from: String, running: Running },
    /// Somebody else's, for so many seconds more.
    Refused { by: String, seconds: u64 },
}

/// The table.
pub struct Leases {
    table: Mutex<HashMap<ChannelId, Lease>>,
    idle: Duration,
}

impl Leases {
    /// `idle`: time after the last order in which a camera stays held.
    pub fn new(idle: Duration) -> Self {
        Leases { table: Mutex::default(), idle }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ChannelId, Lease>> {
        self.table.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Takes the camera, goes on with it, or says who holds it.
    pub fn take(&self, channel: &ChannelId, claim: &Claim, now: Instant, wall: Timestamp) -> Taken {
        let mut table = self.lock();
        let fresh =
            Lease { claim: claim.clone(), since: wall, until: now + self.idle, told: now, running: Running::default() };
        let Some(held) = table.get_mut(channel).filter(|l| l.until > now) else {
            if table.len() >= MOST {
                table.retain(|_, l| l.until > now);
            }
            if table.len() < MOST {
                table.insert(channel.clone(), fresh);
            }
            return Taken::New;
        };
        if held.claim.session == claim.session {
            held.until = now + self.idle;
            held.claim = claim.clone();
            let tell = now.saturating_duration_since(held.told) >= TELL_AGAIN;
            if tell {
                held.told = now;
            }
            return Taken::Renewed { tell };
        }
        if claim.rank() > held.claim.rank() {
            let old = std::mem::replace(held, fresh);
            return Taken::Over { from: old.claim.account, running: old.running };
        }
        let seconds = held.until.saturating_duration_since(now).as_secs() + 1;
        Taken::Refused { by: held.claim.account.clone(), seconds }
    }

    /// Whether somebody else holds it.
    pub fn of_another(&self, channel: &ChannelId, session: &str, now: Instant) -> bool {
        self.lock().get(channel).is_some_and(|l| l.until > now && l.claim.session != session)
    }

    /// Notes what the holder lets run.
    pub fn running(&self, channel: &ChannelId, session: &str, change: impl FnOnce(&mut Running)) {
        if let Some(lease) = self.lock().get_mut(channel).filter(|l| l.claim.session == session) {
            change(&mut lease.running);
        }
    }

    /// Gives a camera back; none if it was not his.
    pub fn release(&self, channel: &ChannelId, session: &str) -> Option<Running> {
        let mut table = self.lock();
        if table.get(channel).is_some_and(|l| l.claim.session == session) {
            return table.remove(channel).map(|l| l.running);
        }
        None
    }

    /// Gives back all that an account, or one sign-in of it, held.
    pub fn release_all(&self, matches: impl Fn(&Claim) -> bool) -> Vec<(ChannelId, Running)> {
        let mut table = self.lock();
        let gone: Vec<ChannelId> = table.iter().filter(|(_, l)| matches(&l.claim)).map(|(c, _)| c.clone()).collect();
        gone.into_iter().filter_map(|c| table.remove(&c).map(|l| (c, l.running))).collect()
    }

    /// Takes out the leases whose time is over.
    pub fn expire(&self, now: Instant) -> Vec<(ChannelId, Running)> {
        let mut table = self.lock();
        let gone: Vec<ChannelId> = table.iter().filter(|(_, l)| l.until <= now).map(|(c, _)| c.clone()).collect();
        gone.into_iter().filter_map(|c| table.remove(&c).map(|l| (c, l.running))).collect()
    }

    fn shown(lease: &Lease, now: Instant, wall: Timestamp) -> Holder {
        let left = i64::try_from(lease.until.saturating_duration_since(now).as_millis()).unwrap_or(0);
        Holder {
            account: lease.claim.account.clone(),
            session: lease.claim.session.clone(),
            role: lease.claim.role,
            priority: lease.claim.priority,
            since: lease.since,
            until: Timestamp(wall.0.saturating_add(left)),
        }
    }

    pub fn holder(&self, channel: &ChannelId, now: Instant, wall: Timestamp) -> Option<Holder> {
        self.lock().get(channel).filter(|l| l.until > now).map(|l| Self::shown(l, now, wall))
    }

    pub fn all(&self, now: Instant, wall: Timestamp) -> Vec<(ChannelId, Holder)> {
        let table = self.lock();
        let mut all: Vec<_> =
            table.iter().filter(|(_, l)| l.until > now).map(|(c, l)| (c.clone(), Self::shown(l, now, wall))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const WALL: Timestamp = Timestamp(1_000_000);

    fn claim(account: &str, session: &str, role: Role, priority: u8) -> Claim {
        Claim { account: account.into(), session: session.into(), role, priority }
    }

    #[test]
    fn the_first_holds_it_until_he_is_idle() {
        let (leases, t, c) = (Leases::new(10 * S), Instant::now(), ChannelId("a:1/2".into()));
        let (li, wu) = (claim("li", "1", Role::Operator, 0), claim("wu", "2", Role::Operator, 0));
        assert_eq!(leases.take(&c, &li, t, WALL), Taken::New);
        assert_eq!(leases.take(&c, &li, t + S, WALL), Taken::Renewed { tell: false });
        assert_eq!(leases.take(&c, &li, t + 6 * S, WALL), Taken::Renewed { tell: true });
        assert_eq!(leases.take(&c, &wu, t + 7 * S, WALL), Taken::Refused { by: "li".into(), seconds: 10 });
        // The same account at another console is another holder.
        let elsewhere = claim("li", "3", Role::Operator, 0);
        assert!(matches!(leases.take(&c, &elsewhere, t + 7 * S, WALL), Taken::Refused { .. }));
        assert!(leases.of_another(&c, "2", t + 7 * S) && !leases.of_another(&c, "1", t + 7 * S));
        assert_eq!(
            leases.holder(&c, t + 7 * S, WALL).map(|h| (h.account, h.until)),
            Some(("li".into(), Timestamp(1_009_000)))
        );
        assert!(leases.expire(t + 15 * S).is_empty());
        assert_eq!(leases.expire(t + 16 * S).len(), 1);
        assert_eq!(leases.take(&c, &wu, t + 16 * S, WALL), Taken::New);
    }

    #[test]
    fn role_before_priority_and_what_ran_is_told() {
        let (leases, t, c) = (Leases::new(10 * S), Instant::now(), ChannelId("a:1/2".into()));
        let low = claim("low", "1", Role::Operator, 3);
        let high = claim("high", "2", Role::Operator, 4);
        let admin = claim("boss", "3", Role::Admin, 0);
        leases.take(&c, &low, t, WALL);
        leases.running(&c, "1", |r| r.turn = true);
        leases.running(&c, "2", |r| r.lens = true);
        let running = Running { turn: true, lens: false };
        assert_eq!(leases.take(&c, &high, t, WALL), Taken::Over { from: "low".into(), running });
        assert!(matches!(leases.take(&c, &low, t, WALL), Taken::Refused { .. }));
        assert!(matches!(leases.take(&c, &admin, t, WALL), Taken::Over { .. }));
        assert!(matches!(leases.take(&c, &high, t, WALL), Taken::Refused { .. }));
        assert_eq!(leases.release(&c, "2"), None, "only the holder gives it back");
        assert_eq!(leases.release(&c, "3"), Some(Running::default()));
        leases.take(&c, &low, t, WALL);
        assert_eq!(leases.release_all(|claim| claim.account == "low").len(), 1);
        assert!(leases.all(t, WALL).is_empty());
    }
}
