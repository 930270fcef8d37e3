//! A Lua script and what Redis knows it by.

use redis::{Cmd, cmd};

/// A script, which a server is sent once and then asked for by its digest.
#[derive(Debug)]
pub(crate) struct Script {
    code: String,
    sha: String,
}

/// One call of a script: keys of one slot, the first of which says where it runs, and arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) keys: &'a [&'a [u8]],
    pub(crate) args: &'a [&'a [u8]],
}

impl Script {
    /// Digests the code: to be made once, not by call.
    pub(crate) fn new(code: &str) -> Self {
        Self {
            code: code.to_owned(),
            sha: redis::Script::new(code).get_hash().to_owned(),
        }
    }

    /// By its digest, which a server may not know.
    pub(super) fn by_sha(&self, call: &Call<'_>) -> Cmd {
        filled("EVALSHA", &self.sha, call)
    }

    /// With its code, which the server keeps.
    pub(super) fn with_code(&self, call: &Call<'_>) -> Cmd {
        filled("EVAL", &self.code, call)
    }
}

fn filled(name: &str, script: &str, call: &Call<'_>) -> Cmd {
    let mut filled = cmd(name);
    filled.arg(script).arg(call.keys.len());
    for bytes in call.keys.iter().chain(call.args) {
        filled.arg(*bytes);
    }
    filled
}
