//! Recording plans.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use recorder::Plan;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::{Admin, Viewer};
use super::{ApiError, Shared};

#[derive(Serialize, ToSchema)]
pub struct PlanList {
    #[schema(value_type = Vec<Object>)]
    items: Vec<Plan>,
}

/// All plans.
#[utoipa::path(get, path = "/recording/plans", responses((status = 200, body = PlanList)))]
pub async fn list(State(app): State<Shared>, Viewer(_who): Viewer) -> Result<Json<PlanList>, ApiError> {
    Ok(Json(PlanList { items: app.recorder.plans().await? }))
}

/// Make a plan. An empty id gets one.
#[utoipa::path(post, path = "/recording/plans", request_body = Object, responses((status = 201, body = Object), (status = 400)))]
pub async fn create(
    State(app): State<Shared>,
    Admin(who): Admin,
    Json(mut plan): Json<Plan>,
) -> Result<(StatusCode, Json<Plan>), ApiError> {
    plan.id.clear();
    let plan = app.recorder.put_plan(plan).await?;
    who.note(&app, "create_plan", &plan.id, &plan.stream);
    Ok((StatusCode::CREATED, Json(plan)))
}

/// Change a plan.
#[utoipa::path(put, path = "/recording/plans/{id}", params(("id" = String, Path)), request_body = Object,
    responses((status = 200, body = Object), (status = 400), (status = 404)))]
pub async fn replace(
    State(app): State<Shared>,
    Admin(who): Admin,
    Path(id): Path<String>,
    Json(mut plan): Json<Plan>,
) -> Result<Json<Plan>, ApiError> {
    if !app.recorder.plans().await?.iter().any(|p| p.id == id) {
        return Err(ApiError::not_found(&format!("plan {id}")));
    }
    plan.id.clone_from(&id);
    let plan = app.recorder.put_plan(plan).await?;
    who.note(&app, "change_plan", &id, &plan.stream);
    Ok(Json(plan))
}

/// Delete a plan. What it recorded stays.
#[utoipa::path(delete, path = "/recording/plans/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn delete(
    State(app): State<Shared>,
    Admin(who): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.recorder.delete_plan(&id).await?;
    who.note(&app, "delete_plan", &id, "");
    Ok(StatusCode::NO_CONTENT)
}
