//! How much memory is in use, counted at the allocator. One thread works at a time.

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Bytes that what `make` returns keeps in use.
pub fn held<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let before = HEAP.current_usage();
    let made = make();
    (made, HEAP.current_usage().saturating_sub(before))
}
