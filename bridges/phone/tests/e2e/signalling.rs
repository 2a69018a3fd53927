//! Signalling with a phone of our own making.

use std::time::Duration;

use bridge_core::{DeviceId, Timestamp};
use sip::{CallEvent, EndReason, Method, Request, Uri};
use skybridge_bridge_phone::{Config, Digest};

use crate::gateway::{Gateway, PIN};
use crate::raw::{Raw, answer, end, media_of};
use crate::signal::level;

#[tokio::test(flavor = "multi_thread")]
async fn registrations() {
    let gw = Gateway::start(28_400, Config { digest: vec![Digest::Sha256, Digest::Md5], ..Config::default() }).await;
    let a = Raw::start("8001", 28_410, gw.port).await;
    assert_eq!(a.register("false", 300).await.code, 403);
    assert!(!gw.online("8001"));
    // By SHA-256: the client answers the first challenge.
    let ok = a.register("secret1", 300).await;
    assert_eq!((ok.code, ok.headers.get("Expires")), (200, Some("300")));
    let device = gw.ctx.registry.get(&DeviceId::new("phone", "8001")).unwrap();
    assert!(device.online && device.channels[0].id.0 == "phone:8001/0" && device.channels[0].online);
    assert_eq!(
        (device.name.as_str(), device.transport.as_str(), device.address.as_str()),
        ("话机8001", "udp", "127.0.0.1:28410")
    );
    assert!(device.expires_at.unwrap() > Timestamp::now().plus_seconds(290));
    // Bounds.
    let brief = a.register("secret1", 10).await;
    assert_eq!((brief.code, brief.headers.get("Min-Expires")), (423, Some("60")));
    assert_eq!(a.register("secret1", 90_000).await.headers.get("Expires"), Some("3600"));
    // Of 8002 only the MD5 hash is known; nobody may register another's number.
    let b = Raw::start("8002", 28_412, gw.port).await;
    assert_eq!(b.register("secret2", 300).await.code, 200);
    let stranger = Raw::start("1234", 28_414, gw.port).await;
    assert_eq!(stranger.register("secret1", 300).await.code, 403);
    // Several contacts of one account; one leaves, the account stays.
    let a2 = Raw::start("8001", 28_416, gw.port).await;
    let two = a2.register("secret1", 300).await;
    assert_eq!(two.headers.get_all("Contact").count(), 2);
    assert_eq!(a2.register("secret1", 0).await.code, 200);
    assert!(gw.online("8001"));
    // Restart: the same storage, a new gateway; the phone can be called without a new REGISTER.
    gw.ctx.registry.flush().await;
    let store = gw.store.clone();
    gw.stop().await;
    let gw = Gateway::start_with(28_400, Config::default(), store).await;
    assert!(gw.online("8001") && gw.online("8002"));
    let mut call = a.invite("700", &a.offer("8", "sendrecv"), &[], None).await;
    assert_eq!(answer(&mut call).await.unwrap().code, 200, "known by the path of its registration");
    call.bye();
    // Logging out.
    assert_eq!(a.register("secret1", 0).await.code, 200);
    gw.wait_online("8001", false).await;
    let why = gw.ctx.registry.get(&DeviceId::new("phone", "8001")).unwrap().offline_reason.clone().unwrap();
    assert_eq!(why.en, "the phone logged out");
    gw.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_calls() {
    let gw = Gateway::start(28_500, Config { max_calls_per_caller: 2, ..Config::default() }).await;
    let a = Raw::start("8001", 28_510, gw.port).await;
    let body = a.offer("8 0 96", "sendrecv");
    // No open relay: neither an unknown caller nor a known one without password.
    let stranger = Raw::start("1234", 28_512, gw.port).await;
    for (raw, number) in [(&stranger, "700"), (&stranger, "999"), (&a, "700")] {
        let mut call = raw.invite(number, &body, &[], None).await;
        assert_eq!(answer(&mut call).await.unwrap_err().code, 401);
    }
    let mut call = stranger.invite("700", &body, &[], Some("x")).await;
    assert_eq!(answer(&mut call).await.unwrap_err().code, 403);
    // Proven by digest without registration.
    let mut call = a.invite("999", &body, &[], Some("secret1")).await;
    assert_eq!(answer(&mut call).await.unwrap_err().code, 404);
    let mut call = a.invite("700", &a.offer("3 96", "sendrecv"), &[], Some("secret1")).await;
    let refused = answer(&mut call).await.unwrap_err();
    assert_eq!(refused.code, 488);
    assert!(refused.headers.get("Warning").unwrap().starts_with("304"));
    let mut call = a.invite("700", &body, &[("Session-Expires", "60"), ("Supported", "timer")], Some("secret1")).await;
    let refused = answer(&mut call).await.unwrap_err();
    assert_eq!((refused.code, refused.headers.get("Min-SE")), (422, Some("90")));
    let mut call = a.invite("700", "no sdp at all", &[], Some("secret1")).await;
    assert!(matches!(answer(&mut call).await.unwrap_err().code, 400 | 488));
    // Limits per caller.
    let mut one = a.invite("700", &body, &[], Some("secret1")).await;
    let mut two = a.invite("700", &body, &[], Some("secret1")).await;
    answer(&mut one).await.unwrap();
    answer(&mut two).await.unwrap();
    let mut three = a.invite("700", &body, &[], Some("secret1")).await;
    assert_eq!(answer(&mut three).await.unwrap_err().code, 486);
    assert_eq!(gw.bridge.health().detail, "0 phones registered, 2 calls");
    one.bye();
    two.bye();
    // OPTIONS.
    let options = a
        .sip
        .request(sip::Target::Address(sip::Transport::Udp, a.gateway), a.request(Method::Options, "700"))
        .await
        .unwrap();
    assert!(options.code == 200 && options.headers.get("Allow").unwrap().contains("INVITE"));
    assert_eq!(gw.counter("skybridge_phone_calls_ended_total", "unauthorized"), 1.0);
    assert_eq!(gw.counter("skybridge_phone_calls_ended_total", "no_codec"), 1.0);
    gw.stop().await;
}

/// PIN by RFC 4733 whose end packets are lost, then by both forms of INFO; hold and resume; packets in a steady row.
#[tokio::test(flavor = "multi_thread")]
async fn keys_hold_and_packets() {
    let gw = Gateway::start(28_600, Config { pin_digit_timeout: 1, ..Config::default() }).await;
    let mut a = Raw::start("8001", 28_610, gw.port).await;
    assert_eq!(a.register("secret1", 300).await.code, 200);
    let mut call = a.invite("600", &a.offer("8 96", "sendrecv"), &[], None).await;
    let media = media_of(&answer(&mut call).await.unwrap());
    for key in "99*2468".chars() {
        a.talk(media, 440.0).await;
        a.key(media, key).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    // No `#`: the PIN is complete a second after its last digit.
    gw.rooms.wait("Connected", 4).await;
    call.bye();
    gw.rooms.wait("Left", 4).await;

    let told = gw.rooms.reports().len();
    let mut call = a.invite("600", &a.offer("8 96", "sendrecv"), &[], None).await;
    answer(&mut call).await.unwrap();
    for (n, key) in format!("{PIN}#").chars().enumerate() {
        let mut info = Request::new(Method::Info, Uri::default());
        if n % 2 == 0 {
            info.set_body("application/dtmf-relay", format!("Signal={key}\r\nDuration=160\r\n"));
        } else {
            info.set_body("application/dtmf", key.to_string());
        }
        assert_eq!(call.send(info).await.unwrap().code, 200);
    }
    gw.rooms.wait_after(told, "Connected", 4).await;

    // The mix comes in a steady row: 50 packets a second, numbers by 1, time stamps by 160.
    let browser = gw.rooms.browser("600", 1100.0);
    tokio::time::sleep(Duration::from_millis(800)).await;
    a.hear(Duration::from_millis(50)).await;
    let heard = a.hear(Duration::from_secs(2)).await;
    println!("{} packets in 2 s", heard.len());
    assert!((95..=105).contains(&heard.len()), "{}", heard.len());
    for pair in heard.windows(2) {
        assert_eq!(pair[1].0, pair[0].0.wrapping_add(1));
        assert_eq!(pair[1].1, pair[0].1.wrapping_add(160));
        assert_eq!((pair[1].2, pair[1].3.len()), (8, 160));
    }
    let mut linear = Vec::new();
    heard.iter().for_each(|p| media_core::g711::decode(true, &p.3, &mut linear));
    let sound: Vec<f32> = linear.iter().map(|s| f32::from(*s) / 32768.0).collect();
    assert!(level(&sound, 1100.0) > 0.2);

    // Hold: nothing is sent any more, and the seat knows; then resume.
    let mut hold = Request::new(Method::Invite, Uri::default());
    hold.set_body("application/sdp", a.offer("8 96", "sendonly"));
    let held = call.send(hold).await.unwrap();
    assert!(held.code == 200 && String::from_utf8_lossy(&held.body).contains("a=recvonly"));
    gw.rooms.wait("Held(true)", 3).await;
    a.hear(Duration::from_millis(100)).await;
    assert!(a.hear(Duration::from_millis(500)).await.is_empty(), "silence towards a phone on hold");
    let mut resume = Request::new(Method::Update, Uri::default());
    resume.set_body("application/sdp", a.offer("8 96", "sendrecv"));
    assert_eq!(call.send(resume).await.unwrap().code, 200);
    gw.rooms.wait("Held(false)", 3).await;
    a.goes_on(21).await;
    // A codec that we do not know changes nothing.
    let mut bad = Request::new(Method::Invite, Uri::default());
    bad.set_body("application/sdp", a.offer("3", "sendrecv"));
    assert_eq!(call.send(bad).await.unwrap().code, 488);
    a.goes_on(11).await;
    // Another codec, by a new offer.
    let mut other = Request::new(Method::Invite, Uri::default());
    other.set_body("application/sdp", a.offer("0 96", "sendrecv"));
    assert_eq!(call.send(other).await.unwrap().code, 200);
    gw.rooms.wait_after(told, "hears: G711U", 3).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    a.hear(Duration::from_millis(50)).await;
    let heard = a.hear(Duration::from_secs(1)).await;
    assert!(heard.len() > 40 && heard.iter().all(|p| p.2 == 0));
    let mut linear = Vec::new();
    heard.iter().for_each(|p| media_core::g711::decode(false, &p.3, &mut linear));
    let sound: Vec<f32> = linear.iter().map(|s| f32::from(*s) / 32768.0).collect();
    assert!(level(&sound, 1100.0) > 0.2, "{}", level(&sound, 1100.0));
    browser.abort();
    call.bye();
    gw.stop().await;
}

/// An offer that comes late (in our 200, answered in the ACK), the session timer's two roles, and the end by shutdown.
#[tokio::test(flavor = "multi_thread")]
async fn delayed_offer_timer_and_shutdown() {
    let gw = Gateway::start(28_700, Config::default()).await;
    let mut a = Raw::start("8001", 28_710, gw.port).await;
    let mut call = a
        .invite("700", "", &[("Session-Expires", "1800;refresher=uac"), ("Supported", "timer")], Some("secret1"))
        .await;
    let ok = answer(&mut call).await.unwrap();
    assert_eq!(ok.headers.get("Session-Expires"), Some("1800;refresher=uac"));
    assert_eq!(ok.headers.get("Require"), Some("timer"));
    let media = media_of(&ok);
    call.ack_body("application/sdp", a.offer("0 96", "sendrecv"));
    gw.rooms.wait("Connected", 3).await;
    a.talk(media, 440.0).await;
    assert!(a.hear(Duration::from_millis(600)).await.iter().any(|p| p.2 == 0));
    let stop = tokio::spawn(gw.stop());
    assert!(matches!(end(&mut call, 3).await, EndReason::Bye(_)), "BYE at shutdown");
    println!("shutdown took {:?}", stop.await.unwrap());
}

/// A wrong PIN three times by keys, and nothing pressed at all.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_and_missing_pins() {
    let gw = Gateway::start(28_800, Config { pin_first_timeout: 2, ..Config::default() }).await;
    let a = Raw::start("8001", 28_810, gw.port).await;
    let mut call = a.invite("600", &a.offer("8 96", "sendrecv"), &[], Some("secret1")).await;
    answer(&mut call).await.unwrap();
    for key in "1#2#3#".chars() {
        let mut info = Request::new(Method::Info, Uri::default());
        info.set_body("application/dtmf", key.to_string());
        assert_eq!(call.send(info).await.unwrap().code, 200);
    }
    let EndReason::Bye(bye) = end(&mut call, 4).await else { panic!() };
    println!("BYE has Reason {:?}", bye.headers.get("Reason"));
    let mut call = a.invite("600", &a.offer("8 96", "sendrecv"), &[], Some("secret1")).await;
    answer(&mut call).await.unwrap();
    assert!(matches!(end(&mut call, 6).await, EndReason::Bye(_)));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(gw.counter("skybridge_phone_calls_ended_total", "wrong_pin"), 1.0);
    assert_eq!(gw.counter("skybridge_phone_calls_ended_total", "pin_timeout"), 1.0);
    gw.stop().await;
}

/// Reports of quality: every tenth packet is lost and one comes from a stranger.
#[tokio::test(flavor = "multi_thread")]
async fn loss_is_told_and_strangers_are_not_heard() {
    let gw = Gateway::start(28_900, Config::default()).await;
    let mut a = Raw::start("8001", 28_910, gw.port).await;
    let mut stranger = Raw::start("8003", 28_912, gw.port).await;
    let mut call = a.invite("700", &a.offer("8 96", "sendrecv"), &[], Some("secret1")).await;
    let media = media_of(&answer(&mut call).await.unwrap());
    let browser = gw.rooms.browser("700", 1100.0);
    gw.rooms.wait("Connected", 3).await;
    let heard = tokio::spawn({
        let rooms = gw.rooms.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(700)).await;
            rooms.heard_by_browser("700", 3.0).await
        }
    });
    let mut every = tokio::time::interval(Duration::from_millis(20));
    for n in 0..230 {
        every.tick().await;
        if n % 10 == 7 {
            // Lost: the number and the time go on.
            let to = stranger.rtp.local_addr().unwrap();
            a.talk(to, 440.0).await;
        } else {
            a.talk(media, 440.0).await;
        }
        stranger.talk(media, 1700.0).await;
    }
    let heard = heard.await.unwrap();
    let heard = &heard[48_000..];
    let own = crate::signal::level_at(heard, 440.0, 48_000.0);
    let other = crate::signal::level_at(heard, 1700.0, 48_000.0);
    println!("with 10 % loss the browser hears 440: {own:.4}, the stranger: {other:.4}");
    // The stranger uses the phone's own SSRC from the same host. Heard, its level would be 0.24.
    assert!(own > 0.15 && other < 0.02);
    let quality: Vec<String> = gw.rooms.reports().into_iter().map(|r| r.1).filter(|r| r.contains("Quality")).collect();
    println!("{quality:?}");
    assert!(quality.iter().any(|q| {
        let percent: f32 = q.split("loss_percent: ").nth(1).and_then(|s| s.split(',').next()?.parse().ok()).unwrap();
        (7.0..13.0).contains(&percent)
    }));
    assert!(gw.counter("skybridge_phone_rtp_packets_bad_total", "") > 200.0);
    browser.abort();
    match tokio::time::timeout(Duration::from_millis(10), call.next()).await {
        Err(_) | Ok(Some(CallEvent::Request { .. })) => {}
        other => panic!("bad packets ended the call: {other:?}"),
    }
    call.bye();
    gw.stop().await;
}
