//! H.264: NAL unit types, SPS, key frames. RTP form in [`crate::nal_rtp`] (RFC 6184).

use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::rbsp::BitReader;

use crate::bits::{Bits, unescape};
use crate::codec::Codec;
use crate::error::ParseError;
use crate::nal::{AccessUnit, AuAssembler, Role, VideoInfo, annexb_nals};

pub use crate::nal::ParameterSets;

/// NAL unit types (Table 7-1).
pub const NAL_SLICE: u8 = 1;
pub const NAL_IDR: u8 = 5;
pub const NAL_SEI: u8 = 6;
pub const NAL_SPS: u8 = 7;
pub const NAL_PPS: u8 = 8;
pub const NAL_AUD: u8 = 9;
pub const NAL_FILLER: u8 = 12;
pub const NAL_STAP_A: u8 = 24;
pub const NAL_FU_A: u8 = 28;

/// The type in a NAL unit header byte.
pub fn nal_type(header: u8) -> u8 {
    header & 0x1F
}

pub(crate) fn role(nal: &[u8]) -> Role {
    let Some(&h) = nal.first() else { return Role::Bad };
    if h & 0x80 != 0 {
        return Role::Bad;
    }
    // first_mb_in_slice is ue(v): zero is a lone 1 bit.
    let first = nal.get(1).is_some_and(|b| b & 0x80 != 0);
    match nal_type(h) {
        NAL_SLICE | 2 if nal.len() > 1 => Role::Slice { first, key: false },
        NAL_IDR if nal.len() > 1 => Role::Slice { first, key: true },
        3 | 4 | 19 | 20 | 21 => Role::Suffix,
        NAL_SEI => Role::Prefix,
        NAL_SPS if nal.len() > 4 => match Bits::new(&nal[4..]).ue() {
            Some(id) => Role::Parameter(1, id),
            None => Role::Bad,
        },
        NAL_PPS if nal.len() > 1 => match Bits::new(&nal[1..]).ue() {
            Some(id) => Role::Parameter(2, id),
            None => Role::Bad,
        },
        NAL_AUD => Role::Delimiter,
        10 | 11 | 13 | 15 | 16..=18 => Role::Suffix,
        NAL_FILLER | 14 => Role::Drop,
        _ => Role::Bad,
    }
}

/// Reads a sequence parameter set NAL unit (header byte included, no start code). Sizes over 16384 are refused.
pub fn parse_sps(nal: &[u8]) -> Result<VideoInfo, ParseError> {
    if nal.len() < 5 || nal.len() > 4096 || nal_type(nal[0]) != NAL_SPS {
        return Err(ParseError::new("not an H.264 SPS", 0));
    }
    let rbsp = unescape(&nal[1..], 4096);
    let sps = SeqParameterSet::from_bits(BitReader::new(&rbsp[..]))
        .map_err(|_| ParseError::new("H.264 SPS unreadable", 1))?;
    let (width, height) =
        sps.pixel_dimensions().map_err(|_| ParseError::new("H.264 SPS picture size unreadable", 4))?;
    if width == 0 || height == 0 || width > 16_384 || height > 16_384 {
        return Err(ParseError::new("H.264 SPS picture size out of range", 4));
    }
    Ok(VideoInfo { width, height, profile_level_id: [nal[1], nal[2], nal[3]] })
}

/// Slice type I or SI (slice_type 2, 4, 7, 9).
pub fn is_intra_slice(nal: &[u8]) -> bool {
    let head = unescape(nal.get(1..).unwrap_or_default(), 16);
    let mut b = Bits::new(&head);
    matches!((b.ue(), b.ue()), (Some(_), Some(2 | 4 | 7 | 9)))
}

/// Whether an SEI NAL unit holds a recovery point (payload type 6).
pub fn is_recovery_point(nal: &[u8]) -> bool {
    let b = unescape(nal.get(1..).unwrap_or_default(), 1024);
    let mut at = 0;
    let number = |at: &mut usize| {
        let mut v = 0usize;
        loop {
            let x = *b.get(*at)?;
            *at += 1;
            v += usize::from(x);
            if x != 255 {
                return Some(v);
            }
        }
    };
    for _ in 0..32 {
        match number(&mut at) {
            Some(6) => return true,
            Some(_) => match number(&mut at) {
                Some(len) => at += len,
                None => return false,
            },
            None => return false,
        }
    }
    false
}

/// Splits an Annex B stream (a file, or the payload of one PES packet) into canonical access units.
pub fn access_units(annexb: &[u8]) -> Vec<AccessUnit> {
    split(Codec::H264, annexb)
}

pub(crate) fn split(codec: Codec, annexb: &[u8]) -> Vec<AccessUnit> {
    let mut a = AuAssembler::new(codec);
    let mut out: Vec<AccessUnit> = annexb_nals(annexb).filter_map(|n| a.push(n).ok().flatten()).collect();
    out.extend(a.finish());
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn sps_of_x264_1080p() {
        let sps = [
            0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04,
            0x00, 0x00, 0x03, 0x00, 0xc8, 0x3c, 0x60, 0xc6, 0x58,
        ];
        let i = parse_sps(&sps).unwrap();
        assert_eq!((i.width, i.height, i.profile_level_id), (1920, 1080, [0x64, 0, 0x28]));
        for n in 0..sps.len() {
            let _ = parse_sps(&sps[..n]);
        }
    }

    #[test]
    fn recovery_point_and_slice_type() {
        assert!(is_recovery_point(&[6, 5, 2, 1, 1, 6, 1, 0xC0, 0x80]));
        assert!(!is_recovery_point(&[6, 5, 2, 6, 6, 0x80]));
        // first_mb 0 = 1, slice_type 7 = 0001000
        assert!(is_intra_slice(&[0x41, 0b1000_1000, 0]));
        assert!(!is_intra_slice(&[0x41, 0b1001_1000, 0]));
    }
}
