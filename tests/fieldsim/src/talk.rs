//! The loudspeaker's signalling: Broadcast, our INVITE to the platform, and the platform's `s=Talk` of 2016.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::catalog::response;
use crate::device::Device;
use crate::ear::{self, Ear, Plan, Socket};
use crate::report;
use crate::sdp::{Offer, Setup};
use crate::sip_text::{Message, Start, address_uri};
use crate::speaker::{self, Format, From};
use crate::ua::token;
use crate::xml;

/// One talk.
pub struct Talk {
    plan: Option<Plan>,
    ear: Option<Ear>,
    /// From and To for our own BYE, ours first, and the platform's Contact.
    ours: String,
    theirs: String,
    contact: String,
    cseq: u32,
    bye_at: Option<Instant>,
    /// Our ACK, for a repeated 200.
    ack: Vec<u8>,
}

/// All talks of a device, and its own clockwork.
#[derive(Default)]
pub struct Talks {
    /// By Call-ID.
    pub calls: HashMap<String, Talk>,
    /// Our INVITEs without an answer, by branch.
    asked: HashMap<String, (Message, Option<Plan>)>,
    sos_at: Option<Instant>,
    restart_at: Option<Instant>,
    started: bool,
}

fn is_talk(request: &Message) -> bool {
    String::from_utf8_lossy(&request.body).lines().any(|l| l.trim() == "s=Talk")
}

impl Device {
    fn channel_of(&self, target: &str) -> Option<(std::sync::Arc<crate::session::Channel>, From)> {
        let speaker =
            self.channels.iter().find(|c| speaker::id_of(&c.id) == target).map(|c| (c.clone(), From::Speaker));
        let channel = self.channels.iter().find(|c| c.id == target && c.id != self.spec.id);
        let device = || (target == self.spec.id).then(|| self.channels.first().cloned()).flatten();
        speaker.or_else(|| channel.map(|c| (c.clone(), From::Channel))).or_else(|| device().map(|c| (c, From::Device)))
    }

    /// A request of a talk; false: of something else.
    pub async fn talk_request(&mut self, request: &Message, from: SocketAddr) -> bool {
        match request.method() {
            "INVITE" => self.talk_invited(request, from).await,
            "ACK" => self.talk_acked(request),
            "BYE" => self.talk_ended(request, from).await,
            _ => false,
        }
    }

    /// A Notify of type Broadcast.
    pub async fn broadcast(&mut self, text: &str, sn: &str) {
        let source = xml::element(text, "SourceID").unwrap_or_default();
        let target = xml::element(text, "TargetID").unwrap_or_default();
        let words = self.speaker.clone();
        let found = self.channel_of(&target);
        let fits = found.as_ref().is_some_and(|(_, kind)| words.target.is_none_or(|t| t == *kind));
        report::event("broadcast", &self.spec.id, json!({"source": source, "target": target, "sn": sn, "fits": fits}));
        if words.silent {
            return;
        }
        let good = words.there && words.broadcast && !words.busy && fits;
        if !words.no_response || !good {
            let result = if good { "OK" } else { "ERROR" };
            self.message(&response("Broadcast", sn, &target, &format!("<Result>{result}</Result>\r\n"))).await;
        }
        if let Some((channel, _)) = found.filter(|_| good && !words.no_invite) {
            self.call_platform(&source, channel, "broadcast").await;
        }
    }

    /// INVITEs the platform with an offer of sound.
    async fn call_platform(&mut self, source: &str, channel: std::sync::Arc<crate::session::Channel>, why: &str) {
        let words = self.speaker.clone();
        let socket = match Socket::open(self.field.bind, words.tcp) {
            Ok(socket) => socket,
            Err(e) => return report::say(&format!("camera {}: no socket for sound: {e}", channel.id)),
        };
        let from = match words.from {
            From::Device => self.spec.id.clone(),
            From::Channel => channel.id.clone(),
            From::Speaker => speaker::id_of(&channel.id),
        };
        let (call_id, ip) = (token(), self.ua.link.local.ip());
        let transport = if words.tcp.is_some() { "TCP/RTP/AVP" } else { "RTP/AVP" };
        let (numbers, maps) = match words.format {
            Format::Both => ("8 96", "a=rtpmap:8 PCMA/8000\r\na=rtpmap:96 PS/90000\r\n"),
            Format::Pcma => ("8", "a=rtpmap:8 PCMA/8000\r\n"),
            Format::Ps => ("96", "a=rtpmap:96 PS/90000\r\n"),
            Format::Aac => ("102", "a=rtpmap:102 AAC/8000/1\r\n"),
        };
        let setup = match words.tcp {
            Some(Setup::Active) => "a=setup:active\r\na=connection:new\r\n",
            Some(Setup::Passive) => "a=setup:passive\r\na=connection:new\r\n",
            None => "",
        };
        let sdp = format!(
            "v=0\r\no={from} 0 0 IN IP4 {ip}\r\ns=Play\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} {transport} {numbers}\r\n\
             a=recvonly\r\n{setup}{maps}",
            socket.port()
        );
        let mut invite = self.fresh("INVITE", source, &call_id);
        let domain = self.field.domain.clone();
        invite.start = Start::Request { method: "INVITE".into(), uri: format!("sip:{source}@{domain}") };
        invite.set("From", format!("<sip:{from}@{domain}>;tag={}", token()));
        let target = speaker::id_of(&channel.id);
        let invite =
            invite.with("Subject", format!("{source}:0,{target}:1")).with_body("application/sdp", sdp.into_bytes());
        report::event("talk_invite", &channel.id, json!({"call_id": call_id, "from": from, "why": why}));
        let plan = Plan {
            channel,
            call_id,
            socket,
            target: SocketAddr::new(ip, 9),
            heard: words.heard.clone(),
            echo: words.echo,
            speak: None,
        };
        let kept = invite.clone();
        let branch = self.ua.request(invite).await;
        self.talks.asked.insert(branch, (kept, Some(plan)));
    }

    /// An answer to an INVITE of ours; false: to something else.
    pub async fn talk_answered(&mut self, branch: &str, message: &Message) -> bool {
        if message.cseq().1 != "INVITE" {
            return false;
        }
        let code = message.code();
        if code < 200 {
            return true;
        }
        let Some((invite, plan)) = self.talks.asked.remove(branch) else {
            // A repeated 200: the same ACK again.
            if let Some(ack) = self.talks.calls.get(message.call_id()).map(|t| t.ack.clone()) {
                self.ua.again(&ack).await;
            }
            return true;
        };
        let Some(mut plan) = plan else { return true };
        let to = message.header("To").unwrap_or("").to_string();
        let from = invite.header("From").unwrap_or("").to_string();
        let contact = address_uri(message.header("Contact").unwrap_or(invite.uri())).to_string();
        let uri = if code < 300 { contact.as_str() } else { invite.uri() };
        let ack = Message::request("ACK", uri)
            .with("From", from.clone())
            .with("To", to.clone())
            .with("Call-ID", message.call_id())
            .with("CSeq", format!("{} ACK", invite.cseq().0))
            .with("Max-Forwards", "70");
        report::event("talk_answer", &plan.channel.id, json!({"call_id": plan.call_id, "code": code}));
        if code >= 300 {
            self.ua.ack(ack, Some(branch)).await;
            return true;
        }
        let Some(offer) = Offer::parse(&message.body) else {
            report::event("talk_bad_answer", &plan.channel.id, json!({"call_id": plan.call_id}));
            return true;
        };
        plan.target = offer.target;
        let words = self.speaker.clone();
        if words.early && matches!(plan.socket, Socket::Connect) {
            match std::net::TcpStream::connect_timeout(&plan.target, Duration::from_millis(500)) {
                Ok(stream) => plan.socket = Socket::Connected(stream),
                Err(e) => report::event("talk_media_failed", &plan.channel.id, json!({"reason": e.to_string()})),
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let ack = if words.no_ack { Vec::new() } else { self.ua.ack(ack, None).await };
        let (channel, call_id) = (plan.channel.id.clone(), plan.call_id.clone());
        report::event(
            "talk_on_air",
            &channel,
            json!({"call_id": call_id, "formats": offer.formats, "tcp": offer.tcp, "ssrc": offer.ssrc}),
        );
        let talk = Talk {
            plan: None,
            ear: Some(ear::start(plan)),
            ours: from,
            theirs: to,
            contact,
            cseq: invite.cseq().0,
            bye_at: words.bye_after.map(|s| Instant::now() + Duration::from_secs_f64(s)),
            ack,
        };
        self.talks.calls.insert(call_id, talk);
        true
    }

    /// The platform's talk of 2016; false: another INVITE.
    async fn talk_invited(&mut self, request: &Message, from: SocketAddr) -> bool {
        if !is_talk(request) {
            return false;
        }
        let words = self.speaker.clone();
        let wanted = crate::sip_text::user_of(request.uri()).to_string();
        let channel = self.channel(&wanted).or_else(|| self.channel_of(&wanted).map(|(c, _)| c));
        let offer = Offer::parse(&request.body);
        let (Some(channel), Some(offer)) = (channel, offer.filter(|o| o.formats.contains(&8) && words.talk)) else {
            report::event("talk_refused", &self.spec.id, json!({"code": 488}));
            self.answer(request, from, 488, "Not Acceptable Here").await;
            return true;
        };
        let role = offer.tcp.then_some(if offer.setup == Some(Setup::Active) { Setup::Passive } else { Setup::Active });
        let Ok(socket) = Socket::open(self.field.bind, role) else { return true };
        let ip = self.ua.link.local.ip();
        let transport = if offer.tcp { "TCP/RTP/AVP" } else { "RTP/AVP" };
        let setup = match role {
            Some(Setup::Active) => "a=setup:active\r\na=connection:new\r\n",
            Some(Setup::Passive) => "a=setup:passive\r\na=connection:new\r\n",
            None => "",
        };
        let ssrc = offer.ssrc.unwrap_or(1);
        let sdp = format!(
            "v=0\r\no={} 0 0 IN IP4 {ip}\r\ns=Talk\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} {transport} 8\r\na=sendrecv\r\n\
             a=rtpmap:8 PCMA/8000\r\n{setup}y={ssrc:010}\r\nf=v/////a/1/8/1\r\n",
            channel.id,
            socket.port()
        );
        let out = Message::response(request, 200, "OK", &token())
            .with("Contact", format!("<sip:{}@{}>", channel.id, self.ua.link.local))
            .with_body("application/sdp", sdp.into_bytes());
        report::event("talk_invited", &channel.id, json!({"call_id": request.call_id(), "tcp": offer.tcp}));
        let talk = Talk {
            plan: Some(Plan {
                channel,
                call_id: request.call_id().to_string(),
                socket,
                target: offer.target,
                heard: words.heard.clone(),
                echo: words.echo,
                speak: Some(ssrc),
            }),
            ear: None,
            ours: out.header("To").unwrap_or("").to_string(),
            theirs: request.header("From").unwrap_or("").to_string(),
            contact: address_uri(request.header("Contact").unwrap_or("")).to_string(),
            cseq: 0,
            bye_at: words.bye_after.map(|s| Instant::now() + Duration::from_secs_f64(s)),
            ack: Vec::new(),
        };
        self.talks.calls.insert(request.call_id().to_string(), talk);
        self.ua.reply(request, from, out).await;
        true
    }

    /// The ACK of a talk; false: of another call.
    fn talk_acked(&mut self, request: &Message) -> bool {
        let Some(talk) = self.talks.calls.get_mut(request.call_id()) else { return false };
        self.ua.acked(request.call_id());
        if let Some(plan) = talk.plan.take() {
            report::event("talk_on_air", &plan.channel.id, json!({"call_id": plan.call_id, "formats": [8]}));
            talk.ear = Some(ear::start(plan));
        }
        true
    }

    /// The platform's BYE; false: of another call.
    async fn talk_ended(&mut self, request: &Message, from: SocketAddr) -> bool {
        let Some(talk) = self.talks.calls.remove(request.call_id()) else { return false };
        self.ua.acked(request.call_id());
        report::event("talk_bye", &self.spec.id, json!({"call_id": request.call_id(), "by": "platform"}));
        self.answer(request, from, 200, "OK").await;
        drop(talk.ear);
        true
    }

    /// When something of ours is due.
    pub fn talk_due(&self) -> Option<Instant> {
        let byes = self.talks.calls.values().filter_map(|t| t.bye_at);
        byes.chain(self.talks.sos_at).chain(self.talks.restart_at).min()
    }

    /// Does what is due.
    pub async fn talk_timers(&mut self) {
        let now = Instant::now();
        if self.registered && !self.talks.started {
            self.talks.started = true;
            let at = |s: Option<f64>| s.map(|s| now + Duration::from_secs_f64(s));
            self.talks.sos_at = at(self.speaker.sos_after);
            self.talks.restart_at = at(self.speaker.restart_after);
        }
        if self.talks.sos_at.is_some_and(|t| now >= t) {
            self.talks.sos_at = None;
            let source = self.field.server_id.clone();
            if let Some(channel) = self.channels.first().cloned() {
                self.call_platform(&source, channel, "sos").await;
            }
        }
        if self.talks.restart_at.is_some_and(|t| now >= t) {
            // As after a power cut: nothing is remembered, nobody was told.
            self.talks.restart_at = None;
            self.talks.calls.clear();
            self.register_call = token();
            self.challenge = None;
            report::event("restarted", &self.spec.id, json!({}));
            self.register(false, 0).await;
        }
        let due: Vec<String> = self
            .talks
            .calls
            .iter()
            .filter(|(_, t)| t.bye_at.is_some_and(|b| now >= b))
            .map(|(c, _)| c.clone())
            .collect();
        for call_id in due {
            let Some(talk) = self.talks.calls.remove(&call_id) else { continue };
            let bye = Message::request("BYE", &talk.contact)
                .with("From", talk.ours.clone())
                .with("To", talk.theirs.clone())
                .with("Call-ID", call_id.clone())
                .with("CSeq", format!("{} BYE", talk.cseq + 1))
                .with("Max-Forwards", "70");
            self.ua.request(bye).await;
            report::event("talk_bye", &self.spec.id, json!({"call_id": call_id, "by": "camera"}));
        }
    }
}
