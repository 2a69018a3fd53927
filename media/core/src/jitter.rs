//! The playout buffer for voice; order repair stands in [`crate::reorder`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use crate::rtp::SeqExtender;

pub use crate::reorder::{Ordered, Pushed, Reorder, ReorderStats};

/// A voice packet in the playout buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoicePacket {
    /// RTP timestamp, extended.
    pub timestamp: i64,
    /// Playing time in ticks of the clock.
    pub duration: u32,
    pub payload: Bytes,
    pub received: Instant,
}

/// What to play next. Each answer covers `duration`/`ticks` of playing time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pull {
    Packet(VoicePacket),
    /// Conceal this many ticks. `next` is the packet right behind the gap, whose in-band FEC (Opus) may fill it.
    Lost {
        ticks: u32,
        next: Option<Bytes>,
    },
    /// Nothing to play for 20 ms: not started, buffering or the talker is silent.
    Silence,
}

/// Counters of an [`AudioJitter`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AudioJitterStats {
    pub received: u64,
    /// Came after their time.
    pub late: u64,
    pub lost: u64,
    /// Times the buffer ran dry.
    pub underruns: u64,
    /// Packets dropped because the sender's clock is faster than ours.
    pub trimmed: u64,
    pub resets: u64,
    /// Present target, ms.
    pub target_ms: u32,
    /// Present depth, ms.
    pub depth_ms: u32,
}

/// Adaptive playout buffer. The caller keeps decoded samples and calls [`AudioJitter::pull`] while it has less than the
/// 20 ms of its tick, so packets of 10, 20, 40 or 60 ms all work. Target 20 to 200 ms from measured jitter; at most 2 s held.
#[derive(Debug)]
pub struct AudioJitter {
    rate: u32,
    min_ms: u32,
    max_ms: u32,
    packets: BTreeMap<i64, (u64, VoicePacket)>,
    seq: SeqExtender,
    last_ts: Option<i64>,
    origin: Option<(Instant, i64)>,
    transit: VecDeque<i64>,
    target_ms: u32,
    since_update: u32,
    filling: bool,
    play: i64,
    play_seq: Option<u64>,
    last_duration: u32,
    concealed: u32,
    low_water: u32,
    pulls: u32,
    stats: AudioJitterStats,
}

impl AudioJitter {
    /// `clock_rate` in ticks per second (8000 for G.711, 48000 for Opus).
    pub fn new(clock_rate: u32) -> Self {
        AudioJitter {
            rate: clock_rate.max(1000),
            min_ms: 20,
            max_ms: 200,
            packets: BTreeMap::new(),
            seq: SeqExtender::new(),
            last_ts: None,
            origin: None,
            transit: VecDeque::with_capacity(128),
            target_ms: 40,
            since_update: 0,
            filling: true,
            play: 0,
            play_seq: None,
            last_duration: 0,
            concealed: 0,
            low_water: u32::MAX,
            pulls: 0,
            stats: AudioJitterStats::default(),
        }
    }

    /// Bounds of the target in ms (radio and satellite legs want more than the default 20 to 200).
    pub fn with_limits(mut self, min_ms: u32, max_ms: u32) -> Self {
        self.min_ms = min_ms.max(1);
        self.max_ms = max_ms.clamp(self.min_ms, 1500);
        self.target_ms = self.target_ms.clamp(self.min_ms, self.max_ms);
        self
    }

    pub fn stats(&self) -> AudioJitterStats {
        AudioJitterStats { target_ms: self.target_ms, depth_ms: self.depth_ms(), ..self.stats }
    }

    fn ms(&self, ticks: i64) -> u32 {
        u32::try_from(ticks.max(0) * 1000 / i64::from(self.rate)).unwrap_or(u32::MAX)
    }

    fn ticks(&self, ms: u32) -> i64 {
        i64::from(ms) * i64::from(self.rate) / 1000
    }

    fn depth_ms(&self) -> u32 {
        let (Some((first, _)), Some((last, (_, p)))) = (self.packets.first_key_value(), self.packets.last_key_value())
        else {
            return 0;
        };
        let from = if self.filling { *first } else { self.play.min(*last) };
        self.ms(last + i64::from(p.duration) - from)
    }

    /// Forgets everything but the target; for a new SSRC.
    pub fn reset(&mut self) {
        self.packets.clear();
        self.seq.reset();
        self.last_ts = None;
        self.origin = None;
        self.transit.clear();
        self.filling = true;
        self.play_seq = None;
        self.concealed = 0;
        self.low_water = u32::MAX;
        self.stats.resets += 1;
    }

    /// One packet, in any order. `duration` in ticks (samples for G.711, the TOC for Opus).
    pub fn push(&mut self, sequence: u16, timestamp: u32, duration: u32, payload: Bytes, received: Instant) {
        if let Some(last) = self.last_ts
            && i64::from(timestamp.wrapping_sub(last as u32) as i32).abs() > 5 * i64::from(self.rate)
        {
            self.reset();
        }
        let ts = match self.last_ts {
            None => i64::from(timestamp) + (1 << 32),
            Some(last) => last + i64::from(timestamp.wrapping_sub(last as u32) as i32),
        };
        self.last_ts = Some(self.last_ts.map_or(ts, |l| l.max(ts)));
        let seq = self.seq.extend(sequence);
        self.stats.received += 1;
        self.measure(ts, received);
        if !self.filling && ts < self.play {
            self.stats.late += 1;
            return;
        }
        let duration = duration.clamp(1, self.rate);
        self.packets.entry(ts).or_insert((seq, VoicePacket { timestamp: ts, duration, payload, received }));
        while self.packets.len() > 200 || self.depth_ms() > 2000 {
            if self.packets.pop_first().is_none() {
                break;
            }
            self.stats.trimmed += 1;
            if let Some((ts, _)) = self.packets.first_key_value()
                && !self.filling
            {
                self.play = self.play.max(*ts);
                self.play_seq = None;
            }
        }
    }

    /// Keeps the last 128 transit times; the target covers 95 % of them above the fastest.
    fn measure(&mut self, ts: i64, received: Instant) {
        let (at, base) = *self.origin.get_or_insert((received, ts));
        let arrived = received.saturating_duration_since(at).as_millis() as i64;
        let transit = arrived - (ts - base) * 1000 / i64::from(self.rate);
        if self.transit.len() == 128 {
            self.transit.pop_front();
        }
        self.transit.push_back(transit);
        self.since_update += 1;
        if self.since_update >= 16 {
            self.since_update = 0;
            let mut v: Vec<i64> = self.transit.iter().copied().collect();
            v.sort_unstable();
            let spread = v[(v.len() - 1) * 95 / 100] - v[0];
            let want = u32::try_from(spread.clamp(0, 10_000)).unwrap_or(0) + 20;
            let want = want.clamp(self.min_ms, self.max_ms);
            // Up at once, down slowly.
            self.target_ms =
                if want > self.target_ms { want } else { self.target_ms - (self.target_ms - want).div_ceil(8) };
        }
    }

    /// What to play next.
    pub fn pull(&mut self, now: Instant) -> Pull {
        if self.filling {
            let ready = match self.packets.first_key_value() {
                None => false,
                Some((ts, (_, p))) => {
                    let waited = now.saturating_duration_since(p.received).as_millis() >= u128::from(self.target_ms);
                    let go = waited || self.depth_ms() >= self.target_ms;
                    if go {
                        self.play = *ts;
                    }
                    go
                }
            };
            if !ready {
                return Pull::Silence;
            }
            self.filling = false;
            self.play_seq = None;
            self.concealed = 0;
            self.low_water = u32::MAX;
            self.pulls = 0;
        }
        self.trim();
        while let Some((&ts, _)) = self.packets.first_key_value() {
            if ts >= self.play {
                break;
            }
            self.packets.pop_first();
            self.stats.late += 1;
        }
        let Some((&ts, (seq, p))) = self.packets.first_key_value() else { return self.dry() };
        let gap = ts - self.play;
        if gap > 0 {
            let follows = self.play_seq.is_none_or(|s| s + 1 == *seq);
            if gap < i64::from(self.rate) {
                let step = if follows { self.ticks(20) } else { i64::from(self.last_duration.max(1)) }.min(gap).max(1);
                let next = (step == gap).then(|| p.payload.clone());
                self.play += step;
                if follows {
                    return Pull::Silence;
                }
                self.stats.lost += 1;
                return Pull::Lost { ticks: step as u32, next };
            }
            self.play = ts;
        }
        let Some((_, (seq, packet))) = self.packets.pop_first() else { return Pull::Silence };
        self.play = ts + i64::from(packet.duration);
        self.play_seq = Some(seq);
        self.last_duration = packet.duration;
        self.concealed = 0;
        Pull::Packet(packet)
    }

    /// Nothing there: conceal up to 60 ms, then refill.
    fn dry(&mut self) -> Pull {
        let ticks = if self.last_duration == 0 { self.ticks(20) as u32 } else { self.last_duration };
        if self.play_seq.is_none() || self.ms(i64::from(self.concealed)) >= 60 {
            if !self.filling {
                self.stats.underruns += 1;
            }
            self.filling = true;
            return Pull::Silence;
        }
        self.concealed += ticks;
        // The play position stands still: what comes now is played late rather than thrown away, and `trim` takes the surplus out.
        Pull::Lost { ticks, next: None }
    }

    /// Once in 2 s: if the buffer was never near its target, the sender is faster; drop one packet.
    fn trim(&mut self) {
        self.low_water = self.low_water.min(self.depth_ms());
        self.pulls += 1;
        if self.pulls >= 100 {
            if self.low_water != u32::MAX && self.low_water > self.target_ms + 40 && self.packets.len() > 2 {
                if let Some((ts, (seq, p))) = self.packets.pop_first() {
                    self.play = ts + i64::from(p.duration);
                    self.play_seq = Some(seq);
                    self.stats.trimmed += 1;
                }
                // Go on fast while far too deep (after a burst).
                self.pulls = if self.low_water > self.target_ms + 200 { 95 } else { 50 };
            } else {
                self.pulls = 0;
            }
            self.low_water = u32::MAX;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use std::time::Duration;

    fn run(
        delays: impl Fn(u64) -> u64,
        lost: impl Fn(u64) -> bool,
        drift_ppm: i64,
        n: u64,
    ) -> (u64, u64, AudioJitterStats) {
        let t = Instant::now();
        let mut j = AudioJitter::new(8000);
        let mut arrivals: Vec<(u64, u64)> = (0..n)
            .filter(|i| !lost(*i))
            .map(|i| (((20_000 * i) as i64 - (20_000 * i) as i64 * drift_ppm / 1_000_000) as u64 + 1000 * delays(i), i))
            .collect();
        arrivals.sort_unstable();
        let mut a = arrivals.into_iter().peekable();
        let (mut packets, mut concealed) = (0, 0);
        for tick in 0..n {
            let now_us = 20_000 * tick;
            while a.peek().is_some_and(|(at, _)| *at <= now_us) {
                let (at, i) = a.next().unwrap();
                let at = t + Duration::from_micros(at);
                j.push(i as u16, (160 * i) as u32, 160, Bytes::from_static(&[0xD5; 160]), at);
            }
            match j.pull(t + Duration::from_micros(now_us)) {
                Pull::Packet(_) => packets += 1,
                Pull::Lost { .. } => concealed += 1,
                Pull::Silence => {}
            }
        }
        (packets, concealed, j.stats())
    }

    #[test]
    fn clean_voice_plays_whole() {
        let (p, c, s) = run(|_| 5, |_| false, 0, 1000);
        assert!(p >= 994 && c == 0, "{p} {c} {s:?}");
        assert!(s.target_ms <= 40);
    }

    #[test]
    fn jitter_raises_the_target() {
        let (p, _, s) = run(|i| (i * 7919) % 90, |_| false, 0, 2000);
        assert!(p > 1900 && s.target_ms >= 80 && s.target_ms <= 120, "{p} {s:?}");
    }

    #[test]
    fn loss_is_told() {
        let (p, c, s) = run(|_| 5, |i| i % 20 == 7, 0, 1000);
        assert!(p >= 940 && (45..=60).contains(&c), "{p} {c} {s:?}");
    }

    #[test]
    fn drift_is_trimmed() {
        // the sender is 0.1 % fast: 60 ms a minute
        let (_, _, s) = run(|_| 5, |_| false, 1000, 30_000);
        assert!(s.depth_ms < 140 && s.trimmed >= 20, "{s:?}");
    }
}
