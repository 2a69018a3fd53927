//! Pieces of header values: parameters, addresses, users.

/// A `;name=value` parameter outside angle brackets (and inside them when nothing is outside).
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let tail = value.rfind('>').map_or(value, |at| &value[at..]);
    tail.split(';').skip(1).find_map(|p| {
        let (n, v) = p.split_once('=').unwrap_or((p, ""));
        n.trim().eq_ignore_ascii_case(name).then(|| v.trim().trim_matches('"'))
    })
}

/// The URI inside `<...>`, or the bare one.
pub fn address_uri(value: &str) -> &str {
    match (value.find('<'), value.find('>')) {
        (Some(a), Some(b)) if a < b => &value[a + 1..b],
        _ => value.split(';').next().unwrap_or(value).trim(),
    }
}

/// The user part of a SIP URI or of a name-addr.
pub fn user_of(value: &str) -> &str {
    let uri = address_uri(value);
    let rest = uri.split_once(':').map_or(uri, |(_, r)| r);
    rest.split_once('@').map_or("", |(user, _)| user)
}
