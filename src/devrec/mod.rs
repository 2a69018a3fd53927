//! Recordings that devices keep themselves: playbacks with their owners, and fetches into our archive.

mod align;
mod fetches;
mod playbacks;
mod stage;
mod work;

pub use fetches::{FetchError, FetchView, Fetches, NewFetch};
pub use playbacks::{PlaybackView, Playbacks};
