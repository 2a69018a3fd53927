//! A subscriber: a cursor that pulls from a stream and may fall behind alone.

use std::sync::Arc;

use media_core::{MediaKind, TrackInfo};
use tokio::sync::Notify;

use crate::fault::Fault;
use crate::hub::Hub;
use crate::ring::Item;
use crate::stream::{Stream, StreamState};

/// Where a subscriber begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the newest key frame held, so that the current group of pictures comes first; else as `NextKey`.
    #[default]
    Group,
    /// Video from the next key frame on; audio at once.
    NextKey,
}

#[derive(Debug, Clone)]
pub struct SubscribeOptions {
    pub start: Start,
    /// Whether this subscriber makes the source start and keeps it alive. Renditions and meters do not.
    pub demand: bool,
    /// One that is shared by several subscribers of one worker; none makes an own.
    pub notify: Option<Arc<Notify>>,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        SubscribeOptions { start: Start::Group, demand: true, notify: None }
    }
}

/// What a pull gave.
#[derive(Debug, Clone)]
pub enum Pulled {
    Item(Item),
    /// The tracks changed; comes before the first frame of the new tracks.
    Tracks(Arc<[TrackInfo]>),
    /// This subscriber was too slow and lost so many frames; video goes on at a key frame.
    Lagged(u64),
    /// The source failed or stopped, or started again. The subscription stays: frames may come later.
    State(StreamState, Option<Fault>),
}

/// A cursor into a stream. Dropping it ends its demand.
pub struct Subscriber {
    stream: Arc<Stream>,
    hub: Hub,
    cursor: u64,
    tracks_version: Option<u64>,
    state: Option<StreamState>,
    await_key: bool,
    demand: bool,
    notify: Arc<Notify>,
}

impl Subscriber {
    pub(crate) fn new(hub: Hub, stream: Arc<Stream>, options: SubscribeOptions) -> Self {
        let notify = options.notify.unwrap_or_default();
        stream.add_waker(&notify);
        if options.demand {
            stream.change_demand(1);
        }
        let (cursor, await_key) = {
            let inner = stream.lock();
            match (options.start, inner.ring.key_seq()) {
                (Start::Group, Some(key)) => (key, true),
                _ => (inner.ring.next_seq(), true),
            }
        };
        Subscriber { stream, hub, cursor, tracks_version: None, state: None, await_key, demand: options.demand, notify }
    }

    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// The next thing, or none when there is nothing yet. Never waits.
    pub fn try_next(&mut self) -> Option<Pulled> {
        let inner = self.stream.lock();
        if self.tracks_version != Some(inner.tracks_version) {
            self.tracks_version = Some(inner.tracks_version);
            return Some(Pulled::Tracks(inner.tracks.clone()));
        }
        if self.state != Some(inner.state) {
            self.state = Some(inner.state);
            return Some(Pulled::State(inner.state, inner.fault.clone()));
        }
        let first = inner.ring.first_seq();
        if self.cursor < first {
            let resume = inner.ring.key_seq().unwrap_or(first);
            let lost = resume - self.cursor;
            self.cursor = resume;
            self.await_key = true;
            return Some(Pulled::Lagged(lost));
        }
        while let Some(item) = inner.ring.get(self.cursor) {
            self.cursor += 1;
            if item.frame.kind() == MediaKind::Video && self.await_key {
                if !item.frame.key {
                    continue;
                }
                self.await_key = false;
            }
            return Some(Pulled::Item(item.clone()));
        }
        None
    }

    /// The next thing. Cancel-safe.
    pub async fn next(&mut self) -> Pulled {
        loop {
            if let Some(pulled) = self.try_next() {
                return pulled;
            }
            self.notify.clone().notified().await;
        }
    }

    /// Frames between the cursor and the newest: how far behind this subscriber is.
    pub fn behind(&self) -> u64 {
        self.stream.lock().ring.next_seq().saturating_sub(self.cursor)
    }

    /// Forgets what is queued for this subscriber and goes on at the next key frame.
    pub fn skip_to_next_key(&mut self) {
        self.cursor = self.stream.lock().ring.next_seq();
        self.await_key = true;
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if self.demand {
            self.stream.change_demand(-1);
        }
        self.hub.release(&self.stream);
    }
}
