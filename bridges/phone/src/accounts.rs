//! Phone accounts: digest, registrations (RFC 3261 10.3), and the devices of the hall's table.
//!
//! Registrations survive a restart: the contacts stand in `Device.private`. A UDP contact can be called again at once; one on
//! TCP or TLS is gone with its connection and the phone registers anew.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bridge_core::{
    AccountKind, BridgeContext, Channel, ChannelId, ChannelKind, Device, DeviceId, DeviceKind, Secret, TICKET, Text,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use sip::auth::{Algorithm, claimed_user};
use sip::{
    AuthResult, Binding, CallId, DigestConfig, DigestServer, Flow, FlowId, Location, LocationConfig, Offence, Request,
    Response, Target, Transport, Uri,
};

use crate::NAME;
use crate::config::{Config, Digest};
use crate::ping::Pings;
use crate::reach::Reach;
use crate::tickets::Tickets;

/// A contact in storage.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Saved {
    contact: String,
    transport: String,
    received: SocketAddr,
    expires_at: Timestamp,
    #[serde(default)]
    user_agent: Option<String>,
    /// `+sip.instance` and `reg-id` (RFC 5626).
    #[serde(default)]
    instance: Option<String>,
    #[serde(default)]
    reg_id: Option<u32>,
    /// Thousandths.
    #[serde(default)]
    q: Option<u16>,
    /// The proxies on the way (RFC 3327).
    #[serde(default)]
    path: Vec<String>,
    /// None: it is not asked.
    #[serde(default)]
    reachable: Option<bool>,
}

struct Table {
    location: Location,
    /// What storage held and no REGISTER has renewed yet.
    restored: HashMap<String, Vec<Saved>>,
    tickets: Tickets,
    pings: Pings,
}

pub(crate) struct Accounts {
    table: Mutex<Table>,
    /// For accounts whose password is known.
    any: DigestServer,
    /// For accounts of which only the MD5 hash is known, and for unknown ones.
    md5: DigestServer,
    config: Config,
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    Account(String),
    /// Not proven; only where guests are allowed.
    Guest,
}

/// What a REGISTER came to.
pub(crate) struct Registered {
    pub response: Response,
    pub outcome: &'static str,
}

impl Accounts {
    pub fn new(ctx: &BridgeContext, config: &Config) -> Accounts {
        let algorithm = |d: &Digest| match d {
            Digest::Md5 => Algorithm::Md5,
            Digest::Sha256 => Algorithm::Sha256,
        };
        let any = DigestConfig {
            algorithms: config.digest.iter().map(algorithm).collect(),
            ..DigestConfig::new(&config.realm)
        };
        let seconds = |s: u32| Duration::from_secs(u64::from(s));
        let location = Location::new(LocationConfig {
            max_bindings: config.max_contacts,
            min_expires: seconds(config.register_min),
            max_expires: seconds(config.register_max),
            default_expires: seconds(config.register_default),
            ..LocationConfig::default()
        });
        let accounts = Accounts {
            table: Mutex::new(Table {
                location,
                restored: HashMap::new(),
                tickets: Tickets::default(),
                pings: Pings::default(),
            }),
            any: DigestServer::new(any),
            md5: DigestServer::new(DigestConfig::new(&config.realm)),
            config: config.clone(),
        };
        accounts.restore(ctx);
        accounts
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn restore(&self, ctx: &BridgeContext) {
        let now = Timestamp::now();
        for device in ctx.registry.of_bridge(NAME) {
            let saved: Vec<Saved> = serde_json::from_value(device.private.clone()).unwrap_or_default();
            let live: Vec<Saved> = saved.into_iter().filter(|s| s.expires_at > now && s.transport == "udp").collect();
            if live.is_empty() {
                if device.online {
                    let why = Text::new("网关重启后尚未重新注册", "not registered again since the gateway started");
                    offline(ctx, device.id.name(), why);
                }
                continue;
            }
            for saved in &live {
                ctx.sip.remember(saved.received, device.id.name());
            }
            self.lock().restored.insert(device.id.name().to_owned(), live);
            ctx.registry.change(&device.id, |d| set_online(d, true));
        }
    }

    fn server(&self, secret: Option<&Secret>) -> &DigestServer {
        match secret {
            Some(Secret::Password(_)) => &self.any,
            _ => &self.md5,
        }
    }

    /// Whose secret a request for the account `user` is checked by: the account itself, or a ticket of it. `None`: another one's.
    fn prover(user: &str, request: &Request) -> Option<String> {
        let Some(claimed) = claimed_user(request) else { return Some(user.to_owned()) };
        (ticket_of(&claimed).unwrap_or(&claimed) == user).then_some(claimed)
    }

    /// Checks the digest of a request for the account `user`, and tells the guard of mistakes. Gives back by whose secret it was
    /// proved: the account, or a ticket of it.
    fn verify(&self, ctx: &BridgeContext, user: &str, request: &Request, flow: &Flow) -> Result<String, Response> {
        let (guard, now, ip) = (ctx.sip.guard(), Instant::now(), flow.peer.ip());
        let Some(prover) = Self::prover(user, request) else {
            guard.offence(now, ip, Some(user), Offence::WrongPassword);
            return Err(request.respond(403));
        };
        // A ban of calls to outside is no matter of the digest.
        if guard.refuses(now, ip, user).is_some_and(|o| o != Offence::Fraud) && !self.registered_from(user, flow) {
            return Err(request.respond(403));
        }
        let secret = ctx.credentials.secret(AccountKind::Phone, &prover);
        // A ticket that is over is no attack: a page that was left open shows it.
        let known_account = secret.is_some();
        let lapsed = !known_account && prover != user;
        let server = self.server(secret.as_ref());
        let known = secret.map(|s| match s {
            Secret::Password(p) => sip::Secret::Password(p),
            Secret::Ha1(h) => sip::Secret::Ha1(Algorithm::Md5, h),
        });
        match server.verify(request, |_| known) {
            AuthResult::Ok => {
                guard.proved(ip, user);
                Ok(prover)
            }
            AuthResult::Challenge { stale } => {
                // Unknown accounts are asked for their password as well: whoever tries many is noticed here.
                if !known_account && !lapsed {
                    guard.asked_unknown(now, ip, user);
                }
                Err(server.challenge_with(request, 401, stale))
            }
            AuthResult::Denied => {
                let what = if known_account { Offence::WrongPassword } else { Offence::UnknownAccount };
                if !lapsed {
                    guard.offence(now, ip, Some(user), what);
                }
                Err(request.respond(403))
            }
        }
    }

    /// Carries out a REGISTER.
    pub fn register(&self, ctx: &BridgeContext, request: &Request, flow: &Flow) -> Registered {
        let refused = |code, outcome| Registered { response: request.respond(code), outcome };
        let Some(user) = request.to().map(|t| t.uri.user().to_owned()).filter(|u| !u.is_empty() && u.len() <= 64)
        else {
            return refused(400, "refused");
        };
        let prover = match self.verify(ctx, &user, request, flow) {
            Ok(prover) => prover,
            Err(response) => {
                let outcome = if response.code == 401 { "challenged" } else { "denied" };
                return Registered { response, outcome };
            }
        };
        let now = Instant::now();
        let mut table = self.lock();
        match table.location.register(now, &user, request, flow) {
            Ok(done) => {
                let response = table.location.answer(now, request, &done);
                table.restored.remove(&user);
                table.pings.heard(flow.id);
                let ticket = (ticket_of(&prover).is_some() && !done.gone).then_some(prover);
                table.tickets.registered(flow.id, ticket);
                drop(table);
                if done.gone {
                    offline(ctx, &user, Text::new("话机已注销", "the phone logged out"));
                } else {
                    self.online(ctx, &user, &done.bindings, now);
                }
                Registered { response, outcome: "ok" }
            }
            Err(error) => Registered { response: error.response(request), outcome: "refused" },
        }
    }

    fn online(&self, ctx: &BridgeContext, user: &str, bindings: &[Binding], now: Instant) {
        let Some(newest) = bindings.last() else { return };
        let wall = Timestamp::now();
        let at = |b: &Binding| wall.plus_seconds(b.expires_at.saturating_duration_since(now).as_secs() as u32);
        let table = self.lock();
        let reachable = |flow| table.pings.reachable(flow);
        let saved: Vec<Saved> = bindings
            .iter()
            .map(|b| Saved {
                contact: b.contact.to_string(),
                transport: b.transport.as_str().to_ascii_lowercase(),
                received: b.received,
                expires_at: at(b),
                user_agent: b.user_agent.as_ref().map(|a| a.chars().take(80).collect()),
                instance: b.instance.clone(),
                reg_id: b.reg_id,
                q: Some(b.q),
                path: b.path.clone(),
                reachable: reachable(b.flow),
            })
            .collect();
        drop(table);
        let id = DeviceId::new(NAME, user);
        let channel = ChannelId::new(&id, "0");
        let old = ctx.registry.get(&id);
        let name = ctx.credentials.display_name(AccountKind::Phone, user).unwrap_or_else(|| user.to_owned());
        ctx.registry.put(Device {
            id,
            name: name.clone(),
            kind: DeviceKind::Phone,
            online: true,
            manufacturer: String::new(),
            model: newest.user_agent.clone().unwrap_or_default().chars().take(80).collect(),
            firmware: String::new(),
            version: "SIP (RFC 3261)".to_owned(),
            transport: newest.transport.as_str().to_ascii_lowercase(),
            address: newest.received.to_string(),
            registered_at: old.filter(|o| o.online).and_then(|o| o.registered_at).or(Some(wall)),
            expires_at: bindings.iter().map(at).max(),
            last_seen_at: Some(wall),
            offline_reason: None,
            channels: vec![Channel {
                id: channel,
                name,
                kind: ChannelKind::Audio,
                online: true,
                ptz: false,
                parent: None,
                longitude: None,
                latitude: None,
            }],
            private: serde_json::to_value(saved).unwrap_or_default(),
        });
    }

    /// Who calls: a registered phone is known by the path of its registration, others prove themselves by digest. The error
    /// is the answer.
    pub fn caller(&self, ctx: &BridgeContext, request: &Request, flow: &Flow) -> Result<Who, Response> {
        let user = request.from().map(|f| f.uri.user().to_owned()).unwrap_or_default();
        if !user.is_empty() && self.registered_from(&user, flow) {
            return Ok(Who::Account(user));
        }
        let known = ctx.credentials.secret(AccountKind::Phone, &user).is_some();
        if self.config.allow_guests && !known {
            return Ok(Who::Guest);
        }
        self.verify(ctx, &user, request, flow).map(|_| Who::Account(user))
    }

    /// True when the one named in From is registered by this very path.
    pub fn registered(&self, request: &Request, flow: &Flow) -> bool {
        let user = request.from().map(|f| f.uri.user().to_owned()).unwrap_or_default();
        !user.is_empty() && self.registered_from(&user, flow)
    }

    fn registered_from(&self, user: &str, flow: &Flow) -> bool {
        let table = self.lock();
        let same = |transport: Transport, received: SocketAddr| transport == flow.transport && received == flow.peer;
        let live = table
            .location
            .lookup(Instant::now(), user)
            .iter()
            // Behind a proxy many phones have its address: they prove themselves each time.
            .any(|b| b.path.is_empty() && (b.flow == flow.id || same(b.transport, b.received)));
        let now = Timestamp::now();
        live || table.restored.get(user).is_some_and(|list| {
            list.iter().any(|s| s.path.is_empty() && s.expires_at > now && same(Transport::Udp, s.received))
        })
    }

    /// Where to call an account; empty when it is not registered. The contact that is wished for most comes first (q, RFC 3261
    /// 10.2.1.2), of equal ones the newest; those that no longer answer come last. Flows of one device are one reach.
    pub fn reaches(&self, sip: &sip::Sip, user: &str) -> Vec<Reach> {
        let table = self.lock();
        let mut live = table.location.lookup(Instant::now(), user);
        live.reverse();
        live.sort_by_key(|b| (table.pings.reachable(b.flow) == Some(false), std::cmp::Reverse(b.q)));
        let mut out: Vec<(Option<&str>, Reach)> = Vec::new();
        for b in live {
            let target = match (sip.flow(b.flow), b.transport) {
                (Some(_), _) => Target::Flow(b.flow),
                (None, Transport::Udp) => Target::Address(Transport::Udp, b.received),
                (None, _) => continue,
            };
            // One that did not answer when it was asked comes last.
            let q = if table.pings.reachable(b.flow) == Some(false) { 0 } else { b.q };
            let reach = Reach { route: b.path.clone(), q, ..Reach::phone(target, b.contact.clone()) };
            let device = b.instance.as_deref().filter(|_| b.reg_id.is_some());
            match out.iter_mut().find(|(d, _)| device.is_some() && *d == device) {
                Some((_, first)) => first.fallbacks.push(reach),
                None => out.push((device, reach)),
            }
        }
        if out.is_empty() {
            let now = Timestamp::now();
            let saved = table.restored.get(user).into_iter().flatten().filter(|s| s.expires_at > now);
            let reach = |s: &Saved| {
                let target = Target::Address(Transport::Udp, s.received);
                Some(Reach { route: s.path.clone(), ..Reach::phone(target, s.contact.parse().ok()?) })
            };
            return saved.filter_map(reach).collect();
        }
        out.into_iter().map(|(_, reach)| reach).collect()
    }

    /// Whom to ask now whether it is there: contacts over UDP behind NAT, or all over UDP, as the settings say.
    pub fn pings_due(&self) -> Vec<(String, FlowId, Uri, Vec<String>)> {
        if self.config.ping_interval == 0 {
            return Vec::new();
        }
        let now = Instant::now();
        let mut table = self.lock();
        let asked = |b: &Binding| {
            let port = b.contact.port.unwrap_or(5060);
            let elsewhere = b.contact.ip() != Some(b.received.ip()) || port != b.received.port();
            b.transport == Transport::Udp && b.expires_at > now && (self.config.ping_all || elsewhere)
        };
        let all: Vec<FlowId> =
            table.location.iter().flat_map(|(_, l)| l).filter(|b| asked(b)).map(|b| b.flow).collect();
        let every = Duration::from_secs(u64::from(self.config.ping_interval));
        let due = table.pings.due(now, &all, every);
        if due.is_empty() {
            return Vec::new();
        }
        let due: std::collections::HashSet<FlowId> = due.into_iter().collect();
        let of = |(user, list): (&str, &[Binding])| -> Vec<_> {
            let hit = list.iter().filter(|b| due.contains(&b.flow) && asked(b));
            hit.map(|b| (user.to_owned(), b.flow, b.contact.clone(), b.path.clone())).collect()
        };
        let mut out: Vec<(String, FlowId, Uri, Vec<String>)> = table.location.iter().flat_map(of).collect();
        // Several accounts of one flow: one question answers for all that hangs on it.
        out.sort_by_key(|(_, flow, ..)| *flow);
        out.dedup_by_key(|(_, flow, ..)| *flow);
        out
    }

    /// What came of asking. A phone of which no contact answers any more is shown as gone; calls to it are tried all the same.
    pub fn pinged(&self, ctx: &BridgeContext, user: &str, flow: FlowId, answered: bool) {
        let now = Instant::now();
        let (bindings, any) = {
            let mut table = self.lock();
            if table.pings.answered(flow, answered).is_none() {
                return;
            }
            let bindings: Vec<Binding> = table.location.lookup(now, user).into_iter().cloned().collect();
            let any = bindings.iter().any(|b| table.pings.reachable(b.flow) != Some(false));
            (bindings, any)
        };
        if bindings.is_empty() {
            return;
        }
        tracing::info!(phone = user, answered, "a phone answers again, or no longer");
        self.online(ctx, user, &bindings, now);
        if !any {
            let why = Text::new("话机不再应答", "the phone no longer answers");
            ctx.registry.change(&DeviceId::new(NAME, user), |d| {
                set_online(d, false);
                d.offline_reason = Some(why);
            });
        }
    }

    /// Whether a contact that is registered sends from this address.
    pub fn any_at(&self, ip: std::net::IpAddr) -> bool {
        let (now, wall, ip) = (Instant::now(), Timestamp::now(), ip.to_canonical());
        let table = self.lock();
        let live = |b: &Binding| b.expires_at > now && b.received.ip().to_canonical() == ip;
        let kept = |s: &Saved| s.expires_at > wall && s.received.ip().to_canonical() == ip;
        table.location.iter().any(|(_, list)| list.iter().any(live)) || table.restored.values().flatten().any(kept)
    }

    /// A call from or to this place begins.
    pub fn carries(&self, call: CallId, target: &Target) {
        if let Target::Flow(flow) = target {
            self.lock().tickets.call(Instant::now(), call, *flow);
        }
    }

    /// Whether a call hangs on a sign-in in a browser that is over.
    pub fn withdrawn(&self, call: CallId) -> bool {
        self.lock().tickets.withdrawn(Instant::now(), call)
    }

    /// Accounts that are registered now.
    pub fn count(&self) -> usize {
        let table = self.lock();
        table.location.len() + table.restored.len()
    }

    /// Ends what has expired; to be called once a second.
    pub fn tick(&self, ctx: &BridgeContext) {
        let now = Timestamp::now();
        let mut gone: Vec<(String, Text)> = Vec::new();
        {
            let mut table = self.lock();
            let expired = || Text::new("注册过期", "the registration expired");
            gone.extend(table.location.tick(Instant::now()).into_iter().map(|u| (u, expired())));
            // Who signed out of the console is no phone any more.
            let over = |ticket: &str| ctx.credentials.secret(AccountKind::Phone, ticket).is_none();
            let out = table.tickets.tick(Instant::now(), |flow| ctx.sip.flow(flow).is_some(), over);
            for flow in out {
                let why = || Text::new("控制台已退出登录", "the console signed out");
                gone.extend(table.location.flow_closed(flow).into_iter().map(|u| (u, why())));
            }
            let closed: Vec<FlowId> = table
                .location
                .iter()
                .flat_map(|(_, bindings)| bindings)
                .filter(|b| b.transport.is_reliable() && ctx.sip.flow(b.flow).is_none())
                .map(|b| b.flow)
                .collect();
            for flow in closed {
                let broken = || Text::new("信令连接断开", "the signalling connection closed");
                gone.extend(table.location.flow_closed(flow).into_iter().map(|u| (u, broken())));
            }
            table.restored.retain(|user, list| {
                list.retain(|s| s.expires_at > now);
                if list.is_empty() {
                    gone.push((user.clone(), expired()));
                }
                !list.is_empty()
            });
        }
        for (user, why) in gone {
            offline(ctx, &user, why);
        }
    }
}

/// The account of a digest user that is a ticket: `8001` of `8001~word`. Names of accounts have no `~`.
fn ticket_of(user: &str) -> Option<&str> {
    user.split_once(TICKET).map(|(account, _)| account)
}

fn set_online(device: &mut Device, online: bool) {
    device.online = online;
    for channel in &mut device.channels {
        channel.online = online;
    }
    if online {
        device.offline_reason = None;
    }
}

fn offline(ctx: &BridgeContext, user: &str, why: Text) {
    ctx.registry.change(&DeviceId::new(NAME, user), |d| {
        set_online(d, false);
        d.expires_at = None;
        d.offline_reason = Some(why);
        d.private = serde_json::Value::Null;
    });
}
