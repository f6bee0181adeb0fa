//! Any bytes and descriptors as the frames between a process and its child.
#![no_main]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use multiproc::testing::read_frames;
use multiproc_fuzz::{Ride, send_packet};

const MOST_BYTES: usize = 4096;
const MAX: u64 = 1000;

#[derive(Arbitrary, Debug)]
struct Piece {
    /// Whether a frame's head comes before the bytes, and what it says of descriptors.
    head: Option<u8>,
    bytes: Vec<u8>,
    rides: Vec<Ride>,
}

fuzz_target!(|pieces: Vec<Piece>| {
    let (peer, end) = UnixStream::pair().expect("descriptors");
    let (mut sent, mut riding) = (0, 0);
    for piece in &pieces {
        let mut bytes = Vec::new();
        if let Some(fds) = piece.head {
            bytes.extend(1_u32.to_ne_bytes());
            bytes.extend(u32::from(fds % 4).to_ne_bytes());
            bytes.extend((piece.bytes.len() as u64).to_ne_bytes());
        }
        bytes.extend(&piece.bytes);
        sent += bytes.len();
        if bytes.is_empty() || sent > MOST_BYTES {
            break;
        }
        let rides: Vec<OwnedFd> = piece.rides.iter().take(3).map(Ride::open).collect();
        riding += rides.len();
        let rides: Vec<BorrowedFd<'_>> = rides.iter().map(AsFd::as_fd).collect();
        send_packet(peer.as_fd(), &bytes, &rides);
    }
    drop(peer);
    let frames = read_frames(&end.into(), MAX);
    let (bytes, fds) = frames.iter().fold((0, 0), |sum, frame| (sum.0 + 16 + frame.0, sum.1 + frame.1));
    assert!(bytes <= sent && fds <= riding);
    assert!(frames.iter().all(|frame| frame.0 as u64 <= MAX));
});
