//! [`Entry`]: which function a child calls, in a form that travels.
#![allow(unsafe_code)]

use std::mem::transmute;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::image::Image;
use super::report::{Failure, Start};
use crate::transfer::{Message, decode, encode};
use crate::{Error, Result};

/// Decodes the arguments, calls the function, encodes its result. Unsafe: the address must be that of the function
/// type that the wrapper was made for.
type Runner = unsafe fn(usize, Message) -> Result<Message, Failure>;

/// A function and the wrapper made for its type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    // Invariant: `function` is the address of an `fn(A) -> R`, `runner` is `run::<A, R>` for the same A and R.
    runner: Runner,
    function: usize,
}

impl Entry {
    pub(super) fn new<A: DeserializeOwned, R: Serialize>(function: fn(A) -> R) -> Self {
        Self { runner: run::<A, R>, function: function as usize }
    }

    /// Where in the image the wrapper and the function lie.
    ///
    /// # Errors
    /// [`Error::Unsupported`]: the code lies in a shared library, which the child may load elsewhere or not at all.
    pub(super) fn offsets(self) -> Result<(u64, u64)> {
        let offset = |address: usize| {
            Image::main().code_offset_of(address).ok_or_else(|| Error::Unsupported {
                what: "spawning a function outside of the main executable".into(),
            })
        };
        Ok((offset(self.runner as usize)?, offset(self.function)?))
    }

    /// The entry that the parent described; `None` when it isn't in this image's code.
    ///
    /// # Safety
    /// The offsets in `start` were made by [`Entry::offsets`] in a process that runs the same image.
    pub(super) unsafe fn resolve(start: &Start) -> Option<Self> {
        let runner = Image::main().code_at(start.runner)?;
        let function = Image::main().code_at(start.function)?;
        // SAFETY: at this distance from the load address lies a `run::<A, R>` in the parent (see `offsets`), hence here.
        let runner = unsafe { transmute::<usize, Runner>(runner) };
        Some(Self { runner, function })
    }

    /// Calls the function in this process.
    ///
    /// # Errors
    /// The arguments or the result do not travel.
    pub(super) fn run(self, arguments: Message) -> Result<Message, Failure> {
        // SAFETY: the invariant of `Entry`.
        unsafe { (self.runner)(self.function, arguments) }
    }
}

/// # Safety
/// `function` is the address of an `fn(A) -> R`.
unsafe fn run<A: DeserializeOwned, R: Serialize>(
    function: usize,
    arguments: Message,
) -> Result<Message, Failure> {
    // SAFETY: the caller's promise.
    let function = unsafe { transmute::<usize, fn(A) -> R>(function) };
    let arguments = decode::<A>(arguments).map_err(|error| Failure::Arguments(error.to_string()))?;
    let result = function(arguments);
    encode(&result).map_err(|error| Failure::Encode(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_outside_of_the_main_executable_is_refused() {
        let own = Entry::new::<u8, u8>(|n| n);
        assert!(own.offsets().is_ok());
        // In a shared library, where a child may not find it; and in no code at all.
        for elsewhere in [libc::getppid as *const () as usize, &raw const own as usize, 0] {
            let refused = Entry { function: elsewhere, ..own }.offsets();
            assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
        }
    }
}
