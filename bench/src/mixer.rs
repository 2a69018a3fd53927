//! One conference with many members of whom three talk: the gateway, and Janus AudioBridge with plain RTP participants, in one run.
//! All members send a packet each 20 ms, as telephones without voice detection do. Both servers get the same packets.

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clip::Clip;
use crate::field::md5_hex;
use crate::gateway::{Extra, Gateway, free_port, http};
use crate::process::{self, Program};
use crate::stats::Table;
use crate::{Options, Places, Res, udp};

const TALKERS: usize = 3;
const TONES: [f64; TALKERS] = [600.0, 1100.0, 1700.0];
const FRAME: Duration = Duration::from_millis(20);
/// Packets of a source before it repeats.
const LOOP: usize = 100;
const PASSWORD: &str = "bench-pass-2468";
const USER: &str = "6001";

#[derive(Clone, Copy, PartialEq)]
enum Codec {
    G711,
    Opus,
}

impl Codec {
    const fn name(self) -> &'static str {
        match self {
            Codec::G711 => "G.711",
            Codec::Opus => "Opus",
        }
    }

    const fn rate(self) -> u32 {
        match self {
            Codec::G711 => 8_000,
            Codec::Opus => 48_000,
        }
    }

    const fn payload_type(self) -> u8 {
        match self {
            Codec::G711 => 0,
            Codec::Opus => 111,
        }
    }

    /// Room and codec as Janus names them; the room has the codec's own rate, which costs it least.
    const fn janus(self) -> &'static str {
        match self {
            Codec::G711 => "pcmu",
            Codec::Opus => "opus",
        }
    }
}

/// G.711 mu-law of a sample in -1..1.
fn mu_law(x: f64) -> u8 {
    let sign = if x < 0.0 { 0x80 } else { 0 };
    let value = ((x.abs() * 32_124.0) as i32).min(32_635) + 132;
    let exponent = 31 - value.leading_zeros() as i32 - 7;
    let mantissa = (value >> (exponent + 3)) & 0x0F;
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

fn mu_sample(byte: u8) -> f64 {
    let b = !byte;
    let value = ((i32::from(b & 0x0F) << 3) + 132) << ((b >> 4) & 7);
    let value = f64::from(value - 132) / 32_124.0;
    if b & 0x80 != 0 { -value } else { value }
}

/// Two seconds of packets: of a talker its tone, in bursts as speech comes, of a listener a room's noise.
fn sound(codec: Codec, hertz: Option<f64>) -> Res<Vec<Vec<u8>>> {
    let rate = codec.rate();
    let block = rate as usize / 50;
    let mut seed = 1u32;
    let mut sample = |n: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (f64::from(seed >> 8) / f64::from(1 << 23) - 1.0) * 0.0005;
        let t = n as f64 / f64::from(rate);
        noise + hertz.map_or(0.0, |f| if t.fract() < 0.7 { 0.2 * (TAU * f * t).sin() } else { 0.0 })
    };
    let mut encoder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip)?;
    encoder.set_bitrate(opus::Bitrate::Bits(24_000))?;
    (0..LOOP)
        .map(|p| {
            let samples: Vec<f64> = (p * block..(p + 1) * block).map(&mut sample).collect();
            Ok(match codec {
                Codec::G711 => samples.iter().map(|x| mu_law(*x)).collect(),
                Codec::Opus => {
                    let floats: Vec<f32> = samples.iter().map(|x| *x as f32).collect();
                    encoder.encode_vec_float(&floats, 1_200)?
                }
            })
        })
        .collect()
}

/// Levels of the tones in packets that were heard one after another.
fn tones(codec: Codec, packets: &[Vec<u8>]) -> Res<[f64; TALKERS]> {
    let mut samples: Vec<f64> = Vec::new();
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Mono)?;
    let mut room = vec![0f32; 5_760];
    for packet in packets {
        let payload = packet.get(12..).unwrap_or_default();
        match codec {
            Codec::G711 => samples.extend(payload.iter().map(|b| mu_sample(*b))),
            Codec::Opus => {
                let n = decoder.decode_float(payload, &mut room, false)?;
                samples.extend(room.iter().take(n).map(|x| f64::from(*x)));
            }
        }
    }
    let rate = f64::from(codec.rate());
    Ok(TONES.map(|f| {
        let (mut re, mut im) = (0.0, 0.0);
        for (n, x) in samples.iter().enumerate() {
            let (sin, cos) = (TAU * f * n as f64 / rate).sin_cos();
            re += x * cos;
            im += x * sin;
        }
        2.0 * f64::hypot(re, im) / samples.len().max(1) as f64
    }))
}

struct Seat {
    socket: UdpSocket,
    source: usize,
    sequence: u16,
    ssrc: u32,
    heard: u64,
    kept: Option<Vec<Vec<u8>>>,
}

impl Seat {
    fn new(n: usize) -> Res<Seat> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        udp::enlarge(&socket, 256 << 10);
        socket.set_nonblocking(true)?;
        let kept = (n == 0 || n == TALKERS).then(Vec::new);
        Ok(Seat { socket, source: n.min(TALKERS), sequence: 1, ssrc: 0x5B00_0000 + n as u32, heard: 0, kept })
    }

    fn port(&self) -> Res<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    fn send(&mut self, codec: Codec, sources: &[Vec<Vec<u8>>], packet: &mut Vec<u8>) {
        let n = usize::from(self.sequence) + self.ssrc as usize * 7;
        let Some(payload) = sources.get(self.source).and_then(|s| s.get(n % LOOP)) else { return };
        let step = codec.rate() / 50;
        packet.clear();
        packet.extend_from_slice(&[0x80, codec.payload_type()]);
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&(u32::from(self.sequence) * step).to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        packet.extend_from_slice(payload);
        let _ = self.socket.send(packet);
        self.sequence = self.sequence.wrapping_add(1);
    }

    fn hear(&mut self, codec: Codec, buf: &mut [u8]) {
        while let Ok(n) = self.socket.recv(buf) {
            let Some(packet) = buf.get(..n) else { return };
            if packet.get(1).is_some_and(|b| b & 0x7F == codec.payload_type()) {
                self.heard += 1;
                if let Some(kept) = &mut self.kept {
                    kept.push(packet.to_vec());
                }
            }
        }
    }
}

/// What was seen in the measured seconds.
struct Seen {
    /// Share of a processor.
    cpu: f64,
    /// Packets that came of those that should have.
    arrived: f64,
    /// Each hears the others and not itself.
    right: bool,
    listener: [f64; TALKERS],
    talker: [f64; TALKERS],
}

/// Sends for all seats at their pace, spread over each 20 ms, and reads what comes.
fn talk(seats: &mut [Seat], codec: Codec, sources: &[Vec<Vec<u8>>], pid: u32, warm: u64, seconds: u64) -> Res<Seen> {
    let (mut packet, mut buf) = (Vec::with_capacity(1_500), [0u8; 2_048]);
    let began = Instant::now();
    let (mut from, mut at) = (0.0, began);
    let slices = 20;
    for frame in 0..(warm + seconds) * 50 {
        if frame == warm * 50 {
            for s in seats.iter_mut() {
                s.hear(codec, &mut buf);
                s.heard = 0;
                if let Some(kept) = &mut s.kept {
                    kept.clear();
                }
            }
            (from, at) = (process::cpu_exact(pid), Instant::now());
        }
        for slice in 0..slices {
            let due = began + FRAME * frame as u32 + FRAME / slices as u32 * slice as u32;
            let now = Instant::now();
            if due > now {
                std::thread::sleep(due - now);
            }
            for s in seats.iter_mut().skip(slice).step_by(slices) {
                s.send(codec, sources, &mut packet);
                s.hear(codec, &mut buf);
            }
        }
    }
    let time = at.elapsed().as_secs_f64();
    let cpu = (process::cpu_exact(pid) - from) / time;
    let heard: u64 = seats.iter().map(|s| s.heard).sum();
    let arrived = heard as f64 / (seats.len() as f64 * time * 50.0);
    let of = |n: usize| tones(codec, seats.get(n).and_then(|s| s.kept.as_deref()).unwrap_or_default());
    let (talker, listener) = (of(0)?, of(TALKERS)?);
    let loud = |x: f64| x > 0.01;
    let right = listener.iter().all(|x| loud(*x)) && !loud(talker[0] * 4.0) && loud(talker[1]) && loud(talker[2]);
    Ok(Seen { cpu, arrived, right, listener, talker })
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().skip(1).take_while(|l| !l.is_empty()).find_map(|l| {
        let (key, value) = l.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Calls the conference for one seat: where its packets go.
fn call(signal: &UdpSocket, gateway: &Gateway, seat: &Seat, n: usize, codec: Codec) -> Res<SocketAddr> {
    let (local, uri) = (signal.local_addr()?, format!("sip:9000@{}", gateway.sip));
    let map = match codec {
        Codec::G711 => "a=rtpmap:0 PCMU/8000\r\n",
        Codec::Opus => "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\n",
    };
    let body = format!(
        "v=0\r\no=bench 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP {}\r\n{map}a=ptime:20\r\na=sendrecv\r\n",
        seat.port()?,
        codec.payload_type()
    );
    let head = |method: &str, cseq: u32, to: &str, more: &str, body: &str| {
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bKmix{n}x{cseq}{method}\r\nFrom: <sip:{USER}@{}>;tag=m{n}\r\n\
             To: {to}\r\nCall-ID: mix-{n}@bench\r\nCSeq: {cseq} {method}\r\nContact: <sip:{USER}@{local}>\r\nMax-Forwards: 70\r\n{more}Content-Length: {}\r\n\r\n{body}",
            gateway.sip,
            body.len()
        )
    };
    let bare = format!("<{uri}>");
    let kind = "Content-Type: application/sdp\r\n";
    let mut cseq = 1;
    signal.send_to(head("INVITE", cseq, &bare, kind, &body).as_bytes(), gateway.sip)?;
    let mut buf = [0u8; 8_192];
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        let Ok((got, _)) = signal.recv_from(&mut buf) else { continue };
        let text = String::from_utf8_lossy(buf.get(..got).unwrap_or_default()).into_owned();
        let mine = header(&text, "Call-ID").is_some_and(|c| c == format!("mix-{n}@bench"));
        let answer = header(&text, "CSeq").is_some_and(|c| c == format!("{cseq} INVITE"));
        if !mine || !answer || text.starts_with("SIP/2.0 1") {
            continue;
        }
        let to = header(&text, "To").unwrap_or_default().to_string();
        let status = text.get(8..11).unwrap_or_default();
        if matches!(status, "401" | "407") && cseq == 1 {
            signal.send_to(head("ACK", cseq, &to, "", "").as_bytes(), gateway.sip)?;
            let field = if status == "401" { "WWW-Authenticate" } else { "Proxy-Authenticate" };
            let challenge = header(&text, field).unwrap_or_default();
            let part = |name: &str| {
                challenge.split_once(&format!("{name}=\"")).and_then(|(_, r)| r.split('"').next()).unwrap_or_default()
            };
            let (realm, nonce) = (part("realm"), part("nonce"));
            let (first, second) = (md5_hex(&format!("{USER}:{realm}:{PASSWORD}")), md5_hex(&format!("INVITE:{uri}")));
            let response = md5_hex(&format!("{first}:{nonce}:00000001:0a4f113b:auth:{second}"));
            let name = if status == "401" { "Authorization" } else { "Proxy-Authorization" };
            let more = format!(
                "{name}: Digest username=\"{USER}\",realm=\"{realm}\",nonce=\"{nonce}\",uri=\"{uri}\",response=\"{response}\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"0a4f113b\"\r\n{kind}"
            );
            cseq = 2;
            signal.send_to(head("INVITE", cseq, &bare, &more, &body).as_bytes(), gateway.sip)?;
        } else if status == "200" {
            signal.send_to(head("ACK", cseq, &to, "", "").as_bytes(), gateway.sip)?;
            let media = text.lines().find_map(|l| l.strip_prefix("m=audio ")).unwrap_or_default();
            let port = media.split(' ').next().unwrap_or_default().parse::<u16>()?;
            return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
        } else {
            return Err(format!("call {n}: {}", text.lines().next().unwrap_or_default()).into());
        }
    }
    Err(format!("call {n}: no answer").into())
}

fn seats(n: usize) -> Res<Vec<Seat>> {
    (0..n).map(Seat::new).collect()
}

fn of_gateway(options: &Options, cpu: Option<usize>, codec: Codec, n: usize, seconds: u64) -> Res<Seen> {
    let extra = Extra {
        sections: format!(
            "[phone]\nmax_calls = 2000\nmax_calls_per_caller = 2000\n[phone.fraud]\ncalls_per_minute = 0\n[hall]\nmax_members = {}\n",
            n.max(64)
        ),
        ports: 4_000,
        ..Extra::default()
    };
    let gateway = Gateway::start_with(&options.gateway, &options.out, cpu, extra)?;
    gateway.call("POST", "/api/v1/phones", Some(json!({"user": USER, "password": PASSWORD, "name": "Bench"})))?;
    let signal = UdpSocket::bind("127.0.0.1:0")?;
    signal.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut seats = seats(n)?;
    for (n, seat) in seats.iter().enumerate() {
        seat.socket.connect(call(&signal, &gateway, seat, n, codec)?)?;
    }
    talk(&mut seats, codec, &sources(codec)?, gateway.pid(), 5, seconds)
}

fn sources(codec: Codec) -> Res<Vec<Vec<Vec<u8>>>> {
    let all = TONES.iter().map(|f| Some(*f)).chain([None]);
    all.map(|f| sound(codec, f)).collect()
}

/// Janus with AudioBridge alone, asked by its HTTP interface.
struct Janus {
    program: Program,
    at: SocketAddr,
    session: u64,
    folder: std::path::PathBuf,
    answers: HashMap<String, Value>,
    asked: u32,
}

impl Janus {
    fn start(out: &Path, cpu: Option<usize>) -> Res<Janus> {
        let port = free_port(&mut (std::process::id() ^ udp::wall() as u32))?;
        let folder = std::env::temp_dir().join(format!("skybridge-bench-janus-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let others = |kind: &str, keep: &str| -> String {
            let room = format!("/usr/lib/{}-linux-gnu/janus/{kind}", std::env::consts::ARCH);
            let names = fs::read_dir(room).into_iter().flatten().flatten();
            let names = names.map(|f| f.file_name().to_string_lossy().into_owned());
            names.filter(|f| f.ends_with(".so") && f != keep).collect::<Vec<_>>().join(",")
        };
        let write = |name: &str, text: String| fs::write(folder.join(name), text);
        write(
            "janus.jcfg",
            format!(
                "general: {{ debug_level = 2\n admin_secret = \"bench\" }}\nplugins: {{ disable = \"{}\" }}\ntransports: {{ disable = \"{}\" }}\n\
                 nat: {{ ice_lite = true }}\nevents: {{ broadcast = false }}\n",
                others("plugins", "libjanus_audiobridge.so"),
                others("transports", "libjanus_http.so")
            ),
        )?;
        write(
            "janus.transport.http.jcfg",
            format!(
                "general: {{ json = \"compact\"\n base_path = \"/janus\"\n http = true\n port = {port}\n ip = \"127.0.0.1\"\n https = false }}\nadmin: {{ admin_http = false }}\n"
            ),
        )?;
        write(
            "janus.plugin.audiobridge.jcfg",
            "general: { rtp_port_range = \"10000-19998\"\n local_ip = \"127.0.0.1\" }\n".into(),
        )?;
        let mut command = Command::new("janus");
        command.arg("-F").arg(&folder);
        let program = Program::start(&mut command, &out.join("janus.log"), cpu)?;
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        let mut janus = Janus { program, at, session: 0, folder, answers: HashMap::new(), asked: 0 };
        let end = Instant::now() + Duration::from_secs(20);
        while janus.session == 0 {
            if let Ok(v) = janus.post("/janus", json!({"janus": "create"})) {
                janus.session = v["data"]["id"].as_u64().ok_or("Janus gives no session")?;
            } else if Instant::now() > end || !janus.program.running() {
                return Err("Janus did not start: look into janus.log".into());
            } else {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(janus)
    }

    fn post(&mut self, path: &str, mut body: Value) -> Res<Value> {
        self.asked += 1;
        body["transaction"] = json!(format!("t{}", self.asked));
        let text = http(self.at, "POST", path, &body.to_string())?;
        let v: Value = serde_json::from_str(&text)?;
        if v["janus"] == "error" { Err(format!("Janus: {}", v["error"]["reason"]).into()) } else { Ok(v) }
    }

    /// A handle of the plugin.
    fn attach(&mut self) -> Res<u64> {
        let path = format!("/janus/{}", self.session);
        let v = self.post(&path, json!({"janus": "attach", "plugin": "janus.plugin.audiobridge"}))?;
        Ok(v["data"]["id"].as_u64().ok_or("Janus gives no handle")?)
    }

    /// A request to the plugin whose answer comes as an event.
    fn ask(&mut self, handle: u64, body: Value) -> Res<Value> {
        let path = format!("/janus/{}/{handle}", self.session);
        let sent = self.post(&path, json!({"janus": "message", "body": body}))?;
        if sent["janus"] == "success" {
            return Ok(sent["plugindata"]["data"].clone());
        }
        let mine = format!("t{}", self.asked);
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            if let Some(v) = self.answers.remove(&mine) {
                return Ok(v);
            }
            let text = http(self.at, "GET", &format!("/janus/{}?maxev=20", self.session), "")?;
            let v: Value = serde_json::from_str(&text)?;
            for event in v.as_array().cloned().unwrap_or_else(|| vec![v]) {
                if let Some(t) = event["transaction"].as_str() {
                    self.answers.insert(t.to_string(), event["plugindata"]["data"].clone());
                }
            }
        }
        Err("Janus does not answer".into())
    }
}

impl Drop for Janus {
    fn drop(&mut self) {
        if self.folder.starts_with(std::env::temp_dir()) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn of_janus(options: &Options, cpu: Option<usize>, codec: Codec, n: usize, seconds: u64) -> Res<Seen> {
    let mut janus = Janus::start(&options.out, cpu)?;
    let first = janus.attach()?;
    let room = json!({"request": "create", "room": 9000, "sampling_rate": codec.rate(), "allow_rtp_participants": true, "audiolevel_ext": false});
    let made = janus.ask(first, room)?;
    if made["audiobridge"] != "created" {
        return Err(format!("Janus makes no room: {made}").into());
    }
    let mut seats = seats(n)?;
    for seat in &mut seats {
        let handle = janus.attach()?;
        let rtp = json!({"ip": "127.0.0.1", "port": seat.port()?, "payload_type": codec.payload_type()});
        let joined = janus.ask(handle, json!({"request": "join", "room": 9000, "codec": codec.janus(), "rtp": rtp}))?;
        let port = joined["rtp"]["port"].as_u64().and_then(|p| u16::try_from(p).ok());
        let port = port.ok_or_else(|| format!("Janus lets nobody in: {joined}"))?;
        seat.socket.connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
    }
    talk(&mut seats, codec, &sources(codec)?, janus.program.pid(), 5, seconds)
}

/// Members of one conference that one processor carries, here and in Janus.
pub fn mixer(options: &Options, places: Places, _clip: &Arc<Clip>) -> Res<Value> {
    let janus = Command::new("janus").arg("--version").output().is_ok();
    if !janus {
        println!("janus is not installed: no comparison (make tools-bench)");
    }
    let levels = if options.quick { &[20] } else { options.members.as_slice() };
    let seconds = if options.quick { 4 } else { 12 };
    let mut table = Table::new(&[
        "Codec",
        "Members",
        "Server",
        "CPU % of a core",
        "Packets arrived",
        "Heard as it should be",
        "CPU ms per member-second",
    ]);
    let mut found = Vec::new();
    for codec in [Codec::G711, Codec::Opus] {
        let mut carries = janus;
        for n in levels {
            for server in ["gateway", "janus"] {
                if server == "janus" && !carries {
                    continue;
                }
                let of = if server == "gateway" { of_gateway } else { of_janus };
                let seen = match of(options, places.gateway, codec, *n, seconds) {
                    Ok(seen) => seen,
                    Err(error) if server == "janus" => {
                        println!("janus, {} with {n}: {error}", codec.name());
                        carries = false;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                // Once a server loses packets or speech a larger conference tells nothing of its cost.
                if server == "janus" && (seen.arrived < 0.97 || !seen.right) {
                    carries = false;
                }
                let each = seen.cpu * 1_000.0 / *n as f64;
                table.row(vec![
                    codec.name().into(),
                    n.to_string(),
                    server.into(),
                    format!("{:.1}", seen.cpu * 100.0),
                    format!("{:.1} %", seen.arrived * 100.0),
                    if seen.right { "yes".into() } else { format!("NO {:.3?} {:.3?}", seen.listener, seen.talker) },
                    format!("{each:.3}"),
                ]);
                found.push(json!({"codec": codec.name(), "members": n, "server": server, "cpu": seen.cpu, "arrived": seen.arrived, "right": seen.right, "cpu_ms_per_member_second": each}));
            }
        }
    }
    table.print("One conference, three talk, all send (members of one processor: 1000 / CPU ms per member-second)");
    Ok(json!(found))
}
