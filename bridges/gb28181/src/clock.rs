//! How far a device's clock is off (GB/T 28181-2022 clause 9.10; reference section 4.1). No I/O and no clock.
//!
//! A device is told our time with the answer to its registration. What it made of it shows in `DeviceTime` of DeviceStatus and
//! in the `Date` of its own messages, where it sends one.

use serde::{Deserialize, Serialize};

/// Longest text that is looked at.
const MAX_TEXT: usize = 40;
/// A change in seconds that is worth a write.
const WORTH: i64 = 2;

/// What was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Device minus us, in seconds.
    pub offset_s: i64,
    /// When it was read, in milliseconds since 1970.
    pub read_at: i64,
    /// The operators were told that it is wrong.
    pub told: bool,
}

/// What the operators should hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Wrong,
    RightAgain,
}

impl Clock {
    /// Takes in a further reading. `most`: seconds that it may be off, 0 for any. Gives the new state, whether it is worth a
    /// write, and what is to be told.
    pub fn read(old: Option<Clock>, offset_s: i64, now: i64, most: u32) -> (Clock, bool, Option<Word>) {
        let (off, most) = (offset_s.unsigned_abs(), u64::from(most));
        let told = old.is_some_and(|c| c.told);
        let word = match told {
            _ if most == 0 => None,
            false if off > most => Some(Word::Wrong),
            // Half of it: one that stands at the border is not told of again and again.
            true if off * 2 <= most => Some(Word::RightAgain),
            _ => None,
        };
        let now_told = match word {
            Some(Word::Wrong) => true,
            Some(Word::RightAgain) => false,
            None => told && most > 0,
        };
        let new = Clock { offset_s, read_at: now, told: now_told };
        let moved = old.is_none_or(|c| c.told != now_told || c.offset_s.abs_diff(offset_s) >= WORTH.unsigned_abs());
        (new, moved, word)
    }
}

/// A device's time in milliseconds since 1970: the standard's form (Beijing time without zone), the same with a zone, and that
/// of RFC 3261 (`Sat, 13 Nov 2010 23:29:00 GMT`). Where it tells whole seconds, the middle of that second.
pub fn read(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_TEXT || !text.is_ascii() {
        return None;
    }
    let zoned = text.parse::<jiff::Timestamp>().ok();
    let mail = || jiff::fmt::rfc2822::parse(text).ok().map(|z| z.timestamp());
    let plain = || text.parse::<jiff::civil::DateTime>().ok();
    let beijing = || jiff::tz::Offset::constant(8).to_timestamp(plain()?).ok();
    let at = zoned.or_else(beijing).or_else(mail)?.as_millisecond();
    Some(if text.contains('.') { at } else { at.saturating_add(500) })
}

/// The offset in whole seconds of a time that was read at `now` (milliseconds since 1970).
pub fn offset_s(device: i64, now: i64) -> i64 {
    // Nearest: -0.6 s is -1.
    device.saturating_sub(now).saturating_add(500).div_euclid(1000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn times_as_devices_write_them() {
        let want = "2026-03-01T00:30:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let whole = [
            "2026-03-01T08:30:00",
            " 2026-03-01 08:30:00 ",
            "2026-03-01T00:30:00Z",
            "2026-03-01T08:30:00+08:00",
            "Sun, 01 Mar 2026 00:30:00 GMT",
            "Sun, 1 Mar 2026 08:30:00 +0800",
        ];
        for text in whole {
            assert_eq!(read(text), Some(want + 500), "{text}");
        }
        assert_eq!(read("2026-03-01T08:30:00.250"), Some(want + 250));
        let long = "2".repeat(41);
        for text in ["", "yesterday", "2026-13-01T08:30:00", "2026-03-01T08:30:00.250北京", &long] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read("1970-01-01T08:00:00.000"), Some(0), "a clock that was never set");
    }

    #[test]
    fn damaged_times_are_read_or_not_and_nothing_else() {
        let texts = ["2026-03-01T08:30:00.250", "2026-03-01T08:30:00+08:00", "Sun, 1 Mar 2026 08:30:00 +0800"];
        let mut seed = 7u64;
        let mut random = move |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        let mut good = 0;
        for n in 0..30_000 {
            let mut bytes = texts[n % texts.len()].as_bytes().to_vec();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                bytes[at] = random(256) as u8;
            }
            bytes.truncate(bytes.len() - random(4).min(bytes.len() - 1));
            if let Some(at) = read(&String::from_utf8_lossy(&bytes)) {
                good += 1;
                let _ = (offset_s(at, i64::MAX), offset_s(at, i64::MIN));
            }
        }
        assert!((100..20_000).contains(&good), "{good} of 30000 could be read");
    }

    #[test]
    fn offsets_are_whole_seconds() {
        assert_eq!([offset_s(10_400, 10_000), offset_s(10_600, 10_000)], [0, 1]);
        assert_eq!([offset_s(9_600, 10_000), offset_s(9_400, 10_000)], [0, -1]);
        assert_eq!(offset_s(i64::MIN, i64::MAX), i64::MIN / 1000 - 1 + i64::from(i64::MIN % 1000 + 1500 >= 1000));
    }

    #[test]
    fn it_is_told_once_until_it_is_right_again() {
        let mut clock = None;
        let mut words = Vec::new();
        for (n, offset) in [3, 11, 300, 9, 11, 5, 2, -40].into_iter().enumerate() {
            let (new, _, word) = Clock::read(clock, offset, n as i64, 10);
            words.extend(word.map(|w| (offset, w)));
            clock = Some(new);
        }
        assert_eq!(words, [(11, Word::Wrong), (5, Word::RightAgain), (-40, Word::Wrong)]);
        let (off, written, word) = Clock::read(clock, -41, 9, 0);
        assert_eq!((off.told, written, word), (false, true, None), "0: nobody is told");
        let (_, written, _) = Clock::read(Some(off), -42, 10, 0);
        assert!(!written, "a second more is no news");
    }
}
