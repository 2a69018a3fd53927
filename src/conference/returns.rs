//! Members whose phones the network dropped: their seat is kept and the phone is called again; and who wants to know what
//! becomes of a member that was called.

use bridge_core::{Link, MemberId, Seat, SeatCommand, SeatReport};
use media_hub::Fault;
use tokio::sync::mpsc;

use super::member::{Member, MemberNews, MemberState};
use super::room::Room;
use super::rooms::Conferences;

/// Ends of a leg that nobody meant.
const BROKEN: [&str; 6] =
    ["media_timeout", "signalling_lost", "refresh_missing", "unreachable", "radio_gateway_down", "radio_group_lost"];

/// A member whose phone the network dropped.
#[derive(Debug, Clone)]
pub struct Lost {
    pub conference: String,
    pub member: MemberId,
    pub dial: String,
}

impl Room {
    /// Whether this caller is to be called back.
    pub(super) fn expects(&self, caller: &str) -> bool {
        let Some(account) = caller.strip_prefix("phone:") else { return false };
        self.members.values().any(|m| m.state == MemberState::Returning && m.dial.as_deref() == Some(account))
    }
}

/// The phone that was to be called back came by itself as `member`: it takes mute and volume over, and the call to it is given
/// up. Gives the member that is to go.
pub(super) fn take_over(room: &mut Room, member: &MemberId, caller: &str) -> Option<MemberId> {
    let account = caller.strip_prefix("phone:").map(str::to_owned);
    let again = account.as_ref().and_then(|account| {
        let waits = |m: &&Member| m.state == MemberState::Returning && m.dial.as_ref() == Some(account);
        room.members.values().find(waits).map(|m| (m.id.clone(), m.muted, m.volume_db, m.seat.clone()))
    });
    let entry = room.members.get_mut(member)?;
    entry.dial = account;
    let (old, muted, volume_db, ringing) = again?;
    (entry.muted, entry.volume_db) = (muted, volume_db);
    if let Some(ringing) = ringing {
        let _ = ringing.try_send(SeatCommand::HangUp);
    }
    Some(old)
}

impl Conferences {
    /// Tells whoever ordered a call what became of it.
    pub(super) fn tell_news(&self, id: &str, member: &MemberId, report: &SeatReport) {
        let news = match report {
            SeatReport::Ringing => MemberNews::Ringing,
            SeatReport::Connected { .. } => MemberNews::Connected,
            SeatReport::Failed(fault) => MemberNews::Failed(fault.clone()),
            SeatReport::Left(_) => MemberNews::Left,
            _ => return,
        };
        let _ = self.with(id, |room, _| {
            if let Some(teller) = room.members.get(member).and_then(|m| m.news.as_ref()) {
                let _ = teller.try_send(news);
            }
            Ok(())
        });
    }

    /// Members whose phones the network dropped; once.
    pub fn take_lost(&self) -> Option<mpsc::Receiver<Lost>> {
        self.0.lost_queue.lock().unwrap_or_else(|p| p.into_inner()).take()
    }

    /// Tells what becomes of a member who was called. `dial`: his number.
    pub fn follow(&self, id: &str, member: &MemberId, dial: &str, news: mpsc::Sender<MemberNews>) {
        let _ = self.with(id, |room, _| {
            if let Some(entry) = room.members.get_mut(member) {
                entry.news = Some(news);
                entry.dial = Some(dial.to_owned());
            }
            Ok(())
        });
    }

    /// Notes the number behind a member, so that he can be called again.
    pub fn dialled(&self, id: &str, member: &MemberId, dial: &str) {
        let _ = self.with(id, |room, _| {
            if let Some(entry) = room.members.get_mut(member) {
                if dial.starts_with("radio:") {
                    entry.link = Link::Radio;
                }
                entry.dial = Some(dial.to_owned());
            }
            room.take_place(member, &format!("phone:{dial}"));
            Ok(())
        });
    }

    /// A new seat for a member whose phone is called again; none when nobody waits for it any more.
    pub fn seat_again(&self, id: &str, member: &MemberId) -> Option<Seat> {
        let taken = self.with(id, |room, hub| {
            let waits = room.members.get(member).is_some_and(|m| m.state == MemberState::Returning);
            let seat = waits.then(|| self.seat_of(room, member)).flatten();
            Ok(seat.map(|seat| (room.member_view(hub, &room.members[member]), seat)))
        });
        let (view, seat) = taken.ok().flatten()?;
        self.tell_member(id, &view);
        Some(seat)
    }

    /// Whether a member is still to be called back.
    pub fn returning(&self, id: &str, member: &MemberId) -> bool {
        self.with(id, |room, _| Ok(room.members.get(member).is_some_and(|m| m.state == MemberState::Returning)))
            .unwrap_or(false)
    }

    /// The network dropped a phone: its seat is kept. True when it is to be called again.
    pub(super) fn keep(&self, id: &str, member: &MemberId, fault: &Fault) -> bool {
        if !self.0.limits.call_back {
            return false;
        }
        let kept = self.with(id, |room, hub| {
            let Some(entry) = room.members.get_mut(member) else { return Ok(None) };
            let stood = matches!(entry.state, MemberState::Connected | MemberState::Held);
            let Some(dial) = entry.dial.clone().filter(|_| stood && BROKEN.contains(&fault.code)) else {
                return Ok(None);
            };
            entry.state = MemberState::Returning;
            entry.fault = Some(fault.clone());
            entry.seat = None;
            entry.stream = None;
            entry.last_word_due = true;
            room.mixer.remove(&member.0);
            Ok(Some((dial, room.member_view(hub, &room.members[member]))))
        });
        let Some((dial, view)) = kept.ok().flatten() else { return false };
        self.tell_member(id, &view);
        self.0.lost.try_send(Lost { conference: id.to_owned(), member: member.clone(), dial }).is_ok()
    }

    /// Whether this last word is of a seat that was given up for a new one.
    pub(super) fn spared(&self, id: &str, member: &MemberId) -> bool {
        self.with(id, |room, _| {
            let Some(entry) = room.members.get_mut(member) else { return Ok(false) };
            let due = std::mem::take(&mut entry.last_word_due);
            Ok(due || entry.state == MemberState::Returning)
        })
        .unwrap_or(false)
    }

    /// A try to call it back failed: whoever tries it decides what is next.
    pub(super) fn still_returning(&self, id: &str, member: &MemberId) -> bool {
        self.returning(id, member)
            && self
                .with(id, |room, _| {
                    if let Some(entry) = room.members.get_mut(member) {
                        entry.last_word_due = true;
                        entry.seat = None;
                    }
                    Ok(())
                })
                .is_ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::time::Duration;

    use bridge_core::{Link, Rooms, SeatReport, Text, Whose};
    use media_core::Codec;
    use media_hub::{Hub, HubLimits, StreamId};

    use super::*;
    use crate::conference::{ConferenceLimits, MutedBy};
    use crate::events::Events;
    use crate::store::Store;

    async fn state(all: &Conferences, id: &str, want: &[MemberState]) {
        for _ in 0..100 {
            let states: Vec<MemberState> = all.get(id).unwrap().members.iter().map(|m| m.state).collect();
            if states == want {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{want:?} did not come: {:?}", all.get(id).unwrap().members);
    }

    fn connected() -> SeatReport {
        SeatReport::Connected { stream: StreamId::new("phone:call/1"), hears: Codec::G711A }
    }

    fn broken() -> SeatReport {
        SeatReport::Failed(Fault::new("media_timeout", Whose::Peer, true, "无语音", "no sound"))
    }

    /// The network drops a phone: its seat stays and it is to be called; a try that fails keeps it, one that stands has it back with
    /// its mute. Who hangs up, or calls in by himself, is not called.
    #[tokio::test]
    async fn a_dropped_phone_keeps_its_seat() {
        let dir = crate::testing::TempDir::new();
        let store = Store::open(&dir.path().join("t.db")).await.unwrap();
        let limits = ConferenceLimits { members: 4, wrong_pins: 9, call_back: true, ..ConferenceLimits::default() };
        let all = Conferences::new(Hub::new(HubLimits::default()), Events::default(), store, limits);
        let mut lost = all.take_lost().unwrap();
        let view = all.create("a", None, "").await.unwrap();
        let (id, number) = (view.id.clone(), view.number.clone());
        let seat = all.enter(&number, None, "phone:8001", "A", Link::Lan).await.unwrap();
        let member = seat.member.clone();
        seat.report(connected()).await;
        state(&all, &id, &[MemberState::Connected]).await;
        let mute = crate::conference::MemberChange { muted: Some(true), ..Default::default() };
        all.change_member(&id, &member, mute, MutedBy::Operator).unwrap();
        seat.report(broken()).await;
        drop(seat);
        let told = tokio::time::timeout(Duration::from_secs(2), lost.recv()).await.unwrap().unwrap();
        assert_eq!((told.member, told.dial.as_str()), (member.clone(), "8001"));
        state(&all, &id, &[MemberState::Returning]).await;
        // A try that fails, and one that was never sent: the seat is kept.
        let seat = all.seat_again(&id, &member).unwrap();
        seat.report(SeatReport::Failed(Fault::new("no_answer", Whose::Device, true, "无人", "nobody"))).await;
        drop(seat);
        drop(all.seat_again(&id, &member).unwrap());
        tokio::time::sleep(Duration::from_millis(100)).await;
        state(&all, &id, &[MemberState::Returning]).await;
        let seat = all.seat_again(&id, &member).unwrap();
        seat.report(connected()).await;
        state(&all, &id, &[MemberState::Connected]).await;
        assert!(all.get(&id).unwrap().members[0].muted && all.seat_again(&id, &member).is_none());
        // Dropped again; this time it calls in by itself.
        seat.report(broken()).await;
        drop(seat);
        state(&all, &id, &[MemberState::Returning]).await;
        let seat = all.enter(&number, None, "phone:8001", "A", Link::Lan).await.unwrap();
        seat.report(connected()).await;
        state(&all, &id, &[MemberState::Connected]).await;
        assert!(all.seat_again(&id, &member).is_none() && all.get(&id).unwrap().members[0].muted);
        // It hangs up: gone, and not called.
        while lost.try_recv().is_ok() {}
        seat.report(SeatReport::Left(Text::new("对方挂机", "the phone hung up"))).await;
        drop(seat);
        state(&all, &id, &[]).await;
        assert!(lost.try_recv().is_err());
    }
}
