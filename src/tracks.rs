//! Where things are and were: positions go to the consoles once a second, and the points worth keeping into the tracks. The writer
//! has a budget: with more positions than it may write, each subject waits its turn with its newest one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{Glimpse, PositionReport};
use serde_json::json;

use crate::api::Shared;
use crate::events::Severity;
use crate::settings::Tracks;
use crate::store::PositionRow;

/// How often positions are told and written.
const BEAT: Duration = Duration::from_secs(1);
/// Positions in one event.
const TOLD: usize = 200;
/// Rows of one transaction.
const BATCH: usize = 1_000;
/// Something that stands still has a point this often.
const STANDING_MS: i64 = 300_000;
/// Subjects whose last kept point is remembered.
const REMEMBERED: usize = 200_000;

/// Metres between two places, good to a percent over short ways.
fn metres(a: (f64, f64), b: (f64, f64)) -> f64 {
    const DEGREE: f64 = 111_320.0;
    let east = (b.0 - a.0) * DEGREE * a.1.to_radians().cos();
    let north = (b.1 - a.1) * DEGREE;
    east.hypot(north)
}

/// Decides which points are worth keeping. No clock.
#[derive(Default)]
pub struct Thinning {
    kept: HashMap<String, (i64, f64, f64)>,
}

impl Thinning {
    /// Kept: the first, one that is at least `interval` seconds and `metres` from the last kept one, and one in five minutes of
    /// standing still.
    pub fn keep(&mut self, report: &PositionReport, settings: &Tracks) -> bool {
        let (at, lon, lat) = (report.received.0, report.place.longitude, report.place.latitude);
        if let Some((then, x, y)) = self.kept.get(&report.subject.0) {
            let age = at - then;
            let near = metres((*x, *y), (lon, lat)) < f64::from(settings.metres);
            if age < i64::from(settings.interval) * 1000 || (near && age < STANDING_MS) {
                return false;
            }
        }
        if self.kept.len() >= REMEMBERED {
            self.kept.retain(|_, (then, _, _)| at - *then < STANDING_MS);
            if self.kept.len() >= REMEMBERED {
                self.kept.clear();
            }
        }
        self.kept.insert(report.subject.0.clone(), (at, lon, lat));
        true
    }
}

/// Tells and writes positions until the end.
pub async fn run(app: Shared) {
    let settings = app.settings.tracks.clone();
    let mut thinning = Thinning::default();
    let mut failing = false;
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = app.shutdown.cancelled() => return,
        }
        if app.reports.waiting() == 0 {
            continue;
        }
        let news = app.reports.take(settings.rows_per_second as usize);
        tell(&app, &news);
        let rows: Vec<PositionRow> =
            news.iter().filter(|r| thinning.keep(r, &settings)).map(|r| PositionRow::from(&**r)).collect();
        for batch in rows.chunks(BATCH) {
            let began = Instant::now();
            match app.store.save_positions(batch).await {
                Ok(()) => {
                    failing = false;
                    app.metrics.positions_written.inc_by(batch.len() as u64);
                    tracing::debug!(rows = batch.len(), took = ?began.elapsed(), "positions written");
                }
                Err(error) => {
                    app.metrics.positions_unwritten.inc_by(batch.len() as u64);
                    tracing::error!(rows = batch.len(), %error, "positions could not be written");
                    if !failing {
                        let (zh, en) = ("位置轨迹无法写入数据库", "Positions cannot be written to the database");
                        app.events.notice(Severity::Alarm, zh, en, "");
                    }
                    failing = true;
                }
            }
        }
    }
}

/// The newest of up to 200 subjects in one event; a console that shows one of the others asks for it.
fn tell(app: &Shared, news: &[Arc<PositionReport>]) {
    let items: Vec<_> = news
        .iter()
        .take(TOLD)
        .map(|r| {
            let mut view = serde_json::to_value(PositionRow::from(&**r)).unwrap_or_default();
            view["channel"] = r.subject.0.clone().into();
            view
        })
        .collect();
    app.events.tell("positions", json!({ "items": items, "more": news.len().saturating_sub(TOLD) }));
}

/// What is told and not kept.
pub fn tell_glimpse(app: &Shared, glimpse: Glimpse) {
    match glimpse {
        Glimpse::Wish { device, channel, place } => {
            let name = app.registry.get(&device).map_or_else(|| device.0.clone(), |d| d.shown_name().to_owned());
            let object = channel.as_ref().map_or(device.0.as_str(), |c| c.0.as_str());
            let (zh, en) = (format!("{name} 请求上传视频"), format!("{name} asks to be seen"));
            app.events.notice(Severity::Warning, &zh, &en, object);
            app.events.tell("wish", json!({ "device": device, "channel": channel, "name": name, "place": place }));
        }
        Glimpse::Look { channel, pan, tilt, zoom } => {
            app.events.tell("look", json!({ "channel": channel, "pan": pan, "tilt": tilt, "zoom": zoom }));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::Store;
    use bridge_core::{ChannelId, Place, Timestamp};

    fn at(subject: usize, seconds: i64, longitude: f64) -> PositionReport {
        PositionReport {
            subject: ChannelId(format!("gb28181:1/{subject}")),
            place: Place { longitude, latitude: 31.0 },
            speed_kmh: None,
            direction: None,
            altitude: None,
            height: None,
            device_time: None,
            received: Timestamp(seconds * 1000),
        }
    }

    #[test]
    fn points_are_kept_by_time_and_way() {
        let settings = Tracks { interval: 5, metres: 5, ..Tracks::default() };
        let mut t = Thinning::default();
        let mut keep = |s, lon| t.keep(&at(1, s, lon), &settings);
        assert!(keep(0, 118.0));
        assert!(!keep(4, 118.01), "too soon");
        assert!(keep(5, 118.01));
        assert!(!keep(60, 118.01001), "a metre is the receiver's noise");
        assert!(keep(306, 118.01001), "but that it stands is worth a point");
        assert!((metres((118.0, 31.0), (118.001, 31.0)) - 95.4).abs() < 1.0);
    }

    #[tokio::test]
    async fn a_track_is_found_by_time_and_forgotten_by_age() {
        let dir = crate::testing::TempDir::new();
        let store = Store::open(&dir.path().join("p.db")).await.unwrap();
        let rows: Vec<PositionRow> =
            (0..1000).map(|n| PositionRow::from(&at(n % 2, n as i64, 118.0 + n as f64 * 1e-5))).collect();
        store.save_positions(&rows).await.unwrap();
        store.save_positions(&rows[..10]).await.unwrap();
        let track = store.track("gb28181:1/1", 100_000, 200_000, 1000).await.unwrap();
        assert_eq!((track.len(), track[0].at, track[49].at), (50, 101_000, 199_000));
        let cut = store.track("gb28181:1/1", 0, i64::MAX, 3).await.unwrap();
        assert_eq!(cut.iter().map(|p| p.at / 1000).collect::<Vec<_>>(), [995, 997, 999]);
        assert_eq!(store.forget_positions(500_000).await.unwrap(), 500);
        assert_eq!(store.forget_positions(500_000).await.unwrap(), 0);
        store.close().await;
    }
}
