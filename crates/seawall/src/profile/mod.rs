//! What a running program does: CPU, heap, tasks and locks.
