//! `dunlin sync`.

use crate::cli::Sync;
use crate::context::{Context, absolute};
use crate::failure::{Exit, Failure};

pub(crate) async fn run(_context: &Context, sync: Sync) -> Result<Exit, Failure> {
    let (a, b) = (absolute(&sync.a)?, absolute(&sync.b)?);
    Err(Failure::new(format!(
        "cannot keep {} and {} the same: this version syncs over the network alone",
        a.display(),
        b.display()
    ))
    .advise("two nodes with a --home each: dunlin up, and dunlin join"))
}
