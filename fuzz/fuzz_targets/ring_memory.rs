//! A queue whose memory a peer changes between operations: head, tail, states, lengths, links of chunks, tasks. Each operation
//! ends, in a result or an error; until the first change, the items are those that were put.
#![no_main]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use multiproc::testing::{queue_file, try_get_many, try_get_with, try_put_with};
use multiproc::{JoinableQueue, PutError, Queue, QueueOptions, Task};

const MOST_STEPS: usize = 64;
/// Bytes of the longest item.
const LONGEST: usize = 200;
/// Longer than an operation takes that does not wait, and short enough for many of them.
const SOON: Duration = Duration::from_micros(50);
/// Chunks begin at multiples of so many bytes.
const UNIT: usize = 64 << 10;

/// What the queue is like.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Kind {
    Bounded,
    Growing,
    /// With its first chunk in use.
    Grown,
    /// With both ends kept by endpoints.
    Kept,
    Tasks,
    GrowingTasks,
}

/// Where a change is made, as a number of words of 4 bytes.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Place {
    /// Of the control part.
    Head(u8),
    /// Of the object: slots, data, tasks.
    Object(u16),
    /// Of the first chunk: its link, the number of its first item, slots.
    Chunk(u8),
}

/// What a peer writes into a word.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Word {
    Zero,
    Ones,
    Flip(u8),
    Add(i8),
    Bytes([u8; 4]),
    /// As if this thread held it.
    Own,
    /// As if a thread held it that does not exist.
    Nobody,
    OwnerDied,
    /// What lies so many words from there.
    Copy(i8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Change(Place, Word),
    Put(u8),
    PutSoon(u8),
    PutWith(u8),
    PutMany(u8),
    Get,
    GetSoon,
    GetMany(u8),
    GetWith,
    Take,
    Done,
    GiveUp,
    TaskDone,
    Join,
    Look,
    Shutdown,
}

#[derive(Arbitrary, Debug)]
struct Story {
    kind: Kind,
    steps: Vec<Step>,
}

/// A queue, and what is known to be in it.
struct Scene {
    jobs: Option<JoinableQueue<Vec<u8>>>,
    queue: Queue<Vec<u8>>,
    tasks: Vec<Task<Vec<u8>>>,
    /// `None` once the peer has changed something.
    oracle: Option<VecDeque<Vec<u8>>>,
    put: u8,
    is_shut: bool,
}

impl Scene {
    fn of(kind: Kind) -> Self {
        let bounded = || QueueOptions::new(6).ring_bytes(512);
        let growing = QueueOptions::unbounded;
        let queue = |options: QueueOptions| options.max_message(LONGEST).queue().expect("a queue");
        let tasks = |options: QueueOptions| {
            let options = options.max_message(LONGEST).max_taken(3).max_attempts(2).max_dead_letters(1);
            let jobs: JoinableQueue<Vec<u8>> = options.joinable_queue().expect("a queue");
            (Queue::clone(&jobs), Some(jobs))
        };
        let (queue, jobs) = match kind {
            Kind::Bounded | Kind::Kept => (queue(bounded()), None),
            Kind::Growing | Kind::Grown => (queue(growing()), None),
            Kind::Tasks => tasks(bounded()),
            Kind::GrowingTasks => tasks(growing()),
        };
        let mut scene =
            Self { jobs, queue, tasks: Vec::new(), oracle: Some(VecDeque::new()), put: 0, is_shut: false };
        if matches!(kind, Kind::Grown) {
            // The home ring has a thousand slots.
            (0..1100).for_each(|_| scene.put(4, |queue, item| queue.try_put(item)));
            (0..1090).for_each(|_| scene.check(scene.queue.try_get().ok()));
        }
        scene
    }

    /// Whether nobody has changed anything.
    fn is_sound(&self) -> bool {
        self.oracle.is_some()
    }

    fn item(&mut self, length: u8) -> Vec<u8> {
        self.put = self.put.wrapping_add(1);
        vec![self.put; usize::from(length).min(LONGEST)]
    }

    fn put<T>(&mut self, length: u8, put: impl FnOnce(&Queue<Vec<u8>>, Vec<u8>) -> Result<(), PutError<T>>) {
        let item = self.item(length);
        let done = put(&self.queue, item.clone());
        match &mut self.oracle {
            Some(oracle) if done.is_ok() => oracle.push_back(item),
            Some(_) => assert!(
                matches!(done, Err(PutError::Full(_) | PutError::TimedOut(_) | PutError::Shutdown(_))),
                "{done:?}"
            ),
            None => {}
        }
    }

    /// An item was got, or nothing.
    fn check(&mut self, got: Option<Vec<u8>>) {
        if let Some(oracle) = &mut self.oracle {
            assert_eq!(got, oracle.pop_front());
        }
    }

    fn change(&mut self, place: Place, to: Word) {
        let Some((file, object)) = queue_file(&self.queue) else { return };
        let at = match place {
            Place::Head(word) => object + usize::from(word) * 4,
            Place::Object(word) => object + usize::from(word) * 4,
            Place::Chunk(word) => {
                let end = usize::try_from(self.queue.stats().map_or(0, |stats| stats.bytes)).unwrap_or(0);
                // Behind the object, which is shorter than two units.
                (end.min(2 * UNIT - 1) / UNIT + 1) * UNIT + usize::from(word) * 4
            }
        };
        let read = |at: usize| {
            let mut word = [0; 4];
            let _ = rustix::io::pread(file, &mut word, at as u64);
            u32::from_ne_bytes(word)
        };
        let old = read(at);
        let new = match to {
            Word::Zero => 0,
            Word::Ones => u32::MAX,
            Word::Flip(bit) => old ^ (1 << (bit % 32)),
            Word::Add(amount) => old.wrapping_add_signed(amount.into()),
            Word::Bytes(bytes) => u32::from_ne_bytes(bytes),
            Word::Own => rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned(),
            Word::Nobody => (1 << 30) - 2,
            Word::OwnerDied => 1 << 30,
            Word::Copy(by) => read(at.saturating_add_signed(isize::from(by) * 4)),
        };
        // Of a queue that does not grow the file ends, and can't grow.
        let _ = rustix::io::pwrite(file, &new.to_ne_bytes(), at as u64);
        self.oracle = None;
    }

    fn step(&mut self, step: Step) {
        let soon = Instant::now() + SOON;
        match step {
            Step::Change(place, to) => self.change(place, to),
            Step::Put(length) => self.put(length, |queue, item| queue.try_put(item)),
            Step::PutSoon(length) => self.put(length, |queue, item| queue.put_deadline(item, soon)),
            Step::PutWith(length) => self
                .put(length, |queue, item| try_put_with(queue, item.len(), |to| to.copy_from_slice(&item))),
            // Where it could wait for room, it could wait for ever.
            Step::PutMany(count) if self.is_sound() && self.queue.capacity() == usize::MAX => {
                let items: Vec<_> = (0..count % 3).map(|_| self.item(count)).collect();
                if self.queue.put_many(items.clone()).is_ok_and(|put| put == items.len()) {
                    self.oracle.iter_mut().for_each(|oracle| oracle.extend(items.clone()));
                } else {
                    assert!(self.is_shut);
                    self.oracle = None;
                }
            }
            Step::PutMany(_) => {}
            Step::Get => {
                let got = self.queue.try_get().ok();
                self.check(got);
            }
            Step::GetSoon => {
                let got = self.queue.get_deadline(soon).ok();
                self.check(got);
            }
            Step::GetMany(count) => {
                let mut items = Vec::new();
                let _ = try_get_many(&self.queue, &mut items, (count % 8).into());
                items.into_iter().for_each(|item| self.check(Some(item)));
            }
            Step::GetWith => {
                let got = try_get_with(&self.queue, <[u8]>::to_vec).ok();
                self.check(got);
            }
            Step::Take => {
                let taken = self.jobs.as_ref().and_then(|jobs| jobs.try_take().ok());
                // One that was given up comes first.
                self.oracle = None;
                self.tasks.extend(taken);
            }
            Step::Done => self.tasks.pop().into_iter().for_each(Task::done),
            Step::GiveUp => drop(self.tasks.pop()),
            Step::TaskDone => _ = self.jobs.as_ref().map(JoinableQueue::task_done),
            Step::Join => _ = self.jobs.as_ref().map(|jobs| jobs.join_deadline(soon)),
            Step::Look => {
                let (len, stats) = (self.queue.len(), self.queue.stats());
                let _ = (self.queue.is_full(), self.queue.is_empty());
                let _ = self.jobs.as_ref().map(|jobs| (jobs.unfinished(), jobs.dead_letters()));
                if let Some(oracle) = &self.oracle {
                    assert_eq!(
                        (len, stats.map(|stats| stats.items)),
                        (oracle.len(), Ok(oracle.len() as u64))
                    );
                }
            }
            // Waits a second for a put that seems to be under way.
            Step::Shutdown if !self.is_shut => {
                self.is_shut = true;
                self.queue.shutdown();
            }
            Step::Shutdown => {}
        }
    }
}

/// Endpoints, made before anything was changed, and used as the steps say.
fn tell_of_endpoints(scene: &mut Scene, steps: &[Step]) {
    let queue = scene.queue.clone();
    let (Ok(mut producer), Ok(mut consumer)) = (queue.producer(), queue.consumer()) else {
        unreachable!("nobody has the ends of a new queue");
    };
    for &step in steps {
        match step {
            Step::Put(length) => scene.put(length, |_, item| producer.try_put(item)),
            Step::PutSoon(length) => {
                scene.put(length, |_, item| producer.put_deadline(item, Instant::now() + SOON))
            }
            Step::Get => {
                let got = consumer.try_get().ok();
                scene.check(got);
            }
            Step::GetSoon => {
                let got = consumer.get_deadline(Instant::now() + SOON).ok();
                scene.check(got);
            }
            Step::Change(..) | Step::Look | Step::Shutdown => scene.step(step),
            _ => {}
        }
    }
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(story) = Story::arbitrary_take_rest(Unstructured::new(input)) else { return Corpus::Reject };
    let steps = &story.steps[..story.steps.len().min(MOST_STEPS)];
    let mut scene = Scene::of(story.kind);
    if matches!(story.kind, Kind::Kept) {
        tell_of_endpoints(&mut scene, steps);
    } else {
        steps.iter().for_each(|&step| scene.step(step));
    }
    Corpus::Keep
});
