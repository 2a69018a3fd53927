//! Sends devices on to other platforms at their registration (GB/T 28181-2022 clause 9.1; reference section 4.3). No I/O and no
//! clock.
//!
//! A device that fits a rule is answered 302 with the address of a server, and registers there. When that server is off line or
//! refuses it, it comes back here; that is the only word we get of a failure. So one that is back within `come_back` is sent to
//! the next server, and when all were tried it is taken here: nobody is left without a platform.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::config::seconds;
use crate::edition::Edition;
use crate::ids;
use crate::quirks::{Pattern, glob};

/// Rules of a configuration.
const MAX_RULES: usize = 100;
/// Servers of a rule.
const MAX_SERVERS: usize = 32;
/// Between two words to the operators about one rule: a server that is off line fails all its devices at once.
const QUIET: Duration = Duration::from_secs(60);

/// Which devices go where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// For logs and notices.
    pub name: String,
    /// Ids of devices; `*` stands for anything. None: all ids.
    pub ids: Option<Pattern>,
    /// Type codes of devices (digits 11 to 13). Empty: all types.
    pub types: Vec<u16>,
    /// Devices of before 2022 too, which were never told of a 302.
    pub any_edition: bool,
    /// Handed out in turn.
    pub to: Vec<Server>,
    /// Seconds for which the device is told that the address holds.
    pub expires: u32,
    /// Seconds within which a device that registers here again was not taken where it was sent.
    pub come_back: u32,
    /// Take a device here when all servers were tried. Off: the round begins again.
    pub fallback_here: bool,
    /// Seconds that such a device stays, before it is sent out again at its next registration.
    pub stay: u32,
}

impl Default for Rule {
    fn default() -> Self {
        Rule {
            name: String::new(),
            ids: None,
            types: Vec::new(),
            any_edition: false,
            to: Vec::new(),
            expires: 3_600,
            // A server counts as off line after three keepalives of 60 s, or a REGISTER of 32 s without an answer and the
            // pause of 60 s behind it.
            come_back: 300,
            fallback_here: true,
            stay: 14_400,
        }
    }
}

/// Another platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Its 20-digit id.
    pub server_id: String,
    /// Where its signalling listens, as `10.0.0.5:5060`.
    #[serde(deserialize_with = "place")]
    pub address: SocketAddr,
}

/// Names of hosts are not taken: the standard's Contact holds an address, and devices may have no name server.
fn place<'de, D: serde::Deserializer<'de>>(input: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(input)?;
    let wrong = |_| serde::de::Error::custom(format!("to.address {text:?} is not IP:PORT, as in 10.0.0.5:5060"));
    text.parse().map_err(wrong)
}

impl Server {
    /// The Contact of the 302.
    pub fn contact(&self) -> String {
        format!("<sip:{}@{}>", self.server_id, self.address)
    }
}

impl Rule {
    /// Whether a device is meant.
    pub fn fits(&self, id: &str, edition: Option<Edition>) -> bool {
        let spoken = self.any_edition || edition >= Some(Edition::V2022);
        let typed = self.types.is_empty() || ids::type_code(id).is_some_and(|t| self.types.contains(&t));
        spoken && typed && self.ids.as_ref().is_none_or(|p| p.words().iter().any(|w| glob(w, id)))
    }

    fn problems(&self, own: &str) -> Vec<String> {
        let mut out = Vec::new();
        let mut want = |good: bool, key: &str, what: &str| {
            if !good {
                out.push(format!("{key}: {what}"));
            }
        };
        // A rule for every device must be meant: it is written `ids = "*"`.
        want(self.ids.is_some() || !self.types.is_empty(), "ids, types", "one of them is needed; ids = \"*\" is all");
        want(self.ids.as_ref().is_none_or(|p| !p.words().is_empty()), "ids", "an empty list is no device");
        let words = self.ids.iter().flat_map(Pattern::words);
        for word in words {
            let sound = word.len() <= 20 && word.chars().all(|c| c.is_ascii_digit() || c == '*');
            let whole = word.contains('*') || word.len() == 20;
            want(sound && whole, "ids", &format!("{word:?} is neither 20 digits nor digits with a *"));
        }
        want((1..=MAX_SERVERS).contains(&self.to.len()), "to", "1 to 32 servers");
        for (n, server) in self.to.iter().enumerate() {
            let key = format!("to.{n}.server_id");
            want(ids::is_id(&server.server_id), &key, "must be 20 digits");
            want(server.server_id != own, &key, "is this gateway's own: devices would be sent in a circle");
            let place = !server.address.ip().is_unspecified() && server.address.port() != 0;
            want(place, &format!("to.{n}.address"), "devices cannot reach it: give an address and a port");
            want(!self.to.iter().take(n).any(|s| s == server), &format!("to.{n}"), "is there twice");
        }
        want((60..=604_800).contains(&self.expires), "expires", "60 to 604800 seconds");
        want((1..=86_400).contains(&self.come_back), "come_back", "1 to 86400 seconds");
        want((1..=604_800).contains(&self.stay), "stay", "1 to 604800 seconds");
        out
    }
}

/// All that is wrong with the rules, as `key: why`. `own`: our own server id.
pub fn problems(rules: &[Rule], own: &str) -> Vec<String> {
    let mut out = Vec::new();
    if rules.len() > MAX_RULES {
        out.push(format!("redirect: at most {MAX_RULES} rules"));
    }
    for (n, rule) in rules.iter().enumerate() {
        out.extend(rule.problems(own).into_iter().map(|p| format!("redirect.{n}.{p}")));
    }
    out
}

/// What becomes of a device that may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// No rule is for it.
    Own,
    /// To a server of a rule. `again`: it has come back from another one, or from this one.
    On { rule: usize, server: usize, again: bool },
    /// It is taken here, for all servers of the rule were tried. `fresh`: just now; else it was here before.
    Here { rule: usize, fresh: bool },
}

#[derive(Debug, Clone, Copy)]
struct Trip {
    rule: usize,
    /// The server tried first in this round, and how many were tried.
    first: usize,
    tried: usize,
    /// When it was sent there, or taken here.
    at: Instant,
    here: bool,
}

/// Who was sent where. About 100 bytes a device.
#[derive(Debug)]
pub struct Redirects {
    trips: HashMap<String, Trip>,
    /// The server whose turn it is, by rule.
    turns: Vec<usize>,
    /// When operators were told of devices that came back, and of devices taken here, by rule.
    told: Vec<[Option<Instant>; 2]>,
    limit: usize,
}

impl Redirects {
    /// `limit`: devices that are remembered. Those beyond it are taken here.
    pub fn new(rules: usize, limit: usize) -> Redirects {
        Redirects { trips: HashMap::new(), turns: vec![0; rules], told: vec![[None; 2]; rules], limit }
    }

    /// Decides on a device whose registration would be accepted.
    pub fn way(&mut self, now: Instant, rules: &[Rule], id: &str, edition: Option<Edition>) -> Way {
        let found = rules.iter().enumerate().find(|(_, r)| r.fits(id, edition) && !r.to.is_empty());
        let Some((index, rule)) = found else {
            self.trips.remove(id);
            return Way::Own;
        };
        let servers = rule.to.len();
        let on = |trip: &Trip, again| Way::On { rule: index, server: (trip.first + trip.tried) % servers, again };
        if let Some(trip) = self.trips.get_mut(id).filter(|t| t.rule == index) {
            let since = now.saturating_duration_since(trip.at);
            if trip.here && since < seconds(rule.stay) {
                return Way::Here { rule: index, fresh: false };
            }
            let failed = !trip.here && since < seconds(rule.come_back);
            trip.at = now;
            if !failed {
                // It was well where it was, or may try again: the same server, and a round of its own.
                *trip = Trip { first: (trip.first + trip.tried) % servers, tried: 0, here: false, ..*trip };
                return on(trip, false);
            }
            trip.tried += 1;
            if trip.tried >= servers {
                (trip.tried, trip.here) = (0, rule.fallback_here);
                if rule.fallback_here {
                    return Way::Here { rule: index, fresh: true };
                }
            }
            return on(trip, true);
        }
        if self.trips.len() >= self.limit && !self.trips.contains_key(id) {
            return Way::Here { rule: index, fresh: true };
        }
        let turn = self.turns.get_mut(index);
        let first = turn.map_or(0, |t| std::mem::replace(t, (*t + 1) % servers)) % servers;
        let trip = Trip { rule: index, first, tried: 0, at: now, here: false };
        self.trips.insert(id.to_owned(), trip);
        on(&trip, false)
    }

    /// The device logged out: where it was is of no meaning any more.
    pub fn forget(&mut self, id: &str) {
        self.trips.remove(id);
    }

    /// Whether operators should be told now that a device came back from a server of a rule, or (`here`) that it was taken here
    /// at last; each once a minute.
    pub fn tell(&mut self, now: Instant, rule: usize, here: bool) -> bool {
        let Some([back, taken]) = self.told.get_mut(rule) else { return false };
        let told = if here { taken } else { back };
        let due = told.is_none_or(|at| now.saturating_duration_since(at) >= QUIET);
        if due {
            *told = Some(now);
        }
        due
    }
}

#[cfg(test)]
#[path = "redirect_tests.rs"]
mod tests;
