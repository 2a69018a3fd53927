//! The ordered header list of a message.

use std::borrow::Cow;

use crate::text;

/// Long and compact names (RFC 3261 section 20 and the extensions met in the field).
const NAMES: &[(&str, &str)] = &[
    ("Via", "v"),
    ("From", "f"),
    ("To", "t"),
    ("Call-ID", "i"),
    ("CSeq", ""),
    ("Contact", "m"),
    ("Max-Forwards", ""),
    ("Content-Type", "c"),
    ("Content-Length", "l"),
    ("Expires", ""),
    ("User-Agent", ""),
    ("Server", ""),
    ("Authorization", ""),
    ("WWW-Authenticate", ""),
    ("Proxy-Authorization", ""),
    ("Proxy-Authenticate", ""),
    ("Route", ""),
    ("Record-Route", ""),
    ("Require", ""),
    ("Proxy-Require", ""),
    ("Supported", "k"),
    ("Unsupported", ""),
    ("Allow", ""),
    ("Allow-Events", "u"),
    ("Event", "o"),
    ("Subscription-State", ""),
    ("Subject", "s"),
    ("Date", ""),
    ("Min-Expires", ""),
    ("Retry-After", ""),
    ("Accept", ""),
    ("Content-Encoding", "e"),
    ("Content-Disposition", ""),
    ("Refer-To", "r"),
    ("Referred-By", "b"),
    ("Session-Expires", "x"),
    ("Min-SE", ""),
    ("Reason", ""),
    ("RSeq", ""),
    ("RAck", ""),
    ("Replaces", ""),
    ("Warning", ""),
    ("X-GB-Ver", ""),
    ("P-Asserted-Identity", ""),
    ("Timestamp", ""),
    ("Path", ""),
    ("Service-Route", ""),
];

fn canonical(name: &str) -> Cow<'static, str> {
    let name = name.trim();
    let known = NAMES.iter().find(|(long, short)| {
        long.eq_ignore_ascii_case(name) || (!short.is_empty() && short.eq_ignore_ascii_case(name))
    });
    match known {
        Some((long, _)) => Cow::Borrowed(long),
        None => Cow::Owned(name.chars().filter(|c| !c.is_control() && !c.is_whitespace() && *c != ':').collect()),
    }
}

/// The headers of one message: order is kept, names are compared without case, compact names (`v`, `f`, `i`) count as
/// their long forms. Values are one line each: control characters given by a caller become spaces, so no value can
/// smuggle in another header. Via, Route, Record-Route and Contact lists read from the wire are split into one entry
/// per value. `Debug` shows no credentials.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    list: Vec<(Cow<'static, str>, String)>,
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secret = |n: &str| n.eq_ignore_ascii_case("Authorization") || n.eq_ignore_ascii_case("Proxy-Authorization");
        f.debug_map().entries(self.iter().map(|(n, v)| (n, if secret(n) { "(hidden)" } else { v }))).finish()
    }
}

impl Headers {
    /// No headers.
    pub fn new() -> Headers {
        Headers::default()
    }

    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let name = canonical(name);
        self.list.iter().find(|(n, _)| n.eq_ignore_ascii_case(&name)).map(|(_, v)| v.as_str())
    }

    /// All values of that name in order.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let name = canonical(name);
        self.list.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(&name)).map(|(_, v)| v.as_str())
    }

    /// Replaces all values of that name by one, in the place of the first, or at the end.
    pub fn set(&mut self, name: &str, value: impl AsRef<str>) {
        let name = canonical(name);
        let value = text::one_line(value.as_ref());
        let mut value = Some(value);
        self.list.retain_mut(|(n, v)| {
            if !n.eq_ignore_ascii_case(&name) {
                return true;
            }
            match value.take() {
                Some(new) => {
                    *v = new;
                    true
                }
                None => false,
            }
        });
        if let Some(value) = value {
            self.list.push((name, value));
        }
    }

    /// Sets a value where the name is not there yet.
    pub fn set_default(&mut self, name: &str, value: impl AsRef<str>) {
        if self.get(name).is_none() {
            self.push(name, value);
        }
    }

    /// Appends a value.
    pub fn push(&mut self, name: &str, value: impl AsRef<str>) {
        self.list.push((canonical(name), text::one_line(value.as_ref())));
    }

    /// Puts a value before all others.
    pub fn push_front(&mut self, name: &str, value: impl AsRef<str>) {
        self.list.insert(0, (canonical(name), text::one_line(value.as_ref())));
    }

    /// Removes all values of that name; true when there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let name = canonical(name);
        let before = self.list.len();
        self.list.retain(|(n, _)| !n.eq_ignore_ascii_case(&name));
        self.list.len() != before
    }

    /// All headers in order as (name, value).
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list.iter().map(|(n, v)| (n.as_ref(), v.as_str()))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The comma-separated tokens of all values of that name (`Require`, `Supported`, `Allow`).
    pub fn tokens<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.get_all(name).flat_map(|v| v.split(',')).map(str::trim).filter(|t| !t.is_empty())
    }

    /// Replaces only the first value of that name.
    pub(crate) fn replace_first(&mut self, name: &str, value: &str) {
        let name = canonical(name);
        if let Some(slot) = self.list.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(&name)) {
            slot.1 = text::one_line(value);
        }
    }

    pub(crate) fn pop(&mut self) {
        self.list.pop();
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        self.get_all(name).count()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(iter: T) -> Headers {
        let mut h = Headers::new();
        for (n, v) in iter {
            h.push(n.as_ref(), v);
        }
        h
    }
}
