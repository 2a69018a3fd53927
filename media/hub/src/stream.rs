//! A stream: one live publication, its tracks, its ring and its state.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use media_core::{Frame, MediaKind, TrackId, TrackInfo};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, broadcast, watch};

use crate::admission::GopInfo;
use crate::fault::Fault;
use crate::hub::HubEvent;
use crate::rate::Rate;
use crate::ring::{Ring, RingLimits};
use crate::trace::{Outcome, Step, Trace};

/// Name of a stream: `gb28181:DEVICE/CHANNEL`, `phone:CALL`, `browser:MEMBER`, `program:wall/1/0`, `mix:CONFERENCE`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamId(Arc<str>);

impl StreamId {
    pub fn new(id: impl AsRef<str>) -> Self {
        StreamId(Arc::from(id.as_ref()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({})", self.0)
    }
}

impl From<&str> for StreamId {
    fn from(id: &str) -> Self {
        StreamId::new(id)
    }
}

/// What a stream does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamState {
    /// Nobody publishes; it would start when somebody wants it.
    Idle,
    /// Its source is being asked.
    Starting,
    /// Frames flow.
    Live,
    /// Frames flowed and stopped; the source is still there.
    Stalled,
    /// The source could not be had; the fault says why.
    Failed,
}

/// A snapshot for the API.
#[derive(Debug, Clone)]
pub struct StreamStatus {
    pub id: StreamId,
    pub name: String,
    pub state: StreamState,
    /// Subscribers that want the stream to be live (viewers, recorder, programs).
    pub viewers: usize,
    pub tracks: Arc<[TrackInfo]>,
    pub bit_rate: u64,
    pub frame_rate: f32,
    pub key_interval: Option<Duration>,
    pub last_frame_age: Option<Duration>,
    pub fault: Option<Fault>,
    pub frames: u64,
    pub bytes: u64,
}

pub(crate) struct Inner {
    pub ring: Ring,
    pub tracks: Arc<[TrackInfo]>,
    /// Rises with each change of `tracks`.
    pub tracks_version: u64,
    pub epoch: u32,
    pub state: StreamState,
    pub fault: Option<Fault>,
    pub published: bool,
    /// Rises each time a publisher lets go.
    pub generation: u64,
    pub name: String,
    /// Of a program: the stream whose frames it passes on.
    origin: Option<StreamId>,
    /// The Opus among `tracks` is made here ([`Rendition`]), not written by the publisher: which one of those that were made.
    rendition: Option<u64>,
    pub trace: Trace,
    /// The trace's fault is that of a viewer.
    viewer_fault: bool,
    rate: Rate,
    wakers: Vec<Weak<Notify>>,
}

/// A live publication, or the place kept for one while somebody wants it.
pub struct Stream {
    id: StreamId,
    inner: Mutex<Inner>,
    demand: watch::Sender<usize>,
    key_wanted: Notify,
    opus_wanted: AtomicBool,
    frames: AtomicU64,
    bytes: AtomicU64,
    events: broadcast::Sender<HubEvent>,
}

/// The stream already has a publisher.
#[derive(Debug, thiserror::Error)]
#[error("stream {0} is already published")]
pub struct PublishError(pub StreamId);

impl Stream {
    pub(crate) fn new(
        id: StreamId,
        name: String,
        limits: RingLimits,
        events: broadcast::Sender<HubEvent>,
    ) -> Arc<Self> {
        Arc::new(Stream {
            id,
            inner: Mutex::new(Inner {
                ring: Ring::new(limits),
                tracks: Arc::from([]),
                tracks_version: 0,
                epoch: 0,
                state: StreamState::Idle,
                fault: None,
                published: false,
                generation: 0,
                name,
                origin: None,
                rendition: None,
                trace: Trace::default(),
                viewer_fault: false,
                rate: Rate::default(),
                wakers: Vec::new(),
            }),
            demand: watch::Sender::new(0),
            key_wanted: Notify::new(),
            opus_wanted: AtomicBool::new(false),
            frames: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            events,
        })
    }

    /// Nothing under this lock may block, allocate much or call out.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn id(&self) -> &StreamId {
        &self.id
    }

    pub fn name(&self) -> String {
        self.lock().name.clone()
    }

    pub fn state(&self) -> StreamState {
        self.lock().state
    }

    /// Of a program: the stream whose frames it passes on now. A change is told to subscribers as new tracks.
    pub fn origin(&self) -> Option<StreamId> {
        self.lock().origin.clone()
    }

    pub fn tracks(&self) -> Arc<[TrackInfo]> {
        self.lock().tracks.clone()
    }

    pub fn trace(&self) -> Trace {
        self.lock().trace.clone()
    }

    /// Adds a line of a viewer's side to the trace.
    pub fn note(&self, step: Step, outcome: Outcome, detail: impl Into<String>) {
        let mut inner = self.lock();
        inner.trace.note(step, outcome, detail);
        if step == Step::ViewerDecoded && outcome == Outcome::Ok && inner.viewer_fault {
            inner.viewer_fault = false;
            inner.trace.fault = None;
        }
    }

    /// A viewer cannot show what the source sends: the step failed, and the trace names the fault unless the source has one of its
    /// own. The stream itself is good; the first viewer that decodes a picture takes it back.
    pub fn viewer_failed(&self, step: Step, fault: Fault) {
        let mut inner = self.lock();
        inner.trace.note(step, Outcome::Failed, fault.en.clone());
        if inner.fault.is_none() {
            inner.viewer_fault = true;
            inner.trace.fault = Some(fault);
        }
    }

    pub fn status(&self) -> StreamStatus {
        let now = Instant::now();
        let mut inner = self.lock();
        let (bit_rate, frame_rate) = inner.rate.read(now);
        StreamStatus {
            id: self.id.clone(),
            name: inner.name.clone(),
            state: inner.state,
            viewers: *self.demand.borrow(),
            tracks: inner.tracks.clone(),
            bit_rate,
            frame_rate,
            key_interval: inner.ring.key_interval,
            last_frame_age: inner.ring.newest().map(|at| now.saturating_duration_since(at)),
            fault: inner.fault.clone(),
            frames: self.frames.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// How many want this stream to be live; a driver watches it to start and to end its session.
    pub fn demand(&self) -> watch::Receiver<usize> {
        self.demand.subscribe()
    }

    pub(crate) fn change_demand(&self, by: isize) {
        self.demand.send_modify(|n| *n = n.saturating_add_signed(by));
        self.announce();
    }

    /// Asks the source for a key frame. Requests are merged: the publisher sees at most one a second.
    pub fn request_key_frame(&self) {
        self.key_wanted.notify_one();
    }

    /// Asks for an Opus rendition of the sound, as a recorder does whose file cannot hold G.711.
    pub fn want_opus(&self) {
        if !self.opus_wanted.swap(true, Ordering::Relaxed) {
            self.announce();
        }
    }

    pub fn opus_wanted(&self) -> bool {
        self.opus_wanted.load(Ordering::Relaxed)
    }

    /// The current group of pictures, if its key frame is still held.
    pub fn gop(&self) -> Option<GopInfo> {
        let inner = self.lock();
        let (pictures, bytes, key_at) = inner.ring.group()?;
        let video = inner.tracks.iter().find(|t| t.kind() == MediaKind::Video);
        Some(GopInfo {
            pictures,
            bytes,
            age: key_at.elapsed(),
            key_interval: inner.ring.key_interval,
            width: video.map_or(0, |v| v.width),
            height: video.map_or(0, |v| v.height),
        })
    }

    pub(crate) fn add_waker(&self, notify: &Arc<Notify>) {
        let mut inner = self.lock();
        inner.wakers.retain(|w| w.strong_count() > 0);
        let weak = Arc::downgrade(notify);
        if !inner.wakers.iter().any(|w| w.ptr_eq(&weak)) {
            inner.wakers.push(weak);
        }
    }

    fn wake(wakers: &[Weak<Notify>]) {
        for waker in wakers {
            if let Some(notify) = waker.upgrade() {
                notify.notify_one();
            }
        }
    }

    fn announce(&self) {
        // Nobody listening is no fault.
        let _ = self.events.send(HubEvent::Stream(self.id.clone()));
    }

    fn push(&self, frame: Frame) {
        let size = frame.payload.len();
        let picture = frame.kind() == MediaKind::Video;
        self.frames.fetch_add(u64::from(picture), Ordering::Relaxed);
        self.bytes.fetch_add(size as u64, Ordering::Relaxed);
        self.push_shared(Arc::new(frame), true);
    }

    pub(crate) fn push_shared(&self, frame: Arc<Frame>, counts: bool) {
        let mut inner = self.lock();
        if counts {
            inner.rate.add(frame.received, frame.payload.len(), frame.kind() == MediaKind::Video);
        }
        let went_live = inner.state != StreamState::Live;
        if went_live {
            inner.state = StreamState::Live;
            inner.fault = None;
            inner.trace.fault = None;
            inner.trace.note(Step::Live, Outcome::Ok, "");
        }
        let epoch = inner.epoch;
        inner.ring.push(epoch, frame);
        Self::wake(&inner.wakers);
        drop(inner);
        if went_live {
            self.announce();
        }
    }

    /// Takes the sole right to write. The stream starts a new epoch.
    pub fn publisher(self: &Arc<Self>) -> Result<Publisher, PublishError> {
        let mut inner = self.lock();
        if inner.published {
            return Err(PublishError(self.id.clone()));
        }
        inner.published = true;
        inner.epoch += 1;
        inner.ring.clear();
        inner.state = StreamState::Starting;
        inner.fault = None;
        drop(inner);
        self.announce();
        Ok(Publisher { stream: self.clone(), last_key_request: None, key_request_open: false })
    }

    /// Takes the right to write one further track: a rendition made here of what the source sends.
    pub fn rendition(self: &Arc<Self>, track: TrackInfo) -> Rendition {
        let mut inner = self.lock();
        let mut tracks: Vec<TrackInfo> = inner.tracks.iter().filter(|t| t.id != track.id).cloned().collect();
        let id = track.id;
        tracks.push(track);
        inner.tracks = tracks.into();
        inner.tracks_version += 1;
        // Versions are never used twice.
        let number = inner.tracks_version;
        inner.rendition = Some(number);
        Self::wake(&inner.wakers);
        drop(inner);
        self.announce();
        Rendition { stream: self.clone(), id, number }
    }
}

/// The sole right to write a stream. Dropping it ends the publication.
pub struct Publisher {
    stream: Arc<Stream>,
    last_key_request: Option<Instant>,
    /// A request was taken up that `key_frame_requested` has not told yet.
    key_request_open: bool,
}

impl Publisher {
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Says what the source's tracks are; a rendition that is made here stays, one that the source before brought along does
    /// not. Unchanged tracks wake nobody.
    pub fn set_tracks(&self, tracks: &[TrackInfo]) {
        let mut inner = self.stream.lock();
        let mut all = tracks.to_vec();
        if all.iter().any(|t| t.id == TrackId::OPUS) {
            inner.rendition = None;
        } else if let Some(opus) =
            inner.tracks.iter().find(|t| t.id == TrackId::OPUS).filter(|_| inner.rendition.is_some())
        {
            all.push(opus.clone());
        }
        if inner.tracks.as_ref() == all.as_slice() {
            return;
        }
        inner.tracks = all.into();
        inner.tracks_version += 1;
        Stream::wake(&inner.wakers);
        drop(inner);
        self.stream.announce();
    }

    /// Says whose frames are passed on from now on. Who wants Opus of them asks anew: another source may need none.
    pub fn set_origin(&self, origin: Option<StreamId>) {
        let mut inner = self.stream.lock();
        if inner.origin == origin {
            return;
        }
        inner.origin = origin;
        inner.tracks_version += 1;
        self.stream.opus_wanted.store(false, Ordering::Relaxed);
        Stream::wake(&inner.wakers);
    }

    /// Appends a frame. Never waits.
    pub fn write(&self, frame: Frame) {
        self.stream.push(frame);
    }

    /// Appends a frame that another stream holds as well.
    pub fn write_shared(&self, frame: Arc<Frame>) {
        let picture = frame.kind() == MediaKind::Video;
        self.stream.frames.fetch_add(u64::from(picture), Ordering::Relaxed);
        self.stream.bytes.fetch_add(frame.payload.len() as u64, Ordering::Relaxed);
        self.stream.push_shared(frame, true);
    }

    /// Starts a new epoch: the time line or the source changed. Frames of before are not replayed to joiners.
    pub fn new_epoch(&self) {
        let mut inner = self.stream.lock();
        inner.epoch += 1;
        inner.ring.clear();
    }

    pub fn set_state(&self, state: StreamState) {
        let mut inner = self.stream.lock();
        if inner.state == state {
            return;
        }
        inner.state = state;
        Stream::wake(&inner.wakers);
        drop(inner);
        self.stream.announce();
    }

    /// Says why there are no frames. The next frame clears it.
    pub fn fail(&self, fault: Fault) {
        let mut inner = self.stream.lock();
        inner.state = StreamState::Failed;
        inner.trace.fault = Some(fault.clone());
        inner.fault = Some(fault);
        Stream::wake(&inner.wakers);
        drop(inner);
        self.stream.announce();
    }

    /// Says what is wrong with frames that flow all the same; none: nothing any more. The state stays.
    pub fn warn(&self, fault: Option<Fault>) {
        let mut inner = self.stream.lock();
        if inner.fault == fault {
            return;
        }
        inner.trace.fault = fault.clone();
        inner.fault = fault;
        drop(inner);
        self.stream.announce();
    }

    pub fn set_name(&self, name: &str) {
        let mut inner = self.stream.lock();
        if inner.name != name {
            name.clone_into(&mut inner.name);
            drop(inner);
            self.stream.announce();
        }
    }

    /// Begins the trace of a new session.
    pub fn trace_restart(&self, session: &str) {
        self.stream.lock().trace.restart(session);
    }

    pub fn trace(&self, step: Step, outcome: Outcome, detail: impl Into<String>) {
        self.stream.lock().trace.note(step, outcome, detail);
    }

    /// Resolves when somebody needs a key frame; at most once a second. Cancel-safe: a request that was taken up but not
    /// told yet is told by the next call.
    pub async fn key_frame_requested(&mut self) {
        if !self.key_request_open {
            self.stream.key_wanted.notified().await;
            self.key_request_open = true;
        }
        if let Some(last) = self.last_key_request {
            tokio::time::sleep_until((last + Duration::from_secs(1)).into()).await;
        }
        self.key_request_open = false;
        self.last_key_request = Some(Instant::now());
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let mut inner = self.stream.lock();
        inner.published = false;
        inner.generation += 1;
        if inner.state != StreamState::Failed {
            inner.state = StreamState::Idle;
        }
        Stream::wake(&inner.wakers);
        drop(inner);
        self.stream.announce();
    }
}

/// The right to write one rendition track. Dropping it takes the track away.
pub struct Rendition {
    stream: Arc<Stream>,
    id: TrackId,
    number: u64,
}

impl Rendition {
    pub fn write(&self, frame: Frame) {
        // Renditions do not count in the stream's rate: it is the source's.
        self.stream.push_shared(Arc::new(frame), false);
    }
}

impl Drop for Rendition {
    fn drop(&mut self) {
        let mut inner = self.stream.lock();
        if inner.rendition != Some(self.number) {
            return;
        }
        inner.rendition = None;
        let tracks: Vec<TrackInfo> = inner.tracks.iter().filter(|t| t.id != self.id).cloned().collect();
        inner.tracks = tracks.into();
        inner.tracks_version += 1;
        Stream::wake(&inner.wakers);
    }
}
