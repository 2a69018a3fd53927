//! Whose browser legs there are: rights are checked on the media path too.

use std::collections::HashMap;
use std::time::Duration;

use dashmap::DashMap;
use media_webrtc::LegId;

use crate::access::Identity;
use crate::api::Shared;
use crate::app::App;

/// How often the rights behind standing legs are looked at again.
const RECHECK: Duration = Duration::from_secs(5);

/// Who made a leg.
enum Owner {
    Account(Identity),
    /// The session of a guest by link.
    Guest(String),
}

/// Owners of legs.
#[derive(Default)]
pub struct Legs {
    owners: DashMap<LegId, Owner>,
}

impl Legs {
    pub fn add(&self, leg: LegId, who: &crate::api::Who) {
        self.owners.insert(leg, Owner::Account(who.identity.clone()));
    }

    pub fn add_guest(&self, leg: LegId, session: &str) {
        self.owners.insert(leg, Owner::Guest(session.to_owned()));
    }

    /// Whether this guest made the leg.
    pub fn is_of_guest(&self, leg: LegId, session: &str) -> bool {
        self.owners.get(&leg).is_some_and(|o| matches!(&*o, Owner::Guest(s) if s == session))
    }

    /// All legs of a guest.
    pub fn of_guest(&self, session: &str) -> Vec<LegId> {
        self.owners.iter().filter(|o| matches!(o.value(), Owner::Guest(s) if s == session)).map(|o| *o.key()).collect()
    }

    /// Whether anybody made this leg.
    pub fn has(&self, leg: LegId) -> bool {
        self.owners.contains_key(&leg)
    }

    /// The account that made a leg; none for legs of guests.
    pub fn owner(&self, leg: LegId) -> Option<String> {
        match &*self.owners.get(&leg)? {
            Owner::Account(identity) => Some(identity.account.clone()),
            Owner::Guest(_) => None,
        }
    }

    pub fn remove(&self, leg: LegId) {
        self.owners.remove(&leg);
    }

    /// Ends all legs of an account.
    pub fn withdraw(&self, app: &App, account: &str) {
        let legs: Vec<LegId> = self
            .owners
            .iter()
            .filter(|o| matches!(o.value(), Owner::Account(i) if i.account == account))
            .map(|o| *o.key())
            .collect();
        for leg in legs {
            app.endpoint.close(leg);
        }
    }
}

/// Ends legs whose session was signed out, withdrawn or has expired.
pub async fn guard(app: Shared) {
    let mut tick = tokio::time::interval(RECHECK);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        // One question for each session, however many legs it has.
        let mut sessions: HashMap<String, (Identity, Vec<LegId>)> = HashMap::new();
        let mut orphans: Vec<LegId> = Vec::new();
        for owner in &app.legs.owners {
            let owner_of = match owner.value() {
                Owner::Account(identity) => identity,
                Owner::Guest(session) => {
                    if app.endpoint.leg(*owner.key()).is_none() || !app.guests.valid(session) {
                        orphans.push(*owner.key());
                    }
                    continue;
                }
            };
            let session = sessions.entry(owner_of.token_hash.clone()).or_insert_with(|| (owner_of.clone(), Vec::new()));
            session.1.push(*owner.key());
        }
        for leg in orphans {
            app.legs.remove(leg);
            app.endpoint.close(leg);
        }
        for (identity, legs) in sessions.into_values() {
            let valid = app.access.still_valid(&identity).await;
            for leg in legs {
                if app.endpoint.leg(leg).is_none() {
                    app.legs.remove(leg);
                } else if !valid {
                    tracing::info!(%leg, account = identity.account, "leg ended: its session is over");
                    app.endpoint.close(leg);
                }
            }
        }
    }
}
