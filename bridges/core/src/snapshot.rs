//! An order to a device to take pictures by itself and to bring them to us.

use tokio::sync::oneshot;

/// What a device is told. The pictures do not come through the bridge: the device uploads them by HTTP.
#[derive(Debug)]
pub struct SnapshotOrder {
    /// Pictures, 1 to 10.
    pub count: u8,
    /// Seconds between them, 1 or more.
    pub interval_s: u32,
    /// Where the device shall bring them. It is a secret: never logged.
    pub upload_url: String,
    /// Names the order: 32 to 128 letters, digits and hyphens.
    pub session: String,
    /// Told once when the device says that it is done; dropped when the device never says so.
    pub finished: oneshot::Sender<SnapshotFinished>,
}

/// The device's own word that it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFinished {
    /// Names of the files that it uploaded, at most 10. Fewer than asked for: it failed in part.
    pub files: Vec<String>,
}
