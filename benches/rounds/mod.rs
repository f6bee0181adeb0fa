//! Interleaved rounds: every contestant runs once per round, so that whatever disturbs the machine disturbs all of them;
//! figures are medians, and ratios are medians of the ratios within one round.

#![allow(dead_code)] // Each benchmark uses a part.

/// One thing that is measured.
pub(crate) struct Contestant<'a> {
    pub(crate) name: &'static str,
    /// Does the operation that many times and returns the nanoseconds that took.
    pub(crate) run: Box<dyn FnMut(u64) -> u64 + 'a>,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(name: &'static str, run: impl FnMut(u64) -> u64 + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// Nanoseconds per operation: one row per contestant, one column per round.
pub(crate) struct Figures {
    names: Vec<&'static str>,
    rows: Vec<Vec<f64>>,
}

/// Runs all contestants `rounds` times by turns, after one round that isn't counted.
pub(crate) fn measure(contestants: &mut [Contestant<'_>], rounds: usize, operations: u64) -> Figures {
    let mut rows = vec![Vec::with_capacity(rounds); contestants.len()];
    for round in 0..=rounds {
        for (contestant, row) in contestants.iter_mut().zip(&mut rows) {
            let nanos = (contestant.run)(operations);
            if round > 0 {
                row.push(nanos as f64 / operations as f64);
            }
        }
    }
    Figures { names: contestants.iter().map(|contestant| contestant.name).collect(), rows }
}

impl Figures {
    /// The names, in the order of the contestants.
    pub(crate) fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// The median of nanoseconds per operation.
    pub(crate) fn nanos(&self, name: &str) -> f64 {
        median(self.row(name).to_vec())
    }

    /// The median over the rounds of how many times as long as `peer` `name` took.
    pub(crate) fn ratio(&self, name: &str, peer: &str) -> f64 {
        median(self.row(name).iter().zip(self.row(peer)).map(|(own, other)| own / other).collect())
    }

    /// Prints operations per second, and how many times as many as each of `peers` has.
    pub(crate) fn print_rates(&self, peers: &[&str]) {
        let heads: String = peers.iter().map(|peer| format!(" / {peer} |")).collect();
        println!("| | M/s |{heads}\n|---|---|{}", "---|".repeat(peers.len()));
        for name in self.names() {
            let ratios: String =
                peers.iter().map(|peer| format!(" {:.2} |", self.ratio(peer, name))).collect();
            println!("| {name} | {:.2} |{ratios}", 1e3 / self.nanos(name));
        }
    }

    fn row(&self, name: &str) -> &[f64] {
        let index = self.names.iter().position(|other| *other == name).expect("a contestant");
        &self.rows[index]
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Whether this is to be a short run that only shows that the benchmark works: `--quick`, or not under `cargo bench`.
pub(crate) fn is_quick() -> bool {
    std::env::args().any(|argument| argument == "--quick")
        || !std::env::args().any(|argument| argument == "--bench")
}
