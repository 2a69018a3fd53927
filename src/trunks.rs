//! Follows the trunks: consoles hear of each change, and the hall is told when one goes and when it comes back.

use std::collections::HashMap;
use std::time::Duration;

use bridge_core::{TrunkState, TrunkStatus};
use serde_json::json;

use crate::api::Shared;
use crate::app::App;
use crate::events::Severity;

/// How often they are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The trunks of all bridges.
pub fn all(app: &App) -> Vec<TrunkStatus> {
    app.bridges.iter().flat_map(|b| b.trunks()).collect()
}

/// What is told at once; round trips and numbers of calls alone are not.
type Essence = (TrunkState, String, Option<String>, Vec<&'static str>);

fn essence(t: &TrunkStatus) -> Essence {
    (t.state, t.en.clone(), t.server.clone(), t.servers.iter().map(|s| s.state).collect())
}

/// Works until the gateway stops.
pub async fn follow(app: Shared) {
    if all(&app).is_empty() {
        return;
    }
    let mut known: HashMap<String, Essence> = HashMap::new();
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = app.shutdown.cancelled() => return,
        }
        for trunk in all(&app) {
            let now = essence(&trunk);
            let before = known.insert(trunk.name.clone(), now.clone());
            if before.as_ref() == Some(&now) {
                continue;
            }
            let was = before.map(|b| b.0);
            let name = &trunk.name;
            match (was, trunk.state) {
                (Some(TrunkState::Down), TrunkState::Down) | (None, TrunkState::Up | TrunkState::Connecting) => {}
                (_, TrunkState::Down) => {
                    let (zh, en) =
                        (format!("中继 {name} 不可用：{}", trunk.zh), format!("Trunk {name} is down: {}", trunk.en));
                    app.events.notice(Severity::Alarm, &zh, &en, name);
                }
                (Some(TrunkState::Down), TrunkState::Up) => {
                    let (zh, en) = (
                        format!("中继 {name} 已恢复：{}", trunk.zh),
                        format!("Trunk {name} works again: {}", trunk.en),
                    );
                    app.events.notice(Severity::Info, &zh, &en, name);
                }
                _ => {}
            }
            if app.events.heard() {
                app.events.tell("trunk", json!({ "trunk": trunk }));
            }
        }
    }
}
