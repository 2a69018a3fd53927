//! The notifier's side of a device: subscriptions with expiry, alarms, positions, news of the catalog (reference sections 9, 10).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::catalog::notify;
use crate::device::Device;
use crate::report;
use crate::sip_text::{Message, address_uri, param};
use crate::ua::token;
use crate::xml;

/// A subscription of the platform.
pub struct Sub {
    topic: String,
    call_id: String,
    /// From and To of our NOTIFYs, and where they go.
    ours: String,
    theirs: String,
    contact: String,
    event: String,
    cseq: u32,
    ends: Instant,
    interval: f64,
    /// For the fault that ends a subscription early.
    began: Instant,
}

#[derive(Default)]
pub struct Notifier {
    /// By Call-ID.
    subs: HashMap<String, Sub>,
    pub next_alarm: Option<Instant>,
    next_position: Option<Instant>,
    next_change: Option<Instant>,
    wish: Option<Instant>,
    /// An alarm without its business answer: text, number, next repeat.
    open: Option<(String, u32, Instant)>,
    /// A device alarm that was not reset: nothing new is sent.
    pub latched: bool,
    steps: u32,
    changes: u32,
    alarms: u32,
}

fn secs(s: f64) -> Duration {
    Duration::from_secs_f64(s.clamp(0.01, 86_400.0))
}

impl Notifier {
    /// `terminate`: the fault that ends subscriptions early.
    pub fn next(&self, terminate: Option<f64>) -> Option<Instant> {
        let terms = self.subs.values().map(|s| terminate.map_or(s.ends, |after| s.ends.min(s.began + secs(after))));
        let own = [self.next_alarm, self.next_position, self.next_change, self.wish];
        own.into_iter().flatten().chain(self.open.as_ref().map(|o| o.2)).chain(terms).min()
    }
}

impl Device {
    /// The first registration of a connection starts the clocks.
    pub fn start_notifier(&mut self) {
        let now = Instant::now();
        let spec = &self.spec;
        let n = &mut self.notifier;
        n.next_alarm = spec.alarm_after.map(|s| now + secs(s));
        n.next_position = spec.move_every.map(|s| now + secs(s));
        n.next_change = spec.change_every.map(|s| now + secs(s));
        n.wish = spec.wish_after.map(|s| now + secs(s));
    }

    pub async fn notifier_timers(&mut self) {
        let now = Instant::now();
        let over: Vec<String> =
            self.notifier.subs.values().filter(|s| now >= s.ends).map(|s| s.call_id.clone()).collect();
        for call_id in over {
            self.terminate(&call_id, "timeout").await;
        }
        if let Some(after) = self.faults.subscribe_terminate {
            let early = |s: &&Sub| now >= s.began + secs(after);
            let ids: Vec<String> = self.notifier.subs.values().filter(early).map(|s| s.call_id.clone()).collect();
            for call_id in ids {
                self.terminate(&call_id, "deactivated").await;
            }
        }
        if self.notifier.next_alarm.is_some_and(|t| now >= t) {
            self.notifier.next_alarm = self.spec.alarm_every.map(|s| now + secs(s));
            if self.registered && !self.notifier.latched {
                self.raise_alarm().await;
            }
        }
        if let Some((text, sn, at)) = self.notifier.open.clone()
            && now >= at
        {
            self.notifier.open = Some((text.clone(), sn, now + Duration::from_secs(2)));
            report::event("alarm_repeated", &self.spec.id, json!({"sn": sn}));
            self.tell("Alarm", &text).await;
        }
        if self.notifier.next_position.is_some_and(|t| now >= t) {
            let asked = self.notifier.subs.values().find(|s| s.topic == "MobilePosition").map(|s| s.interval);
            let every = asked.or(self.spec.move_every).unwrap_or(5.0);
            self.notifier.next_position = Some(now + secs(every));
            if self.registered {
                self.tell_position().await;
            }
        }
        if self.notifier.next_change.is_some_and(|t| now >= t) {
            self.notifier.next_change = self.spec.change_every.map(|s| now + secs(s));
            self.tell_change().await;
        }
        if self.notifier.wish.is_some_and(|t| now >= t) {
            self.notifier.wish = None;
            self.sn += 1;
            let inner = format!("<Time>{}</Time>\r\n", self.clock());
            let text = notify("VideoUploadNotify", self.sn, &self.spec.id, &inner);
            report::event("wish", &self.spec.id, json!({"sn": self.sn}));
            self.message(&text).await;
        }
    }

    pub async fn subscribe(&mut self, request: &Message, from: SocketAddr) {
        let text = xml::decode(&request.body);
        let topic = xml::element(&text, "CmdType").unwrap_or_default();
        let call_id = request.call_id().to_string();
        let asked: u32 = request.header("Expires").and_then(|e| e.trim().parse().ok()).unwrap_or(3600);
        let in_dialog = request.header("To").is_some_and(|t| param(t, "tag").is_some());
        let known = self.notifier.subs.contains_key(&call_id);
        let refused = match self.faults.subscribe_reject {
            Some(code) => Some(code),
            None if in_dialog && (!known || self.faults.subscribe_lost) => Some(481),
            None => None,
        };
        if let Some(code) = refused {
            self.notifier.subs.remove(&call_id);
            report::event(
                "subscribe_refused",
                &self.spec.id,
                json!({"topic": topic, "code": code, "call_id": call_id}),
            );
            return self.answer(request, from, code, "Refused").await;
        }
        let expires = asked.min(self.spec.subscribe_expires.unwrap_or(u32::MAX));
        let tag = token();
        let mut out = Message::response(request, 200, "OK", &tag).with("Expires", expires.to_string());
        let contact = format!("<sip:{}@{}>", self.spec.id, self.ua.link.local);
        out = out.with("Contact", contact);
        let header = |m: &Message, name: &str| m.header(name).unwrap_or("").to_string();
        let (ours, theirs) = (header(&out, "To"), header(request, "From"));
        self.ua.reply(request, from, out).await;
        let fields = json!({"topic": topic, "expires": expires, "call_id": call_id, "refresh": known,
            "package": request.header("Event"), "interval": xml::element(&text, "Interval")});
        if asked == 0 {
            report::event("unsubscribed", &self.spec.id, fields);
            self.notifier.subs.remove(&call_id);
            return;
        }
        report::event("subscribed", &self.spec.id, fields);
        let now = Instant::now();
        let interval = xml::element(&text, "Interval").and_then(|i| i.parse().ok()).unwrap_or(5.0);
        let sub = Sub {
            topic: topic.clone(),
            call_id: call_id.clone(),
            ours,
            theirs,
            contact: address_uri(request.header("Contact").unwrap_or("")).to_string(),
            event: header(request, "Event"),
            cseq: self.notifier.subs.get(&call_id).map_or(0, |s| s.cseq),
            ends: now + Duration::from_secs(u64::from(expires)),
            interval,
            began: self.notifier.subs.get(&call_id).map_or(now, |s| s.began),
        };
        self.notifier.subs.insert(call_id, sub);
        if topic == "MobilePosition" && self.spec.moves {
            self.notifier.next_position = Some(now + secs(interval));
        }
    }

    async fn terminate(&mut self, call_id: &str, reason: &str) {
        let Some(sub) = self.notifier.subs.remove(call_id) else { return };
        report::event(
            "subscription_ended",
            &self.spec.id,
            json!({"topic": sub.topic, "reason": reason, "call_id": call_id}),
        );
        self.send_notify(&sub, &format!("terminated;reason={reason}"), None).await;
    }

    async fn send_notify(&mut self, sub: &Sub, state: &str, text: Option<&str>) {
        let mut request = Message::request("NOTIFY", &sub.contact)
            .with("From", sub.ours.clone())
            .with("To", sub.theirs.clone())
            .with("Call-ID", sub.call_id.clone())
            .with("CSeq", format!("{} NOTIFY", sub.cseq + 1))
            .with("Contact", format!("<sip:{}@{}>", self.spec.id, self.ua.link.local))
            .with("Max-Forwards", "70")
            .with("Event", sub.event.clone())
            .with("Subscription-State", state);
        if let Some(text) = text {
            request = request.with_body("Application/MANSCDP+xml", xml::encode(text));
        }
        self.ua.request(request).await;
    }

    /// By NOTIFY where the platform has subscribed (or out of any dialog, with the fault), else by MESSAGE.
    async fn tell(&mut self, topic: &str, text: &str) {
        if self.faults.notify_out_of_dialog {
            let call_id = token();
            let to = self.field.server_id.clone();
            let request = self
                .fresh("NOTIFY", &to, &call_id)
                .with("Event", "presence;id=1")
                .with("Subscription-State", "active;expires=600")
                .with_body("Application/MANSCDP+xml", xml::encode(text));
            self.ua.request(request).await;
            return;
        }
        let now = Instant::now();
        let found = self.notifier.subs.values_mut().find(|s| s.topic.eq_ignore_ascii_case(topic));
        let Some(sub) = found else {
            self.message(text).await;
            return;
        };
        sub.cseq += 1;
        let left = sub.ends.saturating_duration_since(now).as_secs();
        let copy = Sub {
            topic: sub.topic.clone(),
            call_id: sub.call_id.clone(),
            ours: sub.ours.clone(),
            theirs: sub.theirs.clone(),
            contact: sub.contact.clone(),
            event: sub.event.clone(),
            cseq: sub.cseq,
            ..*sub
        };
        self.send_notify(&copy, &format!("active;expires={left};retry-after=0"), Some(text)).await;
    }

    async fn raise_alarm(&mut self) {
        self.sn += 1;
        self.notifier.alarms += 1;
        let sn = self.sn;
        let mut numbers = self.spec.alarm.split('/').map(|n| n.trim().parse::<u32>().unwrap_or(0));
        let (method, kind, priority) =
            (numbers.next().unwrap_or(5), numbers.next().unwrap_or(0), numbers.next().unwrap_or(2));
        let kind_text =
            if kind == 0 { String::new() } else { format!("<Info>\r\n<AlarmType>{kind}</AlarmType>\r\n</Info>\r\n") };
        let source = self
            .spec
            .alarm_source
            .clone()
            .unwrap_or_else(|| self.channels.first().map_or_else(|| self.spec.id.clone(), |c| c.id.clone()));
        let inner = format!(
            "<AlarmPriority>{priority}</AlarmPriority>\r\n<AlarmMethod>{method}</AlarmMethod>\r\n<AlarmTime>{}</AlarmTime>\r\n\
             <AlarmDescription>{}</AlarmDescription>\r\n<Longitude>118.376451</Longitude>\r\n<Latitude>31.326319</Latitude>\r\n{kind_text}",
            self.clock(),
            xml::escape(&format!("{} 第 {} 次 alarm {}", self.spec.name, self.notifier.alarms, self.notifier.alarms)),
        );
        let text = notify("Alarm", sn, &source, &inner);
        if self.spec.alarm_repeats {
            self.notifier.open = Some((text.clone(), sn, Instant::now() + Duration::from_secs(2)));
        }
        self.notifier.latched = method == 2;
        report::event("alarm", &self.spec.id, json!({"sn": sn, "method": method, "type": kind, "source": source}));
        report::say(&format!("camera {}: alarm {method}/{kind}", self.spec.id));
        self.tell("Alarm", &text).await;
    }

    /// The platform's business answer.
    pub fn business_answer(&mut self, kind: &str, sn: &str, text: &str) {
        if !kind.eq_ignore_ascii_case("Alarm") {
            return;
        }
        let result = xml::element(text, "Result").unwrap_or_default();
        report::event("alarm_answered", &self.spec.id, json!({"sn": sn.parse::<u32>().ok(), "result": result}));
        if result.eq_ignore_ascii_case("OK") && self.notifier.open.as_ref().is_some_and(|o| o.1.to_string() == sn) {
            self.notifier.open = None;
        }
    }

    pub fn alarm_reset(&mut self, id: &str, methods: Option<String>, kind: Option<String>) {
        self.notifier.latched = false;
        report::event("alarm_reset", &self.spec.id, json!({"target": id, "methods": methods, "kind": kind}));
    }

    /// Walks in a circle of some 100 m.
    async fn tell_position(&mut self) {
        self.sn += 1;
        self.notifier.steps += 1;
        let angle = f64::from(self.notifier.steps) * 0.2;
        let (longitude, latitude) = (118.376451 + 0.001 * angle.cos(), 31.326319 + 0.001 * angle.sin());
        let direction = (360.0 - angle.to_degrees()).rem_euclid(360.0);
        let odd = self.faults.odd_positions && self.notifier.steps.is_multiple_of(2);
        let east = if odd { "" } else { "E" };
        let place = if odd {
            "<Longitude></Longitude>\r\n<Latitude>0</Latitude>\r\n".to_string()
        } else {
            let suffix = if self.faults.odd_positions { east } else { "" };
            format!("<Longitude>{longitude:.6}{suffix}</Longitude>\r\n<Latitude>{latitude:.6}</Latitude>\r\n")
        };
        let clock = self.clock();
        let more =
            format!("<Speed>4.2</Speed>\r\n<Direction>{direction:.0}</Direction>\r\n<Altitude>19</Altitude>\r\n");
        let inner = if self.spec.edition >= 2022 {
            let items: String = self
                .channels
                .iter()
                .take(20)
                .map(|c| format!("<Item>\r\n<DeviceID>{}</DeviceID>\r\n<CaptureTime>{clock}</CaptureTime>\r\n{place}{more}</Item>\r\n", c.id))
                .collect();
            let count = self.channels.len().min(20);
            format!(
                "<Time>{clock}</Time>\r\n<SumNum>{count}</SumNum>\r\n<DeviceList Num=\"{count}\">\r\n{items}</DeviceList>\r\n"
            )
        } else {
            format!("<Time>{clock}</Time>\r\n{place}{more}")
        };
        let text = notify("MobilePosition", self.sn, &self.spec.id, &inner);
        report::event("position", &self.spec.id, json!({"longitude": longitude, "latitude": latitude, "odd": odd}));
        self.tell("MobilePosition", &text).await;
    }

    /// One channel goes through its life: OFF, ON, VLOST, ON, DEL, ADD, UPDATE.
    async fn tell_change(&mut self) {
        const LIFE: [&str; 7] = ["OFF", "ON", "VLOST", "ON", "DEL", "ADD", "UPDATE"];
        let Some((id, name)) = self.names.last().cloned() else { return };
        let event = LIFE.get(self.notifier.changes as usize % LIFE.len()).copied().unwrap_or("ON");
        self.notifier.changes += 1;
        self.sn += 1;
        let whole = match event {
            "ADD" | "UPDATE" => format!(
                "<Name>{} {}</Name>\r\n<ParentID>{}</ParentID>\r\n<Status>ON</Status>\r\n",
                xml::escape(&name),
                event.to_lowercase(),
                self.spec.id
            ),
            _ => String::new(),
        };
        let inner = format!(
            "<SumNum>1</SumNum>\r\n<DeviceList Num=\"1\">\r\n<Item>\r\n<DeviceID>{id}</DeviceID>\r\n<Event>{event}</Event>\r\n{whole}</Item>\r\n</DeviceList>\r\n"
        );
        let text = notify("Catalog", self.sn, &self.spec.id, &inner);
        report::event("change", &self.spec.id, json!({"channel": id, "what": event}));
        self.tell("Catalog", &text).await;
    }
}
