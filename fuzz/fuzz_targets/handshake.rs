//! Any bytes to either end of a handshake: who has no key never gets through where one is asked for.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use multiproc::AuthKey;
use multiproc::connection::AuthenticationError;
use multiproc::testing::handshake;

#[derive(Arbitrary, Debug)]
struct Story {
    listens: bool,
    has_key: bool,
    /// Whether it begins with a hello that is good but for its nonce, and what that says of a key.
    hello: Option<(bool, [u8; 32])>,
    bytes: Vec<u8>,
    piece: u8,
}

fuzz_target!(|story: Story| {
    let mut bytes = Vec::new();
    if let Some((says_key, nonce)) = story.hello {
        bytes.extend(*b"mpcn\x01\x00\x22\x00");
        bytes.extend([u8::from(story.listens), u8::from(says_key)]);
        bytes.extend(nonce);
    }
    bytes.extend(&story.bytes);
    let key = story.has_key.then(|| AuthKey::new("nobody knows it"));
    let piece = usize::from(story.piece).max(1);
    let (done, said, error) = handshake(story.listens, key.clone(), bytes.chunks(piece));
    // In any pieces it comes to the same end.
    let (done_whole, said_whole, error_whole) = handshake(story.listens, key, [bytes.as_slice()]);
    assert_eq!((done, said.len(), error), (done_whole, said_whole.len(), error_whole));
    if story.has_key {
        assert!(!done, "nobody knows the key");
        // A listener says nothing that was made with the key before it has seen a proof.
        if story.listens {
            assert!(said.iter().skip(1).all(|&byte| byte == 0), "{said:?}");
        }
    } else {
        assert!(said.is_empty(), "there is nothing to prove");
        if let (Some((false, _)), None) = (story.hello, error) {
            assert!(done && story.bytes.is_empty());
        }
        if let Some((true, _)) = story.hello {
            assert_eq!(error, Some(AuthenticationError::KeyRequired));
        }
    }
});
