//! Trunks: the ways to other telephone networks.

use axum::Json;
use axum::extract::State;
use bridge_core::TrunkStatus;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::auth::Viewer;

#[derive(Serialize, ToSchema)]
pub struct TrunkList {
    items: Vec<TrunkStatus>,
}

/// All trunks and how they stand, in the order of the configuration.
#[utoipa::path(get, path = "/trunks", responses((status = 200, body = TrunkList)))]
pub async fn list(State(app): State<Shared>, Viewer(_who): Viewer) -> Json<TrunkList> {
    Json(TrunkList { items: crate::trunks::all(&app) })
}
