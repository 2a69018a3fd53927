//! What is deleted by itself.

use crate::recorder::Recorder;
use crate::store::Row;
use crate::types::{RecorderError, RecorderEvent, RecordingId};

/// At most so many at once; the rest a minute later.
const BATCH: u32 = 500;

impl Recorder {
    /// Deletes what is older than its keep, then the oldest recordings of plans while the archive is too large. Recordings by
    /// hand go by their own keep only. Runs by itself each minute after [`Recorder::resume`]; gives how many went.
    pub async fn retain(&self, now_ms: i64) -> Result<usize, RecorderError> {
        once(self, now_ms).await
    }

    /// File first, then row: a crash between both leaves a row without file, which the next run removes.
    pub(crate) async fn remove(&self, row: &Row) -> Result<(), RecorderError> {
        let (archive, path) = (self.0.settings.archive.clone(), row.path.clone());
        let done = tokio::task::spawn_blocking(move || crate::disk::remove(&archive, &path)).await;
        done.map_err(std::io::Error::other)??;
        self.0.store.delete(&row.id).await?;
        self.0.scans.forget(&row.id);
        // Nobody listening is no fault.
        let _ = self.0.events.send(RecorderEvent::RecordingRemoved(RecordingId(row.id.clone())));
        Ok(())
    }
}

pub(crate) async fn once(recorder: &Recorder, now_ms: i64) -> Result<usize, RecorderError> {
    let settings = &recorder.0.settings;
    let mut gone = 0;
    for row in recorder.0.store.expired(now_ms, settings.hand_keep_days).await? {
        tracing::info!(id = row.id, stream = row.stream, "a recording is older than its keep and is deleted");
        recorder.remove(&row).await?;
        gone += 1;
    }
    if settings.max_bytes > 0 {
        let mut total = recorder.0.store.total_bytes().await?;
        if total > settings.max_bytes {
            for row in recorder.0.store.oldest_of_plans(BATCH).await? {
                if total <= settings.max_bytes {
                    break;
                }
                tracing::info!(
                    id = row.id,
                    stream = row.stream,
                    "the archive is too large; its oldest recording is deleted"
                );
                recorder.remove(&row).await?;
                total = total.saturating_sub(row.bytes);
                gone += 1;
            }
        }
    }
    Ok(gone)
}
