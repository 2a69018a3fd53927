//! The air of a group: who holds the channel, what the radios hear, what they say, and how each carrier tells it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::radio::RadioSpec;
use crate::sdp::Offer;
use crate::{g711, report, rtp, wav};

/// Half an hour of transmissions.
const MOST: usize = 8000 * 1800;
/// Without the hall's sound for so long its transmission is over, where sound itself is the key.
const HANG: Duration = Duration::from_millis(500);

pub enum Outgoing {
    Rtp(Vec<u8>, SocketAddr),
    Floor(Vec<u8>, SocketAddr),
    Info(&'static str, String),
}

#[derive(Clone)]
struct Talk {
    from: Duration,
    until: Duration,
    hertz: f64,
    id: String,
}

/// `START+SECONDS@HERTZ#ID`.
fn talk(text: &str) -> Option<Talk> {
    let (start, rest) = text.split_once('+')?;
    let (length, rest) = rest.split_once('@')?;
    let (hertz, id) = rest.split_once('#').unwrap_or((rest, "1"));
    let from = Duration::from_secs_f64(start.parse::<f64>().ok().filter(|s| (0.0..86_400.0).contains(s))?);
    let length = Duration::from_secs_f64(length.parse::<f64>().ok().filter(|s| (0.0..86_400.0).contains(s))?);
    Some(Talk { from, until: from + length, hertz: hertz.parse().ok()?, id: id.to_owned() })
}

pub struct Air {
    spec: RadioSpec,
    began: Instant,
    peer: SocketAddr,
    floor: Option<SocketAddr>,
    events: u8,
    /// The hall asked for the channel; it is granted then.
    asked: Option<Instant>,
    /// The hall holds it, since.
    keyed: Option<Instant>,
    last_sound: Instant,
    heard: Vec<i16>,
    /// Samples before the present transmission.
    before: usize,
    talks: Vec<Talk>,
    talking: Option<Talk>,
    ssrc: u32,
    sequence: u16,
    stamp: u32,
    phase: usize,
    /// Packets of a digit that are still to be sent.
    digit: Option<(u8, u16, u32)>,
    /// The last digit that came: its stamp.
    digit_in: Option<u32>,
    number: u16,
    last_r2s: Instant,
    out: Vec<Outgoing>,
}

fn application_port(body: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().find(|l| l.starts_with("m=application ") && l.contains("MCPTT"))?;
    line.split_whitespace().nth(1)?.parse().ok().filter(|p| *p > 0)
}

impl Air {
    pub fn new(spec: &RadioSpec, body: &[u8]) -> Option<Air> {
        let offer = Offer::parse(body).filter(|o| o.media == "audio" && o.formats.contains(&8))?;
        let floor = application_port(body).map(|port| SocketAddr::new(offer.target.ip(), port));
        if spec.carrier == "mcptt" && floor.is_none() {
            return None;
        }
        let now = Instant::now();
        let talks = spec.talks.iter().filter_map(|t| talk(t)).collect();
        Some(Air {
            spec: spec.clone(),
            began: now,
            peer: offer.target,
            floor,
            events: offer.events.unwrap_or(101),
            asked: None,
            keyed: None,
            last_sound: now,
            heard: Vec::new(),
            before: 0,
            talks,
            talking: None,
            ssrc: rand::random(),
            sequence: rand::random(),
            stamp: rand::random(),
            phase: 0,
            digit: None,
            digit_in: None,
            number: 0,
            last_r2s: now,
            out: Vec::new(),
        })
    }

    pub fn take_out(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.out)
    }

    fn event(&self, name: &str, more: serde_json::Value) {
        report::event(name, &self.spec.group, more);
    }

    /// The hall wants the channel; false: it does not get it.
    fn press(&mut self) -> bool {
        self.event("radio_asked", json!({"carrier": self.spec.carrier}));
        if self.spec.deny || self.talking.is_some() {
            self.event("radio_denied", json!({}));
            return false;
        }
        self.asked = Some(Instant::now() + Duration::from_millis(self.spec.grant_ms));
        self.grant_due();
        true
    }

    fn grant_due(&mut self) {
        if self.asked.is_some_and(|at| Instant::now() >= at) {
            self.asked = None;
            if self.keyed.is_none() {
                self.key();
            }
            if self.spec.carrier == "mcptt" {
                // Duration 30 s.
                self.say_floor(1, &[1, 2, 0, 30]);
            }
            if self.spec.carrier == "info" && self.spec.grant_ms > 0 {
                let (kind, body) = self.body("granted", "");
                self.out.push(Outgoing::Info(kind, body));
            }
        }
    }

    fn key(&mut self) {
        self.keyed = Some(Instant::now());
        self.before = self.heard.len();
        self.event("radio_keyed", json!({"by": "hall"}));
    }

    fn unkey(&mut self) {
        self.asked = None;
        if let Some(since) = self.keyed.take() {
            let own = self.heard.get(self.before..).unwrap_or_default();
            let power: f64 = own.iter().map(|s| f64::from(*s).powi(2)).sum();
            let rms = (power / own.len().max(1) as f64).sqrt();
            let ms = since.elapsed().as_millis() as u64;
            self.event("radio_unkeyed", json!({"by": "hall", "ms": ms, "samples": own.len(), "rms": rms.round()}));
            self.save();
        }
    }

    /// A body of INFO; false: refused.
    pub fn on_info(&mut self, text: &str) -> bool {
        self.event("radio_info", json!({"body": text}));
        if self.spec.carrier != "info" {
            return true;
        }
        if text.contains("Signal=*") || text.contains("<op>request</op>") || text.contains("\"op\":\"request\"") {
            return self.press();
        }
        if text.contains("Signal=#") || text.contains("<op>released</op>") || text.contains("\"op\":\"released\"") {
            self.unkey();
        }
        true
    }

    /// A datagram with floor messages (TS 24.380 8.2).
    pub fn on_floor(&mut self, data: &[u8]) {
        let mut rest = data;
        while let Some([first, 204, high, low, ..]) = rest.get(..12) {
            let length = 4 * (usize::from(u16::from_be_bytes([*high, *low])) + 1);
            if rest.get(8..12) != Some(b"MCPT") {
                return;
            }
            let kind = first & 0x0F;
            self.event("radio_floor", json!({"type": kind}));
            match kind {
                0 if self.keyed.is_none() && self.asked.is_none() && !self.press() => {
                    // Deny, another client has permission.
                    self.say_floor(3, &[2, 2, 0, 1]);
                }
                4 => {
                    self.unkey();
                    self.idle();
                }
                _ => {}
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }

    fn idle(&mut self) {
        self.number = self.number.wrapping_add(1);
        let [high, low] = self.number.to_be_bytes();
        self.say_floor(5, &[8, 2, high, low]);
    }

    fn say_floor(&mut self, kind: u8, fields: &[u8]) {
        let Some(to) = self.floor else { return };
        let mut packet = vec![0x80 | kind, 204, 0, 0];
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        packet.extend_from_slice(b"MCPT");
        packet.extend_from_slice(fields);
        packet.resize(packet.len().next_multiple_of(4), 0);
        let words = (packet.len() / 4 - 1) as u16;
        packet[2..4].copy_from_slice(&words.to_be_bytes());
        self.out.push(Outgoing::Floor(packet, to));
    }

    /// A datagram of the hall's RTP.
    pub fn on_rtp(&mut self, data: &[u8]) {
        let Some(packet) = rtp::parse(data) else { return };
        if packet.payload_type == self.events || packet.payload_type == 101 {
            return self.on_digit(packet.payload, packet.timestamp);
        }
        let ptt = data.first().is_some_and(|b| b & 0x10 != 0) && data.get(16).is_some_and(|b| b >> 5 != 0);
        if self.spec.carrier == "ed137" && ptt != self.keyed.is_some() {
            if ptt { self.key() } else { self.unkey() }
        }
        if packet.payload_type != 8 || packet.payload.is_empty() {
            return;
        }
        let samples: Vec<i16> = packet.payload.iter().map(|b| g711::from_alaw(*b)).collect();
        let loud = samples.iter().any(|s| s.unsigned_abs() > 300);
        let keys = match self.spec.carrier.as_str() {
            "rtp" => true,
            "vox" => loud,
            _ => false,
        };
        if keys {
            self.last_sound = Instant::now();
            if self.keyed.is_none() && self.talking.is_none() {
                self.key();
            }
        }
        if self.keyed.is_some() && self.heard.len() < MOST {
            self.heard.extend(samples);
        }
    }

    fn on_digit(&mut self, payload: &[u8], stamp: u32) {
        let Some(event) = payload.first() else { return };
        if self.spec.carrier != "dtmf" || self.digit_in.replace(stamp) == Some(stamp) {
            return;
        }
        if *event == 10 && self.press() && self.keyed.is_none() {
            self.key();
        } else if *event == 11 {
            self.unkey();
        }
    }

    /// Every 20 ms.
    pub fn tick(&mut self) {
        self.grant_due();
        let by_sound = matches!(self.spec.carrier.as_str(), "rtp" | "vox");
        if by_sound && self.keyed.is_some() && self.last_sound.elapsed() > HANG {
            self.unkey();
        }
        let at = self.began.elapsed();
        self.stamp = self.stamp.wrapping_add(160);
        if self.talking.as_ref().is_some_and(|t| at >= t.until) {
            self.let_go();
        }
        let due = self.talks.iter().position(|t| at >= t.from && at < t.until);
        if let Some(place) = due.filter(|_| self.talking.is_none() && self.keyed.is_none()) {
            let talk = self.talks.remove(place);
            self.radio_presses(&talk);
            self.talking = Some(talk);
        }
        self.send_sound();
    }

    fn body(&self, op: &str, id: &str) -> (&'static str, String) {
        let emergency = self.spec.emergency;
        ("application/ptt+xml", format!("<ptt><op>{op}</op><user>{id}</user><emergency>{emergency}</emergency></ptt>"))
    }

    fn radio_presses(&mut self, talk: &Talk) {
        self.event("radio_keyed", json!({"by": talk.id, "hertz": talk.hertz}));
        self.phase = 0;
        match self.spec.carrier.as_str() {
            "info" => {
                let (kind, body) = self.body("taken", &talk.id);
                self.out.push(Outgoing::Info(kind, body));
            }
            "dtmf" => self.digit = Some((10, 0, self.stamp)),
            "mcptt" => {
                self.number = self.number.wrapping_add(1);
                let party = format!("sip:{}@radio", talk.id);
                let mut fields = vec![4, party.len() as u8];
                fields.extend_from_slice(party.as_bytes());
                fields.resize(fields.len().next_multiple_of(4), 0);
                fields.extend_from_slice(&[8, 2]);
                fields.extend_from_slice(&self.number.to_be_bytes());
                fields.extend_from_slice(&[13, 2, if self.spec.emergency { 0x10 } else { 0x80 }, 0]);
                self.say_floor(2, &fields);
            }
            _ => {}
        }
    }

    fn let_go(&mut self) {
        let Some(talk) = self.talking.take() else { return };
        self.event("radio_unkeyed", json!({"by": talk.id}));
        match self.spec.carrier.as_str() {
            "info" => {
                let (kind, body) = self.body("idle", &talk.id);
                self.out.push(Outgoing::Info(kind, body));
            }
            "dtmf" => self.digit = Some((11, 0, self.stamp)),
            "mcptt" => self.idle(),
            _ => {}
        }
    }

    fn send_sound(&mut self) {
        if let Some((code, ticks, start)) = self.digit {
            let over = ticks >= 4;
            let duration = ((ticks + 1) * 160).to_be_bytes();
            let payload = [code, if over { 0x8A } else { 0x0A }, duration[0], duration[1]];
            for _ in 0..if over { 3 } else { 1 } {
                self.put(self.events, ticks == 0, start, &payload, None);
            }
            self.digit = (!over).then_some((code, ticks + 1, start));
            return;
        }
        let ed137 = self.spec.carrier == "ed137";
        // ED-137A: squelch, or a radio's PTT of type emergency.
        let word = match (&self.talking, self.spec.emergency) {
            (Some(_), true) => 0x9000_0000u32,
            (Some(_), false) => 0x1000_0000,
            _ => 0,
        };
        let word = ed137.then_some(word);
        match self.talking.clone() {
            Some(talk) => {
                let phase = self.phase;
                let payload: Vec<u8> = (phase..phase + 160)
                    .map(|n| {
                        let turn = talk.hertz * n as f64 / 8000.0;
                        g711::alaw(((turn * std::f64::consts::TAU).sin() * 8000.0) as i16)
                    })
                    .collect();
                self.phase += 160;
                self.put(8, phase == 0, self.stamp, &payload, word);
            }
            // A RoIP box with its squelch closed sends nothing; supervised ones say so.
            None if ed137 && self.last_r2s.elapsed() >= Duration::from_millis(200) => {
                self.last_r2s = Instant::now();
                self.put(123, false, self.stamp, &[], word);
            }
            None => {}
        }
    }

    fn put(&mut self, payload_type: u8, marker: bool, stamp: u32, payload: &[u8], word: Option<u32>) {
        let mut packet = rtp::packet(payload_type, marker, self.sequence, stamp, self.ssrc, &[]);
        if let Some(word) = word {
            packet[0] |= 0x10;
            packet.extend_from_slice(&[0x01, 0x67, 0, 1]);
            packet.extend_from_slice(&word.to_be_bytes());
        }
        packet.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.out.push(Outgoing::Rtp(packet, self.peer));
    }

    pub fn save(&self) {
        if let Some(path) = &self.spec.record
            && let Err(e) = wav::write(path, &self.heard)
        {
            report::say(&format!("radio {}: {}: {e}", self.spec.group, path.display()));
        }
    }
}
