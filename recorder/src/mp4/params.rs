//! What a decoder must know before the first picture: parameter sets and picture size of a key frame.

use bytes::Bytes;
use media_core::Codec;
use media_core::nal::nal_ranges;

use super::bits::Bits;

/// Parameter sets of one key frame. Equality means: the same file may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VideoParams {
    pub codec: Codec,
    pub width: u32,
    pub height: u32,
    /// VPS, SPS, PPS as NAL units without length, in the order of their coming, without repetitions. Empty for VP8.
    pub sets: Vec<Bytes>,
}

/// NAL units of a canonical payload, as parts of its own buffer.
fn nals(payload: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    nal_ranges(payload).map(|range| payload.slice(range))
}

/// Parameter sets are looked for before the first slice, in so many NAL units at most.
const MAX_NALS: usize = 32;

impl VideoParams {
    /// None when the key frame brings no parameter sets, so that no file can start with it.
    pub fn of_key_frame(codec: Codec, payload: &Bytes, width: u32, height: u32) -> Option<Self> {
        let mut sets: Vec<Bytes> = Vec::new();
        let mut size = None;
        match codec {
            Codec::H264 => {
                for nal in nals(payload).take(MAX_NALS) {
                    match nal.first().map(|b| b & 0x1F) {
                        Some(7 | 8) if sets.contains(&nal) => {}
                        Some(7) => {
                            size = size.or_else(|| h264_size(&nal));
                            sets.push(nal);
                        }
                        Some(8) => sets.push(nal),
                        Some(1..=5) => break,
                        _ => {}
                    }
                }
                let has = |t: u8| sets.iter().any(|s| s.first().is_some_and(|b| b & 0x1F == t) && s.len() >= 2);
                if !has(7) || !has(8) || sets.iter().any(|s| s[0] & 0x1F == 7 && s.len() < 4) {
                    return None;
                }
            }
            Codec::H265 => {
                for nal in nals(payload).take(MAX_NALS) {
                    match nal.first().map(|b| b >> 1 & 0x3F) {
                        Some(32..=34) if sets.contains(&nal) => {}
                        Some(33) => {
                            size = size.or_else(|| H265Sps::parse(&nal).map(|s| (s.width, s.height)));
                            sets.push(nal);
                        }
                        Some(32 | 34) => sets.push(nal),
                        Some(0..=31) => break,
                        _ => {}
                    }
                }
                let has = |t: u8| sets.iter().any(|s| s.first().is_some_and(|b| b >> 1 & 0x3F == t));
                if !has(32) || !has(33) || !has(34) {
                    return None;
                }
            }
            Codec::Vp8 => {
                // RFC 6386 9.1: frame tag (3 bytes), start code 9d 01 2a, then width and height, 14 bits each.
                let head = payload.get(..10)?;
                if head[3..6] != [0x9D, 0x01, 0x2A] {
                    return None;
                }
                let side = |a: u8, b: u8| (u32::from(b) << 8 | u32::from(a)) & 0x3FFF;
                size = Some((side(head[6], head[7]), side(head[8], head[9])));
            }
            _ => return None,
        }
        if sets.len() > 31 || sets.iter().any(|s| s.len() > 0xFFFF) {
            return None;
        }
        let (width, height) = size.unwrap_or((width, height));
        Some(VideoParams { codec, width: width.min(0xFFFF), height: height.min(0xFFFF), sets })
    }
}

/// Picture size of an H.264 SPS (7.3.2.1.1), NAL header included.
fn h264_size(nal: &[u8]) -> Option<(u32, u32)> {
    let profile = *nal.get(1)?;
    let mut b = Bits::new(nal.get(4..)?);
    b.ue()?; // seq_parameter_set_id
    let mut chroma = 1;
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        chroma = b.ue()?;
        if chroma == 3 {
            b.bit()?;
        }
        b.ue()?;
        b.ue()?;
        b.bit()?;
        if b.bit()? {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if b.bit()? {
                    let (mut last, mut next) = (8i32, 8i32);
                    for _ in 0..if list < 6 { 16 } else { 64 } {
                        if next != 0 {
                            next = (last + b.se()?) & 0xFF;
                        }
                        last = if next == 0 { last } else { next };
                    }
                }
            }
        }
    }
    b.ue()?; // log2_max_frame_num
    match b.ue()? {
        0 => {
            b.ue()?;
        }
        1 => {
            b.bit()?;
            b.se()?;
            b.se()?;
            for _ in 0..b.ue()?.min(255) {
                b.se()?;
            }
        }
        _ => {}
    }
    b.ue()?; // max_num_ref_frames
    b.bit()?;
    let width = b.ue()?.checked_add(1)?.checked_mul(16)?;
    let map_units = b.ue()?.checked_add(1)?.checked_mul(16)?;
    let frames_only = b.bit()?;
    if !frames_only {
        b.bit()?;
    }
    let height = map_units.checked_mul(2 - u32::from(frames_only))?;
    b.bit()?;
    let (mut cut_x, mut cut_y) = (0, 0);
    if b.bit()? {
        let (l, r, t, m) = (b.ue()?, b.ue()?, b.ue()?, b.ue()?);
        let (unit_x, unit_y) = match chroma {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        cut_x = l.checked_add(r)?.checked_mul(unit_x)?;
        cut_y = t.checked_add(m)?.checked_mul(unit_y * (2 - u32::from(frames_only)))?;
    }
    Some((width.checked_sub(cut_x)?, height.checked_sub(cut_y)?))
}

/// What `hvcC` and the picture size need from an H.265 SPS (7.3.2.2).
#[derive(Debug)]
pub(crate) struct H265Sps {
    pub width: u32,
    pub height: u32,
    /// general_profile_space to general_level_idc, as it stands.
    pub profile_tier_level: [u8; 12],
    pub sub_layers: u8,
    pub nested: bool,
    pub chroma: u8,
    pub depth_luma_minus8: u8,
    pub depth_chroma_minus8: u8,
}

impl H265Sps {
    /// `nal` with its 2 byte header.
    pub fn parse(nal: &[u8]) -> Option<Self> {
        let mut b = Bits::new(nal.get(2..)?);
        b.u(4)?;
        let more = b.u(3)?;
        let nested = b.bit()?;
        let mut ptl = [0u8; 12];
        for byte in &mut ptl {
            *byte = b.u(8)? as u8;
        }
        let mut present = Vec::new();
        for _ in 0..more {
            present.push((b.bit()?, b.bit()?));
        }
        if more > 0 {
            b.skip(2 * (8 - more as usize))?;
        }
        for (profile, level) in present {
            b.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
        }
        b.ue()?;
        let chroma = b.ue()?;
        if chroma == 3 {
            b.bit()?;
        }
        let (mut width, mut height) = (b.ue()?, b.ue()?);
        if b.bit()? {
            let (l, r, t, m) = (b.ue()?, b.ue()?, b.ue()?, b.ue()?);
            let (unit_x, unit_y) = match chroma {
                1 => (2, 2),
                2 => (2, 1),
                _ => (1, 1),
            };
            width = width.checked_sub(l.checked_add(r)?.checked_mul(unit_x)?)?;
            height = height.checked_sub(t.checked_add(m)?.checked_mul(unit_y)?)?;
        }
        let (luma, chroma_depth) = (b.ue()?, b.ue()?);
        Some(H265Sps {
            width,
            height,
            profile_tier_level: ptl,
            sub_layers: more as u8 + 1,
            nested,
            chroma: (chroma & 3) as u8,
            depth_luma_minus8: (luma & 7) as u8,
            depth_chroma_minus8: (chroma_depth & 7) as u8,
        })
    }
}
