//! Devices and their channels.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use bridge_core::{AccountKind, Channel, Command, Device, DeviceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::auth::{Admin, Operator, Viewer};
use super::{ApiError, DEVICE_TIMEOUT, Shared};

#[derive(Deserialize, IntoParams)]
pub struct DeviceQuery {
    /// Part of a name or id.
    query: Option<String>,
    offset: Option<usize>,
    limit: Option<usize>,
}

/// A channel as the API shows it.
pub fn channel_view(device: &Device, channel: &Channel) -> Value {
    let mut view = serde_json::to_value(channel).unwrap_or_default();
    if let Value::Object(fields) = &mut view {
        fields.insert("stream".into(), channel.id.0.clone().into());
        fields.insert("device".into(), device.id.0.clone().into());
    }
    view
}

/// A device without its channels.
pub fn brief_view(device: &Device) -> Value {
    let mut view = serde_json::to_value(facts_of(device)).unwrap_or_default();
    if let Value::Object(fields) = &mut view {
        fields.insert("bridge".into(), device.bridge().into());
        fields.insert("channel_count".into(), device.channels.len().into());
        let online = device.channels.iter().filter(|c| c.online).count();
        fields.insert("channels_online".into(), online.into());
        fields.insert("tree".into(), crate::tree::is_tree(device).into());
    }
    view
}

/// Everything but the channels, which may be tens of thousands.
fn facts_of(d: &Device) -> Device {
    Device {
        id: d.id.clone(),
        name: d.name.clone(),
        kind: d.kind,
        online: d.online,
        manufacturer: d.manufacturer.clone(),
        model: d.model.clone(),
        firmware: d.firmware.clone(),
        version: d.version.clone(),
        transport: d.transport.clone(),
        address: d.address.clone(),
        registered_at: d.registered_at,
        expires_at: d.expires_at,
        last_seen_at: d.last_seen_at,
        offline_reason: d.offline_reason.clone(),
        channels: Vec::new(),
        private: Value::Null,
    }
}

/// A device as the API shows it. One with more than 500 channels is shown without them: its tree is read by pages.
pub fn device_view(device: &Device) -> Value {
    let mut view = brief_view(device);
    if device.channels.len() <= crate::tree::INLINE
        && let Value::Object(fields) = &mut view
    {
        fields.insert("channels".into(), device.channels.iter().map(|c| channel_view(device, c)).collect());
    }
    view
}

#[derive(Serialize, ToSchema)]
pub struct DevicePage {
    total: usize,
    #[schema(value_type = Vec<Object>)]
    items: Vec<Value>,
}

/// Devices, ordered by id.
#[utoipa::path(get, path = "/devices", params(DeviceQuery), responses((status = 200, body = DevicePage)))]
pub async fn list(State(app): State<Shared>, Viewer(_who): Viewer, Query(q): Query<DeviceQuery>) -> Json<DevicePage> {
    let wanted = q.query.unwrap_or_default().to_lowercase();
    let matches = |d: &Device| {
        wanted.is_empty()
            || d.id.0.to_lowercase().contains(&wanted)
            || d.name.to_lowercase().contains(&wanted)
            || d.channels.iter().any(|c| c.name.to_lowercase().contains(&wanted) || c.id.0.contains(&wanted))
    };
    let all: Vec<_> = app.registry.all().into_iter().filter(|d| matches(d)).collect();
    let page = all.iter().skip(q.offset.unwrap_or(0)).take(q.limit.unwrap_or(200).min(1000));
    Json(DevicePage { total: all.len(), items: page.map(|d| device_view(d)).collect() })
}

fn find(app: &Shared, id: &str) -> Result<std::sync::Arc<Device>, ApiError> {
    app.registry.get(&DeviceId(id.to_owned())).ok_or_else(|| ApiError::not_found(&format!("device {id}")))
}

/// One device.
#[utoipa::path(get, path = "/devices/{id}", params(("id" = String, Path)), responses((status = 200, body = Object), (status = 404)))]
pub async fn show(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(device_view(&*find(&app, &id)?)))
}

/// Forget an offline device.
#[utoipa::path(delete, path = "/devices/{id}", params(("id" = String, Path)), responses((status = 204), (status = 409)))]
pub async fn forget(
    State(app): State<Shared>,
    Admin(who): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let device = find(&app, &id)?;
    if device.online {
        return Err(ApiError::conflict("device_online", "设备在线，不能删除", "the device is online"));
    }
    app.registry.remove(&device.id);
    who.note(&app, "forget_device", &id, "");
    Ok(StatusCode::NO_CONTENT)
}

/// Ask the device for its channels and facts again.
#[utoipa::path(post, path = "/devices/{id}/refresh", params(("id" = String, Path)), responses((status = 202)))]
pub async fn refresh(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let device = find(&app, &id)?;
    let command = Command::Refresh { device: device.id.clone() };
    let done = app.command(device.bridge(), command, DEVICE_TIMEOUT).await;
    who.outcome(&app, "refresh_device", &id, "", done.as_ref().map_or_else(|e| e.code, |()| "ok"));
    done.map_err(|fault| ApiError::of_fault(&fault))?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize, ToSchema)]
pub struct DevicePassword {
    /// Null takes the device's own password away: the site password or none is asked for then.
    password: Option<String>,
}

/// The password that this device must give at registration. It may be set before the device was ever seen.
#[utoipa::path(put, path = "/devices/{id}/password", params(("id" = String, Path)), request_body = DevicePassword,
    responses((status = 204), (status = 400)))]
pub async fn set_password(
    State(app): State<Shared>,
    Admin(who): Admin,
    Path(id): Path<String>,
    Json(body): Json<DevicePassword>,
) -> Result<StatusCode, ApiError> {
    let device = DeviceId(id.clone());
    if device.bridge() != "gb28181" || device.name().len() != 20 || !device.name().bytes().all(|b| b.is_ascii_digit()) {
        return Err(ApiError::invalid("a device id is gb28181: and 20 digits"));
    }
    match body.password {
        Some(password) if (6..=64).contains(&password.chars().count()) => {
            app.secrets.set(AccountKind::Gb28181Device, device.name(), "", &password).await?;
        }
        Some(_) => return Err(ApiError::invalid("a device password has 6 to 64 characters")),
        None => {
            app.secrets.remove(AccountKind::Gb28181Device, device.name()).await?;
        }
    }
    who.note(&app, "set_device_password", &id, "");
    Ok(StatusCode::NO_CONTENT)
}

/// For the event line.
pub fn device_event(device: &Device) -> Value {
    json!({ "device": device_view(device) })
}
