//! Phones in a conference: those that are called, those that call in by number and PIN, and what their legs report.

use std::time::{Duration, Instant};

use bridge_core::{BoxFuture, Key, Link, MemberId, Rooms, Seat, SeatReport, Text};
use media_hub::{Fault, StreamId, Whose};
use tokio::sync::mpsc;

use super::lobby::LobbyMode;
use super::member::{Member, MemberKind, MemberState, MemberView};
use super::returns::take_over;
use super::room::Room;
use super::rooms::{ConferenceError, Conferences};
use super::sight::Screen;
use crate::events::Severity;
use crate::store::ConferenceRow;

/// What a seat says when it is dropped without a word.
const DROPPED: &str = "the leg ended";
const WRONG_PIN_MEMORY: Duration = Duration::from_secs(600);

impl Conferences {
    /// A seat for a phone that is to be called; the phone bridge gets it.
    pub fn seat_for_call(&self, id: &str, name: &str) -> Result<(MemberView, Seat), ConferenceError> {
        let (view, seat) = self.with(id, |room, hub| {
            let (member, seat) = self.phone_seat(room, name, Link::Lan)?;
            if let Some(entry) = room.members.get_mut(&member) {
                entry.admitted = true;
            }
            Ok((room.member_view(hub, &room.members[&member]), seat))
        })?;
        self.tell_member(id, &view);
        Ok((view, seat))
    }

    fn phone_seat(&self, room: &mut Room, name: &str, link: Link) -> Result<(MemberId, Seat), ConferenceError> {
        let member = self.seat(room, MemberKind::Phone, name, link)?;
        let seat = self.seat_of(room, &member).ok_or_else(|| ConferenceError::NoMember(member.0.clone()))?;
        Ok((member, seat))
    }

    /// What a phone's leg needs to carry this member; a leg that was there before is heard no more.
    pub(super) fn seat_of(&self, room: &mut Room, member: &MemberId) -> Option<Seat> {
        let listen = room.mix_for(member);
        let entry = room.members.get_mut(member)?;
        Some(self.make_seat(&room.row, entry, listen))
    }

    /// What a phone's leg needs to carry `entry` and to hear `listen`.
    pub(super) fn make_seat(&self, row: &ConferenceRow, entry: &mut Member, listen: StreamId) -> Seat {
        let (commands, queue) = mpsc::channel(32);
        let (screen, look) = Screen::new();
        (entry.seat, entry.screen) = (Some(commands), Some(screen));
        let (id, number, name) = (row.id.clone(), row.number.clone(), row.name.clone());
        Seat::new(entry.id.clone(), id, number, name, listen, queue, self.0.reports.clone()).with_look(look)
    }

    /// Forgets a seat whose leg could not be made.
    pub fn abandon(&self, id: &str, member: &MemberId) {
        self.forget(id, member, &Text::new("未接通", "could not connect"));
    }

    pub(super) async fn follow_reports(self, mut queue: mpsc::Receiver<(MemberId, SeatReport)>) {
        while let Some((member, report)) = queue.recv().await {
            self.report(&member, report);
        }
    }

    fn report(&self, member: &MemberId, report: SeatReport) {
        let conference =
            self.lock().iter().find(|(_, room)| room.members.contains_key(member)).map(|(id, _)| id.clone());
        let Some(id) = conference else { return self.lobby_report(member, report) };
        self.tell_news(&id, member, &report);
        match &report {
            SeatReport::Floor(terms) => return self.floor_terms(&id, member, *terms),
            SeatReport::Key(key) => {
                let result = self.key(&id, member, key.clone());
                if let (Err(ConferenceError::NoFloor), Key::Pressed { emergency: false, .. }) = (result, key) {
                    self.hand_by_key(&id, member);
                }
                return;
            }
            // A seat that was given up says so when it is dropped: no word of the leg that may come yet.
            SeatReport::Left(reason) if reason.en == DROPPED && self.spared(&id, member) => return,
            SeatReport::Left(reason) => {
                self.forget(&id, member, reason);
                return;
            }
            SeatReport::Failed(fault) => {
                let name = self
                    .with(&id, |room, _| Ok(room.members.get(member).map(|m| m.name.clone())))
                    .ok()
                    .flatten()
                    .unwrap_or_default();
                self.0.events.notice(
                    Severity::Warning,
                    &format!("呼叫 {name} 失败：{}", fault.zh),
                    &format!("Call to {name} failed: {}", fault.en),
                    &member.0,
                );
                if !self.keep(&id, member, fault) && !self.still_returning(&id, member) {
                    self.forget(&id, member, &Text::new(fault.zh.clone(), fault.en.clone()));
                }
                return;
            }
            _ => {}
        }
        let told = self.with(&id, |room, hub| {
            let Some(entry) = room.members.get_mut(member) else { return Ok(None) };
            let mut tell = true;
            match report {
                SeatReport::Ringing if entry.state == MemberState::Returning => tell = false,
                SeatReport::Ringing => entry.state = MemberState::Ringing,
                SeatReport::Connected { stream, hears } => {
                    entry.state = MemberState::Connected;
                    entry.stream = Some(stream.clone());
                    entry.hears = Some(hears);
                    entry.connected_at = Some(Instant::now());
                    entry.fault = None;
                    room.mixer.add(&member.0, Some(stream), Some(hears));
                    room.apply_gain(member);
                    room.apply_side(member);
                }
                SeatReport::Person(who) => {
                    entry.name = if who.name.is_empty() { who.number.clone() } else { who.name };
                    entry.dial = Some(who.number);
                }
                SeatReport::Mode(mode) => {
                    room.mixer.set_mode(&member.0, mode);
                    tell = false;
                }
                SeatReport::Held(held) => {
                    entry.state = if held { MemberState::Held } else { MemberState::Connected };
                }
                SeatReport::Quality { loss_percent, jitter_ms } => {
                    tell =
                        (entry.loss_percent - loss_percent).abs() >= 0.5 || (entry.jitter_ms - jitter_ms).abs() >= 5.0;
                    entry.loss_percent = loss_percent;
                    entry.jitter_ms = jitter_ms;
                }
                SeatReport::Picture(state, fault) => {
                    if let Some(screen) = &mut entry.screen {
                        (screen.state, screen.fault) = (state, fault);
                    }
                }
                SeatReport::Floor(_) | SeatReport::Key(_) => tell = false,
                // Loudspeakers report to whoever ordered them.
                SeatReport::Left(_) | SeatReport::Failed(_) | SeatReport::OnAir(_) | SeatReport::Sounding { .. } => {}
            }
            Ok(tell.then(|| room.member_view(hub, &room.members[member])))
        });
        if let Ok(Some(view)) = told {
            self.tell_member(&id, &view);
        }
    }

    fn pin_refused(&self, caller: &str) -> bool {
        let mut wrong = self.0.wrong_pins.lock().unwrap_or_else(|p| p.into_inner());
        let Some(times) = wrong.get_mut(caller) else { return false };
        times.retain(|t| t.elapsed() < WRONG_PIN_MEMORY);
        times.len() >= self.0.limits.wrong_pins
    }

    fn note_wrong_pin(&self, caller: &str) {
        let mut wrong = self.0.wrong_pins.lock().unwrap_or_else(|p| p.into_inner());
        if wrong.len() > 10_000 {
            wrong.retain(|_, times| times.iter().any(|t| t.elapsed() < WRONG_PIN_MEMORY));
        }
        wrong.entry(caller.to_owned()).or_default().push(Instant::now());
    }

    fn enter_now(&self, number: &str, pin: Option<&str>, caller: &str, name: &str, link: Link) -> Result<Seat, Fault> {
        if self.pin_refused(caller) {
            return Err(Fault::new(
                "pin_locked",
                Whose::You,
                true,
                "密码错误次数过多，十分钟后再试",
                "Too many wrong PINs; try again in ten minutes",
            ));
        }
        let id = self.lock().iter().find(|(_, room)| room.row.number == number).map(|(id, _)| id.clone());
        let missing =
            || Fault::new("no_such_conference", Whose::You, false, "没有这个会议号", "There is no such conference");
        let id = id.ok_or_else(missing)?;
        let entered = self.with(&id, |room, hub| {
            // Where callers wait the lock is the lobby's door, which nobody passes by himself.
            if room.row.locked && room.row.lobby != LobbyMode::All {
                return Ok(Err(Fault::new(
                    "conference_locked",
                    Whose::You,
                    true,
                    "会议已锁定",
                    "The conference is locked",
                )));
            }
            if !room.row.pin.is_empty() && !same(pin.unwrap_or_default(), &room.row.pin) {
                return Ok(Err(Fault::new("wrong_pin", Whose::You, true, "会议密码错误", "The PIN is wrong")));
            }
            let known = !room.row.locked && room.was_let_in(caller) || room.expects(caller);
            if room.phone_waits(link, known) {
                return Ok(self.seat_in_lobby(room, name, caller, link).map(Entered::Waits));
            }
            let (member, seat) = self.phone_seat(room, name, link)?;
            room.take_place(&member, caller);
            let again = take_over(room, &member, caller);
            let view = Box::new(room.member_view(hub, &room.members[&member]));
            Ok(Ok(Entered::In(view, seat, again)))
        });
        match entered {
            Ok(Ok(Entered::Waits(seat))) => {
                self.phone_waits_now(&id, name);
                Ok(seat)
            }
            Ok(Ok(Entered::In(view, seat, again))) => {
                if let Some(old) = again {
                    self.forget(&id, &old, &Text::new("已重新拨入", "called in again"));
                }
                self.tell_member(&id, &view);
                Ok(seat)
            }
            Ok(Err(fault)) => {
                if fault.code == "wrong_pin" {
                    self.note_wrong_pin(caller);
                    self.0.events.notice(
                        Severity::Warning,
                        &format!("{name} 入会密码错误"),
                        &format!("{name} gave a wrong conference PIN"),
                        &id,
                    );
                }
                Err(fault)
            }
            Err(error) => {
                Err(Fault::new("conference_full", Whose::Us, true, "会议已满", format!("Cannot join: {error}")))
            }
        }
    }
}

/// Where a phone that called in came to.
enum Entered {
    In(Box<MemberView>, Seat, Option<MemberId>),
    Waits(Seat),
}

/// Compares without telling by time how much was right.
fn same(given: &str, right: &str) -> bool {
    given.len() == right.len() && given.bytes().zip(right.bytes()).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

impl Rooms for Conferences {
    fn exists(&self, number: &str) -> bool {
        self.lock().values().any(|r| r.row.number == number)
    }

    fn enter<'a>(
        &'a self,
        number: &'a str,
        pin: Option<&'a str>,
        caller: &'a str,
        name: &'a str,
        link: Link,
    ) -> BoxFuture<'a, Result<Seat, Fault>> {
        Box::pin(async move { self.enter_now(number, pin, caller, name, link) })
    }

    fn wants_pin(&self, number: &str) -> bool {
        self.lock().values().any(|r| r.row.number == number && !r.row.pin.is_empty())
    }
}
