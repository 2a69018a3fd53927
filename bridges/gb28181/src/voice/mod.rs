//! Voice to the device: broadcast (the device invites us) and talk of 2016 (we invite the device). GB/T 28181-2022 clause
//! 9.12; reference sections 13 and 14.
//!
//! One task ([`session`]) owns one loudspeaker from the wish to the BYE. What it sends is a stream of G.711 A-law that the
//! hall's mixer makes for its seat, so a loudspeaker in a conference, a talk button and a group call are one thing here.
//! [`pacer`], [`offer`], [`target`] and [`meter`] have neither I/O nor a clock.

mod broadcast;
pub mod config;
pub mod faults;
pub(crate) mod inbound;
mod meter;
mod metrics;
mod offer;
mod pacer;
mod returned;
mod session;
mod table;
mod talk;
mod target;
mod way;

use std::sync::Arc;

use bridge_core::{ChannelId, Seat};
use media_hub::Fault;

use crate::shared::Shared;

pub(crate) use table::Table;

/// Begins to send what `seat` hears to the loudspeaker of `channel`. Tells at once what is wrong before a message has left us.
pub(crate) fn begin(shared: &Arc<Shared>, channel: ChannelId, seat: Seat) -> Result<(), Fault> {
    if shared.ctx.registry.channel(&channel).is_none() && shared.ctx.registry.get(&channel.device()).is_none() {
        return Err(crate::faults::unknown_channel(&channel.0));
    }
    shared.reach(channel.device().name())?;
    let place = shared.voice.take_place(&channel, shared.config.voice.max_talks)?;
    let task = shared.clone();
    shared.tasks.spawn(async move { session::serve(task, channel, seat, place).await });
    Ok(())
}
