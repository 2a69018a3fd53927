//! Frames to RTP payloads and back, by codec.

use std::time::Instant;

use bytes::Bytes;

use crate::codec::Codec;
use crate::error::{ParseError, be16};
use crate::frame::{Cut, Cuts, Frame};
use crate::nal_rtp::{NalDepacketizer, packetize_nals};
use crate::vp8::{self, Vp8Depacketizer};

/// Largest RTP payload made here, in bytes: with RTP header, SRTP tag, UDP and IPv6 it stays below 1280.
pub const MAX_RTP_PAYLOAD: usize = 1180;

/// The RTP payload cuts of a frame; for [`Frame::cuts`]. Video is cut into pieces of at most 1180 bytes, audio is one cut.
/// AAC gets the AU header of RFC 3640 (AAC-hbr: sizeLength 13, indexLength 3).
pub fn packetize(frame: &Frame) -> Cuts {
    let p = &frame.payload;
    match frame.codec {
        Codec::H264 | Codec::H265 => packetize_nals(frame.codec, p),
        Codec::Vp8 => vp8::packetize(p),
        Codec::Aac if p.len() < 8192 => {
            let size = ((p.len() as u16) << 3).to_be_bytes();
            vec![Cut { header: [0, 16, size[0], size[1]], header_len: 4, start: 0, end: p.len() as u32 }]
        }
        _ => {
            vec![Cut { header: [0; 4], header_len: 0, start: 0, end: p.len() as u32 }]
        }
    }
}

/// One frame out of RTP, still with the 32-bit timestamp of its packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpFrame {
    pub codec: Codec,
    /// Canonical form.
    pub payload: Bytes,
    pub timestamp: u32,
    pub key: bool,
    /// Receive instant of the last packet.
    pub received: Instant,
}

/// RTP payloads in sequence order to frames in canonical form.
#[derive(Debug)]
pub enum Depacketizer {
    Nal(Box<NalDepacketizer>),
    Vp8(Vp8Depacketizer),
    /// Audio: packets are frames. At most 32 wait.
    Audio(Codec, std::collections::VecDeque<RtpFrame>),
}

impl Depacketizer {
    pub fn new(codec: Codec) -> Self {
        match codec {
            Codec::H264 | Codec::H265 => Depacketizer::Nal(Box::new(NalDepacketizer::new(codec))),
            Codec::Vp8 => Depacketizer::Vp8(Vp8Depacketizer::new()),
            _ => Depacketizer::Audio(codec, Default::default()),
        }
    }

    /// One RTP payload. An error drops the frame, nothing else.
    pub fn push(&mut self, payload: &[u8], timestamp: u32, marker: bool, received: Instant) -> Result<(), ParseError> {
        match self {
            Depacketizer::Nal(d) => d.push(payload, timestamp, marker, received),
            Depacketizer::Vp8(d) => d.push(payload, timestamp, marker, received),
            Depacketizer::Audio(codec, ready) => {
                let mut add = |data: &[u8], timestamp: u32| {
                    if !data.is_empty() && ready.len() < 32 {
                        let payload = Bytes::copy_from_slice(data);
                        ready.push_back(RtpFrame { codec: *codec, payload, timestamp, key: true, received });
                    }
                };
                if *codec != Codec::Aac {
                    add(payload, timestamp);
                    return Ok(());
                }
                for (i, au) in aac_units(payload)?.into_iter().enumerate() {
                    add(au, timestamp.wrapping_add(1024 * i as u32));
                }
                Ok(())
            }
        }
    }

    /// Packets are missing before the next one.
    pub fn lost(&mut self) {
        match self {
            Depacketizer::Nal(d) => d.lost(),
            Depacketizer::Vp8(d) => d.lost(),
            Depacketizer::Audio(..) => {}
        }
    }

    pub fn poll(&mut self) -> Option<RtpFrame> {
        match self {
            Depacketizer::Nal(d) => d.poll(),
            Depacketizer::Vp8(d) => d.poll(),
            Depacketizer::Audio(_, ready) => ready.pop_front(),
        }
    }

    /// Gives out what is whole at the end of the stream.
    pub fn flush(&mut self) {
        match self {
            Depacketizer::Nal(d) => d.flush(),
            Depacketizer::Vp8(d) => d.flush(),
            Depacketizer::Audio(..) => {}
        }
    }

    /// Picture size when known.
    pub fn dimensions(&self) -> Option<(u32, u32)> {
        match self {
            Depacketizer::Nal(d) => d.info().map(|i| (i.width, i.height)),
            Depacketizer::Vp8(d) => d.dimensions(),
            Depacketizer::Audio(..) => None,
        }
    }

    /// Frames dropped by loss.
    pub fn dropped(&self) -> u64 {
        match self {
            Depacketizer::Nal(d) => d.dropped(),
            Depacketizer::Vp8(d) => d.dropped(),
            Depacketizer::Audio(..) => 0,
        }
    }
}

/// Access units of an AAC-hbr payload (RFC 3640, 13 + 3 bit headers). Fragments of one unit over packets are refused.
fn aac_units(p: &[u8]) -> Result<Vec<&[u8]>, ParseError> {
    let bits = usize::from(be16(p, 0).ok_or(ParseError::new("AAC payload too short", 0))?);
    if bits == 0 || bits % 16 != 0 || bits > 16 * 32 {
        return Err(ParseError::new("AAC AU header length not of AAC-hbr", 0));
    }
    let mut at = 2 + bits / 8;
    let mut out = Vec::new();
    for i in 0..bits / 16 {
        let head = be16(p, 2 + 2 * i).ok_or(ParseError::new("AAC AU header cut short", 2 + 2 * i))?;
        let len = usize::from(head >> 3);
        out.push(p.get(at..at + len).ok_or(ParseError::new("AAC access unit over the end", at))?);
        at += len;
    }
    Ok(out)
}
