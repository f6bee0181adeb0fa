//! `Manager`: a server that ends answers what it has begun.
#![cfg(all(feature = "manager", feature = "auto-init"))]

mod worker;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use multiproc::manager::{ManagerBuilder, ManagerError, ObjectProxy, RemoteObject, ServerStopper};
use multiproc::{Address, AuthKey, Manager};
use worker::{SOON, eventually};

/// By then a server has ended, whatever its clients do.
const ENDED: Duration = Duration::from_secs(5);

fn key() -> AuthKey {
    AuthKey::new("a server that ends")
}

/// A server in this process.
struct Served {
    address: Address,
    stopper: ServerStopper,
    thread: std::thread::JoinHandle<()>,
}

impl Served {
    fn new(builder: ManagerBuilder) -> Self {
        let server = builder.authkey(key()).into_server().unwrap();
        let (address, stopper) = (server.address().clone(), server.stopper());
        Self { address, stopper, thread: std::thread::spawn(move || server.serve_forever()) }
    }

    fn connect(&self) -> Manager {
        Manager::connect(self.address.clone(), key()).unwrap()
    }

    fn end(self) {
        let start = Instant::now();
        self.stopper.stop();
        self.thread.join().unwrap();
        assert!(start.elapsed() < ENDED);
    }
}

/// Both: by shared memory and a Unix socket, and over a network.
fn servers() -> [ManagerBuilder; 2] {
    [Manager::builder(), Manager::builder().address(Address::tcp("127.0.0.1:0").unwrap())]
}

/// The server that a [`Patient`] is to see the end of, and whether it is called.
static ENDING: Mutex<Option<Address>> = Mutex::new(None);
static IS_CALLED: AtomicBool = AtomicBool::new(false);

/// An object whose method returns when nobody is let in any more.
struct Patient;

impl RemoteObject for Patient {
    type Args = ();
    type Request = u64;
    type Reply = u64;
    const NAME: &'static str = "Patient";

    fn new((): ()) -> Self {
        Self
    }

    fn call(&mut self, request: u64) -> u64 {
        let address = ENDING.lock().unwrap().clone().unwrap();
        IS_CALLED.store(true, Ordering::SeqCst);
        eventually("the end", || Manager::connect(address.clone(), key()).is_err());
        request + 1
    }
}

#[test]
fn a_call_that_has_begun_is_answered_although_the_server_ends() {
    for builder in servers() {
        let server = Served::new(builder.register::<Patient>());
        *ENDING.lock().unwrap() = Some(server.address.clone());
        IS_CALLED.store(false, Ordering::SeqCst);
        let manager = server.connect();
        let patient = manager.object::<Patient>(&()).unwrap();
        let list = manager.list([1]).unwrap();
        std::thread::scope(|scope| {
            let call = scope.spawn(|| patient.call(&7));
            eventually("the call", || IS_CALLED.load(Ordering::SeqCst));
            server.end();
            assert_eq!(call.join().unwrap().unwrap(), 8);
        });
        assert!(matches!(list.len(), Err(ManagerError::Unreachable(_))));
    }
}

/// Calls of a [`Tally`] that were made.
static MADE: AtomicU64 = AtomicU64::new(0);

struct Tally;

impl RemoteObject for Tally {
    type Args = ();
    type Request = ();
    type Reply = ();
    const NAME: &'static str = "Tally";

    fn new((): ()) -> Self {
        Self
    }

    fn call(&mut self, (): ()) {
        MADE.fetch_add(1, Ordering::SeqCst);
    }
}

fn is_of_the_end(error: &ManagerError) -> bool {
    matches!(error, ManagerError::Stopping | ManagerError::Unreachable(_))
}

/// Calls until the server ends; how many calls were answered.
fn call_until_the_end(manager: &Manager, tally: &ObjectProxy<Tally>, calls: usize) -> u64 {
    let mut answered = 0;
    loop {
        if calls == 1 {
            match tally.call(&()) {
                Ok(()) => answered += 1,
                Err(error) if is_of_the_end(&error) => return answered,
                Err(error) => panic!("{error}"),
            }
            continue;
        }
        let mut pipeline = manager.pipeline();
        let tickets: Vec<_> = (0..calls).map(|_| pipeline.call(tally, &()).unwrap()).collect();
        let answers = match pipeline.run() {
            Ok(answers) => answers,
            Err(error) if is_of_the_end(&error) => return answered,
            Err(error) => panic!("{error}"),
        };
        let before = answered;
        for ticket in tickets {
            match answers.take(ticket) {
                Ok(()) => answered += 1,
                Err(error) => assert!(is_of_the_end(&error), "{error}"),
            }
        }
        if answered - before < calls as u64 {
            return answered;
        }
    }
}

#[test]
fn every_call_that_was_made_is_answered_although_the_server_ends() {
    for round in 0..16 {
        let server = Served::new(Manager::builder().register::<Tally>());
        MADE.store(0, Ordering::SeqCst);
        // One at a time, a message of many, and many messages.
        let clients: Vec<_> = [1, 200, 20_000]
            .into_iter()
            .map(|calls| {
                let manager = server.connect();
                let tally = manager.object::<Tally>(&()).unwrap();
                std::thread::spawn(move || call_until_the_end(&manager, &tally, calls))
            })
            .collect();
        let enough = 1000 * round;
        eventually("some calls", || MADE.load(Ordering::SeqCst) >= enough);
        server.end();
        let answered: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
        assert_eq!(answered, MADE.load(Ordering::SeqCst), "round {round}");
    }
}

#[test]
fn calls_that_wait_end_with_a_server_that_ends() {
    // Dropped, and with it the server, before the threads are: if this fails, they end.
    let manager = Manager::start().unwrap();
    let (lock, rlock) = (manager.lock().unwrap(), manager.rlock().unwrap());
    let (semaphore, bounded) = (manager.semaphore(0).unwrap(), manager.bounded_semaphore(1).unwrap());
    let (condition, event) = (manager.condition().unwrap(), manager.event().unwrap());
    let (barrier, empty) = (manager.barrier(3).unwrap(), manager.queue::<u8>(0).unwrap());
    let (full, tasks) = (manager.queue::<u8>(1).unwrap(), manager.joinable_queue::<u8>(0).unwrap());
    let pool = manager.pool(1).unwrap();
    full.put(&1).unwrap();
    tasks.put(&1).unwrap();
    let (lock_too, rlock_too, bounded_too, barrier_too) =
        (lock.clone(), rlock.clone(), bounded.clone(), barrier.clone());
    let held = (lock.lock().unwrap(), rlock.lock().unwrap(), bounded.acquire().unwrap());
    let waits: [Box<dyn FnOnce() -> Result<(), ManagerError> + Send>; 12] = [
        Box::new(move || lock_too.lock().map(drop)),
        Box::new(move || rlock_too.lock().map(drop)),
        Box::new(move || semaphore.acquire().map(drop)),
        Box::new(move || bounded_too.acquire().map(drop)),
        Box::new(move || condition.lock()?.wait().map(drop)),
        Box::new(move || event.wait()),
        Box::new(move || barrier_too.wait().map(drop)),
        Box::new(move || barrier.wait().map(drop)),
        Box::new(move || empty.get().map(drop)),
        Box::new(move || full.put(&2)),
        Box::new(move || tasks.join()),
        Box::new(move || pool.apply(std::thread::sleep, SOON)),
    ];
    let waits = waits.map(std::thread::spawn);
    // Each has a connection to itself, and so a thread of the server's.
    eventually("the calls", || serving(manager.pid().unwrap()) >= waits.len());
    let start = Instant::now();
    manager.shutdown().unwrap();
    for (place, wait) in waits.into_iter().enumerate() {
        let ended = wait.join().unwrap();
        assert!(matches!(&ended, Err(error) if is_of_the_end(error)), "{place}: {ended:?}");
    }
    assert!(start.elapsed() < ENDED);
    drop(held);
}

/// Threads of a server's that serve a connection.
fn serving(pid: u32) -> usize {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "multiproc-serve").count()
}

#[test]
fn a_client_that_reads_nothing_delays_the_end_of_a_server_by_so_much_and_no_more() {
    let server = Served::new(Manager::builder());
    let stranger = multiproc::Client::connect(server.address.clone(), Some(key())).unwrap();
    stranger.send_bytes(&[b"mpmg\x01\0".as_slice(), &[7; 16]].concat()).unwrap();
    stranger.recv_bytes_timeout(SOON).unwrap();
    let manager = server.connect();
    // Stats, again and again, until the server can't send the answers any more.
    let many = [1, 0, 1, 10].repeat(1000);
    while stranger.send_bytes_timeout(&many, Duration::from_millis(300)).is_ok() {}
    assert_eq!(manager.stats().unwrap().clients, 2, "others are served");
    server.end();
}
