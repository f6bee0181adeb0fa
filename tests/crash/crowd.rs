//! Producers and consumers of a queue that are there when a victim is killed, and the account of all items.

use std::time::Instant;

use crate::fifo::{Fifo, Refusal};
use crate::witness::{BOUND, Settled, Witness};

/// What a survivor's put or get came to, as its process reports it: the item's number, or one of these.
const SHUTDOWN: u64 = u64::MAX - 1;
const BROKEN: u64 = u64::MAX;

/// Items that survivors put; each below 128, so that they are all equally long.
const SURVIVORS_ITEMS: u64 = 60;
/// Items that the test itself puts.
const TESTS_ITEMS: u64 = 80;

/// Which end a survivor is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Producer,
    Consumer,
}

/// Another process that puts or gets one item.
struct Survivor {
    role: Role,
    witness: Witness,
}

/// A queue and those who use it beside the victim.
pub(crate) struct Crowd<Q> {
    pub(crate) queue: Q,
    /// From how many items on a producer may sleep.
    full_at: usize,
    survivors: Vec<Survivor>,
    /// Numbers of the items that were put, in the order of the puts as far as it is known.
    pub(crate) put: Vec<u64>,
    /// Those that were got.
    pub(crate) got: Vec<u64>,
    /// Survivors that found the queue shut down.
    pub(crate) turned_away: usize,
    next_of_survivors: u64,
    next_of_test: u64,
}

impl<Q: Fifo> Crowd<Q> {
    pub(crate) fn new(queue: Q, full_at: usize) -> Crowd<Q> {
        Crowd {
            queue,
            full_at,
            survivors: Vec::new(),
            put: Vec::new(),
            got: Vec::new(),
            turned_away: 0,
            next_of_survivors: SURVIVORS_ITEMS,
            next_of_test: TESTS_ITEMS,
        }
    }

    /// Adds `count` survivors of that role, each asleep or finished before the next comes.
    pub(crate) fn add(&mut self, role: Role, count: usize) -> Result<(), String> {
        for _ in 0..count {
            let number = self.next_of_survivors;
            self.next_of_survivors += 1;
            let witness = Witness::spawn(|| match role {
                Role::Producer => code(self.queue.put(number, None).map(|()| number)),
                Role::Consumer => code(self.queue.get(None)),
            })?;
            witness.settle()?;
            self.survivors.push(Survivor { role, witness });
        }
        Ok(())
    }

    /// How many survivors of that role have not finished.
    pub(crate) fn waiting(&self, role: Role) -> usize {
        self.survivors.iter().filter(|survivor| survivor.role == role).count()
    }

    /// How many survivors have not finished.
    pub(crate) fn all_waiting(&self) -> usize {
        self.survivors.len()
    }

    /// Each survivor has to finish or to have a reason to sleep, with nobody's help.
    pub(crate) fn come_to_rest(&mut self) -> Result<(), String> {
        let end = Instant::now() + BOUND;
        loop {
            for survivor in std::mem::take(&mut self.survivors) {
                match survivor.witness.settle()? {
                    Settled::Asleep => self.survivors.push(survivor),
                    Settled::Finished => self.finished(survivor)?,
                }
            }
            let len = self.queue.len();
            let why = if self.waiting(Role::Consumer) > 0 && len > 0 {
                "a consumer sleeps, but an item is ready"
            } else if self.waiting(Role::Producer) > 0 && len < self.full_at {
                "a producer sleeps, but there is room"
            } else {
                return Ok(());
            };
            if Instant::now() > end {
                return Err(format!("{why} (len {len}) after {BOUND:?}"));
            }
        }
    }

    /// All survivors have to finish, with nobody's help.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        std::mem::take(&mut self.survivors).into_iter().try_for_each(|survivor| self.finished(survivor))
    }

    fn finished(&mut self, survivor: Survivor) -> Result<(), String> {
        match (survivor.role, survivor.witness.finish_within(BOUND)?) {
            (_, SHUTDOWN) => self.turned_away += 1,
            (role, BROKEN) => return Err(format!("a survivor ({role:?}) failed")),
            (Role::Producer, number) => self.put.push(number),
            (Role::Consumer, number) => self.got.push(number),
        }
        Ok(())
    }

    /// The test itself puts an item.
    pub(crate) fn put_one(&mut self) -> Result<(), String> {
        let number = self.next_of_test;
        self.next_of_test += 1;
        self.queue.put(number, Some(BOUND)).map_err(|why| format!("the test's put: {why:?}"))?;
        self.put.push(number);
        Ok(())
    }

    /// The test itself gets an item.
    pub(crate) fn get_one(&mut self) -> Result<u64, String> {
        let number = self.queue.get(Some(BOUND)).map_err(|why| format!("the test's get: {why:?}"))?;
        self.got.push(number);
        Ok(number)
    }

    /// Whether a put is refused for ever. One that is not puts an item if there is room.
    pub(crate) fn is_shut_down(&mut self) -> Result<bool, String> {
        let number = self.next_of_test;
        self.next_of_test += 1;
        match self.queue.try_put(number) {
            Ok(()) => self.put.push(number),
            Err(Refusal::Shutdown) => return Ok(true),
            Err(Refusal::NotNow) if self.queue.len() >= self.full_at => {}
            Err(wrong) => return Err(format!("the test's try_put: {wrong:?}")),
        }
        Ok(false)
    }

    /// Wakes those who sleep for good reason, one after the other.
    pub(crate) fn release_all(&mut self) -> Result<(), String> {
        while !self.survivors.is_empty() {
            let before = self.survivors.len();
            if self.waiting(Role::Consumer) > 0 {
                self.put_one()?;
            } else {
                self.get_one()?;
            }
            self.come_to_rest()?;
            if self.survivors.len() >= before {
                return Err("nobody was woken".to_owned());
            }
        }
        Ok(())
    }

    /// Gets all that is left, and sees that the queue works on: `len` is exact all the time.
    pub(crate) fn drain(&mut self) -> Result<(), String> {
        for left in (0..self.queue.len()).rev() {
            self.get_one()?;
            self.expect_len(left)?;
        }
        match self.queue.try_get() {
            Err(Refusal::NotNow) => {}
            other => return Err(format!("try_get from an empty queue: {other:?}")),
        }
        for _ in 0..3 {
            self.put_one()?;
            self.expect_len(1)?;
            let last = self.put.last().copied();
            if Some(self.get_one()?) != last {
                return Err("another item came than the one that was put".to_owned());
            }
        }
        self.expect_len(0)
    }

    pub(crate) fn expect_len(&self, expected: usize) -> Result<(), String> {
        let len = self.queue.len();
        if len == expected { Ok(()) } else { Err(format!("len is {len}, not {expected}")) }
    }

    /// Items that were put and not got. None was got twice or without being put, and those that one process put before
    /// the victim came were got in their order.
    pub(crate) fn missing(&self) -> Result<Vec<u64>, String> {
        let (mut put, mut got) = (self.put.clone(), self.got.clone());
        put.sort_unstable();
        got.sort_unstable();
        if let Some(doubled) = got.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("item {} was got twice", doubled[0]));
        }
        if let Some(invented) = got.iter().find(|number| put.binary_search(number).is_err()) {
            return Err(format!("item {invented} was got, but not put"));
        }
        let initial: Vec<_> = self.got.iter().filter(|number| **number < SURVIVORS_ITEMS).collect();
        if !initial.is_sorted() {
            return Err(format!("out of order: {initial:?}"));
        }
        put.retain(|number| got.binary_search(number).is_err());
        Ok(put)
    }
}

fn code(done: Result<u64, Refusal>) -> u64 {
    match done {
        Ok(number) => number,
        Err(Refusal::Shutdown) => SHUTDOWN,
        Err(_) => BROKEN,
    }
}
