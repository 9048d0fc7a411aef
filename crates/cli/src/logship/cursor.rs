//! Stores the shipper's position in a file.

use std::io;
use std::path::PathBuf;

/// A file with journald's cursor of the last line that CloudWatch has accepted.
#[derive(Debug)]
pub(super) struct CursorFile(PathBuf);

impl CursorFile {
    /// The file at this path, which need not exist.
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The cursor; `None` before the first one.
    pub(super) fn read(&self) -> Option<String> {
        let text = std::fs::read_to_string(&self.0).ok()?;
        Some(text.trim().to_owned()).filter(|cursor| !cursor.is_empty())
    }

    /// Stores the cursor atomically.
    pub(super) fn write(&self, cursor: &str) -> io::Result<()> {
        if let Some(dir) = self.0.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let new = self.0.with_extension("new");
        std::fs::write(&new, cursor)?;
        std::fs::rename(new, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = CursorFile::new(dir.path().join("state/logship.cursor"));
        assert_eq!(file.read(), None);
        file.write("s=1;i=2").unwrap();
        file.write("s=1;i=3").unwrap();
        assert_eq!(file.read().as_deref(), Some("s=1;i=3"));
    }
}
