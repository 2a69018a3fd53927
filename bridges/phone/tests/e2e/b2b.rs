//! Phone to phone: baresip, SIPp and pjsip at both ends, and a phone of our own making where headers are looked at.

use std::time::Duration;

use bridge_core::{CallDirection, CallEndedBy, CallRecord, CallState, Forwards};
use sip::{CallEvent, EndReason, Headers};
use skybridge_bridge_phone::{Config, ForkOrder};
use tokio::sync::mpsc;

use crate::baresip::{Account, Baresip};
use crate::gateway::{FORWARDS, Gateway};
use crate::raw::{Raw, answer, end, media_of};
use crate::signal::level;
use crate::sipp::{Sipp, Step};

pub async fn pause(seconds: f32) {
    tokio::time::sleep(Duration::from_secs_f32(seconds)).await;
}

pub async fn record(records: &mut mpsc::Receiver<CallRecord>) -> CallRecord {
    tokio::time::timeout(Duration::from_secs(10), records.recv()).await.unwrap().unwrap()
}

/// Waits until one call runs in this state.
pub async fn live(gw: &Gateway, state: CallState) -> bridge_core::LiveCall {
    let end = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let calls = gw.bridge.calls().unwrap().live();
        if let Some(call) = calls.iter().find(|c| c.state == state) {
            return call.clone();
        }
        assert!(std::time::Instant::now() < end, "no call is {state:?}: {calls:?}");
        pause(0.05).await;
    }
}

fn phone<'a>(user: &'a str, password: &'a str, gateway: u16, codec: &'a str, tone: f32, port: u16) -> Account<'a> {
    Account { user, password, gateway, codec, tone, port, extra: ";answermode=auto" }
}

/// baresip calls baresip: once in the same codec, once A-law to mu-law. Each hears the other's tone and not its own.
#[tokio::test(flavor = "multi_thread")]
async fn two_phones_hear_each_other() {
    if crate::baresip::missing() {
        return;
    }
    for (gateway, codec, names) in [(29_200, "PCMA", ["PCMA", "PCMA"]), (29_300, "PCMU", ["PCMA", "PCMU"])] {
        let gw = Gateway::start(gateway, Config::default()).await;
        let mut records = gw.records();
        let mut a = Baresip::start(phone("8001", "secret1", gw.port, "PCMA", 440.0, gateway + 10));
        let mut b = Baresip::start(phone("8002", "secret2", gw.port, codec, 700.0, gateway + 40));
        gw.wait_online("8001", true).await;
        gw.wait_online("8002", true).await;
        a.dial("8002", gw.port);
        live(&gw, CallState::Talking).await;
        pause(4.0).await;
        let call = live(&gw, CallState::Talking).await;
        assert_eq!((call.caller.number.as_str(), call.callee.number.as_str()), ("8001", "8002"));
        let (heard_a, heard_b) = (a.sound("dec"), b.sound("dec"));
        for (who, heard, own, other) in [("A", &heard_a, 440.0, 700.0), ("B", &heard_b, 700.0, 440.0)] {
            let tail = &heard[heard.len() - 12_000..];
            // A tone read by the wrong law is still loud, but most of it is noise.
            let power = tail.iter().map(|s| s * s).sum::<f32>() / tail.len() as f32;
            let pure = level(tail, other).powi(2) / 2.0 / power;
            let (l, echo) = (level(tail, other), level(tail, own));
            println!("{codec}: {who} hears the other {l:.4}, {:.1}% of it tone, itself {echo:.5}", pure * 100.0);
            assert!(pure > 0.95, "{who} hears noise: {pure}");
            assert!(level(tail, other) > 0.15, "{who} does not hear the other");
            assert!(level(tail, own) < 0.004, "{who} hears itself");
        }
        b.command("hangup", "");
        let record = record(&mut records).await;
        println!("{record:?}");
        assert_eq!((record.by, record.code.as_str()), (CallEndedBy::Callee, "ended"));
        assert_eq!(record.call.direction, CallDirection::Between);
        for (leg, name) in record.call.legs.iter().zip(names) {
            assert_eq!(leg.codec, name);
            assert!(leg.packets > 150 && leg.sent > 150 && leg.lost < 5, "{leg:?}");
            assert!(leg.mos.unwrap() > 3.8, "{leg:?}");
        }
        assert!(gw.bridge.calls().unwrap().live().is_empty());
        pause(0.3).await;
        // baresip names each end of a session; A was told by a BYE of its own.
        assert!(a.log().contains("session closed"), "A was not told");
        a.quit();
        b.quit();
        let ports = gw.ctx.ports.clone();
        gw.stop().await;
        assert_eq!(ports.stats().used, 0, "a port was kept");
    }
}

/// What the called phone sees is ours: no header of the caller's passes but number, name and filtered SDP. Keys, hold, a
/// codec change, an offerless re-INVITE and INFO go from one to the other.
#[tokio::test(flavor = "multi_thread")]
async fn headers_are_clean_and_offers_are_carried() {
    let gw = Gateway::start(29_400, Config::default()).await;
    let mut records = gw.records();
    let (mut a, mut b) = (Raw::start("8001", 29_410, gw.port).await, Raw::start("8003", 29_412, gw.port).await);
    assert_eq!(a.register("secret1", 300).await.code, 200);
    assert_eq!(b.register("secret3", 300).await.code, 200);
    let odd = [
        ("X-Secret", "1"),
        ("Subject", "hello"),
        ("P-Asserted-Identity", "<sip:110@police.example>"),
        ("Privacy", "id"),
        ("Call-ID", "from-the-caller"),
        ("Max-Forwards", "12"),
    ];
    let mut call = a.invite("8003", &a.offer("18 8 0 96", "sendrecv"), &odd, None).await;
    let (mut far, invite) = b.called().await;
    let text = String::from_utf8_lossy(&invite.to_bytes()).into_owned();
    for word in ["X-Secret", "hello", "police.example", "Privacy", "from-the-caller"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
    let from = invite.from().unwrap();
    assert_eq!((from.uri.user(), from.display.as_deref()), ("8001", Some("话机8001")));
    assert!(invite.headers.get("P-Asserted-Identity").unwrap().contains("sip:8001@127.0.0.1"));
    assert_eq!(invite.headers.get("Max-Forwards"), Some("11"));
    assert!(text.contains("RTP/AVP 18 8 0 96") && text.contains("telephone-event"), "{text}");
    // Early media before the answer, by another codec than the first.
    far.ring(183, Some(("application/sdp", b.offer("8 96", "sendrecv").into())));
    let early = loop {
        match tokio::time::timeout(Duration::from_secs(5), call.next()).await.unwrap().unwrap() {
            CallEvent::Progress(r) if r.code == 183 => break r,
            CallEvent::Progress(_) => {}
            other => panic!("{other:?}"),
        }
    };
    let (to_gateway_b, to_gateway_a) = (sdp_of(&invite.body), media_of(&early));
    for _ in 0..5 {
        b.talk(to_gateway_b, 700.0).await;
    }
    assert!(a.hear(Duration::from_millis(500)).await.len() >= 4, "no early media");
    far.accept("application/sdp", b.offer("8 96", "sendrecv"), Headers::new());
    let ok = answer(&mut call).await.unwrap();
    let origin = |body: &[u8]| media_core::sdp::Sdp::parse(body).unwrap().origin().unwrap();
    assert_eq!(origin(&early.body), origin(&ok.body), "the same description in 183 and 200");
    // A key goes through as it is.
    a.key(to_gateway_a, '5').await;
    let keys = b.hear(Duration::from_millis(500)).await;
    assert!(keys.iter().any(|(_, _, pt, payload)| *pt == 96 && payload[0] == 5), "{keys:?}");
    // A key by INFO.
    let mut info = sip::Request::new(sip::Method::Info, sip::Uri::default());
    info.set_body("application/dtmf-relay", "Signal=7\r\nDuration=160\r\n");
    let (taken, ()) = tokio::join!(call.send(info), async {
        let request = request(&mut far).await;
        assert!(String::from_utf8_lossy(&request.1.body).contains("Signal=7"));
        far.respond(request.0, request.1.respond(200));
    });
    assert_eq!(taken.unwrap().code, 200);
    // Hold: the far phone is asked, its answer comes back; then another codec by re-INVITE of the called phone.
    let hold = reinvite(&a.offer("8 96", "sendonly"));
    let (held, ()) = tokio::join!(call.send(hold), async {
        let (tx, request) = request(&mut far).await;
        assert!(String::from_utf8_lossy(&request.body).contains("a=sendonly"));
        let mut response = request.respond(200);
        response.set_body("application/sdp", b.offer("8 96", "recvonly"));
        far.respond(tx, response);
    });
    assert!(String::from_utf8_lossy(&held.unwrap().body).contains("a=recvonly"));
    live(&gw, CallState::Held).await;
    // Both at once: one of them is asked to try again, and both are heard in the end.
    let back = reinvite(&a.offer("8 96", "sendrecv"));
    let other = reinvite(&b.offer("0 96", "recvonly"));
    let (near, far_handle) = (call.handle(), far.handle());
    let (resumed, changed) = tokio::select! {
        both = async { tokio::join!(near.send(back), far_handle.send(other)) } => both,
        () = accept_offers([(&mut call, &a), (&mut far, &b)]) => unreachable!(),
    };
    println!("glare: {:?} {:?}", resumed.as_ref().map(|r| r.code), changed.as_ref().map(|r| r.code));
    // `Pending`: our phone of its own accord waits while the gateway's offer is there.
    let code = |r: Result<sip::Response, sip::SipError>| {
        r.map_or_else(|e| if e == sip::SipError::Pending { 491 } else { 0 }, |r| r.code)
    };
    let codes = [code(resumed), code(changed)];
    assert!(codes.contains(&200) && codes.iter().all(|c| [200, 491, 500].contains(c)), "{codes:?}");
    // An offerless re-INVITE is answered by us, once the last offer of the gateway's own is over.
    let ours = async {
        loop {
            let ours = near.send(sip::Request::new(sip::Method::Invite, sip::Uri::default()));
            let acked = async { near.ack_body("application/sdp", a.offer("8 0 96", "sendrecv")) };
            match tokio::join!(ours, acked).0 {
                Err(sip::SipError::Pending) => tokio::time::sleep(Duration::from_millis(50)).await,
                done => return done,
            }
        }
    };
    let ours = tokio::select! {
        ours = ours => ours,
        () = accept_offers([(&mut call, &a), (&mut far, &b)]) => unreachable!(),
        () = tokio::time::sleep(Duration::from_secs(5)) => panic!("the gateway's offer is never over"),
    };
    assert!(String::from_utf8_lossy(&ours.unwrap().body).contains("m=audio"));
    // T.38 is refused clearly, and the call stays.
    let fax =
        reinvite("v=0\r\no=- 1 9 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=image 4000 udptl t38\r\n");
    let refused = call.send(fax).await.unwrap();
    assert_eq!(refused.code, 488);
    assert!(refused.headers.get("Warning").unwrap().contains("T.38"));
    // Released by an operator: both get a BYE.
    let running = gw.bridge.calls().unwrap().live();
    assert!(gw.bridge.calls().unwrap().hang_up(&running[0].id));
    assert!(matches!(end(&mut call, 5).await, EndReason::Bye(_)));
    assert!(matches!(end(&mut far, 5).await, EndReason::Bye(_)));
    let record = record(&mut records).await;
    assert_eq!((record.by, record.code.as_str()), (CallEndedBy::Gateway, "hung_up"));
    gw.stop().await;
}

pub fn sdp_of(body: &[u8]) -> std::net::SocketAddr {
    let sdp = media_core::sdp::Sdp::parse(body).unwrap();
    let m = sdp.first("audio").unwrap();
    (sdp.address_of(m).unwrap(), m.port).into()
}

fn reinvite(body: &str) -> sip::Request {
    let mut request = sip::Request::new(sip::Method::Invite, sip::Uri::default());
    // Each description of a session counts its version up.
    static VERSION: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(2);
    let version = VERSION.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    request.set_body("application/sdp", body.replace("o=- 1 1 ", &format!("o=- 1 {version} ")));
    request
}

/// The next request in a call.
/// Two phones that take every offer, without end.
async fn accept_offers([(call, a), (far, b)]: [(&mut sip::Call, &Raw); 2]) {
    loop {
        let (handle, phone, (tx, offer)) = tokio::select! {
            got = request(call) => (call.handle(), a, got),
            got = request(far) => (far.handle(), b, got),
        };
        let mut response = offer.respond(200);
        response.set_body("application/sdp", phone.offer("0 96", "sendrecv"));
        handle.respond(tx, response);
    }
}

pub async fn request(call: &mut sip::Call) -> (sip::TxId, sip::Request) {
    loop {
        match call.next().await {
            Some(CallEvent::Request { tx, request }) => return (tx, request),
            Some(CallEvent::Ended(why)) => panic!("{why:?}"),
            None => panic!("over"),
            _ => {}
        }
    }
}

/// SIPp phones: three contacts of one account ring, the last answers, the others are cancelled; a 200 that crosses the
/// CANCEL gets ACK and BYE.
#[tokio::test(flavor = "multi_thread")]
async fn all_contacts_ring_and_the_first_answer_wins() {
    use Step::{Ack, Answer, AnswerSdp, Bye, Cancel, Invite, Ok, Pause};
    if crate::sipp::missing() {
        return;
    }
    let gw = Gateway::start(29_500, Config::default()).await;
    let mut records = gw.records();
    let a = Raw::start("8001", 29_510, gw.port).await;
    assert_eq!(a.register("secret1", 300).await.code, 200);
    let ringing = [Invite, Answer("180 Ringing"), Cancel, Ok, Answer("487 Request Terminated"), Ack];
    let late = [Invite, Answer("180 Ringing"), Cancel, AnswerSdp("200 OK", "8"), Ack, Bye, Ok];
    let wins = [Invite, Answer("180 Ringing"), Pause(700), AnswerSdp("200 OK", "8"), Ack, Bye, Ok];
    let phones = [
        Sipp::phone("8003", 29_520, gw.port, &ringing),
        Sipp::phone("8003", 29_530, gw.port, &late),
        Sipp::phone("8003", 29_540, gw.port, &wins),
    ];
    let mut call = a.invite("8003", &a.offer("8 96", "sendrecv"), &[], None).await;
    assert_eq!(answer(&mut call).await.unwrap().code, 200);
    pause(1.0).await;
    call.bye();
    for phone in phones {
        phone.done().await;
    }
    let record = record(&mut records).await;
    assert!(record.call.rang.is_some() && record.call.answered.is_some() && record.by == CallEndedBy::Caller);

    // The caller gives up: all of an account's phones are cancelled, also the one that has just said 200.
    let phones = [Sipp::phone("8004", 29_550, gw.port, &ringing), Sipp::phone("8004", 29_560, gw.port, &late)];
    let mut call = a.invite("8004", &a.offer("8", "sendrecv"), &[], None).await;
    live(&gw, CallState::Ringing).await;
    pause(0.3).await;
    call.cancel();
    assert!(matches!(end(&mut call, 5).await, EndReason::Cancelled));
    for phone in phones {
        phone.done().await;
    }
    let record = self::record(&mut records).await;
    assert_eq!((record.by, record.code.as_str()), (CallEndedBy::Caller, "cancelled"));
    assert!(record.call.answered.is_none());
    gw.stop().await;
}

/// `fork = "by_q"`: the phone of the highest q rings alone; it refuses, and the two of the next q ring; they let it ring, get a
/// CANCEL, and the last one answers.
#[tokio::test(flavor = "multi_thread")]
async fn contacts_ring_in_the_order_of_their_q() {
    use Step::{Ack, Answer, AnswerSdp, Bye, Cancel, Invite, Ok};
    if crate::sipp::missing() {
        return;
    }
    let config = Config { fork: ForkOrder::ByQ, fork_step: 2, ..Config::default() };
    let gw = Gateway::start(31_900, config).await;
    let mut records = gw.records();
    let a = Raw::start("8001", 31_910, gw.port).await;
    assert_eq!(a.register("secret1", 300).await.code, 200);
    let rings = [Invite, Answer("180 Ringing"), Cancel, Ok, Answer("487 Request Terminated"), Ack];
    let answers = [Invite, AnswerSdp("200 OK", "8"), Ack, Bye, Ok];
    // Registered in another order than they are called.
    let phones = [
        Sipp::phone_of("8003", ";q=0.2", 31_920, gw.port, &answers),
        Sipp::phone_of("8003", ";q=0.5", 31_930, gw.port, &rings),
        Sipp::phone_of("8003", ";q=1.0", 31_940, gw.port, &[Invite, Answer("480 Temporarily Unavailable"), Ack]),
        Sipp::phone_of("8003", ";q=0.5", 31_950, gw.port, &rings),
    ];
    let began = std::time::Instant::now();
    let mut call = a.invite("8003", &a.offer("8 96", "sendrecv"), &[], None).await;
    assert_eq!(answer(&mut call).await.unwrap().code, 200);
    let took = began.elapsed().as_secs_f32();
    println!("the phone of the lowest q was called after {took:.2} s");
    assert!((1.9..5.0).contains(&took), "{took}");
    call.bye();
    for phone in phones {
        phone.done().await;
    }
    assert_eq!(record(&mut records).await.by, CallEndedBy::Caller);

    // All refuse: the one that says most is told, as with all at once.
    let busy = [Invite, Answer("486 Busy Here"), Ack];
    let gone = [Invite, Answer("480 Temporarily Unavailable"), Ack];
    let phones = [
        Sipp::phone_of("8004", ";q=0.9", 31_960, gw.port, &busy),
        Sipp::phone_of("8004", ";q=0.3", 31_970, gw.port, &gone),
    ];
    let mut call = a.invite("8004", &a.offer("8", "sendrecv"), &[], None).await;
    assert_eq!(answer(&mut call).await.unwrap_err().code, 486);
    for phone in phones {
        phone.done().await;
    }
    gw.stop().await;
}

/// What a phone says comes to the caller as it was meant; forwards of an account are followed, and end.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_forwards() {
    use Step::{Ack, Answer, AnswerSdp, Bye, Cancel, Invite, Moved, Ok};
    if crate::sipp::missing() {
        return;
    }
    let gw = Gateway::start(29_600, Config { ring_timeout: 3, ..Config::default() }).await;
    let mut records = gw.records();
    let a = Raw::start("8001", 29_610, gw.port).await;
    assert_eq!(a.register("secret1", 300).await.code, 200);
    let mut port = 29_620;
    let mut codes = Vec::new();
    for (said, code, word, by) in [
        ("486 Busy Here", 486, "busy", CallEndedBy::Callee),
        ("600 Busy Everywhere", 486, "busy", CallEndedBy::Callee),
        ("480 Temporarily Unavailable", 480, "no_answer", CallEndedBy::Gateway),
        ("603 Decline", 603, "declined", CallEndedBy::Callee),
        ("488 Not Acceptable Here", 488, "no_codec", CallEndedBy::Gateway),
    ] {
        let phone = Sipp::phone("8005", port, gw.port, &[Invite, Answer("180 Ringing"), Answer(said), Ack]);
        // One contact at a time: the account's older ones would ring as well.
        let mut call = a.invite("8005", &a.offer("8", "sendrecv"), &[], None).await;
        let refused = answer(&mut call).await.unwrap_err();
        phone.done().await;
        let record = record(&mut records).await;
        codes.push((said, refused.code, record.code.clone()));
        assert_eq!((refused.code, record.code.as_str(), record.by), (code, word, by), "{said}");
        assert!(refused.headers.get("Reason").unwrap().contains(word));
        unregister("8005", port, &gw).await;
        port += 10;
    }
    println!("{codes:?}");
    // Nobody is there; nobody has that number; nobody answers.
    for (number, code, word) in [("8006", 480, "not_registered"), ("8999", 404, "unknown_number")] {
        let mut call = a.invite(number, &a.offer("8", "sendrecv"), &[], None).await;
        assert_eq!(answer(&mut call).await.unwrap_err().code, code, "{number} {word}");
        assert_eq!(record(&mut records).await.code, word);
    }
    let cancelled = [Invite, Answer("180 Ringing"), Cancel, Ok, Answer("487 Request Terminated"), Ack];
    let phone = Sipp::phone("8007", port, gw.port, &cancelled);
    let mut call = a.invite("8007", &a.offer("8", "sendrecv"), &[], None).await;
    assert_eq!(answer(&mut call).await.unwrap_err().code, 480);
    phone.done().await;
    assert_eq!(record(&mut records).await.code, "no_answer");
    port += 10;

    // Busy -> 8101, which is not there -> 8102, whose phone sends on to 8103, which answers.
    let to = |n: &str| Some(n.to_owned());
    *FORWARDS.lock().unwrap() = vec![
        ("8100", Forwards { busy: to("8101"), ..Forwards::default() }),
        ("8101", Forwards { offline: to("8102"), ..Forwards::default() }),
        ("8104", Forwards { offline: to("8105"), ..Forwards::default() }),
        ("8105", Forwards { offline: to("8104"), ..Forwards::default() }),
    ];
    let busy = Sipp::phone("8100", port, gw.port, &[Invite, Answer("486 Busy Here"), Ack]);
    let moved = Sipp::phone("8102", port + 10, gw.port, &[Invite, Moved("8103"), Ack]);
    let taken = Sipp::phone("8103", port + 20, gw.port, &[Invite, AnswerSdp("200 OK", "8"), Ack, Bye, Ok]);
    let mut call = a.invite("8100", &a.offer("8", "sendrecv"), &[], None).await;
    answer(&mut call).await.unwrap();
    pause(0.3).await;
    call.bye();
    for phone in [busy, moved, taken] {
        phone.done().await;
    }
    let record = record(&mut records).await;
    assert_eq!((record.call.dialled.as_str(), record.call.callee.number.as_str()), ("8100", "8103"));
    // A circle ends.
    let mut call = a.invite("8104", &a.offer("8", "sendrecv"), &[], None).await;
    assert_eq!(answer(&mut call).await.unwrap_err().code, 480);
    // A stranger does not reach a phone through us.
    let stranger = Raw::start("7777", 29_612, gw.port).await;
    let mut call = stranger.invite("8005", &a.offer("8", "sendrecv"), &[], None).await;
    assert_eq!(answer(&mut call).await.unwrap_err().code, 401);
    gw.stop().await;
}

/// Takes a contact away that a finished SIPp left behind.
pub async fn unregister(user: &str, port: u16, gw: &Gateway) {
    let phone = Raw::start(user, port, gw.port).await;
    assert_eq!(phone.register(&format!("secret{}", &user[3..]), 0).await.code, 200);
    drop(phone);
    pause(0.2).await;
}

/// One phone falls silent for good: the call ends and both are told.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_phone_ends_the_call() {
    let gw = Gateway::start(29_700, Config { media_timeout: 2, ..Config::default() }).await;
    let mut records = gw.records();
    let (mut a, mut b) = (Raw::start("8001", 29_710, gw.port).await, Raw::start("8003", 29_712, gw.port).await);
    assert_eq!(a.register("secret1", 300).await.code, 200);
    assert_eq!(b.register("secret3", 300).await.code, 200);
    let mut call = a.invite("8003", &a.offer("8", "sendrecv"), &[], None).await;
    let (mut far, invite) = b.called().await;
    far.accept("application/sdp", b.offer("8", "sendrecv"), Headers::new());
    let ok = answer(&mut call).await.unwrap();
    let (near_rtp, far_rtp) = (media_of(&ok), sdp_of(&invite.body));
    for n in 0..100 {
        a.talk(near_rtp, 440.0).await;
        if n < 10 {
            b.talk(far_rtp, 700.0).await;
        }
        pause(0.02).await;
    }
    let heard = b.hear(Duration::from_millis(200)).await;
    assert!(heard.len() > 90, "{}", heard.len());
    assert!(heard.windows(2).all(|w| w[1].0 == w[0].0.wrapping_add(1)), "order and numbers are kept");
    let (one, other) = tokio::join!(end(&mut call, 10), end(&mut far, 10));
    assert!(matches!((one, other), (EndReason::Bye(_), EndReason::Bye(_))));
    let record = record(&mut records).await;
    assert_eq!((record.code.as_str(), record.by), ("media_timeout", CallEndedBy::Network));
    gw.stop().await;
}

/// Rung for long, the caller behind NAT: its sound is taken from where it comes once the call is answered, and it has its full
/// time to begin.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_behind_nat_that_rang_for_long_is_heard() {
    let gw = Gateway::start(29_060, Config { media_timeout: 4, ..Config::default() }).await;
    let (mut a, mut b) = (Raw::start("8001", 29_070, gw.port).await, Raw::start("8003", 29_072, gw.port).await);
    assert_eq!(a.register("secret1", 300).await.code, 200);
    assert_eq!(b.register("secret3", 300).await.code, 200);
    let private = a.offer("8", "sendrecv").replace("c=IN IP4 127.0.0.1", "c=IN IP4 10.99.0.7");
    let mut call = a.invite("8003", &private, &[], None).await;
    let (mut far, invite) = b.called().await;
    pause(5.5).await;
    far.accept("application/sdp", b.offer("8", "sendrecv"), Headers::new());
    let ok = answer(&mut call).await.unwrap();
    let (near_rtp, far_rtp) = (media_of(&ok), sdp_of(&invite.body));
    for _ in 0..75 {
        a.talk(near_rtp, 440.0).await;
        b.talk(far_rtp, 700.0).await;
        pause(0.02).await;
    }
    let (heard_a, heard_b) = (a.hear(Duration::from_millis(300)).await, b.hear(Duration::from_millis(300)).await);
    assert!(heard_a.len() > 60 && heard_b.len() > 60, "{} {}", heard_a.len(), heard_b.len());
    call.bye();
    assert!(matches!(end(&mut far, 10).await, EndReason::Bye(_)));
    gw.stop().await;
}

/// REFER, and the one who asked hangs up before the third phone has answered: the other one waits for it, and the one who left may
/// call again.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_goes_on_without_the_one_who_asked() {
    let gw = Gateway::start(29_080, Config { max_calls_per_caller: 1, ..Config::default() }).await;
    let mut records = gw.records();
    let mut a = Raw::start("8001", 29_090, gw.port).await;
    let mut b = Raw::start("8003", 29_092, gw.port).await;
    let mut c = Raw::start("8005", 29_094, gw.port).await;
    for (phone, password) in [(&a, "secret1"), (&b, "secret3"), (&c, "secret5")] {
        assert_eq!(phone.register(password, 300).await.code, 200);
    }
    let mut call = a.invite("8003", &a.offer("8", "sendrecv"), &[], None).await;
    let (far, _) = b.called().await;
    far.accept("application/sdp", b.offer("8", "sendrecv"), Headers::new());
    let near_rtp = media_of(&answer(&mut call).await.unwrap());
    live(&gw, CallState::Talking).await;
    let mut refer = sip::Request::new(sip::Method::Refer, sip::Uri::default());
    refer.headers.set("Refer-To", "<sip:8005@127.0.0.1>");
    assert_eq!(far.send(refer).await.unwrap().code, 202);
    far.bye();
    let (third, invite) = c.called().await;
    pause(1.5).await;
    third.accept("application/sdp", c.offer("8", "sendrecv"), Headers::new());
    // The one who stays is told what the new one understands.
    let (tx, told) = request(&mut call).await;
    assert_eq!(told.method, sip::Method::Invite);
    let mut taken = told.respond(200);
    taken.set_body("application/sdp", a.offer("8", "sendrecv"));
    call.respond(tx, taken);
    let third_rtp = sdp_of(&invite.body);
    for _ in 0..75 {
        a.talk(near_rtp, 440.0).await;
        c.talk(third_rtp, 700.0).await;
        pause(0.02).await;
    }
    let (heard_a, heard_c) = (a.hear(Duration::from_millis(300)).await, c.hear(Duration::from_millis(300)).await);
    assert!(heard_a.len() > 60 && heard_c.len() > 60, "{} {}", heard_a.len(), heard_c.len());
    // 480 for a phone that is not there, and not 486 for a place that is still taken.
    let mut again = b.invite("8006", &b.offer("8", "sendrecv"), &[], None).await;
    assert_eq!(answer(&mut again).await.unwrap_err().code, 480);
    assert_eq!(record(&mut records).await.code, "not_registered");
    call.bye();
    let record = record(&mut records).await;
    assert_eq!((record.code.as_str(), record.call.callee.number.as_str()), ("ended", "8005"));
    drop(third);
    gw.stop().await;
}

/// `fork = "by_q"`: the first phone sends early media and lets it ring; when its turn is over the next one is called, and what the caller
/// hears from then on is that one.
#[tokio::test(flavor = "multi_thread")]
async fn early_media_of_a_phone_that_is_passed_over_does_not_stand_in_the_way() {
    use Step::{Ack, Answer, AnswerSdp, Cancel, Invite, Ok};
    if crate::sipp::missing() || crate::baresip::missing() {
        return;
    }
    let config = Config { fork: ForkOrder::ByQ, fork_step: 2, ..Config::default() };
    let gw = Gateway::start(23_500, config).await;
    let mut records = gw.records();
    let mut a = Baresip::start(phone("8001", "secret1", gw.port, "PCMA", 440.0, 23_510));
    let mut b = Baresip::start(Account {
        extra: ";answermode=auto;regq=0.5",
        ..phone("8003", "secret3", gw.port, "PCMA", 700.0, 23_540)
    });
    gw.wait_online("8001", true).await;
    gw.wait_online("8003", true).await;
    let early = [Invite, AnswerSdp("183 Session Progress", "8"), Cancel, Ok, Answer("487 Request Terminated"), Ack];
    let first = Sipp::phone_of("8003", ";q=1.0", 23_570, gw.port, &early);
    let began = std::time::Instant::now();
    a.dial("8003", gw.port);
    live(&gw, CallState::Talking).await;
    let took = began.elapsed().as_secs_f32();
    first.done().await;
    pause(2.5).await;
    let (heard_a, heard_b) = (a.sound("dec"), b.sound("dec"));
    let tone = |heard: &[f32], hz| level(&heard[heard.len() - 8000..], hz);
    println!("after {took:.2} s: {:.4} and {:.4}", tone(&heard_a, 700.0), tone(&heard_b, 440.0));
    assert!((1.9..5.0).contains(&took), "{took}");
    assert!(a.log().contains("183 Session Progress") || a.log().contains("Early"), "{}", a.log());
    assert!(tone(&heard_a, 700.0) > 0.15 && tone(&heard_b, 440.0) > 0.15);
    a.command("hangup", "");
    assert_eq!(record(&mut records).await.code, "ended");
    a.quit();
    b.quit();
    gw.stop().await;
}
