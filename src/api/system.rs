//! What the machine and the gateway have left.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::auth::Viewer;
use crate::events::Notice;
use crate::system::SystemView;

/// Load, memory, disk, and what runs.
#[utoipa::path(get, path = "/system", responses((status = 200, body = SystemView)))]
pub async fn show(State(app): State<Shared>, Viewer(_who): Viewer) -> Json<SystemView> {
    Json(app.system.latest(&app))
}

#[derive(Serialize, ToSchema)]
pub struct NoticeList {
    items: Vec<Notice>,
}

/// The last notices, newest first: what the strip of last events shows after a reload.
#[utoipa::path(get, path = "/notices", responses((status = 200, body = NoticeList)))]
pub async fn notices(State(app): State<Shared>, Viewer(_who): Viewer) -> Json<NoticeList> {
    Json(NoticeList { items: app.events.notices() })
}
