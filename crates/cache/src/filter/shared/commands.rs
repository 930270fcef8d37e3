//! The filter's commands, each on one segment or on what is written about all of them.

use std::collections::BTreeMap;

use redis::{Cmd, Value, cmd};

use super::layout::{Generation, HEAD, Meta};
use crate::redis::{Call, Fault, Redis, Script};

/// What a filter is called in Redis, and its scripts.
pub(super) struct Commands {
    redis: Redis,
    name: String,
    meta: Vec<u8>,
    builder: Vec<u8>,
    create: Script,
    insert: Script,
    merge: Script,
    seal: Script,
    swap: Script,
    renew: Script,
    release: Script,
}

/// Another segment is not touched by what is wrong with this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Maybe,
    Never,
    /// The segment, or whatever vouched for it, is gone.
    Gone,
}

const CREATE: &str = "
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SETRANGE', KEYS[1], ARGV[2] - 1, '\\0')
return redis.call('PEXPIRE', KEYS[1], ARGV[3])";

/// Nothing that is gone is made again: it would lack what was in it.
const INSERT: &str = "
if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return 0 end
for i = 2, #ARGV do redis.call('SETBIT', KEYS[1], ARGV[i], 1) end
return 1";

/// BITOP forgets when the key expires; one that no longer does, does not again.
const MERGE: &str = "
if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return 0 end
local left = redis.call('PTTL', KEYS[1])
redis.call('SET', KEYS[2], ARGV[2])
redis.call('BITOP', 'OR', KEYS[1], KEYS[1], KEYS[2])
redis.call('UNLINK', KEYS[2])
if left > 0 then redis.call('PEXPIRE', KEYS[1], left) end
return 1";

const SEAL: &str = "
if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then redis.call('PERSIST', KEYS[1])
else redis.call('PEXPIRE', KEYS[1], ARGV[2], 'XX') end
return 1";

const SWAP: &str = "
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1";

const RENEW: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])";

const RELEASE: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])";

/// The script that asks: one for each generation, and only its builder hands it to Redis with its
/// code, before the first key. For Redis keeps scripts in memory alone, and does not tell replicas
/// (since 7.0). So a server that knows it has been up, and master, ever since: one that was
/// restarted from an older dump, or promoted without the last inserts, answers NOSCRIPT, and never
/// "never".
///
/// An absent key ends it at its second bit, on average; the stamp is looked at only then.
fn ask(generation: &Generation) -> String {
    let stamp = generation.stamp;
    format!(
        "-- {stamp:016x}
for i = 2, #ARGV do
  if redis.call('GETBIT', KEYS[1], ARGV[i]) == 0 then
    if redis.call('GETRANGE', KEYS[1], 0, 7) == ARGV[1] then return 0 end
    return -1
  end
end
return 1"
    )
}

/// A generation and the script by which it is asked.
pub(super) struct Asked {
    pub(super) generation: Generation,
    sha: String,
}

impl Asked {
    pub(super) fn new(generation: Generation) -> Self {
        let sha = redis::Script::new(&ask(&generation)).get_hash().to_owned();
        Self { generation, sha }
    }

    fn query(&self, name: &str, hash: u64) -> Cmd {
        let Self { generation, sha } = self;
        let mut query = cmd("EVALSHA");
        let segment = generation.segment_of(hash);
        query.arg(sha).arg(1).arg(generation.key(name, segment));
        query.arg(&generation.head());
        for offset in generation.offsets(hash) {
            query.arg(offset);
        }
        query
    }
}

impl Commands {
    pub(super) fn new(redis: Redis, name: &str) -> Self {
        let [create, insert, merge, seal, swap, renew, release] =
            [CREATE, INSERT, MERGE, SEAL, SWAP, RENEW, RELEASE].map(Script::new);
        Self {
            redis,
            name: name.to_owned(),
            meta: format!("{name}:filter").into_bytes(),
            builder: format!("{name}:filter:builder").into_bytes(),
            create,
            insert,
            merge,
            seal,
            swap,
            renew,
            release,
        }
    }

    pub(super) async fn ask(&self, asked: &Asked, hash: u64) -> Result<Said, Fault> {
        said(self.redis.run(&asked.query(&self.name, hash)).await)
    }

    pub(super) async fn ask_many(&self, asked: &Asked, hashes: &[u64]) -> Vec<Result<Said, Fault>> {
        let queries = hashes.iter().map(|&hash| asked.query(&self.name, hash));
        let answers = self.redis.run_many(queries.collect()).await;
        answers.into_iter().map(said).collect()
    }

    /// Sets the keys' bits; a segment that is gone stays so.
    pub(super) async fn insert(&self, into: &Generation, hashes: &[u64]) -> Result<(), Fault> {
        let mut by_segment = BTreeMap::<u32, Vec<Vec<u8>>>::new();
        for &hash in hashes {
            let offsets = by_segment
                .entry(into.segment_of(hash))
                .or_insert_with(|| vec![into.head().to_vec()]);
            offsets.extend(
                into.offsets(hash)
                    .map(|offset| offset.to_string().into_bytes()),
            );
        }
        for answer in self.each(&self.insert, into, by_segment.into_iter()).await {
            answer?;
        }
        Ok(())
    }

    /// Makes a generation's segments, empty, and vouches for them.
    pub(super) async fn create(&self, generation: &Generation, ttl: &str) -> Result<(), Fault> {
        let length = generation.length().to_string().into_bytes();
        let args = vec![generation.head().to_vec(), length, ttl.as_bytes().to_vec()];
        let calls = (0..generation.segments).map(|segment| (segment, args.clone()));
        for answer in self.each(&self.create, generation, calls).await {
            answer?;
        }
        let code = ask(generation);
        for segments in chunks(generation.segments) {
            let loads = segments.map(|segment| {
                let mut load = cmd("EVAL");
                load.arg(&code)
                    .arg(1)
                    .arg(generation.key(&self.name, segment));
                load
            });
            for answer in self.redis.run_many(loads.collect()).await {
                answer?;
            }
        }
        Ok(())
    }

    /// Adds the bits of a segment to what others have set in it meanwhile. `false`: it is gone.
    pub(super) async fn merge(
        &self,
        generation: &Generation,
        segment: u32,
        bits: &[u8],
    ) -> Result<bool, Fault> {
        let key = generation.key(&self.name, segment);
        let upload = [&key[..], b":up"].concat();
        let (keys, args) = ([&key[..], &upload], [&bits[..HEAD], bits]);
        self.redis.call(&self.merge, &keys, &args).await.map(is_one)
    }

    /// Lets all segments live for so many milliseconds more, or for ever if 0. `false`: one is gone,
    /// or nobody vouches for it.
    pub(super) async fn seal(&self, generation: &Generation, ttl: &str) -> Result<bool, Fault> {
        let args = vec![generation.head().to_vec(), ttl.as_bytes().to_vec()];
        let calls = (0..generation.segments).map(|segment| (segment, args.clone()));
        let mut all = true;
        for answer in self.each(&self.seal, generation, calls).await {
            all &= is_one(answer?);
        }
        let asked = Asked::new(*generation);
        for segments in chunks(generation.segments) {
            let vouched = segments.map(|segment| {
                let mut vouched = cmd("EVALSHA");
                vouched
                    .arg(&asked.sha)
                    .arg(1)
                    .arg(generation.key(&self.name, segment));
                vouched
            });
            for answer in self.redis.run_many(vouched.collect()).await {
                all &= said(answer)? == Said::Maybe;
            }
        }
        Ok(all)
    }

    pub(super) async fn remove(&self, generation: &Generation) -> Result<(), Fault> {
        for segments in chunks(generation.segments) {
            let removals = segments.map(|segment| {
                let mut removal = cmd("UNLINK");
                removal.arg(generation.key(&self.name, segment));
                removal
            });
            for answer in self.redis.run_many(removals.collect()).await {
                answer?;
            }
        }
        Ok(())
    }

    /// Bits set in all segments.
    pub(super) async fn count(&self, generation: &Generation) -> Result<u64, Fault> {
        let mut set = 0;
        for segments in chunks(generation.segments) {
            let counts = segments.map(|segment| {
                let mut count = cmd("BITCOUNT");
                count
                    .arg(generation.key(&self.name, segment))
                    .arg(HEAD)
                    .arg(-1);
                count
            });
            for answer in self.redis.run_many(counts.collect()).await {
                set += match answer? {
                    Value::Int(count) => u64::try_from(count).unwrap_or(0),
                    _ => 0,
                };
            }
        }
        Ok(set)
    }

    /// What is written about the filter, as it is written.
    pub(super) async fn meta(&self) -> Result<Vec<u8>, Fault> {
        let answer = self.redis.run(cmd("GET").arg(&self.meta)).await?;
        Ok(match answer {
            Value::BulkString(bytes) => bytes,
            _ => Vec::new(),
        })
    }

    /// Replaces it, unless another one has. Returns what is then written.
    pub(super) async fn swap(&self, from: &[u8], to: &Meta) -> Result<Option<Vec<u8>>, Fault> {
        let to = to.write();
        let answer = self
            .redis
            .call(&self.swap, &[&self.meta], &[from, &to])
            .await?;
        Ok(is_one(answer).then_some(to))
    }

    /// Becomes the one who builds.
    pub(super) async fn begin(&self, token: &str, ttl: &str) -> Result<bool, Fault> {
        let mut set = cmd("SET");
        set.arg(&self.builder)
            .arg(token)
            .arg("NX")
            .arg("PX")
            .arg(ttl);
        Ok(matches!(self.redis.run(&set).await?, Value::Okay))
    }

    pub(super) async fn renew(&self, token: &str, ttl: &str) -> Result<bool, Fault> {
        let args = [token.as_bytes(), ttl.as_bytes()];
        let answer = self
            .redis
            .call(&self.renew, &[&self.builder], &args)
            .await?;
        Ok(is_one(answer))
    }

    pub(super) async fn release(&self, token: &str) -> Result<(), Fault> {
        let keys: [&[u8]; 1] = [&self.builder];
        self.redis
            .call(&self.release, &keys, &[token.as_bytes()])
            .await?;
        Ok(())
    }

    /// A script on several segments, some at a time.
    async fn each(
        &self,
        script: &Script,
        generation: &Generation,
        calls: impl Iterator<Item = (u32, Vec<Vec<u8>>)>,
    ) -> Vec<Result<Value, Fault>> {
        let calls: Vec<_> = calls
            .map(|(segment, args)| (generation.key(&self.name, segment), args))
            .collect();
        let mut answers = Vec::with_capacity(calls.len());
        for some in calls.chunks(AT_ONCE as usize) {
            let keys: Vec<[&[u8]; 1]> = some.iter().map(|(key, _)| [&key[..]]).collect();
            let args: Vec<Vec<&[u8]>> = some
                .iter()
                .map(|(_, args)| args.iter().map(|arg| &arg[..]).collect())
                .collect();
            let calls: Vec<Call<'_>> = keys
                .iter()
                .zip(&args)
                .map(|(keys, args)| Call { keys, args })
                .collect();
            answers.extend(self.redis.call_many(script, &calls).await);
        }
        answers
    }
}

/// Segments in one pipeline: within any time limit, and no long stall for others.
const AT_ONCE: u32 = 64;

fn chunks(segments: u32) -> impl Iterator<Item = std::ops::Range<u32>> {
    let starts = (0..segments).step_by(AT_ONCE as usize);
    starts.map(move |start| start..segments.min(start.saturating_add(AT_ONCE)))
}

fn said(answer: Result<Value, Fault>) -> Result<Said, Fault> {
    match answer {
        Ok(Value::Int(0)) => Ok(Said::Never),
        Ok(Value::Int(1)) => Ok(Said::Maybe),
        Ok(_) => Ok(Said::Gone),
        Err(Fault::Unexpected(_)) => Ok(Said::Gone),
        Err(fault) => Err(fault),
    }
}

fn is_one(answer: Value) -> bool {
    answer == Value::Int(1)
}
