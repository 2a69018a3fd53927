//! Registration, keepalive and logout of a device (reference sections 4 and 5).

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::device::{Asked, Device, Home, jittered};
use crate::digest::Challenge;
use crate::report;
use crate::sip_text::Message;
use crate::ua::{Event, token};

impl Device {
    pub async fn register(&mut self, logout: bool, tries: u8) {
        let call_id = self.register_call.clone();
        let id = self.spec.id.clone();
        let expires = if logout { 0 } else { self.spec.expires };
        let mut request = self.fresh("REGISTER", &id, &call_id).with("Expires", expires.to_string());
        if self.spec.edition >= 2022 {
            request = request.with("X-GB-Ver", "3.0");
        }
        if self.spec.send_date {
            request = request.with("Date", self.date());
        }
        if let (Some(challenge), Some(password)) = (&mut self.challenge, &self.spec.password) {
            let user = self.spec.user.as_deref().unwrap_or(&self.spec.id);
            let uri = request.uri().to_string();
            let (name, value) = challenge.answer("REGISTER", &uri, user, password);
            let (name, value) = self.repeats(name, value);
            request = request.with(name, value);
        }
        let branch = self.ua.request(request).await;
        self.asked.insert(branch, Asked::Register { logout, tries });
    }

    pub async fn response(&mut self, branch: &str, message: &Message) {
        let code = message.code();
        if code < 200 {
            return;
        }
        match self.asked.remove(branch) {
            Some(Asked::Register { logout: false, tries }) => self.register_answered(message, tries).await,
            Some(Asked::Keepalive) if code < 300 => {
                self.missed = 0;
                report::event("keepalive", &self.spec.id, json!({"sn": self.sn}));
            }
            Some(Asked::Keepalive) => self.keepalive_missed(&format!("refused with {code}")),
            _ => {}
        }
    }

    fn challenged(message: &Message) -> Option<Challenge> {
        let (name, proxy) =
            if message.code() == 407 { ("Proxy-Authenticate", true) } else { ("WWW-Authenticate", false) };
        message.all(name).find_map(|value| Challenge::parse(value, proxy))
    }

    async fn register_answered(&mut self, message: &Message, tries: u8) {
        let code = message.code();
        if matches!(code, 401 | 407) && tries < 2 && self.spec.password.is_some() {
            self.challenge = Self::challenged(message);
            self.repeated = None;
            if self.challenge.is_some() {
                return self.register(false, tries + 1).await;
            }
        }
        if code == 302 {
            return self.redirected(message);
        }
        if !(200..300).contains(&code) {
            self.challenge = None;
            return self.register_failed(&format!("refused with {code}"));
        }
        let contact =
            message.header("Contact").and_then(|c| crate::sip_text::param(c, "expires")).and_then(|e| e.parse().ok());
        let expires: u32 =
            message.header("Expires").and_then(|e| e.parse().ok()).or(contact).unwrap_or(self.spec.expires);
        self.take_date(message.header("Date"));
        let offset_ms = self.heard_offset.as_millis() as i64;
        self.give_up = None;
        let again = self.registered;
        self.registered = true;
        self.registered_at.get_or_insert(Instant::now());
        self.missed = 0;
        self.wait = self.spec.retry;
        self.next_register = Some(Instant::now() + Duration::from_secs_f64(f64::from(expires.max(2)) * 0.8));
        if !again {
            self.start_notifier();
        }
        if self.next_keepalive.is_none() {
            self.next_keepalive = Some(Instant::now());
        }
        let digest = self.challenge.is_some();
        report::event(
            "registered",
            &self.spec.id,
            json!({"refresh": again, "expires": expires, "digest": digest, "transport": self.spec.transport,
                "local": self.ua.link.local.to_string(), "version": message.header("X-GB-Ver"), "clock_offset_ms": offset_ms,
                "date": message.header("Date"), "server": self.ua.link.server.to_string(), "server_id": self.field.server_id}),
        );
        if !again {
            report::say(&format!("camera {} registered", self.spec.id));
        }
        self.after_registration().await;
    }

    /// Date is Beijing time without a zone.
    fn take_date(&mut self, date: Option<&str>) {
        let parsed = date.and_then(|d| d.parse::<jiff::civil::DateTime>().ok());
        if let Some(at) = parsed.and_then(|d| d.to_zoned(beijing()).ok()) {
            self.heard_offset = at.timestamp().duration_since(jiff::Timestamp::now());
            if self.spec.clock_offset.is_none() {
                self.clock_offset = self.heard_offset;
            }
        }
    }

    /// The device's clock in Beijing time.
    pub fn clock(&self) -> String {
        self.time("%Y-%m-%dT%H:%M:%S")
    }

    /// The same for its own Date.
    pub fn date(&self) -> String {
        self.time("%Y-%m-%dT%H:%M:%S%.3f")
    }

    fn time(&self, form: &str) -> String {
        let now = jiff::Timestamp::now().checked_add(self.clock_offset).unwrap_or_default();
        now.to_zoned(beijing()).strftime(form).to_string()
    }

    /// 302: the rest is done with the server of its Contact.
    fn redirected(&mut self, message: &Message) {
        let contact = message.header("Contact").unwrap_or_default();
        let place = crate::uri::address_uri(contact).split_once('@').and_then(|(_, at)| {
            let at = at.split(';').next().unwrap_or(at);
            at.parse().or_else(|_| at.parse().map(|ip| SocketAddr::new(ip, 5060))).ok()
        });
        let id = crate::uri::user_of(contact).to_owned();
        let Some(address) = place.filter(|_| !id.is_empty()) else {
            return self.register_failed(&format!("redirected to nowhere: {contact}"));
        };
        report::event(
            "redirected",
            &self.spec.id,
            json!({"server": address.to_string(), "server_id": id, "expires": message.header("Expires")}),
        );
        report::say(&format!("camera {} is sent on to {id} at {address}", self.spec.id));
        self.leave = Some("redirected".into());
        self.sent_to = Some(Home { address, id });
    }

    pub fn register_failed(&mut self, why: &str) {
        if self.away && !self.registered {
            report::event("register_failed", &self.spec.id, json!({"reason": why, "server_id": self.field.server_id}));
            self.leave = Some(why.to_owned());
            return;
        }
        self.registered = false;
        self.next_keepalive = None;
        let pause = jittered(self.wait);
        self.wait = (self.wait * 2.0).min(60.0);
        self.next_register = Some(Instant::now() + pause);
        report::event("register_failed", &self.spec.id, json!({"reason": why, "retry_seconds": pause.as_secs_f64()}));
        report::say(&format!(
            "camera {} not registered: {why}; next try in {:.0} s",
            self.spec.id,
            pause.as_secs_f64()
        ));
    }

    pub fn keepalive_missed(&mut self, why: &str) {
        self.missed += 1;
        report::event("keepalive_missed", &self.spec.id, json!({"reason": why, "missed": self.missed}));
        if self.missed >= 3 && self.registered {
            report::say(&format!("camera {}: 3 keepalives failed ({why}), registering again", self.spec.id));
            if self.away {
                self.leave = Some(format!("3 keepalives failed ({why})"));
                return;
            }
            self.registered = false;
            self.missed = 0;
            self.next_keepalive = None;
            self.register_call = token();
            self.next_register =
                Some(Instant::now() + Duration::from_secs_f64(rand::random::<f64>() * self.spec.retry));
        }
    }

    /// BYE to all calls and REGISTER with Expires 0; waits for the answer for at most 600 ms.
    pub async fn logout(&mut self) {
        let ids: Vec<String> = self.calls.keys().cloned().collect();
        for id in ids {
            self.hang_up(&id).await;
        }
        if !self.registered {
            return;
        }
        self.register(true, 0).await;
        let until = Instant::now() + Duration::from_millis(600);
        let mut tries = 0;
        loop {
            match self.ua.next(until).await {
                Event::Response { branch, message } if message.code() >= 200 => {
                    if !matches!(self.asked.remove(&branch), Some(Asked::Register { logout: true, .. })) {
                        continue;
                    }
                    if matches!(message.code(), 401 | 407) && tries < 2 && self.spec.password.is_some() {
                        tries += 1;
                        self.challenge = Self::challenged(&message);
                        self.register(true, tries).await;
                        continue;
                    }
                    report::event("logged_out", &self.spec.id, json!({"code": message.code()}));
                    report::say(&format!("camera {} logged out", self.spec.id));
                    return;
                }
                Event::Tick | Event::Down(_) => return,
                _ => {}
            }
        }
    }
}

fn beijing() -> jiff::tz::TimeZone {
    jiff::tz::TimeZone::fixed(jiff::tz::offset(8))
}
