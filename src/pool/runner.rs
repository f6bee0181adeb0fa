//! [`Function`] and [`Runner`]: what a worker calls, in a form that travels.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::transmute;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::message::ITEM_FAILED;
use crate::process::{Failure, Image, failure_of};
use crate::task::{Outcomes, TaskError, missing};
use crate::transfer::{Decoder, Encoder};
use crate::{Error, Result};

/// Decodes the arguments of so many items, calls the function with each, encodes what comes of it. Unsafe: the address must
/// be that of the function type that the wrapper was made for.
type Wrapper = unsafe fn(usize, u32, &mut Decoder<'_>, &mut Encoder);

/// A function and the wrapper made for its type, as distances from the image's load address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runner {
    pub(super) wrapper: u32,
    pub(super) function: u32,
}

impl Runner {
    /// # Errors
    /// [`Error::Unsupported`]: the code lies in a shared library, which a worker may load elsewhere or not at all.
    pub(super) fn new<A: DeserializeOwned, R: Serialize>(function: fn(A) -> R) -> Result<Self> {
        let wrapper: Wrapper = run::<A, R>;
        Ok(Self { wrapper: offset_of(wrapper as usize)?, function: offset_of(function as usize)? })
    }

    /// Runs so many items. `false` if the addresses are not in the image's code.
    ///
    /// # Safety
    /// The distances were made by [`Runner::new`] in a process that runs the same image.
    pub(super) unsafe fn run(self, items: u32, input: &mut Decoder<'_>, output: &mut Encoder) -> bool {
        let image = Image::main();
        let addresses = (image.code_at(u64::from(self.wrapper)), image.code_at(u64::from(self.function)));
        let (Some(wrapper), Some(function)) = addresses else { return false };
        // SAFETY: at this distance from the load address lies a `run::<A, R>` in the pool's process, hence here.
        let wrapper = unsafe { transmute::<usize, Wrapper>(wrapper) };
        // SAFETY: `new` took the function's distance with that of the wrapper of its type.
        unsafe { wrapper(function, items, input, output) };
        true
    }
}

/// Where in the image code lies.
fn offset_of(address: usize) -> Result<u32> {
    let offset = Image::main().code_offset_of(address).and_then(|offset| u32::try_from(offset).ok());
    offset
        .ok_or_else(|| Error::Unsupported { what: "a task's function outside of the main executable".into() })
}

/// # Safety
/// `function` is the address of an `fn(A) -> R`.
unsafe fn run<A: DeserializeOwned, R: Serialize>(
    function: usize,
    items: u32,
    input: &mut Decoder<'_>,
    output: &mut Encoder,
) {
    // SAFETY: the caller's promise.
    let function = unsafe { transmute::<usize, fn(A) -> R>(function) };
    let mut done = 0;
    while done < items {
        // One item after the other, until one fails: after that again.
        let (run, first) = (output.bytes().len(), done);
        output.push_word(0);
        let mut start = output.bytes().len();
        let all = catch_unwind(AssertUnwindSafe(|| {
            while done < items {
                start = output.bytes().len();
                let arguments = input.next::<A>().map_err(|error| Failure::Arguments(error.into_reason()))?;
                let result = function(arguments);
                output.push(&result).map_err(|error| Failure::Encode(error.into_reason()))?;
                done += 1;
            }
            Ok(())
        }));
        output.set_word(run, u64::from(done - first));
        if let Err(failure) = all.unwrap_or_else(|payload| Err(failure_of(&*payload))) {
            let start = if done == first { run } else { start };
            output.truncate(start);
            output.push_word(ITEM_FAILED);
            if output.push(&failure).is_err() {
                // Texts can be encoded.
                output.truncate(start);
            }
            done += 1;
        }
    }
}

/// A function, which travels to a process of the same program.
pub(crate) struct Function<A, R> {
    function: fn(A) -> R,
}

impl<A, R> Function<A, R> {
    pub(crate) fn new(function: fn(A) -> R) -> Self {
        Self { function }
    }

    pub(crate) fn call(&self, arguments: A) -> R {
        (self.function)(arguments)
    }
}

impl<A, R> Clone for Function<A, R> {
    fn clone(&self) -> Self {
        Self { function: self.function }
    }
}

impl<A, R> Serialize for Function<A, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let offset = offset_of(self.function as usize).map_err(serde::ser::Error::custom)?;
        serializer.serialize_u32(offset)
    }
}

impl<'de, A, R> Deserialize<'de> for Function<A, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let offset = u32::deserialize(deserializer)?;
        let address = Image::main().code_at(u64::from(offset));
        let address = address.ok_or_else(|| D::Error::custom("a function outside of the program's code"))?;
        // SAFETY: it is deserialised in the arguments of a pool's worker and of a manager's server only, which come from the
        // process that started it from the same image and serialised a function of this type there: their own functions are of
        // one type.
        let function = unsafe { transmute::<usize, fn(A) -> R>(address) };
        Ok(Self { function })
    }
}

/// Results of `R`, as [`Runner::run`] encodes them.
pub(super) struct Results<'a, R> {
    decoder: Decoder<'a>,
    /// Of the run.
    left: u64,
    results: PhantomData<R>,
}

impl<'a, R: DeserializeOwned> Results<'a, R> {
    #[inline]
    pub(super) fn new(decoder: Decoder<'a>) -> Self {
        Self { decoder, left: 0, results: PhantomData }
    }

    pub(super) fn none() -> Self {
        Self::new(Decoder::new(&[], Vec::new()))
    }

    /// Goes to the next run if this one is at its end.
    ///
    /// # Errors
    /// The next item has failed, and is passed by.
    #[inline]
    fn enter_run(&mut self) -> Result<(), TaskError> {
        if self.left > 0 {
            return Ok(());
        }
        match self.decoder.next_word() {
            None | Some(0) => Err(missing()),
            Some(ITEM_FAILED) => Err(self.decoder.next().map_or_else(undecoded, super::message::error_of)),
            Some(results) => {
                self.left = results;
                Ok(())
            }
        }
    }

    fn decode(&mut self) -> Result<R, TaskError> {
        self.enter_run()?;
        self.left -= 1;
        self.decoder.next().map_err(undecoded)
    }

    fn decode_many(&mut self, items: usize, results: &mut Vec<R>) -> Result<(), TaskError> {
        let mut missing = items;
        while missing > 0 {
            self.enter_run()?;
            let run = missing.min(usize::try_from(self.left).unwrap_or(usize::MAX));
            for _ in 0..run {
                results.push(self.decoder.next().map_err(undecoded)?);
            }
            missing -= run;
            self.left -= run as u64;
        }
        Ok(())
    }
}

impl<R: DeserializeOwned> Outcomes<R> for Results<'_, R> {
    fn next(&mut self) -> Result<R, TaskError> {
        unless_panicked(|| self.decode())
    }

    fn next_many(&mut self, items: usize, results: &mut Vec<R>) -> Result<(), TaskError> {
        unless_panicked(|| self.decode_many(items, results))
    }
}

#[cold]
fn undecoded(error: Error) -> TaskError {
    TaskError::Decode(error.into_reason())
}

/// A value's own `Deserialize` may panic.
fn unless_panicked<T>(decode: impl FnOnce() -> Result<T, TaskError>) -> Result<T, TaskError> {
    let panicked = |_| Err(TaskError::Decode("decoding the result panicked".to_owned()));
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(panicked)
}
