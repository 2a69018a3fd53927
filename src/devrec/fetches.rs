//! The list of fetches: stored, run some at a time, gone on with after any break.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bridge_core::{ChannelId, Timestamp};
use media_hub::{Fault, Whose};
use recorder::RecorderError;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::work::{Ended, Figures, Progress, Stretch};
use crate::api::Shared;
use crate::app::App;
use crate::events::Severity;
use crate::store::FetchRow;

/// Fetches in the list.
const MOST: usize = 200;
/// Longest range of one fetch.
const LONGEST_MS: i64 = 24 * 3_600_000;
/// Sessions in a row that bring nothing new until a fetch has failed.
const TRIES: u32 = 10;
const WAIT_FIRST: Duration = Duration::from_secs(2);
const WAIT_MOST: Duration = Duration::from_secs(30);
/// A device that is away is looked for so often.
const AWAY: Duration = Duration::from_secs(2);
const TELL: Duration = Duration::from_secs(1);

/// This world's devices keep no recordings.
pub fn no_history() -> Fault {
    Fault::new(
        "no_device_recordings",
        Whose::You,
        false,
        "这类设备没有可查询的录像",
        "Devices of this kind keep no recordings that can be asked for",
    )
}

fn away_now() -> Fault {
    Fault::new(
        "fetch_waits",
        Whose::Device,
        true,
        "设备不在线，上线后自动继续取回",
        "The device is off line; the fetch goes on when it is back",
    )
    .next("检查设备电源和网络", "Check the device's power and network")
}

/// How a fetch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FetchState {
    /// Others run first.
    Queued,
    Running,
    /// It broke and goes on by itself; the fault says why.
    Waiting,
    /// All is there and goes into the archive.
    Storing,
    Done,
    /// It broke too often. It may be tried again and goes on where it stands.
    Failed,
}

/// An unbroken stretch of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub from: i64,
    pub to: i64,
    /// It is in the archive.
    pub stored: bool,
}

/// A fetch as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FetchView {
    pub id: String,
    pub channel: String,
    pub name: String,
    pub from: String,
    pub to: String,
    pub speed: u32,
    #[schema(value_type = String)]
    pub state: FetchState,
    /// Seconds of media that are there, and that there will be.
    pub done_s: f64,
    pub total_s: f64,
    /// Bytes of media taken from the wire, and what the device says of the whole where it does.
    pub bytes: u64,
    pub announced_bytes: Option<u64>,
    /// Sessions that broke.
    pub breaks: u32,
    #[schema(value_type = Option<Object>)]
    pub fault: Option<Fault>,
    pub by: String,
    pub since: String,
}

/// What is ordered.
#[derive(Debug, Clone)]
pub struct NewFetch {
    pub channel: ChannelId,
    pub name: String,
    pub from: i64,
    pub to: i64,
    pub speed: u32,
    pub by: String,
    /// Unbroken stretches that the device holds of the range.
    pub stretches: Vec<(i64, i64)>,
}

/// Why an order was refused.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("there is no such fetch")]
    NotFound,
    #[error("{0}")]
    Invalid(String),
    #[error("the list holds {MOST} fetches: cancel or forget some")]
    TooMany,
    #[error("it runs")]
    Running,
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

struct Job {
    row: FetchRow,
    parts: Vec<Part>,
    state: FetchState,
    fault: Option<Fault>,
    breaks: u32,
    figures: Arc<Figures>,
    current: Option<usize>,
    stop: CancellationToken,
}

impl Job {
    fn view(&self) -> FetchView {
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let total: i64 = self.parts.iter().map(|p| p.to - p.from).sum();
        let stored: i64 = self.parts.iter().filter(|p| p.stored).map(|p| p.to - p.from).sum();
        let here = self.current.and_then(|n| self.parts.get(n)).filter(|p| !p.stored);
        let now = here.map_or(0, |p| self.figures.media_ms.load(Ordering::Relaxed).clamp(0, p.to - p.from));
        let announced = self.figures.announced.load(Ordering::Relaxed);
        FetchView {
            id: self.row.id.clone(),
            channel: self.row.channel.clone(),
            name: self.row.name.clone(),
            from: Timestamp(self.row.from_ms).to_string(),
            to: Timestamp(self.row.to_ms).to_string(),
            speed: self.row.speed,
            state: self.state,
            done_s: seconds(if self.state == FetchState::Done { total } else { stored + now }),
            total_s: seconds(total),
            bytes: self.figures.session_bytes.load(Ordering::Relaxed),
            announced_bytes: (announced > 0).then_some(announced),
            breaks: self.breaks,
            fault: self.fault.clone(),
            by: self.row.by.clone(),
            since: Timestamp(self.row.since_ms).to_string(),
        }
    }
}

struct Inner {
    jobs: Mutex<HashMap<String, Job>>,
    gate: Semaphore,
    folder: PathBuf,
    app: Mutex<Weak<App>>,
}

/// All fetches. Cheap to clone.
#[derive(Clone)]
pub struct Fetches(Arc<Inner>);

impl Fetches {
    /// `folder`: where what is under way is kept; `parallel`: how many run at once.
    pub fn new(folder: PathBuf, parallel: usize) -> Fetches {
        Fetches(Arc::new(Inner {
            jobs: Mutex::default(),
            gate: Semaphore::new(parallel.max(1)),
            folder,
            app: Mutex::default(),
        }))
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<String, Job>> {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn app(&self) -> Option<Shared> {
        self.0.app.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// Goes on with what is stored. Once, at start.
    pub async fn resume(&self, app: &Shared) -> Result<(), crate::store::StoreError> {
        *self.0.app.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(app);
        if let Err(error) = std::fs::create_dir_all(&self.0.folder) {
            tracing::error!(%error, folder = %self.0.folder.display(), "fetches of device recordings cannot be kept");
        }
        let rows = app.store.fetches().await?;
        self.sweep(&rows);
        for row in rows {
            let id = row.id.clone();
            let parts: Vec<Part> = serde_json::from_str(&row.parts).unwrap_or_default();
            let state = match row.state.as_str() {
                "done" => FetchState::Done,
                "failed" => FetchState::Failed,
                _ => FetchState::Queued,
            };
            self.enter(row, parts, state);
            if state == FetchState::Queued {
                self.spawn(&id);
            }
        }
        Ok(())
    }

    /// Deletes stages that belong to no fetch under way.
    fn sweep(&self, rows: &[FetchRow]) {
        for entry in std::fs::read_dir(&self.0.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let of = name.strip_suffix(".stage").and_then(|n| n.split_once('-')).map(|(id, _)| id.to_owned());
            let wanted = of.is_some_and(|id| rows.iter().any(|r| r.id == id && r.state != "done"));
            if !wanted && name.ends_with(".stage") {
                // It is tried again at the next start.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn enter(&self, row: FetchRow, parts: Vec<Part>, state: FetchState) -> FetchView {
        let job = Job {
            parts,
            state,
            fault: None,
            breaks: 0,
            figures: Arc::default(),
            current: None,
            stop: CancellationToken::new(),
            row,
        };
        let view = job.view();
        self.jobs().insert(view.id.clone(), job);
        view
    }

    /// Newest first.
    pub fn all(&self) -> Vec<FetchView> {
        let mut all: Vec<FetchView> = self.jobs().values().map(Job::view).collect();
        all.sort_by(|a, b| b.id.cmp(&a.id));
        all
    }

    pub fn get(&self, id: &str) -> Option<FetchView> {
        self.jobs().get(id).map(Job::view)
    }

    pub async fn add(&self, app: &Shared, new: NewFetch) -> Result<FetchView, FetchError> {
        if new.to - new.from > LONGEST_MS {
            return Err(FetchError::Invalid("a fetch spans 24 hours at most".into()));
        }
        if new.stretches.is_empty() {
            return Err(FetchError::Invalid("the device has no recording in this range".into()));
        }
        if self.jobs().len() >= MOST {
            return Err(FetchError::TooMany);
        }
        let parts: Vec<Part> =
            new.stretches.iter().map(|(from, to)| Part { from: *from, to: *to, stored: false }).collect();
        let row = FetchRow {
            id: uuid::Uuid::now_v7().simple().to_string(),
            channel: new.channel.0,
            name: new.name,
            from_ms: new.from,
            to_ms: new.to,
            speed: new.speed,
            parts: serde_json::to_string(&parts).unwrap_or_default(),
            state: "queued".into(),
            by: new.by,
            since_ms: Timestamp::now().0,
        };
        app.store.put_fetch(&row).await?;
        let view = self.enter(row, parts, FetchState::Queued);
        app.events.tell("device_fetch", json!({ "fetch": view }));
        self.spawn(&view.id);
        Ok(view)
    }

    /// Ends a fetch and forgets it, with what it has that is not in the archive.
    pub async fn remove(&self, app: &Shared, id: &str) -> Result<(), FetchError> {
        let Some(job) = self.jobs().remove(id) else { return Err(FetchError::NotFound) };
        job.stop.cancel();
        app.store.delete_fetch(id).await?;
        for n in 0..job.parts.len() {
            // It may not be there, or be written to for a moment longer: the next start sweeps.
            let _ = tokio::fs::remove_file(self.stage(id, n)).await;
        }
        app.events.tell("device_fetch_removed", json!({ "id": id }));
        Ok(())
    }

    /// Tries a failed fetch again; it goes on where it stands.
    pub async fn retry(&self, app: &Shared, id: &str) -> Result<FetchView, FetchError> {
        {
            let mut jobs = self.jobs();
            let job = jobs.get_mut(id).ok_or(FetchError::NotFound)?;
            if job.state != FetchState::Failed {
                return Err(FetchError::Running);
            }
            job.state = FetchState::Queued;
            job.fault = None;
            job.stop = CancellationToken::new();
        }
        self.save(app, id).await;
        self.spawn(id);
        self.get(id).ok_or(FetchError::NotFound)
    }

    fn stage(&self, id: &str, part: usize) -> PathBuf {
        self.0.folder.join(format!("{id}-{part}.stage"))
    }

    fn spawn(&self, id: &str) {
        let (this, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            let Some(app) = this.app() else { return };
            let Some(stop) = this.jobs().get(&id).map(|j| j.stop.clone()) else { return };
            tokio::select! {
                () = this.run(&app, &id) => {}
                () = stop.cancelled() => {}
                () = app.shutdown.cancelled() => {}
            }
        });
    }

    /// Changes a job; tells and keeps nothing.
    fn change<T>(&self, id: &str, change: impl FnOnce(&mut Job) -> T) -> Option<T> {
        self.jobs().get_mut(id).map(change)
    }

    fn set(&self, app: &Shared, id: &str, state: FetchState, fault: Option<Fault>) {
        let view = self.change(id, |job| {
            let same = job.state == state && job.fault == fault;
            job.state = state;
            job.fault = fault;
            (!same).then(|| job.view())
        });
        if let Some(Some(view)) = view {
            app.events.tell("device_fetch", json!({ "fetch": view }));
        }
    }

    async fn save(&self, app: &Shared, id: &str) {
        let row = self.change(id, |job| {
            job.row.parts = serde_json::to_string(&job.parts).unwrap_or_default();
            job.row.state = match job.state {
                FetchState::Done => "done",
                FetchState::Failed => "failed",
                _ => "queued",
            }
            .into();
            job.row.clone()
        });
        if let Some(row) = row
            && let Err(error) = app.store.put_fetch(&row).await
        {
            tracing::error!(%error, fetch = id, "the state of a fetch cannot be stored");
        }
    }

    async fn run(&self, app: &Shared, id: &str) {
        let Ok(_place) = self.0.gate.acquire().await else { return };
        let Some((row, parts)) = self.change(id, |j| (j.row.clone(), j.parts.clone())) else { return };
        let ticker = self.clone();
        let (tell_app, tell_id) = (app.clone(), id.to_owned());
        let telling = tokio::spawn(async move {
            let mut tick = tokio::time::interval(TELL);
            while let Some(view) = ticker.get(&tell_id) {
                if matches!(view.state, FetchState::Running | FetchState::Storing) {
                    tell_app.events.tell("device_fetch", json!({ "fetch": view }));
                }
                tick.tick().await;
            }
        });
        let _end = AbortOnDrop(telling);
        for (n, part) in parts.iter().enumerate().filter(|(_, p)| !p.stored) {
            let figures: Arc<Figures> = Arc::default();
            let Some(stop) = self.change(id, |j| {
                j.current = Some(n);
                j.figures = figures.clone();
                j.stop.clone()
            }) else {
                return;
            };
            let channel = ChannelId(row.channel.clone());
            let stretch = Stretch {
                app,
                channel: &channel,
                from: part.from,
                to: part.to,
                speed: row.speed,
                stage: self.stage(id, n),
                figures,
                stop,
            };
            if !self.gather(app, id, &stretch).await || !self.store(app, id, &row, n, &stretch).await {
                self.save(app, id).await;
                return;
            }
        }
        self.set(app, id, FetchState::Done, None);
        self.save(app, id).await;
        let zh = format!("{} 的设备录像已取回", row.name);
        let en = format!("The device's recording of {} is in the archive", row.name);
        app.events.notice(Severity::Info, &zh, &en, &row.channel);
    }

    /// Session after session, until the stretch is whole; false when it has failed.
    async fn gather(&self, app: &Shared, id: &str, stretch: &Stretch<'_>) -> bool {
        let (mut empty, mut by_time, mut wait) = (0, false, WAIT_FIRST);
        loop {
            // A device that is away is waited for, as long as it takes.
            if !app.registry.get(&stretch.channel.device()).is_some_and(|d| d.online) {
                let known = self.change(id, |j| j.fault.clone()).flatten();
                self.set(app, id, FetchState::Waiting, Some(known.unwrap_or_else(away_now)));
                tokio::time::sleep(AWAY).await;
                continue;
            }
            self.set(app, id, FetchState::Running, None);
            match stretch.session(by_time).await {
                Ended::Complete => return true,
                Ended::Disk(why) => {
                    let fault = Fault::new(
                        "archive_failed",
                        Whose::Us,
                        true,
                        format!("暂存文件读写失败（{why}）"),
                        format!("What is under way cannot be kept ({why})"),
                    );
                    self.set(app, id, FetchState::Failed, Some(fault));
                    return false;
                }
                Ended::Broken(fault, progress) => {
                    tracing::info!(fetch = id, code = fault.code, fault = %fault.en, ?progress, "a download broke");
                    self.change(id, |j| j.breaks += 1);
                    match progress {
                        Progress::Some => (empty, wait) = (0, WAIT_FIRST),
                        Progress::Lost if !by_time => {
                            by_time = true;
                            continue;
                        }
                        Progress::None | Progress::Lost => empty += 1,
                    }
                    if empty >= TRIES || !fault.retry {
                        self.fail(app, id, fault);
                        return false;
                    }
                    self.set(app, id, FetchState::Waiting, Some(fault));
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAIT_MOST);
                }
            }
        }
    }

    fn fail(&self, app: &Shared, id: &str, fault: Fault) {
        if let Some(view) = self.get(id) {
            let zh = format!("取回 {} 的设备录像失败：{}", view.name, fault.zh);
            let en = format!("The device's recording of {} could not be fetched: {}", view.name, fault.en);
            app.events.notice(Severity::Warning, &zh, &en, &view.channel);
        }
        self.set(app, id, FetchState::Failed, Some(fault));
    }

    async fn store(&self, app: &Shared, id: &str, row: &FetchRow, part: usize, stretch: &Stretch<'_>) -> bool {
        self.set(app, id, FetchState::Storing, None);
        let stream = ChannelId(row.channel.clone()).stream();
        for attempt in 0.. {
            match stretch.store(&stream, &row.name, &format!("{id}/{part}")).await {
                Ok(()) => break,
                Err(error) => {
                    let full = matches!(&error, RecorderError::Disk(f) if f.code == "disk_full");
                    if !full && attempt >= 2 {
                        self.fail(app, id, error.fault());
                        return false;
                    }
                    self.change(id, |j| j.fault = Some(error.fault()));
                    tokio::time::sleep(WAIT_FIRST).await;
                }
            }
        }
        self.change(id, |j| {
            if let Some(p) = j.parts.get_mut(part) {
                p.stored = true;
            }
        });
        self.save(app, id).await;
        // The next start sweeps what stays.
        let _ = tokio::fs::remove_file(&stretch.stage).await;
        true
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
