//! Encoding and decoding with postcard inside a transfer.

use std::cell::Cell;
use std::fmt::Display;
use std::os::fd::OwnedFd;

use serde::Serialize;
use serde::de::DeserializeOwned;

use postcard::ser_flavors::Flavor;

use super::item::Room;
use super::message::Message;
use super::table::{Outgoing, Scope, Table};
use super::{failure, table};
use crate::{Error, Result};

/// Encodes `value`; the handles in it put their descriptors in the message.
///
/// # Errors
/// What a handle failed with, or [`Error::Encode`].
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Message> {
    encode_to(value, Vec::new())
}

/// As [`encode`], into `room`.
fn encode_to<T: Serialize + ?Sized>(value: &T, mut room: Vec<u8>) -> Result<Message> {
    let scope = Scope::enter(Table::Sending(Outgoing::default()));
    let encoded = postcard::serialize_with_flavor(value, Behind(&mut room));
    let (table, failure) = scope.leave();
    encoded.map_err(|error| why(failure, || Error::Encode(error.to_string())))?;
    let fds = match table {
        Table::Sending(outgoing) => outgoing.fds,
        Table::Absent | Table::Receiving(_) => Vec::new(),
    };
    Ok(Message { bytes: room, fds })
}

/// Where postcard writes: behind bytes that stay if it fails. Its own takes texts and byte strings byte by byte, which is
/// slow in unoptimised builds.
pub(super) struct Behind<'a>(pub(super) &'a mut Vec<u8>);

impl Flavor for Behind<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // Most are numbers of one to three bytes: a call for so few takes longer than they do.
        if bytes.len() < 4 {
            bytes.iter().for_each(|byte| self.0.push(*byte));
        } else {
            self.0.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Decodes a value; the handles in it take their descriptors from the message.
///
/// # Errors
/// What a handle failed with, or [`Error::Decode`]: also when bytes are left over.
pub(crate) fn decode<T: DeserializeOwned>(message: Message) -> Result<T> {
    decode_from(&message.bytes, message.fds)
}

/// As [`decode`], from bytes of the caller's.
///
/// # Errors
/// As `decode`.
pub(crate) fn decode_from<T: DeserializeOwned>(bytes: &[u8], fds: Vec<OwnedFd>) -> Result<T> {
    let scope = Scope::enter(Table::Receiving(fds));
    let decoded = postcard::take_from_bytes(bytes);
    let (_, failure) = scope.leave();
    match decoded {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(left_over(rest)),
        Err(error) => Err(why(failure, || Error::Decode(error.to_string()))),
    }
}

thread_local! {
    /// Where the last item was encoded, for the next one.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// As [`encode`], and passes the message to `use_message` instead of returning it.
///
/// # Errors
/// As `encode`.
pub(crate) fn encode_and<T: Serialize + ?Sized, R>(
    value: &T,
    use_message: impl FnOnce(&Message) -> R,
) -> Result<R> {
    let message = encode_to(value, spare())?;
    let done = use_message(&message);
    keep(message.bytes);
    Ok(done)
}

/// The buffer of the thread's last item, empty. An item that is encoded while another is, by its own `Serialize`, has a new
/// one.
pub(super) fn spare() -> Vec<u8> {
    let mut spare = SPARE.try_with(Cell::take).unwrap_or_default();
    spare.clear();
    spare
}

/// Keeps a buffer for the next item.
fn keep(bytes: Vec<u8>) {
    if bytes.capacity() <= SPARE_BYTES {
        let _ = SPARE.try_with(|spare| spare.set(bytes));
    }
}

/// The most bytes that a thread keeps for its next item.
const SPARE_BYTES: usize = 64 << 10;

/// Encodes an item of a queue and passes its bytes to `use_bytes`: handles can't travel in it, even if a transfer is in
/// progress further out.
///
/// # Errors
/// What a handle failed with (as a rule [`Error::NotInTransfer`]), or [`Error::Encode`].
#[inline(always)]
pub(crate) fn encode_item<T: Serialize + ?Sized, R>(
    value: &T,
    use_bytes: impl FnOnce(&[u8]) -> R,
) -> Result<R, Box<Error>> {
    let mut room = Room::new();
    outside(
        #[inline(always)]
        || value.serialize(&mut room),
        Error::Encode,
    )?;
    let done = use_bytes(room.as_bytes());
    if let Some(long) = room.into_long() {
        keep(long);
    }
    Ok(done)
}

/// Encodes `value` behind `bytes`, which stay as they are if it can't be. Handles can't travel in it.
///
/// # Errors
/// As [`encode_item`].
#[cfg(feature = "manager")]
pub(crate) fn append<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<()> {
    let start = bytes.len();
    let done = outside(|| postcard::serialize_with_flavor(value, Behind(bytes)), Error::Encode);
    if done.is_err() {
        bytes.truncate(start);
    }
    done.map_err(|error| *error)
}

/// As [`append`], and returns how many bytes it takes. What comes after the first `most` of them is counted and not written.
///
/// # Errors
/// As [`encode_item`].
#[cfg(feature = "manager")]
pub(crate) fn append_within<T: Serialize + ?Sized>(
    value: &T,
    bytes: &mut Vec<u8>,
    most: usize,
) -> Result<usize> {
    let (start, mut len) = (bytes.len(), 0);
    let within = Within { behind: Behind(bytes), most, len: &mut len };
    let done = outside(|| postcard::serialize_with_flavor(value, within), Error::Encode);
    if done.is_err() {
        bytes.truncate(start);
    }
    done.map(|()| len).map_err(|error| *error)
}

/// [`Behind`], for so many bytes.
#[cfg(feature = "manager")]
struct Within<'a> {
    behind: Behind<'a>,
    most: usize,
    len: &'a mut usize,
}

#[cfg(feature = "manager")]
impl Flavor for Within<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        *self.len = self.len.saturating_add(bytes.len());
        if *self.len <= self.most { self.behind.try_extend(bytes) } else { Ok(()) }
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Decodes an item of a queue.
///
/// # Errors
/// What a handle failed with, or [`Error::Decode`]: also when bytes are left over.
#[inline(always)]
pub(crate) fn decode_item<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Box<Error>> {
    match outside(
        #[inline(always)]
        || postcard::take_from_bytes(bytes),
        Error::Decode,
    )? {
        (value, []) => Ok(value),
        (_, rest) => Err(Box::new(left_over(rest))),
    }
}

#[cold]
#[inline(never)]
fn left_over(rest: &[u8]) -> Error {
    Error::Decode(format!("{} bytes left over", rest.len()))
}

/// Encodes or decodes outside of every transfer. `wrap` makes the error of a failure that no handle explains.
/// It is boxed: a result of two words is one in registers.
#[inline(always)]
pub(super) fn outside<T, E: Display>(
    run: impl FnOnce() -> Result<T, E>,
    wrap: impl FnOnce(String) -> Error,
) -> Result<T, Box<Error>> {
    // As a rule there is no transfer, and nothing to put aside.
    if !table::is_absent() || failure::is_left() {
        return aside(run, wrap);
    }
    match run() {
        Ok(done) => {
            // Whoever met it went on without the handle.
            if failure::is_left() {
                failure::put(None);
            }
            Ok(done)
        }
        Err(error) => Err(Box::new(why(failure::take(), || wrap(error.to_string())))),
    }
}

/// As [`outside`], in the middle of a transfer or of another failure, which come back at the end.
#[cold]
#[inline(never)]
fn aside<T, E: Display>(
    run: impl FnOnce() -> Result<T, E>,
    wrap: impl FnOnce(String) -> Error,
) -> Result<T, Box<Error>> {
    let scope = Scope::enter(Table::Absent);
    let done = run();
    let (_, failure) = scope.leave();
    done.map_err(|error| Box::new(why(failure, || wrap(error.to_string()))))
}

/// What a handle failed with, or else what the format says.
#[cold]
pub(super) fn why(failure: Option<Box<Error>>, otherwise: impl FnOnce() -> Error) -> Error {
    failure.map_or_else(otherwise, |failure| *failure)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::super::{attach, de_error, detach, ser_error};
    use super::*;

    /// A handle over a plain file.
    #[derive(Clone, Debug)]
    struct Handle(Arc<File>);

    impl Handle {
        fn new() -> Self {
            Self(Arc::new(File::open("/dev/null").unwrap()))
        }

        fn key(&self) -> (u64, u64) {
            let meta = self.0.metadata().unwrap();
            (meta.dev(), meta.ino())
        }
    }

    impl Serialize for Handle {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let index = attach(self.key(), self.0.as_fd()).map_err(ser_error)?;
            serializer.serialize_u32(index)
        }
    }

    impl<'de> Deserialize<'de> for Handle {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let fd = detach(u32::deserialize(deserializer)?).map_err(de_error)?;
            Ok(Self(Arc::new(fd.into())))
        }
    }

    /// Runs a closure in the middle of being serialised.
    struct Hook<F: Fn()>(F);

    impl<F: Fn()> Serialize for Hook<F> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            (self.0)();
            serializer.serialize_unit()
        }
    }

    fn assert_no_transfer() {
        let handle = Handle::new();
        assert!(matches!(attach(handle.key(), handle.0.as_fd()), Err(Error::NotInTransfer)));
        assert!(matches!(detach(0), Err(Error::NotInTransfer)));
    }

    #[test]
    fn a_handle_travels_with_its_descriptor() {
        let handle = Handle::new();
        let message = encode(&("x", &handle, 7_u8)).unwrap();
        assert_eq!(message.fds.len(), 1);
        let (text, copy, number): (String, Handle, u8) = decode(message).unwrap();
        assert_eq!((text.as_str(), copy.key(), number), ("x", handle.key(), 7));
        assert_no_transfer();
    }

    #[test]
    fn a_file_rides_once() {
        let handle = Handle::new();
        let message = encode(&vec![handle.clone(), handle.clone(), Handle::new()]).unwrap();
        assert_eq!(message.fds.len(), 1);
        assert_eq!(decode::<Vec<Handle>>(message).unwrap().len(), 3);
    }

    #[test]
    fn outside_a_transfer_a_handle_says_where_it_can_travel() {
        let error = outside(|| postcard::to_stdvec(&Handle::new()), Error::Encode).unwrap_err();
        assert!(matches!(*error, Error::NotInTransfer));
        assert!(error.to_string().contains("travels only in process arguments"));
    }

    #[test]
    fn a_queue_inside_a_transfer_is_still_outside() {
        let inner = Hook(|| {
            let refused = outside(|| postcard::to_stdvec(&Handle::new()), Error::Encode);
            assert!(refused.is_err_and(|error| matches!(*error, Error::NotInTransfer)));
        });
        let message = encode(&(Handle::new(), inner, Handle::new())).unwrap();
        assert_eq!(message.fds.len(), 1);
    }

    #[test]
    fn a_nested_transfer_has_its_own_table() {
        let inner = Hook(|| assert_eq!(encode(&Handle::new()).unwrap().fds.len(), 1));
        let message = encode(&(Handle::new(), inner)).unwrap();
        assert_eq!((message.fds.len(), message.bytes), (1, vec![0]));
        assert_no_transfer();
    }

    #[test]
    fn a_panic_while_encoding_leaves_no_table() {
        let bomb = Hook(|| std::panic::resume_unwind(Box::new(())));
        let unwound = catch_unwind(AssertUnwindSafe(|| encode(&(Handle::new(), bomb))));
        assert!(unwound.is_err());
        assert_no_transfer();
    }

    #[test]
    fn an_index_beyond_the_message_is_refused() {
        let mut message = encode(&Handle::new()).unwrap();
        message.bytes = vec![5];
        let error = decode::<Handle>(message).unwrap_err();
        assert_eq!(error.to_string(), "decode: a handle names descriptor 5 of 1 in the message");
    }

    #[test]
    fn leftover_bytes_are_refused() {
        let message = Message { bytes: vec![1, 2, 3], fds: Vec::new() };
        assert!(matches!(decode::<u8>(message), Err(Error::Decode(_))));
    }
}
