//! NTP time and the mapping of a media clock to the sender's wall clock by RTCP sender reports (RFC 3550 6.4.1).

use std::time::Duration;

/// Seconds from 1900 (NTP) to 1970 (Unix).
pub const NTP_UNIX_OFFSET: u64 = 2_208_988_800;

/// 64-bit NTP time (32.32 fixed point) of a Unix time.
pub fn ntp_from_unix(since_1970: Duration) -> u64 {
    let secs = since_1970.as_secs().wrapping_add(NTP_UNIX_OFFSET) & 0xFFFF_FFFF;
    let frac = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
    (secs << 32) | frac
}

/// Unix time of a 64-bit NTP time. Times before 1970 are taken as the next NTP era (from 2036).
pub fn unix_from_ntp(ntp: u64) -> Duration {
    let secs = ntp >> 32;
    let secs = if secs >= NTP_UNIX_OFFSET { secs - NTP_UNIX_OFFSET } else { secs + (1 << 32) - NTP_UNIX_OFFSET };
    let nanos = ((ntp & 0xFFFF_FFFF) * 1_000_000_000) >> 32;
    Duration::new(secs, nanos as u32)
}

/// The middle 32 bits, as report blocks carry them (LSR).
pub fn ntp_middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// Converts ticks between clock rates, rounding to nearest.
pub fn rescale(ticks: i64, from_rate: u32, to_rate: u32) -> i64 {
    if from_rate == to_rate || from_rate == 0 {
        return ticks;
    }
    let n = i128::from(ticks) * i128::from(to_rate);
    let d = i128::from(from_rate);
    let half = if n >= 0 { d / 2 } else { -d / 2 };
    i64::try_from((n + half) / d).unwrap_or(if n > 0 { i64::MAX } else { i64::MIN })
}

/// Ticks of `rate` in a duration.
pub fn ticks(d: Duration, rate: u32) -> i64 {
    i64::try_from(d.as_nanos() * u128::from(rate) / 1_000_000_000).unwrap_or(i64::MAX)
}

/// Ties a track's media clock to the sender's wall clock: the last sender report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaClock {
    /// Ticks per second.
    pub rate: u32,
    /// Sender's wall clock at `pts`, since 1970.
    pub unix: Duration,
    pub pts: i64,
}

impl MediaClock {
    /// From a sender report whose RTP timestamp extends to `pts`.
    pub fn from_report(rate: u32, ntp: u64, pts: i64) -> Self {
        MediaClock { rate: rate.max(1), unix: unix_from_ntp(ntp), pts }
    }

    /// Sender's wall clock at `pts`; None before 1970.
    pub fn unix_at(&self, pts: i64) -> Option<Duration> {
        let d = pts.checked_sub(self.pts)?;
        let nanos = i128::from(d) * 1_000_000_000 / i128::from(self.rate);
        let abs = Duration::from_nanos(u64::try_from(nanos.unsigned_abs()).ok()?);
        if nanos >= 0 { self.unix.checked_add(abs) } else { self.unix.checked_sub(abs) }
    }

    /// Media time at a wall clock instant.
    pub fn pts_at(&self, unix: Duration) -> i64 {
        if unix >= self.unix {
            self.pts.saturating_add(ticks(unix - self.unix, self.rate))
        } else {
            self.pts.saturating_sub(ticks(self.unix - unix, self.rate))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn ntp_round_trip_and_clock() {
        let t = Duration::new(1_772_323_200, 500_000_000);
        let ntp = ntp_from_unix(t);
        assert_eq!(ntp >> 32, 1_772_323_200 + NTP_UNIX_OFFSET);
        assert_eq!(unix_from_ntp(ntp), t);
        let c = MediaClock::from_report(90_000, ntp, 1000);
        assert_eq!(c.unix_at(91_000).unwrap(), t + Duration::from_secs(1));
        assert_eq!(c.pts_at(t - Duration::from_secs(1)), -89_000);
        assert_eq!(rescale(-90_000, 90_000, 8000), -8000);
        assert_eq!(rescale(1, 90_000, 48_000), 1);
    }
}
