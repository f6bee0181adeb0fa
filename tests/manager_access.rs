//! `Manager`: who gets in, at which addresses, and what becomes of those who don't.
#![cfg(all(feature = "manager", feature = "auto-init"))]

mod worker;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use multiproc::connection::AuthenticationError;
use multiproc::manager::{DictProxy, ListProxy, ManagerError, Refusal};
use multiproc::{Address, AuthKey, Client, ConnectionError, Listener, Manager};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, socket_with,
};
use worker::{SOON, Worker, eventually};

fn name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter.
    format!("multiproc-test-access-{}-{number}", std::process::id())
}

/// A directory of this user's alone, which is empty in the end.
struct Private(PathBuf);

impl Private {
    fn new() -> Self {
        let path = std::env::temp_dir().join(name());
        std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("manager")
    }

    fn address(&self) -> Address {
        Address::Unix(self.file())
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn key() -> AuthKey {
    AuthKey::new("right")
}

fn any_port() -> Address {
    Address::tcp("127.0.0.1:0").unwrap()
}

/// A socket that is connected, and has said nothing.
fn silent(address: &Address) -> OwnedFd {
    let unix = |address: SocketAddrUnix| {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        connect(&socket, &address).unwrap();
        socket
    };
    match address {
        Address::Tcp(address) => TcpStream::connect(address).unwrap().into(),
        Address::Abstract(name) => unix(SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()),
        Address::Unix(path) => unix(SocketAddrUnix::new(path).unwrap()),
        other => panic!("{other}"),
    }
}

/// Reads what comes, until the other end hangs up.
fn wait_for_the_end(socket: &OwnedFd) {
    let soon = Timespec { tv_sec: SOON.as_secs() as i64, tv_nsec: 0 };
    loop {
        let mut fds = [PollFd::new(socket, PollFlags::IN)];
        assert_eq!(poll(&mut fds, Some(&soon)).unwrap(), 1, "nobody hung up");
        match recv(socket, &mut [0_u8; 64], RecvFlags::empty()) {
            Ok((_, 1..)) => {}
            Ok(_) | Err(rustix::io::Errno::CONNRESET) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_silent_client_is_dropped_at_the_deadline_and_delays_nobody() {
    let directory = Private::new();
    std::thread::scope(|scope| {
        for address in [Address::Abstract(name()), directory.address(), any_port()] {
            scope.spawn(move || drop_silent_clients(address));
        }
    });
}

fn drop_silent_clients(address: Address) {
    // Long enough for a client that is let in, on a loaded machine too.
    let limit = Duration::from_secs(3);
    let builder = Manager::builder().address(address).authkey(key()).handshake_timeout(limit);
    let manager = builder.start().unwrap();
    let address = manager.address();
    let list = manager.list([0]).unwrap();
    let start = Instant::now();
    let silent: Vec<_> = (0..3).map(|_| silent(address)).collect();
    // They prove their key, and say no more.
    let idle: Vec<_> = (0..3).map(|_| Client::connect(address.clone(), Some(key())).unwrap()).collect();
    let mut calls = 0;
    while manager.refusals().unwrap().len() < 6 {
        list.set(0, &calls).unwrap();
        calls += 1;
        assert!(start.elapsed() < SOON, "{:?}", manager.refusals());
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(start.elapsed() >= limit, "no sooner");
    assert!(calls > 1, "others were served meanwhile");
    assert_eq!(manager.refusals().unwrap(), vec![Refusal::Silent; 6]);
    silent.iter().for_each(wait_for_the_end);
    for client in idle {
        let end = client.recv_bytes_timeout(SOON);
        assert!(matches!(end, Err(ConnectionError::Eof | ConnectionError::Reset)), "{end:?}");
    }
    assert_eq!(Manager::connect(address.clone(), key()).unwrap().stats().unwrap().clients, 2);
}

#[test]
fn a_silent_server_is_given_up_at_the_deadline() {
    // At all, and after it has proved its key.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = Listener::bind(any_port(), Some(key())).unwrap();
    let addresses = [Address::Tcp(mute.local_addr().unwrap()), listener.address().clone()];
    std::thread::scope(|scope| {
        let connect = |address: &Address| Manager::connect(address.clone(), key()).err();
        let errors = addresses.each_ref().map(|address| scope.spawn(move || connect(address)));
        let _connection = listener.accept_timeout(SOON).unwrap();
        for error in errors {
            let error = error.join().unwrap();
            assert!(matches!(error, Some(ManagerError::Unreachable(ConnectionError::TimedOut))), "{error:?}");
        }
    });
}

#[test]
fn keys_that_differ_are_errors_at_both_ends() {
    let manager = Manager::builder().address(any_port()).authkey(key()).start().unwrap();
    let address = || manager.address().clone();
    let wrong = Manager::connect(address(), AuthKey::new("wrong")).err();
    assert!(matches!(wrong, Some(ManagerError::Authentication(AuthenticationError::Rejected))), "{wrong:?}");
    let none = Client::connect(address(), None).err();
    let missing = ConnectionError::Authentication(AuthenticationError::KeyRequired);
    assert_eq!(none.unwrap().to_string(), missing.to_string());
    eventually("the refusals", || manager.refusals().unwrap().len() == 2);
    assert_eq!(manager.refusals().unwrap(), [Refusal::WrongKey, Refusal::KeyMissing]);
    // A server without a key is none for a manager, and told apart from one with another key.
    for (listener_key, is_missing) in [(None, true), (Some(AuthKey::new("wrong")), false)] {
        let listener = Listener::bind(any_port(), listener_key).unwrap();
        let error = Manager::connect(listener.address().clone(), key()).err();
        let Some(ManagerError::Authentication(why)) = error else { panic!("{error:?}") };
        assert_eq!(why == AuthenticationError::KeyMissing, is_missing, "{why:?}");
        assert!(matches!(
            listener.accept_timeout(SOON),
            Err(ConnectionError::Authentication(
                AuthenticationError::KeyRequired
                    | AuthenticationError::WrongKey
                    | AuthenticationError::Rejected
            ))
        ));
    }
}

#[test]
fn an_old_handshake_is_an_error_at_both_ends() {
    let hello = |role: u8| [&b"mpcn\0\0\x22\0"[..], &[role, 1], &[5; 32]].concat();
    let manager = Manager::builder().address(any_port()).authkey(key()).start().unwrap();
    let client = silent(manager.address());
    rustix::net::send(&client, &hello(1), rustix::net::SendFlags::NOSIGNAL).unwrap();
    wait_for_the_end(&client);
    eventually("the refusal", || !manager.refusals().unwrap().is_empty());
    let refusals = manager.refusals().unwrap();
    assert!(matches!(refusals[..], [Refusal::Version { ours: 1, theirs: 0, .. }]), "{refusals:?}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let old = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&hello(0)).unwrap();
        // Until the client hangs up.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let error = Manager::connect(address, key()).err();
    let is_version = matches!(
        error,
        Some(ManagerError::Authentication(AuthenticationError::Version { ours: 1, theirs: 0, .. }))
    );
    assert!(is_version, "{error:?}");
    old.join().unwrap();
}

#[test]
fn what_is_no_managers_server_is_an_error() {
    let listener = Listener::bind(Address::Abstract(name()), Some(key())).unwrap();
    let address = listener.address().clone();
    let other = std::thread::spawn(move || {
        for greeting in [b"HTTP/1.1 400 Bad Request".to_vec(), b"mpmg\x01\0\0".to_vec(), vec![0; 4096]] {
            let connection = listener.accept_timeout(SOON).unwrap();
            connection.recv_bytes_timeout(SOON).unwrap();
            connection.send_bytes(&greeting).unwrap();
        }
    });
    for _ in 0..2 {
        let error = Manager::connect(address.clone(), key()).err();
        assert!(matches!(error, Some(ManagerError::Refused(_))), "{error:?}");
    }
    let error = Manager::connect(address, key()).err();
    assert!(matches!(error, Some(ManagerError::Unreachable(ConnectionError::TooLong { .. }))), "{error:?}");
    other.join().unwrap();
}

#[test]
fn a_socket_file_is_this_users_alone_and_goes_with_its_server() {
    fn push(list: ListProxy<u32>) {
        list.push(&2).unwrap();
    }
    let directory = Private::new();
    let manager = Manager::builder().address(directory.address()).start().unwrap();
    assert_eq!(*manager.address(), directory.address());
    let file = std::fs::metadata(directory.file()).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o077, 0, "nobody else's");
    let list = manager.list([1]).unwrap();
    Worker::spawn(push, list.clone()).join();
    assert_eq!(list.to_vec().unwrap(), [1, 2]);
    let second = Manager::builder().address(directory.address()).start();
    assert!(second.is_err_and(|error| error.to_string().contains("there is already")));
    manager.shutdown().unwrap();
    assert!(!directory.file().exists());
    let later = list.len();
    assert!(matches!(later, Err(ManagerError::Disconnected | ManagerError::Unreachable(_))), "{later:?}");
    let key = multiproc::current_process().authkey().unwrap();
    let gone = Manager::connect(directory.address(), key).err();
    let Some(ManagerError::Unreachable(ConnectionError::Io(gone))) = gone else { panic!("{gone:?}") };
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    // A server in this process leaves none, either.
    let server = Manager::builder().address(directory.address()).into_server().unwrap();
    assert!(directory.file().exists());
    drop(server);
    assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 0);
}

#[test]
fn the_socket_file_of_a_killed_server_is_taken_over() {
    let directory = Private::new();
    let first = Manager::builder().address(directory.address()).authkey(key()).start().unwrap();
    let dict = first.dict::<u8, u8>().unwrap();
    let pid = rustix::process::Pid::from_raw(first.pid().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let lost = dict.set(&1, &1);
    assert!(matches!(lost, Err(ManagerError::Disconnected | ManagerError::Unreachable(_))), "{lost:?}");
    assert!(directory.file().exists(), "it could not remove it");
    let refused = Manager::connect(directory.address(), key()).err();
    assert!(matches!(refused, Some(ManagerError::Unreachable(_))), "{refused:?}");

    let second = Manager::builder().address(directory.address()).authkey(key()).start().unwrap();
    second.publish("dict", &second.dict::<u8, u8>().unwrap()).unwrap();
    let other = Manager::connect(directory.address(), key()).unwrap();
    let found = other.find::<DictProxy<u8, u8>>("dict").unwrap();
    assert_eq!(found.insert(&1, &2).unwrap(), None);
    assert!(matches!(dict.len(), Err(ManagerError::Restarted)), "not the dictionary of the first");
    // The handle of the first does not end the second, or remove its file.
    first.shutdown().unwrap();
    assert_eq!(found.len().unwrap(), 1);
    drop((other, second));
    assert!(!directory.file().exists());
}

#[test]
fn a_file_that_is_no_servers_stays_and_is_refused() {
    let directory = Private::new();
    std::fs::write(directory.file(), "mine").unwrap();
    let refused = Manager::builder().address(directory.address()).start().err();
    assert!(refused.is_some_and(|error| error.to_string().contains("there is already")));
    let connected = Manager::connect(directory.address(), key()).err();
    assert!(matches!(connected, Some(ManagerError::Unreachable(ConnectionError::Io(_)))), "{connected:?}");
    assert_eq!(std::fs::read_to_string(directory.file()).unwrap(), "mine");
}
