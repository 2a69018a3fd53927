//! The duty desk: numbers at which callers wait for a free agent.

use serde::{Deserialize, Serialize};

use crate::calls::CallParty;
use crate::device::Timestamp;

/// Which agents ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueOrder {
    /// All who are free at once.
    #[default]
    All,
    /// One after another, each time the next one.
    Turn,
    /// Who has been idle longest.
    Idle,
}

/// An agent of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueMember {
    /// The phone account.
    pub phone: String,
    pub signed_in: bool,
}

/// A queue. Times are in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRule {
    /// What callers dial.
    pub number: String,
    pub name: String,
    pub members: Vec<QueueMember>,
    pub order: QueueOrder,
    /// Callers beyond it go to `overflow`, or hear busy.
    pub most_waiting: u32,
    /// A caller who has waited so long goes to `overflow`, or is sent away.
    pub longest_wait_s: u32,
    /// Number of a phone account.
    pub overflow: Option<String>,
    /// How long an agent's phone rings.
    pub ring_time_s: u32,
    /// Pause of an agent after a call.
    pub wrap_up_s: u32,
    /// How often the caller is told his place; 0: never.
    pub announce_every_s: u32,
}

/// What an agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    Idle,
    Ringing,
    Busy,
    WrapUp,
    Offline,
    SignedOut,
}

/// A caller who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueWaiting {
    /// The id of the live call.
    pub call: String,
    pub caller: CallParty,
    pub since: Timestamp,
}

/// A queue as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueView {
    pub rule: QueueRule,
    /// The first goes first.
    pub waiting: Vec<QueueWaiting>,
    /// The phones of the members and what they do.
    pub agents: Vec<(String, AgentState)>,
}
