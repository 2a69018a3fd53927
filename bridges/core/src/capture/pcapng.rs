//! Writes packets as pcapng (draft-ietf-opsawg-pcapng) with Ethernet, IP and UDP or TCP headers made up around what was seen in
//! user space: true addresses, ports and times; MAC addresses 02:00:00:00:00:01 (we) and ...:02 (the peer). No I/O.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most bytes of one packet's content: an IP packet holds no more.
pub const MOST: usize = 65_000;
/// TCP conversations whose numbers are kept.
const CONVERSATIONS: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proto {
    Udp,
    Tcp,
}

/// What makes up the headers.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    pub proto: Proto,
    /// From `local` to `peer`; else the other way.
    pub sent: bool,
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

fn block(kind: u32, body: &[u8], out: &mut Vec<u8>) {
    let len = (12 + body.len().next_multiple_of(4)) as u32;
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(body);
    pad(out);
    out.extend_from_slice(&len.to_le_bytes());
}

fn option(code: u16, value: &[u8], out: &mut Vec<u8>) {
    let value = value.get(..value.len().min(4000)).unwrap_or(value);
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
    pad(out);
}

/// Section header and the one interface; `about` becomes the comment of the file.
pub fn head(about: &str, program: &str, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    body.extend_from_slice(&0x1A2B_3C4Du32.to_le_bytes());
    body.extend_from_slice(&1u16.to_le_bytes());
    body.extend_from_slice(&0u16.to_le_bytes());
    body.extend_from_slice(&u64::MAX.to_le_bytes());
    option(1, about.as_bytes(), &mut body);
    option(4, program.as_bytes(), &mut body);
    option(0, &[], &mut body);
    block(0x0A0D_0D0A, &body, out);
    let mut body = Vec::new();
    body.extend_from_slice(&1u16.to_le_bytes());
    body.extend_from_slice(&0u16.to_le_bytes());
    body.extend_from_slice(&0u32.to_le_bytes());
    option(2, program.as_bytes(), &mut body);
    // Times in microseconds.
    option(9, &[6], &mut body);
    option(0, &[], &mut body);
    block(1, &body, out);
}

fn stamp(at: SystemTime, out: &mut Vec<u8>) {
    let micros = at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64);
    out.extend_from_slice(&((micros >> 32) as u32).to_le_bytes());
    out.extend_from_slice(&(micros as u32).to_le_bytes());
}

/// How many packets there were and how many could not be kept.
pub fn statistics(at: SystemTime, seen: u64, dropped: u64, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    body.extend_from_slice(&0u32.to_le_bytes());
    stamp(at, &mut body);
    option(4, &seen.to_le_bytes(), &mut body);
    option(5, &dropped.to_le_bytes(), &mut body);
    option(0, &[], &mut body);
    block(5, &body, out);
}

fn sum(mut acc: u32, bytes: &[u8]) -> u32 {
    for pair in bytes.chunks(2) {
        let word = u16::from_be_bytes([pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)]);
        acc += u32::from(word);
    }
    acc
}

fn fold(mut acc: u32) -> u16 {
    while acc > 0xFFFF {
        acc = (acc & 0xFFFF) + (acc >> 16);
    }
    !(acc as u16)
}

/// Keeps what headers need from packet to packet.
#[derive(Debug, Default)]
pub struct Writer {
    /// Next sequence numbers of us and of the peer.
    tcp: HashMap<(SocketAddr, SocketAddr), (u32, u32)>,
    ident: u16,
}

impl Writer {
    /// One packet. Content above [`MOST`] bytes is cut over UDP and split over TCP.
    pub fn packet(&mut self, at: SystemTime, line: Line, data: &[u8], comment: &str, out: &mut Vec<u8>) {
        match line.proto {
            Proto::Udp => {
                let cut = data.get(..data.len().min(MOST)).unwrap_or(data);
                self.frame(at, line, cut, comment, out);
            }
            Proto::Tcp => data.chunks(MOST).for_each(|part| self.frame(at, line, part, comment, out)),
        }
    }

    fn frame(&mut self, at: SystemTime, line: Line, data: &[u8], comment: &str, out: &mut Vec<u8>) {
        let (from, to) = if line.sent { (line.local, line.peer) } else { (line.peer, line.local) };
        let (from_ip, to_ip) = (from.ip().to_canonical(), to.ip().to_canonical());
        let transport = match line.proto {
            Proto::Udp => udp(from.port(), to.port(), data),
            Proto::Tcp => self.tcp(line, from.port(), to.port(), data),
        };
        let protocol = if line.proto == Proto::Udp { 17u8 } else { 6 };
        let mut frame = Vec::with_capacity(60 + transport.len());
        let (ours, theirs) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        frame.extend_from_slice(if line.sent { &theirs } else { &ours });
        frame.extend_from_slice(if line.sent { &ours } else { &theirs });
        self.ident = self.ident.wrapping_add(1);
        let mut transport = transport;
        match (from_ip, to_ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let mut pseudo = sum(0, &a.octets());
                pseudo = sum(pseudo, &b.octets());
                finish(&mut transport, protocol, pseudo);
                frame.extend_from_slice(&[8, 0]);
                let total = (20 + transport.len()) as u16;
                let mut ip = vec![0x45, 0];
                ip.extend_from_slice(&total.to_be_bytes());
                ip.extend_from_slice(&self.ident.to_be_bytes());
                ip.extend_from_slice(&[0x40, 0, 64, protocol, 0, 0]);
                ip.extend_from_slice(&a.octets());
                ip.extend_from_slice(&b.octets());
                let check = fold(sum(0, &ip)).to_be_bytes();
                ip.splice(10..12, check);
                frame.extend_from_slice(&ip);
            }
            _ => {
                let v6 = |ip: IpAddr| match ip {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                    IpAddr::V6(v6) => v6.octets(),
                };
                let (a, b) = (v6(from_ip), v6(to_ip));
                let pseudo = sum(sum(0, &a), &b);
                finish(&mut transport, protocol, pseudo);
                frame.extend_from_slice(&[0x86, 0xDD, 0x60, 0, 0, 0]);
                frame.extend_from_slice(&(transport.len() as u16).to_be_bytes());
                frame.extend_from_slice(&[protocol, 64]);
                frame.extend_from_slice(&a);
                frame.extend_from_slice(&b);
            }
        }
        frame.extend_from_slice(&transport);
        let mut body = Vec::with_capacity(frame.len() + 64);
        body.extend_from_slice(&0u32.to_le_bytes());
        stamp(at, &mut body);
        body.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        body.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        body.extend_from_slice(&frame);
        pad(&mut body);
        // Direction: 1 inbound, 2 outbound.
        option(2, &(if line.sent { 2u32 } else { 1 }).to_le_bytes(), &mut body);
        if !comment.is_empty() {
            option(1, comment.as_bytes(), &mut body);
        }
        option(0, &[], &mut body);
        block(6, &body, out);
    }

    fn tcp(&mut self, line: Line, from: u16, to: u16, data: &[u8]) -> Vec<u8> {
        if self.tcp.len() >= CONVERSATIONS && !self.tcp.contains_key(&(line.local, line.peer)) {
            self.tcp.clear();
        }
        let (ours, theirs) = self.tcp.entry((line.local, line.peer)).or_insert((1, 1));
        let (seq, ack) = if line.sent { (*ours, *theirs) } else { (*theirs, *ours) };
        let next = if line.sent { ours } else { theirs };
        *next = next.wrapping_add(data.len() as u32);
        let mut out = Vec::with_capacity(20 + data.len());
        out.extend_from_slice(&from.to_be_bytes());
        out.extend_from_slice(&to.to_be_bytes());
        out.extend_from_slice(&seq.to_be_bytes());
        out.extend_from_slice(&ack.to_be_bytes());
        // No options; PSH and ACK; window.
        out.extend_from_slice(&[0x50, 0x18, 0xFF, 0xFF, 0, 0, 0, 0]);
        out.extend_from_slice(data);
        out
    }
}

fn udp(from: u16, to: u16, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + data.len());
    out.extend_from_slice(&from.to_be_bytes());
    out.extend_from_slice(&to.to_be_bytes());
    out.extend_from_slice(&((8 + data.len()) as u16).to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(data);
    out
}

/// Writes the checksum of UDP or TCP; `pseudo`: the sum of both addresses.
fn finish(transport: &mut Vec<u8>, protocol: u8, pseudo: u32) {
    let acc = pseudo + u32::from(protocol) + transport.len() as u32;
    let check = match fold(sum(acc, transport)) {
        0 if protocol == 17 => 0xFFFF,
        other => other,
    };
    let at = if protocol == 17 { 6 } else { 16 };
    if transport.len() >= at + 2 {
        transport.splice(at..at + 2, check.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    #[test]
    fn blocks_are_whole_and_checksums_are_right() {
        let mut out = Vec::new();
        head("about", "Skybridge", &mut out);
        let mut w = Writer::default();
        let at = UNIX_EPOCH + Duration::from_micros(1_772_323_200_000_001);
        let (a, b): (SocketAddr, SocketAddr) = ("10.0.0.1:5060".parse().unwrap(), "10.0.0.2:6000".parse().unwrap());
        for (proto, sent) in [(Proto::Udp, true), (Proto::Tcp, true), (Proto::Tcp, false), (Proto::Tcp, true)] {
            w.packet(at, Line { proto, sent, local: a, peer: b }, b"hello", "", &mut out);
        }
        let six = |t: &str| t.parse::<SocketAddr>().unwrap();
        let line = Line { proto: Proto::Udp, sent: false, local: six("[fd00::1]:5060"), peer: six("[fd00::2]:1") };
        w.packet(at, line, &[7; 70_000], "cut", &mut out);
        statistics(at, 5, 1, &mut out);
        let (mut at, mut kinds) = (0, Vec::new());
        while at < out.len() {
            let word = |p: usize| u32::from_le_bytes(out[p..p + 4].try_into().unwrap());
            let len = word(at + 4) as usize;
            assert!(len.is_multiple_of(4) && word(at + len - 4) as usize == len);
            if word(at) == 6 {
                let captured = word(at + 20) as usize;
                let frame = &out[at + 28..at + 28 + captured];
                if frame[12] == 8 {
                    assert_eq!(fold(sum(0, &frame[14..34])), 0, "IP checksum");
                    let pseudo = sum(0, &frame[26..34]) + u32::from(frame[23]) + (captured - 34) as u32;
                    assert_eq!(fold(sum(pseudo, &frame[34..])), 0, "transport checksum");
                    if frame[23] == 6 {
                        kinds.push(u32::from_be_bytes(frame[38..42].try_into().unwrap()));
                    }
                }
            }
            at += len;
        }
        assert_eq!((at, kinds), (out.len(), vec![1, 1, 6]), "TCP numbers go on in each direction");
    }
}
