//! Floor control messages of MCPTT (3GPP TS 24.380 clause 8): RTCP APP packets named `MCPT`, one a message, several a datagram.

use crate::error::{ParseError, be16, be32};

/// Most messages taken from one datagram.
pub const MAX_MESSAGES: usize = 16;
/// Fields of one message that are read; the rest is skipped.
const MAX_FIELDS: usize = 32;
const APP: u8 = 204;
const NAME: &[u8; 4] = b"MCPT";
/// Bit of the subtype: the far end wants a Floor Ack.
const WANTS_ACK: u8 = 0x10;
/// In a later coding the fields 0 to 14 are numbered from here.
const LATER: u8 = 102;

/// What a message says (TS 24.380 table 8.2.2.1-1), by its subtype.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Request,
    Granted,
    Taken,
    Deny,
    Release,
    Idle,
    Revoke,
    QueuePositionRequest,
    QueuePositionInfo,
    Ack,
    MediaFlowControl,
    QueuedRequests,
    ReleaseMultiTalker,
}

const KINDS: [(u8, Kind); 13] = [
    (0, Kind::Request),
    (1, Kind::Granted),
    (2, Kind::Taken),
    (3, Kind::Deny),
    (4, Kind::Release),
    (5, Kind::Idle),
    (6, Kind::Revoke),
    (8, Kind::QueuePositionRequest),
    (9, Kind::QueuePositionInfo),
    (10, Kind::Ack),
    (11, Kind::MediaFlowControl),
    (14, Kind::QueuedRequests),
    (15, Kind::ReleaseMultiTalker),
];

impl Kind {
    /// The low four bits of the subtype.
    pub fn number(self) -> u8 {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or(0, |(number, _)| *number)
    }

    pub fn of(number: u8) -> Option<Kind> {
        KINDS.iter().find(|(n, _)| *n == number).map(|(_, kind)| *kind)
    }
}

/// The bits of the Floor Indicator (8.2.3.15).
pub mod indicator {
    pub const NORMAL: u16 = 0x8000;
    pub const BROADCAST: u16 = 0x4000;
    pub const SYSTEM: u16 = 0x2000;
    pub const EMERGENCY: u16 = 0x1000;
    pub const IMMINENT_PERIL: u16 = 0x0800;
    pub const QUEUEING: u16 = 0x0400;
    pub const DUAL_FLOOR: u16 = 0x0200;
    pub const TEMPORARY: u16 = 0x0100;
    pub const MULTI_TALKER: u16 = 0x0080;
}

/// A place in the queue (8.2.3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QueueInfo {
    /// 255: not disclosed, 254: not queued.
    pub position: u8,
    pub priority: u8,
}

/// One message. What a field does not stand in the packet is none; fields that we do not use are skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: Kind,
    /// The sender's.
    pub ssrc: u32,
    pub wants_ack: bool,
    /// Field 0, 0 to 255; more is more urgent.
    pub priority: Option<u8>,
    /// Field 1, in seconds.
    pub duration: Option<u16>,
    /// Field 2: the cause's number and its words.
    pub cause: Option<(u16, String)>,
    /// Field 3.
    pub queue: Option<QueueInfo>,
    /// Field 4, a URI.
    pub granted_party: Option<String>,
    /// Field 5.
    pub may_request: Option<bool>,
    /// Field 6, a URI.
    pub user: Option<String>,
    /// Field 7.
    pub queue_size: Option<u16>,
    /// Field 8; orders Taken and Idle.
    pub sequence: Option<u16>,
    /// Field 9, a URI.
    pub queued_user: Option<String>,
    /// Field 10: 0 a participant, 2 the controlling server.
    pub source: Option<u16>,
    /// Field 12: the subtype that is acknowledged.
    pub acknowledged: Option<u8>,
    /// Field 13, see [`indicator`].
    pub indicator: Option<u16>,
    /// Field 14: the SSRC of the talker's sound.
    pub audio_ssrc: Option<u32>,
}

impl Message {
    pub fn new(kind: Kind, ssrc: u32) -> Message {
        Message {
            kind,
            ssrc,
            wants_ack: false,
            priority: None,
            duration: None,
            cause: None,
            queue: None,
            granted_party: None,
            may_request: None,
            user: None,
            queue_size: None,
            sequence: None,
            queued_user: None,
            source: None,
            acknowledged: None,
            indicator: None,
            audio_ssrc: None,
        }
    }

    /// All messages of a datagram. APP packets of other names and unknown subtypes are passed over; what is broken is an error.
    pub fn parse_all(data: &[u8]) -> Result<Vec<Message>, ParseError> {
        let mut messages = Vec::new();
        let mut at = 0;
        while at < data.len() {
            let rest = data.get(at..).unwrap_or_default();
            let [first, packet_type, ..] = rest else { return Err(ParseError::new("RTCP header cut short", at)) };
            if first >> 6 != 2 {
                return Err(ParseError::new("RTCP version is not 2", at));
            }
            let words = be16(rest, 2).ok_or(ParseError::new("RTCP header cut short", at))?;
            let end = 4 * (usize::from(words) + 1);
            let packet = rest.get(..end).ok_or(ParseError::new("RTCP packet longer than the datagram", at))?;
            if *packet_type == APP && packet.get(8..12) == Some(NAME) {
                if messages.len() >= MAX_MESSAGES {
                    return Err(ParseError::new("more floor messages than one datagram may hold", at));
                }
                messages.extend(Message::parse(packet, at)?);
            }
            at += end;
        }
        Ok(messages)
    }

    /// One whole packet that begins at `base` of the datagram.
    fn parse(packet: &[u8], base: usize) -> Result<Option<Message>, ParseError> {
        let subtype = packet.first().map_or(0, |b| b & 0x1F);
        let ssrc = be32(packet, 4).ok_or(ParseError::new("APP packet without SSRC", base))?;
        let Some(kind) = Kind::of(subtype & 0x0F) else { return Ok(None) };
        let mut message = Message { wants_ack: subtype & WANTS_ACK != 0, ..Message::new(kind, ssrc) };
        let mut at = 12;
        for _ in 0..MAX_FIELDS {
            let Some([id, length]) = packet.get(at..).and_then(|f| f.first_chunk::<2>()) else { break };
            let begin = at + 2;
            let value = packet
                .get(begin..begin + usize::from(*length))
                .ok_or(ParseError::new("floor field longer than its packet", base + at))?;
            message.take(if *id >= LATER { *id - LATER } else { *id }, value, base + at)?;
            at = (begin + usize::from(*length)).next_multiple_of(4);
        }
        Ok(Some(message))
    }

    fn take(&mut self, id: u8, value: &[u8], at: usize) -> Result<(), ParseError> {
        let short = ParseError::new("floor field too short for its kind", at);
        let number = || be16(value, 0).ok_or(short);
        let text = || match std::str::from_utf8(value) {
            Ok(text) => Ok(text.trim_end_matches('\0').to_owned()),
            Err(_) => Err(ParseError::new("floor field is not UTF-8", at)),
        };
        match id {
            0 => self.priority = Some(*value.first().ok_or(short)?),
            1 => self.duration = Some(number()?),
            2 => {
                let words = String::from_utf8_lossy(value.get(2..).unwrap_or_default());
                self.cause = Some((number()?, words.trim_end_matches('\0').to_owned()));
            }
            3 => {
                let [position, priority, ..] = value else { return Err(short) };
                self.queue = Some(QueueInfo { position: *position, priority: *priority });
            }
            4 => self.granted_party = Some(text()?),
            5 => self.may_request = Some(number()? != 0),
            6 => self.user = Some(text()?),
            7 => self.queue_size = Some(number()?),
            8 => self.sequence = Some(number()?),
            9 => self.queued_user = Some(text()?),
            10 => self.source = Some(number()?),
            12 => self.acknowledged = Some(*value.first().ok_or(short)?),
            13 => self.indicator = Some(number()?),
            14 => self.audio_ssrc = Some(be32(value, 0).ok_or(short)?),
            _ => {}
        }
        Ok(())
    }

    /// Appends the packet. Texts beyond 255 bytes are cut at a letter.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let subtype = self.kind.number() | if self.wants_ack { WANTS_ACK } else { 0 };
        out.extend_from_slice(&[0x80 | subtype, APP, 0, 0]);
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(NAME);
        let mut field = |id: u8, value: &[u8]| {
            let value = value.get(..255).unwrap_or(value);
            out.extend_from_slice(&[id, value.len() as u8]);
            out.extend_from_slice(value);
            out.resize(start + (out.len() - start).next_multiple_of(4), 0);
        };
        let pair = |n: u16| n.to_be_bytes();
        if let Some(priority) = self.priority {
            field(0, &[priority, 0]);
        }
        if let Some(seconds) = self.duration {
            field(1, &pair(seconds));
        }
        if let Some((cause, words)) = &self.cause {
            field(2, &[&pair(*cause)[..], cut(words, 253).as_bytes()].concat());
        }
        if let Some(queue) = self.queue {
            field(3, &[queue.position, queue.priority]);
        }
        if let Some(uri) = &self.granted_party {
            field(4, cut(uri, 255).as_bytes());
        }
        if let Some(may) = self.may_request {
            field(5, &pair(u16::from(may)));
        }
        if let Some(uri) = &self.user {
            field(6, cut(uri, 255).as_bytes());
        }
        if let Some(size) = self.queue_size {
            field(7, &pair(size));
        }
        if let Some(sequence) = self.sequence {
            field(8, &pair(sequence));
        }
        if let Some(uri) = &self.queued_user {
            field(9, cut(uri, 255).as_bytes());
        }
        if let Some(source) = self.source {
            field(10, &pair(source));
        }
        if let Some(subtype) = self.acknowledged {
            field(12, &[subtype, 0]);
        }
        if let Some(bits) = self.indicator {
            field(13, &pair(bits));
        }
        if let Some(ssrc) = self.audio_ssrc {
            field(14, &[&ssrc.to_be_bytes()[..], &[0, 0]].concat());
        }
        let words = ((out.len() - start) / 4).saturating_sub(1) as u16;
        if let Some(length) = out.get_mut(start + 2..start + 4) {
            length.copy_from_slice(&words.to_be_bytes());
        }
    }
}

/// The longest beginning of whole letters within so many bytes.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn all(kind: Kind) -> Message {
        Message {
            wants_ack: true,
            priority: Some(200),
            duration: Some(30),
            cause: Some((4, "pre-empted".to_owned())),
            queue: Some(QueueInfo { position: 2, priority: 50 }),
            granted_party: Some("sip:u1@h".to_owned()),
            may_request: Some(true),
            user: Some("sip:unit-17@county.example".to_owned()),
            queue_size: Some(3),
            sequence: Some(65_535),
            queued_user: Some("sip:u2@h".to_owned()),
            source: Some(2),
            acknowledged: Some(1),
            indicator: Some(indicator::EMERGENCY | indicator::QUEUEING),
            audio_ssrc: Some(0xDEAD_BEEF),
            ..Message::new(kind, 7)
        }
    }

    fn written(message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        message.write(&mut out);
        out
    }

    /// The example of our reference: priority 5 and the user sip:u1@h.
    #[test]
    fn the_known_request() {
        let bytes = [
            0x80, 0xCC, 0, 6, 0, 0, 3, 0xE9, b'M', b'C', b'P', b'T', 0, 2, 5, 0, 6, 8, b's', b'i', b'p', b':', b'u',
            b'1', b'@', b'h', 0, 0,
        ];
        let request =
            Message { priority: Some(5), user: Some("sip:u1@h".to_owned()), ..Message::new(Kind::Request, 1001) };
        assert_eq!(written(&request), bytes);
        assert_eq!(Message::parse_all(&bytes).unwrap(), [request]);
    }

    #[test]
    fn every_kind_and_field_comes_back_also_beside_others() {
        let mut datagram = Vec::new();
        let messages: Vec<_> = KINDS.iter().map(|(_, kind)| all(*kind)).collect();
        messages.iter().for_each(|m| m.write(&mut datagram));
        // A receiver report between them, an APP packet of another name, and a subtype that nobody knows.
        datagram.extend_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, 1]);
        datagram.extend_from_slice(&[0x80, 204, 0, 2, 0, 0, 0, 1, b'P', b'o', b'C', b'1']);
        datagram.extend_from_slice(&[0x87, 204, 0, 2, 0, 0, 0, 1, b'M', b'C', b'P', b'T']);
        assert_eq!(Message::parse_all(&datagram).unwrap(), messages);
        // The later numbers of the fields, and one that is unknown, are read and passed over.
        let later = [0x81, 204, 0, 5, 0, 0, 0, 1, b'M', b'C', b'P', b'T', 103, 2, 0, 30, 77, 1, 9, 0, 102, 2, 8, 0];
        let read = Message::parse_all(&later).unwrap();
        assert_eq!((read[0].kind, read[0].duration, read[0].priority), (Kind::Granted, Some(30), Some(8)));
    }

    #[test]
    fn what_is_broken_is_said_with_its_place() {
        let whole = written(&all(Kind::Taken));
        for end in 1..whole.len() {
            assert!(Message::parse_all(&whole[..end]).is_err(), "cut at {end}");
        }
        let mut long = whole.clone();
        long[13] = 255;
        assert_eq!(Message::parse_all(&long).unwrap_err().to_string(), "floor field longer than its packet at byte 12");
        let mut old = whole.clone();
        old[0] &= 0x3F;
        assert_eq!(Message::parse_all(&old).unwrap_err().what, "RTCP version is not 2");
        let mut text = whole;
        let at = text.windows(3).position(|w| w == b"sip").unwrap();
        text[at] = 0xFF;
        assert_eq!(Message::parse_all(&text).unwrap_err().what, "floor field is not UTF-8");
        let many = written(&Message::new(Kind::Idle, 1)).repeat(MAX_MESSAGES + 1);
        assert!(Message::parse_all(&many).is_err());
    }

    #[test]
    fn long_texts_are_cut_at_a_letter() {
        let message = Message { user: Some("指".repeat(100)), ..Message::new(Kind::Release, 1) };
        let read = Message::parse_all(&written(&message)).unwrap();
        assert_eq!(read[0].user, Some("指".repeat(85)));
    }

    /// Whatever comes is read or refused, and what was read is written as it can be read again.
    #[test]
    fn any_bytes() {
        let (mut seed, whole) = (0x2545_F491_4F6C_DD1Du64, written(&all(Kind::Granted)));
        for _ in 0..200_000 {
            let mut data = whole.clone();
            for _ in 0..4 {
                seed ^= seed >> 12;
                seed ^= seed << 25;
                seed ^= seed >> 27;
                let at = (seed >> 8) as usize % data.len();
                data[at] = (seed >> 40) as u8;
            }
            let Ok(messages) = Message::parse_all(&data) else { continue };
            let mut again = Vec::new();
            messages.iter().for_each(|m| m.write(&mut again));
            assert_eq!(Message::parse_all(&again).unwrap(), messages);
        }
    }
}
