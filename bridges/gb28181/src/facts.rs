//! What devices tell of themselves besides their channels: keepalive terms, their clock, the result of an upgrade, and what their page shows.

use std::sync::Arc;
use std::time::Duration;

use bridge_core::{Answer, Object, Query, Setting, SettingKind, Timestamp};
use media_hub::Text;
use sip::Request;

use crate::clock::{self, Clock, Word};
use crate::control;
use crate::manscdp::Manscdp;
use crate::peer::Stored;
use crate::shared::{Shared, device_id, lock};
use crate::text::Charset;

/// Devices whose terms may wait to be taken up.
const WAITING: usize = 100_000;

/// Devices asked for their terms at the same time: many never answer, and each keeps its place for `control.answer`.
const ASKED_AT_ONCE: usize = 128;

/// A time that a device told so lately is not asked for.
const CLOCK_FRESH_MS: i64 = 60_000;

/// Puts a device in line to be asked for its terms and its clock.
pub(crate) fn line_up(shared: &Arc<Shared>, id: &str) {
    if !shared.terms_to_ask.join(id, WAITING, ASKED_AT_ONCE) {
        return;
    }
    let task = shared.clone();
    shared.tasks.spawn(async move {
        let shutdown = task.ctx.shutdown.clone();
        tokio::select! {
            () = ask_in_line(&task) => {}
            () = shutdown.cancelled() => {}
        }
    });
}

async fn ask_in_line(shared: &Arc<Shared>) {
    while let Some(id) = shared.terms_to_ask.next() {
        if shared.config.keepalive.ask_device {
            read_terms(shared, &id).await;
        }
        if shared.config.clock_offset_max > 0 {
            read_clock(shared, &id).await;
        }
    }
}

/// Asks for DeviceTime, unless the device has just told its time by itself. The answer is taken in by [`clock`].
async fn read_clock(shared: &Arc<Shared>, id: &str) {
    let fresh = Timestamp::now().0 - CLOCK_FRESH_MS;
    if shared.peers.get(id).is_none_or(|p| p.clock.is_some_and(|c| c.read_at > fresh)) {
        return;
    }
    if let Err(fault) = control::gather(shared, &Object::Device(device_id(id)), &Query::Status {}).await {
        tracing::debug!(device = id, fault = %fault, "its clock is not known");
    }
}

/// The `Date` of a message of the device, where it has one.
pub(crate) fn dated(shared: &Shared, id: &str, req: &Request) {
    if let Some(date) = req.headers.get("Date") {
        clock(shared, id, date);
    }
}

/// Takes in a time that a device told just now. What cannot be read is passed over.
pub(crate) fn clock(shared: &Shared, id: &str, text: &str) {
    let now = Timestamp::now();
    let Some(time) = clock::read(text) else {
        if !text.is_empty() {
            tracing::debug!(device = id, ?text, "a time that cannot be read");
        }
        return;
    };
    let offset = clock::offset_s(time, now.0);
    let most = shared.config.clock_offset_max;
    let (new, worth, word) = {
        let Some(mut peer) = shared.peers.get_mut(id) else { return };
        let (new, worth, word) = Clock::read(peer.clock, offset, now.0, most);
        peer.clock = Some(new);
        (new, worth, word)
    };
    if worth {
        shared.ctx.registry.change(&device_id(id), |d| {
            let mut stored = Stored::read(d);
            stored.clock = Some(new);
            d.private = stored.write();
        });
    }
    match word {
        Some(Word::Wrong) => {
            tracing::warn!(device = id, offset_s = offset, "the device's clock is wrong");
            let text = Text::new(
                format!("设备时钟偏差 {offset:+} 秒（上限 {most} 秒）：检查设备的校时方式和时区（应为北京时间）"),
                format!(
                    "its clock is off by {offset:+} s (limit {most} s): check how the device sets its clock, and its time zone (Beijing)"
                ),
            );
            shared.ctx.registry.note(&device_id(id), true, text);
        }
        Some(Word::RightAgain) => {
            tracing::info!(device = id, offset_s = offset, "the device's clock is right again");
            let text = Text::new(
                format!("设备时钟已恢复正常（偏差 {offset:+} 秒）"),
                format!("its clock is right again (off by {offset:+} s)"),
            );
            shared.ctx.registry.note(&device_id(id), false, text);
        }
        None => {}
    }
}

/// Asks for HeartBeatInterval and HeartBeatCount (reference section 8.5). A device that does not answer keeps the default.
async fn read_terms(shared: &Arc<Shared>, id: &str) {
    let query = Query::Settings { kinds: vec![SettingKind::Basic] };
    let answer = match control::gather(shared, &Object::Device(device_id(id)), &query).await {
        Ok(answer) => answer,
        Err(fault) => {
            tracing::debug!(device = id, fault = %fault, "keepalive terms of its own are not known");
            return;
        }
    };
    let Answer::Settings { items, .. } = answer else { return };
    let terms = items.iter().find_map(|s| match s {
        Setting::Basic { heartbeat_interval_s: Some(interval), heartbeat_count, .. } => {
            Some((*interval, heartbeat_count.unwrap_or(shared.config.keepalive.missed)))
        }
        _ => None,
    });
    // 0 is what some write where they have nothing.
    let Some(terms) = terms.filter(|(interval, count)| *interval > 0 && *count > 0) else { return };
    {
        let Some(mut peer) = shared.peers.get_mut(id) else { return };
        if peer.heartbeat == Some(terms) {
            return;
        }
        peer.heartbeat = Some(terms);
    }
    shared.ctx.registry.change(&device_id(id), |d| {
        let mut stored = Stored::read(d);
        stored.heartbeat = Some(terms);
        d.private = stored.write();
    });
    tracing::info!(device = id, interval = terms.0, count = terms.1, "keepalive terms of the device");
    let mut waiting = lock(&shared.terms);
    if waiting.len() < WAITING {
        waiting.push(id.to_owned());
    }
    drop(waiting);
    shared.terms_changed.notify_one();
}

/// DeviceUpgradeResult (reference section 9.7).
pub(crate) fn upgraded(shared: &Shared, id: &str, message: &Manscdp) {
    let ok = message.tree.get("UpgradeResult").is_some_and(|r| r.eq_ignore_ascii_case("OK"));
    let firmware: String =
        message.tree.get("Firmware").unwrap_or("").chars().filter(|c| !c.is_control()).take(80).collect();
    let (why_zh, why_en) = match message.tree.get("UpgradeFailedReason") {
        Some("01") => ("下载超时", "the download timed out"),
        Some("02") => ("升级包损坏", "the package is damaged"),
        Some("03") => ("系统错误", "system error"),
        _ => ("其他原因", "another reason"),
    };
    let text = if ok {
        Text::new(format!("固件升级成功（{firmware}）"), format!("the firmware was updated ({firmware})"))
    } else {
        Text::new(format!("固件升级失败：{why_zh}"), format!("the firmware update failed: {why_en}"))
    };
    tracing::info!(device = id, ok, ?firmware, "result of an upgrade");
    shared.ctx.registry.note(&device_id(id), !ok, text);
}

/// For the device's page.
pub(crate) fn of(shared: &Shared, id: &str) -> Vec<(&'static str, String)> {
    let Some(peer) = shared.peer(id) else { return Vec::new() };
    let device = shared.config.device(id);
    let patience: Duration = shared.patience(id);
    let charset = match shared.charset(id, &peer) {
        Charset::Gb18030 => "GB 18030",
        Charset::Utf8 => "UTF-8",
    };
    let mut out = vec![
        ("edition", crate::edition::Edition::words(shared.edition(id, &peer))),
        ("edition_header", peer.edition.map_or_else(String::new, |e| e.header().to_owned())),
        ("charset", charset.to_owned()),
        ("signalling", format!("{} {}", peer.transport, peer.source)),
        ("patience_s", patience.as_secs().to_string()),
    ];
    if let Some((interval, count)) = peer.heartbeat {
        out.push(("heartbeat", format!("{interval} s x {count}")));
    }
    if let Some(clock) = peer.clock {
        out.push(("clock_offset_s", format!("{:+}", clock.offset_s)));
    }
    if device.is_some_and(|d| d.version.is_some()) {
        out.push(("edition_set", "configuration".to_owned()));
    }
    if let Some(tcp) = peer.media_tcp {
        out.push(("media_learned", if tcp { "tcp" } else { "udp" }.to_owned()));
    }
    if shared.config.satellite(id) {
        out.push(("link", "satellite".to_owned()));
    }
    out
}
