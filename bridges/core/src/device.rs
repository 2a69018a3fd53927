//! Devices, and the channels that they offer.

use std::fmt;

use media_hub::{StreamId, Text};
use serde::{Deserialize, Serialize};

/// An instant on the wall clock, in milliseconds since 1970 UTC; RFC 3339 in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn now() -> Self {
        Timestamp(jiff::Timestamp::now().as_millisecond())
    }

    /// The hour of the machine's own clock, 0 to 23.
    pub fn local_hour(self) -> u32 {
        let zoned = jiff::Timestamp::from_millisecond(self.0).map(|at| at.to_zoned(jiff::tz::TimeZone::system()));
        zoned.map_or(0, |at| u32::from(at.hour().unsigned_abs()))
    }

    pub fn plus_seconds(self, seconds: u32) -> Self {
        Timestamp(self.0.saturating_add(i64::from(seconds) * 1000))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => f.write_str("1970-01-01T00:00:00.000Z"),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Timestamp(at.as_millisecond()))
    }
}

/// `BRIDGE:NAME`, as in `gb28181:34020000001320000001` or `phone:8001`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceId(pub String);

impl DeviceId {
    pub fn new(bridge: &str, name: &str) -> Self {
        DeviceId(format!("{bridge}:{name}"))
    }

    /// The part before the colon.
    pub fn bridge(&self) -> &str {
        self.0.split_once(':').map_or("", |(bridge, _)| bridge)
    }

    /// The part after the colon: the device's own name in its world.
    pub fn name(&self) -> &str {
        self.0.split_once(':').map_or(self.0.as_str(), |(_, name)| name)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `BRIDGE:DEVICE/CHANNEL`. It is also the id of the channel's live stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChannelId(pub String);

impl ChannelId {
    pub fn new(device: &DeviceId, channel: &str) -> Self {
        ChannelId(format!("{device}/{channel}"))
    }

    pub fn device(&self) -> DeviceId {
        DeviceId(self.0.split_once('/').map_or(self.0.clone(), |(device, _)| device.to_owned()))
    }

    /// The channel's own name in its world.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    pub fn stream(&self) -> StreamId {
        StreamId::new(&self.0)
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    Camera,
    Nvr,
    Phone,
    Platform,
    /// A gateway to radios; its groups are its channels.
    Radio,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    Video,
    Audio,
    /// An alarm input, a group, an organisation: shown in the tree, not watchable.
    Other,
}

/// What registered with us.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    pub id: DeviceId,
    pub name: String,
    pub kind: DeviceKind,
    pub online: bool,
    pub manufacturer: String,
    pub model: String,
    pub firmware: String,
    /// Edition of its protocol in words: `GB/T 28181-2016`.
    pub version: String,
    /// `udp`, `tcp`, `tls`.
    pub transport: String,
    /// Where its signalling comes from.
    pub address: String,
    pub registered_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub last_seen_at: Option<Timestamp>,
    #[serde(skip_deserializing)]
    pub offline_reason: Option<Text>,
    pub channels: Vec<Channel>,
    /// What only the bridge understands and needs after a restart. Never shown.
    #[serde(skip)]
    pub private: serde_json::Value,
}

impl Device {
    /// A device of which nothing else is known yet.
    pub fn new(id: DeviceId, kind: DeviceKind) -> Self {
        Device {
            id,
            name: String::new(),
            kind,
            online: false,
            manufacturer: String::new(),
            model: String::new(),
            firmware: String::new(),
            version: String::new(),
            transport: String::new(),
            address: String::new(),
            registered_at: None,
            expires_at: None,
            last_seen_at: None,
            offline_reason: None,
            channels: Vec::new(),
            private: serde_json::Value::Null,
        }
    }

    /// Its name, or its id as long as it has told none.
    pub fn shown_name(&self) -> &str {
        if self.name.is_empty() { self.id.name() } else { &self.name }
    }

    /// The bridge that serves it.
    pub fn bridge(&self) -> &str {
        self.id.bridge()
    }
}

/// What a device offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    pub id: ChannelId,
    pub name: String,
    pub kind: ChannelKind,
    pub online: bool,
    pub ptz: bool,
    /// The channel or group above it in the device's own tree.
    pub parent: Option<String>,
    pub longitude: Option<f64>,
    pub latitude: Option<f64>,
}
