//! Opus of sound that only a worker can decode (G.729): a further track of the same stream, as the renditions of
//! `media_hub::audio` are.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::time::rescale;
use media_core::{Codec, Decoding, Frame, TrackId, TrackInfo};
use media_hub::{Hub, HubEvent, Pulled, Rendition, Start, Stream, StreamId, StreamState, SubscribeOptions, Subscriber};
use tokio::sync::broadcast::error::RecvError;

use crate::process::Process;

/// Workers at once; each costs about a hundredth of a core and 20 MB.
const MAX: usize = 32;
/// A worker that died is started again not sooner than this.
const AGAIN: Duration = Duration::from_secs(5);
/// One Opus packet at 48 kHz.
const BLOCK: i64 = 960;
/// Sound and time stamps may differ by this much before they are set right.
const SLACK: i64 = 4800;

/// Makes Opus of G.729.
pub struct Sounds {
    hub: Hub,
    program: PathBuf,
}

impl Sounds {
    /// `program` is run as `program worker sound CODEC`.
    pub fn new(hub: Hub, program: PathBuf) -> Self {
        Sounds { hub, program }
    }

    /// Works until `shutdown` resolves.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let mut events = self.hub.events();
        let mut running: HashMap<StreamId, tokio::task::JoinHandle<()>> = HashMap::new();
        tokio::pin!(shutdown);
        loop {
            let event = tokio::select! {
                () = &mut shutdown => break,
                event = events.recv() => event,
            };
            match event {
                Ok(HubEvent::Stream(id)) => self.consider(&mut running, &id),
                Ok(HubEvent::Gone(id)) => running.retain(|known, task| *known != id && !task.is_finished()),
                Err(RecvError::Lagged(_)) => {
                    for status in self.hub.statuses() {
                        self.consider(&mut running, &status.id);
                    }
                }
                Err(RecvError::Closed) => break,
            }
        }
        for task in running.into_values() {
            task.abort();
        }
    }

    fn consider(&self, running: &mut HashMap<StreamId, tokio::task::JoinHandle<()>>, id: &StreamId) {
        if running.get(id).is_some_and(|task| !task.is_finished()) {
            return;
        }
        running.remove(id);
        let Some(stream) = self.hub.get(id) else { return };
        if stream.state() != StreamState::Live {
            return;
        }
        let tracks = stream.tracks();
        let own = tracks.iter().find(|t| t.id == TrackId::AUDIO && t.codec.decoding() == Decoding::Worker);
        let (Some(own), None) = (own, tracks.iter().find(|t| t.id == TrackId::OPUS)) else { return };
        if running.len() >= MAX {
            tracing::warn!(stream = %id, "no worker is left for its sound");
            return;
        }
        let options = SubscribeOptions { start: Start::NextKey, demand: false, notify: None };
        let Ok(subscriber) = self.hub.subscribe(id, options) else { return };
        running.insert(id.clone(), tokio::spawn(follow(stream, subscriber, own.clone(), self.program.clone())));
    }
}

async fn follow(stream: std::sync::Arc<Stream>, mut subscriber: Subscriber, own: TrackInfo, program: PathBuf) {
    loop {
        let info = TrackInfo { id: TrackId::OPUS, ..TrackInfo::audio(Codec::Opus, 48_000, 1) };
        let rendition = stream.rendition(info);
        let Err(why) = one(&mut subscriber, &own, &program, &rendition).await else { return };
        drop(rendition);
        tracing::warn!(stream = %stream.id(), why, "the worker for its sound ended");
        tokio::time::sleep(AGAIN).await;
    }
}

/// Until the track ends (Ok), or the worker does.
async fn one(
    subscriber: &mut Subscriber,
    own: &TrackInfo,
    program: &Path,
    rendition: &Rendition,
) -> Result<(), String> {
    let codec = own.codec.name().to_ascii_lowercase();
    let mut process = Process::start(program, &["sound".into(), codec]).map_err(|e| e.to_string())?;
    // Towards the worker a steady clock of its own; what comes back is laid on the stream's.
    let (mut sent, mut line): (i64, Option<Line>) = (0, None);
    loop {
        tokio::select! {
            pulled = subscriber.next() => match pulled {
                Pulled::Item(item) if item.frame.track == TrackId::AUDIO => {
                    let frame = &item.frame;
                    let pts = rescale(frame.pts, own.clock_rate, 48_000);
                    let at = rescale(sent, 8_000, 48_000);
                    let l = line.get_or_insert(Line { offset: pts - at, last: i64::MIN, received: frame.received });
                    if (at + l.offset - pts).abs() > SLACK {
                        l.offset = pts - at;
                    }
                    l.received = frame.received;
                    process.push(0, sent, frame.payload.to_vec());
                    sent += i64::from(frame.codec.samples(frame.payload.len()));
                }
                Pulled::Tracks(tracks) if tracks.iter().find(|t| t.id == TrackId::AUDIO) != Some(own) => return Ok(()),
                Pulled::State(StreamState::Idle | StreamState::Failed, _) => return Ok(()),
                _ => {}
            },
            made = process.next() => match made {
                Some(made) => if let Some(l) = &mut line {
                    let pts = (made.stamp + l.offset).max(l.last.saturating_add(1));
                    l.last = pts;
                    let frame = Frame::new(TrackId::OPUS, Codec::Opus, pts, true, l.received, Bytes::from(made.data));
                    rendition.write(frame.with_duration(BLOCK as u32));
                },
                None => return Err(process.last_words().await),
            },
        }
    }
}

/// How the worker's clock lies on the stream's, at 48 kHz.
struct Line {
    offset: i64,
    last: i64,
    received: Instant,
}
