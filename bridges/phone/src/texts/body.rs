//! What a MESSAGE says: plain text in the charset that it names.

use bridge_core::MOST_TEXT;
use encoding_rs::{Encoding, GB18030, UTF_8};
use sip::{Request, Response};

/// Longest body that came by a datagram: a whole MESSAGE is 1300 bytes at most (RFC 3428 section 8), and phones that do not count
/// their headers are forgiven.
const MOST_DATAGRAM: usize = 1_300;
/// Longest body of all: the longest text in the widest form of UTF-8.
const MOST_BODY: usize = MOST_TEXT * 4;

/// Why a body is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Empty,
    TooLong,
    /// Neither plain text nor a charset that is known.
    Kind,
    /// Compressed, or in another coding (RFC 3261 section 20.12).
    Coding,
    /// The bytes are no text in the charset that is named.
    Broken,
}

impl Refused {
    pub fn response(self, request: &Request) -> Response {
        match self {
            Refused::Empty => request.respond(400).with("Warning", "399 skybridge \"the text is empty\""),
            Refused::TooLong => request.respond(413),
            Refused::Kind => request.respond(415).with("Accept", "text/plain"),
            Refused::Coding => request.respond(415).with("Accept-Encoding", "identity"),
            Refused::Broken => {
                request.respond(488).with("Warning", "305 skybridge \"no text in the charset that is named\"")
            }
        }
    }
}

fn charset(content_type: &str) -> Option<&str> {
    let parameters = content_type.split(';').skip(1);
    let pairs = parameters.filter_map(|p| p.split_once('='));
    let value = pairs.into_iter().find(|(n, _)| n.trim().eq_ignore_ascii_case("charset")).map(|(_, v)| v.trim())?;
    Some(value.trim_matches('"')).filter(|v| !v.is_empty())
}

fn decode(encoding: &'static Encoding, body: &[u8]) -> Option<String> {
    // GB2312 and GBK are parts of GB18030, which encoding_rs decodes for all three.
    encoding.decode_without_bom_handling_and_without_replacement(body).map(|t| t.into_owned())
}

/// The text of a MESSAGE. `reliable`: it came by a connection.
pub(crate) fn read(request: &Request, reliable: bool) -> Result<String, Refused> {
    let coding = request.headers.get("Content-Encoding").unwrap_or_default().trim();
    if !coding.is_empty() && !coding.eq_ignore_ascii_case("identity") {
        return Err(Refused::Coding);
    }
    let body = &request.body;
    if body.len() > if reliable { MOST_BODY } else { MOST_DATAGRAM } {
        return Err(Refused::TooLong);
    }
    if body.is_empty() {
        return Err(Refused::Empty);
    }
    if !request.is_type("text/plain") {
        return Err(Refused::Kind);
    }
    let text = match charset(request.content_type().unwrap_or_default()) {
        Some(label) => {
            let encoding = Encoding::for_label(label.as_bytes()).ok_or(Refused::Kind)?;
            decode(encoding, body).ok_or(Refused::Broken)?
        }
        // UTF-8 is the default (RFC 3428 section 4); old phones write what they have.
        None => decode(UTF_8, body).or_else(|| decode(GB18030, body)).ok_or(Refused::Broken)?,
    };
    let text = text.replace("\r\n", "\n");
    let clean: String = text
        .chars()
        .map(|c| if c == '\r' { '\n' } else { c })
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect();
    let clean = clean.trim();
    match clean.chars().count() {
        0 => Err(Refused::Empty),
        n if n > MOST_TEXT => Err(Refused::TooLong),
        _ => Ok(clean.to_owned()),
    }
}

/// Cuts a text into pieces of at most `most` bytes of UTF-8, each marked with its place where there are several; where it can, behind
/// a space or a stop.
pub(crate) fn pieces(text: &str, most: usize) -> Vec<String> {
    if text.len() <= most {
        return vec![text.to_owned()];
    }
    let room = most.saturating_sub("(99/99) ".len()).max(8);
    let mut cut: Vec<&str> = Vec::new();
    let mut rest = text;
    while rest.len() > room {
        let mut at = room;
        while !rest.is_char_boundary(at) {
            at -= 1;
        }
        let (head, _) = rest.split_at(at);
        // Not a piece of a few letters for the sake of a nice end.
        let nice = head.rfind([' ', '\n', '。', '，', '；', '.', ',', ';']);
        let nice = nice.and_then(|i| Some(i + head.get(i..)?.chars().next()?.len_utf8())).filter(|i| *i > at / 2);
        let (head, tail) = rest.split_at(nice.unwrap_or(at));
        cut.push(head);
        rest = tail;
    }
    if !rest.is_empty() {
        cut.push(rest);
    }
    let all = cut.len();
    cut.iter().enumerate().map(|(n, piece)| format!("({}/{all}) {piece}", n + 1)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sip::{Method, Uri};

    use super::*;

    fn of(kind: &str, body: &[u8]) -> Result<String, Refused> {
        let mut request = Request::new(Method::Message, Uri::sip("9000", "h", None));
        request.set_body(kind, body.to_vec());
        read(&request, false)
    }

    #[test]
    fn texts_in_their_charsets() {
        let gb = [0xC4, 0xE3, 0xBA, 0xC3];
        assert_eq!(of("text/plain", "你好".as_bytes()).as_deref(), Ok("你好"));
        assert_eq!(of("text/plain", &gb).as_deref(), Ok("你好"), "an old phone");
        assert_eq!(of("Text/Plain ; charset=\"GB2312\"", &gb).as_deref(), Ok("你好"));
        assert_eq!(of("text/plain;charset=UTF-8", &gb), Err(Refused::Broken));
        assert_eq!(of("text/plain;charset=klingon", b"x"), Err(Refused::Kind));
        assert_eq!(of("text/plain", b"a\r\nb\rc\0\x1b[1m").as_deref(), Ok("a\nb\nc[1m"));
        assert_eq!(of("text/html", b"x"), Err(Refused::Kind));
        assert_eq!(of("", b"x"), Err(Refused::Kind));
        assert_eq!(of("text/plain", b" \r\n"), Err(Refused::Empty));
        assert_eq!(of("text/plain", b""), Err(Refused::Empty));
        assert_eq!(of("text/plain", &[0xFF]), Err(Refused::Broken));
        assert_eq!(of("text/plain", &[b'x'; 1_301]), Err(Refused::TooLong));
        let mut request = Request::new(Method::Message, Uri::sip("9000", "h", None));
        request.set_body("text/plain", vec![b'x'; MOST_TEXT + 1]);
        assert_eq!(read(&request, true), Err(Refused::TooLong));
        request.set_body("text/plain", "字".repeat(MOST_TEXT));
        assert!(read(&request, true).is_ok());
        request.headers.set("Content-Encoding", "gzip");
        assert_eq!(read(&request, true), Err(Refused::Coding));
    }

    #[test]
    fn long_texts_in_pieces() {
        assert_eq!(pieces("short", 700), ["short"]);
        let text = "一二三四五六七八九十，".repeat(100);
        let cut = pieces(&text, 700);
        assert!(cut.len() > 4 && cut.iter().all(|p| p.len() <= 700), "{cut:?}");
        let bare = |p: &String| p.split_once(") ").map(|(_, t)| t.to_owned()).unwrap();
        assert_eq!(cut.iter().map(bare).collect::<String>(), text);
        assert!(cut[0].starts_with("(1/") && cut[0].ends_with('，'));
        // Nothing to cut behind.
        let cut = pieces(&"字".repeat(MOST_TEXT), 700);
        assert_eq!(cut.iter().map(bare).collect::<String>(), "字".repeat(MOST_TEXT));
    }
}
