//! Seats of a conference: cameras and browsers take them, and what an operator changes of any member.

use std::time::Instant;

use bridge_core::{ChannelId, Link, MemberId, SeatCommand, Text, Timestamp};
use media_core::Codec;
use media_hub::StreamId;
use media_webrtc::LegId;
use uuid::Uuid;

use super::member::{Member, MemberChange, MemberKind, MemberState, MemberView, MutedBy};
use super::room::Room;
use super::rooms::{ConferenceError, Conferences, check_name};
use super::speaker::{Speaker, SpeakerWish};
use super::steer::{MemberRole, Side};

impl Conferences {
    pub(super) fn seat(
        &self,
        room: &mut Room,
        kind: MemberKind,
        name: &str,
        link: Link,
    ) -> Result<MemberId, ConferenceError> {
        if room.members.len() >= self.0.limits.members as usize {
            return Err(ConferenceError::Full(self.0.limits.members));
        }
        let member = Self::new_member(kind, name, link);
        let id = member.id.clone();
        room.members.insert(id.clone(), member);
        Ok(id)
    }

    /// One who has no place yet.
    pub(super) fn new_member(kind: MemberKind, name: &str, link: Link) -> Member {
        Member {
            id: MemberId(Uuid::now_v7().simple().to_string()),
            kind,
            name: name.chars().filter(|c| !c.is_control()).take(64).collect(),
            state: MemberState::Calling,
            muted: None,
            volume_db: 0.0,
            role: MemberRole::default(),
            hand_at: None,
            side: Side::default(),
            admitted: false,
            guest: false,
            who: None,
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
        }
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

    pub(super) fn seat_channel(&self, id: &str, channel: &ChannelId) -> Result<MemberView, ConferenceError> {
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

    /// A browser of this account takes a seat; its leg is made with what this gives: (member, stream to publish as, stream to
    /// hear).
    pub fn seat_browser(
        &self,
        id: &str,
        account: &str,
        name: &str,
    ) -> Result<(MemberId, StreamId, StreamId), ConferenceError> {
        self.with(id, |room, _| {
            let member = self.seat(room, MemberKind::Browser, name, Link::Lan)?;
            room.take_place(&member, account);
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
            room.apply_gain(member);
            Ok(room.member_view(hub, &room.members[member]))
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

    /// Mutes, sets the volume or renames.
    pub fn change_member(
        &self,
        id: &str,
        member: &MemberId,
        change: MemberChange,
        by: MutedBy,
    ) -> Result<MemberView, ConferenceError> {
        let MemberChange { muted, volume_db, name, role, .. } = change;
        if volume_db.is_some_and(|v| !(-40.0..=20.0).contains(&v)) {
            return Err(ConferenceError::Invalid("volume_db must be from -40 to 20".into()));
        }
        let name = name.as_deref().map(check_name).transpose()?;
        let view = self.with(id, |room, hub| {
            let entry = room.members.get_mut(member).ok_or_else(|| ConferenceError::NoMember(member.0.clone()))?;
            if muted.is_some() && entry.kind == MemberKind::Patch {
                return Err(ConferenceError::Invalid("a patch is opened and shut by its directions".into()));
            }
            if muted.is_some_and(|muted| !entry.mute(muted, by)) {
                return Err(ConferenceError::MutedByOperator);
            }
            entry.volume_db = volume_db.unwrap_or(entry.volume_db);
            if let Some(name) = name {
                entry.name = name;
            }
            room.apply_gain(member);
            Ok(room.member_view(hub, &room.members[member]))
        })?;
        if let Some(role) = role {
            return self.set_role(id, member, role);
        }
        self.tell_member(id, &view);
        Ok(view)
    }

    /// Removes a member. Gives its browser leg, which the caller closes.
    pub async fn remove(&self, id: &str, member: &MemberId) -> Result<Option<LegId>, ConferenceError> {
        if let Some(patch) = self.patch_of(member) {
            return self.unpatch(&patch).await.map(|()| None);
        }
        let (leg, channel) = self.with(id, |room, _| {
            let entry = room.members.get_mut(member).ok_or_else(|| ConferenceError::NoMember(member.0.clone()))?;
            if let Some(seat) = &entry.seat {
                let _ = seat.try_send(SeatCommand::HangUp);
            }
            // Who was sent away has to wait again.
            entry.admitted = false;
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

    pub(super) fn forget(&self, id: &str, member: &MemberId, reason: &Text) {
        let gone = self.with(id, |room, _| {
            room.mixer.remove(&member.0);
            room.levels.remove(&member.0);
            let Some(entry) = room.members.remove(member) else { return Ok(false) };
            room.keep_place(&entry);
            Ok(true)
        });
        if gone.unwrap_or(false) {
            let fields = serde_json::json!({ "conference": id, "member": member.0, "reason": reason });
            self.0.events.tell("member_left", fields);
            self.members_changed(id);
        }
    }
}
