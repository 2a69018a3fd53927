//! The right to talk in half-duplex groups (`docs/design/floor.md`).

mod machine;

pub use machine::{Denial, Floor, Holding, Notice, Priority, Rules, Stop, Talker, Terms, Timers, Wish};
