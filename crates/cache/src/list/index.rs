//! One list: what is known of it, who loads, who writes. Pure; the store that needs no Redis, and
//! the model that the one in Redis is tested against.
//!
//! *A page that was read before a change is no less welcome.* Revoking the leases of loads under way
//! at each change is what entries do; a list that grows ten times a second would never be loaded.
//! Here the changes of while a load is under way are remembered, and applied on top of what it
//! brings. That is right whether it read before a change was committed or after: a change says where
//! a member stands, and saying so twice is saying so once.
//!
//! *Who writes the same member at the same time must not both say where it stands*, for what is said
//! last need not be what was committed last. So a write has a beginning, before it is committed, and
//! an end. Where two of one member overlap, where its end never comes, or comes after it was given
//! up, the positions it may have touched are forgotten, and loaded when next they are asked for.
//!
//! *A count is kept by who has begun before committing.* A count that was loaded between a commit
//! and its announcement has counted it already; so none is taken while a write is under way, and a
//! change that was not begun makes it forgotten. All of a list known is a count as well.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound::{Excluded, Included, Unbounded};

use bytes::Bytes;

use super::ask::{
    Counted, Ended, Filled, Hold, LEASES, LOG, Moved, PENDING, Paged, Ranked, SPANS, Terms, View,
    millis,
};
use super::known::{Known, Span};
use super::position::{Order, Position, Score};
use crate::store::Token;

/// A member in the order of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Placed(Order, Position);

impl Ord for Placed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.compare(&self.1, &other.1)
    }
}

impl PartialOrd for Placed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What a lease is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Load {
    /// What comes after a position.
    Page(Option<Position>),
    Count,
}

#[derive(Clone, Debug)]
struct Lease {
    hold: Hold,
    load: Load,
    /// The changes that there had been when it was given.
    since: u64,
    waited_for: bool,
}

/// A write under way.
#[derive(Clone, Debug)]
struct Pending {
    hold: Hold,
    moved: Moved,
    /// Another one writes the same member.
    contested: bool,
}

#[derive(Clone, Debug)]
struct Change {
    moved: Moved,
    /// Where it stands is not known.
    doubt: bool,
}

/// One list.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    terms: Terms,
    scores: HashMap<Bytes, Score>,
    placed: BTreeSet<Placed>,
    known: Known,
    leases: Vec<Lease>,
    pending: Vec<Pending>,
    /// The last changes, for the leases; empty where there are none.
    log: VecDeque<Change>,
    changes: u64,
    /// Where it is not that of the members.
    count: Option<u64>,
    dies: Option<u64>,
}

// === reading and loading ===

impl Index {
    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            terms,
            scores: HashMap::new(),
            placed: BTreeSet::new(),
            known: Known::default(),
            leases: Vec::new(),
            pending: Vec::new(),
            log: VecDeque::new(),
            changes: 0,
            count: None,
            dies: None,
        }
    }

    /// The page after a position, or the lease to load what of it is not known.
    pub(crate) fn page(
        &mut self,
        now: u64,
        token: Token,
        after: Option<&Position>,
        limit: usize,
    ) -> Paged {
        self.tidy(now);
        let view = self.view(after, limit);
        if view.whole {
            return Paged::Hit(view);
        }
        match self.lease(now, token, Load::Page(view.from.clone())) {
            None => Paged::Alone(view),
            Some(Ok(())) => Paged::Granted(view),
            Some(Err(left)) => Paged::Busy(left),
        }
    }

    /// What was loaded under a lease, in order, from where the lease begins; `end` where nothing is
    /// behind it. The answer has the page after `after` as it is then.
    pub(crate) fn fill(
        &mut self,
        now: u64,
        token: Token,
        items: &[Position],
        end: bool,
        after: Option<&Position>,
        limit: usize,
    ) -> (Filled, bool) {
        self.tidy(now);
        let lease = self.take(token);
        let told = lease.as_ref().is_some_and(|lease| lease.waited_for);
        let mut kept = false;
        if let Some(Lease { load: Load::Page(from), since, .. }) = lease
            && self.changes - since <= self.log.len() as u64
            // A page with nothing in it and something behind it says nothing.
            && (end || !items.is_empty())
        {
            kept = true;
            let to = if end { None } else { items.last().cloned() };
            self.replace(from, to, items);
            let missed = usize::try_from(self.changes - since).unwrap_or(0);
            for at in self.log.len() - missed..self.log.len() {
                let change = self.log[at].clone();
                self.apply(&change);
            }
            self.trim();
        }
        self.forget_log();
        let view = self.view(after, limit);
        (Filled { kept, view }, told)
    }

    /// Gives a lease back. Whether someone waits for it.
    pub(crate) fn release(&mut self, now: u64, token: Token) -> bool {
        self.tidy(now);
        let told = self.take(token).is_some_and(|lease| lease.waited_for);
        self.forget_log();
        told
    }

    /// How many members the list has, known here or not.
    pub(crate) fn count(&mut self, now: u64, token: Token) -> Counted {
        self.tidy(now);
        if let Some(count) = self.total() {
            return Counted::Known(count);
        }
        if !self.pending.is_empty() {
            return Counted::Alone;
        }
        match self.lease(now, token, Load::Count) {
            None => Counted::Alone,
            Some(Ok(())) => Counted::Granted,
            Some(Err(left)) => Counted::Busy(left),
        }
    }

    /// What was counted under a lease. Whether it was taken, and whether someone waits.
    pub(crate) fn fill_count(&mut self, now: u64, token: Token, count: u64) -> (bool, bool) {
        self.tidy(now);
        let lease = self.take(token);
        let told = lease.as_ref().is_some_and(|lease| lease.waited_for);
        let kept =
            lease.is_some_and(|lease| lease.load == Load::Count && lease.since == self.changes);
        if kept {
            self.count = Some(count);
        }
        self.forget_log();
        (kept, told)
    }

    /// How many are in front of a member.
    pub(crate) fn rank(&mut self, now: u64, member: &Bytes) -> Ranked {
        self.tidy(now);
        let Some(position) = self.position(member) else {
            return if self.known.whole() {
                Ranked::Absent
            } else {
                Ranked::Unknown
            };
        };
        let first = self.known.0.first();
        if first.is_some_and(|span| span.from.is_none() && span.holds(self.terms.order, &position))
        {
            let before = (Unbounded, Excluded(self.placed(&position)));
            Ranked::Known(self.placed.range(before).count() as u64)
        } else {
            Ranked::Unknown
        }
    }

    fn view(&self, after: Option<&Position>, limit: usize) -> View {
        let Some(span) = self.known.after(self.terms.order, after) else {
            return View {
                items: Vec::new(),
                whole: false,
                end: false,
                from: after.cloned(),
            };
        };
        let mut behind = self.between(after, span.to.as_ref());
        let items: Vec<_> = behind.by_ref().take(limit).map(|at| at.1.clone()).collect();
        let end = span.to.is_none() && behind.next().is_none();
        View {
            whole: items.len() == limit || end,
            from: if items.len() == limit || end {
                None
            } else {
                span.to.clone()
            },
            items,
            end,
        }
    }

    /// `None`: too many; `Some(Err)`: another one has it.
    fn lease(
        &mut self,
        now: u64,
        token: Token,
        load: Load,
    ) -> Option<Result<(), std::time::Duration>> {
        if let Some(lease) = self.leases.iter_mut().find(|lease| lease.load == load) {
            lease.waited_for = true;
            return Some(Err(lease.hold.left(now)));
        }
        if self.leases.len() >= LEASES {
            return None;
        }
        let life = millis(self.terms.life);
        self.dies.get_or_insert_with(|| now.saturating_add(life));
        self.leases.push(Lease {
            hold: Hold::new(token, now, self.terms.lease),
            load,
            since: self.changes,
            waited_for: false,
        });
        Some(Ok(()))
    }

    fn take(&mut self, token: Token) -> Option<Lease> {
        let at = self
            .leases
            .iter()
            .position(|lease| lease.hold.token == token)?;
        Some(self.leases.remove(at))
    }

    fn total(&self) -> Option<u64> {
        if self.known.whole() {
            Some(self.placed.len() as u64)
        } else {
            self.count
        }
    }
}

// === writing ===

impl Index {
    /// A member stands elsewhere from now on: it was committed, and nobody else writes it now.
    pub(crate) fn change(&mut self, now: u64, moved: Moved) {
        self.tidy(now);
        let contested = self.contest(&moved.member);
        self.count = None;
        self.alter(moved, contested);
        self.trim();
    }

    /// A member is going to stand elsewhere: said before it is committed.
    pub(crate) fn begin(&mut self, now: u64, token: Token, moved: Moved) {
        self.tidy(now);
        if self.pending.len() >= PENDING {
            let lost = self.pending.remove(0);
            self.lose(lost);
        }
        self.leases.retain(|lease| lease.load != Load::Count);
        self.forget_log();
        let contested = self.contest(&moved.member);
        self.pending.push(Pending {
            hold: Hold::new(token, now, self.terms.fence),
            moved,
            contested,
        });
    }

    /// How what was begun has ended; `moved` is what was said then.
    pub(crate) fn settle(&mut self, now: u64, token: Token, moved: Moved, ended: Ended) {
        self.tidy(now);
        let begun = self.pending.iter().position(|one| one.hold.token == token);
        let begun = begun.map(|at| self.pending.remove(at));
        match ended {
            Ended::Nothing => {}
            Ended::Done(more) if begun.is_some_and(|one| !one.contested) => {
                self.count = self
                    .count
                    .map(|count| count.saturating_add_signed(more.into()));
                self.alter(moved, false);
            }
            Ended::Done(_) | Ended::Unknown => {
                self.contest(&moved.member);
                self.count = None;
                self.alter(moved, true);
            }
        }
        self.trim();
    }

    /// Forgets all that was loaded, and revokes every lease.
    pub(crate) fn invalidate(&mut self, now: u64) {
        self.tidy(now);
        self.void();
    }

    /// Whether another one writes the member, who learns of this.
    fn contest(&mut self, member: &Bytes) -> bool {
        let mut any = false;
        for one in &mut self.pending {
            if one.moved.member == *member {
                one.contested = true;
                any = true;
            }
        }
        any
    }

    fn lose(&mut self, lost: Pending) {
        self.contest(&lost.moved.member);
        self.count = None;
        self.alter(lost.moved, true);
    }

    fn alter(&mut self, moved: Moved, doubt: bool) {
        let change = Change { moved, doubt };
        self.apply(&change);
        self.changes += 1;
        if !self.leases.is_empty() {
            if self.log.len() == LOG {
                self.log.pop_front();
            }
            self.log.push_back(change);
        }
    }

    fn apply(&mut self, change: &Change) {
        let Moved { member, .. } = &change.moved;
        let (old, new) = (self.position(member), change.moved.position());
        self.remove(member);
        if change.doubt {
            for position in [old, new].into_iter().flatten() {
                self.cut(&position);
            }
        } else if let Some(new) = new
            && self.known.find(self.terms.order, &new).is_some()
        {
            self.put(new);
        }
    }
}

// === what is known ===

impl Index {
    /// What the clock has done.
    fn tidy(&mut self, now: u64) {
        if self.dies.is_some_and(|dies| dies <= now) {
            self.void();
        }
        self.leases.retain(|lease| lease.hold.lives(now));
        while let Some(at) = self.pending.iter().position(|one| !one.hold.lives(now)) {
            let lost = self.pending.remove(at);
            self.lose(lost);
        }
        self.forget_log();
    }

    fn void(&mut self) {
        self.scores.clear();
        self.placed.clear();
        self.known.0.clear();
        self.leases.clear();
        self.log.clear();
        self.count = None;
        self.dies = None;
    }

    fn forget_log(&mut self) {
        if self.leases.is_empty() {
            self.log.clear();
        }
    }

    /// `(from, to]` has these items and no others.
    fn replace(&mut self, from: Option<Position>, to: Option<Position>, items: &[Position]) {
        self.drop_between(from.as_ref(), to.as_ref());
        for item in items {
            self.remove(&item.member);
            self.put(item.clone());
        }
        self.known.add(self.terms.order, Span { from, to });
    }

    /// A position is no longer known; what is around it, is.
    fn cut(&mut self, position: &Position) {
        let Some(at) = self.known.find(self.terms.order, position) else {
            return;
        };
        let Span { from, to } = self.known.0.remove(at);
        let last = self.between(from.as_ref(), Some(position)).next_back();
        let last = last.map(|placed| placed.1.clone());
        if to.as_ref() != Some(position) {
            let from = Some(position.clone());
            self.known.0.insert(at, Span { from, to });
        }
        if last.is_some() {
            self.known.0.insert(at, Span { from, to: last });
        }
    }

    /// Keeps to the bounds; what is farthest from the head goes.
    fn trim(&mut self) {
        while self.known.0.len() > SPANS
            && let Some(span) = self.known.0.pop()
        {
            self.drop_between(span.from.as_ref(), span.to.as_ref());
        }
        let bound = self.terms.bound as usize;
        if self.placed.len() <= bound {
            return;
        }
        if self.known.whole() {
            let counted = self.pending.is_empty();
            self.count = counted.then_some(self.placed.len() as u64);
        }
        while self.placed.len() > bound
            && let Some(Placed(_, last)) = self.placed.pop_last()
        {
            self.scores.remove(&last.member);
        }
        let Some(Placed(order, last)) = self.placed.last().cloned() else {
            return;
        };
        self.known.0.retain_mut(|span| {
            if order.until(&last, span.to.as_ref()) {
                span.to = Some(last.clone());
            }
            span.from
                .as_ref()
                .is_none_or(|from| order.compare(from, &last).is_lt())
        });
    }

    /// What is known behind `from` and up to `to`.
    fn between(
        &self,
        from: Option<&Position>,
        to: Option<&Position>,
    ) -> std::collections::btree_set::Range<'_, Placed> {
        let from = from.map_or(Unbounded, |from| Excluded(self.placed(from)));
        // A range whose end is before its beginning is empty, and would panic.
        match (&from, to) {
            (Excluded(from), Some(to)) if self.terms.order.compare(&from.1, to).is_ge() => {
                self.placed.range((Included(from), Excluded(from)))
            }
            (_, to) => {
                let to = to.map_or(Unbounded, |to| Included(self.placed(to)));
                self.placed.range((from, to))
            }
        }
    }

    fn drop_between(&mut self, from: Option<&Position>, to: Option<&Position>) {
        let gone: Vec<_> = self
            .between(from, to)
            .map(|at| at.1.member.clone())
            .collect();
        for member in gone {
            self.remove(&member);
        }
    }

    fn placed(&self, position: &Position) -> Placed {
        Placed(self.terms.order, position.clone())
    }

    fn position(&self, member: &Bytes) -> Option<Position> {
        let member = member.clone();
        let score = *self.scores.get(&member)?;
        Some(Position { score, member })
    }

    fn put(&mut self, position: Position) {
        self.scores.insert(position.member.clone(), position.score);
        self.placed.insert(Placed(self.terms.order, position));
    }

    fn remove(&mut self, member: &Bytes) {
        if let Some(position) = self.position(member) {
            self.placed.remove(&Placed(self.terms.order, position));
            self.scores.remove(member);
        }
    }
}
