//! The phone bridge against programs that we did not write: baresip, and raw SIP where a program cannot do it.
//!
//! Each test has a gateway of its own (SIP service, hub, bridge, and a room over the real mixer) on 127.0.0.1:28xxx. Proof is by
//! signal: tones in, Goertzel detectors out. Without baresip the tests that need it say so and pass.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod b2b;
mod baresip;
mod calls;
mod codecs;
mod desk;
mod features;
mod gateway;
mod guard;
mod hostile;
mod numbering;
mod pjsip;
mod ports;
mod raw;
mod registrar;
mod seat;
mod secure;
mod signal;
mod signalling;
mod sipp;
mod siprec;
mod texts;
mod turning;
mod video;
