//! Processes under measurement: start, stop, CPU time, memory.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Res;

/// A program that ends with this value.
pub struct Program {
    child: Child,
}

impl Program {
    pub fn start(command: &mut Command, log: &Path, cpu: Option<usize>) -> Res<Program> {
        let out = fs::File::create(log)?;
        let err = out.try_clone()?;
        let child = match cpu {
            Some(cpu) => {
                let mut pinned = Command::new("taskset");
                pinned.arg("-c").arg(cpu.to_string()).arg(command.get_program()).args(command.get_args());
                for (name, value) in command.get_envs() {
                    if let Some(value) = value {
                        pinned.env(name, value);
                    } else {
                        pinned.env_remove(name);
                    }
                }
                pinned.stdin(Stdio::null()).stdout(out).stderr(err).spawn()?
            }
            None => command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()?,
        };
        Ok(Program { child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the end, at most so long; then ends it.
    pub fn wait(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.success(),
                Ok(None) => std::thread::sleep(Duration::from_millis(50)),
                Err(_) => return false,
            }
        }
        self.stop();
        false
    }

    fn stop(&mut self) {
        if !self.running() {
            return;
        }
        // SAFETY: a signal to our own child, which has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let end = Instant::now() + Duration::from_secs(8);
        while Instant::now() < end {
            if !self.running() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop();
    }
}

/// CPU seconds of a process by its clock ticks (`/proc/PID/stat`, 10 ms).
pub fn cpu_ticks(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// CPU seconds of a process by the scheduler's nanoseconds, over its living threads.
pub fn cpu_exact(pid: u32) -> f64 {
    let mut sum = 0u64;
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        sum += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    if sum == 0 { cpu_ticks(pid) } else { sum as f64 / 1e9 }
}

/// CPU seconds by thread name, the busiest first.
pub fn cpu_by_thread(pid: u32) -> Vec<(String, f64)> {
    let mut out: Vec<(String, f64)> = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default().trim().to_string();
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let cpu = text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) as f64 / 1e9;
        match out.iter_mut().find(|(n, _)| *n == name) {
            Some((_, sum)) => *sum += cpu,
            None => out.push((name, cpu)),
        }
    }
    out
}

/// Seconds that runnable threads of a process waited for a processor.
pub fn cpu_waited(pid: u32) -> f64 {
    let mut sum = 0u64;
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        sum += text.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    sum as f64 / 1e9
}

/// Resident bytes.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Busy seconds of all processors, and those taken by the machine beneath.
pub fn machine_busy() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let v: Vec<f64> = line.split_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    let at = |n: usize| v.get(n).copied().unwrap_or(0.0) / 100.0;
    (at(0) + at(1) + at(2) + at(5) + at(6), at(7))
}
