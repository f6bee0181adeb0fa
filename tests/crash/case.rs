//! A use of a mutex in one situation, killed at each instruction while other processes use the mutex too.

use std::marker::PhantomData;
use std::time::Duration;

use crate::mutex::{Found, Mutex, Pair};
use crate::page::Page;
use crate::scenario::Report;
use crate::tracer::{Kill, Mode, Operation, Sleep, kill_at_every_instruction};
use crate::witness::{BOUND, Holder, Witness};

/// A survivor got the mutex with the news that its owner had died.
pub(crate) const OWNER_DIED: &str = "OwnerDied reported";
/// The survivors found the mutex consistent.
pub(crate) const CONSISTENT: &str = "mutex found consistent";
/// A survivor sleeps although the mutex is free: expected of the negative twin only.
pub(crate) const HANG: &str = "a survivor that hangs";

/// How long a survivor of the negative twin is watched. The mutex is free then, and nobody is left to wake it.
const HANG_TIME: Duration = Duration::from_millis(50);

/// The mutex before the victim comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Initially {
    Free,
    /// Another process has it, and gives it back when the victim sleeps.
    Held,
    /// The same, and its only waiter died in its sleep: marked as having waiters, so that nobody spins.
    HeldDeserted,
    /// Its owner died with it.
    Orphaned,
    /// Its only waiter died in its sleep: it is free, and marked as having waiters.
    Deserted,
}

/// When the survivors begin to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Survivors {
    /// One, after the victim's death.
    AfterDeath,
    /// So many, asleep before the operation, which begins with the mutex held.
    AsleepBefore(usize),
    /// So many, as soon as the victim sleeps, or else while it stands where it will die.
    Behind(usize),
}

/// An operation in a situation.
pub(crate) struct Case<M> {
    pub(crate) initially: Initially,
    /// What the victim does before it is traced.
    pub(crate) enter: fn(&Pair<M>),
    /// What it is killed in.
    pub(crate) run: fn(&Pair<M>),
    /// How much `enter` and `run` add to the pair, if they come to their end.
    pub(crate) adds: u64,
    pub(crate) survivors: Survivors,
    /// Whether another process takes the mutex before the death, if it can, and gives it back after.
    pub(crate) third: bool,
    /// Whether a survivor may hang.
    pub(crate) negative_twin: bool,
    pub(crate) mutex: PhantomData<M>,
}

impl<M: Mutex> Case<M> {
    /// The victim adds, all alone.
    pub(crate) const fn new() -> Case<M> {
        Case {
            initially: Initially::Free,
            enter: Pair::rehearse,
            run: |pair| _ = pair.add(),
            adds: 1,
            survivors: Survivors::AfterDeath,
            third: false,
            negative_twin: false,
            mutex: PhantomData,
        }
    }

    /// The victim unlocks a mutex for which others wait.
    pub(crate) const fn unlock(sleepers: usize) -> Case<M> {
        Case {
            enter: |pair| _ = pair.add_first(),
            run: Pair::add_second,
            survivors: Survivors::AsleepBefore(sleepers),
            ..Case::new()
        }
    }

    /// The victim has the mutex of an owner that died: it mends the pair, declares it consistent and unlocks.
    pub(crate) const fn recover(survivors: Survivors) -> Case<M> {
        let enter = |pair: &Pair<M>| {
            pair.rehearse();
            pair.take_without_mending();
        };
        Case {
            initially: Initially::Orphaned,
            enter,
            run: Pair::mend_and_unlock,
            adds: 0,
            survivors,
            ..Case::new()
        }
    }

    /// The victim has to wait, and others wait behind it.
    pub(crate) const fn contended(behind: usize) -> Case<M> {
        Case { initially: Initially::Held, survivors: Survivors::Behind(behind), ..Case::new() }
    }

    /// Kills at each instruction, and demands that each class of `notes` occurs.
    pub(crate) fn test(&self, notes: &[&str]) -> Result<Report, String> {
        self.test_by(Mode::Replay, notes)
    }

    /// The same, with a choice of how the kill points are reached.
    pub(crate) fn test_by(&self, mode: Mode, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, mode)?.demand(notes)
    }
}

/// The mutex and the processes that use it beside the victim.
pub(crate) struct Scene<M> {
    pair: Page<Pair<M>>,
    owner: Option<Holder>,
    survivors: Vec<Witness>,
    third: Option<Holder>,
}

impl<M: Mutex> Scene<M> {
    fn add_survivors(&mut self, count: usize) -> Result<(), String> {
        while self.survivors.len() < count {
            let survivor = Witness::spawn(|| self.pair.add().code())?;
            survivor.settle()?;
            self.survivors.push(survivor);
        }
        Ok(())
    }

    fn add_third(&mut self) -> Result<(), String> {
        if self.third.is_none() {
            self.third = hold(&self.pair)?;
        }
        Ok(())
    }
}

/// A process that takes the mutex and keeps it for now, or nothing if the mutex is not free.
pub(crate) fn hold<M: Mutex>(pair: &Pair<M>) -> Result<Option<Holder>, String> {
    let holder = Holder::spawn(|| pair.try_take().code(), || pair.mutex.unlock())?;
    match Found::from_code(holder.acquired) {
        Found::Consistent | Found::OwnerDied => Ok(Some(holder)),
        Found::Busy => Ok(None),
        wrong => Err(format!("third process found the mutex {wrong:?}")),
    }
}

/// A process that holds the mutex, for which another has waited until it died.
fn hold_deserted<M: Mutex>(pair: &Pair<M>) -> Result<Holder, String> {
    let owner = hold(pair)?.ok_or("a new mutex is not free")?;
    let waiter = Witness::spawn(|| pair.add().code())?;
    waiter.wait_until_asleep()?;
    waiter.kill();
    Ok(owner)
}

impl<M: Mutex> Operation for Case<M> {
    type State = Scene<M>;

    fn prepare(&self) -> Result<Scene<M>, String> {
        let pair = Pair::shared()?;
        let mut owner = None;
        match self.initially {
            Initially::Free => {}
            Initially::Held => owner = hold(&pair)?,
            Initially::Orphaned => {
                Witness::spawn(|| pair.add_first().code())?.finish_within(BOUND)?;
            }
            Initially::HeldDeserted => owner = Some(hold_deserted(&pair)?),
            Initially::Deserted => hold_deserted(&pair)?.release()?,
        }
        Ok(Scene { pair, owner, survivors: Vec::new(), third: None })
    }

    fn enter(&self, scene: &Scene<M>) {
        (self.enter)(&scene.pair);
    }

    fn entered(&self, scene: &mut Scene<M>) -> Result<(), String> {
        let Survivors::AsleepBefore(count) = self.survivors else { return Ok(()) };
        scene.add_survivors(count)?;
        scene.survivors.iter().try_for_each(Witness::wait_until_asleep)
    }

    fn run(&self, scene: &Scene<M>) {
        (self.run)(&scene.pair);
    }

    fn asleep(&self, scene: &mut Scene<M>, _: usize) -> Result<Sleep, String> {
        let Some(owner) = scene.owner.take() else { return Ok(Sleep::Last) };
        if let Survivors::Behind(count) = self.survivors {
            scene.add_survivors(count)?;
        }
        owner.release()?;
        if self.third {
            scene.add_third()?;
        }
        Ok(Sleep::Woken)
    }

    fn doomed(&self, scene: &mut Scene<M>, _: &Kill) -> Result<(), String> {
        if let Survivors::Behind(count) = self.survivors {
            scene.add_survivors(count)?;
        }
        if self.third { scene.add_third() } else { Ok(()) }
    }

    fn verify(&self, mut scene: Scene<M>, kill: &Kill) -> Result<&'static str, String> {
        for holder in [scene.owner.take(), scene.third.take()].into_iter().flatten() {
            holder.release()?;
        }
        if self.negative_twin && hangs(&scene.survivors)? {
            return Ok(HANG);
        }
        let mut found = Vec::new();
        for survivor in std::mem::take(&mut scene.survivors) {
            found.push(Found::from_code(survivor.finish_within(BOUND)?));
        }
        // One more sees that the others left the mutex as it should be. Only now: it would wake those who sleep.
        let last = Witness::spawn(|| scene.pair.add().code())?;
        found.push(Found::from_code(last.finish_within(BOUND)?));
        if let Some(wrong) = found.iter().find(|found| ![Found::Consistent, Found::OwnerDied].contains(found))
        {
            return Err(format!("a survivor found the mutex {wrong:?}"));
        }
        let class = if found.contains(&Found::OwnerDied) { OWNER_DIED } else { CONSISTENT };
        let added = found.len() as u64;
        // What a dead owner had begun was finished by its successor.
        let before = u64::from(self.initially == Initially::Orphaned);
        match scene.pair.sums() {
            (first, second) if first != second => Err(format!("torn: {first}, {second}")),
            (sum, _) if sum == before + added + self.adds => Ok(class),
            (sum, _) if sum == before + added && !kill.is_after_the_end() => Ok(class),
            (sum, _) => Err(format!("lost or doubled: {sum} after {added} survivors and {before} before")),
        }
    }
}

fn hangs(survivors: &[Witness]) -> Result<bool, String> {
    for survivor in survivors {
        if survivor.hangs_for(HANG_TIME)? {
            return Ok(true);
        }
    }
    Ok(false)
}
