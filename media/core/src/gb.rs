//! The SDP profile of GB/T 28181 (annex G of 2022; gb28181.md section 12): SSRC, offers, answers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::error::ParseError;
use crate::sdp::{Direction, Media, RtpMap, Sdp, SdpError, Setup, net_address};

/// The SSRC of `y=`: ten decimal digits, whose value is the RTP SSRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ssrc(pub u32);

impl Ssrc {
    /// D1 = 1 for history, D2-D6 = digits 4 to 8 of the SIP domain's id, D7-D10 = `serial` (0 to 9999).
    /// None when the id has no such digits or the serial is too large.
    pub fn build(history: bool, domain_id: &str, serial: u16) -> Option<Ssrc> {
        let digits = domain_id.get(3..8)?;
        if serial > 9999 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let domain: u32 = digits.parse().ok()?;
        Some(Ssrc(u32::from(history) * 1_000_000_000 + domain * 10_000 + u32::from(serial)))
    }

    /// First digit 1: playback or download.
    pub fn is_history(self) -> bool {
        self.0 / 1_000_000_000 == 1
    }

    pub fn serial(self) -> u16 {
        (self.0 % 10_000) as u16
    }
}

impl fmt::Display for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

impl FromStr for Ssrc {
    type Err = ParseError;

    /// One to ten digits, blanks around them allowed.
    fn from_str(s: &str) -> Result<Self, ParseError> {
        let s = s.trim();
        if s.is_empty() || s.len() > 10 {
            return Err(ParseError::new("y= is not 1 to 10 digits", 0));
        }
        if let Some(at) = s.bytes().position(|b| !b.is_ascii_digit()) {
            return Err(ParseError::new("y= holds something else than digits", at));
        }
        s.parse().map(Ssrc).map_err(|_| ParseError::new("y= exceeds 32 bits", 0))
    }
}

/// How media travels, seen from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GbTransport {
    Udp,
    /// We listen, the device connects (`a=setup:passive` in our SDP).
    TcpPassive,
    /// We connect.
    TcpActive,
}

impl GbTransport {
    pub fn setup(self) -> Option<Setup> {
        match self {
            GbTransport::Udp => None,
            GbTransport::TcpPassive => Some(Setup::Passive),
            GbTransport::TcpActive => Some(Setup::Active),
        }
    }

    /// The same connection from the other side.
    pub fn reversed(self) -> Self {
        match self {
            GbTransport::Udp => GbTransport::Udp,
            GbTransport::TcpPassive => GbTransport::TcpActive,
            GbTransport::TcpActive => GbTransport::TcpPassive,
        }
    }
}

/// `s=` with what belongs to it. Times in Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GbSession {
    Play,
    Playback {
        start: u64,
        end: u64,
    },
    Download {
        start: u64,
        end: u64,
        speed: u32,
    },
    /// 2016 only.
    Talk,
}

impl GbSession {
    pub fn name(&self) -> &'static str {
        match self {
            GbSession::Play => "Play",
            GbSession::Playback { .. } => "Playback",
            GbSession::Download { .. } => "Download",
            GbSession::Talk => "Talk",
        }
    }
}

/// An offer or answer to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GbOffer {
    /// `o=` user: our own id (or the device's, as some platforms do).
    pub owner: String,
    pub session: GbSession,
    /// The channel, for `u=` of history.
    pub channel: String,
    /// Address and port the media shall come to (or, TCP active, port we come from).
    pub address: IpAddr,
    pub port: u16,
    pub transport: GbTransport,
    pub direction: Direction,
    /// `audio` instead of `video` in `m=`.
    pub audio: bool,
    /// Payload types; see [`GbOffer::live`] for the usual ones.
    pub formats: Vec<RtpMap>,
    pub ssrc: Option<Ssrc>,
    /// `f=`; leave out for live video.
    pub media_parameters: Option<String>,
    /// Further `a=` lines, e.g. `streamnumber:1` or a maker's own sub-stream form.
    pub attributes: Vec<String>,
}

fn format(payload_type: u8, encoding: &str, clock_rate: u32) -> RtpMap {
    RtpMap { payload_type, encoding: encoding.into(), clock_rate, channels: 1 }
}

impl GbOffer {
    /// A live video invitation: PS, MPEG4, H264, H265, receive only.
    pub fn live(owner: &str, channel: &str, address: IpAddr, port: u16, transport: GbTransport, ssrc: Ssrc) -> Self {
        GbOffer {
            owner: owner.into(),
            session: GbSession::Play,
            channel: channel.into(),
            address,
            port,
            transport,
            direction: Direction::RecvOnly,
            audio: false,
            formats: vec![
                format(96, "PS", 90_000),
                format(97, "MPEG4", 90_000),
                format(98, "H264", 90_000),
                format(100, "H265", 90_000),
            ],
            ssrc: Some(ssrc),
            media_parameters: None,
            attributes: Vec::new(),
        }
    }

    /// Playback or download of a recording: PS only.
    pub fn history(
        owner: &str,
        channel: &str,
        session: GbSession,
        address: IpAddr,
        port: u16,
        transport: GbTransport,
        ssrc: Ssrc,
    ) -> Self {
        let mut o = Self::live(owner, channel, address, port, transport, ssrc);
        o.session = session;
        o.formats.truncate(1);
        o
    }

    /// Voice in G.711 A-law: broadcast (`direction` send only in our answer) or talk.
    pub fn voice(
        owner: &str,
        session: GbSession,
        address: IpAddr,
        port: u16,
        transport: GbTransport,
        direction: Direction,
        ssrc: Option<Ssrc>,
    ) -> Self {
        GbOffer {
            owner: owner.into(),
            session,
            channel: String::new(),
            address,
            port,
            transport,
            direction,
            audio: true,
            formats: vec![format(8, "PCMA", 8000)],
            ssrc,
            media_parameters: Some("v/////a/1/8/1".into()),
            attributes: Vec::new(),
        }
    }

    /// The SDP, lines in the order of the standard.
    pub fn to_sdp(&self) -> Sdp {
        let mut s = Sdp::default();
        let addr = net_address(self.address);
        s.push('v', "0").push('o', format!("{} 0 0 IN {addr}", self.owner)).push('s', self.session.name());
        let time = match self.session {
            GbSession::Playback { start, end } | GbSession::Download { start, end, .. } => {
                s.push('u', format!("{}:0", self.channel));
                format!("{start} {end}")
            }
            GbSession::Play | GbSession::Talk => "0 0".to_owned(),
        };
        s.push('c', format!("IN {addr}")).push('t', time);
        let proto = if self.transport == GbTransport::Udp { "RTP/AVP" } else { "TCP/RTP/AVP" };
        let formats = self.formats.iter().map(|f| f.payload_type.to_string()).collect();
        let mut m = Media::new(if self.audio { "audio" } else { "video" }, self.port, proto, formats);
        m.push('a', self.direction.name());
        for f in &self.formats {
            m.push('a', format!("rtpmap:{f}"));
        }
        if let Some(setup) = self.transport.setup() {
            m.push('a', format!("setup:{}", setup.name())).push('a', "connection:new");
        }
        if let GbSession::Download { speed, .. } = self.session {
            m.push('a', format!("downloadspeed:{speed}"));
        }
        for a in &self.attributes {
            m.push('a', a.as_str());
        }
        if let Some(y) = self.ssrc {
            m.push('y', y.to_string());
        }
        if let Some(f) = &self.media_parameters {
            m.push('f', f.as_str());
        }
        s.media.push(m);
        s
    }
}

/// What carries the pictures of a session, by `a=rtpmap` (never by number alone).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GbEncoding {
    Ps,
    H264,
    H265,
    Mpeg4,
    Svac,
    Pcma,
    Pcmu,
    Aac,
    /// DAHUA, HIKVISION and the like: not PS but the maker's own. Do not take it.
    Private,
    Other,
}

impl GbEncoding {
    pub fn of(map: &RtpMap) -> Self {
        match map.encoding.to_ascii_uppercase().as_str() {
            "PS" | "MP2P" => GbEncoding::Ps,
            "H264" => GbEncoding::H264,
            "H265" | "HEVC" => GbEncoding::H265,
            "MPEG4" | "MP4V-ES" => GbEncoding::Mpeg4,
            "SVAC" => GbEncoding::Svac,
            "PCMA" => GbEncoding::Pcma,
            "PCMU" => GbEncoding::Pcmu,
            "AAC" | "MPEG4-GENERIC" => GbEncoding::Aac,
            "DAHUA" | "HIKVISION" | "UNIVIEW" | "HUAWEI" | "TIANDY" => GbEncoding::Private,
            _ => GbEncoding::Other,
        }
    }
}

/// A device's or platform's offer or answer, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GbRemote {
    pub owner: String,
    /// As written in `s=`.
    pub session_name: String,
    /// `u=`, as written.
    pub uri: Option<String>,
    pub time: Option<(u64, u64)>,
    pub audio: bool,
    /// Where it says it sends from and listens. Behind NAT useless: latch on the first valid packet.
    pub address: SocketAddr,
    /// `TCP/RTP/AVP` in the media line.
    pub tcp: bool,
    pub setup: Option<Setup>,
    /// Its view.
    pub direction: Direction,
    /// In order of the formats; numbers without rtpmap have the names of the standard.
    pub formats: Vec<RtpMap>,
    /// None when missing or unreadable: keep ours.
    pub ssrc: Option<Ssrc>,
    pub media_parameters: Option<String>,
    /// `a=filesize`, bytes.
    pub file_size: Option<u64>,
    pub download_speed: Option<u32>,
    /// `a=streamnumber`.
    pub stream_number: Option<u32>,
}

impl GbRemote {
    /// Reads the first section with a port, video before audio.
    pub fn read(sdp: &Sdp) -> Result<GbRemote, SdpError> {
        let m = sdp.first("video").or_else(|| sdp.first("audio")).ok_or(SdpError::NoMedia("video or audio"))?;
        let address = sdp.address_of(m).ok_or(SdpError::NoAddress)?;
        let number =
            |name| m.attribute(name).or_else(|| sdp.attribute(name)).and_then(|v| v.trim().parse::<u64>().ok());
        let formats = m.formats.iter().filter_map(|f| {
            let pt: u8 = f.parse().ok()?;
            m.rtpmap(pt).or_else(|| gb_static(pt))
        });
        Ok(GbRemote {
            owner: sdp.origin().map(|o| o.username).unwrap_or_default(),
            session_name: sdp.session_name().unwrap_or_default().to_owned(),
            uri: sdp.u().map(str::to_owned),
            time: sdp.time(),
            audio: m.kind == "audio",
            address: SocketAddr::new(address, m.port),
            tcp: m.is_tcp(),
            setup: m.setup(),
            direction: sdp.direction_of(m),
            formats: formats.collect(),
            ssrc: sdp.y().and_then(|y| y.parse().ok()),
            media_parameters: sdp.f().map(str::to_owned),
            file_size: number("filesize"),
            download_speed: number("downloadspeed").and_then(|v| u32::try_from(v).ok()),
            stream_number: number("streamnumber").and_then(|v| u32::try_from(v).ok()),
        })
    }

    /// The role we have after this answer to our offer: a missing or echoed `a=setup` means the opposite of ours.
    pub fn our_transport(&self, offered: GbTransport) -> GbTransport {
        if offered == GbTransport::Udp || !self.tcp { GbTransport::Udp } else { offered }
    }

    /// The role we take when answering this offer: active offer -> we listen; passive offer -> we connect.
    pub fn answer_transport(&self) -> GbTransport {
        match (self.tcp, self.setup) {
            (false, _) => GbTransport::Udp,
            (true, Some(Setup::Passive)) => GbTransport::TcpActive,
            (true, _) => GbTransport::TcpPassive,
        }
    }

    /// The first format's encoding.
    pub fn encoding(&self) -> GbEncoding {
        self.formats.first().map_or(GbEncoding::Other, GbEncoding::of)
    }

    /// The maker's name when the stream is private: close with BYE and report.
    pub fn private_encoding(&self) -> Option<&str> {
        self.formats.first().filter(|f| GbEncoding::of(f) == GbEncoding::Private).map(|f| f.encoding.as_str())
    }

    /// Encoding of a payload type in a running stream; unknown numbers must be sniffed.
    pub fn encoding_of(&self, payload_type: u8) -> Option<GbEncoding> {
        self.formats.iter().find(|f| f.payload_type == payload_type).map(GbEncoding::of)
    }
}

/// Numbers of the standard without rtpmap. 99 and 100 are left open: makers disagree.
fn gb_static(pt: u8) -> Option<RtpMap> {
    Some(match pt {
        96 => format(96, "PS", 90_000),
        97 => format(97, "MPEG4", 90_000),
        98 => format(98, "H264", 90_000),
        102 => format(102, "AAC", 8000),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn ssrc_of_the_standard() {
        let s: Ssrc = "0200000137".parse().unwrap();
        assert_eq!((s.0, s.to_string().as_str()), (0x0BEB_C289, "0200000137"));
        assert_eq!(Ssrc::build(false, "34020000002000000001", 137), Some(s));
        assert_eq!(Ssrc::build(true, "34020000002000000001", 138).unwrap().to_string(), "1200000138");
        assert_eq!(" 1999999999 ".parse::<Ssrc>().unwrap().0, 1_999_999_999);
        for bad in ["", "12345678901", "12a", "9999999999", "-1"] {
            assert!(bad.parse::<Ssrc>().is_err(), "{bad}");
        }
        assert!(Ssrc::build(false, "340", 1).is_none() && Ssrc::build(false, "34020000002000000001", 10_000).is_none());
    }

    #[test]
    fn live_offer_is_that_of_12_5() {
        let o = GbOffer::live(
            "34020000002000000001",
            "34020000001320000009",
            "10.1.1.6".parse().unwrap(),
            30_012,
            GbTransport::Udp,
            Ssrc(200_000_137),
        );
        let want = "v=0\no=34020000002000000001 0 0 IN IP4 10.1.1.6\ns=Play\nc=IN IP4 10.1.1.6\nt=0 0\nm=video 30012 RTP/AVP 96 97 98 100\na=recvonly\na=rtpmap:96 PS/90000\na=rtpmap:97 MPEG4/90000\na=rtpmap:98 H264/90000\na=rtpmap:100 H265/90000\ny=0200000137\n";
        assert_eq!(o.to_sdp().to_string(), want.replace('\n', "\r\n"));
    }

    #[test]
    fn playback_offer_is_that_of_12_7() {
        let session = GbSession::Playback { start: 1_772_323_200, end: 1_772_326_800 };
        let o = GbOffer::history(
            "34020000002000000001",
            "34020000001320000009",
            session,
            "10.1.1.6".parse().unwrap(),
            30_014,
            GbTransport::TcpPassive,
            Ssrc(1_200_000_138),
        );
        let want = "v=0\no=34020000002000000001 0 0 IN IP4 10.1.1.6\ns=Playback\nu=34020000001320000009:0\nc=IN IP4 10.1.1.6\nt=1772323200 1772326800\nm=video 30014 TCP/RTP/AVP 96\na=recvonly\na=rtpmap:96 PS/90000\na=setup:passive\na=connection:new\ny=1200000138\n";
        assert_eq!(o.to_sdp().to_string(), want.replace('\n', "\r\n"));
    }

    #[test]
    fn answers_of_the_field() {
        let read = |t: &str| GbRemote::read(&Sdp::parse(t.as_bytes()).unwrap());
        let a = read("v=0\no=3402 0 0 IN IP4 192.168.8.20\ns=Play\nc=IN IP4 192.168.8.20\nt=0 0\nm=video 15060 TCP/RTP/AVP 96\na=sendonly\na=setup:passive\na=rtpmap:96 PS/90000\ny=0200000137\n").unwrap();
        assert_eq!(
            (a.ssrc, a.encoding(), a.our_transport(GbTransport::TcpPassive)),
            (Some(Ssrc(200_000_137)), GbEncoding::Ps, GbTransport::TcpPassive)
        );
        assert_eq!(a.answer_transport(), GbTransport::TcpActive);
        let d = read("v=0\ns=Play\nc=IN IP4 1.1.1.1\nm=video 1 RTP/AVP 96\na=rtpmap:96 DAHUA/90000\ny=abc\n").unwrap();
        assert_eq!((d.private_encoding(), d.ssrc), (Some("DAHUA"), None));
        assert_eq!(read("v=0\nm=video 1 RTP/AVP 96\n"), Err(SdpError::NoAddress));
    }
}
