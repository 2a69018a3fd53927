//! Captures: the SIP messages and the RTP of one stream, for a bounded time, as a pcapng file that Wireshark and tshark read.
//!
//! While nobody captures, a SIP message costs one atomic load and a batch of RTP another. Packets are handed to a thread of the
//! capture through a queue of fixed length; what does not fit is counted and left out, so media never waits for the disk.

pub mod mask;
pub mod pcapng;

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use dashmap::DashMap;
use media_hub::{Fault, StreamId, Whose};
use serde::{Deserialize, Serialize};

use crate::device::{ChannelId, Timestamp};
pub use pcapng::Proto;
use pcapng::{Line, Writer};

/// Packets that may wait for the disk.
const QUEUE: usize = 8_192;
/// Captures that are listed.
const LISTED: usize = 1_000;

/// Bounds of captures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureLimits {
    /// Seconds of a capture for which nobody says how long, and at most.
    pub seconds: u32,
    pub most_seconds: u32,
    /// Bytes of one capture.
    pub bytes: u64,
    /// Bytes of all: the oldest are deleted beyond.
    pub total_bytes: u64,
    /// Days after which one is deleted; 0: never.
    pub keep_days: u32,
    /// At the same time.
    pub at_once: usize,
}

impl Default for CaptureLimits {
    fn default() -> Self {
        CaptureLimits {
            seconds: 60,
            most_seconds: 600,
            bytes: 64 << 20,
            total_bytes: 1 << 30,
            keep_days: 14,
            at_once: 4,
        }
    }
}

/// One capture, running or done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    pub id: String,
    pub stream: String,
    pub running: bool,
    pub started_at: Timestamp,
    /// When it ends at the latest; when it ended.
    pub until: Timestamp,
    pub bytes: u64,
    /// SIP messages, RTP and RTCP packets in it.
    pub messages: u64,
    pub packets: u64,
    /// Packets that the disk was too slow for.
    pub dropped: u64,
    /// Why it ended: `time`, `size`, `stopped`, `shutdown`, `disk`; empty while it runs.
    pub ended: String,
}

struct Record {
    at: SystemTime,
    line: Line,
    /// Bytes before the content: the length in front of a packet over TCP.
    framed: bool,
    sip: bool,
    data: Vec<u8>,
}

/// A capture that runs; packets are put in without waiting.
pub struct Running {
    info: Mutex<Capture>,
    queue: SyncSender<Record>,
    stop: AtomicBool,
    dropped: AtomicU64,
}

impl Running {
    fn put(&self, record: Record) {
        if self.queue.try_send(record).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One RTP or RTCP packet. Over TCP it is written behind its length (RFC 4571), however it came.
    pub fn media(&self, proto: Proto, sent: bool, local: SocketAddr, peer: SocketAddr, data: &[u8]) {
        let line = Line { proto, sent, local, peer };
        self.put(Record { at: SystemTime::now(), line, framed: proto == Proto::Tcp, sip: false, data: data.to_vec() });
    }
}

struct Inner {
    directory: Option<PathBuf>,
    limits: CaptureLimits,
    running: DashMap<StreamId, Arc<Running>>,
    active: AtomicUsize,
    /// Held while one begins, so that two cannot exceed the limits together.
    gate: Mutex<()>,
    serial: AtomicU64,
}

/// All captures. Clones are one.
#[derive(Clone)]
pub struct Captures(Arc<Inner>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The order cannot be carried out now.
pub fn too_many(limit: usize) -> Fault {
    Fault::new(
        "too_many_captures",
        Whose::You,
        true,
        format!("同时进行的抓包已达上限 {limit}，或该画面正在抓包"),
        format!("The limit of {limit} captures at once is reached, or this stream is being captured"),
    )
    .next("先停止别的抓包", "Stop another capture first")
}

/// The disk refused.
pub fn failed(why: &str) -> Fault {
    Fault::new(
        "capture_failed",
        Whose::Us,
        true,
        "抓包文件写入失败",
        format!("The capture could not be written: {why}"),
    )
    .next("检查数据目录所在磁盘", "Check the disk of the data directory")
}

impl Captures {
    /// Files go to `directory`; none: captures are refused.
    pub fn new(directory: Option<PathBuf>, limits: CaptureLimits) -> Captures {
        let captures = Captures(Arc::new(Inner {
            directory,
            limits,
            running: DashMap::new(),
            active: AtomicUsize::new(0),
            gate: Mutex::default(),
            serial: AtomicU64::new(0),
        }));
        captures.tidy();
        captures
    }

    /// Captures are refused.
    pub fn none() -> Captures {
        Captures::new(None, CaptureLimits::default())
    }

    pub fn limits(&self) -> &CaptureLimits {
        &self.0.limits
    }

    /// The capture of a stream, if one runs. One atomic load while none does.
    pub fn of(&self, stream: &StreamId) -> Option<Arc<Running>> {
        if self.0.active.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.0.running.get(stream).map(|r| r.clone())
    }

    /// Begins one: SIP messages that name the stream's device or channel, and its media.
    pub fn start(&self, sip: &sip::Sip, stream: &StreamId, seconds: Option<u32>) -> Result<Capture, Fault> {
        let Some(directory) = &self.0.directory else { return Err(failed("there is no directory for captures")) };
        let limits = &self.0.limits;
        let _gate = lock(&self.0.gate);
        if self.0.running.len() >= limits.at_once || self.0.running.contains_key(stream) {
            return Err(too_many(limits.at_once));
        }
        std::fs::create_dir_all(directory).map_err(|e| failed(&e.to_string()))?;
        let seconds = seconds.unwrap_or(limits.seconds).clamp(1, limits.most_seconds);
        let now = Timestamp::now();
        let id = format!("{}-{:04}", now.0, self.0.serial.fetch_add(1, Ordering::Relaxed) % 10_000);
        let info = Capture {
            id: id.clone(),
            stream: stream.to_string(),
            running: true,
            started_at: now,
            until: now.plus_seconds(seconds),
            bytes: 0,
            messages: 0,
            packets: 0,
            dropped: 0,
            ended: String::new(),
        };
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path(directory, &id, "pcapng"));
        let file = file.map_err(|e| failed(&e.to_string()))?;
        let (queue, records) = sync_channel(QUEUE);
        let running = Arc::new(Running {
            info: Mutex::new(info.clone()),
            queue,
            stop: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        });
        let channel = ChannelId(stream.as_str().to_owned());
        let device = channel.device();
        let names: Vec<Vec<u8>> =
            [device.name(), channel.name()].iter().filter(|n| n.len() >= 3).map(|n| n.as_bytes().to_vec()).collect();
        let seen = running.clone();
        let tap = sip.tap(Arc::new(move |m: &sip::Tapped<'_>| {
            if names.iter().any(|n| named(m.data, n)) {
                let proto = if m.transport == sip::Transport::Udp { Proto::Udp } else { Proto::Tcp };
                let line = Line { proto, sent: m.sent, local: m.local, peer: m.peer };
                seen.put(Record { at: SystemTime::now(), line, framed: false, sip: true, data: m.data.to_vec() });
            }
        }));
        let (all, key) = (self.clone(), stream.clone());
        self.0.running.insert(stream.clone(), running.clone());
        self.0.active.fetch_add(1, Ordering::Relaxed);
        let until = Instant::now() + Duration::from_secs(u64::from(seconds));
        let spawned = std::thread::Builder::new().name("capture".into()).spawn(move || {
            let ended = write(file, &running, &records, until, all.0.limits.bytes);
            drop(tap);
            all.finish(&key, &running, ended);
        });
        if let Err(e) = spawned {
            self.0.running.remove(stream);
            self.0.active.fetch_sub(1, Ordering::Relaxed);
            return Err(failed(&e.to_string()));
        }
        Ok(info)
    }

    fn finish(&self, stream: &StreamId, running: &Running, ended: &'static str) {
        self.0.running.remove(stream);
        self.0.active.fetch_sub(1, Ordering::Relaxed);
        let mut info = lock(&running.info);
        info.running = false;
        info.until = Timestamp::now();
        info.dropped = running.dropped.load(Ordering::Relaxed);
        info.ended = ended.to_owned();
        tracing::info!(stream = %stream, id = info.id, ended, packets = info.packets, "a capture has ended");
        if let Some(directory) = &self.0.directory
            && let Ok(text) = serde_json::to_vec(&*info)
            && let Err(error) = std::fs::write(path(directory, &info.id, "json"), text)
        {
            tracing::warn!(%error, "a capture's facts could not be written");
        }
        drop(info);
        self.tidy();
    }

    /// Ends a capture early; false when none of that id runs.
    pub fn stop(&self, id: &str) -> bool {
        let found = self.0.running.iter().find(|r| lock(&r.info).id == id).map(|r| r.clone());
        found.inspect(|r| r.stop.store(true, Ordering::Relaxed)).is_some()
    }

    /// Ends all, as the gateway ends; waits at most a second for their files.
    pub fn end(&self) {
        for running in &self.0.running {
            running.stop.store(true, Ordering::Relaxed);
        }
        let until = Instant::now() + Duration::from_secs(1);
        while !self.0.running.is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Running ones and those on the disk, newest first. Reads the disk.
    pub fn list(&self) -> Vec<Capture> {
        let mut all: Vec<Capture> = self.0.running.iter().map(|r| self.shown(&r)).collect();
        all.extend(self.stored());
        all.sort_by(|a, b| b.id.cmp(&a.id));
        all.dedup_by(|a, b| a.id == b.id);
        all.truncate(LISTED);
        all
    }

    pub fn get(&self, id: &str) -> Option<Capture> {
        self.list().into_iter().find(|c| c.id == id)
    }

    fn shown(&self, running: &Running) -> Capture {
        Capture { dropped: running.dropped.load(Ordering::Relaxed), ..lock(&running.info).clone() }
    }

    fn stored(&self) -> Vec<Capture> {
        let Some(directory) = &self.0.directory else { return Vec::new() };
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let facts = entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json"));
        facts.filter_map(|p| serde_json::from_slice(&std::fs::read(p).ok()?).ok()).collect()
    }

    /// The file of a capture that has ended.
    pub fn file(&self, id: &str) -> Option<PathBuf> {
        let known = id.len() <= 40 && id.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let file = path(self.0.directory.as_ref().filter(|_| known)?, id, "pcapng");
        self.0.running.iter().all(|r| lock(&r.info).id != id).then_some(file).filter(|f| f.is_file())
    }

    /// Deletes one that has ended.
    pub fn delete(&self, id: &str) -> bool {
        let Some(file) = self.file(id) else { return false };
        let _ = std::fs::remove_file(file.with_extension("json"));
        std::fs::remove_file(file).is_ok()
    }

    /// Deletes what is too old or too much, and files that a crash left without their facts. Reads the disk.
    pub fn tidy(&self) {
        let Some(directory) = &self.0.directory else { return };
        let limits = &self.0.limits;
        let running: Vec<String> = self.0.running.iter().map(|r| lock(&r.info).id.clone()).collect();
        let mut files: VecDeque<(String, u64)> = std::fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|e| e.path().extension().is_some_and(|x| x == "pcapng"))
            .filter_map(|e| {
                let id = e.path().file_stem()?.to_str()?.to_owned();
                (!running.contains(&id)).then_some((id, e.metadata().ok()?.len()))
            })
            .collect();
        files.make_contiguous().sort();
        let mut total: u64 = files.iter().map(|f| f.1).sum();
        let oldest =
            if limits.keep_days == 0 { 0 } else { Timestamp::now().0 - i64::from(limits.keep_days) * 86_400_000 };
        while let Some((id, bytes)) = files.pop_front() {
            let born: i64 = id.split('-').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            let orphan = !path(directory, &id, "json").is_file();
            if born < oldest || total > limits.total_bytes || orphan {
                total -= bytes;
                self.delete(&id);
                tracing::info!(id, bytes, "an old capture is deleted");
            }
        }
    }
}

fn path(directory: &Path, id: &str, extension: &str) -> PathBuf {
    directory.join(format!("{id}.{extension}"))
}

/// Whether a message's head holds a name.
fn named(message: &[u8], name: &[u8]) -> bool {
    let head = message.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(message.len());
    message.get(..head).is_some_and(|h| h.windows(name.len()).any(|w| w == name))
}

/// Writes until time, size, order or the end; says which.
fn write(
    file: std::fs::File,
    running: &Running,
    records: &Receiver<Record>,
    until: Instant,
    most: u64,
) -> &'static str {
    let mut file = std::io::BufWriter::new(file);
    let (mut writer, mut out) = (Writer::default(), Vec::new());
    let mut written = 0u64;
    let about = {
        let info = lock(&running.info);
        format!("{} from {}; digest responses and passwords are masked", info.stream, info.started_at)
    };
    pcapng::head(&about, concat!("Skybridge ", env!("CARGO_PKG_VERSION")), &mut out);
    let ended = loop {
        if file.write_all(&out).is_err() {
            break "disk";
        }
        written += out.len() as u64;
        out.clear();
        let left = until.saturating_duration_since(Instant::now());
        let why = if left.is_zero() {
            Some("time")
        } else if written >= most {
            Some("size")
        } else if running.stop.load(Ordering::Relaxed) {
            Some("stopped")
        } else {
            None
        };
        if let Some(why) = why {
            break why;
        }
        match records.recv_timeout(left.min(Duration::from_millis(100))) {
            Ok(mut record) => {
                let comment = if record.sip && mask::mask(&mut record.data) { "secrets are masked" } else { "" };
                if record.framed {
                    let length = (record.data.len().min(0xFFFF) as u16).to_be_bytes();
                    record.data.splice(0..0, length);
                }
                writer.packet(record.at, record.line, &record.data, comment, &mut out);
                let mut info = lock(&running.info);
                info.bytes = written + out.len() as u64;
                if record.sip {
                    info.messages += 1;
                } else {
                    info.packets += 1;
                }
            }
            // So that a capture of a quiet stream can be read while it runs.
            Err(RecvTimeoutError::Timeout) => {
                if file.flush().is_err() {
                    break "disk";
                }
            }
            Err(RecvTimeoutError::Disconnected) => break "shutdown",
        }
    };
    let dropped = running.dropped.load(Ordering::Relaxed);
    let seen = {
        let info = lock(&running.info);
        info.messages + info.packets + dropped
    };
    out.clear();
    pcapng::statistics(SystemTime::now(), seen, dropped, &mut out);
    if file.write_all(&out).and_then(|()| file.flush()).is_err() { "disk" } else { ended }
}

#[cfg(test)]
mod tests;
