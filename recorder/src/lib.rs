//! Recording: crash-safe fragmented MP4, index, plans, playback, check. Told in `docs/design/recorder.md`.
//!
//! ```text
//! Hub -> Subscriber -> job task (segmenter: frames to fragments) -> bounded queue -> writer thread -> file
//!                                                                                         |-> keeper task -> index, events
//! ```

mod check;
mod disk;
mod import;
mod job;
mod keeper;
mod mp4;
mod plan;
mod playback;
mod recorder;
mod recover;
mod retention;
mod segmenter;
mod store;
mod types;
mod writer;

pub use check::{Damage, Gap, Progress, Report, check};
pub use disk::{disk_space, free_bytes};
pub use import::{Import, ImportOrder};
pub use plan::{Plan, Window};
pub use playback::Media;
pub use recorder::Recorder;
pub use recover::Recovered;
pub use store::Filter;
pub use types::{
    Cause, FreeSpace, Job, JobId, JobState, RecorderError, RecorderEvent, Recording, RecordingId, RecordingState,
    Settings, WriteHook,
};
