//! Who may use whom: `docs/design/house.md`.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::support::{root, sources};

/// Room and the rooms that it may use. A bridge is any crate below `bridges/` but the core.
fn allowed(room: &str) -> Option<&'static [&'static str]> {
    Some(match room {
        "skybridge" => &[
            "sip",
            "config",
            "recorder",
            "media-core",
            "media-hub",
            "media-net",
            "media-webrtc",
            "media-transcode",
            "bridge-core",
            "bridge",
        ],
        "bridge" => &["bridge-core", "media-core", "media-hub", "media-net", "media-secure", "sip"],
        "bridge-core" => &["media-core", "media-hub", "media-net", "sip"],
        "recorder" => &["media-core", "media-hub"],
        "media-hub" | "media-net" | "media-secure" => &["media-core"],
        "media-webrtc" => &["media-core", "media-hub", "media-net", "media-secure"],
        "media-transcode" => &["media-core", "media-hub"],
        "sip" | "media-core" | "config" | "fieldsim" | "bench" => &[],
        _ => return None,
    })
}

fn room(package: &str) -> String {
    let short = package.strip_prefix("skybridge-").unwrap_or(package);
    if short.starts_with("bridge-") && short != "bridge-core" { "bridge".into() } else { short.to_owned() }
}

/// Crates that a pure room may not use: they bring a clock, a socket or a runtime.
const IMPURE: [&str; 10] =
    ["tokio", "tokio-util", "mio", "async-std", "smol", "socket2", "libc", "axum", "sqlx", "reqwest"];
const PURE: [&str; 3] = ["media-core", "media-secure", "config"];

#[test]
fn dependency_direction() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .expect("cargo metadata");
    let ours: BTreeMap<String, String> =
        metadata.packages.iter().map(|p| (p.name.to_string(), room(&p.name))).collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let user = &ours[package.name.as_str()];
        let Some(may) = allowed(user) else {
            wrong.push(format!("{} is in no room: add it here and to docs/design/house.md", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            if let Some(used) = ours.get(&dependency.name) {
                // Tests of a room keep to its rule as well.
                if dependency.name != package.name.as_str() && !may.contains(&used.as_str()) {
                    wrong.push(format!("{} ({user}) uses {} ({used})", package.name, dependency.name));
                }
            }
            let counts = dependency.kind != DependencyKind::Development;
            if counts && PURE.contains(&user.as_str()) && IMPURE.contains(&dependency.name.as_str()) {
                wrong.push(format!("{} must stay pure and uses {}", package.name, dependency.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Conveniences with a clock of their own, each beside a twin (`..._at`, `with_key`) that takes the time.
const WITH_CLOCK: [&str; 1] = ["sip/src/auth.rs"];

/// Machines take the time as an argument: no clock, socket or runtime in them.
#[test]
fn machines_are_pure() {
    let forbidden = ["Instant::now", "SystemTime::now", "tokio::", "UdpSocket", "TcpStream", "thread::sleep"];
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let machine = name.starts_with("media/core/src/") && !name.ends_with("/fuzz.rs")
            || name.starts_with("media/secure/src/") && !name.ends_with("_tests.rs") && !name.ends_with("/fuzz.rs")
            || name.starts_with("sip/src/") && !name.starts_with("sip/src/service/");
        if !machine || WITH_CLOCK.contains(&name.as_str()) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in forbidden.iter().filter(|w| code.contains(**w)) {
                wrong.push(format!("{name}:{}: {word}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
