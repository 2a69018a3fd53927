//! The closed list of causes of a missing or broken picture: what to check next, step by step, and how the simulated field brings
//! each about. `docs/ref/diagnosis.md` holds the same list; a test compares them, another reproduces each.

use media_hub::Steps;

/// One cause.
#[derive(Debug)]
pub struct Cause {
    /// The fault's code.
    pub code: &'static str,
    /// What a person on the spot can do, one thing after the other; Chinese and English.
    pub steps: &'static [(&'static str, &'static str)],
    /// How the simulated field brings it about, for the page and the tests.
    pub field: &'static str,
}

/// The steps of a code; none where the sentence of the fault says all.
pub fn steps(code: &str) -> Steps {
    Steps(CAUSES.iter().find(|c| c.code == code).map_or(&[], |c| c.steps))
}

/// In the order of the steps of a session.
pub const CAUSES: &[Cause] = &[
    Cause {
        code: "device_offline",
        steps: &[
            (
                "看设备页的离线原因和最后一次消息的时间",
                "See the device's page: why it is off line, and when it last spoke",
            ),
            (
                "确认设备通电、网口灯亮，从设备所在网络 ping 本网关",
                "Check power and link light; ping this gateway from the device's network",
            ),
            (
                "核对设备里的 SIP 服务器编号、地址、端口、设备编号和口令",
                "Compare server id, address, port, device id and password set in the device",
            ),
            (
                "看通知里有没有“注册被拒绝”，有则按其原因处理",
                "Look for a refused registration among the notices and mend what it says",
            ),
        ],
        field: "drop-keepalive",
    },
    Cause {
        code: "no_answer",
        steps: &[
            (
                "设备仍应答其他请求：先在设备上看国标状态，再重启它的国标服务",
                "The device may answer other requests: look at its GB/T 28181 state and restart that service",
            ),
            (
                "看是否所有通道都如此；只有一路则检查这路摄像机",
                "See whether all its channels do so; if only one, check that camera",
            ),
            (
                "开始抓包，再点播一次，确认 INVITE 发出而没有任何应答",
                "Start a capture, ask again, and see that INVITE leaves and nothing comes back",
            ),
            (
                "INVITE 较长：VPN 或窄带链路可能丢弃分片，给设备设 only_ps",
                "A long INVITE may be lost as fragments on a VPN: set the quirk only_ps for the device",
            ),
        ],
        field: "no-answer",
    },
    Cause {
        code: "nat_binding_lost",
        steps: &[
            (
                "设备在 NAT 后面，映射已过期：把设备的心跳周期改为 20 到 30 秒",
                "The device is behind NAT and its binding has lapsed: set its keepalive to 20 to 30 s",
            ),
            ("改用 TCP 信令注册，连接本身保持映射", "Register over TCP: the connection keeps the binding"),
            (
                "在路由器上延长 UDP 会话超时，或为设备做端口映射",
                "Lengthen the router's UDP timeout, or map a port to the device",
            ),
            (
                "检查防火墙是否只放行设备到网关的方向",
                "Check whether a firewall lets through only the direction from the device to the gateway",
            ),
        ],
        field: "deaf=S with --keepalive 1",
    },
    Cause {
        code: "rejected_busy",
        steps: &[
            (
                "看设备的并发路数，关闭其他平台对它的点播",
                "See how many streams the device can serve; close those of other platforms",
            ),
            ("改用子码流，或换一路通道", "Use the sub-stream, or another channel"),
            (
                "上次异常断开的会话还没释放：等一两分钟，网关会自动重试",
                "A session that broke may still be held: wait a minute or two, the gateway tries again",
            ),
            ("仍然如此则重启设备", "If it stays so, restart the device"),
        ],
        field: "busy",
    },
    Cause {
        code: "rejected_not_found",
        steps: &[
            ("刷新设备目录，看通道编号是否变了", "Refresh the catalog and see whether the channel's id has changed"),
            ("在录像机上看这一路是否在线", "See on the recorder whether that channel is on line"),
            (
                "核对设备里的通道编号是 20 位且不重复",
                "Check in the device that channel ids have 20 digits and are unique",
            ),
        ],
        field: "reject=404",
    },
    Cause {
        code: "rejected_forbidden",
        steps: &[
            (
                "核对设备里配置的平台编号与本网关 server_id 一致",
                "Compare the platform id set in the device with this gateway's server_id",
            ),
            (
                "下级平台：请对方把该通道共享给本平台",
                "Lower platform: ask its staff to share the channel with this platform",
            ),
            ("看设备的访问白名单", "See the device's list of allowed addresses"),
        ],
        field: "reject=403",
    },
    Cause {
        code: "rejected_not_acceptable",
        steps: &[
            (
                "UDP 和 TCP 都已被拒绝：看设备国标页的传输方式",
                "UDP and TCP were both refused: see the media transport in the device's GB/T 28181 page",
            ),
            ("给设备设 only_ps，使请求只含 PS", "Set the quirk only_ps, so that only PS is offered"),
            ("抓包，看设备 488 里的 Warning 说明", "Capture, and read the Warning of its 488"),
        ],
        field: "reject=488",
    },
    Cause {
        code: "rejected_unreachable",
        steps: &[
            (
                "应答来自录像机或下级平台：它够不到后面的摄像机",
                "The answer is that of a recorder or lower platform: it does not reach the camera behind it",
            ),
            ("在录像机或下级平台上看这一路能否播放", "See there whether the channel plays"),
            ("检查摄像机与录像机之间的网络和电源", "Check network and power between camera and recorder"),
        ],
        field: "reject=480",
    },
    Cause {
        code: "rejected_server_error",
        steps: &[
            ("设备内部出错：看设备日志和负载", "An error inside the device: see its log and its load"),
            ("重启设备的国标服务；仍然如此则重启设备", "Restart its GB/T 28181 service, then the device"),
            (
                "下级平台：把时间和 Call-ID（见过程）告诉对方运维",
                "Lower platform: give its staff the time and the Call-ID (see the trace)",
            ),
        ],
        field: "reject=500",
    },
    Cause {
        code: "rejected_other",
        steps: &[
            ("抓包，看应答的号码和说明", "Capture and read the answer's code and reason"),
            ("把抓包交给设备厂家", "Give the capture to the device's maker"),
            ("升级设备固件", "Update the device's firmware"),
        ],
        field: "reject=400",
    },
    Cause {
        code: "private_stream",
        steps: &[
            (
                "在设备国标页把码流格式改为标准 PS",
                "Choose standard PS as stream format in the device's GB/T 28181 page",
            ),
            ("关闭码流加密和“智能编码”", "Switch off stream encryption and smart encoding"),
            ("没有该选项则升级固件", "Where there is no such choice, update its firmware"),
        ],
        field: "private-encoding",
    },
    Cause {
        code: "tcp_not_connected",
        steps: &[
            (
                "过程里写着媒体地址和端口：从设备所在网络测试能否连到它",
                "The trace tells media address and port: test from the device's network whether it can be reached",
            ),
            (
                "网关有多个网卡或在 NAT 后：设置 media.rtp_announced 或该设备的 media_address",
                "Several networks or NAT at the gateway: set media.rtp_announced or the device's media_address",
            ),
            ("防火墙放行 media.rtp_ports 的 TCP", "Let TCP on media.rtp_ports through the firewall"),
            (
                "把该设备的 transport 改为 tcp_active 或 udp 再试",
                "Set the device's transport to tcp_active or udp and try again",
            ),
        ],
        field: "tcp-never-connects with --transport tcp",
    },
    Cause {
        code: "no_media",
        steps: &[
            (
                "过程里写着我方的媒体地址：设备必须能够到达它",
                "The trace tells the media address we gave: the device must be able to reach it",
            ),
            (
                "网关有多个网卡或在 NAT 后：设置 media.rtp_announced 或该设备的 media_address",
                "Several networks or NAT at the gateway: set media.rtp_announced or the device's media_address",
            ),
            (
                "防火墙放行 media.rtp_ports 的 UDP；设备在外网时改用 TCP",
                "Let UDP on media.rtp_ports through the firewall; use TCP for a device outside",
            ),
            (
                "抓包：完全没有 RTP，问题在设备或中间网络",
                "Capture: with no RTP at all the fault lies in the device or the network between",
            ),
        ],
        field: "silent",
    },
    Cause {
        code: "not_rtp",
        steps: &[
            ("看设备的码流格式和加密设置", "See stream format and encryption in the device"),
            (
                "抓包，看这些包来自哪个地址：可能是别的程序",
                "Capture and see where those packets come from: it may be another program",
            ),
            ("重启设备的编码", "Restart the device's encoder"),
        ],
        field: "garbage-rtp",
    },
    Cause {
        code: "wrong_ssrc",
        steps: &[
            (
                "关闭 strict_ssrc（全局或该设备）：网关会自动采用设备的 SSRC",
                "Switch strict_ssrc off, for all or for this device: its SSRC is then learned",
            ),
            ("看是否两台设备用了同一个编号或媒体端口", "See whether two devices use one id or one port"),
            ("升级设备固件", "Update the device's firmware"),
        ],
        field: "wrong-ssrc with strict_ssrc",
    },
    Cause {
        code: "ssrc_changed",
        steps: &[
            (
                "设备在会话中重新编码：关闭 strict_ssrc，画面会自动跟随",
                "The device encoded anew in mid-session: switch strict_ssrc off and the picture follows",
            ),
            (
                "看设备是否反复重启编码（过热、供电不足）",
                "See whether its encoder restarts again and again (heat, weak supply)",
            ),
            ("升级设备固件", "Update the device's firmware"),
        ],
        field: "changes-ssrc=S with strict_ssrc",
    },
    Cause {
        code: "media_from_elsewhere",
        steps: &[
            (
                "过程里写着来源地址：确认它是设备或它的 NAT 出口",
                "The trace tells the source: make sure that it is the device or its way out of the NAT",
            ),
            ("是：关闭 strict_source", "If so, switch strict_source off"),
            (
                "不是：有别的主机在向媒体端口发送，查清来源并在防火墙上拦截",
                "If not, another host sends to the media port: find it and block it",
            ),
        ],
        field: "other-address with strict_source",
    },
    Cause {
        code: "bad_framing",
        steps: &[
            (
                "连接上的数据不是 RFC 4571 长度加 RTP：把该设备的 transport 改为 udp",
                "The connection does not carry RFC 4571 lengths and RTP: set the device's transport to udp",
            ),
            ("看中间是否有改写数据的网闸或代理", "See whether a gatekeeper or proxy on the way rewrites the data"),
            ("抓包交给设备厂家，并升级固件", "Give a capture to the maker and update the firmware"),
        ],
        field: "bad-framing=S with --transport tcp",
    },
    Cause {
        code: "ps_undecodable",
        steps: &[
            (
                "在设备上关闭码流加密（GB 35114、SVAC 安全、厂家加密）",
                "Switch off stream encryption in the device (GB 35114, SVAC security, the maker's own)",
            ),
            ("码流格式选标准 PS，视频编码选 H.264", "Choose standard PS and H.264"),
            (
                "抓包，用 Wireshark 看负载开头是否为 00 00 01 BA",
                "Capture and see whether the payload begins 00 00 01 BA",
            ),
        ],
        field: "garbage",
    },
    Cause {
        code: "codec_not_supported",
        steps: &[
            ("在设备上把视频编码改为 H.264（或 H.265）", "Set H.264 (or H.265) in the device"),
            ("SVAC 设备：看能否另配一路 H.264 子码流", "SVAC device: see whether it can give a sub-stream in H.264"),
            ("下级平台：请对方转码", "Lower platform: ask for transcoding there"),
        ],
        field: "svac",
    },
    Cause {
        code: "no_parameter_sets",
        steps: &[
            ("重启设备编码，或改一下分辨率再改回来", "Restart its encoder, or change the resolution and back"),
            ("升级设备固件", "Update the device's firmware"),
            ("改用子码流", "Use the sub-stream"),
        ],
        field: "no-sps",
    },
    Cause {
        code: "no_key_frame",
        steps: &[
            (
                "把设备的 I 帧间隔设为 1 到 2 秒（25 到 50 帧）",
                "Set the device's key frame interval to 1 to 2 s (25 to 50 pictures)",
            ),
            ("关闭“智能编码”（H.264+、H.265+、smart codec）", "Switch off smart encoding (H.264+, H.265+)"),
            (
                "设备不理会强制关键帧：给它设 both_key_frame_orders 再试",
                "It may ignore the order for one: set the quirk both_key_frame_orders and try again",
            ),
        ],
        field: "no-keyframe",
    },
    Cause {
        code: "rate_under_need",
        steps: &[
            (
                "比较实测码率和所需码率；按带宽降低设备码率、分辨率或帧率",
                "Compare measured and needed bit rate; lower rate, size or frame rate in the device to what the way carries",
            ),
            ("改用子码流", "Use the sub-stream"),
            (
                "UDP 丢包：改用 TCP，检查 Wi-Fi、4G 信号、网线和交换机端口错误",
                "Loss over UDP: use TCP; check radio signal, cables and the switch's error counters",
            ),
            ("看同一链路上是否还有别的大流量", "See what else loads the same link"),
        ],
        field: "low-rate=KBITPS, loss=PERCENT",
    },
    Cause {
        code: "media_lost",
        steps: &[
            (
                "看设备是否还在线；不在线按 device_offline 处理",
                "See whether the device is still on line; if not, go on with device_offline",
            ),
            (
                "检查到设备的网络：无线信号、拥塞、防火墙会话超时",
                "Check the network to it: radio signal, congestion, session timeouts of firewalls",
            ),
            ("在设备上看编码是否仍在运行", "See in the device whether its encoder still runs"),
            (
                "网关会自动重新点播；反复出现则抓包",
                "It is invited again by itself; capture when it happens again and again",
            ),
        ],
        field: "stop-after=S",
    },
    Cause {
        code: "tcp_closed",
        steps: &[
            ("看设备是否重启过（注册时间变了）", "See whether the device restarted (its time of registration changed)"),
            ("检查中间防火墙的连接超时和限流", "Check connection timeouts and limits of firewalls on the way"),
            (
                "网关会自动重新点播；反复出现则抓包",
                "It is invited again by itself; capture when it happens again and again",
            ),
        ],
        field: "tcp-closes=S with --transport tcp",
    },
    Cause {
        code: "bye_from_device",
        steps: &[
            ("看是否有别的平台在点播同一路", "See whether another platform took the same channel"),
            ("看设备是否重启或过载", "See whether the device restarted or is overloaded"),
            ("看设备上有没有“点播时长限制”之类的设置", "See whether the device limits how long it may be watched"),
        ],
        field: "its logout",
    },
    Cause { code: "viewer_lacks_codec", steps: media_hub::VIEWER_LACKS_CODEC.0, field: "unit test of the viewer" },
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    /// `docs/ref/diagnosis.md` holds the steps as they are here; `SKYBRIDGE_WRITE_PAGES=1` writes them.
    #[test]
    fn the_page_tells_the_steps() {
        let mut made = String::new();
        for cause in CAUSES {
            made.push_str(&format!("\n**`{}`** (field: `{}`)\n", cause.code, cause.field));
            for (n, (zh, en)) in cause.steps.iter().enumerate() {
                made.push_str(&format!("{}. {zh} / {en}\n", n + 1));
            }
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ref/diagnosis.md");
        let old = std::fs::read_to_string(path).unwrap();
        let begin = "<!-- made from bridges/gb28181/src/causes.rs -->\n";
        let (head, rest) = old.split_once(begin).unwrap();
        let at = rest.find("<!-- end -->").unwrap();
        if std::env::var_os("SKYBRIDGE_WRITE_PAGES").is_some() {
            std::fs::write(path, format!("{head}{begin}{made}\n{}", &rest[at..])).unwrap();
            return;
        }
        let is = &rest[..at];
        assert!(is == format!("{made}\n"), "docs/ref/diagnosis.md is old: run the test with SKYBRIDGE_WRITE_PAGES=1");
    }

    #[test]
    fn each_cause_once() {
        let mut codes: Vec<&str> = CAUSES.iter().map(|c| c.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CAUSES.len());
        assert!(steps("no_media").0.len() >= 3 && steps("not_a_code").0.is_empty());
    }
}
