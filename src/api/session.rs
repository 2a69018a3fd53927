//! Signing in and out.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{COOKIE, Peer, SignedIn};
use super::{ApiError, Shared};
use crate::access::{Identity, MIN_PASSWORD, SignInError};
use crate::store::Role;

#[derive(Deserialize, ToSchema)]
pub struct SignIn {
    name: String,
    password: String,
}

#[derive(Serialize, ToSchema)]
pub struct Account {
    name: String,
    role: Role,
    must_change_password: bool,
}

#[derive(Serialize, ToSchema)]
pub struct SignedInView {
    token: String,
    expires_at: String,
    account: Account,
}

#[derive(Serialize, ToSchema)]
pub struct SessionView {
    account: Account,
    expires_at: String,
    /// Names this sign-in where the hall tells who holds a camera.
    session: String,
    site: Site,
}

#[derive(Serialize, ToSchema)]
pub struct Site {
    name_zh: String,
    name_en: String,
    version: String,
}

fn account(identity: &Identity) -> Account {
    Account { name: identity.account.clone(), role: identity.role, must_change_password: identity.must_change_password }
}

fn at(milliseconds: i64) -> String {
    bridge_core::Timestamp(milliseconds).to_string()
}

impl From<SignInError> for ApiError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Wrong => ApiError::new(
                StatusCode::UNAUTHORIZED,
                "wrong_password",
                media_hub::Whose::You,
                "用户名或密码错误",
                "name or password is wrong",
            ),
            SignInError::Locked(seconds) => ApiError::locked(seconds),
            other => ApiError::internal(&other),
        }
    }
}

/// The token itself ends earlier unless it is used: this only keeps the browser from forgetting it.
const COOKIE_AGE_S: i64 = 400 * 86_400;

/// A cookie that scripts cannot read and that other sites cannot make the browser send.
fn cookie(value: &str, max_age_s: i64, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age_s}{secure}");
    HeaderValue::from_str(&text).ok()
}

/// Sign in.
#[utoipa::path(post, path = "/session", request_body = SignIn, security(()),
    responses((status = 200, body = SignedInView), (status = 401), (status = 429)))]
pub async fn sign_in(
    State(app): State<Shared>,
    Peer(address): Peer,
    request_tls: Option<axum::Extension<crate::app::OverTls>>,
    Json(body): Json<SignIn>,
) -> Result<impl IntoResponse, ApiError> {
    if body.name.len() > 64 || body.password.len() > 256 {
        return Err(ApiError::invalid("name or password is too long"));
    }
    let signed = app.access.sign_in(&body.name, &body.password, address).await;
    let outcome = match &signed {
        Ok(_) => "ok",
        Err(SignInError::Locked(_)) => "locked",
        Err(_) => "refused",
    };
    // The failures that led to a lock stand in the log; those refused unseen would only drown the rest.
    if outcome != "locked" {
        app.audit.note(&body.name, &address.to_string(), "sign_in", "", "", outcome);
    }
    let (token, identity) = signed?;
    let mut headers = HeaderMap::new();
    if let Some(value) = cookie(&token, COOKIE_AGE_S, request_tls.is_some()) {
        headers.insert(header::SET_COOKIE, value);
    }
    let view = SignedInView { token, expires_at: at(identity.expires_at), account: account(&identity) };
    Ok((headers, Json(view)))
}

/// Who is signed in.
#[utoipa::path(get, path = "/session", responses((status = 200, body = SessionView), (status = 401)))]
pub async fn show(State(app): State<Shared>, SignedIn(who): SignedIn) -> Json<SessionView> {
    Json(SessionView {
        account: account(&who.identity),
        expires_at: at(who.identity.expires_at),
        session: crate::control::session_name(&who.identity),
        site: Site {
            name_zh: app.settings.site.name_zh.clone(),
            name_en: app.settings.site.name_en.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
    })
}

/// Sign out: the token ends.
#[utoipa::path(delete, path = "/session", responses((status = 204)))]
pub async fn sign_out(State(app): State<Shared>, SignedIn(who): SignedIn) -> Result<impl IntoResponse, ApiError> {
    app.access.sign_out(&who.identity).await?;
    let session = crate::control::session_name(&who.identity);
    app.release_where(|claim| claim.session == session);
    app.secrets.tickets.end(|i| i.token_hash == who.identity.token_hash);
    who.note(&app, "sign_out", "", "");
    let mut headers = HeaderMap::new();
    if let Some(value) = cookie("", 0, false) {
        headers.insert(header::SET_COOKIE, value);
    }
    Ok((StatusCode::NO_CONTENT, headers))
}

#[derive(Deserialize, ToSchema)]
pub struct ChangePassword {
    old: String,
    new: String,
}

/// Refuses passwords that are no secret.
pub fn check_password(new: &str, name: &str) -> Result<(), ApiError> {
    let characters = new.chars().count();
    if !(MIN_PASSWORD..=200).contains(&characters) {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "weak_password",
            media_hub::Whose::You,
            &format!("密码至少 {MIN_PASSWORD} 个字符"),
            &format!("a password has at least {MIN_PASSWORD} characters"),
        ));
    }
    let first = new.chars().next();
    if new.contains(name) || new.chars().all(|c| Some(c) == first) {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "weak_password",
            media_hub::Whose::You,
            "密码不能包含用户名，也不能是同一个字符",
            "a password must not contain the name nor be one character repeated",
        ));
    }
    Ok(())
}

/// Change the own password; all other tokens of the account end.
#[utoipa::path(post, path = "/session/password", request_body = ChangePassword, responses((status = 204), (status = 400)))]
pub async fn change_password(
    State(app): State<Shared>,
    SignedIn(who): SignedIn,
    Json(body): Json<ChangePassword>,
) -> Result<StatusCode, ApiError> {
    check_password(&body.new, &who.identity.account)?;
    if body.old == body.new {
        return Err(ApiError::invalid("the new password is the old one"));
    }
    let changed = app.access.change_password(&who.identity, &body.old, &body.new).await?;
    who.outcome(&app, "change_password", &who.identity.account, "", if changed { "ok" } else { "refused" });
    if changed { Ok(StatusCode::NO_CONTENT) } else { Err(SignInError::Wrong.into()) }
}
