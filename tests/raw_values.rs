//! `RawValue` and `RawArray` against std's atomics and a `Vec`, in threads and between processes.
#![cfg(feature = "auto-init")]

use std::fmt::Debug;
use std::sync::atomic::{AtomicI16, Ordering::SeqCst};

use multiproc::{
    Array, ArrayError, CLong, Error, Lock, LockError, Queue, RawArray, RawInteger, RawValue, Value,
};
use random::Random;
use retyped::{accept, receive_as, received};
use worker::{SOON, Worker};

mod random;
mod retyped;
mod worker;

const LEN: usize = 17;

#[test]
fn each_operation_does_what_the_atomic_of_std_does() {
    let (ours, std) = (RawValue::new(0i16).unwrap(), AtomicI16::new(0));
    let mut random = Random::new(7);
    for _ in 0..20_000 {
        let n = i16::from_ne_bytes(u16::try_from(random.below(1 << 16)).unwrap().to_ne_bytes());
        let other = if random.below(2) == 0 { n } else { std.load(SeqCst) };
        let (found, expected) = match random.below(8) {
            0 => (ours.swap(n), std.swap(n, SeqCst)),
            1 => (ours.fetch_add(n), std.fetch_add(n, SeqCst)),
            2 => (ours.fetch_sub(n), std.fetch_sub(n, SeqCst)),
            3 => (ours.fetch_and(n), std.fetch_and(n, SeqCst)),
            4 => (ours.fetch_or(n), std.fetch_or(n, SeqCst)),
            5 => (ours.fetch_xor(n), std.fetch_xor(n, SeqCst)),
            6 => {
                let found = ours.compare_exchange(other, n);
                assert_eq!(found, std.compare_exchange(other, n, SeqCst, SeqCst));
                (0, 0)
            }
            _ => {
                ours.store(n);
                std.store(n, SeqCst);
                (0, 0)
            }
        };
        assert_eq!((found, ours.load()), (expected, std.load(SeqCst)));
    }
}

/// Random operations on an array, and the same on a `Vec`.
fn against_a_vec<T: RawInteger + PartialEq + Debug>(make: fn(u64) -> T, add: fn(T, T) -> T) {
    let array = RawArray::<T>::zeroed(LEN).unwrap();
    let mut vec = vec![T::zeroed(); LEN];
    let mut random = Random::new(size_of::<T>() as u64);
    for _ in 0..5_000 {
        let n = make(random.below(u64::MAX));
        let index = usize::try_from(random.below(LEN as u64 + 2)).unwrap();
        let end = usize::try_from(random.below(LEN as u64 + 2)).unwrap();
        match random.below(6) {
            0 => match array.store(index, n) {
                Ok(()) => vec[index] = n,
                Err(error) => assert!(index >= LEN, "{error}"),
            },
            1 => match array.fetch_add(index, n) {
                Ok(before) => {
                    assert_eq!(before, vec[index]);
                    vec[index] = add(before, n);
                }
                Err(error) => assert!(index >= LEN, "{error}"),
            },
            2 => match array.update(index, |old| add(old, n)) {
                Ok(before) => vec[index] = add(before, n),
                Err(error) => assert!(index >= LEN, "{error}"),
            },
            3 => {
                let many = vec![n; end.saturating_sub(index)];
                match (array.write(index..end, &many), vec.get_mut(index..end)) {
                    (Ok(()), Some(range)) => range.copy_from_slice(&many),
                    (Err(ArrayError::OutOfRange { .. }), None) => {}
                    (outcome, _) => panic!("{index}..{end}: {outcome:?}"),
                }
            }
            4 => {
                let mut many = vec![n; end.saturating_sub(index)];
                match (array.read(index..end, &mut many), vec.get(index..end)) {
                    (Ok(()), Some(range)) => assert_eq!(many, range),
                    (Err(ArrayError::OutOfRange { .. }), None) => {}
                    (outcome, _) => panic!("{index}..{end}: {outcome:?}"),
                }
            }
            _ => {
                if random.below(50) == 0 {
                    array.fill(n);
                    vec.fill(n);
                }
            }
        }
        assert_eq!(array.to_vec(), vec);
    }
    assert_eq!(array.iter().collect::<Vec<_>>(), vec);
    assert_eq!(array.iter().len(), LEN);
}

#[test]
fn an_array_is_a_vec_whatever_the_width_of_its_elements() {
    against_a_vec::<u8>(|n| n as u8, u8::wrapping_add);
    against_a_vec::<i16>(|n| n as i16, i16::wrapping_add);
    against_a_vec::<u32>(|n| n as u32, u32::wrapping_add);
    against_a_vec::<i64>(|n| n as i64, i64::wrapping_add);
    against_a_vec::<CLong>(|n| CLong(n as i64), |a, b| CLong(a.0.wrapping_add(b.0)));
}

#[test]
fn elements_that_are_no_integers_are_exchanged_by_their_bits() {
    let nan = RawValue::new(f64::NAN).unwrap();
    assert!(nan.compare_exchange(f64::NAN, 1.0).is_ok(), "the same bits");
    assert_eq!(nan.compare_exchange(-0.0, 0.0), Err(1.0));
    let zero = RawValue::new(0.0f32).unwrap();
    assert!(zero.compare_exchange(-0.0, 1.0).is_err(), "equal, and of other bits");
    let bytes = RawArray::from_slice(&[[1u8, 2], [3, 4]]).unwrap();
    assert_eq!(bytes.swap(1, [5, 6]).unwrap(), [3, 4]);
    assert_eq!(bytes.to_vec(), [[1, 2], [5, 6]]);
}

#[test]
fn a_slice_of_another_length_than_its_range_is_refused() {
    let array = RawArray::<u32>::zeroed(3).unwrap();
    assert!(matches!(array.write(.., &[1; 2]), Err(ArrayError::Length { expected: 3, found: 2 })));
    assert!(matches!(array.read(1.., &mut [1; 3]), Err(ArrayError::Length { expected: 2, found: 3 })));
    for len in [usize::MAX, usize::MAX / 4, 1 << 59] {
        assert!(matches!(RawArray::<u32>::zeroed(len), Err(Error::OutOfMemory { .. })));
    }
}

const ROUNDS: u64 = 20_000;

fn count((value, array): (RawValue<u64>, RawArray<u16>)) {
    for n in 0..ROUNDS {
        value.fetch_add(1);
        array.fetch_add(usize::try_from(n).unwrap() % 4, 1).unwrap();
        array.update(4, |element| element.wrapping_add(3)).unwrap();
    }
}

#[test]
fn additions_of_two_processes_all_count() {
    let (value, array) = (RawValue::new(0).unwrap(), RawArray::<u16>::zeroed(5).unwrap());
    let child = Worker::spawn(count, (value.clone(), array.clone()));
    count((value.clone(), array.clone()));
    child.join();
    assert_eq!(value.load(), 2 * ROUNDS);
    let each = u16::try_from(2 * ROUNDS / 4).unwrap();
    let wrapped = u16::try_from(6 * ROUNDS % 65_536).unwrap();
    assert_eq!(array.to_vec(), [each, each, each, each, wrapped]);
}

fn write_for_ever((array, started): (RawArray<u64>, RawValue<u8>)) {
    let (old, new) = (vec![0; array.len()], vec![u64::MAX; array.len()]);
    loop {
        array.write(.., &new).unwrap();
        started.store(1);
        array.write(.., &old).unwrap();
    }
}

#[test]
fn a_killed_writer_leaves_each_element_old_or_new_and_nobody_waiting() {
    let (array, started) = (RawArray::<u64>::zeroed(4096).unwrap(), RawValue::new(0).unwrap());
    let child = Worker::spawn(write_for_ever, (array.clone(), started.clone()));
    let begun = std::time::Instant::now();
    while started.load() == 0 {
        assert!(begun.elapsed() < SOON);
        assert!(array.iter().all(|element| element == 0 || element == u64::MAX));
    }
    child.kill();
    assert!(array.to_vec().iter().all(|&element| element == 0 || element == u64::MAX));
    array.fill(7);
    assert!(array.iter().all(|element| element == 7));
}

#[test]
fn attaching_as_another_type_names_both() {
    let value = || RawValue::new(1i64).unwrap();
    receive_as::<_, RawValue<CLong>>(value(), accept).unwrap();
    let refused = |outcome: Result<(), String>, message: &str| {
        let error = outcome.unwrap_err();
        assert!(error.contains(message), "{error}");
    };
    let as_float = receive_as::<_, RawValue<f64>>(value(), accept);
    refused(as_float, "expected RawValue<f64>, found RawValue<i64>");
    refused(receive_as::<_, Value<i64>>(value(), accept), "expected Value<i64>, found RawValue<i64>");
}

#[test]
fn an_array_that_nobody_made_raw_is_no_raw_array() {
    let array = Array::from_slice(&[1u8]).unwrap();
    let refused = receive_as::<_, RawArray<u8>>(array.clone(), accept).unwrap_err();
    assert!(refused.contains("expected RawArray<u8>, found Array<u8>"), "{refused}");
    array.raw().unwrap();
    receive_as::<_, RawArray<u8>>(array.raw().unwrap(), |raw| received(raw).fill(7)).unwrap();
    assert_eq!(array.get(0).unwrap(), 7);
}

#[test]
fn a_raw_array_shares_the_memory_of_the_array_it_was_made_of() {
    let array = Array::from_slice(&[1u32, 2, 3]).unwrap();
    let raw = array.raw().unwrap();
    raw.store(0, 10).unwrap();
    array.set(1, 20).unwrap();
    assert_eq!(array.to_vec().unwrap(), [10, 20, 3]);
    assert_eq!(raw.to_vec(), [10, 20, 3]);
    array.write(1.., &[8, 9]).unwrap();
    array.fill(4).unwrap();
    assert_eq!(raw.to_vec(), [4; 3]);
}

#[test]
fn a_guard_of_an_array_with_raw_handles_stores_what_it_changed_and_nothing_else() {
    let array = Array::from_slice(&[1u32, 2, 3]).unwrap();
    let raw = array.raw().unwrap();
    let mut guard = array.lock().unwrap();
    raw.store(2, 30).unwrap();
    guard[0] = 10;
    assert_eq!(*guard, [10, 2, 3], "a copy");
    assert_eq!(raw.to_vec(), [1, 2, 30]);
    drop(guard);
    assert_eq!(raw.to_vec(), [10, 2, 30]);
}

#[test]
fn no_raw_handle_is_had_while_somebody_has_a_slice() {
    let array = Array::<u8>::zeroed(2).unwrap();
    let guard = array.lock().unwrap();
    assert!(matches!(array.raw(), Err(LockError::Deadlock)));
    std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel();
        let array = &array;
        scope.spawn(move || {
            let raw = array.raw().unwrap();
            done.send(raw.len()).unwrap();
        });
        assert!(is_done.recv_timeout(std::time::Duration::from_millis(20)).is_err(), "it waits");
        drop(guard);
        assert_eq!(is_done.recv_timeout(SOON).unwrap(), 2);
    });
}

#[test]
fn a_raw_handle_of_an_array_under_a_shared_lock_travels_alone() {
    let lock = Lock::new().unwrap();
    let array = Array::with_lock(&[0u64; 4], &lock).unwrap();
    let raw = array.raw().unwrap();
    let held = lock.lock().unwrap();
    Worker::spawn(|raw: RawArray<u64>| raw.fill(5), raw).join();
    drop(held);
    assert_eq!(array.to_vec().unwrap(), [5; 4]);
}

#[test]
fn handles_go_through_threads_and_a_queue_refuses_them() {
    fn any_thread<T: Send + Sync + Clone + 'static>(_: &T) {}
    let (value, array) = (RawValue::new(5u8).unwrap(), RawArray::<u8>::zeroed(2).unwrap());
    any_thread(&value);
    any_thread(&array);
    assert_eq!(format!("{value:?} {array:?}"), "RawValue(5) RawArray { len: 2, .. }");
    assert!(Queue::bounded(1).unwrap().put(value).is_err());
}
