//! Statistics over time, each a passive value that is told the time.
