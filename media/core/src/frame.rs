//! The unit in the ring: a whole access unit or audio packet, immutable and shared.

use std::sync::OnceLock;
use std::time::Instant;

use bytes::Bytes;

use crate::codec::{Codec, MediaKind};

/// Number of a track within its stream. By custom video is 0, the source's own audio is 1 and an Opus rendition of it 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u8);

impl TrackId {
    pub const VIDEO: TrackId = TrackId(0);
    pub const AUDIO: TrackId = TrackId(1);
    pub const OPUS: TrackId = TrackId(2);
}

/// What a track of a stream is. Equality means that a decoder may go on without being set up again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackInfo {
    pub id: TrackId,
    pub codec: Codec,
    /// Ticks per second of `Frame::pts`: 90000 for video, the sampling rate for audio (48000 for Opus).
    pub clock_rate: u32,
    /// Audio channels; 0 for video.
    pub channels: u8,
    /// Picture size in pixels when known; 0 before the first parameter sets and for audio.
    pub width: u32,
    pub height: u32,
    /// Decoder configuration outside the frames: AudioSpecificConfig for AAC, else empty.
    pub config: Bytes,
}

impl TrackInfo {
    /// A video track with the 90 kHz clock and unknown size.
    pub fn video(codec: Codec) -> Self {
        TrackInfo {
            id: TrackId::VIDEO,
            codec,
            clock_rate: 90_000,
            channels: 0,
            width: 0,
            height: 0,
            config: Bytes::new(),
        }
    }

    /// An audio track.
    pub fn audio(codec: Codec, clock_rate: u32, channels: u8) -> Self {
        TrackInfo { id: TrackId::AUDIO, codec, clock_rate, channels, width: 0, height: 0, config: Bytes::new() }
    }

    pub fn kind(&self) -> MediaKind {
        self.codec.kind()
    }
}

/// One access unit or audio packet in its codec's canonical form (see [`Codec`]).
#[derive(Debug)]
pub struct Frame {
    pub track: TrackId,
    pub codec: Codec,
    /// Media clock in ticks of the track's clock rate, extended to 64 bits and free of wraps. All tracks of one stream
    /// count from one origin, so `pts / clock_rate` of picture and sound compare.
    pub pts: i64,
    /// Ticks until the next frame of this track when known, else 0.
    pub duration: u32,
    /// A decoder can start here. Always true for audio.
    pub key: bool,
    /// Nothing is said: comfort noise at most. A leg whose far end makes such noise itself need not send it.
    pub silent: bool,
    /// Receive instant of the frame's last packet: the moment at which the frame became whole here.
    pub received: Instant,
    pub payload: Bytes,
    /// RTP payload cuts, computed by the first leg that packetises this frame and shared by all others.
    cuts: OnceLock<Cuts>,
}

impl Frame {
    pub fn new(track: TrackId, codec: Codec, pts: i64, key: bool, received: Instant, payload: Bytes) -> Self {
        Frame { track, codec, pts, duration: 0, key, silent: false, received, payload, cuts: OnceLock::new() }
    }

    /// Sets the duration in ticks of the track's clock.
    pub fn with_duration(mut self, ticks: u32) -> Self {
        self.duration = ticks;
        self
    }

    /// Marks it as silence when `silent`.
    pub fn with_silence(mut self, silent: bool) -> Self {
        self.silent = silent;
        self
    }

    pub fn kind(&self) -> MediaKind {
        self.codec.kind()
    }

    /// The RTP payload cuts of this frame, made on first use. `make` must be the same packetiser for every caller.
    pub fn cuts(&self, make: impl FnOnce(&Frame) -> Cuts) -> &Cuts {
        self.cuts.get_or_init(|| make(self))
    }
}

/// How one frame is cut into RTP payloads; the last cut carries the marker.
pub type Cuts = Vec<Cut>;

/// One RTP payload: up to 4 bytes of payload header (FU, aggregation or VP8 descriptor), then a range of the frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    pub header: [u8; 4],
    pub header_len: u8,
    pub start: u32,
    pub end: u32,
}

impl Cut {
    /// Payload size in bytes, header included.
    pub fn len(&self) -> usize {
        usize::from(self.header_len) + (self.end - self.start) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn header_bytes(&self) -> &[u8] {
        &self.header[..usize::from(self.header_len)]
    }

    /// The part of the frame's payload that follows the header; empty if the cut does not fit the payload.
    pub fn body<'a>(&self, payload: &'a [u8]) -> &'a [u8] {
        payload.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}
