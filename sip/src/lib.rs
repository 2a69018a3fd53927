//! SIP for Skybridge: messages, transactions, dialogs and calls, digest, registrar.
//!
//! Everything but [`service`] is a machine without I/O and without a clock: [`Endpoint`] takes bytes, orders and the
//! time, and gives bytes, events and the time of its next timer. [`service`] is the one module that uses tokio: it
//! owns the sockets and one [`Endpoint`], and hands out [`Sip`] (requests and calls of ours) and [`Incoming`]
//! (requests and calls of peers, claimed by the bridges).
//!
//! The parser is ours: bounded, never panics, keeps unknown methods, reads GB18030 headers and never touches a body.

mod dialog;
mod text;
mod timers;
mod validate;

pub mod auth;
pub mod endpoint;
pub mod error;
pub mod flow;
pub mod fuzz;
pub mod guard;
pub mod headers;
pub mod limits;
pub mod message;
pub mod method;
pub mod parse;
pub mod prepass;
pub mod registrar;
pub mod service;
pub mod stats;
pub mod stream;
pub mod stun;
pub mod uri;

pub use auth::{AuthResult, DigestClient, DigestConfig, DigestServer, Secret};
pub use endpoint::{CallEvent, CallId, EndReason, Endpoint, EndpointConfig, Event, LargeId, ReqId, Transmit, TxId};
pub use error::SipError;
pub use flow::{BadNetwork, Flow, FlowId, LinkProfile, Network, Target, Transport};
pub use guard::{Ban, Guard, GuardConfig, Offence};
pub use headers::Headers;
pub use limits::Limits;
pub use message::{Message, Request, Response};
pub use method::Method;
pub use registrar::{Binding, Location, LocationConfig, RegisterError, Registered};
pub use service::{Call, CallHandle, Incoming, Located, Pipe, PipeIn, Service, ServiceConfig, Sip, Tap, Tapped};
pub use stats::{Sample, Stats};
pub use uri::{NameAddr, Uri, Via};
