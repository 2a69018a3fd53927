//! The hall calls a group: SIPp is the gateway, the seat is ours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command as Program, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::*;
use media_core::{Codec, Frame, TrackId, TrackInfo, g711};
use media_hub::{Hub, HubLimits, StreamId};
use skybridge_bridge_radio::{Config, GatewayConfig, Group, NAME, Radio, claims};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

struct Nothing;

impl Rooms for Nothing {
    fn exists(&self, _: &str) -> bool {
        false
    }

    fn wants_pin(&self, _: &str) -> bool {
        false
    }

    fn enter<'a>(
        &'a self,
        _: &'a str,
        _: Option<&'a str>,
        _: &'a str,
        _: &'a str,
        _: Link,
    ) -> BoxFuture<'a, Result<Seat, Fault>> {
        Box::pin(async { Err(Fault::new("wrong_pin", Whose::You, false, "无", "none")) })
    }
}

impl Credentials for Nothing {
    fn secret(&self, _: AccountKind, _: &str) -> Option<Secret> {
        None
    }

    fn display_name(&self, _: AccountKind, _: &str) -> Option<String> {
        None
    }
}

impl DeviceStore for Nothing {
    fn save<'a>(&'a self, _: &'a [Device]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn delete<'a>(&'a self, _: &'a DeviceId) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

const BOX: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<scenario name="box">
<recv request="INVITE" optional="true" next="1"/>
<recv request="OPTIONS"/>
<send next="2"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[call_number]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
<label id="1"/>
<send><![CDATA[
SIP/2.0 180 Ringing
[last_Via:]
[last_From:]
[last_To:];tag=[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port]>
Content-Length: 0

]]></send>
<send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=box 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000

]]></send>
<recv request="ACK"/>
<recv request="BYE"/>
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
<label id="2"/>
</scenario>
"#;
const OURS: u16 = 29_460;
const SIPP: u16 = 29_470;

async fn next(reports: &mut mpsc::Receiver<(MemberId, SeatReport)>) -> SeatReport {
    loop {
        let report = tokio::time::timeout(Duration::from_secs(10), reports.recv()).await.expect("a report").unwrap().1;
        if !matches!(report, SeatReport::Quality { .. }) {
            return report;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_called_talked_to_and_left() {
    let here = ([127, 0, 0, 1], OURS).into();
    let (mut service, sip) =
        sip::Service::bind(sip::ServiceConfig { udp: vec![here], ..Default::default() }).await.unwrap();
    let group = Group { number: "9001".into(), name: "一组".into(), ..Group::default() };
    let config = Config {
        gateway: vec![GatewayConfig {
            name: "gw".into(),
            address: format!("127.0.0.1:{SIPP}"),
            ping_interval: 300,
            group: vec![group],
            ..GatewayConfig::default()
        }],
    };
    let incoming = service.claim(NAME, claims(&config));
    let hub = Hub::new(HubLimits::default());
    let ctx = BridgeContext {
        hub: hub.clone(),
        registry: Registry::new(Vec::new(), Arc::new(Nothing)),
        reports: Reports::new().0,
        sip,
        ports: media_net::PortPool::new([127, 0, 0, 1].into(), 19_900..=19_960, Duration::from_secs(1)),
        media_address: None,
        rooms: Arc::new(Nothing),
        credentials: Arc::new(Nothing),
        metrics: Default::default(),
        captures: Captures::none(),
        shutdown: CancellationToken::new(),
    };
    let bridge = Radio::build(ctx.clone(), incoming, &config);
    let stop = CancellationToken::new();
    tokio::spawn(service.run(stop.clone()));

    // SIPp sends our sound back, as a box does that hears its own transmitter.
    let scenario = std::env::temp_dir().join(format!("skybridge-radio-box-{}.xml", std::process::id()));
    std::fs::write(&scenario, BOX).unwrap();
    let mut sipp = Program::new("sipp")
        .args([
            "-sf",
            scenario.to_str().unwrap(),
            "-i",
            "127.0.0.1",
            "-p",
            &SIPP.to_string(),
            "-mp",
            "29480",
            "-m",
            "2",
            "-rtp_echo",
            "-nostdin",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sipp is installed");
    tokio::time::sleep(Duration::from_millis(700)).await;
    let running = tokio::spawn(bridge.clone().run());
    let there = || ctx.registry.get(&DeviceId::new(NAME, "gw")).is_some_and(|d| d.online);
    let end = Instant::now() + Duration::from_secs(5);
    while !there() {
        assert!(Instant::now() < end, "the gateway is not seen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let seat = |name: &str| {
        let (orders, commands) = mpsc::channel(8);
        let (reports, told) = mpsc::channel(64);
        let listen = StreamId::new("mix:600/m1");
        let member = MemberId(name.to_owned());
        (Seat::new(member, "600".into(), "600".into(), "指挥部".into(), listen, commands, reports), orders, told)
    };
    for (to, code) in [("gw/7", "radio_group_unknown"), ("other/9001", "radio_group_unknown")] {
        let refused = bridge.command(Command::Dial { to: to.into(), seat: seat("x").0 }).await;
        assert_eq!(refused.unwrap_err().code, code);
    }
    let (own, orders, mut told) = seat("m1");
    bridge.command(Command::Dial { to: "radio:gw/9001".into(), seat: own }).await.unwrap();
    let taken = bridge.command(Command::Dial { to: "gw/9001".into(), seat: seat("m2").0 }).await;
    assert_eq!(taken.unwrap_err().code, "radio_group_taken");

    assert!(matches!(next(&mut told).await, SeatReport::Ringing));
    let SeatReport::Connected { stream, hears } = next(&mut told).await else { panic!("not connected") };
    assert_eq!((stream.as_str(), hears), ("radio:gw/9001", Codec::G711U), "SIPp answers with mu-law");
    let SeatReport::Floor(terms) = next(&mut told).await else { panic!("no terms") };
    assert!(!terms.revocable && !terms.queues);

    // A talker of the conference: 1 s of sound under the floor.
    let publisher = hub.publish(&StreamId::new("mix:600/m1"), "mix").unwrap();
    publisher.set_tracks(&[TrackInfo::audio(Codec::G711U, 8000, 1)]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let by = TalkerIdentity { name: "王指挥".into(), number: "8001".into(), link: Link::Lan };
    let taken = FloorNotice::Taken { by, priority: 90, emergency: false, may_ask: true, number: 1 };
    orders.send(SeatCommand::Floor(taken)).await.unwrap();
    let mut every = tokio::time::interval(Duration::from_millis(20));
    for n in 0..50i64 {
        every.tick().await;
        let payload = vec![g711::ulaw_encode(8000); 160];
        publisher.write(Frame::new(TrackId::AUDIO, Codec::G711U, n * 160, true, Instant::now(), payload.into()));
    }
    orders.send(SeatCommand::Floor(FloorNotice::Idle { number: 2 })).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    orders.send(SeatCommand::HangUp).await.unwrap();
    assert!(matches!(next(&mut told).await, SeatReport::Left(_)));

    let count = |name: &str, label: &str| -> f64 {
        let families = ctx.metrics.gather();
        let all = families.iter().filter(|f| f.name() == name).flat_map(|f| f.get_metric());
        all.filter(|m| m.get_label().iter().any(|l| l.value() == label)).map(|m| m.get_counter().get_value()).sum()
    };
    let (out, back) = (count("skybridge_radio_packets_total", "out"), count("skybridge_radio_packets_total", "in"));
    assert!((50.0..80.0).contains(&out), "{out} packets went out for 50: the key is let go after the last one");
    assert!(back >= 45.0, "{back} came back");
    assert!(
        count("skybridge_radio_unheard_ms_total", "radio_not_heard") >= 900.0,
        "what came while we held the channel"
    );
    assert_eq!(count("skybridge_radio_keyings_total", "hall"), 1.0);
    let ended = tokio::task::spawn_blocking(move || sipp.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0), "SIPp saw OPTIONS, INVITE, ACK and BYE");
    std::fs::remove_file(&scenario).unwrap();
    ctx.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(3), running).await.expect("ends").unwrap();
    stop.cancel();
}
