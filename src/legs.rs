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

/// Owners of legs.
#[derive(Default)]
pub struct Legs {
    owners: DashMap<LegId, Identity>,
}

impl Legs {
    pub fn add(&self, leg: LegId, who: &crate::api::Who) {
        self.owners.insert(leg, who.identity.clone());
    }

    /// The account that made a leg.
    pub fn owner(&self, leg: LegId) -> Option<String> {
        self.owners.get(&leg).map(|i| i.account.clone())
    }

    pub fn remove(&self, leg: LegId) {
        self.owners.remove(&leg);
    }

    /// Ends all legs of an account.
    pub fn withdraw(&self, app: &App, account: &str) {
        let legs: Vec<LegId> = self.owners.iter().filter(|o| o.account == account).map(|o| *o.key()).collect();
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
        for owner in &app.legs.owners {
            let session = sessions.entry(owner.token_hash.clone()).or_insert_with(|| (owner.clone(), Vec::new()));
            session.1.push(*owner.key());
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
