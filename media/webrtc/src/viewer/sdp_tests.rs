#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

const CHROMIUM: &str = include_str!("../../testdata/chromium_whep.sdp");
const CHROMIUM_TWO_WAY: &str = include_str!("../../testdata/chromium_whip.sdp");
const FIREFOX: &str = include_str!("../../testdata/firefox_whep.sdp");

fn ours<'a>(candidates: &'a [SocketAddr]) -> Ours<'a> {
    Ours {
        ufrag: "ourfrag",
        pwd: "ourpassword0123456789ab",
        fingerprint: "AA:BB",
        candidates,
        session: 7,
        cname: "skybridge-1",
    }
}

fn answered(sdp: &str, audio: bool) -> (Offer, Plan, String) {
    let offer = Offer::parse(sdp).unwrap();
    let plan = plan(&offer, audio, [11, 12, 13]).unwrap();
    let candidates: Vec<SocketAddr> = ["192.0.2.2:8189", "127.0.0.1:8189"].map(|a| a.parse().unwrap()).to_vec();
    let text = answer(&offer, &plan, &ours(&candidates));
    (offer, plan, text)
}

fn sections(sdp: &str) -> Vec<Vec<&str>> {
    let mut out = vec![Vec::new()];
    for line in sdp.lines() {
        if line.starts_with("m=") {
            out.push(Vec::new());
        }
        out.last_mut().unwrap().push(line);
    }
    out
}

#[test]
fn chromium_viewer() {
    let (_, plan, text) = answered(CHROMIUM, true);
    let (_, v) = plan.video.unwrap();
    assert!(v.h264.len() >= 2 && v.h264.iter().all(|f| f.rtx.is_some()));
    assert!(v.vp8.as_ref().unwrap().rtx.is_some());
    assert!(v.playout_delay.is_some() && v.abs_send_time.is_some());
    let base = v.h264_for(66).unwrap();
    assert!((base.profile, base.constrained) == (66, true));
    assert_eq!(v.h264_for(77).unwrap().profile, 77);
    assert_eq!(v.h264_for(100).unwrap().profile, 66, "high is not offered: the baseline one carries it");
    let (_, a) = plan.audio.unwrap();
    assert_eq!((a.opus, a.pcma, a.pcmu), (Some(111), Some(8), Some(0)));
    let s = sections(&text);
    assert_eq!(s.len(), 3);
    assert!(s[0].contains(&"a=ice-lite") && s[0].contains(&"a=group:BUNDLE 0 1"));
    for m in &s[1..] {
        for line in [
            "a=setup:passive",
            "a=rtcp-mux",
            "a=sendonly",
            "a=end-of-candidates",
            "a=fingerprint:sha-256 AA:BB",
            "a=ice-ufrag:ourfrag",
        ] {
            assert!(m.contains(&line), "{line}");
        }
        assert_eq!(m.iter().filter(|l| l.starts_with("a=candidate:")).count(), 2);
    }
    assert!(s[1].contains(&"a=ssrc-group:FID 11 12"));
    assert!(s[1].iter().any(|l| l.ends_with("nack pli")) && s[1].iter().any(|l| l.ends_with("goog-remb")));
    assert!(!text.contains("transport-cc") && !text.contains("VP9") && !text.contains("packetization-mode=0"));
    assert!(text.lines().all(|l| !l.contains("rtx") || l.starts_with("a=rtpmap")));
    assert!(text.split("\r\n").count() > 30 && !text.replace("\r\n", "").contains('\n'));
}

#[test]
fn firefox_viewer() {
    let (_, plan, text) = answered(FIREFOX, true);
    let (_, v) = plan.video.unwrap();
    assert!(v.vp8.is_some());
    assert!(plan.audio.unwrap().1.opus.is_some());
    assert!(text.contains("a=setup:passive"));
}

#[test]
fn without_audio_the_section_stays_in_the_bundle_and_is_silent() {
    let (_, plan, text) = answered(CHROMIUM, false);
    assert!(plan.audio.is_none());
    let s = sections(&text);
    assert!(s[0].contains(&"a=group:BUNDLE 0 1"));
    assert!(s[2].contains(&"a=inactive") && !s[2].contains(&"a=sendonly"));
}

#[test]
fn data_channels_are_refused() {
    let (offer, _, text) = answered(CHROMIUM_TWO_WAY, true);
    assert_eq!(offer.sections.len(), 3);
    let s = sections(&text);
    assert!(s[3][0].starts_with("m=application 0 "), "{}", s[3][0]);
    assert!(s[0].contains(&"a=group:BUNDLE 0 1"));
}

#[test]
fn what_is_wrong_is_said() {
    assert_eq!(Offer::parse("hello").unwrap_err(), SdpError::Syntax);
    assert_eq!(Offer::parse("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n").unwrap_err(), SdpError::NoIce);
    assert_eq!(Offer::parse(&CHROMIUM.replace("setup:actpass", "setup:passive")).unwrap_err(), SdpError::Setup);
    assert_eq!(Offer::parse(&CHROMIUM.replace("sha-256", "sha-1")).unwrap_err(), SdpError::NoFingerprint);
    assert_eq!(Offer::parse(&"v=0\r\n".repeat(40_000)).unwrap_err(), SdpError::TooLong);
    assert_eq!(
        Offer::parse(&format!("v=0\r\n{}", "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n".repeat(40))).unwrap_err(),
        SdpError::TooLong
    );
    let none = Offer::parse(&CHROMIUM.replace("a=recvonly", "a=sendonly")).unwrap();
    assert_eq!(plan(&none, true, [1, 2, 3]).unwrap_err(), SdpError::NothingInCommon);
}

#[test]
fn mutated_offers_do_no_harm() {
    // A small deterministic generator: the same cases each time.
    let mut x = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = move |n: usize| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x % n as u64) as usize
    };
    for source in [CHROMIUM, CHROMIUM_TWO_WAY, FIREFOX] {
        for _ in 0..1500 {
            let mut b = source.as_bytes().to_vec();
            for _ in 0..=next(8) {
                let at = next(b.len());
                match next(4) {
                    0 => b[at] = b" :/=;0129\r\nav\xff"[next(14)],
                    1 => b.truncate(at.max(10)),
                    2 => {
                        let end = (at + next(200)).min(b.len());
                        let part = b[at..end].to_vec();
                        b.splice(at..at, part);
                    }
                    _ => {
                        b.drain(at..(at + next(40)).min(b.len()));
                    }
                }
                if b.len() < 10 {
                    break;
                }
            }
            let text = String::from_utf8_lossy(&b);
            if let Ok(offer) = Offer::parse(&text)
                && let Ok(p) = plan(&offer, true, [1, 2, 3])
            {
                let a = answer(&offer, &p, &ours(&[]));
                // Nothing of the offer can inject a line into the answer.
                assert!(!a.replace("\r\n", "").contains(['\r', '\n']));
            }
        }
    }
}

#[test]
fn fingerprints_are_compared() {
    let der = b"not really a certificate";
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    let hex: Vec<String> = hash.as_ref().iter().map(|b| format!("{b:02X}")).collect();
    let f = Fingerprint::parse(&format!("sha-256 {}", hex.join(":"))).unwrap();
    assert!(f.matches(der) && !f.matches(b"another"));
    assert!(Fingerprint::parse("sha-256 AA:BB").is_none());
    assert!(Fingerprint::parse("sha-1 AA").is_none());
}

#[test]
fn a_browser_with_h265_gets_it_as_it_is() {
    let line = CHROMIUM.lines().find(|l| l.starts_with("m=video")).unwrap();
    let with = format!(
        "{line} 88 89\r\na=rtpmap:88 H265/90000\r\na=rtcp-fb:88 nack pli\r\na=fmtp:88 level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST\r\n\
         a=rtpmap:89 rtx/90000\r\na=fmtp:89 apt=88"
    );
    let (_, plan, text) = answered(&CHROMIUM.replace(line, &with), true);
    let (_, v) = plan.video.unwrap();
    assert_eq!(v.h265.map(|f| (f.pt, f.rtx)), Some((88, Some(89))));
    assert!(text.contains("a=rtpmap:88 H265/90000\r\n") && text.contains("a=fmtp:89 apt=88\r\n"));
    // In several RTP streams nobody here sends it; without it the plan has none.
    let several = CHROMIUM.replace(line, &with.replace("SRST", "MRST"));
    assert!(answered(&several, true).1.video.unwrap().1.h265.is_none());
    assert!(answered(CHROMIUM, true).1.video.unwrap().1.h265.is_none());
}
