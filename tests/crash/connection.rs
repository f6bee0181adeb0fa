//! `Connection`: a killed sender has sent its message, whole, or nothing, and a killed receiver has taken one message or none;
//! whoever uses the same end goes on. Over a stream, where a message takes many steps, the others may find it broken instead;
//! they never find a part of a message.

use std::os::unix::net::UnixStream;

use multiproc::{Connection, ConnectionError, pipe};

use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, kill_at_every_instruction};

const SENT: &str = "the message sent";
const NOT_SENT: &str = "no message";
const BROKEN: &str = "a broken stream";
const TAKEN: &str = "the message taken";
const LEFT: &str = "the message left";

/// Beyond what lies in a packet, so that a memory file rides along.
const LONG: usize = (64 << 10) + 1000;
const SHORT: usize = 24;

/// `rep movsb` is as many steps as it copies bytes: the victim is killed in the first and the last.
const TURNS: usize = 2;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "connection::send_bytes", run: || Sending::new(SHORT, send_bytes).test() },
    Scenario { name: "connection::send_bytes_long", run: || Sending::new(LONG, send_bytes).test() },
    Scenario {
        name: "connection::send_bytes_long_again",
        run: || Sending { used: true, ..Sending::new(LONG, send_bytes) }.test(),
    },
    Scenario { name: "connection::try_send_bytes", run: || Sending::new(SHORT, try_send_bytes).test() },
    Scenario { name: "connection::send", run: || Sending::new(SHORT, send).test() },
    Scenario { name: "connection::recv_bytes", run: || Receiving::new(SHORT, recv_bytes).test() },
    Scenario { name: "connection::recv_bytes_long", run: || Receiving::new(LONG, recv_bytes).test() },
    Scenario { name: "connection::try_recv_bytes", run: || Receiving::new(SHORT, try_recv_bytes).test() },
    Scenario { name: "connection::recv", run: || Receiving::new(SHORT, recv).test() },
    Scenario {
        name: "connection::send_by_stream",
        run: || Streaming::new(false)?.test(&[SENT, NOT_SENT, BROKEN]),
    },
    Scenario {
        name: "connection::recv_by_stream",
        run: || Streaming::new(true)?.test(&[TAKEN, LEFT, BROKEN]),
    },
];

/// The bytes of a message of that length; `recv` decodes them as an array of bytes.
fn message(len: usize) -> Vec<u8> {
    (0..len).map(|place| place as u8).collect()
}

fn send_bytes(connection: &Connection, bytes: &[u8]) {
    let _ = connection.send_bytes(bytes);
}

fn try_send_bytes(connection: &Connection, bytes: &[u8]) {
    let _ = connection.try_send_bytes(bytes);
}

fn send(connection: &Connection, bytes: &[u8]) {
    let _ = connection.send(bytes);
}

fn recv_bytes(connection: &Connection) {
    let _ = connection.recv_bytes();
}

fn try_recv_bytes(connection: &Connection) {
    let _ = connection.try_recv_bytes();
}

fn recv(connection: &Connection) {
    let _ = connection.recv::<Vec<u8>>();
}

/// Whether a message is there and is this one, of whichever kind.
fn receive(connection: &Connection, expected: &[u8], is_value: bool) -> Result<bool, String> {
    let received = if is_value { connection.try_recv::<Vec<u8>>() } else { connection.try_recv_bytes() };
    match received {
        Ok(found) if found == expected => Ok(true),
        Ok(found) => Err(format!("another message of {} bytes", found.len())),
        Err(ConnectionError::WouldBlock) => Ok(false),
        Err(error) => Err(format!("{error:?}")),
    }
}

/// Both ends, which the victim has too.
struct Ends {
    sender: Connection,
    receiver: Connection,
    bytes: Vec<u8>,
}

fn ends(len: usize) -> Result<Ends, String> {
    let (sender, receiver) = pipe().map_err(|error| error.to_string())?;
    Ok(Ends { sender, receiver, bytes: message(len) })
}

/// A message sent, killed at each instruction.
struct Sending {
    len: usize,
    run: fn(&Connection, &[u8]),
    /// Whether the victim has sent one before, whose memory it then uses again.
    used: bool,
    is_value: bool,
}

impl Sending {
    fn new(len: usize, run: fn(&Connection, &[u8])) -> Sending {
        let is_value = std::ptr::fn_addr_eq(run, send as fn(&Connection, &[u8]));
        Sending { len, run, used: false, is_value }
    }

    fn test(&self) -> Result<Report, String> {
        if self.is_value {
            // A thread that has sent a value keeps its buffer. This one sends some in between, and its copies are victims.
            let ends = ends(self.len)?;
            (self.run)(&ends.sender, &ends.bytes);
        }
        kill_at_every_instruction(self, Mode::Replay)?.demand(&[SENT, NOT_SENT])
    }
}

impl Operation for Sending {
    type State = Ends;

    fn prepare(&self) -> Result<Ends, String> {
        ends(self.len)
    }

    fn enter(&self, ends: &Ends) {
        if self.used {
            (self.run)(&ends.sender, &ends.bytes);
            assert_eq!(receive(&ends.receiver, &ends.bytes, self.is_value), Ok(true));
        }
    }

    fn run(&self, ends: &Ends) {
        (self.run)(&ends.sender, &ends.bytes);
    }

    fn verify(&self, ends: Ends, kill: &Kill) -> Result<&'static str, String> {
        // Another sender on the victim's end, behind whatever it has sent.
        ends.sender.try_send(&7_u8).map_err(|error| format!("a survivor can't send: {error:?}"))?;
        let first = match receive(&ends.receiver, &ends.bytes, self.is_value) {
            // A value of one byte that decodes as no vector of bytes: the survivor's.
            Err(_) => false,
            Ok(found) => {
                let survivors = ends.receiver.try_recv::<u8>();
                if survivors.as_ref().ok() != Some(&7) {
                    return Err(format!("the survivor's message: {survivors:?}"));
                }
                found
            }
        };
        if ends.receiver.poll().unwrap_or(true) {
            return Err("more than was sent".to_owned());
        }
        match first {
            false if kill.is_after_the_end() => Err("a message that was sent is lost".to_owned()),
            true => Ok(SENT),
            false => Ok(NOT_SENT),
        }
    }
}

/// A message received, killed at each instruction.
struct Receiving {
    len: usize,
    run: fn(&Connection),
    is_value: bool,
}

impl Receiving {
    fn new(len: usize, run: fn(&Connection)) -> Receiving {
        Receiving { len, run, is_value: std::ptr::fn_addr_eq(run, recv as fn(&Connection)) }
    }

    fn test(&self) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(&[TAKEN, LEFT])
    }
}

impl Operation for Receiving {
    type State = Ends;

    fn prepare(&self) -> Result<Ends, String> {
        let ends = ends(self.len)?;
        if self.is_value {
            send(&ends.sender, &ends.bytes)
        } else {
            send_bytes(&ends.sender, &ends.bytes)
        }
        Ok(ends)
    }

    fn enter(&self, _: &Ends) {
        // What a thread keeps for its next message is then the same each time.
        let others = self.prepare().expect("as before");
        (self.run)(&others.receiver);
    }

    fn run(&self, ends: &Ends) {
        (self.run)(&ends.receiver);
    }

    fn turns(&self) -> usize {
        TURNS
    }

    fn verify(&self, ends: Ends, kill: &Kill) -> Result<&'static str, String> {
        // Another receiver at the victim's end.
        let left = receive(&ends.receiver, &ends.bytes, self.is_value)?;
        let next = message(self.len + 1);
        send_bytes(&ends.sender, &next);
        if !receive(&ends.receiver, &next, false)? {
            return Err("the next message does not arrive".to_owned());
        }
        match left {
            true if kill.is_after_the_end() => Err("received, and still there".to_owned()),
            true => Ok(LEFT),
            false => Ok(TAKEN),
        }
    }
}

/// A message by a stream, sent or received, killed at each instruction.
struct Streaming {
    receives: bool,
}

impl Streaming {
    fn new(receives: bool) -> Result<Streaming, String> {
        // This process's first use of a lock starts a thread; a victim's must not.
        rehearse(&stream_ends()?);
        Ok(Streaming { receives })
    }

    fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }
}

fn stream_ends() -> Result<Ends, String> {
    let (left, right) = UnixStream::pair().map_err(|error| error.to_string())?;
    let end = |stream: UnixStream| Connection::from_fd(stream.into()).map_err(|error| error.to_string());
    Ok(Ends { sender: end(left)?, receiver: end(right)?, bytes: message(SHORT) })
}

fn rehearse(ends: &Ends) {
    for _ in 0..2 {
        send_bytes(&ends.sender, &ends.bytes);
        recv_bytes(&ends.receiver);
    }
}

impl Operation for Streaming {
    type State = Ends;

    fn prepare(&self) -> Result<Ends, String> {
        multiproc::testing::set_sleep_slice(None);
        let ends = stream_ends()?;
        if self.receives {
            send_bytes(&ends.sender, &ends.bytes);
        }
        Ok(ends)
    }

    fn enter(&self, _: &Ends) {
        rehearse(&stream_ends().expect("as before"));
    }

    fn run(&self, ends: &Ends) {
        if self.receives { recv_bytes(&ends.receiver) } else { send_bytes(&ends.sender, &ends.bytes) }
    }

    fn turns(&self) -> usize {
        TURNS
    }

    fn verify(&self, ends: Ends, kill: &Kill) -> Result<&'static str, String> {
        let Ends { sender, receiver, bytes } = ends;
        let next = message(SHORT + 1);
        let survivor = sender.try_send_bytes(&next);
        // So that the receiver comes to an end.
        drop(sender);
        let mut received = Vec::new();
        let end = loop {
            match receiver.try_recv_bytes() {
                Ok(message) => received.push(message),
                Err(error) => break error,
            }
        };
        let was_first = received.first() == Some(&bytes);
        let others = &received[usize::from(was_first)..];
        let done = match (&survivor, &end) {
            (Ok(()), ConnectionError::Eof) if *others == [next] => was_first,
            (Ok(()), ConnectionError::Broken) if self.receives && received.is_empty() => return Ok(BROKEN),
            (Err(ConnectionError::Broken), ConnectionError::Eof | ConnectionError::Truncated)
                if !self.receives && others.is_empty() =>
            {
                return Ok(BROKEN);
            }
            _ => return Err(format!("{survivor:?}, {} messages, {end:?}", received.len())),
        };
        match (self.receives, done) {
            (false, false) | (true, true) if kill.is_after_the_end() => {
                Err("the operation was over, and has done nothing".to_owned())
            }
            (false, true) => Ok(SENT),
            (false, false) => Ok(NOT_SENT),
            (true, true) => Ok(LEFT),
            (true, false) => Ok(TAKEN),
        }
    }
}
