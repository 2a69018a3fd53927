//! A gateway: whether it answers, our registration there, its device in the hall's table, and what its radios tell.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bridge_core::{
    AlarmReport, Channel, ChannelId, ChannelKind, Device, DeviceId, DeviceKind, PositionReport, Text, Timestamp,
};
use sip::{DigestClient, Method, NameAddr, Request, Response, SipError, Target, Uri};
use tokio::sync::watch;

use crate::NAME;
use crate::bridge::Shared;
use crate::carrier::Who;
use crate::config::{GatewayConfig, Group};
use crate::text::Reader;

/// Unanswered OPTIONS until a gateway counts as gone.
const MISSES: u32 = 2;
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a registration that failed.
const AGAIN: Duration = Duration::from_secs(10);
/// Most of a description in an alarm.
const MOST_TEXT: usize = 500;

pub(crate) struct Gateway {
    pub config: GatewayConfig,
    pub target: Target,
    pub id: DeviceId,
    reader: Reader,
    up: watch::Sender<bool>,
    taken: Mutex<HashSet<String>>,
}

/// A group that is in a conference. Dropping it frees the group.
pub(crate) struct Taken {
    gateway: Arc<Gateway>,
    number: String,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.gateway.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

impl Gateway {
    /// None: the address is wrong, which the configuration's check says.
    pub fn new(config: &GatewayConfig) -> Option<Gateway> {
        Some(Gateway {
            target: config.target()?,
            id: DeviceId::new(NAME, &config.name),
            reader: Reader::new(&config.text),
            up: watch::channel(false).0,
            taken: Mutex::default(),
            config: config.clone(),
        })
    }

    pub fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    pub fn watch(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// Takes a group for a call; none when it is in one.
    pub fn take(self: &Arc<Self>, number: &str) -> Option<Taken> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = taken.insert(number.to_owned());
        fresh.then(|| Taken { gateway: self.clone(), number: number.to_owned() })
    }

    pub fn channel(&self, group: &Group) -> ChannelId {
        ChannelId::new(&self.id, &group.number)
    }

    /// The name of a radio by the configuration.
    pub fn name_of(&self, id: &str) -> Option<String> {
        self.config.radios.get(id).cloned()
    }

    fn host(&self) -> (String, Option<u16>) {
        match self.config.peer() {
            Some(peer) if self.config.domain.is_empty() => (peer.ip().to_string(), Some(peer.port())),
            _ => (self.config.domain.clone(), None),
        }
    }

    /// The URI of a user there.
    pub fn uri(&self, user: &str) -> Uri {
        let (host, port) = self.host();
        Uri::sip(user, &host, port)
    }

    pub fn credentials(&self) -> Option<DigestClient> {
        (!self.config.password.is_empty()).then(|| DigestClient::new(self.config.user(), &self.config.password))
    }

    /// A request to it from us.
    pub fn request(&self, method: Method, to: Uri) -> Request {
        let mut request = Request::new(method, to.clone());
        let tag = format!("{:016x}", rand::random::<u64>());
        request.headers.set("From", NameAddr::new(self.uri(self.config.user())).with_tag(&tag).to_string());
        request.headers.set("To", NameAddr::new(to).to_string());
        request
    }

    /// The device as the hall shows it.
    pub fn device(&self) -> Device {
        let up = self.is_up();
        let channel = |group: &Group| Channel {
            id: self.channel(group),
            name: if group.name.is_empty() { group.number.clone() } else { group.name.clone() },
            kind: ChannelKind::Audio,
            online: up,
            ptz: false,
            parent: None,
            longitude: None,
            latitude: None,
        };
        Device {
            name: self.config.title().to_owned(),
            online: up,
            version: self.config.carrier.name().to_owned(),
            transport: format!("{:?}", self.config.transport).to_lowercase(),
            address: self.config.address.clone(),
            last_seen_at: up.then(Timestamp::now),
            offline_reason: (!up).then(|| Text::new("对讲网关没有响应", "the radio gateway does not answer")),
            channels: self.config.group.iter().map(channel).collect(),
            ..Device::new(self.id.clone(), DeviceKind::Radio)
        }
    }

    fn set(&self, shared: &Shared, up: bool) {
        let changed = self.up.send_if_modified(|was| std::mem::replace(was, up) != up);
        if let Some(m) = &shared.metrics {
            m.up.with_label_values(&[&self.config.name]).set(i64::from(up));
        }
        if changed {
            tracing::info!(gateway = self.config.name, up, "a radio gateway");
            shared.ctx.registry.put(self.device());
        }
    }

    /// What a body tells beside the key: an emergency, a place, a status.
    pub fn tell(&self, shared: &Shared, group: Option<&Group>, sender: Option<Who>, plain: bool, text: &str) {
        let count = |kind: &str| {
            if let Some(m) = &shared.metrics {
                m.messages.with_label_values(&[&self.config.name, kind]).inc();
            }
        };
        let who = self.reader.who(text).filter(|_| !plain).or(sender);
        let id = who.as_ref().map_or("", |w| w.id.as_str());
        let place = self.reader.place(text);
        if let (Some(place), false) = (place, id.is_empty()) {
            count("position");
            shared.ctx.reports.position(PositionReport {
                subject: ChannelId::new(&self.id, id),
                place,
                speed_kmh: None,
                direction: None,
                altitude: None,
                height: None,
                device_time: None,
                received: Timestamp::now(),
            });
        }
        if group.is_none() && self.reader.emergency(text) {
            self.emergency(shared, None, who.as_ref(), text);
        }
        if let Some(status) = self.reader.status(plain && place.is_none(), text) {
            count("status");
            let name = who.map(|w| self.shown(&w)).unwrap_or_default();
            let text = Text::new(format!("对讲机 {name}：{status}"), format!("radio {name}: {status}"));
            shared.ctx.registry.note(&self.id, false, text);
        }
    }

    /// Whether a text is a place and no words.
    pub fn is_place(&self, text: &str) -> bool {
        self.reader.place(text).is_some()
    }

    /// The name of a radio, to show.
    pub fn shown(&self, who: &Who) -> String {
        let known = self.name_of(&who.id);
        known.unwrap_or_else(|| if who.name.is_empty() { who.id.clone() } else { who.name.clone() })
    }

    /// A radio calls for help.
    pub fn emergency(&self, shared: &Shared, group: Option<&Group>, who: Option<&Who>, text: &str) {
        if let Some(m) = &shared.metrics {
            m.messages.with_label_values(&[&self.config.name, "emergency"]).inc();
        }
        let name = who.map(|w| self.shown(w)).unwrap_or_default();
        let alarm = AlarmReport {
            device: self.id.clone(),
            channel: group.map(|g| self.channel(g)),
            source: who.map(|w| w.id.clone()).unwrap_or_default(),
            severity: 1,
            kind: "radio.emergency".into(),
            words: Text::new(format!("对讲机紧急呼叫 {name}"), format!("emergency call of a radio {name}")),
            description: text.chars().filter(|c| !c.is_control()).take(MOST_TEXT).collect(),
            place: self.reader.place(text),
            device_time: None,
            received: Timestamp::now(),
            wants_reset: false,
        };
        if !shared.ctx.reports.alarm(alarm) {
            tracing::error!(gateway = self.config.name, "an emergency of a radio was lost: the hall's queue is full");
        }
    }
}

pub(crate) async fn ask(shared: &Shared, gateway: &Gateway, request: Request) -> Result<Response, SipError> {
    let target = gateway.target;
    let answer = async {
        match gateway.credentials() {
            Some(credentials) => shared.ctx.sip.request_as(target, request, credentials).await,
            None => shared.ctx.sip.request(target, request).await,
        }
    };
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or(Err(SipError::Timeout))
}

/// Works for one gateway until the hall stops.
pub(crate) async fn run(shared: Arc<Shared>, gateway: Arc<Gateway>) {
    shared.ctx.registry.put(gateway.device());
    gateway.set(&shared, gateway.is_up());
    if let Some(peer) = gateway.config.peer() {
        // A wrong message must not shut out the way to all its radios.
        shared.ctx.sip.guard().trust(&format!("{NAME}:{}", gateway.config.name), [peer.ip()]);
    }
    let call_id = format!("{:016x}", rand::random::<u64>());
    let mut cseq = rand::random::<u32>() >> 16;
    let (mut misses, mut registered) = (0, !gateway.config.register);
    let now = tokio::time::Instant::now();
    let far = Duration::from_secs(365 * 86_400);
    let mut register_at = if gateway.config.register { now } else { now + far };
    let ping = Duration::from_secs(u64::from(gateway.config.ping_interval));
    let mut ping_at = if ping.is_zero() { now + far } else { now };
    let shutdown = shared.ctx.shutdown.clone();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep_until(register_at) => {
                cseq = cseq.wrapping_add(4) & 0x7FFF_FFFF;
                let request = register(&shared, &gateway, &call_id, cseq, gateway.config.expires);
                let wait = match ask(&shared, &gateway, request).await {
                    Ok(r) if r.is_success() => {
                        registered = true;
                        let life = r.expires().unwrap_or(gateway.config.expires).clamp(30, 86_400);
                        Duration::from_secs(u64::from(life) * 8 / 10)
                    }
                    other => {
                        registered = false;
                        let answer = other.map_or_else(|e| e.to_string(), |r| format!("{} {}", r.code, r.reason));
                        tracing::warn!(gateway = gateway.config.name, answer, "we are not registered at a radio gateway");
                        AGAIN
                    }
                };
                register_at = tokio::time::Instant::now() + wait;
                if ping.is_zero() || !registered {
                    gateway.set(&shared, registered);
                }
            }
            () = tokio::time::sleep_until(ping_at) => {
                let request = gateway.request(Method::Options, gateway.uri(""));
                match ask(&shared, &gateway, request).await {
                    // Whatever it thinks of OPTIONS, somebody is there.
                    Ok(r) if r.code < 500 && r.code != 408 => {
                        misses = 0;
                        shared.ctx.registry.seen(&gateway.id, Timestamp::now());
                        gateway.set(&shared, registered);
                    }
                    _ => {
                        misses += 1;
                        if misses >= MISSES {
                            gateway.set(&shared, false);
                        }
                    }
                }
                // One that missed is asked sooner.
                ping_at = tokio::time::Instant::now() + if misses == 0 { ping } else { ping.min(Duration::from_secs(2)) };
            }
        }
    }
    if gateway.config.register && registered {
        let request = register(&shared, &gateway, &call_id, cseq.wrapping_add(4) & 0x7FFF_FFFF, 0);
        let _ = tokio::time::timeout(Duration::from_millis(500), ask(&shared, &gateway, request)).await;
    }
}

fn register(shared: &Shared, gateway: &Gateway, call_id: &str, cseq: u32, expires: u32) -> Request {
    let own = gateway.uri(gateway.config.user());
    let mut request = gateway.request(Method::Register, gateway.uri(""));
    request.headers.set("To", NameAddr::new(own).to_string());
    request.headers.set("Call-ID", call_id);
    request.headers.set("CSeq", format!("{cseq} REGISTER"));
    let contact = shared.ctx.sip.local_contact(&gateway.target, gateway.config.user());
    request.headers.set("Contact", NameAddr::new(contact).to_string());
    request.headers.set("Expires", expires.to_string());
    request
}
