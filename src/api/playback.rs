//! Playing and downloading recordings: HLS play lists with byte ranges, and the files themselves.

use std::io::SeekFrom;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use recorder::RecordingId;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use utoipa::IntoParams;

use super::auth::Viewer;
use super::{ApiError, Shared};

/// Bytes read from the disk at once.
const CHUNK: usize = 256 * 1024;

/// HLS play list of a recording.
#[utoipa::path(get, path = "/recordings/{id}/index.m3u8", params(("id" = String, Path)),
    responses((status = 200, body = String, content_type = "application/vnd.apple.mpegurl"), (status = 404)))]
pub async fn playlist(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let text = app.recorder.playlist(&RecordingId(id.clone())).await?;
    who.note(&app, "replay", &id, "");
    let headers = [(header::CONTENT_TYPE, "application/vnd.apple.mpegurl"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, text).into_response())
}

#[derive(Deserialize, IntoParams)]
pub struct MediaQuery {
    /// 1 gives the answer a file name.
    download: Option<u8>,
}

/// The recording's file; `Range` is honoured (one range).
#[utoipa::path(get, path = "/recordings/{id}/media.mp4", params(("id" = String, Path), MediaQuery),
    responses((status = 200, content_type = "video/mp4"), (status = 206, content_type = "video/mp4"), (status = 416)))]
pub async fn media(
    State(app): State<Shared>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
    Query(query): Query<MediaQuery>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let id = RecordingId(id);
    let file = app.recorder.media(&id).await?;
    let asked = request.get(header::RANGE).and_then(|v| v.to_str().ok());
    let range = match asked.map(|text| byte_range(text, file.len)) {
        None => None,
        Some(Some(range)) => Some(range),
        Some(None) => {
            let whole = format!("bytes */{}", file.len);
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, whole)]).into_response());
        }
    };
    let (start, end) = range.unwrap_or((0, file.len));
    let mut reader = tokio::fs::File::open(&file.path).await.map_err(|e| ApiError::internal(&e))?;
    reader.seek(SeekFrom::Start(start)).await.map_err(|e| ApiError::internal(&e))?;
    let body = stream::unfold((reader, end - start), |(mut reader, left)| async move {
        if left == 0 {
            return None;
        }
        let mut chunk = vec![0; CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
        match reader.read(&mut chunk).await {
            Ok(0) => None,
            Ok(n) => {
                chunk.truncate(n);
                Some((Ok(Bytes::from(chunk)), (reader, left - n as u64)))
            }
            Err(error) => Some((Err(error), (reader, 0))),
        }
    });
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("video/mp4"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
    if query.download == Some(1) {
        let recording = app.recorder.get(&id).await?;
        who.note(&app, "download", &id.0, &recording.stream);
        let at: String = recording.from.chars().take(19).map(|c| if c == ':' { '-' } else { c }).collect();
        let safe: String =
            recording.stream.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(80).collect();
        if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{safe}_{at}Z.mp4\"")) {
            headers.insert(header::CONTENT_DISPOSITION, value);
        }
    }
    if range.is_some() {
        if let Ok(value) = HeaderValue::from_str(&format!("bytes {start}-{}/{}", end - 1, file.len)) {
            headers.insert(header::CONTENT_RANGE, value);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// Start and end (exclusive) of `bytes=a-b`, `bytes=a-` or `bytes=-n` (RFC 9110, 14.1.2) within `len`.
fn byte_range(text: &str, len: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (first.trim(), last.trim()) {
        ("", suffix) => (len.saturating_sub(suffix.parse::<u64>().ok()?), len),
        (first, "") => (first.parse::<u64>().ok()?, len),
        (first, last) => (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?.saturating_add(1).min(len)),
    };
    (start < end && end <= len).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::byte_range;

    #[test]
    fn reads_ranges_of_rfc_9110() {
        assert_eq!(byte_range("bytes=0-99", 1000), Some((0, 100)));
        assert_eq!(byte_range("bytes=900-", 1000), Some((900, 1000)));
        assert_eq!(byte_range("bytes=-1", 1000), Some((999, 1000)));
        assert_eq!(byte_range("bytes=0-5000", 1000), Some((0, 1000)));
        assert_eq!(byte_range("bytes=1000-", 1000), None);
        assert_eq!(byte_range("bytes=5-1", 1000), None);
        assert_eq!(byte_range("bytes=0-1,5-6", 1000), None);
        assert_eq!(byte_range("items=0-1", 1000), None);
    }
}
