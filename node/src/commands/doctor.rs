//! `dunlin doctor`.

use dunlin_api::{Client, ClientError};
use dunlin_engine::types::Check;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::offline;
use crate::output::{Cell, Look};

pub(crate) async fn run(context: &Context) -> Result<Exit, Failure> {
    let checks = match Client::connect(&context.home).await {
        Ok(client) => client.doctor().await?,
        Err(ClientError::NotRunning(_)) => {
            context.output.note("no node is running: its network cannot be checked");
            offline::checks(&context.home)?
        }
        Err(other) => return Err(other.into()),
    };
    match context.output.json {
        true => context.output.document(&checks)?,
        false => context.output.table(&rows(&checks))?,
    }
    // What is wrong has been said, with what to do.
    Ok(if checks.iter().all(|check| check.ok) { Exit::Done } else { Exit::Failed })
}

fn rows(checks: &[Check]) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for check in checks {
        let mark = match check.ok {
            true => Cell::new("ok", Look::Good),
            false => Cell::new("wrong", Look::Bad),
        };
        rows.push(vec![mark, Cell::plain(&check.name), Cell::plain(&check.detail)]);
        if let Some(advice) = &check.advice {
            rows.push(vec![
                Cell::plain(""),
                Cell::plain(""),
                Cell::plain(&format!("try: {advice}")),
            ]);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output;

    #[test]
    fn a_fault_is_followed_by_its_advice() {
        let check = |name: &str, ok, advice: Option<&str>| Check {
            name: name.into(),
            ok,
            detail: format!("the {name}"),
            advice: advice.map(str::to_owned),
        };
        let checks = [check("key", true, None), check("watcher", false, Some("raise the limit"))];
        let expected = "\
ok     key      the key
wrong  watcher  the watcher
                try: raise the limit
";
        assert_eq!(output::table(&rows(&checks), false), expected);
    }
}
