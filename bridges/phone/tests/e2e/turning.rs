//! Phones that do not understand each other as they are: codecs and keys that are turned.

use std::time::Duration;

use bridge_core::{CallEndedBy, CallState};
use media_core::dtmf::{TelephoneEvent, send_sequence};
use media_core::rtcp::Rtcp;
use media_core::sdp::Sdp;
use media_core::tones::{Tone, ToneDetector, sound};
use media_core::{g711, g722};
use sip::{CallEvent, Headers, Method};
use skybridge_bridge_phone::Config;

use crate::b2b::{live, pause, record, request, sdp_of};
use crate::baresip::{Account, Baresip};
use crate::gateway::Gateway;
use crate::raw::{Raw, answer, media_of};
use crate::signal::level_at;

/// What is heard of a tone: its amplitude, its share in all the power, and the highest level of others.
fn judge(heard: &[f32], rate: f32, tone: f32) -> (f32, f32, f32) {
    let tail = &heard[heard.len().saturating_sub((rate * 1.5) as usize)..];
    let power = tail.iter().map(|s| s * s).sum::<f32>() / tail.len().max(1) as f32;
    let l = level_at(tail, tone, rate);
    let others = [300.0, 580.0, 850.0, 1150.0, 1500.0, 2000.0, 2600.0];
    let beside = others.iter().map(|hz| level_at(tail, *hz, rate)).fold(0.0, f32::max);
    (l, l * l / 2.0 / power.max(1e-12), beside)
}

/// baresip to baresip, each with one codec that the other does not know.
#[tokio::test(flavor = "multi_thread")]
async fn phones_without_a_common_codec_hear_each_other() {
    if crate::baresip::missing() {
        return;
    }
    let pairs = [
        ("PCMA/8000/1", "G722/16000/1"),
        ("G722/16000/1", "opus/48000/2"),
        ("opus/48000/2", "PCMU/8000/1"),
        // It knows both: the caller's is taken.
        ("PCMA/8000/1", "G722/16000/1,PCMA/8000/1"),
    ];
    for (n, (one, other)) in pairs.into_iter().enumerate() {
        let base = 22_000 + n as u16 * 100;
        let gw = Gateway::start(base, Config::default()).await;
        let mut records = gw.records();
        let phone = |user, password, codec, tone, port| Account {
            user,
            password,
            gateway: base,
            codec,
            tone,
            port,
            extra: ";answermode=auto",
        };
        let mut a = Baresip::start(phone("8001", "secret1", one, 440.0, base + 10));
        let mut b = Baresip::start(phone("8002", "secret2", other, 1000.0, base + 40));
        gw.wait_online("8001", true).await;
        gw.wait_online("8002", true).await;
        a.dial("8002", gw.port);
        live(&gw, CallState::Talking).await;
        pause(5.0).await;
        for (who, phone, own, tone) in [("A", &a, 440.0, 1000.0), ("B", &b, 1000.0, 440.0)] {
            let (heard, rate) = phone.heard();
            let (l, pure, beside) = judge(&heard, rate, tone);
            let echo = level_at(&heard[heard.len().saturating_sub((rate * 1.5) as usize)..], own, rate);
            println!(
                "{one} - {other}: {who} hears {tone} Hz at {l:.3}, {:.1} % of all; beside it {beside:.4}, itself {echo:.4}",
                pure * 100.0
            );
            assert!(l > 0.15 && pure > 0.9, "{who}: {l} {pure} of {} samples", heard.len());
            assert!(beside < l / 20.0 && echo < l / 20.0, "{who}: {beside} {echo}");
        }
        a.command("hangup", "");
        let record = record(&mut records).await;
        assert_eq!((record.by, record.code.as_str()), (CallEndedBy::Caller, "ended"));
        for (leg, name) in record.call.legs.iter().zip([one, other]) {
            println!("{leg:?}");
            assert!(name.ends_with(&format!("{}/8000/1", leg.codec)) || name.starts_with(&leg.codec), "{leg:?}");
            assert!(leg.packets > 200 && leg.sent > 180 && leg.lost < 5, "{leg:?}");
        }
        if other.contains(',') {
            assert_eq!(record.call.legs[1].codec, "PCMA");
        }
        a.quit();
        b.quit();
        gw.stop().await;
    }
}

fn offer(phone: &Raw, formats: &str, maps: &str, direction: &str) -> String {
    let port = phone.rtp.local_addr().unwrap().port();
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP {formats}\r\n\
         {maps}a={direction}\r\n"
    )
}

fn formats(body: &[u8]) -> Vec<String> {
    Sdp::parse(body).unwrap().first("audio").unwrap().formats.clone()
}

const EVENTS: &str = "a=rtpmap:96 telephone-event/8000\r\n";
const OPUS: &str = "a=rtpmap:111 opus/48000/2\r\na=rtpmap:110 telephone-event/48000\r\n";

/// Two registered phones of ours in a call; the answers' media addresses, and what the far one was offered.
async fn call(
    gw: &Gateway,
    near: (&str, &str),
    far: (&str, &str),
) -> (Raw, Raw, sip::Call, sip::Call, std::net::SocketAddr, std::net::SocketAddr, Vec<String>, Vec<String>) {
    let (a, mut b) = (Raw::start("8001", gw.port + 10, gw.port).await, Raw::start("8003", gw.port + 12, gw.port).await);
    assert_eq!(a.register("secret1", 300).await.code, 200);
    assert_eq!(b.register("secret3", 300).await.code, 200);
    let mut call = a.invite("8003", &offer(&a, near.0, near.1, "sendrecv"), &[], None).await;
    let (far_call, invite) = b.called().await;
    far_call.accept("application/sdp", offer(&b, far.0, far.1, "sendrecv"), Headers::new());
    let ok = answer(&mut call).await.unwrap();
    let (offered, answered) = (formats(&invite.body), formats(&ok.body));
    let (to_a, to_b) = (media_of(&ok), sdp_of(&invite.body));
    pause(0.1).await;
    (a, b, call, far_call, to_a, to_b, offered, answered)
}

/// A-law and Opus without a common codec: offer and answer, the stream without a break through loss and a pause, keys by the other
/// number and clock, reports of ours; then a common codec, and packets pass as they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_turned_stream_is_whole_and_ends_when_both_know_a_codec() {
    let gw = Gateway::start(22_400, Config::default()).await;
    let (mut a, mut b, call, mut far, to_a, to_b, offered, answered) =
        call(&gw, ("8 96", EVENTS), ("111 110", OPUS)).await;
    assert_eq!(offered[..2], ["8", "96"], "the caller's own first");
    assert!(["0", "9", "111"].iter().all(|f| offered.iter().any(|o| o == f)), "{offered:?}");
    assert_eq!(answered, ["8", "96"]);
    // 2 s of a tone; one packet of ten is lost.
    let nowhere = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut every = tokio::time::interval(Duration::from_millis(20));
    for n in 0..100 {
        every.tick().await;
        let to = if n % 10 == 7 { nowhere } else { to_a };
        a.talk(to, 440.0).await;
    }
    let heard = b.hear(Duration::from_millis(200)).await;
    println!("{} Opus packets of 100", heard.len());
    assert!((96..=100).contains(&heard.len()), "{}", heard.len());
    for pair in heard.windows(2) {
        assert_eq!(pair[1].0, pair[0].0.wrapping_add(1), "numbers in a row");
        assert_eq!(pair[1].1, pair[0].1.wrapping_add(960), "time in a row");
        assert_eq!(pair[1].2, 111);
    }
    let track = media_core::TrackInfo::audio(media_core::Codec::Opus, 48_000, 1);
    let mut decoder = media_hub::audio::Decoder::new(&track).unwrap();
    let mut sound = Vec::new();
    heard.iter().for_each(|p| decoder.decode(&p.3, &mut sound).unwrap());
    let (l, pure, _) = judge(&sound, 48_000.0, 440.0);
    let quietest = sound[24_000..80_000].chunks(960).map(|c| level_at(c, 440.0, 48_000.0)).fold(1.0, f32::min);
    println!("440 Hz at {l:.3}, {:.1} % of all, at the least {quietest:.3}", pure * 100.0);
    assert!(l > 0.2 && pure > 0.9 && quietest > 0.1, "lost packets are concealed");
    // A pause of half a second, then a key.
    let before = heard.last().unwrap().1;
    pause(0.5).await;
    for _ in 0..25 {
        a.talk(nowhere, 440.0).await;
    }
    a.talk(to_a, 440.0).await;
    let after = b.hear(Duration::from_millis(100)).await;
    // What is lost that long is no more concealed.
    let step = after[0].1.wrapping_sub(before) as i32 / 48;
    println!("after the pause the stamp is {step} ms later, {} packets", after.len());
    assert!((480..=760).contains(&step), "{step}");
    let mut stamp = 500_000;
    for (n, p) in send_sequence('7', stamp, 8000, Duration::from_millis(100)).unwrap().iter().enumerate() {
        a.packet(to_a, 96, p.marker && n == 0, p.timestamp, &p.payload).await;
    }
    let keys = b.hear(Duration::from_millis(100)).await;
    let events: Vec<TelephoneEvent> = keys.iter().map(|k| TelephoneEvent::parse(&k.3).unwrap()).collect();
    assert!(keys.iter().all(|k| k.2 == 110 && k.1 == keys[0].1), "{keys:?}");
    assert_eq!((events[0].event, events[0].duration), (7, 960));
    assert!(events.last().unwrap().end && events.last().unwrap().duration == 4800, "{events:?}");
    assert!(keys.windows(2).all(|k| k[1].0 == k[0].0.wrapping_add(1)));
    assert_eq!(keys[0].0, after.last().unwrap().0.wrapping_add(1), "keys are in the same row");
    // And the other way: 48 kHz to 8 kHz.
    let silence = media_core::opus::SILENCE_20MS;
    for n in 0..60u32 {
        every.tick().await;
        b.packet(to_b, 111, n == 0, n * 960, &silence).await;
        a.talk(to_a, 440.0).await;
    }
    let heard = a.hear(Duration::from_millis(60)).await;
    assert!(heard.len() >= 59 && heard.iter().all(|p| p.2 == 8 && p.3.len() == 160), "{}", heard.len());
    stamp = 60 * 960;
    for p in send_sequence('#', stamp, 48_000, Duration::from_millis(60)).unwrap() {
        b.packet(to_b, 110, p.marker, p.timestamp, &p.payload).await;
    }
    let keys = a.hear(Duration::from_millis(100)).await;
    let last = TelephoneEvent::parse(&keys.last().unwrap().3).unwrap();
    assert!(keys.iter().all(|k| k.2 == 96) && (last.event, last.duration, last.end) == (11, 480, true), "{keys:?}");
    // A common codec again: packets pass as they are.
    let mut again = sip::Request::new(Method::Invite, sip::Uri::default());
    again.set_body(
        "application/sdp",
        offer(&a, "111 8 96", &format!("{OPUS}{EVENTS}"), "sendrecv").replace("1 1 IN", "1 2 IN"),
    );
    let (agreed, ()) = tokio::join!(call.send(again), async {
        let (tx, request) = request(&mut far).await;
        assert_eq!(formats(&request.body)[0], "111");
        let mut response = request.respond(200);
        response.set_body("application/sdp", offer(&b, "111 110", OPUS, "sendrecv").replace("1 1 IN", "1 2 IN"));
        far.respond(tx, response);
    });
    assert_eq!(formats(&agreed.unwrap().body)[0], "111");
    pause(0.1).await;
    let before = b.hear(Duration::from_millis(50)).await.pop().unwrap();
    a.packet(to_a, 111, true, 7, &[0x78, 1, 2, 3, 4, 5, 6, 7]).await;
    let heard = b.hear(Duration::from_millis(100)).await;
    assert_eq!((heard[0].2, heard[0].3.as_slice()), (111, [0x78, 1, 2, 3, 4, 5, 6, 7].as_slice()));
    let step = heard[0].1.wrapping_sub(before.1) / 48;
    println!("what passes comes {step} ms after what was turned");
    assert_eq!(heard[0].0, before.0.wrapping_add(1), "the same row goes on");
    assert!((20..2000).contains(&step), "the same clock goes on: {step}");
    gw.stop().await;
}

/// Reports: of a turned stream we make them ourselves, by its own clock.
#[tokio::test(flavor = "multi_thread")]
async fn reports_of_a_turned_call_are_ours() {
    let gw = Gateway::start(22_500, Config::default()).await;
    let (mut a, b) = (Raw::start("8001", 22_510, gw.port).await, Raw::start("8003", 22_512, gw.port).await);
    assert_eq!(a.register("secret1", 300).await.code, 200);
    assert_eq!(b.register("secret3", 300).await.code, 200);
    let mut b = b;
    let rtcp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut call = a.invite("8003", &offer(&a, "8", "", "sendrecv"), &[], None).await;
    let (far, invite) = b.called().await;
    let own = format!("a=rtcp:{}\r\n", rtcp.local_addr().unwrap().port());
    far.accept("application/sdp", offer(&b, "9", &own, "sendrecv"), Headers::new());
    let to_a = media_of(&answer(&mut call).await.unwrap());
    let to_b = sdp_of(&invite.body);
    let mut every = tokio::time::interval(Duration::from_millis(20));
    let mut encoder = g722::Encoder::default();
    let mut bytes = Vec::new();
    for n in 0..70u32 {
        every.tick().await;
        a.talk(to_a, 440.0).await;
        bytes.clear();
        encoder.encode(&[100; 320], &mut bytes);
        b.packet(to_b, 9, n == 0, n * 160, &bytes).await;
    }
    let mut buffer = [0; 1500];
    let (n, _) = tokio::time::timeout(Duration::from_secs(2), rtcp.recv_from(&mut buffer)).await.unwrap().unwrap();
    let packets = Rtcp::parse_compound(&buffer[..n]).unwrap();
    let heard = b.hear(Duration::from_millis(50)).await;
    assert!(heard.iter().all(|p| p.2 == 9 && p.3.len() == 160));
    let Rtcp::SenderReport { rtp, packets: count, octets, reports, .. } = &packets[0] else { panic!("{packets:?}") };
    println!("{count} packets, {octets} octets, {reports:?}");
    assert!((40..=70).contains(count) && *octets == count * 160);
    assert!((reports[0].ssrc, reports[0].total_lost) == (77, 0), "what we had of this phone");
    let behind = rtp.wrapping_sub(heard[0].1) as i32;
    assert!((-160..=70 * 160).contains(&behind), "its clock is 8000: {behind}");
    drop((call, far));
    gw.stop().await;
}

/// More calls than may be decoded: the caller is told why, and the phone does not ring in vain; with transcoding off as well.
#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_calls_are_refused_clearly() {
    for (base, max, on, reason) in [(22_600, 0, true, "transcode_limit"), (22_700, 9, false, "no_codec")] {
        let config = Config { max_transcoded: max, transcode: on, ..Config::default() };
        let gw = Gateway::start(base, config).await;
        let (a, mut b) = (Raw::start("8001", base + 10, gw.port).await, Raw::start("8003", base + 12, gw.port).await);
        assert_eq!(a.register("secret1", 300).await.code, 200);
        assert_eq!(b.register("secret3", 300).await.code, 200);
        let mut call = a.invite("8003", &offer(&a, "8 96", EVENTS, "sendrecv"), &[], None).await;
        let (far, invite) = b.called().await;
        assert_eq!(formats(&invite.body), ["8", "96", "0"]);
        far.reject(488, "");
        // A phone that did not ring may have refused for its keys.
        let (far, invite) = b.called().await;
        assert!(String::from_utf8_lossy(&invite.body).contains("UDP/TLS/RTP/SAVP"));
        far.reject(488, "");
        let refused = answer(&mut call).await.unwrap_err();
        println!("{:?} {:?}", refused.headers.get("Reason"), refused.headers.get("Warning"));
        assert_eq!(refused.code, 488);
        assert!(refused.headers.get("Reason").unwrap().contains(reason));
        assert_eq!(refused.headers.get("Warning").is_some_and(|w| w.contains("transcoded")), on);
        gw.stop().await;
    }
}

/// Keys between a phone with telephone events and one without: as INFO one way (SIPp must get it), as events the other way, out of
/// INFO and out of the sound.
#[tokio::test(flavor = "multi_thread")]
async fn keys_reach_a_phone_without_telephone_events() {
    use crate::sipp::{Sipp, Step};
    let gw = Gateway::start(22_800, Config::default()).await;
    if !crate::sipp::missing() {
        let mut a = Raw::start("8004", 22_814, gw.port).await;
        assert_eq!(a.register("secret4", 300).await.code, 200);
        let steps = [
            Step::Invite,
            Step::AnswerSdp("200 OK", "8"),
            Step::Ack,
            Step::Info("Signal=5"),
            Step::Info("Signal=#"),
            Step::Bye,
            Step::Ok,
        ];
        let phone = Sipp::phone("8005", 22_840, gw.port, &steps);
        let mut call = a.invite("8005", &offer(&a, "8 96", EVENTS, "sendrecv"), &[], None).await;
        let ok = answer(&mut call).await.unwrap();
        assert_eq!(formats(&ok.body), ["8", "96"], "it may send keys");
        let to = media_of(&ok);
        let mut stamp = 0;
        for key in ['5', '#'] {
            a.talk(to, 440.0).await;
            for p in send_sequence(key, 90_000 + stamp, 8000, Duration::from_millis(100)).unwrap() {
                a.packet(to, 96, p.marker, p.timestamp, &p.payload).await;
            }
            stamp += 4000;
            pause(0.3).await;
        }
        call.bye();
        phone.done().await;
    }
    let (mut a, mut b, call, mut far, to_a, to_b, offered, answered) = call(&gw, ("8 96", EVENTS), ("8", "")).await;
    assert_eq!((offered[..2].join(" "), answered.join(" ")), ("8 96".into(), "8 96".into()));
    // A key that the far phone refuses by INFO is heard as tones.
    for p in send_sequence('9', 700_000, 8000, Duration::from_millis(120)).unwrap() {
        a.packet(to_a, 96, p.marker, p.timestamp, &p.payload).await;
    }
    let (tx, info) = tokio::time::timeout(Duration::from_secs(2), request(&mut far)).await.unwrap();
    assert!(String::from_utf8_lossy(&info.body).contains("Signal=9\r\nDuration=120"));
    far.respond(tx, info.respond(415));
    let mut linear = Vec::new();
    b.hear(Duration::from_millis(400)).await.iter().for_each(|p| g711::decode(true, &p.3, &mut linear));
    let mut keys = Vec::new();
    ToneDetector::default().push(&linear, |tone| keys.push(tone));
    assert_eq!(keys.first(), Some(&Tone::Began('9')));
    // INFO of the far phone, while it talks: an event for the near one, in the row of its sound.
    let mut every = tokio::time::interval(Duration::from_millis(20));
    let mut pressed = None;
    for n in 0..40 {
        every.tick().await;
        b.talk(to_b, 700.0).await;
        if n == 15 {
            pause(0.6).await;
            b.talk(to_b, 700.0).await;
            let mut info = sip::Request::new(Method::Info, sip::Uri::default());
            info.set_body("application/dtmf-relay", "Signal=3\r\nDuration=100\r\n");
            pressed = Some(far.send(info).await.unwrap().code);
            every.reset();
        }
    }
    assert_eq!(pressed, Some(200));
    let heard = a.hear(Duration::from_millis(60)).await;
    assert!(heard.windows(2).all(|p| p[1].0 == p[0].0.wrapping_add(1)), "one row");
    let events: Vec<_> = heard.iter().filter(|p| p.2 == 96).collect();
    let last = TelephoneEvent::parse(&events.last().unwrap().3).unwrap();
    println!("{} packets of the key, {last:?}", events.len());
    assert_eq!((last.event, last.end, last.duration, events.len()), (3, true, 800, 7));
    // A key in the sound of the far phone.
    let tone = sound('4', 100);
    let mut law = Vec::new();
    g711::encode(true, &tone, &mut law);
    law.resize(law.len() + 1600, 0xD5);
    for (n, part) in law.chunks(160).enumerate() {
        every.tick().await;
        b.packet(to_b, 8, false, 900_000 + n as u32 * 160, part).await;
    }
    let heard = a.hear(Duration::from_millis(60)).await;
    let events: Vec<_> = heard.iter().filter(|p| p.2 == 96).collect();
    let last = TelephoneEvent::parse(&events.last().expect("the key in the sound").3).unwrap();
    println!("in the sound: {} packets, {last:?}", events.len());
    assert!((last.event, last.end) == (4, true) && (600..=1300).contains(&last.duration));
    // T.38 is refused by name, and the sound goes on.
    let mut fax = sip::Request::new(Method::Invite, sip::Uri::default());
    fax.set_body("application/sdp", FAX.replace("1 1 IN", "1 2 IN"));
    let refused = call.send(fax).await.unwrap();
    assert_eq!(refused.code, 488);
    assert!(refused.headers.get("Warning").unwrap().contains("T.38"));
    assert!(refused.headers.get("Reason").unwrap().contains("fax_refused"));
    a.talk(to_a, 440.0).await;
    assert_eq!(b.hear(Duration::from_millis(100)).await.len(), 1);
    call.bye();
    loop {
        if let Some(CallEvent::Ended(_)) | None = far.next().await {
            break;
        }
    }
    gw.stop().await;
}

const FAX: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=image 4000 udptl t38\r\n\
                   a=T38FaxVersion:0\r\n";

/// The PIN as tones in the sound of a phone that offers no telephone events; and a fax machine in the conference.
#[tokio::test(flavor = "multi_thread")]
async fn a_pin_in_the_sound_opens_a_conference_and_fax_is_refused_there() {
    let gw = Gateway::start(22_900, Config { pin_digit_timeout: 1, ..Config::default() }).await;
    let mut a = Raw::start("8001", 22_910, gw.port).await;
    assert_eq!(a.register("secret1", 300).await.code, 200);
    let mut call = a.invite("600", &offer(&a, "8", "", "sendrecv"), &[], None).await;
    let media = media_of(&answer(&mut call).await.unwrap());
    let mut law = Vec::new();
    for key in "2468#".chars() {
        g711::encode(true, &sound(key, 60), &mut law);
        law.resize(law.len() + 640, 0xD5);
    }
    let mut every = tokio::time::interval(Duration::from_millis(20));
    for (n, part) in law.chunks(160).enumerate() {
        every.tick().await;
        a.packet(media, 8, n == 0, n as u32 * 160, part).await;
    }
    gw.rooms.wait("Connected", 4).await;
    let mut fax = sip::Request::new(Method::Invite, sip::Uri::default());
    fax.set_body("application/sdp", FAX.replace("1 1 IN", "1 2 IN"));
    let refused = call.send(fax).await.unwrap();
    println!("{:?} {:?}", refused.headers.get("Warning"), refused.headers.get("Reason"));
    assert_eq!(refused.code, 488);
    assert!(refused.headers.get("Warning").unwrap().contains("T.38"));
    assert!(refused.headers.get("Reason").unwrap().contains("fax_refused"));
    a.goes_on(11).await;
    call.bye();
    gw.stop().await;
}

const RECEIVE: &str = r#"<recv request="INVITE"><action>
<ereg regexp="[0-9]+" search_in="hdr" header="CSeq:" assign_to="1"/>
<ereg regexp="SIP.*" search_in="hdr" header="Via:" assign_to="9"/>
<ereg regexp="sip:.*" search_in="hdr" header="From:" assign_to="4"/>
<ereg regexp="sip:.*" search_in="hdr" header="To:" assign_to="5"/></action></recv>
"#;
const RELIABLE: &str = r#"<send><![CDATA[
SIP/2.0 183 Session Progress
[last_Via:]
[last_From:]
[last_To:];tag=sipp[pid]x[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port]>
Require: 100rel
RSeq: 5
Content-Type: application/sdp
Content-Length: [len]

v=0
o=sipp 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8
]]></send><recv request="PRACK"/><send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
"#;
/// 200 to the INVITE, though other messages have come since.
const FINAL: &str = r#"<send><![CDATA[
SIP/2.0 200 OK
Via: [$9]
From: <[$4]
To: <[$5];tag=sipp[pid]x[call_number]
[last_Call-ID:]
CSeq: [$1] INVITE
Contact: <sip:[local_ip]:[local_port]>
Content-Length: 0

]]></send>
"#;
const FINAL_WITH_SDP: &str = r#"<send><![CDATA[
SIP/2.0 200 OK
Via: [$9]
From: <[$4]
To: <[$5];tag=sipp[pid]x[call_number]
[last_Call-ID:]
CSeq: [$1] INVITE
Contact: <sip:[local_ip]:[local_port]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=sipp 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8
]]></send>
"#;
const UPDATE: &str = r#"<send retrans="500"><![CDATA[
UPDATE sip:gateway@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <[$5];tag=sipp[pid]x[call_number]
To: <[$4]
[last_Call-ID:]
CSeq: 7 UPDATE
Contact: <sip:[local_ip]:[local_port]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=sipp 1 2 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio 24700 RTP/AVP 8
]]></send>
"#;

/// UPDATE with an offer before the answer (RFC 3311 5.2), both ways, told by SIPp: 491 to the called phone while our offer is open, 200
/// once it was answered reliably; 500 with Retry-After to the caller who has no answer yet, 200 once he has.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_before_the_answer_is_answered_right() {
    use crate::sipp::{Sipp, Step};
    if crate::sipp::missing() {
        return;
    }
    let gw = Gateway::start(23_000, Config::default()).await;
    let mut a = Raw::start("8004", 23_014, gw.port).await;
    assert_eq!(a.register("secret4", 300).await.code, 200);
    let early = [
        Step::Xml(RECEIVE),
        Step::Answer("180 Ringing"),
        Step::Xml(UPDATE),
        Step::Xml("<recv response=\"491\"/>\n"),
        Step::Xml(FINAL_WITH_SDP),
        Step::Ack,
        Step::Bye,
        Step::Ok,
    ];
    let phone = Sipp::phone("8005", 23_040, gw.port, &early);
    let mut call = a.invite("8005", &offer(&a, "8", "", "sendrecv"), &[], None).await;
    answer(&mut call).await.unwrap();
    pause(0.3).await;
    call.bye();
    phone.done().await;
    // Answered reliably: the offer is taken, and sound goes to the new port. The 200 then says nothing of its own.
    let taken = "<recv response=\"200\"><action><ereg regexp=\"m=audio [1-9][0-9]+ RTP/AVP 8\" search_in=\"body\" check_it=\"true\" \
                 assign_to=\"6\"/></action></recv><Reference variables=\"6\"/>\n";
    let reliable = [
        Step::Xml(RECEIVE),
        Step::Xml(RELIABLE),
        Step::Xml(UPDATE),
        Step::Xml(taken),
        Step::Xml(FINAL),
        Step::Ack,
        Step::Bye,
        Step::Ok,
    ];
    let moved = tokio::net::UdpSocket::bind("127.0.0.1:24700").await.unwrap();
    let phone = Sipp::phone("8006", 23_060, gw.port, &reliable);
    let mut call = a.invite("8006", &offer(&a, "8", "", "sendrecv"), &[], None).await;
    let to = media_of(&answer(&mut call).await.unwrap());
    pause(0.2).await;
    a.talk(to, 440.0).await;
    let mut buffer = [0; 500];
    let heard = tokio::time::timeout(Duration::from_secs(1), moved.recv_from(&mut buffer)).await;
    assert_eq!(heard.expect("sound at the new port").unwrap().0, 172);
    call.bye();
    phone.done().await;
    // The caller.
    let mut b = Raw::start("8003", 23_012, gw.port).await;
    assert_eq!(b.register("secret3", 300).await.code, 200);
    for (port, tag, middle, expected) in [
        (
            23_070,
            "X-None: 1",
            "<recv response=\"180\"><action><ereg regexp=\"tag=.*\" search_in=\"hdr\" header=\"To:\" assign_to=\"2\"/></action></recv>",
            "<recv response=\"500\"><action><ereg regexp=\"[0-9]+\" search_in=\"hdr\" header=\"Retry-After:\" check_it=\"true\" assign_to=\"3\"/></action></recv><Reference variables=\"3\"/>",
        ),
        (23_080, "Supported: 100rel", CALLER_PRACK, CALLER_TAKEN),
    ] {
        let register = crate::sipp::REGISTER.replace("USER", "8007").replace("PASSWORD", "secret7");
        assert!(crate::sipp::once("127.0.0.1", port, gw.port, &register, 1).await, "register");
        let xml = CALLER.replace("TAG", tag).replace("MIDDLE", middle).replace("EXPECTED", expected);
        let caller = tokio::spawn(async move { crate::sipp::once("127.0.0.1", port, 23_000, &xml, 1).await });
        let (mut far, _) = b.called().await;
        match port {
            23_070 => far.ring(180, None),
            _ => far.ring(183, Some(("application/sdp", offer(&b, "8", "", "sendrecv").into()))),
        }
        pause(0.8).await;
        far.accept("application/sdp", offer(&b, "8", "", "sendrecv"), Headers::new());
        let mut held = false;
        loop {
            match tokio::time::timeout(Duration::from_secs(8), far.next()).await.unwrap() {
                Some(CallEvent::Request { tx, request }) => {
                    held |= String::from_utf8_lossy(&request.body).contains("a=sendonly");
                    let mut response = request.respond(200);
                    response.set_body("application/sdp", offer(&b, "8", "", "recvonly").replace("1 1 IN", "1 2 IN"));
                    far.respond(tx, response);
                }
                Some(CallEvent::Ended(_)) | None => break,
                Some(_) => {}
            }
        }
        assert!(caller.await.unwrap(), "the caller's scenario at {port}");
        assert_eq!(held, port == 23_080, "the hold of an UPDATE reaches the other phone");
    }
    gw.stop().await;
}

const CALLER_PRACK: &str = r#"<recv response="183" rrs="true"><action>
<ereg regexp="tag=.*" search_in="hdr" header="To:" assign_to="2"/>
<ereg regexp="[0-9]+" search_in="hdr" header="RSeq:" check_it="true" assign_to="8"/></action></recv>
<send retrans="500"><![CDATA[
PRACK sip:8003@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:8007@[remote_ip]>;tag=[call_number]
To: <sip:8003@[remote_ip]>;[$2]
Call-ID: [call_id]
CSeq: 2 PRACK
RAck: [$8] 1 INVITE
Max-Forwards: 70
Content-Length: 0

]]></send><recv response="200"/>
"#;
const CALLER_TAKEN: &str = r#"<recv response="200"><action>
<ereg regexp="a=recvonly" search_in="body" check_it="true" assign_to="3"/></action></recv><Reference variables="3"/>"#;
const CALLER: &str = r#"<scenario name="caller"><send retrans="500"><![CDATA[
INVITE sip:8003@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:8007@[remote_ip]>;tag=[call_number]
To: <sip:8003@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:8007@[local_ip]:[local_port]>
Max-Forwards: 70
TAG
Content-Type: application/sdp
Content-Length: [len]

v=0
o=sipp 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio 24710 RTP/AVP 8
]]></send><recv response="100" optional="true"/>
MIDDLE
<send retrans="500"><![CDATA[
UPDATE sip:8003@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:8007@[remote_ip]>;tag=[call_number]
To: <sip:8003@[remote_ip]>;[$2]
Call-ID: [call_id]
CSeq: 3 UPDATE
Contact: <sip:8007@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=sipp 1 2 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio 24710 RTP/AVP 8
a=sendonly
]]></send>
EXPECTED
<recv response="200"/><send><![CDATA[
ACK sip:8003@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:8007@[remote_ip]>;tag=[call_number]
To: <sip:8003@[remote_ip]>;[$2]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send><pause milliseconds="500"/><send retrans="500"><![CDATA[
INVITE sip:8003@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:8007@[remote_ip]>;tag=[call_number]
To: <sip:8003@[remote_ip]>;[$2]
Call-ID: [call_id]
CSeq: 4 INVITE
Contact: <sip:8007@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=sipp 1 3 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=image 24712 udptl t38
]]></send><recv response="100" optional="true"/>
<recv response="488"><action><ereg regexp="T.38" search_in="hdr" header="Warning:" check_it="true" assign_to="7"/></action></recv>
<Reference variables="7"/><send><![CDATA[
ACK sip:8003@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:8007@[remote_ip]>;tag=[call_number]
To: <sip:8003@[remote_ip]>;[$2]
Call-ID: [call_id]
CSeq: 4 ACK
Max-Forwards: 70
Content-Length: 0

]]></send><send retrans="500"><![CDATA[
BYE sip:8003@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:8007@[remote_ip]>;tag=[call_number]
To: <sip:8003@[remote_ip]>;[$2]
Call-ID: [call_id]
CSeq: 5 BYE
Max-Forwards: 70
Content-Length: 0

]]></send><recv response="200"/></scenario>"#;
