//! Call lists: many phones called into a conference by one order, with live progress. Templates call by the same engine: there an
//! entry may be a camera or a radio group as well, and has a role.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bridge_core::{ChannelId, Fault, MemberId, Timestamp};
use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::api::{ApiError, Shared};
use crate::conference::{MemberNews, MemberRole};

/// Phones of one list that ring at once.
const AT_ONCE: usize = 32;

/// In which order the entries are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListMode {
    All,
    InOrder,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListEntry {
    /// A number; in a template also a channel: a camera joins, a radio group (`radio:GATEWAY/GROUP`) is called.
    pub number: String,
    #[serde(default)]
    pub name: String,
    /// Given when it has joined; none: a speaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<MemberRole>,
}

/// A list as it is kept. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListBody {
    pub name: String,
    pub mode: ListMode,
    /// The conference to bring them into; none: a new one at each start.
    pub conference: Option<String>,
    /// How often somebody who did not answer is called again, 0 to 10.
    #[serde(default)]
    pub retries: u32,
    /// 5 to 120.
    #[serde(default = "ring_time")]
    pub ring_time: u32,
    /// Before somebody is called again, 0 to 600.
    #[serde(default = "pause")]
    pub pause: u32,
    /// 1 to 500.
    pub entries: Vec<ListEntry>,
}

fn ring_time() -> u32 {
    30
}

fn pause() -> u32 {
    10
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EntryState {
    Waiting,
    Calling,
    Ringing,
    Answered,
    /// Answered, and gone again.
    Left,
    Failed,
    Stopped,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EntryView {
    pub number: String,
    pub name: String,
    pub state: EntryState,
    pub tries: u32,
    /// Why not: the code of a fault.
    pub code: Option<String>,
    pub zh: String,
    pub en: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    Running,
    Done,
    Stopped,
}

/// How a start of a list goes.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunView {
    pub state: RunState,
    pub conference: String,
    #[schema(value_type = String)]
    pub started_at: Timestamp,
    pub started_by: String,
    /// Grows with every change of a run: of two views the one with the greater number is the newer.
    pub revision: u64,
    pub entries: Vec<EntryView>,
}

struct Run {
    list: String,
    view: Mutex<RunView>,
    /// Of this start; calling again has one of its own.
    stop: Mutex<CancellationToken>,
}

impl Run {
    fn lock(&self) -> MutexGuard<'_, RunView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) -> CancellationToken {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn view(&self) -> RunView {
        self.lock().clone()
    }

    fn change(&self, app: &Shared, change: impl FnOnce(&mut RunView)) {
        {
            let mut view = self.lock();
            change(&mut view);
            view.revision += 1;
        }
        self.tell(app);
    }

    fn set(&self, app: &Shared, entry: usize, change: impl FnOnce(&mut EntryView)) {
        self.change(app, |view| view.entries.get_mut(entry).map(change).unwrap_or_default());
    }

    fn tell(&self, app: &Shared) {
        if app.events.heard() {
            app.events.tell("call_list", serde_json::json!({ "list": self.list, "run": self.view() }));
        }
    }
}

/// The runs since the start; of each list the last one.
#[derive(Default)]
pub struct CallLists {
    runs: DashMap<String, Arc<Run>>,
}

impl CallLists {
    pub fn run(&self, list: &str) -> Option<RunView> {
        self.runs.get(list).map(|r| r.view())
    }

    pub fn forget(&self, list: &str) {
        if let Some((_, run)) = self.runs.remove(list) {
            run.stop().cancel();
        }
    }

    /// Gives up all who have not answered; who has stays in the conference. False when the list does not run.
    pub fn stop(&self, list: &str) -> bool {
        let running = self.runs.get(list).filter(|r| r.lock().state == RunState::Running);
        running.map(|run| run.stop().cancel()).is_some()
    }

    /// Starts a list; a conference is made where none is named. Errors: 409 while it runs.
    pub async fn start(&self, app: &Shared, id: &str, body: ListBody, by: &str) -> Result<RunView, ApiError> {
        let busy = || ApiError::conflict("list_runs", "该名单正在呼叫", "this list is being called already");
        if self.runs.get(id).is_some_and(|r| r.lock().state == RunState::Running) {
            return Err(busy());
        }
        let conference = match &body.conference {
            Some(conference) if app.conferences.get(conference).is_some() => conference.clone(),
            Some(conference) => return Err(ApiError::not_found(&format!("conference {conference}"))),
            None => app.conferences.create(&body.name, None, "").await?.id,
        };
        let entry = |e: &ListEntry| EntryView {
            number: e.number.clone(),
            name: if e.name.is_empty() { app.phone_name(&e.number) } else { e.name.clone() },
            state: EntryState::Waiting,
            tries: 0,
            code: None,
            zh: String::new(),
            en: String::new(),
        };
        let view = RunView {
            state: RunState::Running,
            conference,
            started_at: Timestamp::now(),
            started_by: by.to_owned(),
            revision: 0,
            entries: body.entries.iter().map(entry).collect(),
        };
        let run =
            Arc::new(Run { list: id.to_owned(), view: Mutex::new(view), stop: Mutex::new(app.shutdown.child_token()) });
        match self.runs.entry(id.to_owned()) {
            // Two orders at once: the first counts.
            dashmap::Entry::Occupied(old) if old.get().lock().state == RunState::Running => return Err(busy()),
            dashmap::Entry::Occupied(mut old) => drop(old.insert(run.clone())),
            dashmap::Entry::Vacant(free) => drop(free.insert(run.clone())),
        }
        run.tell(app);
        let view = run.view();
        let all = (0..body.entries.len()).collect();
        tokio::spawn(work(app.clone(), run, body, all));
        Ok(view)
    }

    /// Calls those once more who are not there: `which` by place, or all of them. Errors: 404 where it was not started, or its
    /// conference has ended; 409 while it runs.
    pub fn again(
        &self,
        app: &Shared,
        id: &str,
        body: ListBody,
        which: Option<Vec<usize>>,
    ) -> Result<RunView, ApiError> {
        let missing = || ApiError::not_found(&format!("started list {id}"));
        let run = self.runs.get(id).map(|r| r.clone()).ok_or_else(missing)?;
        let mut wanted = Vec::new();
        {
            let mut view = run.lock();
            if app.conferences.get(&view.conference).is_none() {
                return Err(missing());
            }
            if view.state == RunState::Running {
                return Err(ApiError::conflict("list_runs", "该名单正在呼叫", "this list is being called already"));
            }
            let same = view.entries.len() == body.entries.len();
            if !same || view.entries.iter().zip(&body.entries).any(|(a, b)| a.number != b.number) {
                return Err(ApiError::conflict(
                    "list_changed",
                    "名单已修改，请重新开始",
                    "the list was changed; start it anew",
                ));
            }
            for (place, entry) in view.entries.iter_mut().enumerate() {
                let meant = which.as_ref().is_none_or(|w| w.contains(&place));
                if meant && entry.state != EntryState::Answered {
                    entry.state = EntryState::Waiting;
                    wanted.push(place);
                }
            }
            if wanted.is_empty() {
                return Ok(view.clone());
            }
            view.state = RunState::Running;
            view.revision += 1;
            *run.stop.lock().unwrap_or_else(PoisonError::into_inner) = app.shutdown.child_token();
        }
        run.tell(app);
        let view = run.view();
        tokio::spawn(work(app.clone(), run, body, wanted));
        Ok(view)
    }
}

async fn work(app: Shared, run: Arc<Run>, body: ListBody, which: Vec<usize>) {
    let stop = run.stop();
    let body = Arc::new(body);
    let at_once = Arc::new(Semaphore::new(if body.mode == ListMode::All { AT_ONCE } else { 1 }));
    let mut tasks = JoinSet::new();
    for &entry in &which {
        let (app, run, body) = (app.clone(), run.clone(), body.clone());
        // In order: the semaphore is fair, and each task asks for it before the next is made.
        let turn = tokio::select! {
            turn = at_once.clone().acquire_owned() => turn,
            () = stop.cancelled() => break,
        };
        let stop = stop.clone();
        tasks.spawn(async move {
            let followed = call(&app, &run, &stop, &body, entry).await;
            drop(turn);
            if let Some(news) = followed {
                follow(&app, &run, entry, news).await;
            }
        });
    }
    // Done when everybody has answered or was given up; who answered is followed until he leaves.
    loop {
        let open = run.lock().entries.iter().any(|e| open(e.state)) && !stop.is_cancelled();
        if !open {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let stopped = stop.is_cancelled();
    run.change(&app, |view| {
        view.state = if stopped { RunState::Stopped } else { RunState::Done };
        for entry in view.entries.iter_mut().filter(|e| open(e.state)) {
            entry.state = EntryState::Stopped;
        }
    });
    while tasks.join_next().await.is_some() {}
}

fn open(state: EntryState) -> bool {
    matches!(state, EntryState::Waiting | EntryState::Calling | EntryState::Ringing)
}

/// Calls one entry until it answers or its tries are used up.
async fn call(
    app: &Shared,
    run: &Arc<Run>,
    stop: &CancellationToken,
    body: &ListBody,
    entry: usize,
) -> Option<mpsc::Receiver<MemberNews>> {
    let target = body.entries.get(entry)?;
    let conference = run.lock().conference.clone();
    let channel = ChannelId(target.number.clone());
    if !target.number.starts_with("radio:") && app.registry.channel(&channel).is_some() {
        run.set(app, entry, |e| (e.state, e.tries) = (EntryState::Calling, 1));
        match app.conferences.add_channel(&conference, &channel).await {
            Ok(_) => run.set(app, entry, |e| e.state = EntryState::Answered),
            Err(error) => failed(app, run, entry, "conference", &format!("无法入会：{error}"), &error.to_string()),
        }
        return None;
    }
    for n in 0..=body.retries {
        if n > 0 {
            run.set(app, entry, |e| e.state = EntryState::Waiting);
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(u64::from(body.pause))) => {}
                () = stop.cancelled() => return None,
            }
        }
        run.set(app, entry, |e| (e.state, e.tries) = (EntryState::Calling, n + 1));
        let name = run.lock().entries.get(entry).map(|e| e.name.clone()).unwrap_or_default();
        let seat = match app.conferences.seat_for_call(&conference, &name) {
            Ok((view, seat)) => (MemberId(view.id), seat),
            Err(error) => {
                failed(app, run, entry, "conference", &format!("无法入会：{error}"), &error.to_string());
                return None;
            }
        };
        let (member, seat) = seat;
        let (tell, mut news) = mpsc::channel(8);
        app.conferences.follow(&conference, &member, &target.number, tell);
        let dialled = app.dial(&target.number, seat).await;
        let fault = match dialled {
            Ok(()) => match wait(app, run, stop, body, entry, &mut news).await {
                Waited::Answered => {
                    if let Some(role) = target.role {
                        let _ = app.conferences.set_role(&conference, &member, role);
                    }
                    return Some(news);
                }
                Waited::Failed(fault) => Some(fault),
                Waited::TimedOut => {
                    let _ = app.conferences.remove(&conference, &member).await;
                    None
                }
                Waited::Stopped => {
                    let _ = app.conferences.remove(&conference, &member).await;
                    return None;
                }
            },
            Err(fault) => {
                app.conferences.abandon(&conference, &member);
                Some(fault)
            }
        };
        match &fault {
            Some(fault) => failed(app, run, entry, fault.code, &fault.zh, &fault.en),
            None => failed(app, run, entry, "no_answer", "振铃后无人接听", "The phone rang and nobody answered"),
        }
        // Who has no such number, or declined, is not asked again.
        if fault.is_some_and(|f| !f.retry) {
            return None;
        }
    }
    None
}

fn failed(app: &Shared, run: &Run, entry: usize, code: &str, zh: &str, en: &str) {
    run.set(app, entry, |e| {
        e.state = EntryState::Failed;
        e.code = Some(code.to_owned());
        (e.zh, e.en) = (zh.to_owned(), en.to_owned());
    });
}

enum Waited {
    Answered,
    Failed(Fault),
    TimedOut,
    Stopped,
}

async fn wait(
    app: &Shared,
    run: &Run,
    stop: &CancellationToken,
    body: &ListBody,
    entry: usize,
    news: &mut mpsc::Receiver<MemberNews>,
) -> Waited {
    let until = tokio::time::Instant::now() + Duration::from_secs(u64::from(body.ring_time));
    loop {
        let told = tokio::select! {
            told = tokio::time::timeout_at(until, news.recv()) => told,
            () = stop.cancelled() => return Waited::Stopped,
        };
        match told {
            Ok(Some(MemberNews::Ringing)) => run.set(app, entry, |e| e.state = EntryState::Ringing),
            Ok(Some(MemberNews::Connected)) => {
                run.set(app, entry, |e| {
                    e.state = EntryState::Answered;
                    (e.code, e.zh, e.en) = (None, String::new(), String::new());
                });
                return Waited::Answered;
            }
            Ok(Some(MemberNews::Failed(fault))) => return Waited::Failed(fault),
            // An operator took him out while it rang, or the conference ended.
            Ok(Some(MemberNews::Left) | None) => return Waited::Stopped,
            Err(_) => return Waited::TimedOut,
        }
    }
}

/// Says when somebody who answered has left.
async fn follow(app: &Shared, run: &Run, entry: usize, mut news: mpsc::Receiver<MemberNews>) {
    loop {
        match news.recv().await {
            Some(MemberNews::Ringing | MemberNews::Connected) => {}
            Some(MemberNews::Failed(_) | MemberNews::Left) | None => {
                return run.set(app, entry, |e| e.state = EntryState::Left);
            }
        }
    }
}
