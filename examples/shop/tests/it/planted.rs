//! A hot spot and a lock convoy, planted in a catalog of its own process, are found through its
//! admin endpoints: what docs/profiling.md does by hand.

use std::process::Command;
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use seawall::Client;
use seawall_testkit::{Process, free_port};
use serde_json::Value;
use tempfile::TempDir;

use crate::shop::{get, until};

/// A catalog with every fault, gone when dropped.
struct Planted {
    address: String,
    admin: Client,
    process: Process,
    _directory: TempDir,
}

impl Planted {
    async fn start() -> Self {
        let directory = TempDir::with_prefix("shop-").expect("temporary directory");
        let at = directory.path().display();
        let text = format!(
            "[data.catalog]\nurl = \"sqlite://{at}/catalog.db\"\n\n\
             [plant]\nhot_spot = true\nleak = true\nconvoy = true\n"
        );
        let file = directory.path().join("shop.toml");
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
        command.arg("catalog").arg("--config").arg(&file);
        // It is the profile that is looked at, not who is turned away.
        command.args(["--set", "admission.shadow=true"]);
        let [http, _, admin] = ["http", "grpc", "admin"].map(|section| {
            let address = format!("127.0.0.1:{}", free_port().expect("a free port"));
            command.args(["--set", &format!("{section}.address={address}")]);
            address
        });
        let log = directory.path().join("catalog.log");
        let process = Process::start(command, &log, "").expect("started");
        let planted = Self {
            address: http,
            admin: client(&admin),
            process,
            _directory: directory,
        };
        until("it is ready", || async {
            let (status, _) = planted.text("/readyz").await?;
            (status == 200).then_some(())
        })
        .await;
        planted
    }

    /// What the admin listener says, where it answers at all.
    async fn text(&self, path: &str) -> Option<(u16, String)> {
        assert!(!self.process.has_ended(), "{}", self.process.log());
        let request = http::Request::get(path)
            .body(String::new())
            .expect("a request");
        let answer = self.admin.request(request).await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.into_body().text().await.ok()?))
    }
}

fn client(address: &str) -> Client {
    Client::new(&format!("http://{address}")).expect("an address")
}

/// The largest share of the graph, in per cent, of a frame of that function.
fn share_in_graph(svg: &str, function: &str) -> f64 {
    let titles = svg.split("<title>").skip(1);
    let shares = titles.filter_map(|rest| {
        let (title, _) = rest.split_once("</title>")?;
        let (_, share) = title.rsplit_once(", ")?;
        title.contains(function).then_some(share)
    });
    let shares = shares.filter_map(|share| share.trim_end_matches("%)").parse::<f64>().ok());
    shares.fold(0.0, f64::max)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_spot_is_the_widest_frame() {
    let planted = Planted::start().await;
    let customer = client(&planted.address);
    let busy = Box::pin(async {
        loop {
            get(&customer, "/v1/products").await;
        }
    });
    let profile = Box::pin(planted.text("/profile/cpu.svg?seconds=1&hz=500"));
    let Either::Left((answer, _)) = select(profile, busy).await;
    let (status, svg) = answer.expect("an answer");
    assert_eq!(status, 200, "{svg}");
    let share = share_in_graph(&svg, "checksum_of_everything");
    assert!(share > 50.0, "{share} %");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_convoy_is_named_with_the_line_that_holds_the_lock() {
    let planted = Planted::start().await;
    // A connection each: calls of one connection may be taken one after the other.
    let customers: Vec<_> = (0..8).map(|_| client(&planted.address)).collect();
    let shelf = until("somebody waited", || async {
        let calls = customers.iter().map(|client| get(client, "/v1/products/1"));
        join_all(calls).await;
        let (status, locks) = planted.text("/profile/locks").await?;
        assert_eq!(status, 200, "{locks}");
        let locks: Value = serde_json::from_str(&locks).expect("JSON");
        let mut all = locks.as_array()?.iter();
        let shelf = all.find(|lock| lock["name"] == "shelf")?;
        (shelf["places"][0]["waits"].as_u64() > Some(0)).then(|| shelf.clone())
    })
    .await;
    let place = &shelf["places"][0];
    let line = place["place"].as_str().expect("a place");
    assert!(line.contains("pkg/faults.rs:"), "{place}");
    let longest = Duration::from_millis(5).as_secs_f64();
    assert!(
        place["longest_held_seconds"].as_f64() >= Some(longest),
        "{place}"
    );
}
