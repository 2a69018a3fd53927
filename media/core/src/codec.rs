//! Codecs and the one canonical form in which each travels inside the gateway.

use std::fmt;

/// Whether a track is seen or heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MediaKind {
    Video,
    Audio,
}

/// A codec, together with the canonical form of a [`crate::Frame`]'s payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Codec {
    /// ITU-T H.264. Payload: one access unit, each NAL unit behind its length in 4 bytes big endian (as in MP4,
    /// `lengthSizeMinusOne = 3`), no start codes, no access unit delimiters. A key frame carries its SPS and PPS in front.
    H264,
    /// ITU-T H.265. As H.264; a key frame carries VPS, SPS and PPS in front.
    H265,
    /// VP8 (RFC 6386). Payload: one frame without RTP payload descriptor.
    Vp8,
    /// Opus (RFC 6716). Payload: one packet. Clock rate 48000.
    Opus,
    /// G.711 A-law. Payload: samples, any whole number; clock rate 8000, mono.
    G711A,
    /// G.711 mu-law. Payload: samples, any whole number; clock rate 8000, mono.
    G711U,
    /// AAC-LC. Payload: one raw access unit without ADTS header (1024 samples); the track's `config` holds the
    /// AudioSpecificConfig. The clock rate is the sampling rate.
    Aac,
    /// G.729 and G.729A (ITU-T). Payload: whole frames of 10 bytes (10 ms), at the end perhaps one of 2 bytes (silence); clock
    /// rate 8000, mono.
    G729,
    /// G.722 at 64 kbit/s. Payload: octets, any whole number, each two samples at 16 kHz; clock rate 8000 all the same (RFC
    /// 3551 4.5.2), mono.
    G722,
    /// AMR. Payload: frames of 20 ms in the storage form (RFC 4867 5.3), see [`crate::amr`]; clock rate 8000, mono.
    Amr,
    /// AMR-WB (G.722.2). As [`Codec::Amr`]; clock rate 16000.
    AmrWb,
    /// Comfort noise (RFC 3389): a frame of it in a track of G.711 or G.722 says how the silence after it sounds. Payload: the
    /// level in dB below overload, then reflection coefficients. No track is of this codec.
    ComfortNoise,
    /// G.723.1. Named, never carried: nothing here decodes it.
    G7231,
    /// G.722.1. Named, never carried: nothing here decodes it.
    G7221,
    /// The sound codec of SVAC (GB/T 25724). Named, never carried: nothing here decodes it.
    SvacAudio,
}

/// Where sound of a codec becomes samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoding {
    /// In this process.
    Here,
    /// Nowhere: the picture goes on without it.
    Nowhere,
}

impl Codec {
    /// Whether this codec is video or audio.
    pub fn kind(self) -> MediaKind {
        match self {
            Codec::H264 | Codec::H265 | Codec::Vp8 => MediaKind::Video,
            Codec::Opus | Codec::G711A | Codec::G711U | Codec::Aac => MediaKind::Audio,
            Codec::G729 | Codec::G7231 | Codec::G7221 | Codec::SvacAudio => MediaKind::Audio,
            Codec::G722 | Codec::Amr | Codec::AmrWb | Codec::ComfortNoise => MediaKind::Audio,
        }
    }

    /// The usual name: as in SDP `a=rtpmap` where there is one.
    pub fn name(self) -> &'static str {
        match self {
            Codec::H264 => "H264",
            Codec::H265 => "H265",
            Codec::Vp8 => "VP8",
            Codec::Opus => "opus",
            Codec::G711A => "PCMA",
            Codec::G711U => "PCMU",
            Codec::Aac => "AAC",
            Codec::G729 => "G729",
            Codec::G7231 => "G723",
            Codec::G7221 => "G7221",
            Codec::SvacAudio => "SVACA",
            Codec::G722 => "G722",
            Codec::Amr => "AMR",
            Codec::AmrWb => "AMR-WB",
            Codec::ComfortNoise => "CN",
        }
    }

    /// Where this sound can be decoded; pictures count as [`Decoding::Here`].
    pub fn decoding(self) -> Decoding {
        match self {
            Codec::G7231 | Codec::G7221 | Codec::SvacAudio | Codec::ComfortNoise => Decoding::Nowhere,
            _ => Decoding::Here,
        }
    }

    /// Samples at the codec's own clock in a payload of so many bytes; 0 where the length does not tell.
    pub fn samples(self, bytes: usize) -> u32 {
        match self {
            Codec::G711A | Codec::G711U | Codec::G722 => bytes as u32,
            Codec::Aac => 1024,
            // A silence frame of 2 bytes lasts as long.
            Codec::G729 => bytes.div_ceil(10) as u32 * 80,
            _ => 0,
        }
    }

    /// Ticks a second of its time stamps in RTP; 90000 for pictures. That of AAC is the sampling rate, which is told elsewhere.
    pub fn clock(self) -> u32 {
        match self {
            Codec::Opus | Codec::Aac => 48_000,
            Codec::AmrWb => 16_000,
            _ if self.kind() == MediaKind::Audio => 8_000,
            _ => 90_000,
        }
    }

    /// Whether every browser leg can carry it without transcoding.
    pub fn browser_can_play(self) -> bool {
        matches!(self, Codec::H264 | Codec::Vp8 | Codec::Opus | Codec::G711A | Codec::G711U)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
