//! How a gateway is told of the key, and tells of its radios': one adapter for each way, all pure and driven by a clock from outside.

mod digits;
mod ed137;
mod info;
mod mcptt;
mod presence;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Instant;

use bridge_core::{FloorNotice, FloorTerms};
use media_core::mcptt::Message;
use media_core::rtp::RtpExtension;

use crate::config::{CarrierKind, GatewayConfig, Group};

/// Most that waits to be sent or told; what is beyond it is given up.
const MOST: usize = 64;

/// Who keys the radio in the hall's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Press {
    pub user: String,
    pub name: String,
    pub priority: u8,
    pub emergency: bool,
}

/// A radio as its network tells of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Who {
    pub id: String,
    pub name: String,
}

/// What comes of the gateway.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    Info(&'a [u8]),
    /// Whether our INFO that asked for the key was taken.
    InfoAnswered(bool),
    /// A key of RFC 4733 went down.
    Digit(char),
    /// A packet of RTP: with sound or without, and whether it is loud.
    Rtp {
        extension: Option<RtpExtension<'a>>,
        sound: bool,
        loud: bool,
    },
    Floor(&'a Message),
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    /// `asks`: its answer is wanted.
    Info {
        content_type: String,
        body: String,
        asks: bool,
    },
    Digit(char),
    Floor(Message),
    /// An RTP packet without sound.
    KeepAlive,
}

/// What it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Our press: the radio sends.
    Granted,
    /// Our press was refused; a cause of TS 24.380 8.2.6.2.
    Denied(u16),
    /// We have to stop.
    Revoked(u16),
    /// A radio talks or asks to.
    Pressed {
        by: Option<Who>,
        priority: Option<u8>,
        emergency: bool,
    },
    Named(Who),
    Released,
    AskPlace,
    /// Sound of a radio that could not be heard since we held the channel.
    Collided,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Out {
    Send(Said),
    Heard(Event),
}

/// Bounded.
#[derive(Debug, Default)]
pub(crate) struct Outbox(VecDeque<Out>);

impl Outbox {
    fn push(&mut self, out: Out) {
        if self.0.len() < MOST {
            self.0.push_back(out);
        }
    }

    fn send(&mut self, said: Said) {
        self.push(Out::Send(said));
    }

    fn heard(&mut self, event: Event) {
        self.push(Out::Heard(event));
    }
}

/// Whether the gateway says that the radio sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grants {
    /// It says nothing.
    No,
    /// It should; who waited long enough talks all the same.
    Usually,
    /// Without it nothing is passed on.
    Always,
}

/// What is sent while nobody of the hall talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    Nothing,
    Silence,
}

/// An adapter.
pub(crate) trait Carrier: Send {
    /// What the hall can do with this one's radios.
    fn terms(&self) -> FloorTerms;
    fn grants(&self) -> Grants {
        Grants::No
    }
    fn fill(&self) -> Fill {
        Fill::Silence
    }
    /// The hall talks from now on.
    fn press(&mut self, press: &Press, now: Instant);
    /// It ended.
    fn release(&mut self, now: Instant);
    /// What the hall decided about this gateway's radio.
    fn answer(&mut self, notice: &FloorNotice, now: Instant);
    fn input(&mut self, input: Input<'_>, now: Instant);
    fn tick(&mut self, now: Instant);
    /// The radio's release was lost: it counts as having let go. False where the sound itself tells the key.
    fn forget(&mut self) -> bool {
        false
    }
    fn next_timeout(&self) -> Option<Instant>;
    fn poll(&mut self) -> Option<Out>;
    /// The header extension of each packet of sound: profile and its word.
    fn extension(&self) -> Option<(u16, [u8; 4])> {
        None
    }
    /// Whether a refusal can be said; else a tone has to.
    fn says_no(&self) -> bool {
        false
    }
    /// Whether the sound itself keys the radio: then what leads in must be heard.
    fn keyed_by_sound(&self) -> bool {
        false
    }
}

/// The adapter of a group. `ssrc` is that of our sound, `own` our SIP URI.
pub(crate) fn open(gateway: &GatewayConfig, group: &Group, ssrc: u32, own: &str) -> Box<dyn Carrier> {
    match gateway.carrier {
        CarrierKind::Info => Box::new(info::Info::new(gateway, group)),
        CarrierKind::Dtmf => Box::new(digits::Digits::new(&gateway.dtmf)),
        CarrierKind::Ed137 => Box::new(ed137::Ed137::new(&gateway.ed137)),
        CarrierKind::Rtp => Box::new(presence::Presence::new(gateway.hang, false)),
        CarrierKind::Vox => Box::new(presence::Presence::new(gateway.hang, true)),
        CarrierKind::Mcptt => Box::new(mcptt::Mcptt::new(gateway, ssrc, own)),
    }
}
