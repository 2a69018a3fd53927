//! The sub-stream of a channel: a stream id of its own, and how a device is asked for it (reference section 12.1).

use bridge_core::ChannelId;
use media_hub::StreamId;

use crate::config::Config;
use crate::edition::Edition;
use crate::quirks::Profile;

/// What the id of a channel's stream has at its end when the sub-stream is meant.
pub const SUFFIX: &str = "~sub";

/// The channel of a stream, and whether its sub-stream is meant.
pub fn split(stream: &StreamId) -> (ChannelId, bool) {
    match stream.as_str().strip_suffix(SUFFIX) {
        Some(channel) => (ChannelId(channel.to_owned()), true),
        None => (ChannelId(stream.as_str().to_owned()), false),
    }
}

/// The `a=` line that asks for the sub-stream: by the device's own setting or its quirks, the standard's `streamnumber:1` for a
/// device of the 2022 edition, else the section's setting. `single`: its catalog says that there is none. None: it cannot be
/// asked for.
pub fn attribute(config: &Config, profile: &Profile, edition: Option<Edition>, single: bool) -> Option<String> {
    if let Some(own) = profile.sub_stream.as_deref() {
        // An empty one says that the device has none.
        return line(own);
    }
    if single {
        return None;
    }
    if edition.is_some_and(|e| e >= Edition::V2022) {
        return Some("streamnumber:1".into());
    }
    line(&config.media.sub_stream)
}

/// The `a=` line for the main stream, where a device wants one.
pub fn main_attribute(profile: &Profile) -> Option<String> {
    profile.main_stream.as_deref().and_then(line)
}

fn line(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_attributes() {
        let id = "34020000001320000001";
        let stream = StreamId::new(format!("gb28181:{id}/{id}~sub"));
        assert_eq!(split(&stream), (ChannelId(format!("gb28181:{id}/{id}")), true));
        assert_eq!(split(&StreamId::new("gb28181:a/b")), (ChannelId("gb28181:a/b".into()), false));
        let mut config = Config::default();
        let new = Some(Edition::V2022);
        let of = |config: &Config, edition| attribute(config, &Profile::of_config(config, id), edition, false);
        assert_eq!(of(&config, new).as_deref(), Some("streamnumber:1"));
        assert_eq!(of(&config, None), None);
        config.media.sub_stream = "stream:1".into();
        assert_eq!(of(&config, None).as_deref(), Some("stream:1"));
        assert_eq!(attribute(&config, &Profile::default(), new, true), None, "its catalog says so");
        config.devices.entry(id.into()).or_default().sub_stream = Some("streamMode:SUB".into());
        assert_eq!(of(&config, new).as_deref(), Some("streamMode:SUB"));
        let own = Profile::of_config(&config, id);
        assert!(attribute(&config, &own, new, true).is_some(), "the operator's word before the catalog's");
        config.devices.entry(id.into()).or_default().sub_stream = Some(String::new());
        assert_eq!(of(&config, new), None);
    }
}
