//! Single operations of every primitive, by one thread that nobody disturbs: `cargo bench --bench primitives [FILTER]`.
//!
//! Not for comparisons: divan measures one benchmark after the other, and what the machine does meanwhile would be taken
//! for a difference between them. Peers are measured in turns, many times, in `benches/compare`.

use divan::{Bencher, black_box};
use multiproc::{Array, Condition, Event, Lock, Permits, RLock, RawArray, RawValue, Semaphore, Value};

fn main() {
    // Fixed: tuned by one sample that something disturbed, each of the others would be a single call.
    divan::Divan::default().sample_size(2000).config_with_args().main();
}

#[divan::bench]
fn lock_and_unlock(bencher: Bencher<'_, '_>) {
    let lock = Lock::new().expect("a lock");
    bencher.bench_local(|| drop(black_box(&lock).lock().expect("nobody dies")));
}

#[divan::bench]
fn rlock_and_unlock(bencher: Bencher<'_, '_>) {
    let lock = RLock::new().expect("a lock");
    bencher.bench_local(|| drop(black_box(&lock).lock().expect("nobody dies")));
}

#[divan::bench]
fn rlock_and_unlock_nested(bencher: Bencher<'_, '_>) {
    let lock = RLock::new().expect("a lock");
    let _outer = lock.lock().expect("nobody dies");
    bencher.bench_local(|| drop(black_box(&lock).lock().expect("nobody dies")));
}

#[divan::bench]
fn semaphore_acquire_and_release(bencher: Bencher<'_, '_>) {
    let semaphore = Semaphore::new(1).expect("a semaphore");
    bencher.bench_local(|| {
        black_box(&semaphore).acquire();
        semaphore.release();
    });
}

#[divan::bench]
fn permit_acquire_and_release(bencher: Bencher<'_, '_>) {
    let permits = Permits::new(4).expect("permits");
    bencher.bench_local(|| drop(black_box(&permits).acquire().expect("nobody dies")));
}

#[divan::bench]
fn event_set_wait_and_clear(bencher: Bencher<'_, '_>) {
    let event = Event::new().expect("an event");
    bencher.bench_local(|| {
        black_box(&event).set();
        event.wait();
        event.clear();
    });
}

#[divan::bench]
fn condition_notify_without_waiter(bencher: Bencher<'_, '_>) {
    let condition = Condition::new().expect("a condition");
    let guard = condition.lock().expect("nobody dies");
    bencher.bench_local(|| black_box(&guard).notify_one());
}

#[divan::bench]
fn value_get(bencher: Bencher<'_, '_>) {
    let value = Value::new(1_u64).expect("a value");
    bencher.bench_local(|| black_box(&value).get());
}

#[divan::bench]
fn value_set(bencher: Bencher<'_, '_>) {
    let value = Value::new(1_u64).expect("a value");
    bencher.bench_local(|| black_box(&value).set(black_box(2)).expect("nobody dies"));
}

#[divan::bench]
fn value_update(bencher: Bencher<'_, '_>) {
    let value = Value::new(1_u64).expect("a value");
    bencher.bench_local(|| black_box(&value).update(|number| *number += 1).expect("nobody dies"));
}

#[divan::bench]
fn array_get(bencher: Bencher<'_, '_>) {
    let array = Array::<u64>::zeroed(1000).expect("an array");
    bencher.bench_local(|| black_box(&array).get(black_box(500)).expect("nobody dies"));
}

#[divan::bench]
fn array_set(bencher: Bencher<'_, '_>) {
    let array = Array::<u64>::zeroed(1000).expect("an array");
    bencher.bench_local(|| black_box(&array).set(black_box(500), 1).expect("nobody dies"));
}

#[divan::bench]
fn raw_value_load(bencher: Bencher<'_, '_>) {
    let value = RawValue::new(1_u64).expect("a value");
    bencher.bench_local(|| black_box(&value).load());
}

#[divan::bench]
fn raw_value_fetch_add(bencher: Bencher<'_, '_>) {
    let value = RawValue::new(1_u64).expect("a value");
    bencher.bench_local(|| black_box(&value).fetch_add(1));
}

#[divan::bench]
fn raw_array_load(bencher: Bencher<'_, '_>) {
    let array = RawArray::<u64>::zeroed(1000).expect("an array");
    bencher.bench_local(|| black_box(&array).load(black_box(500)).expect("in range"));
}
