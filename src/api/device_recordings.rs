//! Recordings that devices keep themselves: their list, playbacks, fetches into the archive.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use bridge_core::{ChannelId, DeviceRecording, Listing, PlaybackOrder};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::{Operator, Viewer, Who};
use super::{ApiError, Shared, time};
use crate::devrec::{FetchError, FetchView, NewFetch, PlaybackView};
use crate::store::Role;

/// Slowest and fastest playback.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.25..=16.0;
/// How far around a moment the device is asked for the stretch that holds it: on marks of six hours, so that one answer serves
/// many clicks.
const AROUND_MS: i64 = 12 * 3_600_000;
const MARK_MS: i64 = 6 * 3_600_000;

impl From<FetchError> for ApiError {
    fn from(error: FetchError) -> Self {
        let en = error.to_string();
        match error {
            FetchError::NotFound => ApiError::not_found("such fetch"),
            FetchError::Invalid(_) => ApiError::invalid(&en),
            FetchError::TooMany => ApiError::conflict("too_many_fetches", "取回任务已达上限，请先清理列表", &en),
            FetchError::Running => ApiError::conflict("fetch_runs", "该任务正在进行", &en),
            FetchError::Store(e) => e.into(),
        }
    }
}

async fn listing(app: &Shared, channel: &ChannelId, from: i64, to: i64, fresh: bool) -> Result<Listing, ApiError> {
    let device = channel.device();
    let bridge = app.bridges.iter().find(|b| b.name() == device.bridge());
    let Some(history) = bridge.and_then(|b| b.history()) else {
        return Err(ApiError::not_found(&format!("channel {channel} with recordings of its own")));
    };
    history.list(channel.clone(), from, to, fresh).await.map_err(|fault| ApiError::of_fault(&fault))
}

#[derive(Deserialize, IntoParams)]
pub struct RangeQuery {
    from: String,
    to: String,
    /// 1 asks the device even if it was asked shortly before.
    fresh: Option<u8>,
}

#[derive(Serialize, ToSchema)]
pub struct DeviceRecordings {
    channel: String,
    #[schema(value_type = Vec<Object>)]
    items: Vec<DeviceRecording>,
    /// All that the device announced came.
    complete: bool,
    asked_at: String,
}

/// What the device itself has recorded of a channel in a range of at most 32 days. The device is asked now.
#[utoipa::path(get, path = "/channels/{id}/device-recordings", params(("id" = String, Path), RangeQuery),
    responses((status = 200, body = DeviceRecordings), (status = 404), (status = 502)))]
pub async fn list(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
    Query(q): Query<RangeQuery>,
) -> Result<Json<DeviceRecordings>, ApiError> {
    let (from, to) = (time::parse(&q.from)?, time::parse(&q.to)?);
    let channel = ChannelId(id);
    let found = listing(&app, &channel, from, to, q.fresh == Some(1)).await?;
    Ok(Json(DeviceRecordings {
        channel: channel.0,
        items: found.items,
        complete: found.complete,
        asked_at: found.asked_at.to_string(),
    }))
}

#[derive(Deserialize, ToSchema)]
pub struct NewPlayback {
    channel: String,
    /// The recording's own time to begin at.
    at: String,
    /// To end at; left out: the end of the unbroken stretch that holds `at`.
    to: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct PlaybackList {
    items: Vec<PlaybackView>,
}

/// Playbacks of devices' recordings that run.
#[utoipa::path(get, path = "/device-playbacks", responses((status = 200, body = PlaybackList)))]
pub async fn playbacks(State(app): State<Shared>, Viewer(_who): Viewer) -> Json<PlaybackList> {
    Json(PlaybackList { items: app.playbacks.all() })
}

/// Play a device's recording. The answer names the stream to watch; it ends when its owner is not heard of for 30 s.
#[utoipa::path(post, path = "/device-playbacks", request_body = NewPlayback,
    responses((status = 201, body = PlaybackView), (status = 404), (status = 409), (status = 502)))]
pub async fn play(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Json(body): Json<NewPlayback>,
) -> Result<(StatusCode, Json<PlaybackView>), ApiError> {
    let channel = ChannelId(body.channel);
    let at = time::parse(&body.at)?;
    let wanted = time::parse_optional(body.to.as_deref())?;
    let mark = at.div_euclid(MARK_MS) * MARK_MS;
    let (low, high) = (mark - AROUND_MS, wanted.unwrap_or(at).max(mark + MARK_MS + AROUND_MS));
    let found = listing(&app, &channel, low, high, false).await?;
    let join = i64::from(app.settings.gb28181.history.join) * 1000;
    let stretches = found.stretches(low, high, join);
    let Some((from, to)) = stretches.into_iter().find(|(_, end)| *end > at) else {
        return Err(nothing_there());
    };
    let (begin, to) = (at.max(from), wanted.map_or(to, |w| w.min(to)));
    if to <= begin {
        return Err(nothing_there());
    }
    let opened = app.playbacks.open(&app, &who.identity.account, &channel, (from, to), begin);
    who.outcome(&app, "play_device_recording", &channel.0, &body.at, opened.as_ref().map_or_else(|f| f.code, |_| "ok"));
    let view = opened.map_err(|fault| ApiError::of_fault(&fault))?;
    Ok((StatusCode::CREATED, Json(view)))
}

fn nothing_there() -> ApiError {
    ApiError::conflict(
        "no_recording_then",
        "设备在该时刻之后没有录像",
        "the device has no recording at or behind that moment",
    )
}

fn own(app: &Shared, who: &Who, id: &str) -> Result<PlaybackView, ApiError> {
    let missing = || ApiError::not_found(&format!("playback {id}"));
    let view = app.playbacks.get(id).ok_or_else(missing)?;
    if view.owner == who.identity.account || who.identity.role == Role::Admin { Ok(view) } else { Err(missing()) }
}

/// One playback. Asking keeps the own one alive.
#[utoipa::path(get, path = "/device-playbacks/{id}", params(("id" = String, Path)),
    responses((status = 200, body = PlaybackView), (status = 404)))]
pub async fn playback(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<PlaybackView>, ApiError> {
    let view = app.playbacks.get(&id).ok_or_else(|| ApiError::not_found(&format!("playback {id}")))?;
    if view.owner == who.identity.account {
        app.playbacks.keep(&id);
    }
    Ok(Json(view))
}

#[derive(Deserialize, ToSchema)]
pub struct Control {
    /// `pause`, `resume`, `seek`, `speed`, or `keep`, which only keeps the playback alive.
    action: String,
    /// For `seek`: the recording's own time.
    to: Option<String>,
    /// For `speed`: 0.25 to 16, below 0 backwards.
    speed: Option<f64>,
}

/// Steer a playback: its owner, or an admin.
#[utoipa::path(post, path = "/device-playbacks/{id}/control", params(("id" = String, Path)), request_body = Control,
    responses((status = 200, body = PlaybackView), (status = 400), (status = 404), (status = 502)))]
pub async fn control(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
    Json(body): Json<Control>,
) -> Result<Json<PlaybackView>, ApiError> {
    let view = own(&app, &who, &id)?;
    app.playbacks.keep(&id);
    let order = match body.action.as_str() {
        "keep" => return Ok(Json(view)),
        "pause" => PlaybackOrder::Pause,
        "resume" => PlaybackOrder::Resume,
        "seek" => {
            let to = body.to.as_deref().ok_or_else(|| ApiError::invalid("seek needs `to`"))?;
            PlaybackOrder::Seek(time::parse(to)?)
        }
        "speed" => {
            let speed = body.speed.filter(|s| SPEEDS.contains(&s.abs()));
            PlaybackOrder::Speed(speed.ok_or_else(|| ApiError::invalid("a speed is 0.25 to 16, or the same below 0"))?)
        }
        _ => return Err(ApiError::invalid("action is pause, resume, seek, speed or keep")),
    };
    let gone = || ApiError::not_found(&format!("playback {id}"));
    let done = app.playbacks.order(&id, order).await.ok_or_else(gone)?;
    let outcome = done.as_ref().map_or_else(|f| f.code, |()| "ok");
    who.outcome(&app, "control_playback", &view.channel, &format!("{order:?}"), outcome);
    done.map_err(|fault| ApiError::of_fault(&fault))?;
    app.playbacks.get(&id).map(Json).ok_or_else(gone)
}

/// End a playback: its owner, or an admin.
#[utoipa::path(delete, path = "/device-playbacks/{id}", params(("id" = String, Path)),
    responses((status = 204), (status = 404)))]
pub async fn stop(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let view = own(&app, &who, &id)?;
    app.playbacks.close(&id);
    who.note(&app, "stop_playback", &view.channel, &id);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, ToSchema)]
pub struct FetchList {
    items: Vec<FetchView>,
}

/// Fetches of devices' recordings into the archive, newest first.
#[utoipa::path(get, path = "/device-fetches", responses((status = 200, body = FetchList)))]
pub async fn fetches(State(app): State<Shared>, Viewer(_who): Viewer) -> Json<FetchList> {
    Json(FetchList { items: app.fetches.all() })
}

#[derive(Deserialize, ToSchema)]
pub struct NewFetchBody {
    channel: String,
    from: String,
    to: String,
    /// Times real time, 1 to 16; left out: `recorder.fetch_speed`.
    speed: Option<u32>,
}

/// Fetch a stretch of a device's recordings into the archive. It goes on after any break.
#[utoipa::path(post, path = "/device-fetches", request_body = NewFetchBody,
    responses((status = 201, body = FetchView), (status = 400), (status = 404), (status = 409), (status = 502)))]
pub async fn fetch(
    State(app): State<Shared>,
    Operator(who): Operator,
    Json(body): Json<NewFetchBody>,
) -> Result<(StatusCode, Json<FetchView>), ApiError> {
    let channel = ChannelId(body.channel);
    // Devices are asked for whole seconds.
    let from = time::parse(&body.from)?.div_euclid(1000) * 1000;
    let to = time::parse(&body.to)?.div_euclid(1000) * 1000;
    let speed = body.speed.unwrap_or(app.settings.recorder.fetch_speed);
    if to <= from || !(1..=16).contains(&speed) {
        return Err(ApiError::invalid("a fetch ends after it begins, at a speed of 1 to 16"));
    }
    let name = app.hub.name_of(&channel.stream()).unwrap_or_default();
    let found = listing(&app, &channel, from, to, false).await?;
    let join = i64::from(app.settings.gb28181.history.join) * 1000;
    let stretches = found.stretches(from, to, join);
    let object = format!("{} {} {}", channel, body.from, body.to);
    if stretches.is_empty() {
        return Err(nothing_there());
    }
    let new = NewFetch { channel, name, from, to, speed, by: who.identity.account.clone(), stretches };
    let view = app.fetches.add(&app, new).await?;
    who.note(&app, "fetch_device_recording", &object, &view.id);
    Ok((StatusCode::CREATED, Json(view)))
}

/// Cancel a fetch, or forget one that has ended. What is in the archive stays.
#[utoipa::path(delete, path = "/device-fetches/{id}", params(("id" = String, Path)),
    responses((status = 204), (status = 404)))]
pub async fn forget(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.fetches.remove(&app, &id).await?;
    who.note(&app, "cancel_fetch", &id, "");
    Ok(StatusCode::NO_CONTENT)
}

/// Try a failed fetch again; it goes on where it stands.
#[utoipa::path(post, path = "/device-fetches/{id}/retry", params(("id" = String, Path)),
    responses((status = 200, body = FetchView), (status = 404), (status = 409)))]
pub async fn retry(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<Json<FetchView>, ApiError> {
    let view = app.fetches.retry(&app, &id).await?;
    who.note(&app, "retry_fetch", &id, "");
    Ok(Json(view))
}
