//! What an odd device does with its signalling: late answers, another port, no ear for the platform.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::device::{Device, Later};
use crate::link::Link;
use crate::report;
use crate::sip_text::Message;
use crate::ua::token;

fn after(from: Instant, seconds: f64) -> Instant {
    from + Duration::from_secs_f64(seconds)
}

impl Device {
    /// Whether requests of the platform no longer arrive.
    pub fn is_deaf(&self) -> bool {
        let since = self.registered_at.zip(self.faults.odd.deaf).map(|(at, s)| after(at, s));
        since.is_some_and(|t| Instant::now() >= t)
    }

    fn moves_at(&self) -> Option<Instant> {
        let seconds = self.faults.odd.moves_port.filter(|_| !self.moved && !self.ua.link.is_tcp())?;
        Some(after(self.registered_at?, seconds))
    }

    pub fn next_odd(&self) -> Option<Instant> {
        self.later.iter().map(Later::at).chain(self.moves_at()).min()
    }

    pub async fn odd_timers(&mut self, now: Instant) {
        if self.moves_at().is_some_and(|t| now >= t) {
            self.moved = true;
            self.move_port().await;
        }
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|l| now >= l.at());
        self.later = later;
        for what in due {
            match what {
                Later::Message { text, .. } => {
                    self.message(&text).await;
                }
                Later::Answer { call_id, .. } => {
                    let held = self.calls.get_mut(&call_id).and_then(|c| c.held.take());
                    if let Some((request, from, out)) = held {
                        self.ua.reply(&request, from, out).await;
                    }
                }
            }
        }
    }

    /// Answers of a slow device: the first one late, the others behind it.
    pub fn say_later(&mut self, seconds: f64, answers: Vec<String>) {
        let at = after(Instant::now(), seconds);
        self.later.extend(answers.into_iter().map(|text| Later::Message { at, text }));
    }

    /// Another socket, another Call-ID, no logout; pictures go on.
    async fn move_port(&mut self) {
        let odd = self.ua.link.odd.clone();
        match Link::udp(self.field.bind, 0, self.ua.link.server).await {
            Ok(mut link) => {
                link.odd = odd;
                self.ua.link = link;
                self.register_call = token();
                report::event("moved", &self.spec.id, json!({"local": self.ua.link.local.to_string()}));
                self.register(false, 0).await;
            }
            Err(e) => report::say(&format!("camera {} finds no other port: {e}", self.spec.id)),
        }
    }

    /// Credentials as the fault stale-nonce repeats them.
    pub fn repeats(&mut self, name: &'static str, value: String) -> (&'static str, String) {
        if !self.faults.odd.stale_nonce {
            return (name, value);
        }
        self.repeated.get_or_insert((name, value)).clone()
    }

    pub async fn cancel(&mut self, request: &Message, from: SocketAddr) {
        self.answer(request, from, 200, "OK").await;
        let call_id = request.call_id().to_owned();
        let held = self.calls.get(&call_id).is_some_and(|c| c.held.is_some());
        report::event("cancel", &self.spec.id, json!({"call_id": call_id, "ignored": self.faults.odd.ignore_cancel}));
        if held && !self.faults.odd.ignore_cancel {
            let call = self.calls.remove(&call_id);
            if let Some((invite, from, _)) = call.and_then(|c| c.held) {
                self.answer(&invite, from, 487, "Request Terminated").await;
            }
        }
    }
}
