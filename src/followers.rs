//! Turns what happens in hub, registry, recorder and browser legs into events for the consoles.

use std::collections::HashSet;
use std::time::Duration;

use bridge_core::{DeviceId, RegistryEvent};
use media_hub::{HubEvent, Outcome, Step, StreamId, StreamState};
use media_webrtc::LegEvent;
use recorder::{JobState, RecorderEvent};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use crate::api::{Shared, device_event, stream_view};
use crate::events::Severity;
use crate::system::is_source;

/// Changes of one stream within this time are told once.
const COALESCE: Duration = Duration::from_millis(100);
const SYSTEM: Duration = Duration::from_secs(5);
/// How often rates of live streams are told, and of how many at most.
const RATES: Duration = Duration::from_secs(2);
const RATES_OF: usize = 100;
/// Time for a new device to tell its name.
const NAMING: Duration = Duration::from_secs(2);

/// Starts all followers.
pub fn start(app: &Shared) {
    tokio::spawn(devices(app.clone()));
    tokio::spawn(streams(app.clone()));
    tokio::spawn(recordings(app.clone()));
    tokio::spawn(legs(app.clone()));
    tokio::spawn(system(app.clone()));
    tokio::spawn(queues(app.clone()));
}

/// Tells consoles of the queues, at most once a second and only when something is another than before.
async fn queues(app: Shared) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = Vec::new();
    loop {
        tokio::select! {
            _ = second.tick() => {}
            () = app.shutdown.cancelled() => return,
        }
        if !app.events.heard() {
            before.clear();
            continue;
        }
        let now = crate::api::queues(&app);
        if now != before {
            app.events.tell("queues", json!({ "items": now }));
            before = now;
        }
    }
}

async fn devices(app: Shared) {
    let mut events = app.registry.events();
    let mut online: HashSet<DeviceId> = app.registry.all().iter().filter(|d| d.online).map(|d| d.id.clone()).collect();
    // Who came and went since the last notice. A device that has just registered is asked for its name first.
    let (mut came, mut went): (Vec<DeviceId>, Vec<DeviceId>) = (Vec::new(), Vec::new());
    let mut tick = tokio::time::interval(NAMING);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            _ = tick.tick(), if !came.is_empty() || !went.is_empty() => {
                say_came(&app, std::mem::take(&mut came));
                say_went(&app, std::mem::take(&mut went));
                continue;
            }
        };
        match event {
            Ok(RegistryEvent::Changed(device)) => {
                app.trees.changed(&device.id);
                if app.events.heard() {
                    app.events.tell("device", device_event(&device));
                }
                let was = online.contains(&device.id);
                if device.online && !was {
                    online.insert(device.id.clone());
                    came.push(device.id.clone());
                } else if !device.online && was {
                    online.remove(&device.id);
                    went.push(device.id.clone());
                }
            }
            Ok(RegistryEvent::Refused { id, address, reason }) => {
                let (zh, en) = (
                    format!("{} 注册被拒绝（来自 {address}）：{}", id.name(), reason.zh),
                    format!("{} was refused registration (from {address}): {}", id.name(), reason.en),
                );
                app.events.notice(Severity::Warning, &zh, &en, &id.0);
            }
            Ok(RegistryEvent::Calls { id, answer }) => {
                let name = app.registry.get(&id).map_or_else(|| id.name().to_owned(), |d| d.shown_name().to_owned());
                let (zh, en) =
                    (format!("{name} 呼叫指挥厅：{}", answer.zh), format!("{name} calls the hall: {}", answer.en));
                app.events.notice(Severity::Alarm, &zh, &en, &id.0);
            }
            Ok(RegistryEvent::Note { id, grave, text }) => {
                let name = app.registry.get(&id).map_or_else(|| id.name().to_owned(), |d| d.shown_name().to_owned());
                let severity = if grave { Severity::Warning } else { Severity::Info };
                app.events.notice(severity, &format!("{name}：{}", text.zh), &format!("{name}: {}", text.en), &id.0);
            }
            Ok(RegistryEvent::Removed(id)) => {
                app.trees.changed(&id);
                app.events.tell("device_removed", json!({ "id": id.0 }));
            }
            // More changes at once than we can follow: see for ourselves who is there.
            Err(RecvError::Lagged(_)) => {
                app.trees.all_changed();
                let now: HashSet<DeviceId> =
                    app.registry.all().iter().filter(|d| d.online).map(|d| d.id.clone()).collect();
                came.extend(now.difference(&online).cloned());
                went.extend(online.difference(&now).cloned());
                online = now;
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// More than so many at once are told as a number.
const BY_NAME: usize = 8;

fn say_came(app: &Shared, ids: Vec<DeviceId>) {
    let there: Vec<_> = ids.iter().filter_map(|id| app.registry.get(id)).filter(|d| d.online).collect();
    if there.len() > BY_NAME {
        let n = there.len();
        return app.events.notice(Severity::Info, &format!("{n} 台设备上线"), &format!("{n} devices are online"), "");
    }
    for device in there {
        let name = device.shown_name();
        app.events.notice(Severity::Info, &format!("{name} 上线"), &format!("{name} is online"), &device.id.0);
    }
}

fn say_went(app: &Shared, ids: Vec<DeviceId>) {
    let gone: Vec<_> = ids.iter().filter_map(|id| app.registry.get(id)).filter(|d| !d.online).collect();
    if gone.len() > BY_NAME {
        let n = gone.len();
        return app.events.notice(
            Severity::Warning,
            &format!("{n} 台设备离线"),
            &format!("{n} devices are offline"),
            "",
        );
    }
    for device in gone {
        let name = device.shown_name();
        let why = device.offline_reason.clone();
        let (zh, en) = why.map_or((String::new(), String::new()), |t| (format!("：{}", t.zh), format!(": {}", t.en)));
        let (zh, en) = (format!("{name} 离线{zh}"), format!("{name} is offline{en}"));
        app.events.notice(Severity::Warning, &zh, &en, &device.id.0);
    }
}

async fn streams(app: Shared) {
    let mut events = app.hub.events();
    let mut changed: HashSet<StreamId> = HashSet::new();
    let mut rates = tokio::time::interval(RATES);
    let mut tick = tokio::time::interval(COALESCE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(HubEvent::Stream(id) | HubEvent::Gone(id)) => {
                    changed.insert(id);
                }
                Err(RecvError::Lagged(_)) => changed.extend(app.hub.statuses().into_iter().map(|s| s.id)),
                Err(RecvError::Closed) => return,
            },
            _ = rates.tick() => {
                let live = app.hub.statuses().into_iter().filter(|s| s.state == StreamState::Live && s.viewers > 0);
                changed.extend(live.map(|s| s.id).filter(|id| is_source(id.as_str())).take(RATES_OF));
            }
            _ = tick.tick(), if !changed.is_empty() => {
                for id in changed.drain() {
                    tell_stream(&app, &id);
                }
            }
        }
    }
}

fn tell_stream(app: &Shared, id: &StreamId) {
    if id.as_str().starts_with("mix:") {
        return;
    }
    match app.hub.get(id) {
        Some(stream) => {
            if stream.state() == StreamState::Failed {
                app.scenes.sub_failed(id);
            }
            app.events.tell("stream", json!({ "stream": stream_view(&stream.status()) }));
            app.conferences.tracks_changed(id);
        }
        None => app.events.tell("stream_gone", json!({ "id": id.as_str() })),
    }
    if let Some(wall) = app.scenes.of_program(id) {
        app.events.tell("wall", json!({ "wall": wall }));
    }
    if let Some(conference) = id.as_str().strip_prefix("program:conference/").and_then(|c| app.conferences.get(c)) {
        app.events.tell("conference", json!({ "conference": conference }));
    }
}

async fn recordings(app: Shared) {
    let mut events = app.recorder.events();
    // Jobs whose failure was told: once each, until they work again.
    let mut failed: HashSet<String> = HashSet::new();
    loop {
        match events.recv().await {
            Ok(RecorderEvent::JobChanged(job)) => {
                let fault = job.fault.as_ref().filter(|_| job.state == JobState::Failed);
                match fault {
                    Some(fault) if failed.insert(job.id.0.clone()) => {
                        let zh = format!("{} 录像中断：{}", job.name, fault.zh);
                        let en = format!("Recording of {} has stopped: {}", job.name, fault.en);
                        app.events.notice(Severity::Alarm, &zh, &en, job.stream.as_str());
                    }
                    Some(_) => {}
                    None => {
                        failed.remove(&job.id.0);
                    }
                }
                app.events.tell("job", json!({ "job": job }));
            }
            Ok(RecorderEvent::JobEnded(id)) => app.events.tell("job_ended", json!({ "id": id })),
            Ok(RecorderEvent::RecordingChanged(recording)) => {
                app.events.tell("recording", json!({ "recording": recording }));
            }
            Ok(RecorderEvent::RecordingRemoved(id)) => app.events.tell("recording_removed", json!({ "id": id })),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

async fn legs(app: Shared) {
    let mut events = app.endpoint.events();
    loop {
        match events.recv().await {
            Ok(LegEvent::Closed { leg, reason }) => {
                tracing::debug!(%leg, reason = reason.code(), "browser leg closed");
                app.conferences.leg_ended(leg);
                app.talks.leg_ended(&app, leg);
                app.broadcasts.leg_ended(leg);
                app.legs.remove(leg);
            }
            Ok(LegEvent::Connected { leg, remote }) => viewer_connected(&app, leg, &remote.to_string()),
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// A viewer of a program belongs to the trace of the source behind it.
fn viewer_connected(app: &Shared, leg: media_webrtc::LegId, remote: &str) {
    let Some(status) = app.endpoint.leg(leg) else { return };
    let Some(source) = app.source_of(status.stream.as_str()) else { return };
    if let Some(stream) = app.hub.get(&source) {
        stream.note(Step::ViewerConnected, Outcome::Ok, format!("{remote} through {}", status.stream));
    }
}

async fn system(app: Shared) {
    let mut tick = tokio::time::interval(SYSTEM);
    loop {
        tick.tick().await;
        app.events.tell("system", json!({ "system": app.system.latest(&app) }));
    }
}
