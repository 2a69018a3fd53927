//! Orders and questions to channels and devices, and who holds a camera.

use std::time::Instant;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bridge_core::{Answer, ChannelId, DeviceId, Done, Object, Order, Query, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::auth::{Operator, Viewer, Who};
use super::{ApiError, Shared};
use crate::confirmations::GOOD_FOR;
use crate::control::{least_role, session_name};
use crate::leases::Holder;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderRequest {
    order: Order,
    /// The token that the first answer gave, for a dangerous order.
    confirm: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct OrderDone {
    /// `confirmed`: the device said so; `sent`: its protocol has no word for it; `unknown`: its word did not come.
    outcome: Done,
}

fn channel(app: &Shared, id: &str) -> Result<Object, ApiError> {
    let channel = ChannelId(id.to_owned());
    app.registry.channel(&channel).ok_or_else(|| ApiError::not_found(&format!("channel {id}")))?;
    Ok(Object::Channel(channel))
}

fn device(app: &Shared, id: &str) -> Result<Object, ApiError> {
    let device = DeviceId(id.to_owned());
    app.registry.get(&device).ok_or_else(|| ApiError::not_found(&format!("device {id}")))?;
    Ok(Object::Device(device))
}

/// The order for the audit row, without what stands before the host of an address: it may be a password.
fn told(order: &Order) -> String {
    let mut shown = order.clone();
    if let Order::Upgrade { url, .. } = &mut shown
        && let Some((scheme, rest)) = url.split_once("://")
        && let Some((_, host)) = rest.rsplit_once('@')
    {
        *url = format!("{scheme}://…@{host}");
    }
    serde_json::to_string(&shown).unwrap_or_default()
}

/// Notes what an order lets run, so that whoever takes over stops it.
fn note_running(app: &Shared, object: &Object, who: &Who, order: &Order) {
    let Object::Channel(channel) = object else { return };
    let session = session_name(&who.identity);
    match order {
        Order::Lens { focus, iris } => {
            let moves = *focus != 0.0 || *iris != 0.0;
            app.leases.running(channel, &session, |r| r.lens = moves);
        }
        Order::CruiseStart { .. } | Order::ScanStart { .. } => app.leases.running(channel, &session, |r| r.turn = true),
        Order::CruiseStop {} | Order::ScanStop {} => app.leases.running(channel, &session, |r| r.turn = false),
        _ => {}
    }
}

async fn give(app: Shared, who: Who, object: Object, request: OrderRequest) -> Result<Json<OrderDone>, ApiError> {
    let OrderRequest { order, confirm } = request;
    if let Some(problem) = order.problem() {
        return Err(ApiError::invalid(problem));
    }
    let (name, verb, detail) = (object.to_string(), order.verb(), told(&order));
    if who.identity.role < least_role(&order) {
        who.outcome(&app, verb, &name, &detail, "forbidden");
        return Err(ApiError::forbidden());
    }
    let now = Instant::now();
    if order.dangerous() {
        let exact = serde_json::to_string(&order).unwrap_or_default();
        let good = confirm
            .as_deref()
            .is_some_and(|t| app.confirmations.confirm(t, &who.identity.token_hash, &name, &exact, now));
        if !good {
            let token = app.confirmations.ask(&who.identity.token_hash, &name, &exact, now);
            who.outcome(&app, verb, &name, &detail, "asked_again");
            let error = ApiError::conflict(
                "confirmation_required",
                "此操作有风险，请再次确认",
                "this order is dangerous: give it again with the token",
            );
            return Err(error.with("confirm", json!({ "token": token, "good_for_s": GOOD_FOR.as_secs() })));
        }
    }
    if let (true, Object::Channel(channel)) = (order.moves(), &object) {
        let still = matches!(&order, Order::Lens { focus, iris } if *focus == 0.0 && *iris == 0.0);
        let another = app.leases.of_another(channel, &session_name(&who.identity), now);
        if still && another {
            // The stop of one who lost the camera must not stop the one who has it.
            return Ok(Json(OrderDone { outcome: Done::Sent }));
        }
        if !still && let Err(error) = app.hold(channel, &who.identity).await {
            who.outcome(&app, verb, &name, &detail, error.code());
            return Err(error);
        }
    }
    note_running(&app, &object, &who, &order);
    let done = app.give(object.clone(), order.clone()).await;
    who.outcome(&app, verb, &name, &detail, done.as_ref().map_or_else(|f| f.code, |d| d.as_str()));
    let outcome = done.map_err(|fault| ApiError::of_fault(&fault))?;
    if let Object::Channel(_) = &object {
        let kept = match &order {
            Order::PresetSet { preset, name: Some(text) } => Some((*preset, Some(text.as_str()))),
            Order::PresetDelete { preset } => Some((*preset, None)),
            _ => None,
        };
        if let Some((preset, text)) = kept
            && let Err(error) = app.store.set_preset_name(&name, preset, text).await
        {
            tracing::warn!(%error, "the name of a preset is not kept");
        }
    }
    Ok(Json(OrderDone { outcome }))
}

/// Give an order to a channel. Dangerous ones answer 409 `confirmation_required` with a token the first time.
#[utoipa::path(post, path = "/channels/{id}/orders", params(("id" = String, Path)), request_body = OrderRequest,
    responses((status = 200, body = OrderDone), (status = 400), (status = 403), (status = 404), (status = 409), (status = 502)))]
pub async fn order_channel(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Json(body): Json<OrderRequest>,
) -> Result<Json<OrderDone>, ApiError> {
    let object = channel(&app, &id)?;
    give(app, who, object, body).await
}

/// Give an order to a device, as [`order_channel`].
#[utoipa::path(post, path = "/devices/{id}/orders", params(("id" = String, Path)), request_body = OrderRequest,
    responses((status = 200, body = OrderDone), (status = 400), (status = 403), (status = 404), (status = 409), (status = 502)))]
pub async fn order_device(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Json(body): Json<OrderRequest>,
) -> Result<Json<OrderDone>, ApiError> {
    let object = device(&app, &id)?;
    give(app, who, object, body).await
}

async fn question(app: Shared, who: Who, object: Object, query: Query) -> Result<Json<Answer>, ApiError> {
    let (name, detail) = (object.to_string(), query.verb());
    let answer = app.question(object, query).await;
    who.outcome(&app, "query", &name, detail, answer.as_ref().map_or_else(|f| f.code, |_| "ok"));
    answer.map(Json).map_err(|fault| ApiError::of_fault(&fault))
}

/// Ask a channel.
#[utoipa::path(post, path = "/channels/{id}/queries", params(("id" = String, Path)), request_body = Query,
    responses((status = 200, body = Answer), (status = 400), (status = 404), (status = 502)))]
pub async fn ask_channel(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Json(body): Json<Query>,
) -> Result<Json<Answer>, ApiError> {
    let object = channel(&app, &id)?;
    question(app, who, object, body).await
}

/// Ask a device.
#[utoipa::path(post, path = "/devices/{id}/queries", params(("id" = String, Path)), request_body = Query,
    responses((status = 200, body = Answer), (status = 400), (status = 404), (status = 502)))]
pub async fn ask_device(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Json(body): Json<Query>,
) -> Result<Json<Answer>, ApiError> {
    let object = device(&app, &id)?;
    question(app, who, object, body).await
}

#[derive(Serialize, ToSchema)]
pub struct Fact {
    key: &'static str,
    value: String,
}

#[derive(Serialize, ToSchema)]
pub struct FactList {
    items: Vec<Fact>,
}

/// What the bridge knows of a device: edition, character set, way of signalling, keepalive terms, how far its clock is off.
#[utoipa::path(get, path = "/devices/{id}/facts", params(("id" = String, Path)), responses((status = 200, body = FactList), (status = 404)))]
pub async fn facts(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<FactList>, ApiError> {
    device(&app, &id)?;
    let id = DeviceId(id);
    let known = app.bridges.iter().find(|b| b.name() == id.bridge()).map(|b| b.facts(&id)).unwrap_or_default();
    Ok(Json(FactList { items: known.into_iter().map(|(key, value)| Fact { key, value }).collect() }))
}

#[derive(Serialize, ToSchema)]
pub struct LeaseView {
    channel: String,
    holder: Holder,
}

#[derive(Serialize, ToSchema)]
pub struct LeaseList {
    items: Vec<LeaseView>,
}

/// Who holds which camera.
#[utoipa::path(get, path = "/leases", responses((status = 200, body = LeaseList)))]
pub async fn leases(State(app): State<Shared>, Viewer(_who): Viewer) -> Json<LeaseList> {
    let all = app.leases.all(Instant::now(), Timestamp::now());
    Json(LeaseList { items: all.into_iter().map(|(c, holder)| LeaseView { channel: c.0, holder }).collect() })
}

/// Take a camera without moving it, or keep it; 409 `camera_held` names who has it.
#[utoipa::path(put, path = "/channels/{id}/lease", params(("id" = String, Path)), responses((status = 204), (status = 404), (status = 409)))]
pub async fn take_lease(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let Object::Channel(channel) = channel(&app, &id)? else { return Err(ApiError::not_found(&id)) };
    let held = app.hold(&channel, &who.identity).await;
    who.outcome(&app, "take_camera", &id, "", held.as_ref().map_or_else(ApiError::code, |()| "ok"));
    held.map(|()| StatusCode::NO_CONTENT)
}

/// Give a camera back at once; what was let run is stopped.
#[utoipa::path(delete, path = "/channels/{id}/lease", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn give_back(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let Object::Channel(channel) = channel(&app, &id)? else { return Err(ApiError::not_found(&id)) };
    if let Some(running) = app.leases.release(&channel, &session_name(&who.identity)) {
        app.tell_lease(&channel);
        app.stop_running(&channel, running).await;
        who.note(&app, "give_camera_back", &id, "");
    }
    Ok(StatusCode::NO_CONTENT)
}
