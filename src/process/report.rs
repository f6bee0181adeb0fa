//! What travels on the socket between a process and its child.

use serde::{Deserialize, Serialize};

use super::error::ProcessError;
use super::setting::Setting;
use crate::connection::AuthKey;
use crate::transfer::Message;

/// The longest message in either direction.
pub(super) const MAX_MESSAGE: u64 = 1 << 40;

/// Frame, to a new process: a [`Start`].
pub(super) const START: u32 = 0x4d50_0001;
/// Frame: the arguments.
pub(super) const ARGUMENTS: u32 = 0x4d50_0002;
/// Frame: the function's result.
pub(super) const RESULT: u32 = 0x4d50_0003;
/// Frame: a [`Failure`].
pub(super) const FAILURE: u32 = 0x4d50_0004;
/// Frame, to a new process instead of a `Start`: it is to be a zygote, in the environment that comes with this.
pub(super) const SERVE: u32 = 0x4d50_0005;
/// Frame, to a zygote: it is to copy itself; with it comes the socket of the copy.
pub(super) const COPY: u32 = 0x4d50_0006;
/// Frame, from a zygote on the socket of a copy, or from the copy: the copy's number; its descriptor comes with it.
pub(super) const COPIED: u32 = 0x4d50_0007;
/// Frame, from a zygote on the socket of the copy that was wanted: why there is none, an `errno`; 0 if it has threads.
pub(super) const REFUSED: u32 = 0x4d50_0008;
/// Frame, to a copy whose zygote has ended: it is to say who it is.
pub(super) const WHO: u32 = 0x4d50_0009;

/// What a child is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    /// The name of the process.
    pub(super) name: String,
    /// The numbers of its ancestors and its own.
    pub(super) number: String,
    /// The name of its parent.
    pub(super) parent_name: String,
    /// Whether it ends with its parent: then a lifeline comes with this.
    pub(super) daemon: bool,
    /// Whether it may start processes although it is a daemon.
    pub(super) is_parent: bool,
    /// Whether its standard input comes with this, behind the lifeline.
    pub(super) has_stdin: bool,
    /// Of the copy of a zygote; with descriptors, behind the others.
    pub(super) setting: Option<Setting>,
    pub(super) key: AuthKey,
    /// Where in the image the typed wrapper lies.
    pub(super) runner: u64,
    /// Where in the image the function lies.
    pub(super) function: u64,
}

/// Why a child has no result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// The function panicked.
    Panicked { message: String, location: Option<String>, backtrace: Option<String> },
    /// The arguments were not decoded.
    Arguments(String),
    /// The result was not encoded.
    Encode(String),
}

impl From<Failure> for ProcessError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Panicked { message, location, backtrace } => {
                Self::Panicked { message, location, backtrace }
            }
            Failure::Arguments(why) => Self::Arguments(why),
            Failure::Encode(why) => Self::Encode(why),
        }
    }
}

/// What came back from a child.
#[derive(Debug)]
pub(super) enum Report {
    /// The function's result, still encoded.
    Returned(Message),
    /// No result, and why.
    Failed(Failure),
    /// Something that can't be read.
    Unreadable(crate::Error),
    /// The report was handed out.
    Taken,
}
