//! How a handle is written in a message: the descriptor that rides along, the name of that segment, if it has one, and the
//! object's offset in it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::placed::Placed;
use super::segment::Segment;
use super::share::Share;
use crate::error::{Error, Result};
use crate::transfer;

/// Reads such a reference and passes it to `open`, whose error reaches whoever decodes the message.
pub(crate) fn open_reference<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    open: impl FnOnce(Segment, u64) -> Result<T>,
) -> Result<T, D::Error> {
    let (segment, offset) = <(Segment, u64)>::deserialize(deserializer)?;
    open(segment, offset).map_err(transfer::de_error)
}

impl Segment {
    /// The index of its descriptor in the message that is being written.
    fn attach(&self) -> Result<u32> {
        match self.descriptor() {
            Some(descriptor) => transfer::attach(self.key(), descriptor),
            None => Err(Error::Encode("an object in this process's own memory can't travel".to_owned())),
        }
    }
}

impl Serialize for Segment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = self.attach().map_err(transfer::ser_error)?;
        (index, self.name()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Segment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (index, name) = <(u32, Option<String>)>::deserialize(deserializer)?;
        let segment = transfer::detach(index).and_then(|fd| Self::received(fd, name.as_deref()));
        segment.map_err(transfer::de_error)
    }
}

impl<H: Share> Serialize for Placed<H> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.segment(), self.offset()).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use crate::error::Error;
    use crate::transfer::{Message, decode, encode};
    use crate::{Array, Event, Lock, Permits, RLock, Segment, Value};

    /// Where the header of the object lies that a message refers to.
    fn offset_of(message: &Message) -> usize {
        type Reference<'a> = ((u32, Option<&'a str>), usize);
        let ((_segment, offset), _rest) = postcard::take_from_bytes::<Reference<'_>>(&message.bytes).unwrap();
        offset
    }

    fn clone(message: &Message) -> Message {
        let fds = message.fds.iter().map(|fd| fd.try_clone().unwrap()).collect();
        Message { bytes: message.bytes.clone(), fds }
    }

    #[test]
    fn a_handle_that_travelled_is_the_same_object() {
        let (lock, event) = (Lock::new().unwrap(), Event::new().unwrap());
        let (value, array) = (Value::new(1u8).unwrap(), Array::from_slice(&[1u64, 2]).unwrap());
        let message = encode(&(&lock, &event, &value, &array)).unwrap();
        let (lock2, event2, value2, array2) =
            decode::<(Lock, Event, Value<u8>, Array<u64>)>(message).unwrap();
        let guard = lock.lock().unwrap();
        assert!(
            matches!(lock2.lock(), Err(crate::LockError::Deadlock)),
            "one mapping, so known by its address"
        );
        drop(guard);
        event.set();
        assert!(event2.is_set());
        value2.set(7).unwrap();
        assert_eq!(value.get(), 7);
        array2.set(1, 9).unwrap();
        assert_eq!(array.to_vec().unwrap(), [1, 9]);
    }

    #[test]
    fn a_lock_nests_across_handles_of_the_same_segment() {
        let lock = RLock::new().unwrap();
        let other = decode::<RLock>(encode(&lock).unwrap()).unwrap();
        let outer = lock.lock().unwrap();
        let inner = other.try_lock().unwrap();
        drop(outer);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(matches!(lock.try_lock(), Err(crate::LockError::WouldBlock)), "one level is left")
            });
        });
        drop(inner);
        assert!(!lock.is_locked() && !other.is_locked());
    }

    #[test]
    fn permits_that_travelled_are_the_same_ones() {
        let permits = Permits::new(2).unwrap();
        let other = decode::<Permits>(encode(&permits).unwrap()).unwrap();
        let (_first, _second) = (permits.acquire().unwrap(), other.acquire().unwrap());
        assert_eq!((permits.available(), other.available()), (0, 0));
    }

    #[test]
    fn more_permits_than_lie_in_the_segment_are_refused() {
        let message = encode(&Permits::new(3).unwrap()).unwrap();
        let memory = Segment::from_fd(message.fds[0].try_clone().unwrap()).unwrap();
        let length_at = offset_of(&message) + 24;
        for length in [0u64, 4, 96, 1024, 1025, 1 << 32, u64::MAX] {
            memory.region().store(length_at, &length.to_ne_bytes()).unwrap();
            assert!(matches!(decode::<Permits>(clone(&message)), Err(Error::Mismatch { .. })), "{length}");
        }
        memory.region().store(length_at, &2u64.to_ne_bytes()).unwrap();
        assert_eq!(decode::<Permits>(message).unwrap().available(), 2);
    }

    #[test]
    fn an_object_outlives_the_handle_that_made_it() {
        let message = encode(&Value::new([5u32; 9]).unwrap()).unwrap();
        assert_eq!(decode::<Value<[u32; 9]>>(message).unwrap().get(), [5; 9]);
    }

    #[test]
    fn attaching_as_another_type_is_a_mismatch_that_names_both() {
        fn refusal<T: serde::de::DeserializeOwned>(message: &Message) -> String {
            match decode::<T>(clone(message)).err() {
                Some(error @ Error::Mismatch { .. }) => error.to_string(),
                other => panic!("{other:?}"),
            }
        }
        let value = encode(&Value::new(1i64).unwrap()).unwrap();
        let where_ = format!("object at offset {}: expected", offset_of(&value));
        assert_eq!(refusal::<Value<f64>>(&value), format!("{where_} Value<f64>, found Value<i64>"));
        assert_eq!(refusal::<Array<i64>>(&value), format!("{where_} Array<i64>, found Value<i64>"));
        assert_eq!(refusal::<Lock>(&value), format!("{where_} Lock, found Value<i64>"));
        let lock = encode(&Lock::new().unwrap()).unwrap();
        let where_ = format!("object at offset {}: expected", offset_of(&lock));
        assert_eq!(refusal::<Event>(&lock), format!("{where_} Event, found Lock"));
    }

    #[test]
    fn an_offset_of_a_peers_choice_is_refused() {
        let message = encode(&Lock::new().unwrap()).unwrap();
        for offset in [0, 1, 64, 129, 4095, 4096, u64::MAX - 3, u64::MAX] {
            let bytes = encode(&((0u32, None::<String>), offset)).unwrap().bytes;
            let forged = Message { bytes, ..clone(&message) };
            assert!(matches!(decode::<Lock>(forged), Err(Error::Mismatch { .. })), "{offset}");
        }
    }

    #[test]
    fn a_segment_without_an_object_is_a_mismatch() {
        let segment = Segment::anonymous(1).unwrap();
        let bytes = encode(&((0u32, None::<String>), 128u64)).unwrap().bytes;
        let message =
            Message { bytes, fds: vec![segment.descriptor().unwrap().try_clone_to_owned().unwrap()] };
        assert!(matches!(decode::<Event>(message), Err(Error::Mismatch { .. })));
    }

    #[test]
    fn any_byte_of_an_array_that_a_peer_changes_is_refused_or_harmless() {
        // Its neighbours, if it had any, would not be harmed, but in its own way.
        let segment = Segment::anonymous(4096).unwrap();
        let array = Array::new_in(&segment, "array", &[1u16, 2, 3]).unwrap();
        let message = encode(&array).unwrap();
        let memory = Segment::from_fd(message.fds[0].try_clone().unwrap()).unwrap();
        let start = offset_of(&message);
        for at in start..start + 128 {
            for flip in [1, 0x80, 0xff] {
                let mut byte = [0];
                memory.region().load(at, &mut byte).unwrap();
                memory.region().store(at, &[byte[0] ^ flip]).unwrap();
                match decode::<Array<u16>>(clone(&message)) {
                    Ok(found) => assert!(found.to_vec().unwrap().len() == found.len()),
                    Err(error) => assert!(matches!(error, Error::Mismatch { .. }), "{error}"),
                }
                memory.region().store(at, &byte).unwrap();
            }
        }
    }

    #[test]
    fn a_handle_outside_a_transfer_says_where_it_can_travel() {
        let lock = Lock::new().unwrap();
        let encoded = crate::transfer::encode_item(&lock, <[u8]>::to_vec);
        assert!(encoded.is_err_and(|error| matches!(*error, Error::NotInTransfer)));
    }
}
