//! Finishing a file: total duration, seek index (sidx) in front and random access index (mfra) behind.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::boxes::BoxBuf;
use super::moof::Frag;
use super::scan::Scan;

/// What is written into a finished file beyond its fragments; made anew by the check and compared.
pub(crate) struct Closing {
    pub duration_ms: u64,
    /// Fills the room exactly.
    pub room: Vec<u8>,
    pub mfra: Vec<u8>,
}

pub(crate) fn closing(scan: &Scan) -> Closing {
    Closing { duration_ms: scan.duration_ms(), room: room(scan), mfra: mfra(scan) }
}

/// The points at which reading can begin: (index of the first fragment, index behind the last).
pub(crate) fn key_groups(frags: &[Frag]) -> Vec<(usize, usize)> {
    let mut groups: Vec<(usize, usize)> = Vec::new();
    for (n, frag) in frags.iter().enumerate() {
        match groups.last_mut() {
            Some(last) if !frag.key => last.1 = n + 1,
            _ => groups.push((n, n + 1)),
        }
    }
    groups
}

fn room(scan: &Scan) -> Vec<u8> {
    let len = scan.head.room.1 as usize;
    let mut b = BoxBuf::default();
    let groups = key_groups(&scan.frags);
    let fits = len.saturating_sub(8 + 40) / 12;
    if let Some(main) = scan.main_track()
        && fits > 0
        && !groups.is_empty()
    {
        let step = groups.len().div_ceil(fits.min(0xFFFF));
        let refs: Vec<(usize, usize)> = groups.chunks(step).filter_map(|c| Some((c.first()?.0, c.last()?.1))).collect();
        let rate = u64::from(main.rate);
        let time = |n: usize| match scan.frags.get(n) {
            Some(f) => f.run(main.id).map_or_else(|| scan.start_ms(f) * rate / 1000, |r| r.time),
            None => scan.duration_ms() * rate / 1000,
        };
        let first = scan.frags.first().map_or(0, |f| f.offset);
        let mut sidx = BoxBuf::default();
        sidx.full(b"sidx", 1, 0, |b| {
            b.u32(main.id);
            b.u32(main.rate);
            b.u64(time(0));
            b.u64(0); // set below: bytes from behind sidx to the first fragment
            b.u16(0);
            b.u16(refs.len() as u16);
            for (from, to) in &refs {
                let bytes: u64 = scan.frags[*from..*to].iter().map(|f| f.size).sum();
                b.u32(bytes as u32 & 0x7FFF_FFFF);
                b.u32(time(*to).saturating_sub(time(*from)) as u32);
                b.u32(if scan.frags[*from].key { 0x9000_0000 } else { 0 });
            }
        });
        let behind = first.saturating_sub(scan.head.room.0 + sidx.0.len() as u64);
        sidx.0[28..36].copy_from_slice(&behind.to_be_bytes());
        b = sidx;
    }
    let left = len.saturating_sub(b.0.len());
    if left >= 8 {
        b.boxed(b"free", |b| b.zeros(left - 8));
    }
    b.0
}

fn mfra(scan: &Scan) -> Vec<u8> {
    let mut b = BoxBuf::default();
    b.boxed(b"mfra", |b| {
        for track in &scan.head.tracks {
            let entries: Vec<(u64, u64, usize)> = scan
                .frags
                .iter()
                .filter(|f| f.key)
                .filter_map(|f| {
                    let at = f.runs.iter().position(|r| r.track == track.id)?;
                    Some((f.runs[at].first_pts.max(0) as u64, f.offset, at + 1))
                })
                .collect();
            b.full(b"tfra", 1, 0, |b| {
                b.u32(track.id);
                b.u32(0);
                b.u32(entries.len() as u32);
                for (time, offset, traf) in entries {
                    b.u64(time);
                    b.u64(offset);
                    b.bytes(&[traf as u8, 1, 1]);
                }
            });
        }
        let size = b.0.len() as u32 + 16;
        b.full(b"mfro", 0, 0, |b| b.u32(size));
    });
    b.0
}

/// What stands in the index about a finished file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Summary {
    pub duration_ms: u64,
    pub bytes: u64,
    pub frames: u64,
    pub crc: u32,
    pub has_video: bool,
    pub has_audio: bool,
}

/// Cuts everything behind the last good fragment and writes duration and indexes. None: nothing was recorded in it.
/// A full disk may keep the closing mfra away; the file is whole without it.
pub(crate) fn finish(file: &File) -> io::Result<Option<Summary>> {
    let len = file.metadata()?.len();
    let Ok(scan) = Scan::read(file, len)? else { return Ok(None) };
    if scan.frags.is_empty() {
        return Ok(None);
    }
    file.set_len(scan.end)?;
    let closing = closing(&scan);
    file.write_all_at(&closing.duration_ms.to_be_bytes(), scan.head.mvhd_duration)?;
    file.write_all_at(&closing.duration_ms.to_be_bytes(), scan.head.mehd_duration)?;
    file.write_all_at(&closing.room, scan.head.room.0)?;
    if let Err(error) = file.write_all_at(&closing.mfra, scan.end) {
        tracing::warn!(%error, "no room for the closing index of a recording");
        file.set_len(scan.end)?;
    }
    file.sync_data()?;
    let len = file.metadata()?.len();
    let Ok(scan) = Scan::read(file, len)? else { return Ok(None) };
    Ok(Some(summary(&scan, len)))
}

pub(crate) fn summary(scan: &Scan, len: u64) -> Summary {
    Summary {
        duration_ms: scan.duration_ms(),
        bytes: len,
        frames: scan.frames(),
        crc: scan.crc,
        has_video: scan.head.tracks.iter().any(|t| t.video),
        has_audio: scan.head.tracks.iter().any(|t| !t.video),
    }
}
