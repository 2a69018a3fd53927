//! Probes and metrics, for machines. No sign-in: they hold no names.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus::{Encoder, TextEncoder};
use serde_json::{Map, Value, json};

use super::Shared;

/// The process answers.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Database, sockets and bridges are up.
pub async fn readyz(State(app): State<Shared>) -> Response {
    let database = app.store.healthy().await;
    let mut bridges = Map::new();
    let mut ready = database;
    for bridge in &app.bridges {
        let health = bridge.health();
        ready &= health.ready;
        bridges.insert(bridge.name().to_owned(), json!({ "ready": health.ready, "detail": health.detail }));
    }
    let body = json!({ "ready": ready, "database": database, "bridges": Value::Object(bridges) });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

/// Metrics in Prometheus' text form; `docs/ref/metrics.md` lists them.
pub async fn metrics(State(app): State<Shared>) -> Response {
    app.metrics.refresh(&app);
    let mut text = Vec::new();
    match TextEncoder::new().encode(&app.metrics.registry.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => super::ApiError::internal(&error).into_response(),
    }
}
