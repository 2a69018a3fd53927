//! A SIP phone: registers, dials a number, or takes a call; retries with back-off when the call ends.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::digest::Challenge;
use crate::link::Link;
use crate::options::{FieldArgs, PhoneSpec};
use crate::phone_call::PhoneCall;
use crate::report;
use crate::sip_text::Message;
use crate::ua::{Event, Ua, token};

pub enum Asked {
    Register { logout: bool, tries: u8 },
    Invite { tries: u8 },
    Other,
}

pub struct Phone {
    pub spec: PhoneSpec,
    pub field: FieldArgs,
    pub ua: Ua,
    pub call: Option<PhoneCall>,
    pub done: bool,
    pub speech: Arc<Vec<i16>>,
    pub asked: HashMap<String, Asked>,
    pub challenge: Option<Challenge>,
    pub registered: bool,
    register_call: String,
    cseq: u32,
    next_register: Option<Instant>,
    pub next_dial: Option<Instant>,
    pub wait: f64,
}

pub async fn run(spec: PhoneSpec, field: FieldArgs, server: SocketAddr, mut stop: watch::Receiver<bool>) {
    let speech = Arc::new(crate::wav::speech(&spec));
    let mut wait = 2.0;
    loop {
        let link = if spec.transport == "tcp" {
            Link::tcp(field.bind, server).await
        } else {
            Link::udp(field.bind, spec.port, server).await
        };
        match link {
            Ok(link) => {
                let now = Instant::now();
                let mut phone = Phone {
                    next_register: (!spec.no_register).then_some(now),
                    next_dial: spec.no_register.then_some(now),
                    spec: spec.clone(),
                    field: field.clone(),
                    ua: Ua::new(link),
                    call: None,
                    done: false,
                    speech: speech.clone(),
                    asked: HashMap::new(),
                    challenge: None,
                    registered: false,
                    register_call: token(),
                    cseq: 0,
                    wait: 2.0,
                };
                if phone.serve(&mut stop).await {
                    return;
                }
            }
            Err(e) => report::say(&format!("phone {} cannot reach {server}: {e}", spec.user)),
        }
        wait = f64::min(wait * 2.0, 30.0);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs_f64(wait)) => {}
            _ = stop.changed() => return,
        }
    }
}

impl Phone {
    pub fn domain(&self) -> &str {
        self.spec.sip_domain.as_deref().unwrap_or(&self.field.domain)
    }

    pub fn contact(&self) -> String {
        let transport = if self.ua.link.is_tcp() { ";transport=tcp" } else { "" };
        format!("<sip:{}@{}{transport}>", self.spec.user, self.ua.link.local)
    }

    /// True when all is over; false when the connection broke.
    async fn serve(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        loop {
            let hang_up =
                self.spec.hangup_after.and_then(|s| Some(self.call.as_ref()?.since? + Duration::from_secs_f64(s)));
            let pick_up = self.call.as_ref().and_then(|c| c.ringing.as_ref()).map(|(_, _, at)| *at);
            let far = Instant::now() + Duration::from_secs(3600);
            let until =
                [self.next_register, self.next_dial, hang_up, pick_up].into_iter().flatten().min().unwrap_or(far);
            let event = tokio::select! {
                event = self.ua.next(until) => event,
                _ = stop.changed() => {
                    self.leave().await;
                    return true;
                }
            };
            match event {
                Event::Request(request, from) => self.request(request, from).await,
                Event::Response { branch, message } => self.response(&branch, message).await,
                Event::Timeout { branch } => match self.asked.remove(&branch) {
                    Some(Asked::Register { .. }) => self.register_failed("no answer"),
                    Some(Asked::Invite { .. }) => self.ended("no answer"),
                    _ => {}
                },
                Event::NoAck { .. } => self.ended("no ACK"),
                Event::Down(why) => {
                    self.ended(&why);
                    return self.done;
                }
                Event::Tick => {}
            }
            let now = Instant::now();
            if self.next_register.is_some_and(|t| now >= t) {
                self.next_register = None;
                self.register(false, 0).await;
            }
            if hang_up.is_some_and(|t| now >= t) && self.call.as_ref().is_some_and(|c| c.since.is_some()) {
                self.hang_up().await;
                self.ended("hung up");
            }
            if pick_up.is_some_and(|t| now >= t) {
                self.pick_up().await;
            }
            if self.next_dial.is_some_and(|t| now >= t) {
                self.next_dial = None;
                self.dial().await;
            }
            if self.done {
                self.leave().await;
                return true;
            }
        }
    }

    async fn leave(&mut self) {
        self.hang_up().await;
        self.call = None;
        if self.registered {
            self.register(true, 0).await;
            self.logged_out(Instant::now() + Duration::from_millis(500)).await;
            report::event("phone_logged_out", &self.spec.user, json!({}));
        }
    }

    async fn logged_out(&mut self, until: Instant) {
        loop {
            let (branch, message) = match self.ua.next(until).await {
                Event::Response { branch, message } => (branch, message),
                Event::Tick | Event::Down(_) => return,
                _ => continue,
            };
            let Some(Asked::Register { logout: true, tries }) = self.asked.get(&branch) else {
                continue;
            };
            let tries = *tries;
            if message.code() < 200 {
                continue;
            }
            if !matches!(message.code(), 401 | 407) || tries > 0 || !self.take_challenge(&message) {
                return;
            }
            self.register(true, tries + 1).await;
        }
    }

    pub fn take_challenge(&mut self, message: &Message) -> bool {
        let (name, proxy) =
            if message.code() == 407 { ("Proxy-Authenticate", true) } else { ("WWW-Authenticate", false) };
        self.challenge = message.all(name).find_map(|v| Challenge::parse(v, proxy));
        self.challenge.is_some() && self.spec.password.is_some()
    }

    async fn register(&mut self, logout: bool, tries: u8) {
        self.cseq += 1;
        let aor = format!("<sip:{}@{}>", self.spec.user, self.domain());
        let request = Message::request("REGISTER", &format!("sip:{}", self.domain()))
            .with("From", format!("{aor};tag={}", token()))
            .with("To", aor)
            .with("Call-ID", self.register_call.clone())
            .with("CSeq", format!("{} REGISTER", self.cseq))
            .with("Contact", self.contact())
            .with("Max-Forwards", "70")
            .with("User-Agent", concat!("fieldsim-phone/", env!("CARGO_PKG_VERSION")))
            .with("Expires", if logout { "0" } else { "300" });
        let request = self.credentials(request);
        let branch = self.ua.request(request).await;
        self.asked.insert(branch, Asked::Register { logout, tries });
    }

    fn register_failed(&mut self, why: &str) {
        self.registered = false;
        self.next_register = Some(Instant::now() + Duration::from_secs_f64(self.wait * (1.0 + rand::random::<f64>())));
        self.wait = (self.wait * 2.0).min(30.0);
        report::event("phone_register_failed", &self.spec.user, json!({"reason": why}));
        report::say(&format!("phone {} not registered: {why}", self.spec.user));
    }

    async fn response(&mut self, branch: &str, message: Message) {
        let code = message.code();
        if code < 200 {
            if message.cseq().1 == "INVITE" && code > 100 {
                report::event("phone_progress", &self.spec.user, json!({"code": code}));
            }
            return;
        }
        match self.asked.remove(branch) {
            Some(Asked::Register { logout: false, tries }) => match code {
                200..300 => {
                    let first = !self.registered;
                    self.registered = true;
                    let expires: f64 = message.header("Expires").and_then(|e| e.parse().ok()).unwrap_or(300.0);
                    self.next_register = Some(Instant::now() + Duration::from_secs_f64((expires * 0.8).max(1.0)));
                    if first {
                        report::event("phone_registered", &self.spec.user, json!({"expires": expires}));
                        report::say(&format!("phone {} registered", self.spec.user));
                        self.wait = 2.0;
                        self.next_dial = self.spec.dial.is_some().then(Instant::now);
                    }
                }
                401 | 407 if tries < 2 && self.take_challenge(&message) => self.register(false, tries + 1).await,
                _ => {
                    self.challenge = None;
                    self.register_failed(&format!("refused with {code}"));
                }
            },
            Some(Asked::Invite { tries }) => self.invite_answered(branch, message, tries).await,
            None if message.cseq().1 == "INVITE" => {
                if let Some(ack) = self.call.as_ref().and_then(|c| c.last_ack.clone()) {
                    self.ua.again(&ack).await;
                }
            }
            _ => {}
        }
    }
}
