//! Opus renditions of sound that a browser or the recorder cannot take as it is.
//!
//! A live stream whose own sound is AAC, or whose Opus is wanted (`Stream::want_opus`), gets a further track
//! [`TrackId::OPUS`] with the same time origin. Gaps stay gaps; clocks of sound and picture stay together within 20 ms.
//! For a program it is made once at its source, for all programs that show it.

use std::collections::HashMap;
use std::future::Future;
use std::time::Instant;

use media_core::{Codec, Decoding, Frame, TrackId, TrackInfo, time::rescale};
use tokio::sync::broadcast::error::RecvError;

use super::encode::OpusSettings;
use super::{BLOCK, Block, Decoder, Encoder, RATE};
use crate::hub::{Hub, HubEvent};
use crate::stream::{Rendition, Stream, StreamId, StreamState};
use crate::subscriber::{Pulled, Start, SubscribeOptions, Subscriber};

/// Sound and time stamps may differ by this much (10 ms) before the rendition is set right.
const SLACK: i64 = 480;

/// Makes renditions until `shutdown` resolves.
pub async fn run(hub: Hub, shutdown: impl Future<Output = ()> + Send) {
    let mut events = hub.events();
    let mut running: HashMap<StreamId, tokio::task::JoinHandle<()>> = HashMap::new();
    for status in hub.statuses() {
        consider(&hub, &mut running, &status.id);
    }
    tokio::pin!(shutdown);
    loop {
        let event = tokio::select! {
            () = &mut shutdown => break,
            event = events.recv() => event,
        };
        match event {
            Ok(HubEvent::Stream(id)) => consider(&hub, &mut running, &id),
            Ok(HubEvent::Gone(id)) => {
                running.retain(|known, task| *known != id && !task.is_finished());
            }
            Err(RecvError::Lagged(_)) => {
                for status in hub.statuses() {
                    consider(&hub, &mut running, &status.id);
                }
            }
            Err(RecvError::Closed) => break,
        }
    }
    for task in running.into_values() {
        task.abort();
    }
}

/// The track of which this stream needs a rendition now.
fn needs(stream: &Stream) -> Option<TrackInfo> {
    if stream.state() != StreamState::Live {
        return None;
    }
    let tracks = stream.tracks();
    if tracks.iter().any(|t| t.id == TrackId::OPUS) {
        return None;
    }
    let own = tracks.iter().find(|t| t.id == TrackId::AUDIO && t.codec.decoding() == Decoding::Here)?;
    // The sound of cameras is looked at soon. That of telephones goes into a mixer as a rule: only who cannot play it asks.
    let unplayable = own.codec == Codec::Aac;
    let wanted = stream.opus_wanted() && own.codec != Codec::Opus;
    (unplayable || wanted).then(|| own.clone())
}

fn consider(hub: &Hub, running: &mut HashMap<StreamId, tokio::task::JoinHandle<()>>, id: &StreamId) {
    if running.get(id).is_some_and(|task| !task.is_finished()) {
        return;
    }
    running.remove(id);
    let Some(stream) = hub.get(id) else { return };
    let Some(track) = needs(&stream) else { return };
    if let Some(source) = stream.origin() {
        // What comes of it is passed on with the rest; the source has the same tracks, and so the same need.
        if let Some(source) = hub.get(&source) {
            source.want_opus();
        }
        return;
    }
    let options = SubscribeOptions { start: Start::NextKey, demand: false, notify: None };
    let Ok(subscriber) = hub.subscribe(id, options) else { return };
    match Work::new(track) {
        Ok(work) => {
            running.insert(id.clone(), tokio::spawn(one(stream, subscriber, work)));
        }
        Err(error) => tracing::warn!(stream = %id, %error, "no Opus can be made of this sound"),
    }
}

async fn one(stream: std::sync::Arc<Stream>, mut subscriber: Subscriber, mut work: Work) {
    let info = TrackInfo { id: TrackId::OPUS, ..TrackInfo::audio(Codec::Opus, RATE, 1) };
    let rendition: Rendition = stream.rendition(info);
    loop {
        match subscriber.next().await {
            Pulled::Item(item) if item.frame.track == TrackId::AUDIO => {
                work.push(item.epoch, &item.frame, |frame| rendition.write(frame));
            }
            Pulled::Item(_) | Pulled::Lagged(_) => {}
            Pulled::Tracks(tracks) => {
                // Another codec or configuration: end here, and begin anew with the next event.
                let own = tracks.iter().find(|t| t.id == TrackId::AUDIO);
                if own != Some(&work.track) {
                    return;
                }
            }
            Pulled::State(StreamState::Idle | StreamState::Failed, _) => return,
            Pulled::State(..) => {}
        }
    }
}

/// The same for sound that is in no stream: frames of one track in, Opus frames of 20 ms out.
pub struct ToOpus(Work);

impl ToOpus {
    /// Fails for a codec that cannot be decoded here.
    pub fn new(track: TrackInfo) -> Result<Self, super::AudioError> {
        Work::new(track).map(ToOpus)
    }

    /// What comes out.
    pub fn track() -> TrackInfo {
        TrackInfo { id: TrackId::OPUS, ..TrackInfo::audio(Codec::Opus, RATE, 1) }
    }

    /// Takes a frame; gaps stay gaps.
    pub fn push(&mut self, frame: &Frame, write: impl FnMut(Frame)) {
        self.0.push(1, frame, write);
    }
}

/// Frames of one track in, Opus frames of 20 ms out.
struct Work {
    track: TrackInfo,
    decoder: Decoder,
    encoder: Encoder,
    sound: Vec<f32>,
    /// Time stamp at 48 kHz of the first sample in `sound`.
    start: i64,
    epoch: Option<u32>,
    bad: u64,
}

impl Work {
    fn new(track: TrackInfo) -> Result<Self, super::AudioError> {
        let decoder = Decoder::new(&track)?;
        let encoder = Encoder::new(Codec::Opus, &OpusSettings { expected_loss: 0, ..OpusSettings::default() })?;
        Ok(Work { track, decoder, encoder, sound: Vec::new(), start: 0, epoch: None, bad: 0 })
    }

    fn push(&mut self, epoch: u32, frame: &Frame, mut write: impl FnMut(Frame)) {
        if frame.codec != self.track.codec {
            return;
        }
        let pts = rescale(frame.pts, self.track.clock_rate, RATE);
        let expected = self.start + self.sound.len() as i64;
        let fresh_clock = self.epoch.replace(epoch) != Some(epoch);
        if fresh_clock || (pts - expected).abs() > SLACK {
            // A gap or a jump: what is left makes one last block, and the rendition goes on at the new time.
            if !fresh_clock && !self.sound.is_empty() && pts > expected {
                self.sound.resize(BLOCK, 0.0);
                self.blocks(frame.received, &mut write);
            }
            self.sound.clear();
            self.start = pts;
        }
        if let Err(error) = self.decoder.decode(&frame.payload, &mut self.sound) {
            self.bad += 1;
            if self.bad.is_power_of_two() {
                tracing::debug!(%error, count = self.bad, "sound that cannot be decoded");
            }
        }
        self.blocks(frame.received, &mut write);
    }

    fn blocks(&mut self, received: Instant, write: &mut impl FnMut(Frame)) {
        while let Some((block, _)) = self.sound.split_first_chunk::<BLOCK>() {
            let block: Block = *block;
            if let Ok(packet) = self.encoder.encode(&block) {
                let frame = Frame::new(TrackId::OPUS, Codec::Opus, self.start, true, received, packet);
                write(frame.with_duration(BLOCK as u32));
            }
            self.sound.drain(..BLOCK);
            self.start += BLOCK as i64;
        }
    }
}

#[cfg(test)]
#[path = "renditions_tests.rs"]
mod tests;
