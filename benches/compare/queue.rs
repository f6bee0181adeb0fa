//! Queues beside their peers: `cargo bench --bench queue [--features iceoryx2] [-- --quick]` in this directory.
//!
//! Each actor is a process on a core of its own, or shares it if there are more actors than cores; those of crossbeam and
//! rtrb are threads. Peers run interleaved with ours; figures are medians, ratios medians of ratios within a round. A full
//! run writes QUEUE.md; with `QUEUE_PART` (8, struct, 64, 1k, 64k, 1m, 2-2, 1-3, latency, limits) that part alone is printed.

#[cfg(boost)]
#[path = "queue/boost.rs"]
mod boost;
mod cpython;
#[path = "queue/latency.rs"]
mod latency;
mod processes;
#[path = "../rounds/pthread.rs"]
mod pthread;
mod report;
#[path = "queue/rings.rs"]
mod rings;
#[path = "../rounds/mod.rs"]
mod rounds;
#[path = "queue/topology.rs"]
mod topology;
#[path = "queue/wires.rs"]
mod wires;

use cpython::CPython;
use processes::Cores;
use report::{Goal, Report};
use rings::{Bare, Locked, Vyukov};
use rounds::{Contestant, Figures};
use topology::{Topology, Wire};
use wires::{
    Bytes, Cloudtoid, Crossbeam, Encoded, Endpoints, IpcChannel, Kanal, Plain, Rtrb, Samples, Stream,
};

const BARE: &str = "bare ring, one to one";
const VYUKOV: &str = "bare ring, many to many";
const CROSSBEAM: &str = "crossbeam-channel, threads";
const KANAL: &str = "kanal, threads";
const RTRB: &str = "rtrb, threads";
const CLOUDTOID: &str = "cloudtoid-interprocess";
const ICEORYX: &str = "iceoryx2, in place";
const LOCKED: &str = "ring under a pthread mutex";
#[cfg(boost)]
const BOOST: &str = "Boost message_queue";
const PIPE: &str = "pipe";
const SOCKET: &str = "Unix stream socket";
const IPC: &str = "ipc-channel, bytes";
const PYTHON: &str = "CPython Queue";
const FIFO: &str = "faster-fifo";
const PLAIN: &str = "**PlainQueue**";
const ENDPOINTS: &str = "**PlainQueue**, endpoints";
const ENCODED: &str = "**Queue**, postcard";
const ENCODED_ENDPOINTS: &str = "**Queue**, postcard, endpoints";
const BYTES: &str = "**Queue** of byte strings";
const IN_PLACE: &str = "**Queue**, in place";

const LIMITS: &str = "\
Each message lies in a slot that says what has become of it, and each line of slots goes to the consumer and comes back. Of
messages of 8 bytes, four slots to a line, half a line travels for each; in the bare ring, eight to a line, a quarter. Of 64
bytes, whose slots take 72, it is two lines and a quarter; in rtrb two. A handle that is shared makes two locked instructions at
each end besides; an endpoint makes none.

The bare ring of many to many has slots like ours and as many locked instructions: at 8 bytes, its rate is the limit of shared
handles. That of endpoints is the bare ring of one to one: a ring written by hand with our slots, states and stores, and no other
instructions, is as fast as that one. What endpoints miss of it are instructions, not line transfers: checks of lengths, places and
leases that a peer could have overwritten. What matters besides is how one end waits for the other: each look at a slot takes
its line from who writes there, so there are pauses before a look.

From run to run the rate of crossbeam-channel differs up to four times, ours by a fifth: read the ratio to it as that of this run.";

const ONE_TO_ONE: Topology = Topology { producers: 1, consumers: 1 };

fn main() -> multiproc::Result<()> {
    let (cores, python) = (Cores::allowed(), CPython::start());
    let mut report = Report::default();
    report.head("Queues beside their peers", "queue", python.as_ref());
    if cfg!(not(feature = "iceoryx2")) {
        report.line("\niceoryx2 is not among them: it was built without `--features iceoryx2`.");
    }
    let bench = Bench { cores: &cores, python: python.as_ref() };
    if is_wanted("8") {
        bench.small::<8>(&mut report, "8 B", "8", 1_000_000);
    }
    if is_wanted("struct") {
        bench.samples(&mut report);
    }
    if is_wanted("64") {
        bench.small::<64>(&mut report, "64 B", "64", 500_000);
    }
    if is_wanted("1k") {
        bench.small::<1024>(&mut report, "1 KiB", "1k", 150_000);
    }
    if is_wanted("64k") {
        bench.large(&mut report, "64 KiB", "64k", 64 << 10, 10_000);
    }
    if is_wanted("1m") {
        bench.large(&mut report, "1 MiB", "1m", 1 << 20, 500);
    }
    if is_wanted("2-2") {
        bench.crowd(&mut report, "two to two", Topology { producers: 2, consumers: 2 });
    }
    if is_wanted("1-3") {
        bench.crowd(&mut report, "one to three", Topology { producers: 1, consumers: 3 });
    }
    if is_wanted("latency") {
        latency::run(&mut report, &cores)?;
    }
    if is_wanted("limits") {
        report.section("## What limits it", LIMITS);
    }
    if !rounds::is_quick() && chosen().is_none() {
        report.write("QUEUE.md");
    }
    Ok(())
}

/// The only part that is wanted: `QUEUE_PART`, the name of one.
fn chosen() -> Option<String> {
    std::env::var("QUEUE_PART").ok()
}

fn is_wanted(part: &str) -> bool {
    chosen().is_none_or(|chosen| chosen == part)
}

struct Bench<'a> {
    cores: &'a Cores,
    python: Option<&'a CPython>,
}

/// Peers that sleep at each message do one of so many operations.
const SLEEPERS_SHARE: u64 = 20;

impl<'a> Bench<'a> {
    fn between<'b, W: Wire>(&'b self, name: &'static str, wire: impl Fn() -> W + 'b) -> Contestant<'b> {
        Contestant::new(name, move |n| ONE_TO_ONE.processes(n, self.cores, &wire()))
    }

    fn slowly<'b, W: Wire>(&'b self, name: &'static str, wire: impl Fn() -> W + 'b) -> Contestant<'b> {
        Contestant::new(name, move |n| {
            let share = n.div_ceil(SLEEPERS_SHARE);
            ONE_TO_ONE.processes(share, self.cores, &wire()) * n / share
        })
    }

    fn within<'b, W: Wire>(&'b self, name: &'static str, wire: impl Fn() -> W + 'b) -> Contestant<'b> {
        Contestant::new(name, move |n| ONE_TO_ONE.threads(n, self.cores, &wire()))
    }

    /// CPython's queues, for messages of this size.
    fn pythons<'b>(&'b self, size: &'static str) -> Vec<Contestant<'b>> {
        let Some(python) = self.python else { return Vec::new() };
        let queue = move |kind: &'static str| move |n| python.run(&format!("{kind}_{size}"), n);
        let mut all = vec![Contestant::new(PYTHON, queue("queue"))];
        if queue("fifo")(1) > 0 {
            all.push(Contestant::new(FIFO, queue("fifo")));
        }
        all
    }

    /// Messages that go as plain data.
    fn small<const N: usize>(&self, report: &mut Report, size: &str, tag: &'static str, messages: u64)
    where
        [u8; N]: bytemuck::Pod,
    {
        let mut contestants = vec![
            self.between(BARE, || Bare::new(N)),
            self.between(VYUKOV, || Vyukov::new(N)),
            self.within(CROSSBEAM, || Crossbeam::new([1_u8; N])),
            self.within(KANAL, || Kanal::new([1_u8; N])),
            self.within(RTRB, || Rtrb::new([1_u8; N])),
            self.between(CLOUDTOID, || Cloudtoid::new(N)),
            self.between(LOCKED, || Locked::new(N)),
            self.slowly(PIPE, || Stream::pipe(N)),
            self.slowly(SOCKET, || Stream::socket(N)),
            self.slowly(IPC, || IpcChannel::new(N)),
        ];
        #[cfg(boost)]
        contestants.push(self.between(BOOST, || boost::BoostQueue::new(N)));
        #[cfg(feature = "iceoryx2")]
        contestants.push(self.slowly(ICEORYX, || wires::Iceoryx::new(N)));
        contestants.extend(self.pythons(tag));
        contestants.push(self.between(PLAIN, Plain::<N>::new));
        contestants.push(self.between(ENDPOINTS, Endpoints::<N>::new));
        contestants.push(self.between(BYTES, || Bytes::new(N, false)));
        contestants.push(self.between(IN_PLACE, || Bytes::new(N, true)));
        if N == 8 {
            contestants.push(self.between(ENCODED, Encoded::new));
        }
        let figures = measure(&mut contestants, messages);
        section(report, size, &figures);
        let targets = match N {
            8 => vec![(PLAIN, CROSSBEAM, 1.0), (ENDPOINTS, RTRB, 1.0), (ENDPOINTS, BARE, 0.6)],
            64 => vec![(PLAIN, RTRB, 1.0), (ENDPOINTS, RTRB, 1.0)],
            _ => vec![(PLAIN, BARE, 0.9)],
        };
        print_targets(report, &figures, &targets);
    }

    /// A small struct, as plain data and by postcard.
    fn samples(&self, report: &mut Report) {
        let mut contestants = vec![
            self.between(PLAIN, || Samples::plain(false)),
            self.between(ENDPOINTS, || Samples::plain(true)),
            self.between(ENCODED, || Samples::postcard(false)),
            self.between(ENCODED_ENDPOINTS, || Samples::postcard(true)),
        ];
        let figures = measure(&mut contestants, 1_000_000);
        section(report, "A struct of 24 bytes", &figures);
        print_targets(report, &figures, &[(ENCODED, PLAIN, 0.5)]);
    }

    /// Messages that are byte strings.
    fn large(&self, report: &mut Report, size: &str, tag: &'static str, bytes: usize, messages: u64) {
        let mut contestants = vec![
            self.between(BARE, || Bare::new(bytes)),
            self.between(VYUKOV, || Vyukov::new(bytes)),
            self.within(CROSSBEAM, || Crossbeam::new(vec![1_u8; bytes])),
            self.within(KANAL, || Kanal::new(vec![1_u8; bytes])),
            self.within(RTRB, || Rtrb::new(vec![1_u8; bytes])),
            self.between(CLOUDTOID, || Cloudtoid::new(bytes)),
            self.between(LOCKED, || Locked::new(bytes)),
            self.between(PIPE, || Stream::pipe(bytes)),
            self.between(SOCKET, || Stream::socket(bytes)),
            self.between(IPC, || IpcChannel::new(bytes)),
        ];
        #[cfg(boost)]
        contestants.push(self.between(BOOST, || boost::BoostQueue::new(bytes)));
        #[cfg(feature = "iceoryx2")]
        contestants.push(self.between(ICEORYX, || wires::Iceoryx::new(bytes)));
        contestants.extend(self.pythons(tag));
        contestants.push(self.between(BYTES, || Bytes::new(bytes, false)));
        contestants.push(self.between(IN_PLACE, || Bytes::new(bytes, true)));
        let figures = measure(&mut contestants, messages);
        section(report, size, &figures);
        let mut targets = vec![(IN_PLACE, BARE, 0.9)];
        if figures.names().contains(&ICEORYX) {
            targets.push((IN_PLACE, ICEORYX, 1.0));
        }
        print_targets(report, &figures, &targets);
    }

    /// Several at one or both ends, messages of 8 bytes.
    fn crowd(&self, report: &mut Report, what: &str, topology: Topology) {
        let cores = self.cores;
        let mut contestants = vec![
            Contestant::new(VYUKOV, |n| topology.processes(n, cores, &Vyukov::new(8))),
            Contestant::new(CROSSBEAM, |n| topology.threads(n, cores, &Crossbeam::new([1_u8; 8]))),
            Contestant::new(KANAL, |n| topology.threads(n, cores, &Kanal::new([1_u8; 8]))),
            Contestant::new(CLOUDTOID, |n| topology.processes(n, cores, &Cloudtoid::new(8))),
            Contestant::new(LOCKED, |n| topology.processes(n, cores, &Locked::new(8))),
            Contestant::new(PLAIN, |n| topology.processes(n, cores, &Plain::<8>::new())),
            Contestant::new(ENCODED, |n| topology.processes(n, cores, &Encoded::new())),
        ];
        #[cfg(boost)]
        contestants
            .push(Contestant::new(BOOST, |n| topology.processes(n, cores, &boost::BoostQueue::new(8))));
        let figures = measure(&mut contestants, 500_000);
        section(report, &format!("8 B, {what}"), &figures);
        print_targets(report, &figures, &[(PLAIN, CROSSBEAM, 0.8)]);
    }
}

fn measure(contestants: &mut [Contestant<'_>], messages: u64) -> Figures {
    let (rounds, messages) = if rounds::is_quick() { (3, messages.div_ceil(2)) } else { (5, messages) };
    rounds::measure(contestants, rounds, messages)
}

fn section(report: &mut Report, what: &str, figures: &Figures) {
    report.section(&format!("## {what}"), "Messages per second, and how many times as many as the peer.");
    let peers: Vec<_> =
        [BARE, CROSSBEAM, RTRB].into_iter().filter(|peer| figures.names().contains(peer)).collect();
    let rows: Vec<_> = figures
        .names()
        .iter()
        .map(|name| {
            let mut row = vec![name.to_string(), rate(figures.nanos(name))];
            row.extend(peers.iter().map(|peer| format!("{:.2}", figures.ratio(peer, name))));
            row
        })
        .collect();
    let heads: Vec<_> = peers.iter().map(|peer| format!("/ {peer}")).collect();
    let heads: Vec<_> = std::iter::once("/s").chain(heads.iter().map(String::as_str)).collect();
    report.table(&heads, &rows);
}

fn rate(nanos: f64) -> String {
    match 1e9 / nanos {
        rate if rate >= 1e6 => format!("{:.1} M", rate / 1e6),
        rate if rate >= 1e4 => format!("{:.0} k", rate / 1e3),
        rate => format!("{:.2} k", rate / 1e3),
    }
}

fn print_targets(report: &mut Report, figures: &Figures, targets: &[(&str, &str, f64)]) {
    let targets: Vec<_> = targets
        .iter()
        .map(|&(name, peer, least)| {
            (format!("{name} / {peer}"), figures.ratio(peer, name), Goal::AtLeast(least))
        })
        .collect();
    report.targets(&targets);
}
