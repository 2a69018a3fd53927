//! One conference: its settings, members, mixer and main picture.

use std::collections::BTreeMap;
use std::collections::HashMap;

use bridge_core::{MemberId, Timestamp};
use media_core::MediaKind;
use media_hub::audio::Mixer;
use media_hub::{Hub, Program, StreamId};
use serde::Serialize;
use utoipa::ToSchema;

use super::floor::{FloorView, Half};
use super::lobby::{Lobby, LobbyMode, WaiterView};
use super::member::{Member, MemberKind, MemberState, MemberView};
use super::steer::KeptPlaces;
use crate::store::ConferenceRow;

/// A conference as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConferenceView {
    pub id: String,
    pub number: String,
    pub name: String,
    pub locked: bool,
    pub pin_set: bool,
    /// Who waits before he is let in.
    pub lobby: LobbyMode,
    /// Those who wait.
    pub waiting: Vec<WaiterView>,
    pub picture: PictureView,
    /// The stream that all hear.
    pub mix: String,
    /// Picture and mix as one stream: to watch, and to record.
    pub stream: String,
    pub members: Vec<MemberView>,
    /// One talks at a time: who has the floor. None: all may talk at once.
    pub floor: Option<FloorView>,
    /// The recording job, if it is being recorded.
    pub recording: Option<String>,
    #[schema(value_type = String)]
    pub started_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PictureView {
    pub program: String,
    pub source: Option<String>,
    pub live: Option<String>,
}

pub struct Room {
    pub row: ConferenceRow,
    pub mixer: Mixer,
    pub picture: Program,
    pub members: BTreeMap<MemberId, Member>,
    pub levels: HashMap<String, (f32, bool)>,
    /// Where one talks at a time.
    pub(super) half: Option<Half>,
    /// Names of side rooms; their numbers at the mixer are one more than their place here.
    pub(super) side_rooms: Vec<String>,
    pub(super) kept: KeptPlaces,
    pub(super) lobby: Lobby,
    pub recording: Option<String>,
    pub started_at: Timestamp,
}

impl Room {
    pub fn mix_id(&self) -> StreamId {
        StreamId::new(format!("mix:{}", self.row.id))
    }

    /// What `member` hears.
    pub fn mix_for(&self, member: &MemberId) -> StreamId {
        StreamId::new(format!("mix:{}/{}", self.row.id, member))
    }

    pub fn output_id(&self) -> StreamId {
        StreamId::new(format!("conference:{}", self.row.id))
    }

    pub fn member_view(&self, hub: &Hub, member: &Member) -> MemberView {
        let stream = member.stream.as_ref().and_then(|s| hub.get(s));
        let has_video = stream.is_some_and(|s| s.tracks().iter().any(|t| t.kind() == MediaKind::Video));
        member.view(has_video, self.levels.get(&member.id.0).copied())
    }

    pub fn view(&self, hub: &Hub) -> ConferenceView {
        let state = self.picture.state().borrow().clone();
        ConferenceView {
            id: self.row.id.clone(),
            number: self.row.number.clone(),
            name: self.row.name.clone(),
            locked: self.row.locked,
            pin_set: !self.row.pin.is_empty(),
            lobby: self.row.lobby,
            waiting: self.lobby.views(),
            picture: PictureView {
                program: self.picture.id().to_string(),
                source: state.asked.map(|s| s.to_string()),
                live: state.live.map(|s| s.to_string()),
            },
            mix: self.mix_id().to_string(),
            stream: self.output_id().to_string(),
            members: self.members.values().map(|m| self.member_view(hub, m)).collect(),
            floor: self.floor_view(),
            recording: self.recording.clone(),
            started_at: self.started_at,
        }
    }

    pub fn connected(&self) -> usize {
        self.members.values().filter(|m| m.state == MemberState::Connected && m.kind != MemberKind::Patch).count()
    }
}
