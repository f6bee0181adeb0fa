//! Segments and the names in them: whoever is killed while it makes, replaces or removes one leaves it whole, or not at all.
//!
//! In an optimised build each instruction of each operation is a kill point, but for those of malloc, realloc and free: a
//! victim allocates as `room.rs` does. A system call is one instruction.
//!
//! The sleep slice is off, so that a survivor goes on because it was woken and not because it timed out.

use std::path::PathBuf;

use multiproc::{Error, Lock, Segment, Value};

use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, kill_at_every_instruction};
use crate::witness::{BOUND, Witness};

const NAMED: &str = "the name";
const NOT_NAMED: &str = "no name";
const STALE: &str = "the stale one";
const NEITHER: &str = "neither";
const NEW: &str = "the new one";

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "segment::new_value_in", run: || Naming::new(new_value, value_is_whole, 0)?.test() },
    Scenario { name: "segment::new_lock_in", run: || Naming::new(new_lock, lock_is_whole, 0)?.test() },
    Scenario {
        name: "segment::new_value_in_with_others_behind",
        run: || Naming::new(new_value, value_is_whole, 2)?.test(),
    },
    Scenario { name: "segment::create", run: || Making::new(create).test(&[NOT_NAMED, NAMED]) },
    Scenario {
        name: "segment::create_over_a_stale_one",
        run: || Making { stale: true, ..Making::new(create) }.test(&[STALE, NEITHER, NEW]),
    },
    Scenario {
        name: "segment::remove",
        run: || Making { ours: true, ..Making::new(remove) }.test(&[NAMED, NOT_NAMED]),
    },
];

/// The name of the victim's object.
const OBJECT: &str = "object";
/// What the victim's value is.
const WORDS: [u64; 9] = [3; 9];

fn new_value(segment: &Segment) {
    let _ = Value::new_in(segment, OBJECT, WORDS);
}

/// Whether the victim's value is there: or an error if it is not whole.
fn value_is_whole(segment: &Segment) -> Result<bool, String> {
    match Value::<[u64; 9]>::open_in(segment, OBJECT) {
        Ok(value) if value.get() == WORDS && value.set(WORDS).is_ok() && value.get() == WORDS => Ok(true),
        Ok(value) => Err(format!("half made: {value:?}")),
        Err(Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

fn new_lock(segment: &Segment) {
    let _ = Lock::new_in(segment, OBJECT);
}

/// Whether the victim's lock is there: or an error if it is not whole.
fn lock_is_whole(segment: &Segment) -> Result<bool, String> {
    match Lock::open_in(segment, OBJECT) {
        Ok(lock) if lock.try_lock().is_ok() => Ok(true),
        Ok(_) => Err("a new lock is not free".to_owned()),
        Err(Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

/// An object made in a segment by a name, killed at each instruction.
struct Naming {
    run: fn(&Segment),
    is_whole: fn(&Segment) -> Result<bool, String>,
    /// Processes that name other objects while the victim stands where it will die.
    behind: usize,
}

impl Naming {
    fn new(
        run: fn(&Segment),
        is_whole: fn(&Segment) -> Result<bool, String>,
        behind: usize,
    ) -> Result<Naming, String> {
        // This process's first use of a lock starts a thread; a victim's must not.
        run(&segment()?);
        Ok(Naming { run, is_whole, behind })
    }

    fn test(&self) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(&[NAMED, NOT_NAMED])
    }
}

fn segment() -> Result<Segment, String> {
    Segment::anonymous(1 << 14).map_err(|error| error.to_string())
}

/// Makes a value of that name; 0 if that fails.
fn name_another(segment: &Segment, name: &str) -> u64 {
    Value::new_in(segment, name, 5u32).map_or(0, |value| u64::from(value.get() == 5))
}

/// The segments, and who names objects in the first.
struct Directory {
    segment: Segment,
    /// For the victim to use before it is traced.
    spare: Segment,
    others: Vec<Witness>,
}

impl Operation for Naming {
    type State = Directory;

    fn prepare(&self) -> Result<Directory, String> {
        multiproc::testing::set_sleep_slice(None);
        Ok(Directory { segment: segment()?, spare: segment()?, others: Vec::new() })
    }

    fn enter(&self, directory: &Directory) {
        (self.run)(&directory.spare);
    }

    fn run(&self, directory: &Directory) {
        (self.run)(&directory.segment);
    }

    fn doomed(&self, directory: &mut Directory, _: &Kill) -> Result<(), String> {
        // Who looks while the victim stands in the middle finds it whole, or not at all.
        (self.is_whole)(&directory.segment)?;
        for number in 0..self.behind {
            let segment = &directory.segment;
            let other = Witness::spawn(|| name_another(segment, &format!("other {number}")))?;
            other.settle()?;
            directory.others.push(other);
        }
        Ok(())
    }

    fn verify(&self, directory: Directory, kill: &Kill) -> Result<&'static str, String> {
        let Directory { segment, others, .. } = directory;
        let count = others.len();
        for other in others {
            if other.finish_within(BOUND)? != 1 {
                return Err("another process could not name its object".to_owned());
            }
        }
        let named = (self.is_whole)(&segment)?;
        if kill.is_after_the_end() && !named {
            return Err("it was made, and is not found".to_owned());
        }
        // Naming waits for no longer than ten seconds.
        (self.run)(&segment);
        if name_another(&segment, "the last") != 1 || !(self.is_whole)(&segment)? {
            return Err("nothing can be made after the death".to_owned());
        }
        match segment.objects().len() {
            found if found == count + 2 => Ok(if named { NAMED } else { NOT_NAMED }),
            found => Err(format!("{found} objects are listed, not {}", count + 2)),
        }
    }
}

const OLD_BYTES: usize = 4096;
const NEW_BYTES: usize = 8192;

fn create(scene: &Named) {
    if let Ok(segment) = Segment::create(&scene.name, NEW_BYTES) {
        // Its process ends with it.
        std::mem::forget(segment);
    }
}

fn remove(scene: &Named) {
    let _ = scene.ours.as_ref().is_some_and(|segment| segment.remove().is_ok());
}

/// A named segment made, replaced or removed, killed at each instruction.
struct Making {
    run: fn(&Named),
    /// Whether nobody uses a segment that has the name.
    stale: bool,
    /// Whether this process uses a segment that has the name.
    ours: bool,
}

impl Making {
    fn new(run: fn(&Named)) -> Making {
        Making { run, stale: false, ours: false }
    }

    fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }
}

/// A name, whose file goes with it.
struct Named {
    name: String,
    ours: Option<Segment>,
}

impl Named {
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/dev/shm/multiproc-{}", self.name))
    }

    /// The bytes of the segment that has the name, if there is one; an error if that is not whole.
    fn look(&self) -> Result<Option<usize>, String> {
        match Segment::open(&self.name) {
            Ok(segment) if name_another(&segment, "looked at") == 1 => Ok(Some(segment.size())),
            Ok(segment) => Err(format!("nothing can be made in {segment:?}")),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(format!("half made: {error}")),
        }
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path());
    }
}

impl Operation for Making {
    type State = Named;

    fn prepare(&self) -> Result<Named, String> {
        multiproc::testing::set_sleep_slice(None);
        let mut named = Named { name: format!("crash {}", std::process::id()), ours: None };
        if self.stale || self.ours {
            let segment = Segment::create(&named.name, OLD_BYTES).map_err(|error| error.to_string())?;
            named.ours = self.ours.then_some(segment);
        }
        Ok(named)
    }

    fn enter(&self, named: &Named) {
        // What a process does once lies behind it.
        let spare = Named { name: format!("{} spare", named.name), ours: None };
        if let Ok(segment) = Segment::create(&spare.name, NEW_BYTES) {
            let _ = segment.remove();
        }
    }

    fn run(&self, named: &Named) {
        (self.run)(named);
    }

    fn verify(&self, mut named: Named, kill: &Kill) -> Result<&'static str, String> {
        let found = named.look()?;
        let class = match found {
            Some(NEW_BYTES) if !self.ours && self.stale => NEW,
            Some(NEW_BYTES) if !self.ours => NAMED,
            Some(OLD_BYTES) if self.stale => STALE,
            Some(OLD_BYTES) if self.ours => NAMED,
            None if self.stale => NEITHER,
            None => NOT_NAMED,
            Some(bytes) => return Err(format!("a segment of {bytes} bytes has the name")),
        };
        if kill.is_after_the_end() && found != if self.ours { None } else { Some(NEW_BYTES) } {
            return Err(format!("the operation was over, and left {class}"));
        }
        // Nobody uses it any more: whoever comes next gets the name.
        named.ours = None;
        let unusable = |error| format!("the name can't be used after the death, which left {class}: {error}");
        let last = Segment::create(&named.name, 3 * OLD_BYTES).map_err(unusable)?;
        if named.look()? != Some(3 * OLD_BYTES) || last.remove().is_err() || named.look()?.is_some() {
            return Err(format!("the name's next segment is not what it should be, after {class}"));
        }
        Ok(class)
    }
}
