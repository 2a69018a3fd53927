//! All conferences of the hall: made, changed, stored, ended. Who takes a seat in them: `seats.rs`, phones: `phones.rs`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bridge_core::{ChannelId, MemberId, SeatCommand, SeatReport, Timestamp};
use media_hub::audio::{MixSettings, Mixer};
use media_hub::{Hub, Program, PublishError, StreamId};
use media_webrtc::LegId;
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;
use uuid::Uuid;

use super::lobby::{Lobby, LobbyMode};
use super::member::MemberView;
use super::patch::Patches;
use super::returns::Lost;
use super::room::{ConferenceView, Room};
use crate::events::{Events, Severity};
use crate::store::{ConferenceRow, Store, StoreError};

/// The loudness of all voices of a conference: that of broadcasts (EBU R128).
const LOUDNESS_LUFS: f32 = -23.0;

#[derive(Debug, thiserror::Error)]
pub enum ConferenceError {
    #[error("there is no conference {0}")]
    NoConference(String),
    #[error("there is no member {0} in this conference")]
    NoMember(String),
    #[error("the number {0} is taken")]
    NumberTaken(String),
    #[error("{0}")]
    Invalid(String),
    #[error("an operator muted this member")]
    MutedByOperator,
    #[error("there is no stream {0}")]
    NoSource(String),
    #[error("all may talk at once in this conference, or the member is not connected: there is no floor to ask for")]
    NoFloor,
    #[error("there is no patch {0}")]
    NoPatch(String),
    #[error("these conferences are joined already, if over others: what is said would come round again")]
    PatchRing,
    #[error("the lobby is full")]
    LobbyFull,
    #[error("the conference is full: {0} members")]
    Full(u32),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

#[derive(Debug, Clone, Copy)]
pub struct ConferenceLimits {
    pub members: u32,
    /// Wrong PINs of one caller in ten minutes before it is refused.
    pub wrong_pins: usize,
    /// Phones that the network dropped are called again.
    pub call_back: bool,
    /// All voices of a conference are brought to one loudness.
    pub loudness: bool,
    /// Those who wait in one lobby, at most.
    pub lobby_most: usize,
    /// How long one may wait.
    pub lobby_wait: Duration,
}

impl Default for ConferenceLimits {
    fn default() -> Self {
        ConferenceLimits {
            members: 64,
            wrong_pins: 9,
            call_back: false,
            loudness: true,
            lobby_most: 32,
            lobby_wait: Duration::from_secs(1800),
        }
    }
}

/// What is to change of a conference; what is left out stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConferenceChange {
    pub name: Option<String>,
    /// Empty takes the PIN away.
    pub pin: Option<String>,
    pub locked: Option<bool>,
    /// One talks at a time: who presses asks for the floor.
    pub half_duplex: Option<bool>,
    pub lobby: Option<LobbyMode>,
}

pub(super) struct Shared {
    pub(super) hub: Hub,
    pub(super) events: Events,
    pub(super) store: Store,
    pub(super) limits: ConferenceLimits,
    rooms: Mutex<BTreeMap<String, Room>>,
    /// Taken before `rooms`, where both are.
    pub(super) patches: Mutex<Patches>,
    /// Held while a conference is written: two must not take one number, and no older row may overtake a newer one.
    writing: tokio::sync::Mutex<()>,
    pub(super) wrong_pins: Mutex<HashMap<String, Vec<Instant>>>,
    pub(super) reports: mpsc::Sender<(MemberId, SeatReport)>,
    /// Phones to be called back, as (conference, member, number), and the end that takes them.
    pub(super) lost: mpsc::Sender<Lost>,
    pub(super) lost_queue: Mutex<Option<mpsc::Receiver<Lost>>>,
}

/// All conferences of the hall. Cheap to clone.
#[derive(Clone)]
pub struct Conferences(pub(super) Arc<Shared>);

/// How often the picture of members with screens is chosen anew.
const LOOK_EVERY: Duration = Duration::from_millis(250);

impl Conferences {
    /// No conference yet: [`Self::open_stored`] opens those of before, once bridges can give them their channels.
    pub fn new(hub: Hub, events: Events, store: Store, limits: ConferenceLimits) -> Self {
        let (reports, queue) = mpsc::channel(1024);
        let (lost, lost_queue) = mpsc::channel(256);
        let all = Conferences(Arc::new(Shared {
            hub,
            events,
            store,
            limits,
            rooms: Mutex::default(),
            patches: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            wrong_pins: Mutex::default(),
            reports,
            lost,
            lost_queue: Mutex::new(Some(lost_queue)),
        }));
        tokio::spawn(all.clone().follow_reports(queue));
        all
    }

    /// Opens the stored conferences.
    pub async fn open_stored(&self) -> Result<(), ConferenceError> {
        for row in self.0.store.conferences().await? {
            self.open(row)?;
        }
        self.open_patches().await
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Room>> {
        self.0.rooms.lock().unwrap_or_else(|p| p.into_inner())
    }

    fn open(&self, row: ConferenceRow) -> Result<(), ConferenceError> {
        let hub = &self.0.hub;
        let loudness_lufs = self.0.limits.loudness.then_some(LOUDNESS_LUFS);
        let settings = MixSettings { comfort_noise: true, loudness_lufs, ..MixSettings::default() };
        let mixer = Mixer::start_with(hub, &row.id, settings);
        let picture = Program::start(hub, StreamId::new(format!("program:conference/{}", row.id)), &row.name)?;
        picture.switch(row.picture.as_deref().map(StreamId::new).filter(|s| hub.knows(s)));
        let channels: Vec<ChannelId> = row.channels.iter().map(|c| ChannelId(c.clone())).collect();
        let id = row.id.clone();
        self.follow_levels(&id, mixer.levels(), mixer.active());
        let room = Room {
            row,
            mixer,
            picture,
            members: BTreeMap::new(),
            levels: HashMap::new(),
            half: None,
            side_rooms: Vec::new(),
            kept: HashMap::new(),
            lobby: Lobby::default(),
            recording: None,
            started_at: Timestamp::now(),
        };
        let half = room.row.half_duplex;
        self.lock().insert(id.clone(), room);
        let _ = self.with(&id, |room, _| {
            Self::set_half(room, half);
            Ok(())
        });
        for channel in channels {
            if let Err(error) = self.seat_channel(&id, &channel) {
                tracing::warn!(conference = id, %channel, %error, "a stored channel could not join again");
            }
        }
        Ok(())
    }

    /// Tells the consoles who talks.
    fn follow_levels(
        &self,
        id: &str,
        mut levels: tokio::sync::watch::Receiver<Vec<(String, media_hub::audio::Level)>>,
        actives: tokio::sync::watch::Receiver<Option<String>>,
    ) {
        let all = self.clone();
        let id = id.to_owned();
        tokio::spawn(async move {
            let mut told_silence = false;
            let mut looks = tokio::time::interval(LOOK_EVERY);
            loop {
                tokio::select! {
                    changed = levels.changed() => if changed.is_err() { return },
                    _ = looks.tick() => {
                        all.look_again(&id);
                        all.floor_tick(&id);
                        all.pass_on(&id);
                        all.end_late_patches().await;
                        continue;
                    }
                }
                let now: HashMap<String, (f32, bool)> =
                    levels.borrow_and_update().iter().map(|(m, l)| (m.clone(), (l.dbov, l.talking))).collect();
                let active = actives.borrow().clone();
                let silence = now.values().all(|(_, talking)| !talking);
                if let Some(room) = all.lock().get_mut(&id) {
                    room.levels.clone_from(&now);
                }
                all.pass_on(&id);
                if !(silence && told_silence) {
                    all.0
                        .events
                        .tell("levels", serde_json::json!({ "conference": id, "levels": now, "active": active }));
                }
                told_silence = silence;
            }
        });
    }

    pub fn all(&self) -> Vec<ConferenceView> {
        self.lock().values().map(|r| r.view(&self.0.hub)).collect()
    }

    pub fn get(&self, id: &str) -> Option<ConferenceView> {
        self.lock().get(id).map(|r| r.view(&self.0.hub))
    }

    /// Name of a conference, for its output stream.
    pub fn name(&self, id: &str) -> Option<String> {
        self.lock().get(id).map(|r| r.row.name.clone())
    }

    /// Members with a standing leg, over all conferences.
    pub fn connected(&self) -> usize {
        self.lock().values().map(Room::connected).sum()
    }

    fn tell(&self, view: &ConferenceView) {
        self.0.events.tell("conference", serde_json::json!({ "conference": view }));
    }

    /// Shows a member to the consoles.
    pub(super) fn show_member(&self, conference: &str, member: &MemberView) {
        self.0.events.tell("member", serde_json::json!({ "conference": conference, "member": member }));
    }

    pub(super) fn tell_member(&self, conference: &str, member: &MemberView) {
        self.show_member(conference, member);
        // Whoever came, went or was muted may have had the floor, or may have it now.
        self.members_changed(conference);
    }

    /// Makes a conference. Without a number it gets the next free one.
    pub async fn create(&self, name: &str, number: Option<&str>, pin: &str) -> Result<ConferenceView, ConferenceError> {
        let _writing = self.0.writing.lock().await;
        let number = {
            let rooms = self.lock();
            let taken = |n: &str| rooms.values().any(|r| r.row.number == n);
            match number {
                Some(n) if taken(n) => return Err(ConferenceError::NumberTaken(n.to_owned())),
                Some(n) => n.to_owned(),
                None => (9000..10_000)
                    .map(|n: u32| n.to_string())
                    .find(|n| !taken(n))
                    .ok_or_else(|| ConferenceError::Invalid("all numbers from 9000 to 9999 are taken".into()))?,
            }
        };
        if number.len() > 12 || number.len() < 2 || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ConferenceError::Invalid(format!("the number {number:?} is not 2 to 12 digits")));
        }
        check_pin(pin)?;
        let name = check_name(name)?;
        let row = ConferenceRow {
            id: Uuid::now_v7().simple().to_string(),
            number,
            name,
            pin: pin.to_owned(),
            locked: false,
            picture: None,
            created_at: jiff::Timestamp::now().as_millisecond(),
            channels: Vec::new(),
            speakers: BTreeMap::new(),
            half_duplex: false,
            lobby: LobbyMode::Off,
        };
        self.0.store.put_conference(&row).await?;
        let id = row.id.clone();
        self.open(row)?;
        let view = self.get(&id).ok_or(ConferenceError::NoConference(id))?;
        self.tell(&view);
        Ok(view)
    }

    /// Changes name, PIN, lock, lobby, or whether one talks at a time. Who waits already goes on waiting.
    pub async fn change(&self, id: &str, change: ConferenceChange) -> Result<ConferenceView, ConferenceError> {
        let ConferenceChange { name, pin, locked, half_duplex, lobby } = change;
        let name = name.as_deref().map(check_name).transpose()?;
        if let Some(pin) = &pin {
            check_pin(pin)?;
        }
        let view = self.with(id, |room, hub| {
            if let Some(name) = name {
                room.row.name = name;
            }
            if let Some(pin) = pin {
                room.row.pin = pin;
            }
            room.row.lobby = lobby.unwrap_or(room.row.lobby);
            if let Some(locked) = locked {
                room.row.locked = locked;
            }
            if let Some(half) = half_duplex {
                Self::set_half(room, half);
            }
            Ok(room.view(hub))
        })?;
        self.tell(&view);
        self.members_changed(id);
        self.save(id).await;
        Ok(view)
    }

    pub async fn set_picture(&self, id: &str, source: Option<&str>) -> Result<ConferenceView, ConferenceError> {
        if let Some(source) = source
            && (!self.0.hub.knows(&StreamId::new(source)) || source.starts_with("program:conference/"))
        {
            return Err(ConferenceError::NoSource(source.to_owned()));
        }
        let view = self.with(id, |room, hub| {
            room.row.picture = source.map(str::to_owned);
            room.picture.switch(source.map(StreamId::new));
            let mut view = room.view(hub);
            view.picture.source = source.map(str::to_owned);
            Ok(view)
        })?;
        self.tell(&view);
        self.save(id).await;
        Ok(view)
    }

    /// Notes by which job a conference is recorded.
    pub fn set_recording(&self, stream: &str, job: Option<String>) {
        let Some(id) = stream.strip_prefix("conference:") else { return };
        let view = self.with(id, |room, hub| {
            room.recording = job;
            Ok(room.view(hub))
        });
        if let Ok(view) = view {
            self.tell(&view);
        }
    }

    /// Ends a conference and hangs up on all, those who wait as well. Gives its browser legs, which the caller closes.
    pub async fn end(&self, id: &str) -> Result<Vec<LegId>, ConferenceError> {
        self.unpatch_all(id).await;
        let mut room = self.lock().remove(id).ok_or_else(|| ConferenceError::NoConference(id.to_owned()))?;
        let legs: Vec<LegId> = room.members.values().filter_map(|m| m.leg).collect();
        for member in room.members.values() {
            if let Some(seat) = &member.seat {
                let _ = seat.try_send(SeatCommand::HangUp);
            }
        }
        room.lobby.close();
        let name = room.row.name.clone();
        drop(room);
        self.0.events.tell("conference_ended", serde_json::json!({ "id": id }));
        let _writing = self.0.writing.lock().await;
        if let Err(error) = self.0.store.delete_conference(id).await {
            self.not_saved(id, &name, &error);
        }
        Ok(legs)
    }

    pub(super) fn with<T>(
        &self,
        id: &str,
        work: impl FnOnce(&mut Room, &Hub) -> Result<T, ConferenceError>,
    ) -> Result<T, ConferenceError> {
        let mut rooms = self.lock();
        let room = rooms.get_mut(id).ok_or_else(|| ConferenceError::NoConference(id.to_owned()))?;
        work(room, &self.0.hub)
    }

    /// Tells the consoles when a member's picture came or went: its tracks are known later than its leg.
    pub fn tracks_changed(&self, stream: &StreamId) {
        let mut told = Vec::new();
        for (id, room) in self.lock().iter_mut() {
            let views: Vec<MemberView> = room
                .members
                .values()
                .filter(|m| m.stream.as_ref() == Some(stream))
                .map(|m| room.member_view(&self.0.hub, m))
                .collect();
            for view in views {
                if let Some(member) = room.members.get_mut(&MemberId(view.id.clone()))
                    && member.told_video != view.has_video
                {
                    member.told_video = view.has_video;
                    told.push((id.clone(), view));
                }
            }
        }
        told.iter().for_each(|(id, view)| self.tell_member(id, view));
    }

    /// Writes a conference down. What was ordered holds already: a full disk must not keep an operator from his conference,
    /// so a refusal is told and not answered.
    pub(super) async fn save(&self, id: &str) {
        let _writing = self.0.writing.lock().await;
        let Ok(row) = self.with(id, |room, _| Ok(room.row.clone())) else { return };
        if let Err(error) = self.0.store.put_conference(&row).await {
            self.not_saved(id, &row.name, &error);
        }
    }

    fn not_saved(&self, id: &str, name: &str, error: &StoreError) {
        tracing::error!(conference = id, %error, "a change of a conference could not be saved");
        self.0.events.notice(
            Severity::Alarm,
            &format!("会商“{name}”的更改已生效，但未能保存，网关重启后会丢失：请检查网关的磁盘"),
            &format!("The change of conference {name} holds but could not be saved; a restart loses it: check the gateway's disk"),
            id,
        );
    }
}

fn check_pin(pin: &str) -> Result<(), ConferenceError> {
    let digits = pin.bytes().all(|b| b.is_ascii_digit());
    if pin.is_empty() || (digits && (4..=12).contains(&pin.len())) {
        Ok(())
    } else {
        Err(ConferenceError::Invalid("a PIN is 4 to 12 digits".into()))
    }
}

pub(super) fn check_name(name: &str) -> Result<String, ConferenceError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(ConferenceError::Invalid("a name is 1 to 64 characters".into()));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use media_hub::HubLimits;

    use super::*;
    use crate::conference::{MemberChange, MutedBy};

    async fn hall(dir: &std::path::Path) -> (Conferences, Store, Events) {
        let store = Store::open(&dir.join("t.db")).await.unwrap();
        let events = Events::default();
        let limits = ConferenceLimits { members: 4, wrong_pins: 9, call_back: false, ..ConferenceLimits::default() };
        let all = Conferences::new(Hub::new(HubLimits::default()), events.clone(), store.clone(), limits);
        (all, store, events)
    }

    fn mute(muted: bool) -> MemberChange {
        MemberChange { muted: Some(muted), ..MemberChange::default() }
    }

    #[tokio::test]
    async fn only_an_operator_opens_what_an_operator_muted() {
        let dir = crate::testing::TempDir::new();
        let (all, _, _) = hall(dir.path()).await;
        let id = all.create("a", None, "").await.unwrap().id;
        let (member, _, _) = all.seat_browser(&id, "m", "m").unwrap();
        let change = |muted, by| all.change_member(&id, &member, mute(muted), by).map(|m| m.muted_by);
        assert_eq!(change(true, MutedBy::Member).unwrap(), Some(MutedBy::Member));
        assert_eq!(change(false, MutedBy::Member).unwrap(), None);
        // The member's own mute does not take the operator's away.
        assert_eq!(change(true, MutedBy::Operator).unwrap(), Some(MutedBy::Operator));
        assert_eq!(change(true, MutedBy::Member).unwrap(), Some(MutedBy::Operator));
        assert!(matches!(change(false, MutedBy::Member), Err(ConferenceError::MutedByOperator)));
        assert!(all.get(&id).unwrap().members[0].muted);
        assert_eq!(change(false, MutedBy::Operator).unwrap(), None);
    }

    #[tokio::test]
    async fn orders_hold_when_the_disk_refuses_them_and_it_is_told() {
        let dir = crate::testing::TempDir::new();
        let (all, store, events) = hall(dir.path()).await;
        let id = all.create("a", None, "").await.unwrap().id;
        store.close().await;
        assert!(all.change(&id, ConferenceChange { locked: Some(true), ..Default::default() }).await.unwrap().locked);
        assert!(all.set_picture(&id, None).await.is_ok());
        let told = events.notices();
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|n| n.severity == Severity::Alarm && n.object == id));
        assert!(all.end(&id).await.unwrap().is_empty());
        assert!(all.get(&id).is_none());
        assert_eq!(events.notices().len(), 3);
    }
}
