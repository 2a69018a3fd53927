//! Live pictures: one INVITE per channel on the first viewer, BYE after the last (GB/T 28181-2022 clause 9.2; reference section
//! 12).

mod elementary;
mod need;
pub(crate) mod offer;
pub(crate) mod receiver;
mod reports;
mod session;
mod side;
mod silence;
pub(crate) mod source;
mod sub;
pub(crate) mod wire;

use std::sync::Arc;

use bridge_core::{ChannelKind, drive_on_demand};
use media_hub::{Opener, Stream, StreamId};

use crate::config::seconds;
use crate::shared::Shared;

/// The way of media that an answer agrees to, for the tests of fixtures.
#[cfg(test)]
pub(crate) fn check_answer(
    response: &sip::Response,
    offered: media_core::gb::GbTransport,
    ours: media_core::gb::Ssrc,
) -> Result<media_core::gb::GbTransport, media_hub::Fault> {
    offer::check(response, offered, ours).map(|agreed| agreed.transport)
}

/// Makes channels live when somebody wants to see them.
pub(crate) struct GbOpener {
    shared: Arc<Shared>,
}

impl GbOpener {
    pub fn new(shared: Arc<Shared>) -> GbOpener {
        GbOpener { shared }
    }
}

impl Opener for GbOpener {
    fn name(&self, id: &StreamId) -> Option<String> {
        let (channel, sub) = sub::split(id);
        let (_, found) = self.shared.ctx.registry.channel(&channel)?;
        if found.kind != ChannelKind::Video {
            return None;
        }
        if !sub {
            return Some(found.name);
        }
        let device = channel.device();
        let peer = self.shared.peer(device.name());
        let edition = peer.as_ref().and_then(|p| self.shared.edition(device.name(), p));
        let single = peer.is_some_and(|p| p.single_streams.contains(channel.name()));
        sub::attribute(&self.shared.config, &self.shared.profile(device.name()), edition, single)?;
        Some(format!("{} (子码流 / sub)", found.name))
    }

    fn open(&self, stream: Arc<Stream>) {
        let shared = self.shared.clone();
        let (channel, sub) = sub::split(stream.id());
        let (hub, shutdown) = (shared.ctx.hub.clone(), shared.ctx.shutdown.clone());
        let grace = seconds(shared.config.media.grace);
        self.shared.tasks.spawn(drive_on_demand(hub, stream, grace, shutdown, move |publisher, stop| {
            session::run_once(shared.clone(), channel.clone(), sub, publisher, stop)
        }));
    }
}
