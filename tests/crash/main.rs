//! Kills a process at every instruction of an operation and asks the survivors to go on.
//!
//! Every scenario names an operation. A victim process runs it once under `ptrace` to record its instructions, and
//! then once more for each of them, to be killed by SIGKILL just before that instruction. After each death other
//! processes have to reach the state that the scenario demands within a bounded time. A kill point that a run does not
//! reach fails the scenario: it would be evidence of nothing.
//!
//! The harness has no test framework around it, because the process that forks must have one thread: the addresses of
//! the victim then repeat, and so do its instructions.
//!
//! `cargo test --test crash -- FILTER` runs the scenarios whose name contains FILTER; `--list` lists them; `--latencies`
//! prints instead how long survivors wait. In a build with debug assertions some ten kill points of each scenario are taken.
//! Where `ptrace` is forbidden the binary prints SKIP and why, which is a failure if the environment variable `CI` is set.

#[cfg(target_arch = "x86_64")]
mod array;
#[cfg(target_arch = "x86_64")]
mod barrier;
#[cfg(target_arch = "x86_64")]
mod batches;
#[cfg(target_arch = "x86_64")]
mod case;
#[cfg(target_arch = "x86_64")]
mod condition;
#[cfg(all(target_arch = "x86_64", feature = "process"))]
mod connection;
#[cfg(target_arch = "x86_64")]
mod crowd;
#[cfg(target_arch = "x86_64")]
mod dead_letters;
#[cfg(target_arch = "x86_64")]
mod endpoints;
#[cfg(target_arch = "x86_64")]
mod event;
#[cfg(target_arch = "x86_64")]
mod fifo;
#[cfg(target_arch = "x86_64")]
mod growth;
#[cfg(target_arch = "x86_64")]
mod handle;
#[cfg(target_arch = "x86_64")]
mod harness;
#[cfg(target_arch = "x86_64")]
mod holes;
#[cfg(target_arch = "x86_64")]
mod joinable;
#[cfg(target_arch = "x86_64")]
mod latencies;
#[cfg(target_arch = "x86_64")]
mod lock;
#[cfg(all(target_arch = "x86_64", feature = "manager", feature = "auto-init"))]
mod manager;
#[cfg(target_arch = "x86_64")]
mod monitor;
#[cfg(target_arch = "x86_64")]
mod mutex;
#[cfg(target_arch = "x86_64")]
mod page;
#[cfg(target_arch = "x86_64")]
mod permits;
#[cfg(all(target_arch = "x86_64", feature = "auto-init"))]
mod pool;
#[cfg(target_arch = "x86_64")]
mod pthread;
#[cfg(target_arch = "x86_64")]
mod pulse;
#[cfg(target_arch = "x86_64")]
mod queue;
#[cfg(target_arch = "x86_64")]
mod queue_holes;
#[cfg(target_arch = "x86_64")]
mod raw_array;
#[cfg(target_arch = "x86_64")]
mod rlock;
#[cfg(target_arch = "x86_64")]
mod room;
#[cfg(target_arch = "x86_64")]
mod scenario;
#[cfg(target_arch = "x86_64")]
mod segment;
#[cfg(target_arch = "x86_64")]
mod semaphore;
#[cfg(target_arch = "x86_64")]
mod shutdown;
#[cfg(all(target_arch = "x86_64", feature = "auto-init"))]
mod start;
#[cfg(target_arch = "x86_64")]
mod trace;
#[cfg(target_arch = "x86_64")]
mod tracer;
#[cfg(target_arch = "x86_64")]
mod transfer;
#[cfg(target_arch = "x86_64")]
mod value;
#[cfg(target_arch = "x86_64")]
mod victim;
#[cfg(target_arch = "x86_64")]
mod witness;

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    // The looks before a sleep are many kill points that are all alike.
    let _ = multiproc::testing::set_spins(16);
    let groups = [
        harness::SCENARIOS,
        pthread::SCENARIOS,
        lock::SCENARIOS,
        rlock::SCENARIOS,
        permits::SCENARIOS,
        handle::SCENARIOS,
        value::SCENARIOS,
        array::SCENARIOS,
        raw_array::SCENARIOS,
        event::SCENARIOS,
        pulse::SCENARIOS,
        semaphore::SCENARIOS,
        condition::SCENARIOS,
        barrier::SCENARIOS,
        queue::SCENARIOS,
        queue_holes::SCENARIOS,
        batches::SCENARIOS,
        endpoints::SCENARIOS,
        growth::SCENARIOS,
        dead_letters::SCENARIOS,
        joinable::SCENARIOS,
        segment::SCENARIOS,
        #[cfg(feature = "process")]
        connection::SCENARIOS,
        #[cfg(all(feature = "manager", feature = "auto-init"))]
        manager::SCENARIOS,
        #[cfg(feature = "auto-init")]
        start::SCENARIOS,
        #[cfg(feature = "auto-init")]
        pool::SCENARIOS,
    ];
    scenario::run(&groups.concat(), victim::available, latencies::print)
}

#[cfg(not(target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    println!("SKIP: the tracer knows the breakpoints of x86-64 only");
    std::process::ExitCode::from(u8::from(std::env::var_os("CI").is_some()))
}
