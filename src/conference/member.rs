//! Who is in a conference.

use std::time::Instant;

use bridge_core::{Link, MemberId, SeatCommand, Timestamp};
use media_core::Codec;
use media_hub::{Fault, StreamId};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::sight::{PictureOfMember, Screen};
use super::speaker::{Speaker, SpeakerView, SpeakerWish};
use super::steer::{MemberRole, Side};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MemberKind {
    Browser,
    Phone,
    Channel,
    /// Another conference that is joined to this one.
    Patch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    Calling,
    Ringing,
    Connected,
    Held,
    Leaving,
    /// Its phone was dropped by the network and is dialled again; the seat is kept.
    Returning,
}

/// Who muted a member. What an operator muted only an operator opens again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MutedBy {
    /// The member himself.
    Member,
    Operator,
}

/// What is to change of a member; what is left out stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct MemberChange {
    pub muted: Option<bool>,
    /// -40 to 20.
    pub volume_db: Option<f32>,
    pub name: Option<String>,
    /// A camera's loudspeaker says what the conference hears.
    pub loudspeaker: Option<bool>,
    /// How its echo is treated; the default is as the device is marked.
    pub duplex: Option<SpeakerWish>,
    pub role: Option<MemberRole>,
}

/// What becomes of a phone that was called, for whoever ordered it.
#[derive(Debug, Clone)]
pub enum MemberNews {
    Ringing,
    Connected,
    Failed(Fault),
    Left,
}

/// A member and the leg that carries it.
#[derive(Debug)]
pub struct Member {
    pub id: MemberId,
    pub kind: MemberKind,
    pub name: String,
    pub state: MemberState,
    pub muted: Option<MutedBy>,
    /// Gain in dB from -40 to +20.
    pub volume_db: f32,
    pub role: MemberRole,
    /// Its hand is up, since then.
    pub hand_at: Option<Timestamp>,
    pub side: Side,
    /// It was called, or somebody let it in: it need not wait again when it comes back.
    pub admitted: bool,
    /// It came by a guest's link.
    pub guest: bool,
    /// The account or phone behind it, by which it is known when it comes back.
    pub who: Option<String>,
    pub stream: Option<StreamId>,
    /// Whether consoles were told that it has a picture; its tracks are known only after it has connected.
    pub told_video: bool,
    pub hears: Option<Codec>,
    pub link: Link,
    pub joined_at: Timestamp,
    pub connected_at: Option<Instant>,
    pub loss_percent: f32,
    pub jitter_ms: f32,
    pub fault: Option<Fault>,
    /// The phone account behind it, to call it again.
    pub dial: Option<String>,
    /// Who wants to know what becomes of it.
    pub news: Option<mpsc::Sender<MemberNews>>,
    /// The leg that broke says its last word yet.
    pub last_word_due: bool,
    /// To the phone leg in the seat.
    pub seat: Option<mpsc::Sender<SeatCommand>>,
    /// The browser leg.
    pub leg: Option<media_webrtc::LegId>,
    /// The loudspeaker of a camera, when it is wanted.
    pub speaker: Option<Speaker>,
    /// Of a phone: what it is shown, if it has a screen.
    pub screen: Option<Screen>,
}

/// A member as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MemberView {
    pub id: String,
    pub kind: MemberKind,
    pub name: String,
    pub state: MemberState,
    pub muted: bool,
    pub muted_by: Option<MutedBy>,
    pub volume_db: f32,
    pub role: MemberRole,
    /// Its hand is up, since then.
    #[schema(value_type = Option<String>)]
    pub hand_at: Option<Timestamp>,
    /// The side room that it is in.
    pub side_room: Option<String>,
    /// The member who alone hears it.
    pub whispers_to: Option<String>,
    /// It came by a guest's link.
    pub guest: bool,
    pub talking: bool,
    /// Loudness of the last fifth of a second in dB below overload; -127 is silence.
    pub level_dbov: f32,
    pub stream: Option<String>,
    pub has_video: bool,
    pub codec: Option<String>,
    #[schema(value_type = String)]
    pub link: Link,
    #[schema(value_type = String)]
    pub joined_at: Timestamp,
    #[schema(value_type = Option<Object>)]
    pub fault: Option<Fault>,
    pub loss_percent: f32,
    pub jitter_ms: f32,
    /// Of a camera: its loudspeaker, when it is switched on.
    pub loudspeaker: Option<SpeakerView>,
    /// Of a SIP meeting terminal with video: how its picture is and what it sees.
    pub picture: Option<PictureOfMember>,
}

impl Member {
    /// Mutes or opens. False: an operator muted, and `by` is none.
    pub fn mute(&mut self, muted: bool, by: MutedBy) -> bool {
        let held = self.muted == Some(MutedBy::Operator) && by == MutedBy::Member;
        if !held {
            self.muted = muted.then_some(by);
        }
        muted || !held
    }

    pub fn view(&self, has_video: bool, level: Option<(f32, bool)>) -> MemberView {
        let (level_dbov, talking) = level.unwrap_or((-127.0, false));
        MemberView {
            id: self.id.0.clone(),
            kind: self.kind,
            name: self.name.clone(),
            state: self.state,
            muted: self.muted.is_some(),
            muted_by: self.muted,
            volume_db: self.volume_db,
            role: self.role,
            hand_at: self.hand_at,
            side_room: self.side.room.clone(),
            whispers_to: self.side.whisper.as_ref().map(|m| m.0.clone()),
            guest: self.guest,
            talking,
            level_dbov,
            stream: self.stream.as_ref().map(ToString::to_string),
            has_video,
            codec: self.hears.map(|c| c.name().to_owned()),
            link: self.link,
            joined_at: self.joined_at,
            fault: self.fault.clone(),
            loss_percent: self.loss_percent,
            jitter_ms: self.jitter_ms,
            loudspeaker: self.speaker.as_ref().map(Speaker::view),
            picture: self.screen.as_ref().and_then(Screen::view),
        }
    }
}
