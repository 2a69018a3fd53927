//! Very many devices: registration, keepalives, a restart with all of them back at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clip::Clip;
use crate::echo::Echo;
use crate::field::{Field, Kind, Pace, Seen};
use crate::gateway::{Extra, Gateway};
use crate::process;
use crate::stats::{Spread, Table};
use crate::udp;
use crate::{Options, Places, Res};

const PASSWORD: &str = "Bench#2026";

/// CPU and memory of the gateway, looked at four times a second beside the load.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<Vec<(f64, u64)>>>,
    pid: u32,
    cpu: f64,
    at: Instant,
}

impl Watch {
    fn begin(pid: u32) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut out = Vec::new();
            let (mut cpu, mut at) = (process::cpu_exact(pid), Instant::now());
            while !flag.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(250));
                let (now, c) = (Instant::now(), process::cpu_exact(pid));
                out.push(((c - cpu) / now.duration_since(at).as_secs_f64(), process::resident(pid)));
                (cpu, at) = (c, now);
            }
            out
        });
        Watch { stop, thread: Some(thread), pid, cpu: process::cpu_exact(pid), at: Instant::now() }
    }

    /// CPU seconds, mean and peak share of a core, highest resident size.
    fn end(mut self) -> (f64, f64, f64, u64) {
        let cpu = process::cpu_exact(self.pid) - self.cpu;
        let mean = cpu / self.at.elapsed().as_secs_f64();
        self.stop.store(true, Relaxed);
        let looks = self.thread.take().and_then(|t| t.join().ok()).unwrap_or_default();
        let peak = looks.iter().map(|l| l.0).fold(0.0, f64::max);
        (cpu, mean, peak, looks.iter().map(|l| l.1).max().unwrap_or(0))
    }
}

fn words(seen: &Seen) -> Value {
    let s = Spread::of(seen.delays.clone());
    json!({"done": seen.done, "seconds": seen.seconds(), "sent": seen.sent, "repeated": seen.repeated, "timed_out": seen.timed_out,
        "challenged": seen.challenged, "put_off_503": seen.put_off, "refused": seen.refused, "questions_answered": seen.answered, "delay_ms": s.json(),
        "busiest_second": seen.per_tenth.chunks(10).map(|c| c.iter().sum::<u32>()).max().unwrap_or(0)})
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

fn online(gateway: &Gateway) -> u64 {
    gateway.call("GET", "/api/v1/system", None).ok().and_then(|v| v["devices_online"].as_u64()).unwrap_or(0)
}

pub fn devices(options: &Options, places: Places, _clip: &Arc<Clip>) -> Res<Value> {
    let count = if options.quick { options.devices.min(5_000) } else { options.devices };
    let keep = Duration::from_secs(if options.quick { 20 } else { 180 });
    let flood = Duration::from_secs(if options.quick { 3 } else { 8 });

    // The limit first: the same messages to a program that only answers.
    let echo = Echo::start(places.gateway)?;
    let mut field = Field::new(count, echo.address, PASSWORD)?;
    let before = echo.cpu();
    let bare = field.run(Kind::Keepalive, &Pace::Round(256), flood, |_| false);
    let bare_cpu = echo.cpu() - before;
    let bare_per_cpu = bare.done as f64 / bare_cpu;
    drop(echo);

    let extra = Extra {
        gb28181: "site_password = \"env:BENCH_GB_PASSWORD\"".into(),
        env: vec![("BENCH_GB_PASSWORD", PASSWORD.into())],
        ..Extra::default()
    };
    let mut gateway = Gateway::start_with(&options.gateway, &options.out, places.gateway, extra)?;
    let (pid, sip) = (gateway.pid(), gateway.sip);
    let port = sip.port()..=sip.port();
    field.server(sip);
    let empty = process::resident(pid);

    // All register, 200 at once, and are asked who they are and what they have.
    let watch = Watch::begin(pid);
    let registered =
        field.run(Kind::Register, &Pace::Window(200), Duration::from_secs(150), |f| f.registered() == count);
    let (cpu, _, _, _) = watch.end();
    let register_rate = registered.done as f64 / registered.seconds();
    let register_per_cpu = registered.done as f64 / cpu;
    // Their catalogs, and then the time that transactions are kept.
    let client = gateway.client();
    drop(client);
    let mut catalogs = 0.0;
    let asked = Instant::now();
    while catalogs < count as f64 && asked.elapsed() < Duration::from_secs(if options.quick { 30 } else { 150 }) {
        field.run(Kind::Register, &Pace::Idle, Duration::from_secs(2), |_| false);
        catalogs = gateway.metric("skybridge_gb28181_catalog_queries_total", "complete");
    }
    let catalog_seconds = asked.elapsed().as_secs_f64();
    field.run(Kind::Register, &Pace::Idle, Duration::from_secs(if options.quick { 5 } else { 40 }), |_| false);
    let full = process::resident(pid);
    let per_device = (full.saturating_sub(empty)) as f64 / count as f64;

    // One keepalive a minute each, for some minutes.
    let (database, drops) = (gateway.database(), udp::dropped(port.clone()));
    let watch = Watch::begin(pid);
    let steady = field.run(Kind::Keepalive, &Pace::Every(Duration::from_secs(60)), keep, |_| false);
    let (steady_cpu, steady_mean, steady_peak, _) = watch.end();
    let written = gateway.database().saturating_sub(database);
    let after = process::resident(pid);
    let steady_online = online(&gateway);

    // As many as it can take.
    let watch = Watch::begin(pid);
    let flooded = field.run(Kind::Keepalive, &Pace::Round(256), flood, |_| false);
    let (flood_cpu, _, _, _) = watch.end();
    let flood_per_cpu = flooded.done as f64 / flood_cpu;
    let steady_drops = udp::dropped(port.clone()) - drops;

    // Power cut. All devices come back within 30 s, then again: all in one instant.
    let mut restarts = Vec::new();
    for (name, spread) in [("within 30 s", 30.0), ("all at once", 0.0)] {
        let ready = gateway.crash_and_restart()?;
        let pid = gateway.pid();
        let known = online(&gateway);
        field.forget();
        let watch = Watch::begin(pid);
        let slots: Vec<f64> = (0..count).map(|n| (n as f64 * 0.618_034).fract() * spread).collect();
        let seen = field.run(
            Kind::Register,
            &Pace::At(&|n| Duration::from_secs_f64(slots[n])),
            Duration::from_secs(120),
            |f| f.registered() == count,
        );
        let (cpu, mean, peak, memory) = watch.end();
        let back = field.registered();
        restarts.push(
            json!({"name": name, "ready_s": ready, "online_at_ready": known, "back": back, "online": online(&gateway),
            "cpu_s": cpu, "mean": mean, "peak": peak, "rss": memory, "kernel_drops": udp::dropped(port.clone()),
            "pushed_back": gateway.metric("skybridge_sip_events_total", "refused_overload"), "seen": words(&seen)}),
        );
    }

    let delays = Spread::of(steady.delays.clone());
    println!("\n6. {count} devices on one core ({} MiB resident when empty)", mib(empty) as u64);
    let mut table = Table::new(&["What", "Gateway", "Limit", "Ratio"]);
    let mut row = |a: &str, b: String, c: String, d: String| table.row(vec![a.into(), b, c, d]);
    row(
        "REGISTER with digest, catalog asked beside it, devices/s",
        format!("{register_rate:.0}"),
        "-".into(),
        "-".into(),
    );
    row("the same, devices per CPU s", format!("{register_per_cpu:.0}"), "-".into(), "-".into());
    row(
        "keepalives as many as it takes, per s",
        format!("{:.0}", flooded.done as f64 / flooded.seconds()),
        format!("{:.0}", bare.done as f64 / bare.seconds()),
        format!("{:.2}", flooded.done as f64 / flooded.seconds() / (bare.done as f64 / bare.seconds())),
    );
    row(
        "keepalives per CPU s",
        format!("{flood_per_cpu:.0}"),
        format!("{bare_per_cpu:.0} (copies five headers into a 200)"),
        format!("{:.2}", flood_per_cpu / bare_per_cpu),
    );
    row(
        &format!("one keepalive a minute each, {} s: share of a core", keep.as_secs()),
        format!("{:.1} % (peak {:.1} %)", steady_mean * 100.0, steady_peak * 100.0),
        format!("{:.1} %", steady.done as f64 / bare_per_cpu / keep.as_secs_f64() * 100.0),
        format!("{:.1}", steady_cpu / (steady.done as f64 / bare_per_cpu)),
    );
    row(
        "answered / repeated / lost",
        format!("{} / {} / {}", steady.done, steady.repeated, steady.timed_out),
        "-".into(),
        "-".into(),
    );
    row(
        "answer p50 / p99 / max ms",
        format!("{:.2} / {:.2} / {:.0}", delays.p50, delays.p99, delays.max),
        "-".into(),
        "-".into(),
    );
    row("memory per device", format!("{:.1} KiB", per_device / 1024.0), "-".into(), "-".into());
    row(
        "memory before and after the keepalives, MiB",
        format!("{:.1} / {:.1}", mib(full), mib(after)),
        "-".into(),
        "-".into(),
    );
    row("database bytes written by keepalives", written.to_string(), "-".into(), "-".into());
    row("on line at the end", format!("{steady_online} of {count}"), "-".into(), "-".into());
    table.print("Devices");
    let mut table = Table::new(&[
        "After a kill -9, all register",
        "Ready s",
        "On line at once",
        "All back s",
        "Back",
        "Busiest second",
        "Repeated",
        "503",
        "Lost by the kernel",
        "CPU mean / peak",
        "MiB",
    ]);
    for r in &restarts {
        let f = |k: &str| r[k].as_f64().unwrap_or(f64::NAN);
        let s = |k: &str| r["seen"][k].as_f64().unwrap_or(f64::NAN);
        table.row(vec![
            r["name"].as_str().unwrap_or_default().into(),
            format!("{:.2}", f("ready_s")),
            format!("{:.0}", f("online_at_ready")),
            format!("{:.1}", s("seconds")),
            format!("{:.0} of {count}", f("back")),
            format!("{:.0}", s("busiest_second")),
            format!("{:.0}", s("repeated")),
            format!("{:.0}", s("put_off_503")),
            format!("{:.0}", f("kernel_drops")),
            format!("{:.0} / {:.0} %", f("mean") * 100.0, f("peak") * 100.0),
            format!("{:.0}", f("rss") / 1_048_576.0),
        ]);
    }
    table.print("Restart");
    Ok(json!({"devices": count, "limit": words(&bare), "limit_cpu_s": bare_cpu, "limit_per_cpu_s": bare_per_cpu,
        "register": words(&registered), "register_cpu_s": cpu, "register_per_s": register_rate, "register_per_cpu_s": register_per_cpu,
        "catalogs": catalogs, "catalog_seconds": catalog_seconds, "rss_empty": empty, "rss_full": full, "bytes_per_device": per_device,
        "keepalive": words(&steady), "keepalive_cpu_s": steady_cpu, "keepalive_core_share": steady_mean, "keepalive_peak": steady_peak, "rss_after": after,
        "database_bytes_written": written, "online": steady_online, "flood": words(&flooded), "flood_per_cpu_s": flood_per_cpu, "kernel_drops": steady_drops,
        "ratio_per_cpu": flood_per_cpu / bare_per_cpu, "restarts": restarts}))
}
