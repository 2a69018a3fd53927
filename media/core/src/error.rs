//! The one error of every parser here: what was wrong, and where.

/// Why bytes were refused. `at` counts bytes from the start of what was given to the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct ParseError {
    pub what: &'static str,
    pub at: usize,
}

impl ParseError {
    pub const fn new(what: &'static str, at: usize) -> Self {
        ParseError { what, at }
    }
}

/// A big-endian read that never panics.
pub(crate) fn be16(b: &[u8], at: usize) -> Option<u16> {
    let s = b.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([s[0], s[1]]))
}

/// A big-endian read that never panics.
pub(crate) fn be32(b: &[u8], at: usize) -> Option<u32> {
    let s = b.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes([s[0], s[1], s[2], s[3]]))
}
