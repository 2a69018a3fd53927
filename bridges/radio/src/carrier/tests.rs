//! Each carrier as a machine, with a clock that jumps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use bridge_core::{FloorNotice, Link, TalkerIdentity};
use media_core::ed137::{PROFILE, PROFILE_2009, Ptt, Radio};
use media_core::mcptt::{Kind, Message};
use media_core::rtp::RtpExtension;

use super::*;
use crate::config::{CarrierKind, GatewayConfig, Group, InfoForm, InfoGrant};

fn made(kind: CarrierKind, change: impl FnOnce(&mut GatewayConfig)) -> Box<dyn Carrier> {
    let mut gateway = GatewayConfig { carrier: kind, ..GatewayConfig::default() };
    change(&mut gateway);
    open(&gateway, &Group { number: "9001".into(), ..Group::default() }, 7, "sip:hall@gw")
}

fn all(carrier: &mut dyn Carrier) -> Vec<Out> {
    std::iter::from_fn(|| carrier.poll()).collect()
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn pressed(by: Option<(&str, &str)>, emergency: bool) -> Out {
    let by = by.map(|(id, name)| Who { id: id.into(), name: name.into() });
    Out::Heard(Event::Pressed { by, priority: None, emergency })
}

fn sound(loud: bool) -> Input<'static> {
    Input::Rtp { extension: None, sound: true, loud }
}

fn press() -> Press {
    Press { user: "8001".into(), name: "张<三>".into(), priority: 90, emergency: false }
}

#[test]
fn presence_hangs_and_passes_its_own_echo_over() {
    for (kind, loud_only) in [(CarrierKind::Rtp, false), (CarrierKind::Vox, true)] {
        let mut c = made(kind, |_| {});
        let t = Instant::now();
        c.input(sound(false), t);
        assert_eq!(all(&mut *c).is_empty(), loud_only, "{kind:?}");
        c.input(sound(true), t + ms(20));
        let told = all(&mut *c);
        assert_eq!(told.contains(&pressed(None, false)), loud_only);
        assert_eq!(c.next_timeout(), Some(t + ms(520)));
        c.tick(t + ms(519));
        assert!(all(&mut *c).is_empty());
        c.tick(t + ms(520));
        assert_eq!(all(&mut *c), [Out::Heard(Event::Released)]);
        // While we send, what comes is no radio that anybody could hear.
        c.press(&press(), t + ms(600));
        c.input(sound(true), t + ms(700));
        assert_eq!(all(&mut *c), [Out::Heard(Event::Collided)]);
        c.release(t + ms(800));
        c.input(sound(true), t + ms(900));
        assert!(all(&mut *c).is_empty(), "the echo's tail");
        c.input(sound(true), t + ms(1001));
        assert_eq!(all(&mut *c), [pressed(None, false)]);
    }
}

#[test]
fn digits_both_ways() {
    let mut c = made(CarrierKind::Dtmf, |g| g.dtmf.emergency = "9".into());
    let t = Instant::now();
    c.press(&press(), t);
    c.release(t);
    assert_eq!(all(&mut *c), [Out::Send(Said::Digit('*')), Out::Send(Said::Digit('#'))]);
    for key in ['#', '5', '*', '*', '9', '#', '#'] {
        c.input(Input::Digit(key), t);
    }
    assert_eq!(all(&mut *c), [pressed(None, false), pressed(None, true), Out::Heard(Event::Released)]);
    assert!(!c.terms().revocable && !c.terms().queues);
}

#[test]
fn ed137_bits_supervision_and_the_repeated_end() {
    for (old, profile) in [(false, PROFILE), (true, PROFILE_2009)] {
        let mut c = made(CarrierKind::Ed137, |g| g.ed137.old = old);
        let t = Instant::now();
        let keepalive = [Out::Send(Said::KeepAlive)];
        c.tick(t);
        assert_eq!(all(&mut *c), keepalive);
        assert_eq!(c.extension(), Some((profile, [0; 4])));
        c.tick(t + ms(199));
        assert!(all(&mut *c).is_empty());
        c.press(&press(), t + ms(199));
        c.tick(t + ms(199));
        assert_eq!(all(&mut *c), keepalive, "the press goes out before the first sound");
        let told = Radio::parse(profile, &c.extension().unwrap().1).unwrap().unwrap();
        assert_eq!((told.ptt, told.ptt_id), (Ptt::Normal, 1));
        c.release(t + ms(500));
        let mut ends = Vec::new();
        for n in 0..15 {
            c.tick(t + ms(500 + n * 20));
            ends.extend(all(&mut *c).into_iter().map(|_| n * 20));
        }
        assert_eq!(ends, [0, 20, 40, 240], "three times, then as usual");
        assert_eq!(c.extension(), Some((profile, [0; 4])));
        // A radio: squelch opens, an emergency, then silence of the whole box.
        let word = Radio { squelch: true, ..Radio::default() }.word(profile);
        let with = |word: &'static [u8]| Input::Rtp {
            extension: Some(RtpExtension { profile, data: word }),
            sound: true,
            loud: true,
        };
        let word: &'static [u8] = Box::leak(Box::new(word));
        c.input(with(word), t + ms(1000));
        c.input(with(word), t + ms(1020));
        assert_eq!(all(&mut *c), [pressed(None, false)]);
        c.input(with(&[0; 4]), t + ms(1040));
        assert_eq!(all(&mut *c), [Out::Heard(Event::Released)]);
        c.input(with(word), t + ms(1060));
        all(&mut *c);
        c.tick(t + ms(1060 + 1999));
        assert!(!all(&mut *c).contains(&Out::Heard(Event::Released)));
        c.tick(t + ms(1060 + 2000));
        assert!(all(&mut *c).contains(&Out::Heard(Event::Released)), "ten R2S periods without a word");
    }
}

fn bodies(out: Vec<Out>) -> Vec<String> {
    out.into_iter()
        .map(|o| match o {
            Out::Send(Said::Info { content_type, body, .. }) => format!("{content_type} {body}"),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn info_by_signal() {
    let mut c = made(CarrierKind::Info, |_| {});
    let t = Instant::now();
    assert_eq!(c.grants(), Grants::Usually);
    c.press(&press(), t);
    assert_eq!(bodies(all(&mut *c)), ["application/dtmf-relay Signal=*\r\nDuration=100\r\n"]);
    c.input(Input::InfoAnswered(true), t);
    assert_eq!(all(&mut *c), [Out::Heard(Event::Granted)]);
    c.release(t);
    assert_eq!(bodies(all(&mut *c)), ["application/dtmf-relay Signal=#\r\nDuration=100\r\n"]);
    c.input(Input::InfoAnswered(true), t);
    assert!(all(&mut *c).is_empty(), "the answer to a release grants nothing");
    c.press(&press(), t);
    all(&mut *c);
    c.input(Input::InfoAnswered(false), t);
    assert_eq!(all(&mut *c), [Out::Heard(Event::Denied(255))]);
    c.release(t);
    assert!(all(&mut *c).is_empty(), "what was not held is not released");
    c.input(Input::Info(b"Signal=*\r\nCaller=1234\r\nName=Zhang\r\n"), t);
    c.input(Input::Info(b"Signal=#\r\n"), t);
    assert_eq!(all(&mut *c), [pressed(Some(("1234", "Zhang")), false), Out::Heard(Event::Released)]);
}

#[test]
fn info_by_xml_says_all_and_lets_no_name_break_it() {
    let mut c = made(CarrierKind::Info, |g| {
        g.info.form = InfoForm::Xml;
        g.info.grant = InfoGrant::Message;
    });
    let t = Instant::now();
    c.press(&press(), t);
    let sent = bodies(all(&mut *c)).remove(0);
    assert!(sent.starts_with("application/ptt+xml") && sent.contains("<op>request</op><group>9001</group>"), "{sent}");
    assert!(sent.contains("<name>张&lt;三&gt;</name><priority>90</priority>"), "{sent}");
    c.input(Input::InfoAnswered(true), t);
    assert!(all(&mut *c).is_empty(), "a message has to come");
    c.input(Input::Info(b"<ptt><op>granted</op></ptt>"), t);
    assert_eq!(all(&mut *c), [Out::Heard(Event::Granted)]);
    c.input(Input::Info(b"<ptt><op>revoked</op></ptt>"), t);
    assert_eq!(all(&mut *c), [Out::Heard(Event::Revoked(4))]);
    c.input(Input::Info(b"<ptt><op>denied</op></ptt>"), t);
    assert!(all(&mut *c).is_empty(), "nothing was asked for");
    c.input(Input::Info("<ptt><op>taken</op><user>77</user><emergency>true</emergency></ptt>".as_bytes()), t);
    assert_eq!(all(&mut *c), [pressed(Some(("77", "")), true)]);
    c.answer(&FloorNotice::Denied { cause: 1 }, t);
    let said = bodies(all(&mut *c)).remove(0);
    assert!(said.contains("<op>denied</op>") && said.contains("<cause>1</cause>") && c.says_no(), "{said}");
    assert!(c.terms().revocable && c.terms().queues);
    let by = TalkerIdentity { name: "{user}".into(), number: "5".into(), link: Link::Lan };
    c.answer(&FloorNotice::Taken { by, priority: 9, emergency: false, may_ask: true, number: 1 }, t);
    let said = bodies(all(&mut *c)).remove(0);
    assert!(said.contains("<op>taken</op>") && said.contains("<user>5</user><name>user</name>"), "{said}");
}

fn floor(out: Vec<Out>) -> Vec<Message> {
    out.into_iter()
        .filter_map(|o| match o {
            Out::Send(Said::Floor(message)) => Some(message),
            _ => None,
        })
        .collect()
}

fn kinds(out: Vec<Out>) -> Vec<Kind> {
    floor(out).into_iter().map(|m| m.kind).collect()
}

#[test]
fn mcptt_asks_again_three_times_and_then_gives_up() {
    let mut c = made(CarrierKind::Mcptt, |_| {});
    let t = Instant::now();
    assert_eq!(c.grants(), Grants::Always);
    c.press(&press(), t);
    let first = floor(all(&mut *c));
    assert_eq!((first[0].kind, first[0].priority, first[0].ssrc), (Kind::Request, Some(90), 7));
    for n in 1..=2 {
        assert_eq!(c.next_timeout(), Some(t + ms(1000 * n)));
        c.tick(t + ms(1000 * n));
        assert_eq!(kinds(all(&mut *c)), [Kind::Request], "T101, {n}");
    }
    c.tick(t + ms(3000));
    assert_eq!(all(&mut *c), [Out::Heard(Event::Denied(255))], "C101");
    c.release(t + ms(3001));
    assert!(all(&mut *c).is_empty(), "nothing to release");
}

#[test]
fn mcptt_granted_released_revoked_and_taken() {
    let mut c = made(CarrierKind::Mcptt, |_| {});
    let t = Instant::now();
    c.press(&press(), t);
    all(&mut *c);
    c.input(Input::Floor(&Message { wants_ack: true, duration: Some(30), ..Message::new(Kind::Granted, 9) }), t);
    let out = all(&mut *c);
    assert!(out.contains(&Out::Heard(Event::Granted)));
    let ack = floor(out).remove(0);
    assert_eq!((ack.kind, ack.acknowledged, ack.source), (Kind::Ack, Some(0x11), Some(0)));
    c.input(Input::Floor(&Message { cause: Some((4, String::new())), ..Message::new(Kind::Revoke, 9) }), t);
    assert_eq!(all(&mut *c), [Out::Heard(Event::Revoked(4))]);
    c.release(t);
    assert_eq!(kinds(all(&mut *c)), [Kind::Release]);
    c.tick(t + ms(1000));
    assert_eq!(kinds(all(&mut *c)), [Kind::Release], "T100");
    c.input(Input::Floor(&Message { sequence: Some(10), ..Message::new(Kind::Idle, 9) }), t + ms(1100));
    c.tick(t + ms(5000));
    assert!(all(&mut *c).is_empty(), "Idle stopped it");
    let taken = |sequence, party: &str| Message {
        sequence: Some(sequence),
        granted_party: Some(party.to_owned()),
        ..Message::new(Kind::Taken, 9)
    };
    c.input(Input::Floor(&taken(9, "sip:old@h")), t);
    assert!(all(&mut *c).is_empty(), "older than the Idle before");
    c.input(Input::Floor(&taken(11, "sip:1234@h")), t);
    assert_eq!(all(&mut *c), [pressed(Some(("1234", "")), false)]);
    // The number wraps.
    c.input(Input::Floor(&Message { sequence: Some(12), ..Message::new(Kind::Idle, 9) }), t);
    assert_eq!(all(&mut *c), [Out::Heard(Event::Released)]);
    // Another one was first.
    c.press(&press(), t);
    c.input(Input::Floor(&taken(13, "tel:5")), t);
    assert!(all(&mut *c).contains(&pressed(Some(("5", "")), false)));
    c.tick(t + ms(9000));
    assert!(all(&mut *c).is_empty(), "asked no more");
}

#[test]
fn mcptt_as_the_server_hands_the_halls_words_on() {
    let mut c = made(CarrierKind::Mcptt, |g| g.mcptt.server = true);
    let t = Instant::now();
    let request = Message { user: Some("sip:31@h".into()), priority: Some(50), ..Message::new(Kind::Request, 5) };
    c.input(Input::Floor(&request), t);
    let who = Some(Who { id: "31".into(), name: String::new() });
    assert_eq!(all(&mut *c), [Out::Heard(Event::Pressed { by: who, priority: Some(50), emergency: false })]);
    c.answer(&FloorNotice::Queued { place: 2, of: 3 }, t);
    c.answer(&FloorNotice::Granted { left: Duration::from_secs(30) }, t);
    c.answer(&FloorNotice::Revoked { cause: 4 }, t);
    let said = floor(all(&mut *c));
    assert_eq!(said[0].queue.unwrap().position, 2);
    assert_eq!((said[1].kind, said[1].duration), (Kind::Granted, Some(30)));
    assert_eq!(said[2].cause.as_ref().unwrap().0, 4);
    c.input(Input::Floor(&Message::new(Kind::Release, 5)), t);
    let out = all(&mut *c);
    assert!(out.contains(&Out::Heard(Event::Released)));
    assert_eq!(kinds(out), [Kind::Idle]);
    c.press(&press(), t);
    c.release(t);
    let said = floor(all(&mut *c));
    assert_eq!((said[0].kind, said[0].granted_party.as_deref()), (Kind::Taken, Some("tel:8001")));
    assert_eq!(said[1].kind, Kind::Idle);
    assert!(said[1].sequence > said[0].sequence);
}
