//! A tiny SIP text layer: enough of RFC 3261 section 7 and 18.3 for a camera and a phone.

pub use crate::uri::{address_uri, param, user_of};

/// The first line of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    Request { method: String, uri: String },
    Response { code: u16, reason: String },
}

/// One SIP message. Header text is kept as written; the body is opaque bytes.
#[derive(Debug, Clone)]
pub struct Message {
    pub start: Start,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

fn long_name(name: &str) -> &str {
    match name {
        "v" => "Via",
        "f" => "From",
        "t" => "To",
        "i" => "Call-ID",
        "m" => "Contact",
        "l" => "Content-Length",
        "c" => "Content-Type",
        "s" => "Subject",
        other => other,
    }
}

impl Message {
    pub fn request(method: &str, uri: &str) -> Self {
        Self {
            start: Start::Request { method: method.to_string(), uri: uri.to_string() },
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A response to `request`: copies Via, Record-Route, From, To, Call-ID and CSeq; `tag` is added to To when it has none.
    pub fn response(request: &Message, code: u16, reason: &str, tag: &str) -> Self {
        let mut out =
            Self { start: Start::Response { code, reason: reason.to_string() }, headers: Vec::new(), body: Vec::new() };
        for (name, value) in &request.headers {
            let keep =
                ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"].iter().any(|k| k.eq_ignore_ascii_case(name));
            if keep {
                let mut value = value.clone();
                if name.eq_ignore_ascii_case("To") && code > 100 && param(&value, "tag").is_none() {
                    value.push_str(&format!(";tag={tag}"));
                }
                out.headers.push((name.clone(), value));
            }
        }
        out
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_string(), value.into()));
        self
    }

    pub fn with_body(mut self, content_type: &str, body: Vec<u8>) -> Self {
        self.headers.push(("Content-Type".into(), content_type.into()));
        self.body = body;
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn set(&mut self, name: &str, value: String) {
        match self.headers.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
            Some(slot) => slot.1 = value,
            None => self.headers.push((name.to_string(), value)),
        }
    }

    pub fn method(&self) -> &str {
        match &self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => "",
        }
    }

    pub fn uri(&self) -> &str {
        match &self.start {
            Start::Request { uri, .. } => uri,
            Start::Response { .. } => "",
        }
    }

    pub fn code(&self) -> u16 {
        match &self.start {
            Start::Response { code, .. } => *code,
            Start::Request { .. } => 0,
        }
    }

    pub fn call_id(&self) -> &str {
        self.header("Call-ID").unwrap_or("")
    }

    /// Number and method of CSeq.
    pub fn cseq(&self) -> (u32, &str) {
        let mut words = self.header("CSeq").unwrap_or("").split_whitespace();
        let number = words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        (number, words.next().unwrap_or(""))
    }

    /// Branch of the topmost Via.
    pub fn branch(&self) -> &str {
        self.header("Via").and_then(|v| param(v.split(',').next().unwrap_or(v), "branch")).unwrap_or("")
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = match &self.start {
            Start::Request { method, uri } => format!("{method} {uri} SIP/2.0\r\n"),
            Start::Response { code, reason } => format!("SIP/2.0 {code} {reason}\r\n"),
        };
        for (name, value) in &self.headers {
            if !name.eq_ignore_ascii_case("Content-Length") {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Parses one datagram. The body is the rest, cut to Content-Length where that is smaller.
    pub fn parse(bytes: &[u8]) -> Option<Message> {
        let (head_len, body_at) = head_end(bytes)?;
        let head = String::from_utf8_lossy(bytes.get(..head_len)?).into_owned();
        let mut lines = head.lines();
        let first = lines.next()?.trim();
        let start = if let Some(rest) = first.strip_prefix("SIP/2.0 ") {
            let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            Start::Response { code: code.parse().ok()?, reason: reason.to_string() }
        } else {
            let mut words = first.split_whitespace();
            let (method, uri, version) = (words.next()?, words.next()?, words.next()?);
            if !version.starts_with("SIP/2") {
                return None;
            }
            Start::Request { method: method.to_string(), uri: uri.to_string() }
        };
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            if line.starts_with([' ', '\t']) {
                if let Some(last) = headers.last_mut() {
                    last.1.push(' ');
                    last.1.push_str(line.trim());
                }
            } else if let Some((name, value)) = line.split_once(':') {
                headers.push((long_name(name.trim()).to_string(), value.trim().to_string()));
            }
        }
        let mut message = Message { start, headers, body: bytes.get(body_at..).unwrap_or(&[]).to_vec() };
        if let Some(length) = message.header("Content-Length").and_then(|l| l.parse::<usize>().ok()) {
            message.body.truncate(length);
        }
        Some(message)
    }

    /// Takes one message from the front of a byte stream; `None` when more bytes are needed. A head that is not SIP is an error.
    pub fn take(buffer: &mut Vec<u8>) -> Result<Option<Message>, String> {
        let blank = buffer.iter().take_while(|b| **b == b'\r' || **b == b'\n').count();
        buffer.drain(..blank);
        let Some((head_len, body_at)) = head_end(buffer) else {
            return if buffer.len() > 65_536 { Err("head without end".into()) } else { Ok(None) };
        };
        let head = buffer.get(..head_len).unwrap_or(&[]).to_vec();
        let mut whole = head.clone();
        whole.extend_from_slice(b"\r\n\r\n");
        let Some(mut message) = Message::parse(&whole) else {
            return Err(format!("not SIP: {}", String::from_utf8_lossy(&head).lines().next().unwrap_or("")));
        };
        let length = message.header("Content-Length").and_then(|l| l.parse::<usize>().ok()).unwrap_or(0);
        if buffer.len() < body_at + length {
            return Ok(None);
        }
        message.body = buffer.get(body_at..body_at + length).unwrap_or(&[]).to_vec();
        buffer.drain(..body_at + length);
        Ok(Some(message))
    }
}

/// Length of the head and start of the body.
fn head_end(bytes: &[u8]) -> Option<(usize, usize)> {
    if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
        return Some((at, at + 4));
    }
    bytes.windows(2).position(|w| w == b"\n\n").map(|at| (at, at + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_of_two_messages_with_crlf_between() {
        let one = Message::request("MESSAGE", "sip:a@b")
            .with("Via", "SIP/2.0/TCP x;branch=z1")
            .with_body("text/plain", b"hello".to_vec());
        let mut bytes = b"\r\n\r\n".to_vec();
        bytes.extend(one.to_bytes());
        bytes.extend(b"\r\n");
        bytes.extend(one.to_bytes());
        let tail = bytes.split_off(bytes.len() - 3);
        assert_eq!(Message::take(&mut bytes).unwrap().unwrap().body, b"hello");
        assert!(Message::take(&mut bytes).unwrap().is_none());
        bytes.extend(tail);
        assert_eq!(Message::take(&mut bytes).unwrap().unwrap().branch(), "z1");
        assert!(bytes.is_empty());
    }

    #[test]
    fn params_users_and_bare_lf() {
        assert_eq!(param("<sip:1@x;transport=tcp>;tag=ab", "tag"), Some("ab"));
        assert_eq!(user_of("\"N\" <sip:34020000001320000001@3402000000>;tag=1"), "34020000001320000001");
        let m = Message::parse(b"SIP/2.0 200 OK\nl: 2\nCSeq: 7 REGISTER\n\nabc").unwrap();
        assert_eq!((m.code(), m.cseq(), m.body.as_slice()), (200, (7, "REGISTER"), b"ab".as_slice()));
    }
}
