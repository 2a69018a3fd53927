//! Finding and playing recordings.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

use crate::disk;
use crate::mp4::scan::Scan;
use crate::recorder::Recorder;
use crate::store::{Filter, Row};
use crate::types::{RecorderError, Recording, RecordingId, RecordingState, rfc3339};

/// A play list segment grows over key frames until it is this long.
const SEGMENT_MS: u64 = 4000;
/// Structures of files kept in memory.
const CACHE: usize = 64;

/// A file to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    pub path: PathBuf,
    /// Bytes that may be served now: whole fragments only.
    pub len: u64,
    /// The file is finished and will not grow.
    pub whole: bool,
}

/// Structures of the files that were played last.
#[derive(Default)]
pub(crate) struct Scans(Mutex<HashMap<String, (u64, Arc<Scan>)>>);

impl Scans {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (u64, Arc<Scan>)>> {
        self.0.lock().unwrap_or_else(|p| p.into_inner())
    }

    pub fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Reads a file, or what it has grown by since it was read last.
    fn get(&self, id: &str, path: &std::path::Path) -> Result<Arc<Scan>, RecorderError> {
        let file = File::open(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => RecorderError::NotFound,
            _ => RecorderError::Io(e),
        })?;
        let len = file.metadata()?.len();
        let known = self.lock().get(id).cloned();
        let scan = match known {
            Some((at, scan)) if at == len => return Ok(scan),
            Some((at, scan)) if len > at && scan.tail == 0 => {
                let mut scan = (*scan).clone();
                scan.extend(&file, len)?;
                scan
            }
            _ => Scan::read(&file, len)?.map_err(|t| RecorderError::Damaged { offset: t.offset, why: t.why })?,
        };
        let scan = Arc::new(scan);
        let mut all = self.lock();
        if all.len() >= CACHE && !all.contains_key(id) {
            // Any will do: reading again takes some milliseconds.
            let victim = all.keys().next().cloned();
            victim.map(|v| all.remove(&v));
        }
        all.insert(id.to_owned(), (len, scan.clone()));
        Ok(scan)
    }
}

impl Recorder {
    /// Recordings that match, newest first, and how many there are in all.
    pub async fn list(&self, filter: &Filter) -> Result<(u64, Vec<Recording>), RecorderError> {
        let (total, rows) = self.0.store.list(filter).await?;
        Ok((total, rows.iter().map(|r| self.live(r)).collect()))
    }

    /// Days of a month (`2026-03`) that hold something of a stream (empty: of any), local time.
    pub async fn days(&self, stream: &str, month: &str) -> Result<Vec<String>, RecorderError> {
        let bad = || RecorderError::Invalid("a month is YYYY-MM".into());
        let (year, number) = month.split_once('-').ok_or_else(bad)?;
        let first =
            Date::new(year.parse().map_err(|_| bad())?, number.parse().map_err(|_| bad())?, 1).map_err(|_| bad())?;
        let after = first.checked_add(1.month()).map_err(|_| bad())?;
        let zone = &self.0.settings.time_zone;
        let ms = |d: Date| d.to_zoned(zone.clone()).map(|z| z.timestamp().as_millisecond()).map_err(|_| bad());
        let mut days = BTreeSet::new();
        for (start, end) in self.0.store.spans(stream, ms(first)?, ms(after)?).await? {
            let day = |t: i64| Timestamp::from_millisecond(t).map(|t| t.to_zoned(zone.clone()).date());
            let (Ok(mut at), Ok(last)) = (day(start), day(end.max(start + 1) - 1)) else { continue };
            while at <= last && at < after {
                if at >= first {
                    days.insert(at.to_string());
                }
                let Ok(next) = at.tomorrow() else { break };
                at = next;
            }
        }
        Ok(days.into_iter().collect())
    }

    pub async fn get(&self, id: &RecordingId) -> Result<Recording, RecorderError> {
        let row = self.row(id).await?;
        Ok(self.live(&row))
    }

    async fn row(&self, id: &RecordingId) -> Result<Row, RecorderError> {
        self.0.store.get(&id.0).await?.ok_or(RecorderError::NotFound)
    }

    async fn scan(&self, row: &Row) -> Result<(PathBuf, Arc<Scan>), RecorderError> {
        let path = disk::inside(&self.0.settings.archive, &row.path).ok_or(RecorderError::NotFound)?;
        let (this, id, at) = (self.clone(), row.id.clone(), path.clone());
        let scan =
            tokio::task::spawn_blocking(move || this.0.scans.get(&id, &at)).await.map_err(std::io::Error::other)??;
        Ok((path, scan))
    }

    /// The HLS play list (RFC 8216, version 7) over byte ranges of `media.mp4` beside it. A recording that grows gives an EVENT
    /// list, whose lines never change once given.
    pub async fn playlist(&self, id: &RecordingId) -> Result<String, RecorderError> {
        let row = self.row(id).await?;
        let (_, scan) = self.scan(&row).await?;
        Ok(playlist(&scan, row.started_ms, row.state != RecordingState::Recording))
    }

    /// The file, to be served in ranges.
    pub async fn media(&self, id: &RecordingId) -> Result<Media, RecorderError> {
        let row = self.row(id).await?;
        let (path, scan) = self.scan(&row).await?;
        let whole = row.state != RecordingState::Recording;
        // A damaged file is given as it is: what plays, plays.
        let len = if whole { std::fs::metadata(&path)?.len() } else { scan.end };
        Ok(Media { path, len, whole })
    }

    /// Deletes a finished recording, file and row.
    pub async fn delete(&self, id: &RecordingId) -> Result<(), RecorderError> {
        let row = self.row(id).await?;
        if row.state == RecordingState::Recording {
            return Err(RecorderError::Growing);
        }
        self.remove(&row).await
    }
}

/// One segment: (offset, bytes, start, end) in bytes and milliseconds.
fn segments(scan: &Scan, whole: bool) -> Vec<(u64, u64, u64, u64)> {
    let mut segments: Vec<(u64, u64, u64, u64)> = Vec::new();
    for frag in &scan.frags {
        let start = scan.start_ms(frag);
        match segments.last_mut() {
            Some(last) if !(frag.key && start.saturating_sub(last.2) >= SEGMENT_MS) => last.1 += frag.size,
            other => {
                if let Some(last) = other {
                    last.3 = start;
                }
                segments.push((frag.offset, frag.size, start, start));
            }
        }
    }
    if let Some(last) = segments.last_mut() {
        last.3 = scan.duration_ms().max(last.2 + 1);
    }
    if !whole {
        segments.pop();
    }
    segments
}

fn playlist(scan: &Scan, started_ms: i64, whole: bool) -> String {
    let segments = segments(scan, whole);
    let target = segments.iter().map(|s| (s.3 - s.2).div_ceil(1000)).max().unwrap_or(0).max(SEGMENT_MS / 1000 + 1);
    let mut m = String::with_capacity(256 + segments.len() * 120);
    let kind = if whole { "VOD" } else { "EVENT" };
    // Writing into a String cannot fail.
    let _ = write!(
        m,
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:{kind}\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"media.mp4\",BYTERANGE=\"{}@0\"\n",
        scan.head.init
    );
    for (offset, bytes, start, end) in segments {
        let _ = write!(
            m,
            "#EXT-X-PROGRAM-DATE-TIME:{}\n#EXTINF:{:.3},\n#EXT-X-BYTERANGE:{bytes}@{offset}\nmedia.mp4\n",
            rfc3339(started_ms + start as i64),
            (end - start) as f64 / 1000.0
        );
    }
    if whole {
        m.push_str("#EXT-X-ENDLIST\n");
    }
    m
}
