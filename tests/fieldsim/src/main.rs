//! The simulated field: GB/T 28181 cameras, SIP phones and radio gateways that speak the real protocols on real sockets.
//! Uses nothing of the gateway. README.md says what it does and how to read the frame code.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod cast;
mod catalog;
mod code_strip;
mod control;
mod device;
mod digest;
mod dome;
mod ear;
mod elementary;
mod encoder;
mod faults;
mod font;
mod g711;
mod h265;
mod history;
mod invite;
mod jpeg;
mod link;
mod media_out;
mod memory;
mod notifier;
mod odd;
mod odd_device;
mod options;
mod painter;
mod phone;
mod phone_call;
mod phone_in;
mod phone_media;
mod pose_strip;
mod ps;
mod ptz;
mod radio;
mod radio_air;
mod register;
mod report;
mod requests;
mod rtp;
mod scenery;
mod sdp;
mod session;
mod shape;
mod sip_text;
mod snapshot;
mod sound;
mod speaker;
mod talk;
mod tape;
mod tree;
mod ts;
mod ua;
mod uri;
mod wav;
mod xml;

use std::io::{Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Parser;
use options::{CameraSpec, Cli, Command, FieldArgs, PhoneSpec};
use session::Channel;
use tokio::sync::watch;

/// For clap: keeps the text, refuses an unknown fault at once.
pub fn faults_arg(text: &str) -> Result<String, String> {
    faults::Faults::try_from(vec![text.to_string()]).map(|_| text.to_string())
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    report::use_json(cli.field.json);
    let outcome = match cli.command {
        Some(Command::Read { width, height }) => read(width, height),
        _ => field(cli),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("fieldsim: {why}");
            ExitCode::FAILURE
        }
    }
}

/// `fieldsim read`: raw gray pictures on stdin.
fn read(width: usize, height: usize) -> Result<(), String> {
    if width < 96 || height < 18 {
        return Err("a picture must be at least 96x18".into());
    }
    let mut picture = vec![0u8; width * height];
    let mut input = std::io::stdin().lock();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    while input.read_exact(&mut picture).is_ok() {
        let line = match code_strip::read(&picture, width, width, height) {
            Some((frame, camera)) => format!("{frame},{camera}"),
            None => "-".into(),
        };
        if writeln!(out, "{line}").is_err() {
            break;
        }
    }
    Ok(())
}

const TONES: [f64; 8] = [440.0, 554.0, 659.0, 880.0, 988.0, 1109.0, 1319.0, 1568.0];

fn channels(spec: &CameraSpec, epoch: Instant) -> Result<Vec<Arc<Channel>>, String> {
    let size = spec.dimensions()?;
    let bitrate = spec.bits_per_second()?;
    let sub = if spec.sub.is_empty() {
        None
    } else {
        Some(CameraSpec { size: spec.sub.clone(), ..spec.clone() }.dimensions()?)
    };
    let list = spec.channel_list().into_iter().enumerate();
    list.map(|(n, (id, name))| {
        let index = spec.index.wrapping_add(n as u8) & 15;
        let usual = TONES.get(usize::from(index.wrapping_sub(1)) % TONES.len()).copied().unwrap_or(440.0);
        let hertz = spec.tone.filter(|_| n == 0).unwrap_or(usual);
        let sound = match spec.audio.as_str() {
            "none" => sound::Sound::None,
            "g729" => sound::Sound::g729(hertz)?,
            "g723" => sound::Sound::named_only(ps::STREAM_G7231),
            "svac" => sound::Sound::named_only(ps::STREAM_SVAC_AUDIO),
            "aac" => sound::Sound::aac(hertz).unwrap_or_else(|why| {
                report::say(&format!("camera {id} sends G.711 in place of AAC: {why}"));
                sound::Sound::Alaw { hertz }
            }),
            _ => sound::Sound::Alaw { hertz },
        };
        let latin: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || " .-".contains(*c)).collect();
        Ok(Arc::new(Channel {
            device: spec.id.clone(),
            label: format!("{} {id}", latin.trim()).trim().to_string(),
            id,
            index,
            size,
            fps: spec.fps.clamp(1, 60),
            gop: spec.gop,
            bitrate,
            h265: spec.codec == "h265",
            sub_size: sub,
            sound,
            scenery: scenery::Scenery::shared(size.0, size.1, index),
            dome: Mutex::new(dome::Dome::new()),
            want_key: AtomicBool::new(false),
            leak: Mutex::default(),
            epoch,
        }))
    })
    .collect()
}

fn field(cli: Cli) -> Result<(), String> {
    let args = cli.field.clone();
    let server = args.server.to_socket_addrs().map_err(|e| format!("server {}: {e}", args.server))?.next();
    let server = server.ok_or(format!("server {} has no address", args.server))?;
    let cast::FieldFile { cameras, phones, radios } = cast::cast(cli)?;
    let epoch = Instant::now();
    let mut ready = Vec::new();
    for spec in cameras {
        let list = channels(&spec, epoch).map_err(|e| format!("camera {}: {e}", spec.id))?;
        ready.push((spec, list));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    let outcome = runtime.block_on(run(args, server, ready, phones, radios));
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

async fn run(
    args: FieldArgs,
    server: SocketAddr,
    cameras: Vec<(CameraSpec, Vec<Arc<Channel>>)>,
    phones: Vec<PhoneSpec>,
    radios: Vec<radio::RadioSpec>,
) -> Result<(), String> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|e| format!("no signal handler: {e}"))?;
    let (stop, stopped) = watch::channel(false);
    let mut tasks = tokio::task::JoinSet::new();
    for (spec, list) in cameras {
        tasks.spawn(device::run(spec, args.clone(), server, list, stopped.clone()));
    }
    for phone in phones {
        tasks.spawn(phone::run(phone, args.clone(), server, stopped.clone()));
    }
    for spec in radios {
        tasks.spawn(radio::run(spec, args.clone(), server, stopped.clone()));
    }
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        () = async { while tasks.join_next().await.is_some() {} } => return Ok(()),
    }
    let _ = stop.send(true);
    // Everything must be gone within a second.
    let _ =
        tokio::time::timeout(Duration::from_millis(900), async { while tasks.join_next().await.is_some() {} }).await;
    Ok(())
}
