//! UDP with the kernel's own arrival times, and the clocks used.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

pub const BATCH: usize = 64;
pub const DATAGRAM: usize = 2048;

fn clock(which: libc::clockid_t) -> u64 {
    // SAFETY: all-zero is a valid timespec, and the pointer is to it.
    let t = unsafe {
        let mut t: libc::timespec = zeroed();
        libc::clock_gettime(which, &mut t);
        t
    };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Wall clock in nanoseconds: the clock of the kernel's arrival times.
pub fn wall() -> u64 {
    clock(libc::CLOCK_REALTIME)
}

/// CPU time of this thread in nanoseconds.
pub fn thread_cpu() -> u64 {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Keeps the calling thread, and what it starts from now on, on one processor.
pub fn pin(cpu: Option<usize>) {
    let Some(cpu) = cpu else { return };
    // SAFETY: all-zero is a valid cpu_set_t; cpu is below the number of processors.
    unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

fn option(socket: &UdpSocket, level: i32, name: i32, value: i32) -> bool {
    // SAFETY: the pointer is to an int of the given size.
    unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size_of::<i32>() as u32) == 0
    }
}

/// As large a receive buffer as the kernel gives.
pub fn enlarge(socket: &UdpSocket, bytes: i32) {
    if !option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes) {
        option(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes);
    }
}

/// Datagrams for which sockets of these local ports had no room, since they were opened (`/proc/net/udp`).
pub fn dropped(ports: std::ops::RangeInclusive<u16>) -> u64 {
    let text = std::fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let lines = text.lines().skip(1).filter_map(|l| {
        let fields: Vec<&str> = l.split_whitespace().collect();
        let port = u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()?;
        ports.contains(&port).then(|| fields.last().and_then(|d| d.parse::<u64>().ok()))?
    });
    lines.sum()
}

/// A socket on loopback with a large receive buffer, arrival times and a count of what overflowed it.
pub fn open() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    if !option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 4 << 20) {
        option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, 4 << 20);
    }
    option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
    option(&socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Waits until a socket is readable.
pub fn readable(socket: &UdpSocket, ms: i32) -> bool {
    let mut p = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&mut p, 1, ms) > 0 }
}

/// Received datagrams of one call.
pub struct Inbox {
    buf: Vec<u8>,
    control: Vec<[u64; 16]>,
    lens: Vec<(usize, SocketAddr, u64)>,
    /// Datagrams that the receive buffer had no room for, as the kernel last told.
    pub overflow: u32,
}

impl Default for Inbox {
    fn default() -> Self {
        Inbox { buf: vec![0; BATCH * DATAGRAM], control: vec![[0; 16]; BATCH], lens: Vec::new(), overflow: 0 }
    }
}

impl Inbox {
    /// Takes what has arrived; the number of datagrams.
    pub fn fill(&mut self, socket: &UdpSocket) -> usize {
        self.lens.clear();
        // SAFETY: all-zero is a valid value of these plain C structures.
        let (mut names, mut vectors, mut heads): (
            [libc::sockaddr_in; BATCH],
            [libc::iovec; BATCH],
            [libc::mmsghdr; BATCH],
        ) = unsafe { (zeroed(), zeroed(), zeroed()) };
        for (n, chunk) in self.buf.chunks_exact_mut(DATAGRAM).enumerate().take(BATCH) {
            vectors[n] = libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: DATAGRAM };
            let h = &mut heads[n].msg_hdr;
            h.msg_name = (&raw mut names[n]).cast();
            h.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            h.msg_iov = &raw mut vectors[n];
            h.msg_iovlen = 1;
            h.msg_control = self.control[n].as_mut_ptr().cast();
            h.msg_controllen = size_of::<[u64; 16]>() as _;
        }
        // SAFETY: every pointer is to a live array of BATCH entries; a null timeout is allowed.
        let got = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                heads.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        for n in 0..usize::try_from(got).unwrap_or(0) {
            let mut at = 0;
            // SAFETY: the kernel filled the control buffer of this message; the macros stay within msg_controllen.
            unsafe {
                let mut c = libc::CMSG_FIRSTHDR(&heads[n].msg_hdr);
                while !c.is_null() {
                    if (*c).cmsg_level == libc::SOL_SOCKET && (*c).cmsg_type == libc::SCM_TIMESTAMPNS {
                        let t: libc::timespec = std::ptr::read_unaligned(libc::CMSG_DATA(c).cast());
                        at = t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64;
                    } else if (*c).cmsg_level == libc::SOL_SOCKET && (*c).cmsg_type == libc::SO_RXQ_OVFL {
                        self.overflow = std::ptr::read_unaligned(libc::CMSG_DATA(c).cast());
                    }
                    c = libc::CMSG_NXTHDR(&heads[n].msg_hdr, c);
                }
            }
            let from =
                SocketAddrV4::new(u32::from_be(names[n].sin_addr.s_addr).into(), u16::from_be(names[n].sin_port));
            self.lens.push(((heads[n].msg_len as usize).min(DATAGRAM), from.into(), at));
        }
        self.lens.len()
    }

    /// The n-th datagram, its sender and the wall time of its arrival.
    pub fn get(&self, n: usize) -> Option<(&[u8], SocketAddr, u64)> {
        let (len, from, at) = *self.lens.get(n)?;
        Some((self.buf.get(n * DATAGRAM..n * DATAGRAM + len)?, from, at))
    }
}

/// One message for many sockets: runs of `segment` bytes to one address.
pub struct Message {
    pub to: SocketAddr,
    pub start: usize,
    pub len: usize,
    pub segment: u16,
}

/// Sends all messages by `sendmmsg` with `UDP_SEGMENT`; the number handed over.
pub fn send_segmented(socket: &UdpSocket, buf: &[u8], messages: &[Message]) -> usize {
    let mut done = 0;
    for chunk in messages.chunks(128) {
        // SAFETY: all-zero is a valid value of these plain C structures.
        let (mut names, mut vectors, mut heads, mut controls): (
            [libc::sockaddr_in; 128],
            [libc::iovec; 128],
            [libc::mmsghdr; 128],
            [[u64; 3]; 128],
        ) = unsafe { (zeroed(), zeroed(), zeroed(), zeroed()) };
        for (n, m) in chunk.iter().enumerate() {
            let SocketAddr::V4(to) = m.to else { continue };
            let Some(bytes) = buf.get(m.start..m.start + m.len) else { continue };
            names[n].sin_family = libc::AF_INET as u16;
            names[n].sin_port = to.port().to_be();
            names[n].sin_addr.s_addr = u32::from(*to.ip()).to_be();
            vectors[n] = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            let h = &mut heads[n].msg_hdr;
            h.msg_name = (&raw mut names[n]).cast();
            h.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            h.msg_iov = &raw mut vectors[n];
            h.msg_iovlen = 1;
            if m.len > usize::from(m.segment) {
                h.msg_control = controls[n].as_mut_ptr().cast();
                // SAFETY: room for one control message with two bytes is in the 24 bytes of `controls[n]`.
                unsafe {
                    h.msg_controllen = libc::CMSG_SPACE(2) as _;
                    let c = libc::CMSG_FIRSTHDR(h);
                    (*c).cmsg_level = libc::SOL_UDP;
                    (*c).cmsg_type = libc::UDP_SEGMENT;
                    (*c).cmsg_len = libc::CMSG_LEN(2) as _;
                    std::ptr::write_unaligned(libc::CMSG_DATA(c).cast(), m.segment);
                }
            }
        }
        let mut at = 0;
        while at < chunk.len() {
            // SAFETY: pointers are to arrays that outlive the call; `at` is within them.
            let n =
                unsafe { libc::sendmmsg(socket.as_raw_fd(), heads[at..].as_mut_ptr(), (chunk.len() - at) as u32, 0) };
            if n <= 0 {
                break;
            }
            at += n as usize;
        }
        done += at;
    }
    done
}
