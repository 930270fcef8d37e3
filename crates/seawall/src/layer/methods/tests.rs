use super::*;
use crate::layer::settings::{LaneSettings, MethodSettings};
use std::time::Duration;

const PLACE: Method = Method::new(
    "shop.v1.Orders/Place",
    &[("POST", "/v1/orders"), ("PUT", "/v1/carts/{cart}/order")],
    Streaming::NONE,
    false,
);
const GET: Method = Method::new(
    "shop.v1.Orders/Get",
    &[("GET", "/v1/orders/{id}")],
    Streaming::NONE,
    true,
);
const WATCH: Method = Method::new(
    "shop.v1.Orders/Watch",
    &[("GET", "/v1/watch/{rest=**}")],
    SERVER,
    true,
);

fn shop() -> Methods {
    Methods::new(&[PLACE, GET, WATCH]).unwrap()
}

fn request(verb: &str, path: &str, grpc: bool) -> Request<()> {
    let request = Request::builder().method(verb).uri(path);
    let request = if grpc {
        request.header("content-type", "application/grpc")
    } else {
        request
    };
    request.body(()).unwrap()
}

#[test]
fn a_method_is_found_by_either_transport() {
    let methods = shop();
    for (verb, path, grpc, name) in [
        ("POST", "/shop.v1.Orders/Place", true, PLACE.name),
        ("POST", "/v1/orders", false, PLACE.name),
        ("PUT", "/v1/carts/7/order", false, PLACE.name),
        ("GET", "/v1/orders/17", false, GET.name),
        ("HEAD", "/v1/orders/17", false, GET.name),
        ("GET", "/v1/watch/a/b/c", false, WATCH.name),
        (
            "POST",
            "/grpc.health.v1.Health/Check",
            true,
            "grpc.health.v1.Health/Check",
        ),
        // The path of one transport is none of the other.
        ("POST", "/shop.v1.Orders/Place", false, OTHER),
        ("POST", "/v1/orders", true, OTHER),
        ("GET", "/v1/orders", false, OTHER),
        ("DELETE", "/v1/orders/17", false, OTHER),
        ("GET", "/", false, OTHER),
        ("OPTIONS", "*", true, OTHER),
        ("POST", "/shop.v1.Orders/Place/more", true, OTHER),
    ] {
        assert_eq!(
            methods.name_of(&request(verb, path, grpc)),
            name,
            "{verb} {path}"
        );
    }
}

#[test]
fn what_cannot_be_told_apart_is_refused() {
    let twice = Methods::new(&[PLACE, PLACE]).unwrap_err();
    assert_eq!(twice, MethodsError::Name(PLACE.name));
    const CLASH: Method = Method::new(
        "shop.v1.Other/Get",
        &[("GET", "/v1/orders/{key}")],
        Streaming::NONE,
        true,
    );
    let clash = Methods::new(&[GET, CLASH]).unwrap_err();
    assert!(clash.to_string().contains("shop.v1.Other/Get"), "{clash}");
    const VERB: Method = Method::new("a.B/C", &[("NO VERB", "/c")], Streaming::NONE, true);
    assert!(matches!(
        Methods::new(&[VERB]),
        Err(MethodsError::Verb { .. })
    ));
}

fn settings(methods: &[(&str, MethodSettings)]) -> Settings {
    let mut settings = Settings::default();
    for (name, method) in methods {
        settings.methods.insert((*name).to_owned(), method.clone());
    }
    settings
        .lanes
        .insert("reports".to_owned(), LaneSettings::default());
    settings
}

#[test]
fn what_says_more_of_the_name_holds() {
    let methods = shop();
    let timeout = |seconds| MethodSettings {
        timeout: Some(Duration::from_secs(seconds)),
        ..MethodSettings::default()
    };
    let mut place = timeout(1);
    place.lane = Some("reports".to_owned());
    let of_service = MethodSettings {
        criticality: Some(crate::Criticality::Sheddable),
        ..timeout(2)
    };
    let all = settings(&[
        ("*", timeout(3)),
        ("shop.v1.Orders/*", of_service),
        (PLACE.name, place),
    ]);
    methods.configure(&all).unwrap();
    let plan = methods.plan();
    let seconds = |index| plan.rules(index).timeout.map(|timeout| timeout.as_secs());
    // Place, Get, Watch (which streams), health's Check.
    assert_eq!([0, 1, 2, 3].map(seconds), [Some(1), Some(2), None, Some(3)]);
    assert_eq!(
        plan.rules(0).criticality,
        Some(crate::Criticality::Sheddable)
    );
    assert_eq!(plan.rules(0).lane, Some(crate::admission::Lane(4)));
    assert_eq!(plan.rules(2).idle_timeout, Some(Duration::from_secs(600)));
    assert_eq!(plan.rules(1).idle_timeout, None);
}

#[test]
fn a_wrong_name_is_told_with_the_nearest_and_nothing_changes() {
    let methods = shop();
    let some = || MethodSettings {
        timeout: Some(Duration::from_secs(1)),
        ..MethodSettings::default()
    };
    methods.configure(&settings(&[(GET.name, some())])).unwrap();
    for (name, says) in [
        (
            "shop.v1.Orders/Plase",
            "did you mean `shop.v1.Orders/Place`?",
        ),
        ("shop.v1.Order/*", "did you mean `shop.v1.Orders/*`?"),
        ("shop.v1.Ord*", "there is no such method"),
        ("Orders/Place", "did you mean `shop.v1.Orders/Place`?"),
        ("nothing.like.It/At/All", "there is no such method"),
    ] {
        let wrong = methods.configure(&settings(&[(name, some())])).unwrap_err();
        assert!(wrong.to_string().contains(says), "{name}: {wrong}");
    }
    let no_time = methods
        .configure(&settings(&[(WATCH.name, some())]))
        .unwrap_err();
    assert!(no_time.to_string().contains("idle_timeout"), "{no_time}");
    let lane = MethodSettings {
        lane: Some("report".to_owned()),
        ..MethodSettings::default()
    };
    let no_lane = methods
        .configure(&settings(&[(GET.name, lane)]))
        .unwrap_err();
    assert!(
        no_lane.to_string().contains("did you mean `reports`?"),
        "{no_lane}"
    );
    assert_eq!(
        methods.plan().rules(1).timeout,
        Some(Duration::from_secs(1))
    );
}

#[test]
fn a_lane_keeps_its_number() {
    let methods = shop();
    let lanes = |names: &[&str]| {
        let mut settings = Settings::default();
        for name in names {
            settings
                .lanes
                .insert((*name).to_owned(), LaneSettings::default());
        }
        methods
            .configure(&settings)
            .map(|()| methods.lanes().split_off(4))
    };
    assert_eq!(lanes(&["b", "c"]).unwrap(), ["b", "c"]);
    assert_eq!(lanes(&["a", "c"]).unwrap(), ["a", "c"]);
    assert_eq!(lanes(&["c"]).unwrap(), ["", "c"]);
    let many: Vec<String> = (0..13).map(|n| format!("lane{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(lanes(&many).unwrap_err().to_string().contains("too many"));
}

#[test]
fn probes_are_neither_shed_nor_asked_for_a_token() {
    let methods = shop();
    let auth = MethodSettings {
        auth: Some(crate::layer::settings::AuthMode::Required),
        ..MethodSettings::default()
    };
    methods.configure(&settings(&[("*", auth)])).unwrap();
    let plan = methods.plan();
    assert_eq!(plan.rules(3).auth, crate::layer::settings::AuthMode::None);
    assert_eq!(
        plan.rules(3).criticality,
        Some(crate::Criticality::CriticalPlus)
    );
}
