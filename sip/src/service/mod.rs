//! The tokio driver: listeners, connections, and the one task that owns the [`crate::Endpoint`].

mod core;
mod dns;
mod handle;
mod net;
mod tap;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use dashmap::DashMap;
use tokio::{net::TcpListener, net::UdpSocket, sync::mpsc};
use tokio_util::sync::CancellationToken;

pub use dns::Located;
pub use handle::{Call, CallHandle, Incoming, Pipe, PipeIn, Sip};
pub use tap::{Tap, Tapped};

use crate::{
    endpoint::{Endpoint, EndpointConfig},
    error::SipError,
    flow::{Flow, FlowId, LinkProfile, Transport},
    guard::{Guard, GuardConfig},
    limits::Limits,
    message::Request,
    stats::Stats,
};

/// Requests that wait for whoever claimed them: half a second of 2,000 a second.
const CLAIMED: usize = 1024;
/// Inputs or orders taken at once.
const BURST: usize = 64;

/// What the SIP service listens on and how it behaves.
#[derive(Clone, Default)]
pub struct ServiceConfig {
    /// UDP sockets, e.g. `0.0.0.0:5060` and `[::]:5060` (IPv6 sockets take IPv6 only).
    pub udp: Vec<SocketAddr>,
    /// TCP listeners.
    pub tcp: Vec<SocketAddr>,
    /// TLS listeners with their certificate.
    pub tls: Option<(Vec<SocketAddr>, Arc<rustls::ServerConfig>)>,
    /// The IP in Via and Contact; else the local address of the flow (for wildcard binds the one the kernel would use
    /// towards that peer).
    pub advertised: Option<IpAddr>,
    pub limits: Limits,
    /// User-Agent and Server; "" for none.
    pub user_agent: String,
    /// Requests over UDP above the MTU of their link go over TCP where the peer takes it (RFC 3261 section 18.1.1): an
    /// address that refuses, or does not answer within 4*T1, gets them by UDP, for the next 10 min too.
    pub large_over_tcp: bool,
    /// Who is shut out for a time.
    pub guard: GuardConfig,
    /// The name servers that are asked where servers are; empty: those of the system.
    pub name_servers: Vec<SocketAddr>,
}

pub(crate) type Claim = (String, Box<dyn Fn(&Request, &Flow) -> bool + Send + Sync>, mpsc::Sender<Incoming>);
pub(crate) type Profiles = Arc<dyn Fn(Transport, SocketAddr) -> LinkProfile + Send + Sync>;
pub(crate) type AccountProfile = Arc<dyn Fn(&str) -> Option<LinkProfile> + Send + Sync>;

/// The sockets and who claims what, before [`Service::run`].
pub struct Service {
    config: ServiceConfig,
    udp: Vec<Arc<UdpSocket>>,
    tcp: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    tls_client: Option<Arc<rustls::ClientConfig>>,
    claims: Vec<Claim>,
    profiles: Profiles,
    account_profile: AccountProfile,
    shared: Arc<Shared>,
    orders: mpsc::Receiver<handle::Order>,
    endpoint: Endpoint,
}

/// What handles and the service share.
pub(crate) struct Shared {
    pub orders: mpsc::Sender<handle::Order>,
    pub flows: DashMap<FlowId, Flow>,
    pub stats: Arc<Stats>,
    pub listening: Listening,
    pub taps: Arc<tap::Taps>,
    pub guard: Arc<Guard>,
    /// Which account was at an address before a restart: its link profile counts from the first message to it.
    pub remembered: DashMap<SocketAddr, String>,
    /// The host names that TLS peers must prove, by address.
    pub tls_names: DashMap<SocketAddr, String>,
    name_servers: Vec<SocketAddr>,
    dns: std::sync::OnceLock<Result<dns::Dns, SipError>>,
    next_flow: AtomicU64,
}

impl Shared {
    /// The resolver, made when the first name is asked for.
    pub fn dns(&self) -> Result<&dns::Dns, SipError> {
        self.dns.get_or_init(|| dns::Dns::new(&self.name_servers)).as_ref().map_err(Clone::clone)
    }

    pub fn flow_id(&self) -> FlowId {
        FlowId(self.next_flow.fetch_add(1, Relaxed) + 1)
    }
}

/// Where we can be reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listening {
    pub udp: Vec<SocketAddr>,
    pub tcp: Vec<SocketAddr>,
    pub tls: Vec<SocketAddr>,
    pub advertised: Option<IpAddr>,
}

impl Listening {
    /// The address of ours that this peer should be told, and the index of the socket or listener it belongs to.
    pub fn towards(&self, transport: Transport, peer: SocketAddr) -> (SocketAddr, Option<usize>) {
        let list = match transport {
            Transport::Udp => &self.udp,
            Transport::Tcp | Transport::Ws | Transport::Wss => &self.tcp,
            Transport::Tls => &self.tls,
        };
        let kernel = net::kernel_address(peer);
        let family = || list.iter().enumerate().filter(|(_, a)| a.is_ipv4() == peer.is_ipv4());
        let exact = family().find(|(_, a)| Some(a.ip()) == kernel);
        let wild = family().find(|(_, a)| a.ip().is_unspecified());
        match exact.or(wild).or_else(|| family().next()) {
            Some((i, a)) => {
                let ip = if a.ip().is_unspecified() { kernel.unwrap_or(a.ip()) } else { a.ip() };
                (SocketAddr::new(ip, a.port()), Some(i))
            }
            None => (SocketAddr::new(kernel.unwrap_or(peer.ip()), 0), None),
        }
    }
}

impl Service {
    /// Opens all sockets. Errors: the operating system's, with the address.
    pub async fn bind(config: ServiceConfig) -> Result<(Service, Sip), SipError> {
        let mut udp = Vec::new();
        for addr in &config.udp {
            udp.push(Arc::new(net::udp(*addr).map_err(|e| SipError::Io(format!("UDP {addr}: {e}")))?));
        }
        let mut tcp = Vec::new();
        for addr in &config.tcp {
            tcp.push(net::tcp(*addr).map_err(|e| SipError::Io(format!("TCP {addr}: {e}")))?);
        }
        let mut tls = Vec::new();
        for addr in config.tls.iter().flat_map(|t| &t.0) {
            tls.push(net::tcp(*addr).map_err(|e| SipError::Io(format!("TLS {addr}: {e}")))?);
        }
        let bound = |l: &[TcpListener]| l.iter().filter_map(|l| l.local_addr().ok()).collect();
        let listening = Listening {
            udp: udp.iter().filter_map(|s| s.local_addr().ok()).collect(),
            tcp: bound(&tcp),
            tls: bound(&tls),
            advertised: config.advertised,
        };
        let endpoint = Endpoint::new(
            EndpointConfig {
                limits: config.limits.clone(),
                user_agent: config.user_agent.clone(),
                advertised: config.advertised,
                large_over_tcp: config.large_over_tcp,
                ..EndpointConfig::default()
            },
            rand::random(),
        );
        let (order_tx, orders) = mpsc::channel(16_384);
        let shared = Arc::new(Shared {
            orders: order_tx,
            flows: DashMap::new(),
            stats: endpoint.stats(),
            listening,
            taps: Arc::default(),
            remembered: DashMap::new(),
            guard: Arc::new(Guard::new(config.guard.clone())),
            tls_names: DashMap::new(),
            name_servers: config.name_servers.clone(),
            dns: std::sync::OnceLock::new(),
            next_flow: AtomicU64::new(0),
        });
        let sip = Sip { shared: shared.clone() };
        let profiles: Profiles = Arc::new(|_, _| LinkProfile::LAN);
        let service = Service {
            config,
            udp,
            tcp,
            tls,
            tls_client: None,
            claims: Vec::new(),
            profiles,
            account_profile: Arc::new(|_| None),
            shared,
            orders,
            endpoint,
        };
        Ok((service, sip))
    }

    /// Claims requests outside of calls, and INVITEs. Claims are asked in the order of registration, each request goes
    /// to the first that says yes. A full queue (1,024: half a second of 2,000 a second) is answered 503. What nobody claims: OPTIONS 200, REGISTER 403,
    /// NOTIFY 481, unknown methods 501, PUBLISH and REFER 405, all else 404.
    pub fn claim(
        &mut self,
        name: &str,
        f: impl Fn(&Request, &Flow) -> bool + Send + Sync + 'static,
    ) -> mpsc::Receiver<Incoming> {
        let (tx, rx) = mpsc::channel(CLAIMED);
        self.claims.push((name.to_owned(), Box::new(f), tx));
        rx
    }

    /// Chooses the link profile of each new flow (a satellite network for instance). Default [`LinkProfile::LAN`].
    pub fn profiles(&mut self, f: impl Fn(Transport, SocketAddr) -> LinkProfile + Send + Sync + 'static) {
        self.profiles = Arc::new(f);
    }

    /// Chooses the link profile by the user part of From: a flow takes it over with the first request of such an account,
    /// for what is sent by it from then on. Default none.
    pub fn account_profiles(&mut self, f: impl Fn(&str) -> Option<LinkProfile> + Send + Sync + 'static) {
        self.account_profile = Arc::new(f);
    }

    /// Allows TLS connections of ours, with the roots of this configuration.
    pub fn tls_client(&mut self, config: Arc<rustls::ClientConfig>) {
        self.tls_client = Some(config);
    }

    /// Runs until `shutdown`; then hangs up all calls and gives the peers half a second to answer. When it returns, its
    /// ports are free.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), SipError> {
        let stop = CancellationToken::new();
        let _guard = stop.clone().drop_guard();
        let (input_tx, mut inputs) = mpsc::channel(4_096);
        let hub = net::Hub {
            inputs: input_tx.clone(),
            shared: self.shared.clone(),
            profiles: self.profiles.clone(),
            limits: Arc::new(self.config.limits.clone()),
            stop: stop.clone(),
        };
        let mut listeners = tokio::task::JoinSet::new();
        for (i, socket) in self.udp.iter().enumerate() {
            listeners.spawn(net::read_udp(hub.clone(), i, socket.clone()));
        }
        for listener in self.tcp {
            listeners.spawn(net::accept(hub.clone(), listener, None));
        }
        if let Some((_, server)) = &self.config.tls {
            for listener in self.tls {
                listeners.spawn(net::accept(hub.clone(), listener, Some(server.clone().into())));
            }
        }
        let mut core =
            core::Core::new(self.endpoint, self.udp, self.claims, hub, self.tls_client, self.account_profile);
        let mut orders = self.orders;
        let mut last_words: Option<tokio::time::Instant> = None;
        loop {
            let mut full = false;
            let far = tokio::time::Instant::now() + Duration::from_secs(3600);
            let at = core.next_timeout().map_or(far, tokio::time::Instant::from_std);
            let at = last_words.map_or(at, |end| at.min(end));
            tokio::select! {
                () = shutdown.cancelled(), if last_words.is_none() => {
                    core.shutdown();
                    last_words = Some(tokio::time::Instant::now() + Duration::from_millis(500));
                }
                Some(order) = orders.recv() => {
                    core.order(order);
                    full = (1..BURST).all(|_| orders.try_recv().map(|order| core.order(order)).is_ok());
                }
                Some(input) = inputs.recv() => {
                    core.input(input);
                    full = (1..BURST).all(|_| inputs.try_recv().map(|input| core.input(input)).is_ok());
                }
                () = tokio::time::sleep_until(at) => {}
            }
            core.tick();
            if full {
                // Those who are to serve what came get their turn before more is taken in, and the queue to them stays short.
                tokio::task::yield_now().await;
            }
            if last_words.is_some_and(|end| core.is_quiet() || tokio::time::Instant::now() >= end) {
                break;
            }
        }
        drop(core);
        stop.cancel();
        while listeners.join_next().await.is_some() {}
        Ok(())
    }
}
