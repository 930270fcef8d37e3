//! The lock and the counter under our own primitives.
//!
//! In a module of its own so that models can put those of shuttle in their place, whose every use is
//! a point where the scheduler may switch threads: `flight/model.rs`, `blocking/model.rs` and
//! `tests/shuttle.rs` compile the same sources a second time, over `model`.

pub(crate) use std::sync::atomic::AtomicU64;

pub(crate) use parking_lot::Mutex;

/// A number for the calling thread, which no other that lives has.
pub(crate) fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    // Zero where the thread is ending: nobody's.
    HERE.try_with(|here| std::ptr::from_ref(here).addr())
        .unwrap_or(0)
}

/// Waits as std's does, taking the guard and returning it.
#[cfg(feature = "rt")]
#[derive(Debug)]
pub(crate) struct Condvar(parking_lot::Condvar);

#[cfg(feature = "rt")]
impl Condvar {
    pub(crate) fn new() -> Self {
        Self(parking_lot::Condvar::new())
    }

    pub(crate) fn wait<'a, T>(
        &self,
        mut guard: parking_lot::MutexGuard<'a, T>,
    ) -> parking_lot::MutexGuard<'a, T> {
        self.0.wait(&mut guard);
        guard
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[cfg(test)]
pub(crate) mod model {
    //! shuttle's, called as the above are.

    use std::sync::PoisonError;

    use shuttle::sync::MutexGuard;
    #[allow(
        unused_imports,
        reason = "the models of this crate's own tests do without"
    )]
    pub(crate) use shuttle::sync::atomic::AtomicU64;

    #[allow(dead_code, reason = "the models outside of the library do without")]
    pub(crate) fn this_thread() -> usize {
        usize::from(shuttle::thread::current().id()) + 1
    }

    #[allow(dead_code, reason = "the models outside of the library do without")]
    #[derive(Debug)]
    pub(crate) struct Condvar(shuttle::sync::Condvar);

    #[allow(dead_code, reason = "the models outside of the library do without")]
    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(shuttle::sync::Condvar::new())
        }

        pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        #[allow(dead_code, reason = "the models of this crate's own tests do without")]
        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }
}
