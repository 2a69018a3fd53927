//! Scanners, guessers and thieves: SIPp plays them, from addresses of their own.

use std::sync::LazyLock;
use std::time::Duration;

use bridge_core::AlarmReport;
use sip::Offence;
use skybridge_bridge_phone::{Config, FraudConfig};

use crate::gateway::Gateway;
use crate::raw::{Raw, answer};
use crate::sipp::{self, once};

const OPTIONS: &str = r#"<scenario name="options"><send><![CDATA[
OPTIONS sip:100@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: <sip:100@1.1.1.1>;tag=[call_number]
To: <sip:100@1.1.1.1>
Call-ID: [call_id]
CSeq: 1 OPTIONS
Max-Forwards: 70
User-Agent: AGENT
Content-Length: 0

]]></send>ANSWER</scenario>"#;

/// A wrong password, `USER` as the number of the call.
static GUESS: LazyLock<String> =
    LazyLock::new(|| sipp::REGISTER.replace("PASSWORD", "guess").replace("response=\"200\"", "response=\"403\""));

fn options(agent: &str, answered: bool) -> String {
    let answer = if answered { "<recv response=\"200\"/>" } else { "<recv response=\"200\" timeout=\"700\"/>" };
    OPTIONS.replace("AGENT", agent).replace("ANSWER", answer)
}

fn alarms(queue: &mut tokio::sync::mpsc::Receiver<AlarmReport>) -> Vec<String> {
    std::iter::from_fn(|| queue.try_recv().ok()).map(|a| format!("{} {}", a.kind, a.source)).collect()
}

/// A scanner is shut out at its first word, a guesser after ten; phones at other addresses notice nothing, and an address is
/// let in again when its ban is lifted.
#[tokio::test(flavor = "multi_thread")]
async fn scanners_and_guessers_are_shut_out() {
    if sipp::missing() {
        return;
    }
    let mut gw = Gateway::start(28_900, Config::default()).await;
    let mut queue = gw.alarms.take().unwrap();
    let a = Raw::start("8001", 28_910, gw.port).await;
    assert_eq!(a.register("secret1", 300).await.code, 200);
    let guard = gw.ctx.sip.guard().clone();
    let now = std::time::Instant::now;

    assert!(once("127.0.0.61", 28_920, gw.port, &options("Yealink", true), 1).await, "a phone is answered");
    assert!(!once("127.0.0.62", 28_921, gw.port, &options("friendly-scanner", true), 1).await);
    assert!(!once("127.0.0.62", 28_922, gw.port, &options("Yealink", true), 1).await, "still heard after the scan");
    let bans = guard.bans(now());
    assert_eq!((bans.len(), bans[0].reason), (1, Offence::Scanner), "{bans:?}");
    assert!(bans[0].dropped > 0);
    assert!(once("127.0.0.61", 28_920, gw.port, &options("Yealink", true), 1).await);

    // Nine wrong passwords are borne, the tenth is one too many.
    assert!(once("127.0.0.63", 28_923, gw.port, &GUESS.replace("USER", "8003"), 9).await);
    assert!(once("127.0.0.63", 28_923, gw.port, &options("x", true), 1).await);
    assert!(once("127.0.0.63", 28_923, gw.port, &GUESS.replace("USER", "8003"), 1).await);
    assert!(!once("127.0.0.63", 28_923, gw.port, &options("x", true), 1).await, "not shut out after ten");
    assert!(guard.lift(Some([127, 0, 0, 63].into()), None));
    assert!(once("127.0.0.63", 28_923, gw.port, &options("x", true), 1).await, "lifted and not let in");

    // A walk through accounts that do not exist, without any password.
    let walk = |n: u32| {
        let register = GUESS.split_once("<send retrans=\"500\"").unwrap().1;
        let first = register.split_once("<send").unwrap().0;
        format!(
            "<scenario name=\"walk\"><send retrans=\"500\"{}</scenario>",
            first.replace("USER", &format!("9{n:03}"))
        )
    };
    for n in 0..10 {
        assert!(once("127.0.0.64", 28_924, gw.port, &walk(n), 1).await, "{n}");
    }
    assert!(!once("127.0.0.64", 28_924, gw.port, &walk(11), 1).await, "may go on walking");

    // Garbage.
    let socket = std::net::UdpSocket::bind("127.0.0.65:28925").unwrap();
    for _ in 0..12 {
        socket.send_to(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ("127.0.0.1", gw.port)).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(socket);
    assert!(!once("127.0.0.65", 28_925, gw.port, &options("x", true), 1).await, "garbage is borne");

    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let told = alarms(&mut queue);
    println!("{told:?}");
    for ip in ["127.0.0.62", "127.0.0.63", "127.0.0.64", "127.0.0.65"] {
        assert!(told.contains(&format!("sip.scanner_banned {ip}")), "{ip}");
    }
    assert!(gw.counter("skybridge_phone_bans_total", "") >= 4.0);
    // The registered phone is where it was.
    let mut call = a.invite("8001", &a.offer("8", "sendrecv"), &[], None).await;
    drop(answer(&mut call).await);
    gw.stop().await;
}

/// Behind one address a phone is registered and another guesses: only the account that was guessed at is shut out there.
#[tokio::test(flavor = "multi_thread")]
async fn one_bad_phone_behind_nat_does_not_lock_the_others_out() {
    if sipp::missing() {
        return;
    }
    let mut gw = Gateway::start(29_000, Config::default()).await;
    let mut queue = gw.alarms.take().unwrap();
    let register = sipp::REGISTER.replace("USER", "8001").replace("PASSWORD", "secret1");
    assert!(once("127.0.0.71", 29_010, gw.port, &register, 1).await);
    gw.wait_online("8001", true).await;
    assert!(once("127.0.0.71", 29_011, gw.port, &GUESS.replace("USER", "8003"), 10).await);
    // The right password of that account is of no use there now, all else is as before.
    let right = sipp::REGISTER.replace("USER", "8003").replace("PASSWORD", "secret3");
    assert!(!once("127.0.0.71", 29_011, gw.port, &right, 1).await, "it may go on guessing");
    assert!(once("127.0.0.72", 29_012, gw.port, &right, 1).await, "the account is shut out elsewhere as well");
    assert!(once("127.0.0.71", 29_010, gw.port, &register, 1).await, "the good phone is shut out");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(alarms(&mut queue), ["sip.account_banned 8003 (127.0.0.71)"]);
    gw.stop().await;
}

/// A stolen account: too many different numbers; it may not call outside any more, and inside it may.
#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_account_is_noticed_and_blocked() {
    let fraud = FraudConfig { numbers: 3, block: true, calls_per_minute: 12, ..FraudConfig::default() };
    let mut gw = Gateway::start(29_100, Config { fraud, ..Config::default() }).await;
    let mut queue = gw.alarms.take().unwrap();
    let a = Raw::start("8001", 29_110, gw.port).await;
    assert_eq!(a.register("secret1", 300).await.code, 200);
    let mut codes = Vec::new();
    for n in 0..6 {
        let mut call = a.invite(&format!("0088{n}"), &a.offer("8", "sendrecv"), &[], None).await;
        codes.push(answer(&mut call).await.unwrap_err().code);
    }
    println!("{codes:?}");
    assert_eq!(codes[3..], [403, 403, 403], "the fourth number is one too many");
    assert!(codes[..3].iter().all(|c| *c != 403), "{codes:?}");
    let mut call = a.invite("8006", &a.offer("8", "sendrecv"), &[], None).await;
    assert_eq!(answer(&mut call).await.unwrap_err().code, 480, "calls inside go on");
    assert!(gw.ctx.sip.guard().lift(None, Some("8001")));
    let mut call = a.invite("00889", &a.offer("8", "sendrecv"), &[], None).await;
    assert_ne!(answer(&mut call).await.unwrap_err().code, 403);
    // Too many a minute, whatever they are.
    let mut last = 0;
    for _ in 0..8 {
        let mut call = a.invite("8006", &a.offer("8", "sendrecv"), &[], None).await;
        let refused = answer(&mut call).await.unwrap_err();
        last = if refused.headers.get("Reason").unwrap().contains("call_rate") { refused.code } else { 0 };
    }
    assert_eq!(last, 480);
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(alarms(&mut queue), ["fraud.many_numbers 8001", "sip.account_blocked 8001"]);
    gw.stop().await;
}
