//! How much memory is in use, counted at the allocator.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static IN_USE: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, with a count for each thread of the bytes it asked for and did not give back.
pub struct Counting;

fn note(bytes: isize) {
    // A thread that ends frees after its count is gone.
    let _ = IN_USE.try_with(|count| count.set(count.get() + bytes));
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size as isize - layout.size() as isize);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Bytes that what `make` returns keeps in use.
pub fn held<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let before = IN_USE.get();
    let made = make();
    (made, usize::try_from(IN_USE.get() - before).unwrap_or(0))
}
