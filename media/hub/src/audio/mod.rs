//! Sound: decoding, adaptive buffering, mixing and Opus renditions.
//!
//! Inside, sound is mono `f32` at 48 kHz in blocks of 20 ms ([`BLOCK`] samples). [`MixCore`] and [`Input`] are machines
//! without clock and I/O; [`Mixer`] is the actor with one 20 ms tick per conference. Mixing by N-1: each talker hears all
//! but itself, all silent listeners of one codec share one encoder. Costs are in `mixer.rs`.

mod active;
pub mod comfort;
mod conceal;
mod decode;
mod encode;
mod input;
mod leveller;
mod meter;
mod mix_core;
mod mixer;
mod output;
pub mod renditions;
mod resample;
mod stretch;
#[cfg(test)]
mod testkit;
mod vocoder;

pub use conceal::Concealer;
pub use decode::{Comfort, Decoder};
pub use encode::{Encoder, OpusSettings, encodes, usual_mode};
pub use input::{Input, InputStats};
pub use meter::Level;
pub use mix_core::{Echo, MixCore};
pub use mixer::{Duplex, MixSettings, Mixer};
pub use resample::Resampler;

/// Samples per second of all sound inside.
pub const RATE: u32 = 48_000;
/// Samples in one block of 20 ms.
pub const BLOCK: usize = 960;

/// 20 ms of mono sound, nominal range -1 to 1.
pub type Block = [f32; BLOCK];

/// Why sound could not be decoded or encoded. Such a frame is counted and skipped; it never ends a leg.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AudioError {
    #[error("{0} is no audio codec that can be decoded here")]
    Codec(media_core::Codec),
    #[error("bad configuration: {0}")]
    Config(String),
    #[error("bad frame: {0}")]
    Frame(String),
}
