//! What a device can be told and asked, in words that no protocol owns: the hall, its API and its console speak these; each
//! bridge turns them into its own world's messages and says what it cannot do with the fault `not_supported`.
//!
//! The names and ranges are those of GB/T 28181-2022 annex A.2.3 and A.2.4, the widest vocabulary of the worlds we bridge.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::device::{ChannelId, DeviceId};
use crate::settings::{Setting, SettingKind, sound_session};

/// What an order or a question is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Object {
    Device(DeviceId),
    Channel(ChannelId),
}

impl Object {
    /// The device that it is, or that carries it.
    pub fn device(&self) -> DeviceId {
        match self {
            Object::Device(id) => id.clone(),
            Object::Channel(id) => id.device(),
        }
    }

    /// Its own name in its world.
    pub fn name(&self) -> &str {
        match self {
            Object::Device(id) => id.name(),
            Object::Channel(id) => id.name(),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Device(id) => id.fmt(f),
            Object::Channel(id) => id.fmt(f),
        }
    }
}

/// Side of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    Left,
    Right,
}

/// How a target is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tracking {
    Auto,
    /// The target lies in `area`.
    Manual,
    Stop,
}

/// A box drawn into a picture; all in pixels of the window in which it was drawn, whose origin is at the top left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Area {
    /// Size of the window.
    pub window_width: u32,
    pub window_height: u32,
    /// Middle of the box.
    pub x: u32,
    pub y: u32,
    /// Size of the box.
    pub width: u32,
    pub height: u32,
}

/// An order to a channel or a device. Numbers beyond the limits given are refused before anything is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Focus (-1 near, 1 far) and iris (-1 closes, 1 opens) by speed. Both 0 stops; the bridge stops by itself 2 s after the
    /// last repeat.
    Lens {
        focus: f32,
        iris: f32,
    },
    /// Keep the present view as a preset, 1 to 255. The name (at most 32 characters) is kept where the device can.
    PresetSet {
        preset: u8,
        name: Option<String>,
    },
    /// Go to a preset.
    PresetCall {
        preset: u8,
    },
    /// Forget a preset.
    PresetDelete {
        preset: u8,
    },
    /// Append a preset to a cruise, 0 to 255.
    CruiseAdd {
        cruise: u8,
        preset: u8,
        name: Option<String>,
    },
    /// Take a preset out of a cruise; none: the whole cruise.
    CruiseRemove {
        cruise: u8,
        preset: Option<u8>,
    },
    /// Speed of a cruise, 1 to 4095 in the device's own unit.
    CruiseSpeed {
        cruise: u8,
        speed: u16,
    },
    /// Seconds at each point, 1 to 4095.
    CruiseDwell {
        cruise: u8,
        seconds: u16,
    },
    CruiseStart {
        cruise: u8,
    },
    /// Ends any cruise.
    CruiseStop {},
    /// Sweep between the two edges of a scan, 0 to 255.
    ScanStart {
        scan: u8,
    },
    /// The present view is an edge.
    ScanEdge {
        scan: u8,
        edge: Edge,
    },
    /// 1 to 4095 in the device's own unit.
    ScanSpeed {
        scan: u8,
        speed: u16,
    },
    /// Ends any scan.
    ScanStop {},
    /// An auxiliary switch, 1 to 255; 1 is the wiper.
    Switch {
        number: u8,
        on: bool,
    },
    /// Bring what is in the box into the whole picture (`in`), or the whole picture into the box.
    DragZoom {
        #[serde(rename = "in")]
        #[schema(rename = "in")]
        inwards: bool,
        area: Area,
    },
    /// Return to a preset (0 to 255) when nobody has moved the camera for so many seconds.
    HomePosition {
        enabled: bool,
        reset_s: Option<u32>,
        preset: Option<u8>,
    },
    /// Go to an absolute position: pan 0 to 360 clockwise, tilt -90 to 90 with down positive, zoom from 1. What is left out
    /// stays.
    Position {
        pan: Option<f64>,
        tilt: Option<f64>,
        zoom: Option<f64>,
    },
    /// Let the device record by itself; stream 0 is the main one.
    Record {
        on: bool,
        stream: Option<u8>,
    },
    /// Arm or disarm.
    Guard {
        on: bool,
    },
    /// End an alarm. Methods 1 to 7, none means all; `kind` narrows them down.
    AlarmReset {
        #[serde(default)]
        methods: Vec<u8>,
        kind: Option<u8>,
    },
    /// Start the device anew. Dangerous.
    Reboot {},
    /// Format a storage card, from 1; 0 is all. Dangerous.
    FormatCard {
        card: u8,
    },
    /// Follow a target.
    Track {
        mode: Tracking,
        /// The panorama channel in which `area` was drawn.
        panorama: Option<String>,
        area: Option<Area>,
    },
    /// Load firmware. Dangerous. The result comes later, as the device registers again.
    Upgrade {
        firmware: String,
        /// Where the device fetches it.
        url: String,
        manufacturer: String,
        /// 32 to 128 letters, digits and hyphens; none: made by the gateway.
        session: Option<String>,
    },
    /// Change settings. Dangerous when one of them can take the device off line.
    Configure {
        settings: Vec<Setting>,
    },
}

/// Most settings of one order.
pub const MAX_SETTINGS: usize = 16;

fn sound_name(name: &str) -> bool {
    let letters = name.chars().count();
    (1..=32).contains(&letters) && !name.chars().any(char::is_control)
}

impl Area {
    fn problem(&self) -> Option<&'static str> {
        let inside = |at: u32, size: u32| at <= size && (1..=16_384).contains(&size);
        let fits = inside(self.x, self.window_width)
            && inside(self.y, self.window_height)
            && (1..=self.window_width).contains(&self.width)
            && (1..=self.window_height).contains(&self.height);
        (!fits).then_some("the box must lie in a window of 1 to 16384 pixels")
    }
}

impl Order {
    /// The verb of the audit row.
    pub fn verb(&self) -> &'static str {
        match self {
            Order::Lens { .. } => "lens",
            Order::PresetSet { .. } => "preset_set",
            Order::PresetCall { .. } => "preset_call",
            Order::PresetDelete { .. } => "preset_delete",
            Order::CruiseAdd { .. } => "cruise_add",
            Order::CruiseRemove { .. } => "cruise_remove",
            Order::CruiseSpeed { .. } => "cruise_speed",
            Order::CruiseDwell { .. } => "cruise_dwell",
            Order::CruiseStart { .. } => "cruise_start",
            Order::CruiseStop {} => "cruise_stop",
            Order::ScanStart { .. } => "scan_start",
            Order::ScanEdge { .. } => "scan_edge",
            Order::ScanSpeed { .. } => "scan_speed",
            Order::ScanStop {} => "scan_stop",
            Order::Switch { .. } => "switch",
            Order::DragZoom { .. } => "drag_zoom",
            Order::HomePosition { .. } => "home_position",
            Order::Position { .. } => "position",
            Order::Record { .. } => "device_record",
            Order::Guard { .. } => "guard",
            Order::AlarmReset { .. } => "alarm_reset",
            Order::Reboot {} => "reboot",
            Order::FormatCard { .. } => "format_card",
            Order::Track { .. } => "track",
            Order::Upgrade { .. } => "upgrade",
            Order::Configure { .. } => "configure",
        }
    }

    /// Whether it turns the camera or its lens: then only who holds the camera may give it.
    pub fn moves(&self) -> bool {
        matches!(
            self,
            Order::Lens { .. }
                | Order::PresetSet { .. }
                | Order::PresetCall { .. }
                | Order::CruiseStart { .. }
                | Order::CruiseStop {}
                | Order::ScanStart { .. }
                | Order::ScanEdge { .. }
                | Order::ScanStop {}
                | Order::DragZoom { .. }
                | Order::Position { .. }
                | Order::Track { .. }
                | Order::Switch { .. }
        )
    }

    /// Whether it can take the device off line or destroy what it keeps: it is asked for twice.
    pub fn dangerous(&self) -> bool {
        match self {
            Order::Reboot {} | Order::FormatCard { .. } | Order::Upgrade { .. } => true,
            Order::Configure { settings } => settings.iter().any(Setting::dangerous),
            _ => false,
        }
    }

    /// What is wrong with it, in English.
    pub fn problem(&self) -> Option<&'static str> {
        let speed = |v: f32| v.is_finite() && (-1.0..=1.0).contains(&v);
        let unless = |good: bool, why: &'static str| (!good).then_some(why);
        match self {
            Order::Lens { focus, iris } => unless(speed(*focus) && speed(*iris), "focus and iris are from -1 to 1"),
            Order::PresetSet { preset, name } | Order::CruiseAdd { preset, name, .. } => {
                unless(*preset > 0, "a preset is 1 to 255")
                    .or(unless(name.as_deref().is_none_or(sound_name), "a name has 1 to 32 characters on one line"))
            }
            Order::PresetCall { preset } | Order::PresetDelete { preset } => {
                unless(*preset > 0, "a preset is 1 to 255")
            }
            Order::CruiseRemove { preset, .. } => unless(*preset != Some(0), "a preset is 1 to 255"),
            Order::CruiseSpeed { speed: v, .. }
            | Order::ScanSpeed { speed: v, .. }
            | Order::CruiseDwell { seconds: v, .. } => unless((1..=4095).contains(v), "speed and dwell are 1 to 4095"),
            Order::Switch { number, .. } => unless(*number > 0, "a switch is 1 to 255"),
            Order::DragZoom { area, .. } => area.problem(),
            Order::HomePosition { reset_s, .. } => {
                unless(reset_s.is_none_or(|s| (1..=86_400).contains(&s)), "reset_s is 1 to 86400")
            }
            Order::Position { pan, tilt, zoom } => {
                let within =
                    |v: &Option<f64>, low: f64, high: f64| v.is_none_or(|v| v.is_finite() && (low..=high).contains(&v));
                unless(within(pan, 0.0, 360.0), "pan is 0 to 360")
                    .or(unless(within(tilt, -90.0, 90.0), "tilt is -90 to 90"))
                    .or(unless(within(zoom, 1.0, 1000.0), "zoom is 1 to 1000"))
                    .or(unless(pan.is_some() || tilt.is_some() || zoom.is_some(), "give pan, tilt or zoom"))
            }
            Order::Record { stream, .. } => unless(stream.is_none_or(|s| s < 8), "a stream is 0 to 7"),
            Order::AlarmReset { methods, .. } => {
                unless(methods.len() <= 7 && methods.iter().all(|m| (1..=7).contains(m)), "alarm methods are 1 to 7")
            }
            Order::FormatCard { card } => unless(*card <= 8, "a card is 1 to 8, 0 is all"),
            Order::Track { mode, area, panorama } => area
                .and_then(|a| a.problem())
                .or(unless(*mode != Tracking::Manual || area.is_some(), "manual tracking needs an area"))
                .or(unless(panorama.as_deref().is_none_or(|p| p.len() <= 64), "panorama is a channel's id")),
            Order::Upgrade { firmware, url, manufacturer, session } => {
                let short = |t: &str| !t.is_empty() && t.len() <= 256 && !t.chars().any(char::is_control);
                unless(short(firmware) && short(manufacturer), "firmware and manufacturer have 1 to 256 bytes")
                    .or(unless(
                        short(url) && ["http://", "https://", "ftp://"].iter().any(|s| url.starts_with(s)),
                        "url begins with http://, https:// or ftp://",
                    ))
                    .or(unless(
                        session.as_deref().is_none_or(sound_session),
                        "session has 32 to 128 letters, digits or hyphens",
                    ))
            }
            Order::Configure { settings } => {
                unless((1..=MAX_SETTINGS).contains(&settings.len()), "give 1 to 16 settings")
                    .or_else(|| settings.iter().find_map(Setting::problem))
            }
            Order::CruiseStart { .. }
            | Order::CruiseStop {}
            | Order::ScanStart { .. }
            | Order::ScanEdge { .. }
            | Order::ScanStop {}
            | Order::Guard { .. }
            | Order::Reboot {} => None,
        }
    }
}

/// How far an order is known to have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// The device said that it did it.
    Confirmed,
    /// The device took the message; its protocol has no word for the result.
    Sent,
    /// The device took the message and owes a word that did not come in time.
    Unknown,
}

impl Done {
    pub fn as_str(self) -> &'static str {
        match self {
            Done::Confirmed => "confirmed",
            Done::Sent => "sent",
            Done::Unknown => "unknown",
        }
    }
}

/// A question to a channel or a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    Info {},
    Status {},
    Presets {},
    /// The list of cruises.
    Cruises {},
    /// The points of one cruise, from 0.
    Cruise {
        number: u8,
    },
    Home {},
    /// Where the camera looks.
    Position {},
    Cards {},
    /// Settings by kind; an empty list asks for all that the device's edition knows.
    Settings {
        #[serde(default)]
        kinds: Vec<SettingKind>,
    },
}

impl Query {
    pub fn verb(&self) -> &'static str {
        match self {
            Query::Info {} => "info",
            Query::Status {} => "status",
            Query::Presets {} => "presets",
            Query::Cruises {} => "cruises",
            Query::Cruise { .. } => "cruise",
            Query::Home {} => "home",
            Query::Position {} => "position",
            Query::Cards {} => "cards",
            Query::Settings { .. } => "settings",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preset {
    pub preset: u8,
    /// Empty where nobody gave one.
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CruiseItem {
    pub number: u8,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CruisePoint {
    pub preset: u8,
    pub stay_s: Option<u32>,
    pub speed: Option<u16>,
}

/// A storage card or disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Card {
    pub id: u8,
    pub name: String,
    /// `ok`, `formatting`, `unformatted`, `idle`, `error`, or what the device wrote.
    pub status: String,
    pub format_percent: Option<u8>,
    pub capacity_mb: Option<u64>,
    pub free_mb: Option<u64>,
}

/// An alarm part of a device, and whether it is armed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Duty {
    pub id: String,
    /// `ONDUTY`, `OFFDUTY`, `ALARM`.
    pub duty: String,
}

/// What a device said. What it left out is none or empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Info {
        name: String,
        manufacturer: String,
        model: String,
        firmware: String,
        channels: Option<u32>,
    },
    Status {
        online: Option<bool>,
        ok: Option<bool>,
        reason: String,
        encoding: Option<bool>,
        recording: Option<bool>,
        /// The device's own clock as it wrote it, local time without zone.
        clock: String,
        duties: Vec<Duty>,
    },
    /// `complete` is false when the device announced more than came.
    Presets {
        items: Vec<Preset>,
        complete: bool,
    },
    Cruises {
        items: Vec<CruiseItem>,
        complete: bool,
    },
    Cruise {
        number: u8,
        name: String,
        points: Vec<CruisePoint>,
        complete: bool,
    },
    Home {
        enabled: Option<bool>,
        reset_s: Option<u32>,
        preset: Option<u8>,
    },
    /// Degrees and factors as in [`Order::Position`]; angles of view in degrees, range in metres.
    Position {
        pan: Option<f64>,
        tilt: Option<f64>,
        zoom: Option<f64>,
        horizontal_angle: Option<f64>,
        vertical_angle: Option<f64>,
        range_m: Option<f64>,
    },
    Cards {
        items: Vec<Card>,
        complete: bool,
    },
    /// `missing`: kinds that were asked for and did not come, or that the device refused.
    Settings {
        items: Vec<Setting>,
        missing: Vec<SettingKind>,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn order(text: &str) -> Result<Order, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn orders_are_strict() {
        assert_eq!(order(r#"{"do":"reboot"}"#).unwrap(), Order::Reboot {});
        assert!(order(r#"{"do":"reboot","now":true}"#).is_err(), "unknown fields are refused");
        assert!(order(r#"{"do":"explode"}"#).is_err());
        assert_eq!(order(r#"{"do":"preset_set","preset":3,"name":"大门"}"#).unwrap().problem(), None);
        assert!(order(r#"{"do":"preset_set","preset":0}"#).unwrap().problem().is_some());
        assert!(order(r#"{"do":"preset_set","preset":300}"#).is_err());
        assert!(order(r#"{"do":"lens","focus":2,"iris":0}"#).unwrap().problem().is_some());
        assert!(order(r#"{"do":"position"}"#).unwrap().problem().is_some());
        let box_out = r#"{"do":"drag_zoom","in":true,"area":{"window_width":10,"window_height":10,"x":11,"y":1,"width":1,"height":1}}"#;
        assert!(order(box_out).unwrap().problem().is_some());
    }

    #[test]
    fn dangerous_ones_are_known() {
        for (text, dangerous) in [
            (r#"{"do":"reboot"}"#, true),
            (r#"{"do":"format_card","card":0}"#, true),
            (r#"{"do":"guard","on":true}"#, false),
            (r#"{"do":"configure","settings":[{"kind":"frame_mirror","mirror":"both"}]}"#, false),
            (r#"{"do":"configure","settings":[{"kind":"basic","name":"x"}]}"#, false),
            (r#"{"do":"configure","settings":[{"kind":"basic","heartbeat_interval_s":20}]}"#, true),
        ] {
            assert_eq!(order(text).unwrap().dangerous(), dangerous, "{text}");
        }
    }
}
