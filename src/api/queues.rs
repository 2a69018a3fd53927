//! The duty desk: queues, their agents, and pick-up groups.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bridge_core::{AccountKind, AgentState, Credentials, QueueMember, QueueOrder, QueueRule, QueueView, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Admin, Operator, Viewer};
use super::{ApiError, Shared};
use crate::app::App;

/// Most queues, agents of one, pick-up groups and members of one.
const MOST: usize = 200;

#[derive(Serialize, PartialEq, ToSchema)]
pub struct WaitingView {
    /// The live call.
    call: String,
    caller: String,
    caller_name: String,
    #[schema(value_type = String)]
    since: Timestamp,
    position: usize,
}

#[derive(Serialize, PartialEq, ToSchema)]
pub struct AgentView {
    phone: String,
    name: String,
    /// `idle`, `ringing`, `busy`, `wrap_up`, `offline` or `signed_out`.
    #[schema(value_type = String)]
    state: AgentState,
}

/// A queue. Times are in seconds.
#[derive(Serialize, PartialEq, ToSchema)]
pub struct Queue {
    number: String,
    name: String,
    members: Vec<String>,
    /// `all`, `turn` or `idle`.
    #[schema(value_type = String)]
    order: QueueOrder,
    most_waiting: u32,
    longest_wait: u32,
    overflow: Option<String>,
    ring_time: u32,
    wrap_up: u32,
    announce_every: u32,
    waiting: Vec<WaitingView>,
    agents: Vec<AgentView>,
}

#[derive(Serialize, ToSchema)]
pub struct QueueList {
    items: Vec<Queue>,
}

fn view(app: &App, queue: QueueView) -> Queue {
    let QueueView { rule, waiting, agents } = queue;
    let waits = |(n, w): (usize, bridge_core::QueueWaiting)| WaitingView {
        call: w.call,
        caller: w.caller.number,
        caller_name: w.caller.name,
        since: w.since,
        position: n + 1,
    };
    Queue {
        members: rule.members.into_iter().map(|m| m.phone).collect(),
        number: rule.number,
        name: rule.name,
        order: rule.order,
        most_waiting: rule.most_waiting,
        longest_wait: rule.longest_wait_s,
        overflow: rule.overflow,
        ring_time: rule.ring_time_s,
        wrap_up: rule.wrap_up_s,
        announce_every: rule.announce_every_s,
        waiting: waiting.into_iter().enumerate().map(waits).collect(),
        agents: agents
            .into_iter()
            .map(|(phone, state)| AgentView { name: app.phone_name(&phone), phone, state })
            .collect(),
    }
}

/// All queues as they are now.
pub fn queues(app: &App) -> Vec<Queue> {
    app.bridges.iter().flat_map(|b| b.queues()).map(|q| view(app, q)).collect()
}

/// The queues with who waits and what the agents do.
#[utoipa::path(get, path = "/queues", responses((status = 200, body = QueueList)))]
pub async fn list(State(app): State<Shared>, Viewer(_who): Viewer) -> Json<QueueList> {
    Json(QueueList { items: queues(&app) })
}

/// A queue as it is to be. Times are in seconds.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewQueue {
    /// 1 to 64 characters.
    name: String,
    /// Phone accounts, at most 200.
    members: Vec<String>,
    /// `all`: all free agents ring; `turn`: one after another; `idle`: who has been idle longest.
    #[schema(value_type = String)]
    order: QueueOrder,
    /// 1 to 500; 20 if left out.
    most_waiting: Option<u32>,
    /// 5 to 7200; 300 if left out.
    longest_wait: Option<u32>,
    /// A phone account that takes callers when the line is full or the wait is over.
    overflow: Option<String>,
    /// 3 to 120; 20 if left out.
    ring_time: Option<u32>,
    /// 0 to 3600; 10 if left out.
    wrap_up: Option<u32>,
    /// 5 to 600, 0 for never; 30 if left out.
    announce_every: Option<u32>,
}

fn phones(app: &App, given: Vec<String>) -> Result<Vec<String>, ApiError> {
    let mut out: Vec<String> = Vec::new();
    for phone in given {
        if app.secrets.secret(AccountKind::Phone, &phone).is_none() {
            return Err(ApiError::invalid(&format!("there is no phone account {phone:?}")));
        }
        if !out.contains(&phone) {
            out.push(phone);
        }
    }
    if out.len() > MOST {
        return Err(ApiError::invalid("at most 200 phones"));
    }
    Ok(out)
}

fn within(what: &str, given: Option<u32>, usual: u32, range: std::ops::RangeInclusive<u32>) -> Result<u32, ApiError> {
    let value = given.unwrap_or(usual);
    if range.contains(&value) || (value == 0 && what == "announce_every") {
        return Ok(value);
    }
    Err(ApiError::invalid(&format!("{what} is from {} to {}", range.start(), range.end())))
}

fn named(name: &str) -> Result<String, ApiError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(ApiError::invalid("a name is 1 to 64 characters"));
    }
    Ok(name.to_owned())
}

/// Make or change the queue at this number. Agents that were signed in or out stay so; new ones are signed in.
#[utoipa::path(put, path = "/queues/{number}", params(("number" = String, Path)), request_body = NewQueue,
    responses((status = 204), (status = 400), (status = 409)))]
pub async fn put(
    State(app): State<Shared>,
    Admin(who): Admin,
    Path(number): Path<String>,
    Json(body): Json<NewQueue>,
) -> Result<StatusCode, ApiError> {
    if !(2..=12).contains(&number.len()) || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ApiError::invalid("a queue's number is 2 to 12 digits"));
    }
    let old = app.secrets.queue(&number);
    if app.conferences.all().iter().any(|c| c.number == number)
        || app.secrets.secret(AccountKind::Phone, &number).is_some()
    {
        return Err(ApiError::conflict("number_taken", "该号码已被占用", "a conference or a phone has this number"));
    }
    if old.is_none() && app.secrets.queues().len() >= MOST {
        return Err(ApiError::invalid("at most 200 queues"));
    }
    let signed_in = |phone: &str| {
        let before = old.as_ref().and_then(|q| q.members.iter().find(|m| m.phone == phone));
        before.is_none_or(|m| m.signed_in)
    };
    let members = phones(&app, body.members)?;
    let members = members.into_iter().map(|phone| QueueMember { signed_in: signed_in(&phone), phone }).collect();
    let overflow = body.overflow.map(|n| n.trim().to_owned()).filter(|n| !n.is_empty());
    let overflow = phones(&app, overflow.into_iter().collect())?.pop();
    let rule = QueueRule {
        name: named(&body.name)?,
        members,
        order: body.order,
        most_waiting: within("most_waiting", body.most_waiting, 20, 1..=500)?,
        longest_wait_s: within("longest_wait", body.longest_wait, 300, 5..=7200)?,
        overflow,
        ring_time_s: within("ring_time", body.ring_time, 20, 3..=120)?,
        wrap_up_s: within("wrap_up", body.wrap_up, 10, 0..=3600)?,
        announce_every_s: within("announce_every", body.announce_every, 30, 5..=600)?,
        number: number.clone(),
    };
    let detail = format!("{} {}", rule.name, rule.members.len());
    app.secrets.set_queue(rule).await?;
    who.note(&app, "set_queue", &number, &detail);
    Ok(StatusCode::NO_CONTENT)
}

/// Delete a queue. Who waits in it goes on waiting until his time is over.
#[utoipa::path(delete, path = "/queues/{number}", params(("number" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn delete(
    State(app): State<Shared>,
    Admin(who): Admin,
    Path(number): Path<String>,
) -> Result<StatusCode, ApiError> {
    if !app.secrets.remove_queue(&number).await? {
        return Err(ApiError::not_found(&format!("queue {number}")));
    }
    who.note(&app, "delete_queue", &number, "");
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
pub struct SignIn {
    signed_in: bool,
}

/// Sign an agent in or out.
#[utoipa::path(post, path = "/queues/{number}/agents/{phone}", params(("number" = String, Path), ("phone" = String, Path)),
    request_body = SignIn, responses((status = 204), (status = 404)))]
pub async fn sign(
    State(app): State<Shared>,
    Operator(who): Operator,
    Path((number, phone)): Path<(String, String)>,
    Json(body): Json<SignIn>,
) -> Result<StatusCode, ApiError> {
    let mut rule = app.secrets.queue(&number).ok_or_else(|| ApiError::not_found(&format!("queue {number}")))?;
    let Some(member) = rule.members.iter_mut().find(|m| m.phone == phone) else {
        return Err(ApiError::not_found(&format!("agent {phone} in queue {number}")));
    };
    member.signed_in = body.signed_in;
    app.secrets.set_queue(rule).await?;
    who.note(&app, if body.signed_in { "sign_in_agent" } else { "sign_out_agent" }, &number, &phone);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, ToSchema)]
pub struct PickupGroup {
    name: String,
    members: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub struct PickupGroups {
    items: Vec<PickupGroup>,
}

/// The pick-up groups: phones in one group may take each other's ringing calls.
#[utoipa::path(get, path = "/pickup-groups", responses((status = 200, body = PickupGroups)))]
pub async fn groups(State(app): State<Shared>, Viewer(_who): Viewer) -> Json<PickupGroups> {
    let items = app.secrets.pickup_groups().into_iter().map(|(name, members)| PickupGroup { name, members }).collect();
    Json(PickupGroups { items })
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPickupGroup {
    /// Phone accounts, at most 200.
    members: Vec<String>,
}

/// Make or change a pick-up group.
#[utoipa::path(put, path = "/pickup-groups/{name}", params(("name" = String, Path)), request_body = NewPickupGroup,
    responses((status = 204), (status = 400)))]
pub async fn put_group(
    State(app): State<Shared>,
    Admin(who): Admin,
    Path(name): Path<String>,
    Json(body): Json<NewPickupGroup>,
) -> Result<StatusCode, ApiError> {
    let name = named(&name)?;
    let known = app.secrets.pickup_groups();
    if known.len() >= MOST && !known.iter().any(|(n, _)| *n == name) {
        return Err(ApiError::invalid("at most 200 pick-up groups"));
    }
    let members = phones(&app, body.members)?;
    let detail = members.join(" ");
    app.secrets.set_pickup_group(&name, members).await?;
    who.note(&app, "set_pickup_group", &name, &detail);
    Ok(StatusCode::NO_CONTENT)
}

/// Delete a pick-up group.
#[utoipa::path(delete, path = "/pickup-groups/{name}", params(("name" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn delete_group(
    State(app): State<Shared>,
    Admin(who): Admin,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    if !app.secrets.remove_pickup_group(&name).await? {
        return Err(ApiError::not_found(&format!("pick-up group {name}")));
    }
    who.note(&app, "delete_pickup_group", &name, "");
    Ok(StatusCode::NO_CONTENT)
}
