//! Settings of a device that can be read and changed (GB/T 28181-2022 annex A.2.3.2 and A.2.4.7).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// 32 to 128 letters, digits and hyphens (GB/T 28181-2022 annex A.2.1, session ids).
pub fn sound_session(id: &str) -> bool {
    (32..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The kinds of [`Setting`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingKind {
    Basic,
    /// Read only.
    VideoOptions,
    VideoParameters,
    RecordPlan,
    AlarmRecord,
    PictureMask,
    FrameMirror,
    AlarmReport,
    Osd,
    Snapshot,
}

impl SettingKind {
    pub const ALL: [SettingKind; 10] = [
        SettingKind::Basic,
        SettingKind::VideoOptions,
        SettingKind::VideoParameters,
        SettingKind::RecordPlan,
        SettingKind::AlarmRecord,
        SettingKind::PictureMask,
        SettingKind::FrameMirror,
        SettingKind::AlarmReport,
        SettingKind::Osd,
        SettingKind::Snapshot,
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mirror {
    None,
    Horizontal,
    Vertical,
    Both,
}

/// One stream's encoding. Values are the codes of the SDP `f=` line, as text, since devices list their own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VideoStream {
    /// 0 is the main stream.
    pub stream: u8,
    pub format: String,
    pub resolution: String,
    pub frame_rate: String,
    /// 1 constant, 2 variable.
    pub bit_rate_type: String,
    /// kbit/s.
    pub bit_rate: String,
}

/// From and to in a day, both `HH:MM:SS`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeSpan {
    pub from: String,
    pub to: String,
}

/// A day of a recording plan: 1 is Monday, 7 Sunday; at most 8 spans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordDay {
    pub weekday: u8,
    pub spans: Vec<TimeSpan>,
}

/// A hidden part of the picture: 1 to 4, in pixels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaskRegion {
    pub number: u8,
    pub left: u32,
    pub top: u32,
    pub right: u32,
    pub bottom: u32,
}

/// A line written into the picture; at most 32 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OsdLine {
    pub text: String,
    pub x: u32,
    pub y: u32,
}

/// One block of settings. What is left out stays as it is, as far as the device keeps to the standard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Setting {
    Basic {
        name: Option<String>,
        /// Seconds that a registration lasts.
        expiration_s: Option<u32>,
        /// Seconds between keepalives.
        heartbeat_interval_s: Option<u32>,
        /// Missed keepalives until the other side counts as gone.
        heartbeat_count: Option<u32>,
    },
    /// What the device offers; it cannot be changed.
    VideoOptions {
        download_speeds: String,
        resolutions: String,
    },
    VideoParameters {
        streams: Vec<VideoStream>,
    },
    RecordPlan {
        enabled: bool,
        days: Vec<RecordDay>,
        stream: Option<u8>,
    },
    AlarmRecord {
        enabled: bool,
        after_s: Option<u32>,
        before_s: Option<u32>,
        stream: Option<u8>,
    },
    PictureMask {
        enabled: bool,
        regions: Vec<MaskRegion>,
    },
    FrameMirror {
        mirror: Mirror,
    },
    AlarmReport {
        motion: bool,
        field: bool,
    },
    Osd {
        /// Size of the window that the places refer to, in pixels.
        width: u32,
        height: u32,
        time_x: Option<u32>,
        time_y: Option<u32>,
        time: Option<bool>,
        /// 0 or 1, the form of date and time.
        time_type: Option<u8>,
        text: Option<bool>,
        lines: Vec<OsdLine>,
    },
    Snapshot {
        /// 1 to 10 pictures.
        count: u8,
        interval_s: Option<u32>,
        upload_url: String,
        session: String,
    },
}

/// `HH:MM:SS` as hour, minute, second; 24:00:00 is the end of a day.
pub fn time_of_day(text: &str) -> Option<(u8, u8, u8)> {
    let mut parts = text.split(':').map(|p| p.parse::<u8>().ok());
    let (h, m, s) = (parts.next()??, parts.next()??, parts.next()??);
    let sound = parts.next().is_none() && m < 60 && s < 60 && (h < 24 || (h == 24 && m == 0 && s == 0));
    sound.then_some((h, m, s))
}

fn line(text: &str, most: usize) -> bool {
    text.chars().count() <= most && !text.chars().any(char::is_control)
}

impl Setting {
    pub fn kind(&self) -> SettingKind {
        match self {
            Setting::Basic { .. } => SettingKind::Basic,
            Setting::VideoOptions { .. } => SettingKind::VideoOptions,
            Setting::VideoParameters { .. } => SettingKind::VideoParameters,
            Setting::RecordPlan { .. } => SettingKind::RecordPlan,
            Setting::AlarmRecord { .. } => SettingKind::AlarmRecord,
            Setting::PictureMask { .. } => SettingKind::PictureMask,
            Setting::FrameMirror { .. } => SettingKind::FrameMirror,
            Setting::AlarmReport { .. } => SettingKind::AlarmReport,
            Setting::Osd { .. } => SettingKind::Osd,
            Setting::Snapshot { .. } => SettingKind::Snapshot,
        }
    }

    /// Whether a wrong value can take the device off line or its picture from its viewers.
    pub fn dangerous(&self) -> bool {
        match self {
            Setting::Basic { expiration_s, heartbeat_interval_s, heartbeat_count, .. } => {
                expiration_s.is_some() || heartbeat_interval_s.is_some() || heartbeat_count.is_some()
            }
            Setting::VideoParameters { .. } | Setting::PictureMask { .. } => true,
            _ => false,
        }
    }

    /// What is wrong with it as an order, in English.
    pub fn problem(&self) -> Option<&'static str> {
        let unless = |good: bool, why: &'static str| (!good).then_some(why);
        let stream = |s: &Option<u8>| s.is_none_or(|s| s < 8);
        match self {
            Setting::Basic { name, expiration_s, heartbeat_interval_s, heartbeat_count } => {
                let name_fits = name.as_deref().is_none_or(|n| !n.trim().is_empty() && line(n, 64));
                let within = |v: &Option<u32>, low: u32, high: u32| v.is_none_or(|v| (low..=high).contains(&v));
                unless(name_fits, "a name has 1 to 64 characters")
                    .or(unless(within(expiration_s, 60, 864_000), "expiration_s is 60 to 864000"))
                    .or(unless(within(heartbeat_interval_s, 5, 3600), "heartbeat_interval_s is 5 to 3600"))
                    .or(unless(within(heartbeat_count, 1, 100), "heartbeat_count is 1 to 100"))
                    .or(unless(
                        name.is_some()
                            || expiration_s.is_some()
                            || heartbeat_interval_s.is_some()
                            || heartbeat_count.is_some(),
                        "a basic setting changes something",
                    ))
            }
            Setting::VideoOptions { .. } => Some("video_options cannot be changed"),
            Setting::VideoParameters { streams } => {
                let sound = |s: &VideoStream| {
                    let code = |t: &str| {
                        t.len() <= 16 && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"/.xX*".contains(&b))
                    };
                    s.stream < 8
                        && [&s.format, &s.resolution, &s.frame_rate, &s.bit_rate_type, &s.bit_rate]
                            .iter()
                            .all(|t| code(t))
                };
                unless(
                    (1..=8).contains(&streams.len()) && streams.iter().all(sound),
                    "1 to 8 streams with codes of the f= line",
                )
            }
            Setting::RecordPlan { days, stream: s, .. } => {
                let sound = |d: &RecordDay| {
                    (1..=7).contains(&d.weekday)
                        && d.spans.len() <= 8
                        && d.spans
                            .iter()
                            .all(|t| time_of_day(&t.from).zip(time_of_day(&t.to)).is_some_and(|(a, b)| a < b))
                };
                unless(
                    days.len() <= 7 && days.iter().all(sound),
                    "at most 7 days (1 to 7) with at most 8 spans HH:MM:SS, from before to",
                )
                .or(unless(stream(s), "a stream is 0 to 7"))
            }
            Setting::AlarmRecord { after_s, before_s, stream: s, .. } => {
                let short = |v: &Option<u32>| v.is_none_or(|v| v <= 86_400);
                unless(
                    short(after_s) && short(before_s) && stream(s),
                    "after_s and before_s are at most 86400, a stream is 0 to 7",
                )
            }
            Setting::PictureMask { regions, .. } => {
                let sound = |r: &MaskRegion| {
                    (1..=4).contains(&r.number)
                        && r.left < r.right
                        && r.top < r.bottom
                        && r.right <= 16_384
                        && r.bottom <= 16_384
                };
                unless(
                    regions.len() <= 4 && regions.iter().all(sound),
                    "at most 4 regions, numbered 1 to 4, left < right, top < bottom",
                )
            }
            Setting::FrameMirror { .. } | Setting::AlarmReport { .. } => None,
            Setting::Osd { width, height, time_type, lines, .. } => {
                unless((1..=16_384).contains(width) && (1..=16_384).contains(height), "a window has 1 to 16384 pixels")
                    .or(unless(
                        lines.len() <= 8 && lines.iter().all(|l| line(&l.text, 32)),
                        "at most 8 lines of 32 characters",
                    ))
                    .or(unless(time_type.is_none_or(|t| t <= 1), "time_type is 0 or 1"))
            }
            Setting::Snapshot { count, upload_url, session, .. } => {
                unless((1..=10).contains(count), "count is 1 to 10")
                    .or(unless(line(upload_url, 512) && !upload_url.is_empty(), "upload_url has 1 to 512 characters"))
                    .or(unless(sound_session(session), "session has 32 to 128 letters, digits or hyphens"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day() {
        assert_eq!(time_of_day("08:30:00"), Some((8, 30, 0)));
        assert_eq!(time_of_day("24:00:00"), Some((24, 0, 0)));
        for bad in ["24:00:01", "8:30", "08:60:00", "08:00:00:00", ""] {
            assert_eq!(time_of_day(bad), None, "{bad}");
        }
    }

    #[test]
    fn limits_of_settings() {
        let osd = |lines: usize, text: &str| Setting::Osd {
            width: 704,
            height: 576,
            time_x: None,
            time_y: None,
            time: None,
            time_type: None,
            text: None,
            lines: vec![OsdLine { text: text.into(), x: 0, y: 0 }; lines],
        };
        assert_eq!(osd(8, &"字".repeat(32)).problem(), None);
        assert!(osd(9, "a").problem().is_some() && osd(1, &"字".repeat(33)).problem().is_some());
        let basic =
            |n| Setting::Basic { name: None, expiration_s: None, heartbeat_interval_s: Some(n), heartbeat_count: None };
        assert!(basic(4).problem().is_some() && basic(60).problem().is_none() && basic(60).dangerous());
        let day = |from: &str, to: &str| Setting::RecordPlan {
            enabled: true,
            stream: None,
            days: vec![RecordDay { weekday: 7, spans: vec![TimeSpan { from: from.into(), to: to.into() }] }],
        };
        assert_eq!(day("00:00:00", "24:00:00").problem(), None);
        assert!(day("10:00:00", "09:00:00").problem().is_some());
    }
}
