//! Calls of telephones: those that run, and the records of those that ended.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use bridge_core::{CallDirection, CallLeg, Command, LiveCall, MemberId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::{Operator, Viewer};
use super::{ApiError, Shared, time};
use crate::store::{CallFilter, CallRow};

#[derive(Deserialize, IntoParams)]
pub struct CallQuery {
    from: Option<String>,
    to: Option<String>,
    /// Caller, callee or dialled number.
    number: Option<String>,
    /// `in`, `out` or `between`.
    direction: Option<String>,
    /// Only those that nobody took.
    missed: Option<bool>,
    offset: Option<i64>,
    limit: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub struct CallPage {
    total: i64,
    items: Vec<CallRow>,
}

/// Calls that ended, newest first.
#[utoipa::path(get, path = "/calls", params(CallQuery), responses((status = 200, body = CallPage), (status = 400)))]
pub async fn list(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Query(q): Query<CallQuery>,
) -> Result<Json<CallPage>, ApiError> {
    let direction = q.direction.filter(|d| !d.is_empty());
    if direction.as_ref().is_some_and(|d| !["in", "out", "between"].contains(&d.as_str())) {
        return Err(ApiError::invalid("direction is in, out or between"));
    }
    let filter = CallFilter {
        from: time::parse_optional(q.from.as_deref())?,
        to: time::parse_optional(q.to.as_deref())?,
        number: q.number.filter(|n| !n.is_empty()),
        direction,
        missed: q.missed.unwrap_or(false),
        offset: q.offset.unwrap_or(0).max(0),
        limit: q.limit.unwrap_or(100).clamp(1, 1000),
    };
    let (total, items) = app.store.calls(&filter).await?;
    Ok(Json(CallPage { total, items }))
}

/// A call that runs.
#[derive(Serialize, ToSchema)]
pub struct LiveCallView {
    id: String,
    direction: &'static str,
    caller: String,
    caller_name: String,
    callee: String,
    callee_name: String,
    dialled: String,
    /// `calling`, `ringing`, `talking` or `held`.
    state: &'static str,
    #[schema(value_type = String)]
    began_at: Timestamp,
    #[schema(value_type = Option<String>)]
    rang_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    answered_at: Option<Timestamp>,
    #[schema(value_type = Vec<Object>)]
    legs: Vec<CallLeg>,
}

#[derive(Serialize, ToSchema)]
pub struct LiveCalls {
    items: Vec<LiveCallView>,
}

fn view(call: LiveCall) -> LiveCallView {
    LiveCallView {
        id: call.id,
        direction: call.direction.as_str(),
        caller: call.caller.number,
        caller_name: call.caller.name,
        callee: call.callee.number,
        callee_name: call.callee.name,
        dialled: call.dialled,
        state: call.state.as_str(),
        began_at: call.began,
        rang_at: call.rang,
        answered_at: call.answered,
        legs: call.legs,
    }
}

/// Calls that run now, the oldest first.
#[utoipa::path(get, path = "/calls/live", responses((status = 200, body = LiveCalls)))]
pub async fn live(State(app): State<Shared>, Viewer(_who): Viewer) -> Json<LiveCalls> {
    Json(LiveCalls { items: crate::calls::live(&app).into_iter().map(view).collect() })
}

/// Release a call: both phones get a BYE.
#[utoipa::path(post, path = "/calls/{id}/hangup", params(("id" = String, Path)),
    responses((status = 202), (status = 404)))]
pub async fn hang_up(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let found = crate::calls::live(&app).into_iter().find(|c| c.id == id);
    let Some(call) = found.filter(|_| crate::calls::hang_up(&app, &id)) else {
        return Err(ApiError::not_found(&format!("call {id}")));
    };
    who.note(&app, "hang_up_call", &id, &format!("{} - {}", call.caller.number, call.callee.number));
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Insertion {
    /// The conference that both phones come into; a new one if left out.
    conference: Option<String>,
    /// A phone that is called into it as well: the officer's own.
    dial: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Inserted {
    conference: String,
}

/// Come into a live call between two phones: both hear a tone and become members of a conference without hanging up.
#[utoipa::path(post, path = "/calls/{id}/insert", params(("id" = String, Path)), request_body = Insertion,
    responses((status = 202, body = Inserted), (status = 400), (status = 404)))]
pub async fn insert(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Json(body): Json<Insertion>,
) -> Result<(StatusCode, Json<Inserted>), ApiError> {
    let stands = |c: &LiveCall| c.id == id && c.direction == CallDirection::Between && c.answered.is_some();
    let call = crate::calls::live(&app).into_iter().find(stands);
    let call = call.ok_or_else(|| ApiError::not_found(&format!("answered call between phones {id}")))?;
    let parties = format!("{} - {}", call.caller.number, call.callee.number);
    // The row stands before anything is done: nobody comes into a call unseen.
    who.note(&app, "insert_into_call", &id, &parties);
    let (conference, made) = match body.conference.filter(|c| !c.is_empty()) {
        Some(conference) => (conference, false),
        None => (app.conferences.create(&format!("强插 {parties}"), None, "").await?.id, true),
    };
    let (first, seat) = app.conferences.seat_for_call(&conference, &call.caller.name)?;
    let (second, other) = app.conferences.seat_for_call(&conference, &call.callee.name)?;
    for (view, party) in [(&first, &call.caller), (&second, &call.callee)] {
        app.conferences.dialled(&conference, &MemberId(view.id.clone()), &party.number);
    }
    let order = Command::Insert { call: id.clone(), seats: Box::new([seat, other]) };
    if let Err(fault) = app.command_now("phone", order).await {
        for view in [first, second] {
            app.conferences.abandon(&conference, &MemberId(view.id));
        }
        if made {
            let _ = app.conferences.end(&conference).await;
        }
        who.outcome(&app, "insert_into_call", &id, &parties, fault.code);
        return Err(ApiError::of_fault(&fault));
    }
    if let Some(dial) = body.dial.filter(|d| !d.is_empty()) {
        super::conferences::dial_into(&app, &conference, &dial)?;
    }
    Ok((StatusCode::ACCEPTED, Json(Inserted { conference })))
}
