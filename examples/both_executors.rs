//! One function, run on threads and on processes: `cargo run --example both_executors`.

use multiproc::Result;
use multiproc::futures::{Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed};

/// How many steps it takes to 1, if an even number is halved and of an odd one three times and one more is taken.
fn collatz(n: u64) -> (u64, u64) {
    let next = |n: &u64| (*n != 1).then(|| if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 });
    (n, std::iter::successors(Some(n), next).count() as u64 - 1)
}

/// The number below `end` that takes the most steps. It does not know who calls the function.
fn longest(executor: &impl Executor, end: u64) -> Result<(u64, u64)> {
    let mut longest = (1, 0);
    for result in executor.map(collatz, 1..end) {
        let (n, steps) = result?;
        if steps > longest.1 {
            longest = (n, steps);
        }
    }
    Ok(longest)
}

fn main() -> Result<()> {
    let (threads, processes) = (ThreadPoolExecutor::new(2)?, ProcessPoolExecutor::new(2)?);
    println!("threads: {:?}", longest(&threads, 10_000)?);
    println!("processes: {:?}", longest(&processes, 10_000)?);

    // Futures of both are of one type.
    let futures = [threads.submit(collatz, 27), processes.submit(collatz, 97)];
    let mut steps = Vec::new();
    for future in as_completed(futures, None) {
        steps.push(future?.into_result()?);
    }
    steps.sort_unstable();
    println!("together: {steps:?}");
    Ok(())
}
