//! Offer and answer for phones, trunks and meeting terminals (RFC 3264; sip-conference.md section 3).

use std::net::{IpAddr, SocketAddr};

use crate::amr;
use crate::codec::{Codec, MediaKind};
use crate::h264_sdp::{self, Format, VideoRefusal, VideoTerms};
use crate::sdp::{Direction, Media, RtpMap, Sdp, SdpError, net_address};

/// A codec we can speak, in order of preference, with the number we give it in our own offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneCodec {
    pub codec: Codec,
    pub payload_type: u8,
    /// Format parameters of our offer.
    pub fmtp: Option<String>,
}

impl PhoneCodec {
    /// The usual number and parameters: PCMA 8, PCMU 0, G.722 9, comfort noise 13, G.729 18, Opus 111, AMR 114, AMR-WB 112 (both
    /// octet-aligned), H.264 102 (mode 1, baseline), VP8 104, H.265 106.
    pub fn usual(codec: Codec) -> Self {
        let (payload_type, fmtp) = match codec {
            Codec::G711A => (8, None),
            Codec::G711U => (0, None),
            Codec::Opus => (111, Some("minptime=10;useinbandfec=1")),
            Codec::H264 => (102, Some("profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1")),
            Codec::H265 => (106, None),
            Codec::Vp8 => (104, None),
            Codec::Aac => (108, None),
            Codec::G729 => (18, Some("annexb=yes")),
            Codec::G722 => (9, None),
            Codec::AmrWb => (112, Some("octet-align=1;mode-change-capability=2;max-red=0")),
            Codec::Amr => (114, Some("octet-align=1;mode-change-capability=2;max-red=0")),
            Codec::ComfortNoise => (13, None),
            Codec::G7231 => (4, None),
            // Never offered: nothing here makes them.
            Codec::G7221 | Codec::SvacAudio => (109, None),
        };
        PhoneCodec { codec, payload_type, fmtp: fmtp.map(str::to_owned) }
    }

    /// A codec in all forms that we offer: AMR in both framings, octet-aligned first.
    pub fn forms(codec: Codec) -> Vec<PhoneCodec> {
        let first = PhoneCodec::usual(codec);
        let second = matches!(codec, Codec::Amr | Codec::AmrWb).then(|| PhoneCodec {
            codec,
            payload_type: first.payload_type + 1,
            fmtp: Some("mode-change-capability=2;max-red=0".to_owned()),
        });
        std::iter::once(first).chain(second).collect()
    }

    /// The forms of H.264 that we offer a meeting terminal.
    pub fn pictures() -> impl Iterator<Item = PhoneCodec> {
        h264_sdp::OFFERED.into_iter().map(|(payload_type, fmtp)| PhoneCodec {
            codec: Codec::H264,
            payload_type,
            fmtp: Some(fmtp.to_owned()),
        })
    }

    fn rtpmap(&self) -> RtpMap {
        let (clock_rate, channels) = (self.codec.clock(), if self.codec == Codec::Opus { 2 } else { 1 });
        RtpMap { payload_type: self.payload_type, encoding: self.codec.name().into(), clock_rate, channels }
    }

    fn is(&self, m: &RtpMap) -> bool {
        let ours = self.rtpmap();
        let mono = self.codec == Codec::Opus || m.channels == 1;
        let clock = m.clock_rate == ours.clock_rate || self.codec == Codec::Aac;
        m.encoding.eq_ignore_ascii_case(&ours.encoding) && mono && clock
    }
}

/// Our side of the media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMedia {
    /// The address the far end shall send to.
    pub address: IpAddr,
    pub audio_port: u16,
    /// None: video is refused.
    pub video_port: Option<u16>,
    /// What we would like; an answer is cut down to what the offer allows.
    pub direction: Direction,
    /// Packet time to ask for, ms.
    pub ptime: u32,
    /// The most that we want of a picture, kbit/s; stated as `b=` of its section.
    pub video_kbps: Option<u32>,
}

impl LocalMedia {
    pub fn audio(address: IpAddr, audio_port: u16) -> Self {
        LocalMedia {
            address,
            audio_port,
            video_port: None,
            direction: Direction::SendRecv,
            ptime: 20,
            video_kbps: None,
        }
    }
}

/// One medium both sides agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiatedMedia {
    pub codec: Codec,
    /// Number to send with: the far end's.
    pub payload_type: u8,
    /// Number the far end sends with: ours.
    pub receive_payload_type: u8,
    pub clock_rate: u32,
    pub channels: u8,
    /// The far end's format parameters.
    pub fmtp: Option<String>,
    /// Number and clock of telephone events to send.
    pub telephone_event: Option<(u8, u32)>,
    /// The number with which the far end sends telephone events: ours.
    pub receive_telephone_event: Option<u8>,
    /// Number of comfort noise (RFC 3389) where both sides named it and the codec has no form of its own: 13.
    pub comfort_noise: Option<u8>,
    /// Where the far end wants RTP; None while it holds us by `0.0.0.0`.
    pub remote: Option<SocketAddr>,
    pub remote_rtcp: Option<SocketAddr>,
    pub rtcp_mux: bool,
    /// Ours: may we send, will we receive.
    pub direction: Direction,
    /// The far end put us on hold.
    pub held: bool,
    /// Packet time the far end asks for, ms.
    pub ptime: Option<u32>,
    /// Of H.264: what the far end takes and how it is asked for key frames.
    pub terms: Option<VideoTerms>,
}

/// Our answer and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneAnswer {
    /// Without `o=` details: put it through [`crate::sdp::OriginVersion::stamp`].
    pub sdp: Sdp,
    pub audio: NegotiatedMedia,
    pub video: Option<NegotiatedMedia>,
    /// Why the offered video was not taken.
    pub video_refused: Option<VideoRefusal>,
}

/// Whether an offer has a picture that we can take.
pub fn offers_picture(offer: &Sdp) -> bool {
    offer.media.iter().any(|m| h264_sdp::is_main(m) && usable(m) && h264_sdp::best(m).is_some())
}

fn usable(m: &Media) -> bool {
    m.port != 0 && (m.proto.eq_ignore_ascii_case("RTP/AVP") || m.proto.eq_ignore_ascii_case("RTP/AVPF"))
}

/// The best common codec of a section: our preference first; of H.264 forms as [`h264_sdp::best`] says.
fn choose<'a>(m: &Media, supported: &'a [PhoneCodec]) -> Option<(&'a PhoneCodec, RtpMap)> {
    let kind = match m.kind.as_str() {
        "audio" => MediaKind::Audio,
        "video" => MediaKind::Video,
        _ => return None,
    };
    let maps = m.rtpmaps();
    supported.iter().filter(|c| c.codec.kind() == kind).find_map(|c| {
        if c.codec == Codec::H264 {
            return h264_sdp::best(m).map(|(map, _)| (c, map));
        }
        if c.codec == Codec::ComfortNoise {
            return None;
        }
        let known = |r: &&RtpMap| c.is(r) && !(is_amr(c.codec) && amr::Terms::parse(m.fmtp(r.payload_type)).foreign);
        maps.iter().find(known).map(|r| (c, r.clone()))
    })
}

fn is_amr(codec: Codec) -> bool {
    matches!(codec, Codec::Amr | Codec::AmrWb)
}

/// What our answer says of the format, where it depends on what was offered (RFC 4867 8.3.1, RFC 4856 2.1.9).
fn answered_form(codec: Codec, theirs: Option<&str>) -> Option<String> {
    match codec {
        Codec::Amr | Codec::AmrWb => amr::Terms::parse(theirs).answer(),
        Codec::G729 if theirs.is_some_and(|f| f.replace(' ', "").contains("annexb=no")) => Some("annexb=no".to_owned()),
        _ => None,
    }
}

/// Comfort noise in a section, for a codec that has no silence description of its own.
fn comfort_noise(m: &Media, codec: Codec, supported: &[PhoneCodec]) -> Option<u8> {
    let plain = matches!(codec, Codec::G711A | Codec::G711U | Codec::G722);
    let ours = supported.iter().find(|c| c.codec == Codec::ComfortNoise)?;
    m.rtpmaps().iter().find(|r| plain && ours.is(r)).map(|r| r.payload_type)
}

fn telephone_event(m: &Media, clock: u32) -> Option<(u8, u32)> {
    let maps = m.rtpmaps();
    let events = || maps.iter().filter(|r| r.encoding.eq_ignore_ascii_case("telephone-event"));
    events().find(|r| r.clock_rate == clock).or_else(|| events().next()).map(|r| (r.payload_type, r.clock_rate))
}

fn remote(sdp: &Sdp, m: &Media) -> (Option<SocketAddr>, Option<SocketAddr>, bool) {
    let mux = m.attribute("rtcp-mux").is_some();
    let Some(addr) = sdp.address_of(m).filter(|a| !a.is_unspecified()) else { return (None, None, mux) };
    let rtp = SocketAddr::new(addr, m.port);
    let rtcp = match m.attribute("rtcp") {
        _ if mux => rtp,
        Some(v) => {
            let mut p = v.split_whitespace();
            let port = p.next().and_then(|p| p.parse().ok()).unwrap_or(m.port.saturating_add(1));
            SocketAddr::new(p.nth(2).and_then(|a| a.parse().ok()).unwrap_or(addr), port)
        }
        None => SocketAddr::new(addr, m.port.saturating_add(1)),
    };
    (Some(rtp), Some(rtcp), mux)
}

fn negotiated(sdp: &Sdp, m: &Media, c: &PhoneCodec, map: &RtpMap, want: Direction) -> NegotiatedMedia {
    let theirs = sdp.direction_of(m);
    let (remote, remote_rtcp, rtcp_mux) = remote(sdp, m);
    NegotiatedMedia {
        codec: c.codec,
        payload_type: map.payload_type,
        receive_payload_type: map.payload_type,
        clock_rate: map.clock_rate,
        channels: map.channels,
        fmtp: m.fmtp(map.payload_type).map(str::to_owned),
        telephone_event: telephone_event(m, map.clock_rate),
        receive_telephone_event: telephone_event(m, map.clock_rate).map(|e| e.0),
        comfort_noise: None,
        remote,
        remote_rtcp,
        rtcp_mux,
        direction: theirs.answer(want),
        held: !theirs.receives(),
        ptime: m.ptime(),
        terms: Format::parse(m.fmtp(map.payload_type))
            .filter(|_| c.codec == Codec::H264)
            .map(|format| h264_sdp::terms(sdp, m, map.payload_type, format)),
    }
}

/// The bandwidth lines of a video section: both forms, since old units know one only.
fn limit(m: &mut Media, local: &LocalMedia) {
    if let Some(kbps) = local.video_kbps.filter(|_| m.kind == "video") {
        m.push('b', format!("AS:{kbps}")).push('b', format!("TIAS:{}", u64::from(kbps) * 1000));
    }
}

fn session_lines(address: IpAddr) -> Sdp {
    let mut s = Sdp::default();
    s.push('v', "0").push('o', format!("- 0 0 IN {}", net_address(address))).push('s', "-");
    s.push('c', format!("IN {}", net_address(address))).push('t', "0 0");
    s
}

fn describe(m: &mut Media, c: &PhoneCodec, map: &RtpMap, fmtp: Option<&str>) {
    m.formats.push(map.payload_type.to_string());
    m.push('a', format!("rtpmap:{map}"));
    if let Some(f) = fmtp.or(c.fmtp.as_deref()) {
        m.push('a', format!("fmtp:{} {f}", map.payload_type));
    }
}

/// Answers an offer: the first audio section with a codec in common (else an error: 488), the first video section when
/// [`LocalMedia::video_port`] is set; all other sections are kept in place and refused with port 0.
pub fn phone_answer(offer: &Sdp, local: &LocalMedia, supported: &[PhoneCodec]) -> Result<PhoneAnswer, SdpError> {
    let mut sdp = session_lines(local.address);
    let (mut audio, mut video) = (None, None);
    let mut offered = Vec::new();
    for m in &offer.media {
        let port = match m.kind.as_str() {
            "audio" if audio.is_none() => Some(local.audio_port),
            "video" if video.is_none() && h264_sdp::is_main(m) => local.video_port,
            _ => None,
        };
        let chosen = port.filter(|_| usable(m)).and_then(|p| Some((p, choose(m, supported)?)));
        let Some((port, (codec, map))) = chosen else {
            offered.extend(m.rtpmaps().into_iter().filter(|_| m.kind == "audio").map(|r| r.to_string()));
            let formats = if m.formats.is_empty() { vec!["0".into()] } else { m.formats.clone() };
            sdp.media.push(Media::new(&m.kind, 0, &m.proto, formats));
            continue;
        };
        let mut n = negotiated(offer, m, codec, &map, local.direction);
        n.comfort_noise = comfort_noise(m, codec.codec, supported);
        let mut a = Media::new(&m.kind, port, &m.proto, Vec::new());
        limit(&mut a, local);
        // H.264 answers repeat the offered mode and profile (symmetric).
        let fmtp = n.terms.as_ref().map(|t| t.format.answer());
        let fmtp = fmtp.or_else(|| answered_form(codec.codec, n.fmtp.as_deref()));
        if is_amr(codec.codec) {
            // The framing of the offer, and nothing of ours beside it.
            describe(&mut a, &PhoneCodec { fmtp: None, ..codec.clone() }, &map, fmtp.as_deref());
        } else {
            describe(&mut a, codec, &map, fmtp.as_deref());
        }
        if let Some(pt) = n.comfort_noise {
            a.formats.push(pt.to_string());
            a.push('a', format!("rtpmap:{pt} CN/8000"));
        }
        if let Some((pt, clock)) = n.telephone_event {
            a.formats.push(pt.to_string());
            a.push('a', format!("rtpmap:{pt} telephone-event/{clock}")).push('a', format!("fmtp:{pt} 0-16"));
        }
        if m.kind == "audio" {
            a.push('a', format!("ptime:{}", local.ptime));
        } else {
            let asked = n.terms.as_ref().map_or([false; 2], |t| [t.pli, t.fir]);
            for (_, what) in asked.into_iter().zip(["nack pli", "ccm fir"]).filter(|f| f.0) {
                a.push('a', format!("rtcp-fb:{} {what}", map.payload_type));
            }
        }
        if n.rtcp_mux {
            a.push('a', "rtcp-mux");
        }
        a.set_direction(n.direction);
        sdp.media.push(a);
        if m.kind == "audio" { audio = Some(n) } else { video = Some(n) }
    }
    match audio {
        Some(audio) => {
            let video_refused = h264_sdp::refusal(offer, usable).filter(|_| video.is_none());
            Ok(PhoneAnswer { sdp, audio, video, video_refused })
        }
        None if offered.is_empty() => Err(SdpError::NoMedia("audio")),
        None => Err(SdpError::NoCodec(offered.join(", "))),
    }
}

/// Our offer: all `supported` codecs, telephone events for each audio clock, video when a port is given.
pub fn phone_offer(local: &LocalMedia, supported: &[PhoneCodec]) -> Sdp {
    let mut sdp = session_lines(local.address);
    let mut section = |kind: MediaKind, port: u16| {
        let mut m = Media::new(if kind == MediaKind::Audio { "audio" } else { "video" }, port, "RTP/AVP", Vec::new());
        let mut clocks = Vec::new();
        limit(&mut m, local);
        for c in supported.iter().filter(|c| c.codec.kind() == kind) {
            let map = c.rtpmap();
            describe(&mut m, c, &map, None);
            if c.codec != Codec::ComfortNoise && !clocks.contains(&map.clock_rate) {
                clocks.push(map.clock_rate);
            }
        }
        if m.formats.is_empty() {
            return;
        }
        if kind == MediaKind::Audio {
            let taken: Vec<String> = m.formats.clone();
            let mut free = (101..=127u8).filter(|n| !taken.contains(&n.to_string()));
            for (clock, pt) in clocks.into_iter().zip(&mut free) {
                m.formats.push(pt.to_string());
                m.push('a', format!("rtpmap:{pt} telephone-event/{clock}")).push('a', format!("fmtp:{pt} 0-16"));
            }
            m.push('a', format!("ptime:{}", local.ptime));
        } else {
            m.push('a', "rtcp-fb:* nack pli").push('a', "rtcp-fb:* ccm fir");
        }
        m.set_direction(local.direction);
        sdp.media.push(m);
    };
    section(MediaKind::Audio, local.audio_port);
    if let Some(port) = local.video_port {
        section(MediaKind::Video, port);
    }
    sdp
}

/// Reads the answer to our offer: agreed audio, and video when both sides have it.
pub fn phone_read_answer(
    offer: &Sdp,
    answer: &Sdp,
    supported: &[PhoneCodec],
) -> Result<(NegotiatedMedia, Option<NegotiatedMedia>), SdpError> {
    // Some phones leave refused sections out instead of refusing them: what is missing at the end counts as refused.
    let (mut audio, mut video) = (None, None);
    for (o, a) in offer.media.iter().zip(&answer.media) {
        if o.kind != a.kind || !usable(a) {
            continue;
        }
        // The far end's first known format is what it will send.
        let maps = a.rtpmaps();
        let known = |r: &RtpMap| {
            // Several forms of one codec are told apart by the number that we gave them.
            let same = supported.iter().filter(|c| {
                c.codec != Codec::ComfortNoise && c.is(r) && o.formats.contains(&c.payload_type.to_string())
            });
            if is_amr(same.clone().next()?.codec) {
                // A number of its own: the framing tells which of ours it is.
                let theirs = amr::Terms::parse(a.fmtp(r.payload_type));
                let alike = |c: &&PhoneCodec| amr::Terms::parse(c.fmtp.as_deref()).aligned == theirs.aligned;
                return same.clone().find(|c| alike(c) && !theirs.foreign);
            }
            same.clone().find(|c| c.payload_type == r.payload_type).or_else(|| same.clone().next())
        };
        let Some((codec, map)) = maps.iter().find_map(|r| Some((known(r)?, r))) else {
            continue;
        };
        let mut n = negotiated(answer, a, codec, map, offer.direction_of(o));
        n.receive_payload_type = codec.payload_type;
        n.receive_telephone_event = n.telephone_event.and(telephone_event(o, map.clock_rate)).map(|e| e.0);
        n.comfort_noise = comfort_noise(o, codec.codec, supported).and(comfort_noise(a, codec.codec, supported));
        if codec.codec == Codec::H264 {
            // The mode is part of the format: an answer must keep it (RFC 6184 8.2.2).
            let ours = Format::parse(codec.fmtp.as_deref()).map(|f| f.mode);
            if n.terms.as_ref().map(|t| t.format.mode) != ours {
                continue;
            }
        }
        let slot = if o.kind == "audio" { &mut audio } else { &mut video };
        slot.get_or_insert(n);
    }
    match audio {
        Some(a) => Ok((a, video)),
        None => Err(SdpError::NoCodec(
            answer.media.iter().flat_map(|m| m.rtpmaps()).map(|r| r.to_string()).collect::<Vec<_>>().join(", "),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn local() -> LocalMedia {
        LocalMedia::audio("10.0.0.5".parse().unwrap(), 30_000)
    }

    fn codecs() -> Vec<PhoneCodec> {
        [Codec::Opus, Codec::G711A, Codec::G711U, Codec::H264].map(PhoneCodec::usual).to_vec()
    }

    #[test]
    fn answer_keeps_count_and_refuses() {
        let offer = Sdp::parse(b"v=0\no=a 1 1 IN IP4 1.2.3.4\ns=-\nc=IN IP4 1.2.3.4\nt=0 0\nm=audio 4000 RTP/AVP 18 8 0 96\na=rtpmap:96 telephone-event/8000\na=sendonly\nm=video 4002 RTP/AVP 97\na=rtpmap:97 H264/90000\nm=application 5 UDP/BFCP *\n").unwrap();
        let a = phone_answer(&offer, &local(), &codecs()).unwrap();
        assert_eq!((a.audio.codec, a.audio.payload_type, a.audio.telephone_event), (Codec::G711A, 8, Some((96, 8000))));
        assert_eq!(a.audio.remote, Some("1.2.3.4:4000".parse().unwrap()));
        assert!(a.audio.direction == Direction::RecvOnly && a.audio.held);
        assert_eq!(a.sdp.media.iter().map(|m| m.port).collect::<Vec<_>>(), vec![30_000, 0, 0]);
        let mut l = local();
        l.video_port = Some(30_002);
        let a = phone_answer(&offer, &l, &codecs()).unwrap();
        assert_eq!((a.video.unwrap().payload_type, a.video_refused), (97, None));
        assert!(offers_picture(&offer));
        let bad = Sdp::parse(b"v=0\nc=IN IP4 1.2.3.4\nm=audio 4000 RTP/AVP 18\n").unwrap();
        assert_eq!(phone_answer(&bad, &local(), &codecs()), Err(SdpError::NoCodec("18 G729/8000".into())));
    }

    #[test]
    fn a_meeting_terminal() {
        let text = b"v=0\nc=IN IP4 1.2.3.4\nm=audio 4000 RTP/AVP 8\nm=video 4008 RTP/AVP 96\na=rtpmap:96 H264/90000\na=content:slides\nm=video 4002 RTP/AVP 97 98\na=rtpmap:97 H264/90000\na=fmtp:97 profile-level-id=42801f\na=rtpmap:98 H264/90000\na=fmtp:98 profile-level-id=42801f;packetization-mode=1\na=rtcp-fb:* nack pli\na=content:main\na=recvonly\nm=application 5 UDP/BFCP *\n";
        let offer = Sdp::parse(text).unwrap();
        let l = LocalMedia { video_port: Some(30_002), video_kbps: Some(1500), ..local() };
        let a = phone_answer(&offer, &l, &codecs()).unwrap();
        assert_eq!(a.sdp.media.iter().map(|m| m.port).collect::<Vec<_>>(), [30_000, 0, 30_002, 0]);
        let v = a.video.unwrap();
        assert_eq!(
            (v.payload_type, v.direction, v.remote),
            (98, Direction::SendOnly, Some("1.2.3.4:4002".parse().unwrap()))
        );
        let m = &a.sdp.media[2];
        assert_eq!(m.fmtp(98), Some("profile-level-id=42801f;packetization-mode=1"));
        assert_eq!((m.line('b'), m.attribute("rtcp-fb")), (Some("AS:1500"), Some("98 nack pli")));
        // Its answer to our offer: the form is known by its number, and must keep the mode.
        let all: Vec<PhoneCodec> = codecs().into_iter().take(3).chain(PhoneCodec::pictures()).collect();
        let ours = phone_offer(&l, &all);
        assert_eq!(ours.media[1].formats, ["102", "103", "105"]);
        let answer = |mode: u8| {
            let text = format!(
                "v=0\nc=IN IP4 9.9.9.9\nm=audio 6000 RTP/AVP 8\nm=video 6002 RTP/AVP 105\na=rtpmap:105 H264/90000\na=fmtp:105 profile-level-id=42e01e;packetization-mode={mode}\n"
            );
            phone_read_answer(&ours, &Sdp::parse(text.as_bytes()).unwrap(), &all).unwrap().1
        };
        let short = Sdp::parse(b"v=0\nc=IN IP4 9.9.9.9\nm=audio 6000 RTP/AVP 8\n").unwrap();
        assert!(phone_read_answer(&ours, &short, &all).unwrap().1.is_none(), "a phone that forgets the video section");
        assert_eq!(answer(0).unwrap().terms.unwrap().format.max_fs, 1620);
        assert_eq!(answer(1), None);
    }

    #[test]
    fn old_hold_form() {
        let offer = Sdp::parse(b"v=0\nc=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 8\n").unwrap();
        let a = phone_answer(&offer, &local(), &codecs()).unwrap();
        assert!(a.audio.held && a.audio.remote.is_none() && a.audio.direction == Direction::RecvOnly);
    }

    #[test]
    fn our_offer_meets_an_answer_with_other_numbers() {
        let offer = phone_offer(&local(), &codecs());
        let back = Sdp::parse(offer.to_string().as_bytes()).unwrap();
        assert_eq!(back.media[0].formats, ["111", "8", "0", "101", "102"]);
        let answer = Sdp::parse(b"v=0\nc=IN IP4 9.9.9.9\nm=audio 6000 RTP/AVP 96 97\na=rtpmap:96 opus/48000/2\na=rtpmap:97 telephone-event/48000\na=rtcp-mux\n").unwrap();
        let (a, v) = phone_read_answer(&offer, &answer, &codecs()).unwrap();
        assert_eq!(
            (a.codec, a.payload_type, a.receive_payload_type, a.telephone_event),
            (Codec::Opus, 96, 111, Some((97, 48_000)))
        );
        assert!(v.is_none() && a.remote_rtcp == a.remote);
    }
}
