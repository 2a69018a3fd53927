//! A long-running worker as the gateway sees it: frames in, frames out, neither side waits for the other without bound.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

use crate::pipe::{HEADER, Header};

/// Frames that wait for the worker at most.
const WAITING: usize = 32;
/// Frames of the worker that wait for us at most.
const READY: usize = 64;
/// Characters kept of what a worker says before it dies.
const WORDS: usize = 2000;

/// One frame out of a worker.
#[derive(Debug)]
pub struct Made {
    pub stamp: i64,
    pub data: Vec<u8>,
}

/// A running worker; ended when dropped.
pub struct Process {
    child: Child,
    input: mpsc::Sender<(Header, Vec<u8>)>,
    output: mpsc::Receiver<Made>,
    words: Arc<Mutex<String>>,
}

impl Process {
    /// Runs `program worker ARGUMENTS`.
    pub fn start(program: &Path, arguments: &[String]) -> io::Result<Process> {
        let mut child = Command::new(program)
            .arg("worker")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(io::Error::other("the worker has no pipes"));
        };
        let (input, frames) = mpsc::channel(WAITING);
        let (made, output) = mpsc::channel(READY);
        let words = Arc::new(Mutex::new(String::new()));
        let heard = words.clone();
        tokio::spawn(feed(stdin, frames));
        tokio::spawn(async move {
            let mut stdout = BufReader::new(stdout);
            // Ends with the worker, or with the first thing that is no frame.
            while let Some(frame) = read(&mut stdout).await {
                if made.send(frame).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            let mut said = Vec::new();
            let _ = stderr.take(WORDS as u64).read_to_end(&mut said).await;
            let text = String::from_utf8_lossy(&said).trim().to_owned();
            *heard.lock().unwrap_or_else(|p| p.into_inner()) = text;
        });
        Ok(Process { child, input, output, words })
    }

    /// Hands a frame over; false when the worker is behind by 32 frames (or gone) and the frame is dropped.
    pub fn push(&self, flags: u8, stamp: i64, data: Vec<u8>) -> bool {
        let header = Header::frame(flags, data.len(), stamp);
        data.len() <= crate::pipe::MAX_BODY && self.input.try_send((header, data)).is_ok()
    }

    /// Asks for a key frame. One that finds the queue full is lost: whoever needs it asks again.
    pub fn want_key(&self) {
        let _ = self.input.try_send((Header::key_wanted(), Vec::new()));
    }

    /// The next frame; none when the worker has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Made> {
        self.output.recv().await
    }

    /// How it ended and what it said.
    pub async fn last_words(&mut self) -> String {
        let status = match tokio::time::timeout(std::time::Duration::from_secs(1), self.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it closed its output".to_owned(),
        };
        tokio::task::yield_now().await;
        let words = self.words.lock().unwrap_or_else(|p| p.into_inner()).clone();
        if words.is_empty() { status } else { format!("{status}: {words}") }
    }
}

async fn feed(mut stdin: ChildStdin, mut frames: mpsc::Receiver<(Header, Vec<u8>)>) {
    while let Some((header, data)) = frames.recv().await {
        if stdin.write_all(&header.write()).await.is_err() || stdin.write_all(&data).await.is_err() {
            return;
        }
    }
}

async fn read(from: &mut (impl AsyncReadExt + Unpin)) -> Option<Made> {
    let mut head = [0; HEADER];
    from.read_exact(&mut head).await.ok()?;
    let header = Header::read(&head)?;
    let mut data = vec![0; header.length];
    from.read_exact(&mut data).await.ok()?;
    Some(Made { stamp: header.stamp, data })
}
