//! What can go wrong with a loudspeaker, told apart by what was seen on the wire. Faults of the way (TCP, ports, signalling) are
//! those of [`crate::faults`].

use media_hub::{Fault, Whose};

use Whose::{Device, Us, You};

fn fault(
    code: &'static str,
    whose: Whose,
    zh: impl Into<String>,
    en: impl Into<String>,
    next_zh: &str,
    next_en: &str,
) -> Fault {
    Fault::new(code, whose, true, zh, en).next(next_zh, next_en)
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// Every code of this part.
pub const CODES: &[&str] = &[
    "speaker_in_use",
    "too_many_talks",
    "talk_refused",
    "talk_not_answered",
    "talk_not_called",
    "talk_offer_refused",
    "talk_no_ack",
    "talk_ended_by_device",
    "talk_closed",
    "device_restarted",
];

/// We talk to it already.
pub fn speaker_in_use() -> Fault {
    fault(
        "speaker_in_use",
        You,
        "该设备的喇叭正被使用",
        "The loudspeaker is in use",
        "等对方讲完，或请其释放",
        "Wait until the other one has finished, or ask for it",
    )
}

/// The limit of loudspeakers at once.
pub fn too_many_talks(limit: usize) -> Fault {
    fault(
        "too_many_talks",
        Us,
        format!("喊话路数已达上限 {limit}"),
        format!("The limit of {limit} loudspeakers is reached"),
        "结束不需要的喊话，或提高 voice.max_talks",
        "End those that are not needed, or raise voice.max_talks",
    )
}

/// `Result` ERROR to the broadcast, for each target tried.
pub fn talk_refused(targets: &str) -> Fault {
    let targets = short(targets);
    fault(
        "talk_refused",
        Device,
        format!("设备拒绝喊话：正忙，或没有喇叭（试过 {targets}）"),
        format!("The device refuses the broadcast: it is busy, or has no loudspeaker (tried {targets})"),
        "检查是否有别的平台正在喊话；检查设备的音频输出；只会 2016 版对讲的设备把 voice.mode 设为 talk",
        "See whether another platform talks to it; check its audio output; set voice.mode to talk for a device that only knows the talk of 2016",
    )
}

/// No business answer and no call, for each target tried.
pub fn talk_not_answered(seconds: u32, targets: &str) -> Fault {
    let targets = short(targets);
    fault(
        "talk_not_answered",
        Device,
        format!("设备在 {seconds} 秒内没有答复喊话通知（试过 {targets}）"),
        format!("The device did not answer the broadcast within {seconds} s (tried {targets})"),
        "设备可能不支持语音广播；试把 voice.mode 设为 talk，或用 voice.targets 指定其音频输出编号",
        "It may not know broadcasts: try voice.mode talk, or name its audio output in voice.targets",
    )
}

/// The broadcast was accepted, the device's INVITE never came.
pub fn talk_not_called(seconds: u32) -> Fault {
    fault(
        "talk_not_called",
        Device,
        format!("设备接受了喊话，但 {seconds} 秒内没有呼叫平台"),
        format!("The device accepted the broadcast but did not call us within {seconds} s"),
        "检查设备中的平台编号和地址，以及设备到平台的信令通路",
        "Check the platform's id and address in the device, and the signalling path from it to us",
    )
}

/// The device's offer, or its answer, names nothing that we can send.
pub fn talk_offer_refused(why: &str) -> Fault {
    let why = short(why);
    fault(
        "talk_offer_refused",
        Device,
        format!("设备要求的喊话格式无法提供（{why}）"),
        format!("The device asks for sound that cannot be sent ({why})"),
        "把设备的对讲音频编码设为 G.711A",
        "Set the device's talk codec to G.711 A-law",
    )
}

/// No ACK to our 200.
pub fn talk_no_ack(seconds: u32) -> Fault {
    fault(
        "talk_no_ack",
        Device,
        format!("设备在 {seconds} 秒内没有确认通话"),
        format!("The device did not confirm the call within {seconds} s"),
        "检查到设备的信令通路；UDP 丢包严重时改用 TCP 信令",
        "Check the signalling path to the device; use TCP signalling where UDP loses much",
    )
}

/// BYE.
pub fn talk_ended_by_device(packets: u64) -> Fault {
    fault(
        "talk_ended_by_device",
        Device,
        format!("设备结束了喊话（已发送 {packets} 个包）"),
        format!("The device ended the talk ({packets} packets were sent)"),
        "检查是否有别的平台占用了该设备的对讲",
        "See whether another platform took the device's talk channel",
    )
}

/// The media connection broke.
pub fn talk_closed(why: &str) -> Fault {
    let why = short(why);
    fault(
        "talk_closed",
        Device,
        format!("喊话的媒体连接断开（{why}）"),
        format!("The talk's media connection broke ({why})"),
        "检查到设备的网络",
        "Check the network to the device",
    )
}

/// It registered anew long before it had to: what it knew of the talk is gone.
pub fn device_restarted() -> Fault {
    fault(
        "device_restarted",
        Device,
        "设备重新启动并重新注册，喊话已中断",
        "The device restarted and registered anew; the talk is over",
        "再次喊话；若反复发生，检查设备供电和网络",
        "Talk again; if it happens often, check the device's power and network",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_in_the_list_once_and_speaks_both_languages() {
        let all = [
            speaker_in_use(),
            too_many_talks(1),
            talk_refused("x"),
            talk_not_answered(5, "x"),
            talk_not_called(10),
            talk_offer_refused("x"),
            talk_no_ack(10),
            talk_ended_by_device(1),
            talk_closed("x"),
            device_restarted(),
        ];
        assert!(
            all.iter().all(|f| !f.zh.is_empty() && !f.en.is_empty() && !f.next_zh.is_empty() && !f.next_en.is_empty())
        );
        assert_eq!(all.iter().map(|f| f.code).collect::<Vec<_>>(), CODES);
        assert!(CODES.iter().all(|c| !crate::faults::CODES.contains(c)));
    }
}
