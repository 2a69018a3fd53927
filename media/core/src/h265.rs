//! H.265: NAL unit types, SPS picture size, random access pictures. RTP form in [`crate::nal_rtp`] (RFC 7798).

use crate::bits::{Bits, unescape};
use crate::codec::Codec;
use crate::error::ParseError;
use crate::nal::{AccessUnit, Role, VideoInfo};

pub const NAL_VPS: u8 = 32;
pub const NAL_SPS: u8 = 33;
pub const NAL_PPS: u8 = 34;
pub const NAL_AUD: u8 = 35;
pub const NAL_FILLER: u8 = 38;
pub const NAL_AP: u8 = 48;
pub const NAL_FU: u8 = 49;

/// The type in the first byte of a NAL unit header.
pub fn nal_type(header: u8) -> u8 {
    (header >> 1) & 0x3F
}

/// Intra random access point: BLA, IDR, CRA (types 16 to 21).
pub fn is_irap(nal_type: u8) -> bool {
    (16..=21).contains(&nal_type)
}

pub(crate) fn role(nal: &[u8]) -> Role {
    if nal.len() < 3 || nal[0] & 0x80 != 0 {
        return match nal {
            [h, _] if h & 0x80 == 0 && matches!(nal_type(*h), 36 | 37) => Role::Suffix,
            _ => Role::Bad,
        };
    }
    let t = nal_type(nal[0]);
    let layer = ((nal[0] & 1) << 5) | (nal[1] >> 3);
    if layer > 0 {
        // Layers above the base: kept with their picture, never a boundary.
        return if t < 32 { Role::Suffix } else { Role::Drop };
    }
    match t {
        0..=31 => Role::Slice { first: nal[2] & 0x80 != 0, key: is_irap(t) },
        NAL_VPS => Role::Parameter(0, u32::from(nal[2] >> 4)),
        NAL_SPS => match sps(nal) {
            Some((id, _)) => Role::Parameter(1, id),
            None => Role::Bad,
        },
        NAL_PPS => match Bits::new(&nal[2..]).ue() {
            Some(id) => Role::Parameter(2, id),
            None => Role::Bad,
        },
        NAL_AUD => Role::Delimiter,
        NAL_FILLER => Role::Drop,
        39 | 41..=44 => Role::Prefix,
        36 | 37 | 40 | 45..=47 => Role::Suffix,
        _ => Role::Bad,
    }
}

/// Reads a sequence parameter set NAL unit (2 header bytes included). Sizes over 16384 are refused.
pub fn parse_sps(nal: &[u8]) -> Result<VideoInfo, ParseError> {
    let (_, info) = sps(nal).ok_or(ParseError::new("H.265 SPS unreadable", 2))?;
    if info.width == 0 || info.height == 0 || info.width > 16_384 || info.height > 16_384 {
        return Err(ParseError::new("H.265 SPS picture size out of range", 2));
    }
    Ok(info)
}

/// H.265 7.3.2.2 up to the conformance window.
fn sps(nal: &[u8]) -> Option<(u32, VideoInfo)> {
    let rbsp = unescape(nal.get(2..)?, 512);
    let mut b = Bits::new(&rbsp);
    b.skip(4)?;
    let sub_layers = b.bits(3)?;
    b.skip(1)?;
    // profile_tier_level(1, sub_layers)
    b.skip(2)?;
    let tier = b.bit()? as u8;
    let profile = b.bits(5)? as u8;
    b.skip(32 + 48)?;
    let level = b.bits(8)? as u8;
    let present = (0..sub_layers).map(|_| Some((b.bit()?, b.bit()?))).collect::<Option<Vec<_>>>()?;
    if sub_layers > 0 {
        b.skip(2 * (8 - sub_layers as usize))?;
    }
    for (p, l) in present {
        b.skip(88 * p as usize + 8 * l as usize)?;
    }
    let id = b.ue()?;
    let chroma = b.ue()?;
    if chroma == 3 {
        b.skip(1)?;
    }
    let (mut width, mut height) = (b.ue()?, b.ue()?);
    if b.bit()? == 1 {
        let sub_w = if matches!(chroma, 1 | 2) { 2 } else { 1 };
        let sub_h = if chroma == 1 { 2 } else { 1 };
        let (l, r, t, bottom) = (b.ue()?, b.ue()?, b.ue()?, b.ue()?);
        width = width.checked_sub(l.checked_add(r)?.checked_mul(sub_w)?)?;
        height = height.checked_sub(t.checked_add(bottom)?.checked_mul(sub_h)?)?;
    }
    (b.position() > 0).then_some((id, VideoInfo { width, height, profile_level_id: [profile, tier, level] }))
}

/// Splits an Annex B stream into canonical access units.
pub fn access_units(annexb: &[u8]) -> Vec<AccessUnit> {
    crate::h264::split(Codec::H265, annexb)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn sps_of_x265() {
        // x265, 1920x1080 main level 4
        let sps = [
            0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x78,
            0xa0, 0x03, 0xc0, 0x80, 0x10, 0xe5, 0x96, 0x66, 0x69, 0x24, 0xca, 0xe0, 0x10,
        ];
        let i = parse_sps(&sps).unwrap();
        assert_eq!((i.width, i.height, i.profile_level_id), (1920, 1080, [1, 0, 120]));
        for n in 0..sps.len() {
            let _ = parse_sps(&sps[..n]);
        }
    }

    #[test]
    fn roles() {
        assert_eq!(role(&[0x26, 1, 0x80]), Role::Slice { first: true, key: true });
        assert_eq!(role(&[0x02, 1, 0x00]), Role::Slice { first: false, key: false });
        assert_eq!(role(&[0x46, 1, 0x50]), Role::Delimiter);
        assert_eq!(role(&[0xBA, 1, 0x50]), Role::Bad);
    }
}
