//! The blocks of DeviceConfig and ConfigDownload (GB/T 28181-2022 annex A.2.3.2 and A.2.6.9; reference sections 7.5 and 8.5).

use bridge_core::{MaskRegion, Mirror, OsdLine, RecordDay, Setting, SettingKind, TimeSpan, VideoStream, time_of_day};

use crate::edition::Edition;
use crate::text::escape;
use crate::xml::Node;

/// Items kept of any list in a block: the longest that the standard allows has 8.
const ITEMS: usize = 64;
/// Characters kept of a text.
const LETTERS: usize = 200;

/// The name as ConfigType and as element.
pub fn name(kind: SettingKind) -> &'static str {
    match kind {
        SettingKind::Basic => "BasicParam",
        SettingKind::VideoOptions => "VideoParamOpt",
        SettingKind::VideoParameters => "VideoParamAttribute",
        SettingKind::RecordPlan => "VideoRecordPlan",
        SettingKind::AlarmRecord => "VideoAlarmRecord",
        SettingKind::PictureMask => "PictureMask",
        SettingKind::FrameMirror => "FrameMirror",
        SettingKind::AlarmReport => "AlarmReport",
        SettingKind::Osd => "OSDConfig",
        SettingKind::Snapshot => "SnapShotConfig",
    }
}

/// Whether a device of that edition knows the kind; one that says nothing counts as 2016.
pub fn known(kind: SettingKind, edition: Option<Edition>) -> bool {
    matches!(kind, SettingKind::Basic | SettingKind::VideoOptions) || edition == Some(Edition::V2022)
}

fn tag(name: &str, value: impl std::fmt::Display) -> String {
    format!("<{name}>{}</{name}>\r\n", escape(&value.to_string()))
}

fn maybe(name: &str, value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(String::new, |v| tag(name, v))
}

fn bit(on: bool) -> u8 {
    u8::from(on)
}

fn span(span: &TimeSpan) -> String {
    // The hall has checked both; 24:00:00 is written as the day's last second, for fields of a clock end at 23.
    let clock = |text: &str| match time_of_day(text) {
        Some((24, ..)) => (23, 59, 59),
        Some(time) => time,
        None => (0, 0, 0),
    };
    let ((h1, m1, s1), (h2, m2, s2)) = (clock(&span.from), clock(&span.to));
    let parts =
        [("StartHour", h1), ("StartMin", m1), ("StartSec", s1), ("StopHour", h2), ("StopMin", m2), ("StopSec", s2)];
    let inner: String = parts.iter().map(|(name, v)| tag(name, v)).collect();
    format!("<TimeSegment>\r\n{inner}</TimeSegment>\r\n")
}

/// A block as it stands in DeviceConfig.
pub fn write(setting: &Setting) -> String {
    let inner = match setting {
        Setting::Basic { name, expiration_s, heartbeat_interval_s, heartbeat_count } => {
            maybe("Name", name.as_deref())
                + &maybe("Expiration", *expiration_s)
                + &maybe("HeartBeatInterval", *heartbeat_interval_s)
                + &maybe("HeartBeatCount", *heartbeat_count)
        }
        Setting::VideoOptions { download_speeds, resolutions } => {
            tag("DownloadSpeed", download_speeds) + &tag("Resolution", resolutions)
        }
        Setting::VideoParameters { streams } => {
            let item = |s: &VideoStream| {
                let text = |name: &str, v: &str| if v.is_empty() { String::new() } else { tag(name, v) };
                format!(
                    "<Item>\r\n{}{}{}{}{}{}</Item>\r\n",
                    tag("StreamNumber", s.stream),
                    text("VideoFormat", &s.format),
                    text("Resolution", &s.resolution),
                    text("FrameRate", &s.frame_rate),
                    text("BitRateType", &s.bit_rate_type),
                    text("VideoBitRate", &s.bit_rate)
                )
            };
            let items: String = streams.iter().map(item).collect();
            return format!("<VideoParamAttribute Num=\"{}\">\r\n{items}</VideoParamAttribute>\r\n", streams.len());
        }
        Setting::RecordPlan { enabled, days, stream } => {
            let day = |d: &RecordDay| {
                let spans: String = d.spans.iter().map(span).collect();
                format!(
                    "<RecordSchedule>\r\n{}{}{spans}</RecordSchedule>\r\n",
                    tag("WeekDayNum", d.weekday),
                    tag("TimeSegmentSumNum", d.spans.len())
                )
            };
            let days_text: String = days.iter().map(day).collect();
            tag("RecordEnable", bit(*enabled))
                + &tag("RecordScheduleSumNum", days.len())
                + &days_text
                + &tag("StreamNumber", stream.unwrap_or(0))
        }
        Setting::AlarmRecord { enabled, after_s, before_s, stream } => {
            tag("RecordEnable", bit(*enabled))
                + &maybe("RecordTime", *after_s)
                + &maybe("PreRecordTime", *before_s)
                + &tag("StreamNumber", stream.unwrap_or(0))
        }
        Setting::PictureMask { enabled, regions } => {
            let item = |r: &MaskRegion| {
                let point = format!("{},{},{},{}", r.left, r.top, r.right, r.bottom);
                format!("<Item>\r\n{}{}</Item>\r\n", tag("Seq", r.number), tag("Point", point))
            };
            let items: String = regions.iter().map(item).collect();
            tag("On", bit(*enabled))
                + &tag("SumNum", regions.len())
                + &format!("<RegionList Num=\"{}\">\r\n{items}</RegionList>\r\n", regions.len())
        }
        Setting::FrameMirror { mirror } => {
            let n = match mirror {
                Mirror::None => 0,
                Mirror::Horizontal => 1,
                Mirror::Vertical => 2,
                Mirror::Both => 3,
            };
            return tag("FrameMirror", n);
        }
        Setting::AlarmReport { motion, field } => {
            tag("MotionDetection", bit(*motion)) + &tag("FieldDetection", bit(*field))
        }
        Setting::Osd { width, height, time_x, time_y, time, time_type, text, lines } => {
            let item = |l: &OsdLine| {
                format!("<Item>\r\n{}{}{}</Item>\r\n", tag("Text", &l.text), tag("X", l.x), tag("Y", l.y))
            };
            let items: String = lines.iter().map(item).collect();
            // Length runs across, Width down, as in the drag zoom.
            tag("Length", width)
                + &tag("Width", height)
                + &maybe("TimeX", *time_x)
                + &maybe("TimeY", *time_y)
                + &maybe("TimeEnable", time.map(bit))
                + &maybe("TimeType", *time_type)
                + &maybe("TextEnable", text.map(bit))
                + &tag("SumNum", lines.len())
                + &items
        }
        Setting::Snapshot { count, interval_s, upload_url, session } => {
            tag("SnapNum", count)
                + &tag("Interval", interval_s.unwrap_or(1))
                + &tag("UploadURL", upload_url)
                + &tag("SessionID", session)
        }
    };
    let element = name(setting.kind());
    format!("<{element}>\r\n{inner}</{element}>\r\n")
}

fn text(node: &Node, name: &str) -> String {
    node.get(name).unwrap_or("").chars().take(LETTERS).collect()
}

/// 1, ON, TRUE and the like.
pub fn flag(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|w| w.eq_ignore_ascii_case(text.trim()));
    match () {
        () if is(&["1", "ON", "TRUE", "YES"]) => Some(true),
        () if is(&["0", "OFF", "FALSE", "NO"]) => Some(false),
        () => None,
    }
}

fn on(node: &Node, name: &str) -> Option<bool> {
    flag(node.get(name)?)
}

/// Direct children of that name, at most [`ITEMS`].
fn each<'a>(node: &'a Node, name: &'a str) -> impl Iterator<Item = &'a Node> {
    node.children.iter().filter(move |c| c.is(name)).take(ITEMS)
}

fn read_span(node: &Node) -> Option<TimeSpan> {
    let part = |name: &str| node.number::<u8>(name);
    let clock = |h: u8, m: u8, s: u8| format!("{h:02}:{m:02}:{s:02}");
    let from = clock(part("StartHour")?, part("StartMin").unwrap_or(0), part("StartSec").unwrap_or(0));
    let to = clock(part("StopHour")?, part("StopMin").unwrap_or(0), part("StopSec").unwrap_or(0));
    time_of_day(&from).and(time_of_day(&to))?;
    Some(TimeSpan { from, to })
}

fn read_region(node: &Node) -> Option<MaskRegion> {
    let mut numbers = node.get("Point")?.split(',').map(|n| n.trim().parse::<u32>().ok());
    let (left, top, right, bottom) = (numbers.next()??, numbers.next()??, numbers.next()??, numbers.next()??);
    Some(MaskRegion { number: node.number("Seq")?, left, top, right, bottom })
}

/// Reads one element of an answer to ConfigDownload; none for what is no block that we know.
pub fn read(node: &Node) -> Option<Setting> {
    // In answers the snapshot block is called `SnapShot`.
    let kind = SettingKind::ALL
        .into_iter()
        .find(|k| node.is(name(*k)) || (*k == SettingKind::Snapshot && node.is("SnapShot")))?;
    Some(match kind {
        SettingKind::Basic => Setting::Basic {
            name: node.get("Name").map(|_| text(node, "Name")),
            expiration_s: node.number("Expiration"),
            heartbeat_interval_s: node.number("HeartBeatInterval"),
            heartbeat_count: node.number("HeartBeatCount"),
        },
        SettingKind::VideoOptions => Setting::VideoOptions {
            download_speeds: text(node, "DownloadSpeed"),
            resolutions: text(node, "Resolution"),
        },
        SettingKind::VideoParameters => Setting::VideoParameters {
            streams: each(node, "Item")
                .map(|i| VideoStream {
                    stream: i.number("StreamNumber").unwrap_or(0),
                    format: text(i, "VideoFormat"),
                    resolution: text(i, "Resolution"),
                    frame_rate: text(i, "FrameRate"),
                    bit_rate_type: text(i, "BitRateType"),
                    bit_rate: text(i, "VideoBitRate"),
                })
                .collect(),
        },
        SettingKind::RecordPlan => Setting::RecordPlan {
            enabled: on(node, "RecordEnable").unwrap_or(false),
            days: each(node, "RecordSchedule")
                .filter_map(|d| {
                    let weekday = d.number("WeekDayNum").filter(|n| (1..=7).contains(n))?;
                    Some(RecordDay { weekday, spans: each(d, "TimeSegment").filter_map(read_span).collect() })
                })
                .collect(),
            stream: node.number("StreamNumber"),
        },
        SettingKind::AlarmRecord => Setting::AlarmRecord {
            enabled: on(node, "RecordEnable").unwrap_or(false),
            after_s: node.number("RecordTime"),
            before_s: node.number("PreRecordTime"),
            stream: node.number("StreamNumber"),
        },
        SettingKind::PictureMask => Setting::PictureMask {
            enabled: on(node, "On").unwrap_or(false),
            regions: each(node, "RegionList")
                .flat_map(|l| each(l, "Item"))
                .filter_map(read_region)
                .take(ITEMS)
                .collect(),
        },
        SettingKind::FrameMirror => Setting::FrameMirror {
            mirror: match node.text.trim() {
                "0" => Mirror::None,
                "1" => Mirror::Horizontal,
                "2" => Mirror::Vertical,
                "3" => Mirror::Both,
                _ => return None,
            },
        },
        SettingKind::AlarmReport => Setting::AlarmReport {
            motion: on(node, "MotionDetection").unwrap_or(false),
            field: on(node, "FieldDetection").unwrap_or(false),
        },
        SettingKind::Osd => Setting::Osd {
            width: node.number("Length").unwrap_or(0),
            height: node.number("Width").unwrap_or(0),
            time_x: node.number("TimeX"),
            time_y: node.number("TimeY"),
            time: on(node, "TimeEnable"),
            time_type: node.number("TimeType"),
            text: on(node, "TextEnable"),
            lines: each(node, "Item")
                .map(|i| OsdLine {
                    text: text(i, "Text"),
                    x: i.number("X").unwrap_or(0),
                    y: i.number("Y").unwrap_or(0),
                })
                .collect(),
        },
        SettingKind::Snapshot => Setting::Snapshot {
            count: node.number("SnapNum").unwrap_or(0),
            interval_s: node.number("Interval"),
            upload_url: text(node, "UploadURL"),
            session: text(node, "SessionID"),
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn round(setting: &Setting) -> Setting {
        let written = format!("<Response>{}</Response>", write(setting));
        let tree = crate::xml::parse(&written).unwrap();
        read(tree.children.first().unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let settings = [
            Setting::Basic {
                name: Some("A&B <门>".into()),
                expiration_s: Some(3600),
                heartbeat_interval_s: Some(20),
                heartbeat_count: None,
            },
            Setting::VideoParameters {
                streams: vec![VideoStream {
                    stream: 1,
                    format: "2".into(),
                    resolution: "6".into(),
                    frame_rate: "25".into(),
                    bit_rate_type: "1".into(),
                    bit_rate: "2048".into(),
                }],
            },
            Setting::RecordPlan {
                enabled: true,
                days: vec![RecordDay {
                    weekday: 7,
                    spans: vec![TimeSpan { from: "08:00:00".into(), to: "12:30:05".into() }],
                }],
                stream: Some(0),
            },
            Setting::AlarmRecord { enabled: true, after_s: Some(30), before_s: Some(5), stream: Some(1) },
            Setting::PictureMask {
                enabled: true,
                regions: vec![MaskRegion { number: 4, left: 1, top: 2, right: 30, bottom: 40 }],
            },
            Setting::FrameMirror { mirror: Mirror::Both },
            Setting::AlarmReport { motion: true, field: false },
            Setting::Osd {
                width: 704,
                height: 576,
                time_x: Some(1),
                time_y: Some(2),
                time: Some(false),
                time_type: Some(1),
                text: Some(true),
                lines: vec![OsdLine { text: "北门 & <1>".into(), x: 5, y: 6 }],
            },
            Setting::Snapshot {
                count: 3,
                interval_s: Some(2),
                upload_url: "http://10.0.0.1/up?a=1&b=2".into(),
                session: "s".repeat(32),
            },
        ];
        for setting in settings {
            assert_eq!(round(&setting), setting);
        }
    }

    #[test]
    fn what_devices_write_in_their_own_way() {
        let block = |text: &str| read(&crate::xml::parse(text).unwrap());
        assert_eq!(
            block(
                "<basicparam><NAME> gate </NAME><heartbeatinterval></heartbeatinterval><HeartBeatCount>x</HeartBeatCount></basicparam>"
            ),
            Some(Setting::Basic {
                name: Some("gate".into()),
                expiration_s: None,
                heartbeat_interval_s: None,
                heartbeat_count: None
            })
        );
        assert!(matches!(block("<SnapShot><SnapNum>3</SnapNum></SnapShot>"), Some(Setting::Snapshot { count: 3, .. })));
        assert_eq!(block("<FrameMirror>9</FrameMirror>"), None);
        assert_eq!(block("<SVACEncodeConfig/>"), None);
        let many = format!("<OSDConfig>{}</OSDConfig>", "<Item><Text>a</Text></Item>".repeat(1000));
        assert!(matches!(block(&many), Some(Setting::Osd { lines, .. }) if lines.len() == ITEMS));
        let midnight = Setting::RecordPlan {
            enabled: true,
            days: vec![RecordDay {
                weekday: 1,
                spans: vec![TimeSpan { from: "00:00:00".into(), to: "24:00:00".into() }],
            }],
            stream: None,
        };
        assert!(write(&midnight).contains("<StopHour>23</StopHour>"));
    }

    #[test]
    fn nothing_of_2022_is_known_to_2016() {
        for kind in SettingKind::ALL {
            let old = matches!(kind, SettingKind::Basic | SettingKind::VideoOptions);
            assert_eq!(known(kind, Some(Edition::V2016)), old, "{kind:?}");
            assert_eq!(known(kind, None), old);
            assert!(known(kind, Some(Edition::V2022)));
        }
    }
}
