//! What devices tell of themselves besides their channels: keepalive terms, the result of an upgrade, and what their page shows.

use std::sync::Arc;
use std::time::Duration;

use bridge_core::{Answer, Object, Query, Setting, SettingKind};
use media_hub::Text;

use crate::control;
use crate::manscdp::Manscdp;
use crate::peer::Stored;
use crate::shared::{Shared, device_id, lock};
use crate::text::Charset;

/// Devices whose terms may wait to be taken up.
const WAITING: usize = 100_000;

/// Devices asked for their terms at the same time: many never answer, and each keeps its place for `control.answer`.
const ASKED_AT_ONCE: usize = 128;

/// Puts a device in line to be asked for its terms.
pub(crate) fn line_up(shared: &Arc<Shared>, id: &str) {
    {
        let mut line = lock(&shared.terms_to_ask);
        if line.0.len() >= WAITING {
            return;
        }
        line.0.push_back(id.to_owned());
        if line.1 >= ASKED_AT_ONCE {
            return;
        }
        line.1 += 1;
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
    loop {
        let next = {
            let mut line = lock(&shared.terms_to_ask);
            let next = line.0.pop_front();
            if next.is_none() {
                line.1 -= 1;
            }
            next
        };
        let Some(id) = next else { return };
        read_terms(shared, &id).await;
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
