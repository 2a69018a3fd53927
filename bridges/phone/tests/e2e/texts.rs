//! Texts of phones: baresip and pjsip to the hall, into a conference, to each other, and the hall to them; SIPp for phones that take
//! none, and raw requests that are refused.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bridge_core::{TextDone, TextNews, TextOrder, TextState, TextStored, TextThread};
use sip::{DigestClient, Method, Response, Target, Transport};
use skybridge_bridge_phone::Config;

use crate::b2b::pause;
use crate::baresip::{Account, Baresip};
use crate::gateway::Gateway;
use crate::pjsip::{Pjsip, connect};
use crate::raw::Raw;
use crate::sipp::{Sipp, Step};

/// What came: thread, sender, text.
type Came = Vec<(TextThread, String, String)>;
/// What was carried on: receiver, state.
type Carried = Vec<(String, TextState)>;

/// The hall's books.
#[derive(Clone, Default)]
struct Books(Arc<Mutex<(Came, Carried)>>);

impl Books {
    fn open(gw: &mut Gateway) -> Books {
        let (books, mut news) = (Books::default(), gw.texts.take().unwrap());
        let own = books.clone();
        tokio::spawn(async move {
            while let Some(news) = news.recv().await {
                let mut books = own.0.lock().unwrap();
                match news {
                    TextNews::Came(report) => {
                        books.0.push((report.thread, report.from, report.text));
                        let _ = report.stored.send(Ok(TextStored { id: books.0.len().to_string() }));
                    }
                    TextNews::Progress(p) => books.1.push((p.to, p.state)),
                }
            }
        });
        books
    }

    async fn wait(&self, thread: TextThread, from: &str, text: &str) {
        let wanted = (thread, from.to_owned(), text.to_owned());
        let end = Instant::now() + Duration::from_secs(8);
        while !self.0.lock().unwrap().0.contains(&wanted) {
            assert!(Instant::now() < end, "no {wanted:?} in {:?}", self.0.lock().unwrap().0);
            pause(0.02).await;
        }
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().0.len()
    }
}

fn with(far: &str) -> TextThread {
    TextThread::With(far.to_owned())
}

fn order(to: &str, text: &str) -> TextOrder {
    TextOrder { message: "m".into(), to: to.into(), from: "hall".into(), name: "值班 Duty".into(), text: text.into() }
}

async fn logged(phone: &Baresip, text: &str) {
    let end = Instant::now() + Duration::from_secs(8);
    while !phone.shown().contains(text) {
        assert!(Instant::now() < end, "baresip does not show {text}: {}", phone.shown());
        pause(0.05).await;
    }
}

fn baresip(gw: &Gateway, port: u16, writes_to: &str) -> Baresip {
    let extra = format!("{}{writes_to}", crate::baresip::WRITES_TO);
    let account = Account {
        user: "8001",
        password: "secret1",
        gateway: gw.port,
        codec: "PCMA",
        tone: 440.0,
        port,
        extra: &extra,
    };
    Baresip::start(account)
}

/// Both programs write to the hall, into a conference and to each other, and read what the hall writes; a long text over UDP comes in
/// pieces of which each fits a datagram.
#[tokio::test(flavor = "multi_thread")]
async fn phones_and_the_hall_write_to_each_other() {
    if crate::baresip::missing() {
        return;
    }
    let mut gw = Gateway::start(25_100, Config::default()).await;
    let books = Books::open(&mut gw);
    let mut hall = baresip(&gw, 25_110, "hall");
    gw.wait_online("8001", true).await;
    hall.command("message", "道路中断 road closed");
    books.wait(with("phone:8001"), "phone:8001", "道路中断 road closed").await;
    let done = gw.bridge.text(order("phone:8001", "收到 \"copied\"")).await;
    assert_eq!(done, Ok(TextDone::Delivered));
    logged(&hall, "sip:hall@127.0.0.1: \"收到 \"copied\"\"").await;

    let mut other = Pjsip::start("8003", &gw, 25_150, "PCMA/8000", 700.0).await;
    other.order("text 700 水位上涨 30 厘米");
    other.said("texted 200").await;
    books.wait(TextThread::Conference("700".into()), "phone:8003", "水位上涨 30 厘米").await;
    // From pjsip to baresip, and what it is told of it.
    other.order("text 8001 请到三号桥");
    other.said("texted 200").await;
    logged(&hall, "sip:8003@127.0.0.1: \"请到三号桥\"").await;
    books.wait(with("between:8001/8003"), "phone:8003", "请到三号桥").await;
    // A progress is told after the answer's decision, at once.
    let end = Instant::now() + Duration::from_secs(5);
    while !books.0.lock().unwrap().1.contains(&("phone:8001".to_owned(), TextState::Delivered)) {
        assert!(Instant::now() < end, "{:?}", books.0.lock().unwrap().1);
        pause(0.02).await;
    }
    // Nobody has that number; somebody is not there.
    other.order("text 9998 x");
    other.said("texted 404").await;
    other.order("text 8002 x");
    other.said("texted 480").await;

    assert_eq!(gw.bridge.text(order("phone:8003", "第一行\n第二行")).await, Ok(TextDone::Delivered));
    let said = other.said("text ").await;
    assert!(said.contains("sip:hall@127.0.0.1") && said.contains("text/plain") && said.ends_with("第一行"), "{said}");
    other.said("第二行").await;

    let long: String = (0..400).map(|n| format!("第{n}号测点水位正常。")).collect();
    assert_eq!(gw.bridge.text(order("phone:8001", &long)).await, Ok(TextDone::Delivered));
    logged(&hall, "第399号测点水位正常。").await;
    let log = hall.shown();
    let whole: String = log
        .lines()
        .filter_map(|l| l.split_once("sip:hall@127.0.0.1: \"(")?.1.split_once(") "))
        .map(|(_, t)| t.trim_end_matches("\u{1b}[m").trim_end_matches('"').to_owned())
        .collect();
    assert_eq!(whole, long);

    // Inside a call with a conference, and between two phones.
    other.order("dial 700");
    other.said("up").await;
    other.order("calltext 0 在会议中");
    other.said("texted 200").await;
    books.wait(TextThread::Conference("700".into()), "phone:8003", "在会议中").await;
    other.order("hangup 0");
    other.said("ended").await;
    drop((hall, other));
    gw.stop().await;
}

/// Inside a call between two phones a text is carried to the other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_inside_a_call_goes_to_the_other_phone() {
    let mut gw = Gateway::start(25_300, Config::default()).await;
    let books = Books::open(&mut gw);
    let mut a = Pjsip::start("8001", &gw, 25_310, "PCMA/8000", 440.0).await;
    let mut b = Pjsip::start("8003", &gw, 25_330, "PCMA/8000", 700.0).await;
    connect(&mut a, "8003", &mut b).await;
    a.order("calltext 0 坐标发给你");
    a.said("texted 200").await;
    let said = b.said("text ").await;
    assert!(said.ends_with("坐标发给你") && said.contains("sip:8001@"), "{said}");
    books.wait(with("between:8001/8003"), "phone:8001", "坐标发给你").await;
    drop((a, b));
    gw.stop().await;
}

async fn message(raw: &Raw, number: &str, kind: &str, body: &[u8], password: Option<&str>) -> Response {
    let mut request = raw.request(Method::Message, number);
    request.headers.set("To", format!("<sip:{number}@127.0.0.1>"));
    request.set_body(kind, body.to_vec());
    let target = Target::Address(Transport::Udp, raw.gateway);
    match password {
        Some(p) => raw.sip.request_as(target, request, DigestClient::new(&raw.user, p)).await.unwrap(),
        None => raw.sip.request(target, request).await.unwrap(),
    }
}

/// What is refused, and how; what an old phone writes in GB2312 is read.
#[tokio::test(flavor = "multi_thread")]
async fn bad_texts_get_clear_answers() {
    let config = Config { messages_per_minute: 12, ..Config::default() };
    let mut gw = Gateway::start(25_500, config).await;
    let books = Books::open(&mut gw);
    let raw = Raw::start("8001", 25_510, gw.port).await;
    // Nobody who did not prove himself.
    assert_eq!(message(&raw, "hall", "text/plain", b"x", None).await.code, 401);
    assert_eq!(message(&raw, "hall", "text/plain", b"x", Some("wrong")).await.code, 403);
    assert_eq!(message(&raw, "hall", "text/plain", b"by digest", Some("secret1")).await.code, 200);
    assert_eq!(raw.register("secret1", 60).await.code, 200);
    let gb = [0xC4, 0xE3, 0xBA, 0xC3];
    assert_eq!(message(&raw, "hall", "text/plain;charset=GB2312", &gb, None).await.code, 200);
    books.wait(with("phone:8001"), "phone:8001", "你好").await;
    assert_eq!(books.count(), 2);
    for (number, kind, body, code) in [
        ("hall", "text/html", &b"<b>x</b>"[..], 415),
        ("hall", "application/im-iscomposing+xml", b"<x/>", 415),
        ("hall", "text/plain;charset=klingon", b"x", 415),
        ("hall", "text/plain;charset=UTF-8", &gb, 488),
        ("hall", "text/plain", b"", 400),
        ("hall", "text/plain", &[b'x'; 1_301], 413),
        ("9998", "text/plain", b"x", 404),
        ("8002", "text/plain", b"x", 480),
    ] {
        let answer = message(&raw, number, kind, body, None).await;
        assert_eq!(answer.code, code, "{number} {kind} {} bytes", body.len());
        match code {
            415 => assert_eq!(answer.headers.get("Accept"), Some("text/plain")),
            488 | 400 => assert!(answer.headers.get("Warning").is_some()),
            _ => {}
        }
    }
    // Only what was to be carried on is in the books besides.
    assert_eq!(books.count(), 3);
    // 10 so far of those who proved themselves: the twelfth is the last of this minute.
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(message(&raw, "hall", "text/plain", b"more", None).await);
    }
    let codes: Vec<u16> = answers.iter().map(|a| a.code).collect();
    assert_eq!(codes, [200, 200, 480]);
    assert!(answers[2].retry_after().is_some_and(|s| (1..=60).contains(&s)));
    gw.stop().await;
}

/// The hall does not write it down: the phone is told to try again, not that all is well.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_not_stored_is_not_taken() {
    let mut gw = Gateway::start(25_700, Config::default()).await;
    drop(gw.texts.take());
    let raw = Raw::start("8001", 25_710, gw.port).await;
    assert_eq!(raw.register("secret1", 60).await.code, 200);
    let answer = message(&raw, "hall", "text/plain", b"x", None).await;
    assert_eq!((answer.code, answer.retry_after()), (503, Some(5)));
    gw.stop().await;
}

/// Takes a MESSAGE and answers it so.
macro_rules! reader {
    ($line:literal) => {
        [
            Step::Xml("<recv request=\"MESSAGE\"/>\n"),
            Step::Xml(concat!(
                "<send><![CDATA[\nSIP/2.0 ",
                $line,
                "\n[last_Via:]\n[last_From:]\n[last_To:];tag=x\n[last_Call-ID:]\n[last_CSeq:]\nContent-Length: 0\n\n]]></send>\n"
            )),
        ]
    };
}

/// 202 is as good as 200 (RFC 3428 section 7); a phone that knows no MESSAGE is asked once, not each time.
#[tokio::test(flavor = "multi_thread")]
async fn what_phones_answer_is_told() {
    if crate::sipp::missing() {
        return;
    }
    let gw = Gateway::start(25_900, Config::default()).await;
    let takes = Sipp::phone("8003", 25_910, gw.port, &reader!("202 Accepted"));
    assert_eq!(gw.bridge.text(order("phone:8003", "x")).await, Ok(TextDone::Delivered));
    takes.done().await;
    let deaf = Sipp::phone("8004", 25_920, gw.port, &reader!("405 Method Not Allowed"));
    let code = |done: Result<TextDone, bridge_core::Fault>| done.unwrap_err().code;
    assert_eq!(code(gw.bridge.text(order("phone:8004", "x")).await), "no_texts");
    deaf.done().await;
    // Nobody is at that port any more: had it been asked, this would take seconds.
    let asked = Instant::now();
    assert_eq!(code(gw.bridge.text(order("phone:8004", "x")).await), "no_texts");
    assert!(asked.elapsed() < Duration::from_millis(500));
    let refuses = Sipp::phone("8105", 25_930, gw.port, &reader!("500 Full"));
    assert_eq!(code(gw.bridge.text(order("phone:8105", "x")).await), "text_failed");
    refuses.done().await;
    assert_eq!(code(gw.bridge.text(order("phone:8106", "x")).await), "not_registered");
    assert_eq!(code(gw.bridge.text(order("phone:9998", "x")).await), "unknown_number");
    // Whoever wrote by a trunk with a number of ours is not one of ours.
    assert_eq!(code(gw.bridge.text(order("trunk:t/8003", "x")).await), "unknown_number");
    gw.stop().await;
}
