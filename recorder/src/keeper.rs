//! Background tasks: the index, the disk's room, the plans, retention.

use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;
use media_hub::Fault;
use tokio::sync::{mpsc, watch};

use crate::mp4::finish::Summary;
use crate::recorder::{Recorder, Shared};
use crate::retention;
use crate::store::Row;
use crate::types::{RecorderEvent, RecordingId, RecordingState, disk_full};
use crate::writer::{Begun, WriterEvent};

/// Plans are looked at this often at least, since the wall clock may be set.
const LOOK: Duration = Duration::from_secs(5);
const RETAIN_EVERY: Duration = Duration::from_secs(60);

/// Writes what the writers tell into the index.
pub(crate) async fn index(shared: Weak<Shared>, mut events: mpsc::Receiver<WriterEvent>) {
    while let Some(event) = events.recv().await {
        let Some(shared) = shared.upgrade() else { return };
        let recorder = Recorder(shared);
        match event {
            WriterEvent::Begun(begun) => began(&recorder, *begun).await,
            WriterEvent::Finished { job, id, summary } => finished(&recorder, job, id, summary).await,
            WriterEvent::Failed { job, fault } => {
                if let Some(job) = recorder.by_key(job) {
                    // Full means that it was told already.
                    let _ = job.control.try_send(fault);
                }
            }
        }
    }
}

async fn began(recorder: &Recorder, begun: Begun) {
    let summary = Summary { has_video: begun.has_video, has_audio: begun.has_audio, ..Summary::default() };
    let row = Row::of(&begun.meta, &begun.path, &summary, RecordingState::Recording);
    if let Err(error) = recorder.0.store.put(&row).await {
        tracing::error!(%error, path = row.path, "cannot note a recording in the index");
    }
    if let Some(job) = recorder.by_key(begun.job) {
        job.set_recording(Some(RecordingId(row.id.clone())));
    }
    // Nobody listening is no fault.
    let _ = recorder.0.events.send(RecorderEvent::RecordingChanged(recorder.live(&row)));
}

async fn finished(recorder: &Recorder, job: u64, id: uuid::Uuid, summary: Option<Summary>) {
    let id = id.simple().to_string();
    let store = &recorder.0.store;
    let result = async {
        let Some(summary) = summary else {
            store.delete(&id).await?;
            return Ok(None);
        };
        let Some(mut row) = store.get(&id).await? else { return Ok(None) };
        row.ended_ms = row.started_ms + summary.duration_ms as i64;
        row.bytes = summary.bytes;
        row.frames = summary.frames;
        row.crc = summary.crc;
        row.state = RecordingState::Whole;
        store.put(&row).await?;
        Ok::<_, sqlx::Error>(Some(row))
    };
    let event = match result.await {
        Ok(Some(row)) => RecorderEvent::RecordingChanged(row.recording()),
        Ok(None) => RecorderEvent::RecordingRemoved(RecordingId(id.clone())),
        Err(error) => {
            tracing::error!(%error, id, "cannot note the end of a recording in the index; the next start will");
            return;
        }
    };
    if let Some(job) = recorder.by_key(job)
        && job.recording() == Some(RecordingId(id))
    {
        job.set_recording(None);
    }
    let _ = recorder.0.events.send(event);
}

/// Looks at the free space: too little stops all jobs, some more lets them go on.
pub(crate) async fn watch_disk(shared: Weak<Shared>, full: watch::Sender<Option<Fault>>) {
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let (look, archive) = (shared.settings.free_space.clone(), shared.settings.archive.clone());
        let (interval, limit) = (shared.settings.disk_interval, shared.settings.min_free_bytes);
        drop(shared);
        match tokio::task::spawn_blocking(move || look(&archive)).await {
            Ok(Ok(free)) => {
                let was = full.borrow().is_some();
                if free < limit && !was {
                    tracing::error!(free, limit, "the disk is full; recording stops");
                    full.send_replace(Some(disk_full()));
                } else if was && free >= limit.saturating_add(limit / 20) {
                    tracing::info!(free, "the disk has room again; recording goes on");
                    full.send_replace(None);
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "the free space of the archive cannot be read"),
            Err(_) => return,
        }
        tokio::time::sleep(interval).await;
    }
}

/// Starts and ends the jobs of plans.
pub(crate) async fn follow_plans(shared: Weak<Shared>) {
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let recorder = Recorder(strong);
        let wait = match plans_once(&recorder).await {
            Ok(wait) => wait.min(LOOK),
            Err(error) => {
                tracing::error!(%error, "cannot follow the recording plans");
                LOOK
            }
        };
        let strong: Arc<Shared> = recorder.0;
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = strong.plans_changed.notified() => {}
        }
    }
}

async fn plans_once(recorder: &Recorder) -> Result<Duration, crate::RecorderError> {
    let now = Timestamp::now();
    let zone = &recorder.0.settings.time_zone;
    let mut wait = LOOK;
    for plan in recorder.0.store.plans().await? {
        let (active, next) = plan.at(now, zone);
        if let Some(next) = next {
            let until = Duration::try_from(next.duration_since(now)).unwrap_or_default();
            wait = wait.min(until + Duration::from_millis(1));
        }
        let hushed = {
            let mut hushed = recorder.0.hushed.lock().unwrap_or_else(|p| p.into_inner());
            if !active {
                hushed.remove(&plan.id);
            }
            hushed.contains(&plan.id)
        };
        let running = recorder.job_of_plan(&plan.id);
        // The files of a job say stream, name and keep as they were when it began: a changed plan begins another.
        if let Some(order) = running.as_ref().map(|job| &job.order)
            && (!active
                || order.stream.as_str() != plan.stream
                || order.name != plan.name
                || order.keep_days != plan.keep_days)
        {
            recorder.halt(&order.id).await;
        }
        if active
            && !hushed
            && let Err(error) = recorder.start_plan(&plan)
        {
            tracing::error!(%error, plan = plan.id, "cannot start the recording of a plan");
        }
    }
    Ok(wait)
}

/// Deletes what is older than its keep, or too much.
pub(crate) async fn retain(shared: Weak<Shared>) {
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let recorder = Recorder(strong);
        if let Err(error) = retention::once(&recorder, Timestamp::now().as_millisecond()).await {
            tracing::error!(%error, "cannot delete old recordings");
        }
        drop(recorder);
        tokio::time::sleep(RETAIN_EVERY).await;
    }
}
