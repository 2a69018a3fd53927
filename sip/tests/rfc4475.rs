//! The torture messages of RFC 4475 against `rfc4475.md`: the table is the expectation, and every file must be in it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use bytes::Bytes;
use sip::{
    stream::{Frame, Framer, websocket_frame},
    *,
};

const TABLE: &str = include_str!("rfc4475.md");

/// Word in the table by file: over UDP, on a stream, in a WebSocket message.
fn table() -> BTreeMap<String, [String; 3]> {
    let mut rows = BTreeMap::new();
    for line in TABLE.lines().filter(|l| l.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, _, udp, stream, websocket, ..] = cells[..] else { panic!("a row has 7 cells: {line}") };
        let row = [udp, stream, websocket].map(str::to_owned);
        assert!(rows.insert(name.trim_matches('`').to_owned(), row).is_none(), "{name} twice");
    }
    rows
}

fn corpus() -> Vec<(String, Bytes)> {
    let dir = std::env::var_os("SKYBRIDGE_CORPORA")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora"));
    let Ok(files) = std::fs::read_dir(dir.join("sip-torture")) else { return Vec::new() };
    let mut list: Vec<_> = files
        .filter_map(Result::ok)
        .map(|f| {
            (f.path().file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(f.path()).unwrap().into())
        })
        .collect();
    list.sort();
    list
}

/// What one message leads to, in the words of the table.
fn outcome(ep: &mut Endpoint, transport: Transport, data: Bytes) -> String {
    let f = common::flow(1, "192.0.2.1:5060", "192.0.2.99:5060", transport, LinkProfile::LAN);
    let (strays, unread) = (ep.stats().strays.get(), ep.stats().parse_errors.get());
    ep.recv_bytes(Instant::now(), &f, data);
    match (ep.poll_event(), ep.poll_transmit()) {
        (Some(Event::Request { request, .. } | Event::Invite { request, .. }), None) => {
            assert!(request.call_id().is_some() && request.top_via().is_some());
            "accept".into()
        }
        (None, Some(t)) => String::from_utf8_lossy(&t.bytes)[8..11].to_owned(),
        (None, None) if ep.stats().strays.get() > strays => "stray".into(),
        (None, None) if ep.stats().parse_errors.get() > unread => "unreadable".into(),
        (None, None) => "drop".into(),
        (event, transmit) => panic!("{event:?} {transmit:?}"),
    }
}

fn by_udp(data: &Bytes) -> String {
    outcome(&mut Endpoint::new(EndpointConfig::default(), 1), Transport::Udp, data.clone())
}

fn by_stream(data: &Bytes) -> String {
    let mut ep = Endpoint::new(EndpointConfig::default(), 1);
    let mut framer = Framer::new(&Limits::default());
    let mut words = Vec::new();
    framer.push(data);
    loop {
        match framer.next_frame() {
            Ok(Some(Frame::Message(message))) => words.push(outcome(&mut ep, Transport::Tcp, message)),
            Ok(Some(Frame::Ping)) => {}
            Ok(None) => break,
            Err(_) => {
                words.push("close".into());
                break;
            }
        }
    }
    if words.last().is_none_or(|w| w != "close") && framer.held() > 0 {
        words.push("wait".into());
    }
    words.join(", ")
}

fn by_websocket(data: &Bytes) -> String {
    match websocket_frame(data, &Limits::default()) {
        Ok(Some(Frame::Message(message))) => {
            outcome(&mut Endpoint::new(EndpointConfig::default(), 1), Transport::Wss, message)
        }
        Ok(_) => "drop".into(),
        Err(_) => "close".into(),
    }
}

#[test]
fn every_torture_message_has_its_outcome() {
    let files = corpus();
    if files.is_empty() {
        println!("skipped, no corpora");
        return;
    }
    let rows = table();
    let mut wrong = Vec::new();
    for (name, data) in &files {
        let got = [by_udp(data), by_stream(data), by_websocket(data)];
        println!("| `{name}` | {} |", got.join(" | "));
        match rows.get(name) {
            None => wrong.push(format!("{name} is not in the table; it gives {got:?}")),
            Some(want) if *want != got => wrong.push(format!("{name}: {got:?}, the table says {want:?}")),
            Some(_) => {}
        }
    }
    let known: Vec<&String> = files.iter().map(|f| &f.0).collect();
    wrong.extend(rows.keys().filter(|n| !known.contains(n)).map(|n| format!("there is no file {n}")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}
