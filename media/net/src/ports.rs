//! The pool of media ports: an even RTP port with its RTCP port above, rested before it is used again.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, UdpSocket};

use crate::udp::{RtpSocket, Use, bind_plain};

/// Ports tried in one allocation before giving up (others on this machine may hold some).
const MAX_TRIES: usize = 256;

/// Why no port could be had.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error("all {0} media port pairs are in use or resting")]
    Exhausted(usize),
    #[error("no media port could be bound: {0}")]
    Bind(#[source] io::Error),
}

/// How full the pool is, in pairs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortPoolStats {
    pub total: usize,
    pub used: usize,
    /// Given back, not yet free again.
    pub resting: usize,
    /// Allocations refused.
    pub refused: u64,
    /// Ports found taken by someone else.
    pub foreign: u64,
}

#[derive(Debug)]
struct State {
    free: VecDeque<u16>,
    resting: VecDeque<(Instant, u16)>,
    used: usize,
    total: usize,
    refused: u64,
    foreign: u64,
}

#[derive(Debug)]
struct Shared {
    address: IpAddr,
    drain: Duration,
    state: Mutex<State>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pool; clones share it.
#[derive(Debug, Clone)]
pub struct PortPool {
    shared: Arc<Shared>,
}

/// Holds a pair of ports; dropping it lets them rest for the drain time, then they are free.
#[derive(Debug)]
pub struct PortLease {
    shared: Arc<Shared>,
    port: u16,
}

impl PortLease {
    /// The even port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        let until = Instant::now() + self.shared.drain;
        let mut s = self.shared.lock();
        s.used = s.used.saturating_sub(1);
        s.resting.push_back((until, self.port));
    }
}

/// Bound RTP and RTCP sockets. Field order matters: sockets close before the lease ends.
#[derive(Debug)]
pub struct RtpPair {
    pub rtp: RtpSocket,
    pub rtcp: UdpSocket,
    pub lease: PortLease,
}

/// Bound RTP and RTCP sockets that no runtime waits for ([`crate::Rounds`] does). Field order matters, as in [`RtpPair`].
#[derive(Debug)]
pub struct PlainPair {
    pub rtp: std::net::UdpSocket,
    pub rtcp: std::net::UdpSocket,
    pub lease: PortLease,
}

fn plain_pair(addr: SocketAddr) -> io::Result<(std::net::UdpSocket, std::net::UdpSocket)> {
    let reports = SocketAddr::new(addr.ip(), addr.port() + 1);
    Ok((bind_plain(addr, Use::Media)?, bind_plain(reports, Use::Reports)?))
}

impl RtpPair {
    fn of((rtp, rtcp): (std::net::UdpSocket, std::net::UdpSocket), lease: PortLease) -> Result<RtpPair, PortError> {
        let rtp = RtpSocket::watched(rtp).map_err(PortError::Bind)?;
        let rtcp = UdpSocket::from_std(rtcp).map_err(PortError::Bind)?;
        Ok(RtpPair { rtp, rtcp, lease })
    }
}

impl PortPool {
    /// Even ports of `range` on `address` (0.0.0.0 or :: for all). `drain`: rest before reuse, so that late packets of an old
    /// call do not reach a new one; 5 s is usual.
    pub fn new(address: IpAddr, range: RangeInclusive<u16>, drain: Duration) -> Self {
        let first = u32::from(*range.start()).max(2).next_multiple_of(2);
        let free: VecDeque<u16> =
            (first..u32::from(*range.end())).step_by(2).filter_map(|p| u16::try_from(p).ok()).collect();
        let state = State { total: free.len(), free, resting: VecDeque::new(), used: 0, refused: 0, foreign: 0 };
        PortPool { shared: Arc::new(Shared { address, drain, state: Mutex::new(state) }) }
    }

    pub fn stats(&self) -> PortPoolStats {
        let s = self.shared.lock();
        PortPoolStats { total: s.total, used: s.used, resting: s.resting.len(), refused: s.refused, foreign: s.foreign }
    }

    fn lease(&self) -> Result<PortLease, PortError> {
        let mut s = self.shared.lock();
        let now = Instant::now();
        while s.resting.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, p)) = s.resting.pop_front() {
                s.free.push_back(p);
            }
        }
        let Some(port) = s.free.pop_front() else {
            s.refused += 1;
            return Err(PortError::Exhausted(s.total));
        };
        s.used += 1;
        Ok(PortLease { shared: Arc::clone(&self.shared), port })
    }

    /// Where sockets of calls are bound: for all addresses that is both IPv4 and IPv6, where this machine has it.
    fn any(&self) -> IpAddr {
        static BOTH: LazyLock<bool> =
            LazyLock::new(|| bind_plain(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0), Use::Reports).is_ok());
        match self.shared.address {
            IpAddr::V4(ip) if ip.is_unspecified() && *BOTH => Ipv6Addr::UNSPECIFIED.into(),
            other => other,
        }
    }

    fn bind<T>(&self, make: impl FnMut(SocketAddr) -> io::Result<T>) -> Result<(T, PortLease), PortError> {
        self.bind_at(self.shared.address, make)
    }

    fn bind_at<T>(
        &self,
        address: IpAddr,
        mut make: impl FnMut(SocketAddr) -> io::Result<T>,
    ) -> Result<(T, PortLease), PortError> {
        let mut last = None;
        for _ in 0..MAX_TRIES {
            let lease = self.lease().map_err(|e| last.take().map_or(e, PortError::Bind))?;
            match make(SocketAddr::new(address, lease.port)) {
                Ok(t) => return Ok((t, lease)),
                Err(e) if e.kind() == io::ErrorKind::AddrInUse || e.kind() == io::ErrorKind::PermissionDenied => {
                    self.shared.lock().foreign += 1;
                    last = Some(e);
                }
                Err(e) => return Err(PortError::Bind(e)),
            }
        }
        Err(PortError::Bind(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into())))
    }

    /// A bound pair of UDP sockets. Call within a tokio runtime.
    pub fn udp(&self) -> Result<RtpPair, PortError> {
        self.bind(plain_pair).and_then(|(pair, lease)| RtpPair::of(pair, lease))
    }

    /// As [`Self::udp`] for far ends of IPv4 or IPv6; the addresses of reports that come are to be [`crate::unmapped`].
    pub fn dual(&self) -> Result<RtpPair, PortError> {
        self.bind_at(self.any(), plain_pair).and_then(|(pair, lease)| RtpPair::of(pair, lease))
    }

    /// As [`Self::dual`] without a runtime.
    pub fn plain(&self) -> Result<PlainPair, PortError> {
        let ((rtp, rtcp), lease) = self.bind_at(self.any(), plain_pair)?;
        Ok(PlainPair { rtp, rtcp, lease })
    }

    /// A listener for TCP media (`a=setup:passive`). Call within a tokio runtime.
    pub fn tcp(&self) -> Result<(TcpListener, PortLease), PortError> {
        self.bind(|addr| {
            let l = std::net::TcpListener::bind(addr)?;
            l.set_nonblocking(true)?;
            TcpListener::from_std(l)
        })
    }

    /// A port number without socket, as the local end of TCP active or of a call that binds later.
    pub fn reserve(&self) -> Result<PortLease, PortError> {
        self.lease()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn even_pairs_rest_before_reuse() {
        let ip = "127.0.0.1".parse().unwrap();
        let pool = PortPool::new(ip, 18_101..=18_107, Duration::from_millis(40));
        assert_eq!(pool.stats().total, 3);
        let a = pool.udp().unwrap();
        let (l, lease) = pool.tcp().unwrap();
        assert_eq!(
            (a.rtp.local_addr().unwrap().port() % 2, a.rtcp.local_addr().unwrap().port()),
            (0, a.lease.port() + 1)
        );
        assert_eq!(l.local_addr().unwrap().port(), lease.port());
        // someone else holds the third pair's RTCP port
        let foreign = std::net::UdpSocket::bind(("127.0.0.1", 18_107)).unwrap();
        assert!(matches!(pool.udp(), Err(PortError::Bind(_))));
        assert_eq!((pool.stats().used, pool.stats().foreign), (2, 1));
        drop((foreign, a));
        assert!(matches!(pool.reserve(), Err(PortError::Exhausted(3))));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(pool.udp().is_ok());
    }

    #[tokio::test]
    async fn one_socket_for_both_kinds_of_address() {
        if std::net::UdpSocket::bind("[::1]:0").is_err() {
            println!("no IPv6 on this machine");
            return;
        }
        let pool = PortPool::new(Ipv4Addr::UNSPECIFIED.into(), 18_111..=18_119, Duration::ZERO);
        let (dual, plain) = (pool.dual().unwrap(), pool.plain().unwrap());
        let mut buffer = [0; 9];
        for peer in ["127.0.0.1:0", "[::1]:0"] {
            let far = UdpSocket::bind(peer).await.unwrap();
            let from = far.local_addr().unwrap();
            for (port, sound) in [(dual.lease.port(), true), (dual.lease.port() + 1, false), (plain.lease.port(), true)]
            {
                far.send_to(b"there", (from.ip(), port)).await.unwrap();
                let came = match (port == plain.lease.port(), sound) {
                    (true, _) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        let (_, came) = plain.rtp.recv_from(&mut buffer).unwrap();
                        plain.rtp.send_to(b"back", crate::unmapped(came)).unwrap();
                        came
                    }
                    (_, true) => {
                        let mut batch = crate::Batch::new();
                        dual.rtp.recv(&mut batch).await.unwrap();
                        let came = batch.iter().next().unwrap().1;
                        assert_eq!(came, from, "a batch is unmapped already");
                        dual.rtp.send_to(b"back", came).await.unwrap();
                        came
                    }
                    _ => {
                        let (_, came) = dual.rtcp.recv_from(&mut buffer).await.unwrap();
                        dual.rtcp.send_to(b"back", crate::unmapped(came)).await.unwrap();
                        came
                    }
                };
                assert_eq!(crate::unmapped(came), from);
                assert_eq!(far.recv_from(&mut buffer).await.unwrap(), (4, SocketAddr::new(from.ip(), port)));
            }
        }
    }
}
