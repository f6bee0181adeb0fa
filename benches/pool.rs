//! `Pool`: trivial tasks a second, from a call to its result, and from nothing to the end of a pool:
//! `cargo bench --bench pool [-- --quick] [NAME]`; with a part of a name, that contestant alone.

#[path = "rounds/mod.rs"]
mod rounds;

use std::time::Instant;

use multiproc::{MapOptions, Pool, StartMethod};
use rounds::Contestant;

fn same(n: u64) -> u64 {
    n
}

fn nanos(work: impl FnOnce()) -> u64 {
    let begun = Instant::now();
    work();
    u64::try_from(begun.elapsed().as_nanos()).expect("no benchmark runs that long")
}

fn chunk(chunk: usize) -> MapOptions {
    MapOptions { chunk: Some(chunk), ..MapOptions::default() }
}

fn main() -> multiproc::Result<()> {
    let (rounds, tasks) = if rounds::is_quick() { (1, 1_000) } else { (7, 100_000) };
    let pool = Pool::new(2)?;
    let contestants = [
        Contestant::new("map, chunk 1", |n| {
            nanos(|| drop(pool.map_with(same, 0..n, chunk(1)).expect("it does not fail")))
        }),
        Contestant::new("map, automatic chunks", |n| {
            nanos(|| drop(pool.map(same, 0..n).expect("it does not fail")))
        }),
        Contestant::new("imap, chunk 1", |n| {
            nanos(|| assert_eq!(pool.imap(same, 0..n).filter(Result::is_ok).count() as u64, n))
        }),
        Contestant::new("imap_unordered, chunk 16", |n| {
            nanos(|| assert_eq!(pool.imap_unordered_with(same, 0..n, chunk(16)).count() as u64, n))
        }),
        Contestant::new("apply_async, then all results", |n| {
            nanos(|| {
                let results: Vec<_> = (0..n).map(|n| pool.apply_async(same, n)).collect();
                assert!(results.iter().all(|result| result.get().is_ok()));
            })
        }),
    ];
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut contestants =
        contestants.into_iter().filter(|one| one.name.contains(&wanted)).collect::<Vec<_>>();
    let figures = rounds::measure(&mut contestants, rounds, tasks);
    drop(contestants);
    figures.print_rates(&[]);

    let calls = tasks / 20;
    let start = |method| {
        nanos(|| {
            let pool = Pool::builder().processes(2).start_method(method).build().expect("a pool");
            assert_eq!(pool.apply(same, 3), Ok(3));
            pool.close();
            pool.join().expect("it is closed");
        })
    };
    let single = Pool::new(1)?;
    let apply = |pool: &Pool, n| nanos(|| (0..n).for_each(|n| assert_eq!(pool.apply(same, n), Ok(n))));
    let mut applies = [
        Contestant::new("apply: submit to result", |n| apply(&pool, n)),
        Contestant::new("apply: submit to result, one worker", |n| apply(&single, n)),
    ];
    if !applies.iter().any(|one| one.name.contains(&wanted)) {
        return Ok(());
    }
    let figures = rounds::measure(&mut applies, rounds, calls);
    println!();
    for name in figures.names() {
        println!("{name}: {:.2} us", figures.nanos(name) / 1e3);
    }
    let mut starts = [
        Contestant::new("spawn", |_| start(StartMethod::Spawn)),
        Contestant::new("zygote", |_| start(StartMethod::Zygote)),
    ];
    let figures = rounds::measure(&mut starts, rounds, 1);
    for name in ["spawn", "zygote"] {
        println!("start, first result, shutdown ({name}): {:.2} ms", figures.nanos(name) / 1e6);
    }
    Ok(())
}
