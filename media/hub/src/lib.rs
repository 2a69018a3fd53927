//! The hub: where every picture and sound meets.
//!
//! A bridge writes frames into a [`Stream`] through its [`Publisher`]; browser legs, the recorder, programs and mixers pull
//! from it through their own [`Subscriber`]. Publishing never waits. A [`Program`] is a stream whose source can be switched.
//! The way of the media is told in `docs/design/hub.md`.

mod admission;
pub mod audio;
mod fault;
mod fit;
mod hub;
mod program;
mod rate;
mod ring;
mod stream;
mod subscriber;
mod trace;

pub use admission::{GopInfo, Replay};
pub use audio::{Level, MixSettings, Mixer};
pub use fault::{Fault, Steps, Text, VIEWER_LACKS_CODEC, Whose};
pub use fit::Fit;
pub use hub::{Hub, HubEvent, HubLimits, Opener, SubscribeError};
pub use program::{Program, ProgramState};
pub use ring::Item;
pub use stream::{PublishError, Publisher, Rendition, Stream, StreamId, StreamState, StreamStatus};
pub use subscriber::{Pulled, Start, SubscribeOptions, Subscriber};
pub use trace::{Outcome, Step, Trace, TraceStep};
