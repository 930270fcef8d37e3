//! What a command can end in, and what to do about it.

use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerError, ServerErrorKind, Value};

/// Why a command to Redis has no answer. Cheap to clone; no secret of a URL is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No connection, or it broke before the answer: whether the command was carried out is unknown.
    #[error("Redis cannot be reached ({0}): is it running, and is the URL right?")]
    Unreachable(Arc<str>),
    /// No answer within the time limit: whether the command was carried out is unknown.
    #[error(
        "Redis did not answer in time: it is stopped, overloaded or runs a slow command \
         (`SLOWLOG GET`); or the time limit is too short"
    )]
    TimedOut,
    /// It reads its data after a start.
    #[error("Redis is loading its data: wait until it is done (`INFO persistence`)")]
    Loading,
    /// A replica, which takes no writes.
    #[error(
        "a replica where a master was expected: a failover is under way, or the cache was told of \
         one server where there are Sentinels"
    )]
    ReadOnly,
    /// A master that takes no writes, for want of replicas or because its disk fails.
    #[error("Redis takes no writes ({0}): see `min-replicas-to-write`, its disk and its log")]
    WritesRefused(Arc<str>),
    /// `maxmemory` is reached and nothing may be evicted. Reads go on.
    #[error("Redis is out of memory: raise `maxmemory`, or set `maxmemory-policy allkeys-lru`")]
    OutOfMemory,
    /// The key's slot is on its way to another server, or this is a Cluster's server and was not said
    /// to be.
    #[error(
        "the key is with another server of the Cluster: it is being moved, or the cache was told \
         of a single Redis where there is a Cluster"
    )]
    Moved,
    /// A Cluster that is without some of its slots.
    #[error("the Cluster does not serve this key: a shard has no master (`CLUSTER INFO`)")]
    ClusterDown,
    /// Another script or a blocking command has it to itself.
    #[error("Redis is busy with a script: see `SLOWLOG GET`, end it with `SCRIPT KILL`")]
    Busy,
    /// The user or password is wrong, or may not do this.
    #[error("Redis denies it ({0}): check user and password in the URL and the user's ACL")]
    Denied(Arc<str>),
    /// What answers does not speak Redis's protocol.
    #[error("what answers is no Redis ({0}): is the port right?")]
    Garbage(Arc<str>),
    /// An error that nobody expects, of a script for example.
    #[error("Redis answered something unexpected ({0}): is it 7.0 or later?")]
    Unexpected(Arc<str>),
    /// A URL that is none. It is not shown, for it may hold a password.
    #[error("no URL of the form redis://[user:password@]host:port[/db] ({0})")]
    Url(&'static str),
}

impl Fault {
    /// Whether it tells that this Redis, or this shard of it, does not serve: what counts against it.
    /// What it refuses for reasons of its own (no memory, a script's error) does not: it answers, and
    /// reads go on.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::TimedOut
            | Self::Loading
            | Self::ReadOnly
            | Self::WritesRefused(_)
            | Self::ClusterDown
            | Self::Busy
            | Self::Denied(_)
            | Self::Garbage(_) => true,
            Self::OutOfMemory | Self::Moved | Self::Unexpected(_) | Self::Url(_) => false,
        }
    }
}

/// What a server has said to a command, or why nothing.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    Fault(Fault),
    /// It does not know the script: nothing was done.
    NoScript,
    /// The slot is another's for good: nothing was done.
    Moved(Arc<str>),
    /// The slot is on its way to another, who has this key: nothing was done.
    Ask(Arc<str>),
}

impl Refusal {
    /// For who cannot follow.
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::Fault(fault) => fault,
            Self::NoScript => Fault::Unexpected("a script vanishes as soon as it is loaded".into()),
            Self::Moved(_) | Self::Ask(_) => Fault::Moved,
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// An answer, or what is the matter with it.
pub(super) fn answer(value: Value) -> Result<Value, Refusal> {
    match value {
        Value::ServerError(error) => Err(refusal(&error)),
        value => Ok(value),
    }
}

fn refusal(error: &ServerError) -> Refusal {
    let text = || error.details().unwrap_or_default();
    let node = || text().split_ascii_whitespace().nth(1);
    let fault = match (error.kind(), error.code()) {
        (Some(ServerErrorKind::NoScript), _) => return Refusal::NoScript,
        (Some(ServerErrorKind::Moved), _) => match node() {
            Some(node) => return Refusal::Moved(node.into()),
            None => Fault::Moved,
        },
        (Some(ServerErrorKind::Ask), _) => match node() {
            Some(node) => return Refusal::Ask(node.into()),
            None => Fault::Moved,
        },
        (Some(ServerErrorKind::TryAgain), _) => Fault::Moved,
        (Some(ServerErrorKind::BusyLoading), _) => Fault::Loading,
        (Some(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown), _) => Fault::ReadOnly,
        (_, "NOREPLICAS" | "MISCONF") => Fault::WritesRefused(error.code().into()),
        (Some(ServerErrorKind::ClusterDown), _) => Fault::ClusterDown,
        (Some(ServerErrorKind::NoPerm), _) | (_, "NOAUTH" | "WRONGPASS") => {
            Fault::Denied(error.code().into())
        }
        (_, "OOM") => Fault::OutOfMemory,
        (_, "BUSY") => Fault::Busy,
        // What a script was refused is wrapped in an error of its own in some versions.
        (Some(ServerErrorKind::ResponseError), _) if text().contains("-OOM ") => Fault::OutOfMemory,
        (Some(ServerErrorKind::ResponseError), _) if text().contains("-READONLY ") => {
            Fault::ReadOnly
        }
        _ => Fault::Unexpected(short(&error.to_string())),
    };
    Refusal::Fault(fault)
}

/// The end of a connection, or of the attempt to make one.
pub(super) fn broken(server: &str, error: &RedisError) -> Fault {
    // What a server says to a greeting may quote it, password and all: its code is enough.
    let code = || {
        short(&format!(
            "{server}: {}",
            error.code().unwrap_or(error.category())
        ))
    };
    match (error.kind(), error.code()) {
        // The parser has no other sign of an answer that breaks off with its connection.
        (ErrorKind::Parse, _)
            if error
                .detail()
                .is_some_and(|text| text.contains("end of input")) =>
        {
            Fault::Unreachable(short(&format!("{server}: the connection broke")))
        }
        (ErrorKind::Parse, _) => Fault::Garbage(short(server)),
        (ErrorKind::Io, _) => Fault::Unreachable(short(&format!("{server}: {error}"))),
        (ErrorKind::AuthenticationFailed | ErrorKind::RESP3NotSupported, _)
        | (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM")) => Fault::Denied(code()),
        (ErrorKind::Server(ServerErrorKind::BusyLoading), _) => Fault::Loading,
        (ErrorKind::Server(ServerErrorKind::MasterDown | ServerErrorKind::ReadOnly), _) => {
            Fault::ReadOnly
        }
        (ErrorKind::Server(ServerErrorKind::ClusterDown), _) => Fault::ClusterDown,
        _ => Fault::Unexpected(code()),
    }
}

/// What others write may be long; what is kept of it is not.
fn short(text: &str) -> Arc<str> {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{} …", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Refusal {
        let value = redis::parse_redis_value(line.as_bytes()).expect("a reply");
        answer(value).expect_err("an error")
    }

    #[test]
    fn what_a_server_refuses_is_told_apart() {
        for (line, expected) in [
            (
                "-LOADING Redis is loading the dataset in memory\r\n",
                Fault::Loading,
            ),
            (
                "-READONLY You can't write against a read only replica.\r\n",
                Fault::ReadOnly,
            ),
            (
                "-NOREPLICAS Not enough good replicas to write.\r\n",
                Fault::WritesRefused("NOREPLICAS".into()),
            ),
            (
                "-MISCONF Errors writing to disk\r\n",
                Fault::WritesRefused("MISCONF".into()),
            ),
            ("-MASTERDOWN Link with MASTER is down\r\n", Fault::ReadOnly),
            (
                "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
                Fault::OutOfMemory,
            ),
            (
                "-ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed\r\n",
                Fault::OutOfMemory,
            ),
            ("-CLUSTERDOWN The cluster is down\r\n", Fault::ClusterDown),
            (
                "-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
                Fault::Moved,
            ),
            ("-BUSY Redis is busy running a script.\r\n", Fault::Busy),
            (
                "-NOAUTH Authentication required.\r\n",
                Fault::Denied("NOAUTH".into()),
            ),
            (
                "-NOPERM this user has no permissions\r\n",
                Fault::Denied("NOPERM".into()),
            ),
            ("-MOVED 12\r\n", Fault::Moved),
        ] {
            let Refusal::Fault(fault) = of(line) else {
                panic!("{line}");
            };
            assert_eq!(fault, expected, "{line}");
        }
        assert!(
            matches!(of("-MOVED 12 127.0.0.1:80\r\n"), Refusal::Moved(to) if &*to == "127.0.0.1:80")
        );
        assert!(
            matches!(of("-ASK 12 127.0.0.1:80\r\n"), Refusal::Ask(to) if &*to == "127.0.0.1:80")
        );
        assert!(matches!(
            of("-NOSCRIPT No matching script.\r\n"),
            Refusal::NoScript
        ));
        let Refusal::Fault(Fault::Unexpected(text)) = of(&format!("-ERR {}\r\n", "é".repeat(999)))
        else {
            panic!("unexpected");
        };
        assert!(text.len() < 500);
    }
}
