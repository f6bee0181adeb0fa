//! Any requests to a manager's server, after good ones that make an object of each kind: each is answered, and nothing panics.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use multiproc::testing::answer_requests;

const MOST: usize = 64;

#[derive(Arbitrary, Debug)]
struct Request {
    object: u8,
    body: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
enum Message {
    Requests(Vec<Request>),
    Bytes(Vec<u8>),
}

/// A number as postcard writes it.
fn push_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number > 127 {
        bytes.push((number & 127) as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn push_request(message: &mut Vec<u8>, object: u8, body: &[u8]) {
    push_number(message, 1);
    push_number(message, object.into());
    push_number(message, body.len());
    message.extend(body);
}

/// Makes an object of each kind but pools and types of one's own, which there are none of: numbers 1 to 14.
fn all_kinds() -> Vec<u8> {
    let mut message = Vec::new();
    for kind in 0..14_u8 {
        // A list of one item; an item; a number; nothing.
        let options: &[u8] = match kind {
            1 | 4 => &[1, 0, 1, 5],
            3 => &[0, 1, 5],
            7 | 8 | 11 | 12 | 13 => &[2],
            _ => &[],
        };
        let body = [&[0, kind, 0, options.len() as u8], options].concat();
        push_request(&mut message, 0, &body);
    }
    message
}

fuzz_target!(|messages: Vec<Message>| {
    let mut sent = vec![all_kinds()];
    for message in messages.into_iter().take(MOST) {
        sent.push(match message {
            Message::Bytes(bytes) => bytes,
            Message::Requests(all) => {
                let mut message = Vec::new();
                all.iter().for_each(|request| push_request(&mut message, request.object % 20, &request.body));
                message
            }
        });
    }
    let answers = answer_requests(sent.iter().map(Vec::as_slice));
    // What is behind the good ones may hold any number of requests, or end it.
    assert!(answers.iter().take(14).filter(|is_fault| !**is_fault).count() == 14, "{answers:?}");
});
