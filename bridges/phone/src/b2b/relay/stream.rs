//! Our stream towards one phone: one SSRC, one row of numbers and one clock, whatever the sound comes from (RFC 3550 5.1, 8). A phone that
//! heard another SSRC, or numbers that begin anew, clicks, or drops the sound until the numbers have caught up.
//!
//! As long as all comes from one sender, its packets pass unchanged. From the first change on (what we play, another phone, a hold, a
//! sender that restarted) header and reports are rewritten.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use media_core::rtcp::{ReportBlock, Rtcp};

/// Numbers that a sender may leave out, and packets by which one may be late, before it is taken for restarted (RFC 3550 A.1).
const MOST_DROPPED: i16 = 3000;
const MOST_LATE: i16 = 100;
/// A sender that comes back within this time goes on by the clock that it had here: keys of an SSRC of their own keep their time stamp.
const REMEMBERED: Duration = Duration::from_secs(5);
/// The longest packet, in ms.
const LONGEST_PACKET_MS: u32 = 120;
/// A packet with no more than a telephone event in it.
const EVENT_BYTES: usize = 16;

/// Who the newest packet was from, and how its numbers become ours.
#[derive(Debug, Clone, Copy)]
struct Source {
    ssrc: u32,
    /// Its newest number, and the first one that went on: older ones have no place in our row.
    newest: u16,
    first: Option<u16>,
    /// What its numbers and time stamps are short of ours.
    number: u16,
    clock: u32,
    /// What the phone had lost of our stream before, as it said.
    lost: i32,
    at: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Stream {
    source: Option<Source>,
    before: Option<Source>,
    /// It goes out as it comes in.
    changed: bool,
    /// The phone heard nothing meanwhile.
    paused: bool,
    /// The number after one that does not fit: the next packet tells whether its sender restarted.
    suspect: Option<u16>,
    ssrc: u32,
    sequence: u16,
    /// Of the newest packet, when that was, in which payload format, and by how much it was more than the one before.
    stamp: u32,
    stamped: Option<Instant>,
    format: u8,
    step: u32,
    packets: u32,
    octets: u32,
    /// Losses that the phone told last.
    lost: i32,
    cname: String,
}

impl Stream {
    /// All that was sent came from one sender: its reports fit as they are.
    pub fn is_as_it_came(&self) -> bool {
        !self.changed
    }

    /// The phone does not hear what comes now: what comes later follows what it heard last.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Gives one packet its place in the stream; false where it has none. `rate`: the clock of a payload format.
    pub fn place(&mut self, packet: &mut [u8], now: Instant, rate: impl FnOnce(u8) -> u32) -> bool {
        let length = packet.len();
        let Some([_, kind, n0, n1, t0, t1, t2, t3, s0, s1, s2, s3]) = packet.first_chunk_mut::<12>() else {
            return false;
        };
        let sequence = u16::from_be_bytes([*n0, *n1]);
        let stamp = u32::from_be_bytes([*t0, *t1, *t2, *t3]);
        let ssrc = u32::from_be_bytes([*s0, *s1, *s2, *s3]);
        let mut newest = true;
        match &mut self.source {
            Some(source) if source.ssrc == ssrc && !self.paused => {
                let step = sequence.wrapping_sub(source.newest) as i16;
                if !(-MOST_LATE..=MOST_DROPPED).contains(&step) {
                    if self.suspect.replace(sequence.wrapping_add(1)) != Some(sequence) {
                        return false;
                    }
                    self.change(ssrc, sequence, stamp, now, rate);
                } else if step > 0 {
                    source.newest = sequence;
                } else if source.first.is_some_and(|first| (sequence.wrapping_sub(first) as i16) < 0) {
                    return false;
                } else {
                    newest = false;
                }
            }
            Some(_) => self.change(ssrc, sequence, stamp, now, rate),
            None => {
                self.ssrc = ssrc;
                let (number, clock, lost) = (0, 0, 0);
                self.source = Some(Source { ssrc, newest: sequence, first: None, number, clock, lost, at: now });
            }
        }
        let Some(source) = &mut self.source else { return false };
        let (our_number, our_stamp) = (sequence.wrapping_add(source.number), stamp.wrapping_add(source.clock));
        source.at = now;
        if self.changed {
            [*n0, *n1] = our_number.to_be_bytes();
            [*t0, *t1, *t2, *t3] = our_stamp.to_be_bytes();
            [*s0, *s1, *s2, *s3] = self.ssrc.to_be_bytes();
            // The first packet after a change: a phone may set its play-out anew (RFC 3551 4.1).
            if source.first == Some(sequence) && newest && length > EVENT_BYTES {
                *kind |= 0x80;
            }
        }
        if newest {
            self.suspect = None;
            self.sequence = our_number;
            self.format = *kind & 0x7F;
            if self.stamped.is_none() || our_stamp != self.stamp {
                let step = our_stamp.wrapping_sub(self.stamp);
                if self.stamped.is_some() && step <= LONGEST_PACKET_MS * 48 {
                    self.step = step;
                }
                (self.stamp, self.stamped) = (our_stamp, Some(now));
            }
        }
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(length.saturating_sub(12) as u32);
        true
    }

    /// Another sender, or one that began anew or was not heard: its numbers follow ours at once, its clock by the time that has passed.
    fn change(&mut self, ssrc: u32, sequence: u16, stamp: u32, now: Instant, rate: impl FnOnce(u8) -> u32) {
        let Some(old) = self.source else { return };
        self.changed = true;
        let paused = std::mem::take(&mut self.paused);
        let known = match self.before {
            _ if old.ssrc == ssrc => Some(old).filter(|_| paused),
            before => before.filter(|b| b.ssrc == ssrc && now.saturating_duration_since(b.at) < REMEMBERED),
        };
        let clock = match known {
            Some(known) => known.clock,
            None => {
                let rate = rate(self.format);
                let since = now.saturating_duration_since(self.stamped.unwrap_or(now)).as_micros();
                let ticks = (since * u128::from(rate) / 1_000_000) as u32;
                let least = if self.step == 0 { rate / 50 } else { self.step };
                self.stamp.wrapping_add(ticks.max(least)).wrapping_sub(stamp)
            }
        };
        let number = self.sequence.wrapping_add(1).wrapping_sub(sequence);
        if old.ssrc != ssrc {
            self.before = Some(old);
        }
        self.source =
            Some(Source { ssrc, newest: sequence, first: Some(sequence), number, clock, lost: self.lost, at: now });
    }

    /// What a sender says of its stream, in the words of ours. What is no report, description or block of ours stays behind: our stream
    /// does not end with a sender.
    pub fn outward(&mut self, packets: &mut Vec<Rtcp>) {
        packets.retain(|p| matches!(p, Rtcp::SenderReport { .. } | Rtcp::ReceiverReport { .. } | Rtcp::Sdes { .. }));
        let Some(from) = self.source else { return };
        // A clock that is not that of the newest packet says nothing about it.
        let strange = |of: u32| from.ssrc != of;
        for packet in packets {
            match packet {
                Rtcp::SenderReport { ssrc, reports, .. } if strange(*ssrc) => {
                    let reports = std::mem::take(reports);
                    *packet = Rtcp::ReceiverReport { ssrc: self.ssrc, reports };
                }
                Rtcp::SenderReport { ssrc, rtp, packets, octets, .. } => {
                    *ssrc = self.ssrc;
                    *rtp = rtp.wrapping_add(from.clock);
                    (*packets, *octets) = (self.packets, self.octets);
                }
                Rtcp::ReceiverReport { ssrc, .. } => *ssrc = self.ssrc,
                Rtcp::Sdes { ssrc, cname } => {
                    *ssrc = self.ssrc;
                    self.name().clone_into(cname);
                }
                _ => {}
            }
        }
    }

    /// The name of the stream (RFC 3550 6.5.1). It stays, so it is ours.
    fn name(&mut self) -> &str {
        if self.cname.is_empty() {
            self.cname = format!("{:016x}@skybridge", rand::random::<u64>());
        }
        &self.cname
    }

    /// What the phone says of our stream, in the words of the sender that it comes from now, if it is this one.
    pub fn inward(&self, packets: &mut [Rtcp], sender: u32) {
        for packet in packets {
            let (Rtcp::SenderReport { reports, .. } | Rtcp::ReceiverReport { reports, .. }) = packet else { continue };
            reports.retain_mut(|block| match self.source.filter(|s| block.ssrc == self.ssrc && s.ssrc == sender) {
                Some(source) => {
                    block.ssrc = source.ssrc;
                    block.highest_sequence = block.highest_sequence.wrapping_sub(u32::from(source.number));
                    block.total_lost -= source.lost;
                    true
                }
                None => false,
            });
        }
    }

    /// Keeps in mind what the phone says of our stream.
    pub fn note(&mut self, packets: &[Rtcp]) {
        for packet in packets {
            let (Rtcp::SenderReport { reports, .. } | Rtcp::ReceiverReport { reports, .. }) = packet else { continue };
            if let Some(block) = reports.iter().find(|b| b.ssrc == self.ssrc) {
                self.lost = block.total_lost;
            }
        }
    }

    /// The report on a stream that is ours alone. `heard`: what we received of the phone.
    pub fn report(&mut self, heard: Option<ReportBlock>, rate: u32, now: Instant) -> Vec<Rtcp> {
        let since = now.saturating_duration_since(self.stamped.unwrap_or(now)).as_micros();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let report = Rtcp::SenderReport {
            ssrc: self.ssrc,
            ntp: media_core::time::ntp_from_unix(wall),
            rtp: self.stamp.wrapping_add((since * u128::from(rate) / 1_000_000) as u32),
            packets: self.packets,
            octets: self.octets,
            reports: heard.into_iter().collect(),
        };
        let cname = self.name().to_owned();
        vec![report, Rtcp::Sdes { ssrc: self.ssrc, cname }]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    struct Phone {
        stream: Stream,
        now: Instant,
    }

    impl Phone {
        fn new() -> Phone {
            Phone { stream: Stream::default(), now: Instant::now() }
        }

        /// Marker, number, time stamp and SSRC of what leaves; none where nothing does.
        fn send(&mut self, ssrc: u32, sequence: u16, stamp: u32, bytes: usize) -> Option<(bool, u16, u32, u32)> {
            let mut packet = vec![0x80, 8];
            packet.extend(sequence.to_be_bytes());
            packet.extend(stamp.to_be_bytes());
            packet.extend(ssrc.to_be_bytes());
            packet.resize(12 + bytes, 0xD5);
            let word = |p: &[u8], at: usize| u32::from_be_bytes(p[at..at + 4].try_into().unwrap());
            self.stream.place(&mut packet, self.now, |_| 8000).then(|| {
                let number = u16::from_be_bytes([packet[2], packet[3]]);
                (packet[1] & 0x80 != 0, number, word(&packet, 4), word(&packet, 8))
            })
        }

        fn wait(&mut self, ms: u64) {
            self.now += Duration::from_millis(ms);
        }
    }

    #[test]
    fn one_sender_passes_as_it_is_and_the_next_one_goes_on() {
        let mut phone = Phone::new();
        for n in 0..3u16 {
            let stamp = 1000 + u32::from(n) * 160;
            assert_eq!(phone.send(7, 65_533 + n, stamp, 160), Some((false, 65_533 + n, stamp, 7)));
            phone.wait(20);
        }
        assert!(phone.stream.is_as_it_came());
        // Late and lost ones keep their places.
        assert_eq!(phone.send(7, 2, 1800, 160), Some((false, 2, 1800, 7)));
        assert_eq!(phone.send(7, 0, 1480, 160), Some((false, 0, 1480, 7)));
        // Half a second later somebody else: the row has no hole, the clock has gone on.
        phone.wait(500);
        assert_eq!(phone.send(9, 40_000, 5, 160), Some((true, 3, 1800 + 4000, 7)));
        assert_eq!(phone.send(9, 40_002, 325, 160), Some((false, 5, 5800 + 320, 7)));
        assert_eq!(phone.send(9, 40_001, 165, 160), Some((false, 4, 5800 + 160, 7)));
        // What it sent before it was there has no place.
        assert_eq!(phone.send(9, 39_999, 0, 160), None);
        // At once after a packet: at least as much time as a packet has.
        assert_eq!(phone.send(11, 1, 77, 160), Some((true, 6, 6120 + 320, 7)));
    }

    #[test]
    fn a_sender_that_restarts_goes_on_and_a_stray_packet_does_not_count() {
        let mut phone = Phone::new();
        phone.send(7, 100, 1000, 160);
        phone.wait(20);
        assert_eq!(phone.send(7, 30_000, 9, 160), None, "one alone may be a broken one");
        assert_eq!(phone.send(7, 101, 1160, 160), Some((false, 101, 1160, 7)));
        phone.wait(20);
        assert_eq!(phone.send(7, 30_000, 9, 160), None);
        phone.wait(20);
        assert_eq!(phone.send(7, 30_001, 169, 160), Some((true, 102, 1160 + 320, 7)));
        assert_eq!(phone.send(7, 30_002, 329, 160), Some((false, 103, 1640, 7)));
    }

    #[test]
    fn after_a_hold_the_numbers_go_on_and_the_clock_is_the_same() {
        let mut phone = Phone::new();
        phone.send(7, 100, 1000, 160);
        phone.stream.pause();
        phone.wait(2000);
        assert_eq!(phone.send(7, 200, 17_000, 160), Some((true, 101, 17_000, 7)));
        assert_eq!(phone.send(7, 201, 17_160, 160), Some((false, 102, 17_160, 7)));
    }

    #[test]
    fn keys_under_an_ssrc_of_their_own_keep_their_time_stamp() {
        let mut phone = Phone::new();
        phone.send(7, 100, 1000, 160);
        phone.wait(20);
        let (_, n, first, _) = phone.send(8, 5, 50_000, 4).unwrap();
        assert_eq!((n, first), (101, 1160));
        for turn in 0..3u16 {
            phone.wait(20);
            let (marked, n, stamp, _) = phone.send(7, 101 + turn, 1160 + u32::from(turn) * 160, 160).unwrap();
            assert_eq!((marked, n, stamp), (true, 102 + 2 * turn, 1160 + u32::from(turn) * 160));
            assert_eq!(phone.send(8, 6 + turn, 50_000, 4), Some((false, 103 + 2 * turn, first, 7)));
        }
    }

    #[test]
    fn reports_tell_each_of_its_own_stream() {
        let mut phone = Phone::new();
        phone.send(7, 100, 1000, 160);
        let block = |ssrc, highest, lost| ReportBlock {
            ssrc,
            total_lost: lost,
            highest_sequence: highest,
            ..ReportBlock::default()
        };
        phone.stream.note(&[Rtcp::ReceiverReport { ssrc: 1, reports: vec![block(7, 100, 3)] }]);
        phone.wait(20);
        phone.send(9, 40_000, 50, 160);
        let sr = |ssrc, rtp| Rtcp::SenderReport { ssrc, ntp: 5, rtp, packets: 900, octets: 9, reports: Vec::new() };
        let bye = Rtcp::Bye { ssrcs: vec![9], reason: String::new() };
        let mut said = vec![sr(9, 210), Rtcp::Sdes { ssrc: 9, cname: "b".into() }, bye];
        phone.stream.outward(&mut said);
        let cname = match &said[1] {
            Rtcp::Sdes { ssrc: 7, cname } => cname.clone(),
            other => panic!("{other:?}"),
        };
        assert!(said.len() == 2 && cname.ends_with("@skybridge"), "{said:?}");
        let ours = Rtcp::SenderReport { ssrc: 7, ntp: 5, rtp: 1320, packets: 2, octets: 320, reports: Vec::new() };
        assert_eq!(said[0], ours);
        // Of a sender that is not heard now no clock goes on.
        let mut said = vec![sr(7, 1)];
        phone.stream.outward(&mut said);
        assert_eq!(said, [Rtcp::ReceiverReport { ssrc: 7, reports: Vec::new() }]);
        let of_ours = |blocks| [Rtcp::ReceiverReport { ssrc: 1, reports: blocks }];
        let mut said = of_ours(vec![block(7, 0x1_0065, 5), block(44, 1, 1)]);
        phone.stream.inward(&mut said, 9);
        let highest = 0x1_0065 - u32::from(101u16.wrapping_sub(40_000));
        assert_eq!((highest as u16, &said), (40_000, &of_ours(vec![block(9, highest, 2)])));
        // What we play is no sender's.
        let mut said = of_ours(vec![block(7, 0x1_0065, 5)]);
        phone.stream.inward(&mut said, 8);
        assert_eq!(said, of_ours(Vec::new()));
    }
}
