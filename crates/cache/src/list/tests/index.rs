//! Examples that the laws do not name.

use super::steps::{at, moved, terms};
use crate::list::ask::{LEASES, LOG, PENDING, Paged, SPANS};
use crate::list::index::Index;
use crate::list::position::Order;
use crate::store::Token;

fn granted(index: &mut Index, token: u64, after: Option<i64>) -> bool {
    let after = after.map(|score| at(score, "m"));
    matches!(
        index.page(0, Token(token), after.as_ref(), 1),
        Paged::Granted(_)
    )
}

#[test]
fn the_end_is_not_what_is_not_loaded() {
    let mut index = Index::new(terms(Order::Descending));
    assert!(granted(&mut index, 1, None));
    index.fill(0, Token(1), &[at(5, "a")], false, None, 1);
    let Paged::Hit(view) = index.page(0, Token(2), None, 1) else {
        panic!()
    };
    assert!(!view.end);
    let after = at(5, "a");
    assert!(matches!(
        index.page(0, Token(2), Some(&after), 1),
        Paged::Granted(_)
    ));
    index.fill(0, Token(2), &[], true, None, 1);
    let Paged::Hit(view) = index.page(0, Token(3), Some(&after), 1) else {
        panic!()
    };
    assert!(view.end && view.items.is_empty());
}

#[test]
fn a_load_overtaken_by_more_changes_than_are_remembered_is_not_kept() {
    for (changes, kept) in [(LOG, true), (LOG + 1, false)] {
        let mut index = Index::new(terms(Order::Descending));
        assert!(granted(&mut index, 1, None));
        for score in 0..changes {
            index.change(0, moved("new", Some(score.try_into().unwrap())));
        }
        let (filled, _) = index.fill(0, Token(1), &[at(1, "a")], true, None, 9);
        assert_eq!(filled.kept, kept);
        assert_eq!(filled.view.items.len(), if kept { 2 } else { 0 });
    }
}

#[test]
fn bounds_hold() {
    let mut index = Index::new(terms(Order::Descending));
    for token in 0..LEASES as u64 {
        assert!(granted(&mut index, token, Some(token.cast_signed())));
    }
    let after = at(99, "m");
    assert!(matches!(
        index.page(0, Token(99), Some(&after), 1),
        Paged::Alone(_)
    ));
    for token in 0..=PENDING as u64 {
        index.begin(0, Token(token), moved(&token.to_string(), None));
    }
    index.invalidate(0);
    for n in 0..=SPANS as u64 {
        let from = at(1_000 - 2 * n.cast_signed(), "m");
        let item = at(999 - 2 * n.cast_signed(), "m");
        index.page(0, Token(500), Some(&from), 1);
        index.fill(0, Token(500), &[item], false, None, 1);
    }
    let last = at(1_000 - 2 * (SPANS as i64), "m");
    assert!(matches!(
        index.page(0, Token(501), Some(&last), 1),
        Paged::Granted(_)
    ));
}
