//! How the cost of ours grows with how many there are: processes, objects in a segment, segments, items in a queue:
//! `cargo bench --bench scale [-- --quick]` in this directory. A full run writes SCALE.md.
//!
//! Figures are medians of a few runs. A target says that the largest is no cliff: how many times the cost of a usual size.

#[allow(dead_code)] // Each benchmark uses a part.
mod cpython;
#[path = "scale/depth.rs"]
mod depth;
#[path = "scale/objects.rs"]
mod objects;
#[allow(dead_code)] // Each benchmark uses a part.
mod processes;
mod report;
#[path = "../rounds/mod.rs"]
mod rounds;
#[path = "scale/segments.rs"]
mod segments;
#[path = "scale/turmoil.rs"]
mod turmoil;

use std::time::Instant;

use processes::Cores;
use report::Report;

fn main() -> multiproc::Result<()> {
    let mut report = Report::default();
    report.head("How the cost grows", "scale", None);
    turmoil::run(&mut report, &Cores::allowed())?;
    objects::run(&mut report)?;
    segments::run(&mut report)?;
    depth::run(&mut report)?;
    if !rounds::is_quick() {
        report.write("SCALE.md");
    }
    Ok(())
}

/// The nanoseconds of `body`, by the clock.
fn timed(body: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    body();
    begun.elapsed().as_nanos() as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A number with its thousands apart.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let from_the_end = |index: usize| digits.len() - index;
    digits
        .char_indices()
        .flat_map(|(index, digit)| {
            let comma = index > 0 && from_the_end(index).is_multiple_of(3);
            comma.then_some(',').into_iter().chain([digit])
        })
        .collect()
}
