//! The server and its client over real sockets, in front of a node that is made up.

#![allow(clippy::unwrap_used)]

mod conflicts;
mod fake;
mod socket;
mod tcp;
