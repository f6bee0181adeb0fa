//! [`Image`]: where the main executable lies in memory.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::sync::OnceLock;

/// The main executable as the loader mapped it.
#[derive(Debug, Default)]
pub(crate) struct Image {
    base: usize,
    all: Vec<Range<usize>>,
    text: Vec<Range<usize>>,
}

impl Image {
    /// The main executable of this process.
    pub(crate) fn main() -> &'static Self {
        static MAIN: OnceLock<Image> = OnceLock::new();
        MAIN.get_or_init(|| {
            let mut image = Self::default();
            // SAFETY: `visit` matches the callback's type and gets the `Image` that it expects, alive during the call.
            unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut image).cast()) };
            image
        })
    }

    /// The distance of `address` from the load address, if it lies in the image.
    pub(super) fn offset_of(&self, address: usize) -> Option<u64> {
        let inside = self.all.iter().any(|range| range.contains(&address));
        inside.then(|| address.wrapping_sub(self.base) as u64)
    }

    /// The distance of `address` from the load address, if it lies in the image's code.
    pub(crate) fn code_offset_of(&self, address: usize) -> Option<u64> {
        self.is_code(address).then(|| address.wrapping_sub(self.base) as u64)
    }

    /// The address at that distance, if it lies in the image's code.
    pub(crate) fn code_at(&self, offset: u64) -> Option<usize> {
        let address = self.base.checked_add(usize::try_from(offset).ok()?)?;
        self.is_code(address).then_some(address)
    }

    fn is_code(&self, address: usize) -> bool {
        self.text.iter().any(|range| range.contains(&address))
    }
}

/// Notes the first object, which is the main executable, and ends the walk.
///
/// # References
/// [dl_iterate_phdr(3)](https://man7.org/linux/man-pages/man3/dl_iterate_phdr.3.html)
unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
    // SAFETY: `dl_iterate_phdr` passes a valid description for the time of the call.
    let info = unsafe { &*info };
    // SAFETY: `data` is the `Image` of `Image::main`, which nobody else refers to during the call.
    let image = unsafe { &mut *data.cast::<Image>() };
    if info.dlpi_phdr.is_null() {
        return 1;
    }
    // SAFETY: the loader keeps `dlpi_phnum` headers at `dlpi_phdr` for as long as the object is loaded.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    image.base = info.dlpi_addr as usize;
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
        let start = image.base.wrapping_add(header.p_vaddr as usize);
        let range = start..start.saturating_add(header.p_memsz as usize);
        if header.p_flags & libc::PF_X != 0 {
            image.text.push(range.clone());
        }
        image.all.push(range);
    }
    1
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU8;

    use super::*;

    #[test]
    fn a_function_goes_there_and_back() {
        let image = Image::main();
        let address = a_function_goes_there_and_back as fn() as usize;
        let offset = image.code_offset_of(address).unwrap();
        assert_eq!(image.code_at(offset), Some(address));
    }

    #[test]
    fn data_is_no_code_and_the_heap_is_elsewhere() {
        static DATA: AtomicU8 = AtomicU8::new(1);
        let image = Image::main();
        let data = &raw const DATA as usize;
        assert!(image.offset_of(data).is_some());
        assert_eq!(image.code_offset_of(data), None);
        assert_eq!(image.offset_of(&raw const *Box::new(1) as usize), None);
        assert_eq!(image.code_at(u64::MAX), None);
    }
}
