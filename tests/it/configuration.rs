//! The annotated default against the program and against its page.

use crate::support::{read, root, skybridge};

fn leaves(prefix: &str, table: &toml::Table, found: &mut Vec<String>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(inner) if !inner.is_empty() => leaves(&path, inner, found),
            _ => found.push(path),
        }
    }
}

#[test]
fn the_default_file_is_right() {
    let file = root().join("config/skybridge.toml");
    let done = skybridge(&["check", "--config", file.to_str().unwrap()]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn every_mistake_is_told_at_once_and_no_secret() {
    let file = std::env::temp_dir().join(format!("skybridge-it-{}.toml", std::process::id()));
    std::fs::write(&file, "[site]\nnmae_zh = \"x\"\n[hall]\nwalls = 0\nconference_pin = \"86421357\"\n").unwrap();
    let first = skybridge(&["check", "--config", file.to_str().unwrap()]);
    std::fs::write(&file, "[hall]\nwalls = 0\nconference_pin = \"86421357\"\n").unwrap();
    let second = skybridge(&["check", "--config", file.to_str().unwrap()]);
    let _ = std::fs::remove_file(&file);
    let said = |done: &std::process::Output| {
        format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
    };
    assert!(!first.status.success() && said(&first).contains("nmae_zh"), "{}", said(&first));
    assert!(said(&first).contains("hall.walls") && said(&first).contains("hall.conference_pin"), "{}", said(&first));
    assert!(!second.status.success(), "{}", said(&second));
    assert!(said(&second).contains("hall.walls") && said(&second).contains("hall.conference_pin"), "{}", said(&second));
    assert!(!said(&first).contains("86421357") && !said(&second).contains("86421357"), "a secret is shown");
}

#[test]
fn every_key_is_documented() {
    let table: toml::Table = toml::from_str(&read("config/skybridge.toml")).expect("TOML");
    let mut keys = Vec::new();
    leaves("", &table, &mut keys);
    assert!(keys.len() > 60, "only {} keys", keys.len());
    let page = read("docs/ref/config.md");
    let missing: Vec<&String> = keys.iter().filter(|k| !page.contains(&format!("`{k}`"))).collect();
    assert!(missing.is_empty(), "docs/ref/config.md does not tell {missing:?}");
    let sections: Vec<&String> = table.keys().collect();
    let strange: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| crate::support::quoted(line.split(" | ").next().unwrap_or_default()))
        .filter(|word| word.split_once('.').is_some_and(|(head, _)| sections.iter().any(|s| *s == head)))
        .filter(|word| !keys.iter().any(|k| k == word))
        // Unset by default and shown as a comment.
        .filter(|word| !["gb28181.site_password", "gb28181.media.address"].contains(word))
        .collect();
    assert!(strange.is_empty(), "docs/ref/config.md tells keys that do not exist: {strange:?}");
}
