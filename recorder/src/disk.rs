//! The archive's folder: free space, names, paths.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Bytes that an ordinary user may still write on the disk of `path` (statvfs).
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    disk_space(path).map(|(free, _)| free)
}

/// Bytes that an ordinary user may still write on the disk of `path`, and the disk's size.
pub fn disk_space(path: &Path) -> io::Result<(u64, u64)> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends with a zero byte and `stat` is room for one statvfs; it is read only after success.
    let stat = unsafe {
        if libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        stat.assume_init()
    };
    Ok((stat.f_bavail as u64 * stat.f_frsize as u64, stat.f_blocks as u64 * stat.f_frsize as u64))
}

/// A stream's name as a folder name: anything unusual becomes `_`. Two streams may share a folder; file names hold the id.
pub(crate) fn safe_name(stream: &str) -> String {
    let name: String = stream
        .chars()
        .take(120)
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' })
        .collect();
    if name.is_empty() || name.starts_with('.') { format!("_{name}") } else { name }
}

/// `<stream>/<yyyy-mm-dd>/<hhmmss.mmm>-<id>.mp4`, local time.
pub(crate) fn file_path(stream: &str, started_ms: i64, id: &str, zone: &TimeZone) -> String {
    let at = Timestamp::from_millisecond(started_ms).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone.clone());
    let ms = at.millisecond();
    format!("{}/{}/{}.{ms:03}-{id}.mp4", safe_name(stream), at.strftime("%Y-%m-%d"), at.strftime("%H%M%S"))
}

/// The file of a path from the index; none for a path that leaves the archive.
pub(crate) fn inside(archive: &Path, relative: &str) -> Option<PathBuf> {
    let path = Path::new(relative);
    let plain = !relative.is_empty() && path.components().all(|c| matches!(c, Component::Normal(_)));
    plain.then(|| archive.join(path))
}

/// All `.mp4` files of the archive, relative, sorted. Only the three levels that the recorder makes.
pub(crate) fn files(archive: &Path) -> io::Result<Vec<String>> {
    fn walk(dir: &Path, prefix: &str, depth: usize, found: &mut Vec<String>) -> io::Result<()> {
        let entries = match std::fs::read_dir(dir) {
            Ok(e) => e,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let kind = entry.file_type()?;
            let relative = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            if kind.is_dir() && depth > 0 {
                walk(&entry.path(), &relative, depth - 1, found)?;
            } else if kind.is_file() && name.ends_with(".mp4") {
                found.push(relative);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(archive, "", 2, &mut found)?;
    found.sort_unstable();
    Ok(found)
}

/// Removes a recording's file and the folders that became empty. A file that is gone already is no error.
pub(crate) fn remove(archive: &Path, relative: &str) -> io::Result<()> {
    let Some(path) = inside(archive, relative) else { return Ok(()) };
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    for dir in path.ancestors().skip(1).take(2) {
        if dir == archive || std::fs::remove_dir(dir).is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_and_stay_inside() {
        assert_eq!(safe_name("gb28181:3402/001"), "gb28181_3402_001");
        assert_eq!(safe_name(".."), "_..");
        assert_eq!(safe_name("../../etc"), "_.._.._etc");
        assert_eq!(safe_name("摄像头"), "___");
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        let path = file_path("a:b", 1_772_300_000_123, "id", &zone);
        assert_eq!(path, "a_b/2026-03-01/013320.123-id.mp4");
        let archive = Path::new("/x");
        assert!(inside(archive, &path).is_some());
        assert!(
            inside(archive, "../y").is_none()
                && inside(archive, "/etc/passwd").is_none()
                && inside(archive, "").is_none()
        );
    }

    #[test]
    fn free_space_is_told() {
        assert!(free_bytes(Path::new("/")).unwrap() > 0);
        assert!(free_bytes(Path::new("/no/such/place")).is_err());
    }
}
