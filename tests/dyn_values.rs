//! `DynValue` and `DynArray` against an oracle, and as the same objects as `Value` and `Array`.
#![cfg(feature = "auto-init")]

use std::time::Duration;

use multiproc::{
    Array, ArrayError, CChar, CLong, CULong, DynArray, DynError, DynValue, Lock, LockError, Number, RLock,
    TypeCode, Value, WChar,
};
use random::Random;
use retyped::{accept, receive_as, received};
use worker::Worker;

mod random;
mod retyped;
mod worker;

fn code(c: char) -> TypeCode {
    TypeCode::try_from(c).unwrap()
}

fn number(n: impl Into<Number>) -> Number {
    n.into()
}

/// Integer codes with their ranges, from Python's documentation.
const INTEGERS: [(char, i128, i128); 10] = [
    ('b', -128, 127),
    ('B', 0, 255),
    ('h', -32_768, 32_767),
    ('H', 0, 65_535),
    ('i', -2_147_483_648, 2_147_483_647),
    ('I', 0, 4_294_967_295),
    ('l', -9_223_372_036_854_775_808, 9_223_372_036_854_775_807),
    ('L', 0, 18_446_744_073_709_551_615),
    ('q', -9_223_372_036_854_775_808, 9_223_372_036_854_775_807),
    ('Q', 0, 18_446_744_073_709_551_615),
];

/// A number near some end, or anywhere.
fn any_integer(random: &mut Random) -> i128 {
    let (_, low, high) = INTEGERS[usize::try_from(random.below(10)).unwrap()];
    let near = i128::from(random.below(5)) - 2;
    match random.below(3) {
        0 => low + near,
        1 => high + near,
        _ => i128::from(random.below(u64::MAX)) - (1 << 62),
    }
}

#[test]
fn an_array_is_a_vec_that_refuses_what_is_out_of_range() {
    const LEN: usize = 5;
    let mut random = Random::new(11);
    for (c, low, high) in INTEGERS {
        let array = DynArray::zeroed(code(c), LEN).unwrap();
        let mut vec = [0i128; LEN];
        for _ in 0..500 {
            let n = any_integer(&mut random);
            let index = usize::try_from(random.below(LEN as u64 + 1)).unwrap();
            let fits = (low..=high).contains(&n);
            let outcome = match random.below(3) {
                0 => array.set(index, n),
                1 => array.update(index, |element| *element = n.into()),
                _ => array.wrapping_set(index, n),
            };
            match outcome {
                Ok(()) if fits => vec[index] = n,
                Ok(()) => vec[index] = low + (n - low).rem_euclid(high - low + 1),
                Err(DynError::OutOfRange { value, code: named }) => {
                    assert!(!fits && value == number(n) && named == code(c), "{c} {n}");
                }
                Err(DynError::Index(ArrayError::OutOfRange { len: LEN, .. })) => assert_eq!(index, LEN),
                Err(error) => panic!("{error}"),
            }
            assert_eq!(array.to_vec().unwrap(), vec.map(number));
        }
        let numbers: Result<Vec<Number>, _> = array.iter().collect();
        assert_eq!(numbers.unwrap(), vec.map(number));
    }
}

#[test]
fn a_number_out_of_range_changes_nothing_and_is_named_with_the_type() {
    for (c, low, high) in INTEGERS {
        let value = DynValue::new(code(c), high).unwrap();
        for out in [low - 1, high + 1] {
            let message = format!("{out} is out of range for '{c}': {low} to {high}");
            assert_eq!(value.set(out).unwrap_err().to_string(), message);
            assert_eq!(DynValue::new(code(c), out).unwrap_err().to_string(), message);
            assert_eq!(DynArray::from_numbers(code(c), [0, out]).unwrap_err().to_string(), message);
            assert!(value.update(|n| *n = out.into()).is_err());
            assert!(value.lock().unwrap().set(out).is_err());
        }
        assert_eq!(value.get(), number(high));
        value.wrapping_set(high + 1).unwrap();
        assert_eq!(value.get(), number(low));
        value.set(low).unwrap();
    }
}

#[test]
fn characters_and_floats_are_kept_as_what_they_are() {
    let text = DynArray::from_numbers(code('u'), "añ😀".chars()).unwrap();
    let characters: String = text.to_vec().unwrap().into_iter().filter_map(Number::as_char).collect();
    assert_eq!(characters, "añ😀");
    for point in [0xd800, 0x11_0000, -1] {
        assert!(matches!(text.set(0, point), Err(DynError::OutOfRange { .. })));
    }
    let byte = DynValue::new(code('c'), b'x').unwrap();
    assert!(byte.set('é').is_err() && byte.set(256).is_err() && byte.wrapping_set(256).is_err());
    assert_eq!(byte.get(), number(b'x'));
    let float = DynValue::new(code('f'), 0.1).unwrap();
    assert_eq!(float.get(), number(0.1f32));
    assert!(float.set(1e39).is_err());
    float.wrapping_set(1e39).unwrap();
    assert_eq!(float.get(), number(f64::INFINITY));
    assert!(DynValue::new(code('q'), 1.5).is_err());
    assert_eq!(DynValue::new(code('q'), -2.0).unwrap().get(), number(-2));
}

#[test]
fn every_way_of_changing_a_value_is_seen_by_every_way_of_reading() {
    let value = DynValue::new(code('h'), 1).unwrap();
    assert_eq!(value.update(|n| std::mem::replace(n, number(2))).unwrap(), number(1));
    let mut guard = value.lock_timeout(Duration::from_secs(1)).unwrap();
    assert!(matches!(value.set(5), Err(DynError::Lock(LockError::Deadlock))));
    guard.set(3).unwrap();
    assert_eq!((guard.get(), value.get()), (number(3), number(2)), "not before the guard is dropped");
    drop(guard);
    assert_eq!(value.get(), number(3));
    assert_eq!(format!("{value:?}"), "DynValue { code: Short, value: Integer(3) }");
}

#[test]
fn ranges_are_read_and_written_as_those_of_a_vec() {
    let array = DynArray::from_numbers(code('H'), 0..6).unwrap();
    array.write(2..4, [20, 30]).unwrap();
    assert_eq!(array.read(1..=4).unwrap(), [1, 20, 30, 4].map(number));
    assert!(matches!(
        array.write(.., [1]),
        Err(DynError::Index(ArrayError::Length { expected: 6, found: 1 }))
    ));
    assert!(matches!(array.write(2.., [7, 8, 9, -1]), Err(DynError::OutOfRange { .. })));
    assert!(matches!(array.read(5..9), Err(DynError::Index(ArrayError::OutOfRange { .. }))));
    let mut guard = array.lock().unwrap();
    guard.set(0, 9).unwrap();
    assert_eq!(guard.iter().collect::<Vec<_>>(), [9, 1, 20, 30, 4, 5].map(number));
    assert!(guard.set(6, 0).is_err() && guard.get(6).is_err());
    drop(guard);
    array.fill(7).unwrap();
    assert_eq!(array.to_vec().unwrap(), [number(7); 6]);
    assert!(DynArray::zeroed(code('d'), usize::MAX).is_err());
}

#[test]
fn operations_nest_in_ones_own_guard_of_the_rlock() {
    let lock = RLock::new().unwrap();
    let value = DynValue::with_rlock(code('i'), 1, &lock).unwrap();
    let array = DynArray::with_rlock(code('i'), [1, 2], &lock).unwrap();
    let held = lock.lock().unwrap();
    value.set(2).unwrap();
    array.update(0, |n| *n = value.get()).unwrap();
    drop(held);
    assert_eq!(array.to_vec().unwrap(), [number(2), number(2)]);
    let plain = Lock::new().unwrap();
    let array = DynArray::with_lock(code('i'), [1, 2], &plain).unwrap();
    let _held = plain.lock().unwrap();
    assert!(matches!(array.get(0), Err(DynError::Lock(LockError::Deadlock))));
}

#[test]
fn a_dyn_value_is_a_value_and_the_other_way_round() {
    let double = DynValue::new(code('d'), 0.5).unwrap();
    receive_as::<_, Value<f64>>(double.clone(), |value| received(value).set(1.5).unwrap()).unwrap();
    assert_eq!(double.get(), number(1.5));
    let value = Value::new(7u16).unwrap();
    receive_as::<_, DynValue>(value.clone(), |value| {
        let value = received(value);
        assert_eq!((value.code(), value.get()), (TypeCode::UShort, Number::from(7)));
        value.set(8).unwrap();
    })
    .unwrap();
    assert_eq!(value.get(), 8);
    let array = Array::from_slice(&[WChar::from('x')]).unwrap();
    receive_as::<_, DynArray>(array.clone(), |array| received(array).set(0, 'y').unwrap()).unwrap();
    assert_eq!(char::try_from(array.get(0).unwrap()).unwrap(), 'y');
    let long = DynArray::from_numbers(code('l'), [1, 2]).unwrap();
    receive_as::<_, Array<i64>>(long.clone(), |array| received(array).fill(-1).unwrap()).unwrap();
    assert_eq!(long.to_vec().unwrap(), [number(-1); 2]);
}

#[test]
fn types_of_one_kind_and_size_are_the_same_and_others_are_named() {
    let long = || Value::new(CLong(1)).unwrap();
    receive_as::<_, Value<i64>>(long(), accept).unwrap();
    receive_as::<_, Value<CULong>>(Value::new(1u64).unwrap(), accept).unwrap();
    let refused = |outcome: Result<(), String>, message: &str| {
        let error = outcome.unwrap_err();
        assert!(error.contains(message), "{error}");
    };
    refused(receive_as::<_, Value<f64>>(long(), accept), "expected Value<f64>, found Value<CLong>");
    refused(receive_as::<_, Value<u64>>(long(), accept), "expected Value<u64>, found Value<CLong>");
    refused(receive_as::<_, Value<[u8; 8]>>(long(), accept), "expected Value<[u8; 8]>, found Value<CLong>");
    let byte = DynValue::new(code('c'), b'x').unwrap();
    refused(receive_as::<_, Value<u8>>(byte.clone(), accept), "expected Value<u8>, found Value<CChar>");
    receive_as::<_, Value<CChar>>(byte, accept).unwrap();
    let pair = Value::new([1.0, 2.0]).unwrap();
    refused(receive_as::<_, DynValue>(pair, accept), "expected elements of a type that has a code");
}

fn add_under_lock((lock, value, array): (Lock, DynValue, DynArray)) {
    for _ in 0..2_000 {
        value.update(|n| *n = number(n.as_integer().unwrap() + 1)).unwrap();
        let held = lock.lock().unwrap();
        // Whoever holds the lock sees both stand still.
        assert_eq!(value.get(), value.get());
        drop(held);
        array.update(1, |n| *n = number(n.as_integer().unwrap() + 1)).unwrap();
    }
}

#[test]
fn two_processes_count_exactly_under_one_lock_that_travels_along() {
    let lock = Lock::new().unwrap();
    let value = DynValue::with_lock(code('i'), 0, &lock).unwrap();
    let array = DynArray::with_lock(code('I'), [0, 0], &lock).unwrap();
    let child = Worker::spawn(add_under_lock, (lock.clone(), value.clone(), array.clone()));
    add_under_lock((lock, value.clone(), array.clone()));
    child.join();
    assert_eq!(value.get(), number(4_000));
    assert_eq!(array.to_vec().unwrap(), [number(0), number(4_000)]);
}
