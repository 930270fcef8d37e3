//! Where CPU time goes.
//!
//! The pprof crate sets a timer on the CPU time of the process; at each signal the thread that runs
//! has its stack unwound in the handler. The default unwinder, by the tables that every build has:
//! one by frame pointers would need the program built for it, and would end at the first frame of
//! Debian's libc, which was not. Unwinding in a signal handler is safe as far as libgcc's is: without
//! a lock or an allocation since GCC 12 on glibc 2.35, whose `_dl_find_object` is documented as safe
//! there. What interrupts the unwinder itself or the dynamic loader is left out, and the rest of the
//! risk is bounded: profiles are only taken when asked for, and one at a time.
//!
//! pprof's table of samples (16,384 stacks of up to 128 frames) takes some 70 MB from the first
//! profile on.

use std::time::{Duration, Instant, UNIX_EPOCH};

use ::pprof::{ProfilerGuard, ProfilerGuardBuilder, UnresolvedReport};
use axum::response::{IntoResponse, Response};
use http::{Uri, header};
use parking_lot::Mutex;
use tokio::task::spawn_blocking;

use super::stacks::{Stack, Stacks, Taken, Unit};
use super::{MAX_HZ, MAX_SECONDS};
use crate::app::admin::asked::Asked;
use crate::app::admin::refused::Refused;

/// The right to take a profile. There is one.
#[derive(Debug)]
pub(super) struct Session(());

static UNTIL: Mutex<Option<Instant>> = Mutex::new(None);

impl Session {
    /// For at most `time`.
    pub(super) fn begin(time: Duration) -> Result<Self, Refused> {
        let (mut until, now) = (UNTIL.lock(), Instant::now());
        if let Some(until) = *until {
            let left = until.saturating_duration_since(now);
            return Err(Refused::Busy { left });
        }
        *until = Some(now + time);
        Ok(Self(()))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        *UNTIL.lock() = None;
    }
}

pub(super) async fn pprof(uri: Uri) -> Result<Response, Refused> {
    let bytes = take(&uri, |stacks, taken, _| stacks.pprof(taken)).await?;
    let name = "attachment; filename=\"cpu.pb.gz\"";
    let head = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((head, bytes).into_response())
}

pub(super) async fn svg(uri: Uri) -> Result<Response, Refused> {
    let bytes = take(&uri, |stacks, _, notes| stacks.flame_graph(notes)).await?;
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], bytes).into_response())
}

type Make = fn(&Stacks, Taken, &str) -> std::io::Result<Vec<u8>>;

/// Dropped, which it is when the client leaves, it ends the profile.
async fn take(uri: &Uri, make: Make) -> Result<Vec<u8>, Refused> {
    let asked = Asked::of(uri, &["seconds", "hz"])?;
    let seconds = asked.number("seconds", 10, MAX_SECONDS)?;
    let hz = asked.number("hz", 99, MAX_HZ)?;
    let time = Duration::from_secs(seconds);
    let session = Session::begin(time)?;
    // To start looks symbols up, to end copies the samples, and to answer looks up all symbols: none
    // of it on a runtime's worker. The session goes along, so that it ends with the profile.
    let start = spawn_blocking(move || Ok((session, start(hz)?)));
    let (session, guard) = ended(start.await)?;
    tokio::time::sleep(time).await;
    let answer = spawn_blocking(move || {
        let report = guard.report().build_unresolved();
        // No more signals while symbols are looked up.
        drop(guard);
        let report = report.map_err(failed)?;
        let answer = answer(report, hz, make);
        drop(session);
        answer
    });
    ended(answer.await)
}

fn start(hz: u64) -> Result<ProfilerGuard<'static>, Refused> {
    let hz = i32::try_from(hz).unwrap_or(99);
    ProfilerGuardBuilder::default()
        .frequency(hz)
        .blocklist(&["libgcc_s", "ld-linux"])
        .build()
        .map_err(failed)
}

fn answer(report: UnresolvedReport, hz: u64, make: Make) -> Result<Vec<u8>, Refused> {
    let nanos = 1_000_000_000 / hz as i64;
    let stacks = report.data.iter().map(|(frames, count)| {
        let name = &frames.thread_name[..frames.thread_name_length];
        let count = *count as i64;
        Stack {
            addresses: frames.frames.iter().map(|f| f.ip().addr()).collect(),
            thread: Some(String::from_utf8_lossy(name).into_owned()),
            values: vec![count, count.saturating_mul(nanos)],
        }
    });
    let unit = Unit {
        title: "CPU time",
        values: &[("samples", "count"), ("cpu", "nanoseconds")],
        period: (("cpu", "nanoseconds"), nanos),
    };
    let stacks: Vec<Stack> = stacks.collect();
    let samples: i64 = stacks.iter().map(|stack| stack.values[0]).sum();
    let timing = report.timing;
    let at = timing.start_time.duration_since(UNIX_EPOCH);
    let taken = Taken {
        at: nanoseconds(at.unwrap_or_default()),
        took: nanoseconds(timing.duration),
    };
    let notes = format!(
        "{samples} samples, {hz} for each second of CPU time, in {:.1} s",
        timing.duration.as_secs_f64()
    );
    make(&Stacks::new(unit, stacks), taken, &notes)
        .map_err(|error| Refused::Failed(error.to_string()))
}

pub(super) fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

fn failed(error: ::pprof::Error) -> Refused {
    match error {
        ::pprof::Error::Running => Refused::Failed(
            "another part of the program takes a CPU profile by the pprof crate; let it end first"
                .to_owned(),
        ),
        error => Refused::Failed(error.to_string()),
    }
}

pub(super) fn ended<T>(
    result: Result<Result<T, Refused>, tokio::task::JoinError>,
) -> Result<T, Refused> {
    result.unwrap_or_else(|error| Err(Refused::Failed(error.to_string())))
}
