//! The half-duplex machine with a seat and a gateway of our own, 20 ms a step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use media_core::g711;

use super::carrier::{self, Input, Said};
use super::channel::*;
use super::config::*;
use super::tones;
use bridge_core::{FloorNotice, Key, Link, TalkerIdentity};
use bytes::Bytes;
use media_core::mcptt::{Kind, Message};
use std::time::{Duration, Instant};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

struct Try {
    channel: Channel,
    now: Instant,
    start: Instant,
    /// Numbers of the packets that left, 0 for silence.
    sent: Vec<u8>,
    acts: Vec<(u64, Act)>,
}

/// A loud packet that bears a number.
fn loud(n: u8) -> Bytes {
    let mut payload = vec![g711::alaw_encode(8000); 160];
    payload[0] = n;
    payload.into()
}

impl Try {
    fn new(kind: CarrierKind, change: impl FnOnce(&mut GatewayConfig)) -> Try {
        let mut gateway = GatewayConfig { carrier: kind, ..GatewayConfig::default() };
        gateway.radios.insert("77".into(), "二中队".into());
        change(&mut gateway);
        let group = Group { number: "9001".into(), ..Group::default() };
        let carrier = carrier::open(&gateway, &group, 7, "sip:hall@gw");
        let rules = Rules {
            grant: ms(u64::from(gateway.grant_timeout)),
            key_up: ms(u64::from(gateway.key_up)),
            hang: ms(u64::from(gateway.hang)),
            talk_limit: Duration::from_secs(u64::from(gateway.talk_limit)),
            buffer: gateway.buffer,
            threshold: gateway.speech_dbov,
            permit_tone: gateway.permit_tone,
            deny_tone: gateway.deny_tone,
            priority: None,
            alaw: true,
            hall: "指挥部".into(),
        };
        let names = gateway.radios.clone();
        let channel = Channel::new(carrier, rules, Box::new(move |id| names.get(id).cloned()));
        let now = Instant::now();
        Try { channel, now, start: now, sent: Vec::new(), acts: Vec::new() }
    }

    /// 20 ms with this of the hall's sound.
    fn step(&mut self, heard: Option<Bytes>) {
        self.now += ms(20);
        if let Some(heard) = heard {
            self.channel.speech(heard, self.now);
        }
        self.channel.tick(self.now);
        let packet = self.channel.packet(self.now);
        self.sent.extend(packet.map(|p| if p == tones::silence(true) { 0 } else { p[0] }));
        self.take();
    }

    fn take(&mut self) {
        let at = (self.now - self.start).as_millis() as u64;
        while let Some(act) = self.channel.poll() {
            self.acts.push((at, act));
        }
    }

    fn quiet(&mut self, steps: u32) {
        (0..steps).for_each(|_| self.step(Some(tones::silence(true))));
    }

    fn talk(&mut self, numbers: std::ops::Range<u8>) {
        numbers.for_each(|n| self.step(Some(loud(n))));
    }

    fn notice(&mut self, notice: FloorNotice) {
        self.channel.notice(&notice, self.now);
        self.take();
    }

    fn input(&mut self, input: Input<'_>) {
        self.channel.input(input, self.now);
        self.take();
    }

    /// Numbers of speech that left.
    fn heard(&self) -> Vec<u8> {
        self.sent.iter().copied().filter(|n| *n != 0).collect()
    }

    fn said(&self) -> Vec<String> {
        let said = |(_, act): &(u64, Act)| match act {
            Act::Send(Said::Digit(key)) => Some(key.to_string()),
            Act::Send(Said::Floor(message)) => Some(format!("{:?}", message.kind)),
            Act::Send(Said::Info { body, .. }) => Some(body.clone()),
            _ => None,
        };
        self.acts.iter().filter_map(said).collect()
    }

    fn truths(&self) -> Vec<Truth> {
        self.acts.iter().filter_map(|(_, a)| if let Act::Truth(t) = a { Some(t.clone()) } else { None }).collect()
    }

    fn keys(&self) -> Vec<Key> {
        self.acts.iter().filter_map(|(_, a)| if let Act::Key(k) = a { Some(k.clone()) } else { None }).collect()
    }
}

fn taken() -> FloorNotice {
    let by = TalkerIdentity { name: "王指挥".into(), number: "8001".into(), link: Link::Lan };
    FloorNotice::Taken { by, priority: 150, emergency: false, may_ask: true, number: 1 }
}

fn granted() -> Message {
    Message::new(Kind::Granted, 9)
}

/// Without a floor speech keys the radio, all of it is sent, the hang time bridges a gap, and silence lets go.
#[test]
fn speech_keys_an_open_channel() {
    let mut t = Try::new(CarrierKind::Dtmf, |_| {});
    t.quiet(10);
    assert!(t.said().is_empty());
    t.talk(1..30);
    t.quiet(10);
    t.talk(30..50);
    t.quiet(24);
    assert_eq!(t.said(), ["*"], "a pause of 200 ms is no end, 480 ms is none");
    t.quiet(5);
    assert_eq!(t.said(), ["*", "#"]);
    assert_eq!(t.heard(), (1..50).collect::<Vec<u8>>(), "every packet, the first one too");
    assert!(t.truths().is_empty());
}

#[test]
fn nothing_is_sent_by_presence_while_nobody_talks() {
    let mut t = Try::new(CarrierKind::Rtp, |_| {});
    t.quiet(50);
    assert!(t.sent.is_empty());
    t.talk(1..20);
    t.quiet(60);
    let sent = t.sent.len();
    assert_eq!(t.heard(), (1..20).collect::<Vec<u8>>());
    t.quiet(50);
    assert_eq!(t.sent.len(), sent, "let go");
}

/// The grant takes 400 ms: nothing of the speech is lost, its delay is worked off in the pause.
#[test]
fn speech_waits_for_the_grant_and_none_is_lost() {
    let mut t = Try::new(CarrierKind::Mcptt, |_| {});
    t.notice(taken());
    t.talk(1..21);
    assert_eq!((t.said(), t.heard()), (vec!["Request".to_owned()], vec![]));
    t.input(Input::Floor(&granted()));
    t.talk(21..60);
    assert_eq!(t.heard(), (1..40).collect::<Vec<u8>>(), "20 packets late, none missing");
    t.quiet(30);
    t.talk(60..100);
    assert!(t.heard().last().unwrap() >= &97, "caught up in the pause: {:?}", t.heard());
    t.notice(FloorNotice::Idle { number: 2 });
    t.quiet(10);
    assert_eq!(t.heard(), (1..100).collect::<Vec<u8>>(), "played out before the key is let go");
    assert_eq!(t.said(), ["Request", "Release"]);
    assert!(t.truths().is_empty());
}

#[test]
fn info_without_an_answer_talks_all_the_same_and_says_so() {
    let mut t = Try::new(CarrierKind::Info, |g| g.info.grant = InfoGrant::Message);
    t.notice(taken());
    t.talk(1..29);
    assert!(t.heard().is_empty());
    t.talk(29..40);
    assert_eq!(t.truths(), [Truth::NoGrant]);
    assert_eq!(t.heard()[..3], [1, 2, 3]);
}

/// The end of the floor overtakes the talker's last words on their way through the mixer.
#[test]
fn last_words_behind_the_end_are_sent() {
    let mut t = Try::new(CarrierKind::Dtmf, |_| {});
    t.notice(taken());
    t.talk(1..20);
    t.notice(FloorNotice::Idle { number: 2 });
    t.talk(20..23);
    t.quiet(10);
    assert_eq!(t.heard(), (1..23).collect::<Vec<u8>>());
    assert_eq!(t.said(), ["*", "#"]);
}

/// A refusal is told with what was not heard, and asked for again while somebody talks.
#[test]
fn a_refusal_is_told() {
    let mut t = Try::new(CarrierKind::Mcptt, |_| {});
    t.notice(taken());
    t.talk(1..11);
    t.input(Input::Floor(&Message { cause: Some((6, String::new())), ..Message::new(Kind::Deny, 9) }));
    t.talk(11..70);
    assert_eq!(t.said(), ["Request", "Request"], "again after a second");
    t.notice(FloorNotice::Idle { number: 2 });
    t.quiet(160);
    let all = Truth::NotOnRadio { why: Why::Refused, ms: 69 * 20, by: "王指挥".into() };
    assert_eq!(t.truths(), [all]);
    assert!(t.heard().is_empty());
}

/// A radio talks: nothing is sent to it, what was said meanwhile is told, and the rest goes out when it lets go.
#[test]
fn a_radio_comes_first_on_an_open_channel() {
    let mut t = Try::new(CarrierKind::Dtmf, |_| {});
    t.input(Input::Digit('*'));
    assert_eq!(t.keys(), [Key::Pressed { by: None, priority: None, emergency: false }]);
    t.talk(1..26);
    assert!(t.heard().is_empty() && t.said().is_empty());
    t.input(Input::Digit('#'));
    assert_eq!(t.keys().last(), Some(&Key::Released));
    t.talk(26..40);
    t.quiet(40);
    assert_eq!(t.heard(), (26..40).collect::<Vec<u8>>());
    let truths = t.truths();
    assert_eq!(truths, [Truth::NotOnRadio { why: Why::RadioTalks, ms: 500, by: "指挥部".into() }]);
}

#[test]
fn the_network_takes_the_channel_from_us() {
    let mut t = Try::new(CarrierKind::Dtmf, |_| {});
    t.notice(taken());
    t.talk(1..11);
    t.input(Input::Digit('*'));
    t.talk(11..31);
    assert_eq!(t.heard().last(), Some(&10), "silent at once");
    t.notice(FloorNotice::Idle { number: 2 });
    assert_eq!(t.truths(), [Truth::NotOnRadio { why: Why::RadioTalks, ms: 400, by: "王指挥".into() }]);
}

/// A radio without the floor: told when it ends, with a tone for it, since digits cannot say no.
#[test]
fn a_radio_without_the_floor_is_told_by_a_tone() {
    let mut t = Try::new(CarrierKind::Dtmf, |_| {});
    t.notice(FloorNotice::Idle { number: 1 });
    t.input(Input::Digit('*'));
    t.notice(FloorNotice::Denied { cause: 1 });
    t.quiet(50);
    t.input(Input::Digit('#'));
    assert_eq!(t.truths(), [Truth::NotInHall { why: Why::NoFloor, ms: 1000, by: String::new() }]);
    t.quiet(60);
    assert_eq!(t.said(), ["*", "#"]);
    assert_eq!(t.sent.iter().filter(|n| **n != 0).count(), 24, "three tones of 160 ms");
    // With the floor: no tone, nothing to tell.
    t.input(Input::Digit('*'));
    t.notice(FloorNotice::Granted { left: Duration::from_secs(30) });
    t.quiet(10);
    t.input(Input::Digit('#'));
    t.quiet(20);
    assert_eq!((t.said().len(), t.truths().len()), (2, 1));
}

#[test]
fn names_and_emergencies_of_radios() {
    let mut t = Try::new(CarrierKind::Info, |g| g.info.form = InfoForm::Json);
    t.input(Input::Info(br#"{"op":"taken","user":"77","emergency":true}"#));
    let known = TalkerIdentity { name: "二中队".into(), number: "77".into(), link: Link::Radio };
    assert_eq!(t.keys(), [Key::Pressed { by: Some(known), priority: None, emergency: true }]);
    t.input(Input::Info(br#"{"op":"taken","user":"78","name":"Li"}"#));
    let other = TalkerIdentity { name: "Li".into(), number: "78".into(), link: Link::Radio };
    assert_eq!(t.keys().last(), Some(&Key::Named(other)));
    t.input(Input::Info(br#"{"op":"idle"}"#));
    assert_eq!(t.keys().last(), Some(&Key::Released));
}

/// What comes at the same time as our own speech is told to have been lost.
#[test]
fn a_collision_is_told() {
    let mut t = Try::new(CarrierKind::Rtp, |_| {});
    t.talk(1..10);
    for n in 10..20 {
        t.input(Input::Rtp { extension: None, sound: true, loud: true });
        t.talk(n..n + 1);
    }
    t.quiet(60);
    assert_eq!(t.truths(), [Truth::NotInHall { why: Why::HallTalks, ms: 200, by: String::new() }]);
    assert!(t.keys().is_empty());
}

/// More than is kept: the oldest goes, and that is told.
#[test]
fn a_slow_key_up_loses_no_more_than_the_buffer() {
    let mut t = Try::new(CarrierKind::Dtmf, |g| (g.key_up, g.buffer) = (1000, 400));
    t.notice(taken());
    t.talk(1..60);
    t.notice(FloorNotice::Idle { number: 2 });
    t.quiet(30);
    let heard = t.heard();
    assert!(heard[0] > 25 && heard.last() == Some(&59), "{heard:?}");
    assert!(matches!(t.truths()[..], [Truth::NotOnRadio { why: Why::TooLate, .. }]), "{:?}", t.truths());
}

/// The release was lost: after 4 s without sound, or at the limit, the radio counts as having let go and the hall is heard again.
#[test]
fn a_lost_release_does_not_block_the_group() {
    let sound = || Input::Rtp { extension: None, sound: true, loud: false };
    let mut t = Try::new(CarrierKind::Dtmf, |g| g.talk_limit = 10);
    t.input(Input::Digit('*'));
    for _ in 0..100 {
        t.input(sound());
        t.quiet(1);
    }
    t.quiet(195);
    assert_eq!(t.keys().last(), Some(&Key::Pressed { by: None, priority: None, emergency: false }));
    t.talk(1..50);
    assert_eq!((t.keys().last(), t.truths().first()), (Some(&Key::Released), Some(&Truth::NoRelease)));
    t.quiet(60);
    assert!(t.heard().len() > 40 && t.heard().ends_with(&[48, 49]), "{:?}", t.heard());
    // Its next press counts again; with sound that goes on the limit ends it.
    t.input(Input::Digit('*'));
    for _ in 0..499 {
        t.input(sound());
        t.quiet(1);
    }
    assert!(matches!(t.keys().last(), Some(Key::Pressed { .. })));
    t.quiet(2);
    assert_eq!(t.keys().last(), Some(&Key::Released));
}

/// Who waits for the floor sends nothing yet; with the grant its sound is waited for.
#[test]
fn a_radio_that_waits_for_the_floor_may_be_silent() {
    let mut t = Try::new(CarrierKind::Mcptt, |g| g.mcptt.server = true);
    t.notice(FloorNotice::Idle { number: 1 });
    t.input(Input::Floor(&Message::new(Kind::Request, 9)));
    t.notice(taken());
    t.notice(FloorNotice::Queued { place: 1, of: 1 });
    t.quiet(500);
    assert!(matches!(t.keys().last(), Some(Key::Pressed { .. })));
    t.notice(FloorNotice::Granted { left: Duration::from_secs(30) });
    t.quiet(190);
    assert!(matches!(t.keys().last(), Some(Key::Pressed { .. })));
    t.quiet(20);
    assert_eq!(t.keys().last(), Some(&Key::Released));
}
