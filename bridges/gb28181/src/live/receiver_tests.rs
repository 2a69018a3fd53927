#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::IpAddr;

use media_core::ps_mux::PsMuxer;
use media_core::rtp::RtpHeader;

use super::*;

const SSRC: u32 = 200_000_137;
const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00,
    0x00, 0x03, 0x00, 0xc8, 0x3c, 0x60, 0xc6, 0x58,
];
const LIMITS: Limits = Limits { first_packet: 10, loss: 10, first_key: 10, reorder: Duration::from_millis(100) };

/// A device that makes packets, and the receiver they go to.
struct Bench {
    r: Receiver,
    t: Instant,
    sequence: u16,
    mux: PsMuxer,
    from: SocketAddr,
    ssrc: u32,
}

/// What came out.
#[derive(Default)]
struct Got {
    frames: Vec<(TrackId, i64, bool)>,
    notes: Vec<(Step, Outcome, String)>,
    tracks: Vec<TrackInfo>,
    epochs: usize,
    warned: Vec<&'static str>,
}

fn nal(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u32).to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

fn slice(kind: u8, size: usize) -> Vec<u8> {
    let mut out = vec![kind, 0x88];
    out.extend(vec![0xAB; size]);
    out
}

fn key_picture() -> Vec<u8> {
    [nal(SPS), nal(&[0x68, 0xEB, 0xE3, 0xCB]), nal(&slice(0x65, 4000))].concat()
}

impl Bench {
    fn new(strict_ssrc: bool, strict_source: bool, encoding: GbEncoding) -> Bench {
        let rules = Rules { ssrc: SSRC, device: vec![IpAddr::from([10, 0, 0, 1])], strict_ssrc, strict_source };
        let t = Instant::now();
        Bench {
            r: Receiver::new(LIMITS, rules, encoding, 30_000, t),
            t,
            sequence: 65_530,
            mux: PsMuxer::new(Some(Codec::H264), Some(Codec::G711A), &Bytes::new()),
            from: SocketAddr::from(([10, 0, 0, 1], 15_060)),
            ssrc: SSRC,
        }
    }

    fn packets(&mut self, payload: &[u8], timestamp: u32) -> Vec<Vec<u8>> {
        let count = payload.len().div_ceil(1400);
        let mut out = Vec::new();
        for (n, part) in payload.chunks(1400).enumerate() {
            let h = RtpHeader {
                marker: n + 1 == count,
                payload_type: 96,
                sequence: self.sequence,
                timestamp,
                ssrc: self.ssrc,
            };
            self.sequence = self.sequence.wrapping_add(1);
            let mut packet = Vec::new();
            h.write(&mut packet, &[part]);
            out.push(packet);
        }
        out
    }

    /// One picture and 40 ms of sound as packets.
    fn pack(&mut self, n: u32, key: bool) -> Vec<Vec<u8>> {
        let pts = 90_000 + i64::from(n) * 3600;
        let mut ps = Vec::new();
        let picture = if key { key_picture() } else { nal(&slice(0x41, 2000)) };
        self.mux.video(&picture, pts, pts, key, &mut ps);
        self.mux.audio(&[0xD5; 320], pts, &mut ps);
        self.packets(&ps, pts as u32)
    }

    fn send(&mut self, packets: &[Vec<u8>]) {
        for p in packets {
            self.r.packet(self.t, self.from, p);
        }
    }

    fn play(&mut self, numbers: std::ops::Range<u32>, key_every: u32) {
        for n in numbers {
            let packets = self.pack(n, key_every > 0 && n % key_every == 0);
            self.send(&packets);
            self.t += Duration::from_millis(40);
            self.r.tick(self.t);
        }
    }

    fn got(&mut self) -> Got {
        let mut got = Got::default();
        while let Some(out) = self.r.poll() {
            match out {
                Out::Note(s, o, t) => got.notes.push((s, o, t)),
                Out::Tracks(t) => got.tracks = t,
                Out::Frame(f) => got.frames.push((f.track, f.pts, f.key)),
                Out::Epoch => got.epochs += 1,
                Out::Warn(fault) => got.warned.push(fault.map_or("", |f| f.code)),
            }
        }
        got
    }

    fn code(&self) -> &'static str {
        self.r.judge(self.t).map_or_else(|f| f.code, |()| "good")
    }

    fn wait(&mut self, seconds: u64) {
        self.t += Duration::from_secs(seconds);
        self.r.tick(self.t);
    }
}

fn pictures(got: &Got) -> Vec<i64> {
    got.frames.iter().filter(|f| f.0 == TrackId::VIDEO).map(|f| f.1).collect()
}

#[test]
fn pictures_and_sound_come_on_one_origin_with_every_step_noted() {
    let mut b = Bench::new(false, false, GbEncoding::Ps);
    b.play(0..50, 25);
    let got = b.got();
    let p = pictures(&got);
    assert!(p.len() >= 48, "{}", p.len());
    assert!(p.windows(2).all(|w| w[1] - w[0] == 3600));
    let sound: Vec<i64> = got.frames.iter().filter(|f| f.0 == TrackId::AUDIO).map(|f| f.1).collect();
    assert!((sound[0] as f64 / 8000.0 - p[0] as f64 / 90_000.0).abs() < 0.1);
    assert_eq!((got.tracks[0].width, got.tracks[0].height, got.tracks[1].codec), (1920, 1080, Codec::G711A));
    let steps: Vec<Step> = got.notes.iter().filter(|n| n.1 == Outcome::Ok).map(|n| n.0).collect();
    for step in
        [Step::FirstPacket, Step::Ssrc, Step::SourceAddress, Step::Demuxed, Step::ParameterSets, Step::FirstKeyFrame]
    {
        assert!(steps.contains(&step), "{step:?}");
    }
    assert_eq!(b.code(), "good");
    assert!(!b.r.needs_key());
    b.wait(10);
    assert_eq!(b.code(), "media_lost");
}

#[test]
fn order_is_repaired_and_doubles_are_dropped() {
    let mut b = Bench::new(false, false, GbEncoding::Ps);
    b.play(0..5, 25);
    for n in 5..30 {
        let mut packets = b.pack(n, false);
        packets.swap(0, 1);
        packets.push(packets[0].clone());
        b.send(&packets);
        b.t += Duration::from_millis(40);
    }
    b.play(30..33, 25);
    assert!(pictures(&b.got()).len() >= 31);
    assert_eq!(b.r.counts()[1], 0);
}

#[test]
fn a_loss_drops_its_picture_and_wants_a_key_frame_until_one_comes() {
    let mut b = Bench::new(false, false, GbEncoding::Ps);
    b.play(0..10, 50);
    let packets = b.pack(10, false);
    b.send(&packets[1..]);
    b.play(11..20, 50);
    assert!(b.r.needs_key() && b.r.counts()[1] == 1);
    let p = pictures(&b.got());
    assert!(!p.contains(&(90_000 + 10 * 3600)) && p.contains(&(90_000 + 12 * 3600)), "{p:?}");
    b.play(50..60, 50);
    assert!(!b.r.needs_key());
}

#[test]
fn a_sender_that_starts_anew_begins_an_epoch() {
    let mut b = Bench::new(false, false, GbEncoding::Ps);
    b.play(0..10, 25);
    (b.ssrc, b.sequence) = (SSRC + 7, 30_000);
    b.play(100..130, 25);
    let got = b.got();
    assert_eq!(got.epochs, 1);
    assert!(got.notes.iter().any(|n| n.0 == Step::Ssrc && n.2.contains("changed")));
    assert!(pictures(&got).len() > 30);
}

#[test]
fn what_is_missing_is_named_by_what_was_seen() {
    // Nothing at all.
    let mut b = Bench::new(false, false, GbEncoding::Ps);
    assert_eq!(b.code(), "good");
    b.wait(10);
    assert_eq!(b.code(), "no_media");
    // Datagrams that are no RTP.
    let mut b = Bench::new(false, false, GbEncoding::Ps);
    b.r.packet(b.t, b.from, b"GET / HTTP/1.1\r\n\r\n");
    b.wait(10);
    assert_eq!(b.code(), "not_rtp");
    // Another SSRC: learned, or refused by setting.
    for (strict, want) in [(false, "good"), (true, "wrong_ssrc")] {
        let mut b = Bench::new(strict, false, GbEncoding::Ps);
        b.ssrc = 5;
        b.play(0..255, 25);
        assert_eq!(b.code(), want);
        assert_eq!(pictures(&b.got()).is_empty(), strict);
    }
    // Another address: learned by its SSRC, or refused by setting.
    for (strict, want) in [(false, "good"), (true, "media_from_elsewhere")] {
        let mut b = Bench::new(false, strict, GbEncoding::Ps);
        b.from = SocketAddr::from(([192, 0, 2, 9], 4000));
        b.play(0..255, 25);
        assert_eq!(b.code(), want);
    }
    // A stranger's stream is refused whatever the settings are.
    let mut b = Bench::new(false, false, GbEncoding::Ps);
    (b.from, b.ssrc) = (SocketAddr::from(([192, 0, 2, 9], 4000)), 9);
    b.play(0..255, 25);
    assert_eq!(b.code(), "media_from_elsewhere");
}

#[test]
fn what_cannot_be_read_is_named_too() {
    // RTP with rubbish inside.
    let mut b = Bench::new(false, false, GbEncoding::Ps);
    for n in 0..260u32 {
        let rubbish: Vec<u8> = (0..1400u32).map(|k| ((k * 7919 + n * 104_729) >> 3) as u8 | 1).collect();
        let packets = b.packets(&rubbish, n * 3600);
        b.send(&packets);
        b.t += Duration::from_millis(40);
        b.r.tick(b.t);
    }
    assert_eq!(b.code(), "ps_undecodable");
    // Pictures that a decoder cannot start with.
    let mut b = Bench::new(false, false, GbEncoding::Ps);
    b.play(1..260, 0);
    assert!(b.r.needs_key());
    assert_eq!(b.code(), "no_parameter_sets");
    assert!(b.got().frames.is_empty(), "sound alone would look like a stream that works");
    // MPEG-TS that holds nothing.
    let mut b = Bench::new(false, false, GbEncoding::Ps);
    let mut ts = Vec::new();
    for _ in 0..7 {
        ts.push(0x47);
        ts.extend([0x1F; 187]);
    }
    for n in 0..260 {
        let packets = b.packets(&ts, n * 3600);
        b.send(&packets);
        b.t += Duration::from_millis(40);
        b.r.tick(b.t);
    }
    assert_eq!(b.code(), "ps_undecodable");
    assert!(b.got().notes.iter().any(|n| n.2.contains("MPEG-TS")));
}

/// Sound in packets of payload type 8: with the SSRC and the numbers of the pictures, or with its own.
#[test]
fn sound_in_a_payload_type_of_its_own_lies_on_the_pictures_line() {
    for own in [true, false] {
        let mut b = Bench::new(false, false, GbEncoding::Ps);
        b.mux = PsMuxer::new(Some(Codec::H264), None, &Bytes::new());
        let mut sequence = 100u16;
        for n in 0..50u32 {
            let pts = 90_000 + i64::from(n) * 3600;
            let mut ps = Vec::new();
            let picture = if n % 25 == 0 { key_picture() } else { nal(&slice(0x41, 2000)) };
            b.mux.video(&picture, pts, pts, n % 25 == 0, &mut ps);
            let packets = b.packets(&ps, pts as u32);
            b.send(&packets);
            let number = if own { &mut sequence } else { &mut b.sequence };
            let ssrc = if own { SSRC ^ 0x5555 } else { SSRC };
            // Its stamps begin anywhere.
            let h = RtpHeader { marker: false, payload_type: 8, sequence: *number, timestamp: 77_000 + n * 320, ssrc };
            *number = number.wrapping_add(1);
            let mut packet = Vec::new();
            h.write(&mut packet, &[&[0xD5; 320]]);
            b.r.packet(b.t, b.from, &packet);
            b.t += Duration::from_millis(40);
            b.r.tick(b.t);
        }
        let got = b.got();
        assert_eq!((got.epochs, b.r.counts()[1], b.r.counts()[5]), (0, 0, 0), "own {own}");
        let sound: Vec<i64> = got.frames.iter().filter(|f| f.0 == TrackId::AUDIO).map(|f| f.1).collect();
        assert!(pictures(&got).len() >= 48 && sound.len() >= 45, "own {own}: {} sounds", sound.len());
        assert!(sound.windows(2).all(|w| w[1] - w[0] == 320), "own {own}");
        let apart = sound[0] as f64 / 8000.0 - pictures(&got)[0] as f64 / 90_000.0;
        assert!(apart.abs() < 0.2, "own {own}: {apart}");
    }
}

/// `svac_audio`: a map that names sound nothing here decodes. The picture goes on, the track says what is missing.
#[test]
fn sound_that_nothing_decodes_is_named_and_the_picture_goes_on() {
    let mut b = Bench::new(false, false, GbEncoding::Ps);
    b.mux = PsMuxer::new(Some(Codec::H264), Some(Codec::SvacAudio), &Bytes::new());
    b.play(0..50, 25);
    let got = b.got();
    assert!(pictures(&got).len() >= 48);
    assert_eq!(got.tracks[1].codec, Codec::SvacAudio);
    assert!(got.frames.iter().all(|f| f.0 == TrackId::VIDEO));
    assert!(got.notes.iter().any(|n| n.0 == Step::Demuxed && n.2.contains("SVACA")));
    assert_eq!(b.code(), "good");
}

#[test]
fn reports_leave_and_the_devices_clock_is_told() {
    use media_core::rtcp::Rtcp;
    let mut b = Bench::new(false, false, GbEncoding::Ps);
    b.play(0..50, 25);
    let ntp = (2_208_988_800u64 + 4_000_000_000) << 32;
    let sr = Rtcp::SenderReport { ssrc: SSRC, ntp, rtp: 90_000 + 49 * 3600, packets: 1, octets: 1, reports: vec![] };
    b.r.packet(b.t, b.from, &Rtcp::write_compound(&[sr]));
    assert!(b.got().notes.iter().any(|n| n.0 == Step::Live && n.2.contains("ms ahead")));
    assert!(b.r.due_report(b.t).is_none());
    b.wait(2);
    let report = Rtcp::parse_compound(&b.r.due_report(b.t).unwrap()).unwrap().remove(0);
    assert!(
        matches!(report, Rtcp::ReceiverReport { reports, .. } if reports[0].ssrc == SSRC && reports[0].last_sr != 0)
    );
}

#[test]
fn loss_is_measured_for_the_fall_back_to_tcp() {
    let mut b = Bench::new(false, false, GbEncoding::Ps);
    b.r = Receiver::new(
        LIMITS,
        Rules { ssrc: SSRC, device: vec![b.from.ip()], strict_ssrc: false, strict_source: false },
        GbEncoding::Ps,
        30_000,
        b.t,
    )
    .with_meter(4);
    let mut worst = 0.0f64;
    for n in 0..400u32 {
        let packets = b.pack(n, n % 25 == 0);
        let kept: Vec<Vec<u8>> =
            packets.into_iter().enumerate().filter(|(k, _)| (n as usize + k) % 5 != 4).map(|p| p.1).collect();
        b.send(&kept);
        b.t += Duration::from_millis(40);
        b.r.tick(b.t);
        worst = worst.max(b.r.loss_percent(b.t).unwrap_or(0.0));
    }
    assert!((12.0..30.0).contains(&worst), "{worst}");
}

#[test]
fn an_elementary_stream_by_its_rtpmap() {
    let mut b = Bench::new(false, false, GbEncoding::H264);
    for n in 0..30u32 {
        let nals: Vec<Vec<u8>> = if n % 10 == 2 {
            vec![SPS.to_vec(), vec![0x68, 0xEB, 0xE3, 0xCB], slice(0x65, 900)]
        } else {
            vec![slice(0x41, 900)]
        };
        let count = nals.len();
        for (k, unit) in nals.iter().enumerate() {
            let h = RtpHeader {
                marker: k + 1 == count,
                payload_type: 98,
                sequence: b.sequence,
                timestamp: n * 3600,
                ssrc: SSRC,
            };
            b.sequence = b.sequence.wrapping_add(1);
            let mut packet = Vec::new();
            h.write(&mut packet, &[unit]);
            b.r.packet(b.t, b.from, &packet);
        }
        b.t += Duration::from_millis(40);
    }
    let got = b.got();
    assert_eq!(pictures(&got).len(), 28, "two were held before the first key frame");
    assert!(got.frames[0].2);
    assert_eq!(got.tracks[0].width, 1920);
}
