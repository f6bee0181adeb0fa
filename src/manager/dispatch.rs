//! [`answer_message`]: a message of a client's, and what is answered. Whatever its bytes are.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::array::ArrayObject;
use super::barrier::BarrierObject;
use super::body::{Body, Sequence, answer};
use super::condition::ConditionObject;
use super::dict_object::DictObject;
use super::event::EventObject;
use super::fault::Fault;
use super::host::Host;
use super::list_object::ListObject;
use super::lock::LockObject;
use super::namespace::NamespaceObject;
use super::pool::PoolObject;
use super::queue::QueueObject;
use super::semaphore::SemaphoreObject;
use super::served::{Caller, Served};
use super::session::Session;
use super::table::{Hold, Object, Stored};
use super::value::ValueObject;
use super::wire::{Bytes, Item, Kind, Reply, Request, SERVER, ServerCall, SessionId};
use crate::task::panic_text;
use crate::transfer;

/// What a server has to do.
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let _list = manager.list([1])?;
/// let stats = manager.stats()?;
/// assert_eq!((stats.objects, stats.clients), (1, 1));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServerStats {
    /// Objects that somebody refers to.
    pub objects: usize,
    /// Processes that are connected.
    pub clients: usize,
}

/// Who is at the other end of a connection.
pub(super) struct Peer<'a> {
    pub(super) host: &'a Arc<Host>,
    pub(super) session: &'a Arc<Session>,
    pub(super) session_id: SessionId,
    pub(super) is_gone: &'a dyn Fn() -> bool,
    pub(super) is_same_program: bool,
}

/// Answers the requests in a message; `Err` with what to say before hanging up if it is none.
pub(super) fn answer_message(peer: &Peer<'_>, message: &[u8], replies: &mut Vec<u8>) -> Result<(), String> {
    let mut rest = message;
    let longest = peer.host.longest;
    let mut body = Body::new(longest);
    let mut last = None;
    while !rest.is_empty() {
        let (request, behind) =
            postcard::take_from_bytes::<Request<'_>>(rest).map_err(|error| format!("a request: {error}"))?;
        rest = behind;
        body.clear(replies.len() as u64);
        // None is begun any more, so that none is cut off.
        let outcome = if peer.host.is_stopping() {
            Err(Fault::Stopping)
        } else {
            answer_request(peer, &request, &mut last, &mut body)
        };
        if request.number > 0 {
            push_reply(replies, request.number, outcome.as_ref().map(|()| body.bytes()), longest);
        }
        // Many that ask for little, and are told why they don't get it.
        if replies.len() as u64 > longest.saturating_add(longest.max(REFUSED)) {
            return Err("requests whose answers are too long".to_owned());
        }
    }
    Ok(())
}

/// Bytes of replies beyond the longest message, which say that others are too long.
const REFUSED: u64 = 64 << 10;

/// Appends a reply; of a fault whose text is too long, that it is.
pub(super) fn push_reply(replies: &mut Vec<u8>, number: u64, outcome: Result<&[u8], &Fault>, longest: u64) {
    let start = replies.len();
    let is_fault = outcome.is_err();
    let outcome = outcome.map(Bytes).map_err(Fault::clone);
    // Bytes and texts can be encoded.
    let _ = transfer::append(&Reply { number, outcome }, replies);
    let len = replies.len() as u64;
    if is_fault && len > longest {
        replies.truncate(start);
        let _ =
            transfer::append(&Reply { number, outcome: Err(Fault::TooLong { len, max: longest }) }, replies);
    }
}

/// Answers a request. `last` is the object that the one before in the message was for, as a rule the same: then the client had a
/// reference to it a moment ago.
fn answer_request(
    peer: &Peer<'_>,
    request: &Request<'_>,
    last: &mut Option<(u64, Arc<Object>)>,
    reply: &mut Body,
) -> Result<(), Fault> {
    let answered = catch_unwind(AssertUnwindSafe(|| {
        if request.object == SERVER {
            // It may give references back.
            *last = None;
            return answer_as_server(peer, request.body.0, reply);
        }
        let (_, object) = match last {
            Some(known) if known.0 == request.object => known,
            _ => last.insert((request.object, find(peer, request.object)?)),
        };
        object.served.call(&caller(peer, object), request.body.0, reply)
    }));
    answered.unwrap_or_else(|payload| Err(Fault::Panicked(panic_text(&*payload).to_owned())))
}

/// The object of this number, if the client has a reference to it.
fn find(peer: &Peer<'_>, number: u64) -> Result<Arc<Object>, Fault> {
    let object = if peer.session.refers_to(number) { peer.host.table.get(number) } else { None };
    object.ok_or(Fault::NoSuchObject)
}

fn caller<'a>(peer: &'a Peer<'_>, object: &'a Arc<Object>) -> Caller<'a> {
    Caller {
        host: peer.host,
        session: peer.session,
        session_id: peer.session_id,
        object,
        is_gone: peer.is_gone,
        is_same_program: peer.is_same_program,
    }
}

fn answer_as_server(peer: &Peer<'_>, body: &[u8], reply: &mut Body) -> Result<(), Fault> {
    let (host, session) = (peer.host, peer.session);
    let call = postcard::from_bytes(body).map_err(|error| Fault::malformed(&error))?;
    match call {
        ServerCall::Create { kind, of, options } => {
            let served = create(peer, kind, &of, options.0)?;
            let number = host.table.add(Object { kind, of: of.into_owned(), served });
            session.refer(number);
            answer(reply, &number)
        }
        ServerCall::Attach(numbers) => {
            let attached: Vec<bool> = numbers.iter().map(|&number| refer(peer, number).is_ok()).collect();
            answer(reply, &attached)
        }
        ServerCall::Claim { object, ticket, kind, of } => {
            check(host, object, kind, &of)?;
            refer(peer, object)?;
            // The session has a reference of its own now.
            drop(host.claim(ticket));
            Ok(())
        }
        ServerCall::Release(references) => {
            for (number, count) in references {
                host.table.release(number, session.release(number, count));
            }
            Ok(())
        }
        ServerCall::Ticket(number) => {
            if !session.refers_to(number) {
                return Err(Fault::NoSuchObject);
            }
            host.expire_tickets();
            answer(reply, &host.ticket(Hold::new(&host.table, number)?))
        }
        ServerCall::Publish { name, object } => {
            if !session.refers_to(object) {
                return Err(Fault::NoSuchObject);
            }
            let hold = Hold::new(&host.table, object)?;
            let mut names = host.names();
            if names.contains_key(&*name) {
                // Not while the names are locked.
                drop(names);
                drop(hold);
                return Err(Fault::AlreadyExists(format!("object \"{name}\"")));
            }
            names.insert(name.into_owned(), hold);
            Ok(())
        }
        ServerCall::Unpublish(name) => {
            let hold = host.names().remove(&*name);
            answer(reply, &hold.is_some())
        }
        ServerCall::Find { name, kind, of } => {
            let names = host.names();
            let found = names.get(&*name).map(|hold| hold.number);
            let number = found.ok_or_else(|| Fault::NotFound(format!("object \"{name}\"")))?;
            // The name keeps it there meanwhile.
            check(host, number, kind, &of)?;
            refer(peer, number)?;
            answer(reply, &number)
        }
        ServerCall::Names => {
            let names = host.names();
            answer(reply, &Sequence(|| names.keys()))
        }
        ServerCall::Refusals => answer(reply, &host.refusals()),
        ServerCall::Stats => {
            host.expire_tickets();
            answer(reply, &ServerStats { objects: host.table.len(), clients: host.clients() })
        }
    }
}

/// Takes a reference for the client.
fn refer(peer: &Peer<'_>, number: u64) -> Result<(), Fault> {
    if !peer.host.table.refer(number) {
        return Err(Fault::NoSuchObject);
    }
    peer.session.refer(number);
    Ok(())
}

/// Whether an object is of this kind and type.
fn check(host: &Host, number: u64, kind: Kind, of: &str) -> Result<(), Fault> {
    let object = host.table.get(number).ok_or(Fault::NoSuchObject)?;
    if (object.kind, object.of.as_str()) == (kind, of) {
        return Ok(());
    }
    let name =
        |kind: Kind, of: &str| if of.is_empty() { format!("{kind:?}") } else { format!("{kind:?}<{of}>") };
    Err(Fault::Mismatch { expected: name(kind, of), found: name(object.kind, &object.of) })
}

/// For fuzzing.
pub(crate) mod testing {
    use super::{Arc, Host, Peer, Reply, answer_message};
    use crate::manager::registry::Registry;

    /// Answers the messages of a client that has gone since, one after the other; which of the replies are faults.
    ///
    /// # Panics
    /// A reply is none, or the system has no random bytes.
    pub fn answer_requests<'a>(messages: impl Iterator<Item = &'a [u8]>) -> Vec<bool> {
        let host = Host::new(Registry::default(), 1 << 20).expect("random bytes");
        let id = [7; 16];
        let (session, _) = host.enter(id);
        let is_gone = || true;
        let peer = Peer {
            host: &host,
            session: &session,
            session_id: id,
            is_gone: &is_gone,
            is_same_program: false,
        };
        let mut faults = Vec::new();
        for message in messages {
            let mut replies = Vec::new();
            let understood = answer_message(&peer, message, &mut replies);
            let mut rest = replies.as_slice();
            while !rest.is_empty() {
                let (reply, behind) = postcard::take_from_bytes::<Reply<'_>>(rest).expect("a reply");
                faults.push(reply.outcome.is_err());
                rest = behind;
            }
            if understood.is_err() {
                break;
            }
        }
        host.stop();
        host.leave(id, &Arc::clone(&session));
        host.clear();
        assert_eq!(host.table.len(), 0, "all objects went");
        faults
    }
}

/// Makes an object.
fn create(peer: &Peer<'_>, kind: Kind, of: &str, options: &[u8]) -> Result<Box<dyn Served>, Fault> {
    Ok(match kind {
        Kind::Dict => Box::new(DictObject::default()),
        Kind::List => Box::new(ListObject::new(stored(peer, options)?)),
        Kind::Array => Box::new(ArrayObject::new(stored(peer, options)?)),
        Kind::Namespace => Box::new(NamespaceObject::default()),
        Kind::Value => Box::new(ValueObject::new(Stored::new(&peer.host.table, &option(options)?)?)),
        Kind::Lock => Box::new(LockObject::new(false)),
        Kind::RLock => Box::new(LockObject::new(true)),
        Kind::Semaphore => Box::new(SemaphoreObject::new(option(options)?, false)),
        Kind::BoundedSemaphore => Box::new(SemaphoreObject::new(option(options)?, true)),
        Kind::Condition => Box::new(ConditionObject::default()),
        Kind::Event => Box::new(EventObject::default()),
        Kind::Barrier => Box::new(BarrierObject::new(option(options)?)?),
        Kind::Queue | Kind::JoinableQueue => Box::new(QueueObject::new(option(options)?)),
        Kind::Pool => {
            if !peer.is_same_program {
                let why =
                    "a pool is for clients of the same program, on the server's machine, over a Unix socket";
                return Err(Fault::Refused(why.to_owned()));
            }
            Box::new(PoolObject::new(option(options)?)?)
        }
        Kind::Custom => peer.host.registry.make(of, options)?,
    })
}

fn option<'a, T: Deserialize<'a>>(options: &'a [u8]) -> Result<T, Fault> {
    postcard::from_bytes(options).map_err(|error| Fault::malformed(&error))
}

/// The elements that an object begins with.
fn stored(peer: &Peer<'_>, options: &[u8]) -> Result<Vec<Stored>, Fault> {
    let items: Vec<Item<'_>> = option(options)?;
    items.iter().map(|item| Stored::new(&peer.host.table, item)).collect()
}
