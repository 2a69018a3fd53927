//! Pure media: what every bridge, the hub, the recorder and the browser legs share.
//!
//! Nothing here reads a clock, opens a socket or knows tokio: bytes and instants go in, frames come out.
//! Time rules are in `docs/design/time.md`.

pub mod aac;
pub mod amr;
mod bits;
pub mod codec;
pub mod dtmf;
pub mod ed137;
pub mod error;
pub mod frame;
pub mod fuzz;
pub mod g711;
pub mod g722;
pub mod gb;
pub mod h264;
pub mod h264_sdp;
pub mod h265;
pub mod jitter;
pub mod mcptt;
pub mod nal;
pub mod nal_rtp;
pub mod opus;
pub mod phone;
pub mod ps;
mod ps_clock;
mod ps_end;
pub mod ps_mux;
mod ps_pes;
mod ps_track;
mod ps_types;
pub mod psm;
pub mod reorder;
pub mod rtcp;
pub mod rtp;
pub mod rtp_payload;
pub mod sdp;
pub mod tcp_framing;
pub mod time;
pub mod tones;
pub mod ts;
pub mod vp8;
pub mod wav;

pub use codec::{Codec, Decoding, MediaKind};
pub use error::ParseError;
pub use frame::{Cut, Cuts, Frame, TrackId, TrackInfo};
pub use rtp_payload::packetize;
