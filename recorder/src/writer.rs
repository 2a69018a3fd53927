//! The threads that write. They wait for the disk so that nobody else must.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::tz::TimeZone;
use media_hub::Fault;
use tokio::sync::{mpsc, oneshot};

use crate::disk::file_path;
use crate::mp4::finish::{Summary, finish};
use crate::mp4::init::{Meta, init};
use crate::segmenter::Fragment;
use crate::types::{Settings, WriteHook, disk_error};

/// A file is forced to the disk when it holds bytes older than this.
const SYNC_AFTER: Duration = Duration::from_millis(900);
const TICK: Duration = Duration::from_millis(200);
/// Orders that one thread may have waiting.
const ORDERS: usize = 8192;

/// Figures of one job that its writer keeps.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Bytes that wait for the disk.
    pub queued: AtomicUsize,
    pub written: AtomicU64,
    pub dropped: AtomicU64,
    /// Of the file that grows.
    pub file_bytes: AtomicU64,
    pub file_frames: AtomicU64,
    pub file_ms: AtomicU64,
}

/// A file that was begun.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    pub job: u64,
    pub meta: Meta,
    pub path: String,
    pub has_video: bool,
    pub has_audio: bool,
}

#[derive(Debug)]
pub(crate) enum WriterEvent {
    Begun(Box<Begun>),
    /// None: nothing was in it, the file is gone.
    Finished {
        job: u64,
        id: uuid::Uuid,
        summary: Option<Summary>,
    },
    Failed {
        job: u64,
        fault: Fault,
    },
}

pub(crate) struct Write1 {
    pub job: u64,
    /// Set with the first fragment of a file.
    pub meta: Option<Box<Meta>>,
    pub fragment: Fragment,
    pub counters: Arc<Counters>,
}

pub(crate) enum Order {
    Write(Box<Write1>),
    /// Finishes the job's file.
    Close {
        job: u64,
        done: Option<oneshot::Sender<()>>,
    },
}

/// The writer threads. They end when the pool and all its clones are dropped.
#[derive(Clone)]
pub(crate) struct Pool(Arc<[SyncSender<Order>]>);

impl Pool {
    pub fn start(settings: &Settings, events: mpsc::Sender<WriterEvent>) -> io::Result<Pool> {
        let mut senders = Vec::new();
        for n in 0..settings.writer_threads.clamp(1, 64) {
            let (tx, rx) = sync_channel(ORDERS);
            let writer = Writer {
                archive: settings.archive.clone(),
                zone: settings.time_zone.clone(),
                hook: settings.write_hook.clone(),
                events: events.clone(),
                files: HashMap::new(),
                buffer: Vec::new(),
            };
            std::thread::Builder::new().name(format!("rec-write-{n}")).spawn(move || writer.run(&rx))?;
            senders.push(tx);
        }
        Ok(Pool(senders.into()))
    }

    /// False when the thread has too much to do.
    pub fn send(&self, job: u64, order: Order) -> Result<(), Order> {
        let Some(tx) = self.0.get(job as usize % self.0.len().max(1)) else { return Err(order) };
        match tx.try_send(order) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) => Err(order),
        }
    }
}

struct Growing {
    file: File,
    path: PathBuf,
    id: uuid::Uuid,
    /// Length of what is wholly written.
    good: u64,
    dirty: Option<Instant>,
    counters: Arc<Counters>,
}

struct Writer {
    archive: PathBuf,
    zone: TimeZone,
    hook: Option<WriteHook>,
    events: mpsc::Sender<WriterEvent>,
    files: HashMap<u64, Growing>,
    buffer: Vec<u8>,
}

impl Writer {
    fn run(mut self, orders: &Receiver<Order>) {
        let mut swept = Instant::now();
        loop {
            match orders.recv_timeout(TICK) {
                Ok(Order::Write(write)) => self.write(*write),
                Ok(Order::Close { job, done }) => {
                    self.close(job);
                    if let Some(done) = done {
                        // The one who waited may have gone.
                        let _ = done.send(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if swept.elapsed() >= TICK {
                self.sync();
                swept = Instant::now();
            }
        }
        let jobs: Vec<u64> = self.files.keys().copied().collect();
        for job in jobs {
            self.close(job);
        }
    }

    fn tell(&self, event: WriterEvent) {
        // Writing never waits for the index. What is lost here is found again by `recover`, since files tell what they are.
        if let Err(error) = self.events.try_send(event) {
            tracing::error!(%error, "the recording index is too slow; a change of it was lost until the next start");
        }
    }

    fn write(&mut self, order: Write1) {
        let Write1 { job, meta, fragment, counters } = order;
        let result = match meta {
            Some(meta) => {
                self.close(job);
                self.begin(job, *meta, &fragment, &counters)
            }
            None => Ok(()),
        };
        let result = result.and_then(|()| self.append(job, &fragment));
        counters.queued.fetch_sub(fragment.bytes, Ordering::Relaxed);
        match result {
            Ok(true) => {}
            Ok(false) => {
                counters.dropped.fetch_add(u64::from(fragment.frames), Ordering::Relaxed);
            }
            Err(error) => {
                counters.dropped.fetch_add(u64::from(fragment.frames), Ordering::Relaxed);
                tracing::warn!(%error, job, "cannot write a recording");
                self.tell(WriterEvent::Failed { job, fault: disk_error(&error) });
                self.close(job);
            }
        }
    }

    fn hooked(&self, bytes: usize) -> io::Result<()> {
        self.hook.as_ref().map_or(Ok(()), |hook| hook(bytes))
    }

    fn begin(&mut self, job: u64, meta: Meta, fragment: &Fragment, counters: &Arc<Counters>) -> io::Result<()> {
        let Some(opening) = &fragment.opening else { return Ok(()) };
        let relative = file_path(&meta.stream, meta.started_ms, &meta.id.simple().to_string(), &self.zone);
        let path = self.archive.join(&relative);
        let dir = path.parent().unwrap_or(&self.archive).to_path_buf();
        std::fs::create_dir_all(&dir)?;
        let head = init(&meta, opening.params.as_ref(), opening.audio.as_ref());
        self.hooked(head.len())?;
        let open = || OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        // Retention may have taken the empty folder away in this moment.
        let mut file = open().or_else(|e| match e.kind() {
            io::ErrorKind::NotFound => std::fs::create_dir_all(&dir).and_then(|()| open()),
            _ => Err(e),
        })?;
        if let Err(error) = file.write_all(&head) {
            drop(file);
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        // The name must survive a power cut as well as the bytes.
        File::open(&dir)?.sync_all()?;
        let (has_video, has_audio) = (opening.params.is_some(), opening.audio.is_some());
        counters.file_bytes.store(head.len() as u64, Ordering::Relaxed);
        counters.file_frames.store(0, Ordering::Relaxed);
        counters.file_ms.store(0, Ordering::Relaxed);
        let growing = Growing {
            file,
            path,
            id: meta.id,
            good: head.len() as u64,
            dirty: Some(Instant::now()),
            counters: counters.clone(),
        };
        self.files.insert(job, growing);
        self.tell(WriterEvent::Begun(Box::new(Begun { job, meta, path: relative, has_video, has_audio })));
        Ok(())
    }

    /// False: the job's file failed before; what came behind it is dropped until it begins another.
    fn append(&mut self, job: u64, fragment: &Fragment) -> io::Result<bool> {
        self.buffer.clear();
        self.buffer.extend_from_slice(&fragment.head);
        fragment.payloads().for_each(|p: &Bytes| self.buffer.extend_from_slice(p));
        self.hooked(self.buffer.len())?;
        let Some(growing) = self.files.get_mut(&job) else { return Ok(false) };
        growing.file.write_all(&self.buffer)?;
        growing.good += self.buffer.len() as u64;
        growing.dirty.get_or_insert_with(Instant::now);
        growing.counters.written.fetch_add(self.buffer.len() as u64, Ordering::Relaxed);
        growing.counters.file_bytes.store(growing.good, Ordering::Relaxed);
        growing.counters.file_frames.fetch_add(u64::from(fragment.frames), Ordering::Relaxed);
        growing.counters.file_ms.store(fragment.end_ms, Ordering::Relaxed);
        if self.buffer.capacity() > 4 << 20 {
            self.buffer = Vec::new();
        }
        Ok(true)
    }

    fn sync(&mut self) {
        let mut failed = Vec::new();
        for (job, growing) in &mut self.files {
            if growing.dirty.is_some_and(|at| at.elapsed() >= SYNC_AFTER) {
                growing.dirty = None;
                if let Err(error) = growing.file.sync_data() {
                    failed.push((*job, disk_error(&error)));
                }
            }
        }
        for (job, fault) in failed {
            self.tell(WriterEvent::Failed { job, fault });
            self.close(job);
        }
    }

    fn close(&mut self, job: u64) {
        let Some(growing) = self.files.remove(&job) else { return };
        let summary = growing.file.set_len(growing.good).and_then(|()| finish(&growing.file));
        let summary = match summary {
            Ok(Some(summary)) => Some(summary),
            Ok(None) => {
                let _ = std::fs::remove_file(&growing.path);
                None
            }
            Err(error) => {
                // It stays as it is: whole fragments, no closing index. `recover` finishes it at the next start.
                tracing::warn!(%error, path = %growing.path.display(), "cannot finish a recording");
                self.tell(WriterEvent::Failed { job, fault: disk_error(&error) });
                return;
            }
        };
        self.tell(WriterEvent::Finished { job, id: growing.id, summary });
    }
}
