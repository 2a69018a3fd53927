//! Conferences at a time: opened before it, their members called at it, over a restart of the gateway as well.

mod machine;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bridge_core::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::api::{ApiError, Shared};
use crate::conference::MemberKind;
use crate::events::Severity;
use crate::store::{DeskKind, Store, StoreError};
use crate::templates;

pub use machine::Repeat;
use machine::{Due, Running, State, Times};

/// Most times.
pub const MOST: usize = 500;
/// In whose name the gateway calls.
const BY: &str = "schedule";

/// A conference at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleBody {
    /// 1 to 64 characters; the conference is called so where there is no template.
    pub name: String,
    /// The id of a template; none: an empty conference.
    #[serde(default)]
    pub template: Option<String>,
    /// On the clock of the hall: `2026-07-01T08:30`. The first one, if it comes again.
    #[serde(with = "civil")]
    #[schema(value_type = String)]
    pub at: DateTime,
    /// 5 to 1,440.
    pub minutes: u32,
    pub repeat: Repeat,
    /// It is opened so many minutes before: 0 to 720.
    #[serde(default)]
    pub open_before: u32,
}

/// A time without zone, as text.
mod civil {
    use jiff::civil::DateTime;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(at: &DateTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(at)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| D::Error::custom("not a time as 2026-07-01T08:30"))
    }
}

impl ScheduleBody {
    fn times(&self) -> Times {
        let ScheduleBody { at, minutes, repeat, open_before, .. } = *self;
        Times { at, repeat, minutes, open_before }
    }

    /// Why it cannot be kept. `now`: milliseconds since 1970.
    fn check(&self, now: i64) -> Result<(), &'static str> {
        let good = |what: bool, why: &'static str| what.then_some(()).ok_or(why);
        let fits = self.name.chars().count() <= 64 && !self.name.chars().any(char::is_control);
        good(!self.name.trim().is_empty() && fits, "a name is 1 to 64 characters")?;
        good((5..=1440).contains(&self.minutes), "minutes is from 5 to 1440")?;
        good(self.open_before <= 720, "open_before is from 0 to 720")?;
        let next = self.times().next(&State { done: Some(now), running: None }, now, &zone());
        good(next.is_some(), "this time is over")
    }
}

/// As it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    body: ScheduleBody,
    state: State,
}

/// A time as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ScheduleView {
    pub id: String,
    #[serde(flatten)]
    pub body: ScheduleBody,
    /// When it begins next; null: never again.
    #[schema(value_type = Option<String>)]
    pub next_at: Option<Timestamp>,
    /// The conference that was opened for it, while its time lasts.
    pub conference: Option<String>,
    /// The hall's clock: the name of its zone, or its offset.
    pub zone: String,
}

/// All times. The hall's clock is that of the machine.
pub struct Schedules {
    kept: Mutex<BTreeMap<String, Kept>>,
    store: Store,
}

fn zone() -> TimeZone {
    TimeZone::system()
}

fn zone_name() -> String {
    let zone = zone();
    let named = zone.iana_name().map(str::to_owned);
    named.unwrap_or_else(|| jiff::Timestamp::now().to_zoned(zone).offset().to_string())
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn view(id: &str, kept: &Kept) -> ScheduleView {
    let next = kept.body.times().next(&kept.state, now(), &zone());
    ScheduleView {
        id: id.to_owned(),
        body: kept.body.clone(),
        next_at: next.map(Timestamp),
        conference: kept.state.running.as_ref().map(|r| r.conference.clone()),
        zone: zone_name(),
    }
}

impl Schedules {
    pub async fn open(store: Store) -> Result<Self, StoreError> {
        let kept = store.desk_items::<Kept>(DeskKind::Schedule).await?.into_iter().collect();
        Ok(Schedules { kept: Mutex::new(kept), store })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn all(&self) -> Vec<ScheduleView> {
        self.lock().iter().map(|(id, kept)| view(id, kept)).collect()
    }

    /// Keeps a time, new or changed: what was before now does not come again. One that runs goes on.
    pub async fn put(&self, id: &str, body: ScheduleBody) -> Result<ScheduleView, ApiError> {
        body.check(now()).map_err(ApiError::invalid)?;
        let kept = {
            let mut all = self.lock();
            let running = all.get(id).and_then(|k| k.state.running.clone());
            if running.is_none() && !all.contains_key(id) && all.len() >= MOST {
                return Err(ApiError::invalid("at most 500 times"));
            }
            let done = running.as_ref().map_or(now(), |r| r.start.max(now()));
            let kept = Kept { body, state: State { done: Some(done), running } };
            all.insert(id.to_owned(), kept.clone());
            kept
        };
        self.store.put_desk_item(DeskKind::Schedule, id, &kept).await?;
        Ok(view(id, &kept))
    }

    pub fn has(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// The conference that runs for it goes on.
    pub async fn delete(&self, id: &str) -> Result<bool, StoreError> {
        let there = self.lock().remove(id).is_some();
        self.store.delete_desk_item(DeskKind::Schedule, id).await?;
        Ok(there)
    }

    /// The first that is due.
    fn due(&self, now: i64, zone: &TimeZone) -> Option<(String, Kept, Due)> {
        let all = self.lock();
        all.iter()
            .find_map(|(id, kept)| Some((id.clone(), kept.clone(), kept.body.times().due(&kept.state, now, zone)?)))
    }

    /// Notes what was done before anything else happens: it must not be done twice.
    async fn note(&self, id: &str, state: State) {
        let kept = {
            let mut all = self.lock();
            let Some(kept) = all.get_mut(id) else { return };
            kept.state = state;
            kept.clone()
        };
        if let Err(error) = self.store.put_desk_item(DeskKind::Schedule, id, &kept).await {
            tracing::error!(schedule = id, %error, "the state of a time could not be stored: a restart may repeat it");
        }
    }
}

/// Follows the clock.
pub async fn run(app: Shared) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = second.tick() => {}
        }
        // Read anew: the clock and its zone may be set while we run.
        let zone = zone();
        for _ in 0..MOST {
            let Some((id, kept, due)) = app.schedules.due(now(), &zone) else { break };
            work(&app, &id, kept, due, &zone).await;
            app.events.tell("schedules", json!({ "items": app.schedules.all() }));
        }
    }
}

fn clock(at: i64, zone: &TimeZone) -> String {
    let at = jiff::Timestamp::from_millisecond(at).map(|t| t.to_zoned(zone.clone()));
    at.map_or_else(|_| String::new(), |t| t.strftime("%Y-%m-%d %H:%M").to_string())
}

async fn work(app: &Shared, id: &str, kept: Kept, due: Due, zone: &TimeZone) {
    let Kept { body, state } = kept;
    let name = &body.name;
    let tell = |grave, zh: &str, en: &str| app.events.notice(grave, zh, en, id);
    match due {
        Due::Missed { last, count } => {
            app.schedules.note(id, State { done: Some(last), running: None }).await;
            let at = clock(last, zone);
            let (zh, en) = (
                format!("预约会商“{name}”错过了（{at}，共 {count} 次）：网关当时未运行"),
                format!(
                    "The scheduled conference {name} was missed ({at}, {count} in all): the gateway was not running"
                ),
            );
            tell(Severity::Warning, &zh, &en);
            app.audit.note(BY, "", "schedule_missed", id, &at, "ok");
        }
        Due::Open { start, late } => {
            app.schedules.note(id, State { done: Some(start), running: None }).await;
            let at = clock(start, zone);
            match make(app, &body).await {
                Ok(conference) => {
                    app.audit.note(BY, "", "schedule_open", id, &conference, "ok");
                    let running = Running { start, called: false, conference };
                    app.schedules.note(id, State { done: Some(start), running: Some(running) }).await;
                    let (zh, en) = match late {
                        true => (
                            format!("预约会商“{name}”已晚于 {at} 打开"),
                            format!("The scheduled conference {name} is open, later than {at}"),
                        ),
                        false => (
                            format!("预约会商“{name}”已打开，{at} 开始"),
                            format!("The scheduled conference {name} is open and begins at {at}"),
                        ),
                    };
                    tell(Severity::Warning, &zh, &en);
                }
                Err(why) => {
                    let (zh, en) = (
                        format!("预约会商“{name}”（{at}）未能打开：{why}"),
                        format!("The scheduled conference {name} ({at}) could not be opened: {why}"),
                    );
                    tell(Severity::Alarm, &zh, &en);
                    app.audit.note(BY, "", "schedule_open", id, &why, "failed");
                }
            }
        }
        Due::Call => {
            let Some(mut running) = state.running else { return };
            running.called = true;
            let conference = running.conference.clone();
            app.schedules.note(id, State { done: state.done, running: Some(running) }).await;
            if let Some(template) = &body.template {
                call(app, template, &conference).await;
            }
            let (zh, en) = (format!("预约会商“{name}”开始"), format!("The scheduled conference {name} begins"));
            tell(Severity::Warning, &zh, &en);
        }
        Due::End => {
            app.schedules.note(id, State { done: state.done, running: None }).await;
            let Some(conference) = state.running.map(|r| r.conference) else { return };
            // Who still talks is not hung up by a clock.
            let empty = app
                .conferences
                .get(&conference)
                .is_some_and(|c| !c.members.iter().any(|m| matches!(m.kind, MemberKind::Browser | MemberKind::Phone)));
            if empty && app.conferences.end(&conference).await.is_ok() {
                app.guests.conference_ended(&conference).await;
            }
            let (zh, en) = match empty {
                true => (format!("预约会商“{name}”到时，已结束"), format!("The time of {name} is over: it has ended")),
                false => (
                    format!("预约会商“{name}”到时，仍有人在会中，未结束"),
                    format!("The time of {name} is over; people are in it, so it goes on"),
                ),
            };
            tell(Severity::Info, &zh, &en);
        }
    }
}

async fn make(app: &Shared, body: &ScheduleBody) -> Result<String, String> {
    let words = |error: ApiError| error.en().to_owned();
    match &body.template {
        Some(template) => {
            let template = templates::find(app, template).await.map_err(words)?;
            templates::open(app, &template).await.map(|view| view.id).map_err(words)
        }
        None => app.conferences.create(&body.name, None, "").await.map(|view| view.id).map_err(|e| e.to_string()),
    }
}

async fn call(app: &Shared, template: &str, conference: &str) {
    let Ok(body) = templates::find(app, template).await else { return };
    if body.members.is_empty() || app.conferences.get(conference).is_none() {
        return;
    }
    if let Err(error) = app.lists.start(app, &templates::list_id(template), body.list(conference), BY).await {
        tracing::error!(template, error = error.en(), "the members of a scheduled conference are not called");
    }
}
