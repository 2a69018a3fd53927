//! The codecs that can be turned into each other, by way of mono at 48 kHz.

use media_core::sdp::RtpMap;
use media_core::{Codec, TrackInfo, g722};
use media_hub::audio::{Block, Decoder, Encoder, OpusSettings, RATE, Resampler};

/// The sampling rate of G.722.
const WIDE: u32 = 16_000;

/// A codec that we can read and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// G.711, A-law or mu-law.
    Law {
        a: bool,
    },
    G722,
    Opus,
}

impl Sort {
    pub fn of(map: &RtpMap) -> Option<Sort> {
        let is = |name: &str, rate: u32| map.encoding.eq_ignore_ascii_case(name) && map.clock_rate == rate;
        match () {
            () if map.channels == 1 && is("PCMA", 8000) => Some(Sort::Law { a: true }),
            () if map.channels == 1 && is("PCMU", 8000) => Some(Sort::Law { a: false }),
            () if map.channels == 1 && is("G722", 8000) => Some(Sort::G722),
            () if is("opus", RATE) => Some(Sort::Opus),
            () => None,
        }
    }

    /// As the SDP names it.
    pub fn name(self) -> &'static str {
        match self {
            Sort::Law { a: true } => "PCMA",
            Sort::Law { a: false } => "PCMU",
            Sort::G722 => "G722",
            Sort::Opus => "opus",
        }
    }

    /// The clock of its RTP.
    pub fn clock(self) -> u32 {
        if self == Sort::Opus { RATE } else { 8000 }
    }

    fn codec(self) -> Codec {
        match self {
            Sort::Law { a: false } => Codec::G711U,
            Sort::Opus => Codec::Opus,
            _ => Codec::G711A,
        }
    }
}

pub(super) enum Decode {
    Plain(Sort, Decoder),
    Wide { decoder: Box<g722::Decoder>, linear: Vec<i16>, samples: Vec<f32>, up: Resampler },
}

impl Decode {
    pub fn new(sort: Sort) -> Option<Decode> {
        Some(match sort {
            Sort::G722 => Decode::Wide {
                decoder: Box::default(),
                linear: Vec::new(),
                samples: Vec::new(),
                up: Resampler::to_inside(WIDE),
            },
            _ => {
                let track = TrackInfo::audio(sort.codec(), sort.clock(), 1);
                Decode::Plain(sort, Decoder::new(&track).ok()?)
            }
        })
    }

    /// Appends a packet's sound, nothing when it cannot be read; gives how long it lasts by the codec's clock.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<f32>) -> u32 {
        match self {
            Decode::Plain(sort, decoder) => {
                let before = out.len();
                if decoder.decode(payload, out).is_err() || !out.iter().all(|s| s.is_finite()) {
                    out.truncate(before);
                }
                match sort {
                    Sort::Opus => media_core::opus::duration(payload).unwrap_or(RATE / 50),
                    _ => payload.len() as u32,
                }
            }
            Decode::Wide { decoder, linear, samples, up } => {
                linear.clear();
                decoder.decode(payload, linear);
                samples.clear();
                samples.extend(linear.iter().map(|s| f32::from(*s) / 32768.0));
                up.process(samples, out);
                payload.len() as u32
            }
        }
    }

    /// Appends what `next` tells of the packets before it that were lost: the forward error correction of Opus.
    pub fn recover(&mut self, missing: usize, next: &[u8], out: &mut Vec<f32>) -> usize {
        match self {
            Decode::Plain(Sort::Opus, decoder) => decoder.recover(missing, next, out),
            _ => 0,
        }
    }
}

pub(super) enum Encode {
    Plain(Encoder),
    Wide { encoder: Box<g722::Encoder>, linear: Vec<i16>, samples: Vec<f32>, down: Resampler },
}

impl Encode {
    pub fn new(sort: Sort) -> Option<Encode> {
        Some(match sort {
            Sort::G722 => Encode::Wide {
                encoder: Box::default(),
                linear: Vec::new(),
                samples: Vec::new(),
                down: Resampler::new(RATE, WIDE),
            },
            _ => Encode::Plain(Encoder::new(sort.codec(), &OpusSettings::default()).ok()?),
        })
    }

    /// Appends the bytes of a block; false when it could not be encoded.
    pub fn encode(&mut self, block: &Block, out: &mut Vec<u8>) -> bool {
        match self {
            Encode::Plain(encoder) => match encoder.encode(block) {
                Ok(bytes) => {
                    out.extend_from_slice(&bytes);
                    true
                }
                Err(_) => false,
            },
            Encode::Wide { encoder, linear, samples, down } => {
                samples.clear();
                down.process(block, samples);
                linear.clear();
                linear.extend(samples.iter().map(|s| (s * 32768.0).round().clamp(-32768.0, 32767.0) as i16));
                encoder.encode(linear, out);
                true
            }
        }
    }
}
