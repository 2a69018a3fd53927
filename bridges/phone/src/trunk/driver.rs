//! The task of one trunk: finds its servers, registers, asks them by OPTIONS, and says how the trunk stands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{Text, Timestamp, TrunkError, TrunkState};
use sip::{Method, NameAddr, Request, Response, SipError, Transport, Uri};
use tokio::task::JoinSet;

use super::config::{Wire, host_port};
use super::registration::{Health, Outcome, Registration};
use super::{Server, Trunk};
use crate::phone::Shared;

/// Names are asked for again after a failure.
const LOCATE_AGAIN: Duration = Duration::from_secs(15);
/// A name server that does not answer must not hold the task.
const LOCATE_PATIENCE: Duration = Duration::from_secs(20);
/// OPTIONS to a server that missed one.
const DOUBT: Duration = Duration::from_secs(5);
/// The good-bye at shutdown.
const FAREWELL: Duration = Duration::from_millis(1500);
/// Servers of a trunk, of all its names.
const MOST_SERVERS: usize = 32;
/// CSeq numbers between two REGISTERs: challenges use up to two in between.
const CSEQ_STEP: u32 = 4;

/// What a piece of work came to.
enum Done {
    Located(Vec<(String, Result<sip::Located, SipError>)>),
    Registered(SocketAddr, Result<Response, SipError>),
    Asked(SocketAddr, Result<Response, SipError>, Duration),
}

/// The Route value of an outbound proxy.
pub(super) fn route_uri(server: &Server) -> Uri {
    let uri = Uri::sip("", &server.address.ip().to_string(), Some(server.address.port())).with_param("lr", None);
    match server.transport.uri_param() {
        Some(transport) => uri.with_param("transport", Some(transport)),
        None => uri,
    }
}

/// Works for one trunk until the gateway stops.
pub(crate) async fn run(shared: Arc<Shared>, trunk: Arc<Trunk>) {
    Driver::new(shared, trunk).run().await;
}

struct Driver {
    shared: Arc<Shared>,
    trunk: Arc<Trunk>,
    work: JoinSet<Done>,
    locating: bool,
    locate_at: Instant,
    registration: Option<Registration>,
    /// Of our REGISTERs: one for the life of the trunk (RFC 3261 10.2.4).
    call_id: String,
    from_tag: String,
    cseq: u32,
    /// When each server is asked next; those that are being asked are not in it.
    ask_at: Vec<(SocketAddr, Instant)>,
    why: Option<Text>,
}

impl Driver {
    fn new(shared: Arc<Shared>, trunk: Arc<Trunk>) -> Driver {
        let now = Instant::now();
        let registration = trunk.config.register.then(|| Registration::new(now, trunk.config.expires));
        let token = || format!("{:016x}", rand::random::<u64>());
        Driver {
            shared,
            trunk,
            work: JoinSet::new(),
            locating: false,
            locate_at: now,
            registration,
            call_id: token(),
            from_tag: token(),
            cseq: rand::random::<u32>() >> 16,
            ask_at: Vec::new(),
            why: None,
        }
    }

    async fn run(mut self) {
        let shutdown = self.shared.ctx.shutdown.clone();
        let trunk = self.trunk.clone();
        loop {
            self.start_due(Instant::now());
            self.judge();
            let next = self.next_timeout().min(Instant::now() + Duration::from_secs(60));
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(done) = self.work.join_next(), if !self.work.is_empty() => {
                    if let Ok(done) = done {
                        self.on_done(done, Instant::now());
                    }
                }
                () = trunk.nudge.notified() => {
                    let now = Instant::now();
                    self.ask_at.iter_mut().for_each(|(_, at)| *at = (*at).min(now));
                }
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
        self.unregister().await;
    }

    fn next_timeout(&self) -> Instant {
        let registration =
            self.registration.as_ref().filter(|_| self.servers() > 0).and_then(Registration::next_timeout);
        let asks = self.ask_at.iter().map(|(_, at)| *at);
        let locate = (!self.locating).then_some(self.locate_at);
        let far = Instant::now() + Duration::from_secs(60);
        registration
            .into_iter()
            .chain(asks)
            .chain(locate)
            .min()
            .unwrap_or(far)
            .max(Instant::now() + Duration::from_millis(20))
    }

    fn servers(&self) -> usize {
        self.trunk.lock().servers.len()
    }

    fn start_due(&mut self, now: Instant) {
        if !self.locating && now >= self.locate_at {
            self.locating = true;
            let (sip, trunk) = (self.shared.ctx.sip.clone(), self.trunk.clone());
            self.work.spawn(async move { Done::Located(locate(&sip, &trunk).await) });
        }
        let count = self.servers();
        if let Some(send) = self.registration.as_mut().and_then(|r| r.tick(now, count)) {
            self.register(send.server, send.expires);
        }
        let due: Vec<SocketAddr> = self.ask_at.iter().filter(|(_, at)| now >= *at).map(|(a, _)| *a).collect();
        self.ask_at.retain(|(address, _)| !due.contains(address));
        for address in due {
            self.ask(address);
        }
    }

    fn server(&self, find: impl Fn(usize, &Server) -> bool) -> Option<Server> {
        self.trunk.lock().servers.iter().enumerate().find(|(at, s)| find(*at, s)).map(|(_, s)| s.clone())
    }

    /// A request to a server, with the URI of the domain and our own as From and To.
    fn request(&self, method: Method, server: &Server, user: &str) -> Request {
        let domain = self.trunk.domain();
        if server.transport == Transport::Tls {
            self.shared.ctx.sip.expect_tls_name(server.address, &server.host);
        }
        let mut request = Request::new(method, Uri::sip("", &domain, None));
        let own = NameAddr::new(Uri::sip(user, &domain, None));
        request.headers.set("From", own.clone().with_tag(&self.from_tag).to_string());
        request.headers.set("To", own.to_string());
        if !self.trunk.config.outbound_proxy.is_empty() {
            request.headers.set("Route", format!("<{}>", route_uri(server)));
        }
        request
    }

    fn register_request(&mut self, server: &Server, expires: u32) -> Request {
        let user = self.trunk.config.user.clone();
        let mut request = self.request(Method::Register, server, &user);
        self.cseq = self.cseq.wrapping_add(CSEQ_STEP) & 0x7FFF_FFFF;
        request.headers.set("Call-ID", &self.call_id);
        request.headers.set("CSeq", format!("{} REGISTER", self.cseq));
        let contact = self.shared.ctx.sip.local_contact(&server.target(), &user);
        request.headers.set("Contact", NameAddr::new(contact).to_string());
        request.headers.set("Expires", expires.to_string());
        request
    }

    fn register(&mut self, at: usize, expires: u32) {
        let Some(server) = self.server(|n, _| n == at) else { return };
        let request = self.register_request(&server, expires);
        let (sip, trunk) = (self.shared.ctx.sip.clone(), self.trunk.clone());
        self.work.spawn(async move { Done::Registered(server.address, send(&sip, &trunk, &server, request).await) });
    }

    fn ask(&mut self, address: SocketAddr) {
        let Some(server) = self.server(|_, s| s.address == address) else { return };
        let own = self.trunk.config.user.clone();
        let request = self.request(Method::Options, &server, if own.is_empty() { "skybridge" } else { &own });
        let patience = Duration::from_secs(u64::from(self.trunk.config.invite_timeout));
        let sip = self.shared.ctx.sip.clone();
        self.work.spawn(async move {
            let began = Instant::now();
            let answer = tokio::time::timeout(patience, sip.request(server.target(), request)).await;
            Done::Asked(address, answer.unwrap_or(Err(SipError::Timeout)), began.elapsed())
        });
    }

    fn on_done(&mut self, done: Done, now: Instant) {
        match done {
            Done::Located(found) => self.located(found, now),
            Done::Registered(address, result) => self.registered(address, result, now),
            Done::Asked(address, result, took) => self.asked(address, result, took, now),
        }
    }

    fn located(&mut self, found: Vec<(String, Result<sip::Located, SipError>)>, now: Instant) {
        self.locating = false;
        let mut again: Option<Duration> = None;
        let mut servers: Vec<Server> = Vec::new();
        let mut state = self.trunk.lock();
        for (host, located) in found {
            match located {
                Ok(located) => {
                    again = Some(again.map_or(located.valid_for, |a| a.min(located.valid_for)));
                    for (transport, address) in located.servers {
                        let known = state.servers.iter().find(|s| s.address == address && s.transport == transport);
                        let fresh =
                            Server { transport, address, host: host.clone(), health: Health::default(), avoided: None };
                        let server = known.cloned().unwrap_or(fresh);
                        if !servers.iter().any(|s| s.address == address) && servers.len() < MOST_SERVERS {
                            servers.push(server);
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(trunk = self.trunk.config.name, host, %error, "a trunk's server is not found by its name");
                    again = Some(LOCATE_AGAIN);
                    state.last_error = Some(TrunkError {
                        at: Timestamp::now(),
                        zh: format!("域名 {host} 解析失败"),
                        en: format!("the name {host} is not found: {error}"),
                    });
                    // What was known stays good: the calls that stand must not suffer from a name server.
                    servers.extend(state.servers.iter().filter(|s| s.host == host).cloned());
                }
            }
        }
        self.locate_at = now + again.unwrap_or(LOCATE_AGAIN);
        let changed = servers.iter().map(|s| s.address).ne(state.servers.iter().map(|s| s.address));
        if servers.is_empty() {
            self.why = Some(Text::new("服务器域名解析失败", "no server is found by its name"));
        }
        state.servers = servers;
        let addresses: Vec<SocketAddr> = state.servers.iter().map(|s| s.address).collect();
        drop(state);
        // A wrong number that a carrier lets through must not shut the carrier out.
        let owner = format!("trunk:{}", self.trunk.config.name);
        self.shared.ctx.sip.guard().trust(&owner, addresses.iter().map(SocketAddr::ip));
        if self.trunk.config.options_interval > 0 {
            let new: Vec<SocketAddr> =
                addresses.iter().filter(|a| !self.ask_at.iter().any(|(known, _)| known == *a)).copied().collect();
            self.ask_at.retain(|(a, _)| addresses.contains(a));
            if changed {
                self.ask_at.extend(new.into_iter().map(|a| (a, now)));
            }
        }
        if let Some(registration) = self.registration.as_mut().filter(|_| changed) {
            registration.hurry(now);
        }
    }

    fn registered(&mut self, address: SocketAddr, result: Result<Response, SipError>, now: Instant) {
        let outcome = match &result {
            Ok(r) if r.is_success() => {
                Outcome::Registered(granted(r, &self.trunk.config.user, self.trunk.config.expires))
            }
            Ok(r) if r.code == 423 => {
                let min = r.headers.get("Min-Expires").and_then(|v| v.trim().parse().ok());
                min.map_or(Outcome::Failed, Outcome::TooBrief)
            }
            Ok(r) if matches!(r.code, 401 | 403 | 404 | 407) => Outcome::Denied(r.code),
            _ => Outcome::Failed,
        };
        let name = &self.trunk.config.name;
        let text = match &result {
            Ok(r) => format!("{} {}", r.code, r.reason),
            Err(error) => error.to_string(),
        };
        match &outcome {
            Outcome::Registered(seconds) => {
                tracing::debug!(trunk = name, %address, seconds, "registered");
                self.why = None;
                self.trunk.lock().registrar = Some(address);
            }
            Outcome::TooBrief(_) => {}
            Outcome::Denied(_) | Outcome::Failed => {
                tracing::warn!(trunk = name, %address, answer = text, "a trunk is not registered");
                let denied = matches!(outcome, Outcome::Denied(_));
                let (zh, en) = if denied {
                    (
                        format!("注册被拒绝（{text}），请核对账号和密码"),
                        format!("registration refused ({text}): check user and password"),
                    )
                } else {
                    (format!("注册失败（{text}）"), format!("registration failed ({text})"))
                };
                self.trunk.lock().last_error =
                    Some(TrunkError { at: Timestamp::now(), zh: zh.clone(), en: en.clone() });
                self.why = Some(Text::new(zh, en));
            }
        }
        let count = self.servers();
        if let Some(registration) = &mut self.registration {
            registration.answered(now, &outcome, count, rand::random::<f64>());
        }
        if let Some(m) = &self.shared.metrics {
            let word = match outcome {
                Outcome::Registered(_) => "ok",
                Outcome::TooBrief(_) => "too_brief",
                Outcome::Denied(_) => "denied",
                Outcome::Failed => "failed",
            };
            m.trunk_registers.with_label_values(&[name.as_str(), word]).inc();
        }
    }

    fn asked(&mut self, address: SocketAddr, result: Result<Response, SipError>, took: Duration, now: Instant) {
        // 200 to 499: somebody is there, whatever he thinks of OPTIONS.
        let alive = result.as_ref().is_ok_and(|r| (200..500).contains(&r.code) && r.code != 408);
        let most = self.trunk.config.options_misses;
        let mut next = Duration::from_secs(u64::from(self.trunk.config.options_interval.max(5)));
        let mut back = false;
        {
            let mut state = self.trunk.lock();
            let Some(server) = state.servers.iter_mut().find(|s| s.address == address) else { return };
            if alive {
                back = server.health.up == Some(false);
                server.health.answered(took);
                server.avoided = None;
            } else {
                let down = server.health.missed(most);
                if server.health.in_doubt() {
                    next = next.min(DOUBT);
                }
                if down {
                    let answer = match &result {
                        Ok(r) => format!("{} {}", r.code, r.reason),
                        Err(error) => error.to_string(),
                    };
                    tracing::warn!(trunk = self.trunk.config.name, %address, answer, "a trunk's server does not answer");
                    state.last_error = Some(TrunkError {
                        at: Timestamp::now(),
                        zh: format!("服务器 {address} 无应答"),
                        en: format!("server {address} does not answer: {answer}"),
                    });
                }
            }
        }
        if let Some(registration) = self.registration.as_mut().filter(|_| back) {
            registration.hurry(now);
        }
        if self.ask_at.iter().any(|(a, _)| *a == address) {
            return;
        }
        // Not all servers in the same instant.
        self.ask_at.push((address, now + next.mul_f64(0.9 + 0.2 * rand::random::<f64>())));
    }

    /// Says how the trunk stands, when that has changed.
    fn judge(&mut self) {
        let now = Instant::now();
        let registered = self.registration.as_ref().is_some_and(|r| r.is_registered(now));
        let trunk = &self.trunk;
        let mut state = trunk.lock();
        let answers = trunk.config.options_interval > 0;
        let all_down = !state.servers.is_empty() && state.servers.iter().all(|s| s.health.up == Some(false));
        let some_up = state.servers.iter().any(|s| s.health.up == Some(true));
        let connecting = state.state == TrunkState::Connecting;
        let down = |zh: &str, en: &str| (TrunkState::Down, Text::new(zh, en));
        let (now_state, words) = match (trunk.config.register, registered) {
            _ if all_down => down("所有服务器无应答", "no server answers"),
            (true, true) => (TrunkState::Up, Text::new("已注册", "registered")),
            (true, false) => match &self.why {
                Some(why) => (TrunkState::Down, why.clone()),
                None => (TrunkState::Connecting, Text::new("正在注册", "registering")),
            },
            (false, _) if state.servers.is_empty() => match &self.why {
                Some(why) => (TrunkState::Down, why.clone()),
                None => (TrunkState::Connecting, Text::new("正在连接", "connecting")),
            },
            (false, _) if some_up || !answers => (TrunkState::Up, Text::new("正常", "working")),
            (false, _) if connecting => (TrunkState::Connecting, Text::new("正在连接", "connecting")),
            (false, _) => (state.state, state.words.clone()),
        };
        state.registered = registered;
        if state.state != now_state || state.words != words {
            if state.state != now_state {
                state.since = Timestamp::now();
                tracing::info!(trunk = trunk.config.name, state = ?now_state, words = %words.en, "a trunk changed its state");
            }
            (state.state, state.words) = (now_state, words);
        }
    }

    async fn unregister(mut self) {
        let bound = self.registration.as_ref().filter(|r| r.is_registered(Instant::now())).map(Registration::server);
        let Some(server) = bound.and_then(|at| self.server(|n, _| n == at)) else { return };
        let request = self.register_request(&server, 0);
        let _ = tokio::time::timeout(FAREWELL, send(&self.shared.ctx.sip, &self.trunk, &server, request)).await;
    }
}

async fn send(sip: &sip::Sip, trunk: &Trunk, server: &Server, request: Request) -> Result<Response, SipError> {
    match trunk.credentials() {
        Some(credentials) => sip.request_as(server.target(), request, credentials).await,
        None => sip.request(server.target(), request).await,
    }
}

/// Where the trunk's hosts are, in their order.
async fn locate(sip: &sip::Sip, trunk: &Trunk) -> Vec<(String, Result<sip::Located, SipError>)> {
    let config = &trunk.config;
    let transport = match config.transport {
        Wire::Auto => None,
        Wire::Udp => Some(Transport::Udp),
        Wire::Tcp => Some(Transport::Tcp),
        Wire::Tls => Some(Transport::Tls),
    };
    let proxy = Some(&config.outbound_proxy).filter(|p| !p.is_empty());
    let mut found = Vec::new();
    for text in proxy.into_iter().chain(config.servers.iter().filter(|_| proxy.is_none())) {
        let Some((host, port)) = host_port(text) else { continue };
        let located = tokio::time::timeout(LOCATE_PATIENCE, sip.locate(&host, port, transport)).await;
        found.push((host, located.unwrap_or(Err(SipError::Timeout))));
    }
    found
}

/// The seconds that the registrar granted to our contact; what it does not say is what we asked for.
fn granted(response: &Response, user: &str, asked: u32) -> u32 {
    let contacts = response.headers.get_all("Contact").filter_map(|v| v.parse::<NameAddr>().ok());
    let own = contacts
        .filter(|c| c.uri.user() == user)
        .filter_map(|c| c.param("expires").and_then(|e| e.parse::<u32>().ok()));
    let header = response.headers.get("Expires").and_then(|v| v.trim().parse().ok());
    own.max().or(header).unwrap_or(asked).max(1)
}
