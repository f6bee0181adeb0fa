//! [`Handshake`]: what two ends say to each other before the first message. No input or output here: bytes in, bytes out.
//!
//! ```text
//! hello    "mpcn" | version u16 | length of the rest u16 | role u8 | has a key u8 | nonce of 32 bytes     little endian
//! answer   'P', 'A' or 'R' | 32 bytes
//!
//! both      hello
//!           Whether both have a key, or only one, is known to both from here on. Without keys this is all.
//! client    P, its proof       HMAC-SHA256(key, label | role of who proves | the client's hello | the listener's hello)
//! listener  A, its own proof   or R and zeros: the client's proof is wrong
//! client    A and zeros        or R and zeros: the listener's proof is wrong
//! ```
//!
//! A proof holds for one connection, since it covers both nonces, and for one role: who sends a listener's own bytes back to
//! it proves nothing. The client proves first: a stranger learns nothing that was made with the key. Proofs are
//! compared in a time that does not depend on them. What is sent afterwards is neither encrypted nor authenticated.

use hmac::Mac;

use super::authentication_error::AuthenticationError;
use super::authkey::AuthKey;
use super::nonce;
use crate::Result;

const MAGIC: [u8; 4] = *b"mpcn";
const VERSION: u16 = 1;
const LABEL: &[u8] = b"multiproc connection 1";
const NONCE: usize = 32;
/// Magic, version, length.
const HELLO_HEAD: usize = 8;
const HELLO: usize = HELLO_HEAD + 2 + NONCE;
/// The longest hello that any version may have.
const LONGEST_HELLO: usize = 1024;
const ANSWER: usize = 33;

const PROOF: u8 = b'P';
const ACCEPTED: u8 = b'A';
const REJECTED: u8 = b'R';

/// Which end this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Listener = 0,
    Client = 1,
}

/// What an end waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Hello,
    /// The client's proof, at the listener; the listener's verdict and proof, at the client.
    Proof,
    /// The client's verdict, at the listener.
    Verdict,
    Done,
}

/// One end of a handshake.
#[derive(Debug)]
pub(super) struct Handshake {
    role: Role,
    key: Option<AuthKey>,
    own: [u8; HELLO],
    theirs: [u8; HELLO],
    phase: Phase,
    /// What has come of the next thing.
    input: Vec<u8>,
}

impl Handshake {
    /// A handshake, and the hello to send at once.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os): the system has no random bytes.
    pub(super) fn begin(role: Role, key: Option<AuthKey>) -> Result<(Self, Vec<u8>)> {
        let own = hello(role, key.is_some(), nonce::random()?);
        let phase = Phase::Hello;
        let handshake = Self { role, key, own, theirs: [0; HELLO], phase, input: Vec::new() };
        Ok((handshake, own.to_vec()))
    }

    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// How many bytes it can take now; 0 when it is done.
    pub(super) fn wanted(&self) -> usize {
        let whole = match self.phase {
            Phase::Hello if self.input.len() < HELLO_HEAD => HELLO_HEAD,
            Phase::Hello => HELLO,
            Phase::Proof | Phase::Verdict => ANSWER,
            Phase::Done => 0,
        };
        whole.saturating_sub(self.input.len())
    }

    /// Takes bytes of the other end's; appends to `reply` what is to be sent, also when it fails.
    ///
    /// # Errors
    /// The other end is not one to talk to.
    pub(super) fn feed(&mut self, mut bytes: &[u8], reply: &mut Vec<u8>) -> Result<(), AuthenticationError> {
        while !bytes.is_empty() {
            let wanted = self.wanted().min(bytes.len());
            if wanted == 0 {
                return Err(AuthenticationError::Malformed("more than a handshake"));
            }
            let (next, rest) = bytes.split_at(wanted);
            self.input.extend_from_slice(next);
            bytes = rest;
            if self.phase == Phase::Hello && self.input.len() == HELLO_HEAD {
                check_head(&self.input)?;
            } else if self.wanted() == 0 {
                self.step(reply)?;
                self.input.clear();
            }
        }
        Ok(())
    }

    /// Handles a whole hello or answer.
    fn step(&mut self, reply: &mut Vec<u8>) -> Result<(), AuthenticationError> {
        if self.phase == Phase::Hello {
            return self.meet(reply);
        }
        let Some((&what, proof)) = self.input.split_first() else { return Ok(()) };
        match (self.phase, self.role, what) {
            (Phase::Proof, Role::Listener, PROOF) => {
                self.verify(proof, reply)?;
                reply.push(ACCEPTED);
                reply.extend(self.proof_of(Role::Listener));
                self.phase = Phase::Verdict;
            }
            (Phase::Proof, Role::Client, ACCEPTED) => {
                self.verify(proof, reply)?;
                reply.extend(verdict(ACCEPTED));
                self.phase = Phase::Done;
            }
            (Phase::Verdict, _, ACCEPTED) => self.phase = Phase::Done,
            (Phase::Proof, Role::Client, REJECTED) | (Phase::Verdict, _, REJECTED) => {
                return Err(AuthenticationError::Rejected);
            }
            _ => return Err(AuthenticationError::Malformed("an answer out of turn")),
        }
        Ok(())
    }

    /// Handles a hello.
    fn meet(&mut self, reply: &mut Vec<u8>) -> Result<(), AuthenticationError> {
        let (theirs, own) = (&self.input, &self.own);
        let (role, has_key) = (theirs[HELLO_HEAD], theirs[HELLO_HEAD + 1]);
        if role == self.role as u8 || theirs[HELLO_HEAD + 2..] == own[HELLO_HEAD + 2..] {
            return Err(AuthenticationError::Reflected);
        }
        if role > Role::Client as u8 || has_key > 1 {
            return Err(AuthenticationError::Malformed("a hello with unknown values"));
        }
        self.theirs.copy_from_slice(theirs);
        match (self.key.is_some(), has_key == 1) {
            (true, false) => Err(AuthenticationError::KeyMissing),
            (false, true) => Err(AuthenticationError::KeyRequired),
            (false, false) => {
                self.phase = Phase::Done;
                Ok(())
            }
            (true, true) => {
                if self.role == Role::Client {
                    reply.push(PROOF);
                    reply.extend(self.proof_of(Role::Client));
                }
                self.phase = Phase::Proof;
                Ok(())
            }
        }
    }

    /// Checks the other end's proof; if it is wrong, the other end is to hear of it.
    fn verify(&self, proof: &[u8], reply: &mut Vec<u8>) -> Result<(), AuthenticationError> {
        let prover = if self.role == Role::Client { Role::Listener } else { Role::Client };
        let right = self.authenticator(prover).is_some_and(|mac| mac.verify_slice(proof).is_ok());
        if right {
            return Ok(());
        }
        reply.extend(verdict(REJECTED));
        Err(AuthenticationError::WrongKey)
    }

    fn proof_of(&self, prover: Role) -> Vec<u8> {
        self.authenticator(prover).map_or(Vec::new(), |mac| mac.finalize().into_bytes().to_vec())
    }

    /// Of what `prover` has to prove; `None` without a key.
    fn authenticator(&self, prover: Role) -> Option<impl Mac> {
        let (client, listener) = match self.role {
            Role::Client => (&self.own, &self.theirs),
            Role::Listener => (&self.theirs, &self.own),
        };
        let key = self.key.as_ref()?;
        Some(key.authenticator(&[LABEL, &[prover as u8], client, listener]))
    }
}

fn hello(role: Role, has_key: bool, nonce: [u8; NONCE]) -> [u8; HELLO] {
    let mut hello = [0; HELLO];
    let rest = (HELLO - HELLO_HEAD) as u16;
    hello[..4].copy_from_slice(&MAGIC);
    hello[4..6].copy_from_slice(&VERSION.to_le_bytes());
    hello[6..8].copy_from_slice(&rest.to_le_bytes());
    hello[8] = role as u8;
    hello[9] = u8::from(has_key);
    hello[10..].copy_from_slice(&nonce);
    hello
}

fn verdict(what: u8) -> [u8; ANSWER] {
    let mut verdict = [0; ANSWER];
    verdict[0] = what;
    verdict
}

/// Checks the first bytes of a hello, before more of it is taken.
fn check_head(head: &[u8]) -> Result<(), AuthenticationError> {
    let number = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let (version, rest) = (number(4), usize::from(number(6)));
    if head[..4] != MAGIC {
        return Err(AuthenticationError::Malformed("another protocol"));
    }
    if HELLO_HEAD + rest > LONGEST_HELLO {
        return Err(AuthenticationError::Malformed("an oversized hello"));
    }
    if version != VERSION {
        return Err(AuthenticationError::Version { ours: VERSION, theirs: version });
    }
    if HELLO_HEAD + rest != HELLO {
        return Err(AuthenticationError::Malformed("a hello of another length than its version's"));
    }
    Ok(())
}

/// For this crate's own fuzz targets.
pub(crate) mod testing {
    use super::{AuthKey, AuthenticationError, Handshake, Role};

    /// Has a listener's, or a client's, end of a handshake take `pieces`. Whether it is done then, what it said after its
    /// hello, and why it failed.
    pub fn handshake<'a>(
        listens: bool,
        key: Option<AuthKey>,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (bool, Vec<u8>, Option<AuthenticationError>) {
        let role = if listens { Role::Listener } else { Role::Client };
        let mut said = Vec::new();
        let Ok((mut handshake, _)) = Handshake::begin(role, key) else { return (false, said, None) };
        for piece in pieces {
            if let Err(error) = handshake.feed(piece, &mut said) {
                return (handshake.is_done(), said, Some(error));
            }
        }
        (handshake.is_done(), said, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), AuthenticationError>;

    fn begin(role: Role, key: Option<&str>) -> (Handshake, Vec<u8>) {
        Handshake::begin(role, key.map(AuthKey::new)).unwrap()
    }

    /// Lets both talk, in pieces of so many bytes, until neither has anything to say.
    fn talk(client: Option<&str>, listener: Option<&str>, piece: usize) -> (Outcome, Outcome) {
        let (mut client, mut to_listener) = begin(Role::Client, client);
        let (mut listener, mut to_client) = begin(Role::Listener, listener);
        let (mut of_client, mut of_listener) = (Ok(()), Ok(()));
        while !to_client.is_empty() || !to_listener.is_empty() {
            let (for_listener, for_client) =
                (std::mem::take(&mut to_listener), std::mem::take(&mut to_client));
            for piece in for_listener.chunks(piece) {
                of_listener = of_listener.and_then(|()| listener.feed(piece, &mut to_client));
            }
            for piece in for_client.chunks(piece) {
                of_client = of_client.and_then(|()| client.feed(piece, &mut to_listener));
            }
        }
        assert_eq!(of_client.is_ok() && of_listener.is_ok(), client.is_done() && listener.is_done());
        (of_client, of_listener)
    }

    #[test]
    fn both_come_to_the_same_end() {
        use AuthenticationError::{KeyMissing, KeyRequired, Rejected, WrongKey};
        for piece in [1, 7, 1000] {
            assert_eq!(talk(None, None, piece), (Ok(()), Ok(())));
            assert_eq!(talk(Some("key"), Some("key"), piece), (Ok(()), Ok(())));
            assert_eq!(talk(Some(""), Some(""), piece), (Ok(()), Ok(())));
            assert_eq!(talk(Some("key"), Some("other"), piece), (Err(Rejected), Err(WrongKey)));
            assert_eq!(talk(Some("key"), None, piece), (Err(KeyMissing), Err(KeyRequired)));
            assert_eq!(talk(None, Some("key"), piece), (Err(KeyRequired), Err(KeyMissing)));
            assert_eq!(talk(None, Some(""), piece), (Err(KeyRequired), Err(KeyMissing)));
        }
    }

    #[test]
    fn a_listener_without_the_key_is_found_out() {
        let (mut client, _) = begin(Role::Client, Some("key"));
        let (_, hello) = begin(Role::Listener, Some("guess"));
        let mut reply = Vec::new();
        client.feed(&hello, &mut reply).unwrap();
        let proof = std::mem::take(&mut reply);
        // It accepts whatever the client says, and sends something: the client's own proof, too.
        for claim in [&proof[1..], &[0; 32]] {
            let (mut client, _) = begin(Role::Client, Some("key"));
            client.feed(&hello, &mut reply).unwrap();
            reply.clear();
            let refused = client.feed(&[&[ACCEPTED], claim].concat(), &mut reply);
            assert_eq!((refused, reply[0]), (Err(AuthenticationError::WrongKey), REJECTED));
        }
    }

    #[test]
    fn what_an_end_said_itself_proves_nothing() {
        for role in [Role::Listener, Role::Client] {
            let (mut end, hello) = begin(role, Some("key"));
            assert_eq!(end.feed(&hello, &mut Vec::new()), Err(AuthenticationError::Reflected));
            // Not even when it is made to look like the other's.
            let (mut end, mut hello) = begin(role, Some("key"));
            hello[HELLO_HEAD] ^= 1;
            assert_eq!(end.feed(&hello, &mut Vec::new()), Err(AuthenticationError::Reflected));
        }
    }

    #[test]
    fn a_proof_holds_for_one_connection() {
        let (mut client, of_client) = begin(Role::Client, Some("key"));
        let (mut first, of_first) = begin(Role::Listener, Some("key"));
        let (mut second, _) = begin(Role::Listener, Some("key"));
        let (mut proof, mut reply) = (Vec::new(), Vec::new());
        client.feed(&of_first, &mut proof).unwrap();
        second.feed(&of_client, &mut reply).unwrap();
        assert_eq!(second.feed(&proof, &mut reply), Err(AuthenticationError::WrongKey));
        first.feed(&of_client, &mut reply).unwrap();
        assert_eq!(first.feed(&proof, &mut reply), Ok(()));
    }

    #[test]
    fn each_flipped_bit_of_a_proof_is_noticed() {
        for bit in 0..256 {
            let (mut client, of_client) = begin(Role::Client, Some("key"));
            let (mut listener, of_listener) = begin(Role::Listener, Some("key"));
            let (mut proof, mut reply) = (Vec::new(), Vec::new());
            client.feed(&of_listener, &mut proof).unwrap();
            listener.feed(&of_client, &mut reply).unwrap();
            proof[1 + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(listener.feed(&proof, &mut reply), Err(AuthenticationError::WrongKey));
        }
    }

    #[test]
    fn other_hellos_are_refused() {
        let refused = |change: fn(&mut Vec<u8>)| {
            let (_, mut hello) = begin(Role::Client, None);
            change(&mut hello);
            begin(Role::Listener, None).0.feed(&hello, &mut Vec::new()).unwrap_err()
        };
        let malformed = |change| matches!(refused(change), AuthenticationError::Malformed(_));
        assert_eq!(refused(|hello| hello[4] = 9), AuthenticationError::Version { ours: 1, theirs: 9 });
        assert_eq!(refused(|hello| hello[4] = 0), AuthenticationError::Version { ours: 1, theirs: 0 });
        assert!(malformed(|hello| hello[0] = b'M'));
        assert!(malformed(|hello| hello[6] -= 1));
        assert!(malformed(|hello| hello[7] = 0xff));
        assert!(malformed(|hello| hello[8] = 2));
        assert!(malformed(|hello| hello[9] = 2));
        assert!(malformed(|hello| hello.push(0)), "more than a handshake");
    }

    #[test]
    fn an_answer_out_of_turn_is_refused() {
        let (mut listener, _) = begin(Role::Listener, Some("key"));
        let (_, hello) = begin(Role::Client, Some("key"));
        listener.feed(&hello, &mut Vec::new()).unwrap();
        let refused = listener.feed(&verdict(ACCEPTED), &mut Vec::new());
        assert!(matches!(refused, Err(AuthenticationError::Malformed(_))));
    }
}
