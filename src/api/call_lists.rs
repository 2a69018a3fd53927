//! Call lists: kept, started by one order, followed and stopped.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::auth::{Operator, Viewer};
use super::{ApiError, Shared};
use crate::lists::{ListBody, RunView};
use crate::store::DeskKind;

/// Most lists.
const MOST: usize = 500;

/// A list and its last run.
#[derive(Serialize, ToSchema)]
pub struct CallList {
    id: String,
    #[serde(flatten)]
    body: ListBody,
    run: Option<RunView>,
}

#[derive(Serialize, ToSchema)]
pub struct CallListList {
    items: Vec<CallList>,
}

fn check(body: &ListBody) -> Result<(), ApiError> {
    let word = |s: &str, most: usize| s.chars().count() <= most && !s.chars().any(char::is_control);
    let good = |what: bool, why: &str| what.then_some(()).ok_or_else(|| ApiError::invalid(why));
    good(!body.name.trim().is_empty() && word(&body.name, 64), "a name is 1 to 64 characters")?;
    good((1..=500).contains(&body.entries.len()), "a list has 1 to 500 entries")?;
    good(
        body.entries.iter().all(|e| !e.number.trim().is_empty() && word(&e.number, 32) && word(&e.name, 64)),
        "an entry is a number of 1 to 32 characters and a name of up to 64",
    )?;
    good(body.retries <= 10, "retries is from 0 to 10")?;
    good((5..=120).contains(&body.ring_time), "ring_time is from 5 to 120")?;
    good(body.pause <= 600, "pause is from 0 to 600")
}

async fn find(app: &Shared, id: &str) -> Result<ListBody, ApiError> {
    let all = app.store.desk_items::<ListBody>(DeskKind::CallList).await?;
    let found = all.into_iter().find(|(key, _)| key == id).map(|(_, body)| body);
    found.ok_or_else(|| ApiError::not_found(&format!("call list {id}")))
}

/// All call lists, each with its last run since the start.
#[utoipa::path(get, path = "/call-lists", responses((status = 200, body = CallListList)))]
pub async fn list(State(app): State<Shared>, Viewer(_who): Viewer) -> Result<Json<CallListList>, ApiError> {
    let all = app.store.desk_items::<ListBody>(DeskKind::CallList).await?;
    let items = all.into_iter().map(|(id, body)| CallList { run: app.lists.run(&id), id, body }).collect();
    Ok(Json(CallListList { items }))
}

/// Make a call list.
#[utoipa::path(post, path = "/call-lists", request_body = ListBody, responses((status = 201, body = CallList), (status = 400)))]
pub async fn create(
    State(app): State<Shared>,
    Operator(who): Operator,
    Json(body): Json<ListBody>,
) -> Result<(StatusCode, Json<CallList>), ApiError> {
    check(&body)?;
    if app.store.desk_items::<ListBody>(DeskKind::CallList).await?.len() >= MOST {
        return Err(ApiError::invalid("at most 500 call lists"));
    }
    let id = Uuid::now_v7().simple().to_string();
    app.store.put_desk_item(DeskKind::CallList, &id, &body).await?;
    who.note(&app, "create_call_list", &id, &format!("{} {}", body.name, body.entries.len()));
    Ok((StatusCode::CREATED, Json(CallList { id, body, run: None })))
}

/// Change a call list. A run that is under way goes on as it was started.
#[utoipa::path(put, path = "/call-lists/{id}", params(("id" = String, Path)), request_body = ListBody,
    responses((status = 200, body = CallList), (status = 400), (status = 404)))]
pub async fn replace(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Json(body): Json<ListBody>,
) -> Result<Json<CallList>, ApiError> {
    check(&body)?;
    find(&app, &id).await?;
    app.store.put_desk_item(DeskKind::CallList, &id, &body).await?;
    who.note(&app, "change_call_list", &id, &format!("{} {}", body.name, body.entries.len()));
    Ok(Json(CallList { run: app.lists.run(&id), id, body }))
}

/// Delete a call list; it is stopped first.
#[utoipa::path(delete, path = "/call-lists/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn delete(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if !app.store.delete_desk_item(DeskKind::CallList, &id).await? {
        return Err(ApiError::not_found(&format!("call list {id}")));
    }
    app.lists.forget(&id);
    who.note(&app, "delete_call_list", &id, "");
    Ok(StatusCode::NO_CONTENT)
}

/// Call everybody on the list into its conference.
#[utoipa::path(post, path = "/call-lists/{id}/start", params(("id" = String, Path)),
    responses((status = 202, body = RunView), (status = 404), (status = 409)))]
pub async fn start(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<RunView>), ApiError> {
    let body = find(&app, &id).await?;
    who.note(&app, "start_call_list", &id, &format!("{} {}", body.name, body.entries.len()));
    let run = app.lists.start(&app, &id, body, &who.identity.account).await?;
    Ok((StatusCode::ACCEPTED, Json(run)))
}

/// Give up all who have not answered yet.
#[utoipa::path(post, path = "/call-lists/{id}/stop", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn stop(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if !app.lists.stop(&id) {
        return Err(ApiError::not_found(&format!("running call list {id}")));
    }
    who.note(&app, "stop_call_list", &id, "");
    Ok(StatusCode::NO_CONTENT)
}
