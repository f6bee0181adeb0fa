//! [`StartMethod`]: where the memory of a new process comes from.

/// How a process comes to be. See [`ProcessBuilder::start_method`](crate::ProcessBuilder::start_method).
///
/// # Examples
/// ```
/// use multiproc::{Process, StartMethod};
/// let mut process = Process::builder().start_method(StartMethod::Zygote).spawn(|n: u32| n + 1, 41)?;
/// assert_eq!(process.join()?, 42);
/// assert_eq!(StartMethod::default(), StartMethod::Spawn);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// This executable is started anew for each process.
    #[default]
    Spawn,
    /// This executable is started once more, and that helper, which has one thread and none of this process's memory, is
    /// copied for each process: some times as fast.
    #[doc(alias = "forkserver")]
    Zygote,
}
