//! A device whose clock is wrong, and the time that it is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bridge_core::{DeviceId, RegistryEvent};
use support::*;

/// Tells its time when asked (DeviceStatus).
const ASKED: &str = "34020000001320000001";
/// Tells it unasked: `Date` in REGISTER and Keepalive.
const TELLS: &str = "34020000001320000002";
const GOOD: &str = "34020000001320000003";

fn offset(hall: &Hall, id: &str) -> Option<i64> {
    let facts = hall.bridge.facts(&DeviceId::new("gb28181", id));
    facts.iter().find(|(key, _)| *key == "clock_offset_s").and_then(|(_, value)| value.parse().ok())
}

/// Waits for the offset of a device.
async fn until(hall: &Hall, id: &str, what: &str, good: impl Fn(i64) -> bool) -> i64 {
    for _ in 0..300 {
        if let Some(found) = offset(hall, id).filter(|o| good(*o)) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{id}: the offset is not {what}: {:?}", offset(hall, id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_clock_is_seen_told_once_and_told_when_it_is_right() {
    if fieldsim().is_none() {
        return;
    }
    let store: Arc<Store> = Arc::default();
    let hall = Hall::start(30_370, 30_380, config(), &[], &store).await;
    let mut notes = hall.registry.events();
    let mut asked = Camera::start(hall.sip, &["--id", ASKED, "--clock-offset", "-300"]);
    let tells = ["--id", TELLS, "--clock-offset", "120", "--send-date", "--keepalive", "0.3"];
    let tells = Camera::start(hall.sip, &tells);
    let mut good = Camera::start(hall.sip, &["--id", GOOD]);

    // The time that we tell: Beijing's, in the standard's form, whatever the zone of this machine.
    let date = asked.event("registered", 0, 10).await["date"].as_str().unwrap().to_owned();
    let told: jiff::civil::DateTime = date.parse().unwrap();
    assert_eq!(told.strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string(), date, "YYYY-MM-DDTHH:MM:SS.sss, no zone");
    let beijing = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8))).datetime();
    let apart = beijing.duration_since(told).as_secs();
    assert!((0..10).contains(&apart), "{date} is not {beijing}");
    good.event("registered", 0, 10).await;

    until(&hall, ASKED, "five minutes behind", |o| (-302..=-298).contains(&o)).await;
    until(&hall, TELLS, "two minutes ahead", |o| (118..=122).contains(&o)).await;
    until(&hall, GOOD, "next to nothing", |o| o.abs() <= 2).await;
    // Keepalives with the same wrong time are no news.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // Each was set right: known by the next registration, asked for at the next question.
    drop((asked, tells));
    let mut mended = Camera::start(hall.sip, &["--id", TELLS, "--send-date"]);
    mended.event("registered", 0, 10).await;
    // It registers before it has heard our time, so that its first word is right by itself.
    until(&hall, TELLS, "right again", |o| o.abs() <= 2).await;
    let mut words = Vec::new();
    while let Ok(event) = notes.try_recv() {
        if let RegistryEvent::Note { id, grave, text } = event {
            words.push((id.name().to_owned(), grave, text.en));
        }
    }
    let of = |id: &str| words.iter().filter(|w| w.0 == id).collect::<Vec<_>>();
    assert!(
        of(ASKED).len() == 1 && of(ASKED)[0].1 && ["-299", "-300", "-301"].iter().any(|o| of(ASKED)[0].2.contains(o)),
        "{words:?}"
    );
    let tells = of(TELLS);
    assert!(
        tells.len() == 2 && tells[0].1 && ["+119", "+120", "+121"].iter().any(|o| tells[0].2.contains(o)),
        "{words:?}"
    );
    assert!(!tells[1].1 && tells[1].2.contains("right again"), "{words:?}");
    assert!(of(GOOD).is_empty(), "{words:?}");
    hall.registry.flush().await;
    hall.end().await;
    // A restart knows it, and has told it already.
    let hall = Hall::start(30_370, 30_380, config(), &[], &store).await;
    let mut notes = hall.registry.events();
    until(&hall, ASKED, "as it was", |o| o < -290).await;
    let mut again = Camera::start(hall.sip, &["--id", ASKED, "--clock-offset", "-310", "--send-date"]);
    again.event("registered", 0, 10).await;
    until(&hall, ASKED, "read anew", |o| o < -305).await;
    while let Ok(event) = notes.try_recv() {
        assert!(!matches!(event, RegistryEvent::Note { .. }), "told twice: {event:?}");
    }
    hall.end().await;
}
