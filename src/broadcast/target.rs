//! One target of a broadcast: a machine without clock and I/O that decides when it is called, and what became of it.

use std::time::{Duration, Instant};

use media_hub::Fault;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::faults;

/// How far a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// For its turn, or for its next try.
    Waiting,
    Calling,
    Ringing,
    Speaking,
    /// All of it, as often as it was to be said.
    Said,
    /// Not to the end, or not from the beginning.
    Partly,
    NoAnswer,
    /// It could not be reached, or refused: the fault says why.
    Failed,
    /// An operator ended the broadcast before.
    Stopped,
    /// The gateway stopped before.
    Interrupted,
}

impl TargetState {
    pub fn over(self) -> bool {
        !matches!(self, TargetState::Waiting | TargetState::Calling | TargetState::Ringing | TargetState::Speaking)
    }
}

/// What holds for all targets of a broadcast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Time for an answer.
    pub answer: Duration,
    /// Further tries, and the pause before each.
    pub retries: u32,
    pub pause: Duration,
    /// How often it is said.
    pub rounds: u32,
    /// A voice that is heard by all at once, and ends when its operator ends it.
    pub live: bool,
}

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum Happened {
    Ringing,
    /// It hears from now on.
    OnAir,
    /// So much was played to it: 1.5 is once and a half.
    Played(f32),
    /// All was played.
    AllPlayed,
    Failed(Fault),
    /// The far end ended it.
    Left,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Nothing,
    HangUp,
}

#[derive(Debug, Clone)]
pub(crate) struct Target {
    rules: Rules,
    pub state: TargetState,
    pub tries: u32,
    /// How often it heard the text at most in one try: 1.5 is once and a half.
    pub heard: f32,
    /// Of the present try.
    pub position: f32,
    pub fault: Option<Fault>,
    /// The answer is late from then on, or the next try is due.
    due: Option<Instant>,
    /// It missed the first words of a live voice.
    late: bool,
    /// It heard something, in whatever try.
    touched: bool,
}

impl Target {
    pub fn new(rules: Rules) -> Target {
        Target {
            rules,
            state: TargetState::Waiting,
            tries: 0,
            heard: 0.0,
            position: 0.0,
            fault: None,
            due: None,
            late: false,
            touched: false,
        }
    }

    /// When [`Self::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.due.filter(|_| !self.state.over())
    }

    /// It waits, and may be called now.
    pub fn ready(&self, now: Instant) -> bool {
        self.state == TargetState::Waiting && self.due.is_none_or(|at| now >= at)
    }

    /// It is called from now on.
    pub fn call(&mut self, now: Instant) {
        if self.state == TargetState::Waiting {
            self.state = TargetState::Calling;
            self.tries += 1;
            self.position = 0.0;
            self.due = Some(now + self.rules.answer);
        }
    }

    /// `began`: the first words of a live voice were said already.
    pub fn on(&mut self, what: Happened, began: bool, now: Instant) -> Act {
        if self.state.over() || self.state == TargetState::Waiting {
            return Act::Nothing;
        }
        self.touched |= began && self.rules.live && self.state == TargetState::Speaking;
        match what {
            Happened::Ringing if self.state == TargetState::Calling => self.state = TargetState::Ringing,
            Happened::Ringing => {}
            Happened::OnAir => {
                self.state = TargetState::Speaking;
                (self.fault, self.due) = (None, None);
                self.late |= began;
            }
            Happened::Played(rounds) => {
                self.position = rounds;
                self.heard = self.heard.max(rounds);
                self.touched |= rounds > 0.0;
            }
            Happened::AllPlayed => {
                self.position = self.rules.rounds as f32;
                self.heard = self.position;
                self.end(TargetState::Said, None);
                return Act::HangUp;
            }
            Happened::Failed(fault) => self.missed(fault, now),
            Happened::Left if self.state == TargetState::Speaking => {
                self.end(TargetState::Partly, Some(faults::hung_up()))
            }
            Happened::Left => self.missed(faults::unanswered(self.rules.answer.as_secs()), now),
        }
        Act::Nothing
    }

    pub fn tick(&mut self, now: Instant) -> Act {
        let calls = matches!(self.state, TargetState::Calling | TargetState::Ringing);
        if calls && self.due.is_some_and(|at| now >= at) {
            self.missed(faults::unanswered(self.rules.answer.as_secs()), now);
            return Act::HangUp;
        }
        Act::Nothing
    }

    fn missed(&mut self, fault: Fault, now: Instant) {
        if fault.retry && self.tries <= self.rules.retries {
            self.state = TargetState::Waiting;
            self.due = Some(now + self.rules.pause);
            self.fault = Some(fault);
            return;
        }
        let state = match fault.code {
            _ if self.touched => TargetState::Partly,
            "no_answer" | "broadcast_no_answer" => TargetState::NoAnswer,
            _ => TargetState::Failed,
        };
        self.end(state, Some(fault));
    }

    fn end(&mut self, state: TargetState, fault: Option<Fault>) {
        (self.state, self.fault, self.due) = (state, fault, None);
    }

    /// An operator ends the broadcast. `began`: something was said of a live voice.
    pub fn stop(&mut self, began: bool) {
        if self.state.over() {
            return;
        }
        let speaks = self.state == TargetState::Speaking;
        let state = match speaks {
            true if self.rules.live && began && !self.late => TargetState::Said,
            true if self.rules.live && began => TargetState::Partly,
            // Whoever was reached before and is called again heard a part.
            _ if self.touched => TargetState::Partly,
            _ => TargetState::Stopped,
        };
        let late = (state == TargetState::Partly && self.late && speaks).then(faults::late);
        let fault = late.or(self.fault.take());
        self.end(state, fault.filter(|_| state != TargetState::Said));
    }

    /// The gateway stops.
    pub fn interrupt(&mut self) {
        if !self.state.over() {
            self.end(TargetState::Interrupted, Some(faults::interrupted()));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use media_hub::Whose;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn target(live: bool) -> (Target, Instant) {
        (Target::new(Rules { answer: 30 * S, retries: 1, pause: 10 * S, rounds: 2, live }), Instant::now())
    }

    fn fault(code: &'static str, retry: bool) -> Happened {
        Happened::Failed(Fault::new(code, Whose::Peer, retry, "", ""))
    }

    #[test]
    fn said_to_the_end() {
        let (mut t, now) = target(false);
        assert!(t.ready(now));
        t.call(now);
        assert_eq!(t.on(Happened::Ringing, false, now), Act::Nothing);
        assert_eq!(t.state, TargetState::Ringing);
        t.on(Happened::OnAir, false, now + 29 * S);
        assert_eq!(t.tick(now + 300 * S), Act::Nothing, "who has answered is not given up");
        t.on(Happened::Played(1.9), false, now);
        assert_eq!(t.on(Happened::AllPlayed, false, now), Act::HangUp);
        assert_eq!((t.state, t.tries, t.fault.is_some()), (TargetState::Said, 1, false));
        assert_eq!(t.heard, 2.0);
        assert_eq!(t.on(Happened::Left, false, now), Act::Nothing);
        assert_eq!(t.state, TargetState::Said, "the end of the call changes nothing");
    }

    #[test]
    fn busy_is_tried_again_after_the_pause_and_a_wrong_number_is_not() {
        let (mut t, now) = target(false);
        t.call(now);
        t.on(fault("busy", true), false, now);
        assert_eq!(t.state, TargetState::Waiting);
        assert!(!t.ready(now + 9 * S) && t.ready(now + 10 * S));
        assert_eq!(t.due(), Some(now + 10 * S));
        t.call(now + 10 * S);
        t.on(fault("busy", true), false, now + 11 * S);
        assert_eq!((t.state, t.tries, t.fault.unwrap().code), (TargetState::Failed, 2, "busy"));
        let (mut t, now) = target(false);
        t.call(now);
        t.on(fault("unknown_number", false), false, now);
        assert_eq!((t.state, t.tries), (TargetState::Failed, 1));
    }

    #[test]
    fn who_does_not_answer_is_hung_up_in_time_and_late_news_are_passed_over() {
        let (mut t, now) = target(false);
        t.call(now);
        assert_eq!(t.tick(now + 29 * S), Act::Nothing);
        assert_eq!(t.tick(now + 30 * S), Act::HangUp);
        assert_eq!(t.state, TargetState::Waiting);
        t.on(Happened::OnAir, false, now + 31 * S);
        t.on(fault("declined", false), false, now + 31 * S);
        assert_eq!(t.state, TargetState::Waiting, "of the call that was given up");
        t.call(now + 40 * S);
        t.tick(now + 70 * S);
        assert_eq!((t.state, t.tries), (TargetState::NoAnswer, 2));
    }

    #[test]
    fn a_part_is_no_whole() {
        let (mut t, now) = target(false);
        t.call(now);
        t.on(Happened::OnAir, false, now);
        t.on(Happened::Played(1.25), false, now);
        t.on(Happened::Left, false, now);
        assert_eq!((t.state, t.heard), (TargetState::Partly, 1.25));
        // The network broke it, and the second try did not get through.
        let (mut t, now) = target(false);
        t.call(now);
        t.on(Happened::OnAir, false, now);
        t.on(Happened::Played(0.5), false, now);
        t.on(fault("media_timeout", true), false, now);
        assert_eq!(t.state, TargetState::Waiting);
        t.call(now + 10 * S);
        assert_eq!(t.position, 0.0, "from its beginning");
        t.on(fault("busy", true), false, now);
        assert_eq!((t.state, t.heard, t.fault.unwrap().code), (TargetState::Partly, 0.5, "busy"));
    }

    #[test]
    fn stopped_by_an_operator_or_by_a_restart() {
        let states = |speak: bool| {
            let (mut t, now) = target(false);
            t.call(now);
            if speak {
                t.on(Happened::OnAir, false, now);
                t.on(Happened::Played(0.1), false, now);
            }
            let mut i = t.clone();
            t.stop(false);
            i.interrupt();
            (t.state, i.state)
        };
        assert_eq!(states(false), (TargetState::Stopped, TargetState::Interrupted));
        assert_eq!(states(true), (TargetState::Partly, TargetState::Interrupted));
    }

    #[test]
    fn a_live_voice_was_heard_by_who_was_there_from_its_first_word() {
        let end = |joined_late: bool, began: bool| {
            let (mut t, now) = target(true);
            t.call(now);
            t.on(Happened::OnAir, joined_late, now);
            t.stop(began);
            t.state
        };
        assert_eq!(end(false, true), TargetState::Said);
        assert_eq!(end(true, true), TargetState::Partly);
        assert_eq!(end(false, false), TargetState::Stopped, "nothing was said");
        // Dropped in the midst of it and back again.
        let (mut t, now) = target(true);
        t.call(now);
        t.on(Happened::OnAir, false, now);
        t.on(fault("media_timeout", true), true, now);
        let mut away = t.clone();
        away.stop(true);
        assert_eq!(away.state, TargetState::Partly);
        t.call(now + 10 * S);
        t.on(Happened::OnAir, true, now);
        t.stop(true);
        assert_eq!((t.state, t.fault.unwrap().code), (TargetState::Partly, "broadcast_joined_late"));
    }
}
