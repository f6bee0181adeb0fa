//! Any packets, with any descriptors, to a `Connection`: each is a message or a typed error, and the next one is received.
#![no_main]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use multiproc::connection::Descriptor;
use multiproc::{Connection, ConnectionError, Event};
use multiproc_fuzz::{Ride, send_packet, seqpacket};

const MOST: usize = 8;

#[derive(Arbitrary, Debug)]
struct Packet {
    /// Whether its head is one of a message, but for what the fuzzer says.
    good: bool,
    kind: u8,
    flags: u8,
    fds: u8,
    /// Added to the true length.
    off: i8,
    body: Vec<u8>,
    rides: Vec<Ride>,
    receive: Receive,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Receive {
    Bytes,
    Max(u8),
    Into(u8),
    Text,
    Numbers,
    Handles,
}

impl Packet {
    fn bytes(&self) -> Vec<u8> {
        if !self.good {
            return self.body.clone();
        }
        let len = (self.body.len() as u64).wrapping_add_signed(i64::from(self.off));
        let head = [&[1, self.kind % 4, self.flags % 5, 0, self.fds % 4, 0, 0, 0][..], &len.to_le_bytes()];
        [&head.concat(), &self.body[..]].concat()
    }
}

/// What comes of it must be consistent; what it is, is the peer's business.
fn receive(connection: &Connection, how: Receive) -> Result<(), ConnectionError> {
    let mut buffer = [0; 256];
    match how {
        Receive::Bytes => connection.try_recv_bytes().map(drop),
        Receive::Max(max) => {
            let message = connection.try_recv_bytes_max(max.into())?;
            assert!(message.len() <= usize::from(max));
            Ok(())
        }
        Receive::Into(room) => {
            let room = &mut buffer[..usize::from(room)];
            let len = room.len();
            match connection.try_recv_bytes_into(room) {
                Ok(received) => assert!(received <= len),
                Err(ConnectionError::BufferTooShort(message)) => assert!(message.len() > len),
                Err(error) => return Err(error),
            }
            Ok(())
        }
        Receive::Text => connection.try_recv::<String>().map(drop),
        Receive::Numbers => connection.try_recv::<Vec<(u16, Option<i64>)>>().map(drop),
        Receive::Handles => {
            connection.try_recv::<Vec<(Descriptor, Option<Connection>, Option<Event>)>>().map(drop)
        }
    }
}

fuzz_target!(|packets: Vec<Packet>| {
    let (peer, end) = seqpacket();
    let end = Connection::from_fd(end).expect("a socket of packets");
    for packet in packets.iter().take(MOST) {
        let bytes = packet.bytes();
        if bytes.is_empty() {
            continue;
        }
        let rides: Vec<OwnedFd> = packet.rides.iter().take(3).map(Ride::open).collect();
        let rides: Vec<BorrowedFd<'_>> = rides.iter().map(AsFd::as_fd).collect();
        send_packet(peer.as_fd(), &bytes, &rides);
        match receive(&end, packet.receive) {
            Ok(()) => {}
            Err(
                ConnectionError::Decode(_) | ConnectionError::TooLong { .. } | ConnectionError::Truncated,
            ) => {}
            Err(error) => panic!("{error:?}"),
        }
        assert!(!end.poll().expect("a socket"), "the packet is gone");
    }
    // What anybody sent leaves the connection as it was.
    let good = [&[1, 2, 0, 0, 0, 0, 0, 0][..], &1_u64.to_le_bytes(), &[7]].concat();
    send_packet(peer.as_fd(), &good, &[]);
    assert_eq!(end.try_recv::<u8>().expect("a message"), 7);
    drop(peer);
    assert!(matches!(end.try_recv::<u8>(), Err(ConnectionError::Eof)));
});
