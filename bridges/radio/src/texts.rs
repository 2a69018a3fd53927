//! Short messages of radios, both ways: plain MESSAGE texts by the gateway, a thread for each radio (`radio:GATEWAY/RADIO`).

use std::sync::Arc;
use std::time::Duration;

use bridge_core::{
    ChannelId, Fault, Link, MOST_TEXT, TextDone, TextNews, TextOrder, TextReport, TextThread, Timestamp,
};
use sip::{Method, TxId};
use tokio::sync::oneshot;

use crate::bridge::Shared;
use crate::carrier::Who;
use crate::faults::Reason;
use crate::gateway::{Gateway, ask};

/// The hall has a text on disk within this, else the gateway is told to try again.
const STORED_WITHIN: Duration = Duration::from_secs(5);

/// A text for the hall; none: nobody says who wrote it, or there are no words in it.
pub(crate) fn report(
    gateway: &Gateway,
    who: Option<&Who>,
    text: &str,
) -> Option<(TextReport, oneshot::Receiver<Result<bridge_core::TextStored, Fault>>)> {
    let who = who.filter(|w| !w.id.is_empty())?;
    let clean: String = text.chars().filter(|c| !c.is_control() || *c == '\n').take(MOST_TEXT).collect();
    let clean = clean.trim();
    if clean.is_empty() {
        return None;
    }
    let far = ChannelId::new(&gateway.id, &who.id).0;
    let (stored, answer) = oneshot::channel();
    let report = TextReport {
        thread: TextThread::With(far.clone()),
        from: far,
        name: gateway.shown(who),
        link: Link::Radio,
        text: clean.to_owned(),
        device_time: None,
        received: Timestamp::now(),
        relayed: None,
        stored,
    };
    Some((report, answer))
}

/// Hands a text over and answers the gateway when it is stored.
pub(crate) async fn take(
    shared: Arc<Shared>,
    tx: TxId,
    request: sip::Request,
    report: TextReport,
    answer: oneshot::Receiver<Result<bridge_core::TextStored, Fault>>,
) {
    let stored = shared.ctx.reports.text(TextNews::Came(report))
        && matches!(tokio::time::timeout(STORED_WITHIN, answer).await, Ok(Ok(Ok(_))));
    let response = match stored {
        true => request.respond(200),
        false => request.respond(503).with("Retry-After", "5"),
    };
    shared.ctx.sip.respond(tx, response);
}

/// Brings a text of the hall to a radio.
pub(crate) async fn send(shared: &Shared, order: &TextOrder) -> Result<TextDone, Fault> {
    let far = order.to.strip_prefix("radio:").unwrap_or(&order.to);
    let (name, radio) = far.split_once('/').ok_or_else(|| Reason::UnknownGroup.with(far))?;
    let gateway = shared.gateways.iter().find(|g| g.config.name == name);
    let gateway = gateway.ok_or_else(|| Reason::UnknownGroup.with(far))?;
    if !gateway.is_up() {
        return Err(Reason::GatewayDown.with(gateway.config.title()));
    }
    let mut request = gateway.request(Method::Message, gateway.uri(radio));
    request.set_body("text/plain;charset=UTF-8", order.text.clone());
    match ask(shared, gateway, request).await {
        Ok(response) if response.is_success() => Ok(TextDone::Delivered),
        Ok(response) => Err(Reason::RadioTextRefused.with(format_args!("{} {}", response.code, response.reason))),
        Err(_) => Err(Reason::GatewayDown.with(gateway.config.title())),
    }
}
