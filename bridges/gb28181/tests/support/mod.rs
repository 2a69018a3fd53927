//! A hall in miniature around the bridge, and cameras of the simulated field as child processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bridge_core::*;
use media_core::Codec;
use media_hub::{Hub, HubLimits, Pulled, StreamId, StreamState, SubscribeOptions, Subscriber};
use serde_json::Value;
use skybridge_bridge_gb28181::{Config, Gb28181, claims};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Devices as storage holds them: what a restart finds.
#[derive(Default)]
pub struct Store(pub Mutex<HashMap<DeviceId, Device>>);

struct StoreHandle(Arc<Store>);

impl DeviceStore for StoreHandle {
    fn save<'a>(&'a self, devices: &'a [Device]) -> BoxFuture<'a, Result<(), String>> {
        let mut table = self.0.0.lock().unwrap();
        table.extend(devices.iter().map(|d| (d.id.clone(), d.clone())));
        Box::pin(async { Ok(()) })
    }

    fn delete<'a>(&'a self, id: &'a DeviceId) -> BoxFuture<'a, Result<(), String>> {
        self.0.0.lock().unwrap().remove(id);
        Box::pin(async { Ok(()) })
    }
}

struct NoRooms;

impl Rooms for NoRooms {
    fn exists(&self, _: &str) -> bool {
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
        Box::pin(async { Err(Fault::new("none", Whose::You, false, "", "")) })
    }
    fn wants_pin(&self, _: &str) -> bool {
        false
    }
}

pub struct Accounts(pub HashMap<String, String>);

impl Credentials for Accounts {
    fn secret(&self, _: AccountKind, user: &str) -> Option<Secret> {
        self.0.get(user).map(|p| Secret::Password(p.clone()))
    }
    fn display_name(&self, _: AccountKind, _: &str) -> Option<String> {
        None
    }
}

pub struct Hall {
    pub sip: SocketAddr,
    pub hub: Hub,
    pub registry: Registry,
    pub bridge: Arc<dyn Bridge>,
    pub metrics: prometheus::Registry,
    pub reports: Reports,
    pub queues: Mutex<ReportQueues>,
    stop: CancellationToken,
    stop_sip: CancellationToken,
    bridge_task: tokio::task::JoinHandle<()>,
    sip_task: tokio::task::JoinHandle<()>,
}

/// Short limits, so that faults show within a test's patience.
pub fn config() -> Config {
    let mut config = Config { allow_without_password: true, ..Config::default() };
    config.media.answer = 3;
    config.media.first_packet = 3;
    config.media.loss = 3;
    config.media.tcp_connect = 3;
    config.media.first_key = 4;
    config.media.grace = 1;
    config
}

impl Hall {
    /// On 127.0.0.1:`port` with media ports `media` to `media`+98.
    pub async fn start(port: u16, media: u16, config: Config, accounts: &[(&str, &str)], store: &Arc<Store>) -> Hall {
        let sip_at: SocketAddr = ([127, 0, 0, 1], port).into();
        let listen = sip::ServiceConfig {
            udp: vec![sip_at],
            tcp: vec![sip_at],
            user_agent: "Skybridge".into(),
            ..Default::default()
        };
        // The reading tasks of a service that has ended hold its sockets for a moment longer.
        let mut bound = sip::Service::bind(listen.clone()).await;
        for _ in 0..40 {
            if bound.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            bound = sip::Service::bind(listen.clone()).await;
        }
        let (mut service, handle) = bound.unwrap();
        let incoming = service.claim("gb28181", claims(&config));
        let known: Vec<Device> = store.0.lock().unwrap().values().cloned().collect();
        let registry = Registry::new(known, Arc::new(StoreHandle(store.clone())));
        let hub = Hub::new(HubLimits::default());
        let metrics = prometheus::Registry::new();
        let (reports, queues) = Reports::new();
        let (stop, stop_sip) = (CancellationToken::new(), CancellationToken::new());
        let ctx = BridgeContext {
            hub: hub.clone(),
            registry: registry.clone(),
            reports: reports.clone(),
            sip: handle,
            ports: media_net::PortPool::new([127, 0, 0, 1].into(), media..=media + 98, Duration::from_millis(200)),
            media_address: None,
            rooms: Arc::new(NoRooms),
            credentials: Arc::new(Accounts(accounts.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect())),
            metrics: metrics.clone(),
            captures: Captures::none(),
            shutdown: stop.clone(),
        };
        let bridge = Gb28181::build(ctx, incoming, config).unwrap();
        let bridge_task = tokio::spawn(bridge.clone().run());
        let token = stop_sip.clone();
        let sip_task = tokio::spawn(async move {
            service.run(token).await.unwrap();
        });
        let queues = Mutex::new(queues);
        Hall { sip: sip_at, hub, registry, bridge, metrics, reports, queues, stop, stop_sip, bridge_task, sip_task }
    }

    /// Ends in the order of the hall: bridges first, then signalling.
    pub async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.bridge_task).await.expect("the bridge must end").unwrap();
        self.stop_sip.cancel();
        tokio::time::timeout(Duration::from_secs(3), self.sip_task).await.expect("the SIP service must end").unwrap();
    }

    pub fn device(&self, id: &str) -> Option<Arc<Device>> {
        self.registry.get(&DeviceId::new("gb28181", id))
    }

    /// Waits until a device fits.
    pub async fn until(&self, id: &str, what: &str, seconds: u64, good: impl Fn(&Device) -> bool) -> Arc<Device> {
        for _ in 0..seconds * 20 {
            if let Some(device) = self.device(id).filter(|d| good(d)) {
                return device;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{id}: not {what} within {seconds} s: {:?}", self.device(id));
    }

    /// The next alarm.
    pub async fn alarm(&self, seconds: u64) -> AlarmReport {
        for _ in 0..seconds * 50 {
            if let Ok(alarm) = self.queues.lock().unwrap().alarms.try_recv() {
                return alarm;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no alarm within {seconds} s");
    }

    /// The newest position of a channel, when it fits.
    pub async fn position(
        &self,
        device: &str,
        channel: &str,
        seconds: u64,
        good: impl Fn(&PositionReport) -> bool,
    ) -> Arc<PositionReport> {
        let subject = ChannelId::new(&DeviceId::new("gb28181", device), channel);
        for _ in 0..seconds * 20 {
            if let Some(report) = self.reports.last(&subject).filter(|r| good(r)) {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no fitting position of {subject} within {seconds} s: {:?}", self.reports.last(&subject));
    }

    pub fn watch(&self, device: &str, channel: &str) -> Subscriber {
        self.hub.subscribe(&stream(device, channel), SubscribeOptions::default()).unwrap()
    }

    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let families = self.metrics.gather();
        let family = families.iter().find(|f| f.name() == name);
        family
            .into_iter()
            .flat_map(|f| f.get_metric())
            .filter(|m| label.is_empty() || m.get_label().iter().any(|l| l.value() == label))
            .map(|m| m.get_counter().get_value() + m.get_gauge().get_value())
            .sum()
    }
}

pub fn stream(device: &str, channel: &str) -> StreamId {
    ChannelId::new(&DeviceId::new("gb28181", device), channel).stream()
}

/// The trace as text, for messages of failed tests and for reading.
pub fn trace(subscriber: &Subscriber) -> String {
    let trace = subscriber.stream().trace();
    trace.steps.iter().map(|s| format!("{:?} {:?}: {}\n", s.step, s.outcome, s.detail)).collect()
}

/// Waits for the fault of a stream.
pub async fn fault(subscriber: &mut Subscriber, seconds: u64) -> Fault {
    let wait = async {
        loop {
            if let Pulled::State(StreamState::Failed, Some(fault)) = subscriber.next().await {
                return fault;
            }
        }
    };
    match tokio::time::timeout(Duration::from_secs(seconds), wait).await {
        Ok(fault) => fault,
        Err(_) => panic!("no fault within {seconds} s\n{}", trace(subscriber)),
    }
}

/// What was seen and heard in a while.
#[derive(Default, Debug)]
pub struct Seen {
    pub pictures: usize,
    pub keys: usize,
    /// Frame number and camera index, as painted.
    pub codes: Vec<(u32, u8)>,
    pub size: (u32, u32),
    /// Frames lost because this viewer was too slow.
    pub lagged: u64,
    pub sound: usize,
    pub sound_codec: Option<Codec>,
    /// A-law decoded.
    pub samples: Vec<i16>,
    /// Seconds of media time of first picture and first sound.
    pub first_picture: Option<f64>,
    pub first_sound: Option<f64>,
}

/// Pulls until `pictures` pictures came, decoding them.
pub async fn watch_for(subscriber: &mut Subscriber, pictures: usize, seconds: u64) -> Seen {
    let mut seen = Seen::default();
    let mut decoder = openh264::decoder::Decoder::new().unwrap();
    let mut rates = HashMap::new();
    let wait = async {
        while seen.pictures < pictures {
            match subscriber.next().await {
                Pulled::Tracks(tracks) => {
                    for t in tracks.iter() {
                        rates.insert(t.id, t.clock_rate);
                        if t.width > 0 {
                            seen.size = (t.width, t.height);
                        }
                    }
                }
                Pulled::Item(item) => {
                    let f = &item.frame;
                    let at = f.pts as f64 / f64::from(rates.get(&f.track).copied().unwrap_or(90_000));
                    if f.kind() == media_core::MediaKind::Video {
                        seen.first_picture.get_or_insert(at);
                        seen.pictures += 1;
                        seen.keys += usize::from(f.key);
                        let mut annexb = Vec::new();
                        media_core::nal::to_annexb(&f.payload, &mut annexb);
                        if let Ok(Some(yuv)) = decoder.decode(&annexb) {
                            use openh264::formats::YUVSource;
                            let (w, h) = yuv.dimensions();
                            seen.codes.extend(code(yuv.y(), yuv.strides().0, w, h));
                        }
                    } else {
                        seen.first_sound.get_or_insert(at);
                        seen.sound += 1;
                        seen.sound_codec = Some(f.codec);
                        if f.codec == Codec::G711A {
                            seen.samples.extend(f.payload.iter().map(|b| media_core::g711::alaw_decode(*b)));
                        }
                    }
                }
                Pulled::Lagged(n) => seen.lagged += n,
                Pulled::State(..) => {}
            }
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(seconds), wait).await;
    assert!(done.is_ok(), "only {} pictures within {seconds} s\n{}", seen.pictures, trace(subscriber));
    seen
}

/// Reads the code strip of a picture: frame number and camera index.
fn code(luma: &[u8], stride: usize, width: usize, height: usize) -> Option<(u32, u8)> {
    let cell = |n: usize| {
        let (x, y) = ((2 * n + 1) * width / 96, height / 18);
        let sum: u32 = (0..9).map(|k| u32::from(luma[(y + k / 3 - 1) * stride + x + k % 3 - 1])).sum();
        sum / 9
    };
    let (white, black) = (cell(0), cell(1));
    if white < black + 60 {
        return None;
    }
    let bits = |from: usize, count: usize| {
        (from..from + count).fold(0u32, |v, n| v << 1 | u32::from(cell(n) > (white + black) / 2))
    };
    let (frame, camera, sum) = (bits(2, 32), bits(34, 4), bits(38, 8));
    let good = frame.to_be_bytes().iter().map(|b| u32::from(*b)).sum::<u32>() + camera;
    (good & 0xFF == sum).then_some((frame, camera as u8))
}

/// Decodes one picture and reads its code strip.
pub fn painted(decoder: &mut openh264::decoder::Decoder, payload: &[u8]) -> Option<(u32, u8)> {
    use openh264::formats::YUVSource;
    let mut annexb = Vec::new();
    media_core::nal::to_annexb(payload, &mut annexb);
    let yuv = decoder.decode(&annexb).ok()??;
    let (w, h) = yuv.dimensions();
    code(yuv.y(), yuv.strides().0, w, h)
}

/// Strength of a tone against the whole, 0 to 1.
pub fn tone(samples: &[i16], hertz: f64) -> f64 {
    let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
    for (n, s) in samples.iter().enumerate() {
        let (s, w) = (f64::from(*s), 2.0 * std::f64::consts::PI * hertz * n as f64 / 8000.0);
        re += s * w.cos();
        im += s * w.sin();
        all += s * s;
    }
    2.0 * (re * re + im * im) / (all * samples.len() as f64).max(1.0)
}

/// The simulator's program; none where it has not been built.
pub fn fieldsim() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|p| Some(p.parent()?.parent()?.join("fieldsim")));
    let target = std::env::var_os("CARGO_TARGET_DIR").map(|d| PathBuf::from(d).join("debug/fieldsim"));
    let found = beside.into_iter().chain(target).find(|p| p.is_file());
    if found.is_none() {
        eprintln!("skipped: build the simulated field first (cargo build -p fieldsim)");
    }
    found
}

/// A camera of the field. Killed when dropped.
pub struct Camera {
    child: tokio::process::Child,
    events: watch::Receiver<Vec<Value>>,
}

impl Camera {
    pub fn start(hall: SocketAddr, args: &[&str]) -> Camera {
        let program = fieldsim().expect("fieldsim");
        let mut child = tokio::process::Command::new(program)
            .args(["--json", "--server", &hall.to_string(), "camera"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (tx, events) = watch::channel(Vec::new());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(event) = serde_json::from_str::<Value>(&line) {
                    tx.send_modify(|all| all.push(event));
                }
            }
        });
        Camera { child, events }
    }

    /// The n-th (from 0) event of that name, waiting for it.
    pub async fn event(&mut self, name: &str, n: usize, seconds: u64) -> Value {
        let find = |all: &Vec<Value>| all.iter().filter(|e| e["event"] == name).nth(n).cloned();
        let wait = self.events.wait_for(|all| find(all).is_some());
        if let Ok(Ok(all)) = tokio::time::timeout(Duration::from_secs(seconds), wait).await {
            return find(&all).unwrap();
        }
        panic!("no event {name} ({n}) within {seconds} s: {:#?}", *self.events.borrow());
    }

    /// The first event of that name that fits, waiting for it.
    pub async fn which(&mut self, name: &str, seconds: u64, good: impl Fn(&Value) -> bool) -> Value {
        let find = |all: &Vec<Value>| all.iter().find(|e| e["event"] == name && good(e)).cloned();
        let wait = self.events.wait_for(|all| find(all).is_some());
        if let Ok(Ok(all)) = tokio::time::timeout(Duration::from_secs(seconds), wait).await {
            return find(&all).unwrap();
        }
        panic!("no fitting event {name} within {seconds} s: {:#?}", *self.events.borrow());
    }

    pub fn all(&self, name: &str) -> Vec<Value> {
        self.events.borrow().iter().filter(|e| e["event"] == name).cloned().collect()
    }

    /// As Ctrl-C: it logs out.
    pub async fn log_out(mut self) {
        let id = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await.expect("the camera must end").unwrap();
    }
}
