//! Proving that an archive is whole.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sqlx::sqlite::SqlitePool;

use crate::disk;
use crate::mp4::finish::{closing, summary};
use crate::mp4::scan::Scan;
use crate::store::{Row, Store};
use crate::types::{RecorderError, RecordingState};

/// A hole in time shorter than this is no gap.
const GAP_MS: u64 = 500;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Relative to the archive.
    pub path: String,
    /// Byte in the file.
    pub offset: u64,
    pub why: String,
}

/// A hole in time inside a file: the source was silent or the disk too slow. No damage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gap {
    pub path: String,
    /// Seconds from the file's beginning.
    pub from_s: f64,
    pub to_s: f64,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    pub files: u64,
    pub bytes: u64,
    /// Finished in order and whole.
    pub whole: u64,
    /// Repaired after a crash and whole since.
    pub repaired: u64,
    /// Still growing, or not recovered yet.
    pub growing: u64,
    pub damaged: Vec<Damage>,
    /// Files without a row in the index.
    pub missing_rows: Vec<String>,
    /// Rows without a file.
    pub missing_files: Vec<String>,
    pub gaps: Vec<Gap>,
}

impl Report {
    /// Nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty() && self.missing_rows.is_empty() && self.missing_files.is_empty()
    }
}

/// How far a check is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub done: u64,
    pub total: u64,
    pub path: String,
}

/// Walks every file of the archive box by box and compares it with the index. Reads structure only (some percent of the bytes):
/// a byte changed inside a picture is not found. `progress` is called before each file.
pub async fn check(
    archive: &Path,
    pool: SqlitePool,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Report, RecorderError> {
    let store = Store::open(pool).await?;
    let mut report = Report::default();
    let root = archive.to_path_buf();
    let files = blocking(move || disk::files(&root)).await?;
    let total = files.len() as u64;
    let mut done = 0;
    let mut seen = HashSet::new();
    let mut after = String::new();
    loop {
        let page = store.page(&after, 500).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        for row in page {
            progress(Progress { done, total, path: row.path.clone() });
            done += 1;
            seen.insert(row.path.clone());
            let Some(path) = disk::inside(archive, &row.path) else {
                report.damaged.push(Damage {
                    path: row.path,
                    offset: 0,
                    why: "the index names a path outside the archive".into(),
                });
                continue;
            };
            let (found, row) = blocking(move || Ok((one(&path, &row), row))).await?;
            take(&mut report, &store, row, found).await?;
        }
    }
    report.missing_rows = files.into_iter().filter(|f| !seen.contains(f)).collect();
    progress(Progress { done: total, total, path: String::new() });
    Ok(report)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, RecorderError> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??)
}

struct Found {
    bytes: u64,
    damage: Option<(u64, String)>,
    gaps: Vec<(u64, u64)>,
}

async fn take(report: &mut Report, store: &Store, row: Row, found: io::Result<Found>) -> Result<(), RecorderError> {
    let found = match found {
        Ok(found) => found,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            // It may have been deleted since the page was read.
            if store.get(&row.id).await?.is_some() {
                report.missing_files.push(row.path);
            }
            return Ok(());
        }
        Err(e) => Found { bytes: 0, damage: Some((0, format!("cannot be read: {e}"))), gaps: Vec::new() },
    };
    report.files += 1;
    report.bytes += found.bytes;
    let second = |ms: u64| ms as f64 / 1000.0;
    report.gaps.extend(found.gaps.iter().map(|(a, b)| Gap {
        path: row.path.clone(),
        from_s: second(*a),
        to_s: second(*b),
    }));
    match (found.damage, row.state) {
        (Some((offset, why)), _) => report.damaged.push(Damage { path: row.path, offset, why }),
        (None, RecordingState::Recording) => report.growing += 1,
        (None, RecordingState::Repaired) => report.repaired += 1,
        (None, RecordingState::Whole) => report.whole += 1,
        (None, RecordingState::Damaged) => {
            report.damaged.push(Damage { path: row.path, offset: 0, why: "marked as damaged by a recovery".into() });
        }
    }
    Ok(())
}

fn one(path: &PathBuf, row: &Row) -> io::Result<Found> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let scan = match Scan::read(&file, len)? {
        Ok(scan) => scan,
        Err(t) => return Ok(Found { bytes: len, damage: Some((t.offset, t.why)), gaps: Vec::new() }),
    };
    let growing = row.state == RecordingState::Recording;
    let damage = match &scan.trouble {
        // The end of a growing file is being written.
        Some(_) if growing => None,
        Some(t) => Some((t.offset, t.why.clone())),
        None => key_samples(&file, &scan)?.or(if growing { None } else { agreement(&file, &scan, len, row)? }),
    };
    Ok(Found { bytes: len, damage, gaps: gaps(&scan) })
}

fn gaps(scan: &Scan) -> Vec<(u64, u64)> {
    let Some(main) = scan.main_track() else { return Vec::new() };
    let mut end = None;
    let mut gaps = Vec::new();
    for run in scan.frags.iter().filter_map(|f| f.run(main.id)) {
        let start = scan.ms(main.id, run.time);
        if let Some(end) = end
            && start > end + GAP_MS
        {
            gaps.push((end, start));
        }
        end = Some(scan.ms(main.id, run.time + run.duration));
    }
    gaps
}

/// The first picture of each group is cut into NAL units rightly and is a key frame.
fn key_samples(file: &File, scan: &Scan) -> io::Result<Option<(u64, String)>> {
    let Some(main) = scan.main_track().filter(|t| t.video) else { return Ok(None) };
    if let Some(first) = scan.frags.iter().find(|f| f.run(main.id).is_some())
        && !first.key
    {
        return Ok(Some((first.offset, "the first picture is no key frame".into())));
    }
    for frag in scan.frags.iter().filter(|f| f.key) {
        let Some(run) = frag.run(main.id) else { continue };
        let start = frag.offset + u64::from(frag.moof) + 8;
        let end = start + u64::from(run.first_size);
        if !main.nal {
            let mut tag = [0u8; 1];
            file.read_exact_at(&mut tag, start)?;
            if main.entry == "vp08" && tag[0] & 1 != 0 {
                return Ok(Some((start, "the first picture of a group is no key frame".into())));
            }
            continue;
        }
        let mut at = start;
        let mut random_access = false;
        while at < end {
            let mut head = [0u8; 5];
            if at + 5 > end {
                return Ok(Some((at, "a picture ends inside a NAL unit".into())));
            }
            file.read_exact_at(&mut head, at)?;
            let size = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
            random_access |= match main.entry.as_str() {
                "hvc1" => (16..=21).contains(&(head[4] >> 1 & 0x3F)),
                // 5: IDR. 7: parameter sets in front of a recovery point.
                _ => matches!(head[4] & 0x1F, 5 | 7),
            };
            at += 4 + size;
        }
        if at != end {
            return Ok(Some((start, "NAL units do not fill the picture".into())));
        }
        if !random_access {
            return Ok(Some((start, "the first picture of a group is no key frame".into())));
        }
    }
    Ok(None)
}

/// Closing index, total duration and row say the same as the fragments.
fn agreement(file: &File, scan: &Scan, len: u64, row: &Row) -> io::Result<Option<(u64, String)>> {
    let expected = closing(scan);
    let differs = |offset: u64, bytes: &[u8]| -> io::Result<Option<u64>> {
        let mut real = vec![0; bytes.len()];
        file.read_exact_at(&mut real, offset)?;
        Ok(real.iter().zip(bytes).position(|(a, b)| a != b).map(|n| offset + n as u64))
    };
    if let Some(at) = differs(scan.head.room.0, &expected.room)? {
        return Ok(Some((at, "the seek index in front differs from the fragments".into())));
    }
    if scan.tail > 0 {
        if scan.tail != expected.mfra.len() as u64 {
            return Ok(Some((scan.end, "the closing index differs from the fragments".into())));
        }
        if let Some(at) = differs(scan.end, &expected.mfra)? {
            return Ok(Some((at, "the closing index differs from the fragments".into())));
        }
    }
    let of_file = summary(scan, len);
    let of_row = Row { id: row.id.clone(), ..Row::of(&scan.head.meta, &row.path, &of_file, row.state) };
    let pairs = [
        ("id", scan.head.meta.id.simple().to_string() == row.id),
        ("stream", of_row.stream == row.stream),
        ("start", of_row.started_ms == row.started_ms),
        ("bytes", of_row.bytes == row.bytes),
        ("frames", of_row.frames == row.frames),
        ("duration", of_row.ended_ms == row.ended_ms),
        ("checksum of the structure", of_row.crc == row.crc),
    ];
    let wrong = pairs.iter().find(|(_, same)| !same);
    Ok(wrong.map(|(what, _)| {
        (if *what == "bytes" { len.min(row.bytes) } else { 0 }, format!("{what} differs from the index"))
    }))
}
