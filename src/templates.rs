//! Templates of conferences ("flood plan: call these"): settings, and whom to call. A start makes the conference and calls all by the
//! engine of the call lists.

use recorder::Cause;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{ApiError, Shared};
use crate::conference::{ConferenceChange, ConferenceView, LobbyMode, MemberKind, MemberRole};
use crate::lists::{ListBody, ListEntry, ListMode, RunView};
use crate::store::DeskKind;

/// Most templates.
pub const MOST: usize = 500;
/// Most members of a template.
const MOST_MEMBERS: usize = 500;

/// A template as it is kept. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateBody {
    /// 1 to 64 characters; the conference is called so as well.
    pub name: String,
    /// 2 to 12 digits; none: the next free one.
    #[serde(default)]
    pub number: Option<String>,
    /// 4 to 12 digits. Not told: `pin_set` says whether there is one. Null keeps it, empty takes it away.
    #[serde(default)]
    pub pin: Option<String>,
    /// One talks at a time.
    #[serde(default)]
    pub half_duplex: bool,
    #[serde(default)]
    pub lobby: LobbyMode,
    /// It is recorded from the start.
    #[serde(default)]
    pub record: bool,
    pub mode: ListMode,
    /// How often somebody who did not answer is called again, 0 to 10.
    #[serde(default)]
    pub retries: u32,
    /// 5 to 120.
    #[serde(default = "ring_time")]
    pub ring_time: u32,
    /// Before somebody is called again, 0 to 600.
    #[serde(default = "pause")]
    pub pause: u32,
    /// Up to 500: phones by number, cameras and radio groups by channel.
    pub members: Vec<ListEntry>,
}

fn ring_time() -> u32 {
    30
}

fn pause() -> u32 {
    10
}

impl TemplateBody {
    /// Why it cannot be kept.
    pub fn check(&self) -> Result<(), &'static str> {
        let word = |s: &str, most: usize| s.chars().count() <= most && !s.chars().any(char::is_control);
        let digits = |s: &str, least: usize| (least..=12).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
        let good = |what: bool, why: &'static str| what.then_some(()).ok_or(why);
        good(!self.name.trim().is_empty() && word(&self.name, 64), "a name is 1 to 64 characters")?;
        good(self.number.as_deref().is_none_or(|n| digits(n, 2)), "a number is 2 to 12 digits")?;
        good(self.pin.as_deref().is_none_or(|p| p.is_empty() || digits(p, 4)), "a PIN is 4 to 12 digits")?;
        good(self.members.len() <= MOST_MEMBERS, "a template has up to 500 members")?;
        good(
            self.members.iter().all(|e| !e.number.trim().is_empty() && word(&e.number, 128) && word(&e.name, 64)),
            "a member is a number or channel of 1 to 128 characters and a name of up to 64",
        )?;
        good(self.retries <= 10, "retries is from 0 to 10")?;
        good((5..=120).contains(&self.ring_time), "ring_time is from 5 to 120")?;
        good(self.pause <= 600, "pause is from 0 to 600")
    }

    pub fn list(&self, conference: &str) -> ListBody {
        ListBody {
            name: self.name.clone(),
            mode: self.mode,
            conference: Some(conference.to_owned()),
            retries: self.retries,
            ring_time: self.ring_time,
            pause: self.pause,
            entries: self.members.clone(),
        }
    }
}

/// Under which name the engine of the call lists knows it.
pub fn list_id(id: &str) -> String {
    format!("template:{id}")
}

/// What a running conference would be as a template. Guests, consoles and patches are not called: they are left out.
pub fn of_conference(app: &Shared, name: &str, view: &ConferenceView) -> TemplateBody {
    let dials = app.conferences.dials(&view.id).unwrap_or_default();
    let target = |m: &crate::conference::MemberView| match m.kind {
        MemberKind::Channel => m.stream.clone(),
        MemberKind::Phone => dials.iter().find(|(id, _)| *id == m.id).map(|(_, dial)| dial.clone()),
        MemberKind::Browser | MemberKind::Patch => None,
    };
    let members = view.members.iter().filter_map(|m| {
        let role = Some(m.role).filter(|r| *r != MemberRole::Speaker);
        Some(ListEntry { number: target(m)?, name: m.name.clone(), role })
    });
    TemplateBody {
        name: name.to_owned(),
        number: None,
        pin: None,
        half_duplex: view.floor.is_some(),
        lobby: view.lobby,
        record: view.recording.is_some(),
        mode: ListMode::All,
        retries: 1,
        ring_time: ring_time(),
        pause: pause(),
        members: members.take(MOST_MEMBERS).collect(),
    }
}

/// The stored template.
pub async fn find(app: &Shared, id: &str) -> Result<TemplateBody, ApiError> {
    let all = app.store.desk_items::<TemplateBody>(DeskKind::Template).await?;
    let found = all.into_iter().find(|(key, _)| key == id).map(|(_, body)| body);
    found.ok_or_else(|| ApiError::not_found(&format!("template {id}")))
}

/// Makes the conference of a template; nobody is called yet.
pub async fn open(app: &Shared, body: &TemplateBody) -> Result<ConferenceView, ApiError> {
    let number = body.number.as_deref().filter(|n| !n.is_empty());
    let made = app.conferences.create(&body.name, number, body.pin.as_deref().unwrap_or_default()).await?;
    let change = ConferenceChange {
        half_duplex: Some(body.half_duplex),
        lobby: Some(body.lobby),
        ..ConferenceChange::default()
    };
    let view = app.conferences.change(&made.id, change).await?;
    if body.record {
        let stream = media_hub::StreamId::new(&view.stream);
        // Who cannot be recorded is called all the same.
        match app.recorder.start(stream, Cause::Hand, &body.name).await {
            Ok(job) => app.conferences.set_recording(&view.stream, Some(job.0)),
            Err(error) => tracing::error!(conference = view.id, %error, "the conference of a template is not recorded"),
        }
    }
    Ok(view)
}

/// Makes the conference of a template and calls all. Errors: 409 while the conference of its last start stands.
pub async fn start(app: &Shared, id: &str, by: &str) -> Result<RunView, ApiError> {
    let body = find(app, id).await?;
    if app.lists.run(&list_id(id)).is_some_and(|run| app.conferences.get(&run.conference).is_some()) {
        return Err(ApiError::conflict(
            "template_runs",
            "该预案的会商还在进行，可以再呼叫未到的人",
            "the conference of this template goes on: call those who are missing again",
        ));
    }
    let view = open(app, &body).await?;
    app.lists.start(app, &list_id(id), body.list(&view.id), by).await
}
