//! Radio: dispatch gateways of PDT and DMR, RoIP boxes and MCPTT servers. A group is a call (SIP, G.711) with the gateway; the key
//! travels by one of six carriers, set per gateway, since nothing here is standardised across vendors.
//!
//! A group's sound is the stream `radio:GATEWAY/GROUP` of the hub, and a channel of the device `radio:GATEWAY`.
//!
//! - [`claims`] says which requests of the shared SIP endpoint are this bridge's: those of the configured gateways.
//! - `gateway`: registration and whether it answers. `inbound`, `outbound`: how a call comes to stand. `session`: a standing one.
//! - `channel`: the half-duplex machine. `carrier`: the key, each way of it. `speech`: what is kept until the radio sends.
//! - `leg`: RTP, header extension, digits, MCPTT's port. `text`: what stands in bodies of INFO and MESSAGE.

mod bridge;
mod carrier;
mod channel;
#[cfg(test)]
mod channel_tests;
mod claims;
mod config;
mod faults;
pub mod fuzz;
mod gateway;
mod inbound;
mod leg;
mod metrics;
mod outbound;
mod session;
mod speech;
mod text;
mod texts;
mod tones;

pub use bridge::Radio;
pub use claims::claims;
pub use config::{
    CarrierKind, Config, DtmfConfig, Ed137Config, GatewayConfig, Group, InfoConfig, InfoForm, InfoGrant, McpttConfig,
    TextConfig, Wire,
};
pub use faults::{ALL as FAULTS, Reason};

/// The prefix of this bridge's ids.
pub const NAME: &str = "radio";
