//! What one insertion into a large copy-on-write map costs, by the way it is shared.
//!
//! `cargo run -p seawall-sync --all-features --profile quick --example maps`
#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const SIZE: u64 = 100_000;
const SHARDS: u64 = 256;

/// Nanoseconds per call, the best of five rounds.
fn cost(rounds: u64, mut call: impl FnMut(u64)) -> f64 {
    let round = |call: &mut dyn FnMut(u64)| {
        let start = Instant::now();
        for i in 0..rounds {
            call(i.wrapping_mul(0x9E37_79B9) % SIZE);
        }
        start.elapsed().as_nanos() as f64 / rounds as f64
    };
    (0..5).map(|_| round(&mut call)).fold(f64::MAX, f64::min)
}

fn main() {
    let keys: Vec<String> = (0..SIZE).map(|k| format!("tenant/{k}/object")).collect();
    let key = |k: u64| keys[(k % SIZE) as usize].clone();
    println!(
        "{SIZE} entries; ns per read, per published insertion, per insertion in batches of 100"
    );

    let mut map: rpds::HashTrieMapSync<String, u64> = (0..SIZE).map(|k| (key(k), k)).collect();
    let read = cost(200_000, |k| _ = black_box(map.get(&keys[k as usize])));
    let mut shared = Arc::new(map.clone());
    let one = cost(20_000, |k| shared = Arc::new(shared.insert(key(k), k + 1)));
    let batch = cost(200, |k| {
        let mut next = map.clone();
        for i in 0..100 {
            next.insert_mut(key(k + i * 977), i);
        }
        map = next;
    }) / 100.0;
    println!("rpds hash trie          {read:8.0} {one:8.0} {batch:8.0}");

    let mut map: imbl::HashMap<String, u64> = (0..SIZE).map(|k| (key(k), k)).collect();
    let read = cost(200_000, |k| _ = black_box(map.get(&keys[k as usize])));
    let mut shared = Arc::new(map.clone());
    let one = cost(20_000, |k| shared = Arc::new(shared.update(key(k), k + 1)));
    let batch = cost(200, |k| {
        let mut next = map.clone();
        for i in 0..100 {
            next.insert(key(k + i * 977), i);
        }
        map = next;
    }) / 100.0;
    println!("imbl hash trie          {read:8.0} {one:8.0} {batch:8.0}");

    let mut map: Vec<Arc<HashMap<String, u64>>> = vec![Arc::default(); SHARDS as usize];
    for k in 0..SIZE {
        Arc::make_mut(&mut map[(k % SHARDS) as usize]).insert(key(k), k);
    }
    let read = cost(200_000, |k| {
        _ = black_box(map[(k % SHARDS) as usize].get(&keys[k as usize]))
    });
    let mut shared = Arc::new(map.clone());
    let one = cost(2_000, |k| {
        let mut next = Vec::clone(&shared);
        Arc::make_mut(&mut next[(k % SHARDS) as usize]).insert(key(k), k + 1);
        shared = Arc::new(next);
    });
    let batch = cost(50, |k| {
        let mut next = map.clone();
        for i in 0..100 {
            let at = (k + i * 977) % SIZE;
            Arc::make_mut(&mut next[(at % SHARDS) as usize]).insert(key(at), i);
        }
        map = next;
    }) / 100.0;
    println!("{SHARDS} shards of Arc'd maps {read:8.0} {one:8.0} {batch:8.0}");

    let map: HashMap<String, u64> = (0..SIZE).map(|k| (key(k), k)).collect();
    let read = cost(200_000, |k| _ = black_box(map.get(&keys[k as usize])));
    let mut shared = Arc::new(map);
    let one = cost(20, |k| {
        let mut next = HashMap::clone(&shared);
        next.insert(key(k), k + 1);
        shared = Arc::new(next);
    });
    println!("one map copied whole    {read:8.0} {one:8.0}");
}
