//! Browser peers: WHEP viewers, WHIP and two-way conference legs, all on one UDP port.
//!
//! Viewers are our own send path on `is` (ICE lite) and `dimpl` (DTLS), two-way legs are `str0m` in RTP mode; both are a leg
//! with one status. See `docs/design/webrtc.md`.

mod demux;
mod endpoint;
mod env;
mod error;
mod interfaces;
mod leg;
mod outbox;
mod shard;
mod stats;
mod twoway;
mod viewer;

pub use endpoint::{Endpoint, EndpointConfig, Limits, ViewerOptions};
pub use error::WebRtcError;
pub use leg::{CloseReason, LegEvent, LegId, LegKind, LegState, LegStatus};
pub use stats::Stats;
