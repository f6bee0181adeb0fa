//! [`AsyncConnection`]: a connection whose operations are futures of tokio's.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Mutex, MutexGuard};

use super::connection::Connection;
use super::error::ConnectionError;
use super::head::Kind;
use super::patience::Patience;
use super::stream::Outgoing;
use crate::sys::registered::register;
use crate::transfer::{Message, encode};
use crate::{Error, Result};

/// A [`Connection`] whose operations are futures of tokio's; feature `tokio`.
///
/// Any number of tasks may send and receive at once. `tokio::time::timeout` limits any operation: a receiver that is
/// dropped has taken nothing, a sender that is dropped has sent the message or nothing. Only over a network (TCP)
/// dropping a sender in the middle of its message ends the connection, as [`ConnectionError::PartlySent`] does; and such a
/// connection is used by one process alone while it is used so.
///
/// # Process death
/// As for a [`Connection`].
///
/// # Examples
/// ```
/// use multiproc::{Connection, Process, pipe};
///
/// # tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime").block_on(async {
/// let (here, there) = pipe()?;
/// let mut process = Process::spawn(|end: Connection| end.send(&(end.recv::<u64>().unwrap() + 1)).unwrap(), there)?;
/// let here = here.into_async()?;
/// here.send(&41_u64).await?;
/// assert_eq!(here.recv::<u64>().await?, 42);
/// process.wait().await?;
/// # Ok::<(), multiproc::Error>(())
/// # }).unwrap();
/// ```
pub struct AsyncConnection {
    connection: Connection,
    /// A descriptor of its own, so that several of one end can be registered.
    registered: AsyncFd<OwnedFd>,
    /// Who sends by a stream, from a message's first byte to its last.
    sending: Mutex<()>,
    /// Who receives by a stream.
    receiving: Mutex<()>,
}

impl Connection {
    /// This end, for use by tasks of tokio's; feature `tokio`.
    ///
    /// # Errors
    /// [`Error::TooManyFiles`], [`Error::Os`].
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without `enable_io`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::pipe;
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    /// runtime.block_on(async {
    ///     let (ours, theirs) = pipe()?;
    ///     theirs.send(&7)?;
    ///     assert_eq!(ours.into_async()?.recv::<i32>().await?, 7);
    ///     Ok::<(), multiproc::Error>(())
    /// })?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn into_async(self) -> Result<AsyncConnection> {
        let registered = register(self.as_fd(), Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| Error::os("register a connection", error))?;
        Ok(AsyncConnection {
            connection: self,
            registered,
            sending: Mutex::new(()),
            receiving: Mutex::new(()),
        })
    }
}

impl AsyncConnection {
    /// The connection, for use without tokio.
    ///
    /// # Examples
    /// ```
    /// use multiproc::pipe;
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    /// runtime.block_on(async {
    ///     let (ours, theirs) = pipe()?;
    ///     let ours = ours.into_async()?.into_inner();
    ///     theirs.send(&7)?;
    ///     assert_eq!(ours.recv::<i32>()?, 7);
    ///     Ok::<(), multiproc::Error>(())
    /// })?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn into_inner(self) -> Connection {
        self.connection
    }

    /// As [`Connection::send`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Process death
    /// As there.
    ///
    /// # Examples
    /// ```
    /// use multiproc::pipe;
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    /// runtime.block_on(async {
    ///     let (ours, theirs) = pipe()?;
    ///     let ours = ours.into_async()?;
    ///     ours.send(&7).await?;
    ///     assert_eq!(theirs.recv::<i32>()?, 7);
    ///     Ok::<(), multiproc::Error>(())
    /// })?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub async fn send<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), ConnectionError> {
        let message = encode(value).map_err(ConnectionError::Encode)?;
        self.send_message(Kind::Value, &message).await
    }

    /// As [`Connection::send_bytes`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Process death
    /// As there.
    ///
    /// # Examples
    /// ```
    /// use multiproc::pipe;
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    /// runtime.block_on(async {
    ///     let (ours, theirs) = pipe()?;
    ///     let ours = ours.into_async()?;
    ///     ours.send_bytes(b"hello").await?;
    ///     assert_eq!(theirs.recv_bytes()?, b"hello");
    ///     Ok::<(), multiproc::Error>(())
    /// })?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub async fn send_bytes(&self, bytes: &[u8]) -> Result<(), ConnectionError> {
        match self.connection.stream() {
            None => self.when_writable(|| self.connection.try_send_bytes(bytes)).await,
            Some(_) => self.stream_bytes(Kind::Bytes, bytes).await,
        }
    }

    async fn send_message(&self, kind: Kind, message: &Message) -> Result<(), ConnectionError> {
        let Message { bytes, fds } = message;
        match self.connection.stream() {
            Some(_) if !fds.is_empty() => Err(ConnectionError::NoDescriptors),
            Some(_) => self.stream_bytes(kind, bytes).await,
            None => {
                let send = || self.connection.send_message(kind, bytes, fds, Patience::Never);
                self.when_writable(send).await
            }
        }
    }

    /// Sends by a stream; dropped in the middle, it ends the stream.
    async fn stream_bytes(&self, kind: Kind, bytes: &[u8]) -> Result<(), ConnectionError> {
        let Some(stream) = self.connection.stream() else { return Ok(()) };
        let _turn = self.sending.lock().await;
        let mut outgoing = Outgoing::begin(stream, kind, bytes)?;
        self.when_writable(|| outgoing.advance()).await?;
        outgoing.end();
        Ok(())
    }

    /// As [`Connection::recv`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Process death
    /// As there.
    ///
    /// # Examples
    /// ```
    /// use multiproc::pipe;
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    /// runtime.block_on(async {
    ///     let (ours, theirs) = pipe()?;
    ///     let ours = ours.into_async()?;
    ///     theirs.send(&7)?;
    ///     assert_eq!(ours.recv::<i32>().await?, 7);
    ///     Ok::<(), multiproc::Error>(())
    /// })?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub async fn recv<T: DeserializeOwned>(&self) -> Result<T, ConnectionError> {
        let _turn = self.receivers_turn().await;
        self.when_readable(|| self.connection.try_recv()).await
    }

    /// As [`Connection::recv_bytes`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Process death
    /// As there.
    ///
    /// # Examples
    /// ```
    /// use multiproc::pipe;
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    /// runtime.block_on(async {
    ///     let (ours, theirs) = pipe()?;
    ///     let ours = ours.into_async()?;
    ///     theirs.send_bytes(b"hello")?;
    ///     assert_eq!(ours.recv_bytes().await?, b"hello");
    ///     Ok::<(), multiproc::Error>(())
    /// })?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub async fn recv_bytes(&self) -> Result<Vec<u8>, ConnectionError> {
        let _turn = self.receivers_turn().await;
        self.when_readable(|| self.connection.try_recv_bytes()).await
    }

    /// As [`Connection::recv_bytes_max`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Process death
    /// As there.
    ///
    /// # Examples
    /// ```
    /// use multiproc::pipe;
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    /// runtime.block_on(async {
    ///     let (ours, theirs) = pipe()?;
    ///     let ours = ours.into_async()?;
    ///     theirs.send_bytes(b"hello")?;
    ///     assert_eq!(ours.recv_bytes_max(5).await?, b"hello");
    ///     Ok::<(), multiproc::Error>(())
    /// })?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub async fn recv_bytes_max(&self, max: usize) -> Result<Vec<u8>, ConnectionError> {
        let _turn = self.receivers_turn().await;
        self.when_readable(|| self.connection.try_recv_bytes_max(max)).await
    }

    /// As [`Connection::recv_bytes_into`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Process death
    /// As there.
    ///
    /// # Examples
    /// ```
    /// use multiproc::pipe;
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    /// runtime.block_on(async {
    ///     let (ours, theirs) = pipe()?;
    ///     let ours = ours.into_async()?;
    ///     theirs.send_bytes(b"hello")?;
    ///     let mut buffer = [0; 8];
    ///     assert_eq!(ours.recv_bytes_into(&mut buffer).await?, 5);
    ///     Ok::<(), multiproc::Error>(())
    /// })?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub async fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, ConnectionError> {
        let _turn = self.receivers_turn().await;
        self.when_readable(|| self.connection.try_recv_bytes_into(buffer)).await
    }

    /// Waits until there may be something to receive, or nothing will come any more.
    ///
    /// # Errors
    /// [`ConnectionError::NotReadable`], [`ConnectionError::Io`].
    ///
    /// # Process death
    /// A killed peer is the end of the connection.
    ///
    /// # Examples
    /// ```
    /// use multiproc::pipe;
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    /// runtime.block_on(async {
    ///     let (ours, theirs) = pipe()?;
    ///     let ours = ours.into_async()?;
    ///     theirs.send(&7)?;
    ///     ours.readable().await?;
    ///     assert_eq!(ours.into_inner().try_recv::<i32>()?, 7);
    ///     Ok::<(), multiproc::Error>(())
    /// })?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub async fn readable(&self) -> Result<(), ConnectionError> {
        self.when_readable(|| match self.connection.poll() {
            Ok(false) => Err(ConnectionError::WouldBlock),
            ready => ready.map(drop),
        })
        .await
    }

    /// By a stream, one task receives at a time.
    async fn receivers_turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.connection.stream() {
            Some(_) => Some(self.receiving.lock().await),
            None => None,
        }
    }

    async fn when_readable<R>(
        &self,
        operation: impl FnMut() -> Result<R, ConnectionError>,
    ) -> Result<R, ConnectionError> {
        self.when(Interest::READABLE, operation).await
    }

    async fn when_writable<R>(
        &self,
        operation: impl FnMut() -> Result<R, ConnectionError>,
    ) -> Result<R, ConnectionError> {
        self.when(Interest::WRITABLE, operation).await
    }

    /// Tries now, and whenever the descriptor is ready.
    async fn when<R>(
        &self,
        interest: Interest,
        mut operation: impl FnMut() -> Result<R, ConnectionError>,
    ) -> Result<R, ConnectionError> {
        let mut outcome = operation();
        while let Err(ConnectionError::WouldBlock) = outcome {
            let mut ready = self.registered.ready(interest).await.map_err(ConnectionError::Io)?;
            outcome = operation();
            if let Err(ConnectionError::WouldBlock) = outcome {
                // tokio is to look anew.
                ready.clear_ready();
            }
        }
        outcome
    }
}

impl fmt::Debug for AsyncConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncConnection").field(&self.connection).finish()
    }
}
