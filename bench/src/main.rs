//! The measuring bench. `bench/run.sh` starts it; `docs/ref/bench.md` tells what it measures and what was seen.
//! Everything stays on 127.0.0.1, is bounded in time, and ends its own programs.

mod camera;
mod clip;
mod echo;
mod field;
mod gateway;
mod limit;
mod many;
mod measure;
mod mixer;
mod process;
mod ps;
mod scale;
mod stats;
mod udp;
mod viewer;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use serde_json::json;

pub type Res<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser, Clone)]
#[command(about = "Measures a gateway of its own on 127.0.0.1 and prints ratios to what this machine can do")]
pub struct Options {
    /// The gateway's program.
    #[arg(long)]
    gateway: PathBuf,
    /// The simulated field's program, for glass to glass.
    #[arg(long)]
    fieldsim: PathBuf,
    /// Where the JSON files go.
    #[arg(long)]
    out: PathBuf,
    /// The folder of glass.mjs.
    #[arg(long)]
    room: PathBuf,
    /// Shorter and fewer runs: shows that the bench works, its figures are not to be published.
    #[arg(long)]
    quick: bool,
    /// Only these: delay, viewers, joins, glass, devices, streams, mixer.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Word for how the programs were built.
    #[arg(long, default_value = "release")]
    profile: String,
    /// Viewer counts.
    #[arg(long, value_delimiter = ',', default_value = "1,10,50,100")]
    viewers: Vec<usize>,
    /// Members of the conference.
    #[arg(long, value_delimiter = ',', default_value = "50,100,200,500")]
    members: Vec<usize>,
    /// Devices that register and stay.
    #[arg(long, default_value_t = 50_000)]
    devices: usize,
    /// Streams of 2 Mbit/s at once.
    #[arg(long, default_value_t = 300)]
    streams: usize,
    /// Priority of the bench and what it starts, as of `nice`: below 0 on a machine that others use too.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    nice: i32,
    /// Runs of each measurement; medians are told.
    #[arg(long)]
    runs: Option<usize>,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|o| o == name)
    }

    fn runs(&self) -> usize {
        self.runs.unwrap_or(if self.quick { 1 } else { 3 })
    }
}

/// The processors: one for what is measured, one for the bench. Both none on a machine with one.
#[derive(Clone, Copy)]
pub struct Places {
    pub gateway: Option<usize>,
    pub bench: Option<usize>,
}

fn machine(options: &Options) -> serde_json::Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .unwrap_or_default()
        .trim_matches([' ', '\t', ':'])
        .to_string();
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_string();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = read("/proc/loadavg").split(' ').next().unwrap_or_default().to_string();
    println!(
        "machine: {cores} processors, {model}, Linux {kernel}; load before the start {load}; {} profile, nice {}",
        options.profile, options.nice
    );
    json!({"processors": cores, "model": model, "kernel": kernel, "load_before": load, "profile": options.profile, "nice": options.nice})
}

fn run(options: &Options) -> Res<bool> {
    if !clip::possible() {
        return Err("ffmpeg is missing".into());
    }
    std::fs::create_dir_all(&options.out)?;
    let machine = machine(options);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let places =
        if cores > 1 { Places { gateway: Some(0), bench: Some(1) } } else { Places { gateway: None, bench: None } };
    if options.nice != 0 {
        // SAFETY: sets the priority of this process only; what it starts inherits it.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, options.nice) };
    }
    udp::pin(places.bench);
    let clip = Arc::new(clip::Clip::encode(2000, 50)?);
    println!("clip: {}", clip.describe());
    let mut whole = true;
    type Measure = fn(&Options, Places, &Arc<clip::Clip>) -> Res<serde_json::Value>;
    let all: [(&str, Measure); 7] = [
        ("delay", measure::delay),
        ("viewers", measure::viewers),
        ("joins", measure::joins),
        ("glass", measure::glass),
        ("devices", scale::devices),
        ("streams", many::streams),
        ("mixer", mixer::mixer),
    ];
    for (name, work) in all {
        if !options.wants(name) {
            continue;
        }
        let started = std::time::Instant::now();
        match work(options, places, &clip) {
            Ok(found) => {
                let text = json!({"measurement": name, "machine": machine, "clip": clip.describe(), "quick": options.quick, "found": found});
                std::fs::write(options.out.join(format!("{name}.json")), serde_json::to_string_pretty(&text)?)?;
                println!("({name}: {:.0} s)", started.elapsed().as_secs_f64());
            }
            Err(error) => {
                println!("\n{name}: NOT MEASURED: {error}");
                whole = false;
            }
        }
    }
    Ok(whole)
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    // Node resolves nothing from a relative path.
    for path in [&mut options.room, &mut options.out] {
        *path = std::path::absolute(&path).unwrap_or_default();
    }
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
