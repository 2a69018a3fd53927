//! All conferences, and the door through which legs of every kind take their seats.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bridge_core::{BoxFuture, ChannelId, Link, MemberId, Rooms, Seat, SeatCommand, SeatReport, Text, Timestamp};
use media_core::Codec;
use media_hub::audio::Mixer;
use media_hub::{Fault, Hub, Program, PublishError, StreamId, Whose};
use media_webrtc::LegId;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::member::{Member, MemberChange, MemberKind, MemberState, MemberView, MutedBy};
use super::returns::{Lost, take_over};
use super::room::{ConferenceView, Room};
use super::sight::Screen;
use super::speaker::{Speaker, SpeakerWish};
use crate::events::{Events, Severity};
use crate::store::{ConferenceRow, Store, StoreError};

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
}

pub(super) struct Shared {
    hub: Hub,
    events: Events,
    store: Store,
    pub(super) limits: ConferenceLimits,
    rooms: Mutex<BTreeMap<String, Room>>,
    /// Held while a conference is written: two must not take one number, and no older row may overtake a newer one.
    writing: tokio::sync::Mutex<()>,
    wrong_pins: Mutex<HashMap<String, Vec<Instant>>>,
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
/// What a seat says when it is dropped without a word.
const DROPPED: &str = "the leg ended";
const WRONG_PIN_MEMORY: Duration = Duration::from_secs(600);

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
        Ok(())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Room>> {
        self.0.rooms.lock().unwrap_or_else(|p| p.into_inner())
    }

    fn open(&self, row: ConferenceRow) -> Result<(), ConferenceError> {
        let hub = &self.0.hub;
        let mixer = Mixer::start(hub, &row.id);
        let picture = Program::start(hub, StreamId::new(format!("program:conference/{}", row.id)), &row.name)?;
        picture.switch(row.picture.as_deref().map(StreamId::new).filter(|s| hub.knows(s)));
        let channels: Vec<ChannelId> = row.channels.iter().map(|c| ChannelId(c.clone())).collect();
        let id = row.id.clone();
        self.follow_levels(&id, mixer.levels());
        let room = Room {
            row,
            mixer,
            picture,
            members: BTreeMap::new(),
            levels: HashMap::new(),
            recording: None,
            started_at: Timestamp::now(),
        };
        self.lock().insert(id.clone(), room);
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
                        continue;
                    }
                }
                let now: HashMap<String, (f32, bool)> =
                    levels.borrow_and_update().iter().map(|(m, l)| (m.clone(), (l.dbov, l.talking))).collect();
                let silence = now.values().all(|(_, talking)| !talking);
                if let Some(room) = all.lock().get_mut(&id) {
                    room.levels.clone_from(&now);
                }
                if !(silence && told_silence) {
                    all.0.events.tell("levels", serde_json::json!({ "conference": id, "levels": now }));
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

    pub(super) fn tell_member(&self, conference: &str, member: &MemberView) {
        self.0.events.tell("member", serde_json::json!({ "conference": conference, "member": member }));
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
        };
        self.0.store.put_conference(&row).await?;
        let id = row.id.clone();
        self.open(row)?;
        let view = self.get(&id).ok_or(ConferenceError::NoConference(id))?;
        self.tell(&view);
        Ok(view)
    }

    /// Changes name, PIN or lock.
    pub async fn change(
        &self,
        id: &str,
        name: Option<&str>,
        pin: Option<&str>,
        locked: Option<bool>,
    ) -> Result<ConferenceView, ConferenceError> {
        let name = name.map(check_name).transpose()?;
        if let Some(pin) = pin {
            check_pin(pin)?;
        }
        let view = self.with(id, |room, hub| {
            if let Some(name) = name {
                room.row.name = name;
            }
            if let Some(pin) = pin {
                pin.clone_into(&mut room.row.pin);
            }
            if let Some(locked) = locked {
                room.row.locked = locked;
            }
            Ok(room.view(hub))
        })?;
        self.tell(&view);
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

    /// Ends a conference and hangs up on all. Gives its browser legs, which the caller closes.
    pub async fn end(&self, id: &str) -> Result<Vec<LegId>, ConferenceError> {
        let room = self.lock().remove(id).ok_or_else(|| ConferenceError::NoConference(id.to_owned()))?;
        let legs: Vec<LegId> = room.members.values().filter_map(|m| m.leg).collect();
        for member in room.members.values() {
            if let Some(seat) = &member.seat {
                let _ = seat.try_send(SeatCommand::HangUp);
            }
        }
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

    fn seat(&self, room: &mut Room, kind: MemberKind, name: &str, link: Link) -> Result<MemberId, ConferenceError> {
        if room.members.len() >= self.0.limits.members as usize {
            return Err(ConferenceError::Full(self.0.limits.members));
        }
        let id = MemberId(Uuid::now_v7().simple().to_string());
        let member = Member {
            id: id.clone(),
            kind,
            name: name.chars().filter(|c| !c.is_control()).take(64).collect(),
            state: MemberState::Calling,
            muted: None,
            volume_db: 0.0,
            stream: None,
            told_video: false,
            hears: None,
            link,
            joined_at: Timestamp::now(),
            connected_at: None,
            loss_percent: 0.0,
            jitter_ms: 0.0,
            fault: None,
            dial: None,
            news: None,
            last_word_due: false,
            seat: None,
            leg: None,
            speaker: None,
            screen: None,
        };
        room.members.insert(id.clone(), member);
        Ok(id)
    }

    /// A camera joins: its sound is mixed, its picture can be chosen.
    pub async fn add_channel(&self, id: &str, channel: &ChannelId) -> Result<MemberView, ConferenceError> {
        let member = self.seat_channel(id, channel)?;
        self.with(id, |room, _| {
            if !room.row.channels.contains(&channel.0) {
                room.row.channels.push(channel.0.clone());
            }
            Ok(())
        })?;
        self.save(id).await;
        Ok(member)
    }

    fn seat_channel(&self, id: &str, channel: &ChannelId) -> Result<MemberView, ConferenceError> {
        let stream = channel.stream();
        if !self.0.hub.knows(&stream) {
            return Err(ConferenceError::NoSource(channel.0.clone()));
        }
        let name = self.0.hub.name_of(&stream).unwrap_or_else(|| channel.name().to_owned());
        let view = self.with(id, |room, hub| {
            let present = room.members.values().find(|m| m.stream.as_ref() == Some(&stream)).map(|m| m.id.clone());
            if let Some(member) = present.and_then(|m| room.members.get(&m)) {
                return Ok(room.member_view(hub, member));
            }
            let member = self.seat(room, MemberKind::Channel, &name, Link::Lan)?;
            room.mixer.add(&member.0, Some(stream.clone()), None);
            let entry = room.members.get_mut(&member).ok_or_else(|| ConferenceError::NoMember(member.0.clone()))?;
            entry.state = MemberState::Connected;
            entry.stream = Some(stream.clone());
            entry.connected_at = Some(Instant::now());
            entry.speaker = room.row.speakers.get(stream.as_str()).map(|w| Speaker::new(SpeakerWish::parse(w)));
            let member = &room.members[&member];
            Ok(room.member_view(hub, member))
        })?;
        self.tell_member(id, &view);
        Ok(view)
    }

    /// A browser takes a seat; its leg is made with what this gives: (member, stream to publish as, stream to hear).
    pub fn seat_browser(&self, id: &str, name: &str) -> Result<(MemberId, StreamId, StreamId), ConferenceError> {
        self.with(id, |room, _| {
            let member = self.seat(room, MemberKind::Browser, name, Link::Lan)?;
            let stream = StreamId::new(format!("browser:{member}"));
            let hears = room.mix_for(&member);
            // The mix is published before the leg looks for it.
            room.mixer.add(&member.0, None, Some(Codec::Opus));
            Ok((member, stream, hears))
        })
    }

    /// The browser's leg stands; its voice enters the mix.
    pub fn browser_joined(
        &self,
        id: &str,
        member: &MemberId,
        stream: StreamId,
        leg: LegId,
    ) -> Result<(), ConferenceError> {
        let view = self.with(id, |room, hub| {
            room.mixer.set_source(&member.0, Some(stream.clone()));
            let entry = room.members.get_mut(member).ok_or_else(|| ConferenceError::NoMember(member.0.clone()))?;
            entry.state = MemberState::Connected;
            entry.stream = Some(stream);
            entry.hears = Some(Codec::Opus);
            entry.leg = Some(leg);
            entry.connected_at = Some(Instant::now());
            let member = &room.members[member];
            Ok(room.member_view(hub, member))
        })?;
        self.tell_member(id, &view);
        Ok(())
    }

    /// The browser leg that carries a member.
    pub fn leg_of(&self, id: &str, member: &MemberId) -> Option<LegId> {
        self.lock().get(id)?.members.get(member)?.leg
    }

    /// A browser leg ended.
    pub fn leg_ended(&self, leg: LegId) {
        let found = self.lock().iter().find_map(|(id, room)| {
            room.members.values().find(|m| m.leg == Some(leg)).map(|m| (id.clone(), m.id.clone()))
        });
        if let Some((conference, member)) = found {
            self.forget(&conference, &member, &Text::new("已离开", "left"));
        }
    }

    /// A seat for a phone that is to be called; the phone bridge gets it.
    pub fn seat_for_call(&self, id: &str, name: &str) -> Result<(MemberView, Seat), ConferenceError> {
        let (view, seat) = self.with(id, |room, hub| {
            let (member, seat) = self.phone_seat(room, name, Link::Lan)?;
            Ok((room.member_view(hub, &room.members[&member]), seat))
        })?;
        self.tell_member(id, &view);
        Ok((view, seat))
    }

    fn phone_seat(&self, room: &mut Room, name: &str, link: Link) -> Result<(MemberId, Seat), ConferenceError> {
        let member = self.seat(room, MemberKind::Phone, name, link)?;
        let (commands, queue) = mpsc::channel(8);
        let (screen, look) = Screen::new();
        if let Some(entry) = room.members.get_mut(&member) {
            entry.seat = Some(commands);
            entry.screen = Some(screen);
        }
        let seat = Seat::new(
            member.clone(),
            room.row.id.clone(),
            room.row.number.clone(),
            room.row.name.clone(),
            room.mix_for(&member),
            queue,
            self.0.reports.clone(),
        );
        Ok((member, seat.with_look(look)))
    }

    /// Mutes, sets the volume or renames.
    pub fn change_member(
        &self,
        id: &str,
        member: &MemberId,
        change: MemberChange,
        by: MutedBy,
    ) -> Result<MemberView, ConferenceError> {
        let MemberChange { muted, volume_db, name, .. } = change;
        if volume_db.is_some_and(|v| !(-40.0..=20.0).contains(&v)) {
            return Err(ConferenceError::Invalid("volume_db must be from -40 to 20".into()));
        }
        let name = name.as_deref().map(check_name).transpose()?;
        let view = self.with(id, |room, hub| {
            let entry = room.members.get_mut(member).ok_or_else(|| ConferenceError::NoMember(member.0.clone()))?;
            if muted.is_some_and(|muted| !entry.mute(muted, by)) {
                return Err(ConferenceError::MutedByOperator);
            }
            entry.volume_db = volume_db.unwrap_or(entry.volume_db);
            if let Some(name) = name {
                entry.name = name;
            }
            room.mixer.set_gain(&member.0, entry.volume_db, entry.muted.is_some());
            Ok(room.member_view(hub, &room.members[member]))
        })?;
        self.tell_member(id, &view);
        Ok(view)
    }

    /// Removes a member. Gives its browser leg, which the caller closes.
    pub async fn remove(&self, id: &str, member: &MemberId) -> Result<Option<LegId>, ConferenceError> {
        let (leg, channel) = self.with(id, |room, _| {
            let entry = room.members.get_mut(member).ok_or_else(|| ConferenceError::NoMember(member.0.clone()))?;
            if let Some(seat) = &entry.seat {
                let _ = seat.try_send(SeatCommand::HangUp);
            }
            let channel = (entry.kind == MemberKind::Channel).then(|| entry.stream.clone()).flatten();
            if let Some(channel) = &channel {
                room.row.channels.retain(|c| c != channel.as_str());
                room.row.speakers.remove(channel.as_str());
            }
            Ok((entry.leg, channel))
        })?;
        self.forget(id, member, &Text::new("被请出", "removed by an operator"));
        if channel.is_some() {
            self.save(id).await;
        }
        Ok(leg)
    }

    fn forget(&self, id: &str, member: &MemberId, reason: &Text) {
        let gone = self.with(id, |room, _| {
            room.mixer.remove(&member.0);
            room.levels.remove(&member.0);
            Ok(room.members.remove(member).is_some())
        });
        if gone.unwrap_or(false) {
            let fields = serde_json::json!({ "conference": id, "member": member.0, "reason": reason });
            self.0.events.tell("member_left", fields);
        }
    }

    /// Forgets a seat whose leg could not be made.
    pub fn abandon(&self, id: &str, member: &MemberId) {
        self.forget(id, member, &Text::new("未接通", "could not connect"));
    }

    async fn follow_reports(self, mut queue: mpsc::Receiver<(MemberId, SeatReport)>) {
        while let Some((member, report)) = queue.recv().await {
            self.report(&member, report);
        }
    }

    fn report(&self, member: &MemberId, report: SeatReport) {
        let conference =
            self.lock().iter().find(|(_, room)| room.members.contains_key(member)).map(|(id, _)| id.clone());
        let Some(id) = conference else { return };
        self.tell_news(&id, member, &report);
        match &report {
            // A seat that was given up says so when it is dropped: no word of the leg that may come yet.
            SeatReport::Left(reason) if reason.en == DROPPED && self.spared(&id, member) => return,
            SeatReport::Left(reason) => {
                self.forget(&id, member, reason);
                return;
            }
            SeatReport::Failed(fault) => {
                let name = self
                    .with(&id, |room, _| Ok(room.members.get(member).map(|m| m.name.clone())))
                    .ok()
                    .flatten()
                    .unwrap_or_default();
                self.0.events.notice(
                    Severity::Warning,
                    &format!("呼叫 {name} 失败：{}", fault.zh),
                    &format!("Call to {name} failed: {}", fault.en),
                    &member.0,
                );
                if !self.keep(&id, member, fault) && !self.still_returning(&id, member) {
                    self.forget(&id, member, &Text::new(fault.zh.clone(), fault.en.clone()));
                }
                return;
            }
            _ => {}
        }
        let told = self.with(&id, |room, hub| {
            let Some(entry) = room.members.get_mut(member) else { return Ok(None) };
            let mut tell = true;
            match report {
                SeatReport::Ringing if entry.state == MemberState::Returning => tell = false,
                SeatReport::Ringing => entry.state = MemberState::Ringing,
                SeatReport::Connected { stream, hears } => {
                    entry.state = MemberState::Connected;
                    entry.stream = Some(stream.clone());
                    entry.hears = Some(hears);
                    entry.connected_at = Some(Instant::now());
                    entry.fault = None;
                    room.mixer.add(&member.0, Some(stream), Some(hears));
                    room.mixer.set_gain(&member.0, entry.volume_db, entry.muted.is_some());
                }
                SeatReport::Held(held) => {
                    entry.state = if held { MemberState::Held } else { MemberState::Connected };
                }
                SeatReport::Quality { loss_percent, jitter_ms } => {
                    tell =
                        (entry.loss_percent - loss_percent).abs() >= 0.5 || (entry.jitter_ms - jitter_ms).abs() >= 5.0;
                    entry.loss_percent = loss_percent;
                    entry.jitter_ms = jitter_ms;
                }
                SeatReport::Picture(state, fault) => {
                    if let Some(screen) = &mut entry.screen {
                        (screen.state, screen.fault) = (state, fault);
                    }
                }
                // Loudspeakers report to whoever ordered them.
                SeatReport::Left(_) | SeatReport::Failed(_) | SeatReport::OnAir(_) | SeatReport::Sounding { .. } => {}
            }
            Ok(tell.then(|| room.member_view(hub, &room.members[member])))
        });
        if let Ok(Some(view)) = told {
            self.tell_member(&id, &view);
        }
    }

    fn pin_refused(&self, caller: &str) -> bool {
        let mut wrong = self.0.wrong_pins.lock().unwrap_or_else(|p| p.into_inner());
        let Some(times) = wrong.get_mut(caller) else { return false };
        times.retain(|t| t.elapsed() < WRONG_PIN_MEMORY);
        times.len() >= self.0.limits.wrong_pins
    }

    fn note_wrong_pin(&self, caller: &str) {
        let mut wrong = self.0.wrong_pins.lock().unwrap_or_else(|p| p.into_inner());
        if wrong.len() > 10_000 {
            wrong.retain(|_, times| times.iter().any(|t| t.elapsed() < WRONG_PIN_MEMORY));
        }
        wrong.entry(caller.to_owned()).or_default().push(Instant::now());
    }

    fn enter_now(&self, number: &str, pin: Option<&str>, caller: &str, name: &str, link: Link) -> Result<Seat, Fault> {
        if self.pin_refused(caller) {
            return Err(Fault::new(
                "pin_locked",
                Whose::You,
                true,
                "密码错误次数过多，十分钟后再试",
                "Too many wrong PINs; try again in ten minutes",
            ));
        }
        let id = self.lock().iter().find(|(_, room)| room.row.number == number).map(|(id, _)| id.clone());
        let missing =
            || Fault::new("no_such_conference", Whose::You, false, "没有这个会议号", "There is no such conference");
        let id = id.ok_or_else(missing)?;
        let entered = self.with(&id, |room, hub| {
            if room.row.locked {
                return Ok(Err(Fault::new(
                    "conference_locked",
                    Whose::You,
                    true,
                    "会议已锁定",
                    "The conference is locked",
                )));
            }
            if !room.row.pin.is_empty() && !same(pin.unwrap_or_default(), &room.row.pin) {
                return Ok(Err(Fault::new("wrong_pin", Whose::You, true, "会议密码错误", "The PIN is wrong")));
            }
            let (member, seat) = self.phone_seat(room, name, link)?;
            let again = take_over(room, &member, caller);
            Ok(Ok((room.member_view(hub, &room.members[&member]), seat, again)))
        });
        match entered {
            Ok(Ok((view, seat, again))) => {
                if let Some(old) = again {
                    self.forget(&id, &old, &Text::new("已重新拨入", "called in again"));
                }
                self.tell_member(&id, &view);
                Ok(seat)
            }
            Ok(Err(fault)) => {
                if fault.code == "wrong_pin" {
                    self.note_wrong_pin(caller);
                    self.0.events.notice(
                        Severity::Warning,
                        &format!("{name} 入会密码错误"),
                        &format!("{name} gave a wrong conference PIN"),
                        &id,
                    );
                }
                Err(fault)
            }
            Err(error) => {
                Err(Fault::new("conference_full", Whose::Us, true, "会议已满", format!("Cannot join: {error}")))
            }
        }
    }
}

/// Compares without telling by time how much was right.
fn same(given: &str, right: &str) -> bool {
    given.len() == right.len() && given.bytes().zip(right.bytes()).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

fn check_pin(pin: &str) -> Result<(), ConferenceError> {
    let digits = pin.bytes().all(|b| b.is_ascii_digit());
    if pin.is_empty() || (digits && (4..=12).contains(&pin.len())) {
        Ok(())
    } else {
        Err(ConferenceError::Invalid("a PIN is 4 to 12 digits".into()))
    }
}

fn check_name(name: &str) -> Result<String, ConferenceError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(ConferenceError::Invalid("a name is 1 to 64 characters".into()));
    }
    Ok(name.to_owned())
}

impl Rooms for Conferences {
    fn exists(&self, number: &str) -> bool {
        self.lock().values().any(|r| r.row.number == number)
    }

    fn enter<'a>(
        &'a self,
        number: &'a str,
        pin: Option<&'a str>,
        caller: &'a str,
        name: &'a str,
        link: Link,
    ) -> BoxFuture<'a, Result<Seat, Fault>> {
        Box::pin(async move { self.enter_now(number, pin, caller, name, link) })
    }

    fn wants_pin(&self, number: &str) -> bool {
        self.lock().values().any(|r| r.row.number == number && !r.row.pin.is_empty())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use media_hub::HubLimits;

    use super::*;

    async fn hall(dir: &std::path::Path) -> (Conferences, Store, Events) {
        let store = Store::open(&dir.join("t.db")).await.unwrap();
        let events = Events::default();
        let limits = ConferenceLimits { members: 4, wrong_pins: 9, call_back: false };
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
        let (member, _, _) = all.seat_browser(&id, "m").unwrap();
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
        assert!(all.change(&id, None, None, Some(true)).await.unwrap().locked);
        assert!(all.set_picture(&id, None).await.is_ok());
        let told = events.notices();
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|n| n.severity == Severity::Alarm && n.object == id));
        assert!(all.end(&id).await.unwrap().is_empty());
        assert!(all.get(&id).is_none());
        assert_eq!(events.notices().len(), 3);
    }
}
