//! RTP over UDP: a socket with a large receive buffer that is read in batches.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::addr::RawAddr;

/// Datagrams taken in one system call.
pub const BATCH: usize = 32;
/// Largest datagram taken whole; longer ones are cut and marked.
pub const MAX_DATAGRAM: usize = 2048;
/// Receive buffer asked for: a key frame burst at 20 Mbit/s for half a second.
const RECEIVE_BUFFER: usize = 2 << 20;
const SEND_BUFFER: usize = 1 << 20;

/// Datagrams of one receive call. Reuse it.
#[derive(Debug)]
pub struct Batch {
    data: Box<[u8]>,
    got: Vec<(usize, Option<SocketAddr>, bool)>,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    pub fn new() -> Self {
        Batch { data: vec![0; BATCH * MAX_DATAGRAM].into_boxed_slice(), got: Vec::with_capacity(BATCH) }
    }

    pub fn len(&self) -> usize {
        self.got.len()
    }

    pub fn is_empty(&self) -> bool {
        self.got.is_empty()
    }

    /// Datagrams with their source, in order of arrival. Cut ones are left out.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        self.got
            .iter()
            .zip(self.data.chunks_exact(MAX_DATAGRAM))
            .filter_map(|((len, from, cut), d)| Some((d.get(..*len)?, from.filter(|_| !cut)?)))
    }

    /// Datagrams longer than [`MAX_DATAGRAM`].
    pub fn cut(&self) -> usize {
        self.got.iter().filter(|g| g.2).count()
    }
}

/// What a socket is for: media wants larger buffers (as far as the kernel grants them).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Media,
    Reports,
}

/// Binds without blocking. A socket of IPv6 takes IPv4 too (RFC 3493 5.3): it is sent to by addresses of either kind.
pub(crate) fn bind_plain(addr: SocketAddr, what: Use) -> io::Result<std::net::UdpSocket> {
    let s = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    s.set_nonblocking(true)?;
    if addr.is_ipv6() {
        s.set_only_v6(false)?;
    }
    if what == Use::Media {
        // Only a wish: the kernel caps it at net.core.rmem_max.
        let _ = s.set_recv_buffer_size(RECEIVE_BUFFER);
        let _ = s.set_send_buffer_size(SEND_BUFFER);
    }
    s.bind(&addr.into())?;
    Ok(s.into())
}

/// The address as its sender means it: an IPv4 address that a socket of IPv6 shows as mapped becomes itself again.
pub fn unmapped(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V6(a) => a.ip().to_ipv4_mapped().map_or(addr, |ip| SocketAddr::new(ip.into(), a.port())),
        SocketAddr::V4(_) => addr,
    }
}

/// Takes up to [`BATCH`] datagrams without waiting; 0 when nothing is there.
pub fn receive_now(socket: &std::net::UdpSocket, batch: &mut Batch) -> io::Result<usize> {
    batch.got.clear();
    match receive(socket.as_raw_fd(), batch) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(0),
        r => r,
    }
}

/// A bound UDP socket for media.
#[derive(Debug)]
pub struct RtpSocket {
    socket: UdpSocket,
}

impl RtpSocket {
    /// Binds with enlarged buffers (as far as the kernel grants them). Call within a tokio runtime.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        Self::watched(bind_plain(addr, Use::Media)?)
    }

    pub(crate) fn watched(socket: std::net::UdpSocket) -> io::Result<Self> {
        Ok(RtpSocket { socket: UdpSocket::from_std(socket)? })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The socket itself: for [`crate::BatchSender::flush`] and single sends.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Granted receive buffer in bytes.
    pub fn receive_buffer(&self) -> io::Result<usize> {
        socket2::SockRef::from(&self.socket).recv_buffer_size()
    }

    pub async fn send_to(&self, data: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket.send_to(data, to).await
    }

    /// Waits until at least one datagram is there and takes up to [`BATCH`] in one call. Cancel safe. ICMP errors of
    /// earlier sends are not errors of receiving and are passed over.
    pub async fn recv(&self, batch: &mut Batch) -> io::Result<usize> {
        loop {
            let r = self.socket.async_io(Interest::READABLE, || receive(self.socket.as_raw_fd(), batch)).await;
            match r {
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::ConnectionRefused
                            | io::ErrorKind::HostUnreachable
                            | io::ErrorKind::NetworkUnreachable
                            | io::ErrorKind::Interrupted
                    ) => {}
                r => return r,
            }
        }
    }

    /// Takes what is there without waiting; 0 when nothing is. Fewer than [`BATCH`] are all there were: the socket counts as
    /// drained from then on, without a further system call that only says so.
    pub fn try_recv(&self, batch: &mut Batch) -> io::Result<usize> {
        batch.got.clear();
        let taken = self.socket.try_io(Interest::READABLE, || match receive(self.socket.as_raw_fd(), batch)? {
            BATCH => Ok(()),
            // What came after the call is a new event to the runtime, which this does not clear.
            _ => Err(io::ErrorKind::WouldBlock.into()),
        });
        match taken {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => Err(e),
            _ => Ok(batch.len()),
        }
    }
}

impl std::os::fd::AsFd for RtpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn receive(fd: i32, batch: &mut Batch) -> io::Result<usize> {
    batch.got.clear();
    let mut addrs = [RawAddr::empty(); BATCH];
    let mut iovs = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH];
    // SAFETY: mmsghdr is plain integers and pointers, for which zero is valid.
    let mut msgs: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    for (i, chunk) in batch.data.chunks_exact_mut(MAX_DATAGRAM).enumerate().take(BATCH) {
        iovs[i] = libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: MAX_DATAGRAM };
        let h = &mut msgs[i].msg_hdr;
        h.msg_name = (&raw mut addrs[i]).cast();
        h.msg_namelen = RawAddr::LEN;
        h.msg_iov = &raw mut iovs[i];
        h.msg_iovlen = 1;
    }
    // SAFETY: every header points into `batch.data`, `addrs` and `iovs`, which outlive the call, with their true sizes;
    // MSG_DONTWAIT and the null timeout make it return at once.
    let n = unsafe {
        libc::recvmmsg(fd, msgs.as_mut_ptr(), BATCH as libc::c_uint, libc::MSG_DONTWAIT, std::ptr::null_mut())
    };
    if n < 0 {
        return Err(io::Error::last_os_error());
    }
    for (m, a) in msgs.iter().zip(&addrs).take(n as usize) {
        let len = (m.msg_len as usize).min(MAX_DATAGRAM);
        batch.got.push((len, a.to_std(), m.msg_hdr.msg_flags & libc::MSG_TRUNC != 0));
    }
    Ok(n as usize)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[tokio::test]
    async fn batches_keep_order_and_source() {
        let a = RtpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let b = RtpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        for i in 0..50u8 {
            b.send_to(&vec![i; 100 + usize::from(i)], a.local_addr().unwrap()).await.unwrap();
        }
        b.send_to(&[9; 3000], a.local_addr().unwrap()).await.unwrap();
        let mut batch = Batch::new();
        let (mut seen, mut cut) = (Vec::new(), 0);
        while seen.len() + cut < 51 {
            a.recv(&mut batch).await.unwrap();
            cut += batch.cut();
            for (d, from) in batch.iter() {
                assert_eq!(from, b.local_addr().unwrap());
                assert_eq!(d.len(), 100 + usize::from(d[0]));
                seen.push(d[0]);
            }
        }
        assert_eq!((seen, cut), ((0..50).collect(), 1));
        assert_eq!(a.try_recv(&mut batch).unwrap(), 0);
    }
}
