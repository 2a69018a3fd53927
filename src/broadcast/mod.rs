//! Emergency broadcast: a text spoken by a speech engine, a sound file or a live voice, said to a list of loudspeakers and phones,
//! with a result for each. Design: `docs/design/broadcast.md`.

mod config;
mod faults;
mod leg;
mod live;
mod order;
mod run;
mod sound;
mod sounds;
mod speech;
mod table;
mod target;
mod view;

pub use config::Broadcast as Settings;
pub use order::{BroadcastList, NewBroadcast, Source, TargetName};
pub(crate) use sounds::{MOST as MOST_SOUNDS, MOST_BYTES as MOST_SOUND_BYTES};
pub use sounds::{Sound, Sounds};
pub use table::{Broadcasts, keep, recover};
pub use target::TargetState;
pub use view::{BroadcastState, BroadcastView, Counts, TargetView};
