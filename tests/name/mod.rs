//! Names of segments, for tests.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A name that no other test has, whose file goes with it.
pub(crate) struct Name(pub(crate) String);

impl Name {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("test {}.{number}", std::process::id()))
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/dev/shm/multiproc-{}", self.0))
    }

    /// A file of that name with these bytes.
    pub(crate) fn write(&self, bytes: &[u8]) -> File {
        let mut file =
            File::options().read(true).write(true).create_new(true).mode(0o600).open(self.path()).unwrap();
        file.write_all(bytes).unwrap();
        file
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path());
    }
}
