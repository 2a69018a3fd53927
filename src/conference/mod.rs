//! The fused conference: members of every kind in one mix, one main picture, one recording.

mod floor;
mod member;
mod output;
mod phones;
mod returns;
mod room;
mod rooms;
mod seats;
mod sight;
mod speaker;
mod texts;

pub use floor::{FloorView, Press};
pub use member::{Member, MemberChange, MemberKind, MemberNews, MemberState, MemberView, MutedBy};
pub use output::OutputOpener;
pub use returns::Lost;
pub use room::{ConferenceView, PictureView};
pub use rooms::{ConferenceError, ConferenceLimits, Conferences};
pub use speaker::{Speaker, SpeakerView, SpeakerWish};
