//! Protected sound: baresip with SDES (RFC 4568) and DTLS-SRTP (RFC 5764) against phones with and without, and in a conference.

use std::time::Duration;

use bridge_core::{CallState, Command};
use skybridge_bridge_phone::{Config, Srtp};

use crate::baresip::{Account, Baresip, TLS};
use crate::gateway::Gateway;
use crate::raw::{Raw, answer, end};
use crate::signal::level;

async fn pause(seconds: f32) {
    tokio::time::sleep(Duration::from_secs_f32(seconds)).await;
}

fn phone<'a>(user: &'a str, password: &'a str, gateway: u16, tone: f32, port: u16, extra: &'a str) -> Account<'a> {
    Account { user, password, gateway, codec: "PCMA", tone, port, extra }
}

async fn talking(gw: &Gateway) -> bridge_core::LiveCall {
    let end = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let calls = gw.bridge.calls().unwrap().live();
        if let Some(call) = calls.iter().find(|c| c.state == CallState::Talking) {
            return call.clone();
        }
        assert!(std::time::Instant::now() < end, "no call stands: {calls:?}");
        pause(0.05).await;
    }
}

fn hears(phone: &Baresip, who: &str, own: f32, other: f32) {
    let heard = phone.sound("dec");
    assert!(heard.len() > 16_000, "{who} heard {} samples", heard.len());
    let tail = &heard[heard.len() - 12_000..];
    let (l, echo) = (level(tail, other), level(tail, own));
    println!("{who} hears the other {l:.4}, itself {echo:.5}");
    assert!(l > 0.15, "{who} does not hear the other");
    assert!(echo < 0.004, "{who} hears itself");
}

/// Each phone has keys of its own with us: protected with plain, protected with protected, one way of keys with the other.
async fn pairs(pairs: &[(u16, &str, &str)]) {
    for (gateway, of_a, of_b) in pairs {
        let gw = Gateway::start(*gateway, Config::default()).await;
        let (a, b) = (format!(";answermode=auto{of_a}"), format!(";answermode=auto{of_b}"));
        let mut a = Baresip::start(phone("8001", "secret1", gw.port, 440.0, gateway + 10, &a));
        let mut b = Baresip::start(phone("8002", "secret2", gw.port, 700.0, gateway + 40, &b));
        gw.wait_online("8001", true).await;
        gw.wait_online("8002", true).await;
        println!("{of_a} calls {of_b}");
        a.dial("8002", gw.port);
        talking(&gw).await;
        pause(4.0).await;
        hears(&a, "A", 440.0, 700.0);
        hears(&b, "B", 700.0, 440.0);
        let call = talking(&gw).await;
        for leg in &call.legs {
            assert!(leg.packets > 120 && leg.lost < 5, "{leg:?}");
        }
        let bad = gw.counter("skybridge_phone_rtp_packets_bad_total", "");
        println!("bad packets: {bad}");
        assert!(bad < 40.0, "{bad} packets were refused");
        a.quit();
        b.quit();
        gw.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn phones_with_keys_in_the_description_hear_each_other() {
    if crate::baresip::missing() {
        return;
    }
    pairs(&[(30_200, ";mediaenc=srtp-mand", ""), (30_300, ";mediaenc=srtp-mandf", ";mediaenc=srtp")]).await;
}

/// baresip makes itself a certificate of RSA at each start: with it both as client and as server of the handshake.
#[tokio::test(flavor = "multi_thread")]
async fn phones_with_dtls_and_a_certificate_of_rsa_hear_each_other() {
    if crate::baresip::missing() {
        return;
    }
    let dtls = ";mediaenc=dtls_srtp";
    pairs(&[(30_800, dtls, ""), (30_900, dtls, dtls), (31_000, ";mediaenc=srtp-mand", dtls)]).await;
}

/// Over TLS we offer keys in the description; a phone that has none of it is offered plain sound after its 488, unless the site
/// requires protection: then it is not reached, and a phone with DTLS is.
#[tokio::test(flavor = "multi_thread")]
async fn over_tls_keys_are_offered_and_after_a_refusal_the_next_way() {
    if crate::baresip::missing() {
        return;
    }
    let tls = |media: &str| format!(";answermode=auto{TLS}{media}");
    let cases = [
        (31_100, Srtp::Offer, tls(";mediaenc=srtp-mand"), Some("SRTP is Enabled")),
        (31_200, Srtp::Offer, tls(""), Some("")),
        (31_300, Srtp::Require, ";answermode=auto;mediaenc=dtls_srtp".to_owned(), Some("DTLS-SRTP complete")),
        (31_400, Srtp::Require, tls(""), None),
    ];
    for (port, srtp, of_b, protected) in cases {
        let gw = Gateway::start_tls(port, Config { srtp, ..Config::default() }).await;
        let mut a = Baresip::start(phone("8001", "secret1", port, 440.0, port + 10, ";mediaenc=srtp-mand"));
        let mut b = Baresip::start(phone("8002", "secret2", port, 700.0, port + 40, &of_b));
        gw.wait_online("8001", true).await;
        gw.wait_online("8002", true).await;
        println!("{srtp:?}: {of_b}");
        a.dial("8002", port);
        if let Some(word) = protected {
            talking(&gw).await;
            pause(4.0).await;
            hears(&a, "A", 440.0, 700.0);
            hears(&b, "B", 700.0, 440.0);
            let log = b.log();
            let secure = log.contains("SRTP is Enabled") || log.contains("DTLS-SRTP complete");
            assert!(log.contains(word) && secure != word.is_empty(), "{log}");
        } else {
            pause(1.5).await;
            assert!(a.log().contains("session closed: 488"), "{}", a.log());
            assert!(!b.log().contains("established"), "{}", b.log());
        }
        a.quit();
        b.quit();
        gw.stop().await;
    }
}

/// Registered over TLS and knowing DTLS alone: our keys in the description are answered without keys (baresip 1.0), so it is asked again in
/// the same dialog, and offered DTLS at once from then on; the same when a conference calls it, and for one that has called first.
#[tokio::test(flavor = "multi_thread")]
async fn a_phone_of_dtls_alone_is_called_over_tls() {
    if crate::baresip::missing() {
        return;
    }
    let gw = Gateway::start_tls(23_100, Config::default()).await;
    let dtls = format!(";answermode=auto{TLS};mediaenc=dtls_srtp");
    let asked = |phone: &Baresip| phone.log().matches("got re-INVITE").count();
    let mut a = Baresip::start(phone("8001", "secret1", gw.port, 440.0, 23_110, ""));
    let mut b = Baresip::start(phone("8002", "secret2", gw.port, 700.0, 23_140, &dtls));
    gw.wait_online("8001", true).await;
    gw.wait_online("8002", true).await;
    for (round, again) in [("first", 1), ("second", 1)] {
        a.dial("8002", gw.port);
        talking(&gw).await;
        pause(4.0).await;
        println!("{round} call: asked again {} times", asked(&b));
        hears(&a, "A", 440.0, 700.0);
        hears(&b, "B", 700.0, 440.0);
        assert_eq!(asked(&b), again, "{}", b.log());
        assert!(b.log().contains("DTLS-SRTP complete"), "{}", b.log());
        a.command("hangup", "");
        pause(1.5).await;
        assert!(gw.bridge.calls().unwrap().live().is_empty());
    }
    b.quit();
    // Called by a conference.
    let browser = gw.rooms.browser("700", 900.0);
    let mut c = Baresip::start(phone("8004", "secret4", gw.port, 1300.0, 23_170, &dtls));
    gw.wait_online("8004", true).await;
    gw.bridge.command(Command::Dial { to: "8004".into(), seat: gw.rooms.seat("700") }).await.unwrap();
    gw.rooms.wait("Connected", 5).await;
    pause(3.5).await;
    hears(&c, "C", 1300.0, 900.0);
    let heard = gw.rooms.heard_by_browser("700", 1.0).await;
    assert!(crate::signal::level_at(&heard, 1300.0, 48_000.0) > 0.1, "the conference does not hear it");
    assert_eq!(asked(&c), 1, "{}", c.log());
    c.quit();
    // Who has called by DTLS is called by it.
    let mut d = Baresip::start(phone("8005", "secret5", gw.port, 1500.0, 23_200, &dtls));
    gw.wait_online("8005", true).await;
    let told = gw.rooms.reports().len();
    d.command("dial", &format!("sip:700@127.0.0.1:{}{TLS}", gw.port + 1));
    gw.rooms.wait_after(told, "Connected", 8).await;
    d.command("hangup", "");
    pause(1.5).await;
    a.dial("8005", gw.port);
    talking(&gw).await;
    pause(3.0).await;
    hears(&a, "A", 440.0, 1500.0);
    assert_eq!(asked(&d), 0, "{}", d.log());
    a.command("hangup", "");
    pause(0.5).await;
    browser.abort();
    a.quit();
    d.quit();
    gw.stop().await;
}

/// baresip that takes nothing but SRTP calls a conference: what it says is heard there, and it hears the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_protected_phone_is_in_a_conference() {
    if crate::baresip::missing() {
        return;
    }
    let gw = Gateway::start(30_400, Config::default()).await;
    let browser = gw.rooms.browser("700", 900.0);
    let mut a = Baresip::start(phone("8001", "secret1", gw.port, 440.0, 30_410, ";mediaenc=srtp-mand"));
    gw.wait_online("8001", true).await;
    a.dial("700", gw.port);
    gw.rooms.wait("Connected", 8).await;
    pause(4.0).await;
    hears(&a, "A", 440.0, 900.0);
    let heard = gw.rooms.heard_by_browser("700", 1.0).await;
    let l = crate::signal::level_at(&heard, 440.0, 48_000.0);
    println!("the browser hears the phone {l:.4}");
    assert!(l > 0.1);
    assert_eq!(gw.counter("skybridge_phone_rtp_packets_bad_total", ""), 0.0);
    browser.abort();
    a.quit();
    gw.stop().await;
}

const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

fn savp(a: &Raw, proto: &str, lines: &str) -> String {
    let offer = a.offer("8 96", "sendrecv").replace("RTP/AVP", proto);
    format!("{offer}{lines}")
}

/// What is forged, repeated or plain is dropped and counted, and nothing leaves unprotected.
#[tokio::test(flavor = "multi_thread")]
async fn forged_and_repeated_packets_are_dropped_and_counted() {
    use media_secure::sdes::Crypto;
    let gw = Gateway::start(30_500, Config::default()).await;
    let a = Raw::start("8001", 30_510, gw.port).await;
    assert_eq!(a.register("secret1", 300).await.code, 200);
    let line = format!(
        "a=crypto:1 F8_128_HMAC_SHA1_80 inline:{KEY}\r\na=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31\r\n"
    );
    let mut call = a.invite("700", &savp(&a, "RTP/SAVP", &line), &[], None).await;
    let ok = answer(&mut call).await.unwrap();
    let text = String::from_utf8_lossy(&ok.body).into_owned();
    assert!(text.contains("RTP/SAVP 8"), "{text}");
    let theirs = text.lines().find_map(|l| l.strip_prefix("a=crypto:")).unwrap();
    let theirs = Crypto::parse(theirs).unwrap();
    assert_eq!(theirs.tag, 7, "the tag of the line that was taken");
    assert!(!text.contains(KEY), "a key of its own");
    let to = crate::raw::media_of(&ok);
    let ours = Crypto::parse(&format!("7 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")).unwrap();
    let mut out = media_secure::Outgoing::new(&ours.keys).unwrap();
    let received = |gw: &Gateway| gw.counter("skybridge_phone_rtp_packets_received_total", "");
    let bad = |gw: &Gateway| gw.counter("skybridge_phone_rtp_packets_bad_total", "");
    for n in 0..20u16 {
        let mut packet = vec![0x80, 8];
        packet.extend_from_slice(&n.to_be_bytes());
        packet.extend_from_slice(&(u32::from(n) * 160).to_be_bytes());
        packet.extend_from_slice(&77u32.to_be_bytes());
        packet.extend_from_slice(&[0xD5; 160]);
        let plain = packet.clone();
        out.protect(&mut packet, 0).unwrap();
        let mut forged = packet.clone();
        forged[50] ^= 1;
        for datagram in [&plain, &forged, &packet, &packet] {
            a.rtp.send_to(datagram, to).await.unwrap();
        }
        pause(0.02).await;
    }
    println!("received {}, bad {}", received(&gw), bad(&gw));
    assert_eq!((received(&gw), bad(&gw)), (20.0, 60.0));
    // What comes back opens with the answer's key, and with it alone.
    let mut inc = media_secure::Incoming::new(&theirs.keys).unwrap();
    let mut buffer = [0; 2000];
    let mut opened = 0;
    while let Ok(Ok((n, _))) = tokio::time::timeout(Duration::from_millis(200), a.rtp.recv_from(&mut buffer)).await {
        let len = inc.open(&mut buffer[..n]).expect("protected with the key of the answer");
        assert!(len < n);
        opened += 1;
        if opened > 30 {
            break;
        }
    }
    assert!(opened > 30);
    call.bye();
    gw.stop().await;
}

/// `phone.srtp = "require"`: plain offers are refused in words; keys in clear by their own setting.
#[tokio::test(flavor = "multi_thread")]
async fn the_sites_rules_are_kept() {
    let gw =
        Gateway::start(30_600, Config { srtp: Srtp::Require, srtp_keys_in_clear: false, ..Config::default() }).await;
    let a = Raw::start("8001", 30_610, gw.port).await;
    let mut b = Raw::start("8003", 30_612, gw.port).await;
    assert_eq!(a.register("secret1", 300).await.code, 200);
    assert_eq!(b.register("secret3", 300).await.code, 200);
    let key = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n");
    for (number, offer, word) in [
        ("700", a.offer("8 96", "sendrecv"), "SAVP needed"),
        ("8003", a.offer("8 96", "sendrecv"), "SAVP needed"),
        ("8003", savp(&a, "RTP/SAVP", &key), "TLS only"),
        ("8003", savp(&a, "RTP/SAVP", "a=crypto:1 UNKNOWN inline:x\r\n"), "no known crypto suite"),
        ("8003", savp(&a, "UDP/TLS/RTP/SAVP", ""), "no known crypto suite"),
    ] {
        let mut call = a.invite(number, &offer, &[], None).await;
        let refused = answer(&mut call).await.unwrap_err();
        let warning = refused.headers.get("Warning").unwrap_or("").to_owned();
        println!("{number}: {} {warning} {:?}", refused.code, refused.headers.get("Reason"));
        assert!(refused.code == 488 && warning.contains(word), "{warning}");
    }
    // Over UDP no key of ours is written: DTLS is offered, and a phone that cannot is told of in the books.
    let print = ["AB"; 32].join(":");
    let dtls = format!("a=fingerprint:sha-256 {print}\r\na=setup:actpass\r\n");
    let mut call = a.invite("8003", &savp(&a, "UDP/TLS/RTP/SAVP", &dtls), &[], None).await;
    let (mut far, invite) = b.called().await;
    let text = String::from_utf8_lossy(&invite.body).into_owned();
    assert!(
        text.contains("UDP/TLS/RTP/SAVP 8") && text.contains("a=setup:actpass") && !text.contains("crypto"),
        "{text}"
    );
    far.reject(488, "Not Acceptable Here");
    assert_eq!(answer(&mut call).await.unwrap_err().code, 488);
    assert!(matches!(
        end(&mut far, 5).await,
        sip::EndReason::Rejected(_) | sip::EndReason::Cancelled | sip::EndReason::LocalBye
    ));
    gw.stop().await;
}
