//! All that a guest by link may do. His session is none of an account: no other route takes it.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bridge_core::{Key, MemberId};
use media_hub::StreamId;
use media_webrtc::{LegId, ViewerOptions};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use utoipa::ToSchema;

use super::auth::Peer;
use super::legs::{LegView, leg_view, offer, webrtc_error};
use super::{ApiError, Shared, time};
use crate::conference::{MemberChange, MemberRole, MemberView, MutedBy, Press};
use crate::guests::{GuestInfo, GuestState, LinkRefused, to_the_door};
use crate::messages::{self, New};
use crate::store::{MessageFilter, MessageRow};

/// The cookie of a guest; it is sent to the guests' routes alone.
pub(super) const COOKIE: &str = "hall_guest";
const COOKIE_AGE_S: u32 = 12 * 3600;
const PING: Duration = Duration::from_secs(20);
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// Changes within this time are told once.
const COALESCE: Duration = Duration::from_millis(100);
/// Texts that a guest sees when he comes.
const TEXTS: i64 = 100;
/// Longest text of a guest, characters.
const MOST_TEXT: usize = 1000;

/// A guest who asks.
pub struct Guest(GuestInfo, std::net::IpAddr);

fn token(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()) {
        return value.strip_prefix("Bearer ").map(str::trim);
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value).next()
}

impl FromRequestParts<Shared> for Guest {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        let Peer(address) = Peer::from_request_parts(parts, app).await?;
        let guest = token(&parts.headers).and_then(|t| app.guests.identify(t)).ok_or_else(ApiError::unauthorized)?;
        Ok(Guest(guest, address))
    }
}

impl Guest {
    fn note(&self, app: &Shared, verb: &str, detail: &str) {
        let (who, from) = (format!("guest:{}", self.0.link), self.1.to_string());
        app.audit.note(&who, &from, verb, &self.0.conference, &format!("{} {detail}", self.0.name), "ok");
    }

    /// His member, if he has joined.
    fn member(&self, app: &Shared) -> Option<(String, MemberView)> {
        app.conferences.guest_member(&self.0.who())
    }

    fn joined(&self, app: &Shared) -> Result<(String, MemberView), ApiError> {
        self.member(app).ok_or_else(|| ApiError::conflict("not_joined", "您还没有加入", "you have not joined"))
    }

    fn admitted(&self) -> Result<(), ApiError> {
        match self.0.state {
            GuestState::Admitted => Ok(()),
            _ => Err(ApiError::conflict("not_admitted", "请等待主持人允许加入", "nobody has let you in")),
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkToken {
    token: String,
}

/// What is told to whoever has a link.
#[derive(Serialize, ToSchema)]
pub struct Invitation {
    conference: String,
    site_zh: String,
    site_en: String,
    role: String,
    camera: bool,
    #[serde(serialize_with = "time::rfc3339")]
    #[schema(value_type = String)]
    expires_at: i64,
}

/// Guards against guessing: what was wrong is counted by address.
fn checked<T>(app: &Shared, from: std::net::IpAddr, found: Result<T, LinkRefused>) -> Result<T, ApiError> {
    if matches!(found, Err(LinkRefused::Unknown)) {
        app.access.guessed_wrong(from);
    }
    found.map_err(ApiError::from)
}

fn token_of(text: &str) -> Result<&str, ApiError> {
    let good = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    good.then_some(text).ok_or_else(|| ApiError::invalid("this is no link"))
}

/// What a link leads to.
#[utoipa::path(post, path = "/guest/link", request_body = LinkToken, security(()),
    responses((status = 200, body = Invitation), (status = 404), (status = 410), (status = 429)))]
pub async fn look(
    State(app): State<Shared>,
    Peer(from): Peer,
    Json(body): Json<LinkToken>,
) -> Result<Json<Invitation>, ApiError> {
    app.access.may_guess(from)?;
    let link = checked(&app, from, app.guests.look(token_of(&body.token)?))?;
    let conference = app.conferences.name(&link.conference).ok_or(LinkRefused::Withdrawn)?;
    let site = &app.settings.site;
    Ok(Json(Invitation {
        conference,
        site_zh: site.name_zh.clone(),
        site_en: site.name_en.clone(),
        role: link.role,
        camera: link.camera,
        expires_at: link.expires_at,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Arrival {
    token: String,
    /// Shown in the conference: 1 to 40 characters.
    name: String,
}

/// Where a guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// In the lobby.
    Waiting,
    /// He may join.
    Open,
    Joined,
    Refused,
    /// Nobody let him in for too long.
    Late,
    /// The lobby was full.
    Full,
    Locked,
    Removed,
}

/// Who may talk, where one talks at a time.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct GuestFloor {
    /// Somebody has the floor.
    taken: bool,
    /// The guest has it.
    own: bool,
    /// He waits for it.
    queued: bool,
}

/// What a guest is told of his conference.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct GuestView {
    stage: Stage,
    name: String,
    conference: String,
    role: MemberRole,
    camera: bool,
    /// Since he has joined; null before.
    muted: Option<bool>,
    muted_by_operator: bool,
    hand: bool,
    /// A main picture is chosen.
    picture: bool,
    floor: Option<GuestFloor>,
}

/// None: the conference is over.
fn guest_view(app: &Shared, guest: &GuestInfo) -> Option<GuestView> {
    let joined = app.conferences.guest_member(&guest.who());
    let id = joined.as_ref().map_or(&guest.conference, |(id, _)| id);
    let conference = app.conferences.get(id)?;
    let stage = match guest.state {
        GuestState::Outside => Stage::Waiting,
        GuestState::Admitted if joined.is_some() => Stage::Joined,
        GuestState::Admitted => Stage::Open,
        GuestState::Refused => Stage::Refused,
        GuestState::Late => Stage::Late,
        GuestState::Full => Stage::Full,
        GuestState::Locked => Stage::Locked,
        GuestState::Removed => Stage::Removed,
    };
    let member = joined.as_ref().map(|(_, m)| m);
    // Nothing of the conference but its name before he is in.
    let floor = conference.floor.filter(|_| member.is_some()).map(|floor| GuestFloor {
        taken: floor.taken.is_some(),
        own: floor.taken.as_ref().zip(member).is_some_and(|(t, m)| t.member == m.id),
        queued: member.is_some_and(|m| floor.queue.contains(&m.id)),
    });
    Some(GuestView {
        stage,
        name: guest.name.clone(),
        conference: conference.name,
        role: member.map_or(guest.role, |m| m.role),
        camera: guest.camera,
        muted: member.map(|m| m.muted),
        muted_by_operator: member.is_some_and(|m| m.muted_by == Some(MutedBy::Operator)),
        hand: member.is_some_and(|m| m.hand_at.is_some()),
        picture: member.is_some() && conference.picture.source.is_some(),
        floor,
    })
}

fn over() -> ApiError {
    ApiError::new(StatusCode::GONE, "conference_over", media_hub::Whose::You, "会议已结束", "The conference is over")
}

fn cookie(value: &str, age_s: u32, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    let path = "/api/v1/guest";
    let text = format!("{COOKIE}={value}; Path={path}; HttpOnly; SameSite=Strict; Max-Age={age_s}{secure}");
    HeaderValue::from_str(&text).ok()
}

/// Come in by a link: to the conference, or to its lobby. The session is kept in a cookie for 12 hours.
#[utoipa::path(post, path = "/guest/session", request_body = Arrival, security(()),
    responses((status = 201, body = GuestView), (status = 400), (status = 404), (status = 409), (status = 410), (status = 429)))]
pub async fn enter(
    State(app): State<Shared>,
    Peer(from): Peer,
    over_tls: Option<axum::Extension<crate::app::OverTls>>,
    Json(body): Json<Arrival>,
) -> Result<impl IntoResponse, ApiError> {
    app.access.may_guess(from)?;
    let (session, guest) = checked(&app, from, app.guests.enter(token_of(&body.token)?, &body.name).await)?;
    to_the_door(&app, &guest).await;
    let guest = app.guests.find(&guest.hash).ok_or_else(over)?;
    Guest(guest.clone(), from).note(&app, "guest_enter", "");
    let view = guest_view(&app, &guest).ok_or_else(over)?;
    let mut headers = HeaderMap::new();
    if let Some(value) = cookie(&session, COOKIE_AGE_S, over_tls.is_some()) {
        headers.insert(header::SET_COOKIE, value);
    }
    Ok((StatusCode::CREATED, headers, Json(view)))
}

/// Where the guest is.
#[utoipa::path(get, path = "/guest/session", security(("guest" = [])),
    responses((status = 200, body = GuestView), (status = 401), (status = 410)))]
pub async fn show(State(app): State<Shared>, guest: Guest) -> Result<Json<GuestView>, ApiError> {
    guest_view(&app, &guest.0).map(Json).ok_or_else(over)
}

/// Leave for good: the session ends.
#[utoipa::path(delete, path = "/guest/session", security(("guest" = [])), responses((status = 204)))]
pub async fn leave(State(app): State<Shared>, guest: Guest) -> impl IntoResponse {
    app.conferences.guest_gone(&guest.0.conference, &guest.0.hash);
    crate::guests::close_legs(&app, &guest.0.hash);
    app.guests.leave(&guest.0.hash).await;
    guest.note(&app, "guest_leave", "");
    let mut headers = HeaderMap::new();
    if let Some(value) = cookie("", 0, false) {
        headers.insert(header::SET_COOKIE, value);
    }
    (StatusCode::NO_CONTENT, headers)
}

fn leg_made(leg: LegId, answer: String, member: Option<&str>) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/sdp"));
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/guest/legs/{leg}")) {
        headers.insert(header::LOCATION, location);
    }
    if let Some(id) = member.and_then(|m| HeaderValue::from_str(m).ok()) {
        headers.insert(HeaderName::from_static("skybridge-member"), id);
    }
    (StatusCode::CREATED, headers, answer).into_response()
}

/// Join with microphone, and with camera where the link allows it (WHIP); the mix comes back on the same leg.
#[utoipa::path(post, path = "/guest/whip", security(("guest" = [])), request_body(content = String, content_type = "application/sdp"),
    responses((status = 201, body = String, content_type = "application/sdp"), (status = 400), (status = 403), (status = 409)))]
pub async fn whip(
    State(app): State<Shared>,
    guest: Guest,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    guest.admitted()?;
    let offer = offer(&headers, &body)?;
    if !guest.0.camera && offer.lines().any(|l| l.starts_with("m=video")) {
        let en = "this link is for sound only";
        return Err(ApiError::forbidden_because("no_camera", "此链接不允许使用摄像头", en));
    }
    let info = &guest.0;
    let seat = app.conferences.seat_guest(&info.conference, &info.who(), &info.name, info.role)?;
    if let Some(before) = seat.before {
        app.endpoint.close(before);
    }
    let made = app.endpoint.whip(offer, &seat.stream, &info.name, Some(seat.hears));
    let (leg, answer) = made.map_err(|error| {
        app.conferences.abandon(&info.conference, &seat.member);
        webrtc_error(error)
    })?;
    app.legs.add_guest(leg, &info.hash);
    if let Err(error) = app.conferences.browser_joined(&info.conference, &seat.member, seat.stream, leg) {
        app.endpoint.close(leg);
        return Err(error.into());
    }
    // Withdrawn while he joined.
    if !app.guests.valid(&info.hash) {
        app.endpoint.close(leg);
        return Err(ApiError::unauthorized());
    }
    guest.note(&app, "join_conference", &seat.member.0);
    Ok(leg_made(leg, answer, Some(&seat.member.0)))
}

/// See the conference's main picture (WHEP).
#[utoipa::path(post, path = "/guest/picture", security(("guest" = [])), request_body(content = String, content_type = "application/sdp"),
    responses((status = 201, body = String, content_type = "application/sdp"), (status = 400), (status = 409)))]
pub async fn picture(
    State(app): State<Shared>,
    guest: Guest,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let (conference, _) = guest.joined(&app)?;
    let offer = offer(&headers, &body)?;
    // One picture at a time, beside the leg that he talks over.
    let own = crate::guests::member_leg(&app, &guest.0);
    for before in app.legs.of_guest(&guest.0.hash).into_iter().filter(|l| Some(*l) != own) {
        app.endpoint.close(before);
    }
    let stream = StreamId::new(format!("program:conference/{conference}"));
    let (leg, answer) = app.endpoint.whep(offer, &stream, ViewerOptions { audio: false }).map_err(webrtc_error)?;
    app.legs.add_guest(leg, &guest.0.hash);
    Ok(leg_made(leg, answer, None))
}

fn own_leg(app: &Shared, guest: &Guest, leg: &str) -> Result<LegId, ApiError> {
    let id = LegId::parse(leg).filter(|id| app.legs.is_of_guest(*id, &guest.0.hash));
    id.ok_or_else(|| ApiError::not_found(&format!("leg {leg}")))
}

/// What the gateway knows of a guest's leg.
#[utoipa::path(get, path = "/guest/legs/{leg}", security(("guest" = [])), params(("leg" = String, Path)),
    responses((status = 200, body = LegView), (status = 404)))]
pub async fn show_leg(
    State(app): State<Shared>,
    guest: Guest,
    Path(leg): Path<String>,
) -> Result<Json<LegView>, ApiError> {
    let id = own_leg(&app, &guest, &leg)?;
    let status = app.endpoint.leg(id).ok_or_else(|| ApiError::not_found(&format!("leg {leg}")))?;
    Ok(Json(leg_view(&status)))
}

/// End a guest's leg.
#[utoipa::path(delete, path = "/guest/legs/{leg}", security(("guest" = [])), params(("leg" = String, Path)),
    responses((status = 204), (status = 404)))]
pub async fn end_leg(State(app): State<Shared>, guest: Guest, Path(leg): Path<String>) -> Result<StatusCode, ApiError> {
    app.endpoint.close(own_leg(&app, &guest, &leg)?);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestChange {
    muted: Option<bool>,
    /// Raise the hand, or take it down.
    hand: Option<bool>,
    /// Press the talk key, or let it go.
    floor: Option<Press>,
}

/// Mute oneself, raise a hand, press the talk key.
#[utoipa::path(patch, path = "/guest/member", security(("guest" = [])), request_body = GuestChange,
    responses((status = 204), (status = 403), (status = 409)))]
pub async fn change(
    State(app): State<Shared>,
    guest: Guest,
    Json(body): Json<GuestChange>,
) -> Result<StatusCode, ApiError> {
    let (id, view) = guest.joined(&app)?;
    let member = MemberId(view.id);
    if body.muted.is_some() {
        let change = MemberChange { muted: body.muted, ..MemberChange::default() };
        app.conferences.change_member(&id, &member, change, MutedBy::Member)?;
    }
    if let Some(raised) = body.hand {
        app.conferences.set_hand(&id, &member, raised)?;
    }
    if let Some(press) = body.floor {
        let key = match press {
            Press::Press => Key::Pressed { by: None, priority: None, emergency: false },
            Press::Release => Key::Released,
        };
        app.conferences.key(&id, &member, key)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A text of the conference as a guest sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct GuestText {
    id: String,
    #[serde(serialize_with = "time::rfc3339")]
    #[schema(value_type = String)]
    at: i64,
    name: String,
    text: String,
    /// The name of a file that came with it; guests cannot open it.
    file: Option<String>,
    own: bool,
}

fn text_view(row: MessageRow, guest: &GuestInfo) -> GuestText {
    let own = row.sender == guest.sender();
    GuestText { id: row.id, at: row.at, name: row.name, text: row.text, file: row.file.map(|f| f.name), own }
}

#[derive(Serialize, ToSchema)]
pub struct GuestTexts {
    items: Vec<GuestText>,
}

/// Texts of the conference since the guest came, oldest first; the last hundred.
#[utoipa::path(get, path = "/guest/texts", security(("guest" = [])), responses((status = 200, body = GuestTexts), (status = 409)))]
pub async fn texts(State(app): State<Shared>, guest: Guest) -> Result<Json<GuestTexts>, ApiError> {
    let (id, _) = guest.joined(&app)?;
    let thread = Some(format!("conference:{id}"));
    let filter = MessageFilter { thread, from: Some(guest.0.created_at), to: None, before: None, limit: TEXTS };
    let (_, rows) = app.store.messages(&filter).await?;
    Ok(Json(GuestTexts { items: rows.into_iter().rev().map(|row| text_view(row, &guest.0)).collect() }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGuestText {
    /// 1 to 1,000 characters.
    text: String,
}

/// Write into the conference: 20 texts a minute.
#[utoipa::path(post, path = "/guest/texts", security(("guest" = [])), request_body = NewGuestText,
    responses((status = 201, body = GuestText), (status = 400), (status = 409), (status = 429)))]
pub async fn write(
    State(app): State<Shared>,
    guest: Guest,
    Json(body): Json<NewGuestText>,
) -> Result<(StatusCode, Json<GuestText>), ApiError> {
    let (id, _) = guest.joined(&app)?;
    if body.text.chars().count() > MOST_TEXT {
        return Err(ApiError::invalid("a text of a guest has up to 1000 characters"));
    }
    if !app.guests.may_write(&guest.0.hash) {
        return Err(ApiError::locked(60));
    }
    let new = New {
        thread: format!("conference:{id}"),
        sender: guest.0.sender(),
        name: guest.0.name.clone(),
        link: "guest".to_owned(),
        text: body.text,
        device_time: None,
        file: None,
        relayed: None,
    };
    let row = messages::post(&app, new).await.map_err(|refused| super::messages::refusal(refused, &id))?;
    guest.note(&app, "send_message", &row.id);
    Ok((StatusCode::CREATED, Json(text_view(row, &guest.0))))
}

/// What changes for the guest, as it happens (WebSocket): `guest`, `text`, `over`.
#[utoipa::path(get, path = "/guest/events", security(("guest" = [])),
    responses((status = 101, description = "WebSocket; see docs/ref/api.md"), (status = 401)))]
pub async fn stream(State(app): State<Shared>, guest: Guest, upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(1024).on_upgrade(move |socket| serve(app, guest.0, socket))
}

async fn send(socket: &mut WebSocket, event: &serde_json::Value) -> bool {
    let sending = socket.send(Message::Text(event.to_string().into()));
    matches!(tokio::time::timeout(SEND_LIMIT, sending).await, Ok(Ok(())))
}

/// The text in an event of the hall, if it is one of this guest's conference.
fn text_in(app: &Shared, guest: &GuestInfo, event: &str) -> Option<GuestText> {
    let (id, _) = app.conferences.guest_member(&guest.who())?;
    let value: serde_json::Value = serde_json::from_str(event).ok()?;
    let message = &value["message"];
    if message["thread"].as_str()? != format!("conference:{id}") {
        return None;
    }
    let word = |key: &str| message[key].as_str().map(str::to_owned);
    Some(GuestText {
        id: word("id")?,
        at: time::parse(message["at"].as_str()?).ok()?,
        name: word("name")?,
        text: word("text")?,
        file: message["file"]["name"].as_str().map(str::to_owned),
        own: message["sender"].as_str()? == guest.sender(),
    })
}

async fn serve(app: Shared, guest: GuestInfo, mut socket: WebSocket) {
    let Some(_present) = app.guests.present(&guest.hash) else { return };
    let mut events = app.events.subscribe();
    let mut changes = app.guests.changes();
    // Who comes back to his page stands before the door again.
    to_the_door(&app, &guest).await;
    let mut ping = tokio::time::interval(PING);
    let mut tick = tokio::time::interval(COALESCE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut dirty, mut told) = (true, None);
    loop {
        let going = tokio::select! {
            event = events.recv() => match event {
                Ok(event) => match event.kind {
                    "conference" | "member" | "member_left" | "member_moved" | "floor" | "lobby" | "conference_ended" => {
                        dirty = true;
                        true
                    }
                    "message" => match text_in(&app, &guest, &event.text) {
                        Some(text) => send(&mut socket, &serde_json::json!({ "type": "text", "text": text })).await,
                        None => true,
                    },
                    _ => true,
                },
                Err(RecvError::Lagged(_)) => { dirty = true; true }
                Err(RecvError::Closed) => false,
            },
            changed = changes.changed() => { dirty = true; changed.is_ok() }
            _ = tick.tick(), if dirty => {
                dirty = false;
                let now = app.guests.find(&guest.hash);
                let view = now.and_then(|guest| guest_view(&app, &guest));
                match view {
                    Some(view) if told.as_ref() == Some(&view) => true,
                    Some(view) => {
                        let sent = send(&mut socket, &serde_json::json!({ "type": "guest", "guest": view })).await;
                        told = Some(view);
                        sent
                    }
                    // The link was withdrawn, or the conference has ended.
                    None => { send(&mut socket, &serde_json::json!({ "type": "over" })).await; false }
                }
            }
            _ = ping.tick() => {
                let pinging = socket.send(Message::Ping(Vec::new().into()));
                let answered = matches!(tokio::time::timeout(SEND_LIMIT, pinging).await, Ok(Ok(())));
                dirty |= !app.guests.valid(&guest.hash);
                answered
            }
            message = socket.recv() => matches!(message, Some(Ok(m)) if !matches!(m, Message::Close(_))),
            () = app.shutdown.cancelled() => false,
        };
        if !going {
            break;
        }
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.send(Message::Close(None))).await;
}
