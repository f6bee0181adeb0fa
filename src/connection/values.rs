//! Values through a [`Connection`].

use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::connection::Connection;
use super::error::ConnectionError;
use super::head::Kind;
use super::patience::Patience;
use super::received::with_spare;
use crate::transfer::{decode_from, encode_and};

impl Connection {
    /// Sends a value, waiting for room. It is encoded here, so that what is changed afterwards is not sent.
    ///
    /// The handles of this crate travel in it, other connections and a [`Descriptor`](crate::connection::Descriptor) too.
    /// Long byte strings are faster with [`send_bytes`](Self::send_bytes) or `serde_bytes`.
    ///
    /// # Errors
    /// Nothing was sent: [`BrokenPipe`](ConnectionError::BrokenPipe), [`Encode`](ConnectionError::Encode),
    /// [`NotWritable`](ConnectionError::NotWritable), [`OutOfMemory`](ConnectionError::OutOfMemory),
    /// [`TooManyFiles`](ConnectionError::TooManyFiles), [`Io`](ConnectionError::Io); over a network also
    /// [`NoDescriptors`](ConnectionError::NoDescriptors), [`Broken`](ConnectionError::Broken).
    ///
    /// # Process death
    /// Killed here, a process has sent the value or nothing. A peer that dies wakes the sender: `BrokenPipe`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Event, pipe};
    /// let (left, right) = pipe()?;
    /// let event = Event::new()?;
    /// left.send(&(1, &event))?;
    /// let (number, copy): (i32, Event) = right.recv()?;
    /// copy.set();
    /// assert!(number == 1 && event.is_set());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn send<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), ConnectionError> {
        self.send_value(value, Patience::Forever)
    }

    /// As [`send`](Self::send), if there is room now.
    ///
    /// # Errors
    /// As `send`, and [`WouldBlock`](ConnectionError::WouldBlock).
    ///
    /// # Process death
    /// As `send`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ConnectionError, pipe};
    /// let (left, right) = pipe()?;
    /// while left.try_send(&1).is_ok() {}
    /// assert!(matches!(left.try_send(&1), Err(ConnectionError::WouldBlock)));
    /// assert_eq!(right.recv::<i32>()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_send<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), ConnectionError> {
        self.send_value(value, Patience::Never)
    }

    /// As [`send`](Self::send), waiting for at most `timeout`.
    ///
    /// # Errors
    /// As `send`, and [`TimedOut`](ConnectionError::TimedOut); over a network also
    /// [`PartlySent`](ConnectionError::PartlySent).
    ///
    /// # Process death
    /// As `send`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ConnectionError, pipe};
    /// use std::time::Duration;
    /// let (left, _right) = pipe()?;
    /// while left.try_send(&1).is_ok() {}
    /// let late = left.send_timeout(&1, Duration::from_millis(5));
    /// assert!(matches!(late, Err(ConnectionError::TimedOut)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn send_timeout<T: Serialize + ?Sized>(
        &self,
        value: &T,
        timeout: Duration,
    ) -> Result<(), ConnectionError> {
        self.send_value(value, Patience::timeout(timeout))
    }

    /// As [`send`](Self::send), waiting until `deadline` at most.
    ///
    /// # Errors
    /// As [`send_timeout`](Self::send_timeout).
    ///
    /// # Process death
    /// As `send`.
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, Instant};
    /// let (a, b) = multiproc::pipe()?;
    /// a.send_deadline(&7, Instant::now() + Duration::from_secs(60))?;
    /// assert_eq!(b.recv::<i32>()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn send_deadline<T: Serialize + ?Sized>(
        &self,
        value: &T,
        deadline: Instant,
    ) -> Result<(), ConnectionError> {
        self.send_value(value, Patience::deadline(deadline))
    }

    /// Receives a value, waiting for one.
    ///
    /// It must be of the type that was sent. The bytes say nothing of their type: another type is an error, or a
    /// meaningless value.
    ///
    /// # Errors
    /// Nothing will come any more: [`Eof`](ConnectionError::Eof), [`Reset`](ConnectionError::Reset). The message is gone:
    /// [`Decode`](ConnectionError::Decode), [`TooManyFiles`](ConnectionError::TooManyFiles),
    /// [`OutOfMemory`](ConnectionError::OutOfMemory). And [`NotReadable`](ConnectionError::NotReadable),
    /// [`Io`](ConnectionError::Io); over a network also [`Truncated`](ConnectionError::Truncated),
    /// [`Broken`](ConnectionError::Broken).
    ///
    /// # Process death
    /// Killed here, a process has taken the message, or left it to the next receiver. A peer that dies, as the last one
    /// with its end, wakes the receiver.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ConnectionError, pipe};
    /// let (left, right) = pipe()?;
    /// left.send(&"seven")?;
    /// left.send(&7_u8)?;
    /// drop(left);
    /// assert!(matches!(right.recv::<u8>(), Err(ConnectionError::Decode(_))));
    /// assert_eq!(right.recv::<u8>()?, 7);
    /// assert!(matches!(right.recv::<u8>(), Err(ConnectionError::Eof)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn recv<T: DeserializeOwned>(&self) -> Result<T, ConnectionError> {
        self.recv_value(Patience::Forever)
    }

    /// As [`recv`](Self::recv), if there is a message now.
    ///
    /// # Errors
    /// As `recv`, and [`WouldBlock`](ConnectionError::WouldBlock).
    ///
    /// # Process death
    /// As `recv`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ConnectionError, pipe};
    /// let (left, right) = pipe()?;
    /// assert!(matches!(right.try_recv::<u8>(), Err(ConnectionError::WouldBlock)));
    /// left.send(&7_u8)?;
    /// assert_eq!(right.try_recv::<u8>()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_recv<T: DeserializeOwned>(&self) -> Result<T, ConnectionError> {
        self.recv_value(Patience::Never)
    }

    /// As [`recv`](Self::recv), waiting for at most `timeout`.
    ///
    /// # Errors
    /// As `recv`, and [`TimedOut`](ConnectionError::TimedOut).
    ///
    /// # Process death
    /// As `recv`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ConnectionError, pipe};
    /// use std::time::Duration;
    /// let (_left, right) = pipe()?;
    /// let late = right.recv_timeout::<u8>(Duration::from_millis(5));
    /// assert!(matches!(late, Err(ConnectionError::TimedOut)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn recv_timeout<T: DeserializeOwned>(&self, timeout: Duration) -> Result<T, ConnectionError> {
        self.recv_value(Patience::timeout(timeout))
    }

    /// As [`recv`](Self::recv), waiting until `deadline` at most.
    ///
    /// # Errors
    /// As [`recv_timeout`](Self::recv_timeout).
    ///
    /// # Process death
    /// As `recv`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// use multiproc::ConnectionError;
    /// let (_a, b) = multiproc::pipe()?;
    /// assert!(matches!(b.recv_deadline::<i32>(Instant::now()), Err(ConnectionError::TimedOut)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn recv_deadline<T: DeserializeOwned>(&self, deadline: Instant) -> Result<T, ConnectionError> {
        self.recv_value(Patience::deadline(deadline))
    }

    fn send_value<T: Serialize + ?Sized>(
        &self,
        value: &T,
        patience: Patience,
    ) -> Result<(), ConnectionError> {
        if !self.is_writable() {
            return Err(ConnectionError::NotWritable);
        }
        let send = encode_and(value, |message| {
            self.send_message(Kind::Value, &message.bytes, &message.fds, patience)
        });
        send.map_err(ConnectionError::Encode)?
    }

    fn recv_value<T: DeserializeOwned>(&self, patience: Patience) -> Result<T, ConnectionError> {
        with_spare(|spare| {
            let received = self.receive_message(Kind::Value, &mut [], spare, u64::MAX, patience)?;
            received.complete(&[], spare)?;
            decode_from(spare, received.fds).map_err(ConnectionError::Decode)
        })
    }
}
