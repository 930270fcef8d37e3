use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AT: u64 = 784_111_777;
const COOKIE: [HeaderName; 1] = [header::COOKIE];

fn headers(of: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in of {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn when(date: u64, took: u64) -> Exchanged {
    Exchanged {
        now: Tick::from_millis(1_000),
        date,
        took: Duration::from_secs(took),
    }
}

const ANYONE: Asked<'_> = Asked {
    method: &Method::GET,
    no_store: false,
    authorization: false,
    known_by: &[],
};

fn judged(asked: &Asked<'_>, status: u16, of: &[(&str, &str)]) -> Result<Kept, Unfit> {
    let status = StatusCode::from_u16(status).unwrap();
    let headers = headers(of);
    judge(asked, status, &headers, when(AT, 0), &Policy::default())
}

/// Life and age on arrival.
fn times(of: &[(&str, &str)], date: u64, took: u64, policy: &Policy) -> (u64, u64) {
    // With something to confirm it by, it is kept whatever its life.
    let of = headers(&[of, &[("etag", "\"a\"")]].concat());
    let kept = judge(&ANYONE, StatusCode::OK, &of, when(date, took), policy).unwrap();
    (kept.life.as_secs(), kept.age.as_secs())
}

#[test]
fn what_is_kept() {
    let cc = |value: &'static str| ("cache-control", value);
    for (status, answer, expected) in [
        (200, vec![cc("max-age=60")], None),
        (200, vec![cc("max-age=60, no-store")], Some(Unfit::NoStore)),
        (200, vec![cc("max-age=60, private")], Some(Unfit::Private)),
        (
            200,
            vec![cc("max-age=60, private=\"x\"")],
            Some(Unfit::Private),
        ),
        (
            200,
            vec![cc("public, max-age=60"), ("set-cookie", "a=b")],
            Some(Unfit::SetCookie),
        ),
        (
            200,
            vec![cc("max-age=60"), ("vary", "*")],
            Some(Unfit::Vary),
        ),
        (200, vec![cc("max-age=60"), ("vary", "accept")], None),
        (200, vec![], Some(Unfit::Lifeless)),
        (200, vec![cc("max-age=0")], Some(Unfit::Lifeless)),
        (200, vec![cc("max-age=0"), ("etag", "\"a\"")], None),
        (200, vec![cc("no-cache"), ("etag", "\"a\"")], None),
        (200, vec![cc("max-age=0, stale-if-error=9")], None),
        (
            200,
            vec![cc("max-age=0, must-revalidate, stale-if-error=9")],
            Some(Unfit::Lifeless),
        ),
        (200, vec![("expires", "0")], Some(Unfit::Lifeless)),
        (206, vec![cc("max-age=60")], Some(Unfit::Status)),
        (304, vec![cc("max-age=60")], Some(Unfit::Status)),
        (500, vec![cc("max-age=60")], Some(Unfit::Status)),
        (302, vec![], Some(Unfit::Status)),
        (302, vec![cc("max-age=60")], None),
        (404, vec![cc("max-age=60")], None),
        (200, vec![cc("no-store, must-understand, max-age=60")], None),
        (
            599,
            vec![cc("must-understand, max-age=60")],
            Some(Unfit::Status),
        ),
    ] {
        assert_eq!(
            judged(&ANYONE, status, &answer).err(),
            expected,
            "{status} {answer:?}"
        );
    }
    let head = Asked {
        method: &Method::HEAD,
        ..ANYONE
    };
    assert_eq!(judged(&head, 200, &[cc("max-age=60")]), Err(Unfit::Method));
    let no_store = Asked {
        no_store: true,
        ..ANYONE
    };
    assert_eq!(
        judged(&no_store, 200, &[cc("max-age=60")]),
        Err(Unfit::NoStore)
    );
}

#[test]
fn who_is_known_is_not_overheard() {
    let authorized = Asked {
        authorization: true,
        ..ANYONE
    };
    let cookie = Asked {
        known_by: &COOKIE,
        ..ANYONE
    };
    for (asked, answer, kept) in [
        (authorized, vec![("cache-control", "max-age=60")], false),
        (
            authorized,
            vec![("cache-control", "max-age=60, must-revalidate")],
            false,
        ),
        (
            authorized,
            vec![("cache-control", "public, max-age=60")],
            true,
        ),
        (authorized, vec![("cache-control", "s-maxage=60")], true),
        (
            authorized,
            vec![("cache-control", "max-age=60"), ("vary", "authorization")],
            false,
        ),
        (cookie, vec![("cache-control", "max-age=60")], false),
        (
            cookie,
            vec![("cache-control", "max-age=60"), ("vary", "cookie")],
            true,
        ),
        (cookie, vec![("cache-control", "public, max-age=60")], true),
        (
            cookie,
            vec![("last-modified", "Thu, 06 Nov 1980 08:49:37 GMT")],
            false,
        ),
    ] {
        assert_eq!(judged(&asked, 200, &answer).is_ok(), kept, "{answer:?}");
    }
    // Nobody said that it is to be kept, so what is guessed of it is for who is unknown.
    let guessed = [
        ("vary", "cookie"),
        ("last-modified", "Thu, 06 Nov 1980 08:49:37 GMT"),
    ];
    assert!(judged(&cookie, 200, &guessed).is_ok_and(|kept| kept.life.is_zero()));
}

#[test]
fn lives() {
    let plain = Policy::default();
    let hour = Policy {
        default_life: Some(Duration::from_secs(3_600)),
        ..plain
    };
    let date = ("date", DATE);
    let last = ("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT");
    for (answer, policy, life) in [
        (
            vec![
                ("cache-control", "s-maxage=1, max-age=2"),
                ("expires", DATE),
            ],
            plain,
            1,
        ),
        (
            vec![("cache-control", "max-age=2"), ("expires", DATE)],
            plain,
            2,
        ),
        (
            vec![date, ("expires", "Sun, 06 Nov 1994 08:50:37 GMT")],
            plain,
            60,
        ),
        (
            vec![date, ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"), last],
            hour,
            60,
        ),
        (vec![date, last], plain, 100),
        (vec![date, last], hour, 3_600),
        (
            vec![date, ("last-modified", "Thu, 06 Nov 1980 08:32:57 GMT")],
            plain,
            3_600,
        ),
        (vec![date, last, ("expires", "-1")], plain, 0),
        (vec![date, last, ("last-modified", "tomorrow")], plain, 100),
        (
            vec![
                ("cache-control", "max-age=3"),
                ("cdn-cache-control", "max-age=4"),
            ],
            plain,
            4,
        ),
    ] {
        assert_eq!(times(&answer, AT, 0, &policy).0, life, "{answer:?}");
    }
}

#[test]
fn ages() {
    let fresh = ("cache-control", "max-age=60");
    let date = ("date", DATE);
    for (answer, at, took, age) in [
        (vec![fresh, date], AT, 0, 0),
        (vec![fresh, date], AT + 5, 0, 5),
        // Our clock is behind, or has jumped back.
        (vec![fresh, date], AT - 500, 0, 0),
        (vec![fresh, date], AT + 5, 9, 9),
        (vec![fresh, date, ("age", "30")], AT + 5, 2, 32),
        (vec![fresh, date, ("age", "30, 99")], AT, 0, 30),
        (vec![fresh, date, ("age", "-30")], AT, 0, 0),
        (
            vec![fresh, date, ("age", "99999999999999999999999")],
            AT,
            1,
            (1 << 31) + 1,
        ),
        (
            vec![fresh, date, ("date", "Sun, 06 Nov 1994 08:49:27 GMT")],
            AT,
            0,
            10,
        ),
        (vec![fresh], AT, 3, 3),
    ] {
        assert_eq!(
            times(&answer, at, took, &Policy::default()).1,
            age,
            "{answer:?}"
        );
    }
    let overflows = [fresh, ("age", "99999999999999999999999"), ("etag", "\"a\"")];
    assert!(
        !judged(&ANYONE, 200, &overflows)
            .unwrap()
            .is_fresh(Tick::MAX)
    );
}

#[test]
fn stale_windows() {
    let policy = Policy {
        stale_while_revalidate: Duration::from_secs(5),
        stale_if_error: Duration::from_secs(50),
        ..Policy::default()
    };
    for (line, while_revalidate, if_error) in [
        ("max-age=1", 5, 50),
        (
            "max-age=1, stale-while-revalidate=7, stale-if-error=0",
            7,
            0,
        ),
        ("s-maxage=1", 0, 0),
        ("s-maxage=1, stale-while-revalidate=7", 7, 0),
    ] {
        let of = headers(&[("cache-control", line)]);
        let kept = judge(&ANYONE, StatusCode::OK, &of, when(AT, 0), &policy).unwrap();
        let got = (kept.while_revalidate.as_secs(), kept.if_error.as_secs());
        assert_eq!(got, (while_revalidate, if_error), "{line}");
        assert_eq!(kept.max_stale, !line.contains("s-maxage"), "{line}");
    }
}

fn line() -> impl Strategy<Value = String> {
    let directive = prop_oneof![
        Just("public".to_owned()),
        Just("private".to_owned()),
        Just("private=\"x\"".to_owned()),
        Just("no-store".to_owned()),
        Just("no-cache".to_owned()),
        Just("must-revalidate".to_owned()),
        (0_u64..100).prop_map(|n| format!("max-age={n}")),
        (0_u64..100).prop_map(|n| format!("s-maxage={n}")),
        "[a-z,=\" ]{0,8}",
    ];
    proptest::collection::vec(directive, 0..4).prop_map(|all| all.join(", "))
}

proptest! {
    /// What nothing of one user may reach another by.
    #[test]
    fn what_is_ones_own_is_never_kept(
        line in line(), vary in "(|cookie|authorization|\\*|accept, cookie)",
        cookie in any::<bool>(), authorization in any::<bool>(), sets in any::<bool>(),
        etag in any::<bool>(), status in 200_u16..600,
    ) {
        let mut of = vec![("cache-control", line.as_str()), ("vary", vary.as_str())];
        if sets { of.push(("set-cookie", "a=b")); }
        if etag { of.push(("etag", "\"a\"")); }
        let asked = Asked {
            authorization,
            known_by: if cookie { &COOKIE } else { &[] },
            ..ANYONE
        };
        let answer = headers(&of);
        let says = ResponseDirectives::read(&answer);
        if let Ok(kept) = judged(&asked, status, &of) {
            prop_assert!(!sets && !says.private && !says.no_store && vary != "*");
            let shared = says.public || says.s_maxage.is_some();
            prop_assert!(shared || !authorization);
            prop_assert!(shared || !cookie || vary.contains("cookie"));
            prop_assert_eq!(kept.for_everyone, shared);
        }
    }

    #[test]
    fn a_later_clock_makes_nothing_fresher(
        age in 0_u64..100, a in 0_u64..1_000, b in 0_u64..1_000, took in 0_u64..50
    ) {
        let of = [("cache-control", "max-age=60"), ("date", DATE), ("age", &age.to_string())];
        let (earlier, later) = (AT - 500 + a.min(b), AT - 500 + a.max(b));
        let policy = Policy::default();
        prop_assert!(times(&of, earlier, took, &policy).1 <= times(&of, later, took, &policy).1);
        prop_assert!(times(&of, earlier, took, &policy).1 >= age + took);
    }
}
