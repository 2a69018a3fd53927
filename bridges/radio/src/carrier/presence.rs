//! The key as sound itself: with `rtp` who sends packets talks, with `vox` who is loud does. A hang time bridges gaps. While we send,
//! what comes is our own echo or a radio that nobody can hear: both count as collided.

use std::time::{Duration, Instant};

use bridge_core::{FloorNotice, FloorTerms};

use super::{Carrier, Event, Fill, Input, Out, Outbox, Press};

/// The box's own echo may last so long after we stopped.
const ECHO: Duration = Duration::from_millis(200);

pub(super) struct Presence {
    vox: bool,
    hang: Duration,
    sending: bool,
    stopped: Option<Instant>,
    /// A radio talks; when it was last heard.
    radio: Option<Instant>,
    out: Outbox,
}

impl Presence {
    pub fn new(hang: u32, vox: bool) -> Presence {
        let hang = Duration::from_millis(u64::from(hang));
        Presence { vox, hang, sending: false, stopped: None, radio: None, out: Outbox::default() }
    }
}

impl Carrier for Presence {
    fn terms(&self) -> FloorTerms {
        FloorTerms { receive_only: false, queues: false, revocable: false }
    }

    fn fill(&self) -> Fill {
        if self.vox { Fill::Silence } else { Fill::Nothing }
    }

    fn press(&mut self, _: &Press, _: Instant) {
        self.sending = true;
    }

    fn release(&mut self, now: Instant) {
        if std::mem::replace(&mut self.sending, false) {
            self.stopped = Some(now);
        }
    }

    fn answer(&mut self, _: &FloorNotice, _: Instant) {}

    fn input(&mut self, input: Input<'_>, now: Instant) {
        let Input::Rtp { sound: true, loud, .. } = input else { return };
        if self.vox && !loud {
            return;
        }
        if self.sending {
            self.out.heard(Event::Collided);
            return;
        }
        if self.stopped.is_some_and(|at| now.saturating_duration_since(at) < ECHO) {
            return;
        }
        if self.radio.replace(now).is_none() {
            self.out.heard(Event::Pressed { by: None, priority: None, emergency: false });
        }
    }

    fn tick(&mut self, now: Instant) {
        if self.radio.is_some_and(|at| now.saturating_duration_since(at) >= self.hang) {
            self.radio = None;
            self.out.heard(Event::Released);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.radio.map(|at| at + self.hang)
    }

    fn poll(&mut self) -> Option<Out> {
        self.out.0.pop_front()
    }

    fn keyed_by_sound(&self) -> bool {
        self.vox
    }
}
