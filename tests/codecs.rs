//! What goes through a queue: plain data, serde types, bytes, and what a codec of one's own makes.
#![cfg(feature = "process")]

mod worker;

use multiproc::{
    Codec, Error, GetError, JoinableQueue, Plain, PlainQueue, Process, PutError, Queue, QueueOptions, Segment,
};
use worker::Worker;

/// Even numbers, in their own bytes; the bytes of an odd one don't decode.
struct Even;

impl Codec<u8> for Even {
    const NAME: &'static str = "even";
    type Buffer = Vec<u8>;

    fn encode<R>(item: &u8, put: impl FnOnce(&[u8]) -> R) -> Result<R, String> {
        match item {
            13 => Err("13 is not even a number".to_owned()),
            item => Ok(put(&[*item])),
        }
    }

    fn decode(bytes: Vec<u8>) -> Result<u8, String> {
        match bytes[..] {
            [item] if item % 2 == 0 => Ok(item),
            _ => Err(format!("expected an even number, found {bytes:?}")),
        }
    }
}

#[test]
fn plain_data_goes_through_to_another_process_and_back() {
    fn add((numbers, sums): (PlainQueue<[u32; 3]>, PlainQueue<u64>)) {
        for numbers in numbers.iter() {
            sums.put(numbers.iter().copied().map(u64::from).sum()).unwrap();
        }
    }
    let (numbers, sums) = (Queue::plain(4).unwrap(), Queue::plain(4).unwrap());
    let child = Worker::spawn(add, (numbers.clone(), sums.clone()));
    for n in 0..100 {
        numbers.put([n, n + 1, u32::MAX]).unwrap();
        assert_eq!(sums.get(), Ok(u64::from(n) * 2 + 1 + u64::from(u32::MAX)));
    }
    numbers.shutdown();
    child.join();
}

#[test]
fn plain_data_of_any_size_goes_through() {
    let nothing = Queue::plain(2).unwrap();
    nothing.put(()).unwrap();
    assert_eq!((nothing.len(), nothing.get()), (1, Ok(())));
    let large = Queue::plain(2).unwrap();
    large.put([7u64; 10_000]).unwrap();
    assert!(large.get().unwrap() == [7; 10_000]);
    assert!(large.max_message() >= 80_000);
}

#[test]
fn plain_tasks_come_back_from_a_holder_that_dies() {
    let jobs = JoinableQueue::plain(4).unwrap();
    jobs.put(5u16).unwrap();
    let hold = |jobs: JoinableQueue<u16, Plain>| {
        std::mem::forget(jobs.take().unwrap());
        std::process::exit(0)
    };
    Process::spawn(hold, jobs.clone()).unwrap().join().unwrap_or(());
    let task = jobs.take().unwrap();
    assert_eq!((*task, task.attempt()), (5, 2));
    task.done();
    jobs.join().unwrap();
}

#[test]
fn bytes_and_texts_go_as_they_are() {
    let bytes = Queue::<Vec<u8>>::bounded(4).unwrap();
    for item in [vec![], vec![0], (0..=255).collect(), vec![9; 200_000]] {
        bytes.put(item.clone()).unwrap();
        assert!(bytes.get().unwrap() == item);
    }
    let boxed = Queue::<Box<[u8]>>::bounded(4).unwrap();
    boxed.put([1, 2, 3].into()).unwrap();
    assert_eq!(boxed.get(), Ok([1, 2, 3].into()));
    let segment = Segment::anonymous(4 << 20).unwrap();
    let texts = Queue::<String>::new_in(&segment, "texts", 4).unwrap();
    texts.put("naïve".to_owned()).unwrap();
    assert_eq!(texts.get(), Ok("naïve".to_owned()));
    let largest = texts.max_message();
    assert!(matches!(texts.try_put("x".repeat(largest + 1)), Err(PutError::TooLarge(_))));
    texts.put("x".repeat(largest)).unwrap();
    assert_eq!(texts.get().unwrap().len(), largest);
}

#[test]
fn what_a_codec_refuses_is_not_put_and_what_it_can_not_decode_is_gone() {
    let queue = QueueOptions::new(4).codec(Even).queue().unwrap();
    match queue.put(13) {
        Err(PutError::Encode(13, why)) => assert_eq!(why, "13 is not even a number"),
        other => panic!("{other:?}"),
    }
    assert_eq!(queue.len(), 0);
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    assert_eq!(queue.get(), Err(GetError::Decode("expected an even number, found [1]".to_owned())));
    assert_eq!((queue.get(), queue.len()), (Ok(2), 0));
}

#[test]
fn a_queue_opened_with_another_codec_is_a_mismatch_that_names_both() {
    let segment = Segment::anonymous(16 << 20).unwrap();
    QueueOptions::new(4).codec(Plain).queue_in::<u64>(&segment, "plain").unwrap();
    QueueOptions::new(4).codec(Even).joinable_queue_in(&segment, "even").unwrap();
    let found = |error: Error| match error {
        Error::Mismatch { expected, found, .. } => (expected, found),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        found(Queue::<u64>::open_in(&segment, "plain").unwrap_err()),
        ("Queue<postcard: u64>".to_owned(), "Queue<plain: u64>".to_owned())
    );
    assert_eq!(
        found(Queue::<i64, _>::open_with(&segment, "plain", Plain).unwrap_err()),
        ("Queue<plain: i64>".to_owned(), "Queue<plain: u64>".to_owned())
    );
    assert_eq!(
        found(JoinableQueue::open_with(&segment, "even", Plain).map(|queue| queue.put(1u8)).unwrap_err()),
        ("JoinableQueue<plain: u8>".to_owned(), "JoinableQueue<even: u8>".to_owned())
    );
    Queue::open_with(&segment, "plain", Plain).unwrap().put(3u64).unwrap();
    JoinableQueue::open_with(&segment, "even", Even).unwrap().put(4).unwrap();
}

#[test]
fn bytes_are_written_and_read_where_they_lie() {
    let queue = Queue::<Vec<u8>>::bounded(4).unwrap();
    for length in [0, 1, 48, 49, 1000, 200_000] {
        queue.put_with(length, |bytes| (0..).zip(bytes).for_each(|(n, byte)| *byte = n as u8)).unwrap();
        let expected: Vec<u8> = (0..length).map(|n| n as u8).collect();
        assert!(queue.get_with(|bytes| bytes == expected).unwrap(), "{length}");
        queue.put_with(length, |bytes| bytes.copy_from_slice(&expected)).unwrap();
        assert!(queue.get().unwrap() == expected, "{length}");
    }
    let too_long = queue.max_message() + 1;
    assert!(matches!(queue.put_with(too_long, |_| unreachable!()), Err(PutError::TooLarge(()))));
    assert!(matches!(
        Queue::<u32, Plain>::plain(1).unwrap().put_with(3, |_| ()),
        Err(PutError::TooLarge(()))
    ));
}

#[test]
fn a_panic_in_place_puts_nothing_and_gets_nothing() {
    let jobs = JoinableQueue::<String>::bounded(4).unwrap();
    let caught = |body: &dyn Fn()| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_err();
    };
    caught(&|| drop(jobs.put_with(3, |_| std::panic::resume_unwind(Box::new(())))));
    assert_eq!((jobs.len(), jobs.try_get()), (0, Err(GetError::Empty)));
    jobs.put_with(3, |bytes| bytes.copy_from_slice(b"abc")).unwrap();
    caught(&|| drop(jobs.get_with(|_| std::panic::resume_unwind(Box::new(())))));
    assert_eq!(jobs.len(), 1);
    let inner = jobs.get_with(|_| (jobs.try_get(), jobs.put("x".into()).is_ok())).unwrap();
    assert_eq!(inner, (Err(GetError::Deadlock), true));
    assert_eq!((jobs.get(), jobs.unfinished()), (Ok("x".to_owned()), Ok(2)));
}
