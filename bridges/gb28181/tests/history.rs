//! Devices' own recordings on real sockets: list, playback with all its orders, download. The painted number is the recording's own
//! time (`tests/fieldsim/src/tape.rs`), so that a picture says which moment it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use bridge_core::{
    ChannelId, DeviceId, Fault, FetchOrder, Fetched, History, Playback, PlaybackOrder, PlaybackPhase, PlaybackState,
};
use media_core::MediaKind;
use media_hub::{Pulled, StreamId, SubscribeOptions, Subscriber};
use support::*;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const CAM: &str = "34020000001320000081";
const FPS: i64 = 25;

/// 2026-03-01T08:00:00+08:00 in milliseconds.
const T0: i64 = 1_772_323_200_000;

fn channel(device: &str) -> ChannelId {
    ChannelId::new(&DeviceId::new("gb28181", device), device)
}

/// The moment of a painted number, in milliseconds from `T0`.
fn moment(painted: u32) -> i64 {
    let base = (T0 / 1000).rem_euclid(100_000_000) * FPS;
    (i64::from(painted) - base) * 1000 / FPS
}

struct Field {
    hall: Hall,
    camera: Camera,
}

impl Field {
    async fn start(port: u16, more: &[&str]) -> Field {
        let store = std::sync::Arc::default();
        let mut config = config();
        config.history.loss = 4;
        config.history.first = 3;
        config.history.order = 3;
        let hall = Hall::start(port, port + 10, config, &[], &store).await;
        let mut args = vec!["--id", CAM, "--size", "320x180", "--index", "7"];
        args.extend([
            "--recording",
            "2026-03-01T08:00:00+08:00/40",
            "--recording",
            "2026-03-01T08:01:00+08:00/30/alarm",
        ]);
        args.extend(["--recording", "2026-03-01T08:01:30+08:00/10"]);
        args.extend(more);
        let camera = Camera::start(hall.sip, &args);
        hall.until(CAM, "catalogued", 15, |d| !d.channels.is_empty()).await;
        Field { hall, camera }
    }

    fn history(&self) -> &dyn History {
        self.hall.bridge.history().expect("this bridge knows recordings")
    }

    fn play(&self, at: i64, name: &str) -> (Playback, Eye) {
        let stream = StreamId::new(format!("playback:{name}"));
        let playback =
            self.history().play(channel(CAM), (T0, T0 + 40_000), T0 + at, stream.clone()).expect("a playback");
        let eye = Eye::new(self.hall.hub.subscribe(&stream, SubscribeOptions::default()).unwrap());
        (playback, eye)
    }
}

async fn phase(playback: &mut Playback, wanted: PlaybackPhase, seconds: u64) -> PlaybackState {
    let mut states = playback.state.clone();
    let reached = states.wait_for(|s| s.phase == wanted);
    match tokio::time::timeout(Duration::from_secs(seconds), reached).await {
        Ok(Ok(state)) => state.clone(),
        _ => panic!("not {wanted:?} within {seconds} s: {:?}", *playback.state.borrow()),
    }
}

async fn order(playback: &Playback, order: PlaybackOrder) -> Result<(), Fault> {
    Playback::order(&playback.orders, order).await.expect("the playback runs")
}

/// A viewer that reads what each picture says.
struct Eye {
    watcher: Subscriber,
    decoder: openh264::decoder::Decoder,
}

impl Eye {
    fn new(watcher: Subscriber) -> Eye {
        Eye { watcher, decoder: openh264::decoder::Decoder::new().unwrap() }
    }

    fn read(&mut self, pulled: Pulled) -> Option<i64> {
        let Pulled::Item(item) = pulled else { return None };
        if item.frame.kind() != MediaKind::Video {
            return None;
        }
        let (number, camera) = painted(&mut self.decoder, &item.frame.payload)?;
        assert_eq!(camera, 7);
        Some(moment(number))
    }

    /// Moments of the next pictures that can be read.
    async fn next(&mut self, pictures: usize) -> Vec<i64> {
        let mut seen = Vec::new();
        let until = tokio::time::Instant::now() + Duration::from_secs(20);
        while seen.len() < pictures {
            let pulled = tokio::time::timeout_at(until, self.watcher.next()).await;
            let pulled = pulled.unwrap_or_else(|_| panic!("only {seen:?}\n{}", trace(&self.watcher)));
            seen.extend(self.read(pulled));
        }
        seen
    }

    /// All that came so far.
    fn drain(&mut self) -> Vec<i64> {
        let mut seen = Vec::new();
        while let Some(pulled) = self.watcher.try_next() {
            seen.extend(self.read(pulled));
        }
        seen
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recordings_are_listed_in_pieces_kept_for_a_while_and_joined() {
    if fieldsim().is_none() {
        return;
    }
    let field = Field::start(26_100, &["--record-pieces", "1"]).await;
    let found = field.history().list(channel(CAM), T0 - 3_600_000, T0 + 3_600_000, false).await.unwrap();
    assert!(found.complete);
    let spans: Vec<(i64, i64, &str)> =
        found.items.iter().map(|i| (i.from.0 - T0, i.to.0 - T0, i.kind.as_str())).collect();
    assert_eq!(spans, [(0, 40_000, "time"), (60_000, 90_000, "alarm"), (90_000, 100_000, "time")]);
    assert_eq!(found.stretches(T0, T0 + 3_600_000, 2000), [(T0, T0 + 40_000), (T0 + 60_000, T0 + 100_000)]);
    let again = field.history().list(channel(CAM), T0 - 3_600_000, T0 + 3_600_000, false).await.unwrap();
    assert_eq!(again.asked_at, found.asked_at, "kept for a while");
    // Two answers within one millisecond would bear the same time.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let fresh = field.history().list(channel(CAM), T0 - 3_600_000, T0 + 3_600_000, true).await.unwrap();
    assert!(fresh.asked_at > found.asked_at, "{} is not behind {}", fresh.asked_at, found.asked_at);
    assert_eq!(fresh.items, found.items);
    let none = field.history().list(channel(CAM), T0 - 7_200_000, T0 - 3_600_000, false).await.unwrap();
    assert!(none.complete && none.items.is_empty());
    let unknown = field.history().list(ChannelId("gb28181:x/y".into()), T0, T0 + 1, false).await.unwrap_err();
    assert_eq!(unknown.code, "unknown_channel");
    assert_eq!(field.hall.metric("skybridge_gb28181_record_queries_total", "complete"), 3.0);
    field.hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_playback_is_watched_by_many_sought_paused_and_sped_up() {
    if fieldsim().is_none() {
        return;
    }
    let mut field = Field::start(26_200, &[]).await;
    let (mut playback, mut watcher) = field.play(5_000, "a");
    let first = watcher.next(30).await;
    assert_eq!(first[0], 5_000, "it begins at the moment asked for");
    assert!(first.windows(2).all(|w| w[1] == w[0] + 40), "{first:?}");
    let state = phase(&mut playback, PlaybackPhase::Playing, 5).await;
    assert!(state.position.0 - T0 >= 5_000 && state.speed == 1.0);
    let invite = field.camera.all("invite")[0].clone();
    assert_eq!((invite["kind"].as_str(), invite["tcp"].as_bool()), (Some("Playback"), Some(true)));
    assert!(invite["ssrc"].as_u64().unwrap() >= 1_000_000_000, "first digit 1: {invite}");
    assert!(invite["subject"].as_str().unwrap().starts_with(&format!("{CAM}:1")), "{invite}");
    assert_eq!(invite["time"][0].as_i64().unwrap() * 1000 - T0, 5_000);

    // A second playback of the same channel, and a second viewer of the first one.
    let (second, mut other) = field.play(20_000, "b");
    assert_eq!(other.next(5).await[0], 20_000);
    let mut guest = Eye::new(field.hall.hub.subscribe(&playback.stream, SubscribeOptions::default()).unwrap());
    assert!(guest.next(5).await[0] > 5_000);
    drop((second, other, guest));
    assert_eq!(field.camera.event("bye", 0, 5).await["by"], "platform");

    order(&playback, PlaybackOrder::Seek(T0 + 25_000)).await.unwrap();
    phase(&mut playback, PlaybackPhase::Playing, 5).await;
    let late: Vec<i64> = watcher.next(60).await;
    let landed = late.iter().position(|m| *m >= 25_000).expect("pictures of the new moment");
    assert_eq!(late[landed], 25_000, "{late:?}");
    assert!(late[..landed].iter().all(|m| *m < 12_000), "nothing in between: {late:?}");
    assert!(late[landed..].windows(2).all(|w| w[1] == w[0] + 40));

    order(&playback, PlaybackOrder::Pause).await.unwrap();
    let paused = phase(&mut playback, PlaybackPhase::Paused, 3).await;
    // Longer than `loss`: a pause is no loss.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(playback.state.borrow().phase, PlaybackPhase::Paused);
    watcher.drain();
    order(&playback, PlaybackOrder::Resume).await.unwrap();
    let on = watcher.next(10).await;
    assert!((on[0] - (paused.position.0 - T0)).abs() <= 80, "{} after {}", on[0], paused.position.0 - T0);

    order(&playback, PlaybackOrder::Speed(2.0)).await.unwrap();
    let (began, at) = (std::time::Instant::now(), watcher.next(1).await[0]);
    let fast = watcher.next(100).await;
    let rate = (fast.last().unwrap() - at) as f64 / began.elapsed().as_millis() as f64;
    assert!((1.6..2.4).contains(&rate), "double speed: {rate:.2}");
    let state = playback.state.borrow().clone();
    assert!((state.position.0 - T0 - fast.last().unwrap()).abs() < 1_500 && state.speed == 2.0, "{state:?}");

    // Before the beginning of this session: another one.
    order(&playback, PlaybackOrder::Speed(1.0)).await.unwrap();
    order(&playback, PlaybackOrder::Seek(T0 + 1_000)).await.unwrap();
    let mut back = Vec::new();
    for _ in 0..20 {
        back.extend(watcher.next(10).await);
        if back.last().is_some_and(|m| *m < 5_000) {
            break;
        }
    }
    assert!(back.contains(&1_000), "{back:?}");
    let cseqs: Vec<u64> = field.camera.all("mansrtsp").iter().map(|e| e["cseq"].as_u64().unwrap()).collect();
    assert_eq!(cseqs, [1, 2, 3, 4, 5], "one count per dialog");

    // The owner leaves: BYE, and the stream is gone.
    let id = playback.stream.clone();
    drop((playback, watcher));
    field.camera.event("bye", 2, 5).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(field.hall.hub.get(&id).is_none(), "the stream is gone");
    assert_eq!(field.hall.metric("skybridge_gb28181_history_sessions", ""), 0.0);
    field.hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backwards_and_stamps_that_run_with_the_wall() {
    if fieldsim().is_none() {
        return;
    }
    let field = Field::start(26_300, &["--fault", "wall-stamps", "--fault", "rtp-info"]).await;
    let (playback, mut watcher) = field.play(2_000, "w");
    watcher.next(30).await;
    order(&playback, PlaybackOrder::Speed(4.0)).await.unwrap();
    let fast = watcher.next(250).await;
    let state = playback.state.borrow().clone();
    let behind = fast.last().unwrap() - (state.position.0 - T0);
    assert!(behind.abs() < 2_800, "stamps of the wall are understood: {behind} ms");
    order(&playback, PlaybackOrder::Seek(T0 + 20_000)).await.unwrap();
    let mut seen = Vec::new();
    while !seen.contains(&20_000) {
        seen.extend(watcher.next(5).await);
        assert!(seen.len() < 400, "{seen:?}");
    }
    order(&playback, PlaybackOrder::Speed(-1.0)).await.unwrap();
    let mut back = Vec::new();
    for _ in 0..12 {
        back.extend(watcher.next(10).await);
    }
    let groups: Vec<i64> = back.iter().map(|m| m / 1000).collect();
    assert!(groups.last().unwrap() < groups.iter().max().unwrap(), "groups come backwards: {groups:?}");
    assert_eq!(playback.state.borrow().speed, -1.0);
    drop(playback);
    field.hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_noticed_in_all_its_forms() {
    if fieldsim().is_none() {
        return;
    }
    for (n, fault) in [None, Some("121-outside"), Some("121-other-id"), Some("no-121")].into_iter().enumerate() {
        let more: Vec<&str> = fault.map_or(vec![], |f| vec!["--fault", f]);
        let mut field = Field::start(26_400 + 100 * n as u16, &more).await;
        let (mut playback, mut watcher) = field.play(36_000, "end");
        let seen = watcher.next(100).await;
        assert_eq!((seen[0], seen.last().copied()), (36_000, Some(39_960)), "{fault:?}: to the last picture");
        let state = phase(&mut playback, PlaybackPhase::Ended, 6).await;
        assert!((state.position.0 - T0 - 39_960).abs() <= 40, "{fault:?}: {state:?}");
        // Our BYE follows the 121; the device says none.
        assert_eq!(field.camera.event("bye", 0, 4).await["by"], "platform", "{fault:?}");
        // It may be played again from anywhere.
        order(&playback, PlaybackOrder::Seek(T0 + 3_000)).await.unwrap();
        assert_eq!(watcher.next(3).await[0], 3_000);
        drop(playback);
        field.hall.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_refuses_orders_is_invited_anew() {
    if fieldsim().is_none() {
        return;
    }
    let mut field = Field::start(26_800, &["--fault", "info-refused"]).await;
    let (mut playback, mut watcher) = field.play(2_000, "r");
    watcher.next(20).await;
    order(&playback, PlaybackOrder::Seek(T0 + 30_000)).await.unwrap();
    let mut seen = Vec::new();
    while !seen.contains(&30_000) {
        seen.extend(watcher.next(5).await);
        assert!(seen.len() < 200, "{seen:?}");
    }
    assert_eq!(field.camera.event("invite", 1, 3).await["time"][0].as_i64().unwrap() * 1000 - T0, 30_000);
    let fault = order(&playback, PlaybackOrder::Speed(2.0)).await.unwrap_err();
    assert_eq!(fault.code, "speed_refused");
    order(&playback, PlaybackOrder::Pause).await.unwrap();
    let state = phase(&mut playback, PlaybackPhase::Paused, 3).await;
    field.camera.event("bye", 1, 3).await;
    watcher.drain();
    order(&playback, PlaybackOrder::Resume).await.unwrap();
    let on = watcher.next(3).await;
    assert!((on[0] - (state.position.0 - T0)).abs() <= 1_040, "within the second: {} {state:?}", on[0]);
    drop(playback);
    field.hall.end().await;
}

/// What a download gave.
#[derive(Default)]
struct Got {
    moments: Vec<i64>,
    stamps: Vec<i64>,
    size: Option<u64>,
    bytes: u64,
    sound: usize,
}

async fn fetch(field: &Field, order: FetchOrder) -> (Got, Result<(), Fault>) {
    let (tx, mut rx) = mpsc::channel(64);
    let work = field.history().fetch(channel(CAM), order, tx, CancellationToken::new());
    let read = async {
        let mut got = Got::default();
        let mut decoder = openh264::decoder::Decoder::new().unwrap();
        while let Some(item) = rx.recv().await {
            match item {
                Fetched::Size(n) => got.size = Some(n),
                Fetched::Bytes(n) => got.bytes = n,
                Fetched::Tracks(_) => {}
                Fetched::Frame(f) if f.kind() == MediaKind::Video => {
                    got.stamps.push(f.pts);
                    if let Some((n, _)) = painted(&mut decoder, &f.payload) {
                        got.moments.push(moment(n));
                    }
                }
                Fetched::Frame(_) => got.sound += 1,
            }
        }
        got
    };
    let (result, got) = tokio::join!(work, read);
    (got, result)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_is_whole_faster_than_time_and_ends_with_121_or_without() {
    if fieldsim().is_none() {
        return;
    }
    for (n, faults) in
        [vec![], vec!["--fault", "no-121", "--fault", "no-filesize", "--media", "udp"]].into_iter().enumerate()
    {
        let field = Field::start(26_900 + 50 * n as u16, &faults).await;
        let began = std::time::Instant::now();
        let (got, result) = fetch(&field, FetchOrder { from: T0 + 10_000, to: T0 + 22_000, speed: 4 }).await;
        result.unwrap();
        assert!(began.elapsed() < Duration::from_secs(11), "12 s in {:?}", began.elapsed());
        let wanted: Vec<i64> = (0..300).map(|n| 10_000 + n * 40).collect();
        assert_eq!(got.moments, wanted, "{faults:?}");
        assert!(got.stamps.windows(2).all(|w| w[1] - w[0] == 3600), "the recording's own stamps");
        assert_eq!(got.size.is_some(), n == 0);
        assert!(got.bytes > 10_000 && got.sound > 250, "{} bytes, {} sounds", got.bytes, got.sound);
        field.hall.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_the_device_drops_says_how_far_it_came() {
    if fieldsim().is_none() {
        return;
    }
    let field = Field::start(26_050, &["--fault", "drop-download=5"]).await;
    let (got, result) = fetch(&field, FetchOrder { from: T0, to: T0 + 20_000, speed: 4 }).await;
    let fault = result.unwrap_err();
    assert_eq!(fault.code, "cut_short", "{fault}");
    assert!(fault.retry && (120..=126).contains(&got.moments.len()), "{} pictures", got.moments.len());
    assert_eq!(field.hall.metric("skybridge_gb28181_history_sessions_total", "cut_short"), 1.0);
    field.hall.end().await;
}
