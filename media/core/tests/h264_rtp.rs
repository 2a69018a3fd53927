//! JVT conformance streams through access units, cuts and back; loss and reordering.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use skybridge_media_core as media_core;

use std::time::{Duration, Instant};

use common::Rng;
use media_core::jitter::{Ordered, Reorder};
use media_core::nal::{AccessUnit, nals};
use media_core::rtp_payload::{Depacketizer, MAX_RTP_PAYLOAD};
use media_core::{Codec, Frame, TrackId, h264, packetize};

type Packet = (u16, u32, bool, Vec<u8>);

fn packets(codec: Codec, units: &[AccessUnit]) -> Vec<Packet> {
    let mut out = Vec::new();
    for (i, u) in units.iter().enumerate() {
        let f = Frame::new(TrackId::VIDEO, codec, 3600 * i as i64, u.key, Instant::now(), u.payload.clone());
        let cuts = f.cuts(packetize);
        for (k, c) in cuts.iter().enumerate() {
            assert!(c.len() <= MAX_RTP_PAYLOAD && !c.is_empty());
            let mut p = c.header_bytes().to_vec();
            p.extend_from_slice(c.body(&u.payload));
            out.push((out.len() as u16, 3600 * i as u32, k + 1 == cuts.len(), p));
        }
        // fragments of one NAL unit: equal, only the last smaller
        let sizes: Vec<(usize, bool)> = cuts
            .iter()
            .map(|c| (c.len(), c.header_len > 1 && c.header[usize::from(c.header_len) - 1] & 0x40 != 0))
            .collect();
        for (w, c) in sizes.windows(2).zip(cuts.iter()) {
            if c.header_len > 1 && !w[0].1 {
                assert!(w[1].0 == w[0].0 || (w[1].1 && w[1].0 < w[0].0));
            }
        }
    }
    out
}

fn corpus() -> Vec<(String, Vec<u8>)> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpora/h264");
    let Ok(list) = std::fs::read_dir(dir) else {
        println!("skipped, no {dir}");
        return Vec::new();
    };
    list.flatten()
        .filter(|e| e.path().extension().is_some_and(|x| x == "264"))
        .map(|e| (e.file_name().to_string_lossy().into_owned(), std::fs::read(e.path()).unwrap()))
        .collect()
}

#[test]
fn conformance_streams_come_back_equal() {
    for (name, data) in corpus() {
        let units = h264::access_units(&data);
        if units.is_empty() {
            println!("{name}: no slices");
            continue;
        }
        let nal_count: usize = units.iter().map(|u| nals(&u.payload).count()).sum();
        let mut d = Depacketizer::new(Codec::H264);
        let now = Instant::now();
        let mut got = Vec::new();
        for (_, ts, marker, p) in packets(Codec::H264, &units) {
            d.push(&p, ts, marker, now).unwrap_or_else(|e| panic!("{name}: {e}"));
            got.extend(std::iter::from_fn(|| d.poll()));
        }
        assert_eq!(got.len(), units.len(), "{name}");
        for (g, u) in got.iter().zip(&units) {
            assert!(g.payload == u.payload && g.key == u.key, "{name} at {}", g.timestamp / 3600);
        }
        if common::have("ffprobe") {
            let f = common::temp(&name);
            std::fs::write(&f, &data).unwrap();
            println!(
                "{name}: {} access units, {nal_count} NAL units, ffprobe {} packets, size {:?}",
                units.len(),
                common::probe(&f, "v:0"),
                d.dimensions()
            );
        }
    }
}

fn big() -> Option<Vec<AccessUnit>> {
    let data = corpus().into_iter().find(|c| c.0.starts_with("Zhling"))?.1;
    Some(h264::access_units(&data))
}

#[test]
fn loss_never_gives_a_damaged_picture() {
    let Some(units) = big() else { return };
    let all = packets(Codec::H264, &units);
    for seed in 1..40u64 {
        let mut rng = Rng(seed * 7919);
        let mut d = Depacketizer::new(Codec::H264);
        let mut r = Reorder::new(64, Duration::from_millis(50));
        let start = Instant::now();
        let mut sent: Vec<&Packet> = all.iter().filter(|_| rng.below(100) >= 2).collect();
        for i in 1..sent.len() {
            if rng.below(10) == 0 {
                let j = i.saturating_sub(1 + rng.below(5));
                sent.swap(i, j);
            }
        }
        let mut got = Vec::new();
        for (i, p) in sent.iter().enumerate() {
            let now = start + Duration::from_micros(500 * i as u64);
            if rng.below(50) == 0 {
                r.push(9, p.0, now, *p);
            }
            r.push(9, p.0, now, *p);
            while let Some(o) = r.poll(now) {
                match o {
                    Ordered::Packet { item, .. } => d.push(&item.3, item.1, item.2, now).unwrap_or_default(),
                    Ordered::Lost { .. } => d.lost(),
                    Ordered::Reset => panic!("reset"),
                }
                got.extend(std::iter::from_fn(|| d.poll()));
            }
        }
        assert!(got.len() * 20 > units.len(), "{} of {}", got.len(), units.len());
        for g in &got {
            let u = &units[(g.timestamp / 3600) as usize];
            assert!(g.payload == u.payload || (u.key && !g.key), "seed {seed} picture {}", g.timestamp / 3600);
        }
        assert!(got.windows(2).all(|w| w[0].timestamp < w[1].timestamp));
    }
}

#[test]
fn h265_and_multiple_slices() {
    if !common::have("ffmpeg") {
        return;
    }
    let f = common::video_file("libx265", &["-b:v", "8M", "-x265-params", "log-level=error:slices=3"], "rtp.h265");
    let units = media_core::h265::access_units(&std::fs::read(f).unwrap());
    assert_eq!(units.len(), 100);
    let mut d = Depacketizer::new(Codec::H265);
    let mut got = Vec::new();
    for (_, ts, m, p) in packets(Codec::H265, &units) {
        d.push(&p, ts, m, Instant::now()).unwrap();
        got.extend(std::iter::from_fn(|| d.poll()));
    }
    assert!(got.iter().zip(&units).all(|(a, b)| a.payload == b.payload && a.key == b.key) && got.len() == 100);
    assert_eq!(d.dimensions(), Some((640, 360)));
}
