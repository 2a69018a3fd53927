//! The SDP of voice: reading what a device asks for, writing what we answer or offer. No I/O.

use std::net::{IpAddr, SocketAddr};

use media_core::gb::{GbEncoding, GbOffer, GbRemote, GbSession, GbTransport, Ssrc};
use media_core::sdp::{Direction, RtpMap, Sdp};

/// What is inside our packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrap {
    /// G.711 A-law as it is (payload type 8).
    Pcma,
    /// The same in a program stream (payload type 96).
    Ps,
}

impl Wrap {
    pub fn words(self) -> &'static str {
        match self {
            Wrap::Pcma => "PCMA",
            Wrap::Ps => "PS",
        }
    }
}

/// A device's wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Seen from us.
    pub transport: GbTransport,
    /// Where it listens.
    pub address: SocketAddr,
    pub wrap: Wrap,
    pub payload_type: u8,
    /// Its `y=`.
    pub ssrc: Option<Ssrc>,
}

/// The audio section, where there is one: some devices send a dead video section in front of it.
fn audio_first(body: &[u8]) -> Result<Sdp, String> {
    let mut sdp = Sdp::parse(body).map_err(|e| e.to_string())?;
    if sdp.first("audio").is_some() {
        sdp.media.retain(|m| m.kind == "audio");
    }
    Ok(sdp)
}

fn usable(map: &RtpMap) -> Option<Wrap> {
    match GbEncoding::of(map) {
        GbEncoding::Pcma if map.clock_rate == 8000 => Some(Wrap::Pcma),
        GbEncoding::Ps => Some(Wrap::Ps),
        _ => None,
    }
}

/// Reads a device's offer (or answer): the first of its formats that we have, PS before all when the device is known to want it.
/// The error says in words what it wants in place of what we have.
pub fn read(body: &[u8], ps_first: bool) -> Result<Wish, String> {
    let sdp = audio_first(body)?;
    let remote = GbRemote::read(&sdp).map_err(|e| e.to_string())?;
    let usable = || remote.formats.iter().filter_map(|f| usable(f).map(|w| (w, f.payload_type)));
    let chosen = usable().find(|(w, _)| !ps_first || *w == Wrap::Ps).or_else(|| usable().next());
    let Some((wrap, payload_type)) = chosen else {
        let names: Vec<String> =
            remote.formats.iter().map(|f| format!("{} {}", f.payload_type, f.encoding)).take(6).collect();
        return Err(if names.is_empty() { "no format that is known".into() } else { names.join(", ") });
    };
    Ok(Wish { transport: remote.answer_transport(), address: remote.address, wrap, payload_type, ssrc: remote.ssrc })
}

fn formats(wrap: Wrap, payload_type: u8) -> Vec<RtpMap> {
    let (encoding, clock_rate) = if wrap == Wrap::Ps { ("PS", 90_000) } else { ("PCMA", 8000) };
    vec![RtpMap { payload_type, encoding: encoding.into(), clock_rate, channels: 1 }]
}

/// Our answer to a broadcast's INVITE.
pub fn answer(owner: &str, address: IpAddr, port: u16, wish: &Wish, ssrc: Ssrc) -> String {
    let session = GbSession::Play;
    let mut ours = GbOffer::voice(owner, session, address, port, wish.transport, Direction::SendOnly, Some(ssrc));
    ours.formats = formats(wish.wrap, wish.payload_type);
    ours.to_sdp().to_string()
}

/// Our offer of a talk (2016).
pub fn talk(owner: &str, address: IpAddr, port: u16, transport: GbTransport, ssrc: Ssrc) -> String {
    let offer = GbOffer::voice(owner, GbSession::Talk, address, port, transport, Direction::SendRecv, Some(ssrc));
    offer.to_sdp().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn body(media: &str) -> Vec<u8> {
        format!("v=0\r\no=34020000001370000001 0 0 IN IP4 192.168.8.20\r\ns=Play\r\nc=IN IP4 192.168.8.20\r\nt=0 0\r\n{media}")
            .into_bytes()
    }

    #[test]
    fn the_offer_of_the_reference_and_our_answer() {
        let wish = read(&body("m=audio 17040 TCP/RTP/AVP 8 96\r\na=recvonly\r\na=setup:active\r\na=connection:new\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:96 PS/90000\r\n"), false).unwrap();
        assert_eq!((wish.transport, wish.wrap, wish.payload_type), (GbTransport::TcpPassive, Wrap::Pcma, 8));
        let text = answer("34020000002000000001", [10, 1, 1, 6].into(), 30_020, &wish, Ssrc(200_000_139));
        let want = "v=0\r\no=34020000002000000001 0 0 IN IP4 10.1.1.6\r\ns=Play\r\nc=IN IP4 10.1.1.6\r\nt=0 0\r\n\
                    m=audio 30020 TCP/RTP/AVP 8\r\na=sendonly\r\na=rtpmap:8 PCMA/8000\r\na=setup:passive\r\na=connection:new\r\n\
                    y=0200000139\r\nf=v/////a/1/8/1\r\n";
        assert_eq!(text, want);
    }

    #[test]
    fn what_devices_ask_for() {
        let ps = read(&body("m=audio 1 RTP/AVP 96\r\na=rtpmap:96 PS/90000\r\ny=0200000001\r\n"), false).unwrap();
        assert_eq!(
            (ps.wrap, ps.payload_type, ps.transport, ps.ssrc),
            (Wrap::Ps, 96, GbTransport::Udp, Some(Ssrc(200_000_001)))
        );
        // Without rtpmap the numbers have the names of the standard; TCP without setup: we listen.
        let bare = read(&body("m=audio 17040 TCP/RTP/AVP 8\r\n"), false).unwrap();
        assert_eq!((bare.wrap, bare.transport), (Wrap::Pcma, GbTransport::TcpPassive));
        let listens = read(&body("m=audio 17040 TCP/RTP/AVP 8\r\na=setup:passive\r\n"), false).unwrap();
        assert_eq!((listens.transport, listens.address.port()), (GbTransport::TcpActive, 17_040));
        let both =
            read(&body("m=video 0 RTP/AVP 96\r\na=rtpmap:96 PS/90000\r\nm=audio 9000 RTP/AVP 8\r\n"), false).unwrap();
        assert_eq!((both.wrap, both.address.port()), (Wrap::Pcma, 9000));
        assert_eq!(
            read(&body("m=audio 1 RTP/AVP 0 102\r\na=rtpmap:102 AAC/8000\r\n"), false).unwrap_err(),
            "0 PCMU, 102 AAC"
        );
        let ps_first = read(&body("m=audio 9000 RTP/AVP 8 96\r\na=rtpmap:96 PS/90000\r\n"), true).unwrap();
        assert_eq!((ps_first.wrap, ps_first.payload_type), (Wrap::Ps, 96));
        assert_eq!(read(&body("m=audio 9000 RTP/AVP 8\r\n"), true).unwrap().wrap, Wrap::Pcma);
        assert!(read(b"", false).is_err());
    }

    #[test]
    fn the_talk_of_2016() {
        let text =
            talk("34020000002000000001", [10, 1, 1, 6].into(), 30_020, GbTransport::TcpPassive, Ssrc(200_000_140));
        assert!(text.contains("s=Talk\r\n") && text.contains("m=audio 30020 TCP/RTP/AVP 8\r\na=sendrecv\r\n"));
        assert!(text.ends_with("y=0200000140\r\nf=v/////a/1/8/1\r\n"));
    }
}
