//! AMR and AMR-WB in RTP (RFC 4867): both framings, the codec mode request, the mode set.
//!
//! Inside, frames have the form of RFC 4867 5.3 (the storage format): one octet with type and quality, then the bits of the
//! frame, the last octet filled with zeros. A payload may hold several.

use crate::error::ParseError;

/// Bits of the speech frames and of the silence description that follows them (RFC 4867 table 1; 3GPP TS 26.101, 26.201).
const NARROW: [u16; 9] = [95, 103, 118, 134, 148, 159, 204, 244, 39];
const WIDE: [u16; 10] = [132, 177, 253, 285, 317, 365, 397, 461, 477, 40];
/// Nothing was sent, or it was lost before the gateway that made the packet.
pub const NO_DATA: u8 = 15;
/// AMR-WB: the frame is lost.
pub const SPEECH_LOST: u8 = 14;
/// No mode is asked for.
pub const NO_REQUEST: u8 = 15;
/// Frames of 20 ms that one packet may hold: 240 ms.
pub const MOST_FRAMES: usize = 12;

/// What the frames of a payload look like on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// AMR-WB.
    pub wide: bool,
    /// Octet-aligned; else bandwidth-efficient, the default of RFC 4867 8.1.
    pub aligned: bool,
}

/// The type of the silence description: 8, AMR-WB 9.
pub fn sid(wide: bool) -> u8 {
    if wide { 9 } else { 8 }
}

/// Bits of a frame type; none for one that is not in use.
pub fn bits(wide: bool, kind: u8) -> Option<usize> {
    let table: &[u16] = if wide { &WIDE } else { &NARROW };
    match table.get(usize::from(kind)) {
        Some(bits) => Some(usize::from(*bits)),
        None if kind == NO_DATA || (wide && kind == SPEECH_LOST) => Some(0),
        None => None,
    }
}

/// One frame of the form that is used inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored<'a> {
    pub kind: u8,
    /// Its bits are not damaged.
    pub good: bool,
    pub data: &'a [u8],
}

/// Takes the first frame off; none at the end and before what is no frame.
pub fn next_stored<'a>(wide: bool, rest: &mut &'a [u8]) -> Option<Stored<'a>> {
    let (head, tail) = rest.split_first()?;
    let kind = head >> 3 & 15;
    let data = tail.get(..bits(wide, kind)?.div_ceil(8))?;
    *rest = &tail[data.len()..];
    Some(Stored { kind, good: head & 4 != 0, data })
}

/// The octet in front of a stored frame.
pub fn stored_head(kind: u8, good: bool) -> u8 {
    (kind & 15) << 3 | u8::from(good) << 2
}

struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// Up to 8 bits.
    fn take(&mut self, n: usize) -> Option<u8> {
        if self.at + n > self.data.len() * 8 {
            return None;
        }
        let mut value = 0u16;
        for i in self.at..self.at + n {
            value = value << 1 | u16::from(self.data[i / 8] >> (7 - i % 8) & 1);
        }
        self.at += n;
        Some(value as u8)
    }
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    free: usize,
}

impl Writer<'_> {
    /// The lowest `n` of 8 bits.
    fn put(&mut self, value: u8, n: usize) {
        for i in (0..n).rev() {
            if self.free == 0 {
                self.out.push(0);
                self.free = 8;
            }
            self.free -= 1;
            if let Some(last) = self.out.last_mut() {
                *last |= (value >> i & 1) << self.free;
            }
        }
    }
}

/// Reads one RTP payload: appends its frames, and gives the mode that the far end wants to receive ([`NO_REQUEST`] for none) and
/// the number of frames. More than [`MOST_FRAMES`], a type that is not in use and a payload that is too short are errors;
/// `out` is then as it was.
pub fn unpack(form: Form, payload: &[u8], out: &mut Vec<u8>) -> Result<(u8, usize), ParseError> {
    let short = ParseError::new("AMR payload too short", 0);
    let mut r = Reader { data: payload, at: 0 };
    let request = r.take(4).ok_or(short)?;
    if form.aligned {
        r.take(4).ok_or(short)?;
    }
    let mut heads = [0u8; MOST_FRAMES];
    let mut count = 0;
    loop {
        let head = r.take(if form.aligned { 8 } else { 6 }).ok_or(short)?;
        let head = if form.aligned { head >> 2 } else { head };
        let slot = heads.get_mut(count).ok_or(ParseError::new("too many AMR frames in a packet", r.at / 8))?;
        bits(form.wide, head >> 1 & 15).ok_or(ParseError::new("AMR frame type not in use", r.at / 8))?;
        *slot = head;
        count += 1;
        if head & 0x20 == 0 {
            break;
        }
    }
    let before = out.len();
    for head in &heads[..count] {
        let kind = head >> 1 & 15;
        let n = bits(form.wide, kind).unwrap_or(0);
        out.push(stored_head(kind, head & 1 != 0));
        let mut left = n;
        while left > 0 {
            let part = left.min(8);
            let Some(value) = r.take(part) else {
                out.truncate(before);
                return Err(short);
            };
            out.push(value << (8 - part));
            left -= part;
        }
        if form.aligned && !r.at.is_multiple_of(8) {
            r.at += 8 - r.at % 8;
        }
    }
    Ok((request, count))
}

/// Writes stored frames as one RTP payload with a mode request ([`NO_REQUEST`] for none). Gives how many frames: 0 when there
/// are none, more than [`MOST_FRAMES`], or something else than frames, and then nothing is written.
pub fn pack(form: Form, request: u8, stored: &[u8], out: &mut Vec<u8>) -> usize {
    let (mut rest, mut frames) = (stored, Vec::with_capacity(1));
    while let Some(frame) = next_stored(form.wide, &mut rest) {
        frames.push(frame);
    }
    if frames.is_empty() || frames.len() > MOST_FRAMES || !rest.is_empty() {
        return 0;
    }
    let mut w = Writer { out, free: 0 };
    w.put(request, 4);
    if form.aligned {
        w.put(0, 4);
    }
    for (i, frame) in frames.iter().enumerate() {
        w.put(u8::from(i + 1 < frames.len()), 1);
        w.put(frame.kind, 4);
        w.put(u8::from(frame.good), 1);
        if form.aligned {
            w.put(0, 2);
        }
    }
    for frame in &frames {
        let n = bits(form.wide, frame.kind).unwrap_or(0);
        for (i, byte) in frame.data.iter().enumerate() {
            let part = (n - 8 * i).min(8);
            w.put(byte >> (8 - part), part);
        }
        if form.aligned {
            w.free = 0;
        }
    }
    frames.len()
}

/// What a description says of AMR in its `a=fmtp` (RFC 4867 8.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub aligned: bool,
    /// The modes that may be sent, a bit each; none: all.
    pub modes: Option<u16>,
    /// Frame-blocks between two changes of the mode: 1 or 2.
    pub period: u8,
    /// Changes go to the next mode only.
    pub neighbour: bool,
    /// Something that is not done here: CRC, sorting by importance, interleaving, more than one channel.
    pub foreign: bool,
}

impl Terms {
    pub fn parse(fmtp: Option<&str>) -> Terms {
        let mut t = Terms { aligned: false, modes: None, period: 1, neighbour: false, foreign: false };
        for (name, value) in fmtp.unwrap_or_default().split(';').filter_map(|p| p.trim().split_once('=')) {
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "octet-align" => t.aligned = value == "1",
                "mode-set" => {
                    let modes = value.split(',').filter_map(|m| m.trim().parse::<u8>().ok()).filter(|m| *m < 9);
                    let set = modes.fold(0u16, |set, m| set | 1 << m);
                    t.modes = (set != 0).then_some(set);
                }
                "mode-change-period" => t.period = if value == "2" { 2 } else { 1 },
                "mode-change-neighbor" => t.neighbour = value == "1",
                "crc" | "robust-sorting" => t.foreign |= value == "1",
                "interleaving" => t.foreign = true,
                "channels" => t.foreign |= value != "1",
                _ => {}
            }
        }
        t
    }

    /// The parameters of our answer: framing and mode set as they were offered (RFC 4867 8.3.1).
    pub fn answer(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.aligned {
            parts.push("octet-align=1".to_owned());
        }
        if let Some(set) = self.modes {
            let modes: Vec<String> = (0..9).filter(|m| set >> m & 1 == 1).map(|m| m.to_string()).collect();
            parts.push(format!("mode-set={}", modes.join(",")));
        }
        if self.period == 2 {
            parts.push("mode-change-period=2".to_owned());
        }
        if self.neighbour {
            parts.push("mode-change-neighbor=1".to_owned());
        }
        (!parts.is_empty()).then(|| parts.join(";"))
    }

    /// Whether a speech mode may be sent.
    pub fn allows(&self, wide: bool, mode: u8) -> bool {
        mode < sid(wide) && self.modes.is_none_or(|set| set >> mode & 1 == 1)
    }

    /// The mode to send when `wanted` is asked for: that one, else the next lower one of the set, else its lowest.
    pub fn mode(&self, wide: bool, wanted: u8) -> u8 {
        let allowed = || (0..sid(wide)).filter(|m| self.allows(wide, *m));
        allowed().filter(|m| *m <= wanted).max().or_else(|| allowed().next()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn forms() -> impl Iterator<Item = Form> {
        [(false, false), (false, true), (true, false), (true, true)]
            .map(|(wide, aligned)| Form { wide, aligned })
            .into_iter()
    }

    #[test]
    fn every_frame_type_comes_back_in_both_framings() {
        for form in forms() {
            for kind in (0..16).filter(|k| bits(form.wide, *k).is_some()) {
                let n = bits(form.wide, kind).unwrap();
                let mut stored = vec![stored_head(kind, kind % 2 == 0)];
                let mut data: Vec<u8> = (0..n.div_ceil(8)).map(|i| (i as u8).wrapping_mul(37) ^ 0xA5).collect();
                if let (Some(last), spare) = (data.last_mut(), n.div_ceil(8) * 8 - n) {
                    *last &= 0xFFu8 << spare;
                }
                stored.extend(&data);
                let twice: Vec<u8> = stored.iter().chain(&stored).copied().collect();
                for all in [&stored, &twice] {
                    let (mut wire, mut back) = (Vec::new(), Vec::new());
                    let frames = pack(form, 5, all, &mut wire);
                    assert_eq!(unpack(form, &wire, &mut back).unwrap(), (5, frames), "{form:?} {kind}");
                    assert_eq!(&back, all, "{form:?} {kind}");
                }
            }
        }
    }

    /// RFC 4867 4.3.5.1 and 4.5.1 in sizes: 12.2 kbit/s is 32 octets in both framings of one frame (bandwidth-efficient
    /// 4 + 6 + 244 bits; aligned 1 + 1 + 31 octets is 33).
    #[test]
    fn the_sizes_of_the_standard() {
        let stored: Vec<u8> = std::iter::once(stored_head(7, true)).chain([0xFF; 31]).collect();
        for (aligned, size) in [(false, 32), (true, 33)] {
            let mut wire = Vec::new();
            assert_eq!(pack(Form { wide: false, aligned }, NO_REQUEST, &stored, &mut wire), 1);
            assert_eq!((wire.len(), wire[0] >> 4), (size, 15));
        }
    }

    #[test]
    fn what_is_cut_short_or_not_in_use_is_refused() {
        for form in forms() {
            let stored: Vec<u8> = std::iter::once(stored_head(2, true)).chain([0x5A; 40]).collect();
            let stored = &stored[..1 + bits(form.wide, 2).unwrap().div_ceil(8)];
            let mut wire = Vec::new();
            pack(form, 15, stored, &mut wire);
            for n in 0..wire.len() {
                let mut out = vec![9];
                assert!(unpack(form, &wire[..n], &mut out).is_err(), "{form:?} {n}");
                assert_eq!(out, [9]);
            }
            assert_eq!(pack(form, 15, &stored[..stored.len() - 1], &mut Vec::new()), 0);
        }
        let endless = vec![0xFFu8; 64];
        assert!(unpack(Form { wide: false, aligned: true }, &endless, &mut Vec::new()).is_err());
        assert!(unpack(Form { wide: false, aligned: true }, &[0xF0, 12 << 3], &mut Vec::new()).is_err(), "type 12");
    }

    #[test]
    fn terms_are_read_and_answered() {
        let t = Terms::parse(Some("octet-align=1; mode-set=0,2,4,7; mode-change-period=2;max-red=0"));
        assert_eq!((t.aligned, t.modes, t.period, t.foreign), (true, Some(0b1001_0101), 2, false));
        assert_eq!(t.answer().as_deref(), Some("octet-align=1;mode-set=0,2,4,7;mode-change-period=2"));
        assert_eq!([t.mode(false, 7), t.mode(false, 6), t.mode(false, 1), t.mode(false, 15)], [7, 4, 0, 7]);
        let plain = Terms::parse(None);
        assert_eq!((plain.answer(), plain.mode(true, 8), plain.mode(false, 8)), (None, 8, 7));
        for f in ["crc=1", "robust-sorting=1", "interleaving=30", "channels=2"] {
            assert!(Terms::parse(Some(f)).foreign, "{f}");
        }
        assert_eq!(Terms::parse(Some("mode-set=5")).mode(false, 2), 5);
    }
}
