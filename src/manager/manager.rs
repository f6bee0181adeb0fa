//! [`Manager`]: shared objects behind a server.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::array::ArrayProxy;
use super::barrier::BarrierProxy;
use super::builder::ManagerBuilder;
use super::client::Client;
use super::condition::ConditionProxy;
use super::dict::DictProxy;
use super::dispatch::ServerStats;
use super::error::ManagerError;
use super::event::EventProxy;
use super::joinable::JoinableQueueProxy;
use super::list::{ListProxy, items};
use super::lock::{LockProxy, RLockProxy};
use super::namespace::NamespaceProxy;
use super::object::ObjectProxy;
use super::pipeline::Pipeline;
use super::pool_proxy::PoolProxy;
use super::proxy::{Named, Proxy, Typed, pack};
use super::queue_proxy::QueueProxy;
use super::refusal::Refusal;
use super::registry::RemoteObject;
use super::semaphore::{BoundedSemaphoreProxy, SemaphoreProxy};
use super::value::ValueProxy;
use super::wire::ServerCall;
use crate::{Address, AuthKey, Connection, Process, ProcessError, Result};

/// How long a server may take to end by itself, and then by `SIGTERM`.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shared objects behind a server: the way to share dictionaries, lists, locks and queues with processes that share no memory
/// with this one, on this machine or another.
///
/// What it makes are *proxies*: typed handles of objects on the server, cheap to clone, Send and Sync. They travel in the
/// arguments of processes, over connections, through queues, and into other objects of the same server. The object goes with
/// its last proxy, in whatever process. An object that other programs are to find gets a [name](Self::publish).
///
/// Dropping the manager that started a server ends that, with all objects, as [`shutdown`](Self::shutdown) does. Memory that
/// processes share is a hundred times as fast: [`Queue`](crate::Queue), [`Value`](crate::Value) and their kin are for processes
/// of one machine.
///
/// # Process death
/// A server that is killed fails the calls that are going on with [`ManagerError::Disconnected`], and those that come later with
/// [`ManagerError::Unreachable`]; nobody hangs. What a killed client held goes to others within 1 s, and
/// objects that only it referred to go within 3.
///
/// # Examples
/// ```
/// use multiproc::manager::{DictProxy, ListProxy};
/// use multiproc::{Manager, Process};
///
/// fn fill(groups: DictProxy<String, ListProxy<u32>>) {
///     let evens = groups.get(&"even".to_owned()).unwrap().unwrap();
///     evens.extend([2, 4, 6]).unwrap();
/// }
///
/// let manager = Manager::start()?;
/// let groups = manager.dict()?;
/// groups.set(&"even".to_owned(), &manager.list([0])?)?;
/// Process::spawn(fill, groups.clone())?.join()?;
/// let evens: ListProxy<u32> = groups.get(&"even".to_owned())?.expect("it was set");
/// assert_eq!(evens.to_vec()?, [0, 2, 4, 6]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "SyncManager")]
#[doc(alias = "BaseManager")]
pub struct Manager {
    client: Arc<Client>,
    /// Where it was started.
    server: Option<Started>,
}

/// A server's process.
pub(super) struct Started {
    pid: u32,
    state: Mutex<Option<(Process<()>, Connection)>>,
}

impl Started {
    pub(super) fn new(process: Process<()>, control: Connection) -> Self {
        Self { pid: process.pid(), state: Mutex::new(Some((process, control))) }
    }

    /// Ends the server, and waits for that.
    fn end(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((mut process, control)) = state else { return };
        drop(control);
        for signal in [Process::terminate, Process::kill] {
            if !matches!(process.join_timeout(PATIENCE), Err(ProcessError::TimedOut)) {
                return;
            }
            // It is a child of this process, and this user's.
            let _ = signal(&process);
        }
        let _ = process.join();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.end();
    }
}

impl Manager {
    /// Starts a server in a process of its own, at an address and with a key that children of this process know.
    ///
    /// # Errors
    /// Those of [`ManagerBuilder::start`].
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// assert_eq!(manager.list([1, 2])?.len()?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// A manager with options.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Address, Manager};
    /// let manager = Manager::builder().address(Address::tcp("127.0.0.1:0")?).start()?;
    /// assert!(matches!(manager.address(), Address::Tcp(_)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::new()
    }

    /// Connects to a server that another process has started, or serves.
    ///
    /// # Errors
    /// [`ManagerError::Unreachable`], [`ManagerError::Authentication`], [`ManagerError::Version`].
    ///
    /// # Process death
    /// A server that is killed meanwhile is an error.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{AuthKey, Manager};
    /// use multiproc::manager::ManagerError;
    /// let manager = Manager::builder().authkey(AuthKey::new("right")).start()?;
    /// let wrong = Manager::connect(manager.address().clone(), AuthKey::new("wrong"));
    /// assert!(matches!(wrong, Err(ManagerError::Authentication(_))));
    /// assert!(Manager::connect(manager.address().clone(), AuthKey::new("right")).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn connect(address: Address, key: AuthKey) -> Result<Self, ManagerError> {
        Ok(Self { client: Client::connect(address, key)?, server: None })
    }

    pub(super) fn started(client: Arc<Client>, server: Started) -> Self {
        Self { client, server: Some(server) }
    }

    /// Where the server is.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let key = multiproc::current_process().authkey()?;
    /// let other = multiproc::Manager::connect(manager.address().clone(), key)?;
    /// assert_eq!(other.address(), manager.address());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn address(&self) -> &Address {
        &self.client.address
    }

    /// The number of the server's process, if it was started here.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// assert!(manager.pid().is_some_and(|pid| pid != std::process::id()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(|server| server.pid)
    }

    /// Ends the server, with all objects, and waits until it has ended. Again it does nothing.
    ///
    /// Calls that have begun go on for up to half a second, and are answered. Those that wait, for a lock or an element of a
    /// queue, and those that come too late end with [`ManagerError::Stopping`] or [`ManagerError::Unreachable`], and none of
    /// these was made.
    ///
    /// # Errors
    /// [`ManagerError::NotStartedHere`].
    ///
    /// # Process death
    /// A server that was killed has ended.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Manager;
    /// use multiproc::manager::ManagerError;
    /// let manager = Manager::start()?;
    /// let list = manager.list([1])?;
    /// manager.shutdown()?;
    /// assert!(list.len().is_err());
    /// assert!(matches!(manager.event(), Err(ManagerError::Unreachable(_))));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn shutdown(&self) -> Result<(), ManagerError> {
        self.server.as_ref().map(Started::end).ok_or(ManagerError::NotStartedHere)
    }

    /// A list with these elements.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([3, 1, 2])?;
    /// list.sort()?;
    /// assert_eq!(list.to_vec()?, [1, 2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn list<T>(&self, elements: impl IntoIterator<Item = T>) -> Result<ListProxy<T>, ManagerError>
    where
        T: Serialize + DeserializeOwned,
    {
        self.filled(elements)
    }

    /// An empty dictionary.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let ages = manager.dict::<String, u32>()?;
    /// ages.set(&"Ada".to_owned(), &36)?;
    /// assert_eq!(ages.keys()?, ["Ada"]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn dict<K, V>(&self) -> Result<DictProxy<K, V>, ManagerError>
    where
        K: Serialize + DeserializeOwned,
        V: Serialize + DeserializeOwned,
    {
        self.make(&())
    }

    /// A namespace without attributes.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let settings = manager.namespace()?;
    /// settings.set("retries", &3_u32)?;
    /// assert_eq!(settings.get("retries")?, Some(3_u32));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn namespace(&self) -> Result<NamespaceProxy, ManagerError> {
        self.make(&())
    }

    /// A value.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let best = manager.value(&7_u32)?;
    /// best.update(|best| *best = (*best).max(9))?;
    /// assert_eq!(best.get()?, 9);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn value<T>(&self, value: &T) -> Result<ValueProxy<T>, ManagerError>
    where
        T: Serialize + DeserializeOwned,
    {
        self.make(&pack(&self.client, value)?.item())
    }

    /// An array of these elements.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let array = manager.array([1, 2, 3])?;
    /// array.set(0, &7)?;
    /// assert_eq!(array.to_vec()?, [7, 2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn array<T>(&self, elements: impl IntoIterator<Item = T>) -> Result<ArrayProxy<T>, ManagerError>
    where
        T: Serialize + DeserializeOwned,
    {
        self.filled(elements)
    }

    /// A queue of so many items at most, or of any number for 0.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let queue = manager.queue(10)?;
    /// queue.put(&"a".to_owned())?;
    /// assert_eq!(queue.get()?, "a");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn queue<T>(&self, max_items: u64) -> Result<QueueProxy<T>, ManagerError>
    where
        T: Serialize + DeserializeOwned,
    {
        self.make(&max_items)
    }

    /// A queue of so many tasks at most, or of any number for 0.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// jobs.put(&7)?;
    /// jobs.take()?.done()?;
    /// assert!(jobs.join().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn joinable_queue<T>(&self, max_items: u64) -> Result<JoinableQueueProxy<T>, ManagerError>
    where
        T: Serialize + DeserializeOwned,
    {
        self.make(&max_items)
    }

    /// A lock.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let lock = manager.lock()?;
    /// let _guard = lock.lock()?;
    /// assert!(lock.try_lock()?.is_none());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock(&self) -> Result<LockProxy, ManagerError> {
        self.make(&())
    }

    /// A lock that nests.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let lock = manager.rlock()?;
    /// let _guard = lock.lock()?;
    /// assert!(lock.try_lock()?.is_some());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn rlock(&self) -> Result<RLockProxy, ManagerError> {
        self.make(&())
    }

    /// A semaphore with so many permits.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let seats = manager.semaphore(2)?;
    /// let _seat = seats.acquire()?;
    /// assert_eq!(seats.value()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn semaphore(&self, permits: u64) -> Result<SemaphoreProxy, ManagerError> {
        self.make(&permits)
    }

    /// A semaphore with so many permits, and never more.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let seats = manager.bounded_semaphore(2)?;
    /// assert!(seats.release().is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn bounded_semaphore(&self, permits: u64) -> Result<BoundedSemaphoreProxy, ManagerError> {
        self.make(&permits)
    }

    /// A condition, with a lock of its own.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let changed = manager.condition()?;
    /// let guard = changed.lock()?;
    /// assert!(guard.notify_one().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn condition(&self) -> Result<ConditionProxy, ManagerError> {
        self.make(&())
    }

    /// An event.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let ready = manager.event()?;
    /// ready.set()?;
    /// assert!(ready.is_set()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn event(&self) -> Result<EventProxy, ManagerError> {
        self.make(&())
    }

    /// A barrier of so many parties.
    ///
    /// # Errors
    /// [`ManagerError::Refused`] for 0; those of a call.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// assert_eq!(manager.barrier(1)?.wait()?, 0);
    /// assert!(manager.barrier(0).is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn barrier(&self, parties: u64) -> Result<BarrierProxy, ManagerError> {
        self.make(&parties)
    }

    /// A pool of so many processes, which the server starts.
    ///
    /// # Errors
    /// [`ManagerError::Refused`]: this process is of another program than the server, or on another machine, or connected over TCP; no
    /// process can be started. Those of a call.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// assert_eq!(pool.apply(|n: u32| n + 1, 1)?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn pool(&self, processes: u64) -> Result<PoolProxy, ManagerError> {
        self.make(&processes)
    }

    /// An object of a type of one's own, made of `args`, on the server: [`RemoteObject`] has an example.
    ///
    /// # Errors
    /// [`ManagerError::NotFound`]: the type is not registered. Those of a call.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::manager::RemoteObject;
    /// # struct Sum(u64);
    /// # impl RemoteObject for Sum {
    /// #     type Args = u64;
    /// #     type Request = u64;
    /// #     type Reply = u64;
    /// #     const NAME: &'static str = "Sum";
    /// #     fn new(start: u64) -> Self {
    /// #         Self(start)
    /// #     }
    /// #     fn call(&mut self, more: u64) -> u64 {
    /// #         self.0 += more;
    /// #         self.0
    /// #     }
    /// # }
    /// // `Sum` is a `RemoteObject`.
    /// let manager = multiproc::Manager::builder().register::<Sum>().start()?;
    /// let sum = manager.object::<Sum>(&40)?;
    /// assert_eq!(sum.call(&2)?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn object<T: RemoteObject>(&self, args: &T::Args) -> Result<ObjectProxy<T>, ManagerError> {
        self.make(args)
    }

    /// Gives an object a name, by which other clients find it. The name keeps it there.
    ///
    /// # Errors
    /// [`ManagerError::AlreadyExists`]; those of a call.
    ///
    /// # Process death
    /// A name outlives the client that gave it.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{AuthKey, Manager};
    /// use multiproc::manager::{DictProxy, ManagerError};
    /// let manager = Manager::builder().authkey(AuthKey::new("secret")).start()?;
    /// manager.publish("ages", &manager.dict::<String, u32>()?)?;
    ///
    /// // In another program:
    /// let other = Manager::connect(manager.address().clone(), AuthKey::new("secret"))?;
    /// let ages: DictProxy<String, u32> = other.find("ages")?;
    /// ages.set(&"Ada".to_owned(), &36)?;
    /// let mistaken = other.find::<DictProxy<String, f64>>("ages");
    /// assert!(matches!(mistaken, Err(ManagerError::Mismatch { .. })));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "register")]
    pub fn publish<P: Proxy>(&self, name: &str, proxy: &P) -> Result<(), ManagerError> {
        let remote = Named::remote(proxy);
        if remote.client().incarnation() != self.client.incarnation() {
            return Err(ManagerError::Refused("the object is another server's".to_owned()));
        }
        self.client.ask_server(&ServerCall::Publish { name: name.into(), object: remote.number() })
    }

    /// Takes a name away; whether there was one.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// manager.publish("numbers", &manager.list([1])?)?;
    /// assert!(manager.unpublish("numbers")?);
    /// assert!(!manager.unpublish("numbers")?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn unpublish(&self, name: &str) -> Result<bool, ManagerError> {
        self.client.ask_server(&ServerCall::Unpublish(name.into()))
    }

    /// The object of a name: what kind of proxy and of which types is for the caller to say.
    ///
    /// # Errors
    /// [`ManagerError::NotFound`]; [`ManagerError::Mismatch`]: it is of another kind, or type by its name. Those of a call.
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ListProxy;
    /// let manager = multiproc::Manager::start()?;
    /// manager.publish("numbers", &manager.list([1_u32])?)?;
    /// let numbers: ListProxy<u32> = manager.find("numbers")?;
    /// assert_eq!(numbers.to_vec()?, [1]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn find<P: Proxy>(&self, name: &str) -> Result<P, ManagerError> {
        Typed::find(&self.client, name).map(P::of_typed)
    }

    /// The names that there are.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// manager.publish("numbers", &manager.list([1])?)?;
    /// assert_eq!(manager.names()?, ["numbers"]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn names(&self) -> Result<Vec<String>, ManagerError> {
        self.client.ask_server(&ServerCall::Names)
    }

    /// Why the server turned clients away: the last 32.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{AuthKey, Manager};
    /// use multiproc::manager::Refusal;
    /// let manager = Manager::start()?;
    /// let stranger = Manager::connect(manager.address().clone(), AuthKey::new("a guess"));
    /// assert!(stranger.is_err());
    /// while manager.refusals()?.is_empty() {
    ///     std::thread::yield_now();
    /// }
    /// assert_eq!(manager.refusals()?, [Refusal::WrongKey]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn refusals(&self) -> Result<Vec<Refusal>, ManagerError> {
        self.client.ask_server(&ServerCall::Refusals)
    }

    /// What the server has to do.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let _list = manager.list([1])?;
    /// assert_eq!(manager.stats()?.objects, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn stats(&self) -> Result<ServerStats, ManagerError> {
        self.client.ask_server(&ServerCall::Stats)
    }

    /// Calls that are sent without waiting for each other's answers.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([])?;
    /// let mut pipeline = manager.pipeline();
    /// for n in 0..3 {
    ///     pipeline.append(&list, &n)?;
    /// }
    /// pipeline.run()?.check()?;
    /// assert_eq!(list.to_vec()?, [0, 1, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn pipeline(&self) -> Pipeline<'_> {
        Pipeline::new(&self.client)
    }

    fn make<P: Proxy, O: Serialize>(&self, options: &O) -> Result<P, ManagerError> {
        Typed::create(&self.client, options).map(P::of_typed)
    }

    /// An object that begins with these elements.
    fn filled<P: Proxy, T: Serialize>(
        &self,
        elements: impl IntoIterator<Item = T>,
    ) -> Result<P, ManagerError> {
        let packed: Result<Vec<_>, _> =
            elements.into_iter().map(|element| pack(&self.client, &element)).collect();
        self.make(&items(&packed?))
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("address", self.address())
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}
