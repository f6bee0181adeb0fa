//! [`StartMethod`]: where the memory of a new process comes from.

/// How a process comes to be. See [`ProcessBuilder::start_method`](crate::ProcessBuilder::start_method).
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
