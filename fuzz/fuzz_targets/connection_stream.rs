//! Any bytes, in any pieces, to a `Connection` over a stream, beside a decoder that has all of them at once.
#![no_main]

use std::io::Write;
use std::os::unix::net::UnixStream;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use multiproc::{Connection, ConnectionError};

const MOST_BYTES: usize = 4096;
const HEAD: usize = 16;

#[derive(Arbitrary, Debug)]
enum Piece {
    /// Whatever the fuzzer likes.
    Any(Vec<u8>),
    /// A message, or its first bytes.
    Message { kind: bool, body: Vec<u8>, cut: Option<u8> },
}

#[derive(Arbitrary, Debug)]
struct Story {
    pieces: Vec<Piece>,
    max: u8,
}

impl Piece {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Any(bytes) => bytes.clone(),
            Self::Message { kind, body, cut } => {
                let head =
                    [&[1, 1 + u8::from(*kind), 0, 0, 0, 0, 0, 0][..], &(body.len() as u64).to_le_bytes()];
                let mut bytes = [&head.concat(), &body[..]].concat();
                bytes.truncate(cut.map_or(usize::MAX, usize::from));
                bytes
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Bytes(Vec<u8>),
    /// It is a value, and bytes were asked for; or no message at all.
    Refused,
    TooLong(u64),
    /// No more now.
    Nothing,
}

/// The messages that lie in `bytes`, by the documented format.
fn expected(mut bytes: &[u8], max: u64) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(HEAD) {
        let len = u64::from_le_bytes(head[8..].try_into().expect("eight bytes"));
        let plain = head[0] == 1 && [1, 2].contains(&head[1]) && head[2..8] == [0; 6];
        if !plain {
            outcomes.push(Outcome::Refused);
            return outcomes;
        }
        let Some((body, rest)) = usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len)) else {
            break;
        };
        outcomes.push(match head[1] {
            _ if len > max => Outcome::TooLong(len),
            1 => Outcome::Bytes(body.to_vec()),
            _ => Outcome::Refused,
        });
        bytes = rest;
    }
    outcomes.push(Outcome::Nothing);
    outcomes
}

fuzz_target!(|story: Story| {
    let (mut peer, end) = UnixStream::pair().expect("descriptors");
    let end = Connection::from_fd(end.into()).expect("a stream");
    let (mut sent, mut found, mut broken) = (Vec::new(), Vec::new(), false);
    let max = u64::from(story.max);
    for piece in &story.pieces {
        let bytes = piece.bytes();
        if sent.len() + bytes.len() > MOST_BYTES {
            break;
        }
        peer.write_all(&bytes).expect("room");
        sent.extend_from_slice(&bytes);
        while !broken {
            match end.try_recv_bytes_max(story.max.into()) {
                Ok(bytes) => found.push(Outcome::Bytes(bytes)),
                Err(ConnectionError::TooLong { len, .. }) => found.push(Outcome::TooLong(len)),
                Err(ConnectionError::Decode(_)) => found.push(Outcome::Refused),
                Err(ConnectionError::WouldBlock) => break,
                Err(ConnectionError::Broken) => broken = true,
                Err(error) => panic!("{error:?}"),
            }
        }
    }
    if !broken {
        found.push(Outcome::Nothing);
    }
    assert_eq!(found, expected(&sent, max));
});
