#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use media_core::{Codec, TrackId};

use super::*;
use crate::mp4::moof::moof;

const SPS: &[u8] = &[0x67, 0x42, 0xC0, 0x0A, 0xDB, 0x10, 0x90, 0x10, 0x00, 0x00, 0x3E, 0x90];

fn item(t0: Instant, ms: u64, pts: i64, key: bool) -> Item {
    let mut payload = Vec::new();
    let nals: &[&[u8]] = if key { &[SPS, &[0x68, 1, 2], &[0x65, 1]] } else { &[&[0x41, 1]] };
    for nal in nals {
        payload.extend_from_slice(&(nal.len() as u32).to_be_bytes());
        payload.extend_from_slice(nal);
    }
    let at = t0 + Duration::from_millis(ms);
    let frame = Frame::new(TrackId::VIDEO, Codec::H264, pts, key, at, Bytes::from(payload));
    Item { seq: 0, epoch: 1, frame: Arc::new(frame) }
}

fn segmenter() -> Segmenter {
    let mut s = Segmenter::new(Cuts { fragment: Duration::from_millis(700), file: Duration::from_secs(600) });
    s.set_tracks(&[TrackInfo::video(Codec::H264)], &mut Vec::new());
    s
}

fn frag(f: &Fragment) -> crate::mp4::moof::Frag {
    moof(&f.head[8..f.head.len() - 8], 0).unwrap()
}

/// Fragments stay below a second although key frames come each 4 s, and begin anew at each key frame.
#[test]
fn fragments_are_short_and_marked() {
    let (mut s, t0, mut out) = (segmenter(), Instant::now(), Vec::new());
    for n in 0..250u64 {
        s.item(&item(t0, n * 40, n as i64 * 3600, n % 100 == 0), &mut out);
    }
    s.flush(&mut out);
    let frags: Vec<_> = out.iter().map(frag).collect();
    assert!(frags.iter().all(|f| f.runs[0].duration <= 90_000));
    assert_eq!(frags.iter().filter(|f| f.key).count(), 3);
    assert_eq!(frags.iter().map(|f| f.runs[0].samples).sum::<u32>(), 250);
    assert!(frags.windows(2).all(|w| w[1].runs[0].time == w[0].runs[0].time + w[0].runs[0].duration));
    assert_eq!(out.iter().filter(|f| f.opening.is_some()).count(), 1);
}

#[test]
fn nothing_begins_without_a_key_frame() {
    let (mut s, t0, mut out) = (segmenter(), Instant::now(), Vec::new());
    for n in 0..10 {
        s.item(&item(t0, n * 40, n as i64 * 3600, false), &mut out);
    }
    s.flush(&mut out);
    assert!(out.is_empty() && s.take_want_key());
}

/// Jitter of the stamps makes no decode time go back.
#[test]
fn stamps_that_jitter() {
    let (mut s, t0, mut out) = (segmenter(), Instant::now(), Vec::new());
    let mut seed = 7u64;
    for n in 0..500u64 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let jitter = (seed >> 33) as i64 % 9000 - 4500;
        s.item(&item(t0, n * 40, 90_000 + n as i64 * 3600 + jitter, n % 25 == 0), &mut out);
        if n % 37 == 0 {
            s.flush(&mut out);
        }
    }
    s.flush(&mut out);
    let frags: Vec<_> = out.iter().map(frag).collect();
    assert!(frags.windows(2).all(|w| w[1].runs[0].time >= w[0].runs[0].time + w[0].runs[0].duration));
}

/// B pictures: no sample is shown before it is decoded, and no cut splits a group of them.
#[test]
fn pictures_out_of_order() {
    let (mut s, t0, mut out) = (segmenter(), Instant::now(), Vec::new());
    for n in 0..240u64 {
        // Shown: 0 3 1 2 6 4 5 ... in groups of 60.
        let (gop, m) = (n / 60 * 60, n % 60);
        let shown = gop + if m == 0 { 0 } else { [m + 2, m - 1, m - 1][(m as usize - 1) % 3] };
        s.item(&item(t0, n * 40, shown as i64 * 3600, m == 0), &mut out);
    }
    s.flush(&mut out);
    let frags: Vec<_> = out.iter().map(frag).collect();
    for w in frags.windows(2) {
        let (a, b) = (&w[0].runs[0], &w[1].runs[0]);
        assert!(b.time >= a.time + a.duration && a.duration < 90_000);
        assert!(a.first_pts - a.time as i64 >= 3600, "shown at {} and decoded at {}", a.first_pts, a.time);
    }
    assert_eq!(frags.iter().map(|f| f.runs[0].samples).sum::<u32>(), 240);
}
