//! The endpoint: one UDP port for all browser peers, offers in, answers out.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dimpl::DtlsCertificate;
use is::IceCreds;
use media_hub::{Hub, Start, StreamId, SubscribeOptions};
use tokio::sync::{Notify, broadcast, mpsc};

use crate::demux::{self, Receiver, Route};
use crate::env::Env;
use crate::error::WebRtcError;
use crate::interfaces;
use crate::leg::{CloseReason, LegEvent, LegId, LegKind, LegShared, LegState, LegStatus};
use crate::outbox::Sockets;
use crate::shard::{Command, QUEUE, Shard};
use crate::stats::Stats;
use crate::twoway::{Order, Session};
use crate::viewer::ViewerStart;
use crate::viewer::sdp::{Offer, Ours, answer, plan};
use crate::viewer::transport::Transport;

/// Bounds of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Legs at once, viewers and two-way together.
    pub legs: usize,
    /// Two-way legs at once.
    pub two_way: usize,
    /// Viewers of one stream at once.
    pub viewers_per_stream: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { legs: 4000, two_way: 500, viewers_per_stream: 2000 }
    }
}

/// How an endpoint is set up.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// Where to listen (UDP): one address of each family, since all that is sent leaves by the first socket of the family.
    /// Usually `0.0.0.0:8189`, and `[::]:8189` where there is IPv6. Port 0 takes a free one.
    pub bind: Vec<SocketAddr>,
    /// Addresses told to browsers as candidates, with the bound port. Empty: those of the machine, and 127.0.0.1.
    pub announced: Vec<IpAddr>,
    /// Worker threads for viewers; 0 takes one for each two processors.
    pub shards: usize,
    pub limits: Limits,
    /// Socket buffers in bytes, as far as the kernel grants it.
    pub socket_buffer: usize,
    /// Share of media datagrams lost on purpose on the way out and in, for tests; 0 in service.
    pub test_loss: f32,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        EndpointConfig {
            bind: vec![SocketAddr::from(([0, 0, 0, 0], 8189))],
            announced: Vec::new(),
            shards: 0,
            limits: Limits::default(),
            socket_buffer: 8 << 20,
            test_loss: 0.0,
        }
    }
}

/// What a viewer wants.
#[derive(Debug, Clone, Copy)]
pub struct ViewerOptions {
    pub audio: bool,
}

impl Default for ViewerOptions {
    fn default() -> Self {
        ViewerOptions { audio: true }
    }
}

struct ShardHandle {
    commands: mpsc::Sender<Command>,
    notify: Arc<Notify>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Clone)]
enum Control {
    Shard(mpsc::Sender<Command>),
    Session(mpsc::Sender<Order>),
}

struct Entry {
    shared: Arc<LegShared>,
    control: Control,
}

struct Inner {
    config: EndpointConfig,
    env: Arc<Env>,
    legs: DashMap<LegId, Entry>,
    shards: Vec<ShardHandle>,
    next_shard: AtomicUsize,
    certificate: DtlsCertificate,
    fingerprint: String,
    dtls: Arc<dimpl::Config>,
    candidates: Vec<SocketAddr>,
    runtime: tokio::runtime::Handle,
    receiver: Mutex<Option<Receiver>>,
}

/// One UDP port for all browser peers. Cheap to clone; the last clone ends all legs.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

/// A closed leg can still be asked about for this long.
const REMEMBERED: Duration = Duration::from_secs(60);

impl Endpoint {
    /// Binds the port and starts the worker threads. To be called inside a tokio runtime, which runs the two-way legs.
    pub fn bind(config: EndpointConfig, hub: Hub) -> Result<Self, WebRtcError> {
        let start = |what: &str| WebRtcError::Start(what.to_owned());
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| start("not inside a tokio runtime"))?;
        let mut udp = Vec::new();
        let mut bound = Vec::new();
        for at in &config.bind {
            let socket =
                socket(*at, config.socket_buffer).map_err(|source| WebRtcError::Bind { at: at.to_string(), source })?;
            bound.push(socket.local_addr().map_err(|source| WebRtcError::Bind { at: at.to_string(), source })?);
            udp.push(socket);
        }
        if udp.is_empty() {
            return Err(start("no address to bind"));
        }
        let candidates = candidates(&bound, &config.announced);
        let locals = bound.iter().map(|b| local_for(b, &candidates)).collect();
        let certificate = dimpl::certificate::generate_self_signed_certificate().map_err(|e| start(&e.to_string()))?;
        let fingerprint = certificate.fingerprint_str();
        let fingerprint = fingerprint.strip_prefix("sha-256 ").unwrap_or(&fingerprint).to_owned();
        let dtls = dimpl::Config::builder()
            .handshake_timeout(Duration::from_secs(15))
            .build()
            .map_err(|e| start(&e.to_string()))?;
        let env = Arc::new(Env::new(hub, Arc::new(Sockets::new(udp, locals)), config.test_loss));
        let shards = match config.shards {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2)),
            n => n.min(256),
        };
        let shards = (0..shards).map(|i| start_shard(i, &env)).collect::<Result<Vec<_>, _>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (env, stop) = (env.clone(), stop.clone());
            std::thread::Builder::new()
                .name("webrtc-recv".into())
                .spawn(move || demux::receive(&env.sockets, &env.router, &env.counters, &stop, env.loss))
                .map_err(|e| start(&e.to_string()))?
        };
        Ok(Endpoint(Arc::new(Inner {
            config,
            env,
            legs: DashMap::new(),
            shards,
            next_shard: AtomicUsize::new(0),
            certificate,
            fingerprint,
            dtls: Arc::new(dtls),
            candidates,
            runtime,
            receiver: Mutex::new(Some(Receiver { stop, thread: Some(thread) })),
        })))
    }

    /// The candidates told to browsers.
    pub fn candidates(&self) -> &[SocketAddr] {
        &self.0.candidates
    }

    /// Makes room in the books for one more leg.
    fn admit(&self, two_way: bool) -> Result<(), WebRtcError> {
        let limits = self.0.config.limits;
        let env = &self.0.env;
        self.0.legs.retain(|_, e| e.shared.closed_at().is_none_or(|at| at.elapsed() < REMEMBERED));
        let (viewers, both) = (env.viewers.load(Relaxed), env.two_way.load(Relaxed));
        if viewers + both >= limits.legs {
            return Err(WebRtcError::TooMany(limits.legs));
        }
        if two_way && both >= limits.two_way {
            return Err(WebRtcError::TooMany(limits.two_way));
        }
        Ok(())
    }

    fn refused<T>(&self, result: Result<T, WebRtcError>) -> Result<T, WebRtcError> {
        let counters = &self.0.env.counters;
        let counter = if result.is_ok() { &counters.offers_accepted } else { &counters.offers_refused };
        counter.fetch_add(1, Relaxed);
        result
    }

    /// A viewer's offer (RFC 9725 WHEP as it stands): the leg and the answer. The stream is wanted from now on.
    /// Must not be called under a lock; it does not wait.
    pub fn whep(
        &self,
        offer_sdp: &str,
        stream: &StreamId,
        opts: ViewerOptions,
    ) -> Result<(LegId, String), WebRtcError> {
        self.refused(self.start_viewer(offer_sdp, stream, opts))
    }

    fn start_viewer(
        &self,
        offer_sdp: &str,
        stream: &StreamId,
        opts: ViewerOptions,
    ) -> Result<(LegId, String), WebRtcError> {
        let inner = &self.0;
        self.admit(false)?;
        let offer = Offer::parse(offer_sdp)?;
        let ssrcs = [rand::random::<u32>() | 1, rand::random::<u32>() & !1, rand::random::<u32>()];
        let plan = plan(&offer, opts.audio, ssrcs)?;
        let shard = inner
            .shards
            .get(inner.next_shard.fetch_add(1, Relaxed) % inner.shards.len().max(1))
            .ok_or(WebRtcError::Down)?;
        // The shared notify of the worker: one wake for all of its streams.
        let options = SubscribeOptions { start: Start::NextKey, demand: true, notify: Some(shard.notify.clone()) };
        let demand = inner.env.hub.subscribe(stream, options)?;
        if *demand.stream().demand().borrow() > inner.config.limits.viewers_per_stream {
            return Err(WebRtcError::TooMany(inner.config.limits.viewers_per_stream));
        }
        let id = LegId::random();
        let shared = Arc::new(LegShared::new(id, LegKind::Viewer, stream.clone()));
        let creds = IceCreds::new();
        let cname = format!("skybridge-{:08x}", rand::random::<u32>());
        let answer = answer(
            &offer,
            &plan,
            &Ours {
                ufrag: &creds.ufrag,
                pwd: &creds.pass,
                fingerprint: &inner.fingerprint,
                candidates: &inner.candidates,
                session: rand::random::<u64>() >> 2,
                cname: &cname,
            },
        );
        let route = Route::Shard(id, shard.commands.clone());
        let ufrag = creds.ufrag.clone();
        let remote = IceCreds { ufrag: offer.ufrag, pass: offer.pwd };
        let transport = Transport::new(
            creds,
            remote,
            &inner.env.sockets.locals,
            offer.fingerprint,
            inner.dtls.clone(),
            inner.certificate.clone(),
            Instant::now(),
        );
        let start = ViewerStart {
            shared: shared.clone(),
            transport,
            plan,
            demand,
            ufrag: ufrag.clone(),
            cname,
            route: route.clone(),
        };
        shard.commands.try_send(Command::Add(Box::new(start))).map_err(|_| WebRtcError::Down)?;
        inner.env.viewers.fetch_add(1, Relaxed);
        inner.env.router.add_ufrag(&ufrag, route);
        inner.legs.insert(id, Entry { shared, control: Control::Shard(shard.commands.clone()) });
        Ok((id, answer))
    }

    /// The offer of one who sends camera and microphone: published as `publish_as`, shown as `name`; `listen_to` is the mix
    /// that it hears (Opus). Microphone and camera are `TrackId::AUDIO` and `TrackId::VIDEO` of one stream.
    pub fn whip(
        &self,
        offer_sdp: &str,
        publish_as: &StreamId,
        name: &str,
        listen_to: Option<StreamId>,
    ) -> Result<(LegId, String), WebRtcError> {
        self.refused(self.start_two_way(offer_sdp, publish_as, name, listen_to))
    }

    fn start_two_way(
        &self,
        offer_sdp: &str,
        publish_as: &StreamId,
        name: &str,
        listen_to: Option<StreamId>,
    ) -> Result<(LegId, String), WebRtcError> {
        let inner = &self.0;
        self.admit(true)?;
        // Our own bounded reader stands in front of str0m's.
        let offer = Offer::parse(offer_sdp)?;
        if !offer.sections.iter().any(|s| matches!(s.direction.as_str(), "sendrecv" | "sendonly") && !s.refused) {
            return Err(WebRtcError::Offer("the offer sends nothing".to_owned()));
        }
        let id = LegId::random();
        let shared = Arc::new(LegShared::new(id, LegKind::TwoWay, publish_as.clone()));
        let publisher = inner.env.hub.publish(publish_as, name)?;
        let (packets, packets_rx) = mpsc::channel(crate::twoway::QUEUE);
        let (orders, orders_rx) = mpsc::channel(64);
        let (session, answer) = Session::answer(
            offer_sdp,
            inner.env.clone(),
            shared.clone(),
            publisher,
            &inner.candidates,
            &inner.certificate,
            packets,
        )?;
        inner.env.two_way.fetch_add(1, Relaxed);
        inner.env.router.add_ufrag(session.ufrag(), session.route());
        inner.legs.insert(id, Entry { shared, control: Control::Session(orders) });
        inner.runtime.spawn(session.run(packets_rx, orders_rx, listen_to));
        Ok((id, answer))
    }

    /// Lets a two-way leg hear another stream from now on. False if there is no such leg.
    pub fn set_listen(&self, leg: LegId, stream: StreamId) -> bool {
        let control = self.0.legs.get(&leg).filter(|e| e.shared.state() != LegState::Closed).map(|e| e.control.clone());
        match control {
            Some(Control::Session(tx)) => {
                send_surely(&self.0.runtime, tx, Order::Listen(stream));
                true
            }
            _ => false,
        }
    }

    /// Ends a leg: DELETE, rights withdrawn, conference over. False if it is gone already.
    pub fn close(&self, leg: LegId) -> bool {
        let Some(control) =
            self.0.legs.get(&leg).filter(|e| e.shared.state() != LegState::Closed).map(|e| e.control.clone())
        else {
            return false;
        };
        match control {
            Control::Shard(tx) => send_surely(&self.0.runtime, tx, Command::Close(leg, CloseReason::Hall)),
            Control::Session(tx) => send_surely(&self.0.runtime, tx, Order::Close(CloseReason::Hall)),
        }
        true
    }

    /// What is known of a leg; closed ones for a minute.
    pub fn leg(&self, leg: LegId) -> Option<LegStatus> {
        self.0.legs.get(&leg).map(|e| e.shared.status())
    }

    /// All legs that are not closed.
    pub fn legs(&self) -> Vec<LegStatus> {
        self.0.legs.iter().map(|e| e.shared.status()).filter(|s| s.state != LegState::Closed).collect()
    }

    /// Changes of legs from now on. Who lags loses the oldest.
    pub fn events(&self) -> broadcast::Receiver<LegEvent> {
        self.0.env.events.subscribe()
    }

    /// Counters for metrics.
    pub fn stats(&self) -> Stats {
        let mut stats = self.0.env.counters.snapshot();
        stats.viewers = self.0.env.viewers.load(Relaxed) as u64;
        stats.two_way = self.0.env.two_way.load(Relaxed) as u64;
        stats
    }
}

/// An order must not be lost because a queue is full of datagrams.
fn send_surely<T: Send + 'static>(runtime: &tokio::runtime::Handle, tx: mpsc::Sender<T>, order: T) {
    if let Err(mpsc::error::TrySendError::Full(order)) = tx.try_send(order) {
        runtime.spawn(async move {
            let _ = tx.send(order).await;
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for shard in &self.shards {
            // A worker with a full queue drains it: the order is tried again for a second.
            for _ in 0..500 {
                match shard.commands.try_send(Command::Stop) {
                    Err(mpsc::error::TrySendError::Full(_)) => std::thread::sleep(Duration::from_millis(2)),
                    _ => break,
                }
            }
        }
        for entry in &self.legs {
            if let Control::Session(tx) = &entry.control {
                let _ = tx.try_send(Order::Close(CloseReason::Shutdown));
            }
        }
        for shard in &mut self.shards {
            if let Some(t) = shard.thread.take() {
                let _ = t.join();
            }
        }
        // Joined by its own drop.
        let _ = self.receiver.lock().unwrap_or_else(|p| p.into_inner()).take();
    }
}

fn start_shard(index: usize, env: &Arc<Env>) -> Result<ShardHandle, WebRtcError> {
    let (commands, rx) = mpsc::channel(QUEUE);
    let notify = Arc::new(Notify::new());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|e| WebRtcError::Start(e.to_string()))?;
    let (env, n) = (env.clone(), notify.clone());
    let thread = std::thread::Builder::new()
        .name(format!("webrtc-send-{index}"))
        .spawn(move || runtime.block_on(Shard::new(env, rx, n).run()))
        .map_err(|e| WebRtcError::Start(e.to_string()))?;
    Ok(ShardHandle { commands, notify, thread: Some(thread) })
}

fn socket(at: SocketAddr, buffer: usize) -> std::io::Result<UdpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The kernel may grant less.
    let _ = socket.set_recv_buffer_size(buffer);
    let _ = socket.set_send_buffer_size(buffer);
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    Ok(socket.into())
}

/// What is told to browsers for the bound sockets.
fn candidates(bound: &[SocketAddr], announced: &[IpAddr]) -> Vec<SocketAddr> {
    let mut out: Vec<SocketAddr> = Vec::new();
    for b in bound {
        let ips: Vec<IpAddr> = match (announced.is_empty(), b.ip().is_unspecified()) {
            (false, _) => announced.to_vec(),
            (true, true) => interfaces::addresses(),
            (true, false) => vec![b.ip()],
        };
        for ip in ips.into_iter().filter(|ip| ip.is_ipv4() == b.is_ipv4()) {
            let c = SocketAddr::new(ip, b.port());
            if !out.contains(&c) && out.len() < 32 {
                out.push(c);
            }
        }
    }
    out
}

/// The host candidate that stands for a socket inside the ICE machines.
fn local_for(bound: &SocketAddr, candidates: &[SocketAddr]) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return *bound;
    }
    let same = candidates.iter().find(|c| c.is_ipv4() == bound.is_ipv4() && c.port() == bound.port());
    same.copied().unwrap_or_else(|| {
        let ip: IpAddr = if bound.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        SocketAddr::new(ip, bound.port())
    })
}
