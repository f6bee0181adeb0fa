//! [`Greeting`]: a handshake over a socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::sockopt::socket_type;
use rustix::net::{RecvFlags, SendFlags, SocketType, recv, send};

use super::authentication_error::AuthenticationError;
use super::authkey::AuthKey;
use super::connection::{Connection, Directions};
use super::error::ConnectionError;
use super::handshake::{Handshake, Role};
use super::patience::Patience;
use crate::sys::poll;

/// Longer than anything that either end says.
const ROOM: usize = 64;

/// A handshake over a socket.
#[derive(Debug)]
pub(super) struct Greeting {
    socket: OwnedFd,
    /// Where what is left over of a packet is lost.
    is_packets: bool,
    handshake: Handshake,
}

impl Greeting {
    /// Says hello.
    pub(super) fn begin(socket: OwnedFd, role: Role, key: Option<AuthKey>) -> Result<Self, ConnectionError> {
        let is_packets = socket_type(&socket).map_err(ConnectionError::os)? == SocketType::SEQPACKET;
        let (handshake, hello) =
            Handshake::begin(role, key).map_err(|error| ConnectionError::Io(std::io::Error::other(error)))?;
        let greeting = Self { socket, is_packets, handshake };
        greeting.say(&hello)?;
        Ok(greeting)
    }

    /// Goes as far as it can without waiting; whether that is the end.
    pub(super) fn advance(&mut self) -> Result<bool, ConnectionError> {
        let mut reply = Vec::new();
        while !self.handshake.is_done() {
            let mut bytes = [0; ROOM];
            let room = if self.is_packets { ROOM } else { self.handshake.wanted().min(ROOM) };
            // Of a packet TRUNC tells the whole length. From a stream it would throw bytes away.
            let flags = if self.is_packets { RecvFlags::TRUNC } else { RecvFlags::empty() };
            match recv(&self.socket, &mut bytes[..room], flags | RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Err(AuthenticationError::HungUp.into()),
                Ok((_, len)) => {
                    let bytes = bytes[..room].get(..len);
                    let bytes = bytes.ok_or(AuthenticationError::Malformed("an oversized hello"))?;
                    let fed = self.handshake.feed(bytes, &mut reply);
                    if !reply.is_empty() {
                        let said = self.say(&reply);
                        fed?;
                        said?;
                        reply.clear();
                    }
                    fed?;
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET | Errno::PIPE) => return Err(AuthenticationError::HungUp.into()),
                Err(errno) => return Err(ConnectionError::os(errno)),
            }
        }
        Ok(true)
    }

    /// Waits for its end.
    pub(super) fn finish(mut self, patience: Patience) -> Result<Connection, ConnectionError> {
        while !self.advance()? {
            match poll::wait(&[(self.socket(), PollFlags::IN)], patience.until()) {
                Ok(true) => {}
                Ok(false) => return Err(patience.is_over()),
                Err(errno) => return Err(ConnectionError::os(errno)),
            }
        }
        self.into_connection()
    }

    /// The connection, when this is at its end.
    pub(super) fn into_connection(self) -> Result<Connection, ConnectionError> {
        Connection::received(self.socket, Directions::BOTH, None)
            .map_err(|error| ConnectionError::Io(std::io::Error::other(error)))
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends what any buffer has room for at the beginning of a connection.
    fn say(&self, bytes: &[u8]) -> Result<(), ConnectionError> {
        loop {
            return match send(&self.socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) if sent == bytes.len() => Ok(()),
                Ok(_) | Err(Errno::AGAIN | Errno::PIPE | Errno::CONNRESET) => {
                    Err(AuthenticationError::HungUp.into())
                }
                Err(Errno::INTR) => continue,
                Err(errno) => Err(ConnectionError::os(errno)),
            };
        }
    }
}
