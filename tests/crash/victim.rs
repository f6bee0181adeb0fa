//! A traced process: one operation between two markers, stepped, stopped and killed at will.
#![allow(unsafe_code)]

use std::arch::naked_asm;
use std::ffi::CStr;
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::room;
use crate::witness::{blocking_call, fork, kill_and_reap};

/// How long a victim may run, or sleep, before its tracer gives up on it.
const BOUND: Duration = Duration::from_secs(10);

/// A sleep in another system call than a futex has to last this long before it counts as one.
const LONG_SLEEP: Duration = Duration::from_millis(50);

/// Looks for a stop, each followed by a yield, before the first look for a sleep, which costs more.
const LOOKS: u32 = 20;

/// Where the program counter is, for the requests that read and write one register.
const PC: u64 = std::mem::offset_of!(libc::user_regs_struct, rip) as u64;

/// The exit code of a victim that may not be traced.
const REFUSED: i32 = 104;

/// The breakpoint instruction.
const INT3: u64 = 0xcc;

/// What the kernel adds to SIGTRAP at the entry and exit of a system call.
const SYSCALL_STOP: libc::c_int = 0x80;

/// `syscall`, as the low half of a little-endian word.
const SYSCALL: u64 = 0x050f;

/// Why the victim does not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// It was stopped, as it was asked to.
    Trapped,
    /// It sleeps in a system call. It is not stopped: when somebody wakes it, it goes on as asked before.
    Asleep,
}

/// A process under this process's control. It is killed and reaped when dropped.
pub(crate) struct Victim {
    pid: libc::pid_t,
    reaped: bool,
    /// Where `run_to` is to stop it.
    goal: Option<u64>,
    /// The word of code under the breakpoint that is set at `goal`.
    covered: Option<u64>,
}

/// The instruction before which the traced part of an operation begins.
#[unsafe(naked)]
extern "C" fn begin() {
    naked_asm!("int3", "ret")
}

/// The instruction at which the traced part of an operation has ended.
#[unsafe(naked)]
extern "C" fn end() {
    naked_asm!("int3", "ret")
}

/// The program counter of a victim whose operation is over.
pub(crate) fn end_pc() -> u64 {
    end as *const () as u64
}

/// Where the kernel's code in this process lies, and in its forks.
fn vdso() -> &'static Range<u64> {
    static VDSO: OnceLock<Range<u64>> = OnceLock::new();
    VDSO.get_or_init(|| {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let line = maps.lines().find(|line| line.ends_with("[vdso]"));
        let range = line.and_then(|line| line.split_once(' ')?.0.split_once('-'));
        let (start, end) = range.unwrap_or(("0", "0"));
        let number = |text| u64::from_str_radix(text, 16).unwrap_or(0);
        number(start)..number(end)
    })
}

/// An address of code, printed as the symbol or file it lies in, for `addr2line`.
pub(crate) struct Symbol(pub(crate) u64);

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: `info` is writable; the address is only compared.
        let found = unsafe { libc::dladdr(self.0 as *const libc::c_void, info.as_mut_ptr()) } != 0;
        // SAFETY: every field of it may be zero, and `dladdr` only makes it more precise.
        let info = unsafe { info.assume_init() };
        if !found || info.dli_fname.is_null() {
            return write!(f, "{:#x}", self.0);
        }
        // SAFETY: a file name that `dladdr` returned is a C string that lives as long as the object is loaded.
        let file = unsafe { CStr::from_ptr(info.dli_fname) }.to_string_lossy();
        write!(f, "{file}+{:#x}", self.0.wrapping_sub(info.dli_fbase as u64))
    }
}

/// Whether processes can be traced here, or why not.
pub(crate) fn available() -> Result<(), String> {
    let mut victim =
        Victim::spawn(|| {}, || {}).map_err(|why| format!("ptrace does not work here: {why}"))?;
    victim.step().map_err(|why| format!("single steps do not work here: {why}"))?;
    match std::fs::read_to_string("/proc/self/syscall") {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("/proc/self/syscall tells who sleeps, and can't be read: {error}")),
    }
}

impl Victim {
    /// Forks a process that runs `enter` untraced, and stops before the first instruction of `run`.
    pub(crate) fn spawn(enter: impl FnOnce(), run: impl FnOnce()) -> Result<Victim, String> {
        let pid = fork(|| {
            // SAFETY: asks to be traced by the parent; the call takes no other argument.
            if unsafe { libc::ptrace(libc::PTRACE_TRACEME) } != 0 {
                return REFUSED;
            }
            enter();
            room::begin();
            begin();
            run();
            end();
            0
        })?;
        let mut victim = Victim { pid, reaped: false, goal: None, covered: None };
        if victim.wait()? == Stop::Asleep {
            return Err("victim sleeps before it begins".to_owned());
        }
        let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
        victim.request(libc::PTRACE_SETOPTIONS, 0, u64::from(options.unsigned_abs()))?;
        if victim.pc()? != begin as *const () as u64 + 1 {
            return Err("victim stopped before it began".to_owned());
        }
        Ok(victim)
    }

    /// Seizes a process that runs, one that this one has started or whose ancestor this one is, and stops it.
    #[cfg(feature = "auto-init")]
    pub(crate) fn seize(pid: libc::pid_t) -> Result<Victim, String> {
        let victim = Victim { pid, reaped: true, goal: None, covered: None };
        let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
        victim.request(libc::PTRACE_SEIZE, 0, u64::from(options.unsigned_abs()))?;
        // From here on it is reaped by its tracer first.
        let mut victim = Victim { reaped: false, ..victim };
        victim.request(libc::PTRACE_INTERRUPT, 0, 0)?;
        victim.wait_until_stopped()?;
        Ok(victim)
    }

    /// Lets it run to a breakpoint of its own.
    #[cfg(feature = "auto-init")]
    pub(crate) fn run_to_trap(&mut self) -> Result<(), String> {
        self.request(libc::PTRACE_CONT, 0, 0)?;
        self.wait_until_stopped()
    }

    #[cfg(feature = "auto-init")]
    fn wait_until_stopped(&mut self) -> Result<(), String> {
        if self.reap(0)? { Ok(()) } else { Err("victim does not stop".to_owned()) }
    }

    /// The address of the next instruction.
    pub(crate) fn pc(&self) -> Result<u64, String> {
        self.read(libc::PTRACE_PEEKUSER, PC)
    }

    /// Whether the operation is over.
    pub(crate) fn has_ended(&self) -> Result<bool, String> {
        Ok(self.pc()? == end_pc())
    }

    /// Runs one instruction. A system call is one instruction, and so is one that the vDSO makes in its stead: how many
    /// it takes depends on when the kernel updates its clock.
    pub(crate) fn step(&mut self) -> Result<Stop, String> {
        loop {
            let stop = self.step_one()?;
            if stop == Stop::Asleep || !vdso().contains(&self.pc()?) {
                return Ok(stop);
            }
        }
    }

    fn step_one(&mut self) -> Result<Stop, String> {
        let may_sleep = self.peek(self.pc()?)? & 0xffff == SYSCALL;
        self.request(libc::PTRACE_SINGLESTEP, 0, 0)?;
        // No other instruction sleeps, and the kernel's own wait is the fastest.
        if may_sleep { self.wait() } else { self.reap(0).map(|_| Stop::Trapped) }
    }

    /// Runs at least one instruction, until the next one is the one at `goal`.
    pub(crate) fn run_to(&mut self, goal: u64) -> Result<Stop, String> {
        self.goal = Some(goal);
        match self.step()? {
            Stop::Trapped => {
                self.go_on().and_then(|there| if there { Ok(Stop::Trapped) } else { self.wait_until_there() })
            }
            Stop::Asleep => Ok(Stop::Asleep),
        }
    }

    /// Lets it run until it enters a system call that `wanted` recognises by number and arguments, and stops it
    /// there: the call has not begun, and a victim killed there never makes it.
    pub(crate) fn run_until_syscall_entry(
        &mut self,
        wanted: impl Fn(libc::c_long, [u64; 6]) -> bool,
    ) -> Result<(), String> {
        loop {
            self.request(libc::PTRACE_SYSCALL, 0, 0)?;
            self.wait()?;
            let registers = self.registers()?;
            if registers.rip == end_pc() + 1 {
                return Err("hollow: the operation ended without the system call".to_owned());
            }
            let r = &registers;
            if wanted(r.orig_rax.cast_signed(), [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9]) {
                return Ok(());
            }
            if self.finish_syscall()? == Stop::Asleep {
                return Err("victim sleeps in an earlier system call".to_owned());
            }
        }
    }

    /// Makes the system call at whose entry it stands, and stops it before the next instruction.
    pub(crate) fn finish_syscall(&mut self) -> Result<Stop, String> {
        self.request(libc::PTRACE_SYSCALL, 0, 0)?;
        self.wait()
    }

    /// After [`Stop::Asleep`]: waits until what it was asked for is done, or it sleeps again.
    pub(crate) fn wait_until_there(&mut self) -> Result<Stop, String> {
        loop {
            if self.wait()? == Stop::Asleep {
                return Ok(Stop::Asleep);
            }
            if self.go_on()? {
                return Ok(Stop::Trapped);
            }
        }
    }

    /// Lets the stopped victim run to its breakpoint, unless it has no goal or is there: then `true`.
    fn go_on(&mut self) -> Result<bool, String> {
        let Some(goal) = self.goal else { return Ok(true) };
        let mut pc = self.pc()?;
        if let Some(original) = self.covered.take() {
            self.request(libc::PTRACE_POKETEXT, goal, original)?;
            if pc != goal + 1 {
                let what = if pc == end_pc() + 1 { "operation ended" } else { "stray breakpoint" };
                return Err(format!("hollow: {what} before the kill point"));
            }
            pc = goal;
            self.request(libc::PTRACE_POKEUSER, PC, goal)?;
        }
        if pc == goal {
            self.goal = None;
            return Ok(true);
        }
        let original = self.peek(goal)?;
        self.request(libc::PTRACE_POKETEXT, goal, original & !0xff | INT3)?;
        self.covered = Some(original);
        self.request(libc::PTRACE_CONT, 0, 0)?;
        Ok(false)
    }

    /// Kills it where it is, and returns once the kernel has made its locks known as orphaned.
    pub(crate) fn kill(mut self) -> Result<(), String> {
        // SAFETY: `pid` is a child of this process that has not been reaped.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        while let Some(status) = self.reap_any(0)? {
            if libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL {
                return Ok(());
            }
            if !libc::WIFSTOPPED(status) {
                return Err(format!("victim ended before it was killed: status {status:#x}"));
            }
        }
        Err("victim can't be reaped".to_owned())
    }

    /// Waits until it stops, or sleeps.
    fn wait(&mut self) -> Result<Stop, String> {
        for _ in 0..LOOKS {
            if self.reap(libc::WNOHANG)? {
                return Ok(Stop::Trapped);
            }
            std::thread::yield_now();
        }
        let limit = Instant::now() + BOUND;
        let mut slept_since = None;
        loop {
            if self.reap(libc::WNOHANG)? {
                return Ok(Stop::Trapped);
            }
            match blocking_call(self.pid) {
                // A victim seen in a futex may have been stopped just then.
                Some(libc::SYS_futex) if self.reap(libc::WNOHANG)? => return Ok(Stop::Trapped),
                Some(libc::SYS_futex) => return Ok(Stop::Asleep),
                Some(_) => {
                    let since = *slept_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > LONG_SLEEP {
                        return Ok(Stop::Asleep);
                    }
                }
                None => slept_since = None,
            }
            if Instant::now() > limit {
                return Err(format!("victim still running after {BOUND:?}"));
            }
            std::thread::sleep(Duration::from_micros(5));
        }
    }

    /// Whether it is stopped, as it was asked to be. An error if it ended, or something else stopped it.
    fn reap(&mut self, flags: libc::c_int) -> Result<bool, String> {
        let Some(status) = self.reap_any(flags)? else { return Ok(false) };
        if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == REFUSED {
            return Err("the kernel refuses PTRACE_TRACEME".to_owned());
        }
        if !libc::WIFSTOPPED(status) {
            return Err(format!("victim ended by itself: wait status {status:#x}"));
        }
        match libc::WSTOPSIG(status) & !SYSCALL_STOP {
            libc::SIGTRAP => Ok(true),
            signal => Err(format!("victim got signal {signal} at {:#x}", self.pc()?)),
        }
    }

    fn reap_any(&mut self, flags: libc::c_int) -> Result<Option<libc::c_int>, String> {
        let mut status = 0;
        // SAFETY: `status` is a writable int, and `pid` is a child that has not been reaped.
        let pid = unsafe { libc::waitpid(self.pid, &raw mut status, flags | libc::__WALL) };
        if pid < 0 {
            return Err(format!("waitpid: {}", std::io::Error::last_os_error()));
        }
        self.reaped |= pid > 0 && !libc::WIFSTOPPED(status);
        Ok((pid > 0).then_some(status))
    }

    fn registers(&self) -> Result<libc::user_regs_struct, String> {
        let mut registers = MaybeUninit::<libc::user_regs_struct>::uninit();
        self.request(libc::PTRACE_GETREGS, 0, registers.as_mut_ptr() as u64)?;
        // SAFETY: the request succeeded, so the kernel has filled the whole structure.
        Ok(unsafe { registers.assume_init() })
    }

    /// The word of its memory at `address`.
    fn peek(&self, address: u64) -> Result<u64, String> {
        self.read(libc::PTRACE_PEEKTEXT, address)
    }

    fn read(&self, request: libc::c_uint, address: u64) -> Result<u64, String> {
        let mut word = 0_u64;
        // The system call itself, unlike libc's function for it, stores the word where `data` points.
        // SAFETY: the victim is this process's own tracee, and `word` is writable.
        let failed =
            unsafe { libc::syscall(libc::SYS_ptrace, request, self.pid, address, &raw mut word) != 0 };
        if failed { Err(format!("ptrace peek: {}", std::io::Error::last_os_error())) } else { Ok(word) }
    }

    fn request(&self, request: libc::c_uint, address: u64, data: u64) -> Result<(), String> {
        // SAFETY: the victim is this process's own tracee; `data` is a number, or the address of a structure of the
        // kind that the request fills or reads.
        if unsafe { libc::ptrace(request, self.pid, address, data) } == 0 {
            return Ok(());
        }
        Err(format!("ptrace request {request}: {}", std::io::Error::last_os_error()))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if !self.reaped {
            kill_and_reap(self.pid);
        }
    }
}
