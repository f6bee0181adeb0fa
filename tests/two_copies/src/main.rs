//! Takes and releases locks of two copies of the library, and robust mutexes of the host, in every order, and dies.

mod host;

use std::time::{Duration, Instant};

use host::{HostMutex, Taken};

const SOON: Duration = Duration::from_secs(10);
/// Of each kind.
const LOCKS: usize = 3;

struct Locks {
    first: [first::Lock; LOCKS],
    second: [second::Lock; LOCKS],
    host: [HostMutex; LOCKS],
}

/// One of the locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    First(usize),
    Second(usize),
    Host(usize),
}

const ALL: [Which; 3 * LOCKS] = {
    use Which::{First, Host, Second};
    [First(0), First(1), First(2), Second(0), Second(1), Second(2), Host(0), Host(1), Host(2)]
};

/// One that is held, until it is dropped.
enum Guard<'a> {
    First { _guard: first::LockGuard<'a> },
    Second { _guard: second::LockGuard<'a> },
    Host(&'a HostMutex),
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Guard::Host(mutex) = self {
            mutex.unlock();
        }
    }
}

impl Locks {
    fn new() -> Self {
        Self {
            first: std::array::from_fn(|_| first::Lock::new().unwrap()),
            second: std::array::from_fn(|_| second::Lock::new().unwrap()),
            host: std::array::from_fn(|_| HostMutex::new()),
        }
    }

    /// Takes a lock, and declares it consistent if its holder died.
    fn take(&self, which: Which) -> (Guard<'_>, Taken) {
        match which {
            Which::First(index) => match self.first[index].lock_timeout(SOON) {
                Ok(guard) => (Guard::First { _guard: guard }, Taken::Consistent),
                Err(error) => (Guard::First { _guard: error.recover().unwrap() }, Taken::OwnerDied),
            },
            Which::Second(index) => match self.second[index].lock_timeout(SOON) {
                Ok(guard) => (Guard::Second { _guard: guard }, Taken::Consistent),
                Err(error) => (Guard::Second { _guard: error.recover().unwrap() }, Taken::OwnerDied),
            },
            Which::Host(index) => {
                let taken = self.host[index].lock();
                (Guard::Host(&self.host[index]), taken)
            }
        }
    }

    /// Takes each lock, and says which ones a dead holder left.
    fn left_by_the_dead(&self) -> Vec<Which> {
        ALL.into_iter().filter(|&which| self.take(which).1 == Taken::OwnerDied).collect()
    }
}

/// Numbers that look random: xorshift.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as usize % limit
    }
}

/// Takes and releases locks in the order that `seed` makes, and returns those it holds in the end.
fn play<'a>(locks: &'a Locks, seed: u64) -> Vec<(Which, Guard<'a>)> {
    let mut random = Random::new(seed);
    let mut held: Vec<(Which, Guard<'a>)> = Vec::new();
    for _ in 0..random.below(30) {
        let which = ALL[random.below(ALL.len())];
        match held.iter().position(|(other, _)| *other == which) {
            Some(position) => drop(held.remove(position)),
            None => {
                let (guard, taken) = locks.take(which);
                assert_eq!(taken, Taken::Consistent, "{which:?}");
                held.push((which, guard));
            }
        }
    }
    held
}

/// What `play` holds in the end, found out by playing it.
fn expected(locks: &Locks, seed: u64) -> Vec<Which> {
    let mut held: Vec<Which> = play(locks, seed).iter().map(|(which, _)| *which).collect();
    held.sort_by_key(|which| ALL.iter().position(|other| other == which));
    held
}

/// Runs `body` in a forked child, which is then killed; it must not return.
fn fork(body: impl FnOnce() -> std::convert::Infallible) -> libc::pid_t {
    // SAFETY: the program has one thread when it forks, but for those of the library's self-test, which have ended.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        // SAFETY: ends the child, which has panicked.
        unsafe { libc::_exit(1) }
    }
    pid
}

fn die() -> std::convert::Infallible {
    // SAFETY: kills this process.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    unreachable!()
}

fn wait_for_the_killed(pid: libc::pid_t) {
    let mut status = 0;
    // SAFETY: `status` is written to and outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL, "status {status:#x}");
}

/// A process that holds locks of all kinds, taken and released in some order, is killed.
fn killed_in_any_order(locks: &Locks) {
    let mut sets = std::collections::BTreeSet::new();
    for seed in 0..500 {
        let expected = expected(locks, seed);
        let child = fork(|| {
            let _held = play(locks, seed);
            die()
        });
        wait_for_the_killed(child);
        assert_eq!(locks.left_by_the_dead(), expected, "seed {seed}");
        assert_eq!(locks.left_by_the_dead(), [], "seed {seed}: all were recovered");
        sets.insert(format!("{expected:?}"));
    }
    assert!(sets.len() > 100, "only {} different sets of locks were held", sets.len());
    println!("killed: {} sets of locks", sets.len());
}

/// The same where only the thread ends: the process, and each copy's memory of its threads, live on.
fn ended_in_any_order(locks: &Locks) {
    for seed in 0..500 {
        let expected = expected(locks, seed);
        std::thread::scope(|scope| {
            scope.spawn(|| std::mem::forget(play(locks, seed)));
        });
        assert_eq!(locks.left_by_the_dead(), expected, "seed {seed}");
    }
    println!("ended: 500 threads");
}

/// All are released in some order, and a death afterwards leaves nothing.
fn released_in_any_order(locks: &Locks) {
    for seed in 0..500 {
        let child = fork(|| {
            let mut random = Random::new(!seed);
            let mut held = play(locks, seed);
            while !held.is_empty() {
                drop(held.swap_remove(random.below(held.len())));
            }
            die()
        });
        wait_for_the_killed(child);
        assert_eq!(locks.left_by_the_dead(), [], "seed {seed}");
    }
    println!("released: 500 processes");
}

/// A waiter of each copy is woken by the kernel, not by the end of a slice, when the holder of both is killed.
fn waiters_are_woken(locks: &Locks) {
    first::testing::set_sleep_slice(None);
    second::testing::set_sleep_slice(None);
    for order in [[Which::First(0), Which::Second(0)], [Which::Second(0), Which::First(0)]] {
        let held = first::Event::new().unwrap();
        let child = fork(|| {
            let _guards = order.map(|which| locks.take(which));
            held.set();
            loop {
                std::thread::park();
            }
        });
        assert!(held.wait_timeout(SOON));
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let waiters = order.map(|which| scope.spawn(move || locks.take(which).1));
            // SAFETY: the child has not been reaped, so the number is its.
            assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap(), Taken::OwnerDied);
            }
        });
        assert!(begun.elapsed() < SOON);
        wait_for_the_killed(child);
    }
    println!("woken: a waiter of each copy");
}

fn double(n: u64) -> u64 {
    2 * n
}

/// Each copy starts processes of its own.
fn both_spawn() {
    for n in 0..4 {
        assert_eq!(first::Process::spawn(double, n).unwrap().join().unwrap(), 2 * n);
        assert_eq!(second::Process::spawn(double, n).unwrap().join().unwrap(), 2 * n);
    }
    println!("spawned: 4 processes by each copy");
}

fn main() {
    let locks = Locks::new();
    killed_in_any_order(&locks);
    released_in_any_order(&locks);
    ended_in_any_order(&locks);
    waiters_are_woken(&locks);
    both_spawn();
    println!("all done");
}
