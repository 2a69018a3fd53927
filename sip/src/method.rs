//! Request methods.

use std::fmt;

/// A SIP request method (RFC 3261 section 7.1 and the extensions this gateway names). Methods are case-sensitive
/// tokens; what is not known is kept as [`Method::Other`], so that it can be answered with 501 and not with silence.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Register,
    Options,
    Message,
    Info,
    Subscribe,
    Notify,
    Update,
    Prack,
    Refer,
    Publish,
    /// Any other token, at most 64 bytes.
    Other(String),
}

impl Method {
    /// The known methods in the order of [`Method::index`].
    pub const KNOWN: [Method; 14] = [
        Method::Invite,
        Method::Ack,
        Method::Bye,
        Method::Cancel,
        Method::Register,
        Method::Options,
        Method::Message,
        Method::Info,
        Method::Subscribe,
        Method::Notify,
        Method::Update,
        Method::Prack,
        Method::Refer,
        Method::Publish,
    ];

    /// The method as it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Register => "REGISTER",
            Method::Options => "OPTIONS",
            Method::Message => "MESSAGE",
            Method::Info => "INFO",
            Method::Subscribe => "SUBSCRIBE",
            Method::Notify => "NOTIFY",
            Method::Update => "UPDATE",
            Method::Prack => "PRACK",
            Method::Refer => "REFER",
            Method::Publish => "PUBLISH",
            Method::Other(name) => name,
        }
    }

    /// Reads a method; `None` when it is not a token (RFC 3261 section 25.1) or longer than 64 bytes.
    pub fn parse(text: &str) -> Option<Method> {
        if let Some(known) = Method::KNOWN.iter().find(|m| m.as_str() == text) {
            return Some(known.clone());
        }
        (text.len() <= 64 && crate::text::is_token(text)).then(|| Method::Other(text.to_owned()))
    }

    /// Place in [`Method::KNOWN`]; 14 for all others.
    pub fn index(&self) -> usize {
        Method::KNOWN.iter().position(|m| m == self).unwrap_or(14)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
