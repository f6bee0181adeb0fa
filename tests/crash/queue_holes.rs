//! Single deaths of queue users, each constructed as one exact interleaving.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::crowd::{Crowd, Role};
use crate::fifo::{Fifo, RawFifo, Refusal, Size};
use crate::holes::is_wake;
use crate::page::Page;
use crate::scenario::{Report, Scenario};
use crate::victim::{Stop, Victim, end_pc};
use crate::witness::{BOUND, Witness};

const SIZE: Size = Size { max_items: 2, ring_bytes: 512, item_bytes: 8 };
const VICTIMS_ITEM: u64 = 100;
const GOES_ON: &str = "a survivor that goes on";

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "ring::producer_dies_between_commit_and_wake", run: producer_at_its_wake },
    Scenario { name: "ring::consumer_dies_between_free_and_wake", run: consumer_at_its_wake },
    Scenario { name: "ring::woken_consumer_dies_before_it_takes_the_item", run: woken_consumer },
    Scenario { name: "ring::woken_producer_dies_before_it_takes_the_room", run: woken_producer },
    Scenario { name: "ring::robbed_consumer_is_woken_for_the_next_item", run: || robbed(Role::Consumer) },
    Scenario { name: "ring::robbed_producer_is_woken_for_the_next_room", run: || robbed(Role::Producer) },
    Scenario { name: "ring::consumer_has_copied_the_item_that_it_frees", run: freed_is_copied },
    Scenario { name: "ring::shutdown_dies_between_its_wakes", run: shutdown_at_its_wake },
    Scenario { name: "ring::stopped_consumer_delays_nobody", run: || stopped(Role::Consumer) },
    Scenario { name: "ring::stopped_producer_delays_nobody", run: || stopped(Role::Producer) },
];

fn empty() -> Result<Crowd<RawFifo>, String> {
    multiproc::testing::set_sleep_slice(None);
    let queue = RawFifo::new(SIZE)?;
    queue.rehearse();
    Ok(Crowd::new(queue, SIZE.max_items))
}

fn full() -> Result<Crowd<RawFifo>, String> {
    let mut crowd = empty()?;
    crowd.put_one()?;
    crowd.put_one()?;
    Ok(crowd)
}

/// Everybody has to finish; then nothing is missing but `lost`.
fn check(mut crowd: Crowd<RawFifo>, lost: usize) -> Result<Report, String> {
    crowd.finish()?;
    crowd.drain()?;
    match crowd.missing()? {
        missing if missing.len() == lost => Ok(Report::of_one(GOES_ON)),
        missing => Err(format!("missing: {missing:?}")),
    }
}

/// The item is committed, and a consumer sleeps that has not been woken.
fn producer_at_its_wake() -> Result<Report, String> {
    let mut crowd = empty()?;
    crowd.add(Role::Consumer, 1)?;
    let mut producer = Victim::spawn(|| {}, || _ = crowd.queue.put(VICTIMS_ITEM, None))?;
    producer.run_until_syscall_entry(is_wake)?;
    crowd.expect_len(1)?;
    crowd.put.push(VICTIMS_ITEM);
    producer.kill()?;
    check(crowd, 0)
}

/// The room is free, and a producer sleeps that has not been woken.
fn consumer_at_its_wake() -> Result<Report, String> {
    let mut crowd = full()?;
    crowd.add(Role::Producer, 1)?;
    let mut consumer = Victim::spawn(|| {}, || _ = crowd.queue.get(None))?;
    consumer.run_until_syscall_entry(is_wake)?;
    crowd.expect_len(1)?;
    consumer.kill()?;
    check(crowd, 1)
}

/// A consumer stands behind its free while another item is put over the words of its own.
fn freed_is_copied() -> Result<Report, String> {
    multiproc::testing::set_sleep_slice(None);
    let long = RawFifo::new(Size { max_items: 8, ring_bytes: 512, item_bytes: 72 })?;
    // Seven items of 9 words of data, of 64. The next one's data needs the first one's words.
    for number in 10..17 {
        long.try_put(number).map_err(|why| format!("item {number}: {why:?}"))?;
    }
    let producer = Witness::spawn(|| u64::from(long.put(1, None).is_ok()))?;
    producer.wait_until_asleep()?;
    let got = Page::new(AtomicU64::new(0))?;
    // Relaxed: read when the consumer stands still.
    let get = || got.store(long.get(None).unwrap_or(0), Ordering::Relaxed);
    let mut consumer = Victim::spawn(|| {}, get)?;
    consumer.run_until_syscall_entry(is_wake)?;
    long.try_put(2).map_err(|why| format!("a put over the freed item: {why:?}"))?;
    consumer.run_to(end_pc())?;
    match got.load(Ordering::Relaxed) {
        10 => Ok(Report::of_one("the item that was freed")),
        wrong => Err(format!("got {wrong}, not what was freed")),
    }
}

/// The holder of the waiting room has been woken for an item, and another consumer is in the room.
fn woken_consumer() -> Result<Report, String> {
    let mut crowd = empty()?;
    let mut holder = Victim::spawn(|| {}, || _ = crowd.queue.get(None))?;
    fall_asleep(&mut holder)?;
    crowd.add(Role::Consumer, 1)?;
    crowd.put_one()?;
    stay_woken(&mut holder)?;
    crowd.expect_len(1)?;
    holder.kill()?;
    check(crowd, 0)
}

/// The same at the other end.
fn woken_producer() -> Result<Report, String> {
    let mut crowd = full()?;
    let mut holder = Victim::spawn(|| {}, || _ = crowd.queue.put(VICTIMS_ITEM, None))?;
    fall_asleep(&mut holder)?;
    crowd.add(Role::Producer, 1)?;
    crowd.get_one()?;
    stay_woken(&mut holder)?;
    crowd.expect_len(1)?;
    holder.kill()?;
    check(crowd, 0)
}

/// Somebody else takes what the holder of the waiting room was woken for; it sleeps again, is woken again, and dies then.
fn robbed(role: Role) -> Result<Report, String> {
    let mut crowd = if role == Role::Consumer { empty()? } else { full()? };
    let run = || {
        let _ = match role {
            Role::Consumer => crowd.queue.get(None).map(drop),
            Role::Producer => crowd.queue.put(VICTIMS_ITEM, None),
        };
    };
    let mut holder = Victim::spawn(|| {}, run)?;
    fall_asleep(&mut holder)?;
    crowd.add(role, 1)?;
    for time in 0..2 {
        match role {
            Role::Consumer => crowd.put_one()?,
            Role::Producer => _ = crowd.get_one()?,
        }
        stay_woken(&mut holder)?;
        if time == 0 {
            match role {
                Role::Consumer => _ = crowd.get_one()?,
                Role::Producer => crowd.put_one()?,
            }
            fall_asleep(&mut holder)?;
        }
    }
    holder.kill()?;
    check(crowd, 0)
}

/// Sleeping producers have not been woken; then the queue is drained, and a consumer waits for the end.
fn shutdown_at_its_wake() -> Result<Report, String> {
    let mut crowd = full()?;
    crowd.add(Role::Producer, 2)?;
    let mut victim = Victim::spawn(|| {}, || crowd.queue.shutdown())?;
    victim.run_until_syscall_entry(is_wake)?;
    crowd.get_one()?;
    crowd.get_one()?;
    crowd.add(Role::Consumer, 2)?;
    victim.kill()?;
    crowd.finish()?;
    if crowd.turned_away != 4 || crowd.queue.len() != 0 || !crowd.missing()?.is_empty() {
        return Err(format!("{} of 4 turned away", crowd.turned_away));
    }
    match crowd.queue.get(Some(BOUND)) {
        Err(Refusal::Shutdown) => Ok(Report::of_one(GOES_ON)),
        wrong => Err(format!("a get after the shutdown: {wrong:?}")),
    }
}

/// The holder of the waiting room is stopped by a debugger; whoever waits behind it goes on within a second.
fn stopped(role: Role) -> Result<Report, String> {
    let mut crowd = if role == Role::Consumer { empty()? } else { full()? };
    // The slice is what gets past somebody who lives and does not move.
    multiproc::testing::set_sleep_slice(Some(std::time::Duration::from_millis(100)));
    let run = || {
        let _ = match role {
            Role::Consumer => crowd.queue.get(None).map(drop),
            Role::Producer => crowd.queue.put(VICTIMS_ITEM, None),
        };
    };
    let mut holder = Victim::spawn(|| {}, run)?;
    fall_asleep(&mut holder)?;
    crowd.add(role, 1)?;
    let begun = std::time::Instant::now();
    match role {
        Role::Consumer => crowd.put_one()?,
        Role::Producer => _ = crowd.get_one()?,
    }
    stay_woken(&mut holder)?;
    crowd.finish()?;
    if begun.elapsed() > std::time::Duration::from_secs(1) {
        return Err(format!("delayed by {:?}", begun.elapsed()));
    }
    holder.kill()?;
    check(crowd, 0)
}

fn fall_asleep(victim: &mut Victim) -> Result<(), String> {
    let is_wait = |number, args: [u64; 6]| number == libc::SYS_futex && !is_wake(number, args);
    victim.run_until_syscall_entry(is_wait)?;
    match victim.finish_syscall()? {
        Stop::Asleep => Ok(()),
        Stop::Trapped => Err("the victim did not sleep".to_owned()),
    }
}

fn stay_woken(victim: &mut Victim) -> Result<(), String> {
    match victim.wait_until_there()? {
        Stop::Trapped => Ok(()),
        Stop::Asleep => Err("the victim was not woken".to_owned()),
    }
}
