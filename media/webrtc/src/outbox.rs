//! Datagrams of one round of a worker, handed to the kernel in one `sendmmsg`; runs of equal size to one peer as one
//! message with `UDP_SEGMENT` (GSO), where the kernel has it.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use socket2::SockAddr;

use crate::stats::Counters;

/// Segments in one GSO message: the kernel's limit is 64 (128 since 6.9).
const MAX_SEGMENTS: usize = 60;
/// A GSO message must stay below 64 KiB.
const MAX_RUN: usize = 60_000;
/// Messages in one `sendmmsg`.
const MAX_BATCH: usize = 128;
/// Bytes gathered before they are handed over.
const FLUSH_AT: usize = 512 * 1024;

/// The endpoint's sockets: one for each bound address.
pub struct Sockets {
    pub udp: Vec<UdpSocket>,
    /// The address by which packets of a socket are told to arrive (a host candidate).
    pub locals: Vec<SocketAddr>,
    v6: Vec<bool>,
    gso: AtomicBool,
}

impl Sockets {
    pub fn new(udp: Vec<UdpSocket>, locals: Vec<SocketAddr>) -> Self {
        let v6 = udp.iter().map(|s| s.local_addr().is_ok_and(|a| a.is_ipv6())).collect();
        Sockets { udp, locals, v6, gso: AtomicBool::new(true) }
    }

    /// The socket for a destination: the first of its family.
    fn pick(&self, to: &SocketAddr) -> Option<&UdpSocket> {
        self.v6.iter().position(|v6| *v6 == to.is_ipv6()).and_then(|i| self.udp.get(i))
    }

    /// Sends one datagram; a full buffer drops it, as a network does.
    pub fn send(&self, to: SocketAddr, data: &[u8], counters: &Counters) {
        let Some(socket) = self.pick(&to) else { return };
        match socket.send_to(data, to) {
            Ok(_) => counters.sent_packets.fetch_add(1, Relaxed),
            Err(_) => counters.send_errors.fetch_add(1, Relaxed),
        };
    }
}

struct Run {
    to: SocketAddr,
    start: usize,
    len: usize,
    /// Size of all segments but the last.
    segment: usize,
    segments: usize,
    open: bool,
}

/// The send buffer of one worker.
pub struct Outbox {
    sockets: Arc<Sockets>,
    counters: Arc<Counters>,
    /// Packets are written at its end and then committed.
    pub buf: Vec<u8>,
    runs: Vec<Run>,
    /// Share of media datagrams to lose, for tests.
    loss: f32,
}

impl Outbox {
    pub fn new(sockets: Arc<Sockets>, counters: Arc<Counters>, loss: f32) -> Self {
        Outbox { sockets, counters, buf: Vec::with_capacity(FLUSH_AT + 65_536), runs: Vec::with_capacity(256), loss }
    }

    /// Takes what stands in `buf` since `start` as one datagram.
    pub fn commit(&mut self, to: SocketAddr, start: usize) {
        let len = self.buf.len().saturating_sub(start);
        if len == 0 {
            return;
        }
        if self.loss > 0.0 && rand::random::<f32>() < self.loss && self.buf.get(start).is_some_and(|b| b >> 6 == 2) {
            self.buf.truncate(start);
            self.counters.test_losses.fetch_add(1, Relaxed);
            return;
        }
        if let Some(run) = self.runs.last_mut()
            && run.open
            && run.to == to
            && run.start + run.len == start
            && len <= run.segment
            && run.len + len <= MAX_RUN
            && run.segments < MAX_SEGMENTS
        {
            run.open = len == run.segment;
            run.len += len;
            run.segments += 1;
        } else {
            self.runs.push(Run { to, start, len, segment: len, segments: 1, open: true });
        }
        if self.buf.len() >= FLUSH_AT {
            self.flush();
        }
    }

    /// Queues a datagram that is made already.
    pub fn push(&mut self, to: SocketAddr, data: &[u8]) {
        let start = self.buf.len();
        self.buf.extend_from_slice(data);
        self.commit(to, start);
    }

    /// Hands everything to the kernel.
    pub fn flush(&mut self) {
        let runs = std::mem::take(&mut self.runs);
        for v6 in [false, true] {
            let of_family: Vec<&Run> = runs.iter().filter(|r| r.to.is_ipv6() == v6).collect();
            let Some(socket) = of_family.first().and_then(|r| self.sockets.pick(&r.to)) else { continue };
            for batch in of_family.chunks(MAX_BATCH) {
                self.send_batch(socket, batch);
            }
        }
        self.runs = runs;
        self.runs.clear();
        self.buf.clear();
    }

    fn send_batch(&self, socket: &UdpSocket, batch: &[&Run]) {
        if !self.sockets.gso.load(Relaxed) {
            for run in batch {
                self.send_apart(socket, run);
            }
            return;
        }
        let mut done = 0;
        while done < batch.len() {
            match self.sendmmsg(socket, &batch[done..]) {
                Ok(0) => break,
                Ok(n) => {
                    for run in &batch[done..(done + n).min(batch.len())] {
                        self.counters.sent_packets.fetch_add(run.segments as u64, Relaxed);
                    }
                    done += n;
                }
                Err(e) => match e.raw_os_error() {
                    Some(libc::EAGAIN | libc::ENOBUFS) => {
                        if !wait_writable(socket) {
                            let lost: usize = batch[done..].iter().map(|r| r.segments).sum();
                            self.counters.send_dropped.fetch_add(lost as u64, Relaxed);
                            return;
                        }
                    }
                    Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP) if batch[done].segments > 1 => {
                        // No GSO on this path (a card without checksum offload, a tunnel): do without from now on.
                        if self.sockets.gso.swap(false, Relaxed) {
                            tracing::info!(error = %e, "UDP segmentation is not possible here; sending datagrams one by one");
                        }
                        for run in &batch[done..] {
                            self.send_apart(socket, run);
                        }
                        return;
                    }
                    Some(libc::EINTR) => {}
                    _ => {
                        // This peer is not reachable now: the others are.
                        self.counters.send_errors.fetch_add(1, Relaxed);
                        done += 1;
                    }
                },
            }
        }
    }

    fn send_apart(&self, socket: &UdpSocket, run: &Run) {
        let Some(bytes) = self.buf.get(run.start..run.start + run.len) else { return };
        for datagram in bytes.chunks(run.segment.max(1)) {
            match socket.send_to(datagram, run.to) {
                Ok(_) => self.counters.sent_packets.fetch_add(1, Relaxed),
                Err(_) => self.counters.send_errors.fetch_add(1, Relaxed),
            };
        }
    }

    fn sendmmsg(&self, socket: &UdpSocket, runs: &[&Run]) -> std::io::Result<usize> {
        let addrs: Vec<SockAddr> = runs.iter().map(|r| SockAddr::from(r.to)).collect();
        let mut iovecs: Vec<libc::iovec> = runs
            .iter()
            .map(|r| {
                let bytes = self.buf.get(r.start..r.start + r.len).unwrap_or_default();
                libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
            })
            .collect();
        let mut controls = vec![Control::default(); runs.len()];
        let mut messages: Vec<libc::mmsghdr> = Vec::with_capacity(runs.len());
        for (((run, addr), iov), control) in runs.iter().zip(&addrs).zip(&mut iovecs).zip(&mut controls) {
            // SAFETY: an all-zero mmsghdr is valid: null pointers with zero lengths.
            let mut m: libc::mmsghdr = unsafe { std::mem::zeroed() };
            m.msg_hdr.msg_name = addr.as_ptr().cast_mut().cast();
            m.msg_hdr.msg_namelen = addr.len();
            m.msg_hdr.msg_iov = iov;
            m.msg_hdr.msg_iovlen = 1;
            if run.segments > 1 {
                m.msg_hdr.msg_control = std::ptr::from_mut(control).cast();
                // SAFETY: CMSG_SPACE and CMSG_LEN only compute; the control buffer is aligned and has CMSG_SPACE(2) bytes or more.
                unsafe {
                    m.msg_hdr.msg_controllen = libc::CMSG_SPACE(2) as usize;
                    let c = libc::CMSG_FIRSTHDR(&m.msg_hdr);
                    if !c.is_null() {
                        (*c).cmsg_level = libc::SOL_UDP;
                        (*c).cmsg_type = libc::UDP_SEGMENT;
                        (*c).cmsg_len = libc::CMSG_LEN(2) as usize;
                        std::ptr::write_unaligned(libc::CMSG_DATA(c).cast::<u16>(), run.segment as u16);
                    }
                }
            }
            messages.push(m);
        }
        // SAFETY: every pointer in `messages` points into `addrs`, `iovecs`, `controls` or `self.buf`, which outlive the call.
        let n = unsafe {
            libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), messages.len() as u32, libc::MSG_DONTWAIT)
        };
        if n < 0 { Err(std::io::Error::last_os_error()) } else { Ok(n as usize) }
    }
}

/// Room for one control message with two bytes.
#[derive(Clone, Default)]
#[repr(C, align(8))]
struct Control([u8; 32]);

/// Waits a moment for room in the socket's buffer.
fn wait_writable(socket: &UdpSocket) -> bool {
    let mut p = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&mut p, 1, 5) > 0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn runs_of_equal_size_arrive_as_they_were() {
        let rx = UdpSocket::bind("127.0.0.1:0").unwrap();
        rx.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        other.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        let tx = UdpSocket::bind("127.0.0.1:0").unwrap();
        let local = tx.local_addr().unwrap();
        let counters = Arc::new(Counters::default());
        let mut out = Outbox::new(Arc::new(Sockets::new(vec![tx], vec![local])), counters.clone(), 0.0);
        let to = rx.local_addr().unwrap();
        let sizes = [1200usize, 1200, 1200, 700, 1200, 1200, 1300, 40];
        for (i, n) in sizes.iter().enumerate() {
            out.push(to, &vec![i as u8; *n]);
        }
        out.push(other.local_addr().unwrap(), b"alone");
        out.flush();
        let mut buf = [0; 2000];
        for (i, n) in sizes.iter().enumerate() {
            let got = rx.recv(&mut buf).unwrap();
            assert_eq!((got, buf[0]), (*n, i as u8));
        }
        assert_eq!(other.recv(&mut buf).unwrap(), 5);
        assert_eq!(counters.sent_packets.load(Relaxed), 9);
    }
}
