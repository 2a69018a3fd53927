//! Whom one can call: conferences, queues, call lists and phone accounts, and what each does now.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Query, State};
use bridge_core::{AccountKind, AgentState, CallState, Credentials, DeviceId, Forwards, QueueView};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Viewer;
use super::{ApiError, Shared};
use crate::conference::ConferenceView;
use crate::lists::{ListBody, RunState};
use crate::store::DeskKind;

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
    /// `conference`, `queue`, `list` or `phone`.
    kind: &'static str,
    /// Empty for a list: it is started, not dialled.
    number: String,
    name: String,
    /// Of a phone: registered. Of a conference: not locked. Of a queue: an agent is there. Of a list: always.
    online: bool,
    /// `idle`, `calling`, `ringing` (it is being called), `talking` or `held`. A list that runs is `calling`.
    state: &'static str,
    /// The call that it is in.
    call: Option<String>,
    /// The number at the other end of that call.
    with: Option<String>,
    #[schema(value_type = Option<Object>)]
    forwards: Option<Forwards>,
    /// The id of a conference.
    conference: Option<String>,
    /// The id of a call list.
    list: Option<String>,
    /// Members of a conference or list, agents of a queue that are there.
    members: usize,
    /// Callers who wait in a queue.
    waiting: usize,
}

impl Entry {
    fn idle(kind: &'static str, number: String, name: String) -> Entry {
        Entry {
            kind,
            number,
            name,
            online: true,
            state: "idle",
            call: None,
            with: None,
            forwards: None,
            conference: None,
            list: None,
            members: 0,
            waiting: 0,
        }
    }

    fn of_conference(c: ConferenceView) -> Entry {
        let (online, members, conference) = (!c.locked, c.members.len(), Some(c.id));
        Entry { online, members, conference, ..Entry::idle("conference", c.number, c.name) }
    }

    fn of_queue(q: QueueView) -> Entry {
        let away = |state: &AgentState| matches!(state, AgentState::Offline | AgentState::SignedOut);
        let members = q.agents.iter().filter(|(_, state)| !away(state)).count();
        let (online, waiting) = (members > 0, q.waiting.len());
        Entry { online, members, waiting, ..Entry::idle("queue", q.rule.number, q.rule.name) }
    }

    fn of_list(runs: bool, id: String, body: ListBody) -> Entry {
        let state = if runs { "calling" } else { "idle" };
        let (members, list) = (body.entries.len(), Some(id));
        Entry { state, members, list, ..Entry::idle("list", String::new(), body.name) }
    }
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

/// Whom one can call: conferences, queues and phone accounts, each ordered by number, and call lists by name, before the phones.
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
    let mut rooms: Vec<Entry> = app.conferences.all().into_iter().map(Entry::of_conference).collect();
    rooms.sort_by(|a, b| a.number.cmp(&b.number));
    // Their bridge gives them by number.
    rooms.extend(app.bridges.iter().flat_map(|b| b.queues()).map(Entry::of_queue));
    let mut lists: Vec<Entry> = app
        .store
        .desk_items::<ListBody>(DeskKind::CallList)
        .await?
        .into_iter()
        .map(|(id, body)| Entry::of_list(app.lists.run(&id).is_some_and(|r| r.state == RunState::Running), id, body))
        .collect();
    lists.sort_by(|a, b| a.name.cmp(&b.name));
    rooms.extend(lists);
    rooms.retain(|e| fits(&e.number, &e.name));
    let phones: Vec<(String, String)> =
        app.secrets.users(AccountKind::Phone).into_iter().filter(|(number, name)| fits(number, name)).collect();
    let (offset, limit) = (q.offset.unwrap_or(0), q.limit.unwrap_or(200).clamp(1, 1000));
    let total = rooms.len() + phones.len();
    let doing = doing(&app);
    let of_phones = phones.into_iter().skip(offset.saturating_sub(rooms.len())).map(|(number, name)| {
        let now = doing.get(&number);
        Entry {
            online: app.registry.get(&DeviceId::new("phone", &number)).is_some_and(|d| d.online),
            state: now.map_or("idle", |d| d.state),
            call: now.map(|d| d.call.clone()),
            with: now.map(|d| d.with.clone()),
            forwards: Some(app.secrets.forwards(&number)),
            ..Entry::idle("phone", number, name)
        }
    });
    let items = rooms.into_iter().skip(offset).chain(of_phones).take(limit).collect();
    Ok(Json(Directory { total, items }))
}
