//! What client and server say to each other. No input or output here.
//!
//! ```text
//! hello      "mpmg" | version u16 | session 16 bytes                                        little endian, from the client
//! greeting   "mpmg" | version u16 | verdict u8 | incarnation u64 | longest message u64 | session known u8 | mailboxes u8
//!            Of another version only the first six bytes are looked at. With mailboxes, the next message is a value:
//!            the descriptor of their memory (`line.rs`).
//! message    one request after the other; a message back has their replies, one after the other, but for requests of number 0
//! request    number | object | body          in postcard's format, as all that follows; object 0 is the server itself
//! reply      number | body, or a fault       number 0: the message that it answers was not understood, and the server hangs up
//! ```
//! Messages are those of [`Connection`](crate::Connection), as bytes. Values that users put into objects travel as [`Item`]s:
//! bytes that the server keeps and compares and does not understand, and the objects that are referred to in them.

use std::borrow::Cow;
use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fault::Fault;

const MAGIC: [u8; 4] = *b"mpmg";
/// The version of all that is in this file, and of what objects understand.
pub(super) const VERSION: u16 = 1;
pub(super) const HELLO: usize = 22;
pub(super) const GREETING: usize = 25;
/// The longest message, unless a server is told otherwise.
pub(super) const LONGEST: u64 = 64 << 20;
/// Object 0: the server itself.
pub(super) const SERVER: u64 = 0;

/// What names a client: all connections of a process.
pub(super) type SessionId = [u8; 16];

/// Why what came first is no hello, or no greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    Version(u16),
    Malformed,
}

pub(super) fn hello(session: SessionId) -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes(), &session].concat()
}

pub(super) fn read_hello(bytes: &[u8]) -> Result<SessionId, Unknown> {
    let rest = check_version(bytes)?;
    rest.try_into().map_err(|_| Unknown::Malformed)
}

/// A server's answer to a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    /// A random number of this server.
    pub(super) incarnation: u64,
    pub(super) longest: u64,
    /// Whether it knows the session: then references and leases are as they were.
    pub(super) is_known: bool,
    pub(super) has_mailboxes: bool,
}

impl Greeting {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let Self { incarnation, longest, is_known, has_mailboxes } = self;
        let head = [&MAGIC[..], &VERSION.to_le_bytes(), &[0]].concat();
        let flags = vec![u8::from(is_known), u8::from(has_mailboxes)];
        [head, incarnation.to_le_bytes().into(), longest.to_le_bytes().into(), flags].concat()
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, Unknown> {
        let rest = check_version(bytes)?;
        let rest: &[u8; GREETING - 6] = rest.try_into().map_err(|_| Unknown::Malformed)?;
        let word =
            |at: usize| rest.get(at..at + 8).and_then(|word| word.try_into().ok()).map(u64::from_le_bytes);
        match (rest, word(1), word(9)) {
            ([0, .., known @ 0..=1, mailboxes @ 0..=1], Some(incarnation), Some(longest)) => {
                Ok(Self { incarnation, longest, is_known: *known == 1, has_mailboxes: *mailboxes == 1 })
            }
            _ => Err(Unknown::Malformed),
        }
    }
}

/// What says to a client of another version which one this is.
pub(super) fn refusal() -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes()].concat()
}

fn check_version(bytes: &[u8]) -> Result<&[u8], Unknown> {
    let rest = bytes.strip_prefix(&MAGIC[..]).ok_or(Unknown::Malformed)?;
    let (version, rest) = rest.split_first_chunk().ok_or(Unknown::Malformed)?;
    match u16::from_le_bytes(*version) {
        VERSION => Ok(rest),
        other => Err(Unknown::Version(other)),
    }
}

/// Bytes, written and read as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;
        impl<'de> Visitor<'de> for Borrowed {
            type Value = &'de [u8];
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_borrowed_bytes<E: serde::de::Error>(self, bytes: &'de [u8]) -> Result<&'de [u8], E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_bytes(Borrowed).map(Self)
    }
}

impl fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// A user's value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Item<'a> {
    /// The objects of this server that proxies in it refer to.
    pub(super) refs: Cow<'a, [u64]>,
    #[serde(borrow)]
    pub(super) bytes: Bytes<'a>,
}

/// A user's value, encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) refs: Vec<u64>,
    pub(super) bytes: Vec<u8>,
}

impl Packed {
    pub(super) fn item(&self) -> Item<'_> {
        Item { refs: Cow::Borrowed(&self.refs), bytes: Bytes(&self.bytes) }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request<'a> {
    pub(super) number: u64,
    pub(super) object: u64,
    #[serde(borrow)]
    pub(super) body: Bytes<'a>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply<'a> {
    pub(super) number: u64,
    #[serde(borrow)]
    pub(super) outcome: Result<Bytes<'a>, Fault>,
}

/// What kind of object it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    Dict,
    List,
    Namespace,
    Value,
    Array,
    Lock,
    RLock,
    Semaphore,
    BoundedSemaphore,
    Condition,
    Event,
    Barrier,
    Queue,
    JoinableQueue,
    Pool,
    Custom,
}

/// What the server itself is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ServerCall<'a> {
    /// Makes an object, of which the client has a reference then. -> `u64`
    Create {
        kind: Kind,
        of: Cow<'a, str>,
        #[serde(borrow)]
        options: Bytes<'a>,
    },
    /// Takes a reference of each. -> `Vec<bool>`: those that there are.
    Attach(Vec<u64>),
    /// Takes a reference for a proxy that came from elsewhere, by a ticket if it had one. -> `()`
    Claim { object: u64, ticket: u64, kind: Kind, of: Cow<'a, str> },
    /// Gives references back: object, count. -> `()`
    Release(Vec<(u64, u64)>),
    /// A reference for a proxy on its way to another process. -> `u64`
    Ticket(u64),
    /// Gives an object a name. -> `()`
    Publish { name: Cow<'a, str>, object: u64 },
    /// -> `bool`: whether there was one.
    Unpublish(Cow<'a, str>),
    /// Takes a reference of the object with a name. -> `u64`
    Find { name: Cow<'a, str>, kind: Kind, of: Cow<'a, str> },
    /// -> `Vec<String>`
    Names,
    /// -> `Vec<Refusal>`
    Refusals,
    /// -> `ServerStats`
    Stats,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hellos_and_greetings_go_there_and_back() {
        assert_eq!(hello([7; 16]).len(), HELLO);
        assert_eq!(read_hello(&hello([7; 16])), Ok([7; 16]));
        for (is_known, has_mailboxes) in [(false, false), (true, false), (false, true)] {
            let greeting = Greeting { incarnation: u64::MAX - 1, longest: 77, is_known, has_mailboxes };
            assert_eq!(greeting.to_bytes().len(), GREETING);
            assert_eq!(Greeting::read(&greeting.to_bytes()), Ok(greeting));
        }
    }

    #[test]
    fn another_version_is_told_from_nonsense() {
        let mut old = hello([7; 16]);
        old[4] = 0;
        assert_eq!(read_hello(&old), Err(Unknown::Version(0)));
        assert_eq!(read_hello(&old[..6]), Err(Unknown::Version(0)), "whatever else it says");
        assert_eq!(read_hello(&hello([7; 16])[1..]), Err(Unknown::Malformed));
        assert_eq!(read_hello(&hello([7; 16])[..21]), Err(Unknown::Malformed));
        assert_eq!(Greeting::read(&refusal()), Err(Unknown::Malformed));
    }
}
