//! Walls and their tiles.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Operator, Viewer};
use super::{ApiError, Shared};
use crate::scenes::{Quality, WallView};

#[derive(Serialize, ToSchema)]
pub struct WallList {
    items: Vec<WallView>,
}

/// All walls.
#[utoipa::path(get, path = "/walls", responses((status = 200, body = WallList)))]
pub async fn list(State(app): State<Shared>, Viewer(_who): Viewer) -> Json<WallList> {
    Json(WallList { items: app.scenes.all() })
}

/// One wall.
#[utoipa::path(get, path = "/walls/{wall}", params(("wall" = String, Path)), responses((status = 200, body = WallView), (status = 404)))]
pub async fn show(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(wall): Path<String>,
) -> Result<Json<WallView>, ApiError> {
    app.scenes.get(&wall).map(Json).ok_or_else(|| ApiError::not_found(&format!("wall {wall}")))
}

#[derive(Deserialize, ToSchema)]
pub struct Scene {
    /// 1, 4 or 9.
    layout: u8,
    /// A stream for each tile from tile 0 on; null clears it, tiles left out stay.
    tiles: Vec<Option<String>>,
}

/// Take a whole scene at once.
#[utoipa::path(put, path = "/walls/{wall}", params(("wall" = String, Path)), request_body = Scene,
    responses((status = 200, body = WallView), (status = 400), (status = 404)))]
pub async fn take(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(wall): Path<String>,
    Json(scene): Json<Scene>,
) -> Result<Json<WallView>, ApiError> {
    let view = app.scenes.take(&wall, scene.layout, &scene.tiles, &who.identity.account)?;
    who.note(&app, "take_scene", &format!("wall {wall}"), &serde_json::json!(scene.tiles).to_string());
    Ok(Json(view))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// A stream, or null for none: null must be said, so that a slip does not blank a screen.
    #[serde(deserialize_with = "Option::deserialize")]
    source: Option<String>,
    /// Which stream of it: `auto` (the sub-stream where tiles are small), `main` or `sub`. Left out: `auto` for a new source, else
    /// as it is. Changed under the viewer: the old picture stands until the new one is there.
    quality: Option<Quality>,
}

/// Switch one tile.
#[utoipa::path(put, path = "/walls/{wall}/tiles/{n}", params(("wall" = String, Path), ("n" = usize, Path)), request_body = Source,
    responses((status = 200, body = WallView), (status = 404)))]
pub async fn switch(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path((wall, n)): Path<(String, usize)>,
    Json(body): Json<Source>,
) -> Result<Json<WallView>, ApiError> {
    let view = app.scenes.switch(&wall, n, &body.source, body.quality, &who.identity.account)?;
    let quality = body.quality.map(|q| format!(" {q:?}").to_lowercase()).unwrap_or_default();
    let detail = format!("{}{quality}", body.source.as_deref().unwrap_or("none"));
    who.note(&app, "switch_tile", &format!("wall {wall} tile {n}"), &detail);
    Ok(Json(view))
}

/// Back to the scene before.
#[utoipa::path(post, path = "/walls/{wall}/undo", params(("wall" = String, Path)), responses((status = 200, body = WallView), (status = 409)))]
pub async fn undo(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(wall): Path<String>,
) -> Result<Json<WallView>, ApiError> {
    let view = app.scenes.undo(&wall, &who.identity.account)?;
    who.note(&app, "undo_scene", &format!("wall {wall}"), "");
    Ok(Json(view))
}
