//! The media descriptions between two phones: passed on filtered, with our address and port.
//!
//! Payload numbers pass unchanged. Each phone then sends with the numbers that the other one stated, and the relay has nothing
//! to rewrite (RFC 3264 5.1 lets both sides number for themselves).

use std::net::{IpAddr, SocketAddr};

use media_core::sdp::{Direction, Media, RtpMap, Sdp, net_address};

use media_secure::{Agreed, Peer, undress};

use super::turn::{self, Sort, is_event, is_voice, same};
use crate::faults::Reason;
use crate::security::{KeyError, Security};

const PCMU: u8 = 0;
const PCMA: u8 = 8;

/// Why an offer or answer cannot be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No readable SDP.
    Bad,
    /// No audio over plain RTP in it; true: it wants T.38.
    NoAudio { fax: bool },
    /// Nothing that both sides know.
    NoCodec,
    /// Its keys do not fit, or there are none where there must be.
    Keys(KeyError),
}

impl Refusal {
    pub fn reason(self) -> Reason {
        match self {
            Refusal::Bad => Reason::BadOffer,
            Refusal::NoAudio { fax: true } => Reason::FaxRefused,
            Refusal::NoAudio { .. } | Refusal::NoCodec => Reason::NoCodec,
            Refusal::Keys(error) => error.reason(),
        }
    }

    /// The text of the Warning header (RFC 3261 20.43).
    pub fn warning(self) -> &'static str {
        match self {
            Refusal::Bad => "399 skybridge \"the media description cannot be read\"",
            Refusal::NoAudio { fax: true } => NO_FAX,
            Refusal::NoAudio { fax: false } => "304 skybridge \"audio over RTP/AVP needed\"",
            Refusal::NoCodec => "305 skybridge \"no codec in common\"",
            Refusal::Keys(error) => error.warning(),
        }
    }
}

/// The Warning where T.38 is asked for.
pub(crate) const NO_FAX: &str = "304 skybridge \"T.38 is not carried; send the fax as G.711\"";
/// The Warning where too many calls are decoded already.
pub(crate) const NO_PLACE: &str = "399 skybridge \"no codec in common, and too many calls are transcoded at once\"";

/// What one phone says of its sound.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub sdp: Sdp,
    /// Where it wants RTP and RTCP; none while it holds by `0.0.0.0`.
    pub rtp: Option<SocketAddr>,
    pub rtcp: Option<SocketAddr>,
    pub maps: Vec<RtpMap>,
    /// From its own view.
    pub direction: Direction,
    pub ptime: Option<u32>,
    /// It answers an offer of ours.
    pub answer: bool,
    /// What it says of keys, taken out of `sdp`.
    pub peer: Peer,
    /// The keys of its leg, once they are agreed on.
    pub agreed: Agreed,
    /// Reports and sound share a port.
    pub mux: bool,
    /// The dialog's protection as it will be when this description is taken.
    pub security: Option<Box<Security>>,
}

/// The audio section that counts: the first one that is not refused.
fn audio(sdp: &Sdp) -> Result<(usize, &Media), Refusal> {
    let plain = |m: &Media| m.proto.eq_ignore_ascii_case("RTP/AVP") || m.proto.eq_ignore_ascii_case("RTP/AVPF");
    sdp.media.iter().enumerate().find(|(_, m)| m.kind == "audio" && m.port != 0 && plain(m)).ok_or_else(|| {
        Refusal::NoAudio { fax: sdp.media.iter().any(|m| m.kind == "image" || m.proto.eq_ignore_ascii_case("udptl")) }
    })
}

impl Described {
    pub fn read(body: &[u8]) -> Result<Described, Refusal> {
        Described::of(Sdp::parse(body).map_err(|_| Refusal::Bad)?)
    }

    /// An offer in a dialog with this protection.
    pub fn offered(body: &[u8], security: &Security) -> Result<Described, Refusal> {
        let mut described = Described::read(body)?;
        let mut security = security.clone();
        described.agreed = security.offered(&mut described.peer).map_err(Refusal::Keys)?;
        described.mux = security.mux();
        described.security = Some(Box::new(security));
        Ok(described)
    }

    /// The answer to an offer of ours that was protected like this.
    pub fn answered(body: &[u8], security: &Security) -> Result<Described, Refusal> {
        let mut described = Described::read(body)?;
        let mut security = security.clone();
        described.agreed = security.answered(&described.peer).map_err(Refusal::Keys)?;
        described.answer = true;
        described.mux = security.mux();
        described.security = Some(Box::new(security));
        Ok(described)
    }

    pub fn of(mut sdp: Sdp) -> Result<Described, Refusal> {
        let peer = undress(&mut sdp, true);
        if peer.keys == media_secure::PeerKeys::Unusable {
            return Err(Refusal::Keys(KeyError::Unusable));
        }
        let (_, m) = audio(&sdp)?;
        let address = sdp.address_of(m).ok_or(Refusal::Bad)?;
        let rtp = Some(SocketAddr::new(address, m.port)).filter(|a| !a.ip().is_unspecified());
        let rtcp_port = m.attribute("rtcp").and_then(|v| v.split_whitespace().next()?.parse().ok());
        let rtcp = rtp.map(|a| SocketAddr::new(a.ip(), rtcp_port.unwrap_or(m.port.saturating_add(1))));
        let maps = m.rtpmaps();
        if !maps.iter().any(is_voice) {
            return Err(Refusal::NoCodec);
        }
        let (direction, ptime) = (sdp.direction_of(m), m.ptime());
        let rtcp = if peer.mux && !peer.is_plain() { rtp } else { rtcp };
        Ok(Described {
            rtp,
            rtcp,
            maps,
            direction,
            ptime,
            answer: false,
            sdp,
            peer,
            agreed: Agreed::Plain,
            mux: false,
            security: None,
        })
    }

    /// A set of payload numbers.
    pub fn numbers(&self) -> u128 {
        self.maps.iter().fold(0, |set, m| set | 1 << (m.payload_type & 0x7F))
    }

    /// The clock of the first codec, for jitter.
    pub fn clock(&self) -> u32 {
        self.maps.iter().find(|m| is_voice(m)).map_or(8000, |m| m.clock_rate)
    }

    /// The same with the laws and keys only: what we can speak ourselves. None without a law.
    pub fn laws(&self) -> Option<Described> {
        let mut out = self.clone();
        out.maps.retain(|m| law(m).is_some() || m.encoding.eq_ignore_ascii_case("telephone-event"));
        out.maps.iter().any(|m| law(m).is_some()).then_some(out)
    }

    /// What a third phone is offered in place of the other one. An answer names one codec as a rule; where that is one that we cannot
    /// turn, both laws stand behind it: nearly every phone knows them, and this one is asked for what the third one takes.
    pub fn for_another(&self) -> Described {
        let mut out = self.clone();
        if !self.maps.iter().any(|m| Sort::of(m).is_some()) {
            for (payload_type, encoding) in [(PCMA, "PCMA"), (PCMU, "PCMU")] {
                out.maps.push(RtpMap { payload_type, encoding: encoding.into(), clock_rate: 8000, channels: 1 });
            }
        }
        out
    }

    /// It knows keys in RTP.
    pub fn has_events(&self) -> bool {
        self.maps.iter().any(is_event)
    }

    /// The first law is mu-law.
    pub fn prefers_mu(&self) -> bool {
        self.maps.iter().find_map(law) == Some(PCMU)
    }

    /// The same but for the address: nothing that the other phone needs to know.
    pub fn differs_in_place_only(&self, new: &Described) -> bool {
        self.maps == new.maps && self.direction == new.direction && self.ptime == new.ptime
    }

    fn section(&self) -> Option<(usize, &Media)> {
        audio(&self.sdp).ok()
    }
}

/// Our end of one leg.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Local {
    pub address: IpAddr,
    pub port: u16,
    /// A phone is offered codecs that the other one does not know: we can turn them.
    pub turns: bool,
}

fn session(local: Local) -> Sdp {
    let mut s = Sdp::default();
    s.push('v', "0").push('s', "-").push('c', format!("IN {}", net_address(local.address))).push('t', "0 0");
    s
}

fn describe(out: &mut Media, map: &RtpMap, from: &Media) {
    out.formats.push(map.payload_type.to_string());
    out.push('a', format!("rtpmap:{map}"));
    let known = from.rtpmap(map.payload_type).is_some_and(|m| same(&m, map));
    if !known {
        // One of ours.
        match Sort::of(map) {
            Some(Sort::Opus) => drop(out.push('a', format!("fmtp:{} minptime=10;useinbandfec=1", map.payload_type))),
            None if is_event(map) => drop(out.push('a', format!("fmtp:{} 0-16", map.payload_type))),
            _ => {}
        }
    } else if let Some(fmtp) = from.fmtp(map.payload_type) {
        out.push('a', format!("fmtp:{} {fmtp}", map.payload_type));
    }
}

fn times(out: &mut Media, from: &Media) {
    for name in ["ptime", "maxptime"] {
        if let Some(value) = from.attribute(name).and_then(|v| v.parse::<u32>().ok()) {
            out.push('a', format!("{name}:{value}"));
        }
    }
}

fn law(map: &RtpMap) -> Option<u8> {
    [PCMU, PCMA].into_iter().find(|n| map.payload_type == *n && is_law(map))
}

fn is_law(map: &RtpMap) -> bool {
    matches!(Sort::of(map), Some(Sort::Law { .. }))
}

/// The offer for the one phone made of what the other one described. `before`: what this dialog was told last, whose
/// sections must stay in place (RFC 3264 8).
pub(crate) fn offer(from: &Described, local: Local, before: Option<&Sdp>, direction: Direction) -> Sdp {
    let mut sdp = session(local);
    let mut out = Media::new("audio", local.port, "RTP/AVP", Vec::new());
    if let Some((_, m)) = from.section() {
        for map in &from.maps {
            describe(&mut out, map, m);
        }
        // Behind its own, so that nothing is turned where nothing need be.
        for map in turn::added(&from.maps, local.turns) {
            describe(&mut out, &map, m);
        }
        times(&mut out, m);
    }
    out.set_direction(direction);
    let at = before.and_then(|b| b.media.iter().position(|m| m.kind == "audio" && m.port != 0));
    match (before, at) {
        (Some(before), Some(at)) => {
            let kept = |(i, m): (usize, &Media)| match i == at {
                true => out.clone(),
                false => Media::new(&m.kind, 0, &m.proto, m.formats.clone()),
            };
            sdp.media = before.media.iter().enumerate().map(kept).collect();
        }
        _ => sdp.media.push(out),
    }
    sdp
}

/// What we offer when the caller offered nothing (delayed offer): both laws and keys.
pub(crate) fn own() -> Described {
    let mut sdp = Sdp::default();
    let mut m = Media::new("audio", 9, "RTP/AVP", vec!["8".into(), "0".into(), "101".into()]);
    m.push('a', "rtpmap:8 PCMA/8000").push('a', "rtpmap:0 PCMU/8000");
    m.push('a', "rtpmap:101 telephone-event/8000").push('a', "fmtp:101 0-16").push('a', "ptime:20");
    let maps = m.rtpmaps();
    sdp.media.push(m);
    let peer = undress(&mut sdp, true);
    let (direction, agreed) = (Direction::SendRecv, Agreed::Plain);
    let (rtp, rtcp, ptime) = (None, None, Some(20));
    Described { sdp, rtp, rtcp, maps, direction, ptime, answer: false, peer, agreed, mux: false, security: None }
}

/// The answer to an offer made of what the other phone described: the formats that both know; where they have no codec in common, the
/// one that the first phone likes best of those that we can turn.
pub(crate) fn answer(offer: &Described, other: &Described, local: Local, direction: Direction) -> Result<Sdp, Refusal> {
    let (Some((at, offered)), Some((_, from))) = (offer.section(), other.section()) else { return Err(Refusal::Bad) };
    let mut out = Media::new("audio", local.port, &offered.proto, Vec::new());
    let common: Vec<&RtpMap> = other.maps.iter().filter(|m| offer.maps.iter().any(|o| same(o, m))).collect();
    let mut clock = None;
    if !common.iter().any(|m| is_voice(m)) {
        let theirs = own_choice(offer, other, local.turns).ok_or(Refusal::NoCodec)?;
        clock = Some(theirs.clock_rate);
        describe(&mut out, theirs, offered);
    }
    for map in &common {
        // Unless the number is the one of the sound already.
        if !(clock.is_some() && out.formats.contains(&map.payload_type.to_string())) {
            describe(&mut out, map, from);
        }
    }
    if !out.rtpmaps().iter().any(is_event) {
        // The other phone has no keys in RTP, or by another clock: what this one sends is turned.
        let mut events = offer.maps.iter().filter(|m| is_event(m));
        let free = |m: &&RtpMap| out.formats.iter().all(|f| *f != m.payload_type.to_string());
        let best = events.clone().find(|m| Some(m.clock_rate) == clock).or_else(|| events.next());
        if let Some(map) = best.filter(free) {
            describe(&mut out, map, offered);
        }
    }
    times(&mut out, from);
    out.set_direction(direction);
    let mut sdp = session(local);
    for (i, m) in offer.sdp.media.iter().enumerate() {
        sdp.media.push(if i == at {
            out.clone()
        } else {
            let formats = if m.formats.is_empty() { vec!["0".into()] } else { m.formats.clone() };
            Media::new(&m.kind, 0, &m.proto, formats)
        });
    }
    Ok(sdp)
}

/// What the first phone shall send where the two have no codec in common.
fn own_choice<'a>(offer: &'a Described, other: &Described, turns: bool) -> Option<&'a RtpMap> {
    if other.maps.iter().any(is_law)
        && let Some(law) = offer.maps.iter().find(|m| is_law(m))
    {
        return Some(law);
    }
    let turned = |d: &'a Described| d.maps.iter().find(|m| Sort::of(m).is_some());
    turned(offer).filter(|_| turns && other.maps.iter().any(|m| Sort::of(m).is_some()))
}

/// Whether two phones can only talk when their sound is decoded.
pub(crate) fn turned(one: &Described, other: &Described) -> bool {
    let common = one.maps.iter().any(|m| is_voice(m) && other.maps.iter().any(|o| same(o, m)));
    let laws = one.maps.iter().any(is_law) && other.maps.iter().any(is_law);
    !common && !laws
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const HERE: &str = "10.0.0.5";

    fn local() -> Local {
        Local { address: HERE.parse().unwrap(), port: 30_000, turns: false }
    }

    fn read(lines: &str) -> Described {
        let text = format!("v=0\r\no=x 1 1 IN IP4 10.9.9.9\r\ns=x\r\nc=IN IP4 10.9.9.9\r\nt=0 0\r\n{lines}");
        Described::read(text.as_bytes()).unwrap()
    }

    fn formats(sdp: &Sdp) -> Vec<&str> {
        sdp.media[0].formats.iter().map(String::as_str).collect()
    }

    #[test]
    fn an_offer_passes_filtered() {
        let from = read(
            "m=audio 4000 RTP/AVPF 96 8 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=candidate:1 1 UDP 1 10.9.9.9 4000 typ host\r\na=ssrc:1 cname:x\r\n\
             a=ptime:20\r\na=sendonly\r\nm=video 4002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n",
        );
        let out = offer(&from, local(), None, from.direction);
        assert_eq!(formats(&out), ["96", "8", "101", "0"], "mu-law is added because we can make it");
        let text = out.to_string();
        assert!(text.contains("c=IN IP4 10.0.0.5") && text.contains("m=audio 30000 RTP/AVP"), "{text}");
        assert!(text.contains("fmtp:96 useinbandfec=1") && text.contains("a=sendonly"), "{text}");
        for word in ["10.9.9.9", "candidate", "ssrc", "video"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
        // The answer keeps the offer's sections and refuses the picture.
        let reply = answer(
            &from,
            &read("m=audio 5000 RTP/AVP 96 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n"),
            local(),
            Direction::RecvOnly,
        )
        .unwrap();
        assert_eq!(formats(&reply), ["96", "101"]);
        assert_eq!(reply.media.iter().map(|m| m.port).collect::<Vec<_>>(), [30_000, 0]);
        assert_eq!(reply.media[0].proto, "RTP/AVPF");
        // A later offer on that dialog keeps both sections.
        let again = offer(&read("m=audio 5000 RTP/AVP 8\r\n"), local(), Some(&reply), Direction::SendRecv);
        assert_eq!(
            again.media.iter().map(|m| (m.kind.as_str(), m.port)).collect::<Vec<_>>(),
            [("audio", 30_000), ("video", 0)]
        );
    }

    #[test]
    fn one_law_becomes_the_other_only_when_needed() {
        let a = read("m=audio 4000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n");
        let u = read("m=audio 5000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n");
        assert_eq!(formats(&answer(&a, &u, local(), Direction::SendRecv).unwrap()), ["8", "101"]);
        let both = read("m=audio 5000 RTP/AVP 0 8\r\n");
        assert_eq!(
            formats(&answer(&a, &both, local(), Direction::SendRecv).unwrap()),
            ["8", "101"],
            "keys go on as INFO"
        );
        let g729 = read("m=audio 5000 RTP/AVP 18\r\n");
        assert_eq!(answer(&a, &g729, local(), Direction::SendRecv), Err(Refusal::NoCodec));
        assert_eq!(
            formats(&offer(&g729, local(), None, Direction::SendRecv)),
            ["18", "101"],
            "keys can always be turned"
        );
    }

    #[test]
    fn what_can_be_turned_stands_behind_the_callers_own() {
        let local = Local { turns: true, ..local() };
        let a = read("m=audio 4000 RTP/AVP 18 8 101\r\na=rtpmap:101 telephone-event/8000\r\n");
        let out = offer(&a, local, None, Direction::SendRecv);
        assert_eq!(formats(&out), ["18", "8", "101", "0", "9", "111"]);
        assert!(out.to_string().contains("rtpmap:111 opus/48000/2"));
        // A number of the caller's is not taken twice.
        let odd = read("m=audio 4000 RTP/AVP 8 111\r\na=rtpmap:111 telephone-event/8000\r\n");
        assert_eq!(formats(&offer(&odd, local, None, Direction::SendRecv)), ["8", "111", "0", "9", "127"]);
        // Opus alone: the caller is told the law that he offered, and keys by his own number where the clocks differ.
        let opus =
            read("m=audio 5000 RTP/AVP 111 110\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:110 telephone-event/48000\r\n");
        assert_eq!(formats(&answer(&a, &opus, local, Direction::SendRecv).unwrap()), ["8", "101"]);
        assert!(turned(&a, &opus) && !turned(&a, &a));
        let off = Local { turns: false, ..local };
        assert_eq!(answer(&a, &opus, off, Direction::SendRecv), Err(Refusal::NoCodec));
        // No keys in RTP at the far end: the near one may send them, they go on as INFO.
        let plain = read("m=audio 5000 RTP/AVP 8\r\n");
        assert_eq!(formats(&answer(&a, &plain, off, Direction::SendRecv).unwrap()), ["8", "101"]);
    }

    #[test]
    fn fax_and_nonsense_are_refused() {
        let text = |m: &str| format!("v=0\r\nc=IN IP4 10.9.9.9\r\n{m}");
        let refusal = |m: &str| Described::read(text(m).as_bytes()).map(|_| ()).unwrap_err();
        assert_eq!(refusal("m=image 4000 udptl t38\r\n"), Refusal::NoAudio { fax: true });
        assert_eq!(refusal("m=audio 4000 RTP/SAVP 8\r\n"), Refusal::Keys(KeyError::Unusable));
        assert_eq!(refusal("m=audio 4000 TCP/RTP/AVP 8\r\n"), Refusal::NoAudio { fax: false });
        assert_eq!(refusal("m=audio 4000 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000\r\n"), Refusal::NoCodec);
        assert_eq!(Described::read(b"\r\n").unwrap_err(), Refusal::Bad);
        let held = read("m=audio 4000 RTP/AVP 8\r\nc=IN IP4 0.0.0.0\r\n");
        assert!(held.rtp.is_none() && !held.direction.receives());
    }
}
