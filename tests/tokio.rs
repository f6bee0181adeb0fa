//! `AsyncConnection` and `Process::wait`.
#![cfg(all(feature = "tokio", feature = "auto-init"))]

mod worker;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use multiproc::{
    Address, AsyncConnection, Client, Connection, ConnectionError, Event, Listener, Process, ProcessError,
    StartMethod, pipe,
};
use tokio::time::timeout;
use worker::{SOON, Worker};

const MIB: usize = 1 << 20;
const INSTANT: Duration = Duration::from_millis(5);

fn run<R>(task: impl Future<Output = R>) -> R {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { timeout(SOON * 2, task).await.expect("in time") })
}

fn tcp() -> (Connection, Connection) {
    let listener = Listener::bind(Address::tcp("127.0.0.1:0").unwrap(), None).unwrap();
    let client = Client::connect(listener.address().clone(), None).unwrap();
    (client, listener.accept_timeout(SOON).unwrap())
}

fn both((left, right): (Connection, Connection)) -> (Arc<AsyncConnection>, Arc<AsyncConnection>) {
    (Arc::new(left.into_async().unwrap()), Arc::new(right.into_async().unwrap()))
}

#[test]
fn messages_travel_between_tasks() {
    run(async {
        for ends in [pipe().unwrap(), tcp()] {
            let (left, right) = both(ends);
            left.send(&("text", 7_u8)).await.unwrap();
            assert_eq!(right.recv::<(String, u8)>().await.unwrap(), ("text".to_owned(), 7));
            let sender = tokio::spawn({
                let left = Arc::clone(&left);
                async move {
                    for len in [0, 10, 100_000, 20 * MIB] {
                        left.send_bytes(&vec![1; len]).await.unwrap();
                    }
                }
            });
            assert_eq!(right.recv_bytes().await.unwrap(), []);
            assert_eq!(right.recv_bytes_into(&mut [0; 20]).await.unwrap(), 10);
            let too_long = right.recv_bytes_max(99).await;
            assert!(matches!(too_long, Err(ConnectionError::TooLong { len: 100_000, .. })));
            right.readable().await.unwrap();
            assert!(right.recv_bytes().await.unwrap() == vec![1; 20 * MIB]);
            sender.await.unwrap();
            drop(left);
            assert!(matches!(right.recv_bytes().await, Err(ConnectionError::Eof)));
        }
    });
}

#[test]
fn many_tasks_share_the_ends() {
    const TASKS: usize = 8;
    const COUNT: usize = 100;
    run(async {
        for ends in [pipe().unwrap(), tcp()] {
            let (left, right) = both(ends);
            let senders = (0..TASKS).map(|number| {
                let left = Arc::clone(&left);
                tokio::spawn(async move {
                    for turn in 0..COUNT {
                        let len = [9, 5_000, 100_000][turn % 3];
                        left.send_bytes(&vec![number as u8; len]).await.unwrap();
                    }
                })
            });
            let senders: Vec<_> = senders.collect();
            let receivers = (0..TASKS).map(|_| {
                let right = Arc::clone(&right);
                tokio::spawn(async move {
                    for _ in 0..COUNT {
                        let message = right.recv_bytes().await.unwrap();
                        assert!(message.iter().all(|&byte| byte == message[0]));
                    }
                })
            });
            let receivers: Vec<_> = receivers.collect();
            for task in senders.into_iter().chain(receivers) {
                task.await.unwrap();
            }
        }
    });
}

#[test]
fn a_dropped_operation_leaves_nothing_behind() {
    run(async {
        let (left, right) = both(pipe().unwrap());
        assert!(timeout(INSTANT, right.recv::<u8>()).await.is_err());
        let mut sent = 0;
        while timeout(INSTANT, left.send_bytes(&vec![1; MIB])).await.is_ok() {
            sent += 1;
        }
        for _ in 0..sent {
            assert_eq!(right.recv_bytes().await.unwrap().len(), MIB);
        }
        left.send(&7_u8).await.unwrap();
        assert_eq!(right.recv::<u8>().await.unwrap(), 7);
    });
}

#[test]
fn a_sender_that_is_dropped_in_a_message_ends_a_stream() {
    run(async {
        let (left, right) = both(tcp());
        assert!(timeout(INSTANT, right.recv::<u8>()).await.is_err());
        assert!(timeout(INSTANT, left.send_bytes(&vec![1; 64 * MIB])).await.is_err());
        assert!(matches!(left.send(&1).await, Err(ConnectionError::Broken)));
        assert!(matches!(right.recv_bytes().await, Err(ConnectionError::Truncated)));
    });
}

#[test]
fn handles_travel_and_processes_answer() {
    fn answer(connection: Connection) {
        let event: Event = connection.recv().unwrap();
        event.set();
        connection.send(&"set").unwrap();
    }
    run(async {
        let (here, there) = pipe().unwrap();
        let mut process = Process::spawn(answer, there).unwrap();
        let here = here.into_async().unwrap();
        let event = Event::new().unwrap();
        here.send(&event).await.unwrap();
        assert_eq!(here.recv::<String>().await.unwrap(), "set");
        assert!(event.is_set());
        process.wait().await.unwrap();
        assert!(matches!(here.recv::<u8>().await, Err(ConnectionError::Eof)));
        here.into_inner().close();
    });
}

#[test]
fn a_killed_peer_wakes_the_receiver() {
    run(async {
        let (here, there) = pipe().unwrap();
        let peer = Worker::spawn(|end: Connection| end.recv::<u8>().unwrap(), there);
        let here = here.into_async().unwrap();
        assert!(timeout(INSTANT, here.recv::<u8>()).await.is_err());
        peer.kill();
        assert!(matches!(here.recv::<u8>().await, Err(ConnectionError::Eof)));
    });
}

#[test]
fn processes_are_waited_for_in_tasks() {
    run(async {
        let mut large = Process::spawn(|len: usize| vec![7_u8; len], 10 * MIB).unwrap();
        let mut panicking = Process::spawn(|()| -> u8 { panic!("planned") }, ()).unwrap();
        let mut sleeping = Process::spawn(|()| std::thread::sleep(SOON * 10), ()).unwrap();
        let forked = Process::builder().start_method(StartMethod::Zygote).spawn(|n: u64| n + 1, 41);
        assert_eq!(forked.unwrap().wait().await.unwrap(), 42);
        assert!(large.wait().await.unwrap() == vec![7; 10 * MIB]);
        assert!(matches!(panicking.wait().await, Err(ProcessError::Panicked { .. })));
        assert!(timeout(INSTANT, sleeping.wait()).await.is_err());
        sleeping.kill().unwrap();
        assert!(matches!(sleeping.wait().await, Err(ProcessError::Signaled(9))));
        assert!(matches!(large.wait().await, Err(ProcessError::ResultTaken)));
    });
}

#[test]
fn many_processes_are_waited_for_at_once() {
    run(async {
        let tasks = (0..20_u32).map(|number| {
            let mut process = Process::spawn(|number: u32| number * 2, number).unwrap();
            tokio::spawn(async move { process.wait().await.unwrap() })
        });
        for (number, task) in (0..20).zip(tasks.collect::<Vec<_>>()) {
            assert_eq!(task.await.unwrap(), number * 2);
        }
    });
}
