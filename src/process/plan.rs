//! [`Plan`]: what a process is to be like, before it is started.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::start_method::StartMethod;
use crate::connection::AuthKey;

/// What a process is to be like. Whatever is `None` is this process's.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) method: StartMethod,
    pub(super) name: Option<String>,
    pub(super) daemon: bool,
    /// Whether it may start processes although it is a daemon.
    pub(super) is_parent: bool,
    pub(super) key: Option<AuthKey>,
    pub(super) environment: Changes,
    pub(super) directory: Option<PathBuf>,
    /// `None`: `/dev/null`.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    pub(super) own_group: bool,
}

/// How an environment differs from this process's.
#[derive(Debug, Default)]
pub(super) struct Changes {
    clear: bool,
    /// `None`: not there.
    variables: BTreeMap<OsString, Option<OsString>>,
}

impl Changes {
    pub(super) fn set(&mut self, name: &OsStr, value: Option<&OsStr>) {
        self.variables.insert(name.to_owned(), value.map(OsStr::to_owned));
    }

    pub(super) fn clear(&mut self) {
        *self = Self { clear: true, variables: BTreeMap::new() };
    }

    /// The variables of this process, changed.
    pub(super) fn apply(&self) -> impl Iterator<Item = (OsString, OsString)> {
        let inherited = (!self.clear).then(std::env::vars_os).into_iter().flatten();
        let kept = inherited.filter(|(name, _)| !self.variables.contains_key(name));
        let set = |(name, value): (&OsString, &Option<OsString>)| Some((name.clone(), value.clone()?));
        kept.chain(self.variables.iter().filter_map(set))
    }
}

impl Plan {
    /// What starts this executable according to the plan, with the same arguments. Takes the output streams.
    pub(super) fn command(&mut self) -> Command {
        let mut command = Command::new("/proc/self/exe");
        let mut arguments = std::env::args_os();
        command.arg0(arguments.next().unwrap_or_else(|| OsString::from("multiproc"))).args(arguments);
        if self.environment.clear {
            command.env_clear();
        }
        for (name, value) in &self.environment.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        if let Some(file) = self.stdout.take() {
            command.stdout(Stdio::from(file));
        }
        if let Some(file) = self.stderr.take() {
            command.stderr(Stdio::from(file));
        }
        if self.own_group {
            command.process_group(0);
        }
        command
    }
}
