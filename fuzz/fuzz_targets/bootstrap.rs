//! Any bytes as what a new process reads from its parent. The first byte of the input says how many frames are made of
//! the rest, with heads that no fuzzer guesses: what is before the first 0xff is the first frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use multiproc::testing::read_bootstrap;

/// The tags of the two frames, in their order.
const TAGS: [u32; 2] = [0x4d50_0001, 0x4d50_0002];

fuzz_target!(|input: &[u8]| {
    let Some((&frames, contents)) = input.split_first() else { return };
    if frames == 0 {
        read_bootstrap(contents);
        return;
    }
    let mut bytes = Vec::new();
    for (tag, body) in TAGS.iter().zip(contents.splitn(2, |&byte| byte == 0xff)) {
        bytes.extend(tag.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend((body.len() as u64).to_ne_bytes());
        bytes.extend(body);
    }
    read_bootstrap(&bytes);
});
