//! What can go wrong for a caller.

use crate::{flow::Transport, uri::BadValue};

/// Why a request or call of ours did not go through. A final response of any code is no error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SipError {
    /// The peer did not answer within 64*T1. Retry later.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The connection the request needed is gone. Retry when the peer is back.
    #[error("the flow to the peer is closed")]
    FlowClosed,
    /// The flow id is not known (any more).
    #[error("no such flow")]
    UnknownFlow,
    /// The call has ended.
    #[error("no such call")]
    UnknownCall,
    /// A re-INVITE or UPDATE is under way in this call (RFC 3261 section 14.1). Retry after it.
    #[error("another offer is pending in this call")]
    Pending,
    /// A table or queue of ours is full. Retry later.
    #[error("overloaded: {0}")]
    Overloaded(&'static str),
    /// We have no socket for that transport and address family.
    #[error("no listener for {0}")]
    NoListener(Transport),
    /// The request cannot be sent as it is: the caller's fault.
    #[error("{0}")]
    Invalid(&'static str),
    /// Digest credentials were refused, or the challenge cannot be answered.
    #[error("authentication refused")]
    Unauthorized,
    /// The operating system's word.
    #[error("i/o: {0}")]
    Io(String),
    /// The SIP service has stopped.
    #[error("the SIP service has stopped")]
    Stopped,
}

impl From<BadValue> for SipError {
    fn from(bad: BadValue) -> SipError {
        SipError::Invalid(bad.0)
    }
}

impl From<std::io::Error> for SipError {
    fn from(e: std::io::Error) -> SipError {
        SipError::Io(e.to_string())
    }
}
