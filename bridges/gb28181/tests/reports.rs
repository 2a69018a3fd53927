//! Subscriptions, alarms, positions and news of catalogs against the simulated field, on real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{ChannelKind, Command, DeviceId, Glimpse};
use skybridge_bridge_gb28181::{Datum, Want};
use support::*;

const ONE: &str = "34020000001320000001";
const NVR: &str = "34020000001180000002";
const BODY: &str = "34020000001320000003";
const PLATFORM: &str = "34020000002000000009";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_is_answered_with_its_number_and_the_next_comes_after_the_reset() {
    if fieldsim().is_none() {
        return;
    }
    let store = Arc::default();
    let hall = Hall::start(24_100, 24_110, config(), &[], &store).await;
    let args = ["--id", ONE, "--alarm", "2/1/1", "--alarm-after", "4", "--alarm-every", "1", "--alarm-repeats"];
    let mut camera = Camera::start(hall.sip, &args);
    let subscribed = camera.event("subscribed", 0, 10).await;
    assert_eq!(subscribed["topic"], "Alarm");
    assert!(subscribed["package"].as_str().unwrap().starts_with("presence;id="), "{subscribed}");
    let alarm = hall.alarm(10).await;
    assert_eq!((alarm.severity, alarm.kind.as_str(), alarm.words.zh.as_str()), (1, "device.video_lost", "视频丢失"));
    assert_eq!((alarm.device.name(), alarm.channel.as_ref().unwrap().name(), alarm.source.as_str()), (ONE, ONE, ONE));
    assert!(alarm.wants_reset && alarm.place.is_some() && alarm.description.contains("第 1 次"));
    let late = alarm.received.0 - alarm.device_time.unwrap().0;
    assert!((0..3000).contains(&late), "the device's time is Beijing time: {late} ms");
    let raised = camera.event("alarm", 0, 1).await;
    let answered = camera.event("alarm_answered", 0, 5).await;
    assert_eq!((&answered["sn"], &answered["result"]), (&raised["sn"], &"OK".into()));
    // It waits for the reset, and does not repeat what was answered.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!((camera.all("alarm").len(), camera.all("alarm_repeated").len()), (1, 0));
    let reset = Command::ResetAlarm { device: alarm.device.clone(), source: alarm.source.clone() };
    hall.bridge.command(reset).await.unwrap();
    assert_eq!(camera.event("alarm_reset", 0, 3).await["target"], ONE);
    let second = hall.alarm(5).await;
    assert!(second.description.contains("第 2 次"));
    assert_eq!(hall.metric("skybridge_gb28181_subscribes_total", "granted"), 1.0);
    let nobody = Command::ResetAlarm { device: DeviceId::new("gb28181", NVR), source: String::new() };
    assert_eq!(hall.bridge.command(nobody).await.unwrap_err().code, "device_offline");
    hall.end().await;
    assert_eq!(camera.event("unsubscribed", 0, 3).await["topic"], "Alarm", "the gateway says that it listens no more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alarms_without_a_subscription_and_the_camera_behind_an_alarm_input() {
    if fieldsim().is_none() {
        return;
    }
    let store = Arc::default();
    let mut config = config();
    config.subscribe.alarm = Want::Never;
    let hall = Hall::start(24_200, 24_210, config, &[], &store).await;
    let input = "34020000001340000001";
    let args = ["--id", ONE, "--alarm", "5/6/2", "--alarm-after", "3", "--alarm-source", input, "--transport", "tcp"];
    let mut camera = Camera::start(hall.sip, &args);
    let alarm = hall.alarm(10).await;
    assert_eq!((alarm.kind.as_str(), alarm.source.as_str()), ("video.intrusion", input));
    assert_eq!(alarm.channel.unwrap().name(), ONE, "the only camera is the one to look at");
    assert_eq!(camera.event("alarm_answered", 0, 5).await["result"], "OK");
    assert!(camera.all("subscribed").is_empty());
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_refreshed_begun_anew_when_lost_and_refusals_kept() {
    if fieldsim().is_none() {
        return;
    }
    let store = Arc::default();
    let hall = Hall::start(24_300, 24_310, config(), &[], &store).await;
    let mut good = Camera::start(hall.sip, &["--id", ONE, "--subscribe-expires", "5"]);
    let mut loses = Camera::start(hall.sip, &["--id", BODY, "--subscribe-expires", "5", "--fault", "subscribe-lost"]);
    let ends = "34020000001320000004";
    let mut ends = Camera::start(hall.sip, &["--id", ends, "--fault", "subscribe-terminate=1"]);
    let refuses = "34020000001320000005";
    let mut refuses = Camera::start(hall.sip, &["--id", refuses, "--fault", "subscribe-reject=489"]);

    let first = good.event("subscribed", 0, 10).await;
    let began = Instant::now();
    let second = good.event("subscribed", 1, 10).await;
    assert!(began.elapsed() > Duration::from_secs(3), "at 80 % of 5 s: {:?}", began.elapsed());
    assert_eq!((&second["refresh"], &second["call_id"]), (&true.into(), &first["call_id"]));

    let first = loses.event("subscribed", 0, 10).await;
    let lost = loses.event("subscribe_refused", 0, 10).await;
    assert_eq!((&lost["code"], &lost["call_id"]), (&481.into(), &first["call_id"]));
    let again = loses.event("subscribed", 1, 5).await;
    assert_ne!(again["call_id"], first["call_id"]);

    let first = ends.event("subscribed", 0, 10).await;
    assert_eq!(ends.event("subscription_ended", 0, 5).await["call_id"], first["call_id"]);
    assert_ne!(ends.event("subscribed", 1, 5).await["call_id"], first["call_id"]);

    refuses.event("subscribe_refused", 0, 10).await;
    assert_eq!(refuses.all("subscribe_refused").len(), 1, "asked once, not again and again");
    assert!(hall.metric("skybridge_gb28181_subscribes_total", "refused") >= 1.0);
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_in_both_forms_odd_ones_and_of_a_shifted_map() {
    if fieldsim().is_none() {
        return;
    }
    let store = Arc::default();
    let mut config = config();
    config.devices.entry(NVR.into()).or_default().datum = Datum::Gcj02;
    config.devices.entry(BODY.into()).or_default().subscribe.position_interval = Some(1);
    let hall = Hall::start(24_400, 24_410, config, &[], &store).await;
    // 2016: one, flat, unasked, every second one empty. 2022: a list of two, from a map that is shifted.
    let _odd = Camera::start(hall.sip, &["--id", ONE, "--move-every", "0.5", "--fault", "odd-positions"]);
    let list = ["--id", NVR, "--channels", "2", "--edition", "2022", "--move-every", "0.5", "--transport", "tcp"];
    let _list = Camera::start(hall.sip, &list);
    let mut body = Camera::start(hall.sip, &["--id", BODY, "--moves", "--fault", "notify-out-of-dialog"]);

    let one = hall.position(ONE, ONE, 10, |_| true).await;
    assert!((one.place.longitude - 118.3764).abs() < 0.01 && (one.place.latitude - 31.3263).abs() < 0.01, "{one:?}");
    assert_eq!((one.speed_kmh, one.altitude), (Some(4.2), Some(19.0)));
    assert!((one.received.0 - one.device_time.unwrap().0).abs() < 3000);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(hall.metric("skybridge_gb28181_positions_unreadable_total", "") >= 1.0);

    let device = hall.until(NVR, "catalogued", 15, |d| d.channels.len() == 2).await;
    for channel in &device.channels {
        let report = hall.position(NVR, channel.id.name(), 10, |_| true).await;
        let (east, north) = (118.376451 - report.place.longitude, 31.326319 - report.place.latitude);
        // The shift is some 500 m here; the walk is 100 m.
        assert!((0.002..0.01).contains(&east) && north.abs() < 0.01, "{report:?}");
    }
    // The body camera is known by its catalog to move, so it is asked; what it sends in dialogs of its own is used.
    let mut n = 0;
    let asked = loop {
        let asked = body.event("subscribed", n, 15).await;
        if asked["topic"] == "MobilePosition" {
            break asked;
        }
        n += 1;
    };
    assert_eq!(asked["interval"], "1");
    hall.position(BODY, BODY, 10, |_| true).await;
    assert!(hall.metric("skybridge_gb28181_notifies_out_of_dialog_total", "") >= 1.0);
    assert!(hall.reports.counts().positions >= 4);
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_of_a_catalog_changes_the_table_and_a_wish_reaches_the_hall() {
    if fieldsim().is_none() {
        return;
    }
    let store = Arc::default();
    let hall = Hall::start(24_500, 24_510, config(), &[], &store).await;
    let args = ["--id", NVR, "--channels", "3", "--transport", "tcp", "--change-every", "1", "--wish-after", "3"];
    let mut nvr = Camera::start(hall.sip, &args);
    let device = hall.until(NVR, "catalogued", 15, |d| d.channels.len() == 3).await;
    let last = device.channels[2].id.clone();
    let state = |online: bool| {
        let last = last.clone();
        move |d: &bridge_core::Device| d.channels.iter().any(|c| c.id == last && c.online == online)
    };
    let topics = [nvr.event("subscribed", 0, 10).await, nvr.event("subscribed", 1, 10).await];
    assert!(
        topics.iter().any(|t| t["topic"] == "Catalog" && t["package"].as_str().unwrap().starts_with("Catalog;id="))
    );
    hall.until(NVR, "told OFF", 10, state(false)).await;
    hall.until(NVR, "told ON", 10, state(true)).await;
    hall.until(NVR, "told VLOST", 10, state(false)).await;
    hall.until(NVR, "told DEL", 10, |d| d.channels.len() == 2).await;
    hall.until(NVR, "told ADD", 10, |d| d.channels.len() == 3 && d.channels[2].name.ends_with("add")).await;
    hall.until(NVR, "told UPDATE", 10, |d| d.channels[2].name.ends_with("update")).await;
    let wish = hall.queues.lock().unwrap().glimpses.try_recv().unwrap();
    assert!(matches!(wish, Glimpse::Wish { device, .. } if device.name() == NVR));
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_of_two_thousand_channels_in_groups_repeated_and_partial() {
    if fieldsim().is_none() {
        return;
    }
    let store = Arc::default();
    let hall = Hall::start(24_600, 24_610, config(), &[], &store).await;
    let base = ["--id", PLATFORM, "--channels", "2000", "--groups", "5", "--catalog-piece", "50", "--transport", "tcp"];
    let repeats: Vec<&str> = base.iter().copied().chain(["--fault", "catalog-repeats"]).collect();
    let platform = Camera::start(hall.sip, &repeats);
    // 3 regions, 5 groups, 20 organisations, 20 recorders.
    let d = hall.until(PLATFORM, "catalogued", 30, |d| d.channels.len() == 2048).await;
    let of = |name: &str| d.channels.iter().find(|c| c.id.name() == name).unwrap().parent.clone();
    assert_eq!(of("340200").as_deref(), Some("3402"));
    assert_eq!(of("34020000002160000002").as_deref(), Some("34020000002160000001"), "organisations nest");
    assert_eq!(of("34020000002160000001").as_deref(), Some("34020000002150000001"));
    assert_eq!(of("34020000001180000001").as_deref(), Some("34020000002160000001"));
    let parents: Vec<&str> =
        d.channels.iter().filter(|c| c.kind == ChannelKind::Video).filter_map(|c| c.parent.as_deref()).collect();
    assert_eq!(parents.len(), 2000, "each camera hangs under an organisation or a recorder");
    assert!(parents.iter().all(|p| p.contains("00216") || p.contains("00118")));
    platform.log_out().await;
    hall.until(PLATFORM, "off line", 5, |d| !d.online).await;
    // What a partial catalog leaves out is not deleted.
    let part: Vec<&str> = base.iter().copied().chain(["--fault", "catalog-partial=500"]).collect();
    let mut config_again = Camera::start(hall.sip, &part);
    config_again.event("registered", 0, 10).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(hall.device(PLATFORM).unwrap().channels.len(), 2048);
    hall.end().await;
}
