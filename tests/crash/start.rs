//! Processes killed before each system call of their start, and within it; zygotes killed whenever they serve.
//!
//! Here it is not this process that starts the victim but an *owner*, a fork of this one, which is traced together with all
//! that it starts. The owner says at its end whether all was as it must be.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use multiproc::{Process, ProcessError, RawValue, StartMethod, active_children};

use crate::scenario::{Report, Scenario};
use crate::trace::Trace;
use crate::tracer::Point;
use crate::witness::{fork, kill_and_reap};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "start::a_process_killed_before_each_system_call_is_reported",
        run: || each_system_call(StartMethod::Spawn, 1),
    },
    Scenario {
        name: "start::a_copy_killed_before_each_system_call_is_reported",
        run: || each_system_call(StartMethod::Zygote, 3),
    },
    Scenario {
        name: "start::a_zygote_killed_before_each_system_call_is_replaced",
        run: || each_system_call(StartMethod::Zygote, 1),
    },
    Scenario {
        name: "start::a_process_killed_within_its_start_is_reported",
        run: || some_instructions(StartMethod::Spawn, 1, libc::SYS_getsockopt),
    },
    Scenario {
        name: "start::a_copy_killed_within_its_start_is_reported",
        run: || some_instructions(StartMethod::Zygote, 3, libc::SYS_set_robust_list),
    },
];

/// How long an owner may take.
const BOUND: Duration = Duration::from_secs(20);

/// Kill points between system calls. What happens between two of them, nobody else can see.
const POINTS: usize = if cfg!(debug_assertions) { 4 } else { 250 };

/// In this variable: one of how many instructions is a kill point. All of them take two scenarios half an hour.
const EVERY_INSTRUCTION: &str = "CRASH_START_EVERY";

/// Owners that a kill point may take: a victim that finds a message there, or not yet, goes another way than was recorded.
const RUNS: usize = 4;

/// Where the kernel keeps the address of the first breakpoint, and what switches breakpoints on.
const BREAKPOINT: usize = std::mem::offset_of!(libc::user, u_debugreg);
const SWITCHES: usize = BREAKPOINT + 7 * size_of::<u64>();

/// What an owner exits with.
const ALL_RETURNED: i32 = 10;
const ONE_WAS_SIGNALED: i32 = 11;
const ONE_RETURNED_AND_WAS_SIGNALED: i32 = 12;

/// One of so many system calls has a kill point in a build that is not optimised.
const EVERY: usize = if cfg!(debug_assertions) { 4 } else { 1 };

/// What a victim is counted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    SystemCall,
    /// After the first such system call.
    Instruction(libc::c_long),
}

/// Whom to kill, and when.
#[derive(Clone, Copy, Debug)]
struct Kill {
    /// The how many-th process that the owner starts, from 1.
    victim: usize,
    unit: Unit,
    /// The how many-th unit it doesn't come to, from 0.
    at: usize,
}

/// What came of it.
struct Outcome {
    code: i32,
    was_killed: bool,
}

fn each_system_call(method: StartMethod, victim: usize) -> Result<Report, String> {
    let mut report = Report { every: EVERY, ..Report::default() };
    // How many it makes depends on whether what it waits for has come: one that ends early is not the last word.
    let mut ended = 0;
    for at in (0..).step_by(EVERY) {
        let kill = Kill { victim, unit: Unit::SystemCall, at };
        ended += usize::from(!die(method, kill, None, &mut report)?);
        if ended == 3 {
            break;
        }
    }
    if report.kill_points < 20 / EVERY {
        return Err(format!("hollow: the victim makes no more system calls ({report})"));
    }
    if victim == 1 && method == StartMethod::Zygote {
        return report.demand(&["all returned"]);
    }
    // Its very last one, wherever that is: the result has been sent.
    let last = Kill { victim, unit: Unit::Instruction(libc::SYS_exit_group), at: 0 };
    die(method, last, None, &mut report)?;
    report.demand(&["one signaled", "one signaled that had returned"])
}

fn some_instructions(method: StartMethod, victim: usize, first: libc::c_long) -> Result<Report, String> {
    let unit = Unit::Instruction(first);
    let never = Kill { victim, unit, at: usize::MAX };
    let (whole, points) = observe(method, never, None)?;
    if whole.was_killed || whole.code != ALL_RETURNED || points.len() < 1000 {
        return Err(format!("hollow: {} instructions, exit code {}", points.len(), whole.code));
    }
    let trace = Trace::of(points);
    let wanted = std::env::var(EVERY_INSTRUCTION).ok().and_then(|every| every.parse().ok());
    let every = wanted.unwrap_or(trace.points.len() / POINTS).max(1);
    let mut report = Report { every, ..Report::default() };
    let mut strayed = 0;
    for at in (0..trace.points.len()).step_by(every) {
        let kill = Kill { victim, unit, at };
        let route = Route::to(&trace, at);
        let mut died = false;
        for _ in 0..RUNS {
            died = die(method, kill, Some(route), &mut report)?;
            if died {
                break;
            }
        }
        strayed += usize::from(!died);
    }
    // Those on a way that is seldom gone.
    if strayed > report.kill_points / 20 {
        return Err(format!("hollow: {strayed} points were not reached again ({report})"));
    }
    Ok(report)
}

/// How a victim gets to an instruction: it runs until it has come to a place so often, and goes on by single steps.
#[derive(Clone, Copy, Debug)]
struct Route {
    pc: u64,
    hits: usize,
    steps: usize,
}

impl Route {
    fn to(trace: &Trace, goal: usize) -> Self {
        let stop = trace.breakpoint(goal);
        let Point::Before(pc) = trace.points[stop] else { unreachable!("nothing else was recorded") };
        // The first is come to by a single step, before the breakpoint is set.
        let hits = trace.nth[stop];
        Self { pc, hits, steps: goal - stop + usize::from(hits == 0) }
    }
}

/// Kills a victim, and adds the class of this death to the report; `false` if it ended before.
fn die(method: StartMethod, kill: Kill, route: Option<Route>, report: &mut Report) -> Result<bool, String> {
    let (outcome, _) = observe(method, kill, route)?;
    let class = match outcome.code {
        ALL_RETURNED => "all returned",
        ONE_WAS_SIGNALED => "one signaled",
        ONE_RETURNED_AND_WAS_SIGNALED => "one signaled that had returned",
        code => return Err(format!("{kill:?}: exit code {code}")),
    };
    let is_zygote = kill.victim == 1 && method == StartMethod::Zygote;
    match (outcome.was_killed, outcome.code) {
        (false, ALL_RETURNED) => return Ok(false),
        (true, ALL_RETURNED) if is_zygote => {}
        (true, ONE_WAS_SIGNALED | ONE_RETURNED_AND_WAS_SIGNALED) if !is_zygote => {}
        (was_killed, _) => return Err(format!("{kill:?}: killed: {was_killed}, {class}")),
    }
    report.add(class);
    Ok(true)
}

fn add((a, b, calls): (u32, u32, RawValue<u32>)) -> u32 {
    calls.fetch_add(1);
    a + b
}

/// The owner: starts three processes, joins them, and looks what is left. Returns its exit code.
fn own(method: StartMethod) -> i32 {
    let calls = RawValue::new(0_u32).expect("memory");
    let files = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let before = files();
    let mut code = ALL_RETURNED;
    let mut returned = 0;
    for n in 0..3 {
        let process = Process::builder().start_method(method).spawn(add, (n, 2, calls.clone()));
        let mut process = match process {
            Ok(process) => process,
            Err(error) => {
                eprintln!("an owner can't start a process: {error}");
                return 20;
            }
        };
        let end = (process.join(), process.exit_code());
        match end {
            (Ok(sum), Some(0)) if sum == n + 2 => returned += 1,
            (Ok(sum), Some(-9)) if sum == n + 2 && code == ALL_RETURNED => {
                returned += 1;
                code = ONE_RETURNED_AND_WAS_SIGNALED;
            }
            (Err(ProcessError::Signaled(9)), Some(-9)) if code == ALL_RETURNED => code = ONE_WAS_SIGNALED,
            other => {
                eprintln!("an owner's process ended so: {other:?}");
                return 21;
            }
        }
    }
    // Nothing was run twice: not if a zygote ended, either. A killed process may have run its function and not said so.
    let ran = calls.load();
    if ran != returned && !(ran == returned + 1 && code == ONE_WAS_SIGNALED) {
        eprintln!("{ran} calls, of which {returned} returned");
        return 22;
    }
    // A zygote, its socket and its descriptor.
    let own = std::process::id();
    let zygotes = usize::from(method == StartMethod::Zygote);
    let limit = Instant::now() + BOUND / 4;
    loop {
        // One that was killed is reaped here at the latest, when its tracer has seen its end.
        let active = active_children().len();
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
        let children = children.map_or(0, |list| list.split_whitespace().count());
        let files = files();
        if active == 0 && children <= zygotes && files <= before + 2 * zygotes {
            break;
        }
        if Instant::now() > limit {
            eprintln!("left are {active} processes, {children} children, {files} descriptors of {before}");
            return 23;
        }
        std::thread::yield_now();
    }
    code
}

/// Runs an owner and all that it starts, and kills one of those. Also returns where it came by in single steps.
fn observe(method: StartMethod, kill: Kill, route: Option<Route>) -> Result<(Outcome, Vec<Point>), String> {
    let owner = fork(|| {
        // SAFETY: those that it starts lie at the same addresses each time.
        unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
        // SAFETY: asks to be traced by the parent.
        if unsafe { libc::ptrace(libc::PTRACE_TRACEME) } != 0 {
            return 30;
        }
        // SAFETY: stops this process until the parent lets it go on.
        unsafe { libc::raise(libc::SIGSTOP) };
        own(method)
    })?;
    let mut family = Family {
        kill,
        route,
        owner,
        started: BTreeMap::new(),
        last: None,
        done: None,
        points: Vec::new(),
        in_call: false,
    };
    let observed = family.observe();
    if observed.is_err() {
        for pid in family.started.keys().copied().chain([owner]) {
            // SAFETY: a process that this one traces, or has traced and that is not reaped.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        kill_and_reap(owner);
        while next(0).is_ok_and(|found| found.is_some()) {}
    }
    Ok((observed?, family.points))
}

/// The owner and its descendants, all of them traced.
struct Family {
    kill: Kill,
    /// What is left of the way to an instruction; `None`: by single steps.
    route: Option<Route>,
    owner: libc::pid_t,
    /// Which process was the how many-th.
    started: BTreeMap<libc::pid_t, usize>,
    /// The end of the owner.
    last: Option<i32>,
    /// Units of the victim; `None` before the first.
    done: Option<usize>,
    /// Where the victim has come by in single steps.
    points: Vec<Point>,
    /// Whether the victim's last stop was at the entry of a system call.
    in_call: bool,
}

impl Family {
    fn observe(&mut self) -> Result<Outcome, String> {
        let limit = Instant::now() + BOUND;
        let mut was_killed = false;
        loop {
            let Some((pid, status)) = next(libc::WNOHANG)? else {
                if Instant::now() > limit {
                    return Err(format!("{:?}: hangs", self.kill));
                }
                std::thread::yield_now();
                continue;
            };
            if pid == 0 {
                // Nobody is left.
                let code = self.last.ok_or("the owner never ended")?;
                return Ok(Outcome { code, was_killed });
            }
            if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
                if pid == self.owner {
                    self.last = Some(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 });
                }
                continue;
            }
            if pid == self.owner {
                self.release_owner(status)?;
                continue;
            }
            let next = self.started.len() + 1;
            let nth = *self.started.entry(pid).or_insert(next);
            // Whom the owner leaves behind may end.
            if nth != self.kill.victim || self.last.is_some() {
                go_on(libc::PTRACE_CONT, pid, pass_on(status))?;
            } else if self.has_come(pid, status)? {
                was_killed = true;
                // SAFETY: a traced process that stands still.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
    }

    fn release_owner(&self, status: i32) -> Result<(), String> {
        let options = libc::PTRACE_O_EXITKILL
            | libc::PTRACE_O_TRACESYSGOOD
            | libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACEEXEC;
        let signal = libc::WSTOPSIG(status);
        if signal == libc::SIGSTOP {
            // SAFETY: a traced process that stands still; the kernel takes the options as a number.
            let failed = unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, self.owner, 0, options) };
            if failed != 0 {
                return Err(format!("ptrace: {}", std::io::Error::last_os_error()));
            }
        }
        go_on(libc::PTRACE_CONT, self.owner, pass_on(status))
    }

    /// Whether the victim, which stands still, has come where it is to be killed; else lets it go on.
    fn has_come(&mut self, pid: libc::pid_t, status: i32) -> Result<bool, String> {
        let signal = libc::WSTOPSIG(status);
        let at_call = signal == libc::SIGTRAP | 0x80;
        match self.kill.unit {
            Unit::SystemCall => {
                self.in_call = at_call && !self.in_call;
                if self.in_call {
                    let done = self.done.map_or(0, |done| done + 1);
                    self.done = Some(done);
                    if done == self.kill.at {
                        return Ok(true);
                    }
                }
                go_on(libc::PTRACE_SYSCALL, pid, pass_on(status))?;
            }
            Unit::Instruction(first) => {
                self.in_call = at_call && !self.in_call;
                let Some(done) = self.done else {
                    if !(self.in_call && call(pid)? == first) {
                        go_on(libc::PTRACE_SYSCALL, pid, pass_on(status))?;
                        return Ok(false);
                    }
                    self.done = Some(0);
                    return self.go_along(pid, 0);
                };
                // Not at what else may stop it.
                if status >> 8 == libc::SIGTRAP {
                    self.done = Some(done + 1);
                    self.arrive(pid)?;
                }
                return self.go_along(pid, pass_on(status));
            }
        }
        Ok(false)
    }

    /// The victim has come to an instruction.
    fn arrive(&mut self, pid: libc::pid_t) -> Result<(), String> {
        match &mut self.route {
            None => self.points.push(Point::Before(registers(pid)?.rip)),
            Some(route) if route.hits == 0 => route.steps -= 1,
            Some(route) if self.done == Some(1) => switch_breakpoint(pid, Some(route.pc))?,
            Some(route) => {
                route.hits -= 1;
                if route.hits == 0 {
                    switch_breakpoint(pid, None)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the victim, which stands at an instruction, has come to its end; else lets it go on there.
    fn go_along(&mut self, pid: libc::pid_t, signal: i32) -> Result<bool, String> {
        let how = match (self.route, self.done) {
            (None, done) if done == Some(self.kill.at) => return Ok(true),
            (Some(Route { hits: 0, steps: 0, .. }), _) => return Ok(true),
            (Some(Route { hits: 1.., .. }), done) if done != Some(0) => libc::PTRACE_CONT,
            _ => libc::PTRACE_SINGLESTEP,
        };
        go_on(how, pid, signal)?;
        Ok(false)
    }
}

/// Sets a breakpoint of the processor, which changes no code, or takes it away.
fn switch_breakpoint(pid: libc::pid_t, pc: Option<u64>) -> Result<(), String> {
    let address = pc.map(|pc| (BREAKPOINT, pc));
    for (register, value) in address.into_iter().chain([(SWITCHES, u64::from(pc.is_some()))]) {
        // SAFETY: a traced process that stands still; the kernel checks the values.
        let failed = unsafe { libc::ptrace(libc::PTRACE_POKEUSER, pid, register, value) } != 0;
        let error = std::io::Error::last_os_error();
        if failed && error.raw_os_error() != Some(libc::ESRCH) {
            return Err(format!("ptrace: {error}"));
        }
    }
    Ok(())
}

/// The signal that stopped a process, if it was one that it is to get.
fn pass_on(status: i32) -> i32 {
    match libc::WSTOPSIG(status) {
        signal if status >> 16 != 0 || signal & 0x80 != 0 => 0,
        libc::SIGSTOP | libc::SIGTRAP => 0,
        signal => signal,
    }
}

fn go_on(how: libc::c_uint, pid: libc::pid_t, signal: i32) -> Result<(), String> {
    // SAFETY: a traced process that stands still, or has ended meanwhile.
    let failed = unsafe { libc::ptrace(how, pid, 0, signal) } != 0;
    let error = std::io::Error::last_os_error();
    if failed && error.raw_os_error() != Some(libc::ESRCH) {
        return Err(format!("ptrace: {error}"));
    }
    Ok(())
}

/// The number of the system call at whose entry a process stands.
fn call(pid: libc::pid_t) -> Result<libc::c_long, String> {
    Ok(registers(pid)?.orig_rax.cast_signed())
}

fn registers(pid: libc::pid_t) -> Result<libc::user_regs_struct, String> {
    let mut registers = std::mem::MaybeUninit::<libc::user_regs_struct>::zeroed();
    // SAFETY: the structure has the size that the request fills.
    let failed = unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, 0, registers.as_mut_ptr()) } != 0;
    if failed {
        return Err(format!("ptrace: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: integers, zeroed before and filled by the kernel.
    Ok(unsafe { registers.assume_init() })
}

/// What happened to one of this process's children or tracees: its number and state, 0 if there are none left.
fn next(flags: libc::c_int) -> Result<Option<(libc::pid_t, i32)>, String> {
    let mut status = 0;
    // SAFETY: `status` is a writable int.
    match unsafe { libc::waitpid(-1, &raw mut status, flags | libc::__WALL) } {
        0 => Ok(None),
        -1 => match std::io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ECHILD) => {
                Ok((flags == libc::WNOHANG).then_some((0, 0)))
            }
            error => Err(format!("waitpid: {error}")),
        },
        pid => Ok(Some((pid, status))),
    }
}
