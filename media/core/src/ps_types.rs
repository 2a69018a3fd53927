//! What comes out of the program stream demuxer, its counters, and the look at a payload nobody explained.

use std::time::Instant;

use bytes::Bytes;

use crate::codec::Codec;
use crate::psm::Psm;

/// One whole picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PsVideo {
    pub codec: Codec,
    /// Canonical form; a key frame has its parameter sets in front.
    pub payload: Bytes,
    /// 90 kHz, without wraps or jumps.
    pub pts: i64,
    pub key: bool,
    /// When its last packet came.
    pub received: Instant,
    /// Pixels; 0 before the first readable SPS.
    pub width: u32,
    pub height: u32,
}

/// One audio frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PsAudio {
    pub codec: Codec,
    /// Ticks per second of `pts`.
    pub clock_rate: u32,
    pub channels: u8,
    /// AudioSpecificConfig of AAC, else empty.
    pub config: Bytes,
    pub payload: Bytes,
    /// In `clock_rate`, counted from the same origin as the picture's.
    pub pts: i64,
    pub received: Instant,
}

/// What a stream that is no PS seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sniffed {
    /// MPEG-TS under the label of a program stream: it is read as such from now on, until `reset`.
    Ts,
    /// Elementary stream in RTP (RFC 6184, RFC 7798).
    Es(Codec),
    /// 64 KiB without a pack header.
    Private,
}

/// Why something was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// RTP packets are missing: ask for a key frame.
    Loss,
    /// Pictures before the first key frame: ask for one.
    WaitingForKey,
    /// Bytes that fit no structure.
    Malformed,
    /// A picture over 8 MiB.
    TooLarge,
    /// A codec nothing here decodes.
    Unsupported(&'static str),
}

/// What [`PsDemuxer::poll`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PsEvent {
    Video(PsVideo),
    Audio(PsAudio),
    /// A stream map that differs from the last one.
    Psm(Psm),
    /// Sound of a codec that nothing here decodes begins; its frames are left out.
    Silent(Codec),
    /// `at`: byte in the stream since the start.
    Dropped {
        reason: DropReason,
        at: u64,
    },
    Sniffed(Sniffed),
}

/// The last thing that was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PsProblem {
    pub what: &'static str,
    /// Byte in the stream since the start.
    pub at: u64,
}

/// Counters since the start, for "why is there no picture".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PsStats {
    pub packets: u64,
    pub bytes: u64,
    pub packs: u64,
    pub psm: u64,
    pub video_pes: u64,
    pub audio_pes: u64,
    pub private_pes: u64,
    /// PES of further video or audio streams, not followed.
    pub other_pes: u64,
    pub frames: u64,
    pub key_frames: u64,
    pub audio_frames: u64,
    /// A decoder could start: SPS and PPS (and VPS) were seen.
    pub parameter_sets: bool,
    /// Pictures held back before the first key frame.
    pub held: u64,
    /// Pictures dropped for loss or damage.
    pub dropped_frames: u64,
    pub losses: u64,
    /// Time stamp discontinuities mended.
    pub rebases: u64,
    pub errors: u64,
    pub last_error: Option<PsProblem>,
    pub video_codec: Option<Codec>,
    pub audio_codec: Option<Codec>,
    /// The map named another codec than the data is.
    pub psm_wrong: u64,
    pub events_dropped: u64,
}

/// What an RTP payload looks like, for payload types nobody explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamForm {
    Ps,
    Ts,
    Es(Codec),
}

/// Looks at one RTP payload. None when it could be anything (the middle of a picture).
pub fn sniff(payload: &[u8]) -> Option<StreamForm> {
    if payload.starts_with(&[0, 0, 1, 0xBA]) {
        return Some(StreamForm::Ps);
    }
    let packets = payload.len() / 188;
    if (packets >= 2 || payload.len() == 188) && payload.iter().step_by(188).all(|b| *b == 0x47) {
        return Some(StreamForm::Ts);
    }
    let body = match payload {
        [0, 0, 0, 1, rest @ ..] | [0, 0, 1, rest @ ..] => rest,
        _ => payload,
    };
    let (a, b) = (*body.first()?, *body.get(1)?);
    if a & 0x81 == 0 && b == 1 && matches!(a >> 1, 32..=34 | 48 | 49) {
        return Some(StreamForm::Es(Codec::H265));
    }
    match a {
        0x67 | 0x47 | 0x27 if matches!(b, 66 | 77 | 88 | 100 | 110) => Some(StreamForm::Es(Codec::H264)),
        0x7C | 0x5C | 0x3C if matches!(b & 0x1F, 1 | 5 | 7) && b & 0x20 == 0 => Some(StreamForm::Es(Codec::H264)),
        0x78 | 0x58 | 0x38 if payload.get(3).is_some_and(|h| matches!(h & 0x1F, 6..=9)) => {
            Some(StreamForm::Es(Codec::H264))
        }
        _ => None,
    }
}
