//! Round trips between two processes: on one core, where a partner can only run while the other one sleeps or yields; and
//! awake, each on a core of its own.

use std::fs::File;
use std::hint::spin_loop;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use multiproc::{Condition, Event, Semaphore};

use crate::cpython::CPython;
use crate::peers::{Line, Posix, PthreadCond};
use crate::processes::{Child, Cores, Shared, pin};
use crate::report::{Goal, Report};
use crate::rounds::{self, Contestant, Figures};

const SPINNING: &str = "spinning on a cache line";
const FUTEX: &str = "raw futex";
const SLICED: &str = "raw futex, 100 ms at a time";
const SEM: &str = "POSIX sem_t, round trip";
const PTHREAD: &str = "pthread mutex and cond";
const EVENTFD: &str = "eventfd";
const PIPE: &str = "pipe";
const SOCKET: &str = "Unix stream socket";
const EVENT: &str = "**Event**, round trip";
const SEMAPHORE: &str = "**Semaphore**, round trip";
const CONDITION: &str = "**Condition**, round trip";
const NO_YIELD: [&str; 3] =
    ["**Event**, always asleep", "**Semaphore**, always asleep", "**Condition**, always asleep"];
const PYTHON_EVENT: &str = "CPython Event";
const PYTHON_CONDITION: &str = "CPython Condition";

/// One operation of a peer that always sleeps takes as long as so many awake.
const SLEEPERS_SHARE: u64 = 50;

/// The two ends of a line.
trait Line2 {
    /// One round trip, by the one who asks.
    fn ask(&self);
    /// The other's part.
    fn answer(&self);
}

/// Two words that are slept on, for ever or for a tenth of a second at a time, or only looked at.
struct Words<const SLEEPS: bool, const SLICES: bool>(Shared<[Line<AtomicU32>; 2]>);

type Spinning = Words<false, false>;
type Futex = Words<true, false>;
type SlicedFutex = Words<true, true>;

impl<const SLEEPS: bool, const SLICES: bool> Words<SLEEPS, SLICES> {
    fn new() -> Self {
        Self(Shared::new([0, 0].map(|zero| Line(AtomicU32::new(zero)))))
    }

    fn signal(&self, index: usize) {
        let word = &self.0[index].0;
        word.store(1, Ordering::Release);
        if SLEEPS {
            // SAFETY: wakes sleepers of a word that stays mapped.
            unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
        }
    }

    fn await_signal(&self, index: usize) {
        let word = &self.0[index].0;
        while word.load(Ordering::Acquire) == 0 {
            if SLEEPS {
                let slice = libc::timespec { tv_sec: 0, tv_nsec: 100_000_000 };
                let time = if SLICES { &raw const slice } else { std::ptr::null() };
                // SAFETY: sleeps on a word that stays mapped, for a time that is read before the call returns.
                unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, 0, time) };
            } else {
                spin_loop();
            }
        }
        word.store(0, Ordering::Relaxed);
    }
}

impl<const SLEEPS: bool, const SLICES: bool> Line2 for Words<SLEEPS, SLICES> {
    fn ask(&self) {
        self.signal(0);
        self.await_signal(1);
    }
    fn answer(&self) {
        self.await_signal(0);
        self.signal(1);
    }
}

impl Line2 for [Posix; 2] {
    fn ask(&self) {
        self[0].release();
        self[1].acquire();
    }
    fn answer(&self) {
        self[0].acquire();
        self[1].release();
    }
}

/// Two files, or ends of two wires, each read by one process and written by the other: in this order on either side.
struct Wires([(File, File); 2]);

impl Wires {
    fn eventfds() -> Self {
        let [there, back] = [0; 2].map(|_| {
            File::from(rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).expect("an eventfd"))
        });
        let clone = |file: &File| file.try_clone().expect("a descriptor");
        Self([(clone(&back), clone(&there)), (there, back)])
    }

    fn pipes() -> Self {
        let [(there, to_there), (back, to_back)] = [0; 2]
            .map(|_| std::io::pipe().map(|(r, w)| (OwnedFd::from(r), OwnedFd::from(w))).expect("a pipe"));
        Self([(back.into(), to_there.into()), (there.into(), to_back.into())])
    }

    fn sockets() -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        Self([ours, theirs].map(|end| {
            let clone = end.try_clone().expect("a descriptor");
            (OwnedFd::from(end).into(), OwnedFd::from(clone).into())
        }))
    }

    fn signal(&self, side: usize) {
        (&self.0[side].1).write_all(&1_u64.to_ne_bytes()).expect("a wire");
    }

    fn await_signal(&self, side: usize) {
        (&self.0[side].0).read_exact(&mut [0; 8]).expect("a wire");
    }
}

impl Line2 for Wires {
    fn ask(&self) {
        self.signal(0);
        self.await_signal(0);
    }
    fn answer(&self) {
        self.await_signal(1);
        self.signal(1);
    }
}

impl Line2 for PthreadCond {
    fn ask(&self) {
        self.pass_on(0);
    }
    fn answer(&self) {
        self.pass_on(1);
    }
}

impl Line2 for [Event; 2] {
    fn ask(&self) {
        self[0].set();
        self[1].wait();
        self[1].clear();
    }
    fn answer(&self) {
        self[0].wait();
        self[0].clear();
        self[1].set();
    }
}

impl Line2 for [Semaphore; 2] {
    fn ask(&self) {
        self[0].release();
        self[1].acquire();
    }
    fn answer(&self) {
        self[0].acquire();
        self[1].release();
    }
}

/// A turn that is waited for under a condition's lock.
struct Turn {
    condition: Condition,
    turn: Shared<Line<AtomicU32>>,
}

impl Turn {
    fn pass_on(&self, own: u32) {
        let mut guard = self.condition.lock().expect("nobody dies");
        while self.turn.0.load(Ordering::Relaxed) != own {
            guard = guard.wait().expect("nobody dies");
        }
        self.turn.0.store(1 - own, Ordering::Relaxed);
        guard.notify_one();
    }
}

impl Line2 for Turn {
    fn ask(&self) {
        self.pass_on(0);
    }
    fn answer(&self) {
        self.pass_on(1);
    }
}

/// The time of so many round trips between processes on these two cores.
fn round_trips(operations: u64, [own, other]: [usize; 2], line: &impl Line2) -> u64 {
    // The first ones find out that the partner has started, and whether it pays to spin.
    let unmeasured = operations / 10 + 1;
    let child = Child::fork(|| {
        pin(other);
        (0..unmeasured + operations).for_each(|_| line.answer());
    });
    pin(own);
    (0..unmeasured).for_each(|_| line.ask());
    let begun = Instant::now();
    (0..operations).for_each(|_| line.ask());
    let nanos = begun.elapsed().as_nanos();
    // Where a turn is passed on, the partner's last one is still to come.
    child.join();
    u64::try_from(nanos).expect("a short time")
}

pub(crate) fn run(
    report: &mut Report,
    quick: bool,
    cores: &Cores,
    python: Option<&CPython>,
) -> multiproc::Result<()> {
    let figures = asleep(quick, cores, python)?;
    report.section(
        "## Ping-pong, asleep on one core",
        "Two processes on one core: each must sleep, or yield, before the other can run. Ours find out that it pays to yield, \
         and then neither has to be woken. Where they are told not to, they sleep as the sliced futex does, 100 ms at a time: \
         setting and clearing that timer is what the kernel takes for looking around.",
    );
    let heads = ["us", "/ raw futex", "/ sem_t"];
    report.table(&heads, &rows(&figures, 1e3, [FUTEX, SEM]));
    let mut targets: Vec<_> =
        [EVENT, SEMAPHORE, CONDITION].map(|name| (name, FUTEX, 1.1, Goal::AtMost as fn(f64) -> Goal)).into();
    if python.is_some() {
        // How many times as fast.
        targets.push((PYTHON_EVENT, EVENT, 3.5, Goal::AtLeast));
        targets.push((PYTHON_CONDITION, CONDITION, 3.5, Goal::AtLeast));
    }
    print_targets(report, &figures, &targets);

    let title = "## Ping-pong, awake on two cores";
    if !cores.are_several() {
        report.section(title, "Needs two cores.");
        cores.unpin();
        return Ok(());
    }
    let figures = awake(quick, cores)?;
    report.section(
        title,
        "Two processes, each on a core of its own, that answer at once. What belongs to the kernel sleeps all the same.",
    );
    report.table(&["us", "/ spinning", "/ raw futex"], &rows(&figures, 1e3, [SPINNING, FUTEX]));
    let targets = [(EVENT, 1.5), (SEMAPHORE, 1.5), (CONDITION, 4.0)];
    let targets = targets.map(|(name, bound)| (name, SPINNING, bound, Goal::AtMost as fn(f64) -> Goal));
    print_targets(report, &figures, &targets);
    cores.unpin();
    Ok(())
}

fn rows(figures: &Figures, unit: f64, peers: [&str; 2]) -> Vec<Vec<String>> {
    let row = |name: &&str| {
        let mut row = vec![name.to_string(), format!("{:.2}", figures.nanos(name) / unit)];
        row.extend(peers.map(|peer| format!("{:.2}", figures.ratio(name, peer))));
        row
    };
    figures.names().iter().map(row).collect()
}

/// Name, peer, bound, and on which side of it the ratio should be.
type Target = (&'static str, &'static str, f64, fn(f64) -> Goal);

fn print_targets(report: &mut Report, figures: &Figures, targets: &[Target]) {
    let target = |&(name, peer, bound, goal): &Target| {
        (format!("{name} / {peer}"), figures.ratio(name, peer), goal(bound))
    };
    report.targets(&targets.iter().map(target).collect::<Vec<_>>());
}

/// What sleeps in the kernel for each signal.
struct Sleepers {
    words: Futex,
    sems: [Posix; 2],
    pthread: PthreadCond,
    eventfds: Wires,
    pipes: Wires,
    sockets: Wires,
}

impl Sleepers {
    fn new() -> Self {
        Self {
            words: Futex::new(),
            sems: [Posix::new(0), Posix::new(0)],
            pthread: PthreadCond::new(),
            eventfds: Wires::eventfds(),
            pipes: Wires::pipes(),
            sockets: Wires::sockets(),
        }
    }

    /// Each, on these cores, with a fraction of the operations.
    fn contestants<'a>(&'a self, on: [usize; 2], share: u64) -> Vec<Contestant<'a>> {
        fn timed<'a>(name: &'static str, line: &'a impl Line2, on: [usize; 2], share: u64) -> Contestant<'a> {
            Contestant::new(name, move |n| round_trips(n / share, on, line) * share)
        }
        vec![
            timed(FUTEX, &self.words, on, share),
            timed(SEM, &self.sems, on, share),
            timed(PTHREAD, &self.pthread, on, share),
            timed(EVENTFD, &self.eventfds, on, share),
            timed(PIPE, &self.pipes, on, share),
            timed(SOCKET, &self.sockets, on, share),
        ]
    }
}

struct Ours {
    events: [Event; 2],
    semaphores: [Semaphore; 2],
    turn: Turn,
}

impl Ours {
    fn new() -> multiproc::Result<Self> {
        Ok(Self {
            events: [Event::new()?, Event::new()?],
            semaphores: [Semaphore::new(0)?, Semaphore::new(0)?],
            turn: Turn { condition: Condition::new()?, turn: Shared::new(Line(AtomicU32::new(0))) },
        })
    }
}

fn asleep(quick: bool, cores: &Cores, python: Option<&CPython>) -> multiproc::Result<Figures> {
    let (rounds, operations) = if quick { (5, 500) } else { (21, 2_000) };
    let same = [cores.of(0); 2];
    let (sleepers, sliced, ours) = (Sleepers::new(), SlicedFutex::new(), Ours::new()?);
    let mut contestants = sleepers.contestants(same, 1);
    contestants.extend([
        Contestant::new(SLICED, |n| round_trips(n, same, &sliced)),
        Contestant::new(EVENT, |n| round_trips(n, same, &ours.events)),
        Contestant::new(SEMAPHORE, |n| round_trips(n, same, &ours.semaphores)),
        Contestant::new(CONDITION, |n| round_trips(n, same, &ours.turn)),
        Contestant::new(NO_YIELD[0], |n| always_asleep(|| round_trips(n, same, &ours.events))),
        Contestant::new(NO_YIELD[1], |n| always_asleep(|| round_trips(n, same, &ours.semaphores))),
        Contestant::new(NO_YIELD[2], |n| always_asleep(|| round_trips(n, same, &ours.turn))),
    ]);
    if let Some(python) = python {
        contestants.push(Contestant::new(PYTHON_EVENT, |n| python.run("event", n)));
        contestants.push(Contestant::new(PYTHON_CONDITION, |n| python.run("condition", n)));
    }
    Ok(rounds::measure(&mut contestants, rounds, operations))
}

/// What `round_trips` says where neither this process nor its forks spin or yield.
fn always_asleep(round_trips: impl FnOnce() -> u64) -> u64 {
    let usual = multiproc::testing::set_spins(0);
    let nanos = round_trips();
    multiproc::testing::set_spins(usual);
    nanos
}

fn awake(quick: bool, cores: &Cores) -> multiproc::Result<Figures> {
    let (rounds, operations) = if quick { (9, 2_000) } else { (81, 5_000) };
    let apart = [cores.of(0), cores.of(1)];
    let (sleepers, limit, ours) = (Sleepers::new(), Spinning::new(), Ours::new()?);
    let mut contestants = vec![Contestant::new(SPINNING, |n| round_trips(n, apart, &limit))];
    contestants.extend(sleepers.contestants(apart, SLEEPERS_SHARE));
    contestants.extend([
        Contestant::new(EVENT, |n| round_trips(n, apart, &ours.events)),
        Contestant::new(SEMAPHORE, |n| round_trips(n, apart, &ours.semaphores)),
        Contestant::new(CONDITION, |n| round_trips(n, apart, &ours.turn)),
    ]);
    Ok(rounds::measure(&mut contestants, rounds, operations))
}
