//! The way of the packets: a UDP socket, or a TCP connection with RFC 4571 framing, with the faults asked for.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::faults::Faults;
use crate::odd::Bucket;
use crate::rtp;

/// Made before the answer is sent, so that the answer can name its port.
pub enum Prepared {
    Udp {
        socket: UdpSocket,
        reports: Option<UdpSocket>,
        target: SocketAddr,
    },
    /// The platform listens.
    Connect {
        target: SocketAddr,
    },
    /// We listen.
    Listen {
        listener: TcpListener,
    },
}

impl Prepared {
    /// An even port and the next one for RTCP, where the kernel has such a pair.
    pub fn udp(bind: IpAddr, target: SocketAddr) -> std::io::Result<Self> {
        for _ in 0..16 {
            let socket = UdpSocket::bind((bind, 0))?;
            let port = socket.local_addr()?.port();
            if port % 2 == 0
                && let Ok(reports) = UdpSocket::bind((bind, port + 1))
            {
                return Ok(Self::Udp { socket, reports: Some(reports), target });
            }
        }
        Ok(Self::Udp { socket: UdpSocket::bind((bind, 0))?, reports: None, target })
    }

    pub fn port(&self) -> u16 {
        match self {
            Self::Udp { socket, .. } => socket.local_addr().map_or(9, |a| a.port()),
            Self::Connect { .. } => 9,
            Self::Listen { listener } => listener.local_addr().map_or(9, |a| a.port()),
        }
    }
}

enum Wire {
    Udp { socket: UdpSocket, reports: Option<UdpSocket>, target: SocketAddr },
    Tcp(TcpStream),
}

pub struct Out {
    wire: Wire,
    faults: Faults,
    ssrc: u32,
    sequence: u16,
    side_sequence: u16,
    turned: bool,
    heard: (u32, u8),
    pub packets: u32,
    pub octets: u32,
    next_report: Instant,
    /// Since the first packet, for faults that come later.
    began: Instant,
    bucket: Option<Bucket>,
    /// Packets that a burst holds back.
    held: Vec<Vec<u8>>,
    burst_at: Instant,
    changed: bool,
}

impl Out {
    /// `None`: told to stop, or a fault keeps the connection from being made.
    pub fn open(
        prepared: Prepared,
        bind: IpAddr,
        ssrc: u32,
        faults: &Faults,
        stop: &AtomicBool,
    ) -> Result<Option<Self>, String> {
        let wire = match prepared {
            Prepared::Udp { socket, reports, target } if !faults.other_address => {
                Some(Wire::Udp { socket, reports, target })
            }
            Prepared::Udp { target, .. } => {
                let ip = if bind.is_loopback() && bind.is_ipv4() { Ipv4Addr::new(127, 0, 0, 2).into() } else { bind };
                let socket = UdpSocket::bind((ip, 0)).map_err(|e| format!("no socket on {ip}: {e}"))?;
                Some(Wire::Udp { socket, reports: None, target })
            }
            _ if faults.tcp_never_connects => None,
            Prepared::Connect { target } => connect(target, stop)?.map(Wire::Tcp),
            Prepared::Listen { listener } => accept(&listener, stop)?.map(Wire::Tcp),
        };
        let Some(wire) = wire else { return Ok(None) };
        if let Wire::Tcp(stream) = &wire {
            let _ = stream.set_nodelay(true);
            let _ = stream.set_write_timeout(Some(Duration::from_secs(3)));
        }
        let ssrc = if faults.wrong_ssrc { ssrc ^ 0x00FF_00FF } else { ssrc };
        let sequence = rand::random();
        Ok(Some(Self {
            wire,
            faults: faults.clone(),
            ssrc,
            sequence,
            side_sequence: rand::random(),
            turned: false,
            heard: (0, 0),
            packets: 0,
            octets: 0,
            next_report: Instant::now(),
            began: Instant::now(),
            bucket: faults.odd.low_rate.map(Bucket::new),
            held: Vec::new(),
            burst_at: Instant::now(),
            changed: false,
        }))
    }

    pub fn next_sequence(&self) -> u16 {
        self.sequence
    }

    pub fn transport(&self) -> &'static str {
        if matches!(self.wire, Wire::Udp { .. }) { "udp" } else { "tcp" }
    }

    /// Numbers its packets anew when the time has come.
    pub fn turn(&mut self, shape: &crate::shape::Shape, elapsed: f64) {
        if shape.sequence_restart.is_some_and(|s| elapsed >= s) && !self.turned {
            self.turned = true;
            self.sequence = self.sequence.wrapping_add(20_000);
        }
    }

    /// One block of sound in payload type 8.
    pub fn side(&mut self, sound: &[u8], timestamp: u32) -> Result<(), String> {
        let same = self.faults.shape.side_audio_same;
        let (sequence, ssrc) =
            if same { (&mut self.sequence, self.ssrc) } else { (&mut self.side_sequence, self.ssrc ^ 0x5555) };
        let packet = rtp::packet(8, false, *sequence, timestamp, ssrc, sound);
        *sequence = sequence.wrapping_add(1);
        match &mut self.wire {
            Wire::Udp { socket, target, .. } => {
                let _ = socket.send_to(&packet, *target);
                Ok(())
            }
            Wire::Tcp(connection) => {
                let mut bytes = (packet.len() as u16).to_be_bytes().to_vec();
                bytes.extend_from_slice(&packet);
                connection.write_all(&bytes).map_err(|e| format!("media connection: {e}"))
            }
        }
    }

    /// Sends the payloads of one picture. Over UDP its packets are spread over at most 60 % of the frame time.
    pub fn frame(&mut self, parts: &[Vec<u8>], timestamp: u32, frame_time: Duration) -> Result<(), String> {
        let count = parts.len();
        if count == 0 {
            return Ok(());
        }
        let (odd, shape) = (self.faults.odd.clone(), self.faults.shape.clone());
        let payload_type = shape.payload_type.unwrap_or(96);
        let gap = (frame_time.mul_f64(0.6 * 4.0) / count as u32).min(Duration::from_millis(2));
        let mut stream = Vec::new();
        let since = self.began.elapsed().as_secs_f64();
        if !self.changed && odd.changes_ssrc.is_some_and(|s| since >= s) {
            self.changed = true;
            self.ssrc ^= 0x0000_0FF0;
            self.sequence = rand::random();
        }
        if shape.preamble && self.packets == 0 {
            stream.extend_from_slice(&[1, 0, 1]);
            stream.extend([7; 253]);
        }
        for (n, part) in parts.iter().enumerate() {
            let marker = n + 1 == count && !shape.no_marker;
            let mut packet = rtp::packet(payload_type, marker, self.sequence, timestamp, self.ssrc, part);
            self.sequence = self.sequence.wrapping_add(1);
            self.packets = self.packets.wrapping_add(1);
            self.octets = self.octets.wrapping_add(part.len() as u32);
            let keep = if self.faults.garbage_rtp {
                0
            } else if self.faults.garbage || odd.private_encoding.is_some() {
                12
            } else {
                packet.len()
            };
            packet.iter_mut().skip(keep).for_each(|b| *b = rand::random());
            let udp = matches!(self.wire, Wire::Udp { .. });
            if udp && self.faults.loss > 0.0 && rand::random::<f64>() * 100.0 < self.faults.loss {
                continue;
            }
            if let (Wire::Udp { .. }, Some(bucket)) = (&self.wire, &mut self.bucket)
                && !bucket.takes(packet.len())
            {
                continue;
            }
            if odd.bursts.is_some() {
                self.held.push(packet);
                continue;
            }
            match &self.wire {
                Wire::Udp { socket, target, .. } => {
                    // A refused port is not ours to judge: a camera goes on sending.
                    let _ = socket.send_to(&packet, target);
                    if n % 4 == 3 && n + 1 < count {
                        std::thread::sleep(gap);
                    }
                }
                Wire::Tcp(_) => {
                    if shape.stray && self.packets % 50 == 49 {
                        stream.push(0x55);
                    }
                    if shape.dollar {
                        stream.extend_from_slice(b"$\0");
                    }
                    stream.extend_from_slice(&(packet.len() as u16).to_be_bytes());
                    stream.extend_from_slice(&packet);
                }
            }
        }
        if let Some(seconds) = odd.bursts
            && self.burst_at.elapsed().as_secs_f64() >= seconds
        {
            self.burst_at = Instant::now();
            for (n, packet) in std::mem::take(&mut self.held).into_iter().enumerate() {
                match &self.wire {
                    Wire::Udp { socket, target, .. } => {
                        let _ = socket.send_to(&packet, target);
                        if n % 16 == 15 {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                    }
                    Wire::Tcp(_) => {
                        stream.extend_from_slice(&(packet.len() as u16).to_be_bytes());
                        stream.extend_from_slice(&packet);
                    }
                }
            }
        }
        if matches!(self.wire, Wire::Tcp(_)) && odd.bad_framing.is_some_and(|s| since >= s) {
            stream.iter_mut().for_each(|b| *b = rand::random::<u8>() & 0x3F);
        }
        if let (Wire::Tcp(connection), Some(bucket)) = (&mut self.wire, &self.bucket) {
            // As a narrow way gives it: bit by bit.
            for piece in stream.chunks(500) {
                std::thread::sleep(bucket.time(piece.len()));
                connection.write_all(piece).map_err(|e| format!("media connection: {e}"))?;
            }
        } else if let Wire::Tcp(connection) = &mut self.wire {
            connection.write_all(&stream).map_err(|e| format!("media connection: {e}"))?;
        }
        self.sender_report(timestamp);
        Ok(())
    }

    /// Receiver reports that came back: number, and loss of the last in 1/256.
    pub fn heard(&mut self) -> (u32, u8) {
        let mut take = |b: &[u8]| {
            if b.len() >= 32 && b.get(1) == Some(&201) {
                self.heard = (self.heard.0 + 1, b.get(12).copied().unwrap_or(0));
            }
        };
        match &mut self.wire {
            Wire::Udp { reports: Some(socket), .. } => {
                let mut b = [0; 1500];
                let _ = socket.set_nonblocking(true);
                while let Ok((n, _)) = socket.recv_from(&mut b) {
                    take(b.get(..n).unwrap_or_default());
                }
            }
            Wire::Udp { .. } => {}
            Wire::Tcp(stream) => {
                let mut b = [0; 1500];
                let _ = stream.set_nonblocking(true);
                while let Ok(n) = std::io::Read::read(stream, &mut b) {
                    if n == 0 {
                        break;
                    }
                    take(b.get(2..n).unwrap_or_default());
                }
                let _ = stream.set_nonblocking(false);
            }
        }
        self.heard
    }

    /// A sender report every 5 s, from the port above ours to the port above theirs; only over UDP.
    fn sender_report(&mut self, timestamp: u32) {
        if Instant::now() < self.next_report || self.faults.garbage || self.faults.garbage_rtp {
            return;
        }
        self.next_report = Instant::now() + Duration::from_secs(5);
        if let Wire::Udp { reports: Some(socket), target, .. } = &self.wire
            && let Some(port) = target.port().checked_add(1)
        {
            let unix = jiff::Timestamp::now().as_microsecond() as f64 / 1e6;
            let report = rtp::sender_report(self.ssrc, unix, timestamp, self.packets, self.octets, "fieldsim");
            let _ = socket.send_to(&report, (target.ip(), port));
        }
    }
}

/// Three tries, one second apart (reference section 13).
fn connect(target: SocketAddr, stop: &AtomicBool) -> Result<Option<TcpStream>, String> {
    let mut last = String::new();
    for _ in 0..3 {
        match TcpStream::connect_timeout(&target, Duration::from_secs(2)) {
            Ok(stream) => return Ok(Some(stream)),
            Err(e) => last = e.to_string(),
        }
        for _ in 0..10 {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Err(format!("no media connection to {target}: {last}"))
}

/// Waits 10 s for the platform.
fn accept(listener: &TcpListener, stop: &AtomicBool) -> Result<Option<TcpStream>, String> {
    listener.set_nonblocking(true).map_err(|e| e.to_string())?;
    for _ in 0..200 {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).map_err(|e| e.to_string())?;
            return Ok(Some(stream));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err("the platform did not connect within 10 s".into())
}
