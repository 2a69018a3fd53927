//! What every bridge to a foreign world shares.
//!
//! A bridge is one crate: a `Config`, a `build` function and a `run` loop. The hall gives it a [`BridgeContext`]; it gives the
//! hall devices and channels through the [`Registry`], streams through the hub (it is the hub's opener for its prefix),
//! and members of conferences through [`Rooms`]. It takes [`Command`]s. No bridge knows another.

mod bridge;
mod calls;
pub mod capture;
mod desk;
mod device;
mod floor;
mod history;
mod order;
mod registry;
mod reports;
mod rooms;
mod settings;
mod snapshot;
mod supervise;
mod texts;
mod trunks;

pub use bridge::{AccountKind, BoxFuture, Bridge, BridgeContext, BridgeHealth, Command, Credentials, Secret, TICKET};
pub use calls::{
    CallDirection, CallEndedBy, CallEntry, CallLeg, CallLog, CallParty, CallRecord, CallState, Forwards, LiveCall,
};
pub use capture::{Capture, CaptureLimits, Captures};
pub use desk::{AgentState, QueueMember, QueueOrder, QueueRule, QueueView, QueueWaiting};
pub use device::{Channel, ChannelId, ChannelKind, Device, DeviceId, DeviceKind, Timestamp};
pub use floor::{FloorNotice, FloorTerms, Key, TalkerIdentity};
pub use history::{
    DeviceRecording, FetchOrder, Fetched, History, Listing, Playback, PlaybackGone, PlaybackOrder, PlaybackPhase,
    PlaybackRequest, PlaybackState,
};
pub use media_hub::{Fault, Text, Whose};
pub use order::{
    Answer, Area, Card, CruiseItem, CruisePoint, Done, Duty, Edge, MAX_SETTINGS, Object, Order, Preset, Query, Tracking,
};
pub use registry::{DeviceStore, Registry, RegistryEvent};
pub use reports::{AlarmReport, Glimpse, Place, PositionReport, ReportCounts, ReportQueues, Reports};
pub use rooms::{Link, MemberId, OnAir, PictureState, Rooms, Seat, SeatCommand, SeatReport};
pub use settings::{
    MaskRegion, Mirror, OsdLine, RecordDay, Setting, SettingKind, TimeSpan, VideoStream, sound_session, time_of_day,
};
pub use snapshot::{SnapshotFinished, SnapshotOrder};
pub use supervise::{Backoff, drive_on_demand};
pub use texts::{
    MOST_TEXT, TextDone, TextNews, TextOrder, TextProgress, TextRelayed, TextReport, TextState, TextStored, TextThread,
};
pub use trunks::{TrunkError, TrunkServer, TrunkState, TrunkStatus};
