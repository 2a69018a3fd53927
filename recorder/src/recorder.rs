//! The recorder: its jobs and what may be asked of it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use media_hub::{Hub, StreamId};
use sqlx::sqlite::SqlitePool;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;

use crate::job::{JobOrder, JobShared, Runner, Tools};
use crate::keeper;
use crate::plan::Plan;
use crate::playback::Scans;
use crate::store::{Row, Store};
use crate::types::{Cause, Job, JobId, RecorderError, RecorderEvent, Recording, RecordingId, RecordingState, Settings};
use crate::writer::Pool;

pub(crate) struct Running {
    pub shared: Arc<JobShared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

pub(crate) struct Shared {
    pub settings: Settings,
    pub store: Store,
    tools: Tools,
    jobs: Mutex<HashMap<JobId, Running>>,
    /// Plans whose job somebody ended by hand: they start again when their window comes anew.
    pub hushed: Mutex<HashSet<String>>,
    pub events: broadcast::Sender<RecorderEvent>,
    pub scans: Scans,
    keys: AtomicU64,
    /// Woken when plans changed.
    pub plans_changed: tokio::sync::Notify,
    background: Mutex<Vec<JoinHandle<()>>>,
}

/// Records streams, keeps the index, plays back. Cheap to clone.
#[derive(Clone)]
pub struct Recorder(pub(crate) Arc<Shared>);

impl Recorder {
    /// Opens the archive and its index (own tables `recordings`, `recording_plans`, `recording_jobs` in the pool's database) and
    /// starts the writer threads. Nothing is recorded before [`Recorder::resume`] or [`Recorder::start`]; call
    /// [`Recorder::recover`] first.
    pub async fn open(hub: Hub, pool: SqlitePool, settings: Settings) -> Result<Recorder, RecorderError> {
        std::fs::create_dir_all(&settings.archive)?;
        let store = Store::open(pool).await?;
        let (events_tx, events_rx) = mpsc::channel(8192);
        let (disk_tx, disk) = watch::channel(None);
        let writers = Pool::start(&settings, events_tx)?;
        let tools = Tools { hub, pool: writers, segment: settings.segment, queue_bytes: settings.queue_bytes, disk };
        let recorder = Recorder(Arc::new(Shared {
            settings,
            store,
            tools,
            jobs: Mutex::default(),
            hushed: Mutex::default(),
            events: broadcast::Sender::new(1024),
            scans: Scans::default(),
            keys: AtomicU64::new(1),
            plans_changed: tokio::sync::Notify::new(),
            background: Mutex::default(),
        }));
        let weak = Arc::downgrade(&recorder.0);
        let tasks =
            [tokio::spawn(keeper::index(weak.clone(), events_rx)), tokio::spawn(keeper::watch_disk(weak, disk_tx))];
        recorder.background().extend(tasks);
        Ok(recorder)
    }

    /// Goes on with the jobs by hand of before, follows the plans and deletes what is too old. Once, at start.
    pub async fn resume(&self) -> Result<(), RecorderError> {
        for (id, stream, name, since_ms) in self.0.store.jobs().await? {
            self.launch(JobOrder {
                key: self.0.keys.fetch_add(1, Ordering::Relaxed),
                id: JobId(id),
                stream: StreamId::new(stream),
                name,
                cause: Cause::Hand,
                plan: None,
                keep_days: self.0.settings.hand_keep_days,
                since_ms,
            })?;
        }
        let weak = Arc::downgrade(&self.0);
        let tasks = [tokio::spawn(keeper::follow_plans(weak.clone())), tokio::spawn(keeper::retain(weak))];
        self.background().extend(tasks);
        Ok(())
    }

    fn background(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.0.background.lock().unwrap_or_else(|p| p.into_inner())
    }

    pub(crate) fn running(&self) -> MutexGuard<'_, HashMap<JobId, Running>> {
        self.0.jobs.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Changes of jobs and recordings. One that falls behind is told so and reads anew.
    pub fn events(&self) -> broadcast::Receiver<RecorderEvent> {
        self.0.events.subscribe()
    }

    /// Starts to record a stream, which need not be live yet. A stream that is recorded by hand already keeps its job.
    pub async fn start(&self, stream: StreamId, cause: Cause, name: &str) -> Result<JobId, RecorderError> {
        if stream.as_str().is_empty() || stream.as_str().len() > 300 {
            return Err(RecorderError::Invalid("a recording needs a stream".into()));
        }
        let running = self
            .running()
            .values()
            .find(|r| r.shared.order.stream == stream && r.shared.order.cause == cause && r.shared.order.plan.is_none())
            .map(|r| r.shared.order.id.clone());
        if let Some(id) = running {
            return Ok(id);
        }
        let since_ms = Timestamp::now().as_millisecond();
        let id = JobId(uuid::Uuid::now_v7().simple().to_string());
        let keep_days = if cause == Cause::Hand { self.0.settings.hand_keep_days } else { 0 };
        let order = JobOrder {
            key: self.0.keys.fetch_add(1, Ordering::Relaxed),
            id: id.clone(),
            stream,
            name: name.chars().take(200).collect(),
            cause,
            plan: None,
            keep_days,
            since_ms,
        };
        let (stream, name) = (order.stream.clone(), order.name.clone());
        self.launch(order)?;
        if cause == Cause::Hand
            && let Err(error) = self.0.store.put_job(&id.0, stream.as_str(), &name, since_ms).await
        {
            self.halt(&id).await;
            return Err(error.into());
        }
        Ok(id)
    }

    /// Starts the job of a plan, if it does not run.
    pub(crate) fn start_plan(&self, plan: &Plan) -> Result<(), RecorderError> {
        if self.job_of_plan(&plan.id).is_some() {
            return Ok(());
        }
        self.launch(JobOrder {
            key: self.0.keys.fetch_add(1, Ordering::Relaxed),
            id: JobId(uuid::Uuid::now_v7().simple().to_string()),
            stream: StreamId::new(&plan.stream),
            name: plan.name.clone(),
            cause: Cause::Plan,
            plan: Some(plan.id.clone()),
            keep_days: plan.keep_days,
            since_ms: Timestamp::now().as_millisecond(),
        })
    }

    /// The job of a plan.
    pub(crate) fn job_of_plan(&self, plan: &str) -> Option<Arc<JobShared>> {
        let jobs = self.running();
        let found = jobs.values().find(|r| r.shared.order.plan.as_deref() == Some(plan));
        found.map(|r| r.shared.clone())
    }

    fn launch(&self, order: JobOrder) -> Result<(), RecorderError> {
        let mut jobs = self.running();
        if jobs.len() >= self.0.settings.max_jobs {
            return Err(RecorderError::TooManyJobs(self.0.settings.max_jobs));
        }
        let id = order.id.clone();
        let (shared, control) = JobShared::new(order, self.0.events.clone());
        let (stop, stopped) = watch::channel(false);
        let runner = Runner { shared: shared.clone(), tools: self.0.tools.clone(), stop: stopped, control };
        shared.announce();
        jobs.insert(id, Running { shared, stop, task: tokio::spawn(runner.run()) });
        Ok(())
    }

    /// Ends a job; its file is finished when this returns. A plan's job stays ended until the plan's next window.
    pub async fn stop(&self, job: &JobId) -> Result<(), RecorderError> {
        let plan = match self.running().get(job) {
            Some(running) => running.shared.order.plan.clone(),
            None => return Err(RecorderError::NotFound),
        };
        if let Some(plan) = plan {
            self.0.hushed.lock().unwrap_or_else(|p| p.into_inner()).insert(plan);
        }
        self.halt(job).await;
        self.0.store.delete_job(&job.0).await?;
        Ok(())
    }

    /// Ends a job without forgetting that it was ordered.
    pub(crate) async fn halt(&self, job: &JobId) {
        let Some(running) = self.running().remove(job) else { return };
        running.stop.send_replace(true);
        if let Err(error) = running.task.await {
            tracing::error!(%error, job = %job, "a recording job broke");
        }
        // Nobody listening is no fault.
        let _ = self.0.events.send(RecorderEvent::JobEnded(job.clone()));
    }

    /// Ends all jobs and finishes their files; the jobs by hand go on at the next start.
    pub async fn shutdown(&self) {
        for task in self.background().drain(..).skip(1) {
            task.abort();
        }
        let ids: Vec<JobId> = self.running().keys().cloned().collect();
        let stops: Vec<_> = ids
            .into_iter()
            .map(|id| {
                let this = self.clone();
                tokio::spawn(async move { this.halt(&id).await })
            })
            .collect();
        for stop in stops {
            // A job that broke said so itself.
            let _ = stop.await;
        }
        // The keeper writes what the writers told last.
        for _ in 0..100 {
            if self.0.store.unfinished().await.map_or(true, |rows| rows.is_empty()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What is being recorded now, oldest first.
    pub fn jobs(&self) -> Vec<Job> {
        let mut jobs: Vec<Job> = self.running().values().map(|r| r.shared.job()).collect();
        jobs.sort_by(|a, b| (&a.since, &a.id).cmp(&(&b.since, &b.id)));
        jobs
    }

    pub fn job(&self, id: &JobId) -> Option<Job> {
        self.running().get(id).map(|r| r.shared.job())
    }

    pub(crate) fn by_key(&self, key: u64) -> Option<Arc<JobShared>> {
        self.running().values().find(|r| r.shared.order.key == key).map(|r| r.shared.clone())
    }

    /// The recording of a row; one that grows takes its figures from memory.
    pub(crate) fn live(&self, row: &Row) -> Recording {
        let mut recording = row.recording();
        if row.state == RecordingState::Recording {
            let id = RecordingId(row.id.clone());
            let growing =
                self.running().values().find(|r| r.shared.recording().as_ref() == Some(&id)).map(|r| r.shared.clone());
            if let Some(shared) = growing {
                let ms = shared.counters.file_ms.load(Ordering::Relaxed);
                recording.bytes = shared.counters.file_bytes.load(Ordering::Relaxed);
                recording.frames = shared.counters.file_frames.load(Ordering::Relaxed);
                recording.duration_s = ms as f64 / 1000.0;
                recording.to_ms = recording.from_ms + ms as i64;
                recording.to = crate::types::rfc3339(recording.to_ms);
            }
        }
        recording
    }

    pub(crate) fn new_key(&self) -> u64 {
        self.0.keys.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn writers(&self) -> &Pool {
        &self.0.tools.pool
    }

    pub(crate) fn queue_bytes(&self) -> usize {
        self.0.tools.queue_bytes
    }

    /// Why nothing can be written now.
    pub(crate) fn disk_fault(&self) -> Option<media_hub::Fault> {
        self.0.tools.disk.borrow().clone()
    }

    /// All plans.
    pub async fn plans(&self) -> Result<Vec<Plan>, RecorderError> {
        self.0.store.plans().await
    }

    /// Makes a plan (empty id) or changes one; gives it with its id. Recordings made by it take its keep.
    pub async fn put_plan(&self, mut plan: Plan) -> Result<Plan, RecorderError> {
        plan.validate()?;
        if plan.id.is_empty() {
            plan.id = uuid::Uuid::now_v7().simple().to_string();
        } else if !self.0.store.plans().await?.iter().any(|p| p.id == plan.id) {
            return Err(RecorderError::NotFound);
        }
        self.0.store.put_plan(&plan).await?;
        self.0.hushed.lock().unwrap_or_else(|p| p.into_inner()).remove(&plan.id);
        self.0.plans_changed.notify_one();
        Ok(plan)
    }

    /// Forgets a plan and ends its job; its recordings stay for their keep.
    pub async fn delete_plan(&self, id: &str) -> Result<(), RecorderError> {
        if !self.0.store.delete_plan(id).await? {
            return Err(RecorderError::NotFound);
        }
        if let Some(job) = self.job_of_plan(id) {
            self.halt(&job.order.id).await;
        }
        Ok(())
    }
}
