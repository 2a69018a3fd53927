//! Taking recordings in that were made elsewhere: a device's own copy of a stretch of time. The files are as all others, only
//! their time is the recording's and not the clock's, and the disk is waited for instead of pictures being dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use media_core::{Codec, Frame, MediaKind, TrackId, TrackInfo};
use media_hub::audio::renditions::ToOpus;
use media_hub::{Fault, Item, StreamId};
use tokio::sync::oneshot;

use crate::job::FRAGMENT;
use crate::mp4::init::Meta;
use crate::recorder::Recorder;
use crate::segmenter::{Cuts, Fragment, Segmenter, select};
use crate::types::{Cause, RecorderError, RecordingId, RecordingState};
use crate::writer::{Counters, Order, Write1};

/// What is taken in.
#[derive(Debug, Clone)]
pub struct ImportOrder {
    /// The stream of which it is a copy.
    pub stream: StreamId,
    pub name: String,
    /// Whoever orders it names it: [`Recorder::discard_import`] takes away what came of an import that broke.
    pub source: String,
    /// The recording's own time of media time 0, in milliseconds since 1970.
    pub started_ms: i64,
}

/// An import under way. Dropping it leaves an unfinished file, which the next start repairs.
pub struct Import {
    recorder: Recorder,
    order: ImportOrder,
    key: u64,
    counters: Arc<Counters>,
    segmenter: Segmenter,
    zero: Instant,
    seq: u64,
    tracks: Vec<TrackInfo>,
    opus: Option<ToOpus>,
    ids: Vec<RecordingId>,
    out: Vec<Fragment>,
}

impl Recorder {
    /// Begins to take a recording in.
    pub fn import(&self, order: ImportOrder) -> Import {
        let cuts = Cuts { fragment: FRAGMENT, file: self.0.settings.segment };
        Import {
            recorder: self.clone(),
            order,
            key: self.new_key(),
            counters: Arc::default(),
            segmenter: Segmenter::new(cuts),
            zero: Instant::now(),
            seq: 0,
            tracks: Vec::new(),
            opus: None,
            ids: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Deletes the recordings of an import; gives how many there were.
    pub async fn discard_import(&self, source: &str) -> Result<usize, RecorderError> {
        let mut gone = 0;
        for row in self.0.store.of_import(source).await? {
            self.remove(&row).await?;
            gone += 1;
        }
        Ok(gone)
    }
}

impl Import {
    /// What the recording holds. A sound that a file cannot hold becomes Opus.
    pub async fn tracks(&mut self, tracks: &[TrackInfo]) -> Result<(), RecorderError> {
        let mut all: Vec<TrackInfo> = tracks.iter().filter(|t| t.id != TrackId::OPUS).cloned().collect();
        self.opus = None;
        if select(&all).needs_opus
            && let Some(own) = all.iter().find(|t| t.kind() == MediaKind::Audio)
        {
            match ToOpus::new(own.clone()) {
                Ok(opus) => {
                    self.opus = Some(opus);
                    all.push(ToOpus::track());
                }
                Err(error) => {
                    tracing::warn!(%error, stream = %self.order.stream, "this sound is left out of the copy");
                }
            }
        }
        self.segmenter.set_tracks(&all, &mut self.out);
        self.tracks = all;
        self.write().await
    }

    fn received(&self, frame: &Frame) -> Instant {
        let rate = self.tracks.iter().find(|t| t.id == frame.track).map_or(90_000, |t| t.clock_rate.max(1));
        let ms = frame.pts.max(0) as u64 * 1000 / u64::from(rate);
        self.zero + Duration::from_millis(ms)
    }

    /// Takes one frame; its stamp counts from the beginning, in ticks of its track. Waits for the disk.
    pub async fn frame(&mut self, mut frame: Frame) -> Result<(), RecorderError> {
        if frame.pts < 0 {
            return Ok(());
        }
        // The segmenter judges clocks by the receive instant: here it is the media time itself.
        frame.received = self.received(&frame);
        if frame.track == TrackId::AUDIO
            && let Some(opus) = &mut self.opus
        {
            let mut made = Vec::new();
            opus.push(&frame, |f| made.push(f));
            for mut f in made.into_iter().filter(|f| f.pts >= 0 && f.codec == Codec::Opus) {
                f.received = self.received(&f);
                self.give(f);
            }
        } else {
            self.give(frame);
        }
        self.write().await
    }

    fn give(&mut self, frame: Frame) {
        let item = Item { seq: self.seq, epoch: 1, frame: Arc::new(frame) };
        self.seq += 1;
        self.segmenter.item(&item, &mut self.out);
    }

    async fn write(&mut self) -> Result<(), RecorderError> {
        for fragment in std::mem::take(&mut self.out) {
            self.write_one(fragment).await?;
        }
        Ok(())
    }

    async fn write_one(&mut self, fragment: Fragment) -> Result<(), RecorderError> {
        let meta = fragment.opening.as_ref().map(|o| {
            let at = o.received.saturating_duration_since(self.zero).as_millis() as i64;
            let id = uuid::Uuid::now_v7();
            self.ids.push(RecordingId(id.simple().to_string()));
            Box::new(Meta {
                id,
                stream: self.order.stream.as_str().to_owned(),
                name: self.order.name.clone(),
                cause: Cause::Device.as_str().to_owned(),
                plan: self.order.source.clone(),
                keep_days: 0,
                started_ms: self.order.started_ms + at - o.lead.as_millis() as i64,
            })
        });
        let limit = self.recorder.queue_bytes();
        loop {
            if let Some(fault) = self.recorder.disk_fault() {
                return Err(RecorderError::Disk(Box::new(fault)));
            }
            self.failed()?;
            let queued = self.counters.queued.load(Ordering::Relaxed);
            if queued == 0 || queued + fragment.bytes <= limit {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.counters.queued.fetch_add(fragment.bytes, Ordering::Relaxed);
        let bytes = fragment.bytes;
        let mut order =
            Order::Write(Box::new(Write1 { job: self.key, meta, fragment, counters: self.counters.clone() }));
        for _ in 0..2000 {
            match self.recorder.writers().send(self.key, order) {
                Ok(()) => return Ok(()),
                Err(back) => order = back,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.counters.queued.fetch_sub(bytes, Ordering::Relaxed);
        Err(RecorderError::Disk(Box::new(busy())))
    }

    fn failed(&self) -> Result<(), RecorderError> {
        if self.counters.dropped.load(Ordering::Relaxed) > 0 {
            return Err(RecorderError::Disk(Box::new(busy())));
        }
        Ok(())
    }

    /// Closes the last file; when this returns, the recordings are in the index, whole.
    pub async fn finish(mut self) -> Result<Vec<RecordingId>, RecorderError> {
        let mut out = std::mem::take(&mut self.out);
        self.segmenter.flush(&mut out);
        self.segmenter.abandon();
        for fragment in out {
            self.write_one(fragment).await?;
        }
        let (tx, rx) = oneshot::channel();
        let mut order = Order::Close { job: self.key, done: Some(tx) };
        for _ in 0..2000 {
            match self.recorder.writers().send(self.key, order) {
                Ok(()) => break,
                Err(back) => order = back,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The writer gone means that the gateway ends.
        let _ = tokio::time::timeout(Duration::from_secs(60), rx).await;
        self.failed()?;
        // The keeper notes what the writer told.
        for _ in 0..500 {
            let mut whole = true;
            for id in &self.ids {
                let state = self.recorder.0.store.get(&id.0).await?.map(|r| r.state);
                whole &= matches!(state, Some(RecordingState::Whole));
            }
            if whole {
                return Ok(self.ids);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(RecorderError::Disk(Box::new(busy())))
    }
}

fn busy() -> Fault {
    crate::types::disk_error(&std::io::Error::other("a copy could not be written"))
}
