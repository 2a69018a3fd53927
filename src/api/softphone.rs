//! The telephone in the browser: which number it has, and a ticket to register with.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use media_hub::Whose;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::{Operator, Viewer};
use super::{ApiError, Shared};

#[derive(Serialize, ToSchema)]
pub struct OwnPhone {
    /// The phone account that an administrator bound this account to.
    phone: Option<String>,
    name: String,
}

/// The own number.
#[utoipa::path(get, path = "/softphone", responses((status = 200, body = OwnPhone)))]
pub async fn show(State(app): State<Shared>, Viewer(who): Viewer) -> Json<OwnPhone> {
    let phone = app.secrets.own_phone(&who.identity.account);
    let name = phone.as_deref().map(|p| app.phone_name(p)).unwrap_or_default();
    Json(OwnPhone { phone, name })
}

#[derive(Serialize, ToSchema)]
pub struct TicketView {
    /// The number: From and To of the REGISTER.
    phone: String,
    name: String,
    /// The user name of the digest.
    user: String,
    password: String,
    realm: String,
}

/// A ticket to register as the own number at `/sip`: good while this sign-in lives, void 10 minutes after its last use; a new one
/// ends the one before.
#[utoipa::path(post, path = "/softphone", responses((status = 201, body = TicketView), (status = 404), (status = 409)))]
pub async fn ticket(
    State(app): State<Shared>,
    Operator(who): Operator,
) -> Result<(StatusCode, Json<TicketView>), ApiError> {
    if !app.settings.sip.websocket {
        let (zh, en) =
            ("网关没有开启网页电话（sip.websocket）", "telephones in browsers are switched off (sip.websocket)");
        return Err(ApiError::conflict("softphone_off", zh, en));
    }
    let Some(phone) = app.secrets.own_phone(&who.identity.account) else {
        let (zh, en) = (
            "您的账号没有绑定电话号码，请管理员在“账号”页设置",
            "your account has no phone number; an administrator sets it under Accounts",
        );
        return Err(ApiError::new(StatusCode::NOT_FOUND, "no_own_phone", Whose::You, zh, en));
    };
    let Some(ticket) = app.secrets.ticket(&who.identity, &phone) else {
        let (zh, en) = ("网页电话数量已达上限", "there are too many telephones in browsers");
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "softphone_limit", Whose::Us, zh, en));
    };
    who.note(&app, "softphone", &phone, "");
    let name = app.phone_name(&phone);
    let realm = app.secrets.phone_realm().to_owned();
    Ok((StatusCode::CREATED, Json(TicketView { phone, name, user: ticket.user, password: ticket.password, realm })))
}
