//! Whoever wants to see the messages as they go over the wire. Costs one atomic load for each message while nobody does.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::flow::{Flow, Transport};

/// One message, whole.
#[derive(Debug, Clone, Copy)]
pub struct Tapped<'a> {
    /// We sent it.
    pub sent: bool,
    pub transport: Transport,
    pub local: SocketAddr,
    pub peer: SocketAddr,
    pub data: &'a [u8],
}

type Look = Arc<dyn Fn(&Tapped<'_>) + Send + Sync>;

#[derive(Default)]
pub(crate) struct Taps {
    any: AtomicBool,
    next: AtomicU64,
    list: RwLock<Vec<(u64, Look)>>,
}

impl Taps {
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    pub fn see(&self, sent: bool, flow: &Flow, data: &[u8]) {
        let seen = Tapped { sent, transport: flow.transport, local: flow.local, peer: flow.peer, data };
        for (_, look) in self.list.read().unwrap_or_else(PoisonError::into_inner).iter() {
            look(&seen);
        }
    }

    pub fn add(self: &Arc<Self>, look: Look) -> Tap {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.list.write().unwrap_or_else(PoisonError::into_inner).push((id, look));
        self.any.store(true, Ordering::Relaxed);
        Tap { id, taps: self.clone() }
    }
}

/// A tap that is on for as long as this is held.
pub struct Tap {
    id: u64,
    taps: Arc<Taps>,
}

impl Drop for Tap {
    fn drop(&mut self) {
        let mut list = self.taps.list.write().unwrap_or_else(PoisonError::into_inner);
        list.retain(|(id, _)| *id != self.id);
        self.taps.any.store(!list.is_empty(), Ordering::Relaxed);
    }
}
