//! [`ArrayIter`]: the elements of an array, one by one.

use std::iter::FusedIterator;

use bytemuck::Pod;

use super::array::Array;
use super::array_error::ArrayError;

/// The elements of an [`Array`], each read under the lock; what others write between two steps shows.
///
/// # Examples
/// ```
/// let array = multiproc::Array::from_slice(&[1, 2, 3])?;
/// let sum: Result<i32, _> = array.iter().sum();
/// assert_eq!(sum?, 6);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
pub struct ArrayIter<'a, T: Pod> {
    array: &'a Array<T>,
    next: usize,
}

impl<'a, T: Pod> ArrayIter<'a, T> {
    pub(super) fn new(array: &'a Array<T>) -> Self {
        Self { array, next: 0 }
    }
}

impl<T: Pod> Iterator for ArrayIter<'_, T> {
    type Item = Result<T, ArrayError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.array.len() {
            return None;
        }
        let element = self.array.get(self.next);
        self.next += 1;
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.array.len() - self.next;
        (left, Some(left))
    }
}

impl<T: Pod> ExactSizeIterator for ArrayIter<'_, T> {}
impl<T: Pod> FusedIterator for ArrayIter<'_, T> {}
