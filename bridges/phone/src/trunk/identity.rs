//! Numbers and names in headers, towards trunks and from them (RFC 3323, 3325, 3966). Remote-Party-ID is neither sent nor read.

use sip::{Headers, NameAddr, Request, Target, Uri};

use super::config::NumberForm;
use super::numbers::normal;

/// Letters of a name that are shown.
const NAME: usize = 40;

/// How the far end is to see a call of ours.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// Our number there.
    pub number: String,
    /// The number as it is dialled there.
    pub called: String,
    pub domain: String,
    pub form: NumberForm,
    /// The user of the Contact: what we registered, or our number.
    pub contact: String,
    /// The far end belongs to our circle of trust: it is told who calls even when that is to be hidden.
    pub trusted: bool,
    /// A preloaded Route.
    pub route: Option<Uri>,
}

/// Who calls, as a trunk says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incoming {
    /// None: hidden, or unknown.
    pub number: Option<String>,
    pub name: Option<String>,
}

/// True where the caller wants his identity hidden (RFC 3323 section 4.2, RFC 3325 section 9.3).
pub(crate) fn wants_privacy(headers: &Headers) -> bool {
    headers
        .get_all("Privacy")
        .flat_map(|v| v.split([';', ',']))
        .any(|v| ["id", "user", "header"].iter().any(|p| v.trim().eq_ignore_ascii_case(p)))
}

/// The From of somebody who hides (RFC 3323 section 4.1.1.3).
pub(crate) fn anonymous() -> NameAddr {
    NameAddr {
        display: Some("Anonymous".to_owned()),
        uri: Uri::sip("anonymous", "anonymous.invalid", None),
        ..NameAddr::default()
    }
}

/// `number` as a URI of that form; local numbers in `tel:` need their context (RFC 3966 section 5.1.5).
pub(crate) fn uri(form: NumberForm, number: &str, domain: &str) -> Uri {
    match form {
        NumberForm::Sip => Uri::sip(number, domain, None).with_param("user", Some("phone")),
        NumberForm::Tel => {
            let context = if number.starts_with('+') { String::new() } else { format!(";phone-context={domain}") };
            Uri { scheme: "tel".to_owned(), host: format!("{number}{context}"), ..Uri::default() }
        }
    }
}

/// The user part of a SIP URI, or the number of a `tel:` one, without escapes and parameters.
pub(crate) fn user_of(uri: &Uri) -> String {
    let raw = if uri.is_sip() { uri.user() } else { &uri.host };
    let raw = raw.split([';', ':']).next().unwrap_or_default();
    let mut out: Vec<u8> = Vec::with_capacity(raw.len());
    let bytes = raw.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped =
            (*byte == b'%').then(|| raw.get(at + 1..at + 3)).flatten().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The values of a header line, cut at the commas between them.
fn values(line: &str) -> Vec<&str> {
    let (mut quoted, mut inside, mut from) = (false, false, 0);
    let mut out = Vec::new();
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '<' if !quoted => inside = true,
            '>' if !quoted => inside = false,
            ',' if !quoted && !inside => {
                out.extend(line.get(from..at));
                from = at + 1;
            }
            _ => {}
        }
    }
    out.extend(line.get(from..));
    out
}

impl Outgoing {
    /// The request URI.
    pub fn target(&self) -> Uri {
        uri(self.form, &self.called, &self.domain)
    }

    /// Writes From, To, Contact, identity and route.
    pub fn dress(&self, sip: &sip::Sip, target: &Target, request: &mut Request, name: &str, hidden: bool) {
        let own = uri(self.form, &self.number, &self.domain);
        let shown =
            NameAddr { display: Some(name.to_owned()).filter(|n| !n.is_empty()), uri: own, ..NameAddr::default() };
        let from = if hidden { anonymous() } else { shown.clone() };
        request.headers.set("From", from.to_string());
        request.headers.set("To", NameAddr::new(uri(self.form, &self.called, &self.domain)).to_string());
        let contact = NameAddr::new(sip.local_contact(target, if hidden { "anonymous" } else { &self.contact }));
        request.headers.set("Contact", contact.to_string());
        if hidden {
            request.headers.set("Privacy", "id");
        }
        // RFC 3325 section 8: who hides is named within the circle of trust only.
        if !hidden || self.trusted {
            request.headers.set("P-Asserted-Identity", shown.to_string());
        }
        if let Some(route) = &self.route {
            request.headers.set("Route", format!("<{route}>"));
        }
    }
}

impl Incoming {
    /// Reads who calls. What is asserted counts only of a peer that is trusted.
    pub fn read(request: &Request, trusted: bool) -> Incoming {
        let asserted: Vec<NameAddr> = match trusted {
            true => request
                .headers
                .get_all("P-Asserted-Identity")
                .flat_map(values)
                .take(4)
                .filter_map(|v| v.parse().ok())
                .collect(),
            false => Vec::new(),
        };
        let hidden = Incoming { number: None, name: None };
        if wants_privacy(&request.headers) {
            return hidden;
        }
        let numbered = |a: &&NameAddr| normal(&user_of(&a.uri)).is_some();
        let from = request.from().unwrap_or_default();
        let who = asserted.iter().find(numbered).unwrap_or(&from);
        let user = user_of(&who.uri);
        if user.is_empty() || user.eq_ignore_ascii_case("anonymous") || who.uri.host.ends_with("anonymous.invalid") {
            return hidden;
        }
        let clean = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(NAME).collect() };
        let name = who.display.as_ref().or(from.display.as_ref()).map(|d| clean(d)).filter(|d| !d.is_empty());
        Incoming { number: Some(normal(&user).unwrap_or_else(|| clean(&user))), name }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use sip::Message;

    use super::*;

    fn invite(headers: &str) -> Request {
        let text = format!(
            "INVITE sip:600@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK1\r\nTo: <sip:600@x>\r\nCall-ID: 1\r\n\
             CSeq: 1 INVITE\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        match Message::parse(text.as_bytes()) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_calls_is_read() {
        let read = |headers: &str, trusted| {
            let got = Incoming::read(&invite(headers), trusted);
            (got.number.unwrap_or_default(), got.name.unwrap_or_default())
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let plain = "From: \"Li\" <sip:+86-138@x;user=phone>;tag=1\r\n";
        assert_eq!(read(plain, false), pair("+86138", "Li"));
        let asserted = format!("{plain}P-Asserted-Identity: <sip:li@x>, <tel:+86139>\r\n");
        assert_eq!(read(&asserted, true), pair("+86139", "Li"));
        assert_eq!(read(&asserted, false), pair("+86138", "Li"));
        assert_eq!(read(&format!("{asserted}Privacy: critical;id\r\n"), true), pair("", ""));
        assert_eq!(read("From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1\r\n", true), pair("", ""));
        assert_eq!(read("From: <tel:0755;phone-context=+86>;tag=1\r\n", true), pair("0755", ""));
        assert_eq!(read("From: <sip:%2B86755@x>;tag=1\r\n", true), pair("+86755", ""));
        assert_eq!(read("Remote-Party-ID: <sip:1@x>\r\nFrom: <sip:2@x>;tag=1\r\n", true), pair("2", ""));
    }

    #[test]
    fn uris_of_both_forms() {
        let text = |form, number: &str| uri(form, number, "ims.example").to_string();
        assert_eq!(text(NumberForm::Sip, "075512"), "sip:075512@ims.example;user=phone");
        assert_eq!(text(NumberForm::Tel, "+8675512"), "tel:+8675512");
        assert_eq!(text(NumberForm::Tel, "075512"), "tel:075512;phone-context=ims.example");
        assert_eq!(user_of(&"tel:0755;phone-context=x".parse().unwrap()), "0755");
        assert_eq!(user_of(&"sip:%2B86%zz@x".parse().unwrap()), "+86%zz");
    }
}
