//! Who is shut out of the SIP ports: scanners, guessers of passwords, accounts whose calls look like fraud.

use std::time::Instant;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use bridge_core::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Admin;
use super::{ApiError, Shared};

#[derive(Serialize, ToSchema)]
pub struct BanView {
    /// None: the account, wherever it comes from.
    address: Option<String>,
    /// None: the address as a whole.
    account: Option<String>,
    /// `wrong_password`, `unknown_account`, `unknown_number`, `malformed`, `scanner` or `fraud`.
    reason: &'static str,
    /// Bans of this source so far, with this one; each is twice as long as the one before.
    times: u32,
    #[schema(value_type = String)]
    since: Timestamp,
    #[schema(value_type = String)]
    until: Timestamp,
    /// Messages dropped or refused since.
    dropped: u64,
}

#[derive(Serialize, ToSchema)]
pub struct BanList {
    items: Vec<BanView>,
}

/// Who is shut out now, the newest first; at most 16,384.
#[utoipa::path(get, path = "/bans", responses((status = 200, body = BanList)))]
pub async fn list(State(app): State<Shared>, Admin(_who): Admin) -> Json<BanList> {
    let (now, wall) = (Instant::now(), Timestamp::now());
    let ms = |d: std::time::Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    let view = |ban: sip::Ban| BanView {
        address: ban.address.map(|ip| ip.to_string()),
        account: ban.account,
        reason: ban.reason.as_str(),
        times: ban.times,
        since: Timestamp(wall.0.saturating_sub(ms(now.saturating_duration_since(ban.since)))),
        until: Timestamp(wall.0.saturating_add(ms(ban.until.saturating_duration_since(now)))),
        dropped: ban.dropped,
    };
    Json(BanList { items: app.sip_guard().bans(now).into_iter().map(view).collect() })
}

#[derive(Deserialize, IntoParams)]
pub struct WhichBan {
    address: Option<String>,
    account: Option<String>,
}

/// Let somebody in again; address and account as the list shows them.
#[utoipa::path(delete, path = "/bans", params(WhichBan), responses((status = 204), (status = 400), (status = 404)))]
pub async fn lift(
    State(app): State<Shared>,
    Admin(who): Admin,
    Query(which): Query<WhichBan>,
) -> Result<StatusCode, ApiError> {
    let given = |text: Option<String>| text.filter(|t| !t.is_empty());
    let (address, account) = (given(which.address), given(which.account));
    let ip = match address.as_deref().map(str::parse::<std::net::IpAddr>) {
        None => None,
        Some(Ok(ip)) => Some(ip),
        Some(Err(_)) => return Err(ApiError::invalid("address is an IP address")),
    };
    if ip.is_none() && account.is_none() {
        return Err(ApiError::invalid("give address, account or both"));
    }
    let name = [address.as_deref(), account.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    if !app.sip_guard().lift(ip, account.as_deref()) {
        return Err(ApiError::not_found(&format!("ban of {name}")));
    }
    who.note(&app, "lift_ban", &name, "");
    Ok(StatusCode::NO_CONTENT)
}
