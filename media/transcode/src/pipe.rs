//! The messages between the gateway and a long-running worker: a header of 16 bytes and a bounded body.
//!
//! | Byte | Field |
//! | --- | --- |
//! | 0 | kind: `F` frame, `K` key frame wanted |
//! | 1 | flags of a frame: [`KEY`], [`PASS`] |
//! | 2, 3 | 0 |
//! | 4 to 7 | length of the body, big endian, at most [`MAX_BODY`] |
//! | 8 to 15 | time stamp in ticks of the track's clock, big endian |

/// Largest body, in bytes: that of an access unit.
pub const MAX_BODY: usize = 16 << 20;
/// Length of the header.
pub const HEADER: usize = 16;
/// The frame is a key frame.
pub const KEY: u8 = 1;
/// Decode it, but give nothing for it: it is too old to be seen.
pub const PASS: u8 = 2;

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: u8,
    pub flags: u8,
    pub length: usize,
    pub stamp: i64,
}

impl Header {
    pub fn frame(flags: u8, length: usize, stamp: i64) -> Header {
        Header { kind: b'F', flags, length, stamp }
    }

    pub fn key_wanted() -> Header {
        Header { kind: b'K', flags: 0, length: 0, stamp: 0 }
    }

    pub fn write(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[0] = self.kind;
        out[1] = self.flags;
        out[4..8].copy_from_slice(&(self.length as u32).to_be_bytes());
        out[8..].copy_from_slice(&self.stamp.to_be_bytes());
        out
    }

    /// None when it is no header, or its body is over the limit.
    pub fn read(bytes: &[u8; HEADER]) -> Option<Header> {
        let [kind, flags, _, _, a, b, c, d, stamp @ ..] = *bytes;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let known = matches!(kind, b'F' | b'K') && length <= MAX_BODY;
        known.then(|| Header { kind, flags, length, stamp: i64::from_be_bytes(stamp) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_cross_and_nonsense_is_refused() {
        let header = Header::frame(KEY, 70_000, -5);
        assert_eq!(Header::read(&header.write()), Some(header));
        assert_eq!(Header::read(&[0; HEADER]), None);
        let mut long = header.write();
        long[4] = 0xFF;
        assert_eq!(Header::read(&long), None);
    }
}
