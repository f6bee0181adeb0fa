//! A peer that writes anything anywhere: every operation ends, with a result or an error.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{JoinableQueue, QueueOptions};
use crate::Segment;

/// Longer than anything takes here that ends at all.
const SOON: Duration = Duration::from_secs(60);
/// All-zero bytes are an error in some states and none in others, so no item is expected to survive.
const ITEM: [u32; 5] = [1, 2, 3, 4, 5];

type Jobs = JoinableQueue<Vec<u32>>;

fn jobs() -> Jobs {
    // Alone in its segment, all of which is scribbled over.
    let segment = Segment::anonymous(4096).unwrap();
    let options = QueueOptions::new(6).ring_bytes(512).max_message(100).max_taken(3);
    options.joinable_queue_in(&segment, "jobs").unwrap()
}

/// One that has grown by a chunk, half of it drained.
fn grown() -> Jobs {
    let jobs: Jobs = QueueOptions::unbounded().max_message(100).max_taken(3).joinable_queue().unwrap();
    (0..1100).for_each(|_| jobs.put(ITEM.to_vec()).unwrap());
    (0..1000).for_each(|_| drop(jobs.get().unwrap()));
    jobs
}

/// Numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}

/// Writes nonsense to one place, more or less like what could be there.
fn scribble(jobs: &Jobs, random: &mut Random) {
    let placed = jobs.placed();
    let segment = placed.segment().region();
    // From the object's header on; it is read at attach only.
    let begin = placed.offset();
    let words = (segment.len() - begin) / 4;
    // The control part and the ring's words come first and matter most.
    let span = if random.below(8) == 0 { words } else { words.min(400) };
    let at = begin + random.below(span) * 4;
    let mut old = [0; 4];
    segment.load(at, &mut old).unwrap();
    let old = u32::from_ne_bytes(old);
    let new = match random.below(8) {
        0 => 0,
        1 => u32::MAX,
        2 => old ^ (1 << random.below(32)),
        3 => old.wrapping_add(4),
        4 => old.wrapping_sub(4),
        5 => 1 << random.below(32),
        6 => std::process::id(),
        _ => u32::try_from(random.next() >> 32).unwrap(),
    };
    segment.store(at, &new.to_ne_bytes()).unwrap();
}

/// The same in the first chunk: its links, its slots.
fn scribble_over_chunk(jobs: &Jobs, random: &mut Random) {
    let segment = jobs.placed().segment();
    let words = if random.below(2) == 0 { 2 } else { 1000 };
    let at = segment.size().next_multiple_of(64 << 10) + random.below(words) * 8;
    let new = match random.below(4) {
        0 => 0,
        // The chunk itself, or one like it.
        1 => jobs.placed().ring.head_chunk_word() ^ (random.next() & 3) << 48,
        2 => 1 << random.below(64),
        _ => random.next(),
    };
    rustix::io::pwrite(segment.descriptor().unwrap(), &new.to_ne_bytes(), at as u64).unwrap();
}

/// Any operation, none of which may wait long.
fn operate(jobs: &Jobs, random: &mut Random, tasks: &mut Vec<super::Task<Vec<u32>>>) {
    let soon = Instant::now() + Duration::from_micros(50);
    match random.below(14) {
        0..=2 => drop(jobs.try_put(ITEM[..random.below(5)].to_vec())),
        3 => drop(jobs.put_deadline(vec![u32::MAX; 19], soon)),
        4 | 5 => drop(jobs.try_get()),
        6 => drop(jobs.get_deadline(soon)),
        7 | 8 => tasks.extend(jobs.try_take()),
        9 => tasks.extend(jobs.take_deadline(soon)),
        10 => {
            if let Some(task) = tasks.pop() {
                if random.below(2) == 0 { task.done() } else { drop(task) }
            }
        }
        11 => drop(jobs.join_deadline(soon)),
        12 => {
            let _ = jobs.task_done();
        }
        _ => {
            let _ = (jobs.len(), jobs.is_full(), jobs.is_empty(), jobs.capacity());
        }
    }
}

/// Runs `body` in a thread and demands that it ends.
fn ends(body: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        body();
        let _ = done.send(());
    });
    match ended.recv_timeout(SOON) {
        Ok(()) => thread.join().unwrap(),
        Err(mpsc::RecvTimeoutError::Disconnected) => thread.join().unwrap(),
        Err(mpsc::RecvTimeoutError::Timeout) => unreachable!("an operation does not end"),
    }
}

#[test]
fn nonsense_between_operations_ends_in_errors() {
    ends(|| {
        let mut outcomes = [0_u32; 2];
        for seed in 1..=600 {
            let mut random = Random(seed);
            let (jobs, mut tasks) = (jobs(), Vec::new());
            for _ in 0..random.below(20) {
                operate(&jobs, &mut random, &mut tasks);
            }
            for _ in 0..12 {
                scribble(&jobs, &mut random);
                operate(&jobs, &mut random, &mut tasks);
                operate(&jobs, &mut random, &mut tasks);
            }
            let corrupt = matches!(jobs.try_get(), Err(super::GetError::Corrupt));
            outcomes[usize::from(corrupt)] += 1;
            if random.below(8) == 0 {
                jobs.shutdown();
                operate(&jobs, &mut random, &mut tasks);
            }
        }
        assert!(outcomes.iter().all(|&count| count > 30), "both are seen: {outcomes:?}");
    });
}

#[test]
fn nonsense_in_links_and_chunks_ends_in_errors() {
    ends(|| {
        let mut outcomes = [0_u32; 2];
        for seed in 1..=300 {
            let mut random = Random(seed);
            let (jobs, mut tasks) = (grown(), Vec::new());
            for _ in 0..30 {
                if random.below(2) == 0 {
                    scribble(&jobs, &mut random);
                } else {
                    scribble_over_chunk(&jobs, &mut random);
                }
                for _ in 0..6 {
                    operate(&jobs, &mut random, &mut tasks);
                }
            }
            outcomes[usize::from(matches!(jobs.try_get(), Err(super::GetError::Corrupt)))] += 1;
        }
        assert!(outcomes.iter().all(|&count| count > 10), "both are seen: {outcomes:?}");
    });
}

#[test]
fn nonsense_during_operations_ends_in_errors() {
    ends(|| {
        let end = Instant::now() + Duration::from_millis(1500);
        for seed in 1.. {
            let (jobs, stop) = (jobs(), AtomicBool::new(false));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut random = Random(seed << 20);
                    while !stop.load(Ordering::Relaxed) {
                        scribble(&jobs, &mut random);
                        for _ in 0..random.below(2000) {
                            std::hint::spin_loop();
                        }
                    }
                });
                let (mut random, mut tasks) = (Random(seed), Vec::new());
                for _ in 0..40 {
                    operate(&jobs, &mut random, &mut tasks);
                }
                stop.store(true, Ordering::Relaxed);
            });
            if Instant::now() > end {
                assert!(seed > 5, "{seed} queues only");
                return;
            }
        }
    });
}

#[test]
fn a_count_of_the_unfinished_ends_where_a_lease_names_a_thread_that_does_not_exist() {
    const NOBODY: u32 = (1 << 30) - 2;
    // Of the producers, of the consumers, and of their waiting rooms.
    for lease in 0..4 {
        let jobs = jobs();
        let place = jobs.placed().offset() + lease * 64;
        jobs.placed().segment().region().store(place, &NOBODY.to_ne_bytes()).unwrap();
        let (done, ended) = mpsc::channel();
        let counting = std::thread::spawn(move || done.send(jobs.unfinished()));
        assert_eq!(ended.recv_timeout(SOON).unwrap(), Ok(0), "lease {lease}");
        counting.join().unwrap().unwrap();
    }
}
