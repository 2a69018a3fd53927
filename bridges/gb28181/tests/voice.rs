//! Loudspeakers: the bridge and a mixer against cameras of the simulated field, on real sockets. What left is judged by what
//! the camera heard.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bridge_core::{ChannelId, Command, DeviceId, Fault, MemberId, OnAir, RegistryEvent, Seat, SeatCommand, SeatReport};
use media_core::{Codec, Frame, TrackId, TrackInfo, g711};
use media_hub::audio::Mixer;
use media_hub::{Hub, StreamId};
use serde_json::Value;
use skybridge_bridge_gb28181::voice::config::{Duplex, Mode};
use support::*;
use tokio::sync::mpsc;

const ONE: &str = "34020000001320000001";
const SPEAKER: &str = "34020000001370000001";
const TONE: f64 = 700.0;

fn channel(device: &str, name: &str) -> ChannelId {
    ChannelId::new(&DeviceId::new("gb28181", device), name)
}

/// One who speaks a tone into the hub until it is dropped.
struct Voice(tokio::task::JoinHandle<()>);

impl Drop for Voice {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Voice {
    fn start(hub: &Hub, id: &str, hertz: f64) -> Voice {
        let publisher = hub.publish(&StreamId::new(id), id).unwrap();
        Voice(tokio::spawn(async move {
            publisher.set_tracks(&[TrackInfo::audio(Codec::G711A, 8000, 1)]);
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            for n in 0i64.. {
                tick.tick().await;
                let sample =
                    |i: i64| (((n * 160 + i) as f64 * hertz / 8000.0 * std::f64::consts::TAU).sin() * 8000.0) as i16;
                let sound: Vec<u8> = (0..160).map(|i| g711::alaw_encode(sample(i))).collect();
                let frame = Frame::new(TrackId::AUDIO, Codec::G711A, n * 160, true, Instant::now(), sound.into());
                publisher.write(frame.with_duration(160));
            }
        }))
    }
}

/// A seat of the test's own little hall.
struct Talk {
    commands: mpsc::Sender<SeatCommand>,
    reports: Arc<Mutex<Vec<SeatReport>>>,
    began: Instant,
}

impl Talk {
    async fn begin(hall: &Hall, mixer: &Mixer, seat: &str, to: ChannelId) -> Result<Talk, Fault> {
        mixer.add(seat, None, Some(Codec::G711A));
        let (commands, queue) = mpsc::channel(8);
        let (tx, mut rx) = mpsc::channel(64);
        let reports: Arc<Mutex<Vec<SeatReport>>> = Arc::default();
        let kept = reports.clone();
        tokio::spawn(async move {
            while let Some((_, report)) = rx.recv().await {
                kept.lock().unwrap().push(report);
            }
        });
        let member = MemberId(seat.to_owned());
        let seat = Seat::new(member, "t".into(), String::new(), String::new(), mixer.listen(seat), queue, tx);
        hall.bridge.command(Command::Talk { channel: to, seat }).await?;
        Ok(Talk { commands, reports, began: Instant::now() })
    }

    async fn until<T>(&self, what: &str, seconds: u64, find: impl Fn(&SeatReport) -> Option<T>) -> T {
        for _ in 0..seconds * 50 {
            if let Some(found) = self.reports.lock().unwrap().iter().find_map(&find) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not within {seconds} s: {what}: {:?}", self.reports.lock().unwrap());
    }

    async fn on_air(&self) -> OnAir {
        self.until("on air", 20, |r| match r {
            SeatReport::OnAir(on_air) => Some(on_air.clone()),
            SeatReport::Failed(fault) => panic!("{} {}", fault.code, fault.en),
            _ => None,
        })
        .await
    }

    async fn failed(&self, seconds: u64) -> Fault {
        let find = |r: &SeatReport| if let SeatReport::Failed(fault) = r { Some(fault.clone()) } else { None };
        self.until("a fault", seconds, find).await
    }

    async fn hang_up(&self) {
        self.commands.send(SeatCommand::HangUp).await.unwrap();
        self.until("the end", 5, |r| matches!(r, SeatReport::Left(_)).then_some(())).await;
    }

    fn loudest(&self) -> f32 {
        let reports = self.reports.lock().unwrap();
        reports.iter().fold(-127.0, |m, r| if let SeatReport::Sounding { dbov, .. } = r { m.max(*dbov) } else { m })
    }
}

/// What is wrong with what a camera heard in the last two seconds: frequency, level, evenness. A tone of 8000 of 32768 is -12.2 dB.
fn wrong(event: &Value, hertz: f64) -> Option<&'static str> {
    let level = event["tone_db"].as_f64().unwrap();
    match () {
        () if event["lost"] != 0 => Some("packets are missing"),
        () if event["tone_hz"] != hertz => Some("another tone"),
        () if (level + 12.25).abs() >= 1.5 => Some("another level"),
        () if event["silence_ms"].as_u64().unwrap() > 60 => Some("a gap"),
        () => None,
    }
}

/// Waits until the camera has heard the tone for some seconds, the last two of them whole: a machine that is busy with other things
/// may stop all of us for a moment, but not again and again.
async fn hears(camera: &mut Camera, seconds: f64, hertz: f64) {
    let (mut last, from) = (Value::Null, camera.all("talk_heard").len());
    for n in from..from + 15 {
        last = camera.event("talk_heard", n, 20).await;
        if last["seconds"].as_f64().unwrap() >= seconds && wrong(&last, hertz).is_none() {
            println!("heard: {last}");
            return;
        }
    }
    panic!("{:?}: {last}", wrong(&last, hertz));
}

async fn ready(hall: &Hall, id: &str) {
    hall.until(id, "catalogued", 15, |d| !d.channels.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tone_reaches_the_loudspeaker_over_every_way_and_in_both_wrappings() {
    if fieldsim().is_none() {
        return;
    }
    let hall = Hall::start(26_100, 26_110, config(), &[], &Arc::default()).await;
    let mixer = Mixer::start(&hall.hub, "t");
    let _voice = Voice::start(&hall.hub, "operator", TONE);
    mixer.add("operator", Some(StreamId::new("operator")), None);
    let cases: [(&str, &[&str], &str); 6] = [
        ("34020000001320000051", &["udp", "listed"], "PCMA over UDP"),
        ("34020000001320000052", &["tcp-active", "listed"], "PCMA over TCP"),
        ("34020000001320000053", &["tcp-active", "early", "pcma"], "PCMA over TCP"),
        ("34020000001320000054", &["tcp-passive", "from=speaker", "listed"], "PCMA over TCP"),
        ("34020000001320000055", &["udp", "ps", "target=device"], "PS over UDP"),
        ("34020000001320000056", &["tcp-active", "ps", "from=device"], "PS over TCP"),
    ];
    let mut running = Vec::new();
    for (id, words, way) in cases {
        let mut args = vec!["--id", id, "--transport", if words.contains(&"udp") { "udp" } else { "tcp" }];
        for word in words {
            args.extend(["--speaker", word]);
        }
        let camera = Camera::start(hall.sip, &args);
        ready(&hall, id).await;
        let talk = Talk::begin(&hall, &mixer, id, channel(id, id)).await.unwrap();
        running.push((id, camera, talk, way));
    }
    for (id, camera, talk, way) in &mut running {
        let on_air = talk.on_air().await;
        assert!(on_air.way.starts_with(*way), "{id}: {}", on_air.way);
        assert_eq!((on_air.echo_ms, on_air.returns), (Some(800), None));
        hears(camera, 3.0, TONE).await;
        // The meter shows what left: a sine of 8000 has -15.3 dB.
        assert!((talk.loudest() + 15.3).abs() < 1.5, "{id}: meter {}", talk.loudest());
    }
    assert_eq!(hall.metric("skybridge_gb28181_talks_live", ""), 6.0);
    for (id, camera, talk, _) in &mut running {
        talk.hang_up().await;
        assert_eq!(camera.event("talk_bye", 0, 5).await["by"], "platform", "{id}");
    }
    assert_eq!(hall.metric("skybridge_gb28181_talks_live", ""), 0.0);
    assert_eq!(hall.metric("skybridge_gb28181_talks_total", "ended"), 6.0);
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_are_tried_in_order_and_the_one_that_worked_is_remembered() {
    if fieldsim().is_none() {
        return;
    }
    // Devices are told to call another id than the server's.
    let mut config = config();
    config.voice.source_id = "34020000001360000009".into();
    let hall = Hall::start(26_210, 26_220, config, &[], &Arc::default()).await;
    let mixer = Mixer::start(&hall.hub, "t");
    let mut camera = Camera::start(hall.sip, &["--id", ONE, "--speaker", "listed", "--speaker", "target=device"]);
    ready(&hall, ONE).await;
    let talk = Talk::begin(&hall, &mixer, "a", channel(ONE, ONE)).await.unwrap();
    talk.on_air().await;
    let busy = Talk::begin(&hall, &mixer, "b", channel(ONE, ONE)).await.err().unwrap();
    assert_eq!(busy.code, "speaker_in_use");
    talk.hang_up().await;
    let tried = |camera: &Camera| -> Vec<String> {
        camera.all("broadcast").iter().map(|e| e["target"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(tried(&camera), [SPEAKER, ONE]);
    assert_eq!(camera.all("broadcast")[0]["source"], "34020000001360000009");
    camera.event("talk_bye", 0, 5).await;
    let again = Talk::begin(&hall, &mixer, "a", channel(ONE, ONE)).await.unwrap();
    again.on_air().await;
    assert_eq!(tried(&camera), [SPEAKER, ONE, ONE], "what worked comes first");
    // Another stream on the standing call, and back: a loudspeaker that is lent.
    let _one = Voice::start(&hall.hub, "one", TONE);
    let lent = Mixer::start(&hall.hub, "lent");
    lent.add("operator", Some(StreamId::new("one")), None);
    lent.add("a", None, Some(Codec::G711A));
    again.commands.send(SeatCommand::Hear(lent.listen("a"))).await.unwrap();
    let mut last = Value::Null;
    for n in 0..10 {
        last = camera.event("talk_heard", n, 10).await;
        if last["tone_hz"] == TONE {
            break;
        }
    }
    assert_eq!(last["tone_hz"], TONE, "{last}");
    assert_eq!(camera.all("talk_invite").len(), 2, "without a new call");
    again.hang_up().await;
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_talk_of_2016_carries_sound_both_ways() {
    if fieldsim().is_none() {
        return;
    }
    let mut config = config();
    let (udp, tcp) = ("34020000001320000061", "34020000001320000062");
    for id in [udp, tcp] {
        let own = &mut config.devices.entry(id.into()).or_default().voice;
        (own.mode, own.duplex, own.packet_ms) = (Some(Mode::Talk), Some(Duplex::Full), Some(40));
    }
    let hall = Hall::start(26_320, 26_330, config, &[], &Arc::default()).await;
    let mixer = Mixer::start(&hall.hub, "t");
    let _voice = Voice::start(&hall.hub, "operator", TONE);
    mixer.add("operator", Some(StreamId::new("operator")), None);
    for (id, transport) in [(udp, "udp"), (tcp, "tcp")] {
        let args = ["--id", id, "--transport", transport, "--speaker", "mode=talk", "--tone", "440"];
        let mut camera = Camera::start(hall.sip, &args);
        ready(&hall, id).await;
        let talk = Talk::begin(&hall, &mixer, id, channel(id, id)).await.unwrap();
        let on_air = talk.on_air().await;
        assert_eq!(on_air.echo_ms, None);
        assert!(on_air.way.contains("talk of 2016") && on_air.way.contains(&transport.to_uppercase()));
        let mut back = hall.hub.subscribe(&on_air.returns.unwrap(), Default::default()).unwrap();
        hears(&mut camera, 2.0, TONE).await;
        assert_eq!(camera.all("broadcast").len(), 0);
        let mut samples: Vec<i16> = Vec::new();
        let until = tokio::time::Instant::now() + Duration::from_secs(10);
        while samples.len() < 8000 {
            let pulled = tokio::time::timeout_at(until, back.next()).await.expect("its microphone comes back");
            if let media_hub::Pulled::Item(item) = pulled {
                samples.extend(item.frame.payload.iter().map(|b| g711::alaw_decode(*b)));
            }
        }
        assert!(tone(&samples, 440.0) > 0.9, "its own tone: {}", tone(&samples, 440.0));
        talk.hang_up().await;
        camera.event("talk_bye", 0, 5).await;
    }
    hall.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_has_its_name_while_another_talk_goes_on() {
    if fieldsim().is_none() {
        return;
    }
    let mut config = config();
    (config.voice.response, config.voice.invite, config.voice.ack) = (1, 2, 2);
    config.media.tcp_connect = 2;
    let wants_talk = "34020000001320000079";
    config.devices.entry(wants_talk.into()).or_default().voice.mode = Some(Mode::Talk);
    let hall = Hall::start(26_430, 26_440, config, &[], &Arc::default()).await;
    let mixer = Mixer::start(&hall.hub, "t");
    let _voice = Voice::start(&hall.hub, "operator", TONE);
    mixer.add("operator", Some(StreamId::new("operator")), None);
    let mut good = Camera::start(hall.sip, &["--id", ONE, "--speaker", "listed"]);
    ready(&hall, ONE).await;
    let steady = Talk::begin(&hall, &mixer, ONE, channel(ONE, ONE)).await.unwrap();
    steady.on_air().await;
    let cases: [(&str, &[&str], &str); 8] = [
        ("34020000001320000071", &["busy"], "talk_refused"),
        ("34020000001320000072", &[], "talk_refused"),
        ("34020000001320000073", &["silent"], "talk_not_answered"),
        ("34020000001320000074", &["no-invite"], "talk_not_called"),
        ("34020000001320000075", &["aac"], "talk_offer_refused"),
        ("34020000001320000076", &["no-ack"], "talk_no_ack"),
        ("34020000001320000077", &["bye-after=1"], "talk_ended_by_device"),
        (wants_talk, &["mode=broadcast"], "rejected_not_acceptable"),
    ];
    let mut running = Vec::new();
    for (id, words, code) in cases {
        let mut args = vec!["--id", id];
        for word in words {
            args.extend(["--speaker", word]);
        }
        let camera = Camera::start(hall.sip, &args);
        ready(&hall, id).await;
        let talk = Talk::begin(&hall, &mixer, id, channel(id, id)).await.unwrap();
        running.push((id, camera, talk, code));
    }
    for (id, camera, talk, code) in &running {
        let fault = talk.failed(20).await;
        assert_eq!(fault.code, *code, "{id}: {}", fault.en);
        if *code == "talk_offer_refused" {
            assert!(fault.en.contains("102 AAC"), "{}", fault.en);
            assert_eq!(camera.all("talk_answer")[0]["code"], 488);
        }
        println!("{code} after {:?}", talk.began.elapsed());
    }
    // No business answer, but the call comes: taken.
    let id = "34020000001320000078";
    let mut shy = Camera::start(hall.sip, &["--id", id, "--speaker", "no-response"]);
    ready(&hall, id).await;
    let talk = Talk::begin(&hall, &mixer, id, channel(id, id)).await.unwrap();
    talk.on_air().await;
    hears(&mut shy, 2.0, TONE).await;
    // The other one has heard all the while.
    hears(&mut good, 2.0, TONE).await;
    assert_eq!(hall.device("34020000001320000099"), None);
    let unknown = Talk::begin(&hall, &mixer, "x", channel("34020000001320000099", "1")).await.err().unwrap();
    assert_eq!(unknown.code, "unknown_channel");
    // The gateway ends: BYE to those on air.
    hall.end().await;
    assert_eq!(good.event("talk_bye", 0, 3).await["by"], "platform");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_goes_or_restarts_ends_its_talk_with_a_name_and_its_own_calls_are_told() {
    if fieldsim().is_none() {
        return;
    }
    let mut config = config();
    (config.keepalive.interval, config.keepalive.missed) = (1, 2);
    let hall = Hall::start(26_540, 26_550, config, &[], &Arc::default()).await;
    let mixer = Mixer::start(&hall.hub, "t");
    let mut events = hall.registry.events();
    let begin = async |id: &str, words: &[&str]| {
        let mut args = vec!["--id", id, "--keepalive", "0.5"];
        for word in words {
            args.extend(["--speaker", word]);
        }
        let camera = Camera::start(hall.sip, &args);
        ready(&hall, id).await;
        (camera, Talk::begin(&hall, &mixer, id, channel(id, id)).await.unwrap())
    };
    let (leaves, talk) = begin("34020000001320000081", &["udp"]).await;
    talk.on_air().await;
    leaves.log_out().await;
    assert_eq!(talk.failed(5).await.code, "device_lost");
    let (dies, talk) = begin("34020000001320000082", &["udp"]).await;
    talk.on_air().await;
    drop(dies);
    assert_eq!(talk.failed(10).await.code, "device_lost");
    let (dies, talk) = begin("34020000001320000083", &["tcp-active"]).await;
    talk.on_air().await;
    drop(dies);
    assert_eq!(talk.failed(10).await.code, "talk_closed");
    let (mut restarts, talk) = begin("34020000001320000084", &["udp", "restart-after=3"]).await;
    talk.on_air().await;
    restarts.event("restarted", 0, 10).await;
    assert_eq!(talk.failed(5).await.code, "device_restarted");
    // It can be talked to again at once.
    let again =
        Talk::begin(&hall, &mixer, "34020000001320000084", channel("34020000001320000084", "34020000001320000084"));
    again.await.unwrap().on_air().await;

    let sos = "34020000001320000085";
    let mut calls = Camera::start(hall.sip, &["--id", sos, "--speaker", "sos-after=1"]);
    let told = async {
        loop {
            if let Ok(RegistryEvent::Calls { id, answer }) = events.recv().await {
                return (id, answer);
            }
        }
    };
    let (id, answer) = tokio::time::timeout(Duration::from_secs(10), told).await.expect("the hall is told");
    assert_eq!(id.name(), sos);
    assert!(answer.zh.contains("回呼") && answer.en.contains("talk to it"));
    assert_eq!(calls.event("talk_answer", 0, 5).await["code"], 486);
    hall.end().await;
}
