//! What a phone is asked: INVITE (new and inside a call), ACK, BYE, CANCEL.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::phone::Phone;
use crate::phone_call::{PhoneCall, call_sdp};
use crate::phone_media::agree;
use crate::report;
use crate::sdp::Offer;
use crate::sip_text::{Message, address_uri};
use crate::ua::token;

impl Phone {
    pub async fn request(&mut self, request: Message, from: SocketAddr) {
        let ours = self.call.as_ref().is_some_and(|c| c.id == request.call_id());
        match request.method() {
            "INVITE" if ours => self.again(&request, from).await,
            "INVITE" => self.incoming(&request, from).await,
            "ACK" => {
                self.ua.acked(request.call_id());
                // The answer to an INVITE without SDP comes with the ACK.
                if ours && let Some(offer) = Offer::parse(&request.body) {
                    let (codec, events) = agree(&offer, self.codec()).unwrap_or((self.codec(), None));
                    self.sound(&offer, codec, events);
                }
            }
            "BYE" => {
                self.ua.acked(request.call_id());
                self.plain(&request, from, if ours { 200 } else { 481 }).await;
                if ours {
                    self.ended("the other side hung up");
                }
            }
            "CANCEL" => {
                self.plain(&request, from, 200).await;
                let rings = self.call.as_mut().filter(|_| ours).and_then(|c| c.ringing.take());
                if let Some((invite, at, _)) = rings {
                    self.plain(&invite, at, 487).await;
                    self.ended("cancelled");
                }
            }
            "OPTIONS" | "INFO" | "NOTIFY" | "MESSAGE" | "UPDATE" => self.plain(&request, from, 200).await,
            _ => self.plain(&request, from, 405).await,
        }
    }

    async fn plain(&mut self, request: &Message, from: SocketAddr, code: u16) {
        let reason = match code {
            200 => "OK",
            480 => "Temporarily Unavailable",
            481 => "Call/Transaction Does Not Exist",
            486 => "Busy Here",
            487 => "Request Terminated",
            488 => "Not Acceptable Here",
            _ => "Method Not Allowed",
        };
        let out = Message::response(request, code, reason, &token()).with("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS");
        self.ua.reply(request, from, out).await;
    }

    /// A re-INVITE (one that is repeated while it rings is left alone): our SDP again, the sound to the new address, the direction mirrored.
    async fn again(&mut self, request: &Message, from: SocketAddr) {
        if self.call.as_ref().is_some_and(|c| c.ringing.is_some()) {
            return;
        }
        let offer = Offer::parse(&request.body);
        let (codec, events) = offer.as_ref().and_then(|o| agree(o, self.codec())).unwrap_or((self.codec(), Some(101)));
        let text = String::from_utf8_lossy(&request.body);
        let direction = if text.contains("a=sendonly") {
            "recvonly"
        } else if text.contains("a=inactive") {
            "inactive"
        } else {
            "sendrecv"
        };
        if let Some(offer) = &offer {
            self.sound(offer, codec, events);
        }
        let Some(call) = &self.call else { return };
        let sdp = call_sdp(&self.ua, call, codec, events, direction);
        let out = Message::response(request, 200, "OK", &token())
            .with("Contact", self.contact())
            .with_body("application/sdp", sdp.into_bytes());
        self.ua.reply(request, from, out).await;
        report::event("phone_reinvite", &self.spec.user, json!({"direction": direction}));
    }

    async fn incoming(&mut self, request: &Message, from: SocketAddr) {
        if !self.spec.answer {
            return self.plain(request, from, 480).await;
        }
        if self.call.is_some() {
            return self.plain(request, from, 486).await;
        }
        let usable =
            request.body.is_empty() || Offer::parse(&request.body).and_then(|o| agree(&o, self.codec())).is_some();
        let (true, Ok(socket)) = (usable, UdpSocket::bind((self.field.bind, 0))) else {
            return self.plain(request, from, 488).await;
        };
        let ringing = Message::response(request, 180, "Ringing", &token()).with("Contact", self.contact());
        let ours = ringing.header("To").unwrap_or("").to_string();
        let _ = self.ua.link.send(&ringing.to_bytes(), from).await;
        let mut kept = request.clone();
        // The 200 must carry the tag of the 180.
        kept.set("To", ours.clone());
        self.call = Some(PhoneCall {
            id: request.call_id().to_string(),
            ours,
            theirs: request.header("From").unwrap_or("").to_string(),
            remote: address_uri(request.header("Contact").unwrap_or("")).to_string(),
            routes: request.all("Record-Route").map(String::from).collect(),
            cseq: 0,
            socket,
            sound: None,
            since: None,
            ringing: Some((kept, from, Instant::now() + Duration::from_secs(1))),
            last_ack: None,
        });
        report::event("phone_ringing", &self.spec.user, json!({"from": request.header("From")}));
    }

    pub async fn pick_up(&mut self) {
        let Some((request, from, _)) = self.call.as_mut().and_then(|c| c.ringing.take()) else {
            return;
        };
        let offer = Offer::parse(&request.body);
        let (codec, events) = offer.as_ref().and_then(|o| agree(o, self.codec())).unwrap_or((self.codec(), Some(101)));
        let Some(call) = &self.call else { return };
        let sdp = call_sdp(&self.ua, call, codec, events, "sendrecv");
        let out = Message::response(&request, 200, "OK", "")
            .with("Contact", self.contact())
            .with_body("application/sdp", sdp.into_bytes());
        self.ua.reply(&request, from, out).await;
        if let Some(offer) = &offer {
            self.sound(offer, codec, events);
        }
        report::event("phone_answered", &self.spec.user, json!({"direction": "in", "codec": codec, "events": events}));
        report::say(&format!("phone {} took a call", self.spec.user));
    }
}
