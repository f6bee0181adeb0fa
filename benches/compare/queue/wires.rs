//! Ours and the peers' as [`Wire`]s. A sender has its message in memory of its own, and copies it into the wire; a receiver
//! copies it out, or reads each word of it where it lies.

use std::hint::{black_box, spin_loop};
use std::os::fd::OwnedFd;
use std::sync::Mutex;

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};
use multiproc::{PlainQueue, Queue, QueueOptions};

use crate::topology::Wire;

/// Messages that fit into each wire, the peers' too, and at most so many bytes.
pub(crate) const CAPACITY: usize = 1024;
pub(crate) const CAPACITY_BYTES: usize = 8 << 20;

pub(crate) fn capacity(bytes: usize) -> usize {
    CAPACITY.min(CAPACITY_BYTES / bytes)
}

/// Reads each word.
pub(crate) fn read(bytes: &[u8]) {
    let words = bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("8 bytes")));
    black_box(words.fold(0, u64::wrapping_add));
}

/// A `PlainQueue` of arrays.
pub(crate) struct Plain<const N: usize>(PlainQueue<[u8; N]>);

impl<const N: usize> Plain<N>
where
    [u8; N]: bytemuck::Pod,
{
    pub(crate) fn new() -> Self {
        Self(Queue::plain(capacity(N)).expect("a queue"))
    }
}

impl<const N: usize> Wire for Plain<N>
where
    [u8; N]: bytemuck::Pod,
{
    fn sender(&self) -> impl FnMut() {
        let message = black_box([1; N]);
        move || self.0.put(black_box(message)).expect("room in time")
    }
    fn receiver(&self) -> impl FnMut() {
        || read(&self.0.get().expect("a message"))
    }
}

/// The same by exclusive endpoints.
pub(crate) struct Endpoints<const N: usize>(Plain<N>);

impl<const N: usize> Endpoints<N>
where
    [u8; N]: bytemuck::Pod,
{
    pub(crate) fn new() -> Self {
        Self(Plain::new())
    }
}

impl<const N: usize> Wire for Endpoints<N>
where
    [u8; N]: bytemuck::Pod,
{
    fn sender(&self) -> impl FnMut() {
        let mut producer = self.0.0.producer().expect("one producer");
        let message = black_box([1; N]);
        move || producer.put(black_box(message)).expect("room in time")
    }
    fn receiver(&self) -> impl FnMut() {
        let mut consumer = self.0.0.consumer().expect("one consumer");
        move || read(&consumer.get().expect("a message"))
    }
}

/// A `Queue` of byte strings: whole, or in place.
pub(crate) struct Bytes {
    queue: Queue<Vec<u8>>,
    size: usize,
    in_place: bool,
}

impl Bytes {
    pub(crate) fn new(size: usize, in_place: bool) -> Self {
        let options = QueueOptions::new(capacity(size)).ring_bytes(capacity(size) * size);
        let queue = options.max_message(size).queue().expect("a queue");
        Self { queue, size, in_place }
    }
}

impl Wire for Bytes {
    fn sender(&self) -> impl FnMut() {
        let message = black_box(vec![1; self.size]);
        move || {
            if self.in_place {
                self.queue.put_with(self.size, |room| room.copy_from_slice(&message)).expect("room in time");
            } else {
                self.queue.put(black_box(&message).clone()).expect("room in time");
            }
        }
    }
    fn receiver(&self) -> impl FnMut() {
        || {
            if self.in_place {
                self.queue.get_with(read).expect("a message");
            } else {
                read(&self.queue.get().expect("a message"));
            }
        }
    }
}

/// `Queue<u64>` by postcard.
pub(crate) struct Encoded(Queue<u64>);

impl Encoded {
    pub(crate) fn new() -> Self {
        Self(Queue::bounded(CAPACITY).expect("a queue"))
    }
}

impl Wire for Encoded {
    fn sender(&self) -> impl FnMut() {
        || self.0.put(black_box(1 << 40)).expect("room in time")
    }
    fn receiver(&self) -> impl FnMut() {
        || _ = black_box(self.0.get().expect("a message"))
    }
}

/// What a program might send: a measurement, whose numbers are neither all short nor all long.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable, serde::Serialize, serde::Deserialize)]
#[repr(C)]
pub(crate) struct Sample {
    id: u64,
    at_millis: u32,
    value: f32,
    kind: u16,
    flags: u16,
    count: u32,
}

impl Sample {
    fn new() -> Self {
        Self { id: 1_234_567, at_millis: 43_200_123, value: 21.5, kind: 7, flags: 3, count: 1000 }
    }
}

/// A queue of [`Sample`]s: by shared handles, or by exclusive endpoints.
pub(crate) struct Samples<C>(Queue<Sample, C>, bool);

impl Samples<multiproc::Plain> {
    pub(crate) fn plain(by_endpoints: bool) -> Self {
        Self(Queue::plain(CAPACITY).expect("a queue"), by_endpoints)
    }
}

impl Samples<multiproc::Postcard> {
    pub(crate) fn postcard(by_endpoints: bool) -> Self {
        Self(Queue::bounded(CAPACITY).expect("a queue"), by_endpoints)
    }
}

impl<C: multiproc::Codec<Sample>> Wire for Samples<C> {
    fn sender(&self) -> impl FnMut() {
        let mut producer = self.1.then(|| self.0.producer().expect("one producer"));
        let message = black_box(Sample::new());
        move || {
            let done = match &mut producer {
                Some(producer) => producer.put(black_box(message)),
                None => self.0.put(black_box(message)),
            };
            done.expect("room in time");
        }
    }
    fn receiver(&self) -> impl FnMut() {
        let mut consumer = self.1.then(|| self.0.consumer().expect("one consumer"));
        move || {
            let message = match &mut consumer {
                Some(consumer) => consumer.get(),
                None => self.0.get(),
            };
            black_box(message.expect("a message"));
        }
    }
}

/// crossbeam's bounded channel, between threads.
pub(crate) struct Crossbeam<T>(crossbeam_channel::Sender<T>, crossbeam_channel::Receiver<T>, T);

impl<T> Crossbeam<T> {
    pub(crate) fn new(message: T) -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(CAPACITY);
        Self(sender, receiver, message)
    }
}

impl<T: AsRef<[u8]> + Clone + Send + Sync> Wire for Crossbeam<T> {
    fn sender(&self) -> impl FnMut() {
        || self.0.send(black_box(&self.2).clone()).expect("a receiver")
    }
    fn receiver(&self) -> impl FnMut() {
        || read(self.1.recv().expect("a sender").as_ref())
    }
}

/// kanal's bounded channel, between threads.
pub(crate) struct Kanal<T>(kanal::Sender<T>, kanal::Receiver<T>, T);

impl<T> Kanal<T> {
    pub(crate) fn new(message: T) -> Self {
        let (sender, receiver) = kanal::bounded(CAPACITY);
        Self(sender, receiver, message)
    }
}

impl<T: AsRef<[u8]> + Clone + Send + Sync> Wire for Kanal<T> {
    fn sender(&self) -> impl FnMut() {
        || self.0.send(black_box(&self.2).clone()).expect("a receiver")
    }
    fn receiver(&self) -> impl FnMut() {
        || read(self.1.recv().expect("a sender").as_ref())
    }
}

/// rtrb's ring, between two threads that spin.
pub(crate) struct Rtrb<T>(Mutex<Option<rtrb::Producer<T>>>, Mutex<Option<rtrb::Consumer<T>>>, T);

impl<T> Rtrb<T> {
    pub(crate) fn new(message: T) -> Self {
        let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
        Self(Mutex::new(Some(producer)), Mutex::new(Some(consumer)), message)
    }
}

impl<T: AsRef<[u8]> + Clone + Send + Sync> Wire for Rtrb<T> {
    fn sender(&self) -> impl FnMut() {
        let mut producer = self.0.lock().expect("not poisoned").take().expect("one producer");
        move || {
            let mut message = black_box(&self.2).clone();
            while let Err(rtrb::PushError::Full(back)) = producer.push(message) {
                message = back;
                spin_loop();
            }
        }
    }
    fn receiver(&self) -> impl FnMut() {
        let mut consumer = self.1.lock().expect("not poisoned").take().expect("one consumer");
        move || {
            loop {
                if let Ok(message) = consumer.pop() {
                    read(message.as_ref());
                    return;
                }
                spin_loop();
            }
        }
    }
}

/// ipc-channel's byte strings.
pub(crate) struct IpcChannel {
    // Neither end is Sync.
    ends: Mutex<(IpcBytesSender, Option<IpcBytesReceiver>)>,
    size: usize,
}

impl IpcChannel {
    pub(crate) fn new(size: usize) -> Self {
        let (sender, receiver) = bytes_channel().expect("a channel");
        Self { ends: Mutex::new((sender, Some(receiver))), size }
    }
}

impl Wire for IpcChannel {
    fn sender(&self) -> impl FnMut() {
        let sender = self.ends.lock().expect("not poisoned").0.clone();
        let message = black_box(vec![1; self.size]);
        move || sender.send(&message).expect("a receiver")
    }
    fn receiver(&self) -> impl FnMut() {
        let receiver = self.ends.lock().expect("not poisoned").1.take().expect("one consumer");
        move || read(&receiver.recv().expect("a sender"))
    }
}

/// A stream of the kernel, for messages of a known size: what is read from one descriptor and written to the other.
pub(crate) struct Stream(OwnedFd, OwnedFd, usize);

impl Stream {
    pub(crate) fn pipe(size: usize) -> Self {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        Self(reader, writer, size)
    }

    pub(crate) fn socket(size: usize) -> Self {
        let (one, other) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
        Self(one.into(), other.into(), size)
    }
}

impl Wire for Stream {
    fn sender(&self) -> impl FnMut() {
        let message = black_box(vec![1; self.2]);
        move || {
            let mut rest = &message[..];
            while !rest.is_empty() {
                let written = rustix::io::write(&self.1, rest).expect("a reader");
                rest = &rest[written..];
            }
        }
    }
    fn receiver(&self) -> impl FnMut() {
        let mut message = vec![0; self.2];
        move || {
            let mut come = 0;
            while come < message.len() {
                come += rustix::io::read(&self.0, &mut message[come..]).expect("a writer");
            }
            read(&message);
        }
    }
}

/// cloudtoid-interprocess, which polls.
pub(crate) struct Cloudtoid(cloudtoid_interprocess::Options, usize);

impl Cloudtoid {
    pub(crate) fn new(size: usize) -> Self {
        let name = format!("multiproc-compare-{}-{size}", std::process::id());
        let bytes = (capacity(size) * (size + 64)).next_multiple_of(4096);
        Self(cloudtoid_interprocess::Options::new(name, bytes), size)
    }
}

impl Wire for Cloudtoid {
    fn sender(&self) -> impl FnMut() {
        let publisher = cloudtoid_interprocess::Publisher::open(&self.0).expect("a queue");
        let message = black_box(vec![1; self.1]);
        move || {
            while let Err(error) = publisher.try_send(&message) {
                assert!(error.is_full(), "{error}");
                std::thread::yield_now();
            }
        }
    }
    fn receiver(&self) -> impl FnMut() {
        let subscriber = cloudtoid_interprocess::Subscriber::open(&self.0).expect("a queue");
        let mut message = vec![0; self.1];
        move || {
            while subscriber.try_recv_into(&mut message).expect("a queue").is_none() {
                std::thread::yield_now();
            }
            read(&message);
        }
    }
}

/// iceoryx2's publish and subscribe, in place and polled.
#[cfg(feature = "iceoryx2")]
pub(crate) struct Iceoryx(usize);

#[cfg(feature = "iceoryx2")]
impl Iceoryx {
    pub(crate) fn new(size: usize) -> Self {
        iceoryx2::prelude::set_log_level(iceoryx2::prelude::LogLevel::Error);
        Self(size)
    }

    fn service(
        &self,
    ) -> (
        iceoryx2::prelude::Node<iceoryx2::prelude::ipc::Service>,
        iceoryx2::service::port_factory::publish_subscribe::PortFactory<
            iceoryx2::prelude::ipc::Service,
            [u8],
            (),
        >,
    ) {
        use iceoryx2::prelude::*;
        let name = format!("multiproc-compare-{}-{}", std::os::unix::process::parent_id(), self.0);
        let node = NodeBuilder::new().create::<ipc::Service>().expect("a node");
        let service = node
            .service_builder(&name.as_str().try_into().expect("a name"))
            .publish_subscribe::<[u8]>()
            .subscriber_max_buffer_size(capacity(self.0))
            .enable_safe_overflow(false)
            .open_or_create()
            .expect("a service");
        (node, service)
    }
}

#[cfg(feature = "iceoryx2")]
impl Wire for Iceoryx {
    fn sender(&self) -> impl FnMut() {
        use iceoryx2::prelude::*;
        let (node, service) = self.service();
        let publisher = service
            .publisher_builder()
            .initial_max_slice_len(self.0)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .expect("a publisher");
        let message = black_box(vec![1; self.0]);
        move || {
            let _ = &node;
            let sample = publisher.loan_slice_uninit(message.len()).expect("room");
            sample.write_from_slice(&message).send().expect("a subscriber");
        }
    }
    fn receiver(&self) -> impl FnMut() {
        let (node, service) = self.service();
        let subscriber = service.subscriber_builder().create().expect("a subscriber");
        move || {
            let _ = &node;
            loop {
                if let Some(sample) = subscriber.receive().expect("a service") {
                    read(sample.payload());
                    return;
                }
                spin_loop();
            }
        }
    }
}
