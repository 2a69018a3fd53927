//! The tests.

use std::time::Duration;

use bridge_core::{Command, SeatCommand};
use skybridge_bridge_phone::Config;

use crate::baresip::{Account, Baresip, missing};
use crate::gateway::{Gateway, PIN};
use crate::signal::{level, level_at, peak_level};

async fn pause(seconds: f32) {
    tokio::time::sleep(Duration::from_secs_f32(seconds)).await;
}

fn phone<'a>(user: &'a str, gateway: u16, codec: &'a str, tone: f32, port: u16) -> Account<'a> {
    let password = match user {
        "8001" => "secret1",
        "8002" => "secret2",
        "8003" => "secret3",
        _ => "wrong",
    };
    Account { user, password, gateway, codec, tone, port, extra: "" }
}

/// Two phones in two codecs with PIN by keys, and a browser: each hears the others and not itself; a wrong PIN is refused
/// with its cause while the call goes on.
#[tokio::test(flavor = "multi_thread")]
async fn two_phones_and_a_browser_hear_each_other() {
    if missing() {
        return;
    }
    let gw = Gateway::start(28_100, Config::default()).await;
    let mut a = Baresip::start(phone("8001", gw.port, "PCMA", 440.0, 28_110));
    let mut b = Baresip::start(phone("8002", gw.port, "PCMU", 700.0, 28_140));
    gw.wait_online("8001", true).await;
    gw.wait_online("8002", true).await;
    a.dial("600", gw.port);
    b.dial("600", gw.port);
    pause(1.5).await;
    a.keys(PIN).await;
    a.keys("#").await;
    gw.rooms.wait("hears: G711A", 5).await;
    b.keys(PIN).await;
    b.keys("#").await;
    gw.rooms.wait("hears: G711U", 5).await;
    let browser = gw.rooms.browser("600", 1100.0);
    pause(5.0).await;

    // A third phone with a wrong PIN, meanwhile.
    let mut c = Baresip::start(phone("8003", gw.port, "PCMA", 1500.0, 28_170));
    gw.wait_online("8003", true).await;
    c.dial("600", gw.port);
    pause(1.5).await;
    for _ in 0..3 {
        c.keys("1111#").await;
        pause(0.6).await;
    }
    pause(2.0).await;
    assert_eq!(gw.counter("skybridge_phone_wrong_pins_total", ""), 3.0);
    assert_eq!(gw.counter("skybridge_phone_calls_ended_total", "wrong_pin"), 1.0);

    let by_browser = gw.rooms.heard_by_browser("600", 2.0).await;
    let by_browser = &by_browser[24_000..];
    let (heard_a, heard_b) = (a.sound("dec"), b.sound("dec"));
    for (who, heard, own, others) in [("A", &heard_a, 440.0, [700.0, 1100.0]), ("B", &heard_b, 700.0, [440.0, 1100.0])]
    {
        let tail = &heard[heard.len() - 16_000..];
        let levels: Vec<String> =
            [440.0, 700.0, 1100.0, 1500.0].iter().map(|hz| format!("{hz}: {:.4}", level(tail, *hz))).collect();
        println!("{who} hears {levels:?} over the last 2 s");
        for hz in others {
            assert!(level(tail, hz) > 0.12, "{who} at {hz}");
        }
        assert!(level(tail, own) < 0.004, "{who} hears itself: {}", level(tail, own));
        assert!(level(tail, 1500.0) < 0.004, "{who} hears the refused phone");
        assert!(peak_level(heard, 820.0) > 0.05, "{who} heard the prompt");
    }
    for hz in [440.0, 700.0] {
        let l = level_at(by_browser, hz, 48_000.0);
        println!("the browser hears {hz}: {l:.4}");
        assert!(l > 0.12);
    }
    assert!(level_at(by_browser, 1100.0, 48_000.0) < 0.005);
    assert!(gw.rooms.reports().iter().any(|r| r.1.contains("Quality") && r.1.contains("loss_percent: 0.0")));

    a.quit();
    gw.rooms.wait("the phone hung up", 5).await;
    browser.abort();
    b.kill();
    c.kill();
    let took = gw.stop().await;
    assert!(took < Duration::from_secs(4), "{took:?}");
}

/// The hall calls a phone; the phone is killed; its seat is freed by the media time-out.
#[tokio::test(flavor = "multi_thread")]
async fn a_called_phone_that_dies_frees_its_seat() {
    if missing() {
        return;
    }
    let gw = Gateway::start(28_200, Config { media_timeout: 3, ..Config::default() }).await;
    let mut a =
        Baresip::start(Account { extra: ";answermode=auto", ..phone("8001", gw.port, "PCMU,PCMA", 440.0, 28_210) });
    gw.wait_online("8001", true).await;
    gw.bridge.command(Command::Dial { to: "8001".into(), seat: gw.rooms.seat("700") }).await.unwrap();
    gw.rooms.wait("Connected", 5).await;
    let browser = gw.rooms.browser("700", 1100.0);
    pause(2.5).await;
    let heard = a.sound("dec");
    let l = level(&heard[heard.len() - 8000..], 1100.0);
    println!("the called phone hears the browser: {l:.4}");
    assert!(l > 0.12);
    let killed = std::time::Instant::now();
    a.kill();
    gw.rooms.wait("media_timeout", 8).await;
    println!("the seat was free {:.1} s after kill -9", killed.elapsed().as_secs_f32());
    browser.abort();
    gw.stop().await;
}

/// Removed by an operator; declined; given up while ringing; not registered.
#[tokio::test(flavor = "multi_thread")]
async fn orders_and_failures_of_calls_out() {
    if missing() {
        return;
    }
    let gw = Gateway::start(28_300, Config { ring_timeout: 3, ..Config::default() }).await;
    let dial = |to: &str| {
        let seat = gw.rooms.seat("700");
        let member = seat.member.clone();
        let order = gw.bridge.command(Command::Dial { to: to.into(), seat });
        async move { (member, order.await) }
    };
    let (_, result) = dial("8001").await;
    assert_eq!(result.unwrap_err().code, "not_registered");
    let (_, result) = dial("9999").await;
    assert_eq!(result.unwrap_err().code, "unknown_number");
    let (_, result) = dial("sip:8001@127.0.0.1:28210").await;
    assert_eq!(result.unwrap_err().code, "dial_not_allowed");

    let mut a =
        Baresip::start(Account { extra: ";answermode=manual", ..phone("8001", gw.port, "PCMA", 440.0, 28_310) });
    gw.wait_online("8001", true).await;
    // No answer.
    let (_, result) = dial("phone:8001/0").await;
    result.unwrap();
    gw.rooms.wait("Ringing", 3).await;
    gw.rooms.wait("no_answer", 6).await;
    // Given up while ringing: CANCEL.
    pause(0.5).await;
    let told = gw.rooms.reports().len();
    let (member, result) = dial("8001").await;
    result.unwrap();
    gw.rooms.wait_after(told, "Ringing", 3).await;
    let order = gw.rooms.orders.lock().unwrap()[&member].clone();
    order.send(SeatCommand::HangUp).await.unwrap();
    gw.rooms.wait_after(told, "given up", 3).await;
    pause(0.5).await;
    // This is what baresip says when an INVITE is cancelled: after the time-out above, and now.
    assert_eq!(a.log().matches("session closed: Connection reset by peer").count(), 2);
    // Declined or busy.
    let told = gw.rooms.reports().len();
    let (_, result) = dial("8001").await;
    result.unwrap();
    gw.rooms.wait_after(told, "Ringing", 3).await;
    a.command("hangup", "");
    let report = gw.rooms.wait_after(told, "Failed", 4).await;
    println!("{report:?}");
    assert!(report.1.contains("busy") || report.1.contains("declined"), "{report:?}");
    // Answered, then removed.
    pause(0.5).await;
    let told = gw.rooms.reports().len();
    let (member, result) = dial("8001").await;
    result.unwrap();
    gw.rooms.wait_after(told, "Ringing", 3).await;
    a.command("accept", "");
    gw.rooms.wait_after(told, "Connected", 4).await;
    let order = gw.rooms.orders.lock().unwrap()[&member].clone();
    order.send(SeatCommand::HangUp).await.unwrap();
    gw.rooms.wait_after(told, "removed from the conference", 3).await;
    a.quit();
    gw.wait_online("8001", false).await;
    gw.stop().await;
}

/// The simulated field's phone (another SIP stack of ours, without code in common): over TCP in mu-law and over UDP in A-law.
#[tokio::test(flavor = "multi_thread")]
async fn phones_of_the_simulated_field() {
    use std::process::{Command, Stdio};
    let exe = std::env::current_exe().unwrap();
    let fieldsim = exe.parent().and_then(|p| p.parent()).unwrap().join("fieldsim");
    if !fieldsim.exists() {
        eprintln!("skipped: no {}", fieldsim.display());
        return;
    }
    let gw = Gateway::start(29_000, Config::default()).await;
    let dir = std::env::temp_dir().join(format!("skybridge-fieldsim-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let start = |user: &str, codec: &str, transport: &str, tone: &str| {
        Command::new(&fieldsim)
            .args(["phone", "--server", "127.0.0.1:29000", "--user", user, "--password"])
            .arg(format!("secret{}", &user[3..]))
            .args(["--dial", "600", "--pin", PIN, "--codec", codec, "--transport", transport, "--tone", tone, "--json"])
            .args(["--hangup-after", "8", "--once", "--sip-domain", "127.0.0.1", "--record"])
            .arg(dir.join(format!("{user}.wav")))
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut phones = [start("8001", "pcmu", "tcp", "440"), start("8002", "pcma", "udp", "700")];
    gw.rooms.wait("hears: G711A", 10).await;
    gw.rooms.wait("hears: G711U", 10).await;
    let browser = gw.rooms.browser("600", 1100.0);
    pause(2.0).await;
    let by_browser = gw.rooms.heard_by_browser("600", 2.0).await;
    for hz in [440.0, 700.0] {
        let l = level_at(&by_browser[24_000..], hz, 48_000.0);
        println!("the browser hears {hz} of fieldsim: {l:.4}");
        assert!(l > 0.05, "{hz}: {l}");
    }
    for phone in &mut phones {
        for _ in 0..150 {
            if phone.try_wait().unwrap().is_some() {
                break;
            }
            pause(0.1).await;
        }
        let _ = phone.kill();
        let _ = phone.wait();
    }
    for (user, own, other) in [("8001", 440.0, 700.0), ("8002", 700.0, 440.0)] {
        let heard = crate::signal::read_wav(&dir.join(format!("{user}.wav")));
        let (o, n, b) = (peak_level(&heard, own), peak_level(&heard, other), peak_level(&heard, 1100.0));
        println!("{user} of fieldsim hears itself {o:.4}, the other {n:.4}, the browser {b:.4} at most");
        assert!(n > 0.05 && b > 0.1 && o < 0.02, "{user}");
    }
    browser.abort();
    let _ = std::fs::remove_dir_all(&dir);
    gw.stop().await;
}
