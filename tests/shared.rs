//! Values and arrays between processes, and what a death leaves.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use multiproc::{Array, ArrayError, Event, Lock, LockError, RLock, Value};

const SOON: Duration = Duration::from_secs(10);

/// Runs `body` in a forked child, which ends without destructors, and returns its process id.
fn fork(body: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child uses only memory of its own and the shared primitives, and ends by _exit.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        body();
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) }
    }
    pid
}

fn wait(pid: libc::pid_t) {
    let mut status = 0;
    // SAFETY: `status` is written to and outlives the call.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(reaped, pid);
}

fn kill_and_wait(pid: libc::pid_t) {
    // SAFETY: the child has not been reaped, so the number is its.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    wait(pid);
}

fn wait_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

#[test]
fn two_processes_count_exactly() {
    let value = Value::new(0u64).unwrap();
    let array = Array::<u32>::zeroed(4).unwrap();
    let count = || {
        for n in 0..3_000 {
            value.update(|total| *total += 1).unwrap();
            array.update(n % 4, |total| *total += 1).unwrap();
        }
    };
    value.set(0).unwrap();
    let child = fork(count);
    count();
    wait(child);
    assert_eq!(value.get(), 6_000);
    assert_eq!(array.to_vec().unwrap(), [1_500; 4]);
}

#[test]
fn a_reader_in_another_process_never_sees_half_of_a_write() {
    let value = Value::new([0u64; 100]).unwrap();
    let torn = Value::new(0u8).unwrap();
    torn.set(0).unwrap();
    let reader = fork(|| {
        loop {
            let seen = value.get();
            if seen.iter().any(|&word| word != seen[0]) {
                let _ = torn.set(1);
            }
            if seen[0] == 20_000 {
                break;
            }
        }
    });
    for n in 1..=20_000 {
        value.set([n; 100]).unwrap();
    }
    wait(reader);
    assert_eq!(torn.get(), 0);
}

#[test]
fn a_holder_of_a_value_that_is_killed_leaves_the_old_value_and_no_flag() {
    let value = Value::new([1u32; 5]).unwrap();
    let held = Event::new().unwrap();
    value.set([1; 5]).unwrap();
    let child = fork(|| {
        let mut guard = value.lock().unwrap();
        guard[0] = 2;
        held.set();
        wait_for_ever();
    });
    assert!(held.wait_timeout(SOON));
    assert_eq!(value.get(), [1; 5], "a locked value is still read");
    kill_and_wait(child);
    assert_eq!(value.update(|words| words[0]).unwrap(), 1);
    value.set([3; 5]).unwrap();
    assert_eq!(value.get(), [3; 5]);
}

#[test]
fn a_holder_of_an_array_that_is_killed_flags_it_until_recovery() {
    let array = Array::from_slice(&[1u8, 2, 3]).unwrap();
    let held = Event::new().unwrap();
    array.set(0, 1).unwrap();
    let child = fork(|| {
        let mut guard = array.lock().unwrap();
        guard[0] = 9;
        held.set();
        wait_for_ever();
    });
    assert!(held.wait_timeout(SOON));
    assert!(matches!(array.try_lock(), Err(LockError::WouldBlock)));
    kill_and_wait(child);
    assert!(matches!(array.get(1), Err(ArrayError::Lock(LockError::OwnerDied(())))));
    assert!(matches!(array.fill(0), Err(ArrayError::Lock(LockError::OwnerDied(())))));
    let guard = array.lock_or_recover(|elements| elements[0] = 1).unwrap();
    assert_eq!(*guard, [1, 2, 3]);
    drop(guard);
    assert_eq!(array.to_vec().unwrap(), [1, 2, 3]);
}

#[test]
fn an_element_written_by_a_killed_process_is_old_or_new() {
    const LEN: usize = 4096;
    let array = Array::<u64>::zeroed(LEN).unwrap();
    let started = Event::new().unwrap();
    array.fill(0).unwrap();
    let child = fork(|| {
        let (old, new) = ([0u64; LEN], [u64::MAX; LEN]);
        loop {
            let _ = array.write(.., &new);
            started.set();
            let _ = array.write(.., &old);
        }
    });
    assert!(started.wait_timeout(SOON));
    kill_and_wait(child);
    drop(array.lock_or_recover(|_| ()).unwrap());
    assert!(array.to_vec().unwrap().iter().all(|&element| element == 0 || element == u64::MAX));
}

#[test]
fn elements_of_any_size_go_in_and_out() {
    fn round_trip<T: bytemuck::Pod + PartialEq + std::fmt::Debug>(elements: &[T]) {
        let array = Array::from_slice(elements).unwrap();
        assert_eq!(array.to_vec().unwrap(), elements);
        array.fill(T::zeroed()).unwrap();
        for (index, element) in elements.iter().enumerate() {
            array.set(index, *element).unwrap();
        }
        assert_eq!(*array.lock().unwrap(), *elements);
        let collected: Vec<T> = array.iter().collect::<Result<_, _>>().unwrap();
        assert_eq!(collected, elements);
    }
    round_trip(&[(), ()]);
    round_trip(&[1u8, 2, 3, 4, 5, 6, 7, 8, 9]);
    round_trip(&[[1u8, 2, 3], [4, 5, 6], [7, 8, 9]]);
    round_trip(&[1u16, 2, 3]);
    round_trip(&[1.5f32, -2.5, 3.5]);
    round_trip(&[1u128, u128::MAX]);
    round_trip(&[[1u64; 3], [2; 3]]);
    round_trip::<u64>(&[]);
}

#[test]
fn a_large_array_is_aligned_for_its_elements() {
    #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
    #[repr(C, align(256))]
    struct Wide([u8; 256]);
    let array = Array::<Wide>::zeroed(3).unwrap();
    assert!(array.lock().unwrap().as_ptr().is_aligned());
}

#[test]
fn a_killed_holder_of_the_callers_lock_flags_what_it_guards_until_somebody_recovers_it() {
    let lock = Lock::new().unwrap();
    let value = Value::with_lock(1u64, &lock).unwrap();
    let array = Array::with_lock(&[1u8, 2], &lock).unwrap();
    let held = Event::new().unwrap();
    value.set(2).unwrap();
    let child = fork(|| {
        let guard = lock.lock().unwrap();
        held.set();
        let _guard = guard;
        wait_for_ever();
    });
    assert!(held.wait_timeout(SOON));
    assert!(matches!(value.try_lock(), Err(LockError::WouldBlock)));
    assert!(matches!(value.lock_timeout(Duration::from_millis(1)), Err(LockError::TimedOut { .. })));
    assert_eq!(value.get(), 2, "read without the lock");
    kill_and_wait(child);
    assert!(matches!(value.set(3), Err(LockError::OwnerDied(()))));
    assert!(matches!(value.update(|n| *n = 3), Err(LockError::OwnerDied(()))));
    assert!(matches!(array.get(0), Err(ArrayError::Lock(LockError::OwnerDied(())))));
    match value.lock() {
        Err(LockError::OwnerDied(mut guard)) => *guard = 4,
        other => panic!("{other:?}"),
    }
    assert_eq!(value.get(), 4, "who is told may go on");
    assert!(matches!(lock.lock(), Err(LockError::OwnerDied(_))), "nothing has cleared the flag");
    drop(lock.lock_or_recover(|_| ()).unwrap());
    value.set(5).unwrap();
    assert_eq!((value.get(), array.to_vec().unwrap()), (5, vec![1, 2]));
}

#[test]
fn a_killed_writer_under_the_callers_lock_leaves_the_old_value_and_a_flag() {
    let lock = RLock::new().unwrap();
    let value = Value::with_rlock([1u32; 5], &lock).unwrap();
    let held = Event::new().unwrap();
    value.set([1; 5]).unwrap();
    let child = fork(|| {
        let mut guard = value.lock().unwrap();
        guard[0] = 2;
        held.set();
        wait_for_ever();
    });
    assert!(held.wait_timeout(SOON));
    kill_and_wait(child);
    assert_eq!(value.get(), [1; 5]);
    assert!(matches!(value.set([3; 5]), Err(LockError::OwnerDied(()))));
    drop(value.lock_or_recover(|words| words[4] = 9).unwrap());
    assert_eq!(value.get(), [1, 1, 1, 1, 9]);
    drop(lock.lock().unwrap());
}

#[test]
fn a_nesting_lock_lets_its_holder_work_on_what_it_guards() {
    let lock = RLock::new().unwrap();
    let value = Value::with_rlock(1u64, &lock).unwrap();
    let array = Array::with_rlock(&[1u64, 2], &lock).unwrap();
    let outer = lock.lock().unwrap();
    value.update(|n| array.update(0, |m| *m += *n).unwrap()).unwrap();
    assert_eq!(array.to_vec().unwrap(), [2, 2]);
    let slice = array.lock().unwrap();
    assert_eq!(slice[0] + value.get(), 3);
    value.set(9).unwrap();
    drop((slice, outer));
    assert!(!lock.is_locked());
}

#[test]
fn a_nesting_lock_gives_one_slice_and_one_private_copy_at_a_time() {
    let lock = RLock::new().unwrap();
    let array = Array::with_rlock(&[1u64, 2], &lock).unwrap();
    let value = Value::with_rlock(1u64, &lock).unwrap();
    let other = array.clone();
    let deadlock = |outcome| matches!(outcome, Err(ArrayError::Lock(LockError::Deadlock)));
    let mut slice = array.lock().unwrap();
    assert!(matches!(other.lock(), Err(LockError::Deadlock)), "two slices of the same elements");
    assert!(matches!(other.raw(), Err(LockError::Deadlock)));
    assert!(deadlock(other.set(0, 5)) && deadlock(other.get(0).map(drop)));
    slice[0] = 3;
    drop(slice);
    let mut copy = value.lock().unwrap();
    assert!(matches!(value.set(7), Err(LockError::Deadlock)), "it would be lost");
    *copy += 1;
    drop(copy);
    assert!(deadlock(array.update(1, |_| array.set(1, 5)).unwrap()), "nor inside of an update");
    assert_eq!((array.to_vec().unwrap(), value.get()), (vec![3, 2], 2));
}

#[test]
fn all_four_forms_of_time_lock_a_value() {
    let value = Value::new(0u8).unwrap();
    *value.lock().unwrap() += 1;
    *value.try_lock().unwrap() += 1;
    *value.lock_timeout(SOON).unwrap() += 1;
    *value.lock_deadline(Instant::now()).unwrap() += 1;
    let held = value.lock().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(matches!(value.try_lock(), Err(LockError::WouldBlock)));
            assert!(matches!(value.lock_deadline(Instant::now()), Err(LockError::TimedOut { .. })));
        });
    });
    drop(held);
    assert_eq!(value.get(), 4);
}
