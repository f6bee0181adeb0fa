//! How a [`Connection`] is written in a message: the socket that rides along, what this end is for, and what the users of
//! a stream share.

use std::os::fd::AsFd;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::connection::{Connection, Directions};
use crate::{Error, Result, transfer};

impl Connection {
    fn attach(&self) -> Result<u32> {
        let stat = rustix::fs::fstat(self).map_err(|errno| Error::os("send a connection", errno))?;
        transfer::attach((stat.st_dev, stat.st_ino), self.as_fd())
    }
}

impl Serialize for Connection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = self.attach().map_err(transfer::ser_error)?;
        let Directions { readable, writable } = self.directions();
        (index, readable, writable, self.shared()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Connection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (index, readable, writable, shared) = Deserialize::deserialize(deserializer)?;
        let socket = transfer::detach(index);
        let connection =
            socket.and_then(|socket| Self::received(socket, Directions { readable, writable }, shared));
        connection.map_err(transfer::de_error)
    }
}
