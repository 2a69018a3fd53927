//! What a leg and the hall tell each other of the floor of a half-duplex group, in words that no network owns (3GPP TS 24.380 has
//! the names). The hall decides who talks; a leg turns [`FloorNotice`]s into what its network understands, and what its far end
//! does with the key into [`Key`]s.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rooms::Link;

/// Who talks, to be shown at the other legs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TalkerIdentity {
    /// Name to show.
    pub name: String,
    /// Number or radio id in its own network; empty: not known.
    pub number: String,
    pub link: Link,
}

/// What a leg is told of the floor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FloorNotice {
    /// Its far end may talk, for so long at the most.
    Granted { left: Duration },
    /// It may not. The cause is a number of TS 24.380 8.2.6.2.
    Denied { cause: u16 },
    /// It waits: its place (1 is the next; 0: it does not wait any more) of so many.
    Queued { place: u16, of: u16 },
    /// Another one talks: what the seat hears is its voice.
    Taken { by: TalkerIdentity, priority: u8, emergency: bool, may_ask: bool, number: u16 },
    /// Nobody talks. The number orders `Taken` and `Idle` (wrapping).
    Idle { number: u16 },
    /// It has to stop. The cause is a number of TS 24.380 8.2.10.2.
    Revoked { cause: u16 },
    /// What it says is not heard: it talks without the floor.
    Cut,
}

/// What the far end of a leg does with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Pressed {
        /// Who pressed it, where the network tells; none: the member itself.
        by: Option<TalkerIdentity>,
        /// 0 to 255; none: the highest that the hall gives this member.
        priority: Option<u8>,
        emergency: bool,
    },
    /// The network tells the talker's name only while it talks.
    Named(TalkerIdentity),
    Released,
    /// It wants to know its place in the queue.
    AskPlace,
}

/// What the far end of a leg can do with a floor, told before it presses a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloorTerms {
    /// It only listens.
    pub receive_only: bool,
    /// It understands a place in a queue.
    pub queues: bool,
    /// Its network can be told to stop.
    pub revocable: bool,
}
