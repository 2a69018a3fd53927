//! The key as bits of ED-137 in each RTP packet; packets without sound (R2S) keep telling them while nobody talks.

use std::time::{Duration, Instant};

use bridge_core::{FloorNotice, FloorTerms};
use media_core::ed137::{PROFILE, PROFILE_2009, Ptt, Radio};

use super::{Carrier, Event, Fill, Input, Out, Outbox, Press, Said};
use crate::config::Ed137Config;

/// Between the packets that tell the end of a transmission.
const REPEAT: Duration = Duration::from_millis(20);

pub(super) struct Ed137 {
    profile: u16,
    id: u8,
    every: Duration,
    gone: Duration,
    repeats: u32,
    ptt: Ptt,
    /// Packets of the end that are still to be sent.
    ending: u32,
    /// The next R2S packet; none before the first tick.
    next: Option<Instant>,
    /// The radio's carrier is there; when it was last told.
    radio: Option<Instant>,
    out: Outbox,
}

impl Ed137 {
    pub fn new(config: &Ed137Config) -> Ed137 {
        let every = Duration::from_millis(u64::from(config.keepalive));
        Ed137 {
            profile: if config.old { PROFILE_2009 } else { PROFILE },
            id: config.ptt_id,
            every,
            gone: every * config.multiplier,
            repeats: config.release_repeats,
            ptt: Ptt::Off,
            ending: 0,
            next: None,
            radio: None,
            out: Outbox::default(),
        }
    }

    fn silent(&mut self) {
        if self.radio.take().is_some() {
            self.out.heard(Event::Released);
        }
    }
}

impl Carrier for Ed137 {
    fn terms(&self) -> FloorTerms {
        FloorTerms { receive_only: false, queues: false, revocable: false }
    }

    fn fill(&self) -> Fill {
        Fill::Nothing
    }

    fn press(&mut self, press: &Press, now: Instant) {
        self.ptt = if press.emergency { Ptt::Emergency } else { Ptt::Normal };
        self.ending = 0;
        // At once: the transmitter comes up before the first sound.
        self.next = Some(now);
    }

    fn release(&mut self, now: Instant) {
        if self.ptt.pressed() {
            self.ptt = Ptt::Off;
            self.ending = self.repeats;
            self.next = Some(now);
        }
    }

    fn answer(&mut self, _: &FloorNotice, _: Instant) {}

    fn input(&mut self, input: Input<'_>, now: Instant) {
        let Input::Rtp { extension: Some(extension), sound, .. } = input else { return };
        let Ok(Some(told)) = Radio::parse(extension.profile, extension.data) else { return };
        if !(told.squelch || told.ptt.pressed()) {
            return self.silent();
        }
        if self.ptt.pressed() {
            // The receiver hears our own transmitter, or a radio that nobody else does.
            if sound {
                self.out.heard(Event::Collided);
            }
            return;
        }
        if self.radio.replace(now).is_none() {
            let emergency = told.ptt == Ptt::Emergency;
            self.out.heard(Event::Pressed { by: None, priority: None, emergency });
        }
    }

    fn tick(&mut self, now: Instant) {
        if self.radio.is_some_and(|at| now.saturating_duration_since(at) >= self.gone) {
            self.silent();
        }
        if self.next.is_none_or(|at| now >= at) {
            self.out.send(Said::KeepAlive);
            self.ending = self.ending.saturating_sub(1);
            self.next = Some(now + if self.ending > 0 { REPEAT } else { self.every });
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next.into_iter().chain(self.radio.map(|at| at + self.gone)).min()
    }

    fn poll(&mut self) -> Option<Out> {
        self.out.0.pop_front()
    }

    fn extension(&self) -> Option<(u16, [u8; 4])> {
        let id = if self.ptt.pressed() { self.id } else { 0 };
        Some((
            self.profile,
            Radio { ptt: self.ptt, squelch: false, ptt_id: id, simultaneous: false }.word(self.profile),
        ))
    }
}
