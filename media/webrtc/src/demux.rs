//! One UDP port for all browser peers: what a datagram is (RFC 7983) and whose it is.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use dashmap::DashMap;
use tokio::sync::mpsc;

use crate::leg::LegId;
use crate::outbox::Sockets;
use crate::shard::Command;
use crate::stats::Counters;

/// Kinds by the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Stun,
    Dtls,
    Rtp,
    Odd,
}

impl Kind {
    /// RFC 7983 section 7.
    pub fn of(data: &[u8]) -> Kind {
        match data.first() {
            Some(0..=3) => Kind::Stun,
            Some(20..=63) => Kind::Dtls,
            Some(128..=191) => Kind::Rtp,
            _ => Kind::Odd,
        }
    }
}

/// The part of USERNAME before the colon in a STUN binding request: our own ufrag (RFC 8445 7.2.2).
pub fn stun_ufrag(b: &[u8]) -> Option<&str> {
    if b.len() < 20 || b[..2] != [0, 1] || b[4..8] != [0x21, 0x12, 0xA4, 0x42] {
        return None;
    }
    let mut at = 20;
    // At most 32 attributes are looked at.
    for _ in 0..32 {
        let head = b.get(at..at + 4)?;
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = b.get(at + 4..at + 4 + len)?;
        if head[..2] == [0, 6] {
            let name = std::str::from_utf8(value).ok()?;
            return name.split_once(':').map(|(local, _)| local);
        }
        at += 4 + len.div_ceil(4) * 4;
    }
    None
}

/// A datagram for a leg.
#[derive(Debug)]
pub struct Packet {
    pub leg: LegId,
    pub kind: Kind,
    pub data: Vec<u8>,
    pub source: SocketAddr,
    /// The host candidate at which it arrived.
    pub local: SocketAddr,
    pub at: Instant,
}

/// Where a leg's datagrams go.
#[derive(Clone)]
pub enum Route {
    Shard(LegId, mpsc::Sender<Command>),
    Session(LegId, mpsc::Sender<Packet>),
}

impl Route {
    pub fn leg(&self) -> LegId {
        match self {
            Route::Shard(id, _) | Route::Session(id, _) => *id,
        }
    }
}

/// The tables: ufrag and source address to leg.
#[derive(Default)]
pub struct Router {
    ufrags: DashMap<Box<str>, Route>,
    addresses: DashMap<SocketAddr, Route>,
}

/// Addresses that one leg may have at a time.
pub const MAX_ADDRESSES: usize = 16;

impl Router {
    pub fn add_ufrag(&self, ufrag: &str, route: Route) {
        self.ufrags.insert(ufrag.into(), route);
    }

    /// To be called only after STUN from this address passed its integrity check. The newest leg has the address.
    pub fn learn(&self, address: SocketAddr, route: Route) {
        self.addresses.insert(address, route);
    }

    /// Forgets a leg. An address that another leg has taken over stays that leg's.
    pub fn forget(&self, leg: LegId, ufrag: &str, addresses: &[SocketAddr]) {
        self.ufrags.remove_if(ufrag, |_, r| r.leg() == leg);
        for a in addresses {
            self.addresses.remove_if(a, |_, r| r.leg() == leg);
        }
    }

    /// Whose a datagram is.
    pub fn find(&self, kind: Kind, data: &[u8], source: &SocketAddr) -> Option<Route> {
        match kind {
            Kind::Stun => match stun_ufrag(data) {
                Some(ufrag) => self.ufrags.get(ufrag).map(|r| r.clone()),
                // Responses and indications carry no USERNAME.
                None => self.addresses.get(source).map(|r| r.clone()),
            },
            Kind::Dtls | Kind::Rtp => self.addresses.get(source).map(|r| r.clone()),
            Kind::Odd => None,
        }
    }

    #[cfg(test)]
    pub fn sizes(&self) -> (usize, usize) {
        (self.ufrags.len(), self.addresses.len())
    }
}

const BATCH: usize = 32;
const DATAGRAM: usize = 2048;

/// The receiving thread: until `stop`.
pub fn receive(sockets: &Sockets, router: &Router, counters: &Counters, stop: &AtomicBool, loss: f32) {
    let mut buf = vec![0u8; BATCH * DATAGRAM];
    let mut polls: Vec<libc::pollfd> =
        sockets.udp.iter().map(|s| libc::pollfd { fd: s.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    while !stop.load(Relaxed) {
        // SAFETY: a valid array of pollfd of the given length.
        let n = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, 200) };
        if n <= 0 {
            continue;
        }
        for (i, poll) in polls.iter().enumerate() {
            if poll.revents == 0 {
                continue;
            }
            let Some(local) = sockets.locals.get(i).copied() else { continue };
            for (source, data) in recvmmsg(poll.fd, &mut buf) {
                counters.received_packets.fetch_add(1, Relaxed);
                if loss > 0.0 && Kind::of(data) == Kind::Rtp && rand::random::<f32>() < loss {
                    counters.test_losses.fetch_add(1, Relaxed);
                    continue;
                }
                dispatch(router, counters, data, source, local);
            }
        }
    }
}

fn dispatch(router: &Router, counters: &Counters, data: &[u8], source: SocketAddr, local: SocketAddr) {
    let kind = Kind::of(data);
    if kind == Kind::Odd {
        counters.odd_packets.fetch_add(1, Relaxed);
        return;
    }
    let Some(route) = router.find(kind, data, &source) else {
        counters.unknown_packets.fetch_add(1, Relaxed);
        return;
    };
    let packet = Packet { leg: route.leg(), kind, data: data.to_vec(), source, local, at: Instant::now() };
    // A full queue drops, as a network does: the receiver never waits.
    let sent = match route {
        Route::Shard(_, tx) => tx.try_send(Command::Packet(packet)).is_ok(),
        Route::Session(_, tx) => tx.try_send(packet).is_ok(),
    };
    if !sent {
        counters.queue_full.fetch_add(1, Relaxed);
    }
}

fn recvmmsg(fd: i32, buf: &mut [u8]) -> impl Iterator<Item = (SocketAddr, &[u8])> {
    // SAFETY: all-zero sockaddr_storage, iovec and mmsghdr are valid values.
    let mut names: [libc::sockaddr_storage; BATCH] = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let mut iovecs: [libc::iovec; BATCH] = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    for (i, chunk) in buf.chunks_exact_mut(DATAGRAM).take(BATCH).enumerate() {
        iovecs[i] = libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: DATAGRAM };
        messages[i].msg_hdr.msg_name = std::ptr::from_mut(&mut names[i]).cast();
        messages[i].msg_hdr.msg_namelen = std::mem::size_of::<libc::sockaddr_storage>() as u32;
        messages[i].msg_hdr.msg_iov = &mut iovecs[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: pointers are to live arrays of BATCH entries; the null timeout is allowed.
    let n =
        unsafe { libc::recvmmsg(fd, messages.as_mut_ptr(), BATCH as u32, libc::MSG_DONTWAIT, std::ptr::null_mut()) };
    let got: Vec<(SocketAddr, usize)> =
        (0..usize::try_from(n).unwrap_or(0)).map(|i| (address(&names[i]), messages[i].msg_len as usize)).collect();
    let buf: &[u8] = buf;
    got.into_iter()
        .enumerate()
        .filter_map(move |(i, (a, len))| Some((a, buf.get(i * DATAGRAM..i * DATAGRAM + len.min(DATAGRAM))?)))
}

fn address(name: &libc::sockaddr_storage) -> SocketAddr {
    if i32::from(name.ss_family) == libc::AF_INET6 {
        // SAFETY: the family says that it is a sockaddr_in6, which is smaller than the storage.
        let a: libc::sockaddr_in6 = unsafe { std::ptr::read(std::ptr::from_ref(name).cast()) };
        SocketAddr::from((a.sin6_addr.s6_addr, u16::from_be(a.sin6_port)))
    } else {
        // SAFETY: sockets here are IPv4 or IPv6; a sockaddr_in is smaller than the storage.
        let a: libc::sockaddr_in = unsafe { std::ptr::read(std::ptr::from_ref(name).cast()) };
        SocketAddr::from((a.sin_addr.s_addr.to_ne_bytes(), u16::from_be(a.sin_port)))
    }
}

/// Shared by the receiving thread's owner.
pub struct Receiver {
    pub stop: Arc<AtomicBool>,
    pub thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(t) = self.thread.take() {
            let _ = t.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn first_byte_tells() {
        assert_eq!(
            [0, 3, 20, 22, 63, 128, 191].map(|b| Kind::of(&[b])),
            [Kind::Stun, Kind::Stun, Kind::Dtls, Kind::Dtls, Kind::Dtls, Kind::Rtp, Kind::Rtp]
        );
        assert_eq!([4, 19, 64, 127, 192, 255].map(|b| Kind::of(&[b])), [Kind::Odd; 6]);
        assert_eq!(Kind::of(&[]), Kind::Odd);
    }

    fn request(username: &str) -> Vec<u8> {
        let mut attrs = vec![0x80, 0x22, 0, 3, b'a', b'b', b'c', 0];
        attrs.extend([0, 6, 0, username.len() as u8]);
        attrs.extend(username.bytes());
        attrs.resize(attrs.len().div_ceil(4) * 4, 0);
        let mut b = vec![0, 1, 0, attrs.len() as u8, 0x21, 0x12, 0xA4, 0x42];
        b.extend([7; 12]);
        b.extend(attrs);
        b
    }

    #[test]
    fn ufrag_is_found_and_mutations_do_no_harm() {
        let b = request("ours12:theirs");
        assert_eq!(stun_ufrag(&b), Some("ours12"));
        for i in 0..b.len() {
            let _ = stun_ufrag(&b[..i]);
            for v in 0..=255 {
                let mut m = b.clone();
                m[i] = v;
                let _ = stun_ufrag(&m);
                let _ = is::stun::StunMessage::parse(&m);
            }
        }
    }

    #[test]
    fn routes_by_ufrag_then_address_and_forgets() {
        let r = Router::default();
        let (tx, _rx) = mpsc::channel(1);
        let (a, b) = (LegId::random(), LegId::random());
        let at: SocketAddr = "10.0.0.1:5".parse().unwrap();
        r.add_ufrag("one", Route::Session(a, tx.clone()));
        r.add_ufrag("two", Route::Session(b, tx.clone()));
        assert_eq!(r.find(Kind::Stun, &request("two:x"), &at).unwrap().leg(), b);
        assert!(r.find(Kind::Dtls, &[22], &at).is_none(), "not learned yet");
        r.learn(at, Route::Session(a, tx.clone()));
        assert_eq!(r.find(Kind::Rtp, &[128], &at).unwrap().leg(), a);
        // The browser used the same port for its next leg.
        r.learn(at, Route::Session(b, tx));
        r.forget(a, "one", &[at]);
        assert_eq!(r.find(Kind::Rtp, &[128], &at).unwrap().leg(), b);
        r.forget(b, "two", &[at]);
        assert_eq!(r.sizes(), (0, 0));
    }
}
