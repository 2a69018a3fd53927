//! A dispatch gateway with radios: answers the call for a group or calls in itself, tells the key by one of the carriers, and keeps what
//! is heard on the air.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::link::Link;
use crate::options::FieldArgs;
use crate::radio_air::{Air, Outgoing};
use crate::report;
use crate::sip_text::{Message, address_uri};
use crate::ua::{Event, Ua, token};

#[derive(clap::Args, Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RadioSpec {
    /// Number of the group
    #[arg(long, default_value = "9001")]
    pub group: String,
    /// How the key is told: info, dtmf, ed137, rtp, mcptt or vox
    #[arg(long, default_value = "rtp", value_parser = ["info", "dtmf", "ed137", "rtp", "mcptt", "vox"])]
    pub carrier: String,
    /// Own SIP port
    #[arg(long, default_value_t = 5070)]
    pub port: u16,
    /// Calls the gateway for its group in place of waiting
    #[arg(long)]
    pub call: bool,
    /// A radio talks: START+SECONDS@HERTZ#ID, seconds after the call stands; several times
    #[arg(long = "talk")]
    pub talks: Vec<String>,
    /// Milliseconds until the key is granted
    #[arg(long, default_value_t = 0)]
    pub grant_ms: u64,
    /// Refuses every key of the hall
    #[arg(long)]
    pub deny: bool,
    /// Says that the talking radio calls for help
    #[arg(long)]
    pub emergency: bool,
    /// A MESSAGE once the call stands: ID=text
    #[arg(long = "message")]
    pub messages: Vec<String>,
    /// WAV file for what is heard on the air, the transmissions one behind the other
    #[arg(long)]
    pub record: Option<PathBuf>,
}

impl Default for RadioSpec {
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Wrap {
            #[command(flatten)]
            radio: RadioSpec,
        }
        <Wrap as clap::Parser>::parse_from(["radio"]).radio
    }
}

/// The standing call.
struct Call {
    id: String,
    ours: String,
    theirs: String,
    remote: String,
    air: Air,
}

struct Gateway {
    spec: RadioSpec,
    ua: Ua,
    rtp: UdpSocket,
    floor: UdpSocket,
    call: Option<Call>,
    cseq: u32,
    /// Our INVITE: its branch, Call-ID and From.
    calling: Option<(String, String, String)>,
    next_call: Option<Instant>,
    told: bool,
}

/// Works until told to stop.
pub async fn run(spec: RadioSpec, field: FieldArgs, server: SocketAddr, mut stop: watch::Receiver<bool>) {
    let made = async {
        let link = Link::udp(field.bind, spec.port, server).await?;
        let rtp = UdpSocket::bind((field.bind, 0)).await?;
        let floor = UdpSocket::bind((field.bind, 0)).await?;
        std::io::Result::Ok((link, rtp, floor))
    };
    let (link, rtp, floor) = match made.await {
        Ok(made) => made,
        Err(e) => return report::say(&format!("radio gateway of group {}: {e}", spec.group)),
    };
    let next_call = spec.call.then(Instant::now);
    report::event("radio_ready", &spec.group, json!({"address": link.local.to_string(), "carrier": spec.carrier}));
    let mut gateway =
        Gateway { spec, ua: Ua::new(link), rtp, floor, call: None, cseq: 1, calling: None, next_call, told: false };
    gateway.serve(&mut stop).await;
}

impl Gateway {
    async fn serve(&mut self, stop: &mut watch::Receiver<bool>) {
        let mut tick = Instant::now();
        let (mut sound, mut words) = (vec![0u8; 2048], vec![0u8; 2048]);
        loop {
            tokio::select! {
                event = self.ua.next(tick) => match event {
                    Event::Request(request, from) => self.request(&request, from).await,
                    Event::Response { branch, message } => self.response(&branch, &message).await,
                    Event::Timeout { branch } => self.refused(&branch, 408),
                    Event::NoAck { .. } | Event::Down(_) => self.over("no ACK"),
                    Event::Tick => {}
                },
                got = self.rtp.recv_from(&mut sound) => {
                    if let (Ok((n, _)), Some(call)) = (got, &mut self.call) {
                        call.air.on_rtp(sound.get(..n).unwrap_or_default());
                    }
                }
                got = self.floor.recv_from(&mut words) => {
                    if let (Ok((n, _)), Some(call)) = (got, &mut self.call) {
                        call.air.on_floor(words.get(..n).unwrap_or_default());
                    }
                }
                _ = stop.changed() => {
                    self.hang_up().await;
                    return;
                }
            }
            let now = Instant::now();
            if now >= tick {
                tick = (tick + Duration::from_millis(20)).max(now - Duration::from_millis(40));
                if self.next_call.is_some_and(|at| now >= at) {
                    self.next_call = None;
                    self.invite().await;
                }
                if let Some(call) = &mut self.call {
                    call.air.tick();
                }
                if self.call.is_some() && !std::mem::replace(&mut self.told, true) {
                    self.send_messages().await;
                }
            }
            self.send_out().await;
        }
    }

    async fn send_out(&mut self) {
        let Some(out) = self.call.as_mut().map(|c| c.air.take_out()) else { return };
        for one in out {
            match one {
                Outgoing::Rtp(packet, to) => {
                    let _ = self.rtp.send_to(&packet, to).await;
                }
                Outgoing::Floor(packet, to) => {
                    let _ = self.floor.send_to(&packet, to).await;
                }
                Outgoing::Info(kind, body) => {
                    if let Some(request) = self.inside("INFO") {
                        self.ua.request(request.with_body(kind, body.into_bytes())).await;
                    }
                }
            }
        }
    }

    fn inside(&mut self, method: &str) -> Option<Message> {
        self.cseq += 1;
        let call = self.call.as_ref()?;
        Some(
            Message::request(method, &call.remote)
                .with("From", call.ours.clone())
                .with("To", call.theirs.clone())
                .with("Call-ID", call.id.clone())
                .with("CSeq", format!("{} {method}", self.cseq))
                .with("Max-Forwards", "70"),
        )
    }

    fn contact(&self) -> String {
        format!("<sip:{}@{}>", self.spec.group, self.ua.link.local)
    }

    fn sdp(&self, version: u32) -> Vec<u8> {
        let (ip, port) = (self.ua.link.local.ip(), self.rtp.local_addr().map_or(9, |a| a.port()));
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let mut text = format!(
            "v=0\r\no=- {port} {version} IN {family} {ip}\r\ns=radio\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 101\r\n\
             a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
        );
        if self.spec.carrier == "mcptt" {
            let port = self.floor.local_addr().map_or(9, |a| a.port());
            text.push_str(&format!("m=application {port} udp MCPTT\r\na=fmtp:MCPTT mc_queueing;mc_priority=5\r\n"));
        }
        text.into_bytes()
    }

    fn stands(&mut self, id: &str, ours: String, theirs: String, remote: String, body: &[u8]) -> bool {
        let Some(air) = Air::new(&self.spec, body) else { return false };
        report::event("radio_call", &self.spec.group, json!({"call_id": id}));
        self.call = Some(Call { id: id.to_owned(), ours, theirs, remote, air });
        true
    }

    async fn request(&mut self, request: &Message, from: SocketAddr) {
        let ours = self.call.as_ref().is_some_and(|c| c.id == request.call_id());
        let tag = token();
        let code = match request.method() {
            "ACK" => {
                self.ua.acked(request.call_id());
                return;
            }
            "INVITE" if self.call.is_some() && !ours => 486,
            "INVITE" if ours => 488,
            "INVITE" => {
                let response = Message::response(request, 200, "OK", &tag)
                    .with("Contact", self.contact())
                    .with_body("application/sdp", self.sdp(1));
                let header = |m: &Message, name: &str| m.header(name).unwrap_or("").to_owned();
                let (ours, theirs) = (header(&response, "To"), header(request, "From"));
                let remote = address_uri(request.header("Contact").unwrap_or("")).to_string();
                if self.stands(request.call_id(), ours, theirs, remote, &request.body) {
                    return self.ua.reply(request, from, response).await;
                }
                488
            }
            "BYE" if ours => {
                self.over("the hall hung up");
                200
            }
            "INFO" if ours => {
                let text = String::from_utf8_lossy(&request.body).into_owned();
                self.call.as_mut().map_or(481, |c| if c.air.on_info(&text) { 200 } else { 486 })
            }
            "OPTIONS" | "MESSAGE" | "CANCEL" => 200,
            _ => 481,
        };
        let reason = if code == 200 { "OK" } else { "No" };
        let response = Message::response(request, code, reason, &tag);
        self.ua.reply(request, from, response).await;
    }

    async fn invite(&mut self) {
        self.cseq += 1;
        let (id, server) = (token(), self.ua.link.server);
        let own = format!("<sip:{}@{}>;tag={}", self.spec.group, self.ua.link.local, token());
        let uri = format!("sip:{}@{server}", self.spec.group);
        let request = Message::request("INVITE", &uri)
            .with("From", own.clone())
            .with("To", format!("<{uri}>"))
            .with("Call-ID", id.clone())
            .with("CSeq", format!("{} INVITE", self.cseq))
            .with("Contact", self.contact())
            .with("Max-Forwards", "70")
            .with_body("application/sdp", self.sdp(1));
        let branch = self.ua.request(request).await;
        self.calling = Some((branch, id, own));
    }

    async fn response(&mut self, branch: &str, message: &Message) {
        let (number, method) = message.cseq();
        let method = method.to_owned();
        if method != "INVITE" || message.code() < 200 {
            return;
        }
        let Some((_, id, own)) = self.calling.clone().filter(|(b, ..)| b == branch) else { return };
        let uri = format!("sip:{}@{}", self.spec.group, self.ua.link.server);
        let good = message.code() < 300;
        let remote = address_uri(message.header("Contact").unwrap_or("")).to_string();
        let to = message.header("To").unwrap_or("").to_owned();
        let ack = Message::request("ACK", if good { &remote } else { &uri })
            .with("From", own.clone())
            .with("To", to.clone())
            .with("Call-ID", id.clone())
            .with("CSeq", format!("{number} ACK"))
            .with("Max-Forwards", "70");
        self.ua.ack(ack, (!good).then_some(branch)).await;
        if !good {
            return self.refused(branch, message.code());
        }
        if self.call.is_none() && !self.stands(&id, own, to, remote, &message.body) {
            self.over("no sound in the answer");
        }
    }

    fn refused(&mut self, branch: &str, code: u16) {
        if self.calling.as_ref().is_some_and(|(b, ..)| b == branch) {
            self.calling = None;
            report::event("radio_refused", &self.spec.group, json!({"code": code}));
            self.next_call = Some(Instant::now() + Duration::from_secs(1));
        }
    }

    async fn send_messages(&mut self) {
        for text in self.spec.messages.clone() {
            let (id, text) = text.split_once('=').unwrap_or(("0", &text));
            self.cseq += 1;
            let uri = format!("sip:hall@{}", self.ua.link.server);
            let request = Message::request("MESSAGE", &uri)
                .with("From", format!("<sip:{id}@{}>;tag={}", self.ua.link.local, token()))
                .with("To", format!("<{uri}>"))
                .with("Call-ID", token())
                .with("CSeq", format!("{} MESSAGE", self.cseq))
                .with("Max-Forwards", "70")
                .with_body("text/plain", text.as_bytes().to_vec());
            self.ua.request(request).await;
        }
    }

    async fn hang_up(&mut self) {
        if let Some(request) = self.inside("BYE") {
            self.ua.request(request).await;
        }
        self.over("stopped");
    }

    fn over(&mut self, why: &str) {
        if let Some(call) = self.call.take() {
            call.air.save();
            report::event("radio_call_ended", &self.spec.group, json!({"why": why}));
            self.next_call = self.spec.call.then(|| Instant::now() + Duration::from_secs(1));
            self.told = false;
        }
    }
}
