//! The waiting tone of a lobby: two short beeps of 425 Hz every four seconds, as A-law (ITU-T G.711) that the lobby's mixer turns into
//! whatever each phone hears.

use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::{Codec, Frame, TrackId, TrackInfo, g711};
use media_hub::{Hub, StreamId};
use tokio_util::sync::CancellationToken;

const RATE: u32 = 8000;
/// Samples of one packet: 20 ms.
const PACKET: usize = 160;
/// Packets of one round.
const ROUND: usize = 200;
const HERTZ: f32 = 425.0;
/// Peak of the beeps: -12 dB below overload.
const PEAK: f32 = 8200.0;

/// Beeps in packets of a round: from, to.
const BEEPS: [(usize, usize); 2] = [(0, 12), (20, 32)];

pub(super) fn stream(conference: &str) -> StreamId {
    StreamId::new(format!("lobby:{conference}"))
}

/// One round of the tone in packets.
fn round() -> Vec<Bytes> {
    let packet = |n: usize| {
        let beep = BEEPS.iter().find(|(from, to)| (*from..*to).contains(&n));
        let samples = (0..PACKET).map(|i| {
            let Some((from, to)) = beep else { return 0 };
            let at = ((n - from) * PACKET + i) as f32;
            let left = ((to - from) * PACKET) as f32 - at;
            // 5 ms up and down: no clicks.
            let edge = (at.min(left) / 40.0).min(1.0);
            let wave = (std::f32::consts::TAU * HERTZ * at / RATE as f32).sin();
            (wave * edge * PEAK) as i16
        });
        samples.map(g711::alaw_encode).collect::<Bytes>()
    };
    (0..ROUND).map(packet).collect()
}

/// Publishes the tone until it is stopped.
pub(super) fn play(hub: Hub, id: StreamId, stop: CancellationToken) {
    tokio::spawn(async move {
        let track = TrackInfo { id: TrackId::AUDIO, ..TrackInfo::audio(Codec::G711A, RATE, 1) };
        // A lobby that was empty for a moment: the old tone has to end first.
        let publisher = loop {
            match hub.publish(&id, "") {
                Ok(publisher) => break publisher,
                Err(_) => tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(Duration::from_millis(50)) => {}
                },
            }
        };
        publisher.set_tracks(&[track]);
        let packets = round();
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        let mut pts = 0i64;
        for payload in packets.iter().cycle() {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = clock.tick() => {}
            }
            let frame = Frame::new(TrackId::AUDIO, Codec::G711A, pts, true, Instant::now(), payload.clone());
            publisher.write(frame.with_duration(PACKET as u32));
            pts += PACKET as i64;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_beeps_and_a_pause() {
        let packets = round();
        let loud = |p: &Bytes| p.iter().map(|b| g711::alaw_decode(*b).unsigned_abs()).max().unwrap_or(0) > 4000;
        let heard: Vec<usize> = (0..ROUND).filter(|n| loud(&packets[*n])).collect();
        assert_eq!(heard, (0..12).chain(20..32).collect::<Vec<_>>());
        assert!(packets.iter().all(|p| p.len() == PACKET));
    }
}
