//! From a put to the end of the get: with both sides awake, and with a consumer that sleeps.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use multiproc::{PlainQueue, Queue};

use crate::processes::{Child, Cores, Shared, pin};
use crate::report::{Goal, Report};
use crate::rings::Bare;
use crate::rounds::{self, Contestant};
use crate::topology::{Wire, now};
use crate::wires::{Bytes, Crossbeam, Encoded, Endpoints, IpcChannel, Plain, Stream};

const BARE: &str = "bare ring, spinning";
const CROSSBEAM: &str = "crossbeam-channel, threads";
const PIPE: &str = "pipe";
const IPC: &str = "ipc-channel, bytes";
const PLAIN: &str = "**PlainQueue**";
const ENDPOINTS: &str = "**PlainQueue**, endpoints";
const ENCODED: &str = "**Queue**, postcard";
const BYTES: &str = "**Queue** of byte strings";
const IN_PLACE: &str = "**Queue**, in place";
const FUTEX: &str = "raw futex";

/// Peers that sleep at each message do one of so many operations.
const SLEEPERS_SHARE: u64 = 20;

pub(crate) fn run(report: &mut Report, cores: &Cores) -> multiproc::Result<()> {
    awake(report, cores);
    by_size(report, cores);
    asleep(report, cores)
}

/// Half of a round trip of messages of 8 bytes.
fn awake(report: &mut Report, cores: &Cores) {
    let (rounds, messages) = if rounds::is_quick() { (5, 2_000) } else { (15, 20_000) };
    let mut contestants = [
        Contestant::new(BARE, |n| one_way(n, cores, &[Bare::new(8), Bare::new(8)])),
        Contestant::new(CROSSBEAM, |n| one_way_of_threads(n, cores, &[0, 1].map(|n| Crossbeam::new([n; 8])))),
        Contestant::new(PIPE, |n| few(n, |n| one_way(n, cores, &[Stream::pipe(8), Stream::pipe(8)]))),
        Contestant::new(IPC, |n| few(n, |n| one_way(n, cores, &[IpcChannel::new(8), IpcChannel::new(8)]))),
        Contestant::new(PLAIN, |n| one_way(n, cores, &[Plain::<8>::new(), Plain::<8>::new()])),
        Contestant::new(ENDPOINTS, |n| one_way(n, cores, &[Endpoints::<8>::new(), Endpoints::<8>::new()])),
        Contestant::new(ENCODED, |n| one_way(n, cores, &[Encoded::new(), Encoded::new()])),
    ];
    let figures = rounds::measure(&mut contestants, rounds, messages);
    cores.unpin();
    report.section(
        "## Latency, awake",
        "Half of a round trip of 8 bytes between two cores, whose receivers sleep only if their kind can't do otherwise.",
    );
    let rows: Vec<_> = figures
        .names()
        .iter()
        .map(|name| {
            let (nanos, ratio) = (figures.nanos(name), figures.ratio(name, BARE));
            vec![name.to_string(), format!("{nanos:.0}"), format!("{ratio:.2}")]
        })
        .collect();
    report.table(&["ns", "/ bare"], &rows);
    let ratio = |name| (format!("{name} / {BARE}"), figures.ratio(name, BARE));
    let ((plain, shared), (endpoints, exclusive)) = (ratio(PLAIN), ratio(ENDPOINTS));
    report.targets(&[(plain, shared, Goal::AtMost(2.0)), (endpoints, exclusive, Goal::AtMost(1.5))]);
}

/// Half of a round trip of a byte string of each size.
fn by_size(report: &mut Report, cores: &Cores) {
    const SIZES: [(&str, usize, u64); 5] = [
        ("8 B", 8, 10_000),
        ("64 B", 64, 10_000),
        ("1 KiB", 1 << 10, 5_000),
        ("64 KiB", 64 << 10, 500),
        ("1 MiB", 1 << 20, 40),
    ];
    let all = SIZES.map(|(_, size, messages)| {
        let (rounds, messages) = if rounds::is_quick() { (3, messages.div_ceil(10)) } else { (9, messages) };
        let mut contestants = [
            Contestant::new(BARE, |n| one_way(n, cores, &[Bare::new(size), Bare::new(size)])),
            Contestant::new(CROSSBEAM, |n| {
                one_way_of_threads(n, cores, &[0_u8, 1].map(|n| Crossbeam::new(vec![n; size])))
            }),
            Contestant::new(PIPE, |n| {
                few(n, |n| one_way(n, cores, &[Stream::pipe(size), Stream::pipe(size)]))
            }),
            Contestant::new(IPC, |n| {
                few(n, |n| one_way(n, cores, &[IpcChannel::new(size), IpcChannel::new(size)]))
            }),
            Contestant::new(BYTES, |n| {
                one_way(n, cores, &[Bytes::new(size, false), Bytes::new(size, false)])
            }),
            Contestant::new(IN_PLACE, |n| {
                one_way(n, cores, &[Bytes::new(size, true), Bytes::new(size, true)])
            }),
        ];
        rounds::measure(&mut contestants, rounds, messages)
    });
    cores.unpin();
    report.section(
        "## Latency by size",
        "As above, for byte strings of each size, in microseconds: written by the sender, each word read by the receiver.",
    );
    let row = |name: &&'static str| {
        let micros = all.iter().map(|figures| format!("{:.2}", figures.nanos(name) / 1e3));
        std::iter::once(name.to_string()).chain(micros).collect()
    };
    let [first, ..] = &all;
    report.table(&SIZES.map(|(name, ..)| name), &first.names().iter().map(row).collect::<Vec<_>>());
}

fn few(n: u64, measure: impl Fn(u64) -> u64) -> u64 {
    measure(n.div_ceil(SLEEPERS_SHARE)) * n / n.div_ceil(SLEEPERS_SHARE)
}

fn one_way(messages: u64, cores: &Cores, wires: &[impl Wire; 2]) -> u64 {
    let child = Child::fork(|| {
        pin(cores.of(1));
        answer(messages, wires);
    });
    pin(cores.of(0));
    let nanos = ask(messages, wires);
    child.join();
    nanos / 2
}

fn one_way_of_threads(messages: u64, cores: &Cores, wires: &[impl Wire; 2]) -> u64 {
    let nanos = std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(cores.of(1));
            answer(messages, wires);
        });
        pin(cores.of(0));
        ask(messages, wires)
    });
    nanos / 2
}

fn ask(messages: u64, [there, back]: &[impl Wire; 2]) -> u64 {
    let (mut send, mut receive) = (there.sender(), back.receiver());
    let mut round_trips = |n| {
        (0..n).for_each(|_| {
            send();
            receive();
        });
    };
    round_trips(unmeasured(messages));
    let begun = now();
    round_trips(messages);
    now() - begun
}

fn answer(messages: u64, [there, back]: &[impl Wire; 2]) {
    let (mut receive, mut send) = (there.receiver(), back.sender());
    (0..unmeasured(messages) + messages).for_each(|_| {
        receive();
        send();
    });
}

fn unmeasured(messages: u64) -> u64 {
    messages / 10 + 1
}

/// From the call of put to the return of a get that sleeps, on another core, which sleeps too.
fn asleep(report: &mut Report, cores: &Cores) -> multiproc::Result<()> {
    let (rounds, messages) = if rounds::is_quick() { (5, 20) } else { (9, 200) };
    let plain: PlainQueue<u64> = Queue::plain(16)?;
    let queue: Queue<u64> = Queue::bounded(16)?;
    let word = Shared::new(AtomicU32::new(0));
    let mut contestants = [
        Contestant::new(FUTEX, |n| {
            // Wakes are counted: one that comes before the last one was taken is not lost.
            let wait = || {
                while word.load(Ordering::Acquire) == 0 {
                    // SAFETY: sleeps on a word that stays mapped.
                    unsafe {
                        libc::syscall(
                            libc::SYS_futex,
                            word.as_ptr(),
                            libc::FUTEX_WAIT,
                            0,
                            std::ptr::null::<u8>(),
                        )
                    };
                }
                word.fetch_sub(1, Ordering::Relaxed);
            };
            let wake = || {
                word.fetch_add(1, Ordering::Release);
                // SAFETY: wakes sleepers of a word that stays mapped.
                unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
            };
            wake_ups(n, cores, wake, wait)
        }),
        Contestant::new(PLAIN, |n| {
            wake_ups(n, cores, || plain.put(1).expect("room"), || _ = plain.get().expect("an item"))
        }),
        Contestant::new(ENCODED, |n| {
            wake_ups(n, cores, || queue.put(1).expect("room"), || _ = queue.get().expect("an item"))
        }),
    ];
    let figures = rounds::measure(&mut contestants, rounds, messages);
    cores.unpin();
    report.section("## Latency, asleep", "From a put to the end of a get that sleeps, on another core.");
    let rows: Vec<_> = figures
        .names()
        .iter()
        .map(|name| {
            let (micros, ratio) = (figures.nanos(name) / 1e3, figures.ratio(name, FUTEX));
            vec![name.to_string(), format!("{micros:.1}"), format!("{ratio:.2}")]
        })
        .collect();
    report.table(&["us", "/ raw futex"], &rows);
    report.targets(&[(format!("{PLAIN} / {FUTEX}"), figures.ratio(PLAIN, FUTEX), Goal::AtMost(1.1))]);
    Ok(())
}

/// The nanoseconds from `wake` to the end of `wait`, all of so many together.
fn wake_ups(messages: u64, cores: &Cores, wake: impl Fn(), wait: impl Fn()) -> u64 {
    let (sent, taken) = (Shared::new(AtomicU64::new(0)), Shared::new(AtomicU64::new(0)));
    let child = Child::fork(|| {
        pin(cores.of(1));
        for _ in 0..messages {
            wait();
            let late = now() - sent.load(Ordering::Acquire);
            taken.fetch_add(late, Ordering::AcqRel);
        }
    });
    pin(cores.of(0));
    for _ in 0..messages {
        // Until it sleeps.
        std::thread::sleep(Duration::from_micros(500));
        sent.store(now(), Ordering::Release);
        wake();
    }
    child.join();
    taken.load(Ordering::Acquire)
}
