//! Fixtures: 25 messages in the style of GB/T 28181, the RFC 4475 files, and mutations of all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{path::PathBuf, time::Instant};

use bytes::Bytes;
use proptest::prelude::*;
use sip::*;

fn fixtures() -> Vec<(String, Vec<u8>)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut list: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|f| f.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "sip"))
        .map(|p| (p.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(&p).unwrap()))
        .collect();
    list.sort();
    list
}

fn torture() -> Vec<(String, Vec<u8>)> {
    let dir = std::env::var_os("SKYBRIDGE_CORPORA")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora"));
    let Ok(files) = std::fs::read_dir(dir.join("sip-torture")) else { return Vec::new() };
    let mut list: Vec<_> = files
        .filter_map(Result::ok)
        .map(|f| (f.path().file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(f.path()).unwrap()))
        .collect();
    list.sort();
    list
}

/// The part of the input behind its first empty line.
fn raw_body(data: &[u8]) -> &[u8] {
    let start = data.iter().take_while(|b| **b == b'\r' || **b == b'\n').count();
    let data = &data[start..];
    let crlf = data.windows(4).position(|w| w == b"\r\n\r\n").map(|i| i + 4);
    let lf = data.windows(2).position(|w| w == b"\n\n").map(|i| i + 2);
    &data[crlf.into_iter().chain(lf).min().unwrap()..]
}

#[test]
fn all_25_are_read_whole() {
    let list = fixtures();
    assert_eq!(list.len(), 25);
    for (name, data) in list {
        let message = Message::parse(&data).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (headers, body, bytes, from, to, call_id, cseq, via) = match &message {
            Message::Request(r) => {
                (&r.headers, &r.body, r.to_bytes(), r.from(), r.to(), r.call_id(), r.cseq(), r.top_via())
            }
            Message::Response(r) => {
                (&r.headers, &r.body, r.to_bytes(), r.from(), r.to(), r.call_id(), r.cseq(), r.top_via())
            }
        };
        let from = from.unwrap_or_else(|| panic!("{name}: From"));
        assert_eq!(from.uri.user().len(), 20, "{name}");
        assert_eq!(from.uri.host, "3402000000", "{name}");
        assert!(from.tag().is_some() && to.is_some() && cseq.is_some() && via.is_some(), "{name}");
        assert_eq!(call_id, Some("x-55aa@10.20.0.15"), "{name}");
        assert!(headers.len() >= 6, "{name}");
        assert_eq!(&body[..], raw_body(&data), "{name}: body untouched");
        let again = Message::parse(&bytes).unwrap();
        let (h2, b2) = match &again {
            Message::Request(r) => (&r.headers, &r.body),
            Message::Response(r) => (&r.headers, &r.body),
        };
        assert_eq!(b2, body, "{name}: body survives writing");
        let plain = |h: &Headers| {
            h.iter().filter(|(n, _)| *n != "Content-Length").map(|(n, v)| format!("{n}: {v}")).collect::<Vec<_>>()
        };
        assert_eq!(plain(h2), plain(headers), "{name}");
    }
}

fn fixture(part: &str) -> Request {
    let data = fixtures().into_iter().find(|(n, _)| n.contains(part)).unwrap().1;
    match Message::parse(&data).unwrap() {
        Message::Request(r) => r,
        Message::Response(_) => panic!("a response"),
    }
}

#[test]
fn gb18030_headers_are_text() {
    assert_eq!(fixture("09_").from().unwrap().display.as_deref(), Some("前门"));
    assert_eq!(fixture("10_").headers.get("User-Agent"), Some("海康 NVR"));
}

#[test]
fn typed_values_of_the_fixtures() {
    assert_eq!(fixture("16_").top_via().unwrap().sent_by(), "2001:db8::15:5060");
    assert_eq!(fixture("16_").contact().unwrap().uri.to_string(), "sip:34020000001320000001@[2001:db8::15]:5060");
    assert!(fixture("17_").headers.get("Authorization").unwrap().starts_with("Capability algorithm="));
    assert_eq!(auth::claimed_user(&fixture("17_")), None);
    assert_eq!(auth::claimed_user(&fixture("03_")).as_deref(), Some("34020000001320000001"));
    assert_eq!(fixture("24_").headers.get("o"), Some("Catalog;id=1894"));
    assert_eq!(fixture("04_").uri.to_string(), "sip:3402000000");
    assert_eq!(fixture("02_").expires(), Some(86400));
    assert!(fixture("18_").is_type("Application/SDP"));
}

#[test]
fn every_request_fixture_gets_through_the_gate() {
    for (name, data) in fixtures() {
        let mut ep = Endpoint::new(EndpointConfig::default(), 1);
        let f = common::flow(1, "10.1.1.5:5060", "203.0.113.9:41872", Transport::Udp, LinkProfile::LAN);
        ep.recv(Instant::now(), &f, &data);
        if data.starts_with(b"SIP/2.0") {
            assert_eq!(ep.stats().strays.get(), 1, "{name}");
            continue;
        }
        if name.contains("20_") {
            let out = ep.poll_transmit().unwrap_or_else(|| panic!("{name}"));
            assert!(out.bytes.starts_with(b"SIP/2.0 481"), "{name}");
            continue;
        }
        let event = ep.poll_event().unwrap_or_else(|| panic!("{name}: no event, {:?}", ep.poll_transmit()));
        let request = match event {
            Event::Request { request, .. } | Event::Invite { request, .. } => request,
            other => panic!("{name}: {other:?}"),
        };
        let via = request.top_via().unwrap();
        assert_eq!((via.param("received"), via.param("rport")), (Some("203.0.113.9"), Some("41872")), "{name}");
    }
}

/// What each of them leads to is held by `rfc4475.rs`.
#[test]
fn rfc_4475_files_go_through_every_parser() {
    for (_, data) in torture() {
        fuzz_all(&data);
    }
}

fn fuzz_all(data: &[u8]) {
    sip::fuzz::prepass(data);
    sip::fuzz::message(data);
    sip::fuzz::stream(data);
    sip::fuzz::websocket(data);
}

/// 40,000 seeded mutations of all fixtures through everything that reads bytes, and through an endpoint.
#[test]
fn mutations_never_panic() {
    use rand::{Rng, SeedableRng};
    let mut rng = rand::rngs::StdRng::seed_from_u64(28181);
    let mut seeds = fixtures();
    seeds.extend(torture());
    let mut ep = Endpoint::new(EndpointConfig::default(), 3);
    let f = common::flow(1, "10.1.1.5:5060", "203.0.113.9:41872", Transport::Udp, LinkProfile::LAN);
    let mut now = Instant::now();
    let tokens: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b":",
        b";",
        b",",
        b"<",
        b">",
        b"\"",
        b"\\",
        b"\0",
        b"\xff\xfe",
        b" ",
        b"SIP/2.0",
        b"%00",
        b"99999999999999999999",
        b"[::",
        b"@",
        b"CANCEL",
        b"ACK",
    ];
    for round in 0..40_000u32 {
        let (_, seed) = &seeds[rng.random_range(0..seeds.len())];
        let mut data = seed.clone();
        for _ in 0..rng.random_range(1..6) {
            let at = rng.random_range(0..data.len());
            match rng.random_range(0..5) {
                0 => data[at] = rng.random(),
                1 => data.truncate(at.max(1)),
                2 => {
                    let end = (at + rng.random_range(0..40)).min(data.len());
                    data.drain(at..end);
                    if data.is_empty() {
                        data.push(b'x');
                    }
                }
                _ => {
                    let t = tokens[rng.random_range(0..tokens.len())];
                    data.splice(at..at, t.iter().copied());
                }
            }
        }
        fuzz_all(&data);
        ep.recv(now, &f, &data);
        while let Some(e) = ep.poll_event() {
            if let Event::Invite { call, .. } = e {
                match round % 3 {
                    0 => ep.reject(now, call, 486, None),
                    1 => ep.accept(now, call, "application/sdp", Bytes::from_static(b"v=0"), &Headers::new()),
                    _ => {}
                }
            }
        }
        while let Some(t) = ep.poll_transmit() {
            assert!(Message::parse(&t.bytes).is_ok(), "we write what can be read");
        }
        now += std::time::Duration::from_millis(20);
        ep.tick(now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz_all(&data);
    }

    #[test]
    fn any_lines(lines in proptest::collection::vec("[ -~\\t\"<>;:,@=é中]{0,60}", 0..20)) {
        fuzz_all(format!("MESSAGE sip:a@b SIP/2.0\r\n{}\r\n\r\nbody", lines.join("\r\n")).as_bytes());
    }

    #[test]
    fn uris_survive(user in "[a-zA-Z0-9._-]{1,20}", host in "[a-z0-9]{1,12}(\\.[a-z]{2,5})?", port in proptest::option::of(1u16..), name in "[a-z]{1,8}", value in proptest::option::of("[a-z0-9]{1,8}")) {
        let mut uri = Uri::sip(&user, &host, port);
        uri.params.push((name, value));
        prop_assert_eq!(uri.to_string().parse::<Uri>().unwrap(), uri);
    }

    #[test]
    fn display_names_survive(display in "[ -~é中\\\\\"]{1,20}") {
        let mut a = NameAddr::new(Uri::sip("u", "h", None));
        a.display = Some(display.trim().to_owned()).filter(|d| !d.is_empty());
        prop_assert_eq!(a.to_string().parse::<NameAddr>().unwrap(), a);
    }

    /// A value of a caller never becomes a second header.
    #[test]
    fn no_header_injection(value in "[ -~\r\n\t]{0,60}") {
        let req = Request::new(Method::Message, Uri::sip("a", "b", None)).with("Subject", &value);
        let bytes = req.to_bytes();
        match Message::parse(&bytes).unwrap() {
            Message::Request(r) => prop_assert_eq!(r.headers.len(), 2),
            Message::Response(_) => prop_assert!(false),
        }
    }
}
