//! One live picture on its way: a thread that paints, encodes, muxes and sends until it is told to stop.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::dome::Dome;
use crate::encoder::H264;
use crate::faults::Faults;
use crate::h265::H265;
use crate::media_out::{Out, Prepared};
use crate::painter::Painter;
use crate::report;
use crate::rtp;
use crate::scenery::Scenery;
use crate::sound::Sound;
use crate::ts::TsMux;

/// What belongs to a channel whether or not it is watched.
pub struct Channel {
    pub device: String,
    pub id: String,
    /// Index in the code strip.
    pub index: u8,
    /// The painted name, Latin only.
    pub label: String,
    pub size: (usize, usize),
    pub fps: u32,
    pub gop: u32,
    pub bitrate: u32,
    pub h265: bool,
    pub sub_size: Option<(usize, usize)>,
    pub sound: Sound,
    pub scenery: Arc<Scenery>,
    pub dome: Mutex<Dome>,
    /// Set by IFrameCmd, taken by the session.
    pub want_key: AtomicBool,
    /// What the loudspeaker gives to the microphone, as samples to come.
    pub leak: Mutex<std::collections::VecDeque<i16>>,
    /// Frame 0 of the free-running counter.
    pub epoch: Instant,
}

pub struct Plan {
    pub channel: Arc<Channel>,
    /// The sub-stream is wanted.
    pub sub: bool,
    pub faults: Faults,
    pub ssrc: u32,
    pub call_id: String,
    pub bind: IpAddr,
    pub prepared: Prepared,
    /// Set for playback and download.
    pub history: Option<crate::history::Wanted>,
    /// For one-off reports and for the end of the stream.
    pub ended: tokio::sync::mpsc::Sender<(String, String)>,
}

/// Ends its thread when dropped.
pub struct Handle {
    stop: Arc<AtomicBool>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

pub fn start(plan: Plan) -> Handle {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let spawned = std::thread::Builder::new().name("picture".into()).spawn(move || {
        let (ended, call_id) = (plan.ended.clone(), plan.call_id.clone());
        if let Err(why) = run(plan, &seen) {
            let _ = ended.blocking_send((call_id, why));
        }
    });
    if let Err(e) = spawned {
        report::say(&format!("no thread for a picture: {e}"));
    }
    Handle { stop }
}

/// Sleeps in short pieces; false when told to stop.
pub fn pause(until: Instant, stop: &AtomicBool) -> bool {
    loop {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}

fn run(plan: Plan, stop: &AtomicBool) -> Result<(), String> {
    let Plan { channel, sub, faults, ssrc, call_id, bind, prepared, history, ended: _ } = plan;
    if let Some(wanted) = history {
        let run = crate::history::Run { channel, faults, ssrc, call_id, bind, prepared, wanted };
        return crate::history::run(run, stop);
    }
    if let Some(seconds) = faults.slow_first
        && !pause(Instant::now() + Duration::from_secs_f64(seconds), stop)
    {
        return Ok(());
    }
    if faults.silent {
        return Ok(());
    }
    let Some(mut out) = Out::open(prepared, bind, ssrc, &faults, stop)? else {
        return Ok(());
    };
    let (width, height) = channel.sub_size.filter(|_| sub).unwrap_or(channel.size);
    let scenery = if (width, height) == channel.size {
        channel.scenery.clone()
    } else {
        Scenery::shared(width, height, channel.index)
    };
    let mut painter = Painter::new(scenery, width, height, channel.index, &channel.label);
    let mut encoder = H264::new(channel.fps as f32, channel.gop, channel.bitrate)?;
    let mut h265 = match channel.h265 {
        true => Some(H265::new((width, height), channel.fps, channel.gop, channel.bitrate)?),
        false => None,
    };
    let shape = faults.shape.clone();
    let mut ts = TsMux::default();
    // Pictures that are in the H.265 encoder, by number.
    let mut inside = std::collections::VecDeque::new();
    let mut held: Option<Vec<u8>> = None;
    let fps = u64::from(channel.fps.max(1));
    let due = |frame: u64| channel.epoch + Duration::from_micros(frame * 1_000_000 / fps);
    let pts = |frame: u64| frame * 90_000 / fps;
    let now = |at: Instant| (at.saturating_duration_since(channel.epoch).as_micros() as u64 * fps).div_ceil(1_000_000);

    let mut frame = now(Instant::now());
    let mut block = channel.sound.first_block(pts(frame));
    let (mut sent, mut keys) = (0u64, 0u64);
    let (mut bits, mut ps) = (Vec::new(), Vec::new());
    let began = Instant::now();
    let mut next_report = began;
    let mut sets = Vec::new();
    channel.want_key.store(true, Ordering::Relaxed);
    let outcome = 'all: loop {
        if !pause(due(frame), stop) {
            break Ok(());
        }
        let at = Instant::now();
        if faults.odd.tcp_closes.is_some_and(|s| out.transport() == "tcp" && (at - began).as_secs_f64() >= s) {
            break Ok(());
        }
        if faults.stop_after.is_some_and(|s| (at - began).as_secs_f64() >= s) {
            break Ok(());
        }
        let pose = channel.dome.lock().unwrap_or_else(std::sync::PoisonError::into_inner).look(at);
        let clock = jiff::Zoned::now().strftime("%H:%M:%S%.3f").to_string();
        painter.paint(frame as u32, &clock, pose);
        bits.clear();
        let want_key = channel.want_key.swap(false, Ordering::Relaxed);
        let encoded = match &mut h265 {
            Some(h265) => {
                inside.push_back(frame);
                h265.encode(&painter.picture, &mut bits)
            }
            None => encoder.encode(&painter.picture, want_key, &mut bits).map(Some),
        };
        let key = match encoded {
            Ok(Some(key)) => key,
            Ok(None) => {
                frame += 1;
                continue;
            }
            Err(e) => break Err(format!("encoder: {e}")),
        };
        let shown = inside.pop_front().unwrap_or(frame);
        if key && faults.no_keyframe {
            // Its parameter sets come with the next picture: a decoder could begin, had it a key frame.
            sets = crate::odd::only_sets(&bits);
        } else {
            if faults.no_keyframe {
                sets.extend_from_slice(&bits);
                bits = std::mem::take(&mut sets);
            }
            let audio = crate::ear::with_leak(&channel, channel.sound.due(&mut block, pts(frame + 1)));
            let (inner, beside): (Vec<_>, Vec<_>) = audio.into_iter().partition(|_| !shape.side_audio);
            let inner: Vec<_> = inner.into_iter().map(|(t, b)| (shape.pts(t, true), b)).collect();
            ps.clear();
            let bare = if faults.odd.no_sps { crate::odd::without_sets(&bits) } else { Vec::new() };
            let named = if channel.h265 { crate::ps::STREAM_H265 } else { crate::ps::STREAM_H264 };
            let pack = crate::ps::Pack {
                pts: shape.pts(pts(shown), false),
                key,
                video: if faults.odd.no_sps { &bare } else { &bits },
                video_type: if faults.odd.svac { crate::ps::STREAM_SVAC } else { named },
                audio_type: channel.sound.stream_type().filter(|_| !shape.side_audio),
                audio: &inner,
                with_map: !faults.no_psm,
                shape: &shape,
            };
            let mut parts: Vec<Vec<u8>> = Vec::new();
            if shape.transport_stream {
                ts.picture(&pack, &mut ps);
                parts.extend(ps.chunks(7 * 188).map(<[u8]>::to_vec));
            } else if shape.elementary {
                parts = crate::elementary::payloads(channel.h265, &bits);
            } else if let (true, Some(mut first)) = (shape.two_in_pack, held.take()) {
                // The second of the pair, without a pack header.
                pack.body(&mut first);
                parts.extend(first.chunks(rtp::MAX_PAYLOAD).map(<[u8]>::to_vec));
            } else {
                pack.write(&mut ps);
                if shape.two_in_pack && !key {
                    held = Some(ps.clone());
                } else if shape.split_headers {
                    let mut body = Vec::new();
                    pack.body(&mut body);
                    parts.push(ps.get(..ps.len() - body.len()).unwrap_or_default().to_vec());
                    parts.extend(body.chunks(rtp::MAX_PAYLOAD).map(<[u8]>::to_vec));
                } else {
                    parts.extend(ps.chunks(rtp::MAX_PAYLOAD).map(<[u8]>::to_vec));
                }
            }
            let elapsed = (at - began).as_secs_f64();
            out.turn(&shape, elapsed);
            let stamp = shape.rtp_stamp(pts(shown));
            if let Err(e) = out.frame(&parts, stamp, Duration::from_micros(1_000_000 / fps)) {
                break Err(e);
            }
            for (t, sound) in beside {
                if let Err(e) = out.side(&sound, (t * 8 / 90) as u32) {
                    break 'all Err(e);
                }
            }
            sent += 1;
            keys += u64::from(key);
        }
        if at >= next_report {
            let bytes = out.octets;
            let (reports, fraction) = out.heard();
            report::event(
                "streaming",
                &channel.id,
                json!({"device": channel.device, "call_id": call_id, "frames": sent, "frame": frame, "keys": keys,
                    "packets": out.packets, "bytes": bytes, "ssrc": ssrc, "transport": out.transport(), "reports": reports, "reported_loss": fraction,
                    "epoch": (jiff::Timestamp::now() - channel.epoch.elapsed()).to_string()}),
            );
            if sent <= 1 {
                report::say(&format!("camera {} sends pictures from number {frame}", channel.id));
            }
            next_report = at + Duration::from_secs(5);
        }
        frame += 1;
        // A picture that is late by more than a second is left out, as a real camera would do.
        let current = now(Instant::now());
        if current > frame + fps {
            report::event("late", &channel.id, json!({"skipped": current - frame}));
            frame = current;
        }
    };
    report::event(
        "stream_ended",
        &channel.id,
        json!({"device": channel.device, "call_id": call_id, "frames": sent, "last_frame": frame.saturating_sub(1),
            "packets": out.packets, "bytes": out.octets, "error": outcome.as_ref().err()}),
    );
    outcome
}

/// The target of a plan, for the reports.
pub fn target_of(prepared: &Prepared) -> Option<SocketAddr> {
    match prepared {
        Prepared::Udp { target, .. } | Prepared::Connect { target } => Some(*target),
        Prepared::Listen { .. } => None,
    }
}
