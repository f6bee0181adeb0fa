//! `Connection` beside bare Unix sockets, ipc-channel and CPython's Pipe, between two processes:
//! `cargo bench --bench connection [-- --quick]` in this directory.
//!
//! Each run forks a partner, on another core unless it says otherwise. Peers run interleaved with ours; figures are medians,
//! ratios medians of ratios within a round. A full run writes CONNECTION.md.

mod cpython;
#[allow(dead_code)] // Each benchmark uses a part.
mod processes;
mod report;
#[path = "../rounds/mod.rs"]
mod rounds;

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Instant;

use cpython::CPython;
use ipc_channel::ipc;
use multiproc::{Connection, Event, Segment, pipe};
use processes::{Child, Cores, pin};
use report::{Goal, Report};
use rounds::{Contestant, Figures};

const SOCKET: &str = "Unix socket of packets";
const SOCKET_FDS: &str = "the same, ready for descriptors";
const STREAM: &str = "Unix socket of a stream";
const INTO: &str = "**Connection** recv_bytes_into";
const BYTES: &str = "**Connection** recv_bytes";
const VALUE: &str = "**Connection** send, recv";
const IPC: &str = "ipc-channel, bytes";
const PYTHON: &str = "CPython Pipe";
const HANDLE: &str = "**Connection** a handle, mapped";

/// What of a long message the bare socket takes in a packet.
const PACKET: usize = 64 << 10;
/// Segments that are sent in turn.
const SEGMENTS: usize = 64;

fn main() {
    let python = CPython::start();
    let cores = Cores::allowed();
    let mut report = Report::default();
    report.head("Connections beside their peers", "connection", python.as_ref());
    for (size, name, operations, goal) in
        [(8, "8 B", 200_000, 0.85), (PACKET, "64 KiB", 20_000, 0.95), (1 << 20, "1 MiB", 2_000, 0.95)]
    {
        rate(&mut report, &cores, python.as_ref(), size, name, operations, goal);
    }
    for apart in [true, false] {
        round_trips(&mut report, &cores, python.as_ref(), apart);
    }
    handles(&mut report, &cores);
    if !rounds::is_quick() {
        report.write("CONNECTION.md");
    }
}

/// Rounds, and operations in each.
fn size(operations: u64) -> (usize, u64) {
    if rounds::is_quick() { (3, operations.div_ceil(20)) } else { (11, operations) }
}

/// Two connected ends of a Unix socket.
fn sockets(kind: libc::c_int) -> (OwnedFd, OwnedFd) {
    use std::os::fd::FromRawFd;
    let mut fds = [-1; 2];
    // SAFETY: room for two descriptors.
    let failed = unsafe { libc::socketpair(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr()) };
    assert_eq!(failed, 0, "socketpair");
    // SAFETY: the kernel has just opened it.
    let end = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
    (end(fds[0]), end(fds[1]))
}

/// Sends all of `bytes`, in pieces of at most `piece`.
fn send(fd: RawFd, bytes: &[u8], piece: usize) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let len = rest.len().min(piece);
        // SAFETY: `rest` is at least that long.
        let sent = unsafe { libc::send(fd, rest.as_ptr().cast(), len, libc::MSG_NOSIGNAL) };
        rest = &rest[usize::try_from(sent).expect("send")..];
    }
}

/// Fills `bytes`.
fn receive(fd: RawFd, bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: `rest` has room for so many bytes.
        let received = unsafe { libc::recv(fd, rest.as_mut_ptr().cast(), rest.len(), 0) };
        filled += usize::try_from(received).ok().filter(|more| *more > 0).expect("recv");
    }
}

/// As [`receive`], by a call that takes descriptors too, if any come.
fn receive_with_room(fd: RawFd, bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        let mut part = libc::iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() };
        let mut control = MaybeUninit::<[u64; 130]>::uninit();
        // SAFETY: zeroes are a message without anything.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
        // SAFETY: the part and the control data have room for as many bytes as they say.
        let received = unsafe { libc::recvmsg(fd, &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        filled += usize::try_from(received).ok().filter(|more| *more > 0).expect("recvmsg");
    }
}

fn nanos(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The nanoseconds of `operations` messages from a partner, after a first one.
fn one_way(cores: &Cores, operations: u64, send: impl FnMut(), mut receive: impl FnMut()) -> u64 {
    let partner = partner(cores, operations, true, send);
    receive();
    let begun = Instant::now();
    for _ in 0..operations {
        receive();
    }
    let took = nanos(begun);
    partner.join();
    took
}

/// The nanoseconds of `operations` round trips with a partner, after a first one.
fn there_and_back(
    cores: &Cores,
    operations: u64,
    apart: bool,
    answer: impl FnMut(),
    mut ask: impl FnMut(),
) -> u64 {
    let partner = partner(cores, operations, apart, answer);
    ask();
    let begun = Instant::now();
    for _ in 0..operations {
        ask();
    }
    let took = nanos(begun);
    partner.join();
    took
}

/// A process that does something once more than `operations` times.
fn partner(cores: &Cores, operations: u64, apart: bool, mut work: impl FnMut()) -> Child {
    pin(cores.of(0));
    let core = cores.of(usize::from(apart));
    Child::fork(move || {
        pin(core);
        for _ in 0..=operations {
            work();
        }
    })
}

fn rate(
    report: &mut Report,
    cores: &Cores,
    python: Option<&CPython>,
    bytes: usize,
    name: &str,
    operations: u64,
    goal: f64,
) {
    let message = vec![1_u8; bytes];
    let bare = |kind, receive: fn(RawFd, &mut [u8])| {
        let message = &message;
        move |n| {
            let (left, right) = sockets(kind);
            let mut buffer = vec![0; bytes];
            let send = || send(left.as_raw_fd(), message, PACKET);
            one_way(cores, n, send, || receive(right.as_raw_fd(), &mut buffer))
        }
    };
    let ours = |n, receive: &mut dyn FnMut(&Connection)| {
        let (left, right) = pipe().expect("descriptors");
        one_way(cores, n, || left.send_bytes(&message).expect("a reader"), || receive(&right))
    };
    let mut buffer = vec![0; bytes];
    let mut contestants = vec![
        Contestant::new(SOCKET, bare(libc::SOCK_SEQPACKET, receive)),
        Contestant::new(SOCKET_FDS, bare(libc::SOCK_SEQPACKET, receive_with_room)),
        Contestant::new(STREAM, bare(libc::SOCK_STREAM, receive)),
        Contestant::new(INTO, |n| {
            ours(n, &mut |end| assert_eq!(end.recv_bytes_into(&mut buffer).expect("a message"), bytes))
        }),
        Contestant::new(BYTES, |n| {
            ours(n, &mut |end| assert_eq!(end.recv_bytes().expect("a message").len(), bytes))
        }),
        Contestant::new(IPC, |n| {
            let (sender, receiver) = ipc::bytes_channel().expect("descriptors");
            let send = || sender.send(&message).expect("a reader");
            one_way(cores, n, send, || assert_eq!(receiver.recv().expect("a message").len(), bytes))
        }),
    ];
    if bytes == 8 {
        contestants.push(Contestant::new(VALUE, |n| {
            let (left, right) = pipe().expect("descriptors");
            let send = || left.send(&7_u64).expect("a reader");
            one_way(cores, n, send, || assert_eq!(right.recv::<u64>().expect("a message"), 7))
        }));
    }
    let in_python = match bytes {
        8 => "pipe_8",
        PACKET => "pipe_64k",
        _ => "pipe_1m",
    };
    contestants.extend(python.map(|python| Contestant::new(PYTHON, |n| python.run(in_python, n))));
    let (rounds, operations) = size(operations);
    let figures = rounds::measure(&mut contestants, rounds, operations);
    report.section(
        &format!("## {name} messages, one way"),
        "Thousand messages a second; more is better. The bare sockets receive into one buffer, as recv_bytes_into does. \
         \"Ready for descriptors\": by recvmsg(2), without which they would be lost.",
    );
    let row = |name: &&'static str| {
        let ratio = |peer| format!("{:.2}", figures.ratio(peer, name));
        vec![name.to_string(), format!("{:.1}", 1e6 / figures.nanos(name)), ratio(SOCKET), ratio(STREAM)]
    };
    report.table(&["k/s", "/ packets", "/ stream"], &figures.names().iter().map(row).collect::<Vec<_>>());
    let against = |peer, least| (format!("{INTO} / {peer}"), figures.ratio(peer, INTO), Goal::AtLeast(least));
    // A bare socket takes no longer message in one packet.
    let socket = if bytes > PACKET { STREAM } else { SOCKET };
    let mut targets = vec![against(socket, goal), against(SOCKET_FDS, goal), against(IPC, 1.3)];
    if python.is_some() {
        targets.push(against(PYTHON, 2.0));
    }
    report.targets(&targets);
}

fn round_trips(report: &mut Report, cores: &Cores, python: Option<&CPython>, apart: bool) {
    let bare = |kind| {
        move |n| {
            let (left, right) = sockets(kind);
            let (mut there, mut back) = ([0; 8], [0; 8]);
            let answer = || {
                receive(right.as_raw_fd(), &mut there);
                send(right.as_raw_fd(), &there, PACKET);
            };
            there_and_back(cores, n, apart, answer, || {
                send(left.as_raw_fd(), &[1; 8], PACKET);
                receive(left.as_raw_fd(), &mut back);
            })
        }
    };
    let mut contestants = vec![
        Contestant::new(SOCKET, bare(libc::SOCK_SEQPACKET)),
        Contestant::new(STREAM, bare(libc::SOCK_STREAM)),
        Contestant::new(INTO, |n| {
            let (left, right) = pipe().expect("descriptors");
            let (mut there, mut back) = ([0; 8], [0; 8]);
            let answer = || {
                right.recv_bytes_into(&mut there).expect("a message");
                right.send_bytes(&there).expect("a reader");
            };
            there_and_back(cores, n, apart, answer, || {
                left.send_bytes(&[1; 8]).expect("a reader");
                left.recv_bytes_into(&mut back).expect("a message");
            })
        }),
        Contestant::new(VALUE, |n| {
            let (left, right) = pipe().expect("descriptors");
            let answer = || right.send(&right.recv::<u64>().expect("a message")).expect("a reader");
            there_and_back(cores, n, apart, answer, || {
                left.send(&7_u64).expect("a reader");
                assert_eq!(left.recv::<u64>().expect("a message"), 7);
            })
        }),
        Contestant::new(IPC, |n| {
            let (there, listens) = ipc::bytes_channel().expect("descriptors");
            let (back, hears) = ipc::bytes_channel().expect("descriptors");
            let answer = || back.send(&listens.recv().expect("a message")).expect("a reader");
            there_and_back(cores, n, apart, answer, || {
                there.send(&[1; 8]).expect("a reader");
                hears.recv().expect("a message");
            })
        }),
    ];
    let in_python = if apart { "pipe_trip_apart" } else { "pipe_trip" };
    contestants.extend(python.map(|python| Contestant::new(PYTHON, |n| python.run(in_python, n))));
    let (rounds, operations) = size(5_000);
    let figures = rounds::measure(&mut contestants, rounds, operations);
    let where_ = if apart { "on two cores" } else { "on one core" };
    report.section(&format!("## 8 B, there and back, {where_}"), "Microseconds; less is better.");
    let row = |name: &&'static str| {
        vec![
            name.to_string(),
            format!("{:.2}", figures.nanos(name) / 1e3),
            format!("{:.2}", figures.ratio(name, SOCKET)),
        ]
    };
    report.table(&["us", "/ packets"], &figures.names().iter().map(row).collect::<Vec<_>>());
    report.targets(&[(format!("{INTO} / {SOCKET}"), figures.ratio(INTO, SOCKET), Goal::AtMost(1.15))]);
}

/// Handles of segments that the receiver has not mapped.
fn handles(report: &mut Report, cores: &Cores) {
    let events = || -> Vec<Event> {
        let event = |_| Event::new_in(&Segment::anonymous(4096)?, "event");
        (0..SEGMENTS).map(event).collect::<multiproc::Result<_>>().expect("memory and descriptors")
    };
    let mut contestants = [Contestant::new(HANDLE, |n| {
        let (left, right) = pipe().expect("descriptors");
        // Made by the partner, after the fork.
        let mut made = None;
        let send = || {
            let events = made.get_or_insert_with(events);
            events.rotate_left(1);
            left.send(&events[0]).expect("a reader");
        };
        one_way(cores, n, send, || drop(right.recv::<Event>().expect("a message")))
    })];
    let (rounds, operations) = size(5_000);
    let figures: Figures = rounds::measure(&mut contestants, rounds, operations);
    report.section(
        "## A handle, one way",
        "Microseconds: a descriptor is sent, its segment mapped, checked, used no further and unmapped.",
    );
    report.table(&["us"], &[vec![HANDLE.to_owned(), format!("{:.2}", figures.nanos(HANDLE) / 1e3)]]);
    report.targets(&[(format!("{HANDLE}, us"), figures.nanos(HANDLE) / 1e3, Goal::AtMost(30.0))]);
}
