//! SIP accounts of phones.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bridge_core::{AccountKind, Credentials, Device, DeviceId, Forwards, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::auth::Admin;
use super::{ApiError, Shared};

#[derive(Serialize, ToSchema)]
pub struct PhoneView {
    user: String,
    name: String,
    registered: bool,
    contact: Option<String>,
    #[schema(value_type = Option<String>)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = Object)]
    forwards: Forwards,
    contacts: Vec<ContactView>,
}

/// One place where an account is registered.
#[derive(Serialize, ToSchema)]
pub struct ContactView {
    contact: String,
    /// `udp`, `tcp`, `tls`, `ws` or `wss`.
    transport: String,
    /// Where its messages come from.
    address: String,
    expires_at: String,
    user_agent: Option<String>,
    /// The proxies on the way to it (RFC 3327).
    path: Vec<String>,
    /// Whether it answered when it was last asked; none: it is not asked.
    reachable: Option<bool>,
}

/// The contacts that the phone bridge keeps with its device.
fn contacts(device: &Device) -> Vec<ContactView> {
    let text = |c: &Value, key: &str| c.get(key).and_then(Value::as_str).map(str::to_owned);
    let now = Timestamp::now();
    let one = |c: &Value| {
        let expires: Timestamp = serde_json::from_value(c.get("expires_at")?.clone()).ok()?;
        (expires > now).then_some(())?;
        Some(ContactView {
            contact: text(c, "contact")?,
            transport: text(c, "transport")?,
            address: text(c, "received")?,
            expires_at: expires.to_string(),
            user_agent: text(c, "user_agent"),
            path: c.get("path").and_then(|p| serde_json::from_value(p.clone()).ok()).unwrap_or_default(),
            reachable: c.get("reachable").and_then(Value::as_bool),
        })
    };
    device.private.as_array().into_iter().flatten().filter_map(one).collect()
}

#[derive(Serialize, ToSchema)]
pub struct PhoneList {
    items: Vec<PhoneView>,
}

/// All phone accounts.
#[utoipa::path(get, path = "/phones", responses((status = 200, body = PhoneList)))]
pub async fn list(State(app): State<Shared>, Admin(_who): Admin) -> Json<PhoneList> {
    let view = |(user, name): (String, String)| {
        let device = app.registry.get(&DeviceId::new("phone", &user));
        PhoneView {
            registered: device.as_ref().is_some_and(|d| d.online),
            contact: device.as_ref().map(|d| d.address.clone()).filter(|a| !a.is_empty()),
            expires_at: device.as_ref().and_then(|d| d.expires_at),
            contacts: device.as_deref().map(contacts).unwrap_or_default(),
            forwards: app.secrets.forwards(&user),
            user,
            name,
        }
    };
    Json(PhoneList { items: app.secrets.users(AccountKind::Phone).into_iter().map(view).collect() })
}

#[derive(Deserialize, ToSchema)]
pub struct NewPhone {
    /// 2 to 18 letters or digits: what the phone registers as and what is dialled.
    user: String,
    password: String,
    name: String,
}

/// Make a phone account, or give it a new password.
#[utoipa::path(post, path = "/phones", request_body = NewPhone, responses((status = 201), (status = 400)))]
pub async fn create(
    State(app): State<Shared>,
    Admin(who): Admin,
    Json(body): Json<NewPhone>,
) -> Result<StatusCode, ApiError> {
    let fits = (2..=18).contains(&body.user.len()) && body.user.bytes().all(|b| b.is_ascii_alphanumeric());
    if !fits {
        return Err(ApiError::invalid("a phone's user is 2 to 18 letters or digits"));
    }
    if !(8..=64).contains(&body.password.chars().count()) || body.password.contains(&body.user) {
        return Err(ApiError::invalid("a phone's password has 8 to 64 characters and does not contain the user"));
    }
    if body.name.chars().count() > 64 {
        return Err(ApiError::invalid("a name has up to 64 characters"));
    }
    app.secrets.set(AccountKind::Phone, &body.user, body.name.trim(), &body.password).await?;
    who.note(&app, "set_phone", &body.user, body.name.trim());
    Ok(StatusCode::CREATED)
}

#[derive(Deserialize, ToSchema)]
pub struct NewForwards {
    /// Number of another account, or an outside number that the account may call; none: the caller hears that the phone is busy.
    #[serde(default)]
    busy: Option<String>,
    #[serde(default)]
    no_answer: Option<String>,
    #[serde(default)]
    offline: Option<String>,
}

/// Say where an account's calls go when it is busy, does not answer or is not registered.
#[utoipa::path(put, path = "/phones/{user}/forwards", params(("user" = String, Path)), request_body = NewForwards,
    responses((status = 204), (status = 400), (status = 404)))]
pub async fn set_forwards(
    State(app): State<Shared>,
    Admin(who): Admin,
    Path(user): Path<String>,
    Json(body): Json<NewForwards>,
) -> Result<StatusCode, ApiError> {
    let known = |number: &str| app.secrets.secret(AccountKind::Phone, number).is_some();
    if !known(&user) {
        return Err(ApiError::not_found(&format!("phone {user}")));
    }
    let given = |n: Option<String>| n.map(|n| n.trim().to_owned()).filter(|n| !n.is_empty());
    let forwards = Forwards { busy: given(body.busy), no_answer: given(body.no_answer), offline: given(body.offline) };
    for number in [&forwards.busy, &forwards.no_answer, &forwards.offline].into_iter().flatten() {
        let outside = || bridge_phone::may_dial(&app.settings.phone, &user, number);
        if *number == user || !(known(number) || outside()) {
            return Err(ApiError::invalid(
                "calls are forwarded to another phone account, or to an outside number that this account may call",
            ));
        }
    }
    let detail = serde_json::to_string(&forwards).unwrap_or_default();
    app.secrets.set_forwards(&user, forwards).await?;
    who.note(&app, "set_forwards", &user, &detail);
    Ok(StatusCode::NO_CONTENT)
}

/// Delete a phone account.
#[utoipa::path(delete, path = "/phones/{user}", params(("user" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn delete(
    State(app): State<Shared>,
    Admin(who): Admin,
    Path(user): Path<String>,
) -> Result<StatusCode, ApiError> {
    if !app.secrets.remove(AccountKind::Phone, &user).await? {
        return Err(ApiError::not_found(&format!("phone {user}")));
    }
    app.registry.remove(&DeviceId::new("phone", &user));
    who.note(&app, "delete_phone", &user, "");
    Ok(StatusCode::NO_CONTENT)
}
