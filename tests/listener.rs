//! `Listener`, `Client`, and connections over a stream of bytes.
#![cfg(feature = "auto-init")]

mod worker;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use multiproc::connection::{self, AuthenticationError};
use multiproc::{Address, AuthKey, Client, Connection, ConnectionError, Error, Event, Listener};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use worker::{SOON, Worker};

const MIB: usize = 1 << 20;
const INSTANT: Duration = Duration::from_millis(5);

/// A name that no other test uses.
fn name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter.
    format!("multiproc-test-{}-{number}", std::process::id())
}

/// A path where there is nothing; what is there in the end is removed.
struct Path(PathBuf);

impl Path {
    fn new() -> Self {
        Self(std::env::temp_dir().join(name()))
    }

    fn address(&self) -> Address {
        Address::Unix(self.0.clone())
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn any_port() -> Address {
    Address::tcp("127.0.0.1:0").unwrap()
}

fn key(text: &str) -> Option<AuthKey> {
    Some(AuthKey::new(text))
}

fn bind(address: Address, key: Option<AuthKey>) -> Listener {
    Listener::bind(address, key).unwrap()
}

/// Both ends of a connection over TCP.
fn tcp() -> (Connection, Connection) {
    let listener = bind(any_port(), None);
    let client = Client::connect(listener.address().clone(), None).unwrap();
    (client, listener.accept_timeout(SOON).unwrap())
}

fn why(refused: Result<Connection, ConnectionError>) -> AuthenticationError {
    match refused {
        Err(ConnectionError::Authentication(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_and_a_listener_talk_at_each_kind_of_address() {
    let path = Path::new();
    for key in [None, key("secret"), key("")] {
        for address in
            [path.address(), Address::Abstract(name()), any_port(), Address::tcp("[::1]:0").unwrap()]
        {
            let Ok(listener) = Listener::bind(address.clone(), key.clone()) else {
                assert!(address.to_string().contains("::1"), "{address}: no IPv6 here");
                continue;
            };
            assert!(matches!(listener.try_accept(), Err(ConnectionError::WouldBlock)));
            let address = listener.address().to_string().parse().unwrap();
            let client = Client::connect_timeout(address, key.clone(), SOON).unwrap();
            client.send(&("hello", 7_u8)).unwrap();
            let server = listener.accept_timeout(SOON).unwrap();
            assert_eq!(server.recv::<(String, u8)>().unwrap(), ("hello".to_owned(), 7));
            let large: Vec<u8> = (0..3 * MIB).map(|place| (place / 7) as u8).collect();
            std::thread::scope(|scope| {
                scope.spawn(|| server.send_bytes(&large).unwrap());
                assert!(client.recv_bytes_timeout(SOON).unwrap() == large);
            });
            client.close();
            assert!(matches!(server.recv::<u8>(), Err(ConnectionError::Eof)));
        }
    }
}

#[test]
fn clients_in_other_processes_are_served_in_turn() {
    fn ask((address, key, number): (Address, AuthKey, u32)) -> u32 {
        let connection = Client::connect(address, Some(key)).unwrap();
        connection.send(&number).unwrap();
        connection.recv().unwrap()
    }
    let key = AuthKey::random().unwrap();
    let listener = bind(any_port(), Some(key.clone()));
    let ask = |number| Worker::spawn(ask, (listener.address().clone(), key.clone(), number));
    let clients: Vec<_> = (0..4).map(ask).collect();
    for _ in 0..4 {
        let connection = listener.accept_timeout(SOON).unwrap();
        connection.send(&(connection.recv::<u32>().unwrap() + 100)).unwrap();
    }
    let answers: Vec<_> = clients.into_iter().map(Worker::join).collect();
    assert_eq!(answers, [100, 101, 102, 103]);
}

/// Both ends are told, whatever is wrong with their keys.
#[test]
fn keys_that_differ_are_an_error_at_both_ends_known_bad_24() {
    use AuthenticationError::{KeyMissing, KeyRequired, Rejected, WrongKey};
    for address in [Address::Abstract(name()), any_port()] {
        for (of_listener, of_client, listener_says, client_says) in [
            (key("one"), key("two"), WrongKey, Rejected),
            (key("one"), key(""), WrongKey, Rejected),
            (key("one"), None, KeyMissing, KeyRequired),
            (None, key("two"), KeyRequired, KeyMissing),
            (key(""), None, KeyMissing, KeyRequired),
        ] {
            let listener = bind(address.clone(), of_listener.clone());
            let client = Client::connect_timeout(listener.address().clone(), of_client, SOON);
            assert_eq!(why(client), client_says);
            assert_eq!(why(listener.accept_timeout(SOON)), listener_says);
            // It goes on.
            let client = Client::connect_timeout(listener.address().clone(), of_listener, SOON).unwrap();
            client.send(&1).unwrap();
            assert_eq!(listener.accept_timeout(SOON).unwrap().recv::<i32>().unwrap(), 1);
        }
    }
}

/// A socket that is connected to the listener, and has said nothing.
fn silent(address: &Address) -> OwnedFd {
    match address {
        Address::Tcp(address) => TcpStream::connect(address).unwrap().into(),
        Address::Abstract(name) => {
            let socket =
                socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
            connect(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()).unwrap();
            socket
        }
        other => panic!("{other}"),
    }
}

/// Accepting does not wait for a client that says nothing, or half of what it should.
#[test]
fn silent_clients_delay_nobody_known_bad_23() {
    for address in [Address::Abstract(name()), any_port()] {
        let listener = bind(address, key("secret"));
        let mut held: Vec<_> = (0..20).map(|_| silent(listener.address())).collect();
        held.push({
            let socket = silent(listener.address());
            rustix::net::send(&socket, b"mpc", rustix::net::SendFlags::empty()).unwrap();
            socket
        });
        let client = Client::connect_timeout(listener.address().clone(), key("secret"), SOON).unwrap();
        client.send(&7_u8).unwrap();
        assert_eq!(listener.accept_timeout(SOON).unwrap().recv::<u8>().unwrap(), 7);
        assert!(matches!(listener.try_accept(), Err(ConnectionError::WouldBlock)));
    }
}

#[test]
fn a_silent_client_is_turned_away_at_the_deadline_known_bad_23() {
    let limit = Duration::from_millis(100);
    for (address, is_told) in [(Address::Abstract(name()), false), (any_port(), false), (any_port(), true)] {
        let options = Listener::options().authkey(AuthKey::new("secret")).handshake_timeout(limit);
        let listener = options.reports_silent(is_told).bind(address).unwrap();
        let begun = Instant::now();
        let held: Vec<_> = (0..3).map(|_| silent(listener.address())).collect();
        // One that says a little of its hello from time to time has no longer than the others.
        let slow = silent(listener.address());
        let mut hello = hello(1, 34, 1, 1).into_iter();
        let mut said = || {
            let byte = [hello.next().unwrap_or(0)];
            rustix::net::send(&slow, &byte, rustix::net::SendFlags::NOSIGNAL).is_ok()
        };
        for socket in &held {
            // The listener's hello, then the end.
            while has_more(socket) {
                said();
            }
        }
        assert!(begun.elapsed() >= limit, "no sooner");
        while has_more(&slow) && begun.elapsed() < SOON {
            said();
        }
        assert!(begun.elapsed() < SOON);
        // Nobody is told of them unless it is asked for, and the next one gets in.
        for _ in 0..4 * usize::from(is_told) {
            let told = why(listener.accept_timeout(SOON));
            assert_eq!(told, AuthenticationError::Silent);
        }
        assert!(matches!(listener.try_accept(), Err(ConnectionError::WouldBlock)));
        Client::connect_timeout(listener.address().clone(), key("secret"), SOON).unwrap();
        listener.accept_timeout(SOON).unwrap();
    }
}

/// Whether there is something to be read from the socket yet, or may still come, within a while.
fn has_more(socket: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let while_ = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    if poll(&mut fds, Some(&while_)).unwrap() == 0 {
        return true;
    }
    let received = rustix::net::recv(socket, &mut [0; 64], rustix::net::RecvFlags::empty());
    matches!(received, Ok((_, 1..)))
}

#[test]
fn many_silent_clients_shut_nobody_out() {
    let listener = bind(Address::Abstract(name()), None);
    let held: Vec<_> = (0..400).map(|_| silent(listener.address())).collect();
    for _ in 0..3 {
        Client::connect_timeout(listener.address().clone(), None, SOON).unwrap();
        listener.accept_timeout(SOON).unwrap();
    }
    drop(held);
}

#[test]
fn a_silent_listener_is_not_waited_for() {
    let (socket, port) = (TcpListener::bind("127.0.0.1:0").unwrap(), |socket: &TcpListener| {
        Address::Tcp(socket.local_addr().unwrap())
    });
    let late = Client::connect_timeout(port(&socket), key("secret"), INSTANT);
    assert!(matches!(late, Err(ConnectionError::TimedOut)), "{late:?}");
    let late = Client::connect_deadline(port(&socket), None, Instant::now() + INSTANT);
    assert!(matches!(late, Err(ConnectionError::TimedOut)), "{late:?}");
    // One that hangs up.
    let address = port(&socket);
    let hang_up = std::thread::spawn(move || {
        for _ in 0..3 {
            drop(socket.accept().unwrap());
        }
    });
    assert_eq!(why(Client::connect_timeout(address, None, SOON)), AuthenticationError::HungUp);
    hang_up.join().unwrap();
}

#[test]
fn where_nobody_listens_connecting_says_so() {
    let kind = |address| match Client::connect_timeout(address, None, SOON) {
        Err(ConnectionError::Io(error)) => error.kind(),
        other => panic!("{other:?}"),
    };
    let path = Path::new();
    assert_eq!(kind(path.address()), std::io::ErrorKind::NotFound);
    assert_eq!(kind(Address::Abstract(name())), std::io::ErrorKind::ConnectionRefused);
    let listener = bind(any_port(), None);
    let address = listener.address().clone();
    listener.close();
    assert_eq!(kind(address), std::io::ErrorKind::ConnectionRefused);
}

/// Says `bytes` to a listener over TCP; what the listener says of it, and what it answers after its hello.
fn say(listener: &Listener, bytes: &[u8]) -> (AuthenticationError, Vec<u8>) {
    let mut stream = TcpStream::from(silent(listener.address()));
    stream.write_all(bytes).unwrap();
    let said = why(listener.accept_timeout(SOON));
    let mut answer = Vec::new();
    // Where it closes with bytes unread, that is a reset behind what it said.
    let _ = stream.read_to_end(&mut answer);
    (said, answer.split_off(answer.len().min(42)))
}

fn hello(version: u16, rest: u16, role: u8, has_key: u8) -> Vec<u8> {
    let head = [&b"mpcn"[..], &version.to_le_bytes(), &rest.to_le_bytes(), &[role, has_key]].concat();
    [head, vec![5; usize::from(rest).min(2000).saturating_sub(2)]].concat()
}

#[test]
fn strange_clients_are_turned_away_with_a_reason() {
    let listener = bind(any_port(), key("secret"));
    let (said, _) = say(&listener, &hello(9, 34, 1, 1));
    assert!(matches!(said, AuthenticationError::Version { ours: 1, theirs: 9, .. }));
    let (said, _) = say(&listener, &hello(0, 34, 1, 1));
    assert!(matches!(said, AuthenticationError::Version { theirs: 0, .. }), "an old one");
    for strange in
        [hello(1, 60_000, 1, 1), hello(1, 33, 1, 1), hello(1, 34, 7, 1), b"GET / HTTP/1.1\r\n".to_vec()]
    {
        assert!(matches!(say(&listener, &strange).0, AuthenticationError::Malformed(_)));
    }
    let (said, answer) = say(&listener, &[hello(1, 34, 1, 1), vec![b'P'; 33]].concat());
    assert_eq!((said, answer[0]), (AuthenticationError::WrongKey, b'R'));
    // A packet that is longer than any hello.
    let packets = bind(Address::Abstract(name()), key("secret"));
    let socket = silent(packets.address());
    rustix::net::send(&socket, &[b'm'; 5000], rustix::net::SendFlags::empty()).unwrap();
    assert!(matches!(why(packets.accept_timeout(SOON)), AuthenticationError::Malformed(_)));
}

#[test]
fn a_client_that_sends_the_listeners_bytes_back_is_refused() {
    let listener = bind(any_port(), key("secret"));
    for change_role in [false, true] {
        let mut stream = TcpStream::from(silent(listener.address()));
        let mut hello = [0; 42];
        stream.read_exact(&mut hello).unwrap();
        hello[8] ^= u8::from(change_role);
        stream.write_all(&hello).unwrap();
        assert_eq!(why(listener.accept_timeout(SOON)), AuthenticationError::Reflected);
    }
}

#[test]
fn a_key_is_never_printed() {
    let listener = bind(Address::Abstract(name()), key("pass phrase"));
    let client = Client::connect(listener.address().clone(), key("pass phrase")).unwrap();
    let printed = format!("{listener:?} {client:?} {:?}", key("pass phrase"));
    assert!(!printed.contains("pass") && printed.contains("AuthKey(..)"), "{printed}");
}

#[test]
fn a_listener_that_was_killed_is_replaced_and_a_living_one_is_not() {
    fn listen((address, ready, end): (Address, Event, Event)) {
        let _listener = bind(address, None);
        ready.set();
        end.wait();
    }
    let path = Path::new();
    let (ready, end) = (Event::new().unwrap(), Event::new().unwrap());
    let worker = Worker::spawn(listen, (path.address(), ready.clone(), end));
    assert!(ready.wait_timeout(SOON));
    let refused = Listener::bind(path.address(), None);
    assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{refused:?}");
    Client::connect_timeout(path.address(), None, SOON).unwrap();
    worker.kill();
    assert!(path.0.exists(), "a killed one leaves its file");
    let listener = bind(path.address(), None);
    Client::connect_timeout(path.address(), None, SOON).unwrap();
    drop(listener);
    assert!(!path.0.exists(), "a closed one does not");
}

#[test]
fn other_files_are_left_alone() {
    let path = Path::new();
    std::fs::write(&path.0, "data").unwrap();
    assert!(matches!(Listener::bind(path.address(), None), Err(Error::AlreadyExists { .. })));
    assert_eq!(std::fs::read_to_string(&path.0).unwrap(), "data");
    std::fs::remove_file(&path.0).unwrap();
    // Another program's socket.
    let other = std::os::unix::net::UnixListener::bind(&path.0).unwrap();
    assert!(matches!(Listener::bind(path.address(), None), Err(Error::AlreadyExists { .. })));
    UnixStream::connect(&path.0).unwrap();
    drop(other);
    std::fs::remove_file(&path.0).unwrap();
    // A file that took the place of the listener's.
    let listener = bind(path.address(), None);
    std::fs::remove_file(&path.0).unwrap();
    std::fs::write(&path.0, "data").unwrap();
    drop(listener);
    assert_eq!(std::fs::read_to_string(&path.0).unwrap(), "data");
    let nowhere = Address::Unix("/nonexistent/socket".into());
    assert!(matches!(Listener::bind(nowhere, None), Err(Error::Os { .. })));
    let too_long = Address::Unix(std::env::temp_dir().join("x".repeat(200)));
    assert!(Listener::bind(too_long, None).is_err());
}

#[test]
fn an_address_has_one_listener() {
    for address in [Address::Abstract(name()), any_port()] {
        let first = bind(address, None);
        let second = Listener::bind(first.address().clone(), None);
        assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");
    }
}

#[test]
fn a_socket_file_is_for_its_user_only() {
    use std::os::unix::fs::PermissionsExt;
    let path = Path::new();
    let _listener = bind(path.address(), None);
    let mode = std::fs::metadata(&path.0).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

#[test]
fn accepting_gives_up_and_can_be_waited_for() {
    let listener = bind(Address::Abstract(name()), None);
    assert!(matches!(listener.accept_timeout(INSTANT), Err(ConnectionError::TimedOut)));
    assert!(matches!(listener.accept_deadline(Instant::now() + INSTANT), Err(ConnectionError::TimedOut)));
    assert_eq!(connection::wait(&[&listener], Some(INSTANT)).unwrap(), []);
    let _client = Client::connect(listener.address().clone(), None).unwrap();
    assert_eq!(connection::wait(&[&listener], Some(SOON)).unwrap(), [0]);
    listener.try_accept().unwrap();
    assert_eq!(connection::wait(&[&listener], Some(INSTANT)).unwrap(), []);
}

#[test]
fn what_nobody_accepts_is_closed_with_the_listener() {
    let listener = bind(Address::Abstract(name()), None);
    // More than the listener holds: the rest waits in the system's backlog.
    let clients: Vec<_> =
        (0..100).map(|_| Client::connect_timeout(listener.address().clone(), None, SOON).unwrap()).collect();
    drop(listener);
    for client in clients {
        assert!(matches!(
            client.recv_timeout::<u8>(SOON),
            Err(ConnectionError::Eof | ConnectionError::Reset)
        ));
    }
}

#[test]
fn a_connection_over_a_network_has_the_same_messages() {
    let (left, right) = tcp();
    for len in [0, 1, 100, MIB] {
        let sent = vec![len as u8; len];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..3 {
                    left.send_bytes(&sent).unwrap();
                }
                left.send(&serde_bytes::Bytes::new(&sent)).unwrap();
            });
            assert!(right.recv_bytes_timeout(SOON).unwrap() == sent);
            let mut buffer = vec![1; len + 1];
            assert_eq!(right.recv_bytes_into_timeout(&mut buffer, SOON).unwrap(), len);
            assert!(buffer[..len] == sent);
            match right.recv_bytes_max_timeout(99, SOON) {
                Ok(received) => assert!(received == sent && len < 100),
                Err(ConnectionError::TooLong { len: found, max: 99, .. }) => assert_eq!(found, len as u64),
                Err(error) => panic!("{error}"),
            }
            assert!(right.recv_timeout::<serde_bytes::ByteBuf>(SOON).unwrap().into_vec() == sent);
        });
    }
    left.send_bytes(&[7; 10]).unwrap();
    assert!(
        matches!(right.recv_bytes_into(&mut [0; 4]), Err(ConnectionError::BufferTooShort(all)) if all == [7; 10])
    );
    assert!(matches!(right.try_recv::<u8>(), Err(ConnectionError::WouldBlock)));
    assert!(matches!(right.recv_timeout::<u8>(INSTANT), Err(ConnectionError::TimedOut)));
    assert!(matches!(left.send(&Event::new().unwrap()), Err(ConnectionError::NoDescriptors)));
    left.send(&"end").unwrap();
    assert!(right.poll_timeout(SOON).unwrap());
    drop(left);
    assert_eq!(right.recv::<String>().unwrap(), "end");
    assert!(matches!(right.recv::<String>(), Err(ConnectionError::Eof)));
}

#[test]
fn senders_on_one_end_of_a_stream_never_interleave_known_bad_26() {
    const COUNT: usize = 100;
    fn send((connection, byte): (Connection, u8)) {
        for turn in 0..COUNT {
            connection.send_bytes(&vec![byte; [3, 5_000, 200_000][turn % 3]]).unwrap();
        }
    }
    let (here, there) = tcp();
    let workers: Vec<_> = [1, 2].map(|byte| Worker::spawn(send, (there.clone(), byte))).into();
    std::thread::scope(|scope| {
        scope.spawn(|| send((there, 3)));
        let mut counts = [0; 3];
        for _ in 0..3 * COUNT {
            let message = here.recv_bytes_timeout(SOON).unwrap();
            assert!(message.iter().all(|&byte| byte == message[0]));
            counts[usize::from(message[0]) - 1] += 1;
        }
        assert_eq!(counts, [COUNT; 3]);
    });
    workers.into_iter().for_each(Worker::join);
}

/// It says so when it leaves a part of a message behind.
#[test]
fn a_message_that_was_partly_sent_ends_the_stream_known_bad_46() {
    let (left, right) = tcp();
    left.send(&"whole").unwrap();
    let len = 64 * MIB;
    let partly = left.send_bytes_timeout(&vec![1; len], INSTANT);
    let Err(ConnectionError::PartlySent { sent, len: of, .. }) = partly else { panic!("{partly:?}") };
    assert!(0 < sent && sent < of && of == len as u64);
    for _ in 0..2 {
        assert!(matches!(left.send(&1), Err(ConnectionError::Broken)));
    }
    assert_eq!(right.recv::<String>().unwrap(), "whole");
    assert!(matches!(right.recv_bytes_timeout(SOON), Err(ConnectionError::Truncated)));
    assert!(matches!(right.recv_bytes_timeout(SOON), Err(ConnectionError::Eof)));
    // The other direction goes on.
    right.send(&"still").unwrap();
    assert_eq!(left.recv_timeout::<String>(SOON).unwrap(), "still");
}

#[test]
fn a_receiver_that_gave_up_goes_on_where_it_was() {
    let (stream, other) = UnixStream::pair().unwrap();
    let connection = Connection::from_fd(other.into()).unwrap();
    let head = [1, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
    let message = [&head[..], b"abc"].concat();
    for byte in &message[..message.len() - 1] {
        (&stream).write_all(&[*byte]).unwrap();
        assert!(matches!(connection.try_recv_bytes(), Err(ConnectionError::WouldBlock)));
    }
    // The part is here: another process can't go on with it.
    let other = Worker::spawn(
        |connection: Connection| matches!(connection.try_recv_bytes(), Err(ConnectionError::Broken)),
        connection.clone(),
    );
    assert!(other.join());
    (&stream).write_all(&message[message.len() - 1..]).unwrap();
    assert_eq!(connection.try_recv_bytes().unwrap(), b"abc");
    // And now it can.
    (&stream).write_all(&message).unwrap();
    let other = Worker::spawn(|connection: Connection| connection.recv_bytes().unwrap(), connection.clone());
    assert_eq!(other.join(), b"abc");
    // The end, in the middle of a message.
    (&stream).write_all(&message[..17]).unwrap();
    drop(stream);
    assert!(matches!(connection.recv_bytes(), Err(ConnectionError::Truncated)));
    assert!(matches!(connection.recv_bytes(), Err(ConnectionError::Eof)));
}

#[test]
fn bytes_that_are_no_message_end_a_stream() {
    let (stream, other) = UnixStream::pair().unwrap();
    let connection = Connection::from_fd(other.into()).unwrap();
    (&stream).write_all(&[9; 40]).unwrap();
    assert!(matches!(connection.recv_bytes(), Err(ConnectionError::Decode(_))));
    assert!(matches!(connection.recv_bytes(), Err(ConnectionError::Broken)));
    // A length alone takes no memory.
    let (stream, other) = UnixStream::pair().unwrap();
    let connection = Connection::from_fd(other.into()).unwrap();
    let head = [&[1, 1, 0, 0, 0, 0, 0, 0][..], &(1_u64 << 60).to_le_bytes()].concat();
    (&stream).write_all(&head).unwrap();
    assert!(matches!(connection.recv_bytes_timeout(INSTANT), Err(ConnectionError::TimedOut)));
}

/// Nobody is left to wait, and nobody reads nonsense.
#[test]
fn a_sender_killed_in_a_stream_leaves_whole_messages_or_says_so_known_bad_25() {
    fn send_for_ever(connection: Connection) {
        loop {
            connection.send_bytes(&[4; 100_000]).unwrap();
        }
    }
    for round in 0..6 {
        let (here, there) = tcp();
        let victim = Worker::spawn(send_for_ever, there.clone());
        for _ in 0..=round {
            assert!(here.recv_bytes_timeout(SOON).unwrap() == [4; 100_000]);
        }
        victim.kill();
        let survivor = there.send_timeout(&"survivor", INSTANT);
        drop(there);
        let end = loop {
            match here.recv_bytes_timeout(SOON) {
                Ok(message) => assert!(message == [4; 100_000]),
                Err(error) => break error,
            }
        };
        match survivor {
            Ok(()) => assert!(matches!(end, ConnectionError::Decode(_)), "{end:?}"),
            Err(ConnectionError::Broken) => {
                assert!(matches!(end, ConnectionError::Truncated | ConnectionError::Eof), "{end:?}");
            }
            Err(ConnectionError::TimedOut) => assert!(matches!(end, ConnectionError::Eof), "{end:?}"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn nothing_is_left_of_many_connections() {
    fn footprint() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }
    /// In a process of its own, since other tests open files meanwhile.
    fn rounds((count, path): (usize, PathBuf)) -> (usize, usize) {
        let round = || {
            for address in [Address::Unix(path.clone()), any_port()] {
                let listener = bind(address, key("secret"));
                let address = listener.address().clone();
                let client = Client::connect(address.clone(), key("secret")).unwrap();
                let server = listener.accept().unwrap();
                client.send(&1).unwrap();
                assert_eq!(server.recv::<i32>().unwrap(), 1);
                assert!(Client::connect(address.clone(), key("wrong")).is_err());
                let _unaccepted = Client::connect(address, key("secret")).unwrap();
            }
        };
        (0..3).for_each(|_| round());
        let before = footprint();
        (0..count).for_each(|_| round());
        (before, footprint())
    }
    let path = Path::new();
    let (before, after) = Worker::spawn(rounds, (30, path.0.clone())).join();
    assert_eq!(before, after);
    assert!(!path.0.exists());
}
