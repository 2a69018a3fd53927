//! A phone made of the SIP crate and a UDP socket: for what a program will not do on demand.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::dtmf::send_sequence;
use media_core::g711;
use media_core::rtp::{RtpHeader, RtpPacket};
use sip::{Call, CallEvent, DigestClient, Method, NameAddr, Request, Response, Sip, Target, Transport, Uri};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

pub struct Raw {
    pub sip: Sip,
    pub user: String,
    pub gateway: SocketAddr,
    pub rtp: UdpSocket,
    /// Calls from the gateway.
    pub incoming: tokio::sync::mpsc::Receiver<sip::Incoming>,
    stop: CancellationToken,
    sequence: u16,
    timestamp: u32,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Raw {
    pub async fn start(user: &str, port: u16, gateway: u16) -> Raw {
        let (mut service, sip) =
            sip::Service::bind(sip::ServiceConfig { udp: vec![([127, 0, 0, 1], port).into()], ..Default::default() })
                .await
                .unwrap();
        let incoming = service.claim("raw", |request: &Request, _: &sip::Flow| request.method == Method::Invite);
        let stop = CancellationToken::new();
        tokio::spawn(service.run(stop.clone()));
        let rtp = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        let gateway = ([127, 0, 0, 1], gateway).into();
        Raw { sip, user: user.to_owned(), gateway, rtp, incoming, stop, sequence: 1, timestamp: 1000 }
    }

    fn target(&self) -> Target {
        Target::Address(Transport::Udp, self.gateway)
    }

    pub fn request(&self, method: Method, number: &str) -> Request {
        let mut request = Request::new(method, Uri::sip(number, "127.0.0.1", Some(self.gateway.port())));
        request.headers.set("From", NameAddr::new(Uri::sip(&self.user, "127.0.0.1", None)).to_string());
        request
    }

    pub async fn register(&self, password: &str, expires: u32) -> Response {
        let mut request = self.request(Method::Register, "");
        request.headers.set("To", NameAddr::new(Uri::sip(&self.user, "127.0.0.1", None)).to_string());
        request.headers.set("Contact", format!("<{}>", self.sip.local_contact(&self.target(), &self.user)));
        request.headers.set("Expires", expires.to_string());
        self.sip.request_as(self.target(), request, DigestClient::new(&self.user, password)).await.unwrap()
    }

    pub fn offer(&self, formats: &str, direction: &str) -> String {
        let port = self.rtp.local_addr().unwrap().port();
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP {formats}\r\n\
             a=rtpmap:96 telephone-event/8000\r\na={direction}\r\n"
        )
    }

    pub async fn invite(&self, number: &str, body: &str, extra: &[(&str, &str)], password: Option<&str>) -> Call {
        let mut request = self.request(Method::Invite, number);
        for (name, value) in extra {
            request.headers.set(name, value);
        }
        if !body.is_empty() {
            request.set_body("application/sdp", Bytes::from(body.to_owned()));
        }
        match password {
            Some(p) => self.sip.invite_as(self.target(), request, DigestClient::new(&self.user, p)).await.unwrap(),
            None => self.sip.invite(self.target(), request).await.unwrap(),
        }
    }

    /// The next call from the gateway.
    pub async fn called(&mut self) -> (Call, Request) {
        match tokio::time::timeout(Duration::from_secs(5), self.incoming.recv()).await.unwrap().unwrap() {
            sip::Incoming::Invite { call, request, .. } => (call, request),
            other => panic!("{other:?}"),
        }
    }

    /// One packet of a tone.
    pub async fn talk(&mut self, to: SocketAddr, hz: f32) {
        let samples: Vec<i16> = (0..160)
            .map(|i| {
                let x = (hz * (self.timestamp.wrapping_add(i)) as f32 / 8000.0).fract();
                ((std::f32::consts::TAU * x).sin() * 8000.0) as i16
            })
            .collect();
        let mut payload = Vec::new();
        g711::encode(true, &samples, &mut payload);
        self.packet(to, 8, false, self.timestamp, &payload).await;
        self.timestamp = self.timestamp.wrapping_add(160);
    }

    pub async fn packet(&mut self, to: SocketAddr, payload_type: u8, marker: bool, timestamp: u32, payload: &[u8]) {
        let header = RtpHeader { marker, payload_type, sequence: self.sequence, timestamp, ssrc: 77 };
        let mut out = Vec::new();
        header.write(&mut out, &[payload]);
        self.sequence = self.sequence.wrapping_add(1);
        self.rtp.send_to(&out, to).await.unwrap();
    }

    /// A key by RFC 4733 with the end packets lost: only the first two packets of it are sent.
    pub async fn key(&mut self, to: SocketAddr, key: char) {
        let packets = send_sequence(key, self.timestamp, 8000, Duration::from_millis(80)).unwrap();
        for p in packets.iter().take(2) {
            self.packet(to, 96, p.marker, p.timestamp, &p.payload).await;
        }
        self.timestamp = self.timestamp.wrapping_add(1600);
    }

    /// Its sound goes on: waits for this many packets.
    pub async fn goes_on(&self, packets: usize) {
        let (mut sound, end) = (0, Instant::now() + Duration::from_secs(5));
        while sound < packets {
            assert!(Instant::now() < end, "the sound of {} does not go on: {sound} packets in 5 s", self.user);
            sound += self.hear(Duration::from_millis(100)).await.len();
        }
    }

    /// What comes within this time: (RTP packets, their sequence numbers in a row, time stamps by 160).
    pub async fn hear(&self, time: Duration) -> Vec<(u16, u32, u8, Vec<u8>)> {
        let end = Instant::now() + time;
        let mut out = Vec::new();
        let mut buffer = [0; 2000];
        while let Ok(Ok((n, _))) = tokio::time::timeout_at(end.into(), self.rtp.recv_from(&mut buffer)).await {
            if let Ok(p) = RtpPacket::parse(&buffer[..n]) {
                out.push((p.sequence, p.timestamp, p.payload_type, p.payload.to_vec()));
            }
        }
        out
    }
}

/// Where the answer wants our sound.
pub fn media_of(response: &Response) -> SocketAddr {
    let sdp = media_core::sdp::Sdp::parse(&response.body).unwrap();
    let m = sdp.first("audio").unwrap();
    (sdp.address_of(m).unwrap(), m.port).into()
}

/// Waits for the final answer.
pub async fn answer(call: &mut Call) -> Result<Response, Response> {
    loop {
        match tokio::time::timeout(Duration::from_secs(5), call.next()).await.unwrap().unwrap() {
            CallEvent::Answered(r) => return Ok(r),
            CallEvent::Ended(sip::EndReason::Rejected(r)) => return Err(r),
            CallEvent::Ended(other) => panic!("{other:?}"),
            _ => {}
        }
    }
}

/// Waits for the end and says why.
pub async fn end(call: &mut Call, seconds: u64) -> sip::EndReason {
    loop {
        match tokio::time::timeout(Duration::from_secs(seconds), call.next()).await.unwrap().unwrap() {
            CallEvent::Ended(reason) => return reason,
            CallEvent::Request { tx, request } => call.respond(tx, request.respond(200)),
            _ => {}
        }
    }
}
