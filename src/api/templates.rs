//! Templates of conferences: kept, started, those who are missing called again.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::auth::{Operator, Viewer};
use super::{ApiError, Shared};
use crate::lists::RunView;
use crate::store::DeskKind;
use crate::templates::{self, MOST, TemplateBody, list_id};

/// A template and its last start.
#[derive(Serialize, ToSchema)]
pub struct Template {
    id: String,
    pin_set: bool,
    #[serde(flatten)]
    body: TemplateBody,
    run: Option<RunView>,
}

#[derive(Serialize, ToSchema)]
pub struct TemplateList {
    items: Vec<Template>,
}

fn shown(app: &Shared, id: String, mut body: TemplateBody) -> Template {
    let pin_set = body.pin.take().is_some_and(|p| !p.is_empty());
    Template { pin_set, run: app.lists.run(&list_id(&id)), id, body }
}

async fn keep(app: &Shared, id: &str, body: &TemplateBody) -> Result<(), ApiError> {
    body.check().map_err(ApiError::invalid)?;
    Ok(app.store.put_desk_item(DeskKind::Template, id, body).await?)
}

async fn add(app: &Shared, body: TemplateBody) -> Result<(StatusCode, Json<Template>), ApiError> {
    if app.store.desk_items::<TemplateBody>(DeskKind::Template).await?.len() >= MOST {
        return Err(ApiError::invalid("at most 500 templates"));
    }
    let id = Uuid::now_v7().simple().to_string();
    keep(app, &id, &body).await?;
    Ok((StatusCode::CREATED, Json(shown(app, id, body))))
}

/// All templates, each with its last start.
#[utoipa::path(get, path = "/templates", responses((status = 200, body = TemplateList)))]
pub async fn list(State(app): State<Shared>, Viewer(_who): Viewer) -> Result<Json<TemplateList>, ApiError> {
    let all = app.store.desk_items::<TemplateBody>(DeskKind::Template).await?;
    Ok(Json(TemplateList { items: all.into_iter().map(|(id, body)| shown(&app, id, body)).collect() }))
}

/// Make a template.
#[utoipa::path(post, path = "/templates", request_body = TemplateBody,
    responses((status = 201, body = Template), (status = 400)))]
pub async fn create(
    State(app): State<Shared>,
    Operator(who): Operator,
    Json(body): Json<TemplateBody>,
) -> Result<(StatusCode, Json<Template>), ApiError> {
    let detail = format!("{} {}", body.name, body.members.len());
    let made = add(&app, body).await?;
    who.note(&app, "create_template", &made.1.id, &detail);
    Ok(made)
}

/// Change a template. A conference that was started goes on as it was.
#[utoipa::path(put, path = "/templates/{id}", params(("id" = String, Path)), request_body = TemplateBody,
    responses((status = 200, body = Template), (status = 400), (status = 404)))]
pub async fn replace(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Json(mut body): Json<TemplateBody>,
) -> Result<Json<Template>, ApiError> {
    let before = templates::find(&app, &id).await?;
    body.pin = body.pin.or(before.pin);
    keep(&app, &id, &body).await?;
    who.note(&app, "change_template", &id, &format!("{} {}", body.name, body.members.len()));
    Ok(Json(shown(&app, id, body)))
}

/// Delete a template; who is being called by it is given up.
#[utoipa::path(delete, path = "/templates/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn delete(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if !app.store.delete_desk_item(DeskKind::Template, &id).await? {
        return Err(ApiError::not_found(&format!("template {id}")));
    }
    app.lists.forget(&list_id(&id));
    who.note(&app, "delete_template", &id, "");
    Ok(StatusCode::NO_CONTENT)
}

/// Make the conference of a template and call all.
#[utoipa::path(post, path = "/templates/{id}/start", params(("id" = String, Path)),
    responses((status = 202, body = RunView), (status = 404), (status = 409)))]
pub async fn start(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<RunView>), ApiError> {
    let run = templates::start(&app, &id, &who.identity.account).await?;
    who.note(&app, "start_template", &id, &run.conference);
    Ok((StatusCode::ACCEPTED, Json(run)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CallAgain {
    /// Places in the template's list, from 0; all who are not there if it is left out.
    members: Option<Vec<usize>>,
}

/// Call those of a started template again who are not there.
#[utoipa::path(post, path = "/templates/{id}/again", params(("id" = String, Path)), request_body = CallAgain,
    responses((status = 202, body = RunView), (status = 404), (status = 409)))]
pub async fn again(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Json(body): Json<CallAgain>,
) -> Result<(StatusCode, Json<RunView>), ApiError> {
    let template = templates::find(&app, &id).await?;
    let run = app.lists.run(&list_id(&id)).ok_or_else(|| ApiError::not_found(&format!("started template {id}")))?;
    let run = app.lists.again(&app, &list_id(&id), template.list(&run.conference), body.members)?;
    who.note(&app, "call_again", &id, &run.conference);
    Ok((StatusCode::ACCEPTED, Json(run)))
}

/// Give up all who have not answered yet.
#[utoipa::path(post, path = "/templates/{id}/stop", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn stop(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if !app.lists.stop(&list_id(&id)) {
        return Err(ApiError::not_found(&format!("running template {id}")));
    }
    who.note(&app, "stop_template", &id, "");
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepAs {
    name: String,
}

/// Keep a running conference as a template: its settings, its phones, cameras and radio groups with their roles.
#[utoipa::path(post, path = "/conferences/{id}/template", params(("id" = String, Path)), request_body = KeepAs,
    responses((status = 201, body = Template), (status = 400), (status = 404)))]
pub async fn keep_as(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Json(body): Json<KeepAs>,
) -> Result<(StatusCode, Json<Template>), ApiError> {
    let view = app.conferences.get(&id).ok_or_else(|| ApiError::not_found(&format!("conference {id}")))?;
    let made = add(&app, templates::of_conference(&app, &body.name, &view)).await?;
    who.note(&app, "create_template", &made.1.id, &format!("{} of {id}", body.name));
    Ok(made)
}
