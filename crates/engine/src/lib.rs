//! One folder's life in Dunlin, and the node that runs many: index, tree, mesh and transfer
//! joined. This is also the library for programs that embed Dunlin.
//!
//! The middle is [`folder::Folder`], a state machine without threads or sockets; [`runner`] gives
//! it a thread, [`node`] a home and a mesh, and [`pair`] a second directory on the same machine.

pub mod assemble;
pub mod checkpoint;
pub mod clock;
pub mod conflict;
pub mod content;
pub mod doctor;
pub mod download;
pub mod folder;
pub mod history;
pub mod home;
pub mod keys;
pub mod limits;
pub mod manifests;
pub mod network;
pub mod node;
pub mod pair;
pub mod partials;
pub mod restore;
pub mod runner;
pub mod serve;
pub mod settings;
pub mod take_up;
pub mod texts;
pub mod types;
pub mod units;

mod book;
mod gather;
mod open;
mod verify;

pub use home::{Home, HomeError};
pub use node::{Node, NodeConfig, NodeError, RestoreRequest, join_offline};
