//! The sections `phone.trunk`, `phone.route` and `phone.toll` of the configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Trunks, rules and numbers that are kept at most.
const MOST_TRUNKS: usize = 64;
const MOST_RULES: usize = 1024;
const MOST_SERVERS: usize = 8;
const MOST_NUMBERS: usize = 4096;

/// How a trunk's servers are spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// As DNS says (RFC 3263 section 4.1); UDP for addresses.
    Auto,
    #[default]
    Udp,
    Tcp,
    Tls,
}

/// How our own number is written towards a trunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberForm {
    /// `sip:number@domain;user=phone`.
    #[default]
    Sip,
    /// `tel:number` (RFC 3966) in P-Asserted-Identity, and From and To with a `tel:` URI each.
    Tel,
}

/// Which number the far end sees of our callers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shown {
    /// The trunk's main number for everybody.
    #[default]
    Main,
    /// The account's own outside number where it has one, else the main number.
    Account,
}

/// A change of numbers that begin with `prefix`: the first `strip` characters go, `add` comes in front.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rewrite {
    pub prefix: String,
    pub strip: usize,
    pub add: String,
}

/// A number of the trunk, and whom it reaches: the number of a conference, an account, or what else can be dialled here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Did {
    pub number: String,
    pub to: String,
}

/// One trunk: a carrier, a switch of another authority, or a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trunk {
    /// What rules, records and people call it: 1 to 32 letters, digits, `-` and `_`.
    pub name: String,
    /// Host names or addresses with or without port, the preferred one first.
    pub servers: Vec<String>,
    pub transport: Wire,
    /// Host part of From, To and the request URI; empty: the first server.
    pub domain: String,
    /// Where everything is sent instead of to `servers`, with a Route header; `host` or `host:port`.
    pub outbound_proxy: String,
    /// Whether we register there; else the far end knows our address.
    pub register: bool,
    pub user: String,
    /// The user of the digest; empty: `user`.
    pub auth_user: String,
    /// Reference to the secret: `env:NAME` or `file:PATH`.
    pub password: String,
    /// Seconds that a registration shall last.
    pub expires: u32,
    /// Seconds between OPTIONS to each server; 0: none.
    pub options_interval: u32,
    /// Unanswered ones in a row that make a server count as down.
    pub options_misses: u32,
    /// Calls at once, both ways; and one way (0: no bound of its own).
    pub max_calls: usize,
    pub max_calls_in: usize,
    pub max_calls_out: usize,
    /// Seconds without any answer to an INVITE after which the next server is tried.
    pub invite_timeout: u32,
    /// Networks from which the trunk calls besides the addresses of its servers.
    pub networks: Vec<String>,
    /// What the trunk says of the caller (P-Asserted-Identity) is believed, and ours is told to it though the caller hides.
    pub trusted: bool,
    pub number_form: NumberForm,
    pub shown: Shown,
    /// Our main number there.
    pub main_number: String,
    /// Outside numbers of accounts.
    pub account_numbers: BTreeMap<String, String>,
    pub did: Vec<Did>,
    /// What is done to numbers that call in, so that they can be called back; the first that fits counts.
    pub callers_in: Vec<Rewrite>,
}

impl Default for Trunk {
    fn default() -> Self {
        Trunk {
            name: String::new(),
            servers: Vec::new(),
            transport: Wire::Udp,
            domain: String::new(),
            outbound_proxy: String::new(),
            register: false,
            user: String::new(),
            auth_user: String::new(),
            password: String::new(),
            expires: 3600,
            options_interval: 30,
            options_misses: 2,
            max_calls: 30,
            max_calls_in: 0,
            max_calls_out: 0,
            invite_timeout: 5,
            networks: Vec::new(),
            trusted: false,
            number_form: NumberForm::Sip,
            shown: Shown::Main,
            main_number: String::new(),
            account_numbers: BTreeMap::new(),
            did: Vec::new(),
            callers_in: Vec::new(),
        }
    }
}

/// Which dialled numbers go out, as what, and by which trunks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NumberRoute {
    pub prefix: String,
    /// Digits of the whole dialled number.
    pub min_length: usize,
    pub max_length: usize,
    pub strip: usize,
    pub add: String,
    /// Tried in this order.
    pub trunks: Vec<String>,
    /// The least goes first; among equals the longest prefix.
    pub priority: u32,
}

impl Default for NumberRoute {
    fn default() -> Self {
        NumberRoute {
            prefix: String::new(),
            min_length: 1,
            max_length: 32,
            strip: 0,
            add: String::new(),
            trunks: Vec::new(),
            priority: 100,
        }
    }
}

/// Who may call outside numbers. Without a rule that allows it nothing goes to a trunk; a rule that denies is above all that
/// allow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Toll {
    /// Accounts, `*` at the end for all that begin so: `"80*"`, `"*"`.
    pub accounts: Vec<String>,
    /// Names of `phone.groups`.
    pub groups: Vec<String>,
    /// Numbers of conferences whose hall calls out.
    pub conferences: Vec<String>,
    /// Trunks whose callers may be sent on: a relay, so name them with care.
    pub from_trunks: Vec<String>,
    /// What the dialled number begins with; `""` is every number.
    pub to: Vec<String>,
    /// Only by these trunks; empty: by all.
    pub trunks: Vec<String>,
    pub deny: bool,
    /// Calls at once under this rule; 0: no bound of its own.
    pub max_calls: usize,
}

/// True for what may be dialled: digits, `+` in front, `*` and `#`; 1 to 32.
pub fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    (1..=32).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit() || b == b'*' || b == b'#')
}

/// True for an empty text, or what numbers may begin with.
fn is_prefix(text: &str) -> bool {
    text.is_empty() || text == "+" || is_number(text)
}

/// Host and port of `host`, `host:port`, `1.2.3.4:5070` or `[::1]:5070`.
pub fn host_port(text: &str) -> Option<(String, Option<u16>)> {
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        return Some((address.ip().to_string(), Some(address.port())));
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        return Some((ip.to_string(), None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok().filter(|p| *p != 0)?)),
        None => (text, None),
    };
    let good = host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_');
    ((1..=253).contains(&host.len()) && good).then(|| (host.to_owned(), port))
}

/// All that is wrong, as (key, why).
pub fn problems(
    trunks: &[Trunk],
    routes: &[NumberRoute],
    tolls: &[Toll],
    groups: &BTreeMap<String, Vec<String>>,
) -> Vec<(&'static str, String)> {
    let mut out: Vec<(&'static str, String)> = Vec::new();
    for (key, count, most) in
        [("trunk", trunks.len(), MOST_TRUNKS), ("route", routes.len(), MOST_RULES), ("toll", tolls.len(), MOST_RULES)]
    {
        if count > most {
            out.push((key, format!("{count} are more than {most}")));
        }
    }
    for (at, trunk) in trunks.iter().enumerate() {
        let again = trunks.iter().take(at).any(|t| t.name == trunk.name);
        out.extend(trunk.problems(again).into_iter().map(|why| ("trunk", format!("{:?}: {why}", trunk.name))));
    }
    let unknown = |names: &[String]| names.iter().find(|n| !trunks.iter().any(|t| t.name == **n)).cloned();
    for route in routes {
        let mut wrong = |why: String| out.push(("route", format!("prefix {:?}: {why}", route.prefix)));
        if !is_prefix(&route.prefix) || !is_prefix(&route.add) {
            wrong("prefix and add hold digits, *, # and + in front".to_owned());
        }
        if route.trunks.is_empty() {
            wrong("names no trunk".to_owned());
        }
        if let Some(name) = unknown(&route.trunks) {
            wrong(format!("there is no trunk {name:?}"));
        }
        if route.min_length == 0 || route.min_length > route.max_length || route.max_length > 32 {
            wrong("min_length is 1 or more, max_length not below it and 32 at most".to_owned());
        }
        if route.strip > route.min_length {
            wrong("strip takes more than the shortest number has".to_owned());
        }
    }
    for (at, toll) in tolls.iter().enumerate() {
        let mut wrong = |why: String| out.push(("toll", format!("rule {}: {why}", at + 1)));
        let nobody = [&toll.accounts, &toll.groups, &toll.conferences, &toll.from_trunks].iter().all(|l| l.is_empty());
        if nobody {
            wrong("says for nobody: give accounts, groups, conferences or from_trunks".to_owned());
        }
        if toll.to.is_empty() || toll.to.iter().any(|p| !is_prefix(p)) {
            wrong("\"to\" lists what numbers begin with; \"\" is every number".to_owned());
        }
        if let Some(name) = unknown(&toll.trunks).or_else(|| unknown(&toll.from_trunks)) {
            wrong(format!("there is no trunk {name:?}"));
        }
        if let Some(group) = toll.groups.iter().find(|g| !groups.contains_key(*g)) {
            wrong(format!("there is no group {group:?} in phone.groups"));
        }
    }
    out
}

impl Trunk {
    fn problems(&self, again: bool) -> Vec<String> {
        let mut out = Vec::new();
        let mut want = |good: bool, why: &str| {
            if !good {
                out.push(why.to_owned());
            }
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        want(
            (1..=32).contains(&self.name.len()) && self.name.bytes().all(plain),
            "name has 1 to 32 letters, digits, - and _",
        );
        want(!again, "there are two trunks of this name");
        want((1..=MOST_SERVERS).contains(&self.servers.len()), "servers lists 1 to 8 hosts");
        want(
            self.servers.iter().all(|s| host_port(s).is_some()),
            "a server is a host name or an address, with a port if need be",
        );
        want(
            self.outbound_proxy.is_empty() || host_port(&self.outbound_proxy).is_some(),
            "outbound_proxy is a host and port",
        );
        want(self.domain.is_empty() || host_port(&self.domain).is_some_and(|(_, p)| p.is_none()), "domain is a host");
        want(!self.register || !self.user.is_empty(), "a trunk that registers needs a user");
        let word = |s: &str| {
            s.len() <= 64 && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-_.!~*'()&=$,;?/%@".contains(&b))
        };
        want(word(&self.user) && !self.user.contains('@'), "user has up to 64 letters, digits and signs, without @");
        want(word(&self.auth_user), "auth_user has up to 64 letters, digits and signs");
        want((60..=86_400).contains(&self.expires), "expires lies between 60 and 86400");
        want(
            self.options_interval == 0 || (5..=3600).contains(&self.options_interval),
            "options_interval is 0, or 5 to 3600",
        );
        want((1..=20).contains(&self.options_misses), "options_misses lies between 1 and 20");
        want((1..=100_000).contains(&self.max_calls), "max_calls lies between 1 and 100000");
        want((1..=60).contains(&self.invite_timeout), "invite_timeout lies between 1 and 60");
        want(self.networks.len() <= 256, "networks are 256 at most");
        want(self.networks.iter().all(|n| n.parse::<sip::Network>().is_ok()), "networks are such as 10.8.0.0/16");
        want(self.main_number.is_empty() || is_number(&self.main_number), "main_number is a number");
        want(self.account_numbers.len() <= MOST_NUMBERS, "account_numbers are 4096 at most");
        want(self.account_numbers.values().all(|n| is_number(n)), "account_numbers gives each account a number");
        want(self.did.len() <= MOST_NUMBERS, "did are 4096 at most");
        want(
            self.did.iter().all(|d| is_number(&d.number) && is_number_or_account(&d.to)),
            "did has a number, and where it leads",
        );
        want(self.callers_in.len() <= 64, "callers_in are 64 at most");
        want(
            self.callers_in.iter().all(|r| is_prefix(&r.prefix) && is_prefix(&r.add)),
            "callers_in has digits in prefix and add",
        );
        out
    }
}

fn is_number_or_account(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"*#+".contains(&b))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for (text, want) in [
            ("sip.example.com", Some(("sip.example.com", None))),
            ("sip.example.com:5070", Some(("sip.example.com", Some(5070)))),
            ("10.1.1.5", Some(("10.1.1.5", None))),
            ("[fd00::5]:5061", Some(("fd00::5", Some(5061)))),
            ("fd00::5", Some(("fd00::5", None))),
            ("a b", None),
            ("host:0", None),
            ("host:99999", None),
            ("", None),
        ] {
            assert_eq!(host_port(text), want.map(|(h, p)| (h.to_owned(), p)), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let good = Trunk { name: "a".into(), servers: vec!["10.1.1.5".into()], ..Trunk::default() };
        let route = NumberRoute { prefix: "0".into(), trunks: vec!["a".into()], ..NumberRoute::default() };
        let toll = Toll { accounts: vec!["*".into()], to: vec!["0".into()], ..Toll::default() };
        let none = BTreeMap::new();
        assert!(
            problems(std::slice::from_ref(&good), std::slice::from_ref(&route), std::slice::from_ref(&toll), &none)
                .is_empty()
        );
        let bad = [
            Trunk { register: true, ..good.clone() },
            Trunk { expires: 1, invite_timeout: 0, networks: vec!["x".into()], ..good.clone() },
        ];
        assert_eq!(problems(&bad, &[], &[], &none).len(), 5, "{:?}", problems(&bad, &[], &[], &none));
        let route = NumberRoute { prefix: "x".into(), trunks: vec!["b".into()], strip: 3, ..route };
        assert_eq!(problems(std::slice::from_ref(&good), &[route], &[], &none).len(), 3);
        let toll = Toll { groups: vec!["duty".into()], ..Toll::default() };
        assert_eq!(problems(&[good], &[], &[toll, Toll::default()], &none).len(), 4);
    }
}
