//! Single pictures of channels.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bridge_core::ChannelId;
use media_hub::Whose;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::{Admin, Operator, Viewer};
use super::{ApiError, Shared, time};
use crate::pictures::{self, NoOrder, SnapshotView, Want};
use crate::store::{PictureFilter, PictureRow};

#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct NewPicture {
    /// Pictures, 1 to 10; 1 without it.
    count: Option<u8>,
    /// Seconds between them, 1 to 60; 1 without it.
    interval_s: Option<u32>,
    /// `auto` (the device's own picture where it can, else a still of the live stream), `device`, `stream`.
    source: Option<String>,
}

/// Take pictures. The answer is the order; the pictures follow by events, or by asking for the order.
#[utoipa::path(post, path = "/channels/{id}/pictures", params(("id" = String, Path)), request_body = NewPicture,
    responses((status = 202, body = SnapshotView), (status = 400), (status = 404), (status = 409), (status = 503)))]
pub async fn take(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Json(body): Json<NewPicture>,
) -> Result<(StatusCode, Json<SnapshotView>), ApiError> {
    let (count, interval) = (body.count.unwrap_or(1), body.interval_s.unwrap_or(1));
    if !(1..=10).contains(&count) || !(1..=60).contains(&interval) {
        return Err(ApiError::invalid("count is 1 to 10, interval_s 1 to 60"));
    }
    let want = match body.source.as_deref().unwrap_or("auto") {
        "auto" => Want::Auto,
        "device" => Want::Device,
        "stream" => Want::Stream,
        _ => return Err(ApiError::invalid("source is auto, device or stream")),
    };
    let channel = ChannelId(id.clone());
    let (device, _) = app.registry.channel(&channel).ok_or_else(|| ApiError::not_found(&format!("channel {id}")))?;
    let started = pictures::start(&app, &device, channel, want, count, interval, &who.identity.account);
    let detail = format!("{count} by {}", body.source.as_deref().unwrap_or("auto"));
    who.outcome(&app, "take_picture", &id, &detail, if started.is_ok() { "ok" } else { "refused" });
    let order = started.map_err(|why| match why {
        NoOrder::Underway => {
            ApiError::conflict("picture_underway", "该通道正在抓拍", "a picture of this channel is being taken")
        }
        NoOrder::Full => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_pictures",
            Whose::Us,
            "同时进行的抓拍过多，请稍后再试",
            "too many pictures are being taken at once; try again in a moment",
        ),
    })?;
    Ok((StatusCode::ACCEPTED, Json(order)))
}

/// How an order for pictures stands. The last 200 are remembered.
#[utoipa::path(get, path = "/snapshots/{id}", params(("id" = String, Path)), responses((status = 200, body = SnapshotView), (status = 404)))]
pub async fn order(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<SnapshotView>, ApiError> {
    app.pictures.order(&id).map(Json).ok_or_else(|| ApiError::not_found("such order"))
}

#[derive(Deserialize, IntoParams)]
pub struct PictureQuery {
    channel: Option<String>,
    device: Option<String>,
    /// An order.
    session: Option<String>,
    from: Option<String>,
    to: Option<String>,
    offset: Option<u32>,
    limit: Option<u32>,
}

#[derive(Serialize, ToSchema)]
pub struct PicturePage {
    total: i64,
    items: Vec<PictureRow>,
}

/// Pictures, newest first.
#[utoipa::path(get, path = "/pictures", params(PictureQuery), responses((status = 200, body = PicturePage)))]
pub async fn list(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Query(q): Query<PictureQuery>,
) -> Result<Json<PicturePage>, ApiError> {
    let filter = PictureFilter {
        channel: q.channel,
        device: q.device,
        session: q.session,
        from: time::parse_optional(q.from.as_deref())?,
        to: time::parse_optional(q.to.as_deref())?,
        offset: q.offset.unwrap_or(0).into(),
        limit: q.limit.unwrap_or(50).clamp(1, 500).into(),
    };
    let (total, items) = app.pictures.list(&filter).await?;
    Ok(Json(PicturePage { total, items }))
}

async fn find(app: &Shared, id: &str) -> Result<PictureRow, ApiError> {
    app.pictures.get(id).await?.ok_or_else(|| ApiError::not_found(&format!("picture {id}")))
}

/// One picture's facts.
#[utoipa::path(get, path = "/pictures/{id}", params(("id" = String, Path)), responses((status = 200, body = PictureRow), (status = 404)))]
pub async fn show(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<PictureRow>, ApiError> {
    find(&app, &id).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
pub struct ImageQuery {
    /// 1 gives the answer a file name.
    download: Option<u8>,
    /// 1: shown small in a list; not noted as a view of its own.
    thumb: Option<u8>,
}

/// The picture itself.
#[utoipa::path(get, path = "/pictures/{id}/image.jpg", params(("id" = String, Path), ImageQuery),
    responses((status = 200, content_type = "image/jpeg"), (status = 404)))]
pub async fn image(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
    Query(query): Query<ImageQuery>,
) -> Result<Response, ApiError> {
    let row = find(&app, &id).await?;
    let bytes = app.pictures.read(&row).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => ApiError::not_found(&format!("file of picture {id}")),
        _ => ApiError::internal(&error),
    })?;
    let download = query.download == Some(1);
    if query.thumb != Some(1) {
        who.note(&app, if download { "download_picture" } else { "view_picture" }, &id, &row.channel);
    }
    let mut answer = bytes.into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=86400, immutable"));
    if download {
        let at: String = bridge_core::Timestamp(row.taken_at)
            .to_string()
            .chars()
            .take(19)
            .map(|c| if c == ':' { '-' } else { c })
            .collect();
        let safe: String =
            row.channel.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(80).collect();
        if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{safe}_{at}Z.jpg\"")) {
            headers.insert(header::CONTENT_DISPOSITION, value);
        }
    }
    Ok(answer)
}

/// Delete a picture.
#[utoipa::path(delete, path = "/pictures/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn delete(
    State(app): State<Shared>,
    Admin(who): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let row = find(&app, &id).await?;
    app.pictures.delete(&id).await?;
    who.note(&app, "delete_picture", &id, &row.channel);
    Ok(StatusCode::NO_CONTENT)
}
