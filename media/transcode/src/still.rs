//! Still pictures of live streams, made by a worker process for each.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::{Codec, Frame, MediaKind};
use media_hub::{Hub, Pulled, Start, StreamId, StreamState, SubscribeError, SubscribeOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::{Mutex, Semaphore};

/// Workers at once: one core decodes about a hundred key frames a second, but a start costs more than the frame.
const WORKERS: usize = 2;
/// A worker that has not answered by then is ended.
const LIMIT: Duration = Duration::from_secs(5);
/// A picture is given again for this long.
const FRESH: Duration = Duration::from_secs(5);
/// Largest picture that is taken from a worker, in bytes.
const MAX_PICTURE: u64 = 16 << 20;
/// Pictures kept.
const KEPT: usize = 512;
/// A picture to keep waits longer: the stream may have to be started first.
const WHOLE_LIMIT: Duration = Duration::from_secs(25);
/// How often a key frame is asked for meanwhile.
const ASK_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum StillError {
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    #[error("the stream gave no key frame within {} s", LIMIT.as_secs())]
    NoKeyFrame,
    #[error("{}", .0.en)]
    Failed(media_hub::Fault),
    #[error("no still pictures are made of {0}")]
    Codec(Codec),
    #[error("the worker cannot be run: {0}")]
    Worker(#[from] std::io::Error),
    #[error("the worker did not answer within {} s", LIMIT.as_secs())]
    Late,
    #[error("the worker could not decode the picture: {0}")]
    Undecodable(String),
}

impl StillError {
    /// What ails the stream itself, if that is the cause.
    pub fn fault(&self) -> Option<media_hub::Fault> {
        match self {
            StillError::Failed(fault) => Some(fault.clone()),
            _ => None,
        }
    }
}

struct Kept {
    stream: StreamId,
    at: Instant,
    picture: Bytes,
}

/// Makes still pictures. Cheap to clone.
#[derive(Clone)]
pub struct Stills {
    hub: Hub,
    program: PathBuf,
    workers: Arc<Semaphore>,
    kept: Arc<Mutex<Vec<Kept>>>,
}

impl Stills {
    /// `program` is run as `program worker still`.
    pub fn new(hub: Hub, program: PathBuf) -> Self {
        Stills { hub, program, workers: Arc::new(Semaphore::new(WORKERS)), kept: Arc::default() }
    }

    /// A JPEG picture of the stream's current key frame, at most 480 pixels wide. It does not start a stream that nobody
    /// watches.
    pub async fn still(&self, id: &StreamId) -> Result<Bytes, StillError> {
        if let Some(picture) = self.fresh(id).await {
            return Ok(picture);
        }
        let frame = self.key_frame(id).await?;
        // The semaphore is never closed.
        let _permit = self.workers.acquire().await.ok();
        // Who asked for the same stream before us may have it made meanwhile.
        if let Some(picture) = self.fresh(id).await {
            return Ok(picture);
        }
        let picture = tokio::time::timeout(LIMIT, self.run(&frame, false)).await.map_err(|_| StillError::Late)??;
        let mut kept = self.kept.lock().await;
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push(Kept { stream: id.clone(), at: Instant::now(), picture: picture.clone() });
        Ok(picture)
    }

    /// A JPEG picture of what the stream shows from now on, in its full size. It starts a stream that nobody watches, and waits
    /// at most 25 s for its next key frame.
    pub async fn whole(&self, id: &StreamId) -> Result<Bytes, StillError> {
        let frame = self.next_key_frame(id).await?;
        let _permit = self.workers.acquire().await.ok();
        tokio::time::timeout(LIMIT, self.run(&frame, true)).await.map_err(|_| StillError::Late)?
    }

    async fn next_key_frame(&self, id: &StreamId) -> Result<Arc<Frame>, StillError> {
        let options = SubscribeOptions { start: Start::NextKey, demand: true, notify: None };
        let mut subscriber = self.hub.subscribe(id, options)?;
        let until = tokio::time::Instant::now() + WHOLE_LIMIT;
        let mut ask = tokio::time::interval(ASK_EVERY);
        loop {
            tokio::select! {
                pulled = subscriber.next() => match pulled {
                    Pulled::Item(item) if item.frame.kind() == MediaKind::Video && item.frame.key => return Ok(item.frame),
                    Pulled::State(StreamState::Failed, Some(fault)) => return Err(StillError::Failed(fault)),
                    _ => {}
                },
                _ = ask.tick() => subscriber.stream().request_key_frame(),
                () = tokio::time::sleep_until(until) => return Err(StillError::NoKeyFrame),
            }
        }
    }

    async fn fresh(&self, id: &StreamId) -> Option<Bytes> {
        let mut kept = self.kept.lock().await;
        kept.retain(|k| k.at.elapsed() < FRESH);
        kept.iter().find(|k| k.stream == *id).map(|k| k.picture.clone())
    }

    async fn key_frame(&self, id: &StreamId) -> Result<Arc<Frame>, StillError> {
        let options = SubscribeOptions { start: Start::Group, demand: false, notify: None };
        let mut subscriber = self.hub.subscribe(id, options)?;
        let wait = async {
            loop {
                match subscriber.next().await {
                    Pulled::Item(item) if item.frame.kind() == MediaKind::Video && item.frame.key => return item.frame,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(LIMIT, wait).await.map_err(|_| StillError::NoKeyFrame)
    }

    async fn run(&self, frame: &Frame, whole: bool) -> Result<Bytes, StillError> {
        let codec = match frame.codec {
            Codec::H264 => "h264",
            Codec::H265 => "h265",
            other => return Err(StillError::Codec(other)),
        };
        let mut child = Command::new(&self.program)
            .args(["worker", "still", codec])
            .args(whole.then_some("--whole"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut input), Some(output), Some(errors)) = (input, output, errors) else {
            return Err(StillError::Undecodable("the worker has no pipes".into()));
        };
        let mut annex_b = Vec::with_capacity(frame.payload.len() + 16);
        media_core::nal::to_annexb(&frame.payload, &mut annex_b);
        let feed = async {
            // A worker that ended early tells why on its error output.
            let _ = input.write_all(&annex_b).await;
            drop(input);
        };
        let (mut picture, mut words) = (Vec::new(), String::new());
        let mut output = output.take(MAX_PICTURE);
        let mut errors = errors.take(2000);
        let ((), read, _) = tokio::join!(feed, output.read_to_end(&mut picture), errors.read_to_string(&mut words));
        read?;
        let status = child.wait().await?;
        if status.success() && picture.starts_with(&[0xFF, 0xD8]) {
            Ok(Bytes::from(picture))
        } else {
            Err(StillError::Undecodable(format!("{status}: {}", words.trim())))
        }
    }
}
