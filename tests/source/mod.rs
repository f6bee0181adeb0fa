//! The crate's source files, for tests that read them.

use std::fs;
use std::path::{Path, PathBuf};

/// Path below `src/`, and text, of each source file.
pub(crate) fn files() -> Vec<(PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    read(&src, &src, &mut files);
    assert!(files.len() > 50, "only {} source files were found", files.len());
    files
}

fn read(src: &Path, directory: &Path, files: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(src, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push((path.strip_prefix(src).unwrap().to_owned(), fs::read_to_string(&path).unwrap()));
        }
    }
}
