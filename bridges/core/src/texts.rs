//! Texts between the hall and the field: SIP MESSAGE, radios, short messages by satellite.

use media_hub::Fault;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::device::Timestamp;
use crate::rooms::Link;

/// Longest text of a message, in characters.
pub const MOST_TEXT: usize = 4_000;

/// Where a text of the field belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextThread {
    /// The conference of this number. The hall decides whether the sender may write there.
    Conference(String),
    /// The talk with one far end, by its id: `phone:8001`, `radio:GATEWAY/1234`.
    With(String),
}

/// A text from the field.
#[derive(Debug)]
pub struct TextReport {
    pub thread: TextThread,
    /// Who wrote it, by its id as in [`TextThread::With`].
    pub from: String,
    /// At most 64 characters.
    pub name: String,
    pub link: Link,
    /// Not empty, at most [`MOST_TEXT`] characters.
    pub text: String,
    /// When the sender says that it was written.
    pub device_time: Option<Timestamp>,
    pub received: Timestamp,
    /// What becomes of it besides: a text that the bridge carries from one far end to another.
    pub relayed: Option<TextRelayed>,
    /// Told when it is stored, or why it is not. Dropped untold: the hall stops.
    pub stored: oneshot::Sender<Result<TextStored, Fault>>,
}

/// Whom the bridge itself brings a text to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextRelayed {
    /// As in [`TextOrder::to`].
    pub to: String,
    pub name: String,
}

/// A text of the field is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextStored {
    /// Of the message in the hall's books.
    pub id: String,
}

/// A text for somebody in the field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextOrder {
    /// Of the message in the hall's books.
    pub message: String,
    /// The far end, by its id.
    pub to: String,
    /// The number that stands for the sender at the far end: a conference's or the hall's own.
    pub from: String,
    /// To show at the far end.
    pub name: String,
    /// Not empty, at most [`MOST_TEXT`] characters.
    pub text: String,
}

/// How far a text has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextState {
    /// On its way, or it waits for its turn.
    Sent,
    /// The far end, or its network, has taken it.
    Delivered,
    Failed,
}

/// What an order for a text came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextDone {
    Delivered,
    /// It leaves after about so many seconds; the rest is told by a [`TextProgress`].
    Waits(u32),
}

/// News of a text that waited.
#[derive(Debug, Clone, PartialEq)]
pub struct TextProgress {
    /// As in the order.
    pub message: String,
    pub to: String,
    pub state: TextState,
    /// Seconds until it leaves, about.
    pub waits: Option<u32>,
    pub fault: Option<Fault>,
}

/// What bridges tell of texts.
#[derive(Debug)]
pub enum TextNews {
    Came(TextReport),
    Progress(TextProgress),
}
