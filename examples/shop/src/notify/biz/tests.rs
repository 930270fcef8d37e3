use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::*;
use crate::pkg::Money;

type Kept = BTreeMap<(String, Kind), Notice>;

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Kept>>);

impl Fake {
    fn states(&self) -> Vec<(Kind, State)> {
        let kept = self.0.lock().expect("lock");
        kept.values().map(|n| (n.kind, n.state)).collect()
    }
}

impl Store for Fake {
    async fn keep(&self, notice: &Notice) -> Result<(), Error> {
        let mut kept = self.0.lock().expect("lock");
        let key = (notice.order.clone(), notice.kind);
        kept.entry(key).or_insert_with(|| notice.clone());
        Ok(())
    }

    async fn cancel(&self, order: &str, kind: Kind, customer: &str) -> Result<(), Error> {
        let mut kept = self.0.lock().expect("lock");
        let none = Notice {
            order: order.to_owned(),
            kind,
            customer: customer.to_owned(),
            text: String::new(),
            due: Time::default(),
            state: State::Due,
            attempts: 0,
        };
        let notice = kept.entry((order.to_owned(), kind)).or_insert(none);
        if notice.state == State::Due {
            notice.state = State::Cancelled;
        }
        Ok(())
    }

    async fn claim(&self, now: Time, until: Time, most: u32) -> Result<Vec<Notice>, Error> {
        let mut kept = self.0.lock().expect("lock");
        let due = kept
            .values_mut()
            .filter(|n| n.state == State::Due && n.due <= now);
        let claimed = due.take(most as usize).map(|notice| {
            notice.due = until;
            notice.clone()
        });
        Ok(claimed.collect())
    }

    async fn settle(&self, notice: &Notice) -> Result<(), Error> {
        let mut kept = self.0.lock().expect("lock");
        kept.insert((notice.order.clone(), notice.kind), notice.clone());
        Ok(())
    }
}

#[derive(Default)]
struct Post {
    away: AtomicBool,
}

impl Mail for Post {
    async fn send(&self, _: &Notice) -> Result<(), Error> {
        if self.away.load(Relaxed) {
            return Err(Error::Mail("away".to_owned()));
        }
        Ok(())
    }
}

fn order() -> Order {
    Order {
        id: "o".to_owned(),
        customer: "ann".to_owned(),
        total: Money::cents(500).expect("small"),
        pay_by: MINUTE.after(Duration::from_secs(15 * 60)),
    }
}

const MINUTE: Time = Time::from_millis(60_000);

#[tokio::test]
async fn who_has_not_paid_is_reminded_when_it_is_time() {
    let (store, post) = (Fake::default(), Post::default());
    let notices = Notices::new(store.clone());
    notices
        .hear(Happened::Placed, &order(), MINUTE)
        .await
        .expect("kept");
    let early = MINUTE.after(Duration::from_secs(599));
    assert_eq!(notices.send(&post, early, 9).await, Ok((0, 0)));
    let due = MINUTE.after(Duration::from_secs(600));
    assert_eq!(notices.send(&post, due, 9).await, Ok((1, 0)));
    assert_eq!(notices.send(&post, due, 9).await, Ok((0, 0)));
}

#[tokio::test]
async fn who_has_paid_is_not_reminded_in_whatever_order_it_is_heard() {
    let all = [Happened::Placed, Happened::Paid];
    let heard = [&[0, 1][..], &[1, 0], &[0, 0, 1, 1], &[1, 0, 1, 0]];
    for order_of in heard {
        let store = Fake::default();
        let notices = Notices::new(store.clone());
        for &which in order_of {
            notices
                .hear(all[which], &order(), MINUTE)
                .await
                .expect("kept");
        }
        let states = [
            (Kind::Reminder, State::Cancelled),
            (Kind::Receipt, State::Due),
        ];
        assert_eq!(store.states(), states, "{order_of:?}");
    }
}

#[tokio::test]
async fn what_does_not_go_is_tried_again_and_given_up_in_the_end() {
    let (store, post) = (Fake::default(), Post::default());
    let notices = Notices::new(store.clone());
    notices
        .hear(Happened::Paid, &order(), MINUTE)
        .await
        .expect("kept");
    post.away.store(true, Relaxed);
    let mut now = MINUTE;
    for attempt in 1..=ATTEMPTS {
        assert_eq!(notices.send(&post, now, 9).await, Ok((0, 1)), "{attempt}");
        assert_eq!(notices.send(&post, now, 9).await, Ok((0, 0)), "a pause");
        now = now.after(Duration::from_secs(60));
    }
    assert!(store.states().contains(&(Kind::Receipt, State::Failed)));
}
