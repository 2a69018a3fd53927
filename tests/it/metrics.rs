//! `docs/ref/metrics.md`, dashboard and alerts against the metrics in the sources.

use std::collections::BTreeSet;

use crate::support::{agree, files, read, sources, told, words};

const PREFIX: &str = "skybridge_";
/// The console's cookie.
const NO_METRICS: [&str; 1] = ["skybridge_session"];

fn real() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, text) in sources() {
        for rest in text.split("\"skybridge_").skip(1) {
            let rest = rest.split('"').next().unwrap_or_default();
            match rest.split_once('{') {
                // A prefix that a file's own `name("short", ...)` completes.
                Some((room, "short}")) => {
                    for call in text.split("name(").skip(1).filter_map(|c| c.trim_start().strip_prefix('"')) {
                        let short = call.split('"').next().unwrap_or_default();
                        names.insert(format!("{PREFIX}{room}{short}"));
                    }
                }
                Some(_) => panic!("a metric's name is put together in an unknown way: {rest}"),
                None if rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') => {
                    names.insert(format!("{PREFIX}{rest}"));
                }
                None => {}
            }
        }
    }
    for name in NO_METRICS {
        names.remove(name);
    }
    assert!(names.len() > 25, "the metrics are not where they were: {names:?}");
    names
}

#[test]
fn the_page_tells_every_metric() {
    agree(&told(&read("docs/ref/metrics.md"), PREFIX), &real());
}

#[test]
fn dashboards_and_alerts_use_metrics_that_exist() {
    let real = real();
    let mut used = 0;
    let mut wrong = Vec::new();
    for name in files().iter().filter(|n| n.starts_with("deploy/") && (n.ends_with(".json") || n.ends_with(".yml"))) {
        for word in words(&read(name), PREFIX) {
            used += 1;
            if !real.contains(&word) {
                wrong.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(used > 20, "the dashboard was not read");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_dashboard_is_json_and_each_panel_has_an_expression() {
    let board: serde_json::Value = serde_json::from_str(&read("deploy/grafana/skybridge.json")).expect("JSON");
    let panels = board["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "two panels with one id");
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().expect("targets");
        assert!(
            !targets.is_empty() && targets.iter().all(|t| t["expr"].as_str().is_some_and(|e| !e.is_empty())),
            "{}",
            panel["title"]
        );
    }
}
