#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn ten_offences_shut_an_address_out_and_each_ban_is_twice_as_long() {
    let guard = Guard::new(GuardConfig::default());
    let t = Instant::now();
    let s = |n| t + Duration::from_secs(n);
    let a = ip("203.0.113.7");
    for n in 0..9 {
        assert!(!guard.offence(s(n), a, Some("8001"), Offence::WrongPassword));
        assert!(!guard.drops(s(n), a));
    }
    // Slower than the window: never.
    for n in 0..50 {
        assert!(!guard.offence(s(n * 40), ip("203.0.113.8"), None, Offence::Malformed), "{n}");
    }
    assert!(guard.offence(s(9), a, Some("8002"), Offence::UnknownAccount));
    assert!(guard.drops(s(10), a) && guard.drops(s(10), ip("::ffff:203.0.113.7")));
    assert!(!guard.drops(s(10), ip("203.0.113.9")));
    let ban = guard.bans(s(10)).remove(0);
    assert_eq!((ban.address, ban.account.clone(), ban.times, ban.dropped), (Some(a), None, 1, 2));
    assert_eq!(ban.until, s(609));
    assert_eq!(guard.news().len(), 1);
    assert!(guard.news().is_empty());
    assert!(!guard.drops(s(609), a));
    guard.tick(s(610));
    assert!(guard.bans(s(610)).is_empty());
    for n in 0..10 {
        guard.offence(s(611 + n), a, None, Offence::Malformed);
    }
    let ban = guard.bans(s(621)).remove(0);
    assert_eq!((ban.times, ban.until - ban.since), (2, Duration::from_secs(1200)));
    // Lifted: it begins anew.
    assert!(guard.lift(Some(a), None) && !guard.lift(Some(a), None));
    assert!(!guard.drops(s(622), a));
    assert!(!guard.offence(s(622), a, None, Offence::Malformed));
}

#[test]
fn where_a_phone_is_registered_only_the_account_that_was_tried_is_shut_out() {
    let guard = Guard::new(GuardConfig::default());
    guard.set_home(|ip| ip.to_string() == "198.51.100.1");
    guard.trust("trunk", [ip("198.51.100.2")]);
    let t = Instant::now();
    for home in ["198.51.100.1", "198.51.100.2"].map(ip) {
        for n in 0..40 {
            guard.offence(t, home, Some(&format!("9{n}")), Offence::UnknownAccount);
            guard.offence(t, home, None, Offence::Malformed);
        }
        assert!(!guard.drops(t, home), "one bad phone shut the others out");
        for _ in 0..12 {
            guard.offence(t, home, Some("8001"), Offence::WrongPassword);
        }
        assert!(!guard.drops(t, home));
        assert_eq!(guard.refuses(t, home, "8001"), Some(Offence::WrongPassword));
        assert_eq!(guard.refuses(t, home, "8002"), None);
        assert_eq!(guard.refuses(t, ip("198.51.100.9"), "8001"), None);
    }
    // Who proves himself is not held to earlier mistakes.
    for _ in 0..9 {
        guard.offence(t, ip("198.51.100.1"), Some("8003"), Offence::WrongPassword);
    }
    guard.proved(ip("198.51.100.1"), "8003");
    assert!(!guard.offence(t, ip("198.51.100.1"), Some("8003"), Offence::WrongPassword));
}

#[test]
fn scanners_at_once_allowed_ones_never_and_off_is_off() {
    let guard = Guard::new(GuardConfig::default());
    let t = Instant::now();
    assert!(guard.is_scanner("Friendly-Scanner/1") && guard.is_scanner("VaxSIPUserAgent/3.1"));
    assert!(!guard.is_scanner("Yealink SIP-T46S") && !guard.is_scanner(""));
    assert!(guard.offence(t, ip("203.0.113.1"), None, Offence::Scanner));
    assert!(guard.drops(t, ip("203.0.113.1")));
    for _ in 0..100 {
        assert!(!guard.offence(t, ip("127.0.0.1"), None, Offence::Scanner));
    }
    let off = Guard::new(GuardConfig { enabled: false, ..GuardConfig::default() });
    assert!(!off.is_scanner("sipvicious") && !off.offence(t, ip("203.0.113.1"), None, Offence::Scanner));
    off.ban_account(t, "8001", Offence::Fraud, Duration::from_secs(5));
    assert_eq!(off.refuses(t, ip("203.0.113.1"), "8001"), Some(Offence::Fraud));
    assert_eq!(off.refuses(t + Duration::from_secs(5), ip("203.0.113.1"), "8001"), None);
}

#[test]
fn a_phone_that_asks_for_the_same_unknown_account_is_no_scanner() {
    let guard = Guard::new(GuardConfig::default());
    let t = Instant::now();
    for _ in 0..100 {
        assert!(!guard.asked_unknown(t, ip("203.0.113.1"), "8999"));
    }
    let banned = (0..10).filter(|n| guard.asked_unknown(t, ip("203.0.113.2"), &n.to_string())).count();
    assert_eq!(banned, 1);
}

#[test]
fn tables_are_bounded() {
    let guard = Guard::new(GuardConfig { offences: 1, ..GuardConfig::default() });
    let t = Instant::now();
    for n in 0..(MAX_BANS as u32 + 500) {
        guard.offence(
            t + Duration::from_millis(u64::from(n)),
            IpAddr::from(n.to_be_bytes()),
            Some("x"),
            Offence::Malformed,
        );
    }
    let table = guard.table();
    assert!(table.bans.len() <= MAX_BANS && table.sources.len() <= MAX_SOURCES + 2 && table.news.len() <= MAX_NEWS);
    assert!(cut(&"é".repeat(100)).len() <= MAX_ACCOUNT);
}
