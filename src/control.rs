//! Orders to cameras and devices: who may give them, who holds the camera, what is asked twice, what it came to.

use std::time::{Duration, Instant};

use bridge_core::{Answer, ChannelId, Command, Done, Object, Order, Preset, Query, Timestamp};
use media_hub::{Fault, Whose};
use serde_json::json;

use crate::access::Identity;
use crate::api::{ApiError, Shared};
use crate::app::App;
use crate::leases::{Claim, Running, Taken};
use crate::store::Role;

/// The bridges keep limits of their own; this one is the last.
const LIMIT: Duration = Duration::from_secs(60);
/// Limit of a single stop.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// How often leases are looked through.
const TICK: Duration = Duration::from_millis(500);

/// The least role that may give an order.
pub fn least_role(order: &Order) -> Role {
    match order {
        Order::FormatCard { .. } | Order::Upgrade { .. } | Order::Configure { .. } => Role::Admin,
        _ => Role::Operator,
    }
}

/// Names a sign-in to consoles without giving its token away.
pub fn session_name(identity: &Identity) -> String {
    identity.token_hash.chars().take(12).collect()
}

fn no_bridge() -> Fault {
    Fault::new("not_supported", Whose::Us, false, "没有这个接入模块", "There is no such bridge")
}

fn no_answer() -> Fault {
    Fault::new("no_answer", Whose::Device, true, "设备没有应答", "The device did not answer")
}

impl App {
    /// Gives an order to the bridge of its object.
    pub async fn give(&self, object: Object, order: Order) -> Result<Done, Fault> {
        let device = object.device();
        let bridge = self.bridges.iter().find(|b| b.name() == device.bridge()).ok_or_else(no_bridge)?;
        tokio::time::timeout(LIMIT, bridge.order(object, order)).await.unwrap_or_else(|_| Err(no_answer()))
    }

    /// Asks a question of the bridge of its object. Names of presets that the hall keeps stand in where the device has none.
    pub async fn question(&self, object: Object, query: Query) -> Result<Answer, Fault> {
        let device = object.device();
        let bridge = self.bridges.iter().find(|b| b.name() == device.bridge()).ok_or_else(no_bridge)?;
        let presets = matches!(query, Query::Presets {});
        let name = object.to_string();
        let asked = bridge.ask(object, query);
        let answer = tokio::time::timeout(LIMIT, asked).await.unwrap_or_else(|_| Err(no_answer()));
        if !presets {
            return answer;
        }
        let kept = self.store.preset_names(&name).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "kept names of presets cannot be read");
            Vec::new()
        });
        with_kept_names(answer, &kept)
    }

    /// The claim of a sign-in.
    pub fn claim(&self, identity: &Identity) -> Claim {
        Claim {
            account: identity.account.clone(),
            session: session_name(identity),
            role: identity.role,
            priority: self.priorities.get(&identity.account).map_or(0, |p| *p),
        }
    }

    /// Takes a camera for a sign-in, or says who holds it. What a lower one let run is stopped first.
    pub async fn hold(&self, channel: &ChannelId, identity: &Identity) -> Result<(), ApiError> {
        let claim = self.claim(identity);
        match self.leases.take(channel, &claim, Instant::now(), Timestamp::now()) {
            Taken::New | Taken::Renewed { tell: true } => self.tell_lease(channel),
            Taken::Renewed { tell: false } => {}
            Taken::Over { from, running } => {
                tracing::info!(channel = %channel, by = claim.account, from, "a camera is taken over");
                self.tell_lease(channel);
                self.stop_running(channel, running).await;
            }
            Taken::Refused { by, seconds } => {
                let (zh, en) = (
                    format!("摄像机正由 {by} 控制，空闲 {seconds} 秒后释放"),
                    format!("{by} holds this camera; it is free {seconds} s after the last order"),
                );
                return Err(ApiError::conflict("camera_held", &zh, &en).retry_after(seconds));
            }
        }
        Ok(())
    }

    /// Stops what somebody let run.
    pub async fn stop_running(&self, channel: &ChannelId, running: Running) {
        let device = channel.device();
        if running.turn {
            let command = Command::Ptz { channel: channel.clone(), pan: 0.0, tilt: 0.0, zoom: 0.0 };
            if let Err(fault) = self.command(device.bridge(), command, STOP_LIMIT).await {
                tracing::warn!(channel = %channel, fault = %fault, "a camera could not be stopped");
            }
        }
        if running.lens {
            let stop = Order::Lens { focus: 0.0, iris: 0.0 };
            if let Err(fault) = self.give(Object::Channel(channel.clone()), stop).await {
                tracing::warn!(channel = %channel, fault = %fault, "a lens could not be stopped");
            }
        }
    }

    /// Tells all consoles who holds a camera now.
    pub fn tell_lease(&self, channel: &ChannelId) {
        let holder = self.leases.holder(channel, Instant::now(), Timestamp::now());
        self.events.tell("lease", json!({ "channel": channel, "holder": holder }));
    }

    /// Gives back what a sign-in or an account held, and stops it.
    pub fn release_where(self: &std::sync::Arc<Self>, matches: impl Fn(&Claim) -> bool) {
        for (channel, running) in self.leases.release_all(matches) {
            let app = self.clone();
            tokio::spawn(async move {
                app.tell_lease(&channel);
                app.stop_running(&channel, running).await;
            });
        }
    }
}

/// A name that says no more than the number.
fn says_nothing(name: &str) -> bool {
    let rest = name.trim().to_lowercase();
    let rest = rest.trim_start_matches("preset").trim_start_matches("预置点").trim_start_matches("预置位");
    rest.chars().all(|c| c.is_ascii_digit() || c.is_whitespace() || "_-#".contains(c))
}

/// The device's list with the names that the hall keeps. A complete list of the device decides which presets there are; where
/// the device gives none, those that were set from here are shown as an incomplete list.
fn with_kept_names(answer: Result<Answer, Fault>, kept: &[(u8, String)]) -> Result<Answer, Fault> {
    let from_kept = || kept.iter().map(|(preset, name)| Preset { preset: *preset, name: name.clone() });
    match answer {
        Ok(Answer::Presets { mut items, complete }) => {
            for item in items.iter_mut().filter(|i| says_nothing(&i.name)) {
                if let Some((_, name)) = kept.iter().find(|(n, _)| *n == item.preset) {
                    item.name.clone_from(name);
                }
            }
            if !complete {
                let missing: Vec<Preset> =
                    from_kept().filter(|k| !items.iter().any(|i| i.preset == k.preset)).collect();
                items.extend(missing);
                items.sort_by_key(|i| i.preset);
            }
            Ok(Answer::Presets { items, complete })
        }
        Err(fault) if fault.code == "query_unanswered" && !kept.is_empty() => {
            Ok(Answer::Presets { items: from_kept().collect(), complete: false })
        }
        other => other,
    }
}

/// Frees cameras whose holders were idle, until the gateway ends.
pub async fn watch(app: Shared) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = app.shutdown.cancelled() => return,
        }
        for (channel, _) in app.leases.expire(Instant::now()) {
            // What runs was stopped by the bridge long ago: it waits for 2 s only.
            app.tell_lease(&channel);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn presets(list: &[(u8, &str)], complete: bool) -> Result<Answer, Fault> {
        let items = list.iter().map(|(preset, name)| Preset { preset: *preset, name: (*name).to_owned() }).collect();
        Ok(Answer::Presets { items, complete })
    }

    #[test]
    fn names_that_the_hall_keeps_stand_in() {
        let kept = [(1, "大门".to_owned()), (2, "河堤".to_owned()), (9, "gone".to_owned())];
        let got = with_kept_names(presets(&[(1, "Preset 1"), (2, "bridge"), (3, "")], true), &kept).unwrap();
        assert_eq!(got, presets(&[(1, "大门"), (2, "bridge"), (3, "")], true).unwrap());
        let part = with_kept_names(presets(&[(3, "x")], false), &kept).unwrap();
        assert_eq!(part, presets(&[(1, "大门"), (2, "河堤"), (3, "x"), (9, "gone")], false).unwrap());
        let silent = || Err(Fault::new("query_unanswered", Whose::Device, true, "", ""));
        assert!(matches!(with_kept_names(silent(), &kept), Ok(Answer::Presets { complete: false, .. })));
        assert!(with_kept_names(silent(), &[]).is_err());
    }
}
