//! Calls of a manager's client: whoever is killed in one has made it or not, the server goes on, and what the client held is
//! another's within the bound.

use std::time::{Duration, Instant};

use multiproc::Manager;
use multiproc::manager::{DictProxy, JoinableQueueProxy, ListProxy, LockProxy, ManagerError, SemaphoreProxy};
use multiproc::testing::{MAILBOX_ROOM, MailboxLine, set_mailbox_sleep, set_spins};

use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, Sleep, kill_at_every_instruction};
use crate::witness::{BOUND, Witness};

const MADE: &str = "the call made";
const NOT_MADE: &str = "no call";

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "manager::dict_set", run: || Call::new(set)?.test(&[MADE, NOT_MADE]) },
    Scenario { name: "manager::list_push", run: || Call::new(push)?.test(&[MADE, NOT_MADE]) },
    Scenario { name: "manager::lock_and_unlock", run: || Call::new(lock)?.test(&[]) },
    Scenario { name: "manager::acquire_and_return", run: || Call::new(acquire)?.test(&[]) },
    Scenario { name: "manager::take_and_done", run: || Call::new(take)?.test(&[MADE, NOT_MADE]) },
    Scenario { name: "manager::post", run: || Posting::new(24)?.test() },
    Scenario { name: "manager::post_what_is_too_long", run: || Posting::new(MAILBOX_ROOM + 1)?.test() },
    Scenario { name: "manager::take_what_was_posted", run: || Taking::new()?.test() },
    Scenario { name: "manager::ask_a_sleeping_server", run: || Asking.test() },
    Scenario { name: "manager::answer_a_sleeping_client", run: || Answering.test() },
];

/// A server's objects, of which this process and its victims have proxies. They are the same for all kill points, so that a
/// call's bytes are.
struct Objects {
    manager: Manager,
    dict: DictProxy<u8, u8>,
    list: ListProxy<u8>,
    lock: LockProxy,
    semaphore: SemaphoreProxy,
    tasks: JoinableQueueProxy<u8>,
}

type Run = fn(&Objects);

fn set(objects: &Objects) {
    let _ = objects.dict.set(&1, &7);
}

fn push(objects: &Objects) {
    let _ = objects.list.push(&7);
}

fn lock(objects: &Objects) {
    drop(objects.lock.lock());
}

fn acquire(objects: &Objects) {
    drop(objects.semaphore.acquire());
}

fn take(objects: &Objects) {
    let _ = objects.tasks.try_take().and_then(|task| task.done());
}

/// A call, killed at each instruction.
struct Call {
    objects: Objects,
    run: Run,
}

fn text(error: ManagerError) -> String {
    error.to_string()
}

impl Call {
    fn new(run: Run) -> Result<Call, String> {
        // Neither end looks or sleeps at its mailbox, which lasts as long as it lasts: all goes by the socket, the same way
        // each time.
        let never_looks = |()| {
            let _ = set_spins(0);
            set_mailbox_sleep(Duration::ZERO);
        };
        let builder = Manager::builder().initializer(never_looks, ());
        let manager = builder.start().map_err(|error| error.to_string())?;
        let objects = Objects {
            dict: manager.dict().map_err(text)?,
            list: manager.list([]).map_err(text)?,
            lock: manager.lock().map_err(text)?,
            semaphore: manager.semaphore(1).map_err(text)?,
            tasks: manager.joinable_queue(0).map_err(text)?,
            manager,
        };
        Ok(Call { objects, run })
    }

    fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }

    /// What has become of the call; a survivor makes others meanwhile.
    fn outcome(&self) -> Result<bool, ManagerError> {
        let objects = &self.objects;
        let made =
            objects.dict.get(&1)?.is_some() || !objects.list.is_empty()? || objects.tasks.unfinished()? == 1;
        objects.dict.set(&2, &8)?;
        objects.list.push(&8)?;
        Ok(made)
    }

    /// What a victim held has to be free within the bound.
    fn released(&self) -> Result<(), String> {
        let objects = &self.objects;
        let late = |what: &str| format!("{what} is not free after {BOUND:?}");
        drop(objects.lock.lock_timeout(BOUND).map_err(text)?.ok_or_else(|| late("the lock"))?);
        drop(objects.semaphore.acquire_timeout(BOUND).map_err(text)?.ok_or_else(|| late("the permit"))?);
        let end = Instant::now() + BOUND;
        // A task that was taken is there again, or done; the victim's connection may be seen to have ended a moment later.
        while objects.tasks.len().map_err(text)? != objects.tasks.unfinished().map_err(text)? {
            if Instant::now() > end {
                return Err(late("the task"));
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(())
    }
}

impl Operation for Call {
    type State = ();

    fn prepare(&self) -> Result<(), String> {
        let objects = &self.objects;
        let reset = || {
            objects.dict.clear()?;
            objects.list.clear()?;
            while let Ok(task) = objects.tasks.try_take() {
                task.done()?;
            }
            objects.tasks.put_many([1, 2])
        };
        reset().map_err(text)
    }

    fn enter(&self, (): &()) {
        let _ = set_spins(0);
        set_mailbox_sleep(Duration::ZERO);
        // A session of its own, and what its thread keeps for the next call.
        for _ in 0..3 {
            let _ = self.objects.manager.stats();
            drop(self.objects.lock.lock());
            drop(self.objects.semaphore.acquire());
            let _ = self.objects.dict.set(&3, &7);
            let _ = self.objects.tasks.try_take().map(drop);
        }
    }

    fn run(&self, (): &()) {
        (self.run)(&self.objects);
    }

    fn turns(&self) -> usize {
        2
    }

    fn verify(&self, (): (), kill: &Kill) -> Result<&'static str, String> {
        let start = Instant::now();
        self.released()?;
        let made = self.outcome().map_err(text)?;
        if start.elapsed() > BOUND {
            return Err(format!("a survivor waited for {:?}", start.elapsed()));
        }
        match made {
            true => Ok(MADE),
            false if kill.is_after_the_end() && is_noted(self.run) => {
                Err("a call that was made is lost".to_owned())
            }
            false => Ok(NOT_MADE),
        }
    }
}

/// Whether the call leaves something that can be seen.
fn is_noted(run: Run) -> bool {
    [set as Run, push, take].iter().any(|noted| std::ptr::fn_addr_eq(*noted, run))
}

const SENT: &str = "the message sent";
const NOT_SENT: &str = "no message";
const TAKEN: &str = "the message taken";
const LEFT: &str = "the message left";

fn message(len: usize) -> Vec<u8> {
    (0..len).map(|place| place as u8).collect()
}

/// A message to a server that looks at its mailbox, killed at each instruction: it is there, whole, or there is none.
struct Posting {
    line: MailboxLine,
    message: Vec<u8>,
}

impl Posting {
    fn new(len: usize) -> Result<Posting, String> {
        let line = MailboxLine::new().map_err(|error| error.to_string())?;
        Ok(Posting { line, message: message(len) })
    }

    fn test(&self) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(&[SENT, NOT_SENT])
    }
}

impl Operation for Posting {
    type State = ();

    fn prepare(&self) -> Result<(), String> {
        self.line.look(true);
        Ok(())
    }

    fn run(&self, (): &()) {
        let _ = self.line.send(&self.message);
    }

    fn turns(&self) -> usize {
        2
    }

    fn verify(&self, (): (), kill: &Kill) -> Result<&'static str, String> {
        match self.line.receive().map_err(|error| format!("{error:?}"))? {
            Some(found) if found == self.message => Ok(SENT),
            Some(found) => Err(format!("another message of {} bytes", found.len())),
            None if kill.is_after_the_end() => Err("a message that was sent is lost".to_owned()),
            None => Ok(NOT_SENT),
        }
    }
}

/// A message taken out of a mailbox, killed at each instruction: it is taken, or comes back to its sender.
struct Taking {
    line: MailboxLine,
}

impl Taking {
    fn new() -> Result<Taking, String> {
        Ok(Taking { line: MailboxLine::new().map_err(|error| error.to_string())? })
    }

    fn test(&self) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(&[TAKEN, LEFT])
    }
}

impl Operation for Taking {
    type State = ();

    fn prepare(&self) -> Result<(), String> {
        self.line.look(true);
        self.line.send(&message(24)).map_err(|error| format!("{error:?}"))
    }

    fn run(&self, (): &()) {
        let received = self.line.receive();
        assert!(received.is_ok_and(|received| received == Some(message(24))));
    }

    fn turns(&self) -> usize {
        2
    }

    fn verify(&self, (): (), kill: &Kill) -> Result<&'static str, String> {
        match self.line.take_back() {
            false => Ok(TAKEN),
            true if kill.is_after_the_end() => Err("a message that was taken comes back".to_owned()),
            true => Ok(LEFT),
        }
    }
}

const QUESTION: usize = 24;
const ANSWER: usize = 40;

/// A line of which a witness is the other end.
struct Shared {
    line: MailboxLine,
    witness: Option<Witness>,
}

impl Shared {
    fn new() -> Result<Shared, String> {
        Ok(Shared { line: MailboxLine::new().map_err(|error| error.to_string())?, witness: None })
    }

    /// Has a client ask, which sleeps at its mailbox for so long at most, and says what comes of it.
    fn asks(&self, slice: Duration) -> Result<Witness, String> {
        set_mailbox_sleep(slice);
        let client = Witness::spawn(|| match self.line.ask(&message(QUESTION)) {
            Ok(answer) if answer == message(ANSWER) => HAS_ANSWER,
            Ok(_) => 0,
            Err(true) => HAS_NOT_ASKED,
            Err(false) => HAS_LOST,
        });
        set_mailbox_sleep(SLICE);
        client
    }
}

/// How long a sleep at a mailbox lasts at most, as a rule.
const SLICE: Duration = Duration::from_millis(100);

const HAS_ANSWER: u64 = 1;
const HAS_NOT_ASKED: u64 = 2;
const HAS_LOST: u64 = 3;
const IS_ASKED: u64 = 4;
const IS_LEFT: u64 = 5;

/// A client that wakes a server, sleeps, and is woken with the answer, killed at each instruction and in its sleep: the server has
/// the question, or learns that there is none, although nobody wakes it.
struct Asking;

impl Asking {
    fn test(&self) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(&[SENT, NOT_SENT])
    }
}

impl Operation for Asking {
    type State = Shared;

    fn prepare(&self) -> Result<Shared, String> {
        Shared::new()
    }

    fn enter(&self, _: &Shared) {
        let _ = set_spins(0);
    }

    fn entered(&self, shared: &mut Shared) -> Result<(), String> {
        // Only the victim is the client.
        shared.line.leave_client();
        shared.line.look(false);
        let server = Witness::spawn(|| match shared.line.await_question() {
            Ok(question) if question == message(QUESTION) => IS_ASKED,
            Ok(_) => 0,
            Err(_) => IS_LEFT,
        })?;
        server.wait_until_asleep()?;
        shared.witness = Some(server);
        Ok(())
    }

    fn run(&self, shared: &Shared) {
        let answer = shared.line.ask(&message(QUESTION));
        assert_eq!(answer, Ok(message(ANSWER)));
    }

    fn turns(&self) -> usize {
        2
    }

    fn asleep(&self, shared: &mut Shared, _nth: usize) -> Result<Sleep, String> {
        let Some(server) = shared.witness.take() else { return Ok(Sleep::Last) };
        if server.finish_within(BOUND)? != IS_ASKED {
            return Err("the server was asked something else".to_owned());
        }
        shared.line.answer(&message(ANSWER)).map_err(|error| format!("{error:?}"))?;
        Ok(Sleep::Woken)
    }

    fn verify(&self, shared: Shared, kill: &Kill) -> Result<&'static str, String> {
        let Some(server) = shared.witness else { return Ok(SENT) };
        match server.finish_within(BOUND)? {
            IS_ASKED => Ok(SENT),
            IS_LEFT if kill.is_after_the_end() => Err("an answered question is lost".to_owned()),
            IS_LEFT => Ok(NOT_SENT),
            _ => Err("the server was asked something else".to_owned()),
        }
    }
}

const ANSWERED: &str = "the answer sent";
const CAME_BACK: &str = "the question back";
const LOST: &str = "the question lost";

/// A server that is woken, answers, and wakes the client, killed at each instruction and in its sleep: the client has the
/// answer, or its question back, or knows that it is lost, although nobody wakes it.
struct Answering;

impl Answering {
    fn test(&self) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(&[ANSWERED, CAME_BACK, LOST])
    }
}

impl Operation for Answering {
    type State = Shared;

    fn prepare(&self) -> Result<Shared, String> {
        Shared::new()
    }

    fn enter(&self, _: &Shared) {
        let _ = set_spins(0);
    }

    fn entered(&self, shared: &mut Shared) -> Result<(), String> {
        // Only the victim is the server.
        shared.line.leave_server();
        Ok(())
    }

    fn run(&self, shared: &Shared) {
        shared.line.look(false);
        let question = shared.line.await_question();
        assert!(question.is_ok_and(|question| question == message(QUESTION)));
        assert!(shared.line.answer(&message(ANSWER)).is_ok());
    }

    fn turns(&self) -> usize {
        2
    }

    fn asleep(&self, shared: &mut Shared, nth: usize) -> Result<Sleep, String> {
        if nth > 0 {
            return Ok(Sleep::Last);
        }
        let client = shared.asks(SLICE)?;
        client.wait_until_asleep()?;
        shared.witness = Some(client);
        Ok(Sleep::Woken)
    }

    fn verify(&self, shared: Shared, kill: &Kill) -> Result<&'static str, String> {
        let client = match shared.witness {
            Some(client) => client,
            None => {
                // Nobody answers any more: it need not wait for long to see that.
                let line = shared.line;
                Shared { line, witness: None }.asks(Duration::from_millis(5))?
            }
        };
        match client.finish_within(BOUND)? {
            HAS_ANSWER => Ok(ANSWERED),
            _ if kill.is_after_the_end() => Err("an answer that was sent is lost".to_owned()),
            HAS_NOT_ASKED => Ok(CAME_BACK),
            HAS_LOST => Ok(LOST),
            _ => Err("another answer".to_owned()),
        }
    }
}
