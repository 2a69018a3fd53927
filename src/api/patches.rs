//! Conferences joined in pairs.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::{Operator, Viewer};
use super::{ApiError, Shared};
use crate::conference::{NewPatch, PatchChange, PatchView};

#[derive(Serialize, ToSchema)]
pub struct PatchList {
    items: Vec<PatchView>,
}

/// All patches. Changes are told by the event `patches`.
#[utoipa::path(get, path = "/patches", responses((status = 200, body = PatchList)))]
pub async fn list(State(app): State<Shared>, Viewer(_who): Viewer) -> Json<PatchList> {
    Json(PatchList { items: app.conferences.all_patches() })
}

/// Join two conferences. Refused with `patch_ring` if they are joined already, over others too.
#[utoipa::path(post, path = "/patches", request_body = NewPatch,
    responses((status = 201, body = PatchView), (status = 400), (status = 404), (status = 409)))]
pub async fn create(
    State(app): State<Shared>,
    Operator(who): Operator,
    Json(body): Json<NewPatch>,
) -> Result<(StatusCode, Json<PatchView>), ApiError> {
    let view = app.conferences.patch(body).await?;
    who.note(&app, "patch", &view.id, &format!("{} {}", view.a, view.b));
    Ok((StatusCode::CREATED, Json(view)))
}

/// Open or shut a direction, or set how long it still stands.
#[utoipa::path(patch, path = "/patches/{id}", params(("id" = String, Path)), request_body = PatchChange,
    responses((status = 200, body = PatchView), (status = 400), (status = 404)))]
pub async fn change(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Json(body): Json<PatchChange>,
) -> Result<Json<PatchView>, ApiError> {
    let view = app.conferences.change_patch(&id, body).await?;
    who.note(&app, "change_patch", &id, &format!("a_to_b={} b_to_a={}", view.a_to_b, view.b_to_a));
    Ok(Json(view))
}

/// Take a patch away.
#[utoipa::path(delete, path = "/patches/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn remove(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.conferences.unpatch(&id).await?;
    who.note(&app, "unpatch", &id, "");
    Ok(StatusCode::NO_CONTENT)
}
