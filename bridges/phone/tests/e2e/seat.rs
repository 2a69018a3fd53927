//! A seat in a conference goes from phone to phone: attended transfer in both directions by pjsip, and INVITE with Replaces by a
//! second phone of the account.

use std::time::Duration;

use bridge_core::CallEndedBy;
use sip::EndReason;
use skybridge_bridge_phone::Config;

use crate::b2b::{pause, record};
use crate::features::{Seen, replaces};
use crate::gateway::Gateway;
use crate::pjsip::{Pjsip, connect};
use crate::raw::{Raw, answer, end, media_of};
use crate::signal::level_at;

/// What a browser in the room hears now: this tone, and not that one.
async fn room_hears(gw: &Gateway, hz: f32, not: f32) {
    let heard = gw.rooms.heard_by_browser("700", 1.5).await;
    let other = level_at(&heard[24_000..], not, 48_000.0);
    let pieces: Vec<f32> = heard[24_000..].chunks_exact(4_800).map(|c| level_at(c, hz, 48_000.0)).collect();
    println!("the room hears {hz} Hz at {pieces:.2?}, {not} Hz at {other:.4}");
    let good = pieces.iter().filter(|p| **p > 0.1).count();
    assert!(good * 10 >= pieces.len() * 6 && other < 0.01, "{hz}: {pieces:?}, {not}: {other}");
}

/// `attended`: in which of its calls (0: the conference) the member asks, and with which other one in Replaces.
async fn hand_over(port: u16, attended: &str, asked: &str) {
    let gw = Gateway::start(port, Config::default()).await;
    let mut records = gw.records();
    let mut a = Pjsip::start("8001", &gw, port + 10, "PCMA/8000", 440.0).await;
    let mut b = Pjsip::start("8005", &gw, port + 20, "PCMU/8000", 1300.0).await;
    let browser = gw.rooms.browser("700", 1000.0);
    a.order("dial 700");
    a.said("up 0").await;
    gw.rooms.wait("Connected", 5).await;
    a.hears(1000.0, &[440.0]).await;
    room_hears(&gw, 440.0, 1300.0).await;
    a.order("hold 0");
    a.said("sound 0 held").await;
    connect(&mut a, "8005", &mut b).await;
    b.hears(440.0, &[1000.0]).await;
    let told = gw.rooms.reports().len();
    a.order(&format!("attended {attended}"));
    a.said(&format!("transfer {asked} 200 True")).await;
    gw.rooms.wait_after(told, "Connected", 5).await;
    a.wait_for(&["ended 0", "ended 1"]).await;
    b.hears(1000.0, &[440.0, 1300.0]).await;
    room_hears(&gw, 1300.0, 440.0).await;
    // The same member, by another name; it never left.
    let reports: Vec<_> = gw.rooms.reports().into_iter().filter(|(_, r)| !r.starts_with("Quality")).collect();
    assert!(reports.iter().all(|(member, r)| *member == reports[0].0 && !r.starts_with("Left")), "{reports:?}");
    assert!(reports.iter().any(|(_, r)| r.starts_with("Person") && r.contains("8005")), "{reports:?}");
    let codes = [record(&mut records).await.code, record(&mut records).await.code];
    println!("{codes:?}");
    assert!(codes.iter().all(|c| ["transferred", "moved"].contains(&c.as_str())), "{codes:?}");
    b.order("hangup 0");
    b.said("ended 0").await;
    let last = record(&mut records).await;
    assert_eq!((last.code.as_str(), last.by), ("ended", CallEndedBy::Caller));
    assert_eq!((last.call.caller.number.as_str(), last.call.callee.number.as_str()), ("8005", "700"));
    gw.rooms.wait_after(told, "the phone hung up", 5).await;
    browser.abort();
    drop((a, b));
    let ports = gw.ctx.ports.clone();
    gw.stop().await;
    assert_eq!(ports.stats().used, 0, "a port was kept");
}

/// The member hands its seat to the phone that it has asked (REFER in its call with the conference).
#[tokio::test(flavor = "multi_thread")]
async fn a_member_hands_its_seat_to_another_phone() {
    hand_over(31_500, "0 1", "0").await;
}

/// The member takes its other call into the conference (REFER in that call).
#[tokio::test(flavor = "multi_thread")]
async fn a_member_takes_a_call_into_the_conference() {
    hand_over(31_600, "1 0", "1").await;
}

/// The member names a phone that is not there, then one that declines: it is told, and keeps its seat. Then one that answers: that phone
/// has the seat, and the member hangs up.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_hands_its_seat_on_blindly() {
    let gw = Gateway::start(23_400, Config::default()).await;
    let mut records = gw.records();
    let mut a = Pjsip::start("8001", &gw, 23_410, "PCMA/8000", 440.0).await;
    let mut b = Pjsip::start("8005", &gw, 23_420, "PCMU/8000", 1300.0).await;
    let browser = gw.rooms.browser("700", 1000.0);
    a.order("dial 700");
    a.said("up 0").await;
    gw.rooms.wait("Connected", 5).await;
    for (uri, code) in [("sip:9998@127.0.0.1:23400", "404"), ("sip:8002@127.0.0.1:23400", "480")] {
        a.order(&format!("xfer 0 {uri}"));
        a.said(&format!("transfer 0 {code}")).await;
    }
    a.order("xfer 0 sip:8005@127.0.0.1:23400");
    b.said("incoming 0").await;
    b.order("ring 0 180");
    a.said("transfer 0 180").await;
    b.order("ring 0 603");
    a.said("transfer 0 603 True").await;
    a.hears(1000.0, &[440.0]).await;
    room_hears(&gw, 440.0, 1300.0).await;
    let told = gw.rooms.reports().len();
    a.order("xfer 0 sip:8005@127.0.0.1:23400");
    b.said("incoming 1").await;
    b.order("answer 1");
    a.said("transfer 0 200 True").await;
    gw.rooms.wait_after(told, "Connected", 5).await;
    a.said("ended 0").await;
    b.hears(1000.0, &[440.0, 1300.0]).await;
    room_hears(&gw, 1300.0, 440.0).await;
    let reports: Vec<_> = gw.rooms.reports().into_iter().filter(|(_, r)| !r.starts_with("Quality")).collect();
    assert!(reports.iter().all(|(member, r)| *member == reports[0].0 && !r.starts_with("Left")), "{reports:?}");
    assert!(reports.iter().any(|(_, r)| r.starts_with("Person") && r.contains("8005")), "{reports:?}");
    assert_eq!(record(&mut records).await.code, "transferred");
    b.order("hangup 1");
    let last = record(&mut records).await;
    assert_eq!((last.code.as_str(), last.by), ("ended", CallEndedBy::Caller));
    assert_eq!((last.call.caller.number.as_str(), last.call.callee.number.as_str()), ("8005", "700"));
    gw.rooms.wait_after(told, "the phone hung up", 5).await;
    browser.abort();
    drop((a, b));
    let ports = gw.ctx.ports.clone();
    gw.stop().await;
    assert_eq!(ports.stats().used, 0, "a port was kept");
}

/// INVITE with Replaces: the account's second phone goes on in the conference, its own PIN is not asked for again; strangers, and
/// dialogs that are not there, are refused and the member stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_phone_of_the_account_takes_the_seat() {
    let gw = Gateway::start(31_700, Config::default()).await;
    let mut records = gw.records();
    let a = Raw::start("8001", 31_710, gw.port).await;
    let mut other = Raw::start("8001", 31_712, gw.port).await;
    let b = Raw::start("8003", 31_714, gw.port).await;
    for (phone, password) in [(&a, "secret1"), (&other, "secret1"), (&b, "secret3")] {
        assert_eq!(phone.register(password, 300).await.code, 200);
    }
    let browser = gw.rooms.browser("700", 1000.0);
    let seen = Seen::of(&a);
    let mut call = a.invite("700", &a.offer("0", "sendrecv"), &[], None).await;
    let ok = answer(&mut call).await.unwrap();
    gw.rooms.wait("Connected", 5).await;
    pause(0.3).await;
    let dialog = replaces(&ok);
    for (phone, value, code) in [
        (&other, "nobody;to-tag=1;from-tag=2".to_owned(), 481),
        (&other, format!("{dialog};early-only"), 486),
        (&b, dialog.clone(), 403),
    ] {
        let mut refused = phone.invite("700", &phone.offer("8", "sendrecv"), &[("Replaces", &value)], None).await;
        assert_eq!(answer(&mut refused).await.unwrap_err().code, code, "{value}");
        record(&mut records).await;
    }
    // Nothing that both know: the member stays.
    let mut deaf = other.invite("700", &other.offer("3", "sendrecv"), &[("Replaces", &dialog)], None).await;
    assert_eq!(answer(&mut deaf).await.unwrap_err().code, 488);
    let mut moved = other.invite("700", &other.offer("8", "sendrecv"), &[("Replaces", &dialog)], None).await;
    let mine = media_of(&answer(&mut moved).await.unwrap());
    assert!(matches!(end(&mut call, 5).await, EndReason::Bye(_)));
    assert!(seen.first(false, "BYE ").await.contains("Call completed elsewhere"));
    assert_eq!(record(&mut records).await.code, "transferred");
    let talking = async {
        loop {
            other.talk(mine, 1300.0).await;
            pause(0.02).await;
        }
    };
    tokio::select! {
        () = talking => unreachable!(),
        () = async { pause(0.3).await; room_hears(&gw, 1300.0, 440.0).await } => {}
    }
    let heard = other.hear(Duration::from_millis(300)).await;
    assert!(heard.iter().filter(|(_, _, pt, _)| *pt == 8).count() > 60, "{}", heard.len());
    moved.bye();
    gw.rooms.wait("the phone hung up", 5).await;
    assert_eq!(record(&mut records).await.code, "ended");
    browser.abort();
    gw.stop().await;
}
