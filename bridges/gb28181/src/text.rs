//! Character sets of the profile and the repair of broken XML (reference sections 3 and 19).

use std::borrow::Cow;

use encoding_rs::GB18030;
use serde::{Deserialize, Serialize};

/// The character set in which we write to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Charset {
    /// What the 2022 edition demands and what 2016 devices (GB 2312) read as well.
    #[default]
    Gb18030,
    /// For devices whose own messages are UTF-8.
    Utf8,
}

impl Charset {
    /// The name in the XML prolog.
    pub fn prolog(self) -> &'static str {
        match self {
            Charset::Gb18030 => "GB18030",
            Charset::Utf8 => "UTF-8",
        }
    }

    /// The bytes for the wire.
    pub fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Charset::Gb18030 => GB18030.encode(text).0.into_owned(),
            Charset::Utf8 => text.as_bytes().to_vec(),
        }
    }
}

/// Reads a body: strict UTF-8 first, else GB18030, whatever the prolog says. Also tells which one it must have been;
/// nothing for plain ASCII, which decides nothing.
pub fn decode(bytes: &[u8]) -> (Cow<'_, str>, Option<Charset>) {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => (Cow::Borrowed(text), None),
        Ok(text) => (Cow::Borrowed(text), Some(Charset::Utf8)),
        Err(_) => (GB18030.decode_without_bom_handling(bytes).0, Some(Charset::Gb18030)),
    }
}

/// Escapes text for an element.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

/// Whether `rest` (what follows an ampersand) begins with an entity name and a semicolon.
fn entity(rest: &str) -> bool {
    let Some(end) = rest.bytes().take(12).position(|b| b == b';') else { return false };
    let name = rest.get(..end).unwrap_or("");
    match name.strip_prefix('#') {
        Some(number) => match number.strip_prefix(['x', 'X']) {
            Some(hex) => !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()),
            None => !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()),
        },
        None => matches!(name, "amp" | "lt" | "gt" | "quot" | "apos"),
    }
}

/// Whether a `<` followed by `rest` opens a tag, a declaration or a comment that is also closed.
fn tag(rest: &str) -> bool {
    let mut bytes = rest.bytes();
    match bytes.next() {
        Some(b'?') => return true,
        Some(b'!') => return rest.starts_with("!--") || rest.starts_with("![CDATA[") || rest.starts_with("!DOCTYPE"),
        Some(b'/') => {}
        Some(b) if b.is_ascii_alphabetic() || b == b'_' || b >= 0x80 => {}
        _ => return false,
    }
    // A name has no line end and no other `<` before its `>`.
    rest.bytes().find(|b| matches!(b, b'<' | b'>')) == Some(b'>')
}

/// Makes XML of what some devices send: a stray `&` or `<` inside text is escaped, and NULs (padding behind the body) go.
/// Sound text is given back as it is.
pub fn repair(text: &str) -> Cow<'_, str> {
    let stray = |at: usize, b: u8| match b {
        b'&' => !entity(text.get(at + 1..).unwrap_or("")),
        b'<' => !tag(text.get(at + 1..).unwrap_or("")),
        b'\0' => true,
        _ => false,
    };
    let Some(first) = text.bytes().enumerate().find(|(at, b)| stray(*at, *b)).map(|(at, _)| at) else {
        return Cow::Borrowed(text);
    };
    let mut out = String::with_capacity(text.len() + 64);
    out.push_str(text.get(..first).unwrap_or(""));
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at < first) {
        match c {
            '\0' => {}
            '&' if stray(at, b'&') => out.push_str("&amp;"),
            '<' if stray(at, b'<') => out.push_str("&lt;"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_first_then_gb18030() {
        let name = "北门球机";
        let gb = Charset::Gb18030.encode(name);
        assert_ne!(gb, name.as_bytes());
        assert_eq!(decode(&gb), (Cow::from(name), Some(Charset::Gb18030)));
        assert_eq!(decode(name.as_bytes()), (Cow::from(name), Some(Charset::Utf8)));
        assert_eq!(decode(b"plain").1, None);
    }

    #[test]
    fn stray_signs_are_escaped() {
        assert_eq!(repair("<a>x &amp; &#38; y</a>"), "<a>x &amp; &#38; y</a>");
        assert_eq!(repair("<Name>A&B <3 <gate</Name>\0\0"), "<Name>A&amp;B &lt;3 &lt;gate</Name>");
        assert_eq!(repair("<N>1 < 2 && 3</N>"), "<N>1 &lt; 2 &amp;&amp; 3</N>");
        assert_eq!(repair("<N>&nbsp;</N>"), "<N>&amp;nbsp;</N>");
    }
}
