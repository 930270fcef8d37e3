//! Open-loop load generation, a limited origin, and comparisons with peers.
