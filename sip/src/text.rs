//! Small readers shared by the header types. All work on `&str`, none panics, none recurses.

/// A token of RFC 3261 section 25.1.
pub(crate) fn is_token(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
}

/// Splits at `sep` outside of quoted strings and of `<...>`.
pub(crate) fn split_outside(s: &str, sep: char) -> Vec<&str> {
    let mut out = Vec::new();
    let (mut quoted, mut escaped, mut angle, mut start) = (false, false, false, 0);
    for (i, c) in s.char_indices() {
        if quoted {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = false,
                _ => {}
            }
        } else if c == '"' {
            quoted = true;
        } else if c == '<' {
            angle = true;
        } else if c == '>' {
            angle = false;
        } else if c == sep && !angle {
            out.push(s.get(start..i).unwrap_or_default());
            start = i + c.len_utf8();
        }
    }
    out.push(s.get(start..).unwrap_or_default());
    out
}

/// Takes the quotes and the escapes off; text without quotes is given back as it is.
pub(crate) fn unquote(s: &str) -> String {
    let s = s.trim();
    let Some(inner) = s.strip_prefix('"') else { return s.to_owned() };
    let mut out = String::with_capacity(inner.len());
    let mut escaped = false;
    for c in inner.chars() {
        match c {
            _ if escaped => {
                out.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => break,
            _ => out.push(c),
        }
    }
    out
}

/// Quotes for the wire: backslash and quote are escaped.
pub(crate) fn quote(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        if c == '"' || c == '\\' {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// A name with an optional value, as in `;name` or `;name=value`.
pub(crate) type Param = (String, Option<String>);

/// At most this many parameters are kept per header or URI.
pub(crate) const MAX_PARAMS: usize = 64;

/// Reads `;a=b;c` (the leading separator may be there or not). Empty parts are skipped.
pub(crate) fn params(s: &str, sep: char) -> Vec<Param> {
    split_outside(s, sep)
        .into_iter()
        .map(str::trim)
        .filter(|p| !p.is_empty())
        .take(MAX_PARAMS)
        .map(|p| match p.split_once('=') {
            Some((n, v)) => (n.trim().to_owned(), Some(v.trim().to_owned())),
            None => (p.to_owned(), None),
        })
        .collect()
}

/// The value of a parameter, name compared without case; a flag without value gives `Some("")`.
pub(crate) fn param<'a>(list: &'a [Param], name: &str) -> Option<&'a str> {
    list.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_deref().unwrap_or(""))
}

/// Sets or replaces a parameter.
pub(crate) fn set_param(list: &mut Vec<Param>, name: &str, value: Option<String>) {
    match list.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
        Some(slot) => slot.1 = value,
        None => list.push((name.to_owned(), value)),
    }
}

/// Text that is safe inside one header line: control characters become spaces, ends are trimmed.
pub(crate) fn one_line(s: &str) -> String {
    if s.chars().any(|c| c.is_control() && c != '\t') {
        let clean: String = s.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect();
        clean.trim().to_owned()
    } else {
        s.trim().to_owned()
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`. The host keeps its brackets off.
pub(crate) fn host_port(s: &str) -> Option<(String, Option<u16>)> {
    let s = s.trim();
    let (host, rest) = if let Some(v6) = s.strip_prefix('[') {
        let (addr, rest) = v6.split_once(']')?;
        addr.parse::<std::net::Ipv6Addr>().ok()?;
        (addr.to_owned(), rest.trim())
    } else {
        let end = s.find(':').unwrap_or(s.len());
        let (host, rest) = (s.get(..end)?.trim(), s.get(end..)?.trim());
        let good = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        if !good {
            return None;
        }
        (host.to_owned(), rest)
    };
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some((host, None)),
        Some(port) => Some((host, Some(port.trim().parse().ok()?))),
        None => None,
    }
}

/// A host for the wire: IPv6 gets its brackets back.
pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// The text between `start` and the end, case kept, `None` when `s` does not begin so (compared without case).
pub(crate) fn strip_prefix_nocase<'a>(s: &'a str, start: &str) -> Option<&'a str> {
    let head = s.get(..start.len())?;
    head.eq_ignore_ascii_case(start).then(|| s.get(start.len()..)).flatten()
}
