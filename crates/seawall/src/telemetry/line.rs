//! Lines as JSON.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::access::AccessEntry;
use super::call::CallEntry;

/// What waits in a lane.
#[derive(Debug)]
pub(super) enum Entry {
    Event(Box<Event>),
    Access(Box<AccessEntry>),
    Call(Box<CallEntry>),
}

/// An event, its fields already text because they were only borrowed.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) time: SystemTime,
    pub(super) level: &'static str,
    pub(super) target: &'static str,
    pub(super) message: String,
    /// The members of a JSON object, without its braces.
    pub(super) fields: String,
    /// The same, of the spans around it.
    pub(super) spans: String,
}

impl Entry {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Event(event) => event.write(out),
            Self::Access(entry) => entry.write(out),
            Self::Call(entry) => entry.write(out),
        }
    }
}

impl Event {
    fn write(&self, out: &mut Vec<u8>) {
        begin(out, self.time, self.level, self.target);
        member(out, "message", &self.message);
        for (name, members) in [("fields", &self.fields), ("spans", &self.spans)] {
            if !members.is_empty() {
                // Writing to memory does not fail, here and below.
                let _ = write!(out, ",\"{name}\":{{{members}}}");
            }
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Opens a line; the caller closes it with `}` and a line's end.
pub(super) fn begin(out: &mut Vec<u8>, time: SystemTime, level: &str, target: &str) {
    out.extend_from_slice(b"{\"time\":\"");
    write_time(out, time);
    let _ = write!(out, "\",\"level\":\"{level}\"");
    member(out, "target", target);
}

/// `,"name":value`. Names are our own and need no escape.
pub(super) fn member(out: &mut Vec<u8>, name: &str, value: impl Serialize) {
    let _ = write!(out, ",\"{name}\":");
    let before = out.len();
    if serde_json::to_writer(&mut *out, &value).is_err() {
        out.truncate(before);
        out.extend_from_slice(b"null");
    }
}

/// RFC 3339 in UTC with milliseconds; the civil date by Howard Hinnant's `civil_from_days`.
pub(super) fn write_time(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second, millis) = (
        second / 3_600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis(),
    );
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_735_689_600_000, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            let mut out = Vec::new();
            write_time(&mut out, UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn an_event_is_one_line_of_json_whatever_it_says() {
        let event = Event {
            time: UNIX_EPOCH,
            level: "ERROR",
            target: "a::b",
            message: "line\nbreak \"quoted\" \u{1b}[31m".to_owned(),
            fields: "\"n\":1".to_owned(),
            spans: String::new(),
        };
        let mut out = Vec::new();
        event.write(&mut out);
        assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["message"], event.message);
        assert_eq!(json["fields"]["n"], 1);
    }
}
