//! Queues of up to 100 million items.

use multiproc::{PlainQueue, Queue};

use crate::report::{Goal, Report};
use crate::{grouped, median, rounds, timed};

struct Cost {
    /// Nanoseconds for each item: put, put and got at this depth, got.
    nanos: [f64; 3],
    full: u64,
    empty: u64,
}

pub(crate) fn run(report: &mut Report) -> multiproc::Result<()> {
    let depths: &[usize] = if rounds::is_quick() {
        &[1_000, 100_000, 1_000_000]
    } else {
        &[1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000]
    };
    let grows = |_| Queue::plain_unbounded();
    for (title, make) in [
        ("## Depth of a queue that grows", &grows as &dyn Fn(usize) -> multiproc::Result<PlainQueue<u64>>),
        ("## Depth of a bounded queue", &Queue::plain),
    ] {
        let mut costs = Vec::new();
        for &depth in depths {
            costs.push((depth, measure(depth, make)?));
        }
        report.section(
            title,
            "Nanoseconds for each of so many numbers, by one process: put one after the other, then put and got in turn at that \
             depth, then got. The memory is what the queue takes with all of them in it, and when they have gone: \
             16 bytes an item, its own 8 and as many for who commits it.",
        );
        let row = |(depth, cost): &(usize, Cost)| {
            let [put, both, get] = cost.nanos.map(|nanos| format!("{nanos:.1}"));
            let memory =
                [cost.full, cost.empty].map(|bytes| format!("{:.2}", bytes as f64 / f64::from(1 << 20)));
            let each = format!("{:.1}", cost.full as f64 / *depth as f64);
            let [full, empty] = memory;
            vec![grouped(*depth), put, both, get, full, each, empty]
        };
        report.table(
            &["put, ns", "put and get, ns", "get, ns", "MiB", "bytes each", "MiB then"],
            &costs.iter().map(row).collect::<Vec<_>>(),
        );
        if let [first, .., last] = &costs[..] {
            let what =
                |operation: &str| format!("{operation}, depth {} / {}", grouped(last.0), grouped(first.0));
            let ratio = |operation: usize| last.1.nanos[operation] / first.1.nanos[operation];
            report.targets(&[
                (what("put and get"), ratio(1), Goal::AtMost(3.0)),
                (what("get"), ratio(2), Goal::AtMost(3.0)),
            ]);
        }
    }
    Ok(())
}

fn measure(
    depth: usize,
    make: &dyn Fn(usize) -> multiproc::Result<PlainQueue<u64>>,
) -> multiproc::Result<Cost> {
    const PAIRS: u64 = 100_000;
    let times = (1_000_000 / depth).clamp(1, 50);
    let mut all: [Vec<f64>; 3] = [const { Vec::new() }; 3];
    let (mut full, mut empty) = (0, 0);
    for _ in 0..times {
        // Room for the one more that is put before one is got.
        let queue = make(depth + 1)?;
        let depth = depth as u64;
        let put = timed(|| (0..depth).for_each(|n| queue.put(n).expect("there is room")));
        full = queue.stats().expect("a whole queue").bytes;
        let pairs = timed(|| {
            for n in 0..PAIRS {
                queue.put(depth + n).expect("there is room");
                assert_eq!(queue.get().expect("items"), n);
            }
        });
        let get = timed(|| {
            for n in PAIRS..PAIRS + depth {
                assert_eq!(queue.get().expect("items"), n);
            }
        });
        empty = queue.stats().expect("a whole queue").bytes;
        all[0].push(put / depth as f64);
        all[1].push(pairs / PAIRS as f64);
        all[2].push(get / depth as f64);
    }
    Ok(Cost { nanos: all.map(median), full, empty })
}
