//! Requests and responses.

use bytes::{Bytes, BytesMut};

use crate::{
    headers::Headers,
    method::Method,
    parse::{self, ParseError},
    uri::{NameAddr, Uri, Via},
};

/// A SIP request (RFC 3261 section 7.1). The body is opaque bytes and never re-coded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    pub uri: Uri,
    pub headers: Headers,
    pub body: Bytes,
}

/// A SIP response (RFC 3261 section 7.2). `code` is 100 to 699.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub code: u16,
    pub reason: String,
    pub headers: Headers,
    pub body: Bytes,
}

/// Either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Request(Request),
    Response(Response),
}

impl Message {
    /// Reads one whole message as it came in a datagram, with the tolerance of the byte pre-pass.
    /// Use [`parse::parse`] to learn about faults that do not hinder reading.
    pub fn parse(data: &[u8]) -> Result<Message, ParseError> {
        let prepared = crate::prepass::prepare(&Bytes::copy_from_slice(data), true);
        Ok(parse::parse(&prepared)?.message)
    }
}

macro_rules! common {
    ($t:ty) => {
        impl $t {
            /// `Call-ID`.
            pub fn call_id(&self) -> Option<&str> {
                self.headers.get("Call-ID").filter(|v| !v.is_empty())
            }

            /// `CSeq`: number below 2^31 and method.
            pub fn cseq(&self) -> Option<(u32, Method)> {
                let (number, method) = self.headers.get("CSeq")?.trim().split_once(char::is_whitespace)?;
                let number = number.parse::<u32>().ok().filter(|n| *n < 1 << 31)?;
                Some((number, Method::parse(method.trim())?))
            }

            /// `From`.
            pub fn from(&self) -> Option<NameAddr> {
                self.headers.get("From")?.parse().ok()
            }

            /// `To`.
            pub fn to(&self) -> Option<NameAddr> {
                self.headers.get("To")?.parse().ok()
            }

            /// The first `Contact` that is an address (not `*`).
            pub fn contact(&self) -> Option<NameAddr> {
                self.headers.get("Contact")?.parse().ok()
            }

            /// `Content-Type` as written; compare without case.
            pub fn content_type(&self) -> Option<&str> {
                self.headers.get("Content-Type")
            }

            /// True when the media type (parameters cut off) is this one, compared without case.
            pub fn is_type(&self, media: &str) -> bool {
                let own = self.content_type().unwrap_or("");
                own.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case(media)
            }

            /// `Expires` in seconds; values above 2^32-1 are read as 2^32-1 (RFC 3261 section 20.19).
            pub fn expires(&self) -> Option<u32> {
                seconds(self.headers.get("Expires")?)
            }

            /// The topmost `Via`.
            pub fn top_via(&self) -> Option<Via> {
                self.headers.get("Via")?.parse().ok()
            }

            /// Sets body and `Content-Type` together.
            pub fn set_body(&mut self, content_type: &str, body: impl Into<Bytes>) {
                self.body = body.into();
                self.headers.set("Content-Type", content_type);
            }

            /// The same message with a header set.
            pub fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
                self.headers.set(name, value);
                self
            }

            /// The message for the wire. `Content-Length` is always the length of `body`.
            pub fn to_bytes(&self) -> Bytes {
                let mut out = BytesMut::with_capacity(512 + self.body.len());
                self.start_line(&mut out);
                for (name, value) in self.headers.iter().filter(|(n, _)| *n != "Content-Length") {
                    for part in [name, ": ", value, "\r\n"] {
                        out.extend_from_slice(part.as_bytes());
                    }
                }
                out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
                out.extend_from_slice(&self.body);
                out.freeze()
            }
        }
    };
}

common!(Request);
common!(Response);

/// Delta seconds: digits only, too large ones cut to the largest.
pub(crate) fn seconds(text: &str) -> Option<u32> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse::<u64>().map_or(u32::MAX, |n| n.min(u64::from(u32::MAX)) as u32))
}

impl Request {
    /// A request without headers and body. The endpoint fills in what is missing when it is sent.
    pub fn new(method: Method, uri: Uri) -> Request {
        Request { method, uri, headers: Headers::new(), body: Bytes::new() }
    }

    /// An answer to this request: Via, From, To, Call-ID, CSeq and Record-Route are copied (RFC 3261 section 8.2.6),
    /// the reason phrase is the standard one. The To tag is added by the endpoint when it is missing.
    pub fn respond(&self, code: u16) -> Response {
        let mut headers = Headers::new();
        for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
            for value in self.headers.get_all(name) {
                headers.push(name, value);
            }
        }
        if code == 100
            && let Some(stamp) = self.headers.get("Timestamp")
        {
            headers.push("Timestamp", stamp);
        }
        Response { code, reason: reason(code).to_owned(), headers, body: Bytes::new() }
    }

    fn start_line(&self, out: &mut BytesMut) {
        out.extend_from_slice(
            format!("{} {} SIP/2.0\r\n", self.method, crate::text::one_line(&self.uri.to_string())).as_bytes(),
        );
    }
}

impl Response {
    /// A bare response; [`Request::respond`] is the usual way to one.
    pub fn new(code: u16) -> Response {
        Response { code, reason: reason(code).to_owned(), headers: Headers::new(), body: Bytes::new() }
    }

    /// 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// 1xx.
    pub fn is_provisional(&self) -> bool {
        self.code < 200
    }

    /// `Retry-After` in seconds, comment and parameters cut off.
    pub fn retry_after(&self) -> Option<u32> {
        seconds(self.headers.get("Retry-After")?.split([';', '(', ' ']).next()?)
    }

    fn start_line(&self, out: &mut BytesMut) {
        out.extend_from_slice(format!("SIP/2.0 {} {}\r\n", self.code, crate::text::one_line(&self.reason)).as_bytes());
    }
}

/// The standard reason phrase (RFC 3261 section 21 and the extensions); "Unknown" for codes without one.
pub fn reason(code: u16) -> &'static str {
    match code {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        494 => "Security Agreement Required",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        _ => "Unknown",
    }
}
