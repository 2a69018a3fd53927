//! H.264 in offers and answers (RFC 6184 section 8): formats, levels, and what a far end may be sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::nal::VideoInfo;
use crate::sdp::{Media, RtpMap, Sdp};

/// Most parameter sets taken from one `sprop-parameter-sets`, and the largest of them in bytes.
const MAX_SETS: usize = 8;
const MAX_SET: usize = 1024;
/// The level that our answers and offers state: 4.0, that is 1920x1080 at 30 pictures a second.
const OUR_LEVEL: u8 = 40;

/// What a decoder must know, in rising order: who decodes one decodes those before it. Baseline counts as constrained
/// baseline: nobody uses what it has beyond that (slice groups, arbitrary slice order).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    Baseline,
    Main,
    High,
}

impl Profile {
    /// Of `profile_idc` and the constraint flags (RFC 6184 8.1, table 5); none: a profile that we neither send nor take.
    pub fn of(idc: u8, flags: u8) -> Option<Profile> {
        match idc {
            66 => Some(Profile::Baseline),
            // Main that keeps to baseline as well.
            77 if flags & 0x80 != 0 => Some(Profile::Baseline),
            77 => Some(Profile::Main),
            88 if flags & 0x80 != 0 => Some(Profile::Baseline),
            100 => Some(Profile::High),
            _ => None,
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Baseline => "Baseline",
            Profile::Main => "Main",
            Profile::High => "High",
        }
    }
}

/// (level_idc, macroblocks a second, macroblocks a picture, kbit/s) of ITU-T H.264 table A-1.
const LEVELS: [(u8, u32, u32, u32); 18] = [
    (9, 1_485, 99, 128),
    (10, 1_485, 99, 64),
    (11, 3_000, 396, 192),
    (12, 6_000, 396, 384),
    (13, 11_880, 396, 768),
    (20, 11_880, 396, 2_000),
    (21, 19_800, 792, 4_000),
    (22, 20_250, 1_620, 4_000),
    (30, 40_500, 1_620, 10_000),
    (31, 108_000, 3_600, 14_000),
    (32, 216_000, 5_120, 20_000),
    (40, 245_760, 8_192, 20_000),
    (41, 245_760, 8_192, 50_000),
    (42, 522_240, 8_704, 50_000),
    (50, 589_824, 22_080, 135_000),
    (51, 983_040, 36_864, 240_000),
    (52, 2_073_600, 36_864, 240_000),
    (62, 16_711_680, 139_264, 800_000),
];

/// One H.264 format of an offer or answer (RFC 6184 8.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pub profile: Profile,
    /// `profile_idc` and constraint flags as written: an answer repeats them.
    pub profile_bytes: [u8; 2],
    pub level_idc: u8,
    /// 0 (single NAL units) or 1 (aggregates and fragments too).
    pub mode: u8,
    /// Each side may send another level than it receives.
    pub asymmetry: bool,
    /// Macroblocks a picture, macroblocks a second and kbit/s: of the level, or higher where the format says so.
    pub max_fs: u32,
    pub max_mbps: u32,
    pub max_kbps: u32,
    /// `sprop-parameter-sets`: for a far end that sends none in band.
    pub sets: Vec<Bytes>,
}

impl Format {
    /// Reads format parameters. None: interleaved mode, an unknown profile or an unreadable value. What is not said has
    /// the default of RFC 6184: baseline, level 1, mode 0.
    pub fn parse(fmtp: Option<&str>) -> Option<Format> {
        let value = |name: &str| {
            fmtp?.split(';').find_map(|p| {
                let (k, v) = p.split_once('=')?;
                k.trim().eq_ignore_ascii_case(name).then(|| v.trim())
            })
        };
        let id = value("profile-level-id").unwrap_or("42000A");
        let byte = |at: usize| u8::from_str_radix(id.get(at..at + 2)?, 16).ok();
        let (idc, flags, mut level_idc) = (byte(0)?, byte(2)?, byte(4)?);
        let profile = Profile::of(idc, flags)?;
        // Level 1b is written as 1.1 with a flag in the older profiles.
        if level_idc == 11 && flags & 0x10 != 0 && profile != Profile::High {
            level_idc = 9;
        }
        let mode = value("packetization-mode").map_or(Some(0), |m| m.parse().ok()).filter(|m| *m <= 1)?;
        let level = LEVELS.iter().rev().find(|l| l.0 <= level_idc)?;
        let number = |name: &str, least: u32| {
            value(name).and_then(|v| v.parse::<u32>().ok()).unwrap_or(0).clamp(least, 1_000_000_000.max(least))
        };
        // `max-br` counts in 1,000 bit/s as the table does (RFC 6184 8.1).
        let kbps = if profile == Profile::High { level.3 + level.3 / 4 } else { level.3 };
        let sets = value("sprop-parameter-sets").unwrap_or("").split(',').take(MAX_SETS);
        let sets = sets.filter_map(|s| STANDARD.decode(s.trim()).ok()).filter(|s| !s.is_empty() && s.len() <= MAX_SET);
        Some(Format {
            profile,
            profile_bytes: [idc, flags],
            level_idc,
            mode,
            asymmetry: value("level-asymmetry-allowed") == Some("1"),
            max_fs: number("max-fs", level.2),
            max_mbps: number("max-mbps", level.1),
            max_kbps: number("max-br", kbps),
            sets: sets.map(Bytes::from).collect(),
        })
    }

    /// The parameters of an answer to this format: same profile and mode; our own level where levels may differ, else that
    /// of the offer (RFC 6184 8.2.2).
    pub fn answer(&self) -> String {
        let [idc, flags] = self.profile_bytes;
        let own = if self.asymmetry { self.level_idc.max(OUR_LEVEL) } else { self.level_idc };
        // 1b as it came: 11 with its flag.
        let level = if own == 9 && self.profile != Profile::High { 11 } else { own };
        let asymmetry = if self.asymmetry { ";level-asymmetry-allowed=1" } else { "" };
        format!("profile-level-id={idc:02x}{flags:02x}{level:02x};packetization-mode={}{asymmetry}", self.mode)
    }

    /// Whether a picture of this kind may be sent to who stated the format. The level that the picture's own SPS states is
    /// left out: cameras state far more than they use.
    pub fn takes(&self, info: &VideoInfo) -> bool {
        let [idc, flags, _] = info.profile_level_id;
        let (w, h) = (info.width.div_ceil(16), info.height.div_ceil(16));
        // A picture's side is at most the root of 8 times its area (H.264 A.3.1).
        let side = 8 * u64::from(self.max_fs);
        Profile::of(idc, flags).is_some_and(|p| p <= self.profile)
            && w.saturating_mul(h) <= self.max_fs
            && u64::from(w).pow(2) <= side
            && u64::from(h).pow(2) <= side
    }
}

/// The formats that we offer: high, constrained baseline, and that in mode 0 for old units. (payload type, parameters)
pub const OFFERED: [(u8, &str); 3] = [
    (102, "profile-level-id=640028;packetization-mode=1;level-asymmetry-allowed=1"),
    (103, "profile-level-id=42e028;packetization-mode=1;level-asymmetry-allowed=1"),
    (105, "profile-level-id=42e028;packetization-mode=0;level-asymmetry-allowed=1"),
];

/// The best H.264 format of a section: fragments before single units, then the higher profile, then the higher level. The
/// higher the profile, the fewer pictures must be transcoded for it.
pub fn best(m: &Media) -> Option<(RtpMap, Format)> {
    let maps = m.rtpmaps().into_iter().filter(|r| r.encoding.eq_ignore_ascii_case("H264") && r.clock_rate == 90_000);
    let formats = maps.filter_map(|r| Some((Format::parse(m.fmtp(r.payload_type))?, r)));
    // The first of equals: the offer's own order counts then.
    let best = formats.reduce(|a, b| {
        let rank = |f: &Format| (f.mode, f.profile, f.max_fs);
        if rank(&b.0) > rank(&a.0) { b } else { a }
    });
    best.map(|(format, map)| (map, format))
}

/// What both sides agreed on for a picture, besides addresses and numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoTerms {
    /// The far end's format.
    pub format: Format,
    /// The far end's bandwidth line in kbit/s (RFC 8866 5.8, RFC 3890); none: it stated none.
    pub kbps: Option<u32>,
    /// Agreed ways to ask for a key frame (RFC 4585, RFC 5104); neither: INFO (RFC 5168).
    pub pli: bool,
    pub fir: bool,
}

/// `b=TIAS` before `b=AS`, of the section before the session.
fn bandwidth(sdp: &Sdp, m: &Media) -> Option<u32> {
    let read = |lines: &[crate::sdp::SdpLine]| {
        let find = |name: &str, unit: u64| {
            lines.iter().filter(|l| l.kind == 'b').find_map(|l| {
                let (k, v) = l.value.split_once(':')?;
                let value = v.trim().parse::<u64>().ok()?;
                k.trim().eq_ignore_ascii_case(name).then(|| u32::try_from(value / unit).unwrap_or(u32::MAX))
            })
        };
        find("TIAS", 1000).or_else(|| find("AS", 1)).filter(|k| *k > 0)
    };
    read(&m.lines).or_else(|| read(&sdp.session))
}

/// The terms of a section whose format was chosen. Feedback lines count under `RTP/AVP` too: many units write them there.
pub fn terms(sdp: &Sdp, m: &Media, payload_type: u8, format: Format) -> VideoTerms {
    let number = payload_type.to_string();
    let feedback = |what: &str| {
        m.attributes("rtcp-fb").any(|v| {
            let mut words = v.split_whitespace();
            let target = words.next().is_some_and(|t| t == "*" || t == number);
            target && words.map(str::to_ascii_lowercase).eq(what.split(' ').map(str::to_owned))
        })
    };
    VideoTerms { format, kbps: bandwidth(sdp, m), pli: feedback("nack pli"), fir: feedback("ccm fir") }
}

/// Why an offered picture was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VideoRefusal {
    /// No H.264 among what was offered.
    NoCodec(String),
    /// H.264 only in a form that we do not speak: interleaved mode or an unknown profile.
    NoFormat,
    /// Only a second picture (slides) was offered.
    ContentOnly,
    /// The transport is none that we speak for pictures.
    Transport(String),
}

impl std::fmt::Display for VideoRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            VideoRefusal::NoCodec(offered) => write!(f, "no H.264 offered, only {offered}"),
            VideoRefusal::NoFormat => f.write_str("H.264 only in interleaved mode or an unknown profile"),
            VideoRefusal::ContentOnly => f.write_str("only a content stream offered"),
            VideoRefusal::Transport(proto) => write!(f, "video over {proto}"),
        }
    }
}

/// Whether a section is the terminal's main picture: not slides or another second one (RFC 4796).
pub fn is_main(m: &Media) -> bool {
    m.kind == "video" && m.attribute("content").is_none_or(|c| c.split(',').any(|c| c.trim() == "main"))
}

/// Why nothing of the video in this offer can be taken; none: there is none, or it can.
pub fn refusal(offer: &Sdp, usable: impl Fn(&Media) -> bool) -> Option<VideoRefusal> {
    let offered = || offer.media.iter().filter(|m| m.kind == "video" && m.port != 0);
    offered().next()?;
    let Some(main) = offered().find(|m| is_main(m)) else { return Some(VideoRefusal::ContentOnly) };
    let Some(main) = offered().find(|m| is_main(m) && usable(m)) else {
        return Some(VideoRefusal::Transport(main.proto.chars().take(40).collect()));
    };
    if best(main).is_some() {
        return None;
    }
    let maps = main.rtpmaps();
    if maps.iter().any(|r| r.encoding.eq_ignore_ascii_case("H264")) {
        return Some(VideoRefusal::NoFormat);
    }
    let names: Vec<String> = maps.iter().take(8).map(|r| r.encoding.chars().take(20).collect()).collect();
    Some(VideoRefusal::NoCodec(names.join(", ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn info(width: u32, height: u32, profile: [u8; 2]) -> VideoInfo {
        VideoInfo { width, height, profile_level_id: [profile[0], profile[1], 0x28] }
    }

    #[test]
    fn levels_profiles_and_their_extensions() {
        let f = Format::parse(Some("profile-level-id=42e01f; packetization-mode=1")).unwrap();
        assert_eq!((f.profile, f.mode, f.max_fs, f.max_kbps), (Profile::Baseline, 1, 3600, 14_000));
        assert!(f.takes(&info(1280, 720, [66, 0xC0])) && !f.takes(&info(1920, 1080, [66, 0xC0])));
        assert!(!f.takes(&info(640, 360, [100, 0])), "high to who has baseline");
        // 3600 macroblocks, and yet too wide.
        assert!(!f.takes(&info(16 * 200, 16 * 18, [66, 0xC0])));
        let f = Format::parse(Some("profile-level-id=64001F;max-fs=8160;max-mbps=245000;max-br=4000")).unwrap();
        assert_eq!((f.profile, f.mode, f.max_fs, f.max_mbps, f.max_kbps), (Profile::High, 0, 8160, 245_000, 17_500));
        assert!(f.takes(&info(1920, 1080, [77, 0])), "main to who has high");
        // What is not said: baseline level 1, mode 0. QCIF and no more.
        let f = Format::parse(None).unwrap();
        assert_eq!((f.profile_bytes, f.level_idc, f.mode, f.max_fs), ([66, 0], 10, 0, 99));
        // Level 1b, interleaved, extended, nonsense.
        let f = Format::parse(Some("profile-level-id=42f00b")).unwrap();
        assert_eq!(
            (f.level_idc, f.max_kbps, f.answer().as_str()),
            (9, 128, "profile-level-id=42f00b;packetization-mode=0")
        );
        for bad in ["packetization-mode=2", "profile-level-id=58001f", "profile-level-id=é", "profile-level-id=4200"] {
            assert_eq!(Format::parse(Some(bad)), None, "{bad}");
        }
    }

    #[test]
    fn an_answer_keeps_profile_and_mode() {
        let f = Format::parse(Some("profile-level-id=428014;packetization-mode=1;level-asymmetry-allowed=1")).unwrap();
        assert_eq!(f.answer(), "profile-level-id=428028;packetization-mode=1;level-asymmetry-allowed=1");
        let f = Format::parse(Some("profile-level-id=4d0014")).unwrap();
        assert_eq!(f.answer(), "profile-level-id=4d0014;packetization-mode=0");
        for (_, fmtp) in OFFERED {
            assert!(Format::parse(Some(fmtp)).is_some());
        }
    }

    #[test]
    fn the_best_format_of_a_terminal_and_its_terms() {
        let sdp = Sdp::parse(
            b"v=0\nc=IN IP4 1.2.3.4\nb=AS:2000\nm=video 4002 RTP/AVP 97 98 99 100\na=rtpmap:97 H264/90000\na=fmtp:97 profile-level-id=42801e\n\
              a=rtpmap:98 H264/90000\na=fmtp:98 profile-level-id=42801e;packetization-mode=1\na=rtpmap:99 H264/90000\n\
              a=fmtp:99 profile-level-id=640029;packetization-mode=1;sprop-parameter-sets=Z0IAKeKQFgJNgScFAQXh4kRU,aM48gA==\n\
              a=rtpmap:100 H265/90000\nb=TIAS:512000\na=rtcp-fb:* nack pli\na=rtcp-fb:98 ccm fir\na=rtcp-fb:* nack\n",
        )
        .unwrap();
        let (map, format) = best(&sdp.media[0]).unwrap();
        assert_eq!((map.payload_type, format.profile, format.sets.len()), (99, Profile::High, 2));
        assert_eq!(crate::h264::nal_type(format.sets[0][0]), crate::h264::NAL_SPS);
        let t = terms(&sdp, &sdp.media[0], 99, format);
        assert_eq!((t.kbps, t.pli, t.fir), (Some(512), true, false));
    }

    #[test]
    fn a_refused_picture_has_a_reason() {
        let why = |media: &str| {
            let sdp = Sdp::parse(format!("v=0\nc=IN IP4 1.2.3.4\n{media}").as_bytes()).unwrap();
            refusal(&sdp, |m| m.proto == "RTP/AVP").map(|r| r.to_string())
        };
        assert_eq!(why("m=audio 4 RTP/AVP 8\n"), None);
        assert_eq!(why("m=video 0 RTP/AVP 96\na=rtpmap:96 VP8/90000\n"), None);
        assert_eq!(why("m=video 6 RTP/AVP 96\na=rtpmap:96 H264/90000\n"), None);
        let only = |r: &str| Some(r.to_owned());
        assert_eq!(
            why("m=video 6 RTP/AVP 96 97\na=rtpmap:96 VP8/90000\na=rtpmap:97 H265/90000\n"),
            only("no H.264 offered, only VP8, H265")
        );
        assert_eq!(
            why("m=video 6 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=2\n"),
            only("H.264 only in interleaved mode or an unknown profile")
        );
        assert_eq!(
            why("m=video 6 RTP/AVP 96\na=rtpmap:96 H264/90000\na=content:slides\n"),
            only("only a content stream offered")
        );
        assert_eq!(why("m=video 6 RTP/SAVP 96\na=rtpmap:96 H264/90000\n"), only("video over RTP/SAVP"));
    }
}
