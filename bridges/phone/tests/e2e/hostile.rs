//! What no phone should do, by SIPp, and floods while a call of baresip stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bridge_core::CallState;
use skybridge_bridge_phone::Config;

use crate::baresip::{Account, Baresip};
use crate::gateway::Gateway;
use crate::sipp::{self, Step, once};

const HEAD: &str = "From: <sip:8001@127.0.0.1>;tag=[call_number]\nCall-ID: [call_id]\nMax-Forwards: 70\nContact: <sip:8001@[local_ip]:[local_port]>\n";

fn send(method: &str, to: &str, cseq: &str, branch: &str, more: &str, body: bool) -> String {
    let sdp = "v=0\no=sipp 1 1 IN IP4 [local_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\nm=audio [media_port] RTP/AVP 8\n";
    let (kind, sdp) = if body { ("Content-Type: application/sdp\n", sdp) } else { ("", "") };
    format!(
        "<send><![CDATA[\n{method} sip:8003@127.0.0.1:[remote_port] SIP/2.0\nVia: SIP/2.0/UDP [local_ip]:[local_port];branch=z9hG4bK{branch}[call_number][pid]\n{more}{HEAD}{to}\n\
         CSeq: {cseq}\n{kind}Content-Length: [len]\n\n{sdp}]]></send>\n"
    )
}

fn recv(code: u16) -> String {
    format!(
        "<recv response=\"100\" optional=\"true\"/><recv response=\"180\" optional=\"true\"/><recv response=\"{code}\"/>\n"
    )
}

/// The 200 to the INVITE; its To is kept.
fn answered() -> String {
    let keep = "<action><ereg regexp=\".*\" search_in=\"hdr\" header=\"To:\" assign_to=\"9\"/></action>";
    recv(200).replace("<recv response=\"200\"/>", &format!("<recv response=\"200\">{keep}</recv>"))
}

fn scenario(steps: &[String]) -> String {
    format!("<scenario name=\"bad\">\n{}</scenario>", steps.concat())
}

const TO: &str = "To: <sip:8003@127.0.0.1>";
/// As the 200 to the INVITE said it.
const LAST: &str = "To: [$9]";

/// Each scenario ends as SIP wants, and the gateway serves a call right after each.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_phone_should_do_is_answered_right() {
    use Step::{Ack, AnswerSdp, Bye, Invite, Ok, Pause};
    if sipp::missing() {
        return;
    }
    let gw = Gateway::start(28_300, Config::default()).await;
    let (port, callee) = (28_310, 28_330);
    let register = sipp::REGISTER.replace("USER", "8001").replace("PASSWORD", "secret1");
    assert!(once("127.0.0.1", port, gw.port, &register, 1).await);
    let invite = || send("INVITE", TO, "1 INVITE", "a", "", true);
    let ack = || send("ACK", LAST, "1 ACK", "b", "", false);
    let bye = |cseq: &str| send("BYE", LAST, cseq, "c", "", false);
    let pause = |ms: u32| format!("<pause milliseconds=\"{ms}\"/>\n");
    let vias: String = (0..100).map(|n| format!("Via: SIP/2.0/UDP 10.0.0.{n};branch=z9hG4bKv{n}\n")).collect();
    let good = [invite(), answered(), ack(), bye("2 BYE"), recv(200)];
    // Each repeated INVITE gets the last provisional answer once more.
    let rings = || "<recv response=\"100\" optional=\"true\"/><recv response=\"180\" optional=\"true\"/>\n".to_owned();
    let options = |cseq: &str, branch: &str| send("OPTIONS", LAST, cseq, branch, "", false);
    let wrong_tag = || send("BYE", "To: <sip:8003@127.0.0.1>;tag=wrong", "2 BYE", "d", "", false);
    let again = |cseq: &str, branch: &str| send("INVITE", LAST, cseq, branch, "", true);
    let cases: Vec<(&str, Vec<String>)> = vec![
        (
            "INVITE sent three times is one call",
            vec![
                invite(),
                invite(),
                invite(),
                rings(),
                rings(),
                answered(),
                ack(),
                pause(300),
                bye("2 BYE"),
                recv(200),
            ],
        ),
        // SIPp takes the repeated 200 for what it is and goes on.
        (
            "an ACK that comes late is taken",
            vec![invite(), answered(), pause(1_800), ack(), pause(200), bye("2 BYE"), recv(200)],
        ),
        ("BYE before the ACK", vec![invite(), answered(), bye("2 BYE"), recv(200)]),
        (
            "a BYE with a wrong tag is 481, the call stays",
            vec![invite(), answered(), ack(), wrong_tag(), recv(481), bye("3 BYE"), recv(200)],
        ),
        (
            "an old CSeq is 500, the call stays",
            vec![
                invite(),
                answered(),
                ack(),
                options("9 OPTIONS", "e"),
                recv(200),
                options("3 OPTIONS", "f"),
                recv(500),
                bye("10 BYE"),
                recv(200),
            ],
        ),
        (
            "a hundred Via",
            vec![send("INVITE", TO, "1 INVITE", "g", &vias, true), answered(), ack(), bye("2 BYE"), recv(200)],
        ),
        (
            "CANCEL after the 200 is answered and ends nothing",
            vec![
                invite(),
                answered(),
                send("CANCEL", TO, "1 CANCEL", "a", "", false),
                recv(200),
                ack(),
                pause(300),
                bye("2 BYE"),
                recv(200),
            ],
        ),
        (
            "a re-INVITE before the ACK of the one before",
            vec![
                invite(),
                answered(),
                ack(),
                again("2 INVITE", "h"),
                recv(200),
                again("3 INVITE", "i"),
                recv(200),
                send("ACK", LAST, "3 ACK", "k", "", false),
                bye("4 BYE"),
                recv(200),
            ],
        ),
    ];
    let mut bad = Vec::new();
    for (n, (what, steps)) in cases.iter().enumerate() {
        let port_b = callee + n as u16 * 6;
        // It rings a moment: SIPp gives up when an answer comes before it has sent all that it is to send.
        let steps_b = [Invite, Pause(200), AnswerSdp("200 OK", "8"), Ack, Bye, Ok];
        let phone = sipp::Sipp::phone("8003", port_b, gw.port, &steps_b);
        let right = once("127.0.0.1", port, gw.port, &scenario(steps), 1).await;
        drop(phone);
        let gone =
            sipp::REGISTER.replace("USER", "8003").replace("PASSWORD", "secret3").replace("Expires: 300", "Expires: 0");
        assert!(once("127.0.0.1", port_b, gw.port, &gone, 1).await);
        println!("{} {what}", if right { "right" } else { "WRONG" });
        if !right {
            bad.push(*what);
        }
    }
    let phone = sipp::Sipp::phone("8003", 28_390, gw.port, &[Invite, AnswerSdp("200 OK", "8"), Ack, Bye, Ok]);
    assert!(once("127.0.0.1", port, gw.port, &scenario(&good), 1).await, "no call any more");
    phone.done().await;
    assert!(bad.is_empty(), "{bad:?}");
    gw.stop().await;
}

/// Malformed and well-formed INVITEs, as many as two threads can send, while two baresips talk: the tone has no hole.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_keeps_its_sound_in_a_flood() {
    if crate::baresip::missing() {
        return;
    }
    let gw = Gateway::start(28_400, Config::default()).await;
    let account = |user, password, tone, port| Account {
        user,
        password,
        gateway: 28_400,
        codec: "PCMA",
        tone,
        port,
        extra: ";answermode=auto",
    };
    let mut a = Baresip::start(account("8001", "secret1", 440.0, 28_410));
    let mut b = Baresip::start(account("8002", "secret2", 700.0, 28_440));
    gw.wait_online("8001", true).await;
    gw.wait_online("8002", true).await;
    a.dial("8002", gw.port);
    let end = Instant::now() + Duration::from_secs(10);
    while !gw.bridge.calls().unwrap().live().iter().any(|c| c.state == CallState::Talking) {
        assert!(Instant::now() < end, "no call");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = a.sound("dec").len();
    let stop = Arc::new(AtomicBool::new(false));
    let flood = |from: &'static str, good: bool| {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let socket = std::net::UdpSocket::bind(from).unwrap();
            let mut sent = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let text = match good {
                    true => format!(
                        "INVITE sip:9{sent}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{sent}\r\nFrom: <sip:x@x>;tag={sent}\r\n\
                         To: <sip:9@x>\r\nCall-ID: {sent}\r\nCSeq: 1 INVITE\r\nContact: <sip:x@{from}>\r\nContent-Length: 0\r\n\r\n"
                    ),
                    false => format!("INVITE sip:9 SIP/2.0\r\nVia: \r\nFrom\r\n{sent}\r\n\r\n"),
                };
                let _ = socket.send_to(text.as_bytes(), "127.0.0.1:28400");
                sent += 1;
                if sent.is_multiple_of(20) {
                    std::thread::sleep(Duration::from_millis(4));
                }
            }
            sent
        })
    };
    // From this machine itself: nobody is shut out there, all of it has to be borne.
    let floods = [flood("127.0.0.1:28480", true), flood("127.0.0.1:28482", false), flood("127.0.0.81:28484", false)];
    tokio::time::sleep(Duration::from_secs(8)).await;
    stop.store(true, Ordering::Relaxed);
    let sent: u64 = floods.into_iter().map(|f| f.join().unwrap()).sum();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let sound = a.sound("dec");
    let during = &sound[before..];
    // The tone by pieces of 10 ms; a hole is a run of silent ones.
    let (mut hole, mut longest) = (0, 0);
    for piece in during.chunks(80) {
        let power = piece.iter().map(|s| s * s).sum::<f32>() / piece.len() as f32;
        hole = if power < 0.002 { hole + 1 } else { 0 };
        longest = longest.max(hole);
    }
    let dropped = gw.ctx.sip.guard().counts().1;
    println!(
        "{sent} datagrams in 8 s, {dropped} dropped unread; {} s heard, longest hole {} ms",
        during.len() / 8000,
        longest * 10
    );
    assert!(sent > 5_000 && dropped > 1_000, "no flood");
    assert!(during.len() > 7 * 8000, "only {} samples in 8 s", during.len());
    assert!(longest * 10 <= 100, "a hole of {} ms", longest * 10);
    a.command("hangup", "");
    a.quit();
    b.quit();
    gw.stop().await;
}
