//! The closed list of what can go wrong with a live session or an order, told apart by what was seen on the wire.

use media_hub::{Fault, Whose};

use Whose::{Device, Peer, Us, You};

use crate::causes::steps;

fn fault(
    code: &'static str,
    whose: Whose,
    zh: impl Into<String>,
    en: impl Into<String>,
    next_zh: &str,
    next_en: &str,
) -> Fault {
    Fault::new(code, whose, true, zh, en).next(next_zh, next_en).steps(steps(code))
}

fn final_fault(
    code: &'static str,
    whose: Whose,
    zh: impl Into<String>,
    en: impl Into<String>,
    next_zh: &str,
    next_en: &str,
) -> Fault {
    Fault::new(code, whose, false, zh, en).next(next_zh, next_en).steps(steps(code))
}

/// Every code of this bridge.
pub const CODES: &[&str] = &[
    "device_offline",
    "no_answer",
    "nat_binding_lost",
    "rejected_busy",
    "rejected_not_found",
    "rejected_forbidden",
    "rejected_not_acceptable",
    "rejected_unreachable",
    "rejected_server_error",
    "rejected_other",
    "bad_answer",
    "private_stream",
    "tcp_not_connected",
    "tcp_closed",
    "no_media",
    "not_rtp",
    "wrong_ssrc",
    "ssrc_changed",
    "media_from_elsewhere",
    "bad_framing",
    "ps_undecodable",
    "no_parameter_sets",
    "no_key_frame",
    "codec_not_supported",
    "rate_under_need",
    "media_lost",
    "bye_from_device",
    "device_lost",
    "no_port",
    "too_many_sessions",
    "signalling_failed",
    "unknown_channel",
    "needs_edition",
    "order_refused",
    "query_unanswered",
    "too_many_questions",
    "not_supported",
    "snapshot_refused",
    "snapshot_edition",
    "no_record_answer",
    "control_refused",
    "no_control_answer",
    "speed_refused",
    "paused_too_long",
    "cut_short",
];

/// The device is not registered, or its connection is gone.
pub fn device_offline(why: &str) -> Fault {
    fault(
        "device_offline",
        Device,
        format!("设备不在线（{why}）"),
        format!("The device is off line ({why})"),
        "检查设备电源、网络，以及它的平台地址和口令设置",
        "Check the device's power and network, and its platform address and password",
    )
}

/// No final answer to the INVITE.
pub fn no_answer(seconds: u32) -> Fault {
    fault(
        "no_answer",
        Device,
        format!("设备在 {seconds} 秒内没有应答点播"),
        format!("The device did not answer the invitation within {seconds} s"),
        "检查到设备的信令通路；重启设备",
        "Check the signalling path to the device; restart the device",
    )
}

/// Nothing of ours reaches the device, while its own messages still come.
pub fn nat_binding_lost(seconds: u64, heard: &str) -> Fault {
    fault(
        "nat_binding_lost",
        Peer,
        format!("设备收不到网关的信令（{seconds} 秒没有应答），但仍在从 {heard} 发来心跳：NAT 映射已失效"),
        format!(
            "Nothing of ours reaches the device (no answer for {seconds} s), while its keepalives still come from {heard}: the NAT binding is lost"
        ),
        "把设备心跳周期改为 20 到 30 秒，或改用 TCP 注册",
        "Set the device's keepalive to 20 to 30 s, or register it over TCP",
    )
}

/// The device refused the INVITE.
pub fn rejected(code: u16, reason: &str) -> Fault {
    let reason: String = reason.chars().take(80).collect();
    match code {
        486 | 600 => fault(
            "rejected_busy",
            Device,
            format!("设备忙，拒绝点播（{code}）"),
            format!("The device is busy ({code} {reason})"),
            "设备的并发路数已满，或上次会话尚未释放；稍后会自动重试",
            "It serves as many viewers as it can, or still holds an old session; it is tried again by itself",
        ),
        404 | 410 | 484 | 604 => fault(
            "rejected_not_found",
            Device,
            format!("设备上没有这个通道，或通道不在线（{code}）"),
            format!("The device does not know the channel, or it is off line there ({code} {reason})"),
            "刷新设备目录，检查摄像机与录像机的连接",
            "Refresh the device's catalog; check the camera behind the recorder",
        ),
        401 | 403 | 407 => final_fault(
            "rejected_forbidden",
            Device,
            format!("设备拒绝点播：没有权限（{code}）"),
            format!("The device forbids it ({code} {reason})"),
            "检查设备上的平台编号和权限设置",
            "Check the platform id and the rights set in the device",
        ),
        415 | 488 | 606 => fault(
            "rejected_not_acceptable",
            Device,
            format!("设备不接受媒体参数（{code}）"),
            format!("The device cannot meet the media offer ({code} {reason})"),
            "为该设备改用另一种媒体传输方式（UDP 或 TCP）",
            "Set the other media transport (UDP or TCP) for this device",
        ),
        408 | 480 | 504 => fault(
            "rejected_unreachable",
            Device,
            format!("录像机或下级平台够不到这路摄像机（{code}）"),
            format!("The recorder or lower platform does not reach the camera now ({code} {reason})"),
            "检查它与摄像机之间的网络和电源",
            "Check network and power between it and the camera",
        ),
        500..=599 => fault(
            "rejected_server_error",
            Device,
            format!("设备内部出错（{code} {reason}）"),
            format!("The device has an error of its own ({code} {reason})"),
            "查看设备日志和负载，必要时重启",
            "See the device's log and load; restart it if need be",
        ),
        _ => fault(
            "rejected_other",
            Device,
            format!("设备拒绝点播（{code} {reason}）"),
            format!("The device refused the invitation ({code} {reason})"),
            "查看设备日志",
            "Look into the device's log",
        ),
    }
}

/// The 200 had no usable SDP.
pub fn bad_answer(why: &str) -> Fault {
    fault(
        "bad_answer",
        Device,
        format!("设备的应答无法使用：{why}"),
        format!("The device's answer cannot be used: {why}"),
        "升级设备固件，或联系厂家",
        "Update the device's firmware or ask its maker",
    )
}

/// The answer names a maker's own stream.
pub fn private_stream(encoding: &str) -> Fault {
    let encoding: String = encoding.chars().take(20).collect();
    final_fault(
        "private_stream",
        Device,
        format!("设备只给出厂家私有码流（{encoding}）"),
        format!("The device offers only its maker's private stream ({encoding})"),
        "在设备上把 GB28181 码流格式改为标准 PS",
        "Set the stream format for GB/T 28181 to standard PS in the device",
    )
}

/// TCP media: nobody connected (passive), or the device could not be reached (active).
pub fn tcp_not_connected(seconds: u32, detail: &str) -> Fault {
    fault(
        "tcp_not_connected",
        Peer,
        format!("设备已应答，但 {seconds} 秒内没有建立媒体连接（{detail}）"),
        format!("The device answered, but the media connection did not come up within {seconds} s ({detail})"),
        "检查防火墙是否放行媒体端口，媒体地址对设备是否可达",
        "Check that the firewall lets the media ports through and that the device can reach the media address",
    )
}

/// The media connection broke.
pub fn tcp_closed(detail: &str) -> Fault {
    fault(
        "tcp_closed",
        Peer,
        format!("媒体连接中断（{detail}）"),
        format!("The media connection broke ({detail})"),
        "检查到设备的网络；会自动重新点播",
        "Check the network to the device; it is invited again by itself",
    )
}

/// Answered, and not one packet.
pub fn no_media(seconds: u32, port: u16) -> Fault {
    fault(
        "no_media",
        Peer,
        format!("设备已应答，但 {seconds} 秒内端口 {port} 没有收到任何媒体包"),
        format!("The device answered, but nothing arrived on port {port} within {seconds} s"),
        "检查防火墙和媒体地址；设备在外网时改用 TCP",
        "Check firewall and media address; use TCP for a device behind NAT",
    )
}

/// Datagrams came that are no RTP.
pub fn not_rtp(packets: u64, first: &str) -> Fault {
    fault(
        "not_rtp",
        Device,
        format!("收到 {packets} 个包，都不是 RTP（开头 {first}）"),
        format!("{packets} packets came, and none of them is RTP (the first begins {first})"),
        "检查设备的码流设置，以及该端口上是否有别的程序在发送",
        "Check the device's stream settings, and whether something else sends to this port",
    )
}

/// Packets carry an SSRC that cannot be this session's.
pub fn wrong_ssrc(expected: u32, seen: u32, packets: u64) -> Fault {
    fault(
        "wrong_ssrc",
        Device,
        format!("码流的 SSRC 是 {seen:010}，约定的是 {expected:010}（{packets} 个包被拒绝）"),
        format!("The stream's SSRC is {seen:010} instead of {expected:010} ({packets} packets refused)"),
        "关闭该设备的 strict_ssrc，或升级设备固件",
        "Switch strict_ssrc off for this device, or update its firmware",
    )
}

/// The SSRC changed in mid-session where that is not allowed.
pub fn ssrc_changed(before: u32, now: u32, packets: u64) -> Fault {
    fault(
        "ssrc_changed",
        Device,
        format!("码流的 SSRC 在会话中从 {before:010} 变为 {now:010}（{packets} 个包被拒绝）"),
        format!(
            "The stream's SSRC changed from {before:010} to {now:010} during the session ({packets} packets refused)"
        ),
        "关闭该设备的 strict_ssrc；检查设备编码是否反复重启",
        "Switch strict_ssrc off for this device; see whether its encoder keeps restarting",
    )
}

/// The bytes of a media connection are no lengths and packets.
pub fn bad_framing(detail: &str) -> Fault {
    fault(
        "bad_framing",
        Device,
        format!("媒体连接上的数据无法切分成 RTP 包（{detail}）"),
        format!("The data of the media connection cannot be cut into RTP packets ({detail})"),
        "为该设备改用 UDP，或升级设备固件",
        "Use UDP for this device, or update its firmware",
    )
}

/// Less arrives than the picture needs.
pub fn rate_under_need(got_kbit: u64, need_kbit: u64, lost_percent: u32) -> Fault {
    fault(
        "rate_under_need",
        Peer,
        format!("码率不足：到达 {got_kbit} kbit/s，画面需要 {need_kbit} kbit/s（丢包 {lost_percent}%）"),
        format!("{got_kbit} kbit/s arrive of the {need_kbit} kbit/s that the picture needs (loss {lost_percent} %)"),
        "降低设备码率或改用子码流；UDP 丢包时改用 TCP",
        "Lower the device's bit rate or use its sub-stream; use TCP where UDP loses packets",
    )
}

/// Packets come from an address that is not the device's.
pub fn media_from_elsewhere(expected: &str, seen: &str, packets: u64) -> Fault {
    fault(
        "media_from_elsewhere",
        Peer,
        format!("媒体来自 {seen}，不是设备的地址 {expected}（{packets} 个包被拒绝）"),
        format!("The media comes from {seen} and not from the device at {expected} ({packets} packets refused)"),
        "确认该地址属于设备后，关闭 strict_source",
        "If that address is the device's, switch strict_source off",
    )
}

/// RTP came, but nothing in it can be read.
pub fn ps_undecodable(packets: u64, errors: u64, first: &str) -> Fault {
    fault(
        "ps_undecodable",
        Device,
        format!("收到 {packets} 个 RTP 包，但内容无法解析为 PS 流（{errors} 处错误，开头 {first}）"),
        format!(
            "{packets} RTP packets came, but their content cannot be read as a program stream ({errors} errors, begins {first})"
        ),
        "在设备上关闭码流加密和私有封装，选择标准 PS",
        "Switch off stream encryption and private formats in the device; choose standard PS",
    )
}

/// Pictures came without SPS and PPS.
pub fn no_parameter_sets(frames: u64) -> Fault {
    fault(
        "no_parameter_sets",
        Device,
        format!("收到 {frames} 帧画面，但没有解码参数集"),
        format!("{frames} pictures came, but never the decoder's parameter sets"),
        "升级设备固件；重启设备编码",
        "Update the device's firmware; restart its encoder",
    )
}

/// Pictures came, and never one to start with.
pub fn no_key_frame(frames: u64, asked: u32) -> Fault {
    fault(
        "no_key_frame",
        Device,
        format!("收到 {frames} 帧画面，但没有关键帧（已请求 {asked} 次）"),
        format!("{frames} pictures came, but never a key frame (asked for {asked} times)"),
        "缩短设备的关键帧间隔（建议 1 到 2 秒）",
        "Shorten the key frame interval in the device (1 to 2 s)",
    )
}

/// The stream carries a codec that this gateway does not take.
pub fn codec_not_supported(what: &str) -> Fault {
    final_fault(
        "codec_not_supported",
        Us,
        format!("不支持设备的编码格式（{what}）"),
        format!("The device's codec is not supported ({what})"),
        "在设备上改用 H.264 或 H.265",
        "Set H.264 or H.265 in the device",
    )
}

/// Pictures flowed and stopped.
pub fn media_lost(seconds: u32, packets: u64) -> Fault {
    fault(
        "media_lost",
        Peer,
        format!("码流中断：{seconds} 秒没有媒体包（此前收到 {packets} 个）"),
        format!("The stream stopped: no packet for {seconds} s (after {packets})"),
        "检查到设备的网络；会自动重新点播",
        "Check the network to the device; it is invited again by itself",
    )
}

/// The device hung up.
pub fn bye_from_device(packets: u64) -> Fault {
    fault(
        "bye_from_device",
        Device,
        format!("设备主动结束了会话（收到 {packets} 个包之后）"),
        format!("The device ended the session (after {packets} packets)"),
        "可能有别的平台在点播，或设备重启；会自动重新点播",
        "Another platform may have taken the stream, or the device restarted; it is invited again by itself",
    )
}

/// The device went off line or re-registered elsewhere while its session stood.
pub fn device_lost(why: &str) -> Fault {
    fault(
        "device_lost",
        Device,
        format!("设备在会话中离线（{why}）"),
        format!("The device went off line during the session ({why})"),
        "检查设备电源和网络",
        "Check the device's power and network",
    )
}

/// We have no port or socket.
pub fn no_port(why: &str) -> Fault {
    fault(
        "no_port",
        Us,
        format!("网关没有可用的媒体端口（{why}）"),
        format!("The gateway has no media port ({why})"),
        "扩大媒体端口范围",
        "Widen the range of media ports",
    )
}

/// Our own limit.
pub fn too_many_sessions(limit: usize) -> Fault {
    fault(
        "too_many_sessions",
        Us,
        format!("点播路数已达上限 {limit}"),
        format!("The limit of {limit} live sessions is reached"),
        "关闭不需要的画面，或提高 media.max_sessions",
        "Close pictures that are not needed, or raise media.max_sessions",
    )
}

/// A request of ours did not get through.
pub fn signalling_failed(why: &str) -> Fault {
    fault(
        "signalling_failed",
        Peer,
        format!("信令发送失败（{why}）"),
        format!("Signalling failed ({why})"),
        "检查到设备的网络",
        "Check the network to the device",
    )
}

/// Nobody has that channel.
pub fn unknown_channel(id: &str) -> Fault {
    let id: String = id.chars().take(60).collect();
    final_fault(
        "unknown_channel",
        You,
        format!("没有这个通道：{id}"),
        format!("There is no channel {id}"),
        "刷新设备目录",
        "Refresh the device's catalog",
    )
}

/// The order means nothing here.
pub fn not_supported(what: &str) -> Fault {
    final_fault(
        "not_supported",
        You,
        format!("国标设备不支持此操作：{what}"),
        format!("GB/T 28181 devices cannot do that: {what}"),
        "",
        "",
    )
}

/// The device answered the order for pictures with an error.
pub fn snapshot_refused() -> Fault {
    fault(
        "snapshot_refused",
        Device,
        "设备拒绝抓拍",
        "The device refused to take pictures",
        "检查设备是否支持 2022 版图像抓拍，以及上传地址是否被设备接受",
        "Check that the device supports snapshots of the 2022 edition and takes the upload address",
    )
}

/// The device speaks an edition that knows no such order.
pub fn snapshot_edition(edition: &str) -> Fault {
    final_fault(
        "snapshot_edition",
        Device,
        format!("设备的标准版本（{edition}）没有图像抓拍"),
        format!("The device's edition ({edition}) knows no snapshots"),
        "改用实时画面的静态图；若设备实为 2022 版，在 gb28181.devices 中设 version = \"3.0\"",
        "Take a still of the live picture; if the device does speak 2022, set version = \"3.0\" in gb28181.devices",
    )
}

/// The question for recordings was taken and never answered.
pub fn no_record_answer(seconds: u32) -> Fault {
    fault(
        "no_record_answer",
        Device,
        format!("设备在 {seconds} 秒内没有返回录像列表"),
        format!("The device sent no list of recordings within {seconds} s"),
        "检查设备的硬盘和录像计划；录像多的设备缩短查询时段或提高 history.first",
        "Check the device's disk and its recording plan; with many recordings ask for a shorter time, or raise history.first",
    )
}

/// An order inside a playback was refused, and there is no other way to do it.
pub fn control_refused(what: &str, why: &str) -> Fault {
    final_fault(
        "control_refused",
        Device,
        format!("设备拒绝回放操作 {what}（{why}）"),
        format!("The device refused {what} ({why})"),
        "在时间轴上重新点击要看的时刻",
        "Click the time line anew at the moment wanted",
    )
}

/// An order inside a playback got no answer.
pub fn no_control_answer(seconds: u32) -> Fault {
    fault(
        "no_control_answer",
        Device,
        format!("设备在 {seconds} 秒内没有应答回放操作"),
        format!("The device did not answer an order of the playback within {seconds} s"),
        "检查到设备的信令通路，再试一次",
        "Check the signalling path to the device and try again",
    )
}

/// The device cannot play at that speed.
pub fn speed_refused(speed: f64, why: &str) -> Fault {
    final_fault(
        "speed_refused",
        Device,
        format!("设备不能以 {speed} 倍速回放（{why}）"),
        format!("The device cannot play at {speed} times real time ({why})"),
        "改用其他倍速；或先取回录像，再从本地档案播放",
        "Choose another speed, or fetch the recording and play it from the archive",
    )
}

/// A playback stood paused for too long.
pub fn paused_too_long(seconds: u32) -> Fault {
    final_fault(
        "paused_too_long",
        You,
        format!("回放暂停超过 {seconds} 秒，会话已释放"),
        format!("The playback stood paused for more than {seconds} s and was released"),
        "点击继续，将从同一时刻重新点播",
        "Press play: it goes on at the same moment in a new session",
    )
}

/// A fetch ended before its time.
pub fn cut_short(got: f64, wanted: f64, why: &str) -> Fault {
    fault(
        "cut_short",
        Device,
        format!("设备提前结束下载：{got:.1} 秒，应为 {wanted:.1} 秒（{why}）"),
        format!("The device ended the download early: {got:.1} s of {wanted:.1} s ({why})"),
        "会自动从断点继续；多次如此时检查设备硬盘",
        "It goes on by itself where it broke; when that repeats, check the device's disk",
    )
}

/// The device's edition does not know it.
pub fn needs_edition(what: &str) -> Fault {
    final_fault(
        "needs_edition",
        You,
        format!("该设备按 GB/T 28181-2016 注册，不支持 2022 版的 {what}"),
        format!("The device registered as GB/T 28181-2016; {what} is of the 2022 edition and is not sent to it"),
        "若设备实际支持 2022 版，升级其固件，或在配置中为它设置 version",
        "If the device does know 2022, update its firmware, or set its version in the configuration",
    )
}

/// It answered ERROR.
pub fn order_refused(what: &str) -> Fault {
    fault(
        "order_refused",
        Device,
        format!("设备拒绝执行（{what}）"),
        format!("The device refused ({what})"),
        "检查设备是否支持此功能，以及参数是否在其范围内",
        "See whether the device supports this, and whether the values are within its range",
    )
}

/// The question got through and no answer came.
pub fn query_unanswered(what: &str, seconds: u64) -> Fault {
    fault(
        "query_unanswered",
        Device,
        format!("设备收到了查询 {what}，但 {seconds} 秒内没有返回结果"),
        format!("The device took the question {what} and gave no answer within {seconds} s"),
        "多数情况是设备不支持此查询；可稍后再试",
        "Most often the device does not know this question; it may be tried again",
    )
}

/// Our own limit.
pub fn too_many_questions(limit: usize) -> Fault {
    fault(
        "too_many_questions",
        Us,
        format!("同时进行的设备查询和命令已达上限 {limit}"),
        format!("The limit of {limit} questions and orders at once is reached"),
        "稍后再试",
        "Try again in a moment",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::CAUSES;

    #[test]
    fn every_fault_is_in_the_list_once_and_speaks_both_languages() {
        let mut all = vec![
            device_offline("x"),
            no_answer(20),
            nat_binding_lost(20, "x"),
            rejected(486, "Busy Here"),
            rejected(404, ""),
            rejected(403, ""),
            rejected(488, ""),
            rejected(480, ""),
            rejected(500, ""),
            rejected(400, ""),
            bad_answer("x"),
            private_stream("DAHUA"),
            tcp_not_connected(10, "x"),
            tcp_closed("x"),
            no_media(10, 30000),
            not_rtp(5, "00"),
            wrong_ssrc(1, 2, 3),
            ssrc_changed(1, 2, 3),
            media_from_elsewhere("a", "b", 1),
            bad_framing("x"),
            ps_undecodable(1, 2, "00"),
            no_parameter_sets(1),
            no_key_frame(1, 2),
            codec_not_supported("SVAC"),
            rate_under_need(1, 2, 3),
            media_lost(10, 5),
            bye_from_device(1),
            device_lost("x"),
            no_port("x"),
            too_many_sessions(1),
            signalling_failed("x"),
            unknown_channel("x"),
            needs_edition("x"),
            order_refused("x"),
            query_unanswered("x", 6),
            too_many_questions(1),
        ];
        let history = [
            no_record_answer(15),
            control_refused("PAUSE", "x"),
            no_control_answer(5),
            speed_refused(2.0, "x"),
            paused_too_long(300),
            cut_short(1.0, 2.0, "x"),
        ];
        assert!(
            all.iter()
                .chain(&history)
                .all(|f| !f.zh.is_empty() && !f.en.is_empty() && !f.next_zh.is_empty() && !f.next_en.is_empty())
        );
        all.extend([not_supported("x"), snapshot_refused(), snapshot_edition("2016")]);
        all.extend(history);
        let codes: Vec<&str> = all.iter().map(|f| f.code).collect();
        assert_eq!(codes, CODES);
        let mut unique = codes.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), codes.len());
        for cause in CAUSES {
            assert!(CODES.contains(&cause.code) || cause.code == "viewer_lacks_codec", "{}", cause.code);
            assert!(cause.steps.len() >= 3 && !cause.field.is_empty(), "{}: several steps", cause.code);
        }
        assert!(all.iter().filter(|f| CAUSES.iter().any(|c| c.code == f.code)).all(|f| !f.steps.0.is_empty()));
        let json = serde_json::to_value(no_media(10, 1)).unwrap_or_default();
        let next = json.get("next").and_then(|n| n.as_array()).map_or(0, Vec::len);
        assert!(next >= 3, "the API gives the steps: {json}");
    }
}
