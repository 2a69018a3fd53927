//! The key as MCPTT floor control (3GPP TS 24.380). Towards a controlling server we are a participant (6.2.4): a radio that talks is
//! known by Floor Taken, our own press asks. With `server` it is the other way: the gateway asks, the hall decides.

use std::time::{Duration, Instant};

use bridge_core::{FloorNotice, FloorTerms};
use media_core::mcptt::{Kind, Message, indicator};

use super::{Carrier, Event, Fill, Grants, Input, Out, Outbox, Press, Said, Who};
use crate::config::GatewayConfig;

/// Longest part of an id that is shown.
const MOST_ID: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    NoPermission,
    /// Floor Request was sent: T101.
    PendingRequest,
    Permission,
    /// Floor Release was sent: T100.
    PendingRelease,
    /// Waits in the server's queue: T104 while we ask for our place.
    Queued,
}

pub(super) struct Mcptt {
    server: bool,
    ssrc: u32,
    id: String,
    priority: u8,
    t100: (Duration, u32),
    t101: (Duration, u32),
    t104: (Duration, u32),
    state: State,
    /// What is repeated until it is answered: when, and how often still.
    again: Option<(Instant, u32, Message)>,
    radio: bool,
    /// Of the newest Taken or Idle that came.
    sequence: Option<u16>,
    /// Of ours.
    own_sequence: u16,
    out: Outbox,
}

impl Mcptt {
    pub fn new(gateway: &GatewayConfig, ssrc: u32, own: &str) -> Mcptt {
        let c = &gateway.mcptt;
        Mcptt {
            server: c.server,
            ssrc,
            id: if c.id.is_empty() { own.to_owned() } else { c.id.clone() },
            priority: c.priority,
            t100: (gateway.patience(c.t100), c.c100),
            t101: (gateway.patience(c.t101), c.c101),
            t104: (gateway.patience(c.t104), c.c104),
            state: State::NoPermission,
            again: None,
            radio: false,
            sequence: None,
            own_sequence: 0,
            out: Outbox::default(),
        }
    }

    fn message(&self, kind: Kind) -> Message {
        Message { indicator: Some(indicator::NORMAL), ..Message::new(kind, self.ssrc) }
    }

    fn send(&mut self, message: Message) {
        self.out.send(Said::Floor(message));
    }

    fn send_until_answered(&mut self, message: Message, (every, times): (Duration, u32), now: Instant) {
        self.again = Some((now + every, times.saturating_sub(1), message.clone()));
        self.send(message);
    }

    /// Whether a Taken or Idle is newer than the one before (the number wraps).
    fn newer(&mut self, message: &Message) -> bool {
        let Some(number) = message.sequence else { return true };
        let newer = self.sequence.is_none_or(|last| number.wrapping_sub(last) as i16 > 0 || number == last);
        if newer {
            self.sequence = Some(number);
        }
        newer
    }

    fn radio_talks(&mut self, message: &Message) {
        let emergency = message.indicator.is_some_and(|i| i & indicator::EMERGENCY != 0);
        let by = message.granted_party.as_deref().or(message.user.as_deref()).map(who);
        if std::mem::replace(&mut self.radio, true) && !emergency {
            if let Some(by) = by {
                self.out.heard(Event::Named(by));
            }
            return;
        }
        self.out.heard(Event::Pressed { by, priority: message.priority, emergency });
    }

    fn radio_silent(&mut self) {
        if std::mem::replace(&mut self.radio, false) {
            self.out.heard(Event::Released);
        }
    }

    /// The words of a server (6.2.4).
    fn on_participant(&mut self, message: &Message) {
        match (message.kind, self.state) {
            (Kind::Granted, State::PendingRequest | State::Queued) => {
                self.again = None;
                self.state = State::Permission;
                self.radio_silent();
                self.out.heard(Event::Granted);
            }
            (Kind::Deny, State::PendingRequest | State::Queued) => {
                self.again = None;
                self.state = State::NoPermission;
                self.out.heard(Event::Denied(message.cause.as_ref().map_or(255, |c| c.0)));
            }
            (Kind::QueuePositionInfo, State::PendingRequest | State::Queued) => {
                self.again = None;
                self.state = State::Queued;
            }
            (Kind::Revoke, State::Permission | State::PendingRequest) => {
                self.out.heard(Event::Revoked(message.cause.as_ref().map_or(255, |c| c.0)));
            }
            (Kind::Taken, _) if self.newer(message) => {
                if self.state == State::PendingRequest {
                    // Somebody else was first; a queue would have been told of.
                    self.again = None;
                    self.state = State::NoPermission;
                }
                if self.state == State::PendingRelease {
                    self.again = None;
                    self.state = State::NoPermission;
                }
                if self.state != State::Permission {
                    self.radio_talks(message);
                }
            }
            (Kind::Idle, _) if self.newer(message) => {
                if matches!(self.state, State::PendingRelease | State::Queued) {
                    self.again = None;
                    self.state = State::NoPermission;
                }
                self.radio_silent();
            }
            _ => {}
        }
    }

    /// The words of a participant (6.3.4), when we are the server.
    fn on_server(&mut self, message: &Message) {
        match message.kind {
            Kind::Request => self.radio_talks(message),
            Kind::Release => {
                self.radio_silent();
                if self.state == State::NoPermission {
                    let idle = Message { sequence: Some(self.next_sequence()), ..self.message(Kind::Idle) };
                    self.send(idle);
                }
            }
            Kind::QueuePositionRequest => self.out.heard(Event::AskPlace),
            _ => {}
        }
    }

    fn next_sequence(&mut self) -> u16 {
        self.own_sequence = self.own_sequence.wrapping_add(1);
        self.own_sequence
    }
}

/// `sip:1234@h` is the radio 1234.
fn who(uri: &str) -> Who {
    let bare = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let user = bare.split(['@', ';']).next().unwrap_or_default();
    let id = user.chars().filter(|c| !c.is_control()).take(MOST_ID).collect();
    Who { id, name: String::new() }
}

impl Carrier for Mcptt {
    fn terms(&self) -> FloorTerms {
        FloorTerms { receive_only: false, queues: self.server, revocable: self.server }
    }

    fn grants(&self) -> Grants {
        if self.server { Grants::No } else { Grants::Always }
    }

    fn fill(&self) -> Fill {
        Fill::Nothing
    }

    fn press(&mut self, press: &Press, now: Instant) {
        let emergency = if press.emergency { indicator::EMERGENCY } else { indicator::NORMAL };
        if self.server {
            self.state = State::Permission;
            let by = if press.user.is_empty() { self.id.clone() } else { format!("tel:{}", press.user) };
            let taken = Message {
                granted_party: Some(by),
                may_request: Some(true),
                sequence: Some(self.next_sequence()),
                indicator: Some(emergency),
                audio_ssrc: Some(self.ssrc),
                ..self.message(Kind::Taken)
            };
            return self.send(taken);
        }
        self.state = State::PendingRequest;
        let request = Message {
            priority: Some(press.priority.min(self.priority)),
            user: Some(self.id.clone()),
            indicator: Some(emergency),
            ..self.message(Kind::Request)
        };
        self.send_until_answered(request, self.t101, now);
    }

    fn release(&mut self, now: Instant) {
        if self.server {
            if std::mem::replace(&mut self.state, State::NoPermission) == State::Permission {
                let idle = Message { sequence: Some(self.next_sequence()), ..self.message(Kind::Idle) };
                self.send(idle);
            }
            return;
        }
        if matches!(self.state, State::NoPermission | State::PendingRelease) {
            return;
        }
        self.state = State::PendingRelease;
        let release = Message { user: Some(self.id.clone()), ..self.message(Kind::Release) };
        self.send_until_answered(release, self.t100, now);
    }

    fn answer(&mut self, notice: &FloorNotice, _: Instant) {
        if !self.server {
            return;
        }
        let message = match notice {
            FloorNotice::Granted { left } => Message {
                duration: Some(u16::try_from(left.as_secs()).unwrap_or(u16::MAX)),
                ..self.message(Kind::Granted)
            },
            FloorNotice::Denied { cause } => {
                self.radio = false;
                Message { cause: Some((*cause, String::new())), ..self.message(Kind::Deny) }
            }
            FloorNotice::Revoked { cause } => {
                Message { cause: Some((*cause, String::new())), ..self.message(Kind::Revoke) }
            }
            FloorNotice::Queued { place, .. } => {
                let position = if *place == 0 { 254 } else { u8::try_from(*place).unwrap_or(255).min(253) };
                let queue = Some(media_core::mcptt::QueueInfo { position, priority: 0 });
                Message { queue, ..self.message(Kind::QueuePositionInfo) }
            }
            // Told with our press and our release; who talks without the floor was denied before.
            FloorNotice::Taken { .. } | FloorNotice::Idle { .. } | FloorNotice::Cut => return,
        };
        self.send(message);
    }

    fn input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Floor(message) => {
                if message.wants_ack {
                    let subtype = message.kind.number() | 0x10;
                    let source = Some(if self.server { 2 } else { 0 });
                    let ack = Message { acknowledged: Some(subtype), source, ..Message::new(Kind::Ack, self.ssrc) };
                    self.send(ack);
                }
                if self.server {
                    self.on_server(message)
                } else {
                    self.on_participant(message)
                }
                if message.kind == Kind::QueuePositionInfo && self.state == State::Queued && self.again.is_none() {
                    let ask = Message { user: Some(self.id.clone()), ..self.message(Kind::QueuePositionRequest) };
                    self.again = Some((now + self.t104.0, self.t104.1, ask));
                }
            }
            // The sound of another one: our release has come through.
            Input::Rtp { sound: true, .. } if self.state == State::PendingRelease => {
                self.again = None;
                self.state = State::NoPermission;
            }
            _ => {}
        }
    }

    fn tick(&mut self, now: Instant) {
        let Some((at, left, message)) = self.again.take_if(|(at, ..)| now >= *at) else { return };
        if left > 0 {
            let every = match self.state {
                State::PendingRequest => self.t101.0,
                State::Queued => self.t104.0,
                _ => self.t100.0,
            };
            self.again = Some((at + every, left - 1, message.clone()));
            return self.send(message);
        }
        match self.state {
            State::PendingRequest => {
                self.state = State::NoPermission;
                self.out.heard(Event::Denied(255));
            }
            State::PendingRelease => self.state = State::NoPermission,
            _ => {}
        }
    }

    fn forget(&mut self) -> bool {
        std::mem::replace(&mut self.radio, false)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.again.as_ref().map(|(at, ..)| *at)
    }

    fn poll(&mut self) -> Option<Out> {
        self.out.0.pop_front()
    }

    fn says_no(&self) -> bool {
        self.server
    }
}
