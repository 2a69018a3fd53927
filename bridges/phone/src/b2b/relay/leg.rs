//! One leg of a call: where its phone is, and what goes there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media_core::rtcp::Rtcp;
use media_core::rtp::is_rtcp;
use media_net::{BatchSender, PlainPair};
use media_secure::{Agreed, Channel, Component, Remote};

use super::super::sdp::Described;
use super::super::turn::{Sound, Turner};
use super::Copied;
use super::play::Voice;
use super::stream::Stream;
use crate::reception::Reception;

/// A phone that was replaced, as by a transfer, may go on sending for so long.
const LAST_PACKETS: Duration = Duration::from_secs(2);
/// Silence after which the same host and SSRC may send from another port (a NAT that moved).
const MOVE_AFTER: Duration = Duration::from_secs(1);
/// Longest addition of a protection: the tag, and the index of a report.
pub(super) const PROTECTION: usize = 32;

/// What one phone described, as far as the relay needs it.
#[derive(Debug, Clone)]
pub(crate) struct End {
    place: Place,
    /// How its leg is protected.
    agreed: Agreed,
    sound: Sound,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) rtp: Option<SocketAddr>,
    pub(super) rtcp: Option<SocketAddr>,
    pub(super) numbers: u128,
    pub(super) clock: u32,
    /// It wants to hear.
    pub(super) hears: bool,
    /// Reports share the port of the sound.
    pub(super) mux: bool,
}

impl End {
    pub fn of(described: &Described) -> End {
        let place = Place {
            rtp: described.rtp,
            rtcp: described.rtcp,
            numbers: described.numbers(),
            clock: described.clock(),
            hears: described.direction.receives(),
            mux: described.mux,
        };
        let sound = Sound { maps: described.maps.clone(), ptime: described.ptime, answer: described.answer };
        End { place, agreed: described.agreed.clone(), sound }
    }
}

pub(super) struct Leg {
    pub(super) pair: PlainPair,
    pub(super) end: Option<Place>,
    pub(super) sound: Option<Sound>,
    /// Turns what comes from this phone, where the other one does not understand it as it is.
    pub(super) turner: Option<Box<Turner>>,
    pub(super) channel: Channel,
    /// What this phone hears, and what of ours it hears now instead of the other phone.
    pub(super) stream: Stream,
    pub(super) voice: Option<Voice>,
    pub(super) source: Option<SocketAddr>,
    pub(super) ssrc: u32,
    pub(super) rtcp_source: Option<SocketAddr>,
    /// The next source is learned, wherever it is.
    pub(super) learns: bool,
    /// Where the phone before this one sent from, and when it was replaced: its last packets are not learned from.
    pub(super) left: Option<(SocketAddr, Instant)>,
    pub(super) reception: Reception,
    pub(super) heard: Instant,
    pub(super) payload_type: Option<u8>,
    pub(super) sent: u64,
    /// The recorder that listens to this phone.
    pub(super) copy: Option<Box<Copied>>,
    pub(super) copied: u64,
    /// Packets made of its sound by a codec and not yet counted.
    pub(super) turned: u64,
}

impl Leg {
    pub(super) fn new(pair: PlainPair, now: Instant) -> Leg {
        Leg {
            pair,
            end: None,
            sound: None,
            turner: None,
            channel: Channel::default(),
            stream: Stream::default(),
            voice: None,
            source: None,
            ssrc: 0,
            rtcp_source: None,
            learns: false,
            left: None,
            reception: Reception::default(),
            heard: now,
            payload_type: None,
            sent: 0,
            copy: None,
            copied: 0,
            turned: 0,
        }
    }

    pub(super) fn describe(&mut self, end: End, learns: bool, now: Instant) {
        let Place { rtp, rtcp, mux, .. } = end.place;
        self.channel.agree(&end.agreed, Remote { rtp, rtcp, mux }, now);
        self.sound = Some(end.sound);
        let end = end.place;
        // A phone that only changes its direction keeps the address that was learned.
        if self.end.is_none_or(|old| old.rtp != end.rtp) {
            self.left = self.source.take().map(|source| (source, now));
            self.rtcp_source = None;
        }
        self.learns = learns;
        self.heard = now;
        self.end = Some(end);
    }

    /// Whether a packet from here belongs to the call. The first source is learned; later only the described address, or the
    /// same host and SSRC after a silence, may take over.
    pub(super) fn accepts(&mut self, from: SocketAddr, ssrc: u32, now: Instant) -> bool {
        if !self.channel.is_plain() {
            // It was proved by its tag, and no packet counts twice: wherever it comes from, it is from this phone.
            self.source = Some(from);
            self.ssrc = ssrc;
            return true;
        }
        let described = self.end.and_then(|e| e.rtp);
        match self.source {
            Some(source) if source == from => {
                self.ssrc = ssrc;
                return true;
            }
            Some(source) => {
                let moved = source.ip() == from.ip()
                    && ssrc == self.ssrc
                    && now.saturating_duration_since(self.heard) >= MOVE_AFTER;
                if !(moved || described == Some(from)) {
                    return false;
                }
            }
            None if described != Some(from)
                && self.left.is_some_and(|(old, at)| old == from && now < at + LAST_PACKETS) =>
            {
                return false;
            }
            None if self.learns => {}
            None if described.is_some_and(|d| d.ip() == from.ip()) => {}
            None => return false,
        }
        self.source = Some(from);
        self.ssrc = ssrc;
        true
    }

    pub(super) fn rtp_to(&self) -> Option<SocketAddr> {
        if let Some(found) = self.channel.destination() {
            return found;
        }
        let end = self.end?;
        // No address and no source: held by 0.0.0.0, or nothing said yet.
        end.rtp.and(self.source).or(end.rtp)
    }

    pub(super) fn rtcp_to(&self) -> Option<SocketAddr> {
        let end = self.end?;
        if end.mux {
            return self.rtp_to();
        }
        let beside = |a: SocketAddr| SocketAddr::new(a.ip(), a.port().saturating_add(1));
        match (self.rtcp_source, self.source) {
            (Some(known), _) => Some(known),
            (None, Some(source)) if Some(source) != end.rtp => Some(beside(source)),
            _ => end.rtcp,
        }
    }

    /// Adds one packet towards this phone, changed by `change`, with its place in our stream, and protected.
    pub(super) fn emit(
        &mut self,
        sender: &mut BatchSender,
        target: SocketAddr,
        data: &[u8],
        now: Instant,
        change: impl FnOnce(&mut [u8]),
    ) {
        let Leg { channel, stream, sound, end, .. } = self;
        let rate = |number: u8| clock_of(sound.as_ref(), *end, number);
        sender.push_with(target, data.len() + PROTECTION, |out| {
            let at = out.len();
            out.extend_from_slice(data);
            let Some(packet) = out.get_mut(at..) else { return };
            change(packet);
            // No number goes out twice, so no key stream is used twice (RFC 3711 9.1).
            match is_rtcp(data) || stream.place(packet, now, rate) {
                true => {
                    let _ = channel.protect(out, at);
                }
                false => out.truncate(at),
            }
        });
    }

    /// Sends a report of our own.
    pub(super) fn send_report(&mut self, report: &[Rtcp]) {
        let (Some(target), Some(end)) = (self.rtcp_to(), self.end) else { return };
        let mut report = Rtcp::write_compound(report);
        if !report.is_empty() && self.channel.protect(&mut report, 0).is_ok() {
            let socket = if end.mux { &self.pair.rtp } else { &self.pair.rtcp };
            let _ = socket.send_to(&report, target);
        }
    }

    /// Sends what the protection itself has to say: STUN, DTLS.
    pub(super) fn transmit(&mut self) {
        while let Some((component, to, datagram)) = self.channel.poll_transmit() {
            let socket = if component == Component::Rtp { &self.pair.rtp } else { &self.pair.rtcp };
            let _ = socket.send_to(&datagram, to);
        }
    }

    /// Sends what goes to the recorder; gives how many packets of sound. What finds no room is lost: the recorder never holds the
    /// call up.
    pub(super) fn flush_copies(&mut self, copies: &mut BatchSender, reports: &mut BatchSender) -> u64 {
        let Some(copy) = &self.copy else { return 0 };
        let sent = copies.flush(copy.pair.rtp.socket()).sent as u64;
        if reports.pending_bytes() > 0 {
            reports.flush(&copy.pair.rtcp);
        }
        self.copied += sent;
        sent
    }

    pub(super) fn flush_reports(&self, reports: &mut BatchSender) {
        match self.end.is_some_and(|e| e.mux) {
            true => reports.flush(&self.pair.rtp),
            false => reports.flush(&self.pair.rtcp),
        };
    }
}

/// The clock of a payload format as this phone knows it, in Hz.
fn clock_of(sound: Option<&Sound>, end: Option<Place>, number: u8) -> u32 {
    let map = sound.and_then(|s| s.maps.iter().find(|m| m.payload_type == number));
    map.map(|m| m.clock_rate).or(end.map(|e| e.clock)).filter(|rate| *rate > 0).unwrap_or(8000)
}
