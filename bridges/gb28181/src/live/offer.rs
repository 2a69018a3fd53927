//! The INVITE and the check of its answer (reference sections 12.1 to 12.5).

use std::net::{IpAddr, SocketAddr};

use media_core::gb::{GbEncoding, GbOffer, GbRemote, GbTransport, Ssrc};
use media_core::sdp::{RtpMap, Sdp};
use media_hub::Fault;
use sip::Response;

use crate::config::{Config, MediaTransport, Quirk};
use crate::faults;
use crate::quirks::Profile;

/// Which way is asked for: the device's own setting, else what it taught us by refusing the other, else the general one.
pub fn transport(config: &Config, device: &str, learned: Option<bool>, stream_signalling: bool) -> GbTransport {
    let of = |t: MediaTransport| match t {
        MediaTransport::Udp => GbTransport::Udp,
        MediaTransport::Tcp => GbTransport::TcpPassive,
        MediaTransport::TcpActive => GbTransport::TcpActive,
        MediaTransport::AsSignalling if stream_signalling => GbTransport::TcpPassive,
        MediaTransport::AsSignalling => GbTransport::Udp,
    };
    match (config.device(device).and_then(|d| d.transport), learned) {
        (Some(own), _) => of(own),
        (None, Some(true)) => GbTransport::TcpPassive,
        (None, Some(false)) => GbTransport::Udp,
        (None, None) => of(config.media.transport),
    }
}

/// The other way, for a device that answered 488.
pub fn other(transport: GbTransport) -> GbTransport {
    if transport == GbTransport::Udp { GbTransport::TcpPassive } else { GbTransport::Udp }
}

/// Where the media shall come to, and of which stream.
pub struct Place {
    pub address: IpAddr,
    pub port: u16,
    /// The `a=` line that asks for one of the channel's streams.
    pub line: Option<String>,
}

/// The offer's SDP.
pub fn sdp(
    config: &Config,
    profile: &Profile,
    device: &str,
    channel: &str,
    place: &Place,
    transport: GbTransport,
    ssrc: Ssrc,
) -> String {
    let owner = if profile.has(Quirk::OwnerIsChannel) { channel } else { &config.server_id };
    let mut offer = GbOffer::live(owner, channel, place.address, place.port, transport, ssrc);
    if profile.has(Quirk::OnlyPs) {
        offer.formats.truncate(1);
    }
    if let Some(own) = config.device(device) {
        offer.attributes.clone_from(&own.attributes);
    }
    if let Some(line) = &place.line {
        // A line of the same name for the main stream would contradict it.
        let name = line.split(':').next().unwrap_or(line);
        offer.attributes.retain(|a| a.split(':').next() != Some(name));
        offer.attributes.push(line.clone());
    }
    offer.to_sdp().to_string()
}

/// `Subject` (reference section 12.4): the sender's serial is the SSRC, whose first digit is 0 for live.
pub fn subject(channel: &str, ssrc: Ssrc, server_id: &str) -> String {
    format!("{channel}:{ssrc},{server_id}:0")
}

/// What the device agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    pub transport: GbTransport,
    /// Where it says it sends from or listens.
    pub address: SocketAddr,
    /// Its `y=`, else ours.
    pub ssrc: Ssrc,
    /// Its `y=` was missing, or another than ours.
    pub note: Option<&'static str>,
    /// An elementary stream in place of PS, by the name in its rtpmap.
    pub encoding: GbEncoding,
    pub audio_only: bool,
    /// All payload types it named.
    pub formats: Vec<RtpMap>,
}

/// Checks a 200.
pub fn check(response: &Response, offered: GbTransport, ours: Ssrc) -> Result<Agreed, Fault> {
    let sdp = Sdp::parse(&response.body).map_err(|e| faults::bad_answer(&e.to_string()))?;
    let remote = GbRemote::read(&sdp).map_err(|e| faults::bad_answer(&e.to_string()))?;
    if let Some(private) = remote.private_encoding() {
        return Err(faults::private_stream(private));
    }
    if remote.tcp && offered == GbTransport::Udp {
        return Err(faults::bad_answer("TCP in place of UDP"));
    }
    let encoding = remote.encoding();
    if matches!(encoding, GbEncoding::Svac | GbEncoding::Mpeg4) {
        let name = remote.formats.first().map_or("", |f| f.encoding.as_str());
        return Err(faults::codec_not_supported(name));
    }
    let (ssrc, note) = match remote.ssrc {
        None => (ours, Some("no y= in the answer: ours is expected")),
        Some(theirs) if theirs == ours => (ours, None),
        Some(theirs) => (theirs, Some("the answer's y= is another than ours and is adopted")),
    };
    // Not `our_transport`: a device that answers RTP/AVP to a TCP offer often connects all the same.
    let transport =
        if offered != GbTransport::Udp && !remote.tcp && remote.setup.is_none() { GbTransport::Udp } else { offered };
    if transport != offered {
        return Err(faults::bad_answer("UDP in place of TCP"));
    }
    let (address, audio_only) = (remote.address, remote.audio);
    Ok(Agreed { transport, address, ssrc, note, encoding, audio_only, formats: remote.formats })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const OURS: Ssrc = Ssrc(200_000_137);

    fn answer(body: &str) -> Response {
        let mut r = Response::new(200);
        r.set_body("application/sdp", body.replace('\n', "\r\n").into_bytes());
        r
    }

    fn text(transport: &str, map: &str, y: &str) -> String {
        format!(
            "v=0\no=34020000001320000009 0 0 IN IP4 192.168.8.20\ns=Play\nc=IN IP4 192.168.8.20\nt=0 0\n\
             m=video 15060 {transport} 96\na=sendonly\na=rtpmap:96 {map}/90000\n{y}"
        )
    }

    #[test]
    fn ssrc_rules_of_the_answer() {
        let good = check(&answer(&text("RTP/AVP", "PS", "y=0200000137\n")), GbTransport::Udp, OURS).unwrap();
        assert_eq!((good.ssrc, good.note, good.address.port()), (OURS, None, 15060));
        let without = check(&answer(&text("RTP/AVP", "PS", "")), GbTransport::Udp, OURS).unwrap();
        assert!(without.ssrc == OURS && without.note.is_some());
        let other = check(&answer(&text("RTP/AVP", "PS", "y=0200000999\n")), GbTransport::Udp, OURS).unwrap();
        assert!(other.ssrc == Ssrc(200_000_999) && other.note.is_some());
    }

    #[test]
    fn refused_answers_are_named() {
        let code = |body: &str, t| check(&answer(body), t, OURS).unwrap_err().code;
        assert_eq!(code(&text("RTP/AVP", "HIKVISION", ""), GbTransport::Udp), "private_stream");
        assert_eq!(code(&text("RTP/AVP", "DAHUA", ""), GbTransport::Udp), "private_stream");
        assert_eq!(code(&text("RTP/AVP", "SVAC", ""), GbTransport::Udp), "codec_not_supported");
        assert_eq!(code(&text("TCP/RTP/AVP", "PS", ""), GbTransport::Udp), "bad_answer");
        assert_eq!(code(&text("RTP/AVP", "PS", ""), GbTransport::TcpPassive), "bad_answer");
        assert_eq!(code("", GbTransport::Udp), "bad_answer");
    }

    #[test]
    fn ways_of_media() {
        let mut c = Config::default();
        let id = "34020000001320000001";
        assert_eq!(transport(&c, id, None, false), GbTransport::Udp);
        assert_eq!(transport(&c, id, None, true), GbTransport::TcpPassive);
        assert_eq!(transport(&c, id, Some(false), true), GbTransport::Udp);
        c.devices.entry(id.into()).or_default().transport = Some(MediaTransport::TcpActive);
        assert_eq!(transport(&c, id, Some(true), false), GbTransport::TcpActive);
        assert_eq!(subject("1", OURS, "2"), "1:0200000137,2:0");
    }

    #[test]
    fn quirks_of_the_offer() {
        let mut c = Config::default();
        let id = "34020000001320000001";
        let own = c.devices.entry(id.into()).or_default();
        own.quirks = vec![Quirk::OnlyPs, Quirk::OwnerIsChannel];
        own.attributes = vec!["streamprofile:1".into()];
        let place = Place { address: IpAddr::from([10, 1, 1, 6]), port: 30_012, line: None };
        let profile = Profile::of_config(&c, id);
        let text = sdp(&c, &profile, id, "34020000001310000009", &place, GbTransport::Udp, OURS);
        let place = Place { line: Some("streamprofile:2".into()), ..place };
        let sub = sdp(&c, &profile, id, "34020000001310000009", &place, GbTransport::Udp, OURS);
        assert!(sub.contains("a=streamprofile:2\r\ny=") && !sub.contains("streamprofile:1"));
        assert!(text.contains("m=video 30012 RTP/AVP 96\r\n") && text.contains("o=34020000001310000009 "));
        assert!(text.contains("a=streamprofile:1\r\ny=0200000137"));
    }
}
