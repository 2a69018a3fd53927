//! The sound of one phone on its way to a recorder.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use media_core::rtcp::Rtcp;
use media_core::rtp::RtpPacket;
use media_net::{BatchSender, RtpPair};
use media_secure::{Keys, Outgoing};

use super::leg::PROTECTION;
use super::pass::{is_law, set_number, table_of, turn};
use super::stream::Stream;

/// Protects what goes to one section of a recorder, as long as the dialog with it lives: a phone that follows another one, or restarts its
/// numbers, goes on in one row, so that no index is used twice (RFC 3711 9.1).
pub(crate) struct Guard {
    out: Outgoing,
    stream: Stream,
}

impl Guard {
    pub fn new(keys: &Keys) -> Option<Arc<Mutex<Guard>>> {
        let out = Outgoing::new(keys).ok()?;
        Some(Arc::new(Mutex::new(Guard { out, stream: Stream::default() })))
    }

    /// Protects the packet that begins at `at` and ends `out`; one that cannot be is left out.
    fn rtp(&mut self, out: &mut Vec<u8>, at: usize, clock: u32) {
        let placed = out.get_mut(at..).is_some_and(|packet| self.stream.place(packet, Instant::now(), |_| clock));
        match placed {
            true => {
                let _ = self.out.protect(out, at);
            }
            false => out.truncate(at),
        }
    }

    fn rtcp(&mut self, data: &[u8]) -> Vec<u8> {
        let mut report = data.to_vec();
        if !self.stream.is_as_it_came() {
            let mut packets = Rtcp::parse_compound(data).unwrap_or_default();
            self.stream.outward(&mut packets);
            report = Rtcp::write_compound(&packets);
        }
        match report.is_empty() || self.out.protect(&mut report, 0).is_err() {
            true => Vec::new(),
            false => report,
        }
    }
}

/// Where the sound of one phone goes besides: to a recorder, from a pair of ports of its own.
pub(crate) struct Copied {
    pub pair: Arc<RtpPair>,
    pub rtp: SocketAddr,
    pub rtcp: SocketAddr,
    /// At the number of a packet: the number under which the recorder wants it; none for what it did not take.
    pub numbers: [Option<u8>; 128],
    /// None: as plain RTP.
    pub guard: Option<Arc<Mutex<Guard>>>,
}

impl Copied {
    /// One packet as the phone meant it: opened, and in its own law unless the recorder knows the other one only. `clock`: of its sound.
    pub(super) fn push(&self, packet: &RtpPacket<'_>, data: &[u8], clock: u32, copies: &mut BatchSender) {
        let number = packet.payload_type;
        let Some(wanted) = self.numbers.get(usize::from(number)).copied().flatten() else { return };
        if wanted == number && self.guard.is_none() {
            return copies.push_packet(self.rtp, data);
        }
        copies.push_with(self.rtp, data.len() + PROTECTION, |out| {
            let at = out.len();
            out.extend_from_slice(data);
            let Some(copy) = out.get_mut(at..) else { return };
            if wanted != number {
                if is_law(number) && is_law(wanted) {
                    turn(copy, packet, table_of(number));
                }
                set_number(copy, wanted);
            }
            if let Some(guard) = &self.guard {
                guard.lock().unwrap_or_else(PoisonError::into_inner).rtp(out, at, clock);
            }
        });
    }

    /// One report of the phone.
    pub(super) fn push_report(&self, data: &[u8], reports: &mut BatchSender) {
        match &self.guard {
            None => reports.push_packet(self.rtcp, data),
            Some(guard) => {
                let report = guard.lock().unwrap_or_else(PoisonError::into_inner).rtcp(data);
                reports.push_packet(self.rtcp, &report);
            }
        }
    }
}
