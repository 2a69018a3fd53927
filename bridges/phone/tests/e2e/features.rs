//! Attended transfer, INVITE with Replaces and pick-up: phones of our own making, whose messages are looked at, and SIPp.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bridge_core::{CallEndedBy, CallState, Command};
use sip::{Call, CallEvent, EndReason, Headers, Method, Request, Response};
use skybridge_bridge_phone::Config;

use crate::b2b::{live, pause, record, request, sdp_of};
use crate::gateway::Gateway;
use crate::raw::{Raw, answer, end, media_of};
use crate::sipp::{Sipp, Step};

/// What a phone sent and got, as text.
pub struct Seen {
    all: Arc<Mutex<Vec<(bool, String)>>>,
    _tap: sip::Tap,
}

impl Seen {
    pub fn of(phone: &Raw) -> Seen {
        let all: Arc<Mutex<Vec<(bool, String)>>> = Arc::default();
        let into = all.clone();
        let look = move |m: &sip::Tapped<'_>| {
            into.lock().unwrap().push((m.sent, String::from_utf8_lossy(m.data).into_owned()));
        };
        Seen { all, _tap: phone.sip.tap(Arc::new(look)) }
    }

    /// Waits for a message that begins so.
    pub async fn first(&self, sent: bool, begin: &str) -> String {
        for _ in 0..200 {
            let found = self.all.lock().unwrap().iter().find(|(s, t)| *s == sent && t.starts_with(begin)).cloned();
            if let Some((_, text)) = found {
                return text;
            }
            pause(0.05).await;
        }
        panic!("no {begin} in {:#?}", self.all.lock().unwrap());
    }

    fn holds(&self, word: &str) -> bool {
        self.all.lock().unwrap().iter().any(|(_, t)| t.contains(word))
    }
}

/// The value of Replaces for a dialog that a phone began, from its 200; the to-tag is the gateway's.
pub fn replaces(ok: &Response) -> String {
    let tag = |a: Option<sip::NameAddr>| a.unwrap().tag().unwrap().to_owned();
    format!("{};to-tag={};from-tag={}", ok.call_id().unwrap(), tag(ok.to()), tag(ok.from()))
}

fn refer(to: &str, replaces: &str) -> Request {
    let escaped = replaces.replace('@', "%40").replace(';', "%3B").replace('=', "%3D");
    let mut refer = Request::new(Method::Refer, sip::Uri::default());
    refer.headers.set("Refer-To", format!("<sip:{to}@127.0.0.1?Replaces={escaped}>"));
    refer
}

/// Answers an offer of the gateway in a call.
async fn agree(call: &mut Call, phone: &Raw) -> Request {
    let (tx, told) = request(call).await;
    assert_eq!(told.method, Method::Invite);
    let mut taken = told.respond(200);
    taken.set_body("application/sdp", phone.offer("8", "sendrecv"));
    call.respond(tx, taken);
    told
}

/// What the next NOTIFY of a transfer says, and whether it is the last.
async fn notified(call: &mut Call) -> (String, bool) {
    let (tx, notify) = request(call).await;
    assert_eq!(notify.method, Method::Notify);
    let last = notify.headers.get("Subscription-State").unwrap().starts_with("terminated");
    call.respond(tx, notify.respond(200));
    (String::from_utf8_lossy(&notify.body).trim().to_owned(), last)
}

/// Both send for a second and a half; how much each heard.
async fn talk(one: (&mut Raw, std::net::SocketAddr), other: (&mut Raw, std::net::SocketAddr)) -> (usize, usize) {
    for _ in 0..75 {
        one.0.talk(one.1, 440.0).await;
        other.0.talk(other.1, 700.0).await;
        pause(0.02).await;
    }
    let time = Duration::from_millis(300);
    (one.0.hear(time).await.len(), other.0.hear(time).await.len())
}

/// B talks with A and with C and joins them: both hear each other, B is told and hung up twice; wrong dialogs are refused and
/// the calls go on.
#[tokio::test(flavor = "multi_thread")]
async fn an_attended_transfer_joins_two_calls() {
    let gw = Gateway::start(28_300, Config { max_calls_per_caller: 2, ..Config::default() }).await;
    let mut records = gw.records();
    let mut a = Raw::start("8001", 28_310, gw.port).await;
    let mut b = Raw::start("8003", 28_312, gw.port).await;
    let mut c = Raw::start("8005", 28_314, gw.port).await;
    for (phone, password) in [(&a, "secret1"), (&b, "secret3"), (&c, "secret5")] {
        assert_eq!(phone.register(password, 300).await.code, 200);
    }
    let mut call_a = a.invite("8003", &a.offer("8", "sendrecv"), &[], None).await;
    let (mut first, _) = b.called().await;
    first.accept("application/sdp", b.offer("8", "sendrecv"), Headers::new());
    let ok_a = answer(&mut call_a).await.unwrap();
    let mut second = b.invite("8005", &b.offer("8", "sendrecv"), &[], None).await;
    let (mut call_c, _) = c.called().await;
    call_c.accept("application/sdp", c.offer("8", "sendrecv"), Headers::new());
    let ok_b = answer(&mut second).await.unwrap();
    pause(0.3).await;

    // A dialog that nobody has: the REFER is taken, the NOTIFY says 481, both calls stay.
    assert_eq!(first.send(refer("8005", "nobody;to-tag=1;from-tag=2")).await.unwrap().code, 202);
    let (said, last) = notified(&mut first).await;
    assert!(said.contains("481") && last, "{said}");
    assert_eq!(first.send(refer("8005", "broken")).await.unwrap().code, 400);
    // C asks for B's dialog with A: it is not his.
    assert_eq!(call_c.send(refer("8001", &replaces(&ok_a))).await.unwrap().code, 202);
    let (said, last) = notified(&mut call_c).await;
    assert!(said.contains("403") && last, "{said}");
    assert_eq!(gw.bridge.calls().unwrap().live().len(), 2);

    // B holds A, as phones do, and transfers.
    let mut hold = Request::new(Method::Invite, sip::Uri::default());
    hold.set_body("application/sdp", b.offer("8", "sendonly").replace("o=- 1 1 ", "o=- 1 2 "));
    let (held, ()) = tokio::join!(first.send(hold), async {
        let (tx, told) = request(&mut call_a).await;
        let mut taken = told.respond(200);
        taken.set_body("application/sdp", a.offer("8", "recvonly"));
        call_a.respond(tx, taken);
    });
    assert_eq!(held.unwrap().code, 200);
    assert_eq!(first.send(refer("8005", &replaces(&ok_b))).await.unwrap().code, 202);
    let (said, last) = notified(&mut first).await;
    assert!(said.contains("100") && !last, "{said}");
    let told = agree(&mut call_c, &c).await;
    let rtp_c = sdp_of(&told.body);
    let told = agree(&mut call_a, &a).await;
    assert!(String::from_utf8_lossy(&told.body).contains("a=sendrecv"), "A is no longer held");
    let rtp_a = sdp_of(&told.body);
    let (said, last) = notified(&mut first).await;
    assert!(said.contains("200") && last, "{said}");
    let (one, other) = tokio::join!(end(&mut first, 6), end(&mut second, 6));
    assert!(matches!((one, other), (EndReason::Bye(_), EndReason::Bye(_))), "B is hung up twice");
    let gone = record(&mut records).await;
    assert_eq!((gone.code.as_str(), gone.by), ("transferred", CallEndedBy::Gateway));
    let (heard_a, heard_c) = talk((&mut a, rtp_a), (&mut c, rtp_c)).await;
    println!("after the transfer A heard {heard_a} packets and C {heard_c}");
    assert!(heard_a > 60 && heard_c > 60, "{heard_a} {heard_c}");
    let call = live(&gw, CallState::Talking).await;
    assert_eq!((call.caller.number.as_str(), call.callee.number.as_str()), ("8001", "8005"));
    // B has no call any more and may have two again.
    let mut again = b.invite("8006", &b.offer("8", "sendrecv"), &[], None).await;
    assert_eq!(answer(&mut again).await.unwrap_err().code, 480);
    assert_eq!(record(&mut records).await.code, "not_registered");
    // The leg that moved is still C's own: its BYE ends the call for A.
    call_c.bye();
    assert!(matches!(end(&mut call_a, 5).await, EndReason::Bye(_)));
    let last = record(&mut records).await;
    assert_eq!((last.code.as_str(), last.by), ("ended", CallEndedBy::Callee));
    assert!(last.call.legs.iter().all(|l| l.packets > 60), "{:?}", last.call.legs);
    let ports = gw.ctx.ports.clone();
    gw.stop().await;
    assert_eq!(ports.stats().used, 0, "a port was kept");
}

/// The other call ends in the moment of the transfer: the one who asks is told, and his call goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_crosses_a_bye_fails_clearly() {
    let gw = Gateway::start(28_400, Config::default()).await;
    let a = Raw::start("8001", 28_410, gw.port).await;
    let mut b = Raw::start("8003", 28_412, gw.port).await;
    let mut c = Raw::start("8005", 28_414, gw.port).await;
    for (phone, password) in [(&a, "secret1"), (&b, "secret3"), (&c, "secret5")] {
        assert_eq!(phone.register(password, 300).await.code, 200);
    }
    let mut call_a = a.invite("8003", &a.offer("8", "sendrecv"), &[], None).await;
    let (mut first, _) = b.called().await;
    first.accept("application/sdp", b.offer("8", "sendrecv"), Headers::new());
    answer(&mut call_a).await.unwrap();
    let mut second = b.invite("8005", &b.offer("8", "sendrecv"), &[], None).await;
    let (call_c, _) = c.called().await;
    call_c.accept("application/sdp", c.offer("8", "sendrecv"), Headers::new());
    let ok = answer(&mut second).await.unwrap();
    pause(0.2).await;
    call_c.bye();
    let code = first.send(refer("8005", &replaces(&ok))).await.unwrap().code;
    assert_eq!(code, 202);
    let mut said = notified(&mut first).await;
    if said.0.contains("100") {
        said = notified(&mut first).await;
    }
    println!("the NOTIFY says {}", said.0);
    assert!(said.1, "{said:?}");
    if said.0.contains("200") {
        // The REFER was quicker: A and C were joined, and C's BYE is A's.
        assert!(matches!(end(&mut call_a, 5).await, EndReason::Bye(_)));
    } else {
        assert!(["481", "603"].iter().any(|c| said.0.contains(c)), "{said:?}");
        live(&gw, CallState::Talking).await;
        // It stays so: the dialog is gone, once the other call has ended altogether.
        pause(0.5).await;
        assert_eq!(first.send(refer("8005", &replaces(&ok))).await.unwrap().code, 202);
        assert!(notified(&mut first).await.0.contains("481"));
        call_a.bye();
    }
    assert!(matches!(end(&mut first, 5).await, EndReason::Bye(_)));
    gw.stop().await;
}

/// An account's other phone takes its call by INVITE with Replaces; strangers and wrong dialogs get what RFC 3891 says.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_moves_to_another_phone_of_the_account() {
    let gw = Gateway::start(28_500, Config::default()).await;
    let mut records = gw.records();
    let a = Raw::start("8001", 28_510, gw.port).await;
    let mut other = Raw::start("8001", 28_512, gw.port).await;
    let mut b = Raw::start("8003", 28_514, gw.port).await;
    for (phone, password) in [(&a, "secret1"), (&other, "secret1"), (&b, "secret3")] {
        assert_eq!(phone.register(password, 300).await.code, 200);
    }
    let seen = Seen::of(&a);
    let mut call_a = a.invite("8003", &a.offer("8", "sendrecv"), &[], None).await;
    let (mut call_b, _) = b.called().await;
    call_b.accept("application/sdp", b.offer("8", "sendrecv"), Headers::new());
    let ok = answer(&mut call_a).await.unwrap();
    pause(0.3).await;
    let dialog = replaces(&ok);
    for (phone, value, code) in [
        (&other, "nobody;to-tag=1;from-tag=2".to_owned(), 481),
        (&other, "broken".to_owned(), 400),
        (&other, format!("{dialog};early-only"), 486),
        (&b, dialog.clone(), 403),
    ] {
        let mut call = phone.invite("8003", &phone.offer("8", "sendrecv"), &[("Replaces", &value)], None).await;
        assert_eq!(answer(&mut call).await.unwrap_err().code, code, "{value}");
        record(&mut records).await;
    }
    let mut moved = other.invite("8003", &other.offer("8", "sendrecv"), &[("Replaces", &dialog)], None).await;
    let ok = answer(&mut moved).await.unwrap();
    let told = agree(&mut call_b, &b).await;
    assert!(matches!(end(&mut call_a, 5).await, EndReason::Bye(_)));
    let bye = seen.first(false, "BYE ").await;
    assert!(bye.contains("Call completed elsewhere"), "{bye}");
    let (heard, heard_b) = talk((&mut other, media_of(&ok)), (&mut b, sdp_of(&told.body))).await;
    println!("the second phone heard {heard} packets and B {heard_b}");
    assert!(heard > 60 && heard_b > 60, "{heard} {heard_b}");
    moved.bye();
    assert!(matches!(end(&mut call_b, 5).await, EndReason::Bye(_)));
    assert_eq!(record(&mut records).await.code, "ended");
    gw.stop().await;
}

/// A ringing call is taken by the group's code, by the phone's number and by its early dialog; the phone that rang gets a CANCEL
/// that says so. Who is in no group with it is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_ringing_call_is_picked_up() {
    use Step::{Ack, Answer, CancelElsewhere, Invite, Ok};
    if crate::sipp::missing() {
        return;
    }
    let gw = Gateway::start(28_600, Config::default()).await;
    let mut records = gw.records();
    let mut a = Raw::start("8001", 28_610, gw.port).await;
    // 8103 and 8105 are a group of the test's table; 8007 is in none.
    let mut taker = Raw::start("8105", 28_612, gw.port).await;
    let stranger = Raw::start("8007", 28_614, gw.port).await;
    let mut rung = Raw::start("8103", 28_616, gw.port).await;
    for (phone, password) in [(&a, "secret1"), (&taker, "secret5"), (&stranger, "secret7")] {
        assert_eq!(phone.register(password, 300).await.code, 200);
    }
    let refused = async |phone: &Raw, number: &str| {
        let mut call = phone.invite(number, &phone.offer("8", "sendrecv"), &[], None).await;
        answer(&mut call).await.unwrap_err().code
    };
    assert_eq!(refused(&taker, "*8").await, 480, "nothing rings");
    assert_eq!(record(&mut records).await.code, "nothing_rings");
    let steps = [Invite, Answer("180 Ringing"), CancelElsewhere, Ok, Answer("487 Request Terminated"), Ack];
    for (n, number) in ["*8", "*88103"].into_iter().enumerate() {
        let phone = Sipp::phone("8103", 28_620 + 10 * n as u16, gw.port, &steps);
        let mut call = a.invite("8103", &a.offer("8", "sendrecv"), &[], None).await;
        live(&gw, CallState::Ringing).await;
        assert_eq!(refused(&stranger, "*8").await, 480);
        assert_eq!(refused(&stranger, "*88103").await, 403);
        record(&mut records).await;
        assert_eq!(record(&mut records).await.code, "pick_up_not_allowed");
        let mut taken = taker.invite(number, &taker.offer("8", "sendrecv"), &[], None).await;
        let (mine, his) = (answer(&mut taken).await.unwrap(), answer(&mut call).await.unwrap());
        let (heard_a, heard) = talk((&mut a, media_of(&his)), (&mut taker, media_of(&mine))).await;
        println!("{number}: the caller heard {heard_a} packets, who picked up {heard}");
        assert!(heard_a > 60 && heard > 60, "{heard_a} {heard}");
        phone.done().await;
        call.bye();
        assert!(matches!(end(&mut taken, 5).await, EndReason::Bye(_)));
        let record = record(&mut records).await;
        assert_eq!((record.call.dialled.as_str(), record.call.callee.number.as_str()), ("8103", "8105"));
        assert!(record.call.answered.is_some(), "no missed call");
        crate::b2b::unregister("8103", 28_620 + 10 * n as u16, &gw).await;
    }
    // By its early dialog, as a phone does that watches another one.
    assert_eq!(rung.register("secret3", 300).await.code, 200);
    let seen = Seen::of(&rung);
    let mut call = a.invite("8103", &a.offer("8", "sendrecv"), &[], None).await;
    let (mut far, invite) = rung.called().await;
    far.ring(180, None);
    live(&gw, CallState::Ringing).await;
    let ringing = seen.first(true, "SIP/2.0 180").await;
    let tag = ringing.lines().find(|l| l.starts_with("To:")).unwrap().split("tag=").nth(1).unwrap().trim().to_owned();
    let ours = invite.from().unwrap().tag().unwrap().to_owned();
    let dialog = format!("{};to-tag={ours};from-tag={tag};early-only", invite.call_id().unwrap());
    let mut no = stranger.invite("8103", &stranger.offer("8", "sendrecv"), &[("Replaces", &dialog)], None).await;
    assert_eq!(answer(&mut no).await.unwrap_err().code, 403);
    let mut taken = taker.invite("8103", &taker.offer("8", "sendrecv"), &[("Replaces", &dialog)], None).await;
    answer(&mut taken).await.unwrap();
    answer(&mut call).await.unwrap();
    assert!(matches!(end(&mut far, 5).await, EndReason::Cancelled));
    assert!(seen.first(false, "CANCEL ").await.contains("Reason: SIP;cause=200"));
    taken.bye();
    assert!(matches!(end(&mut call, 5).await, EndReason::Bye(_)));
    gw.stop().await;
}

/// The gateway offers reliable provisional answers: a phone that requires them gets its PRACK, and its early sound reaches the
/// caller, whose own 183 is reliable too.
#[tokio::test(flavor = "multi_thread")]
async fn early_sound_is_reliable_on_both_legs() {
    let gw = Gateway::start(28_700, Config::default()).await;
    let a = Raw::start("8001", 28_710, gw.port).await;
    let mut b = Raw::start("8003", 28_712, gw.port).await;
    for (phone, password) in [(&a, "secret1"), (&b, "secret3")] {
        assert_eq!(phone.register(password, 300).await.code, 200);
    }
    let (seen_a, seen_b) = (Seen::of(&a), Seen::of(&b));
    let mut call = a.invite("8003", &a.offer("8", "sendrecv"), &[("Supported", "100rel")], None).await;
    let (far, invite) = b.called().await;
    assert!(invite.headers.tokens("Supported").any(|t| t == "100rel"));
    far.ring(183, Some(("application/sdp", b.offer("8", "sendrecv").into())));
    loop {
        match tokio::time::timeout(Duration::from_secs(5), call.next()).await.unwrap().unwrap() {
            CallEvent::Progress(r) if r.code == 183 => break,
            CallEvent::Progress(_) => {}
            other => panic!("{other:?}"),
        }
    }
    for _ in 0..10 {
        b.talk(sdp_of(&invite.body), 700.0).await;
    }
    assert!(a.hear(Duration::from_millis(500)).await.len() >= 8, "no early sound");
    assert!(seen_b.first(false, "PRACK ").await.contains("RAck:"));
    assert!(seen_a.first(true, "PRACK ").await.contains("RAck:"));
    far.accept("application/sdp", b.offer("8", "sendrecv"), Headers::new());
    answer(&mut call).await.unwrap();
    assert!(!seen_b.holds("SIP/2.0 481"));
    call.bye();
    gw.stop().await;
}

/// An operator comes into a call: both hear the tone, then each is moved to the conference by a re-INVITE; nobody hangs up.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_comes_into_a_call() {
    let gw = Gateway::start(28_000, Config::default()).await;
    let mut records = gw.records();
    let mut a = Raw::start("8001", 28_010, gw.port).await;
    let mut b = Raw::start("8003", 28_012, gw.port).await;
    for (phone, password) in [(&a, "secret1"), (&b, "secret3")] {
        assert_eq!(phone.register(password, 300).await.code, 200);
    }
    let seats = || Box::new([gw.rooms.seat("700"), gw.rooms.seat("700")]);
    let order = async |call: &str, seats| gw.bridge.command(Command::Insert { call: call.into(), seats }).await;
    assert_eq!(order("nobody", seats()).await.unwrap_err().code, "not_talking");
    let mut call_a = a.invite("8003", &a.offer("8", "sendrecv"), &[], None).await;
    let (mut call_b, _) = b.called().await;
    call_b.ring(180, None);
    let id = live(&gw, CallState::Ringing).await.id;
    assert_eq!(order(&id, seats()).await.unwrap_err().code, "not_talking", "nobody has answered");
    call_b.accept("application/sdp", b.offer("8", "sendrecv"), Headers::new());
    let ok = answer(&mut call_a).await.unwrap();
    live(&gw, CallState::Talking).await;
    pause(0.3).await;
    let skip = gw.rooms.reports().len();
    let (sender, ()) = (gw.rooms.browser("700", 1000.0), order(&id, seats()).await.unwrap());
    let heard = a.hear(Duration::from_millis(700)).await;
    let bytes = heard.iter().flat_map(|(_, _, _, payload)| payload);
    let samples: Vec<f32> = bytes.map(|x| f32::from(media_core::g711::alaw_decode(*x)) / 32768.0).collect();
    println!("the tone before: {:.3}", crate::signal::peak_level(&samples, 1400.0));
    assert!(crate::signal::peak_level(&samples, 1400.0) > 0.1, "no tone");
    let (told_a, told_b) = (agree(&mut call_a, &a).await, agree(&mut call_b, &b).await);
    let origin = |body: &[u8]| media_core::sdp::Sdp::parse(body).unwrap().origin().unwrap();
    let (before, after) = (origin(&ok.body), origin(&told_a.body));
    assert_eq!(before.session_id, after.session_id, "the description goes on in its session");
    gw.rooms.wait_after(skip, "Connected", 5).await;
    let (to_a, to_b) = (sdp_of(&told_a.body), sdp_of(&told_b.body));
    for _ in 0..150 {
        a.talk(to_a, 440.0).await;
        b.talk(to_b, 700.0).await;
        pause(0.02).await;
    }
    let decode = |heard: Vec<(u16, u32, u8, Vec<u8>)>| -> Vec<f32> {
        let all: Vec<f32> = heard
            .iter()
            .flat_map(|(_, _, _, p)| p)
            .map(|x| f32::from(media_core::g711::alaw_decode(*x)) / 32768.0)
            .collect();
        all[all.len() - 8000..].to_vec()
    };
    let time = Duration::from_millis(200);
    let (by_a, by_b) = (decode(a.hear(time).await), decode(b.hear(time).await));
    let level = crate::signal::level;
    println!(
        "A hears B {:.3}, the hall {:.3}, itself {:.4}; B hears A {:.3}, the hall {:.3}",
        level(&by_a, 700.0),
        level(&by_a, 1000.0),
        level(&by_a, 440.0),
        level(&by_b, 440.0),
        level(&by_b, 1000.0)
    );
    assert!(level(&by_a, 700.0) > 0.05 && level(&by_a, 1000.0) > 0.05 && level(&by_a, 440.0) < 0.01);
    assert!(level(&by_b, 440.0) > 0.05 && level(&by_b, 1000.0) > 0.05);
    let moved = record(&mut records).await;
    assert_eq!((moved.code.as_str(), moved.by), ("moved", CallEndedBy::Gateway));
    // Each leg has its own end now.
    call_a.bye();
    assert_eq!(record(&mut records).await.code, "ended");
    gw.rooms.orders.lock().unwrap().values().for_each(|o| drop(o.try_send(bridge_core::SeatCommand::HangUp)));
    assert!(matches!(end(&mut call_b, 5).await, EndReason::Bye(_)));
    sender.abort();
    gw.stop().await;
}
