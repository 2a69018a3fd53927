//! A program: a steady stream behind which the source is switched.

use std::sync::Arc;
use std::time::{Duration, Instant};

use media_core::{MediaKind, TrackInfo};
use tokio::sync::watch;

use crate::admission::Replay;
use crate::hub::Hub;
use crate::stream::{PublishError, Publisher, StreamId, StreamState};
use crate::subscriber::{Pulled, Start, SubscribeOptions, Subscriber};

/// What a program was asked to show and what it shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProgramState {
    pub asked: Option<StreamId>,
    pub live: Option<StreamId>,
    /// When `live` last changed.
    pub since: Option<Instant>,
}

/// A switched output. Its viewers never renegotiate: they see one track whose source changes at a key frame, and the old
/// picture stands until the new source's first key frame is there. While nobody watches it holds no source. Dropping it
/// ends the stream.
pub struct Program {
    id: StreamId,
    ask: watch::Sender<Option<StreamId>>,
    state: watch::Receiver<ProgramState>,
}

impl Program {
    /// Publishes the program's stream and starts its task.
    pub fn start(hub: &Hub, id: StreamId, name: &str) -> Result<Self, PublishError> {
        let publisher = hub.publish(&id, name)?;
        publisher.set_state(StreamState::Idle);
        let (ask, asked) = watch::channel(None);
        let (state_tx, state) = watch::channel(ProgramState::default());
        let switcher =
            Switcher { hub: hub.clone(), publisher, asked, state: state_tx, current: None, pending: None, live: None };
        // It ends by itself once `ask` is dropped; only then can its place be freed.
        let (tidy, its) = (hub.clone(), id.clone());
        tokio::spawn(async move {
            switcher.run().await;
            tidy.tidy(&its);
        });
        Ok(Program { id, ask, state })
    }

    pub fn id(&self) -> &StreamId {
        &self.id
    }

    /// Switches to another source, or to none. The last order wins.
    pub fn switch(&self, source: Option<StreamId>) {
        self.ask.send_replace(source);
    }

    pub fn state(&self) -> watch::Receiver<ProgramState> {
        self.state.clone()
    }
}

struct Source {
    id: StreamId,
    subscriber: Subscriber,
    tracks: Arc<[TrackInfo]>,
    /// The source's own epoch of the last frame.
    epoch: Option<u32>,
    since: Instant,
}

struct Switcher {
    hub: Hub,
    publisher: Publisher,
    asked: watch::Receiver<Option<StreamId>>,
    state: watch::Sender<ProgramState>,
    current: Option<Source>,
    pending: Option<Source>,
    live: Option<StreamId>,
}

/// A program that nobody watches lets its source go after this long; the source's own grace comes on top.
const UNWATCHED: Duration = Duration::from_secs(5);

/// A source without pictures takes over once it was heard for this long.
const AUDIO_ONLY_AFTER: Duration = Duration::from_millis(600);

impl Switcher {
    async fn run(mut self) {
        let mut demand = self.publisher.stream().demand();
        let mut watched = false;
        loop {
            tokio::select! {
                biased;
                changed = self.asked.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let wanted = self.asked.borrow_and_update().clone();
                    self.state.send_modify(|s| s.asked = wanted.clone());
                    if watched || wanted.is_none() {
                        self.order(wanted);
                    }
                }
                now = turned(&mut demand, watched) => {
                    watched = now;
                    let wanted = self.asked.borrow().clone();
                    if watched {
                        self.order(wanted);
                    } else {
                        self.rest();
                    }
                }
                pulled = next(&mut self.pending) => self.pending_gave(pulled),
                pulled = next(&mut self.current) => self.current_gave(pulled),
                () = self.publisher.key_frame_requested() => {
                    if let Some(current) = &self.current {
                        current.subscriber.stream().request_key_frame();
                    }
                }
            }
        }
    }

    /// Lets the source go; what was asked for stays.
    fn rest(&mut self) {
        self.pending = None;
        self.current = None;
        self.live = None;
        self.publisher.new_epoch();
        self.publisher.set_origin(None);
        self.publisher.set_state(StreamState::Idle);
        self.state.send_modify(|s| {
            s.live = None;
            s.since = Some(Instant::now());
        });
    }

    fn order(&mut self, wanted: Option<StreamId>) {
        let Some(id) = wanted else {
            self.rest();
            return;
        };
        if self.current.as_ref().is_some_and(|c| c.id == id) {
            // Back to what is shown: forget the switch that was under way.
            self.pending = None;
            return;
        }
        if self.pending.as_ref().is_some_and(|p| p.id == id) {
            return;
        }
        let gop = self.hub.get(&id).and_then(|s| s.gop());
        let start = match gop.map(|g| g.admit(1)) {
            Some(Replay::FromKeyFrame) => Start::Group,
            Some(Replay::WaitForKeyFrame) | None => Start::NextKey,
        };
        match self.hub.subscribe(&id, SubscribeOptions { start, ..SubscribeOptions::default() }) {
            Ok(subscriber) => {
                if start == Start::NextKey || gop.is_some_and(|g| g.pictures > 5) {
                    // Asked for at the same time: a new key frame ends the replay early.
                    subscriber.stream().request_key_frame();
                }
                self.pending =
                    Some(Source { id, subscriber, tracks: Arc::from([]), epoch: None, since: Instant::now() });
            }
            Err(error) => {
                tracing::warn!(program = %self.publisher.stream().id(), source = %id, %error, "cannot switch");
                self.pending = None;
            }
        }
        if self.live.is_none() {
            self.publisher.set_state(StreamState::Starting);
        }
    }

    fn pending_gave(&mut self, pulled: Pulled) {
        let Some(pending) = &mut self.pending else { return };
        match pulled {
            Pulled::Tracks(tracks) => pending.tracks = tracks,
            Pulled::Item(item) => {
                let has_video = pending.tracks.iter().any(|t| t.kind() == MediaKind::Video);
                let ready = match item.frame.kind() {
                    MediaKind::Video => item.frame.key,
                    MediaKind::Audio => !has_video && pending.since.elapsed() > AUDIO_ONLY_AFTER,
                };
                if ready {
                    pending.epoch = Some(item.epoch);
                    self.take();
                    self.publisher.write_shared(item.frame);
                }
            }
            Pulled::State(StreamState::Failed, Some(fault)) if self.live.is_none() => self.publisher.fail(fault),
            Pulled::Lagged(_) | Pulled::State(..) => {}
        }
    }

    /// The pending source becomes the shown one.
    fn take(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        self.publisher.new_epoch();
        self.publisher.set_tracks(&pending.tracks);
        self.publisher.set_origin(Some(pending.id.clone()));
        self.publisher.set_name(&pending.subscriber.stream().name());
        self.live = Some(pending.id.clone());
        let id = pending.id.clone();
        self.current = Some(pending);
        self.state.send_modify(|s| {
            s.live = Some(id);
            s.since = Some(Instant::now());
        });
    }

    fn current_gave(&mut self, pulled: Pulled) {
        let Some(current) = &mut self.current else { return };
        match pulled {
            Pulled::Item(item) => {
                if current.epoch.replace(item.epoch) != Some(item.epoch) {
                    self.publisher.new_epoch();
                }
                self.publisher.write_shared(item.frame);
            }
            Pulled::Tracks(tracks) => {
                self.publisher.set_tracks(&tracks);
                current.tracks = tracks;
            }
            // The old picture stands; the state says that it is old and why.
            Pulled::State(StreamState::Failed, Some(fault)) => self.publisher.fail(fault),
            Pulled::State(StreamState::Stalled | StreamState::Idle, _) => {
                self.publisher.set_state(StreamState::Stalled)
            }
            Pulled::State(..) => {}
            Pulled::Lagged(lost) => {
                tracing::warn!(program = %self.publisher.stream().id(), lost, "program fell behind its source");
            }
        }
    }
}

/// Resolves when a program begins or ceases to be watched; ceasing counts only once it has lasted.
async fn turned(demand: &mut watch::Receiver<usize>, watched: bool) -> bool {
    if !watched {
        watched_by(demand, true).await;
        return true;
    }
    loop {
        watched_by(demand, false).await;
        tokio::select! {
            () = tokio::time::sleep(UNWATCHED) => return false,
            () = watched_by(demand, true) => {}
        }
    }
}

/// Waits until there are viewers, or none.
async fn watched_by(demand: &mut watch::Receiver<usize>, any: bool) {
    // The sender lives as long as the stream, and the stream as long as its program.
    if demand.wait_for(|n| (*n > 0) == any).await.map(|_| ()).is_err() {
        std::future::pending::<()>().await;
    }
}

async fn next(source: &mut Option<Source>) -> Pulled {
    match source {
        Some(source) => source.subscriber.next().await,
        None => std::future::pending().await,
    }
}
