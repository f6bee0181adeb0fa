//! The README's figures are those that were measured.

use std::fs;
use std::path::{Path, PathBuf};

fn compared(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/compare").join(file)
}

fn lines(path: impl AsRef<Path>) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// The lines of the README's section "How fast".
fn section() -> Vec<String> {
    let readme = lines(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let section = readme.into_iter().skip_while(|line| line != "## How fast").skip(1);
    section.take_while(|line| !line.starts_with("## ")).collect()
}

#[test]
fn each_row_of_the_readmes_figures_is_one_that_was_measured() {
    let mut file = String::new();
    let mut rows = 0;
    for line in section() {
        if let Some((name, _)) = line.strip_prefix("<!-- ").and_then(|source| source.split_once(": ")) {
            file = name.to_owned();
        }
        if line.starts_with('|') || line.contains(" cores; Linux ") {
            rows += 1;
            assert!(
                lines(compared(&file)).contains(&line),
                "not in benches/compare/{file}, renew it by `cargo run --release -- --figures` there: {line}"
            );
        }
    }
    assert!(rows > 10, "the section \"How fast\" has {rows} rows");
}

#[test]
fn each_plot_that_the_readme_shows_is_there() {
    let plots: Vec<_> = section()
        .iter()
        .filter_map(|line| Some(line.split_once("](benches/compare/plots/")?.1.strip_suffix(')')?.to_owned()))
        .collect();
    assert!(!plots.is_empty());
    for plot in plots {
        let svg = fs::read_to_string(compared("plots").join(&plot)).unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{plot} is whole");
    }
}
