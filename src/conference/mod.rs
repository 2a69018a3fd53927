//! The fused conference: members of every kind in one mix, one main picture, one recording.

mod member;
mod output;
mod room;
mod rooms;
mod sight;
mod speaker;

pub use member::{Member, MemberChange, MemberKind, MemberState, MemberView, MutedBy};
pub use output::OutputOpener;
pub use room::{ConferenceView, PictureView};
pub use rooms::{ConferenceError, ConferenceLimits, Conferences};
pub use speaker::{Speaker, SpeakerView, SpeakerWish};
