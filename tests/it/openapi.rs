//! `docs/ref/api.md` against the routes.

use std::collections::BTreeSet;

use crate::support::{agree, quoted, read};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// `/streams/{id}` and `/streams/{stream}` are the same route.
fn plain(path: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in path.chars() {
        match c {
            '{' => inside = true,
            '}' => {
                inside = false;
                out.push_str("{}");
            }
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out
}

/// The first cell of a table's row; `\|` does not end it.
fn first_cell(line: &str) -> Option<String> {
    let line = line.strip_prefix('|')?.replace("\\|", "\u{1}");
    Some(line.split('|').next()?.to_owned())
}

fn told() -> BTreeSet<String> {
    let mut routes = BTreeSet::new();
    for line in read("docs/ref/api.md").lines() {
        let Some(cell) = first_cell(line) else { continue };
        let mut path = String::new();
        for words in quoted(&cell) {
            let mut words = words.split_whitespace();
            let Some(method) = words.next().filter(|w| METHODS.contains(w)) else { continue };
            if let Some(given) = words.next().filter(|w| w.starts_with('/')) {
                path = plain(given.split('?').next().unwrap_or_default());
            }
            assert!(!path.is_empty(), "a method without a path: {line}");
            routes.insert(format!("{method} {path}"));
        }
    }
    routes
}

fn real() -> BTreeSet<String> {
    let document = serde_json::to_value(skybridge::api::openapi()).expect("JSON");
    let mut routes = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let path = plain(path.strip_prefix("/api/v1").expect("all routes are below /api/v1"));
        for method in methods.as_object().expect("methods").keys() {
            let method = method.to_uppercase();
            if METHODS.contains(&method.as_str()) {
                routes.insert(format!("{method} {path}"));
            }
        }
    }
    // That PATCH is refused (no trickle) is told in the text.
    for leg in ["/whep/{}", "/whip/{}", "/legs/{}"] {
        routes.remove(&format!("PATCH {leg}"));
    }
    routes
}

#[test]
fn the_page_and_the_routes_agree() {
    let (told, real) = (told(), real());
    assert!(told.len() > 40, "the page's table was not read: {told:?}");
    agree(&told, &real);
}

#[test]
fn the_program_prints_the_document() {
    let done = crate::support::skybridge(&["openapi"]);
    assert!(done.status.success());
    let printed: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(printed, serde_json::to_value(skybridge::api::openapi()).expect("JSON"));
}
