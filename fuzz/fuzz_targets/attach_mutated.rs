//! A good segment with an object of each kind, of which a peer changes words before this process attaches and while it
//! operates: every operation ends, in a result or an error.
#![no_main]

use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use multiproc_fuzz::{Handles, Manner, Memory, NAMES, PAGE, populate};

const BYTES: usize = 5 * PAGE;
const CHAINS: usize = 16;
const MOST_STEPS: usize = 24;

/// What a peer writes into a word.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Word {
    Zero,
    Ones,
    Flip(u8),
    Add(i8),
    Shift(i8),
    Bytes([u8; 4]),
    /// As if this thread held it.
    Own,
    /// As if a thread held it that does not exist.
    Nobody,
    OwnerDied,
}

/// One change.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Change {
    /// The object, by its number; beyond the last: the segment's header and directory.
    object: u8,
    /// Of 4 bytes, from the object's header on.
    word: u8,
    to: Word,
}

/// What happens.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Change(Change),
    /// The operations of one kind, with a change in the middle, waiting up to so many microseconds.
    Operate(u8, Option<Change>, u8),
}

#[derive(Arbitrary, Debug)]
struct Story {
    before: Vec<Change>,
    then: Vec<Step>,
}

/// The bytes of the good segment, and where its objects begin.
struct Good {
    bytes: Vec<u8>,
    objects: Vec<usize>,
}

fn good() -> &'static Good {
    static GOOD: OnceLock<Good> = OnceLock::new();
    GOOD.get_or_init(|| {
        let bytes = Memory::good(BYTES, CHAINS, |segment| populate(segment).expect("objects"));
        let begins = |at: &usize| bytes[*at..].starts_with(b"MPOB");
        let objects: Vec<usize> = (0..BYTES).step_by(64).filter(begins).collect();
        assert_eq!(objects.len(), NAMES.len());
        Good { bytes, objects }
    })
}

impl Change {
    fn make(self, memory: &Memory) {
        let begin = good().objects.get(usize::from(self.object) % (NAMES.len() + 1)).copied().unwrap_or(0);
        let at = begin + usize::from(self.word) * 4;
        let mut old = [0; 4];
        memory.read(at, &mut old);
        let old = u32::from_ne_bytes(old);
        let new = match self.to {
            Word::Zero => 0,
            Word::Ones => u32::MAX,
            Word::Flip(bit) => old ^ (1 << (bit % 32)),
            Word::Add(amount) => old.wrapping_add_signed(amount.into()),
            Word::Shift(by) if by < 0 => old >> (by.unsigned_abs() % 32),
            Word::Shift(by) => old << (by.unsigned_abs() % 32),
            Word::Bytes(bytes) => u32::from_ne_bytes(bytes),
            Word::Own => rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned(),
            Word::Nobody => (1 << 30) - 2,
            Word::OwnerDied => 1 << 30,
        };
        memory.write(at, &new.to_ne_bytes());
    }
}

thread_local! {
    /// The file that all runs use; each begins by making it good again.
    static MEMORY: RefCell<Memory> = RefCell::new(Memory::new(&good().bytes));
}

fn tell(story: &Story, memory: &Memory) -> Corpus {
    memory.write(0, &good().bytes);
    story.before.iter().take(MOST_STEPS).for_each(|change| change.make(memory));
    let Ok(segment) = memory.attach() else { return Corpus::Keep };
    let _ = segment.objects();
    let handles = Handles::open(&segment, |kind| kind);
    for &step in story.then.iter().take(MOST_STEPS) {
        match step {
            Step::Change(change) => change.make(memory),
            Step::Operate(group, change, wait) => {
                let mut meanwhile = || change.into_iter().for_each(|change: Change| change.make(memory));
                let wait = Duration::from_micros(wait.into());
                handles.operate(group.into(), &mut Manner { wait, memory, meanwhile: &mut meanwhile });
            }
        }
    }
    Corpus::Keep
}

fuzz_target!(|input: &[u8]| -> Corpus {
    match Story::arbitrary_take_rest(Unstructured::new(input)) {
        Ok(story) => MEMORY.with_borrow(|memory| tell(&story, memory)),
        Err(_) => Corpus::Reject,
    }
});
