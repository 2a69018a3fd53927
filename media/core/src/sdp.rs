//! SDP (RFC 8866) by a tolerant line parser: order and unknown lines are kept, `y=`, `f=` and `u=` of GB/T 28181 included.

use std::fmt;
use std::net::IpAddr;

/// Largest body read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// Most lines read.
pub const MAX_LINES: usize = 256;
/// Most formats of one `m=` line.
const MAX_FORMATS: usize = 64;

/// Why an SDP was refused. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    #[error("SDP over {MAX_BYTES} bytes or {MAX_LINES} lines")]
    TooLarge,
    #[error("SDP is empty")]
    Empty,
    #[error("SDP line {line}: media line unreadable")]
    BadMedia { line: usize },
    #[error("SDP has no usable {0} media")]
    NoMedia(&'static str),
    #[error("SDP has no readable connection address")]
    NoAddress,
    #[error("no codec in common; offered: {0}")]
    NoCodec(String),
}

/// One line `kind=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdpLine {
    pub kind: char,
    pub value: String,
}

/// One `m=` section with the lines that follow it, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Media {
    /// `audio`, `video`, `application`...
    pub kind: String,
    /// 0 = refused.
    pub port: u16,
    /// `RTP/AVP`, `TCP/RTP/AVP`...
    pub proto: String,
    pub formats: Vec<String>,
    pub lines: Vec<SdpLine>,
}

/// A session description.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sdp {
    pub session: Vec<SdpLine>,
    pub media: Vec<Media>,
}

/// The `o=` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub username: String,
    pub session_id: String,
    pub version: u64,
    pub address: String,
}

/// From the view of the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub fn from_flags(send: bool, recv: bool) -> Self {
        match (send, recv) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// The same seen from the other side.
    pub fn reversed(self) -> Self {
        Self::from_flags(self.receives(), self.sends())
    }

    /// What we may answer when we would like `want` (RFC 3264 6.1).
    pub fn answer(self, want: Direction) -> Self {
        Self::from_flags(want.sends() && self.receives(), want.receives() && self.sends())
    }

    pub fn name(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    fn parse(s: &str) -> Option<Self> {
        [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive]
            .into_iter()
            .find(|d| s.eq_ignore_ascii_case(d.name()))
    }
}

/// `a=setup` (RFC 4145).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    Active,
    Passive,
    ActPass,
}

impl Setup {
    pub fn name(self) -> &'static str {
        match self {
            Setup::Active => "active",
            Setup::Passive => "passive",
            Setup::ActPass => "actpass",
        }
    }
}

/// One `a=rtpmap`, or the meaning of a static number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpMap {
    pub payload_type: u8,
    pub encoding: String,
    pub clock_rate: u32,
    pub channels: u8,
}

impl fmt::Display for RtpMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.payload_type, self.encoding, self.clock_rate)?;
        if self.channels > 1 { write!(f, "/{}", self.channels) } else { Ok(()) }
    }
}

fn find(lines: &[SdpLine], kind: char) -> impl Iterator<Item = &str> {
    lines.iter().filter(move |l| l.kind == kind).map(|l| l.value.as_str())
}

/// `name` or `name:value` attributes; the value is empty for a flag.
fn attributes<'a>(lines: &'a [SdpLine], name: &'a str) -> impl Iterator<Item = &'a str> {
    find(lines, 'a').filter_map(move |v| {
        let (n, rest) = v.split_once(':').unwrap_or((v, ""));
        n.trim().eq_ignore_ascii_case(name).then(|| rest.trim())
    })
}

fn direction(lines: &[SdpLine]) -> Option<Direction> {
    find(lines, 'a').find_map(|v| Direction::parse(v.trim()))
}

/// Address of a `c=` line: `IN IP4 10.0.0.1/127`.
fn connection(lines: &[SdpLine]) -> Option<IpAddr> {
    find(lines, 'c').find_map(|v| v.split_whitespace().nth(2)?.split('/').next()?.parse().ok())
}

/// `IP4 10.0.0.1` or `IP6 ::1`.
pub fn net_address(addr: IpAddr) -> String {
    format!("{} {addr}", if addr.is_ipv4() { "IP4" } else { "IP6" })
}

impl Media {
    pub fn new(kind: &str, port: u16, proto: &str, formats: Vec<String>) -> Self {
        Media { kind: kind.into(), port, proto: proto.into(), formats, lines: Vec::new() }
    }

    fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split_whitespace();
        let kind = parts.next()?.to_ascii_lowercase();
        let port = parts.next()?.split('/').next()?.parse().ok()?;
        let proto = parts.next()?.to_owned();
        let formats = parts.take(MAX_FORMATS).map(str::to_owned).collect();
        Some(Media { kind, port, proto, formats, lines: Vec::new() })
    }

    /// Appends a line.
    pub fn push(&mut self, kind: char, value: impl Into<String>) -> &mut Self {
        self.lines.push(SdpLine { kind, value: value.into() });
        self
    }

    /// First value of an attribute; empty for a flag.
    pub fn attribute<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        attributes(&self.lines, name).next()
    }

    pub fn attributes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        attributes(&self.lines, name)
    }

    /// First line of this kind in the section.
    pub fn line(&self, kind: char) -> Option<&str> {
        find(&self.lines, kind).next().map(str::trim)
    }

    pub fn connection(&self) -> Option<IpAddr> {
        connection(&self.lines)
    }

    /// Direction written in this section.
    pub fn direction(&self) -> Option<Direction> {
        direction(&self.lines)
    }

    pub fn set_direction(&mut self, d: Direction) {
        self.lines.retain(|l| l.kind != 'a' || Direction::parse(l.value.trim()).is_none());
        self.push('a', d.name());
    }

    pub fn setup(&self) -> Option<Setup> {
        let v = self.attribute("setup")?;
        [Setup::Active, Setup::Passive, Setup::ActPass].into_iter().find(|s| v.eq_ignore_ascii_case(s.name()))
    }

    /// Runs over TCP.
    pub fn is_tcp(&self) -> bool {
        self.proto.to_ascii_uppercase().starts_with("TCP")
    }

    /// Milliseconds.
    pub fn ptime(&self) -> Option<u32> {
        self.attribute("ptime")?.split('.').next()?.parse().ok()
    }

    /// `a=rtpmap` of a number, or the static assignment of RFC 3551.
    pub fn rtpmap(&self, payload_type: u8) -> Option<RtpMap> {
        self.attributes("rtpmap")
            .filter_map(parse_rtpmap)
            .find(|m| m.payload_type == payload_type)
            .or_else(|| static_rtpmap(payload_type))
    }

    /// Known mappings of the formats, in their order.
    pub fn rtpmaps(&self) -> Vec<RtpMap> {
        self.formats.iter().filter_map(|f| self.rtpmap(f.parse().ok()?)).collect()
    }

    /// Format parameters of a number.
    pub fn fmtp(&self, payload_type: u8) -> Option<&str> {
        self.attributes("fmtp").find_map(|v| {
            let (pt, rest) = v.split_once(char::is_whitespace)?;
            (pt.parse::<u8>().ok()? == payload_type).then(|| rest.trim())
        })
    }
}

fn parse_rtpmap(v: &str) -> Option<RtpMap> {
    let (pt, rest) = v.split_once(char::is_whitespace)?;
    let mut parts = rest.trim().split('/');
    let encoding = parts.next()?.trim().to_owned();
    let clock_rate = parts.next().and_then(|c| c.trim().parse().ok()).unwrap_or(90_000);
    let channels = parts.next().and_then(|c| c.trim().parse().ok()).unwrap_or(1);
    Some(RtpMap { payload_type: pt.parse().ok().filter(|p| *p < 128)?, encoding, clock_rate, channels })
}

/// RFC 3551 tables 4 and 5, as far as anyone still uses them.
pub fn static_rtpmap(payload_type: u8) -> Option<RtpMap> {
    let (name, clock_rate) = match payload_type {
        0 => ("PCMU", 8000),
        3 => ("GSM", 8000),
        4 => ("G723", 8000),
        8 => ("PCMA", 8000),
        9 => ("G722", 8000),
        13 => ("CN", 8000),
        18 => ("G729", 8000),
        26 => ("JPEG", 90_000),
        33 => ("MP2T", 90_000),
        34 => ("H263", 90_000),
        _ => return None,
    };
    Some(RtpMap { payload_type, encoding: name.into(), clock_rate, channels: 1 })
}

impl Sdp {
    /// Reads a body. Lines that are no `x=` are skipped; text is taken as UTF-8 with replacement.
    pub fn parse(body: &[u8]) -> Result<Sdp, SdpError> {
        if body.len() > MAX_BYTES {
            return Err(SdpError::TooLarge);
        }
        let text = String::from_utf8_lossy(body);
        let mut sdp = Sdp::default();
        for (i, line) in text.split(['\n', '\r']).filter(|l| !l.is_empty()).enumerate() {
            if i >= MAX_LINES {
                return Err(SdpError::TooLarge);
            }
            let line = line.trim_start();
            let mut chars = line.chars();
            let (Some(kind), Some(value)) = (chars.next(), chars.as_str().trim_start().strip_prefix('=')) else {
                continue;
            };
            let kind = kind.to_ascii_lowercase();
            if kind == 'm' {
                sdp.media.push(Media::parse(value).ok_or(SdpError::BadMedia { line: i + 1 })?);
                continue;
            }
            let lines = sdp.media.last_mut().map_or(&mut sdp.session, |m| &mut m.lines);
            lines.push(SdpLine { kind, value: value.trim_end().to_owned() });
        }
        if sdp.session.is_empty() && sdp.media.is_empty() {
            return Err(SdpError::Empty);
        }
        Ok(sdp)
    }

    /// Appends a session line.
    pub fn push(&mut self, kind: char, value: impl Into<String>) -> &mut Self {
        self.session.push(SdpLine { kind, value: value.into() });
        self
    }

    /// First line of this kind: session part first, then the media sections (devices put `y=` and `f=` in either).
    pub fn line(&self, kind: char) -> Option<&str> {
        find(&self.session, kind).next().or_else(|| self.media.iter().find_map(|m| m.line(kind))).map(str::trim)
    }

    pub fn origin(&self) -> Option<Origin> {
        let v = find(&self.session, 'o').next()?;
        let mut p = v.split_whitespace();
        Some(Origin {
            username: p.next()?.to_owned(),
            session_id: p.next()?.to_owned(),
            version: p.next()?.parse().unwrap_or(0),
            address: p.nth(2).unwrap_or_default().to_owned(),
        })
    }

    pub fn session_name(&self) -> Option<&str> {
        find(&self.session, 's').next().map(str::trim)
    }

    /// Session level address.
    pub fn connection(&self) -> Option<IpAddr> {
        connection(&self.session)
    }

    /// First attribute of the session part.
    pub fn attribute<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        attributes(&self.session, name).next()
    }

    /// Address for a media section: its own, else the session's.
    pub fn address_of(&self, m: &Media) -> Option<IpAddr> {
        m.connection().or_else(|| self.connection())
    }

    /// Direction of a section, with the session's as default. `c=0.0.0.0` is the old form of hold: it takes the receiving away.
    pub fn direction_of(&self, m: &Media) -> Direction {
        let d = m.direction().or_else(|| direction(&self.session)).unwrap_or_default();
        match self.address_of(m) {
            Some(IpAddr::V4(a)) if a.is_unspecified() => Direction::from_flags(d.sends(), false),
            _ => d,
        }
    }

    /// `t=`: start and stop in seconds (Unix seconds in GB/T 28181).
    pub fn time(&self) -> Option<(u64, u64)> {
        let mut p = self.line('t')?.split_whitespace();
        Some((p.next()?.parse().ok()?, p.next()?.parse().ok()?))
    }

    /// `y=`: the SSRC of GB/T 28181, as written.
    pub fn y(&self) -> Option<&str> {
        self.line('y')
    }

    /// `f=`: media parameters of GB/T 28181.
    pub fn f(&self) -> Option<&str> {
        self.line('f')
    }

    pub fn u(&self) -> Option<&str> {
        self.line('u')
    }

    /// First section of a kind with a port.
    pub fn first(&self, kind: &str) -> Option<&Media> {
        self.media.iter().find(|m| m.kind == kind && m.port != 0)
    }
}

impl fmt::Display for Sdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for l in &self.session {
            write!(f, "{}={}\r\n", l.kind, l.value)?;
        }
        for m in &self.media {
            write!(f, "m={} {} {}", m.kind, m.port, m.proto)?;
            for x in &m.formats {
                write!(f, " {x}")?;
            }
            f.write_str("\r\n")?;
            for l in &m.lines {
                write!(f, "{}={}\r\n", l.kind, l.value)?;
            }
        }
        Ok(())
    }
}

/// Keeps the rule for `o=`: the session id stays, the version rises by exactly 1 when anything else changed.
#[derive(Debug, Clone)]
pub struct OriginVersion {
    session_id: u64,
    version: u64,
    last: Option<String>,
}

impl OriginVersion {
    /// `session_id` unique for this writer, e.g. a time in seconds.
    pub fn new(session_id: u64) -> Self {
        OriginVersion { session_id, version: session_id, last: None }
    }

    /// Writes the `o=` line of an SDP that is about to be sent.
    pub fn stamp(&mut self, sdp: &mut Sdp, user: &str, addr: IpAddr) {
        sdp.session.retain(|l| l.kind != 'o');
        let text = sdp.to_string();
        if self.last.as_ref().is_some_and(|l| *l != text) {
            self.version += 1;
        }
        self.last = Some(text);
        let at = sdp.session.iter().position(|l| l.kind == 'v').map_or(0, |i| i + 1);
        let value = format!("{user} {} {} IN {}", self.session_id, self.version, net_address(addr));
        sdp.session.insert(at, SdpLine { kind: 'o', value });
    }

    /// The same session was described once more elsewhere, with the version one higher.
    pub fn revised(&mut self) {
        self.version += 1;
    }

    pub fn version(&self) -> u64 {
        self.version
    }
}

/// Counts the version in the `o=` line up by one (RFC 3264 8), for a description that was written by [`OriginVersion::stamp`].
pub fn revise(sdp: &mut Sdp) {
    let Some(line) = sdp.session.iter_mut().find(|l| l.kind == 'o') else { return };
    let mut words: Vec<String> = line.value.split(' ').map(str::to_owned).collect();
    if let Some(version) = words.get_mut(2)
        && let Ok(number) = version.parse::<u64>()
    {
        *version = number.wrapping_add(1).to_string();
        line.value = words.join(" ");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const GB: &str = "v=0\r\no=34020000001320000009 0 0 IN IP4 192.168.8.20\r\ns=Play\r\nc=IN IP4 192.168.8.20\r\nt=0 0\r\nm=video 15060 TCP/RTP/AVP 96\r\na=sendonly\r\na=rtpmap:96 PS/90000\r\na=setup:active\r\ny=0200000137\r\nf=v/2/6/25/1/4096a///\r\n";

    #[test]
    fn written_as_read() {
        let s = Sdp::parse(GB.as_bytes()).unwrap();
        assert_eq!(s.to_string(), GB);
        let m = &s.media[0];
        assert_eq!((s.y(), s.f(), s.session_name()), (Some("0200000137"), Some("v/2/6/25/1/4096a///"), Some("Play")));
        assert_eq!((m.setup(), m.is_tcp(), s.direction_of(m)), (Some(Setup::Active), true, Direction::SendOnly));
        assert_eq!(m.rtpmaps()[0].to_string(), "96 PS/90000");
        assert_eq!(s.origin().unwrap().username, "34020000001320000009");
    }

    #[test]
    fn tolerance_and_limits() {
        let s = Sdp::parse(b"v=0\n garbage\nm=audio 4000/2 RTP/AVP 8 101\nq=odd\nc=IN IP4 0.0.0.0\n").unwrap();
        assert_eq!(s.media[0].rtpmap(8).unwrap().encoding, "PCMA");
        assert_eq!(s.direction_of(&s.media[0]), Direction::SendOnly);
        assert_eq!(s.media[0].line('q'), Some("odd"));
        assert_eq!(Sdp::parse(b"v=0\nm=audio x\n"), Err(SdpError::BadMedia { line: 2 }));
        assert_eq!(Sdp::parse(&[b'a'; 70_000]), Err(SdpError::TooLarge));
        assert_eq!(Sdp::parse("a=x\n".repeat(300).as_bytes()), Err(SdpError::TooLarge));
        assert_eq!(Sdp::parse(b"\r\n"), Err(SdpError::Empty));
    }

    #[test]
    fn version_rises_only_on_change() {
        let mut o = OriginVersion::new(100);
        let mut s = Sdp::parse(GB.as_bytes()).unwrap();
        let a = "10.0.0.1".parse().unwrap();
        o.stamp(&mut s, "hall", a);
        o.stamp(&mut s, "hall", a);
        assert_eq!(s.origin().unwrap().version, 100);
        s.media[0].set_direction(Direction::Inactive);
        o.stamp(&mut s, "hall", a);
        assert_eq!((s.origin().unwrap().version, s.origin().unwrap().session_id.as_str()), (101, "100"));
    }
}
