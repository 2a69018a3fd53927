//! URIs, addresses with a display name, and Via values.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::text::{self, Param};

/// Why a header value or URI could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct BadValue(pub &'static str);

/// A SIP or SIPS URI (RFC 3261 section 19.1), and opaquely any other one. Text is kept as it was written, case and
/// escapes too. `user` holds the whole part before the `@`, with a password where someone wrote one. The host of an
/// IPv6 address stands without brackets. For schemes other than sip and sips, `host` holds all behind the colon.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Uri {
    pub scheme: String,
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
    pub params: Vec<(String, Option<String>)>,
    pub headers: Vec<(String, Option<String>)>,
}

impl Uri {
    /// `sip:user@host:port`; an empty user is left out.
    pub fn sip(user: &str, host: &str, port: Option<u16>) -> Uri {
        Uri {
            scheme: "sip".into(),
            user: (!user.is_empty()).then(|| text::one_line(user)),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            ..Uri::default()
        }
    }

    /// The user part or "".
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("")
    }

    /// The value of a URI parameter; "" for one without a value.
    pub fn param(&self, name: &str) -> Option<&str> {
        text::param(&self.params, name)
    }

    /// The same URI with a parameter set.
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Uri {
        text::set_param(&mut self.params, name, value.map(str::to_owned));
        self
    }

    /// True for `sip` and `sips`.
    pub fn is_sip(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("sip") || self.scheme.eq_ignore_ascii_case("sips")
    }

    /// Host as an IP address, where it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Same user, host, port and transport: what makes two contacts one binding (RFC 3261 section 19.1.4, cut to
    /// the parts that matter here).
    pub fn same_contact(&self, other: &Uri) -> bool {
        let transport = |u: &Uri| u.param("transport").unwrap_or("udp").to_ascii_lowercase();
        self.user == other.user
            && self.host.eq_ignore_ascii_case(&other.host)
            && self.port.unwrap_or(5060) == other.port.unwrap_or(5060)
            && transport(self) == transport(other)
    }
}

impl FromStr for Uri {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Uri, BadValue> {
        const BAD: BadValue = BadValue("URI");
        let s = s.trim();
        if s.chars().any(|c| c.is_whitespace() || c.is_control() || c == '<' || c == '>' || c == '"') {
            return Err(BAD);
        }
        let (scheme, rest) = s.split_once(':').ok_or(BAD)?;
        let mut good = scheme.bytes();
        if !good.next().is_some_and(|b| b.is_ascii_alphabetic())
            || !good.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        {
            return Err(BAD);
        }
        let mut uri = Uri { scheme: scheme.to_owned(), ..Uri::default() };
        if !uri.is_sip() {
            if rest.is_empty() {
                return Err(BAD);
            }
            uri.host = rest.to_owned();
            return Ok(uri);
        }
        let rest = match rest.rsplit_once('@') {
            Some((user, rest)) => {
                uri.user = Some(user.to_owned()).filter(|u| !u.is_empty());
                rest
            }
            None => rest,
        };
        let (rest, headers) = match rest.split_once('?') {
            Some((rest, h)) => (rest, text::params(h, '&')),
            None => (rest, Vec::new()),
        };
        uri.headers = headers;
        let (hostport, params) = match rest.split_once(';') {
            Some((hp, p)) => (hp, text::params(p, ';')),
            None => (rest, Vec::new()),
        };
        uri.params = params;
        (uri.host, uri.port) = text::host_port(hostport).ok_or(BAD)?;
        Ok(uri)
    }
}

fn write_params(f: &mut fmt::Formatter<'_>, list: &[Param], first: char, next: char) -> fmt::Result {
    for (i, (name, value)) in list.iter().enumerate() {
        write!(f, "{}{name}", if i == 0 { first } else { next })?;
        if let Some(v) = value {
            write!(f, "={v}")?;
        }
    }
    Ok(())
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        if !self.is_sip() {
            return f.write_str(&self.host);
        }
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&text::bracketed(&self.host))?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write_params(f, &self.params, ';', ';')?;
        write_params(f, &self.headers, '?', '&')
    }
}

/// The value of From, To, Contact, Route and their like (RFC 3261 section 20.10): display name, URI, header
/// parameters. Without `<>` all parameters belong to the header, as the RFC wants it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NameAddr {
    pub display: Option<String>,
    pub uri: Uri,
    pub params: Vec<(String, Option<String>)>,
}

impl NameAddr {
    /// An address without display name and parameters.
    pub fn new(uri: Uri) -> NameAddr {
        NameAddr { uri, ..NameAddr::default() }
    }

    /// The `tag` parameter.
    pub fn tag(&self) -> Option<&str> {
        self.param("tag").filter(|t| !t.is_empty())
    }

    /// The same address with this tag.
    pub fn with_tag(mut self, tag: &str) -> NameAddr {
        text::set_param(&mut self.params, "tag", Some(tag.to_owned()));
        self
    }

    /// The value of a header parameter; "" for one without a value.
    pub fn param(&self, name: &str) -> Option<&str> {
        text::param(&self.params, name)
    }
}

impl FromStr for NameAddr {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<NameAddr, BadValue> {
        const BAD: BadValue = BadValue("address");
        let s = s.trim();
        let (display, rest) = if s.starts_with('"') {
            let mut escaped = false;
            let close = s.char_indices().skip(1).find(|&(_, c)| {
                let end = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                end
            });
            let (at, _) = close.ok_or(BAD)?;
            (Some(text::unquote(s)), s.get(at + 1..).ok_or(BAD)?.trim_start())
        } else {
            match s.find('<') {
                Some(at) => (s.get(..at).map(|d| d.trim().to_owned()), s.get(at..).ok_or(BAD)?),
                None => (None, s),
            }
        };
        let display = display.filter(|d| !d.is_empty());
        if let Some(inner) = rest.strip_prefix('<') {
            let (uri, tail) = inner.split_once('>').ok_or(BAD)?;
            let tail = tail.trim();
            if !(tail.is_empty() || tail.starts_with(';')) {
                return Err(BAD);
            }
            return Ok(NameAddr { display, uri: uri.parse()?, params: text::params(tail, ';') });
        }
        if display.is_some() {
            return Err(BAD);
        }
        let (uri, tail) = rest.split_once(';').unwrap_or((rest, ""));
        Ok(NameAddr { display, uri: uri.parse()?, params: text::params(tail, ';') })
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            write!(f, "{} ", text::quote(display))?;
        }
        write!(f, "<{}>", self.uri)?;
        write_params(f, &self.params, ';', ';')
    }
}

/// One Via value (RFC 3261 section 20.42, RFC 3581 for `rport`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// `UDP`, `TCP`, `TLS`, `WS`, `WSS`, or what the peer wrote.
    pub transport: String,
    pub host: String,
    pub port: Option<u16>,
    pub params: Vec<(String, Option<String>)>,
}

impl Via {
    /// The branch, where there is a non-empty one.
    pub fn branch(&self) -> Option<&str> {
        text::param(&self.params, "branch").filter(|b| !b.is_empty())
    }

    /// The value of a parameter; "" for one without a value.
    pub fn param(&self, name: &str) -> Option<&str> {
        text::param(&self.params, name)
    }

    /// `host:port` in lower case with the default port written out: the transaction key's sent-by.
    pub fn sent_by(&self) -> String {
        let usual = match self.transport.to_ascii_lowercase().as_str() {
            "tls" => 5061,
            "ws" => 80, // RFC 7118 section 5.4: those of HTTP
            "wss" => 443,
            _ => 5060,
        };
        let port = self.port.unwrap_or(usual);
        format!("{}:{port}", self.host.to_ascii_lowercase())
    }

    pub(crate) fn set(&mut self, name: &str, value: Option<String>) {
        text::set_param(&mut self.params, name, value);
    }
}

impl FromStr for Via {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Via, BadValue> {
        const BAD: BadValue = BadValue("Via");
        let (name, rest) = s.split_once('/').ok_or(BAD)?;
        let (version, rest) = rest.split_once('/').ok_or(BAD)?;
        if !name.trim().eq_ignore_ascii_case("SIP") || version.trim().is_empty() {
            return Err(BAD);
        }
        let rest = rest.trim();
        let at = rest.find(char::is_whitespace).ok_or(BAD)?;
        let (transport, rest) = (rest.get(..at).ok_or(BAD)?, rest.get(at..).ok_or(BAD)?);
        if !text::is_token(transport) {
            return Err(BAD);
        }
        let (hostport, params) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) = text::host_port(hostport).ok_or(BAD)?;
        Ok(Via { transport: transport.to_owned(), host, port, params: text::params(params, ';') })
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.transport, text::bracketed(&self.host))?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write_params(f, &self.params, ';', ';')
    }
}
