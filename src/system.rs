//! What the machine and the gateway have left.

use std::sync::Mutex;
use std::time::Instant;

use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use media_hub::StreamState;

/// Load, memory, disk, and what runs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SystemView {
    pub version: &'static str,
    pub started_at: String,
    pub uptime_s: u64,
    /// Of this process; 100 is one core.
    pub cpu_percent: f32,
    pub cores: usize,
    /// Resident.
    pub memory_bytes: u64,
    /// Of the disk that holds the recordings.
    pub disk_free_bytes: u64,
    pub disk_total_bytes: u64,
    pub devices_online: usize,
    pub devices_total: usize,
    pub streams_live: usize,
    pub viewers: usize,
    /// Members with a standing leg.
    pub calls: usize,
    pub recordings_running: usize,
}

/// Measures the process between two looks.
pub struct System {
    started: Instant,
    started_at: bridge_core::Timestamp,
    last: Mutex<(Instant, f64, f32)>,
}

impl Default for System {
    fn default() -> Self {
        System {
            started: Instant::now(),
            started_at: bridge_core::Timestamp::now(),
            last: Mutex::new((Instant::now(), cpu_seconds(), 0.0)),
        }
    }
}

/// User and system time of this process in seconds.
pub fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The program's name may hold spaces: count from behind its closing parenthesis.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    // Linux gives both in hundredths of a second on every architecture.
    (ticks(11) + ticks(12)) / 100.0
}

/// Resident memory of this process in bytes.
pub fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|p| p.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// Streams that come from outside; programs, mixes and conferences are made here of them.
pub fn is_source(stream: &str) -> bool {
    !["program:", "mix:", "conference:", crate::transcoders::PREFIX, media_hub::Fit::prefix()]
        .iter()
        .any(|ours| stream.starts_with(ours))
}

impl System {
    pub fn latest(&self, app: &App) -> SystemView {
        let cpu_percent = {
            let mut last = self.last.lock().unwrap_or_else(|p| p.into_inner());
            let elapsed = last.0.elapsed().as_secs_f64();
            if elapsed >= 1.0 {
                let now = cpu_seconds();
                *last = (Instant::now(), now, ((now - last.1) / elapsed * 100.0) as f32);
            }
            last.2
        };
        let (free, size) = recorder::disk_space(&app.settings.recordings()).unwrap_or_default();
        let (devices_online, devices_total) = app.registry.counts();
        let streams = app.hub.statuses();
        let stats = app.endpoint.stats();
        SystemView {
            version: env!("CARGO_PKG_VERSION"),
            started_at: self.started_at.to_string(),
            uptime_s: self.started.elapsed().as_secs(),
            cpu_percent,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: resident_bytes(),
            disk_free_bytes: free,
            disk_total_bytes: size,
            devices_online,
            devices_total,
            streams_live: streams.iter().filter(|s| s.state == StreamState::Live && is_source(s.id.as_str())).count(),
            viewers: (stats.viewers + stats.two_way) as usize,
            calls: app.conferences.connected(),
            recordings_running: app.recorder.jobs().len(),
        }
    }
}
