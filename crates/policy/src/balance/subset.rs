//! A client talks to a few hosts of many.
//!
//! A thousand clients with a connection to each of a thousand hosts are a million connections,
//! mostly idle. A client picks its hosts by rendezvous hashing (Thaler and Ravishankar, 1998): each
//! host is scored by a hash of client and host, the best `size` are taken. It needs no order among
//! the clients, as deterministic subsetting does, and a host that goes costs each of its clients
//! exactly one new connection. Its price: hosts get clients by chance, with a spread of √(clients ·
//! size / hosts); choose the size so that each host has a hundred clients or more, or accept it.

use super::dice::mix;

/// Which hosts of many a client uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subset {
    /// Who the client is: different for each, the same after a restart if connections are to land
    /// where they were.
    pub client: u64,
    /// How many hosts it uses, at least 1. More than there are: all.
    pub size: usize,
}

impl Subset {
    /// Keeps the members of the subset, given each one's key; in order.
    pub(super) fn keep<T: Copy>(&self, members: &mut Vec<T>, key: impl Fn(T) -> u64) {
        let size = self.size.max(1);
        if members.len() <= size {
            return;
        }
        let score = |member: T| mix(self.client ^ mix(key(member)));
        let mut scores: Vec<u64> = members.iter().map(|&member| score(member)).collect();
        let (_, &mut worst, _) = scores.select_nth_unstable(size - 1);
        members.retain(|&member| score(member) <= worst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(client: u64, size: usize, hosts: impl Iterator<Item = u64>) -> Vec<u64> {
        let mut members: Vec<u64> = hosts.collect();
        Subset { client, size }.keep(&mut members, |key| key);
        members
    }

    proptest! {
        #[test]
        fn a_host_that_goes_is_replaced_by_one(client: u64, size in 1_usize..20, gone in 0_u64..100) {
            let before = of(client, size, 0..100);
            let after = of(client, size, (0..100).filter(|&key| key != gone));
            prop_assert_eq!((before.len(), after.len()), (size, size));
            let stayed = before.iter().filter(|key| after.contains(key)).count();
            let lost = usize::from(before.contains(&gone));
            prop_assert_eq!(stayed, size - lost);
        }
    }

    #[test]
    fn hosts_have_about_as_many_clients() {
        let mut clients = [0_u32; 100];
        for client in 0..1_000 {
            for key in of(client, 20, 0..100) {
                clients[key as usize] += 1;
            }
        }
        assert!(
            clients.iter().all(|n| (150..=250).contains(n)),
            "{clients:?}"
        );
        assert_eq!(of(1, 0, 0..3).len(), 1);
        assert_eq!(of(1, 9, 0..3).len(), 3);
    }
}
