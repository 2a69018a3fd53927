//! What this machine can do at best, measured in the same run: the gateway's figures are told as ratios to these.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::Res;
use crate::clip::{Clip, FPS};
use crate::udp::{self, Inbox, Message};

/// A bare relay: takes the packets of a picture, and when it is whole (marker) sends them on.
pub struct Relay {
    pub at: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    pub fn start(to: SocketAddr, cpu: Option<usize>) -> Res<Relay> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let at = socket.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = std::thread::Builder::new().name("relay".into()).spawn(move || {
            udp::pin(cpu);
            let mut held: Vec<Vec<u8>> = Vec::new();
            let mut buf = [0u8; 2048];
            while !flag.load(Relaxed) {
                let Ok(n) = socket.recv(&mut buf) else { continue };
                held.push(buf[..n].to_vec());
                if buf[1] & 0x80 != 0 {
                    for packet in held.drain(..) {
                        let _ = socket.send_to(&packet, to);
                    }
                }
            }
        })?;
        Ok(Relay { at, stop, thread: Some(thread) })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sockets that are emptied by a thread of their own.
struct Sink {
    addresses: Vec<SocketAddr>,
    got: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    fn start(count: usize, cpu: Option<usize>) -> Res<Sink> {
        let sockets = (0..count).map(|_| udp::open()).collect::<Result<Vec<_>, _>>()?;
        let addresses = sockets.iter().map(UdpSocket::local_addr).collect::<Result<Vec<_>, _>>()?;
        let (got, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, flag) = (got.clone(), stop.clone());
        let thread = std::thread::Builder::new().name("sink".into()).spawn(move || {
            udp::pin(cpu);
            let mut inbox = Inbox::default();
            let poll = |s: &UdpSocket| libc::pollfd { fd: s.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            let mut polls: Vec<libc::pollfd> = sockets.iter().map(poll).collect();
            while !flag.load(Relaxed) {
                // SAFETY: a valid array of pollfd of the given length, over sockets that this thread owns.
                unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, 50) };
                for (socket, poll) in sockets.iter().zip(&polls) {
                    if poll.revents == 0 {
                        continue;
                    }
                    loop {
                        let n = inbox.fill(socket);
                        count.fetch_add(n as u64, Relaxed);
                        if n < udp::BATCH {
                            break;
                        }
                    }
                }
            }
        })?;
        Ok(Sink { addresses, got, stop, thread: Some(thread) })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Of an encrypting sender.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sealed {
    pub cpu_s: f64,
    pub wall_s: f64,
    pub packets: u64,
    pub arrived: u64,
}

/// Sends the clip to `count` sockets: each picture cut into equal packets, sealed by AES-256-GCM with each socket's own key,
/// one `UDP_SEGMENT` message a socket, all in one `sendmmsg`. Paced as the camera is, or as fast as it goes.
pub fn sealed(
    clip: &Clip,
    count: usize,
    time: Duration,
    paced: bool,
    own: Option<usize>,
    other: Option<usize>,
) -> Res<Sealed> {
    let sink = Sink::start(count, other)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let keys: Vec<LessSafeKey> = (0..count)
        .map(|n| UnboundKey::new(&AES_256_GCM, &[n as u8 ^ 0x5A; 32]).map(LessSafeKey::new))
        .collect::<Result<_, _>>()
        .map_err(|_| "no AES-256-GCM")?;
    let frames: Vec<Vec<u8>> = (0..clip.units.len() as u32).map(|n| clip.frame(n).1).collect();
    let work = move || {
        udp::pin(own);
        let mut out = Sealed::default();
        let (start, cpu) = (Instant::now(), udp::thread_cpu());
        let mut buf: Vec<u8> = Vec::with_capacity(4 << 20);
        let mut messages: Vec<Message> = Vec::with_capacity(count);
        let mut number = 0u64;
        while start.elapsed() < time {
            if paced {
                let due = start + Duration::from_millis(number * 1000 / FPS);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            let Some(frame) = frames.get(number as usize % frames.len().max(1)) else { break };
            number += 1;
            let pieces = frame.len().div_ceil(1150);
            let size = frame.len().div_ceil(pieces);
            buf.clear();
            messages.clear();
            for (key, to) in keys.iter().zip(&sink.addresses) {
                let begin = buf.len();
                for (n, piece) in frame.chunks(size).enumerate() {
                    let at = buf.len();
                    let mut header = [0x80u8; 12];
                    header[2..4].copy_from_slice(&((out.packets + n as u64) as u16).to_be_bytes());
                    header[4..12].copy_from_slice(&number.to_be_bytes());
                    buf.extend_from_slice(&header);
                    buf.extend_from_slice(piece);
                    let mut nonce = [0u8; 12];
                    nonce[..8].copy_from_slice(&(number << 8 | n as u64).to_be_bytes());
                    let body = &mut buf[at + 12..];
                    let Ok(tag) =
                        key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(header), body)
                    else {
                        continue;
                    };
                    buf.extend_from_slice(tag.as_ref());
                    out.packets += 1;
                }
                // The kernel takes at most 64 segments and 64 KiB in one message: a key frame is more.
                let step = (size + 28) * 50;
                for start in (begin..buf.len()).step_by(step) {
                    let len = step.min(buf.len() - start);
                    messages.push(Message { to: *to, start, len, segment: (size + 28) as u16 });
                }
                // As the gateway does: not more than half a megabyte at a time.
                if buf.len() > 512 * 1024 {
                    udp::send_segmented(&socket, &buf, &messages);
                    buf.clear();
                    messages.clear();
                }
            }
            udp::send_segmented(&socket, &buf, &messages);
        }
        out.cpu_s = (udp::thread_cpu() - cpu) as f64 / 1e9;
        out.wall_s = start.elapsed().as_secs_f64();
        std::thread::sleep(Duration::from_millis(100));
        out.arrived = sink.got.load(Relaxed);
        out
    };
    let thread = std::thread::Builder::new().name("sealed".into()).spawn(work)?;
    thread.join().map_err(|_| "the sealing thread ended".into())
}

/// CPU milliseconds of the server's side of one bare DTLS 1.2 handshake in memory, median of `count`.
pub fn handshake(count: usize) -> Res<f64> {
    use dimpl::{Config, Dtls, Output};
    let failed = |e: String| -> Box<dyn std::error::Error + Send + Sync> { e.into() };
    let config = Arc::new(Config::builder().build().map_err(|e| failed(e.to_string()))?);
    let ours = dimpl::certificate::generate_self_signed_certificate().map_err(|e| failed(e.to_string()))?;
    let theirs = dimpl::certificate::generate_self_signed_certificate().map_err(|e| failed(e.to_string()))?;
    let mut buf = vec![0u8; 8192];
    let mut times = Vec::new();
    for _ in 0..count {
        let now = Instant::now();
        let mut server = Dtls::new_12(config.clone(), ours.clone(), now);
        let mut client = Dtls::new_12(config.clone(), theirs.clone(), now);
        client.set_active(true);
        client.handle_timeout(now).map_err(|e| failed(e.to_string()))?;
        let begun = udp::thread_cpu();
        server.handle_timeout(now).map_err(|e| failed(e.to_string()))?;
        let mut spent = udp::thread_cpu() - begun;
        let mut keys = 0;
        // Four flights and some; each side speaks until it waits.
        for _ in 0..20 {
            for server_speaks in [false, true] {
                let (speaker, hearer) =
                    if server_speaks { (&mut server, &mut client) } else { (&mut client, &mut server) };
                let mut flight: Vec<Vec<u8>> = Vec::new();
                let begun = udp::thread_cpu();
                for _ in 0..100 {
                    match speaker.poll_output(&mut buf) {
                        Output::Packet(p) => flight.push(p.to_vec()),
                        Output::BufferTooSmall { needed } => buf.resize(needed, 0),
                        Output::Timeout(_) => break,
                        Output::KeyingMaterial(..) => keys += 1,
                        _ => {}
                    }
                }
                let spoke = udp::thread_cpu() - begun;
                let begun = udp::thread_cpu();
                for packet in &flight {
                    hearer.handle_packet(packet).map_err(|e| failed(e.to_string()))?;
                }
                let heard = udp::thread_cpu() - begun;
                spent += if server_speaks { spoke } else { heard };
            }
            if keys >= 2 {
                break;
            }
        }
        if keys < 2 {
            return Err("the bare DTLS handshake did not end".into());
        }
        times.push(spent as f64 / 1e6);
    }
    Ok(crate::stats::median(&times))
}
