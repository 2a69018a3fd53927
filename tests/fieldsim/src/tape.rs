//! The recordings of a camera: which spans it holds, and their pictures, always the same bytes for the same moment.
//!
//! The painted number is the recording's own time: `Unix milliseconds modulo 10^11, x fps / 1000`, so that a reader knows which
//! moment plays. Groups of pictures begin at whole multiples of their length on that line, each with an encoder of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::encoder::H264;
use crate::painter::Painter;
use crate::session::Channel;

/// A span held, in Unix milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub from: i64,
    pub to: i64,
    /// `time`, `alarm`, `manual`.
    pub kind: String,
}

impl Span {
    /// `START/SECONDS` or `START/SECONDS/KIND`; START in RFC 3339, or `-SECONDS` before the start of the program.
    pub fn parse(text: &str) -> Result<Span, String> {
        let wrong = || format!("recording {text} is not START/SECONDS[/KIND]");
        let mut parts = text.split('/');
        let start = parts.next().ok_or_else(wrong)?;
        let seconds: i64 = parts.next().and_then(|s| s.parse().ok()).filter(|s| *s > 0).ok_or_else(wrong)?;
        let kind = parts.next().unwrap_or("time").to_owned();
        let from = match start.strip_prefix('-') {
            Some(before) => {
                let before: i64 = before.parse().map_err(|_| wrong())?;
                jiff::Timestamp::now().as_second() - before
            }
            None => start.parse::<jiff::Timestamp>().map_err(|_| wrong())?.as_second(),
        };
        Ok(Span { from: from * 1000, to: (from + seconds) * 1000, kind })
    }
}

/// Number of the first frame at or after a moment.
pub fn frame_at(ms: i64, fps: u32) -> i64 {
    (ms * i64::from(fps)).div_euclid(1000) + i64::from((ms * i64::from(fps)).rem_euclid(1000) > 0)
}

pub fn time_of(frame: i64, fps: u32) -> i64 {
    frame * 1000 / i64::from(fps.max(1))
}

/// What is painted for a frame.
pub fn painted(frame: i64, fps: u32) -> u32 {
    (frame.rem_euclid(100_000_000 * i64::from(fps))) as u32
}

type Group = Arc<Vec<Vec<u8>>>;

/// Encoded groups that were played last.
fn cache() -> &'static Mutex<HashMap<(String, i64), Group>> {
    static CACHE: OnceLock<Mutex<HashMap<(String, i64), Group>>> = OnceLock::new();
    CACHE.get_or_init(Mutex::default)
}

/// The pictures of group `number` of a channel, the first one an IDR.
pub fn group(channel: &Channel, number: i64, length: u32) -> Result<Group, String> {
    let key = (channel.id.clone(), number);
    if let Some(found) = cache().lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(found.clone());
    }
    let (width, height) = channel.size;
    let mut painter = Painter::new(channel.scenery.clone(), width, height, channel.index, &channel.label);
    let mut encoder = H264::new(channel.fps as f32, length + 1, channel.bitrate)?;
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::Offset::constant(8));
    let mut pictures = Vec::new();
    for n in 0..i64::from(length) {
        let frame = number * i64::from(length) + n;
        let at = jiff::Timestamp::from_millisecond(time_of(frame, channel.fps)).unwrap_or_default();
        let clock = at.to_zoned(zone.clone()).strftime("%H:%M:%S%.3f").to_string();
        painter.paint(painted(frame, channel.fps), &clock, crate::dome::Dome::new().look(std::time::Instant::now()));
        let mut bits = Vec::new();
        encoder.encode(&painter.picture, n == 0, &mut bits)?;
        pictures.push(bits);
    }
    let group = Arc::new(pictures);
    let mut all = cache().lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= 600 {
        all.clear();
    }
    all.insert(key, group.clone());
    Ok(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_numbers() {
        let s = Span::parse("2026-11-22T08:00:00+08:00/90/alarm").unwrap();
        assert_eq!((s.to - s.from, s.kind.as_str(), s.from), (90_000, "alarm", 1_795_305_600_000));
        assert!(Span::parse("-3600/60").unwrap().from < jiff::Timestamp::now().as_millisecond() - 3_590_000);
        assert!(Span::parse("yesterday/60").is_err() && Span::parse("-60").is_err() && Span::parse("-60/0").is_err());
        assert_eq!(frame_at(1000, 25), 25);
        assert_eq!(frame_at(1001, 25), 26);
        assert_eq!(time_of(26, 25), 1040);
        assert_eq!(painted(1_795_305_600 * 25, 25), 95_305_600u32 * 25);
    }
}
