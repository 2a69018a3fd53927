//! The console's files, built into the program.

use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Console;

/// A file of the console; every path that is no file is the console itself, which knows its own pages.
pub async fn console(uri: Uri, request: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let (name, found) = match Console::get(path) {
        Some(file) if !path.is_empty() => (path, Some(file)),
        _ if path.starts_with("assets/") => return StatusCode::NOT_FOUND.into_response(),
        // Guests by link get a page of their own, which knows no route but theirs.
        _ if path.starts_with("join/") => ("join.html", Console::get("join.html")),
        _ => ("index.html", Console::get("index.html")),
    };
    let Some(file) = found else {
        let text = "The console was not built into this program: run `make web` before building.\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    };
    let tag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    if request.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()) == Some(tag.as_str()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    // Files under assets/ carry a hash of their content in their name.
    let cache = if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let kind = file.metadata.mimetype().to_owned();
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache.to_owned()), (header::ETAG, tag)];
    (headers, file.data.into_owned()).into_response()
}
