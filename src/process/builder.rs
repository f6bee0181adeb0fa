//! [`ProcessBuilder`]: how a process is started.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entry::Entry;
use super::handle::Process;
use super::launch::launch;
use super::plan::Plan;
use super::start_method::StartMethod;
use crate::Result;
use crate::connection::AuthKey;
use crate::transfer::encode;

/// How a process is to be started.
///
/// # Examples
/// ```
/// use multiproc::Process;
/// let greet = |()| std::env::var("GREETING").unwrap_or_default();
/// let mut child = Process::builder().name("greeter").env("GREETING", "hello").spawn(greet, ())?;
/// assert_eq!(child.name(), "greeter");
/// assert_eq!(child.join()?, "hello");
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder starts nothing until `spawn` is called"]
pub struct ProcessBuilder {
    plan: Plan,
}

impl ProcessBuilder {
    pub(super) fn new() -> Self {
        Self { plan: Plan::default() }
    }

    /// Its name. Default `Process-1` and so on, and `Process-1:2` for the second child of that one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Process, current_process};
    /// let mut process = Process::builder().name("reader").spawn(|()| current_process().name().to_owned(), ())?;
    /// assert_eq!(process.name(), "reader");
    /// assert_eq!(process.join()?, "reader");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.plan.name = Some(name.into());
        self
    }

    /// Whether it ends with this process: by `SIGTERM` when this one ends normally, and by `SIGKILL` at once however it ends.
    /// It may not start processes itself. It lives on when merely the thread that started it ends. Default false: a normal
    /// end of this process waits for it.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Process, current_process};
    /// let mut process = Process::builder().daemon(true).spawn(|()| current_process().daemon(), ())?;
    /// assert!(process.join()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.plan.daemon = daemon;
        self
    }

    /// Lets it start processes although it is a daemon. They are to be daemons themselves, and so end with it.
    #[cfg(feature = "manager")]
    pub(crate) fn parent(mut self) -> Self {
        self.plan.is_parent = true;
        self
    }

    /// The key that it and its children have. Default: this process's.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{AuthKey, Process, current_process};
    /// let has_key = |key: Vec<u8>| current_process().authkey().is_ok_and(|own| own.as_bytes() == key);
    /// let builder = Process::builder().authkey(AuthKey::new(*b"secret"));
    /// assert!(builder.spawn(has_key, b"secret".to_vec())?.join()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn authkey(mut self, key: AuthKey) -> Self {
        self.plan.key = Some(key);
        self
    }

    /// Sets a variable of its environment, which is this process's otherwise.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Process;
    /// let mut process = Process::builder().env("DEPTH", "3").spawn(|()| std::env::var("DEPTH").ok(), ())?;
    /// assert_eq!(process.join()?.as_deref(), Some("3"));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.plan.environment.set(name.as_ref(), Some(value.as_ref()));
        self
    }

    /// Takes a variable out of its environment.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Process;
    /// let mut process = Process::builder().env_remove("PATH").spawn(|()| std::env::var("PATH").ok(), ())?;
    /// assert_eq!(process.join()?, None);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.plan.environment.set(name.as_ref(), None);
        self
    }

    /// Starts from an empty environment.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Process;
    /// let builder = Process::builder().env_clear().env("ONLY", "this");
    /// assert_eq!(builder.spawn(|()| std::env::vars().count(), ())?.join()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn env_clear(mut self) -> Self {
        self.plan.environment.clear();
        self
    }

    /// Its working directory. Default: this process's.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Process;
    /// let mut process = Process::builder().current_dir("/").spawn(|()| std::env::current_dir().ok(), ())?;
    /// assert_eq!(process.join()?, Some("/".into()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.plan.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Its standard input: a file, or the reading end of a pipe. Default `/dev/null`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Process;
    /// use std::io::{Read, Write};
    /// let (reader, mut writer) = std::io::pipe().map_err(|error| multiproc::Error::Encode(error.to_string()))?;
    /// let read = |()| {
    ///     let mut text = String::new();
    ///     std::io::stdin().read_to_string(&mut text).map(|_| text).unwrap_or_default()
    /// };
    /// let mut child = Process::builder().stdin(reader).spawn(read, ())?;
    /// writer.write_all(b"typed").ok();
    /// drop(writer);
    /// assert_eq!(child.join()?, "typed");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn stdin(mut self, file: impl Into<OwnedFd>) -> Self {
        self.plan.stdin = Some(file.into());
        self
    }

    /// Its standard output: a file, or the writing end of a pipe. Default: this process's.
    ///
    /// # Examples
    /// ```
    /// use std::io::Read;
    /// use multiproc::Process;
    /// let (mut reader, writer) = std::io::pipe().expect("descriptors are left");
    /// Process::builder().stdout(writer).spawn(|()| println!("hello"), ())?.join()?;
    /// let mut said = String::new();
    /// reader.read_to_string(&mut said).expect("it can be read");
    /// assert_eq!(said, "hello\n");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn stdout(mut self, file: impl Into<OwnedFd>) -> Self {
        self.plan.stdout = Some(file.into());
        self
    }

    /// Its standard error: a file, or the writing end of a pipe. Default: this process's.
    ///
    /// # Examples
    /// ```
    /// use std::io::Read;
    /// use multiproc::Process;
    /// let (mut reader, writer) = std::io::pipe().expect("descriptors are left");
    /// Process::builder().stderr(writer).spawn(|()| eprintln!("careful"), ())?.join()?;
    /// let mut said = String::new();
    /// reader.read_to_string(&mut said).expect("it can be read");
    /// assert_eq!(said, "careful\n");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn stderr(mut self, file: impl Into<OwnedFd>) -> Self {
        self.plan.stderr = Some(file.into());
        self
    }

    /// Puts it in a process group of its own, so that the terminal's interrupts don't reach it.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Process;
    /// let group = |()| rustix::process::getpgrp().as_raw_nonzero().get().cast_unsigned();
    /// let mut process = Process::builder().process_group().spawn(group, ())?;
    /// assert_eq!(process.join()?, process.pid());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn process_group(mut self) -> Self {
        self.plan.own_group = true;
        self
    }

    /// How it comes to be. Default [`StartMethod::Spawn`].
    ///
    /// With [`StartMethod::Zygote`] it is a copy of a helper that this executable is started for at the first such process.
    /// The helper has one thread, runs constructors and nothing else of the program, and ends with this process, however
    /// that ends. What differs from `Spawn`:
    /// - Constructors have run once, in the helper: what they set up, its copies share or have copies of (a descriptor, a
    ///   buffer, a random state). Functions given to `pthread_atfork` there are not called. Constructors that start threads
    ///   are an error.
    /// - Signals aside, what a process inherits beyond the builder's settings, the environment, the directory, the
    ///   streams, the process group and the file mode mask, is as when the helper started: nice value, affinity,
    ///   cgroup. Where the calling thread has another identity than the helper (ids, groups, capabilities, sandboxes,
    ///   namespaces, session, limits of resources, ignored signals), there is a new helper.
    ///
    /// A process is this process's child in either case; it is waited for, signalled and reported alike, whether the
    /// helper lives or not.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Process, StartMethod};
    /// let start = |n: u32| Process::builder().start_method(StartMethod::Zygote).spawn(|n: u32| n * n, n);
    /// let mut children = (0..4).map(start).collect::<Result<Vec<_>, _>>()?;
    /// let squares = children.iter_mut().map(|child| child.join()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.plan.method = method;
        self
    }

    /// Starts the process, which calls `f` with `args`.
    ///
    /// # Errors
    /// Those of [`Process::spawn`].
    ///
    /// # Process death
    /// As [`Process::spawn`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::Process;
    /// let mut process = Process::builder().name("adder").spawn(|(a, b): (u32, u32)| a + b, (1, 2))?;
    /// assert_eq!(process.join()?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn spawn<A, R>(self, f: fn(A) -> R, args: A) -> Result<Process<R>>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        Ok(Process::new(launch(self.plan, Entry::new(f), encode(&args)?)?))
    }
}
