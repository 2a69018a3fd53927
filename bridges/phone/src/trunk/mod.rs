//! Trunks: registered or static ways to other telephone networks, the rules of who may use them, and their calls.
//!
//! - `config`: the sections of the configuration. `numbers`: which way a number takes and who may take it.
//! - `registration`: when to register, which server is there (pure). `driver`: the task that does it for one trunk.
//! - `identity`: who calls, in headers.

pub(crate) mod config;
mod driver;
pub(crate) mod identity;
pub(crate) mod numbers;
mod registration;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bridge_core::{CallParty, Text, Timestamp, TrunkError, TrunkServer, TrunkState, TrunkStatus};
use sip::{DigestClient, Request, Target, Transport};
use tokio::sync::Notify;

pub use self::config::{Did, NumberForm, NumberRoute, Rewrite, Shown, Toll, Trunk as TrunkConfig, Wire};
use self::identity::{Incoming, Outgoing, user_of};
use self::numbers::{Permission, Share, Tolls, WayOut, normal, take};
use self::registration::Health;
use crate::faults::Reason;
use crate::phone::Shared;
use crate::reach::{Identity, Reach};
use crate::route::Dialler;

pub(crate) use self::driver::run;

/// A server that let an INVITE run out of time is passed over for so long where no OPTIONS tells better.
const AVOIDED: Duration = Duration::from_secs(30);

/// A server of a trunk as it is known now.
#[derive(Debug, Clone)]
struct Server {
    transport: Transport,
    address: SocketAddr,
    /// The name it was found by.
    host: String,
    health: Health,
    avoided: Option<Instant>,
}

impl Server {
    fn usable(&self, now: Instant) -> bool {
        self.health.up != Some(false) && self.avoided.is_none_or(|until| now >= until)
    }

    fn target(&self) -> Target {
        Target::Address(self.transport, self.address)
    }
}

#[derive(Debug)]
struct State {
    /// In the order of preference.
    servers: Vec<Server>,
    registered: bool,
    /// Where we are registered: used first.
    registrar: Option<SocketAddr>,
    state: TrunkState,
    words: Text,
    since: Timestamp,
    last_error: Option<TrunkError>,
}

/// One trunk.
pub(crate) struct Trunk {
    pub config: TrunkConfig,
    password: Option<String>,
    networks: Vec<sip::Network>,
    state: Mutex<State>,
    calls: Arc<AtomicUsize>,
    calls_in: Arc<AtomicUsize>,
    calls_out: Arc<AtomicUsize>,
    /// Wakes the driver: a call found a server silent.
    nudge: Notify,
}

impl std::fmt::Debug for Trunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Trunk").field(&self.config.name).finish()
    }
}

/// A call on a trunk; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Line {
    pub trunk: Arc<Trunk>,
    _shares: Vec<Share>,
}

/// A way of a call out: the trunk, its server, and the rules under which it goes.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    pub trunk: Arc<Trunk>,
    pub server: SocketAddr,
    permissions: Vec<Permission>,
}

impl Way {
    /// A place for the call on the trunk and under a rule.
    pub fn line(&self) -> Result<Line, Reason> {
        let ruled = self.permissions.iter().find_map(Permission::take).ok_or(Reason::TrunkFull)?;
        self.trunk.line(&self.trunk.calls_out, self.trunk.config.max_calls_out, Some(ruled)).ok_or(Reason::TrunkFull)
    }

    /// How long to wait for a first answer.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(u64::from(self.trunk.config.invite_timeout))
    }
}

/// Somebody outside who can be called: a number, who dials it, and the ways that are allowed.
#[derive(Debug, Clone)]
pub(crate) struct Outside {
    pub number: String,
    from: Dialler,
    ways: Vec<(Arc<Trunk>, WayOut, Vec<Permission>)>,
}

impl Outside {
    pub fn party(&self) -> CallParty {
        CallParty::new(&self.number, &self.number)
    }

    /// By whose rules a call goes on from there.
    pub fn dialler(&self) -> Dialler {
        Dialler::Trunk(self.ways.first().map(|(t, ..)| t.config.name.clone()).unwrap_or_default())
    }

    /// One chain of ways: each is tried when the one before cannot carry the call. Empty: no trunk can.
    pub fn reaches(&self, shared: &Shared) -> Vec<Reach> {
        let all =
            self.ways.iter().flat_map(|(trunk, way, permissions)| trunk.reaches(shared, &self.from, way, permissions));
        let mut all: Vec<Reach> = all.collect();
        if all.is_empty() {
            return all;
        }
        let rest = all.split_off(1);
        all.iter_mut().for_each(|first| first.fallbacks.clone_from(&rest));
        all
    }
}

/// All trunks and rules.
#[derive(Debug)]
pub(crate) struct Trunks {
    list: Vec<Arc<Trunk>>,
    routes: Vec<NumberRoute>,
    tolls: Tolls,
}

impl Trunks {
    pub fn new(
        trunks: &[TrunkConfig],
        routes: &[NumberRoute],
        tolls: &[Toll],
        groups: &BTreeMap<String, Vec<String>>,
    ) -> Trunks {
        let list = trunks.iter().map(|config| Arc::new(Trunk::new(config.clone()))).collect();
        Trunks { list, routes: routes.to_vec(), tolls: Tolls::new(tolls, groups) }
    }

    pub fn all(&self) -> &[Arc<Trunk>] {
        &self.list
    }

    /// Where an outside number goes when `from` dials it. Without a rule that allows it: nowhere.
    pub fn route(&self, from: &Dialler, dialled: &str) -> Result<Outside, Reason> {
        let number = normal(dialled).ok_or(Reason::UnknownNumber)?;
        let ways = numbers::ways(&self.routes, &number);
        if ways.is_empty() {
            return Err(Reason::UnknownNumber);
        }
        let permissions = self.tolls.permissions(from, &number);
        let allowed: Vec<_> = ways
            .into_iter()
            .filter_map(|way| {
                let of: Vec<Permission> = permissions.iter().filter(|p| p.covers(&way.trunk)).cloned().collect();
                let trunk = self.list.iter().find(|t| t.config.name == way.trunk).filter(|_| !of.is_empty())?;
                Some((trunk.clone(), way, of))
            })
            .collect();
        match allowed.is_empty() {
            true => Err(Reason::TollDenied),
            false => Ok(Outside { number, from: from.clone(), ways: allowed }),
        }
    }

    /// The trunk that an INVITE comes from: by its source and, for one that registers, by the user that was registered, or one
    /// of its numbers.
    pub fn recognise(&self, source: IpAddr, request: &Request) -> Option<Arc<Trunk>> {
        let user = user_of(&request.uri);
        let from_there = self.list.iter().filter(|t| t.is_source(source));
        from_there
            .filter_map(|t| {
                let called = t.config.register && user == t.config.user;
                let mapped = t.did(&user).is_some();
                match t.config.register {
                    true if !called && !mapped => None,
                    // Two trunks with one server: the one that has the number.
                    _ => Some((u8::from(called) * 2 + u8::from(mapped), t)),
                }
            })
            .max_by_key(|(fit, _)| *fit)
            .map(|(_, t)| t.clone())
    }

    /// Whether a number of that trunk leads to `to`: what its callers may reach without a rule.
    pub fn leads(&self, trunk: &str, to: &str) -> bool {
        self.list.iter().any(|t| t.config.name == trunk && t.config.did.iter().any(|d| d.to == to))
    }

    pub fn status(&self) -> Vec<TrunkStatus> {
        self.list.iter().map(|t| t.status()).collect()
    }
}

/// Whether `account` may call the outside number `number` by the rules of this configuration.
pub fn may_dial(config: &crate::Config, account: &str, number: &str) -> bool {
    let trunks = Trunks::new(&config.trunk, &config.route, &config.toll, &config.groups);
    trunks.route(&Dialler::Account(account.to_owned()), number).is_ok()
}

impl Trunk {
    fn new(config: TrunkConfig) -> Trunk {
        let (zh, en) = match config.register {
            true => ("正在注册", "registering"),
            false => ("正在连接", "connecting"),
        };
        let state = State {
            servers: Vec::new(),
            registered: false,
            registrar: None,
            state: TrunkState::Connecting,
            words: Text::new(zh, en),
            since: Timestamp::now(),
            last_error: None,
        };
        Trunk {
            password: Some(config.password.clone()).filter(|p| !p.is_empty()),
            networks: config.networks.iter().filter_map(|n| n.parse().ok()).collect(),
            config,
            state: Mutex::new(state),
            calls: Arc::default(),
            calls_in: Arc::default(),
            calls_out: Arc::default(),
            nudge: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host part of our URIs there.
    fn domain(&self) -> String {
        let first = self.config.servers.first().and_then(|s| config::host_port(s)).map(|(host, _)| host);
        if self.config.domain.is_empty() { first.unwrap_or_default() } else { self.config.domain.clone() }
    }

    fn credentials(&self) -> Option<DigestClient> {
        let user = if self.config.auth_user.is_empty() { &self.config.user } else { &self.config.auth_user };
        self.password.as_ref().map(|p| DigestClient::new(user, p))
    }

    /// True for an address of a server of ours, or of a listed network.
    pub fn is_source(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|n| n.contains(ip))
            || self.lock().servers.iter().any(|s| s.address.ip().to_canonical() == ip)
    }

    fn did(&self, number: &str) -> Option<String> {
        let number = normal(number)?;
        self.config.did.iter().find(|d| d.number == number).map(|d| d.to.clone())
    }

    /// Where a call of the trunk goes: its number by the map; for a trunk that registers the number may stand in To while the
    /// request URI names our contact.
    pub fn leads_to(&self, request: &Request) -> Option<String> {
        let user = user_of(&request.uri);
        self.did(&user).or_else(|| {
            let contact = self.config.register && user == self.config.user;
            let to = request.to().map(|t| user_of(&t.uri)).filter(|_| contact)?;
            self.did(&to)
        })
    }

    /// Who calls by this trunk.
    pub fn caller(&self, request: &Request) -> CallParty {
        let Incoming { number, name } = Incoming::read(request, self.config.trusted);
        match number {
            Some(number) => {
                let number = numbers::rewritten(&self.config.callers_in, &number);
                CallParty::new(&number, name.unwrap_or_else(|| number.clone()))
            }
            None => CallParty::new("anonymous", "匿名 Anonymous"),
        }
    }

    fn line(self: &Arc<Self>, way: &Arc<AtomicUsize>, most: usize, ruled: Option<Share>) -> Option<Line> {
        let shares = [take(&self.calls, self.config.max_calls)?, take(way, most)?];
        Some(Line { trunk: self.clone(), _shares: shares.into_iter().chain(ruled).collect() })
    }

    /// A place for a call that comes in.
    pub fn line_in(self: &Arc<Self>) -> Option<Line> {
        self.line(&self.calls_in, self.config.max_calls_in, None)
    }

    /// Our number there for a caller of ours.
    fn own_number(&self, from: &Dialler) -> String {
        let own = match (self.config.shown, from) {
            (Shown::Account, Dialler::Account(user)) => self.config.account_numbers.get(user),
            _ => None,
        };
        let main = Some(&self.config.main_number).filter(|n| !n.is_empty());
        let fallback = match from {
            Dialler::Account(number) | Dialler::Conference(number) => number.as_str(),
            Dialler::Trunk(_) | Dialler::Guest => "anonymous",
        };
        let user = Some(&self.config.user).filter(|u| self.config.register && !u.is_empty());
        own.or(main).or(user).map_or_else(|| fallback.to_owned(), Clone::clone)
    }

    /// The ways to a number by this trunk: its servers that are there, where we are registered first.
    fn reaches(
        self: &Arc<Self>,
        shared: &Shared,
        from: &Dialler,
        way: &WayOut,
        permissions: &[Permission],
    ) -> Vec<Reach> {
        let now = Instant::now();
        let state = self.lock();
        if self.config.register && !state.registered {
            return Vec::new();
        }
        let mut servers: Vec<Server> = state.servers.iter().filter(|s| s.usable(now)).cloned().collect();
        servers.sort_by_key(|s| Some(s.address) != state.registrar);
        drop(state);
        let number = self.own_number(from);
        servers
            .into_iter()
            .map(|server| {
                let route = (!self.config.outbound_proxy.is_empty()).then(|| driver::route_uri(&server));
                let outgoing = Outgoing {
                    called: way.number.clone(),
                    domain: self.domain(),
                    form: self.config.number_form,
                    contact: if self.config.register { self.config.user.clone() } else { number.clone() },
                    number: number.clone(),
                    trusted: self.config.trusted,
                    route,
                };
                let way = Way { trunk: self.clone(), server: server.address, permissions: permissions.to_vec() };
                if server.transport == Transport::Tls {
                    shared.ctx.sip.expect_tls_name(server.address, &server.host);
                }
                Reach {
                    target: server.target(),
                    uri: outgoing.target(),
                    credentials: self.credentials(),
                    identity: Identity::Trunk(Box::new(outgoing)),
                    route: Vec::new(),
                    way: Some(way),
                    q: 0,
                    fallbacks: Vec::new(),
                }
            })
            .collect()
    }

    /// A call could not be carried by a server: it is passed over until OPTIONS finds it again.
    pub fn failed(&self, server: SocketAddr, zh: &str, en: &str) {
        let mut state = self.lock();
        if let Some(s) = state.servers.iter_mut().find(|s| s.address == server) {
            s.avoided = Some(Instant::now() + AVOIDED);
        }
        state.last_error = Some(TrunkError { at: Timestamp::now(), zh: zh.to_owned(), en: format!("{server}: {en}") });
        drop(state);
        self.nudge.notify_one();
    }

    /// The trunk as people see it.
    pub fn status(&self) -> TrunkStatus {
        let now = Instant::now();
        let state = self.lock();
        let first = state.servers.iter().filter(|s| s.usable(now)).min_by_key(|s| Some(s.address) != state.registrar);
        let ms = |d: Duration| u32::try_from(d.as_millis()).unwrap_or(u32::MAX);
        let wire = |t: Transport| t.as_str().to_ascii_lowercase();
        TrunkStatus {
            name: self.config.name.clone(),
            state: state.state,
            registering: self.config.register,
            registered: state.registered,
            zh: state.words.zh.clone(),
            en: state.words.en.clone(),
            since: state.since,
            server: first.map(|s| format!("{}/{}", s.address, wire(s.transport))),
            rtt_ms: first.and_then(|s| s.health.rtt).map(ms),
            calls_in: self.calls_in.load(Ordering::Relaxed),
            calls_out: self.calls_out.load(Ordering::Relaxed),
            max_calls: self.config.max_calls,
            max_calls_in: self.config.max_calls_in,
            max_calls_out: self.config.max_calls_out,
            last_error: state.last_error.clone(),
            servers: state
                .servers
                .iter()
                .map(|s| TrunkServer {
                    address: s.address.to_string(),
                    transport: wire(s.transport),
                    state: match (s.health.up, s.usable(now)) {
                        (_, false) => "down",
                        (Some(true), _) => "up",
                        _ => "unknown",
                    },
                    rtt_ms: s.health.rtt.map(ms),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use sip::Message;

    use super::*;

    fn invite(uri: &str, to: &str) -> Request {
        let text = format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK1\r\nFrom: <sip:138@x>;tag=1\r\nTo: <{to}>\r\n\
             Call-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
        );
        match Message::parse(text.as_bytes()) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn trunk(name: &str, user: &str, number: &str) -> TrunkConfig {
        TrunkConfig {
            name: name.into(),
            servers: vec!["10.1.1.5".into()],
            networks: vec!["10.1.1.0/24".into()],
            register: !user.is_empty(),
            user: user.into(),
            did: vec![Did { number: number.into(), to: "9000".into() }],
            ..TrunkConfig::default()
        }
    }

    #[test]
    fn a_trunk_is_known_by_its_source_and_what_it_registered() {
        let trunks = Trunks::new(&[trunk("a", "ua", "0755"), trunk("b", "ub", "0756")], &[], &[], &BTreeMap::new());
        let who = |source: &str, uri: &str, to: &str| {
            let request = invite(uri, to);
            let trunk = trunks.recognise(source.parse().unwrap(), &request)?;
            Some((trunk.config.name.clone(), trunk.leads_to(&request)))
        };
        let is = |name: &str, to: Option<&str>| Some((name.to_owned(), to.map(str::to_owned)));
        assert_eq!(who("10.1.1.5", "sip:ub@10.0.0.1", "sip:0756@x"), is("b", Some("9000")));
        assert_eq!(who("10.1.1.5", "sip:ua@10.0.0.1", "sip:0756@x"), is("a", None));
        assert_eq!(who("10.1.1.5", "sip:0756@10.0.0.1", "sip:0755@x"), is("b", Some("9000")));
        assert_eq!(who("10.1.1.5", "tel:07-56", "sip:x@x"), is("b", Some("9000")));
        // Neither another source nor another user is a trunk.
        assert_eq!(who("10.1.2.5", "sip:ub@10.0.0.1", "sip:0756@x"), None);
        assert_eq!(who("10.1.1.5", "sip:8001@10.0.0.1", "sip:0755@x"), None);
        assert!(trunks.leads("a", "9000") && !trunks.leads("a", "8001") && !trunks.leads("c", "9000"));
    }

    #[test]
    fn lines_are_bounded_and_rules_decide() {
        let config = TrunkConfig { max_calls: 2, max_calls_in: 1, ..trunk("a", "", "0755") };
        let route = NumberRoute { prefix: "0".into(), trunks: vec!["a".into()], ..NumberRoute::default() };
        let toll = Toll { accounts: vec!["8001".into()], to: vec!["0".into()], ..Toll::default() };
        let trunks = Trunks::new(&[config], &[route], &[toll], &BTreeMap::new());
        let account = |n: &str| Dialler::Account(n.into());
        let reason = |from: Dialler, number: &str| trunks.route(&from, number).map(|_| ()).unwrap_err();
        assert_eq!(reason(account("8002"), "010"), Reason::TollDenied);
        assert_eq!(reason(Dialler::Trunk("a".into()), "010"), Reason::TollDenied);
        assert_eq!(reason(account("8001"), "119"), Reason::UnknownNumber);
        assert_eq!(reason(account("8001"), "sip:x"), Reason::UnknownNumber);
        let outside = trunks.route(&account("8001"), "0-10").unwrap();
        assert_eq!((outside.number.as_str(), outside.dialler()), ("010", Dialler::Trunk("a".into())));
        let a = &trunks.all()[0];
        let first = a.line_in().unwrap();
        assert!(a.line_in().is_none());
        let (trunk, _, permissions) = outside.ways[0].clone();
        let way = Way { trunk, server: "10.1.1.5:5060".parse().unwrap(), permissions };
        let second = way.line().unwrap();
        assert_eq!(way.line().unwrap_err(), Reason::TrunkFull);
        drop((first, second));
        assert!(way.line().is_ok() && a.line_in().is_some());
        assert_eq!((a.status().calls_in, a.status().calls_out), (0, 0));
    }
}
