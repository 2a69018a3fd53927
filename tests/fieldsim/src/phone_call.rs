//! A call of the phone: dialling, the answer, the sound, hanging up.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::phone::{Asked, Phone};
use crate::phone_media::{Sounding, Voice, agree, start};
use crate::report;
use crate::sdp::Offer;
use crate::sip_text::{Message, address_uri};
use crate::ua::{Ua, token};

/// One call, from the first INVITE on.
pub struct PhoneCall {
    pub id: String,
    /// Our and their name-addr with tags.
    pub ours: String,
    pub theirs: String,
    /// Request-URI and Route headers for what follows.
    pub remote: String,
    pub routes: Vec<String>,
    pub cseq: u32,
    pub socket: UdpSocket,
    pub sound: Option<Sounding>,
    pub since: Option<Instant>,
    /// An incoming INVITE that rings.
    pub ringing: Option<(Message, SocketAddr, Instant)>,
    pub last_ack: Option<Vec<u8>>,
}

impl Phone {
    pub fn credentials(&mut self, request: Message) -> Message {
        match (&mut self.challenge, &self.spec.password) {
            (Some(challenge), Some(password)) => {
                let (name, value) = challenge.answer(request.method(), request.uri(), &self.spec.user, password);
                request.with(name, value)
            }
            _ => request,
        }
    }

    pub async fn dial(&mut self) {
        let Some(number) = self.spec.dial.clone() else {
            return;
        };
        if self.call.is_some() {
            return;
        }
        let Ok(socket) = UdpSocket::bind((self.field.bind, 0)) else {
            return self.ended("no UDP port");
        };
        let remote = format!("sip:{number}@{}", self.domain());
        self.call = Some(PhoneCall {
            id: token(),
            ours: format!("<sip:{}@{}>;tag={}", self.spec.user, self.domain(), token()),
            theirs: format!("<{remote}>"),
            remote,
            routes: Vec::new(),
            cseq: 0,
            socket,
            sound: None,
            since: None,
            ringing: None,
            last_ack: None,
        });
        report::event("phone_dialing", &self.spec.user, json!({"number": number}));
        self.invite(0).await;
    }

    async fn invite(&mut self, tries: u8) {
        let codec = self.codec();
        let Some(call) = &mut self.call else { return };
        call.cseq += 1;
        let request = call.request("INVITE", call.cseq);
        let sdp = call_sdp(&self.ua, call, codec, Some(101), "sendrecv");
        let request = request
            .with("Contact", self.contact())
            .with("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS")
            .with_body("application/sdp", sdp.into_bytes());
        let request = self.credentials(request);
        let branch = self.ua.request(request).await;
        self.asked.insert(branch, Asked::Invite { tries });
    }

    pub fn codec(&self) -> u8 {
        if self.spec.codec == "pcmu" { 0 } else { 8 }
    }

    pub async fn invite_answered(&mut self, branch: &str, message: Message, tries: u8) {
        let Some(call) = &mut self.call else { return };
        let code = message.code();
        let cseq = message.cseq().0;
        if code >= 300 {
            let mut ack = Message::request("ACK", &call.remote)
                .with("From", call.ours.clone())
                .with("To", message.header("To").unwrap_or("").to_string())
                .with("Call-ID", call.id.clone())
                .with("CSeq", format!("{cseq} ACK"))
                .with("Max-Forwards", "70");
            ack.headers.extend(call.routes.iter().map(|r| ("Route".to_string(), r.clone())));
            call.last_ack = Some(self.ua.ack(ack, Some(branch)).await);
            if matches!(code, 401 | 407) && tries < 2 && self.take_challenge(&message) {
                return self.invite(tries + 1).await;
            }
            return self.ended(&format!("refused with {code}"));
        }
        call.theirs = message.header("To").unwrap_or("").to_string();
        call.remote = address_uri(message.header("Contact").unwrap_or(&call.remote)).to_string();
        call.routes = message.all("Record-Route").map(String::from).collect();
        call.routes.reverse();
        let ack = call.request("ACK", cseq);
        call.last_ack = Some(self.ua.ack(ack, None).await);
        let Some((offer, (codec, events))) =
            Offer::parse(&message.body).and_then(|o| agree(&o, self.codec()).map(|a| (o, a)))
        else {
            self.hang_up().await;
            return self.ended("the answer has no codec of ours");
        };
        self.sound(&offer, codec, events);
        report::event(
            "phone_answered",
            &self.spec.user,
            json!({"direction": "out", "codec": codec, "events": events, "media": offer.target.to_string()}),
        );
        report::say(&format!("phone {} is in the call", self.spec.user));
    }

    /// Starts the sound of the call, or points it elsewhere.
    pub fn sound(&mut self, offer: &Offer, payload_type: u8, events: Option<u8>) {
        let Some(call) = &mut self.call else { return };
        if let Some(sound) = &call.sound {
            *sound.target.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = offer.target;
            return;
        }
        let Ok(socket) = call.socket.try_clone() else {
            return;
        };
        call.since = Some(Instant::now());
        // The PIN belongs to a call of ours; who calls us knows us.
        let pin = self.spec.pin.clone().filter(|_| call.cseq > 0);
        call.sound = Some(start(Voice {
            user: self.spec.user.clone(),
            call_id: call.id.clone(),
            socket,
            target: Arc::new(Mutex::new(offer.target)),
            payload_type,
            events,
            speech: self.speech.clone(),
            pin,
            pin_delay: self.spec.pin_delay,
            record: self.spec.record.clone(),
        }));
    }

    pub async fn hang_up(&mut self) {
        let Some(call) = &mut self.call else { return };
        if call.since.is_some() {
            call.cseq += 1;
            let bye = call.request("BYE", call.cseq);
            let branch = self.ua.request(bye).await;
            self.asked.insert(branch, Asked::Other);
        } else if let Some((branch, _)) = self.asked.iter().find(|(_, a)| matches!(a, Asked::Invite { .. })) {
            let cancel = call.request("CANCEL", call.cseq);
            self.ua.ack(cancel, Some(branch)).await;
        }
    }

    /// The call is over, or never came to be: the next try by back-off.
    pub fn ended(&mut self, why: &str) {
        let lasted = self.call.take().and_then(|c| c.since).map(|t| t.elapsed().as_secs_f64());
        report::event("phone_ended", &self.spec.user, json!({"reason": why, "seconds": lasted}));
        report::say(&format!("phone {}: the call has ended ({why})", self.spec.user));
        self.done |= self.spec.once;
        if lasted.is_some_and(|s| s > 10.0) {
            self.wait = 2.0;
        }
        if self.spec.dial.is_some() {
            self.next_dial = Some(Instant::now() + Duration::from_secs_f64(self.wait));
            self.wait = (self.wait * 2.0).min(30.0);
        }
    }
}

impl PhoneCall {
    /// A request inside the call.
    pub fn request(&self, method: &str, cseq: u32) -> Message {
        let mut out = Message::request(method, &self.remote)
            .with("From", self.ours.clone())
            .with("To", self.theirs.clone())
            .with("Call-ID", self.id.clone())
            .with("CSeq", format!("{cseq} {method}"))
            .with("Max-Forwards", "70");
        out.headers.extend(self.routes.iter().map(|r| ("Route".to_string(), r.clone())));
        out
    }
}

/// Our SDP with one codec and, when wanted, telephone-event.
pub fn call_sdp(ua: &Ua, call: &PhoneCall, codec: u8, events: Option<u8>, direction: &str) -> String {
    let ip = ua.link.local.ip();
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let port = call.socket.local_addr().map_or(9, |a| a.port());
    let name = if codec == 8 { "PCMA" } else { "PCMU" };
    let (list, map) = match events {
        Some(e) => (format!("{codec} {e}"), format!("a=rtpmap:{e} telephone-event/8000\r\na=fmtp:{e} 0-15\r\n")),
        None => (codec.to_string(), String::new()),
    };
    format!(
        "v=0\r\no=- {port} 1 IN {family} {ip}\r\ns=fieldsim\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP {list}\r\n\
         a=rtpmap:{codec} {name}/8000\r\n{map}a=ptime:20\r\na={direction}\r\n"
    )
}
