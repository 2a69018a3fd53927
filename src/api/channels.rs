//! Orders to channels.

use std::time::Instant;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bridge_core::{ChannelId, Command};
use serde::Deserialize;
use utoipa::ToSchema;

use super::auth::Operator;
use super::{ApiError, DEVICE_TIMEOUT, Shared};
use crate::control::session_name;

#[derive(Deserialize, ToSchema)]
pub struct Ptz {
    /// -1 (left) to 1 (right).
    #[serde(default)]
    pan: f32,
    /// -1 (down) to 1 (up).
    #[serde(default)]
    tilt: f32,
    /// -1 (out) to 1 (in).
    #[serde(default)]
    zoom: f32,
}

/// Move a camera until a stop (all 0) or 2 s without a repeat.
#[utoipa::path(post, path = "/channels/{id}/ptz", params(("id" = String, Path)), request_body = Ptz,
    responses((status = 202), (status = 404), (status = 409), (status = 502)))]
pub async fn ptz(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Json(body): Json<Ptz>,
) -> Result<StatusCode, ApiError> {
    let in_range = |v: f32| v.is_finite() && (-1.0..=1.0).contains(&v);
    if ![body.pan, body.tilt, body.zoom].into_iter().all(in_range) {
        return Err(ApiError::invalid("pan, tilt and zoom are from -1 to 1"));
    }
    let channel = ChannelId(id.clone());
    let (device, known) =
        app.registry.channel(&channel).ok_or_else(|| ApiError::not_found(&format!("channel {id}")))?;
    if !known.ptz {
        return Err(ApiError::conflict("no_ptz", "该通道没有云台", "this channel cannot be moved"));
    }
    let session = session_name(&who.identity);
    let still = body.pan == 0.0 && body.tilt == 0.0 && body.zoom == 0.0;
    if still && app.leases.of_another(&channel, &session, Instant::now()) {
        // The stop of one who lost the camera must not stop the one who has it.
        return Ok(StatusCode::ACCEPTED);
    }
    if !still && let Err(error) = app.hold(&channel, &who.identity).await {
        who.outcome(&app, "ptz", &id, "", error.code());
        return Err(error);
    }
    app.leases.running(&channel, &session, |r| r.turn = !still);
    let command = Command::Ptz { channel, pan: body.pan, tilt: body.tilt, zoom: body.zoom };
    let done = app.command(device.bridge(), command, DEVICE_TIMEOUT).await;
    let detail = format!("pan {} tilt {} zoom {}", body.pan, body.tilt, body.zoom);
    who.outcome(&app, "ptz", &id, &detail, done.as_ref().map_or_else(|e| e.code, |()| "ok"));
    done.map_err(|fault| ApiError::of_fault(&fault))?;
    Ok(StatusCode::ACCEPTED)
}

/// Ask for a key frame.
#[utoipa::path(post, path = "/channels/{id}/key-frame", params(("id" = String, Path)), responses((status = 202), (status = 404)))]
pub async fn key_frame(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let channel = ChannelId(id.clone());
    let (device, _) = app.registry.channel(&channel).ok_or_else(|| ApiError::not_found(&format!("channel {id}")))?;
    let done = app.command(device.bridge(), Command::KeyFrame { channel }, DEVICE_TIMEOUT).await;
    who.outcome(&app, "key_frame", &id, "", done.as_ref().map_or_else(|e| e.code, |()| "ok"));
    done.map_err(|fault| ApiError::of_fault(&fault))?;
    Ok(StatusCode::ACCEPTED)
}
