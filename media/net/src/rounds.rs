//! Threads of their own that serve the sockets of many calls, a round at a time.
//!
//! A relayed call costs little but the waking for each of its packets. So a thread waits until something comes anywhere, serves
//! every socket that has something, and does not look again before [`ROUND`] has passed: with one call that is one packet a
//! round, with a thousand it is a hundred. A packet waits for at most one round.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use slab::Slab;

/// The shortest time between the beginnings of two rounds.
pub const ROUND: Duration = Duration::from_millis(1);
/// Sockets of one who is served.
pub const SOCKETS: usize = 4;
const WAKE: Token = Token(usize::MAX);
const EVENTS: usize = 1024;

/// One whose sockets are served.
pub trait Serve: Send {
    /// Something came to the socket at this place of those that were added, or an error. Takes it without waiting; true when
    /// there may be more, which is asked for in the next round.
    fn ready(&mut self, socket: usize) -> bool;
}

type Served = Arc<Mutex<dyn Serve>>;

struct Worker {
    registry: Registry,
    waker: Waker,
    served: Mutex<Slab<Served>>,
    stop: AtomicBool,
}

impl Worker {
    fn served(&self) -> MutexGuard<'_, Slab<Served>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The threads. Dropping it ends them.
pub struct Rounds {
    workers: Vec<Arc<Worker>>,
    next: AtomicUsize,
}

impl Rounds {
    /// Errors: no thread or no epoll descriptor is to be had.
    pub fn start(name: &str, threads: usize) -> io::Result<Rounds> {
        let mut rounds = Rounds { workers: Vec::new(), next: AtomicUsize::new(0) };
        for n in 0..threads.max(1) {
            let poll = Poll::new()?;
            let worker = Arc::new(Worker {
                registry: poll.registry().try_clone()?,
                waker: Waker::new(poll.registry(), WAKE)?,
                served: Mutex::default(),
                stop: AtomicBool::new(false),
            });
            let own = worker.clone();
            std::thread::Builder::new().name(format!("{name}-{n}")).spawn(move || work(&own, poll))?;
            rounds.workers.push(worker);
        }
        Ok(rounds)
    }

    /// Serves these sockets, which are not waited for anywhere else, until what is given back is dropped; a round that goes on at
    /// that moment may ask once more. It must be dropped before the sockets are closed.
    pub fn add(&self, sockets: [&dyn AsFd; SOCKETS], serve: Served) -> io::Result<Place> {
        let worker = self.next.fetch_add(1, Ordering::Relaxed) % self.workers.len().max(1);
        let worker = self.workers.get(worker).cloned().ok_or(io::ErrorKind::NotFound)?;
        let key = worker.served().insert(serve);
        let mut place = Place { worker, key, sockets: Vec::with_capacity(SOCKETS) };
        for (n, socket) in sockets.into_iter().enumerate() {
            let fd = socket.as_fd().as_raw_fd();
            place.worker.registry.register(&mut SourceFd(&fd), Token(key * SOCKETS + n), Interest::READABLE)?;
            place.sockets.push(fd);
        }
        Ok(place)
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        for worker in &self.workers {
            worker.stop.store(true, Ordering::Release);
            // It ends by itself; nobody waits for it.
            let _ = worker.waker.wake();
        }
    }
}

/// The place of one who is served.
pub struct Place {
    worker: Arc<Worker>,
    key: usize,
    sockets: Vec<RawFd>,
}

impl Drop for Place {
    fn drop(&mut self) {
        for fd in &self.sockets {
            let _ = self.worker.registry.deregister(&mut SourceFd(fd));
        }
        // What is removed may end sockets: not under the lock.
        let served = self.worker.served().try_remove(self.key);
        drop(served);
    }
}

fn work(worker: &Worker, mut poll: Poll) {
    let mut events = Events::with_capacity(EVENTS);
    let (mut again, mut now) = (Vec::new(), Vec::new());
    loop {
        let timeout = if again.is_empty() { None } else { Some(Duration::ZERO) };
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                tracing::error!(%error, "waiting for media");
                std::thread::sleep(ROUND * 10);
            }
            _ => {}
        }
        if worker.stop.load(Ordering::Acquire) {
            return;
        }
        let began = Instant::now();
        std::mem::swap(&mut again, &mut now);
        now.extend(events.iter().map(|e| e.token()).filter(|t| *t != WAKE));
        // What was left over and has news is asked once, too.
        now.sort_unstable();
        now.dedup();
        for token in now.drain(..) {
            // Who has gone meanwhile is not asked; who took the place finds nothing, which does no harm.
            let served = worker.served().get(token.0 / SOCKETS).cloned();
            let Some(served) = served else { continue };
            let asked = catch_unwind(AssertUnwindSafe(|| {
                served.lock().unwrap_or_else(PoisonError::into_inner).ready(token.0 % SOCKETS)
            }));
            match asked {
                Ok(true) => again.push(token),
                Ok(false) => {}
                // A fault in one call must not end the others; what it had in hand is lost.
                Err(_) => tracing::error!("a fault while serving media; the others go on"),
            }
        }
        std::thread::sleep(ROUND.saturating_sub(began.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::net::UdpSocket;

    use super::*;

    /// Gives back what comes, one datagram at each asking.
    struct Echo {
        sockets: [Arc<UdpSocket>; SOCKETS],
        asked: usize,
    }

    impl Serve for Echo {
        fn ready(&mut self, socket: usize) -> bool {
            self.asked += 1;
            let mut buffer = [0; 100];
            let Ok((n, from)) = self.sockets[socket].recv_from(&mut buffer) else { return false };
            self.sockets[socket].send_to(&buffer[..n], from).unwrap();
            true
        }
    }

    fn socket() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        socket
    }

    struct Faulty;

    impl Serve for Faulty {
        fn ready(&mut self, _: usize) -> bool {
            panic!("as it should");
        }
    }

    #[test]
    fn a_fault_of_one_does_not_end_the_others() {
        let rounds = Rounds::start("test", 1).unwrap();
        let own = || [(); SOCKETS].map(|()| socket());
        let (bad, good) = (own(), own().map(Arc::new));
        good.iter().for_each(|s| s.set_nonblocking(true).unwrap());
        let ([a, b, c, d], [e, f, g, h]) = (&bad, &good);
        let _bad = rounds.add([a, b, c, d], Arc::new(Mutex::new(Faulty))).unwrap();
        let _good = rounds.add([e, f, g, h], Arc::new(Mutex::new(Echo { sockets: good.clone(), asked: 0 }))).unwrap();
        let peer = socket();
        let mut buffer = [0; 100];
        for _ in 0..3 {
            peer.send_to(&[1], a.local_addr().unwrap()).unwrap();
            peer.send_to(&[2], e.local_addr().unwrap()).unwrap();
            assert_eq!(peer.recv_from(&mut buffer).unwrap(), (1, e.local_addr().unwrap()));
        }
    }

    #[test]
    fn serves_until_the_place_is_given_up() {
        let rounds = Rounds::start("test", 1).unwrap();
        let sockets = [(); SOCKETS].map(|()| {
            let socket = socket();
            socket.set_nonblocking(true).unwrap();
            Arc::new(socket)
        });
        let echo = Arc::new(Mutex::new(Echo { sockets: sockets.clone(), asked: 0 }));
        let [a, b, c, d] = &sockets;
        let place = rounds.add([a, b, c, d], echo.clone()).unwrap();
        let peer = socket();
        let mut buffer = [0; 100];
        for n in 0..40u8 {
            peer.send_to(&[n], sockets[usize::from(n) % SOCKETS].local_addr().unwrap()).unwrap();
        }
        let mut seen: Vec<u8> = (0..40).map(|_| (peer.recv_from(&mut buffer).unwrap(), buffer[0]).1).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..40).collect::<Vec<_>>());
        let began = Instant::now();
        for n in 0..50 {
            peer.send_to(&[n], a.local_addr().unwrap()).unwrap();
            assert_eq!(peer.recv_from(&mut buffer).unwrap().0, 1);
        }
        assert!(began.elapsed() >= ROUND * 45, "one round after the other");
        drop(place);
        // A round that goes on may hold it yet.
        while Arc::strong_count(&echo) > 1 {
            assert!(began.elapsed() < Duration::from_secs(5), "somebody holds it");
            std::thread::sleep(ROUND);
        }
        let asked = echo.lock().unwrap().asked;
        peer.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
        peer.send_to(&[1], a.local_addr().unwrap()).unwrap();
        assert!(peer.recv_from(&mut buffer).is_err());
        assert_eq!(echo.lock().unwrap().asked, asked);
    }
}
