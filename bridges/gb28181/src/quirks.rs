//! Quirks as data: which devices want what beside the standard (reference sections 3, 8, 12.1, 14 and 19).
//!
//! The table is `quirks.toml`, built in; the configuration adds rows (`gb28181.quirks`) and has the last word per device
//! (`gb28181.devices.ID`). Code asks for a [`Quirk`] of a device and never for a maker's name.

use std::sync::Arc;

use dashmap::DashMap;
use serde::{Deserialize, Serialize};

use crate::config::{Config, DeviceConfig, Quirk};
use crate::ids;
use crate::text::Charset;

/// The table that is built in.
const BUILT_IN: &str = include_str!("quirks.toml");
/// Longest fact that is compared, in bytes.
const MAX_FACT: usize = 200;
/// Rows of the configuration.
pub const MAX_ROWS: usize = 500;

/// One word or several, of which one must fit. `*` stands for anything; case does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Pattern {
    One(String),
    Any(Vec<String>),
}

impl Pattern {
    /// All words.
    pub fn words(&self) -> &[String] {
        match self {
            Pattern::One(word) => std::slice::from_ref(word),
            Pattern::Any(words) => words,
        }
    }

    fn fits(&self, fact: &str) -> bool {
        let fact = cut(fact.trim(), MAX_FACT).to_lowercase();
        self.words().iter().any(|w| glob(&w.to_lowercase(), &fact))
    }
}

fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}

/// `*` in the pattern stands for anything, all else for itself.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(between) = last.replace(part) {
            match rest.find(between) {
                Some(at) => rest = rest.get(at + between.len()..).unwrap_or(""),
                None => return false,
            }
        }
    }
    match last {
        Some(end) => rest.ends_with(end),
        None => rest.is_empty(),
    }
}

/// What devices that fit want.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Row {
    /// A row of the configuration with the name of one that is built in replaces it.
    pub name: String,
    pub manufacturer: Option<Pattern>,
    pub model: Option<Pattern>,
    pub firmware: Option<Pattern>,
    pub user_agent: Option<Pattern>,
    /// Type codes of the device's id (digits 11 to 13).
    pub types: Vec<u16>,
    pub quirks: Vec<Quirk>,
    /// In which character set we write.
    pub charset: Option<Charset>,
    /// The `a=` line that asks for the main stream, and for the sub-stream. `""`: none.
    pub main_stream: Option<String>,
    pub sub_stream: Option<String>,
    /// Seconds to the first piece of its catalog.
    pub catalog_first: Option<u32>,
    /// Where it was seen.
    pub mark: String,
    pub zh: String,
    pub en: String,
}

impl Row {
    /// A row without any pattern fits no device: it would fit all.
    fn fits(&self, facts: &Facts) -> bool {
        let pairs = [
            (&self.manufacturer, facts.manufacturer),
            (&self.model, facts.model),
            (&self.firmware, facts.firmware),
            (&self.user_agent, facts.user_agent),
        ];
        let typed = self.types.is_empty() || facts.kind.is_some_and(|k| self.types.contains(&k));
        typed
            && (!self.types.is_empty() || pairs.iter().any(|(p, _)| p.is_some()))
            && pairs.iter().all(|(p, fact)| p.as_ref().is_none_or(|p| !fact.is_empty() && p.fits(fact)))
    }

    /// What is wrong with a row of the configuration.
    pub fn problem(&self) -> Option<String> {
        if self.name.is_empty() {
            return Some("a row needs a name".into());
        }
        let patterns = [&self.manufacturer, &self.model, &self.firmware, &self.user_agent];
        if patterns.iter().all(|p| p.is_none()) && self.types.is_empty() {
            return Some(format!("{}: needs one of manufacturer, model, firmware, user_agent, types", self.name));
        }
        let lines = [&self.main_stream, &self.sub_stream];
        lines
            .iter()
            .any(|l| l.as_ref().is_some_and(|l| !attribute(l)))
            .then(|| format!("{}: main_stream and sub_stream are one line of at most 100 signs without a=", self.name))
    }
}

/// Whether a text can stand behind `a=`.
pub fn attribute(line: &str) -> bool {
    line.len() <= 100 && !line.contains(['\r', '\n']) && !line.starts_with("a=")
}

/// Something that is taken from every device.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Habit {
    pub name: String,
    pub mark: String,
    pub zh: String,
    pub en: String,
    pub does_zh: String,
    pub does_en: String,
    /// Files of `testdata/` that show it.
    pub fixture: Vec<String>,
    /// The fault of the simulated field that does it.
    pub field: String,
}

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Table {
    pub device: Vec<Row>,
    pub habit: Vec<Habit>,
}

impl Table {
    /// What is built in. A test reads it, so that it is never empty.
    pub fn built_in() -> Table {
        toml::from_str(BUILT_IN).unwrap_or_else(|error| {
            tracing::error!(%error, "the built-in table of quirks cannot be read");
            Table::default()
        })
    }

    /// With the rows of the configuration.
    pub fn with(mut self, rows: &[Row]) -> Table {
        for row in rows.iter().take(MAX_ROWS) {
            self.device.retain(|r| r.name != row.name);
            self.device.push(row.clone());
        }
        self
    }
}

/// What is known of a device.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    pub manufacturer: &'a str,
    pub model: &'a str,
    pub firmware: &'a str,
    pub user_agent: &'a str,
    pub kind: Option<u16>,
}

/// What one device wants: all rows that fit, and the operator's word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    flags: u64,
    pub charset: Option<Charset>,
    pub main_stream: Option<String>,
    pub sub_stream: Option<String>,
    pub catalog_first: Option<u32>,
    /// Names of the rows that fit.
    pub rows: Vec<String>,
}

impl Profile {
    pub fn has(&self, quirk: Quirk) -> bool {
        self.flags & (1 << quirk as u32) != 0
    }

    /// All flags.
    pub fn quirks(&self) -> impl Iterator<Item = Quirk> {
        Quirk::ALL.iter().copied().filter(|q| self.has(*q))
    }

    fn take(&mut self, row: &Row) {
        row.quirks.iter().for_each(|q| self.flags |= 1 << *q as u32);
        self.charset = row.charset.or(self.charset);
        self.catalog_first = row.catalog_first.or(self.catalog_first);
        let set = |to: &mut Option<String>, from: &Option<String>| {
            if from.is_some() {
                to.clone_from(from);
            }
        };
        set(&mut self.main_stream, &row.main_stream);
        set(&mut self.sub_stream, &row.sub_stream);
        self.rows.push(row.name.clone());
    }

    fn own(&mut self, own: &DeviceConfig) {
        own.quirks.iter().for_each(|q| self.flags |= 1 << *q as u32);
        own.without.iter().for_each(|q| self.flags &= !(1 << *q as u32));
        self.charset = own.charset.or(self.charset);
        self.catalog_first = own.catalog_first.or(self.catalog_first);
        for (to, from) in [(&mut self.main_stream, &own.main_stream), (&mut self.sub_stream, &own.sub_stream)] {
            if from.is_some() {
                to.clone_from(from);
            }
        }
    }

    /// By the configuration of one device alone.
    pub fn of_config(config: &Config, id: &str) -> Profile {
        let mut out = Profile::default();
        if let Some(own) = config.device(id) {
            out.own(own);
        }
        out
    }
}

/// The table and what it says of the devices met so far.
#[derive(Debug)]
pub struct Quirks {
    table: Table,
    /// What devices without any quirk share.
    plain: Arc<Profile>,
    known: DashMap<String, Arc<Profile>>,
    /// User agents that some row asks for, by device.
    agents: DashMap<String, Box<str>>,
}

impl Quirks {
    pub fn new(config: &Config) -> Quirks {
        Quirks {
            table: Table::built_in().with(&config.quirks),
            plain: Arc::default(),
            known: DashMap::new(),
            agents: DashMap::new(),
        }
    }

    /// What a device's registration says of its program. Kept only when a row asks for it.
    pub fn agent(&self, id: &str, user_agent: &str) {
        let user_agent = cut(user_agent.trim(), MAX_FACT);
        let asked = self.table.device.iter().filter_map(|r| r.user_agent.as_ref()).any(|p| p.fits(user_agent));
        if asked && self.agents.get(id).is_none_or(|a| **a != *user_agent) {
            self.agents.insert(id.to_owned(), user_agent.into());
            self.known.remove(id);
        } else if !asked && self.agents.remove(id).is_some() {
            self.known.remove(id);
        }
    }

    /// Facts of the device have changed, or it is gone.
    pub fn forget(&self, id: &str) {
        self.known.remove(id);
    }

    /// What a device wants, as far as is known by now; `facts` is asked at the first time and after [`Quirks::forget`].
    pub fn of(&self, config: &Config, id: &str, facts: impl FnOnce() -> Option<[String; 3]>) -> Arc<Profile> {
        if let Some(found) = self.known.get(id) {
            return found.clone();
        }
        let known = facts();
        let [manufacturer, model, firmware] = known.clone().unwrap_or_default();
        let agent = self.agents.get(id).map(|a| a.to_string()).unwrap_or_default();
        let mut profile = Profile::default();
        let facts = Facts {
            manufacturer: &manufacturer,
            model: &model,
            firmware: &firmware,
            user_agent: &agent,
            kind: ids::type_code(id),
        };
        self.table.device.iter().filter(|r| r.fits(&facts)).for_each(|r| profile.take(r));
        if let Some(own) = config.device(id) {
            profile.own(own);
        }
        let profile = if profile == *self.plain { self.plain.clone() } else { Arc::new(profile) };
        // Only devices that are in the table of devices: what strangers say must not grow it.
        if known.is_some() && self.known.len() < config.max_devices {
            self.known.insert(id.to_owned(), profile.clone());
        }
        profile
    }
}

#[cfg(test)]
#[path = "quirks_tests.rs"]
mod tests;
