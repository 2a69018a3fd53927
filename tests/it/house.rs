//! Rules that hold for every file.

use crate::support::{before_tests, files, read, root};

/// Longest file that is still read with pleasure, its own tests not counted.
const MOST_LINES: usize = 800;

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = files()
        .into_iter()
        .filter(|name| name.ends_with(".rs") && (name.starts_with("src/") || name.contains("/src/")))
        .filter_map(|name| {
            let lines = before_tests(&read(&name)).lines().count();
            (lines > MOST_LINES).then(|| format!("{name}: {lines} lines"))
        })
        .collect();
    assert!(long.is_empty(), "more than {MOST_LINES} lines:\n{}", long.join("\n"));
}

/// Lock files say what is taken, not from where: npm's name no address, cargo's name one and the same registry.
#[test]
fn lock_files_name_no_other_source() {
    let mut registries: Vec<String> = Vec::new();
    let mut wrong = Vec::new();
    for name in files().iter().filter(|n| n.ends_with("Cargo.lock") || n.ends_with("package-lock.json")) {
        for line in read(name).lines().map(str::trim) {
            if line.starts_with("\"resolved\"") {
                wrong.push(format!("{name}: {line}"));
            } else if let Some(source) = line.strip_prefix("source = ") {
                if !source.starts_with("\"registry+") {
                    wrong.push(format!("{name}: {source}"));
                } else if !registries.iter().any(|r| r == source) {
                    registries.push(source.to_owned());
                }
            }
        }
    }
    wrong.truncate(10);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(registries.len(), 1, "{registries:?}");
}

/// No path of the machine on which somebody works.
#[test]
fn no_trace_of_a_machine() {
    // Put together here, so that this file does not hold them.
    let roots = ["wo".to_owned() + "rk", "home".to_owned(), "root".to_owned()];
    let paths = roots.map(|root| format!("/{root}/"));
    let mut wrong = Vec::new();
    for name in files().iter().filter(|n| !n.ends_with(".svg")) {
        let Ok(text) = std::fs::read_to_string(root().join(name)) else { continue };
        for (number, line) in text.lines().enumerate() {
            // A path begins where no name precedes it: behind a name it is part of an address or of a relative path.
            let begins =
                |(at, _): (usize, &str)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}".contains(c));
            if let Some(found) = paths.iter().find(|p| line.match_indices(p.as_str()).any(begins)) {
                wrong.push(format!("{name}:{}: {found}", number + 1));
            }
        }
    }
    wrong.truncate(20);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A paper without its limits is an advertisement.
#[test]
fn every_design_page_states_goals_and_limits() {
    let mut wrong = Vec::new();
    for name in files().iter().filter(|n| n.starts_with("docs/design/")) {
        let text = read(name).to_lowercase();
        let short = ["docs/design/house.md"].contains(&name.as_str());
        if !short && !text.contains("goal") {
            wrong.push(format!("{name}: no goals"));
        }
        if !text.contains("limit") {
            wrong.push(format!("{name}: no limits"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
