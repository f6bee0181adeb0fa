//! `JoinableQueue`: tasks that are done, given up, or left behind by the dead.
#![cfg(feature = "auto-init")]
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use multiproc::{GetError, JoinableQueue, PutError, Queue, QueueOptions, TaskDoneTooOften};
use random::{Random, stress_time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use worker::{SOON, Worker};

mod random;
mod worker;

const SHORT: Duration = Duration::from_millis(5);
/// In which a dead holder's task has to be with somebody else.
const REDELIVERED: Duration = Duration::from_secs(5);

type Jobs = JoinableQueue<u32>;

fn jobs(items: std::ops::Range<u32>) -> Jobs {
    let jobs = JoinableQueue::bounded(64).unwrap();
    items.for_each(|n| jobs.put(n).unwrap());
    jobs
}

fn with_max_taken(max_taken: usize, items: std::ops::Range<u32>) -> Jobs {
    let jobs = QueueOptions::new(64).max_taken(max_taken).joinable_queue().unwrap();
    items.for_each(|n| jobs.put(n).unwrap());
    jobs
}

/// A worker that has said that it is ready, and sleeps.
fn spawn_asleep<A, R>(f: fn(A) -> R, args: A, ready: &Queue<()>) -> Worker<R>
where
    A: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    let worker = Worker::spawn(f, args);
    ready.get_timeout(SOON).unwrap();
    worker.wait_until_asleep();
    worker
}

/// Takes a task, says so, and holds it until killed.
fn hold((jobs, ready): (Jobs, Queue<()>)) {
    let _task = jobs.take().unwrap();
    ready.put(()).unwrap();
    loop {
        std::thread::park();
    }
}

fn holder(jobs: &Jobs) -> Worker<()> {
    let ready = Queue::bounded(1).unwrap();
    spawn_asleep(hold, (jobs.clone(), ready.clone()), &ready)
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Taken {
    item: u32,
    number: u64,
    attempt: u32,
}

/// What somebody asleep in `take` gets, and does.
fn take_one((jobs, ready): (Jobs, Queue<()>)) -> Result<Taken, String> {
    ready.put(()).unwrap();
    let task = jobs.take().map_err(|error| format!("{error:?}"))?;
    let taken = Taken { item: *task, number: task.number(), attempt: task.attempt() };
    task.done();
    Ok(taken)
}

/// The same without slices: what it wakes up for must have woken it.
fn take_one_woken(args: (Jobs, Queue<()>)) -> Result<Taken, String> {
    multiproc::testing::set_sleep_slice(None);
    take_one(args)
}

fn taker(jobs: &Jobs, take: fn((Jobs, Queue<()>)) -> Result<Taken, String>) -> Worker<Result<Taken, String>> {
    let ready = Queue::bounded(1).unwrap();
    spawn_asleep(take, (jobs.clone(), ready.clone()), &ready)
}

#[test]
fn a_taken_item_is_unfinished_until_it_is_done() {
    let jobs = jobs(5..7);
    assert_eq!((jobs.len(), jobs.unfinished()), (2, Ok(2)));
    let task = jobs.take().unwrap();
    assert_eq!((*task, task.number(), task.attempt()), (5, 0, 1));
    assert_eq!((jobs.len(), jobs.unfinished()), (1, Ok(2)));
    task.done();
    assert_eq!((jobs.len(), jobs.unfinished()), (1, Ok(1)));
    jobs.take().unwrap().done();
    assert_eq!((jobs.len(), jobs.unfinished()), (0, Ok(0)));
    assert_eq!(jobs.join_timeout(Duration::ZERO), Ok(true));
}

#[test]
fn all_forms_of_take_take_a_task() {
    let jobs = jobs(0..6);
    let soon = || Instant::now() + SOON;
    let tasks = [
        jobs.take().unwrap(),
        jobs.try_take().unwrap(),
        jobs.take_timeout(SOON).unwrap(),
        jobs.take_deadline(soon()).unwrap(),
        jobs.take_timeout(Duration::ZERO).unwrap(),
        jobs.take_deadline(Instant::now()).unwrap(),
    ];
    assert_eq!(tasks.each_ref().map(|task| **task), [0, 1, 2, 3, 4, 5]);
    assert_eq!(tasks.each_ref().map(|task| task.number()), [0, 1, 2, 3, 4, 5]);
    assert_eq!(jobs.try_take().unwrap_err(), GetError::Empty);
    for timeout in [Duration::ZERO, SHORT] {
        let begun = Instant::now();
        assert_eq!(jobs.take_timeout(timeout).unwrap_err(), GetError::TimedOut);
        assert!(begun.elapsed() >= timeout);
    }
    assert_eq!(jobs.take_deadline(Instant::now()).unwrap_err(), GetError::TimedOut);
    tasks.into_iter().for_each(|task| task.done());
    assert_eq!(jobs.unfinished(), Ok(0));
}

#[test]
fn a_dropped_task_comes_again_with_its_number_and_one_more_attempt() {
    let jobs = jobs(7..9);
    for attempt in 1..=4 {
        let task = jobs.take().unwrap();
        assert_eq!((*task, task.number(), task.attempt()), (7, 0, attempt), "orphans go first");
        drop(task);
        assert_eq!(jobs.unfinished(), Ok(2));
    }
    jobs.take().unwrap().done();
    assert_eq!(*jobs.take().unwrap(), 8);
}

#[test]
fn a_task_whose_thread_ends_comes_again() {
    let jobs = jobs(1..2);
    std::thread::scope(|scope| {
        scope.spawn(|| std::mem::forget(jobs.take().unwrap())).join().unwrap();
    });
    let task = jobs.take().unwrap();
    assert_eq!((*task, task.attempt()), (1, 2));
    task.done();
    assert_eq!(jobs.unfinished(), Ok(0));
}

#[test]
fn a_dropped_task_goes_to_somebody_asleep_in_take() {
    let jobs = jobs(3..4);
    let task = jobs.take().unwrap();
    let taker = taker(&jobs, take_one);
    drop(task);
    assert_eq!(taker.join(), Ok(Taken { item: 3, number: 0, attempt: 2 }));
}

#[test]
fn a_killed_holders_task_goes_to_somebody_asleep_in_take() {
    let jobs = jobs(3..4);
    let holder = holder(&jobs);
    let taker = taker(&jobs, take_one);
    assert_eq!(jobs.unfinished(), Ok(1));
    holder.kill();
    let begun = Instant::now();
    assert_eq!(jobs.join_timeout(REDELIVERED), Ok(true), "join waits for it");
    assert!(begun.elapsed() < REDELIVERED);
    assert_eq!(taker.join(), Ok(Taken { item: 3, number: 0, attempt: 2 }));
}

#[test]
fn a_killed_holders_task_comes_again_though_the_table_is_full_and_items_wait() {
    let jobs = with_max_taken(1, 0..10);
    let holder = holder(&jobs);
    let taker = taker(&jobs, take_one);
    assert_eq!(jobs.try_take().unwrap_err(), GetError::Empty);
    holder.kill();
    let begun = Instant::now();
    assert_eq!(taker.join(), Ok(Taken { item: 0, number: 0, attempt: 2 }));
    assert!(begun.elapsed() < REDELIVERED);
}

#[test]
fn an_orphan_is_taken_at_once_where_nobody_has_to_wait() {
    for max_taken in [1, 4] {
        let jobs = with_max_taken(max_taken, 0..1);
        holder(&jobs).kill();
        let task = jobs.try_take().unwrap();
        assert_eq!((*task, task.attempt()), (0, 2));
    }
}

#[test]
fn try_take_sees_a_task_given_up_while_others_are_busy() {
    let jobs = jobs(0..1);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(jobs.unfinished(), Ok(1));
            }
        });
        for _ in 0..20_000 {
            match jobs.try_take() {
                Ok(task) => drop(task),
                Err(error) => assert_eq!(error, GetError::Busy),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn an_orphan_behind_many_items_is_found_in_time() {
    let jobs = jobs(0..2);
    holder(&jobs).kill();
    // Others keep the queue busy: every 64th take looks.
    let mut seen = Vec::new();
    for n in 2..200 {
        jobs.put(n).unwrap();
        let task = jobs.take().unwrap();
        seen.push(*task);
        task.done();
    }
    assert!(seen.contains(&0));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 198, "nothing came twice");
}

#[test]
fn a_full_table_waits_and_goes_on_when_a_task_is_done() {
    let jobs = with_max_taken(2, 0..5);
    let first = jobs.take().unwrap();
    let second = jobs.take().unwrap();
    // Who holds all that may be taken would wait for itself; another thread waits for it.
    assert_eq!(jobs.try_take().unwrap_err(), GetError::Deadlock);
    assert_eq!(jobs.take().unwrap_err(), GetError::Deadlock);
    let elsewhere = |take: fn(&Jobs) -> Option<GetError>| {
        let jobs = jobs.clone();
        std::thread::spawn(move || take(&jobs)).join().unwrap()
    };
    assert_eq!(elsewhere(|jobs| jobs.try_take().err()), Some(GetError::Empty));
    assert_eq!(elsewhere(|jobs| jobs.take_timeout(SHORT).err()), Some(GetError::TimedOut));
    let taker = taker(&jobs, take_one_woken);
    second.done();
    assert_eq!(taker.join(), Ok(Taken { item: 2, number: 2, attempt: 1 }));
    first.done();
    assert_eq!(jobs.unfinished(), Ok(2));
}

#[test]
fn a_plain_get_passes_a_full_table() {
    let jobs = with_max_taken(1, 0..3);
    let task = jobs.take().unwrap();
    let taker = taker(&jobs, take_one);
    assert_eq!(jobs.get_timeout(SOON), Ok(1));
    jobs.task_done().unwrap();
    task.done();
    assert_eq!(taker.join(), Ok(Taken { item: 2, number: 2, attempt: 1 }));
    assert_eq!(jobs.unfinished(), Ok(0));
}

#[test]
fn join_waits_until_the_last_task_is_done() {
    let join = |jobs: Jobs| {
        multiproc::testing::set_sleep_slice(None);
        jobs.join().unwrap();
        jobs.unfinished().unwrap()
    };
    let jobs = jobs(0..3);
    let tasks: Vec<_> = (0..2).map(|_| jobs.take().unwrap()).collect();
    let joiner = Worker::spawn(join, jobs.clone());
    joiner.wait_until_asleep();
    tasks.into_iter().for_each(|task| task.done());
    jobs.get().unwrap();
    assert_eq!(jobs.join_timeout(SHORT), Ok(false));
    jobs.task_done().unwrap();
    assert_eq!(joiner.join(), 0);
}

#[test]
fn join_of_a_queue_without_items_returns_at_once() {
    let jobs = jobs(0..0);
    jobs.join().unwrap();
    assert_eq!(jobs.join_timeout(Duration::ZERO), Ok(true));
    assert_eq!(jobs.join_deadline(Instant::now()), Ok(true));
}

#[test]
fn join_with_a_time_says_that_it_passed() {
    let jobs = jobs(0..1);
    let task = jobs.take().unwrap();
    for timeout in [Duration::ZERO, SHORT, Duration::from_millis(130)] {
        let begun = Instant::now();
        assert_eq!(jobs.join_timeout(timeout), Ok(false));
        assert!(begun.elapsed() >= timeout);
        assert_eq!(jobs.join_deadline(Instant::now() + timeout), Ok(false));
    }
    task.done();
    assert_eq!(jobs.join_timeout(Duration::MAX), Ok(true));
}

#[test]
fn task_done_counts_gets_that_were_not_taken() {
    let jobs = jobs(0..4);
    jobs.take().unwrap().done();
    assert_eq!(jobs.task_done(), Err(TaskDoneTooOften), "a taken one is no get");
    jobs.get().unwrap();
    jobs.try_get().unwrap();
    drop(jobs.take().unwrap());
    for _ in 0..2 {
        assert_eq!(jobs.task_done(), Ok(()));
    }
    assert_eq!(jobs.task_done(), Err(TaskDoneTooOften));
    assert_eq!(jobs.unfinished(), Ok(1));
    assert!(!TaskDoneTooOften.to_string().is_empty());
}

#[test]
fn a_get_whose_getter_dies_stays_unfinished() {
    let jobs = jobs(0..1);
    let get = |jobs: Jobs| jobs.get().unwrap();
    assert_eq!(Worker::spawn(get, jobs.clone()).join(), 0);
    assert_eq!((jobs.join_timeout(SHORT), jobs.try_take().unwrap_err()), (Ok(false), GetError::Empty));
    jobs.task_done().unwrap();
    jobs.join().unwrap();
}

#[test]
fn shutdown_waits_for_tasks_in_others_hands_and_ends_when_they_are_done() {
    let jobs = jobs(0..1);
    let task = jobs.take().unwrap();
    let taker = taker(&jobs, take_one_woken);
    jobs.shutdown();
    taker.wait_until_asleep();
    assert_eq!(jobs.unfinished(), Ok(1));
    task.done();
    assert_eq!(taker.join(), Err("Shutdown".into()));
}

#[test]
fn shutdown_gives_a_task_that_comes_back_to_who_waits_for_it() {
    let jobs = jobs(5..6);
    let task = jobs.take().unwrap();
    let taker = taker(&jobs, take_one);
    jobs.shutdown();
    drop(task);
    assert_eq!(taker.join(), Ok(Taken { item: 5, number: 0, attempt: 2 }));
    assert_eq!(jobs.take().unwrap_err(), GetError::Shutdown);
}

#[test]
fn shutdown_gives_a_killed_holders_task_to_who_waits_for_it() {
    let jobs = jobs(5..6);
    let holder = holder(&jobs);
    let taker = taker(&jobs, take_one);
    jobs.shutdown();
    holder.kill();
    assert_eq!(taker.join(), Ok(Taken { item: 5, number: 0, attempt: 2 }));
    assert_eq!(jobs.take().unwrap_err(), GetError::Shutdown);
}

#[test]
fn after_shutdown_who_holds_a_task_does_not_wait_for_itself() {
    let jobs = jobs(0..1);
    let task = jobs.take().unwrap();
    jobs.shutdown();
    assert_eq!(jobs.take().unwrap_err(), GetError::Shutdown);
    assert_eq!(jobs.try_take().unwrap_err(), GetError::Shutdown);
    assert!(matches!(jobs.put(1), Err(PutError::Shutdown(1))));
    task.done();
    assert_eq!(jobs.take().unwrap_err(), GetError::Shutdown);
}

#[test]
fn two_holders_of_tasks_see_the_shutdown_each() {
    let jobs = jobs(0..2);
    let first = jobs.take().unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            let task = jobs.take().unwrap();
            let error = jobs.take().unwrap_err();
            task.done();
            error
        });
        // Asleep or not, it ends: nobody can give it anything but its own task and ours.
        while !jobs.is_empty() {
            std::thread::yield_now();
        }
        jobs.shutdown();
        assert_eq!(second.join().unwrap(), GetError::Shutdown);
    });
    first.done();
}

#[test]
fn the_iterator_ends_when_the_queue_is_shut_down_and_everything_done() {
    let jobs = jobs(0..20);
    jobs.shutdown();
    let mut seen = Vec::new();
    for task in jobs.tasks() {
        // Each third is given up once.
        if *task % 3 == 0 && task.attempt() == 1 {
            continue;
        }
        seen.push(*task);
        task.done();
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
    assert_eq!((jobs.unfinished(), jobs.tasks().next().is_none()), (Ok(0), true));
}

#[test]
fn an_item_that_cannot_be_decoded_is_done() {
    #[derive(Debug, Serialize)]
    struct Odd(u8);
    impl<'de> Deserialize<'de> for Odd {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            match u8::deserialize(deserializer)? {
                n if n % 2 == 1 => Ok(Self(n)),
                _ => Err(serde::de::Error::custom("even")),
            }
        }
    }
    let jobs = JoinableQueue::bounded(4).unwrap();
    (2..4).for_each(|n| jobs.put(Odd(n)).unwrap());
    assert!(matches!(jobs.take(), Err(GetError::Decode(_))));
    assert_eq!(jobs.unfinished(), Ok(1));
    let task = jobs.take().unwrap();
    assert_eq!(task.0, 3);
    task.done();
    jobs.join().unwrap();
}

#[test]
fn a_task_of_max_message_comes_again_whole() {
    let jobs = QueueOptions::new(4).max_taken(3).max_message(1000).joinable_queue::<Vec<u8>>().unwrap();
    let max = jobs.max_message();
    let item: Vec<u8> = (0..max).map(|n| n as u8).collect();
    assert!(matches!(jobs.put(vec![0; max + 1]), Err(PutError::TooLarge(_))));
    (0..3).for_each(|_| jobs.put(item.clone()).unwrap());
    let tasks: Vec<_> = (0..3).map(|_| jobs.take().unwrap()).collect();
    drop(tasks);
    for _ in 0..3 {
        let task = jobs.take().unwrap();
        assert_eq!((*task == item, task.attempt()), (true, 2));
        task.done();
    }
    jobs.join().unwrap();
}

#[test]
fn a_thread_that_holds_too_many_tasks_is_told_so() {
    let jobs = QueueOptions::new(2000).max_taken(2000).max_message(8).joinable_queue::<u32>().unwrap();
    (0..2000).for_each(|n| jobs.put(n).unwrap());
    let mut tasks = Vec::new();
    let error = loop {
        match jobs.take() {
            Ok(task) => tasks.push(task),
            Err(error) => break error,
        }
    };
    assert_eq!(error, GetError::TooManyHeld);
    assert!(tasks.len() > 1000 && jobs.len() == 2000 - tasks.len());
    // In any order: the list of what a thread holds is no stack.
    let mut random = Random::new(7);
    while !tasks.is_empty() {
        let at = random.below(tasks.len() as u64) as usize;
        tasks.swap_remove(at).done();
    }
    assert_eq!(jobs.unfinished(), Ok(jobs.len()));
    jobs.take().unwrap().done();
}

#[test]
fn a_forked_childs_copy_of_a_task_does_nothing() {
    let alone = |jobs: Jobs| {
        let task = jobs.take().unwrap();
        for done in [false, true] {
            // SAFETY: this process has one thread.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                // SAFETY: a copy of the task, as fork makes one; the original is the parent's.
                let copy = unsafe { std::ptr::read(&raw const task) };
                if done {
                    copy.done()
                } else {
                    drop(copy)
                }
                // SAFETY: ends the child.
                unsafe { libc::_exit(0) }
            }
            let mut status = 0;
            // SAFETY: `status` is written to and outlives the call.
            unsafe { libc::waitpid(pid, &raw mut status, 0) };
            assert_eq!(status, 0);
            assert_eq!((jobs.unfinished(), jobs.try_take().unwrap_err()), (Ok(1), GetError::Empty));
        }
        task.done();
        jobs.unfinished().unwrap()
    };
    assert_eq!(Worker::spawn(alone, jobs(1..2)).join(), 0);
}

#[test]
fn an_inherited_task_does_not_finish_what_the_forked_child_took_itself() {
    let alone = |jobs: Jobs| {
        let task = jobs.take().unwrap();
        // SAFETY: a copy of the task, as fork makes one.
        let copy = unsafe { std::ptr::read(&raw const task) };
        task.done();
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let own = jobs.take().unwrap(); // in the entry where the parent's was
            copy.done();
            let kept = jobs.unfinished() == Ok(1) && own.attempt() == 1;
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!kept)) }
        }
        std::mem::forget(copy);
        let mut status = 0;
        // SAFETY: `status` is written to and outlives the call.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(status, 0);
        // The child ended with its task in hand.
        let again = jobs.take().unwrap();
        let attempt = again.attempt();
        again.done();
        (attempt, jobs.unfinished().unwrap())
    };
    assert_eq!(Worker::spawn(alone, jobs(1..3)).join(), (2, 0));
}

#[test]
fn a_task_that_is_leaked_leaves_the_queue_mapped() {
    let leak = |jobs: Jobs| {
        let task = jobs.take().unwrap();
        drop(jobs);
        std::mem::forget(task);
    };
    let jobs = jobs(1..2);
    Worker::spawn(leak, jobs.clone()).join();
    assert_eq!(jobs.take_timeout(REDELIVERED).unwrap().attempt(), 2);
}

/// Reports each task before it is done.
fn work((jobs, out): (Jobs, Queue<(u64, u32, u32)>)) {
    for task in jobs.tasks() {
        out.put((task.number(), *task, task.attempt())).unwrap();
        task.done();
    }
}

#[test]
fn every_task_is_done_though_workers_are_killed_at_random() {
    let seed = 44;
    let mut random = Random::new(seed);
    let jobs = QueueOptions::new(8).ring_bytes(1024).max_taken(3).max_message(32).joinable_queue().unwrap();
    let out = Queue::bounded(8).unwrap();
    let worker = || Worker::spawn(work, (jobs.clone(), out.clone()));
    let mut workers = vec![worker(), worker()];
    let mut seen = BTreeMap::<u64, Vec<(u32, u32)>>::new();
    let mut kills = 0;
    let end = Instant::now() + stress_time(Duration::from_secs(2));
    let put = std::thread::scope(|scope| {
        let producer = scope.spawn(|| {
            let mut put = 0;
            while Instant::now() < end {
                jobs.put(put).unwrap();
                put += 1;
            }
            put
        });
        while Instant::now() < end {
            for _ in 0..random.below(300) {
                if let Ok((number, item, attempt)) = out.get_timeout(Duration::from_millis(10)) {
                    seen.entry(number).or_default().push((item, attempt));
                }
            }
            workers.swap_remove(random.below(2) as usize).kill();
            workers.push(worker());
            kills += 1;
        }
        // The workers need somebody who reads until everything is done.
        while !jobs.join_timeout(Duration::ZERO).unwrap() || !producer.is_finished() {
            while let Ok((number, item, attempt)) = out.get_timeout(SHORT) {
                seen.entry(number).or_default().push((item, attempt));
            }
            assert!(end.elapsed() < SOON, "{:?} unfinished, seed {seed}", jobs.unfinished());
        }
        producer.join().unwrap()
    });
    jobs.shutdown();
    workers.into_iter().for_each(Worker::join);
    while let Ok((number, item, attempt)) = out.try_get() {
        seen.entry(number).or_default().push((item, attempt));
    }
    assert_eq!(seen.len(), put as usize, "each was done, seed {seed}");
    let mut again = 0;
    for (number, (n, times)) in (0..).zip(&seen) {
        assert_eq!(number, *n);
        let mut attempts: Vec<u32> = times.iter().map(|&(_, attempt)| attempt).collect();
        attempts.dedup();
        assert_eq!(attempts.len(), times.len(), "no attempt twice: {times:?}, seed {seed}");
        assert!(attempts.is_sorted() && times.iter().all(|&(item, _)| u64::from(item) == number));
        again += usize::from(attempts.last() > Some(&1));
    }
    assert!(again <= kills, "{again} tasks came again after {kills} kills, seed {seed}");
}

#[test]
fn task_done_belongs_to_an_item_and_join_has_a_time_known_bad_42() {
    let jobs = jobs(0..1);
    assert_eq!(jobs.task_done(), Err(TaskDoneTooOften), "before the get");
    assert_eq!(jobs.join_timeout(SHORT), Ok(false));
    jobs.take().unwrap().done();
    assert_eq!(jobs.join_timeout(SHORT), Ok(true));
}

#[test]
fn a_task_given_up_too_often_is_a_dead_letter_and_counts_as_done() {
    let options = QueueOptions::new(8).max_taken(3).max_attempts(3).max_dead_letters(2);
    let jobs: Jobs = options.joinable_queue().unwrap();
    (1..=3).for_each(|item| jobs.put(item).unwrap());
    for attempt in 1..=3 {
        let tasks = [1, 2, 3].map(|item| (jobs.try_take().unwrap(), item));
        assert!(tasks.iter().all(|(task, item)| (**task, task.attempt()) == (*item, attempt)));
    }
    let beyond = jobs.try_take().unwrap();
    assert_eq!((*beyond, beyond.attempt()), (3, 4), "there is room for two dead letters");
    let letters = || {
        let letters = jobs.dead_letters().unwrap();
        letters.iter().map(|letter| (letter.item, letter.number, letter.attempts)).collect::<Vec<_>>()
    };
    assert_eq!((letters(), jobs.unfinished()), (vec![(1, 0, 3), (2, 1, 3)], Ok(1)));
    assert_eq!((jobs.remove_dead_letter(0), jobs.remove_dead_letter(0)), (Ok(true), Ok(false)));
    drop(beyond);
    assert!(matches!(jobs.try_take(), Err(GetError::Empty)));
    assert_eq!(letters(), [(2, 1, 3), (3, 2, 4)]);
    assert_eq!(jobs.stats().unwrap().redeliveries, 3 + 3 + 1);
    jobs.join().unwrap();
    // The queue works as before.
    jobs.put(4).unwrap();
    jobs.take().unwrap().done();
    assert_eq!(jobs.unfinished(), Ok(0));
}

#[test]
fn a_task_that_kills_its_holders_is_a_dead_letter_though_nobody_takes_any_more() {
    let jobs: Jobs = QueueOptions::new(8).max_attempts(2).joinable_queue().unwrap();
    jobs.put(7).unwrap();
    for _ in 0..2 {
        assert_eq!(jobs.unfinished(), Ok(1));
        holder(&jobs).kill();
    }
    assert_eq!(jobs.join_timeout(SOON), Ok(true));
    let letters = jobs.dead_letters().unwrap();
    assert_eq!((letters.len(), letters[0].item, letters[0].attempts), (1, 7, 2));
}

#[test]
fn no_attempts_are_refused() {
    let refused = QueueOptions::new(8).max_attempts(0).joinable_queue::<u32>().unwrap_err().to_string();
    assert!(refused.contains("max_attempts") && refused.contains("at least 1"), "{refused}");
}
