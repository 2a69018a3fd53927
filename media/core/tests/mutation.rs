//! Mutated good input: nothing panics, hangs or grows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use bytes::Bytes;
use common::Rng;
use media_core::ps_mux::PsMuxer;
use media_core::rtcp::{NackEntry, Rtcp};
use media_core::rtp::RtpHeader;
use media_core::{Codec, fuzz};
use skybridge_media_core as media_core;

fn mutate(rng: &mut Rng, seed: &[u8]) -> Vec<u8> {
    let mut d = seed.to_vec();
    for _ in 0..1 + rng.below(6) {
        let i = rng.below(d.len());
        match rng.below(7) {
            0 if !d.is_empty() => d[i] ^= 1 << rng.below(8),
            1 if !d.is_empty() => d[i] = [0, 1, 0x7F, 0x80, 0xFF, 0xBA, 0xE0][rng.below(7)],
            2 => d.truncate(i),
            3 => d.insert(i.min(d.len()), rng.next() as u8),
            4 if i + 4 < d.len() => {
                let patch = [[0, 0, 1, 0xBA], [0, 0, 1, 0xE0], [0, 0, 0, 1], [0xFF; 4]][rng.below(4)];
                d[i..i + 4].copy_from_slice(&patch);
            }
            5 if !d.is_empty() => {
                d.remove(i);
            }
            _ => {
                let n = rng.below(40).min(d.len() - i.min(d.len()));
                let part = d[i.min(d.len())..][..n].to_vec();
                d.extend(part);
            }
        }
    }
    d
}

fn hammer(f: fn(&[u8]), seeds: &[Vec<u8>], n: usize) {
    let mut rng = Rng(0x5EED_1234_5678);
    for i in 0..n {
        f(&mutate(&mut rng, &seeds[i % seeds.len()]));
    }
    for len in 0..64 {
        for b in [0u8, 1, 0x47, 0x80, 0x90, 0xFF] {
            f(&vec![b; len]);
        }
    }
}

#[test]
fn program_stream() {
    let mut mux = PsMuxer::new(Some(Codec::H264), Some(Codec::Aac), &Bytes::from_static(&[0x15, 0x88]));
    let mut seeds = Vec::new();
    for audio in [false, true] {
        let mut ps = Vec::new();
        let key = [0, 0, 0, 5, 0x67, 0x42, 0, 0x1F, 0x80, 0, 0, 0, 2, 0x68, 0xCE, 0, 0, 0, 4, 0x65, 0x88, 1, 2];
        mux.video(&key, 0, 0, true, &mut ps);
        mux.audio(&[1; 50], 0, &mut ps);
        mux.video(&[0, 0, 0, 4, 0x41, 0x9A, 1, 2], 3600, 3600, false, &mut ps);
        if audio {
            // as pieces with their length in front, the way `fuzz::ps` reads
            ps = ps.chunks(17).flat_map(|c| [&[2u8][..], c].concat()).collect();
        }
        seeds.push(ps);
    }
    hammer(fuzz::ps, &seeds, 30_000);
}

#[test]
fn packets() {
    let mut rtp = Vec::new();
    RtpHeader { marker: true, payload_type: 96, sequence: 1, timestamp: 2, ssrc: 3 }
        .write(&mut rtp, &[&[0, 0, 1, 0xBA, 1, 2, 3]]);
    rtp[0] |= 0x31;
    hammer(fuzz::rtp, &[rtp.clone()], 20_000);
    let rtcp = Rtcp::write_compound(&[
        Rtcp::SenderReport { ssrc: 1, ntp: 2, rtp: 3, packets: 4, octets: 5, reports: vec![Default::default(); 2] },
        Rtcp::Sdes { ssrc: 1, cname: "a@b".into() },
        Rtcp::Nack { sender: 1, media: 2, entries: vec![NackEntry { pid: 1, blp: 3 }] },
        Rtcp::Remb { sender: 1, bitrate: 1 << 40, ssrcs: vec![1] },
        Rtcp::Bye { ssrcs: vec![1], reason: "x".into() },
    ]);
    hammer(fuzz::rtcp, &[rtcp], 20_000);
    let framed: Vec<u8> =
        [&[60u8, 0, rtp.len() as u8][..], &rtp, &[0, rtp.len() as u8], &rtp, b"$\0\0\x17", &rtp].concat();
    hammer(fuzz::tcp_framing, &[framed], 10_000);
    hammer(
        fuzz::dtmf,
        &[
            vec![1, 5, 0, 0, 160, 4, 0x85, 10, 1, 64],
            b"Signal=5\r\nDuration=160\r\n".to_vec(),
            vec![0xFF, 0xF1, 0x6C, 0x40, 1, 0x7F, 0xFC, 1],
        ],
        20_000,
    );
    // 12.2 kbit/s bandwidth-efficient, 6.60 kbit/s wide-band aligned, two silence descriptions, parameters.
    let (narrow, wide) = ([&[0xF3, 0xC0][..], &[0x5A; 30]].concat(), [&[0xF0, 0x04][..], &[0xA5; 17]].concat());
    let two = [&[0xF0, 0xC4, 0x44][..], &[3; 10]].concat();
    hammer(fuzz::amr, &[narrow, wide, two, b"octet-align=1; mode-set=0,2,4,7; crc=0".to_vec()], 30_000);
}

#[test]
fn text() {
    let a = b"v=0\r\no=1 2 3 IN IP4 1.2.3.4\r\ns=Play\r\nc=IN IP4 1.2.3.4\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=rtcp:4001 IN IP4 1.1.1.1\r\nm=video 15060 TCP/RTP/AVP 96\r\na=rtpmap:96 PS/90000\r\na=fmtp:96 x=y\r\na=setup:active\r\ny=0200000137\r\nf=v/2/6\r\n";
    hammer(fuzz::sdp, &[a.to_vec()], 10_000);
}

#[test]
fn video() {
    let annexb = [
        &[
            0, 0, 0, 1, 0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0, 0, 3, 0, 4, 0,
            0, 3, 0, 0xc8, 0x3c, 0x60, 0xc6, 0x58,
        ][..],
        &[
            0, 0, 1, 0x68, 0xEB, 0, 0, 1, 6, 5, 2, 1, 1, 6, 1, 0xC0, 0x80, 0, 0, 1, 0x65, 0x88, 1, 2, 0, 0, 1, 0x41,
            0x9A, 3,
        ],
    ]
    .concat();
    let sps = annexb[4..31].to_vec();
    let hevc = vec![
        0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x78,
        0xa0, 0x03, 0xc0, 0x80, 0x10, 0xe5, 0x96, 0x66, 0x69, 0x24, 0xca, 0xe0, 0x10,
    ];
    let rtp = vec![
        1, 0x7C, 0x85, 1, 2, 3, 4, 5, 6, 7, 0, 0x7C, 5, 1, 2, 3, 4, 5, 6, 1, 0x78, 0, 2, 0x68, 1, 0, 2, 0x65, 0x88, 0,
        0x7C, 0x45, 1, 1,
    ];
    hammer(fuzz::h264, &[annexb, sps, hevc, rtp], 30_000);
    hammer(fuzz::vp8, &[vec![1, 0x90, 0x80, 0x81, 2, 0x10, 2, 0, 0x9D, 1, 0x2A, 1, 0x10, 0x10, 1, 2, 3]], 20_000);
}
