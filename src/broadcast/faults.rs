//! Why nothing can be said, or somebody did not hear it.

use media_hub::{Fault, Whose};

pub(crate) fn no_engine(program: &str) -> Fault {
    Fault::new(
        "speech_missing",
        Whose::Us,
        false,
        format!("未安装语音合成程序 {program}"),
        format!("The speech engine {program} is not installed"),
    )
    .next(
        "在网关上安装软件包 espeak-ng，或改用录音文件、现场喊话",
        "Install the package espeak-ng on the gateway, or use a sound file or a live voice",
    )
}

pub(crate) fn engine_off() -> Fault {
    Fault::new("speech_off", Whose::Us, false, "未设置语音合成", "No speech engine is configured").next(
        "设置 broadcast.speech_command，或改用录音文件、现场喊话",
        "Set broadcast.speech_command, or use a sound file or a live voice",
    )
}

pub(crate) fn no_voice(language: &str) -> Fault {
    Fault::new(
        "speech_voice",
        Whose::Us,
        false,
        format!("没有语言 {language} 的发音人"),
        format!("There is no voice for the language {language}"),
    )
    .next("在 broadcast.speech_voices 中设置", "Set it in broadcast.speech_voices")
}

pub(crate) fn engine_failed(what: &str) -> Fault {
    Fault::new("speech_failed", Whose::Us, true, "语音合成失败", format!("The speech engine failed: {what}"))
        .next("改短或改写文字后重试；日志有原因", "Try again with a shorter or another text; the log says why")
}

pub(crate) fn engine_slow() -> Fault {
    Fault::new("speech_slow", Whose::Us, true, "语音合成超过 30 秒", "The speech engine took more than 30 s")
        .next("改短文字后重试", "Try again with a shorter text")
}

pub(crate) fn bad_sound(what: &str) -> Fault {
    Fault::new(
        "broadcast_sound",
        Whose::You,
        false,
        "录音文件无法使用",
        format!("The sound file cannot be used: {what}"),
    )
    .next("请上传不超过 10 分钟的 WAV（PCM、G.711）", "Give a WAV file (PCM, G.711) of at most 10 minutes")
}

pub(crate) fn not_kept() -> Fault {
    Fault::new("broadcast_not_stored", Whose::Us, true, "广播未能保存", "The broadcast could not be stored")
        .next("检查数据目录所在磁盘的空间", "Check the space on the disk of the data directory")
}

/// Nobody answered in the time that broadcasts give.
pub(crate) fn unanswered(seconds: u64) -> Fault {
    Fault::new(
        "broadcast_no_answer",
        Whose::Peer,
        true,
        format!("{seconds} 秒内无应答"),
        format!("No answer within {seconds} s"),
    )
    .next("稍后补播，或改用其他方式通知", "Say it again later, or tell them another way")
}

pub(crate) fn hung_up() -> Fault {
    Fault::new("broadcast_cut_short", Whose::Peer, false, "未听完即挂断", "The far end hung up before the end")
        .next("必要时补播", "Say it again if need be")
}

pub(crate) fn late() -> Fault {
    Fault::new(
        "broadcast_joined_late",
        Whose::Peer,
        false,
        "接通时已开始喊话，未听到开头",
        "It was reached when the voice had begun: its first words were not heard",
    )
    .next("必要时补播", "Say it again if need be")
}

pub(crate) fn nobody_listens() -> Fault {
    Fault::new(
        "broadcast_not_played",
        Whose::Us,
        true,
        "已接通但未能送出声音",
        "It was reached, but no sound could be sent",
    )
    .next("重试；持续出现请抓包", "Try again; if it goes on, take a capture")
}

pub(crate) fn interrupted() -> Fault {
    Fault::new(
        "broadcast_interrupted",
        Whose::Us,
        true,
        "网关重启，播报中断",
        "The gateway restarted: the broadcast was cut off",
    )
    .next("对未听到的对象补播", "Say it again to those who did not hear it")
}
