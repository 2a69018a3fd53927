//! Loading a configuration: one TOML text, overrides from the environment, secrets by reference, every mistake at once.
//!
//! The shape of the configuration is the hall's: any type that is `Default`, `Serialize` and `Deserialize` with
//! `deny_unknown_fields` and `default`. This crate knows how to fill it and how to say what is wrong, and where.

mod load;
mod secret;

pub use load::{Loaded, Problem, environment_name, leaves, load};
pub use secret::{SecretError, resolve_secret};
