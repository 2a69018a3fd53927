//! What the field sends (gb28181.md 17.4), built by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use skybridge_media_core as media_core;

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use common::{Out, Rng, drain};
use media_core::Codec;
use media_core::aac::AacConfig;
use media_core::nal::put_nal;
use media_core::ps::{DropReason, PsDemuxer, PsEvent, Sniffed};
use media_core::ps_mux::{PsMuxer, pack_header, pes_header};
use media_core::psm::{Psm, PsmStream};

const SPS: [u8; 27] = [
    0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00,
    0x00, 0x03, 0x00, 0xc8, 0x3c, 0x60, 0xc6, 0x58,
];

/// A picture: 25 are a group; the payload is unlike all others and holds no start code.
fn picture(i: usize, size: usize) -> (Bytes, bool) {
    let key = i.is_multiple_of(25);
    let mut out = BytesMut::new();
    if key {
        put_nal(&mut out, &SPS);
        put_nal(&mut out, &[0x68, 0xEB, 0xE3, 0xCB]);
    }
    let mut nal = vec![if key { 0x65 } else { 0x41 }, 0x88];
    let mut rng = Rng(i as u64 + 99);
    nal.extend((0..size).map(|_| 1 + (rng.next() % 255) as u8));
    put_nal(&mut out, &nal);
    (out.freeze(), key)
}

fn at(ms: u64) -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now) + Duration::from_millis(ms)
}

fn annexb(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    media_core::nal::to_annexb(payload, &mut out);
    out
}

/// RTP payloads of n pictures: (payload, timestamp, marker, picture).
fn stream(n: usize, size: usize) -> Vec<(Vec<u8>, u32, bool, usize)> {
    let mut mux = PsMuxer::new(Some(Codec::H264), Some(Codec::G711A), &Bytes::new());
    let mut out = Vec::new();
    for i in 0..n {
        let (p, key) = picture(i, size);
        let pts = 3600 * i as i64;
        let mut ps = Vec::new();
        mux.video(&p, pts, pts, key, &mut ps);
        mux.audio(&[0xD5; 320], pts, &mut ps);
        let parts: Vec<_> = ps.chunks(1400).collect();
        for (k, c) in parts.iter().enumerate() {
            out.push((c.to_vec(), pts as u32, k + 1 == parts.len(), i));
        }
    }
    out
}

/// `anonymous_no_marker`: packs whose last packet carries no marker. After a while each picture is out with its own
/// last packet, not with the first of the next.
#[test]
fn without_markers_the_end_of_a_picture_is_learned() {
    let mut d = PsDemuxer::new();
    let mut out = Out::default();
    for (p, ts, m, i) in stream(60, 5000) {
        d.push(&p, ts, false, at(40 * i as u64));
        drain(&mut d, &mut out);
        if m && i > 12 {
            assert_eq!(out.video.len(), i + 1, "late");
        }
    }
    assert!(out.video.iter().enumerate().all(|(i, v)| v.payload == picture(i, 5000).0), "whole and in order");
    // Pieces of a fixed length, each at the end of a packet: never taken for the end of a picture.
    let mut d = PsDemuxer::new();
    let mut out = Out::default();
    let mut mux_pts = 0i64;
    for i in 0..60 {
        let (p, _) = picture(i, 3000 + 40 * i);
        let es = annexb(&p);
        for (k, piece) in es.chunks(1300).enumerate() {
            let mut ps = Vec::new();
            if k == 0 {
                ps.extend_from_slice(&pack_header(mux_pts as u64, 0, 50_000));
            }
            pes_header(0xE0, (k == 0).then_some(mux_pts), piece.len(), &mut ps);
            ps.extend_from_slice(piece);
            d.push(&ps, mux_pts as u32, false, at(40 * i as u64));
            drain(&mut d, &mut out);
        }
        mux_pts += 3600;
    }
    d.flush();
    drain(&mut d, &mut out);
    assert_eq!(out.video.len(), 60);
    assert!(out.video.iter().enumerate().all(|(i, v)| v.payload == picture(i, 3000 + 40 * i).0), "whole");
}

#[test]
fn markers_give_pictures_at_once() {
    let mut d = PsDemuxer::new();
    let mut out = Out::default();
    for (p, ts, m, i) in stream(60, 5000) {
        d.push(&p, ts, m, at(40 * i as u64));
        drain(&mut d, &mut out);
        if m && i > 5 {
            assert_eq!(out.video.len(), i + 1, "late");
        }
    }
    assert!(
        out.video.iter().enumerate().all(|(i, v)| v.payload == picture(i, 5000).0
            && v.pts == 3600 * i as i64
            && v.received == at(40 * i as u64))
    );
    assert!(out.audio.iter().enumerate().all(|(i, a)| a.pts == 320 * i as i64));
    assert_eq!(out.video[0].width, 1920);
    let s = d.stats();
    assert_eq!((s.errors, s.rebases, s.key_frames, s.psm), (0, 0, 3, 3));
}

#[test]
fn markers_on_every_packet_do_no_harm() {
    let mut d = PsDemuxer::new();
    let mut out = Out::default();
    for (p, ts, _, _) in stream(60, 5000) {
        d.push(&p, ts, true, at(0));
        drain(&mut d, &mut out);
    }
    d.flush();
    drain(&mut d, &mut out);
    assert_eq!(out.video.len(), 60);
    assert!(out.video.iter().enumerate().all(|(i, v)| v.payload == picture(i, 5000).0));
}

#[test]
fn loss_gives_whole_pictures_only() {
    let packets = stream(200, 6000);
    for seed in 1..60 {
        let mut rng = Rng(seed * 31);
        let mut d = PsDemuxer::new();
        let mut out = Out::default();
        let mut lost = 0;
        for (p, ts, m, i) in &packets {
            if rng.below(100) < 3 {
                d.lost();
                lost += 1;
            } else {
                d.push(p, *ts, *m, at(40 * *i as u64));
            }
            drain(&mut d, &mut out);
        }
        assert!(out.video.len() > 60, "{}", out.video.len());
        for v in &out.video {
            assert_eq!(v.payload, picture((v.pts / 3600) as usize, 6000).0, "seed {seed}");
        }
        assert!(
            out.other.iter().filter(|e| matches!(e, PsEvent::Dropped { reason: DropReason::Loss, .. })).count() == lost
        );
    }
}

/// Hand-made packs, each pushed as one payload.
fn feed(packs: &[Vec<u8>], size: usize) -> (Out, PsDemuxer) {
    let mut d = PsDemuxer::new();
    let mut out = Out::default();
    for (i, p) in packs.iter().enumerate() {
        for c in p.chunks(size) {
            d.push(c, 3600 * i as u32, false, at(40 * i as u64));
        }
        drain(&mut d, &mut out);
    }
    d.flush();
    drain(&mut d, &mut out);
    (out, d)
}

fn expect(out: &Out, n: usize, size: usize) {
    assert_eq!(out.video.len(), n);
    for (i, v) in out.video.iter().enumerate() {
        assert_eq!(v.pts, 3600 * i as i64, "picture {i}");
        assert!(v.payload == picture(i, size).0, "picture {i}: {} bytes", v.payload.len());
    }
}

#[test]
fn shapes_of_the_field() {
    let n = 30;
    let data = |i| annexb(&picture(i, 3000).0);
    let pts = |i: usize| Some(3600 * i as i64);
    let pack = |i: usize| pack_header(3600 * i as u64, 0, 50_000).to_vec();
    let build = |f: &dyn Fn(usize, &mut Vec<u8>)| -> Vec<Vec<u8>> {
        (0..n)
            .map(|i| {
                let mut p = Vec::new();
                f(i, &mut p);
                p
            })
            .collect()
    };
    let simple = |i: usize, out: &mut Vec<u8>| {
        pes_header(0xE0, pts(i), data(i).len(), out);
        out.extend(data(i));
    };
    // no map at all; bare BA; MPEG-1 pack; no pack per picture
    let no_map = build(&|i, o| (o.extend(pack(i)), simple(i, o)).1);
    let bare = build(&|i, o| (o.extend([0, 0, 1, 0xBA]), simple(i, o)).1);
    let mpeg1 = build(&|i, o| (o.extend([0, 0, 1, 0xBA, 0x21, 0, 1, 0, 1, 0x80, 0, 1]), simple(i, o)).1);
    let one_pack = build(&|i, o| {
        if i == 0 {
            o.extend(pack(0));
        }
        simple(i, o);
    });
    // length 0
    let zero = build(&|i, o| {
        o.extend(pack(i));
        let at = o.len();
        simple(i, o);
        o[at + 4] = 0;
        o[at + 5] = 0;
    });
    // each NAL unit cut over PES of 500 bytes, PTS on all of them, private PES between
    let cut = build(&|i, o| {
        o.extend(pack(i));
        for c in data(i).chunks(500) {
            pes_header(0xE0, pts(i), c.len(), o);
            o.extend(c);
            o.extend([0, 0, 1, 0xBD, 0, 3, 1, 2, 3, 0, 0, 1, 0xBE, 0, 2, 0xFF, 0xFF]);
        }
    });
    // PTS only on the first, each PES in a pack of its own
    let packs = build(&|i, o| {
        for (k, c) in data(i).chunks(500).enumerate() {
            o.extend(pack(i));
            pes_header(0xE0, (k == 0).then(|| pts(i).unwrap()), c.len(), o);
            o.extend(c);
        }
    });
    // no PTS: the RTP stamp serves
    let no_pts = build(&|i, o| {
        o.extend(pack(i));
        pes_header(0xE0, None, data(i).len(), o);
        o.extend(data(i));
    });
    for (name, packs) in [
        ("no map", no_map),
        ("bare", bare),
        ("mpeg1", mpeg1),
        ("one pack", one_pack),
        ("length 0", zero),
        ("cut", cut),
        ("packs", packs),
        ("no pts", no_pts),
    ] {
        for size in [100_000, 1000, 333] {
            println!("{name} {size}");
            let (out, d) = feed(&packs, size);
            expect(&out, n, 3000);
            assert_eq!(d.stats().errors, 0, "{name} {:?}", d.stats());
        }
    }
}

#[test]
fn wrong_lengths() {
    // a 64 kB frame whose length field wrapped: the rest is found behind it
    let big = |i| annexb(&picture(i, 70_000).0);
    let packs: Vec<Vec<u8>> = (0..10)
        .map(|i| {
            let mut o = pack_header(0, 0, 1).to_vec();
            pes_header(0xE0, Some(3600 * i as i64), big(i).len() & 0xFFFF, &mut o);
            o.extend(big(i));
            o
        })
        .collect();
    let (out, d) = feed(&packs, 1400);
    expect(&out, 10, 70_000);
    assert_eq!(d.stats().errors, 10);
    // a length too large: cut at the next pack
    let packs: Vec<Vec<u8>> = (0..10)
        .map(|i| {
            let p = annexb(&picture(i, 3000).0);
            let mut o = pack_header(0, 0, 1).to_vec();
            pes_header(0xE0, Some(3600 * i as i64), p.len() + 100, &mut o);
            o.extend(p);
            o
        })
        .collect();
    let (out, _) = feed(&packs, 1400);
    expect(&out, 9, 3000);
}

#[test]
fn map_that_lies_and_adts_under_g711() {
    let aac = AacConfig { object_type: 2, sample_rate: 8000, channels: 1 };
    let map = Psm {
        version: 1,
        streams: vec![
            PsmStream { stream_type: 0x24, stream_id: 0xE0 },
            PsmStream { stream_type: 0x90, stream_id: 0xC0 },
        ],
    };
    let packs: Vec<Vec<u8>> = (0..30)
        .map(|i| {
            let mut o = pack_header(0, 0, 1).to_vec();
            if i == 0 {
                map.write(&mut o);
            }
            let p = annexb(&picture(i, 3000).0);
            pes_header(0xE0, Some(3600 * i as i64), p.len(), &mut o);
            o.extend(p);
            let mut a = Vec::new();
            for _ in 0..2 {
                a.extend(aac.adts_header(100).unwrap());
                a.extend([i as u8; 100]);
            }
            // the sound counts from elsewhere: one second after start it is 100 s ahead
            pes_header(0xC0, Some(9_000_000 + 23_040 * i as i64), a.len(), &mut o);
            o.extend(a);
            o
        })
        .collect();
    let (out, d) = feed(&packs, 1400);
    expect(&out, 30, 3000);
    let s = d.stats();
    assert_eq!((s.psm_wrong, s.video_codec, s.audio_codec), (2, Some(Codec::H264), Some(Codec::Aac)));
    let aac: Vec<_> = out.audio.iter().filter(|a| a.codec == Codec::Aac).collect();
    assert!(aac.len() >= 58 && aac.windows(2).all(|w| w[1].pts - w[0].pts == 1024));
    assert_eq!(&aac[0].config[..], &[0x15, 0x88]);
    assert!(aac[0].pts < 8000, "{}", aac[0].pts);
}

#[test]
fn starts_with_p_pictures_and_jumps() {
    let mut d = PsDemuxer::new();
    let mut out = Out::default();
    let mut mux = PsMuxer::new(Some(Codec::H264), None, &Bytes::new());
    for i in 10..100usize {
        let (p, key) = picture(i, 1000);
        // a scene switch at picture 60: 1000 s back in time
        let pts = 200_000_000 + 3600 * i as i64 - if i >= 60 { 90_000_000 } else { 0 };
        let mut ps = Vec::new();
        mux.video(&p, pts, pts, key, &mut ps);
        d.push(&ps, pts as u32, true, at(40 * i as u64));
        drain(&mut d, &mut out);
    }
    assert_eq!(out.video.len(), 75);
    assert!(out.video[0].key && out.video.windows(2).all(|w| w[1].pts - w[0].pts == 3600));
    assert_eq!(
        out.other.iter().filter(|e| matches!(e, PsEvent::Dropped { reason: DropReason::WaitingForKey, .. })).count(),
        1
    );
    assert_eq!((d.stats().held, d.stats().rebases), (15, 1));
}

#[test]
fn what_is_no_ps() {
    let one = |payloads: &[Vec<u8>]| {
        let mut d = PsDemuxer::new();
        let mut out = Out::default();
        for p in payloads {
            d.push(p, 0, false, at(0));
        }
        drain(&mut d, &mut out);
        out.other
    };
    let mut ts = vec![0xFF; 188 * 7];
    ts.iter_mut().step_by(188).for_each(|b| *b = 0x47);
    assert_eq!(one(&[ts]), vec![PsEvent::Sniffed(Sniffed::Ts)]);
    assert_eq!(
        one(&[SPS.to_vec(), vec![0x7C, 0x85, 1], vec![0x7C, 5, 1]]),
        vec![PsEvent::Sniffed(Sniffed::Es(Codec::H264))]
    );
    assert_eq!(one(&vec![b"DHAV0123".repeat(100); 100]), vec![PsEvent::Sniffed(Sniffed::Private)]);
    // joined in the middle of a picture: no false alarm
    let p = stream(30, 5000);
    assert!(
        !one(&p[2..].iter().map(|x| x.0.clone()).collect::<Vec<_>>()).iter().any(|e| matches!(e, PsEvent::Sniffed(_)))
    );
}
