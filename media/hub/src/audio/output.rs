//! One encoded line out of the mixer: an encoder that costs nothing while there is silence.

use bytes::Bytes;
use media_core::Codec;

use super::comfort;
use super::encode::{Encoder, OpusSettings, silence};
use super::{AudioError, Block};

/// Silent blocks that are still encoded, so that the end of a sound decays as the encoder wants.
const DECAY: u32 = 10;

pub(crate) struct Line {
    encoder: Encoder,
    silent: u32,
    /// The next packet goes to decoders that heard another line until now.
    joined: bool,
    loosened: bool,
    mode: u8,
    /// Comfort noise instead of digital silence.
    noise: bool,
}

impl Line {
    pub fn new(codec: Codec, mode: u8, settings: &OpusSettings, noise: bool) -> Result<Self, AudioError> {
        let encoder = Encoder::with_mode(codec, mode, settings)?;
        Ok(Line { encoder, silent: DECAY, joined: false, loosened: false, mode, noise })
    }

    pub fn codec(&self) -> Codec {
        self.encoder.codec()
    }

    /// Takes over from another line: feeds what its listeners heard last.
    pub fn take_over<'a>(&mut self, past: impl IntoIterator<Item = &'a Block>) {
        self.encoder.warm(past);
        self.silent = 0;
        self.joined = true;
    }

    /// Somebody who heard another line hears this one from the next packet on.
    pub fn joined(&mut self) {
        self.joined = true;
    }

    /// Whether the last packet was silence, or the noise that stands for it.
    pub fn is_silent(&self) -> bool {
        self.silent > DECAY
    }

    fn silence(&self) -> Bytes {
        let noise = comfort::packet(self.codec(), self.mode, u64::from(self.silent)).filter(|_| self.noise);
        noise.unwrap_or_else(|| silence(self.codec()))
    }

    /// The packet of one block; `sounds` is false when the block is digital silence.
    pub fn packet(&mut self, block: &Block, sounds: bool) -> Bytes {
        if sounds {
            if self.silent > DECAY {
                self.encoder.reset();
            }
            self.silent = 0;
        } else {
            self.silent = self.silent.saturating_add(1);
            if self.silent > DECAY {
                self.joined = false;
                return self.silence();
            }
        }
        if self.joined || self.loosened {
            self.encoder.independent(self.joined);
            self.loosened = self.joined;
            self.joined = false;
        }
        self.encoder.encode(block).unwrap_or_else(|error| {
            tracing::debug!(%error, "a block of the mix was not encoded");
            self.silence()
        })
    }
}
