//! Counts the primes below a number in a pool of processes: `cargo run --release --example prime_pool -- [BELOW] [WORKERS]`.
//!
//! The range is cut in pieces, a piece is a task, and results are added up as they come, with a progress bar.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use multiproc::{Error, Pool, Result, cpu_count};

/// Numbers in a piece.
const PIECE: u64 = 10_000;

/// How many primes there are from the first number up to before the second.
fn primes((first, end): (u64, u64)) -> u64 {
    let is_prime = |n: &u64| *n > 1 && (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (first..end).filter(is_prime).count() as u64
}

fn argument(index: usize, default: u64) -> Result<u64> {
    std::env::args().nth(index).map_or(Ok(default), |text| {
        text.parse().map_err(|_| Error::InvalidArgument {
            what: "argument",
            expected: "a number".to_owned(),
            found: text,
        })
    })
}

fn main() -> Result<()> {
    let below = argument(1, 1_000_000)?;
    let workers = argument(2, cpu_count() as u64)?;
    let pieces = (0..below).step_by(PIECE as usize).map(|first| (first, below.min(first + PIECE)));

    // Nothing is drawn where standard error is no terminal.
    let bar = ProgressBar::with_draw_target(Some(below.div_ceil(PIECE)), ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::default_bar());
    let pool = Pool::new(usize::try_from(workers).unwrap_or(usize::MAX))?;
    let mut count = 0;
    for found in pool.imap_unordered(primes, pieces) {
        count += found?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("{count} primes below {below}");
    Ok(())
}
