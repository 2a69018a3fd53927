//! Cutting the frames that wait into one fragment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::{Codec, Frame, TrackInfo};

use crate::mp4::fragment::{RunHead, SampleHead, fragment_head};
use crate::mp4::init::{AUDIO_TRACK, VIDEO_TRACK};
use crate::mp4::params::VideoParams;

/// How a new file begins.
#[derive(Debug)]
pub(crate) struct Opening {
    pub params: Option<VideoParams>,
    pub audio: Option<TrackInfo>,
    /// Receive instant of its first frame.
    pub received: Instant,
    /// The file's time 0 lies so much before that frame.
    pub lead: Duration,
}

/// One fragment, ready to be written.
#[derive(Debug)]
pub(crate) struct Fragment {
    /// Set on the first fragment of a file.
    pub opening: Option<Opening>,
    /// moof and mdat head.
    pub head: Vec<u8>,
    pub samples: Vec<Arc<Frame>>,
    pub bytes: usize,
    /// Decoding can begin with it.
    pub key: bool,
    /// Samples of the main track: pictures, or sound in a file without.
    pub frames: u32,
    /// End in the file.
    pub end_ms: u64,
}

impl Fragment {
    pub fn payloads(&self) -> impl Iterator<Item = &Bytes> {
        self.samples.iter().map(|f| &f.payload)
    }
}

struct Waiting {
    ticks: i64,
    ns: i64,
    frame: Arc<Frame>,
}

/// The frames of one track that wait for the next cut.
pub(crate) struct Lane {
    video: bool,
    rate: u32,
    /// No sample may begin before.
    next: i64,
    /// Last distance between two samples.
    step: i64,
    /// Latest stamp seen; one below it is a B picture.
    latest: i64,
    reorders: bool,
    /// B pictures: decode times lie so much before the sorted presentation times, so that no sample is shown before it is
    /// decoded, and the whole file is shifted by as much, so that no decode time is negative.
    delay: i64,
    shift: i64,
    waiting: Vec<Waiting>,
}

impl Lane {
    fn new(step: i64) -> Self {
        Lane {
            video: false,
            rate: 1,
            next: 0,
            step,
            latest: i64::MIN,
            reorders: false,
            delay: 0,
            shift: 0,
            waiting: Vec::new(),
        }
    }

    pub fn video() -> Self {
        Lane { video: true, rate: 90_000, ..Lane::new(3600) }
    }

    pub fn audio(info: &TrackInfo) -> Self {
        let step = if info.codec == Codec::Aac { 1024 } else { i64::from(info.clock_rate / 50) };
        Lane { video: false, rate: info.clock_rate.max(1), ..Lane::new(step) }
    }

    pub fn first_ns(&self) -> Option<i64> {
        self.waiting.iter().map(|w| w.ns).min()
    }

    pub fn step_ns(&self) -> i64 {
        self.step * 1_000_000_000 / i64::from(self.rate)
    }

    pub fn push(&mut self, ticks: i64, ns: i64, frame: Arc<Frame>) {
        if !self.video {
            self.step = packet_ticks(&frame, self.rate).unwrap_or(self.step);
        }
        self.reorders |= self.video && ticks < self.latest;
        self.latest = self.latest.max(ticks);
        self.waiting.push(Waiting { ticks, ns, frame });
    }

    /// Whether a cut in front of a sample at `ticks` splits no group of B pictures.
    pub fn may_cut_before(&self, ticks: i64) -> bool {
        !self.reorders || ticks > self.latest
    }

    /// Distance of two pictures where stamps come out of order.
    fn smallest_step(times: &[i64]) -> Option<i64> {
        times.windows(2).map(|w| w[1] - w[0]).filter(|d| *d > 0).min()
    }

    /// At the first cut of a file: how long pictures wait for those that are decoded after them and shown before.
    fn find_delay(&mut self) -> i64 {
        if !self.reorders {
            return 0;
        }
        let mut times: Vec<i64> = self.waiting.iter().map(|w| w.ticks).collect();
        times.sort_unstable();
        let step = Self::smallest_step(&times).unwrap_or(self.step);
        let needed = times.iter().zip(&self.waiting).map(|(t, w)| t - w.ticks).max().unwrap_or(0);
        // One more for stamps that jitter.
        self.delay = (needed + step).clamp(0, i64::from(self.rate));
        self.delay
    }

    /// The run of what waits; `next` is the time of the frame behind it, when known.
    fn run(&mut self, next: Option<i64>, samples: &mut Vec<Arc<Frame>>) -> Option<RunHead> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return None;
        }
        // Decode times: the presentation times in rising order. Without B pictures both are the same.
        let mut times: Vec<i64> = waiting.iter().map(|w| w.ticks + self.shift - self.delay).collect();
        times.sort_unstable();
        let next = next.map(|n| n + self.shift - self.delay);
        if self.reorders {
            self.step = Self::smallest_step(&times).unwrap_or(self.step);
        }
        let mut floor = self.next;
        for time in &mut times {
            *time = (*time).max(floor);
            floor = *time + 1;
        }
        let mut heads = Vec::with_capacity(waiting.len());
        let mut end = self.next;
        for (n, w) in waiting.iter().enumerate() {
            let time = times[n];
            let known = if w.frame.duration > 0 && self.video && !self.reorders {
                Some(i64::from(w.frame.duration))
            } else {
                None
            };
            let own = if self.video {
                known.unwrap_or(self.step)
            } else {
                packet_ticks(&w.frame, self.rate).unwrap_or(self.step)
            };
            let duration = match times.get(n + 1) {
                Some(after) => after - time,
                None => match next {
                    // A long silence of the source is a gap, not a long picture.
                    Some(next)
                        if self.video
                            && !self.reorders
                            && next > time
                            && next - time <= i64::from(self.rate) * 3 / 2 =>
                    {
                        next - time
                    }
                    _ => own,
                },
            };
            let duration = duration.clamp(1, i64::from(u32::MAX));
            if self.video && !self.reorders {
                self.step = duration.min(i64::from(self.rate) * 2);
            }
            end = time + duration;
            heads.push(SampleHead {
                duration: duration as u32,
                size: w.frame.payload.len() as u32,
                sync: w.frame.key,
                offset: if self.video {
                    (w.ticks + self.shift - time).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
                } else {
                    0
                },
            });
        }
        self.next = end;
        samples.extend(waiting.into_iter().map(|w| w.frame));
        let track = if self.video { VIDEO_TRACK } else { AUDIO_TRACK };
        Some(RunHead {
            track,
            video: self.video,
            time: times.first().copied().unwrap_or(0).max(0) as u64,
            samples: heads,
        })
    }
}

/// Length of an audio packet: AAC 1024 samples, Opus as the packet says; none when that cannot be read.
fn packet_ticks(frame: &Frame, rate: u32) -> Option<i64> {
    if frame.codec == Codec::Aac {
        return Some(1024);
    }
    media_core::opus::duration(&frame.payload).map(|ticks| i64::from(ticks) * i64::from(rate) / 48_000)
}

/// Makes one fragment of both lanes. `next` says which lane the frame behind it belongs to, and its time.
pub(crate) fn cut(
    sequence: &mut u32,
    video: &mut Option<Lane>,
    audio: &mut Option<Lane>,
    next: Option<(bool, i64)>,
    opening: &mut Option<Opening>,
) -> Option<Fragment> {
    let mut samples = Vec::new();
    if *sequence == 0 {
        let delay = video.as_mut().map_or(0, Lane::find_delay);
        for lane in [&mut *video, &mut *audio].into_iter().flatten() {
            lane.shift = delay * i64::from(lane.rate) / 90_000;
        }
        if let Some(opening) = opening {
            opening.lead += Duration::from_nanos(delay.max(0) as u64 * 100_000 / 9);
        }
    }
    let has_video = video.is_some();
    let of = |is_video: bool| next.filter(|(v, _)| *v == is_video).map(|(_, t)| t);
    let (next_video, next_audio) = (of(true), of(false));
    let picture = video.as_mut().and_then(|l| l.run(next_video, &mut samples));
    let sound = audio.as_mut().and_then(|l| l.run(next_audio, &mut samples));
    let key = match &picture {
        Some(run) => run.samples.first().is_some_and(|s| s.sync),
        None => !has_video,
    };
    let main = if has_video { &picture } else { &sound };
    let frames = main.as_ref().map_or(0, |r| r.samples.len() as u32);
    let runs: Vec<RunHead> = [picture, sound].into_iter().flatten().collect();
    if runs.is_empty() {
        return None;
    }
    *sequence += 1;
    let head = fragment_head(*sequence, &runs);
    let bytes = head.len() + samples.iter().map(|f| f.payload.len()).sum::<usize>();
    let end = [&*video, &*audio].into_iter().flatten().map(|l| (l.next.max(0) as u64) * 1000 / u64::from(l.rate)).max();
    Some(Fragment { opening: opening.take(), head, samples, bytes, key, frames, end_ms: end.unwrap_or(0) })
}
