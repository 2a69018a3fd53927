//! AAC: ADTS framing (ISO/IEC 13818-7) and AudioSpecificConfig (ISO/IEC 14496-3).

use bytes::Bytes;

use crate::bits::Bits;
use crate::error::ParseError;

const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// Samples in one AAC-LC access unit.
pub const SAMPLES_PER_UNIT: u32 = 1024;

/// What an AudioSpecificConfig or an ADTS header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AacConfig {
    /// 2 = AAC-LC.
    pub object_type: u8,
    /// Samples per second.
    pub sample_rate: u32,
    /// Channel configuration, 1 to 7 (7 = eight channels).
    pub channels: u8,
}

impl AacConfig {
    /// Reads an AudioSpecificConfig; of SBR (type 5) the core is taken.
    pub fn parse(b: &[u8]) -> Result<AacConfig, ParseError> {
        let short = ParseError::new("AudioSpecificConfig cut short", b.len());
        let mut r = Bits::new(b);
        let mut object_type = r.bits(5).ok_or(short)?;
        if object_type == 31 {
            object_type = 32 + r.bits(6).ok_or(short)?;
        }
        let index = r.bits(4).ok_or(short)? as usize;
        let sample_rate = match RATES.get(index) {
            Some(v) => *v,
            None if index == 15 => r.bits(24).ok_or(short)?,
            None => return Err(ParseError::new("AudioSpecificConfig with reserved sampling rate", 0)),
        };
        let channels = r.bits(4).ok_or(short)? as u8;
        if sample_rate == 0 || sample_rate > 192_000 {
            return Err(ParseError::new("AudioSpecificConfig with impossible sampling rate", 0));
        }
        let object_type = if object_type == 5 || object_type == 29 { 2 } else { object_type.min(255) as u8 };
        Ok(AacConfig { object_type, sample_rate, channels })
    }

    fn rate_index(&self) -> Option<u8> {
        RATES.iter().position(|r| *r == self.sample_rate).map(|i| i as u8)
    }

    /// The AudioSpecificConfig: 2 bytes, 5 with an unusual sampling rate.
    pub fn to_bytes(&self) -> Bytes {
        let ot = self.object_type & 0x1F;
        let ch = self.channels & 0x0F;
        match self.rate_index() {
            Some(i) => Bytes::copy_from_slice(&[(ot << 3) | (i >> 1), ((i & 1) << 7) | (ch << 3)]),
            None => {
                let v = (u64::from(ot) << 35)
                    | (15 << 31)
                    | (u64::from(self.sample_rate & 0xFF_FFFF) << 7)
                    | (u64::from(ch) << 3);
                Bytes::copy_from_slice(&v.to_be_bytes()[3..])
            }
        }
    }

    /// ADTS header (no CRC) for an access unit of `len` bytes; None over 8184 bytes or with an unusual rate.
    pub fn adts_header(&self, len: usize) -> Option<[u8; 7]> {
        let total = len + 7;
        if total > 0x1FFF {
            return None;
        }
        let index = self.rate_index()?;
        let profile = self.object_type.clamp(1, 4) - 1;
        Some([
            0xFF,
            0xF1,
            (profile << 6) | (index << 2) | ((self.channels >> 2) & 1),
            ((self.channels & 3) << 6) | ((total >> 11) as u8 & 3),
            (total >> 3) as u8,
            ((total as u8 & 7) << 5) | 0x1F,
            0xFC,
        ])
    }
}

/// One ADTS frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdtsFrame<'a> {
    pub config: AacConfig,
    /// The access unit without header and CRC.
    pub data: &'a [u8],
    /// Header included.
    pub total_len: usize,
}

/// Reads the ADTS frame at the start of `b`: `Ok(None)` when it is not all there.
pub fn adts_frame(b: &[u8]) -> Result<Option<AdtsFrame<'_>>, ParseError> {
    if b.len() < 7 {
        return Ok(None);
    }
    if b[0] != 0xFF || b[1] & 0xF6 != 0xF0 {
        return Err(ParseError::new("no ADTS sync word", 0));
    }
    let header = if b[1] & 1 == 0 { 9 } else { 7 };
    let rate =
        *RATES.get(usize::from((b[2] >> 2) & 15)).ok_or(ParseError::new("ADTS with reserved sampling rate", 2))?;
    let total = (usize::from(b[3] & 3) << 11) | (usize::from(b[4]) << 3) | usize::from(b[5] >> 5);
    if total < header {
        return Err(ParseError::new("ADTS length shorter than its header", 3));
    }
    let Some(data) = b.get(header..total) else { return Ok(None) };
    let config =
        AacConfig { object_type: (b[2] >> 6) + 1, sample_rate: rate, channels: ((b[2] & 1) << 2) | (b[3] >> 6) };
    Ok(Some(AdtsFrame { config, data, total_len: total }))
}

/// Whether bytes look like ADTS: sync word, and where the first frame ends another begins (or nothing).
pub fn looks_like_adts(b: &[u8]) -> bool {
    match adts_frame(b) {
        Ok(Some(f)) if f.total_len > 9 => match b.get(f.total_len..) {
            Some([]) | None => true,
            Some([0xFF]) => true,
            Some(rest) => rest[0] == 0xFF && rest[1] & 0xF6 == 0xF0,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn config_and_adts() {
        // 0x1588: the config of gb28181.md 17.1 (AAC-LC, 8 kHz, mono)
        let c = AacConfig::parse(&[0x15, 0x88]).unwrap();
        assert_eq!(c, AacConfig { object_type: 2, sample_rate: 8000, channels: 1 });
        assert_eq!(&c.to_bytes()[..], &[0x15, 0x88]);
        let mut b = c.adts_header(3).unwrap().to_vec();
        b.extend_from_slice(&[1, 2, 3]);
        let f = adts_frame(&b).unwrap().unwrap();
        assert_eq!((f.config, f.data, f.total_len), (c, &[1u8, 2, 3][..], 10));
        assert!(looks_like_adts(&b));
        assert_eq!(adts_frame(&b[..9]).unwrap(), None);
        let odd = AacConfig { object_type: 2, sample_rate: 12_345, channels: 2 };
        assert_eq!(AacConfig::parse(&odd.to_bytes()).unwrap(), odd);
    }
}
