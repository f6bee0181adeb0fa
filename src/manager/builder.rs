//! [`ManagerBuilder`]: how a manager's server is to be.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::error::ManagerError;
use super::manager::{Manager, Started};
use super::registry::{Registry, RemoteObject};
use super::server::{HELLO_TIME, Server};
use super::wire::LONGEST;
use crate::connection::nonce;
use crate::pool::Function;
use crate::{Address, AuthKey, Connection, Process, ProcessBuilder, Result, current_process, pipe};

/// The least that may be the longest message: errors are messages too.
const LEAST: u64 = 4096;

/// How a manager's server is to be: [`Manager::builder`].
///
/// # Examples
/// ```
/// use multiproc::{Address, AuthKey, Manager};
/// let builder = Manager::builder().address(Address::tcp("127.0.0.1:0")?).authkey(AuthKey::new("secret"));
/// let manager = builder.initializer(|name: String| println!("{name} serves"), "example".to_owned()).start()?;
/// let other = Manager::connect(manager.address().clone(), AuthKey::new("secret"))?;
/// assert_eq!(other.stats()?.clients, 2);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "a builder starts nothing until `start` is called"]
pub struct ManagerBuilder {
    address: Option<Address>,
    key: Option<AuthKey>,
    longest: u64,
    hello_time: Duration,
    types: Vec<Function<Registry, Registry>>,
    spawn: Box<Spawn>,
}

type Spawn = dyn FnOnce(ProcessBuilder, Setup) -> Result<Process<()>> + Send;

/// What the server's process is given.
#[derive(Serialize, Deserialize)]
struct Setup {
    address: Address,
    key: AuthKey,
    longest: u64,
    hello_time: Duration,
    types: Vec<Function<Registry, Registry>>,
    /// The parent's end is its life: when it is closed, the server ends. First it hears where the server is, or why it isn't.
    control: Connection,
}

/// What the server calls first.
#[derive(Serialize, Deserialize)]
struct Initializer<I> {
    function: Function<I, ()>,
    arguments: I,
}

impl ManagerBuilder {
    pub(super) fn new() -> Self {
        Self {
            address: None,
            key: None,
            longest: LONGEST,
            hello_time: HELLO_TIME,
            types: Vec::new(),
            spawn: Box::new(|builder, setup| builder.spawn(serve::<()>, (setup, None))),
        }
    }

    /// Where the server is to be. Default: an abstract name that nobody else has.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Address, Manager};
    /// let manager = Manager::builder().address(Address::tcp("127.0.0.1:0")?).start()?;
    /// assert!(matches!(manager.address(), Address::Tcp(address) if address.port() != 0));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn address(mut self, address: Address) -> Self {
        self.address = Some(address);
        self
    }

    /// The key that clients must have. Default: this process's, which its children have.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{AuthKey, Manager};
    /// let manager = Manager::builder().authkey(AuthKey::new("secret")).start()?;
    /// let other = Manager::connect(manager.address().clone(), AuthKey::new("secret"))?;
    /// assert_eq!(other.stats()?.clients, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn authkey(mut self, key: AuthKey) -> Self {
        self.key = Some(key);
        self
    }

    /// The longest message in bytes, from and to clients: 4096 at least. Default 64 MiB.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Manager;
    /// use multiproc::manager::ManagerError;
    /// let manager = Manager::builder().max_message(10_000).start()?;
    /// let texts = manager.list::<String>([])?;
    /// texts.push(&"x".repeat(9_000))?;
    /// assert!(matches!(texts.push(&"x".repeat(11_000)), Err(ManagerError::TooLong { .. })));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn max_message(mut self, bytes: u64) -> Self {
        self.longest = bytes.max(LEAST);
        self
    }

    /// How long a client may take to prove its key, and then to say which version it speaks, before it is turned away. Default
    /// 10 s.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Manager;
    /// use std::time::Duration;
    /// let manager = Manager::builder().handshake_timeout(Duration::from_secs(60)).start()?;
    /// assert_eq!(manager.refusals()?, []);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.hello_time = timeout;
        self
    }

    /// A type of one's own, for [`Manager::object`]: [`RemoteObject`] has an example.
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
    pub fn register<T: RemoteObject>(mut self) -> Self {
        self.types.push(Function::new(Registry::with::<T>));
        self
    }

    /// What the server's process calls before it serves. Not by [`into_server`](Self::into_server).
    ///
    /// # Examples
    /// ```
    /// use multiproc::Manager;
    /// let refused = Manager::builder().initializer(|why: String| panic!("{why}"), "no luck".to_owned()).start();
    /// assert!(refused.is_err_and(|error| error.to_string().contains("no luck")));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn initializer<I>(mut self, f: fn(I), args: I) -> Self
    where
        I: Serialize + DeserializeOwned + Send + 'static,
    {
        self.spawn = Box::new(move |builder, setup| {
            let initializer = Initializer { function: Function::new(f), arguments: args };
            builder.spawn(serve::<I>, (setup, Some(initializer)))
        });
        self
    }

    /// Starts a server in a process of its own, and connects to it.
    ///
    /// That process ends with the [`Manager`], and with this process, however that ends. The terminal's interrupts don't reach it.
    ///
    /// # Errors
    /// Those of [`Process::spawn`]; [`ManagerError::Refused`]: it can't listen at the address, or the initializer panicked.
    ///
    /// # Process death
    /// A server that is killed meanwhile is an error.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::builder().start()?;
    /// assert_eq!(manager.list([1, 2])?.len()?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn start(self) -> Result<Manager> {
        let Self { address, key, longest, hello_time, types, spawn } = self;
        let key = key.map_or_else(|| current_process().authkey(), Ok)?;
        let address = address.map_or_else(own_address, Ok)?;
        let (control, end) = pipe()?;
        let setup = Setup { address, key: key.clone(), longest, hello_time, types, control: end };
        let builder =
            Process::builder().name("Manager").daemon(true).parent().authkey(key.clone()).process_group();
        let mut process = spawn(builder, setup)?;
        // The other end is the server's alone: if that ends, this is the end.
        let address = match control.recv::<Result<Address, String>>() {
            Ok(Ok(address)) => address,
            Ok(Err(why)) => return Err(ManagerError::Refused(why).into()),
            Err(_) => {
                let why =
                    process.join().err().map_or_else(|| "it ended".to_owned(), |error| error.to_string());
                return Err(ManagerError::Refused(format!("the manager's server: {why}")).into());
            }
        };
        // From here on dropping it ends the process.
        let started = Started::new(process, control);
        let client = Client::connect(address, key)?;
        Ok(Manager::started(client, started))
    }

    /// A server in this process, which is to serve.
    ///
    /// # Errors
    /// Those of [`Listener::bind`](crate::Listener::bind).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Address, Manager};
    /// let server = Manager::builder().address(Address::tcp("127.0.0.1:0")?).into_server()?;
    /// assert!(matches!(server.address(), Address::Tcp(address) if address.port() != 0));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn into_server(self) -> Result<Server> {
        let key = self.key.map_or_else(|| current_process().authkey(), Ok)?;
        let address = self.address.map_or_else(own_address, Ok)?;
        Server::bind(address, key, registry(&self.types), self.longest, self.hello_time)
    }
}

fn registry(types: &[Function<Registry, Registry>]) -> Registry {
    types.iter().fold(Registry::default(), |registry, add| add.call(registry))
}

/// A name that nobody else has.
fn own_address() -> Result<Address> {
    let random = u64::from_le_bytes(nonce::random()?);
    Ok(Address::Abstract(format!("multiproc-manager-{}-{random:016x}", std::process::id())))
}

/// What the server's process does.
fn serve<I>((setup, initializer): (Setup, Option<Initializer<I>>)) {
    if let Some(Initializer { function, arguments }) = initializer {
        // If it panics, this process ends, and says why.
        function.call(arguments);
    }
    let Setup { address, key, longest, hello_time, types, control } = setup;
    let server = match Server::bind(address, key, registry(&types), longest, hello_time) {
        Ok(server) => server,
        Err(error) => {
            // A parent that is gone does not care.
            let _ = control.send(&Err::<Address, _>(error.to_string()));
            return;
        }
    };
    if control.send(&Ok::<_, String>(server.address())).is_err() {
        return;
    }
    let stopper = server.stopper();
    let watch = std::thread::Builder::new().name("multiproc-control".to_owned()).spawn(move || {
        // A message, or the end: both are the end.
        let _ = control.poll_wait();
        stopper.stop();
    });
    if watch.is_ok() {
        server.serve_forever();
    }
}

impl fmt::Debug for ManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerBuilder").field("address", &self.address).finish_non_exhaustive()
    }
}
