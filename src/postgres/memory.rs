//! What a process keeps of the memory that it has used: the allocator of the C library hands little of it back by itself,
//! and each thread that reads pages has a part of it to itself.

/// Blocks from this size on are mapped for themselves, and given back as soon as they are freed: bodies of pages, the
/// larger blocks of PostgreSQL's memory contexts. Without a word, the C library raises it up to 32 MB.
#[cfg(target_env = "gnu")]
const MAPPED: core::ffi::c_int = 2 * 1024 * 1024;
/// Parts that the allocator has for all threads together.
#[cfg(target_env = "gnu")]
const PARTS: core::ffi::c_int = 1;

/// Lets the allocator keep little. Once, when a worker begins and has no thread yet.
pub fn keep_little_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets two numbers of this process's own allocator; it takes them or leaves them.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
        libc::mallopt(libc::M_ARENA_MAX, PARTS);
    }
}

/// Gives back what has been freed since; for the end of a batch.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes the allocator's own locks; what is in use stays as it is.
    unsafe {
        libc::malloc_trim(0);
    }
}
