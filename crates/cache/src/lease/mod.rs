//! Leases: one loader a key in the fleet, and nothing stale left behind.
//!
//! # The race
//!
//! A reader finds nothing, loads the old value, and is slow. A writer changes the database and
//! invalidates. The reader puts the old value into the cache, where it stays for its whole life.
//! Deleting after the write, before it, twice, or with a delay makes that rarer; what ends it is that
//! the cache can tell a value that was loaded before an invalidation from one that was loaded after.
//!
//! # The protocol
//!
//! An [`Entry`] holds a value, a lease, fences; each may be absent.
//!
//! - *Fetch*: a value that is fresh is a hit. Else the lease goes to who asks first, for a bounded
//!   time, and the others are told that it is busy, with what is kept: who does not mind stale takes
//!   that, who does waits to be told.
//! - *Fill* is taken only under the lease that is held. It ends the lease.
//! - *Invalidate*, after a write, takes the lease away, *also where there is no value*, and marks what
//!   is kept, so that only who takes stale gets it, or removes it.
//! - *Fence*, before a write, is an invalidation that lasts: no lease is given and nothing is kept
//!   until *unfence*, after the write, or until it runs out. *Unfence* may bring the value that was
//!   written; it is kept only if the fence has stood all the while and no other write came between, for
//!   two writers learn nothing of the order in which the database took them.
//! - In process, a reader takes its key's *generation* before it asks the store, and what it then holds
//!   counts only for that generation. A notice of an invalidation ends it, and so does the loss of the
//!   channel on which notices come; with the channel silent for its bound, nothing held is given out.
//!   A reader joins a load under way in its process only if that began in the same generation.
//!
//! # Why nothing stale is left
//!
//! *In the store.* A value that is kept without a mark came by a fill or a put. A fill's lease was held
//! from before the load until then, so no invalidation came between: any write that the load did not
//! see is yet to be invalidated, and that will mark it. A put's fence stood alone from before its write,
//! so any other write begins its own invalidation later. *In process.* What is held was read in the
//! store, or loaded under a lease, after its generation was taken: had an invalidation come before that
//! reading, it would show there; one that came after sends a notice, which ends the generation, or the
//! channel is lost, which does too. *A writer that dies* between its write and the invalidation leaves
//! a fence: what was kept was marked when the fence was set, and what is loaded before it runs out is
//! not kept. So the write has to be through, or given up, within the fence's length; and a writer
//! without a fence must not die there. These two are the assumptions.
//!
//! What a reader is owed: from the store and from a load of its own, nothing older than what was
//! invalidated when it began; from its own process, nothing older than what that had been told of. In
//! another process than the writer's that is later by a message's way, and by the bound at most.
//!
//! `check` tries every interleaving of this on the entry itself, with expiries, lost channels and
//! crashes, and finds what goes wrong when any one of these rules is left out. Redis' scripts, in
//! `store`, are held against the same entry by random sequences of operations.
//!
//! # What others do
//!
//! - *go-zero* has no lease. Readers share a load within a process, a delete that fails is tried again
//!   from memory; a slow read that sets after the delete stays until its life is over (#3000), and two
//!   processes load what both miss.
//! - *memcache at Facebook* (NSDI 2013) has the lease and its revocation by a delete. It hands out one
//!   token a key every ten seconds and others ask again after a pause; a value that was deleted is kept
//!   apart for a while for who takes stale. No fence: what a dead writer has not deleted is deleted by
//!   who tails the database's log.
//! - *rockscache* has them in Redis with a script: a set succeeds for the lock's owner, a delete marks
//!   the value and unlocks. Who waits asks every 100 ms; times are the clients' clocks, so that one
//!   that runs ahead takes others' locks; a lock has run out after 3 s whatever the load's limit; and
//!   there is no level in process to keep right.
//!
//! Here who waits is told, times are the store's own, and the writer's death and the level in process
//! are part of the protocol.

#[cfg(any(test, feature = "testing"))]
pub(crate) mod check;
mod entry;

pub(crate) use entry::Entry;
