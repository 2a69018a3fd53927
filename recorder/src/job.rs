//! One job: a subscriber that feeds a segmenter, whose fragments go to a writer thread.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use media_hub::{Fault, Hub, Pulled, Start, StreamId, StreamState, SubscribeOptions, Subscriber, Whose};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::mp4::init::Meta;
use crate::segmenter::{Cuts, Fragment, Segmenter, select};
use crate::types::{Cause, Job, JobId, JobState, RecorderEvent, RecordingId, rfc3339};
use crate::writer::{Counters, Order, Pool, Write1};

/// Frames that wait for a fragment are written after this long even when nothing follows them.
const HOLD: Duration = Duration::from_millis(800);
/// Media time in a fragment; with `HOLD` and one frame it stays below the second that a crash may cost.
pub(crate) const FRAGMENT: Duration = Duration::from_millis(700);
/// Without frames for this long the job says that it waits.
const WAITING_AFTER: Duration = Duration::from_secs(3);
/// Without frames for this long the file is finished; the next frames begin another.
const FINISH_AFTER: Duration = Duration::from_secs(30);
/// A source that does not come is asked for anew after this long.
const ASK_AGAIN: Duration = Duration::from_secs(20);
/// How long a rendition of a sound that cannot be stored is waited for before the file begins without it.
const OPUS_WAIT: Duration = Duration::from_millis(1500);
/// After a failed write.
const RETRY_DISK: Duration = Duration::from_secs(3);

/// What a job was told to do.
#[derive(Debug, Clone)]
pub(crate) struct JobOrder {
    pub key: u64,
    pub id: JobId,
    pub stream: StreamId,
    pub name: String,
    pub cause: Cause,
    pub plan: Option<String>,
    pub keep_days: u32,
    pub since_ms: i64,
}

#[derive(Debug)]
struct Status {
    state: JobState,
    fault: Option<Fault>,
    recording: Option<RecordingId>,
}

/// What others see of a job.
pub(crate) struct JobShared {
    pub order: JobOrder,
    pub counters: Arc<Counters>,
    status: Mutex<Status>,
    events: broadcast::Sender<RecorderEvent>,
    /// The writer refused: the job begins a new file later.
    pub control: mpsc::Sender<Fault>,
}

impl JobShared {
    pub fn new(order: JobOrder, events: broadcast::Sender<RecorderEvent>) -> (Arc<Self>, mpsc::Receiver<Fault>) {
        let (control, rx) = mpsc::channel(4);
        let status = Mutex::new(Status { state: JobState::Waiting, fault: None, recording: None });
        (Arc::new(JobShared { order, counters: Arc::default(), status, events, control }), rx)
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(|p| p.into_inner())
    }

    pub fn job(&self) -> Job {
        let status = self.lock();
        Job {
            id: self.order.id.clone(),
            stream: self.order.stream.clone(),
            name: self.order.name.clone(),
            cause: self.order.cause,
            since: rfc3339(self.order.since_ms),
            bytes: self.counters.written.load(Ordering::Relaxed),
            state: status.state,
            fault: status.fault.clone(),
            plan: self.order.plan.clone(),
            recording: status.recording.clone(),
            dropped_frames: self.counters.dropped.load(Ordering::Relaxed),
        }
    }

    pub fn set(&self, state: JobState, fault: Option<Fault>) {
        let mut status = self.lock();
        if status.state == state && status.fault == fault {
            return;
        }
        status.state = state;
        status.fault = fault;
        drop(status);
        self.announce();
    }

    pub fn set_recording(&self, id: Option<RecordingId>) {
        self.lock().recording = id;
        self.announce();
    }

    pub fn recording(&self) -> Option<RecordingId> {
        self.lock().recording.clone()
    }

    pub fn announce(&self) {
        // Nobody listening is no fault.
        let _ = self.events.send(RecorderEvent::JobChanged(self.job()));
    }
}

/// What the recorder hands to each job.
#[derive(Clone)]
pub(crate) struct Tools {
    pub hub: Hub,
    pub pool: Pool,
    pub segment: Duration,
    pub queue_bytes: usize,
    /// Set while the disk has too little room.
    pub disk: watch::Receiver<Option<Fault>>,
}

pub(crate) struct Runner {
    pub shared: Arc<JobShared>,
    pub tools: Tools,
    pub stop: watch::Receiver<bool>,
    pub control: mpsc::Receiver<Fault>,
}

/// The way to the writer: bounded by bytes; what does not fit is dropped up to the next key frame.
struct Sink {
    shared: Arc<JobShared>,
    pool: Pool,
    limit: usize,
    skipping: bool,
    open: bool,
    told: Option<Instant>,
}

impl Sink {
    /// False: the fragment that would have begun a file was dropped, so the next key frame must begin one.
    fn offer(&mut self, fragment: Fragment) -> bool {
        let counters = &self.shared.counters;
        let begins = fragment.opening.is_some();
        let queued = counters.queued.load(Ordering::Relaxed);
        // Once full, half of the queue must be free before pictures go on: no flapping.
        let limit = if self.skipping { self.limit / 2 } else { self.limit };
        let fits = queued == 0 || queued + fragment.bytes <= limit;
        if !fits || (self.skipping && !fragment.key) {
            self.drop_it(fragment.frames);
            return !begins;
        }
        let meta = fragment.opening.as_ref().map(|o| {
            let (now, wall) = (Instant::now(), SystemTime::now());
            let age = now.saturating_duration_since(o.received) + o.lead;
            let ahead = o.received.saturating_duration_since(now);
            let started = wall.checked_sub(age).and_then(|t| (t + ahead).duration_since(SystemTime::UNIX_EPOCH).ok());
            let order = &self.shared.order;
            Box::new(Meta {
                id: uuid::Uuid::now_v7(),
                stream: order.stream.as_str().to_owned(),
                name: order.name.clone(),
                cause: order.cause.as_str().to_owned(),
                plan: order.plan.clone().unwrap_or_default(),
                keep_days: order.keep_days,
                started_ms: started.map_or(0, |d| d.as_millis() as i64),
            })
        });
        let (bytes, frames) = (fragment.bytes, fragment.frames);
        counters.queued.fetch_add(bytes, Ordering::Relaxed);
        let job = self.shared.order.key;
        let write = Order::Write(Box::new(Write1 { job, meta, fragment, counters: counters.clone() }));
        if self.pool.send(job, write).is_err() {
            self.shared.counters.queued.fetch_sub(bytes, Ordering::Relaxed);
            self.drop_it(frames);
            return !begins;
        }
        self.skipping = false;
        self.open = true;
        true
    }

    fn drop_it(&mut self, frames: u32) {
        self.skipping = true;
        let total = self.shared.counters.dropped.fetch_add(u64::from(frames), Ordering::Relaxed) + u64::from(frames);
        if self.told.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
            self.told = Some(Instant::now());
            tracing::warn!(stream = %self.shared.order.stream, dropped = total, "the disk is too slow; pictures are dropped");
            self.shared.announce();
        }
    }

    async fn close(&mut self) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let job = self.shared.order.key;
        let (tx, rx) = oneshot::channel();
        let mut order = Order::Close { job, done: Some(tx) };
        for _ in 0..600 {
            match self.pool.send(job, order) {
                Ok(()) => {
                    // The writer gone means that the gateway ends; the file is finished by its end.
                    let _ = tokio::time::timeout(Duration::from_secs(30), rx).await;
                    return;
                }
                Err(back) => order = back,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tracing::error!(stream = %self.shared.order.stream, "the disk does not take the end of a recording");
    }
}

impl Runner {
    pub async fn run(mut self) {
        let shared = self.shared.clone();
        let mut sink = Sink {
            shared: shared.clone(),
            pool: self.tools.pool.clone(),
            limit: self.tools.queue_bytes.max(1),
            skipping: false,
            open: false,
            told: None,
        };
        let mut segmenter = Segmenter::new(Cuts { fragment: FRAGMENT, file: self.tools.segment });
        // Whoever may stop the job being gone ends it too: else it would turn here without rest.
        while self.stop.has_changed().is_ok() && !*self.stop.borrow() {
            if let Some(subscriber) = self.subscribe().await {
                self.follow(subscriber, &mut segmenter, &mut sink).await;
            }
        }
        Self::end_file(&mut segmenter, &mut sink).await;
    }

    async fn end_file(segmenter: &mut Segmenter, sink: &mut Sink) {
        let mut out = Vec::new();
        segmenter.flush(&mut out);
        segmenter.abandon();
        Self::give(&mut out, segmenter, sink);
        sink.close().await;
    }

    fn give(out: &mut Vec<Fragment>, segmenter: &mut Segmenter, sink: &mut Sink) {
        let mut lost_start = false;
        for fragment in out.drain(..) {
            // What belongs to a file that did not begin is lost with its beginning.
            lost_start =
                if fragment.opening.is_some() { !sink.offer(fragment) } else { lost_start || !sink.offer(fragment) };
        }
        if lost_start {
            segmenter.abandon();
        }
    }

    async fn subscribe(&mut self) -> Option<Subscriber> {
        let id = &self.shared.order.stream;
        let options = SubscribeOptions { start: Start::Group, demand: true, notify: None };
        match self.tools.hub.subscribe(id, options) {
            Ok(subscriber) => {
                subscriber.stream().request_key_frame();
                Some(subscriber)
            }
            Err(error) => {
                let fault = Fault::new("no_stream", Whose::Device, true, "信号源不存在或未上线", error.to_string());
                self.shared.set(JobState::Waiting, Some(fault));
                self.pause(Duration::from_millis(500)).await;
                None
            }
        }
    }

    async fn pause(&mut self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            _ = self.stop.changed() => {}
        }
    }

    /// Records until stopped, or until the source must be asked for anew.
    async fn follow(&mut self, mut subscriber: Subscriber, segmenter: &mut Segmenter, sink: &mut Sink) {
        let mut out = Vec::new();
        let mut heard = Instant::now();
        let mut held_since: Option<Instant> = None;
        let mut pause_until: Option<Instant> = None;
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                changed = self.stop.changed() => {
                    if changed.is_err() || *self.stop.borrow() {
                        self.drain(&mut subscriber, segmenter, &mut out);
                        Self::give(&mut out, segmenter, sink);
                        return;
                    }
                }
                Some(fault) = self.control.recv() => {
                    segmenter.abandon();
                    out.clear();
                    sink.open = false;
                    self.shared.set(JobState::Failed, Some(fault));
                    pause_until = Some(Instant::now() + RETRY_DISK);
                }
                _ = tick.tick() => {
                    let full = self.tools.disk.borrow_and_update().clone();
                    if let Some(fault) = full {
                        if sink.open {
                            Self::end_file(segmenter, sink).await;
                        }
                        segmenter.abandon();
                        self.shared.set(JobState::Failed, Some(fault));
                        pause_until = Some(Instant::now() + Duration::from_millis(200));
                    }
                    if held_since.is_some_and(|at| at.elapsed() >= HOLD) {
                        segmenter.flush(&mut out);
                        held_since = None;
                    }
                    let quiet = heard.elapsed();
                    if quiet >= WAITING_AFTER && pause_until.is_none() {
                        self.shared.set(JobState::Waiting, subscriber.stream().status().fault);
                    }
                    if quiet >= FINISH_AFTER && sink.open {
                        Self::end_file(segmenter, sink).await;
                    }
                    let dead = matches!(subscriber.stream().state(), StreamState::Idle | StreamState::Failed);
                    if dead && quiet >= ASK_AGAIN {
                        return;
                    }
                }
                pulled = subscriber.next() => {
                    match pulled {
                        Pulled::Item(item) => {
                            heard = Instant::now();
                            if pause_until.is_some_and(|until| Instant::now() < until) {
                                continue;
                            }
                            if pause_until.take().is_some() {
                                segmenter.lost();
                            }
                            segmenter.item(&item, &mut out);
                            // One file cannot follow another in one call before this one is given.
                            if segmenter.holds() {
                                held_since.get_or_insert_with(Instant::now);
                                if sink.open {
                                    self.shared.set(JobState::Recording, None);
                                }
                            }
                        }
                        Pulled::Tracks(tracks) => {
                            segmenter.set_tracks(&tracks, &mut out);
                            if select(&tracks).needs_opus && subscriber.stream().state() != StreamState::Idle {
                                self.await_opus(&subscriber).await;
                            }
                        }
                        Pulled::Lagged(lost) => {
                            tracing::warn!(stream = %self.shared.order.stream, lost, "the recorder fell behind");
                            self.shared.counters.dropped.fetch_add(lost, Ordering::Relaxed);
                            segmenter.lost();
                        }
                        Pulled::State(StreamState::Failed, fault) => self.shared.set(JobState::Waiting, fault),
                        Pulled::State(..) => {}
                    }
                    if segmenter.take_want_key() {
                        subscriber.stream().request_key_frame();
                    }
                }
            }
            if !out.is_empty() {
                held_since = segmenter.holds().then(Instant::now);
                Self::give(&mut out, segmenter, sink);
                if sink.open && pause_until.is_none() {
                    self.shared.set(JobState::Recording, None);
                }
            }
        }
    }

    /// Takes what is in the ring already when the job is stopped.
    fn drain(&self, subscriber: &mut Subscriber, segmenter: &mut Segmenter, out: &mut Vec<Fragment>) {
        for _ in 0..10_000 {
            match subscriber.try_next() {
                Some(Pulled::Item(item)) => segmenter.item(&item, out),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// The ring holds what comes meanwhile.
    async fn await_opus(&mut self, subscriber: &Subscriber) {
        subscriber.stream().want_opus();
        let until = Instant::now() + OPUS_WAIT;
        while Instant::now() < until && !*self.stop.borrow() && select(&subscriber.stream().tracks()).needs_opus {
            self.pause(Duration::from_millis(30)).await;
        }
    }
}
