#![allow(clippy::unwrap_used, clippy::panic)]

use bridge_core::{CallParty, Rooms, SeatReport};
use media_hub::{Hub, HubLimits, StreamId};

use super::*;
use crate::conference::{ConferenceChange, ConferenceLimits};
use crate::events::Events;
use crate::store::Store;

async fn hall(dir: &std::path::Path) -> (Conferences, Store) {
    let store = Store::open(&dir.join("t.db")).await.unwrap();
    let limits = ConferenceLimits { members: 4, wrong_pins: 9, ..ConferenceLimits::default() };
    (Conferences::new(Hub::new(HubLimits::default()), Events::default(), store.clone(), limits), store)
}

fn between(a: &str, b: &str) -> NewPatch {
    NewPatch { a: a.to_owned(), b: b.to_owned(), a_to_b: true, b_to_a: true, minutes: None }
}

#[tokio::test]
async fn rings_are_refused_and_patches_come_back_after_a_restart() {
    let dir = crate::testing::TempDir::new();
    let (all, store) = hall(dir.path()).await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(all.create(name, None, "").await.unwrap().id);
    }
    let [a, b, c] = [&ids[0], &ids[1], &ids[2]];
    assert!(matches!(all.patch(between(a, a)).await, Err(ConferenceError::Invalid(_))));
    assert!(matches!(all.patch(between(a, "x")).await, Err(ConferenceError::NoConference(_))));
    let first = all.patch(between(a, b)).await.unwrap();
    assert!(matches!(all.patch(between(b, a)).await, Err(ConferenceError::PatchRing)));
    all.patch(between(b, c)).await.unwrap();
    assert!(matches!(all.patch(between(c, a)).await, Err(ConferenceError::PatchRing)), "over b");
    let members = |id: &str| all.get(id).unwrap().members.iter().map(|m| m.name.clone()).collect::<Vec<_>>();
    assert_eq!([members(a), members(b), members(c)], [vec!["b"], vec!["a", "c"], vec!["b"]]);
    let shut = PatchChange { b_to_a: Some(false), minutes: Some(5), ..PatchChange::default() };
    let changed = all.change_patch(&first.id, shut).await.unwrap();
    assert!(changed.until.is_some() && all.get(a).unwrap().members[0].muted && !all.get(b).unwrap().members[0].muted);
    assert!(matches!(
        all.change_patch(&first.id, PatchChange { minutes: Some(99_999), ..PatchChange::default() }).await,
        Err(ConferenceError::Invalid(_))
    ));

    let limits = ConferenceLimits { members: 4, wrong_pins: 9, ..ConferenceLimits::default() };
    let again = Conferences::new(Hub::new(HubLimits::default()), Events::default(), store, limits);
    again.open_stored().await.unwrap();
    assert_eq!(again.all_patches(), all.all_patches());
    assert!(again.get(a).unwrap().members[0].muted);
    // The end of a conference, or a hand that removes the member, ends its patches.
    let in_c = MemberId(again.get(c).unwrap().members[0].id.clone());
    again.remove(c, &in_c).await.unwrap();
    assert_eq!(again.all_patches().len(), 1);
    again.end(b).await.unwrap();
    assert!(again.all_patches().is_empty() && again.get(a).unwrap().members.is_empty());
}

/// A talker's name over two patches, the end of his turn, and who is first in the other conference.
#[tokio::test]
async fn the_floor_goes_over_patches_in_the_talkers_name() {
    let dir = crate::testing::TempDir::new();
    let (all, _store) = hall(dir.path()).await;
    let mut ids = Vec::new();
    let mut seats = Vec::new();
    for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
        let made = all.create(name, None, "").await.unwrap();
        all.change(&made.id, ConferenceChange { half_duplex: Some(true), ..Default::default() }).await.unwrap();
        let seat =
            all.enter(&made.number, None, &format!("phone:800{n}"), &format!("unit {n}"), Link::Lan).await.unwrap();
        let stream = StreamId::new(format!("phone:call/{n}"));
        seat.report(SeatReport::Connected { stream, hears: Codec::G711A }).await;
        seat.report(SeatReport::Person(CallParty { number: format!("800{n}"), name: format!("unit {n}") })).await;
        ids.push(made.id);
        seats.push(seat);
    }
    all.patch(between(&ids[0], &ids[1])).await.unwrap();
    all.patch(between(&ids[1], &ids[2])).await.unwrap();
    let talker = |n: usize| all.get(&ids[n]).unwrap().floor.unwrap().taken.map(|t| t.name);
    let settled = async |want: [Option<&str>; 3]| {
        for _ in 0..250 {
            if [talker(0), talker(1), talker(2)] == want.map(|w| w.map(str::to_owned)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{want:?} did not come: {:?}", [talker(0), talker(1), talker(2)]);
    };
    let press = |n: usize, key: Key| all.key(&ids[n], &seats[n].member, key);
    let pressed = || Key::Pressed { by: None, priority: None, emergency: false };
    for _ in 0..250 {
        if press(0, pressed()).is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    settled([Some("unit 0"); 3]).await;
    press(0, Key::Released).unwrap();
    settled([None; 3]).await;
    press(2, pressed()).unwrap();
    settled([Some("unit 2"); 3]).await;
    // Who comes second waits in his own conference, and is heard in all when the first one ends.
    press(0, pressed()).unwrap();
    settled([Some("unit 2"); 3]).await;
    press(2, Key::Released).unwrap();
    settled([Some("unit 0"); 3]).await;
    // A direction that is shut passes nobody on.
    press(0, Key::Released).unwrap();
    settled([None; 3]).await;
    let first = all.all_patches().remove(0);
    let shut = PatchChange { a_to_b: Some(first.a != ids[0]), b_to_a: Some(first.a == ids[0]), minutes: None };
    all.change_patch(&first.id, shut).await.unwrap();
    press(0, pressed()).unwrap();
    settled([Some("unit 0"), None, None]).await;
}
