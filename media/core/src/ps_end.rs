//! Where a picture ends in a stream without usable RTP markers. A device that puts the end of each picture at the end of an
//! RTP packet is believed after a while, so that the picture need not wait for the next one (40 ms at 25 pictures a second).

/// Pictures in a row that ended so before it is believed.
const TRUST: u32 = 8;

/// Learns from what follows a PES that ended with its packet.
#[derive(Debug, Default)]
pub(crate) struct PictureEnd {
    right: u32,
    /// Shortest PES after which the picture went on: one as long as that proves nothing (a large picture cut in pieces).
    continued: Option<usize>,
    /// The last packet ended with a video PES of so many bytes.
    open: Option<usize>,
    wrong: bool,
}

impl PictureEnd {
    /// Forgets all (sender restarted).
    pub fn reset(&mut self) {
        *self = PictureEnd::default();
    }

    /// Packets are missing: the next one proves nothing.
    pub fn lost(&mut self) {
        self.open = None;
    }

    /// An end that was believed was none.
    pub fn was_wrong(&mut self) {
        self.wrong = true;
    }

    /// The next packet: does it begin something new, as it should? `pts`: of the picture so far.
    pub fn next(&mut self, payload: &[u8], pts: Option<u64>) {
        let Some(length) = self.open.take() else { return };
        match begins(payload, pts) {
            Some(true) => self.right = self.right.saturating_add(1),
            Some(false) => self.continued = Some(self.continued.map_or(length, |c| c.min(length))),
            None => {}
        }
    }

    /// A packet ended together with a video PES of `length` bytes: whether the picture is over.
    pub fn ended(&mut self, length: usize) -> bool {
        self.open = Some(length);
        !self.wrong && self.right >= TRUST && self.continued.is_none_or(|c| length < c)
    }
}

/// Whether a payload begins another picture (or sound behind this one); none when it tells nothing.
fn begins(payload: &[u8], pts: Option<u64>) -> Option<bool> {
    let mut at = 0;
    // Pack header, system header and map may stand before the PES that decides.
    for _ in 0..4 {
        let b = payload.get(at..)?;
        if !b.starts_with(&[0, 0, 1]) {
            return None;
        }
        at += match *b.get(3)? {
            0xBA if b.get(4..7) == Some(&[0, 0, 1]) => 4,
            0xBA if b.get(4)? >> 6 == 1 => 14 + usize::from(b.get(13)? & 7),
            0xBA => 12,
            // A system header or a map comes with a key frame only.
            0xBB | 0xBC => return Some(true),
            0xC0..=0xDF => return Some(true),
            0xE0..=0xEF => {
                return Some(match (crate::ps_pes::pes_stamp(b), pts) {
                    (Some(a), Some(b)) => a != b,
                    (Some(_), None) => true,
                    (None, _) => false,
                });
            }
            _ => return None,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pes(pts: Option<u8>) -> Vec<u8> {
        let mut b = vec![0, 0, 1, 0xE0, 0, 20, 0x80, if pts.is_some() { 0x80 } else { 0 }, 5];
        b.extend([0x21, 0, 1, 0, pts.unwrap_or(0) << 1 | 1, 0, 0, 0]);
        b
    }

    #[test]
    fn believed_after_eight_and_never_for_pieces() {
        let mut e = PictureEnd::default();
        for n in 0..8u8 {
            assert!(!e.ended(3000));
            e.next(&pes(Some(n + 1)), Some(u64::from(n)));
        }
        assert!(e.ended(3000));
        // A large picture in pieces of 5000: such a piece is no end, shorter ones are.
        e.next(&pes(Some(9)), Some(8));
        e.ended(5000);
        e.next(&pes(None), Some(9));
        assert!(!e.ended(5000) && e.ended(4999));
        e.was_wrong();
        assert!(!e.ended(10));
    }
}
