//! [`spin`]: looking again for a while before a sleep, where that has paid.
//!
//! A partner that is awake on another core answers in less time than a sleep and a wake-up take. One on the same core
//! answers when the core is yielded to it, and then neither of the two has to be woken. For one that is far, both are lost.
//! Which it is shows in what became of the last waits of the same kind. Each thread counts for itself, by the place that is
//! waited at, how often in a row it has spun in vain, and how often it has yielded in vain: after the n-th time, the next
//! `4^(n-1) - 1` waits there do without, 2047 at most.
//!
//! Everything is a count and not a time, so that a killed run can be repeated exactly.

use core::cell::Cell;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering};

/// Looks before a sleep, some 100 us: longer than a sleeper takes to wake up, on a virtual machine too. With fewer, two
/// that answer each other and fall asleep once would sleep by turns ever after.
static LOOKS: AtomicU32 = AtomicU32::new(4000);

/// In vain in a row, at most: a new process has learnt that its partner is far after so many spins, not a millisecond.
const MOST_IN_VAIN: u16 = 7;
/// Waits in a row that sleep at once, at most: then one of 2048 spins, which comes to 50 ns for each.
const MOST_RESTING: u16 = 2047;

/// Places that a thread tells apart, if no two of them happen to have the same hash: many more than it waits at.
const PLACES: usize = 256;
const PLACE_BITS: u32 = PLACES.ilog2();

thread_local! {
    // No destructor: something may be waited for in another variable's destructor.
    static PLACE: [Place; PLACES] = const { [const { Place::new() }; PLACES] };
}

/// What a thread has learnt at one place.
struct Place {
    spinning: Experience,
    yielding: Experience,
}

impl Place {
    const fn new() -> Self {
        Self { spinning: Experience::new(), yielding: Experience::new() }
    }
}

/// What is known of `place`.
#[inline]
fn at<'a, T>(places: &'a [Place; PLACES], place: &T) -> Option<&'a Place> {
    // Fibonacci hashing: the upper bits are well mixed. Lines and not bytes, so that neighbours are one place.
    let line = core::ptr::from_ref(place).addr() as u64 / 64;
    let hash = line.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - PLACE_BITS);
    places.get(hash as usize)
}

/// Calls `look` until it returns something, or for as long as seems worth while at `place`.
#[inline]
pub(crate) fn spin<T, R>(place: &T, mut look: impl FnMut() -> Option<R>) -> Option<R> {
    PLACE.with(|places| {
        let known = at(places, place)?;
        known.spinning.weigh(|| looked(looks(), &mut look)).or_else(|| known.yielding.weigh(|| yielded(look)))
    })
}

/// As [`spin`], and never yields: for who can sleep where a wake-up takes the core from whoever else runs there. Who yields it
/// to such a one has it back when that one's turn is over, after milliseconds. It looks 1 / `part` as often as [`spin`] does:
/// where a look is a system call, it takes as long as many pauses.
#[cfg(feature = "process")]
pub(crate) fn spin_awake<T, R>(place: &T, part: u32, look: impl FnMut() -> Option<R>) -> Option<R> {
    spin_briefly(place, looks() / part, look)
}

/// As [`spin`], with at most so many looks, and never yields.
pub(crate) fn spin_briefly<T, R>(place: &T, most: u32, look: impl FnMut() -> Option<R>) -> Option<R> {
    PLACE.with(|places| at(places, place)?.spinning.weigh(|| looked(most, look)))
}

/// Whether the next [`spin_awake`] at `place` looks at all. If not, it counts the wait and returns.
#[cfg(feature = "process")]
#[inline]
pub(crate) fn is_worth<T>(place: &T) -> bool {
    looks() > 0
        && PLACE.with(|places| at(places, place).is_some_and(|known| known.spinning.resting.get() == 0))
}

/// Lets others run, once.
pub(crate) fn give_way() {
    #[cfg(not(all(test, loom)))]
    std::thread::yield_now();
    #[cfg(all(test, loom))]
    loom::thread::yield_now();
}

/// Looks again and again.
fn looked<R>(most: u32, mut look: impl FnMut() -> Option<R>) -> Option<R> {
    (0..most).find_map(|_| {
        let found = look();
        if found.is_none() {
            spin_loop();
        }
        found
    })
}

/// Lets others run on this core, and looks.
fn yielded<R>(look: impl FnOnce() -> Option<R>) -> Option<R> {
    if looks() == 0 {
        return None;
    }
    std::thread::yield_now();
    look()
}

/// The most looks before a sleep; 0 forbids to yield, too.
#[inline]
pub(crate) fn looks() -> u32 {
    // Spinning adds interleavings to a model and shows nothing. Relaxed: a setting, it publishes nothing.
    if cfg!(all(test, loom)) { 0 } else { LOOKS.load(Ordering::Relaxed) }
}

/// Sets the most looks before a sleep, of this process and its forks, and says how many they were: each is a few more
/// instructions to be killed at.
#[cfg(not(all(test, loom)))]
pub fn set_spins(looks: u32) -> u32 {
    LOOKS.swap(looks, Ordering::Relaxed)
}

/// What became of spinning, or of yielding.
struct Experience {
    /// How often in a row it was in vain.
    in_vain: Cell<u16>,
    /// Waits that are still to sleep at once.
    resting: Cell<u16>,
}

impl Experience {
    const fn new() -> Self {
        Self { in_vain: Cell::new(0), resting: Cell::new(0) }
    }

    fn weigh<R>(&self, attempt: impl FnOnce() -> Option<R>) -> Option<R> {
        let resting = self.resting.get();
        if resting > 0 {
            self.resting.set(resting - 1);
            return None;
        }
        let found = attempt();
        let in_vain = if found.is_some() { 0 } else { MOST_IN_VAIN.min(self.in_vain.get() + 1) };
        self.in_vain.set(in_vain);
        // One time in vain says little: the partner may have been preempted. 0 times is 0 waits, as is one.
        let resting = (1_u16 << (2 * in_vain.saturating_sub(1))) - 1;
        self.resting.set(MOST_RESTING.min(resting));
        found
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// How many of so many waits spin for an answer that never comes.
    fn spins_in_vain(experience: &Experience, waits: u32) -> u32 {
        let spins = Cell::new(0);
        for _ in 0..waits {
            let answer = experience.weigh(|| {
                spins.set(spins.get() + 1);
                None::<()>
            });
            assert!(answer.is_none());
        }
        spins.get()
    }

    #[test]
    fn waiting_for_a_far_partner_soon_costs_next_to_nothing() {
        let experience = Experience::new();
        assert_eq!(spins_in_vain(&experience, 2), 2, "once in vain says little");
        assert_eq!(spins_in_vain(&experience, 1), 0);
        let _ = spins_in_vain(&experience, 8192);
        assert_eq!(spins_in_vain(&experience, 20_480), 10);
    }

    #[test]
    fn an_answer_makes_the_next_waits_spin_again() {
        let experience = Experience::new();
        let _ = spins_in_vain(&experience, 8192);
        let waits = (0..4096).take_while(|_| experience.weigh(|| Some(())).is_none()).count();
        assert!(waits < 2048, "one wait of 2048 spins");
        assert!(experience.weigh(|| Some(())).is_some());
        assert_eq!(spins_in_vain(&experience, 1), 1);
    }

    #[cfg(feature = "process")]
    #[test]
    fn a_place_where_spinning_does_not_pay_says_so() {
        let place = [0_u64; 16];
        for _ in 0..2 {
            assert!(is_worth(&place));
            assert!(spin_awake(&place, 1, || None::<()>).is_none());
        }
        // The next three waits do without.
        for _ in 0..3 {
            assert!(!is_worth(&place));
            assert!(spin_awake(&place, 1, || Some(())).is_none());
        }
        assert!(is_worth(&place));
        assert!(spin_awake(&place, 1, || Some(())).is_some());
    }

    #[test]
    fn an_answer_ends_the_looks() {
        let mut looks = 0;
        let found = spin(&0_u8, || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, Some(3));
    }
}
