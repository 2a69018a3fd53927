//! The key as digits of RFC 4733: one for press, one for release.

use std::time::Instant;

use bridge_core::{FloorNotice, FloorTerms};

use super::{Carrier, Event, Input, Out, Outbox, Press, Said};
use crate::config::DtmfConfig;

pub(super) struct Digits {
    press: char,
    release: char,
    emergency: Option<char>,
    /// A radio holds its key.
    radio: bool,
    out: Outbox,
}

impl Digits {
    pub fn new(config: &DtmfConfig) -> Digits {
        let one = |text: &str| text.chars().next();
        Digits {
            press: one(&config.press).unwrap_or('*'),
            release: one(&config.release).unwrap_or('#'),
            emergency: one(&config.emergency),
            radio: false,
            out: Outbox::default(),
        }
    }
}

impl Carrier for Digits {
    fn terms(&self) -> FloorTerms {
        FloorTerms { receive_only: false, queues: false, revocable: false }
    }

    fn press(&mut self, _: &Press, _: Instant) {
        self.out.send(Said::Digit(self.press));
    }

    fn release(&mut self, _: Instant) {
        self.out.send(Said::Digit(self.release));
    }

    fn answer(&mut self, _: &FloorNotice, _: Instant) {}

    fn input(&mut self, input: Input<'_>, _: Instant) {
        let Input::Digit(key) = input else { return };
        let emergency = Some(key) == self.emergency;
        if key == self.press || emergency {
            if !std::mem::replace(&mut self.radio, true) || emergency {
                self.out.heard(Event::Pressed { by: None, priority: None, emergency });
            }
        } else if key == self.release && std::mem::replace(&mut self.radio, false) {
            self.out.heard(Event::Released);
        }
    }

    fn tick(&mut self, _: Instant) {}

    fn forget(&mut self) -> bool {
        std::mem::replace(&mut self.radio, false)
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn poll(&mut self) -> Option<Out> {
        self.out.0.pop_front()
    }
}
