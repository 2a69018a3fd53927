//! Why an offer was not answered.

use media_hub::{PublishError, StreamId, SubscribeError};

use crate::viewer::sdp::SdpError;

/// Errors of [`crate::Endpoint`]. Messages are for the engineer; the API turns them into its stable codes.
#[derive(Debug, thiserror::Error)]
pub enum WebRtcError {
    /// The offer cannot be used: HTTP 400, whose: you.
    #[error("offer not acceptable: {0}")]
    Offer(String),
    /// Nothing to see or hear under that name: HTTP 404.
    #[error("no stream and no channel is called {0}")]
    UnknownStream(StreamId),
    /// The place is taken: HTTP 409.
    #[error("stream {0} is already published")]
    Taken(StreamId),
    /// HTTP 503, retry.
    #[error("the limit of {0} browser legs is reached")]
    TooMany(usize),
    /// The endpoint is shutting down or a worker is gone: HTTP 503.
    #[error("browser media is not running")]
    Down,
    /// No such leg: HTTP 404.
    #[error("no such leg")]
    NoLeg,
    /// The sockets could not be had.
    #[error("cannot bind browser media on {at}: {source}")]
    Bind { at: String, source: std::io::Error },
    /// A certificate, a thread or a table could not be made.
    #[error("browser media cannot start: {0}")]
    Start(String),
}

impl From<SdpError> for WebRtcError {
    fn from(e: SdpError) -> Self {
        WebRtcError::Offer(e.to_string())
    }
}

impl From<SubscribeError> for WebRtcError {
    fn from(e: SubscribeError) -> Self {
        match e {
            SubscribeError::Unknown(id) => WebRtcError::UnknownStream(id),
            SubscribeError::TooMany(n) => WebRtcError::TooMany(n),
        }
    }
}

impl From<PublishError> for WebRtcError {
    fn from(e: PublishError) -> Self {
        WebRtcError::Taken(e.0)
    }
}
