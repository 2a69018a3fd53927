//! The bridge against the simulated field, on real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{ChannelId, ChannelKind, Command, DeviceId, DeviceKind};
use media_core::Codec;
use media_hub::{Outcome, Step, StreamState};
use support::*;

const ONE: &str = "34020000001320000001";
const NVR: &str = "34020000001180000002";
const THREE: &str = "34020000001320000003";

fn channel(device: &str, name: &str) -> ChannelId {
    ChannelId::new(&DeviceId::new("gb28181", device), name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registration_with_and_without_digest_catalog_and_logout() {
    if fieldsim().is_none() {
        return;
    }
    let store = Arc::default();
    let hall = Hall::start(27_100, 27_110, config(), &[(THREE, "Square#7")], &store).await;
    let mut plain = Camera::start(hall.sip, &["--id", ONE]);
    let mut wrong = Camera::start(hall.sip, &["--id", THREE, "--password", "guess"]);
    let registered = plain.event("registered", 0, 10).await;
    assert_eq!(registered["digest"], false);
    assert!(registered["version"].is_null(), "X-GB-Ver only to those that send it");
    assert!(registered["clock_offset_ms"].as_i64().unwrap().abs() < 2000, "Date is Beijing time: {registered}");
    let failed = wrong.event("register_failed", 0, 10).await;
    assert_eq!(failed["reason"], "refused with 403");
    assert!(hall.device(THREE).is_none(), "a wrong password leaves no device behind");
    drop(wrong);

    let mut right = Camera::start(hall.sip, &["--id", THREE, "--password", "Square#7", "--name", "广场枪机 Square"]);
    assert_eq!(right.event("registered", 0, 10).await["digest"], true);
    let mut nvr = Camera::start(
        hall.sip,
        &["--id", NVR, "--channels", "40", "--transport", "tcp", "--edition", "2022", "--name", "江堤录像机"],
    );
    assert_eq!(nvr.event("registered", 0, 10).await["version"], "3.0");

    let d = hall.until(ONE, "catalogued", 15, |d| !d.channels.is_empty()).await;
    assert_eq!(
        (d.online, d.transport.as_str(), d.version.as_str(), d.kind),
        (true, "udp", "GB/T 28181-2016", DeviceKind::Camera)
    );
    assert_eq!((d.manufacturer.as_str(), d.name.as_str()), ("Fieldsim", "北门球机 North gate dome"));
    assert_eq!((d.channels.len(), d.channels[0].id.name(), d.channels[0].kind), (1, ONE, ChannelKind::Video));
    let d = hall.until(THREE, "catalogued", 15, |d| !d.channels.is_empty()).await;
    assert_eq!(d.name, "广场枪机 Square");
    let d = hall.until(NVR, "catalogued with all pages", 20, |d| d.channels.len() == 40).await;
    assert_eq!((d.transport.as_str(), d.version.as_str(), d.kind), ("tcp", "GB/T 28181-2022", DeviceKind::Nvr));
    assert_eq!(hall.metric("skybridge_gb28181_devices_online", ""), 3.0);
    assert!(hall.metric("skybridge_gb28181_registrations_total", "denied") >= 1.0);
    assert_eq!(hall.metric("skybridge_gb28181_catalog_queries_total", "complete"), 3.0);

    plain.log_out().await;
    let d = hall.until(ONE, "off line", 3, |d| !d.online).await;
    assert_eq!(d.offline_reason.as_ref().unwrap().zh, "设备已注销");
    assert!(hall.bridge.health().ready);
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_over_udp_with_pictures_sound_trace_and_bye_after_grace() {
    if fieldsim().is_none() {
        return;
    }
    let store = Arc::default();
    let hall = Hall::start(27_200, 27_210, config(), &[], &store).await;
    let mut camera = Camera::start(hall.sip, &["--id", ONE, "--index", "5", "--tone", "440"]);
    hall.until(ONE, "catalogued", 15, |d| !d.channels.is_empty()).await;
    let mut first = hall.watch(ONE, ONE);
    let mut second = hall.watch(ONE, ONE);
    let seen = watch_for(&mut first, 100, 15).await;
    assert_eq!((seen.size, seen.lagged), ((640, 360), 0));
    assert!(seen.keys >= 1 && seen.codes.len() >= 90, "{} codes of {} pictures", seen.codes.len(), seen.pictures);
    assert!(seen.codes.iter().all(|(_, camera)| *camera == 5));
    let lost = seen.codes.windows(2).filter(|w| w[1].0 != w[0].0 + 1).count();
    assert!(lost <= 2, "frame numbers follow one another: {lost} gaps");
    assert_eq!(seen.sound_codec, Some(Codec::G711A));
    assert!(seen.samples.len() > 8000 && tone(&seen.samples, 440.0) > 0.9, "tone {}", tone(&seen.samples, 440.0));
    let apart = seen.first_picture.unwrap() - seen.first_sound.unwrap();
    assert!(apart.abs() < 0.2, "picture and sound on one origin: {apart}");
    watch_for(&mut second, 20, 10).await;
    assert_eq!(camera.all("invite").len(), 1, "one INVITE for two viewers");
    let stream = first.stream().clone();
    let trace_now = stream.trace();
    for step in [
        Step::Wanted,
        Step::Invited,
        Step::Answered,
        Step::Connected,
        Step::FirstPacket,
        Step::Ssrc,
        Step::SourceAddress,
        Step::Demuxed,
        Step::ParameterSets,
        Step::FirstKeyFrame,
        Step::Live,
    ] {
        assert!(trace_now.reached(step), "{step:?} in\n{}", trace(&first));
    }
    assert_eq!(camera.all("invite")[0]["call_id"], trace_now.session.as_str());
    // A viewer that goes and comes back within the grace keeps the session.
    drop((first, second));
    tokio::time::sleep(Duration::from_millis(400)).await;
    let mut third = hall.watch(ONE, ONE);
    watch_for(&mut third, 10, 5).await;
    assert_eq!(camera.all("invite").len(), 1);
    drop(third);
    let left = Instant::now();
    assert_eq!(camera.event("bye", 0, 5).await["by"], "platform");
    assert!(left.elapsed() > Duration::from_millis(700), "BYE after the grace, not before");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(hall.metric("skybridge_gb28181_sessions_total", "ended"), 1.0);
    assert_eq!(hall.metric("skybridge_gb28181_sessions_live", ""), 0.0);
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_over_tcp_both_ways_with_aac_and_the_way_is_learned() {
    if fieldsim().is_none() {
        return;
    }
    let store: Arc<Store> = Arc::default();
    let mut config = config();
    config.devices.entry(THREE.into()).or_default().transport =
        Some(skybridge_bridge_gb28181::MediaTransport::TcpActive);
    let hall = Hall::start(27_300, 27_310, config, &[], &store).await;
    let tcp =
        ["--id", NVR, "--channels", "2", "--transport", "tcp", "--media", "tcp", "--edition", "2022", "--audio", "aac"];
    let mut nvr = Camera::start(hall.sip, &tcp);
    // Signals over UDP, sends over TCP only: refuses the first offer with 488.
    let mut stubborn = Camera::start(hall.sip, &["--id", ONE, "--media", "tcp", "--index", "7"]);
    let mut listens = Camera::start(hall.sip, &["--id", THREE, "--media", "tcp"]);
    let d = hall.until(NVR, "catalogued", 15, |d| d.channels.len() == 2).await;
    hall.until(ONE, "catalogued", 15, |d| !d.channels.is_empty()).await;
    hall.until(THREE, "catalogued", 15, |d| !d.channels.is_empty()).await;
    let mut watched = hall.watch(NVR, d.channels[1].id.name());
    let seen = watch_for(&mut watched, 60, 15).await;
    assert!(seen.codes.len() >= 50 && seen.sound_codec == Some(Codec::Aac) && seen.sound > 20);
    let aac = watched.stream().tracks().iter().find(|t| t.codec == Codec::Aac).unwrap().clone();
    assert!(!aac.config.is_empty() && aac.clock_rate > 8000);
    assert_eq!(nvr.event("invite", 0, 1).await["role"], "active");
    let mut second = hall.watch(ONE, ONE);
    let seen = watch_for(&mut second, 40, 15).await;
    assert!(seen.codes.iter().all(|(_, index)| *index == 7) && seen.codes.len() > 30);
    assert_eq!(stubborn.event("invite", 0, 1).await["answered"], 488);
    assert_eq!(stubborn.event("invite", 1, 1).await["answered"], 200);
    let mut third = hall.watch(THREE, THREE);
    watch_for(&mut third, 40, 15).await;
    assert_eq!(listens.event("invite", 0, 1).await["role"], "passive");
    assert!(third.stream().trace().steps.iter().any(|s| s.step == Step::Connected && s.detail.contains("TcpActive")));
    drop(second);
    stubborn.event("bye", 0, 5).await;
    let mut again = hall.watch(ONE, ONE);
    watch_for(&mut again, 10, 10).await;
    assert_eq!(stubborn.event("invite", 2, 1).await["answered"], 200, "the way is remembered");
    // Orderly end: BYE to all, and nobody is logged out.
    hall.end().await;
    assert_eq!(nvr.event("bye", 0, 3).await["by"], "platform");
    assert!(store.0.lock().unwrap().values().all(|d| d.online));
}

/// One camera with a fault; gives its fault and its trace.
async fn faulty(hall: &Hall, id: &str, args: &[&str]) -> (media_hub::Fault, String, Camera) {
    let all: Vec<&str> = ["--id", id].iter().chain(args).copied().collect();
    let camera = Camera::start(hall.sip, &all);
    hall.until(id, "catalogued", 15, |d| !d.channels.is_empty()).await;
    let mut watched = hall.watch(id, id);
    let fault = fault(&mut watched, 20).await;
    (fault, trace(&watched), camera)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_named_while_another_camera_plays_on() {
    if fieldsim().is_none() {
        return;
    }
    let mut config = config();
    let strict = "34020000001320000042";
    config.devices.entry(strict.into()).or_default().strict_ssrc = Some(true);
    let hall = Hall::start(27_400, 27_410, config, &[], &Arc::default()).await;
    let _good = Camera::start(hall.sip, &["--id", ONE]);
    hall.until(ONE, "catalogued", 15, |d| !d.channels.is_empty()).await;
    let mut playing = hall.watch(ONE, ONE);
    watch_for(&mut playing, 10, 10).await;
    let steady = tokio::spawn(async move {
        let seen = watch_for(&mut playing, 25 * 12, 60).await;
        (seen, playing)
    });
    let cases: [(&str, &str, &[&str], Step); 8] = [
        ("34020000001320000041", "no_media", &["--fault", "silent"], Step::FirstPacket),
        (strict, "wrong_ssrc", &["--fault", "wrong-ssrc"], Step::Ssrc),
        (
            "34020000001320000043",
            "tcp_not_connected",
            &["--transport", "tcp", "--fault", "tcp-never-connects"],
            Step::Connected,
        ),
        ("34020000001320000044", "ps_undecodable", &["--fault", "garbage"], Step::Demuxed),
        ("34020000001320000045", "not_rtp", &["--fault", "garbage-rtp"], Step::FirstPacket),
        ("34020000001320000046", "rejected_busy", &["--fault", "busy"], Step::Answered),
        ("34020000001320000047", "no_answer", &["--fault", "no-answer"], Step::Answered),
        ("34020000001320000048", "rejected_not_found", &["--fault", "reject=404"], Step::Answered),
    ];
    let mut running = Vec::new();
    let field = &hall;
    for (id, code, args, step) in cases {
        running.push(async move { (code, step, faulty(field, id, args).await) });
    }
    for (code, step, (fault, trace, _)) in futures(running).await {
        println!("{code}: {fault}\n{trace}");
        assert_eq!(fault.code, code, "{fault}\n{trace}");
        assert!(!fault.next_zh.is_empty());
        assert!(
            trace.lines().any(|l| l.starts_with(&format!("{step:?} {:?}", Outcome::Failed))),
            "{code}: {step:?} in\n{trace}"
        );
        assert!(hall.metric("skybridge_gb28181_sessions_total", code) >= 1.0);
    }
    let (seen, _) = steady.await.unwrap();
    let lost = seen.codes.windows(2).filter(|w| w[1].0 != w[0].0 + 1).count();
    // Its decoder starts anew within a group of 100 pictures.
    assert!(
        seen.codes.len() >= 195 && lost <= 12,
        "the good camera played on: {} codes, {lost} gaps",
        seen.codes.len()
    );
    hall.end().await;
}

/// All at once, in order.
async fn futures<F: Future>(list: Vec<F>) -> Vec<F::Output> {
    let mut list: Vec<_> = list.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = list.iter().map(|_| None).collect();
    std::future::poll_fn(move |cx| {
        for (f, slot) in list.iter_mut().zip(done.iter_mut()).filter(|(_, slot)| slot.is_none()) {
            if let std::task::Poll::Ready(out) = f.as_mut().poll(cx) {
                *slot = Some(out);
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(done.iter_mut().filter_map(Option::take).collect()),
            false => std::task::Poll::Pending,
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_that_is_odd_but_good_is_taken_and_noted() {
    if fieldsim().is_none() {
        return;
    }
    let hall = Hall::start(27_500, 27_510, config(), &[], &Arc::default()).await;
    let cases: [(&str, &[&str], Step, &str); 5] = [
        ("34020000001320000051", &["--fault", "wrong-ssrc"], Step::Ssrc, "learned"),
        ("34020000001320000052", &["--fault", "no-y"], Step::Answered, "no y="),
        ("34020000001320000053", &["--fault", "other-address"], Step::SourceAddress, "learned"),
        ("34020000001320000054", &["--fault", "no-psm"], Step::Demuxed, "without map"),
        ("34020000001320000055", &["--fault", "slow-first=2"], Step::FirstPacket, "after 2"),
    ];
    for (id, args, step, word) in cases {
        let all: Vec<&str> = ["--id", id].iter().chain(args).copied().collect();
        let _camera = Camera::start(hall.sip, &all);
        hall.until(id, "catalogued", 15, |d| !d.channels.is_empty()).await;
        let mut watched = hall.watch(id, id);
        watch_for(&mut watched, 20, 15).await;
        let text = trace(&watched);
        let line =
            text.lines().find(|l| l.starts_with(&format!("{step:?} Ok"))).unwrap_or_else(|| panic!("{id}\n{text}"));
        assert!(line.contains(word), "{id}: {line}");
    }
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_frame_and_a_stream_that_stops() {
    if fieldsim().is_none() {
        return;
    }
    let hall = Hall::start(27_600, 27_610, config(), &[], &Arc::default()).await;
    let (a, b) = ("34020000001320000061", "34020000001320000062");
    let both = vec![faulty(&hall, a, &["--fault", "no-keyframe"]), faulty(&hall, b, &["--fault", "stop-after=3"])];
    // Boxed as one type: both come of one function.
    let mut results = futures(both).await;
    let (lost, text, mut stopped) = results.remove(1);
    assert_eq!(lost.code, "media_lost", "{lost}\n{text}");
    assert!(lost.retry);
    let (none, text, mut hidden) = results.remove(0);
    assert!(matches!(none.code, "no_key_frame" | "no_parameter_sets"), "{none}\n{text}");
    // Asked at least twice, in both spellings, for its edition is not known.
    hidden.event("iframe", 3, 3).await;
    assert_eq!(stopped.event("bye", 0, 3).await["by"], "platform");
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_devices_and_three_missed_keepalives_lose_them() {
    if fieldsim().is_none() {
        return;
    }
    let store: Arc<Store> = Arc::default();
    let mut config = config();
    config.keepalive.interval = 2;
    let hall = Hall::start(27_700, 27_710, config.clone(), &[], &store).await;
    let mut camera = Camera::start(hall.sip, &["--id", ONE, "--keepalive", "2"]);
    hall.until(ONE, "catalogued", 15, |d| !d.channels.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    hall.end().await;
    assert_eq!(camera.all("registered").len(), 1);
    let hall = Hall::start(27_700, 27_810, config, &[], &store).await;
    let d = hall.device(ONE).expect("known from storage");
    assert!(d.online && !d.channels.is_empty(), "on line from storage, before it said a word");
    // It can be watched at once: requests go to its stored address.
    let mut watched = hall.watch(ONE, ONE);
    watch_for(&mut watched, 20, 10).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(hall.metric("skybridge_gb28181_keepalives_total", "") >= 1.0);
    assert_eq!(camera.all("registered").len(), 1, "it never had to register again");
    assert_eq!(camera.event("invite", 0, 1).await["answered"], 200);
    drop(watched);
    drop(camera);
    let d = hall.until(ONE, "off line", 12, |d| !d.online).await;
    assert_eq!(d.offline_reason.as_ref().unwrap().en, "no message of the device for 7 s");
    let mut offline = hall.watch(ONE, ONE);
    let why = fault(&mut offline, 5).await;
    assert_eq!(why.code, "device_offline");
    assert!(why.zh.contains("没有收到设备的任何消息"), "{}", why.zh);
    // Whoever waits sees pictures as soon as the device is back.
    let _back = Camera::start(hall.sip, &["--id", ONE, "--keepalive", "2"]);
    watch_for(&mut offline, 10, 8).await;
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keepalive_of_a_stranger_is_refused_and_brings_it_back() {
    if fieldsim().is_none() {
        return;
    }
    let hall = Hall::start(27_750, 27_760, config(), &[], &Arc::default()).await;
    let mut camera = Camera::start(hall.sip, &["--id", ONE, "--keepalive", "1"]);
    camera.event("registered", 0, 10).await;
    hall.end().await;
    // Storage is lost: the device believes that it is registered.
    let hall = Hall::start(27_750, 27_860, config(), &[], &Arc::default()).await;
    // One that fell into the moment of the restart may have heard 503.
    camera.event("keepalive_missed", 1, 10).await;
    assert!(camera.all("keepalive_missed").iter().any(|e| e["reason"] == "refused with 403"));
    hall.until(ONE, "registered again", 15, |d| d.online).await;
    assert!(hall.metric("skybridge_gb28181_refused_messages_total", "not_registered") >= 1.0);
    // Somebody else who says that he is this device, from another address: refused, and the device's address stays.
    let address = hall.device(ONE).unwrap().address.clone();
    let forger = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
    forger.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let body = "<Notify><CmdType>Keepalive</CmdType><SN>1</SN><DeviceID>34020000001320000001</DeviceID></Notify>";
    let text = format!(
        "MESSAGE sip:34020000002000000001@3402000000 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.2:5060;rport;branch=z9hG4bKforged\r\n\
         From: <sip:{ONE}@3402000000>;tag=f\r\nTo: <sip:34020000002000000001@3402000000>\r\nCall-ID: forged\r\nCSeq: 1 MESSAGE\r\n\
         Max-Forwards: 70\r\nContent-Type: Application/MANSCDP+xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    forger.send_to(text.as_bytes(), hall.sip).unwrap();
    let mut answer = [0; 2000];
    let size = tokio::task::block_in_place(|| forger.recv(&mut answer)).unwrap();
    assert!(answer[..size].starts_with(b"SIP/2.0 403"), "{}", String::from_utf8_lossy(&answer[..size]));
    assert_eq!(hall.device(ONE).unwrap().address, address);
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_turns_and_is_stopped() {
    if fieldsim().is_none() {
        return;
    }
    let hall = Hall::start(27_900, 27_910, config(), &[], &Arc::default()).await;
    let mut camera = Camera::start(hall.sip, &["--id", ONE]);
    hall.until(ONE, "catalogued", 15, |d| !d.channels.is_empty()).await;
    let at = channel(ONE, ONE);
    // A quarter of full speed, so that the panorama does not come round.
    let turn = |pan: f32| Command::Ptz { channel: at.clone(), pan, tilt: -0.5, zoom: 0.0 };
    hall.bridge.command(turn(0.25)).await.unwrap();
    let first = camera.event("ptz", 0, 3).await;
    assert_eq!((&first["action"], &first["pan"], &first["tilt"]), (&"move".into(), &1.into(), &(-1).into()));
    assert_eq!((first["pan_speed"].as_u64(), first["tilt_speed"].as_u64()), (Some(64), Some(128)));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    hall.bridge.command(turn(0.25)).await.unwrap();
    let repeated = Instant::now();
    let stop = camera.event("ptz", 2, 5).await;
    assert_eq!(stop["action"], "stop");
    let after = repeated.elapsed();
    assert!((1800..2800).contains(&(after.as_millis() as u64)), "stopped {after:?} after the last repeat");
    let pan = stop["pose"]["pan"].as_f64().unwrap();
    assert!((60.0..180.0).contains(&pan), "it had turned: {stop}");
    hall.bridge.command(turn(-1.0)).await.unwrap();
    hall.bridge.command(Command::Ptz { channel: at.clone(), pan: 0.0, tilt: 0.0, zoom: 0.0 }).await.unwrap();
    assert_eq!(camera.event("ptz", 4, 3).await["action"], "stop");
    hall.bridge.command(Command::KeyFrame { channel: at.clone() }).await.unwrap();
    camera.event("iframe", 0, 3).await;
    let asked = camera.all("message").iter().filter(|m| m["cmd"] == "Catalog").count();
    hall.bridge.command(Command::Refresh { device: DeviceId::new("gb28181", ONE) }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(camera.all("message").iter().filter(|m| m["cmd"] == "Catalog").count(), asked + 1);
    let unknown = hall.bridge.command(Command::KeyFrame { channel: channel(ONE, NVR) }).await.unwrap_err();
    assert_eq!(unknown.code, "unknown_channel");
    // A key frame that a viewer asks for reaches the camera.
    let mut watched = hall.watch(ONE, ONE);
    watch_for(&mut watched, 20, 10).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let before = camera.all("iframe").len();
    watched.stream().request_key_frame();
    camera.event("iframe", before, 5).await;
    assert_eq!(watched.stream().state(), StreamState::Live);
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_hangs_up_or_dies_is_told_apart() {
    if fieldsim().is_none() {
        return;
    }
    let hall = Hall::start(27_950, 27_960, config(), &[], &Arc::default()).await;
    let polite = Camera::start(hall.sip, &["--id", ONE]);
    let killed = Camera::start(hall.sip, &["--id", THREE, "--transport", "tcp"]);
    hall.until(ONE, "catalogued", 15, |d| !d.channels.is_empty()).await;
    hall.until(THREE, "catalogued", 15, |d| !d.channels.is_empty()).await;
    let (mut one, mut three) = (hall.watch(ONE, ONE), hall.watch(THREE, THREE));
    watch_for(&mut one, 10, 10).await;
    watch_for(&mut three, 10, 10).await;
    polite.log_out().await;
    let why = fault(&mut one, 3).await;
    assert_eq!(why.code, "bye_from_device", "{why}");
    drop(killed);
    let why = fault(&mut three, 5).await;
    // Signalling and media break in the same moment: whichever is seen first.
    assert!(matches!(why.code, "tcp_closed" | "device_lost"), "{why}");
    hall.end().await;
}
