//! How changes spread in meshes of 10 to 10,000 devices, and what that costs.
//!
//! [`gossip`] models gossipsub's mesh and forwarding with the parameters that ship, for every
//! size: who forwards to whom, when, and how often each device gets one message. [`repair`] runs
//! the shipped index and replicator on top: what is sent to spread a change, acknowledgements
//! included, and what catching up after a week costs. [`report`] writes both down.

pub mod gossip;
pub mod repair;
pub mod report;
