//! Writing boxes into memory, and walking boxes in memory.

/// A buffer into which boxes are written; sizes are filled in when a box ends.
#[derive(Debug, Default)]
pub(crate) struct BoxBuf(pub Vec<u8>);

impl BoxBuf {
    pub fn u8(&mut self, v: u8) {
        self.0.push(v);
    }
    pub fn u16(&mut self, v: u16) {
        self.0.extend_from_slice(&v.to_be_bytes());
    }
    pub fn u32(&mut self, v: u32) {
        self.0.extend_from_slice(&v.to_be_bytes());
    }
    pub fn u64(&mut self, v: u64) {
        self.0.extend_from_slice(&v.to_be_bytes());
    }
    pub fn bytes(&mut self, v: &[u8]) {
        self.0.extend_from_slice(v);
    }
    pub fn zeros(&mut self, n: usize) {
        self.0.resize(self.0.len() + n, 0);
    }

    /// Writes a box around what `body` writes.
    pub fn boxed(&mut self, kind: &[u8; 4], body: impl FnOnce(&mut Self)) {
        let at = self.0.len();
        self.u32(0);
        self.bytes(kind);
        body(self);
        let size = (self.0.len() - at) as u32;
        self.0[at..at + 4].copy_from_slice(&size.to_be_bytes());
    }

    /// Writes a full box: version and flags, then what `body` writes.
    pub fn full(&mut self, kind: &[u8; 4], version: u8, flags: u32, body: impl FnOnce(&mut Self)) {
        self.boxed(kind, |b| {
            b.u32(u32::from(version) << 24 | (flags & 0x00FF_FFFF));
            body(b);
        });
    }
}

/// Something in the structure is not as this recorder writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Byte in the file.
    pub offset: u64,
    pub why: String,
}

impl Trouble {
    pub fn new(offset: u64, why: impl Into<String>) -> Self {
        Trouble { offset, why: why.into() }
    }
}

/// A reader over the body of one box, which knows where in the file it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body<'a> {
    pub data: &'a [u8],
    /// File offset of `data[0]`.
    pub at: u64,
}

impl<'a> Body<'a> {
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Trouble> {
        match self.data.split_at_checked(n) {
            Some((head, rest)) => {
                self.data = rest;
                self.at += n as u64;
                Ok(head)
            }
            None => Err(Trouble::new(self.at, "box is too short")),
        }
    }

    pub fn u32(&mut self) -> Result<u32, Trouble> {
        Ok(self.take(4)?.iter().fold(0, |a, b| a << 8 | u32::from(*b)))
    }

    pub fn u64(&mut self) -> Result<u64, Trouble> {
        Ok(self.take(8)?.iter().fold(0, |a, b| a << 8 | u64::from(*b)))
    }

    /// The next child box: its type and body. None at the end.
    pub fn child(&mut self) -> Result<Option<(&'a [u8], Body<'a>)>, Trouble> {
        if self.data.is_empty() {
            return Ok(None);
        }
        let start = self.at;
        let size = self.u32()? as usize;
        let kind = self.take(4)?;
        let len = size.checked_sub(8).ok_or_else(|| Trouble::new(start, "box size below 8"))?;
        let at = self.at;
        let data = self.take(len).map_err(|_| Trouble::new(start, "box reaches beyond its parent"))?;
        Ok(Some((kind, Body { data, at })))
    }

    /// The next child, which must be of this type.
    pub fn expect(&mut self, kind: &[u8; 4]) -> Result<Body<'a>, Trouble> {
        let start = self.at;
        match self.child()? {
            Some((k, body)) if k == kind => Ok(body),
            _ => Err(Trouble::new(start, format!("no {} box where one belongs", String::from_utf8_lossy(kind)))),
        }
    }

    pub fn end(&self, what: &str) -> Result<(), Trouble> {
        if self.data.is_empty() { Ok(()) } else { Err(Trouble::new(self.at, format!("{what} is too long"))) }
    }
}

/// CRC-32 (IEEE 802.3), continued from `crc` (0 to begin).
pub(crate) fn crc32(crc: u32, data: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0u32; 256];
        let mut n = 0;
        while n < 256 {
            let mut c = n as u32;
            let mut k = 0;
            while k < 8 {
                c = if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 };
                k += 1;
            }
            table[n] = c;
            n += 1;
        }
        table
    };
    !data.iter().fold(!crc, |c, b| TABLE[((c ^ u32::from(*b)) & 0xFF) as usize] ^ (c >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_check_value() {
        assert_eq!(crc32(0, b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(crc32(0, b"1234"), b"56789"), 0xCBF4_3926);
    }
}
