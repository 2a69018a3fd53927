//! A small gateway: SIP service, hub, phone bridge and rooms over the real mixer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bridge_core::*;
use media_core::{Codec, Frame, TrackId, TrackInfo};
use media_hub::audio::{BLOCK, Encoder, Mixer, OpusSettings};
use media_hub::{Hub, HubLimits, StreamId};
use skybridge_bridge_phone::{Config, NAME};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub const PIN: &str = "2468";

/// Rooms: 600 asks for a PIN, 700 does not.
pub struct TestRooms {
    hub: Hub,
    mixers: HashMap<&'static str, Mixer>,
    next: AtomicU32,
    /// All that was told, as text with its time.
    pub told: Arc<Mutex<Vec<(MemberId, SeatReport)>>>,
    pub orders: Mutex<HashMap<MemberId, mpsc::Sender<SeatCommand>>>,
    wrong: AtomicU32,
    /// What members with a screen are shown.
    pub look: tokio::sync::watch::Sender<Option<StreamId>>,
}

impl TestRooms {
    fn new(hub: &Hub) -> TestRooms {
        let mixers = ["600", "700"].into_iter().map(|n| (n, Mixer::start(hub, n))).collect();
        TestRooms {
            hub: hub.clone(),
            mixers,
            next: AtomicU32::new(1),
            told: Arc::default(),
            orders: Mutex::default(),
            wrong: AtomicU32::new(0),
            look: tokio::sync::watch::channel(None).0,
        }
    }

    pub fn seat(&self, number: &str) -> Seat {
        let member = MemberId(format!("m{}", self.next.fetch_add(1, Ordering::Relaxed)));
        let mixer = self.mixers[number].clone();
        let (orders, commands) = mpsc::channel(8);
        let (reports, mut queue) = mpsc::channel::<(MemberId, SeatReport)>(64);
        let told = self.told.clone();
        self.orders.lock().unwrap().insert(member.clone(), orders);
        let listen = mixer.listen(&member.0);
        tokio::spawn(async move {
            while let Some((member, report)) = queue.recv().await {
                match &report {
                    SeatReport::Connected { stream, hears } => mixer.add(&member.0, Some(stream.clone()), Some(*hears)),
                    SeatReport::Mode(mode) => mixer.set_mode(&member.0, *mode),
                    SeatReport::Left(_) | SeatReport::Failed(_) => mixer.remove(&member.0),
                    _ => {}
                }
                told.lock().unwrap().push((member, report));
            }
        });
        Seat::new(member, number.into(), number.into(), "指挥部".into(), listen, commands, reports)
            .with_look(self.look.subscribe())
    }

    /// The stream of the member that connected last.
    pub fn stream(&self) -> String {
        let told = self.told.lock().unwrap();
        let last = told.iter().rev().find_map(|(_, r)| match r {
            SeatReport::Connected { stream, .. } => Some(stream.to_string()),
            _ => None,
        });
        last.unwrap()
    }

    /// A member whose voice is an Opus tone published into the hub, as a browser leg would.
    pub fn browser(&self, number: &str, hz: f32) -> tokio::task::JoinHandle<()> {
        let id = StreamId::new(format!("browser:{hz}"));
        let publisher = self.hub.publish(&id, "browser").unwrap();
        publisher.set_tracks(&[TrackInfo::audio(Codec::Opus, 48_000, 1)]);
        self.mixers[number].add("browser", Some(id), Some(Codec::Opus));
        tokio::spawn(async move {
            let mut encoder = Encoder::new(Codec::Opus, &OpusSettings::default()).unwrap();
            let mut every = tokio::time::interval(Duration::from_millis(20));
            for n in 0usize.. {
                every.tick().await;
                let mut block = [0.0f32; BLOCK];
                for (i, s) in block.iter_mut().enumerate() {
                    let x = (f64::from(hz) * (n * BLOCK + i) as f64 / 48_000.0).fract() as f32;
                    *s = 0.25 * (std::f32::consts::TAU * x).sin();
                }
                let packet = encoder.encode(&block).unwrap();
                publisher.write(Frame::new(
                    TrackId::AUDIO,
                    Codec::Opus,
                    (n * BLOCK) as i64,
                    true,
                    Instant::now(),
                    packet,
                ));
            }
        })
    }

    /// What a browser in the room hears, as 48 kHz samples.
    pub async fn heard_by_browser(&self, number: &str, seconds: f32) -> Vec<f32> {
        let id = self.mixers[number].listen("browser");
        let mut subscriber = self.hub.subscribe(&id, Default::default()).unwrap();
        let mut decoder = media_hub::audio::Decoder::new(&TrackInfo::audio(Codec::Opus, 48_000, 1)).unwrap();
        let mut out = Vec::new();
        while out.len() < (seconds * 48_000.0) as usize {
            if let media_hub::Pulled::Item(item) = subscriber.next().await {
                decoder.decode(&item.frame.payload, &mut out).unwrap();
            }
        }
        out
    }

    pub fn reports(&self) -> Vec<(String, String)> {
        self.told.lock().unwrap().iter().map(|(m, r)| (m.0.clone(), format!("{r:?}"))).collect()
    }

    /// Waits until a report that holds `word` was told.
    pub async fn wait(&self, word: &str, seconds: u64) -> (String, String) {
        self.wait_after(0, word, seconds).await
    }

    pub async fn wait_after(&self, skip: usize, word: &str, seconds: u64) -> (String, String) {
        let end = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(found) = self.reports().into_iter().skip(skip).find(|r| r.1.contains(word)) {
                return found;
            }
            assert!(Instant::now() < end, "no {word} in {:?}", self.reports());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Rooms for TestRooms {
    fn exists(&self, number: &str) -> bool {
        self.mixers.contains_key(number)
    }

    fn wants_pin(&self, number: &str) -> bool {
        number == "600"
    }

    fn enter<'a>(
        &'a self,
        number: &'a str,
        pin: Option<&'a str>,
        _caller: &'a str,
        _name: &'a str,
        _link: Link,
    ) -> BoxFuture<'a, Result<Seat, Fault>> {
        Box::pin(async move {
            if number == "600" && pin != Some(PIN) {
                self.wrong.fetch_add(1, Ordering::Relaxed);
                return Err(Fault::new("wrong_pin", Whose::You, true, "密码错误", "wrong"));
            }
            Ok(self.seat(number))
        })
    }
}

/// The queues; each test adds its own.
pub static QUEUES: Mutex<Vec<QueueRule>> = Mutex::new(Vec::new());

/// Where calls to an account go, for the tests of forwards.
pub static FORWARDS: Mutex<Vec<(&str, Forwards)>> = Mutex::new(Vec::new());

struct Table;

impl Credentials for Table {
    fn secret(&self, kind: AccountKind, user: &str) -> Option<Secret> {
        // 8002 as the hall stores it: the MD5 hash of 8002:skybridge:secret2.
        match (kind, user) {
            (AccountKind::Phone, "8002") => Some(Secret::Ha1("6ea07f5fbdbd663d407683adbe458e5d".into())),
            (AccountKind::Phone, u) if u.len() == 4 && (u.starts_with("80") || u.starts_with("81")) => {
                Some(Secret::Password(format!("secret{}", &u[3..])))
            }
            _ => None,
        }
    }

    fn display_name(&self, _: AccountKind, user: &str) -> Option<String> {
        Some(format!("话机{user}"))
    }

    fn queues(&self) -> Vec<QueueRule> {
        QUEUES.lock().unwrap().clone()
    }

    fn pick_up_together(&self, one: &str, other: &str) -> bool {
        [one, other].iter().all(|u| ["8103", "8105"].contains(u))
    }

    fn forwards(&self, user: &str) -> Forwards {
        let all = FORWARDS.lock().unwrap();
        all.iter().find(|(u, _)| *u == user).map(|(_, f)| f.clone()).unwrap_or_default()
    }
}

/// Storage that remembers, for the test of a restart.
#[derive(Default)]
pub struct Memory(pub Mutex<HashMap<String, Device>>);

impl DeviceStore for Memory {
    fn save<'a>(&'a self, devices: &'a [Device]) -> BoxFuture<'a, Result<(), String>> {
        let mut all = self.0.lock().unwrap();
        for d in devices {
            all.insert(d.id.0.clone(), d.clone());
        }
        Box::pin(async { Ok(()) })
    }

    fn delete<'a>(&'a self, id: &'a DeviceId) -> BoxFuture<'a, Result<(), String>> {
        self.0.lock().unwrap().remove(&id.0);
        Box::pin(async { Ok(()) })
    }
}

pub struct Gateway {
    pub port: u16,
    pub ctx: BridgeContext,
    pub rooms: Arc<TestRooms>,
    pub bridge: Arc<dyn Bridge>,
    pub store: Arc<Memory>,
    /// What was reported, once.
    pub alarms: Option<mpsc::Receiver<AlarmReport>>,
    /// Texts of phones, once.
    pub texts: Option<mpsc::Receiver<TextNews>>,
    pub tasks: Vec<tokio::task::JoinHandle<()>>,
}

type Listener = (Vec<std::net::SocketAddr>, Arc<rustls::ServerConfig>);

/// Signed by itself: the phones of these tests do not ask.
fn certificate() -> rustls::ServerConfig {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap()
}

impl Gateway {
    pub async fn start(port: u16, config: Config) -> Gateway {
        Gateway::start_with(port, config, Arc::default()).await
    }

    /// With a listener for TLS on the next port.
    pub async fn start_tls(port: u16, config: Config) -> Gateway {
        let tls = (vec![([127, 0, 0, 1], port + 1).into()], Arc::new(certificate()));
        Gateway::open(port, config, Arc::default(), Some(tls)).await
    }

    pub async fn start_with(port: u16, config: Config, store: Arc<Memory>) -> Gateway {
        Gateway::open(port, config, store, None).await
    }

    async fn open(port: u16, config: Config, store: Arc<Memory>, tls: Option<Listener>) -> Gateway {
        if std::env::var("LOG").is_ok() {
            let _ = tracing_subscriber::fmt().with_env_filter("debug").try_init();
        }
        let address = ([127, 0, 0, 1], port).into();
        let (mut service, sip) = sip::Service::bind(sip::ServiceConfig {
            udp: vec![address],
            tcp: vec![address],
            tls,
            user_agent: "skybridge-test".into(),
            ..Default::default()
        })
        .await
        .unwrap();
        let incoming = service.claim(NAME, skybridge_bridge_phone::claims(&config));
        let hub = Hub::new(HubLimits::default());
        let rooms = Arc::new(TestRooms::new(&hub));
        let known = store.0.lock().unwrap().values().cloned().collect();
        // Below the ports that systems give away unasked: others of this machine are not met there.
        let first = 10_000 + (port - 22_000) / 100 * 100;
        let (reports, queues) = Reports::new();
        let ctx = BridgeContext {
            hub,
            registry: Registry::new(known, store.clone()),
            reports,
            sip,
            ports: media_net::PortPool::new([127, 0, 0, 1].into(), first..=first + 98, Duration::from_secs(1)),
            media_address: None,
            rooms: rooms.clone(),
            credentials: Arc::new(Table),
            metrics: Default::default(),
            captures: bridge_core::Captures::none(),
            shutdown: CancellationToken::new(),
        };
        let bridge = skybridge_bridge_phone::build(ctx.clone(), incoming, config);
        let sip_stop = CancellationToken::new();
        let service = service.run(sip_stop.clone());
        let running = bridge.clone().run();
        let tasks = vec![tokio::spawn(async move {
            let service = tokio::spawn(service);
            running.await;
            sip_stop.cancel();
            service.await.unwrap().unwrap();
        })];
        Gateway { port, ctx, rooms, bridge, store, alarms: Some(queues.alarms), texts: Some(queues.texts), tasks }
    }

    pub fn online(&self, user: &str) -> bool {
        self.ctx.registry.get(&DeviceId::new(NAME, user)).is_some_and(|d| d.online)
    }

    pub async fn wait_online(&self, user: &str, online: bool) {
        let end = Instant::now() + Duration::from_secs(8);
        while self.online(user) != online {
            assert!(Instant::now() < end, "{user} did not become {online}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The records of calls; once.
    pub fn records(&self) -> mpsc::Receiver<CallRecord> {
        self.bridge.calls().unwrap().take_records().unwrap()
    }

    /// Ends all and gives back how long it took.
    pub async fn stop(self) -> Duration {
        let start = Instant::now();
        self.ctx.shutdown.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
        start.elapsed()
    }

    /// The sum of a counter over its labels that hold `label`.
    pub fn counter(&self, name: &str, label: &str) -> f64 {
        let families = self.ctx.metrics.gather();
        let family = families.iter().filter(|f| f.name() == name);
        family
            .flat_map(|f| f.get_metric())
            .filter(|m| label.is_empty() || m.get_label().iter().any(|l| l.value() == label))
            .map(|m| m.get_counter().get_value())
            .sum()
    }
}
