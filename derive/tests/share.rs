//! What derives `Share`, and which layouts are told apart.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use multiproc::raw::RawMutex;
use multiproc::{Error, Segment, Share};

#[derive(Share)]
#[repr(C)]
struct Counters {
    mutex: RawMutex,
    requests: AtomicU64,
    each: [AtomicU32; 3],
}

/// A program that has another definition of the same name.
mod other {
    use super::*;

    #[derive(Share)]
    #[repr(C)]
    pub(super) struct Counters {
        mutex: RawMutex,
        // Renamed, with the same bytes.
        responses: AtomicU64,
        each: [AtomicU32; 3],
    }
}

/// The same definition, written with other spaces and by a macro.
mod same {
    use super::*;

    macro_rules! define {
        ($atomic:ty, $count:expr) => {
            #[derive(Share)]
            #[repr(C, align(64))]
            pub(super) struct Counters {
                mutex: RawMutex,
                requests: $atomic,
                each: [AtomicU32; $count],
            }
        };
    }
    define!(AtomicU64, 3);
}

#[test]
fn a_derived_structure_is_placed_and_found() {
    let segment = Segment::anonymous(4096).unwrap();
    let each = [1, 2, 3].map(AtomicU32::new);
    let counters = Counters { mutex: RawMutex::new(), requests: AtomicU64::new(7), each };
    segment.place("counters", counters).unwrap();
    let found = segment.find::<Counters>("counters").unwrap();
    assert_eq!((found.requests.load(Ordering::Relaxed), found.each[2].load(Ordering::Relaxed)), (7, 3));
    assert!(!found.mutex.is_locked());
    assert!(matches!(segment.find::<other::Counters>("counters"), Err(Error::Mismatch { .. })));
}

#[test]
fn the_layout_differs_where_a_name_a_type_or_an_inner_layout_does() {
    #[derive(Share)]
    #[repr(C)]
    struct Outer(Counters);
    mod other_outer {
        #[derive(multiproc::Share)]
        #[repr(C)]
        pub(super) struct Outer(Counters);
        use super::other::Counters;
    }
    assert_ne!(Counters::LAYOUT, other::Counters::LAYOUT);
    assert_ne!(Outer::LAYOUT, other_outer::Outer::LAYOUT, "it is of the fields' layouts, too");
    assert_ne!(Counters::LAYOUT, 0);
}

#[test]
fn the_layout_is_the_same_however_the_fields_are_written() {
    assert_eq!(Counters::LAYOUT, same::Counters::LAYOUT);
}

#[test]
fn the_layout_does_not_change_with_the_compiler() {
    #[derive(Share)]
    #[repr(C)]
    struct Pair(AtomicU32, [AtomicU64; 2]);
    let written = "0:AtomicU32 ;1:[ AtomicU64 ; 2 ] ;";
    let layouts = [0; 8];
    let hash = written
        .bytes()
        .chain(layouts)
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    assert_eq!(Pair::LAYOUT, hash);
}

#[test]
fn generic_structures_are_shared_if_their_parameters_are() {
    #[derive(Share)]
    #[repr(C)]
    struct Slots<T, const N: usize> {
        used: AtomicU32,
        slots: [T; N],
    }
    fn layout<T: Share>() -> u32 {
        T::LAYOUT
    }
    assert_ne!(layout::<Slots<Counters, 2>>(), layout::<Slots<other::Counters, 2>>());
}

#[test]
fn a_renamed_library_is_found() {
    use multiproc as renamed;
    #[derive(renamed::Share)]
    #[share(crate = renamed)]
    #[repr(C)]
    struct Flag(AtomicU32);
    assert_ne!(<Flag as renamed::Share>::LAYOUT, 0);
}
