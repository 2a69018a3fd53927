//! Why a message, or its file, could not be taken or brought.

use media_hub::{Fault, Whose};

pub(super) fn not_stored() -> Fault {
    Fault::new("message_not_stored", Whose::Us, true, "消息未能保存", "The message could not be stored").next(
        "检查数据目录所在磁盘的空间，稍后重发",
        "Check the space on the disk of the data directory, then send it again",
    )
}

pub(super) fn file_not_stored() -> Fault {
    Fault::new("message_file_not_stored", Whose::Us, true, "文件未能保存", "The file could not be stored").next(
        "检查数据目录所在磁盘的空间，稍后重发",
        "Check the space on the disk of the data directory, then send it again",
    )
}

pub(super) fn file_refused() -> Fault {
    Fault::new(
        "message_file_refused",
        Whose::You,
        false,
        "不接受这种文件，或内容与类型不符",
        "Files of this kind are not taken, or the content is not what the name says",
    )
    .next(
        "可发送 JPEG、PNG、WebP、PDF、TXT、MP4、DOCX、XLSX",
        "JPEG, PNG, WebP, PDF, TXT, MP4, DOCX and XLSX may be sent",
    )
}

pub(super) fn file_too_large(megabytes: u32) -> Fault {
    Fault::new(
        "message_file_too_large",
        Whose::You,
        false,
        format!("文件超过 {megabytes} MiB"),
        format!("The file is larger than {megabytes} MiB"),
    )
    .next("压缩文件或分开发送", "Make it smaller or send it in pieces")
}

pub(super) fn uploads_busy() -> Fault {
    Fault::new(
        "message_uploads_busy",
        Whose::Us,
        true,
        "正在接收的文件过多",
        "Too many files are being received at once",
    )
    .next("稍后重发", "Send it again in a moment")
}

pub(super) fn upload_broken() -> Fault {
    Fault::new("message_upload_broken", Whose::You, true, "文件上传中断", "The upload broke off")
        .next("检查网络后重发", "Check the network and send it again")
}

pub(super) fn not_member() -> Fault {
    Fault::new(
        "message_not_member",
        Whose::You,
        false,
        "该会议有密码或已锁定，只有成员可发消息",
        "The conference has a PIN or is locked: only its members may write",
    )
    .next("先加入会议，或写给指挥大厅", "Join the conference first, or write to the hall")
}

pub(super) fn no_conference() -> Fault {
    Fault::new("message_no_conference", Whose::You, false, "没有这个会议", "There is no such conference")
        .next("检查号码", "Check the number")
}

pub(super) fn no_bridge() -> Fault {
    Fault::new("message_no_way", Whose::You, false, "该对象不能接收消息", "There is no way to bring a message there")
        .next("改用电话或其他对象", "Call instead, or write to somebody else")
}

pub(super) fn not_in_time() -> Fault {
    Fault::new("message_no_answer", Whose::Device, true, "对方没有应答", "The far end did not answer")
        .next("检查对方是否在线，稍后重发", "Check that it is on line, then send it again")
}

pub(super) fn interrupted() -> Fault {
    Fault::new(
        "message_interrupted",
        Whose::Us,
        true,
        "网关重启，消息是否送达未知",
        "The gateway restarted: whether the message arrived is not known",
    )
    .next("必要时重发", "Send it again if need be")
}
