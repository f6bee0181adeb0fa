//! What the program prints, and the comparison with a single process.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::count::Counter;
use crate::files;
use crate::tally::{LENGTHS, Tally, length};

pub fn print(
    out: &mut impl Write,
    tally: &Tally,
    top: u64,
    killed: &[u32],
    elapsed: Duration,
) -> io::Result<()> {
    let totals = tally.totals.get();
    writeln!(
        out,
        "{} words, {} different ones, in {} files; {} binary files skipped",
        totals.words,
        tally.words.len(),
        totals.files,
        totals.binary
    )?;
    let megabytes = totals.bytes as f64 / 1e6;
    writeln!(
        out,
        "{megabytes:.1} MB in {:.3} s: {}",
        elapsed.as_secs_f64(),
        throughput(totals.bytes, elapsed)
    )?;

    let mut commonest: Vec<_> = tally.words.iter().map(|(word, &count)| (count, word)).collect();
    commonest.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    writeln!(out, "\nthe commonest words")?;
    for (count, word) in commonest.iter().take(top as usize) {
        writeln!(out, "{count:>12}  {}", String::from_utf8_lossy(word))?;
    }

    writeln!(out, "\nwords by length")?;
    let lengths = tally.lengths.to_vec().map_err(io::Error::other)?;
    let longest_bar = lengths.iter().max().map_or(1, |&n| n.max(1));
    for (index, &count) in lengths.iter().enumerate().filter(|&(_, &count)| count > 0) {
        let bar = "#".repeat((count * 50).div_ceil(longest_bar) as usize);
        let more = if index + 1 == LENGTHS { "+" } else { " " };
        writeln!(out, "{count:>12}  {:>2}{more} {bar}", index + 1)?;
    }

    writeln!(out, "\nworkers")?;
    for (worker, share) in tally.shares.iter().enumerate() {
        let megabytes = share.bytes as f64 / 1e6;
        writeln!(out, "{:>12}  {} words, {} files, {megabytes:.1} MB", worker + 1, share.words, share.files)?;
    }
    for pid in killed {
        writeln!(out, "process {pid} was killed, and another took its task")?;
    }
    Ok(())
}

pub fn throughput(bytes: u64, elapsed: Duration) -> String {
    format!("{:.0} MB/s", bytes as f64 / 1e6 / elapsed.as_secs_f64())
}

/// Counts again in this process alone, and says what differs.
pub fn verify(paths: &[PathBuf], tally: &Tally) -> multiproc::Result<Vec<String>> {
    let started = Instant::now();
    let mut counter = Counter::new();
    files::walk(paths, |path, size| {
        match size {
            Ok(_) => counter.add_file(&path),
            Err(error) => counter.add_failure(&path, &error),
        }
        Ok(())
    })?;
    let mut lengths = vec![0; LENGTHS];
    for (word, count) in &counter.words {
        lengths[length(word) - 1] += count;
    }

    let mut differences = Vec::new();
    let totals = tally.totals.get();
    if counter.totals != totals {
        differences.push(format!("totals differ: {:?}, and by one process {:?}", totals, counter.totals));
    }
    if lengths != tally.lengths.to_vec()? {
        differences.push("the lengths of words differ".to_owned());
    }
    let words = counter.words.iter().filter(|&(word, count)| tally.words.get(word) != Some(count)).count();
    if words > 0 || counter.words.len() != tally.words.len() {
        differences.push(format!("the counts of {words} words differ"));
    }
    if differences.is_empty() {
        let seconds = started.elapsed().as_secs_f64();
        // Who reads may have had enough.
        let _ = writeln!(io::stdout(), "verified: one process counts the same, in {seconds:.3} s");
    }
    Ok(differences)
}
