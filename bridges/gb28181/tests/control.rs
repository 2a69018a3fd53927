//! Orders and questions against the simulated field, on real sockets: what was told is asked back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::*;
use support::*;

const OLD: &str = "34020000001320000001";
const NEW: &str = "34020000001320000005";
const NVR: &str = "34020000001180000002";

fn device(id: &str) -> Object {
    Object::Device(DeviceId::new("gb28181", id))
}

fn channel(id: &str, name: &str) -> Object {
    Object::Channel(ChannelId::new(&DeviceId::new("gb28181", id), name))
}

async fn order(hall: &Hall, object: Object, order: Order) -> Result<Done, Fault> {
    assert_eq!(order.problem(), None, "{order:?}");
    hall.bridge.order(object, order).await
}

async fn ask(hall: &Hall, object: Object, query: Query) -> Answer {
    hall.bridge.ask(object, query.clone()).await.unwrap_or_else(|fault| panic!("{query:?}: {fault}"))
}

async fn presets(hall: &Hall, object: Object) -> Vec<(u8, String)> {
    match ask(hall, object, Query::Presets {}).await {
        Answer::Presets { items, complete: true } => items.into_iter().map(|p| (p.preset, p.name)).collect(),
        other => panic!("{other:?}"),
    }
}

async fn position(hall: &Hall, object: Object) -> (f64, f64, f64) {
    match ask(hall, object, Query::Position {}).await {
        Answer::Position { pan: Some(pan), tilt: Some(tilt), zoom: Some(zoom), .. } => (pan, tilt, zoom),
        other => panic!("{other:?}"),
    }
}

async fn setting(hall: &Hall, object: Object, kind: SettingKind) -> Setting {
    match ask(hall, object, Query::Settings { kinds: vec![kind] }).await {
        Answer::Settings { mut items, missing } if items.len() == 1 && missing.is_empty() => items.remove(0),
        other => panic!("{other:?}"),
    }
}

/// Whether it records, and its first part's duty.
async fn status(hall: &Hall) -> (Option<bool>, Option<String>) {
    match ask(hall, device(NEW), Query::Status {}).await {
        Answer::Status { online: Some(true), recording, duties, clock, .. } => {
            assert_eq!(clock.len(), 19, "{clock}");
            (recording, duties.first().map(|d| d.duty.clone()))
        }
        other => panic!("{other:?}"),
    }
}

/// A hall with one camera of 2022 that is catalogued.
async fn stage(port: u16, args: &[&str]) -> (Hall, Camera) {
    let hall = Hall::start(port, port + 10, config(), &[], &Arc::default()).await;
    let mut all = vec!["--id", NEW, "--edition", "2022"];
    all.extend(args);
    let camera = Camera::start(hall.sip, &all);
    hall.until(NEW, "catalogued", 15, |d| !d.channels.is_empty()).await;
    (hall, camera)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presets_with_names_positions_and_drag_zoom() {
    if fieldsim().is_none() {
        return;
    }
    // Lists come with one item in each message.
    let (hall, mut camera) = stage(25_000, &["--fault", "split-answers"]).await;
    let at = || channel(NEW, NEW);
    assert_eq!(presets(&hall, at()).await, []);
    let go = Order::Position { pan: Some(123.5), tilt: Some(-10.0), zoom: Some(2.0) };
    assert_eq!(order(&hall, at(), go).await.unwrap(), Done::Sent);
    assert_eq!(camera.event("precise", 0, 3).await["pan"], 123.5);
    assert_eq!(position(&hall, at()).await, (123.5, -10.0, 2.0));
    order(&hall, at(), Order::PresetSet { preset: 3, name: Some("大门 <北> & 1".into()) }).await.unwrap();
    order(&hall, at(), Order::Position { pan: Some(10.0), tilt: None, zoom: None }).await.unwrap();
    order(&hall, at(), Order::PresetSet { preset: 255, name: None }).await.unwrap();
    assert_eq!(camera.event("ptz", 0, 3).await["name"], "大门 <北> & 1");
    assert_eq!(presets(&hall, at()).await, [(3, "大门 <北> & 1".to_owned()), (255, "Preset 255".to_owned())]);
    order(&hall, at(), Order::PresetCall { preset: 3 }).await.unwrap();
    assert_eq!(position(&hall, at()).await, (123.5, -10.0, 2.0));
    order(&hall, at(), Order::PresetDelete { preset: 255 }).await.unwrap();
    assert_eq!(presets(&hall, at()).await.len(), 1);
    // The box in the right half of the window comes to the middle and fills it.
    let area = Area { window_width: 1000, window_height: 500, x: 750, y: 250, width: 500, height: 250 };
    order(&hall, at(), Order::DragZoom { inwards: true, area }).await.unwrap();
    let (pan, tilt, zoom) = position(&hall, at()).await;
    assert!(
        (pan - 134.75).abs() < 0.1 && (tilt + 10.0).abs() < 0.1 && (zoom - 4.0).abs() < 0.01,
        "{pan} {tilt} {zoom}"
    );
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cruise_scan_home_switch_and_lens() {
    if fieldsim().is_none() {
        return;
    }
    let (hall, mut camera) = stage(25_120, &[]).await;
    let at = || channel(NEW, NEW);
    for (preset, pan) in [(1, 40.0), (2, 200.0)] {
        order(&hall, at(), Order::Position { pan: Some(pan), tilt: None, zoom: None }).await.unwrap();
        order(&hall, at(), Order::PresetSet { preset, name: None }).await.unwrap();
        order(&hall, at(), Order::CruiseAdd { cruise: 1, preset, name: Some("河堤".into()) }).await.unwrap();
    }
    order(&hall, at(), Order::CruiseDwell { cruise: 1, seconds: 1 }).await.unwrap();
    order(&hall, at(), Order::CruiseSpeed { cruise: 1, speed: 7 }).await.unwrap();
    let Answer::Cruises { items, complete: true } = ask(&hall, at(), Query::Cruises {}).await else { panic!() };
    assert_eq!(items, [CruiseItem { number: 1, name: "河堤".into() }]);
    let Answer::Cruise { points, name, .. } = ask(&hall, at(), Query::Cruise { number: 1 }).await else { panic!() };
    let points: Vec<_> = points.iter().map(|p| (p.preset, p.stay_s, p.speed)).collect();
    assert_eq!((name.as_str(), points), ("河堤", vec![(1, Some(1), Some(7)), (2, Some(1), Some(7))]));
    order(&hall, at(), Order::CruiseStart { cruise: 1 }).await.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..12 {
        seen.insert(position(&hall, at()).await.0 as u32);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [40, 200], "it goes round");
    order(&hall, at(), Order::CruiseStop {}).await.unwrap();
    let stopped = position(&hall, at()).await;
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert_eq!(position(&hall, at()).await, stopped);
    order(&hall, at(), Order::CruiseRemove { cruise: 1, preset: None }).await.unwrap();
    assert!(matches!(ask(&hall, at(), Query::Cruises {}).await, Answer::Cruises { items, .. } if items.is_empty()));

    for (pan, edge) in [(100.0, Edge::Left), (115.0, Edge::Right)] {
        order(&hall, at(), Order::Position { pan: Some(pan), tilt: None, zoom: None }).await.unwrap();
        order(&hall, at(), Order::ScanEdge { scan: 2, edge }).await.unwrap();
    }
    order(&hall, at(), Order::ScanStart { scan: 2 }).await.unwrap();
    for _ in 0..8 {
        let (pan, ..) = position(&hall, at()).await;
        assert!((99.9..=115.1).contains(&pan), "{pan}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    order(&hall, at(), Order::ScanStop {}).await.unwrap();

    let home = Order::HomePosition { enabled: true, reset_s: Some(2), preset: Some(1) };
    assert_eq!(order(&hall, at(), home).await.unwrap(), Done::Confirmed);
    let told = ask(&hall, at(), Query::Home {}).await;
    assert_eq!(told, Answer::Home { enabled: Some(true), reset_s: Some(2), preset: Some(1) });
    tokio::time::sleep(Duration::from_millis(2300)).await;
    assert_eq!(position(&hall, at()).await.0, 40.0, "it came home");
    order(&hall, at(), Order::Switch { number: 1, on: true }).await.unwrap();
    // Its 200 is under way before the camera tells of the order.
    let wiper = camera.which("ptz", 5, |e| e["action"] == "switch").await;
    assert_eq!((&wiper["on"], &wiper["number"]), (&true.into(), &1.into()));

    // The lens moves and is stopped by itself, and its stop is its own.
    let before = camera.all("ptz").len();
    order(&hall, at(), Order::Lens { focus: 0.5, iris: -0.25 }).await.unwrap();
    let began = Instant::now();
    let moved = camera.event("ptz", before, 3).await;
    assert_eq!((&moved["focus"], &moved["iris"], &moved["focus_speed"]), (&1.into(), &(-1).into(), &128.into()));
    let stop = camera.event("ptz", before + 1, 5).await;
    let after = began.elapsed().as_millis();
    assert_eq!(stop["action"], "lens-stop");
    assert!((1800..3000).contains(&after), "{after} ms");
    assert!(stop["lens"]["focus"].as_f64().unwrap() > 0.9 && stop["lens"]["iris"].as_f64().unwrap() < 0.1, "{stop}");
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_device_confirms_refuses_and_keeps_silent_about() {
    if fieldsim().is_none() {
        return;
    }
    let (hall, mut camera) = stage(25_240, &[]).await;
    let (at, whole) = (|| channel(NEW, NEW), || device(NEW));
    assert_eq!(status(&hall).await, (Some(false), Some("OFFDUTY".to_owned())));
    assert_eq!(order(&hall, at(), Order::Record { on: true, stream: Some(1) }).await.unwrap(), Done::Confirmed);
    assert_eq!(camera.event("record", 0, 3).await["stream"], 1);
    assert_eq!(order(&hall, whole(), Order::Guard { on: true }).await.unwrap(), Done::Confirmed);
    assert_eq!(status(&hall).await, (Some(true), Some("ONDUTY".to_owned())));
    assert_eq!(order(&hall, at(), Order::Record { on: false, stream: None }).await.unwrap(), Done::Confirmed);
    assert_eq!(order(&hall, whole(), Order::Guard { on: false }).await.unwrap(), Done::Confirmed);
    assert_eq!(status(&hall).await, (Some(false), Some("OFFDUTY".to_owned())));
    let reset = Order::AlarmReset { methods: vec![2, 5], kind: Some(6) };
    assert_eq!(order(&hall, whole(), reset).await.unwrap(), Done::Confirmed);
    let told = camera.event("alarm_reset", 0, 3).await;
    assert_eq!((&told["methods"], &told["kind"]), (&"2/5".into(), &"6".into()));
    let track = Order::Track { mode: Tracking::Auto, panorama: None, area: None };
    assert_eq!(order(&hall, at(), track).await.unwrap(), Done::Sent);
    assert_eq!(camera.event("track", 0, 3).await["mode"], "Auto");

    // Cards: formatting takes its time and shows.
    let cards = || async {
        match ask(&hall, whole(), Query::Cards {}).await {
            Answer::Cards { items, complete: true } => items,
            other => panic!("{other:?}"),
        }
    };
    assert!(cards().await.iter().all(|c| c.status == "ok" && c.free_mb < c.capacity_mb));
    assert_eq!(order(&hall, whole(), Order::FormatCard { card: 1 }).await.unwrap(), Done::Sent);
    let now = cards().await;
    assert_eq!((now[0].status.as_str(), now[1].status.as_str()), ("formatting", "ok"));
    assert!(now[0].format_percent.is_some());
    tokio::time::sleep(Duration::from_millis(3200)).await;
    let now = cards().await;
    assert_eq!((now[0].status.as_str(), now[0].free_mb), ("ok", now[0].capacity_mb));

    // A reboot and an upgrade: it comes back, with what was told and its new firmware.
    assert_eq!(order(&hall, whole(), Order::Reboot {}).await.unwrap(), Done::Sent);
    camera.event("reboot", 0, 3).await;
    camera.event("registered", 1, 10).await;
    let mut events = hall.registry.events();
    let upgrade = Order::Upgrade {
        firmware: "V2.1".into(),
        url: "http://127.0.0.1/fw.bin".into(),
        manufacturer: "Fieldsim".into(),
        session: None,
    };
    assert_eq!(order(&hall, whole(), upgrade).await.unwrap(), Done::Confirmed);
    assert_eq!(camera.event("upgrade", 0, 3).await["session"].as_str().unwrap().len(), 32);
    let note = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            if let Ok(RegistryEvent::Note { grave, text, .. }) = events.recv().await {
                return (grave, text.en);
            }
        }
    });
    assert_eq!(note.await.unwrap(), (false, "the firmware was updated (V2.1)".to_owned()));
    let info = ask(&hall, whole(), Query::Info {}).await;
    assert!(matches!(&info, Answer::Info { firmware, channels: Some(1), .. } if firmware == "V2.1"), "{info:?}");
    drop(camera);
    hall.end().await;

    // One that gives no business answers, and one that refuses: unknown is no error, a refusal is one.
    let mut short = config();
    short.control.answer = 1;
    let hall = Hall::start(25_360, 25_370, short, &[], &Arc::default()).await;
    let _silent = Camera::start(hall.sip, &["--id", OLD, "--fault", "no-business-answer"]);
    let _stubborn = Camera::start(hall.sip, &["--id", NEW, "--edition", "2022", "--fault", "refuse-orders"]);
    for id in [OLD, NEW] {
        hall.until(id, "catalogued", 15, |d| !d.channels.is_empty()).await;
    }
    assert_eq!(order(&hall, device(OLD), Order::Guard { on: true }).await.unwrap(), Done::Unknown);
    let refused = order(&hall, device(NEW), Order::Guard { on: true }).await.unwrap_err();
    assert_eq!((refused.code, refused.whose), ("order_refused", Whose::Device));
    assert!(hall.metric("skybridge_gb28181_orders_total", "unknown") >= 1.0);
    assert!(hall.metric("skybridge_gb28181_orders_total", "refused") >= 1.0);
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_changed_and_read_back() {
    if fieldsim().is_none() {
        return;
    }
    let (hall, _camera) = stage(25_480, &[]).await;
    let settings = [
        Setting::FrameMirror { mirror: Mirror::Both },
        Setting::Osd {
            width: 704,
            height: 576,
            time_x: Some(8),
            time_y: Some(9),
            time: Some(true),
            time_type: Some(1),
            text: Some(true),
            lines: vec![OsdLine { text: "指挥大厅 <1> & 2".into(), x: 10, y: 20 }],
        },
        Setting::PictureMask {
            enabled: true,
            regions: vec![MaskRegion { number: 1, left: 1, top: 2, right: 300, bottom: 400 }],
        },
        Setting::AlarmReport { motion: true, field: true },
        Setting::AlarmRecord { enabled: true, after_s: Some(20), before_s: Some(3), stream: Some(1) },
        Setting::RecordPlan {
            enabled: true,
            days: vec![RecordDay {
                weekday: 6,
                spans: vec![
                    TimeSpan { from: "00:00:00".into(), to: "06:00:00".into() },
                    TimeSpan { from: "20:00:00".into(), to: "23:59:59".into() },
                ],
            }],
            stream: Some(0),
        },
        Setting::VideoParameters {
            streams: vec![VideoStream {
                stream: 0,
                format: "2".into(),
                resolution: "6".into(),
                frame_rate: "25".into(),
                bit_rate_type: "1".into(),
                bit_rate: "2048".into(),
            }],
        },
    ];
    let at = || channel(NEW, NEW);
    assert_eq!(order(&hall, at(), Order::Configure { settings: settings.to_vec() }).await.unwrap(), Done::Confirmed);
    for set in &settings {
        assert_eq!(setting(&hall, at(), set.kind()).await, *set);
    }
    let Answer::Settings { items, missing } = ask(&hall, at(), Query::Settings { kinds: vec![] }).await else {
        panic!()
    };
    assert_eq!((items.len(), missing), (SettingKind::ALL.len(), vec![]));
    // The name and the keepalive are the hall's business too: it reads them back.
    let basic = Setting::Basic {
        name: Some("东门球机".into()),
        expiration_s: None,
        heartbeat_interval_s: Some(7),
        heartbeat_count: Some(2),
    };
    assert_eq!(order(&hall, device(NEW), Order::Configure { settings: vec![basic] }).await.unwrap(), Done::Confirmed);
    hall.until(NEW, "named anew", 10, |d| d.name == "东门球机").await;
    let id = DeviceId::new("gb28181", NEW);
    for _ in 0..50 {
        if hall.bridge.facts(&id).contains(&("heartbeat", "7 s x 2".to_owned())) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let facts = hall.bridge.facts(&id);
    assert!(
        facts.contains(&("heartbeat", "7 s x 2".to_owned())) && facts.contains(&("patience_s", "15".to_owned())),
        "{facts:?}"
    );
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_2022_reaches_a_device_of_2016() {
    if fieldsim().is_none() {
        return;
    }
    let hall = Hall::start(25_600, 25_610, config(), &[], &Arc::default()).await;
    let mut camera = Camera::start(hall.sip, &["--id", OLD, "--keepalive", "30", "--heartbeat-count", "2"]);
    hall.until(OLD, "catalogued", 15, |d| !d.channels.is_empty()).await;
    let at = || channel(OLD, OLD);
    let orders = [
        Order::Position { pan: Some(1.0), tilt: None, zoom: None },
        Order::FormatCard { card: 0 },
        Order::Track { mode: Tracking::Stop, panorama: None, area: None },
        Order::Record { on: true, stream: Some(1) },
        Order::Configure { settings: vec![Setting::FrameMirror { mirror: Mirror::None }] },
    ];
    for refused in orders {
        assert_eq!(order(&hall, at(), refused.clone()).await.unwrap_err().code, "needs_edition", "{refused:?}");
    }
    for query in [
        Query::Home {},
        Query::Cruises {},
        Query::Cruise { number: 1 },
        Query::Position {},
        Query::Cards {},
        Query::Settings { kinds: vec![SettingKind::Osd] },
    ] {
        assert_eq!(hall.bridge.ask(at(), query.clone()).await.unwrap_err().code, "needs_edition", "{query:?}");
    }
    assert!(camera.all("ignored").is_empty(), "nothing was even sent");
    // What both know works; the name of a preset is left out.
    order(&hall, at(), Order::PresetSet { preset: 1, name: Some("gate".into()) }).await.unwrap();
    assert!(camera.event("ptz", 0, 3).await["name"].is_null());
    assert_eq!(presets(&hall, at()).await, [(1, "Preset 1".to_owned())]);
    assert_eq!(order(&hall, at(), Order::Record { on: true, stream: None }).await.unwrap(), Done::Confirmed);
    let Answer::Settings { items, .. } = ask(&hall, device(OLD), Query::Settings { kinds: vec![] }).await else {
        panic!()
    };
    assert_eq!(items.len(), 2);
    // Its own keepalive terms were read: 30 s x 2 + 1, not 60 s x 3 + 1.
    let id = DeviceId::new("gb28181", OLD);
    for _ in 0..100 {
        if hall.bridge.facts(&id).contains(&("patience_s", "61".to_owned())) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(hall.bridge.facts(&id).contains(&("patience_s", "61".to_owned())), "{:?}", hall.bridge.facts(&id));
    assert_eq!(
        hall.bridge.order(channel(OLD, NVR), Order::PresetCall { preset: 1 }).await.unwrap_err().code,
        "unknown_channel"
    );
    assert_eq!(hall.bridge.ask(device(NVR), Query::Info {}).await.unwrap_err().code, "unknown_channel");
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_gateway_stops_what_moves() {
    if fieldsim().is_none() {
        return;
    }
    let mut satellite = config();
    satellite.devices.entry(NEW.into()).or_default().satellite = true;
    let hall = Hall::start(25_720, 25_730, satellite, &[], &Arc::default()).await;
    let mut camera = Camera::start(hall.sip, &["--id", NEW, "--edition", "2022"]);
    hall.until(NEW, "catalogued", 15, |d| !d.channels.is_empty()).await;
    let Object::Channel(at) = channel(NEW, NEW) else { panic!() };
    hall.bridge.command(Command::Ptz { channel: at.clone(), pan: 0.5, tilt: 0.0, zoom: 0.0 }).await.unwrap();
    hall.bridge.command(Command::Ptz { channel: at, pan: 0.0, tilt: 0.0, zoom: 0.0 }).await.unwrap();
    camera.event("ptz", 2, 3).await;
    let stops = camera.all("ptz").iter().filter(|e| e["action"] == "stop").count();
    assert_eq!(stops, 2, "over a satellite a stop is said twice");
    order(&hall, channel(NEW, NEW), Order::Lens { focus: -1.0, iris: 0.0 }).await.unwrap();
    hall.end().await;
    camera.event("ptz", 4, 3).await;
    assert!(camera.all("ptz").iter().skip(4).all(|e| e["action"] == "lens-stop"));
}
