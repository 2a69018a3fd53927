//! A device calls: for a broadcast of ours, too late for one, or by itself.

use media_hub::Text;
use sip::{Call, Flow, Request};

use super::config::DeviceCalls;
use super::table::{Called, Waiting};
use crate::shared::{Shared, device_id};

/// How well a call fits to a broadcast: none when it is of another device.
fn fits(shared: &Shared, waiting: &Waiting, called: &Called) -> Option<u32> {
    let peer = shared.peer(&waiting.device)?;
    let same_flow = peer.flow == Some(called.flow.id) || peer.source == called.flow.peer;
    if !same_flow && peer.source.ip() != called.flow.peer.ip() {
        return None;
    }
    let request = &called.request;
    let from = request.from().map(|f| f.uri.user().to_owned()).unwrap_or_default();
    let is_own = |id: &str| {
        id == waiting.device
            || waiting.ids.iter().any(|w| w == id)
            || shared
                .ctx
                .registry
                .get(&device_id(&waiting.device))
                .is_some_and(|d| d.channels.iter().any(|c| c.id.name() == id))
    };
    // Behind one address many devices may live: then From, or the very flow, must tell which.
    if !same_flow && !is_own(&from) {
        return None;
    }
    // From another device behind the same flow (a lower platform) it is not ours.
    if same_flow && !is_own(&from) && shared.peers.contains_key(&from) {
        return None;
    }
    let subject = request.headers.get("Subject").unwrap_or("");
    let named = |id: &String| from == *id || subject.contains(id.as_str());
    Some(1 + 2 * u32::from(waiting.ids.iter().any(named)) + u32::from(same_flow))
}

/// The registered device that calls: by From, or by the flow.
fn caller(shared: &Shared, flow: &Flow, request: &Request) -> Option<String> {
    let from = request.from().map(|f| f.uri.user().to_owned()).unwrap_or_default();
    let near = |id: &str| shared.peer(id).is_some_and(|p| p.online && p.source.ip() == flow.peer.ip());
    if near(&from) {
        return Some(from);
    }
    // A channel calls: the device behind this very flow, if it has that channel. (A look through the table costs less than the
    // answer; a sorted list of all devices for each stranger's call would not.)
    let behind = shared.peers.iter().find(|p| p.online && p.source == flow.peer).map(|p| p.key().clone())?;
    let has = |d: std::sync::Arc<bridge_core::Device>| d.channels.iter().any(|c| c.id.name() == from);
    shared.ctx.registry.get(&device_id(&behind)).is_some_and(has).then_some(behind)
}

/// Takes an INVITE of a device.
pub(crate) fn invited(shared: &Shared, call: Call, flow: Flow, request: Request) {
    let called = Box::new(Called { call, flow, request });
    let Err(called) = shared.voice.claim(called, |waiting, called| fits(shared, waiting, called)) else { return };
    let Called { call, flow, request } = *called;
    let Some(device) = caller(shared, &flow, &request) else {
        shared.metrics.refused_messages.with_label_values(&["invite"]).inc();
        tracing::debug!(source = %flow.peer, "a call of somebody who is not registered");
        return call.reject(403, "");
    };
    if shared.voice.late(&device) {
        tracing::info!(device, "a device calls for a broadcast that was given up");
        return call.reject(480, "");
    }
    shared.voice.metrics.device_calls.inc();
    tracing::info!(device, source = %flow.peer, "a device calls by itself");
    let (code, zh, en) = match shared.config.voice.device_calls {
        DeviceCalls::Busy => (
            486,
            "已答复忙，请在监看中打开它的画面并回呼",
            "it was told that we are busy: open its picture and talk to it",
        ),
        DeviceCalls::Decline => {
            (603, "已拒接，请在监看中打开它的画面并回呼", "it was declined: open its picture and talk to it")
        }
    };
    shared.ctx.registry.calls(&device_id(&device), Text::new(zh, en));
    call.reject(code, "");
}
