//! A structure of one's own, shared by two programs, one of which is killed in the middle of a change:
//! `cargo run --example embedding --features derive`.
//!
//! Started without arguments it is the first program, which makes a named segment, starts itself as the second one with
//! that name, and kills it while it holds the mutex. Two programs of different sources would do the same: they need the
//! same definition of `Ledger`, whose layout is compared when it is found.
#![allow(unsafe_code)]

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use multiproc::raw::{Acquired, Deadline, RawEvent, RawMutex};
use multiproc::{Error, Placed, Result, Segment, Share};

/// How much one deposit is.
const AMOUNT: u64 = 5;

/// What the programs share. Whenever nobody holds `mutex`, `balance` is `AMOUNT` times `deposits`.
#[derive(Share)]
#[repr(C)]
struct Ledger {
    mutex: RawMutex,
    halfway: RawEvent,
    deposits: AtomicU64,
    balance: AtomicU64,
}

/// The mutex, held: the ledger stays mapped meanwhile, since the guard borrows its handle.
struct Locked<'a>(&'a Placed<Ledger>);

impl<'a> Locked<'a> {
    fn new(ledger: &'a Placed<Ledger>) -> Result<Self> {
        // SAFETY: until `drop` unlocks it the handle is borrowed, which keeps the memory mapped and in place.
        let acquired = unsafe { ledger.mutex.lock(Deadline::after(Duration::from_secs(10))) };
        let locked = match acquired {
            Ok(acquired) => (acquired, Self(ledger)),
            Err(error) => return Err(Error::Operation(error.into())),
        };
        if locked.0 == Acquired::OwnerDied {
            let (deposits, balance) = (ledger.deposits.load(Relaxed), ledger.balance.load(Relaxed));
            println!("the holder died: {deposits} deposits, but a balance of {balance}");
            // Every deposit is counted before it is added: what is missing can be told from the count.
            ledger.balance.store(deposits * AMOUNT, Relaxed);
            ledger.mutex.recover();
        }
        Ok(locked.1)
    }

    /// Runs `halfway` between the two steps of a deposit.
    fn deposit(&self, halfway: impl FnOnce()) {
        // Atomic since another process could write them at any time; the mutex is what orders them.
        self.0.deposits.fetch_add(1, Relaxed);
        halfway();
        self.0.balance.fetch_add(AMOUNT, Relaxed);
    }

    fn print(&self, when: &str) {
        let (deposits, balance) = (self.0.deposits.load(Relaxed), self.0.balance.load(Relaxed));
        println!("{when}: {deposits} deposits, a balance of {balance}");
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.mutex.unlock() {
            eprintln!("unlock: {error}");
        }
    }
}

/// The segment's name goes when the first program is done with it, however it ends.
struct Named(Segment);

impl Drop for Named {
    fn drop(&mut self) {
        if let Err(error) = self.0.remove() {
            eprintln!("remove {:?}: {error}", self.0);
        }
    }
}

fn first() -> Result<()> {
    let name = format!("embedding-{}", std::process::id());
    let segment = Named(Segment::create(&name, 1 << 16)?);
    println!("segment: {name}");
    let ledger = segment.0.place(
        "ledger",
        Ledger {
            mutex: RawMutex::new(),
            halfway: RawEvent::new(),
            deposits: AtomicU64::new(0),
            balance: AtomicU64::new(0),
        },
    )?;
    let locked = Locked::new(&ledger)?;
    locked.deposit(|| {});
    locked.print("first program");
    drop(locked);

    let failed = |operation| move |source| Error::Os { operation, source };
    let program = std::env::current_exe().map_err(failed("find this program"))?;
    let mut second = Command::new(program)
        .arg(&name)
        .stdin(Stdio::null())
        .spawn()
        .map_err(failed("start the second program"))?;
    let halfway = ledger.halfway.wait(Deadline::after(Duration::from_secs(10)));
    // SIGKILL, in the middle of its deposit.
    second.kill().map_err(failed("kill the second program"))?;
    let status = second.wait().map_err(failed("wait for the second program"))?;
    println!("second program: halfway {halfway}, {status}");

    let locked = Locked::new(&ledger)?;
    locked.print("recovered");
    locked.deposit(|| {});
    locked.print("first program");
    Ok(())
}

fn second(name: &str) -> Result<()> {
    let segment = Segment::open(name)?;
    let ledger = segment.find::<Ledger>("ledger")?;
    let locked = Locked::new(&ledger)?;
    locked.deposit(|| {
        ledger.halfway.set();
        std::thread::sleep(Duration::from_secs(60)); // It is killed long before.
    });
    Ok(())
}

fn main() -> Result<()> {
    match std::env::args().nth(1) {
        None => first(),
        Some(name) => second(&name),
    }
}
