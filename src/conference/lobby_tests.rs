#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use bridge_core::{Rooms, Seat, Text};
use media_hub::{Hub, HubLimits, StreamId};

use super::*;
use crate::conference::{ConferenceChange, ConferenceLimits};
use crate::events::Events;
use crate::store::Store;

struct Hall {
    all: Conferences,
    id: String,
    number: String,
    _dir: crate::testing::TempDir,
}

async fn hall(lobby: LobbyMode, limits: ConferenceLimits) -> Hall {
    let dir = crate::testing::TempDir::new();
    let store = Store::open(&dir.path().join("t.db")).await.unwrap();
    let all = Conferences::new(Hub::new(HubLimits::default()), Events::default(), store, limits);
    let made = all.create("a", None, "").await.unwrap();
    let change = ConferenceChange { lobby: Some(lobby), ..Default::default() };
    all.change(&made.id, change).await.unwrap();
    Hall { all, id: made.id, number: made.number, _dir: dir }
}

impl Hall {
    async fn enter(&self, caller: &str, link: Link) -> Result<Seat, Fault> {
        self.all.enter(&self.number, None, caller, "A", link).await
    }

    fn counts(&self) -> (usize, usize) {
        let view = self.all.get(&self.id).unwrap();
        (view.members.len(), view.waiting.len())
    }

    async fn become_counts(&self, wanted: (usize, usize)) {
        for _ in 0..100 {
            if self.counts() == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("members and waiting are {:?}, not {wanted:?}", self.counts());
    }
}

fn connected() -> SeatReport {
    SeatReport::Connected { stream: StreamId::new("phone:call/1"), hears: Codec::G711A }
}

#[tokio::test]
async fn a_caller_waits_hears_another_stream_and_is_let_in_with_his_leg() {
    let h = hall(LobbyMode::All, ConferenceLimits::default()).await;
    let mut seat = h.enter("phone:8001", Link::Lan).await.unwrap();
    assert_eq!(seat.listen.as_str(), format!("mix:lobby/{}/{}", h.id, seat.member));
    seat.report(connected()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(h.counts(), (0, 1));
    // What he presses in the lobby reaches nobody.
    seat.report(SeatReport::Key(bridge_core::Key::Released)).await;
    assert!(h.all.phones(&h.id).unwrap().is_empty());
    assert!(!h.all.door(&h.number, "phone:8001").unwrap().1, "nor may he write");
    let Admitted::Member(view) = h.all.admit(&h.id, &seat.member).unwrap() else {
        panic!("a phone is a member at once")
    };
    assert_eq!((view.state, h.counts()), (MemberState::Connected, (1, 0)));
    let order = tokio::time::timeout(Duration::from_secs(1), seat.command()).await.unwrap().unwrap();
    assert_eq!(order, SeatCommand::Hear(StreamId::new(format!("mix:{}/{}", h.id, seat.member))));
    assert!(matches!(h.all.admit(&h.id, &seat.member), Err(ConferenceError::NoMember(_))), "once only");
    // He hangs up and calls again: he need not wait. Sent away he has to.
    seat.report(SeatReport::Left(Text::new("", "hung up"))).await;
    drop(seat);
    h.become_counts((0, 0)).await;
    let seat = h.enter("phone:8001", Link::Lan).await.unwrap();
    assert_eq!(h.counts(), (1, 0));
    h.all.remove(&h.id, &seat.member).await.unwrap();
    drop(seat);
    let _seat = h.enter("phone:8001", Link::Lan).await.unwrap();
    assert_eq!(h.counts(), (0, 1));
}

#[tokio::test]
async fn who_hangs_up_or_is_refused_waits_no_longer() {
    let h = hall(LobbyMode::All, ConferenceLimits::default()).await;
    let seat = h.enter("phone:8001", Link::Lan).await.unwrap();
    drop(seat);
    h.become_counts((0, 0)).await;
    let mut seat = h.enter("phone:8001", Link::Lan).await.unwrap();
    assert!(h.all.refuse(&h.id, &seat.member).unwrap().is_none());
    assert_eq!(seat.command().await, Some(SeatCommand::HangUp));
    h.all.guest_waits(&h.id, "s", "B", "press").unwrap();
    h.all.guest_waits(&h.id, "s", "B", "press").unwrap();
    assert_eq!(h.counts(), (0, 1), "a guest waits once");
    let waiter = MemberId(h.all.waiting(&h.id).unwrap()[0].id.clone());
    assert!(matches!(h.all.admit(&h.id, &waiter).unwrap(), Admitted::Guest(s) if s == "s"));
    assert_eq!(h.counts(), (0, 0));
}

#[tokio::test]
async fn radio_groups_and_invited_phones_do_not_wait() {
    let h = hall(LobbyMode::All, ConferenceLimits::default()).await;
    let _radio = h.enter("radio:g/1", Link::Radio).await.unwrap();
    let _invited = h.all.seat_for_call(&h.id, "B").unwrap();
    assert_eq!(h.counts(), (2, 0));
    let h = hall(LobbyMode::Guests, ConferenceLimits::default()).await;
    let _phone = h.enter("phone:8001", Link::Lan).await.unwrap();
    assert_eq!((h.counts(), h.all.guest_door(&h.id, false)), ((1, 0), Some(GuestDoor::Lobby)));
}

#[tokio::test]
async fn a_lock_refuses_where_nobody_waits() {
    for (lobby, phone, guest) in [
        (LobbyMode::Off, false, GuestDoor::Locked),
        (LobbyMode::Guests, false, GuestDoor::Lobby),
        (LobbyMode::All, true, GuestDoor::Lobby),
    ] {
        let h = hall(lobby, ConferenceLimits::default()).await;
        h.all.change(&h.id, ConferenceChange { locked: Some(true), ..Default::default() }).await.unwrap();
        let entered = h.enter("phone:8001", Link::Lan).await;
        assert_eq!((entered.is_ok(), h.all.guest_door(&h.id, false)), (phone, Some(guest)), "{lobby:?}");
        assert_eq!(h.counts().0, 0);
    }
}

#[tokio::test]
async fn the_lobby_has_limits_of_number_and_time() {
    let limits = ConferenceLimits { lobby_most: 2, lobby_wait: Duration::from_millis(300), ..Default::default() };
    let h = hall(LobbyMode::All, limits).await;
    let mut first = h.enter("phone:8001", Link::Lan).await.unwrap();
    h.all.guest_waits(&h.id, "s", "B", "").unwrap();
    assert_eq!(h.enter("phone:8002", Link::Lan).await.err().map(|f| f.code), Some("lobby_full"));
    assert!(matches!(h.all.guest_waits(&h.id, "s2", "C", ""), Err(ConferenceError::LobbyFull)));
    assert!(h.all.end_long_waits().is_empty());
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(h.all.end_long_waits(), [(h.id.clone(), "s".to_owned())]);
    assert_eq!(first.command().await, Some(SeatCommand::HangUp));
    assert_eq!(h.counts(), (0, 0));
}
