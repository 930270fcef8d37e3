//! Who may go to the origin, who waits, who is turned away.
