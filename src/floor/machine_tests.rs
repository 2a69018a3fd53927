#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::collections::{HashMap, HashSet};

use super::*;

const S: Duration = Duration::from_secs(1);
const A: Talker = Talker(1);
const B: Talker = Talker(2);
const C: Talker = Talker(3);
const D: Talker = Talker(4);
const E: Talker = Talker(5);

fn told(floor: &mut Floor) -> Vec<(Talker, Notice)> {
    std::iter::from_fn(|| floor.poll()).collect()
}

fn group(rules: Rules, terms: &[(Talker, Terms)], now: Instant) -> Floor {
    let mut floor = Floor::new(rules);
    terms.iter().for_each(|(who, terms)| floor.join(*who, *terms, now));
    told(&mut floor);
    floor
}

fn of(priority: Priority) -> Terms {
    Terms { priority, ..Terms::default() }
}

fn to(who: Talker, notices: &[(Talker, Notice)]) -> Vec<Notice> {
    notices.iter().filter(|(t, _)| *t == who).map(|(_, n)| *n).collect()
}

#[test]
fn a_talk_from_press_to_release() {
    let now = Instant::now();
    let mut floor =
        group(Rules::default(), &[(A, of(50)), (B, of(50)), (C, Terms { receive_only: true, ..of(0) })], now);
    floor.request(A, Wish::default(), now);
    let all = told(&mut floor);
    assert_eq!(to(A, &all), [Notice::Granted { left: 30 * S, priority: 50 }]);
    let taken = |may_ask| Notice::Taken { by: A, priority: 50, emergency: false, may_ask, number: 1 };
    assert_eq!((to(B, &all), to(C, &all)), (vec![taken(true)], vec![taken(false)]));
    // The grant is told again until sound comes, and at once to one who asks again.
    floor.tick(now + S);
    assert_eq!(told(&mut floor), [(A, Notice::Granted { left: 30 * S, priority: 50 })]);
    assert!(floor.speech(A, now + 2 * S));
    floor.request(A, Wish::default(), now + 3 * S);
    assert_eq!(told(&mut floor), [(A, Notice::Granted { left: 29 * S, priority: 50 })]);
    floor.tick(now + 4 * S);
    assert!(told(&mut floor).is_empty());
    // Others wait or are refused, and are not heard.
    floor.request(B, Wish::default(), now + 4 * S);
    floor.request(C, Wish::default(), now + 4 * S);
    assert!(!floor.speech(B, now + 4 * S) && !floor.speech(B, now + 4 * S));
    let all = told(&mut floor);
    assert_eq!(to(B, &all), [Notice::Queued { place: 1, of: 1 }, Notice::Cut]);
    assert_eq!(to(C, &all), [Notice::Denied(Denial::ReceiveOnly)]);
    // A newcomer hears of it at once.
    floor.join(D, of(50), now + 4 * S);
    assert_eq!(told(&mut floor), [(D, taken(true))].map(|(w, n)| (w, n)));
    floor.release(A, now + 5 * S);
    assert_eq!(to(B, &told(&mut floor)), [Notice::Granted { left: 30 * S, priority: 50 }]);
    floor.release(B, now + 6 * S);
    let all = told(&mut floor);
    assert!(all.len() == 4 && all.iter().all(|(_, n)| *n == Notice::Idle { number: 3 }), "{all:?}");
}

#[test]
fn who_talks_too_long_is_stopped_and_the_next_one_comes_in() {
    let start = Instant::now();
    let mut floor = group(Rules::default(), &[(A, of(100)), (B, of(50))], start);
    floor.request(A, Wish::default(), start);
    floor.request(B, Wish::default(), start);
    told(&mut floor);
    let (mut now, mut stopped, mut next) = (start, None, None);
    while next.is_none() && now < start + 60 * S {
        now += 100 * Duration::from_millis(1);
        floor.speech(A, now);
        floor.tick(now);
        for (who, notice) in told(&mut floor) {
            match notice {
                Notice::Revoked(Stop::TooLong) if stopped.is_none() => {
                    stopped = Some(now);
                    // Asking again at once, with its higher priority, does not help it.
                    floor.request(A, Wish::default(), now);
                    assert_eq!(to(A, &told(&mut floor)), [Notice::Denied(Denial::RetryAfter)]);
                }
                Notice::Granted { .. } if who == B => next = Some(now),
                _ => {}
            }
        }
    }
    let after = |at: Option<Instant>| at.unwrap().duration_since(start).as_millis();
    assert_eq!((after(stopped), after(next)), (30_100, 33_100));
}

#[test]
fn the_floor_of_one_who_vanishes_is_free_after_the_silence() {
    let now = Instant::now();
    let mut floor = group(Rules::default(), &[(A, of(50)), (B, of(50))], now);
    floor.request(A, Wish::default(), now);
    floor.speech(A, now + S);
    floor.tick(now + 4 * S);
    assert!(floor.holding().is_some());
    floor.tick(now + 5 * S);
    assert!(floor.holding().is_none());
    // Whoever leaves while talking or waiting is forgotten.
    floor.request(A, Wish::default(), now + 6 * S);
    floor.request(B, Wish::default(), now + 6 * S);
    floor.leave(A, now + 6 * S);
    told(&mut floor);
    assert!(floor.holding().is_none() && floor.waiting().next().is_none(), "one alone has nobody to talk to");
}

#[test]
fn urgent_ones_come_first_and_a_carrier_is_not_cut_off() {
    let now = Instant::now();
    let radio = Terms { revocable: false, queues: false, ..of(30) };
    let mut floor = group(Rules::default(), &[(A, of(50)), (B, of(200)), (C, of(100)), (D, radio), (E, of(50))], now);
    floor.request(A, Wish::default(), now);
    floor.request(E, Wish::default(), now);
    // Above the talker, but not by so much that it takes the floor: it waits in front of those of less.
    floor.request(C, Wish::default(), now);
    assert_eq!(floor.waiting().collect::<Vec<_>>(), [C, E]);
    assert_eq!(floor.holding().unwrap().stopped, None);
    told(&mut floor);
    floor.request(B, Wish::default(), now);
    let all = told(&mut floor);
    assert_eq!(to(A, &all), [Notice::Revoked(Stop::PreEmpted)]);
    assert_eq!(to(B, &all), [Notice::Queued { place: 1, of: 3 }]);
    // It may end its sentence.
    assert!(floor.speech(A, now + S) && !floor.speech(B, now + S));
    floor.release(A, now + 2 * S);
    assert_eq!(floor.holding().unwrap().by, B);
    floor.release(B, now + 2 * S);
    floor.release(C, now + 2 * S);
    floor.release(E, now + 2 * S);
    assert!(floor.holding().is_none());
    floor.request(D, Wish::default(), now + 3 * S);
    floor.request(E, Wish { emergency: true, priority: None }, now + 3 * S);
    assert_eq!(floor.holding().unwrap(), Holding { by: D, priority: 30, emergency: false, stopped: None });
    told(&mut floor);
    floor.release(D, now + 4 * S);
    let all = told(&mut floor);
    assert_eq!(to(E, &all), [Notice::Granted { left: 30 * S, priority: 250 }, Notice::Idle { number: 0 }][..1]);
    assert!(to(A, &all).iter().any(|n| matches!(n, Notice::Taken { by: E, emergency: true, .. })));
    floor.request(D, Wish::default(), now + 4 * S);
    assert_eq!(told(&mut floor), [(D, Notice::Denied(Denial::AnotherTalks))]);
}

#[test]
fn a_full_queue_keeps_the_urgent_ones() {
    let now = Instant::now();
    let rules = Rules { queue: 2, pre_empts_from: 255, ..Rules::default() };
    let mut floor = group(rules, &[(A, of(50)), (B, of(50)), (C, of(50)), (D, of(40)), (E, of(90))], now);
    for who in [A, B, C] {
        floor.request(who, Wish::default(), now);
    }
    told(&mut floor);
    floor.request(D, Wish::default(), now);
    assert_eq!(told(&mut floor), [(D, Notice::Denied(Denial::QueueFull))]);
    floor.request(E, Wish::default(), now);
    assert_eq!(to(C, &told(&mut floor)), [Notice::Denied(Denial::QueueFull)]);
    assert_eq!(floor.waiting().collect::<Vec<_>>(), [E, B]);
}

/// What of the machine's state makes a difference, with times counted from now.
type Key = (
    Option<(Talker, Priority, bool, Option<Stop>, Duration, Option<Duration>)>,
    Option<Duration>,
    u8,
    Vec<(Talker, Priority)>,
);

fn key(floor: &Floor, now: Instant) -> Key {
    let since = |at: Instant| at.saturating_duration_since(now);
    let queue = floor.queue.iter().map(|w| (w.who, w.priority)).collect();
    match &floor.state {
        State::Idle(r) => (None, r.at.map(since), r.left, queue),
        State::Taken(h) => {
            let Holding { by, priority, emergency, stopped } = h.holding;
            let held = (by, priority, emergency, stopped, since(h.silent_at), h.until.map(since));
            (Some(held), h.repeat.at.map(since), h.repeat.left, queue)
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Ask(Talker, bool),
    Let(Talker),
    Talk(Talker),
    Leave(Talker),
    Join(Talker),
    Second,
}

/// Every order in which five participants may press, talk, let go, vanish and wait, until nothing new comes: never two talkers, no
/// request without an answer, the most urgent first, and always an end.
#[test]
fn five_participants_in_every_order() {
    let timers =
        Timers { silence: 3 * S, talk: 4 * S, grace: 2 * S, repeat: S, repeats: 2, retry_after: Duration::ZERO };
    let rules = Rules { timers, queue: 3, ..Rules::default() };
    let radio = Terms { revocable: false, ..of(30) };
    let terms: HashMap<_, _> = [(A, of(50)), (B, of(50)), (C, of(200)), (D, radio), (E, of(100))].into();
    let start = Instant::now();
    let first = group(rules, &[A, B, C, D, E].map(|w| (w, terms[&w])), start);
    let mut acts = vec![
        Act::Second,
        Act::Ask(A, true),
        Act::Ask(E, true),
        Act::Leave(A),
        Act::Join(A),
        Act::Leave(C),
        Act::Join(C),
    ];
    acts.extend([A, B, C, D, E].into_iter().flat_map(|w| [Act::Ask(w, false), Act::Let(w), Act::Talk(w)]));
    let here = |floor: &Floor| floor.participants.keys().copied().collect::<Vec<_>>();
    let mut seen = HashSet::from([(key(&first, start), here(&first))]);
    let mut open = vec![(first, start)];
    let mut steps = 0u64;
    while let Some((before, now)) = open.pop() {
        for act in &acts {
            steps += 1;
            let (mut floor, mut now) = (before.clone(), now);
            let heard = match *act {
                Act::Ask(w, emergency) => {
                    floor.request(w, Wish { emergency, priority: None }, now);
                    None
                }
                Act::Let(w) => {
                    floor.release(w, now);
                    None
                }
                Act::Leave(w) => {
                    floor.leave(w, now);
                    None
                }
                Act::Join(w) => {
                    floor.join(w, terms[&w], now);
                    None
                }
                Act::Talk(w) => Some((w, floor.speech(w, now))),
                Act::Second => {
                    now += S;
                    floor.tick(now);
                    None
                }
            };
            let notices = told(&mut floor);
            check(&before, &floor, *act, heard, &notices, rules);
            if seen.insert((key(&floor, now), here(&floor))) {
                ends(floor.clone(), now, None);
                ends(floor.clone(), now, floor.holding().map(|h| h.by));
                open.push((floor, now));
            }
        }
    }
    println!("{} states, {steps} steps", seen.len());
    assert!(seen.len() > 10_000, "the orders were tried: {}", seen.len());
}

fn check(
    before: &Floor,
    floor: &Floor,
    act: Act,
    heard: Option<(Talker, bool)>,
    notices: &[(Talker, Notice)],
    rules: Rules,
) {
    let queue: Vec<_> = floor.queue.iter().map(|w| (w.who, w.priority)).collect();
    assert!(queue.is_sorted_by(|a, b| a.1 >= b.1) && queue.len() <= rules.queue, "{act:?}: {queue:?}");
    let old: Vec<_> = before.queue.iter().map(|w| (w.who, w.priority)).collect();
    let [stay, stayed] =
        [(&old, &queue), (&queue, &old)].map(|(of, other)| of.iter().filter(|w| other.contains(w)).collect::<Vec<_>>());
    assert_eq!(stay, stayed, "{act:?}: nobody is overtaken by one of the same priority");
    for (at, new) in queue.iter().enumerate().filter(|(_, w)| !old.contains(w)) {
        assert!(queue[at + 1..].iter().all(|w| w.1 < new.1), "{act:?}: who comes later stands behind");
    }
    let stopped = |(who, n): &(Talker, Notice)| (*n == Notice::Revoked(Stop::PreEmpted)).then_some(*who);
    assert!(notices.iter().filter_map(stopped).all(|w| before.participants[&w].terms.revocable), "{act:?}");
    let names: HashSet<_> = queue.iter().map(|(w, _)| *w).collect();
    assert_eq!(names.len(), queue.len(), "{act:?}: nobody waits twice");
    assert!(floor.holding().is_some() || queue.is_empty(), "{act:?}: nobody talks, and somebody waits");
    if let Some(h) = floor.holding() {
        assert!(floor.participants.contains_key(&h.by), "{act:?}");
        assert!(h.stopped.is_some() || !names.contains(&h.by), "{act:?}: it has what it waits for");
    }
    if let Some((who, passes)) = heard {
        assert_eq!(passes, before.holding().is_some_and(|h| h.by == who), "{act:?}: only the talker is heard");
    }
    if let Act::Ask(who, emergency) = act
        && before.participants.contains_key(&who)
    {
        let answer = to(who, notices);
        assert!(!answer.is_empty(), "{act:?}: a request without an answer");
        let waits = names.contains(&who);
        let talks = floor.holding().is_some_and(|h| h.by == who && h.stopped.is_none());
        let denied = answer.iter().any(|n| matches!(n, Notice::Denied(_)));
        assert_eq!([waits, talks, denied].iter().filter(|x| **x).count(), 1, "{act:?}: {answer:?}");
        // An emergency is never kept waiting by a talker who can be stopped.
        if let Some(h) = floor.holding()
            && emergency
            && h.by != who
            && h.priority < rules.emergency
        {
            assert!(h.stopped.is_some() || !floor.participants[&h.by].terms.revocable, "{act:?}");
        }
    }
    // Who got the floor was the most urgent of those who wanted it, and all others know.
    let (old, new) = (before.holding(), floor.holding());
    if let Some(new) = new.filter(|n| old.is_none_or(|o| o.by != n.by) || floor.number != before.number) {
        let wants =
            |w: &&Waiting| floor.participants.contains_key(&w.who) && !matches!(act, Act::Let(who) if who == w.who);
        let best = before.queue.iter().filter(wants).map(|w| w.priority).max();
        assert!(best.is_none_or(|best| new.priority >= best), "{act:?}: {new:?}");
        for who in floor.participants.keys().filter(|w| **w != new.by) {
            assert!(
                to(*who, notices).iter().any(|n| matches!(n, Notice::Taken { by, .. } if *by == new.by)),
                "{act:?}"
            );
        }
        assert!(
            to(new.by, notices).iter().any(|n| matches!(n, Notice::Granted { .. })),
            "{act:?}: {new:?} was not told"
        );
    }
    // Nobody loses the floor unheard: he lets go, leaves, is silent, or was told to stop.
    if let (Some(old), Act::Ask(..) | Act::Talk(_)) = (old, act) {
        assert_eq!(new.map(|n| n.by), Some(old.by), "{act:?} takes nothing away at once");
        assert!(new.is_some_and(
            |n| n.stopped == old.stopped || to(old.by, notices).iter().any(|n| matches!(n, Notice::Revoked(_)))
        ));
    }
}

/// However it stands: when nobody presses any more the floor is free in the end, even if the talker goes on.
fn ends(mut floor: Floor, mut now: Instant, talks: Option<Talker>) {
    for _ in 0..40 {
        if floor.holding().is_none() {
            return;
        }
        now += S;
        if let Some(who) = talks {
            floor.speech(who, now);
        }
        assert!(floor.next_timeout().is_some(), "nothing would ever happen");
        floor.tick(now);
        told(&mut floor);
    }
    panic!("no end: {:?}, {talks:?}", floor.state);
}
