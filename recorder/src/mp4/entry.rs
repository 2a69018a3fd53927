//! Sample entries: how each codec is announced.
//!
//! H.264 is `avc1` and H.265 `hvc1`: all parameter sets stand in the sample entry, which every player reads (Safari takes
//! nothing else), and the same sets stay in the key frames as well, as the hub gives them. Players accept that; a change of
//! the sets begins a new file, so both always agree.

use media_core::{Codec, TrackInfo};

use super::boxes::BoxBuf;
use super::params::{H265Sps, VideoParams};

fn visual(b: &mut BoxBuf, kind: &[u8; 4], params: &VideoParams, config: impl FnOnce(&mut BoxBuf)) {
    b.boxed(kind, |b| {
        b.zeros(6);
        b.u16(1); // data reference
        b.zeros(16);
        b.u16(params.width as u16);
        b.u16(params.height as u16);
        b.u32(0x0048_0000);
        b.u32(0x0048_0000);
        b.u32(0);
        b.u16(1); // frames a sample
        b.zeros(32);
        b.u16(0x18);
        b.u16(0xFFFF);
        config(b);
    });
}

/// The sample entry of a video track.
pub(crate) fn video(b: &mut BoxBuf, params: &VideoParams) {
    match params.codec {
        Codec::H265 => visual(b, b"hvc1", params, |b| hvcc(b, params)),
        Codec::Vp8 => visual(b, b"vp08", params, |b| {
            b.full(b"vpcC", 1, 0, |b| {
                b.bytes(&[0, 10, 8 << 4 | 1 << 1, 2, 2, 2]);
                b.u16(0);
            });
        }),
        _ => visual(b, b"avc1", params, |b| avcc(b, params)),
    }
}

fn avcc(b: &mut BoxBuf, params: &VideoParams) {
    let of = |t: u8| params.sets.iter().filter(move |s| s.first().is_some_and(|h| h & 0x1F == t));
    b.boxed(b"avcC", |b| {
        let head: [u8; 3] = of(7).find_map(|s| s.get(1..4)?.try_into().ok()).unwrap_or([66, 0, 30]);
        b.u8(1);
        b.bytes(&head);
        b.u8(0xFF); // lengths of 4 bytes
        b.u8(0xE0 | of(7).count() as u8);
        for set in of(7) {
            b.u16(set.len() as u16);
            b.bytes(set);
        }
        b.u8(of(8).count() as u8);
        for set in of(8) {
            b.u16(set.len() as u16);
            b.bytes(set);
        }
        if matches!(head[0], 100 | 110 | 122 | 144) {
            // 4:2:0 at 8 bit, which is what cameras send; decoders read the SPS.
            b.bytes(&[0xFC | 1, 0xF8, 0xF8, 0]);
        }
    });
}

fn hvcc(b: &mut BoxBuf, params: &VideoParams) {
    let of = |t: u8| params.sets.iter().filter(move |s| s.first().is_some_and(|h| h >> 1 & 0x3F == t));
    let sps = of(33).find_map(|s| H265Sps::parse(s));
    b.boxed(b"hvcC", |b| {
        b.u8(1);
        let ptl = sps.as_ref().map_or([1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93], |s| s.profile_tier_level);
        b.bytes(&ptl);
        b.u16(0xF000);
        b.u8(0xFC);
        b.u8(0xFC | sps.as_ref().map_or(1, |s| s.chroma));
        b.u8(0xF8 | sps.as_ref().map_or(0, |s| s.depth_luma_minus8));
        b.u8(0xF8 | sps.as_ref().map_or(0, |s| s.depth_chroma_minus8));
        b.u16(0);
        b.u8(sps.as_ref().map_or(1, |s| s.sub_layers) << 3 | u8::from(sps.as_ref().is_some_and(|s| s.nested)) << 2 | 3);
        b.u8(3);
        for t in 32..=34u8 {
            b.u8(0x80 | t);
            b.u16(of(t).count() as u16);
            for set in of(t) {
                b.u16(set.len() as u16);
                b.bytes(set);
            }
        }
    });
}

/// The sample entry of an audio track: Opus (dOps) or AAC (esds).
pub(crate) fn audio(b: &mut BoxBuf, info: &TrackInfo) {
    let channels = u16::from(info.channels.clamp(1, 2));
    let kind = if info.codec == Codec::Aac { b"mp4a" } else { b"Opus" };
    b.boxed(kind, |b| {
        b.zeros(6);
        b.u16(1);
        b.zeros(8);
        b.u16(channels);
        b.u16(16);
        b.u32(0);
        b.u32(if info.clock_rate < 0x1_0000 { info.clock_rate << 16 } else { 0 });
        if info.codec == Codec::Aac {
            esds(b, info);
        } else {
            b.boxed(b"dOps", |b| {
                b.u8(0);
                b.u8(channels as u8);
                b.u16(0); // pre-skip: a live stream is joined in its middle
                b.u32(48_000);
                b.u16(0);
                b.u8(0);
            });
        }
    });
}

fn esds(b: &mut BoxBuf, info: &TrackInfo) {
    const RATES: [u32; 13] = [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];
    let made;
    let config: &[u8] = if info.config.len() >= 2 && info.config.len() < 64 {
        &info.config
    } else {
        let index = RATES.iter().position(|r| *r == info.clock_rate).unwrap_or(3) as u8;
        made = [2 << 3 | index >> 1, index << 7 | info.channels.clamp(1, 7) << 3];
        &made
    };
    let n = config.len() as u8;
    b.full(b"esds", 0, 0, |b| {
        b.bytes(&[3, 23 + n, 0, 0, 0]);
        b.bytes(&[4, 15 + n, 0x40, 0x15, 0, 0, 0]);
        b.u32(0);
        b.u32(0);
        b.bytes(&[5, n]);
        b.bytes(config);
        b.bytes(&[6, 1, 2]);
    });
}
