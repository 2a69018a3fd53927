//! One packet of a call: whose it is, and how it goes on to the other phone and to a recorder.

use std::net::SocketAddr;
use std::time::Instant;

use media_core::rtcp::Rtcp;
use media_core::rtp::RtpPacket;
use media_net::BatchSender;

use super::super::turn::Said;
use super::{COMFORT_NOISE, LAWS, Leg};

pub(super) fn is_law(number: u8) -> bool {
    number == 0 || number == 8
}

/// Which of [`LAWS`] turns the sound of packets with this number, one of the two laws, into the other law.
pub(super) fn table_of(number: u8) -> usize {
    usize::from(number == 8)
}

/// Turns the sound of a packet by one of [`LAWS`].
pub(super) fn turn(out: &mut [u8], packet: &RtpPacket<'_>, table: usize) {
    let Some(table) = LAWS.get(table) else { return };
    let until = out.len() - usize::from(packet.padding).min(out.len());
    let start = until - packet.payload.len().min(until);
    for byte in out.get_mut(start..until).unwrap_or_default() {
        *byte = table[usize::from(*byte)];
    }
}

pub(super) fn set_number(out: &mut [u8], number: u8) {
    if let Some(byte) = out.get_mut(1) {
        *byte = *byte & 0x80 | number;
    }
}

/// One RTP packet of a phone; false when it is none of the call's. What the other phone hears, and nothing else, is what a recorder
/// gets: while one holds, it is silent there too.
pub(super) fn pass(
    from: &mut Leg,
    to: &mut Leg,
    data: &[u8],
    source: SocketAddr,
    now: Instant,
    [sender, copies]: [&mut BatchSender; 2],
) -> bool {
    let Ok(packet) = RtpPacket::parse(data) else { return false };
    let number = packet.payload_type;
    // Before the answer the caller's sound has no place to go; it teaches us the caller's address all the same.
    let known = to.end.map_or(u128::MAX, |e| e.numbers);
    let own = from.end.map_or(0, |e| e.numbers);
    let is = |set: u128| set >> number & 1 == 1;
    let law = is_law(number);
    let turns = || from.turner.as_ref().is_some_and(|t| t.knows(number));
    if !(is(known) || is(own) || law || number == COMFORT_NOISE || turns()) || !from.accepts(source, packet.ssrc, now) {
        return false;
    }
    from.heard = now;
    let clock = from.end.map_or(8000, |e| e.clock);
    // Keys keep one time stamp for many packets: that is no jitter.
    let voice = law || from.payload_type == Some(number) || packet.payload.len() > 4;
    if voice && number != COMFORT_NOISE {
        from.payload_type = Some(number);
    }
    from.reception.packet(packet.ssrc, packet.sequence, packet.timestamp, clock, voice, now);
    let (Some(end), Some(target)) = (to.end.filter(|e| e.hears), to.rtp_to()) else {
        to.stream.pause();
        return true;
    };
    // What we say takes the place of the other phone's sound; keys reach it all the same.
    if voice && to.voice.is_some() {
        return true;
    }
    if from.turner.is_some() {
        turned(from, to, &packet, data, target, now, sender);
    } else if is(end.numbers) {
        to.emit(sender, target, data, now, |_| {});
    } else if law && end.numbers >> (8 - number) & 1 == 1 {
        to.emit(sender, target, data, now, |out| {
            turn(out, &packet, table_of(number));
            set_number(out, 8 - number);
        });
    } else {
        return true;
    }
    if let Some(copy) = &from.copy {
        copy.push(&packet, data, clock, copies);
    }
    true
}

/// One RTP packet of a phone whose sound or keys the other one may not understand as they are.
fn turned(
    from: &mut Leg,
    to: &mut Leg,
    packet: &RtpPacket<'_>,
    data: &[u8],
    target: SocketAddr,
    now: Instant,
    sender: &mut BatchSender,
) {
    let Some(turner) = &mut from.turner else { return };
    match turner.hear(packet, now) {
        Said::Nothing => {}
        Said::Made => {
            let decoded = u64::from(turner.active());
            for made in turner.made() {
                to.emit(sender, target, &made, now, |_| {});
                from.turned += decoded;
            }
        }
        Said::Pass { number, sequence, law } => {
            to.emit(sender, target, data, now, |out| {
                if let Some(law) = law {
                    turn(out, packet, law);
                }
                set_number(out, number);
                if let Some([_, _, high, low]) = out.first_chunk_mut::<4>() {
                    [*high, *low] = sequence.to_be_bytes();
                }
            });
        }
    }
    if turner.report_due(now) {
        let mut report = turner.report(to.reception.block(now), now);
        to.stream.outward(&mut report);
        to.send_report(&report);
    }
    // Who only sends is told what comes of it, too.
    if let Some(back) = &mut to.turner
        && back.report_due(now)
    {
        let mut report = back.report(from.reception.block(now), now);
        from.stream.outward(&mut report);
        from.send_report(&report);
    }
}

/// What goes on of a report where our sound stands in for a phone's: what the phone says of its own stream if that passes as it is, with
/// what we received of the other one. None: nothing goes on, we report ourselves.
fn own_report(from: &Leg, to: &mut Leg, mut packets: Vec<Rtcp>, now: Instant) -> Option<Vec<Rtcp>> {
    if from.turner.as_ref().is_some_and(|t| t.active()) {
        return None;
    }
    for packet in &mut packets {
        if let Rtcp::SenderReport { reports, .. } | Rtcp::ReceiverReport { reports, .. } = packet {
            *reports = to.reception.block(now).into_iter().collect();
        }
    }
    Some(packets)
}

/// One RTCP packet of a phone: passed on as it is while SSRCs, sequence numbers and counts are the same on both legs, else in the words of
/// the other leg.
pub(super) fn pass_control(
    from: &mut Leg,
    to: &mut Leg,
    data: &[u8],
    source: SocketAddr,
    now: Instant,
    [sender, copies]: [&mut BatchSender; 2],
) -> bool {
    let host = from.source.or(from.end.and_then(|e| e.rtp)).map(|a| a.ip());
    if host != Some(source.ip()) {
        return false;
    }
    from.rtcp_source = Some(source);
    from.heard = now;
    if let Some(copy) = &from.copy {
        // A recorder needs the senders' clocks to lay both sides over each other.
        copy.push_report(data, copies);
    }
    let Some(target) = to.rtcp_to() else { return false };
    let mut packets = Rtcp::parse_compound(data).unwrap_or_default();
    from.stream.note(&packets);
    for packet in &packets {
        if let Rtcp::SenderReport { ntp, .. } = packet {
            from.reception.sender_report(*ntp, now);
        }
    }
    let turned = [&from.turner, &to.turner].into_iter().flatten().any(|t| t.active());
    let as_it_is = from.stream.is_as_it_came() && to.stream.is_as_it_came();
    if as_it_is && !turned {
        to.emit(sender, target, data, now, |_| {});
        return true;
    }
    if turned {
        let Some(own) = own_report(from, to, packets, now) else { return true };
        packets = own;
    } else {
        from.stream.inward(&mut packets, to.ssrc);
    }
    to.stream.outward(&mut packets);
    let report = Rtcp::write_compound(&packets);
    if !report.is_empty() {
        to.emit(sender, target, &report, now, |_| {});
    }
    true
}
