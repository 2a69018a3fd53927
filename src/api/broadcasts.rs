//! Emergency broadcasts: begun, followed, stopped; their lists of targets and their sounds.

use std::time::Instant;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::auth::{Operator, Viewer};
use super::legs::{created, offer, webrtc_error};
use super::{ApiError, Shared};
use crate::broadcast::{BroadcastList, BroadcastView, MOST_SOUND_BYTES, MOST_SOUNDS, NewBroadcast, Sound, Source};
use crate::confirmations::GOOD_FOR;
use crate::store::DeskKind;

/// Most lists.
const MOST_LISTS: usize = 500;
/// Broadcasts of one answer.
const PAGE: i64 = 50;

#[derive(Deserialize, IntoParams)]
pub struct BroadcastQuery {
    /// Only those ordered before this instant, in milliseconds since 1970.
    before: Option<i64>,
    /// 1 to 200; 50 if left out.
    limit: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub struct Broadcasts {
    items: Vec<BroadcastView>,
}

/// The last broadcasts, the newest first, without their targets. Changes are told by the event `broadcast`.
#[utoipa::path(get, path = "/broadcasts", params(BroadcastQuery), responses((status = 200, body = Broadcasts)))]
pub async fn list(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Query(q): Query<BroadcastQuery>,
) -> Result<Json<Broadcasts>, ApiError> {
    let limit = q.limit.unwrap_or(PAGE).clamp(1, 200);
    Ok(Json(Broadcasts { items: app.broadcasts.list(&app, q.before.unwrap_or(i64::MAX), limit).await? }))
}

/// One broadcast with what became of each target.
#[utoipa::path(get, path = "/broadcasts/{id}", params(("id" = String, Path)),
    responses((status = 200, body = BroadcastView), (status = 404)))]
pub async fn show(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<BroadcastView>, ApiError> {
    let found = app.broadcasts.get(&app, &id).await?;
    found.map(Json).ok_or_else(|| ApiError::not_found(&format!("broadcast {id}")))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BroadcastRequest {
    order: NewBroadcast,
    /// The token that the first answer gave.
    confirm: Option<String>,
}

/// Begin a broadcast. The first time it answers 409 `confirmation_required` with a token. A live voice calls its targets at once;
/// the microphone comes by `POST /broadcasts/{id}/whip` within 30 s.
#[utoipa::path(post, path = "/broadcasts", request_body = BroadcastRequest,
    responses((status = 201, body = BroadcastView), (status = 400), (status = 409), (status = 503)))]
pub async fn begin(
    State(app): State<Shared>,
    Operator(who): Operator,
    Json(request): Json<BroadcastRequest>,
) -> Result<(StatusCode, Json<BroadcastView>), ApiError> {
    let BroadcastRequest { order, confirm } = request;
    if let Some(problem) = order.problem() {
        return Err(ApiError::invalid(problem));
    }
    let detail = detail(&order);
    let exact = serde_json::to_string(&order).unwrap_or_default();
    let (session, now) = (&who.identity.token_hash, Instant::now());
    let good = confirm.is_some_and(|t| app.confirmations.confirm(&t, session, "broadcast", &exact, now));
    if !good {
        let token = app.confirmations.ask(session, "broadcast", &exact, now);
        who.outcome(&app, "broadcast", "", &detail, "asked_again");
        let error = ApiError::conflict(
            "confirmation_required",
            "广播将立即播出，请再次确认",
            "this is said at once: give the order again with the token",
        );
        return Err(error.with("confirm", json!({ "token": token, "good_for_s": GOOD_FOR.as_secs() })));
    }
    match app.broadcasts.begin(&app, &who.identity.account, order).await {
        Ok(view) => {
            who.note(&app, "broadcast", &view.id, &detail);
            Ok((StatusCode::CREATED, Json(view)))
        }
        Err(error) => {
            who.outcome(&app, "broadcast", "", &detail, error.code());
            Err(error)
        }
    }
}

/// What the audit log keeps of an order: the words themselves come last, since a row has its end.
fn detail(order: &NewBroadcast) -> String {
    let what = match &order.source {
        Source::Text { text, .. } => text.as_str(),
        Source::Sound { sound } => sound.as_str(),
        Source::Live {} => "live",
    };
    let targets: Vec<&str> = order.targets.iter().take(8).map(|t| t.to.as_str()).collect();
    format!("{} targets ({}) x{}: {what}", order.targets.len(), targets.join(" "), order.rounds)
}

/// End a broadcast for all at once.
#[utoipa::path(post, path = "/broadcasts/{id}/stop", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn stop(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if !app.broadcasts.stop(&id, Some(&who.identity.account)) {
        return Err(ApiError::not_found(&format!("running broadcast {id}")));
    }
    who.note(&app, "stop_broadcast", &id, "");
    Ok(StatusCode::NO_CONTENT)
}

/// The microphone of a live broadcast (WHIP). The end of the leg ends the broadcast.
#[utoipa::path(post, path = "/broadcasts/{id}/whip", params(("id" = String, Path)),
    request_body(content = String, content_type = "application/sdp"),
    responses((status = 201, body = String, content_type = "application/sdp"), (status = 400), (status = 403), (status = 404)))]
pub async fn whip(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    let offer = offer(&headers, &body)?;
    let missing = || ApiError::not_found(&format!("live broadcast {id}"));
    let (stream, hears, account) = app.broadcasts.streams(&id).ok_or_else(missing)?;
    if account != who.identity.account {
        return Err(ApiError::forbidden());
    }
    let (leg, answer) = app.endpoint.whip(offer, &stream, &account, Some(hears)).map_err(webrtc_error)?;
    app.legs.add(leg, &who);
    if !app.broadcasts.joined(&id, stream, leg) {
        app.endpoint.close(leg);
        return Err(missing());
    }
    Ok(created(leg, answer))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Preview {
    source: Source,
    #[serde(default)]
    chime: bool,
}

/// What a text or a sound will be like, once.
#[utoipa::path(post, path = "/broadcasts/preview", request_body = Preview,
    responses((status = 200, body = Vec<u8>, content_type = "audio/wav"), (status = 400), (status = 503)))]
pub async fn preview(
    State(app): State<Shared>,
    Operator(_who): Operator,
    Json(body): Json<Preview>,
) -> Result<impl IntoResponse, ApiError> {
    if let Some(problem) = body.source.problem() {
        return Err(ApiError::invalid(problem));
    }
    let made = app.broadcasts.announcement(&app, &body.source, (body.chime, 1, 0)).await;
    let wav = made.map_err(|f| ApiError::of_fault(&f))?.wav();
    Ok(([(header::CONTENT_TYPE, "audio/wav"), (header::CACHE_CONTROL, "no-store")], wav))
}

/// A list and its id.
#[derive(Serialize, ToSchema)]
pub struct KeptList {
    id: String,
    #[serde(flatten)]
    body: BroadcastList,
}

#[derive(Serialize, ToSchema)]
pub struct BroadcastLists {
    items: Vec<KeptList>,
}

/// Lists of targets.
#[utoipa::path(get, path = "/broadcast-lists", responses((status = 200, body = BroadcastLists)))]
pub async fn lists(State(app): State<Shared>, Viewer(_who): Viewer) -> Result<Json<BroadcastLists>, ApiError> {
    let all = app.store.desk_items::<BroadcastList>(DeskKind::BroadcastList).await?;
    Ok(Json(BroadcastLists { items: all.into_iter().map(|(id, body)| KeptList { id, body }).collect() }))
}

/// Keep a list of targets.
#[utoipa::path(post, path = "/broadcast-lists", request_body = BroadcastList, responses((status = 201, body = KeptList), (status = 400)))]
pub async fn create_list(
    State(app): State<Shared>,
    Operator(who): Operator,
    Json(body): Json<BroadcastList>,
) -> Result<(StatusCode, Json<KeptList>), ApiError> {
    if let Some(problem) = body.problem() {
        return Err(ApiError::invalid(problem));
    }
    if app.store.desk_items::<BroadcastList>(DeskKind::BroadcastList).await?.len() >= MOST_LISTS {
        return Err(ApiError::invalid("at most 500 lists"));
    }
    let id = Uuid::now_v7().simple().to_string();
    app.store.put_desk_item(DeskKind::BroadcastList, &id, &body).await?;
    who.note(&app, "create_broadcast_list", &id, &format!("{} {}", body.name, body.targets.len()));
    Ok((StatusCode::CREATED, Json(KeptList { id, body })))
}

/// Change a list of targets.
#[utoipa::path(put, path = "/broadcast-lists/{id}", params(("id" = String, Path)), request_body = BroadcastList,
    responses((status = 200, body = KeptList), (status = 400), (status = 404)))]
pub async fn replace_list(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Json(body): Json<BroadcastList>,
) -> Result<Json<KeptList>, ApiError> {
    if let Some(problem) = body.problem() {
        return Err(ApiError::invalid(problem));
    }
    let all = app.store.desk_items::<BroadcastList>(DeskKind::BroadcastList).await?;
    if !all.iter().any(|(key, _)| *key == id) {
        return Err(ApiError::not_found(&format!("broadcast list {id}")));
    }
    app.store.put_desk_item(DeskKind::BroadcastList, &id, &body).await?;
    who.note(&app, "change_broadcast_list", &id, &format!("{} {}", body.name, body.targets.len()));
    Ok(Json(KeptList { id, body }))
}

/// Delete a list of targets.
#[utoipa::path(delete, path = "/broadcast-lists/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn delete_list(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if !app.store.delete_desk_item(DeskKind::BroadcastList, &id).await? {
        return Err(ApiError::not_found(&format!("broadcast list {id}")));
    }
    who.note(&app, "delete_broadcast_list", &id, "");
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, ToSchema)]
pub struct SoundList {
    items: Vec<Sound>,
}

/// Sounds that were uploaded.
#[utoipa::path(get, path = "/broadcast-sounds", responses((status = 200, body = SoundList)))]
pub async fn sounds(State(app): State<Shared>, Viewer(_who): Viewer) -> Result<Json<SoundList>, ApiError> {
    Ok(Json(SoundList { items: app.sounds.all().await? }))
}

#[derive(Deserialize, IntoParams)]
pub struct SoundQuery {
    /// 1 to 64 characters.
    name: String,
}

/// Upload a sound: WAV (PCM, float, G.711) of at most 64 MiB and 10 minutes, as the body of the request.
#[utoipa::path(post, path = "/broadcast-sounds", params(SoundQuery), request_body(content = Vec<u8>, content_type = "audio/wav"),
    responses((status = 201, body = Sound), (status = 400), (status = 409), (status = 413)))]
pub async fn upload(
    State(app): State<Shared>,
    Operator(who): Operator,
    Query(q): Query<SoundQuery>,
    body: Body,
) -> Result<(StatusCode, Json<Sound>), ApiError> {
    let name = q.name.trim();
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(ApiError::invalid("a name is 1 to 64 characters"));
    }
    if app.sounds.all().await?.len() >= MOST_SOUNDS {
        return Err(ApiError::invalid("at most 100 sounds"));
    }
    // One at a time: each may take 64 MiB of memory.
    let _turn = app.sounds.turn().ok_or_else(|| {
        ApiError::conflict("sound_uploads_busy", "正在接收另一个文件，请稍后", "another file is being received")
            .retry_after(5)
    })?;
    let bytes = axum::body::to_bytes(body, MOST_SOUND_BYTES).await.map_err(|_| {
        ApiError::invalid("the file is larger than 64 MiB, or broke off").with_status(StatusCode::PAYLOAD_TOO_LARGE)
    })?;
    let added = app.sounds.add(name, &who.identity.account, bytes.into()).await;
    who.outcome(&app, "add_sound", name, "", added.as_ref().map_or_else(|f| f.code, |_| "ok"));
    added.map(|s| (StatusCode::CREATED, Json(s))).map_err(|f| ApiError::of_fault(&f))
}

/// The sound itself.
#[utoipa::path(get, path = "/broadcast-sounds/{id}", params(("id" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "audio/wav"), (status = 404)))]
pub async fn sound(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let bytes = app.sounds.read(&id).await.ok_or_else(|| ApiError::not_found(&format!("sound {id}")))?;
    Ok(([(header::CONTENT_TYPE, "audio/wav")], bytes))
}

/// Delete a sound.
#[utoipa::path(delete, path = "/broadcast-sounds/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn delete_sound(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if !app.sounds.delete(&id).await? {
        return Err(ApiError::not_found(&format!("sound {id}")));
    }
    who.note(&app, "delete_sound", &id, "");
    Ok(StatusCode::NO_CONTENT)
}
