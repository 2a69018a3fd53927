//! The header Replaces (RFC 3891), by itself and inside a Refer-To, and the names of dialogs that it speaks of.

use sip::{NameAddr, Request, Response};

/// More is no Call-ID or tag of a sound phone.
const LONGEST: usize = 256;

/// A dialog as we see it: the local tag is ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DialogName {
    call_id: String,
    local: String,
    remote: String,
}

impl DialogName {
    /// Of a dialog that we began: from an answer with a To tag.
    pub fn of_response(response: &Response) -> Option<DialogName> {
        let local = response.from()?.tag()?.to_owned();
        Some(DialogName { call_id: response.call_id()?.to_owned(), local, remote: response.to()?.tag()?.to_owned() })
    }

    /// Of a dialog in which the phone sent this request.
    pub fn of_request(request: &Request) -> Option<DialogName> {
        let local = request.to()?.tag()?.to_owned();
        Some(DialogName { call_id: request.call_id()?.to_owned(), local, remote: request.from()?.tag()?.to_owned() })
    }
}

/// What a Replaces asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replaces {
    pub dialog: DialogName,
    /// Only a call that nobody has answered.
    pub early_only: bool,
}

/// The value cannot be read: 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Replaces {
    /// Reads the value of the header. RFC 3891 3: the to-tag is that of whoever gets it, so our local one.
    pub fn parse(value: &str) -> Result<Replaces, Malformed> {
        let mut parts = value.split(';').map(str::trim);
        let call_id = parts.next().unwrap_or_default();
        let (mut to, mut from, mut early_only) = (None, None, false);
        for part in parts {
            let (name, value) = part.split_once('=').map_or((part, ""), |(n, v)| (n.trim(), v.trim()));
            let slot = match name.to_ascii_lowercase().as_str() {
                "to-tag" => &mut to,
                "from-tag" => &mut from,
                "early-only" => {
                    early_only = true;
                    continue;
                }
                _ => continue,
            };
            if slot.replace(value.to_owned()).is_some() {
                return Err(Malformed);
            }
        }
        let good = |s: &str| !s.is_empty() && s.len() <= LONGEST && !s.chars().any(|c| c.is_control() || c == ' ');
        match (to, from) {
            (Some(local), Some(remote)) if good(call_id) && good(&local) && good(&remote) => {
                let dialog = DialogName { call_id: call_id.to_owned(), local, remote };
                Ok(Replaces { dialog, early_only })
            }
            _ => Err(Malformed),
        }
    }

    /// The value of the header for the same wish.
    pub fn value(&self) -> String {
        let DialogName { call_id, local, remote } = &self.dialog;
        let early = if self.early_only { ";early-only" } else { "" };
        format!("{call_id};to-tag={local};from-tag={remote}{early}")
    }

    /// Of an INVITE; none without the header. Two of them are malformed (RFC 3891 3).
    pub fn of_invite(request: &Request) -> Result<Option<Replaces>, Malformed> {
        let mut values = request.headers.get_all("Replaces");
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(one), None) => Replaces::parse(one).map(Some),
            _ => Err(Malformed),
        }
    }

    /// Of the address in a Refer-To, where it stands escaped (RFC 3261 19.1.1).
    pub fn of_refer_to(to: &NameAddr) -> Result<Option<Replaces>, Malformed> {
        let mut found = to.uri.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("Replaces"));
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some((_, Some(value))), None) => Replaces::parse(&unescape(value).ok_or(Malformed)?).map(Some),
            _ => Err(Malformed),
        }
    }
}

/// Undoes %XX; none for what is no such text.
fn unescape(text: &str) -> Option<String> {
    if text.len() > 4 * LONGEST {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |b: Option<u8>| char::from(b?).to_digit(16);
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            out.push((high * 16 + low) as u8);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn replaces_is_read_as_it_was_meant() {
        let whole = Replaces::parse("98732@sip.example.com ;from-tag=r33th4x0r; to-tag=ff87ff;early-only").unwrap();
        let dialog =
            DialogName { call_id: "98732@sip.example.com".into(), local: "ff87ff".into(), remote: "r33th4x0r".into() };
        assert_eq!(whole, Replaces { dialog: dialog.clone(), early_only: true });
        let to: NameAddr =
            "<sip:8005@127.0.0.1?Replaces=98732%40sip.example.com%3Bto-tag%3Dff87ff%3Bfrom-tag%3Dr33th4x0r>"
                .parse()
                .unwrap();
        assert_eq!(Replaces::of_refer_to(&to).unwrap().unwrap(), Replaces { dialog, early_only: false });
        for bad in
            ["", "a", "a;to-tag=1", "a;to-tag=1;from-tag=", "a;to-tag=1;to-tag=2;from-tag=3", ";to-tag=1;from-tag=2"]
        {
            assert_eq!(Replaces::parse(bad), Err(Malformed), "{bad}");
        }
        let plain: NameAddr = "<sip:8005@127.0.0.1>".parse().unwrap();
        assert_eq!(Replaces::of_refer_to(&plain), Ok(None));
        for bad in ["<sip:1@h?Replaces=%4>", "<sip:1@h?Replaces=%zz>", "<sip:1@h?Replaces>"] {
            assert_eq!(Replaces::of_refer_to(&bad.parse().unwrap()), Err(Malformed), "{bad}");
        }
    }
}
