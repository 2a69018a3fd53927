//! The codecs of a conference leg: their order, the modes of AMR, and keys heard in the sound itself.

use std::sync::Mutex;

use bytes::Bytes;
use media_core::amr::{self, Form, Terms};
use media_core::phone::{NegotiatedMedia, PhoneCodec};
use media_core::tones::{Tone, ToneDetector};
use media_core::{Codec, TrackInfo, g711};
use media_hub::audio::{Decoder, RATE, Resampler, usual_mode};

/// What is taken from an offer, best first: wide band that costs little before narrow band, then what costs more to make.
const ORDER: [Codec; 7] = [Codec::G722, Codec::G711A, Codec::G711U, Codec::Opus, Codec::AmrWb, Codec::Amr, Codec::G729];

/// The codecs that phones are offered; `first` is the one in use.
pub(crate) fn codecs(first: Codec) -> Vec<PhoneCodec> {
    let rest = ORDER.into_iter().filter(|c| *c != first);
    let mut all: Vec<PhoneCodec> =
        ORDER.into_iter().filter(|c| *c == first).chain(rest).flat_map(PhoneCodec::forms).collect();
    all.push(PhoneCodec::usual(Codec::ComfortNoise));
    all
}

/// The codecs of our offers. Of AMR, where it is not in use, the framing that RFC 4867 takes for granted, without parameters: an
/// INVITE that asks for sound alone has to fit into a datagram of 1,300 bytes (RFC 3261 18.1.1).
pub(crate) fn offered_sound(first: Codec) -> Vec<PhoneCodec> {
    let amr = |c: &PhoneCodec| c.codec != first && matches!(c.codec, Codec::Amr | Codec::AmrWb);
    let aligned = |c: &PhoneCodec| c.fmtp.as_ref().is_some_and(|f| f.contains("octet-align"));
    let mut all = codecs(first);
    all.retain(|c| !(amr(c) && aligned(c)));
    all.iter_mut().filter(|c| amr(c)).for_each(|c| c.fmtp = None);
    all
}

/// Those of our offers with a picture: the forms of H.264 as well.
pub(crate) fn offered(first: Codec) -> Vec<PhoneCodec> {
    offered_sound(first).into_iter().chain(PhoneCodec::pictures()).collect()
}

/// The codecs for one that is only spoken to: what loudspeakers and phones know. The header lines that make it answer by itself
/// need the room of the others in a datagram.
pub(crate) fn announced(first: Codec) -> Vec<PhoneCodec> {
    let known = [Codec::G722, Codec::G711A, Codec::G711U, Codec::Opus];
    codecs(first).into_iter().filter(|c| c.codec == first || known.contains(&c.codec)).collect()
}

/// All that an offer of ours may have held.
pub(crate) fn offerable(first: Codec) -> Vec<PhoneCodec> {
    codecs(first).into_iter().chain(PhoneCodec::pictures()).collect()
}

/// The modes of AMR in one call: what may be sent, what the phone asks for, what was told to the mixer (RFC 4867 8.1, 3.3).
#[derive(Debug, Default)]
pub(crate) struct Rate {
    agreed: Option<(Form, Terms)>,
    /// The mode that the phone asked for last.
    asked: Option<u8>,
    /// The mode that the mixer was told.
    told: Option<u8>,
    sent: Option<u8>,
}

impl Rate {
    /// Takes what was agreed on; a codec without modes has none.
    pub fn agree(&mut self, media: &NegotiatedMedia) {
        self.agreed = matches!(media.codec, Codec::Amr | Codec::AmrWb).then(|| {
            let terms = Terms::parse(media.fmtp.as_deref());
            (Form { wide: media.codec == Codec::AmrWb, aligned: terms.aligned }, terms)
        });
        (self.asked, self.told) = (None, None);
    }

    /// The mode in which the phone is to be sent its sound.
    pub fn now(&self) -> Option<u8> {
        let (form, terms) = self.agreed.as_ref()?;
        let usual = usual_mode(if form.wide { Codec::AmrWb } else { Codec::Amr });
        let wanted = terms.mode(form.wide, self.asked.unwrap_or(usual));
        match self.sent.filter(|_| terms.neighbour) {
            // One step at a time.
            Some(sent) if wanted > sent => (sent + 1..=wanted).find(|m| terms.allows(form.wide, *m)),
            Some(sent) if wanted < sent => (wanted..sent).rev().find(|m| terms.allows(form.wide, *m)),
            _ => Some(wanted),
        }
    }

    /// As `now`, once for each change.
    pub fn wanted(&mut self) -> Option<u8> {
        let now = self.now();
        if now == self.told {
            return None;
        }
        self.told = now;
        now
    }

    /// A payload of the phone in the form that is used inside, and its frames.
    pub fn read(&mut self, payload: &[u8]) -> Option<(Bytes, u32)> {
        let (form, _) = self.agreed.as_ref()?;
        let mut stored = Vec::with_capacity(payload.len() + 1);
        let (request, frames) = amr::unpack(*form, payload, &mut stored).ok()?;
        if request < amr::sid(form.wide) {
            self.asked = Some(request);
        }
        Some((stored.into(), frames as u32))
    }

    /// Writes a frame of the mix for the phone. False: it is in a mode that must not be sent, as before the mixer has changed it.
    pub fn write(&mut self, stored: &[u8], out: &mut Vec<u8>) -> bool {
        let Some((form, terms)) = &self.agreed else { return false };
        let mut rest = stored;
        let Some(first) = amr::next_stored(form.wide, &mut rest) else { return false };
        if first.kind < amr::sid(form.wide) {
            if !terms.allows(form.wide, first.kind) {
                return false;
            }
            self.sent = Some(first.kind);
        }
        amr::pack(*form, amr::NO_REQUEST, stored, out) > 0
    }
}

/// Looks for keys in the sound, whatever its codec.
#[derive(Default)]
pub(crate) struct KeyEar {
    tones: ToneDetector,
    /// Of a codec that is not G.711: its decoder, and the way down to 8 kHz. Never locked: the lock makes it one that threads may
    /// share, which the decoder of Opus is not.
    way: Option<Mutex<(Codec, Decoder, Resampler)>>,
    wide: Vec<f32>,
    narrow: Vec<f32>,
    linear: Vec<i16>,
}

impl KeyEar {
    /// Takes a packet; `heard` is told of each key.
    pub fn push(&mut self, codec: Codec, payload: &[u8], heard: impl FnMut(Tone)) {
        self.linear.clear();
        if matches!(codec, Codec::G711A | Codec::G711U) {
            g711::decode(codec == Codec::G711A, payload, &mut self.linear);
        } else {
            if self.way.as_mut().and_then(|w| w.get_mut().ok()).is_none_or(|w| w.0 != codec) {
                let decoder = Decoder::new(&TrackInfo::audio(codec, codec.clock(), 1)).ok();
                self.way = decoder.map(|d| Mutex::new((codec, d, Resampler::new(RATE, 8000))));
            }
            let Some((_, decoder, down)) = self.way.as_mut().and_then(|w| w.get_mut().ok()) else { return };
            self.wide.clear();
            self.narrow.clear();
            if decoder.decode(payload, &mut self.wide).is_err() {
                return;
            }
            down.process(&self.wide, &mut self.narrow);
            self.linear.extend(self.narrow.iter().map(|s| (s * 32768.0).clamp(-32768.0, 32767.0) as i16));
        }
        self.tones.push(&self.linear, heard);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use media_core::phone::{LocalMedia, phone_answer, phone_offer, phone_read_answer};
    use media_core::sdp::Sdp;

    fn offer(lines: &str) -> Sdp {
        Sdp::parse(format!("v=0\nc=IN IP4 9.9.9.9\n{lines}").as_bytes()).unwrap()
    }

    fn answer(lines: &str) -> (NegotiatedMedia, String) {
        let local = LocalMedia::audio("10.0.0.5".parse().unwrap(), 30_000);
        let a = phone_answer(&offer(lines), &local, &codecs(Codec::G711A)).unwrap();
        (a.audio, a.sdp.to_string())
    }

    #[test]
    fn amr_is_answered_in_the_form_of_the_offer_and_its_modes_are_kept() {
        let (m, text) = answer("m=audio 4000 RTP/AVP 96\na=rtpmap:96 AMR/8000\na=fmtp:96 mode-set=0,2,4; crc=0\n");
        assert!(text.contains("a=fmtp:96 mode-set=0,2,4\r\n") && !text.contains("octet-align"), "{text}");
        let mut rate = Rate::default();
        rate.agree(&m);
        assert_eq!(rate.wanted(), Some(4), "the best of the set");
        assert_eq!(rate.wanted(), None, "told once");
        // A request for mode 3 (bandwidth-efficient, CMR in the first 4 bits), with a frame of mode 0.
        let stored: Vec<u8> = std::iter::once(amr::stored_head(0, true)).chain([0; 12]).collect();
        let mut wire = Vec::new();
        amr::pack(Form { wide: false, aligned: false }, 3, &stored, &mut wire);
        assert_eq!(rate.read(&wire).unwrap(), (stored.clone().into(), 1));
        assert_eq!(rate.wanted(), Some(2), "the next lower one of the set");
        assert!(rate.write(&stored, &mut Vec::new()));
        let high: Vec<u8> = std::iter::once(amr::stored_head(7, true)).chain([0; 31]).collect();
        assert!(!rate.write(&high, &mut Vec::new()), "12.2 kbit/s is not in the set");
        let (_, text) = answer("m=audio 4000 RTP/AVP 97\na=rtpmap:97 AMR-WB/16000\na=fmtp:97 octet-align=1\n");
        assert!(text.contains("a=fmtp:97 octet-align=1\r\n"), "{text}");
        let crc = "m=audio 4000 RTP/AVP 96 8\na=rtpmap:96 AMR/8000\na=fmtp:96 crc=1\n";
        assert_eq!(answer(crc).0.codec, Codec::G711A, "what is not done here is not taken");
    }

    #[test]
    fn a_step_at_a_time_where_the_phone_wants_it_so() {
        let (m, _) =
            answer("m=audio 4000 RTP/AVP 96\na=rtpmap:96 AMR/8000\na=fmtp:96 mode-set=0,4,7;mode-change-neighbor=1\n");
        let mut rate = Rate::default();
        rate.agree(&m);
        (rate.sent, rate.asked) = (Some(7), Some(0));
        assert_eq!(rate.now(), Some(4));
        rate.sent = Some(4);
        assert_eq!(rate.now(), Some(0));
    }

    #[test]
    fn comfort_noise_and_annex_b_are_agreed_on_or_not() {
        assert_eq!(answer("m=audio 4000 RTP/AVP 8 13\n").0.comfort_noise, Some(13));
        assert_eq!(answer("m=audio 4000 RTP/AVP 8\n").0.comfort_noise, None);
        let (_, text) = answer("m=audio 4000 RTP/AVP 18\na=fmtp:18 annexb=no\n");
        assert!(text.contains("a=fmtp:18 annexb=no"), "{text}");
        let sound =
            phone_offer(&LocalMedia::audio("192.168.100.200".parse().unwrap(), 30_000), &offered_sound(Codec::G711A));
        assert!(sound.to_string().len() < 640, "with the heads of an INVITE it fits into a datagram: {sound}");
        let all = offered(Codec::G711A);
        let ours = phone_offer(&LocalMedia::audio("10.0.0.5".parse().unwrap(), 30_000), &all);
        assert_eq!(ours.media[0].formats[0], "8", "what is in use stays first");
        let theirs = "m=audio 6000 RTP/AVP 99 98\na=rtpmap:99 AMR-WB/16000\na=rtpmap:98 telephone-event/16000\n";
        let (m, _) = phone_read_answer(&ours, &offer(theirs), &all).unwrap();
        assert_eq!((m.codec, m.payload_type, m.receive_payload_type), (Codec::AmrWb, 99, 113), "bandwidth-efficient");
        let events = m.receive_telephone_event.unwrap().to_string();
        assert!(ours.to_string().contains(&format!("a=rtpmap:{events} telephone-event/16000")), "{ours}");
    }

    /// What makes a phone answer by itself takes no more room than the codecs that are left out for it.
    #[test]
    fn an_announcement_fits_into_a_datagram() {
        let local = LocalMedia::audio("192.168.100.200".parse().unwrap(), 30_000);
        let length = |codecs: &[PhoneCodec]| phone_offer(&local, codecs).to_string().len();
        let lines: usize = crate::Config::default().auto_answer.iter().map(|l| l.len() + 2).sum();
        let (sound, announcement) = (length(&offered_sound(Codec::G711A)), length(&announced(Codec::G711A)));
        assert!(announcement + lines <= sound, "{announcement} and {lines}, {sound}");
    }
}
