//! What whoever steers a conference does with its members: roles, raised hands, mute for all, side rooms and whispers, moves.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bridge_core::{FloorNotice, Link, MemberId, SeatCommand, Text, Timestamp};
use media_hub::StreamId;
use media_webrtc::LegId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::lobby::LobbyMode;
use super::member::{Member, MemberKind, MemberState, MemberView, MutedBy};
use super::room::Room;
use super::rooms::{ConferenceError, Conferences, check_name};

/// Side rooms of one conference.
const MOST_ROOMS: usize = 64;
/// How long the place of one who left is kept: he comes back with his role, and muted if an operator had muted him.
const KEPT: Duration = Duration::from_secs(600);
const MOST_KEPT: usize = 1000;

/// What a member may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MemberRole {
    /// Steers the conference as an operator does, whatever his account is, and comes before others for the floor.
    Chair,
    #[default]
    Speaker,
    /// Hears, and is heard by nobody; may raise a hand.
    Listener,
}

/// Where a member talks, beside the conference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Side {
    /// A side room: its name.
    pub room: Option<String>,
    /// The member who alone hears it. When he leaves nobody does, until it is ended by hand: a word in private never gets public
    /// by itself.
    pub whisper: Option<MemberId>,
}

/// Into a side room, to one member's ear, or back: what is left out is none.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SideWish {
    /// Those in a room of the same name hear each other and nobody else.
    pub room: Option<String>,
    /// The id of the member who alone hears this one.
    pub whisper: Option<String>,
}

/// What is kept of a member who left.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    until: Instant,
    role: MemberRole,
    muted: bool,
    volume_db: f32,
    admitted: bool,
}

/// Those who left and may come back, by account or phone.
pub(super) type KeptPlaces = HashMap<String, Kept>;

impl Room {
    /// Takes the member's side to the mixer.
    pub(super) fn apply_side(&self, member: &MemberId) {
        let Some(entry) = self.members.get(member) else { return };
        let number = entry.side.room.as_ref().and_then(|name| self.side_rooms.iter().position(|r| r == name));
        let number = number.and_then(|n| u16::try_from(n + 1).ok()).unwrap_or(0);
        self.mixer.set_side(&member.0, number, entry.side.whisper.as_ref().map(|m| m.0.as_str()));
    }

    /// Remembers one who leaves, if there is something to remember.
    pub(super) fn keep_place(&mut self, member: &Member) {
        let muted = member.muted == Some(MutedBy::Operator);
        let admitted = member.admitted && self.row.lobby != LobbyMode::Off;
        let plain = member.role == MemberRole::Speaker && !muted && member.volume_db == 0.0 && !admitted;
        let Some(who) = member.who.clone().filter(|_| !plain) else { return };
        let now = Instant::now();
        self.kept.retain(|_, k| k.until > now);
        if self.kept.len() < MOST_KEPT {
            let (role, volume_db) = (member.role, member.volume_db);
            self.kept.insert(who, Kept { until: now + KEPT, role, muted, volume_db, admitted });
        }
    }

    /// Whether one who comes back was let in before.
    pub(super) fn was_let_in(&self, who: &str) -> bool {
        self.kept.get(who).is_some_and(|k| k.admitted && k.until > Instant::now())
    }

    /// Gives one who comes back what he had. `who`: account or phone.
    pub(super) fn take_place(&mut self, member: &MemberId, who: &str) {
        let kept = self.kept.remove(who).filter(|k| k.until > Instant::now());
        let Some(entry) = self.members.get_mut(member) else { return };
        entry.who = Some(who.to_owned());
        if let Some(kept) = kept {
            (entry.role, entry.volume_db) = (kept.role, kept.volume_db);
            entry.muted = kept.muted.then_some(MutedBy::Operator);
            entry.admitted |= kept.admitted;
        }
    }
}

/// What a move needs beside the conferences.
#[derive(Debug)]
pub struct Moved {
    pub view: MemberView,
    /// A browser's leg and what it is to hear now.
    pub leg: Option<(LegId, StreamId)>,
}

impl Conferences {
    fn any_of(&self, id: &str, account: &str, wanted: impl Fn(&Member) -> bool) -> bool {
        let rooms = self.lock();
        let own = |m: &Member| m.leg.is_some() && m.who.as_deref() == Some(account);
        rooms.get(id).is_some_and(|room| room.members.values().any(|m| own(m) && wanted(m)))
    }

    /// Whether the account is in the conference with a browser.
    pub fn joined_by(&self, id: &str, account: &str) -> bool {
        self.any_of(id, account, |_| true)
    }

    /// Whether the account is in the conference as its chair.
    pub fn chaired_by(&self, id: &str, account: &str) -> bool {
        self.any_of(id, account, |m| m.role == MemberRole::Chair)
    }

    fn change_one(
        &self,
        id: &str,
        member: &MemberId,
        change: impl FnOnce(&mut Member) -> Result<(), ConferenceError>,
    ) -> Result<MemberView, ConferenceError> {
        let view = self.with(id, |room, hub| {
            let entry = room.members.get_mut(member).ok_or_else(|| ConferenceError::NoMember(member.0.clone()))?;
            change(entry)?;
            room.apply_gain(member);
            Ok(room.member_view(hub, &room.members[member]))
        })?;
        self.tell_member(id, &view);
        Ok(view)
    }

    pub fn set_role(&self, id: &str, member: &MemberId, role: MemberRole) -> Result<MemberView, ConferenceError> {
        self.change_one(id, member, |entry| {
            if !matches!(entry.kind, MemberKind::Browser | MemberKind::Phone) {
                return Err(ConferenceError::Invalid("only people have roles".into()));
            }
            entry.role = role;
            // Who may speak has been answered.
            entry.hand_at = entry.hand_at.filter(|_| role == MemberRole::Listener);
            Ok(())
        })
    }

    /// Raises a hand or takes it down.
    pub fn set_hand(&self, id: &str, member: &MemberId, raised: bool) -> Result<MemberView, ConferenceError> {
        self.change_one(id, member, |entry| {
            if !matches!(entry.kind, MemberKind::Browser | MemberKind::Phone) {
                return Err(ConferenceError::Invalid("only people have hands".into()));
            }
            entry.hand_at = raised.then(|| entry.hand_at.unwrap_or_else(Timestamp::now));
            Ok(())
        })
    }

    /// The talk key of a phone where all may talk at once: its hand goes up, or down. It hears a tone when it is up.
    pub(super) fn hand_by_key(&self, id: &str, member: &MemberId) {
        let up = self.with(id, |room, _| {
            let phone = room.members.get(member).filter(|m| m.kind == MemberKind::Phone && m.link != Link::Radio);
            let phone = phone.filter(|_| room.half.is_none());
            Ok(phone.map(|m| (m.hand_at.is_none(), m.seat.clone())))
        });
        let Ok(Some((raised, seat))) = up else { return };
        if self.set_hand(id, member, raised).is_ok() && raised {
            let told = SeatCommand::Floor(FloorNotice::Queued { place: 0, of: 0 });
            let _ = seat.map(|seat| seat.try_send(told));
        }
    }

    /// Mutes all but chairs and those in `spare`, or opens all that were muted by an operator.
    pub fn mute_all(&self, id: &str, muted: bool, spare: &[MemberId]) -> Result<usize, ConferenceError> {
        let views = self.with(id, |room, hub| {
            let concerned = |m: &Member| match muted {
                // What another conference says is opened and shut at its patch.
                _ if m.kind == MemberKind::Patch => false,
                true => m.muted != Some(MutedBy::Operator) && m.role != MemberRole::Chair && !spare.contains(&m.id),
                false => m.muted == Some(MutedBy::Operator),
            };
            let who: Vec<MemberId> = room.members.values().filter(|m| concerned(m)).map(|m| m.id.clone()).collect();
            let mut views = Vec::with_capacity(who.len());
            for member in &who {
                if let Some(entry) = room.members.get_mut(member) {
                    entry.mute(muted, MutedBy::Operator);
                }
                room.apply_gain(member);
                views.push(room.member_view(hub, &room.members[member]));
            }
            Ok(views)
        })?;
        views.iter().for_each(|view| self.show_member(id, view));
        self.members_changed(id);
        Ok(views.len())
    }

    /// Puts a member into a side room, lets it whisper, or brings it back.
    pub fn set_side(&self, id: &str, member: &MemberId, wish: &SideWish) -> Result<MemberView, ConferenceError> {
        let side = Side {
            room: wish.room.as_deref().map(check_name).transpose()?,
            whisper: wish.whisper.clone().map(MemberId),
        };
        let view = self.with(id, |room, hub| {
            let entry = room.members.get(member).ok_or_else(|| ConferenceError::NoMember(member.0.clone()))?;
            if entry.kind == MemberKind::Patch || entry.kind == MemberKind::Channel && side.whisper.is_some() {
                return Err(ConferenceError::Invalid("a camera does not whisper, and a patch stays".into()));
            }
            if let Some(to) = &side.whisper {
                let hears =
                    room.members.get(to).is_some_and(|m| matches!(m.kind, MemberKind::Browser | MemberKind::Phone));
                if to == member || !hears {
                    return Err(ConferenceError::NoMember(to.0.clone()));
                }
            }
            let used = |name: &String| room.members.values().any(|m| m.side.room.as_ref() == Some(name));
            if let Some(name) = side.room.as_ref().filter(|name| !room.side_rooms.contains(name)) {
                // The number of a room that nobody is in is free again; those of others must not change.
                let free = room.side_rooms.iter().position(|r| !used(r));
                match free {
                    Some(n) => room.side_rooms[n].clone_from(name),
                    None if room.side_rooms.len() < MOST_ROOMS => room.side_rooms.push(name.clone()),
                    None => return Err(ConferenceError::Invalid(format!("at most {MOST_ROOMS} side rooms"))),
                }
            }
            if let Some(entry) = room.members.get_mut(member) {
                entry.side = side;
            }
            room.apply_side(member);
            room.apply_gain(member);
            Ok(room.member_view(hub, &room.members[member]))
        })?;
        self.tell_member(id, &view);
        Ok(view)
    }

    /// Takes a member with its leg from one conference into another, without hanging up.
    pub fn move_member(&self, id: &str, member: &MemberId, to: &str) -> Result<Moved, ConferenceError> {
        let mut rooms = self.lock();
        let missing = |id: &str| ConferenceError::NoConference(id.to_owned());
        if id == to {
            return Err(ConferenceError::Invalid("the member is in this conference".into()));
        }
        let goal = rooms.get(to).ok_or_else(|| missing(to))?;
        if goal.members.len() >= self.0.limits.members as usize {
            return Err(ConferenceError::Full(self.0.limits.members));
        }
        let home = rooms.get_mut(id).ok_or_else(|| missing(id))?;
        let entry = home.members.get(member).ok_or_else(|| ConferenceError::NoMember(member.0.clone()))?;
        if !matches!(entry.kind, MemberKind::Browser | MemberKind::Phone)
            || !matches!(entry.state, MemberState::Connected | MemberState::Held)
        {
            return Err(ConferenceError::Invalid("only who is connected by phone or browser can be moved".into()));
        }
        let Some(mut entry) = home.members.remove(member) else {
            return Err(ConferenceError::NoMember(member.0.clone()));
        };
        home.mixer.remove(&member.0);
        home.levels.remove(&member.0);
        let from_name = home.row.name.clone();
        let room = rooms.get_mut(to).ok_or_else(|| missing(to))?;
        (entry.role, entry.hand_at, entry.side) = (MemberRole::Speaker, None, Side::default());
        let listen = room.mix_for(member);
        let (seat, leg) = (entry.seat.clone(), entry.leg);
        room.mixer.add(&member.0, entry.stream.clone(), entry.hears);
        room.members.insert(member.clone(), entry);
        room.apply_gain(member);
        let view = room.member_view(&self.0.hub, &room.members[member]);
        let name = room.row.name.clone();
        drop(rooms);
        if let Some(seat) = seat {
            let _ = seat.try_send(SeatCommand::Hear(listen.clone()));
        }
        // His own console goes with him: it must know before it is told that he left.
        let fields = serde_json::json!({ "member": member.0, "from": id, "from_name": from_name, "to": to });
        self.0.events.tell("member_moved", fields);
        let reason = Text::new(format!("转到“{name}”"), format!("moved to {name}"));
        self.0
            .events
            .tell("member_left", serde_json::json!({ "conference": id, "member": member.0, "reason": reason }));
        self.members_changed(id);
        self.tell_member(to, &view);
        Ok(Moved { view, leg: leg.map(|leg| (leg, listen)) })
    }
}
