//! The table of streams, and who can open one that is not live yet.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::broadcast;

use crate::ring::RingLimits;
use crate::stream::{PublishError, Publisher, Stream, StreamId, StreamStatus};
use crate::subscriber::{SubscribeOptions, Subscriber};
use crate::trace::{Outcome, Step};

/// Bounds of the hub.
#[derive(Debug, Clone, Copy)]
pub struct HubLimits {
    /// Streams at once.
    pub streams: usize,
    /// Bytes that one stream's ring may hold.
    pub ring_bytes: usize,
    /// Age up to which frames are held beyond the current group of pictures.
    pub ring_age: Duration,
}

impl Default for HubLimits {
    fn default() -> Self {
        HubLimits { streams: 20_000, ring_bytes: 16 << 20, ring_age: Duration::from_secs(3) }
    }
}

/// A change that others may want to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubEvent {
    /// Something of this stream changed: read its status.
    Stream(StreamId),
    Gone(StreamId),
}

/// One who can make a stream live: a bridge for its channels.
pub trait Opener: Send + Sync {
    /// Name to show for the stream, or none if this opener does not know it.
    fn name(&self, id: &StreamId) -> Option<String>;
    /// Somebody wants `stream`, which has no publisher. Must return at once: it starts a driver that takes the publisher,
    /// and lets go of it when demand has been zero for the grace period.
    fn open(&self, stream: Arc<Stream>);
}

#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    #[error("no stream and no channel is called {0}")]
    Unknown(StreamId),
    #[error("the limit of {0} streams is reached")]
    TooMany(usize),
}

struct Shared {
    streams: DashMap<StreamId, Arc<Stream>>,
    openers: RwLock<Vec<(String, Arc<dyn Opener>)>>,
    events: broadcast::Sender<HubEvent>,
    limits: HubLimits,
}

/// The table of streams. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

impl Hub {
    pub fn new(limits: HubLimits) -> Self {
        Hub(Arc::new(Shared {
            streams: DashMap::new(),
            openers: RwLock::new(Vec::new()),
            events: broadcast::Sender::new(4096),
            limits,
        }))
    }

    /// All streams whose id begins with `prefix` can be opened by `opener`.
    pub fn register_opener(&self, prefix: &str, opener: Arc<dyn Opener>) {
        let mut openers = self.0.openers.write().unwrap_or_else(|p| p.into_inner());
        openers.push((prefix.to_owned(), opener));
    }

    fn opener(&self, id: &StreamId) -> Option<(Arc<dyn Opener>, String)> {
        let openers = self.0.openers.read().unwrap_or_else(|p| p.into_inner());
        openers
            .iter()
            .filter(|(prefix, _)| id.as_str().starts_with(prefix.as_str()))
            .find_map(|(_, opener)| opener.name(id).map(|name| (opener.clone(), name)))
    }

    pub fn events(&self) -> broadcast::Receiver<HubEvent> {
        self.0.events.subscribe()
    }

    pub fn get(&self, id: &StreamId) -> Option<Arc<Stream>> {
        self.0.streams.get(id).map(|s| s.clone())
    }

    pub fn statuses(&self) -> Vec<StreamStatus> {
        let all: Vec<Arc<Stream>> = self.0.streams.iter().map(|s| s.clone()).collect();
        all.iter().map(|s| s.status()).collect()
    }

    fn place(&self, id: &StreamId, name: &str) -> Result<Arc<Stream>, SubscribeError> {
        if let Some(stream) = self.get(id) {
            return Ok(stream);
        }
        if self.0.streams.len() >= self.0.limits.streams {
            return Err(SubscribeError::TooMany(self.0.limits.streams));
        }
        let limits = RingLimits { bytes: self.0.limits.ring_bytes, age: self.0.limits.ring_age };
        let stream = self
            .0
            .streams
            .entry(id.clone())
            .or_insert_with(|| Stream::new(id.clone(), name.to_owned(), limits, self.0.events.clone()))
            .clone();
        Ok(stream)
    }

    /// Publishes a stream that comes by itself: a phone's voice, a browser's camera, a program, a mix.
    pub fn publish(&self, id: &StreamId, name: &str) -> Result<Publisher, PublishError> {
        let stream = self.place(id, name).map_err(|_| PublishError(id.clone()))?;
        let publisher = stream.publisher()?;
        publisher.set_name(name);
        Ok(publisher)
    }

    /// Subscribes to a stream. One that is not live yet is opened by its bridge when the options demand it.
    pub fn subscribe(&self, id: &StreamId, options: SubscribeOptions) -> Result<Subscriber, SubscribeError> {
        let known = self.get(id);
        let opener = self.opener(id);
        let stream = match (known, &opener) {
            (Some(stream), _) => stream,
            (None, Some((_, name))) => self.place(id, name)?,
            (None, None) => return Err(SubscribeError::Unknown(id.clone())),
        };
        let demand = options.demand;
        let subscriber = Subscriber::new(self.clone(), stream.clone(), options);
        if demand {
            stream.note(Step::Wanted, Outcome::Ok, "");
            if let Some((opener, _)) = opener
                && !stream.lock().published
            {
                opener.open(stream);
            }
        }
        Ok(subscriber)
    }

    /// What to call a stream: the name its opener gives it, else the one it was published under.
    pub fn name_of(&self, id: &StreamId) -> Option<String> {
        self.opener(id).map(|(_, name)| name).or_else(|| self.get(id).map(|s| s.name()))
    }

    /// Whether `id` is live now or can be opened.
    pub fn knows(&self, id: &StreamId) -> bool {
        self.0.streams.contains_key(id) || self.opener(id).is_some()
    }

    /// Takes the place of a stream away once nobody publishes and nobody wants it.
    pub(crate) fn release(&self, stream: &Arc<Stream>) {
        let gone = self
            .0
            .streams
            .remove_if(stream.id(), |_, s| !s.lock().published && *s.demand().borrow() == 0 && Arc::ptr_eq(s, stream));
        if gone.is_some() {
            let _ = self.0.events.send(HubEvent::Gone(stream.id().clone()));
        }
    }

    /// To be called by a driver after it dropped its publisher: frees the place of an unwanted stream, and opens it anew when
    /// somebody came in the moment in which the driver let go.
    pub fn tidy(&self, id: &StreamId) {
        let Some(stream) = self.get(id) else { return };
        self.release(&stream);
        if *stream.demand().borrow() > 0
            && !stream.lock().published
            && let Some((opener, _)) = self.opener(id)
        {
            opener.open(stream);
        }
    }
}
