//! Keys: telephone events in RTP (RFC 4733) and the two SIP INFO bodies.

use std::time::{Duration, Instant};

use crate::error::ParseError;

/// One telephone event payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// 0 to 9, 10 `*`, 11 `#`, 12 to 15 A to D, 16 flash.
    pub event: u8,
    pub end: bool,
    /// dBm0, negative sign dropped, 0 to 63.
    pub volume: u8,
    /// Ticks of the RTP clock since the start of the event.
    pub duration: u16,
}

impl TelephoneEvent {
    pub fn parse(p: &[u8]) -> Result<Self, ParseError> {
        match p {
            [event, flags, d0, d1, ..] => Ok(TelephoneEvent {
                event: *event,
                end: flags & 0x80 != 0,
                volume: flags & 0x3F,
                duration: u16::from_be_bytes([*d0, *d1]),
            }),
            _ => Err(ParseError::new("telephone event shorter than 4 bytes", p.len())),
        }
    }

    pub fn to_bytes(self) -> [u8; 4] {
        let d = self.duration.to_be_bytes();
        [self.event, (u8::from(self.end) << 7) | (self.volume & 0x3F), d[0], d[1]]
    }
}

/// The key of an event number; `!` for flash.
pub fn key_of(event: u8) -> Option<char> {
    Some(match event {
        0..=9 => char::from(b'0' + event),
        10 => '*',
        11 => '#',
        12..=15 => char::from(b'A' + event - 12),
        16 => '!',
        _ => return None,
    })
}

/// The event number of a key.
pub fn event_of(key: char) -> Option<u8> {
    Some(match key.to_ascii_uppercase() {
        c @ '0'..='9' => c as u8 - b'0',
        '*' => 10,
        '#' => 11,
        c @ 'A'..='D' => c as u8 - b'A' + 12,
        '!' => 16,
        _ => return None,
    })
}

/// What a [`DtmfReceiver`] tells, once each per key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Pressed(char),
    Released { key: char, held: Duration },
}

/// Receives telephone events of one RTP stream. Repeats are told apart by timestamp; a key whose end packets are lost is
/// released after 250 ms of silence or by the next key.
#[derive(Debug)]
pub struct DtmfReceiver {
    clock: u32,
    open: Option<Open>,
    /// Timestamp of the last event that ended.
    ended: Option<u32>,
    out: std::collections::VecDeque<Key>,
    errors: u64,
}

#[derive(Debug)]
struct Open {
    key: char,
    /// Start of this segment.
    timestamp: u32,
    /// Ticks of segments before (events over 65535 ticks are split).
    before: u32,
    duration: u32,
    last: Instant,
}

impl DtmfReceiver {
    /// `clock_rate` of the telephone-event payload type.
    pub fn new(clock_rate: u32) -> Self {
        DtmfReceiver { clock: clock_rate.max(1), open: None, ended: None, out: Default::default(), errors: 0 }
    }

    /// Payloads that could not be read.
    pub fn errors(&self) -> u64 {
        self.errors
    }

    pub fn push(&mut self, payload: &[u8], timestamp: u32, now: Instant) {
        let Some((e, key)) = TelephoneEvent::parse(payload).ok().and_then(|e| Some((e, key_of(e.event)?))) else {
            self.errors += 1;
            return;
        };
        if self.ended == Some(timestamp) {
            return;
        }
        match &mut self.open {
            Some(o) if o.timestamp == timestamp => {
                o.duration = o.duration.max(u32::from(e.duration));
                o.last = now;
            }
            // A late packet of an earlier event.
            Some(o) if (timestamp.wrapping_sub(o.timestamp) as i32) < 0 => return,
            // The next segment of a very long event.
            Some(o) if o.key == key && o.duration >= 0xF000 && timestamp == o.timestamp.wrapping_add(0xFFFF) => {
                o.before = o.before.saturating_add(0xFFFF);
                o.timestamp = timestamp;
                o.duration = u32::from(e.duration);
                o.last = now;
            }
            _ => {
                if self.ended.is_some_and(|t| (timestamp.wrapping_sub(t) as i32) < 0) {
                    return;
                }
                self.release();
                self.open = Some(Open { key, timestamp, before: 0, duration: u32::from(e.duration), last: now });
                self.say(Key::Pressed(key));
            }
        }
        if e.end {
            self.release();
        }
    }

    /// Releases a key that fell silent.
    pub fn tick(&mut self, now: Instant) {
        if self.next_timeout().is_some_and(|t| t <= now) {
            self.release();
        }
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.open.as_ref().and_then(|o| o.last.checked_add(Duration::from_millis(250)))
    }

    pub fn poll(&mut self) -> Option<Key> {
        self.out.pop_front()
    }

    fn release(&mut self) {
        if let Some(o) = self.open.take() {
            self.ended = Some(o.timestamp);
            let ticks = u64::from(o.before.saturating_add(o.duration));
            self.say(Key::Released {
                key: o.key,
                held: Duration::from_micros(ticks * 1_000_000 / u64::from(self.clock)),
            });
        }
    }

    fn say(&mut self, k: Key) {
        if self.out.len() < 64 {
            self.out.push_back(k);
        }
    }
}

/// One packet of a key to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DtmfPacket {
    /// When to send it, counted from the start of the key.
    pub at: Duration,
    pub marker: bool,
    pub timestamp: u32,
    pub payload: [u8; 4],
}

/// The packets of one key: one each 20 ms with growing duration, the last three times with the end bit (spaced 20 ms).
/// `held` is cut to 40 ms .. 60 s. None for a character that is no key.
pub fn send_sequence(key: char, timestamp: u32, clock_rate: u32, held: Duration) -> Option<Vec<DtmfPacket>> {
    let event = event_of(key)?;
    let step = Duration::from_millis(20);
    let held = held.clamp(Duration::from_millis(40), Duration::from_secs(60));
    let steps = u32::try_from(held.as_millis().div_ceil(20)).ok()?;
    let per = clock_rate / 50;
    let mut out = Vec::with_capacity(steps as usize + 3);
    let mut start = timestamp;
    for i in 1..=steps {
        let mut ticks = timestamp.wrapping_add(per * i).wrapping_sub(start);
        if ticks > 0xFFFF {
            start = start.wrapping_add(0xFFFF);
            ticks -= 0xFFFF;
        }
        let last = i == steps;
        let e = TelephoneEvent { event, end: last, volume: 10, duration: ticks as u16 };
        for repeat in 0..if last { 3 } else { 1 } {
            out.push(DtmfPacket {
                at: step * (i - 1 + repeat),
                marker: i == 1,
                timestamp: start,
                payload: e.to_bytes(),
            });
        }
    }
    Some(out)
}

/// Reads a SIP INFO body: `application/dtmf-relay` (`Signal=5`, `Duration=160` in ms) or `application/dtmf` (`5`).
pub fn parse_info(content_type: &str, body: &[u8]) -> Option<(char, Duration)> {
    let kind = content_type.split(';').next()?.trim().to_ascii_lowercase();
    let text = std::str::from_utf8(body.get(..body.len().min(1024))?).ok()?;
    let default = Duration::from_millis(160);
    let one = |s: &str| {
        let s = s.trim();
        // Some units write 10 and 11 for * and #.
        let c = match s {
            "10" => '*',
            "11" => '#',
            "16" => '!',
            _ if s.chars().count() == 1 => s.chars().next()?.to_ascii_uppercase(),
            _ => return None,
        };
        event_of(c).map(|_| c)
    };
    match kind.as_str() {
        "application/dtmf" => Some((one(text)?, default)),
        "application/dtmf-relay" => {
            let mut key = None;
            let mut held = default;
            for line in text.lines().take(16) {
                let Some((name, value)) = line.split_once('=') else { continue };
                match name.trim().to_ascii_lowercase().as_str() {
                    "signal" => key = one(value),
                    "duration" => {
                        if let Ok(ms) = value.trim().parse::<u64>() {
                            held = Duration::from_millis(ms.clamp(1, 60_000));
                        }
                    }
                    _ => {}
                }
            }
            key.map(|k| (k, held))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn keys(r: &mut DtmfReceiver) -> Vec<Key> {
        std::iter::from_fn(|| r.poll()).collect()
    }

    #[test]
    fn sent_keys_are_received_once() {
        let t = Instant::now();
        let mut r = DtmfReceiver::new(8000);
        let mut sent = send_sequence('5', 1000, 8000, Duration::from_millis(100)).unwrap();
        assert_eq!(sent.len(), 7);
        assert!(sent[0].marker && !sent[1].marker);
        sent.extend(send_sequence('#', 9000, 8000, Duration::from_millis(60)).unwrap());
        for p in &sent {
            r.push(&p.payload, p.timestamp, t);
        }
        let held = |key, ms| Key::Released { key, held: Duration::from_millis(ms) };
        assert_eq!(keys(&mut r), vec![Key::Pressed('5'), held('5', 100), Key::Pressed('#'), held('#', 60)]);
    }

    #[test]
    fn lost_end_and_long_key() {
        let t = Instant::now();
        let mut r = DtmfReceiver::new(8000);
        let p = send_sequence('A', 5, 8000, Duration::from_millis(200)).unwrap();
        r.push(&p[2].payload, p[2].timestamp, t);
        r.tick(t + Duration::from_millis(249));
        assert_eq!(keys(&mut r), vec![Key::Pressed('A')]);
        r.tick(t + Duration::from_millis(250));
        assert_eq!(keys(&mut r), vec![Key::Released { key: 'A', held: Duration::from_millis(60) }]);
        for p in send_sequence('1', 100_000, 8000, Duration::from_secs(10)).unwrap() {
            r.push(&p.payload, p.timestamp, t);
        }
        assert_eq!(keys(&mut r), vec![Key::Pressed('1'), Key::Released { key: '1', held: Duration::from_secs(10) }]);
    }

    #[test]
    fn info_bodies() {
        let ms = Duration::from_millis;
        assert_eq!(parse_info("application/dtmf-relay", b"Signal=5\r\nDuration=250\r\n"), Some(('5', ms(250))));
        assert_eq!(parse_info("Application/DTMF; x=y", b"#\r\n"), Some(('#', ms(160))));
        assert_eq!(parse_info("application/dtmf", b"11"), Some(('#', ms(160))));
        assert_eq!(parse_info("application/dtmf", b"zz"), None);
        assert_eq!(parse_info("text/plain", b"5"), None);
    }
}
