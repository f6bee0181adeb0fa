//! [`Handles`]: whatever objects a name can be opened as, and all that can be done with them.

use std::time::Duration;

use multiproc::{
    Array, Barrier, BoundedSemaphore, Condition, DynArray, DynValue, Event, JoinableQueue, Lock, LockError,
    Permits, Queue, RLock, RawArray, RawValue, Segment, Semaphore, Value,
};

use crate::memory::Memory;
use crate::{Item, Pair};

/// Most that is copied out of an array.
const MOST: usize = 1 << 16;

/// The objects of one name, or of one name for each kind.
pub struct Handles {
    lock: Option<Lock>,
    rlock: Option<RLock>,
    semaphore: Option<Semaphore>,
    bounded: Option<BoundedSemaphore>,
    permits: Option<Permits>,
    condition: Option<Condition>,
    event: Option<Event>,
    barrier: Option<Barrier>,
    value: Option<Value<Pair>>,
    array: Option<Array<u32>>,
    bytes: Option<Array<u8>>,
    dyn_value: Option<DynValue>,
    dyn_array: Option<DynArray>,
    raw_value: Option<RawValue<u32>>,
    raw_array: Option<RawArray<u32>>,
    queue: Option<Queue<Item>>,
    jobs: Option<JoinableQueue<Item>>,
}

/// How operations are made.
pub struct Manner<'a> {
    /// How long those with a deadline wait.
    pub wait: Duration,
    /// The file, to see what is locked.
    pub memory: &'a Memory,
    /// What a peer does while a lock is held.
    pub meanwhile: &'a mut dyn FnMut(),
}

impl Handles {
    /// How many groups of operations there are.
    pub const GROUPS: usize = 14;

    /// Opens what `name` says an object of each kind is named.
    pub fn open<'n>(segment: &Segment, name: impl Fn(&'static str) -> &'n str) -> Self {
        Self {
            lock: Lock::open_in(segment, name("Lock")).ok(),
            rlock: RLock::open_in(segment, name("RLock")).ok(),
            semaphore: Semaphore::open_in(segment, name("Semaphore")).ok(),
            bounded: BoundedSemaphore::open_in(segment, name("BoundedSemaphore")).ok(),
            permits: Permits::open_in(segment, name("Permits")).ok(),
            condition: Condition::open_in(segment, name("Condition")).ok(),
            event: Event::open_in(segment, name("Event")).ok(),
            barrier: Barrier::open_in(segment, name("Barrier")).ok(),
            value: Value::open_in(segment, name("Value")).ok(),
            array: Array::open_in(segment, name("Array")).ok(),
            bytes: Array::open_in(segment, name("Array")).ok(),
            dyn_value: DynValue::open_in(segment, name("DynValue")).ok(),
            dyn_array: DynArray::open_in(segment, name("Array")).ok(),
            raw_value: RawValue::open_in(segment, name("RawValue")).ok(),
            raw_array: RawArray::open_in(segment, name("RawArray")).ok(),
            queue: Queue::open_in(segment, name("Queue")).ok(),
            jobs: JoinableQueue::open_in(segment, name("JoinableQueue")).ok(),
        }
    }

    /// Makes the operations of one kind of object.
    pub fn operate(&self, group: usize, manner: &mut Manner<'_>) {
        match group % Self::GROUPS {
            0 => self.lock.iter().for_each(|lock| operate_lock(lock, manner)),
            1 => self.rlock.iter().for_each(|rlock| operate_rlock(rlock, manner)),
            2 => self.semaphore.iter().for_each(|semaphore| operate_semaphore(semaphore, manner)),
            3 => self.bounded.iter().for_each(|bounded| operate_bounded(bounded, manner)),
            4 => self.permits.iter().for_each(|permits| operate_permits(permits, manner)),
            5 => self.condition.iter().for_each(|condition| operate_condition(condition, manner)),
            6 => self.event.iter().for_each(|event| operate_event(event, manner)),
            7 => self.barrier.iter().for_each(|barrier| operate_barrier(barrier, manner)),
            8 => self.value.iter().for_each(|value| operate_value(value, manner)),
            9 => {
                self.array.iter().for_each(|array| operate_array(array, 9, manner));
                self.bytes.iter().for_each(|array| operate_array(array, 9, manner));
                self.dyn_array.iter().for_each(|array| operate_dyn_array(array, manner));
            }
            10 => self.queue.iter().for_each(|queue| operate_queue(queue, manner)),
            11 => self.dyn_value.iter().for_each(|value| operate_dyn_value(value, manner)),
            12 => self.operate_raw(manner),
            _ => self.jobs.iter().for_each(|jobs| operate_jobs(jobs, manner)),
        }
    }

    fn operate_raw(&self, manner: &mut Manner<'_>) {
        if let Some(value) = &self.raw_value {
            let _ = (value.load(), value.swap(5), value.compare_exchange(5, 6), value.fetch_add(7));
            (manner.meanwhile)();
            value.store(8);
        }
        if let Some(array) = &self.raw_array {
            assert!(array.len() * size_of::<u32>() <= manner.memory.len(), "it lies in the segment");
            let last = array.len().wrapping_sub(1);
            assert_eq!(array.to_vec().len(), array.len());
            let _ = (array.load(last), array.swap(0, 5), array.fetch_xor(last, 3));
            (manner.meanwhile)();
            assert!(array.store(array.len(), 1).is_err(), "there is no such element");
            array.fill(9);
        }
    }

    /// Makes all operations.
    pub fn operate_all(&self, manner: &mut Manner<'_>) {
        (0..Self::GROUPS).for_each(|group| self.operate(group, manner));
    }
}

fn operate_lock(lock: &Lock, manner: &mut Manner<'_>) {
    let _ = lock.is_locked();
    match lock.try_lock() {
        Ok(guard) => {
            assert!(matches!(lock.try_lock(), Err(LockError::Deadlock)), "this thread holds it");
            (manner.meanwhile)();
            drop((guard, lock.try_lock()));
        }
        Err(error @ LockError::OwnerDied(_)) => {
            (manner.meanwhile)();
            drop(error.recover());
        }
        Err(_) => {}
    }
    drop(lock.lock_timeout(manner.wait));
}

fn operate_rlock(rlock: &RLock, manner: &mut Manner<'_>) {
    let _ = rlock.is_locked();
    let outer = rlock.try_lock();
    (manner.meanwhile)();
    let inner = rlock.lock_timeout(manner.wait);
    drop((outer, inner));
    drop(rlock.lock_timeout(manner.wait).or_else(LockError::recover));
}

fn operate_semaphore(semaphore: &Semaphore, manner: &mut Manner<'_>) {
    let _ = semaphore.value();
    if semaphore.try_acquire() {
        (manner.meanwhile)();
        semaphore.release();
    }
    let _ = semaphore.acquire_timeout(manner.wait);
    let _ = semaphore.value();
}

fn operate_bounded(bounded: &BoundedSemaphore, manner: &mut Manner<'_>) {
    let _ = bounded.value();
    let _ = bounded.try_acquire();
    (manner.meanwhile)();
    let _ = bounded.release();
    let _ = bounded.acquire_timeout(manner.wait);
    let _ = (bounded.release(), bounded.value());
}

fn operate_permits(permits: &Permits, manner: &mut Manner<'_>) {
    let _ = permits.available();
    let held =
        (permits.try_acquire(), permits.acquire_timeout(manner.wait), permits.acquire_timeout(manner.wait));
    (manner.meanwhile)();
    drop(permits.acquire_timeout(manner.wait));
    drop(held);
    let _ = permits.available();
}

fn operate_condition(condition: &Condition, manner: &mut Manner<'_>) {
    let Ok(guard) = condition.lock_timeout(manner.wait).or_else(LockError::recover) else { return };
    let _ = (guard.waiting(), guard.notify_one());
    (manner.meanwhile)();
    let _ = (guard.notify(3), guard.notify_all());
    drop(guard.wait_timeout_relock(manner.wait, manner.wait));
    drop(condition.try_lock());
}

fn operate_event(event: &Event, manner: &mut Manner<'_>) {
    let _ = (event.is_set(), event.wait_timeout(manner.wait));
    event.set();
    (manner.meanwhile)();
    let _ = event.wait_timeout(manner.wait);
    event.clear();
}

fn operate_barrier(barrier: &Barrier, manner: &mut Manner<'_>) {
    let _ = (barrier.parties(), barrier.waiting(), barrier.is_broken());
    let _ = barrier.wait_timeout(manner.wait);
    let _ = barrier.wait_with_timeout(manner.wait, || (manner.meanwhile)());
    barrier.abort();
    if manner.memory.can_reset() {
        let _ = barrier.reset();
    }
    let _ = (barrier.waiting(), barrier.is_broken());
}

fn operate_value(value: &Value<Pair>, manner: &mut Manner<'_>) {
    let _ = value.get();
    let recovered = value.lock_timeout(manner.wait).or_else(LockError::recover);
    (manner.meanwhile)();
    drop(recovered);
    if value.try_lock().is_ok() {
        let set = value.set([3, 4]);
        assert!(set.is_err() || value.get() == [3, 4], "what was set is there");
        let _ = value.update(|[one, _]| {
            *one = 5;
            (manner.meanwhile)();
        });
    }
    let _ = value.get();
}

fn operate_array<T>(array: &Array<T>, element: u8, manner: &mut Manner<'_>)
where
    T: bytemuck::Pod + From<u8> + PartialEq + std::fmt::Debug,
{
    assert!(array.len() * size_of::<T>() <= manner.memory.len(), "it lies in the segment");
    let free = match array.lock_timeout(manner.wait) {
        Ok(mut guard) => {
            guard.first_mut().into_iter().for_each(|first| *first = element.into());
            (manner.meanwhile)();
            let _ = guard.iter().copied().max_by_key(|element| bytemuck::bytes_of(element).len());
            true
        }
        Err(error @ LockError::OwnerDied(_)) => error.recover().is_ok(),
        Err(_) => false,
    };
    // The peer may have locked it meanwhile.
    if !free || array.try_lock().is_err() {
        return;
    }
    if array.len() <= MOST {
        let copied = array.to_vec();
        assert!(copied.is_err() || copied.is_ok_and(|elements| elements.len() == array.len()));
        let _ = array.fill(element.into());
    }
    let last = array.len().wrapping_sub(1);
    let _ = (array.set(last, element.into()), array.update(0, |first| *first = element.into()));
    assert!(array.get(last).map_or(true, |last| last == element.into()), "what was set is there");
    assert!(array.get(array.len()).is_err(), "there is no such element");
    let _ = array.write(.., &[element.into()]);
    let _ = array.iter().take(4).count();
}

fn operate_dyn_value(value: &DynValue, manner: &mut Manner<'_>) {
    let _ = (value.code(), value.get());
    let recovered = value.lock_timeout(manner.wait).or_else(LockError::recover);
    (manner.meanwhile)();
    drop(recovered);
    if value.try_lock().is_ok() {
        let _ = (value.set(5), value.wrapping_set(-1), value.update(|number| *number = 6.into()));
    }
    let _ = value.get();
}

fn operate_dyn_array(array: &DynArray, manner: &mut Manner<'_>) {
    assert!(array.len() * array.code().size() <= manner.memory.len(), "it lies in the segment");
    let recovered = array.lock_timeout(manner.wait).or_else(LockError::recover);
    (manner.meanwhile)();
    drop(recovered);
    if array.try_lock().is_ok() {
        let _ = (array.set(0, 5), array.wrapping_set(1, -1), array.fill(6));
        assert!(array.to_vec().is_ok_and(|numbers| numbers.len() == array.len()), "nobody else has the lock");
        assert!(array.get(array.len()).is_err(), "there is no such element");
    }
}

fn operate_queue(queue: &Queue<Item>, manner: &mut Manner<'_>) {
    let _ = (queue.len(), queue.is_empty(), queue.is_full(), queue.capacity(), queue.max_message());
    let put = queue.try_put(vec![9; 3]);
    let _ = queue.put_timeout(vec![8; 40], manner.wait);
    (manner.meanwhile)();
    let _ = (queue.try_get(), queue.get_timeout(manner.wait));
    if put.is_ok() && queue.try_put(Vec::new()).is_ok() {
        queue.shutdown();
    }
    let _ = (queue.try_get(), queue.get_timeout(manner.wait), queue.len());
}

fn operate_jobs(jobs: &JoinableQueue<Item>, manner: &mut Manner<'_>) {
    let (first, second) = (jobs.try_take(), jobs.take_timeout(manner.wait));
    for task in first.iter().chain(&second) {
        let _ = (task.attempt(), task.number(), task.len());
    }
    (manner.meanwhile)();
    drop(first);
    if let Ok(task) = second {
        task.done();
    }
    let _ = (jobs.try_get(), jobs.task_done());
    if jobs.join_timeout(manner.wait) == Ok(true) {
        let _ = jobs.unfinished();
    }
    operate_queue(jobs, manner);
    drop(jobs.take_timeout(manner.wait));
}
