use super::*;
use crate::discovery::answer::{Record, Service};
use proptest::prelude::*;

const S: u64 = 1000;

fn board(most: usize) -> Board {
    Board::new(Rules {
        grace: Duration::from_secs(30),
        most,
        subset: 7,
    })
}

fn targets(texts: &[&str]) -> Vec<Target> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn shown(board: &Board) -> Vec<String> {
    let endpoints = board.endpoints();
    endpoints.iter().map(|e| e.address.to_string()).collect()
}

/// Each attempt is told once.
fn told(serial: u64, reply: Result<Vec<Record>, DnsError>) -> Told {
    let ttl = Duration::from_secs(5);
    Told {
        serial,
        reply: reply.map(|records| Arc::new(Reply { records, ttl })),
        good: None,
        due: Tick::ZERO,
    }
}

fn ips(ips: &[&str]) -> Result<Vec<Record>, DnsError> {
    Ok(ips
        .iter()
        .map(|ip| Record::Address(ip.parse().unwrap()))
        .collect())
}

fn service(target: &str, port: u16, priority: u16, weight: u16) -> Record {
    Record::Service(Service {
        target: target.into(),
        port,
        priority,
        weight,
    })
}

/// Tells a board what both families say, with serials of their own.
struct Both {
    board: Board,
    serial: u64,
}

impl Both {
    fn new() -> Self {
        let mut board = board(100);
        board.set_targets(targets(&["db:80"]));
        Self { board, serial: 0 }
    }

    fn tell(
        &mut self,
        second: u64,
        v4: Result<Vec<Record>, DnsError>,
        v6: Result<Vec<Record>, DnsError>,
    ) -> Taken {
        self.serial += 2;
        let told = [
            (RecordKind::A, told(self.serial, v4)),
            (RecordKind::Aaaa, told(self.serial + 1, v6)),
        ];
        self.board
            .addresses("db", &told, Tick::from_millis(second * S))
    }
}

#[test]
fn addresses_names_and_attributes() {
    let mut board = board(100);
    board.set_targets(targets(&[
        "10.0.0.9:80 weight=3 zone=a",
        "db.:80 priority=1",
        "10.0.0.8:80 host=b.example",
        "10.0.0.9:80",
    ]));
    assert_eq!(board.names().map(|n| &**n).collect::<Vec<_>>(), ["db."]);
    let answer = [(RecordKind::A, told(1, ips(&["10.0.0.7"])))];
    board.addresses("db.", &answer, Tick::ZERO);
    let list = board.endpoints();
    assert_eq!(shown(&board), ["10.0.0.8:80", "10.0.0.9:80", "10.0.0.7:80"]);
    assert_eq!(list[0].host.as_deref(), Some("b.example"));
    assert_eq!((list[1].weight, list[1].zone.as_deref()), (3, Some("a")));
    assert_eq!((list[2].priority, list[2].host.as_deref()), (1, Some("db")));
}

#[test]
fn a_family_that_fails_keeps_its_addresses() {
    let mut both = Both::new();
    let taken = both.tell(0, ips(&["10.0.0.1"]), ips(&["::1"]));
    assert_eq!(taken, Taken::good());
    for n in 1..50 {
        let taken = both.tell(n * 10, ips(&["10.0.0.1"]), Err(DnsError::Timeout));
        assert_eq!(taken.error, Some((RecordKind::Aaaa, DnsError::Timeout)));
        assert!(taken.good);
    }
    assert_eq!(shown(&both.board), ["10.0.0.1:80", "[::1]:80"]);
}

#[test]
fn a_family_without_records_goes_only_while_the_other_has_some() {
    let mut both = Both::new();
    both.tell(0, ips(&["10.0.0.1"]), ips(&["::1"]));
    for n in 1..50 {
        let taken = both.tell(n * 10, ips(&[]), ips(&[]));
        assert_eq!(taken, Taken::bad(RecordKind::A, DnsError::NoAddress));
    }
    assert_eq!(shown(&both.board).len(), 2);
    for n in 50..54 {
        both.tell(n * 10, ips(&[]), ips(&["::1"]));
    }
    assert_eq!(shown(&both.board), ["[::1]:80"]);
}

#[test]
fn no_such_name_for_one_family_is_no_records() {
    let mut both = Both::new();
    both.tell(0, ips(&["10.0.0.1"]), ips(&["::1"]));
    for n in 1..5 {
        let taken = both.tell(n * 20, ips(&["10.0.0.1"]), Err(DnsError::NoSuchName));
        assert_eq!(taken, Taken::good());
    }
    assert_eq!(shown(&both.board), ["10.0.0.1:80"]);
    let taken = both.tell(500, Err(DnsError::NoSuchName), Err(DnsError::NoSuchName));
    assert_eq!(taken, Taken::bad(RecordKind::A, DnsError::NoSuchName));
    assert_eq!(shown(&both.board), ["10.0.0.1:80"]);
}

#[test]
fn the_same_answer_told_twice_counts_once() {
    let mut board = board(100);
    board.set_targets(targets(&["db:80"]));
    board.addresses(
        "db",
        &[(RecordKind::A, told(1, ips(&["10.0.0.1", "10.0.0.2"])))],
        Tick::ZERO,
    );
    for n in 1..100 {
        let answer = [(RecordKind::A, told(2, ips(&["10.0.0.1"])))];
        board.addresses("db", &answer, Tick::from_millis(n * 10 * S));
    }
    assert_eq!(shown(&board).len(), 2, "one answer without it");
}

#[test]
fn who_has_nothing_begins_with_the_last_good_answer_and_others_do_not() {
    let good = Arc::new(Reply {
        records: ips(&["10.0.0.1"]).unwrap(),
        ttl: Duration::ZERO,
    });
    let failed = |serial| Told {
        good: Some(good.clone()),
        ..told(serial, Err(DnsError::Timeout))
    };
    let mut both = Both::new();
    let taken = both
        .board
        .addresses("db", &[(RecordKind::A, failed(1))], Tick::ZERO);
    assert_eq!(taken, Taken::bad(RecordKind::A, DnsError::Timeout));
    assert_eq!(shown(&both.board), ["10.0.0.1:80"]);

    let mut both = Both::new();
    both.tell(0, ips(&["10.0.0.2"]), ips(&[]));
    both.board
        .addresses("db", &[(RecordKind::A, failed(9))], Tick::ZERO);
    assert_eq!(shown(&both.board), ["10.0.0.2:80"]);
}

#[test]
fn a_family_that_is_gone_is_not_brought_back_by_an_old_answer() {
    let mut both = Both::new();
    let old = Arc::new(Reply {
        records: ips(&["::1"]).unwrap(),
        ttl: Duration::ZERO,
    });
    let v6 = |serial| Told {
        good: Some(old.clone()),
        ..told(serial, ips(&[]))
    };
    for serial in [10, 10, 12] {
        let told = [
            (RecordKind::A, told(serial, ips(&["10.0.0.1"]))),
            (RecordKind::Aaaa, v6(serial + 1)),
        ];
        both.board.addresses("db", &told, Tick::ZERO);
        assert_eq!(shown(&both.board), ["10.0.0.1:80"]);
    }
}

#[test]
fn a_new_list_keeps_what_is_known_of_names_that_stay() {
    let mut board = board(100);
    board.set_targets(targets(&["db:80", "old:80"]));
    for name in ["db", "old"] {
        board.addresses(
            name,
            &[(RecordKind::A, told(1, ips(&["10.0.0.1"])))],
            Tick::ZERO,
        );
    }
    board.set_targets(targets(&["db:81", "new:80"]));
    assert_eq!(shown(&board), ["10.0.0.1:81"]);
    assert_eq!(board.names().count(), 2);
}

#[test]
fn services_in_the_order_of_priority() {
    let mut board = board(100);
    let records = vec![
        service("b.", 81, 20, 5),
        service("a.", 80, 10, 0),
        service("c.", 0, 1, 1),
        service(".", 80, 1, 1),
    ];
    let taken = board.services(&told(1, Ok(records)), Tick::ZERO);
    assert_eq!(taken, Taken::good());
    for (name, ip) in [("a.", "10.0.0.9"), ("b.", "10.0.0.1")] {
        board.addresses(name, &[(RecordKind::A, told(1, ips(&[ip])))], Tick::ZERO);
    }
    let list = board.endpoints();
    let seen: Vec<_> = list
        .iter()
        .map(|e| {
            (
                e.address.to_string(),
                e.priority,
                e.weight,
                e.host.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("10.0.0.9:80".to_owned(), 10, 1, Some("a")),
            ("10.0.0.1:81".to_owned(), 20, 5, Some("b")),
        ]
    );
}

#[test]
fn a_service_that_is_not_offered_any_more_is_a_failure() {
    let mut board = board(100);
    board.services(&told(1, Ok(vec![service("a.", 80, 0, 0)])), Tick::ZERO);
    for (n, records) in [vec![], vec![service(".", 0, 0, 0)]]
        .into_iter()
        .enumerate()
    {
        let told = told(n as u64 + 2, Ok(records));
        let taken = board.services(&told, Tick::from_millis(n as u64 * 1000 * S));
        assert_eq!(taken, Taken::bad(RecordKind::Srv, DnsError::NoService));
        assert_eq!(board.names().count(), 1);
    }
}

proptest! {
    #[test]
    fn lists_are_bounded_sorted_and_of_distinct_addresses(
        most in 1..40usize,
        services in proptest::collection::vec((0..30u8, 1..4u16, 0..3u16, 0..4u16), 0..60),
        answers in proptest::collection::vec((0..30u8, proptest::collection::vec(any::<u16>(), 0..90)), 0..12),
    ) {
        let mut board = board(most);
        let records = services
            .iter()
            .map(|(n, port, priority, weight)| service(&format!("s{n}."), *port, *priority, *weight))
            .collect();
        board.services(&told(1, Ok(records)), Tick::ZERO);
        prop_assert!(board.names().count() <= most);
        for (serial, (n, ips)) in answers.iter().enumerate() {
            let records = ips
                .iter()
                .map(|ip| Record::Address([10, 0, (ip >> 8) as u8, *ip as u8].into()))
                .collect();
            let told = told(serial as u64 + 1, Ok(records));
            board.addresses(&format!("s{n}."), &[(RecordKind::A, told)], Tick::ZERO);
        }
        let list = board.endpoints();
        prop_assert!(list.len() <= most);
        prop_assert!(list.is_sorted_by_key(|e| (e.priority, e.address)));
        let distinct: BTreeSet<_> = list.iter().map(|e| e.address).collect();
        prop_assert_eq!(distinct.len(), list.len());
        prop_assert!(list.iter().all(|e| e.weight >= 1));
    }
}
