//! Bytes through a [`Connection`].

use std::time::{Duration, Instant};

use super::connection::Connection;
use super::error::ConnectionError;
use super::head::Kind;
use super::patience::Patience;
use super::received::{take_bytes, with_spare};

impl Connection {
    /// Sends bytes, waiting for room. A part of a buffer is a slice of it; no bytes at all are a message too.
    ///
    /// # Errors
    /// As for [`send`](Self::send), without `Encode`.
    ///
    /// # Process death
    /// As `send`.
    ///
    /// # Examples
    /// ```
    /// let (left, right) = multiproc::pipe()?;
    /// left.send_bytes(&b"abcdef"[2..4])?;
    /// left.send_bytes(b"")?;
    /// assert_eq!(right.recv_bytes()?, b"cd");
    /// assert_eq!(right.recv_bytes()?, b"");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), ConnectionError> {
        self.send_message(Kind::Bytes, bytes, &[], Patience::Forever)
    }

    /// As [`send_bytes`](Self::send_bytes), if there is room now.
    ///
    /// # Errors
    /// As `send_bytes`, and [`WouldBlock`](ConnectionError::WouldBlock); over a network also
    /// [`PartlySent`](ConnectionError::PartlySent).
    ///
    /// # Process death
    /// As `send_bytes`.
    ///
    /// # Examples
    /// ```
    /// let (a, b) = multiproc::pipe()?;
    /// a.try_send_bytes(b"hello")?;
    /// assert_eq!(b.recv_bytes()?, b"hello");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_send_bytes(&self, bytes: &[u8]) -> Result<(), ConnectionError> {
        self.send_message(Kind::Bytes, bytes, &[], Patience::Never)
    }

    /// As [`send_bytes`](Self::send_bytes), waiting for at most `timeout`.
    ///
    /// # Errors
    /// As `send_bytes`, and [`TimedOut`](ConnectionError::TimedOut); over a network also
    /// [`PartlySent`](ConnectionError::PartlySent).
    ///
    /// # Process death
    /// As `send_bytes`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ConnectionError, pipe};
    /// use std::time::Duration;
    /// let (left, right) = pipe()?;
    /// let large = vec![1; 1 << 20];
    /// while left.send_bytes_timeout(&large, Duration::from_millis(5)).is_ok() {}
    /// // What did not fit left nothing behind.
    /// while right.poll()? {
    ///     assert_eq!(right.recv_bytes()?.len(), 1 << 20);
    /// }
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn send_bytes_timeout(&self, bytes: &[u8], timeout: Duration) -> Result<(), ConnectionError> {
        self.send_message(Kind::Bytes, bytes, &[], Patience::timeout(timeout))
    }

    /// As [`send_bytes`](Self::send_bytes), waiting until `deadline` at most.
    ///
    /// # Errors
    /// As [`send_bytes_timeout`](Self::send_bytes_timeout).
    ///
    /// # Process death
    /// As `send_bytes`.
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, Instant};
    /// let (a, b) = multiproc::pipe()?;
    /// a.send_bytes_deadline(b"hello", Instant::now() + Duration::from_secs(60))?;
    /// assert_eq!(b.recv_bytes()?, b"hello");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn send_bytes_deadline(&self, bytes: &[u8], deadline: Instant) -> Result<(), ConnectionError> {
        self.send_message(Kind::Bytes, bytes, &[], Patience::deadline(deadline))
    }

    /// Receives the bytes of a message, waiting for one.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv). A value that [`send`](Self::send) sent is a `Decode`, and gone.
    ///
    /// # Process death
    /// As [`recv`](Self::recv).
    ///
    /// # Examples
    /// ```
    /// let (left, right) = multiproc::pipe()?;
    /// left.send_bytes(&[7; 1 << 20])?;
    /// assert!(right.recv_bytes()? == [7; 1 << 20]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn recv_bytes(&self) -> Result<Vec<u8>, ConnectionError> {
        self.take(u64::MAX, Patience::Forever)
    }

    /// As [`recv_bytes`](Self::recv_bytes), if there is a message now.
    ///
    /// # Errors
    /// As `recv_bytes`, and [`WouldBlock`](ConnectionError::WouldBlock).
    ///
    /// # Process death
    /// As `recv_bytes`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::ConnectionError;
    /// let (a, b) = multiproc::pipe()?;
    /// assert!(matches!(b.try_recv_bytes(), Err(ConnectionError::WouldBlock)));
    /// a.send_bytes(b"hello")?;
    /// assert_eq!(b.try_recv_bytes()?, b"hello");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_recv_bytes(&self) -> Result<Vec<u8>, ConnectionError> {
        self.take(u64::MAX, Patience::Never)
    }

    /// As [`recv_bytes`](Self::recv_bytes), waiting for at most `timeout`.
    ///
    /// # Errors
    /// As `recv_bytes`, and [`TimedOut`](ConnectionError::TimedOut).
    ///
    /// # Process death
    /// As `recv_bytes`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::ConnectionError;
    /// let (_a, b) = multiproc::pipe()?;
    /// assert!(matches!(b.recv_bytes_timeout(Duration::from_millis(1)), Err(ConnectionError::TimedOut)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn recv_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, ConnectionError> {
        self.take(u64::MAX, Patience::timeout(timeout))
    }

    /// As [`recv_bytes`](Self::recv_bytes), waiting until `deadline` at most.
    ///
    /// # Errors
    /// As [`recv_bytes_timeout`](Self::recv_bytes_timeout).
    ///
    /// # Process death
    /// As `recv_bytes`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// use multiproc::ConnectionError;
    /// let (_a, b) = multiproc::pipe()?;
    /// assert!(matches!(b.recv_bytes_deadline(Instant::now()), Err(ConnectionError::TimedOut)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn recv_bytes_deadline(&self, deadline: Instant) -> Result<Vec<u8>, ConnectionError> {
        self.take(u64::MAX, Patience::deadline(deadline))
    }

    /// Receives the bytes of a message of at most `max` bytes, waiting for one.
    ///
    /// # Errors
    /// As for [`recv_bytes`](Self::recv_bytes), and [`TooLong`](ConnectionError::TooLong): the message is gone, and the
    /// next one can be received.
    ///
    /// # Process death
    /// As [`recv`](Self::recv).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ConnectionError, pipe};
    /// let (left, right) = pipe()?;
    /// left.send_bytes(b"too long")?;
    /// left.send_bytes(b"fits")?;
    /// assert!(matches!(right.recv_bytes_max(4), Err(ConnectionError::TooLong { len: 8, max: 4, .. })));
    /// assert_eq!(right.recv_bytes_max(4)?, b"fits");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn recv_bytes_max(&self, max: usize) -> Result<Vec<u8>, ConnectionError> {
        self.take(max as u64, Patience::Forever)
    }

    /// As [`recv_bytes_max`](Self::recv_bytes_max), if there is a message now.
    ///
    /// # Errors
    /// As `recv_bytes_max`, and [`WouldBlock`](ConnectionError::WouldBlock).
    ///
    /// # Process death
    /// As `recv_bytes_max`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::ConnectionError;
    /// let (a, b) = multiproc::pipe()?;
    /// assert!(matches!(b.try_recv_bytes_max(4), Err(ConnectionError::WouldBlock)));
    /// a.send_bytes(b"hello")?;
    /// assert!(matches!(b.try_recv_bytes_max(4), Err(ConnectionError::TooLong { len: 5, max: 4, .. })));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_recv_bytes_max(&self, max: usize) -> Result<Vec<u8>, ConnectionError> {
        self.take(max as u64, Patience::Never)
    }

    /// As [`recv_bytes_max`](Self::recv_bytes_max), waiting for at most `timeout`.
    ///
    /// # Errors
    /// As `recv_bytes_max`, and [`TimedOut`](ConnectionError::TimedOut).
    ///
    /// # Process death
    /// As `recv_bytes_max`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let (a, b) = multiproc::pipe()?;
    /// a.send_bytes(b"hello")?;
    /// assert_eq!(b.recv_bytes_max_timeout(5, Duration::from_secs(60))?, b"hello");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn recv_bytes_max_timeout(&self, max: usize, timeout: Duration) -> Result<Vec<u8>, ConnectionError> {
        self.take(max as u64, Patience::timeout(timeout))
    }

    /// As [`recv_bytes_max`](Self::recv_bytes_max), waiting until `deadline` at most.
    ///
    /// # Errors
    /// As [`recv_bytes_max_timeout`](Self::recv_bytes_max_timeout).
    ///
    /// # Process death
    /// As `recv_bytes_max`.
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, Instant};
    /// let (a, b) = multiproc::pipe()?;
    /// a.send_bytes(b"hello")?;
    /// assert_eq!(b.recv_bytes_max_deadline(5, Instant::now() + Duration::from_secs(60))?, b"hello");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn recv_bytes_max_deadline(&self, max: usize, deadline: Instant) -> Result<Vec<u8>, ConnectionError> {
        self.take(max as u64, Patience::deadline(deadline))
    }

    /// Receives the bytes of a message into `buffer`, waiting for one; how many they are. To begin in the middle of a
    /// buffer, pass a slice of it.
    ///
    /// # Errors
    /// As for [`recv_bytes`](Self::recv_bytes), and [`BufferTooShort`](ConnectionError::BufferTooShort) with the whole
    /// message in it: `buffer` then holds a part of it or nothing.
    ///
    /// # Process death
    /// As [`recv`](Self::recv).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ConnectionError, pipe};
    /// let (left, right) = pipe()?;
    /// left.send_bytes(b"fits")?;
    /// left.send_bytes(b"too long")?;
    /// let mut buffer = [0; 6];
    /// assert_eq!(right.recv_bytes_into(&mut buffer)?, 4);
    /// assert_eq!(&buffer[..4], b"fits");
    /// let Err(ConnectionError::BufferTooShort(message)) = right.recv_bytes_into(&mut buffer) else { panic!() };
    /// assert_eq!(message, b"too long");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, ConnectionError> {
        self.fill(buffer, Patience::Forever)
    }

    /// As [`recv_bytes_into`](Self::recv_bytes_into), if there is a message now.
    ///
    /// # Errors
    /// As `recv_bytes_into`, and [`WouldBlock`](ConnectionError::WouldBlock).
    ///
    /// # Process death
    /// As `recv_bytes_into`.
    ///
    /// # Examples
    /// ```
    /// let (a, b) = multiproc::pipe()?;
    /// a.send_bytes(b"hello")?;
    /// let mut buffer = [0; 8];
    /// assert_eq!(b.try_recv_bytes_into(&mut buffer)?, 5);
    /// assert_eq!(&buffer[..5], b"hello");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, ConnectionError> {
        self.fill(buffer, Patience::Never)
    }

    /// As [`recv_bytes_into`](Self::recv_bytes_into), waiting for at most `timeout`.
    ///
    /// # Errors
    /// As `recv_bytes_into`, and [`TimedOut`](ConnectionError::TimedOut).
    ///
    /// # Process death
    /// As `recv_bytes_into`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::ConnectionError;
    /// let (a, b) = multiproc::pipe()?;
    /// a.send_bytes(b"hello")?;
    /// let short = b.recv_bytes_into_timeout(&mut [0; 4], Duration::from_secs(60));
    /// assert!(matches!(short, Err(ConnectionError::BufferTooShort(message)) if message == b"hello"));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn recv_bytes_into_timeout(
        &self,
        buffer: &mut [u8],
        timeout: Duration,
    ) -> Result<usize, ConnectionError> {
        self.fill(buffer, Patience::timeout(timeout))
    }

    /// As [`recv_bytes_into`](Self::recv_bytes_into), waiting until `deadline` at most.
    ///
    /// # Errors
    /// As [`recv_bytes_into_timeout`](Self::recv_bytes_into_timeout).
    ///
    /// # Process death
    /// As `recv_bytes_into`.
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, Instant};
    /// let (a, b) = multiproc::pipe()?;
    /// a.send_bytes(b"hello")?;
    /// let mut buffer = [0; 8];
    /// assert_eq!(b.recv_bytes_into_deadline(&mut buffer, Instant::now() + Duration::from_secs(60))?, 5);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn recv_bytes_into_deadline(
        &self,
        buffer: &mut [u8],
        deadline: Instant,
    ) -> Result<usize, ConnectionError> {
        self.fill(buffer, Patience::deadline(deadline))
    }

    fn take(&self, max: u64, patience: Patience) -> Result<Vec<u8>, ConnectionError> {
        with_spare(|spare| {
            let received = self.receive_message(Kind::Bytes, &mut [], spare, max, patience)?;
            received.complete(&[], spare)?;
            Ok(take_bytes(spare))
        })
    }

    fn fill(&self, buffer: &mut [u8], patience: Patience) -> Result<usize, ConnectionError> {
        with_spare(|spare| {
            let received = self.receive_message(Kind::Bytes, buffer, spare, u64::MAX, patience)?;
            if received.len() > buffer.len() {
                received.complete(buffer, spare)?;
                return Err(ConnectionError::BufferTooShort(take_bytes(spare)));
            }
            received.complete_in(buffer, spare)?;
            Ok(received.len())
        })
    }
}
