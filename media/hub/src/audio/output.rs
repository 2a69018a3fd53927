//! One encoded line out of the mixer: an encoder that costs nothing while there is silence.

use bytes::Bytes;
use media_core::Codec;

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
}

impl Line {
    pub fn new(codec: Codec, settings: &OpusSettings) -> Result<Self, AudioError> {
        Ok(Line { encoder: Encoder::new(codec, settings)?, silent: DECAY, joined: false, loosened: false })
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
                return silence(self.codec());
            }
        }
        if self.joined || self.loosened {
            self.encoder.independent(self.joined);
            self.loosened = self.joined;
            self.joined = false;
        }
        self.encoder.encode(block).unwrap_or_else(|error| {
            tracing::debug!(%error, "a block of the mix was not encoded");
            silence(self.codec())
        })
    }
}
