//! A worker: one thread that owns a share of the viewer legs and their send path.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use media_core::TrackInfo;
use media_hub::{Pulled, Start, StreamId, SubscribeOptions, Subscriber};
use tokio::sync::{Notify, mpsc};

use crate::demux::Packet;
use crate::env::Env;
use crate::leg::{CloseReason, LegId};
use crate::outbox::Outbox;
use crate::viewer::{Viewer, ViewerStart};

/// Datagrams and orders that wait for a worker at most.
pub const QUEUE: usize = 8192;
/// Orders taken before frames are looked at again.
const ORDERS_AT_ONCE: usize = 256;
/// Frames taken from one stream before others get their turn.
const FRAMES_AT_ONCE: usize = 512;

pub enum Command {
    Add(Box<ViewerStart>),
    Packet(Packet),
    Close(LegId, CloseReason),
    Stop,
}

/// One stream as this worker sees it: taken once, given to all of its peers.
struct Source {
    subscriber: Subscriber,
    tracks: Arc<[TrackInfo]>,
    peers: Vec<LegId>,
    /// A stream that no leg asked for itself: the H.264 made of one. It is held while some leg takes its frames.
    made: bool,
}

pub struct Shard {
    env: Arc<Env>,
    commands: mpsc::Receiver<Command>,
    notify: Arc<Notify>,
    viewers: HashMap<LegId, Viewer>,
    sources: HashMap<StreamId, Source>,
    out: Outbox,
    next_tick: Instant,
    stopping: bool,
}

impl Shard {
    pub fn new(env: Arc<Env>, commands: mpsc::Receiver<Command>, notify: Arc<Notify>) -> Self {
        let out = Outbox::new(env.sockets.clone(), env.counters.clone(), env.loss);
        Shard {
            env,
            commands,
            notify,
            viewers: HashMap::new(),
            sources: HashMap::new(),
            out,
            next_tick: Instant::now(),
            stopping: false,
        }
    }

    /// Until told to stop.
    pub async fn run(mut self) {
        while !self.stopping {
            let wake = self.next_wake();
            let notify = self.notify.clone();
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => {
                        self.command(command);
                        for _ in 0..ORDERS_AT_ONCE {
                            let Ok(command) = self.commands.try_recv() else { break };
                            self.command(command);
                        }
                    }
                    None => self.stopping = true,
                },
                () = notify.notified() => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            self.round(Instant::now());
        }
        let all: Vec<LegId> = self.viewers.keys().copied().collect();
        for id in all {
            self.end(id, CloseReason::Shutdown);
        }
        self.out.flush();
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        if self.viewers.values().any(Viewer::backlogged) {
            (now + Duration::from_millis(2)).min(self.next_tick)
        } else {
            self.next_tick
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Add(start) => self.add(*start),
            Command::Packet(packet) => {
                let id = packet.leg;
                if let Some(viewer) = self.viewers.get_mut(&id) {
                    viewer.packet(packet, &mut self.out);
                    self.settle(id, Instant::now());
                }
            }
            Command::Close(id, reason) => self.end(id, reason),
            Command::Stop => self.stopping = true,
        }
    }

    fn add(&mut self, start: ViewerStart) {
        let now = Instant::now();
        let viewer = Viewer::new(start, self.env.clone(), now);
        let id = viewer.shared.id;
        let stream = viewer.stream_id().clone();
        self.take_source(&stream, id, false);
        self.viewers.insert(id, viewer);
        self.next_tick = now;
    }

    /// Gives a leg the frames of a stream. `made`: this subscription keeps the stream going, for the leg's own does not.
    fn take_source(&mut self, stream: &StreamId, id: LegId, made: bool) {
        if !self.sources.contains_key(stream) {
            let options = SubscribeOptions { start: Start::Group, demand: made, notify: Some(self.notify.clone()) };
            match self.env.hub.subscribe(stream, options) {
                Ok(subscriber) => {
                    let source = Source { subscriber, tracks: Arc::from([]), peers: Vec::new(), made };
                    self.sources.insert(stream.clone(), source);
                }
                Err(error) => tracing::warn!(%stream, %error, "viewer without a stream"),
            }
        }
        if let Some(source) = self.sources.get_mut(stream)
            && !source.peers.contains(&id)
        {
            source.peers.push(id);
        }
    }

    /// Where the leg's frames come from, now that its stream has these tracks.
    fn choose_feed(&mut self, id: LegId, tracks: &[TrackInfo], now: Instant) {
        let Some(viewer) = self.viewers.get(&id) else { return };
        let (own, feed) = (viewer.stream_id().clone(), viewer.wanted_feed(tracks));
        if feed != own {
            self.take_source(&feed, id, true);
        }
        let has_video = tracks.iter().any(|t| t.kind() == media_core::MediaKind::Video);
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.set_feed(feed.clone(), has_video, now);
        }
        let known = self.sources.get(&feed).map(|s| s.tracks.clone());
        if let (Some(viewer), Some(tracks)) = (self.viewers.get_mut(&id), known) {
            viewer.tracks_of(&feed, &tracks);
        }
    }

    /// Lets go of made streams that no leg takes frames of any more.
    fn release_made(&mut self) {
        let viewers = &self.viewers;
        self.sources.retain(|stream, source| {
            if source.made {
                let takes = |v: &Viewer| v.stream_id() == stream || v.foreign_feeds().any(|f| f == stream);
                source.peers.retain(|p| viewers.get(p).is_some_and(takes));
            }
            !source.made || !source.peers.is_empty()
        });
    }

    fn end(&mut self, id: LegId, reason: CloseReason) {
        let Some(mut viewer) = self.viewers.remove(&id) else { return };
        viewer.close(reason, &mut self.out);
        let stream = viewer.stream_id().clone();
        if let Some(source) = self.sources.get_mut(&stream) {
            source.peers.retain(|p| *p != id);
            if source.peers.is_empty() {
                self.sources.remove(&stream);
            }
        }
        self.release_made();
    }

    /// Joins a leg whose transport stands now, ends one that closed.
    fn settle(&mut self, id: LegId, now: Instant) {
        let Some(viewer) = self.viewers.get(&id) else { return };
        if let Some(reason) = viewer.closed() {
            self.end(id, reason);
            return;
        }
        if !viewer.ready_to_join() {
            return;
        }
        // The worker's own cursor first, so that the replayed group ends where it stands or later.
        self.take_frames(now);
        let Some(viewer) = self.viewers.get_mut(&id) else { return };
        let tracks = self.sources.get(viewer.stream_id()).map(|s| s.tracks.clone()).unwrap_or_else(|| Arc::from([]));
        viewer.join(now, &tracks, &mut self.out);
        viewer.pump(now, &mut self.out);
        self.choose_feed(id, &tracks, now);
    }

    fn take_frames(&mut self, now: Instant) {
        let mut turned: Vec<(LegId, Arc<[TrackInfo]>)> = Vec::new();
        let mut released = false;
        for (stream, source) in &mut self.sources {
            for _ in 0..FRAMES_AT_ONCE {
                let Some(pulled) = source.subscriber.try_next() else { break };
                match pulled {
                    Pulled::Item(item) => {
                        for peer in &source.peers {
                            if let Some(viewer) = self.viewers.get_mut(peer) {
                                viewer.item_of(stream, &item, now, &mut self.out);
                                released |= viewer.has_turned();
                                viewer.pump(now, &mut self.out);
                            }
                        }
                    }
                    Pulled::Tracks(tracks) => {
                        for peer in &source.peers {
                            let Some(viewer) = self.viewers.get_mut(peer) else { continue };
                            if !source.made {
                                let feed = viewer.wanted_feed(&tracks);
                                if feed == *stream {
                                    // Back to its own stream at once: the key frame may be what comes next.
                                    let has_video = tracks.iter().any(|t| t.kind() == media_core::MediaKind::Video);
                                    viewer.set_feed(feed, has_video, now);
                                    released = true;
                                } else {
                                    turned.push((*peer, tracks.clone()));
                                }
                            }
                            // Behind the choice: tracks of a stream that it does not take are not looked at.
                            viewer.tracks_of(stream, &tracks);
                        }
                        source.tracks = tracks;
                    }
                    Pulled::Lagged(lost) => {
                        self.env.counters.frames_skipped.fetch_add(lost, Relaxed);
                        for peer in &source.peers {
                            if let Some(viewer) = self.viewers.get_mut(peer) {
                                viewer.gap_of(stream);
                            }
                        }
                    }
                    Pulled::State(..) => {}
                }
            }
        }
        let any = released || !turned.is_empty();
        for (id, tracks) in turned {
            self.choose_feed(id, &tracks, now);
        }
        if any {
            self.release_made();
        }
    }

    fn round(&mut self, now: Instant) {
        self.take_frames(now);
        for viewer in self.viewers.values_mut() {
            viewer.pump(now, &mut self.out);
        }
        if now >= self.next_tick {
            let mut connecting = false;
            let mut unsettled = Vec::new();
            for viewer in self.viewers.values_mut() {
                viewer.tick(now, &mut self.out);
                connecting |= viewer.connecting();
                if viewer.closed().is_some() || viewer.ready_to_join() {
                    unsettled.push(viewer.shared.id);
                }
            }
            self.next_tick = now + Duration::from_millis(if connecting { 20 } else { 100 });
            for id in unsettled {
                self.settle(id, now);
            }
        }
        self.out.flush();
    }
}
