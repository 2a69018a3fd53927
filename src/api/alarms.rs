//! Alarms: the list, and what people do about them.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use bridge_core::{Command, DeviceId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::auth::{Operator, Viewer};
use super::{ApiError, DEVICE_TIMEOUT, Shared, time};
use crate::alarms::written;
use crate::store::{AlarmFilter, AlarmRow};

#[derive(Deserialize, IntoParams)]
pub struct AlarmQuery {
    from: Option<String>,
    to: Option<String>,
    device: Option<String>,
    /// At least as grave: 1 (only the gravest) to 4.
    severity: Option<i64>,
    /// A kind or its beginning: `video`, `video.motion`.
    kind: Option<String>,
    /// Only those that nobody has acknowledged.
    open: Option<bool>,
    offset: Option<i64>,
    limit: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub struct AlarmPage {
    total: i64,
    /// Not acknowledged, over all devices and times.
    open: i64,
    items: Vec<AlarmRow>,
}

/// Alarms, newest first.
#[utoipa::path(get, path = "/alarms", params(AlarmQuery), responses((status = 200, body = AlarmPage)))]
pub async fn list(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Query(q): Query<AlarmQuery>,
) -> Result<Json<AlarmPage>, ApiError> {
    let filter = AlarmFilter {
        from: time::parse_optional(q.from.as_deref())?,
        to: time::parse_optional(q.to.as_deref())?,
        device: q.device.filter(|d| !d.is_empty()),
        severity: q.severity,
        kind: q.kind.filter(|k| !k.is_empty()),
        open: q.open.unwrap_or(false),
        offset: q.offset.unwrap_or(0).max(0),
        limit: q.limit.unwrap_or(100).clamp(1, 1000),
    };
    let (total, items) = app.store.alarms(&filter).await?;
    let (open, _) = app.store.alarms(&AlarmFilter { open: true, limit: 1, ..AlarmFilter::default() }).await?;
    Ok(Json(AlarmPage { total, open, items }))
}

async fn find(app: &Shared, id: &str) -> Result<AlarmRow, ApiError> {
    written(&app.store, &app.alarms, id).await?.ok_or_else(|| ApiError::not_found(&format!("alarm {id}")))
}

/// One alarm.
#[utoipa::path(get, path = "/alarms/{id}", params(("id" = String, Path)), responses((status = 200, body = AlarmRow), (status = 404)))]
pub async fn show(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<AlarmRow>, ApiError> {
    Ok(Json(find(&app, &id).await?))
}

async fn tell(app: &Shared, id: &str) -> Result<Json<AlarmRow>, ApiError> {
    let row = find(app, id).await?;
    app.events.tell("alarm", json!({ "alarm": row }));
    Ok(Json(row))
}

#[derive(Deserialize, ToSchema)]
pub struct Acknowledgement {
    /// At most 500 characters.
    #[serde(default)]
    note: String,
}

/// Say that an alarm was seen, with a note. The first one counts.
#[utoipa::path(post, path = "/alarms/{id}/acknowledge", params(("id" = String, Path)), request_body = Acknowledgement,
    responses((status = 200, body = AlarmRow), (status = 404), (status = 409)))]
pub async fn acknowledge(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Json(body): Json<Acknowledgement>,
) -> Result<Json<AlarmRow>, ApiError> {
    let note = body.note.trim();
    if note.chars().count() > 500 || note.chars().any(|c| c.is_control() && c != '\n') {
        return Err(ApiError::invalid("a note has at most 500 characters"));
    }
    find(&app, &id).await?;
    if !app.store.acknowledge_alarm(&id, Timestamp::now().0, &who.identity.account, note).await? {
        return Err(ApiError::conflict("already_acknowledged", "该报警已被确认", "this alarm was acknowledged before"));
    }
    // A repeat that comes after it is news. Should the desk be behind, it merges for a few seconds more.
    let _ = app.acknowledged.try_send(id.clone());
    who.note(&app, "acknowledge_alarm", &id, note);
    tell(&app, &id).await
}

/// Tell the device that its alarm was dealt with.
#[utoipa::path(post, path = "/alarms/{id}/reset", params(("id" = String, Path)),
    responses((status = 200, body = AlarmRow), (status = 404), (status = 502)))]
pub async fn reset(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<Json<AlarmRow>, ApiError> {
    let row = find(&app, &id).await?;
    let device = DeviceId(row.device.clone());
    let command = Command::ResetAlarm { device: device.clone(), source: row.source.clone() };
    let done = app.command(device.bridge(), command, DEVICE_TIMEOUT).await;
    who.outcome(&app, "reset_alarm", &row.device, &id, done.as_ref().map_or_else(|e| e.code, |()| "ok"));
    done.map_err(|fault| ApiError::of_fault(&fault))?;
    app.store.note_reset(&row, Timestamp::now().0, &who.identity.account).await?;
    tell(&app, &id).await
}

/// Sums for the badge of the console.
#[derive(Serialize, ToSchema)]
pub struct AlarmSums {
    /// Not acknowledged.
    open: i64,
    /// Of these, those of severity 1.
    gravest: i64,
}

/// How many alarms nobody has acknowledged.
#[utoipa::path(get, path = "/alarms/open", responses((status = 200, body = AlarmSums)))]
pub async fn open(State(app): State<Shared>, Viewer(_who): Viewer) -> Result<(StatusCode, Json<AlarmSums>), ApiError> {
    let open = AlarmFilter { open: true, limit: 1, ..AlarmFilter::default() };
    let (all, _) = app.store.alarms(&open).await?;
    let (gravest, _) = app.store.alarms(&AlarmFilter { severity: Some(1), ..open }).await?;
    Ok((StatusCode::OK, Json(AlarmSums { open: all, gravest })))
}
