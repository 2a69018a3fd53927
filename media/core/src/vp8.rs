//! VP8 in RTP (RFC 7741) and what its frame header says (RFC 6386 9.1).

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;

use crate::codec::Codec;
use crate::error::ParseError;
use crate::frame::{Cut, Cuts};
use crate::nal::MAX_ACCESS_UNIT;
use crate::rtp_payload::{MAX_RTP_PAYLOAD, RtpFrame};

const MAX_READY: usize = 64;

/// The payload descriptor (RFC 7741 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Descriptor {
    /// Bytes of descriptor before the VP8 data.
    pub len: usize,
    /// Start of a partition (S).
    pub start: bool,
    pub partition: u8,
    /// Not used as reference (N).
    pub droppable: bool,
    /// 7 or 15 bits.
    pub picture_id: Option<u16>,
    pub tl0_pic_idx: Option<u8>,
    /// Temporal layer.
    pub tid: Option<u8>,
}

impl Descriptor {
    pub fn parse(p: &[u8]) -> Result<Descriptor, ParseError> {
        let at = |i: usize| p.get(i).copied().ok_or(ParseError::new("VP8 payload descriptor cut short", i));
        let b0 = at(0)?;
        let mut d = Descriptor {
            len: 1,
            start: b0 & 0x10 != 0,
            partition: b0 & 7,
            droppable: b0 & 0x20 != 0,
            ..Default::default()
        };
        if b0 & 0x80 != 0 {
            let x = at(1)?;
            d.len = 2;
            if x & 0x80 != 0 {
                let i = at(d.len)?;
                d.len += 1;
                d.picture_id = Some(if i & 0x80 != 0 {
                    let low = at(d.len)?;
                    d.len += 1;
                    (u16::from(i & 0x7F) << 8) | u16::from(low)
                } else {
                    u16::from(i)
                });
            }
            if x & 0x40 != 0 {
                d.tl0_pic_idx = Some(at(d.len)?);
                d.len += 1;
            }
            if x & 0x30 != 0 {
                let tk = at(d.len)?;
                d.tid = (x & 0x20 != 0).then_some(tk >> 6);
                d.len += 1;
            }
        }
        if d.len >= p.len() {
            return Err(ParseError::new("VP8 packet without data", d.len));
        }
        Ok(d)
    }
}

/// Whether a frame is a key frame (first bit of the frame tag is 0).
pub fn is_key(frame: &[u8]) -> bool {
    frame.first().is_some_and(|b| b & 1 == 0)
}

/// Width and height of a key frame in pixels.
pub fn dimensions(frame: &[u8]) -> Option<(u32, u32)> {
    if !is_key(frame) || frame.get(3..6)? != [0x9D, 0x01, 0x2A] {
        return None;
    }
    let le = |i: usize| Some(u32::from(*frame.get(i)?) | (u32::from(*frame.get(i + 1)? & 0x3F) << 8));
    Some((le(6)?, le(8)?))
}

/// Cuts a frame into pieces of equal size behind the minimal descriptor of one byte.
pub fn packetize(payload: &[u8]) -> Cuts {
    if payload.is_empty() {
        return Cuts::new();
    }
    let pieces = payload.len().div_ceil(MAX_RTP_PAYLOAD - 1);
    let size = payload.len().div_ceil(pieces);
    (0..payload.len())
        .step_by(size)
        .map(|start| Cut {
            header: [if start == 0 { 0x10 } else { 0 }, 0, 0, 0],
            header_len: 1,
            start: start as u32,
            end: (start + size).min(payload.len()) as u32,
        })
        .collect()
}

/// RTP payloads in sequence order to frames. A loss drops the frame it falls into.
#[derive(Debug, Default)]
pub struct Vp8Depacketizer {
    buf: BytesMut,
    timestamp: Option<u32>,
    received: Option<Instant>,
    open: bool,
    ready: VecDeque<RtpFrame>,
    dimensions: Option<(u32, u32)>,
    dropped: u64,
}

impl Vp8Depacketizer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Size of the last key frame.
    pub fn dimensions(&self) -> Option<(u32, u32)> {
        self.dimensions
    }

    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub fn poll(&mut self) -> Option<RtpFrame> {
        self.ready.pop_front()
    }

    /// Packets are missing before the next one.
    pub fn lost(&mut self) {
        self.dropped += u64::from(self.open);
        self.open = false;
        self.buf.clear();
    }

    pub fn push(&mut self, payload: &[u8], timestamp: u32, marker: bool, received: Instant) -> Result<(), ParseError> {
        if payload.is_empty() {
            return Ok(());
        }
        let d = Descriptor::parse(payload).inspect_err(|_| self.lost())?;
        if self.timestamp != Some(timestamp) {
            self.flush();
            self.timestamp = Some(timestamp);
        }
        if d.start && d.partition == 0 {
            self.buf.clear();
            self.open = true;
        }
        self.received = Some(received);
        if self.open {
            if self.buf.len() + payload.len() > MAX_ACCESS_UNIT {
                self.lost();
                return Err(ParseError::new("VP8 frame over the limit", 0));
            }
            self.buf.extend_from_slice(&payload[d.len..]);
            if marker {
                self.flush();
            }
        }
        Ok(())
    }

    pub fn flush(&mut self) {
        let frame = self.buf.split();
        if !std::mem::take(&mut self.open) || frame.is_empty() {
            return;
        }
        let (Some(timestamp), Some(received)) = (self.timestamp, self.received) else { return };
        if self.ready.len() >= MAX_READY {
            self.dropped += 1;
            return;
        }
        let key = is_key(&frame);
        if let Some(d) = dimensions(&frame) {
            self.dimensions = Some(d);
        }
        self.ready.push_back(RtpFrame { codec: Codec::Vp8, payload: frame.freeze(), timestamp, key, received });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn descriptor_forms() {
        assert_eq!(Descriptor::parse(&[0x10, 1]).unwrap().len, 1);
        let d = Descriptor::parse(&[0x90, 0xE0, 0x81, 0x02, 9, 0x60, 7]).unwrap();
        assert_eq!((d.len, d.picture_id, d.tl0_pic_idx, d.tid), (6, Some(0x102), Some(9), Some(1)));
        assert_eq!(Descriptor::parse(&[0x90, 0x80]).unwrap_err().at, 2);
    }

    #[test]
    fn frame_through_cuts() {
        let mut frame = vec![0x10, 2, 0, 0x9D, 1, 0x2A, 0x80, 2, 0x68, 1];
        frame.extend((0..4000u32).map(|i| i as u8));
        let cuts = packetize(&frame);
        assert!(cuts.len() == 4 && cuts[..3].iter().all(|c| c.len() == cuts[0].len()));
        let mut d = Vp8Depacketizer::new();
        let now = Instant::now();
        for (i, c) in cuts.iter().enumerate() {
            let mut p = c.header_bytes().to_vec();
            p.extend_from_slice(c.body(&frame));
            d.push(&p, 5, i + 1 == cuts.len(), now).unwrap();
        }
        let f = d.poll().unwrap();
        assert!(f.key && f.payload == frame);
        assert_eq!(d.dimensions(), Some((640, 360)));
    }
}
