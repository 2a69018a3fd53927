//! When a conference is due: pure, driven by the clock that it is given.

use jiff::Span;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
/// A start that comes later than this is told as late, milliseconds.
const LATE_MS: i64 = 60_000;

/// How often it comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Repeat {
    None,
    Daily,
    Weekly,
}

impl Repeat {
    fn days(self) -> Option<i64> {
        match self {
            Repeat::None => None,
            Repeat::Daily => Some(1),
            Repeat::Weekly => Some(7),
        }
    }
}

/// A time as people write it down: on the clock of the hall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    pub at: DateTime,
    pub repeat: Repeat,
    pub minutes: u32,
    pub open_before: u32,
}

/// One that was opened. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub start: i64,
    pub called: bool,
    pub conference: String,
}

/// What was done already; kept over restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The start of the last one that was opened or missed: nothing at or before it comes again, whatever the clock says.
    pub done: Option<i64>,
    pub running: Option<Running>,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Make the conference and remind people.
    Open { start: i64, late: bool },
    /// Call the members.
    Call,
    /// Its time is over.
    End,
    /// This many were missed, this one last.
    Missed { last: i64, count: u32 },
}

impl Times {
    fn length(&self) -> i64 {
        i64::from(self.minutes) * MINUTE_MS
    }

    /// The start of occurrence `n`. A time that a change of the clock skips comes as much later as the clock was put forward.
    fn start(&self, n: i64, zone: &TimeZone) -> Option<i64> {
        let days = match self.repeat.days() {
            None if n > 0 => return None,
            days => days.unwrap_or(0).checked_mul(n)?,
        };
        let span: Span = Span::new().try_days(days).ok()?;
        let at = self.at.checked_add(span).ok()?;
        Some(zone.to_ambiguous_zoned(at).compatible().ok()?.timestamp().as_millisecond())
    }

    /// The first start after `t`, and which it is.
    fn after(&self, t: i64, zone: &TimeZone) -> Option<(i64, i64)> {
        let first = self.start(0, zone)?;
        let guess = match self.repeat.days() {
            Some(days) if t > first => (t - first) / (days * DAY_MS) - 1,
            _ => 0,
        };
        // A day may have 23 or 25 hours: the guess is at most one off.
        (guess.max(0)..guess.max(0) + 5).find_map(|n| self.start(n, zone).filter(|s| *s > t).map(|s| (n, s)))
    }

    /// The next start for people to see.
    pub fn next(&self, state: &State, now: i64, zone: &TimeZone) -> Option<i64> {
        let from = state.done.unwrap_or(i64::MIN).max(now - self.length());
        self.after(from, zone).map(|(_, start)| start)
    }

    /// What is due at `now`, milliseconds since 1970. To be asked again until it is nothing.
    pub fn due(&self, state: &State, now: i64, zone: &TimeZone) -> Option<Due> {
        if let Some(running) = &state.running {
            let end = running.start + self.length();
            return match running.called {
                _ if now >= end => Some(Due::End),
                false if now >= running.start => Some(Due::Call),
                _ => None,
            };
        }
        let (n, start) = self.after(state.done.unwrap_or(i64::MIN), zone)?;
        if now >= start + self.length() {
            // Of many that were missed only the last is told by its time.
            let last = self.after(now - self.length(), zone).map_or(n, |(next, _)| (next - 1).max(n));
            let last = if self.repeat == Repeat::None { n } else { last };
            let count = u32::try_from(last - n + 1).unwrap_or(u32::MAX);
            return Some(Due::Missed { last: self.start(last, zone)?, count });
        }
        let open_at = start - i64::from(self.open_before) * MINUTE_MS;
        (now >= open_at).then_some(Due::Open { start, late: now > start + LATE_MS })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shanghai() -> TimeZone {
        TimeZone::get("Asia/Shanghai").unwrap()
    }

    fn ms(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    fn times(at: &str, repeat: Repeat) -> Times {
        Times { at: at.parse().unwrap(), repeat, minutes: 60, open_before: 10 }
    }

    fn running(start: i64, called: bool) -> State {
        State { done: Some(start), running: Some(Running { start, called, conference: "c".into() }) }
    }

    #[test]
    fn it_opens_before_calls_at_its_time_and_ends() {
        let t = times("2026-07-01T08:30", Repeat::None);
        let start = ms("2026-07-01T00:30:00Z");
        let none = State::default();
        let zone = shanghai();
        assert_eq!(t.due(&none, start - 600_001, &zone), None);
        assert_eq!(t.due(&none, start - 600_000, &zone), Some(Due::Open { start, late: false }));
        assert_eq!(t.due(&running(start, false), start - 1, &zone), None);
        assert_eq!(t.due(&running(start, false), start, &zone), Some(Due::Call));
        assert_eq!(t.due(&running(start, true), start + 3_599_999, &zone), None);
        assert_eq!(t.due(&running(start, true), start + 3_600_000, &zone), Some(Due::End));
        assert_eq!(t.due(&State { done: Some(start), running: None }, start + 9_000_000, &zone), None, "once only");
        assert_eq!(t.next(&none, start - 1, &zone), Some(start));
    }

    #[test]
    fn while_the_gateway_was_down_it_is_late_or_missed() {
        let t = times("2026-07-01T08:30", Repeat::None);
        let (start, zone) = (ms("2026-07-01T00:30:00Z"), shanghai());
        let none = State::default();
        assert_eq!(t.due(&none, start + 3_599_999, &zone), Some(Due::Open { start, late: true }));
        assert_eq!(t.due(&none, start + 3_600_000, &zone), Some(Due::Missed { last: start, count: 1 }));
        let daily = times("2026-07-01T08:30", Repeat::Daily);
        let state = State { done: Some(start), running: None };
        // Down for a week: six were missed, the seventh is late.
        let now = ms("2026-07-08T00:45:00Z");
        let last = ms("2026-07-07T00:30:00Z");
        assert_eq!(daily.due(&state, now, &zone), Some(Due::Missed { last, count: 6 }));
        let state = State { done: Some(last), running: None };
        assert_eq!(daily.due(&state, now, &zone), Some(Due::Open { start: ms("2026-07-08T00:30:00Z"), late: true }));
    }

    #[test]
    fn over_midnight_and_by_the_day_of_the_hall() {
        let t = times("2026-12-31T00:05", Repeat::Daily);
        let zone = shanghai();
        let (first, second) = (ms("2026-12-30T16:05:00Z"), ms("2026-12-31T16:05:00Z"));
        // It opens the day before, on the hall's clock.
        assert_eq!(
            t.due(&State::default(), ms("2026-12-30T15:55:00Z"), &zone),
            Some(Due::Open { start: first, late: false })
        );
        let done = State { done: Some(first), running: None };
        assert_eq!(t.due(&done, second - 600_001, &zone), None);
        assert_eq!(t.due(&done, second - 600_000, &zone), Some(Due::Open { start: second, late: false }));
        let weekly = times("2026-12-31T00:05", Repeat::Weekly);
        assert_eq!(weekly.next(&done, second, &zone), Some(first + 7 * DAY_MS));
    }

    #[test]
    fn a_clock_set_back_repeats_nothing() {
        let t = times("2026-07-01T08:30", Repeat::Daily);
        let (start, zone) = (ms("2026-07-01T00:30:00Z"), shanghai());
        let done = State { done: Some(start), running: None };
        for back in [1, 3_600_000, 30 * DAY_MS] {
            assert_eq!(t.due(&done, start - back, &zone), None, "{back} ms back");
            assert_eq!(t.due(&running(start, true), start - back, &zone), None, "nobody is called twice");
        }
        assert_eq!(t.due(&done, start + DAY_MS, &zone), Some(Due::Open { start: start + DAY_MS, late: false }));
    }

    #[test]
    fn it_keeps_its_time_when_the_clocks_change() {
        // Berlin, 2026-03-29: 02:00 becomes 03:00; 2026-10-25: 03:00 becomes 02:00.
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let t = times("2026-03-28T08:30", Repeat::Daily);
        let (before, behind) = (ms("2026-03-28T07:30:00Z"), ms("2026-03-29T06:30:00Z"));
        assert_eq!(t.next(&State { done: Some(before), running: None }, before, &zone), Some(behind));
        let skipped = times("2026-03-29T02:30", Repeat::None);
        assert_eq!(skipped.next(&State::default(), before, &zone), Some(ms("2026-03-29T01:30:00Z")));
        let autumn = times("2026-10-24T08:30", Repeat::Daily);
        let (before, behind) = (ms("2026-10-24T06:30:00Z"), ms("2026-10-25T07:30:00Z"));
        assert_eq!(autumn.next(&State { done: Some(before), running: None }, before, &zone), Some(behind));
    }
}
