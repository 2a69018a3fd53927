//! A camera or recorder: registers, keeps alive, re-registers when the platform is silent, logs out.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::catalog;
use crate::digest::Challenge;
use crate::faults::Faults;
use crate::link::Link;
use crate::options::{CameraSpec, FieldArgs};
use crate::report;
use crate::session::{Channel, Handle};
use crate::sip_text::Message;
use crate::ua::{Event, Ua, token};
use crate::xml;

/// What an answer belongs to.
pub enum Asked {
    Register { logout: bool, tries: u8 },
    Keepalive,
}

/// A call of the platform.
pub struct Call {
    pub channel: Arc<Channel>,
    pub sub: bool,
    /// From and To for our own BYE (ours first), and the platform's Contact.
    pub ours: String,
    pub theirs: String,
    pub contact: String,
    /// The SDP answered, given again to a re-INVITE.
    pub answer: String,
    /// Waits for the ACK.
    pub waiting: Option<crate::session::Plan>,
    pub running: Option<Handle>,
    pub cseq: u32,
    /// The INVITE and its answer that a slow device has not given yet.
    pub held: Option<(Message, SocketAddr, Message)>,
    /// Of a playback or download.
    pub control: Option<Arc<crate::history::Control>>,
    pub rtsp_cseq: u32,
}

pub struct Device {
    pub spec: CameraSpec,
    pub faults: Faults,
    /// What the device has recorded, the same for each channel.
    pub tape: Vec<crate::tape::Span>,
    pub field: FieldArgs,
    pub channels: Vec<Arc<Channel>>,
    pub names: Vec<(String, String)>,
    pub ua: Ua,
    pub speaker: crate::speaker::Speaker,
    pub talks: crate::talk::Talks,
    pub asked: HashMap<String, Asked>,
    pub calls: HashMap<String, Call>,
    pub ended: mpsc::Sender<(String, String)>,
    /// For work beside the device's own: MANSCDP texts to be sent.
    pub say: mpsc::Sender<String>,
    pub sn: u32,
    pub cseq: u32,
    /// The device's clock minus ours: learned from Date, unless it is off for good.
    pub clock_offset: jiff::SignedDuration,
    /// Server clock minus ours, by the last Date.
    pub heard_offset: jiff::SignedDuration,
    /// It was redirected here, and by then it wants to be registered.
    pub away: bool,
    pub give_up: Option<Instant>,
    /// Where a 302 sends it, and why it leaves this server.
    pub sent_to: Option<Home>,
    pub leave: Option<String>,
    pub registered: bool,
    pub register_call: String,
    pub challenge: Option<Challenge>,
    pub next_register: Option<Instant>,
    pub next_keepalive: Option<Instant>,
    pub missed: u32,
    pub wait: f64,
    pub notifier: crate::notifier::Notifier,
    /// When the device was first registered, its answers that wait, and the credentials it repeats (faults of `odd.rs`).
    pub registered_at: Option<Instant>,
    pub later: Vec<Later>,
    pub repeated: Option<(&'static str, String)>,
    pub moved: bool,
}

/// What a slow device still has to say.
pub enum Later {
    Message { at: Instant, text: String },
    Answer { at: Instant, call_id: String },
}

impl Later {
    pub fn at(&self) -> Instant {
        match self {
            Later::Message { at, .. } | Later::Answer { at, .. } => *at,
        }
    }
}

/// The server that the device registers with: at first the one it was told by its settings.
#[derive(Clone, PartialEq, Eq)]
pub struct Home {
    pub address: SocketAddr,
    pub id: String,
}

impl Home {
    fn settings(&self, field: &FieldArgs, first: &Home) -> FieldArgs {
        // Another platform has a domain of its own: the first ten digits of its id.
        let domain = if self == first { &field.domain } else { self.id.get(..10).unwrap_or(&field.domain) };
        FieldArgs { server_id: self.id.clone(), domain: domain.to_owned(), ..field.clone() }
    }
}

async fn connect(spec: &CameraSpec, field: &FieldArgs, server: SocketAddr) -> std::io::Result<Link> {
    if spec.transport == "tcp" {
        Link::tcp(field.bind, server).await
    } else {
        Link::udp(field.bind, spec.port, server).await
    }
}

/// A random extra time of up to the same again, so that a field does not come back in one burst.
pub fn jittered(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds * (1.0 + rand::random::<f64>()))
}

/// Runs until `stop`. TCP: the connection is made anew when it breaks; each time the device registers again.
pub async fn run(
    spec: CameraSpec,
    field: FieldArgs,
    server: SocketAddr,
    channels: Vec<Arc<Channel>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut wait = spec.retry;
    let first = Home { address: server, id: field.server_id.clone() };
    let mut home = first.clone();
    loop {
        let server = home.address;
        match connect(&spec, &field, server).await {
            Ok(link) => {
                let away = home != first;
                let mut device = Device::new(spec.clone(), home.settings(&field, &first), channels.clone(), link, away);
                match device.serve(&mut stop).await {
                    None => return,
                    Some(_) if device.sent_to.is_some() => {
                        home = device.sent_to.take().unwrap_or_else(|| first.clone());
                        continue;
                    }
                    Some(why) => {
                        report::event("offline", &spec.id, json!({"reason": why}));
                        report::say(&format!("camera {} lost its connection: {why}", spec.id));
                        if device.registered {
                            wait = spec.retry;
                        }
                    }
                }
            }
            Err(e) => {
                report::event("connect_failed", &spec.id, json!({"reason": e.to_string()}));
                report::say(&format!("camera {} cannot reach {server}: {e}", spec.id));
            }
        }
        if home != first {
            report::event("redirect_failed", &spec.id, json!({"server": server.to_string(), "server_id": home.id}));
            report::say(&format!("camera {} goes back to {}", spec.id, first.address));
            home = first.clone();
        }
        let pause = jittered(wait);
        wait = (wait * 2.0).min(60.0);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => return,
        }
    }
}

impl Device {
    fn new(spec: CameraSpec, field: FieldArgs, channels: Vec<Arc<Channel>>, mut link: Link, away: bool) -> Self {
        let (names, wait) = (spec.channel_list(), spec.retry);
        let faults = Faults::try_from(spec.fault.clone()).unwrap_or_default();
        link.odd = faults.odd.clone();
        Self {
            faults,
            tape: spec.recordings.iter().filter_map(|r| crate::tape::Span::parse(r).ok()).collect(),
            field,
            channels,
            names,
            ua: Ua::new(link),
            speaker: crate::speaker::Speaker::try_from(spec.speaker.clone()).unwrap_or_default(),
            talks: crate::talk::Talks::default(),
            asked: HashMap::new(),
            calls: HashMap::new(),
            ended: mpsc::channel(1).0,
            say: mpsc::channel(1).0,
            sn: 0,
            cseq: 0,
            clock_offset: jiff::SignedDuration::from_secs_f64(spec.clock_offset.unwrap_or(0.0)),
            heard_offset: jiff::SignedDuration::ZERO,
            give_up: away.then(|| Instant::now() + Duration::from_secs_f64(spec.redirect_patience.max(0.1))),
            away,
            sent_to: None,
            leave: None,
            registered: false,
            register_call: token(),
            challenge: None,
            next_register: Some(Instant::now()),
            next_keepalive: None,
            missed: 0,
            wait,
            registered_at: None,
            later: Vec::new(),
            repeated: None,
            moved: false,
            notifier: Default::default(),
            spec,
        }
    }

    /// `None` after a logout; else why the connection ended.
    async fn serve(&mut self, stop: &mut watch::Receiver<bool>) -> Option<String> {
        let (ended_tx, mut ended) = mpsc::channel(16);
        self.ended = ended_tx;
        let (say_tx, mut said) = mpsc::channel(16);
        self.say = say_tx;
        loop {
            let far = Instant::now() + Duration::from_secs(3600);
            let own = [
                self.next_register,
                self.next_keepalive,
                self.next_odd(),
                self.give_up,
                self.notifier.next(self.faults.subscribe_terminate),
            ];
            let until = own.into_iter().flatten().min().unwrap_or(far);
            let until = self.talk_due().map_or(until, |t| until.min(t));
            let event = tokio::select! {
                event = self.ua.next(until) => event,
                Some((call_id, why)) = ended.recv() => {
                    self.media_failed(&call_id, &why).await;
                    continue;
                }
                Some(text) = said.recv() => {
                    self.message(&text).await;
                    continue;
                }
                _ = stop.changed() => {
                    self.logout().await;
                    return None;
                }
            };
            match event {
                Event::Request(request, _) if self.is_deaf() => {
                    report::event("unheard", &self.spec.id, json!({"method": request.method()}));
                }
                Event::Request(request, from) => self.request(request, from).await,
                Event::Response { branch, message } => {
                    if !self.talk_answered(&branch, &message).await {
                        self.response(&branch, &message).await;
                    }
                }
                Event::Timeout { branch } => match self.asked.remove(&branch) {
                    Some(Asked::Register { .. }) => self.register_failed("no answer"),
                    Some(Asked::Keepalive) => self.keepalive_missed("no answer"),
                    _ => {}
                },
                Event::NoAck { call_id } => {
                    if self.calls.get(&call_id).is_some_and(|c| c.waiting.is_some()) {
                        self.calls.remove(&call_id);
                        report::event("no_ack", &self.spec.id, json!({"call_id": call_id}));
                    }
                }
                Event::Down(why) => return Some(why),
                Event::Tick => {}
            }
            self.timers().await;
            self.notifier_timers().await;
            if self.give_up.is_some_and(|t| Instant::now() >= t) {
                self.leave = Some("the server it was sent to does not take it".into());
            }
            if let Some(why) = self.leave.take() {
                return Some(why);
            }
        }
    }

    async fn timers(&mut self) {
        self.talk_timers().await;
        let now = Instant::now();
        self.odd_timers(now).await;
        if self.next_register.is_some_and(|t| now >= t) {
            self.next_register = None;
            self.register(false, 0).await;
        }
        if self.next_keepalive.is_some_and(|t| now >= t) {
            // One that is not answered by the time of the next one counts as missed.
            let open = self.asked.iter().find(|(_, a)| matches!(a, Asked::Keepalive)).map(|(b, _)| b.clone());
            if let Some(branch) = open {
                self.asked.remove(&branch);
                self.keepalive_missed("no answer");
            }
            self.next_keepalive = self.registered.then(|| now + Duration::from_secs_f64(self.field.keepalive.max(0.2)));
            if self.registered && !self.faults.drop_keepalive {
                self.sn += 1;
                let text = catalog::keepalive(self.sn, &self.spec.id);
                let branch = self.message(&text).await;
                self.asked.insert(branch, Asked::Keepalive);
            }
        }
    }

    /// From, To, Call-ID and the rest of a request outside a call.
    pub fn fresh(&mut self, method: &str, to_id: &str, call_id: &str) -> Message {
        self.cseq += 1;
        let domain = &self.field.domain;
        let transport = if self.ua.link.is_tcp() { ";transport=tcp" } else { "" };
        let odd = &self.faults.odd;
        let own = odd.own_to && method == "MESSAGE";
        let (to_id, at) = if own { (self.spec.id.as_str(), "0.0.0.0") } else { (to_id, domain.as_str()) };
        let contact = if odd.private_contact { "192.168.1.64:5060".into() } else { self.ua.link.local.to_string() };
        Message::request(method, &format!("sip:{}@{at}", self.field.server_id))
            .with("From", format!("<sip:{}@{domain}>;tag={}", self.spec.id, token()))
            .with("To", format!("<sip:{to_id}@{at}>"))
            .with("Call-ID", call_id)
            .with("CSeq", format!("{} {method}", self.cseq))
            .with("Contact", format!("<sip:{}@{contact}{transport}>", self.spec.id))
            .with("Max-Forwards", "70")
            .with("User-Agent", concat!("fieldsim/", env!("CARGO_PKG_VERSION")))
    }

    /// Sends a MANSCDP MESSAGE to the platform; returns its branch.
    pub async fn message(&mut self, text: &str) -> String {
        let call_id = token();
        let to = self.field.server_id.clone();
        let mut request = self.fresh("MESSAGE", &to, &call_id);
        if self.spec.send_date && text.contains("<CmdType>Keepalive<") {
            request = request.with("Date", self.date());
        }
        let request = request.with_body("Application/MANSCDP+xml", xml::encode(text));
        self.ua.request(request).await
    }
}
