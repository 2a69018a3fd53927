//! SIP phones: registration (RFC 3261 10), calls into conferences with a PIN by keys (RFC 4733), calls out to phones.
//!
//! A phone's voice becomes the stream `phone:call/<hash>` of the hub (G.711, one frame a packet); the phone hears the mix of
//! its seat. Signalling is the crate `sip`, offers and answers are `media_core::phone`; here both are joined.
//!
//! - [`claims`] says which requests of the shared SIP endpoint are this bridge's.
//! - `accounts`: who is registered where, and the devices in the hall's table.
//! - `inbound`, `outbound`: how a call comes to stand. `call`: a standing call. `leg`: its RTP and RTCP. `pin`: the keys.
//! - `route` says where a dialled number goes, `reach` how an INVITE to it is written.
//! - `texts`: MESSAGE in pager mode, both ways.
//! - `trunk`: ways to other telephone networks.
//! - `picture`: the H.264 of a meeting terminal, both ways. `view`: which picture it is sent.
//! - `tickets`: what ends with the sign-in of a telephone in a browser.
//! - `ping`: OPTIONS to phones behind NAT.
//! - `fraud`, `watch`: patterns of calls that look like a stolen account, and the alarms of the guard against scanners.
//! - `b2b`: phone to phone, with forking, forwards and relayed sound.

mod accounts;
mod b2b;
mod call;
mod claims;
mod config;
mod faults;
mod fraud;
pub mod fuzz;
mod inbound;
mod leg;
mod metrics;
mod mos;
mod outbound;
mod phone;
mod picture;
mod pin;
mod ping;
mod prompt;
mod reach;
mod reception;
mod route;
mod security;
mod session_timer;
mod sounds;
mod texts;
mod tickets;
mod trunk;
mod view;
mod watch;

pub use b2b::{Language, SiprecConfig};
pub use claims::claims;
pub use config::{Config, Digest, ForkOrder, InbandDtmf, Srtp};
pub use faults::{ALL as FAULTS, Reason};
pub use fraud::FraudConfig;
pub use phone::Phone;
pub use trunk::{Did, NumberForm, NumberRoute, Rewrite, Shown, Toll, TrunkConfig, Wire, may_dial};

/// As [`Phone::build`].
pub fn build(
    ctx: bridge_core::BridgeContext,
    incoming: tokio::sync::mpsc::Receiver<sip::Incoming>,
    config: Config,
) -> std::sync::Arc<dyn bridge_core::Bridge> {
    Phone::build(ctx, incoming, config)
}

/// The prefix of this bridge's ids.
pub const NAME: &str = "phone";
