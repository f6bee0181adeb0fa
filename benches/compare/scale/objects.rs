//! 1 to 100,000 named objects in one segment.

use std::hint::black_box;
use std::sync::atomic::AtomicU64;

use multiproc::Segment;

use crate::report::{Goal, Report};
use crate::{grouped, median, rounds, timed};

/// What an object takes at most: a header, a name, a value, a place in the directory.
const BYTES: usize = 512;

struct Cost {
    place: f64,
    find: f64,
    miss: f64,
    list: f64,
    bytes: f64,
}

pub(crate) fn run(report: &mut Report) -> multiproc::Result<()> {
    let counts = [1, 10, 100, 1_000, 10_000, 100_000];
    let mut costs = Vec::new();
    for count in counts {
        costs.push((grouped(count), measure(count, count)?));
    }
    costs.push(("100,000, options for 1,000".to_owned(), measure(100_000, 1_000)?));
    report.section(
        "## Objects in a segment",
        "Nanoseconds for each of so many objects with names, `AtomicU64`s, in a segment whose options expect as many: to place \
         it, to find it in another order, to be told that there is none of a name, and to list it. Names are hashed into as \
         many chains as objects are expected: the last row shows the cliff, 100 times as many as that, and \
         `SegmentOptions::names` removes it. A segment that is not told expects one for each 512 of its bytes.",
    );
    let row = |(count, cost): &(String, Cost)| {
        let Cost { place, find, miss, list, bytes } = cost;
        let figures = [place, find, miss, list, bytes].map(|figure| format!("{figure:.0}"));
        std::iter::once(count.clone()).chain(figures).collect()
    };
    report.table(
        &["place, ns", "find, ns", "miss, ns", "list, ns", "bytes each"],
        &costs.iter().map(row).collect::<Vec<_>>(),
    );
    let [_, _, hundred, .., most, _] = &costs[..] else { return Ok(()) };
    let ratio = |cost: fn(&Cost) -> f64| cost(&most.1) / cost(&hundred.1);
    report.targets(&[
        ("place, 100,000 objects / 100".to_owned(), ratio(|cost| cost.place), Goal::AtMost(5.0)),
        ("find, 100,000 objects / 100".to_owned(), ratio(|cost| cost.find), Goal::AtMost(5.0)),
    ]);
    Ok(())
}

fn measure(count: usize, expected: usize) -> multiproc::Result<Cost> {
    let most = if rounds::is_quick() { 1_000 } else { 100_000 };
    let times = (most / count).clamp(1, 1_000);
    let names: Vec<_> = (0..count).map(|number| format!("object-{number}")).collect();
    let absent: Vec<_> = (0..count).map(|number| format!("absent-{number}")).collect();
    let mut all: [Vec<f64>; 4] = [const { Vec::new() }; 4];
    let mut bytes = 0.0;
    for _ in 0..times {
        let segment = Segment::options().size((1 << 20) + count * BYTES).names(expected).anonymous()?;
        let begun = next_place(&segment)?;
        all[0].push(timed(|| {
            for name in &names {
                drop(segment.place(name, AtomicU64::new(1)).expect("there is room"));
            }
        }));
        // The probe is an object as the others are.
        bytes = (next_place(&segment)? - begun) / (count + 1) as f64;
        // A step that has no factor in common with the counts: each once.
        let mut at = 0;
        all[1].push(timed(|| {
            for _ in 0..count {
                at = (at + 7_919) % count;
                drop(black_box(segment.find::<AtomicU64>(&names[at]).expect("it was placed")));
            }
        }));
        all[2].push(timed(|| {
            for name in &absent {
                assert!(segment.find::<AtomicU64>(name).is_err());
            }
        }));
        all[3].push(timed(|| assert!(segment.objects().len() >= count)));
    }
    let [place, find, miss, list] = all.map(|nanos| median(nanos) / count as f64);
    Ok(Cost { place, find, miss, list, bytes })
}

/// Where the next object goes: one that goes there says so.
fn next_place(segment: &Segment) -> multiproc::Result<f64> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static PROBES: AtomicUsize = AtomicUsize::new(0);
    let name = format!("probe-{}", PROBES.fetch_add(1, Ordering::Relaxed));
    let probe = segment.place(&name, AtomicU64::new(0))?;
    Ok(std::ptr::from_ref(&*probe).addr() as f64)
}
