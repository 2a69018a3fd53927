//! Which ids a broadcast is addressed to, in order (reference section 14.1). No I/O.

use bridge_core::{Channel, Device};

use crate::ids;

/// Type code of an audio output.
const LOUDSPEAKER: u16 = 137;

/// The ids to try for a channel's loudspeaker: what worked before, the audio outputs below the channel (or the channel itself, if
/// it is one), those of the device when they hang under no other channel, the camera's channel, the device. `set` replaces
/// them all.
pub fn targets(device: &Device, channel: &str, remembered: Option<&str>, set: &[String]) -> Vec<String> {
    if !set.is_empty() {
        return set.to_vec();
    }
    let own = device.id.name();
    let speaks = |c: &&Channel| ids::type_code(c.id.name()) == Some(LOUDSPEAKER);
    let below = device.channels.iter().filter(speaks).filter(|c| c.parent.as_deref() == Some(channel));
    let loose = device.channels.iter().filter(speaks).filter(|c| {
        let parent = c.parent.as_deref().unwrap_or(own);
        parent == own || !device.channels.iter().any(|other| other.id.name() == parent)
    });
    let names = below.chain(loose).map(|c| c.id.name());
    let mut out: Vec<String> = Vec::new();
    for id in remembered.into_iter().chain(names).chain([channel, own]) {
        if ids::is_id(id) && !out.iter().any(|o| o == id) {
            out.push(id.to_owned());
        }
    }
    // A loudspeaker that was chosen itself comes first.
    if ids::type_code(channel) == Some(LOUDSPEAKER) {
        out.retain(|o| o != channel);
        out.insert(0, channel.to_owned());
    }
    // One recorder with a hundred loudspeakers: those beyond are not this channel's.
    out.truncate(8);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bridge_core::{ChannelId, ChannelKind, DeviceId, DeviceKind};

    const NVR: &str = "34020000001180000002";
    const CAM: &str = "34020000001310000021";
    const OTHER: &str = "34020000001310000022";
    const LOUD: &str = "34020000001370000001";
    const LOUD2: &str = "34020000001370000002";

    fn device(channels: &[(&str, Option<&str>)]) -> Device {
        let id = DeviceId::new("gb28181", NVR);
        let channel = |(name, parent): &(&str, Option<&str>)| Channel {
            id: ChannelId::new(&id, name),
            name: (*name).into(),
            kind: ChannelKind::Video,
            online: true,
            ptz: false,
            parent: parent.map(str::to_owned),
            longitude: None,
            latitude: None,
        };
        Device {
            channels: channels.iter().map(channel).collect(),
            online: true,
            ..Device::new(id.clone(), DeviceKind::Nvr)
        }
    }

    #[test]
    fn the_order_of_the_reference() {
        let d = device(&[(CAM, None), (OTHER, None), (LOUD, Some(CAM)), (LOUD2, Some(OTHER))]);
        assert_eq!(targets(&d, CAM, None, &[]), [LOUD, CAM, NVR]);
        assert_eq!(targets(&d, CAM, Some(NVR), &[]), [NVR, LOUD, CAM]);
        assert_eq!(targets(&d, LOUD2, None, &[]), [LOUD2, NVR]);
        let loose = device(&[(CAM, None), (LOUD, None)]);
        assert_eq!(targets(&loose, CAM, None, &[]), [LOUD, CAM, NVR]);
        assert_eq!(targets(&device(&[(CAM, None)]), CAM, None, &[]), [CAM, NVR]);
        assert_eq!(targets(&device(&[]), NVR, None, &[]), [NVR]);
        assert_eq!(targets(&d, CAM, Some(NVR), &[OTHER.into()]), [OTHER]);
    }
}
