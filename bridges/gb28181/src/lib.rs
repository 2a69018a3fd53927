//! GB/T 28181 platform side: cameras, NVRs and lower platforms register here, are watched, asked for their channels, turned, and
//! their pictures flow into the hub.
//!
//! The pure parts ([`ids`], [`text`], [`xml`], [`manscdp`], [`catalog`], [`gather`], [`ptz`], [`register`], [`guard`],
//! [`liveness`], [`hold`], [`redirect`], [`subscribe`], [`notify`], [`changes`], [`clock`], [`datum`]) have neither I/O nor a clock. [`Gb28181::build`] joins them to the hall. Clause by clause, what is
//! done and proved stands in `docs/ref/gb28181.md`.

mod bridge;
mod control;
mod facts;
mod history;
mod inbound;
mod line;
mod listen;
mod live;
mod peer;
mod ready;
mod refresh;
mod shared;
mod snapshot;
mod told;
pub mod voice;

pub mod alarm_words;
pub mod answers;
pub mod blocks;
pub mod catalog;
pub mod causes;
pub mod changes;
pub mod clock;
pub mod config;
pub mod datum;
pub mod edition;
pub mod faults;
pub mod fuzz;
pub mod gather;
pub mod guard;
pub mod hold;
pub mod ids;
pub mod liveness;
pub mod manscdp;
pub mod metrics;
pub mod notify;
pub mod orders;
pub mod ptz;
pub mod quirks;
pub mod redirect;
pub mod register;
pub mod subscribe;
pub mod text;
pub mod upload;
pub mod xml;

pub use bridge::{Gb28181, claims};
pub use config::{Config, DeviceConfig, MediaTransport, Quirk, Subscribe, Want};
pub use datum::Datum;
pub use shared::NAME;
