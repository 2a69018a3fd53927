//! Conferences and their members.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bridge_core::{ChannelId, Key, MemberId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Admin, Operator, Viewer};
use super::steer::{may_steer, own, steers};
use super::{ApiError, Shared};
use crate::conference::{ConferenceChange, ConferenceView, MemberChange, MemberView, MutedBy, Press};
use crate::events::Severity;

#[derive(Serialize, ToSchema)]
pub struct ConferenceList {
    items: Vec<ConferenceView>,
}

/// All conferences.
#[utoipa::path(get, path = "/conferences", responses((status = 200, body = ConferenceList)))]
pub async fn list(State(app): State<Shared>, Viewer(_who): Viewer) -> Json<ConferenceList> {
    Json(ConferenceList { items: app.conferences.all() })
}

/// One conference with its members.
#[utoipa::path(get, path = "/conferences/{id}", params(("id" = String, Path)), responses((status = 200, body = ConferenceView), (status = 404)))]
pub async fn show(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<ConferenceView>, ApiError> {
    app.conferences.get(&id).map(Json).ok_or_else(|| ApiError::not_found(&format!("conference {id}")))
}

#[derive(Deserialize, ToSchema)]
pub struct NewConference {
    name: String,
    /// 2 to 12 digits; the next free one if left out.
    number: Option<String>,
    /// 4 to 12 digits; none if left out.
    pin: Option<String>,
}

/// Make a conference.
#[utoipa::path(post, path = "/conferences", request_body = NewConference,
    responses((status = 201, body = ConferenceView), (status = 400), (status = 409)))]
pub async fn create(
    State(app): State<Shared>,
    Operator(who): Operator,
    Json(body): Json<NewConference>,
) -> Result<(StatusCode, Json<ConferenceView>), ApiError> {
    let pin = body.pin.unwrap_or_default();
    let view = app.conferences.create(&body.name, body.number.as_deref().filter(|n| !n.is_empty()), &pin).await?;
    who.note(&app, "create_conference", &view.id, &format!("{} {}", view.number, view.name));
    Ok((StatusCode::CREATED, Json(view)))
}

/// Change name, PIN, lock, lobby, or whether one talks at a time.
#[utoipa::path(patch, path = "/conferences/{id}", params(("id" = String, Path)), request_body = ConferenceChange,
    responses((status = 200, body = ConferenceView), (status = 400), (status = 404)))]
pub async fn change(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
    Json(body): Json<ConferenceChange>,
) -> Result<Json<ConferenceView>, ApiError> {
    steers(&app, &who, &id, "change_conference")?;
    let what = [
        ("name", body.name.is_some()),
        ("pin", body.pin.is_some()),
        ("locked", body.locked.is_some()),
        ("half_duplex", body.half_duplex.is_some()),
        ("lobby", body.lobby.is_some()),
    ];
    let what: Vec<&str> = what.iter().filter(|(_, set)| *set).map(|(n, _)| *n).collect();
    let view = app.conferences.change(&id, body).await?;
    who.note(&app, "change_conference", &id, &what.join(" "));
    Ok(Json(view))
}

/// End a conference: all are hung up, its number is free.
#[utoipa::path(delete, path = "/conferences/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn end(State(app): State<Shared>, Admin(who): Admin, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    for leg in app.conferences.end(&id).await? {
        app.endpoint.close(leg);
    }
    app.guests.conference_ended(&id).await;
    who.note(&app, "end_conference", &id, "");
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// A stream, or null for none: null must be said, so that a slip does not blank a screen.
    #[serde(deserialize_with = "Option::deserialize")]
    source: Option<String>,
}

/// What the conference's main picture shows.
#[utoipa::path(put, path = "/conferences/{id}/picture", params(("id" = String, Path)), request_body = Picture,
    responses((status = 200, body = ConferenceView), (status = 404)))]
pub async fn set_picture(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
    Json(body): Json<Picture>,
) -> Result<Json<ConferenceView>, ApiError> {
    steers(&app, &who, &id, "set_picture")?;
    let view = app.conferences.set_picture(&id, body.source.as_deref()).await?;
    who.note(&app, "set_picture", &id, body.source.as_deref().unwrap_or("none"));
    Ok(Json(view))
}

#[derive(Deserialize, ToSchema)]
pub struct NewMember {
    /// A channel whose sound and picture join; a radio group is called.
    channel: Option<String>,
    /// A phone to call: an account's name or number.
    dial: Option<String>,
}

/// A camera joins, or a phone is called.
#[utoipa::path(post, path = "/conferences/{id}/members", params(("id" = String, Path)), request_body = NewMember,
    responses((status = 201, body = MemberView), (status = 400), (status = 404), (status = 409)))]
pub async fn add_member(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
    Json(body): Json<NewMember>,
) -> Result<(StatusCode, Json<MemberView>), ApiError> {
    steers(&app, &who, &id, "add_member")?;
    match (body.channel, body.dial) {
        // A radio group is joined by a call to its gateway.
        (Some(group), None) if group.starts_with("radio:") => {
            if app.registry.channel(&ChannelId(group.clone())).is_none() {
                return Err(ApiError::not_found(&format!("channel {group}")));
            }
            let view = dial_into(&app, &id, &group)?;
            who.note(&app, "dial", &id, &group);
            Ok((StatusCode::CREATED, Json(view)))
        }
        (Some(channel), None) => {
            let channel = ChannelId(channel);
            if app.registry.channel(&channel).is_none() {
                return Err(ApiError::not_found(&format!("channel {channel}")));
            }
            let view = app.conferences.add_channel(&id, &channel).await?;
            who.note(&app, "add_channel", &id, &channel.0);
            Ok((StatusCode::CREATED, Json(view)))
        }
        (None, Some(to)) => {
            let view = dial_into(&app, &id, &to)?;
            who.note(&app, "dial", &id, &to);
            Ok((StatusCode::CREATED, Json(view)))
        }
        _ => Err(ApiError::invalid("give either channel or dial")),
    }
}

/// Calls a phone into a conference.
pub(super) fn dial_into(app: &Shared, id: &str, to: &str) -> Result<MemberView, ApiError> {
    let (view, seat) = app.conferences.seat_for_call(id, &app.phone_name(to))?;
    app.conferences.dialled(id, &MemberId(view.id.clone()), to);
    let (app, to) = (app.clone(), to.to_owned());
    // The call's progress is told by the seat; what is wrong before it left us is told here.
    tokio::spawn(async move {
        let dialled = app.dial(&to, seat).await;
        if let Err(fault) = dialled {
            let (zh, en) = (format!("呼叫 {to} 失败：{}", fault.zh), format!("Call to {to} failed: {}", fault.en));
            app.events.notice(Severity::Warning, &zh, &en, &to);
        }
    });
    Ok(view)
}

/// Mute, set the volume, rename, give a role.
#[utoipa::path(patch, path = "/conferences/{id}/members/{member}", params(("id" = String, Path), ("member" = String, Path)),
    request_body = MemberChange, responses((status = 200, body = MemberView), (status = 400), (status = 403), (status = 404)))]
pub async fn change_member(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path((id, member)): Path<(String, String)>,
    Json(body): Json<MemberChange>,
) -> Result<Json<MemberView>, ApiError> {
    let member = MemberId(member);
    // Everybody may mute himself; all else is the operator's.
    let (own, operator) = (own(&app, &who, &id, &member), may_steer(&app, &who, &id));
    let speaker = body.loudspeaker.is_some() || body.duplex.is_some();
    let only_mute = body.volume_db.is_none() && body.name.is_none() && body.role.is_none() && !speaker;
    if !(operator || only_mute && own) {
        who.outcome(&app, "change_member", &id, &member.0, "forbidden");
        return Err(ApiError::forbidden());
    }
    // An operator's hand on his own microphone is not an order to himself.
    let by = if operator && !(own && body.muted == Some(true)) { MutedBy::Operator } else { MutedBy::Member };
    if speaker {
        crate::talk::change_speaker(&app, &id, &member, body.loudspeaker, body.duplex).await?;
        let words = body.loudspeaker.map_or(String::new(), |on| format!("loudspeaker={on} "));
        let duplex = body.duplex.map_or(String::new(), |d| format!("duplex={}", d.as_str()));
        who.note(&app, "loudspeaker", &id, &format!("{} {words}{duplex}", member.0));
    }
    let view = app.conferences.change_member(&id, &member, body, by)?;
    let detail = format!("{} muted={} volume={} role={:?}", view.name, view.muted, view.volume_db, view.role);
    who.note(&app, "change_member", &id, &detail);
    Ok(Json(view))
}

/// Hang up, or take a camera out.
#[utoipa::path(delete, path = "/conferences/{id}/members/{member}", params(("id" = String, Path), ("member" = String, Path)),
    responses((status = 204), (status = 404)))]
pub async fn remove_member(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path((id, member)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    steers(&app, &who, &id, "remove_member")?;
    let guest = app.conferences.guest_of(&id, &MemberId(member.clone()));
    if let Some(leg) = app.conferences.remove(&id, &MemberId(member.clone())).await? {
        app.endpoint.close(leg);
    }
    if let Some(guest) = guest {
        app.guests.set_state(&guest, crate::guests::GuestState::Removed).await;
        crate::guests::close_legs(&app, &guest);
    }
    who.note(&app, "remove_member", &id, &member);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FloorOrder {
    #[serde(rename = "do")]
    what: Press,
    #[serde(default)]
    emergency: bool,
}

/// Press the talk key of a browser's own member, or let it go. What comes of it is told by the events `floor` and `floor_notice`.
#[utoipa::path(post, path = "/conferences/{id}/members/{member}/floor", params(("id" = String, Path), ("member" = String, Path)),
    request_body = FloorOrder, responses((status = 204), (status = 403), (status = 404), (status = 409)))]
pub async fn press(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path((id, member)): Path<(String, String)>,
    Json(body): Json<FloorOrder>,
) -> Result<StatusCode, ApiError> {
    let member = MemberId(member);
    if !own(&app, &who, &id, &member) {
        who.outcome(&app, "floor", &id, &member.0, "forbidden");
        return Err(ApiError::forbidden());
    }
    let key = match body.what {
        Press::Press => Key::Pressed { by: None, priority: None, emergency: body.emergency },
        Press::Release => Key::Released,
    };
    app.conferences.key(&id, &member, key)?;
    if body.emergency {
        who.note(&app, "emergency_call", &id, &member.0);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Take the floor from whoever has it.
#[utoipa::path(delete, path = "/conferences/{id}/floor", params(("id" = String, Path)),
    responses((status = 204), (status = 404), (status = 409)))]
pub async fn revoke_floor(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    steers(&app, &who, &id, "revoke_floor")?;
    app.conferences.revoke_floor(&id)?;
    who.note(&app, "revoke_floor", &id, "");
    Ok(StatusCode::NO_CONTENT)
}
