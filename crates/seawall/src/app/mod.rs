//! A program: configuration, servers, workers and jobs, and the order in which they live and die.
