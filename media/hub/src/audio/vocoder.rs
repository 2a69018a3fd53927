//! G.729 with its Annex B, AMR and AMR-WB: codecs of frames, with comfort noise of their own.

use std::panic::{AssertUnwindSafe, catch_unwind};

use codec_core::codecs::amr::AmrCodec;
use codec_core::codecs::g729::G729Codec;
use codec_core::types::{AudioCodec, CodecConfig, CodecType, CodedFrame, FrameKind, SampleRate, VariableRateCodec};
use media_core::{Codec, amr};

use super::AudioError;

/// Octets of a G.729 speech frame (10 ms) and of its silence description.
const SPEECH: usize = 10;
const SILENCE: usize = 2;

enum Machine {
    G729(Box<G729Codec>),
    Amr(Box<AmrCodec>),
}

/// One direction of such a codec. The machines hold both; each direction has its own, since their states must not mix.
pub(crate) struct Vocoder {
    codec: Codec,
    machine: Machine,
    /// The mode of the last speech frame that was read (AMR).
    mode: u8,
    /// What was read last was a silence description, or the pause after one.
    resting: bool,
    /// The last silence description of G.729: its decoder is fed with it again for the time without frames.
    described: [u8; SILENCE],
    linear: Vec<i16>,
}

fn config(error: codec_core::CodecError) -> AudioError {
    AudioError::Config(error.to_string())
}

impl Vocoder {
    /// `pauses`: the encoder may make silence descriptions and gaps.
    pub fn new(codec: Codec, pauses: bool) -> Result<Self, AudioError> {
        let machine = match codec {
            Codec::G729 => {
                let kind = if pauses { CodecType::G729BA } else { CodecType::G729A };
                let mut settings = CodecConfig::new(kind).with_sample_rate(SampleRate::Rate8000);
                settings.parameters.g729.annex_b = pauses;
                Machine::G729(Box::new(G729Codec::new(settings).map_err(config)?))
            }
            Codec::Amr | Codec::AmrWb => {
                let settings = if codec == Codec::Amr { CodecConfig::amr_nb() } else { CodecConfig::amr_wb() };
                let mut machine = AmrCodec::new(&settings).map_err(config)?;
                machine.set_allow_dtx(pauses);
                Machine::Amr(Box::new(machine))
            }
            other => return Err(AudioError::Codec(other)),
        };
        Ok(Vocoder { codec, machine, mode: 0, resting: false, described: [0; SILENCE], linear: Vec::new() })
    }

    /// A decoder.
    pub fn decoder(codec: Codec) -> Result<Self, AudioError> {
        Vocoder::new(codec, true)
    }

    /// Samples a second.
    pub fn rate(codec: Codec) -> u32 {
        if codec == Codec::AmrWb { 16_000 } else { 8_000 }
    }

    /// Samples of one frame.
    fn frame(&self) -> usize {
        match self.codec {
            Codec::G729 => 80,
            Codec::AmrWb => 320,
            _ => 160,
        }
    }

    /// The far end is in a pause of its own: what comes is comfort noise.
    pub fn resting(&self) -> bool {
        self.resting
    }

    /// Runs a step of the machine. It is young and its input comes from the field: a panic in it costs one frame only.
    fn step<T>(
        &mut self,
        work: impl FnOnce(&mut Machine) -> Result<T, codec_core::CodecError>,
    ) -> Result<T, AudioError> {
        match catch_unwind(AssertUnwindSafe(|| work(&mut self.machine))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(AudioError::Frame(error.to_string())),
            Err(_) => {
                let fresh = Vocoder::new(self.codec, true)?;
                self.machine = fresh.machine;
                Err(AudioError::Frame(format!("the {} machine panicked", self.codec)))
            }
        }
    }

    fn one(&mut self, frame: &[u8], coded: Option<CodedFrame>) -> Result<Vec<i16>, AudioError> {
        self.step(|machine| match (machine, coded) {
            (Machine::G729(m), _) => m.decode(frame),
            (Machine::Amr(m), Some(coded)) => m.decode_frame(&coded),
            (Machine::Amr(m), None) => m.decode_frame(&CodedFrame::no_data()),
        })
    }

    /// The samples of a payload in its canonical form, at the codec's own rate.
    pub fn decode(&mut self, payload: &[u8]) -> Result<&[i16], AudioError> {
        self.linear.clear();
        if self.codec == Codec::G729 {
            self.g729(payload)?;
        } else {
            self.amr(payload)?;
        }
        Ok(&self.linear)
    }

    fn g729(&mut self, payload: &[u8]) -> Result<(), AudioError> {
        let (frames, rest) = payload.as_chunks::<SPEECH>();
        if payload.is_empty() || !matches!(rest.len(), 0 | SILENCE) || frames.len() > 24 {
            return Err(AudioError::Frame(format!("{} octets are no G.729 frames", payload.len())));
        }
        for frame in frames.iter().map(|f| &f[..]).chain((!rest.is_empty()).then_some(rest)) {
            let sound = self.one(frame, None)?;
            self.linear.extend(sound);
        }
        self.resting = !rest.is_empty();
        if let Ok(described) = rest.try_into() {
            self.described = described;
        }
        Ok(())
    }

    fn amr(&mut self, payload: &[u8]) -> Result<(), AudioError> {
        let wide = self.codec == Codec::AmrWb;
        let (mut rest, mut frames) = (payload, 0);
        while let Some(frame) = amr::next_stored(wide, &mut rest) {
            frames += 1;
            if frames > amr::MOST_FRAMES {
                return Err(AudioError::Frame("too many AMR frames".to_owned()));
            }
            let data = frame.data.to_vec();
            let kind = match frame.kind {
                amr::NO_DATA => FrameKind::NoData,
                amr::SPEECH_LOST if wide => FrameKind::Lost,
                k if k == amr::sid(wide) => FrameKind::ComfortNoise,
                mode => {
                    self.mode = mode;
                    FrameKind::Speech
                }
            };
            match kind {
                FrameKind::Speech => self.resting = false,
                FrameKind::ComfortNoise => self.resting = true,
                _ => {}
            }
            let sound = self.one(&[], Some(CodedFrame { kind, mode: self.mode, quality_ok: frame.good, data }))?;
            self.linear.extend(sound);
        }
        if frames == 0 || !rest.is_empty() {
            return Err(AudioError::Frame("no AMR frames".to_owned()));
        }
        Ok(())
    }

    /// Up to `samples` at the codec's own rate in place of frames that were lost, or of comfort noise while it rests.
    pub fn go_on(&mut self, samples: usize) -> &[i16] {
        self.linear.clear();
        let mode = self.mode;
        for _ in 0..samples / self.frame() {
            let (described, resting) = (self.described, self.resting);
            let coded = if resting {
                CodedFrame { mode, ..CodedFrame::no_data() }
            } else {
                CodedFrame { mode, ..CodedFrame::lost() }
            };
            let Ok(sound) = self.one(if resting { &described } else { &[] }, Some(coded)) else { break };
            self.linear.extend(sound);
        }
        &self.linear
    }

    /// Sets the mode of the encoder (AMR).
    pub fn set_mode(&mut self, mode: u8) -> Result<(), AudioError> {
        match &mut self.machine {
            Machine::Amr(machine) => machine.set_mode(mode).map_err(config),
            Machine::G729(_) => Ok(()),
        }
    }

    /// Appends the frames of 20 ms in canonical form. A pause gives a silence description, or nothing.
    pub fn encode(&mut self, linear: &[i16], out: &mut Vec<u8>) -> Result<(), AudioError> {
        let size = self.frame();
        for part in linear.chunks_exact(size) {
            let (head, data) = self.step(|machine| match machine {
                Machine::G729(m) => Ok((None, m.encode(part)?)),
                Machine::Amr(m) => {
                    let coded = m.encode_frame(part)?;
                    let kind = match coded.kind {
                        FrameKind::Speech => coded.mode,
                        FrameKind::ComfortNoise => amr::sid(size == 320),
                        FrameKind::NoData | FrameKind::Lost => amr::NO_DATA,
                    };
                    Ok((Some(amr::stored_head(kind, true)), coded.data))
                }
            })?;
            out.extend(head);
            out.extend(data);
        }
        Ok(())
    }
}
