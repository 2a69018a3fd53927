#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::config::Config;

const NEW: Option<Edition> = Some(Edition::V2022);
const S: Duration = Duration::from_secs(1);

fn id(n: u32) -> String {
    format!("3402000000132{n:07}")
}

fn rule(servers: u32) -> Rule {
    let server = |n: u32| Server {
        server_id: format!("3402000000200{n:07}"),
        address: ([10, 0, 0, 1], 5_060 + n as u16).into(),
    };
    Rule {
        name: "county".into(),
        ids: Some(Pattern::One("*".into())),
        to: (1..=servers).map(server).collect(),
        ..Rule::default()
    }
}

fn on(server: usize, again: bool) -> Way {
    Way::On { rule: 0, server, again }
}

#[test]
fn who_is_meant() {
    let mut r = rule(1);
    assert!(r.fits(&id(1), NEW) && !r.fits(&id(1), Some(Edition::V2016)) && !r.fits(&id(1), None), "302 is of 2022");
    r.any_edition = true;
    assert!(r.fits(&id(1), None) && r.fits(&id(1), Some(Edition::V2011)));
    r.ids = Some(Pattern::Any(vec![id(7), "11010*".into(), "34*9".into()]));
    assert!(
        r.fits(&id(7), None) && r.fits("11010000001320000001", None) && r.fits(&id(9), None) && !r.fits(&id(8), None)
    );
    (r.ids, r.types) = (None, vec![118, 132]);
    assert!(r.fits(&id(1), None) && !r.fits("34020000001180000001".replace("118", "200").as_str(), None));
    r.ids = Some(Pattern::One(id(1)));
    assert!(r.fits(&id(1), None) && !r.fits(&id(2), None), "both must fit");
}

#[test]
fn servers_are_handed_out_in_turn_and_the_first_rule_that_fits_counts() {
    let rules = [Rule { ids: Some(Pattern::One(id(1))), ..rule(1) }, rule(3)];
    let mut r = Redirects::new(rules.len(), 1_000);
    let t = Instant::now();
    assert_eq!(r.way(t, &rules, &id(1), NEW), on(0, false));
    let servers: Vec<Way> = (2..8).map(|n| r.way(t, &rules, &id(n), NEW)).collect();
    let want: Vec<Way> = (0..6).map(|n| Way::On { rule: 1, server: n % 3, again: false }).collect();
    assert_eq!(servers, want);
    assert_eq!(r.way(t, &rules, &id(9), None), Way::Own);
}

#[test]
fn one_that_comes_back_soon_is_sent_to_the_next_and_at_last_taken_here() {
    let rules = [rule(3)];
    let mut r = Redirects::new(1, 1_000);
    let t = Instant::now();
    r.way(t, &rules, &id(0), NEW);
    let a = id(1);
    assert_eq!(r.way(t, &rules, &a, NEW), on(1, false));
    assert_eq!(r.way(t + 40 * S, &rules, &a, NEW), on(2, true));
    // Each counts from when it was sent there.
    assert_eq!(r.way(t + 330 * S, &rules, &a, NEW), on(0, true));
    assert_eq!(r.way(t + 400 * S, &rules, &a, NEW), Way::Here { rule: 0, fresh: true });
    // Its refreshes leave it here, until it may be sent out again.
    assert_eq!(r.way(t + 3_000 * S, &rules, &a, NEW), Way::Here { rule: 0, fresh: false });
    assert_eq!(r.way(t + (400 + 14_400) * S, &rules, &a, NEW), on(1, false));
    // It was well there for a long time: there again. Not so the next time, when it is back soon.
    assert_eq!(r.way(t + 40_000 * S, &rules, &a, NEW), on(1, false));
    assert_eq!(r.way(t + 40_100 * S, &rules, &a, NEW), on(2, true));
    // All three have their chance in this round too.
    assert_eq!(r.way(t + 40_200 * S, &rules, &a, NEW), on(0, true));
    assert_eq!(r.way(t + 40_300 * S, &rules, &a, NEW), Way::Here { rule: 0, fresh: true });
    r.forget(&a);
    assert_eq!(r.way(t + 40_301 * S, &rules, &a, NEW), on(2, false), "a logout ends it: its turn as any other's");
}

#[test]
fn without_fallback_the_round_begins_again() {
    let rules = [Rule { fallback_here: false, ..rule(2) }];
    let mut r = Redirects::new(1, 10);
    let t = Instant::now();
    let ways: Vec<Way> = (0..5).map(|n| r.way(t + n * S, &rules, &id(1), NEW)).collect();
    assert_eq!(ways, [on(0, false), on(1, true), on(0, true), on(1, true), on(0, true)]);
}

#[test]
fn the_table_is_bounded_and_words_are_few() {
    let rules = [rule(2)];
    let mut r = Redirects::new(1, 3);
    let t = Instant::now();
    for n in 0..3 {
        assert_eq!(r.way(t, &rules, &id(n), NEW), on(n as usize % 2, false));
    }
    assert_eq!(r.way(t, &rules, &id(3), NEW), Way::Here { rule: 0, fresh: true });
    assert_eq!(r.way(t + 600 * S, &rules, &id(1), NEW), on(1, false), "who is known goes on");
    let mut tell = |seconds, rule, here| r.tell(t + seconds * S, rule, here);
    assert!(tell(0, 0, false) && !tell(59, 0, false) && tell(59, 0, true) && tell(60, 0, false) && !tell(0, 7, true));
}

#[test]
fn a_wrong_rule_is_told_by_its_key() {
    let text = "[[redirect]]\nname = 'x'\nexpires = 1\nto = [{ server_id = '34020000002000000001', address = '0.0.0.0:5060' }]\n\
                [[redirect]]\nids = ['3402', '34*']\n\
                [[redirect]]\nids = '*'\nto = [{ server_id = '34020000002000000002', address = '10.0.0.5:5060' }]";
    let config: Config = toml::from_str(text).unwrap();
    let told = config.problems().join("\n");
    let wanted = [
        "redirect.0.ids, types: one of them",
        "redirect.0.to.0.server_id: is this gateway's own",
        "redirect.0.to.0.address: devices cannot reach it",
        "redirect.0.expires: 60 to",
        "redirect.1.ids: \"3402\" is neither",
        "redirect.1.to: 1 to 32 servers",
    ];
    for want in wanted {
        assert!(told.contains(want), "{want} in\n{told}");
    }
    assert_eq!(told.lines().count(), wanted.len(), "the third is right:\n{told}");
    let refused = [
        ("[[redirect]]\nservers = []", "`servers`"),
        ("[[redirect]]\nto = [{ server_id = 'x', address = 'gate.example' }]", "to.address \"gate.example\""),
        ("[[redirect]]\nto = [{ server_id = 'x' }]", "`address`"),
    ];
    for (text, word) in refused {
        let told = toml::from_str::<Config>(text).unwrap_err().to_string();
        assert!(told.contains(word), "{word} in {told}");
    }
}
