//! What the recorder is offered, and what it takes.

use std::net::{IpAddr, SocketAddr};

use media_core::sdp::{Direction, Media, RtpMap, Sdp, net_address};

/// What a recorder takes of one phone.
#[derive(Debug, PartialEq)]
pub(super) enum Takes {
    /// The section is refused, or none of its formats is known there.
    Nothing,
    /// It wants to hear nothing for now (RFC 7866 7.2).
    Paused,
    Sound {
        rtp: SocketAddr,
        rtcp: SocketAddr,
        /// At the number that we offered: the one under which it wants the packets.
        numbers: Box<[Option<u8>; 128]>,
    },
}

/// One section for each phone, named 1 (who called) and 2 (who was called).
pub(super) fn offer(formats: &[Media; 2], ports: [u16; 2], address: IpAddr) -> Sdp {
    let mut sdp = Sdp::default();
    let net = format!("IN {}", net_address(address));
    sdp.push('v', "0").push('s', "SIPREC").push('c', net).push('t', "0 0");
    for (n, (media, port)) in formats.iter().zip(ports).enumerate() {
        let mut m = media.clone();
        m.port = port;
        m.set_direction(Direction::SendOnly);
        m.push('a', format!("label:{}", n + 1));
        sdp.media.push(m);
    }
    sdp
}

/// The answer to an offer of the recorder: what we sent before, section by section; what it pauses is inactive, and what it added is
/// refused.
pub(super) fn answer(sent: &Sdp, theirs: &Sdp, takes: &[Takes; 2]) -> Sdp {
    let mut out = Sdp { session: sent.session.clone(), media: Vec::new() };
    for (n, m) in theirs.media.iter().enumerate() {
        let section = match (sent.media.get(n), takes.get(n)) {
            (Some(own), Some(takes)) if *takes != Takes::Nothing => {
                let mut own = own.clone();
                own.set_direction(if *takes == Takes::Paused { Direction::Inactive } else { Direction::SendOnly });
                own
            }
            _ => Media::new(&m.kind, 0, &m.proto, m.formats.clone()),
        };
        out.media.push(section);
    }
    out
}

fn is_law(map: &RtpMap) -> bool {
    matches!(map.payload_type, 0 | 8) && map.clock_rate == 8000
}

/// What a description of the recorder takes of what we sent.
pub(super) fn taken(sent: &Sdp, theirs: &Sdp) -> [Takes; 2] {
    [0, 1].map(|n| {
        let (Some(ours), Some(m)) = (sent.media.get(n), theirs.media.get(n)) else { return Takes::Nothing };
        let Some(address) = theirs.address_of(m).filter(|_| m.kind == "audio" && m.port != 0) else {
            return Takes::Nothing;
        };
        let maps = m.rtpmaps();
        let mut numbers = Box::new([None; 128]);
        for own in ours.rtpmaps() {
            let same = |o: &&RtpMap| {
                o.encoding.eq_ignore_ascii_case(&own.encoding)
                    && o.clock_rate == own.clock_rate
                    && o.channels == own.channels
            };
            let wanted = maps.iter().find(same).or_else(|| maps.iter().find(|o| is_law(&own) && is_law(o)));
            if let Some(slot) = numbers.get_mut(usize::from(own.payload_type)) {
                *slot = wanted.map(|o| o.payload_type & 0x7F);
            }
        }
        if numbers.iter().all(Option::is_none) {
            return Takes::Nothing;
        }
        if address.is_unspecified() || !theirs.direction_of(m).receives() {
            return Takes::Paused;
        }
        let rtp = SocketAddr::new(address, m.port);
        let rtcp = m.attribute("rtcp").and_then(|v| v.split_whitespace().next()?.parse().ok());
        let rtcp = SocketAddr::new(address, rtcp.unwrap_or(m.port.saturating_add(1)));
        Takes::Sound { rtp, rtcp, numbers }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn media(formats: &str, maps: &[&str]) -> Media {
        let mut m = Media::new("audio", 9, "RTP/AVP", formats.split(' ').map(str::to_owned).collect());
        maps.iter().for_each(|map| {
            m.push('a', format!("rtpmap:{map}"));
        });
        m
    }

    fn read(lines: &str) -> Sdp {
        Sdp::parse(format!("v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n{lines}").as_bytes())
            .unwrap()
    }

    #[test]
    fn what_a_recorder_takes() {
        let first = media("96 8 0 101", &["96 opus/48000/2", "8 PCMA/8000", "0 PCMU/8000", "101 telephone-event/8000"]);
        let sent = offer(&[first, media("8 0", &[])], [30_000, 30_002], "10.0.0.5".parse().unwrap());
        let text = sent.to_string();
        for line in ["m=audio 30000 RTP/AVP 96 8 0 101", "m=audio 30002 RTP/AVP 8 0", "a=label:1", "a=label:2"] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert_eq!(text.matches("a=sendonly").count(), 2);
        let answer_ = read(
            "m=audio 4000 RTP/AVP 110 0\r\na=rtpmap:110 opus/48000/2\r\na=recvonly\r\n\
             m=audio 4010 RTP/AVP 8\r\na=rtcp:4100\r\na=inactive\r\n",
        );
        let [one, two] = taken(&sent, &answer_);
        let Takes::Sound { rtp, rtcp, numbers } = one else { panic!("{one:?}") };
        assert_eq!((rtp.to_string(), rtcp.to_string()), ("10.0.0.9:4000".into(), "10.0.0.9:4001".into()));
        // Another number for Opus, mu-law for both laws, no keys.
        assert_eq!([96, 8, 0, 101].map(|n: usize| numbers[n]), [Some(110), Some(0), Some(0), None]);
        assert_eq!(two, Takes::Paused);
        let again = answer(&sent, &answer_, &[Takes::Nothing, Takes::Paused]).to_string();
        assert!(again.contains("m=audio 0 RTP/AVP") && again.contains("a=inactive"), "{again}");
        for nothing in ["m=audio 0 RTP/AVP 8\r\nm=audio 0 RTP/AVP 8\r\n", "m=video 4 RTP/AVP 8\r\n", ""] {
            assert_eq!(taken(&sent, &read(nothing)), [Takes::Nothing, Takes::Nothing], "{nothing}");
        }
        assert_eq!(taken(&sent, &read("m=audio 4 RTP/AVP 18\r\n"))[0], Takes::Nothing);
    }
}
