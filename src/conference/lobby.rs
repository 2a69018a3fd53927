//! The lobby: who is not invited waits in front of a conference until somebody lets him in. A phone hears a waiting tone, a guest's
//! browser has no leg yet. Who waits is no member: nothing that goes over members reaches him.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bridge_core::{FloorTerms, Link, MemberId, Seat, SeatCommand, SeatReport, Timestamp};
use media_core::Codec;
use media_hub::audio::Mixer;
use media_hub::{Fault, Hub, Whose};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};
use utoipa::ToSchema;

use super::member::{Member, MemberKind, MemberState, MemberView};
use super::room::Room;
use super::rooms::{ConferenceError, Conferences};
use super::tone;
use crate::events::Severity;

/// Who waits before he is let in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LobbyMode {
    /// Nobody; a locked conference refuses all who come.
    #[default]
    Off,
    /// Guests by link. Locked: phones that call in are refused.
    Guests,
    /// Guests by link and phones that call in. Who has an account, was called, or is a radio group does not wait.
    All,
}

impl LobbyMode {
    pub fn as_str(self) -> &'static str {
        match self {
            LobbyMode::Off => "off",
            LobbyMode::Guests => "guests",
            LobbyMode::All => "all",
        }
    }

    /// What is not known keeps the door shut: all wait.
    pub fn parse(text: &str) -> LobbyMode {
        match text {
            "off" => LobbyMode::Off,
            "guests" => LobbyMode::Guests,
            _ => LobbyMode::All,
        }
    }
}

/// One who waits, as the API shows him.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WaiterView {
    pub id: String,
    /// `phone`, or `browser` for a guest by link.
    pub kind: MemberKind,
    pub name: String,
    /// The number of a phone, or the name of a guest's link.
    pub from: String,
    #[schema(value_type = String)]
    pub link: Link,
    #[schema(value_type = String)]
    pub since: Timestamp,
}

#[derive(Debug)]
struct Waiter {
    view: WaiterView,
    since: Instant,
    who: Who,
}

#[derive(Debug)]
enum Who {
    /// The seat of a phone whose leg stands already.
    Phone { member: Box<Member>, terms: Option<FloorTerms> },
    /// The session of a guest.
    Guest(String),
}

/// What phones hear while they wait: a mixer of its own, with the tone as its only voice.
struct WaitingRoom {
    mixer: Mixer,
    _tone: DropGuard,
}

/// The lobby of one conference.
#[derive(Default)]
pub(super) struct Lobby {
    waiters: BTreeMap<MemberId, Waiter>,
    /// There while a phone waits.
    waiting_room: Option<WaitingRoom>,
}

impl Lobby {
    pub(super) fn views(&self) -> Vec<WaiterView> {
        self.waiters.values().map(|w| w.view.clone()).collect()
    }

    fn sound(&mut self, hub: &Hub, conference: &str) -> &Mixer {
        let room = self.waiting_room.get_or_insert_with(|| {
            let id = format!("lobby/{conference}");
            let mixer = Mixer::start(hub, &id);
            let stop = CancellationToken::new();
            tone::play(hub.clone(), tone::stream(conference), stop.clone());
            mixer.add("tone", Some(tone::stream(conference)), None);
            WaitingRoom { mixer, _tone: stop.drop_guard() }
        });
        &room.mixer
    }

    fn remove(&mut self, id: &MemberId) -> Option<Waiter> {
        let gone = self.waiters.remove(id)?;
        if let Some(room) = &self.waiting_room {
            room.mixer.remove(&id.0);
        }
        if !self.waiters.values().any(|w| matches!(w.who, Who::Phone { .. })) {
            self.waiting_room = None;
        }
        Some(gone)
    }

    /// Hangs up on all who wait. Gives the sessions of guests.
    pub(super) fn close(&mut self) -> Vec<String> {
        let all = std::mem::take(&mut self.waiters);
        self.waiting_room = None;
        all.into_values().filter_map(|w| w.who.send_away()).collect()
    }
}

impl Who {
    fn send_away(self) -> Option<String> {
        match self {
            Who::Phone { member, .. } => {
                if let Some(seat) = &member.seat {
                    let _ = seat.try_send(SeatCommand::HangUp);
                }
                None
            }
            Who::Guest(session) => Some(session),
        }
    }
}

/// What a guest by link finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestDoor {
    Open,
    Lobby,
    Locked,
}

/// What became of one who waited.
#[derive(Debug)]
pub enum Admitted {
    Member(Box<MemberView>),
    /// The session of a guest, who joins by himself now.
    Guest(String),
}

impl Room {
    /// What a phone that calls in finds. `known`: it was let in before and its place is kept.
    pub(super) fn phone_waits(&self, link: Link, known: bool) -> bool {
        self.row.lobby == LobbyMode::All && link != Link::Radio && !known
    }
}

fn full() -> Fault {
    Fault::new("lobby_full", Whose::Us, true, "等候室已满，请稍后再拨", "The lobby is full; call again later")
}

impl Conferences {
    pub(super) fn tell_lobby(&self, id: &str) {
        if let Ok(waiting) = self.with(id, |room, _| Ok(room.lobby.views())) {
            self.0.events.tell("lobby", json!({ "conference": id, "waiting": waiting }));
        }
    }

    fn announce(&self, id: &str, conference: &str, name: &str) {
        self.tell_lobby(id);
        let (zh, en) =
            (format!("{name} 在“{conference}”的等候室等待"), format!("{name} waits in the lobby of {conference}"));
        self.0.events.notice(Severity::Warning, &zh, &en, id);
    }

    /// A seat in the lobby for a phone that called in.
    pub(super) fn seat_in_lobby(&self, room: &mut Room, name: &str, caller: &str, link: Link) -> Result<Seat, Fault> {
        if room.lobby.waiters.len() >= self.0.limits.lobby_most {
            return Err(full());
        }
        let mut member = Self::new_member(MemberKind::Phone, name, link);
        let number = caller.strip_prefix("phone:").map(str::to_owned);
        (member.who, member.dial) = (Some(caller.to_owned()), number.clone());
        let id = member.id.clone();
        let mixer = room.lobby.sound(&self.0.hub, &room.row.id);
        let listen = mixer.listen(&id.0);
        let seat = self.make_seat(&room.row, &mut member, listen);
        let view = WaiterView {
            id: id.0.clone(),
            kind: MemberKind::Phone,
            name: member.name.clone(),
            from: number.unwrap_or_else(|| caller.to_owned()),
            link,
            since: Timestamp::now(),
        };
        let who = Who::Phone { member: Box::new(member), terms: None };
        room.lobby.waiters.insert(id, Waiter { view, since: Instant::now(), who });
        Ok(seat)
    }

    pub(super) fn phone_waits_now(&self, id: &str, name: &str) {
        let conference = self.name(id).unwrap_or_default();
        self.announce(id, &conference, name);
    }

    /// Whether a guest by link may come in, has to wait, or is refused. None: there is no such conference. `known`: he was let in
    /// before.
    pub fn guest_door(&self, id: &str, known: bool) -> Option<GuestDoor> {
        let rooms = self.lock();
        let row = &rooms.get(id)?.row;
        Some(match row.lobby {
            _ if known => GuestDoor::Open,
            LobbyMode::Off if row.locked => GuestDoor::Locked,
            LobbyMode::Off => GuestDoor::Open,
            LobbyMode::Guests | LobbyMode::All => GuestDoor::Lobby,
        })
    }

    /// A guest begins to wait. `from`: the name of his link.
    pub fn guest_waits(&self, id: &str, session: &str, name: &str, from: &str) -> Result<(), ConferenceError> {
        let conference = self.with(id, |room, _| {
            let same = |w: &Waiter| matches!(&w.who, Who::Guest(s) if s == session);
            if room.lobby.waiters.values().any(same) {
                return Ok(None);
            }
            if room.lobby.waiters.len() >= self.0.limits.lobby_most {
                return Err(ConferenceError::LobbyFull);
            }
            let member = Self::new_member(MemberKind::Browser, name, Link::Lan);
            let view = WaiterView {
                id: member.id.0.clone(),
                kind: MemberKind::Browser,
                name: member.name,
                from: from.to_owned(),
                link: Link::Lan,
                since: Timestamp::now(),
            };
            let waiter = Waiter { view, since: Instant::now(), who: Who::Guest(session.to_owned()) };
            room.lobby.waiters.insert(member.id, waiter);
            Ok(Some(room.row.name.clone()))
        })?;
        if let Some(conference) = conference {
            self.announce(id, &conference, name);
        }
        Ok(())
    }

    /// A guest waits no longer: he left, or his link was withdrawn.
    pub fn guest_gone(&self, id: &str, session: &str) {
        let gone = self.with(id, |room, _| {
            let found = room.lobby.waiters.iter().find(|(_, w)| matches!(&w.who, Who::Guest(s) if s == session));
            let found = found.map(|(id, _)| id.clone());
            Ok(found.and_then(|w| room.lobby.remove(&w)).is_some())
        });
        if gone.unwrap_or(false) {
            self.tell_lobby(id);
        }
    }

    /// Who waits.
    pub fn waiting(&self, id: &str) -> Result<Vec<WaiterView>, ConferenceError> {
        self.with(id, |room, _| Ok(room.lobby.views()))
    }

    /// Lets one in.
    pub fn admit(&self, id: &str, waiter: &MemberId) -> Result<Admitted, ConferenceError> {
        let admitted = self.with(id, |room, hub| {
            let phone = match room.lobby.waiters.get(waiter) {
                None => return Err(ConferenceError::NoMember(waiter.0.clone())),
                Some(found) => matches!(found.who, Who::Phone { .. }),
            };
            if phone && room.members.len() >= self.0.limits.members as usize {
                return Err(ConferenceError::Full(self.0.limits.members));
            }
            let Some(found) = room.lobby.remove(waiter) else {
                return Err(ConferenceError::NoMember(waiter.0.clone()));
            };
            let (mut member, terms) = match found.who {
                Who::Guest(session) => return Ok((Admitted::Guest(session), None)),
                Who::Phone { member, terms } => (*member, terms),
            };
            member.admitted = true;
            member.joined_at = Timestamp::now();
            // The mix is published before the leg looks for it.
            room.mixer.add(&waiter.0, member.stream.clone(), member.hears.or(Some(Codec::Opus)));
            if let Some(seat) = &member.seat {
                let _ = seat.try_send(SeatCommand::Hear(room.mix_for(waiter)));
            }
            let caller = member.who.clone();
            room.members.insert(waiter.clone(), member);
            if let Some(caller) = caller {
                room.take_place(waiter, &caller);
            }
            room.apply_gain(waiter);
            Ok((Admitted::Member(Box::new(room.member_view(hub, &room.members[waiter]))), terms))
        })?;
        self.tell_lobby(id);
        if let Admitted::Member(view) = &admitted.0 {
            self.tell_member(id, view);
            if let Some(terms) = admitted.1 {
                self.floor_terms(id, waiter, terms);
            }
        }
        Ok(admitted.0)
    }

    /// Sends one away. Gives the session of a guest.
    pub fn refuse(&self, id: &str, waiter: &MemberId) -> Result<Option<String>, ConferenceError> {
        let found = self
            .with(id, |room, _| room.lobby.remove(waiter).ok_or_else(|| ConferenceError::NoMember(waiter.0.clone())))?;
        self.tell_lobby(id);
        Ok(found.who.send_away())
    }

    /// Sends those away who have waited too long. Gives the sessions of guests. Called once a second.
    pub fn end_long_waits(&self) -> Vec<(String, String)> {
        let wait: Duration = self.0.limits.lobby_wait;
        let mut sessions = Vec::new();
        let mut changed = Vec::new();
        for (id, room) in self.lock().iter_mut() {
            let late: Vec<MemberId> = room
                .lobby
                .waiters
                .iter()
                .filter(|(_, w)| w.since.elapsed() >= wait)
                .map(|(id, _)| id.clone())
                .collect();
            for waiter in late {
                let gone = room.lobby.remove(&waiter);
                sessions.extend(gone.and_then(|w| w.who.send_away()).map(|s| (id.clone(), s)));
                changed.push(id.clone());
            }
        }
        changed.dedup();
        changed.iter().for_each(|id| self.tell_lobby(id));
        sessions
    }

    /// What the leg of a phone in a lobby tells.
    pub(super) fn lobby_report(&self, waiter: &MemberId, report: SeatReport) {
        let found = self.lock().iter().find(|(_, r)| r.lobby.waiters.contains_key(waiter)).map(|(id, _)| id.clone());
        let Some(id) = found else { return };
        let told = self.with(&id, |room, _| {
            let mut gone = false;
            let Some(Waiter { who: Who::Phone { member, terms }, view, .. }) = room.lobby.waiters.get_mut(waiter)
            else {
                return Ok(false);
            };
            match report {
                SeatReport::Connected { stream, hears } => {
                    member.state = MemberState::Connected;
                    (member.stream, member.hears) = (Some(stream), Some(hears));
                    member.connected_at = Some(Instant::now());
                    if let Some(room) = &room.lobby.waiting_room {
                        // Its voice goes nowhere, not to others who wait either.
                        room.mixer.add(&waiter.0, None, Some(hears));
                    }
                }
                SeatReport::Held(held) => {
                    member.state = if held { MemberState::Held } else { MemberState::Connected };
                }
                SeatReport::Person(who) => {
                    member.name = if who.name.is_empty() { who.number.clone() } else { who.name };
                    member.dial = Some(who.number.clone());
                    (view.name, view.from) = (member.name.clone(), who.number);
                }
                SeatReport::Mode(mode) => {
                    if let Some(room) = &room.lobby.waiting_room {
                        room.mixer.set_mode(&waiter.0, mode);
                    }
                    return Ok(false);
                }
                SeatReport::Floor(its) => *terms = Some(its),
                SeatReport::Picture(state, fault) => {
                    if let Some(screen) = &mut member.screen {
                        (screen.state, screen.fault) = (state, fault);
                    }
                    return Ok(false);
                }
                SeatReport::Left(_) | SeatReport::Failed(_) => gone = true,
                _ => return Ok(false),
            }
            if gone {
                room.lobby.remove(waiter);
            }
            Ok(true)
        });
        if told.unwrap_or(false) {
            self.tell_lobby(&id);
        }
    }
}

#[cfg(test)]
#[path = "lobby_tests.rs"]
mod tests;
