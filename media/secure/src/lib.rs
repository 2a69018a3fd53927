//! Keys and protection of media, for phones and browsers: machines without socket and clock.
//!
//! - [`srtp`], [`stream`]: SRTP and SRTCP (RFC 3711, RFC 7714). [`keys`], [`profile`]: what they need.
//! - [`sdes`]: keys in the session description (RFC 4568). [`dtls`]: keys by a handshake (RFC 5764).
//! - [`describe`], [`security`]: what descriptions say of it. [`channel`]: the media of one leg on the wire, with ICE lite (RFC 8445).

pub mod channel;
pub mod describe;
pub mod dtls;
pub mod fuzz;
pub mod keys;
pub mod profile;
pub mod sdes;
pub mod security;
pub mod srtp;
pub mod stream;

pub use channel::{Agreed, Channel, Component, Input, Remote};
pub use describe::{Peer, PeerKeys, undress};
pub use dtls::{Failure, Identity};
pub use keys::Keys;
pub use profile::Profile;
pub use security::{Kind, Mismatch, Security};
pub use srtp::SrtpError;
pub use stream::{Incoming, Outgoing};
