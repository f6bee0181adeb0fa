//! Finding files and bundling them into tasks.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use multiproc::Result;

/// Most bytes of paths in a task, so that it fits in an item of a queue.
const TASK_PATHS: usize = 8 << 10;

/// Visits every regular file under `paths` with its size, and what can't be looked at with the reason, until `visit`
/// fails. Symbolic links are followed only where they stand in `paths`.
pub fn walk(paths: &[PathBuf], mut visit: impl FnMut(PathBuf, io::Result<u64>) -> Result<()>) -> Result<()> {
    for path in paths {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => walk_directory(path, &mut visit)?,
            Ok(metadata) if metadata.is_file() => visit(path.clone(), Ok(metadata.len()))?,
            Ok(_) => visit(path.clone(), Err(io::Error::other("neither a file nor a directory")))?,
            Err(error) => visit(path.clone(), Err(error))?,
        }
    }
    Ok(())
}

fn walk_directory(
    directory: &Path,
    visit: &mut impl FnMut(PathBuf, io::Result<u64>) -> Result<()>,
) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return visit(directory.to_owned(), Err(error)),
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return visit(directory.to_owned(), Err(error)),
        };
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => walk_directory(&entry.path(), visit)?,
            Ok(metadata) if metadata.is_file() => visit(entry.path(), Ok(metadata.len()))?,
            Ok(_) => {}
            Err(error) => visit(entry.path(), Err(error))?,
        }
    }
    Ok(())
}

/// Paths of a task: each one ends in a NUL, as from `find -print0`, so that any file name can be in it.
#[derive(Default)]
pub struct Bundle {
    paths: Vec<u8>,
    bytes: u64,
}

impl Bundle {
    /// Whether a file of that name and size has to go in the next bundle.
    pub fn is_full(&self, path: &Path, bytes: u64, most_bytes: u64) -> bool {
        !self.is_empty()
            && (self.bytes + bytes > most_bytes || self.paths.len() + path.as_os_str().len() >= TASK_PATHS)
    }

    pub fn add(&mut self, path: &Path, bytes: u64) {
        self.paths.extend_from_slice(path.as_os_str().as_bytes());
        self.paths.push(0);
        self.bytes += bytes;
    }

    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// The paths; the bundle is empty then.
    pub fn take(&mut self) -> Vec<u8> {
        self.bytes = 0;
        std::mem::take(&mut self.paths)
    }
}

/// The paths in a bundle.
pub fn paths(bundle: &[u8]) -> impl Iterator<Item = &Path> {
    bundle
        .split(|&byte| byte == 0)
        .filter(|path| !path.is_empty())
        .map(|path| Path::new(OsStr::from_bytes(path)))
}
