//! Browser legs: WHEP (watch), WHIP (join a conference).

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use media_hub::{Outcome, Step, StreamId, Whose};
use media_webrtc::{LegId, LegKind, LegState, LegStatus, ViewerOptions, WebRtcError};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::{Viewer, Who};
use super::{ApiError, Shared};
use crate::store::Role;

/// Largest offer that is read, in bytes.
const MAX_OFFER: usize = 64 * 1024;

#[derive(Deserialize, IntoParams)]
pub struct WhepQuery {
    /// 0 leaves the sound out.
    audio: Option<u8>,
}

pub(super) fn offer<'a>(headers: &HeaderMap, body: &'a Bytes) -> Result<&'a str, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !kind.to_ascii_lowercase().starts_with("application/sdp") {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_sdp",
            Whose::You,
            "请以 application/sdp 提交",
            "send the offer as application/sdp",
        ));
    }
    if body.len() > MAX_OFFER {
        return Err(ApiError::invalid("the offer is longer than 64 KiB"));
    }
    std::str::from_utf8(body).map_err(|_| ApiError::invalid("the offer is not UTF-8"))
}

pub(super) fn webrtc_error(error: WebRtcError) -> ApiError {
    let en = error.to_string();
    match error {
        WebRtcError::Offer(_) => {
            ApiError::new(StatusCode::BAD_REQUEST, "offer_refused", Whose::You, "无法应答此浏览器的媒体请求", &en)
        }
        WebRtcError::UnknownStream(id) => ApiError::not_found(&format!("stream {id}")),
        WebRtcError::Taken(_) => ApiError::conflict("already_published", "该名称正在发布", &en),
        WebRtcError::TooMany(_) | WebRtcError::Down => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "browser_media_busy",
            Whose::Us,
            "浏览器媒体通道已满或未运行",
            &en,
        ),
        WebRtcError::NoLeg | WebRtcError::Bind { .. } | WebRtcError::Start(_) => ApiError::internal(&en),
    }
}

pub(super) fn created(leg: LegId, answer: String) -> impl IntoResponse {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/sdp"));
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/legs/{leg}")) {
        headers.insert(header::LOCATION, location);
    }
    (StatusCode::CREATED, headers, answer)
}

/// Watch a stream (WHEP).
#[utoipa::path(post, path = "/whep/{stream}", params(("stream" = String, Path), WhepQuery),
    request_body(content = String, content_type = "application/sdp"),
    responses((status = 201, body = String, content_type = "application/sdp"), (status = 400), (status = 404)))]
pub async fn whep(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(stream): Path<String>,
    Query(query): Query<WhepQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    let offer = offer(&headers, &body)?;
    let id = StreamId::new(&stream);
    if !app.hub.knows(&id) {
        return Err(ApiError::not_found(&format!("stream {stream}")));
    }
    let options = ViewerOptions { audio: query.audio != Some(0) };
    let (leg, answer) = app.endpoint.whep(offer, &id, options).map_err(webrtc_error)?;
    app.legs.add(leg, &who);
    who.note(&app, "view", &stream, &leg.to_string());
    Ok(created(leg, answer))
}

#[derive(Deserialize, IntoParams)]
pub struct WhipQuery {
    /// Name shown in the conference; the account's name if it is left out.
    name: Option<String>,
}

/// Join a conference with camera and microphone (WHIP); the mix comes back on the same leg.
#[utoipa::path(post, path = "/whip/{conference}", params(("conference" = String, Path), WhipQuery),
    request_body(content = String, content_type = "application/sdp"),
    responses((status = 201, body = String, content_type = "application/sdp"), (status = 400), (status = 404)))]
pub async fn whip(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(conference): Path<String>,
    Query(query): Query<WhipQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    let offer = offer(&headers, &body)?;
    let name = query.name.filter(|n| !n.trim().is_empty()).unwrap_or_else(|| who.identity.account.clone());
    let view =
        app.conferences.get(&conference).ok_or_else(|| ApiError::not_found(&format!("conference {conference}")))?;
    if view.locked && who.identity.role < Role::Operator {
        return Err(ApiError::conflict("conference_locked", "会议已锁定", "the conference is locked"));
    }
    let (member, stream, hears) = app.conferences.seat_browser(&conference, &who.identity.account, &name)?;
    let (leg, answer) = match app.endpoint.whip(offer, &stream, &name, Some(hears)) {
        Ok(made) => made,
        Err(error) => {
            app.conferences.abandon(&conference, &member);
            return Err(webrtc_error(error));
        }
    };
    app.legs.add(leg, &who);
    if let Err(error) = app.conferences.browser_joined(&conference, &member, stream, leg) {
        // It ended meanwhile: nobody would hear this leg.
        app.endpoint.close(leg);
        return Err(error.into());
    }
    who.note(&app, "join_conference", &conference, &member.0);
    let mut response = created(leg, answer).into_response();
    if let Ok(id) = HeaderValue::from_str(&member.0) {
        response.headers_mut().insert(HeaderName::from_static("skybridge-member"), id);
    }
    Ok(response)
}

fn own(app: &Shared, who: &Who, leg: &str) -> Result<LegId, ApiError> {
    let missing = || ApiError::not_found(&format!("leg {leg}"));
    let id = LegId::parse(leg).ok_or_else(missing)?;
    let owner = app.legs.owner(id).ok_or_else(missing)?;
    if owner == who.identity.account || who.identity.role == Role::Admin { Ok(id) } else { Err(missing()) }
}

/// A leg as the API shows it.
#[derive(Serialize, ToSchema)]
pub struct LegView {
    id: String,
    stream: String,
    #[schema(value_type = String)]
    kind: LegKind,
    #[schema(value_type = String)]
    state: LegState,
    remote: Option<String>,
    sent_packets: u64,
    sent_bytes: u64,
    received_packets: u64,
    received_bytes: u64,
    lost_packets: u64,
    nacks: u64,
    retransmitted: u64,
    plis: u64,
    estimate_bps: u64,
    /// Only key frames are sent, since the leg does not carry the stream.
    reduced: bool,
    /// The browser has no H.265 decoder: it gets H.264 that is made here.
    transcoded: bool,
    srtp_profile: Option<&'static str>,
    round_trip_ms: u32,
    jitter_ms: u32,
    connected_after_ms: Option<u64>,
    first_frame_after_ms: Option<u64>,
    closed: Option<&'static str>,
}

pub(super) fn leg_view(status: &LegStatus) -> LegView {
    let after = |at: Option<std::time::Instant>| {
        at.map(|at| at.saturating_duration_since(status.created_at).as_millis() as u64)
    };
    LegView {
        id: status.id.to_string(),
        stream: status.stream.to_string(),
        kind: status.kind,
        state: status.state,
        remote: status.remote.map(|r| r.to_string()),
        sent_packets: status.packets,
        sent_bytes: status.bytes,
        received_packets: status.received_packets,
        received_bytes: status.received_bytes,
        lost_packets: status.lost,
        nacks: status.nacks,
        retransmitted: status.rtx,
        plis: status.plis,
        estimate_bps: status.estimate_bps,
        reduced: status.reduced,
        transcoded: status.transcoded,
        srtp_profile: status.dtls_profile,
        round_trip_ms: status.rtt_ms,
        jitter_ms: status.jitter_ms,
        connected_after_ms: after(status.connected_at),
        first_frame_after_ms: after(status.first_frame_at),
        closed: status.closed.map(|c| c.code()),
    }
}

/// What the gateway knows of a leg.
#[utoipa::path(get, path = "/legs/{leg}", params(("leg" = String, Path)), responses((status = 200, body = LegView), (status = 404)))]
pub async fn show(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(leg): Path<String>,
) -> Result<Json<LegView>, ApiError> {
    let id = own(&app, &who, &leg)?;
    let status = app.endpoint.leg(id).ok_or_else(|| ApiError::not_found(&format!("leg {leg}")))?;
    Ok(Json(leg_view(&status)))
}

/// End a leg.
#[utoipa::path(delete, path = "/legs/{leg}", params(("leg" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn end(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(leg): Path<String>,
) -> Result<StatusCode, ApiError> {
    // A browser that closed its connection first has ended its leg already: that is no error.
    if LegId::parse(&leg).is_some_and(|id| !app.legs.has(id)) {
        return Ok(StatusCode::NO_CONTENT);
    }
    let id = own(&app, &who, &leg)?;
    app.endpoint.close(id);
    who.note(&app, "end_leg", &leg, "");
    Ok(StatusCode::NO_CONTENT)
}

/// What a viewer saw.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct LegReport {
    /// From the click to the first decoded picture, in milliseconds.
    first_frame_ms: Option<u32>,
    frames_decoded: Option<u64>,
    frozen_ms: Option<u64>,
}

/// The viewer tells what it saw: the last step of the trace.
#[utoipa::path(post, path = "/legs/{leg}/report", params(("leg" = String, Path)), request_body = LegReport,
    responses((status = 204), (status = 404)))]
pub async fn report(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(leg): Path<String>,
    Json(body): Json<LegReport>,
) -> Result<StatusCode, ApiError> {
    let id = own(&app, &who, &leg)?;
    let status = app.endpoint.leg(id).ok_or_else(|| ApiError::not_found(&format!("leg {leg}")))?;
    if body.frames_decoded.unwrap_or(0) > 0 {
        let stream = app.source_of(status.stream.as_str()).unwrap_or(status.stream);
        if let Some(stream) = app.hub.get(&stream) {
            let first = body.first_frame_ms.map_or(String::new(), |ms| format!("first picture after {ms} ms, "));
            let detail = format!("{first}{} decoded", body.frames_decoded.unwrap_or(0));
            stream.note(Step::ViewerDecoded, Outcome::Ok, detail);
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

fn no_trickle() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "no_trickle",
        Whose::You,
        "本网关的应答已含全部候选地址，不需要 PATCH",
        "the answer held all candidates; there is nothing to patch. Post a new offer instead",
    )
}

/// Trickle ICE is not needed here.
#[utoipa::path(patch, path = "/whep/{stream}", params(("stream" = String, Path)), responses((status = 405)))]
pub async fn no_patch_whep(Viewer(_who): Viewer) -> ApiError {
    no_trickle()
}

/// Trickle ICE is not needed here.
#[utoipa::path(patch, path = "/whip/{conference}", params(("conference" = String, Path)), responses((status = 405)))]
pub async fn no_patch_whip(Viewer(_who): Viewer) -> ApiError {
    no_trickle()
}

/// Trickle ICE is not needed here.
#[utoipa::path(patch, path = "/legs/{leg}", params(("leg" = String, Path)), responses((status = 405)))]
pub async fn no_patch_leg(Viewer(_who): Viewer) -> ApiError {
    no_trickle()
}
