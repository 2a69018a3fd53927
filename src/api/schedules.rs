//! Conferences at a time.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::auth::{Operator, Viewer};
use super::{ApiError, Shared};
use crate::schedule::{ScheduleBody, ScheduleView};

#[derive(Serialize, ToSchema)]
pub struct ScheduleList {
    items: Vec<ScheduleView>,
}

fn tell(app: &Shared) {
    app.events.tell("schedules", serde_json::json!({ "items": app.schedules.all() }));
}

/// All times at which conferences are held.
#[utoipa::path(get, path = "/schedules", responses((status = 200, body = ScheduleList)))]
pub async fn list(State(app): State<Shared>, Viewer(_who): Viewer) -> Json<ScheduleList> {
    Json(ScheduleList { items: app.schedules.all() })
}

/// Hold a conference at a time.
#[utoipa::path(post, path = "/schedules", request_body = ScheduleBody,
    responses((status = 201, body = ScheduleView), (status = 400), (status = 404)))]
pub async fn create(
    State(app): State<Shared>,
    Operator(who): Operator,
    Json(body): Json<ScheduleBody>,
) -> Result<(StatusCode, Json<ScheduleView>), ApiError> {
    let view = keep(&app, &Uuid::now_v7().simple().to_string(), body).await?;
    who.note(&app, "create_schedule", &view.id, &format!("{} {}", view.body.name, view.body.at));
    Ok((StatusCode::CREATED, Json(view)))
}

async fn keep(app: &Shared, id: &str, body: ScheduleBody) -> Result<ScheduleView, ApiError> {
    if let Some(template) = &body.template {
        crate::templates::find(app, template).await?;
    }
    let view = app.schedules.put(id, body).await?;
    tell(app);
    Ok(view)
}

/// Change a time. A conference that is open for it goes on.
#[utoipa::path(put, path = "/schedules/{id}", params(("id" = String, Path)), request_body = ScheduleBody,
    responses((status = 200, body = ScheduleView), (status = 400), (status = 404)))]
pub async fn replace(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Json(body): Json<ScheduleBody>,
) -> Result<Json<ScheduleView>, ApiError> {
    if !app.schedules.has(&id) {
        return Err(ApiError::not_found(&format!("schedule {id}")));
    }
    let view = keep(&app, &id, body).await?;
    who.note(&app, "change_schedule", &id, &format!("{} {}", view.body.name, view.body.at));
    Ok(Json(view))
}

/// Delete a time. A conference that is open for it goes on.
#[utoipa::path(delete, path = "/schedules/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn delete(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if !app.schedules.delete(&id).await? {
        return Err(ApiError::not_found(&format!("schedule {id}")));
    }
    who.note(&app, "delete_schedule", &id, "");
    tell(&app);
    Ok(StatusCode::NO_CONTENT)
}
