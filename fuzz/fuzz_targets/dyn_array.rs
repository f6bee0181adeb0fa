//! Operations on a `DynArray` against a vector and C's rules for numbers.
#![no_main]

use std::ops::Range;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use multiproc::{DynArray, Number, TypeCode};

const CODES: [char; 14] = ['c', 'b', 'B', 'u', 'h', 'H', 'i', 'I', 'l', 'L', 'q', 'Q', 'f', 'd'];
const MOST: usize = 64;
const MOST_OPERATIONS: usize = 64;

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Given {
    Small(i8),
    Signed(i64),
    Unsigned(u64),
    Wide(i128),
    Float(f64),
    Single(f32),
    Char(char),
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Get(u8),
    Set(u8, Given),
    WrappingSet(u8, Given),
    Update(u8, Given),
    Read(u8, u8),
    Write(u8, u8, Vec<Given>),
    Fill(Given),
    Guard(u8, Given),
    All,
}

#[derive(Arbitrary, Debug)]
struct Story {
    code: u8,
    first: Vec<Given>,
    wrapping: bool,
    then: Vec<Operation>,
}

impl Given {
    fn number(self) -> Number {
        match self {
            Self::Small(small) => small.into(),
            Self::Signed(signed) => signed.into(),
            Self::Unsigned(unsigned) => unsigned.into(),
            Self::Wide(wide) => wide.into(),
            Self::Float(float) => float.into(),
            Self::Single(single) => single.into(),
            Self::Char(character) => character.into(),
        }
    }

    /// What an element of type `code` is after it was set to this; `None` if it can't be.
    fn stored(self, code: char, wrapping: bool) -> Option<Number> {
        let number = self.number();
        match (code, number) {
            ('c', Number::Integer(integer)) => u8::try_from(integer).ok().map(Number::from),
            ('c', Number::Char(character)) if character.is_ascii() => Some(u32::from(character).into()),
            ('u', Number::Char(character)) => Some(character.into()),
            ('u', Number::Integer(integer)) => {
                u32::try_from(integer).ok().and_then(char::from_u32).map(Number::from)
            }
            ('c' | 'u', _) | (_, Number::Char(_)) => None,
            ('f', Number::Integer(integer)) => single(integer as f64, wrapping),
            ('f', Number::Float(float)) => single(float, wrapping),
            ('d', Number::Integer(integer)) => Some((integer as f64).into()),
            ('d', Number::Float(float)) => Some(float.into()),
            (_, Number::Float(float)) => {
                let integer = (float.trunc() == float && float.abs() < 1e20).then_some(float as i128)?;
                (wrapped(integer, code) == integer).then_some(integer.into())
            }
            (_, Number::Integer(integer)) => {
                let kept = wrapped(integer, code);
                (wrapping || kept == integer).then_some(kept.into())
            }
            other => unreachable!("{other:?}"),
        }
    }
}

fn single(float: f64, wrapping: bool) -> Option<Number> {
    let single = float as f32;
    (wrapping || single.is_finite() || !float.is_finite()).then_some(single.into())
}

fn wrapped(integer: i128, code: char) -> i128 {
    match code {
        'b' => (integer as i8).into(),
        'B' => (integer as u8).into(),
        'h' => (integer as i16).into(),
        'H' => (integer as u16).into(),
        'i' => (integer as i32).into(),
        'I' => (integer as u32).into(),
        'l' | 'q' => (integer as i64).into(),
        _ => (integer as u64).into(),
    }
}

/// Equal, or both not a number.
fn alike(one: &[Number], other: &[Number]) -> bool {
    let bits = |number: &Number| match *number {
        Number::Float(float) if float.is_nan() => "NaN".to_owned(),
        number => format!("{number:?}"),
    };
    one.iter().map(bits).eq(other.iter().map(bits))
}

/// All of them as they are stored, or nothing if one can't be.
fn all_stored(given: &[Given], code: char, wrapping: bool) -> Option<Vec<Number>> {
    given.iter().map(|given| given.stored(code, wrapping)).collect()
}

fn numbers(given: &[Given]) -> Vec<Number> {
    given.iter().map(|given| given.number()).collect()
}

/// Makes the same change to both; the array refuses where the vector has no such element, or the type no such number.
fn operate(array: &DynArray, model: &mut [Number], code: char, operation: &Operation) {
    let mut put = |index: &u8, stored: Option<Number>| match (model.get_mut(usize::from(*index)), stored) {
        (Some(element), Some(stored)) => {
            *element = stored;
            true
        }
        _ => false,
    };
    match operation {
        Operation::Get(index) => {
            let found = array.get((*index).into());
            let expected = model.get(usize::from(*index));
            assert_eq!(found.is_ok(), expected.is_some());
            assert!(found.ok().zip(expected).is_none_or(|(found, expected)| alike(&[found], &[*expected])));
        }
        Operation::Set(index, given) => {
            let done = put(index, given.stored(code, false));
            assert_eq!(array.set((*index).into(), given.number()).is_ok(), done);
        }
        Operation::WrappingSet(index, given) => {
            let done = put(index, given.stored(code, true));
            assert_eq!(array.wrapping_set((*index).into(), given.number()).is_ok(), done);
        }
        Operation::Update(index, given) => {
            let done = put(index, given.stored(code, false));
            let updated = array.update((*index).into(), |number| *number = given.number());
            assert_eq!(updated.is_ok(), done);
        }
        Operation::Read(start, end) => {
            let range = usize::from(*start)..usize::from(*end);
            let (found, expected) = (array.read(range.clone()), model.get(range));
            assert_eq!(found.is_ok(), expected.is_some());
            assert!(found.ok().zip(expected).is_none_or(|(found, expected)| alike(&found, expected)));
        }
        Operation::Write(start, end, given) => {
            let range: Range<usize> = (*start).into()..(*end).into();
            let done = match (model.get_mut(range.clone()), all_stored(given, code, false)) {
                (Some(elements), Some(stored)) if elements.len() == stored.len() => {
                    elements.copy_from_slice(&stored);
                    true
                }
                _ => false,
            };
            assert_eq!(array.write(range, numbers(given)).is_ok(), done);
        }
        Operation::Fill(given) => {
            let stored = given.stored(code, false);
            // Nothing is converted where there is no element.
            assert_eq!(array.fill(given.number()).is_ok(), stored.is_some() || model.is_empty());
            stored.into_iter().for_each(|stored| model.fill(stored));
        }
        Operation::Guard(index, given) => {
            let done = put(index, given.stored(code, false));
            let mut guard = array.lock().expect("nobody else has it");
            assert_eq!(guard.set((*index).into(), given.number()).is_ok(), done);
            assert!(array.try_lock().is_err(), "this thread holds the lock");
            assert!(alike(&guard.iter().collect::<Vec<_>>(), model));
        }
        Operation::All => {
            let all: Result<Vec<_>, _> = array.iter().collect();
            assert!(alike(&all.expect("all elements"), model));
        }
    }
}

fuzz_target!(|story: Story| {
    let code = CODES[usize::from(story.code) % CODES.len()];
    let Ok(type_code) = TypeCode::try_from(code) else { panic!("there is a type {code:?}") };
    let first = &story.first[..story.first.len().min(MOST)];
    let given = numbers(first);
    let made = match story.wrapping {
        true => DynArray::wrapping_from_numbers(type_code, given),
        false => DynArray::from_numbers(type_code, given),
    };
    let stored = all_stored(first, code, story.wrapping);
    assert_eq!(made.is_ok(), stored.is_some());
    let (Ok(array), Some(mut model)) = (made, stored) else { return };
    assert_eq!((array.len(), array.code()), (model.len(), type_code));
    for operation in story.then.iter().take(MOST_OPERATIONS) {
        operate(&array, &mut model, code, operation);
    }
    assert!(alike(&array.to_vec().expect("all elements"), &model));
});
