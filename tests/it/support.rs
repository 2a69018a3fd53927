//! Files, words and the program, for all modules.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs the gateway's program; settings of the surroundings do not reach it.
pub fn skybridge(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skybridge"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SKYBRIDGE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).output().expect("the program runs")
}

/// Paths of files in the repository, new ones included, ignored ones not.
pub fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("file names are UTF-8");
    names.lines().filter(|name| root().join(name).is_file()).map(str::to_owned).collect()
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Rust files of the product (not of tests, benches and the simulated field), each with its text before its own tests.
pub fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let rooms = ["src", "sip/src", "media", "bridges", "recorder/src", "config/src"];
    for room in rooms {
        walk(&root().join(room), &mut found);
    }
    let mut out = Vec::new();
    for path in found {
        let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        let is_test = name.contains("/tests/")
            || name.contains("/examples/")
            || name.ends_with("_tests.rs")
            || name.ends_with("testkit.rs");
        if !name.contains("src/") || is_test {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source can be read");
        out.push((name, before_tests(&text).to_owned()));
    }
    assert!(out.len() > 100, "the sources are not where they were: {} files", out.len());
    out
}

/// The part of a file in front of its inline test module.
pub fn before_tests(text: &str) -> &str {
    let end = text.find("#[cfg(test)]\nmod tests").or_else(|| text.find("#[cfg(test)]\n#[allow")).unwrap_or(text.len());
    &text[..end]
}

/// Words of letters, digits and underscores that begin with `prefix`.
pub fn words(text: &str, prefix: &str) -> Vec<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|w| w.starts_with(prefix) && w.len() > prefix.len())
        .map(str::to_owned)
        .collect()
}

/// The first quoted word of each row of a page's tables that begins so: `| `prefix...`.
pub fn told(page: &str, prefix: &str) -> BTreeSet<String> {
    let row = format!("| `{prefix}");
    let lines = page.lines().filter(|l| l.starts_with(&row));
    lines.filter_map(|l| quoted(l).first().map(|w| (*w).to_owned())).collect()
}

/// What a page tells and what there is must be one.
pub fn agree(told: &BTreeSet<String>, real: &BTreeSet<String>) {
    let untold: Vec<&String> = real.difference(told).collect();
    let gone: Vec<&String> = told.difference(real).collect();
    assert!(untold.is_empty() && gone.is_empty(), "there and not told: {untold:#?}\ntold and not there: {gone:#?}");
}

/// What stands between backticks.
pub fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}
