//! Which packets belong to a session: the rule of reference section 12.2 for SSRC and source address. No I/O, no clock of its
//! own.
//!
//! The port (or the TCP connection) comes first, for each session has its own; the SSRC second. A packet with the agreed SSRC
//! is taken from anywhere, unless `strict_source`: behind NAT the media comes from another address than the signalling. A
//! stranger SSRC is learned when two packets in a row carry it and come from an address of the device, unless `strict_ssrc`.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Silence of the followed source after which another may take over.
const RELATCH: Duration = Duration::from_secs(3);

/// What is allowed.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Of the answer, else ours.
    pub ssrc: u32,
    /// Addresses of the device: where it signals from, and what its answer names.
    pub device: Vec<IpAddr>,
    pub strict_ssrc: bool,
    pub strict_source: bool,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Take,
    /// Take it: from now on this source is followed.
    Follow,
    /// Take it, and the one before it that was kept aside: its SSRC was learned.
    Learned,
    /// Keep it aside: the next one may confirm it.
    Candidate,
    /// Refused for its SSRC.
    Ssrc,
    /// Refused for its address.
    Elsewhere,
}

/// The state of one session.
#[derive(Debug)]
pub struct SourceRule {
    rules: Rules,
    followed: Option<(SocketAddr, u32, Instant)>,
    candidate: Option<(SocketAddr, u32, u16)>,
    pub refused_ssrc: u64,
    pub refused_source: u64,
    pub last_stranger: Option<u32>,
    pub last_elsewhere: Option<SocketAddr>,
}

impl SourceRule {
    pub fn new(rules: Rules) -> SourceRule {
        SourceRule {
            rules,
            followed: None,
            candidate: None,
            refused_ssrc: 0,
            refused_source: 0,
            last_stranger: None,
            last_elsewhere: None,
        }
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Source and SSRC that are followed.
    pub fn followed(&self) -> Option<(SocketAddr, u32)> {
        self.followed.map(|(s, ssrc, _)| (s, ssrc))
    }

    /// Whether an address is the device's.
    pub fn known(&self, ip: IpAddr) -> bool {
        self.rules.device.contains(&ip)
    }

    /// Judges one RTP packet.
    pub fn judge(&mut self, from: SocketAddr, ssrc: u32, sequence: u16, now: Instant) -> Verdict {
        if let Some((source, followed, last)) = &mut self.followed {
            if *source == from {
                let fits = *followed == ssrc || ssrc == self.rules.ssrc || !self.rules.strict_ssrc;
                if fits {
                    // A device that encodes anew changes its SSRC: the order repair confirms that by two packets.
                    *last = now;
                    return Verdict::Take;
                }
                return self.no_ssrc(ssrc);
            }
            if now.saturating_duration_since(*last) < RELATCH {
                return self.elsewhere(from);
            }
        }
        let known = self.known(from.ip());
        if ssrc == self.rules.ssrc {
            if self.rules.strict_source && !known {
                return self.elsewhere(from);
            }
            self.follow(from, ssrc, now);
            return Verdict::Follow;
        }
        if !known {
            return self.elsewhere(from);
        }
        if self.rules.strict_ssrc {
            return self.no_ssrc(ssrc);
        }
        let confirmed = self
            .candidate
            .is_some_and(|(s, c, q)| s == from && c == ssrc && (1..=8).contains(&sequence.wrapping_sub(q)));
        if confirmed {
            self.candidate = None;
            self.follow(from, ssrc, now);
            return Verdict::Learned;
        }
        if self.candidate.replace((from, ssrc, sequence)).is_some() {
            self.refused_ssrc += 1;
        }
        self.last_stranger = Some(ssrc);
        Verdict::Candidate
    }

    fn follow(&mut self, from: SocketAddr, ssrc: u32, now: Instant) {
        self.followed = Some((from, ssrc, now));
    }

    fn no_ssrc(&mut self, ssrc: u32) -> Verdict {
        self.refused_ssrc += 1;
        self.last_stranger = Some(ssrc);
        Verdict::Ssrc
    }

    fn elsewhere(&mut self, from: SocketAddr) -> Verdict {
        self.refused_source += 1;
        self.last_elsewhere = Some(from);
        Verdict::Elsewhere
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(strict_ssrc: bool, strict_source: bool) -> SourceRule {
        SourceRule::new(Rules { ssrc: 137, device: vec![IpAddr::from([10, 0, 0, 1])], strict_ssrc, strict_source })
    }

    fn at(last: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], port))
    }

    #[test]
    fn the_agreed_ssrc_is_followed_from_anywhere() {
        let (mut r, t) = (rule(false, false), Instant::now());
        assert_eq!(r.judge(at(9, 1), 137, 1, t), Verdict::Follow);
        assert_eq!(r.judge(at(9, 1), 137, 2, t), Verdict::Take);
        assert_eq!(r.judge(at(1, 1), 137, 3, t), Verdict::Elsewhere);
        assert_eq!(r.judge(at(1, 1), 137, 3, t + RELATCH), Verdict::Follow);
        let mut strict = rule(false, true);
        assert_eq!(strict.judge(at(9, 1), 137, 1, t), Verdict::Elsewhere);
        assert_eq!(strict.judge(at(1, 1), 137, 1, t), Verdict::Follow);
    }

    #[test]
    fn a_stranger_is_learned_from_the_device_only() {
        let (mut r, t) = (rule(false, false), Instant::now());
        assert_eq!(r.judge(at(9, 1), 5, 1, t), Verdict::Elsewhere);
        assert_eq!(r.judge(at(1, 1), 5, 1, t), Verdict::Candidate);
        assert_eq!(r.judge(at(1, 1), 5, 2, t), Verdict::Learned);
        assert_eq!(r.judge(at(1, 1), 5, 3, t), Verdict::Take);
        assert_eq!(r.followed(), Some((at(1, 1), 5)));
        let mut strict = rule(true, false);
        assert_eq!(strict.judge(at(1, 1), 5, 1, t), Verdict::Ssrc);
        assert_eq!(strict.judge(at(1, 1), 5, 2, t), Verdict::Ssrc);
        assert_eq!((strict.refused_ssrc, strict.last_stranger), (2, Some(5)));
    }

    #[test]
    fn noise_never_becomes_a_source() {
        let (mut r, t) = (rule(false, false), Instant::now());
        for n in 0..100u32 {
            assert_eq!(r.judge(at(1, 1), n * 7919 + 1_000_000, (n * 31) as u16, t), Verdict::Candidate);
        }
        assert_eq!(r.followed(), None);
        assert_eq!(r.refused_ssrc, 99);
    }
}
