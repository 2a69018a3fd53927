//! Entry points for fuzz targets and mutation tests: bytes in, nothing may panic or grow without bound.

use std::time::{Duration, Instant};

use crate::codec::Codec;

fn pieces(data: &[u8]) -> impl Iterator<Item = (&[u8], u8)> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (head, tail) = rest.split_first()?;
        let n = (1 + usize::from(*head) * 8).min(tail.len());
        let (piece, next) = tail.split_at(n);
        rest = next;
        Some((piece, *head))
    })
}

/// Program stream demuxer: the first byte of each piece gives its length and the marker.
pub fn ps(data: &[u8]) {
    let start = Instant::now();
    let mut d = crate::ps::PsDemuxer::new().hold_until_key(data.len().is_multiple_of(2));
    for (i, (p, head)) in pieces(data).enumerate() {
        let at = start + Duration::from_millis(i as u64);
        if head == 0xFF {
            d.lost();
        }
        d.push(p, i as u32 / 4 * 3600, head & 1 != 0, at);
        while d.poll().is_some() {}
    }
    d.flush();
    while d.poll().is_some() {}
    // and the bytes as they are
    let mut d = crate::ps::PsDemuxer::new();
    d.push(data, 0, true, start);
    d.flush();
    while d.poll().is_some() {}
}

/// Transport stream demuxer, and the program stream demuxer that takes what it gives.
pub fn ts(data: &[u8]) {
    let start = Instant::now();
    let mut d = crate::ts::TsDemuxer::new();
    for (p, head) in pieces(data) {
        if head == 0xFF {
            d.lost();
        }
        d.push(p);
        let _ = d.changed_map();
        while d.poll().is_some() {}
    }
    // Two sync bytes in front, so that the sniffer takes it for what it is.
    let mut lead = vec![0xFF; 2 * crate::ts::PACKET];
    (lead[0], lead[1], lead[2], lead[3]) = (0x47, 0x1F, 0xFF, 0x10);
    (lead[188], lead[189], lead[190], lead[191]) = (0x47, 0x1F, 0xFF, 0x11);
    let mut d = crate::ps::PsDemuxer::new().hold_until_key(false);
    d.push(&lead, 0, false, start);
    for (i, p) in data.chunks(7 * crate::ts::PACKET).enumerate() {
        d.push(p, i as u32 * 3600, true, start + Duration::from_millis(40 * i as u64));
        while d.poll().is_some() {}
    }
    d.flush();
    while d.poll().is_some() {}
}

/// RTP header and the sniffer on its payload.
pub fn rtp(data: &[u8]) {
    if let Ok(p) = crate::rtp::RtpPacket::parse(data) {
        let _ = crate::ps::sniff(p.payload);
    }
}

/// RTCP, and what was read written and read again.
pub fn rtcp(data: &[u8]) {
    if let Ok(all) = crate::rtcp::Rtcp::parse_compound(data) {
        let _ = crate::rtcp::Rtcp::parse_compound(&crate::rtcp::Rtcp::write_compound(&all));
    }
}

/// SDP with every typed view and an answer.
pub fn sdp(data: &[u8]) {
    use crate::phone::{LocalMedia, PhoneCodec, phone_answer, phone_offer, phone_read_answer};
    let Ok(s) = crate::sdp::Sdp::parse(data) else { return };
    let _ = (s.to_string(), s.origin(), s.time(), s.y(), s.f());
    let _ = crate::gb::GbRemote::read(&s);
    let sound = [Codec::G711A, Codec::Opus, Codec::AmrWb, Codec::Amr, Codec::G729, Codec::ComfortNoise];
    let codecs: Vec<PhoneCodec> =
        sound.into_iter().flat_map(PhoneCodec::forms).chain([PhoneCodec::usual(Codec::H264)]).collect();
    let mut local = LocalMedia::audio(std::net::Ipv4Addr::LOCALHOST.into(), 4000);
    local.video_port = Some(4002);
    let _ = phone_answer(&s, &local, &codecs);
    let _ = phone_read_answer(&phone_offer(&local, &codecs), &s, &codecs);
}

/// TCP deframer.
pub fn tcp_framing(data: &[u8]) {
    let mut d = crate::tcp_framing::Deframer::new();
    for (p, _) in pieces(data) {
        d.push(p);
        while d.next_packet().is_some() {}
    }
}

/// H.264 and H.265: access units, parameter sets, depacketiser.
pub fn h264(data: &[u8]) {
    for codec in [Codec::H264, Codec::H265] {
        let now = Instant::now();
        for au in crate::h264::split(codec, data) {
            let _ = crate::nal_rtp::packetize_nals(codec, &au.payload);
        }
        let _ = crate::nal_rtp::packetize_nals(codec, data);
        let _ = crate::h264::parse_sps(data);
        let _ = crate::h265::parse_sps(data);
        let _ = (crate::h264::is_recovery_point(data), crate::h264::is_intra_slice(data));
        let mut d = crate::nal_rtp::NalDepacketizer::new(codec).with_recovery_keys(true);
        for (i, (p, head)) in pieces(data).enumerate() {
            if head == 0xFF {
                d.lost();
            }
            let _ = d.push(p, u32::from(head >> 5) + i as u32 / 3, head & 1 != 0, now);
            while d.poll().is_some() {}
        }
    }
}

/// VP8 descriptor and depacketiser.
pub fn vp8(data: &[u8]) {
    let mut d = crate::vp8::Vp8Depacketizer::new();
    let now = Instant::now();
    for (p, head) in pieces(data) {
        let _ = d.push(p, u32::from(head >> 4), head & 1 != 0, now);
        while d.poll().is_some() {}
    }
    let _ = crate::vp8::dimensions(data);
    let _ = crate::vp8::packetize(data);
}

/// Telephone events, INFO bodies and the small audio parsers.
pub fn dtmf(data: &[u8]) {
    let mut r = crate::dtmf::DtmfReceiver::new(8000);
    let now = Instant::now();
    for (p, head) in pieces(data) {
        r.push(p, u32::from(head) << 12, now);
        while r.poll().is_some() {}
    }
    let _ = crate::dtmf::parse_info("application/dtmf-relay", data);
    let _ = crate::dtmf::parse_info("application/dtmf", data);
    let _ = crate::opus::duration(data);
    let _ = crate::aac::adts_frame(data);
    let _ = crate::aac::AacConfig::parse(data);
    let mut aac = crate::rtp_payload::Depacketizer::new(Codec::Aac);
    let _ = aac.push(data, 0, true, now);
}

/// Floor messages of MCPTT and the key in ED-137's header extension: what was read is written so that it is read again.
pub fn floor(data: &[u8]) {
    if let Ok(messages) = crate::mcptt::Message::parse_all(data) {
        let mut out = Vec::new();
        messages.iter().for_each(|m| m.write(&mut out));
        assert_eq!(crate::mcptt::Message::parse_all(&out).as_ref(), Ok(&messages));
    }
    for profile in [crate::ed137::PROFILE, crate::ed137::PROFILE_2009] {
        if let Ok(Some(radio)) = crate::ed137::Radio::parse(profile, data) {
            assert_eq!(crate::ed137::Radio::parse(profile, &radio.word(profile)), Ok(Some(radio)));
        }
    }
}

/// Sound files: what was read is written so that it is read again, and is as long as its bound says.
pub fn wav(data: &[u8]) {
    if let Ok(wav) = crate::wav::Wav::parse(data, 10) {
        assert!(wav.seconds() <= 10.0);
        assert_eq!(crate::wav::Wav::parse(&wav.write(), 10).as_ref(), Ok(&wav));
    }
}

/// AMR payloads in both framings: what was read is written so that it is read again; format parameters.
pub fn amr(data: &[u8]) {
    use crate::amr::{Form, Terms, next_stored, pack, unpack};
    for (wide, aligned) in [(false, false), (false, true), (true, false), (true, true)] {
        let form = Form { wide, aligned };
        let mut stored = Vec::new();
        if let Ok((request, frames)) = unpack(form, data, &mut stored) {
            let (mut wire, mut again) = (Vec::new(), Vec::new());
            assert_eq!(pack(form, request, &stored, &mut wire), frames);
            assert_eq!(unpack(form, &wire, &mut again), Ok((request, frames)));
            assert_eq!(stored, again);
        }
        let _ = pack(form, 15, data, &mut Vec::new());
        let mut rest = data;
        while next_stored(wide, &mut rest).is_some() {}
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let terms = Terms::parse(Some(text));
        let _ = (terms.answer(), terms.mode(true, 8), terms.mode(false, 15));
    }
}
