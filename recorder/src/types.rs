//! What the recorder's callers see.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use media_hub::{Fault, StreamId, Whose};
use serde::{Deserialize, Serialize};

/// Name of a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub String);

/// Name of a recording: 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordingId(pub String);

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for RecordingId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why something is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// Somebody asked for it.
    Hand,
    /// A plan asks for it.
    Plan,
    /// A copy of what a device recorded itself; its time is the device's.
    Device,
}

impl Cause {
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Hand => "hand",
            Cause::Plan => "plan",
            Cause::Device => "device",
        }
    }

    pub(crate) fn parse(s: &str) -> Cause {
        match s {
            "plan" => Cause::Plan,
            "device" => Cause::Device,
            _ => Cause::Hand,
        }
    }
}

/// How a recording stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordingState {
    /// It grows.
    Recording,
    /// It was finished in order.
    Whole,
    /// The gateway died while it grew; a torn end was cut and the rest is whole.
    Repaired,
    /// Its structure is broken: it may play in part.
    Damaged,
}

impl RecordingState {
    pub fn as_str(self) -> &'static str {
        match self {
            RecordingState::Recording => "recording",
            RecordingState::Whole => "whole",
            RecordingState::Repaired => "repaired",
            RecordingState::Damaged => "damaged",
        }
    }

    pub(crate) fn parse(s: &str) -> Self {
        match s {
            "recording" => RecordingState::Recording,
            "whole" => RecordingState::Whole,
            "repaired" => RecordingState::Repaired,
            _ => RecordingState::Damaged,
        }
    }
}

/// One file of the archive.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recording {
    pub id: RecordingId,
    pub stream: String,
    pub name: String,
    /// Wall clock of its first frame, RFC 3339 in UTC.
    pub from: String,
    /// Wall clock of its end; that of the last fragment while it grows.
    pub to: String,
    pub duration_s: f64,
    pub bytes: u64,
    pub has_video: bool,
    pub has_audio: bool,
    pub state: RecordingState,
    pub cause: Cause,
    /// Pictures; audio packets in a file without pictures.
    pub frames: u64,
    /// `from` in milliseconds since 1970, for programs.
    #[serde(skip)]
    pub from_ms: i64,
    #[serde(skip)]
    pub to_ms: i64,
    /// File, relative to the archive.
    #[serde(skip)]
    pub path: String,
}

/// What a job does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Nothing comes from the source; the job waits for it.
    Waiting,
    /// Frames go to the disk.
    Recording,
    /// It cannot record; `fault` says why. It goes on by itself when the reason is gone.
    Failed,
}

/// An order to record a stream. It survives outages of the source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Job {
    pub id: JobId,
    pub stream: StreamId,
    pub name: String,
    pub cause: Cause,
    /// RFC 3339 in UTC.
    pub since: String,
    /// Written so far by this job, in this run of the gateway.
    pub bytes: u64,
    pub state: JobState,
    pub fault: Option<Fault>,
    pub plan: Option<String>,
    /// The file that grows now.
    pub recording: Option<RecordingId>,
    /// Frames that were lost because the disk was too slow.
    pub dropped_frames: u64,
}

/// A change worth telling.
#[derive(Debug, Clone)]
pub enum RecorderEvent {
    JobChanged(Job),
    JobEnded(JobId),
    RecordingChanged(Recording),
    RecordingRemoved(RecordingId),
}

/// Seam for tests and for odd file systems: free bytes of the archive's disk.
pub type FreeSpace = Arc<dyn Fn(&Path) -> std::io::Result<u64> + Send + Sync>;
/// Seam for tests: called before each write of so many bytes; an error is taken for the disk's.
pub type WriteHook = Arc<dyn Fn(usize) -> std::io::Result<()> + Send + Sync>;

/// Settings of the recorder.
#[derive(Clone)]
pub struct Settings {
    /// Folder of all recordings.
    pub archive: PathBuf,
    /// A file ends at the first key frame after this long.
    pub segment: Duration,
    /// Recording stops while less than this is free on the disk.
    pub min_free_bytes: u64,
    /// The oldest plan recordings go when the archive is larger; 0: no limit.
    pub max_bytes: u64,
    /// Days after which recordings by hand go; 0: never.
    pub hand_keep_days: u32,
    /// Bytes that wait for the disk for one job, at most; beyond, whole groups of pictures are dropped.
    pub queue_bytes: usize,
    pub writer_threads: usize,
    /// Jobs at once, at most.
    pub max_jobs: usize,
    /// For plans, days and folder names.
    pub time_zone: TimeZone,
    /// How often the disk is looked at.
    pub disk_interval: Duration,
    #[doc(hidden)]
    pub free_space: FreeSpace,
    #[doc(hidden)]
    pub write_hook: Option<WriteHook>,
}

impl Settings {
    /// The defaults: files of 10 minutes, 2 GiB kept free, no limit of size or age.
    pub fn new(archive: impl Into<PathBuf>) -> Self {
        Settings {
            archive: archive.into(),
            segment: Duration::from_secs(600),
            min_free_bytes: 2 << 30,
            max_bytes: 0,
            hand_keep_days: 0,
            queue_bytes: 16 << 20,
            writer_threads: 4,
            max_jobs: 2000,
            time_zone: TimeZone::system(),
            disk_interval: Duration::from_secs(2),
            free_space: Arc::new(crate::disk::free_bytes),
            write_hook: None,
        }
    }
}

/// Why a call of the recorder was refused.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    #[error("the index cannot be read or written: {0}")]
    Index(#[from] sqlx::Error),
    #[error("the archive cannot be read or written: {0}")]
    Io(#[from] std::io::Error),
    #[error("there is no such recording, job or plan")]
    NotFound,
    #[error("{0}")]
    Invalid(String),
    #[error("the recording still grows")]
    Growing,
    #[error("the limit of {0} jobs is reached")]
    TooManyJobs(usize),
    #[error("the disk does not take it: {0}")]
    Disk(Box<Fault>),
    #[error("the recording is damaged at byte {offset}: {why}")]
    Damaged { offset: u64, why: String },
}

impl RecorderError {
    /// The same for the API.
    pub fn fault(&self) -> Fault {
        let en = self.to_string();
        match self {
            RecorderError::Index(_) => Fault::new("index_failed", Whose::Us, true, "录像索引读写失败", en),
            RecorderError::Io(_) => Fault::new("archive_failed", Whose::Us, true, "录像文件读写失败", en),
            RecorderError::NotFound => Fault::new("not_found", Whose::You, false, "没有这个录像、任务或计划", en),
            RecorderError::Invalid(_) => Fault::new("invalid", Whose::You, false, "请求内容无效", en),
            RecorderError::Growing => Fault::new("still_recording", Whose::You, true, "该录像仍在录制中", en)
                .next("请先停止录制", "Stop the recording first"),
            RecorderError::TooManyJobs(_) => Fault::new("too_many_jobs", Whose::Us, true, "录像任务数已达上限", en),
            RecorderError::Disk(fault) => (**fault).clone(),
            RecorderError::Damaged { .. } => Fault::new("recording_damaged", Whose::Us, false, "录像文件已损坏", en),
        }
    }
}

/// The archive's disk has too little room.
pub(crate) fn disk_full() -> Fault {
    Fault::new("disk_full", Whose::Us, true, "存储空间不足，录像已停止", "The disk is full; recording has stopped")
        .next("请清理磁盘或删除旧录像，空间恢复后自动继续", "Free some space; recording goes on by itself")
}

pub(crate) fn disk_error(error: &std::io::Error) -> Fault {
    if error.kind() == std::io::ErrorKind::StorageFull || error.kind() == std::io::ErrorKind::QuotaExceeded {
        return disk_full();
    }
    Fault::new("disk_failed", Whose::Us, true, "写入录像文件失败", format!("The disk refused a write: {error}"))
        .next("请检查录像磁盘", "Check the disk of the archive")
}

pub(crate) fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |t| format!("{t:.3}"))
}
