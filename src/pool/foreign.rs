//! [`Job`]: calls of a function in a pool that is another process's, which runs the same program.
#![allow(unsafe_code)]

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::runner::{Results, Runner};
use crate::TaskError;
use crate::task::Outcomes;
use crate::transfer::{Decoder, Encoder};

/// Calls of a function with so many arguments, one after the other.
///
/// Who decodes one has made sure that it comes from a process of the same program.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    wrapper: u32,
    function: u32,
    items: u32,
    arguments: Vec<u8>,
}

impl Job {
    /// # Errors
    /// [`TaskError::Encode`]: the arguments can't be encoded, or hold handles; or the function lies in a shared library.
    pub(crate) fn new<A, R>(f: fn(A) -> R, arguments: &[A]) -> Result<Self, TaskError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize,
    {
        let refused = |error: crate::Error| TaskError::Encode(error.into_reason());
        let Runner { wrapper, function } = Runner::new(f).map_err(refused)?;
        let mut encoder = Encoder::default();
        for argument in arguments {
            encoder.push(argument).map_err(refused)?;
        }
        let items = u32::try_from(arguments.len())
            .map_err(|_| TaskError::InvalidOption("more arguments than a job has".to_owned()))?;
        match encoder.into_parts() {
            (arguments, fds) if fds.is_empty() => Ok(Self { wrapper, function, items, arguments }),
            _ => Err(TaskError::Encode(crate::Error::NotInTransfer.to_string())),
        }
    }

    /// Makes the calls; what came of them, for [`outcomes`].
    pub(crate) fn run(self) -> Vec<u8> {
        let runner = Runner { wrapper: self.wrapper, function: self.function };
        let mut input = Decoder::new(&self.arguments, Vec::new());
        let mut output = Encoder::default();
        // SAFETY: `Job::new` took it from `Runner::new`, in a process that runs the same image: see the type.
        let _ = unsafe { runner.run(self.items, &mut input, &mut output) };
        output.into_parts().0
    }
}

/// What came of a job's calls.
pub(crate) fn outcomes<R: DeserializeOwned>(bytes: &[u8], items: usize) -> Vec<Result<R, TaskError>> {
    let mut results = Results::new(Decoder::new(bytes, Vec::new()));
    (0..items).map(|_| results.next()).collect()
}
