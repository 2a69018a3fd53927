//! Plans: when a stream is recorded by itself. Pure functions of the time.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use crate::types::RecorderError;

/// A span of the day on some days of the week, local time. `to` at or before `from` means: on the next day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// 1 is Monday, 7 is Sunday: the days on which the span begins.
    pub days: Vec<u8>,
    /// `HH:MM`.
    pub from: String,
    /// `HH:MM`; `24:00` is the end of the day.
    pub to: String,
}

/// A standing order to record a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Empty for a new plan.
    #[serde(default)]
    pub id: String,
    pub stream: String,
    #[serde(default)]
    pub name: String,
    pub enabled: bool,
    /// Day and night; the windows count for nothing.
    #[serde(default)]
    pub always: bool,
    #[serde(default)]
    pub windows: Vec<Window>,
    /// Days after which its recordings go; 0: never.
    #[serde(default)]
    pub keep_days: u32,
}

/// Minutes of the day of `HH:MM`, 0 to 1440.
fn minutes(text: &str) -> Option<u32> {
    let (h, m) = text.split_once(':')?;
    let digits =
        |s: &str| (s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse::<u32>().ok()).flatten();
    let (h, m) = (digits(h)?, digits(m)?);
    (m < 60 && (h < 24 || (h == 24 && m == 0))).then_some(h * 60 + m)
}

impl Plan {
    /// Whether the plan can be carried out at all.
    pub fn validate(&self) -> Result<(), RecorderError> {
        let bad = |why: &str| Err(RecorderError::Invalid(why.to_owned()));
        if self.stream.is_empty() || self.stream.len() > 300 {
            return bad("a plan needs a stream");
        }
        if self.windows.len() > 100 {
            return bad("a plan has at most 100 windows");
        }
        if self.name.chars().count() > 200 || self.id.len() > 100 {
            return bad("the name of the plan is too long");
        }
        for w in &self.windows {
            if w.days.is_empty() || w.days.len() > 7 || w.days.iter().any(|d| !(1..=7).contains(d)) {
                return bad("days are 1 (Monday) to 7 (Sunday)");
            }
            if minutes(&w.from).is_none_or(|m| m >= 1440) || minutes(&w.to).is_none() {
                return bad("times are HH:MM");
            }
        }
        Ok(())
    }

    /// Whether the plan records at `now`, and when that changes next.
    ///
    /// On the day on which clocks go forward a span inside the missing hour is kept an hour later; on the day on which they go
    /// back a span inside the doubled hour covers both.
    pub fn at(&self, now: Timestamp, zone: &TimeZone) -> (bool, Option<Timestamp>) {
        if !self.enabled {
            return (false, None);
        }
        if self.always {
            return (true, None);
        }
        let spans = self.spans(now, zone);
        let active = |t: Timestamp| spans.iter().any(|(from, to)| *from <= t && t < *to);
        let is = active(now);
        let mut edges: Vec<Timestamp> = spans.iter().flat_map(|(a, b)| [*a, *b]).filter(|t| *t > now).collect();
        edges.sort_unstable();
        let next = edges.into_iter().find(|t| active(*t) != is);
        (is, next)
    }

    /// All spans that begin from two days before `now` to nine days after.
    fn spans(&self, now: Timestamp, zone: &TimeZone) -> Vec<(Timestamp, Timestamp)> {
        let today = now.to_zoned(zone.clone()).date();
        let mut spans = Vec::new();
        for day in -2i64..=9 {
            let Ok(date) = today.checked_add(day.days()) else { continue };
            let weekday = date.weekday().to_monday_one_offset() as u8;
            for w in self.windows.iter().filter(|w| w.days.contains(&weekday)) {
                let (Some(from), Some(to)) = (minutes(&w.from), minutes(&w.to)) else { continue };
                let to = if to <= from { to + 1440 } else { to };
                if let (Some(a), Some(b)) = (instant(date, from, zone, false), instant(date, to, zone, true))
                    && a < b
                {
                    spans.push((a, b));
                }
            }
        }
        spans
    }
}

/// Instant of a minute of the day; in a doubled hour the first or the last of both.
fn instant(date: Date, minute: u32, zone: &TimeZone, last: bool) -> Option<Timestamp> {
    let date = date.checked_add(i64::from(minute / 1440).days()).ok()?;
    let time = Time::new((minute % 1440 / 60) as i8, (minute % 60) as i8, 0, 0).ok()?;
    let ambiguous = zone.to_ambiguous_timestamp(date.to_datetime(time));
    if last && ambiguous.is_ambiguous() && matches!(ambiguous.offset(), jiff::tz::AmbiguousOffset::Fold { .. }) {
        ambiguous.later().ok()
    } else {
        ambiguous.compatible().ok()
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
