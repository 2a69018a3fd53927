//! After a crash: files that were not finished are cut behind their last whole fragment and finished.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use crate::disk;
use crate::mp4::finish::{Summary, finish, summary};
use crate::mp4::init::Meta;
use crate::mp4::scan::Scan;
use crate::recorder::Recorder;
use crate::store::Row;
use crate::types::{RecorderError, RecordingState};

/// More than this is never cut from a file: then it is damaged, not torn, and somebody must look at it.
const MAX_CUT: u64 = 64 << 20;

/// What a recovery found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Files finished now.
    pub repaired: usize,
    /// Files with nothing in them, deleted.
    pub empty: usize,
    /// Files that cannot be repaired; left as they are.
    pub damaged: usize,
    /// Rows of unfinished recordings whose file is gone, deleted.
    pub lost: usize,
    /// Whole files that were missing in the index.
    pub indexed: usize,
    /// Bytes cut from torn ends.
    pub cut_bytes: u64,
}

enum Outcome {
    Repaired(Box<Meta>, Summary, u64),
    /// It was finished already; only the index did not know.
    Whole(Box<Meta>, Summary),
    Empty,
    Damaged(Option<Box<Meta>>, u64),
    Gone,
}

fn repair(path: &Path) -> io::Result<Outcome> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Outcome::Gone),
        Err(e) => return Err(e),
    };
    let len = file.metadata()?.len();
    let scan = match Scan::read(&file, len)? {
        Ok(scan) => scan,
        // A head torn at the first write; a longer file has been something else once.
        Err(_) if len < (1 << 20) => {
            std::fs::remove_file(path)?;
            return Ok(Outcome::Empty);
        }
        Err(_) => return Ok(Outcome::Damaged(None, len)),
    };
    let meta = Box::new(scan.head.meta.clone());
    if scan.trouble.is_none() && scan.tail > 0 {
        return Ok(Outcome::Whole(meta, summary(&scan, len)));
    }
    if scan.frags.is_empty() && len - scan.end <= MAX_CUT {
        std::fs::remove_file(path)?;
        return Ok(Outcome::Empty);
    }
    if len - scan.end > MAX_CUT {
        return Ok(Outcome::Damaged(Some(meta), len));
    }
    let cut = len - scan.end;
    Ok(match finish(&file)? {
        Some(summary) => Outcome::Repaired(meta, summary, cut),
        None => Outcome::Damaged(Some(meta), len),
    })
}

impl Recorder {
    /// Repairs what a crash left: finishes unfinished files, puts files without row into the index, forgets rows of unfinished
    /// files that are gone. Call it before [`Recorder::resume`] and never while jobs run.
    pub async fn recover(&self) -> Result<Recovered, RecorderError> {
        let mut found = Recovered::default();
        for row in self.0.store.unfinished().await? {
            self.recover_one(&row.path.clone(), Some(row), &mut found).await?;
        }
        let archive = self.0.settings.archive.clone();
        let files = tokio::task::spawn_blocking(move || disk::files(&archive)).await.map_err(io::Error::other)??;
        let mut known = HashSet::new();
        let mut after = String::new();
        loop {
            let page = self.0.store.page(&after, 1000).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.id);
            known.extend(page.into_iter().map(|r| r.path));
        }
        for path in files.into_iter().filter(|f| !known.contains(f)) {
            self.recover_one(&path, None, &mut found).await?;
        }
        if found != Recovered::default() {
            tracing::info!(?found, "recordings were recovered");
        }
        Ok(found)
    }

    async fn recover_one(&self, path: &str, row: Option<Row>, found: &mut Recovered) -> Result<(), RecorderError> {
        let Some(full) = disk::inside(&self.0.settings.archive, path) else { return Ok(()) };
        let outcome = tokio::task::spawn_blocking(move || repair(&full)).await.map_err(io::Error::other)??;
        let indexed = row.is_some();
        match outcome {
            Outcome::Repaired(meta, summary, cut) => {
                found.repaired += 1;
                found.cut_bytes += cut;
                self.0.store.put(&Row::of(&meta, path, &summary, RecordingState::Repaired)).await?;
            }
            Outcome::Whole(meta, summary) => {
                found.indexed += usize::from(!indexed);
                self.0.store.put(&Row::of(&meta, path, &summary, RecordingState::Whole)).await?;
            }
            Outcome::Damaged(meta, bytes) => {
                found.damaged += 1;
                tracing::error!(path, "a recording is damaged and was left as it is");
                let row = match (row, meta) {
                    (Some(row), _) => Some(Row { state: RecordingState::Damaged, bytes, ..row }),
                    (None, Some(meta)) => {
                        let summary = Summary { bytes, ..Summary::default() };
                        Some(Row::of(&meta, path, &summary, RecordingState::Damaged))
                    }
                    (None, None) => None,
                };
                if let Some(row) = row {
                    self.0.store.put(&row).await?;
                }
            }
            Outcome::Empty | Outcome::Gone => {
                found.empty += usize::from(matches!(outcome, Outcome::Empty));
                found.lost += usize::from(matches!(outcome, Outcome::Gone));
                if let Some(row) = row {
                    self.0.store.delete(&row.id).await?;
                }
            }
        }
        Ok(())
    }
}
