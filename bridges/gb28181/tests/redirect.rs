//! Redirect registration (302) between gateways on real sockets, with devices of the simulated field that follow it and come back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bridge_core::RegistryEvent;
use skybridge_bridge_gb28181::Config;
use support::*;
use tokio::net::UdpSocket;

const FIRST: &str = "34020000002000000001";
const A: &str = "34020000002000000002";
const B: &str = "34020000002000000003";
const ONE: &str = "34020000001320000001";
const TWO: &str = "34020000001320000002";
const OLD: &str = "34020000001320000003";

/// `FIRST` with one rule for all cameras (132) of the 2022 edition.
fn sends_on(to: &[(&str, u16)]) -> Config {
    let to: Vec<String> =
        to.iter().map(|(id, port)| format!("{{ server_id = '{id}', address = '127.0.0.1:{port}' }}")).collect();
    let text = format!("[[redirect]]\nname = 'county'\nids = '*'\ntypes = [132]\nto = [{}]", to.join(", "));
    let config = Config { redirect: toml::from_str::<Config>(&text).unwrap().redirect, ..config() };
    assert_eq!(config.problems(), Vec::<String>::new());
    config
}

fn platform(id: &str) -> Config {
    Config { server_id: id.into(), ..config() }
}

fn new_camera<'a>(id: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--id", id, "--edition", "2022", "--retry", "0.5"], more].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_are_handed_to_other_platforms_and_play_from_there() {
    if fieldsim().is_none() {
        return;
    }
    let store: Arc<Store> = Arc::default();
    // As it was before the rule: the device is on line here.
    let first = Hall::start(29_400, 29_410, config(), &[(ONE, "Gate#1")], &store).await;
    let mut before = Camera::start(first.sip, &new_camera(ONE, &["--password", "Gate#1"]));
    before.event("registered", 0, 10).await;
    first.until(ONE, "catalogued", 15, |d| !d.channels.is_empty()).await;
    first.registry.flush().await;
    first.end().await;
    drop(before);

    let a = Hall::start(29_520, 29_530, platform(A), &[(ONE, "Gate#1")], &Arc::default()).await;
    let b = Hall::start(29_640, 29_650, platform(B), &[], &Arc::default()).await;
    let first = Hall::start(29_400, 29_410, sends_on(&[(A, 29_520), (B, 29_640)]), &[(ONE, "Gate#1")], &store).await;
    assert!(first.device(ONE).is_some_and(|d| d.online), "as storage held it");

    // Only who proves who it is hears where to go.
    let mut wrong = Camera::start(first.sip, &new_camera(ONE, &["--password", "guess"]));
    assert_eq!(wrong.event("register_failed", 0, 10).await["reason"], "refused with 403");
    assert!(wrong.all("redirected").is_empty());
    drop(wrong);

    let mut one = Camera::start(first.sip, &new_camera(ONE, &["--password", "Gate#1", "--index", "6"]));
    let sent = one.event("redirected", 0, 10).await;
    assert_eq!((sent["server"].as_str(), sent["server_id"].as_str()), (Some("127.0.0.1:29520"), Some(A)));
    assert_eq!(sent["expires"], "3600");
    assert_eq!(one.event("registered", 0, 10).await["server_id"], A);
    let gone = first.until(ONE, "off line here", 5, |d| !d.online).await;
    assert!(gone.offline_reason.as_ref().unwrap().en.contains(A), "{:?}", gone.offline_reason);

    // Its turn: the second server. Over TCP, which is a connection of its own to each.
    let mut two = Camera::start(first.sip, &new_camera(TWO, &["--transport", "tcp", "--media", "tcp"]));
    assert_eq!(two.event("redirected", 0, 10).await["server_id"], B);
    assert_eq!(two.event("registered", 0, 10).await["server_id"], B);
    // One of 2016 was never told of a 302.
    let mut old = Camera::start(first.sip, &["--id", OLD]);
    assert_eq!(old.event("registered", 0, 10).await["server_id"], FIRST);
    first.until(OLD, "catalogued", 15, |d| !d.channels.is_empty()).await;

    a.until(ONE, "catalogued", 15, |d| d.online && !d.channels.is_empty()).await;
    b.until(TWO, "catalogued", 15, |d| d.online && !d.channels.is_empty()).await;
    let seen = watch_for(&mut a.watch(ONE, ONE), 25, 15).await;
    assert!(seen.codes.len() > 15 && seen.codes.iter().all(|(_, index)| *index == 6), "{:?}", seen.codes);
    assert!(first.device(TWO).is_none(), "who is only sent on is no device of ours");
    assert!(!first.device(ONE).unwrap().online);
    assert_eq!(first.metric("skybridge_gb28181_registrations_total", "redirected"), 2.0);
    let sent = |id: &str| first.metric("skybridge_gb28181_redirects_total", id);
    assert_eq!((sent(A), sent(B), sent("here")), (1.0, 1.0, 0.0));
    assert_eq!(first.metric("skybridge_gb28181_catalog_queries_total", ""), 1.0, "nobody who was sent on is asked");
    assert_eq!(one.all("redirected").len() + two.all("redirected").len(), 2);
    for hall in [first, a, b] {
        hall.end().await;
    }
}

/// A platform with an error of its own: 500 to everything.
async fn broken(port: u16) {
    let socket = UdpSocket::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            let kept = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
            let lines = text.lines().filter(|l| kept.iter().any(|k| l.starts_with(k)));
            let head: String = lines.map(|l| format!("{l}\r\n")).collect();
            let answer = format!("SIP/2.0 500 Server Internal Error\r\n{head}Content-Length: 0\r\n\r\n");
            let _ = socket.send_to(answer.as_bytes(), from).await;
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_nobody_takes_is_taken_here() {
    if fieldsim().is_none() {
        return;
    }
    // One that is silent (nobody listens), one that refuses with 403, one that is broken.
    let config_of_a = Config { allow_without_password: false, ..platform(A) };
    let refuses = Hall::start(29_760, 29_770, config_of_a, &[], &Arc::default()).await;
    broken(29_881).await;
    let to = [("34020000002000000004", 29_880), (A, 29_760), (B, 29_881)];
    let first = Hall::start(29_890, 29_900, sends_on(&to), &[], &Arc::default()).await;
    let mut notes = first.registry.events();
    let mut camera = Camera::start(first.sip, &new_camera(ONE, &["--redirect-patience", "3"]));
    for (n, (id, _)) in to.iter().enumerate() {
        assert_eq!(camera.event("redirected", n, 20).await["server_id"], *id);
        assert_eq!(camera.event("redirect_failed", n, 20).await["server_id"], *id);
    }
    let reasons: Vec<String> =
        camera.all("register_failed").iter().map(|e| e["reason"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(reasons, ["refused with 403", "refused with 500"]);
    assert_eq!(camera.event("registered", 0, 20).await["server_id"], FIRST);
    first.until(ONE, "catalogued", 15, |d| d.online && !d.channels.is_empty()).await;
    let sent = |id: &str| first.metric("skybridge_gb28181_redirects_total", id);
    assert_eq!((sent(to[0].0), sent(A), sent(B), sent("here")), (1.0, 1.0, 1.0, 1.0));
    let mut told = Vec::new();
    while let Ok(event) = notes.try_recv() {
        if let RegistryEvent::Note { grave: true, text, .. } = event
            && text.en.contains("county")
        {
            told.push(text.en);
        }
    }
    // Twice it came back; of each kind of trouble there is one word a minute.
    assert!(told.len() == 2 && told[0].contains("is back") && told[1].contains("taken here"), "{told:?}");
    for hall in [first, refuses] {
        hall.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_falls_silent_loses_its_devices_to_the_next() {
    if fieldsim().is_none() {
        return;
    }
    let a = Hall::start(30_010, 30_020, platform(A), &[], &Arc::default()).await;
    let b = Hall::start(30_130, 30_140, platform(B), &[], &Arc::default()).await;
    let first = Hall::start(30_250, 30_260, sends_on(&[(A, 30_010), (B, 30_130)]), &[], &Arc::default()).await;
    let mut camera = Camera::start(first.sip, &new_camera(ONE, &["--keepalive", "0.5"]));
    assert_eq!(camera.event("registered", 0, 10).await["server_id"], A);
    a.until(ONE, "catalogued", 15, |d| d.online && !d.channels.is_empty()).await;
    a.end().await;
    assert_eq!(camera.event("redirect_failed", 0, 20).await["server_id"], A);
    assert_eq!(camera.event("registered", 1, 20).await["server_id"], B);
    b.until(ONE, "on line", 15, |d| d.online).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(camera.all("redirected").len(), 2, "it stays there");
    assert!(first.device(ONE).is_none());
    for hall in [first, b] {
        hall.end().await;
    }
}
