//! The hall: it joins bridges, media, recorder and people. `docs/design/` tells how.

pub mod access;
pub mod alarms;
pub mod api;
pub mod app;
pub mod audit;
pub mod bridges;
pub mod calls;
pub mod comeback;
pub mod command;
pub mod conference;
pub mod confirmations;
pub mod control;
pub mod credentials;
pub mod devrec;
pub mod events;
pub mod floor;
pub mod followers;
pub mod guests;
pub mod leases;
pub mod legs;
pub mod lists;
pub mod messages;
mod metrics;
pub mod pictures;
pub mod scenes;
pub mod settings;
pub mod softphone;
pub mod store;
pub mod system;
pub mod talk;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod tracks;
mod transcoders;
pub mod tree;
pub mod trunks;
