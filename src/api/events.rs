//! The event line by WebSocket.

use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use tokio::sync::broadcast::error::RecvError;

use super::Shared;
use super::auth::Viewer;
use crate::access::Identity;

const PING: Duration = Duration::from_secs(20);
/// A console that takes nothing for this long is cut off; it comes back by itself and reads anew.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// Changes as they happen (WebSocket).
#[utoipa::path(get, path = "/events", responses((status = 101, description = "WebSocket; see docs/ref/api.md")))]
pub async fn stream(State(app): State<Shared>, Viewer(who): Viewer, upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(4096).on_upgrade(move |socket| serve(app, who.identity, socket))
}

async fn send(socket: &mut WebSocket, text: &str) -> bool {
    let sending = socket.send(Message::Text(text.into()));
    matches!(tokio::time::timeout(SEND_LIMIT, sending).await, Ok(Ok(())))
}

async fn serve(app: Shared, identity: Identity, mut socket: WebSocket) {
    let mut events = app.events.subscribe();
    let now = bridge_core::Timestamp::now();
    let hello = serde_json::json!({ "type": "hello", "now": now, "version": env!("CARGO_PKG_VERSION") });
    if !send(&mut socket, &hello.to_string()).await {
        return;
    }
    let mut ping = tokio::time::interval(PING);
    loop {
        let going = tokio::select! {
            event = events.recv() => match event {
                Ok(event) => send(&mut socket, &event.text).await,
                Err(RecvError::Lagged(_)) => send(&mut socket, r#"{"type":"lagged"}"#).await,
                Err(RecvError::Closed) => false,
            },
            _ = ping.tick() => {
                // A session that was ended elsewhere loses its events as well; one that is looked at lives on.
                let still = app.access.keep_alive(&identity).await;
                let pinging = socket.send(Message::Ping(Vec::new().into()));
                still && matches!(tokio::time::timeout(SEND_LIMIT, pinging).await, Ok(Ok(())))
            }
            message = socket.recv() => matches!(message, Some(Ok(m)) if !matches!(m, Message::Close(_))),
            () = app.shutdown.cancelled() => false,
        };
        if !going {
            break;
        }
    }
    // One who takes nothing would hold this for ever.
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.send(Message::Close(None))).await;
}
