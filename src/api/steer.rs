//! What an operator, or a member who chairs the conference, does with its members.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bridge_core::MemberId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Operator, Viewer, Who};
use super::{ApiError, Shared};
use crate::conference::{MemberView, SideWish};
use crate::store::Role;

/// Whether `who` may steer this conference: operators may steer all, others those that they chair.
pub(super) fn may_steer(app: &Shared, who: &Who, id: &str) -> bool {
    who.identity.role >= Role::Operator || app.conferences.chaired_by(id, &who.identity.account)
}

/// As [`may_steer`]; a refusal is written down.
pub(super) fn steers(app: &Shared, who: &Who, id: &str, verb: &str) -> Result<(), ApiError> {
    if may_steer(app, who, id) {
        return Ok(());
    }
    who.outcome(app, verb, id, "", "forbidden");
    Err(ApiError::forbidden())
}

/// Whether this is the account's own member.
pub(super) fn own(app: &Shared, who: &Who, id: &str, member: &MemberId) -> bool {
    let owner = app.conferences.leg_of(id, member).and_then(|leg| app.legs.owner(leg));
    owner.as_ref() == Some(&who.identity.account)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MuteAll {
    /// True mutes, false opens all that an operator or chair had muted.
    muted: bool,
    /// Ids of members who are not muted; chairs never are.
    #[serde(default)]
    spare: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Changed {
    /// Members that changed.
    changed: usize,
}

/// Mute all, or open all again.
#[utoipa::path(post, path = "/conferences/{id}/mute", params(("id" = String, Path)), request_body = MuteAll,
    responses((status = 200, body = Changed), (status = 403), (status = 404)))]
pub async fn mute_all(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
    Json(body): Json<MuteAll>,
) -> Result<Json<Changed>, ApiError> {
    steers(&app, &who, &id, "mute_all")?;
    let spare: Vec<MemberId> = body.spare.into_iter().map(MemberId).collect();
    let changed = app.conferences.mute_all(&id, body.muted, &spare)?;
    who.note(&app, "mute_all", &id, &format!("muted={} members={changed}", body.muted));
    Ok(Json(Changed { changed }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Hand {
    raised: bool,
}

/// Raise one's own hand or take it down; whoever steers takes down any.
#[utoipa::path(put, path = "/conferences/{id}/members/{member}/hand", params(("id" = String, Path), ("member" = String, Path)),
    request_body = Hand, responses((status = 200, body = MemberView), (status = 403), (status = 404)))]
pub async fn hand(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path((id, member)): Path<(String, String)>,
    Json(body): Json<Hand>,
) -> Result<Json<MemberView>, ApiError> {
    let member = MemberId(member);
    if !own(&app, &who, &id, &member) {
        steers(&app, &who, &id, "hand")?;
    }
    Ok(Json(app.conferences.set_hand(&id, &member, body.raised)?))
}

/// Put a member into a side room, let it whisper to one, or bring it back into the conference. A member may whisper by itself,
/// and come back.
#[utoipa::path(put, path = "/conferences/{id}/members/{member}/side", params(("id" = String, Path), ("member" = String, Path)),
    request_body = SideWish, responses((status = 200, body = MemberView), (status = 400), (status = 403), (status = 404)))]
pub async fn side(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path((id, member)): Path<(String, String)>,
    Json(body): Json<SideWish>,
) -> Result<Json<MemberView>, ApiError> {
    let member = MemberId(member);
    if !own(&app, &who, &id, &member) || body.room.is_some() {
        steers(&app, &who, &id, "side")?;
    }
    let view = app.conferences.set_side(&id, &member, &body)?;
    let words = |name: &str, what: Option<&String>| what.map_or(String::new(), |w| format!(" {name}={w}"));
    let detail = format!("{}{}{}", view.name, words("room", body.room.as_ref()), words("to", body.whisper.as_ref()));
    who.note(&app, "side", &id, &detail);
    Ok(Json(view))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The id of the other conference.
    to: String,
}

/// Take a member into another conference without hanging up. It comes there as a speaker; a PIN is not asked for.
#[utoipa::path(post, path = "/conferences/{id}/members/{member}/move", params(("id" = String, Path), ("member" = String, Path)),
    request_body = Move, responses((status = 200, body = MemberView), (status = 400), (status = 404), (status = 409)))]
pub async fn move_member(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path((id, member)): Path<(String, String)>,
    Json(body): Json<Move>,
) -> Result<(StatusCode, Json<MemberView>), ApiError> {
    let moved = app.conferences.move_member(&id, &MemberId(member), &body.to)?;
    if let Some((leg, listen)) = moved.leg {
        app.endpoint.set_listen(leg, listen);
    }
    who.note(&app, "move_member", &id, &format!("{} {}", moved.view.name, body.to));
    Ok((StatusCode::OK, Json(moved.view)))
}
