//! H.264 (RFC 6184, packetization mode 1) and H.265 (RFC 7798, no DONL) in RTP.

use std::collections::VecDeque;
use std::time::Instant;

use crate::codec::Codec;
use crate::error::{ParseError, be16};
use crate::frame::{Cut, Cuts};
use crate::nal::{AuAssembler, MAX_ACCESS_UNIT, VideoInfo, nal_ranges};
use crate::rtp_payload::{MAX_RTP_PAYLOAD, RtpFrame};
use crate::{h264, h265};

/// Frames waiting to be polled; more are refused.
const MAX_READY: usize = 64;

/// Cuts a canonical H.264 or H.265 payload: single NAL units, or fragments of equal size (the last one may be smaller).
pub fn packetize_nals(codec: Codec, payload: &[u8]) -> Cuts {
    let header = if codec == Codec::H265 { 2 } else { 1 };
    let fu_header = header + 1;
    let mut out = Cuts::new();
    for r in nal_ranges(payload) {
        if r.len() <= MAX_RTP_PAYLOAD || r.len() <= header {
            out.push(Cut { header: [0; 4], header_len: 0, start: r.start as u32, end: r.end as u32 });
            continue;
        }
        let body = r.start + header..r.end;
        let pieces = body.len().div_ceil(MAX_RTP_PAYLOAD - fu_header);
        let size = body.len().div_ceil(pieces);
        let mut start = body.start;
        while start < body.end {
            let end = (start + size).min(body.end);
            let flags = (u8::from(start == body.start) << 7) | (u8::from(end == body.end) << 6);
            let h0 = payload[r.start];
            let head = if codec == Codec::H265 {
                [(h0 & 0x81) | (h265::NAL_FU << 1), payload[r.start + 1], flags | h265::nal_type(h0), 0]
            } else {
                [(h0 & 0xE0) | h264::NAL_FU_A, flags | h264::nal_type(h0), 0, 0]
            };
            out.push(Cut { header: head, header_len: fu_header as u8, start: start as u32, end: end as u32 });
            start = end;
        }
    }
    out
}

/// RTP payloads in sequence order to access units. A loss drops the access unit it falls into.
#[derive(Debug)]
pub struct NalDepacketizer {
    asm: AuAssembler,
    h265: bool,
    /// Fragmented NAL unit being rebuilt.
    fu: Vec<u8>,
    fu_open: bool,
    timestamp: Option<u32>,
    received: Option<Instant>,
    /// A loss came before the next packet.
    loss: bool,
    /// The rest of this timestamp is useless.
    skip: Option<u32>,
    ready: VecDeque<RtpFrame>,
    dropped: u64,
}

impl NalDepacketizer {
    pub fn new(codec: Codec) -> Self {
        NalDepacketizer {
            asm: AuAssembler::new(codec),
            h265: codec == Codec::H265,
            fu: Vec::new(),
            fu_open: false,
            timestamp: None,
            received: None,
            loss: false,
            skip: None,
            ready: VecDeque::new(),
            dropped: 0,
        }
    }

    /// See [`AuAssembler::with_recovery_keys`].
    pub fn with_recovery_keys(mut self, on: bool) -> Self {
        self.asm = self.asm.with_recovery_keys(on);
        self
    }

    pub fn info(&self) -> Option<VideoInfo> {
        self.asm.info()
    }

    /// Takes in a parameter set from SDP (`sprop-parameter-sets`, decoded).
    pub fn parameter_set(&mut self, nal: &[u8]) {
        let _ = self.asm.push(nal);
        if !self.asm.has_slice() {
            self.asm.discard();
        }
    }

    /// Access units dropped by loss or damage.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Packets are missing before the next one.
    pub fn lost(&mut self) {
        self.loss = true;
    }

    pub fn poll(&mut self) -> Option<RtpFrame> {
        self.ready.pop_front()
    }

    pub fn push(&mut self, payload: &[u8], timestamp: u32, marker: bool, received: Instant) -> Result<(), ParseError> {
        if self.timestamp.is_some_and(|t| t != timestamp) {
            if self.loss {
                self.abandon();
            } else {
                self.end_frame();
            }
        } else if self.loss && self.timestamp.is_some() {
            self.abandon();
            self.skip = Some(timestamp);
        }
        if self.loss {
            self.loss = false;
            self.abandon();
            if !self.begins_picture(payload) {
                self.skip = Some(timestamp);
            }
        }
        if self.skip.is_some_and(|s| s != timestamp) {
            self.skip = None;
        }
        self.timestamp = Some(timestamp);
        self.received = Some(received);
        if self.skip == Some(timestamp) {
            return Ok(());
        }
        let r = self.payload(payload, timestamp, received);
        if r.is_err() {
            self.abandon();
            self.skip = Some(timestamp);
        } else if marker {
            self.end_frame();
        }
        r
    }

    /// Gives out the last access unit at the end of the stream.
    pub fn flush(&mut self) {
        if self.loss || self.skip.is_some() { self.abandon() } else { self.end_frame() }
    }

    fn payload(&mut self, p: &[u8], ts: u32, at: Instant) -> Result<(), ParseError> {
        let cut = ParseError::new("RTP payload too short for its NAL unit", p.len());
        let h0 = *p.first().ok_or(cut)?;
        let (kind, header) = if self.h265 { (h265::nal_type(h0), 2) } else { (h264::nal_type(h0), 1) };
        if p.len() < header {
            return Err(cut);
        }
        let (aggregate, fragment) =
            if self.h265 { (h265::NAL_AP, h265::NAL_FU) } else { (h264::NAL_STAP_A, h264::NAL_FU_A) };
        if kind == fragment {
            return self.fragment(p, header, ts, at);
        }
        self.fu_open = false;
        if kind == aggregate {
            let mut i = header;
            while i < p.len() {
                let len = usize::from(be16(p, i).ok_or(ParseError::new("aggregation length cut short", i))?);
                let nal = p.get(i + 2..i + 2 + len).ok_or(ParseError::new("aggregated NAL unit over the end", i))?;
                self.nal(nal, ts, at)?;
                i += 2 + len;
            }
            return Ok(());
        }
        if !self.h265 && !(1..=23).contains(&kind) || self.h265 && kind > 47 {
            return Err(ParseError::new("NAL unit type not of this RTP mode", 0));
        }
        // Cameras that send Annex B inside RTP: start code and all.
        if p.starts_with(&[0, 0, 1]) || p.starts_with(&[0, 0, 0, 1]) {
            for nal in crate::nal::annexb_nals(p) {
                self.nal(nal, ts, at)?;
            }
            return Ok(());
        }
        self.nal(p, ts, at)
    }

    fn fragment(&mut self, p: &[u8], header: usize, ts: u32, at: Instant) -> Result<(), ParseError> {
        let flags = *p.get(header).ok_or(ParseError::new("fragment without header", p.len()))?;
        let body = &p[header + 1..];
        if flags & 0x80 != 0 {
            self.fu.clear();
            self.fu_open = true;
            if self.h265 {
                self.fu.extend_from_slice(&[(p[0] & 0x81) | ((flags & 0x3F) << 1), p[1]]);
            } else {
                self.fu.push((p[0] & 0xE0) | (flags & 0x1F));
            }
        } else if !self.fu_open {
            return Err(ParseError::new("fragment without its start", 1));
        }
        if self.fu.len() + body.len() > MAX_ACCESS_UNIT {
            return Err(ParseError::new("fragmented NAL unit over the limit", 1));
        }
        self.fu.extend_from_slice(body);
        if flags & 0x40 != 0 {
            self.fu_open = false;
            let nal = std::mem::take(&mut self.fu);
            let r = self.nal(&nal, ts, at);
            self.fu = nal;
            return r;
        }
        Ok(())
    }

    fn nal(&mut self, nal: &[u8], ts: u32, at: Instant) -> Result<(), ParseError> {
        if let Some(au) = self.asm.push(nal)? {
            self.emit(au, ts, at);
        }
        Ok(())
    }

    fn end_frame(&mut self) {
        if self.fu_open {
            self.abandon();
            return;
        }
        if let (Some(ts), Some(at)) = (self.timestamp, self.received)
            && let Some(au) = self.asm.finish()
        {
            self.emit(au, ts, at);
        }
    }

    fn emit(&mut self, au: crate::nal::AccessUnit, timestamp: u32, received: Instant) {
        if self.ready.len() >= MAX_READY {
            self.dropped += 1;
            return;
        }
        self.ready.push_back(RtpFrame {
            codec: self.asm.codec(),
            payload: au.payload,
            timestamp,
            key: au.key,
            received,
        });
    }

    fn abandon(&mut self) {
        if self.asm.has_slice() || self.fu_open {
            self.dropped += 1;
        }
        self.fu_open = false;
        self.asm.discard();
    }

    /// Whether a packet after a loss can be the first of its picture.
    fn begins_picture(&self, p: &[u8]) -> bool {
        use crate::nal::Role;
        let codec = self.asm.codec();
        let fresh = |nal: &[u8]| {
            !matches!(
                crate::nal::role(codec, nal),
                Role::Slice { first: false, .. } | Role::Suffix | Role::Bad | Role::Drop
            )
        };
        let Some(&h0) = p.first() else { return false };
        if self.h265 {
            match h265::nal_type(h0) {
                h265::NAL_FU => {
                    p.len() > 4 && p[2] & 0x80 != 0 && fresh(&[(p[0] & 0x81) | ((p[2] & 0x3F) << 1), p[1], p[3], p[4]])
                }
                h265::NAL_AP => p.get(4..).is_some_and(fresh),
                _ => fresh(p),
            }
        } else {
            match h264::nal_type(h0) {
                h264::NAL_FU_A => {
                    p.len() > 2 && p[1] & 0x80 != 0 && fresh(&[(p[0] & 0xE0) | (p[1] & 0x1F), p[2], 0, 0, 0, 0x80])
                }
                h264::NAL_STAP_A => p.get(3..).is_some_and(fresh),
                _ => fresh(p),
            }
        }
    }
}
