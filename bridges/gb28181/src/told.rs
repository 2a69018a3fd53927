//! What devices tell, put to use: alarms and positions go to the hall, changes of catalogs into the device table.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use bridge_core::{AlarmReport, ChannelId, ChannelKind, Device, DeviceId, Glimpse, PositionReport, Timestamp};
use media_hub::Fault;

use crate::alarm_words;
use crate::changes;
use crate::faults;
use crate::ids;
use crate::inbound::Inbound;
use crate::manscdp::{self, Manscdp};
use crate::notify::{self, Change};
use crate::peer::Stored;
use crate::refresh;
use crate::shared::{Shared, device_id};
use crate::subscribe::{Heard, SubState, Topic};

/// Time for the response to a business answer.
const RESPONSE: Duration = Duration::from_secs(5);
/// Time for the business answer to an order.
const RESULT: Duration = Duration::from_secs(10);
/// Alarms that are remembered to know a repeat.
const REMEMBERED: usize = 8_192;
/// How long a device may repeat one alarm.
const REPEATS: Duration = Duration::from_secs(600);

/// Alarms seen lately: a device that did not get its answer sends the same one again.
#[derive(Debug)]
pub(crate) struct Recent {
    hash: RandomState,
    seen: HashMap<u64, Instant>,
    order: VecDeque<(Instant, u64)>,
}

impl Recent {
    pub fn new() -> Recent {
        Recent { hash: RandomState::new(), seen: HashMap::new(), order: VecDeque::new() }
    }

    /// True when it is new.
    pub fn note(&mut self, now: Instant, what: impl std::hash::Hash) -> bool {
        while self
            .order
            .front()
            .is_some_and(|(at, _)| self.order.len() >= REMEMBERED || now.saturating_duration_since(*at) >= REPEATS)
        {
            if let Some((_, old)) = self.order.pop_front() {
                self.seen.remove(&old);
            }
        }
        let key = self.hash.hash_one(what);
        if self.seen.insert(key, now).is_some() {
            return false;
        }
        self.order.push_back((now, key));
        true
    }
}

/// The channel of a device that an id means: itself, or the only video channel when the id is the device's own.
fn channel_of(device: &Device, id: &str) -> Option<ChannelId> {
    let exact = ChannelId::new(&device.id, id);
    if device.channels.iter().any(|c| c.id == exact) {
        return Some(exact);
    }
    let mut videos = device.channels.iter().filter(|c| c.kind == ChannelKind::Video);
    let only = videos.next().filter(|_| videos.next().is_none());
    only.filter(|_| id.is_empty() || id == device.id.name()).map(|c| c.id.clone())
}

/// The camera to look at when a part raises an alarm: the part itself, the camera that it hangs under, or the only camera.
fn camera_of(device: &Device, source: &str) -> Option<ChannelId> {
    let own = channel_of(device, source);
    let found = own.as_ref().and_then(|id| device.channels.iter().find(|c| c.id == *id));
    match found {
        Some(channel) if channel.kind != ChannelKind::Video => {
            let parent = channel.parent.as_deref().map(|p| ChannelId::new(&device.id, p));
            let camera =
                device.channels.iter().find(|c| Some(&c.id) == parent.as_ref() && c.kind == ChannelKind::Video);
            camera.map(|c| c.id.clone()).or_else(|| channel_of(device, "")).or(own)
        }
        Some(_) => own,
        // An alarm input that no catalog lists.
        None => channel_of(device, ""),
    }
}

impl Inbound {
    /// A notification by MESSAGE or NOTIFY, already answered 200. True when it was one of ours.
    pub(crate) fn told(&mut self, id: &str, message: &Manscdp) -> bool {
        let command = message.command.as_str();
        let is = |name: &str| command.eq_ignore_ascii_case(name);
        let label = match Topic::of(command) {
            Some(Topic::Alarm) => {
                self.alarm(id, message);
                "alarm"
            }
            Some(Topic::MobilePosition) => {
                self.positions(id, message);
                "position"
            }
            Some(Topic::Catalog) => {
                self.catalog_changes(id, message);
                "catalog"
            }
            Some(Topic::PtzPosition) => {
                let look = notify::look(&message.tree);
                let channel = ChannelId::new(&device_id(id), part(id, message));
                let (pan, tilt, zoom) = (look.pan, look.tilt, look.zoom);
                self.shared.ctx.reports.glimpse(Glimpse::Look { channel, pan, tilt, zoom });
                "ptz_position"
            }
            None if is("VideoUploadNotify") => {
                let device = self.shared.ctx.registry.get(&device_id(id));
                let channel = device.and_then(|d| camera_of(&d, part(id, message)));
                let place = notify::wish(&message.tree).map(|p| self.shared.datum(id).to_wgs84(p));
                self.shared.ctx.reports.glimpse(Glimpse::Wish { device: device_id(id), channel, place });
                "upload"
            }
            None => return false,
        };
        self.shared.metrics.notifications.with_label_values(&[label]).inc();
        true
    }

    /// A NOTIFY, for the machine of subscriptions. An empty one with `terminated` ends a subscription without saying which: the
    /// Call-ID tells.
    pub(crate) fn notified(&mut self, id: &str, req: &sip::Request, body: Option<&Manscdp>) {
        let now = Instant::now();
        let call_id = req.call_id().unwrap_or_default();
        let state = req.headers.get("Subscription-State").map(SubState::parse);
        let topics: Vec<Topic> = match body.map(|b| Topic::of(&b.command)) {
            Some(Some(topic)) => vec![topic],
            Some(None) => return,
            None => Topic::ALL.to_vec(),
        };
        for topic in topics {
            let heard = self.subscriptions.notified(now, id, topic, call_id, state.clone());
            if body.is_none() {
                continue;
            }
            match heard {
                Heard::InDialog => {}
                Heard::OutOfDialog => self.shared.metrics.notifies_out_of_dialog.inc(),
                // A subscription of an earlier life of ours: what it says is used, and a new one is begun.
                Heard::Unknown => {
                    self.shared.metrics.notifies_out_of_dialog.inc();
                    self.want_subscriptions(id, now, false);
                }
            }
        }
    }

    fn alarm(&mut self, id: &str, message: &Manscdp) {
        let shared = self.shared.clone();
        let alarm = notify::alarm(&message.tree);
        let source = part(id, message).to_owned();
        let same = (id, message.sn, &source, alarm.method, alarm.kind, alarm.time.map(|t| t.0));
        // Without number and time two alarms cannot be told from one.
        let known = (message.sn != 0 || alarm.time.is_some()) && !self.recent.note(Instant::now(), same);
        let mut taken = true;
        if known {
            shared.metrics.alarms_repeated.inc();
        } else {
            let (kind, mut words) = alarm_words::words(alarm.method, alarm.kind);
            match alarm.event {
                Some(1) => (words.zh, words.en) = (format!("{}（进入）", words.zh), format!("{} (enters)", words.en)),
                Some(2) => (words.zh, words.en) = (format!("{}（离开）", words.zh), format!("{} (leaves)", words.en)),
                _ => {}
            }
            let device = device_id(id);
            let channel = shared.ctx.registry.get(&device).and_then(|d| camera_of(&d, &source));
            tracing::info!(device = id, source, kind, priority = alarm.priority, "alarm");
            taken = shared.ctx.reports.alarm(AlarmReport {
                device,
                channel,
                source,
                severity: alarm.priority,
                kind,
                words,
                description: alarm.description,
                place: alarm.place.map(|p| shared.datum(id).to_wgs84(p)),
                device_time: alarm.time,
                received: Timestamp::now(),
                wants_reset: alarm.method == Some(2),
            });
            if !taken {
                tracing::error!(device = id, "the hall cannot take an alarm: too many wait");
            }
        }
        self.answer_alarm(id, message, taken);
    }

    /// The business answer, with the number of the alarm. Without a number there is nothing to answer to.
    fn answer_alarm(&self, id: &str, message: &Manscdp, ok: bool) {
        let shared = self.shared.clone();
        if message.sn == 0 {
            return;
        }
        let Ok(permit) = shared.answers.clone().try_acquire_owned() else {
            shared.metrics.alarm_answers_left_out.inc();
            return;
        };
        let (id, sn, about) = (id.to_owned(), message.sn, part(id, message).to_owned());
        let task = shared.clone();
        shared.tasks.spawn(async move {
            let body = |charset| manscdp::response(charset, "Alarm", sn, &about, ok);
            if let Err(fault) = task.message(&id, body, RESPONSE).await {
                tracing::debug!(device = id, fault = %fault, "the answer to an alarm was not taken");
            }
            drop(permit);
        });
    }

    fn positions(&mut self, id: &str, message: &Manscdp) {
        let shared = self.shared.clone();
        let got = notify::positions(&message.tree);
        if got.bad > 0 {
            shared.metrics.positions_unreadable.inc_by(got.bad as u64);
        }
        let Some(device) = shared.ctx.registry.get(&device_id(id)) else { return };
        let datum = shared.datum(id);
        let received = Timestamp::now();
        let any = !got.fixes.is_empty();
        let own = channel_of(&device, id).unwrap_or_else(|| ChannelId::new(&device.id, id));
        drop(device);
        for fix in got.fixes {
            let is_device = fix.id.is_empty() || fix.id == id;
            let subject = if is_device { own.clone() } else { ChannelId::new(&device_id(id), &fix.id) };
            shared.ctx.reports.position(PositionReport {
                subject,
                place: datum.to_wgs84(fix.place),
                speed_kmh: fix.speed_kmh,
                direction: fix.direction,
                altitude: fix.altitude,
                height: fix.height,
                device_time: fix.time,
                received,
            });
        }
        if any && shared.peer(id).is_some_and(|p| !p.mobile) {
            note_mobile(&shared, id);
            self.want_subscriptions(id, Instant::now(), false);
        }
    }

    fn catalog_changes(&mut self, id: &str, message: &Manscdp) {
        let mut got = notify::changes(&message.tree);
        let datum = self.shared.datum(id);
        got.changes.iter_mut().filter_map(|c| c.item.as_mut()).for_each(|i| i.place_in(datum));
        if got.bad > 0 {
            tracing::warn!(device = id, items = got.bad, "items of a catalog's news cannot be read");
        }
        if got.changes.is_empty() {
            return;
        }
        if let Some(now_due) = self.changes.add(Instant::now(), id, got.changes) {
            self.apply_changes(id, &now_due);
        }
    }

    pub(crate) fn apply_changes(&mut self, id: &str, changes: &[Change]) {
        let shared = self.shared.clone();
        let device: DeviceId = device_id(id);
        let mut applied = changes::Applied::default();
        shared.ctx.registry.change(&device, |d| {
            applied = changes::apply(
                &device,
                &mut d.channels,
                changes,
                shared.config.invite_types(id),
                shared.config.catalog.max_channels,
            );
        });
        tracing::debug!(device = id, ?applied, "news of the catalog");
        if applied.full > 0 {
            tracing::warn!(
                device = id,
                channels = applied.full,
                "more channels than catalog.max_channels are left out"
            );
        }
        if changes.iter().any(|c| c.item.as_ref().is_some_and(|i| i.mobile)) {
            note_mobile(&shared, id);
            self.want_subscriptions(id, Instant::now(), false);
        }
        // News of strangers: the table is behind, or the device tells of what its catalog hides.
        if applied.unknown > 0 && !shared.refreshing.contains_key(id) && self.changes.may_ask(Instant::now(), id) {
            refresh::spawn(&shared, id);
        }
    }
}

/// The part that a message is about; the device itself where it names none.
fn part<'a>(id: &'a str, message: &'a Manscdp) -> &'a str {
    if ids::is_id(&message.device) { &message.device } else { id }
}

/// Remembers that a device moves.
pub(crate) fn note_mobile(shared: &Shared, id: &str) {
    let Some(mut peer) = shared.peers.get_mut(id) else { return };
    if peer.mobile {
        return;
    }
    peer.mobile = true;
    drop(peer);
    shared.ctx.registry.change(&device_id(id), |d| {
        let mut stored = Stored::read(d);
        stored.mobile = true;
        d.private = stored.write();
    });
}

/// Tells a device that its alarm was dealt with (`AlarmCmd` `ResetAlarm`, annex A.2.3.1.5). A device that says nothing of the
/// result within 10 s is believed.
pub(crate) async fn reset_alarm(shared: &std::sync::Arc<Shared>, device: &DeviceId, source: &str) -> Result<(), Fault> {
    let id = device.name();
    let about = if ids::is_id(source) { source } else { id };
    let mut asked = shared
        .order(id, "DeviceControl", about, |charset, sn| manscdp::control(charset, sn, about, "AlarmCmd", "ResetAlarm"))
        .await?;
    let answer = tokio::time::timeout(RESULT, asked.answers.recv()).await.ok().flatten();
    match answer.as_ref().and_then(|m| m.tree.get("Result")) {
        Some(result) if !result.eq_ignore_ascii_case("OK") => {
            Err(faults::signalling_failed("设备未能复位报警 / the device could not reset the alarm"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_known_and_the_memory_is_bounded() {
        let now = Instant::now();
        let mut recent = Recent::new();
        assert!(recent.note(now, ("a", 1)) && !recent.note(now, ("a", 1)) && recent.note(now, ("a", 2)));
        for n in 0..3 * REMEMBERED {
            assert!(recent.note(now, ("b", n)));
        }
        assert!(recent.order.len() <= REMEMBERED && recent.seen.len() == recent.order.len());
        assert!(!recent.note(now, ("b", 3 * REMEMBERED - 1)));
        assert!(recent.note(now + REPEATS, ("b", 3 * REMEMBERED - 1)), "after its time it is a new one");
    }
}
