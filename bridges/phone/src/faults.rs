//! Every reason why a phone cannot be reached, is refused, or lost its call: a closed list.

use bridge_core::{Fault, Whose};

/// A stable reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    NotRegistered,
    Busy,
    NoAnswer,
    Unreachable,
    Declined,
    NoCodec,
    UnknownNumber,
    WrongPin,
    PinTimeout,
    Unauthorized,
    Limit,
    CallRate,
    AccountBlocked,
    NoMediaPort,
    MediaTimeout,
    CallFailed,
    SignallingLost,
    SignedOut,
    RefreshMissing,
    BadOffer,
    SrtpNeeded,
    MediaKeys,
    DialNotAllowed,
    NotSupported,
    ShuttingDown,
    NothingRings,
    PickUpNotAllowed,
    VideoRefused,
    PictureUnfit,
    QueueFull,
    QueueTimeout,
    NotTalking,
    TollDenied,
    TrunkDown,
    TrunkFull,
    NotRecorded,
    TranscodeLimit,
    FaxRefused,
    NoTexts,
    TextFailed,
}

/// The whole list, for the manual and its test.
pub const ALL: [Reason; 40] = [
    Reason::NotRegistered,
    Reason::Busy,
    Reason::NoAnswer,
    Reason::Unreachable,
    Reason::Declined,
    Reason::NoCodec,
    Reason::UnknownNumber,
    Reason::WrongPin,
    Reason::PinTimeout,
    Reason::Unauthorized,
    Reason::Limit,
    Reason::CallRate,
    Reason::AccountBlocked,
    Reason::NoMediaPort,
    Reason::MediaTimeout,
    Reason::CallFailed,
    Reason::SignallingLost,
    Reason::SignedOut,
    Reason::RefreshMissing,
    Reason::BadOffer,
    Reason::SrtpNeeded,
    Reason::MediaKeys,
    Reason::DialNotAllowed,
    Reason::NotSupported,
    Reason::ShuttingDown,
    Reason::NothingRings,
    Reason::PickUpNotAllowed,
    Reason::VideoRefused,
    Reason::PictureUnfit,
    Reason::QueueFull,
    Reason::QueueTimeout,
    Reason::NotTalking,
    Reason::TollDenied,
    Reason::TrunkDown,
    Reason::TrunkFull,
    Reason::NotRecorded,
    Reason::TranscodeLimit,
    Reason::FaxRefused,
    Reason::NoTexts,
    Reason::TextFailed,
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
            Reason::UnknownNumber => 404,
            Reason::NoCodec | Reason::SrtpNeeded | Reason::MediaKeys => 488,
            Reason::TranscodeLimit | Reason::FaxRefused | Reason::NoTexts => 488,
            Reason::BadOffer => 400,
            Reason::CallRate => 480,
            Reason::AccountBlocked | Reason::Unauthorized | Reason::WrongPin => 403,
            Reason::DialNotAllowed | Reason::TollDenied => 403,
            Reason::Limit | Reason::Busy | Reason::QueueFull => 486,
            Reason::NotSupported => 501,
            Reason::NothingRings | Reason::QueueTimeout => 480,
            Reason::PickUpNotAllowed => 403,
            _ => 503,
        }
    }

    fn words(self) -> Words {
        let w = |code, whose, retry, zh, en, next_zh, next_en| Words { code, whose, retry, zh, en, next_zh, next_en };
        match self {
            Reason::NotRegistered => w(
                "not_registered",
                Whose::Device,
                true,
                "该话机未注册",
                "The phone is not registered",
                "检查话机电源、网络和账号密码",
                "Check the phone's power, network, account and password",
            ),
            Reason::Busy => {
                w("busy", Whose::Device, true, "对方正忙", "The phone is busy", "稍后再拨", "Call again later")
            }
            Reason::NoAnswer => w(
                "no_answer",
                Whose::Device,
                true,
                "振铃后无人接听",
                "The phone rang and nobody answered",
                "稍后再拨，或改用其他联系方式",
                "Call again later or use another way",
            ),
            Reason::Unreachable => w(
                "unreachable",
                Whose::Peer,
                true,
                "呼叫请求没有得到话机响应",
                "The phone did not answer our signalling",
                "检查话机与网关之间的网络",
                "Check the network between phone and gateway",
            ),
            Reason::Declined => w(
                "declined",
                Whose::Device,
                false,
                "对方拒绝接听",
                "The call was declined",
                "请与对方确认",
                "Ask the person called",
            ),
            Reason::NoCodec => w(
                "no_codec",
                Whose::Device,
                false,
                "双方没有共同的语音编码",
                "No sound format in common",
                "在话机上启用 G.711（PCMA 或 PCMU）",
                "Enable G.711 (PCMA or PCMU) on the phone",
            ),
            Reason::TranscodeLimit => w(
                "transcode_limit",
                Whose::Us,
                true,
                "双方没有共同的语音编码，且同时转码的通话已达上限",
                "No sound format in common, and the limit of transcoded calls is reached",
                "在话机上启用 G.711，或调大 phone.max_transcoded",
                "Enable G.711 on the phones or raise phone.max_transcoded",
            ),
            Reason::FaxRefused => w(
                "fax_refused",
                Whose::Device,
                false,
                "不支持 T.38 传真，通话继续",
                "T.38 fax is not carried; the call goes on as sound",
                "在传真设备上关闭 T.38，改用 G.711 传真",
                "Turn off T.38 on the fax device and send by G.711",
            ),
            Reason::UnknownNumber => w(
                "unknown_number",
                Whose::You,
                false,
                "没有这个号码",
                "No such number",
                "核对会议号码",
                "Check the number",
            ),
            Reason::WrongPin => w(
                "wrong_pin",
                Whose::You,
                false,
                "会议密码错误",
                "The PIN is wrong",
                "向会议主持人核对密码",
                "Ask the host for the PIN",
            ),
            Reason::PinTimeout => w(
                "pin_timeout",
                Whose::You,
                true,
                "没有输入会议密码",
                "No PIN was entered",
                "重新拨入并按键输入密码，以 # 结束",
                "Call again and enter the PIN, then #",
            ),
            Reason::Unauthorized => w(
                "unauthorized",
                Whose::You,
                false,
                "账号或密码错误",
                "Wrong account or password",
                "核对话机的账号和密码",
                "Check the phone's account and password",
            ),
            Reason::Limit => w(
                "call_limit",
                Whose::Us,
                true,
                "同时通话数已达上限",
                "The limit of calls is reached",
                "结束其他通话，或调大 phone.max_calls",
                "End other calls or raise phone.max_calls",
            ),
            Reason::CallRate => w(
                "call_rate",
                Whose::You,
                true,
                "该账号一分钟内呼叫次数过多",
                "The account began too many calls within a minute",
                "稍后再拨，或调大 phone.fraud.calls_per_minute",
                "Call again later or raise phone.fraud.calls_per_minute",
            ),
            Reason::AccountBlocked => w(
                "account_blocked",
                Whose::You,
                true,
                "该账号因呼叫异常被暂停呼叫外线",
                "The account's calls looked like fraud: it may not call outside for a time",
                "管理员核实后在封禁列表中解除",
                "An administrator checks it and lifts the ban",
            ),
            Reason::NoMediaPort => w(
                "no_media_port",
                Whose::Us,
                true,
                "没有可用的媒体端口",
                "No media port is free",
                "扩大 RTP 端口范围",
                "Widen the range of RTP ports",
            ),
            Reason::MediaTimeout => w(
                "media_timeout",
                Whose::Peer,
                true,
                "长时间没有收到话机的语音数据",
                "No sound packets came from the phone for too long",
                "检查话机是否断电或断网，检查防火墙的 UDP 端口",
                "Check the phone's power and network, and UDP in the firewall",
            ),
            Reason::CallFailed => w(
                "call_failed",
                Whose::Peer,
                true,
                "呼叫失败",
                "The call failed",
                "稍后重试；查看详细原因",
                "Try again later; see the detail",
            ),
            Reason::SignallingLost => w(
                "signalling_lost",
                Whose::Peer,
                true,
                "与话机的信令连接中断",
                "The signalling connection to the phone broke",
                "检查话机网络",
                "Check the phone's network",
            ),
            Reason::SignedOut => w(
                "signed_out",
                Whose::You,
                true,
                "网页电话所用的登录已失效，通话结束",
                "The sign-in behind the telephone in the browser is over, and its calls with it",
                "重新登录控制台；账号、角色或绑定的号码可能已被更改",
                "Sign in to the console again; account, role or number may have been changed",
            ),
            Reason::RefreshMissing => w(
                "refresh_missing",
                Whose::Device,
                true,
                "话机没有按时刷新会话",
                "The phone did not refresh the session in time",
                "检查话机是否断电或断网",
                "Check the phone's power and network",
            ),
            Reason::BadOffer => w(
                "bad_offer",
                Whose::Device,
                false,
                "话机的媒体描述无法读取",
                "The phone's media description cannot be read",
                "将信令抓包交给技术支持",
                "Give a signalling trace to support",
            ),
            Reason::SrtpNeeded => w(
                "srtp_needed",
                Whose::Device,
                false,
                "本系统要求语音加密（SRTP），话机没有提供",
                "Calls must be encrypted (SRTP) here, and the phone does not do it",
                "在话机上启用 SRTP，或将 phone.srtp 改为 offer",
                "Enable SRTP on the phone, or set phone.srtp to offer",
            ),
            Reason::MediaKeys => w(
                "media_keys",
                Whose::Device,
                true,
                "语音加密的密钥没有协商成功",
                "No keys for the encrypted sound came about",
                "检查话机的 SRTP 方式（SDES 或 DTLS）和证书",
                "Check the phone's kind of SRTP (SDES or DTLS) and its certificate",
            ),
            Reason::DialNotAllowed => w(
                "dial_not_allowed",
                Whose::You,
                false,
                "不允许呼叫任意 SIP 地址",
                "Calling any SIP address is not allowed",
                "呼叫已注册话机，或启用 phone.allow_dial_uri",
                "Call a registered phone or set phone.allow_dial_uri",
            ),
            Reason::NotSupported => {
                w("not_supported", Whose::You, false, "话机不支持该操作", "A phone cannot do this", "", "")
            }
            Reason::TollDenied => w(
                "toll_denied",
                Whose::You,
                false,
                "没有拨打该外线号码的权限",
                "Not allowed to call this outside number",
                "请管理员在 phone.toll 中授权",
                "Ask an administrator for a rule in phone.toll",
            ),
            Reason::TrunkDown => w(
                "trunk_down",
                Whose::Peer,
                true,
                "到该号码的中继线路全部不可用",
                "No trunk to this number works",
                "查看中继状态，联系运营商或改用其他线路",
                "See the state of the trunks; ask the carrier or use another way",
            ),
            Reason::TrunkFull => w(
                "trunk_full",
                Whose::Us,
                true,
                "中继线路已满",
                "All lines of the trunk are taken",
                "结束其他外线通话，或调大该中继的 max_calls",
                "End other outside calls or raise max_calls of the trunk",
            ),
            Reason::NotRecorded => w(
                "not_recorded",
                Whose::Peer,
                true,
                "外部录音服务器未录制通话",
                "The outside recorder does not record a call",
                "检查录音服务器及到它的网络，核对 phone.siprec",
                "Check the recorder and the network to it, and phone.siprec",
            ),
            Reason::NoTexts => w(
                "no_texts",
                Whose::Device,
                false,
                "话机不支持短消息",
                "The phone takes no text messages",
                "改为呼叫，或在话机上启用 SIP 消息",
                "Call it instead, or enable SIP messages in the phone",
            ),
            Reason::TextFailed => w(
                "text_failed",
                Whose::Peer,
                true,
                "对方没有接收消息",
                "The far end did not take the message",
                "稍后重发；反复失败时查看话机或中继的日志",
                "Send it again in a moment; if it keeps failing, see the log of the phone or the trunk",
            ),
            Reason::ShuttingDown => w(
                "shutting_down",
                Whose::Us,
                true,
                "网关正在停止",
                "The gateway is stopping",
                "等待网关重新启动",
                "Wait for the gateway to start again",
            ),
            Reason::NothingRings => w(
                "nothing_rings",
                Whose::You,
                true,
                "没有可代接的来电",
                "There is no call to take over",
                "来电可能已被他人接听或已挂断",
                "Somebody else may have answered it, or the caller gave up",
            ),
            Reason::NotTalking => w(
                "not_talking",
                Whose::You,
                false,
                "该通话不存在或尚未接通",
                "This call does not run, or nobody has answered it",
                "刷新通话列表",
                "Look at the list of live calls again",
            ),
            Reason::QueueFull => w(
                "queue_full",
                Whose::Us,
                true,
                "值班队列已满",
                "The queue is full",
                "增加值班话机，或调大队列的最大等待人数",
                "Sign in more agents or raise the queue's most_waiting",
            ),
            Reason::QueueTimeout => w(
                "queue_timeout",
                Whose::Us,
                true,
                "排队超时，无人接听",
                "Nobody answered in the queue in time",
                "检查值班话机是否签入、在线",
                "Check that agents are signed in and their phones online",
            ),
            Reason::PickUpNotAllowed => w(
                "pick_up_not_allowed",
                Whose::You,
                false,
                "无权代接该话机的来电",
                "This phone's calls may not be taken over",
                "请管理员把两部话机加入同一代接组",
                "Ask the administrator to put both phones into one pick-up group",
            ),
            Reason::VideoRefused => w(
                "video_refused",
                Whose::Device,
                false,
                "终端的视频格式不被支持，仅接入声音",
                "The terminal's video was refused; its sound is in the conference",
                "在终端上启用 H.264 主视频（打包模式 0 或 1），关闭视频加密",
                "Enable H.264 as main video in the terminal (packetization mode 0 or 1), without encryption of the picture",
            ),
            Reason::PictureUnfit => w(
                "picture_unfit",
                Whose::Us,
                true,
                "会议画面超出终端能力，无法向其发送",
                "The terminal cannot be sent the conference's picture",
                "选择其他画面或摄像机子码流，提高终端带宽，或提高 media.transcoders",
                "Choose another picture or the camera's sub-stream, raise the terminal's bandwidth, or raise media.transcoders",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn codes_are_unique_and_all_have_words() {
        let mut codes: Vec<_> = ALL.iter().map(|r| r.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ALL.len());
        for reason in ALL {
            let fault = reason.fault();
            assert!(!fault.zh.is_empty() && !fault.en.is_empty(), "{reason:?}");
            assert!((400..700).contains(&reason.sip_code()));
        }
    }
}
