//! 1 to 10,000 segments of one process, and where they end.

use std::sync::atomic::{AtomicU64, Ordering};

use multiproc::{Error, Segment, Value};

use crate::processes::{Child, Shared};
use crate::report::{Goal, Report};
use crate::{grouped, median, rounds, timed};

const PAGE: usize = 4096;

struct Cost {
    /// Microseconds for each.
    micros: [f64; 4],
    descriptors: usize,
    mappings: usize,
}

pub(crate) fn run(report: &mut Report) -> multiproc::Result<()> {
    let counts: &[usize] =
        if rounds::is_quick() { &[1, 10, 100, 1_000] } else { &[1, 10, 100, 1_000, 10_000] };
    let usual = files_limit(None);
    // As many as this process may ask for, and some for what it has besides.
    files_limit(Some(usual.rlim_max));
    let heads = ["create, us", "drop, us", "create named, us", "open named, us", "descriptors", "mappings"];
    let mut costs = Vec::new();
    for &count in counts {
        if count as u64 + 100 > usual.rlim_max {
            report.line(&format!(
                "\nRLIMIT_NOFILE forbids {count} segments: its hard limit is {}.",
                usual.rlim_max
            ));
            continue;
        }
        costs.push((count, measure(count)?));
    }
    files_limit(Some(usual.rlim_cur));
    report.section(
        "## Segments of a process",
        "Microseconds for each of so many segments of a page, and what they take together: made and dropped without names; \
         made with names, dropped, and opened. Each takes a descriptor, by which it is sent to other processes, and a mapping.",
    );
    let row = |(count, cost): &(usize, Cost)| {
        let [create, drop, create_named, open] = cost.micros.map(|micros| format!("{micros:.1}"));
        let (descriptors, mappings) = (cost.descriptors.to_string(), cost.mappings.to_string());
        vec![grouped(*count), create, drop, create_named, open, descriptors, mappings]
    };
    report.table(&heads, &costs.iter().map(row).collect::<Vec<_>>());
    if let [_, _, hundred, .., most] = &costs[..] {
        let ratio = |operation: usize| most.1.micros[operation] / hundred.1.micros[operation];
        let named =
            |what, operation| (format!("{what}, {} segments / 100", grouped(most.0)), ratio(operation));
        let targets = [named("create", 0), named("drop", 1), named("open", 3)];
        report.targets(&targets.map(|(what, ratio)| (what, ratio, Goal::AtMost(3.0))));
    }
    unnamed_objects(report)?;
    limits(report);
    Ok(())
}

fn measure(count: usize) -> multiproc::Result<Cost> {
    let times = (if rounds::is_quick() { 200 } else { 5_000 } / count).clamp(1, 100);
    let mut all: [Vec<f64>; 4] = [const { Vec::new() }; 4];
    let (mut descriptors, mut mappings) = (0, 0);
    for _ in 0..times {
        let before = (entries_of("/proc/self/fd"), lines_of("/proc/self/maps"));
        let mut segments = Vec::with_capacity(count);
        all[0].push(timed(|| {
            segments.extend((0..count).map(|_| Segment::anonymous(PAGE).expect("memory and descriptors")));
        }));
        descriptors = entries_of("/proc/self/fd") - before.0;
        mappings = lines_of("/proc/self/maps") - before.1;
        all[1].push(timed(|| drop(segments)));

        let names: Vec<_> = (0..count).map(|n| format!("scale-{}-{n}", std::process::id())).collect();
        let mut segments = Vec::with_capacity(count);
        all[2].push(timed(|| {
            segments.extend(names.iter().map(|name| Segment::create(name, PAGE).expect("a free name")));
        }));
        segments.clear();
        all[3].push(timed(|| {
            segments.extend(names.iter().map(|name| Segment::open(name).expect("it was created")));
        }));
        segments.iter().try_for_each(Segment::remove)?;
    }
    let micros = all.map(|nanos| median(nanos) / count as f64 / 1e3);
    Ok(Cost { micros, descriptors, mappings })
}

/// Values without names share segments.
fn unnamed_objects(report: &mut Report) -> multiproc::Result<()> {
    report.section(
        "## Objects without names",
        "So many `Value<u64>`s, made by `Value::new`. Small objects without names share segments of 64 KiB, so the limits of \
         descriptors and mappings are far away.",
    );
    let mut rows = Vec::new();
    for count in [1, 100, 10_000, 100_000] {
        let before = (entries_of("/proc/self/fd"), lines_of("/proc/self/maps"));
        let mut values = Vec::with_capacity(count);
        let made = timed(|| values.extend((0..count).map(|n| Value::new(n).expect("memory"))));
        let (descriptors, mappings) =
            (entries_of("/proc/self/fd") - before.0, lines_of("/proc/self/maps") - before.1);
        let dropped = timed(|| drop(values));
        let micros = [made, dropped].map(|nanos| format!("{:.2}", nanos / count as f64 / 1e3));
        let [made, dropped] = micros;
        rows.push(vec![grouped(count), made, dropped, descriptors.to_string(), mappings.to_string()]);
    }
    report.table(&["create, us", "drop, us", "descriptors", "mappings"], &rows);
    Ok(())
}

/// How many segments there can be, and what ends them.
fn limits(report: &mut Report) {
    report.section(
        "## The last segment",
        "How many segments of a page a process makes until one fails, and how it fails, by its limit of open files. That one comes first: \
         1024 is usual, and `setrlimit(2)` raises it as far as its hard limit. The next is the number of mappings that the \
         kernel lets a process have.",
    );
    let mut rows = Vec::new();
    let [hard, more] = [files_limit(None).rlim_max, 200_000];
    let limits: &[u64] = if rounds::is_quick() { &[1024] } else { &[1024, hard, more] };
    for &limit in limits {
        let made = Shared::new([const { AtomicU64::new(0) }; 2]);
        let child = Child::fork(|| {
            // Beyond the hard limit it takes a privilege.
            if !set_files_limit(limit, limit.max(hard)) {
                return;
            }
            let mut segments = Vec::new();
            let error = loop {
                match Segment::anonymous(PAGE) {
                    Ok(segment) => segments.push(segment),
                    Err(error) => break error,
                }
            };
            made[0].store(segments.len() as u64, Ordering::Relaxed);
            let kind = match error {
                Error::TooManyFiles { .. } => 1,
                Error::OutOfMemory { .. } => 2,
                _ => 3,
            };
            made[1].store(kind, Ordering::Relaxed);
        });
        child.join();
        let what = match made[1].load(Ordering::Relaxed) {
            0 => continue,
            1 => "`TooManyFiles`: RLIMIT_NOFILE",
            2 => "`OutOfMemory`: vm.max_map_count",
            _ => "another error",
        };
        let count = usize::try_from(made[0].load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        rows.push(vec![grouped(limit as usize), grouped(count), what.to_owned()]);
    }
    report.table(&["segments", "what ends them"], &rows);
    let maps = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
    report.line(&format!("\nvm.max_map_count is {}.", maps.trim()));
}

fn entries_of(directory: &str) -> usize {
    std::fs::read_dir(directory).map_or(0, Iterator::count)
}

fn lines_of(file: &str) -> usize {
    std::fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

/// The limits of open files; with `wanted`, after the soft one was made that.
fn files_limit(wanted: Option<u64>) -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes to `limit`.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0, "getrlimit");
    if let Some(wanted) = wanted {
        assert!(set_files_limit(wanted, limit.rlim_max), "setrlimit");
        limit.rlim_cur = wanted;
    }
    limit
}

fn set_files_limit(soft: u64, hard: u64) -> bool {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads `limit`.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0 }
}
