//! The locks of what shuttle checks: parking_lot's here, shuttle's in `model`, which compiles the
//! same files a second time.

pub(crate) use parking_lot::Mutex;

#[cfg(test)]
pub(crate) mod model {
    //! shuttle's lock, called as parking_lot's is.

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
            self.0
                .lock()
                .expect("no model panics while it holds a lock")
        }
    }
}
