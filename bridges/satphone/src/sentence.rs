//! Sentences of BeiDou terminals: `$KIND,field,...*hh`, the sum being the XOR of all between `$` and `*`. Fields are bytes: Chinese
//! characters may stand in them as they are, in GB18030.

/// Longest sentence that is read: a regional message of BDS-3 in hexadecimal digits, with room.
pub const MOST_LINE: usize = 4_096;
/// Fields that are kept of one sentence.
const MOST_FIELDS: usize = 32;

/// Why a line is no sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// It does not begin with `$`, or has no kind.
    Form,
    /// There is no sum, or it does not fit.
    Sum,
}

/// One sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence<'a> {
    /// As `BDTCI`.
    pub kind: &'a str,
    pub fields: Vec<&'a [u8]>,
}

impl<'a> Sentence<'a> {
    /// Reads a line without its end.
    pub fn parse(line: &'a [u8]) -> Result<Self, Bad> {
        let start = line.iter().position(|b| *b == b'$').ok_or(Bad::Form)?;
        let line = line.get(start + 1..).unwrap_or_default();
        // The last star: a text may hold one.
        let star = line.iter().rposition(|b| *b == b'*').ok_or(Bad::Sum)?;
        let (body, sum) = (line.get(..star).unwrap_or_default(), line.get(star + 1..).unwrap_or_default());
        let sum = sum.get(..2).and_then(|s| std::str::from_utf8(s).ok()).and_then(|s| u8::from_str_radix(s, 16).ok());
        if sum.ok_or(Bad::Sum)? != self::sum(body) {
            return Err(Bad::Sum);
        }
        let mut fields = body.split(|b| *b == b',');
        let kind = fields.next().and_then(|k| std::str::from_utf8(k).ok()).unwrap_or_default();
        if !(3..=8).contains(&kind.len()) || !kind.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
            return Err(Bad::Form);
        }
        Ok(Sentence { kind, fields: fields.take(MOST_FIELDS).collect() })
    }

    /// A field as text without spaces around it; empty where there is none.
    pub fn text(&self, n: usize) -> &'a str {
        self.fields.get(n).and_then(|f| std::str::from_utf8(f).ok()).unwrap_or_default().trim()
    }
}

fn sum(body: &[u8]) -> u8 {
    body.iter().fold(0, |all, b| all ^ b)
}

/// A sentence for the wire, from all that stands between `$` and `*`.
pub fn write(body: &str) -> Vec<u8> {
    format!("${body}*{:02X}\r\n", sum(body.as_bytes())).into_bytes()
}

/// Cuts what comes from the terminal into lines. What is longer than a sentence may be is passed over to its end.
#[derive(Debug, Default)]
pub struct Lines {
    held: Vec<u8>,
    passing: bool,
}

impl Lines {
    /// The lines that are whole now.
    pub fn push(&mut self, data: &[u8]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for byte in data {
            match byte {
                b'\r' | b'\n' => {
                    let line = std::mem::take(&mut self.held);
                    if !std::mem::take(&mut self.passing) && !line.is_empty() {
                        out.push(line);
                    }
                }
                _ if self.passing => {}
                _ if self.held.len() >= MOST_LINE => {
                    self.held.clear();
                    self.passing = true;
                }
                _ => self.held.push(*byte),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn samples_of_real_terminals() {
        // Samples of public terminal libraries; their sums are the terminals' own.
        for (line, kind, fields) in [
            ("$CCICA,0,00*7B", "CCICA", 2),
            ("$BDICI,0000000,00000000,0000000,0,0,0,N,0*0B", "BDICI", 8),
            ("$CCTXA,0247718,1,2,A4C4E3BAC3*76", "CCTXA", 4),
            ("$CCTCQ,4238473,2,1,2,41424344,0*7E", "CCTCQ", 6),
            ("$CCRMO,PWI,2,1*31", "CCRMO", 3),
            ("noise$CCRMO,BSI,2,0*26", "CCRMO", 3),
        ] {
            let read = Sentence::parse(line.as_bytes()).unwrap();
            assert_eq!((read.kind, read.fields.len()), (kind, fields), "{line}");
            let body = line.split_once('$').unwrap().1.split_once('*').unwrap().0;
            assert!(line.as_bytes().ends_with(write(body).trim_ascii_end()));
        }
        assert_eq!(Sentence::parse(b"$CCICA,0,00*7C"), Err(Bad::Sum));
        assert_eq!(Sentence::parse(b"$CCICA,0,00"), Err(Bad::Sum));
        assert_eq!(Sentence::parse(b"CCICA,0,00*7B"), Err(Bad::Form));
        assert_eq!(Sentence::parse(&write(",")), Err(Bad::Form));
    }

    #[test]
    fn lines_in_pieces_and_without_end() {
        let mut lines = Lines::default();
        assert!(lines.push(b"$A,1*").is_empty());
        assert_eq!(lines.push(b"00\r\n\r\n$B"), [b"$A,1*00".to_vec()]);
        assert!(lines.push(&[b'x'; 3 * MOST_LINE]).is_empty());
        assert!(lines.held.len() <= MOST_LINE);
        assert_eq!(lines.push(b"yz\n$C*00\n"), [b"$C*00".to_vec()]);
    }
}
