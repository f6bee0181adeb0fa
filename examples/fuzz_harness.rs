//! A fuzzer whose children crash on purpose: `cargo run --release --example fuzz_harness -- [WORKERS]`
//!
//! | shared | what |
//! |---|---|
//! | `Array<u8>` | the coverage map: how often each edge of the parser was taken, in classes |
//! | `RawValue<u64>` | executions so far: one atomic add, and exact whoever dies |
//! | `JoinableQueue<Vec<u8>>` | inputs to mutate, as leased tasks: that of a child which crashes goes to another |
//! | `Queue<Vec<u8>>` | inputs that reached something new |
//! | `Value<Input>` of each child | what it is running just now: after a crash, the input that did it |
//!
//! No child can take the others with it: a lock that it held is passed on, and its task goes to another.

use std::time::{Duration, Instant};

use bytemuck::{Pod, Zeroable};
use multiproc::{
    Array, GetError, JoinableQueue, Process, ProcessError, Queue, RawValue, Result, StartMethod, Value,
};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use serde::{Deserialize, Serialize};

/// Bytes of the coverage map, and of the longest input.
const EDGES: usize = 1 << 12;
const LONGEST: usize = 24;
/// Mutants of an input that make a task.
const MUTANTS: usize = 2_000;
/// When to give up.
const PATIENCE: Duration = Duration::from_secs(120);

/// An input as it lies in shared memory.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
struct Input {
    len: u64,
    bytes: [u8; LONGEST],
}

impl Input {
    fn of(bytes: &[u8]) -> Self {
        let mut input = Self { len: bytes.len() as u64, ..Self::default() };
        input.bytes[..bytes.len()].copy_from_slice(bytes);
        input
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

/// What all children share, and each one's own.
#[derive(Clone, Serialize, Deserialize)]
struct Harness {
    coverage: Array<u8>,
    executions: RawValue<u64>,
    inputs: JoinableQueue<Vec<u8>>,
    found: Queue<Vec<u8>>,
}

/// The edges that one execution takes.
struct Trace {
    edges: Vec<u8>,
    last: usize,
}

impl Trace {
    fn block(&mut self, block: usize) {
        let edge = (self.last << 1 ^ block) % EDGES;
        self.edges[edge] = self.edges[edge].saturating_add(1);
        self.last = block;
    }
}

/// The program under test, instrumented by hand: a list of `name=number;`. It dies of one that nobody writes by accident.
fn parse(text: &[u8], trace: &mut Trace) -> u32 {
    let mut sum = 0_u32;
    let mut rest = text;
    while let Some(end) = rest.iter().position(|&byte| byte == b';') {
        let (entry, behind) = rest.split_at(end);
        rest = &behind[1..];
        trace.block(17);
        let Some(equals) = entry.iter().position(|&byte| byte == b'=') else {
            trace.block(29);
            continue;
        };
        let (name, number) = (&entry[..equals], &entry[equals + 1..]);
        // Like a hash table's lookup: a block for each byte that fits.
        let fits = b"crash".iter().zip(name).take_while(|(expected, found)| expected == found).count();
        (0..fits).for_each(|byte| trace.block(101 + 37 * byte));
        for (place, digit) in number.iter().enumerate() {
            if !digit.is_ascii_digit() {
                trace.block(53);
                break;
            }
            trace.block(71 + place);
            sum = sum.wrapping_mul(10).wrapping_add(u32::from(digit - b'0'));
        }
        if fits == 5 && name.len() == 5 && number.first() == Some(&b'7') {
            // The planted fault.
            std::process::abort();
        }
    }
    sum
}

/// Numbers that look random: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % end
    }

    fn mutate(&mut self, input: &[u8]) -> Vec<u8> {
        const ALPHABET: &[u8] = b"acehrst01279=;";
        let mut mutant = input.to_vec();
        for _ in 0..=self.below(3) {
            let letter = ALPHABET[self.below(ALPHABET.len())];
            let at = self.below(mutant.len() + 1);
            match self.below(4) {
                0 | 1 if mutant.len() < LONGEST => mutant.insert(at, letter),
                2 if at < mutant.len() => drop(mutant.remove(at)),
                _ if at < mutant.len() => mutant[at] = letter,
                _ => {}
            }
        }
        mutant
    }
}

/// What a child does: runs mutants of inputs until there are no more, or until it crashes.
fn child((harness, current, seed): (Harness, Value<Input>, u64)) {
    // A crash is the daily bread here: nobody wants its core.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut seen = vec![0; EDGES];
    for input in harness.inputs.tasks() {
        // What others have seen meanwhile is not new any more. The lock of one that crashed is passed on as it is: each
        // byte is old or new.
        let shared = harness.coverage.lock_or_recover(|_| ()).expect("a lock of one's own");
        seen.iter_mut().zip(shared.iter()).for_each(|(own, shared)| *own |= shared);
        drop(shared);
        for _ in 0..MUTANTS {
            let mutant = random.mutate(&input);
            current.set(Input::of(&mutant)).expect("nobody else sets it");
            let mut trace = Trace { edges: vec![0; EDGES], last: 0 };
            parse(&mutant, &mut trace);
            harness.executions.fetch_add(1);
            if is_new(&trace.edges, &mut seen) {
                let mut shared = harness.coverage.lock_or_recover(|_| ()).expect("a lock of one's own");
                if is_new(&trace.edges, &mut shared) {
                    drop(shared);
                    let _ = harness.found.try_put(mutant);
                }
            }
        }
        input.done();
    }
}

/// Whether an execution took an edge, or took one in a class of times, that `map` doesn't have; it has it then.
fn is_new(edges: &[u8], map: &mut [u8]) -> bool {
    let mut new = false;
    for (&times, map) in edges.iter().zip(map) {
        let class = if times == 0 { 0 } else { 1 << times.ilog2().min(7) };
        new |= class & !*map != 0;
        *map |= class;
    }
    new
}

fn main() -> Result<()> {
    let workers = std::env::args().nth(1).map_or(2, |count| count.parse().expect("a number of workers"));
    let harness = Harness {
        coverage: Array::zeroed(EDGES)?,
        executions: RawValue::new(0)?,
        inputs: JoinableQueue::bounded(1024)?,
        found: Queue::bounded(1024)?,
    };
    let mut corpus = vec![b"a=1;".to_vec()];
    for _ in 0..2 * workers {
        harness.inputs.put(corpus[0].clone())?;
    }
    // Copies of a helper: a harness that starts many pays little for each.
    let spawn = |current: &Value<Input>, seed| {
        let builder = Process::builder().start_method(StartMethod::Zygote);
        builder.spawn(child, (harness.clone(), current.clone(), seed))
    };
    let mut children = Vec::new();
    for seed in 0..workers {
        let current = Value::new(Input::default())?;
        children.push((spawn(&current, seed)?, current));
    }

    let begun = Instant::now();
    let mut next = 0;
    let crash = 'search: loop {
        match harness.found.get_timeout(Duration::from_millis(10)) {
            Ok(input) => {
                println!("{:>9} executions: {}", harness.executions.load(), input.escape_ascii());
                corpus.push(input);
                next = corpus.len() - 1;
            }
            Err(GetError::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        // The newest ones first, and then all of them again.
        while harness.inputs.len() < 2 * children.len() {
            harness.inputs.put(corpus[next % corpus.len()].clone())?;
            next += 1;
        }
        for (process, current) in &mut children {
            if let Some(input) = crashed(process, current) {
                break 'search Some(input);
            }
        }
        if begun.elapsed() > PATIENCE {
            break None;
        }
    };

    let seconds = begun.elapsed().as_secs_f64();
    let executions = harness.executions.load();
    println!("{executions} executions in {seconds:.1} s: {:.0} per second", executions as f64 / seconds);
    harness.inputs.shutdown();
    for (process, _) in &mut children {
        process.kill()?;
        let _ = process.join();
    }
    match crash {
        Some(input) => println!("crash: {}", input.escape_ascii()),
        None => println!("no crash in {PATIENCE:?}"),
    }
    Ok(())
}

/// What a child was running when it crashed, if it has.
fn crashed(process: &mut Process<()>, current: &Value<Input>) -> Option<Vec<u8>> {
    if process.is_alive() {
        return None;
    }
    match process.join() {
        Err(ProcessError::Signaled(_)) => Some(current.get().bytes().to_vec()),
        other => panic!("a child ends by a crash only: {other:?}"),
    }
}
