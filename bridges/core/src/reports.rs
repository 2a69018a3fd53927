//! The door by which bridges tell the hall of alarms, positions and texts. It never waits and never touches a disk: alarms go into a
//! bounded queue, positions into a table in which only the newest of each subject is kept until the hall takes it. What cannot
//! be taken is counted, and the bridge is told so.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use media_hub::Text;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};

use crate::device::{ChannelId, DeviceId, Timestamp};
use crate::texts::TextNews;

/// Alarms that may wait for the hall. Beyond it they are refused and counted.
const ALARMS: usize = 8_192;
/// Glimpses that may wait; a lost one is no harm, the next comes soon.
const GLIMPSES: usize = 1_024;
/// Texts that may wait for the hall. Beyond it they are refused and counted.
const TEXTS: usize = 1_024;
/// Things whose position is followed. Beyond it new ones are refused and counted.
const SUBJECTS: usize = 200_000;

/// A place on earth, WGS-84, in degrees; east and north are positive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub longitude: f64,
    pub latitude: f64,
}

/// An alarm as a bridge understood it.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmReport {
    pub device: DeviceId,
    /// The channel that it is about; none: the device as a whole.
    pub channel: Option<ChannelId>,
    /// The name of the part that raised it, in the device's own world.
    pub source: String,
    /// 1 (gravest) to 4.
    pub severity: u8,
    /// A stable word such as `video.motion`.
    pub kind: String,
    pub words: Text,
    /// What the device wrote; at most 1024 characters.
    pub description: String,
    pub place: Option<Place>,
    /// When the device says that it happened.
    pub device_time: Option<Timestamp>,
    pub received: Timestamp,
    /// The device sends no further one until it is told to reset.
    pub wants_reset: bool,
}

/// Where something is.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionReport {
    /// A channel, or the channel that stands for a device as a whole.
    pub subject: ChannelId,
    pub place: Place,
    pub speed_kmh: Option<f64>,
    /// Degrees from north, clockwise, below 360.
    pub direction: Option<f64>,
    /// Metres above sea level.
    pub altitude: Option<f64>,
    /// Metres above ground.
    pub height: Option<f64>,
    pub device_time: Option<Timestamp>,
    pub received: Timestamp,
}

/// What is told to consoles and not kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Glimpse {
    /// A device asks to be looked at (the button "start upload" of a body camera).
    Wish { device: DeviceId, channel: Option<ChannelId>, place: Option<Place> },
    /// Where a camera looks: degrees, and the factor of its zoom.
    Look { channel: ChannelId, pan: Option<f64>, tilt: Option<f64>, zoom: Option<f64> },
}

/// What came through the door since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportCounts {
    pub alarms: u64,
    /// Alarms refused because the queue was full.
    pub alarms_lost: u64,
    pub positions: u64,
    /// Positions that a newer one of the same subject replaced before the hall took them.
    pub positions_replaced: u64,
    /// Positions of subjects beyond the table.
    pub positions_lost: u64,
    pub glimpses_lost: u64,
    pub texts: u64,
    /// Texts refused because the queue was full.
    pub texts_lost: u64,
}

#[derive(Default)]
struct Counters {
    alarms: AtomicU64,
    alarms_lost: AtomicU64,
    positions: AtomicU64,
    replaced: AtomicU64,
    positions_lost: AtomicU64,
    glimpses_lost: AtomicU64,
    texts: AtomicU64,
    texts_lost: AtomicU64,
}

struct Slot {
    report: Arc<PositionReport>,
    waiting: bool,
}

#[derive(Default)]
struct Positions {
    slots: HashMap<ChannelId, Slot>,
    /// Subjects with news, the one that waits longest first. Never longer than `slots`.
    waiting: VecDeque<ChannelId>,
}

struct Shared {
    alarms: mpsc::Sender<AlarmReport>,
    glimpses: mpsc::Sender<Glimpse>,
    texts: mpsc::Sender<TextNews>,
    positions: Mutex<Positions>,
    moved: Notify,
    counters: Counters,
}

/// The bridges' end. Cheap to clone.
#[derive(Clone)]
pub struct Reports(Arc<Shared>);

/// The hall's end.
pub struct ReportQueues {
    pub alarms: mpsc::Receiver<AlarmReport>,
    pub glimpses: mpsc::Receiver<Glimpse>,
    pub texts: mpsc::Receiver<TextNews>,
}

impl Reports {
    pub fn new() -> (Reports, ReportQueues) {
        let (alarms, alarm_queue) = mpsc::channel(ALARMS);
        let (glimpses, glimpse_queue) = mpsc::channel(GLIMPSES);
        let (texts, text_queue) = mpsc::channel(TEXTS);
        let shared = Shared {
            alarms,
            glimpses,
            texts,
            positions: Mutex::default(),
            moved: Notify::new(),
            counters: Counters::default(),
        };
        (Reports(Arc::new(shared)), ReportQueues { alarms: alarm_queue, glimpses: glimpse_queue, texts: text_queue })
    }

    fn positions(&self) -> MutexGuard<'_, Positions> {
        self.0.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an alarm over; false when the hall cannot take it now: then the device should be told so.
    pub fn alarm(&self, report: AlarmReport) -> bool {
        let counters = &self.0.counters;
        counters.alarms.fetch_add(1, Ordering::Relaxed);
        let taken = self.0.alarms.try_send(report).is_ok();
        if !taken {
            counters.alarms_lost.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    pub fn glimpse(&self, glimpse: Glimpse) -> bool {
        let taken = self.0.glimpses.try_send(glimpse).is_ok();
        if !taken {
            self.0.counters.glimpses_lost.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Hands a text, or news of one, over; false when the hall cannot take it now.
    pub fn text(&self, news: TextNews) -> bool {
        let counters = &self.0.counters;
        counters.texts.fetch_add(1, Ordering::Relaxed);
        let taken = self.0.texts.try_send(news).is_ok();
        if !taken {
            counters.texts_lost.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Notes where something is; false when there is no room for another subject.
    pub fn position(&self, report: PositionReport) -> bool {
        let counters = &self.0.counters;
        counters.positions.fetch_add(1, Ordering::Relaxed);
        let mut table = self.positions();
        let table = &mut *table;
        let full = table.slots.len() >= SUBJECTS;
        match table.slots.get_mut(&report.subject) {
            Some(slot) => {
                if slot.waiting {
                    counters.replaced.fetch_add(1, Ordering::Relaxed);
                } else {
                    slot.waiting = true;
                    table.waiting.push_back(report.subject.clone());
                }
                slot.report = Arc::new(report);
            }
            None if full => {
                counters.positions_lost.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            None => {
                table.waiting.push_back(report.subject.clone());
                table.slots.insert(report.subject.clone(), Slot { report: Arc::new(report), waiting: true });
            }
        }
        self.0.moved.notify_one();
        true
    }

    /// The newest position of something, since the start.
    pub fn last(&self, subject: &ChannelId) -> Option<Arc<PositionReport>> {
        self.positions().slots.get(subject).map(|s| s.report.clone())
    }

    /// Takes news of up to `limit` subjects, those that wait longest first.
    pub fn take(&self, limit: usize) -> Vec<Arc<PositionReport>> {
        let mut table = self.positions();
        let table = &mut *table;
        let count = limit.min(table.waiting.len());
        let mut out = Vec::with_capacity(count);
        for subject in table.waiting.drain(..count) {
            if let Some(slot) = table.slots.get_mut(&subject) {
                slot.waiting = false;
                out.push(slot.report.clone());
            }
        }
        out
    }

    /// Subjects with news that nobody took yet.
    pub fn waiting(&self) -> usize {
        self.positions().waiting.len()
    }

    /// Subjects in the table.
    pub fn subjects(&self) -> usize {
        self.positions().slots.len()
    }

    /// Forgets subjects that were silent since `before` and have no news.
    pub fn forget(&self, before: Timestamp) {
        self.positions().slots.retain(|_, s| s.waiting || s.report.received >= before);
    }

    /// Returns when there is news.
    pub async fn moved(&self) {
        self.0.moved.notified().await;
    }

    pub fn counts(&self) -> ReportCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &self.0.counters;
        ReportCounts {
            alarms: of(&c.alarms),
            alarms_lost: of(&c.alarms_lost),
            positions: of(&c.positions),
            positions_replaced: of(&c.replaced),
            positions_lost: of(&c.positions_lost),
            glimpses_lost: of(&c.glimpses_lost),
            texts: of(&c.texts),
            texts_lost: of(&c.texts_lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: usize, longitude: f64) -> PositionReport {
        PositionReport {
            subject: ChannelId(format!("gb28181:3402000000132{n:07}/3402000000132{n:07}")),
            place: Place { longitude, latitude: 31.0 },
            speed_kmh: None,
            direction: None,
            altitude: None,
            height: None,
            device_time: None,
            received: Timestamp(n as i64),
        }
    }

    fn alarm() -> AlarmReport {
        AlarmReport {
            device: DeviceId::new("test", "1"),
            channel: None,
            source: String::new(),
            severity: 1,
            kind: "test".into(),
            words: Text::new("试", "test"),
            description: String::new(),
            place: None,
            device_time: None,
            received: Timestamp(0),
            wants_reset: false,
        }
    }

    /// 50,000 devices that speak faster than the hall takes: the table stays as large as the devices are many, the newest of
    /// each is there, and none waits behind one that came later.
    #[test]
    fn the_newest_of_each_is_kept_and_the_rest_counted() {
        let (reports, _queues) = Reports::new();
        for round in 0..5 {
            for n in 0..50_000 {
                assert!(reports.position(at(n, f64::from(round))));
            }
        }
        assert_eq!((reports.waiting(), reports.subjects()), (50_000, 50_000));
        assert_eq!(reports.counts().positions_replaced, 200_000);
        let first = reports.take(1000);
        assert_eq!(first.len(), 1000);
        assert!(first.iter().enumerate().all(|(n, r)| r.received.0 == n as i64 && r.place.longitude == 4.0));
        assert!(reports.position(at(0, 9.0)));
        let rest = reports.take(100_000);
        assert_eq!(rest.len(), 49_001);
        assert_eq!(rest.last().map(|r| r.place.longitude), Some(9.0), "behind those that waited longer");
        assert_eq!(reports.waiting(), 0);
        reports.forget(Timestamp(40_000));
        assert_eq!(reports.subjects(), 10_000);
    }

    #[test]
    fn a_full_queue_says_so() {
        let (reports, mut queues) = Reports::new();
        for _ in 0..ALARMS {
            assert!(reports.alarm(alarm()));
        }
        assert!(!reports.alarm(alarm()));
        assert_eq!(reports.counts().alarms_lost, 1);
        assert!(queues.alarms.try_recv().is_ok());
        assert!(reports.alarm(alarm()));
    }
}
