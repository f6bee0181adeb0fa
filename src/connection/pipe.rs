//! [`pipe`] and [`one_way_pipe`]: two connected ends.

use super::connection::{Connection, Directions};
use crate::sys::packet;
use crate::{Error, Result};

const OPERATION: &str = "make a pipe";

/// Two connected ends, each of which sends to the other.
///
/// # Errors
/// [`Error::TooManyFiles`], [`Error::Os`].
///
/// # Examples
/// ```
/// let (left, right) = multiproc::pipe()?;
/// left.send(&("numbers", vec![1_u8, 2, 3]))?;
/// assert_eq!(right.recv::<(String, Vec<u8>)>()?, ("numbers".to_owned(), vec![1, 2, 3]));
/// right.send_bytes(b"thanks")?;
/// assert_eq!(left.recv_bytes()?, b"thanks");
/// # Ok::<(), multiproc::Error>(())
/// ```
///
/// # References
/// [socketpair(2)](https://man7.org/linux/man-pages/man2/socketpair.2.html),
/// [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html), `SOCK_SEQPACKET`
#[doc(alias = "Pipe")]
pub fn pipe() -> Result<(Connection, Connection)> {
    let (left, right) = packet::pair().map_err(|errno| Error::os(OPERATION, errno))?;
    let end = |socket| Connection::of_packets(socket, Directions::BOTH);
    Ok((end(left), end(right)))
}

/// Two connected ends: the first receives what the second sends.
///
/// # Errors
/// [`Error::TooManyFiles`], [`Error::Os`].
///
/// # Examples
/// ```
/// use multiproc::{ConnectionError, one_way_pipe};
/// let (receiver, sender) = one_way_pipe()?;
/// sender.send(&1)?;
/// assert_eq!(receiver.recv::<i32>()?, 1);
/// assert!(matches!(receiver.send(&1), Err(ConnectionError::NotWritable)));
/// assert!(matches!(sender.recv::<i32>(), Err(ConnectionError::NotReadable)));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "duplex")]
pub fn one_way_pipe() -> Result<(Connection, Connection)> {
    let (receiver, sender) = packet::pair().map_err(|errno| Error::os(OPERATION, errno))?;
    Ok((
        Connection::of_packets(receiver, Directions::READ),
        Connection::of_packets(sender, Directions::WRITE),
    ))
}
