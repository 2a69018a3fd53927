//! Short messages by satellite: BeiDou terminals (RDSS version 2.1 and BDS-3 sentences) on serial lines or TCP. Texts become messages
//! of the hall, positions go to the map, alarms to the alarm desk; what the hall writes waits for the card's turn.
//!
//! - `sentence`: lines and sums. `content`: what stands in them. `queue`: whose turn it is (pure).
//! - `terminal`: the task of one terminal. `line`: its serial line or connection.

mod bridge;
mod config;
mod content;
mod faults;
pub mod fuzz;
mod line;
mod metrics;
mod queue;
mod sentence;
mod terminal;

pub use bridge::Satphone;
pub use config::{Config, Generation, Terminal};
pub use faults::{ALL as FAULTS, Reason};

/// The prefix of this bridge's ids.
pub const NAME: &str = "satphone";
