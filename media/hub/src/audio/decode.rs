//! Decoders to mono at 48 kHz.

use media_core::{Codec, TrackInfo, g711, g722};
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};
use symphonia::default::codecs::AacDecoder;

use super::comfort::Described;
use super::vocoder::Vocoder;
use super::{AudioError, RATE, Resampler};

/// The longest Opus packet: 120 ms at 48 kHz (RFC 6716 3.2.5).
const OPUS_MOST: usize = 5760;
/// The smallest step of Opus: 2.5 ms.
const OPUS_STEP: usize = 120;

enum Kind {
    Opus(opus::Decoder),
    G711 { a_law: bool, linear: Vec<i16>, up: Up },
    G722 { decoder: Box<g722::Decoder>, linear: Vec<i16>, up: Up },
    Vocoder { machine: Vocoder, up: Up },
    Aac { decoder: Box<AacDecoder>, channels: usize, interleaved: Vec<f32>, mono: Vec<f32>, up: Option<Resampler> },
}

/// Samples of 16 bits to those that are used inside.
struct Up {
    rate: u32,
    samples: Vec<f32>,
    resampler: Resampler,
}

impl Up {
    fn new(rate: u32) -> Up {
        Up { rate, samples: Vec::new(), resampler: Resampler::to_inside(rate) }
    }

    fn process(&mut self, linear: &[i16], out: &mut Vec<f32>) {
        self.samples.clear();
        self.samples.extend(linear.iter().map(|s| f32::from(*s) / 32768.0));
        self.resampler.process(&self.samples, out);
    }
}

/// Whether the far end speaks, as far as its codec tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comfort {
    /// It speaks, or cannot say otherwise: what does not come is lost.
    Speaking,
    /// It sends nothing in its pause but a description of the noise there.
    Resting,
}

/// Decodes the frames of one track in their order.
pub struct Decoder {
    codec: Codec,
    kind: Kind,
    /// The noise of the pause that the far end is in (RFC 3389).
    described: Option<Described>,
    resting: bool,
}

impl Decoder {
    /// For AAC the track's `config` must hold the AudioSpecificConfig (ISO/IEC 14496-3); only AAC-LC with one or two
    /// channels is decoded.
    pub fn new(track: &TrackInfo) -> Result<Self, AudioError> {
        let kind = match track.codec {
            // Opus decodes stereo to mono by itself.
            Codec::Opus => Kind::Opus(
                opus::Decoder::new(RATE, opus::Channels::Mono).map_err(|e| AudioError::Config(e.to_string()))?,
            ),
            Codec::G711A | Codec::G711U => {
                Kind::G711 { a_law: track.codec == Codec::G711A, linear: Vec::new(), up: Up::new(8000) }
            }
            Codec::G722 => Kind::G722 { decoder: Box::default(), linear: Vec::new(), up: Up::new(16_000) },
            codec @ (Codec::G729 | Codec::Amr | Codec::AmrWb) => {
                Kind::Vocoder { machine: Vocoder::decoder(codec)?, up: Up::new(Vocoder::rate(codec)) }
            }
            Codec::Aac => aac(track)?,
            other => return Err(AudioError::Codec(other)),
        };
        Ok(Decoder { codec: track.codec, kind, described: None, resting: false })
    }

    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Appends the frame's samples.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<f32>) -> Result<(), AudioError> {
        self.resting = false;
        match &mut self.kind {
            Kind::Opus(decoder) => {
                if payload.is_empty() {
                    return Err(AudioError::Frame("empty Opus packet".to_owned()));
                }
                opus_decode(decoder, payload, OPUS_MOST, false, out)
            }
            Kind::G711 { a_law, linear, up } => {
                linear.clear();
                g711::decode(*a_law, payload, linear);
                up.process(linear, out);
                Ok(())
            }
            Kind::G722 { decoder, linear, up } => {
                linear.clear();
                decoder.decode(payload, linear);
                up.process(linear, out);
                Ok(())
            }
            Kind::Vocoder { machine, up } => {
                let done = machine.decode(payload).map(|linear| up.process(linear, out));
                self.resting = machine.resting();
                done
            }
            Kind::Aac { decoder, channels, interleaved, mono, up } => {
                let packet = PacketRef::new(0, Timestamp::ZERO, Duration::from(1024u64), payload);
                // The decoder is young and its input comes from the field: a panic in it must cost one frame only.
                let decoded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    interleaved.clear();
                    decoder.decode_ref(&packet).map(|buffer| buffer.copy_to_vec_interleaved(interleaved))
                }));
                match decoded {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(AudioError::Frame(error.to_string())),
                    Err(_) => {
                        decoder.reset();
                        return Err(AudioError::Frame("the AAC decoder panicked".to_owned()));
                    }
                }
                mono.clear();
                mono.extend(interleaved.chunks_exact(*channels).map(|c| c.iter().sum::<f32>() / *channels as f32));
                match up {
                    Some(up) => up.process(mono, out),
                    None => out.extend_from_slice(mono),
                }
                Ok(())
            }
        }
    }

    /// Takes a description of comfort noise (RFC 3389): the far end is in a pause until the next frame.
    pub fn describe(&mut self, payload: &[u8]) {
        let Some(next) = Described::new(payload) else { return };
        match &mut self.described {
            Some(known) => known.renew(next),
            None => self.described = Some(next),
        }
        self.resting = true;
    }

    /// Whether the far end is in a pause of which it told.
    pub fn comfort(&self) -> Comfort {
        if self.resting { Comfort::Resting } else { Comfort::Speaking }
    }

    /// Appends up to `samples` (whole frames of the codec) without a frame: the comfort noise of a pause, else the codec's own
    /// concealment. Returns how many were appended, 0 where the codec has neither.
    pub fn go_on(&mut self, samples: usize, out: &mut Vec<f32>) -> usize {
        let before = out.len();
        match (&mut self.kind, &mut self.described) {
            (Kind::Vocoder { machine, up }, _) => {
                let own = samples * up.rate as usize / RATE as usize;
                up.process(machine.go_on(own), out);
            }
            (Kind::G711 { up, .. } | Kind::G722 { up, .. }, Some(described)) if self.resting => {
                // By the filter of the track, so that speech follows without a step.
                up.samples.clear();
                described.fill(samples * up.rate as usize / RATE as usize, &mut up.samples);
                up.resampler.process(&up.samples, out);
            }
            _ => {}
        }
        out.len() - before
    }

    /// Appends up to `missing` samples in place of lost frames that came before `next`: the Opus
    /// decoder conceals, and takes the forward error correction that `next` carries for the last lost frame (RFC
    /// 6716 2.1.7). Other codecs and packets without correction give nothing. Returns how many samples were appended.
    pub fn recover(&mut self, missing: usize, next: &[u8], out: &mut Vec<f32>) -> usize {
        // The own concealment of the vocoders' machines lets a tone fall by 30 dB, and Annex B of G.729 takes an empty frame for a
        // pause: the caller's is better.
        let Kind::Opus(decoder) = &mut self.kind else { return 0 };
        // Without correction libopus' own concealment leaves a hole 12 dB deep in tones: the caller's is better.
        if !has_correction(next) {
            return 0;
        }
        let whole = missing / OPUS_STEP * OPUS_STEP;
        let mut left = whole;
        let before = out.len();
        while left > 0 {
            // More than 120 ms: conceal the first part, take the correction with the last.
            let part = left.min(OPUS_MOST);
            let last = part == left;
            let packet = if last { next } else { &[] };
            if opus_decode(decoder, packet, part, last && !next.is_empty(), out).is_err() {
                break;
            }
            left -= part;
        }
        out.len() - before
    }
}

/// Whether a packet carries forward error correction for the one before it: the LBRR flag of its SILK layer (RFC 6716
/// 4.2.3 and 4.2.4). Packets of several frames with a table of lengths count as without.
fn has_correction(packet: &[u8]) -> bool {
    let (Some(toc), Some(first)) = (packet.first(), packet.get(1)) else { return false };
    let config = toc >> 3;
    if config >= 16 || toc & 3 > 1 {
        return false;
    }
    // SILK frames of 20 ms in the first Opus frame; hybrid ones are never longer.
    let frames = if config < 12 { (config & 3).max(1) } else { 1 };
    let mono = first >> (7 - frames) & 1 == 1;
    let side = toc & 4 != 0 && first >> (6 - 2 * frames) & 1 == 1;
    mono || side
}

fn opus_decode(
    decoder: &mut opus::Decoder,
    packet: &[u8],
    room: usize,
    fec: bool,
    out: &mut Vec<f32>,
) -> Result<(), AudioError> {
    let start = out.len();
    out.resize(start + room, 0.0);
    match decoder.decode_float(packet, &mut out[start..], fec) {
        Ok(n) => {
            out.truncate(start + n);
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(AudioError::Frame(error.to_string()))
        }
    }
}

fn aac(track: &TrackInfo) -> Result<Kind, AudioError> {
    let config = |e: symphonia::core::errors::Error| AudioError::Config(e.to_string());
    let mut parameters = AudioCodecParameters::new();
    parameters.for_codec(CODEC_ID_AAC).with_extra_data(track.config.to_vec().into_boxed_slice());
    let decoder = AacDecoder::try_new(&parameters, &AudioDecoderOptions::default()).map_err(config)?;
    let rate = decoder.codec_params().sample_rate.unwrap_or(track.clock_rate);
    let channels = decoder.codec_params().channels.as_ref().map_or(1, |c| c.count()).max(1);
    if !(7350..=96_000).contains(&rate) {
        return Err(AudioError::Config(format!("AAC at {rate} Hz")));
    }
    let up = (rate != RATE).then(|| Resampler::to_inside(rate));
    Ok(Kind::Aac { decoder: Box::new(decoder), channels, interleaved: Vec::new(), mono: Vec::new(), up })
}
