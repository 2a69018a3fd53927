//! Messages: threads, texts, files, stills.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bridge_core::ChannelId;
use media_hub::{Fault, StreamState, Whose};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::{Operator, Viewer, Who};
use super::{ApiError, Shared, time};
use crate::messages::{self, New, Refused};
use crate::store::{MessageFile, MessageFilter, MessageRow, Role, ThreadRow};

#[derive(Serialize, ToSchema)]
pub struct ThreadList {
    items: Vec<ThreadRow>,
}

/// Threads that hold messages, the one with the newest first; at most 500.
#[utoipa::path(get, path = "/messages/threads", responses((status = 200, body = ThreadList)))]
pub async fn threads(State(app): State<Shared>, Viewer(_who): Viewer) -> Result<Json<ThreadList>, ApiError> {
    let mut items = app.store.threads(500).await?;
    for thread in &mut items {
        // A conference that is over keeps the name that it had.
        if !thread.thread.starts_with("conference:") || app.conferences.get(&thread.thread[11..]).is_some() {
            thread.name = messages::thread_name(&app, &thread.thread);
        }
    }
    Ok(Json(ThreadList { items }))
}

#[derive(Deserialize, IntoParams)]
pub struct MessageQuery {
    /// `conference:ID`, `phone:8001`, `radio:GATEWAY/1234`, `satphone:TERMINAL/123456`; all threads without it.
    thread: Option<String>,
    from: Option<String>,
    to: Option<String>,
    /// Older than this message.
    before: Option<String>,
    limit: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub struct MessagePage {
    /// All that match, `before` not counted.
    total: i64,
    items: Vec<MessageRow>,
}

/// Messages, newest first.
#[utoipa::path(get, path = "/messages", params(MessageQuery), responses((status = 200, body = MessagePage)))]
pub async fn list(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Query(q): Query<MessageQuery>,
) -> Result<Json<MessagePage>, ApiError> {
    let filter = MessageFilter {
        thread: q.thread,
        from: time::parse_optional(q.from.as_deref())?,
        to: time::parse_optional(q.to.as_deref())?,
        before: q.before,
        limit: q.limit.unwrap_or(50).clamp(1, 500),
    };
    let (total, items) = app.store.messages(&filter).await?;
    Ok(Json(MessagePage { total, items }))
}

pub(super) fn refusal(refused: Refused, thread: &str) -> ApiError {
    match refused {
        Refused::Text => ApiError::invalid("a message has 1 to 4000 characters of text, or a file"),
        Refused::NoThread => ApiError::not_found(&format!("thread {thread}")),
        Refused::ReadOnly => ApiError::conflict(
            "thread_read_only",
            "这是两部话机之间的消息，不能从控制台写入",
            "two phones write to each other here; the console cannot",
        ),
        Refused::Fault(fault) => of(&fault),
    }
}

fn of(fault: &Fault) -> ApiError {
    let error = ApiError::of_fault(fault);
    match fault.code {
        "message_file_too_large" => error.with_status(StatusCode::PAYLOAD_TOO_LARGE),
        "message_file_refused" => error.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        "message_file_not_stored" | "message_not_stored" => error.with_status(StatusCode::INSUFFICIENT_STORAGE),
        _ => error,
    }
}

async fn post(
    app: &Shared,
    who: &Who,
    thread: String,
    text: String,
    file: Option<MessageFile>,
) -> Result<(StatusCode, Json<MessageRow>), ApiError> {
    let account = who.identity.account.clone();
    let new = New {
        thread: thread.clone(),
        sender: format!("account:{account}"),
        name: account,
        link: "console".to_owned(),
        text,
        device_time: None,
        file: file.clone(),
        relayed: None,
    };
    match messages::post(app, new).await {
        Ok(row) => {
            who.note(app, "send_message", &thread, &row.id);
            Ok((StatusCode::CREATED, Json(row)))
        }
        Err(refused) => {
            if let Some(file) = &file {
                app.messages.drop_file(file).await;
            }
            let error = refusal(refused, &thread);
            who.outcome(app, "send_message", &thread, "", error.code());
            Err(error)
        }
    }
}

/// Operators write everywhere, others into the conferences that they are in.
fn may_write(app: &Shared, who: &Who, thread: &str) -> Result<(), ApiError> {
    let conference = thread.strip_prefix("conference:");
    if who.identity.role >= Role::Operator
        || conference.is_some_and(|id| app.conferences.joined_by(id, &who.identity.account))
    {
        return Ok(());
    }
    who.outcome(app, "send_message", thread, "", "forbidden");
    Err(ApiError::forbidden())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    thread: String,
    /// At most 4,000 characters.
    text: String,
}

/// Write into a conference, or to a far end. What becomes of it there is told by the event `message`.
#[utoipa::path(post, path = "/messages", request_body = NewMessage,
    responses((status = 201, body = MessageRow), (status = 400), (status = 404), (status = 409), (status = 507)))]
pub async fn send(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Json(body): Json<NewMessage>,
) -> Result<(StatusCode, Json<MessageRow>), ApiError> {
    may_write(&app, &who, &body.thread)?;
    post(&app, &who, body.thread, body.text, None).await
}

#[derive(Deserialize, IntoParams)]
pub struct FileQuery {
    thread: String,
    /// The file's name.
    name: String,
    /// What is written beside it.
    text: Option<String>,
}

/// Send a file: JPEG, PNG, WebP, PDF, TXT, MP4, DOCX or XLSX of at most 20 MiB, as the body of the request.
#[utoipa::path(post, path = "/messages/files", params(FileQuery), request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = MessageRow), (status = 400), (status = 404), (status = 413), (status = 415), (status = 503), (status = 507)))]
pub async fn send_file(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Query(q): Query<FileQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<MessageRow>), ApiError> {
    may_write(&app, &who, &q.thread)?;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let file = match app.messages.receive(&q.name, length, body).await {
        Ok(file) => file,
        Err(fault) => {
            who.outcome(&app, "send_message", &q.thread, &messages::clean_name(&q.name), fault.code);
            return Err(of(&fault));
        }
    };
    post(&app, &who, q.thread, q.text.unwrap_or_default(), Some(file)).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStill {
    thread: String,
    /// A picture that is kept: its id.
    picture: Option<String>,
    /// Or a live stream, of which a still is made.
    stream: Option<String>,
    #[serde(default)]
    text: String,
}

/// Send a still of a camera: a kept picture, or what a live stream shows now.
#[utoipa::path(post, path = "/messages/stills", request_body = NewStill,
    responses((status = 201, body = MessageRow), (status = 400), (status = 404), (status = 503), (status = 507)))]
pub async fn send_still(
    State(app): State<Shared>,
    Operator(who): Operator,
    Json(body): Json<NewStill>,
) -> Result<(StatusCode, Json<MessageRow>), ApiError> {
    let (name, jpeg) = match (&body.picture, &body.stream) {
        (Some(id), None) => {
            let missing = || ApiError::not_found(&format!("picture {id}"));
            let row = app.pictures.get(id).await?.ok_or_else(missing)?;
            (row.channel.clone(), app.pictures.read(&row).await.map_err(|_| missing())?)
        }
        (None, Some(id)) => {
            let stream = media_hub::StreamId::new(id);
            if app.hub.get(&stream).is_none_or(|s| s.state() != StreamState::Live) {
                return Err(ApiError::not_found(&format!("live stream {id}")));
            }
            let picture = app.stills.still(&stream).await.map_err(|error| {
                let en = error.to_string();
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_still", Whose::Us, "暂时无法取得静态画面", &en)
            })?;
            (id.clone(), picture.to_vec())
        }
        _ => return Err(ApiError::invalid("give either picture or stream")),
    };
    let shown = app.registry.channel(&ChannelId(name.clone())).map(|(_, c)| c.name).filter(|n| !n.is_empty());
    let shown = shown.unwrap_or_else(|| name.replace([':', '/'], "_"));
    let file = app.messages.receive_still(&format!("{shown}.jpg"), jpeg).await.map_err(|fault| of(&fault))?;
    post(&app, &who, body.thread, body.text, Some(file)).await
}

/// A name for a header (RFC 6266, 8187).
fn disposition(kind: &str, name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_graphic() && !"\"\\%;".contains(c) { c } else { '_' }).collect();
    let mut coded = String::new();
    for b in name.bytes() {
        match b {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => coded.push(char::from(b)),
            b => coded.push_str(&format!("%{b:02X}")),
        }
    }
    format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{coded}")
}

/// A message's file. Images are shown, all else is only downloaded.
#[utoipa::path(get, path = "/messages/{id}/file", params(("id" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream"), (status = 404)))]
pub async fn file(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let missing = || ApiError::not_found(&format!("file of message {id}"));
    let row = app.store.message(&id).await?.ok_or_else(missing)?;
    let file = row.file.ok_or_else(missing)?;
    let body = app.messages.read(&file).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing(),
        _ => ApiError::internal(&error),
    })?;
    let image = file.kind.starts_with("image/");
    if !image {
        who.note(&app, "download_file", &id, &file.name);
    }
    let mut answer = body.into_response();
    let headers = answer.headers_mut();
    let shown = disposition(if image { "inline" } else { "attachment" }, &file.name);
    for (name, value) in [
        (header::CONTENT_TYPE, file.kind.as_str()),
        (header::CONTENT_DISPOSITION, shown.as_str()),
        (header::CONTENT_LENGTH, file.bytes.to_string().as_str()),
        (header::CACHE_CONTROL, "private, max-age=86400, immutable"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    Ok(answer)
}
