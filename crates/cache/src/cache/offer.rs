//! What can be answered while a load goes on.
//!
//! A load has one end, and its flight hands that to all. What the store kept meanwhile is known long
//! before: a weak reader is to have it at once, and where the load is merely early everybody.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::answer::{Answer, Read};
use super::flying::FlightKey;

/// Offers by flight; holds those that somebody waits for.
pub(super) struct Offers<V>(Mutex<HashMap<FlightKey, Weak<Offer<V>>>>);

/// An answer that comes before the end of a flight, or does not.
pub(super) struct Offer<V> {
    answer: watch::Sender<Option<Answer<V>>>,
    flight: FlightKey,
    offers: Arc<Offers<V>>,
}

impl<V> Default for Offers<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V> Offers<V> {
    /// That of the flight: one for all who hold it at the same time.
    pub(super) fn of(self: &Arc<Self>, flight: &FlightKey) -> Arc<Offer<V>> {
        let mut offers = self.0.lock();
        if let Some(offer) = offers.get(flight).and_then(Weak::upgrade) {
            return offer;
        }
        let offer = Arc::new(Offer {
            answer: watch::Sender::new(None),
            flight: flight.clone(),
            offers: self.clone(),
        });
        offers.insert(flight.clone(), Arc::downgrade(&offer));
        offer
    }
}

impl<V> Offer<V> {
    pub(super) fn make(&self, answer: Answer<V>) {
        self.answer.send_replace(Some(answer));
    }

    /// The answer that will do for such a reader, if it ever comes. Cancel-safe.
    pub(super) async fn wait(&self, read: Read) -> Answer<V> {
        let mut told = self.answer.subscribe();
        loop {
            if let Some(answer) = &*told.borrow_and_update()
                && (read == Read::Weak || !answer.stale)
            {
                return answer.clone();
            }
            // The sender is ours, and does not go.
            if told.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl<V> Drop for Offer<V> {
    fn drop(&mut self) {
        let mut offers = self.offers.0.lock();
        // Another may have taken its place by now.
        if let Some(offer) = offers.get(&self.flight)
            && offer.strong_count() == 0
        {
            offers.remove(&self.flight);
        }
    }
}
