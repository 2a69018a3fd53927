//! What a loudspeaker says: packets in, samples out to a WAV file, its tone measured, its echo into the microphone.

use std::collections::VecDeque;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::sdp::Setup;
use crate::session::Channel;
use crate::{g711, report, rtp, wav};

/// An hour; what is heard later is not kept.
const KEEP: usize = 8000 * 3600;
/// Samples in which a silence is looked for: 2 s.
const RECENT: usize = 16_000;
/// Samples from the loudspeaker to the microphone: 200 ms.
const LATE: usize = 1600;

/// The socket, made before our SDP is written.
pub enum Socket {
    Udp(UdpSocket),
    Listen(TcpListener),
    /// We connect.
    Connect,
    /// Already connected.
    Connected(TcpStream),
}

impl Socket {
    pub fn open(bind: IpAddr, tcp: Option<Setup>) -> std::io::Result<Self> {
        match tcp {
            None => UdpSocket::bind((bind, 0)).map(Self::Udp),
            Some(Setup::Passive) => TcpListener::bind((bind, 0)).map(Self::Listen),
            Some(Setup::Active) => Ok(Self::Connect),
        }
    }

    pub fn port(&self) -> u16 {
        let local = match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Listen(listener) => listener.local_addr(),
            Self::Connect | Self::Connected(_) => return 9,
        };
        local.map_or(9, |a| a.port())
    }
}

pub struct Plan {
    pub channel: Arc<Channel>,
    pub call_id: String,
    pub socket: Socket,
    /// Where the platform is.
    pub target: SocketAddr,
    pub heard: Option<PathBuf>,
    pub echo: f64,
    /// Send the microphone back on this session (talk of 2016), with this SSRC.
    pub speak: Option<u32>,
}

/// Ends its thread when dropped, and waits for the recording to be written.
pub struct Ear {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn start(plan: Plan) -> Ear {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let thread = std::thread::Builder::new().name("ear".into()).spawn(move || run(plan, &seen)).ok();
    Ear { stop, thread }
}

/// Adds what the loudspeaker leaks to blocks of the microphone (A-law only).
pub fn with_leak(channel: &Channel, mut blocks: Vec<(u64, Vec<u8>)>) -> Vec<(u64, Vec<u8>)> {
    let mut leak = channel.leak.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if leak.is_empty() || !matches!(channel.sound, crate::sound::Sound::Alaw { .. }) {
        return blocks;
    }
    for byte in blocks.iter_mut().flat_map(|(_, block)| block.iter_mut()) {
        let Some(more) = leak.pop_front() else { break };
        *byte = g711::alaw(g711::from_alaw(*byte).saturating_add(more));
    }
    blocks
}

/// The G.711 in a packet: bare, or in the PES packets of a program stream.
fn sound(packet: &rtp::Parsed<'_>) -> Vec<u8> {
    if packet.payload_type == 8 {
        return packet.payload.to_vec();
    }
    let (mut out, mut rest) = (Vec::new(), packet.payload);
    while let Some(at) = rest.windows(4).position(|w| w == [0, 0, 1, 0xC0]) {
        let Some(head) = rest.get(at + 4..at + 9) else { break };
        let length = usize::from(u16::from_be_bytes([head[0], head[1]]));
        let from = at + 9 + usize::from(head[4]);
        out.extend_from_slice(rest.get(from..at + 6 + length).unwrap_or(&[]));
        rest = rest.get(at + 6 + length..).unwrap_or(&[]);
    }
    out
}

#[derive(Default)]
struct Heard {
    samples: Vec<i16>,
    base: Option<u32>,
    packets: u32,
    lost: u32,
    sequence: Option<u16>,
    last: Option<Instant>,
    /// Longest time between two packets.
    gap: Duration,
}

impl Heard {
    /// Takes a packet; gives its samples.
    fn take(&mut self, data: &[u8], now: Instant) -> Vec<i16> {
        let Some(p) = rtp::parse(data).filter(|p| matches!(p.payload_type, 8 | 96)) else { return Vec::new() };
        let sequence = u16::from_be_bytes([data[2], data[3]]);
        if let Some(last) = self.sequence.replace(sequence) {
            self.lost += u32::from(sequence.wrapping_sub(last).wrapping_sub(1).min(1000));
        }
        if let Some(last) = self.last.replace(now) {
            self.gap = self.gap.max(now - last);
        }
        self.packets += 1;
        let samples: Vec<i16> = sound(&p).into_iter().map(g711::from_alaw).collect();
        // Time stamps of a program stream run at 90 kHz.
        let scale = if p.payload_type == 8 { 1.0 } else { 8.0 / 90.0 };
        let base = *self.base.get_or_insert(p.timestamp);
        let at = (f64::from(p.timestamp.wrapping_sub(base)) * scale).round() as usize;
        if at > self.samples.len() + 80_000 || at + samples.len() > KEEP {
            return samples;
        }
        if self.samples.len() < at + samples.len() {
            self.samples.resize(at + samples.len(), 0);
        }
        for (slot, sample) in self.samples.iter_mut().skip(at).zip(&samples) {
            *slot = *sample;
        }
        samples
    }

    fn report(&self, plan_id: &str, call_id: &str, name: &str) {
        let tail = self.samples.get(self.samples.len().saturating_sub(8000)..).unwrap_or(&[]);
        let (hertz, level) = tone(tail);
        let recent = self.samples.get(self.samples.len().saturating_sub(RECENT)..).unwrap_or(&[]);
        report::event(
            name,
            plan_id,
            json!({"call_id": call_id, "packets": self.packets, "lost": self.lost, "gap_ms": self.gap.as_millis() as u64,
                "seconds": self.samples.len() as f64 / 8000.0, "silence_ms": silence(recent), "rms_db": loudness(tail),
                "tone_hz": hertz, "tone_db": level}),
        );
    }
}

fn loudness(samples: &[i16]) -> f64 {
    let sum: f64 = samples.iter().map(|s| (f64::from(*s) / 32_768.0).powi(2)).sum();
    10.0 * (sum / samples.len().max(1) as f64).max(1e-12).log10()
}

/// The strongest tone between 200 and 3400 Hz in steps of 10, and its level in dB below a full-scale sine.
fn tone(samples: &[i16]) -> (f64, f64) {
    let samples = samples.get(samples.len().saturating_sub(4000)..).unwrap_or(&[]);
    let mut best = (0.0, -120.0);
    for step in 20..=340u32 {
        let w = std::f64::consts::TAU * f64::from(step) * 10.0 / 8000.0;
        let (mut re, mut im) = (0.0, 0.0);
        for (n, s) in samples.iter().enumerate() {
            let (sin, cos) = (w * n as f64).sin_cos();
            re += f64::from(*s) * cos;
            im += f64::from(*s) * sin;
        }
        let amplitude = (re * re + im * im).sqrt() * 2.0 / samples.len().max(1) as f64 / 32_768.0;
        let db = 20.0 * amplitude.max(1e-6).log10();
        if db > best.1 {
            best = (f64::from(step) * 10.0, db);
        }
    }
    best
}

/// The longest silence between the first and the last sound, in milliseconds.
fn silence(samples: &[i16]) -> u64 {
    let loud = |s: &i16| s.unsigned_abs() > 200;
    let (Some(first), Some(last)) = (samples.iter().position(loud), samples.iter().rposition(loud)) else { return 0 };
    let (mut longest, mut run) = (0u64, 0u64);
    for sample in samples.get(first..last).unwrap_or(&[]) {
        run = if loud(sample) { 0 } else { run + 1 };
        longest = longest.max(run);
    }
    longest / 8
}

enum Wire {
    Udp(UdpSocket, SocketAddr),
    Tcp(TcpStream, Vec<u8>),
}

fn wire(socket: Socket, target: SocketAddr, stop: &AtomicBool) -> Result<Wire, String> {
    let stream = match socket {
        Socket::Udp(socket) => return Ok(Wire::Udp(socket, target)),
        Socket::Connected(stream) => stream,
        Socket::Connect => TcpStream::connect_timeout(&target, Duration::from_secs(3)).map_err(|e| e.to_string())?,
        Socket::Listen(listener) => {
            listener.set_nonblocking(true).map_err(|e| e.to_string())?;
            let until = Instant::now() + Duration::from_secs(10);
            loop {
                if let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(false).map_err(|e| e.to_string())?;
                    break stream;
                }
                if stop.load(Ordering::Relaxed) || Instant::now() > until {
                    return Err("the platform did not connect".into());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    };
    Ok(Wire::Tcp(stream, Vec::new()))
}

impl Wire {
    /// Packets that came within `wait`; none when the connection has ended.
    fn read(&mut self, wait: Duration, mut take: impl FnMut(&[u8])) -> Option<()> {
        let wait = wait.max(Duration::from_millis(1));
        let mut buffer = [0u8; 4096];
        match self {
            Wire::Udp(socket, _) => {
                let _ = socket.set_read_timeout(Some(wait));
                if let Ok(n) = socket.recv(&mut buffer) {
                    take(buffer.get(..n)?);
                }
            }
            Wire::Tcp(stream, rest) => {
                let _ = stream.set_read_timeout(Some(wait));
                match stream.read(&mut buffer) {
                    Ok(0) => return None,
                    Ok(n) => rest.extend_from_slice(buffer.get(..n)?),
                    Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                    Err(_) => return None,
                }
                while let Some(length) = rest.get(..2).map(|l| usize::from(u16::from_be_bytes([l[0], l[1]]))) {
                    if rest.len() < 2 + length {
                        break;
                    }
                    take(rest.get(2..2 + length)?);
                    rest.drain(..2 + length);
                }
            }
        }
        Some(())
    }

    fn send(&mut self, packet: &[u8]) {
        match self {
            Wire::Udp(socket, target) => {
                let _ = socket.send_to(packet, *target);
            }
            Wire::Tcp(stream, _) => {
                let mut framed = (packet.len() as u16).to_be_bytes().to_vec();
                framed.extend_from_slice(packet);
                let _ = std::io::Write::write_all(stream, &framed);
            }
        }
    }
}

fn run(plan: Plan, stop: &AtomicBool) {
    let Plan { channel, call_id, socket, target, heard: file, echo, speak } = plan;
    let mut wire = match wire(socket, target, stop) {
        Ok(wire) => wire,
        Err(why) => {
            return report::event("talk_media_failed", &channel.id, json!({"call_id": call_id, "reason": why}));
        }
    };
    let mut heard = Heard::default();
    let began = Instant::now();
    let mut next_report = began + Duration::from_secs(1);
    let (mut block, mut sequence, mut told) = (0u64, rand::random::<u16>(), false);
    while !stop.load(Ordering::Relaxed) {
        let due = began + Duration::from_millis(block * 40);
        let wait =
            if speak.is_some() { due.saturating_duration_since(Instant::now()) } else { Duration::from_millis(40) };
        let mut leaked: Vec<i16> = Vec::new();
        let open =
            wire.read(wait.min(Duration::from_millis(40)), |data| leaked.extend(heard.take(data, Instant::now())));
        if echo > 0.0 && !leaked.is_empty() {
            let mut leak = channel.leak.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if leak.is_empty() {
                leak.extend(VecDeque::from(vec![0i16; LATE]));
            }
            leak.extend(leaked.iter().map(|s| (f64::from(*s) * echo) as i16));
            // A microphone that nobody watches forgets.
            let most = LATE + 8000;
            let over = leak.len().saturating_sub(most);
            leak.drain(..over);
        }
        if open.is_none() {
            report::event("talk_closed", &channel.id, json!({"call_id": call_id}));
            break;
        }
        if heard.packets > 0 && !told {
            told = true;
            report::event("talk_first", &channel.id, json!({"call_id": call_id}));
        }
        if let Some(ssrc) = speak
            && Instant::now() >= due
        {
            let pts = block * 3600;
            let mut number = channel.sound.first_block(pts);
            for (_, bytes) in with_leak(&channel, channel.sound.due(&mut number, pts + 3600)) {
                wire.send(&rtp::packet(8, block == 0, sequence, (block * 320) as u32, ssrc, &bytes));
                sequence = sequence.wrapping_add(1);
            }
            block += 1;
        }
        if Instant::now() >= next_report {
            next_report += Duration::from_secs(1);
            heard.report(&channel.id, &call_id, "talk_heard");
            save(file.as_ref(), &heard);
        }
    }
    save(file.as_ref(), &heard);
    heard.report(&channel.id, &call_id, "talk_ended");
}

fn save(file: Option<&PathBuf>, heard: &Heard) {
    if let Some(path) = file
        && let Err(e) = wav::write(path, &heard.samples)
    {
        report::say(&format!("loudspeaker: {}: {e}", path.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_found_and_silence_is_measured() {
        let sine = |n: i32| ((f64::from(n) * 0.125 * std::f64::consts::TAU).sin() * 16_384.0) as i16;
        let mut samples: Vec<i16> = (0..8000).map(sine).collect();
        let (hertz, db) = tone(&samples);
        assert_eq!(hertz, 1000.0);
        assert!((db + 6.02).abs() < 0.1, "{db}");
        assert!(silence(&samples) < 2);
        samples[4000..4800].fill(0);
        assert!((99..=102).contains(&silence(&samples)));
    }

    #[test]
    fn sound_in_a_program_stream() {
        let mut pack = Vec::new();
        crate::ps::pack_header(0, &mut pack);
        crate::ps::pes(0xC0, 3600, &[1, 2, 3], &mut pack);
        crate::ps::pes(0xC0, 3600, &[4], &mut pack);
        let p = rtp::Parsed { payload_type: 96, timestamp: 0, payload: &pack };
        assert_eq!(sound(&p), [1, 2, 3, 4]);
    }
}
