//! Accounts and the audit log.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use bridge_core::{AccountKind, Credentials};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Admin;
use super::session::check_password;
use super::{ApiError, Shared, time};
use crate::store::{AuditFilter, AuditRow, Role};

#[derive(Serialize, ToSchema)]
pub struct AccountView {
    name: String,
    role: Role,
    must_change_password: bool,
    /// Goes before others of the same role where both want one camera.
    priority: u8,
    /// The phone account that it telephones as from the browser.
    phone: Option<String>,
    #[serde(serialize_with = "time::rfc3339")]
    #[schema(value_type = String)]
    created_at: i64,
}

#[derive(Serialize, ToSchema)]
pub struct AccountList {
    items: Vec<AccountView>,
}

/// All accounts.
#[utoipa::path(get, path = "/accounts", responses((status = 200, body = AccountList)))]
pub async fn list(State(app): State<Shared>, Admin(_who): Admin) -> Result<Json<AccountList>, ApiError> {
    let rows = app.store.accounts().await?;
    let view = |r: crate::store::AccountRow| AccountView {
        priority: app.priorities.get(&r.name).map_or(0, |p| *p),
        phone: app.secrets.own_phone(&r.name),
        name: r.name,
        role: r.role,
        must_change_password: r.must_change,
        created_at: r.created_at,
    };
    Ok(Json(AccountList { items: rows.into_iter().map(view).collect() }))
}

#[derive(Deserialize, ToSchema)]
pub struct NewAccount {
    name: String,
    password: String,
    role: Role,
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let fits = (2..=32).contains(&name.chars().count());
    if fits && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)) {
        Ok(())
    } else {
        Err(ApiError::invalid("an account's name is 2 to 32 letters, digits, '-', '_' or '.'"))
    }
}

/// Make an account; its password must be changed at the first sign-in.
#[utoipa::path(post, path = "/accounts", request_body = NewAccount, responses((status = 201), (status = 400), (status = 409)))]
pub async fn create(
    State(app): State<Shared>,
    Admin(who): Admin,
    Json(body): Json<NewAccount>,
) -> Result<StatusCode, ApiError> {
    check_name(&body.name)?;
    check_password(&body.password, &body.name)?;
    if !app.access.add_account(&body.name, &body.password, body.role, true).await? {
        return Err(ApiError::conflict("name_taken", "该账号名已存在", "the name is taken"));
    }
    who.note(&app, "create_account", &body.name, body.role.as_str());
    Ok(StatusCode::CREATED)
}

#[derive(Deserialize, ToSchema)]
pub struct AccountChange {
    password: Option<String>,
    role: Option<Role>,
    /// 0 to 255; where two of one role want one camera, the higher one gets it.
    priority: Option<u8>,
    /// The phone account that it telephones as from the browser; empty: none.
    phone: Option<String>,
}

/// Set a new password or another role (the account's sessions end), its priority, or its phone.
#[utoipa::path(patch, path = "/accounts/{name}", params(("name" = String, Path)), request_body = AccountChange,
    responses((status = 204), (status = 404), (status = 409)))]
pub async fn change(
    State(app): State<Shared>,
    Admin(who): Admin,
    Path(name): Path<String>,
    Json(body): Json<AccountChange>,
) -> Result<StatusCode, ApiError> {
    let account = app.store.account(&name).await?.ok_or_else(|| ApiError::not_found(&format!("account {name}")))?;
    let ended = body.password.is_some() || body.role.is_some();
    if let Some(password) = &body.password {
        check_password(password, &name)?;
    }
    if let Some(role) = body.role {
        if account.role == Role::Admin && role != Role::Admin {
            keep_one_admin(&app, &name).await?;
        }
        app.store.set_role(&name, role).await?;
        app.access.withdraw(&name).await?;
        who.note(&app, "set_role", &name, role.as_str());
    }
    if let Some(password) = body.password {
        app.access.reset_password(&name, &password).await?;
        who.note(&app, "reset_password", &name, "");
    }
    if let Some(priority) = body.priority {
        app.store.set_priority(&name, priority).await?;
        app.priorities.insert(name.clone(), priority);
        who.note(&app, "set_priority", &name, &priority.to_string());
    }
    if let Some(phone) = body.phone.as_deref().map(str::trim) {
        if !phone.is_empty() && app.secrets.secret(AccountKind::Phone, phone).is_none() {
            return Err(ApiError::invalid("there is no phone account of this number"));
        }
        app.secrets.bind_phone(&name, (!phone.is_empty()).then_some(phone)).await?;
        who.note(&app, "bind_phone", &name, phone);
    }
    if !ended {
        return Ok(StatusCode::NO_CONTENT);
    }
    app.secrets.tickets.end(|i| i.account == name);
    app.legs.withdraw(&app, &name);
    app.release_where(|claim| claim.account == name);
    Ok(StatusCode::NO_CONTENT)
}

/// Without an administrator nobody could mend anything.
async fn keep_one_admin(app: &Shared, without: &str) -> Result<(), ApiError> {
    let others = app.store.accounts().await?.into_iter().any(|a| a.role == Role::Admin && a.name != without);
    if others {
        Ok(())
    } else {
        Err(ApiError::conflict("last_admin", "这是最后一个管理员账号", "this is the last administrator"))
    }
}

/// Delete an account; its sessions and legs end.
#[utoipa::path(delete, path = "/accounts/{name}", params(("name" = String, Path)), responses((status = 204), (status = 404), (status = 409)))]
pub async fn delete(
    State(app): State<Shared>,
    Admin(who): Admin,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    keep_one_admin(&app, &name).await?;
    if !app.store.delete_account(&name).await? {
        return Err(ApiError::not_found(&format!("account {name}")));
    }
    app.access.withdraw(&name).await?;
    app.store.set_priority(&name, 0).await?;
    app.priorities.remove(&name);
    app.secrets.bind_phone(&name, None).await?;
    app.release_where(|claim| claim.account == name);
    app.legs.withdraw(&app, &name);
    who.note(&app, "delete_account", &name, "");
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, IntoParams)]
pub struct AuditQuery {
    from: Option<String>,
    to: Option<String>,
    account: Option<String>,
    offset: Option<i64>,
    limit: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub struct AuditPage {
    total: i64,
    items: Vec<AuditRow>,
}

/// Who did and saw what, newest first.
#[utoipa::path(get, path = "/audit", params(AuditQuery), responses((status = 200, body = AuditPage)))]
pub async fn audit(
    State(app): State<Shared>,
    Admin(_who): Admin,
    Query(q): Query<AuditQuery>,
) -> Result<Json<AuditPage>, ApiError> {
    let filter = AuditFilter {
        from: time::parse_optional(q.from.as_deref())?,
        to: time::parse_optional(q.to.as_deref())?,
        account: q.account.filter(|a| !a.is_empty()),
        offset: q.offset.unwrap_or(0).max(0),
        limit: q.limit.unwrap_or(100).clamp(1, 1000),
    };
    let (total, items) = app.store.audit(&filter).await?;
    Ok(Json(AuditPage { total, items }))
}
