//! The sound that a leg sends: frames of the mix, descriptions of pauses, silence that keeps the way open.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media_core::phone::NegotiatedMedia;
use media_core::rtp::RtpHeader;
use media_core::{Codec, Frame};
use media_hub::audio::{comfort, usual_mode};

use super::Leg;

/// After this long without sound for the phone, silence is sent, so that NATs and time-outs do not fire.
const FILL_AFTER: Duration = Duration::from_millis(50);
/// The same in the midst of speech: the next words are late, and noise in between would tear them further apart.
const FILL_SPEECH_AFTER: Duration = Duration::from_millis(200);
/// How often a pause is described anew to a phone that makes its own noise; AMR wants it at each eighth frame (3GPP TS 26.093).
const DESCRIBE_EVERY: Duration = Duration::from_millis(500);
const DESCRIBE_AMR_EVERY: Duration = Duration::from_millis(160);

impl Leg {
    /// Sends one frame of the mix, unless it is silence and the phone makes its own noise in pauses: then a description now and
    /// then (RFC 3389, G.729 Annex B, RFC 4867).
    pub fn hear(&mut self, frame: &Frame, now: Instant) {
        let ticks = self.clock / 50;
        self.out.speaking = !frame.silent;
        if !frame.silent || !self.pauses() {
            self.out.described = None;
            return self.send(&frame.payload, now);
        }
        let amr = matches!(self.codec(), Codec::Amr | Codec::AmrWb);
        let every = if amr { DESCRIBE_AMR_EVERY } else { DESCRIBE_EVERY };
        // Counted in frames, so that the time stamps stay those of the mix.
        let due =
            self.out.described.is_none() || self.out.unsent + ticks >= (every.as_millis() as u32) * self.clock / 1000;
        match comfort::description(self.codec()).filter(|_| due) {
            Some(description) => {
                self.out.described = Some(now);
                let comfort = self.media.as_ref().and_then(|m| m.comfort_noise);
                self.transmit_sound(&description, comfort, now);
            }
            None => self.out.unsent = self.out.unsent.wrapping_add(ticks),
        }
    }

    /// Whether the phone makes noise of its own while nothing is sent.
    fn pauses(&self) -> bool {
        let Some(media) = &self.media else { return false };
        match media.codec {
            // Every receiver of AMR does (3GPP TS 26.093).
            Codec::Amr | Codec::AmrWb => true,
            // Annex B is agreed unless it is refused (RFC 4856 2.1.9).
            Codec::G729 => !media.fmtp.as_deref().is_some_and(|f| f.replace(' ', "").contains("annexb=no")),
            // A browser names comfort noise in each offer: it is sent its sound all the while, as its statistics are how one sees
            // that a call stands. Opus has no description of pauses.
            Codec::G711A | Codec::G711U | Codec::G722 => {
                media.comfort_noise.is_some() && self.channel.destination().is_none()
            }
            _ => false,
        }
    }

    /// The mode of the codec in which the phone is sent its sound, where it has modes.
    pub fn mode(&self) -> Option<u8> {
        self.rate.now()
    }

    /// The mode in which the phone wants the mix, when it is another one than was told last.
    pub fn wanted_mode(&mut self) -> Option<u8> {
        self.rate.wanted()
    }

    /// Sends one packet of 20 ms of sound in the agreed codec.
    pub fn send(&mut self, payload: &[u8], now: Instant) {
        self.transmit_sound(payload, None, now);
    }

    /// `number`: of comfort noise, where that is not the codec's own.
    fn transmit_sound(&mut self, payload: &[u8], number: Option<u8>, now: Instant) {
        let Some(media) = &self.media else { return };
        if !media.direction.sends() {
            return;
        }
        let Some(to) = self.destination(media) else { return };
        let mut wire = Vec::new();
        let payload = match media.codec {
            Codec::Amr | Codec::AmrWb => {
                if !self.rate.write(payload, &mut wire) {
                    return;
                }
                &wire[..]
            }
            _ => payload,
        };
        let unsent = std::mem::take(&mut self.out.unsent);
        let marker = match self.out.last {
            None => true,
            Some((at, ticks)) => {
                let since = now.saturating_duration_since(at);
                if since > Duration::from_millis(200) && unsent == 0 {
                    // A pause: the clock went on.
                    let passed = (since.as_millis() as u32).wrapping_mul(self.clock / 1000);
                    self.out.timestamp = self.out.timestamp.wrapping_add(passed);
                    true
                } else {
                    self.out.timestamp = self.out.timestamp.wrapping_add(ticks).wrapping_add(unsent);
                    unsent > 0 && self.out.described.is_none()
                }
            }
        };
        let header = RtpHeader {
            marker,
            payload_type: number.unwrap_or(media.payload_type),
            sequence: self.out.sequence,
            timestamp: self.out.timestamp,
            ssrc: self.out.ssrc,
        };
        self.buffer.clear();
        header.write(&mut self.buffer, &[payload]);
        if self.channel.protect(&mut self.buffer, 0).is_err() {
            return;
        }
        self.out.sequence = self.out.sequence.wrapping_add(1);
        self.out.last = Some((now, self.clock / 50));
        // A full socket buffer or an ICMP error loses this packet, as the network might.
        if self.pair.rtp.socket().try_send_to(&self.buffer, to).is_ok() {
            self.out.packets = self.out.packets.wrapping_add(1);
            self.out.octets = self.out.octets.wrapping_add(payload.len() as u32);
            if let Some(m) = &self.metrics {
                m.packets_out.inc();
            }
        }
    }

    pub(super) fn destination(&self, media: &NegotiatedMedia) -> Option<SocketAddr> {
        self.channel.destination().unwrap_or_else(|| self.latch.source().or(media.remote))
    }

    /// Sends silence when nothing else was sent of late; a pause that was described is no reason.
    pub fn fill(&mut self, now: Instant) {
        let patience = match (self.out.described, self.out.speaking) {
            (Some(_), _) => 2 * DESCRIBE_EVERY,
            (None, true) => FILL_SPEECH_AFTER,
            (None, false) => FILL_AFTER,
        };
        if self.out.last.is_none_or(|(at, _)| now.saturating_duration_since(at) >= patience) {
            self.out.described = None;
            self.out.speaking = false;
            self.send_silence(now);
        }
    }

    pub fn send_silence(&mut self, now: Instant) {
        let codec = self.codec();
        self.out.noise = self.out.noise.wrapping_add(1);
        let mode = self.rate.now().unwrap_or(usual_mode(codec));
        if let Some(noise) = comfort::packet(codec, mode, self.out.noise) {
            self.send(&noise, now);
        }
    }
}
