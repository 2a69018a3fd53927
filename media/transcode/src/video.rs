//! H.265 to H.264 for browsers that have no H.265 decoder: a Subscriber of the camera's stream and the Publisher of
//! another one, `h264:SOURCE`, that all such viewers share. For meeting terminals and thin links also what is H.264 already,
//! in a smaller form ([`Fit`]).

use std::collections::VecDeque;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use media_core::nal::{AuAssembler, annexb_nals, to_annexb};
use media_core::{Codec, Frame, MediaKind, TrackId, TrackInfo};
use media_hub::{
    Fault, Fit, Hub, Item, Outcome, Publisher, Pulled, Start, Step, StreamId, SubscribeOptions, Subscriber, Whose,
};
use tokio::sync::Semaphore;

use crate::pipe::{KEY, PASS};
use crate::process::{Made, Process};

/// Pictures under way in the worker at most; a decoder that gives nothing for so many is stuck.
const UNDER_WAY: usize = 100;
/// A picture that the worker has held for so long: it cannot keep up, and goes on at a key frame.
const BEHIND: Duration = Duration::from_millis(800);
/// Pictures older than this when the worker begins are decoded and not shown.
const OLD: Duration = Duration::from_millis(250);
/// A worker gives its first picture within this.
const FIRST: Duration = Duration::from_secs(12);

/// How pictures are transcoded.
#[derive(Debug, Clone)]
pub struct VideoSettings {
    /// Workers at once. Each costs about a core for 1080p at 25 pictures a second.
    pub max: usize,
    /// `auto`, `x264` or `openh264`.
    pub encoder: String,
    /// Larger pictures are scaled down to this height, in pixels.
    pub max_height: u32,
    /// Bit rate in kbit/s.
    pub kbps: u32,
}

impl Default for VideoSettings {
    fn default() -> Self {
        VideoSettings { max: 2, encoder: "auto".into(), max_height: 720, kbps: 2500 }
    }
}

/// What the transcoders do, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    pub running: AtomicUsize,
    pub frames: AtomicU64,
    pub refused: AtomicU64,
    pub failures: AtomicU64,
    /// Frames left out because a worker was behind.
    pub dropped: AtomicU64,
    /// Time in the worker, in microseconds, over all frames.
    pub micros: AtomicU64,
}

/// Makes H.264 of H.265 streams, within a budget. Cheap to clone.
#[derive(Clone)]
pub struct Transcoders {
    hub: Hub,
    program: PathBuf,
    settings: Arc<VideoSettings>,
    places: Arc<Semaphore>,
    pub counters: Arc<Counters>,
}

fn busy(max: usize) -> Fault {
    Fault::new(
        "transcoders_busy",
        Whose::Us,
        true,
        format!("此浏览器不能解码 H.265，而 {max} 路转码名额已用完"),
        format!("This browser cannot decode H.265, and all {max} transcoders are in use"),
    )
    .next(
        "关闭其他 H.265 画面，改用子码流或能解码 H.265 的浏览器，或提高 media.transcoders",
        "Close other H.265 pictures, take the sub-stream or a browser that decodes H.265, or raise media.transcoders",
    )
}

fn failed(words: &str) -> Fault {
    Fault::new(
        "transcoder_failed",
        Whose::Us,
        true,
        format!("转码进程失败（{words}）"),
        format!("The transcoder failed ({words})"),
    )
    .next(
        "查看日志；确认已安装 GStreamer 的解码和编码插件",
        "See the log; check that GStreamer's decoders and encoders are installed",
    )
}

impl Transcoders {
    /// `program` is run as `program worker video ...`.
    pub fn new(hub: Hub, program: PathBuf, settings: VideoSettings) -> Self {
        let places = Arc::new(Semaphore::new(settings.max));
        Transcoders { hub, program, settings: Arc::new(settings), places, counters: Arc::default() }
    }

    /// Works for one stream until `stop` resolves, or until the worker fails. Without `fit` only H.265 is made anew: while the
    /// source is none its frames go through as they are.
    pub async fn run_once(
        &self,
        source: &StreamId,
        fit: Option<Fit>,
        publisher: &mut Publisher,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Fault> {
        publisher.trace_restart("");
        let options = SubscribeOptions { start: Start::Group, ..SubscribeOptions::default() };
        let subscriber = self.hub.subscribe(source, options).map_err(|e| failed(&e.to_string()))?;
        let mut work =
            Work { all: self, fit, publisher, subscriber, tracks: Vec::new(), epoch: None, worker: None, video: None };
        let stopped = stop;
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                biased;
                () = &mut stopped => return Ok(()),
                made = next(&mut work.worker) => work.made(made).await?,
                () = work.publisher.key_frame_requested() => work.key_wanted(),
                pulled = work.subscriber.next() => work.pulled(pulled)?,
            }
        }
    }
}

async fn next(worker: &mut Option<Worker>) -> Option<Made> {
    match worker {
        Some(w) => {
            let late = tokio::time::Instant::from_std(w.since + FIRST);
            tokio::select! {
                made = w.process.next() => made,
                () = tokio::time::sleep_until(late), if w.info.is_none() => None,
            }
        }
        None => std::future::pending().await,
    }
}

/// A picture in the worker.
struct UnderWay {
    stamp: i64,
    pts: i64,
    epoch: u32,
    since: Instant,
}

struct Worker {
    process: Process,
    /// The codec that goes in.
    from: Codec,
    assembler: AuAssembler,
    under_way: VecDeque<UnderWay>,
    /// Stamps towards the worker never go back, whatever the source's do.
    last: i64,
    offset: i64,
    epoch: Option<u32>,
    since: Instant,
    /// Size of what came out.
    info: Option<(u32, u32)>,
    _place: tokio::sync::OwnedSemaphorePermit,
    counters: Arc<Counters>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.counters.running.fetch_sub(1, Relaxed);
    }
}

struct Work<'a> {
    all: &'a Transcoders,
    /// All is made in this form.
    fit: Option<Fit>,
    publisher: &'a mut Publisher,
    subscriber: Subscriber,
    tracks: Vec<TrackInfo>,
    /// The source's epoch of the last frame written.
    epoch: Option<u32>,
    worker: Option<Worker>,
    /// What is published as video.
    video: Option<TrackInfo>,
}

impl Work<'_> {
    fn pulled(&mut self, pulled: Pulled) -> Result<(), Fault> {
        match pulled {
            Pulled::Tracks(tracks) => {
                self.tracks = tracks.to_vec();
                let own = tracks.iter().find(|t| t.kind() == MediaKind::Video);
                if own.is_some_and(|t| !self.makes(t.codec)) {
                    self.worker = None;
                    self.video = own.cloned();
                }
                self.announce();
            }
            Pulled::Item(item) if item.frame.kind() == MediaKind::Video => return self.picture(&item),
            Pulled::Item(item) => {
                self.turn(item.epoch);
                self.publisher.write_shared(item.frame);
            }
            Pulled::Lagged(lost) => {
                self.all.counters.dropped.fetch_add(lost, Relaxed);
            }
            Pulled::State(media_hub::StreamState::Failed, Some(fault)) => self.publisher.fail(fault),
            Pulled::State(state @ (media_hub::StreamState::Stalled | media_hub::StreamState::Idle), _) => {
                self.publisher.set_state(state);
            }
            Pulled::State(..) => {}
        }
        Ok(())
    }

    /// Whether pictures of this codec are made anew.
    fn makes(&self, codec: Codec) -> bool {
        codec == Codec::H265 || self.fit.is_some() && codec == Codec::H264
    }

    fn announce(&self) {
        let mut tracks: Vec<TrackInfo> = self.video.iter().cloned().collect();
        tracks.extend(self.tracks.iter().filter(|t| t.kind() == MediaKind::Audio).cloned());
        if self.video.is_some() {
            self.publisher.set_tracks(&tracks);
        }
    }

    /// The source's time line is another.
    fn turn(&mut self, epoch: u32) {
        if self.epoch.replace(epoch).is_some_and(|old| old != epoch) {
            self.publisher.new_epoch();
        }
    }

    fn key_wanted(&mut self) {
        match &self.worker {
            Some(worker) => worker.process.want_key(),
            None => self.subscriber.stream().request_key_frame(),
        }
    }

    fn start(&self, codec: Codec) -> Result<Worker, Fault> {
        let all = self.all;
        let place = all.places.clone().try_acquire_owned().map_err(|_| {
            all.counters.refused.fetch_add(1, Relaxed);
            busy(all.settings.max)
        })?;
        let s = &all.settings;
        let from = if codec == Codec::H264 { "h264" } else { "h265" };
        let (height, kbps) = self.fit.map_or((s.max_height, s.kbps), |f| (f.height.min(s.max_height), f.kbps));
        let (height, kbps) = (height.to_string(), kbps.to_string());
        let small = self.fit.is_some_and(|f| f.small_slices).then_some("--small-slices");
        let thin = self.fit.map(|_| "--thin");
        let words = ["video", from, &s.encoder, &height, &kbps].into_iter().chain(thin).chain(small);
        let words: Vec<String> = words.map(str::to_owned).collect();
        let process = Process::start(&all.program, &words).map_err(|e| failed(&e.to_string()))?;
        all.counters.running.fetch_add(1, Relaxed);
        Ok(Worker {
            process,
            from: codec,
            assembler: AuAssembler::new(Codec::H264),
            under_way: VecDeque::new(),
            last: -1,
            offset: 0,
            epoch: None,
            since: Instant::now(),
            info: None,
            _place: place,
            counters: all.counters.clone(),
        })
    }

    fn picture(&mut self, item: &Item) -> Result<(), Fault> {
        let frame = &item.frame;
        if !self.makes(frame.codec) {
            self.turn(item.epoch);
            self.publisher.write_shared(frame.clone());
            return Ok(());
        }
        if self.worker.as_ref().is_some_and(|w| w.from != frame.codec) {
            self.worker = None;
        }
        if self.worker.is_none() {
            if !frame.key {
                return Ok(());
            }
            self.worker = Some(self.start(frame.codec)?);
            // Behind the group of pictures that is caught up with: the first picture shown comes soon.
            if self.subscriber.behind() > 10 {
                self.subscriber.stream().request_key_frame();
            }
        }
        let behind = self.subscriber.behind();
        let Some(w) = &mut self.worker else { return Ok(()) };
        if w.epoch != Some(item.epoch) {
            // A new time line: its first picture follows the last one of the old.
            w.epoch = Some(item.epoch);
            w.offset = w.last + 3600 - frame.pts;
            w.process.want_key();
        }
        // B pictures may go back by less than a group.
        let stamp = (frame.pts + w.offset).max(0);
        w.last = w.last.max(stamp);
        let late = w.under_way.front().is_some_and(|u| u.since.elapsed() > BEHIND) && w.info.is_some();
        if late || w.under_way.len() >= UNDER_WAY {
            self.drop_behind();
            return Ok(());
        }
        let old = frame.received.elapsed() > OLD && behind > 1;
        let flags = if frame.key { KEY } else { 0 } | if old { PASS } else { 0 };
        let mut annex_b = Vec::with_capacity(frame.payload.len() + 32);
        to_annexb(&frame.payload, &mut annex_b);
        if !w.process.push(flags, stamp, annex_b) {
            self.drop_behind();
            return Ok(());
        }
        if !old {
            w.under_way.push_back(UnderWay { stamp, pts: frame.pts, epoch: item.epoch, since: Instant::now() });
        }
        Ok(())
    }

    /// The worker cannot keep up: on at the newest key frame.
    fn drop_behind(&mut self) {
        if let Some(w) = &mut self.worker {
            w.under_way.clear();
        }
        let left = self.subscriber.behind().max(1);
        self.all.counters.dropped.fetch_add(left, Relaxed);
        self.subscriber.skip_to_next_key();
        self.subscriber.stream().request_key_frame();
    }

    async fn made(&mut self, made: Option<Made>) -> Result<(), Fault> {
        let Some(made) = made else {
            self.all.counters.failures.fetch_add(1, Relaxed);
            let words = match &mut self.worker {
                Some(w) => w.process.last_words().await,
                None => String::new(),
            };
            self.worker = None;
            return Err(failed(&words));
        };
        let Some(w) = &mut self.worker else { return Ok(()) };
        // Those that gave nothing are gone; one that is not known came too late.
        let Some(at) = w.under_way.iter().position(|u| u.stamp == made.stamp) else { return Ok(()) };
        let Some(known) = w.under_way.remove(at) else { return Ok(()) };
        w.under_way.retain(|u| u.stamp > made.stamp);
        let now = Instant::now();
        self.all.counters.frames.fetch_add(1, Relaxed);
        self.all.counters.micros.fetch_add(known.since.elapsed().as_micros() as u64, Relaxed);
        let mut units = Vec::new();
        for nal in annexb_nals(&made.data) {
            if let Ok(unit) = w.assembler.push(nal) {
                units.extend(unit);
            }
        }
        units.extend(w.assembler.finish());
        let size = w.assembler.info().map(|i| (i.width, i.height));
        let fresh = size.is_some() && w.info != size;
        if fresh {
            let first = w.info.is_none();
            w.info = size;
            let (width, height) = size.unwrap_or_default();
            if first {
                let detail = format!(
                    "{} to H264 {width}x{height}, first picture after {} ms",
                    w.from,
                    w.since.elapsed().as_millis()
                );
                self.publisher.trace(Step::Demuxed, Outcome::Ok, detail);
            }
            self.video = Some(TrackInfo { width, height, ..TrackInfo::video(Codec::H264) });
            self.announce();
        }
        self.turn(known.epoch);
        for unit in units {
            self.publisher.write(Frame::new(TrackId::VIDEO, Codec::H264, known.pts, unit.key, now, unit.payload));
        }
        Ok(())
    }
}
