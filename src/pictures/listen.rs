//! Plain http for devices: most of them speak no TLS, and what they get here is one route only.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::{Refused, take_upload};
use crate::api::Shared;

/// The upload route, for every listener.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/upload/{token}", post(bare).put(bare))
        .route("/upload/{token}/{*name}", post(named).put(named))
}

/// What the listeners of `pictures.listen` serve.
pub fn router(app: Shared) -> Router {
    routes().with_state(app)
}

async fn bare(State(app): State<Shared>, Path(token): Path<String>, headers: HeaderMap, body: Body) -> Response {
    upload(&app, &token, "", &headers, body).await
}

async fn named(
    State(app): State<Shared>,
    Path((token, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    upload(&app, &token, &name, &headers, body).await
}

async fn upload(app: &Shared, token: &str, name: &str, headers: &HeaderMap, body: Body) -> Response {
    match take_upload(&app.pictures, token, name, headers, body).await {
        Ok(()) => {
            app.metrics.uploads.with_label_values(&["ok"]).inc();
            StatusCode::OK.into_response()
        }
        Err(refused) => {
            app.metrics.uploads.with_label_values(&[word(refused)]).inc();
            tracing::info!(%refused, "a device's upload was refused");
            let mut answer = (refused.status(), format!("{refused}\n")).into_response();
            let headers = answer.headers_mut();
            if refused == Refused::Busy {
                headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("2"));
            }
            // The rest of a body that is not wanted is not read.
            headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
            answer
        }
    }
}

fn word(refused: Refused) -> &'static str {
    match refused {
        Refused::Unknown => "unknown",
        Refused::Enough => "enough",
        Refused::Busy => "busy",
        Refused::TooLarge => "too_large",
        Refused::TooSlow => "too_slow",
        Refused::Bad(_) => "not_jpeg",
        Refused::NotKept => "not_kept",
    }
}

/// Binds one of `pictures.listen`.
pub fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
