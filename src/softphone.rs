//! Tickets for the telephone in the browser: an account of the console that is bound to a phone account gets a secret of its own
//! for the digest, good while its sign-in lives. The stored secret of the phone account is never given away, and the desk phones of
//! that number go on working beside it.
//!
//! A ticket is a digest user `NUMBER~word` (see [`bridge_core::TICKET`]). It is kept in memory only: after a restart the console
//! asks for another one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::TICKET;
use dashmap::DashMap;
use md5::{Digest, Md5};

use crate::access::Identity;
use crate::api::Shared;

/// A ticket that nobody registered with, or asked about, for so long is void.
const UNUSED: Duration = Duration::from_secs(600);
/// Tickets at once; one for each sign-in.
const MOST: usize = 4096;
/// How often the sign-ins behind tickets are looked at again.
const RECHECK: Duration = Duration::from_secs(5);

struct Entry {
    ha1: String,
    identity: Identity,
    used: Instant,
}

/// What the browser gets.
pub struct Ticket {
    /// The digest user.
    pub user: String,
    pub password: String,
}

/// All tickets. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tickets(Arc<DashMap<String, Entry>>);

fn word(bytes: usize) -> String {
    hex::encode((0..bytes).map(|_| rand::random::<u8>()).collect::<Vec<u8>>())
}

impl Tickets {
    /// A new ticket of a sign-in; the one that it had before ends. `None`: there are too many.
    pub fn issue(&self, identity: &Identity, phone: &str, realm: &str) -> Option<Ticket> {
        self.end(|i| i.token_hash == identity.token_hash);
        self.0.retain(|_, e| e.used.elapsed() < UNUSED);
        if self.0.len() >= MOST {
            return None;
        }
        let (user, password) = (format!("{phone}{TICKET}{}", word(8)), word(16));
        let ha1 = hex::encode(Md5::digest(format!("{user}:{realm}:{password}").as_bytes()));
        self.0.insert(user.clone(), Entry { ha1, identity: identity.clone(), used: Instant::now() });
        Some(Ticket { user, password })
    }

    /// H(A1) of a ticket that is good; counts as its use.
    pub fn ha1(&self, user: &str) -> Option<String> {
        let mut entry = self.0.get_mut(user)?;
        if entry.used.elapsed() >= UNUSED {
            return None;
        }
        entry.used = Instant::now();
        Some(entry.ha1.clone())
    }

    /// Ends the tickets of such sign-ins.
    pub fn end(&self, over: impl Fn(&Identity) -> bool) {
        self.0.retain(|_, e| !over(&e.identity));
    }

    /// Ends the tickets for a phone account.
    pub fn end_phone(&self, phone: &str) {
        self.0.retain(|user, _| user.split_once(TICKET).is_none_or(|(p, _)| p != phone));
    }

    fn identities(&self) -> Vec<Identity> {
        self.0.iter().map(|e| e.identity.clone()).collect()
    }
}

/// Ends tickets whose sign-in was signed out, withdrawn or has expired.
pub async fn guard(app: Shared) {
    let mut tick = tokio::time::interval(RECHECK);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        for identity in app.secrets.tickets.identities() {
            if !app.access.still_valid(&identity).await {
                tracing::info!(account = identity.account, "a soft phone ended: its session is over");
                app.secrets.tickets.end(|i| i.token_hash == identity.token_hash);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::Role;

    fn identity(account: &str, session: &str) -> Identity {
        Identity {
            account: account.to_owned(),
            role: Role::Operator,
            must_change_password: false,
            expires_at: i64::MAX,
            token_hash: session.to_owned(),
        }
    }

    #[test]
    fn one_ticket_a_sign_in_and_none_after_it() {
        let tickets = Tickets::default();
        let first = tickets.issue(&identity("wang", "s1"), "8001", "hall").unwrap();
        assert!(first.user.starts_with("8001~") && first.user.len() > 16 && first.password.len() == 32);
        let expected = Md5::digest(format!("{}:hall:{}", first.user, first.password).as_bytes());
        assert_eq!(tickets.ha1(&first.user), Some(hex::encode(expected)));
        let second = tickets.issue(&identity("wang", "s1"), "8001", "hall").unwrap();
        assert_eq!(tickets.ha1(&first.user), None, "the new one replaces it");
        let other = tickets.issue(&identity("li", "s2"), "8002", "hall").unwrap();
        tickets.end(|i| i.token_hash == "s1");
        assert!(tickets.ha1(&second.user).is_none() && tickets.ha1(&other.user).is_some());
        tickets.end_phone("8002");
        assert_eq!(tickets.ha1(&other.user), None);
        assert_eq!(tickets.ha1("8001"), None);
    }

    #[test]
    fn bounded() {
        let tickets = Tickets::default();
        for n in 0..MOST {
            assert!(tickets.issue(&identity("a", &n.to_string()), "8001", "hall").is_some());
        }
        assert!(tickets.issue(&identity("a", "more"), "8001", "hall").is_none());
    }
}
