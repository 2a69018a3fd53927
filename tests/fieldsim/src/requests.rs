//! What the platform asks of a device: MESSAGE, BYE and the rest (INVITE: `invite.rs`).

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;

use crate::catalog::{About, response};
use crate::device::Device;
use crate::report;
use crate::session::Channel;
use crate::sip_text::Message;
use crate::ua::token;
use crate::xml;

impl Device {
    pub async fn request(&mut self, request: Message, from: SocketAddr) {
        if self.talk_request(&request, from).await {
            return;
        }
        match request.method() {
            "MESSAGE" => self.manscdp(&request, from).await,
            "INVITE" => self.invite(&request, from).await,
            "ACK" => self.ack(&request),
            "BYE" => self.bye(&request, from).await,
            "INFO" => self.info(&request, from).await,
            "CANCEL" => self.cancel(&request, from).await,
            "SUBSCRIBE" => self.subscribe(&request, from).await,
            "OPTIONS" | "NOTIFY" => self.answer(&request, from, 200, "OK").await,
            _ => self.answer(&request, from, 405, "Method Not Allowed").await,
        }
    }

    pub async fn answer(&mut self, request: &Message, from: SocketAddr, code: u16, reason: &str) {
        let mut out = Message::response(request, code, reason, &token());
        if code == 405 || request.method() == "OPTIONS" {
            out = out.with("Allow", "INVITE, ACK, INFO, CANCEL, BYE, OPTIONS, MESSAGE, SUBSCRIBE");
        }
        self.ua.reply(request, from, out).await;
    }

    pub fn channel(&self, id: &str) -> Option<Arc<Channel>> {
        self.channels.iter().find(|c| c.id == id).cloned()
    }

    async fn manscdp(&mut self, request: &Message, from: SocketAddr) {
        self.answer(request, from, 200, "OK").await;
        let text = xml::decode(&request.body);
        let kind = xml::element(&text, "CmdType").unwrap_or_default();
        let sn = xml::element(&text, "SN").unwrap_or_else(|| "1".into());
        let id = xml::element(&text, "DeviceID").unwrap_or_else(|| self.spec.id.clone());
        if xml::root(&text).eq_ignore_ascii_case("Response") {
            self.business_answer(&kind, &sn, &text);
            return;
        }
        report::event("message", &self.spec.id, json!({"cmd": kind, "sn": sn, "target": id}));
        if kind.eq_ignore_ascii_case("Broadcast") {
            return self.broadcast(&text, &sn).await;
        }
        if kind.eq_ignore_ascii_case("DeviceControl") {
            return self.control(&text, &sn, &id).await;
        }
        if kind.eq_ignore_ascii_case("DeviceConfig")
            && self.spec.edition >= 2022
            && let Some(order) = crate::snapshot::order(&text)
        {
            return self.snapshot(order, &sn, &id).await;
        }
        if kind.eq_ignore_ascii_case("RecordInfo") {
            for answer in self.record_info(&sn, &id, &text) {
                self.message(&answer).await;
            }
            return;
        }
        if kind.eq_ignore_ascii_case("DeviceConfig") {
            return self.configure(&text, &sn, &id).await;
        }
        if let Some(answers) = self.state(&kind, &sn, &id, &text) {
            for answer in answers {
                self.message(&answer).await;
            }
            return;
        }
        let (name_now, firmware) = {
            let memory = crate::memory::of(&self.spec.id);
            let m = crate::memory::lock(&memory);
            (m.name.clone(), m.firmware.clone())
        };
        let about = About {
            spec: &self.spec,
            channels: &self.names,
            server_id: &self.field.server_id,
            name: name_now.as_deref().unwrap_or(&self.spec.name),
            firmware: &firmware,
            faults: &self.faults,
        };
        let answers = about.answers(&kind, &sn, &id, &text);
        if let Some(seconds) = self.faults.odd.slow_catalog.filter(|_| kind.eq_ignore_ascii_case("Catalog")) {
            return self.say_later(seconds, answers);
        }
        for answer in answers {
            self.message(&answer).await;
        }
    }

    /// Takes an order for pictures, or refuses it.
    async fn snapshot(&mut self, order: crate::snapshot::Order, sn: &str, id: &str) {
        let result = if self.faults.snap_refuse { "ERROR" } else { "OK" };
        if !self.faults.snap_no_word {
            self.message(&response("DeviceConfig", sn, id, &format!("<Result>{result}</Result>\r\n"))).await;
        }
        let Some(channel) = self.channel(id).or_else(|| self.channels.first().cloned()) else { return };
        if self.faults.snap_refuse {
            return;
        }
        report::say(&format!("camera {} takes {} pictures", channel.id, order.count));
        tokio::spawn(crate::snapshot::run(crate::snapshot::Plan {
            order,
            channel,
            faults: self.faults.clone(),
            way: self.spec.snapshot.clone(),
            clock_offset: self.clock_offset,
            say: self.say.clone(),
        }));
    }

    async fn bye(&mut self, request: &Message, from: SocketAddr) {
        let call_id = request.call_id();
        if self.faults.ignore_bye && self.calls.contains_key(call_id) {
            return report::event("bye_ignored", &self.spec.id, json!({"call_id": call_id}));
        }
        self.ua.acked(call_id);
        match self.calls.remove(call_id) {
            Some(call) => {
                report::event("bye", &call.channel.id, json!({"call_id": call_id, "by": "platform"}));
                report::say(&format!("camera {}: the call has ended", call.channel.id));
                if self.faults.odd.bye_481 {
                    return self.answer(request, from, 481, "Call/Transaction Does Not Exist").await;
                }
                self.answer(request, from, 200, "OK").await;
            }
            None => self.answer(request, from, 481, "Call/Transaction Does Not Exist").await,
        }
    }
}
