//! Talking to cameras: the talk button, to one or to many.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Operator, Viewer};
use super::legs::{created, offer, webrtc_error};
use super::{ApiError, Shared};
use crate::talk::TalkView;

#[derive(Serialize, ToSchema)]
pub struct TalkList {
    items: Vec<TalkView>,
}

/// Who talks to which cameras now.
#[utoipa::path(get, path = "/talks", responses((status = 200, body = TalkList)))]
pub async fn list(State(app): State<Shared>, Viewer(_who): Viewer) -> Json<TalkList> {
    Json(TalkList { items: app.talks.all() })
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTalk {
    /// 1 to 32 channels: cameras, or loudspeakers themselves.
    channels: Vec<String>,
}

/// Talk to cameras. They are called at once; the microphone comes by `POST /talks/{id}/whip` within 15 s.
#[utoipa::path(post, path = "/talks", request_body = NewTalk,
    responses((status = 201, body = TalkView), (status = 400), (status = 404), (status = 409)))]
pub async fn begin(
    State(app): State<Shared>,
    Operator(who): Operator,
    Json(body): Json<NewTalk>,
) -> Result<(StatusCode, Json<TalkView>), ApiError> {
    let begun = app.talks.begin(&app, &who, &body.channels);
    let outcome = begun.as_ref().map_or_else(ApiError::code, |_| "ok");
    who.outcome(&app, "talk", &body.channels.join(" "), begun.as_ref().map_or("", |t| &t.id), outcome);
    Ok((StatusCode::CREATED, Json(begun?)))
}

/// One talk.
#[utoipa::path(get, path = "/talks/{id}", params(("id" = String, Path)), responses((status = 200, body = TalkView), (status = 404)))]
pub async fn show(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<TalkView>, ApiError> {
    app.talks.get(&id).map(Json).ok_or_else(|| ApiError::not_found(&format!("talk {id}")))
}

/// The microphone of a talk (WHIP). What a camera sends back on the same session, where it does, comes on the same leg. The end
/// of the leg ends the talk.
#[utoipa::path(post, path = "/talks/{id}/whip", params(("id" = String, Path)),
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
    let missing = || ApiError::not_found(&format!("talk {id}"));
    let (stream, hears, account) = app.talks.streams(&id).ok_or_else(missing)?;
    if account != who.identity.account {
        return Err(ApiError::forbidden());
    }
    let (leg, answer) = app.endpoint.whip(offer, &stream, &account, Some(hears)).map_err(webrtc_error)?;
    app.legs.add(leg, &who);
    if let Err(error) = app.talks.joined(&app, &id, stream, leg) {
        // It ended meanwhile.
        app.endpoint.close(leg);
        return Err(error);
    }
    Ok(created(leg, answer))
}

/// End a talk: one's own, or as an operator another's.
#[utoipa::path(delete, path = "/talks/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn end(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let account = app.talks.get(&id).ok_or_else(|| ApiError::not_found(&format!("talk {id}")))?.by;
    let own = account == who.identity.account;
    if !app.talks.end(&app, &id, if own { "released" } else { "ended by another operator" }) {
        return Err(ApiError::not_found(&format!("talk {id}")));
    }
    if !own {
        who.note(&app, "end_talk", &id, &account);
    }
    Ok(StatusCode::NO_CONTENT)
}
