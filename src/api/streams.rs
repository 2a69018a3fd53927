//! Streams, and why there is no picture.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use media_core::{MediaKind, TrackInfo};
use media_hub::{Fault, Outcome, Step, Stream, StreamId, StreamState, StreamStatus, Trace, Whose};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Viewer;
use super::{ApiError, Shared};

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StreamView {
    pub id: String,
    pub name: String,
    #[schema(value_type = String)]
    pub state: StreamState,
    /// Viewers, recorders and programs that want it.
    pub viewers: usize,
    pub tracks: Vec<TrackView>,
    pub bit_rate_bps: u64,
    pub frame_rate: f32,
    pub key_interval_s: Option<f32>,
    pub last_frame_age_ms: Option<u64>,
    #[schema(value_type = Option<Object>)]
    pub fault: Option<Fault>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TrackView {
    pub id: u8,
    pub kind: &'static str,
    pub codec: &'static str,
    pub width: u32,
    pub height: u32,
    pub clock_rate: u32,
    pub channels: u8,
}

fn track_view(track: &TrackInfo) -> TrackView {
    TrackView {
        id: track.id.0,
        kind: if track.kind() == MediaKind::Video { "video" } else { "audio" },
        codec: track.codec.name(),
        width: track.width,
        height: track.height,
        clock_rate: track.clock_rate,
        channels: track.channels,
    }
}

pub fn stream_view(status: &StreamStatus) -> StreamView {
    StreamView {
        id: status.id.to_string(),
        name: status.name.clone(),
        state: status.state,
        viewers: status.viewers,
        tracks: status.tracks.iter().map(track_view).collect(),
        bit_rate_bps: status.bit_rate,
        frame_rate: (status.frame_rate * 10.0).round() / 10.0,
        key_interval_s: status.key_interval.map(|i| i.as_secs_f32()),
        last_frame_age_ms: status.last_frame_age.map(|a| a.as_millis() as u64),
        fault: status.fault.clone(),
    }
}

#[derive(Serialize, ToSchema)]
pub struct StreamList {
    items: Vec<StreamView>,
}

/// What is live or wanted now.
#[utoipa::path(get, path = "/streams", responses((status = 200, body = StreamList)))]
pub async fn list(State(app): State<Shared>, Viewer(_who): Viewer) -> Json<StreamList> {
    let mut items: Vec<StreamView> = app.hub.statuses().iter().map(stream_view).collect();
    items.sort_by(|a, b| a.id.cmp(&b.id));
    Json(StreamList { items })
}

/// One stream.
#[utoipa::path(get, path = "/streams/{id}", params(("id" = String, Path)), responses((status = 200, body = StreamView), (status = 404)))]
pub async fn show(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<StreamView>, ApiError> {
    let stream = app.hub.get(&StreamId::new(&id));
    match stream {
        Some(stream) => Ok(Json(stream_view(&stream.status()))),
        None if app.hub.knows(&StreamId::new(&id)) => Ok(Json(idle(&app, &id))),
        None => Err(ApiError::not_found(&format!("stream {id}"))),
    }
}

/// A stream that nobody wants now.
fn idle(app: &Shared, id: &str) -> StreamView {
    StreamView {
        id: id.to_owned(),
        name: app.hub.name_of(&StreamId::new(id)).unwrap_or_default(),
        state: StreamState::Idle,
        viewers: 0,
        tracks: Vec::new(),
        bit_rate_bps: 0,
        frame_rate: 0.0,
        key_interval_s: None,
        last_frame_age_ms: None,
        fault: None,
    }
}

#[derive(Serialize, ToSchema)]
pub struct TraceView {
    stream: String,
    #[schema(value_type = String)]
    state: StreamState,
    /// The signalling's own name of the session.
    session: String,
    steps: Vec<StepView>,
    #[schema(value_type = Option<Object>)]
    fault: Option<Fault>,
}

#[derive(Serialize, ToSchema)]
pub struct StepView {
    #[schema(value_type = String)]
    step: Step,
    at: String,
    /// Since the first step.
    elapsed_ms: u64,
    #[schema(value_type = String)]
    outcome: Outcome,
    zh: &'static str,
    en: &'static str,
    detail: String,
}

fn trace_view(id: &str, state: StreamState, trace: Trace) -> TraceView {
    let first = trace.steps.iter().map(|s| s.at).min();
    let steps = trace.steps.iter().map(|s| {
        let (zh, en) = s.step.words();
        let at = s.wall.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        StepView {
            step: s.step,
            at: bridge_core::Timestamp(at).to_string(),
            elapsed_ms: first.map_or(0, |f| s.at.saturating_duration_since(f).as_millis() as u64),
            outcome: s.outcome,
            zh,
            en,
            detail: s.detail.clone(),
        }
    });
    TraceView {
        stream: id.to_owned(),
        state,
        session: trace.session.clone(),
        steps: steps.collect(),
        fault: trace.fault,
    }
}

/// Why is there a picture, or why not. Of a program: the trace of the source that it was asked to show.
#[utoipa::path(get, path = "/streams/{id}/trace", params(("id" = String, Path)), responses((status = 200, body = TraceView), (status = 404)))]
pub async fn trace(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<TraceView>, ApiError> {
    let asked = app.source_of(&id).unwrap_or_else(|| StreamId::new(&id));
    let stream: Option<std::sync::Arc<Stream>> = app.hub.get(&asked);
    match stream {
        Some(stream) => Ok(Json(trace_view(asked.as_str(), stream.state(), stream.trace()))),
        None if app.hub.knows(&asked) => Ok(Json(trace_view(asked.as_str(), StreamState::Idle, Trace::default()))),
        None => Err(ApiError::not_found(&format!("stream {id}"))),
    }
}

/// A still picture of what a live stream shows now. It does not start a stream that nobody watches.
#[utoipa::path(get, path = "/streams/{id}/still.jpg", params(("id" = String, Path)),
    responses((status = 200, content_type = "image/jpeg"), (status = 404), (status = 503)))]
pub async fn still(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let stream = StreamId::new(&id);
    if app.hub.get(&stream).is_none_or(|s| s.state() != StreamState::Live) {
        return Err(ApiError::not_found(&format!("live stream {id}")));
    }
    let picture = app.stills.still(&stream).await.map_err(|error| {
        let en = error.to_string();
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_still", Whose::Us, "暂时无法取得静态画面", &en)
    })?;
    who.note(&app, "still", &id, "");
    Ok(([(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")], picture))
}
