//! The sound of a call: speech out in packets of 20 ms, digits by RFC 4733, what comes in to a WAV file.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::sdp::Offer;
use crate::{g711, report, rtp, wav};

const TICK: u64 = 160;
const PAUSE: usize = 16_000;
/// An hour; what is heard later is not kept.
const RECORD_MAX: usize = 8000 * 3600;

pub struct Voice {
    pub user: String,
    pub call_id: String,
    pub socket: UdpSocket,
    pub target: Arc<Mutex<SocketAddr>>,
    /// 8: A-law, 0: mu-law.
    pub payload_type: u8,
    /// Payload type of telephone-event, when the peer has it.
    pub events: Option<u8>,
    pub speech: Arc<Vec<i16>>,
    pub pin: Option<String>,
    pub pin_delay: f64,
    pub record: Option<PathBuf>,
}

/// Ends its thread when dropped, and waits for the recording to be written.
pub struct Sounding {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    pub target: Arc<Mutex<SocketAddr>>,
}

impl Drop for Sounding {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The codec both sides know, own preference first, and the payload type of digits.
pub fn agree(offer: &Offer, prefer: u8) -> Option<(u8, Option<u8>)> {
    if offer.media != "audio" || offer.tcp {
        return None;
    }
    let usable = |t: &u8| matches!(t, 0 | 8);
    let codec =
        offer.formats.iter().copied().find(|t| *t == prefer).or_else(|| offer.formats.iter().copied().find(usable));
    codec.map(|c| (c, offer.events))
}

pub fn start(voice: Voice) -> Sounding {
    let stop = Arc::new(AtomicBool::new(false));
    let (seen, target) = (stop.clone(), voice.target.clone());
    let thread = std::thread::Builder::new().name("voice".into()).spawn(move || run(voice, &seen)).ok();
    Sounding { stop, thread, target }
}

enum Step {
    Silence(u32),
    Digit(u8),
}

/// RFC 4733 event code.
fn event_code(digit: char) -> Option<u8> {
    match digit {
        '0'..='9' => Some(digit as u8 - b'0'),
        '*' => Some(10),
        '#' => Some(11),
        _ => None,
    }
}

fn script(voice: &Voice) -> VecDeque<Step> {
    let mut steps = VecDeque::new();
    if let (Some(pin), Some(_)) = (&voice.pin, voice.events) {
        steps.push_back(Step::Silence((voice.pin_delay * 50.0) as u32));
        for digit in pin.chars().chain(['#']).filter_map(event_code) {
            steps.extend([Step::Digit(digit), Step::Silence(5)]);
        }
        steps.push_back(Step::Silence(50));
    } else if voice.pin.is_some() {
        report::say(&format!("phone {}: the peer has no telephone-event, the PIN cannot be sent", voice.user));
    }
    steps
}

#[derive(Default)]
struct Heard {
    samples: Vec<i16>,
    base: Option<u32>,
    packets: u32,
    sum: f64,
    digits: u32,
}

impl Heard {
    fn take(&mut self, packet: &[u8]) {
        let Some(p) = rtp::parse(packet) else { return };
        let decode = match p.payload_type {
            8 => g711::from_alaw,
            0 => g711::from_ulaw,
            _ => {
                self.digits += 1;
                return;
            }
        };
        self.packets += 1;
        let base = *self.base.get_or_insert(p.timestamp);
        let mut at = p.timestamp.wrapping_sub(base) as usize;
        // A jump of more than 10 s or backwards is a new clock: go on where we are.
        if at > self.samples.len() + 80_000 || at + 8000 < self.samples.len() {
            at = self.samples.len();
            self.base = Some(p.timestamp.wrapping_sub(at as u32));
        }
        if at + p.payload.len() > RECORD_MAX {
            return;
        }
        if self.samples.len() < at + p.payload.len() {
            self.samples.resize(at + p.payload.len(), 0);
        }
        for (slot, byte) in self.samples.iter_mut().skip(at).zip(p.payload) {
            *slot = decode(*byte);
            self.sum += f64::from(*slot) * f64::from(*slot);
        }
    }

    fn rms(&self) -> f64 {
        (self.sum / self.samples.len().max(1) as f64).sqrt()
    }
}

fn run(voice: Voice, stop: &AtomicBool) {
    let encode = if voice.payload_type == 8 { g711::alaw } else { g711::ulaw };
    let mut steps = script(&voice);
    let (mut sequence, base, ssrc): (u16, u32, u32) = (rand::random(), rand::random(), rand::random());
    let (mut tick, mut spoken, mut sent) = (0u64, 0usize, 0u32);
    let (mut first, mut digit_ticks, mut digit_start) = (true, 0u16, 0u32);
    let mut heard = Heard::default();
    let began = Instant::now();
    let mut buffer = [0u8; 2048];
    let mut next_save = began + Duration::from_secs(5);
    while !stop.load(Ordering::Relaxed) {
        let due = began + Duration::from_millis(tick * 20);
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let _ = voice.socket.set_read_timeout(Some(left.max(Duration::from_millis(1))));
            if let Ok((n, _)) = voice.socket.recv_from(&mut buffer) {
                heard.take(buffer.get(..n).unwrap_or(&[]));
                if heard.packets == 1 && n > 12 {
                    report::event("phone_heard", &voice.user, json!({"call_id": voice.call_id}));
                }
            }
        }
        let timestamp = base.wrapping_add((tick * TICK) as u32);
        let target = *voice.target.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut put = |payload_type: u8, marker: bool, timestamp: u32, payload: &[u8]| {
            let _ =
                voice.socket.send_to(&rtp::packet(payload_type, marker, sequence, timestamp, ssrc, payload), target);
            sequence = sequence.wrapping_add(1);
            sent += 1;
        };
        match (steps.front_mut(), voice.events) {
            (Some(Step::Digit(code)), Some(events)) => {
                if digit_ticks == 0 {
                    digit_start = timestamp;
                }
                digit_ticks += 1;
                let over = digit_ticks == 5;
                let duration = (digit_ticks * TICK as u16).to_be_bytes();
                let payload = [*code, if over { 0x8A } else { 0x0A }, duration[0], duration[1]];
                for _ in 0..if over { 3 } else { 1 } {
                    put(events, digit_ticks == 1, digit_start, &payload);
                }
                if over {
                    digit_ticks = 0;
                    steps.pop_front();
                    if steps.iter().all(|s| matches!(s, Step::Silence(_))) {
                        report::event("phone_pin_sent", &voice.user, json!({"call_id": voice.call_id}));
                    }
                }
            }
            (step, _) => {
                let silent = step.is_some();
                if let Some(Step::Silence(left)) = step {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        steps.pop_front();
                    }
                }
                let mut payload = [encode(0); TICK as usize];
                if !silent && !voice.speech.is_empty() {
                    for byte in &mut payload {
                        *byte = encode(voice.speech.get(spoken).copied().unwrap_or(0));
                        spoken = (spoken + 1) % (voice.speech.len() + PAUSE);
                    }
                }
                put(voice.payload_type, first, timestamp, &payload);
                first = false;
            }
        }
        tick += 1;
        if Instant::now() > next_save {
            next_save += Duration::from_secs(5);
            save(&voice, &heard);
            report::event(
                "phone_audio",
                &voice.user,
                json!({"call_id": voice.call_id, "sent": sent, "received": heard.packets, "heard_rms": heard.rms().round()}),
            );
        }
    }
    save(&voice, &heard);
    report::event(
        "phone_media_ended",
        &voice.user,
        json!({"call_id": voice.call_id, "sent": sent, "received": heard.packets, "heard_rms": heard.rms().round(),
            "seconds": began.elapsed().as_secs_f64(), "other_packets": heard.digits}),
    );
}

fn save(voice: &Voice, heard: &Heard) {
    if let Some(path) = &voice.record
        && let Err(e) = wav::write(path, &heard.samples)
    {
        report::say(&format!("phone {}: {}: {e}", voice.user, path.display()));
    }
}
