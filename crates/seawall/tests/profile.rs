//! A hot spot, a leak and a lock convoy are found through the admin endpoints, over a socket.
//!
//! One profile is taken at a time in a process, so the tests take turns.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use prost::Message;
use seawall::profile;
use seawall::telemetry::{LevelHandle, Levels};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, MutexGuard};

// Its allocator is this program's, too.
#[allow(dead_code, reason = "an example's main and port are not for tests")]
#[path = "../examples/profile_me.rs"]
mod profile_me;

use profile_me::Shop;

async fn listen() -> TcpListener {
    loop {
        let port = seawall_testkit::free_port().unwrap();
        // Another test may have been faster.
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            return listener;
        }
    }
}

/// An admin listener.
struct Admin {
    address: SocketAddr,
    levels: LevelHandle,
    _turn: MutexGuard<'static, ()>,
}

impl Admin {
    async fn start() -> Self {
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let levels = LevelHandle::new(Levels::default());
        let router = profile::router().merge(profile::log_level(levels.clone()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            levels,
            _turn: turn,
        }
    }

    async fn send(&self, verb: &str, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "{verb} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, verb: &str, path: &str, body: &str) -> (u16, Vec<u8>) {
        let mut stream = self.send(verb, path, body).await;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.unwrap();
        let end = reply.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let status = String::from_utf8_lossy(&reply[9..12]).parse().unwrap();
        (status, reply.split_off(end + 4))
    }

    async fn get(&self, path: &str) -> (u16, Vec<u8>) {
        self.ask("GET", path, "").await
    }

    async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    async fn text(&self, path: &str) -> (u16, String) {
        let (status, body) = self.get(path).await;
        (status, String::from_utf8(body).unwrap())
    }
}

// === profiles as a tool reads them: the format's public field numbers ===

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<Pair>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Pair>,
    #[prost(string, repeated, tag = "6")]
    strings: Vec<String>,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(int64, tag = "12")]
    period: i64,
}

/// Fields 1 and 2: a value's type and unit, a function's number and name, a line's function.
#[derive(Clone, Copy, PartialEq, Message)]
struct Pair {
    #[prost(int64, tag = "1")]
    first: i64,
    #[prost(int64, tag = "2")]
    second: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    locations: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    values: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    lines: Vec<Pair>,
}

impl Profile {
    fn read(zipped: &[u8]) -> Self {
        let mut bytes = Vec::new();
        let mut zip = flate2::read::GzDecoder::new(zipped);
        zip.read_to_end(&mut bytes).expect("it is gzipped");
        let profile = Self::decode(&bytes[..]).expect("it is a profile");
        assert_eq!(profile.strings[0], "");
        profile
    }

    fn types(&self) -> Vec<(&str, &str)> {
        let text = |number: i64| &*self.strings[number as usize];
        let types = self.sample_type.iter();
        types.map(|t| (text(t.first), text(t.second))).collect()
    }

    /// The last value of all samples, and of those that are somewhere in a function.
    fn share_of(&self, function: &str) -> (i64, i64) {
        let names: HashMap<i64, &str> = self
            .function
            .iter()
            .map(|f| (f.first, &*self.strings[f.second as usize]))
            .collect();
        let inside: HashMap<u64, bool> = self
            .location
            .iter()
            .map(|location| {
                let mut lines = location.lines.iter();
                (
                    location.id,
                    lines.any(|line| names[&line.first].contains(function)),
                )
            })
            .collect();
        let (mut all, mut within) = (0, 0);
        for sample in &self.sample {
            let value = *sample.values.last().unwrap();
            all += value;
            if sample.locations.iter().any(|location| inside[location]) {
                within += value;
            }
        }
        (all, within)
    }
}

/// The largest share of the graph, in per cent, of a frame of that function.
fn share_in_graph(svg: &str, function: &str) -> f64 {
    let titles = svg.split("<title>").skip(1);
    let titles = titles.filter_map(|rest| rest.split("</title>").next());
    let shares = titles
        .filter(|title| title.contains(function))
        .map(|title| {
            let share = title.rsplit_once(", ").unwrap().1;
            share.trim_end_matches("%)").parse::<f64>().unwrap()
        });
    shares.fold(0.0, f64::max)
}

// === the three faults ===

/// Computes for as long as it is kept.
struct Hot(Arc<AtomicBool>, Option<thread::JoinHandle<()>>);

impl Hot {
    fn start() -> Self {
        let (shop, stop) = (Shop::new(), Arc::new(AtomicBool::new(false)));
        let asked = stop.clone();
        let work = move || {
            while !asked.load(Relaxed) {
                shop.checksum_of_everything(100_000);
            }
        };
        Self(stop, Some(thread::spawn(work)))
    }
}

impl Drop for Hot {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_spot_is_on_top_in_both_forms() {
    const HOT: &str = "checksum_of_everything";
    let admin = Admin::start().await;
    let _hot = Hot::start();
    let (status, body) = admin.get("/profile/cpu?seconds=1&hz=500").await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let profile = Profile::read(&body);
    let types = [("samples", "count"), ("cpu", "nanoseconds")];
    assert_eq!(
        (profile.types(), profile.period),
        (types.to_vec(), 2_000_000)
    );
    assert!(profile.duration_nanos >= 1_000_000_000);
    let handler = profile
        .strings
        .iter()
        .any(|s| s.contains("perf_signal_handler"));
    assert!(!handler, "what takes the profile is not in it");
    let (all, hot) = profile.share_of(HOT);
    assert!(all > 0 && hot * 2 > all, "{hot} of {all}");

    let (status, svg) = admin.text("/profile/cpu.svg?seconds=1&hz=500").await;
    assert_eq!(status, 200, "{svg}");
    let share = share_in_graph(&svg, HOT);
    assert!(share > 50.0, "{share} %");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_profile_at_a_time_until_its_client_leaves() {
    let admin = Admin::start().await;
    let first = admin.send("GET", "/profile/cpu?seconds=60", "").await;
    let busy = loop {
        let (status, body) = admin.get("/profile/cpu?seconds=1&hz=1").await;
        if status != 200 {
            break (status, String::from_utf8(body).unwrap());
        }
    };
    assert_eq!(busy.0, 409, "{}", busy.1);
    assert!(busy.1.contains("ask again"), "{}", busy.1);
    drop(first);
    while admin.get("/profile/cpu?seconds=1&hz=1").await.0 != 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn nonsense_is_refused_with_what_would_make_sense() {
    let admin = Admin::start().await;
    for (path, remedy) in [
        ("/profile/cpu?seconds=61", "1 to 60"),
        ("/profile/cpu?hz=0", "1 to 1000"),
        ("/profile/cpu.svg?second=1", "seconds, hz"),
        ("/profile/cpu?seconds=99999999999999999999", "1 to 60"),
        ("/tasks?json", "text"),
    ] {
        let (status, body) = admin.text(path).await;
        assert!(status == 400 && body.contains(remedy), "{status} {body}");
    }
    for (verb, path, body, status) in [
        ("PUT", "/profile/heap?active=yes", "", 400),
        ("PUT", "/log-level", "shop=loud", 400),
        ("PUT", "/log-level", "", 400),
        ("PUT", "/log-level?for=25h", "debug", 400),
        ("PUT", "/log-level?for=soon", "debug", 400),
        ("POST", "/profile/cpu", "", 405),
    ] {
        let (answered, text) = admin.ask(verb, path, body).await;
        assert_eq!(
            answered,
            status,
            "{path}: {}",
            String::from_utf8_lossy(&text)
        );
    }
}

#[tokio::test]
async fn a_leak_is_on_top_of_the_heap() {
    const LEAK: &str = "remember_search";
    let admin = Admin::start().await;
    assert!(profile::heap_is_supported());
    let (status, body) = admin.text("/profile/heap").await;
    assert!(
        status == 409 && body.contains("active=true"),
        "{status} {body}"
    );
    let (status, body) = admin.ask("PUT", "/profile/heap?active=true", "").await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let shop = Shop::new();
    for _ in 0..256 {
        shop.remember_search(256 * 1024);
    }
    let (status, body) = admin.get("/profile/heap").await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let profile = Profile::read(&body);
    assert_eq!(profile.types(), [("inuse_space", "bytes")]);
    // 64 MiB, of which an allocation of 256 KiB is sampled with a probability of 40 %.
    let (all, leak) = profile.share_of(LEAK);
    assert!(
        leak * 2 > all && (32 << 20..128 << 20).contains(&leak),
        "{leak} of {all}"
    );
    let (status, svg) = admin.text("/profile/heap.svg").await;
    assert!(
        status == 200 && share_in_graph(&svg, LEAK) > 50.0,
        "{status}"
    );
    drop(shop);
    let (_, freed) = Profile::read(&admin.get("/profile/heap").await.1).share_of(LEAK);
    assert_eq!(freed, 0, "what is freed is not in it");
    let (status, _) = admin.ask("PUT", "/profile/heap?active=false", "").await;
    assert_eq!((status, admin.get("/profile/heap").await.0), (200, 409));
}

#[tokio::test]
async fn a_convoy_is_the_longest_wait_and_named_where_it_is_held() {
    let admin = Admin::start().await;
    let shop = Shop::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    shop.reserve_slowly(Duration::from_millis(2));
                }
            });
        }
    });
    let locks = admin.json("/profile/locks").await;
    let stock = &locks[0];
    assert_eq!(
        (&stock["name"], &stock["waiting"]),
        (&"stock".into(), &0.into()),
        "{locks}"
    );
    let place = &stock["places"][0];
    assert!(
        place["place"].as_str().unwrap().contains("profile_me.rs:"),
        "{place}"
    );
    assert!(place["waits"].as_u64() > Some(0), "{place}");
    // It sleeps for 2 ms with the lock held.
    assert!(
        place["longest_held_seconds"].as_f64() >= Some(0.002),
        "{place}"
    );
    let (_, text) = admin.text("/profile/locks?text").await;
    assert!(text.starts_with("stock: "), "{text}");
}

#[tokio::test]
async fn a_request_that_blocks_its_worker_is_named_with_what_its_thread_does() {
    let admin = Admin::start().await;
    let shop = Shop::new();
    let threads = seawall::sync::threads::Threads::start(Default::default()).unwrap();
    let listener = listen().await;
    let address = listener.local_addr().unwrap();
    let listener = listener.into_std().unwrap();
    let service = profile_me::service(shop.clone());
    threads
        .spawn(async move { axum::serve(TcpListener::from_std(listener).unwrap(), service).await });
    let held = shop.stock.lock();
    let mut call = TcpStream::connect(address).await.unwrap();
    let head = "GET /order HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n";
    call.write_all(head.as_bytes()).await.unwrap();
    let blocked = loop {
        let all = admin.json("/profile/blocking").await;
        let row = all
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["name"] == "order");
        if let Some(row) = row {
            break row.clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(
        (&blocked["kind"], &blocked["now"]),
        (&"request".into(), &true.into())
    );
    let thread = blocked["thread"].as_str().unwrap();
    assert!(thread.starts_with("waits in "), "{thread}");
    let tasks = admin.json("/tasks").await;
    let mut tasks = tasks["tasks"].as_array().unwrap().iter();
    let order = tasks.find(|task| task["name"] == "order").unwrap();
    assert_eq!(
        (&order["state"], &order["polls"]),
        (&"running".into(), &1.into()),
        "{order}"
    );
    let locks = admin.json("/profile/locks").await;
    assert_eq!(locks[0]["waiting"], 1, "{locks}");
    drop(held);
    let mut reply = String::new();
    call.read_to_string(&mut reply).await.unwrap();
    assert!(reply.ends_with("\r\n\r\n1"), "{reply}");
    let (_, text) = admin.text("/tasks?text").await;
    assert!(!text.contains(" order,"), "{text}");
}

#[tokio::test]
async fn runtimes_and_the_process_are_told_of() {
    let admin = Admin::start().await;
    profile::watch_runtime("of a test", &tokio::runtime::Handle::current());
    let answer = admin.json("/runtime").await;
    let mut runtimes = answer["runtimes"].as_array().unwrap().iter();
    let runtime = runtimes
        .find(|runtime| runtime["name"] == "of a test")
        .unwrap();
    assert_eq!(runtime["workers"], 1);
    assert!(runtime["tasks"].as_u64() >= Some(2), "{runtime}");
    assert!(answer["process"]["resident_bytes"].as_u64() > Some(1 << 20));
    assert!(answer["allocator"]["allocated"].as_u64() > Some(1 << 10));
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register_collector(Box::new(profile::Metrics));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "seawall_runtime_workers{runtime=\"of a test\"} 1\n",
        "seawall_working_on{kind=\"request\"} ",
        "seawall_allocator_bytes{state=\"allocated\"} ",
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test(start_paused = true)]
async fn levels_are_changed_for_a_time() {
    let admin = Admin::start().await;
    let levels = &admin.levels;
    let (status, body) = admin
        .ask("PUT", "/log-level?for=10m", "shop::biz=debug")
        .await;
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (status, &told["levels"]),
        (200, &"info,shop::biz=debug".into())
    );
    assert_eq!(told["afterwards"], "info");
    let (_, body) = admin.ask("PUT", "/log-level", "warn").await;
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(told, serde_json::json!({"levels": "warn"}));
    tokio::time::sleep(Duration::from_secs(601)).await;
    assert_eq!(
        levels.get().to_string(),
        "warn",
        "the time of what was replaced ends nothing"
    );
    admin.ask("PUT", "/log-level?for=10m", "debug").await;
    assert_eq!(levels.get().to_string(), "debug");
    tokio::time::sleep(Duration::from_secs(601)).await;
    assert_eq!(levels.get().to_string(), "warn");
    admin.ask("PUT", "/log-level?for=10m", "debug").await;
    admin.ask("DELETE", "/log-level", "").await;
    assert_eq!(levels.get().to_string(), "warn");
}
