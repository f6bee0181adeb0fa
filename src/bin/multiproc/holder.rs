//! Who holds a lease, and for how long, as far as that can be known.
//!
//! A lease's word has the thread's id and no time. So a holder has held it for at most as long as its thread has lived; and,
//! where one looks again and again, probably for at least as long as it was seen holding it: it may have given it up and
//! taken it again between two looks.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

/// A thread, as `/proc` shows it.
pub(crate) struct Thread {
    /// The process that it belongs to.
    pub(crate) pid: u32,
    /// Its own name.
    pub(crate) name: String,
    /// The command line of its process.
    pub(crate) command: String,
    /// How long it has lived.
    pub(crate) age: Duration,
}

/// A lease: its segment's file, its object's offset there (0: the segment's own), its role and index.
pub(crate) type Key = ((u64, u64), usize, &'static str, usize);

/// Since when each lease was seen in the same hands, look after look.
#[derive(Default)]
pub(crate) struct Held {
    since: HashMap<Key, (u32, Instant)>,
}

impl Thread {
    /// The thread `tid`, if there is one.
    pub(crate) fn find(tid: u32) -> Option<Self> {
        let read = |path: String| fs::read(path).ok();
        let status = read(format!("/proc/{tid}/status"))?;
        let status = String::from_utf8_lossy(&status);
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let pid = field("Tgid:")?.parse().ok()?;
        let command = read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = command.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
        Some(Self {
            pid,
            name: field("Name:").unwrap_or_default().to_owned(),
            command: words.join(" ").trim_end().to_owned(),
            age: age(tid).unwrap_or_default(),
        })
    }
}

/// How long ago the thread `tid` began.
fn age(tid: u32) -> Option<Duration> {
    let stat = fs::read(format!("/proc/{tid}/stat")).ok()?;
    // Behind the name, which ends at the last parenthesis, come fields 3 and on; the 22nd is the time of the beginning.
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let stat = String::from_utf8_lossy(stat.get(end + 1..)?);
    let began: u64 = stat.split_whitespace().nth(22 - 3)?.parse().ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let began = began as f64 / rustix::param::clock_ticks_per_second() as f64;
    Some(Duration::from_secs_f64((uptime - began).max(0.0)))
}

impl Held {
    /// Takes note of what one look has seen: leases and who holds them. Those that it has not seen are forgotten.
    pub(crate) fn note(&mut self, seen: impl IntoIterator<Item = (Key, u32)>, now: Instant) {
        let before = std::mem::take(&mut self.since);
        self.since.extend(seen.into_iter().map(|(key, tid)| {
            let since =
                before.get(&key).filter(|(holder, _)| *holder == tid).map_or(now, |&(_, since)| since);
            (key, (tid, since))
        }));
    }

    /// How long the lease was seen in these hands, if anybody looks again and again.
    pub(crate) fn seen_for(&self, key: &Key, tid: u32) -> Option<Duration> {
        let &(holder, since) = self.since.get(key)?;
        (holder == tid).then(|| since.elapsed())
    }
}
