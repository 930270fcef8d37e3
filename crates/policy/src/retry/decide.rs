//! Whether a failed attempt is followed by another.

use std::time::Duration;

use super::{Backoff, Budget, Pushback, Withdrawal};
use crate::{Advice, Call, Outcome, Tick};

/// Settings of [`Retry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    /// Attempts a call may have at this layer, the first among them; 0 counts as 1, no retries.
    /// Default 3, Google's SRE book.
    pub attempts: u8,
    /// The wait before a retry, where nobody asks for another.
    pub backoff: Backoff,
    /// The longest that one attempt may take. Default none: what is left of the deadline.
    pub per_try: Option<Duration>,
    /// The route is declared safe to run twice, whatever the method says. Default false.
    pub safe: bool,
    /// Who asks for a longer wait is told that there will be no retry: a call that waits holds its
    /// body and its caller. Default 1 min.
    pub longest_wait: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff: Backoff::default(),
            per_try: None,
            safe: false,
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// Whether an attempt ended by a typed rejection, which says that nothing has run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rejected {
    /// It did not.
    #[default]
    No,
    /// On this side, before anything was sent: an open breaker, a full pool. The advice is without
    /// jitter, and the wait for it gets the backoff on top.
    Here(Advice),
    /// By the server (`seawall-reject`), which has put the jitter in already.
    There(Advice),
}

/// How an attempt ended, by a reply or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// How it ended; `Overloaded` where it was rejected.
    pub outcome: Outcome,
    /// Attempts that this layer has made for the call, this one among them: 1 for the first.
    pub attempts: u8,
    /// The wait before this attempt; zero for the first.
    pub waited: Duration,
    /// The server may have begun to work on it. Not so when no connection came about, the stream
    /// was refused (REFUSED_STREAM, or beyond the last of a GOAWAY), or [`Reply::rejected`] says
    /// so; then even what must not run twice is sent again.
    pub may_have_run: bool,
    /// The head of the reply was passed on to the caller, who would now see two.
    pub passed_on: bool,
    /// The reply carries `seawall-retried`: a layer below has done what can be done.
    pub marked: bool,
    /// The attempt was what an ejected host was probed with
    /// ([`Choice::is_probe`](crate::balance::Choice::is_probe)).
    pub probe: bool,
    /// It was a typed rejection.
    pub rejected: Rejected,
    /// What the server asks for. A typed rejection's advice, to the millisecond, comes first. The
    /// backoff goes on top: who gave no typed one has told all callers the same.
    pub pushback: Pushback,
}

impl Reply {
    /// A reply to the first attempt with no other marks than its outcome; the server may have
    /// worked on it.
    #[must_use]
    pub const fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            attempts: 1,
            waited: Duration::ZERO,
            may_have_run: true,
            passed_on: false,
            marked: false,
            probe: false,
            rejected: Rejected::No,
            pushback: Pushback::Unsaid,
        }
    }

    /// No connection came about, or the stream was refused: a failure after which nothing has run.
    #[must_use]
    pub const fn not_sent() -> Self {
        Self {
            may_have_run: false,
            ..Self::new(Outcome::Failure)
        }
    }
}

/// What is to be done.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it again after this wait, and on another host if there is one. It is paid for; who
    /// does not send it after all gives the withdrawal back ([`Budget::refund`]).
    After(Duration, Withdrawal),
    /// Hand the reply on, with a mark where [`Retry::must_mark`] says so.
    Stop(Why),
}

/// Why a call is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Why {
    /// It was answered.
    Answered = 0,
    /// The caller has gone.
    Cancelled = 1,
    /// The reply's head was passed on already.
    PassedOn = 2,
    /// It was retried below.
    Retried = 3,
    /// It may have run, and must not run twice.
    Unsafe = 4,
    /// The server wants no retry, or not before longer than this side ever waits.
    Refused = 5,
    /// It has had all its attempts.
    Attempts = 6,
    /// It could not be finished in the time left.
    Deadline = 7,
    /// The budget is used up.
    Budget = 8,
}

impl Why {
    /// Every reason; an array index is `self as usize`.
    pub const ALL: [Self; 9] = [
        Self::Answered,
        Self::Cancelled,
        Self::PassedOn,
        Self::Retried,
        Self::Unsafe,
        Self::Refused,
        Self::Attempts,
        Self::Deadline,
        Self::Budget,
    ];

    /// The name used in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Cancelled => "cancelled",
            Self::PassedOn => "passed-on",
            Self::Retried => "retried",
            Self::Unsafe => "unsafe",
            Self::Refused => "refused",
            Self::Attempts => "attempts",
            Self::Deadline => "deadline",
            Self::Budget => "budget",
        }
    }
}

/// Decides whether a failed attempt is followed by another.
///
/// ```
/// use seawall_policy::retry::{Budget, BudgetSettings, Reply, Retry, RetrySettings, Verdict, Why};
/// use seawall_policy::{Call, Outcome, Tick};
/// use std::time::Duration;
///
/// let retry = Retry::new(RetrySettings::default());
/// let budget = Budget::new(&BudgetSettings::default());
/// let call = Call { idempotent: true, deadline: Tick::from_millis(100), ..Call::default() };
/// budget.deposit(Tick::ZERO);
///
/// let failed = Reply::new(Outcome::Failure);
/// let typical = Some(Duration::from_millis(20));
/// let decide = |ms| retry.decide(&call, &failed, typical, &budget, Tick::from_millis(ms), 0);
/// assert!(matches!(decide(10), Verdict::After(..)));
/// assert_eq!(decide(90), Verdict::Stop(Why::Deadline)); // 20 ms of work, 10 left
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    settings: RetrySettings,
}

impl Retry {
    /// The rules with these settings.
    #[must_use]
    pub const fn new(settings: RetrySettings) -> Self {
        Self { settings }
    }

    /// The settings in force.
    #[must_use]
    pub const fn settings(&self) -> &RetrySettings {
        &self.settings
    }

    /// Whether the call may have more than one copy in the world: idempotent, or its route
    /// declared safe.
    #[must_use]
    pub const fn may_run_twice(&self, call: &Call) -> bool {
        call.idempotent || self.settings.safe
    }

    /// When an attempt that begins at `now` has to end: by the deadline, or per try.
    #[must_use]
    pub fn limit(&self, call: &Call, now: Tick) -> Tick {
        let per_try = self.settings.per_try.unwrap_or(Duration::MAX);
        call.deadline.min(now + per_try)
    }

    /// What is to be done about `reply`, the end of an attempt for `call`.
    ///
    /// `typical` is the upstream's usual latency, where it is known: a retry that would take
    /// longer than the time left is not begun. (Where the time per try is shorter, that counts.)
    /// The budget is asked last, so nothing is spent on what is not sent for another reason.
    /// It is not asked for the first time that a call was not sent: no host has worked for it, so
    /// that sending it elsewhere is no more load than sending it there at once had been. gRPC does
    /// so too (gRFC A6, transparent retries). Otherwise a restart of one host of three would take a
    /// budget of a tenth at once.
    ///
    /// The retry after a probe is begun at once whatever it says, for as long as any time is left:
    /// the caller was sent to an ejected host on our errand and is owed the attempt at another that
    /// it would have had. It is counted all the same, and other retries make up for it: probes are a
    /// few a second and host, and all retries together stay within a tenth. Only a call's first attempt is such a probe, so that there is one
    /// such retry a call.
    pub fn decide(
        &self,
        call: &Call,
        reply: &Reply,
        typical: Option<Duration>,
        budget: &Budget,
        now: Tick,
        random: u64,
    ) -> Verdict {
        if let Some(why) = self.forbidden(call, reply) {
            return Verdict::Stop(why);
        }
        let wait = match self.wait(reply, random) {
            Ok(wait) => wait,
            Err(why) => return Verdict::Stop(why),
        };
        let work = typical.filter(|_| !is_errand(reply)).unwrap_or_default();
        let work = work.min(self.settings.per_try.unwrap_or(Duration::MAX));
        if wait.saturating_add(work) >= call.deadline.since(now) {
            return Verdict::Stop(Why::Deadline);
        }
        let paid = if is_errand(reply) {
            Some(budget.overdraw(now))
        } else if costs_nothing(reply) {
            Some(Withdrawal::FREE)
        } else {
            budget.withdraw(now)
        };
        match paid {
            Some(paid) => Verdict::After(wait, paid),
            None => Verdict::Stop(Why::Budget),
        }
    }

    /// Whether a reply that is handed on is to carry `seawall-retried`, so that no layer above
    /// retries it.
    ///
    /// The mark goes from the lowest layer that is willing to retry all the way up: where it has
    /// retried in vain, where it would have but for its budget, and where it passes a rejection
    /// on, since only the layer just above one retries it. A layer that has not retried for other
    /// reasons (no time left, not safe here, its own breaker open) leaves that to the one above.
    #[must_use]
    pub fn must_mark(&self, reply: &Reply, why: Why) -> bool {
        if matches!(why, Why::Answered | Why::Cancelled) {
            return false;
        }
        let willing = self.settings.attempts > 1;
        reply.marked
            || reply.attempts > 1
            || why == Why::Budget
            || (willing && matches!(reply.rejected, Rejected::There(_)))
    }

    fn forbidden(&self, call: &Call, reply: &Reply) -> Option<Why> {
        let may_have_run = reply.may_have_run && reply.rejected == Rejected::No;
        let advice = match reply.rejected {
            Rejected::No => None,
            Rejected::Here(advice) | Rejected::There(advice) => Some(advice),
        };
        match reply.outcome {
            Outcome::Success => Some(Why::Answered),
            Outcome::Ignored => Some(Why::Cancelled),
            _ if reply.passed_on => Some(Why::PassedOn),
            _ if reply.marked => Some(Why::Retried),
            _ if may_have_run && !self.may_run_twice(call) => Some(Why::Unsafe),
            _ if advice == Some(Advice::No) => Some(Why::Refused),
            _ if reply.pushback == Pushback::Never => Some(Why::Refused),
            _ if reply.attempts >= self.settings.attempts => Some(Why::Attempts),
            _ => None,
        }
    }

    fn wait(&self, reply: &Reply, random: u64) -> Result<Duration, Why> {
        let retry = reply.attempts.saturating_sub(1);
        // Who asked the wrong host on our behalf has not been at another yet.
        let backoff = if is_errand(reply) {
            Duration::ZERO
        } else {
            self.settings.backoff.wait(retry, reply.waited, random)
        };
        let asked = match (reply.rejected, reply.pushback) {
            (Rejected::Here(Advice::After(wait)), _) => wait.saturating_add(backoff),
            (Rejected::There(Advice::After(wait)), _) => wait,
            (Rejected::Here(Advice::Elsewhere) | Rejected::There(Advice::Elsewhere), _) => {
                Duration::ZERO
            }
            (_, Pushback::After(wait)) => wait.saturating_add(backoff),
            _ => backoff,
        };
        if asked > self.settings.longest_wait.max(backoff) {
            return Err(Why::Refused);
        }
        Ok(asked)
    }
}

/// Whether the attempt was ours rather than its caller's.
const fn is_errand(reply: &Reply) -> bool {
    reply.probe && reply.attempts <= 1
}

/// Whether a retry after this is no more load than one attempt.
fn costs_nothing(reply: &Reply) -> bool {
    let not_sent = !reply.may_have_run && reply.rejected == Rejected::No;
    not_sent && reply.attempts <= 1 && reply.pushback == Pushback::Unsaid
}
