//! What all owners of legs share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use media_hub::Hub;
use tokio::sync::broadcast;

use crate::demux::Router;
use crate::leg::{CloseReason, LegEvent, LegKind, LegShared};
use crate::outbox::Sockets;
use crate::stats::Counters;

pub(crate) struct Env {
    pub hub: Hub,
    pub sockets: Arc<Sockets>,
    pub router: Arc<Router>,
    pub counters: Arc<Counters>,
    pub events: broadcast::Sender<LegEvent>,
    pub viewers: AtomicUsize,
    pub two_way: AtomicUsize,
    bursts: Mutex<HashMap<IpAddr, u32>>,
    pub loss: f32,
}

impl Env {
    pub fn new(hub: Hub, sockets: Arc<Sockets>, loss: f32) -> Self {
        Env {
            hub,
            sockets,
            router: Arc::default(),
            counters: Arc::default(),
            events: broadcast::Sender::new(4096),
            viewers: AtomicUsize::new(0),
            two_way: AtomicUsize::new(0),
            bursts: Mutex::default(),
            loss,
        }
    }

    fn bursts(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.bursts.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Replays under way at one viewer's machine: its legs share one decoder.
    pub fn burst_count(&self, ip: IpAddr) -> u32 {
        self.bursts().get(&ip).copied().unwrap_or(0)
    }

    pub fn burst_begins(&self, ip: IpAddr) {
        *self.bursts().entry(ip).or_insert(0) += 1;
    }

    pub fn burst_ends(&self, ip: IpAddr) {
        let mut bursts = self.bursts();
        if let Some(n) = bursts.get_mut(&ip) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                bursts.remove(&ip);
            }
        }
    }

    pub fn tell(&self, event: LegEvent) {
        // Nobody listening is no fault.
        let _ = self.events.send(event);
    }

    /// The one place where a leg ends in the books. True the first time.
    pub fn leg_closed(&self, leg: &LegShared, kind: LegKind, reason: CloseReason) -> bool {
        if !leg.closed(reason) {
            return false;
        }
        let count = if kind == LegKind::Viewer { &self.viewers } else { &self.two_way };
        let _ = count.fetch_update(Relaxed, Relaxed, |n| Some(n.saturating_sub(1)));
        self.counters.legs_closed.fetch_add(1, Relaxed);
        if reason == CloseReason::NeverConnected {
            self.counters.legs_never_connected.fetch_add(1, Relaxed);
        }
        self.tell(LegEvent::Closed { leg: leg.id, reason });
        true
    }
}
