//! From messages to the business and back: what is asked becomes objects of `biz`, what comes of it
//! becomes messages and errors of the definition. Decides nothing.

pub mod notes;
