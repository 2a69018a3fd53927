//! Framing on TCP and TLS (RFC 3261 section 18.3), of WebSocket messages (RFC 7118), and the keepalives of RFC 5626 section 3.5.1.

use bytes::{Buf, Bytes, BytesMut};

use crate::{limits::Limits, prepass};

/// One thing read from a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole message, headers and body.
    Message(Bytes),
    /// A double CRLF between messages: answer with one CRLF.
    Ping,
}

/// Why a stream cannot be read on. The connection must be closed: the next message's start is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("header part above the limit")]
    HeaderTooLarge,
    #[error("body above the limit")]
    BodyTooLarge,
    #[error("Content-Length cannot be read, or is not the length of the body")]
    BadContentLength,
}

/// What one WebSocket message (text or binary) holds: one SIP message, a double CRLF, or nothing to act on (a lone
/// CRLF, the answer to a ping of ours). RFC 7118 section 5.2: Content-Length is not needed, but where it stands it must
/// fit; a message that is shorter or longer than it says, or above the limits of a stream, ends the connection.
pub fn websocket_frame(data: &Bytes, limits: &Limits) -> Result<Option<Frame>, FrameError> {
    let start = prepass::leading_line_ends(data);
    if start == data.len() {
        let lines = data.iter().filter(|b| **b == b'\n').count();
        return Ok((lines >= 2).then_some(Frame::Ping));
    }
    if start > limits.max_header {
        return Err(FrameError::HeaderTooLarge);
    }
    let data = data.slice(start..);
    let head = match prepass::head_len(data.get(..limits.max_header).unwrap_or(&data)) {
        Some(head) => head,
        None if data.len() > limits.max_header => return Err(FrameError::HeaderTooLarge),
        None => return Ok(Some(Frame::Message(data))), // answered 400
    };
    let body = data.len().saturating_sub(head);
    if body > limits.max_body {
        return Err(FrameError::BodyTooLarge);
    }
    match prepass::content_length(data.get(..head).unwrap_or_default()) {
        Some(Some(stated)) if stated != body => Err(FrameError::BadContentLength),
        // One that is no number is answered 400: the end of the message is known all the same.
        _ => Ok(Some(Frame::Message(data))),
    }
}

/// Cuts a byte stream into messages. Holds at most one header part and one body.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    max_header: usize,
    max_body: usize,
    /// Length of header part and whole message, once known.
    cut: Option<usize>,
    /// Behind here no empty line has been looked for.
    seen: usize,
    half_ping: bool,
}

impl Framer {
    /// A framer with the caps of `limits`.
    pub fn new(limits: &Limits) -> Framer {
        Framer {
            buffer: BytesMut::new(),
            max_header: limits.max_header,
            max_body: limits.max_body,
            cut: None,
            seen: 0,
            half_ping: false,
        }
    }

    /// Takes in what was read.
    pub fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// Bytes held.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// The next message or ping, `None` when more bytes are needed. Call until `None` after each [`Framer::push`].
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.cut.is_none() {
            while let Some(b'\r' | b'\n') = self.buffer.first() {
                let lf = self.buffer.first() == Some(&b'\n');
                self.buffer.advance(1);
                if lf {
                    self.half_ping = !self.half_ping;
                    if !self.half_ping {
                        return Ok(Some(Frame::Ping));
                    }
                }
            }
            if self.buffer.is_empty() {
                return Ok(None);
            }
            self.half_ping = false;
            let Some(head) = prepass::head_len_from(&self.buffer, self.seen) else {
                if self.buffer.len() > self.max_header {
                    return Err(FrameError::HeaderTooLarge);
                }
                self.seen = self.buffer.len().saturating_sub(3);
                return Ok(None);
            };
            if head > self.max_header {
                return Err(FrameError::HeaderTooLarge);
            }
            let body = match prepass::content_length(self.buffer.get(..head).unwrap_or_default()) {
                Some(Some(n)) => n,
                Some(None) => return Err(FrameError::BadContentLength),
                None => 0,
            };
            if body > self.max_body {
                return Err(FrameError::BodyTooLarge);
            }
            self.cut = Some(head + body);
        }
        match self.cut {
            Some(cut) if self.buffer.len() >= cut => {
                self.cut = None;
                self.seen = 0;
                Ok(Some(Frame::Message(self.buffer.split_to(cut).freeze())))
            }
            _ => Ok(None),
        }
    }
}
