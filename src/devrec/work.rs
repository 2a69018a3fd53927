//! One stretch of a fetch: session after session into its stage, then from the stage into the archive.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bridge_core::{FetchOrder, Fetched};
use media_core::time::rescale;
use media_core::{MediaKind, TrackId, TrackInfo};
use media_hub::{Fault, StreamId, Whose};
use recorder::{ImportOrder, Recorder, RecorderError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::align::{Align, Verdict, hash};
use super::stage::{Reader, Stage, Stored};
use crate::api::Shared;

/// Frames between the session and the disk.
const QUEUE: usize = 256;
/// Asked for again in front of the last whole second, so that known pictures tie both sessions.
const OVERLAP_S: i64 = 2;

/// What a running fetch shows.
#[derive(Default)]
pub struct Figures {
    /// Media time of the stretch under way that is there, in milliseconds.
    pub media_ms: AtomicI64,
    /// Bytes taken from the wire in this session, and what the device says of the whole.
    pub session_bytes: AtomicU64,
    pub announced: AtomicU64,
    /// Bytes in the stage.
    pub stage_bytes: AtomicU64,
}

/// How a session of a stretch ended.
pub enum Ended {
    /// All is there.
    Complete,
    /// To be tried again, tied by time when the bytes did not fit.
    Broken(Fault, Progress),
    /// The disk of the stage refused.
    Disk(String),
}

/// What a session brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    None,
    Some,
    /// Nothing fitted to what is there.
    Lost,
}

/// Second, from the beginning of the stretch, from which the next session asks: some seconds in front of the last whole one, and
/// at least a group of pictures, so that it holds pictures that are there.
pub fn resume_at(last_ticks: Option<i64>, key_interval: i64) -> i64 {
    let Some(last) = last_ticks else { return 0 };
    let group = key_interval.div_euclid(90_000) + i64::from(key_interval.rem_euclid(90_000) > 0);
    (last.div_euclid(90_000) - OVERLAP_S.max(group)).max(0)
}

/// What one stretch is.
pub struct Stretch<'a> {
    pub app: &'a Shared,
    pub channel: &'a bridge_core::ChannelId,
    pub from: i64,
    pub to: i64,
    pub speed: u32,
    pub stage: PathBuf,
    pub figures: Arc<Figures>,
    pub stop: CancellationToken,
}

fn disk(error: &std::io::Error) -> String {
    error.to_string()
}

impl Stretch<'_> {
    /// One session. `by_time`: known pictures did not help last time.
    pub async fn session(&self, by_time: bool) -> Ended {
        let path = self.stage.clone();
        let opened = tokio::task::spawn_blocking(move || Stage::open(&path)).await;
        let stage = match opened {
            Ok(Ok(stage)) => stage,
            Ok(Err(error)) => return Ended::Disk(disk(&error)),
            Err(error) => return Ended::Disk(error.to_string()),
        };
        self.figures.stage_bytes.store(stage.bytes(), Ordering::Relaxed);
        self.figures.media_ms.store(stage.last().unwrap_or(0) / 90, Ordering::Relaxed);
        if stage.complete {
            return Ended::Complete;
        }
        let before = stage.last();
        let begin = resume_at(before, stage.tail.key_interval());
        let order = FetchOrder { from: self.from + begin * 1000, to: self.to, speed: self.speed };
        let align = Align::new(&stage.tail, begin * 90_000, by_time);
        let (tx, rx) = mpsc::channel(QUEUE);
        let figures = self.figures.clone();
        let (stop, end) = (self.stop.child_token(), self.stop.clone());
        let lost = stop.clone();
        let sink = tokio::task::spawn_blocking(move || sink(stage, align, rx, &figures, &lost));
        let bridge = self.app.bridges.iter().find(|b| b.name() == self.channel.device().bridge());
        let result = match bridge.and_then(|b| b.history()) {
            Some(history) => history.fetch(self.channel.clone(), order, tx, stop).await,
            None => {
                drop(tx);
                Err(super::fetches::no_history())
            }
        };
        let (mut stage, fitted, written) = match sink.await {
            Ok(done) => done,
            Err(error) => return Ended::Disk(error.to_string()),
        };
        if let Err(error) = written {
            return Ended::Disk(disk(&error));
        }
        match result {
            Ok(()) if fitted && !end.is_cancelled() => {
                let done = tokio::task::spawn_blocking(move || stage.put_complete()).await;
                match done {
                    Ok(Ok(())) => Ended::Complete,
                    Ok(Err(error)) => Ended::Disk(disk(&error)),
                    Err(error) => Ended::Disk(error.to_string()),
                }
            }
            result => {
                let progress = match (fitted, stage.last() > before) {
                    (false, _) => Progress::Lost,
                    (true, true) => Progress::Some,
                    (true, false) => Progress::None,
                };
                let fault = result.err().unwrap_or_else(|| {
                    Fault::new(
                        "fetch_does_not_fit",
                        Whose::Device,
                        true,
                        "续传内容与已取回部分对不上",
                        "What came does not fit to what is there",
                    )
                });
                Ended::Broken(fault, progress)
            }
        }
    }

    /// Takes the stage into the archive. What an earlier try left is deleted first.
    pub async fn store(&self, stream: &StreamId, name: &str, source: &str) -> Result<(), RecorderError> {
        let recorder: &Recorder = &self.app.recorder;
        recorder.discard_import(source).await?;
        let order = ImportOrder {
            stream: stream.clone(),
            name: name.to_owned(),
            source: source.to_owned(),
            started_ms: self.from,
        };
        let mut import = recorder.import(order);
        let (tx, mut rx) = mpsc::channel::<Stored>(QUEUE);
        let path = self.stage.clone();
        let reading = tokio::task::spawn_blocking(move || read(&path, &tx));
        while let Some(stored) = rx.recv().await {
            if self.stop.is_cancelled() {
                return Err(RecorderError::Invalid("stopped".into()));
            }
            match stored {
                Stored::Tracks(tracks) => import.tracks(&tracks).await?,
                Stored::Frame(frame) => import.frame(frame).await?,
            }
        }
        reading.await.map_err(std::io::Error::other)??;
        import.finish().await?;
        Ok(())
    }
}

/// Reads the stage for the archive. Tracks that come later with the same picture are given at once: a file that begins without
/// its sound would end at once.
fn read(path: &Path, to: &mpsc::Sender<Stored>) -> std::io::Result<()> {
    let mut last: Vec<TrackInfo> = Vec::new();
    for stored in Reader::open(path)? {
        if let Stored::Tracks(tracks) = stored {
            last = tracks;
        }
    }
    let video = |tracks: &[TrackInfo]| {
        tracks.iter().find(|t| t.kind() == MediaKind::Video).map(|t| (t.codec, t.width, t.height))
    };
    let sound = |tracks: &[TrackInfo]| tracks.iter().find(|t| t.kind() == MediaKind::Audio).cloned();
    for stored in Reader::open(path)? {
        let stored = match stored {
            Stored::Tracks(tracks) if video(&tracks) == video(&last) && sound(&tracks).is_none() => {
                Stored::Tracks(last.clone())
            }
            other => other,
        };
        if to.blocking_send(stored).is_err() {
            break;
        }
    }
    Ok(())
}

/// Takes what the session gives into the stage. False in the middle: nothing fitted to what is there, and the session was stopped.
fn sink(
    mut stage: Stage,
    mut align: Align,
    mut from: mpsc::Receiver<Fetched>,
    figures: &Figures,
    stop: &CancellationToken,
) -> (Stage, bool, std::io::Result<()>) {
    let mut audio_rate = 8000;
    let mut fitted = true;
    let mut work = || -> std::io::Result<()> {
        while let Some(item) = from.blocking_recv() {
            match item {
                Fetched::Size(bytes) => figures.announced.store(bytes, Ordering::Relaxed),
                Fetched::Bytes(bytes) => figures.session_bytes.store(bytes, Ordering::Relaxed),
                Fetched::Tracks(tracks) => {
                    audio_rate = tracks.iter().find(|t| t.id == TrackId::AUDIO).map_or(audio_rate, |t| t.clock_rate);
                    // A later session begins with its picture alone: the sound is still to come.
                    let fewer = tracks.len() < stage.tracks.len() && tracks.iter().all(|t| stage.tracks.contains(t));
                    if !fewer {
                        stage.put_tracks(&tracks)?;
                    }
                }
                Fetched::Frame(frame) if frame.kind() == MediaKind::Video => {
                    match align.picture(frame.pts, hash(&frame.payload), frame.key) {
                        Verdict::Skip => continue,
                        Verdict::Keep(at) => stage.put_picture(at, frame.key, &frame.payload)?,
                        Verdict::Cut(at) => {
                            stage.cut(at)?;
                            stage.put_picture(at, frame.key, &frame.payload)?;
                        }
                        Verdict::Lost => {
                            fitted = false;
                            stop.cancel();
                            return Ok(());
                        }
                    }
                    figures.media_ms.store(stage.last().unwrap_or(0) / 90, Ordering::Relaxed);
                    figures.stage_bytes.store(stage.bytes(), Ordering::Relaxed);
                }
                Fetched::Frame(frame) => {
                    let ticks = rescale(frame.pts, audio_rate, 90_000);
                    if let Some(at) = align.sound(ticks, stage.audio_end) {
                        stage.put_sound(rescale(at, 90_000, audio_rate), &frame.payload)?;
                    }
                }
            }
        }
        stage.sync()
    };
    let result = work();
    if result.is_err() {
        stop.cancel();
    }
    (stage, fitted, result)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn resumption_begins_in_front_of_the_last_whole_second() {
        assert_eq!(resume_at(None, 90_000), 0);
        assert_eq!(resume_at(Some(0), 90_000), 0);
        // 13.96 s are there, key frames each second: the last whole second is 13, two seconds of overlap.
        assert_eq!(resume_at(Some(13 * 90_000 + 86_400), 90_000), 11);
        // Groups of 4 s: one of them.
        assert_eq!(resume_at(Some(13 * 90_000 + 86_400), 4 * 90_000), 9);
        assert_eq!(resume_at(Some(13 * 90_000), 4 * 90_000 + 1), 8);
        assert_eq!(resume_at(Some(90_000), 50 * 90_000), 0);
    }
}
