//! Transcoding in worker processes of our own binary.
//!
//! GStreamer's decoders and encoders are C code that can crash on hostile input: they never run in the gateway's own process.
//! Short-lived workers make still pictures ([`Stills`]), long-running ones make H.264 of H.265 ([`Transcoders`]). `docs/design/transcode.md` has the reasons and the measured cost.

mod pipe;
mod process;
mod still;
mod video;
pub mod worker;
mod worker_live;

pub use still::{StillError, Stills};
pub use video::{Counters, Transcoders, VideoSettings};
