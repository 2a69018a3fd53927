//! What H.264 and H.265 share: Annex B scanning, the canonical length-prefixed form, parameter set cache, access units.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::Codec;
use crate::error::ParseError;
use crate::{h264, h265};

/// Largest access unit in bytes.
pub const MAX_ACCESS_UNIT: usize = 8 << 20;
/// Most NAL units in one access unit.
pub const MAX_NALS: usize = 8192;
/// Largest parameter set kept.
const MAX_PARAMETER_SET: usize = 4096;

/// Position of the next `00 00 01` at or after `from`.
pub fn find_start_code(b: &[u8], from: usize) -> Option<usize> {
    let mut i = from;
    while i + 2 < b.len() {
        let third = b[i + 2];
        if third > 1 {
            i += 3;
        } else if third == 1 {
            if b[i] == 0 && b[i + 1] == 0 {
                return Some(i);
            }
            i += 3;
        } else {
            i += 1;
        }
    }
    None
}

/// NAL units of an Annex B byte stream (start codes of 3 or 4 bytes), without start code and trailing zeros; never empty.
/// Bytes before the first start code are skipped.
pub fn annexb_nals(b: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut next = find_start_code(b, 0);
    std::iter::from_fn(move || {
        loop {
            let start = next? + 3;
            next = find_start_code(b, start);
            let mut nal = b.get(start..next.unwrap_or(b.len()))?;
            while let [head @ .., 0] = nal {
                nal = head;
            }
            if !nal.is_empty() {
                return Some(nal);
            }
        }
    })
}

/// NAL units of a canonical payload (length in 4 bytes before each). Ends at the first length that does not fit.
pub fn nals(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    nal_ranges(payload).filter_map(|r| payload.get(r))
}

/// As [`nals`], as byte ranges of the payload.
pub fn nal_ranges(payload: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let len = crate::error::be32(payload, at)? as usize;
        let start = at + 4;
        let end = start.checked_add(len)?;
        if end > payload.len() {
            return None;
        }
        at = end;
        Some(start..end)
    })
}

/// Appends one NAL unit in canonical form.
pub fn put_nal(out: &mut BytesMut, nal: &[u8]) {
    out.put_u32(nal.len() as u32);
    out.put_slice(nal);
}

/// Canonical to Annex B with 4-byte start codes.
pub fn to_annexb(payload: &[u8], out: &mut Vec<u8>) {
    for nal in nals(payload) {
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(nal);
    }
}

/// What the parameter sets say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VideoInfo {
    /// Pixels, cropped.
    pub width: u32,
    pub height: u32,
    /// H.264: profile_idc, constraint flags, level_idc, as in SDP `profile-level-id`. H.265: profile, tier, level.
    pub profile_level_id: [u8; 3],
}

/// Role of a NAL unit for access unit building.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Parameter set of rank 0 (VPS), 1 (SPS) or 2 (PPS) with its id.
    Parameter(u8, u32),
    /// Slice data. `first`: begins a picture. `key`: IDR or IRAP.
    Slice { first: bool, key: bool },
    /// Goes before the slices of the next picture (SEI).
    Prefix,
    /// Belongs to the picture before it.
    Suffix,
    /// Dropped; begins a new access unit (delimiter).
    Delimiter,
    /// Dropped (filler, prefix NAL units).
    Drop,
    /// Forbidden bit, empty or too short.
    Bad,
}

pub(crate) fn role(codec: Codec, nal: &[u8]) -> Role {
    if codec == Codec::H265 { h265::role(nal) } else { h264::role(nal) }
}

/// The last parameter sets of each id. At most 16 VPS, 32 SPS and 256 PPS of 4 KiB each.
#[derive(Debug, Clone, Default)]
pub struct ParameterSets {
    sets: BTreeMap<(u8, u32), Bytes>,
    info: Option<VideoInfo>,
}

impl ParameterSets {
    /// Takes in a NAL unit when it is a parameter set; true when it is new or changed.
    pub fn observe(&mut self, codec: Codec, nal: &[u8]) -> bool {
        let Role::Parameter(rank, id) = role(codec, nal) else { return false };
        let limit = if codec == Codec::H265 && rank == 2 { 64 } else { [16, 32, 256][usize::from(rank.min(2))] };
        if id >= limit || nal.len() > MAX_PARAMETER_SET || self.sets.get(&(rank, id)).is_some_and(|s| s == nal) {
            return false;
        }
        if rank == 1 {
            let parsed = if codec == Codec::H265 { h265::parse_sps(nal) } else { h264::parse_sps(nal) };
            match parsed {
                Ok(info) => self.info = Some(info),
                Err(_) if self.info.is_some() => return false,
                Err(_) => {}
            }
        }
        self.sets.insert((rank, id), Bytes::copy_from_slice(nal));
        true
    }

    /// Whether a decoder can start: SPS and PPS, for H.265 also VPS.
    pub fn complete(&self, codec: Codec) -> bool {
        let has = |rank| self.sets.range((rank, 0)..(rank + 1, 0)).next().is_some();
        has(1) && has(2) && (codec != Codec::H265 || has(0))
    }

    /// All sets: VPS, SPS, PPS by id.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.sets.values()
    }

    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Picture size and profile of the last readable SPS.
    pub fn info(&self) -> Option<VideoInfo> {
        self.info
    }
}

/// One whole access unit in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit {
    pub payload: Bytes,
    /// A decoder can start here; parameter sets are in front. An IDR whose sets were never seen is no key frame.
    pub key: bool,
}

/// Builds access units of H.264 or H.265 from NAL units in decoding order.
#[derive(Debug)]
pub struct AuAssembler {
    codec: Codec,
    sets: ParameterSets,
    /// Parameter sets of the access unit being built.
    head: BytesMut,
    /// Everything else of it.
    body: BytesMut,
    nals: usize,
    has_slice: bool,
    key: bool,
    /// H.264: a recovery point or SPS stood before; an I slice counts as key when allowed.
    recovery: bool,
    recovery_keys: bool,
    bad_nals: u64,
}

impl AuAssembler {
    /// `codec` other than H.265 is read as H.264.
    pub fn new(codec: Codec) -> Self {
        AuAssembler {
            codec,
            sets: ParameterSets::default(),
            head: BytesMut::new(),
            body: BytesMut::new(),
            nals: 0,
            has_slice: false,
            key: false,
            recovery: false,
            recovery_keys: false,
            bad_nals: 0,
        }
    }

    /// Also takes H.264 I pictures behind a recovery point SEI or an SPS as key frames (cameras with periodic intra, no IDR).
    pub fn with_recovery_keys(mut self, on: bool) -> Self {
        self.recovery_keys = on;
        self
    }

    pub fn codec(&self) -> Codec {
        self.codec
    }

    pub fn parameter_sets(&self) -> &ParameterSets {
        &self.sets
    }

    pub fn info(&self) -> Option<VideoInfo> {
        self.sets.info()
    }

    /// NAL units refused so far (forbidden bit, empty).
    pub fn bad_nals(&self) -> u64 {
        self.bad_nals
    }

    /// Whether slices of a picture are being collected.
    pub fn has_slice(&self) -> bool {
        self.has_slice
    }

    /// Whether this NAL unit cannot belong to the picture being collected.
    pub fn starts_new(&self, nal: &[u8]) -> bool {
        self.has_slice
            && matches!(
                role(self.codec, nal),
                Role::Parameter(..) | Role::Prefix | Role::Delimiter | Role::Slice { first: true, .. }
            )
    }

    /// Adds a NAL unit (no start code). Gives the access unit before it when this one begins another.
    pub fn push(&mut self, nal: &[u8]) -> Result<Option<AccessUnit>, ParseError> {
        let done = if self.starts_new(nal) { self.finish() } else { None };
        let r = role(self.codec, nal);
        if self.nals >= MAX_NALS || self.body.len() + self.head.len() + nal.len() + 4 > MAX_ACCESS_UNIT {
            self.discard();
            return Err(ParseError::new("access unit over the limit of bytes or NAL units", nal.len()));
        }
        match r {
            Role::Bad => {
                self.bad_nals += 1;
                return Ok(done);
            }
            Role::Delimiter | Role::Drop => return Ok(done),
            Role::Parameter(rank, _) => {
                self.sets.observe(self.codec, nal);
                put_nal(&mut self.head, nal);
                self.recovery |= rank == 1;
            }
            Role::Slice { key, .. } => {
                if !self.has_slice && self.recovery_keys && self.codec == Codec::H264 && !key {
                    self.key |= self.recovery && h264::is_intra_slice(nal);
                }
                self.has_slice = true;
                self.key |= key;
                put_nal(&mut self.body, nal);
            }
            Role::Prefix => {
                self.recovery |= self.recovery_keys && self.codec == Codec::H264 && h264::is_recovery_point(nal);
                put_nal(&mut self.body, nal);
            }
            Role::Suffix => put_nal(&mut self.body, nal),
        }
        self.nals += 1;
        Ok(done)
    }

    /// Ends the access unit. None, and everything kept for the next one, when it has no slice yet.
    pub fn finish(&mut self) -> Option<AccessUnit> {
        if !self.has_slice {
            return None;
        }
        let body = self.body.split();
        let head = self.head.split();
        // Without parameter sets nobody can start here.
        let key = self.key && self.sets.complete(self.codec);
        self.reset();
        let payload = if key {
            let size: usize = self.sets.iter().map(|s| s.len() + 4).sum();
            let mut out = BytesMut::with_capacity(size + body.len());
            for set in self.sets.iter() {
                put_nal(&mut out, set);
            }
            out.put_slice(&body);
            out
        } else if head.is_empty() {
            body
        } else {
            let mut out = head;
            out.put_slice(&body);
            out
        };
        Some(AccessUnit { payload: payload.freeze(), key })
    }

    /// Drops what was collected (after loss). Parameter sets stay known.
    pub fn discard(&mut self) {
        self.head.clear();
        self.body.clear();
        self.reset();
    }

    fn reset(&mut self) {
        self.nals = 0;
        self.has_slice = false;
        self.key = false;
        self.recovery = false;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn start_codes_of_three_and_four_bytes() {
        let b = [9, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 0, 1, 0x65, 0, 0, 3, 1, 0, 0];
        let n: Vec<&[u8]> = annexb_nals(&b).collect();
        assert_eq!(n, vec![&[0x67, 1][..], &[0x68, 2], &[0x65, 0, 0, 3, 1]]);
        assert_eq!(annexb_nals(&[0, 0, 1]).count(), 0);
        assert_eq!(annexb_nals(&[0, 0, 1, 0, 0, 1, 5]).count(), 1);
    }

    #[test]
    fn idr_without_sets_gets_them() {
        let mut a = AuAssembler::new(Codec::H264);
        for n in [&[0x67, 0x42, 0, 0x1f, 0x80][..], &[0x68, 0xCE], &[0x65, 0x88, 1]] {
            assert_eq!(a.push(n).unwrap(), None);
        }
        let first = a.push(&[0x41, 0x9A, 1]).unwrap().unwrap();
        assert!(first.key);
        assert_eq!(nals(&first.payload).count(), 3);
        assert!(!a.push(&[0x65, 0x88, 2]).unwrap().unwrap().key);
        let again = a.finish().unwrap();
        assert_eq!(nals(&again.payload).map(|n| n[0]).collect::<Vec<_>>(), vec![0x67, 0x68, 0x65]);
        assert_eq!(a.finish(), None);
    }

    #[test]
    fn several_slices_are_one_picture() {
        let mut a = AuAssembler::new(Codec::H264);
        a.push(&[0x41, 0x9A, 1]).unwrap();
        assert_eq!(a.push(&[0x41, 0x49, 1]).unwrap(), None);
        assert!(a.push(&[0x09, 0xF0]).unwrap().is_some());
        a.push(&[0x80]).unwrap();
        assert_eq!(a.bad_nals(), 1);
    }
}
