//! Which loudspeakers are used, and which devices are expected to call us.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bridge_core::ChannelId;
use dashmap::DashMap;
use media_hub::Fault;
use sip::{Call, Flow, Request};
use tokio::sync::{broadcast, mpsc};

use super::faults;
use super::metrics::VoiceMetrics;
use crate::shared::lock;

/// A call that comes so long after its broadcast was given up is late, not a call of the device's own.
const LATE: Duration = Duration::from_secs(30);
/// Broadcasts given up that are remembered.
const REMEMBERED: usize = 256;

/// A call that was expected.
pub(crate) struct Called {
    pub call: Call,
    pub flow: Flow,
    pub request: Request,
}

/// A broadcast that waits for its device's INVITE.
pub(super) struct Waiting {
    key: u64,
    pub device: String,
    /// Channel and targets.
    pub ids: Vec<String>,
    calls: mpsc::Sender<Box<Called>>,
}

pub(crate) struct Table {
    places: Arc<DashMap<String, ()>>,
    waiting: Arc<Mutex<Vec<Waiting>>>,
    given_up: Arc<Mutex<VecDeque<(String, Instant)>>>,
    keys: AtomicU64,
    /// Devices that registered anew before they had to.
    pub restarted: broadcast::Sender<String>,
    pub metrics: VoiceMetrics,
}

/// A loudspeaker of ours; free again when dropped.
pub(crate) struct Place {
    channel: String,
    places: Arc<DashMap<String, ()>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.remove(&self.channel);
    }
}

/// Expects calls of one device; no more when dropped.
pub(super) struct Expecting {
    key: u64,
    waiting: Arc<Mutex<Vec<Waiting>>>,
    given_up: Arc<Mutex<VecDeque<(String, Instant)>>>,
    calls: mpsc::Receiver<Box<Called>>,
}

impl Expecting {
    /// The device's call. Cancel-safe.
    pub async fn next(&mut self) -> Box<Called> {
        match self.calls.recv().await {
            Some(called) => called,
            // The table holds the other end for as long as we live.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Expecting {
    fn drop(&mut self) {
        let mut waiting = lock(&self.waiting);
        let Some(at) = waiting.iter().position(|w| w.key == self.key) else { return };
        let gone = waiting.remove(at);
        drop(waiting);
        let mut given_up = lock(&self.given_up);
        if given_up.len() >= REMEMBERED {
            given_up.pop_front();
        }
        given_up.push_back((gone.device, Instant::now()));
    }
}

impl Table {
    /// Registers its metrics.
    pub fn open(registry: &prometheus::Registry) -> Result<Table, prometheus::Error> {
        let metrics = VoiceMetrics::new(registry)?;
        Ok(Table {
            places: Arc::default(),
            waiting: Arc::default(),
            given_up: Arc::default(),
            keys: AtomicU64::new(0),
            restarted: broadcast::Sender::new(256),
            metrics,
        })
    }

    /// Takes the loudspeaker of a channel, which only one may use.
    pub fn take_place(&self, channel: &ChannelId, limit: usize) -> Result<Place, Fault> {
        if self.places.len() >= limit {
            return Err(faults::too_many_talks(limit));
        }
        if self.places.insert(channel.0.clone(), ()).is_some() {
            return Err(faults::speaker_in_use());
        }
        Ok(Place { channel: channel.0.clone(), places: self.places.clone() })
    }

    /// From now on a call of this device belongs to us.
    pub(super) fn expect(&self, device: &str, ids: Vec<String>) -> Expecting {
        let key = self.keys.fetch_add(1, Ordering::Relaxed);
        let (tx, calls) = mpsc::channel(2);
        lock(&self.waiting).push(Waiting { key, device: device.to_owned(), ids, calls: tx });
        Expecting { key, waiting: self.waiting.clone(), given_up: self.given_up.clone(), calls }
    }

    /// Gives a call to the broadcast that `fits` rates highest (none: not at all), the oldest first. Gives it back when nobody
    /// waits for it.
    pub(super) fn claim(
        &self,
        called: Box<Called>,
        fits: impl Fn(&Waiting, &Called) -> Option<u32>,
    ) -> Result<(), Box<Called>> {
        let waiting = lock(&self.waiting);
        let mut best: Option<(u32, &Waiting)> = None;
        for one in waiting.iter() {
            if let Some(score) = fits(one, &called)
                && best.is_none_or(|(b, _)| score > b)
            {
                best = Some((score, one));
            }
        }
        match best {
            Some((_, one)) => one.calls.try_send(called).map_err(|e| e.into_inner()),
            None => Err(called),
        }
    }

    /// Whether a broadcast to this device was given up a moment ago.
    pub(super) fn late(&self, device: &str) -> bool {
        lock(&self.given_up).iter().any(|(d, at)| d == device && at.elapsed() < LATE)
    }
}
