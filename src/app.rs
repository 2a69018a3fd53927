//! Puts the house together and takes it apart again in order.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bridge_core::{Bridge, BridgeContext, Capture, Captures, Command, Credentials, DeviceId, Registry, Reports};
use media_hub::{Fault, Hub, HubLimits, StreamId, Whose};
use media_net::PortPool;
use media_transcode::{Stills, Transcoders, VideoSettings};
use media_webrtc::Endpoint;
use recorder::Recorder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::alarms::AlarmDesk;
use crate::api::Shared;
use crate::audit::Audit;
use crate::bridges;
use crate::conference::{ConferenceLimits, Conferences, OutputOpener};
use crate::confirmations::Confirmations;
use crate::credentials::SecretTable;
use crate::devrec::{Fetches, Playbacks};
use crate::events::Events;
use crate::leases::Leases;
use crate::legs::Legs;
use crate::messages::Messages;
use crate::metrics::Metrics;
use crate::pictures::{self, Pictures};
use crate::scenes::Scenes;
use crate::settings::{self, Settings};
use crate::store::Store;
use crate::system::System;
use crate::transcoders::TranscodeOpener;
use crate::tree::Trees;
use crate::{alarms, followers, legs, tls, tracks};

/// Marks requests that came over TLS.
#[derive(Debug, Clone, Copy)]
pub struct OverTls;

/// The address on which a request came in: as configured, so its IP may be unspecified.
#[derive(Debug, Clone, Copy)]
pub struct Listener(pub SocketAddr);

/// All that handlers and followers share.
pub struct App {
    pub settings: Settings,
    pub store: Store,
    pub access: Access,
    pub audit: Audit,
    pub events: Events,
    pub hub: Hub,
    pub registry: Registry,
    pub reports: Reports,
    pub alarms: AlarmDesk,
    pub books: crate::calls::Books,
    pub lists: crate::lists::CallLists,
    pub schedules: crate::schedule::Schedules,
    /// Tells the alarm desk that somebody has seen an alarm.
    pub acknowledged: mpsc::Sender<String>,
    pub trees: Trees,
    pub endpoint: Endpoint,
    pub legs: Legs,
    pub scenes: Scenes,
    pub conferences: Conferences,
    pub guests: crate::guests::Guests,
    pub talks: crate::talk::Talks,
    pub broadcasts: crate::broadcast::Broadcasts,
    /// Sound files for broadcasts.
    pub sounds: crate::broadcast::Sounds,
    pub recorder: Recorder,
    /// Playbacks of devices' own recordings.
    pub playbacks: Playbacks,
    /// Fetches of devices' own recordings into the archive.
    pub fetches: Fetches,
    pub bridges: Vec<Arc<dyn Bridge>>,
    pub secrets: SecretTable,
    pub stills: Stills,
    pub pictures: Pictures,
    pub messages: Messages,
    pub captures: Captures,
    pub transcoders: Transcoders,
    pub metrics: Metrics,
    pub system: System,
    /// Who holds which camera.
    pub leases: Leases,
    /// Accounts that go before others of their role.
    pub priorities: dashmap::DashMap<String, u8>,
    pub confirmations: Confirmations,
    pub shutdown: CancellationToken,
    /// RTP ports of cameras and phones.
    pub ports: PortPool,
    sip: sip::Sip,
}

/// Why the gateway could not start: what, and where in the configuration to look.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct StartError {
    what: String,
    why: String,
}

fn because<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> StartError {
    move |why| StartError { what: what.into(), why: why.to_string() }
}

/// A running gateway.
pub struct Running {
    pub app: Shared,
    /// Set until the first password was changed.
    pub first_password: Option<String>,
    tasks: JoinSet<()>,
    bridges: JoinSet<()>,
    sip: CancellationToken,
    audit: tokio::task::JoinHandle<()>,
    servers: axum_server::Handle<SocketAddr>,
    /// Held as long as the data directory is ours.
    _lock: std::fs::File,
}

/// How long sessions get to end in order when the gateway stops.
const FAREWELL: Duration = Duration::from_secs(3);

impl App {
    async fn order(&self, bridge: &str, command: Command) -> Result<(), Fault> {
        let Some(bridge) = self.bridges.iter().find(|b| b.name() == bridge) else {
            return Err(Fault::new("not_supported", Whose::Us, false, "没有这个接入模块", "There is no such bridge"));
        };
        bridge.command(command).await
    }

    /// Carries out an order to a bridge, within a limit.
    pub async fn command(&self, bridge: &str, command: Command, limit: Duration) -> Result<(), Fault> {
        match tokio::time::timeout(limit, self.order(bridge, command)).await {
            Ok(done) => done,
            Err(_) => Err(Fault::new("no_answer", Whose::Device, true, "设备没有应答", "The device did not answer")),
        }
    }

    /// Carries out an order that ends when its session ends, as a call does.
    pub async fn command_now(&self, bridge: &str, command: Command) -> Result<(), Fault> {
        self.order(bridge, command).await
    }

    /// Calls a number into a seat: a phone, or a group behind a radio gateway by its channel (`radio:GATEWAY/GROUP`).
    pub async fn dial(&self, to: &str, seat: bridge_core::Seat) -> Result<(), Fault> {
        let (bridge, to) = to.strip_prefix("radio:").map_or(("phone", to), |group| ("radio", group));
        self.command_now(bridge, Command::Dial { to: to.to_owned(), seat }).await
    }

    /// Name to show for somebody who is dialled.
    pub fn phone_name(&self, number: &str) -> String {
        if let Some((_, group)) = self.registry.channel(&bridge_core::ChannelId(number.to_owned())) {
            return group.name;
        }
        let name = self.secrets.display_name(bridge_core::AccountKind::Phone, number);
        let device = self.registry.get(&DeviceId::new("phone", number)).map(|d| d.name.clone());
        name.or(device).filter(|n| !n.is_empty()).unwrap_or_else(|| number.to_owned())
    }

    /// What a program was asked to show; none for streams that are no programs.
    pub fn source_of(&self, stream: &str) -> Option<StreamId> {
        if let Some(conference) = stream.strip_prefix("program:conference/") {
            return self.conferences.get(conference)?.picture.source.map(StreamId::new);
        }
        let id = StreamId::new(stream);
        let tile = stream.rsplit('/').next()?.parse::<usize>().ok()?;
        let wall = self.scenes.of_program(&id)?;
        wall.tiles.get(tile)?.stream.clone().map(StreamId::new)
    }

    /// Begins a capture of a stream.
    pub fn capture(&self, stream: &StreamId, seconds: Option<u32>) -> Result<Capture, Fault> {
        self.captures.start(&self.sip, stream, seconds)
    }

    /// Adds a WebSocket to the SIP connections.
    pub async fn attach_sip(
        &self,
        transport: sip::Transport,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Result<sip::Pipe, sip::SipError> {
        self.sip.attach(transport, local, peer).await
    }

    /// Who is shut out of the SIP ports.
    pub fn sip_guard(&self) -> &sip::Guard {
        self.sip.guard()
    }

    /// What is in the tables of the SIP room: client and server transactions, calls, flows.
    pub fn sip_tables(&self) -> [u64; 4] {
        self.sip.stats().tables.each_ref().map(sip::stats::Gauge::get)
    }

    /// SIP counters for the metrics.
    pub fn sip_counts(&self) -> Vec<sip::Sample> {
        self.sip.stats().snapshot()
    }
}

/// Starts the gateway.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    let data = settings.site.data.clone();
    std::fs::create_dir_all(&data).map_err(because(format!("site.data {}", data.display())))?;
    let lock = lock_data(&data)?;
    let store = Store::open(&data.join("skybridge.db")).await.map_err(because("database"))?;
    let (access, first_password) =
        Access::open(store.clone(), settings.access.clone(), &data).await.map_err(because("accounts"))?;
    let (audit, audit_task) = Audit::start(store.clone(), settings.access.audit_days);
    let events = Events::default();
    let shutdown = CancellationToken::new();

    let limits = HubLimits { ring_bytes: settings.media.ring_megabytes << 20, ..HubLimits::default() };
    let hub = Hub::new(limits);
    let known = store.devices().await.map_err(because("stored devices"))?;
    let registry = Registry::new(known, Arc::new(store.clone()));
    let (reports, report_queues) = Reports::new();
    let (acknowledged, acknowledgements) = mpsc::channel(256);
    let endpoint = bind_browser_media(&settings, &hub)?;
    let mut recording = recorder::Settings::new(settings.recordings());
    recording.segment = Duration::from_secs(u64::from(settings.recorder.segment_minutes) * 60);
    recording.min_free_bytes = settings.recorder.min_free_gigabytes << 30;
    recording.max_bytes = settings.recorder.max_gigabytes << 30;
    recording.hand_keep_days = settings.recorder.keep_days;
    let recorder = Recorder::open(hub.clone(), store.pool().clone(), recording).await.map_err(because("recordings"))?;
    match recorder.recover().await {
        Ok(recovered) => tracing::info!(?recovered, "recordings looked through"),
        // A full disk must not keep the live pictures away.
        Err(error) => tracing::error!(%error, "recordings could not be looked through; the next start tries again"),
    }

    let tls_config = tls::server_config(&settings.http, &data).map_err(because("http.certificate"))?;
    let mut service = bind_sip(&settings, tls_config.clone()).await?;
    let claims = bridges::claim(&mut service.0, &settings);
    let (low, high) = settings::port_range(&settings.media.rtp_ports).map_err(because("media.rtp_ports"))?;
    let registry_of_metrics = prometheus::Registry::new();
    let secrets =
        SecretTable::load(store.clone(), settings.gb28181.domain().to_owned(), settings.phone.realm().to_owned())
            .await
            .map_err(because("stored secrets"))?;
    let ports = PortPool::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), low..=high, Duration::from_secs(5));
    let captures = Captures::new(Some(data.join("captures")), settings.capture.limits());
    let limits = ConferenceLimits {
        members: settings.hall.max_members,
        wrong_pins: 9,
        call_back: settings.calls.call_back_tries > 0,
        loudness: settings.hall.loudness,
        lobby_most: settings.hall.lobby_members as usize,
        lobby_wait: Duration::from_secs(u64::from(settings.hall.lobby_minutes) * 60),
    };
    let context = |conferences: &Conferences| BridgeContext {
        hub: hub.clone(),
        registry: registry.clone(),
        reports: reports.clone(),
        sip: service.1.clone(),
        ports: ports.clone(),
        media_address: settings::optional_address(&settings.media.rtp_announced).ok().flatten(),
        rooms: Arc::new(conferences.clone()),
        credentials: Arc::new(secrets.clone()),
        metrics: registry_of_metrics.clone(),
        captures: captures.clone(),
        shutdown: shutdown.clone(),
    };

    // Bridges register their openers while they are built: walls and conferences can then find their sources again.
    let conferences = Conferences::new(hub.clone(), events.clone(), store.clone(), limits);
    let built = bridges::build(&context(&conferences), claims, &settings).map_err(because("bridges"))?;
    register_outputs(&hub, &conferences, &shutdown);
    conferences.open_stored().await.map_err(because("stored conferences"))?;
    first_conference(&settings, &conferences).await?;
    let stored_walls = store.walls().await.map_err(because("stored walls"))?;
    let scenes = Scenes::start(hub.clone(), events.clone(), store.clone(), settings.hall.walls, &stored_walls)
        .map_err(because("walls"))?;
    let program = std::env::current_exe().map_err(because("the program's own path"))?;
    let stills = Stills::new(hub.clone(), program.clone());
    let transcoders = register_transcoders(&settings, &hub, &program, &shutdown);
    let pictures =
        Pictures::new(settings.pictures.clone(), settings.site.data.join("pictures"), store.clone(), events.clone());
    let messages =
        Messages::new(settings.messages.clone(), settings.site.data.join("messages"), store.clone(), events.clone());
    let metrics = Metrics::new(registry_of_metrics).map_err(because("metrics"))?;

    let schedules = crate::schedule::Schedules::open(store.clone()).await.map_err(because("stored times"))?;
    let guests = crate::guests::Guests::open(store.clone()).await.map_err(because("stored guests"))?;
    let fetches = Fetches::new(settings.site.data.join("fetch"), settings.recorder.fetch_parallel);
    let priorities = store.priorities().await.map_err(because("stored priorities"))?.into_iter().collect();
    let broadcasts = crate::broadcast::Broadcasts::new(&settings);
    let sounds = crate::broadcast::Sounds::new(settings.site.data.join("sounds"), store.clone());
    let leases = Leases::new(Duration::from_secs(u64::from(settings.hall.camera_hold_s)));
    let app = Arc::new(App {
        settings,
        store,
        access,
        audit,
        events,
        hub: hub.clone(),
        registry,
        reports,
        alarms: AlarmDesk::default(),
        books: crate::calls::Books::default(),
        lists: crate::lists::CallLists::default(),
        schedules,
        acknowledged,
        trees: Trees::default(),
        endpoint,
        legs: Legs::default(),
        scenes,
        conferences,
        guests,
        talks: crate::talk::Talks::default(),
        broadcasts,
        sounds,
        recorder,
        playbacks: Playbacks::default(),
        fetches,
        bridges: built,
        secrets,
        stills,
        pictures,
        messages,
        captures,
        transcoders,
        metrics,
        system: System::default(),
        leases,
        priorities,
        confirmations: Confirmations::default(),
        shutdown: shutdown.clone(),
        ports: ports.clone(),
        sip: service.1,
    });

    let mut tasks = JoinSet::new();
    let mut bridge_tasks = JoinSet::new();
    followers::start(&app);
    crate::talk::start(&app);
    tasks.spawn(alarms::run(app.clone(), report_queues.alarms, report_queues.glimpses, acknowledgements));
    tasks.spawn(crate::messages::run(app.clone(), report_queues.texts));
    tasks.spawn(tracks::run(app.clone()));
    tasks.spawn(alarms::forget_old(app.clone()));
    tasks.spawn(crate::calls::run(app.clone()));
    tasks.spawn(crate::comeback::run(app.clone()));
    crate::broadcast::recover(&app).await;
    tasks.spawn(crate::broadcast::keep(app.clone()));
    tasks.spawn(crate::calls::forget_old(app.clone()));
    tasks.spawn(crate::calls::tell(app.clone()));
    tasks.spawn(crate::softphone::guard(app.clone()));
    tasks.spawn(crate::trunks::follow(app.clone()));
    tasks.spawn(legs::guard(app.clone()));
    tasks.spawn(crate::guests::run(app.clone()));
    tasks.spawn(crate::schedule::run(app.clone()));
    tokio::spawn(app.pictures.clone().caretaker());
    tokio::spawn(app.messages.clone().caretaker());
    tasks.spawn(crate::control::watch(app.clone()));
    tasks.spawn(media_hub::audio::renditions::run(hub, shutdown.clone().cancelled_owned()));
    // SIP outlives the bridges by the time they need to say good-bye.
    let sip_stop = CancellationToken::new();
    let sip_token = sip_stop.clone();
    let sip_service = service.0;
    tasks.spawn(async move {
        if let Err(error) = sip_service.run(sip_token).await {
            tracing::error!(%error, "SIP ended");
        }
    });
    for bridge in &app.bridges {
        bridge_tasks.spawn(bridge.clone().run());
    }
    app.recorder.resume().await.map_err(because("recording jobs"))?;
    app.fetches.resume(&app).await.map_err(because("stored fetches"))?;
    let servers = axum_server::Handle::new();
    serve(&app, tls_config, &servers, &mut tasks).await?;
    Ok(Running {
        app,
        first_password,
        tasks,
        bridges: bridge_tasks,
        sip: sip_stop,
        audit: audit_task,
        servers,
        _lock: lock,
    })
}

/// Two gateways on one data directory would cut each other's recordings.
fn lock_data(data: &std::path::Path) -> Result<std::fs::File, StartError> {
    let what = || format!("site.data {}", data.display());
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(data.join("lock"))
        .map_err(because(what()))?;
    file.try_lock()
        .map_err(|_| StartError { what: what(), why: "another gateway runs on this data directory".into() })?;
    Ok(file)
}

fn bind_browser_media(settings: &Settings, hub: &Hub) -> Result<Endpoint, StartError> {
    let config = media_webrtc::EndpointConfig {
        bind: settings.media.browser.clone(),
        announced: settings.media.browser_announced.clone(),
        shards: settings.media.workers,
        ..media_webrtc::EndpointConfig::default()
    };
    Endpoint::bind(config, hub.clone()).map_err(because("media.browser"))
}

async fn bind_sip(
    settings: &Settings,
    tls_config: Arc<rustls::ServerConfig>,
) -> Result<(sip::Service, sip::Sip), StartError> {
    let mut without_http = (*tls_config).clone();
    without_http.alpn_protocols.clear();
    let config = sip::ServiceConfig {
        udp: settings.sip.udp.clone(),
        tcp: settings.sip.tcp.clone(),
        tls: (!settings.sip.tls.is_empty()).then(|| (settings.sip.tls.clone(), Arc::new(without_http))),
        advertised: settings::optional_address(&settings.sip.announced).ok().flatten(),
        user_agent: concat!("Skybridge/", env!("CARGO_PKG_VERSION")).to_owned(),
        large_over_tcp: settings.sip.large_over_tcp,
        limits: sip::Limits { messages_per_second: settings.sip.messages_per_second, ..sip::Limits::default() },
        guard: settings.sip.guard.config(),
        name_servers: settings.sip.name_servers.clone(),
    };
    let (mut service, sip) = sip::Service::bind(config).await.map_err(because("sip.udp, sip.tcp, sip.tls"))?;
    service.tls_client(tls::client_config(&settings.sip.tls_roots).map_err(because("sip.tls_roots"))?);
    let satellite = &settings.sip.satellite;
    let profile = satellite.profile();
    let networks: Vec<sip::Network> = satellite.networks.iter().filter_map(|n| n.parse().ok()).collect();
    service.profiles(move |_, peer| match networks.iter().any(|n| n.contains(peer.ip())) {
        true => profile,
        false => sip::LinkProfile::LAN,
    });
    let accounts: std::collections::HashSet<String> = satellite.accounts.iter().cloned().collect();
    service.account_profiles(move |user| accounts.contains(user).then_some(profile));
    Ok((service, sip))
}

fn register_outputs(hub: &Hub, conferences: &Conferences, shutdown: &CancellationToken) {
    let names = conferences.clone();
    let opener =
        OutputOpener { hub: hub.clone(), name: Box::new(move |id| names.name(id)), shutdown: shutdown.clone() };
    hub.register_opener("conference:", Arc::new(opener));
}

fn register_transcoders(
    settings: &Settings,
    hub: &Hub,
    program: &std::path::Path,
    shutdown: &CancellationToken,
) -> Transcoders {
    let wanted = VideoSettings {
        max: settings.media.transcoders,
        encoder: settings.media.transcode_encoder.clone(),
        max_height: settings.media.transcode_height,
        kbps: settings.media.transcode_kbps,
    };
    let transcoders = Transcoders::new(hub.clone(), program.to_owned(), wanted);
    let (runtime, shutdown) = (tokio::runtime::Handle::current(), shutdown.clone());
    let opener = TranscodeOpener { hub: hub.clone(), transcoders: transcoders.clone(), shutdown, runtime };
    // Without a budget a browser without H.265 is told that it lacks the codec.
    if settings.media.transcoders > 0 {
        let opener = Arc::new(opener);
        hub.register_opener(crate::transcoders::PREFIX, opener.clone());
        hub.register_opener(media_hub::Fit::prefix(), opener);
    }
    transcoders
}

/// A hall without a conference gets its first one.
async fn first_conference(settings: &Settings, conferences: &Conferences) -> Result<(), StartError> {
    if !conferences.all().is_empty() {
        return Ok(());
    }
    let pin = settings::secret(&settings.hall.conference_pin).unwrap_or_default();
    let name = if settings.hall.conference_name_zh.trim().is_empty() {
        &settings.hall.conference_name_en
    } else {
        &settings.hall.conference_name_zh
    };
    conferences
        .create(name, Some(&settings.hall.conference_number), &pin)
        .await
        .map(|_| ())
        .map_err(because("hall.conference_number"))
}

async fn serve(
    app: &Shared,
    tls_config: Arc<rustls::ServerConfig>,
    handle: &axum_server::Handle<SocketAddr>,
    tasks: &mut JoinSet<()>,
) -> Result<(), StartError> {
    let router = crate::api::router(app.clone());
    let listen = |key: &str, address: SocketAddr| {
        let bound = std::net::TcpListener::bind(address).and_then(|l| l.set_nonblocking(true).map(|()| l));
        bound.map_err(because(format!("{key} {address}")))
    };
    for address in &app.settings.http.local {
        let listener = listen("http.local", *address)?;
        let server = axum_server::from_tcp(listener).map_err(because(format!("http.local {address}")))?;
        let plain = router.clone().layer(axum::Extension(Listener(*address)));
        let service = plain.into_make_service_with_connect_info::<SocketAddr>();
        let mut server = server.handle(handle.clone());
        limit_headers(server.http_builder());
        tasks.spawn(async move { ended("plain http", server.serve(service).await) });
    }
    for address in &app.settings.pictures.listen {
        let what = format!("pictures.listen {address}");
        let listener = pictures::listen::bind(*address).map_err(because(what.clone()))?;
        let server = axum_server::from_tcp(listener).map_err(because(what))?;
        let service = pictures::listen::router(app.clone()).into_make_service();
        let mut server = server.handle(handle.clone());
        limit_headers(server.http_builder());
        tasks.spawn(async move { ended("uploads of pictures", server.serve(service).await) });
    }
    for address in &app.settings.http.listen {
        let listener = listen("http.listen", *address)?;
        let acceptor = axum_server::tls_rustls::RustlsConfig::from_config(tls_config.clone());
        let server = axum_server::tls_rustls::from_tcp_rustls(listener, acceptor)
            .map_err(because(format!("http.listen {address}")))?;
        let secure = router.clone().layer(axum::Extension(OverTls)).layer(axum::Extension(Listener(*address)));
        let service = secure.into_make_service_with_connect_info::<SocketAddr>();
        let mut server = server.handle(handle.clone());
        limit_headers(server.http_builder());
        tasks.spawn(async move { ended("https", server.serve(service).await) });
    }
    Ok(())
}

/// A request whose headers do not come within this is cut off: half-open requests cost a file descriptor each.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

fn limit_headers(builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>) {
    builder.http1().timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
}

fn ended(what: &str, result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(what, %error, "server ended");
    }
}

async fn within<F: Future>(limit: Duration, what: &str, work: F) {
    if tokio::time::timeout(limit, work).await.is_err() {
        tracing::warn!(what, "did not end in time");
    }
}

impl Running {
    /// Ends sessions in order: calls and cameras get their BYE, files are finished, the audit log is written out.
    pub async fn stop(mut self) {
        self.app.shutdown.cancel();
        self.app.playbacks.close_all();
        self.servers.graceful_shutdown(Some(Duration::from_secs(1)));
        within(FAREWELL, "bridges", async { while self.bridges.join_next().await.is_some() {} }).await;
        let captures = self.app.captures.clone();
        let _ = tokio::task::spawn_blocking(move || captures.end()).await;
        within(FAREWELL, "devices", self.app.registry.flush()).await;
        self.sip.cancel();
        within(Duration::from_secs(10), "recorder", self.app.recorder.shutdown()).await;
        for leg in self.app.endpoint.legs() {
            self.app.endpoint.close(leg.id);
        }
        within(FAREWELL * 2, "tasks", async { while self.tasks.join_next().await.is_some() {} }).await;
        self.tasks.abort_all();
        let store = self.app.store.clone();
        drop(self.app);
        // Its queue ends with the last handle; handles in open connections may outlive us by a moment.
        let _ = tokio::time::timeout(Duration::from_millis(500), self.audit).await;
        store.close().await;
    }
}
