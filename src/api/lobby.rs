//! Who waits in front of a conference, and the links by which guests come.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use bridge_core::MemberId;
use media_hub::Whose;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Viewer;
use super::steer::steers;
use super::{ApiError, Shared, time};
use crate::conference::{Admitted, WaiterView};
use crate::guests::{GuestState, LinkRefused, NewLink, close_legs};
use crate::store::GuestLinkRow;

#[derive(Serialize, ToSchema)]
pub struct LobbyList {
    items: Vec<WaiterView>,
}

/// Who waits in the lobby.
#[utoipa::path(get, path = "/conferences/{id}/lobby", params(("id" = String, Path)),
    responses((status = 200, body = LobbyList), (status = 404)))]
pub async fn list(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<LobbyList>, ApiError> {
    Ok(Json(LobbyList { items: app.conferences.waiting(&id)? }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LobbyOrder {
    /// True lets in, false sends away.
    admit: bool,
    /// Ids of those who wait; all of them if it is left out.
    who: Option<Vec<String>>,
}

#[derive(Serialize, ToSchema)]
pub struct LobbyDone {
    /// Those whom the order reached.
    changed: usize,
}

/// Let those who wait in, or send them away: some by id, or all.
#[utoipa::path(post, path = "/conferences/{id}/lobby", params(("id" = String, Path)), request_body = LobbyOrder,
    responses((status = 200, body = LobbyDone), (status = 403), (status = 404), (status = 409)))]
pub async fn order(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
    Json(body): Json<LobbyOrder>,
) -> Result<Json<LobbyDone>, ApiError> {
    let verb = if body.admit { "admit" } else { "refuse_entry" };
    steers(&app, &who, &id, verb)?;
    let waiting = app.conferences.waiting(&id)?;
    let by_name = body.who.is_some();
    let wanted = body.who.unwrap_or_else(|| waiting.iter().map(|w| w.id.clone()).collect());
    let mut changed = 0;
    for waiter in wanted.into_iter().map(MemberId) {
        let name = waiting.iter().find(|w| w.id == waiter.0).map_or(String::new(), |w| w.name.clone());
        let done = match body.admit {
            true => app.conferences.admit(&id, &waiter).map(|a| match a {
                Admitted::Guest(session) => Some(session),
                Admitted::Member(_) => None,
            }),
            false => app.conferences.refuse(&id, &waiter),
        };
        match done {
            Ok(Some(session)) => {
                let state = if body.admit { GuestState::Admitted } else { GuestState::Refused };
                app.guests.set_state(&session, state).await;
            }
            Ok(None) => {}
            // Who has just left is no fault where all are meant.
            Err(crate::conference::ConferenceError::NoMember(_)) if !by_name => continue,
            Err(error) => return Err(error.into()),
        }
        who.note(&app, verb, &id, &format!("{name} {}", waiter.0));
        changed += 1;
    }
    Ok(Json(LobbyDone { changed }))
}

/// A link for guests, without its token: that is shown once, when it is made.
#[derive(Serialize, ToSchema)]
pub struct LinkView {
    id: String,
    conference: String,
    name: String,
    role: String,
    camera: bool,
    created_by: String,
    #[serde(serialize_with = "time::rfc3339")]
    #[schema(value_type = String)]
    created_at: i64,
    #[serde(serialize_with = "time::rfc3339")]
    #[schema(value_type = String)]
    expires_at: i64,
    /// Guests that may come in by it, and that did.
    uses: u32,
    used: u32,
    withdrawn: bool,
    /// Guests whose sessions stand.
    guests: usize,
}

fn view(row: GuestLinkRow, guests: usize) -> LinkView {
    let GuestLinkRow {
        id,
        conference,
        name,
        role,
        camera,
        created_by,
        created_at,
        expires_at,
        uses,
        used,
        withdrawn,
        ..
    } = row;
    LinkView { id, conference, name, role, camera, created_by, created_at, expires_at, uses, used, withdrawn, guests }
}

#[derive(Serialize, ToSchema)]
pub struct LinkList {
    items: Vec<LinkView>,
}

#[derive(Serialize, ToSchema)]
pub struct MadeLink {
    link: LinkView,
    /// The way to the guests' page, with the token: shown this once.
    path: String,
    /// The same with `http.public_url`; null: put it behind the address by which the console was opened.
    url: Option<String>,
}

/// The links of a conference.
#[utoipa::path(get, path = "/conferences/{id}/links", params(("id" = String, Path)),
    responses((status = 200, body = LinkList), (status = 403)))]
pub async fn links(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<LinkList>, ApiError> {
    steers(&app, &who, &id, "guest_links")?;
    Ok(Json(LinkList { items: app.guests.links(&id).into_iter().map(|(row, guests)| view(row, guests)).collect() }))
}

/// Make a link for guests.
#[utoipa::path(post, path = "/conferences/{id}/links", params(("id" = String, Path)), request_body = NewLink,
    responses((status = 201, body = MadeLink), (status = 400), (status = 403), (status = 404), (status = 409)))]
pub async fn make_link(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
    Json(mut body): Json<NewLink>,
) -> Result<(StatusCode, Json<MadeLink>), ApiError> {
    steers(&app, &who, &id, "make_guest_link")?;
    if app.conferences.get(&id).is_none() {
        return Err(ApiError::not_found(&format!("conference {id}")));
    }
    body.conference.clone_from(&id);
    let (row, token) = app.guests.make_link(body, &who.identity.account).await?;
    who.note(&app, "make_guest_link", &id, &format!("{} {} {}", row.id, row.role, row.name));
    let path = format!("/join/{token}");
    let public = &app.settings.http.public_url;
    let url = (!public.is_empty()).then(|| format!("{public}{path}"));
    Ok((StatusCode::CREATED, Json(MadeLink { link: view(row, 0), path, url })))
}

#[derive(Deserialize, IntoParams)]
pub struct WithdrawQuery {
    /// `leave` (the default): its guests are hung up; `stay`: they stay, and nobody else comes in.
    guests: Option<String>,
}

/// Withdraw a link.
#[utoipa::path(delete, path = "/conferences/{id}/links/{link}", params(("id" = String, Path), ("link" = String, Path), WithdrawQuery),
    responses((status = 204), (status = 400), (status = 403), (status = 404)))]
pub async fn withdraw(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path((id, link)): Path<(String, String)>,
    Query(query): Query<WithdrawQuery>,
) -> Result<StatusCode, ApiError> {
    steers(&app, &who, &id, "withdraw_guest_link")?;
    let leave = match query.guests.as_deref() {
        None | Some("leave") => true,
        Some("stay") => false,
        Some(_) => return Err(ApiError::invalid("guests is leave or stay")),
    };
    let gone = app.guests.withdraw(&id, &link, leave).await;
    let gone = gone.ok_or_else(|| ApiError::not_found(&format!("guest link {link}")))?;
    for guest in &gone {
        app.conferences.guest_gone(&guest.conference, &guest.hash);
        close_legs(&app, &guest.hash);
    }
    who.note(&app, "withdraw_guest_link", &id, &format!("{link} guests={}", gone.len()));
    Ok(StatusCode::NO_CONTENT)
}

impl From<LinkRefused> for ApiError {
    fn from(refused: LinkRefused) -> Self {
        let en = refused.to_string();
        let gone = |code, zh| ApiError::new(StatusCode::GONE, code, Whose::You, zh, &en);
        match refused {
            LinkRefused::Unknown => {
                ApiError::new(StatusCode::NOT_FOUND, "no_such_link", Whose::You, "链接无效，请核对", &en)
            }
            LinkRefused::Expired => gone("link_expired", "链接已过期，请向邀请人索取新的链接"),
            LinkRefused::Withdrawn => gone("link_withdrawn", "链接已被撤回"),
            LinkRefused::UsedUp => gone("link_used_up", "链接的使用次数已用完"),
            LinkRefused::Full(_) => ApiError::conflict("too_many_guests", "访客或链接数量已达上限", &en),
            LinkRefused::Invalid(why) => ApiError::invalid(why),
            LinkRefused::Store(error) => error.into(),
        }
    }
}
