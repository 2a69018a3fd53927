//! The loudspeaker of a conference's camera: a setting of the member, and how far it is.

use bridge_core::{ChannelId, MemberId};
use media_core::Codec;
use media_hub::audio::Duplex;
use media_hub::{Fault, StreamId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::member::{Member, MemberKind};
use super::rooms::{ConferenceError, Conferences};
use crate::talk::{VoiceState, VoiceStatus};

/// How a camera's echo is treated in this conference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpeakerWish {
    /// As the device is marked.
    #[default]
    Device,
    /// While the hall talks, the camera is not heard.
    Half,
    /// It is heard all the time.
    Full,
}

/// Milliseconds of echo of a device that is marked as full duplex, but treated as half.
const ECHO_MS: u32 = 800;

impl SpeakerWish {
    pub fn as_str(self) -> &'static str {
        match self {
            SpeakerWish::Device => "device",
            SpeakerWish::Half => "half",
            SpeakerWish::Full => "full",
        }
    }

    pub fn parse(text: &str) -> SpeakerWish {
        match text {
            "half" => SpeakerWish::Half,
            "full" => SpeakerWish::Full,
            _ => SpeakerWish::Device,
        }
    }

    /// Milliseconds of echo to keep out; none: full duplex.
    pub fn echo(self, device: Option<u32>) -> Option<u32> {
        match self {
            SpeakerWish::Device => device,
            SpeakerWish::Half => Some(device.unwrap_or(ECHO_MS)),
            SpeakerWish::Full => None,
        }
    }
}

/// A loudspeaker that is wanted.
#[derive(Debug, Clone)]
pub struct Speaker {
    pub wish: SpeakerWish,
    pub status: VoiceStatus,
}

impl Speaker {
    pub fn new(wish: SpeakerWish) -> Speaker {
        Speaker { wish, status: VoiceStatus::new(VoiceState::Waiting) }
    }
}

/// A camera's loudspeaker as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SpeakerView {
    pub state: VoiceState,
    pub duplex: SpeakerWish,
    /// The camera is kept out of the mix while others talk.
    pub half_duplex: bool,
    #[schema(value_type = Option<Object>)]
    pub fault: Option<Fault>,
    /// Loudness of what was really sent in the last fifth of a second; -127 is silence.
    pub level_dbov: f32,
    pub sent_packets: u64,
    pub way: String,
}

impl Speaker {
    pub fn view(&self) -> SpeakerView {
        SpeakerView {
            state: self.status.state,
            duplex: self.wish,
            half_duplex: self.wish.echo(self.status.echo_ms).is_some(),
            fault: self.status.fault.clone(),
            level_dbov: self.status.level_dbov,
            sent_packets: self.status.packets,
            way: self.status.way.clone(),
        }
    }
}

fn channel_of(member: &Member) -> Option<ChannelId> {
    let stream = member.stream.as_ref().filter(|_| member.kind == MemberKind::Channel)?;
    Some(ChannelId(stream.as_str().to_owned()))
}

/// A member that is a given channel: conference, member, wish, and how far its loudspeaker is.
pub type ChannelMember = (String, MemberId, SpeakerWish, Option<VoiceStatus>);

impl Conferences {
    fn speaker<T>(&self, id: &str, member: &MemberId, read: impl FnOnce(&mut Speaker) -> T) -> Option<T> {
        self.lock().get_mut(id)?.members.get_mut(member)?.speaker.as_mut().map(read)
    }

    /// All loudspeakers that are wanted.
    pub fn speakers(&self) -> Vec<(String, MemberId, ChannelId)> {
        let rooms = self.lock();
        let members = rooms.iter().flat_map(|(id, room)| room.members.values().map(move |m| (id, m)));
        let wanted = members.filter(|(_, m)| m.speaker.is_some());
        wanted.filter_map(|(id, m)| Some((id.clone(), m.id.clone(), channel_of(m)?))).collect()
    }

    /// Levels of those on air, by channel.
    pub fn speaker_levels(&self) -> Vec<(String, (f32, u64))> {
        let rooms = self.lock();
        let members = rooms.values().flat_map(|room| room.members.values());
        let on_air = members.filter_map(|m| {
            let status = &m.speaker.as_ref().filter(|s| s.status.state == VoiceState::OnAir)?.status;
            Some((channel_of(m)?.0, (status.level_dbov, status.packets)))
        });
        on_air.collect()
    }

    /// Where a channel is a member.
    pub fn members_of(&self, channel: &ChannelId) -> Vec<ChannelMember> {
        let rooms = self.lock();
        let members = rooms.iter().flat_map(|(id, room)| room.members.values().map(move |m| (id, m)));
        let found = members.filter(|(_, m)| channel_of(m).as_ref() == Some(channel)).map(|(id, m)| {
            let wish = m.speaker.as_ref().map(|s| s.wish).unwrap_or_default();
            (id.clone(), m.id.clone(), wish, m.speaker.as_ref().map(|s| s.status.clone()))
        });
        found.collect()
    }

    pub fn set_echo(&self, id: &str, member: &MemberId, duplex: Duplex) {
        if let Some(room) = self.lock().get(id) {
            room.mixer.set_echo(&member.0, duplex);
        }
    }

    /// Switches a loudspeaker, or changes its duplex. Gives the channel, and whether it is wanted only now.
    pub async fn set_speaker(
        &self,
        id: &str,
        member: &MemberId,
        on: Option<bool>,
        wish: Option<SpeakerWish>,
    ) -> Result<(ChannelId, bool), ConferenceError> {
        let (channel, began, view) = self.with(id, |room, hub| {
            let entry = room.members.get_mut(member).ok_or_else(|| ConferenceError::NoMember(member.0.clone()))?;
            let channel = channel_of(entry)
                .ok_or_else(|| ConferenceError::Invalid("only a camera has a loudspeaker to be switched".into()))?;
            let was = entry.speaker.is_some();
            if on == Some(false) {
                entry.speaker = None;
            } else if on == Some(true) && !was {
                entry.speaker = Some(Speaker::new(SpeakerWish::default()));
            }
            if let (Some(speaker), Some(wish)) = (&mut entry.speaker, wish) {
                speaker.wish = wish;
            }
            match &entry.speaker {
                Some(speaker) => {
                    room.row.speakers.insert(channel.0.clone(), speaker.wish.as_str().to_owned());
                }
                None => {
                    room.row.speakers.remove(&channel.0);
                    // Its mix ends; its sound stays.
                    room.mixer.add(&member.0, Some(channel.stream()), None);
                }
            }
            let began = !was && entry.speaker.is_some();
            Ok((channel, began, room.member_view(hub, &room.members[member])))
        })?;
        self.tell_member(id, &view);
        self.save(id).await;
        Ok((channel, began))
    }

    pub fn wants_speaker(&self, id: &str, member: &MemberId) -> bool {
        self.speaker(id, member, |_| ()).is_some()
    }

    /// Why it last failed.
    pub fn speaker_fault(&self, id: &str, member: &MemberId) -> Option<Fault> {
        self.speaker(id, member, |s| s.status.fault.clone()).flatten()
    }

    /// What a loudspeaker is to be sent: the mix without its own camera, in G.711 A-law.
    pub fn speaker_hears(&self, id: &str, member: &MemberId) -> Option<StreamId> {
        let rooms = self.lock();
        let room = rooms.get(id)?;
        let channel = channel_of(room.members.get(member)?)?;
        room.mixer.add(&member.0, Some(channel.stream()), Some(Codec::G711A));
        Some(room.mix_for(member))
    }

    /// Notes how far a loudspeaker is; tells it when that changed.
    pub fn speaker_status(&self, id: &str, member: &MemberId, status: VoiceStatus) {
        let changed = self.speaker(id, member, |speaker| {
            let changed = speaker.status.state != status.state || speaker.status.fault != status.fault;
            speaker.status = status;
            changed
        });
        if changed == Some(true)
            && let Ok(view) = self.with(id, |room, hub| {
                let entry = room.members.get(member).ok_or_else(|| ConferenceError::NoMember(member.0.clone()))?;
                Ok(room.member_view(hub, entry))
            })
        {
            self.tell_member(id, &view);
        }
    }
}
