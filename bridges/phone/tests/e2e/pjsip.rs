//! pjsip as a phone (`pjsua2_phone.py`): a third SIP stack that we did not write, for what baresip cannot be told to do. It has to
//! be there: a test without it fails.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bridge_core::{CallEndedBy, CallState};
use skybridge_bridge_phone::Config;

use crate::b2b::{live, pause, record};
use crate::baresip::{Account, Baresip};
use crate::gateway::{Gateway, PIN};
use crate::signal::{level, level_at, peak_level, read_wav, write_tone};

/// The Python that has pjsua2: `PJSUA2_PYTHON`, else the one that `deploy/install/packages.sh` makes.
fn python() -> PathBuf {
    if let Some(path) = std::env::var_os("PJSUA2_PYTHON") {
        return path.into();
    }
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|c| !c.is_empty()).map_or_else(home, PathBuf::from);
    let path = cache.join("skybridge/pjsua2/bin/python");
    assert!(
        path.exists(),
        "no {}: run \"make tools-test\" (it installs pjsua2), or set PJSUA2_PYTHON to a Python with pjsua2-python",
        path.display()
    );
    path
}

pub struct Pjsip {
    child: Child,
    orders: ChildStdin,
    /// What it told, and how much of it `said` has gone past.
    told: Arc<Mutex<Vec<String>>>,
    seen: usize,
    user: String,
    dir: PathBuf,
}

impl Pjsip {
    /// Registers `user` from `port` (sound four above, two more for each call) with a tone as its voice. It offers all that it knows,
    /// G.711 too, `codec` first.
    pub async fn start(user: &str, gateway: &Gateway, port: u16, codec: &str, hz: f32) -> Pjsip {
        let dir = std::env::temp_dir().join(format!("skybridge-pjsip-{}-{port}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let tone = dir.join("tone.wav");
        write_tone(&tone, hz, 10);
        let mut child = Command::new(python())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/pjsua2_phone.py"))
            .args([
                format!("127.0.0.1:{}", gateway.port),
                port.to_string(),
                user.into(),
                format!("secret{}", &user[3..]),
            ])
            .arg(codec)
            .args([&tone, &dir.join("heard.wav")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, lines) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = told.clone();
        std::thread::spawn(move || lines.lines().map_while(Result::ok).for_each(|l| kept.lock().unwrap().push(l)));
        let mut phone = Pjsip { child, orders, told, seen: 0, user: user.into(), dir };
        phone.said("registered 200").await;
        phone
    }

    pub fn order(&mut self, order: &str) {
        self.orders.write_all(format!("{order}\n").as_bytes()).unwrap();
    }

    /// Waits for the next line that begins so.
    pub async fn said(&mut self, start: &str) -> String {
        let end = Instant::now() + Duration::from_secs(15);
        loop {
            let found = {
                let told = self.told.lock().unwrap();
                told.iter()
                    .enumerate()
                    .skip(self.seen)
                    .find(|(_, l)| l.starts_with(start))
                    .map(|(at, l)| (at, l.clone()))
            };
            if let Some((at, line)) = found {
                self.seen = at + 1;
                return line;
            }
            assert!(Instant::now() < end, "{} did not say {start}", self.user);
            pause(0.02).await;
        }
    }

    fn has_said(&self, start: &str) -> bool {
        self.told.lock().unwrap().iter().any(|l| l.starts_with(start))
    }

    /// All of these, in whatever order.
    pub async fn wait_for(&self, starts: &[&str]) {
        let end = Instant::now() + Duration::from_secs(10);
        while !starts.iter().all(|s| self.has_said(s)) {
            assert!(Instant::now() < end, "{} did not say all of {starts:?}", self.user);
            pause(0.05).await;
        }
    }

    /// All that it heard so far, silence between calls too, at 8 kHz.
    fn sound(&self) -> Vec<f32> {
        read_wav(&self.dir.join("heard.wav"))
    }

    /// What it hears from now on for a second, after what its own buffers still hold.
    async fn listen(&self) -> Vec<f32> {
        pause(0.8).await;
        let before = self.sound().len();
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let sound = self.sound();
            if sound.len() >= before + 8000 {
                return sound[before..].to_vec();
            }
            assert!(Instant::now() < end, "{} records nothing", self.user);
            pause(0.1).await;
        }
    }

    /// Hears this tone nearly all the time, and none of the others.
    pub async fn hears(&self, hz: f32, not: &[f32]) {
        let heard = self.listen().await;
        // Pieces of 100 ms: a phone that adapts its buffer leaps over some samples.
        let pieces: Vec<f32> = heard.chunks_exact(800).map(|c| level(c, hz)).collect();
        let others: Vec<f32> = not.iter().map(|n| level(&heard, *n)).collect();
        println!("{} hears {hz} Hz at {pieces:.2?}, {not:?} at {others:.4?}", self.user);
        let good = pieces.iter().filter(|p| **p > 0.12).count();
        assert!(good + 2 >= pieces.len(), "{} does not hear {hz} Hz: {pieces:.3?}", self.user);
        assert!(others.iter().all(|o| *o < 0.01), "{} hears {not:?}: {others:?}", self.user);
    }

    async fn hears_nothing(&self) {
        let heard = self.listen().await;
        let pieces: Vec<f32> = heard.chunks_exact(800).map(|c| c.iter().fold(0.0f32, |m, s| m.max(s.abs()))).collect();
        println!("{} hears nothing: {pieces:.3?}", self.user);
        assert!(pieces.iter().all(|p| *p < 0.01), "{} hears something while on hold: {pieces:?}", self.user);
    }
}

impl Drop for Pjsip {
    fn drop(&mut self) {
        let _ = self.orders.write_all(b"quit\n");
        for _ in 0..40 {
            if self.child.try_wait().is_ok_and(|s| s.is_some()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}: {:#?}", self.user, self.told.lock());
        } else {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// A calls the number of a waiting phone, which answers.
pub async fn connect(a: &mut Pjsip, number: &str, b: &mut Pjsip) {
    a.order(&format!("dial {number}"));
    b.said("incoming 0").await;
    b.order("answer 0");
    a.said("up").await;
    b.said("up").await;
}

/// In a conference: PIN by keys, hold and resume by re-INVITE, reports, a session timer of 90 s agreed (RFC 4028).
#[tokio::test(flavor = "multi_thread")]
async fn a_phone_on_pjsip() {
    let gw = Gateway::start(29_100, Config::default()).await;
    let mut phone = Pjsip::start("8002", &gw, 29_110, "PCMA/8000", 440.0).await;
    let browser = gw.rooms.browser("600", 1100.0);
    phone.order("dial 600");
    phone.said("sound 0 talking").await;
    pause(0.5).await;
    phone.order(&format!("keys 0 {PIN}#"));
    gw.rooms.wait("Connected", 12).await;
    let heard = gw.rooms.heard_by_browser("600", 1.5).await;
    let l = level_at(&heard[24_000..], 440.0, 48_000.0);
    println!("the browser hears pjsip: {l:.4}");
    assert!(l > 0.1);
    phone.hears(1100.0, &[440.0]).await;
    phone.order("hold 0");
    phone.said("sound 0 held").await;
    gw.rooms.wait("Held(true)", 10).await;
    phone.hears_nothing().await;
    phone.order("resume 0");
    gw.rooms.wait("Held(false)", 10).await;
    phone.hears(1100.0, &[440.0]).await;
    // Our reports on what it sends come every 5 s.
    let rtcp = loop {
        phone.order("rtcp 0");
        let rtcp = phone.said("rtcp").await;
        if !rtcp.contains("reports 0 ") {
            break rtcp;
        }
        pause(0.3).await;
    };
    assert!(rtcp.ends_with("lost 0"), "{rtcp}");
    phone.order("hangup 0");
    phone.said("ended 0 200").await;
    gw.rooms.wait("the phone hung up", 10).await;
    browser.abort();
    drop(phone);
    gw.stop().await;
}

/// Two phones on pjsip: sound before the answer (183), keys as events (RFC 4733) and by INFO, hold and resume from either end.
#[tokio::test(flavor = "multi_thread")]
async fn pjsip_hears_early_sound_presses_keys_and_holds() {
    let gw = Gateway::start(30_100, Config::default()).await;
    let mut records = gw.records();
    let mut a = Pjsip::start("8001", &gw, 30_110, "PCMA/8000", 440.0).await;
    let mut b = Pjsip::start("8003", &gw, 30_120, "PCMA/8000", 700.0).await;
    a.order("dial 8003");
    b.said("incoming 0").await;
    b.order("ring 0 183");
    a.said("sound 0 early").await;
    // One way only, as far as B is concerned: the caller's voice comes with the answer.
    a.hears(700.0, &[440.0]).await;
    assert!(!a.has_said("up"), "that was before the answer");
    b.order("answer 0");
    a.said("up").await;
    a.hears(700.0, &[440.0]).await;
    b.hears(440.0, &[700.0]).await;
    a.order("keys 0 159#");
    for key in ["1", "5", "9", "#"] {
        b.said(&format!("key 0 {key} event")).await;
    }
    // The last one is over, too: sound that is set up anew by a re-INVITE would begin it again.
    pause(0.5).await;
    b.order("info 0 7");
    a.said("key 0 7 info").await;
    for held in [true, false] {
        let (one, other) = if held { (&mut a, &mut b) } else { (&mut b, &mut a) };
        one.order("hold 0");
        one.said("sound 0 held").await;
        live(&gw, CallState::Held).await;
        other.hears_nothing().await;
        one.hears_nothing().await;
        one.order("resume 0");
        one.said("sound 0 talking").await;
        live(&gw, CallState::Talking).await;
        a.hears(700.0, &[440.0]).await;
        b.hears(440.0, &[700.0]).await;
    }
    a.order("hangup 0");
    b.said("ended 0 200").await;
    let record = record(&mut records).await;
    assert_eq!((record.by, record.code.as_str()), (CallEndedBy::Caller, "ended"));
    drop((a, b));
    gw.stop().await;
}

/// Blind transfer: a REFER to a number that nobody has, or to another realm, is refused and the call goes on; then the one who
/// stays and the third phone, baresip in mu-law, hear each other and not who has left. The two talked in speex, which the third
/// phone does not know and we cannot turn: the one who stays is asked for mu-law.
#[tokio::test(flavor = "multi_thread")]
async fn pjsip_transfers_blindly() {
    if crate::baresip::missing() {
        return;
    }
    let gw = Gateway::start(31_300, Config::default()).await;
    let mut records = gw.records();
    let mut a = Pjsip::start("8001", &gw, 31_310, "speex/16000", 440.0).await;
    let mut b = Pjsip::start("8003", &gw, 31_320, "speex/16000", 700.0).await;
    let third = Account {
        user: "8002",
        password: "secret2",
        gateway: gw.port,
        codec: "PCMU",
        tone: 1100.0,
        port: 31_340,
        extra: ";answermode=auto",
    };
    let mut c = Baresip::start(third);
    gw.wait_online("8002", true).await;
    connect(&mut a, "8003", &mut b).await;
    for (uri, code) in [("sip:9998@127.0.0.1:31300", "404"), ("sip:8002@elsewhere.example", "403")] {
        a.order(&format!("xfer 0 {uri}"));
        a.said(&format!("transfer 0 {code}")).await;
        // What speex makes of a tone wavers.
        let heard = b.listen().await;
        assert!(peak_level(&heard, 440.0) > 0.05, "the call does not go on after {code}");
    }
    a.order("hold 0");
    a.said("sound 0 held").await;
    a.order("xfer 0 sip:8002@127.0.0.1:31300");
    a.said("transfer 0 200 True").await;
    a.said("ended 0").await;
    b.hears(1100.0, &[440.0]).await;
    let sound = c.sound("dec");
    let tail = &sound[sound.len() - 8000..];
    println!("the third phone hears 8003 {:.4} and who left {:.4}", level(tail, 700.0), level(tail, 440.0));
    assert!(level(tail, 700.0) > 0.12 && level(tail, 440.0) < 0.01);
    c.command("hangup", "");
    b.said("ended 0").await;
    assert_eq!(record(&mut records).await.code, "ended");
    c.quit();
    drop((a, b));
    gw.stop().await;
}

/// Attended transfer (RFC 5589): A talks with B, puts B on hold, asks C, and joins them by REFER with Replaces.
#[tokio::test(flavor = "multi_thread")]
async fn pjsip_transfers_after_asking() {
    let gw = Gateway::start(31_400, Config::default()).await;
    let mut records = gw.records();
    let mut a = Pjsip::start("8001", &gw, 31_410, "PCMA/8000", 440.0).await;
    let mut b = Pjsip::start("8003", &gw, 31_420, "PCMA/8000", 700.0).await;
    let mut c = Pjsip::start("8005", &gw, 31_430, "PCMA/8000", 1100.0).await;
    connect(&mut a, "8003", &mut b).await;
    a.order("hold 0");
    a.said("sound 0 held").await;
    connect(&mut a, "8005", &mut c).await;
    c.hears(440.0, &[700.0]).await;
    b.hears_nothing().await;
    a.order("attended 0 1");
    a.said("transfer 0 200 True").await;
    b.hears(1100.0, &[440.0]).await;
    c.hears(700.0, &[440.0]).await;
    // Both calls of who asked end, by BYE: the other one at once, his own when he had time to do it himself.
    a.wait_for(&["ended 0", "ended 1"]).await;
    c.order("hangup 0");
    b.said("ended 0").await;
    let codes = [record(&mut records).await.code, record(&mut records).await.code];
    println!("{codes:?}");
    assert_eq!(codes[1], "ended");
    drop((a, b, c));
    gw.stop().await;
}
