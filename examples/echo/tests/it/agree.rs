//! A message is the same by both transports.

use std::collections::HashMap;

use echo::v1::{All, Inner, all, inner};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use seawall::api::types::{Duration, FieldMask, StringValue, Timestamp};

use crate::server::serve;

fn an_inner() -> impl Strategy<Value = Inner> {
    let at = (0i64..4_000_000_000, 0i32..1_000_000_000)
        .prop_map(|(seconds, nanos)| Timestamp { seconds, nanos });
    let deep =
        (any::<bool>(), proptest::option::of(at)).prop_map(|(self_, at)| inner::Deep { self_, at });
    ("\\PC{0,16}", any::<i32>(), proptest::option::of(deep)).prop_map(|(name, size, deep)| Inner {
        name,
        size,
        deep,
    })
}

prop_compose! {
    fn numbers()(
        double in -1e300f64..1e300, float in -1e30f32..1e30, int32: i32, int64: i64, uint32: u32,
        uint64: u64, sint64: i64, fixed32: u32, bool: bool, color in 0i32..3,
    ) -> All {
        All {
            double, float, int32, int64, uint32, uint64, sint64, fixed32, bool, color,
            ..All::default()
        }
    }
}

prop_compose! {
    fn everything()(
        all in numbers(),
        string in "\\PC{0,20}",
        bytes: Vec<u8>,
        inner in proptest::option::of(an_inner()),
        strings in proptest::collection::btree_set("\\PC{0,5}", 0..5),
        int64s: Vec<i64>,
        colors in proptest::collection::vec(0i32..3, 0..4),
        inners in proptest::collection::vec(an_inner(), 0..3),
        by_name in proptest::collection::hash_map("\\PC{1,5}", an_inner(), 0..3),
        by_number: HashMap<i32, String>,
    ) -> All {
        All {
            string, bytes, inner, int64s, colors, inners, by_name, by_number,
            strings: strings.into_iter().collect(),
            ..all
        }
    }
}

fn choice() -> impl Strategy<Value = all::Choice> {
    prop_oneof![
        "[a-z]{0,5}".prop_map(all::Choice::Word),
        any::<i32>().prop_map(all::Choice::Number),
        an_inner().prop_map(all::Choice::Whole),
    ]
}

prop_compose! {
    fn a_message()(
        all in everything(),
        maybe_number: Option<i64>,
        within in proptest::option::of(0i64..1_000_000),
        paths in proptest::collection::vec("[a-z]{1,4}(_[a-z]{1,4})?", 0..3),
        wrapped in proptest::option::of("\\PC{0,5}"),
        choice in proptest::option::of(choice()),
        again: bool,
    ) -> All {
        All {
            maybe_number,
            within: within.map(|seconds| Duration { seconds, nanos: 0 }),
            mask: Some(FieldMask { paths }),
            wrapped: wrapped.map(|value| StringValue { value }),
            choice,
            again: again.then(|| Box::new(all.clone())),
            ..all
        }
    }
}

#[test]
fn a_message_comes_back_as_it_went() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let served = runtime.block_on(serve());
    let client = runtime.block_on(served.grpc());
    let mut runner = TestRunner::new(Config {
        cases: 64,
        failure_persistence: None,
        ..Config::default()
    });
    let law = |message: All| {
        runtime.block_on(async {
            let json = serde_json::to_vec(&message).unwrap();
            let reply = served.post("/v1/everything", json).await;
            prop_assert_eq!(reply.status, 200, "{}", reply.text());
            let by_http: All = serde_json::from_slice(&reply.body).unwrap();
            let by_grpc = client.clone().everything(message.clone()).await.unwrap();
            prop_assert_eq!(&by_http, &message);
            prop_assert_eq!(by_grpc.get_ref(), &message);
            Ok(())
        })
    };
    runner.run(&a_message(), law).unwrap();
}
