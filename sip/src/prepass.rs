//! The byte pre-pass in front of the parser: field tolerance that every GB/T 28181 listener needs.
//!
//! It takes line ends off the front, accepts bare LF (and CR) as line end **in the headers only**, joins folded lines,
//! reads header lines that are not UTF-8 as GB18030, and finds the body. **It never touches a byte of the body.**

use bytes::Bytes;

/// A message cut in two: the header part as text, one line per `\n`, and the body as it came.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Prepared {
    /// Start line and header lines joined by `\n`, unfolded.
    pub head: String,
    /// What stands behind the empty line.
    pub body: Bytes,
    /// There was an empty line, i.e. the header part was complete.
    pub complete: bool,
}

/// Length of the header part with its empty line, or `None` when that line has not come yet. `data` must not begin
/// with line ends.
pub(crate) fn head_len(data: &[u8]) -> Option<usize> {
    head_len_from(data, 0)
}

/// As [`head_len`], looking only behind `from` (which must be 0 or lie before any empty line).
pub(crate) fn head_len_from(data: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(rest) = data.get(at..) {
        let lf = at + rest.iter().position(|b| *b == b'\n')?;
        match (data.get(lf + 1), data.get(lf + 2)) {
            (Some(b'\n'), _) => return Some(lf + 2),
            (Some(b'\r'), Some(b'\n')) => return Some(lf + 3),
            _ => at = lf + 1,
        }
    }
    None
}

/// Number of bytes of CR and LF in front.
pub(crate) fn leading_line_ends(data: &[u8]) -> usize {
    data.iter().take_while(|b| **b == b'\r' || **b == b'\n').count()
}

/// The `Content-Length` in a header part: `None` when absent, `Some(None)` when it is no number or stands there twice
/// with different values.
pub(crate) fn content_length(head: &[u8]) -> Option<Option<usize>> {
    let mut found: Option<Option<usize>> = None;
    for line in head.split(|b| *b == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let name = line.get(..colon).unwrap_or_default().trim_ascii();
        if !(name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l")) {
            continue;
        }
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        let digits = !value.is_empty() && value.len() <= 12 && value.iter().all(u8::is_ascii_digit);
        let value = if digits { std::str::from_utf8(value).ok().and_then(|v| v.parse().ok()) } else { None };
        found = match found {
            Some(before) if before != value => Some(None),
            _ => Some(value),
        };
    }
    found
}

/// Cuts a message into head and body. With `datagram` the body is the rest of the datagram whatever Content-Length
/// says (devices count it wrongly after changing the character set), except that a stated 0 is believed; without it
/// (a stream, already framed) the rest is the body in any case.
pub fn prepare(data: &Bytes, datagram: bool) -> Prepared {
    let start = leading_line_ends(data);
    let data = data.slice(start..);
    let (head, body, complete) = match head_len(&data) {
        Some(len) => (data.slice(..len), data.slice(len..), true),
        None => (data.clone(), Bytes::new(), false),
    };
    let body = if datagram && content_length(&head) == Some(Some(0)) { Bytes::new() } else { body };
    Prepared { head: head_text(&head), body, complete }
}

fn head_text(head: &[u8]) -> String {
    let mut out = String::with_capacity(head.len());
    for (i, line) in head.split(|b| *b == b'\n').enumerate() {
        let folded = i > 0 && matches!(line.first(), Some(b' ' | b'\t'));
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = match std::str::from_utf8(line) {
            Ok(text) => std::borrow::Cow::Borrowed(text),
            Err(_) => encoding_rs::GB18030.decode_without_bom_handling(line).0,
        };
        if folded {
            let text = text.trim();
            if !text.is_empty() {
                out.push(' ');
                out.push_str(text);
            }
        } else if !text.is_empty() {
            if i > 0 {
                out.push('\n');
            }
            out.push_str(&text);
        }
    }
    out
}
