//! Every reason why a radio group cannot be reached, lost its call, or was not heard: a closed list.

use bridge_core::{Fault, Whose};

/// A stable reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    UnknownGroup,
    GatewayDown,
    GroupTaken,
    GroupRefused,
    GroupLost,
    NoRadioCodec,
    NoFloorControl,
    NoRadioPort,
    NoConference,
    RadioTalks,
    ChannelRefused,
    NoGrant,
    NoRelease,
    NotInHall,
    RadioNotSupported,
    RadioStopping,
    RadioTextRefused,
}

/// The whole list, for the manual and its test.
pub const ALL: [Reason; 17] = [
    Reason::UnknownGroup,
    Reason::GatewayDown,
    Reason::GroupTaken,
    Reason::GroupRefused,
    Reason::GroupLost,
    Reason::NoRadioCodec,
    Reason::NoFloorControl,
    Reason::NoRadioPort,
    Reason::NoConference,
    Reason::RadioTalks,
    Reason::ChannelRefused,
    Reason::NoGrant,
    Reason::NoRelease,
    Reason::NotInHall,
    Reason::RadioNotSupported,
    Reason::RadioStopping,
    Reason::RadioTextRefused,
];

struct Words {
    code: &'static str,
    whose: Whose,
    retry: bool,
    zh: &'static str,
    en: &'static str,
    next_zh: &'static str,
    next_en: &'static str,
}

impl Reason {
    /// The word for programs.
    pub fn code(self) -> &'static str {
        self.words().code
    }

    pub fn fault(self) -> Fault {
        let w = self.words();
        Fault::new(w.code, w.whose, w.retry, w.zh, w.en).next(w.next_zh, w.next_en)
    }

    /// The fault with a fact behind the sentence.
    pub fn with(self, fact: impl std::fmt::Display) -> Fault {
        let mut fault = self.fault();
        fault.zh = format!("{}（{fact}）", fault.zh);
        fault.en = format!("{} ({fact})", fault.en);
        fault
    }

    /// The answer to an INVITE that is refused for this reason.
    pub fn sip_code(self) -> u16 {
        match self {
            Reason::UnknownGroup | Reason::NoConference => 404,
            Reason::GroupTaken => 486,
            Reason::NoRadioCodec | Reason::NoFloorControl => 488,
            _ => 503,
        }
    }

    fn words(self) -> Words {
        let w = |code, whose, retry, zh, en, next_zh, next_en| Words { code, whose, retry, zh, en, next_zh, next_en };
        match self {
            Reason::UnknownGroup => w(
                "radio_group_unknown",
                Whose::You,
                false,
                "没有配置这个对讲组",
                "This radio group is not configured",
                "核对 radio.gateway 中的网关名和组号",
                "Check gateway and group in radio.gateway",
            ),
            Reason::GatewayDown => w(
                "radio_gateway_down",
                Whose::Peer,
                true,
                "对讲网关没有响应",
                "The radio gateway does not answer",
                "检查网关电源、网络和地址",
                "Check the gateway's power, network and address",
            ),
            Reason::GroupTaken => w(
                "radio_group_taken",
                Whose::You,
                true,
                "该对讲组已在另一会议中",
                "The radio group is in a conference already",
                "先从那个会议中移出",
                "Remove it from that conference first",
            ),
            Reason::GroupRefused => w(
                "radio_group_refused",
                Whose::Peer,
                true,
                "对讲网关拒绝了该组的呼叫",
                "The radio gateway refused the group's call",
                "核对组号和网关给我方账号的权限",
                "Check the group's number and what the gateway allows our account",
            ),
            Reason::GroupLost => w(
                "radio_group_lost",
                Whose::Peer,
                true,
                "与对讲组的连接中断",
                "The connection with the radio group broke",
                "检查与网关之间的网络，然后重新接入",
                "Check the network to the gateway, then call the group again",
            ),
            Reason::NoRadioCodec => w(
                "radio_no_codec",
                Whose::Peer,
                false,
                "对讲网关不提供 G.711",
                "The radio gateway offers no G.711",
                "在网关上启用 G.711 转码",
                "Enable G.711 on the gateway",
            ),
            Reason::NoFloorControl => w(
                "radio_no_floor_control",
                Whose::Peer,
                false,
                "网关没有提供 MCPTT 话权端口",
                "The gateway has no port for MCPTT floor control",
                "核对载波设置，或在网关上启用 m=application MCPTT",
                "Check the carrier, or enable m=application MCPTT on the gateway",
            ),
            Reason::NoRadioPort => w(
                "radio_no_port",
                Whose::Us,
                true,
                "没有空闲的媒体端口",
                "No media port is free",
                "扩大 media.rtp_ports",
                "Widen media.rtp_ports",
            ),
            Reason::NoConference => w(
                "radio_no_conference",
                Whose::You,
                false,
                "该对讲组没有配置要进入的会议",
                "No conference is set for calls of this radio group",
                "在该组上设置 conference",
                "Set conference for the group",
            ),
            Reason::RadioTalks => w(
                "radio_channel_busy",
                Whose::Device,
                true,
                "信道被对讲机占用，大厅的话没有播出",
                "A radio held the channel: what the hall said was not sent",
                "等对讲机松键后重讲",
                "Say it again when the radio has let go",
            ),
            Reason::ChannelRefused => w(
                "radio_channel_refused",
                Whose::Peer,
                true,
                "对讲网关没有给出话权，大厅的话没有播出",
                "The gateway did not give the channel: what the hall said was not sent",
                "稍后重讲，或提高我方在网关上的优先级",
                "Say it again later, or raise our priority at the gateway",
            ),
            Reason::NoGrant => w(
                "radio_no_grant",
                Whose::Peer,
                true,
                "网关没有确认按键，已照常发送",
                "The gateway did not confirm the key; speech was sent all the same",
                "核对载波设置中的授权方式",
                "Check what stands for a grant in the carrier's settings",
            ),
            Reason::NoRelease => w(
                "radio_no_release",
                Whose::Peer,
                true,
                "没有收到对讲机松键，已按松键处理",
                "The release of a radio's key did not come; it counts as let go",
                "检查与网关之间的丢包",
                "Check the loss on the way to the gateway",
            ),
            Reason::NotInHall => w(
                "radio_not_heard",
                Whose::Device,
                true,
                "对讲机说话时没有话权，大厅没有听到",
                "A radio talked without the floor: the hall did not hear it",
                "请对讲机重讲",
                "Ask the radio to say it again",
            ),
            Reason::RadioNotSupported => w(
                "radio_not_supported",
                Whose::You,
                false,
                "对讲组不支持此操作",
                "A radio group cannot do that",
                "改用其他操作",
                "Use another order",
            ),
            Reason::RadioTextRefused => w(
                "radio_text_refused",
                Whose::Peer,
                true,
                "对讲网关没有接收短消息",
                "The radio gateway did not take the message",
                "检查网关是否支持短消息（MESSAGE）、电台是否开机",
                "See whether the gateway takes short messages (MESSAGE), and whether the radio is on",
            ),
            Reason::RadioStopping => w(
                "radio_stopping",
                Whose::Us,
                true,
                "网关正在停止",
                "The gateway is stopping",
                "稍后重试",
                "Try again later",
            ),
        }
    }
}
