//! Runs every fuzz entry point on mutated seeds for a while, without libFuzzer and without nightly Rust.
//!
//! `smoke [SECONDS] [TARGET] [--seed N]`: 60 s over all targets by default. Exit status 1 and the input on disk when one panics.
//! It has no coverage feedback: it finds shallow faults on any machine, the libFuzzer targets find deep ones.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

type Entry = fn(&[u8]);

/// Name, entry point, and the kinds of seeds that it likes.
const TARGETS: [(&str, Entry, &[&str]); 31] = [
    ("sip_prepass", sip::fuzz::prepass, &["sip"]),
    ("sip_message", sip::fuzz::message, &["sip"]),
    ("sip_stream", sip::fuzz::stream, &["sip"]),
    ("sip_websocket", sip::fuzz::websocket, &["sip"]),
    ("sip_stun", sip::fuzz::stun, &["sip"]),
    ("ps", media_core::fuzz::ps, &["ps", "h264", "bin"]),
    ("ts", media_core::fuzz::ts, &["ts", "ps", "bin"]),
    ("rtp", media_core::fuzz::rtp, &["rtp", "ps", "bin"]),
    ("rtcp", media_core::fuzz::rtcp, &["rtcp"]),
    ("sdp", media_core::fuzz::sdp, &["sdp", "sip"]),
    ("tcp_framing", media_core::fuzz::tcp_framing, &["framed", "rtp"]),
    ("h264", media_core::fuzz::h264, &["h264", "bin"]),
    ("vp8", media_core::fuzz::vp8, &["vp8", "bin"]),
    ("dtmf", media_core::fuzz::dtmf, &["dtmf", "rtp"]),
    ("amr", media_core::fuzz::amr, &["amr", "rtp"]),
    ("wav", media_core::fuzz::wav, &["wav", "bin"]),
    ("floor", media_core::fuzz::floor, &["floor", "rtcp"]),
    ("media_keys", media_secure::fuzz::description, &["keys", "sdp"]),
    ("media_handshake", media_secure::fuzz::handshake, &["bin", "rtp"]),
    ("phone_replaces", bridge_phone::fuzz::replaces, &["replaces"]),
    ("phone_identity", bridge_phone::fuzz::identity, &["identity", "sip"]),
    ("phone_text", bridge_phone::fuzz::text, &["text"]),
    ("radio", bridge_radio::fuzz::radio, &["radio", "floor", "rtp"]),
    ("satphone", bridge_satphone::fuzz::satphone, &["satphone"]),
    ("manscdp", bridge_gb28181::fuzz::manscdp, &["xml"]),
    ("upload", bridge_gb28181::fuzz::upload, &["upload"]),
    ("gb_notify", bridge_gb28181::fuzz::notify, &["xml"]),
    ("ptz", bridge_gb28181::fuzz::ptz, &["ptz"]),
    ("mansrtsp", bridge_gb28181::fuzz::mansrtsp, &["rtsp"]),
    ("record_info", bridge_gb28181::fuzz::record_info, &["xml"]),
    ("capture", bridge_gb28181::fuzz::capture, &["sip", "xml"]),
];

/// Longest input.
const MAX: usize = 64 * 1024;
/// An entry point that takes longer than this for one input is too slow, whatever it says.
const TOO_SLOW: Duration = Duration::from_secs(2);

/// xorshift64*: enough to mutate bytes, the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }

    fn byte(&mut self) -> u8 {
        (self.next() >> 32) as u8
    }
}

/// Seeds: (kind, bytes). From the crates' own fixtures, and small well-formed ones made here.
fn seeds(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = made();
    let folders = [
        "sip/testdata",
        "media/core/testdata",
        "media/webrtc/testdata",
        "bridges/gb28181/testdata",
        "tests/fuzz/seeds",
    ];
    for folder in folders {
        walk(&root.join(folder), &mut found);
    }
    found
}

fn walk(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found);
        } else if let Ok(mut bytes) = std::fs::read(&path) {
            let kind = path.extension().map_or_else(|| "bin".to_owned(), |e| e.to_string_lossy().into_owned());
            bytes.truncate(MAX);
            found.push((kind, bytes));
        }
    }
}

fn made() -> Vec<(String, Vec<u8>)> {
    let sps = [
        0x67, 0x42, 0xC0, 0x1E, 0xD9, 0x00, 0xA0, 0x5B, 0xB0, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03,
        0x00, 0x32, 0x0F, 0x16, 0x2E, 0x48,
    ];
    let pps = [0x68, 0xCB, 0x83, 0xCB, 0x20];
    let mut annex_b = Vec::new();
    for nal in [&sps[..], &pps[..], &[0x65, 0x88, 0x84, 0x00, 0x10, 0xFF, 0x12][..], &[0x41, 0x9A, 0x00, 0x20][..]] {
        annex_b.extend_from_slice(&[0, 0, 0, 1]);
        annex_b.extend_from_slice(nal);
    }
    // Pack header, system header, program stream map (H.264 and G.711A), one PES packet with a PTS.
    let mut ps = vec![0, 0, 1, 0xBA, 0x44, 0x00, 0x04, 0x00, 0x04, 0x01, 0x00, 0x5F, 0x6B, 0xF8];
    ps.extend_from_slice(&[
        0, 0, 1, 0xBB, 0, 12, 0x80, 0x2F, 0xB5, 0x07, 0xE1, 0x7F, 0xE0, 0xE0, 0x80, 0xC0, 0xC0, 0x08,
    ]);
    ps.extend_from_slice(&[
        0, 0, 1, 0xBC, 0, 18, 0xE1, 0xFF, 0, 0, 0, 8, 0x1B, 0xE0, 0, 0, 0x90, 0xC0, 0, 0, 0, 0, 0, 0,
    ]);
    let payload = annex_b.len() + 8;
    ps.extend_from_slice(&[
        0,
        0,
        1,
        0xE0,
        (payload >> 8) as u8,
        payload as u8,
        0x80,
        0x80,
        5,
        0x21,
        0x00,
        0x01,
        0x1C,
        0x21,
    ]);
    ps.extend_from_slice(&annex_b);
    ps.extend_from_slice(&[
        0, 0, 1, 0xC0, 0, 13, 0x80, 0x80, 5, 0x21, 0x00, 0x01, 0x1C, 0x21, 0xD5, 0xD5, 0x55, 0x55, 0xD5,
    ]);
    let mut rtp = vec![0x80, 0xE0, 0x12, 0x34, 0, 1, 0x5F, 0x90, 0x0B, 0xEB, 0xC2, 0x89];
    rtp.extend_from_slice(&ps);
    let mut framed = (rtp.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(&rtp);
    let floor =
        [&[0x80, 0xCC, 0, 6, 0, 0, 3, 0xE9][..], b"MCPT", &[0, 2, 5, 0], &[6, 8], b"sip:u1@h", &[0, 0]].concat();
    let mut rtcp = vec![0x81, 200, 0, 12, 0, 0, 0, 1, 0xE9, 0, 0, 0, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 9, 0, 0, 4, 0];
    rtcp.extend_from_slice(&[0, 0, 0, 2, 3, 0, 0, 5, 0, 0, 1, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
    rtcp.extend_from_slice(&[0x81, 202, 0, 3, 0, 0, 0, 1, 1, 4, b'h', b'a', b'l', b'l', 0, 0]);
    rtcp.extend_from_slice(&[0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0x12, 0x34, 0x00, 0x05]);
    let sdp = "v=0\r\no=34020000001320000001 0 0 IN IP4 10.1.1.20\r\ns=Play\r\nc=IN IP4 10.1.1.20\r\nt=0 0\r\nm=video 15060 TCP/RTP/AVP 96 98\r\na=sendonly\r\n\
               a=rtpmap:96 PS/90000\r\na=rtpmap:98 H264/90000\r\na=setup:active\r\na=connection:new\r\ny=0200000137\r\nf=v/2/4/25/1/2048a/1/8/1\r\n";
    let phone = "v=0\r\no=- 1 1 IN IP4 10.1.1.30\r\ns=-\r\nc=IN IP4 10.1.1.30\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
                 a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";
    let protected = "v=0\r\no=- 1 1 IN IP4 10.1.1.30\r\ns=-\r\nc=IN IP4 10.1.1.30\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4\r\n\
                     a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz WSH=64\r\n";
    let page = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 8\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtcp-mux\r\na=setup:actpass\r\na=ice-ufrag:abcd\r\n\
                a=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n";
    let catalog = "<?xml version=\"1.0\" encoding=\"GB2312\"?>\r\n<Response>\r\n<CmdType>Catalog</CmdType>\r\n<SN>17</SN>\r\n<DeviceID>34020000001180000001</DeviceID>\r\n<SumNum>1</SumNum>\r\n\
                   <DeviceList Num=\"1\">\r\n<Item>\r\n<DeviceID>34020000001310000001</DeviceID>\r\n<Name>Gate &amp; yard</Name>\r\n<Status>ON</Status>\r\n<Longitude>121.4</Longitude>\r\n\
                   <Latitude>31.2</Latitude>\r\n<Info><PTZType>1</PTZType></Info>\r\n</Item>\r\n</DeviceList>\r\n</Response>\r\n";
    let keepalive = "<?xml version=\"1.0\"?><Notify><CmdType>Keepalive</CmdType><SN>7</SN><DeviceID>34020000001320000001</DeviceID><Status>OK</Status></Notify>";
    let mut list: Vec<(&str, Vec<u8>)> = vec![
        ("h264", annex_b),
        ("ps", ps),
        ("rtp", rtp),
        ("framed", framed),
        ("rtcp", rtcp),
        ("floor", floor),
        ("wav", media_core::wav::Wav { rate: 8000, samples: (0..400).collect() }.write()),
        ("radio", b"<ptt><op>taken</op><user>sip:1234@gw</user><name>Zhang</name><emergency>true</emergency></ptt>".to_vec()),
        ("radio", b"Signal=*\r\nCaller=77\r\n$GPRMC,023042,A,3112.3400,N,12128.9100,E,0.0,0.0,010124,,".to_vec()),
        ("radio", b"{\"op\":\"request\",\"user\":\"8\",\"lon\":121.47,\"lat\":31.23,\"status\":\"3\"}".to_vec()),
        ("sdp", sdp.as_bytes().to_vec()),
        ("sdp", phone.as_bytes().to_vec()),
        ("keys", protected.as_bytes().to_vec()),
        ("keys", protected.replace("RTP/SAVP", "RTP/AVP").into_bytes()),
        ("keys", page.as_bytes().to_vec()),
        ("text", "text/plain;charset=UTF-8\n道路中断，请绕行。road closed".as_bytes().to_vec()),
        ("text", b"text/plain;charset=GB2312\n\xC4\xE3\xBA\xC3".to_vec()),
        ("text", format!("text/plain\n{}", "水位 3 米。".repeat(120)).into_bytes()),
        ("satphone", b"$BDTCI,4238473,4238474,2,083010,3,0,C4E3BAC341*00\r\n$BDFKI,083010,TCQ,Y,0,60*00\r\n".to_vec()),
        ("satphone", b"BDTXR,1,0247718,2,0830,A4C4E3BAC3\nGNGGA,083010.00,3112.3400,N,12128.9100,E,1,12,0.8,14.2,M,0,M,,\n".to_vec()),
        ("replaces", b"98732@sip.example.com ;from-tag=r33th4x0r; to-tag=ff87ff;early-only".to_vec()),
        ("replaces", b"98732%40sip.example.com%3Bto-tag%3Dff87ff%3Bfrom-tag%3Dr33th4x0r".to_vec()),
        ("replaces", b"<sip:8005@192.0.2.1?Replaces=1%40a%3Bto-tag%3D2%3Bfrom-tag%3D3>;x=y".to_vec()),
        (
            "identity",
            b"\"Li\" <sip:+86-138@x;user=phone>;tag=1\n<sip:li@x>, <tel:+86139>\n<tel:0755;phone-context=+86>\nid"
                .to_vec(),
        ),
        (
            "identity",
            b"<sip:%2B86(755)12@x>;tag=1\n\"A, \\\"B\" <sip:anonymous@anonymous.invalid>\n<tel:+86-10>".to_vec(),
        ),
        ("vp8", vec![12, 0x90, 0x80, 0x01, 0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0x68, 0x01]),
        ("dtmf", vec![4, 0x01, 0x0A, 0x00, 0xA0, 4, 0x01, 0x8A, 0x03, 0x20]),
        ("dtmf", b"Signal=5\r\nDuration=160\r\n".to_vec()),
        ("xml", catalog.as_bytes().to_vec()),
        ("xml", keepalive.as_bytes().to_vec()),
    ];
    for text in ["A50F0108007D0032", "A50F01021F0000D6", "A50F018100010037", "A50F01820005003C"] {
        list.push(("ptz", text.as_bytes().to_vec()));
    }
    list.into_iter().map(|(kind, bytes)| (kind.to_owned(), bytes)).collect()
}

/// Bytes that parsers like to trip over.
const SPICE: [&[u8]; 16] = [
    b"\r\n\r\n",
    b"\0\0\x01",
    b"\0\0\x01\xBA",
    b"\0\0\x01\xE0\0\0",
    b"\xFF\xFF\xFF\xFF",
    b"\0\0\0\0",
    b"\x80",
    b"\x7F\xFF",
    b"Content-Length: 99999999999\r\n",
    b"<",
    b"]]>",
    b"&#x0;",
    b"m=video 0 RTP/AVP 96\r\n",
    b"\xC4\xE3\xBA\xC3",
    b"99999999999999999999",
    b";;;===\"",
];

fn mutate(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..1 + random.below(8) {
        let at = random.below(data.len() + 1);
        match random.below(10) {
            0 | 1 if at < data.len() => data[at] ^= 1 << random.below(8),
            2 if at < data.len() => data[at] = random.byte(),
            3 => data.truncate(at),
            4 => {
                let end = (at + random.below(64)).min(data.len());
                data.drain(at..end);
            }
            5 => {
                let spice = SPICE[random.below(SPICE.len())];
                data.splice(at..at, spice.iter().copied());
            }
            6 => {
                let from = random.below(other.len());
                let piece = &other[from..(from + random.below(256)).min(other.len())];
                data.splice(at..at, piece.iter().copied());
            }
            7 => {
                let end = (at + random.below(128)).min(data.len());
                let piece = data[at..end].to_vec();
                let times = 1 + random.below(16);
                data.splice(at..at, piece.repeat(times));
            }
            8 => {
                let noise: Vec<u8> = (0..random.below(32)).map(|_| random.byte()).collect();
                data.splice(at..at, noise);
            }
            _ if at + 1 < data.len() => data.swap(at, at + 1),
            _ => {}
        }
        data.truncate(MAX);
    }
    data
}

fn keep(name: &str, data: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(name);
    let path = folder.join(format!(
        "crash-{:016x}",
        data.iter().fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01B3))
    ));
    let written = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::File::create(&path))
        .and_then(|mut f| f.write_all(data));
    if let Err(error) = written {
        eprintln!("cannot keep the input: {error}");
    }
    path
}

/// One input; false if it panicked or took too long.
fn run(name: &str, entry: Entry, data: &[u8]) -> bool {
    let begin = Instant::now();
    let done = catch_unwind(AssertUnwindSafe(|| entry(data)));
    let slow = begin.elapsed() > TOO_SLOW;
    if done.is_ok() && !slow {
        return true;
    }
    let path = keep(name, data);
    eprintln!(
        "{name}: {} on {} bytes, kept as {}",
        if slow { "too slow" } else { "panicked" },
        data.len(),
        path.display()
    );
    false
}

fn main() -> ExitCode {
    let mut seconds = 60;
    let mut only = None;
    let mut seed =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64) | 1;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--seed" {
            seed = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(seed) | 1;
        } else if let Ok(n) = argument.parse() {
            seconds = n;
        } else {
            only = Some(argument);
        }
    }
    let targets: Vec<_> = TARGETS.iter().filter(|(name, ..)| only.as_deref().is_none_or(|o| o == *name)).collect();
    if targets.is_empty() {
        eprintln!("smoke: no such target; there are {}", TARGETS.map(|(name, ..)| name).join(" "));
        return ExitCode::FAILURE;
    }
    println!("seed {seed}, {seconds} s over {} targets", targets.len());
    let all = seeds(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    let share = Duration::from_secs(seconds) / targets.len() as u32;
    let mut good = true;
    for (name, entry, kinds) in targets {
        let mine: Vec<&[u8]> =
            all.iter().filter(|(kind, _)| kinds.contains(&kind.as_str())).map(|(_, bytes)| bytes.as_slice()).collect();
        if mine.is_empty() {
            eprintln!("{name}: no seeds");
            return ExitCode::FAILURE;
        }
        let mut random = Random(seed);
        let until = Instant::now() + share;
        let mut inputs = 0u64;
        let mut fine = mine.iter().all(|data| run(name, *entry, data)) && run(name, *entry, &[]);
        let mut pool: Vec<Vec<u8>> = Vec::new();
        while fine && Instant::now() < until {
            let from = random.below(mine.len() + pool.len());
            let base =
                mine.get(from).copied().or_else(|| pool.get(from - mine.len()).map(Vec::as_slice)).unwrap_or_default();
            let other = mine[random.below(mine.len())];
            let data = mutate(base, other, &mut random);
            fine = run(name, *entry, &data);
            inputs += 1;
            // Some mutants are mutated further.
            if inputs.is_multiple_of(64) {
                if pool.len() < 256 {
                    pool.push(data);
                } else {
                    let at = random.below(256);
                    pool[at] = data;
                }
            }
        }
        println!("{name:12} {inputs:>9} inputs  {}", if fine { "ok" } else { "FAILED" });
        good &= fine;
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_seen_and_its_input_kept() {
        let entry: Entry = |data| assert!(data.len() < 3, "too long");
        assert!(run("self_test", entry, b"ab"));
        assert!(!run("self_test", entry, b"abcd"));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts/self_test");
        let kept = std::fs::read_dir(&folder).map(|d| d.count()).unwrap_or(0);
        let _ = std::fs::remove_dir_all(folder);
        assert_eq!(kept, 1);
    }

    #[test]
    fn the_same_seed_gives_the_same_inputs() {
        let inputs = |seed| -> Vec<Vec<u8>> {
            let mut random = Random(seed);
            (0..50).map(|_| mutate(b"seed of some length", b"another", &mut random)).collect()
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(9));
    }
}
