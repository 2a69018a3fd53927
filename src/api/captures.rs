//! Captures of a stream's signalling and media, for diagnosis.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bridge_core::Capture;
use futures_util::stream;
use media_hub::StreamId;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use utoipa::ToSchema;

use super::auth::{Admin, Operator};
use super::{ApiError, Shared};

/// Bytes read from the disk at once.
const CHUNK: usize = 256 * 1024;

#[derive(Deserialize, ToSchema)]
pub struct NewCapture {
    /// Seconds, at most `capture.max_seconds`; left out: `capture.seconds`.
    seconds: Option<u32>,
}

#[derive(Serialize, ToSchema)]
pub struct CaptureList {
    #[schema(value_type = Vec<Object>)]
    items: Vec<Capture>,
}

/// Runs what reads the disk apart from the tasks that carry media.
async fn aside<T: Send + 'static>(
    app: &Shared,
    work: impl FnOnce(&Shared) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let app = Arc::clone(app);
    tokio::task::spawn_blocking(move || work(&app)).await.map_err(|e| ApiError::internal(&e))
}

/// Capture a stream's signalling and media for a bounded time. Only cameras (GB/T 28181). It wants no stream to be live: what
/// comes within its time is in it.
#[utoipa::path(post, path = "/streams/{id}/capture", params(("id" = String, Path)), request_body = NewCapture,
    responses((status = 201, body = Object), (status = 400), (status = 404), (status = 503)))]
pub async fn start(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Json(body): Json<NewCapture>,
) -> Result<(StatusCode, Json<Capture>), ApiError> {
    let asked = app.source_of(&id).unwrap_or_else(|| StreamId::new(&id));
    if !app.hub.knows(&asked) {
        return Err(ApiError::not_found(&format!("stream {id}")));
    }
    if !asked.as_str().starts_with("gb28181:") {
        return Err(ApiError::invalid("only streams of cameras (gb28181:) can be captured"));
    }
    let stream = asked.clone();
    let seconds = body.seconds;
    let begun = aside(&app, move |app| app.capture(&stream, seconds)).await?;
    let outcome = begun.as_ref().map_or_else(|fault| fault.code, |_| "ok");
    let detail = begun.as_ref().map_or(String::new(), |c| c.id.clone());
    who.outcome(&app, "start_capture", asked.as_str(), &detail, outcome);
    let capture = begun.map_err(|fault| ApiError::of_fault(&fault))?;
    Ok((StatusCode::CREATED, Json(capture)))
}

/// Captures, newest first.
#[utoipa::path(get, path = "/captures", responses((status = 200, body = CaptureList)))]
pub async fn list(State(app): State<Shared>, Operator(_who): Operator) -> Result<Json<CaptureList>, ApiError> {
    let items = aside(&app, |app| app.captures.list()).await?;
    Ok(Json(CaptureList { items }))
}

/// One capture.
#[utoipa::path(get, path = "/captures/{id}", params(("id" = String, Path)), responses((status = 200, body = Object), (status = 404)))]
pub async fn show(
    State(app): State<Shared>,
    Operator(_who): Operator,
    Path(id): Path<String>,
) -> Result<Json<Capture>, ApiError> {
    let wanted = id.clone();
    let found = aside(&app, move |app| app.captures.get(&wanted)).await?;
    found.map(Json).ok_or_else(|| ApiError::not_found(&format!("capture {id}")))
}

/// End a capture early.
#[utoipa::path(post, path = "/captures/{id}/stop", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn stop(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if !app.captures.stop(&id) {
        return Err(ApiError::not_found(&format!("running capture {id}")));
    }
    who.note(&app, "stop_capture", &id, "");
    Ok(StatusCode::NO_CONTENT)
}

/// The file of a capture that has ended.
#[utoipa::path(get, path = "/captures/{id}/file.pcapng", params(("id" = String, Path)),
    responses((status = 200, content_type = "application/x-pcapng"), (status = 404)))]
pub async fn file(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let wanted = id.clone();
    let found = aside(&app, move |app| app.captures.file(&wanted)).await?;
    let missing = || ApiError::not_found(&format!("capture {id} that has ended"));
    let file = tokio::fs::File::open(found.ok_or_else(missing)?).await.map_err(|_| missing())?;
    let length = file.metadata().await.map_err(|e| ApiError::internal(&e))?.len();
    who.note(&app, "download_capture", &id, "");
    let bytes = stream::try_unfold(file, |mut file| async move {
        let mut buffer = Vec::with_capacity(CHUNK);
        let read = (&mut file).take(CHUNK as u64).read_to_end(&mut buffer).await?;
        Ok::<_, std::io::Error>((read > 0).then_some((buffer, file)))
    });
    let name = format!("attachment; filename=\"skybridge-{id}.pcapng\"");
    let headers = [
        (header::CONTENT_TYPE, "application/x-pcapng".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(bytes)).into_response())
}

/// Delete a capture that has ended.
#[utoipa::path(delete, path = "/captures/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn delete(
    State(app): State<Shared>,
    Admin(who): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let wanted = id.clone();
    if !aside(&app, move |app| app.captures.delete(&wanted)).await? {
        return Err(ApiError::not_found(&format!("capture {id} that has ended")));
    }
    who.note(&app, "delete_capture", &id, "");
    Ok(StatusCode::NO_CONTENT)
}
