//! `Connection`, `pipe`, `wait`: what a caller sees of them, also when processes die.
#![cfg(feature = "auto-init")]

mod limited;
mod worker;

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use limited::{is_limited, passes_under};
use multiproc::connection::{self, Descriptor};
use multiproc::{
    Array, Connection, ConnectionError, Error, Event, Lock, Process, Queue, Value, one_way_pipe, pipe,
};
use rustix::fs::MemfdFlags;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use worker::{SOON, Worker};

const MIB: usize = 1 << 20;
/// What of a message lies in its packet.
const INLINE: usize = 64 << 10;
const INSTANT: Duration = Duration::from_millis(5);

/// Bytes of which each tells its place and the message's number.
fn pattern(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|place| (number * 31 + place + place / 251) as u8).collect()
}

/// Whether the message is the one of that number that its first byte says, whole.
fn is_whole(message: &[u8]) -> bool {
    message.first().is_none_or(|&first| {
        let place_part = |place: usize| (place + place / 251) as u8;
        message.iter().enumerate().all(|(place, &byte)| byte == first.wrapping_add(place_part(place)))
    })
}

#[test]
fn values_and_bytes_arrive_in_order_both_ways() {
    let (left, right) = pipe().unwrap();
    for (from, to) in [(&left, &right), (&right, &left)] {
        from.send(&("text", 7_u8, vec![1.5_f64])).unwrap();
        from.send_bytes(b"bytes").unwrap();
        from.send("a text").unwrap();
        assert_eq!(to.recv::<(String, u8, Vec<f64>)>().unwrap(), ("text".to_owned(), 7, vec![1.5]));
        assert_eq!(to.recv_bytes().unwrap(), b"bytes");
        assert_eq!(to.recv::<String>().unwrap(), "a text");
    }
}

#[test]
fn a_message_of_any_length_arrives_whole() {
    let (left, right) = pipe().unwrap();
    let lengths = [0, 1, 7, 4096, INLINE - 16, INLINE - 1, INLINE, INLINE + 1, 200_000, MIB, 9 * MIB];
    let mut buffer = vec![0; 9 * MIB];
    for (number, len) in lengths.into_iter().enumerate() {
        let sent = pattern(number, len);
        for _ in 0..3 {
            left.send_bytes(&sent).unwrap();
            left.send_bytes(b"next").unwrap();
            assert!(right.recv_bytes().unwrap() == sent, "{len}");
            assert_eq!(right.recv_bytes().unwrap(), b"next");
            left.send_bytes(&sent).unwrap();
            assert_eq!(right.recv_bytes_into(&mut buffer).unwrap(), len);
            assert!(buffer[..len] == sent, "{len}");
        }
        left.send(&serde_bytes::Bytes::new(&sent)).unwrap();
        assert!(right.recv::<serde_bytes::ByteBuf>().unwrap().into_vec() == sent, "{len}");
    }
}

#[test]
fn a_message_of_256_mib_arrives_whole() {
    const LEN: usize = 256 * MIB;
    fn send(connection: Connection) {
        connection.send_bytes(&vec![0xa5; LEN]).unwrap();
        connection.send(&"after it").unwrap();
    }
    let (here, there) = pipe().unwrap();
    let sender = Worker::spawn(send, there);
    let message = here.recv_bytes_timeout(SOON * 3).unwrap();
    assert!(message.len() == LEN && message.iter().all(|&byte| byte == 0xa5));
    assert_eq!(here.recv::<String>().unwrap(), "after it");
    sender.join();
}

#[test]
fn each_form_gives_up_as_it_says() {
    let (left, right) = pipe().unwrap();
    let soon = || Instant::now() + INSTANT;
    let buffer = &mut [0; 4];
    macro_rules! gives_up {
        ($variant:ident: $($operation:expr),*) => {
            $(assert!(matches!($operation, Err(ConnectionError::$variant)), stringify!($operation));)*
        };
    }
    gives_up!(WouldBlock: right.try_recv::<u8>(), right.try_recv_bytes(), right.try_recv_bytes_max(4),
        right.try_recv_bytes_into(buffer));
    gives_up!(TimedOut: right.recv_timeout::<u8>(INSTANT), right.recv_deadline::<u8>(soon()),
        right.recv_bytes_timeout(INSTANT), right.recv_bytes_deadline(soon()),
        right.recv_bytes_max_timeout(4, INSTANT), right.recv_bytes_max_deadline(4, soon()),
        right.recv_bytes_into_timeout(buffer, INSTANT), right.recv_bytes_into_deadline(buffer, soon()));
    assert!(!right.poll().unwrap() && !right.poll_timeout(INSTANT).unwrap());
    assert!(!right.poll_deadline(soon()).unwrap());

    let mut sent = 0;
    while left.try_send(&1_u8).is_ok() {
        sent += 1;
    }
    gives_up!(WouldBlock: left.try_send(&1_u8), left.try_send_bytes(b"x"), left.try_send_bytes(&vec![0; MIB]));
    gives_up!(TimedOut: left.send_timeout(&1_u8, INSTANT), left.send_deadline(&1_u8, soon()),
        left.send_bytes_timeout(b"x", INSTANT), left.send_bytes_deadline(b"x", soon()),
        left.send_bytes_timeout(&vec![0; MIB], INSTANT));
    for _ in 0..sent {
        assert_eq!(right.try_recv::<u8>().unwrap(), 1);
    }
    assert!(!right.poll().unwrap(), "what was given up left nothing");

    left.send_timeout(&1_u8, INSTANT).unwrap();
    left.send_deadline(&2_u8, soon()).unwrap();
    assert_eq!(right.recv_timeout::<u8>(SOON).unwrap(), 1);
    assert!(right.poll_timeout(SOON).unwrap() && right.poll_deadline(soon()).unwrap());
    right.poll_wait().unwrap();
    assert_eq!(right.recv_deadline::<u8>(Instant::now() + SOON).unwrap(), 2);
    for forms in [Connection::send_bytes, Connection::try_send_bytes] {
        forms(&left, b"abc").unwrap();
    }
    left.send_bytes_timeout(b"abc", INSTANT).unwrap();
    left.send_bytes_deadline(b"abc", soon()).unwrap();
    assert_eq!(right.recv_bytes_timeout(SOON).unwrap(), b"abc");
    assert_eq!(right.recv_bytes_max_timeout(3, SOON).unwrap(), b"abc");
    assert_eq!(right.recv_bytes_into_timeout(buffer, SOON).unwrap(), 3);
    assert_eq!(right.recv_bytes_deadline(Instant::now() + SOON).unwrap(), b"abc");
}

/// A sender whose reader has stopped is not held for ever.
#[test]
fn a_sender_gives_up_on_a_reader_that_has_stopped_known_bad_46() {
    fn wait(connection: Connection) -> usize {
        let mut received = 0;
        while connection.recv_bytes().is_ok() {
            received += 1;
        }
        received
    }
    let (here, there) = pipe().unwrap();
    let reader = Worker::spawn(wait, there);
    reader.stop();
    let mut sent = 0;
    for len in [10, INLINE, MIB] {
        while here.send_bytes_timeout(&vec![1; len], INSTANT).is_ok() {
            sent += 1;
        }
        assert!(matches!(here.try_send_bytes(&[]), Err(ConnectionError::WouldBlock)));
    }
    reader.go_on();
    drop(here);
    assert_eq!(reader.join(), sent);
}

/// A message that is too long is gone, and the connection goes on.
#[test]
fn a_message_that_is_too_long_leaves_the_connection_usable_known_bad_41() {
    let (left, right) = pipe().unwrap();
    for len in [5, INLINE, INLINE + 1, MIB] {
        left.send_bytes(&pattern(1, len)).unwrap();
        left.send_bytes(&pattern(2, len)).unwrap();
        left.send_bytes(b"next").unwrap();
        let refused = right.recv_bytes_max(4);
        let Err(ConnectionError::TooLong { len: found, max: 4, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(found, len as u64);
        let mut buffer = [0; 4];
        let refused = right.recv_bytes_into(&mut buffer);
        let Err(ConnectionError::BufferTooShort(message)) = refused else { panic!("{refused:?}") };
        assert!(message == pattern(2, len));
        assert_eq!(right.recv_bytes_max(4).unwrap(), b"next");
    }
}

#[test]
fn the_kinds_of_messages_are_told_apart() {
    let (left, right) = pipe().unwrap();
    left.send(&vec![1_u8]).unwrap();
    left.send_bytes(&[1, 1]).unwrap();
    left.send(&300_u16).unwrap();
    left.send(&"end").unwrap();
    assert!(matches!(right.recv_bytes(), Err(ConnectionError::Decode(Error::Decode(_)))));
    assert!(matches!(right.recv::<Vec<u8>>(), Err(ConnectionError::Decode(Error::Decode(_)))));
    assert!(matches!(right.recv::<u8>(), Err(ConnectionError::Decode(Error::Decode(_)))));
    assert_eq!(right.recv::<String>().unwrap(), "end");
}

#[test]
fn the_ends_of_a_connection_are_told_apart() {
    // Closed with nothing unread: all that was sent, then the end, repeatably.
    let (left, right) = pipe().unwrap();
    left.send(&1).unwrap();
    left.close();
    assert!(right.poll().unwrap());
    assert_eq!(right.recv::<i32>().unwrap(), 1);
    for _ in 0..2 {
        assert!(right.poll().unwrap(), "the end is something to be told");
        assert!(matches!(right.recv::<i32>(), Err(ConnectionError::Eof)));
        assert!(matches!(right.send(&1), Err(ConnectionError::BrokenPipe)));
        assert!(matches!(right.send_bytes_timeout(&vec![0; MIB], INSTANT), Err(ConnectionError::BrokenPipe)));
    }

    // Closed before it had received everything: what it had sent is still there.
    for look in [false, true] {
        let (left, right) = pipe().unwrap();
        left.send(&1).unwrap();
        right.send(&2).unwrap();
        left.close();
        if look {
            assert!(matches!(right.send(&3), Err(ConnectionError::BrokenPipe)));
        }
        assert_eq!(right.recv::<i32>().unwrap(), 1);
        for _ in 0..2 {
            assert!(matches!(right.recv::<i32>(), Err(ConnectionError::Reset)));
        }
    }

    // An end in two processes is closed when both are done with it.
    let (left, right) = pipe().unwrap();
    let holder = Worker::spawn(|end: Connection| end.recv::<()>().unwrap(), left.clone());
    drop(left);
    assert!(matches!(right.recv_timeout::<()>(INSTANT), Err(ConnectionError::TimedOut)));
    right.send(&()).unwrap();
    holder.join();
    assert!(matches!(right.recv_timeout::<()>(SOON), Err(ConnectionError::Eof)));
}

#[test]
fn a_killed_peer_is_the_end() {
    let (here, there) = pipe().unwrap();
    let peer = Worker::spawn(
        |end: Connection| {
            end.send(&1).unwrap();
            end.recv::<()>().unwrap();
        },
        there,
    );
    assert_eq!(here.recv_timeout::<i32>(SOON).unwrap(), 1);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| here.recv_timeout::<i32>(SOON));
        peer.kill();
        assert!(matches!(waiting.join().unwrap(), Err(ConnectionError::Eof)));
    });
}

#[test]
fn a_one_way_pipe_goes_one_way() {
    let (receiver, sender) = one_way_pipe().unwrap();
    assert_eq!((receiver.is_readable(), receiver.is_writable()), (true, false));
    assert_eq!((sender.is_readable(), sender.is_writable()), (false, true));
    assert!(matches!(sender.recv_bytes(), Err(ConnectionError::NotReadable)));
    assert!(matches!(sender.poll(), Err(ConnectionError::NotReadable)));
    assert!(matches!(receiver.try_send(&1), Err(ConnectionError::NotWritable)));
    // What an end is for travels with it.
    let worker = Worker::spawn(
        |end: Connection| {
            let refused = matches!(end.recv::<u8>(), Err(ConnectionError::NotReadable));
            end.send(&refused).unwrap();
        },
        sender,
    );
    assert!(receiver.recv_timeout::<bool>(SOON).unwrap());
    worker.join();
    assert!(matches!(receiver.recv_timeout::<bool>(SOON), Err(ConnectionError::Eof)));
}

/// Sends messages of many lengths, each of which says by whom it is.
fn send_many((connection, number, count): (Connection, usize, usize)) {
    for turn in 0..count {
        let len = [9, 100, 5_000, INLINE - 3, INLINE + 3, 150_000][(turn + number) % 6];
        connection.send_bytes(&pattern(number, len)).unwrap();
    }
}

#[test]
fn senders_on_one_end_never_interleave_known_bad_26() {
    const COUNT: usize = 200;
    const THREADS: usize = 2;
    let (here, there) = pipe().unwrap();
    let mut senders: Vec<_> =
        (0..2).map(|number| Worker::spawn(send_many, (there.clone(), number, COUNT))).collect();
    let mut counts = [0; 2 + THREADS];
    std::thread::scope(|scope| {
        for number in 2..2 + THREADS {
            let there = there.clone();
            scope.spawn(move || send_many((there, number, COUNT)));
        }
        for _ in 0..COUNT * (2 + THREADS) {
            let message = here.recv_bytes_timeout(SOON).unwrap();
            assert!(is_whole(&message));
            counts[usize::from(message[0]) / 31] += 1;
        }
    });
    assert_eq!(counts, [COUNT; 2 + THREADS]);
    senders.drain(..).for_each(Worker::join);
    assert!(!here.poll().unwrap());
}

#[test]
fn receivers_on_one_end_each_get_whole_messages() {
    const COUNT: usize = 300;
    fn count((connection, counts): (Connection, Connection)) {
        let mut whole = 0_usize;
        while let Ok(message) = connection.recv_bytes() {
            assert!(is_whole(&message));
            whole += 1;
        }
        counts.send(&whole).unwrap();
    }
    let (here, there) = pipe().unwrap();
    let (counts, report) = pipe().unwrap();
    let receivers: Vec<_> = (0..2).map(|_| Worker::spawn(count, (there.clone(), report.clone()))).collect();
    drop(there);
    send_many((here, 3, COUNT));
    let total: usize = (0..2).map(|_| counts.recv_timeout::<usize>(SOON).unwrap()).sum();
    assert_eq!(total, COUNT);
    receivers.into_iter().for_each(Worker::join);
}

/// A sender is killed at any moment, in the middle of a long message too.
#[test]
fn a_killed_sender_leaves_whole_messages_and_a_usable_end_known_bad_25() {
    fn send_for_ever(connection: Connection) {
        for turn in 0.. {
            let len = [3, 70_000, 3 * MIB][turn % 3];
            connection.send_bytes(&pattern(1, len)).unwrap();
        }
    }
    let (here, there) = pipe().unwrap();
    for round in 0..10 {
        let victim = Worker::spawn(send_for_ever, there.clone());
        for _ in 0..round {
            assert!(is_whole(&here.recv_bytes_timeout(SOON).unwrap()));
        }
        victim.kill();
        // Another sender on the same end. Where it waits for room, what the victim sent is received first.
        std::thread::scope(|scope| {
            scope.spawn(|| there.send(&round).unwrap());
            loop {
                match here.recv_bytes_timeout(SOON) {
                    Ok(message) => assert!(is_whole(&message)),
                    Err(ConnectionError::Decode(_)) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        assert!(!here.poll().unwrap());
    }
}

#[test]
fn handles_travel_through_a_connection() {
    type Handles = (Lock, Value<u64>, Array<u32>, Queue<String>, Event);
    fn work(connection: Connection) {
        let (lock, value, array, queue, event): Handles = connection.recv().unwrap();
        let guard = lock.lock().unwrap();
        value.set(7).unwrap();
        array.set(1, 8).unwrap();
        queue.put("nine".to_owned()).unwrap();
        event.set();
        drop(guard);
        connection.send(&(lock, event)).unwrap();
    }
    let (here, there) = pipe().unwrap();
    let worker = Worker::spawn(work, there);
    let handles: Handles = (
        Lock::new().unwrap(),
        Value::new(0).unwrap(),
        Array::zeroed(3).unwrap(),
        Queue::bounded(3).unwrap(),
        Event::new().unwrap(),
    );
    here.send(&handles).unwrap();
    assert!(handles.4.wait_timeout(SOON));
    let (lock, event): (Lock, Event) = here.recv_timeout(SOON).unwrap();
    assert!(event.is_set());
    let guard = handles.0.lock_timeout(SOON).unwrap();
    assert!(lock.is_locked());
    drop(guard);
    assert_eq!((handles.1.get(), handles.2.get(1).unwrap()), (7, 8));
    assert_eq!(handles.3.get().unwrap(), "nine");
    worker.join();
}

#[test]
fn a_connection_travels_through_a_connection() {
    fn answer(connection: Connection) {
        let inner: Connection = connection.recv().unwrap();
        inner.send(&"by the inner one").unwrap();
    }
    let (here, there) = pipe().unwrap();
    let worker = Worker::spawn(answer, there);
    let (inner_here, inner_there) = pipe().unwrap();
    here.send(&inner_there).unwrap();
    drop(inner_there);
    assert_eq!(inner_here.recv_timeout::<String>(SOON).unwrap(), "by the inner one");
    worker.join();
    assert!(matches!(inner_here.recv_timeout::<()>(SOON), Err(ConnectionError::Eof)));

    // In arguments and in a result.
    let make = |there: Connection| {
        there.send(&1).unwrap();
        pipe().unwrap()
    };
    let (here, there) = pipe().unwrap();
    let (left, right) = Process::spawn(make, there).unwrap().join().unwrap();
    left.send(&2).unwrap();
    assert_eq!(right.recv::<i32>().unwrap() + here.recv::<i32>().unwrap(), 3);

    // Nowhere else.
    let queue = Queue::<Connection>::bounded(1).unwrap();
    assert!(queue.put(left).unwrap_err().to_string().contains("travels only"));
}

#[test]
fn descriptors_travel_as_they_are() {
    let (left, right) = pipe().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let ends = (
        Descriptor::from(OwnedFd::from(reader)),
        Descriptor::from(OwnedFd::from(writer.try_clone().unwrap())),
    );
    // Both ends of a pipe have one inode.
    left.send(&ends).unwrap();
    let (reader, writer_copy): (Descriptor, Descriptor) = right.recv().unwrap();
    drop((ends, writer_copy));
    writer.write_all(b"through it").unwrap();
    drop(writer);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::fs::File::from(OwnedFd::from(reader)), &mut text).unwrap();
    assert_eq!(text, "through it");
}

#[test]
fn more_descriptors_than_a_packet_takes_travel_too() {
    let (left, right) = pipe().unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    for (count, len) in [(1, 0), (252, MIB), (253, 0), (253, MIB), (254, 0), (400, MIB)] {
        let fds: Vec<_> =
            (0..count).map(|_| Descriptor::from(OwnedFd::from(null.try_clone().unwrap()))).collect();
        left.send(&(fds, serde_bytes::Bytes::new(&pattern(count, len)))).unwrap();
        left.send(&1).unwrap();
        let (fds, bytes): (Vec<Descriptor>, serde_bytes::ByteBuf) = right.recv().unwrap();
        assert!(fds.len() == count && bytes.into_vec() == pattern(count, len));
        assert!(fds.iter().all(|fd| rustix::io::fcntl_getfd(fd).unwrap() == rustix::io::FdFlags::CLOEXEC));
        assert_eq!(right.recv::<i32>().unwrap(), 1);
    }
}

#[test]
fn a_process_without_room_for_the_descriptors_says_so_and_goes_on() {
    if !is_limited() {
        passes_under("ulimit -n 64", "a_process_without_room_for_the_descriptors_says_so_and_goes_on");
        return;
    }
    let (left, right) = pipe().unwrap();
    let descriptor = Descriptor::from(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
    let send = |count| left.send(&(0..count).map(|_| &descriptor).collect::<Vec<_>>());
    let before = limited::footprint().0;
    assert!(matches!(send(100), Err(ConnectionError::Encode(Error::TooManyFiles { .. }))));
    send(20).unwrap();
    left.send(&1).unwrap();
    let mut hogs = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hogs.push(file);
    }
    assert!(matches!(right.recv::<Vec<Descriptor>>(), Err(ConnectionError::TooManyFiles)));
    drop(hogs);
    assert_eq!(right.recv::<i32>().unwrap(), 1);
    assert_eq!(limited::footprint().0, before);
}

#[test]
fn a_file_size_limit_is_an_error_and_no_signal() {
    if !is_limited() {
        passes_under("ulimit -f 1000", "a_file_size_limit_is_an_error_and_no_signal");
        return;
    }
    let (left, right) = pipe().unwrap();
    let refused = left.send_bytes(&vec![1; 2 * MIB]);
    assert!(matches!(refused, Err(ConnectionError::OutOfMemory(_))), "{refused:?}");
    left.send_bytes(&vec![1; MIB / 2]).unwrap();
    assert_eq!(right.recv_bytes().unwrap().len(), MIB / 2);
}

/// Sends a packet that is none of ours.
fn send_raw(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    }
    rustix::net::sendmsg(socket, &[std::io::IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).unwrap();
}

#[test]
fn a_malformed_packet_is_refused_and_the_next_one_received() {
    let (left, right) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .unwrap();
    let right = Connection::from_fd(right).unwrap();
    let head = |kind: u8, flags: u8, fds: u32, len: u64| {
        let mut head = vec![1, kind, flags, 0];
        head.extend(fds.to_le_bytes());
        head.extend(len.to_le_bytes());
        head
    };
    let with = |head: Vec<u8>, body: &[u8]| [&head, body].concat();
    let null = std::fs::File::open("/dev/null").unwrap();
    let memory = rustix::fs::memfd_create("short", MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&memory, 10).unwrap();
    let (null, memory) = (null.as_fd(), memory.as_fd());
    let (lots, _inside) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .unwrap();
    let packets: [(Vec<u8>, &[BorrowedFd<'_>]); 14] = [
        (vec![1], &[]),
        (vec![0; 16], &[]),
        (with(head(3, 0, 0, 0), b""), &[]),
        (with(head(2, 0, 0, 2), b"a"), &[]),
        (with(head(2, 0, 0, 1), b"ab"), &[]),
        (with(head(2, 0, 0, u64::MAX), b"ab"), &[]),
        (with(head(2, 0, 1, 1), b"a"), &[]),
        (with(head(2, 0, 0, 1), b"a"), &[null]),
        (with(head(2, 1, 0, 9), b"a"), &[]),
        (with(head(2, 1, 0, 9), b"a"), &[null]),
        (with(head(2, 1, 0, 12), b"a"), &[memory]),
        (with(head(2, 1, 0, u64::MAX), b"a"), &[memory]),
        (with(head(2, 2, 5, 1), b"a"), &[null]),
        (with(head(2, 2, 5, 1), b"a"), &[lots.as_fd()]),
    ];
    for (packet, fds) in packets {
        send_raw(left.as_fd(), &packet, fds);
        let refused = right.recv_timeout::<u8>(SOON);
        assert!(matches!(refused, Err(ConnectionError::Decode(_))), "{packet:?}: {refused:?}");
    }
    send_raw(left.as_fd(), &vec![0; 100_000], &[]);
    assert!(matches!(right.recv_timeout::<u8>(SOON), Err(ConnectionError::Decode(_))));
    send_raw(left.as_fd(), &with(head(2, 1, 0, 11), b"a"), &[memory]);
    let (first, zeros) = right.recv::<(u8, [u8; 10])>().unwrap();
    assert_eq!((first, zeros), (b'a', [0; 10]));
    send_raw(left.as_fd(), &with(head(2, 0, 0, 1), b"a"), &[]);
    assert_eq!(right.recv::<u8>().unwrap(), b'a');
}

#[test]
fn other_descriptors_are_refused() {
    let refused = |fd: OwnedFd| match Connection::from_fd(fd) {
        Err(Error::Mismatch { found, .. }) => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(std::fs::File::open("/dev/null").unwrap().into()), "no socket");
    let datagram =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
    assert!(refused(datagram.0).contains("family"));
}

#[test]
fn wait_returns_all_that_are_ready_in_order() {
    let pipes: Vec<_> = (0..4).map(|_| pipe().unwrap()).collect();
    let ends: Vec<&dyn AsFd> = pipes.iter().map(|(_, right)| right as &dyn AsFd).collect();
    assert_eq!(connection::wait(&ends, Some(Duration::ZERO)).unwrap(), []);
    assert_eq!(connection::wait(&ends, Some(INSTANT)).unwrap(), []);
    assert_eq!(connection::wait(&[], Some(INSTANT)).unwrap(), []);
    pipes[3].0.send(&1).unwrap();
    pipes[1].0.send(&1).unwrap();
    assert_eq!(connection::wait(&ends, None).unwrap(), [1, 3]);
    assert_eq!(connection::wait(&[ends[1], ends[0], ends[1]], None).unwrap(), [0, 2], "twice the same");
    assert_eq!(pipes[1].1.recv::<i32>().unwrap(), 1);
    assert_eq!(connection::wait(&ends, Some(Duration::ZERO)).unwrap(), [3]);
}

#[test]
fn wait_sees_ends_and_processes() {
    let (here, there) = pipe().unwrap();
    let (idle, _idle_peer) = pipe().unwrap();
    let mut process = Process::spawn(|end: Connection| end.recv::<u8>().is_err(), there).unwrap();
    let ready = connection::wait(&[&idle, &here, &process.sentinel()], Some(INSTANT)).unwrap();
    assert_eq!(ready, []);
    process.kill().unwrap();
    assert_eq!(connection::wait(&[&idle, &process.sentinel()], Some(SOON)).unwrap(), [1]);
    assert_eq!(connection::wait(&[&idle, &here], Some(SOON)).unwrap(), [1]);
    assert!(process.join().is_err());
}

#[test]
fn nothing_is_left_of_many_messages() {
    fn footprint() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }
    /// In a process of its own, since other tests open files meanwhile.
    fn rounds(count: usize) -> (usize, usize) {
        let round = || {
            let (left, right) = pipe().unwrap();
            let event = Event::new().unwrap();
            left.send(&(&event, &right, serde_bytes::Bytes::new(&pattern(1, 100_000)))).unwrap();
            left.send_bytes(&pattern(1, MIB)).unwrap();
            let (_event, copy, _) = right.recv::<(Event, Connection, serde_bytes::ByteBuf)>().unwrap();
            assert!(copy.recv_bytes_max(1).is_err());
            left.send(&(&event, &right)).unwrap();
            left.send_bytes(&pattern(1, MIB)).unwrap();
            let unread = left.clone();
            drop((left, unread));
            assert!(right.recv::<u8>().is_err(), "its descriptors are closed");
        };
        (0..3).for_each(|_| round());
        let before = footprint();
        (0..count).for_each(|_| round());
        (before, footprint())
    }
    let (before, after) = Worker::spawn(rounds, 100).join();
    assert_eq!(before, after);
}

#[test]
fn messages_of_changing_lengths_arrive_whole() {
    let (here, there) = pipe().unwrap();
    // One part of a packet or several, a memory file: what comes next is not what came last.
    let lengths = [0, 1, 4096, 4097, 65_536, 65_537, 8, 200_000, 5000, 5001, 3, 65_520, 65_521, 0, 70_000];
    for (nth, len) in lengths.into_iter().enumerate() {
        let bytes: Vec<u8> = (0..len).map(|place| (place * 7 + nth) as u8).collect();
        for room in [len, len + 10, len + 70_000] {
            here.send_bytes(&bytes).unwrap();
            let mut buffer = vec![0xee; room];
            assert_eq!(there.recv_bytes_into(&mut buffer).unwrap(), len);
            assert!(buffer[..len] == bytes, "{len} bytes into {room}");
            assert!(buffer[len..].iter().all(|byte| *byte == 0xee), "{len} bytes into {room}: beyond them");
        }
        for room in [0, len / 2, len.saturating_sub(1)].into_iter().filter(|room| *room < len) {
            here.send_bytes(&bytes).unwrap();
            match there.recv_bytes_into(&mut vec![0; room]) {
                Err(ConnectionError::BufferTooShort(message)) => assert!(message == bytes, "{len}, {room}"),
                other => panic!("{len} bytes into {room}: {other:?}"),
            }
        }
        here.send_bytes(&bytes).unwrap();
        assert!(there.recv_bytes_max(len).unwrap() == bytes, "{len} bytes");
        here.send(&(nth, serde_bytes::Bytes::new(&bytes))).unwrap();
        let (number, value): (usize, serde_bytes::ByteBuf) = there.recv().unwrap();
        assert!((number, value.as_slice()) == (nth, &bytes[..]), "{len} bytes in a value");
    }
}
