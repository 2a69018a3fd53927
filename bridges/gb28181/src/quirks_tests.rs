#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;

use media_core::gb::{GbRemote, GbTransport, Ssrc};
use media_core::sdp::Sdp;

use super::*;
use crate::catalog;
use crate::manscdp::Manscdp;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(root().join("testdata").join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn table() -> Table {
    toml::from_str(BUILT_IN).unwrap()
}

fn profile(config: &Config, facts: [&str; 3], agent: &str) -> Arc<Profile> {
    let quirks = Quirks::new(config);
    quirks.agent("34020000001320000001", agent);
    quirks.of(config, "34020000001320000001", || Some(facts.map(str::to_owned)))
}

#[test]
fn patterns() {
    for (pattern, text, fits) in [
        ("dahua*", "dahua technology", true),
        ("*海康*", "杭州海康威视", true),
        ("dahua", "dahua technology", false),
        ("*", "", true),
        ("a*b*c", "a--b--c", true),
        ("a*b*c", "a--c", false),
        ("ab*ba", "aba", false),
        ("", "", true),
    ] {
        assert_eq!(glob(pattern, text), fits, "{pattern} on {text}");
    }
}

#[test]
fn rows_fit_by_what_the_device_says() {
    let config = Config::default();
    let dahua = profile(&config, ["Dahua", "DH-NVR", ""], "");
    assert!(dahua.has(Quirk::BasicParamDeviceId) && dahua.has(Quirk::RecordTypeAll) && !dahua.has(Quirk::TalkUdpOnly));
    assert_eq!(dahua.sub_stream.as_deref(), Some("streamprofile:1"));
    let facts = catalog::facts(&Manscdp::parse(&fixture("uniview_device_info.xml")).unwrap().tree);
    let uniview = profile(&config, [&facts.manufacturer, &facts.model, &facts.firmware], "");
    assert_eq!(uniview.quirks().collect::<Vec<_>>(), [Quirk::ConfigUnanswered]);
    let platform = Quirks::new(&config).of(&config, "34020000002000000009", || None);
    assert_eq!(
        (platform.catalog_first, platform.rows.as_slice()),
        (Some(60), ["lower_platform".to_owned()].as_slice())
    );
    assert_eq!(*profile(&config, ["ACME", "1", "2"], "x"), Profile::default());
}

#[test]
fn the_configuration_has_the_last_word() {
    let config: Config = toml::from_str(
        "[[quirks]]\nname = 'dahua'\nmanufacturer = 'dahua*'\nfirmware = ['4.*', '5.*']\nquirks = ['no_date']\n\
         [[quirks]]\nname = 'ours'\nmodel = 'X*'\nquirks = ['gcj02', 'talk_ps']\ncharset = 'utf8'\n\
         [devices.34020000001320000001]\nquirks = ['no_qop']\nwithout = ['talk_ps']\nsub_stream = 'stream:1'",
    )
    .unwrap();
    assert_eq!(config.problems(), Vec::<String>::new());
    let p = profile(&config, ["DAHUA", "X1", "5.01"], "");
    assert_eq!(p.quirks().collect::<Vec<_>>(), [Quirk::NoDate, Quirk::NoQop, Quirk::Gcj02]);
    assert_eq!((p.charset, p.sub_stream.as_deref()), (Some(Charset::Utf8), Some("stream:1")));
    let other = profile(&config, ["DAHUA", "X1", "3.0"], "");
    assert!(!other.has(Quirk::NoDate) && !other.has(Quirk::RecordTypeAll), "the built-in row is replaced");
    let wrong: Config = toml::from_str("[[quirks]]\nname = 'all'\nquirks = ['no_date']").unwrap();
    assert_eq!(wrong.problems().len(), 1, "a row for every device is a mistake");
    assert!(toml::from_str::<Config>("[[quirks]]\nname = 'x'\nquirks = ['nodate']").is_err());
}

#[test]
fn what_is_known_is_kept_until_it_changes() {
    let (config, id) = (Config::default(), "34020000001320000001");
    let config_with: Config = toml::from_str("[[quirks]]\nname = 'agent'\nuser_agent = 'wvp*'").unwrap();
    let quirks = Quirks::new(&config_with);
    let of = |maker: &str| quirks.of(&config, id, || Some([maker.into(), String::new(), String::new()]));
    assert!(!of("").has(Quirk::TalkUdpOnly));
    assert!(!of("Hikvision").has(Quirk::TalkUdpOnly), "kept");
    quirks.forget(id);
    assert!(of("Hikvision").has(Quirk::TalkUdpOnly));
    quirks.agent(id, "WVP");
    assert_eq!(of("Hikvision").rows, ["hikvision", "agent"]);
    quirks.agent(id, "Firmware 1");
    assert_eq!(of("Hikvision").rows, ["hikvision"]);
    let _ = quirks.of(&config, "34020000001320000002", || None);
    assert_eq!(quirks.known.len(), 1, "strangers leave nothing behind");
}

#[test]
fn the_built_in_table_is_sound() {
    let table = table();
    assert_eq!(Table::built_in(), table);
    let mut names: Vec<&str> =
        table.device.iter().map(|r| r.name.as_str()).chain(table.habit.iter().map(|h| h.name.as_str())).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() == count && count > 30, "each name once");
    for row in &table.device {
        assert_eq!(row.problem(), None);
        assert!(!row.zh.is_empty() && !row.en.is_empty() && !row.mark.is_empty(), "{}", row.name);
    }
    let read = |name: &str| std::fs::read_to_string(root().join("../../tests/fieldsim/src").join(name)).unwrap();
    let field = read("faults.rs") + &read("odd.rs");
    for habit in &table.habit {
        let texts = [&habit.mark, &habit.zh, &habit.en, &habit.does_zh, &habit.does_en];
        assert!(texts.iter().all(|t| !t.is_empty()), "{}", habit.name);
        assert!(!habit.fixture.is_empty() || !habit.field.is_empty(), "{}: nothing shows it", habit.name);
        assert!(habit.fixture.iter().all(|f| !fixture(f).is_empty()));
        let known = habit.field.is_empty() || field.contains(&format!("\"{}\"", habit.field));
        assert!(known, "{}: the field has no fault {}", habit.name, habit.field);
    }
    // Every flag is a bit of its own.
    assert!(Quirk::ALL.iter().enumerate().all(|(n, q)| *q as usize == n) && Quirk::ALL.len() <= 64);
}

#[test]
fn fixtures_are_read_as_the_table_says() {
    let remote = |name: &str| GbRemote::read(&Sdp::parse(&fixture(name)).unwrap()).unwrap();
    assert_eq!(remote("generic_answer_without_y.sdp").ssrc, None);
    assert_eq!(remote("generic_answer_other_y.sdp").ssrc, Some(Ssrc(200_000_999)));
    assert_eq!(remote("body_cam_media_level_address.sdp").address, ([192, 168, 8, 20], 15060).into());
    assert_eq!(remote("hikvision_private_encoding.sdp").private_encoding(), Some("HIKVISION"));
    let mut answer = sip::Response::new(200);
    answer.set_body("application/sdp", fixture("generic_setup_echoed.sdp"));
    let agreed = crate::live::check_answer(&answer, GbTransport::TcpPassive, Ssrc(200_000_137)).unwrap();
    assert_eq!(agreed, GbTransport::TcpPassive, "our passive stays, whatever it echoes");
    let request = |name: &str| match sip::Message::parse(&fixture(name)) {
        Ok(sip::Message::Request(r)) => r,
        other => panic!("{name}: {other:?}"),
    };
    for name in ["generic_to_is_itself.sip", "generic_no_content_length.sip", "generic_bare_line_feeds.sip"] {
        let r = request(name);
        assert_eq!(r.from().unwrap().uri.user(), "34020000001320000001", "{name}");
        assert_eq!(Manscdp::parse(&r.body).unwrap().command, "Keepalive", "{name}");
    }
    let channel = request("hikvision_from_is_channel.sip");
    assert_ne!(channel.from().unwrap().uri.user(), Manscdp::parse(&channel.body).unwrap().device);
    assert_eq!(crate::register::device_of(&request("generic_private_contact.sip")).unwrap(), "34020000001320000001");
    let status = Manscdp::parse(&request("hikvision_media_status.sip").body).unwrap();
    assert_eq!((status.command.as_str(), status.tree.get("NotifyType")), ("MediaStatus", Some("121")));
    let config = Manscdp::parse(&fixture("uniview_config_other_block.xml")).unwrap();
    assert_eq!((config.command.as_str(), config.sn), ("ConfigDownload", 31));
}

/// Rows and habits as the page shows them.
fn page() -> String {
    let (table, mut out) = (table(), String::new());
    let word = |p: &Pattern| match p {
        Pattern::One(w) => format!("`{w}`"),
        Pattern::Any(w) => w.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(" "),
    };
    out.push_str("## Rows for some devices\n| Row | Fits | What it sets | 中文 | English | Seen in |\n| --- | --- | --- | --- | --- | --- |\n");
    for r in &table.device {
        let pairs = [
            ("manufacturer", &r.manufacturer),
            ("model", &r.model),
            ("firmware", &r.firmware),
            ("user_agent", &r.user_agent),
        ];
        let fits: Vec<String> = pairs.iter().filter_map(|(n, p)| Some(format!("{n} {}", word(p.as_ref()?)))).collect();
        let mut fits = fits;
        if !r.types.is_empty() {
            fits.push(format!("types {}", r.types.iter().map(|t| format!("`{t}`")).collect::<Vec<_>>().join(" ")));
        }
        let mut sets: Vec<String> = r.quirks.iter().map(|q| format!("`{}`", name(*q))).collect();
        let values = [
            ("main_stream", r.main_stream.clone()),
            ("sub_stream", r.sub_stream.clone()),
            ("catalog_first", r.catalog_first.map(|n| n.to_string())),
            ("charset", r.charset.map(|c| c.prolog().to_owned())),
        ];
        sets.extend(values.into_iter().filter_map(|(n, v)| Some(format!("{n} `{}`", v?))));
        out.push_str(&format!(
            "| `{}` | {} | {} | {} | {} | {} |\n",
            r.name,
            fits.join(", "),
            sets.join(", "),
            r.zh,
            r.en,
            r.mark
        ));
    }
    out.push_str(
        "\n## Taken from every device\n| Habit | 中文 | English | What we do | Shown by | Seen in |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for h in &table.habit {
        let mut by: Vec<String> = h.fixture.iter().map(|f| format!("`testdata/{f}`")).collect();
        if !h.field.is_empty() {
            by.push(format!("fieldsim `{}`", h.field));
        }
        out.push_str(&format!(
            "| `{}` | {} | {} | {}<br>{} | {} | {} |\n",
            h.name,
            h.zh,
            h.en,
            h.does_zh,
            h.does_en,
            by.join(" "),
            h.mark
        ));
    }
    out
}

fn name(quirk: Quirk) -> String {
    serde_json::to_value(quirk).unwrap().as_str().unwrap().to_owned()
}

/// `docs/ref/quirks.md` holds the tables as made here; `SKYBRIDGE_WRITE_PAGES=1` writes them.
#[test]
fn the_page_is_the_table() {
    let path = root().join("../../docs/ref/quirks.md");
    let old = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- made from bridges/gb28181/src/quirks.toml -->\n", "<!-- end -->");
    let (head, rest) = old.split_once(begin).unwrap();
    let (is, tail) = rest.split_once(end).unwrap();
    let made = page();
    if std::env::var_os("SKYBRIDGE_WRITE_PAGES").is_some() {
        std::fs::write(&path, format!("{head}{begin}{made}{end}{tail}")).unwrap();
        return;
    }
    assert!(is == made, "docs/ref/quirks.md is not what quirks.toml says: run the test with SKYBRIDGE_WRITE_PAGES=1");
    for quirk in Quirk::ALL {
        assert!(head.contains(&format!("| `{}` |", name(*quirk))), "docs/ref/quirks.md does not tell {}", name(*quirk));
    }
}
