//! The section `phone` of the configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::b2b::Language;
use crate::trunk::{NumberRoute, Toll, TrunkConfig};

/// A hash of the digest (RFC 7616, RFC 8760).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum Digest {
    #[serde(rename = "MD5")]
    Md5,
    #[serde(rename = "SHA-256")]
    Sha256,
}

/// When the sound of a phone is protected by SRTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Srtp {
    /// Never offered by us; what a phone offers is answered.
    Off,
    /// Offered where the signalling is encrypted (TLS, WSS); a phone that refuses it is called again without.
    Offer,
    /// Calls without it are refused, both ways.
    Require,
}

/// Whether keys are listened for in the sound itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InbandDtmf {
    Off,
    /// Where a phone has no telephone events.
    Auto,
    Always,
}

/// In which order the contacts of an account ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ForkOrder {
    /// All at once.
    All,
    /// Those of the highest q (RFC 3261 section 20.10) first, those of the next one when they refuse or let it ring too long.
    ByQ,
}

/// Settings of the phone bridge. All times are in seconds.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Realm of the digest; accounts stored as a hash are bound to it.
    pub realm: String,
    /// Offered in this order. MD5 alone by default: old phones (baresip 1.0 for one) refuse to register at all when a SHA-256
    /// challenge stands beside the MD5 one. An account of which only the MD5 hash is stored is offered MD5 only.
    pub digest: Vec<Digest>,
    /// Lets phones without an account call in. They still need the conference's PIN.
    pub allow_guests: bool,
    /// Lets the hall call any `sip:user@ip:port`, not only registered phones.
    pub allow_dial_uri: bool,
    /// Bounds of a registration.
    pub register_min: u32,
    pub register_max: u32,
    pub register_default: u32,
    /// Contacts of one account; the oldest gives way.
    pub max_contacts: usize,
    /// Seconds between two questions to a phone over UDP behind NAT, whether it is there; 0: none is asked.
    pub ping_interval: u32,
    /// All phones over UDP are asked.
    pub ping_all: bool,
    /// Calls at once, both ways.
    pub max_calls: usize,
    /// Calls at once of one caller.
    pub max_calls_per_caller: usize,
    /// How long a called phone may ring.
    pub ring_timeout: u32,
    pub fork: ForkOrder,
    /// With `by_q`: seconds that contacts of one q may ring before those of the next one are called in their place.
    pub fork_step: u32,
    /// A call whose phone sends nothing for so long is ended; not while it is on hold.
    pub media_timeout: u32,
    /// The most for the picture of a meeting terminal, each way, in kbit/s; its own limit and its level may be lower. 0: no video.
    pub video_kbps: u32,
    /// The PIN is complete this long after its last digit, or with `#`.
    pub pin_digit_timeout: u32,
    /// A caller who presses nothing for so long is sent away.
    pub pin_first_timeout: u32,
    pub pin_tries: u32,
    /// Dialled alone it takes a call that rings in one's pick-up groups, with a number behind it that phone's; empty: none.
    pub pickup_code: String,
    /// In which languages callers of a queue are spoken to, one after the other.
    pub prompts: Vec<Language>,
    /// Patterns of calls that look like a stolen account.
    pub fraud: crate::fraud::FraudConfig,
    /// An outside recorder.
    pub siprec: crate::b2b::SiprecConfig,
    pub srtp: Srtp,
    /// Takes keys that a phone states in signalling that is not encrypted (SDES over UDP or TCP): the sound is then safe only from
    /// those who cannot read the signalling. Else such a call goes unprotected if the phone allows that, or is refused.
    pub srtp_keys_in_clear: bool,
    /// Phones without a codec in common are connected all the same: their sound is decoded and encoded (G.711, G.722, Opus).
    pub transcode: bool,
    /// Calls whose sound is decoded at once.
    pub max_transcoded: usize,
    /// Keys as tones in the sound.
    pub inband_dtmf: InbandDtmf,
    /// Keys of the dial pad that ask for the floor, give it back, and ask for it in an emergency, where one talks at a time.
    pub floor_press: String,
    pub floor_release: String,
    pub floor_emergency: String,
    /// Whom a phone writes to that writes to the hall (MESSAGE): the user part of the URI, letters or digits. Comes before accounts and
    /// conferences of that number. Texts of the hall come from it.
    pub message_number: String,
    /// Texts a minute of one account; more get 480.
    pub messages_per_minute: u32,
    /// Header lines of calls to phones that are only spoken to (emergency broadcasts): what makes them answer by themselves.
    pub auto_answer: Vec<String>,
    /// Both phones hear a tone before an operator comes into their call.
    pub insert_tone: bool,
    /// Ways to other telephone networks.
    pub trunk: Vec<TrunkConfig>,
    /// Which dialled numbers go out, and by which trunks.
    pub route: Vec<NumberRoute>,
    /// Who may call outside numbers.
    pub toll: Vec<Toll>,
    /// Groups of accounts, for `toll`.
    pub groups: BTreeMap<String, Vec<String>>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            realm: "skybridge".to_owned(),
            digest: vec![Digest::Md5],
            allow_guests: false,
            allow_dial_uri: false,
            register_min: 60,
            register_max: 3600,
            register_default: 600,
            max_contacts: 5,
            ping_interval: 30,
            ping_all: false,
            max_calls: 500,
            max_calls_per_caller: 4,
            ring_timeout: 45,
            fork: ForkOrder::All,
            fork_step: 15,
            media_timeout: 60,
            video_kbps: 4000,
            pin_digit_timeout: 8,
            pin_first_timeout: 20,
            pin_tries: 3,
            pickup_code: "*8".to_owned(),
            prompts: vec![Language::Zh, Language::En],
            fraud: Default::default(),
            siprec: Default::default(),
            srtp: Srtp::Offer,
            srtp_keys_in_clear: true,
            transcode: true,
            max_transcoded: 100,
            inband_dtmf: InbandDtmf::Auto,
            floor_press: "*".to_owned(),
            floor_release: "#".to_owned(),
            floor_emergency: "9".to_owned(),
            message_number: "hall".to_owned(),
            messages_per_minute: 60,
            auto_answer: vec![
                "Answer-Mode: Auto".to_owned(),
                "Call-Info: <sip:broadcast@skybridge.invalid>;answer-after=0".to_owned(),
                "Alert-Info: <http://skybridge.invalid>;info=alert-autoanswer;delay=0".to_owned(),
            ],
            insert_tone: true,
            trunk: Vec::new(),
            route: Vec::new(),
            toll: Vec::new(),
            groups: BTreeMap::new(),
        }
    }
}

impl Config {
    /// The realm to which hashed secrets of accounts are bound.
    pub fn realm(&self) -> String {
        self.realm.clone()
    }

    /// All that is wrong, as (key, why).
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut out = Vec::new();
        let mut want = |good: bool, key: &'static str, why: &str| {
            if !good {
                out.push((key, why.to_owned()));
            }
        };
        want(!self.realm.is_empty(), "realm", "must not be empty");
        want(!self.digest.is_empty(), "digest", "needs at least one of \"MD5\" and \"SHA-256\"");
        want(self.register_min <= self.register_max, "register_min", "must not exceed register_max");
        want(
            (self.register_min..=self.register_max).contains(&self.register_default),
            "register_default",
            "must lie between register_min and register_max",
        );
        want(self.max_contacts > 0, "max_contacts", "must be above 0");
        want(self.max_calls > 0, "max_calls", "must be above 0");
        want(self.max_calls_per_caller > 0, "max_calls_per_caller", "must be above 0");
        want(self.ring_timeout > 0, "ring_timeout", "must be above 0");
        want((1..=180).contains(&self.fork_step), "fork_step", "must lie between 1 and 180");
        want(self.media_timeout > 0, "media_timeout", "must be above 0");
        want(
            self.video_kbps == 0 || (64..=20_000).contains(&self.video_kbps),
            "video_kbps",
            "must be 0 (no video) or from 64 to 20000",
        );
        want(self.pin_digit_timeout > 0, "pin_digit_timeout", "must be above 0");
        want(self.pin_first_timeout > 0, "pin_first_timeout", "must be above 0");
        want((1..=2).contains(&self.prompts.len()), "prompts", "needs one or two of \"zh\" and \"en\"");
        let dial = |c: char| c.is_ascii_digit() || c == '*' || c == '#';
        let floor = [&self.floor_press, &self.floor_release, &self.floor_emergency];
        let keys = ["floor_press", "floor_release", "floor_emergency"];
        for (at, (name, key)) in keys.into_iter().zip(floor).enumerate() {
            let one = key.chars().count() == 1 && key.chars().all(dial);
            let alone = floor.iter().take(at).all(|other| *other != key);
            want(one && alone, name, "must be one key of a dial pad (0-9, * or #), and another one than the other two");
        }
        want(
            self.pickup_code.len() <= 8 && self.pickup_code.chars().all(dial),
            "pickup_code",
            "must be up to 8 of 0-9, * and #",
        );
        want(self.pin_tries > 0, "pin_tries", "must be above 0");
        let user = |c: char| c.is_ascii_alphanumeric() || "-._*#".contains(c);
        want(
            (1..=32).contains(&self.message_number.len()) && self.message_number.chars().all(user),
            "message_number",
            "must be 1 to 32 letters, digits or -._*#",
        );
        want((1..=6_000).contains(&self.messages_per_minute), "messages_per_minute", "must lie between 1 and 6000");
        let line = |l: &String| {
            let sound = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let short = l.len() <= 200 && l.bytes().all(|b| (b' '..=b'~').contains(&b));
            short && l.split_once(": ").is_some_and(|(name, value)| sound(name) && !value.trim().is_empty())
        };
        want(
            self.auto_answer.len() <= 8 && self.auto_answer.iter().all(line),
            "auto_answer",
            "has up to 8 lines as \"Name: value\", each of at most 200 ASCII characters",
        );
        want(self.max_transcoded <= 10_000, "max_transcoded", "must be at most 10000");
        out.extend(self.fraud.problems());
        out.extend(self.siprec.problems());
        out.extend(crate::trunk::config::problems(&self.trunk, &self.route, &self.toll, &self.groups));
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_default_is_sound_and_mistakes_are_named() {
        assert!(Config::default().problems().is_empty());
        let bad = Config { register_min: 9000, pin_tries: 0, ..Config::default() };
        let keys: Vec<_> = bad.problems().into_iter().map(|p| p.0).collect();
        assert_eq!(keys, ["register_min", "register_default", "pin_tries"]);
    }
}
