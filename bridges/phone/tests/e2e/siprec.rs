//! An outside recorder (RFC 7866): SIPp plays it and checks what we say; what it gets is heard by ffmpeg, or read from the sockets that
//! it named.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bridge_core::{AlarmReport, CallState};
use media_core::g711;
use media_core::rtp::{RtpPacket, is_rtcp};
use sip::Headers;
use skybridge_bridge_phone::{Config, NumberRoute, SiprecConfig, Toll, TrunkConfig};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::b2b::{live, pause, record, request, sdp_of};
use crate::baresip::{Account, Baresip};
use crate::gateway::Gateway;
use crate::raw::{Raw, answer, media_of};
use crate::signal::{level, read_wav};
use crate::sipp::{self, Sipp};

/// The patterns that must stand in a message, as SIPp's checks.
fn checks(all: &[(&str, &str)]) -> String {
    let names: Vec<String> = (1..=all.len()).map(|n| format!("c{n}")).collect();
    let each = all.iter().zip(&names).map(|((header, pattern), name)| {
        let place = match *header {
            "body" => "search_in=\"body\"".to_owned(),
            header => format!("search_in=\"hdr\" header=\"{header}:\""),
        };
        format!("<ereg regexp=\"{pattern}\" {place} check_it=\"true\" assign_to=\"{name}\"/>\n")
    });
    format!("<action>\n{}</action></recv>\n<Reference variables=\"{}\"/>\n", each.collect::<String>(), names.join(","))
}

const FIRST: [(&str, &str); 12] = [
    ("Require", "siprec"),
    ("Contact", "\\+sip\\.src"),
    ("Content-Type", "multipart/mixed"),
    ("body", "Content-Type: application/sdp"),
    ("body", "m=audio [0-9]+ RTP/AVP"),
    ("body", "a=label:1"),
    ("body", "a=label:2"),
    ("body", "a=sendonly"),
    ("body", "Content-Type: application/rs-metadata\\+xml"),
    ("body", "urn:ietf:params:xml:ns:recording:1"),
    ("body", "aor=.sip:8001@skybridge"),
    ("body", "aor=.sip:800[23]@skybridge"),
];

fn ok(tag: &str, body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\n" };
    format!(
        "<send><![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]{tag}\n[last_Call-ID:]\n[last_CSeq:]\n\
         Contact: <sip:srs@[local_ip]:[local_port];transport=[transport]>;+sip.srs\n{kind}Content-Length: [len]\n\n{body}]]></send>\n"
    )
}

/// The recorder's description: both phones in A-law, at this port and two above.
fn takes(port: u16) -> String {
    format!(
        "v=0\no=srs 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 8\na=label:1\na=recvonly\n\
         m=audio {} RTP/AVP 8\na=label:2\na=recvonly\n",
        port + 2
    )
}

/// A recorder that takes one call, says that it is there, and waits for the BYE.
fn recorder(media: u16) -> String {
    let tag = ";tag=srs[pid]x[call_number]";
    format!(
        "<scenario name=\"srs\">\n<recv request=\"INVITE\" timeout=\"40000\">{}{}<recv request=\"ACK\"/>\n<label id=\"1\"/>\n\
         <recv request=\"OPTIONS\" optional=\"true\" next=\"2\" timeout=\"40000\"/>\n<recv request=\"BYE\" next=\"3\" timeout=\"40000\"/>\n\
         <label id=\"2\"/>\n{}<nop next=\"1\"/>\n<label id=\"3\"/>\n{}</scenario>",
        checks(&FIRST),
        ok(tag, &takes(media)),
        ok("", ""),
        ok("", "")
    )
}

fn siprec(port: u16, transport: &str, check: u32) -> Config {
    let recorder = format!("sip:srs@127.0.0.1:{port}{transport}");
    let siprec = SiprecConfig { recorder, retry: 2, check, ..SiprecConfig::default() };
    Config { siprec, ..Config::default() }
}

fn phone<'a>(user: &'a str, password: &'a str, gateway: u16, tone: f32, port: u16, extra: &'a str) -> Account<'a> {
    Account { user, password, gateway, codec: "PCMA", tone, port, extra }
}

/// Who is heard, and who is not.
fn apart(who: &str, heard: &[f32], own: f32, other: f32) {
    assert!(heard.len() >= 16_000, "{who}: only {} samples", heard.len());
    let tail = &heard[heard.len() - 12_000..];
    let (there, elsewhere) = (level(tail, own), level(tail, other));
    println!("{who}: {} samples, the tone {there:.4}, the wrong one {elsewhere:.5}", heard.len());
    assert!(there > 0.15, "{who}: the tone is missing");
    assert!(elsewhere < 0.005, "{who}: the wrong tone is there");
}

/// ffmpeg as the ears of the recorder: what comes at two ports, as two files.
struct Ffmpeg {
    child: Child,
    dir: PathBuf,
}

impl Ffmpeg {
    fn start(port: u16) -> Ffmpeg {
        Ffmpeg::described(port, &takes(port))
    }

    fn described(port: u16, sdp: &str) -> Ffmpeg {
        let dir = std::env::temp_dir().join(format!("skybridge-srs-{}-{port}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("srs.sdp"), sdp).unwrap();
        let child = Command::new("ffmpeg")
            .args(["-y", "-loglevel", "error", "-protocol_whitelist", "file,udp,rtp", "-analyzeduration", "0"])
            .args(["-probesize", "32", "-i", "srs.sdp", "-map", "0:0", "-t", "4", "1.wav"])
            .args(["-map", "0:1", "-t", "4", "2.wav"])
            .current_dir(&dir)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Ffmpeg { child, dir }
    }

    async fn heard(mut self) -> [Vec<f32>; 2] {
        // It ends by itself after four seconds of sound: files are then whole.
        for _ in 0..200 {
            if self.child.try_wait().unwrap().is_some() {
                break;
            }
            pause(0.1).await;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let heard = ["1.wav", "2.wav"].map(|f| read_wav(&self.dir.join(f)));
        let _ = std::fs::remove_dir_all(&self.dir);
        heard
    }
}

/// What came at one port of the recorder, as A-law, and the reports beside it.
#[derive(Default, Clone)]
struct Heard {
    samples: Arc<Mutex<Vec<f32>>>,
    reports: Arc<Mutex<usize>>,
    tasks: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
}

impl Heard {
    async fn at(port: u16) -> Heard {
        let heard = Heard::default();
        let sound = UdpSocket::bind(("127.0.0.1", port)).await.unwrap();
        let control = UdpSocket::bind(("127.0.0.1", port + 1)).await.unwrap();
        let (samples, reports) = (heard.samples.clone(), heard.reports.clone());
        let hears = tokio::spawn(async move {
            let mut buffer = [0; 2000];
            while let Ok((n, _)) = sound.recv_from(&mut buffer).await {
                let packet = RtpPacket::parse(&buffer[..n]).unwrap();
                assert_eq!(packet.payload_type, 8, "the recorder takes A-law only");
                let mut pcm = Vec::new();
                g711::decode(true, packet.payload, &mut pcm);
                samples.lock().unwrap().extend(pcm.iter().map(|s| f32::from(*s) / 32_768.0));
            }
        });
        let reads = tokio::spawn(async move {
            let mut buffer = [0; 2000];
            while let Ok((n, _)) = control.recv_from(&mut buffer).await {
                assert!(is_rtcp(&buffer[..n]));
                *reports.lock().unwrap() += 1;
            }
        });
        heard.tasks.lock().unwrap().extend([hears.abort_handle(), reads.abort_handle()]);
        heard
    }

    /// Leaves its ports to others.
    fn end(&self) {
        self.tasks.lock().unwrap().iter().for_each(tokio::task::AbortHandle::abort);
    }

    fn take(&self) -> Vec<f32> {
        std::mem::take(&mut *self.samples.lock().unwrap())
    }
}

async fn counted(gw: &Gateway, outcome: &str) {
    let end = Instant::now() + Duration::from_secs(25);
    while gw.counter("skybridge_phone_siprec_tries_total", outcome) < 1.0 {
        assert!(Instant::now() < end, "no try ended as {outcome}");
        pause(0.1).await;
    }
}

fn alarms(queue: &mut mpsc::Receiver<AlarmReport>) -> Vec<String> {
    std::iter::from_fn(|| queue.try_recv().ok()).map(|a| format!("{}: {}", a.kind, a.description)).collect()
}

async fn nothing_is_kept(gw: Gateway) {
    let families = gw.ctx.metrics.gather();
    let family = families.iter().find(|f| f.name() == "skybridge_phone_siprec_sessions").unwrap();
    assert_eq!(family.get_metric()[0].get_gauge().get_value(), 0.0, "a recording is still counted");
    let ports = gw.ctx.ports.clone();
    gw.stop().await;
    assert_eq!(ports.stats().used, 0, "a port was kept");
}

/// A phone that protects its sound calls one that does not: the recorder gets both opened, each in its own section, over UDP and over
/// TCP; the BYE of a phone is a BYE for the recorder.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_hears_both_phones_apart() {
    if crate::baresip::missing() || sipp::missing() {
        return;
    }
    for (gateway, transport, mode) in [(30_700, "", "u1"), (30_800, ";transport=tcp", "t1")] {
        let (port, media) = (gateway + 2, gateway + 80);
        let srs = Sipp::server(port, gateway, &recorder(media), mode).await;
        let mut gw = Gateway::start(gateway, siprec(port, transport, 1)).await;
        let (mut queue, mut records) = (gw.alarms.take().unwrap(), gw.records());
        let ears = Ffmpeg::start(media);
        let a = phone("8001", "secret1", gateway, 440.0, gateway + 10, ";answermode=auto;mediaenc=srtp-mand");
        let mut a = Baresip::start(a);
        let mut b = Baresip::start(phone("8002", "secret2", gateway, 700.0, gateway + 40, ";answermode=auto"));
        gw.wait_online("8001", true).await;
        gw.wait_online("8002", true).await;
        a.dial("8002", gateway);
        live(&gw, CallState::Talking).await;
        let [one, two] = ears.heard().await;
        pause(1.0).await;
        a.command("hangup", "");
        srs.done().await;
        println!("over {mode}:");
        apart("label 1 (8001, SRTP)", &one, 440.0, 700.0);
        apart("label 2 (8002)", &two, 700.0, 440.0);
        let record = record(&mut records).await;
        println!("{:?}", record.call.legs);
        for leg in &record.call.legs {
            let recorded = leg.recorded.unwrap();
            assert!(recorded > 180 && recorded <= leg.packets, "{leg:?}");
        }
        assert_eq!(alarms(&mut queue), Vec::<String>::new());
        assert_eq!(gw.counter("skybridge_phone_siprec_tries_total", ""), 1.0);
        a.quit();
        b.quit();
        nothing_is_kept(gw).await;
    }
}

/// These sections under these keys.
fn under(sdp: &str, keys: [&str; 2]) -> String {
    let sdp = sdp.replace("RTP/AVP", "RTP/SAVP");
    let line = |n: usize| format!("a=label:{n}\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{}\n", keys[n - 1]);
    sdp.replace("a=label:1\n", &line(1)).replace("a=label:2\n", &line(2))
}

/// `phone.siprec.srtp`: two phones, one of them protected in its turn, go to the recorder under keys of the dialog's own; ffmpeg opens them
/// with what stood in our offer. A recorder that answers without keys gets nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_gets_srtp_where_it_is_wanted() {
    if crate::baresip::missing() || sipp::missing() {
        return;
    }
    let (gateway, port, media) = (23_300, 23_302, 23_380);
    let mut config = siprec(port, "", 1);
    config.siprec.srtp = true;
    // First one that does not know it.
    let plain = recorder(media).replace("RTP/AVP\"", "RTP/SAVP\"");
    let srs = Sipp::server(port, gateway, &plain, "u1").await;
    let gw = Gateway::start(gateway, config).await;
    let unheard = Heard::at(media).await;
    let a = phone("8001", "secret1", gateway, 440.0, gateway + 10, ";answermode=auto;mediaenc=srtp-mand");
    let mut a = Baresip::start(a);
    let mut b = Baresip::start(phone("8002", "secret2", gateway, 700.0, gateway + 40, ";answermode=auto"));
    gw.wait_online("8001", true).await;
    gw.wait_online("8002", true).await;
    a.dial("8002", gateway);
    live(&gw, CallState::Talking).await;
    counted(&gw, "refused").await;
    srs.done().await;
    assert!(unheard.take().is_empty(), "sound went out without keys");
    unheard.end();
    let theirs = ["WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz", "c1NfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"];
    let srs = Sipp::server(port, gateway, &under(&plain.replace("RTP/AVP 8", "RTP/SAVP 8"), theirs), "u1").await;
    counted(&gw, "recorded").await;
    let said = srs.messages();
    let ours: Vec<&str> = said
        .lines()
        .filter_map(|l| l.strip_prefix("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"))
        .map(str::trim)
        .collect();
    assert!(ours.len() >= 2 && ours[0] != ours[1] && !theirs.contains(&ours[0]), "{said}");
    let ears = Ffmpeg::described(media, &under(&takes(media), [ours[0], ours[1]]));
    let [one, two] = ears.heard().await;
    apart("label 1 (8001)", &one, 440.0, 700.0);
    apart("label 2 (8002)", &two, 700.0, 440.0);
    a.command("hangup", "");
    srs.done().await;
    a.quit();
    b.quit();
    nothing_is_kept(gw).await;
}

/// The recorder refuses, then takes the call, then dies: each is told once, and the phones hear each other all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_refuses_or_dies_does_not_touch_the_call() {
    if crate::baresip::missing() || sipp::missing() {
        return;
    }
    let (gateway, port, media) = (30_900, 30_902, 30_980);
    let refuses = format!(
        "<scenario name=\"no\">\n<recv request=\"INVITE\" timeout=\"40000\">{}{}<recv request=\"ACK\"/>\n</scenario>",
        checks(&FIRST),
        ok(";tag=no[call_number]", "").replace("200 OK", "503 Service Unavailable")
    );
    let srs = Sipp::server(port, gateway, &refuses, "u1").await;
    let mut gw = Gateway::start(gateway, siprec(port, "", 1)).await;
    let (mut queue, mut records) = (gw.alarms.take().unwrap(), gw.records());
    let (first, second) = (Heard::at(media).await, Heard::at(media + 2).await);
    let mut a = Baresip::start(phone("8001", "secret1", gateway, 440.0, gateway + 10, ";answermode=auto"));
    let mut b = Baresip::start(phone("8002", "secret2", gateway, 700.0, gateway + 40, ";answermode=auto"));
    gw.wait_online("8001", true).await;
    gw.wait_online("8002", true).await;
    a.dial("8002", gateway);
    live(&gw, CallState::Talking).await;
    counted(&gw, "refused").await;
    srs.done().await;
    pause(3.0).await;
    let told = alarms(&mut queue);
    println!("{told:?}");
    assert!(told.len() == 1 && told[0].contains("siprec.not_recorded") && told[0].contains("503"), "{told:?}");
    assert_eq!(first.take().len() + second.take().len(), 0, "sound went where nobody asked for it");
    live(&gw, CallState::Talking).await;
    // There it is.
    let srs = Sipp::server(port, gateway, &recorder(media), "u1").await;
    counted(&gw, "recorded").await;
    pause(7.0).await;
    apart("label 1", &first.take(), 440.0, 700.0);
    apart("label 2", &second.take(), 700.0, 440.0);
    println!("reports at the recorder: {} and {}", first.reports.lock().unwrap(), second.reports.lock().unwrap());
    assert!(*first.reports.lock().unwrap() > 0 && *second.reports.lock().unwrap() > 0);
    // And it is gone, without a word.
    srs.kill();
    counted(&gw, "lost").await;
    // The books follow within two seconds.
    pause(2.0).await;
    let call = live(&gw, CallState::Talking).await;
    let recorded: Vec<u64> = call.legs.iter().map(|l| l.recorded.unwrap()).collect();
    pause(2.0).await;
    for (who, phone, own, other) in [("A", &a, 440.0, 700.0), ("B", &b, 700.0, 440.0)] {
        apart(&format!("after its death {who} hears"), &phone.sound("dec"), other, own);
    }
    let call = live(&gw, CallState::Talking).await;
    assert_eq!(call.legs.iter().map(|l| l.recorded.unwrap()).collect::<Vec<_>>(), recorded, "it still gets packets");
    let told = alarms(&mut queue);
    println!("{told:?}; {recorded:?} packets");
    assert!(told.len() == 1 && told[0].contains("gone"), "{told:?}");
    a.command("hangup", "");
    let record = record(&mut records).await;
    assert_eq!(record.code, "ended");
    assert!(record.call.legs.iter().all(|l| l.lost < 5 && l.recorded.unwrap() > 200), "{:?}", record.call.legs);
    a.quit();
    b.quit();
    nothing_is_kept(gw).await;
}

/// Another phone takes the called one's place: the recorder is told by a re-INVITE who left and who came, and hears the new one in the
/// old one's section; while one holds, it hears nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_told_to_the_recorder() {
    if sipp::missing() {
        return;
    }
    let (gateway, port, media) = (31_000, 31_002, 31_080);
    let then = [
        ("Content-Type", "multipart/mixed"),
        ("body", "aor=.sip:8005@skybridge"),
        ("body", "aor=.sip:8003@skybridge"),
        ("body", "disassociate-time"),
    ];
    let scenario = format!(
        "<scenario name=\"srs\">\n<recv request=\"INVITE\" timeout=\"40000\">{}{}<recv request=\"ACK\"/>\n\
         <recv request=\"INVITE\" timeout=\"20000\">{}{}<recv request=\"ACK\"/>\n<recv request=\"BYE\" timeout=\"30000\"/>\n{}</scenario>",
        checks(&FIRST),
        ok(";tag=srs[call_number]", &takes(media)),
        checks(&then),
        ok("", &takes(media)),
        ok("", "")
    );
    let srs = Sipp::server(port, gateway, &scenario, "u1").await;
    let gw = Gateway::start(gateway, siprec(port, "", 0)).await;
    let mut records = gw.records();
    let (first, second) = (Heard::at(media).await, Heard::at(media + 2).await);
    let mut a = Raw::start("8001", gateway + 10, gateway).await;
    let mut b = Raw::start("8003", gateway + 12, gateway).await;
    let mut c = Raw::start("8005", gateway + 14, gateway).await;
    for (phone, password) in [(&a, "secret1"), (&b, "secret3"), (&c, "secret5")] {
        assert_eq!(phone.register(password, 300).await.code, 200);
    }
    let mut call = a.invite("8003", &a.offer("8", "sendrecv"), &[], None).await;
    let (far, invite) = b.called().await;
    far.accept("application/sdp", b.offer("8", "sendrecv"), Headers::new());
    let (near_rtp, far_rtp) = (media_of(&answer(&mut call).await.unwrap()), sdp_of(&invite.body));
    counted(&gw, "recorded").await;
    for _ in 0..110 {
        a.talk(near_rtp, 440.0).await;
        b.talk(far_rtp, 700.0).await;
        pause(0.02).await;
    }
    apart("label 1 (8001)", &first.take(), 440.0, 700.0);
    apart("label 2 (8003)", &second.take(), 700.0, 440.0);
    // B holds: what A says is heard by nobody, and not recorded either.
    let mut hold = sip::Request::new(sip::Method::Invite, sip::Uri::default());
    hold.set_body("application/sdp", b.offer("8", "inactive").replace("o=- 1 1 ", "o=- 1 2 "));
    let (held, ()) = tokio::join!(far.send(hold), async {
        let (tx, told) = request(&mut call).await;
        let mut taken = told.respond(200);
        taken.set_body("application/sdp", a.offer("8", "inactive"));
        call.respond(tx, taken);
    });
    assert_eq!(held.unwrap().code, 200);
    pause(0.2).await;
    first.take();
    for _ in 0..20 {
        a.talk(near_rtp, 440.0).await;
        pause(0.02).await;
    }
    assert_eq!(first.take().len(), 0, "what was said on hold is recorded");
    let mut refer = sip::Request::new(sip::Method::Refer, sip::Uri::default());
    refer.headers.set("Refer-To", "<sip:8005@127.0.0.1>");
    assert_eq!(far.send(refer).await.unwrap().code, 202);
    let (third, invite) = c.called().await;
    third.accept("application/sdp", c.offer("8", "sendrecv"), Headers::new());
    let (tx, told) = request(&mut call).await;
    let mut taken = told.respond(200);
    taken.set_body("application/sdp", a.offer("8", "sendrecv"));
    call.respond(tx, taken);
    let third_rtp = sdp_of(&invite.body);
    pause(0.5).await;
    for _ in 0..110 {
        a.talk(near_rtp, 440.0).await;
        c.talk(third_rtp, 1000.0).await;
        pause(0.02).await;
    }
    apart("label 1 (8001)", &first.take(), 440.0, 1000.0);
    let heard = second.take();
    apart("label 2 (8005)", &heard, 1000.0, 440.0);
    assert!(level(&heard[heard.len() - 12_000..], 700.0) < 0.005, "the one who left is still heard");
    call.bye();
    srs.done().await;
    let record = record(&mut records).await;
    assert!(record.call.legs.iter().all(|l| l.recorded.unwrap() > 80), "{:?}", record.call.legs);
    drop((third, far));
    nothing_is_kept(gw).await;
}

/// Calls of others are not copied: neither a call to the recorder nor a port.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_accounts_that_are_named_are_recorded() {
    let gateway = 31_100;
    let mut config = siprec(gateway + 2, "", 0);
    config.siprec.accounts = vec!["8005".to_owned(), "81*".to_owned()];
    let gw = Gateway::start(gateway, config).await;
    let mut records = gw.records();
    let a = Raw::start("8001", gateway + 10, gateway).await;
    let mut b = Raw::start("8003", gateway + 12, gateway).await;
    assert_eq!(a.register("secret1", 300).await.code, 200);
    assert_eq!(b.register("secret3", 300).await.code, 200);
    let mut call = a.invite("8003", &a.offer("8", "sendrecv"), &[], None).await;
    let (far, _) = b.called().await;
    far.accept("application/sdp", b.offer("8", "sendrecv"), Headers::new());
    answer(&mut call).await.unwrap();
    pause(1.5).await;
    assert_eq!(gw.ctx.ports.stats().used, 2, "ports of the two phones only");
    call.bye();
    assert!(record(&mut records).await.call.legs.iter().all(|l| l.recorded.is_none()));
    assert_eq!(gw.counter("skybridge_phone_siprec_tries_total", ""), 0.0);
    drop(far);
    nothing_is_kept(gw).await;
}

/// A call to an outside number is copied as one between phones; before that, nobody is at the recorder's address, and it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_by_a_trunk_is_recorded_once_the_recorder_is_there() {
    if sipp::missing() {
        return;
    }
    let (gateway, port, media) = (31_200, 31_202, 31_280);
    let mut config = siprec(port, "", 0);
    config.siprec.accounts = vec!["0755*".to_owned()];
    config.trunk = vec![TrunkConfig {
        name: "carrier".to_owned(),
        servers: vec![format!("127.0.0.1:{}", gateway + 12)],
        main_number: "075500".to_owned(),
        options_interval: 0,
        ..TrunkConfig::default()
    }];
    let trunks = vec!["carrier".to_owned()];
    config.route = vec![NumberRoute { prefix: "0".to_owned(), trunks, ..NumberRoute::default() }];
    let every = || vec![String::new()];
    config.toll = vec![Toll { accounts: vec!["*".to_owned()], to: every(), ..Toll::default() }];
    let gw = Gateway::start(gateway, config).await;
    let mut records = gw.records();
    let (first, second) = (Heard::at(media).await, Heard::at(media + 2).await);
    let mut a = Raw::start("8001", gateway + 10, gateway).await;
    let mut carrier = Raw::start("carrier", gateway + 12, gateway).await;
    assert_eq!(a.register("secret1", 300).await.code, 200);
    let mut call = a.invite("075512", &a.offer("8", "sendrecv"), &[], None).await;
    let (far, invite) = carrier.called().await;
    far.accept("application/sdp", carrier.offer("8", "sendrecv"), Headers::new());
    let (near_rtp, far_rtp) = (media_of(&answer(&mut call).await.unwrap()), sdp_of(&invite.body));
    counted(&gw, "unreachable").await;
    live(&gw, CallState::Talking).await;
    assert_eq!(gw.ctx.ports.stats().used, 2, "ports are kept for a recorder that is not there");
    let there = recorder(media).replace("aor=.sip:800[23]@", "aor=.sip:075512@");
    let srs = Sipp::server(port, gateway, &there, "u1").await;
    counted(&gw, "recorded").await;
    for _ in 0..110 {
        a.talk(near_rtp, 440.0).await;
        carrier.talk(far_rtp, 700.0).await;
        pause(0.02).await;
    }
    apart("label 1 (8001)", &first.take(), 440.0, 700.0);
    apart("label 2 (075512)", &second.take(), 700.0, 440.0);
    far.bye();
    srs.done().await;
    let record = record(&mut records).await;
    assert!(record.call.legs.iter().all(|l| l.recorded.unwrap() > 80), "{:?}", record.call.legs);
    assert_eq!(record.call.legs[1].trunk.as_deref(), Some("carrier"));
    nothing_is_kept(gw).await;
}
