//! The memory that host and guest share: `allocate` and `deallocate`, and blocks handed to the host.
//!
//! `deallocate` is told an address alone, so every block keeps its size in front of itself.

use std::alloc::{Layout, alloc, dealloc};

/// A block of this guest's memory that the host will free.
pub struct Block {
    address: u32,
    length: u32,
}

/// The host asks for room. 0 is an empty block.
#[unsafe(no_mangle)]
pub extern "C" fn allocate(size: u32) -> u32 {
    let Some(layout) = layout(size) else { return 0 };
    if size == 0 {
        return 0;
    }
    // SAFETY: the layout is not empty, and the front of the block is large enough for the size and aligned for it.
    unsafe {
        let front = alloc(layout);
        if front.is_null() {
            return 0;
        }
        front.cast::<u32>().write(size);
        front.add(FRONT) as u32
    }
}

/// The host gives a block back.
#[unsafe(no_mangle)]
pub extern "C" fn deallocate(address: u32) {
    if address == 0 {
        return;
    }
    // SAFETY: the host gives back what `allocate` gave it, once; so the size stands in front of it.
    unsafe {
        let front = (address as *mut u8).sub(FRONT);
        if let Some(layout) = layout(front.cast::<u32>().read()) {
            dealloc(front, layout);
        }
    }
}

/// The bytes at an address.
///
/// # Safety
/// They must be there, and stay as they are while the slice is used.
pub(crate) unsafe fn view<'a>((address, length): (u32, u32)) -> &'a [u8] {
    if length == 0 {
        return &[];
    }
    unsafe { std::slice::from_raw_parts(address as *const u8, length as usize) }
}

// === impl Block ===

impl Block {
    /// A block with a copy of these bytes. An empty one still has an address, for 0 means failure.
    pub fn of(bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).unwrap_or(0);
        let address = allocate(length.max(1));
        if address != 0 {
            // SAFETY: the block is at least this long, and nobody else knows of it.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, length as usize) };
        }
        Self { address, length }
    }

    /// Address and length in one number, the address in the upper half.
    pub fn packed(self) -> u64 {
        u64::from(self.address) << 32 | u64::from(self.length)
    }
}

fn layout(size: u32) -> Option<Layout> {
    Layout::from_size_align((size as usize).checked_add(FRONT)?, FRONT).ok()
}

/// The bytes in front of a block; also its alignment.
const FRONT: usize = 8;
