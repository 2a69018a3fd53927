//! Whom one can call: phone accounts and conferences, and what each does now.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Query, State};
use bridge_core::{AccountKind, CallState, Credentials, DeviceId, Forwards};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Viewer;
use super::{ApiError, Shared};

#[derive(Deserialize, IntoParams)]
pub struct DirectoryQuery {
    /// Part of a number or a name.
    query: Option<String>,
    offset: Option<usize>,
    limit: Option<usize>,
}

/// What one who can be called does now.
struct Doing {
    state: &'static str,
    call: String,
    with: String,
}

#[derive(Serialize, ToSchema)]
pub struct Entry {
    /// `conference` or `phone`.
    kind: &'static str,
    number: String,
    name: String,
    /// Of a phone: registered. Of a conference: not locked.
    online: bool,
    /// `idle`, `calling`, `ringing` (it is being called), `talking` or `held`.
    state: &'static str,
    /// The call that it is in.
    call: Option<String>,
    /// The number at the other end of that call.
    with: Option<String>,
    #[schema(value_type = Option<Object>)]
    forwards: Option<Forwards>,
    /// The id of a conference.
    conference: Option<String>,
    /// Members of a conference.
    members: usize,
}

#[derive(Serialize, ToSchema)]
pub struct Directory {
    total: usize,
    items: Vec<Entry>,
}

/// What each number does; of several calls the one that goes on longest.
fn doing(app: &Shared) -> HashMap<String, Doing> {
    let mut all = HashMap::new();
    for call in crate::calls::live(app) {
        let (caller, callee) = (call.caller.number, call.callee.number);
        let (of_caller, of_callee) = match call.state {
            CallState::Calling => ("calling", "calling"),
            CallState::Ringing => ("calling", "ringing"),
            CallState::Talking => ("talking", "talking"),
            CallState::Held => ("held", "held"),
        };
        let one = |state, with: &str| Doing { state, call: call.id.clone(), with: with.to_owned() };
        all.entry(caller.clone()).or_insert_with(|| one(of_caller, &callee));
        all.entry(callee.clone()).or_insert_with(|| one(of_callee, &caller));
    }
    all
}

/// Phone accounts and conferences, the conferences first, each ordered by number.
#[utoipa::path(get, path = "/directory", params(DirectoryQuery), responses((status = 200, body = Directory)))]
pub async fn list(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Query(q): Query<DirectoryQuery>,
) -> Result<Json<Directory>, ApiError> {
    let wanted = q.query.unwrap_or_default().trim().to_lowercase();
    if wanted.chars().count() > 64 {
        return Err(ApiError::invalid("a search has up to 64 characters"));
    }
    let fits = |number: &str, name: &str| {
        wanted.is_empty() || number.to_lowercase().contains(&wanted) || name.to_lowercase().contains(&wanted)
    };
    let mut rooms: Vec<Entry> = app
        .conferences
        .all()
        .into_iter()
        .filter(|c| fits(&c.number, &c.name))
        .map(|c| Entry {
            kind: "conference",
            online: !c.locked,
            state: "idle",
            call: None,
            with: None,
            forwards: None,
            members: c.members.len(),
            conference: Some(c.id),
            number: c.number,
            name: c.name,
        })
        .collect();
    rooms.sort_by(|a, b| a.number.cmp(&b.number));
    let phones: Vec<(String, String)> =
        app.secrets.users(AccountKind::Phone).into_iter().filter(|(number, name)| fits(number, name)).collect();
    let (offset, limit) = (q.offset.unwrap_or(0), q.limit.unwrap_or(200).clamp(1, 1000));
    let total = rooms.len() + phones.len();
    let doing = doing(&app);
    let of_phones = phones.into_iter().skip(offset.saturating_sub(rooms.len())).map(|(number, name)| {
        let now = doing.get(&number);
        Entry {
            kind: "phone",
            online: app.registry.get(&DeviceId::new("phone", &number)).is_some_and(|d| d.online),
            state: now.map_or("idle", |d| d.state),
            call: now.map(|d| d.call.clone()),
            with: now.map(|d| d.with.clone()),
            forwards: Some(app.secrets.forwards(&number)),
            conference: None,
            members: 0,
            number,
            name,
        }
    });
    let items = rooms.into_iter().skip(offset).chain(of_phones).take(limit).collect();
    Ok(Json(Directory { total, items }))
}
