//! Cargo.toml against the documentation: features, and what the crate depends on.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The keys of a section of Cargo.toml, each with the line before it.
fn keys<'a>(manifest: &'a str, section: &str) -> BTreeMap<&'a str, &'a str> {
    let heading = format!("\n[{section}]\n");
    let start = manifest.find(&heading).unwrap_or_else(|| panic!("no {heading}")) + heading.len();
    let end = manifest[start..].find("\n[").map_or(manifest.len(), |at| start + at);
    let lines: Vec<_> = manifest[start..end].lines().collect();
    let before = [""].into_iter().chain(lines.iter().copied());
    let pairs = lines.iter().zip(before).filter(|(line, _)| !line.starts_with('#'));
    pairs.filter_map(|(line, before)| Some((line.split_once(" = ")?.0, before))).collect()
}

#[test]
fn every_feature_is_explained_in_the_manifest_and_in_the_documentation() {
    let (manifest, lib) = (read("Cargo.toml"), read("src/lib.rs"));
    let section = lib.split("//! # Features\n").nth(1).unwrap();
    let section: Vec<_> =
        section.lines().take_while(|line| line.starts_with("//!") && !line.contains("//! # ")).collect();
    let section = section.join("\n");
    let features = keys(&manifest, "features");
    assert!(features.len() > 7, "{features:?}");
    for (feature, before) in features {
        if feature == "default" {
            continue;
        }
        assert!(before.starts_with("# "), "Cargo.toml does not say what {feature} is");
        assert!(section.contains(&format!("`{feature}`")), "src/lib.rs does not say what {feature} is");
    }
}

#[test]
fn the_readme_says_why_of_each_dependency() {
    let (manifest, readme) = (read("Cargo.toml"), read("README.md"));
    let section =
        readme.split("\n## Dependencies\n").nth(1).expect("README.md has a section of dependencies");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: Vec<_> = rows.collect();
    let dependencies = keys(&manifest, "dependencies");
    assert!(dependencies.len() > 10, "{dependencies:?}");
    let missing: Vec<_> = dependencies.keys().filter(|name| !listed.contains(name)).collect();
    let superfluous: Vec<_> = listed.iter().filter(|name| !dependencies.contains_key(*name)).collect();
    assert!(missing.is_empty(), "README.md does not list {missing:?}");
    assert!(superfluous.is_empty(), "README.md lists {superfluous:?}, which Cargo.toml does not");
}
