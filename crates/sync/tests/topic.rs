//! Topics: laws against a plain model, cancellation, and threads against each other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use proptest::prelude::*;
use seawall_sync::testing::{at_every_poll, within_polls};
use seawall_sync::topic::{Full, Publisher, RecvError, WhenBehind};

const ANSWERS: [WhenBehind; 3] = [
    WhenBehind::Wait,
    WhenBehind::DropOldest,
    WhenBehind::Disconnect,
];

/// A subscriber as a queue of its own.
struct Model {
    lag: usize,
    answer: WhenBehind,
    unread: VecDeque<u32>,
    missed: u64,
    disconnected: Option<u64>,
}

impl Model {
    fn push(&mut self, message: u32) {
        if self.disconnected.is_some() {
            return;
        }
        if self.unread.len() == self.lag {
            if self.answer == WhenBehind::Disconnect {
                self.disconnected = Some(self.unread.len() as u64);
                self.unread.clear();
                return;
            }
            self.unread.pop_front();
            self.missed += 1;
        }
        self.unread.push_back(message);
    }

    fn take(&mut self) -> Result<Option<u32>, RecvError> {
        if let Some(unread) = self.disconnected {
            return Err(RecvError::Disconnected { unread });
        }
        if self.missed > 0 {
            let missed = std::mem::take(&mut self.missed);
            return Err(RecvError::Missed { missed });
        }
        Ok(self.unread.pop_front())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish,
    Take(usize),
    Subscribe(usize, usize),
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Publish),
        4 => any::<usize>().prop_map(Step::Take),
        1 => (1usize..5, 0usize..3).prop_map(|(lag, answer)| Step::Subscribe(lag, answer)),
        1 => any::<usize>().prop_map(Step::Leave),
    ]
}

proptest! {
    /// Each subscriber is as a bounded queue of its own, and no more is held than the slowest needs.
    #[test]
    fn subscribers_are_as_queues_of_their_own(steps in prop::collection::vec(step(), 0..200)) {
        let mut publisher = Publisher::new();
        let (mut subscribers, mut count) = (Vec::new(), 0);
        for step in steps {
            match step {
                Step::Publish => {
                    let full = subscribers.iter().any(|(_, model): &(_, Model)| {
                        model.answer == WhenBehind::Wait && model.unread.len() == model.lag
                    });
                    let published = publisher.try_publish(count);
                    if full {
                        prop_assert_eq!(published, Err(Full(count)));
                    } else {
                        subscribers.iter_mut().for_each(|(_, model)| model.push(count));
                        let connected = subscribers.iter().filter(|(_, m)| m.disconnected.is_none());
                        prop_assert_eq!(published, Ok(connected.count()));
                    }
                    count += 1;
                }
                Step::Take(which) if !subscribers.is_empty() => {
                    let which = which % subscribers.len();
                    let (subscriber, model): &mut (seawall_sync::topic::Subscriber<u32>, Model) = &mut subscribers[which];
                    let taken = subscriber.try_recv().map(|message| message.map(|m| *m));
                    prop_assert_eq!(taken, model.take());
                }
                Step::Subscribe(lag, answer) => {
                    let answer = ANSWERS[answer];
                    let model = Model { lag, answer, unread: VecDeque::new(), missed: 0, disconnected: None };
                    subscribers.push((publisher.subscribe(lag, answer), model));
                }
                Step::Leave(which) if !subscribers.is_empty() => {
                    let which = which % subscribers.len();
                    subscribers.swap_remove(which);
                }
                Step::Take(_) | Step::Leave(_) => {}
            }
            let most = subscribers.iter().map(|(_, model)| model.unread.len()).max();
            prop_assert_eq!(publisher.held(), most.unwrap_or(0));
            for (subscriber, model) in &subscribers {
                prop_assert_eq!(subscriber.behind(), model.unread.len() as u64);
            }
        }
    }
}

#[test]
fn a_closed_topic_can_be_read_to_its_end() {
    let mut publisher = Publisher::new();
    let topic = publisher.topic();
    let mut subscriber = topic.subscribe(2, WhenBehind::Wait);
    publisher.try_publish("last").unwrap();
    drop(publisher);
    assert_eq!(subscriber.try_recv(), Ok(Some(Arc::new("last"))));
    assert_eq!(subscriber.try_recv(), Err(RecvError::Closed));
    assert_eq!(
        topic.subscribe(1, WhenBehind::Wait).try_recv(),
        Err(RecvError::Closed)
    );
}

#[test]
fn each_message_is_stored_once_and_freed_when_read_by_all() {
    let mut publisher = Publisher::new();
    let mut subscribers = [(); 3].map(|()| publisher.subscribe(10, WhenBehind::Wait));
    let held = Arc::new(());
    publisher.try_publish(Arc::clone(&held)).unwrap();
    assert_eq!(Arc::strong_count(&held), 2);
    let read = subscribers
        .each_mut()
        .map(|s| s.try_recv().unwrap().unwrap());
    assert!(read.iter().all(|message| Arc::ptr_eq(message, &read[0])));
    assert_eq!(publisher.held(), 0);
    drop(read);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[tokio::test]
async fn receiving_may_be_dropped_at_every_poll() {
    let polls = at_every_poll(|polls| async move {
        let mut publisher = Publisher::new();
        let mut subscriber = publisher.subscribe(2, WhenBehind::Wait);
        let task = tokio::spawn(async move {
            publisher.publish(1).await;
            publisher.publish(2).await;
            publisher.publish(3).await;
        });
        let first = within_polls(subscriber.recv(), polls).await;
        let mut read: Vec<_> = first
            .iter()
            .map(|message| **message.as_ref().unwrap())
            .collect();
        while let Ok(message) = subscriber.recv().await {
            read.push(*message);
        }
        task.await.unwrap();
        assert_eq!(read, [1, 2, 3]);
        first.is_some()
    })
    .await;
    assert_eq!(polls, 2);
}

#[tokio::test]
async fn publishing_may_be_dropped_at_every_poll() {
    let polls = at_every_poll(|polls| async move {
        let mut publisher = Publisher::new();
        let mut subscriber = publisher.subscribe(1, WhenBehind::Wait);
        publisher.publish(1).await;
        let reader = tokio::spawn(async move {
            let mut read = Vec::new();
            while let Ok(message) = subscriber.recv().await {
                read.push(*message);
            }
            read
        });
        let ended = within_polls(publisher.publish(2), polls).await.is_some();
        // A dropped call has published nothing, and harms none after it.
        publisher.publish(3).await;
        drop(publisher);
        let expected: &[i32] = if ended { &[1, 2, 3] } else { &[1, 3] };
        assert_eq!(reader.await.unwrap(), expected);
        ended
    })
    .await;
    assert_eq!(polls, 2);
}

#[tokio::test]
async fn a_slow_subscriber_holds_nobody_back() {
    let mut publisher = Publisher::new();
    let mut fast = publisher.subscribe(4, WhenBehind::Wait);
    let mut slow = publisher.subscribe(4, WhenBehind::DropOldest);
    let mut stuck = publisher.subscribe(4, WhenBehind::Disconnect);
    let reader = tokio::spawn(async move {
        let mut read = 0;
        while fast.recv().await.is_ok() {
            read += 1;
        }
        read
    });
    for message in 0..1_000 {
        publisher.publish(message).await;
    }
    assert_eq!((publisher.held(), publisher.subscribers()), (4, 2));
    drop(publisher);
    assert_eq!(reader.await.unwrap(), 1_000);
    assert_eq!(slow.try_recv(), Err(RecvError::Missed { missed: 996 }));
    assert_eq!(*slow.try_recv().unwrap().unwrap(), 996);
    assert_eq!(stuck.try_recv(), Err(RecvError::Disconnected { unread: 4 }));
}

#[test]
fn threads_see_whole_messages_in_order_and_what_was_written_before() {
    const MESSAGES: u64 = 10_000;
    let written = AtomicU64::new(0);
    let mut publisher = Publisher::new();
    let readers = ANSWERS.map(|answer| publisher.subscribe(64, answer));
    std::thread::scope(|scope| {
        let readers = readers.map(|mut reader| {
            let written = &written;
            scope.spawn(move || {
                let mut next = 1;
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    loop {
                        match reader.recv().await {
                            Ok(message) => {
                                let (left, right) = *message;
                                assert_eq!((left, right), (next, !next));
                                assert!(written.load(Relaxed) >= left);
                                next += 1;
                            }
                            Err(RecvError::Missed { missed }) => next += missed,
                            Err(RecvError::Disconnected { .. }) => return,
                            Err(RecvError::Closed) => break,
                        }
                    }
                    assert_eq!(next, MESSAGES + 1);
                });
            })
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            for i in 1..=MESSAGES {
                written.store(i, Relaxed);
                publisher.publish((i, !i)).await;
            }
        });
        drop(publisher);
        // ThreadSanitizer sees threads joined, but not a scope ended.
        readers
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
    });
}
