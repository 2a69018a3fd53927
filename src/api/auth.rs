//! Who asks, and whether they may.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use media_hub::Whose;

use super::{ApiError, Shared};
use crate::access::Identity;
use crate::app::App;
use crate::store::Role;

/// The console's cookie.
pub const COOKIE: &str = "skybridge_session";

/// Where a request came from.
pub struct Peer(pub IpAddr);

impl FromRequestParts<Shared> for Peer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|c| c.0.ip());
        peer.map(Peer).ok_or_else(|| ApiError::internal(&"the server did not say who is connected"))
    }
}

/// A signed-in asker.
pub struct Who {
    pub identity: Identity,
    pub address: IpAddr,
}

impl Who {
    /// Notes an order or a view in the audit log.
    pub fn note(&self, app: &App, verb: &str, object: &str, detail: &str) {
        self.outcome(app, verb, object, detail, "ok");
    }

    pub fn outcome(&self, app: &App, verb: &str, object: &str, detail: &str, outcome: &str) {
        app.audit.note(&self.identity.account, &self.address.to_string(), verb, object, detail, outcome);
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()) {
        return value.strip_prefix("Bearer ").map(str::trim);
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

async fn who(parts: &mut Parts, app: &Shared) -> Result<Who, ApiError> {
    let Peer(address) = Peer::from_request_parts(parts, app).await?;
    let token = token(&parts.headers).ok_or_else(ApiError::unauthorized)?;
    let identity = app.access.identify(token).await?.ok_or_else(ApiError::unauthorized)?;
    Ok(Who { identity, address })
}

async fn at_least(parts: &mut Parts, app: &Shared, role: Role) -> Result<Who, ApiError> {
    let who = who(parts, app).await?;
    if who.identity.must_change_password {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "password_change_required",
            Whose::You,
            "请先修改初始密码",
            "change the one-time password first",
        ));
    }
    if who.identity.role < role {
        who.outcome(app, "refused", parts.uri.path(), parts.method.as_str(), "forbidden");
        return Err(ApiError::forbidden());
    }
    Ok(who)
}

/// Signed in, even if the one-time password was not changed yet.
pub struct SignedIn(pub Who);
/// Sees and hears.
pub struct Viewer(pub Who);
/// Also switches, calls, mutes, records, moves cameras.
pub struct Operator(pub Who);
/// Also accounts, devices, plans, audit.
pub struct Admin(pub Who);

impl FromRequestParts<Shared> for SignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        who(parts, app).await.map(SignedIn)
    }
}

macro_rules! role {
    ($name:ident) => {
        impl FromRequestParts<Shared> for $name {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
                at_least(parts, app, Role::$name).await.map($name)
            }
        }
    };
}

role!(Viewer);
role!(Operator);
role!(Admin);
