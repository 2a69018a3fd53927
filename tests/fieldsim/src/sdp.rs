//! The SDP of a GB/T 28181 session (reference section 12.1), and the little a phone needs.

use std::net::{IpAddr, SocketAddr};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Setup {
    Active,
    Passive,
}

impl Setup {
    pub fn other(self) -> Setup {
        if self == Setup::Active { Setup::Passive } else { Setup::Active }
    }
}

/// An answer as an odd device writes it.
pub fn odd(text: String, odd: &crate::odd::Odd) -> String {
    let mut text = text;
    if let Some(name) = &odd.private_encoding {
        text = text.replace("96 PS/90000", &format!("96 {name}/90000"));
    }
    if odd.media_level_c {
        let line = text.lines().find(|l| l.starts_with("c=")).unwrap_or("").to_owned() + "\r\n";
        let owner = text.lines().find(|l| l.starts_with("o=")).unwrap_or("").to_owned();
        let unknown = owner.rsplit_once(' ').map_or(String::new(), |(head, _)| format!("{head} 0.0.0.0"));
        text = text.replacen(&line, "", 1).replacen(&owner, &unknown, 1);
        text = text.replacen("a=sendonly\r\n", &format!("{line}a=sendonly\r\n"), 1);
    }
    text
}

#[derive(Debug, Clone)]
pub struct Offer {
    /// Play, Playback, Download or Talk.
    pub kind: String,
    pub target: SocketAddr,
    pub tcp: bool,
    pub setup: Option<Setup>,
    pub ssrc: Option<u32>,
    pub formats: Vec<u8>,
    /// The text of `m=` before the port: video or audio.
    pub media: String,
    /// Payload type of telephone-event.
    pub events: Option<u8>,
    /// `t=`: Unix seconds.
    pub time: Option<(i64, i64)>,
    /// `a=downloadspeed`.
    pub speed: Option<f64>,
    /// The sub-stream is asked for, in any of the forms of the field.
    pub sub: bool,
}

impl Offer {
    pub fn parse(body: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(body);
        let mut address: Option<IpAddr> = None;
        let mut out: Option<Offer> = None;
        let (mut kind, mut setup, mut ssrc, mut events) = (String::new(), None, None, None);
        let (mut time, mut speed) = (None, None);
        let mut sub = false;
        for line in text.lines().map(str::trim) {
            let Some((letter, value)) = line.split_once('=') else {
                continue;
            };
            match letter {
                "s" => kind = value.to_string(),
                "c" => address = value.split_whitespace().nth(2).and_then(|a| a.parse().ok()).or(address),
                "m" if out.is_none() => {
                    let words: Vec<&str> = value.split_whitespace().collect();
                    out = Some(Offer {
                        kind: String::new(),
                        target: SocketAddr::new([0, 0, 0, 0].into(), words.get(1)?.parse().ok()?),
                        tcp: words.get(2)?.to_ascii_uppercase().starts_with("TCP"),
                        setup: None,
                        ssrc: None,
                        formats: words.iter().skip(3).filter_map(|f| f.parse().ok()).collect(),
                        media: (*words.first()?).to_string(),
                        events: None,
                        time: None,
                        speed: None,
                        sub: false,
                    });
                }
                "y" => ssrc = value.parse().ok(),
                "t" => time = value.split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.trim().parse().ok()?))),
                "a" => {
                    let (name, rest) = value.split_once(':').unwrap_or((value, ""));
                    match (name, rest.trim()) {
                        ("downloadspeed", n) => speed = n.parse().ok(),
                        ("setup", "passive") => setup = Some(Setup::Passive),
                        ("streamnumber" | "stream" | "streamprofile", "1") | ("streamMode", "SUB") => sub = true,
                        ("setup", "active") => setup = Some(Setup::Active),
                        ("rtpmap", map) if map.to_ascii_lowercase().contains("telephone-event/8000") => {
                            events = map.split_whitespace().next().and_then(|n| n.parse().ok());
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        let mut offer = out?;
        offer.target.set_ip(address?);
        Some(Offer { kind, setup, ssrc, events, time, speed, sub, ..offer })
    }
}

/// What a camera answers.
pub struct Answer<'a> {
    pub id: &'a str,
    pub kind: &'a str,
    pub local: SocketAddr,
    /// Our role when media goes over TCP.
    pub tcp: Option<Setup>,
    /// `None`: the line is left out.
    pub y: Option<u32>,
    pub f: Option<String>,
    /// `a=filesize` of a download.
    pub file_size: Option<u64>,
}

impl Answer<'_> {
    pub fn text(&self) -> String {
        let ip = self.local.ip();
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let transport = if self.tcp.is_some() { "TCP/RTP/AVP" } else { "RTP/AVP" };
        let mut text = format!(
            "v=0\r\no={} 0 0 IN {family} {ip}\r\ns={}\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=video {} {transport} 96\r\n\
             a=sendonly\r\na=rtpmap:96 PS/90000\r\n",
            self.id,
            self.kind,
            self.local.port()
        );
        if let Some(setup) = self.tcp {
            let word = if setup == Setup::Active { "active" } else { "passive" };
            text.push_str(&format!("a=setup:{word}\r\na=connection:new\r\n"));
        }
        if let Some(size) = self.file_size {
            text.push_str(&format!("a=filesize:{size}\r\n"));
        }
        if let Some(y) = self.y {
            text.push_str(&format!("y={y:010}\r\n"));
        }
        if let Some(f) = &self.f {
            text.push_str(&format!("f={f}\r\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offer_of_the_reference() {
        let text = "v=0\r\no=34020000002000000001 0 0 IN IP4 10.1.1.6\r\ns=Play\r\nc=IN IP4 10.1.1.6\r\nt=0 0\r\n\
            m=video 30012 TCP/RTP/AVP 96 98\r\na=recvonly\r\na=rtpmap:96 PS/90000\r\na=setup:passive\r\ny=0200000137\r\n";
        let o = Offer::parse(text.as_bytes()).unwrap();
        assert_eq!((o.kind.as_str(), o.target.to_string().as_str(), o.tcp), ("Play", "10.1.1.6:30012", true));
        assert_eq!((o.setup, o.ssrc, o.formats), (Some(Setup::Passive), Some(200_000_137), vec![96, 98]));
        let answer = Answer {
            id: "1",
            kind: "Play",
            local: o.target,
            tcp: Some(Setup::Active),
            y: Some(137),
            f: None,
            file_size: None,
        }
        .text();
        assert!(answer.contains("a=setup:active\r\n") && answer.ends_with("y=0000000137\r\n"));
    }
}
