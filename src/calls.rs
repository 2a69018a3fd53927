//! The books of calls: records that bridges hand over are written behind their back, in batches, and kept as long as the
//! settings say. A database that refuses is asked again; what the bounded queues cannot hold is counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bridge_core::{CallLog, CallRecord, LiveCall, Timestamp};
use serde_json::json;
use tokio::sync::mpsc;

use crate::api::Shared;
use crate::app::App;
use crate::events::Severity;
use crate::store::CallRow;

/// Records in one transaction.
const BATCH: usize = 500;
/// How long a record waits for others that end at the same time.
const GATHER: Duration = Duration::from_millis(100);
/// Changes of calls within this time are told once.
const COALESCE: Duration = Duration::from_millis(100);
/// Pause after the database refused.
const RETRY: Duration = Duration::from_secs(2);
/// How long the last calls may take to come at the stop.
const LAST_RECORDS: Duration = Duration::from_millis(2500);

/// What became of records since the start.
#[derive(Default)]
pub struct Books {
    written: AtomicU64,
    unwritten: AtomicU64,
}

impl Books {
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Records that the database did not take before the gateway stopped.
    pub fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Relaxed)
    }
}

fn logs(app: &App) -> impl Iterator<Item = &CallLog> {
    app.bridges.iter().filter_map(|b| b.calls())
}

/// All calls that run, the oldest first.
pub fn live(app: &App) -> Vec<LiveCall> {
    let mut all: Vec<LiveCall> = logs(app).flat_map(CallLog::live).collect();
    all.sort_by(|a, b| (a.began, &a.id).cmp(&(b.began, &b.id)));
    all
}

/// Ends a call; false when it does not run.
pub fn hang_up(app: &App, id: &str) -> bool {
    logs(app).any(|log| log.hang_up(id))
}

/// Records that were given up because the database was too slow.
pub fn lost(app: &App) -> u64 {
    logs(app).map(CallLog::lost).sum()
}

/// Writes what the bridges hand over until the gateway stops.
pub async fn run(app: Shared) {
    let queues: Vec<_> = logs(&app).filter_map(CallLog::take_records).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for queue in queues {
        tasks.spawn(write(app.clone(), queue));
    }
    tasks.join_all().await;
}

async fn write(app: Shared, mut queue: mpsc::Receiver<CallRecord>) {
    let mut batch: Vec<CallRecord> = Vec::with_capacity(BATCH);
    let mut told = false;
    let mut stopping = false;
    loop {
        if stopping {
            // The calls that are being ended hand in their records now.
            let more = tokio::time::timeout(LAST_RECORDS, queue.recv_many(&mut batch, BATCH)).await;
            if more.unwrap_or(0) == 0 {
                return;
            }
        } else {
            tokio::select! {
                taken = queue.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return;
                    }
                }
                () = app.shutdown.cancelled() => {
                    stopping = true;
                    continue;
                }
            }
            // In a busy hour a transaction is for many calls.
            tokio::time::sleep(GATHER).await;
            batch.extend(std::iter::from_fn(|| queue.try_recv().ok()).take(BATCH.saturating_sub(batch.len())));
        }
        let rows: Vec<CallRow> = batch.drain(..).map(CallRow::of).collect();
        while let Err(error) = app.store.save_calls(&rows).await {
            tracing::error!(calls = rows.len(), %error, "records of calls could not be written; tried again");
            if !told {
                let (zh, en) = (
                    "通话记录无法写入数据库，正在重试",
                    "Call records cannot be written to the database; it is tried again",
                );
                app.events.notice(Severity::Alarm, zh, en, "");
            }
            told = true;
            if app.shutdown.is_cancelled() {
                give_up(&app, &rows, &mut queue);
                return;
            }
            tokio::time::sleep(RETRY).await;
        }
        told = false;
        for row in rows.iter().filter(|_| app.events.heard()) {
            app.events.tell("call", json!({ "call": row }));
        }
        app.books.written.fetch_add(rows.len() as u64, Ordering::Relaxed);
    }
}

/// Tells the consoles that calls began, changed or ended; what they are is read from the API.
pub async fn tell(app: Shared) {
    let mut tasks = tokio::task::JoinSet::new();
    for log in logs(&app) {
        let (app, mut changes) = (app.clone(), log.changes());
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = app.shutdown.cancelled() => return,
                }
                if app.events.heard() {
                    app.events.tell("calls", json!({ "live": logs(&app).map(|l| l.live().len()).sum::<usize>() }));
                }
                tokio::time::sleep(COALESCE).await;
            }
        });
    }
    tasks.join_all().await;
}

/// The gateway stops and the database takes nothing: what is in hand and in the queue goes to the log, one line each, so that it
/// can be put in by hand.
fn give_up(app: &App, rows: &[CallRow], queue: &mut mpsc::Receiver<CallRecord>) {
    let waiting: Vec<CallRow> = std::iter::from_fn(|| queue.try_recv().ok()).map(CallRow::of).collect();
    let all = rows.iter().chain(&waiting);
    for row in all.clone() {
        let record = serde_json::to_string(row).unwrap_or_default();
        tracing::error!(record, "a record of a call is lost to the database");
    }
    let count = all.count() as u64;
    app.books.unwritten.fetch_add(count, Ordering::Relaxed);
    tracing::error!(calls = count, "records of calls could not be written before the stop");
}

/// Deletes what is older, or more, than the settings say, once an hour.
pub async fn forget_old(app: Shared) {
    let mut hour = tokio::time::interval(Duration::from_secs(3600));
    loop {
        tokio::select! {
            _ = hour.tick() => {}
            () = app.shutdown.cancelled() => return,
        }
        let keep = &app.settings.calls;
        let before = match keep.keep_days {
            0 => i64::MIN,
            days => Timestamp::now().0 - i64::from(days) * 86_400_000,
        };
        loop {
            match app.store.forget_calls(before, i64::from(keep.max_rows)).await {
                Ok(0) => break,
                Ok(rows) => tracing::info!(rows, "old records of calls deleted"),
                Err(error) => {
                    tracing::error!(%error, "old records of calls could not be deleted");
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
