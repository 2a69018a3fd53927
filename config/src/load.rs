//! From text and environment to a filled configuration, or to the list of everything that is wrong.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// One mistake: what, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key, as in `http.listen`; empty for the text as a whole.
    pub key: String,
    /// Line in the file, if it is in the file; the environment's variable name otherwise.
    pub place: String,
    pub what: String,
}

impl Problem {
    pub fn new(key: &str, place: impl Into<String>, what: impl Into<String>) -> Self {
        Problem { key: key.to_owned(), place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.place.is_empty(), self.key.is_empty()) {
            (true, true) => write!(f, "{}", self.what),
            (true, false) => write!(f, "{}: {}", self.key, self.what),
            (false, true) => write!(f, "{}: {}", self.place, self.what),
            (false, false) => write!(f, "{}: {}: {}", self.place, self.key, self.what),
        }
    }
}

/// A filled configuration and where each given key stood, so that later checks can name the place.
#[derive(Debug)]
pub struct Loaded<T> {
    pub value: T,
    places: BTreeMap<String, String>,
}

impl<T> Loaded<T> {
    /// A problem found by a later check, with the place of `key` filled in.
    pub fn problem(&self, key: &str, what: impl Into<String>) -> Problem {
        Problem::new(key, self.places.get(key).cloned().unwrap_or_default(), what)
    }
}

/// Name of the environment variable that overrides `key`.
pub fn environment_name(key: &str) -> String {
    format!("SKYBRIDGE_{}", key.replace('.', "_").to_uppercase())
}

/// Paths of all keys of a table that hold a value; arrays count as one value.
pub fn leaves(table: &Table) -> Vec<String> {
    fn walk(prefix: &str, table: &Table, found: &mut Vec<String>) {
        for (key, value) in table {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                Value::Table(inner) => walk(&path, inner, found),
                _ => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    walk("", table, &mut found);
    found
}

fn get<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let (head, rest) = path.split_once('.').map_or((path, None), |(h, r)| (h, Some(r)));
    match (table.get(head)?, rest) {
        (value, None) => Some(value),
        (Value::Table(inner), Some(rest)) => get(inner, rest),
        _ => None,
    }
}

fn put(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((head, rest)) => {
            let inner = table.entry(head).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

fn remove(table: &mut Table, path: &str) {
    match path.split_once('.') {
        None => {
            table.remove(path);
        }
        Some((head, rest)) => {
            if let Some(Value::Table(inner)) = table.get_mut(head) {
                remove(inner, rest);
            }
        }
    }
}

/// Fills a configuration from `text` (called `file` in messages) and the environment's variables that begin with
/// `SKYBRIDGE_`, and has `check` look for what single keys cannot show; a key of the wrong type has its default then.
/// Either everything is well, or every mistake is told.
pub fn load<T>(
    text: &str,
    file: &str,
    environment: &[(String, String)],
    check: impl FnOnce(&Loaded<T>) -> Vec<Problem>,
) -> Result<T, Vec<Problem>>
where
    T: Default + Serialize + DeserializeOwned,
{
    let mut problems = Vec::new();
    let mut table: Table = match toml::from_str(text) {
        Ok(table) => table,
        Err(error) => {
            let line = error.span().map_or(0, |span| line_of(text, span.start));
            return Err(vec![Problem::new("", format!("{file}:{line}"), error.message())]);
        }
    };
    let mut places = BTreeMap::new();
    for key in leaves(&table) {
        places.insert(key.clone(), format!("{file}:{}", find_line(text, &key)));
    }

    let defaults = match Table::try_from(T::default()) {
        Ok(table) => table,
        Err(error) => return Err(vec![Problem::new("", "", format!("the defaults cannot be written: {error}"))]),
    };
    let known: BTreeMap<String, String> = leaves(&defaults).into_iter().map(|k| (environment_name(&k), k)).collect();
    for (name, given) in environment {
        if !name.starts_with("SKYBRIDGE_") {
            continue;
        }
        let key = known.get(name).cloned().or_else(|| guess_key(name, &defaults));
        let Some(key) = key else {
            problems.push(Problem::new("", name.clone(), "no configuration key answers to this variable"));
            continue;
        };
        let value = parse_variable(given, get(&defaults, &key));
        places.insert(key.clone(), name.clone());
        put(&mut table, &key, value);
    }

    // Each given key alone against the whole shape: so each mistake is found, not only the first.
    for key in leaves(&table) {
        let Some(value) = get(&table, &key) else { continue };
        let mut alone = Table::new();
        put(&mut alone, &key, value.clone());
        if let Err(error) = T::deserialize(Value::Table(alone)) {
            let place = places.get(&key).cloned().unwrap_or_default();
            problems.push(Problem::new(&key, place, one_line(error.message())));
            remove(&mut table, &key);
        }
    }
    match T::deserialize(Value::Table(table)) {
        Ok(value) => {
            let loaded = Loaded { value, places };
            let further = check(&loaded);
            // A key that was told already has its default here, of which nobody need hear.
            let told: Vec<String> = problems.iter().map(|p| p.key.clone()).collect();
            problems.extend(further.into_iter().filter(|p| p.key.is_empty() || !told.contains(&p.key)));
            if problems.is_empty() { Ok(loaded.value) } else { Err(problems) }
        }
        Err(error) => {
            problems.push(Problem::new("", file, one_line(error.message())));
            Err(problems)
        }
    }
}

/// `SKYBRIDGE_SECTION_SOME_KEY` for a key that the defaults do not show because it is unset by default.
fn guess_key(name: &str, defaults: &Table) -> Option<String> {
    let rest = name.strip_prefix("SKYBRIDGE_")?.to_lowercase();
    let sections = tables("", defaults);
    let prefix = |section: &str| format!("{}_", section.replace('.', "_"));
    let section = sections.iter().filter(|s| rest.starts_with(&prefix(s))).max_by_key(|s| s.len())?;
    Some(format!("{section}.{}", rest.strip_prefix(&prefix(section))?))
}

/// Paths of all tables within a table.
fn tables(prefix: &str, table: &Table) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in table {
        if let Value::Table(inner) = value {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            found.extend(tables(&path, inner));
            found.push(path);
        }
    }
    found
}

/// A variable's text as the kind of value that the default has.
fn parse_variable(given: &str, default: Option<&Value>) -> Value {
    let as_text = Value::String(given.to_owned());
    match default {
        Some(Value::String(_)) => as_text,
        Some(Value::Array(_)) if !given.trim_start().starts_with('[') => {
            let items = given.split(',').map(str::trim).filter(|s| !s.is_empty());
            Value::Array(items.map(|s| Value::String(s.to_owned())).collect())
        }
        _ => toml::from_str::<Table>(&format!("v = {given}")).ok().and_then(|mut t| t.remove("v")).unwrap_or(as_text),
    }
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ")
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
}

/// Line on which `path` is given, by reading headers and keys; 1 if it cannot be told (inline tables).
fn find_line(text: &str, path: &str) -> usize {
    let mut section = String::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_start_matches('[').split(']').next().unwrap_or_default().trim().to_owned();
        } else if let Some((key, _)) = line.split_once('=') {
            let key = key.trim().trim_matches('"');
            let full = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
            if full == path || path.starts_with(&format!("{full}.")) {
                return n + 1;
            }
        }
    }
    1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Serialize, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Shape {
        http: Http,
        sip: Sip,
    }

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Http {
        listen: Vec<String>,
        port: u16,
    }

    impl Default for Http {
        fn default() -> Self {
            Http { listen: vec!["0.0.0.0:1".into()], port: 8443 }
        }
    }

    #[derive(Debug, Default, Serialize, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Sip {
        domain: String,
        password: Option<String>,
        media: Media,
    }

    #[derive(Debug, Default, Serialize, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Media {
        grace: u32,
        address: Option<String>,
    }

    fn read(text: &str, environment: &[(String, String)]) -> Result<Shape, Vec<Problem>> {
        load(text, "a.toml", environment, |_| Vec::new())
    }

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let text = "[http]\nlisten = \"one\"\nport = 99999\n\n[sip]\ndomain = 3\ncolour = \"red\"\n";
        let problems = read(text, &[]).unwrap_err();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 4, "{told:#?}");
        assert!(told.iter().any(|t| t.starts_with("a.toml:3: http.port:")), "{told:#?}");
        assert!(told.iter().any(|t| t.starts_with("a.toml:7: sip.colour: unknown field")), "{told:#?}");
    }

    #[test]
    fn the_environment_overrides_and_unknown_variables_are_refused() {
        let vars = env(&[
            ("SKYBRIDGE_HTTP_PORT", "9000"),
            ("SKYBRIDGE_HTTP_LISTEN", "127.0.0.1:1, 127.0.0.2:2"),
            ("SKYBRIDGE_SIP_PASSWORD", "x"),
            ("SKYBRIDGE_SIP_MEDIA_ADDRESS", "10.1.1.5"),
            ("HOME", "/"),
        ]);
        let value = read("", &vars).unwrap();
        assert_eq!(value.http.port, 9000);
        assert_eq!(value.http.listen, ["127.0.0.1:1", "127.0.0.2:2"]);
        assert_eq!(value.sip.password.as_deref(), Some("x"));
        assert_eq!(value.sip.media.address.as_deref(), Some("10.1.1.5"));
        let taken = |loaded: &Loaded<Shape>| vec![loaded.problem("http.port", "taken")];
        assert_eq!(load("", "a.toml", &vars, taken).unwrap_err()[0].place, "SKYBRIDGE_HTTP_PORT");
        assert_eq!(read("", &env(&[("SKYBRIDGE_COLOUR", "red")])).unwrap_err().len(), 1);
    }

    #[test]
    fn what_single_keys_cannot_show_is_told_beside_the_rest() {
        let text = "[http]\nport = 99999\nlisten = []\ncolour = 1\n";
        let check = |loaded: &Loaded<Shape>| {
            assert_eq!(loaded.value.http.port, 8443, "a mistake is not taken over");
            vec![loaded.problem("http.listen", "empty"), loaded.problem("http.port", "the default is bad")]
        };
        let problems = load(text, "a.toml", &[], check).unwrap_err();
        let told: Vec<(&str, &str)> = problems.iter().map(|p| (p.key.as_str(), p.place.as_str())).collect();
        assert_eq!(told, [("http.colour", "a.toml:4"), ("http.port", "a.toml:2"), ("http.listen", "a.toml:3")]);
    }

    #[test]
    fn a_broken_text_names_its_line() {
        let problems = read("[http]\nport = \n", &[]).unwrap_err();
        assert!(problems[0].place.starts_with("a.toml:2"), "{problems:?}");
    }
}
