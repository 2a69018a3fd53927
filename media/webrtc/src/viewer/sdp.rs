//! The part of SDP (RFC 8866, RFC 8829, RFC 9725 WHEP) that a viewer leg needs: a bounded reader of offers, and the answer.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// Largest offer taken, in bytes.
pub const MAX_OFFER: usize = 128 * 1024;
const MAX_LINES: usize = 4000;
const MAX_MEDIA: usize = 32;
const MAX_FORMATS: usize = 128;
const MAX_EXTENSIONS: usize = 32;

pub const EXT_PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
pub const EXT_ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";

/// What is wrong with an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    #[error("the offer is too long")]
    TooLong,
    #[error("the offer is not SDP")]
    Syntax,
    #[error("no ice-ufrag or ice-pwd")]
    NoIce,
    #[error("no SHA-256, SHA-384 or SHA-512 fingerprint")]
    NoFingerprint,
    #[error("the offer wants us to be the DTLS client")]
    Setup,
    #[error("no audio or video section that this gateway can send")]
    NothingInCommon,
}

/// The hash and its bytes of `a=fingerprint` (RFC 8122).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// 256, 384 or 512.
    pub bits: u16,
    pub hash: Vec<u8>,
}

impl Fingerprint {
    fn parse(value: &str) -> Option<Self> {
        let (name, hex) = value.split_once(' ')?;
        let bits = match name.to_ascii_lowercase().as_str() {
            "sha-256" => 256,
            "sha-384" => 384,
            "sha-512" => 512,
            _ => return None,
        };
        let hash: Option<Vec<u8>> = hex.trim().split(':').take(65).map(|h| u8::from_str_radix(h, 16).ok()).collect();
        let hash = hash?;
        (hash.len() == usize::from(bits) / 8).then_some(Fingerprint { bits, hash })
    }

    /// Whether this is the hash of that certificate.
    pub fn matches(&self, certificate: &[u8]) -> bool {
        use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
        let algorithm = match self.bits {
            256 => &SHA256,
            384 => &SHA384,
            _ => &SHA512,
        };
        digest(algorithm, certificate).as_ref() == self.hash.as_slice()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pub pt: u8,
    pub name: String,
    pub clock: u32,
    pub fmtp: String,
}

impl Format {
    fn parameter(&self, key: &str) -> Option<&str> {
        self.fmtp
            .split(';')
            .filter_map(|p| p.trim().split_once('='))
            .find(|(k, _)| k.eq_ignore_ascii_case(key))
            .map(|(_, v)| v)
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// H.265 in one RTP stream (RFC 7798).
    fn is_h265(&self) -> bool {
        self.is("H265")
            && self.clock == 90_000
            && self.parameter("tx-mode").is_none_or(|m| m.eq_ignore_ascii_case("SRST"))
    }

    /// H.264 in packetization mode 1, the only one that carries FU-A.
    fn is_h264_mode_1(&self) -> bool {
        self.is("H264") && self.parameter("packetization-mode") == Some("1")
    }
}

/// One m-section.
#[derive(Debug, Clone, Default)]
pub struct Section {
    pub kind: String,
    pub protocol: String,
    pub mid: String,
    /// Payload types in the order of the m-line.
    pub order: Vec<u8>,
    pub formats: Vec<Format>,
    pub feedback: Vec<(u8, String)>,
    pub extensions: Vec<(u8, String)>,
    /// recvonly, sendrecv, sendonly, inactive.
    pub direction: String,
    pub refused: bool,
}

/// A parsed offer.
#[derive(Debug, Clone)]
pub struct Offer {
    pub ufrag: String,
    pub pwd: String,
    pub fingerprint: Fingerprint,
    pub sections: Vec<Section>,
}

fn token(s: &str, max: usize) -> Option<String> {
    let fine = !s.is_empty() && s.len() <= max && s.bytes().all(|b| b.is_ascii_graphic());
    fine.then(|| s.to_owned())
}

impl Offer {
    /// Reads an offer. Unknown lines are skipped; everything that is kept is bounded.
    pub fn parse(sdp: &str) -> Result<Self, SdpError> {
        if sdp.len() > MAX_OFFER {
            return Err(SdpError::TooLong);
        }
        let (mut ufrag, mut pwd, mut fingerprint) = (None, None, None);
        let mut sections: Vec<Section> = Vec::new();
        let mut session_direction = "sendrecv".to_owned();
        if !sdp.starts_with("v=0") {
            return Err(SdpError::Syntax);
        }
        for (n, line) in sdp.lines().enumerate() {
            if n >= MAX_LINES {
                return Err(SdpError::TooLong);
            }
            let line = line.trim_end();
            let Some((kind, value)) = line.split_once('=') else { continue };
            match kind {
                "m" => {
                    if sections.len() >= MAX_MEDIA {
                        return Err(SdpError::TooLong);
                    }
                    sections.push(Self::section(value, &session_direction)?);
                }
                "a" => {
                    let (name, value) = value.split_once(':').unwrap_or((value, ""));
                    match name {
                        "ice-ufrag" if ufrag.is_none() => ufrag = token(value, 256),
                        "ice-pwd" if pwd.is_none() => pwd = token(value, 256),
                        "fingerprint" if fingerprint.is_none() => fingerprint = Fingerprint::parse(value),
                        "setup" if value == "passive" => return Err(SdpError::Setup),
                        "sendrecv" | "sendonly" | "recvonly" | "inactive" => match sections.last_mut() {
                            Some(s) => name.clone_into(&mut s.direction),
                            None => name.clone_into(&mut session_direction),
                        },
                        _ => {
                            if let Some(s) = sections.last_mut() {
                                Self::attribute(s, name, value);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(Offer {
            ufrag: ufrag.ok_or(SdpError::NoIce)?,
            pwd: pwd.ok_or(SdpError::NoIce)?,
            fingerprint: fingerprint.ok_or(SdpError::NoFingerprint)?,
            sections,
        })
    }

    fn section(value: &str, direction: &str) -> Result<Section, SdpError> {
        let mut words = value.split_ascii_whitespace();
        let kind = words.next().and_then(|w| token(w, 32)).ok_or(SdpError::Syntax)?;
        let port = words.next().ok_or(SdpError::Syntax)?;
        let protocol = words.next().and_then(|w| token(w, 64)).ok_or(SdpError::Syntax)?;
        let order = words.take(MAX_FORMATS).filter_map(|w| w.parse().ok()).filter(|pt| *pt < 128).collect();
        Ok(Section {
            kind,
            protocol,
            order,
            direction: direction.to_owned(),
            refused: port == "0",
            ..Section::default()
        })
    }

    fn attribute(s: &mut Section, name: &str, value: &str) {
        match name {
            "mid" => s.mid = token(value, 32).unwrap_or_default(),
            "rtpmap" if s.formats.len() < MAX_FORMATS => {
                let Some((pt, rest)) = value.split_once(' ') else { return };
                let mut parts = rest.split('/');
                let (Ok(pt), Some(name)) = (pt.parse(), parts.next().and_then(|n| token(n, 32))) else { return };
                let clock = parts.next().and_then(|c| c.trim().parse().ok()).unwrap_or(0);
                s.formats.push(Format { pt, name, clock, fmtp: String::new() });
            }
            "fmtp" if value.len() <= 512 => {
                let Some((pt, rest)) = value.split_once(' ') else { return };
                if let (Ok(pt), true) = (pt.parse::<u8>(), rest.bytes().all(|b| (32..127).contains(&b)))
                    && let Some(f) = s.formats.iter_mut().find(|f| f.pt == pt)
                {
                    rest.trim().clone_into(&mut f.fmtp);
                }
            }
            "rtcp-fb" if s.feedback.len() < 4 * MAX_FORMATS && value.len() <= 64 => {
                let Some((pt, rest)) = value.split_once(' ') else { return };
                if let Ok(pt) = pt.parse() {
                    s.feedback.push((pt, rest.trim().to_owned()));
                } else if pt == "*" {
                    s.feedback.extend(s.order.iter().map(|pt| (*pt, rest.trim().to_owned())));
                }
            }
            "extmap" if s.extensions.len() < MAX_EXTENSIONS && value.len() <= 256 => {
                let mut words = value.split_ascii_whitespace();
                let id = words.next().and_then(|id| id.split('/').next()?.parse().ok());
                if let (Some(id @ 1..=14), Some(uri)) = (id, words.next()) {
                    s.extensions.push((id, uri.to_owned()));
                }
            }
            _ => {}
        }
    }
}

impl Section {
    fn usable(&self) -> bool {
        !self.refused
            && !self.mid.is_empty()
            && self.protocol.contains("RTP/SAVPF")
            && matches!(self.direction.as_str(), "recvonly" | "sendrecv")
    }

    fn in_order(&self) -> impl Iterator<Item = &Format> {
        self.order.iter().filter_map(|pt| self.formats.iter().find(|f| f.pt == *pt))
    }

    fn extension(&self, uri: &str) -> Option<u8> {
        self.extensions.iter().find(|(_, u)| u == uri).map(|(id, _)| *id)
    }
}

/// A video payload type that we may send, and its retransmission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoFormat {
    pub pt: u8,
    pub rtx: Option<u8>,
    /// `profile_idc` of H.264, from `profile-level-id`.
    pub profile: u8,
    /// Whether constraint_set1 is set (constrained baseline).
    pub constrained: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VideoPlan {
    pub h264: Vec<VideoFormat>,
    pub vp8: Option<VideoFormat>,
    /// Where the browser decodes it: the stream then goes out as it is.
    pub h265: Option<VideoFormat>,
    pub playout_delay: Option<u8>,
    pub abs_send_time: Option<u8>,
    pub ssrc: u32,
    pub rtx_ssrc: u32,
}

impl VideoPlan {
    fn all(&self) -> impl Iterator<Item = &VideoFormat> {
        self.h264.iter().chain(&self.vp8).chain(&self.h265)
    }

    /// The payload type for an H.264 stream with this `profile_idc`: the same profile if offered, else the first.
    pub fn h264_for(&self, profile: u8) -> Option<&VideoFormat> {
        let same = || self.h264.iter().filter(|f| f.profile == profile);
        same()
            .find(|f| f.constrained)
            .or_else(|| same().next())
            .or_else(|| self.h264.iter().find(|f| f.constrained))
            .or(self.h264.first())
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AudioPlan {
    pub opus: Option<u8>,
    pub pcma: Option<u8>,
    pub pcmu: Option<u8>,
    pub ssrc: u32,
}

/// What was agreed: by section index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub video: Option<(usize, VideoPlan)>,
    pub audio: Option<(usize, AudioPlan)>,
}

/// What of ours goes into an answer.
pub struct Ours<'a> {
    pub ufrag: &'a str,
    pub pwd: &'a str,
    /// SHA-256 in colon form.
    pub fingerprint: &'a str,
    pub candidates: &'a [SocketAddr],
    pub session: u64,
    pub cname: &'a str,
}

/// Chooses what to send. The first usable video and audio section are taken.
pub fn plan(offer: &Offer, audio: bool, ssrcs: [u32; 3]) -> Result<Plan, SdpError> {
    let mut plan = Plan::default();
    for (i, s) in offer.sections.iter().enumerate().filter(|(_, s)| s.usable()) {
        if s.kind == "video" && plan.video.is_none() {
            let rtx = |pt: u8| {
                let apt = pt.to_string();
                s.in_order().find(|f| f.is("rtx") && f.parameter("apt") == Some(apt.as_str())).map(|f| f.pt)
            };
            let format = |f: &Format| {
                let level =
                    f.parameter("profile-level-id").and_then(|p| u32::from_str_radix(p, 16).ok()).unwrap_or(0x42_e0_1f);
                let profile = (level >> 16) as u8;
                VideoFormat { pt: f.pt, rtx: rtx(f.pt), profile, constrained: level & 0x4000 != 0 }
            };
            let v = VideoPlan {
                h264: s.in_order().filter(|f| f.is_h264_mode_1() && f.clock == 90_000).map(format).collect(),
                vp8: s.in_order().find(|f| f.is("VP8") && f.clock == 90_000).map(format),
                h265: s.in_order().find(|f| f.is_h265()).map(format),
                playout_delay: s.extension(EXT_PLAYOUT_DELAY),
                abs_send_time: s.extension(EXT_ABS_SEND_TIME),
                ssrc: ssrcs[0],
                rtx_ssrc: ssrcs[1],
            };
            if v.all().next().is_some() {
                plan.video = Some((i, v));
            }
        } else if s.kind == "audio" && plan.audio.is_none() && audio {
            let named = |name: &str, clock: u32| s.in_order().find(|f| f.is(name) && f.clock == clock).map(|f| f.pt);
            // Payload types 0 and 8 need no rtpmap (RFC 3551).
            let fixed = |pt: u8| s.order.contains(&pt).then_some(pt);
            let a = AudioPlan {
                opus: named("opus", 48_000),
                pcma: named("PCMA", 8000).or(fixed(8)),
                pcmu: named("PCMU", 8000).or(fixed(0)),
                ssrc: ssrcs[2],
            };
            if a.opus.or(a.pcma).or(a.pcmu).is_some() {
                plan.audio = Some((i, a));
            }
        }
    }
    if plan.video.is_none() && plan.audio.is_none() {
        return Err(SdpError::NothingInCommon);
    }
    Ok(plan)
}

/// Writes the answer (RFC 8829 5.3): all candidates inside, ICE lite, DTLS passive, one bundle.
pub fn answer(offer: &Offer, plan: &Plan, ours: &Ours) -> String {
    let mut out = String::with_capacity(4096);
    // Writing to a String cannot fail.
    let _ = write_answer(&mut out, offer, plan, ours);
    out
}

fn write_answer(out: &mut String, offer: &Offer, plan: &Plan, ours: &Ours) -> std::fmt::Result {
    let video = |i: usize| plan.video.as_ref().filter(|(n, _)| *n == i).map(|(_, v)| v);
    let audio = |i: usize| plan.audio.as_ref().filter(|(n, _)| *n == i).map(|(_, a)| a);
    // Sections that we leave silent stay in the bundle as inactive: the first one may be the offerer's tagged section.
    let kept = |i: usize, s: &Section| {
        video(i).is_some()
            || audio(i).is_some()
            || (!s.refused && !s.mid.is_empty() && is_media(s) && !s.order.is_empty())
    };
    write!(out, "v=0\r\no=- {} 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=group:BUNDLE", ours.session)?;
    for (_, s) in offer.sections.iter().enumerate().filter(|(i, s)| kept(*i, s)) {
        write!(out, " {}", s.mid)?;
    }
    write!(out, "\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS *\r\n")?;
    for (i, s) in offer.sections.iter().enumerate() {
        if !kept(i, s) {
            let pt = s.order.first().map_or_else(|| "webrtc-datachannel".to_owned(), u8::to_string);
            write!(out, "m={} 0 {} {}\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n", s.kind, s.protocol, pt)?;
            if !s.mid.is_empty() {
                write!(out, "a=mid:{}\r\n", s.mid)?;
            }
            continue;
        }
        let pts = match (video(i), audio(i)) {
            (Some(v), _) => v.all().flat_map(|f| [Some(f.pt), f.rtx]).flatten().collect(),
            (_, Some(a)) => [a.opus, a.pcma, a.pcmu].into_iter().flatten().collect(),
            _ => s.order.iter().copied().take(1).collect::<Vec<u8>>(),
        };
        // The offer's order is kept.
        let pts: Vec<u8> = s.order.iter().copied().filter(|pt| pts.contains(pt)).collect();
        write!(out, "m={} {} {}", s.kind, ours.candidates.first().map_or(9, SocketAddr::port), s.protocol)?;
        for pt in &pts {
            write!(out, " {pt}")?;
        }
        match ours.candidates.first() {
            Some(SocketAddr::V6(a)) => write!(out, "\r\nc=IN IP6 {}\r\n", a.ip())?,
            Some(SocketAddr::V4(a)) => write!(out, "\r\nc=IN IP4 {}\r\n", a.ip())?,
            None => write!(out, "\r\nc=IN IP4 0.0.0.0\r\n")?,
        }
        write!(out, "a=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", ours.ufrag, ours.pwd)?;
        write!(out, "a=fingerprint:sha-256 {}\r\na=setup:passive\r\na=mid:{}\r\n", ours.fingerprint, s.mid)?;
        for (n, c) in ours.candidates.iter().enumerate() {
            let priority = (126u32 << 24) | ((65_535 - n as u32) << 8) | 255;
            write!(out, "a=candidate:{} 1 udp {} {} {} typ host\r\n", n + 1, priority, c.ip(), c.port())?;
        }
        write!(out, "a=end-of-candidates\r\na=rtcp-mux\r\na=rtcp-rsize\r\n")?;
        for f in pts.iter().filter_map(|pt| s.formats.iter().find(|f| f.pt == *pt)) {
            let channels = if f.is("opus") { "/2" } else { "" };
            write!(out, "a=rtpmap:{} {}/{}{}\r\n", f.pt, f.name, f.clock, channels)?;
            for (_, fb) in s
                .feedback
                .iter()
                .filter(|(pt, fb)| *pt == f.pt && matches!(fb.as_str(), "nack" | "nack pli" | "ccm fir" | "goog-remb"))
            {
                write!(out, "a=rtcp-fb:{} {}\r\n", f.pt, fb)?;
            }
            if !f.fmtp.is_empty() {
                write!(out, "a=fmtp:{} {}\r\n", f.pt, f.fmtp)?;
            }
        }
        match (video(i), audio(i)) {
            (Some(v), _) => {
                for (id, uri) in [(v.playout_delay, EXT_PLAYOUT_DELAY), (v.abs_send_time, EXT_ABS_SEND_TIME)] {
                    if let Some(id) = id {
                        write!(out, "a=extmap:{id} {uri}\r\n")?;
                    }
                }
                write!(out, "a=sendonly\r\na=msid:{0} {0}-v\r\n", ours.cname)?;
                let rtx = v.all().any(|f| f.rtx.is_some());
                if rtx {
                    write!(out, "a=ssrc-group:FID {} {}\r\n", v.ssrc, v.rtx_ssrc)?;
                }
                write!(out, "a=ssrc:{} cname:{}\r\n", v.ssrc, ours.cname)?;
                if rtx {
                    write!(out, "a=ssrc:{} cname:{}\r\n", v.rtx_ssrc, ours.cname)?;
                }
            }
            (_, Some(a)) => {
                write!(out, "a=sendonly\r\na=msid:{0} {0}-a\r\na=ssrc:{1} cname:{0}\r\n", ours.cname, a.ssrc)?;
            }
            _ => write!(out, "a=inactive\r\n")?,
        }
    }
    Ok(())
}

fn is_media(s: &Section) -> bool {
    matches!(s.kind.as_str(), "audio" | "video") && s.protocol.contains("RTP/SAVPF")
}

#[cfg(test)]
#[path = "sdp_tests.rs"]
mod tests;
