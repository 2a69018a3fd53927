//! What devices send us: registrations, keepalives, answers and notifications. One task owns this.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{AccountKind, Device, Secret, Timestamp};
use media_hub::Text;
use sip::{Flow, Incoming, Method, Request, Transport, TxId};

use crate::catalog;
use crate::changes::Pending;
use crate::config::{Unknown, seconds};
use crate::edition::Edition;
use crate::facts;
use crate::history;
use crate::ids;
use crate::liveness::{Gone, Liveness};
use crate::manscdp::{Manscdp, Root};
use crate::peer::{Peer, Stored};
use crate::redirect::{Redirects, Way};
use crate::refresh;
use crate::register::{Decision, Registrar, device_of};
use crate::shared::{NAME, Shared, device_id};
use crate::subscribe::Subscriptions;
use crate::told::Recent;
use crate::voice;

pub(crate) struct Inbound {
    pub(crate) shared: Arc<Shared>,
    registrar: Registrar,
    redirects: Redirects,
    liveness: Liveness,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) changes: Pending,
    pub(crate) recent: Recent,
}

fn transport_word(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp | Transport::Ws => "tcp",
        Transport::Tls | Transport::Wss => "tls",
    }
}

/// Tells one Call-ID from another; not kept over a restart.
fn fingerprint(text: &str) -> u64 {
    std::hash::BuildHasher::hash_one(&std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default(), text)
}

impl Inbound {
    /// Takes over what storage held: devices that were on line are so still, until their keepalives are missed.
    pub fn new(shared: Arc<Shared>, now: Instant) -> Inbound {
        let registrar = Registrar::new(&shared.config, now, rand::random());
        let redirects = Redirects::new(shared.config.redirect.len(), shared.config.max_devices);
        let mut inbound = Inbound {
            shared: shared.clone(),
            registrar,
            redirects,
            liveness: Liveness::new(),
            subscriptions: Subscriptions::new(rand::random()),
            changes: Pending::default(),
            recent: Recent::new(),
        };
        let wall = Timestamp::now();
        for device in shared.ctx.registry.of_bridge(NAME) {
            let stored = Stored::read(&device);
            let Some(source) = stored.source else { continue };
            let id = device.id.name();
            let expires = device.expires_at.unwrap_or(wall);
            let left = Duration::from_millis(u64::try_from(expires.0 - wall.0).unwrap_or(0));
            let valid = !left.is_zero() && !stored.logged_out;
            let peer = Peer {
                flow: None,
                transport: if stored.stream { Transport::Tcp } else { Transport::Udp },
                source,
                edition: stored.version,
                charset: stored.charset,
                online: device.online && valid,
                media_tcp: stored.media_tcp,
                heartbeat: stored.heartbeat,
                clock: stored.clock,
                single_streams: Arc::default(),
                expires_at: if stored.logged_out { 0 } else { expires.0 },
                register_call: 0,
                mobile: stored.mobile,
            };
            let there = device.online && valid;
            if device.online && valid {
                inbound.liveness.watch(id, now, shared.config.patience(id, stored.heartbeat), Some(now + left));
            } else if device.online {
                let why = Text::new("停机期间注册过期", "its registration lapsed while the gateway was down");
                shared.ctx.registry.change(&device.id, |d| {
                    d.online = false;
                    d.offline_reason = Some(why);
                });
            }
            shared.peers.insert(id.to_owned(), peer);
            if there {
                inbound.want_subscriptions(id, now, true);
            }
        }
        inbound.count();
        inbound
    }

    fn count(&self) {
        self.shared.metrics.devices_online.set(self.liveness.len() as i64);
        self.shared.metrics.devices_known.set(self.shared.peers.len() as i64);
    }

    /// Takes up the keepalive terms that were read from devices.
    pub fn new_terms(&mut self) {
        let (now, wall) = (Instant::now(), Timestamp::now().0);
        let changed = std::mem::take(&mut *crate::shared::lock(&self.shared.terms));
        for id in changed {
            let Some(expires_at) = self.shared.peers.get(&id).map(|p| p.expires_at) else { continue };
            let left = Duration::from_millis(u64::try_from(expires_at - wall).unwrap_or(0));
            if self.liveness.seen(&id, now) {
                self.liveness.watch(&id, now, self.shared.patience(&id), Some(now + left));
            }
        }
    }

    pub fn online(&self) -> usize {
        self.liveness.len()
    }

    pub fn next(&self) -> Option<Instant> {
        [self.liveness.next(), self.subscriptions.next(), self.changes.next()].into_iter().flatten().min()
    }

    /// Takes devices off line that are gone.
    pub fn tick(&mut self, now: Instant) {
        for (id, gone) in self.liveness.tick(now) {
            let text = match gone {
                Gone::Silent(time) => Text::new(
                    format!("{} 秒没有收到设备的任何消息", time.as_secs()),
                    format!("no message of the device for {} s", time.as_secs()),
                ),
                Gone::Expired => Text::new("注册已过期", "its registration lapsed"),
            };
            self.off_line(&id, text);
        }
        for (id, changes) in self.changes.due(now) {
            self.apply_changes(&id, &changes);
        }
        let orders = self.subscriptions.tick(now);
        self.send_orders(orders);
    }

    fn off_line(&mut self, id: &str, why: Text) {
        tracing::info!(device = id, why = %why.en, "device is off line");
        self.liveness.forget(id);
        self.subscriptions.forget(id);
        self.changes.forget(id);
        if let Some(mut peer) = self.shared.peers.get_mut(id) {
            peer.online = false;
        }
        self.shared.ctx.registry.change(&device_id(id), |d| {
            d.online = false;
            d.offline_reason = Some(why);
        });
        self.count();
    }

    pub fn incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Request { tx, flow, request } => match request.method {
                Method::Register => self.register(tx, &flow, &request),
                Method::Message | Method::Notify => self.message(tx, &flow, &request),
                _ => self
                    .shared
                    .ctx
                    .sip
                    .respond(tx, request.respond(405).with("Allow", "REGISTER, MESSAGE, NOTIFY, INVITE, BYE")),
            },
            Incoming::Invite { call, flow, request } => voice::inbound::invited(&self.shared, call, flow, request),
        }
    }

    fn register(&mut self, tx: TxId, flow: &Flow, req: &Request) {
        let shared = self.shared.clone();
        let now = Instant::now();
        let id = device_of(req).unwrap_or_default();
        let own = shared.ctx.credentials.secret(AccountKind::Gb28181Device, &id).map(|s| match s {
            Secret::Password(p) => sip::Secret::Password(p),
            Secret::Ha1(h) => sip::Secret::Ha1(sip::auth::Algorithm::Md5, h),
        });
        let room = shared.peers.len() < shared.config.max_devices || shared.peers.contains_key(&id);
        // One that is sent on takes no room.
        let may_pass = room || !shared.config.redirect.is_empty();
        let decision = match self.registrar.decide(now, req, flow.peer.ip(), &shared.config, own, may_pass) {
            Decision::Accept { expires } => self.place(&id, req, now, expires, room),
            other => other,
        };
        shared.metrics.registrations.with_label_values(&[decision.outcome()]).inc();
        shared.quirks.agent(&id, req.headers.get("User-Agent").unwrap_or_default());
        let profile = shared.profile(&id);
        let answer = self.registrar.answer_to(req, decision, &shared.config, jiff::Timestamp::now(), &profile);
        shared.ctx.sip.respond(tx, answer);
        match decision {
            Decision::Accept { expires } => self.registered(&id, flow, req, now, expires),
            Decision::Redirect { rule, server } => self.sent_on(&id, rule, server),
            Decision::Logout => {
                self.redirects.forget(&id);
                self.logged_out(&id, Text::new("设备已注销", "the device logged out"));
            }
            Decision::Challenge { .. } => {}
            Decision::NoPassword => {
                tracing::warn!(
                    device = %id, source = %flow.peer,
                    "registration refused: set a password for the device, a site password, or allow_without_password"
                );
                let why = Text::new("没有为该设备设置密码", "no password is set for this device");
                shared.ctx.registry.refused(&device_id(&id), flow.peer.to_string(), why);
            }
            other => {
                tracing::warn!(device = %id, source = %flow.peer, outcome = other.outcome(), "registration refused");
                let why = Text::new(
                    format!("密码错误或请求不被接受（{}）", other.outcome()),
                    format!("wrong password, or a request that is not taken ({})", other.outcome()),
                );
                shared.ctx.registry.refused(&device_id(&id), flow.peer.to_string(), why);
            }
        }
    }

    fn registered(&mut self, id: &str, flow: &Flow, req: &Request, now: Instant, expires: u32) {
        let shared = self.shared.clone();
        let wall = Timestamp::now();
        let old = shared.peer(id);
        let was_online = old.as_ref().is_some_and(|p| p.online);
        let edition = req.headers.get("X-GB-Ver").and_then(Edition::parse);
        let expires_at = wall.plus_seconds(expires);
        let register_call = fingerprint(req.call_id().unwrap_or_default());
        let anew = old.as_ref().is_none_or(|p| p.register_call != register_call || p.source != flow.peer);
        let peer = Peer {
            flow: Some(flow.id),
            transport: flow.transport,
            source: flow.peer,
            edition,
            charset: old.as_ref().map(|p| p.charset).unwrap_or_default(),
            online: true,
            media_tcp: old.as_ref().and_then(|p| p.media_tcp),
            expires_at: expires_at.0,
            register_call,
            mobile: old.as_ref().is_some_and(|p| p.mobile),
            heartbeat: old.as_ref().and_then(|p| p.heartbeat),
            clock: old.as_ref().and_then(|p| p.clock),
            single_streams: old.as_ref().map(|p| p.single_streams.clone()).unwrap_or_default(),
        };
        // A new Call-ID long before the refresh was due is a device that lost its memory, and with it its calls.
        if let Some(old) = old.as_ref().filter(|o| o.online && o.register_call != 0)
            && old.register_call != peer.register_call
            && old.expires_at - wall.0 > i64::from(expires) * 500
        {
            let _ = shared.voice.restarted.send(id.to_owned());
        }
        let version = Edition::words(shared.edition(id, &peer));
        let device = device_id(id);
        let fill = |d: &mut Device| {
            d.online = true;
            d.offline_reason = None;
            d.version = version.clone();
            d.transport = transport_word(flow.transport).to_owned();
            d.address = flow.peer.to_string();
            d.registered_at = if was_online { d.registered_at.or(Some(wall)) } else { Some(wall) };
            d.expires_at = Some(expires_at);
            d.last_seen_at = Some(wall);
            let mut stored = Stored::read(d);
            stored.source = Some(flow.peer);
            stored.stream = flow.transport.is_reliable();
            stored.version = edition;
            stored.logged_out = false;
            d.private = stored.write();
        };
        if !shared.ctx.registry.change(&device, fill) {
            let mut new =
                Device { name: id.to_owned(), online: true, ..Device::new(device.clone(), ids::device_kind(id)) };
            fill(&mut new);
            shared.ctx.registry.put(new);
        }
        shared.peers.insert(id.to_owned(), peer);
        self.liveness.watch(id, now, shared.patience(id), Some(now + seconds(expires)));
        self.count();
        if !was_online {
            tracing::info!(device = id, source = %flow.peer, transport = %flow.transport, expires, "device is on line");
        }
        let stored = shared.ctx.registry.get(&device).map(|d| Stored::read(&d)).unwrap_or_default();
        let stale = stored.catalog_at.is_none_or(|at| wall.0 - at > i64::from(shared.config.catalog.refresh) * 1000);
        if !was_online || stale {
            refresh::spawn(&shared, id);
        }
        self.want_subscriptions(id, now, !was_online || anew);
        facts::dated(&shared, id, req);
    }

    /// Where a device belongs that may register: here, or with another platform.
    fn place(&mut self, id: &str, req: &Request, now: Instant, expires: u32, room: bool) -> Decision {
        let shared = self.shared.clone();
        let spoken = req.headers.get("X-GB-Ver").and_then(Edition::parse);
        let edition = shared.config.device(id).and_then(|d| d.version).or(spoken);
        let name = |rule: usize| shared.config.redirect.get(rule).map_or("", |r| r.name.as_str());
        let here = if room { Decision::Accept { expires } } else { Decision::Full };
        match self.redirects.way(now, &shared.config.redirect, id, edition) {
            Way::Own => here,
            Way::Here { rule, fresh } => {
                if fresh {
                    shared.metrics.redirects.with_label_values(&["here"]).inc();
                    tracing::warn!(
                        device = id,
                        rule = name(rule),
                        "no server of the rule took the device: it is taken here"
                    );
                    if self.redirects.tell(now, rule, true) {
                        let text = Text::new(
                            format!("重定向规则“{}”的服务器都未接纳该设备，改由本网关接入", name(rule)),
                            format!("no server of the redirect rule \"{}\" took it; it is taken here", name(rule)),
                        );
                        shared.ctx.registry.note(&device_id(id), true, text);
                    }
                }
                here
            }
            Way::On { rule, server, again } => {
                if again {
                    tracing::warn!(device = id, rule = name(rule), "back from the server that it was sent to");
                    if self.redirects.tell(now, rule, false) {
                        let text = Text::new(
                            format!("被重定向后又返回（规则“{}”）：目标服务器离线或拒绝了它", name(rule)),
                            format!(
                                "is back after a redirect (rule \"{}\"): that server is off line or refused it",
                                name(rule)
                            ),
                        );
                        shared.ctx.registry.note(&device_id(id), true, text);
                    }
                }
                Decision::Redirect { rule, server }
            }
        }
    }

    /// The device belongs to another platform from now on: what it was here ends.
    fn sent_on(&mut self, id: &str, rule: usize, server: usize) {
        let shared = self.shared.clone();
        let Some(to) = shared.config.redirect.get(rule).and_then(|r| r.to.get(server)) else { return };
        shared.metrics.redirects.with_label_values(&[&to.server_id]).inc();
        tracing::info!(device = id, server = %to.server_id, address = %to.address, "registration redirected");
        if shared.peers.contains_key(id) {
            let text = Text::new(
                format!("已重定向到 {}（{}）", to.server_id, to.address),
                format!("it was sent on to {} ({})", to.server_id, to.address),
            );
            self.logged_out(id, text);
        }
    }

    fn logged_out(&mut self, id: &str, why: Text) {
        let shared = self.shared.clone();
        if let Some(mut peer) = shared.peers.get_mut(id) {
            peer.expires_at = 0;
        }
        shared.ctx.registry.change(&device_id(id), |d| {
            let mut stored = Stored::read(d);
            stored.logged_out = true;
            d.private = stored.write();
        });
        self.off_line(id, why);
        let _ = shared.left.send(id.to_owned());
    }

    /// The registered device that a message is of: by the user of From, else by its body's DeviceID from a known address.
    fn sender(&self, req: &Request, flow: &Flow, body: Option<&Manscdp>) -> Option<String> {
        let wall = Timestamp::now().0;
        let follow = self.shared.config.keepalive.follow_any_address;
        let good = |id: &str, same_port: bool| {
            self.shared.peers.get(id).is_some_and(|p| {
                let place = if same_port { p.source == flow.peer } else { follow || p.source.ip() == flow.peer.ip() };
                place && p.expires_at > wall
            })
        };
        let from = req.from().map(|f| f.uri.user().to_owned()).filter(|id| good(id, false));
        // Some recorders write the channel into From: then the source must fit to the port.
        from.or_else(|| body.map(|b| b.device.clone()).filter(|id| good(id, true)))
    }

    fn message(&mut self, tx: TxId, flow: &Flow, req: &Request) {
        let shared = self.shared.clone();
        let body = if req.body.is_empty() { None } else { Some(Manscdp::parse(&req.body)) };
        let parsed = body.as_ref().and_then(|b| b.as_ref().ok());
        let known = self.sender(req, flow, parsed);
        // The end of a playback: some devices tell it under another id than their own.
        let known = known.or_else(|| parsed.and_then(|m| history::no_more(&shared, None, req, flow.peer, m)));
        let Some(id) = known else {
            shared.metrics.refused_messages.with_label_values(&["not_registered"]).inc();
            tracing::debug!(source = %flow.peer, "a message of a device that is not registered here");
            if shared.config.keepalive.unknown == Unknown::Refuse {
                shared.ctx.sip.respond(tx, req.respond(403));
            }
            return;
        };
        shared.ctx.sip.respond(tx, req.respond(200));
        self.alive(&id, flow);
        facts::dated(&shared, &id, req);
        if req.method == Method::Notify && !matches!(body, Some(Err(_))) {
            self.notified(&id, req, parsed);
        }
        match body {
            Some(Ok(message)) => {
                history::no_more(&shared, Some(&id), req, flow.peer, &message);
                self.business(&id, message);
            }
            Some(Err(error)) => {
                shared.metrics.bad_bodies.inc();
                tracing::warn!(device = %id, %error, bytes = req.body.len(), "a message's body cannot be read");
            }
            None => {}
        }
    }

    /// Any message is a sign of life, and shows where the device is now.
    fn alive(&mut self, id: &str, flow: &Flow) {
        let shared = self.shared.clone();
        let (now, wall) = (Instant::now(), Timestamp::now());
        let Some(mut peer) = shared.peers.get_mut(id) else { return };
        let moved = peer.source != flow.peer || peer.transport != flow.transport;
        let back = !peer.online;
        peer.flow = Some(flow.id);
        peer.transport = flow.transport;
        peer.source = flow.peer;
        peer.online = true;
        let left = Duration::from_millis(u64::try_from(peer.expires_at - wall.0).unwrap_or(0));
        drop(peer);
        if !self.liveness.seen(id, now) {
            self.liveness.watch(id, now, shared.patience(id), Some(now + left));
            self.count();
        }
        if moved || back {
            shared.ctx.registry.change(&device_id(id), |d| {
                d.online = true;
                d.offline_reason = None;
                d.transport = transport_word(flow.transport).to_owned();
                d.address = flow.peer.to_string();
                d.last_seen_at = Some(wall);
                let mut stored = Stored::read(d);
                stored.source = Some(flow.peer);
                stored.stream = flow.transport.is_reliable();
                d.private = stored.write();
            });
            if back {
                self.want_subscriptions(id, now, true);
                tracing::info!(device = id, source = %flow.peer, "device is back on line");
            }
        } else {
            shared.ctx.registry.seen(&device_id(id), wall);
        }
    }

    fn business(&mut self, id: &str, message: Manscdp) {
        let shared = self.shared.clone();
        if let Some(charset) = message.charset
            && let Some(mut peer) = shared.peers.get_mut(id)
            && peer.charset != charset
        {
            peer.charset = charset;
            drop(peer);
            shared.ctx.registry.change(&device_id(id), |d| {
                let mut stored = Stored::read(d);
                stored.charset = charset;
                d.private = stored.write();
            });
        }
        match message.root {
            Root::Response => {
                let Some(pending) = shared.pending.get(&message.sn) else {
                    tracing::debug!(device = id, command = %message.command, sn = message.sn, "an answer to no question");
                    return;
                };
                let fits = pending.device == id && pending.command.eq_ignore_ascii_case(&message.command);
                // To a broadcast some answer as another part of the device than was named.
                let about = pending.command == "Broadcast"
                    || message.device.is_empty()
                    || message.device == pending.about
                    || message.device == id;
                if fits && about && pending.answers.try_send(message).is_err() {
                    tracing::warn!(device = id, "answers come faster than they are read");
                }
            }
            Root::Notify if message.command.eq_ignore_ascii_case("Keepalive") => {
                shared.metrics.keepalives.inc();
                let faulty: Vec<&str> = message
                    .tree
                    .children
                    .iter()
                    .filter(|c| c.is("Info"))
                    .flat_map(|i| i.children.iter())
                    .filter(|c| c.is("DeviceID"))
                    .map(|c| c.text.as_str())
                    .take(20)
                    .collect();
                if !faulty.is_empty() {
                    tracing::info!(device = id, ?faulty, "the device reports faulty parts");
                }
                // A device that answered no catalog query is still asked again, at its next registration.
                if shared.ctx.registry.get(&device_id(id)).is_some_and(|d| d.channels.is_empty())
                    && ids::type_code(id).is_some_and(|c| shared.config.invite_types(id).contains(&c))
                    && !shared.refreshing.contains_key(id)
                {
                    let own = catalog::own_channel(&device_id(id), None);
                    shared.ctx.registry.change(&device_id(id), |d| d.channels.push(own));
                }
            }
            Root::Notify if message.command.eq_ignore_ascii_case("DeviceUpgradeResult") => {
                facts::upgraded(&shared, id, &message);
            }
            Root::Notify if message.command.eq_ignore_ascii_case("MediaStatus") => {
                tracing::debug!(device = id, channel = ?message.device, kind = ?message.tree.get("NotifyType"), "media status");
            }
            Root::Notify if self.told(id, &message) => {}
            Root::Notify if message.command.eq_ignore_ascii_case(crate::snapshot::FINISHED) => {
                crate::snapshot::finished(&shared, id, &message);
            }
            Root::Notify => {
                // Quoted: what a device writes must not begin a line of our log.
                tracing::debug!(device = id, command = ?message.command, about = ?message.device, "a notification that is not used yet");
            }
            Root::Query | Root::Control => {
                tracing::debug!(device = id, command = ?message.command, "a device asks: not answered");
            }
        }
    }
}
