//! Keys and protection of media, for phones and browsers: machines without socket and clock.
//!
//! - [`srtp`], [`stream`]: SRTP and SRTCP (RFC 3711, RFC 7714). [`keys`], [`profile`]: what they need.
//! - [`sdes`]: keys in the session description (RFC 4568).

pub mod keys;
pub mod profile;
pub mod sdes;
pub mod srtp;
pub mod stream;

pub use keys::Keys;
pub use profile::Profile;
pub use srtp::SrtpError;
pub use stream::{Incoming, Outgoing};
