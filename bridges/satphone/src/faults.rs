//! Every reason why a short message was not brought: a closed list.

use bridge_core::{Fault, Whose};

/// A stable reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    UnknownTerminal,
    TerminalDown,
    QueueFull,
    Refused,
    NoFeedback,
    Stopping,
    NotSupported,
}

/// The whole list, for the manual and its test.
pub const ALL: [Reason; 7] = [
    Reason::UnknownTerminal,
    Reason::TerminalDown,
    Reason::QueueFull,
    Reason::Refused,
    Reason::NoFeedback,
    Reason::Stopping,
    Reason::NotSupported,
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

    fn words(self) -> Words {
        let w = |code, whose, retry, zh, en, next_zh, next_en| Words { code, whose, retry, zh, en, next_zh, next_en };
        match self {
            Reason::UnknownTerminal => w(
                "satphone_unknown",
                Whose::You,
                false,
                "没有这个北斗终端或用户号",
                "There is no such BeiDou terminal or user",
                "核对 satphone.terminal 与用户卡号",
                "Check satphone.terminal and the user's card number",
            ),
            Reason::TerminalDown => w(
                "satphone_terminal_down",
                Whose::Device,
                true,
                "北斗终端未连接",
                "The BeiDou terminal is not connected",
                "检查终端电源、串口或网络",
                "Check the terminal's power, serial line or network",
            ),
            Reason::QueueFull => w(
                "satphone_queue_full",
                Whose::Us,
                true,
                "等待发送的短报文过多",
                "Too many short messages wait to be sent",
                "等待或减少发送；卡的发送间隔限制了速度",
                "Wait or send less: the card's interval sets the pace",
            ),
            Reason::Refused => w(
                "satphone_refused",
                Whose::Device,
                true,
                "北斗终端拒绝发送",
                "The BeiDou terminal refused to send",
                "检查卡的权限与频度、天线是否对准，稍后重发",
                "Check the card's rights and interval and the antenna's view of the sky, then send it again",
            ),
            Reason::NoFeedback => w(
                "satphone_no_feedback",
                Whose::Device,
                true,
                "北斗终端没有反馈，是否送达未知",
                "The BeiDou terminal said nothing: whether it was sent is not known",
                "检查信号强度；必要时重发",
                "Check the signal; send it again if need be",
            ),
            Reason::Stopping => w(
                "satphone_stopping",
                Whose::Us,
                true,
                "网关停止，短报文未发送",
                "The gateway stopped before the message was sent",
                "重启后重发",
                "Send it again after the start",
            ),
            Reason::NotSupported => w(
                "satphone_not_supported",
                Whose::You,
                false,
                "北斗短报文不支持此操作",
                "BeiDou terminals cannot do that",
                "只能发送消息",
                "Only messages can be sent",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_all_have_words() {
        let mut codes: Vec<_> = ALL.iter().map(|r| r.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ALL.len());
    }
}
