//! SIP over WebSocket (RFC 7118): soft phones in browsers, at `/sip` of the console's own listeners.
//!
//! Who may do what is asked of the phone by digest, as on every other transport: no sign-in of the console is needed, and its
//! cookie counts for nothing here. The SIP room sees a connection like any other; this is only its socket.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sip::{Pipe, SipError, Transport};
use tokio::time::Instant;

use super::Shared;
use crate::app::{Listener, OverTls};

/// The subprotocol of RFC 7118 section 4.
const PROTOCOL: &str = "sip";
const PING: Duration = Duration::from_secs(20);
/// Nothing came for so long, not even the answer to a ping: the peer is gone.
const SILENT: Duration = Duration::from_secs(60);
/// One who opens a connection wants to say something.
const FIRST_MESSAGE: Duration = Duration::from_secs(30);
/// Bytes held for each connection in each direction; the library's own 128 KiB are much for thousands of idle phones.
const BUFFER: usize = 8 * 1024;
/// One who takes nothing for so long is cut off.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// Whether a page of that origin may connect. Programs send no `Origin`; a page must come from this console or a listed origin.
fn origin_allowed(headers: &HeaderMap, listed: &[String]) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return false };
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let own = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
    own && !host.is_empty() || listed.iter().any(|l| l.eq_ignore_ascii_case(origin))
}

pub async fn stream(
    State(app): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(Listener(local)): Extension<Listener>,
    over_tls: Option<Extension<OverTls>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !app.settings.sip.websocket {
        return StatusCode::NOT_FOUND.into_response();
    }
    if !origin_allowed(&headers, &app.settings.sip.websocket_origins) {
        return (StatusCode::FORBIDDEN, "this origin is not in sip.websocket_origins\n").into_response();
    }
    let upgrade = upgrade.protocols([PROTOCOL]);
    if upgrade.selected_protocol() != Some(&HeaderValue::from_static(PROTOCOL)) {
        return (StatusCode::BAD_REQUEST, "the WebSocket subprotocol must be sip (RFC 7118)\n").into_response();
    }
    let transport = if over_tls.is_some() { Transport::Wss } else { Transport::Ws };
    match app.attach_sip(transport, local, peer).await {
        Ok(pipe) => {
            let most = pipe.incoming.max_message();
            let upgrade = upgrade.max_message_size(most).max_frame_size(most);
            upgrade.read_buffer_size(BUFFER).write_buffer_size(BUFFER).on_upgrade(move |socket| serve(socket, pipe))
        }
        Err(SipError::Overloaded(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "10")], "too many connections\n").into_response()
        }
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(tokio::time::timeout(SEND_LIMIT, socket.send(message)).await, Ok(Ok(())))
}

/// Text where it is UTF-8, else binary (RFC 7118 section 5.2): a body may be anything.
fn frame(data: Bytes) -> Message {
    match axum::extract::ws::Utf8Bytes::try_from(data.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(data),
    }
}

async fn serve(mut socket: WebSocket, mut pipe: Pipe) {
    let opened = Instant::now();
    let (mut heard, mut spoken) = (opened, false);
    let mut ping = tokio::time::interval_at(opened + PING, PING);
    loop {
        let end = if spoken { heard + SILENT } else { opened + FIRST_MESSAGE };
        let going = tokio::select! {
            out = pipe.outgoing.recv() => match out {
                Some(data) => send(&mut socket, frame(data)).await,
                None => false,
            },
            message = socket.recv() => {
                heard = Instant::now();
                let data = match message {
                    Some(Ok(Message::Text(text))) => Some(Bytes::from(text)),
                    Some(Ok(Message::Binary(data))) => Some(data),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => Some(Bytes::new()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => None,
                };
                match data {
                    None => false,
                    Some(data) if data.is_empty() => true,
                    Some(data) => {
                        spoken = true;
                        match pipe.incoming.push(data).await {
                            Ok(Some(answer)) => send(&mut socket, frame(answer)).await,
                            Ok(None) => true,
                            Err(_) => false,
                        }
                    }
                }
            }
            _ = ping.tick() => send(&mut socket, Message::Ping(Bytes::new())).await,
            () = tokio::time::sleep_until(end) => false,
        };
        if !going {
            break;
        }
    }
    // One who takes nothing would hold this for ever.
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.send(Message::Close(None))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn only_pages_of_this_console_or_of_listed_origins_may_connect() {
        let host = ("host", "hall.example:8443");
        let none: &[String] = &[];
        assert!(origin_allowed(&headers(&[host]), none), "programs send none");
        assert!(origin_allowed(&headers(&[host, ("origin", "https://HALL.example:8443")]), none));
        for bad in ["https://evil.example", "https://hall.example", "null", "https://hall.example:8443.evil.example"] {
            assert!(!origin_allowed(&headers(&[host, ("origin", bad)]), none), "{bad}");
        }
        assert!(!origin_allowed(&headers(&[host, ("origin", "https://hall.example:8443"), ("origin", "null")]), none));
        assert!(!origin_allowed(&headers(&[("origin", "https://")]), none), "no Host");
        let listed = ["https://desk.example".to_owned()];
        assert!(origin_allowed(&headers(&[host, ("origin", "https://desk.example")]), &listed));
        assert!(!origin_allowed(&headers(&[host, ("origin", "http://desk.example")]), &listed));
    }

    #[test]
    fn what_is_no_utf8_goes_as_binary() {
        assert!(matches!(frame(Bytes::from_static("OPTIONS 前门".as_bytes())), Message::Text(_)));
        assert!(matches!(frame(Bytes::from_static(b"\xb0\xa1")), Message::Binary(_)));
    }
}
