//! What a two-way leg hears: the mix, 20 ms Opus frames, as RTP numbers and stamps.

use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::{Codec, MediaKind};
use media_hub::{Hub, Item, Pulled, Start, StreamId, SubscribeOptions, Subscriber};

use crate::viewer::stamp::Stamper;

/// A stream that is not there yet is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);
/// Sound older than this is not sent.
const TOO_OLD: Duration = Duration::from_millis(150);

/// One packet to send.
pub struct Heard {
    pub sequence: u64,
    pub timestamp: u32,
    pub payload: Bytes,
}

/// The subscription of one listener; its source can be changed at any time without renegotiation.
pub struct Listen {
    hub: Hub,
    wanted: Option<StreamId>,
    subscriber: Option<Subscriber>,
    next_try: Instant,
    stamper: Stamper,
    sequence: u64,
    /// Rises with each change of source, so that time lines never compare over it.
    round: u32,
}

impl Listen {
    pub fn new(hub: Hub, wanted: Option<StreamId>, now: Instant) -> Self {
        Listen {
            hub,
            wanted,
            subscriber: None,
            next_try: now,
            stamper: Stamper::new(48_000, rand::random(), now),
            sequence: u64::from(rand::random::<u16>() >> 1),
            round: 0,
        }
    }

    /// Hears another stream from now on.
    pub fn set(&mut self, wanted: StreamId, now: Instant) {
        if self.wanted.as_ref() != Some(&wanted) {
            self.wanted = Some(wanted);
            self.subscriber = None;
            self.next_try = now;
        }
    }

    /// Subscribes when there is something to subscribe to.
    fn connect(&mut self, now: Instant) {
        let Some(id) = &self.wanted else { return };
        if self.subscriber.is_some() || now < self.next_try {
            return;
        }
        self.next_try = now + RETRY;
        let options = SubscribeOptions { start: Start::NextKey, demand: true, notify: None };
        if let Ok(subscriber) = self.hub.subscribe(id, options) {
            self.subscriber = Some(subscriber);
            self.round = self.round.wrapping_add(1);
        }
    }

    /// The next thing from the source. Cancel-safe; wakes up now and then while there is no source.
    pub async fn next(&mut self) -> Option<Item> {
        self.connect(Instant::now());
        match &mut self.subscriber {
            Some(subscriber) => match subscriber.next().await {
                Pulled::Item(item) => Some(item),
                _ => None,
            },
            None => {
                tokio::time::sleep(RETRY).await;
                None
            }
        }
    }

    /// The packet for a frame, or none if it is not for this leg.
    pub fn packet(&mut self, item: &Item, now: Instant) -> Option<Heard> {
        let f = &item.frame;
        let fits = f.kind() == MediaKind::Audio
            && f.codec == Codec::Opus
            && now.saturating_duration_since(f.received) <= TOO_OLD;
        if !fits {
            return None;
        }
        let epoch = item.epoch.wrapping_add(self.round << 16);
        let timestamp = self.stamper.stamp(now, epoch, f.pts, f.received, false) as u32;
        self.sequence += 1;
        Some(Heard { sequence: self.sequence, timestamp, payload: f.payload.clone() })
    }
}
