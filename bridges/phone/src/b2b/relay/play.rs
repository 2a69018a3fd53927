//! What a phone hears of us instead of the other one.

use std::time::Duration;

use bytes::Bytes;
use media_core::g711;
use media_core::rtp::RtpHeader;

use super::LAWS;

/// A packet of what we play.
const VOICE_BYTES: usize = 160;
pub(super) const VOICE_RATE: u32 = 8000;
const VOICE_EVERY: Duration = Duration::from_millis(20);
const FIRST_REPORT: Duration = Duration::from_secs(1);
pub(super) const REPORT_EVERY: Duration = Duration::from_secs(5);

/// What a phone hears of us instead of the other one, as A-law at 8 kHz.
#[derive(Debug, Clone, Default)]
pub(crate) struct Play {
    pub first: Bytes,
    /// After it, again and again; empty: no more.
    pub then: Bytes,
    /// The phone wants mu-law.
    pub mu: bool,
}

/// What is being played to a phone.
pub(super) struct Voice {
    play: Play,
    at: usize,
    header: RtpHeader,
    /// When the phone is told of the stream again.
    pub(super) report: tokio::time::Instant,
    pub(super) due: tokio::time::Instant,
}

impl Voice {
    pub(super) fn new(play: Play) -> Voice {
        let header = RtpHeader {
            marker: true,
            payload_type: if play.mu { 0 } else { 8 },
            sequence: rand::random::<u16>() >> 1,
            timestamp: rand::random(),
            ssrc: rand::random(),
        };
        let now = tokio::time::Instant::now();
        Voice { play, at: 0, header, report: now + FIRST_REPORT, due: now }
    }

    /// The next packet of 20 ms; none at the end.
    pub(super) fn packet(&mut self) -> Option<Vec<u8>> {
        if self.at >= self.play.first.len() {
            if self.play.then.is_empty() {
                return None;
            }
            self.play.first = self.play.then.clone();
            self.at = 0;
        }
        let until = self.play.first.len().min(self.at + VOICE_BYTES);
        let mut payload = self.play.first.get(self.at..until)?.to_vec();
        payload.resize(VOICE_BYTES, g711::silence(true));
        if self.play.mu {
            payload.iter_mut().for_each(|byte| *byte = LAWS[1][usize::from(*byte)]);
        }
        self.at = until;
        let mut out = Vec::with_capacity(12 + VOICE_BYTES);
        self.header.write(&mut out, &[&payload]);
        self.header.marker = false;
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(VOICE_BYTES as u32);
        self.due += VOICE_EVERY;
        Some(out)
    }
}
