//! The audit log's writer: callers never wait for the disk; a lost row is told loudly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::store::{AuditRow, Store};

const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
/// Rows that may wait for the disk.
const QUEUE: usize = 8192;

/// Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    rows: mpsc::Sender<AuditRow>,
    lost: Arc<AtomicU64>,
}

impl Audit {
    /// Rows older than `keep_days` are deleted once a day; 0 keeps them for ever.
    pub fn start(store: Store, keep_days: u32) -> (Self, tokio::task::JoinHandle<()>) {
        let (rows, queue) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(write(store, queue, keep_days, lost.clone()));
        (Audit { rows, lost }, task)
    }

    /// Notes an order or a view.
    pub fn note(&self, account: &str, address: &str, verb: &str, object: &str, detail: &str, outcome: &str) {
        let row = AuditRow {
            at: jiff::Timestamp::now().as_millisecond(),
            account: account.to_owned(),
            address: address.to_owned(),
            verb: verb.to_owned(),
            object: object.chars().take(500).collect(),
            detail: detail.chars().take(500).collect(),
            outcome: outcome.to_owned(),
        };
        if self.rows.try_send(row).is_err() {
            // The writer tells how many, once a batch.
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn write(store: Store, mut queue: mpsc::Receiver<AuditRow>, keep_days: u32, lost: Arc<AtomicU64>) {
    let mut batch = Vec::new();
    let mut day = tokio::time::interval(DAY);
    loop {
        let taken = tokio::select! {
            taken = queue.recv_many(&mut batch, 256) => taken,
            _ = day.tick(), if keep_days > 0 => {
                let before = jiff::Timestamp::now().as_millisecond() - i64::from(keep_days) * 86_400_000;
                match store.forget_audit(before).await {
                    Ok(0) => {}
                    Ok(rows) => tracing::info!(rows, keep_days, "old audit rows deleted"),
                    Err(error) => tracing::error!(%error, "old audit rows could not be deleted"),
                }
                continue;
            }
        };
        if taken == 0 {
            return;
        }
        let gone = lost.swap(0, Ordering::Relaxed);
        if gone > 0 {
            tracing::error!(rows = gone, "audit rows lost: the queue was full");
        }
        if let Err(error) = store.add_audit(&batch).await {
            tracing::error!(rows = batch.len(), %error, "audit rows lost: the database refused them");
        }
        batch.clear();
    }
}
