//! The platform calls a channel: INVITE, the sockets for its offer, ACK, and our own BYE.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::device::{Call, Device, Later};
use crate::history::{Wanted, file_size};
use crate::media_out::Prepared;
use crate::report;
use crate::sdp::{Answer, Offer, Setup};
use crate::session::{Channel, Plan, start, target_of};
use crate::sip_text::{Message, address_uri, param, user_of};
use crate::ua::token;

impl Device {
    pub async fn invite(&mut self, request: &Message, from: SocketAddr) {
        let call_id = request.call_id().to_string();
        if self.calls.get(&call_id).is_some_and(|c| c.held.is_some()) {
            return;
        }
        if let Some(call) = self.calls.get(&call_id) {
            // A re-INVITE: the same answer again.
            let out = Message::response(request, 200, "OK", &token())
                .with("Contact", call.ours.clone())
                .with_body("application/sdp", call.answer.clone().into_bytes());
            return self.ua.reply(request, from, out).await;
        }
        let subject = request.header("Subject").and_then(|s| s.split(':').next()).unwrap_or("").trim();
        let wanted = user_of(request.uri()).to_string();
        let found = self.channel(&wanted).or_else(|| self.channel(subject));
        let refused = |code: u16, why: &str| {
            report::event("invite", &wanted, json!({"call_id": call_id, "answered": code, "reason": why}));
            report::say(&format!("camera {wanted} refuses a call with {code}: {why}"));
        };
        if self.faults.no_answer {
            return refused(0, "fault no-answer");
        }
        self.answer_trying(request, from).await;
        if let Some(code) = self.faults.reject {
            refused(code, "fault");
            return self.answer(request, from, code, if code == 486 { "Busy Here" } else { "Refused" }).await;
        }
        let Some(channel) = found else {
            refused(404, "unknown channel");
            return self.answer(request, from, 404, "Not Found").await;
        };
        let prepared = match Offer::parse(&request.body).ok_or("no usable SDP".to_string()) {
            Ok(offer) => self.prepare(&offer).map(|p| (offer, p)),
            Err(e) => Err(e),
        };
        let (offer, (prepared, role)) = match prepared {
            Ok(both) => both,
            Err(why) => {
                refused(488, &why);
                return self.answer(request, from, 488, "Not Acceptable Here").await;
            }
        };
        if self.faults.odd.busy_while_sending && self.calls.values().any(|c| c.channel.id == channel.id) {
            refused(486, "fault busy-while-sending");
            return self.answer(request, from, 486, "Busy Here").await;
        }
        let history = offer.time.filter(|_| !offer.kind.eq_ignore_ascii_case("Play")).map(|(from, to)| Wanted {
            from: from * 1000,
            to: to * 1000,
            download: offer.kind.eq_ignore_ascii_case("Download").then(|| offer.speed.unwrap_or(1.0)),
            spans: self.tape.clone(),
            gop: if self.spec.record_gop == 0 { channel.fps } else { self.spec.record_gop },
            control: Arc::default(),
        });
        // Rule c: a new call for a channel that is being sent drops the old link. Each history stream is one of its own.
        let live =
            |c: &Call| c.channel.id == channel.id && c.sub == offer.sub && c.control.is_none() && history.is_none();
        let old: Vec<String> = self.calls.iter().filter(|(_, c)| live(c)).map(|(id, _)| id.clone()).collect();
        for id in old {
            self.calls.remove(&id);
            report::event("replaced", &channel.id, json!({"call_id": id, "by": call_id}));
        }
        let odd = self.faults.odd.clone();
        let mut ssrc = offer.ssrc.unwrap_or_else(|| rand::random::<u32>() % 10_000 + 200_000_000);
        if odd.other_y {
            ssrc = 200_000_000 + (ssrc + 1) % 10_000;
        }
        let role_said = role.map(|r| if odd.echo_setup { r.other() } else { r });
        let local = SocketAddr::new(self.ua.link.local.ip(), prepared.port());
        let f = (self.spec.edition >= 2022).then(|| self.f_line(&channel));
        let file_size = history
            .as_ref()
            .filter(|w| w.download.is_some() && !self.faults.no_filesize)
            .map(|w| file_size(&channel, w));
        let y = (!self.faults.no_y).then_some(ssrc);
        let answer = Answer { id: &channel.id, kind: &offer.kind, local, tcp: role_said, y, f, file_size }.text();
        let answer = crate::sdp::odd(answer, &odd);
        let ssrc = if odd.same_ssrc { 1 } else { ssrc };
        let transport = if self.ua.link.is_tcp() { ";transport=tcp" } else { "" };
        let out = Message::response(request, 200, "OK", &token())
            .with("Contact", format!("<sip:{}@{}{transport}>", channel.id, self.ua.link.local))
            .with_body("application/sdp", answer.clone().into_bytes());
        report::event(
            "invite",
            &channel.id,
            json!({"device": self.spec.id, "call_id": call_id, "answered": 200, "kind": offer.kind, "sub": offer.sub, "tcp": offer.tcp, "ssrc": ssrc,
                "subject": request.header("Subject"), "time": offer.time, "speed": offer.speed,
                "role": role.map(|r| format!("{r:?}").to_lowercase()), "target": target_of(&prepared).map(|t| t.to_string())}),
        );
        let control = history.as_ref().map(|w| w.control.clone());
        let plan = Plan {
            channel: channel.clone(),
            sub: offer.sub,
            faults: self.faults.clone(),
            ssrc,
            call_id: call_id.clone(),
            bind: self.field.bind,
            prepared,
            history,
            ended: self.ended.clone(),
        };
        let call = Call {
            channel,
            sub: offer.sub,
            ours: out.header("To").unwrap_or("").to_string(),
            theirs: request.header("From").unwrap_or("").to_string(),
            contact: address_uri(request.header("Contact").or(request.header("From")).unwrap_or("")).to_string(),
            answer,
            waiting: Some(plan),
            running: None,
            cseq: 0,
            held: None,
            control,
            rtsp_cseq: 0,
        };
        if odd.slow_answer.is_some() || odd.ignore_cancel {
            let at = Instant::now() + Duration::from_secs_f64(odd.slow_answer.unwrap_or(5.0));
            self.later.push(Later::Answer { at, call_id: call_id.clone() });
            let mut call = call;
            call.held = Some((request.clone(), from, out));
            self.calls.insert(call_id, call);
            return;
        }
        self.calls.insert(call_id, call);
        self.ua.reply(request, from, out).await;
    }

    async fn answer_trying(&mut self, request: &Message, from: SocketAddr) {
        let bytes = Message::response(request, 100, "Trying", "").to_bytes();
        let _ = self.ua.link.send(&bytes, from).await;
    }

    /// Sockets for an offer and our role; the error says why it cannot be met.
    fn prepare(&self, offer: &Offer) -> Result<(Prepared, Option<Setup>), String> {
        let history = ["Playback", "Download"].iter().any(|k| offer.kind.eq_ignore_ascii_case(k));
        if history && self.tape.is_empty() {
            return Err("this camera records nothing".into());
        }
        if !history && !offer.kind.eq_ignore_ascii_case("Play") {
            return Err(format!("s={} is not simulated", offer.kind));
        }
        if offer.media != "video" || !offer.formats.contains(&96) {
            return Err("no m=video with payload type 96 is offered".into());
        }
        match (offer.tcp, self.spec.media.as_str()) {
            (false, "tcp") => return Err("UDP is offered, this camera sends over TCP only".into()),
            (true, "udp") => return Err("TCP is offered, this camera sends over UDP only".into()),
            _ => {}
        }
        let bind = self.field.bind;
        if !offer.tcp {
            return Prepared::udp(bind, offer.target).map(|p| (p, None)).map_err(|e| format!("no UDP port: {e}"));
        }
        if offer.setup == Some(Setup::Active) {
            let listener = TcpListener::bind((bind, 0)).map_err(|e| format!("no TCP port: {e}"))?;
            return Ok((Prepared::Listen { listener }, Some(Setup::Passive)));
        }
        Ok((Prepared::Connect { target: offer.target }, Some(Setup::Active)))
    }

    fn f_line(&self, channel: &Channel) -> String {
        let sound = match channel.sound.stream_type() {
            Some(crate::ps::STREAM_G711A) => "a/1/8/1",
            Some(_) => "a/6/7/3",
            None => "a///",
        };
        format!("v/2/{}/{}/2/{}{sound}", self.spec.size, self.spec.fps, channel.bitrate / 1000)
    }

    pub fn ack(&mut self, request: &Message) {
        self.ua.acked(request.call_id());
        if let Some(call) = self.calls.get_mut(request.call_id())
            && let Some(plan) = call.waiting.take()
        {
            report::event("ack", &call.channel.id, json!({"call_id": request.call_id()}));
            call.running = Some(start(plan));
        }
    }

    /// Our own BYE.
    pub async fn hang_up(&mut self, call_id: &str) {
        let Some(mut call) = self.calls.remove(call_id) else {
            return;
        };
        call.cseq += 1;
        let tag_known = param(&call.ours, "tag").is_some();
        let bye = Message::request("BYE", &call.contact)
            .with("From", call.ours.clone())
            .with("To", call.theirs.clone())
            .with("Call-ID", call_id)
            .with("CSeq", format!("{} BYE", call.cseq))
            .with("Max-Forwards", "70");
        if tag_known {
            self.ua.request(bye).await;
        }
        report::event("bye", &call.channel.id, json!({"call_id": call_id, "by": "camera"}));
    }

    pub async fn media_failed(&mut self, call_id: &str, why: &str) {
        if why == crate::history::END {
            return self.recording_ended(call_id).await;
        }
        let Some(call) = self.calls.get(call_id) else {
            return;
        };
        report::event("media_failed", &call.channel.id, json!({"call_id": call_id, "reason": why}));
        report::say(&format!("camera {}: {why}", call.channel.id));
        self.hang_up(call_id).await;
    }
}
