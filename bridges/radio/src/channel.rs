//! A group's channel: half-duplex, so one talks at a time and the rest is told. A machine without a clock of its own between the hall's
//! seat, the sound for the radio, and the [`Carrier`].
//!
//! In a conference with a floor the hall says who talks ([`FloorNotice`]). In one without, speech itself keys the radio, and a radio
//! that talks comes first.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bridge_core::{FloorNotice, FloorTerms, Key, Link, TalkerIdentity};
use bytes::Bytes;

use crate::carrier::{Carrier, Event, Fill, Grants, Input, Out, Press, Said, Who};
use crate::speech::{PACKET, Speech, level};
use crate::tones::{self, Tone};

/// After a refusal the radio is asked for again, while somebody still talks.
const AGAIN: Duration = Duration::from_secs(1);
/// The name of a radio by its id.
pub(crate) type Names = Box<dyn Fn(&str) -> Option<String> + Send>;

/// The talker's last words come through the mixer so much after the word that he ended.
const TAIL: Duration = Duration::from_millis(100);
/// A radio that has the channel and of which no sound came so long has let go: its release was lost (as T1 of TS 24.380).
const SOUNDLESS: Duration = Duration::from_secs(4);
/// Most that waits for the session.
const MOST: usize = 128;

/// What was not heard, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Truth {
    /// The radio did not hear so many milliseconds of speech of the hall.
    NotOnRadio { why: Why, ms: u32, by: String },
    /// The hall did not hear so many milliseconds of a radio.
    NotInHall { why: Why, ms: u32, by: String },
    /// The gateway said nothing to our press; we talk all the same.
    NoGrant,
    /// A radio's release did not come; it counts as having let go.
    NoRelease,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// A radio held the channel.
    RadioTalks,
    /// The gateway refused, or took the channel away.
    Refused,
    /// More speech waited than is kept.
    TooLate,
    /// The hall did not give it the floor.
    NoFloor,
    /// We held the channel.
    HallTalks,
}

/// What the session has to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    Send(Said),
    Key(Key),
    /// The hall's speech wants the radio from now on.
    Keyed,
    Truth(Truth),
}

/// Of the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub grant: Duration,
    pub key_up: Duration,
    pub hang: Duration,
    /// A radio that holds its key longer has let go unheard.
    pub talk_limit: Duration,
    pub buffer: u32,
    pub threshold: f32,
    pub permit_tone: bool,
    pub deny_tone: bool,
    /// For the group's radios; none: the hall's own.
    pub priority: Option<u8>,
    pub alaw: bool,
    /// Who talks where the hall tells no name.
    pub hall: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Air {
    Idle,
    /// Asked for; until then a grant is waited for.
    Asking(Instant),
    /// Given; the transmitter comes up until then.
    Lead(Instant),
    Talking,
}

/// Somebody of the hall talks, or wants to.
#[derive(Debug, Default)]
struct Burst {
    press: Press,
    /// Milliseconds that the radio did not hear, and the first reason.
    unheard: u32,
    why: Option<Why>,
}

/// A radio holds its key.
#[derive(Debug)]
struct Radio {
    since: Instant,
    who: Option<Who>,
    /// The hall does not hear it, since then.
    cut: Option<Instant>,
    /// Its last sound; none while it waits for the floor and may be silent.
    sound: Option<Instant>,
}

impl Radio {
    /// When its release counts as lost.
    fn lost(&self, limit: Duration) -> Option<Instant> {
        self.sound.map(|at| (at + SOUNDLESS).min(self.since + limit))
    }
}

pub(crate) struct Channel {
    carrier: Box<dyn Carrier>,
    rules: Rules,
    /// Names of radios by their id.
    names: Names,
    air: Air,
    /// The hall's talk that is to be heard on the radio.
    burst: Option<Burst>,
    /// The end of `burst` was told: what is kept is still played out.
    ending: bool,
    /// Until then last words may still come.
    tail: Option<Instant>,
    /// Without a floor: speech counts until then.
    voice: Option<Instant>,
    /// The radio is not asked for before that.
    wait: Option<Instant>,
    floor: bool,
    radio: Option<Radio>,
    speech: Speech,
    tone: VecDeque<Bytes>,
    /// A radio that was refused hears so when it lets go.
    owed: bool,
    collided: u32,
    out: VecDeque<Act>,
}

impl Channel {
    pub fn new(carrier: Box<dyn Carrier>, rules: Rules, names: Names) -> Channel {
        Channel {
            speech: Speech::new(rules.buffer),
            carrier,
            rules,
            names,
            air: Air::Idle,
            burst: None,
            ending: false,
            tail: None,
            voice: None,
            wait: None,
            floor: false,
            radio: None,
            tone: VecDeque::new(),
            owed: false,
            collided: 0,
            out: VecDeque::new(),
        }
    }

    pub fn terms(&self) -> FloorTerms {
        self.carrier.terms()
    }

    /// The header extension of the next packet of sound.
    pub fn extension(&self) -> Option<(u16, [u8; 4])> {
        self.carrier.extension()
    }

    /// What the sound for the radio is encoded in.
    pub fn encoded(&mut self, alaw: bool) {
        self.rules.alaw = alaw;
    }

    /// The hall's sound is on the radio.
    pub fn on_air(&self) -> bool {
        matches!(self.air, Air::Lead(_) | Air::Talking)
    }

    fn act(&mut self, act: Act) {
        if self.out.len() < MOST {
            self.out.push_back(act);
        }
    }

    pub fn poll(&mut self) -> Option<Act> {
        self.out.pop_front()
    }

    /// What the hall says of the floor.
    pub fn notice(&mut self, notice: &FloorNotice, now: Instant) {
        self.floor = true;
        self.voice = None;
        match notice {
            FloorNotice::Taken { by, priority, emergency, .. } => {
                if self.burst.is_some() {
                    // Another one follows without an end between them.
                    self.told();
                }
                let press = Press {
                    user: by.number.clone(),
                    name: by.name.clone(),
                    priority: *priority,
                    emergency: *emergency,
                };
                self.carrier.answer(notice, now);
                self.want(press, now);
            }
            FloorNotice::Idle { .. } => {
                self.carrier.answer(notice, now);
                self.end(now);
                self.tail = self.burst.is_some().then_some(now + TAIL);
            }
            FloorNotice::Granted { .. } => {
                self.end(now);
                self.carrier.answer(notice, now);
                if let Some(radio) = &mut self.radio {
                    (radio.cut, radio.sound, radio.since) = (None, Some(now), now);
                    self.owed = false;
                    if self.rules.permit_tone {
                        self.tone = tones::packets(Tone::Permit, self.rules.alaw);
                    }
                }
            }
            FloorNotice::Denied { .. } | FloorNotice::Revoked { .. } | FloorNotice::Cut => {
                self.carrier.answer(notice, now);
                if let Some(radio) = &mut self.radio {
                    radio.cut.get_or_insert(now);
                    radio.sound.get_or_insert(now);
                    self.owed = self.rules.deny_tone && !self.carrier.says_no();
                }
            }
            FloorNotice::Queued { place, .. } => {
                self.carrier.answer(notice, now);
                if let Some(radio) = self.radio.as_mut().filter(|_| *place > 0) {
                    radio.cut.get_or_insert(now);
                }
            }
        }
        self.settle(now);
    }

    fn want(&mut self, press: Press, now: Instant) {
        let resumed = std::mem::replace(&mut self.ending, false);
        self.tail = None;
        match &mut self.burst {
            Some(burst) => burst.press = press,
            None => {
                self.burst = Some(Burst { press, ..Burst::default() });
                self.act(Act::Keyed);
            }
        }
        if resumed || (self.air == Air::Idle && self.radio.is_none()) {
            self.speech.begin(self.rules.threshold);
        }
        self.key(now);
    }

    /// Keys the radio, if there is a reason and nothing against it.
    fn key(&mut self, now: Instant) {
        let free = self.air == Air::Idle && self.radio.is_none() && self.wait.is_none_or(|at| now >= at);
        if let Some(burst) = self.burst.as_ref().filter(|_| free && !self.ending) {
            self.wait = None;
            self.carrier.press(&burst.press, now);
            self.air = match self.carrier.grants() {
                Grants::No => Air::Lead(now + self.rules.key_up),
                Grants::Usually | Grants::Always => Air::Asking(now + self.rules.grant),
            };
        }
    }

    /// Nobody of the hall talks any more: what is kept is played out, then the key is let go.
    fn end(&mut self, now: Instant) {
        if self.burst.is_none() {
            return;
        }
        self.ending = true;
        if self.air == Air::Idle {
            self.over(now);
        }
    }

    fn unheard(&mut self, ms: u32, why: Why) {
        if let Some(burst) = self.burst.as_mut().filter(|_| ms > 0) {
            burst.unheard += ms;
            burst.why.get_or_insert(why);
        }
    }

    /// Says what of the burst was not heard.
    fn told(&mut self) {
        let hall = self.rules.hall.clone();
        if let Some(burst) = &mut self.burst
            && let Some(why) = burst.why.take()
        {
            let by = if burst.press.name.is_empty() { hall } else { burst.press.name.clone() };
            let truth = Truth::NotOnRadio { why, ms: std::mem::take(&mut burst.unheard), by };
            self.act(Act::Truth(truth));
        }
    }

    /// The burst is over: the key is let go.
    fn over(&mut self, now: Instant) {
        if self.air != Air::Idle {
            self.carrier.release(now);
            self.air = Air::Idle;
        }
        let rest = self.speech.give_up();
        self.unheard(rest, Why::Refused);
        self.told();
        (self.burst, self.ending, self.wait, self.tail) = (None, false, None, None);
        if self.collided > 0 {
            let ms = std::mem::take(&mut self.collided) * PACKET;
            self.act(Act::Truth(Truth::NotInHall { why: Why::HallTalks, ms, by: String::new() }));
        }
    }

    /// The channel is not ours: what waited was not heard.
    fn lost(&mut self, why: Why, now: Instant) {
        let waited = self.speech.give_up();
        self.unheard(waited, why);
        self.air = Air::Idle;
        self.wait = Some(now + AGAIN);
        if self.ending || self.burst.is_none() {
            self.over(now);
        }
    }

    /// A packet of what the hall's seat hears: 20 ms of G.711.
    pub fn speech(&mut self, payload: Bytes, now: Instant) {
        let loud_ness = level(self.rules.alaw, &payload);
        let loud = loud_ness >= self.rules.threshold;
        if !self.floor && loud {
            self.voice = Some(now + self.rules.hang);
            if self.burst.is_none() || self.ending {
                self.speech.foresee(payload, loud_ness);
                let press = Press { name: self.rules.hall.clone(), ..Press::default() };
                self.want(press, now);
                if self.radio.is_some() {
                    self.unheard(PACKET, Why::RadioTalks);
                    self.speech.give_up();
                }
                return self.settle(now);
            }
        }
        let last_words = self.ending && loud && self.air != Air::Idle && self.tail.is_some_and(|at| now < at);
        if self.burst.is_none() || (self.ending && !last_words) {
            self.speech.foresee(payload, loud_ness);
        } else if self.radio.is_some() && self.air == Air::Idle {
            self.unheard(if loud { PACKET } else { 0 }, Why::RadioTalks);
        } else if self.air == Air::Idle && self.wait.is_some_and(|at| now < at) {
            self.unheard(if loud { PACKET } else { 0 }, Why::Refused);
        } else if self.speech.push(payload, !loud) {
            self.unheard(PACKET, Why::TooLate);
        }
        self.settle(now);
    }

    /// What comes of the gateway.
    pub fn input(&mut self, input: Input<'_>, now: Instant) {
        if let (Some(radio), Input::Rtp { sound: true, .. }) = (&mut self.radio, &input) {
            radio.sound = Some(now);
        }
        self.carrier.input(input, now);
        self.settle(now);
    }

    /// Time passes.
    pub fn tick(&mut self, now: Instant) {
        self.carrier.tick(now);
        if let Air::Asking(until) = self.air
            && now >= until
            && self.carrier.grants() == Grants::Usually
        {
            self.act(Act::Truth(Truth::NoGrant));
            self.air = Air::Lead(now + self.rules.key_up);
        }
        if self.voice.is_some_and(|at| now >= at) {
            self.voice = None;
            self.end(now);
        }
        let lost = self.radio.as_ref().and_then(|radio| radio.lost(self.rules.talk_limit));
        if lost.is_some_and(|at| now >= at) && self.carrier.forget() {
            self.act(Act::Truth(Truth::NoRelease));
            self.heard(Event::Released, now);
        }
        self.key(now);
        self.settle(now);
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        let asking = match self.air {
            Air::Asking(until) if self.carrier.grants() == Grants::Usually => Some(until),
            _ => None,
        };
        let waiting = self.wait.filter(|_| self.burst.is_some() && self.radio.is_none());
        [self.carrier.next_timeout(), asking, self.voice, waiting].into_iter().flatten().min()
    }

    fn settle(&mut self, now: Instant) {
        while let Some(out) = self.carrier.poll() {
            match out {
                Out::Send(said) => self.act(Act::Send(said)),
                Out::Heard(event) => self.heard(event, now),
            }
        }
    }

    fn identity(&self, who: &Who) -> TalkerIdentity {
        let known = (self.names)(&who.id);
        let name = known.unwrap_or_else(|| if who.name.is_empty() { who.id.clone() } else { who.name.clone() });
        TalkerIdentity { name, number: who.id.clone(), link: Link::Radio }
    }

    fn heard(&mut self, event: Event, now: Instant) {
        match event {
            Event::Granted => {
                if matches!(self.air, Air::Asking(_)) {
                    self.air = Air::Lead(now + self.rules.key_up);
                }
            }
            Event::Denied(_) if self.air != Air::Idle => self.lost(Why::Refused, now),
            Event::Revoked(_) => {
                if self.air != Air::Idle {
                    self.carrier.release(now);
                }
                self.lost(Why::Refused, now);
            }
            Event::Denied(_) => {}
            Event::Pressed { by, priority, emergency } => {
                if self.air != Air::Idle {
                    // The network gave it to a radio: nothing of ours goes out any more.
                    self.lost(Why::RadioTalks, now);
                }
                let waited = self.speech.give_up();
                self.unheard(waited, Why::RadioTalks);
                self.tone.clear();
                let identity = by.as_ref().map(|who| self.identity(who));
                let known = self.radio.as_ref().map(|r| (r.since, r.cut, r.sound));
                let (since, cut, sound) = known.unwrap_or((now, None, (!self.floor).then_some(now)));
                self.radio = Some(Radio { since, who: by, cut, sound });
                self.act(Act::Key(Key::Pressed {
                    by: identity,
                    priority: priority.or(self.rules.priority),
                    emergency,
                }));
                if !self.floor {
                    // No floor: whoever asks gets it.
                    self.carrier.answer(&FloorNotice::Granted { left: Duration::from_secs(60) }, now);
                    if self.rules.permit_tone {
                        self.tone = tones::packets(Tone::Permit, self.rules.alaw);
                    }
                }
            }
            Event::Named(who) => {
                let identity = self.identity(&who);
                if let Some(radio) = self.radio.as_mut().filter(|r| r.who.as_ref() != Some(&who)) {
                    radio.who = Some(who);
                    self.act(Act::Key(Key::Named(identity)));
                }
            }
            Event::Released => {
                self.act(Act::Key(Key::Released));
                if let Some(radio) = self.radio.take()
                    && let Some(cut) = radio.cut
                {
                    let ms = u32::try_from(now.saturating_duration_since(cut).as_millis()).unwrap_or(u32::MAX);
                    let by = radio.who.map_or(String::new(), |who| self.identity(&who).name);
                    self.act(Act::Truth(Truth::NotInHall { why: Why::NoFloor, ms, by }));
                }
                self.wait = None;
                if std::mem::take(&mut self.owed) && self.burst.is_none() {
                    self.want(Press { name: self.rules.hall.clone(), ..Press::default() }, now);
                    for packet in tones::packets(Tone::Deny, self.rules.alaw) {
                        self.speech.push(packet, false);
                    }
                    self.ending = true;
                }
                self.key(now);
            }
            Event::AskPlace => self.act(Act::Key(Key::AskPlace)),
            Event::Collided => self.collided = self.collided.saturating_add(1),
        }
    }

    /// The packet of sound to send now; to be asked for every 20 ms.
    pub fn packet(&mut self, now: Instant) -> Option<Bytes> {
        if let Air::Lead(until) = self.air
            && now >= until
        {
            self.air = Air::Talking;
        }
        let alaw = self.rules.alaw;
        let silence = || Some(tones::silence(alaw));
        let packet = match self.air {
            Air::Talking => match self.speech.pop() {
                Some(packet) => Some(packet),
                None if self.ending && self.tail.is_none_or(|at| now >= at) => {
                    self.over(now);
                    if self.carrier.fill() == Fill::Silence { silence() } else { None }
                }
                None => silence(),
            },
            Air::Lead(_) if self.carrier.keyed_by_sound() => Some(tones::pilot(self.rules.alaw)),
            Air::Lead(_) => silence(),
            Air::Asking(_) | Air::Idle => match self.tone.pop_front() {
                Some(packet) => Some(packet),
                None if self.carrier.fill() == Fill::Silence => silence(),
                None => None,
            },
        };
        // An end that came while nothing was kept any more.
        let last = self.ending && self.tail.is_none_or(|at| now >= at);
        if self.air == Air::Talking && last && !self.speech.has_speech() {
            self.over(now);
        }
        self.settle(now);
        packet
    }
}
