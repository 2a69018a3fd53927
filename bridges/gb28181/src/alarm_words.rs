//! AlarmMethod and AlarmType in words (GB/T 28181-2022 annex A.2.5; reference section 9.1). Data, not branches.

use media_hub::Text;

/// Method, type (none: the method as a whole), stable word, Chinese, English.
type Row = (u8, Option<u16>, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const WORDS: &[Row] = &[
    (1, None, "phone", "电话报警", "Alarm by telephone"),
    (2, None, "device", "设备报警", "Device alarm"),
    (2, Some(1), "device.video_lost", "视频丢失", "Video lost"),
    (2, Some(2), "device.tamper", "设备防拆", "Device tampered with"),
    (2, Some(3), "device.disk_full", "存储设备磁盘满", "Disk full"),
    (2, Some(4), "device.too_hot", "设备高温", "Device too hot"),
    (2, Some(5), "device.too_cold", "设备低温", "Device too cold"),
    (3, None, "sms", "短信报警", "Alarm by short message"),
    (4, None, "gps", "定位报警", "Position alarm"),
    (5, None, "video", "视频报警", "Video alarm"),
    (5, Some(1), "video.manual", "人工视频报警", "Manual alarm"),
    (5, Some(2), "video.motion", "运动目标检测", "Motion"),
    (5, Some(3), "video.object_left", "遗留物检测", "Object left behind"),
    (5, Some(4), "video.object_removed", "物体移除检测", "Object removed"),
    (5, Some(5), "video.tripwire", "绊线检测", "Line crossed"),
    (5, Some(6), "video.intrusion", "入侵检测", "Intrusion"),
    (5, Some(7), "video.wrong_way", "逆行检测", "Wrong way"),
    (5, Some(8), "video.loitering", "徘徊检测", "Loitering"),
    (5, Some(9), "video.flow", "流量统计", "Flow count"),
    (5, Some(10), "video.density", "密度检测", "Crowd density"),
    (5, Some(11), "video.anomaly", "视频异常检测", "Picture abnormal"),
    (5, Some(12), "video.fast", "快速移动", "Fast movement"),
    (5, Some(13), "video.covered", "图像遮挡", "Picture covered"),
    (6, None, "fault", "设备故障报警", "Device fault"),
    (6, Some(1), "fault.disk", "存储设备磁盘故障", "Disk fault"),
    (6, Some(2), "fault.fan", "存储设备风扇故障", "Fan fault"),
    (7, None, "other", "其他报警", "Other alarm"),
];

/// The stable word and the words for people. What the table does not hold keeps its numbers.
pub fn words(method: Option<u8>, kind: Option<u16>) -> (String, Text) {
    let find = |m: u8, k: Option<u16>| WORDS.iter().find(|row| row.0 == m && row.1 == k);
    let exact = method.and_then(|m| find(m, kind.filter(|k| *k != 0)));
    if let Some((_, _, code, zh, en)) = exact {
        return ((*code).to_owned(), Text::new(*zh, *en));
    }
    match (method.and_then(|m| find(m, None)), kind) {
        (Some((_, _, code, zh, en)), Some(k)) => {
            (format!("{code}.{k}"), Text::new(format!("{zh}（类型 {k}）"), format!("{en} (type {k})")))
        }
        _ => {
            let number = method.map_or_else(String::new, |m| format!(" {m}"));
            ("unknown".to_owned(), Text::new(format!("未知报警{number}"), format!("Alarm of an unknown kind{number}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_both_languages_and_the_unknown_keep_their_numbers() {
        for (method, kind, code, zh, en) in WORDS {
            let got = words(Some(*method), *kind);
            assert_eq!((got.0.as_str(), got.1), (*code, Text::new(*zh, *en)));
        }
        assert_eq!(words(Some(5), Some(99)).0, "video.99");
        assert_eq!(words(Some(5), Some(99)).1.zh, "视频报警（类型 99）");
        assert_eq!(words(Some(2), Some(0)).0, "device");
        assert_eq!(words(Some(40), None).1.en, "Alarm of an unknown kind 40");
        assert_eq!(words(None, Some(2)).0, "unknown");
    }
}
