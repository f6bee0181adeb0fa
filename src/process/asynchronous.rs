//! [`Process::wait`]: joining from a task of tokio's.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::task::Poll;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::error::ProcessError;
use super::handle::Process;
use crate::Error;
use crate::sys::pidfd::Status;
use crate::sys::registered::register;

impl<R: Serialize + DeserializeOwned> Process<R> {
    /// As [`join`](Self::join), in a task of tokio's; feature `tokio`. Dropped before it is ready, it has taken nothing.
    ///
    /// # Errors
    /// As `join`.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without `enable_io`.
    ///
    /// # Process death
    /// As `join`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Process;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime").block_on(async {
    /// let mut process = Process::spawn(|n: u64| n * n, 9)?;
    /// assert_eq!(process.wait().await?, 81);
    /// # Ok::<(), multiproc::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn wait(&mut self) -> Result<R, ProcessError> {
        let failed = |error: io::Error| ProcessError::Wait(Error::os("wait for a process", error));
        // That it has ended, and what it sends: it may have to wait until that is read.
        let fds = self.child().fds().map(|fd| register(fd, Interest::READABLE));
        let [sentinel, socket] = fds;
        let fds = [sentinel.map_err(failed)?, socket.map_err(failed)?];
        while self.child().status() == Status::Running {
            ready(&fds).await.map_err(failed)?;
        }
        self.join()
    }
}

/// Waits until one of them has become ready since the last time.
async fn ready(fds: &[AsyncFd<OwnedFd>]) -> io::Result<()> {
    poll_fn(|context| {
        let mut any = Poll::Pending;
        for fd in fds {
            if let Poll::Ready(guard) = fd.poll_read_ready(context) {
                // What has come is looked at after this.
                guard?.clear_ready();
                any = Poll::Ready(Ok(()));
            }
        }
        any
    })
    .await
}
