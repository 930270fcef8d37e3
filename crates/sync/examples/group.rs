//! The memory of a task that waits, in a group and in tokio's `JoinSet`. What spawning and joining
//! costs: `cargo xtask bench sync --only spawn`.
//!
//! `cargo run --profile quick -p seawall-sync --all-features --example group`
#![allow(clippy::print_stdout)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use seawall_sync::Group;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

const WAITING: usize = 100_000;

fn main() -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let before = held();
        let mut set = JoinSet::new();
        for _ in 0..WAITING {
            set.spawn(pending::<Result<(), Infallible>>());
        }
        let of_set = (held() - before) / WAITING;
        let before = held();
        let mut group = Group::new();
        for _ in 0..WAITING {
            group.spawn(pending::<Result<(), Infallible>>());
        }
        let of_group = (held() - before) / WAITING;
        println!("a waiting task of no state: JoinSet {of_set} bytes, Group {of_group} bytes");
    });
    Ok(())
}

/// Counts bytes that are held.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

fn held() -> usize {
    HELD.load(Relaxed)
}

// SAFETY: passes every call on to the system's allocator unchanged.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
