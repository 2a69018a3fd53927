//! The alarm desk: what bridges report is told to every console at once and written down behind that, in batches. An alarm that
//! repeats within a short time is one line with a count. Nothing is lost without a word: what the queue or the disk refuse is
//! counted and told.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use bridge_core::{AlarmReport, Glimpse, Registry};
use serde_json::json;
use tokio::sync::mpsc;

use crate::api::Shared;
use crate::events::{Events, Severity};
use crate::store::{AlarmRow, Store};

/// Alarms told but not yet written. Beyond it the oldest are given up, counted and told.
const UNSAVED: usize = 20_000;
/// Alarms whose repeats are looked for.
const OPEN: usize = 10_000;
/// Pause after the database refused.
const RETRY: Duration = Duration::from_secs(2);

/// What a repeat is compared by.
type Key = (String, String, String);

/// Alarms between the consoles and the disk.
#[derive(Default)]
pub struct AlarmDesk {
    unsaved: Mutex<HashMap<String, AlarmRow>>,
    lost: std::sync::atomic::AtomicU64,
}

impl AlarmDesk {
    fn unsaved(&self) -> std::sync::MutexGuard<'_, HashMap<String, AlarmRow>> {
        self.unsaved.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Alarms that are told and wait for the disk.
    pub fn waiting(&self) -> usize {
        self.unsaved().len()
    }

    /// Alarms that were told but could not be written.
    pub fn unwritten(&self) -> u64 {
        self.lost.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Whether an alarm is known but not written yet.
    pub fn is_waiting(&self, id: &str) -> bool {
        self.unsaved().contains_key(id)
    }
}

/// Merges repeats; no clock of its own.
#[derive(Default)]
struct Merging {
    last: HashMap<Key, AlarmRow>,
}

impl Merging {
    /// The row of this report: a new one, or the earlier one with its count raised.
    fn row(&mut self, report: &AlarmReport, name: String, within_ms: i64) -> AlarmRow {
        let now = report.received.0;
        let key = (report.device.0.clone(), report.source.clone(), report.kind.clone());
        if let Some(old) = self.last.get_mut(&key)
            && now - old.last_at < within_ms
            && old.severity <= i64::from(report.severity)
        {
            old.last_at = now;
            old.count += 1;
            return old.clone();
        }
        if self.last.len() >= OPEN {
            self.last.retain(|_, row| now - row.last_at < within_ms);
            if self.last.len() >= OPEN {
                self.last.clear();
            }
        }
        let row = AlarmRow {
            id: uuid::Uuid::now_v7().to_string(),
            at: now,
            last_at: now,
            count: 1,
            device_at: report.device_time.map(|t| t.0),
            device: report.device.0.clone(),
            channel: report.channel.as_ref().map(|c| c.0.clone()),
            source: report.source.clone(),
            name,
            severity: i64::from(report.severity),
            kind: report.kind.clone(),
            zh: report.words.zh.clone(),
            en: report.words.en.clone(),
            description: report.description.clone(),
            longitude: report.place.map(|p| p.longitude),
            latitude: report.place.map(|p| p.latitude),
            wants_reset: report.wants_reset,
            acknowledged_at: None,
            acknowledged_by: None,
            note: None,
            reset_at: None,
            reset_by: None,
        };
        self.last.insert(key, row.clone());
        row
    }

    /// Somebody has seen it: what comes now is news.
    fn acknowledged(&mut self, id: &str) {
        self.last.retain(|_, row| row.id != id);
    }
}

/// How a report is called on the list.
fn name(registry: &Registry, report: &AlarmReport) -> String {
    let channel = report.channel.as_ref().and_then(|id| registry.channel(id)).map(|(_, c)| c.name);
    let device = || registry.get(&report.device).map(|d| d.shown_name().to_owned());
    channel.filter(|n| !n.is_empty()).or_else(device).unwrap_or_else(|| report.device.name().to_owned())
}

/// Runs the desk until the bridges are gone.
pub async fn run(
    app: Shared,
    mut alarms: mpsc::Receiver<AlarmReport>,
    mut glimpses: mpsc::Receiver<Glimpse>,
    mut acknowledged: mpsc::Receiver<String>,
) {
    let (rows, queue) = mpsc::channel::<()>(1);
    let writer = tokio::spawn(write(app.clone(), queue));
    let mut merging = Merging::default();
    let within_ms = i64::from(app.settings.alarms.merge_seconds) * 1000;
    let mut lost_before = 0;
    loop {
        tokio::select! {
            report = alarms.recv() => {
                let Some(report) = report else { break };
                let row = merging.row(&report, name(&app.registry, &report), within_ms);
                tell(&app.events, &row);
                keep(&app, row);
                // Full: the writer has work and will see this one as well.
                let _ = rows.try_send(());
            }
            glimpse = glimpses.recv() => {
                if let Some(glimpse) = glimpse {
                    crate::tracks::tell_glimpse(&app, glimpse);
                }
            }
            Some(id) = acknowledged.recv() => merging.acknowledged(&id),
            () = app.shutdown.cancelled() => break,
        }
        let lost = app.reports.counts().alarms_lost;
        if lost > lost_before {
            let count = lost - lost_before;
            lost_before = lost;
            let (zh, en) =
                (format!("报警过多，{count} 条未能接收"), format!("Too many alarms at once: {count} were not taken"));
            app.events.notice(Severity::Alarm, &zh, &en, "");
        }
    }
    // What was told is written before the end.
    drop(rows);
    let _ = tokio::time::timeout(Duration::from_secs(2), writer).await;
}

fn tell(events: &Events, row: &AlarmRow) {
    events.tell("alarm", json!({ "alarm": row }));
}

fn keep(app: &Shared, row: AlarmRow) {
    let mut unsaved = app.alarms.unsaved();
    if unsaved.len() >= UNSAVED
        && !unsaved.contains_key(&row.id)
        && let Some(oldest) = unsaved.keys().min().cloned()
    {
        unsaved.remove(&oldest);
        app.alarms.lost.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    unsaved.insert(row.id.clone(), row);
}

async fn write(app: Shared, mut queue: mpsc::Receiver<()>) {
    let mut failing = false;
    loop {
        let going = queue.recv().await.is_some();
        loop {
            let batch: Vec<AlarmRow> = app.alarms.unsaved().values().take(500).cloned().collect();
            if batch.is_empty() {
                break;
            }
            if let Err(error) = app.store.save_alarms(&batch).await {
                tracing::error!(alarms = batch.len(), %error, "alarms could not be written; tried again");
                if !failing {
                    let (zh, en) =
                        ("报警无法写入数据库，正在重试", "Alarms cannot be written to the database; it is tried again");
                    app.events.notice(Severity::Alarm, zh, en, "");
                }
                failing = true;
                if !going {
                    return;
                }
                tokio::time::sleep(RETRY).await;
                continue;
            }
            failing = false;
            let mut unsaved = app.alarms.unsaved();
            for row in &batch {
                // One that was repeated meanwhile is written once more.
                if unsaved.get(&row.id).is_some_and(|now| now.count == row.count) {
                    unsaved.remove(&row.id);
                }
            }
        }
        if !going {
            return;
        }
    }
}

/// Deletes what is older than the settings say, once an hour.
pub async fn forget_old(app: Shared) {
    let mut hour = tokio::time::interval(Duration::from_secs(3600));
    loop {
        tokio::select! {
            _ = hour.tick() => {}
            () = app.shutdown.cancelled() => return,
        }
        let now = bridge_core::Timestamp::now().0;
        let before = |days: u32| now - i64::from(days) * 86_400_000;
        if app.settings.alarms.keep_days > 0 {
            until_none(|| app.store.forget_alarms(before(app.settings.alarms.keep_days)), "alarms").await;
        }
        if app.settings.tracks.keep_days > 0 {
            until_none(|| app.store.forget_positions(before(app.settings.tracks.keep_days)), "positions").await;
        }
        app.reports.forget(bridge_core::Timestamp(now - 86_400_000));
    }
}

async fn until_none<F: Future<Output = Result<u64, crate::store::StoreError>>>(delete: impl Fn() -> F, what: &str) {
    loop {
        match delete().await {
            Ok(0) => return,
            Ok(rows) => tracing::info!(rows, what, "old rows deleted"),
            Err(error) => {
                tracing::error!(%error, what, "old rows could not be deleted");
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until an alarm that was just told is on disk; it takes a few milliseconds.
pub async fn written(store: &Store, desk: &AlarmDesk, id: &str) -> Result<Option<AlarmRow>, crate::store::StoreError> {
    for _ in 0..40 {
        let found = store.alarm(id).await?;
        if found.is_some() || !desk.is_waiting(id) {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    store.alarm(id).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::AlarmFilter;
    use bridge_core::{DeviceId, Timestamp};

    fn report(kind: &str, severity: u8, at: i64) -> AlarmReport {
        AlarmReport {
            device: DeviceId::new("gb28181", "34020000001320000001"),
            channel: None,
            source: "34020000001320000001".into(),
            severity,
            kind: kind.into(),
            words: media_hub::Text::new("运动", "Motion"),
            description: String::new(),
            place: None,
            device_time: None,
            received: Timestamp(at),
            wants_reset: false,
        }
    }

    #[test]
    fn a_repeat_is_a_count_and_a_graver_one_is_news() {
        let mut m = Merging::default();
        let mut row = |kind: &str, severity, at| m.row(&report(kind, severity, at), "Gate".into(), 10_000);
        let first = row("video.motion", 2, 0);
        let again = row("video.motion", 2, 9_000);
        assert_eq!((again.id.as_str(), again.count, again.last_at, again.at), (first.id.as_str(), 2, 9_000, 0));
        assert_ne!(row("video.tripwire", 2, 9_000).id, first.id);
        let graver = row("video.motion", 1, 9_500);
        assert_ne!(graver.id, first.id);
        assert_eq!(row("video.motion", 3, 10_000).id, graver.id);
        assert_ne!(row("video.motion", 1, 30_000).id, graver.id);
        m.acknowledged(&graver.id);
        for n in 0..3 * OPEN {
            let mut other = report("x", 2, 0);
            other.source = n.to_string();
            m.row(&other, String::new(), 10_000);
        }
        assert!(m.last.len() <= OPEN);
    }

    #[tokio::test]
    async fn written_listed_acknowledged_reset_and_forgotten() {
        let dir = crate::testing::TempDir::new();
        let store = Store::open(&dir.path().join("a.db")).await.unwrap();
        let mut m = Merging::default();
        let mut rows = Vec::new();
        for n in 0..30 {
            let mut r =
                report(if n % 2 == 0 { "video.motion" } else { "device.tamper" }, (n % 4 + 1) as u8, n * 60_000);
            r.wants_reset = n == 0;
            rows.push(m.row(&r, format!("Gate {n}"), 10_000));
        }
        store.save_alarms(&rows).await.unwrap();
        let mut again = rows[0].clone();
        (again.count, again.last_at) = (7, 99);
        store.save_alarms(&[again]).await.unwrap();
        assert_eq!(store.alarm(&rows[0].id).await.unwrap().unwrap().count, 7);
        let list = |filter: AlarmFilter| {
            let store = store.clone();
            async move { store.alarms(&filter).await.unwrap() }
        };
        let all = AlarmFilter { limit: 10, ..Default::default() };
        let (total, page) = list(all.clone()).await;
        assert_eq!((total, page.len(), page[0].name.as_str()), (30, 10, "Gate 29"));
        assert_eq!(list(AlarmFilter { kind: Some("video".into()), ..all.clone() }).await.0, 15);
        assert_eq!(list(AlarmFilter { kind: Some("vid".into()), ..all.clone() }).await.0, 0);
        assert_eq!(list(AlarmFilter { severity: Some(1), ..all.clone() }).await.0, 8);
        assert_eq!(list(AlarmFilter { from: Some(60_000), to: Some(120_000), ..all.clone() }).await.0, 2);
        assert_eq!(list(AlarmFilter { device: Some("gb28181:1".into()), ..all.clone() }).await.0, 0);
        assert!(store.acknowledge_alarm(&rows[0].id, 5, "ann", "seen").await.unwrap());
        assert!(!store.acknowledge_alarm(&rows[0].id, 6, "bob", "").await.unwrap(), "the first word counts");
        assert_eq!(list(AlarmFilter { open: true, ..all.clone() }).await.0, 29);
        store.note_reset(&rows[1], 7, "ann").await.unwrap();
        assert_eq!(store.alarm(&rows[0].id).await.unwrap().unwrap().reset_by.as_deref(), Some("ann"));
        assert_eq!(store.alarm(&rows[2].id).await.unwrap().unwrap().reset_at, None);
        assert_eq!(store.forget_alarms(10 * 60_000).await.unwrap(), 10);
        assert_eq!(list(all).await.0, 20);
        store.close().await;
    }
}
