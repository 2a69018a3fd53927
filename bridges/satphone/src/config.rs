//! The section `satphone` of the configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Terminals of the hall, most.
const MOST_TERMINALS: usize = 32;
const MOST_USERS: usize = 10_000;

/// Which sentences a terminal speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// Version 2.1: `CCTXA`, `BDTXR`.
    Bds2,
    /// BDS-3: `CCTCQ`, `BDTCI`.
    #[default]
    Bds3,
}

/// Settings of the bridge.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub terminal: Vec<Terminal>,
}

/// One BeiDou terminal: a command machine, or any module with a card.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Terminal {
    /// In ids: `satphone:NAME`.
    pub name: String,
    /// To show; empty: the name.
    pub title: String,
    /// `HOST:PORT` of the terminal's TCP server, or of a serial server before it.
    pub address: String,
    /// Or a serial line of this machine, such as `/dev/ttyUSB0`.
    pub device: String,
    pub baud: u32,
    pub generation: Generation,
    /// Seconds between two messages that the card may send.
    pub period: u32,
    /// Seconds until the terminal has said what became of a message.
    pub feedback: u32,
    /// Bytes of one message, in GB18030; longer texts go in pieces.
    pub most_bytes: usize,
    /// Channel of BDS-3.
    pub channel: u8,
    /// Messages that may wait.
    pub queue: usize,
    /// Names of users by their card numbers.
    pub users: BTreeMap<String, String>,
}

impl Default for Terminal {
    fn default() -> Self {
        Terminal {
            name: String::new(),
            title: String::new(),
            address: String::new(),
            device: String::new(),
            baud: 115_200,
            generation: Generation::Bds3,
            period: 60,
            feedback: 15,
            most_bytes: 70,
            channel: 2,
            queue: 20,
            users: BTreeMap::new(),
        }
    }
}

/// Rates of a serial line.
pub(crate) const BAUDS: [u32; 8] = [1_200, 2_400, 4_800, 9_600, 19_200, 38_400, 57_600, 115_200];

impl Terminal {
    /// The name to show.
    pub fn title(&self) -> &str {
        if self.title.is_empty() { &self.name } else { &self.title }
    }

    fn problem(&self) -> Option<String> {
        let name = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let wrong = |what: &str| Some(format!("{:?}: {what}", self.name));
        if self.name.is_empty() || self.name.len() > 32 || !self.name.chars().all(name) {
            return wrong("name must be 1 to 32 letters, digits, - or _");
        }
        if self.address.is_empty() == self.device.is_empty() {
            return wrong("give either address or device");
        }
        let port =
            self.address.rsplit_once(':').and_then(|(host, p)| p.parse::<u16>().ok().filter(|_| !host.is_empty()));
        if !self.address.is_empty() && port.is_none_or(|p| p == 0) {
            return wrong("address must be HOST:PORT");
        }
        if !BAUDS.contains(&self.baud) {
            return wrong("baud must be one of 1200 to 115200");
        }
        if !(1..=3_600).contains(&self.period) || !(2..=120).contains(&self.feedback) {
            return wrong("period is 1 to 3600 s, feedback 2 to 120 s");
        }
        let most = match (self.generation, self.channel) {
            (Generation::Bds3, 1) => 119,
            (Generation::Bds3, 2..=4) => 999,
            (Generation::Bds3, 5) => 79,
            (Generation::Bds3, _) => return wrong("channel is 1 to 5"),
            (Generation::Bds2, _) => 120,
        };
        if !(16..=most).contains(&self.most_bytes) {
            return wrong(&format!("most_bytes is 16 to {most} on this channel"));
        }
        if !(1..=1_000).contains(&self.queue) {
            return wrong("queue is 1 to 1000");
        }
        if self.users.len() > MOST_USERS || !self.users.keys().all(|u| crate::content::is_user(u)) {
            return wrong("users are up to 10000 card numbers of digits");
        }
        None
    }
}

impl Config {
    /// All that is wrong, as (key, why).
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut out: Vec<_> = self.terminal.iter().filter_map(|t| Some(("terminal", t.problem()?))).collect();
        if self.terminal.len() > MOST_TERMINALS {
            out.push(("terminal", format!("{} terminals are more than {MOST_TERMINALS}", self.terminal.len())));
        }
        let mut names: Vec<_> = self.terminal.iter().map(|t| &t.name).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|w| w.first() == w.last()) {
            out.push(("terminal", format!("two terminals are named {:?}", twice.first())));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let good = Terminal { name: "bd1".into(), address: "10.1.1.9:5000".into(), ..Terminal::default() };
        let with = |change: fn(&mut Terminal)| {
            let mut t = good.clone();
            change(&mut t);
            Config { terminal: vec![t] }.problems().len()
        };
        assert_eq!(with(|_| {}), 0);
        for change in [
            (|t: &mut Terminal| t.name = "a b".into()) as fn(&mut Terminal),
            |t| t.address.clear(),
            |t| t.device = "/dev/ttyS0".into(),
            |t| t.address = "host".into(),
            |t| t.baud = 1,
            |t| t.period = 0,
            |t| t.channel = 6,
            |t| t.most_bytes = 5_000,
            |t| t.queue = 0,
            |t| {
                t.users.insert("x".into(), "y".into());
            },
        ] {
            assert_eq!(with(change), 1);
        }
        assert_eq!(Config { terminal: vec![good.clone(), good] }.problems().len(), 1);
    }
}
