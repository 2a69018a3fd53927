//! The 20-digit identifier (GB/T 28181-2022 annex E; reference section 2).

use bridge_core::{ChannelKind, DeviceKind};

/// Digits of an identifier.
pub const ID_LEN: usize = 20;

/// Whether this is a 20-digit identifier.
pub fn is_id(text: &str) -> bool {
    text.len() == ID_LEN && text.bytes().all(|b| b.is_ascii_digit())
}

/// The id, or a bare administrative code of 2, 4, 6 or 8 digits (clause 2.1): what may stand in a `DeviceID` element.
pub fn is_device_id(text: &str) -> bool {
    is_id(text) || (matches!(text.len(), 2 | 4 | 6 | 8) && text.bytes().all(|b| b.is_ascii_digit()))
}

/// Digits 11 to 13: what kind of thing it is; none for anything but a 20-digit id.
pub fn type_code(id: &str) -> Option<u16> {
    if !is_id(id) {
        return None;
    }
    id.get(10..13)?.parse().ok()
}

/// The usual SIP domain and digest realm: the first ten digits.
pub fn domain_of(id: &str) -> &str {
    id.get(..10).unwrap_or(id)
}

/// What a registering id is. A device that is none of the known kinds is shown as a camera, for drones and body cams come
/// with many codes.
pub fn device_kind(id: &str) -> DeviceKind {
    match type_code(id) {
        Some(111 | 112 | 113 | 118 | 122 | 130) => DeviceKind::Nvr,
        Some(114..=117 | 133..=137 | 139..=199) => DeviceKind::Other,
        Some(200..=299 | 500..=599) => DeviceKind::Platform,
        _ => DeviceKind::Camera,
    }
}

/// What a catalog item is: `video` lists the codes that may be invited, 137 is a loudspeaker and 136 a microphone; groups
/// (215), organisations (216), regions, systems and all else are shown in the tree only.
pub fn channel_kind(id: &str, video: &[u16]) -> ChannelKind {
    match type_code(id) {
        Some(code) if video.contains(&code) => ChannelKind::Video,
        Some(136 | 137) => ChannelKind::Audio,
        _ => ChannelKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_kinds() {
        assert!(is_id("34020000001320000001") && !is_id("3402000000132000000") && !is_id("3402000000132000000x"));
        assert!(is_device_id("3402") && is_device_id("34020000") && !is_device_id("340"));
        assert_eq!(type_code("34020000001180000002"), Some(118));
        assert_eq!(domain_of("34020000002000000001"), "3402000000");
        assert_eq!(device_kind("34020000001180000002"), DeviceKind::Nvr);
        assert_eq!(device_kind("34020000001320000002"), DeviceKind::Camera);
        assert_eq!(device_kind("34020000001380000002"), DeviceKind::Camera);
        assert_eq!(device_kind("34020000002000000002"), DeviceKind::Platform);
        let video = [131, 132];
        assert_eq!(channel_kind("34020000001310000001", &video), ChannelKind::Video);
        assert_eq!(channel_kind("34020000001370000001", &video), ChannelKind::Audio);
        assert_eq!(channel_kind("34020000002160000001", &video), ChannelKind::Other);
        assert_eq!(channel_kind("340200", &video), ChannelKind::Other);
        assert_eq!(channel_kind("34020000001380000001", &[131, 132, 138]), ChannelKind::Video);
    }
}
