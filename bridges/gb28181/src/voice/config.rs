//! What can be set for voice to devices.

use serde::{Deserialize, Serialize};

use crate::config::MediaTransport;

/// The section `gb28181.voice`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Voice {
    /// 20-digit id that devices are told to call (`SourceID`); empty: `server_id`.
    pub source_id: String,
    /// For devices without a setting of their own.
    pub mode: Mode,
    pub duplex: Duplex,
    /// Sound in one packet, in milliseconds: 20 to 180 in steps of 20.
    pub packet_ms: u32,
    /// How long a half-duplex device's own sound is kept out of the mix after the hall has stopped talking (which shows 400 ms
    /// after the last word): the time from our packet to its echo in our mix. Milliseconds.
    pub echo_ms: u32,
    /// Seconds to the business answer of a broadcast.
    pub response: u32,
    /// Seconds from that answer to the device's INVITE.
    pub invite: u32,
    /// Seconds to the device's ACK.
    pub ack: u32,
    /// Loudspeakers at once.
    pub max_talks: usize,
    /// What a device hears that calls by itself. The hall is told in any case.
    pub device_calls: DeviceCalls,
}

impl Default for Voice {
    fn default() -> Self {
        Voice {
            source_id: String::new(),
            mode: Mode::Broadcast,
            duplex: Duplex::Half,
            packet_ms: 20,
            echo_ms: 800,
            response: 5,
            invite: 10,
            ack: 10,
            max_talks: 256,
            device_calls: DeviceCalls::Busy,
        }
    }
}

/// How a loudspeaker is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// We notify, the device invites us (both editions).
    Broadcast,
    /// We invite the device with `s=Talk` (2016 only, removed in 2022).
    Talk,
}

/// Whether a device may be heard while its loudspeaker speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplex {
    /// Its microphone hears its loudspeaker: while the hall talks, its sound is kept out of the mix.
    Half,
    /// It cancels its own echo.
    Full,
}

/// The answer to a call that a device makes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceCalls {
    /// 486: the device may try again.
    Busy,
    /// 603: it shall not.
    Decline,
}

/// `gb28181.devices.ID.voice`: what one device needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceVoice {
    pub mode: Option<Mode>,
    pub duplex: Option<Duplex>,
    pub packet_ms: Option<u32>,
    pub echo_ms: Option<u32>,
    /// Way of the media when we invite (`mode = "talk"`); in a broadcast the device chooses.
    pub transport: Option<MediaTransport>,
    /// Ids to broadcast to, in this order, in place of the usual ones.
    pub targets: Vec<String>,
}

/// What holds for one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub mode: Mode,
    pub packet_ms: u32,
    /// None: full duplex.
    pub echo_ms: Option<u32>,
}

fn good_packet(ms: u32) -> bool {
    (20..=180).contains(&ms) && ms.is_multiple_of(20)
}

impl Voice {
    pub(crate) fn rules(&self, own: Option<&DeviceVoice>) -> Rules {
        let duplex = own.and_then(|o| o.duplex).unwrap_or(self.duplex);
        let echo_ms = own.and_then(|o| o.echo_ms).unwrap_or(self.echo_ms);
        Rules {
            mode: own.and_then(|o| o.mode).unwrap_or(self.mode),
            packet_ms: own.and_then(|o| o.packet_ms).unwrap_or(self.packet_ms),
            echo_ms: (duplex == Duplex::Half).then_some(echo_ms),
        }
    }

    /// All that is wrong, as `key: why`.
    pub(crate) fn problems(&self, devices: impl Iterator<Item = (String, DeviceVoice)>) -> Vec<String> {
        let mut out = Vec::new();
        let mut want = |good: bool, text: String| {
            if !good {
                out.push(text);
            }
        };
        let id = |id: &str| crate::ids::is_id(id);
        want(self.source_id.is_empty() || id(&self.source_id), "voice.source_id: must be empty or 20 digits".into());
        want(good_packet(self.packet_ms), "voice.packet_ms: 20 to 180 in steps of 20".into());
        want(self.echo_ms <= 10_000, "voice.echo_ms: at most 10000".into());
        want(
            self.response > 0 && self.invite > 0 && self.ack > 0,
            "voice.response, voice.invite, voice.ack: at least 1".into(),
        );
        for (device, own) in devices {
            let key = format!("devices.{device}.voice");
            want(own.packet_ms.is_none_or(good_packet), format!("{key}.packet_ms: 20 to 180 in steps of 20"));
            want(own.echo_ms.is_none_or(|e| e <= 10_000), format!("{key}.echo_ms: at most 10000"));
            want(own.targets.len() <= 8 && own.targets.iter().all(|t| id(t)), format!("{key}.targets: at most 8 ids"));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_overrides_the_section_and_mistakes_are_named() {
        let section = Voice::default();
        let usual = Rules { mode: Mode::Broadcast, packet_ms: 20, echo_ms: Some(800) };
        assert_eq!(section.rules(None), usual);
        let own = DeviceVoice { mode: Some(Mode::Talk), duplex: Some(Duplex::Full), ..DeviceVoice::default() };
        assert_eq!(section.rules(Some(&own)), Rules { mode: Mode::Talk, echo_ms: None, ..usual });
        let wrong = Voice { packet_ms: 30, source_id: "7".into(), response: 0, ..Voice::default() };
        let bad = DeviceVoice { targets: vec!["x".into()], ..DeviceVoice::default() };
        assert_eq!(wrong.problems([("1".to_owned(), bad)].into_iter()).len(), 4);
        assert!(section.problems(std::iter::empty()).is_empty());
    }
}
