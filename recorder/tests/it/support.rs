//! A hub, a recorder in a folder of its own, and sources.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::{Codec, Frame, TrackId, TrackInfo};
use media_hub::{Hub, HubLimits, Publisher};
use recorder::{Recorder, Recording, RecordingState, Settings};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let n = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let path = std::env::temp_dir().join(format!("skybridge-rec-{name}-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub async fn database(dir: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(dir.join("index.db"))
        .create_if_missing(true)
        .busy_timeout(Duration::from_secs(10));
    SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap()
}

pub struct Bench {
    pub hub: Hub,
    pub recorder: Recorder,
    pub pool: SqlitePool,
    pub dir: Folder,
}

impl Bench {
    pub async fn new(name: &str) -> Bench {
        Bench::with(name, |_| {}).await
    }

    pub async fn with(name: &str, change: impl FnOnce(&mut Settings)) -> Bench {
        let dir = Folder::new(name);
        let pool = database(&dir.0).await;
        let mut settings = settings(&dir.0);
        change(&mut settings);
        let hub =
            Hub::new(HubLimits { ring_bytes: 256 << 20, ring_age: Duration::from_secs(3600), ..HubLimits::default() });
        let recorder = Recorder::open(hub.clone(), pool.clone(), settings).await.unwrap();
        recorder.recover().await.unwrap();
        Bench { hub, recorder, pool, dir }
    }

    pub fn archive(&self) -> PathBuf {
        self.dir.0.join("archive")
    }

    /// All recordings, oldest first.
    pub async fn recordings(&self) -> Vec<Recording> {
        let (_, mut all) = self.recorder.list(&recorder::Filter::default()).await.unwrap();
        all.reverse();
        all
    }

    /// All recordings once none grows.
    pub async fn finished(&self) -> Vec<Recording> {
        for _ in 0..200 {
            let all = self.recordings().await;
            if !all.is_empty() && all.iter().all(|r| r.state != RecordingState::Recording) {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("recordings do not finish: {:?}", self.recordings().await);
    }

    pub fn file(&self, r: &Recording) -> PathBuf {
        self.archive().join(&r.path)
    }

    pub async fn assert_whole(&self) {
        let report = recorder::check(&self.archive(), self.pool.clone(), |_| {}).await.unwrap();
        assert!(report.is_whole(), "{report:#?}");
    }
}

pub fn settings(dir: &Path) -> Settings {
    let mut settings = Settings::new(dir.join("archive"));
    settings.min_free_bytes = 0;
    settings.disk_interval = Duration::from_millis(50);
    settings
}

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 10 s: {what}");
}

/// An SPS of 64x64 and a PPS, made by x264; the slices behind them are not decodable.
pub const SPS: [u8; 12] = [0x67, 0x42, 0xC0, 0x0A, 0xDB, 0x10, 0x90, 0x10, 0x00, 0x00, 0x3E, 0x90];
const PPS: [u8; 5] = [0x68, 0xCE, 0x0F, 0x2C, 0x80];

fn lengths(nals: &[&[u8]]) -> Bytes {
    let mut v = Vec::new();
    for n in nals {
        v.extend_from_slice(&(n.len() as u32).to_be_bytes());
        v.extend_from_slice(n);
    }
    v.into()
}

/// A synthetic H.264 access unit of about `size` bytes that says its number.
pub fn picture(n: u64, key: bool, size: usize, sps: &[u8]) -> Bytes {
    let mut slice = vec![if key { 0x65 } else { 0x41 }];
    slice.extend_from_slice(&n.to_be_bytes());
    slice.resize(size.max(16), 0xAA);
    if key { lengths(&[sps, &PPS, &slice]) } else { lengths(&[&slice]) }
}

/// A synthetic camera: 25 pictures a second, and sound if asked. Time is virtual and counts from `start`.
pub struct Camera {
    pub publisher: Publisher,
    pub start: Instant,
    pub n: u64,
    pub gop: u64,
    pub size: usize,
    pub sps: Vec<u8>,
    pub audio: Option<Codec>,
    /// Added to all media stamps.
    pub shift: i64,
}

pub fn opus_track() -> TrackInfo {
    TrackInfo::audio(Codec::Opus, 48_000, 2)
}

impl Camera {
    pub fn new(hub: &Hub, id: &str, gop: u64, audio: Option<Codec>) -> Camera {
        let publisher = hub.publish(&id.into(), id).unwrap();
        let mut tracks = vec![TrackInfo::video(Codec::H264)];
        match audio {
            Some(Codec::Opus) => tracks.push(opus_track()),
            Some(codec) => tracks.push(TrackInfo::audio(codec, 8000, 1)),
            None => {}
        }
        publisher.set_tracks(&tracks);
        Camera { publisher, start: Instant::now(), n: 0, gop, size: 1000, sps: SPS.to_vec(), audio, shift: 900_000 }
    }

    pub fn at(&self) -> Instant {
        self.start + Duration::from_millis(40 * self.n)
    }

    /// The next picture and its 40 ms of sound.
    pub fn step(&mut self) {
        let (n, at) = (self.n, self.at());
        let key = n.is_multiple_of(self.gop);
        let pts = n as i64 * 3600 + self.shift;
        let payload = picture(n, key, self.size, &self.sps);
        self.publisher.write(Frame::new(TrackId::VIDEO, Codec::H264, pts, key, at, payload));
        if let Some(codec) = self.audio {
            let rate = if codec == Codec::Opus { 48_000 } else { 8000 };
            for half in 0..2 {
                let pts = pts * rate / 90_000 + half * rate / 50;
                // Opus: SILK wide band, 20 ms, one frame.
                let payload = Bytes::from_static(&[0x48, 1, 2, 3, 4, 5, 6, 7]);
                self.publisher.write(Frame::new(TrackId::AUDIO, codec, pts, true, at, payload));
            }
        }
        self.n += 1;
    }

    pub fn run(&mut self, pictures: u64) {
        (0..pictures).for_each(|_| self.step());
    }
}

/// Waits until somebody wants the camera, so that the recording begins with its first picture.
pub async fn wanted(publisher: &Publisher) {
    let demand = publisher.stream().demand();
    until("somebody subscribes", || *demand.borrow() > 0).await;
}

/// Lets a job take all that is in the ring of its stream.
pub async fn settle(bench: &Bench, job: &recorder::JobId) {
    let mut last = (0, 0);
    for _ in 0..300 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = bench.recorder.job(job).map_or(0, |j| j.bytes);
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
        // Longer than frames wait for a fragment.
        if now > 0 && last.1 >= 22 {
            return;
        }
    }
}
