#![allow(clippy::unwrap_used)]

use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn at(text: &str, zone: &TimeZone) -> Timestamp {
    text.parse::<jiff::civil::DateTime>().unwrap().to_zoned(zone.clone()).unwrap().timestamp()
}

fn plan(windows: &[(&[u8], &str, &str)]) -> Plan {
    Plan {
        id: "p".into(),
        stream: "s".into(),
        name: String::new(),
        enabled: true,
        always: false,
        windows: windows
            .iter()
            .map(|(d, f, t)| Window { days: d.to_vec(), from: (*f).into(), to: (*t).into() })
            .collect(),
        keep_days: 0,
    }
}

/// Runs virtual time from change to change and gives (local time, active).
fn changes(plan: &Plan, from: Timestamp, zone: &TimeZone, count: usize) -> Vec<(String, bool)> {
    let mut now = from;
    let mut seen = Vec::new();
    for _ in 0..count {
        let Some(next) = plan.at(now, zone).1 else { break };
        assert!(next > now);
        now = next;
        let local = now.to_zoned(zone.clone());
        seen.push((local.strftime("%a %H:%M %:z").to_string(), plan.at(now, zone).0));
    }
    seen
}

#[test]
fn working_hours() {
    let z = zone("Asia/Shanghai");
    let p = plan(&[(&[1, 2, 3, 4, 5], "08:00", "18:00")]);
    // 2026-03-06 is a Friday.
    let seen = changes(&p, at("2026-03-06T07:00:00", &z), &z, 3);
    assert_eq!(
        seen,
        [("Fri 08:00 +08:00".into(), true), ("Fri 18:00 +08:00".into(), false), ("Mon 08:00 +08:00".into(), true)]
    );
    assert!(!p.at(at("2026-03-07T12:00:00", &z), &z).0);
}

#[test]
fn over_midnight_and_joined_windows() {
    let z = zone("Asia/Shanghai");
    let p = plan(&[(&[7], "22:00", "06:00")]);
    let seen = changes(&p, at("2026-03-08T12:00:00", &z), &z, 2);
    assert_eq!(seen, [("Sun 22:00 +08:00".into(), true), ("Mon 06:00 +08:00".into(), false)]);
    // Two windows that touch are one.
    let p = plan(&[(&[1], "20:00", "24:00"), (&[2], "00:00", "01:00")]);
    let seen = changes(&p, at("2026-03-09T12:00:00", &z), &z, 2);
    assert_eq!(seen, [("Mon 20:00 +08:00".into(), true), ("Tue 01:00 +08:00".into(), false)]);
    // The whole week without an edge.
    let p = plan(&[(&[1, 2, 3, 4, 5, 6, 7], "00:00", "24:00")]);
    assert_eq!(p.at(at("2026-03-09T12:00:00", &z), &z), (true, p.at(at("2026-03-09T12:00:00", &z), &z).1));
    let p = plan(&[(&[1], "06:00", "06:00")]);
    let seen = changes(&p, at("2026-03-09T00:00:00", &z), &z, 2);
    assert_eq!(seen, [("Mon 06:00 +08:00".into(), true), ("Tue 06:00 +08:00".into(), false)]);
}

#[test]
fn clocks_go_forward() {
    // Berlin, 2026-03-29: 02:00 becomes 03:00.
    let z = zone("Europe/Berlin");
    let p = plan(&[(&[7], "02:10", "02:40")]);
    let start = at("2026-03-29T00:00:00", &z);
    let seen = changes(&p, start, &z, 2);
    assert_eq!(seen, [("Sun 03:10 +02:00".into(), true), ("Sun 03:40 +02:00".into(), false)]);
    // A window over the change is an hour shorter.
    let p = plan(&[(&[6], "22:00", "06:00")]);
    let on = p.at(start, &z).1.unwrap();
    let begin = at("2026-03-28T22:00:00", &z);
    assert_eq!((on.as_second() - begin.as_second()) / 3600, 7);
}

#[test]
fn clocks_go_back() {
    // Berlin, 2026-10-25: 03:00 becomes 02:00.
    let z = zone("Europe/Berlin");
    let p = plan(&[(&[7], "02:10", "02:40")]);
    let seen = changes(&p, at("2026-10-25T00:00:00", &z), &z, 2);
    assert_eq!(seen, [("Sun 02:10 +02:00".into(), true), ("Sun 02:40 +01:00".into(), false)]);
    let p = plan(&[(&[6], "22:00", "06:00")]);
    let begin = at("2026-10-24T22:00:00", &z);
    assert_eq!((p.at(begin, &z).1.unwrap().as_second() - begin.as_second()) / 3600, 9);
}

#[test]
fn always_disabled_and_bad() {
    let z = zone("UTC");
    let now = at("2026-03-09T12:00:00", &z);
    let mut p = plan(&[]);
    assert_eq!(p.at(now, &z), (false, None));
    p.always = true;
    assert_eq!(p.at(now, &z), (true, None));
    p.enabled = false;
    assert_eq!(p.at(now, &z), (false, None));
    for (days, from, to) in [(&[0u8][..], "08:00", "09:00"), (&[8], "08:00", "09:00"), (&[], "08:00", "09:00")] {
        assert!(plan(&[(days, from, to)]).validate().is_err());
    }
    for (from, to) in
        [("8:00", "09:00"), ("08:60", "09:00"), ("24:00", "09:00"), ("08:00", "24:01"), ("+8:00", "09:00"), ("", "")]
    {
        assert!(plan(&[(&[1], from, to)]).validate().is_err(), "{from} {to}");
    }
    assert!(plan(&[(&[1], "08:00", "24:00")]).validate().is_ok());
}
