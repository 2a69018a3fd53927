//! Recordings that a device keeps itself: listed, played, and fetched into our archive.

use media_core::{Frame, TrackInfo};
use media_hub::{Fault, StreamId};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::bridge::BoxFuture;
use crate::device::{ChannelId, Timestamp};

/// One recording in a device. Times are the device's own clock.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceRecording {
    pub from: Timestamp,
    pub to: Timestamp,
    /// `time`, `alarm`, `manual`, or as the device writes it; empty when it says nothing.
    pub kind: String,
    /// Bytes, where the device tells.
    pub bytes: Option<u64>,
    pub name: String,
}

/// What a device holds of a channel in a range of time, in order of time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listing {
    pub items: Vec<DeviceRecording>,
    /// All that the device announced came.
    pub complete: bool,
    /// When the device was asked: answers are kept for a short while.
    pub asked_at: Timestamp,
}

impl Listing {
    /// Unbroken stretches of `from..to` that the device holds: its items cut to the range, those joined that are at most
    /// `join_ms` apart. Pure.
    pub fn stretches(&self, from: i64, to: i64, join_ms: i64) -> Vec<(i64, i64)> {
        let mut spans: Vec<(i64, i64)> =
            self.items.iter().map(|i| (i.from.0.max(from), i.to.0.min(to))).filter(|(a, b)| b > a).collect();
        spans.sort_unstable();
        let mut out: Vec<(i64, i64)> = Vec::new();
        for (a, b) in spans {
            match out.last_mut() {
                Some(last) if a <= last.1.saturating_add(join_ms) => last.1 = last.1.max(b),
                _ => out.push((a, b)),
            }
        }
        out
    }
}

/// What a playback does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlaybackPhase {
    /// The device is being asked, or looks for the place.
    Starting,
    Playing,
    Paused,
    /// The device has no more. A seek begins anew.
    Ended,
    /// The fault says why. A seek or a resume tries again.
    Failed,
}

/// What a playback shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlaybackState {
    pub phase: PlaybackPhase,
    /// The recording's own time of the picture that was sent last.
    pub position: Timestamp,
    /// When that picture was sent, by our clock.
    pub at: Timestamp,
    /// 1 is real time, negative is backwards.
    pub speed: f64,
    pub fault: Option<Fault>,
}

/// An order to a playback.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PlaybackOrder {
    Pause,
    Resume,
    /// Milliseconds since 1970, by the recording's clock.
    Seek(i64),
    /// 0.25 to 16, or below 0 for backwards.
    Speed(f64),
}

/// An order with the way back of its result.
pub struct PlaybackRequest {
    pub order: PlaybackOrder,
    pub done: oneshot::Sender<Result<(), Fault>>,
}

/// A playback that runs. Dropping it ends the playback and its stream.
pub struct Playback {
    /// To be watched by any number of viewers.
    pub stream: StreamId,
    pub orders: mpsc::Sender<PlaybackRequest>,
    pub state: watch::Receiver<PlaybackState>,
    /// Cancels when dropped.
    pub stop: tokio_util::sync::DropGuard,
}

impl Playback {
    /// Gives an order and waits for its result.
    pub async fn order(
        orders: &mpsc::Sender<PlaybackRequest>,
        order: PlaybackOrder,
    ) -> Result<Result<(), Fault>, PlaybackGone> {
        let (done, result) = oneshot::channel();
        orders.send(PlaybackRequest { order, done }).await.map_err(|_| PlaybackGone)?;
        result.await.map_err(|_| PlaybackGone)
    }
}

/// The playback has ended meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaybackGone;

/// What a fetch gives.
#[derive(Debug)]
pub enum Fetched {
    /// What the device says of the whole: bytes of its file.
    Size(u64),
    /// Comes before the first frame of these tracks.
    Tracks(Vec<TrackInfo>),
    /// Stamps are media time; the first picture is the one at the asked beginning.
    Frame(Frame),
    /// Bytes of media taken from the wire so far.
    Bytes(u64),
}

/// A stretch to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchOrder {
    /// Milliseconds since 1970, by the device's clock; whole seconds are asked for.
    pub from: i64,
    pub to: i64,
    /// Times real time.
    pub speed: u32,
}

/// One world's way to the recordings of its devices.
pub trait History: Send + Sync {
    /// Asks the device, unless it was asked the same shortly before; `fresh` asks in any case. Milliseconds since 1970.
    fn list(&self, channel: ChannelId, from: i64, to: i64, fresh: bool) -> BoxFuture<'_, Result<Listing, Fault>>;
    /// Plays an unbroken stretch (begin and end) from `at` on, as the stream `stream`, which must be new.
    fn play(&self, channel: ChannelId, span: (i64, i64), at: i64, stream: StreamId) -> Result<Playback, Fault>;
    /// Takes one stretch out of the device, in one session: ends with the stretch, a fault, or the token. A full queue slows the
    /// device down where the media goes over TCP.
    fn fetch(
        &self,
        channel: ChannelId,
        order: FetchOrder,
        to: mpsc::Sender<Fetched>,
        stop: CancellationToken,
    ) -> BoxFuture<'_, Result<(), Fault>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_cut_joined_and_in_order() {
        let item = |from, to| DeviceRecording {
            from: Timestamp(from),
            to: Timestamp(to),
            kind: String::new(),
            bytes: None,
            name: String::new(),
        };
        let listing = Listing {
            items: vec![item(50_000, 60_000), item(0, 20_000), item(21_000, 30_000), item(55_000, 58_000)],
            complete: true,
            asked_at: Timestamp(0),
        };
        assert_eq!(listing.stretches(5_000, 56_000, 2_000), [(5_000, 30_000), (50_000, 56_000)]);
        assert_eq!(listing.stretches(5_000, 56_000, 0), [(5_000, 20_000), (21_000, 30_000), (50_000, 56_000)]);
        assert!(listing.stretches(30_000, 50_000, 0).is_empty());
    }
}
