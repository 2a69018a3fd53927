//! Help for unit tests.

/// A directory that is removed when it is dropped.
pub struct TempDir(std::path::PathBuf);

impl TempDir {
    #[allow(clippy::unwrap_used)]
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("skybridge-test-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }

    pub fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
