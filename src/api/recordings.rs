//! Recordings and recording jobs.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use media_hub::StreamId;
use recorder::{Cause, Filter, Job, JobId, RecorderError, Recording, RecordingId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::{Admin, Operator, Viewer};
use super::{ApiError, Shared, time};

impl From<RecorderError> for ApiError {
    fn from(error: RecorderError) -> Self {
        match &error {
            RecorderError::NotFound => ApiError::not_found("such recording, job or plan"),
            RecorderError::Growing => ApiError::conflict("still_recording", "该录像仍在录制中", &error.to_string()),
            RecorderError::Invalid(what) => ApiError::invalid(what),
            _ => ApiError::of_fault(&error.fault()),
        }
    }
}

#[derive(Deserialize, IntoParams)]
pub struct RecordingQuery {
    stream: Option<String>,
    from: Option<String>,
    to: Option<String>,
    offset: Option<u32>,
    limit: Option<u32>,
}

#[derive(Serialize, ToSchema)]
pub struct RecordingPage {
    total: u64,
    #[schema(value_type = Vec<Object>)]
    items: Vec<Recording>,
}

/// Recordings that overlap a range of time.
#[utoipa::path(get, path = "/recordings", params(RecordingQuery), responses((status = 200, body = RecordingPage)))]
pub async fn list(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Query(q): Query<RecordingQuery>,
) -> Result<Json<RecordingPage>, ApiError> {
    let filter = Filter {
        stream: q.stream.filter(|s| !s.is_empty()),
        from_ms: time::parse_optional(q.from.as_deref())?,
        to_ms: time::parse_optional(q.to.as_deref())?,
        offset: q.offset.unwrap_or(0),
        limit: q.limit.unwrap_or(200).clamp(1, 2000),
    };
    let (total, items) = app.recorder.list(&filter).await?;
    Ok(Json(RecordingPage { total, items }))
}

#[derive(Deserialize, IntoParams)]
pub struct DaysQuery {
    stream: Option<String>,
    /// `2026-03`.
    month: String,
}

#[derive(Serialize, ToSchema)]
pub struct Days {
    days: Vec<String>,
}

/// Days of a month on which there are recordings.
#[utoipa::path(get, path = "/recordings/days", params(DaysQuery), responses((status = 200, body = Days)))]
pub async fn days(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Query(q): Query<DaysQuery>,
) -> Result<Json<Days>, ApiError> {
    let days = app.recorder.days(q.stream.as_deref().unwrap_or_default(), &q.month).await?;
    Ok(Json(Days { days }))
}

/// One recording.
#[utoipa::path(get, path = "/recordings/{id}", params(("id" = String, Path)), responses((status = 200, body = Object), (status = 404)))]
pub async fn show(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<Recording>, ApiError> {
    Ok(Json(app.recorder.get(&RecordingId(id)).await?))
}

/// Delete a recording.
#[utoipa::path(delete, path = "/recordings/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404), (status = 409)))]
pub async fn delete(
    State(app): State<Shared>,
    Admin(who): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.recorder.delete(&RecordingId(id.clone())).await?;
    who.note(&app, "delete_recording", &id, "");
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, ToSchema)]
pub struct JobList {
    #[schema(value_type = Vec<Object>)]
    items: Vec<Job>,
}

/// What is being recorded now.
#[utoipa::path(get, path = "/recording/jobs", responses((status = 200, body = JobList)))]
pub async fn jobs(State(app): State<Shared>, Viewer(_who): Viewer) -> Json<JobList> {
    Json(JobList { items: app.recorder.jobs() })
}

#[derive(Deserialize, ToSchema)]
pub struct NewJob {
    stream: String,
}

/// Start recording by hand. A stream that is recorded by hand already gives its job.
#[utoipa::path(post, path = "/recording/jobs", request_body = NewJob, responses((status = 201, body = Object), (status = 404)))]
pub async fn start(
    State(app): State<Shared>,
    Operator(who): Operator,
    Json(body): Json<NewJob>,
) -> Result<(StatusCode, Json<Job>), ApiError> {
    let stream = StreamId::new(&body.stream);
    if !app.hub.knows(&stream) {
        return Err(ApiError::not_found(&format!("stream {stream}")));
    }
    let name = app.hub.name_of(&stream).unwrap_or_default();
    let id = app.recorder.start(stream, Cause::Hand, &name).await?;
    app.conferences.set_recording(&body.stream, Some(id.0.clone()));
    who.note(&app, "start_recording", &body.stream, &id.0);
    let job = app.recorder.job(&id);
    job.map(|job| (StatusCode::CREATED, Json(job))).ok_or_else(|| ApiError::internal(&"the new job is not listed"))
}

/// Stop recording.
#[utoipa::path(delete, path = "/recording/jobs/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn stop(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let job = JobId(id.clone());
    let stream = app.recorder.job(&job).map(|j| j.stream);
    app.recorder.stop(&job).await?;
    if let Some(stream) = &stream {
        app.conferences.set_recording(stream.as_str(), None);
    }
    who.note(&app, "stop_recording", stream.as_ref().map_or("", |s| s.as_str()), &id);
    Ok(StatusCode::NO_CONTENT)
}
