//! Layer 5: shared objects behind a server, local or remote.
//!
//! [`Manager::start`] starts a server in a process of its own, [`ManagerBuilder::into_server`] makes this process one, and
//! [`Manager::connect`] connects to one. A manager makes objects there, and its proxies are typed handles of them.
//!
//! | Python | here | with |
//! |---|---|---|
//! | `list` | [`ListProxy`] | slices, `splice`, `sort`, `update` by any method of a vector |
//! | `dict` | [`DictProxy`] | `get_many`, `set_many`, `update`, [`entry`](DictProxy::entry) |
//! | `Namespace` | [`NamespaceProxy`] | attributes of any types, checked by name; `update` |
//! | `Value`, `Array` | [`ValueProxy`], [`ArrayProxy`] | any serde type; `update` |
//! | `Lock`, `RLock`, `Semaphore`, `BoundedSemaphore`, `Condition` | [`LockProxy`], [`RLockProxy`], [`SemaphoreProxy`], [`BoundedSemaphoreProxy`], [`ConditionProxy`] | guards; released when the client dies |
//! | `Event`, `Barrier` | [`EventProxy`], [`BarrierProxy`] | |
//! | `Queue`, `JoinableQueue` | [`QueueProxy`], [`JoinableQueueProxy`] | batches; tasks that come back when the client dies |
//! | `Pool` | [`PoolProxy`] | `map_async`, `imap` of inputs without end, callbacks in this process |
//! | `register` | [`RemoteObject`], [`ObjectProxy`] | |
//!
//! # How it works
//! A call is a message over a [`Connection`](crate::Connection) and a message back (`wire.rs`). A thread of the server's serves
//! a connection, and a call of the client's has one for itself while it lasts: so one that waits for a lock waits on the
//! server, with nobody behind it, and is seen to have gone when its connection ends. A thread for each connection, and no event
//! loop: [the guide](crate::guide::faq) has the measurement.
//!
//! On one machine client and server share a little memory beside the connection, and a message goes that way to who is awake,
//! or has slept for less than a tenth of a second (`line.rs`): a `get` takes 2 us instead of 57 between two cores, and 7 us
//! instead of 13 on one. Who sleeps for longer sleeps at the socket, by which each learns of the other's death: at once, or
//! when that tenth of a second is over.
//!
//! Values are bytes to the server: it stores and compares them, whatever the program, and needs no type of the clients'. So
//! changes that depend on the value (`update`, `entry`, `sort`) are made by the client and exchanged for what it had read,
//! again if that has changed.
//!
//! # What is whose
//! All connections of a process are a *session*. The server counts the references of a session to each object, and notes what
//! it holds: locks, permits, tasks, results. When its last connection ends, by whatever cause, what it holds is given back at
//! once, and its references a second later: a client that merely lost its connections has its objects still when it calls
//! again. A value with proxies in it holds references of its own.

mod array;
mod barrier;
mod body;
mod builder;
mod client;
mod condition;
mod dict;
mod dict_entry;
mod dict_object;
mod dispatch;
mod error;
mod event;
mod fault;
mod host;
mod joinable;
mod line;
mod list;
mod list_object;
mod lock;
#[expect(clippy::module_inception, reason = "the folder is named after its type")]
mod manager;
mod namespace;
mod object;
mod pipeline;
mod pool;
mod pool_proxy;
mod proxy;
mod queue;
mod queue_proxy;
mod refusal;
mod registry;
mod remote_result;
mod semaphore;
mod served;
mod server;
mod session;
mod stream;
mod table;
mod value;
mod wire;

pub use array::ArrayProxy;
pub use barrier::BarrierProxy;
pub use builder::ManagerBuilder;
pub use condition::{ConditionProxy, RemoteConditionGuard};
pub use dict::DictProxy;
pub use dict_entry::DictEntry;
pub use dispatch::ServerStats;
pub(crate) use dispatch::testing;
pub use error::ManagerError;
pub use event::EventProxy;
pub use joinable::{JoinableQueueProxy, RemoteTask};
pub(crate) use line::testing as line_testing;
pub use list::ListProxy;
pub use lock::{LockProxy, RLockProxy, RemoteLockGuard};
pub use manager::Manager;
pub use namespace::NamespaceProxy;
pub use object::ObjectProxy;
pub use pipeline::{Answers, Pipeline, Ticket};
pub use pool_proxy::PoolProxy;
pub use proxy::Proxy;
pub use queue_proxy::QueueProxy;
pub use refusal::Refusal;
pub use registry::RemoteObject;
pub use remote_result::RemoteResult;
pub use semaphore::{BoundedSemaphoreProxy, RemotePermit, SemaphoreProxy};
pub use server::{Server, ServerStopper};
pub use value::ValueProxy;
