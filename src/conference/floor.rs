//! Conferences in which one talks at a time: the floor machine of [`crate::floor`] decides, the mixer obeys, and the legs are told
//! in the words of [`FloorNotice`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bridge_core::{FloorNotice, FloorTerms, Key, Link, MemberId, SeatCommand, TalkerIdentity, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::member::{Member, MemberKind, MemberState, MutedBy};
use super::room::Room;
use super::rooms::{ConferenceError, Conferences};
use super::steer::{MemberRole, Side};
use crate::events::Severity;
use crate::floor::{Floor, Notice, Rules, Talker, Terms, Wish};

/// Priorities of those who are given none (the mapping of a command hall): a chair, a console, and a leg of any other kind.
const CHAIR: u8 = 200;
const CONSOLE: u8 = 150;
const FIELD: u8 = 50;
/// A bridged open channel.
const OPEN_CHANNEL: u8 = 30;

/// What a member does with its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Press {
    Press,
    Release,
}

/// Who has the floor.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TakenView {
    pub member: String,
    /// Who talks: of a radio group the one at the radio, where its network tells.
    pub name: String,
    pub number: String,
    #[schema(value_type = String)]
    pub link: Link,
    pub priority: u8,
    pub emergency: bool,
    #[schema(value_type = String)]
    pub since: Timestamp,
    /// It was told to stop and ends its sentence.
    pub stopped: bool,
}

/// The floor as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FloorView {
    pub taken: Option<TakenView>,
    /// Members who wait, the next one first.
    pub queue: Vec<String>,
}

/// The floor of one conference.
pub(super) struct Half {
    floor: Floor,
    numbers: BTreeMap<MemberId, Talker>,
    /// What the leg of a member told of its key.
    can: BTreeMap<MemberId, FloorTerms>,
    /// Who was last said to press the key of a member.
    behind: BTreeMap<MemberId, TalkerIdentity>,
    next: u32,
    since: Timestamp,
    /// Whom the mixer hears: what was ordered last.
    heard: Option<MemberId>,
    /// Members of whom the mixer knows that they are not heard unasked.
    silenced: BTreeSet<MemberId>,
}

impl Half {
    pub fn new() -> Half {
        Half {
            floor: Floor::new(Rules::default()),
            numbers: BTreeMap::new(),
            can: BTreeMap::new(),
            behind: BTreeMap::new(),
            next: 1,
            since: Timestamp::now(),
            heard: None,
            silenced: BTreeSet::new(),
        }
    }

    fn member(&self, talker: Talker) -> Option<&MemberId> {
        self.numbers.iter().find(|(_, t)| **t == talker).map(|(m, _)| m)
    }

    /// Who has the floor.
    fn holder(&self) -> Option<&MemberId> {
        self.floor.holding().and_then(|h| self.member(h.by))
    }

    fn terms(&self, member: &Member) -> Terms {
        let can = self.can.get(&member.id).copied();
        let priority = match (member.kind, can.is_some_and(|c| !c.revocable)) {
            _ if member.role == MemberRole::Chair => CHAIR,
            (MemberKind::Browser, _) if !member.guest => CONSOLE,
            (_, true) => OPEN_CHANNEL,
            _ => FIELD,
        };
        Terms {
            priority,
            receive_only: can.is_some_and(|c| c.receive_only)
                || member.muted == Some(MutedBy::Operator)
                || member.role == MemberRole::Listener,
            queues: can.is_none_or(|c| c.queues),
            revocable: can.is_none_or(|c| c.revocable),
        }
    }

    fn identity(&self, member: &Member) -> TalkerIdentity {
        let own = || TalkerIdentity {
            name: member.name.clone(),
            number: member.dial.clone().unwrap_or_default(),
            link: member.link,
        };
        self.behind.get(&member.id).cloned().unwrap_or_else(own)
    }

    fn view(&self, members: &BTreeMap<MemberId, Member>) -> FloorView {
        let holding = self.floor.holding();
        let taken = holding.and_then(|h| {
            let member = members.get(self.member(h.by)?)?;
            let who = self.identity(member);
            Some(TakenView {
                member: member.id.0.clone(),
                name: who.name,
                number: who.number,
                link: who.link,
                priority: h.priority,
                emergency: h.emergency,
                since: self.since,
                stopped: h.stopped.is_some(),
            })
        });
        let queue = self.floor.waiting().filter_map(|t| self.member(t)).map(|m| m.0.clone()).collect();
        FloorView { taken, queue }
    }
}

/// Something that consoles are told of the floor.
#[derive(Default)]
pub(super) struct Told {
    /// The floor as it is now, if it changed.
    floor: Option<FloorView>,
    /// What single members were told: of those without a seat in a bridge their own console shows it.
    notices: Vec<(MemberId, serde_json::Value)>,
}

impl Room {
    /// Takes a member's mute, volume and the floor to the mixer.
    pub fn apply_gain(&self, member: &MemberId) {
        let Some(entry) = self.members.get(member) else { return };
        // What is said aside needs no floor.
        let aside = entry.side != Side::default();
        let silent = !aside && self.half.as_ref().is_some_and(|half| half.holder() != Some(member));
        let muted = entry.muted.is_some() || entry.role == MemberRole::Listener;
        self.mixer.set_gain(&member.0, entry.volume_db, muted || silent);
    }

    /// Who talks, beside `member`, with priority and emergency: by the floor, or the loudest voice where all may talk at once.
    pub(super) fn talker_beside(&self, member: &MemberId) -> Option<(TalkerIdentity, Option<u8>, bool)> {
        let Some(half) = &self.half else {
            let heard =
                self.members.values().filter(|m| &m.id != member && m.muted.is_none() && m.side == Side::default());
            let level = |m: &&Member| self.levels.get(&m.id.0).filter(|l| l.1).map_or(-127.0, |l| l.0);
            let loudest = heard.max_by(|a, b| level(a).total_cmp(&level(b))).filter(|m| level(m) > -127.0)?;
            let (name, number) = (loudest.name.clone(), loudest.dial.clone().unwrap_or_default());
            return Some((TalkerIdentity { name, number, link: loudest.link }, None, false));
        };
        let holding = half.floor.holding()?;
        let talker = half.member(holding.by).filter(|m| *m != member).and_then(|m| self.members.get(m))?;
        Some((half.identity(talker), Some(holding.priority), holding.emergency))
    }

    /// One talks at a time here, and nobody does.
    pub(super) fn floor_is_free(&self) -> bool {
        self.half.as_ref().is_some_and(|half| half.floor.holding().is_none())
    }

    /// The floor as it is; none where all may talk at once.
    pub fn floor_view(&self) -> Option<FloorView> {
        self.half.as_ref().map(|half| half.view(&self.members))
    }

    /// Brings the group up to the members that are there: who came, left, was muted by an operator.
    pub(super) fn sync_floor(&mut self, now: Instant) -> Told {
        let Some(half) = &mut self.half else { return Told::default() };
        // Cameras have no key: in such a conference they are not heard.
        let seated = |m: &Member| m.kind != MemberKind::Channel && m.state == MemberState::Connected;
        let gone: Vec<MemberId> =
            half.numbers.keys().filter(|m| !self.members.get(m).is_some_and(seated)).cloned().collect();
        for member in gone {
            if let Some(talker) = half.numbers.remove(&member) {
                half.floor.leave(talker, now);
            }
            half.can.remove(&member);
            half.behind.remove(&member);
        }
        for member in self.members.values().filter(|m| seated(m)) {
            let terms = half.terms(member);
            let talker = *half.numbers.entry(member.id.clone()).or_insert_with(|| {
                half.next += 1;
                Talker(half.next)
            });
            half.floor.join(talker, terms, now);
        }
        half.silenced.retain(|m| self.members.contains_key(m));
        let fresh: Vec<MemberId> =
            self.members.keys().filter(|m| half.silenced.insert((*m).clone())).cloned().collect();
        fresh.iter().for_each(|m| self.apply_gain(m));
        self.pump()
    }

    /// Carries out what the machine decided.
    fn pump(&mut self) -> Told {
        let Some(half) = &mut self.half else { return Told::default() };
        let mut told = Told::default();
        let mut changed = false;
        while let Some((to, notice)) = half.floor.poll() {
            let Some(member) = half.member(to).cloned() else { continue };
            changed |= !matches!(notice, Notice::Cut | Notice::Denied(_));
            if matches!(notice, Notice::Granted { .. }) {
                half.since = Timestamp::now();
            }
            let notice = match notice {
                Notice::Granted { left, .. } => FloorNotice::Granted { left },
                Notice::Denied(why) => FloorNotice::Denied { cause: why.cause() },
                Notice::Queued { place, of } => FloorNotice::Queued { place, of },
                Notice::Taken { by, priority, emergency, may_ask, number } => {
                    let talker = half.member(by).and_then(|m| self.members.get(m));
                    let Some(by) = talker.map(|m| half.identity(m)) else { continue };
                    FloorNotice::Taken { by, priority, emergency, may_ask, number }
                }
                Notice::Idle { number } => FloorNotice::Idle { number },
                Notice::Revoked(why) => FloorNotice::Revoked { cause: why.cause() },
                Notice::Cut => FloorNotice::Cut,
            };
            if let Some(word) = word(&notice) {
                told.notices.push((member.clone(), word));
            }
            if let Some(seat) = self.members.get(&member).and_then(|m| m.seat.as_ref()) {
                // A leg that does not keep up is told the next state: each one stands for itself.
                let _ = seat.try_send(SeatCommand::Floor(notice));
            }
        }
        // Only who lost and who got the floor: an order to the mixer for each member at each word would fill its queue.
        let holder = half.holder().cloned();
        let before = std::mem::replace(&mut half.heard, holder.clone());
        if before != holder {
            before.iter().chain(&holder).for_each(|member| self.apply_gain(member));
        }
        if changed {
            told.floor = self.floor_view();
        }
        told
    }
}

/// What is told to a member's own console.
fn word(notice: &FloorNotice) -> Option<serde_json::Value> {
    Some(match notice {
        FloorNotice::Granted { left } => json!({ "is": "granted", "left_seconds": left.as_secs() }),
        FloorNotice::Denied { cause } => json!({ "is": "denied", "cause": cause }),
        FloorNotice::Queued { place, of } => json!({ "is": "queued", "place": place, "of": of }),
        FloorNotice::Revoked { cause } => json!({ "is": "revoked", "cause": cause }),
        FloorNotice::Cut => json!({ "is": "cut" }),
        FloorNotice::Taken { .. } | FloorNotice::Idle { .. } => return None,
    })
}

impl Conferences {
    fn tell_floor(&self, id: &str, told: Told) {
        if let Some(floor) = told.floor {
            self.0.events.tell("floor", json!({ "conference": id, "floor": floor }));
            self.pass_on(id);
        }
        for (member, notice) in told.notices {
            self.0.events.tell("floor_notice", json!({ "conference": id, "member": member.0, "notice": notice }));
        }
    }

    /// One at a time, or all at once.
    pub(super) fn set_half(room: &mut Room, half: bool) {
        room.row.half_duplex = half;
        if half && room.half.is_none() {
            room.half = Some(Half::new());
        } else if !half {
            room.half = None;
            room.members.keys().for_each(|m| room.apply_gain(m));
        }
    }

    /// Members came, left or changed.
    pub(super) fn members_changed(&self, id: &str) {
        if let Ok(told) = self.with(id, |room, _| Ok(room.sync_floor(Instant::now()))) {
            self.tell_floor(id, told);
        }
    }

    /// The leg of a member tells what its key can.
    pub(super) fn floor_terms(&self, id: &str, member: &MemberId, terms: FloorTerms) {
        let told = self.with(id, |room, _| {
            if let Some(half) = &mut room.half {
                half.can.insert(member.clone(), terms);
            }
            Ok(room.sync_floor(Instant::now()))
        });
        if let Ok(told) = told {
            self.tell_floor(id, told);
        }
    }

    /// A member presses its key or lets it go.
    pub fn key(&self, id: &str, member: &MemberId, key: Key) -> Result<(), ConferenceError> {
        let now = Instant::now();
        let mut alarm = None;
        let told = self.with(id, |room, _| {
            let entry = room.members.get(member).ok_or_else(|| ConferenceError::NoMember(member.0.clone()))?;
            // A radio's emergency is an alarm of its own gateway.
            if matches!(key, Key::Pressed { emergency: true, .. }) && entry.link != Link::Radio {
                alarm = Some((entry.name.clone(), room.row.name.clone()));
            }
            let Some(half) = &mut room.half else { return Err(ConferenceError::NoFloor) };
            let talker = half.numbers.get(member).copied().ok_or(ConferenceError::NoFloor)?;
            let mut renamed = false;
            match key {
                Key::Pressed { by, priority, emergency } => {
                    match by {
                        Some(by) => drop(half.behind.insert(member.clone(), by)),
                        None => drop(half.behind.remove(member)),
                    }
                    half.floor.request(talker, Wish { priority, emergency }, now);
                }
                Key::Named(by) => {
                    renamed = half.behind.insert(member.clone(), by.clone()) != Some(by);
                }
                Key::Released => half.floor.release(talker, now),
                Key::AskPlace => half.floor.ask_place(talker),
            }
            let mut told = room.pump();
            if renamed {
                told.floor = room.floor_view();
            }
            Ok(told)
        });
        if let Some((who, conference)) = alarm {
            self.0.events.notice(
                Severity::Alarm,
                &format!("{who} 在会商“{conference}”中紧急呼叫"),
                &format!("Emergency call of {who} in conference {conference}"),
                &member.0,
            );
        }
        self.tell_floor(id, told?);
        Ok(())
    }

    /// An operator takes the floor from whoever has it.
    pub fn revoke_floor(&self, id: &str) -> Result<(), ConferenceError> {
        let now = Instant::now();
        let told = self.with(id, |room, _| {
            room.half.as_mut().ok_or(ConferenceError::NoFloor)?.floor.revoke(now);
            Ok(room.pump())
        })?;
        self.tell_floor(id, told);
        Ok(())
    }

    /// The talker was heard, or not; and what is due by time.
    pub(super) fn floor_tick(&self, id: &str) {
        let now = Instant::now();
        let told = self.with(id, |room, _| {
            let Some(half) = &mut room.half else { return Ok(Told::default()) };
            if let Some(holder) = half.holder().cloned()
                && room.levels.get(&holder.0).is_some_and(|(_, talking)| *talking)
                && let Some(talker) = half.numbers.get(&holder).copied()
            {
                half.floor.speech(talker, now);
            }
            half.floor.tick(now);
            Ok(room.pump())
        });
        if let Ok(told) = told {
            self.tell_floor(id, told);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::time::Duration;

    use bridge_core::{CallParty, Seat, SeatReport};
    use media_core::Codec;
    use media_hub::{Hub, HubLimits, StreamId};

    use super::*;
    use crate::conference::{ConferenceChange, ConferenceLimits, MemberChange};
    use crate::events::Events;
    use crate::store::Store;

    struct Hall {
        all: Conferences,
        id: String,
        seats: Vec<Seat>,
        _dir: crate::testing::TempDir,
    }

    impl Hall {
        /// A conference with so many connected phones.
        async fn with(phones: usize) -> Hall {
            let dir = crate::testing::TempDir::new();
            let store = Store::open(&dir.path().join("t.db")).await.unwrap();
            let limits = ConferenceLimits { members: 9, wrong_pins: 9, ..ConferenceLimits::default() };
            let all = Conferences::new(Hub::new(HubLimits::default()), Events::default(), store, limits);
            let id = all.create("patrol", None, "").await.unwrap().id;
            let mut seats = Vec::new();
            for n in 0..phones {
                let (_, seat) = all.seat_for_call(&id, &format!("unit {n}")).unwrap();
                let stream = StreamId::new(format!("phone:call/{n}"));
                seat.report(SeatReport::Connected { stream, hears: Codec::G711A }).await;
                seats.push(seat);
            }
            let hall = Hall { all, id, seats, _dir: dir };
            hall.until(|v| v.members.iter().all(|m| m.state == MemberState::Connected)).await;
            hall
        }

        async fn until(&self, good: impl Fn(&crate::conference::ConferenceView) -> bool) {
            for _ in 0..500 {
                if good(&self.all.get(&self.id).unwrap()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("it did not come to that: {:?}", self.all.get(&self.id));
        }

        async fn half_duplex(&self, on: bool) {
            self.all.change(&self.id, ConferenceChange { half_duplex: Some(on), ..Default::default() }).await.unwrap();
        }

        async fn told(&mut self, seat: usize) -> FloorNotice {
            match tokio::time::timeout(Duration::from_secs(5), self.seats[seat].command()).await {
                Ok(Some(SeatCommand::Floor(notice))) => notice,
                other => panic!("{other:?}"),
            }
        }

        async fn press(&self, seat: usize, emergency: bool) {
            self.seats[seat].report(SeatReport::Key(Key::Pressed { by: None, priority: None, emergency })).await;
        }
    }

    #[tokio::test]
    async fn legs_are_told_who_talks_and_where_they_wait() {
        let mut hall = Hall::with(2).await;
        hall.half_duplex(true).await;
        for seat in 0..2 {
            assert!(matches!(hall.told(seat).await, FloorNotice::Idle { .. }));
        }
        let radio = TalkerIdentity { name: "Car 12".into(), number: "72012".into(), link: Link::Radio };
        let key = Key::Pressed { by: Some(radio.clone()), priority: None, emergency: false };
        hall.seats[0].report(SeatReport::Key(key)).await;
        assert!(matches!(hall.told(0).await, FloorNotice::Granted { .. }));
        match hall.told(1).await {
            FloorNotice::Taken { by, emergency: false, may_ask: true, .. } => assert_eq!(by, radio),
            other => panic!("{other:?}"),
        }
        let taken = hall.all.get(&hall.id).unwrap().floor.unwrap().taken.unwrap();
        assert_eq!((taken.name.as_str(), taken.number.as_str(), taken.link), ("Car 12", "72012", Link::Radio));
        hall.press(1, false).await;
        assert_eq!(hall.told(1).await, FloorNotice::Queued { place: 1, of: 1 });
        // An emergency does not wait: the one who talks is told to stop.
        hall.press(1, true).await;
        assert_eq!(hall.told(1).await, FloorNotice::Queued { place: 1, of: 1 });
        assert_eq!(hall.told(0).await, FloorNotice::Revoked { cause: 4 });
        hall.seats[0].report(SeatReport::Key(Key::Released)).await;
        assert!(matches!(hall.told(1).await, FloorNotice::Granted { .. }));
        assert!(matches!(hall.told(0).await, FloorNotice::Taken { emergency: true, .. }));
        let floor = hall.all.get(&hall.id).unwrap().floor.unwrap();
        assert_eq!(floor.taken.unwrap().member, hall.seats[1].member.0);
        let told = hall.all.0.events.notices();
        assert!(told.iter().any(|n| n.severity == Severity::Alarm && n.en.contains("unit 1")), "{told:?}");
        assert!(floor.queue.is_empty());
    }

    #[tokio::test]
    async fn whoever_leaves_or_is_muted_by_an_operator_loses_the_floor() {
        let mut hall = Hall::with(3).await;
        hall.half_duplex(true).await;
        hall.press(0, false).await;
        let member = hall.seats[0].member.clone();
        let has = |m: &MemberId| {
            let m = m.0.clone();
            move |v: &crate::conference::ConferenceView| {
                v.floor.as_ref().and_then(|f| f.taken.as_ref()).is_some_and(|t| t.member == m && !t.stopped)
            }
        };
        hall.until(has(&member)).await;
        let mute = MemberChange { muted: Some(true), ..MemberChange::default() };
        hall.all.change_member(&hall.id, &member, mute, MutedBy::Operator).unwrap();
        hall.until(|v| v.floor.as_ref().unwrap().taken.as_ref().is_some_and(|t| t.stopped)).await;
        hall.press(1, false).await;
        hall.seats[0].report(SeatReport::Key(Key::Released)).await;
        let second = hall.seats[1].member.clone();
        hall.until(has(&second)).await;
        hall.seats.remove(1);
        hall.until(|v| v.members.len() == 2 && v.floor.as_ref().unwrap().taken.is_none()).await;
        // A muted one may not ask.
        hall.press(0, false).await;
        loop {
            match hall.told(0).await {
                FloorNotice::Denied { cause } => break assert_eq!(cause, 5),
                FloorNotice::Queued { .. } | FloorNotice::Granted { .. } => continue,
                _ => {}
            }
        }
        hall.half_duplex(false).await;
        assert!(hall.all.get(&hall.id).unwrap().floor.is_none());
        assert!(matches!(hall.all.key(&hall.id, &member, Key::Released), Err(ConferenceError::NoFloor)));
    }

    #[tokio::test]
    async fn the_mode_is_kept_and_a_handed_on_seat_has_its_new_name() {
        let hall = Hall::with(1).await;
        hall.half_duplex(true).await;
        hall.seats[0].report(SeatReport::Person(CallParty::new("8007", "Duty car"))).await;
        hall.until(|v| v.members[0].name == "Duty car").await;
        let rows = hall.all.0.store.conferences().await.unwrap();
        assert!(rows[0].half_duplex);
        hall.half_duplex(false).await;
        assert!(!hall.all.0.store.conferences().await.unwrap()[0].half_duplex);
    }
}
