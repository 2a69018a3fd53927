//! The measurements.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::camera::{Camera, Feed, Sent};
use crate::clip::{Clip, FPS};
use crate::gateway::Gateway;
use crate::limit::{self, Relay};
use crate::process::{self, Program};
use crate::stats::{Spread, Table, median};
use crate::udp::{self, Inbox};
use crate::viewer::{Crowd, Seen, Viewer};
use crate::{Options, Places, Res};

const CAMERA: &str = "34020000001320000001";
const CAMERA_WITHOUT_MARKER: &str = "34020000001320000002";

fn feed(clip: &Arc<Clip>, base: Instant, phase_ms: u64, marker: bool, places: Places) -> Feed {
    Feed {
        clip: clip.clone(),
        sent: Sent::new(),
        base,
        phase: Duration::from_millis(phase_ms),
        marker,
        cpu: places.bench,
    }
}

/// Share of all processors' time that went to programs other than ours, and to the machine beneath.
struct Others {
    busy: f64,
    stolen: f64,
    at: Instant,
    cpus: f64,
}

impl Others {
    fn begin() -> Others {
        let (busy, stolen) = process::machine_busy();
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).max(1);
        // The bench is pinned to one of them: ask how many there are.
        let all = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default().matches("processor\t").count();
        Others { busy, stolen, at: Instant::now(), cpus: all.max(cpus) as f64 }
    }

    /// Percent of the machine, without `ours` seconds of CPU.
    fn end(&self, ours: f64) -> (f64, f64) {
        let (busy, stolen) = process::machine_busy();
        let wall = self.at.elapsed().as_secs_f64() * self.cpus;
        ((busy - self.busy - ours).max(0.0) / wall * 100.0, (stolen - self.stolen) / wall * 100.0)
    }
}

/// Milliseconds from sending a picture's last packet to the arrival of its first and its last.
fn delays(arrivals: impl Iterator<Item = (u32, u64, u64)>, sent: &Sent) -> (Vec<f64>, Vec<f64>) {
    let ms = |from: u64, to: u64| (to as f64 - from as f64) / 1e6;
    arrivals.filter_map(|(number, first, last)| sent.of(number).map(|at| (ms(at, first), ms(at, last)))).unzip()
}

/// 1. The gateway's own delay.
pub fn delay(options: &Options, places: Places, clip: &Arc<Clip>) -> Res<Value> {
    let seconds = if options.quick { 6 } else { 20 };
    let gateway = Gateway::start(&options.gateway, &options.out, places.gateway)?;
    let base = Instant::now();
    let with = Camera::start(CAMERA, gateway.sip, feed(clip, base, 0, true, places))?;
    let without = Camera::start(CAMERA_WITHOUT_MARKER, gateway.sip, feed(clip, base, 13, false, places))?;
    let mut client = gateway.client();
    let crowd = Crowd::start(places.bench)?;
    for camera in [&with, &without] {
        gateway.knows(&format!("gb28181:{}", camera.id))?;
        crowd.add(Viewer::join(&mut client, &camera.stream(), true)?);
    }
    if !crowd.ready(Duration::from_secs(20)) {
        return Err(format!(
            "no picture: {}",
            gateway.call("GET", &format!("/api/v1/streams/{}/trace", crate::gateway::encode(&with.stream())), None)?
        )
        .into());
    }
    // The same bytes by a bare relay, a third of a frame time away from both.
    let relayed = feed(clip, base, 26, true, places);
    let catcher = udp::open()?;
    let relay = Relay::start(catcher.local_addr()?, places.gateway)?;
    let stop = Arc::new(AtomicBool::new(false));
    let sender = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let (own, target, flag) = (relayed.clone(), relay.at, stop.clone());
    let sending =
        std::thread::Builder::new().name("relay feed".into()).spawn(move || own.run(&sender, target, 7, &flag))?;

    // The burst at the join is not the steady state.
    std::thread::sleep(Duration::from_secs(3));
    crowd.with(|all| all.iter_mut().for_each(|v| v.arrivals.clear()));
    let mut inbox = Inbox::default();
    while inbox.fill(&catcher) > 0 {}
    let before = crowd.seen();
    let (others, cpu) = (Others::begin(), process::cpu_exact(gateway.pid()));
    let waited = process::cpu_waited(gateway.pid());
    let mine = process::cpu_exact(std::process::id());
    let mut direct: Vec<(u32, u64, u64)> = Vec::new();
    // Frame numbers of the relay come from the time stamp: number * 3600.
    let mut open: Option<(u32, u64)> = None;
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        if !udp::readable(&catcher, 50) {
            continue;
        }
        for i in 0..inbox.fill(&catcher) {
            let Some((data, _, at)) = inbox.get(i) else { continue };
            let Some(stamp) = data.get(4..8) else { continue };
            let number = u32::from_be_bytes([stamp[0], stamp[1], stamp[2], stamp[3]]) / 3600;
            if open.is_none_or(|(n, _)| n != number) {
                open = Some((number, at));
            }
            if data[1] & 0x80 != 0
                && let Some((_, first)) = open
            {
                direct.push((number, first, at));
            }
        }
    }
    stop.store(true, Relaxed);
    let _ = sending.join();
    let ours = process::cpu_exact(gateway.pid()) - cpu;
    let waited = process::cpu_waited(gateway.pid()) - waited;
    let mine = process::cpu_exact(std::process::id()) - mine;
    let (busy, stolen) = others.end(ours + mine);
    let after = crowd.seen();

    let mut table = Table::new(&[
        "path",
        "frames",
        "first p50 ms",
        "p95",
        "p99",
        "max",
        "last p50 ms",
        "p99",
        "max",
        "lost packets",
    ]);
    let mut found = json!({"seconds": seconds, "others_percent": busy, "stolen_percent": stolen, "gateway_waited_for_cpu_s": waited});
    let mut put = |name: &str, first: Vec<f64>, last: Vec<f64>, lost: u64| {
        let (f, l) = (Spread::of(first), Spread::of(last));
        let t = |v: f64| format!("{v:.3}");
        table.row(vec![
            name.into(),
            f.n.to_string(),
            t(f.p50),
            t(f.p95),
            t(f.p99),
            t(f.max),
            t(l.p50),
            t(l.p99),
            t(l.max),
            lost.to_string(),
        ]);
        found[name] = json!({"first_ms": f.json(), "last_ms": l.json(), "lost_packets": lost});
        f
    };
    let (first, last) = delays(direct.into_iter(), &relayed.sent);
    let bare = put("bare UDP relay (limit)", first, last, 0);
    let names = ["gateway", "gateway, camera sets no marker"];
    let mut medians = Vec::new();
    for (n, camera) in [&with, &without].into_iter().enumerate() {
        let arrivals = crowd.with(|all| all.get(n).map(|v| v.arrivals.clone()).unwrap_or_default());
        let (first, last) = delays(arrivals.iter().map(|a| (a.number, a.first, a.last)), &camera.feed.sent);
        let lost = after.get(n).map_or(0, Seen::lost) - before.get(n).map_or(0, Seen::lost);
        let spread = put(names.get(n).copied().unwrap_or_default(), first, last, lost);
        medians.push(spread);
    }
    table.print(&format!(
        "1. The gateway's own delay: last packet of a frame sent, until arrival at the viewer ({seconds} s, {})",
        clip.describe()
    ));
    if let Some(own) = medians.first() {
        println!(
            "\nratio to the limit: p50 {:.1}, p99 {:.1}. Others used {busy:.0} % of the machine, {stolen:.0} % stolen; the gateway's threads waited {waited:.2} s for the processor",
            own.p50 / bare.p50,
            own.p99 / bare.p99
        );
        found["ratio_p50"] = json!(own.p50 / bare.p50);
        found["ratio_p99"] = json!(own.p99 / bare.p99);
    }
    Ok(found)
}

fn total(seen: &[Seen], of: impl Fn(&Seen) -> u64) -> u64 {
    seen.iter().map(of).sum()
}

/// 2 and 5. CPU and memory per viewer.
pub fn viewers(options: &Options, places: Places, clip: &Arc<Clip>) -> Res<Value> {
    let seconds = if options.quick { 4 } else { 10 };
    let counts: Vec<usize> = options.viewers.clone();
    let (mut runs, mut tables) = (Vec::new(), Vec::new());
    for run in 0..options.runs() {
        let gateway = Gateway::start(&options.gateway, &options.out, places.gateway)?;
        let camera = Camera::start(CAMERA, gateway.sip, feed(clip, Instant::now(), 0, true, places))?;
        gateway.knows(&format!("gb28181:{CAMERA}"))?;
        let crowd = Crowd::start(places.bench)?;
        let mut client = gateway.client();
        let mut rows = Vec::new();
        for count in &counts {
            let missing = count.saturating_sub(crowd.with(|all| all.len()));
            for _ in 0..missing {
                crowd.add(Viewer::join(&mut client, &camera.stream(), false)?);
            }
            if !crowd.ready(Duration::from_secs(30)) {
                let seen = crowd.seen();
                let standing = seen.iter().filter(|s| s.connected).count();
                let seeing = seen.iter().filter(|s| s.pictures > 0).count();
                return Err(format!("{count} viewers: {standing} connected, {seeing} see pictures").into());
            }
            // The replay of the group and its repairs are over.
            std::thread::sleep(Duration::from_secs(3));
            rows.push(steady(&gateway, &crowd, &camera, *count, seconds)?);
        }
        let dropped: Vec<Value> = rows.iter().map(|r| r["lost"].clone()).collect();
        println!(
            "run {}: CPU {:?}, lost {dropped:?}",
            run + 1,
            rows.iter().map(|r| r["cpu_percent"].as_f64().unwrap_or(0.0).round()).collect::<Vec<_>>()
        );
        drop(crowd);
        drop(camera);
        drop(gateway);
        let time = Duration::from_secs(if options.quick { 2 } else { 4 });
        for (row, count) in rows.iter_mut().zip(&counts) {
            let paced = limit::sealed(clip, *count, time, true, places.gateway, places.bench)?;
            row["limit_cpu_per_viewer_s"] = json!(paced.cpu_s / (*count as f64 * paced.wall_s));
            row["limit_packets"] = json!(paced.packets);
            row["limit_arrived"] = json!(paced.arrived);
        }
        let fast = limit::sealed(clip, 100, time, false, places.gateway, places.bench)?;
        runs.push(json!({"rows": rows, "limit_flat_out_packets_per_cpu_s": fast.packets as f64 / fast.cpu_s}));
        tables.push(rows);
    }
    let over = |n: usize, key: &str| median(&tables.iter().filter_map(|t| t.get(n)?[key].as_f64()).collect::<Vec<_>>());
    let sum = |n: usize, key: &str| tables.iter().filter_map(|t| t.get(n)?[key].as_f64()).sum::<f64>();
    let mut table = Table::new(&[
        "viewers",
        "Mbit/s out",
        "packets/s",
        "CPU %",
        "CPU ms per viewer-s",
        "limit",
        "ratio",
        "packets per CPU s",
        "frames arrived",
        "lost (all runs)",
        "of it bench",
        "longest gap ms",
        "RSS MiB",
    ]);
    for (n, count) in counts.iter().enumerate() {
        let (own, bare) = (over(n, "cpu_per_viewer_s"), over(n, "limit_cpu_per_viewer_s"));
        table.row(vec![
            count.to_string(),
            format!("{:.1}", over(n, "mbit_out")),
            format!("{:.0}", over(n, "packets_per_s")),
            format!("{:.1}", over(n, "cpu_percent")),
            format!("{:.3}", own * 1000.0),
            format!("{:.3}", bare * 1000.0),
            format!("{:.1}", own / bare),
            format!("{:.0}", over(n, "packets_per_cpu_s")),
            format!("{:.2} %", over(n, "frames_percent")),
            format!("{} of {}", sum(n, "lost"), sum(n, "expected")),
            format!("{}", sum(n, "overflow")),
            format!("{:.0} ({:.0})", over(n, "longest_gap_ms"), over(n, "camera_gap_ms")),
            format!("{:.1}", over(n, "rss") / 1_048_576.0),
        ]);
    }
    table.print(&format!("2. Viewers of one stream ({seconds} s each, median of {} runs; limit: AES-256-GCM and GSO sendmmsg of the same pictures at the same pace)", tables.len()));
    let last = counts.len().saturating_sub(1);
    let (a, b) = (counts.first().copied().unwrap_or(0) as f64, counts.last().copied().unwrap_or(0) as f64);
    let marginal = (over(last, "cpu_percent") - over(0, "cpu_percent")) / 100.0 / (b - a);
    let memory = (over(last, "rss") - over(0, "rss")) / (b - a);
    let bare = over(last, "limit_cpu_per_viewer_s");
    let flat = median(&runs.iter().filter_map(|r| r["limit_flat_out_packets_per_cpu_s"].as_f64()).collect::<Vec<_>>());
    println!(
        "\neach further viewer: {:.3} CPU ms a second ({:.0} viewers a core), {:.1} times the limit; flat out the limit is {flat:.0} packets per CPU s",
        marginal * 1000.0,
        1.0 / marginal,
        marginal / bare
    );
    println!(
        "\n5. memory: {:.0} KiB for each further viewer (resident, from {a:.0} to {b:.0} viewers)",
        memory / 1024.0
    );
    Ok(
        json!({"seconds": seconds, "runs": runs, "marginal_cpu_per_viewer_s": marginal, "viewers_per_core": 1.0 / marginal, "marginal_ratio": marginal / bare,
        "memory_per_viewer_bytes": memory, "limit_flat_out_packets_per_cpu_s": flat}),
    )
}

/// What all have seen when the camera has just sent a frame and all of it has arrived, and the frames sent until then.
fn between_frames(crowd: &Crowd, camera: &Camera) -> (Vec<Seen>, u32) {
    let sent = &camera.feed.sent;
    let (frame, end) = (sent.frames.load(Relaxed), Instant::now() + Duration::from_secs(1));
    while sent.frames.load(Relaxed) == frame && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    let frames = sent.frames.load(Relaxed);
    std::thread::sleep(Duration::from_millis(25));
    sent.longest_gap.store(0, Relaxed);
    (crowd.seen(), frames)
}

fn steady(gateway: &Gateway, crowd: &Crowd, camera: &Camera, count: usize, seconds: u64) -> Res<Value> {
    let pid = gateway.pid();
    let (before, frames) = between_frames(crowd, camera);
    let (others, at) = (Others::begin(), Instant::now());
    let (ticks, exact, threads) = (process::cpu_ticks(pid), process::cpu_exact(pid), process::cpu_by_thread(pid));
    let mine = process::cpu_exact(std::process::id());
    std::thread::sleep(Duration::from_secs(seconds));
    let wall = at.elapsed().as_secs_f64();
    let (ticks, exact) = (process::cpu_ticks(pid) - ticks, process::cpu_exact(pid) - exact);
    let mine = process::cpu_exact(std::process::id()) - mine;
    let camera_gap = camera.feed.sent.longest_gap.load(Relaxed);
    let (busy, stolen) = others.end(exact + mine);
    let (after, now) = between_frames(crowd, camera);
    let (frames, span) = (now - frames, f64::from(now - frames) / FPS as f64);
    let diff = |of: fn(&Seen) -> u64| total(&after, of) - total(&before, of);
    let (packets, bytes, pictures) = (diff(|s| s.packets), diff(|s| s.bytes), diff(|s| s.pictures));
    let by_thread: Vec<Value> = process::cpu_by_thread(pid)
        .into_iter()
        .map(|(name, cpu)| {
            let was = threads.iter().find(|(n, _)| *n == name).map_or(0.0, |(_, c)| *c);
            json!([name, ((cpu - was) / wall * 10_000.0).round() / 100.0])
        })
        .filter(|v| v[1].as_f64().unwrap_or(0.0) >= 0.05)
        .collect();
    Ok(json!({
        "viewers": count,
        "wall_s": wall,
        "cpu_s": exact,
        "cpu_s_by_ticks": ticks,
        "cpu_percent": exact / wall * 100.0,
        "cpu_percent_by_thread": by_thread,
        "cpu_per_viewer_s": exact / (wall * count as f64),
        "packets_per_s": packets as f64 / span,
        "mbit_out": bytes as f64 * 8.0 / span / 1e6,
        "packets_per_cpu_s": packets as f64 / span * wall / exact,
        "frames_percent": pictures as f64 / (f64::from(frames) * count as f64) * 100.0,
        "expected": diff(Seen::expected),
        "lost": diff(Seen::lost),
        "resent": diff(|s| s.resent),
        "doubles": diff(|s| s.doubles),
        "overflow": diff(|s| u64::from(s.overflow)),
        "longest_gap_ms": after.iter().map(|s| s.longest_gap).max().unwrap_or(0) as f64 / 1e6,
        "camera_gap_ms": camera_gap as f64 / 1e6,
        "rss": process::resident(pid),
        "bench_cpu_percent": mine / wall * 100.0,
        "others_percent": busy,
        "stolen_percent": stolen,
    }))
}

/// 3. Joins.
pub fn joins(options: &Options, places: Places, clip: &Arc<Clip>) -> Res<Value> {
    let seconds = if options.quick { 3 } else { 8 };
    let mut runs = Vec::new();
    for _ in 0..options.runs() {
        let gateway = Gateway::start(&options.gateway, &options.out, places.gateway)?;
        let camera = Camera::start(CAMERA, gateway.sip, feed(clip, Instant::now(), 0, true, places))?;
        gateway.knows(&format!("gb28181:{CAMERA}"))?;
        // One viewer keeps the stream; its cost is taken off.
        let crowd = Crowd::start(places.bench)?;
        crowd.add(Viewer::join(&mut gateway.client(), &camera.stream(), false)?);
        if !crowd.ready(Duration::from_secs(20)) {
            return Err("no picture".into());
        }
        std::thread::sleep(Duration::from_secs(2));
        let pid = gateway.pid();
        let idle = process::cpu_exact(pid);
        std::thread::sleep(Duration::from_secs(2));
        let idle = (process::cpu_exact(pid) - idle) / 2.0;
        let cpu = process::cpu_exact(pid);
        let started = Instant::now();
        let failed = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (mut client, stream, failed) = (gateway.client(), camera.stream(), failed.clone());
                std::thread::spawn(move || {
                    udp::pin(places.bench);
                    let mut inbox = Inbox::default();
                    let mut times: Vec<[f64; 3]> = Vec::new();
                    while started.elapsed() < Duration::from_secs(seconds) {
                        let at = Instant::now();
                        let ms = |at: Instant| at.elapsed().as_secs_f64() * 1000.0;
                        let Ok(mut viewer) = Viewer::join(&mut client, &stream, false) else {
                            failed.fetch_add(1, Relaxed);
                            std::thread::sleep(Duration::from_millis(50));
                            continue;
                        };
                        let answered = ms(at);
                        let up = viewer.run(&mut inbox, Duration::from_secs(5), |v| v.seen.connected);
                        let connected = ms(at);
                        let seen = up && viewer.run(&mut inbox, Duration::from_secs(5), |v| v.seen.pictures > 0);
                        let picture = ms(at);
                        viewer.close();
                        if seen {
                            times.push([answered, connected, picture]);
                        } else {
                            failed.fetch_add(1, Relaxed);
                        }
                    }
                    times
                })
            })
            .collect();
        let times: Vec<[f64; 3]> = threads.into_iter().filter_map(|t| t.join().ok()).flatten().collect();
        let wall = started.elapsed().as_secs_f64();
        let spent = process::cpu_exact(pid) - cpu - idle * wall;
        let spread = |n: usize| Spread::of(times.iter().filter_map(|t| t.get(n).copied()).collect());
        let bare = limit::handshake(if options.quick { 50 } else { 200 })?;
        runs.push(json!({
            "joins": times.len(), "failed": failed.load(Relaxed), "wall_s": wall, "cpu_s": spent, "cpu_ms_per_join": spent * 1000.0 / times.len() as f64,
            "joins_per_cpu_s": times.len() as f64 / spent, "joins_per_s": times.len() as f64 / wall, "limit_ms": bare,
            "answered_ms": spread(0).json(), "connected_ms": spread(1).json(), "picture_ms": spread(2).json(),
        }));
    }
    let over = |key: &str| median(&runs.iter().filter_map(|r| r[key].as_f64()).collect::<Vec<_>>());
    let part = |key: &str, of: &str| median(&runs.iter().filter_map(|r| r[key][of].as_f64()).collect::<Vec<_>>());
    let mut table = Table::new(&[
        "joins per CPU s",
        "CPU ms per join",
        "bare DTLS handshake ms (limit)",
        "ratio",
        "joins/s seen",
        "answer p50 / p99 ms",
        "connected p50 / p99 ms",
        "first picture p50 / p99 ms",
        "failed (all runs)",
    ]);
    let pair = |key: &str| format!("{:.1} / {:.1}", part(key, "p50"), part(key, "p99"));
    let failed: u64 = runs.iter().filter_map(|r| r["failed"].as_u64()).sum();
    table.row(vec![
        format!("{:.0}", over("joins_per_cpu_s")),
        format!("{:.2}", over("cpu_ms_per_join")),
        format!("{:.2}", over("limit_ms")),
        format!("{:.1}", over("cpu_ms_per_join") / over("limit_ms")),
        format!("{:.0}", over("joins_per_s")),
        pair("answered_ms"),
        pair("connected_ms"),
        pair("picture_ms"),
        failed.to_string(),
    ]);
    table.print(&format!(
        "3. Joins: offer, ICE, DTLS, group of pictures, good-bye; 4 at a time ({seconds} s, median of {} runs)",
        runs.len()
    ));
    Ok(
        json!({"seconds": seconds, "runs": runs, "joins_per_cpu_s": over("joins_per_cpu_s"), "ratio": over("cpu_ms_per_join") / over("limit_ms")}),
    )
}

/// 4. Glass to glass in Chromium.
pub fn glass(options: &Options, _places: Places, _clip: &Arc<Clip>) -> Res<Value> {
    let seconds = if options.quick { 6 } else { 20 };
    // Chromium needs more than one processor: nothing is pinned here.
    let gateway = Gateway::start(&options.gateway, &options.out, None)?;
    let log = options.out.join("fieldsim.log");
    let mut command = Command::new(&options.fieldsim);
    command.args(["camera", "--id", CAMERA, "--keepalive", "5", "--json", "--server", &gateway.sip.to_string()]);
    let started = udp::wall() / 1_000_000;
    let _field = Program::start(&mut command, &log, None)?;
    gateway.knows(&format!("gb28181:{CAMERA}"))?;
    let result = options.out.join("glass-page.json");
    let _ = std::fs::remove_file(&result);
    let spec = json!({
        "base": format!("http://{}", gateway.http), "token": gateway.token, "stream": format!("gb28181:{CAMERA}/{CAMERA}"), "seconds": seconds,
        "fieldLog": log, "fps": FPS, "startedAt": started, "out": result, "interop": interop(&options.room),
    });
    let mut node = Command::new("node");
    node.arg(options.room.join("glass.mjs")).env("GLASS", spec.to_string());
    let mut page = Program::start(&mut node, &options.out.join("glass.log"), None)?;
    if !page.wait(Duration::from_secs(seconds + 60)) {
        let text = std::fs::read_to_string(options.out.join("glass.log")).unwrap_or_default();
        return Err(format!("glass.mjs: {}", text.lines().rev().take(4).collect::<Vec<_>>().join(" < ")).into());
    }
    let found: Value = serde_json::from_str(&std::fs::read_to_string(&result)?)?;
    let ms = |path: [&str; 2]| format!("{:.0}", found[path[0]][path[1]].as_f64().unwrap_or(f64::NAN));
    let mut table = Table::new(&[
        "frames read",
        "of",
        "p50 ms",
        "p95",
        "p99",
        "max",
        "painted/s",
        "decode ms",
        "jitter buffer ms",
        "black or unread",
    ]);
    let plain = |key: &str| found[key].as_f64().unwrap_or(f64::NAN);
    table.row(vec![
        format!("{}", found["read"]),
        format!("{}", found["due"]),
        ms(["lag", "p50"]),
        ms(["lag", "p95"]),
        ms(["lag", "p99"]),
        ms(["lag", "max"]),
        format!("{:.1}", plain("painted_per_s")),
        format!("{:.1}", plain("decode_ms")),
        format!("{:.1}", plain("jitter_buffer_ms")),
        format!("{}", found["unread"]),
    ]);
    table.print(&format!("4. Glass to glass: fieldsim paints, Chromium's canvas shows ({seconds} s, 640x360)"));
    Ok(found)
}

fn interop(room: &Path) -> String {
    room.join("../tests/interop").display().to_string()
}
