//! The parser: prepared text to a [`Message`]. Lenient where the field needs it; what RFC 3261 forbids is reported as
//! a [`Fault`] so that the gate can answer 400 with the headers that could be read.

use bytes::Bytes;

use crate::{
    headers::Headers,
    message::{Message, Request, Response, reason},
    method::Method,
    prepass::Prepared,
    text,
    uri::Uri,
};

/// Header lines beyond this number make a message unreadable.
pub const MAX_HEADERS: usize = 256;

/// Why bytes are no SIP message at all. Such input is counted and dropped: there is nothing to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("empty")]
    Empty,
    #[error("the first line is no SIP start line")]
    StartLine,
    #[error("more than {MAX_HEADERS} header lines")]
    TooManyHeaders,
    #[error("status code is not 100 to 699")]
    Status,
}

/// Something wrong that leaves the message readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not SIP/2.0: 505.
    Version,
    /// The Request-URI cannot be read: 400.
    RequestUri,
    /// The empty line behind the headers is missing: 400.
    Incomplete,
    /// A header line without a colon or name: counted, not answered, unless a mandatory header is then missing.
    HeaderLine,
    /// Content-Length is no number, or there are two different ones: 400.
    ContentLength,
}

/// A readable message with its faults.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub message: Message,
    pub faults: Vec<Fault>,
}

/// Reads a prepared message.
pub fn parse(input: &Prepared) -> Result<Parsed, ParseError> {
    let mut lines = input.head.split('\n');
    let first = lines.next().unwrap_or_default().trim();
    if first.is_empty() {
        return Err(ParseError::Empty);
    }
    let mut faults = Vec::new();
    if !input.complete {
        faults.push(Fault::Incomplete);
    }
    let mut headers = Headers::new();
    for (n, line) in lines.enumerate() {
        if n >= MAX_HEADERS {
            return Err(ParseError::TooManyHeaders);
        }
        let Some((name, value)) = line.split_once(':').filter(|(n, _)| text::is_token(n.trim())) else {
            note(&mut faults, Fault::HeaderLine);
            continue;
        };
        add(&mut headers, name.trim(), value);
    }
    if crate::prepass::content_length(input.head.as_bytes()) == Some(None) {
        faults.push(Fault::ContentLength);
    }
    let body = input.body.clone();
    let message = if text::strip_prefix_nocase(first, "SIP/").is_some() {
        Message::Response(status_line(first, headers, body, &mut faults)?)
    } else {
        Message::Request(request_line(first, headers, body, &mut faults)?)
    };
    Ok(Parsed { message, faults })
}

fn note(faults: &mut Vec<Fault>, fault: Fault) {
    if !faults.contains(&fault) {
        faults.push(fault);
    }
}

fn add(headers: &mut Headers, name: &str, value: &str) {
    headers.push(name, value);
    let listed = ["Via", "Route", "Record-Route", "Contact"];
    let is_list = listed.iter().any(|n| n.eq_ignore_ascii_case(name))
        || name.eq_ignore_ascii_case("v")
        || name.eq_ignore_ascii_case("m");
    if is_list && value.contains(',') {
        headers.pop();
        for part in text::split_outside(value, ',').into_iter().take(MAX_HEADERS) {
            if !part.trim().is_empty() {
                headers.push(name, part);
            }
        }
    }
}

fn status_line(line: &str, headers: Headers, body: Bytes, faults: &mut Vec<Fault>) -> Result<Response, ParseError> {
    let (version, rest) = line.split_once(' ').ok_or(ParseError::StartLine)?;
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        faults.push(Fault::Version);
    }
    let (code, phrase) = rest.trim_start().split_once(' ').unwrap_or((rest.trim(), ""));
    if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseError::Status);
    }
    let code: u16 = code.parse().map_err(|_| ParseError::Status)?;
    if !(100..700).contains(&code) {
        return Err(ParseError::Status);
    }
    let phrase = if phrase.trim().is_empty() { reason(code) } else { phrase.trim() };
    Ok(Response { code, reason: phrase.to_owned(), headers, body })
}

fn request_line(line: &str, headers: Headers, body: Bytes, faults: &mut Vec<Fault>) -> Result<Request, ParseError> {
    let (method, rest) = line.split_once(' ').ok_or(ParseError::StartLine)?;
    let (uri, version) = rest.rsplit_once(' ').ok_or(ParseError::StartLine)?;
    let method = Method::parse(method).ok_or(ParseError::StartLine)?;
    text::strip_prefix_nocase(version, "SIP/").ok_or(ParseError::StartLine)?;
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        faults.push(Fault::Version);
    }
    let uri = match uri.parse::<Uri>() {
        Ok(uri) if !uri.headers.is_empty() => {
            faults.push(Fault::RequestUri); // RFC 3261 section 19.1.1: no headers in a Request-URI
            uri
        }
        Ok(uri) => uri,
        Err(_) => {
            faults.push(Fault::RequestUri);
            Uri { scheme: "invalid".into(), host: "invalid".into(), ..Uri::default() }
        }
    };
    Ok(Request { method, uri, headers, body })
}
