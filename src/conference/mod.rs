//! The fused conference: members of every kind in one mix, one main picture, one recording.

mod floor;
mod guest_seats;
mod lobby;
mod member;
mod output;
mod patch;
mod phones;
mod returns;
mod room;
mod rooms;
mod seats;
mod sight;
mod speaker;
mod steer;
mod texts;
mod tone;

pub use floor::{FloorView, Press};
pub use guest_seats::GuestSeat;
pub use lobby::{Admitted, GuestDoor, LobbyMode, WaiterView};
pub use member::{Member, MemberChange, MemberKind, MemberNews, MemberState, MemberView, MutedBy};
pub use output::OutputOpener;
pub use patch::{NewPatch, PatchChange, PatchView};
pub use returns::Lost;
pub use room::{ConferenceView, PictureView};
pub use rooms::{ConferenceChange, ConferenceError, ConferenceLimits, Conferences};
pub use speaker::{Speaker, SpeakerView, SpeakerWish};
pub use steer::{MemberRole, Moved, SideWish};
