//! Each order of the command line shows an example.

use crate::support::skybridge;

fn help(path: &[&str]) -> String {
    let mut arguments = path.to_vec();
    arguments.push("--help");
    let done = skybridge(&arguments);
    assert!(done.status.success(), "{path:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("UTF-8")
}

/// Orders in a help text, `help` itself left out.
fn orders(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|l| l.trim() != "Commands:")
        .skip(1)
        .take_while(|l| !l.trim().is_empty())
        .filter(|l| l.starts_with("  ") && !l.starts_with("   "))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|order| *order != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_order_has_an_example() {
    let top = help(&[]);
    assert!(top.contains("Example"), "{top}");
    let first = orders(&top);
    assert!(first.iter().any(|o| o == "check"), "{first:?}");
    for order in first {
        let text = help(&[&order]);
        assert!(text.contains("Example"), "skybridge {order} --help has no example:\n{text}");
        for inner in orders(&text) {
            let own = help(&[&order, &inner]);
            let line = format!("skybridge {order} {inner}");
            assert!(own.contains("Example") || text.contains(&line), "nobody shows an example of {line}");
        }
    }
}

#[test]
fn the_version_is_the_packages() {
    let done = skybridge(&["--version"]);
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), format!("skybridge {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_printed_defaults_are_the_file() {
    let done = skybridge(&["defaults"]);
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), crate::support::read("config/skybridge.toml").trim());
}
